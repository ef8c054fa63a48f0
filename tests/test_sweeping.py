"""Sweeps: every candidate is judged on validation, and on validation alone."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from small_fits import LINEAR, imaging, interrupt_after, units

import nwbdyn
from nwbdyn.cli import main, scoreboard
from nwbdyn.cli.terminal import WIDTH
from nwbdyn.data.splits import SPLITS
from nwbdyn.errors import ConfigError, FitError
from nwbdyn.fitting import sweep_space
from nwbdyn.fitting.fit import fit
from nwbdyn.fitting.task import build_task
from nwbdyn.results import run_directory

RIDGES = {"grid": {"ridge": [0.0, 3000.0, 1e7]}}
# Candidates of equal shapes train as one program, whose float32 sums run in another order; updates
# of Adam, whose steps are of one size where gradients are small, let that grow.
ROUNDING = 1e-3
QUICK = {name: value for name, value in LINEAR.items() if name != "ridge"}


# --- what a space holds ---


def test_a_grid_is_every_combination_in_the_order_of_the_file():
    points = sweep_space.points({"grid": {"history": [2, 4], "ridge": [0.0, 1.0]}})
    assert points == (
        {"history": 2, "ridge": 0.0},
        {"history": 2, "ridge": 1.0},
        {"history": 4, "ridge": 0.0},
        {"history": 4, "ridge": 1.0},
    )


def test_a_point_that_stands_twice_is_tried_once():
    points = sweep_space.points(
        {"list": [{"history": 2}, {"history": 4}], "grid": {"history": [4, 8]}}
    )
    assert points == ({"history": 2}, {"history": 4}, {"history": 8})


def test_a_file_in_yaml_reads_numbers_as_people_write_them(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("grid:  # two rates\n  learning_rate: [1e-3, 0.01]\n  coupling: [true]\n")
    assert sweep_space.points(path) == (
        {"learning_rate": 0.001, "coupling": True},
        {"learning_rate": 0.01, "coupling": True},
    )


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ({}, "grid or list; this one has nothing"),
        ({"gird": {"history": [1]}}, "'gird'"),
        ({"grid": {"history": 4}}, "history is 4"),
        ({"grid": {"history": []}}, "no point"),
        ({"grid": {name: list(range(100)) for name in "abc"}}, "1000000 points"),
        ({"list": {"history": 4}}, "list of tables"),
        ({"random": {"draws": 2}}, "grid or list; this one has 'random'"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(requested, message):
    with pytest.raises(ConfigError, match=message):
        sweep_space.points(requested)


def test_a_file_that_is_no_space_is_refused_in_one_line(tmp_path):
    (tmp_path / "a.yaml").write_text("grid: [1,\n")
    (tmp_path / "b.yaml").write_text("- history\n")
    for name in ("a.yaml", "b.yaml", "none.yaml"):
        with pytest.raises(ConfigError, match=name) as caught:
            sweep_space.points(tmp_path / name)
        assert "\n" not in str(caught.value)


# --- what is taken ---


def test_the_candidate_with_the_lowest_validation_loss_is_taken_and_all_are_listed():
    made = nwbdyn.sweep(imaging(), "netformer", RIDGES, epochs=3, options=QUICK)
    alone = [
        fit(imaging(), "netformer", epochs=3, options=QUICK | {"ridge": ridge})
        for ridge in RIDGES["grid"]["ridge"]
    ]
    losses = [min(record["validation"] for record in one.history) for one in alone]
    listed = made.metrics["candidates"]
    assert [row["options"] for row in listed] == [{"ridge": r} for r in RIDGES["grid"]["ridge"]]
    assert [row["validation"] for row in listed] == pytest.approx(losses, rel=ROUNDING)
    best = int(np.argmin(losses))
    assert [row["chosen"] for row in listed] == [number == best for number in range(3)]
    assert made.config == alone[best].config
    scale = np.nanmax(np.abs(alone[best].predictions.values))
    np.testing.assert_allclose(
        made.predictions.values, alone[best].predictions.values, rtol=0, atol=ROUNDING * scale
    )
    assert made.metrics["baselines"] == alone[best].metrics["baselines"]


def test_what_is_in_the_test_bins_changes_nothing_that_is_chosen():
    recording = imaging()
    sealed = build_task(recording, "netformer", seed=0, options=QUICK | {"history": 4})
    test = sealed.split.labels == SPLITS.index("test")
    other = recording.activity.data.copy()
    other[test] = np.random.default_rng(5).normal(0, 3, other[test].shape)
    changed = replace(recording, activity=replace(recording.activity, data=other))
    grid = {"grid": {"history": [1, 4], "ridge": [0.0, 3000.0]}}
    one, two = (
        nwbdyn.sweep(each, "netformer", grid, epochs=2, options=QUICK)
        for each in (recording, changed)
    )
    assert one.metrics["candidates"] == two.metrics["candidates"]
    assert one.config == two.config
    assert one.metrics["model"]["val"] == two.metrics["model"]["val"]
    assert one.metrics["model"]["test"] != two.metrics["model"]["test"]


def test_nothing_of_the_test_bins_is_on_disk_before_the_choice(tmp_path):
    run = tmp_path / "run"

    def stop(progress):
        if progress.stage == "choosing" and progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nwbdyn.sweep(imaging(), "netformer", RIDGES, epochs=2, options=QUICK, run=run, report=stop)
    left = {path.name for path in run.rglob("*") if path.is_file()}
    assert left == {"config.json", "checkpoint.pt", "history.jsonl"}
    records = run_directory.read_history(run / "choice-0")
    assert all(
        set(record) == {"epoch", "updates", "loss", "validation", "learning_rate", "seconds"}
        for record in records
    )


def test_candidates_that_see_farther_back_are_judged_on_the_same_bins():
    requested = [{"history": 1}, {"history": 12}, {"history": 5}]
    problem = build_task(imaging(), "netformer", seed=0, options=QUICK, among=requested)
    assert problem.spec.context == 12
    scored = []
    for config in problem.tried:
        fit_task = problem.with_config(config)
        assert fit_task.spec.context == config.history
        scored.append([fit_task.windows.starts(name) + config.history for name in SPLITS[:3]])
        labels = problem.split.labels
        for name, bins in zip(SPLITS[:3], scored[-1], strict=True):
            assert (labels[bins] == SPLITS.index(name)).all()
    for one, other in pairwise(scored):
        for bins, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(bins, same)


def test_windows_of_other_lengths_cannot_be_compared_where_they_score_other_bins():
    with pytest.raises(ConfigError, match="Fit each length on its own"):
        nwbdyn.sweep(
            units(),
            "stndt",
            {"grid": {"context": [10, 20]}},
            epochs=1,
            options={"layers": 1, "feedforward": 8},
        )


def test_a_candidate_that_fails_is_listed_and_not_taken():
    rates = {"grid": {"learning_rate": [1e-3, 1e30]}}
    made = nwbdyn.sweep(imaging(), "netformer", rates, epochs=3, options=LINEAR)
    good, bad = made.metrics["candidates"]
    assert good["chosen"]
    assert bad["validation"] is None
    assert "learning_rate" in bad["reason"]
    with pytest.raises(FitError, match="All 2 candidates failed"):
        nwbdyn.sweep(
            imaging(),
            "netformer",
            {"list": [{"learning_rate": 1e30}, {"learning_rate": 1e29}]},
            epochs=3,
            options=LINEAR,
        )


def test_an_option_that_a_model_leaves_open_is_chosen_in_the_same_step():
    options = QUICK | {"history": 1}
    made = nwbdyn.sweep(
        imaging(), "netformer", {"grid": {"embedding": [2, 3]}}, epochs=1, options=options
    )
    listed = made.metrics["candidates"]
    assert {row["options"]["embedding"] for row in listed} == {2, 3}
    assert len({row["options"]["ridge"] for row in listed}) == len(listed) / 2 > 1


# --- stopped and resumed ---


def test_a_sweep_that_was_stopped_goes_on_to_the_same_end(tmp_path):
    grid = {"grid": {"history": [1, 4], "ridge": [0.0, 3000.0]}}
    whole = nwbdyn.sweep(imaging(), "netformer", grid, epochs=3, options=QUICK)
    run = tmp_path / "run"
    choices = {"epochs": 3, "options": QUICK, "run": run}
    with pytest.raises(KeyboardInterrupt):
        nwbdyn.sweep(imaging(), "netformer", grid, report=interrupt_after(2), **choices)
    resumed = nwbdyn.sweep(imaging(), "netformer", grid, resume=True, **choices)
    assert resumed.metrics["candidates"] == whole.metrics["candidates"]
    for name, value in whole.weights.items():
        np.testing.assert_array_equal(resumed.weights[name], value)
    again = nwbdyn.sweep(imaging(), "netformer", grid, resume=True, **choices)
    assert again.metrics["candidates"] == whole.metrics["candidates"]
    wider = {"grid": {"history": [1, 4, 8], "ridge": [0.0, 3000.0]}}
    with pytest.raises(FitError, match="--overwrite"):
        nwbdyn.sweep(imaging(), "netformer", wider, resume=True, **choices)


def test_a_sweep_from_a_file_lists_its_candidates_on_the_terminal(tmp_path):
    (tmp_path / "sweep.yaml").write_text("grid: {learning_rate: [1e-3, 1e30, 1e-2]}\n")
    result = CliRunner().invoke(
        main,
        [
            *("fit", "sample:cortex?neurons=6&duration=60", "--model", "netformer"),
            *("--epochs", "2", "--set", "history=4", "--set", "ridge=1e3"),
            *("--sweep", str(tmp_path / "sweep.yaml"), "-o", str(tmp_path / "run")),
        ],
    )
    assert result.exit_code == 0, result.output
    table = result.stdout.partition("persistence")[0]
    assert table.count("chosen") == 1
    header, _, *rows = table.splitlines()
    assert header.split() == ["learning_rate", "validation", "loss", "epoch"]
    assert "given up" not in table
    assert next(row for row in rows if "failed" in row).split() == ["1e+30", "failed"]
    assert "The first that failed: Training diverged: the loss" in table
    assert all(len(line) <= WIDTH for line in result.stdout.splitlines()[:-1])
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    best = min(row["validation"] for row in metrics["candidates"] if row["validation"] is not None)
    assert f"{best:.5g}" in next(line for line in table.splitlines() if "chosen" in line)


def candidate(number: int, **actual: object) -> dict[str, object]:
    options = {"learning_rate": number / 3000, "embedding": None, "history": number}
    return {"options": options, "validation": 0.5, "epoch": 3, "chosen": False} | actual


def test_the_table_of_a_sweep_has_a_column_per_option_and_tells_failed_from_given_up():
    rows = [
        candidate(4, validation=0.25, chosen=True),
        candidate(40, reason="given up after 30 % of its course, behind others"),
        candidate(2, validation=None, epoch=None, reason="The loss is nan."),
    ]
    requested = fit(imaging(), "netformer", epochs=1, options=QUICK)
    reported = {"environment": {"asked": {"sweep": []}}, "metrics": {"candidates": rows}}
    header, _, *lines = scoreboard.of_sweep(replace(requested, **reported))[0].splitlines()
    columns = ["learning_rate", "embedding", "history", "validation", "loss", "epoch"]
    assert header.split() == columns
    assert [line.split() for line in lines] == [
        ["0.00133", "null", "4", "0.25", "3", "chosen"],
        ["0.0133", "null", "40", "0.5", "3", "given", "up"],
        ["0.000667", "null", "2", "failed"],
    ]
    assert (
        scoreboard.of_sweep(replace(requested, **(reported | {"metrics": {}}))) == []
    )  # nothing to choose
    many = {f"some_long_option_{number}": number for number in range(6)}
    wide = {"metrics": {"candidates": [one | {"options": many} for one in rows]}}
    table, left_out, *_ = scoreboard.of_sweep(replace(requested, **(reported | wide)))
    assert all(len(line) <= WIDTH for line in table.splitlines())
    words = f"{table} {left_out}".split()
    assert all(name in words or f"{name}," in words for name in many)
