"""Four freely moving worms: forecasts beside baselines, and couplings beside the connectome.

    python benchmarks/worms.py [FOLDER] [--worms K] [--folds F] [--set model.key=value …]

FOLDER holds ophys/celegans_dag2023_*.nwb (Dag et al. 2023) and truth/ with the connectome of White
et al. 1986 (NemaNode's version). Every worm is cut into five folds by blocks of time (one block
each: 800 frames are too short for more), and each is left out once. NetFormer and SynapsNet are
fitted with the package's defaults.

Forecasts, 5 frames (3 s) ahead, over the test bins of each fold: R2 about the mean of the test
block, so that slow drifts earn nothing; beside persistence and AR (its order chosen on validation,
refitted to the distance), each model's difference from the better of the two by fold, and the
effective number of samples: bins over 1 + 2 (sum of the autocorrelations of block-centred activity
up to the first that is not positive), the median over neurons. Below 10 the comparison is called
inconclusive. R2 is the median over neurons: a mean, and a ratio of sums, are decided by the few
neurons that are all but constant in a block or that move 40 training sd in another.

Connectome, fixed before the first run:
- neurons: those with an identity of confidence 3 or more that the connectome knows; of two with one
  name the surer, then the first;
- estimate: the model's mean coupling over windows, scaled to unit root mean square off the
  diagonal, averaged over the five folds; S = (|W| + |W|^T) / 2;
- truth: an undirected edge where either neuron has a chemical synapse on the other;
- statistic: AUROC of S over pairs i < j;
- null: 1,000 permutations of the names among neurons of one type (sensory, interneuron, motor),
  p = (1 + number at or above) / 1,001, one-sided; Fisher's combination over worms;
- beside it the same of |Pearson correlation| of the whole recording and of VAR ridge.
Nothing was chosen on these scores. The connectome is one and many neurons are the same in all
worms, so the four p are not independent of one another; Fisher's method takes them as such.
"""

import argparse
import json
import os
import re
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from machine import finished, publish, table
from scipy import stats

import nwbdyn
from nwbdyn import baselines, metrics
from nwbdyn.data import binning, splits
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import Split
from nwbdyn.data.windows import Windows
from nwbdyn.inference.readout import connectivity
from nwbdyn.inference.rollout import roll_out
from nwbdyn.models import load
from nwbdyn.models.base import Layout
from nwbdyn.training.trainer import train

HORIZON, FOLDS = 5, 5
GAP = 16  # frames between parts, and of history for the baselines; NetFormer sees as many
MODELS = ("netformer", "synapsnet")
SIMPLE = ("persistence", "AR", "VAR ridge")
CONFIDENCE, NUM_PERMUTATIONS = 3, 1000
FEWEST_SAMPLES = 10
WEIGHTS = ("|correlation|", "VAR ridge", *MODELS)
PADDED = re.compile(r"^(AS|DA|DB|DD|VA|VB|VC|VD)(\d)$")


def chemical(file: Path) -> tuple[set[str], set[frozenset[str]]]:
    """Names in the connectome and the pairs that a chemical synapse joins."""
    names: set[str] = set()
    pairs: set[frozenset[str]] = set()
    for entry in json.loads(file.read_text()):
        ends = [PADDED.sub(r"\g<1>0\2", entry[side]) for side in ("pre", "post")]
        names.update(ends)
        if entry["typ"] == 0 and ends[0] != ends[1]:
            pairs.add(frozenset(ends))
    return names, pairs


def identified(neurons: pd.DataFrame, known: set[str]) -> np.ndarray:
    """Rows of the neurons that are compared."""
    label = neurons["neuron_label"].astype(str)
    confidence = neurons["label_confidence"].astype(float)
    usable = (confidence >= CONFIDENCE) & label.isin(known)
    ordered = neurons[usable].assign(sure=-confidence[usable], row=np.flatnonzero(usable))
    ordered = ordered.sort_values(["sure", "row"]).drop_duplicates("neuron_label")
    return np.sort(ordered["row"].to_numpy())


def against_connectome(
    weight: np.ndarray, names: np.ndarray, types: np.ndarray, pairs: set[frozenset[str]], seed: int
) -> tuple[float, float, float]:
    """AUROC, mean AUROC of permuted names, p."""
    number = len(names)
    joined = np.array([[frozenset((a, b)) in pairs for b in names] for a in names])
    upper = np.triu_indices(number, 1)
    size = (np.abs(weight) + np.abs(weight).T)[upper]
    random = np.random.default_rng(seed)
    null = np.empty(NUM_PERMUTATIONS)
    for draw in range(NUM_PERMUTATIONS):
        order = np.arange(number)
        for kind in np.unique(types):
            members = np.flatnonzero(types == kind)
            order[members] = random.permutation(members)
        null[draw] = metrics.auroc(size, joined[np.ix_(order, order)][upper])
    result = metrics.auroc(size, joined[upper])
    return result, float(null.mean()), float((1 + (null >= result).sum()) / (1 + len(null)))


