"""A(t) with one matrix per state, on networks whose coupling changes with the state or does not.

    python benchmarks/gates.py [--changing K] [--constant K] [--kinds KIND …]

Two states in turn, N = 10, 4,000 frames (`coupled_networks.alternating`). A(t) follows the states
where the test of states supports a difference (`statistics.state_change`) and a rung of coupling
that is gated by the states gains on validation (`baselines.ladder.gated`); this is what `nwbdyn fit
--states` does for traces. r: correlation of A in the second state less that in the first with the
planted difference, over pairs; 0 where A(t) is constant. Rules were chosen on seeds 500 to 503.
"""

import argparse
import time

import coupled_networks
import numpy as np
import pandas as pd
from machine import finished, publish, table

from nwbdyn.baselines import autoregression
from nwbdyn.baselines.ladder import climb
from nwbdyn.baselines.ladder.climbing import data_of
from nwbdyn.baselines.ladder.gated import gated_coupling
from nwbdyn.baselines.lagged_design import build_lagged_design
from nwbdyn.data import splits
from nwbdyn.data.binning import Binned
from nwbdyn.recording import Neurons
from nwbdyn.statistics.state_change import state_change

CHANGES = ("flip", "rewiring", "gain")
CONSTANT = ("constant", "white", "saturating", "coloured", "observation noise")
CONTEXT = 16
HEADER = ("kind", "networks", "test", "validation", "A(t) follows", "r, median", "r, smallest")


def binned_of(x: np.ndarray) -> Binned:
    return Binned(
        session_id="made",
        values=x.astype(np.float32),
        time=np.arange(len(x)) / 10,
        bin_width=0.1,
        valid=np.ones(len(x), bool),
        segment=np.zeros(len(x), int),
        neurons=Neurons(pd.DataFrame({"id": np.arange(x.shape[1])}), "roi"),
        quantity="dff",
        covariates=np.zeros((len(x), 0), np.float32),
    )


def network(kind: str, seed: int) -> dict[str, float | bool]:
    """Decisions on one network, and r of the difference."""
    x, state, difference = coupled_networks.alternating(kind, seed)
    binned = binned_of(x)
    split = splits.make(binned, seed=0, hold_out=False, gap=CONTEXT)
    problem = build_lagged_design(binned, split, CONTEXT, 1)
    ladder = climb(binned, problem, autoregression.best(problem), to="M2")
    data = data_of(binned, problem, None, windowed=False)
    gates, known = (state == 1)[:, None].astype(float), np.ones(len(x), bool)
    rung = gated_coupling(data, ladder["M2"].linear.astype(np.float64), gates, known)
    tested = state_change(x, np.zeros(len(x), int), state, ("a", "b"))
    supported = tested.pattern_changes or tested.gain_changes
    follows = bool(supported and rung.gain.above)
    others, r = ~np.eye(len(difference), dtype=bool), 0.0
    if follows and difference.any():
        unit = problem.sd[:, None] / problem.sd
        r = float(np.corrcoef((rung.weights[0] * unit)[others], difference[others])[0, 1])
    return {"test": supported, "validation": rung.gain.above, "follows": follows, "r": r}


def row(kind: str, networks: int) -> list[object]:
    cells = [finished(f"{kind}-{seed}", network, kind, seed) for seed in range(networks)]
    counts = [sum(bool(one[name]) for one in cells) for name in ("test", "validation", "follows")]
    r = [one["r"] for one in cells] if kind in CHANGES else []
    correlations = [f"{np.median(r):.3f}", f"{min(r):.3f}"] if r else ["", ""]
    return [kind, networks, *counts, *correlations]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--changing", type=int, default=10, help="networks of each kind")
    parser.add_argument("--constant", type=int, default=20, help="networks of each kind")
    parser.add_argument("--kinds", nargs="*", choices=(*CHANGES, *CONSTANT))
    chosen = parser.parse_args()
    kinds = chosen.kinds or (*CHANGES, *CONSTANT)
    begin = time.process_time()
    rows = [row(kind, chosen.changing if kind in CHANGES else chosen.constant) for kind in kinds]
    seconds = time.process_time() - begin
    publish(
        "gates",
        "Two states in turn, N = 10, 4,000 frames. A(t) follows the states where their test and "
        "validation both support it. r of the difference between the two states' matrices with "
        f"the planted one, over pairs. {seconds:.0f} CPU s.\n\n" + table(HEADER, rows),
    )


if __name__ == "__main__":
    main()
