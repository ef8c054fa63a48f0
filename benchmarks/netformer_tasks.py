"""NetFormer on task-trained networks: published numbers beside ours, seed by seed.

    python benchmarks/netformer_tasks.py [FOLDER] [--forms paper oracle] [--tasks NAME …]
        [--seeds K] [--epochs N]

FOLDER holds one folder per task and network (PerceptualDecisionMaking/rnn4, GoNogo/rnn8,
DelayComparison/…) with hidden activity and inputs of 1,000 trials and the true recurrent weights.
Trials 0-799 train, 800-999 test, nothing is standardised and nothing is chosen on test. Inputs are
tokens that are heard and not predicted, shifted so that the column of a bin holds the stimulus of
the next. Couplings are means over test windows, scored off the diagonal. GoNogo has two distinct
trials only: its test trials are copies of training trials, and its R2 says nothing about
generalisation.

"oracle link" replaces the paper's form by x(k+1) = tanh(x(k) + A x(k) + U s(k+1) + b), which is how
the networks work; nobody knows that of a brain. Its form, loss and course are chosen among STATES,
LOSSES and COURSES by the squared error of the activity on trials 720-799 of models trained on the
trials before; then all 800 train. The loss "before tanh" compares the linear part with arctanh of
the target: there, units near saturation count as much as any.
--choice-share shortens the trainings that choose.
"""

import argparse
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import stacked
import torch
from machine import finished, publish, table
from scipy import stats

from nwbdyn.metrics import agreement, r2
from nwbdyn.models.base import Batch, Layout
from nwbdyn.models.netformer import NetFormer
from nwbdyn.models.netformer import NetFormerConfig as Config

NUM_TRAIN, NUM_FIT = 800, 720  # trials; of the first, those that train while choosing
GROUP = 5  # seeds of one ensemble
PRESET = {
    "PerceptualDecisionMaking": "task_pdm",
    "GoNogo": "task_gonogo",
    "DelayComparison": "task_delay",
}
PUBLISHED = {  # Spearman, Pearson, R2: means over 5 seeds
    "task_pdm": (0.694, 0.760, 0.9975),
    "task_gonogo": (0.622, 0.722, 0.972),
    "task_delay": (0.810, 0.632, 0.997),
}
ORACLE: dict[str, object] = {"history": 1, "layer_norm": False, "link": "tanh", "baseline": True}
STATES = {"A(t)": False, "constant A": True}  # queries and keys see the activity, or do not
LOSSES = {"activity": "tanh", "before tanh": "identity"}  # the link while training
COURSES: dict[str, Callable[[float], float]] = {
    "constant rate": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
}
CHOICE_SEEDS = 2
HEADER = ("task", "fit", "Spearman", "Pearson", "R2")
Row = list[object]


def tasks(folder: Path) -> list[Path]:
    """The networks of FOLDER whose task has published options."""
    result = sorted(path.parent for path in folder.glob("*/*/W_hidden_GT.npy"))
    return [path for path in result if path.parent.name in PRESET]


def windows(folder: Path, history: int, trials: slice) -> tuple[Batch, Layout]:
    """All windows of some trials, none across two trials."""
    hidden = torch.tensor(np.load(folder / "hidden_activity_alltrials.npy")).float()[trials]
    inputs = torch.tensor(np.load(folder / "inputs_alltrials.npy")).float()[trials]
    num_neurons = hidden.shape[2]
    layout = Layout(
        neuron_ids={"0": tuple(range(num_neurons))},
        held_in={"0": (True,) * num_neurons},
        bin_width=0.1,
        quantity="dff",
        num_covariates=inputs.shape[2],
    )
    past = hidden[:, :-1].unfold(1, history, 1)  # (trials, windows, n, H)
    stimulus = inputs[:, 1:].unfold(1, history, 1)  # one bin ahead
    target = hidden[:, history:].flatten(0, 1)[:, None]
    batch = Batch(
        activity=past.flatten(0, 1).mT.contiguous(),
        target=target,
        valid=torch.ones_like(target, dtype=torch.bool),
        held_in=torch.ones(num_neurons, dtype=torch.bool),
        neuron_ids=torch.arange(num_neurons),
        covariates=stimulus.flatten(0, 1).mT.contiguous(),
        start_bin=torch.arange(len(target)),
    )
    return batch, layout


