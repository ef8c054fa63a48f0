"""STNDT as it ships on the Lorenz reference: co-bps of held-out neurons beside published numbers.

    python benchmarks/stndt_lorenz.py [FOLDER] [--seeds 0 1 2] [--without 0 1] [--updates N]

FOLDER holds lorenz48.h5 and lorenz48_truth.h5 (36 + 12 neurons, 50 + 10 bins of 20 ms; 512 training
and 128 evaluation trials). Every option has its default. Every fifth training trial validates: it
chooses the baselines' penalties and widths, the weights of a training, whether what was trained on
top of the baseline is kept, and its weight in the average with the baseline. The evaluation trials
are the test trials: they are read once, at the end, and nothing is chosen on them. --without names
the seeds of the same without the contrastive loss. The mean of seeds averages their rates.
"""

import argparse
import os
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from machine import finished, publish, table

from nwbdyn import baselines
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import TEST, TRAIN, VAL, Split
from nwbdyn.data.windows import Windows
from nwbdyn.inference import readout
from nwbdyn.metrics import co_bps, fp_bps, r2
from nwbdyn.models.base import Layout, WindowSpec
from nwbdyn.models.stndt import MAPS, STNDT
from nwbdyn.recording import Neurons
from nwbdyn.training.baseline_start import shared
from nwbdyn.training.trainer import train

OBSERVED, HELD_IN, BIN_WIDTH = 50, 36, 0.02
COLUMNS = ("co-bps", "fp-bps", "R2 of rates", *(f"co-bps, {maps} maps" for maps in MAPS[1:]))


def tensor(file: Path, quantity: str, part: str) -> np.ndarray:
    """(num_trials, 60, 48) from the benchmark's four tensors of one part, held-in first."""
    with h5py.File(file) as h5:
        names = (f"{part}_{quantity}_{neurons}" for neurons in ("heldin", "heldout"))
        columns = [np.concatenate([h5[name], h5[f"{name}_forward"]], 1) for name in names]
    return np.concatenate(columns, 2).astype(np.float32)


class Trials:
    """Training and evaluation trials, one after another on the clock of a recording."""

    def __init__(self, training: np.ndarray, evaluation: np.ndarray) -> None:
        counts = np.concatenate([training, evaluation])
        number, length, neurons = counts.shape
        self.evaluation, self.shape = evaluation, counts.shape
        self.held_out = np.arange(neurons) >= HELD_IN
        trial = np.repeat(np.arange(number), length)
        binned = Binned(
            session_id="lorenz48",
            values=counts.reshape(-1, neurons),
            time=(np.arange(len(trial)) + 0.5) * BIN_WIDTH,
            bin_width=BIN_WIDTH,
            valid=np.ones(len(trial), bool),
            segment=trial,
            neurons=Neurons(pd.DataFrame({"id": range(neurons)}), "unit"),
            quantity="counts",
            covariates=np.zeros((len(trial), 0), np.float32),
        )
        labels = np.where(trial >= len(training), TEST, np.where(trial % 5 == 4, VAL, TRAIN))
        split = Split(labels.astype(np.int8), ~self.held_out, seed=0, rule="trials")
        spec = WindowSpec(OBSERVED, length - OBSERVED, "counts")
        self.windows = Windows(binned, split, spec, starts=np.arange(number) * length)
        self.layout = Layout(
            neuron_ids={"0": tuple(range(neurons))},
            held_in={"0": tuple((~self.held_out).tolist())},
            bin_width=BIN_WIDTH,
            quantity="counts",
            trial_bins=(OBSERVED, length - OBSERVED),
        )

    def test_rates(self, prediction: np.ndarray) -> np.ndarray:
        """(num_trials, 60, 48) of the evaluation trials, from a prediction on the clock."""
        return prediction.reshape(self.shape)[-len(self.evaluation) :]

    def co_bps(self, rates: np.ndarray) -> float:
        return co_bps(self.evaluation[:, :OBSERVED], rates[:, :OBSERVED], self.held_out)


@cache
def trials(folder: Path) -> Trials:
    counts = folder / "lorenz48.h5"
    return Trials(tensor(counts, "spikes", "train"), tensor(counts, "spikes", "eval"))


