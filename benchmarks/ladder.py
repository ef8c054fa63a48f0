"""The ladder M0 to M4 on real recordings, and its questions on simulations with known answers.

    python benchmarks/ladder.py [FOLDER] [--simulations K] [--only PART …]

FOLDER holds ophys/ and ecephys/. Split 70/15/15 in time, a context of 16 frames (20 bins of 50 ms
for spikes), penalties and rungs by validation. Traces: mean R2 over neurons on test, in brackets
the median over neurons; spikes: bits per spike. "-" marks a rung that validation did not support;
it equals the one below. CPU seconds are those of M1 and M2 together, AR and reading excluded.

Questions, on test bins: coupling is M2 against M1, gain M4 against M3. The gain is the decrease of
the squared error (spikes: bits per spike) +- its standard error over 12 blocks. A question is
supported where the gain exceeds two standard errors and every one of 19 rotated recordings.
Rotations run where the block test passes. The largest rotation stands beside.

Simulations of 20 neurons and 3,000 frames: `independent` neurons (AR(2) with coloured noise,
calcium of Poisson spikes, AR with slow drift, Poisson spikes with slow rates), and `coupled` ones
(`sample:network`, kind rate). Whether coupling or gain is supported is counted. A level of .05 lets
one in twenty independent recordings through, once for each question.

Functions, grids and rules were chosen on validation bins of the fish and the worms and on other
seeds (1,000 and above) of the simulations. Test scores were seen once before the last choice: with
one-sided functions alone, M1 of the fish had .855 on test and .779 on validation. Two-sided and
finer functions were then added for their validation scores (.788).
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from machine import finished, publish, table

import nwbdyn
from nwbdyn import metrics
from nwbdyn.baselines import autoregression
from nwbdyn.baselines.history import prediction
from nwbdyn.baselines.ladder import RUNGS, climb
from nwbdyn.baselines.lagged_design import build_lagged_design
from nwbdyn.data import binning, splits
from nwbdyn.data.binning import Binned
from nwbdyn.fitting.stages import nested_tests
from nwbdyn.recording import COUNTS, Neurons

RECORDINGS = {  # name -> file, seconds per bin of spikes, bins of context
    "zebrafish f1": ("ophys/zebrafish_tectum_triplett2018_f1.nwb", None, 16),
    "worm 26-31": ("ophys/celegans_dag2023_2022-07-26-31.nwb", None, 16),
    "worm 26-38": ("ophys/celegans_dag2023_2022-07-26-38.nwb", None, 16),
    "worm 27-31": ("ophys/celegans_dag2023_2022-07-27-31.nwb", None, 16),
    "worm 27-45": ("ophys/celegans_dag2023_2022-07-27-45.nwb", None, 16),
    "mouse V1": ("ophys/mouse_v1_2p_neuronsxnets_24617.nwb", None, 16),
    "rat hippocampus": ("ecephys/rat_hippocampus_nelpy_linear-track.nwb", 0.05, 20),
}
QUESTIONED = tuple(RECORDINGS)[:-1]  # the rotations of the rat take minutes
HORIZONS = (1, 5, 10, 32)
CONTEXT, NEURONS, FRAMES = 16, 20, 3000
KINDS = ("AR", "calcium", "drift", "spikes")
NOTE = """Test: mean R2 over neurons, in brackets the median; spikes: bits per spike. "-": not used,
equals the rung below. Questions: share of the squared error on test +- standard error over 12
blocks. Test scores were seen once before M1 got more functions, for their validation scores (fish:
.855 on test, .779 on validation before; .788 on validation after). Coupling supported in all
independent recordings that were measured, those of the table included: AR 0 of 25, calcium 0 of
25, drift 2 of 14, spikes 0 of 8."""
PARTS = ("recordings", "simulations", "questions")


def recorded(folder: Path, name: str) -> Binned:
    path, bin_width, _ = RECORDINGS[name]
    with nwbdyn.open(str(folder / path)) as recording:
        return binning.bin_recording(recording, bin_width=bin_width)


def rungs(folder: Path, name: str, horizon: int) -> dict[str, Any]:
    """Scores of every rung on test, whether it is used, and CPU seconds."""
    binned, context = recorded(folder, name), RECORDINGS[name][2]
    split = splits.make(binned, seed=0, hold_out=False, gap=context)
    problem = build_lagged_design(binned, split, context, horizon)
    alone = autoregression.best(problem)
    began = time.process_time()
    climb(binned, problem, alone, to="M2")
    seconds = time.process_time() - began
    ladder = climb(binned, problem, alone)
    rows = problem.rows[split.bins("test")[problem.rows]]
    result: dict[str, Any] = {
        "seconds": seconds,
        "size": f"{binned.num_neurons} x {binned.num_bins}",
    }
    result["persistence"] = _scores(binned, rows, binned.values[rows - horizon])[0]
    for rung in ladder.rungs:
        predicted = prediction(binned, problem, ladder, rung)[rows]
        result[f"{rung.name} score"], result[f"{rung.name} median"] = _scores(
            binned, rows, predicted
        )
        result[f"{rung.name} used"] = rung.used
    return result


def _scores(binned: Binned, rows: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Mean and median over neurons of R2; twice the bits per spike of counts."""
    truth = binned.values[rows].astype(float)
    if binned.quantity == COUNTS:
        score = metrics.bits_per_spike(truth, np.maximum(predicted, 1e-3))
        return score, score
    by_neuron = metrics.r2.per_neuron(truth, predicted)
    return float(np.nanmean(by_neuron)), float(np.nanmedian(by_neuron))


