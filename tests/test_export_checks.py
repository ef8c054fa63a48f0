"""Exported files under the archive's checks and in readers without our packages."""

import subprocess
import sys

import h5py
import lab_files
import pytest
from exported_files import FORMS, SITE, contents, messages

from nwbdyn.workflows.export import export

DANDI = "from dandi.cli.command import main; main()"


@pytest.mark.slow  # half a minute: the archive's program starts six times
@pytest.mark.parametrize("enrich", [False, True])
@pytest.mark.parametrize(
    ("write", "form"),
    [
        (lab_files.write_imaging, "netformer"),
        (lab_files.write_imaging, "gain"),
        (lab_files.write_units, "attention"),
    ],
)
def test_a_file_from_a_complete_subject_passes_the_archives_checks(write, form, enrich, tmp_path):
    source = write(tmp_path / "lab.nwb")
    folder = tmp_path / "000000"
    (folder / "sub-m1").mkdir(parents=True)
    (folder / "dandiset.yaml").write_text("identifier: DANDI:000000\n")
    fit = lab_files.fit_of(source, form=form)
    modality = "ecephys" if write is lab_files.write_units else "ophys"
    path = folder / "sub-m1" / f"sub-m1_ses-s1_desc-{fit.model}_{modality}.nwb"
    export(fit, path, enrich=enrich)
    assert not messages(path) - (messages(source) if enrich else set())
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            DANDI,
            "validate",
            "--min-severity",
            "ERROR",
            str(path),
        ],
        capture_output=True,
        text=True,
        env={"DANDI_NO_ET": "1", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("write", [lab_files.write_imaging, lab_files.write_units])
def test_an_enriched_copy_adds_no_problem_that_the_source_lacks(write, tmp_path):
    source = write(tmp_path / "lab.nwb")
    path = export(lab_files.fit_of(source), tmp_path / "enriched.nwb", enrich=True)
    added = messages(path, suggestions=True) - messages(source, suggestions=True)
    assert {check for _, check, _ in added} == {"check_processing_module_name"}  # a suggestion


@pytest.mark.parametrize("enrich", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_nothing_of_ours_is_criticised_and_everything_is_described(source, tmp_path, form, enrich):
    from nwbinspector import Importance, inspect_nwbfile, load_config

    path = export(lab_files.fit_of(source, form=form), tmp_path / "out.nwb", enrich=enrich)
    actual = list(
        inspect_nwbfile(
            nwbfile_path=str(path),
            config=load_config("dandi"),
            importance_threshold=Importance.BEST_PRACTICE_SUGGESTION,
            skip_validate=False,
        )
    )
    ours = {
        f"{message.check_function_name} {message.location}: {message.message}"
        for message in actual
        # An object inside another of an extension's types has no location.
        if (message.location is None or "population_dynamics" in message.location)
        and message.check_function_name != "check_processing_module_name"  # not in NWB's list
    }
    assert not ours
    if not enrich:  # what only the lab knows
        unknown = {"check_experimenter_exists", "check_institution"}
        assert {m.check_function_name for m in actual if m.location == "/"} <= unknown
    with h5py.File(path) as file:
        undescribed = []

        def visit(name, item):
            kind = item.attrs.get("neurodata_type")
            if kind is not None and kind not in ("ElementIdentifiers",):
                words = item.attrs.get("description", "")
                if not words or words in ("no description", "no comments"):
                    undescribed.append(f"{name} {kind}")

        file["processing/population_dynamics"].visititems(visit)
    assert not undescribed


@pytest.mark.parametrize("enrich", [False, True])
def test_files_open_with_their_types_where_neither_package_is_installed(source, tmp_path, enrich):
    path = export(lab_files.fit_of(source), tmp_path / "out.nwb", enrich=enrich)
    program = f"""
import sys
sys.path = [entry for entry in sys.path if entry] + [{str(SITE)!r}]
class NotInstalled:  # an installed package would lie in the same folder as pynwb
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("nwbdyn", "ndx_population_dynamics"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NotInstalled())
import warnings; warnings.simplefilter("error")
from pynwb import NWBHDF5IO
with NWBHDF5IO({str(path)!r}, "r") as io:
    module = io.read().processing["population_dynamics"]
    for item in module.data_interfaces.values():
        print(item.name.partition("_")[2], type(item).__name__)
    edges = next(item for item in module.data_interfaces.values() if item.name.endswith("_edges"))
    print(edges.to_dataframe().loc[0, "pre"].replace(" ", "_"), edges.run.model)
"""
    # -S leaves out the environment's own start-up files, which could import either package.
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert set(lines[:-1]) == {
        " ModelRun",
        "neurons NeuronsTable",
        "predictions PredictedActivitySeries",
        "edges ConnectivityEdgesTable",
        "edge_weights EdgeWeightSeries",
        "cell_types CellTypeConnectivitySeries",
        "connectivity TimeResolvedConnectivity",
        "figures Images",
    }
    assert lines[-1].split()[1] == "netformer"


@pytest.mark.parametrize("dense", [False, True])
def test_only_series_whose_every_window_is_in_the_file_point_at_exact_components(tmp_path, dense):
    fit = lab_files.fit_of(lab_files.write_imaging(tmp_path / "lab.nwb"), form="gain")
    objects = contents(export(fit, tmp_path / "out.nwb", dense=dense), fit)
    exact = "Exact weights at every window follow from the components of the connectivity."
    assert objects["_edge_weights"].description.endswith(exact)
    assert objects["_influence_weights"].description.endswith(exact) == dense
    assert (len(objects["_influence"].timestamps) > 1) == dense
