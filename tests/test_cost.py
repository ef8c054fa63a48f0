"""Estimates of time and memory that `inspect` prints."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from nwb_files import made, nwb, rois, traces, units
from small import poisson_spikes
from small import rois as imaging
from small import units as spiking

import nwbdyn
from nwbdyn.cli import main
from nwbdyn.fitting import cost
from nwbdyn.fitting.stages import edge_tests
from nwbdyn.fitting.task import build_task
from nwbdyn.fitting.train_models import candidates
from nwbdyn.statistics.surrogates import Null

NOISE = np.random.default_rng(0).normal(size=(8000, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def traces_of_noise():
    return imaging(NOISE, np.arange(8000) / 10)


def test_updates_are_those_of_the_longest_training(traces_of_noise):
    estimated = cost.estimate(traces_of_noise, "netformer")
    problem = build_task(traces_of_noise, "netformer", seed=0)
    assert estimated.updates == problem.config.updates
    epochs = cost.estimate(traces_of_noise, "netformer", options={"epochs": 3})
    num_windows = len(problem.windows.starts("train"))
    exact = 3 * math.ceil(num_windows / problem.config.batch_size)
    assert epochs.updates == pytest.approx(exact, rel=0.05)
    assert (estimated.num_bins, estimated.num_neurons) == (8000, 12)
    assert estimated.bin_width == pytest.approx(0.1)
    assert estimated.seconds == estimated.updates * estimated.seconds_per_update > 0


def test_nothing_of_the_activity_is_read(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        group = traces(file, rois=rois(file), data=made(4000, 5))
        path = group["data"].name
    with nwbdyn.open(str(tmp_path / "a.nwb")) as recording:
        assert recording.activity.series_path == path.removesuffix("/data")
        cost.estimate(recording, "netformer")
        assert recording.activity.data._whole is None


def test_spikes_are_counted_in_the_models_own_bins():
    spikes = poisson_spikes(16, 100.0, rate=5.0)
    estimated = cost.estimate(spiking(spikes, intervals=[(0.0, 100.0)]), "stndt")
    assert estimated.num_bins == math.ceil(100 / estimated.bin_width)


def test_draws_of_held_out_units_are_counted_unless_the_file_holds_some_out():
    spikes = poisson_spikes(16, 100.0, rate=5.0)
    recording = spiking(spikes, intervals=[(0.0, 100.0)])
    assert cost.estimate(recording, "stndt").draws == 5
    assert cost.estimate(recording, "stndt", draws=1).draws == 1
    stated = spiking(spikes, intervals=[(0.0, 100.0)], heldout=np.arange(16) < 5)
    assert cost.estimate(stated, "stndt").draws == 1
    assert cost.estimate(recording, "netformer").draws == 1


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read in /proc")
def test_memory_is_of_the_right_size():
    # VmHWM is this process's own peak; ru_maxrss would start at that of the process it came from
    program = (
        "import re, numpy as np\n"
        "from small import rois\n"
        "import nwbdyn\n"
        "from nwbdyn.fitting import cost\n"
        "data = np.random.default_rng(0).normal(size=(20000, 60)).astype(np.float32)\n"
        "recording = rois(data, np.arange(20000) / 10)\n"
        "nwbdyn.fit(recording, 'netformer', options={'updates': 2}, device='cpu')\n"
        "status = open('/proc/self/status').read()\n"
        "peak = int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) * 1024\n"
        "print(peak / cost.estimate(recording, 'netformer').memory)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd="tests"
    )
    assert done.returncode == 0, done.stderr
    assert 0.6 < float(done.stdout) < 1.6


@pytest.fixture
def file(tmp_path):
    with nwb(tmp_path / "a.nwb") as made_file:
        units(
            made_file,
            spikes=[list(row) for row in poisson_spikes(6, 60.0, rate=4.0)],
            quality=["good", "mua", "good", "good", "mua", "good"],
            snr=np.array([1.0, 2.0, np.nan, 4.0, 5.0, 6.0]),
            label=["", "", "", "", "", ""],
        )
    return tmp_path / "a.nwb"


def inspected(*arguments: object) -> dict:
    result = CliRunner().invoke(main, ["inspect", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["recordings"][0]


def test_columns_say_what_a_condition_could(file):
    columns = inspected(file)["neurons"]["quality"]
    assert columns["quality"] == {"values": {"good": 4, "mua": 2}}
    assert columns["snr"] == {"min": 1.0, "median": 4.0, "max": 6.0, "unknown": 1}
    page = CliRunner().invoke(main, ["inspect", str(file)]).output
    assert "quality (good 4, mua 2); snr (1 to 6, median 4); label (empty 6)" in page


def test_bytes_are_counted_as_stored_and_unpacked(tmp_path):
    with nwb(tmp_path / "a.nwb") as made_file:
        group = traces(made_file, rois=rois(made_file), data=np.zeros((4000, 5)))
        values = group["data"][()]
        del group["data"]
        group.create_dataset("data", data=values, compression="gzip")
        stored = group["data"].id.get_storage_size()
    summary = inspected(tmp_path / "a.nwb")
    assert summary["bytes_stored"] == stored
    assert summary["bytes_to_fit"] == 4000 * 5 * 8 + 4000 * 8
    assert summary["is_remote"] is False


def test_a_model_that_fits_and_one_that_does_not(file):
    assert inspected(file, "--model", "netformer")["cost"]["updates"] > 0
    page = CliRunner().invoke(main, ["inspect", str(file), "--model", "netformer"]).output
    assert "netformer: about 500.0 MB of memory; at most" in page
    assert "--null shift:20 tests its edges without another training" in " ".join(page.split())
    assert page.splitlines()[-1].endswith("--model netformer")
    assert "impossible" in inspected(file, "--model", "stndt")["cost"]
    unknown = CliRunner().invoke(main, ["inspect", str(file), "--model", "netfromer"])
    assert unknown.exit_code == 2
    assert "Choose from" in unknown.stderr


def test_what_is_said_before_a_fit_counts_every_training():
    actual = cost.Cost("netformer", 1000, 10, 0.1, 10**9, 2000, 0.01, "cpu", trainings=5)
    assert cost.advice(replace(actual, updates=1000)) == []  # 50 s
    (line,) = cost.advice(actual)
    assert "2 min of training: 5 x 2,000 updates of 10 ms (cpu)" in line
    first, hint = cost.advice(actual, recordings=3, points=4)
    assert "20 min" in first
    assert "60 x" in first
    assert "--engine ray" in hint
    assert "--where" in cost.advice(replace(actual, memory=10**18))[1]
    refits = edge_tests.count(Null("shift", 20), co_smoothing=True)
    assert "35 x" in cost.advice(actual, refits=refits)[0]
    two = cost.advice(actual, refits=refits, recordings=2)
    assert "70 x" in two[0]


@pytest.mark.parametrize(("preset", "without_coupling"), [("ladder", 0), ("paper", 1)])
def test_only_a_published_form_is_trained_again_without_coupling(
    traces_of_noise, preset, without_coupling
):
    options = {"preset": preset, "updates": 7, "ridge": 1.0}
    estimated = cost.estimate(traces_of_noise, "netformer", options=options)
    assert estimated.trainings == 1 + without_coupling


def test_options_that_were_given_are_what_is_timed(traces_of_noise):
    requested = {"updates": 7, "ridge": 1.0, "coupling": False}
    estimated = cost.estimate(traces_of_noise, "netformer", options=requested, bin_width=0.2)
    assert (estimated.updates, estimated.trainings) == (7, 1)
    assert estimated.num_bins == pytest.approx(4000, abs=1)
    short = imaging(NOISE[:600], np.arange(600) / 10)
    left_open = requested | {"ridge": None, "history": 4}
    problem = build_task(short, "netformer", seed=0, options=left_open)
    assert cost.estimate(short, "netformer", options=left_open).trainings == len(
        candidates(problem)
    )