def requested(binned: Binned, context: int) -> dict[str, Any]:
    """Gain, its error, the largest rotation and the answer of each question."""
    split = splits.make(binned, seed=0, hold_out=False, gap=context)
    began = time.process_time()
    result: dict[str, Any] = {}
    for name, one in nested_tests.answers(binned, split, context=context).items():
        assert one.gain is not None
        result[f"{name} gain"], result[f"{name} error"] = one.gain.mean, one.gain.error
        result[f"{name} rotation"] = max(one.rotations, default=np.nan)
        result[f"{name} passed"] = one.gain.above
        result[f"{name} supported"] = one.supported
    return result | {"seconds": time.process_time() - began}


def independent(kind: str, seed: int) -> Binned:
    """Neurons that share nothing."""
    random = np.random.default_rng([seed, *kind.encode()])
    steps = FRAMES + 200
    noise = random.normal(size=(steps, NEURONS))
    values = np.zeros((steps, NEURONS))
    if kind in ("AR", "drift"):
        one, two = random.uniform(0.5, 0.95, NEURONS), random.uniform(-0.3, 0.6, NEURONS)  # poles
        first, second = one + two, -one * two
        for t in range(2, steps):
            values[t] = first * values[t - 1] + second * values[t - 2]
            values[t] += noise[t] + 0.5 * noise[t - 1]
    if kind == "drift":
        slow = np.cumsum(random.normal(size=(steps, NEURONS)), axis=0)
        values = values / values.std(axis=0) + 2 * slow / slow.std(axis=0)
    if kind in ("calcium", "spikes"):
        rate = np.zeros((steps, NEURONS))
        for t in range(1, steps):
            rate[t] = 0.97 * rate[t - 1] + 0.2 * noise[t]
        counts = random.poisson(0.3 * np.exp(0.6 * rate))
        values = counts.astype(float)
    if kind == "calcium":
        traces = np.zeros((steps, NEURONS))
        for t in range(1, steps):
            traces[t] = 0.85 * traces[t - 1] + counts[t]
        values = traces + 0.1 * traces.std(axis=0) * random.normal(size=traces.shape)
    return made(values[200:], COUNTS if kind == "spikes" else "dff")


