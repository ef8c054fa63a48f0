"""Several tables of units, repeated ids, and columns as MATLAB and other writers store them."""

from datetime import UTC, datetime

import h5py
import numpy as np
import pytest
from nwb_files import add_column, noted, nwb, opened, rois, table, traces, units
from pynwb import NWBHDF5IO, NWBFile
from pynwb.misc import Units
from small import poisson_spikes

import nwbdyn
from nwbdyn.data.binning import bin_recording
from nwbdyn.nwb.read.units.unit_tables import unique_ids
from nwbdyn.recording import Traces
from nwbdyn.workflows.export import export

TINY = {"context": 4, "hidden": 8, "batch_size": 256}
SECONDS = 30.0
PROBES = ("probeA", "probeB", "probeC")


def trains(number, seed=0):
    return [np.array(unit) for unit in poisson_spikes(number, SECONDS, rate=8.0, seed=seed)]


def lab_file(path, tables, *, ids=None):
    """A complete NWB file with Units tables: path of the table -> spike times."""
    file = NWBFile("a test", "made", datetime(2024, 1, 1, tzinfo=UTC), session_id="s1")
    module = file.create_processing_module("ecephys", "units")
    for name, spikes in tables.items():
        made = Units(name=name, description="sorted")
        for row, times in enumerate(spikes):
            made.add_unit(spike_times=times, id=row if ids is None else ids[row])
        if name == "units":
            file.units = made
        else:
            module.add(made)
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


def counts(spikes):
    return [len(unit) for unit in spikes]


def binned_counts(recording):
    return bin_recording(recording).values.sum(axis=0).astype(int).tolist()


def fitted(path, **options):
    with nwbdyn.open(str(path), **options) as recording:
        return nwbdyn.fit(recording, "synapsnet", options=TINY, epochs=1, bin_width=0.1)


def test_tables_of_all_probes_are_read_and_distinguished_by_a_column(tmp_path):
    spikes = {name: trains(4, seed) for seed, name in enumerate(PROBES)}
    path = lab_file(tmp_path / "a.nwb", spikes)
    with nwbdyn.open(str(path)) as recording:
        neurons = recording.neurons
        assert neurons.table["table"].tolist() == [name for name in PROBES for _ in range(4)]
        assert neurons.table["stored_id"].tolist() == list(range(4)) * 3
        assert neurons.ids.tolist()[:5] == [*(f"probeA/{k}" for k in range(4)), "probeB/0"]
        assert binned_counts(recording) == [n for name in PROBES for n in counts(spikes[name])]
        assert "merged-units" in noted(recording)
    with nwbdyn.open(str(path), where="table == 'probeB'") as recording:
        assert binned_counts(recording) == counts(spikes["probeB"])


def test_a_fit_of_several_tables_is_exported_and_enriched(tmp_path):
    path = lab_file(tmp_path / "a.nwb", {name: trains(3, k) for k, name in enumerate(PROBES)})
    made = fitted(path)
    for enrich in (False, True):
        out = export(made, tmp_path / f"{enrich}.nwb", enrich=enrich)
        with nwbdyn.open_results(out) as results:
            assert set(results.edges["pre_id"]) <= set(made.neurons.ids)
            assert len(results.neurons) == 9
            table = results.neurons.table["table"]
            assert table.tolist() == [name for name in PROBES for _ in range(3)]


def test_repeated_ids_in_one_table_carry_their_row_through_fit_export_and_enriching(tmp_path):
    spikes = trains(6)
    path = lab_file(tmp_path / "a.nwb", {"units": spikes}, ids=[0, 1, 2, 0, 1, 7])
    with nwbdyn.open(str(path)) as recording:
        ids = recording.neurons.ids.tolist()
        assert ids == ["0 (row 0)", "1 (row 1)", "2", "0 (row 3)", "1 (row 4)", "7"]
        assert recording.neurons.table["stored_id"].tolist() == [0, 1, 2, 0, 1, 7]
        assert noted(recording)["duplicate-ids"] == "/units/id"
        assert binned_counts(recording) == counts(spikes)
    made = fitted(path, where="stored_id == 0 or stored_id == 7")
    assert made.neurons.ids.tolist() == ["0 (row 0)", "0 (row 3)", "7"]
    export(made, tmp_path / "alone.nwb")
    out = export(made, tmp_path / "enriched.nwb", enrich=True)
    with NWBHDF5IO(out, "r") as io:
        module = io.read().processing["population_dynamics"].data_interfaces
        neurons = next(item for name, item in module.items() if name.endswith("_neurons"))
        assert list(neurons["source_row"].data[:]) == [0, 3, 5]


