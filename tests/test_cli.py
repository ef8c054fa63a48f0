"""The command line as a person meets it: one line per mistake, exit codes, nothing half-written."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from lab_files import write_imaging, write_units
from nwb_files import nwb
from standin import KEY, StandIn

from nwbdyn.cli import cmd_fit, main, scoreboard
from nwbdyn.cli.terminal import WIDTH, table
from nwbdyn.errors import ResultsError
from nwbdyn.evaluation import verdict
from nwbdyn.workflows import archive_upload
from nwbdyn.workflows.batch import FAILED, FITTED, SKIPPED, SessionResult

QUICK = ["--epochs", "2", "--set", "history=4", "--set", "batch_size=256"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result: Result, *words: str, code: int = 1) -> None:
    """The command ended with `code` and one line on stderr that holds all `words`."""
    assert result.exit_code == code, result.output
    assert len(result.stderr.strip().splitlines()) == 1
    for word in words:
        assert word in result.stderr


@pytest.fixture
def cortex(tmp_path) -> str:
    return "sample:cortex?neurons=8&duration=90"


@pytest.mark.parametrize("verb", ["inspect", "fetch", "fit", "export", "report"])
def test_help_ends_with_two_examples(verb):
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert result.output.count(f"  nwbdyn {verb} ") >= 2
    assert all(len(line) <= WIDTH for line in result.output.splitlines())


def test_an_unknown_model_lists_what_there_is(tmp_path):
    path = write_imaging(tmp_path / "a.nwb")
    result = run("fit", path, "--model", "netfromer")
    refused(result, "'netfromer'; did you mean netformer?", "stndt", code=2)


def test_a_missing_file_is_one_line(tmp_path):
    refused(run("fit", tmp_path / "no.nwb", "--model", "netformer"), "no.nwb")


def test_a_file_that_is_not_nwb_is_one_line(tmp_path):
    path = tmp_path / "notes.nwb"
    path.write_text("not a recording")
    refused(run("fit", path, "--model", "netformer"), "notes.nwb")
    with h5py.File(tmp_path / "other.nwb", "w") as file:
        file["numbers"] = np.arange(3)
    refused(run("fit", tmp_path / "other.nwb", "--model", "netformer"), "other.nwb")


def test_a_file_without_activity_says_what_it_needs(tmp_path):
    nwb(tmp_path / "empty.nwb").close()
    refused(run("fit", tmp_path / "empty.nwb", "--model", "stndt"), "empty.nwb", "units")


def test_a_table_that_is_not_there_is_named(tmp_path):
    path = write_units(tmp_path / "units.nwb")
    refused(run("fit", path, "--model", "stndt", "--trials", "reaches"), "'reaches'")
    assert not (Path("runs") / "units-stndt-s0").exists()


def test_traces_are_refused_by_a_model_of_spikes(tmp_path):
    path = write_imaging(tmp_path / "a.nwb")
    refused(run("fit", path, "--model", "stndt", "-o", tmp_path / "run"), "stndt", "netformer")
    assert not (tmp_path / "run").exists()


def test_an_unknown_option_is_named_with_the_nearest_and_those_there_are(tmp_path, cortex):
    result = run("fit", cortex, "--model", "netformer", "--set", "histroy=3", "-o", tmp_path / "r")
    refused(result, "'histroy'; did you mean history?", "learning_rate", code=2)
    result = run("inspect", cortex, "--model", "netformer", "--set", "histroy=3")
    refused(result, "'histroy'; did you mean history?", code=2)
    refused(run("inspect", cortex, "--model", "stdnt"), "did you mean stndt?", code=2)


def test_a_preset_that_is_not_there_is_a_wrong_command_line(cortex):
    def with_preset(model):
        return run("fit", cortex, "--model", model, "--set", "preset=banana")

    refused(with_preset("synapsnet"), "no preset 'banana'", "Choose from: ", code=2)
    refused(with_preset("netformer"), "no preset 'banana'", "Choose from: ", code=2)


def test_a_misspelt_verb_is_guessed():
    result = run("inspekt", "sample:cortex")
    assert result.exit_code == 2
    assert "No command 'inspekt'; did you mean inspect? Choose from: cache, export" in result.output


def test_a_setting_without_a_value_is_a_usage_error(tmp_path):
    path = write_imaging(tmp_path / "a.nwb")
    result = run("fit", path, "--model", "netformer", "--set", "history")
    assert result.exit_code == 2
    assert "key=value" in result.output


def test_many_files_off_a_terminal_need_all(tmp_path):
    for number in range(6):
        write_imaging(tmp_path / f"{number}.nwb")
    result = run("fit", tmp_path, "--model", "netformer", "-o", tmp_path / "runs")
    assert result.exit_code == 2
    assert "--all" in result.output
    assert not (tmp_path / "runs").exists()


def test_fit_export_and_report_from_an_address(tmp_path, cortex):
    folder = tmp_path / "run"
    fitted = run("fit", cortex, "--model", "netformer", "-o", folder, *QUICK)
    assert fitted.exit_code == 0, fitted.output
    assert "persistence" in fitted.stdout
    assert fitted.stdout.splitlines()[-1] == str(folder)
    assert all(len(line) <= WIDTH for line in fitted.stdout.splitlines()[:-1])
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["model"]["test"]["r2"] is not None
    assert metrics["primary"]["baseline"] in metrics["baselines"]

    refused(run("fit", cortex, "--model", "netformer", "-o", folder, *QUICK), "--overwrite")

    alone = tmp_path / "alone.nwb"
    assert run("export", folder, "-o", alone).exit_code == 0
    refused(run("export", folder, "-o", alone), "alone.nwb", "overwrite")
    enriched = run("export", folder, "--enrich", "-o", tmp_path / "enriched.nwb")
    assert enriched.exit_code == 0, enriched.output
    with h5py.File(tmp_path / "enriched.nwb") as file:
        assert "population_dynamics" in file["processing"]
        assert "ophys" in file["processing"]

    page = run("report", folder)
    assert page.exit_code == 0, page.output
    assert (folder / "report.html").read_text().startswith("<!doctype html>")
    refused(run("report", folder), "report.html", "--overwrite")


def test_the_source_is_never_the_output(tmp_path, cortex):
    from nwbdyn import archive

    source = archive.resolve(cortex)[0].path
    folder = tmp_path / "run"
    assert run("fit", source, "--model", "netformer", "-o", folder, *QUICK).exit_code == 0
    before = source.read_bytes()
    refused(run("export", folder, "--enrich", "-o", source, "--overwrite"), source.name)
    assert source.read_bytes() == before


def test_a_folder_gives_one_run_per_recording_and_a_summary(tmp_path, cortex):
    from nwbdyn import archive

    folder = tmp_path / "recordings"
    folder.mkdir()
    recording = archive.resolve(cortex)[0].path
    (folder / "good.nwb").write_bytes(recording.read_bytes())
    write_units(folder / "spikes.nwb")
    (folder / "broken.nwb").write_text("not a recording")
    result = run("fit", folder, "--model", "netformer", "-o", tmp_path / "runs", *QUICK)
    assert result.exit_code == 3, result.output
    summary = pd.read_json(tmp_path / "runs" / "summary.json").set_index("uri")
    assert summary["status"].value_counts()["fitted"] >= 1
    assert summary[summary["run"].str.endswith("broken")]["status"].item() == "failed"
    assert (tmp_path / "runs" / "good" / "metrics.json").exists()


def test_a_joint_fit_says_how_to_leave_a_broken_recording_out(tmp_path):
    for name in ("a", "b"):
        write_imaging(tmp_path / f"{name}.nwb")
    (tmp_path / "broken.nwb").write_text("not a recording")
    result = run("fit", tmp_path, "--model", "netformer", "--joint", "-o", tmp_path / "runs")
    assert result.exit_code == 1
    assert "broken.nwb cannot be read as an HDF5 file" in result.stderr
    assert "A joint fit needs every recording. To fit without this one, fetch" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_an_asset_of_an_archive_by_its_address(tmp_path, cortex, monkeypatch):
    from nwbdyn import archive

    asset = tmp_path / "archive" / "000001" / "sub-a" / "sub-a_ophys.nwb"
    asset.parent.mkdir(parents=True)
    asset.write_bytes(archive.resolve(cortex)[0].path.read_bytes())
    with StandIn(tmp_path / "archive") as served:
        listed = run("fetch", "dandi:000001", "--list", "--instance", served.api)
        assert listed.exit_code == 0, listed.output
        assert "sub-a/sub-a_ophys.nwb" in listed.output
        arguments = ["--model", "netformer", "-o", tmp_path / "run", "--instance", served.api]
        fitted = run("fit", "dandi:000001", *arguments, *QUICK)
        assert fitted.exit_code == 0, fitted.output
        exported = run("export", tmp_path / "run")
        assert exported.exit_code == 0, exported.output
        refused(run("inspect", "dandi:000009", "--instance", served.api), "000009")
        refused(run("inspect", "dandi:000001@0.1", "--instance", served.api), "0.1")
        refused(run("inspect", "dandi:000001/sub-b.nwb", "--instance", served.api), "sub-b.nwb")


def test_every_verb_is_told_in_one_whole_line():
    verbs = run("--help").output.partition("Commands:")[2]
    assert "fit " in verbs
    assert "..." not in verbs


def test_a_model_that_is_left_out_or_misspelt_is_offered(cortex):
    left_out = run("fit", cortex)
    assert left_out.exit_code == 2
    assert "Missing option '--model'. Choose from: netformer" in left_out.output
    refused(run("fit", cortex, "--model", "netfromer"), "did you mean netformer?", code=2)


@pytest.mark.parametrize("verb", ["fit", "export"])
def test_ctrl_c_before_anything_is_there_says_to_run_it_again(verb, cortex, tmp_path, monkeypatch):
    def stopped(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nwbdyn.workflows.batch.fit_session", stopped)
    monkeypatch.setattr("nwbdyn.results.fit_results.load", stopped)
    requested = {
        "fit": (cortex, "--model", "netformer", "-o", tmp_path / "run"),
        "export": (tmp_path / "run",),
    }
    result = run(verb, *requested[verb])
    assert result.exit_code == 130
    assert result.stderr == (
        "\nStopped. No file was left half written; the same command starts again.\n"
    )


def test_no_network_says_so():
    refused(run("inspect", "dandi:000001", "--instance", "http://127.0.0.1:9/api"), "127.0.0.1:9")


def test_inspect_speaks_json(cortex):
    result = run("inspect", cortex, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["recordings"][0]["neurons"]["count"] == 8


def test_a_table_keeps_to_the_width_of_a_terminal():
    lines = table(("file", "size"), [("x" * 200, "1 MB")]).splitlines()
    assert max(map(len, lines)) == WIDTH


def test_long_names_in_a_table_are_still_told_apart():
    names = [f"sub-{'x' * 90}_ses-{day}.nwb" for day in ("monday", "tuesday")]
    *_, one, other = table(("file", "size"), [(name, "1 MB") for name in names]).splitlines()
    assert "monday" in one
    assert "tuesday" in other
    assert max(len(one), len(other)) <= WIDTH


@pytest.mark.parametrize(
    ("beats", "interval", "word"),
    [(True, [0.1, 0.2], "beats"), (False, [-0.2, -0.1], "loses"), (False, [-0.1, 0.1], "does not")],
)
def test_the_verdict_says_who_won(beats, interval, word):
    metrics = {
        "model": {"test": {"r2": 0.5}},
        "baselines": {"AR(1)": {"test": {"r2": 0.4}}},
        "intervals": {"difference": {"test": {"r2": interval}}},
        "primary": {"metric": "r2", "split": "test", "horizon": 1, "baseline": "AR(1)"},
        "beats_baseline": beats,
    }
    assert word in verdict.winner(metrics, "netformer")


@pytest.mark.parametrize(
    ("beats", "others", "reported"),
    [
        (True, {"AR": 0.6}, "validation chose: .*; AR scores higher on test, 0.600."),
        (
            True,
            {"AR": 0.6, "VAR": 0.7},
            r"; 2 baselines score higher on test \(highest: VAR, 0.700\).",
        ),
        (True, {"AR": 0.45}, "beats the best baseline: .*, difference .0.100 to .0.200."),
        (None, {"AR": 0.6}, "netformer: r2 0.500 .*; AR scores higher on test, 0.600."),
        (None, {"AR(1)": 0.7, "AR": 0.6}, "netformer: r2 0.500 [^;]*"),
    ],
)
def test_baselines_that_score_higher_than_the_one_that_validation_chose_are_named(
    beats, others, reported
):
    scores = {"AR(1)": 0.4} | others
    metrics = {
        "model": {"test": {"r2": 0.5}},
        "baselines": {name: {"test": {"r2": value}} for name, value in scores.items()},
        "intervals": {"difference": {"test": {"r2": [0.1, 0.2]}}},
        "primary": {"metric": "r2", "split": "test", "horizon": 1, "baseline": "AR(1)"},
        "beats_baseline": beats,
    }
    assert re.search(reported + "$", verdict.winner(metrics, "netformer"))
    draws = {
        "metric": "r2",
        "split": "test",
        "num_draws": 5,
        "model": {"r2": {"mean": 0.5}},
        "baselines": {name: {"r2": {"mean": value}} for name, value in scores.items()},
        "difference": {"r2": {"mean": 0.1}},
        "intervals": {"model": [0.4, 0.6], "difference": [0.1, 0.2]},
        "beats": True,
    }
    message = verdict.winner(metrics | {"draws": draws}, "stndt")
    assert ("validation chose" in message) == (max(scores.values()) > 0.5)


def test_an_upload_is_rehearsed_first_and_sent_when_told(tmp_path, cortex, monkeypatch):
    folder = tmp_path / "run"
    assert run("fit", cortex, "--model", "netformer", "-o", folder, *QUICK).exit_code == 0
    (tmp_path / "archive" / "000002").mkdir(parents=True)
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    with StandIn(tmp_path / "archive") as served:
        there = ["--upload", "dandi:000002", "--instance", served.api]
        rehearsed = run("export", folder, *there)
        assert rehearsed.exit_code == 0, rehearsed.output
        assert "Would send dandi:000002/sub-sample-mouse/" in rehearsed.output
        assert not list((tmp_path / "archive").rglob("*.nwb"))
        sent = run("export", folder, "--overwrite", "--send", *there)
        assert sent.exit_code == 0, sent.output
        assert "Sent dandi:000002@draft/sub-sample-mouse/" in sent.output
        assert list((tmp_path / "archive" / "000002").rglob("*.nwb"))
        assert KEY not in sent.output


def test_a_file_the_archive_would_refuse_is_not_sent(tmp_path):
    path = write_units(tmp_path / "units.nwb", {"subject_id": "m1"})
    with pytest.raises(ResultsError, match=r"not ready for the archive.*species"):
        archive_upload.validate_for_upload(
            path.rename(tmp_path / "sub-m1_ecephys.nwb"), "dandi:000002"
        )


def test_a_config_file_that_is_not_text_is_a_usage_error(tmp_path):
    (tmp_path / "options.toml").write_bytes(b"\xff\xfe")
    result = run(
        "fit", "sample:cortex", "--model", "netformer", "--config", tmp_path / "options.toml"
    )
    assert result.exit_code == 2
    assert "Write JSON or TOML" in result.output


def test_a_send_without_a_place_is_a_usage_error(tmp_path):
    result = run("export", tmp_path / "run", "--send")
    assert result.exit_code == 2
    assert "--upload" in result.output


def test_a_resumed_folder_of_another_model_is_not_taken_for_this_one(tmp_path, cortex):
    from nwbdyn import archive

    folder, runs = tmp_path / "recordings", tmp_path / "runs"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.nwb").write_bytes(archive.resolve(cortex)[0].path.read_bytes())
    common = ["fit", folder, "--model", "netformer", "-o", runs]
    assert run(*common, *QUICK).exit_code == 0
    assert run(*common, *QUICK, "--resume").exit_code == 0
    other = run(*common, *QUICK, "--set", "embedding=3", "--resume")
    assert other.exit_code == 1
    assert "embedding" in other.output


@pytest.mark.parametrize(
    ("statuses", "report", "resume"),
    [
        ((FITTED, FITTED), True, False),
        ((FITTED, FAILED), True, True),
        ((FITTED, SKIPPED), True, False),
        ((FAILED, SKIPPED), False, True),
    ],
)
def test_a_fit_of_several_recordings_ends_with_the_next_commands(statuses, report, resume):
    call = SimpleNamespace(run=Path("runs/all"))
    text = cmd_fit._next_steps(call, [SessionResult("a.nwb", "a", status) for status in statuses])
    assert ("nwbdyn report runs/all" in text) is report
    assert ("fit the failed recordings again" in text) is resume


def test_the_reason_of_a_session_is_wrapped_and_names_its_file_once():
    failed = SessionResult("dandi:000001/sub-1/a.nwb", "a", FAILED, f"a.nwb {'is broken, ' * 20}")
    text = scoreboard.of_outcomes([failed], "netformer")
    reason = text.partition("\n\n")[2]
    assert reason.startswith("failed: a.nwb: is broken, is")
    assert max(map(len, text.splitlines())) <= 80


def test_a_fit_that_learned_nothing_after_its_first_epoch_says_so():
    config = {"learning_rate": 0.01}
    epochs = [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": 1.0, "validation": 0.5}]
    assert verdict.of_training(epochs, config) == []  # one validation says nothing
    worse = [*epochs, {"epoch": 4, "loss": 0.5, "validation": 0.6}]
    (message,) = verdict.of_training(worse, config)
    assert "2 of 4" in message
    assert "now 0.01" in message
    assert verdict.of_training(worse, config | {"own_part": False}) == []  # it is left out


def course(*validation: float) -> list[dict[str, float]]:
    """Ten updates between two validations."""
    return [{"epoch": k, "updates": 10 * k, "validation": v} for k, v in enumerate(validation, 1)]


def test_a_fit_that_still_learned_at_its_limit_says_so():
    linear = course(*(2.0 - 0.1 * k for k in range(20)))
    (message,) = verdict.of_training(linear, {"updates": 200, "epochs": 7})
    assert "at its limit of 200 updates. Train longer, --set updates=400." in message
    (message,) = verdict.of_training(linear, {"updates": None, "epochs": 1000})
    assert "limit of 1,000 epochs. Train longer, --epochs 2000." in message
    levelled = course(*(2.0 - 0.1 * k for k in range(18)), 0.29, 0.289)
    assert verdict.of_training(levelled, {"updates": 200}) == []
    assert verdict.of_training([*linear, *course(5.0)], {"updates": 300}) == []  # it overfitted
