"""Directed couplings over lags, tested against surrogates: edges of every next-bin fit with a null.

A model's weight is its derivative in the last bin: it misses couplings with a longer delay. These
couplings are fitted to the recording in closed form, with the terms of rung M2 (see
`statistics.lagged`). They use every recorded bin: nothing of them is scored on test.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from nwbdyn.data.binning import Binned
from nwbdyn.errors import ConfigError, DataError
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.stages import (
    common_input_warning,
    edge_tests,
    recording_edges,
    surrogate_data,
)
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.models._core_terms import SENDER_LAGS
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import COUNTS, Note
from nwbdyn.request import FitRequest
from nwbdyn.results.fit_results import Fit
from nwbdyn.results.sections.edges import EdgeTests
from nwbdyn.statistics import artefacts
from nwbdyn.statistics.common_input import LIMIT
from nwbdyn.statistics.lagged import LaggedCouplings, lagged_couplings
from nwbdyn.statistics.lagged_regression import chosen_terms, rows_with_past
from nwbdyn.statistics.significance import WEIGHT, smallest_p, why_withheld
from nwbdyn.statistics.slow_activity import slow_activity, slow_input
from nwbdyn.statistics.surrogates import Null


@dataclass(frozen=True)
class LaggedCoupling(Stage):
    """Section "edges" of a next-bin model, and its directed edges."""

    null: Null

    @property
    def record(self) -> Mapping[str, Any]:
        """The null, as it was requested."""
        return {"null": str(self.null)}

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None without a null, and for co-smoothing models (see `edge_tests`).

        Raises:
            ConfigError: a null that this recording cannot have.
        """
        null = surrogate_data.requested(request)
        if null is None or task.co_smoothing:
            return None
        edge_tests.check(task, null)
        check(task)
        return cls(null)

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Fit the couplings to the recording and to its surrogates."""
        return result_of(state.fit, state.task, self.null, ctx.report)


def check(task: FitTask) -> None:
    """Refuse a null for a recording that is too short for its neurons.

    Raises:
        ConfigError: fewer than twice as many bins as neurons.
    """
    values = _values(task, task.binned)
    rows = rows_with_past(values, task.binned.segment, SENDER_LAGS)
    try:
        chosen_terms(len(rows), values.shape[1], functions=False)
    except DataError as error:
        raise ConfigError(f"--null: {error}") from error


def result_of(fit: Fit, task: FitTask, null: Null, report: Report = silent) -> StageResult:
    """Couplings over lags as directed edges, and their statistics.

    Args:
        null: the kind of surrogates, and their number.
    """
    binned, neurons = task.binned, fit.connectivity.neurons
    draw, hypothesis = surrogate_data.recipe(task, null)

    def surrogates(report: Report = silent) -> Iterator[np.ndarray]:
        for number in range(null.number):
            report(Progress("null", number, null.number, "surrogates"))
            yield _values(task, draw(np.random.default_rng([fit.seed, number, 0])))

    slow = slow_input_of(task, surrogates())
    fitted = lagged_couplings(
        _values(task, binned),
        binned.segment,
        surrogates=surrogates(report),
        covariates=covariates(task),
        functions=binned.quantity != COUNTS,
    )
    report(Progress("null", null.number, null.number, "surrogates"))
    flags, notes = artefacts.flags(neurons, _residual(fit, task))
    withheld = why_not_called(fit, num_surrogates=null.number, slow=slow)
    statistics = {"weight": fitted.weight, "se": fitted.se, "p": fitted.p, "q": fitted.q}
    if withheld:
        statistics["q"] = np.full_like(fitted.q, np.nan)
    statistics["flags"] = flags
    size = np.divide(np.abs(fitted.weight), fitted.se, where=fitted.se > 0, out=0 * fitted.se)
    edges = recording_edges.table_of(statistics, fit.edges, neurons, size=size, lag=fitted.lag)
    section = EdgeTests(
        **recording_edges.summary_of(statistics, num_surrogates=null.number, withheld=withheld),
        null=null.kind,
        hypothesis=hypothesis,
        smallest_p=smallest_p(null.number, len(neurons)),
        measure=measure(fitted, counts=binned.quantity == COUNTS),
        terms=terms(fitted),
        slow_input=slow,
    )
    edges.attrs |= {
        "null_hypothesis": hypothesis,
        "tested": WEIGHT,
        "smallest_p": section.smallest_p,
        "withheld": withheld,
        "measure": section.measure,
    }
    return StageResult((section,), (*notes, *_noted(withheld)), edges=edges)


def why_not_called(fit: Fit, *, num_surrogates: int, slow: float | None) -> str:
    """Why the edges of a fit have no q; "" where they have one.

    Args:
        slow: of counts, see `slow_input_of`.
    """
    coupling: Any = fit.metrics.get("coupling")
    reason = why_withheld(num_surrogates, len(fit.connectivity.neurons), coupling)
    reason = reason or common_input_warning.q_withheld_reason(fit.metrics)
    if reason or slow is None or slow <= LIMIT:
        return reason
    return (
        "older activity of the population predicts the rates beyond the last bins of all neurons "
        f"(relative variance {slow:.3f}, more than {LIMIT:g}). Causes are common input, couplings "
        "with a longer delay or, where spikes are few, chance; neurons without a connection can "
        "have edges"
    )


def slow_input_of(task: FitTask, surrogates: Iterable[np.ndarray]) -> float | None:
    """Relative variance of rates that older activity explains; None for traces."""
    if task.binned.quantity != COUNTS:
        return None
    return slow_input(_values(task, task.binned), task.binned.segment, surrogates)


def covariates(task: FitTask) -> np.ndarray | None:
    """(num_bins, C) measured covariates, and for counts the slow activity of the population."""
    measured = task.binned.covariates
    if task.binned.quantity != COUNTS:
        return measured
    slow = slow_activity(_values(task, task.binned), task.binned.segment)
    return slow if measured is None else np.concatenate([measured, slow], axis=1)


def measure(fitted: LaggedCouplings, *, counts: bool) -> str:
    """Unit of the weights, in words."""
    unit = "spikes of the receiver per spike" if counts else "sd of the receiver per sd"
    number = fitted.terms.num_lags
    over = f"summed over lags 1 to {number}" if number > 1 else "at lag 1"
    return f"{unit} of the sender, {over}"


def terms(fitted: LaggedCouplings) -> str:
    """The terms of a sender that are tested together, in words."""
    number = fitted.terms.num_lags
    bins = f"last {number} bins" if number > 1 else "last bin"
    return f"{bins} and nonlinear functions of the last one" if fitted.terms.functions else bins


def _values(task: FitTask, binned: Binned) -> np.ndarray:
    """(num_bins, N) traces in training sd, or counts; missing values the mean, NaN in no bin."""
    values = binned.values.astype(np.float64)
    windows = task.windows
    if binned.quantity != COUNTS:
        values = (values - windows.mean) / windows.sd
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    else:
        values = np.where(np.isfinite(values), values, windows.mean)
    return np.where(binned.valid[:, None], values, np.nan)


def _residual(fit: Fit, task: FitTask) -> np.ndarray:
    """(n, N) recorded minus predicted in training bins."""
    rows = task.split.bins("train")
    recorded = fit.predictions.recorded
    assert recorded is not None
    return recorded[rows] - fit.predictions.values[rows]


def _noted(withheld: str) -> tuple[Note, ...]:
    return (Note("q-withheld", "edges", withheld),) if withheld else ()