def test_ids_repeated_within_and_across_tables_are_all_different(tmp_path):
    spikes = {"probeA": trains(3), "probeB": trains(3, 1)}
    path = lab_file(tmp_path / "a.nwb", spikes, ids=[-1, -1, 4])
    with nwbdyn.open(str(path)) as recording:
        ids = recording.neurons.ids.tolist()
        assert len(set(ids)) == 6
        assert ids[:3] == ["probeA/-1 (row 0)", "probeA/-1 (row 1)", "probeA/4"]
        assert recording.neurons.table["stored_id"].tolist() == [-1, -1, 4] * 2


def test_ids_that_differ_across_tables_stay_as_they_are(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, spikes=trains(3))
        other = units(file, "processing/ecephys/more", spikes=trains(2, 1))
        other["id"][:] = [10, 11]
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.ids.tolist() == [0, 1, 2, 10, 11]
        assert [n.important for n in recording.notes if n.code == "merged-units"] == [True]


def test_a_table_that_copies_another_is_read_once(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, spikes=trains(3))
        units(file, "processing/ecephys/again", spikes=trains(3))
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.ids.tolist() == [0, 1, 2]
        assert noted(recording)["more-units"] == "/processing/ecephys/again"


def test_units_that_two_tables_share_are_an_important_note(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, spikes=trains(3))
        units(file, "processing/ecephys/all", spikes=[*trains(2), *trains(4, 1)])
    with opened(tmp_path / "a.nwb") as recording:
        actual = [note.reason for note in recording.notes if note.code == "shared-units"]
    assert len(actual) == 1
    assert actual[0].startswith("2 units of all have the spikes of units of units")


