"""Output of `nwbdyn inspect`, for one recording and for many."""

import json

import numpy as np
import pytest
from click.testing import CliRunner, Result
from nwb_files import behaviour, made, nwb, rois, series, table, traces, units

from nwbdyn.cli import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Units, traces, one unit alone, and a file that is none."""
    where = tmp_path_factory.mktemp("lab")
    with nwb(where / "b-units.nwb") as file:
        units(file, spikes=[np.linspace(0.5, 60, 30 + n) for n in range(12)])
        columns = {"start_time": [0.0, 30.0], "stop_time": [20.0, 50.0]}
        table(file["intervals"], "trials", "TimeIntervals", **columns)
        for name in ("a_series_with_quite_a_long_name", "another_series_with_a_long_name"):
            series(file["acquisition"], name, np.zeros((9, 2)), rate=1.0)
    with nwb(where / "c-traces.nwb") as file:
        traces(file, rois=rois(file), data=made(400, 5))
    with nwb(where / "d-alone.nwb") as file:
        units(file, spikes=[[0.5, 1.5], []])
    with nwb(where / "e-few.nwb") as file:
        units(file, spikes=[[0.5, 19.5], [0.7], [0.2]])
    (where / "a-broken.nwb").write_bytes(b"not HDF5")
    return where


def test_a_file_that_cannot_be_read_is_listed_and_the_others_are_shown(folder):
    done = run("inspect", folder)
    assert done.exit_code == 3
    pages = done.stdout.split("\n\n\n") if "\n\n\n" in done.stdout else [done.stdout]
    text = "\n".join(pages)
    assert "a-broken.nwb cannot be read as an HDF5 file" in " ".join(text.split())
    for name in ("b-units", "c-traces", "d-alone", "e-few"):
        assert f"{name}.nwb" in text
    listed = json.loads(run("inspect", folder, "--json").stdout)["recordings"]
    assert ["error" in summary for summary in listed] == [True, False, False, False, False]


def test_many_recordings_end_with_a_table_of_all(folder):
    *_, last = run("inspect", folder).stdout.rstrip("\n").split("\n\n")
    assert [line.split() for line in last.splitlines() if "---" not in line] == [
        ["recording", "neurons", "activity", "length", "trials", "odd", "fit", "with"],
        ["a-broken.nwb", "cannot", "be", "read"],
        ["b-units.nwb", "12", "units", "spikes", "60", "s", "2", "stndt"],
        ["c-traces.nwb", "5", "ROIs", "dff", "40", "s", "netformer"],
        ["d-alone.nwb", "2", "units", "spikes", "1", "s", "1", "nothing", "to", "fit"],
        ["e-few.nwb", "3", "units", "spikes", "19", "s", "netformer"],
        ["3", "of", "5", "can", "be", "fitted,", "1", "cannot", "be", "read."],
    ]
    assert all(len(line) <= 80 for line in last.splitlines())


def test_many_recordings_end_with_the_command_that_fits_them_all(folder, tmp_path):
    for name in "ab":
        with nwb(tmp_path / f"{name}.nwb") as file:
            traces(file, rois=rois(file), data=made(400, 5))
    last = run("inspect", tmp_path).stdout.rstrip("\n").splitlines()[-2:]
    assert last == [
        "Fit all of them, one run each:",
        f"  nwbdyn fit {tmp_path} --model netformer",
    ]
    assert "Fit all" not in run("inspect", folder).stdout  # units and traces need two models


def test_the_sex_of_a_subject_and_what_a_fit_takes_are_named(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file), data=made(4000, 5))
        file["general/subject/sex"] = "U"
    page = run("inspect", tmp_path / "a.nwb").stdout
    assert " sex U" in page
    assert "to fit      add --model NAME for an estimate of memory and time" in page


def test_a_recording_of_no_neurons_is_told_from_a_file_that_cannot_be_read(tmp_path):
    with nwb(tmp_path / "video.nwb"):
        pass
    with nwb(tmp_path / "traces.nwb") as file:
        traces(file, rois=rois(file), data=made(400, 5))
    done = run("inspect", tmp_path)
    assert done.exit_code == 0
    assert "1 of 2 can be fitted, nothing to fit in 1." in done.stdout
    listed = json.loads(run("inspect", tmp_path, "--json").stdout)["recordings"]
    assert "neither units" in listed[1]["skipped"]
    (tmp_path / "traces.nwb").unlink()
    with nwb(tmp_path / "images.nwb"):
        pass
    assert run("inspect", tmp_path).exit_code == 1


def test_a_wrong_option_of_a_model_is_said_once_before_any_file_is_opened(folder, tmp_path):
    arguments = ("fit", folder, "--model", "netformer", "-o", tmp_path / "run")
    for setting, message in (("epoch=3", "no option 'epoch'"), ("epochs=many", "epochs is 'many'")):
        done = run(*arguments, "--set", setting)
        assert done.exit_code == 2
        assert done.output.count(message) == 1
        assert not (tmp_path / "run").exists()


def test_the_cost_is_that_of_the_options_which_are_repeated_in_the_command():
    sample = "sample:cortex?neurons=8&duration=90"
    page = ("inspect", sample, "--model", "netformer")
    shorter = run(*page, "--set", "epochs=1", "--set", "history=2", "-q")
    assert shorter.exit_code == 0, shorter.output
    assert shorter.output.rstrip().endswith("--model netformer --set epochs=1 --set history=2")
    cost = {
        name: json.loads(run(*page, "--json", *more).stdout)["recordings"][0]["cost"]["updates"]
        for name, more in {"default": (), "one": ("--set", "epochs=1")}.items()
    }
    assert cost["default"] >= 10 * cost["one"]
    alone = run("inspect", sample, "--set", "epochs=1")
    assert alone.exit_code == 2
    assert "pass --model NAME" in alone.output
    wrong = run(*page, "--set", "epoch=1")
    assert "no option 'epoch'" in wrong.output


def benchmark_half(path, heldout):
    """A file with the columns of MC_Maze."""
    starts = np.arange(1.0, 60, 2.0)
    with nwb(path) as file:
        spikes = [np.linspace(0.5, 62, 300 + n) for n in range(len(heldout))]
        units(file, spikes=spikes, heldout=np.array(heldout))
        columns = {"start_time": starts, "stop_time": starts + 1.5}
        columns |= {"move_onset_time": starts + 0.5, "trial_version": np.zeros(30)}
        table(file["intervals"], "trials", "TimeIntervals", **columns)
        hand = np.random.default_rng(0).normal(size=(62_000, 2))
        series(behaviour(file), "hand_vel", hand, rate=1000.0)


def test_the_two_files_of_a_benchmark_session_are_fitted_by_one_command(tmp_path):
    train = tmp_path / "sub-a_desc-train_behavior+ecephys.nwb"
    test = tmp_path / "sub-a_desc-test_ecephys.nwb"
    benchmark_half(train, [False] * 9 + [True] * 3)
    benchmark_half(test, [False] * 9)
    done = run("inspect", tmp_path)
    text = " ".join(done.stdout.split())
    assert "maze of the Neural Latents Benchmark" in text
    assert "-250 to 450 ms around move_onset_time" in text
    assert f"A test file, which is fitted together with {train.name}." in text
    assert f"together with its test file {test.name}: nwbdyn fit {tmp_path} --model stndt" in text
    assert text.count("nwbdyn fit /") == 1
    assert text.endswith("1 of 2 can be fitted, 1 together with its train file.")
    assert " at 1,000 Hz" in text
    listed = json.loads(run("inspect", tmp_path, "--json").stdout)["recordings"]
    assert [one["fitted_with"] for one in listed] == [train.name, None]
    assert [one["test_file"] for one in listed] == [None, test.name]
    (alone,) = json.loads(run("inspect", test, "--json").stdout)["recordings"]
    assert alone["fitted_with"] is None


def test_a_single_file_that_cannot_be_read_is_an_error(folder):
    done = run("inspect", folder / "a-broken.nwb")
    assert done.exit_code == 1
    assert not done.stdout


def test_a_condition_that_makes_no_sense_stops_at_once(folder):
    assert run("inspect", folder, "--where", "quality ==").exit_code == 2
    assert run("inspect", folder, "--model", "netfromer").exit_code == 2


@pytest.mark.parametrize(
    ("name", "model"),
    [("b-units", "stndt"), ("c-traces", "netformer"), ("e-few", "netformer"), ("d-alone", None)],
)
def test_only_a_fit_that_can_be_done_is_recommended(folder, name, model):
    result = run("inspect", folder / f"{name}.nwb", "--json")
    command = json.loads(result.stdout)["recordings"][0]["fit"]
    page = run("inspect", folder / f"{name}.nwb").stdout
    if model is None:
        assert command is None
        assert "a coupling needs two neurons" in page
    else:
        assert f"--model {model}" in command
        assert command in page


def test_a_page_is_eighty_columns_wide_but_for_what_is_to_be_copied(folder):
    page = run("inspect", folder / "b-units.nwb").stdout
    address, _, *lines, command = page.rstrip("\n").split("\n")
    assert all(len(line) <= 80 for line in lines)
    assert address.endswith("b-units.nwb")
    assert command.startswith("  nwbdyn fit ")


def test_the_unit_of_spike_times_is_asked_for_and_repeated_in_the_command(tmp_path):
    with nwb(tmp_path / "ms.nwb") as file:
        units(file, spikes=[np.linspace(100.25, 60_000, 600), np.linspace(90.5, 59_000, 400)])
    refused = run("inspect", tmp_path / "ms.nwb")
    assert refused.exit_code == 1
    assert "--spike-time-unit: ms" in refused.output
    shown = run("inspect", tmp_path / "ms.nwb", "--spike-time-unit", "ms")
    assert "0.1 to 60.0 s" in shown.output
    assert shown.output.rstrip().endswith("--spike-time-unit ms")


def test_one_interval_and_one_unit_are_counted_in_the_singular(tmp_path):
    with nwb(tmp_path / "observed.nwb") as file:
        units(file, spikes=[[0.5, 1.5], [0.7], []], obs_intervals=[[(0.0, 4.0)]] * 3)
    page = " ".join(run("inspect", tmp_path / "observed.nwb").output.split())
    assert "observed in 1 interval, 1 unit without spikes" in page