def fit(
    folder: Path,
    config: Config,
    num_seeds: int,
    course: str,
    *,
    loss: str | None = None,
    num_trials: int = NUM_TRAIN,
) -> list[NetFormer]:
    """One trained model per seed."""
    training, layout = windows(folder, config.history, slice(num_trials))
    while_training = replace(config, link=LOSSES[loss]) if loss else config
    if while_training.link != config.link:
        training = replace(training, target=training.target.double().atanh().float())
    models = stacked.seeded(lambda: NetFormer(while_training, layout), range(num_seeds))
    for model in models:
        model.initialise([training])
    stacked.train(
        models,
        [training],
        epochs=config.epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        factor=COURSES[course],
    )
    return [_with(config, model) for model in models]


def _with(config: Config, model: NetFormer) -> NetFormer:
    """The model's weights under another link."""
    other = NetFormer(config, model.layout)
    other.load_state_dict(model.state_dict())
    return other.eval()


@torch.no_grad()
def error(model: NetFormer, batch: Batch) -> float:
    return float(((model(batch).prediction - batch.target) ** 2).mean())


def choose(folder: Path, config: Config, share: float) -> tuple[Config, str, str, list[Row]]:
    """Form, loss and course with the lowest error on the trials kept for choosing, and all rows."""
    held, _ = windows(folder, config.history, slice(NUM_FIT, NUM_TRAIN))
    result: list[tuple[float, Config, str, str]] = []
    rows: list[Row] = []
    for (state, static), loss, course in product(STATES.items(), LOSSES, COURSES):
        candidate = replace(config, static=static)
        short = replace(candidate, epochs=max(1, round(share * config.epochs)))
        part = f"{folder.parent.name}-{state}-{loss}-{course}-{share:g}-{config.epochs}"
        mean = finished(part.replace(" ", "-"), judge, folder, short, course, loss, held)["error"]
        result.append((mean, candidate, loss, course))
        rows.append([folder.parent.name, state, loss, course, f"{mean:.2e}"])
        print(rows[-1], flush=True)
    _, chosen, loss, course = min(result, key=lambda each: each[0])
    return chosen, loss, course, rows


def judge(folder: Path, config: Config, course: str, loss: str, held: Batch) -> dict[str, float]:
    """Mean error of CHOICE_SEEDS models on the trials kept for choosing."""
    models = fit(folder, config, CHOICE_SEEDS, course, loss=loss, num_trials=NUM_FIT)
    return {"error": float(np.mean([error(model, held) for model in models]))}


def unit(matrix: np.ndarray) -> np.ndarray:
    """Scaled to unit root mean square off the diagonal."""
    off = ~np.eye(len(matrix), dtype=bool)
    return matrix / np.sqrt((matrix[off] ** 2).mean())


