"""Tables of units as labs write them: where they lie, their clocks, channels and locations."""

import numpy as np
import pytest
from nwb_files import (
    SPIKES,
    add_column,
    noted,
    nwb,
    opened,
    rois,
    series,
    table,
    traces,
    units,
)

from nwbdyn.data.observation import intersection
from nwbdyn.errors import ConfigError, ReadError


def test_units_are_found_in_a_processing_module(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, "processing/ecephys/units")
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table_path == "/processing/ecephys/units"
        for unit, times in enumerate(SPIKES):
            assert recording.activity.of(unit).tolist() == times


def test_an_index_stored_in_bytes_does_not_wrap_round(tmp_path):
    many = [list(np.linspace(0, 9, 200)), list(np.linspace(0, 9, 30)), [1.0]]
    with nwb(tmp_path / "a.nwb") as file:
        group = units(file, spikes=many)
        assert group["spike_times_index"].dtype == np.uint8
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.index.tolist() == [200, 230, 231]
        assert len(recording.activity.of(1)) == 30


def test_quality_and_heldout_columns_stay_beside_the_neurons(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, quality=["good", "mua", "good"], heldout=np.array([False, True, False]))
    with opened(tmp_path / "a.nwb") as recording:
        frame = recording.neurons.table
        assert frame["quality"].tolist() == ["good", "mua", "good"]
        assert frame["heldout"].dtype == bool
        assert frame["heldout"].tolist() == [False, True, False]


