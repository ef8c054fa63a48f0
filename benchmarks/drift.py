"""A(t) that follows slow change with time, on networks whose coupling drifts or is constant.

    python benchmarks/drift.py [--changing K] [--constant K] [--plastic K] [--kinds KIND …]

N = 10, 4,000 frames; "large": N = 20, 12,000 frames; periods of 1,000 frames and more
(`coupled_networks.drifting`). A(t) follows time where the test of constancy and parts of training
that were left out both support it, as in every fit of traces that is its closed-form core alone.
r: correlation of A(t) and the planted weights over frames and changing edges, each less its mean
over frames; 0 where A(t) is constant. "kernel VAR": least squares of the traces themselves on the
last frame of all neurons, weighted by a kernel in time, whose width is chosen in the same way.
"plastic": `sample:stdp`, the median over synapses of the correlation of the voltage's incoming
weight with the true conductance, both smoothed with a box of 10,000 steps. Rules were chosen on
seeds 500 to 524.
"""

import argparse
import time

import coupled_networks
import numpy as np
from gates import CONTEXT, binned_of
from machine import finished, publish, table

from nwbdyn.baselines import autoregression
from nwbdyn.baselines.ladder import climb, following
from nwbdyn.baselines.ladder.climbing import data_of
from nwbdyn.baselines.lagged_design import LaggedDesign, build_lagged_design
from nwbdyn.data import splits
from nwbdyn.simulate.stdp import Stdp
from nwbdyn.statistics.constancy import constancy

CHANGES = ("walk", "large walk", "few", "sine")
CONSTANT = (
    "constant",
    "memory",
    "mean",
    "noise",
    "common input",
    "saturating",
    "observation noise",
)
LARGE = {"neurons": 20, "bins": 12_000}
BOX, STRIDE = 10_000, 100  # steps
HEADER = (
    *("kind", "networks", "test", "A(t) follows", "r, median", "r, smallest"),
    *("r of kernel VAR, median", "seconds of the ladder", "of the test", "of the rest"),
)


def within(course: np.ndarray, true: np.ndarray) -> float:
    """Correlation over frames and edges, each edge less its mean; 0 for a constant."""
    a, b = (one - one.mean(axis=0) for one in (course, true))
    size = np.sqrt(np.square(a).sum() * np.square(b).sum())
    return float((a * b).sum() / size) if size > 0 else 0.0


def kernel_var(problem: LaggedDesign, edges: np.ndarray) -> np.ndarray:
    """(n, E) weights of a kernel VAR at the predicted rows, edges as (E, 2) post and pre."""
    signals = problem.signals.astype(float)

    def moments(rows: np.ndarray) -> following.Stretches:
        number = len(rows) // following.LEAST_STRETCH
        starts = np.arange(number) * len(rows) // number
        parts = np.split(rows, starts[1:])
        last = [np.c_[signals[part - 1], np.ones(len(part))] for part in parts]
        now = [np.c_[signals[part], np.zeros(len(part))] for part in parts]
        return following.Stretches(
            centre=np.array([part.mean() - 1 for part in parts]),
            count=np.array([len(part) for part in parts], float),
            gram=np.stack([one.T @ one for one in last]),
            moment=np.stack([one.T @ two for one, two in zip(last, now, strict=True)]),
            power=np.stack([np.square(two).sum(axis=0) for two in now]),
        )

    def left_out(one: following.Stretches, width: float) -> float:
        mine = np.eye(len(one), dtype=bool)
        return one.gains(following.path_at(one, one.centre, width, None, mine)(1e-6)).sum()

    train, every = moments(problem.train), moments(problem.rows)
    width = max(following.widths(train), key=lambda one: left_out(train, float(one)))
    knots = following.knots_of(every, float(width))
    at_knots = following.path_at(every, knots, float(width), None)(1e-6).swapaxes(1, 2)
    return following.hats(problem.rows - 1, knots) @ at_knots[:, edges[:, 0], edges[:, 1]]


