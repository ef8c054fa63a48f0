"""Couplings between cell types, beside regression, correlation and the sign of the sender's type.

    python benchmarks/cell_types.py [--systems constrained cortex] [--steps N] [--epochs N]

`constrained`: NetFormer's connectivity-constrained simulation (200 neurons of four types); the
paper uses 30,000 steps and up to 1,000 epochs, --steps and --epochs shorten it. `cortex`: imaging
of 50 neurons of four types, whose couplings differ between running and standing still.
70/15/15 in time, standardised on the training part; the last 15 % are scored once.

Scores: Pearson and Spearman of the mean coupling with the true weights over ordered pairs i != j
(N x N) and of its means over pairs of types (K x K); in `cortex` also K x K within each state, from
windows or steps that lie in it as a whole. Couplings of the models are means over the windows of
all parts, in units of training sd; "VAR(1)" is ridge regression, its penalty by validation;
"sign of the sender" is +1 for excitatory and -1 for inhibitory columns and uses the types alone.
"""

import argparse
from collections.abc import Mapping

import numpy as np
import torch
from machine import finished, publish, table

from nwbdyn import metrics
from nwbdyn.baselines.regression import Ridge
from nwbdyn.data import binning, splits
from nwbdyn.data.windows import Windows
from nwbdyn.inference.readout import connectivity, predict
from nwbdyn.models import load
from nwbdyn.models.base import Layout
from nwbdyn.simulate import sample
from nwbdyn.training.trainer import train

PENALTIES = np.logspace(-5, 2, 15)
EXCITATORY = "EC"
FITS: dict[str, dict[str, tuple[str, dict[str, object]]]] = {
    "constrained": {
        "NetFormer, paper's form": ("netformer", {"preset": "constrained_simulation"}),
        "NetFormer, defaults": ("netformer", {}),
    },
    "cortex": {
        "NetFormer, paper's form": ("netformer", {"preset": "mouse_v1"}),
        "NetFormer, defaults": ("netformer", {}),
        "SynapsNet, defaults": ("synapsnet", {}),
    },
}
Weights = dict[str, np.ndarray]  # "all", or the name of a state -> (N, N) [post, pre]