def made(values: np.ndarray, quantity: str) -> Binned:
    return Binned(
        session_id="simulated",
        values=values.astype(np.float32),
        time=np.arange(len(values)) * 0.05,
        bin_width=0.05,
        valid=np.ones(len(values), dtype=bool),
        segment=np.zeros(len(values), dtype=int),
        neurons=Neurons(pd.DataFrame({"id": np.arange(values.shape[1])}), "roi"),
        quantity=quantity,
        covariates=np.zeros((len(values), 0), np.float32),
    )


def coupled(seed: int) -> Binned:
    address = f"sample:network?kind=rate&neurons={NEURONS}&steps={FRAMES}&seed={seed}"
    with nwbdyn.open(address) as recording:
        return binning.bin_recording(recording)


def of_recordings(folder: Path) -> str:
    header = [
        "recording",
        "neurons x frames",
        "frames ahead",
        "persistence",
        *RUNGS,
        "CPU s, M1 + M2",
    ]
    lines = []
    for name in RECORDINGS:
        for horizon in HORIZONS:
            one = finished(f"{name}-{horizon}".replace(" ", "_"), rungs, folder, name, horizon)
            cells = [
                f"{one[f'{rung} score']:.4f} ({one[f'{rung} median']:.3f})"
                if one[f"{rung} used"]
                else "-"
                for rung in RUNGS
            ]
            line = [name, one["size"], horizon, f"{one['persistence']:.3f}", *cells]
            lines.append([*line, f"{one['seconds']:.1f}"])
    return table(header, lines)


def of_questions(folder: Path) -> str:
    lines = []
    for name in QUESTIONED:
        result = finished(f"questions-{name}".replace(" ", "_"), _answers, folder, name)
        lines.append(
            [
                name,
                *(_cell(result, one) for one in nested_tests.QUESTIONS),
                f"{result['seconds']:.0f}",
            ]
        )
    header = ["recording", "coupling, M2 - M1", "gain, M4 - M3", "CPU s"]
    return table(header, lines)


def _answers(folder: Path, name: str) -> dict[str, Any]:
    return requested(recorded(folder, name), RECORDINGS[name][2])


def _cell(result: dict[str, Any], name: str) -> str:
    text = f"{result[f'{name} gain']:+.4f} +- {result[f'{name} error']:.4f}"
    if result[f"{name} passed"]:
        text += f"; rotations up to {result[f'{name} rotation']:+.4f}"
    return text + ("; supported" if result[f"{name} supported"] else "")


def of_simulations(number: int) -> str:
    makers: dict[str, Callable[[int], Binned]] = {
        f"independent, {kind}": lambda seed, kind=kind: independent(kind, seed) for kind in KINDS
    }
    makers["coupled"] = coupled
    lines = []
    for name, make in makers.items():
        result = [
            finished(
                f"{name}-{seed}".replace(" ", "_"), lambda s=seed, m=make: requested(m(s), CONTEXT)
            )
            for seed in range(number)
        ]
        counts = [
            f"{sum(bool(one[f'{question} {what}']) for one in result)}"
            for question in nested_tests.QUESTIONS
            for what in ("passed", "supported")
        ]
        lines.append([name, number, *counts])
    header = ["simulation", "recordings"]
    header += [
        f"{one}: {what}" for one in nested_tests.QUESTIONS for what in ("block test", "supported")
    ]
    return table(header, lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = Path(os.environ.get("NWBDYN_DATA", "../shared/data"))
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--simulations", type=int, default=25, help="of each kind")
    parser.add_argument("--only", nargs="+", default=list(PARTS), choices=PARTS)
    chosen = parser.parse_args()
    parts: dict[str, Callable[[], str]] = {
        "recordings": lambda: of_recordings(chosen.folder),
        "simulations": lambda: of_simulations(chosen.simulations),
        "questions": lambda: of_questions(chosen.folder),
    }
    pages = []
    for name in chosen.only:
        pages.append(f"## {name.capitalize()}\n\n{parts[name]()}")
        publish("ladder", "\n\n".join(["# The ladder", NOTE, *pages]))


if __name__ == "__main__":
    main()
