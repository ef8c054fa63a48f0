"""docs/viewers.md compared with an exported file, by the rules of each viewer.

A web viewer knows no type of ours. It follows `neurodata_type` through the specification inside the
file to a type that it knows, and looks at the shapes. Nothing but h5py is used here.
"""

import json
import re
from pathlib import Path

import h5py
import lab_files
import pytest

from nwbdyn.nwb.results.model_run import name_of
from nwbdyn.workflows.export import export

PAGE = Path(__file__).parents[1] / "docs" / "viewers.md"
KNOWN = {"DynamicTable": "table", "TimeSeries": "series", "Images": "images"}
MOST_SUBGROUPS = 200  # of one group, that the web viewer shows


def parents(file: h5py.File) -> dict[str, str]:
    """Type -> the type it inherits from, for every type that the file's specification defines."""
    actual = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and name.rpartition("/")[2] != "namespace":
            reported = json.loads(item.asstr()[()])
            for kind in (*reported.get("groups", ()), *reported.get("datasets", ())):
                own = kind.get("neurodata_type_def", kind.get("data_type_def"))
                above = kind.get("neurodata_type_inc", kind.get("data_type_inc"))
                if own and above:
                    actual[own] = above

    file["specifications"].visititems(visit)
    return actual


def kind_of(item: h5py.Group, inherits: dict[str, str]) -> str:
    """Kind of an object for a viewer: "table", "series", "images" or "container"."""
    kind = item.attrs["neurodata_type"]
    while kind in inherits and kind not in KNOWN:
        kind = inherits[kind]
    return KNOWN.get(kind, "container")


def promised() -> dict[str, str]:
    """Kinds on the page: suffix of the object's name -> kind."""
    rows = re.findall(r"^\| `<run>(\w*)` \| (\w+)", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert rows
    return dict(rows)


@pytest.mark.parametrize("enrich", [False, True])
@pytest.mark.parametrize("form", ["netformer", "gain", "attention", "static"])
def test_every_object_is_of_the_kind_that_the_page_promises(tmp_path, form, enrich):
    fit = lab_files.fit_of(lab_files.write_imaging(tmp_path / "lab.nwb"), form=form)
    path = export(fit, tmp_path / "out.nwb", enrich=enrich)
    with h5py.File(path) as file:
        inherits, module = parents(file), file["processing/population_dynamics"]
        assert len(module) <= MOST_SUBGROUPS
        for name, item in module.items():
            kind = kind_of(item, inherits)
            assert promised()[name.removeprefix(name_of(fit))] == kind, name
            if kind == "table":
                lengths = {len(item[column]) for column in item.attrs["colnames"]}
                assert lengths == {len(item["id"])}
            if kind == "series":
                assert item["data"].ndim <= 2
                assert "timestamps" in item or "rate" in item["starting_time"].attrs
            if kind == "images":
                assert all(picture.shape[2:] in ((), (3,)) for picture in item.values())
                assert all(
                    picture.attrs["neurodata_type"] in ("GrayscaleImage", "RGBImage")
                    for picture in item.values()
                )
        mean = module[f"{name_of(fit)}_connectivity/mean"]
        assert mean.ndim == 2  # a heat map in any viewer of HDF5
        assert mean.dtype == "float32"
        packed = []
        module.visititems(
            lambda name, item: (
                packed.append(item.compression) if isinstance(item, h5py.Dataset) else None
            )
        )
        assert set(packed) <= {None, "gzip"}


@pytest.mark.parametrize("form", ["netformer", "gain", "attention", "static"])
def test_every_array_is_one_that_a_viewer_of_hdf5_draws(tmp_path, form):
    """h5web draws numbers of up to 8 bytes and booleans, as a line, a heat map or an RGB picture.

    It cannot open external or virtual data, and needs a filter for all but gzip and shuffle.
    """
    fit = lab_files.fit_of(lab_files.write_imaging(tmp_path / "lab.nwb"), form=form)
    with h5py.File(export(fit, tmp_path / "out.nwb")) as file:

        def visit(name, item):
            if not isinstance(item, h5py.Dataset):
                return
            assert not item.is_virtual, name
            assert item.external is None, name
            assert item.compression in (None, "gzip"), name
            if item.dtype.kind in "iufb":
                assert item.dtype.itemsize <= 8, name
            else:
                assert item.dtype.kind == "O", name  # text, or a reference to another object
            if name.endswith("_figures/coupling"):
                assert item.ndim == 3
                assert item.shape[2] == 3
                assert item.dtype == "uint8"

        file["processing/population_dynamics"].visititems(visit)
