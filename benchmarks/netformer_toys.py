"""NetFormer on four systems of five units, constant or moving, linear or through tanh.

    python benchmarks/netformer_toys.py [--seeds K] [--others K] [--noise SD] [--epochs N]

The systems are `sample:toy`: seed 0 is the published system of each kind, on which K models with
seeds 0 … K - 1 are trained; the others are systems of the same kind, drawn here, one model each.
The published protocol: the first SKIPPED steps are left out, 2,400 of the next 3,000 train, nothing
is standardised, one step of history, Adam .01 with the rate multiplied by GAMMA every 100 epochs,
1,100 epochs of batches of 80. All models of a kind train side by side. Nothing is chosen on
anything.

Static: the mean of A over test windows against the mean of W over the same steps, off the diagonal.
Temporal: for each off-diagonal entry the correlation over test steps of A_ij(t) with W_ij(t), its
mean and median over entries and the share of entries below 0. References see the same steps: least
squares of the change on the state, and the same over the last WINDOW steps before each test step.
"""

import argparse
from collections.abc import Sequence

import numpy as np
import stacked
import torch
from machine import finished, publish, table

from nwbdyn.metrics import agreement, pearson, r2
from nwbdyn.models.base import Batch, Layout
from nwbdyn.models.netformer import NetFormer
from nwbdyn.simulate import sample

SKIPPED = 7  # steps, as in the published runs
NUM_TRAIN, NUM_WINDOWS = 2400, 3000
WINDOW = 100  # steps of the sliding regression
GAMMA = {"linear-static": 1.0, "tanh-static": 0.9, "linear-moving": 0.8, "tanh-moving": 0.9}
PUBLISHED = {  # Spearman, Pearson, R2, temporal mean, median
    "linear-static": (".99985", ".99997", "1.000", "", ""),
    "tanh-static": (".903 ± .014", ".878 ± .020", "1.000", "", ""),
    "linear-moving": (".990 ± .007", ".996", "1.000", ".80 ± .20", "1.000"),
    "tanh-moving": (".917 ± .010", ".867 ± .017", "1.000", ".286 ± .115", ".9996"),
}
LAYOUT = Layout(
    neuron_ids={"0": tuple(range(5))},
    held_in={"0": (True,) * 5},
    bin_width=0.1,
    quantity="dff",
)


class System:
    """One simulated system: x (num_steps, 5) and W (num_steps, 5, 5)."""

    def __init__(self, kind: str, seed: int, noise: float) -> None:
        options = f"kind={kind}&seed={seed}&noise={noise:g}&steps={SKIPPED + NUM_WINDOWS + 1}"
        _, truth = sample(f"sample:toy?{options}")
        self.x = truth.rates[SKIPPED:]
        assert truth.coupling is not None
        if truth.couplings is None:
            self.weights = np.broadcast_to(truth.coupling, (len(self.x), 5, 5))
        else:
            self.weights = truth.couplings[SKIPPED:]

    def windows(self, steps: slice) -> Batch:
        """The steps whose next step is known."""
        now, after = torch.from_numpy(self.x[:-1][steps]), torch.from_numpy(self.x[1:][steps])
        return Batch(
            activity=now[:, None],
            target=after[:, None],
            valid=torch.ones_like(after[:, None], dtype=torch.bool),
            held_in=torch.ones(5, dtype=torch.bool),
            neuron_ids=torch.arange(5),
            covariates=torch.zeros(len(now), 1, 0),
            start_bin=torch.arange(len(now)),
        )

    @property
    def test(self) -> slice:
        return slice(NUM_TRAIN, len(self.x) - 1)

    def regression(self, steps: slice) -> np.ndarray:
        """(5, 5) least squares of the change on the state."""
        now, change = self.x[:-1][steps], np.diff(self.x, axis=0)[steps]
        return np.linalg.lstsq(now.astype(float), change.astype(float), rcond=None)[0].T

    def scores(self, matrices: np.ndarray, predicted: np.ndarray) -> list[float]:
        """Spearman, Pearson, R2, then mean, median and share below 0 of the temporal r.

        Args:
            matrices: (num_test, 5, 5) the coupling at each test step.
            predicted: (num_test, 5) the state after it.
        """
        true = self.weights[self.test]
        static = agreement(matrices.mean(0), true.mean(0))
        off = ~np.eye(5, dtype=bool)
        result = [static["spearman"], static["pearson"], r2(self.x[1:][self.test], predicted)]
        if np.ptp(true, axis=0).max() == 0 or np.ptp(matrices, axis=0).max() == 0:
            return [*result, np.nan, np.nan, np.nan]
        over_time = pearson.per_neuron(true[:, off], matrices[:, off])
        return [*result, over_time.mean(), float(np.median(over_time)), (over_time < 0).mean()]


