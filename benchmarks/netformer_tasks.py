"""NetFormer on task-trained networks: published numbers beside ours, seed by seed.

    python benchmarks/netformer_tasks.py [FOLDER] [--seeds K] [--epochs N]

FOLDER holds PerceptualDecisionMaking/rnn4 and GoNogo/rnn8: hidden activity and inputs of 1,000
trials and the true recurrent weights. Trials 0-799 train, 800-999 test, nothing is standardised and
no weight is chosen on test. Inputs are tokens that are heard and not predicted, shifted so that the
column of a bin holds the stimulus of the next. GoNogo has two distinct trials only: its test trials
are copies of training trials, and its R2 says nothing about generalisation.

"oracle link" replaces the paper's form by x(k+1) = tanh((I + A) x(k) + U s(k+1) + b), which is how
the networks work; nobody knows that of a brain.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from machine import publish, table

from nwbdyn.metrics import agreement, r2
from nwbdyn.models.base import Batch, Layout
from nwbdyn.models.netformer import PRESETS, NetFormer

NUM_TRAIN = 800
TASKS = {"PerceptualDecisionMaking/rnn4": "task_pdm", "GoNogo/rnn8": "task_gonogo"}
PUBLISHED = {"task_pdm": (0.694, 0.760, 0.9975), "task_gonogo": (0.622, 0.722, 0.972)}
ORACLE = {"history": 1, "layer_norm": False, "link": "tanh", "baseline": True}


def windows(folder: Path, history: int) -> tuple[Batch, Batch, Layout]:
    """All windows of the training trials and of the test trials, none across two trials."""
    hidden = torch.tensor(np.load(folder / "hidden_activity_alltrials.npy")).float()
    inputs = torch.tensor(np.load(folder / "inputs_alltrials.npy")).float()
    num_neurons = hidden.shape[2]
    layout = Layout(
        neuron_ids={"0": tuple(range(num_neurons))},
        held_in={"0": (True,) * num_neurons},
        bin_width=0.1,
        quantity="dff",
        num_covariates=inputs.shape[2],
    )
    parts = []
    for trials in (slice(0, NUM_TRAIN), slice(NUM_TRAIN, None)):
        past = hidden[trials, :-1].unfold(1, history, 1)  # (trials, windows, n, H)
        stimulus = inputs[trials, 1:].unfold(1, history, 1)  # one bin ahead
        target = hidden[trials, history:].flatten(0, 1)[:, None]
        parts.append(
            Batch(
                activity=past.flatten(0, 1).mT.contiguous(),
                target=target,
                valid=torch.ones_like(target, dtype=torch.bool),
                held_in=torch.ones(num_neurons, dtype=torch.bool),
                neuron_ids=torch.arange(num_neurons),
                covariates=stimulus.flatten(0, 1).mT.contiguous(),
                start_bin=torch.arange(len(target)),
            )
        )
    return parts[0], parts[1], layout


def rows_of(batch: Batch, rows: torch.Tensor) -> Batch:
    return replace(
        batch,
        activity=batch.activity[rows],
        target=batch.target[rows],
        valid=batch.valid[rows],
        covariates=batch.covariates[rows],
        start_bin=batch.start_bin[rows],
    )


def fit(
    folder: Path, seed: int, options: dict[str, object]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean attention and mean Jacobian over test windows (n, n), and R2 of the next bin."""
    history = {**PRESETS[str(options["preset"])], **options}["history"]
    assert isinstance(history, int)
    training, test, layout = windows(folder, history)
    config = NetFormer.configure(layout, **options)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = NetFormer(config, layout)
    model.initialise([training])
    optimiser, _ = model.optimiser(1, 1)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(config.epochs):
        order = torch.randperm(len(training.target), generator=generator)
        for rows in order.split(config.batch_size):
            batch = rows_of(training, rows)
            optimiser.zero_grad()
            model.loss(batch, model(batch)).backward()
            optimiser.step()
    model.eval()
    with torch.no_grad():
        prediction = model(test).prediction[:, 0].numpy()
        attention = model.attention(test).mean(0).numpy()
    jacobian = model.influence(test).mean(0).numpy()
    return attention, jacobian, r2(test.target[:, 0].numpy(), prediction)


def unit(matrix: np.ndarray) -> np.ndarray:
    """Scaled to unit root mean square off the diagonal."""
    off = ~np.eye(len(matrix), dtype=bool)
    return matrix / np.sqrt((matrix[off] ** 2).mean())


def score(matrix: np.ndarray, truth: np.ndarray) -> list[str]:
    found = agreement(matrix, truth)
    return [f"{found['spearman']:.3f}", f"{found['pearson']:.3f}"]


def main() -> None:
    default = Path(os.environ.get("NWBDYN_DATA", "../shared/data")) / "simulated/taskrnn"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int)
    chosen = parser.parse_args()
    length = {} if chosen.epochs is None else {"epochs": chosen.epochs}
    lines: list[list[object]] = []
    for task, preset in TASKS.items():
        folder = chosen.folder / task
        truth = np.load(folder / "W_hidden_GT.npy")
        rank, linear, explained = PUBLISHED[preset]
        lines.append([preset, "published mean, 5 seeds", rank, linear, explained])
        for form, more in {"paper's form": {}, "oracle link": ORACLE}.items():
            options = {"preset": preset, **more, **length}
            fits = [fit(folder, seed, options) for seed in range(chosen.seeds)]
            for seed, (attention, _, explained) in enumerate(fits):
                values = [*score(attention, truth), f"{explained:.4f}"]
                lines.append([preset, f"{form}, seed {seed}", *values])
                print(lines[-1], flush=True)
            for name, which in {"attention": 0, "Jacobian": 1}.items():
                mean = np.mean([unit(found[which]) for found in fits], axis=0)
                label = f"{form}, mean {name} of {len(fits)}"
                lines.append([preset, label, *score(mean, truth), ""])
    publish("netformer_tasks", table(["task", "fit", "Spearman", "Pearson", "R2"], lines))


if __name__ == "__main__":
    main()
