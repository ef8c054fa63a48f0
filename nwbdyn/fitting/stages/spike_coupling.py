"""Directed couplings of spikes at the time scale of synapses: `--null jitter:K`.

A model's bins are often coarser than synaptic delays. These couplings are fitted to the spike times
themselves, on a grid of 1 ms, whatever the model's bins are. The width of their filters is chosen
by the coupling gain on the fit's validation time. In the edge table they take the place of the
model's weights, which stay in the column `model_weight` and in the connectivity.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from nwbdyn.data.binning import Binned
from nwbdyn.errors import ConfigError
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.stages import recording_edges
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import Neurons, SpikeTimes
from nwbdyn.request import FitRequest
from nwbdyn.results.sections.edges import EdgeTests, TimeScale
from nwbdyn.statistics import artefacts
from nwbdyn.statistics.significance import WEIGHT
from nwbdyn.statistics.spike_couplings import (
    FEWEST_SURROGATES,
    SpikeCouplings,
    spike_couplings,
)
from nwbdyn.statistics.surrogates import JITTER, SHIFT, Null

MOST_UNITS = 400  # above, correlograms of all pairs take gigabytes
MEASURE = "spikes of the receiver per spike of the sender beyond chance, summed over the filter"


@dataclass(frozen=True)
class SpikeCoupling(Stage):
    """Directed edges from spike times, and section "edges" of the metrics."""

    number: int  # of surrogates

    @property
    def record(self) -> Mapping[str, Any]:
        """The null, as it was requested."""
        return {"null": str(Null(JITTER, self.number))}

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None without a jitter null.

        Raises:
            ConfigError: a jitter null that this recording cannot have.
        """
        if request.tests.null is None or request.data.fold is not None:
            return None
        null = Null.parse(request.tests.null)
        if null.kind != JITTER:
            return None
        check(task, null)
        return cls(null.number)

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Choose the time scale, fit every pair of units, and test it against jittered spikes."""
        return fitted_couplings(state, self.number, ctx.report)


def check(task: FitTask, null: Null) -> None:
    """Refuse a jitter null that has no answer.

    Raises:
        ConfigError: traces, too few surrogates or too many units.
    """
    if not isinstance(task.recording.activity, SpikeTimes):
        raise ConfigError(
            f"--null {JITTER}:K moves spikes, and the recording has {task.binned.quantity}. Use "
            f"--null {SHIFT}:{null.number}."
        )
    if null.number < FEWEST_SURROGATES:
        raise ConfigError(
            f"--null {null}: {FEWEST_SURROGATES} jittered recordings are needed at least. Use "
            f"--null {JITTER}:20."
        )
    if task.binned.num_neurons > MOST_UNITS:
        raise ConfigError(
            f"--null {null}: {task.binned.num_neurons} units; couplings of spikes are computed for "
            f"up to {MOST_UNITS}. Choose units with --where."
        )


def fitted_couplings(state: FitState, number: int, report: Report = silent) -> StageResult:
    """Couplings of the spikes of a fit as directed edges.

    Args:
        number: of jittered recordings.
    """
    report(Progress("spike couplings", 0, 1, "fits"))
    task, neurons = state.task, state.fit.connectivity.neurons
    fitted = spike_couplings(
        spikes_of(task, neurons),
        train=intervals_of(task.binned, task.split.bins("train")),
        val=intervals_of(task.binned, task.split.bins("val")),
        num_surrogates=number,
        seed=state.fit.seed,
    )
    flags, _ = artefacts.flags(neurons, None)  # bins of the model say nothing of coincidence
    edges = table_of(fitted, state.fit.edges, neurons, flags)
    report(Progress("spike couplings", 1, 1, "fits"))
    return StageResult((summary_of(fitted, flags),), edges=edges)


def spikes_of(task: FitTask, neurons: Neurons) -> SpikeTimes:
    """The spike times of some neurons of a task, in their order."""
    spikes = task.recording.activity
    assert isinstance(spikes, SpikeTimes)  # check
    rows = pd.Index(task.recording.neurons.ids).get_indexer(pd.Index(neurons.ids))
    units = [np.asarray(spikes.of(int(row))) for row in rows]
    index = np.cumsum([len(unit) for unit in units])
    return SpikeTimes(np.concatenate(units), index, intervals=spikes.intervals)


def intervals_of(binned: Binned, kept: np.ndarray) -> np.ndarray:
    """(m, 2) seconds of the runs of bins that follow one another.

    Args:
        kept: (num_bins,) bool.
    """
    bins = np.flatnonzero(kept & binned.valid)
    apart = (np.diff(bins) > 1) | (np.diff(binned.segment[bins]) != 0)
    first = bins[np.r_[True, apart]] if len(bins) else bins
    last = bins[np.r_[apart, True]] if len(bins) else bins
    half = binned.bin_width / 2
    return np.column_stack([binned.time[first] - half, binned.time[last] + half])


def table_of(
    fitted: SpikeCouplings, modelled: pd.DataFrame, neurons: Neurons, flags: np.ndarray
) -> pd.DataFrame:
    """Directed edges of the spike couplings, with those of the model beside."""
    table = recording_edges.table_of(
        statistics_of(fitted, flags), modelled, neurons, size=fitted.statistic
    )
    table.attrs |= {
        "null_hypothesis": fitted.hypothesis,
        "tested": WEIGHT,
        "smallest_p": 0.0,
        "withheld": "",
        "measure": MEASURE,
    }
    return table


def statistics_of(fitted: SpikeCouplings, flags: np.ndarray) -> dict[str, np.ndarray]:
    """(N, N) [post, pre] columns of the edge table; peak_ms is the peak of the filter."""
    peak = 1 + np.abs(fitted.filters).argmax(axis=-1)
    return {
        "weight": fitted.weight,
        "se": fitted.se,
        "p": fitted.p,
        "q": fitted.q,
        "flags": flags,
        "peak_ms": 1000 * fitted.bin_width * peak,
    }


def summary_of(fitted: SpikeCouplings, flags: np.ndarray) -> EdgeTests:
    """The null, the time scale and how many edges pass."""
    counted = recording_edges.summary_of(
        statistics_of(fitted, flags), num_surrogates=fitted.num_surrogates
    )
    return EdgeTests(
        **counted,
        null=JITTER,
        hypothesis=fitted.hypothesis,
        measure=MEASURE,
        smallest_p=0.0,
        filters=fitted.chosen.filters.name,
        window=fitted.window,
        time_scales=[
            TimeScale(one.filters.name, one.gain, one.surrogate_gain) for one in fitted.compared
        ],
    )
