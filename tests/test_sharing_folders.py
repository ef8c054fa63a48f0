"""Runs of several recordings become one derived dandiset: paths, lineage, README, resume."""

import json
from dataclasses import replace
from pathlib import Path

import h5py
import lab_files
import pytest
from click.testing import CliRunner, Result
from standin import KEY, StandIn

import nwbdyn
from nwbdyn import archive
from nwbdyn.cli import main
from nwbdyn.results import fit_results
from nwbdyn.results.run_folder import runs_in
from nwbdyn.workflows import archive_share, archive_upload, shared_readme
from nwbdyn.workflows.archive_share import Shared, Target

SUBJECTS = ("m1", "m2", "m3")
PATHS = [f"sub-{name}/sub-{name}_ses-s1_desc-netformer_ophys.nwb" for name in SUBJECTS]
PUT_ASSET = "POST .*/versions/draft/assets/"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("DANDI_API_KEY", KEY)


CHECKS = archive_upload._problems


@pytest.fixture(autouse=True)
def unchecked(monkeypatch):
    """Leave out the checks of a file, which take seconds; one test brings them back."""
    monkeypatch.setattr(archive_upload, "_problems", lambda *_: [])


@pytest.fixture
def standin(tmp_path):
    """An archive with one recording in each of 000001 and 000004 and two in 000005."""
    folder = tmp_path / "archive"
    for dandiset, name in zip(("000001", "000004", "000005"), SUBJECTS, strict=True):
        asset = folder / dandiset / f"sub-{name}/sub-{name}_ses-s1.nwb"
        asset.parent.mkdir(parents=True)
        lab_files.write_imaging(asset, {**lab_files.SUBJECT, "subject_id": name})
    (folder / "000002").mkdir()
    with StandIn(folder, published={"000001": ["0.240101.0001"]}) as server:
        yield server


@pytest.fixture
def runs(standin, tmp_path) -> Path:
    """A folder with one run per recording, and a folder that is none."""
    folder = tmp_path / "runs"
    for dandiset in ("000001", "000004", "000005"):
        (source,) = archive.resolve(f"dandi:{dandiset}", instance=standin.api)
        path = next((standin.folder / dandiset).rglob("*.nwb"))
        replace(lab_files.fit_of(path), source=source).save(folder / dandiset)
    (folder / "notes").mkdir()
    return folder


def share(runs: Path, server: StandIn, *, send: bool = True, **more: bool) -> Shared:
    target = Target("dandi:000002", instance=server.api, **more)
    return archive_share.share(runs_in(runs), target, send=send)


def command(runs: Path, server: StandIn, *more: str) -> Result:
    arguments = ["export", str(runs), "--upload", "dandi:000002", "--instance", server.api, *more]
    return CliRunner().invoke(main, arguments)


def statuses(shared: Shared) -> list[str]:
    return [row.status for row in shared.runs]


def sent(server: StandIn) -> dict[str, Path]:
    root = server.folder / "000002"
    return {path.relative_to(root).as_posix(): path for path in server.paths("000002")}


def parts_sent(server: StandIn) -> int:
    return sum("PUT /parts/" in line for line in server.requested)


# The command, from end to end


def test_a_dry_run_shows_a_table_and_sends_nothing(standin, runs):
    done = command(runs, standin)
    assert done.exit_code == 0, done.output
    for name, path in zip(("000001", "000004", "000005"), PATHS, strict=True):
        (row,) = (line for line in done.stdout.splitlines() if line.startswith(name))
        assert row.endswith("new")
        assert path[:8] in row
    assert any(line.split() == ["README.md", "new"] for line in done.stdout.splitlines())
    assert "Would send 3 files (" in done.stdout
    assert "Add --send" in done.stdout
    assert not sent(standin)
    assert not parts_sent(standin)


