"""STNDT on the Lorenz reference: co-bps of held-out neurons beside the published numbers.

    python benchmarks/stndt_lorenz.py [FOLDER] [--seeds 0 1 2] [--without 0 1] [--epochs N]

FOLDER holds lorenz48.h5 and lorenz48_truth.h5 (36 + 12 neurons, 50 + 10 bins of 20 ms; 512 training
and 128 evaluation trials). The recipe is fixed beforehand: 4 layers, 2 heads, dropout .2, attention
over 30 bins each way, learning rate 3e-3, 40 epochs of 8 updates. --without names the seeds of the
same without the contrastive loss. The evaluation trials are read once, at the end of a training;
nothing is chosen on them. The baselines' penalties and widths are chosen on every fifth training
trial, the others fit. The ensemble averages the rates of all seeds.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from machine import finished, publish, table

from nwbdyn import baselines
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import TEST, TRAIN, VAL, Split
from nwbdyn.metrics import co_bps, fp_bps, r2
from nwbdyn.models.base import Batch, Layout
from nwbdyn.models.stndt import MAPS, STNDT
from nwbdyn.recording import Neurons

EPOCHS = 40
RECIPE: dict[str, object] = {
    "dropout": 0.2,
    "dropout_embedding": 0.2,
    "dropout_rates": 0.2,
    "attend_back": 30,
    "attend_forward": 30,
    "learning_rate": 3e-3,
    "warmup": 5 / 40,
    "mask_token": 0.8,
    "mask_random": 0.9,
}
OBSERVED, HELD_IN, BIN_WIDTH = 50, 36, 0.02
COLUMNS = ("co-bps", "fp-bps", "R2 of rates", *(f"co-bps, {maps} maps" for maps in MAPS[1:]))


def tensor(file: Path, quantity: str, part: str) -> np.ndarray:
    """(num_trials, 60, 48) from the benchmark's four tensors of one part, held-in first."""
    with h5py.File(file) as h5:
        names = (f"{part}_{quantity}_{neurons}" for neurons in ("heldin", "heldout"))
        columns = [np.concatenate([h5[name], h5[f"{name}_forward"]], 1) for name in names]
    return np.concatenate(columns, 2).astype(np.float32)


def batches(counts: np.ndarray, generator: torch.Generator | None = None) -> Iterator[Batch]:
    """Batches of 64 trials, shuffled where there is a generator."""
    target = torch.from_numpy(counts)
    held_in = torch.arange(counts.shape[2]) < HELD_IN
    activity = target * held_in
    activity[:, OBSERVED:] = 0
    order = torch.arange(len(target))
    if generator is not None:
        order = torch.randperm(len(target), generator=generator)
    for rows in order.split(64):
        yield Batch(
            activity=activity[rows],
            target=target[rows],
            valid=torch.ones_like(target[rows], dtype=torch.bool),
            held_in=held_in,
            neuron_ids=torch.arange(counts.shape[2]),
            covariates=target.new_zeros(len(rows), counts.shape[1], 0),
            start_bin=rows,
            generator=generator,
        )


