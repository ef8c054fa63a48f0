"""An upload waits for the archive's validation, and says what became of it."""

from pathlib import Path

import h5py
import lab_files
import pytest
from test_sharing import environment, parcel, run, send, standin, upload  # noqa: F401

from nwbdyn import archive
from nwbdyn.archive import validation
from nwbdyn.errors import ResultsError
from nwbdyn.nwb.results import derivative
from nwbdyn.progress import Progress
from nwbdyn.workflows import archive_upload

PATH = "sub-m1/sub-m1_ses-s1_desc-netformer_ophys.nwb"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Questions follow one another at once."""
    monkeypatch.setattr(
        validation.wait, "__kwdefaults__", validation.wait.__kwdefaults__ | {"pause": 0.01}
    )


@pytest.mark.parametrize("names_path_in_field", [False, True])
def test_an_upload_waits_until_the_archive_has_validated_it(standin, run, names_path_in_field):  # noqa: F811
    standin.validation_takes, standin.names_path_in_field = 3, names_path_in_field
    done = upload(run, standin, "--send")
    assert done.exit_code == 0, done.output
    assert not standin.waiting
    assert "pending" not in done.output
    assert "being validated" not in done.output + done.stderr


def test_a_validation_that_takes_too_long_is_pending_and_no_failure(standin, run, monkeypatch):  # noqa: F811
    standin.validation_takes = 10**6
    monkeypatch.setattr(validation, "PATIENCE", 0.1)
    done = upload(run, standin, "--send")
    assert done.exit_code == 0, done.output
    assert "Sent dandi:000002@draft/" in done.stdout
    assert "validation is pending" in done.stdout


def test_the_wait_is_reported(standin, run, parcel):  # noqa: F811
    standin.validation_takes = 3
    asset = send(parcel, standin, run).asset
    standin.waiting[PATH] = 2
    reported: list[Progress] = []
    verdict = archive.wait_for_validation(asset, report=reported.append)
    assert verdict == validation.Verdict(pending=False)
    assert {progress.stage for progress in reported} == {"validating"}
    assert all(progress.total == validation.PATIENCE for progress in reported)


def test_what_is_rejected_after_the_wait_is_an_error_that_ends_with_one_full_stop(standin, run):  # noqa: F811
    standin.validation_takes = 2
    standin.invalid[PATH] = "unknown species."
    done = upload(run, standin, "--send")
    assert done.exit_code == 1
    assert "rejects it: species: unknown species. Correct this" in done.stderr


def test_other_assets_that_wait_do_not_hold_an_upload_up(standin, run, parcel):  # noqa: F811
    asset = send(parcel, standin, run).asset
    standin.waiting["sub-x/sub-x.nwb"] = 10**6
    assert archive.wait_for_validation(asset) == validation.Verdict(pending=False)


def test_the_activity_names_the_software_and_its_version(standin, run, parcel):  # noqa: F811
    from dandischema.models import Activity

    from nwbdyn import __version__

    send(parcel, standin, run)
    (metadata,) = standin.metadata.values()
    (activity,) = (one for one in metadata["wasGeneratedBy"] if one["name"] == "nwbdyn fit")
    (software,) = Activity(**activity).wasAssociatedWith
    assert (software.schemaKey, software.name, software.version) == (
        "Software",
        "nwbdyn",
        __version__,
    )


def test_an_asset_that_is_replaced_gets_another_id(standin, run, parcel):  # noqa: F811
    import nwbdyn

    first = send(parcel, standin, run).asset
    nwbdyn.export(run, parcel.path, overwrite=True)
    second = send(parcel, standin, run, replace=True).asset
    assert first.asset_id != second.asset_id
    assert second.asset_path == PATH


# A Subject whose sex is unknown


@pytest.fixture
def worm(tmp_path) -> Path:
    """A worm's session, of sex U."""
    path = lab_files.write_imaging(tmp_path / "worm.nwb")
    with h5py.File(path, "r+") as file:
        subject = file["general/subject"]
        for name, value in {"sex": "U", "species": "Caenorhabditis elegans"}.items():
            if name in subject:
                del subject[name]
            subject[name] = value
    return path


def test_an_unknown_sex_counts_as_missing_and_can_be_given(worm):
    fit = lab_files.fit_of(worm)
    assert fit.session["subject"]["sex"] == "U"
    assert "sex" in derivative.missing_subject_fields(fit, {})
    assert "sex" not in derivative.missing_subject_fields(fit, {"sex": "XX"})
    nwbfile, notes = derivative.new_file(fit, {"sex": "XX"})
    assert nwbfile.subject.sex == "XX"
    assert [note.where for note in notes] == ["/general/subject/sex"]
    nwbfile, _ = derivative.new_file(fit, {})
    assert nwbfile.subject.sex == "U"  # what the source states, as long as nobody knows better


def test_a_sex_that_the_archive_does_not_take_is_said_once_with_the_option(worm, tmp_path):
    import nwbdyn

    fit = lab_files.fit_of(worm)
    path = nwbdyn.export(fit, tmp_path / "sub-m1_ses-s1_desc-netformer_ophys.nwb")
    with pytest.raises(ResultsError) as refused:
        archive_upload.validate_for_upload(path, "dandi:000002")
    message = str(refused.value)
    assert message.count("C. elegans") == 1
    assert ".." not in message
    assert message.endswith("Pass --subject FIELD=VALUE and --overwrite.")
    nwbdyn.export(fit, path, subject={"sex": "XX"}, overwrite=True)
    assert archive_upload.validate_for_upload(path, "dandi:000002").size > 0
