"""A file's origin counts by whatever name it is reached, and so does all that the file holds."""

import os
from dataclasses import asdict, replace
from pathlib import Path

import h5py
import lab_files
import pytest
from click.testing import CliRunner, Result
from standin import KEY, StandIn

import nwbdyn
from nwbdyn import archive, disclosure
from nwbdyn.cli import main
from nwbdyn.errors import ResultsError
from nwbdyn.recording import Source
from nwbdyn.results import fit_results, other_sources

YAML = "identifier: DANDI:000001\nurl: https://dandiarchive.org/dandiset/000001\n"
OTHER = Source(uri="dandi:000001@draft/sub-a.nwb", url="", dandiset_id="000001", instance="dandi")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    monkeypatch.delenv("DANDI_INSTANCE", raising=False)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def opened(path: Path) -> Source:
    (source,) = archive.resolve(str(path))
    return source


# Links


@pytest.fixture
def store(tmp_path):
    """A file in a folder of its own, as git-annex keeps it outside of the dandiset's folder."""
    (tmp_path / "annex").mkdir()
    return lab_files.write_imaging(tmp_path / "annex/SHA256-1.nwb")


def test_a_link_in_the_folder_of_a_dandiset_is_of_that_dandiset(store, tmp_path):
    (tmp_path / "000001/sub-a").mkdir(parents=True)
    (tmp_path / "000001/dandiset.yaml").write_text(YAML)
    link = tmp_path / "000001/sub-a/sub-a.nwb"
    link.symlink_to(store)
    source = opened(link)
    assert (source.dandiset_id, source.instance) == ("000001", "dandi")
    assert source.asset_path == "sub-a/sub-a.nwb"
    folder = tmp_path / "by another name"
    folder.symlink_to(tmp_path / "annex")
    assert opened(folder / store.name).dandiset_id is None


def test_a_record_beside_a_link_or_beside_its_file_counts(store, tmp_path):
    link = tmp_path / "link.nwb"
    link.symlink_to(store)
    record = '{"asset_id": "1", "instance": "dandi"}'
    for beside in (link, store):
        path = Path(f"{beside}.source.json")
        path.write_text(record)
        assert opened(link).asset_id == "1"
        path.unlink()


def test_two_records_that_differ_are_unknown(store, tmp_path):
    (tmp_path / "annex/dandiset.yaml").write_text(YAML)
    link = tmp_path / "link.nwb"
    link.symlink_to(store)
    Path(f"{link}.source.json").write_text('{"asset_id": "1", "instance": "dandi"}')
    assert opened(link).instance == "unknown"
    assert archive.access(opened(link)) == "unknown"


@pytest.mark.parametrize("name", ["dandiset.yaml", "SHA256-1.nwb.source.json"])
@pytest.mark.parametrize("kind", ["folder", "link to nothing", "no permission"])
def test_a_record_of_another_kind_is_unknown(store, name, kind):
    record = store.with_name(name)
    if kind == "folder":
        record.mkdir()
    elif kind == "link to nothing":
        record.symlink_to("nothing")
    else:
        record.write_text(YAML)
        record.chmod(0)
        if os.access(record, os.R_OK):
            pytest.skip("this user may read everything")
    assert archive.access(opened(store)) == "unknown"


def test_no_record_is_written_through_a_link(store, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("mine")
    source = replace(opened(store), asset_id="1", instance="dandi", digest=None)
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / f"{store.name}.source.json").symlink_to(precious)
    archive.download(source, folder)
    assert precious.read_text() == "mine"
    assert opened(folder / store.name).asset_id == "1"
    (tmp_path / "000001").mkdir()
    (tmp_path / "000001/dandiset.yaml").symlink_to(tmp_path / "written")
    with pytest.raises(ResultsError, match="choose another folder"):
        archive.download(replace(OTHER, asset_path="sub-a.nwb"), tmp_path)
    assert not (tmp_path / "written").exists()


# Files that hold results of several fits


