"""Results go back to an archive once, with their lineage, and only where they may go."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import lab_files
import pytest
from click.testing import CliRunner, Result
from standin import KEY, StandIn

import nwbdyn
from nwbdyn import archive
from nwbdyn.archive.catalogue import RESULTS
from nwbdyn.cli import main
from nwbdyn.errors import AddressError, ArchiveError, ResultsError
from nwbdyn.progress import Progress
from nwbdyn.workflows import archive_upload


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("DANDI_API_KEY", KEY)


@pytest.fixture
def standin(tmp_path):
    """An archive with the fitted recording in 000001 and the empty dandisets 000002 and 000003."""
    asset = tmp_path / "archive/000001/sub-m1/sub-m1_ses-s1.nwb"
    asset.parent.mkdir(parents=True)
    lab_files.write_imaging(asset)
    for name in ("000002", "000003"):
        (tmp_path / "archive" / name).mkdir()
    with StandIn(tmp_path / "archive", published={"000001": ["0.240101.0001"]}) as server:
        yield server


@pytest.fixture
def run(standin, tmp_path) -> Path:
    """The run directory of a fit of dandi:000001."""
    (source,) = archive.resolve("dandi:000001", instance=standin.api)
    fit = lab_files.fit_of(tmp_path / "archive/000001/sub-m1/sub-m1_ses-s1.nwb")
    return replace(fit, source=source).save(tmp_path / "run")


@pytest.fixture
def parcel(run) -> archive_upload.ValidatedFile:
    """The exported fit, ready to go to 000002 without the checks, which take seconds."""
    path = nwbdyn.export(run)
    where = archive.default_asset_path(path)
    return archive_upload.ValidatedFile(path, "dandi:000002", where, path.stat().st_size)


def send(
    parcel: archive_upload.ValidatedFile, server: StandIn, run: Path, **more: bool
) -> archive_upload.UploadResult:
    source = nwbdyn.load(run).source
    return archive_upload.send(parcel, source, instance=server.api, **more)


def upload(run: Path, server: StandIn, *more: str, to: str = "dandi:000002") -> Result:
    arguments = ["export", str(run), "--upload", to, "--instance", server.api, *more]
    return CliRunner().invoke(main, arguments)


def parts_sent(server: StandIn) -> int:
    return sum("PUT /parts/" in line for line in server.requested)


# The command, from end to end


def test_an_upload_tells_where_it_comes_from_in_three_places_and_is_made_once(standin, run):
    done = upload(run, standin, "--send")
    assert done.exit_code == 0, done.output
    path = "sub-m1/sub-m1_ses-s1_desc-netformer_ophys.nwb"
    assert f"Sent dandi:000002@draft/{path}" in done.output
    assert "now says that it is derived from DANDI:000001" in done.output
    (metadata,) = standin.metadata.values()
    (activity,) = (item for item in metadata["wasGeneratedBy"] if item["name"] == "nwbdyn fit")
    assert "dandi:000001@0.240101.0001/sub-m1/sub-m1_ses-s1.nwb" in activity["description"]
    (resource,) = standin.dandisets["000002"]["relatedResource"]
    assert resource == {
        "schemaKey": "Resource",
        "identifier": "DANDI:000001/0.240101.0001",
        "url": f"{standin.api}/dandisets/000001/versions/0.240101.0001/",
        "relation": "dcite:IsDerivedFrom",
        "resourceType": "dcite:Dataset",
    }
    with nwbdyn.open_results(standin.folder / "000002" / path) as fit:
        assert fit.source.dandiset_id == "000001"

    again = upload(run, standin, "--send")
    assert again.exit_code == 0, again.output
    assert "holds these results already" in again.output
    assert parts_sent(standin) == 1
    assert sum(line.startswith("PUT /api/dandisets/000002/") for line in standin.requested) == 1


@pytest.mark.parametrize("fault", ["", "GET /api/auth/token/?"])
def test_the_key_is_in_no_log_file_output_or_error(standin, run, fault, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    if fault:
        standin.refused[fault] = (401, "no")
    done = upload(run, standin, "--send")
    assert done.exit_code == (1 if fault else 0)
    assert any(KEY in line for line in standin.keys)  # it was in use
    assert KEY not in caplog.text + done.output + done.stderr + repr(done.exception)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_a_dandiset_that_is_not_there_is_told_before_anything_is_written(standin, run):
    refused = upload(run, standin, to="dandi:000009")
    assert refused.exit_code == 1
    assert "has no dandiset '000009'" in refused.stderr
    misnamed = upload(run, standin, "-o", str(run / "results.nwb"))
    assert "names no subject" in misnamed.stderr
    assert not list(run.glob("*.nwb"))


def test_results_of_embargoed_data_stay_out_of_an_open_dandiset(standin, run):
    standin.embargoed.add("000001")
    refused = upload(run, standin, "--send")
    assert refused.exit_code == 1
    assert "is embargoed, and dandi:000002 is open to everybody" in refused.stderr
    assert "--allow-embargoed" in refused.stderr
    assert not list(run.glob("*.nwb"))
    source = nwbdyn.load(run).source
    standin.embargoed.add("000003")
    archive_upload.check_draft("dandi:000003", source, instance=standin.api)
    archive_upload.check_draft("dandi:000002", source, instance=standin.api, allow_embargoed=True)


def test_without_a_key_nobody_can_tell_that_a_recording_is_open(standin, run, monkeypatch):
    standin.embargoed.add("000001")
    monkeypatch.delenv("DANDI_API_KEY")
    refused = upload(run, standin)
    assert refused.exit_code == 1
    assert "asks for a key" in refused.stderr


def test_what_the_archives_validation_finds_afterwards_is_told(standin, run):
    standin.invalid["sub-m1/sub-m1_ses-s1_desc-netformer_ophys.nwb"] = "unknown species"
    done = upload(run, standin, "--send")
    assert done.exit_code == 1
    assert "Sent dandi:000002@draft/" in done.stdout
    assert "validation rejects it: species: unknown species. Correct this" in done.stderr


# What is sent, and what is not


def test_the_relation_is_valid_by_the_archives_own_schema(standin, run, parcel):
    from dandischema.models import Resource

    send(parcel, standin, run)
    (resource,) = standin.dandisets["000002"]["relatedResource"]
    assert Resource(**resource).relation.value == "dcite:IsDerivedFrom"


def test_an_upload_that_was_stopped_after_its_bytes_arrived_sends_none_again(standin, run, parcel):
    standin.refused["POST .*/versions/draft/assets/"] = (403, "You do not own this dandiset.")
    with pytest.raises(ArchiveError, match=r"even with the key \(HTTP 403\): ask its owner"):
        send(parcel, standin, run)
    standin.refused.clear()
    assert send(parcel, standin, run).asset.dandiset_id == "000002"
    assert parts_sent(standin) == 1


def test_an_upload_that_was_stopped_in_the_middle_starts_again_and_arrives(standin, run, parcel):
    def stop(progress: Progress) -> None:
        if progress.stage == "uploading":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.upload(parcel.path, "dandi:000002", instance=standin.api, report=stop)
    assert not standin.metadata
    send(parcel, standin, run)
    sent = standin.folder / "000002" / parcel.asset_path
    assert sent.read_bytes() == parcel.path.read_bytes()


def test_another_file_in_the_draft_is_replaced_only_when_told(standin, run, parcel):
    send(parcel, standin, run)
    nwbdyn.export(run, parcel.path, overwrite=True)  # new object ids, so other bytes
    with pytest.raises(ResultsError, match="choose another name, or pass --replace"):
        send(parcel, standin, run)
    send(parcel, standin, run, replace=True)
    sent = standin.folder / "000002" / parcel.asset_path
    assert sent.read_bytes() == parcel.path.read_bytes()


def test_a_dandiset_whose_metadata_may_not_be_changed_still_gets_the_file(standin, run, parcel):
    standin.refused["PUT /api/dandisets/000002/versions/draft/"] = (403, "Not the owner.")
    receipt = send(parcel, standin, run)
    assert "does not say that it is derived from DANDI:000001: " in receipt.relation
    assert list((standin.folder / "000002").rglob("*.nwb"))


@pytest.mark.parametrize(
    "requested",
    [
        "POST /api/uploads/initialize/",
        r"POST /api/uploads/\w+/validate/",
        "POST .*/versions/draft/assets/",
    ],
)
def test_what_the_archive_says_when_it_rejects_is_passed_on(standin, run, parcel, requested):
    standin.refused[requested] = (400, "metadata does not fit the schema")
    with pytest.raises(ArchiveError, match=r"rejected the request \(HTTP 400\)") as caught:
        send(parcel, standin, run)
    assert "metadata does not fit the schema" in str(caught.value)
    assert KEY not in str(caught.value)


def test_problems_are_listed_and_nothing_is_sent(standin, tmp_path):
    path = lab_files.write_units(tmp_path / "units.nwb", {"subject_id": "m1"})
    misfit = shutil.move(path, tmp_path / "sub-m1_ecephys.nwb")
    with pytest.raises(ResultsError, match=r"not ready for the archive.*species"):
        archive_upload.validate_for_upload(Path(misfit), "dandi:000002")
    assert not parts_sent(standin)


@pytest.mark.parametrize(("sex", "term"), [("XX", "PATO_0001340"), ("XO", "PATO_0000384")], ids=str)
def test_a_worm_is_sent_with_its_sex_in_the_words_of_the_archive(standin, tmp_path, sex, term):
    worm = {**lab_files.SUBJECT, "species": "Caenorhabditis elegans", "sex": sex}
    fit = lab_files.fit_of(lab_files.write_imaging(tmp_path / "worm.nwb", worm))
    parcel = archive_upload.validate_for_upload(
        nwbdyn.export(fit.save(tmp_path / "run")), "dandi:000002"
    )
    archive_upload.send(parcel, fit.source, instance=standin.api)
    (metadata,) = standin.metadata.values()
    (animal,) = metadata["wasAttributedTo"]
    assert animal["sex"]["identifier"].endswith(term)
    assert animal["species"]["identifier"].endswith("NCBITaxon_6239")
    assert metadata["path"] == parcel.asset_path
    (activity, *_) = [one for one in metadata["wasGeneratedBy"] if "Fitted" in str(one)]
    assert activity["name"] == RESULTS


def test_metadata_that_the_client_cannot_extract_are_a_problem_before_anything_is_sent(
    standin, tmp_path, monkeypatch
):
    monkeypatch.setattr(archive_upload.asset_metadata, "SEXES", {})
    worm = {**lab_files.SUBJECT, "species": "Caenorhabditis elegans", "sex": "XX"}
    fit = lab_files.fit_of(lab_files.write_imaging(tmp_path / "worm.nwb", worm))
    path = nwbdyn.export(fit.save(tmp_path / "run"))
    with pytest.raises(ResultsError, match="cannot extract its metadata: Cannot interpret sex"):
        archive_upload.validate_for_upload(path, "dandi:000002")
    assert not parts_sent(standin)


def test_a_place_that_is_no_dandiset_is_refused(standin, run):
    with pytest.raises(AddressError, match="expected dandi:ID"):
        archive.draft("dandi:000002/sub-m1", instance=standin.api)
    with pytest.raises(ArchiveError, match="Cannot reach"):
        archive.draft("dandi:000002", instance="http://127.0.0.1:9/api")