class System:
    """One simulated recording: activity, types, states and true weights."""

    def __init__(self, name: str, address: str) -> None:
        recording, truth = sample(address)
        self.name = name
        self.binned = binning.bin_recording(recording)
        self.split = splits.make(self.binned, seed=0, hold_out=False, gap=99)
        self.types = self.binned.neurons.table["cell_type"].astype(str).to_numpy()
        assert truth.coupling is not None
        self.truth: Weights = {"all": truth.coupling}
        self.states: dict[str, np.ndarray] = {}  # (num_bins,) bool
        if truth.state is not None and truth.couplings is not None:
            for number, state in enumerate(("still", "running")):
                self.truth[state] = truth.couplings[number]
                self.states[state] = truth.state == number
        values = self.binned.values.astype(float)
        train = values[self.split.bins("train")]
        self.scaled = (values - train.mean(0)) / train.std(0)

    def steps(self, part: str, state: str = "all") -> np.ndarray:
        """Bins of a part that have the bin after them in it, too, and both in the state."""
        inside = self.split.bins(part) & self.states.get(state, True)
        return np.flatnonzero(inside[:-1] & inside[1:])

    def regression(self) -> tuple[Weights, float]:
        """VAR(1), and its R2 on the test part."""
        rows, held, test = (self.steps(part) for part in ("train", "val", "test"))
        ridge = Ridge(self.scaled[rows], self.scaled[rows + 1])

        def error(penalty: float) -> float:
            residual = self.scaled[held + 1] - self.scaled[held] @ ridge.weights(penalty)
            return float((residual**2).mean())

        penalty = min(PENALTIES, key=error)
        result = {"all": ridge.weights(penalty).T}
        for state in self.states:
            inside = self.steps("train", state)
            result[state] = Ridge(self.scaled[inside], self.scaled[inside + 1]).weights(penalty).T
        predicted = self.scaled[test] @ result["all"].T
        return result, metrics.r2(self.scaled[test + 1], predicted)

    def correlation(self) -> Weights:
        """Of each neuron's next bin with each other's bin."""
        result = {}
        for state in self.truth:
            rows = self.steps("train", state)
            both = np.corrcoef(self.scaled[rows + 1].T, self.scaled[rows].T)
            result[state] = both[: len(self.types), len(self.types) :]
        return result

    def sign(self) -> Weights:
        column = np.where(self.types == EXCITATORY, 1.0, -1.0)
        return dict.fromkeys(self.truth, np.tile(column, (len(column), 1)))

    def model(self, name: str, options: Mapping[str, object]) -> tuple[Weights, float, str]:
        """Mean couplings, R2 on the test part, and how long it trained."""
        model_class = load(name)
        ids = tuple(range(len(self.types)))
        layout = Layout({"0": ids}, {"0": (True,) * len(ids)}, self.binned.bin_width, "dff")
        config = model_class.configure(layout, **options)
        windows = Windows(self.binned, self.split, model_class.windows(config, layout))
        candidates = model_class.candidates(config, layout, len(windows.starts("train")))
        cpu = torch.device("cpu")
        fits = [
            train(model_class, each, layout, windows, seed=0, device=cpu) for each in candidates
        ]
        fitted = min(fits, key=lambda each: each.best)
        answer = connectivity(fitted.model, windows)
        result = {"all": np.asarray(answer.mean())}
        last = np.searchsorted(self.binned.time, answer.time - self.binned.bin_width / 2)
        context = windows.spec.context
        for state, inside in self.states.items():
            total = np.concatenate([[0], np.cumsum(inside)])
            whole = total[last + 1] - total[last + 1 - context] == context
            result[state] = np.asarray(answer.mean(whole))
        predicted = predict(fitted.model, windows, splits=["test"])
        kept = np.isfinite(predicted).all(axis=1)
        r2 = metrics.r2(self.binned.values[kept], predicted[kept])
        return result, r2, f"epoch {fitted.best_epoch} of {len(fitted.history)}"

    def competitor(self, name: str, options: Mapping[str, object]) -> dict[str, list[object]]:
        """A row of a model, without its label."""
        return {"row": self.row("", *self.model(name, options))[1:]}

    def row(self, label: str, result: Weights, r2: float | None, note: str = "") -> list[object]:
        cells = [*scores(result["all"], self.truth["all"])]
        cells += scores(by_type(result["all"], self.types), by_type(self.truth["all"], self.types))
        for state in self.states:
            types = (by_type(weights[state], self.types) for weights in (result, self.truth))
            cells += scores(*types)
        explained = "" if r2 is None else f"{r2:.3f}"
        return [label, *(f"{cell:.3f}" for cell in cells), explained, note]


def by_type(weights: np.ndarray, types: np.ndarray) -> np.ndarray:
    """(K, K) means over ordered pairs i != j."""
    member = (types[:, None] == np.unique(types)).astype(float)
    pairs = member.T @ (1 - np.eye(len(types))) @ member
    return member.T @ (weights * (1 - np.eye(len(types)))) @ member / pairs


def scores(result: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Pearson and Spearman: of all entries between types, off the diagonal between neurons."""
    if len(result) > 10:
        agreement = metrics.agreement(result, truth)
        return agreement["pearson"], agreement["spearman"]
    ranks = [np.argsort(np.argsort(each.ravel())).astype(float) for each in (result, truth)]
    return metrics.correlation(result.ravel(), truth.ravel()), metrics.correlation(*ranks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="+", default=list(FITS), choices=list(FITS))
    parser.add_argument("--steps", type=int, default=10_000, help="of constrained")
    parser.add_argument("--epochs", type=int, default=4, help="of constrained")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    address = {"constrained": f"sample:constrained?steps={chosen.steps}", "cortex": "sample:cortex"}
    parts: dict[str, str] = {}
    for name in chosen.systems:
        system = System(name, address[name])
        rows = [system.row("sign of the sender", system.sign(), None)]
        rows.append(system.row("lag-1 correlation", system.correlation(), None))
        rows.append(system.row("VAR(1)", *system.regression()))
        header = ["fit", "N x N Pearson", "Spearman", "K x K Pearson", "Spearman"]
        for state in system.states:
            header += [f"{state} K x K Pearson", "Spearman"]
        header += ["R2 test", "training"]
        length = {"epochs": chosen.epochs} if name == "constrained" else {}
        for label, (model, options) in FITS[name].items():
            part = f"{name}-{label}-{chosen.steps}-{chosen.epochs}".replace(" ", "-")
            kept = finished(part, system.competitor, model, options | length)
            rows.append([label, *kept["row"]])
            parts[name] = f"`{address[name]}`:\n\n" + table(header, rows)
            publish("cell_types", "\n\n".join(parts.values()))


if __name__ == "__main__":
    main()
