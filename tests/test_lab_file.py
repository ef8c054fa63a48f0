"""Samples as NWB files: what any lab might have written, and the same bytes every time."""

import multiprocessing

import numpy as np
import pynwb
import pytest
from nwbinspector import Importance, inspect_nwbfile, load_config
from test_simulate import SMALL

import nwbdyn
from nwbdyn.errors import AddressError
from nwbdyn.simulate import Truth, sample
from nwbdyn.simulate.sample_file import sample_file

CORTEX = "sample:cortex?neurons=8&duration=60"
REACH = "sample:reach?neurons=8&trials=20"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    return {address: sample_file(address, folder) for address in (CORTEX, REACH)}


@pytest.mark.parametrize("address", [CORTEX, REACH])
def test_the_file_is_valid_and_the_archive_would_take_it(files, address):
    path = files[address]
    assert pynwb.validate(path=str(path)) == []
    messages = inspect_nwbfile(nwbfile_path=path, config=load_config("dandi"))
    serious = (Importance.CRITICAL, Importance.ERROR, Importance.BEST_PRACTICE_VIOLATION)
    assert [message for message in messages if message.importance in serious] == []


@pytest.mark.parametrize("address", [CORTEX, REACH])
def test_what_is_read_is_what_was_simulated(files, address):
    planted, _ = sample(address)
    with nwbdyn.open(str(files[address])) as recording:
        assert recording.session_id == planted.session_id
        assert recording.subject["species"] == planted.subject["species"]
        assert recording.neurons.ids.tolist() == planted.neurons.ids.tolist()
        assert recording.notes == ()
        for expected in planted.covariates:
            covariate = recording.covariate(expected.name)
            assert np.allclose(covariate.data[:], expected.data)
            assert np.allclose(covariate.timestamps[:], expected.timestamps)
            assert covariate.unit == expected.unit
            assert covariate.channels == expected.channels


def test_traces_types_and_positions_come_back(files):
    planted, _ = sample(CORTEX)
    with nwbdyn.open(str(files[CORTEX])) as recording:
        assert recording.activity.quantity == "dff"
        assert np.array_equal(recording.activity.data[:], planted.activity.data)
        for column in ("cell_type", "x", "y"):
            assert np.array_equal(recording.neurons.table[column], planted.neurons.table[column])
        bouts = recording.intervals["behavioral_state"]
        assert bouts["state"].tolist() == planted.intervals["behavioral_state"]["state"].tolist()


def test_spikes_trials_and_areas_come_back(files):
    planted, _ = sample(REACH)
    with nwbdyn.open(str(files[REACH])) as recording:
        assert np.array_equal(recording.activity.times[:], planted.activity.times)
        assert np.array_equal(recording.activity.index, planted.activity.index)
        assert np.allclose(recording.activity.intervals, planted.activity.intervals)
        for column in ("heldout", "location"):
            assert (recording.neurons.table[column] == planted.neurons.table[column]).all()
        for column in planted.trials:
            assert (recording.trials[column] == planted.trials[column]).all()


@pytest.mark.slow
@pytest.mark.parametrize("address", SMALL.values(), ids=SMALL)
def test_every_sample_is_written_and_read(address, tmp_path):
    planted, _ = sample(address)
    path = sample_file(address, tmp_path)
    assert pynwb.validate(path=str(path)) == []
    with nwbdyn.open(str(path)) as recording:
        assert recording.neurons.ids.tolist() == planted.neurons.ids.tolist()
        assert type(recording.activity) is type(planted.activity)
        assert {note.code for note in recording.notes} <= {"no-positions"}


def test_the_file_is_the_same_bytes_every_time(files, tmp_path):
    for address, path in files.items():
        assert sample_file(address, tmp_path).read_bytes() == path.read_bytes()


def test_a_sample_is_made_once_and_named_by_its_full_address(files):
    path = files[CORTEX]
    assert path.name == "cortex-seed0-neurons8-duration60.nwb"
    before = path.stat().st_mtime_ns
    again = sample_file("sample:cortex?duration=60.0&neurons=8&seed=0", path.parents[1])
    assert again == path
    assert path.stat().st_mtime_ns == before


def test_the_truth_lies_beside_the_file(files):
    _, planted = sample(CORTEX)
    truth = Truth.load(files[CORTEX].with_suffix(".truth.npz"))
    assert np.array_equal(truth.couplings, planted.couplings)


@pytest.mark.slow
def test_two_processes_may_make_the_same_sample(tmp_path):
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        paths = pool.starmap(sample_file, [(CORTEX, tmp_path)] * 2)
    assert paths[0] == paths[1]
    names = {path.name for path in paths[0].parent.iterdir()}
    assert names == {paths[0].name, paths[0].with_suffix(".truth.npz").name}


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("NWBDYN_CACHE", str(tmp_path))
    assert tmp_path / "samples" in sample_file(CORTEX).parents


def test_a_cache_that_is_a_file_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(AddressError, match="NWBDYN_CACHE"):
        sample_file(CORTEX, tmp_path / "taken")
