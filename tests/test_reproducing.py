"""A file that was exported is enough to make the same fit again, and to notice when it is not."""

import math
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

import nwbdyn
from nwbdyn import archive
from nwbdyn.cli import main
from nwbdyn.errors import ResultsError
from nwbdyn.nwb.results.open_results import open_results, run_names
from nwbdyn.workflows import reproduce

QUICK = {"batch_size": 256}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A recording, a fit of it with choices left to validation, folds and seeds, and its export."""
    folder = tmp_path_factory.mktemp("reproduce")
    (source,) = archive.resolve("sample:cortex?neurons=6&duration=90")
    shutil.copy(source.path, folder / "lab.nwb")
    fit = nwbdyn.fit(
        str(folder / "lab.nwb"),
        "netformer",
        seed=3,
        seeds=2,
        folds=3,
        epochs=2,
        device="cpu",
        options={"history": 4, **QUICK},
    )
    nwbdyn.export(fit, folder / "results.nwb")
    return folder


def copied(folder: Path, to: Path) -> Path:
    """The results in a new place, about a copy of the recording beside them."""
    shutil.copy(folder / "results.nwb", to / "results.nwb")
    shutil.copy(folder / "lab.nwb", to / "lab.nwb")
    return to / "results.nwb"


def test_the_file_alone_gives_the_same_predictions_and_scores(folder):
    outcome = nwbdyn.reproduce(folder / "results.nwb")
    assert outcome.reproduced
    assert outcome.predictions <= 1e-5
    assert outcome.metrics <= 1e-6
    assert (outcome.unmatched, outcome.changed) == ((), {})
    assert outcome.digests[0] == outcome.digests[1]
    assert outcome.fit.environment["seeds"] == [3, 4]


@pytest.mark.parametrize(
    ("address", "model", "options", "more"),
    [
        ("sample:cortex?neurons=6&duration=90", "synapsnet", QUICK, {"bin_width": 0.2}),
        pytest.param(
            "sample:cortex?neurons=6&duration=90",
            "netformer",
            {"history": 4, **QUICK},
            {"sweep": {"grid": {"embedding": [2, 3]}}, "null": "shift:2"},
            marks=pytest.mark.slow,
        ),
        (
            "sample:reach?neurons=20&trials=24",
            "stndt",
            {"layers": 1, **QUICK},
            {"trials": "trials", "heldout_resamples": 2},
        ),
    ],
)
def test_what_was_asked_of_any_model_is_asked_again(tmp_path, address, model, options, more):
    fit = nwbdyn.fit(address, model, epochs=2, device="cpu", options=options, **more)
    outcome = nwbdyn.reproduce(nwbdyn.export(fit, tmp_path / "out.nwb"))
    assert outcome.reproduced, outcome
    assert outcome.unmatched == ()
    assert outcome.fit.config == fit.config
    assert outcome.fit.binning["tensors"] == fit.binning["tensors"]


def test_neurons_that_were_left_out_and_labels_from_a_lost_file_come_back(tmp_path):
    address = "sample:cortex?neurons=6&duration=90"
    labels = tmp_path / "types.csv"
    with nwbdyn.open(address) as recording:
        ids = recording.neurons.ids
    labels.write_text("id,cell_type\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in ids))
    with nwbdyn.open(address, cell_types=labels, where="id != 2") as recording:
        fit = nwbdyn.fit(recording, "netformer", epochs=1, options={"history": 4, **QUICK})
    path = nwbdyn.export(fit, tmp_path / "out.nwb")
    labels.unlink()
    outcome = nwbdyn.reproduce(path)
    assert outcome.reproduced
    assert list(outcome.fit.neurons.table["cell_type"]) == list(fit.neurons.table["cell_type"])
    assert len(outcome.fit.neurons) == 5


def test_a_source_whose_bytes_changed_but_not_its_data_is_told(folder, tmp_path):
    path = copied(folder, tmp_path)
    with h5py.File(tmp_path / "lab.nwb", "a") as file:
        file["general/lab"] = "another"
    outcome = nwbdyn.reproduce(path, source=str(tmp_path / "lab.nwb"))
    assert outcome.reproduced
    assert outcome.digests[0] != outcome.digests[1]


def test_other_data_are_refused_with_both_digests_of_both(folder, tmp_path):
    path = copied(folder, tmp_path)
    with h5py.File(tmp_path / "lab.nwb", "a") as file:
        (series,) = (
            item
            for item in file["processing/ophys"].values()
            for item in item.values()
            if "data" in item
        )
        series["data"][5, 0] += 1
    with open_results(path) as fit:
        then = (fit.binning["tensors"], fit.source.digest)
    with pytest.raises(ResultsError, match="does not give the tensors that were fitted") as caught:
        nwbdyn.reproduce(path, source=str(tmp_path / "lab.nwb"))
    assert all(digest in str(caught.value) for digest in then)
    assert str(caught.value).count("sha256:") == 4


def test_a_source_that_has_moved_is_asked_for(folder, tmp_path):
    path = copied(folder, tmp_path)
    with h5py.File(path, "a") as file:
        record = file["processing/population_dynamics"][run_names(path)[0]]["source"]
        gone = tmp_path / "gone.nwb"
        record.attrs.update(uri=str(gone), url=gone.as_uri())
    (tmp_path / "lab.nwb").unlink()
    with pytest.raises(ResultsError, match=r"gone\.nwb.*say where it is now with --source"):
        nwbdyn.reproduce(path)


def test_a_fit_that_needed_more_than_its_file_says_so(folder, tmp_path):
    path = copied(folder, tmp_path)
    (name,) = run_names(path)
    with h5py.File(path, "a") as file:
        details = file["processing/population_dynamics"][name]["details"]
        keys = details["key"].asstr()[()].tolist()
        row = next(row for row, key in enumerate(keys) if key.startswith("asked."))
        details["key"][row], details["value"][row] = "asked.adopted.run", "runs/first"
        details["value_type"][row] = "text"
    with pytest.raises(ResultsError, match=r"parameters of an earlier run.*runs/first.*not in its"):
        nwbdyn.reproduce(path)


def test_what_differs_between_the_machines_is_named(folder, tmp_path):
    path = copied(folder, tmp_path)
    (name,) = run_names(path)
    with h5py.File(path, "a") as file:
        details = file["processing/population_dynamics"][name]["details"]
        keys = details["key"].asstr()[()].tolist()
        details["value"][keys.index("numpy")] = "1.0"
        details["value_type"][keys.index("numpy")] = "text"
        details["value"][keys.index("threads")] = "64"
        file["processing/population_dynamics"][f"{name}_predictions/data"][-3:] *= 1.001
    result = CliRunner().invoke(main, ["reproduce", str(path), "-q"])
    assert result.exit_code == 1, result.output
    assert f"numpy: 1.0 then, {np.__version__} now." in result.output
    assert "threads: 64 then" in result.output
    assert "Not reproduced to the limit; different from then: numpy, threads." in result.output


def test_the_command_says_that_it_is_reproduced_and_keeps_the_run(folder, tmp_path):
    arguments = ["reproduce", str(folder / "results.nwb"), "-q", "-o", str(tmp_path / "again")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "Tensors that were fitted: the same. Digest of the source: the same." in result.output
    assert result.output.splitlines()[-1] == "Reproduced."
    assert nwbdyn.load(tmp_path / "again").seed == 3


def test_predictions_are_compared_in_standard_deviations_and_by_where_they_are():
    first = np.array([[np.nan, 1.0], [0.0, 1.0], [2.0, 1.0]])  # sd 1 and 0
    second = first + np.array([0.5, 0.25])
    assert reproduce.compare_predictions(first, second) == 0.5
    second[0, 0] = 0.0
    assert math.isinf(reproduce.compare_predictions(first, second))


def test_scores_are_compared_leaf_by_leaf():
    first = {"a": {"r2": 0.5, "nan": None}, "best": "AR", "ends": [0.1, 0.2], "old": 1}
    second = {"a": {"r2": 0.75, "nan": math.nan}, "best": "AR", "ends": [0.1, 0.2], "new": 1}
    assert reproduce.compare_metrics(first, second) == (0.25, "a.r2", ("new", "old"))
    second["best"] = "VAR"
    assert reproduce.compare_metrics(first, second)[:2] == (math.inf, "best")
