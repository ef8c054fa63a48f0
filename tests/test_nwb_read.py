"""Real recordings are read as they are: every number checked against h5py's own reading of them."""

import json
import re
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from nwbdyn import nwb
from nwbdyn.errors import ConfigError
from nwbdyn.nwb.read.options import ReadOptions
from nwbdyn.nwb.read.recording import read
from nwbdyn.nwb.read.summary import summarise
from nwbdyn.recording import Source, SpikeTimes, Traces


@contextmanager
def opened(path: Path, **options):
    """The recording in a local file."""
    source = Source(str(path), path.as_uri())
    with path.open("rb") as file, read(file, source, ReadOptions(**options)) as it:
        yield it


def codes(recording) -> set[str]:
    return {note.code for note in recording.notes}


def test_every_real_file_is_read_and_summarised_as_json(data):
    paths = sorted(data.glob("*/*.nwb"))
    assert len(paths) == 11
    for path in paths:
        with opened(path) as recording:
            summary = json.loads(json.dumps(summarise(recording), allow_nan=False))
            assert summary["neurons"]["count"] == len(recording.neurons) > 0
            assert summary["clock"]["duration"] > 0


def test_worm_traces_are_the_file_s_own_with_their_irregular_clock(data):
    path = data / "ophys" / "celegans_dag2023_2022-07-26-31.nwb"
    with opened(path) as recording, h5py.File(path) as file:
        traces = recording.activity
        assert isinstance(traces, Traces)
        series = file["processing/ophys/DfOverF/F_over_Fmean"]
        np.testing.assert_array_equal(traces.data, series["data"][()])
        np.testing.assert_array_equal(traces.timestamps, series["timestamps"][()])
        assert traces.quantity == "dff"
        assert traces.series_path == series.name
        table = file["processing/ophys/ImageSegmentation/PlaneSegmentation"]
        labels = table["cell_type"].asstr()[()]
        assert recording.neurons.table["cell_type"].tolist() == labels.tolist()
        assert recording.neurons.cell_type_source == f"{table.name}/cell_type".lstrip("/")
        assert recording.neurons.table["cell_type"].dtype == "str"
        assert recording.intervals["reversals"].shape == (34, 3)


def test_behaviour_on_linked_timestamps_is_read_and_a_series_of_nan_stays_nan(data):
    with opened(data / "ophys" / "celegans_dag2023_2022-07-26-31.nwb") as recording:
        velocity, pumping = recording.covariate("velocity"), recording.covariate("pumping")
        np.testing.assert_array_equal(velocity.timestamps, recording.activity.timestamps)
        assert velocity.unit == "mm/s"
        assert np.isfinite(np.asarray(velocity.data)).all()
        assert np.isnan(np.asarray(pumping.data)).all()
        assert recording.covariate("stage_position").channels == ("x", "y")


def test_quantity_names_another_series_and_the_notes_name_what_was_passed_over(data):
    path = data / "ophys" / "mouse_v1_2p_neuronsxnets_24617.nwb"
    with opened(path) as recording:
        assert recording.activity.quantity == "deconvolved"
        passed_over = [note.where for note in recording.notes if note.code == "other-traces"]
        assert passed_over == ["/processing/ophys/Fluorescence/BackgroundSubtracted"]
    with opened(path, quantity="fluorescence") as recording:
        assert recording.activity.series_path.endswith("BackgroundSubtracted")
        assert recording.activity.timestamps[1] == 1 / 6.3


def test_an_unknown_quantity_is_refused_with_the_choices(data):
    path = data / "ophys" / "mouse_v1_2p_neuronsxnets_24617.nwb"
    with (
        pytest.raises(
            ConfigError, match=r"No quantity named 'spikes'\. Choose from: counts, deconvolved"
        ),
        opened(path, quantity="spikes"),
    ):
        pass


def test_neuropil_is_never_taken_for_activity(data):
    with opened(data / "ophys" / "ophys_schema_sample_neuroconv_nwb_test.nwb") as recording:
        assert ("not-activity", "/processing/ophys/Fluorescence/Neuropil") in {
            (note.code, note.where) for note in recording.notes
        }
        assert recording.neurons.table["Accepted"].sum() > 0


def test_spike_times_of_every_unit_are_the_file_s_own_whatever_the_index_type(data):
    for path in sorted(data.glob("ecephys/*.nwb")):
        with opened(path) as recording, h5py.File(path) as file:
            spikes = recording.activity
            assert isinstance(spikes, SpikeTimes)
            assert spikes.index.dtype == np.int64
            start = 0
            for unit, stop in enumerate(file["units/spike_times_index"][()].tolist()):
                np.testing.assert_array_equal(
                    spikes.of(unit), file["units/spike_times"][start:stop]
                )
                start = stop


def test_observed_intervals_electrode_locations_and_interval_tables_are_read(data):
    with opened(data / "ecephys" / "rat_hippocampus_nelpy_linear-track.nwb") as recording:
        np.testing.assert_allclose(
            recording.activity.intervals, [[4396.9975, 6365.2707]], atol=1e-4
        )
        assert set(recording.neurons.table["location"]) == {"hippocampus"}
        assert recording.covariate("led").data.shape == (118965, 2)
    with opened(data / "ecephys" / "human_mtl_dandi000207_sub-4_ses-4.nwb") as recording:
        assert set(recording.neurons.table["location"]) == {"hippocampus_right", "amygdala_right"}
        assert recording.trials is None
        assert {name: len(frame) for name, frame in recording.intervals.items()} == {
            "encoding_table": 90,
            "recognition_table": 180,
            "timediscrimination_table": 180,
        }


def test_trials_and_cell_types_written_as_bytes_come_out_as_text(data):
    with opened(data / "ecephys" / "mouse_thalamus_dandi000009_anm00239123.nwb") as recording:
        assert recording.trials.shape == (412, 17)
        assert recording.trials["response"].dtype == "str"
        assert recording.neurons.table["cell_type"].tolist()[:2] == [
            "Cannot be determined",
            "Narrow width spiking",
        ]
        assert recording.neurons.cell_type_source == "units/cell_type"


def test_one_series_per_neuron_becomes_one_recording(data):
    path = data / "ophys" / "celegans_scholz_142554_per-neuron-timeseries.nwb"
    with opened(path) as recording, h5py.File(path) as file:
        assert recording.activity.data.shape == (3690, 59)
        assert "series-per-neuron" in codes(recording)
        np.testing.assert_array_equal(
            recording.activity.data[100:200, 7], file["acquisition/Activity_0007/data"][100:200]
        )
        np.testing.assert_array_equal(
            np.asarray(recording.activity.data)[:, 58], file["acquisition/Activity_0058/data"]
        )
        assert [covariate.name for covariate in recording.covariates] == ["ss_2D"]


def test_every_code_of_a_note_is_explained_in_the_documentation():
    package = Path(nwb.__file__).parents[1]
    source = "".join(path.read_text("utf-8") for path in package.rglob("*.py"))
    used = set(re.findall(r'\b(?:note|Note)\(\s*"([a-z-]+)"', source))
    used |= set(re.findall(r'_noted\(\w+, "([a-z-]+)"', source))
    written = Path(__file__).parents[1] / "docs" / "reading.md"
    explained = set(re.findall(r"^\| `([a-z-]+)` \|", written.read_text("utf-8"), re.MULTILINE))
    assert used == explained