def netformer(
    systems: Sequence[System], gamma: float, epochs: int | None
) -> dict[str, list[list[float]]]:
    """Scores of one model per system; the same system may come several times."""
    length = {} if epochs is None else {"epochs": epochs}
    config = NetFormer.configure(LAYOUT, preset="toy", **length)
    models = stacked.seeded(lambda: NetFormer(config, LAYOUT), range(len(systems)))
    stacked.train(
        models,
        [system.windows(slice(NUM_TRAIN)) for system in systems],
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        factor=lambda done: gamma ** (int(done * config.epochs) // 100),
    )
    rows = []
    for model, system in zip(models, systems, strict=True):
        batch = system.windows(system.test)
        with torch.no_grad():
            predicted = model(batch).prediction[:, 0].numpy()
        rows.append(system.scores(model.attention(batch).numpy(), predicted))
    return {"scores": rows}


def references(system: System) -> dict[str, list[float]]:
    now = system.x[system.test]
    fixed = system.regression(slice(NUM_TRAIN))
    steps = range(system.test.start, system.test.stop)
    sliding = np.stack([system.regression(slice(t - WINDOW, t)) for t in steps])
    moved = now + np.einsum("tij,tj->ti", sliding, now)
    constant = np.broadcast_to(fixed, sliding.shape)
    return {
        "OLS": system.scores(constant, now + now @ fixed.T),
        f"OLS of the last {WINDOW} steps": system.scores(sliding, moved),
    }


def cells(scores: Sequence[Sequence[float]]) -> list[str]:
    """Mean ± sd over models of each score; the mean alone where there is one."""
    result = []
    for values in np.array(scores).T:
        spread = f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else ""
        result.append("" if np.isnan(values).any() else f"{values.mean():.3f}{spread}")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="models of the published system")
    parser.add_argument("--others", type=int, default=5, help="further systems")
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--epochs", type=int)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    lines: list[list[object]] = []
    each: list[list[object]] = []
    for kind, gamma in GAMMA.items():
        systems = [System(kind, seed, chosen.noise) for seed in range(1 + chosen.others)]
        trained = [systems[0]] * chosen.seeds + systems[1:]
        part = f"{kind}-{chosen.seeds}-{chosen.others}-{chosen.noise:g}-{chosen.epochs}"
        fitted = finished(part, netformer, trained, gamma, chosen.epochs)["scores"]
        result = [references(system) for system in systems]
        lines.append([kind, "published, 10 seeds", *PUBLISHED[kind], ""])
        lines.append([kind, f"NetFormer, {chosen.seeds} seeds", *cells(fitted[: chosen.seeds])])
        lines += [[kind, name, *cells([scores])] for name, scores in result[0].items()]
        if chosen.others:
            label = f"{chosen.others} other systems"
            lines.append([kind, f"{label}: NetFormer", *cells(fitted[chosen.seeds :])])
            for name in result[0]:
                rest = [scores[name] for scores in result[1:]]
                lines.append([kind, f"{label}: {name}", *cells(rest)])
        for number, scores in enumerate(fitted):
            system = max(0, number - chosen.seeds + 1)
            each.append([kind, system, number, *cells([scores])])
        columns = ["Spearman", "Pearson", "R2", "temporal r, mean", "median", "share below 0"]
        publish(
            "netformer_toys_noisy" if chosen.noise else "netformer_toys",
            f"Mean ± sd over models or systems, noise {chosen.noise:g} per step.\n\n"
            + table(["system", "fit", *columns], lines)
            + "\n\nNetFormer, each model:\n\n"
            + table(["kind", "system", "seed", *columns], each),
        )


if __name__ == "__main__":
    main()