def test_results_of_three_dandisets_become_one_with_the_lineage_of_each(standin, runs):
    done = command(runs, standin, "--send", "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert [row["status"] for row in document["files"]] == ["sent"] * 3
    assert document["readme"] == "sent"
    assert sorted(sent(standin)) == ["README.md", *PATHS]
    origins = ["dandi:000001@0.240101.0001", "dandi:000004@draft", "dandi:000005@draft"]
    readme = sent(standin)["README.md"].read_text()
    for name, path, origin in zip(SUBJECTS, PATHS, origins, strict=True):
        recording = f"{origin}/sub-{name}/sub-{name}_ses-s1.nwb"
        metadata = standin.metadata_of(sent(standin)[path])
        (activity,) = (one for one in metadata["wasGeneratedBy"] if one["name"] == "nwbdyn fit")
        assert f"Fitted to {_address(standin, recording)}" in activity["description"]
        assert f"- `{path}`: {activity['description']}" in readme
        with nwbdyn.open_results(sent(standin)[path]) as fit:
            assert fit.source.dandiset_id == origin[6:12]
    related = standin.dandisets["000002"]["relatedResource"]
    assert [one["identifier"][:12] for one in related] == [
        f"DANDI:{name}" for name in ("000001", "000004", "000005")
    ]


def _address(server: StandIn, recording: str) -> str:
    (source,) = archive.resolve(recording, instance=server.api)
    return source.uri


def test_the_same_command_again_sends_nothing(standin, runs):
    assert command(runs, standin, "--send").exit_code == 0
    before, files = parts_sent(standin), sent(standin)
    content = {path: file.read_bytes() for path, file in files.items()}
    again = command(runs, standin, "--send")
    assert again.exit_code == 0, again.output
    assert "Sent 0 files to dandi:000002. 3 there already." in again.stdout
    assert any(line.split() == ["README.md", "there"] for line in again.stdout.splitlines())
    assert parts_sent(standin) == before == 4  # three results and the README
    assert {path: file.read_bytes() for path, file in files.items()} == content
    dry = command(runs, standin)
    assert "README.md" not in dry.stdout
    assert "Would send" not in dry.stdout


def test_what_failed_is_tried_again_and_the_rest_is_not_sent_twice(standin, runs):
    (runs / "000004" / "provenance.json").write_text("{}")
    first = command(runs, standin, "--send")
    assert first.exit_code == 3
    assert "000004: " in first.stdout
    assert "1 of 3 not shared" in first.stdout
    assert sorted(sent(standin)) == ["README.md", PATHS[0], PATHS[2]]
    path = next((standin.folder / "000004").rglob("*.nwb"))
    (source,) = archive.resolve("dandi:000004", instance=standin.api)
    replace(lab_files.fit_of(path), source=source).save(runs / "000004", overwrite=True)
    before = parts_sent(standin)
    second = command(runs, standin, "--send")
    assert second.exit_code == 0, second.output
    assert sorted(sent(standin)) == ["README.md", *PATHS]
    assert parts_sent(standin) == before + 2  # the result, and the README that now lists it
    assert PATHS[1] in sent(standin)["README.md"].read_text()


def test_an_upload_that_the_archive_refuses_once_arrives_the_next_time(standin, runs):
    standin.refused[PUT_ASSET] = (400, "not now")
    first = share(runs, standin)
    assert statuses(first) == ["failed"] * 3
    assert first.readme == ""
    assert command(runs, standin, "--send").exit_code == 1
    standin.refused.clear()
    parts = parts_sent(standin)
    assert statuses(share(runs, standin)) == ["sent"] * 3
    assert parts_sent(standin) == parts + 1  # bytes that had arrived are not sent again


# What may go to an open dandiset


def test_results_of_an_embargoed_recording_are_refused_and_named_nowhere(standin, runs):
    standin.embargoed.add("000004")
    done = command(runs, standin, "--send")
    assert done.exit_code == 3
    assert "is embargoed, and dandi:000002 is open to" in " ".join(done.stdout.split())
    assert sorted(sent(standin)) == ["README.md", PATHS[0], PATHS[2]]
    assert not list((runs / "000004").glob("*.nwb"))
    everything = sent(standin)["README.md"].read_text() + json.dumps(standin.dandisets)
    assert "000004" not in everything
    assert "m2" not in everything


def test_a_fit_whose_weights_come_from_an_embargoed_recording_is_refused(standin, runs):
    standin.embargoed.add("000004")
    (other,) = archive.resolve("dandi:000004", instance=standin.api)
    run = runs / "000001"
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["environment"]["derived_from"] = [
        {key: value for key, value in vars(other).items() if isinstance(value, str | int)}
    ]
    (run / "provenance.json").write_text(json.dumps(provenance))
    assert statuses(share(runs, standin, send=False)) == ["refused", "refused", "new"]


def test_a_file_that_names_an_embargoed_recording_is_refused_whatever_its_run_names(standin, runs):
    standin.embargoed.add("000004")
    with h5py.File(nwbdyn.export(runs / "000001"), "r+") as file:  # as if two fits were in it
        named: list[str] = []
        file.visititems(lambda name, item: _note_source(named, name, item))
        (name,) = named
        file.copy(name, f"{name}_of_another_fit")
        other = file[f"{name}_of_another_fit"].attrs
        other["dandiset_id"] = "000004"
        other["uri"] = other["uri"].replace("000001", "000004")
    shared = share(runs, standin)
    assert statuses(shared) == ["refused", "refused", "sent"]
    assert "000004" in shared.runs[0].reason
    assert PATHS[0] not in sent(standin)


def _note_source(named: list[str], name: str, item: h5py.Group | h5py.Dataset) -> None:
    if item.attrs.get("neurodata_type") == "RunSource":
        named.append(name)


def test_an_embargoed_dandiset_takes_all_and_the_owner_may_allow_an_open_one(standin, runs):
    standin.embargoed.add("000004")
    assert statuses(share(runs, standin, send=False, allow_embargoed=True)) == ["new"] * 3
    standin.embargoed.add("000002")
    assert statuses(share(runs, standin, send=False)) == ["new"] * 3


# Paths, other content, README


def test_two_fits_of_one_session_with_one_model_have_one_path_and_both_are_left(standin, runs):
    fit = nwbdyn.load(runs / "000001")
    replace(fit, seed=1).save(runs / "000001-s1")
    shared = share(runs, standin, send=False)
    assert statuses(shared) == ["failed", "failed", "new", "new"]
    assert f"2 of these runs have the path {PATHS[0]}" in shared.runs[0].reason


def test_another_file_at_a_path_is_replaced_only_with_replace(standin, runs):
    share(runs, standin)
    nwbdyn.export(runs / "000001", overwrite=True)  # new object ids, so other bytes
    shared = share(runs, standin)
    assert statuses(shared) == ["failed", "there", "there"]
    assert "is there with other content: pass --replace" in shared.runs[0].reason
    assert statuses(share(runs, standin, send=False, replace=True)) == ["replace", "there", "there"]
    assert statuses(share(runs, standin, replace=True)) == ["sent", "there", "there"]
    new = (runs / "000001" / Path(PATHS[0]).name).read_bytes()
    assert sent(standin)[PATHS[0]].read_bytes() == new


def test_a_readme_of_somebody_else_stays(standin, runs):
    readme = standin.folder / "000002" / "README.md"
    readme.write_text("Mine.")
    assert share(runs, standin, send=False).readme == ""
    assert share(runs, standin).readme == "left as it is"
    assert readme.read_text() == "Mine."


def test_a_second_folder_joins_the_readme_of_the_first(standin, runs, tmp_path):
    (tmp_path / "later").mkdir()
    (runs / "000005").rename(tmp_path / "later" / "000005")
    share(runs, standin)
    share(tmp_path / "later", standin)
    readme = sent(standin)["README.md"].read_text()
    assert all(path in readme for path in PATHS)
    assert "3 results:" in readme


def test_a_readme_that_could_not_be_sent_is_a_remark(standin, runs, monkeypatch):
    share(runs, standin)
    sent(standin)["README.md"].unlink()
    standin.refused[PUT_ASSET] = (403, "no")
    shared = share(runs, standin)
    assert statuses(shared) == ["there"] * 3
    assert shared.readme == "failed"
    assert any("README.md was not sent" in remark for remark in shared.remarks)


def test_without_any_result_there_is_no_readme(standin):
    assert shared_readme.update("000002", instance=standin.api) == ""


def test_what_the_archives_validation_rejects_is_a_problem_now_and_the_next_time(standin, runs):
    standin.invalid[PATHS[1]] = "unknown species"
    for _ in range(2):
        done = command(runs, standin, "--send")
        assert done.exit_code == 3
        assert "000004: species: unknown species" in done.stdout
        assert "1 of 3 not shared" in done.stdout


def test_a_file_that_the_archive_would_refuse_is_not_sent(standin, runs, monkeypatch):
    monkeypatch.setattr(archive_upload, "_problems", CHECKS)
    path = next((standin.folder / "000004").rglob("*.nwb"))
    (source,) = archive.resolve("dandi:000004", instance=standin.api)
    fit = replace(lab_files.fit_of(path), source=source)
    subject = {"subject_id": "m2"}
    replace(fit, session={**fit.session, "subject": subject}).save(runs / "000004", overwrite=True)
    shared = share(runs, standin, send=False)
    assert statuses(shared) == ["new", "failed", "new"]
    assert "is not ready for the archive" in shared.runs[1].reason


# Options


def test_one_output_does_not_go_with_the_upload_of_a_folder(standin, runs, tmp_path):
    done = command(runs, standin, "-o", str(tmp_path / "one"))
    assert done.exit_code == 2
    assert "takes the files of 3 runs from their run directories" in done.output


def test_a_subject_field_is_given_only_where_the_recording_does_not_state_it(standin, runs):
    target = Target("dandi:000002", instance=standin.api)
    first, *_ = paths = runs_in(runs)
    fit = fit_results.load(first, recorded=False)
    stated = {**fit.session["subject"], "strain": "CD1"}
    replace(fit, session={**fit.session, "subject": stated}).save(first, overwrite=True)
    shared = archive_share.share(paths, target, subject={"strain": "C57BL/6J"})
    strains = []
    for row in shared.runs:
        with h5py.File(row.file) as file:
            strains.append(file["general/subject/strain"].asstr()[()])
    assert strains == ["CD1", "C57BL/6J", "C57BL/6J"]


def test_a_missing_subject_field_is_given_for_all(standin, runs):
    target = Target("dandi:000002", instance=standin.api)
    subject = {"strain": "C57BL/6J"}
    shared = archive_share.share(runs_in(runs), target, subject=subject)
    assert statuses(shared) == ["new"] * 3
    for row in shared.runs:
        with h5py.File(row.file) as file:
            assert file["general/subject/strain"].asstr()[()] == "C57BL/6J"