def fit(folder: Path, seed: int, options: dict[str, object]) -> dict[str, object]:
    """Scores of one training, and the rates of the evaluation trials."""
    made = trials(folder)
    trained = train(
        STNDT,
        STNDT.configure(made.layout, **options),
        made.layout,
        made.windows,
        seed=seed,
        device=torch.device("cpu"),
    )
    model, result = trained.model, trained.on_baseline
    assert result is not None

    def rates(share: float, maps: str = "learned") -> np.ndarray:
        with shared(model, share):
            return made.test_rates(readout.predict(model, made.windows, maps=maps))

    used = model.share
    note = "kept" if result.kept else f"validation kept {result.baseline}"
    note += f", {result.gain.mean:+.4f} ± {result.gain.error:.4f} bits per spike"
    note += f", epoch {trained.best_epoch} of {len(trained.history)}"
    scores: dict[str, object] = {
        "note": note,
        "weight": result.weight,
        "rates": rates(used),
        "trained": rates(1.0),
        "average": rates(result.weight),
    }
    for maps in MAPS[1:]:
        scores[f"co-bps, {maps} maps"] = made.co_bps(rates(1.0, maps))
    return scores


def rates_r2(rates: np.ndarray, prediction: np.ndarray) -> float:
    """R2 of the held-out neurons' rates in the observed bins, mean over neurons."""
    truth = rates[:, :OBSERVED, HELD_IN:].reshape(-1, rates.shape[2] - HELD_IN)
    return r2(truth, prediction[:, :OBSERVED, HELD_IN:].reshape(truth.shape))


def scores(made: Trials, truth: np.ndarray, rates: np.ndarray) -> dict[str, float]:
    return {
        "co-bps": made.co_bps(rates),
        "fp-bps": fp_bps(made.evaluation, rates, OBSERVED),
        "R2 of rates": rates_r2(truth, rates),
    }


def row(name: str, values: dict[str, float]) -> list[object]:
    return [name, *(f"{values[key]:.4f}" if key in values else "" for key in COLUMNS)]


def references(made: Trials, truth: np.ndarray) -> list[list[object]]:
    rows: list[list[object]] = [
        row("true rates", {"co-bps": 0.385, "fp-bps": 0.4585}),
        ["published code", ".342-.345", ".401", ".757-.771", *[""] * 4],
        ["published code without contrast", ".320", *[""] * 6],
    ]
    for name, baseline in baselines.co_smoothing_of(made.windows).items():
        rates = made.test_rates(baseline.prediction)
        values = {"co-bps": made.co_bps(rates), "R2 of rates": rates_r2(truth, rates)}
        rows.append(row(name, values))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = Path(os.environ.get("NWBDYN_DATA", "../shared/data")) / "simulated" / "lorenz48"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--without", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--updates", type=int, help="instead of the default number")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    made = trials(chosen.folder)
    truth = tensor(chosen.folder / "lorenz48_truth.h5", "rates", "eval")
    length: dict[str, object] = {} if chosen.updates is None else {"updates": chosen.updates}
    rows = references(made, truth)
    for label, seeds in (("", chosen.seeds), (" without contrast", chosen.without)):
        options = length | ({"contrast": "none"} if label else {})
        result: list[np.ndarray] = []
        for seed in seeds:
            part = f"seed{label.replace(' ', '-')}-{seed}-{chosen.updates}"
            kept = finished(part, fit, chosen.folder, seed, options)
            result.append(kept["rates"])
            name = f"stndt{label}, seed {seed}"
            rows.append(row(f"**{name}** ({kept['note']})", scores(made, truth, result[-1])))
            whole = scores(made, truth, kept["trained"])
            maps = {key: kept[key] for key in COLUMNS if key in kept}
            rows.append(row(f"{name}, transformer on its baseline", whole | maps))
            average = scores(made, truth, kept["average"])
            rows.append(row(f"{name}, average ({kept['weight']:.1f} of it)", average))
            publish("stndt_lorenz", table(["fit", *COLUMNS], rows))
        if len(result) > 1:
            mean = scores(made, truth, np.mean(result, axis=0))
            rows.append(row(f"**stndt{label}, mean of {len(result)} seeds**", mean))
    publish("stndt_lorenz", table(["fit", *COLUMNS], rows))


if __name__ == "__main__":
    main()