def followed(x: np.ndarray, edges: np.ndarray) -> tuple[LaggedDesign, dict[str, object]]:
    """Decisions, seconds, and (n, E) weights of edges (E, 2) at the predicted rows."""
    clock = [time.process_time()]
    binned = binned_of(x)
    split = splits.make(binned, seed=0, hold_out=False, gap=CONTEXT)
    problem = build_lagged_design(binned, split, CONTEXT, 1)
    ladder = climb(binned, problem, autoregression.best(problem), to="M2")
    clock.append(time.process_time())
    data = data_of(binned, problem, None, windowed=False)
    below, weights = ladder["M2"].linear.astype(float), ladder["M2"].coupling
    one = following.stretches(data, below, problem.train, binned.time).centred()
    tested = constancy(one)
    clock.append(time.process_time())
    senders = None if weights is None else following.coupled_senders(weights, one)
    course = np.zeros((len(problem.rows), len(edges)))
    above = False
    if tested.changes:
        chosen = following.follow(one, senders)
        above = chosen.gain.above
        if above:
            every = following.stretches(data, below, problem.rows, binned.time)
            knots = following.knots_of(every, chosen.form.width)
            post, pre = edges.T
            changes = following.course(every, chosen.form, senders, knots)[:, post, pre]
            shares = following.hats(binned.time[problem.rows - 1], knots)
            course = shares @ changes * (problem.sd[post] / problem.sd[pre])
    clock.append(time.process_time())
    decided = {"test": tested.changes, "above": above, "seconds": np.diff(clock), "course": course}
    return problem, decided


def network(kind: str, seed: int) -> dict[str, object]:
    """Decisions on one network, and r of both courses."""
    size = LARGE if kind.startswith("large") else {}
    x, true, changing = coupled_networks.drifting(kind.removeprefix("large "), seed, **size)
    edges = np.argwhere(changing)
    problem, decided = followed(x, edges)
    if not len(edges):
        return {**decided, "course": 0}
    post, pre = edges.T
    planted = true[problem.rows][:, post, pre]
    unit = problem.sd[post] / problem.sd[pre]
    return {
        **decided,
        "course": 0,
        "r": within(np.asarray(decided["course"]), planted),
        "other": within(kernel_var(problem, edges) * unit, planted),
    }


def plastic(kind: str, seed: int) -> dict[str, object]:
    """Decisions on one plastic neuron, and the median r of its synapses."""
    recording, truth = Stdp(seed=seed).simulate()
    assert truth.edge_weights is not None
    edges = np.stack([np.zeros(100, int), np.arange(1, 101)], axis=1)
    problem, decided = followed(np.asarray(recording.activity.data), edges)
    total = [
        np.cumsum(one, axis=0) for one in (decided["course"], truth.edge_weights[problem.rows])
    ]
    a, b = ((one[BOX:] - one[:-BOX])[::STRIDE] for one in total)
    r = [within(a[:, [k]], b[:, [k]]) for k in range(len(edges))]
    return {**decided, "course": 0, "r": float(np.median(r)), "other": np.nan}


def row(kind: str, networks: int) -> list[object]:
    compute = plastic if kind == "plastic" else network
    cells = [finished(f"{kind}-{seed}", compute, kind, seed) for seed in range(networks)]
    counts = [sum(bool(one[name]) for one in cells) for name in ("test", "above")]
    seconds = [f"{value:.2f}" for value in np.mean([one["seconds"] for one in cells], axis=0)]
    r, other = ([one[name] for one in cells if name in one] for name in ("r", "other"))
    shown = [f"{np.median(r):.3f}", f"{min(r):.3f}"] if r else ["", ""]
    shown.append(f"{np.median(other):.3f}" if other and np.isfinite(other).all() else "")
    return [kind, networks, *counts, *shown, *seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changing", type=int, default=20, help="networks of each kind")
    parser.add_argument("--constant", type=int, default=20, help="networks of each kind")
    parser.add_argument("--plastic", type=int, default=1, help="recordings of sample:stdp")
    parser.add_argument("--kinds", nargs="*", choices=(*CHANGES, *CONSTANT, "plastic"))
    chosen = parser.parse_args()
    numbers = dict.fromkeys(CHANGES, chosen.changing)
    numbers |= dict.fromkeys(CONSTANT, chosen.constant) | {"plastic": chosen.plastic}
    rows = [
        row(kind, number)
        for kind, number in numbers.items()
        if number and kind in (chosen.kinds or numbers)
    ]
    publish(
        "drift",
        "Coupling that drifts, or is constant while something else drifts; periods of 1,000 "
        "frames and more, N = 10, 4,000 frames (large: N = 20, 12,000). r within edges of A(t) "
        "with the planted weights, over changing edges; 0 where A(t) is constant. CPU seconds are "
        "means over networks.\n\n" + table(HEADER, rows),
    )


if __name__ == "__main__":
    main()
