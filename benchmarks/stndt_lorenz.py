"""STNDT on the Lorenz reference: co-bps of held-out neurons beside the published numbers.

    python benchmarks/stndt_lorenz.py [FOLDER] [--seeds K] [--set key=value …]

FOLDER holds lorenz48.h5 and lorenz48_truth.h5 (36 + 12 neurons, 50 + 10 bins of 20 ms; 512 training
and 128 evaluation trials). The recipe is fixed beforehand: 4 layers, 2 heads, dropout .2, attention
over 30 bins each way, learning rate 3e-3, 40 epochs of 8 updates. The evaluation trials are read
once, at the end of a training; nothing is chosen on them.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch
from machine import publish, table

from nwbdyn.metrics import co_bps, fp_bps
from nwbdyn.models.base import Batch, Layout
from nwbdyn.models.stndt import MAPS, STNDT

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
OBSERVED, HELD_IN = 50, 36


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


def train(counts: np.ndarray, seed: int, options: dict[str, object]) -> tuple[STNDT, float]:
    """A trained model and the milliseconds that one update took."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    num_neurons = counts.shape[2]
    layout = Layout(
        neuron_ids={"0": tuple(range(num_neurons))},
        held_in={"0": tuple(n < HELD_IN for n in range(num_neurons))},
        bin_width=0.02,
        quantity="counts",
        trial_bins=(OBSERVED, counts.shape[1] - OBSERVED),
    )
    model = STNDT(STNDT.configure(layout, **(RECIPE | options)), layout)
    model.initialise(batches(counts))
    updates = -(-len(counts) // 64)
    optimiser, schedule = model.optimiser(EPOCHS * updates, updates)
    step, begun = 0, time.perf_counter()
    for _ in range(EPOCHS):
        for batch in batches(counts, generator):
            optimiser.zero_grad()
            model.loss(batch, model(batch)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), model.config.clip_norm)
            optimiser.step()
            schedule.step()
            step += 1
            model.after_update(step)
    spent = (time.perf_counter() - begun) / step
    model.finish(batches(counts))
    return model.eval(), 1e3 * spent


@torch.no_grad()
def predict(model: STNDT, counts: np.ndarray, maps: str = "learned") -> np.ndarray:
    """(num_trials, 60, 48) expected counts per bin."""
    return torch.cat([model(batch, maps=maps).prediction for batch in batches(counts)]).numpy()


def score(model: STNDT, counts: np.ndarray, rates: np.ndarray) -> dict[str, float]:
    held_out = np.arange(counts.shape[2]) >= HELD_IN
    observed, prediction = counts[:, :OBSERVED], predict(model, counts)
    truth, guess = rates[:, :OBSERVED, HELD_IN:], prediction[:, :OBSERVED, HELD_IN:]
    residual = ((truth - guess) ** 2).sum((0, 1))
    total = ((truth - truth.mean((0, 1))) ** 2).sum((0, 1))
    scores = {
        "co-bps": co_bps(observed, prediction[:, :OBSERVED], held_out),
        "fp-bps": fp_bps(counts, prediction, OBSERVED),
        "R2 of held-out rates": float((1 - residual / total).mean()),
    }
    for maps in MAPS[1:]:
        replaced = predict(model, counts, maps)[:, :OBSERVED]
        scores[f"co-bps, {maps} maps"] = co_bps(observed, replaced, held_out)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    here = Path(__file__).resolve().parents[2] / "shared" / "data"
    data = Path(os.environ.get("NWBDYN_DATA", here))
    parser.add_argument("folder", nargs="?", type=Path, default=data / "simulated" / "lorenz48")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    options: dict[str, object] = {}
    for each in arguments.set:
        key, _, value = each.partition("=")
        options[key] = value if value.isalpha() else float(value)
    counts, truth = arguments.folder / "lorenz48.h5", arguments.folder / "lorenz48_truth.h5"
    training, evaluation = tensor(counts, "spikes", "train"), tensor(counts, "spikes", "eval")
    rates = tensor(truth, "rates", "eval")
    columns = []
    for seed in range(arguments.seeds):
        model, milliseconds = train(training, seed, options)
        scores = score(model, evaluation, rates) | {"ms per update": milliseconds}
        print(seed, " ".join(f"{name} {value:.4f}" for name, value in scores.items()), flush=True)
        columns.append(scores)
    rows = []
    for name in columns[0]:
        values = np.array([scores[name] for scores in columns])
        spread = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
        rows.append([name, f"{values.mean():.4f}{spread}"])
    given = f", {' '.join(arguments.set)}" if arguments.set else ""
    publish(
        "stndt_lorenz" + "".join(f"_{each}" for each in arguments.set),
        f"STNDT, Lorenz reference, {len(columns)} seeds (mean ± sd){given}. True rates reach "
        f"co-bps .385 and fp-bps .4585; the published code .342-.345, .401 and R2 .757-.771.\n\n"
        + table(["evaluation trials", "value"], rows),
    )


if __name__ == "__main__":
    main()
