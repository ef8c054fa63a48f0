"""A copy of an embargoed recording, and a fit that holds anything of one, count as embargoed."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import lab_files
import pytest
from click.testing import CliRunner, Result
from small_fits import LINEAR, imaging
from standin import KEY, StandIn

import nwbdyn
from nwbdyn import archive
from nwbdyn.cli import main
from nwbdyn.errors import AddressError, ResultsError
from nwbdyn.nwb.read import slim_record
from nwbdyn.recording import Source
from nwbdyn.results import fit_results, other_sources
from nwbdyn.workflows import archive_upload
from nwbdyn.workflows.joint import fit_joint

EMBARGOED = Source(
    uri="dandi:000001@draft/sub-a/sub-a.nwb",
    url="https://api.dandiarchive.org/api/assets/1/download/",
    dandiset_id="000001",
    asset_id="1",
    instance="dandi",
)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    monkeypatch.delenv("DANDI_INSTANCE", raising=False)


@pytest.fixture
def standin(tmp_path):
    """An archive with an embargoed recording in 000001, and the open dandiset 000002."""
    asset = tmp_path / "archive/000001/sub-m1/sub-m1_ses-s1.nwb"
    asset.parent.mkdir(parents=True)
    lab_files.write_imaging(asset)
    (tmp_path / "archive/000002").mkdir()
    with StandIn(tmp_path / "archive", embargoed=["000001"]) as server:
        yield server


def by_link(server: StandIn) -> Source:
    (path,) = server.paths("000001")
    (source,) = archive.resolve(f"{server.api}/assets/{server.asset_id(path)}/")
    return source


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def assert_kept_out(server: StandIn, *sources: Source, because: str = "is embargoed") -> None:
    with pytest.raises(ResultsError, match=because):
        archive_upload.check_draft("dandi:000002", *sources, instance=server.api)


# Copies on this disk


def test_a_whole_file_by_the_link_of_its_asset_is_still_embargoed(standin, tmp_path):
    path = archive.download(by_link(standin), tmp_path / "here")
    (local,) = archive.resolve(str(path))
    assert (local.dandiset_id, local.asset_id) == (None, by_link(standin).asset_id)
    assert_kept_out(standin, local)
    standin.embargoed.clear()
    archive_upload.check_draft("dandi:000002", local, instance=standin.api)


def test_a_copy_of_a_copy_is_still_embargoed(standin, tmp_path):
    for number, source in enumerate(
        (by_link(standin), *archive.resolve("dandi:000001", instance=standin.api))
    ):
        first = archive.download(source, tmp_path / f"first {number}")
        copied = run("fetch", first, "-o", tmp_path / f"second {number}", "--full", "-q")
        assert copied.exit_code == 0, copied.output
        (second,) = archive.resolve(str(tmp_path / f"second {number}"))
        assert second.path != first
        assert_kept_out(standin, second)


def test_a_file_from_the_web_is_nobodys_own(standin, tmp_path):
    standin.embargoed.clear()
    (path,) = standin.paths("000001")
    url = f"{standin.storage}/blobs/{standin.asset_id(path)}?signature={standin.signature}"
    (source,) = archive.resolve(url)
    fetched = archive.download(source, tmp_path / "here")
    (local,) = archive.resolve(str(fetched))
    assert archive.access(local) == "unknown"
    assert_kept_out(standin, local, because="--allow-unknown-access")
    record = fetched.with_name(f"{fetched.name}.source.json").read_text()
    assert "signature" not in record


def test_the_origin_is_written_before_a_byte_arrives(standin, tmp_path):
    def stop(progress) -> None:
        raise KeyboardInterrupt

    for source in (by_link(standin), *archive.resolve("dandi:000001", instance=standin.api)):
        with pytest.raises(KeyboardInterrupt):
            archive.download(source, tmp_path / "here", report=stop)
    names = {path.name for path in (tmp_path / "here").rglob("*") if path.is_file()}
    assert {"dandiset.yaml", "sub-m1_ses-s1.nwb.source.json"} <= names


def test_a_file_of_the_users_own_has_no_record(tmp_path):
    (source,) = archive.resolve(str(lab_files.write_imaging(tmp_path / "lab.nwb")))
    path = archive.download(source, tmp_path / "here")
    assert list(path.parent.iterdir()) == [path]
    assert archive.access(archive.resolve(str(path))[0]) == "local"


@pytest.mark.parametrize(
    "text",
    [
        "identifier: DANDI:000002\nnwbdyn_instance: {api}\n",
        "identifier: DANDI:000001\n",
        "identifier: DANDI:000001\nurl: https://sandbox.dandiarchive.org/dandiset/000001/draft\n",
        "name: x\n",
    ],
)
def test_two_dandisets_do_not_share_a_folder(standin, tmp_path, text):
    folder = tmp_path / "here/000001"
    folder.mkdir(parents=True)
    (folder / "dandiset.yaml").write_text(text.format(api=standin.api))
    (source,) = archive.resolve("dandi:000001", instance=standin.api)
    with pytest.raises(ResultsError, match="choose another folder"):
        archive.download(source, tmp_path / "here")
    assert [path.name for path in folder.iterdir()] == ["dandiset.yaml"]


MAIN, SANDBOX = "https://dandiarchive.org", "https://sandbox.dandiarchive.org"


@pytest.mark.parametrize(
    ("text", "dandiset", "instance"),
    [
        ("identifier: DANDI:000128\n", "000128", None),
        ("identifier: '000128'\n", "000128", None),
        ('identifier: "dandi:000128"\n', "000128", None),
        (f"identifier: DANDI:000128\nurl: {MAIN}/dandiset/000128/draft\n", "000128", "dandi"),
        (f"identifier: DANDI:000128\nurl: {SANDBOX}/dandiset/000128\n", "000128", SANDBOX),
        ("identifier: EMBER-DANDI:000128\n", "000128", "ember-dandi"),
        ("identifier: DANDI:128\n", None, "unknown"),
        ("name: a lab's folder\n", None, "unknown"),
        ("", None, "unknown"),
    ],
)
def test_a_dandiset_is_read_from_every_form_of_its_record(tmp_path, text, dandiset, instance):
    (tmp_path / "sub").mkdir()
    path = lab_files.write_imaging(tmp_path / "sub/lab.nwb")
    (tmp_path / "dandiset.yaml").write_text(text)
    (source,) = archive.resolve(str(path))
    assert (source.dandiset_id, source.instance) == (dandiset, instance)
    if dandiset is None:
        assert archive.access(source) == "unknown"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"asset_id": 1, "instance": "dandi"}', "{"])
def test_a_record_that_cannot_be_read_is_unknown(tmp_path, text):
    path = lab_files.write_imaging(tmp_path / "lab.nwb")
    Path(f"{path}.source.json").write_text(text)
    (source,) = archive.resolve(str(path))
    assert archive.access(source) == "unknown"


def test_an_asset_is_not_taken_for_one_of_another_dandiset(standin):
    (path,) = standin.paths("000001")
    link = f"{standin.api}/dandisets/000002/versions/draft/assets/{standin.asset_id(path)}/"
    with pytest.raises(AddressError, match="has no asset"):
        archive.resolve(link)


# Files that hold a record of another recording


def enriched(folder: Path, source: Source) -> Path:
    path = lab_files.write_imaging(folder / "lab.nwb")
    fit = replace(lab_files.fit_of(path), source=source)
    return nwbdyn.export(fit, folder / "enriched.nwb", enrich=True, source_file=path)


def test_an_enriched_copy_names_the_recordings_that_its_results_are_of(tmp_path):
    with nwbdyn.open(str(enriched(tmp_path, EMBARGOED))) as recording:
        (other,) = recording.copied_from
    assert replace(other, url=EMBARGOED.url) == EMBARGOED
    (tmp_path / "own").mkdir()
    own = Source(uri="lab.nwb", url="")
    with nwbdyn.open(str(enriched(tmp_path / "own", own))) as recording:
        assert recording.copied_from == ()


def test_results_that_lead_out_of_the_file_are_not_followed(tmp_path):
    path = enriched(tmp_path, EMBARGOED)
    moved = shutil.copy(path, tmp_path / "other.nwb")
    with h5py.File(path, "a") as file:
        module = file["processing/population_dynamics"]
        (name,) = (key for key in module if module[key].attrs["neurodata_type"] == "ModelRun")
        where = module[name].name
        del module[name]
        module[name] = h5py.ExternalLink(str(moved), where)
    with nwbdyn.open(str(path)) as recording:
        assert recording.copied_from == ()


def slim(path: Path, source: object, **more: object) -> Path:
    with h5py.File(path, "a") as file:
        record = slim_record.SlimRecord(EMBARGOED, None, (), "a test")
        slim_record.write(file, record)
        stored = {"format": 1, "identity": None, "left_out": [], "made_by": "x", "source": source}
        del file[slim_record.RECORD_PATH]
        file[slim_record.RECORD_PATH] = json.dumps(stored | more)
    return path


def test_a_slim_copy_in_a_dandiset_is_of_that_dandiset_too(tmp_path):
    first = {"uri": "lab.nwb", "url": ""}
    (tmp_path / "dandiset.yaml").write_text("identifier: DANDI:000001\n")
    path = slim(lab_files.write_imaging(tmp_path / "lab.nwb"), first)
    with nwbdyn.open(str(path)) as recording:
        assert recording.source.dandiset_id is None
        (other,) = recording.copied_from
    assert other.dandiset_id == "000001"


@pytest.mark.parametrize(
    "source",
    [
        {"uri": 7, "url": ""},
        {"uri": "a", "url": None},
        {"uri": "a", "url": "", "size": "many"},
        {"uri": "a", "url": "", "asset_path": ["x"]},
        {"uri": "a"},
        {"uri": "a", "url": "", "no_such": 1},
        "dandi:000001",
        None,
    ],
)
def test_a_slim_copy_with_a_damaged_record_is_unknown(tmp_path, source):
    path = slim(lab_files.write_imaging(tmp_path / "lab.nwb"), source)
    with nwbdyn.open(str(path)) as recording:
        (other,) = recording.copied_from
    assert archive.access(other) == "unknown"


# Fits with data of several recordings


def test_a_joint_fit_is_of_all_its_recordings(tmp_path):
    other = replace(imaging(seed=1), source=Source(uri="own.nwb", url="file:///data/own.nwb"))
    recordings = [replace(imaging(), source=EMBARGOED), other]
    fits = fit_joint(recordings, "netformer", options=LINEAR, epochs=1, run=tmp_path / "joint")
    for name, fit in fits.items():
        for one in (fit, nwbdyn.load(tmp_path / "joint" / name)):
            names = {source.uri for source in fit_results.derived_from(one)}
            assert names == {EMBARGOED.uri, "own.nwb"} | {one.source.uri}
    begun = nwbdyn.fit(imaging(seed=2), "netformer", init_from=tmp_path / "joint", epochs=1)
    assert EMBARGOED in fit_results.derived_from(begun)
    assert not any("/data/" in str(asdict(one)) for one in fit_results.derived_from(begun)[1:])


def test_a_fit_that_starts_from_another_run_is_of_its_recording_too(tmp_path):
    first = replace(imaging(), source=EMBARGOED)
    nwbdyn.fit(first, "netformer", options=LINEAR, epochs=1, run=tmp_path / "first")
    keywords = {"epochs": 1, "run": tmp_path / "second", "init_from": tmp_path / "first"}
    nwbdyn.fit(imaging(seed=1), "netformer", **keywords)
    keywords = {"epochs": 1, "init_from": tmp_path / "second"}
    third = nwbdyn.fit(imaging(seed=2), "netformer", **keywords)
    assert EMBARGOED in fit_results.derived_from(third)
    alone = nwbdyn.fit(imaging(), "netformer", options=LINEAR, epochs=1)
    assert fit_results.derived_from(alone) == (alone.source,)


def test_every_recording_of_a_fit_decides_over_its_upload(standin, tmp_path):
    path = lab_files.write_imaging(tmp_path / "lab.nwb")
    (embargoed,) = archive.resolve("dandi:000001", instance=standin.api)
    environment = {other_sources.DERIVED_FROM: [asdict(embargoed)]}
    fit = replace(lab_files.fit_of(path), environment=environment)
    saved = fit.save(tmp_path / "run")
    refused = run("export", saved, "--upload", "dandi:000002", "--instance", standin.api)
    assert refused.exit_code == 1
    assert f"{embargoed.uri} is embargoed" in refused.stderr
    assert not list(saved.glob("*.nwb"))


@pytest.mark.parametrize(
    "requested", [{"joint": {"sessions": ["a", "b"]}}, {"adopted": {"run": "x"}}]
)
def test_a_run_that_does_not_name_its_other_recordings_is_unknown(standin, tmp_path, requested):
    fit = lab_files.fit_of(lab_files.write_imaging(tmp_path / "lab.nwb"))
    fit = replace(fit, environment={"asked": requested})
    sources = fit_results.derived_from(fit)
    assert_kept_out(standin, *sources, because="the other recordings of this fit is unknown")
