"""Test of a difference of coupling between behavioural states, beyond that of the drive.

A(t) follows activity, and what drives neurons changes with the state of the animal, so means of
A(t) over states differ even where coupling is one and the same. How far they would is seen in
recordings in which it is: they are simulated from the refit with a constant A, every state with the
residuals of its own (drawn from its bins, so with its covariance), and the model with A(t) is
fitted to each of them. Only where the recording's own states differ more than in these, and A(t)
also predicts better on test, are differences over state supported.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import torch

from nwbdyn.data.windows import Windows
from nwbdyn.errors import ConfigError
from nwbdyn.evaluation import blocks, verdict
from nwbdyn.fitting.stages import edge_tests, surrogate_data
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.inference import readout, rollout
from nwbdyn.models.base import Model
from nwbdyn.recording import Note
from nwbdyn.results.fit_results import Fit
from nwbdyn.statistics import states
from nwbdyn.statistics.significance import LEVEL
from nwbdyn.training.trainer import Trained

FEWEST = round(1 / LEVEL) - 1  # simulations, below which no p reaches LEVEL
GATHERED = 256  # windows whose covariates are gathered at a time
HYPOTHESIS = (
    "coupling is constant, and residuals have a covariance of their own in each state (recordings "
    "simulated from the refit with a constant A); a response that bends, driven more in one state, "
    "is another reason to differ"
)


def check(problem: FitTask, table: pd.DataFrame, number: int) -> None:
    """Refuse a question that this problem has no answer to.

    Args:
        table: of states, see `states.of_recording`.
        number: of simulations.

    Raises:
        ConfigError: a model without a constant refit, counts, too few simulations, or a state
            that no window lies in.
    """
    if getattr(problem.config, "static", True) or not getattr(problem.config, "coupling", True):
        raise ConfigError(
            f"--states: {problem.name} has no A(t) here that a constant A could be set against. "
            "Fit netformer with coupling, and without static."
        )
    if not rollout.applies(problem.model_class, problem.windows):
        raise ConfigError(
            "--states simulates traces from residuals; what a model of counts leaves over is no "
            "residual to draw from. Fit traces, or leave --states out."
        )
    if number < FEWEST:
        raise ConfigError(
            f"--states with {number} simulations: the smallest p is 1/{number + 1}, and {LEVEL:g} "
            f"takes {FEWEST}. Use --null shift:{FEWEST + 1}."
        )
    windows, binned = problem.windows, problem.binned
    half = binned.bin_width / 2
    first = readout.all_starts(windows)
    opens, closes = binned.time[first] - half, binned.time[first + windows.spec.context - 1] + half
    for name in states.names(table):
        own = table[table["state"] == name]
        inside = (opens[:, None] >= own["start_time"].to_numpy()) & (
            closes[:, None] <= own["stop_time"].to_numpy()
        )
        if not inside.any():
            raise ConfigError(
                f"--states: no window of {windows.spec.context} bins lies inside state {name!r}. "
                "Use a shorter history, or a table with longer intervals."
            )


def with_states(
    fitted: Fit,
    problem: FitTask,
    own: Trained,
    refit: Trained,
    table: pd.DataFrame,
    ctx: RunContext,
    *,
    number: int,
) -> Fit:
    """The fit with metrics["states"], and a note where differences over state are not supported.

    "names" of the states; "p" that coupling differs between any of them, of "num_simulations";
    "hypothesis"; "level"; "supported": p reaches the level and so is A(t) itself (see
    `identifiability`); "why_not", "" where it is supported.

    Args:
        own, refit: of the first seed, with A(t) and with a constant A.
        table: of states, see `states.of_recording`.
        number: of simulations.
    """
    p = compare(problem, own, refit, table, ctx, number=number)
    dynamics: Any = fitted.metrics["dynamics"]
    why_not = why_not_supported(p, dynamics, number=number)
    section = {
        "names": states.names(table),
        "p": p,
        "num_simulations": number,
        "hypothesis": HYPOTHESIS,
        "level": LEVEL,
        "supported": not why_not,
        "why_not": why_not,
    }
    notes = fitted.notes
    if why_not:
        reason = f"differences over state are not supported: {why_not}"
        notes = (*notes, Note("states-alike", "connectivity", reason))
    return replace(fitted, metrics=fitted.metrics | {"states": section}, notes=notes)


def why_not_supported(p: float, dynamics: dict[str, Any], *, number: int) -> str:
    """Why differences over state are not supported; "" where p reaches LEVEL and A(t) is.

    Args:
        dynamics: metrics["dynamics"] of the fit, see `identifiability`.
        number: of simulations.
    """
    if p > LEVEL:
        reason = f"{number} simulations with a constant coupling differ as much (p = {p:.2g})"
        return reason + ("" if dynamics["supported"] else f", and {verdict.unbeaten(dynamics)}")
    if not dynamics["supported"]:
        return (
            f"they exceed those of {number} simulations with a constant coupling (p = {p:.2g}), "
            f"but {verdict.unbeaten(dynamics)}"
        )
    return ""


def compare(
    problem: FitTask,
    own: Trained,
    refit: Trained,
    table: pd.DataFrame,
    ctx: RunContext,
    *,
    number: int,
) -> float:
    """p that coupling differs between states: how often one that is constant differs as much.

    Arguments as for `with_states`.
    """
    binned = problem.binned
    predicted = readout.predict(refit.model, problem.windows)
    residual = (binned.values - predicted).astype(np.float32)
    state = states.at(table, binned.time)

    def simulated(numbers: Sequence[int]) -> list[Windows]:
        draws = draws_of(own.seed, numbers)
        sources = np.stack([draw_residuals(residual, state, draw) for draw in draws])
        values = simulate(refit.model, problem.windows, residual, sources)
        return [surrogate_data.windows_over(problem, replace(binned, values=one)) for one in values]

    def by_state(model: Model, windows: Windows) -> np.ndarray:
        coupling = readout.connectivity(model, windows)
        masks = [table[table["state"] == name] for name in states.names(table)]
        return np.stack([coupling.mean(mask).to_numpy().astype(np.float64) for mask in masks])

    seeds = [own.seed] * number
    null = edge_tests.matrices(
        problem, "state", simulated, seeds, ctx, read=by_state
    )  # (K, S, N, N)
    return difference_p(by_state(own.model, problem.windows), null)


def draws_of(seed: int, numbers: Sequence[int]) -> list[np.random.Generator]:
    """The random numbers of simulations: of each its own, the same in every run of a seed."""
    return [np.random.default_rng([seed, k, 2]) for k in numbers]


def difference_p(weight: np.ndarray, null: np.ndarray) -> float:
    """p of the summed squared differences between states, (1 + larger ones) / (1 + K).

    An edge counts in units of its own root mean square difference, over the recording and all
    simulations, so that under the null each of these K + 1 is as likely to be the largest.

    Args:
        weight: (S, N, N) mean coupling in each state.
        null: (K, S, N, N) the same of simulations.
    """
    others = ~np.eye(weight.shape[-1], dtype=bool)
    every = np.concatenate([weight[None], null])[..., others]  # (1 + K, S, E)
    squares = np.square(every - every.mean(axis=1, keepdims=True))
    scale = squares.mean(axis=0)
    size = np.divide(squares, scale, where=scale > 0, out=np.zeros_like(squares)).sum(axis=(1, 2))
    return float((size >= size[0]).mean())


def draw_residuals(
    residual: np.ndarray, state: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """(num_bins,) bins whose residuals stand in each bin: all of the same state.

    A stationary bootstrap (Politis and Romano 1994): runs of consecutive bins, as long on average
    as the residuals' memory.

    Args:
        residual: (num_bins, N), NaN where there is none.
        state: (num_bins,) int, -1 where there is none, which counts as a state.
    """
    known = np.isfinite(residual).all(axis=1)
    jump = random.random(len(state)) < 1 / blocks.memory(residual[known])
    anew = np.zeros(len(state), dtype=np.int64)
    for one in np.unique(state):
        pool = np.flatnonzero(known & (state == one))
        if not len(pool):
            pool = np.flatnonzero(known)  # no window ends in this state: any residual will do
        own = state == one
        anew[own] = random.choice(pool, own.sum())
    sources = anew
    for k in range(1, len(state)):
        following = sources[k - 1] + 1
        if (
            not jump[k]
            and following < len(state)
            and known[following]
            and state[following] == state[k]
        ):
            sources[k] = following
    return sources


def simulate(
    model: Model, windows: Windows, residual: np.ndarray, sources: np.ndarray
) -> np.ndarray:
    """(K, num_bins, N) recordings that the model makes of given residuals, in source units.

    Every unbroken stretch starts as it was recorded, with one context; predictions are kept inside
    the range of the recording, like a roll-out. Covariates are those of the recording.

    Args:
        residual: (num_bins, N).
        sources: (K, num_bins) bins whose residuals are added.
    """
    binned, context = windows.binned, windows.spec.context
    usable = binned.values[binned.valid]
    mean, sd, low, high = (
        torch.as_tensor(values, device=windows.device)
        for values in (windows.mean, windows.sd, usable.min(axis=0), usable.max(axis=0))
    )
    added = torch.as_tensor(residual, device=windows.device)
    picked = torch.as_tensor(sources, device=windows.device)
    made = torch.as_tensor(binned.values, device=windows.device).repeat(len(sources), 1, 1)
    with torch.no_grad():
        for bins in torch.as_tensor(_reached(windows)).split(GATHERED):
            gathered = windows.gather(bins - context, "train")
            for row, k in enumerate(bins.tolist()):
                covariates = gathered.covariates[row : row + 1]
                batch = replace(
                    gathered,
                    activity=(made[:, k - context : k] - mean) / sd,
                    target=gathered.target[row : row + 1],
                    valid=gathered.valid[row : row + 1],
                    covariates=covariates.expand(len(made), -1, -1),
                    start_bin=gathered.start_bin[row : row + 1].expand(len(made)),
                )
                predicted = model(batch).prediction[:, 0] * sd + mean
                made[:, k] = predicted.clamp(low, high) + added[picked[:, k]]
    return made.cpu().numpy()


def _reached(windows: Windows) -> np.ndarray:
    """(n,) bins with a whole context before them, without a break."""
    binned, context = windows.binned, windows.spec.context
    bins = np.arange(context, binned.num_bins)
    whole = binned.valid[bins] & binned.valid[bins - context]
    return bins[whole & (binned.segment[bins] == binned.segment[bins - context])]