def test_intervals_observed_by_all_units_are_kept_as_they_are(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        group = units(file)
        group["obs_intervals"] = np.tile([[0.0, 1.0], [1.0, 4.0]], (3, 1))
        group["obs_intervals_index"] = np.array([2, 4, 6], np.uint8)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.intervals.tolist() == [[0, 1], [1, 4]]
        assert "unequal-intervals" not in noted(recording)


def test_unequal_observed_intervals_are_intersected_and_noted(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        group = units(file)
        group["obs_intervals"] = [[0.0, 4.0], [0.5, 1.0], [2.0, 3.0], [0.0, 2.5]]
        group["obs_intervals_index"] = np.array([1, 3, 4], np.uint8)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.activity.intervals.tolist() == [[0.5, 1.0], [2.0, 2.5]]
        assert noted(recording)["unequal-intervals"] == "/units/obs_intervals"


@pytest.mark.parametrize("seed", range(20))
def test_an_intersection_holds_exactly_the_moments_in_every_set(seed):
    draw = np.random.default_rng(seed)
    many = []
    for _ in range(3):
        edges = np.unique(draw.integers(0, 60, 12))
        many.append(edges[: len(edges) // 2 * 2].reshape(-1, 2).astype(float))
    common = intersection(many)
    for moment in np.arange(0.5, 60):  # between the edges, which are whole numbers
        everywhere = all(any(a < moment < b for a, b in intervals) for intervals in many)
        assert everywhere == any(a < moment < b for a, b in common)


def test_units_with_an_electrode_in_common_get_the_same_channel(tmp_path):
    path = tmp_path / "made.nwb"
    with nwb(path) as file:
        spikes = [[0.1, 0.5 + unit] for unit in range(6)]
        group = units(file, spikes=spikes)
        add_column(group, "electrodes", [[4], [7, 9], [9, 2], [4], [], [5]])
    with opened(path) as recording:
        # 7 and 9 by one unit, 9 and 2 by another: one channel, called by its lowest row
        assert recording.neurons.table["channel"].tolist() == [4, 2, 2, 4, -1, 5]


def test_locations_come_from_the_electrodes_through_their_table(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        folder = file.create_group("general/extracellular_ephys")
        electrodes = table(folder, "electrodes", "DynamicTable", location=["CA1", "CA3", "DG"])
        group = units(file)
        add_column(group, "electrodes", [[0], [0, 1], [2]])
        group["electrodes"].attrs["table"] = electrodes.ref
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["location"].tolist() == ["CA1", "CA1; CA3", "DG"]


def test_locations_come_from_the_peak_channel_where_units_name_one(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        folder = file.create_group("general/extracellular_ephys")
        electrodes = table(folder, "electrodes", "DynamicTable", location=["VISp", "LGd", "CA1"])
        electrodes["id"][...] = [850, 851, 852]
        units(file, peak_channel_id=np.array([852, 850, 9]))
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["location"].tolist() == ["CA1", "VISp", ""]


def test_units_win_over_traces_unless_a_quantity_is_named(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        traces(file, rois=rois(file))
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.kind == "unit"
        assert noted(recording)["other-traces"] == "/processing/ophys/DfOverF/RoiResponseSeries"
    with opened(tmp_path / "a.nwb", quantity="dff") as recording:
        assert recording.neurons.kind == "roi"
        assert recording.activity.quantity == "dff"


def test_spikes_far_longer_than_a_short_epoch_are_still_seconds(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, spikes=[0.3 + 1.5 * np.arange(240) for _ in range(2)])
        table(file["intervals"], "test_tone", "TimeIntervals", start_time=[0.0], stop_time=[1.0])
    with opened(tmp_path / "a.nwb") as recording:
        assert len(recording.activity.times) == 480


def test_numbered_behaviour_is_never_taken_for_neurons(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        for tone in range(8):
            series(file["acquisition"], f"tone_{tone}", np.arange(9.0), rate=1.0)
    with pytest.raises(ReadError, match="neither units"), opened(tmp_path / "a.nwb"):
        pass


@pytest.mark.parametrize(("unit", "per_second"), [("ms", 1_000), ("30000", 30_000)])
def test_spike_times_in_another_unit_become_seconds_when_it_is_named(unit, per_second, tmp_path):
    seconds = [np.linspace(0.5, 100.0, 400), np.linspace(1.0, 99.0, 50)]
    observed = [[(0.0, 100.0)]] * 2
    with nwb(tmp_path / "other.nwb") as file:
        times = [(row * per_second).round() for row in seconds]
        units(file, spikes=times, obs_intervals=[[(0.0, 100.0 * per_second)]] * 2)
    with nwb(tmp_path / "mixed.nwb") as file:
        units(file, spikes=times, obs_intervals=observed)
    for name in ("other.nwb", "mixed.nwb"):
        with opened(tmp_path / name, spike_time_unit=unit) as recording:
            np.testing.assert_allclose(
                recording.activity.of(1), seconds[1], atol=0.5 / per_second, rtol=0
            )
            np.testing.assert_allclose(recording.activity.intervals, [[0.0, 100.0]])
            assert "spike-time-unit" in noted(recording)


def test_rare_spikes_of_a_very_long_recording_are_seconds_when_that_is_said(tmp_path):
    spikes = [np.linspace(0.25, 40_000.0, 400)]
    with nwb(tmp_path / "long.nwb") as file:
        units(file, spikes=spikes)
    with pytest.raises(ReadError, match="--spike-time-unit"), opened(tmp_path / "long.nwb"):
        pass
    with opened(tmp_path / "long.nwb", spike_time_unit="s") as recording:
        np.testing.assert_array_equal(recording.activity.of(0), spikes[0])


@pytest.mark.parametrize("unit", ["us", "0", "-1", "nan", ""])
def test_a_unit_of_spike_times_that_is_none_is_refused(unit, tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
    refused = pytest.raises(ConfigError, match="s, ms, or the sampling rate")
    with refused, opened(tmp_path / "a.nwb", spike_time_unit=unit):
        pass


def test_spike_times_that_are_no_numbers_are_noted(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, spikes=[[0.5, np.nan, 1.5], [0.25]])
    with opened(tmp_path / "a.nwb") as recording:
        assert noted(recording)["nan-spikes"] == "/units/spike_times"