def test_tables_observed_at_different_times_are_refused_with_the_table_to_choose(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        for seed, name, observed in ((0, "one", (0.0, 15.0)), (1, "two", (15.0, 30.0))):
            where = f"processing/ecephys/{name}"
            units(file, where, spikes=trains(3, seed), obs_intervals=[[observed]] * 3)
    with opened(tmp_path / "a.nwb") as recording:
        reason = next(n.reason for n in recording.notes if n.code == "never-together")
    assert "--where \"table == 'one'\"" in reason
    assert "--where \"table == 'two'\"" in reason


def test_a_table_without_rows_leaves_the_file_to_the_traces(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        made = units(file)
        for name, kind in (("id", "u1"), ("spike_times", "f8"), ("spike_times_index", "u1")):
            del made[name]
            made[name] = np.zeros(0, kind)
        traces(file, rois=rois(file))
    with opened(tmp_path / "a.nwb") as recording:
        assert isinstance(recording.activity, Traces)
        assert noted(recording)["no-units"] == "/units"


def test_units_without_a_single_spike_leave_the_file_to_the_traces(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        made = table(file, "units", "Units", spike_times=[1.0, 2.0])
        for name in ("id", "spike_times"):
            del made[name]
        made["id"], made["spike_times"] = [0, 1], np.zeros(0)
        made["spike_times_index"] = [0, 0]
        traces(file, rois=rois(file))
    with opened(tmp_path / "a.nwb") as recording:
        assert isinstance(recording.activity, Traces)
        assert [n.code for n in recording.notes if n.important] == ["no-spikes"]


@pytest.mark.parametrize(
    ("name", "values", "code"),
    [
        ("id", np.zeros(0, "i8"), "no-id"),
        ("id", [0.0, 1.0, 2.0], "float-id"),
        ("id", [[0], [1], [2]], None),
        ("spike_times_index", "floats", None),
        ("spike_times_index", "column", None),
        ("spike_times", "row", None),
        ("spike_times", "column", None),
        ("spike_times", "big-endian", None),
    ],
)
def test_columns_as_matlab_stores_them_are_read(name, values, code, tmp_path):
    spikes = trains(3)
    with nwb(tmp_path / "a.nwb") as file:
        made = units(file, spikes=spikes)
        stored = made[name][:]
        del made[name]
        forms = {
            "floats": lambda: stored.astype(float),
            "column": lambda: stored.reshape(-1, 1),
            "row": lambda: stored.reshape(1, -1),
            "big-endian": lambda: stored.astype(">f8"),
        }
        made.create_dataset(name, data=forms[values]() if isinstance(values, str) else values)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.ids.tolist() == [0, 1, 2]
        assert recording.neurons.ids.dtype.kind == "i"
        assert binned_counts(recording) == counts(spikes)
        assert code is None or code in noted(recording)


@pytest.mark.parametrize("values", [[0.5, 1.0, 2.0], [np.nan, 1.0, 2.0], np.zeros(0)])
def test_an_index_that_is_no_list_of_row_ends_costs_the_table(values, tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        made = units(file, spikes=trains(3))
        del made["spike_times_index"]
        made["spike_times_index"] = values
        traces(file, rois=rois(file))
    with opened(tmp_path / "a.nwb") as recording:
        assert isinstance(recording.activity, Traces)
        assert {"broken-index", "column-length"} & set(noted(recording))


def test_the_words_of_an_enumeration_are_read(tmp_path):
    kinds = h5py.enum_dtype({"pyramidal": 0, "interneuron": 1}, basetype="u1")
    with nwb(tmp_path / "a.nwb") as file:
        made = units(file, spikes=trains(3))
        made.create_dataset("cell_type", data=np.array([0, 1, 5], "u1"), dtype=kinds)
        made.attrs["colnames"] = [*made.attrs["colnames"], "cell_type"]
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["cell_type"].tolist() == ["pyramidal", "interneuron", "5"]
    with nwbdyn.open(str(tmp_path / "a.nwb"), where="cell_type == 'interneuron'") as recording:
        assert recording.neurons.ids.tolist() == [1]


def test_an_enriched_copy_takes_ids_of_the_other_byte_order(tmp_path):
    path = lab_file(tmp_path / "a.nwb", {"units": trains(4)})
    with h5py.File(path, "a") as file:
        attributes = dict(file["units/id"].attrs)
        del file["units/id"]
        file.create_dataset("units/id", data=np.arange(4, dtype=">i8")).attrs.update(attributes)
    out = export(fitted(path), tmp_path / "enriched.nwb", enrich=True)
    with nwbdyn.open_results(out) as results:
        assert results.neurons.ids.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([3, 1, 2], [3, 1, 2]),
        ([3, 1, 3], ["3 (row 0)", "1", "3 (row 2)"]),
        ([1.5, np.nan, np.nan], ["1.5", "nan (row 1)", "nan (row 2)"]),
        (["a", "a", "b"], ["a (row 0)", "a (row 1)", "b"]),
    ],
)
def test_ids_are_unique_afterwards_and_the_same_where_they_were(ids, expected):
    assert unique_ids(np.array(ids)).tolist() == expected


def test_a_column_named_like_an_attribute_of_the_exported_table_is_written(tmp_path):
    path = lab_file(tmp_path / "a.nwb", {"units": trains(3)})
    with h5py.File(path, "a") as file:
        add_column(file["units"], "kind", [1.0, 2.0, 3.0])
        file["units"].attrs["colnames"] = [*file["units"].attrs["colnames"], "kind"]
    out = export(fitted(path), tmp_path / "out.nwb")
    with nwbdyn.open_results(out) as results:
        assert results.neurons.table["source_kind"].tolist() == [1.0, 2.0, 3.0]


def test_texts_of_units_are_exported_without_the_folders_in_them(tmp_path):
    path = lab_file(tmp_path / "a.nwb", {"units": trains(3)})
    with h5py.File(path, "a") as file:
        texts = ["good", "", "sorted in /home/alice/lab/phy.log"]
        add_column(file["units"], "remark", texts)
        file["units"].attrs["colnames"] = [*file["units"].attrs["colnames"], "remark"]
    out = export(fitted(path), tmp_path / "out.nwb")
    with nwbdyn.open_results(out) as results:
        remarks = results.neurons.table["remark"]
    assert remarks.fillna("").tolist() == ["good", "", "sorted in phy.log"]
