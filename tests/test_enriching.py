"""A copy of the source with the results in it: nothing else changes, and the source never does."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import lab_files
import numpy as np
import pytest
from exported_files import sha256
from pynwb import NWBHDF5IO, validate
from standin import StandIn

from nwbdyn import archive
from nwbdyn.errors import ResultsError
from nwbdyn.nwb.read import slim_record
from nwbdyn.nwb.results.model_run import name_of
from nwbdyn.workflows.export import export


def test_enriching_leaves_the_source_and_its_object_ids_as_they_were(source, tmp_path):
    before = sha256(source)
    fit = lab_files.fit_of(source)
    path = export(fit, tmp_path / "enriched.nwb", enrich=True)
    assert sha256(source) == before
    with NWBHDF5IO(source, "r") as old, NWBHDF5IO(path, "r") as new:
        kept = set(old.read().objects)
        nwbfile = new.read()
        assert kept <= set(nwbfile.objects)
        module = nwbfile.processing["population_dynamics"]
        rois = nwbfile.processing["ophys"]["ImageSegmentation"]["rois"]
        neurons = module[f"{name_of(fit)}_neurons"]
        assert neurons["source_row"].table is rois
        assert list(neurons["source_row"].data[:]) == [0, 1, 2, 3, 4]
        predictions = module[f"{name_of(fit)}_predictions"]
        assert predictions.source_series is nwbfile.processing["ophys"]["DfOverF"]["dff"]


def test_a_copy_of_an_older_file_keeps_its_version_and_its_types(units, tmp_path):
    with h5py.File(units, "a") as file:  # as NWB 2.4 wrote it
        file.attrs["nwb_version"] = "2.4.0"
        electrodes = file["general/extracellular_ephys/electrodes"]
        assert electrodes.attrs["neurodata_type"] == "ElectrodesTable"
        electrodes.attrs.update(namespace="hdmf-common", neurodata_type="DynamicTable")
    path = export(lab_files.fit_of(units), tmp_path / "out.nwb", enrich=True)
    with h5py.File(units) as before, h5py.File(path) as after:
        added = set(differences(before, after))
    added.discard("/specifications/ndx-population-dynamics")
    assert added == {"/processing/population_dynamics"}
    with NWBHDF5IO(path, "r") as io:
        assert len(io.read().processing["population_dynamics"].data_interfaces) == 7


def differences(before: h5py.Group, after: h5py.Group) -> Iterator[str]:
    """Paths of what the second has beside or unlike the first, attributes and values included."""
    for name, value in before.attrs.items():
        if isinstance(value, h5py.Reference):
            same = before.file[value].name == after.file[after.attrs[name]].name
        else:
            same = np.array_equal(value, after.attrs[name])
        if not same:
            yield f"{before.name}@{name}"
    if isinstance(before, h5py.Dataset):
        if before.dtype.kind != "O" and before[()].tobytes() != after[()].tobytes():
            yield before.name
        return
    yield from (f"{after.name.rstrip('/')}/{name}" for name in set(after) - set(before))
    for name in before:
        if isinstance(before.get(name, getlink=True), h5py.HardLink):
            yield from differences(before[name], after[name])


def test_a_second_model_goes_beside_the_first(source, tmp_path):
    one, two = lab_files.fit_of(source), lab_files.fit_of(source, form="attention", seed=1)
    first = export(one, tmp_path / "first.nwb", enrich=True)
    both = export(two, tmp_path / "both.nwb", enrich=True, source_file=first)
    assert not validate(path=str(both))
    with NWBHDF5IO(first, "r") as old, NWBHDF5IO(both, "r") as new:
        earlier = old.read().processing["population_dynamics"]
        module = new.read().processing["population_dynamics"]
        for name, item in earlier.data_interfaces.items():
            assert module[name].object_id == item.object_id
        assert {
            item.name
            for item in module.data_interfaces.values()
            if type(item).__name__ == "ModelRun"
        } == {name_of(one), name_of(two)}
    with pytest.raises(ResultsError, match=r"holds the results of netformer-.* already"):
        export(one, tmp_path / "again.nwb", enrich=True, source_file=first)
    assert not list(tmp_path.glob("again*"))


@pytest.mark.parametrize("enrich", [False, True])
def test_the_source_is_never_the_output(source, tmp_path, enrich):
    before = sha256(source)
    link = tmp_path / "link.nwb"
    link.symlink_to(source)
    for path in (source, link, tmp_path / "sub" / ".." / "lab.nwb"):
        (tmp_path / "sub").mkdir(exist_ok=True)
        with pytest.raises(ResultsError, match="is the source, which is never written to"):
            export(lab_files.fit_of(source), path, enrich=enrich, overwrite=True)
    assert sha256(source) == before


def test_a_file_that_changed_since_the_fit_is_not_enriched(source, tmp_path):
    fit = lab_files.fit_of(source)
    with h5py.File(source, "a") as file:
        file["general/lab"] = "another"
    with pytest.raises(ResultsError, match="has changed since the fit: expected sha256:"):
        export(fit, tmp_path / "out.nwb", enrich=True)
    fit = replace(fit, source=replace(fit.source, digest=None))
    with h5py.File(source, "a") as file:
        file["processing/ophys/ImageSegmentation/rois/id"][2] = 99
    with pytest.raises(ResultsError, match="has no row with id 12: the table changed"):
        export(fit, tmp_path / "out.nwb", enrich=True)
    assert [item.name for item in tmp_path.iterdir()] == ["lab.nwb"]


def test_a_zarr_store_cannot_be_enriched_and_the_message_says_what_to_do(source, tmp_path):
    fit = lab_files.fit_of(source)
    store = tmp_path / "lab.zarr"
    store.mkdir()
    local = replace(fit.source, uri=str(store), url=store.as_uri(), digest=None)
    remote = replace(local, uri="dandi:000001/a.zarr", url="https://example.org/a.zarr")
    for one in (local, remote):
        with pytest.raises(ResultsError, match=r"is a Zarr store; .*without --enrich"):
            export(replace(fit, source=one), tmp_path / "out.nwb", enrich=True)
    assert not (tmp_path / "out.nwb").exists()
    assert export(replace(fit, source=local), tmp_path / "alone.nwb").exists()


@pytest.mark.parametrize("full", [False, True])
def test_a_remote_source_is_fetched_and_enriched(source, tmp_path, full, monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    (tmp_path / "archive/000001/sub-m1").mkdir(parents=True)
    asset = tmp_path / "archive/000001/sub-m1/sub-m1_ses-s1.nwb"
    shutil.copy(source, asset)
    fit = lab_files.fit_of(source)
    with StandIn(tmp_path / "archive") as server:
        (remote,) = archive.resolve("dandi:000001", instance=server.api)
        fit = replace(fit, source=remote)
        path = export(fit, tmp_path / "out" / "x.nwb", enrich=True, full=full)
    with NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        run = nwbfile.processing["population_dynamics"][name_of(fit)]
        where = run.run_sources["source"]
        assert (where.dandiset_id, where.asset_id) == ("000001", remote.asset_id)
        assert where.digest.startswith("dandi-etag:")
        assert "ophys" in nwbfile.processing
    assert [item.name for item in path.parent.iterdir()] == ["x.nwb"]


def test_a_slim_copy_stands_for_its_source(source, tmp_path):
    fit = lab_files.fit_of(source)
    copy = tmp_path / "slim.nwb"
    shutil.copy(source, copy)
    record = slim_record.SlimRecord(fit.source, fit.source.digest, (), "nwbdyn")
    with h5py.File(copy, "a") as file:
        slim_record.write(file, record)
    assert export(fit, tmp_path / "out.nwb", enrich=True, source_file=copy).exists()


def test_a_file_that_pynwb_refuses_cannot_be_enriched_but_stands_alone(source, tmp_path):
    with h5py.File(source, "a") as file:
        del file["session_start_time"]
    fit = lab_files_fit_without_reading(source, tmp_path)
    with pytest.raises(ResultsError, match=r"pynwb cannot open lab to add to it.*without --enrich"):
        export(fit, tmp_path / "out.nwb", enrich=True)
    assert not (tmp_path / "out.nwb").exists()
    assert not list(tmp_path.glob("*.partial"))
    assert export(fit, tmp_path / "out.nwb").exists()


@pytest.mark.parametrize("what", ["group", "dataset"])
def test_a_file_that_pynwb_cannot_add_to_is_refused_and_nothing_is_left(source, tmp_path, what):
    with h5py.File(source, "a") as file:  # by another tool, without a type: pynwb reads past it
        if what == "group":
            file["processing"].create_group("population_dynamics")["rates"] = np.ones(3)
        else:
            file["processing/population_dynamics"] = np.ones(3)
    fit, before = lab_files.fit_of(source), sha256(source)
    refused = r"pynwb cannot add to lab \(.*exists.*\)\. Export without --enrich"
    with pytest.raises(ResultsError, match=refused) as raised:
        export(fit, tmp_path / "out.nwb", enrich=True)
    assert "\n" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]
    assert sha256(source) == before
    assert export(fit, tmp_path / "out.nwb").exists()


def lab_files_fit_without_reading(source: Path, tmp_path: Path):
    whole = lab_files.write_imaging(tmp_path / "whole.nwb")
    fit = lab_files.fit_of(whole)
    whole.unlink()
    broken = replace(fit.source, uri=str(source), url=source.as_uri(), digest=None)
    return replace(fit, source=broken)


@pytest.mark.parametrize(
    "name",
    ["acquisition/raw", "processing", "processing/population_dynamics", "specifications", "extra"],
)
def test_no_link_of_the_source_lets_another_file_be_written_to(units, tmp_path, name):
    other = tmp_path / "other.nwb"
    with h5py.File(other, "w") as file:
        file.create_group("group")
    before = other.read_bytes()
    with h5py.File(units, "a") as file:
        if name in file:
            file.move(name, "before")
        file[name] = h5py.ExternalLink(str(other), "/group")
    path = tmp_path / "out.nwb"
    if name in ("acquisition/raw", "extra"):
        export(lab_files.fit_of(units), path, enrich=True)
        with h5py.File(path, "r") as file:
            assert file.get(name, getlink=True).filename == str(other)
    else:
        with pytest.raises(ResultsError, match=f"/{name} of units is a link"):
            export(lab_files.fit_of(units), path, enrich=True)
        assert not path.exists()
    assert other.read_bytes() == before
