"""Which neurons a model's attention falls on, how stable that is, and whether they are needed.

Attention received is the column mean of a window's first map. It goes with the firing rate, so it
says little by itself: beside it stand its agreement between two halves of the windows, its rank
correlation with the rate, and a test. The inputs of some neurons are silenced and the score is
taken again: of the most attended, of the least attended, of the most active, and of random ones.
"""

import numpy as np
import torch
from scipy.stats import rankdata

from nwbdyn.data.windows import Windows
from nwbdyn.evaluation import scoring
from nwbdyn.evaluation.scoring import Task
from nwbdyn.inference import readout
from nwbdyn.models.base import Model
from nwbdyn.results.sections.attention_maps import NeuronImportance

SHARES = (0.1, 0.25, 0.5)  # of the held-in neurons that are silenced
RANDOM_DRAWS = 5
MOST_WINDOWS = 200  # of the test windows that attention is averaged over


def scores(model: Model, windows: Windows, task: Task) -> NeuronImportance:
    """Attention received by every held-in neuron, and what the score loses without some of them.

    Args:
        model: one whose `read_out` has "importance".

    Returns:
        With the loss of "most attended", "least attended", "most active" and "random" neurons, the
        mean over RANDOM_DRAWS, and its "random_sd".
    """
    held_in = np.flatnonzero(task.split.held_in)
    per_window = _attention(model, windows)[:, held_in]
    attention = per_window.mean(axis=0)
    rates = np.nanmean(task.binned.values[task.split.bins("train")], axis=0)[held_in]
    metric, whole = _score(model, windows, task, np.zeros(0, int))
    orders = {
        "most attended": np.argsort(-attention, kind="stable"),
        "least attended": np.argsort(attention, kind="stable"),
        "most active": np.argsort(-rates, kind="stable"),
    }
    draw = np.random.default_rng(task.split.seed)
    random = [draw.permutation(len(held_in)) for _ in range(RANDOM_DRAWS)]
    numbers = sorted({max(1, round(share * len(held_in))) for share in SHARES})

    def lost(order: np.ndarray, number: int) -> float:
        return whole - _score(model, windows, task, held_in[order[:number]])[1]

    loss = {name: [lost(order, n) for n in numbers] for name, order in orders.items()}
    by_chance = np.array([[lost(order, n) for order in random] for n in numbers])
    loss |= {
        "random": by_chance.mean(axis=1).tolist(),
        "random_sd": by_chance.std(axis=1, ddof=1).tolist(),
    }
    halves = per_window[::2].mean(axis=0), per_window[1::2].mean(axis=0)
    return NeuronImportance(
        neurons=task.binned.neurons.ids[held_in].tolist(),
        attention=attention.tolist(),
        half_split=_correlation(*halves) if len(per_window) > 1 else None,
        with_rate=_correlation(rankdata(attention), rankdata(rates)),
        metric=metric,
        split="test",
        dropped=numbers,
        loss=loss,
    )


def _attention(model: Model, windows: Windows) -> np.ndarray:
    """(num_windows, N) attention that each neuron receives in evenly spaced test windows."""
    parts = [
        model.time_resolved(batch)["importance"].cpu().numpy()
        for batch in windows.batches("test", model.config.batch_size)
    ]
    every = np.concatenate(parts)
    return every[np.unique(np.linspace(0, len(every) - 1, MOST_WINDOWS).astype(int))]


def _score(model: Model, windows: Windows, task: Task, silent: np.ndarray) -> tuple[str, float]:
    """Name and test value of the primary score, the inputs of some neurons being 0."""
    prediction = readout.predict(
        model, windows, splits=["test"], without=torch.as_tensor(silent, device=windows.device)
    )
    return next(iter(scoring.scores(task, prediction)["test"].items()))


def _correlation(one: np.ndarray, other: np.ndarray) -> float | None:
    """Pearson correlation, None where one of them is constant."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return None
    return float(np.corrcoef(one, other)[0, 1])
