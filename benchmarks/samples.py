"""Do the sample recordings show their case at the shipped defaults? Prints one table.

python benchmarks/samples.py [--seeds 3]

Each recording is fitted with the command that docs/samples.md names, and the edges are compared
with what was planted.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import machine
import numpy as np

import nwbdyn
from nwbdyn.connectivity import edge_table
from nwbdyn.results.fit_results import Fit
from nwbdyn.simulate import Truth, sample

CASES = {
    "spiking": {"null": "jitter:20"},
    "frames": {"null": "shift:20"},
    "switching": {"states": "task_state"},
}
LEVEL = 0.05


@dataclass(frozen=True)
class Row:
    """Edges of one kind in one recording."""

    sample: str
    what: str
    planted: int
    called: int
    true: int
    detail: str


def called(fit: Fit, kind: str, of_state: bool) -> np.ndarray:
    """(N, N) [post, pre] bool, edges at q <= LEVEL."""
    edges = fit.edges
    chosen = edges[(edges["kind"] == kind) & (edges["q"] <= LEVEL)]
    if "state" in edges:
        chosen = chosen[(chosen["state"].fillna("") != "") == of_state]
    rows = fit.neurons.table["id"].reset_index(drop=True)
    at = {name: row for row, name in rows.items()}
    matrix = np.zeros((len(rows), len(rows)), bool)
    matrix[[at[i] for i in chosen["post_id"]], [at[i] for i in chosen["pre_id"]]] = True
    return matrix


def rows_of(name: str, fit: Fit, truth: Truth) -> list[Row]:
    """Comparison of one fit with what was planted."""
    assert truth.coupling is not None
    links = truth.coupling != 0
    if name == "switching":
        assert truth.couplings is not None
        links = truth.couplings[0] != truth.couplings[1]
        estimate = called(fit, edge_table.DIRECTED, of_state=True)
        change = fit.metrics["states"]
        detail = f"pattern p {change['pattern_p']:.3g}, gain p {change['gain_p']:.3g}"
        return [_row(name, "edges that change with the state", links, estimate, detail)]
    directed = called(fit, edge_table.DIRECTED, of_state=False)
    within = called(fit, edge_table.SIMULTANEOUS, of_state=False)
    if name == "spiking":
        return [_row(name, "directed", links, directed, _delays(fit, truth, directed & links))]
    upper = np.triu(np.ones(links.shape, bool), 1)
    undirected, within = (links | links.T) & upper, (within | within.T) & upper
    return [
        _row(name, "simultaneous", undirected, within, ""),
        _row(name, "directed", links, directed, ""),
    ]


def _row(name: str, what: str, links: np.ndarray, estimate: np.ndarray, detail: str) -> Row:
    return Row(
        name, what, int(links.sum()), int(estimate.sum()), int((links & estimate).sum()), detail
    )


def _delays(fit: Fit, truth: Truth, true: np.ndarray) -> str:
    """Error of the lag at which a filter peaks, over the called edges."""
    assert truth.delays is not None
    rows = {name: row for row, name in fit.neurons.table["id"].reset_index(drop=True).items()}
    edges = edge_table.directed(fit.edges)
    error = [
        abs(edge.peak_ms - 1000 * truth.delays[rows[edge.post_id], rows[edge.pre_id]])
        for edge in edges.itertuples()
        if true[rows[edge.post_id], rows[edge.pre_id]]
    ]
    planted = 1000 * truth.delays[true]
    return (
        f"delays {planted.min():.0f} to {planted.max():.0f} ms, error of the peak: median "
        f"{np.median(error):.1f}, largest {max(error):.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=CASES)
    chosen = parser.parse_args()
    rows = []
    for name in [chosen.only] if chosen.only else CASES:
        for seed in range(chosen.seeds):
            address = f"sample:{name}?seed={seed}"
            begun = time.process_time()
            with TemporaryDirectory() as folder, nwbdyn.open(address) as recording:
                run = Path(folder) / "run"
                fit = nwbdyn.fit(recording, "netformer", run=run, report=False, **CASES[name])
                spent = f"{time.process_time() - begun:.0f}"
                for row in rows_of(name, fit, sample(address)[1]):
                    cells = (row.what, row.planted, row.called, row.true, row.detail)
                    rows.append([f"`{address}`", *map(str, cells), spent])
                    print(rows[-1], flush=True)
    header = ["recording", "edges", "planted", "q <= .05", "of them planted", "", "CPU s"]
    machine.publish("samples", machine.table(header, rows))


if __name__ == "__main__":
    main()