def unit(weight: np.ndarray) -> np.ndarray:
    """Scaled to unit root mean square off the diagonal; zeros stay zeros."""
    size = np.sqrt((weight[~np.eye(len(weight), dtype=bool)] ** 2).mean())
    return weight / size if size else weight


def fit(
    name: str, binned: Binned, split: Split, options: Mapping[str, object]
) -> tuple[np.ndarray, np.ndarray]:
    """Forecast at HORIZON (num_bins, N), NaN outside the test bins, and the mean coupling."""
    model_class = load(name)
    ids = tuple(range(binned.num_neurons))
    layout = Layout({"0": ids}, {"0": (True,) * len(ids)}, binned.bin_width, binned.quantity)
    config = model_class.configure(layout, **options)
    windows = Windows(binned, split, model_class.windows(config, layout))
    candidates = model_class.candidates(config, layout, len(windows.starts("train")))
    cpu = torch.device("cpu")
    fits = [train(model_class, each, layout, windows, seed=0, device=cpu) for each in candidates]
    model = min(fits, key=lambda result: result.best).model
    forecast = roll_out(model, windows, horizons=[HORIZON], splits=["test"])[HORIZON]
    return forecast, np.asarray(connectivity(model, windows).mean())


def blocks(split: Split) -> np.ndarray:
    """(num_bins,) number of the test block of each bin, -1 outside."""
    test = split.bins("test")
    begins = test & ~np.concatenate([[False], test[:-1]])
    return np.where(test, np.cumsum(begins) - 1, -1)