def score(matrix: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Spearman and Pearson off the diagonal."""
    result = agreement(matrix, truth)
    return result["spearman"], result["pearson"]


def interval(values: Sequence[float], size: int) -> tuple[float, float]:
    """95 % prediction interval of the mean of `size` more, from normal seeds."""
    count = len(values)
    spread = float(np.std(values, ddof=1)) * math.sqrt(1 / count + 1 / size)
    half = float(stats.t.ppf(0.975, count - 1)) * spread
    return float(np.mean(values)) - half, float(np.mean(values)) + half


def regression(folder: Path, *, inverse: bool, constant: bool) -> np.ndarray:
    """(n, n) least squares of the next step, or of its arctanh, on this step and the inputs."""
    hidden = np.load(folder / "hidden_activity_alltrials.npy")[:NUM_TRAIN].astype(float)
    inputs = np.load(folder / "inputs_alltrials.npy")[:NUM_TRAIN].astype(float)
    now, after = hidden[:, :-1], hidden[:, 1:]
    x = np.concatenate([now, inputs[:, 1:], np.full_like(now[..., :1], constant)], axis=2)
    y = np.arctanh(after) if inverse else after
    num_neurons = hidden.shape[2]
    flat = x.reshape(-1, x.shape[2]), y.reshape(-1, num_neurons)
    return np.linalg.lstsq(*flat, rcond=None)[0][:num_neurons].T


def summarise(name: str, form: str, models: Sequence[NetFormer], folder: Path) -> list[Row]:
    """Rows: every seed, their mean and interval, and the ensembles of GROUP seeds."""
    truth = np.load(folder / "W_hidden_GT.npy").astype(float)
    test, _ = windows(folder, models[0].config.history, slice(NUM_TRAIN, None))
    target = test.target[:, 0].numpy()
    rows: list[Row] = []
    read: dict[str, list[np.ndarray]] = {"attention": [], "Jacobian": []}
    ranks, linear, explained = [], [], []
    for seed, model in enumerate(models):
        with torch.no_grad():
            explained.append(r2(target, model(test).prediction[:, 0].numpy()))
        read["attention"].append(model.attention(test).mean(0).numpy())
        read["Jacobian"].append(model.influence(test).mean(0).numpy())
        rank, pearson = score(read["attention"][-1], truth)
        ranks.append(rank)
        linear.append(pearson)
        label = f"{form}, attention, seed {seed}"
        rows.append([name, label, f"{rank:.3f}", f"{pearson:.3f}", f"{explained[-1]:.4f}"])
    summary = [
        f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}"
        for values, digits in ((ranks, 3), (linear, 3), (explained, 4))
    ]
    rows.append([name, f"**{form}, attention, {len(models)} seeds, mean ± sd**", *summary])
    limits = ["{:.3f} to {:.3f}".format(*interval(values, GROUP)) for values in (ranks, linear)]
    rows.append([name, f"{form}, 95 % prediction interval of a mean of {GROUP}", *limits, ""])
    for what, matrices in read.items():
        for size in sorted({min(GROUP, len(models)), len(models)}):
            groups = [matrices[k : k + size] for k in range(0, len(matrices) - size + 1, size)]
            means = [score(np.mean([unit(m) for m in group], axis=0), truth) for group in groups]
            cells = [
                ", ".join(f"{value:.3f}" for value in column) for column in zip(*means, strict=True)
            ]
            rows.append([name, f"{form}, mean {what} of {size} seeds, per group", *cells, ""])
    return rows


def main() -> None:
    default = Path(os.environ.get("NWBDYN_DATA", "../shared/data")) / "simulated/taskrnn"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    parser.add_argument("--forms", nargs="+", default=["paper", "oracle"])
    parser.add_argument("--tasks", nargs="+", default=list(PRESET), choices=list(PRESET))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--oracle-seeds", type=int, default=5)
    parser.add_argument("--choice-share", type=float, default=1.0)
    parser.add_argument("--epochs", type=int)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    length = {} if chosen.epochs is None else {"epochs": chosen.epochs}
    paper: list[Row] = []
    oracle: list[Row] = []
    choices: list[Row] = []
    for folder in tasks(chosen.folder):
        if folder.parent.name not in chosen.tasks:
            continue
        preset = PRESET[folder.parent.name]
        _, layout = windows(folder, 1, slice(1))
        if "paper" in chosen.forms:
            paper += references(preset, folder)
            config = NetFormer.configure(layout, preset=preset, **length)
            models = fit(folder, config, chosen.seeds, "constant rate")
            paper += summarise(preset, "paper's form", models, folder)
            publish("netformer_tasks", table(HEADER, paper))
        if "oracle" in chosen.forms:
            config = NetFormer.configure(layout, preset=preset, **{**ORACLE, **length})
            config, loss, course, tried = choose(folder, config, chosen.choice_share)
            choices += tried
            models = fit(folder, config, chosen.oracle_seeds, course, loss=loss)
            oracle += summarise(preset, "oracle link", models, folder)
            publish(
                "netformer_oracle",
                f"{table(HEADER, oracle)}\n\nSquared error on trials {NUM_FIT}-{NUM_TRAIN - 1} "
                f"(mean of {CHOICE_SEEDS} seeds, {chosen.choice_share:.0%} of the epochs), by "
                "which form, loss and course were chosen:\n\n"
                + table(["task", "form", "loss", "learning rate", "error"], choices),
            )


def references(preset: str, folder: Path) -> list[Row]:
    """The published means, and least squares."""
    truth = np.load(folder / "W_hidden_GT.npy").astype(float)
    rows: list[Row] = [[preset, "published, mean of 5 seeds", *PUBLISHED[preset]]]
    result = {
        "OLS, no constant": regression(folder, inverse=False, constant=False),
        "OLS": regression(folder, inverse=False, constant=True),
        "OLS of arctanh": regression(folder, inverse=True, constant=True),
    }
    for label, weight in result.items():
        rows.append([preset, label, *(f"{value:.3f}" for value in score(weight, truth)), ""])
    return rows


if __name__ == "__main__":
    main()
