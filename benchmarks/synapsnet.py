"""SynapsNet on simulated networks with known wiring, beside linear and Poisson regressions.

    python benchmarks/synapsnet.py [--systems rate ca …] [--runs K]

Every system is simulated anew for each run, split 70/15/15 in time and standardised on the training
part. Penalties of all methods, SynapsNet's L1 included, are chosen on the validation part; the
wiring is looked at once, to score. `r` is the correlation with the true weights off the diagonal,
`prediction` the mean correlation of the next bin with its prediction on the test part, `skill`
what is gained on copying the last bin.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from machine import publish, table
from sklearn.linear_model import Lasso, PoissonRegressor

from nwbdyn import metrics, splits
from nwbdyn.binning import Binned
from nwbdyn.models.base import Layout
from nwbdyn.models.synapsnet import SynapsNet
from nwbdyn.readout import predict
from nwbdyn.recording import Neurons
from nwbdyn.splits import Split
from nwbdyn.training import train
from nwbdyn.windows import Windows

PENALTIES = np.logspace(-5, 1, 13)  # of ridge, relative to the largest eigenvalue
LASSO = np.logspace(-3.5, -1, 6)
L1 = (0.0, 0.1, 0.3)  # of SynapsNet


@dataclass(frozen=True)
class System:
    """A simulated recording and its wiring."""

    values: np.ndarray  # (num_bins, N)
    wiring: np.ndarray  # (N, N) [post, pre]
    quantity: str


def wiring(num_neurons: int, radius: float, random: np.random.Generator) -> np.ndarray:
    """Sparse weights of 80 % excitatory and 20 % inhibitory neurons, balanced, no diagonal."""
    present = random.random((num_neurons, num_neurons)) < 0.1
    weight = present * np.abs(random.normal(1, 0.3, present.shape))
    weight[:, random.permutation(num_neurons)[: num_neurons // 5]] *= -4
    np.fill_diagonal(weight, 0)
    largest = np.abs(np.linalg.eigvals(weight)).max()
    return weight * (radius / max(largest, 0.1))


def rates(
    num_neurons: int, num_bins: int, seed: int, *, radius: float, kind: str = "rate"
) -> System:
    """x' = leak x + (1 - leak) phi(gain W x) + .3 noise, a neuron's leak and gain by its kind."""
    random = np.random.default_rng(seed)
    weight = wiring(num_neurons, radius, random)
    leak, gain = np.full(num_neurons, 0.4), np.ones(num_neurons)
    if kind == "hetero":
        number = random.integers(0, 3, num_neurons)
        leak, gain = np.array([0.8, 0.4, 0.1])[number], np.array([0.5, 1, 2.5])[number]
    respond: Callable[[np.ndarray], np.ndarray] = np.tanh
    if kind == "linear":
        respond = lambda current: current  # noqa: E731
    latents, loading = np.zeros(3), 0.3 * random.normal(size=(num_neurons, 3))
    x = np.zeros(num_neurons)
    values = np.empty((num_bins, num_neurons), np.float32)
    for t in range(num_bins + 100):
        x = leak * x + (1 - leak) * respond(gain * (weight @ x))
        x += 0.3 * random.normal(size=num_neurons)
        if kind == "hidden":
            latents = 0.95 * latents + 0.3 * random.normal(size=3)
            x += loading @ latents
        if t >= 100:
            values[t - 100] = x
    if kind == "hidden":
        seen = np.sort(random.permutation(num_neurons)[: num_neurons // 2])
        return System(values[:, seen], weight[np.ix_(seen, seen)], "dff")
    return System(values, weight, "dff")


def spikes(num_neurons: int, num_bins: int, seed: int, *, calcium: bool = False) -> System:
    """y ~ Poisson(softplus(b + W y)); as calcium, an AR(.85) of the spikes with noise."""
    random = np.random.default_rng(seed)
    weight = wiring(num_neurons, 0.9, random)
    offset = random.normal(-1, 0.3, num_neurons)
    counts = np.zeros((num_bins, num_neurons), np.float32)
    for t in range(1, num_bins):
        counts[t] = random.poisson(np.log1p(np.exp(offset + weight @ counts[t - 1])))
    if not calcium:
        return System(counts, weight, "counts")
    trace = np.zeros_like(counts)
    for t in range(1, num_bins):
        trace[t] = 0.85 * trace[t - 1] + counts[t]
    noise = 0.1 * trace.std(axis=0) * random.normal(size=trace.shape)
    return System((trace + noise).astype(np.float32), weight, "dff")


SYSTEMS: dict[str, Callable[[int], System]] = {
    "rate": lambda seed: rates(30, 2000, seed, radius=1.2),
    "strong": lambda seed: rates(50, 3000, seed, radius=2.5),
    "linear": lambda seed: rates(50, 3000, seed, radius=0.9, kind="linear"),
    "hetero": lambda seed: rates(50, 3000, seed, radius=1.2, kind="hetero"),
    "hidden": lambda seed: rates(100, 3000, seed, radius=1.2, kind="hidden"),
    "poisson": lambda seed: spikes(50, 6000, seed),
    "ca": lambda seed: spikes(30, 3000, seed, calcium=True),
}


@dataclass(frozen=True)
class Answer:
    """What a method says of a system."""

    weight: np.ndarray  # (N, N)
    prediction: np.ndarray | None  # (num_bins, N), NaN outside the test part
    sign_agreement: float = np.nan


class Trial:
    """One simulated recording, its split, and every method on it."""

    def __init__(self, system: System) -> None:
        num_bins, num_neurons = system.values.shape
        self.system = system
        self.binned = Binned(
            session_id="simulated",
            values=system.values,
            time=np.arange(num_bins) * 0.05,
            bin_width=0.05,
            valid=np.ones(num_bins, bool),
            segment=np.zeros(num_bins, int),
            neurons=Neurons(pd.DataFrame({"id": range(num_neurons)}), "roi"),
            quantity=system.quantity,
            covariates=np.zeros((num_bins, 0), np.float32),
        )
        self.split: Split = splits.make(self.binned, seed=0, hold_out=False, gap=8)
        training = system.values[self.split.bins("train")].astype(float)
        self.mean, self.sd = training.mean(0), training.std(0)
        scaled = (system.values - self.mean) / self.sd
        parts = {name: np.flatnonzero(self.split.bins(name)[1:]) for name in splits.SPLITS[:3]}
        self.rows = parts  # the bin before each target
        self.inputs = {name: scaled[rows] for name, rows in parts.items()}
        self.targets = {name: scaled[rows + 1] for name, rows in parts.items()}

    def synapsnet(self, **options: object) -> tuple[Answer, Answer, float]:
        """A and its effective form, with the best L1 by validation; the seconds of one fit."""
        num_neurons = self.binned.num_neurons
        layout = Layout(
            neuron_ids={"0": tuple(range(num_neurons))},
            held_in={"0": (True,) * num_neurons},
            bin_width=0.05,
            quantity=self.system.quantity,
        )
        fits, begun = [], time.monotonic()
        for l1 in L1:
            config = SynapsNet.configure(layout, l1=l1, **options)
            windows = Windows(self.binned, self.split, SynapsNet.windows(config, layout))
            fits.append(
                train(SynapsNet, config, layout, windows, seed=0, device=torch.device("cpu"))
            )
        seconds = (time.monotonic() - begun) / len(L1)
        model = min(fits, key=lambda fit: fit.best).model
        assert isinstance(model, SynapsNet)
        prediction = predict(model, windows, splits=["test"])
        agreement = float(model.sign_agreement.mean())
        effective = model.effective().numpy()
        # In source units: what one more unit of j does to i (counts: to the log rate).
        unit = 1 / self.sd if self.binned.quantity == "counts" else self.sd[:, None] / self.sd
        raw = model.adjacency("0").detach().numpy()
        return Answer(raw, prediction), Answer(effective * unit, prediction, agreement), seconds

    def ridge(self) -> Answer:
        x, y = self.inputs["train"], self.targets["train"]
        eigenvalues, vectors = np.linalg.eigh(x.T @ x)
        turned = vectors.T @ (x.T @ y)
        weights = [
            vectors @ (turned / (eigenvalues + penalty * eigenvalues.max())[:, None])
            for penalty in PENALTIES
        ]
        return self._linear(weights)

    def lasso(self) -> Answer:
        x, y = self.inputs["train"], self.targets["train"]
        models = [Lasso(alpha, fit_intercept=False, max_iter=5000).fit(x, y) for alpha in LASSO]
        return self._linear([model.coef_.T for model in models])

    def poisson(self) -> Answer:
        """One Poisson regression (log link) per neuron, its penalty chosen for all together."""
        counts = self.system.values
        best, answer = np.inf, None
        for alpha in (1e-4, 1e-3, 1e-2, 1e-1):
            models = [
                PoissonRegressor(alpha=alpha, max_iter=300).fit(
                    self.inputs["train"], counts[self.rows["train"] + 1, neuron]
                )
                for neuron in range(counts.shape[1])
            ]
            rate = np.stack([model.predict(self.inputs["val"]) for model in models], axis=1)
            target = counts[self.rows["val"] + 1]
            loss = float((rate - target * np.log(rate)).mean())
            if loss < best:
                best = loss
                prediction = np.full(counts.shape, np.nan)
                test = [model.predict(self.inputs["test"]) for model in models]
                prediction[self.rows["test"] + 1] = np.stack(test, axis=1)
                answer = Answer(np.stack([model.coef_ for model in models]) / self.sd, prediction)
        assert answer is not None
        return answer

    def correlation(self) -> Answer:
        return Answer(np.corrcoef(self.inputs["train"].T), None)

    def lagged_correlation(self) -> Answer:
        x, y = self.inputs["train"], self.targets["train"]
        return Answer(y.T @ x / len(x), None)

    def scores(self, answer: Answer) -> dict[str, float]:
        found = metrics.agreement(answer.weight, self.system.wiring)
        found = {name: found[name] for name in ("pearson", "auroc", "precision_at_k")}
        found["prediction"] = found["skill"] = np.nan
        if answer.prediction is not None:
            values = self.system.values
            copied = np.concatenate([values[:1] * np.nan, values[:-1]])
            found["prediction"] = metrics.pearson(values, answer.prediction)
            found["skill"] = metrics.skill(values, answer.prediction, copied)
        return found

    def _linear(self, weights: list[np.ndarray]) -> Answer:
        """The weights (pre, post) that predict the validation part best."""
        errors = [((self.inputs["val"] @ w - self.targets["val"]) ** 2).mean() for w in weights]
        best = weights[int(np.argmin(errors))]
        prediction = np.full(self.system.values.shape, np.nan)
        prediction[self.rows["test"] + 1] = self.inputs["test"] @ best * self.sd + self.mean
        return Answer(best.T * self.sd[:, None] / self.sd, prediction)


def run(name: str, num_runs: int) -> list[list[object]]:
    """Rows of the table: one per method, mean and standard deviation over runs."""
    scores: dict[str, list[dict[str, float]]] = {}
    agreement, seconds = [], []
    for seed in range(num_runs):
        trial = Trial(SYSTEMS[name](seed))
        raw, effective, spent = trial.synapsnet()
        answers = {
            "Pearson": trial.correlation(),
            "lag-1": trial.lagged_correlation(),
            "VAR(1) ridge": trial.ridge(),
            "VAR(1) lasso": trial.lasso(),
        }
        if trial.binned.quantity == "counts":
            answers["Poisson GLM"] = trial.poisson()
        answers |= {"SynapsNet A": raw, "SynapsNet effective": effective}
        for method, answer in answers.items():
            scores.setdefault(method, []).append(trial.scores(answer))
        agreement.append(effective.sign_agreement)
        seconds.append(spent)
        print(name, seed, {m: round(s[-1]["pearson"], 3) for m, s in scores.items()}, flush=True)
    right = sum(s["pearson"] > 0 for s in scores["SynapsNet effective"])
    rows: list[list[object]] = []
    for method, found in scores.items():
        row: list[object] = [name, method]
        for score in found[0]:
            values = np.array([s[score] for s in found])
            row.append("-" if np.isnan(values).all() else f"{values.mean():.3f}±{values.std():.3f}")
        row.append(f"{min(s['pearson'] for s in found):.3f}")
        own = method == "SynapsNet effective"
        row.append(f"sign {right}/{num_runs}, {np.mean(seconds):.0f} s a fit" if own else "")
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--runs", type=int, default=5)
    chosen = parser.parse_args()
    rows = [row for name in chosen.systems for row in run(name, chosen.runs)]
    header = ["system", "method", "r", "AUROC", "precision at k", "prediction", "skill"]
    publish("synapsnet", table([*header, "lowest r", ""], rows))


if __name__ == "__main__":
    main()
