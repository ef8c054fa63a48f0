"""Results and run directories: what is written comes back, without torch and without surprises."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nwbdyn.connectivity import edge_table
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.data.splits import TEST, TRAIN, VAL
from nwbdyn.errors import FitError, ResultsError
from nwbdyn.recording import Neurons, Note, Source
from nwbdyn.request import FitRequest
from nwbdyn.results import fit_results, hdf5, run_directory
from nwbdyn.results.fit_results import Fit, Predictions


@pytest.fixture
def fit() -> Fit:
    table = pd.DataFrame(
        {
            "id": [7, 9, 11],
            "cell_type": ["Pvalb", None, "Sst"],
            "location": ["V1", "V1", "LM"],
            "snr": [1.5, np.nan, 0.25],
            "good": [True, False, True],
            "channels": [[1, 2], [3], None],
        }
    )
    neurons = Neurons(table, "roi", "/processing/ophys/PlaneSegmentation", "object-1")
    edges = edge_table.edge_table(
        neurons, np.array([1, 2]), np.array([0, 1]), np.array([0.5, -0.25])
    )
    edges.attrs = {"num_pairs": 6, "kept_share": 0.75}
    time = np.arange(5) * 0.5
    values = np.arange(15, dtype=np.float32).reshape(5, 3)
    values[0] = np.nan
    return Fit(
        model="netformer",
        config={"epochs": 3, "layer_norm": True, "updates": None, "learning_rate": 1e-3},
        binning={"bin_width": 0.5, "quantity": "dff", "trials": None, "covariates": []},
        split={"rule": "contiguous", "seed": 0, "bins": {"train": 3, "val": 1, "test": 1}},
        history=({"epoch": 1, "loss": 0.5, "validation": 0.25},),
        metrics={
            "model": {"test": {"r2": 0.5, "pearson": float("nan")}},
            "baselines": {"persistence": {"test": {"r2": 0.25}}},
            "intervals": {"model": {"test": {"r2": [0.1, float("nan")]}}},
            "primary": {"metric": "r2", "split": "test", "horizon": 1, "baseline": "persistence"},
            "beats_baseline": None,
        },
        predictions=Predictions(
            values=values,
            time=time,
            bin_width=0.5,
            held_out=np.zeros(3, bool),
            labels=np.array([TRAIN, TRAIN, TRAIN, VAL, TEST], np.int8),
            quantity="dff",
            horizon=1,
            neurons=neurons,
        ),
        connectivity=Connectivity(
            form="static",
            time=time[-1:],
            window=(-2.0, 0.0),
            neurons=neurons,
            measure="z per z",
            causal=True,
            arrays={"weight": np.arange(9, dtype=np.float32).reshape(3, 3)},
            attributes={"kept": 0.5, "rule": "mean", "signed": True},
        ),
        edges=edges,
        neurons=neurons,
        source=Source(uri="a.nwb", url="file:///a.nwb", digest="sha256:0", size=12),
        session={"session_id": "s1", "subject": {"species": "Mus musculus"}},
        versions={"nwbdyn": "0.1.0"},
        seed=3,
        device="cpu",
        embeddings=np.ones((3, 2), np.float32),
        notes=(Note("all-nan", "ROI 9", "Every value is NaN."),),
        weights={"embedding.weight": np.full((3, 2), 0.5, np.float32)},
        environment={"threads": 2, "seeds": [3]},
    )


def test_a_fit_comes_back_as_it_was_saved(fit, tmp_path):
    back = fit_results.load(fit.save(tmp_path / "run"))
    for name in ("model", "config", "binning", "split", "history", "source", "session", "versions"):
        assert getattr(back, name) == getattr(fit, name), name
    assert (back.seed, back.device, back.notes) == (3, "cpu", fit.notes)
    assert back.environment == fit.environment
    assert back.run == tmp_path / "run"
    np.testing.assert_equal(back.metrics, fit.metrics)
    pd.testing.assert_frame_equal(back.edges, fit.edges)
    assert back.edges.attrs == {"num_pairs": 6, "kept_share": 0.75}
    np.testing.assert_array_equal(back.embeddings, fit.embeddings)
    np.testing.assert_array_equal(back.weights["embedding.weight"], fit.weights["embedding.weight"])
    for name in ("values", "time", "held_out", "labels"):
        wanted = getattr(fit.predictions, name)
        np.testing.assert_array_equal(getattr(back.predictions, name), wanted)
        assert getattr(back.predictions, name).dtype == wanted.dtype
    assert back.predictions.horizon == 1
    assert back.connectivity.window == (-2.0, 0.0)
    assert back.connectivity.attributes == fit.connectivity.attributes
    np.testing.assert_array_equal(
        back.connectivity.arrays["weight"], fit.connectivity.arrays["weight"]
    )


def test_a_run_holds_its_edges_and_scores_for_a_spreadsheet(fit, tmp_path):
    run = fit.save(tmp_path / "run")
    edges = pd.read_csv(run / "edges.csv")
    assert list(edges.columns[:5]) == ["pre", "post", "pre_id", "post_id", "kind"]
    assert edges["weight"].tolist() == [0.5, -0.25]
    assert edges["q"].isna().all()
    scores = pd.read_csv(run / "scores.csv")
    assert scores[["method", "split", "metric"]].to_numpy().tolist() == [
        ["netformer", "test", "r2"],
        ["netformer", "test", "pearson"],
        ["persistence", "test", "r2"],
    ]
    np.testing.assert_array_equal(scores["value"], [0.5, np.nan, 0.25])
    fit.save(run, overwrite=True)  # both are replaced with the run


def test_a_run_of_an_earlier_version_names_its_neurons(fit, tmp_path):
    old = pd.DataFrame({"pre": [7, 9], "post": [9, 11], "weight": [0.5, -0.25]})
    run = fit.save(tmp_path / "run")
    hdf5.write(run / "results.h5", fit_results._arrays(replace(fit, edges=old)))
    edges = fit_results.load(run).edges
    assert edges["post_id"].tolist() == [9, 11]
    assert edges["kind"].tolist() == ["directed", "directed"]


def test_what_was_recorded_stays_in_the_run_when_nobody_needs_it(fit, tmp_path):
    recorded = np.ones_like(fit.predictions.values)
    replace(fit, predictions=replace(fit.predictions, recorded=recorded)).save(tmp_path / "run")
    np.testing.assert_array_equal(fit_results.load(tmp_path / "run").predictions.recorded, recorded)
    without = fit_results.load(tmp_path / "run", recorded=False)
    assert without.predictions.recorded is None
    np.testing.assert_array_equal(without.predictions.values, fit.predictions.values)


def test_the_neuron_table_comes_back_column_by_column(fit, tmp_path):
    table = fit_results.load(fit.save(tmp_path / "run")).neurons.table
    assert list(table) == list(fit.neurons.table)
    assert table["id"].tolist() == [7, 9, 11]
    assert table["cell_type"][0] == "Pvalb"
    assert table["cell_type"].isna().tolist() == [False, True, False]
    assert table["good"].tolist() == [True, False, True]
    assert table["channels"][0] == [1, 2]
    assert table["channels"].isna().tolist() == [False, False, True]
    np.testing.assert_array_equal(table["snr"], [1.5, np.nan, 0.25])


def test_a_run_is_read_in_a_process_without_torch(fit, tmp_path):
    fit.save(tmp_path / "run")
    program = (
        "import sys\nfrom nwbdyn.results import fit_results\n"
        f"fit = fit_results.load({str(tmp_path / 'run')!r})\n"
        "fit.predictions.to_xarray()\n"
        "assert fit.metrics['model']['test']['r2'] == 0.5\n"
        "assert 'torch' not in sys.modules and 'pickle' not in dir(fit_results)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_json_files_are_strict_json(fit, tmp_path):
    path = fit.save(tmp_path / "run")

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    for name in ("config.json", "metrics.json", "provenance.json"):
        json.loads((path / name).read_text(), parse_constant=refuse)


def test_predictions_as_xarray_name_time_and_neurons(fit):
    array = fit.predictions.to_xarray()
    assert array.dims == ("time", "neuron")
    assert array.sel(neuron=9).sel(time=1.0).item() == 7
    assert array["split"].values.tolist() == ["train", "train", "train", "val", "test"]
    assert array["cell_type"].values.tolist() == ["Pvalb", "", "Sst"]


def test_a_run_is_not_overwritten_unless_asked(fit, tmp_path):
    path = fit.save(tmp_path / "run")
    with pytest.raises(ResultsError, match=r"holds a finished run. Pass --overwrite to replace it"):
        fit.save(path)
    replace(fit, seed=4).save(path, overwrite=True)
    assert fit_results.load(path).seed == 4


def test_a_folder_with_other_files_is_never_overwritten(fit, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ResultsError, match="other files"):
        fit.save(tmp_path)
    with pytest.raises(ResultsError, match="not a run directory"):
        fit.save(tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_overwriting_removes_the_files_of_a_run_and_nothing_else(fit, tmp_path):
    path = fit.save(tmp_path / "run")
    (path / "checkpoint.pt").write_bytes(b"old")
    (path / "notes.txt").write_text("mine")
    fit.save(path, overwrite=True)
    assert not (path / "checkpoint.pt").exists()
    assert (path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("missing", ["metrics.json", "results.h5", "provenance.json"])
def test_an_incomplete_run_is_named_with_how_far_it_got(fit, tmp_path, missing):
    path = fit.save(tmp_path / "run")
    (path / missing).unlink()
    with pytest.raises(ResultsError, match=rf"incomplete: no {missing} \(training reached epoch 1"):
        fit_results.load(path)


def test_a_run_of_a_newer_version_is_refused(fit, tmp_path):
    path = fit.save(tmp_path / "run")
    config = json.loads((path / "config.json").read_text()) | {"format": 99}
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ResultsError, match=r"has format 99; this nwbdyn reads up to 1. Update"):
        fit_results.load(path)


@pytest.mark.parametrize("name", ["config.json", "provenance.json", "metrics.json", "results.h5"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe garbage", b"[1]"])
def test_a_damaged_file_is_an_error_of_ours(fit, tmp_path, name, content):
    path = fit.save(tmp_path / "run")
    (path / name).write_bytes(content)
    with pytest.raises(ResultsError, match=r"damaged|newer|format"):
        fit_results.load(path)


def test_what_is_not_a_run_is_named(tmp_path):
    with pytest.raises(ResultsError, match="No run directory"):
        fit_results.load(tmp_path / "absent")
    with pytest.raises(ResultsError, match="not a run directory"):
        fit_results.load(tmp_path)
    with pytest.raises(FitError, match="No run to resume"):
        run_directory.validate_run_dir(tmp_path / "absent", resume=True)


def test_what_is_no_run_says_where_one_comes_from(tmp_path):
    (tmp_path / "worm.nwb").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        ResultsError, match=r"worm.nwb is a file, .* `nwbdyn fit .*worm.nwb --model"
    ):
        fit_results.load(tmp_path / "worm.nwb")
    with pytest.raises(ResultsError, match=r"no config.json. Name the folder that `nwbdyn fit`"):
        fit_results.load(tmp_path / "folder")


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    target = tmp_path / "metrics.json"
    target.write_text("old")

    def interrupted(path: Path) -> None:
        with run_directory.atomic_write(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_history_cut_off_in_a_line_keeps_the_lines_before(tmp_path):
    run_directory.append_history(tmp_path, {"epoch": 1, "loss": 0.5})
    run_directory.append_history(tmp_path, {"epoch": 2, "loss": float("nan")})
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write('{"epoch": 3, "lo')
    history = run_directory.read_history(tmp_path)
    assert [record["epoch"] for record in history] == [1, 2]
    assert np.isnan(history[1]["loss"])


def test_a_run_directory_that_cannot_be_made_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match=r"Cannot make .*run.*Pass -o"):
        run_directory.validate_run_dir(tmp_path / "file" / "run")


def test_a_folder_that_cannot_be_written_to_is_refused_before_it_is_cleared(tmp_path, monkeypatch):
    (tmp_path / run_directory.CONFIG).write_text("{}")
    monkeypatch.setattr(run_directory.os, "access", lambda *_: False)  # root may always write
    with pytest.raises(ResultsError, match="cannot be written to"):
        run_directory.validate_run_dir(tmp_path, overwrite=True)


LENGTH = {"config": {"epochs": 100, "updates": 2000}}
SPIKES = {"binning": {"bin_width": 0.02, "quantity": "counts"}}
OPEN = {
    "config": {"l1": 0, "embedding": None, "ridge": None},
    "binning": {"bin_width": 0.02},
    "by_validation": ["embedding", "ridge"],
}
CLOSED = {"config": {"l1": 0, "embedding": 60, "ridge": 5}, "binning": {"bin_width": 0.02}}
OTHER = CLOSED | {"config": {"l1": 1, "embedding": 60, "ridge": 0}}


@pytest.mark.parametrize(
    ("before", "now", "text_shown"),
    [
        ({"seeds": [0, 1]}, {"seeds": [0, 1, 2]}, r"\[0, 1, 2\]. Resume with --seeds 2, or"),
        ({"seed": 3}, {"seed": 0}, "with --seed 3, or start again with --overwrite or another -o"),
        ({"config": {"hidden": 8}}, {"config": {"hidden": 9}}, "with --set hidden=8, or"),
        ({"config": {"l1": None}}, {"config": {"l1": 0.1}}, "with --set l1=null, or"),
        ({}, {"folds": 4}, "with no --folds, or"),
        ({}, {"draws": 5}, "draws = 1, now it is 5. Resume with --heldout-resamples 1, or"),
        ({"draws": 5}, {}, "with --heldout-resamples 5, or"),
        ({"config": {"epochs": 60, "updates": None}}, LENGTH, "with --epochs 60, or"),
        (LENGTH, {"config": {"epochs": 60, "updates": None}}, "updates=2000 and no --epochs, or"),
        ({"config": {"epochs": 60}}, {"config": {"epochs": 100}}, "with --epochs 60, or"),
        (SPIKES | {"split": 3}, SPIKES | {"split": 4, "sweep": [{}, {}]}, "with no --sweep, or"),
        (SPIKES, {"binning": {"bin_width": 0.1 / 3}}, "0.0333333. Resume with --bin-width 0.02,"),
        ({"binning": {"bin_width": 0.1 / 3}}, SPIKES, "with no --bin-width, or"),
        (
            OPEN,
            CLOSED,
            "left embedding and ridge to validation, now nothing is left to it. Resume "
            "with no --set embedding, no --set ridge, or",
        ),
        (CLOSED, OPEN, "Resume with --set embedding=60, --set ridge=5, or"),
        (OPEN, OTHER, "with --set l1=0, no --set embedding, no --set ridge, or"),
        ({"source": {"uri": "a"}}, {"source": {"uri": "b"}}, "with the same recording and"),
    ],
)
def test_a_resumed_fit_of_other_choices_names_the_option_to_go_on_with(
    before, now, text_shown, tmp_path
):
    run_directory.open_run(tmp_path, before)
    with pytest.raises(FitError, match=text_shown):
        run_directory.open_run(tmp_path, now, resume=True)
    assert (tmp_path / run_directory.CONFIG).exists()


@pytest.mark.parametrize(
    ("before", "now", "message"),
    [
        ({"seed": 3}, {}, "with seed = 3, now it is 0. Resume with --seed 3, or"),
        ({"epochs": 5}, {"epochs": 6}, "with epochs = 5, now it is 6. Resume with --epochs 5, or"),
        ({}, {"bin_width": 0.1}, "bin_width = None, now it is 0.1. Resume with no --bin-width, or"),
        ({"options": {"l1": 1}}, {"options": {"l1": 2}}, "Resume with --set l1=1, or"),
        ({"options": {"l1": 1}}, {"options": {"l1": 1, "lag": 2}}, "Resume with no --set lag, or"),
        ({"covariates": ("a", "b c")}, {}, "Resume with --covariate a --covariate 'b c', or"),
        ({"sweep": {"list": [{}]}}, {}, "Resume with the --sweep of then, or"),
        ({"init_from": "/home/x/run"}, {}, "Resume with --init-from run, or"),
        ({"null": "shift:20"}, {"null": "shift:30"}, "Resume with --null shift:20, or"),
    ],
)
def test_a_resumed_fit_names_the_option_in_which_the_requests_differ(
    before, now, message, tmp_path
):
    described = [
        {"request": FitRequest.from_keywords("m", **keywords).to_json(), "split": number}
        for number, keywords in enumerate((before, now))
    ]
    run_directory.open_run(tmp_path, described[0])
    with pytest.raises(FitError, match=re.escape(message)):
        run_directory.open_run(tmp_path, described[1], resume=True)


def test_requests_that_lead_to_the_same_decisions_are_one_fit(tmp_path):
    requests = [FitRequest.from_keywords("m", bin_width=width).to_json() for width in (None, 0.1)]
    same = [{"request": one, "binning": {"bin_width": 0.1}} for one in requests]
    run_directory.open_run(tmp_path, same[0])
    assert run_directory.open_run(tmp_path, same[1], resume=True) is False
    other = {"request": requests[0], "source": {"uri": "b"}, "binning": {"bin_width": 0.1}}
    with pytest.raises(FitError, match="the same recording"):
        run_directory.open_run(tmp_path, other, resume=True)
