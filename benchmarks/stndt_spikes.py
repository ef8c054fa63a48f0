"""STNDT on simulated spikes with known rates, beside the true rates, smoothing and a Poisson GLM.

    python benchmarks/stndt_spikes.py [--systems chaotic reach] [--seeds K] [--updates N]

`chaotic`: 50 units of a chaotic recurrent network, 20 conditions of 20 trials. `reach`: 60 units of
two motor areas in 160 delayed reaches, cut as the benchmark's maze recording, in bins of 20 ms;
`reach_480` has three times the trials. A quarter of the units is held out as the recordings say;
trials train, validate and test as they say. Every option has its default but the windows of the
chaotic network, which has no trials of the benchmark's layout. Below each seed stand what was
trained on top of the baseline and its average with the baseline, whose weight validation chose;
the row of the seed is the fit, which is the average where validation gains and the baseline where
it does not. The ensemble averages the rates of the best seeds by validation, their number chosen on
validation. Intervals draw test trials with replacement; `correlation` is that of held-out rates
with the true ones over test bins, mean over units.
"""

import argparse

import numpy as np
import torch
from machine import finished, publish, table

from nwbdyn import baselines, metrics
from nwbdyn.data.binning import Binned
from nwbdyn.fitting import task
from nwbdyn.inference.readout import all_starts, predict
from nwbdyn.request import DataOptions
from nwbdyn.simulate import Truth, sample
from nwbdyn.training.baseline_start import shared
from nwbdyn.training.trainer import train

BIN_WIDTH = 0.02
SYSTEMS: dict[str, tuple[str, dict[str, object]]] = {
    "chaotic": ("sample:chaotic", {"context": 50}),
    "reach": ("sample:reach", {}),
    "reach_480": ("sample:reach?trials=480", {}),
}


def binned_rates(binned: Binned, truth: Truth) -> np.ndarray:
    """(num_bins, N) expected counts per bin, NaN in bins without a simulated step."""
    start = binned.time[0] - binned.bin_width / 2
    bins = np.floor((truth.time - start) / binned.bin_width + 1e-6).astype(int)
    inside = (bins >= 0) & (bins < binned.num_bins)
    steps = np.bincount(bins[inside], minlength=binned.num_bins)
    total = np.zeros((binned.num_bins, truth.rates.shape[1]))
    np.add.at(total, bins[inside], truth.rates[inside])
    return np.where(steps[:, None] > 0, total / np.maximum(steps, 1)[:, None], np.nan) * (
        binned.bin_width
    )


class Scoreboard:
    """Scores of predictions of one recording's held-out units."""

    def __init__(self, fit_task: task.FitTask, rates: np.ndarray) -> None:
        self.fit_task, self.rates = fit_task, rates
        starts = np.sort(all_starts(fit_task.windows))
        self.block = np.searchsorted(starts, np.arange(fit_task.binned.num_bins), side="right")

    def co_bps(self, prediction: np.ndarray, part: str) -> float:
        return metrics.bits_per_spike(*self._scored(part, prediction))

    def gain(self, prediction: np.ndarray, reference: np.ndarray) -> str:
        """The difference in test co-bps with its interval."""
        truth, ours, theirs = self._scored("test", prediction, reference)
        rows = self._rows("test")
        low, high = metrics.difference_interval(
            metrics.bits_per_spike, truth, ours, theirs, blocks=self.block[rows]
        )
        return f"{low:+.3f} to {high:+.3f}"

    def row(self, name: str, prediction: np.ndarray, *references: np.ndarray) -> list[object]:
        truth, values = self._scored("test", prediction)
        rows = self._rows("test")
        low, high = metrics.block_interval(
            metrics.bits_per_spike, truth, values, blocks=self.block[rows]
        )
        rates = self.rates[rows][:, self.fit_task.held_out]
        return [
            name,
            f"{self.co_bps(prediction, 'val'):.3f}",
            f"{self.co_bps(prediction, 'test'):.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{metrics.pearson(rates, values):.3f}",
            *(self.gain(prediction, reference) for reference in references),
        ]

    def _rows(self, part: str) -> np.ndarray:
        fit_task = self.fit_task
        return np.flatnonzero(fit_task.split.bins(part) & fit_task.counted & fit_task.binned.valid)

    def _scored(self, part: str, *predictions: np.ndarray) -> list[np.ndarray]:
        rows, held_out = self._rows(part), self.fit_task.held_out
        columns = (self.fit_task.binned.values, *predictions)
        return [values[rows][:, held_out].astype(float) for values in columns]