def enriched(folder: Path, *environments: dict) -> tuple[Path, list[Path]]:
    """A copy of a recording with the results of several fits, and their run directories."""
    path = lab_files.write_imaging(folder / "lab.nwb")
    runs, file = [], path
    for number, environment in enumerate(environments):
        fit = replace(lab_files.fit_of(path, seed=number), environment=environment)
        runs.append(fit.save(folder / f"run-{number}"))
        more = {"enrich": True, "source_file": file}
        file = nwbdyn.export(nwbdyn.load(runs[-1]), folder / f"sub-m1_{number}.nwb", **more)
    return file, runs


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, []),
        ({other_sources.DERIVED_FROM: []}, []),
        ({other_sources.DERIVED_FROM: [asdict(OTHER)]}, [OTHER.uri]),
        ({other_sources.DERIVED_FROM: [{"uri": 7}]}, ["the other recordings of this fit"]),
        ({other_sources.DERIVED_FROM: "dandi:000001"}, ["the other recordings of this fit"]),
        ({"asked": {"joint": {"sessions": ["a"]}}}, ["the other recordings of this fit"]),
        ({"asked": {"adopted": {"run": "a"}}}, ["the other recordings of this fit"]),
        ({"asked": {"test": "a"}}, []),
    ],
)
def test_results_name_every_recording_whose_data_are_in_their_fit(tmp_path, environment, names):
    file, (folder,) = enriched(tmp_path, environment)
    with nwbdyn.open(str(file)) as recording:
        assert [source.uri for source in recording.copied_from] == names
    others = fit_results.derived_from(nwbdyn.load(folder))[1:]
    assert [source.uri for source in others] == names
    assert all(archive.access(source) == "unknown" for source in others if source != OTHER)


def test_results_whose_record_is_damaged_are_of_an_unknown_recording(tmp_path):
    file, _ = enriched(tmp_path, {other_sources.DERIVED_FROM: [asdict(OTHER)]})
    with h5py.File(file, "a") as stored:
        module = stored["processing/population_dynamics"]
        (details,) = (item["details"] for item in module.values() if "details" in item)
        del details["key"]
        details["key"] = h5py.ExternalLink("other.nwb", "/x")
    with nwbdyn.open(str(file)) as recording:
        (other,) = recording.copied_from
    assert archive.access(other) == "unknown"


@pytest.fixture
def standin(tmp_path):
    """An archive with an embargoed recording in 000001, and the open dandiset 000002."""
    asset = tmp_path / "archive/000001/sub-m1/sub-m1_ses-s1.nwb"
    asset.parent.mkdir(parents=True)
    lab_files.write_imaging(asset)
    (tmp_path / "archive/000002").mkdir()
    with StandIn(tmp_path / "archive", embargoed=["000001"]) as server:
        yield server


@pytest.mark.parametrize("is_there", [True, False])
def test_a_file_that_holds_more_than_one_fit_is_checked_for_all_of_them(
    standin, tmp_path, is_there
):
    (embargoed,) = archive.resolve("dandi:000001", instance=standin.api)
    joint = {other_sources.DERIVED_FROM: [asdict(embargoed)]}
    file, (_, alone) = enriched(tmp_path, joint, {})
    (name,) = standin.paths("000001")
    if not is_there:  # the recording that was fitted is itself such a file
        file.unlink()
        with nwbdyn.open(str(tmp_path / "sub-m1_0.nwb")) as recording:
            assert embargoed.uri in [source.uri for source in recording.copied_from]
        fit = replace(nwbdyn.load(alone), source=opened(tmp_path / "sub-m1_0.nwb"))
        alone = fit.save(tmp_path / "run of the copy")
    to = ("--upload", "dandi:000002", "--instance", standin.api, "--enrich", "-o", file)
    refused = run("export", alone, *to, "--send")
    assert refused.exit_code == 1
    assert f"{embargoed.uri} is embargoed" in refused.stderr
    assert standin.paths("000002") == []
    rehearsed = run("export", alone, *to, "--allow-embargoed")
    assert rehearsed.exit_code == 0, rehearsed.output
    standin.embargoed.clear()
    assert run("export", alone, *to).exit_code == 0
    assert name in standin.paths("000001")


# This machine's own web server


def test_a_file_of_this_hosts_own_server_is_of_no_known_archive(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "data")
    source = Source(
        uri="https://data.lab.org/private/a.nwb", url="https://data.lab.org/private/a.nwb"
    )
    shown = disclosure.of_source(source)
    assert (shown.uri, shown.url) == ("a.nwb", "")
    assert archive.access(shown) == "unknown"
    assert disclosure.of_source(shown) == shown