def train(counts: np.ndarray, seed: int, options: dict[str, object], epochs: int) -> STNDT:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    num_neurons = counts.shape[2]
    layout = Layout(
        neuron_ids={"0": tuple(range(num_neurons))},
        held_in={"0": tuple(n < HELD_IN for n in range(num_neurons))},
        bin_width=BIN_WIDTH,
        quantity="counts",
        trial_bins=(OBSERVED, counts.shape[1] - OBSERVED),
    )
    model = STNDT(STNDT.configure(layout, **(RECIPE | options)), layout)
    model.initialise(batches(counts))
    updates = -(-len(counts) // 64)
    optimiser, schedule = model.optimiser(epochs * updates, updates)
    clip_norm = model.config.clip_norm
    assert clip_norm is not None
    step = 0
    for _ in range(epochs):
        for batch in batches(counts, generator):
            optimiser.zero_grad()
            model.loss(batch, model(batch)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimiser.step()
            schedule.step()
            step += 1
            model.after_update(step)
    model.on_train_end(batches(counts))
    return model.eval()


@torch.no_grad()
def predict(model: STNDT, counts: np.ndarray, maps: str = "learned") -> np.ndarray:
    """(num_trials, 60, 48) expected counts per bin."""
    return torch.cat([model(batch, maps=maps).prediction for batch in batches(counts)]).numpy()


def score(model: STNDT, counts: np.ndarray, rates: np.ndarray) -> dict[str, float]:
    held_out = np.arange(counts.shape[2]) >= HELD_IN
    observed, prediction = counts[:, :OBSERVED], predict(model, counts)
    scores = {
        "co-bps": co_bps(observed, prediction[:, :OBSERVED], held_out),
        "fp-bps": fp_bps(counts, prediction, OBSERVED),
        "R2 of rates": rates_r2(rates, prediction),
    }
    for maps in MAPS[1:]:
        replaced = predict(model, counts, maps)[:, :OBSERVED]
        scores[f"co-bps, {maps} maps"] = co_bps(observed, replaced, held_out)
    return scores


def references(training: np.ndarray, evaluation: np.ndarray) -> dict[str, np.ndarray]:
    """Expected counts (num_trials, 50, 48) of the evaluation trials; NaN for held-in neurons."""
    num_training = len(training)
    counts = np.concatenate([training, evaluation])[:, :OBSERVED]
    trial = np.repeat(np.arange(len(counts)), OBSERVED)
    num_neurons = counts.shape[2]
    binned = Binned(
        session_id="lorenz48",
        values=counts.reshape(-1, num_neurons),
        time=(np.arange(len(trial)) + 0.5) * BIN_WIDTH,
        bin_width=BIN_WIDTH,
        valid=np.ones(len(trial), bool),
        segment=trial,
        neurons=Neurons(pd.DataFrame({"id": range(num_neurons)}), "unit"),
        quantity="counts",
        covariates=np.zeros((len(trial), 0), np.float32),
    )
    labels = np.where(trial >= num_training, TEST, np.where(trial % 5 == 4, VAL, TRAIN))
    held_in = np.arange(num_neurons) < HELD_IN
    split = Split(labels.astype(np.int8), held_in, seed=0, rule="trials")
    starts = np.arange(len(counts)) * OBSERVED
    found = baselines.co_smoothing(binned, split, starts, context=OBSERVED)
    return {
        name: baseline.prediction.reshape(counts.shape)[num_training:]
        for name, baseline in found.items()
    }


def rates_r2(rates: np.ndarray, prediction: np.ndarray) -> float:
    """R2 of the held-out neurons' rates in the observed bins, mean over neurons."""
    truth = rates[:, :OBSERVED, HELD_IN:].reshape(-1, rates.shape[2] - HELD_IN)
    return r2(truth, prediction[:, :OBSERVED, HELD_IN:].reshape(truth.shape))


def row(name: str, scores: dict[str, float]) -> list[object]:
    return [name, *(f"{scores[key]:.4f}" if key in scores else "" for key in COLUMNS)]


def summary(name: str, found: list[dict[str, float]]) -> list[object]:
    cells = []
    for key in COLUMNS:
        values = np.array([scores[key] for scores in found])
        spread = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
        cells.append(f"{values.mean():.4f}{spread}")
    return [f"**{name}, mean ± sd of {len(found)}**", *cells]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    default = Path(os.environ.get("NWBDYN_DATA", "../shared/data")) / "simulated" / "lorenz48"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--without", type=int, nargs="*", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    counts, truth = chosen.folder / "lorenz48.h5", chosen.folder / "lorenz48_truth.h5"
    training, evaluation = tensor(counts, "spikes", "train"), tensor(counts, "spikes", "eval")
    rates = tensor(truth, "rates", "eval")
    held_out = np.arange(evaluation.shape[2]) >= HELD_IN
    observed = evaluation[:, :OBSERVED]

    def fit(seed: int, options: dict[str, object]) -> dict[str, object]:
        model = train(training, seed, options, chosen.epochs)
        return {**score(model, evaluation, rates), "prediction": predict(model, evaluation)}

    rows: list[list[object]] = [
        row("true rates", {"co-bps": 0.385, "fp-bps": 0.4585}),
        ["published code", ".342-.345", ".401", ".757-.771", *[""] * 4],
        ["published code without contrast", ".320", *[""] * 6],
    ]
    for name, prediction in references(training, evaluation).items():
        values = co_bps(observed, prediction, held_out)
        rows.append(row(name, {"co-bps": values, "R2 of rates": rates_r2(rates, prediction)}))
    for label, seeds in (("with contrast", chosen.seeds), ("without contrast", chosen.without)):
        options: dict[str, object] = {} if label == "with contrast" else {"contrast": "none"}
        found: list[dict[str, float]] = []
        predictions: list[np.ndarray] = []
        for seed in seeds:
            part = f"{label.replace(' ', '-')}-{seed}-{chosen.epochs}"
            kept = finished(part, fit, seed, options)
            predictions.append(kept.pop("prediction"))
            found.append(kept)
            rows.append(row(f"{label}, seed {seed}", found[-1]))
            publish("stndt_lorenz", table(["fit", *COLUMNS], rows))
        if len(found) > 1:
            rows.append(summary(label, found))
            mean = np.mean(predictions, axis=0)
            scores = {
                "co-bps": co_bps(observed, mean[:, :OBSERVED], held_out),
                "fp-bps": fp_bps(evaluation, mean, OBSERVED),
                "R2 of rates": rates_r2(rates, mean),
            }
            rows.append(row(f"{label}, ensemble of {len(found)}", scores))
    publish("stndt_lorenz", table(["fit", *COLUMNS], rows))


if __name__ == "__main__":
    main()