def fit(fit_task: task.FitTask, seed: int) -> dict[str, object]:
    """Expected counts (num_bins, N), and how long it trained."""
    fitted = train(
        fit_task.model_class,
        fit_task.config,
        fit_task.layout,
        fit_task.windows,
        seed=seed,
        device=torch.device("cpu"),
    )
    result = fitted.on_baseline
    assert result is not None
    note = "kept" if result.kept else f"validation kept {result.baseline}"
    note += f", {result.gain.mean:+.4f} ± {result.gain.error:.4f}"
    note += f", epoch {fitted.best_epoch} of {len(fitted.history)}"
    kept: dict[str, object] = {"rates": predict(fitted.model, fit_task.windows), "note": note}
    for name, share in (("trained", 1.0), ("average", result.weight)):
        with shared(fitted.model, share):
            kept[name] = predict(fitted.model, fit_task.windows)
    return kept | {"weight": result.weight}


def compete(name: str, num_seeds: int, updates: int | None) -> None:
    address, options = SYSTEMS[name]
    recording, truth = sample(address)
    fit_task = task.build_task(
        recording,
        "stndt",
        seed=0,
        options={**options, **({"updates": updates} if updates else {})},
        data=DataOptions(bin_width=BIN_WIDTH),
    )
    rates = binned_rates(fit_task.binned, truth)
    board = Scoreboard(fit_task, rates)
    simple = baselines.co_smoothing(
        fit_task.binned,
        fit_task.split,
        all_starts(fit_task.windows),
        context=fit_task.spec.context,
    )
    references = [simple[key].prediction for key in ("smoothing + GLM", "Poisson GLM")]
    rows = [board.row("true rates", rates)]
    rows += [board.row(key, baseline.prediction) for key, baseline in simple.items()]
    fits: list[np.ndarray] = []
    for seed in range(num_seeds):
        kept = finished(f"{name}-{seed}-{updates}", fit, fit_task, seed)
        fits.append(kept["rates"])
        rows.append(board.row(f"**STNDT, seed {seed}**, {kept['note']}", fits[-1], *references))
        trained = f"STNDT, seed {seed}, transformer on its baseline"
        rows.append(board.row(trained, kept["trained"], *references))
        average = f"STNDT, seed {seed}, average ({kept['weight']:.1f} of it)"
        rows.append(board.row(average, kept["average"], *references))
        ranked = sorted(fits, key=lambda rate: -board.co_bps(rate, "val"))
        means = [np.mean(ranked[: k + 1], axis=0) for k in range(len(ranked))]
        best = max(range(len(means)), key=lambda k: board.co_bps(means[k], "val"))
        ensemble = board.row(
            f"STNDT, best {best + 1} of {len(fits)} seeds averaged", means[best], *references
        )
        header = [
            *("rates", "co-bps val", "co-bps test", "95 % interval", "correlation"),
            *("above smoothing + GLM", "above Poisson GLM"),
        ]
        text = f"`{address}`, {fit_task.binned.num_neurons} units of which "
        text += (
            f"{int(fit_task.held_out.sum())} are held out, {fit_task.config.updates} updates.\n\n"
        )
        full = [[*row, *[""] * (len(header) - len(row))] for row in (*rows, ensemble)]
        publish(f"stndt_spikes_{name}", text + table(header, full))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, help="instead of the default number")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    for name in chosen.systems:
        compete(name, chosen.seeds, chosen.updates)


if __name__ == "__main__":
    main()