def centred(values: np.ndarray, block: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Values less the mean of their block over the bins in use; NaN elsewhere."""
    result = np.full(values.shape, np.nan)
    for number in np.unique(block[used]):
        rows = used & (block == number)
        result[rows] = values[rows] - values[rows].mean(0)
    return result


def r2_about_blocks(values: np.ndarray, forecast: np.ndarray, about: np.ndarray) -> float:
    """Median over neurons of 1 - squared error / squared deviation from the block's mean."""
    used = np.isfinite(about).all(axis=1)
    error = ((values[used] - forecast[used]) ** 2).sum(0)
    return float(np.median(1 - error / (about[used] ** 2).sum(0)))


def effective_samples(about: np.ndarray, block: np.ndarray) -> float:
    """Median over neurons of the number of bins over the autocorrelation time."""
    used = np.isfinite(about).all(axis=1)
    lags = range(1, max(int((used & (block == b)).sum()) for b in np.unique(block[used])))
    numbers = []
    for trace in about.T:
        variance, time = float(np.nanmean(trace**2)), 1.0
        for lag in lags:
            same = used[lag:] & used[:-lag] & (block[lag:] == block[:-lag])
            r = float((trace[lag:][same] * trace[:-lag][same]).mean()) / variance
            if r <= 0:
                break
            time += 2 * r
        numbers.append(used.sum() / time)
    return float(np.median(numbers))


class Worm:
    """Results of every method on one recording, fold by fold."""

    def __init__(self, path: Path, options: Mapping[str, Mapping[str, object]], folds: int) -> None:
        with nwbdyn.open(str(path)) as recording:
            self.binned = binning.bin_recording(recording)
        self.values = self.binned.values.astype(float)
        self.name = path.stem.removeprefix("celegans_dag2023_")
        self.r2: dict[str, list[float]] = {name: [] for name in (*SIMPLE, *MODELS)}
        self.weights: dict[str, list[np.ndarray]] = {name: [] for name in WEIGHTS[1:]}
        self.samples = 0.0
        for number in range(folds):
            result = finished(f"{self.name}-{number}-simple", self._simple, number)
            for name in MODELS:
                given = options.get(name, {})
                changed = zlib.crc32(json.dumps(given).encode())
                part = f"{self.name}-{number}-{name}-{changed}"
                result |= finished(part, self._model, number, name, given)
            self.samples += result["samples"]
            for name in self.r2:
                self.r2[name].append(result[f"r2 {name}"])
            for name in self.weights:
                self.weights[name].append(result[f"weight {name}"])
            print(self.name, number, {k: round(v[-1], 3) for k, v in self.r2.items()}, flush=True)

    def _split(self, number: int) -> Split:
        return splits.make(self.binned, seed=0, hold_out=False, gap=GAP, fold=(number, FOLDS))

    def _scored(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """Test bins as far from their block's start as a roll-out goes, less the block's mean."""
        block = blocks(split)
        used = split.bins("test") & self.binned.valid
        used[HORIZON - 1 :] &= block[HORIZON - 1 :] == block[: 1 - HORIZON]
        used[: HORIZON + GAP - 1] = False  # no history
        return centred(self.values, block, used), block

    def _simple(self, number: int) -> dict[str, np.ndarray | float]:
        """R2 of the baselines, the coupling of VAR ridge, and the number of samples."""
        split = self._split(number)
        about, block = self._scored(split)
        ahead = baselines.next_bin(self.binned, split, context=GAP, horizon=HORIZON)
        one = baselines.next_bin(self.binned, split, context=GAP)["VAR ridge"].coupling
        assert one is not None
        return {
            "weight VAR ridge": unit(one),
            "samples": effective_samples(about, block),
            **{
                f"r2 {name}": r2_about_blocks(self.values, ahead[name].prediction, about)
                for name in SIMPLE
            },
        }

    def _model(
        self, number: int, name: str, options: Mapping[str, object]
    ) -> dict[str, np.ndarray | float]:
        """R2 and mean coupling of a model."""
        split = self._split(number)
        forecast, weight = fit(name, self.binned, split, options)
        about, _ = self._scored(split)
        return {
            f"weight {name}": unit(weight),
            f"r2 {name}": r2_about_blocks(self.values, forecast, about),
        }

    def forecasts(self) -> list[object]:
        """A row: R2 at the horizon of each method, and each model against the better simple one."""
        simple = max(SIMPLE[:2], key=lambda name: float(np.mean(self.r2[name])))
        cells = [f"{np.mean(self.r2[name]):.3f}" for name in (*SIMPLE, *MODELS)]
        for name in MODELS:
            gain = np.array(self.r2[name]) - np.array(self.r2[simple])
            above = int((gain > 0).sum())
            spread = f" ± {gain.std(ddof=1):.3f}" if len(gain) > 1 else ""
            cells.append(f"{gain.mean():+.3f}{spread}, {above} of {len(gain)} folds")
        verdict = "" if self.samples >= FEWEST_SAMPLES else " inconclusive"
        return [self.name, *cells, f"{self.samples:.0f}{verdict}"]

    def wiring(
        self, known: set[str], pairs: set[frozenset[str]]
    ) -> tuple[dict[str, tuple[float, float, float]], int]:
        """AUROC, null mean and p of each estimate; the number of neurons compared."""
        neurons = self.binned.neurons.table
        rows = identified(neurons, known)
        names = neurons["neuron_label"].astype(str).to_numpy()[rows]
        types = neurons["cell_type"].astype(str).to_numpy()[rows]
        estimates = {name: np.mean(result, axis=0) for name, result in self.weights.items()}
        estimates["|correlation|"] = np.corrcoef(self.binned.values[self.binned.valid].T)
        seed = zlib.crc32(self.name.encode())
        result = {
            name: against_connectome(estimates[name][np.ix_(rows, rows)], names, types, pairs, seed)
            for name in WEIGHTS
        }
        return result, len(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = Path(os.environ.get("NWBDYN_DATA", "../shared/data"))
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--worms", type=int)
    parser.add_argument("--folds", type=int, default=FOLDS)
    parser.add_argument("--set", action="append", default=[], metavar="MODEL.KEY=VALUE")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    options: dict[str, dict[str, object]] = {}
    for each in chosen.set:
        key, _, value = each.partition("=")
        model, _, option = key.partition(".")
        options.setdefault(model, {})[option] = json.loads(value)
    truth = chosen.folder / "truth" / "celegans_connectome_white_1986_whole.json"
    known, pairs = chemical(truth)
    files = sorted((chosen.folder / "ophys").glob("celegans_dag2023_*.nwb"))[: chosen.worms]
    forecasts: list[list[object]] = []
    agreement: list[list[object]] = []
    p: dict[str, list[float]] = {name: [] for name in WEIGHTS}
    for path in files:
        worm = Worm(path, options, chosen.folds)
        forecasts.append(worm.forecasts())
        result, number = worm.wiring(known, pairs)
        cells = []
        for name, (auroc, null, chance) in result.items():
            p[name].append(chance)
            cells.append(f"{auroc:.3f} ({null:.3f}), p {chance:.3f}")
        agreement.append([worm.name, number, *cells])
        combined = [f"p {stats.combine_pvalues(values).pvalue:.2g}" for values in p.values()]
        above = [f"{name} above the better simple one" for name in MODELS]
        publish(
            "_".join(["worms", *(each.replace("=", "_") for each in chosen.set)]),
            f"R2 {HORIZON} frames ahead about the test block's mean, median over neurons, mean of "
            f"{chosen.folds} folds.\n\n"
            + table(["worm", *SIMPLE, *MODELS, *above, "effective samples"], forecasts)
            + "\n\nAUROC against the chemical synapses of White 1986 (in brackets: mean of "
            f"{NUM_PERMUTATIONS} permutations of names within type).\n\n"
            + table(
                ["worm", "neurons", *WEIGHTS],
                [*agreement, ["combined (Fisher)", "", *combined]],
            ),
        )


if __name__ == "__main__":
    main()
