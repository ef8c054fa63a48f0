"""Cost of a fit on this machine: memory by rule of thumb, time by a rehearsal.

The rehearsal trains the model itself for a few updates, on noise of the recording's size, and
counts the updates that a whole training would take. Baselines, validation and early stopping, which
shorten or lengthen a fit, are not in it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from nwbdyn import models
from nwbdyn.data import limits, spike_trains
from nwbdyn.errors import DataError
from nwbdyn.fitting.task import FitTask, build_task, num_draws
from nwbdyn.models.base import CO_SMOOTHING, BaseConfig
from nwbdyn.recording import Recording, SpikeTimes, Traces
from nwbdyn.request import DataOptions
from nwbdyn.training import lower_rungs
from nwbdyn.training.trainer import train

# Peak memory of fits with their baselines, measured on a CPU for 60 and 120 neurons and 10,000 to
# 40,000 bins: bytes that any fit takes, and multiples of the binned activity as float32
BASE = {True: 600e6, False: 450e6}  # co-smoothing, next bin
COPIES = {True: 22, False: 72}
SPIKES_PER_BIN = 0.1  # of the stand-in; what they are does not change the time of an update
STAND_IN = 3_000  # bins; doubled while too few for the model's windows
WARM_UP, TIMED = 1, 5  # updates
WORTH_SAYING = 60  # seconds


@dataclass(frozen=True)
class Cost:
    """Memory and time of fitting one model to one recording."""

    model: str
    num_bins: int
    num_neurons: int
    bin_width: float  # seconds
    memory: int  # bytes at the peak, to the nearest 100 MB
    updates: int  # of the longest training
    seconds_per_update: float  # on this machine, now
    device: str
    trainings: int = 1  # of one draw: candidates; a published form once more without coupling
    draws: int = 1  # of held-out neurons

    @property
    def seconds(self) -> float:
        """Time that all updates of one training would take."""
        return self.updates * self.seconds_per_update


def estimate(
    recording: Recording,
    model: str,
    *,
    options: Mapping[str, object] = {},
    bin_width: float | None = None,
    draws: int | None = None,
    device: torch.device | str | None = None,
) -> Cost:
    """The cost of a fit; no activity is read.

    Windows are counted as without trials.

    Args:
        options: fields of the model's Config; by default its own.
        bin_width: seconds; by default the frames of traces, and the model's own for spikes.
        draws: of held-out neurons; by default as `fitting.fit` takes them.
        device: where it would train; by default on a GPU where there is one.

    Raises:
        ConfigError, DataError: the model cannot be fitted to such a recording.
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model_class = models.load(model)
    num_bins, bin_width = _bins(recording, bin_width, model_class.spike_bin_width)
    problem = _stand_in(recording, model, num_bins, bin_width, device, options)
    candidates = model_class.candidates(
        problem.config, problem.layout, _num_windows(problem, num_bins)
    )
    co_smoothing = model_class.target == CO_SMOOTHING
    return Cost(
        model=model,
        num_bins=num_bins,
        num_neurons=len(recording.neurons),
        bin_width=bin_width,
        memory=int(round(memory(num_bins * len(recording.neurons), co_smoothing=co_smoothing), -8)),
        updates=_updates(problem, num_bins),
        seconds_per_update=_seconds_per_update(problem, device),
        device=device.type,
        trainings=len(candidates) + _is_ablated(problem.config),
        draws=num_draws(draws, co_smoothing=co_smoothing, stated=problem.held_out_stated),
    )


def _is_ablated(config: BaseConfig) -> bool:
    """True for a model that is trained again without coupling; a core needs no such training."""
    return bool(getattr(config, "coupling", False)) and not lower_rungs.has_core(config)


def refusal(recording: Recording, model: str) -> str | None:
    """Why a fit of `recording` with the model's defaults would be refused; None where it would not.

    Judged on noise of the recording's size, without its trials: no activity is read.
    """
    model_class = models.load(model)
    try:
        num_bins, bin_width = _bins(recording, None, model_class.spike_bin_width)
        needed = memory(
            num_bins * len(recording.neurons), co_smoothing=model_class.target == CO_SMOOTHING
        )
        there = limits.memory()
        if there is not None and needed > there.size:
            return (
                f"a fit takes about {needed / 1e9:.3g} GB of memory, and {there.source} "
                f"{there.size / 1e9:.3g} GB. Choose fewer neurons with --where."
            )
        _stand_in(recording, model, num_bins, bin_width, torch.device("cpu"), {})
    except DataError as error:
        return str(error)
    return None


def memory(values: int, *, co_smoothing: bool, seeds: int = 1) -> float:
    """Bytes at the peak of a fit, by rule of thumb.

    Args:
        values: number of bins times neurons.
        co_smoothing: the kind of model.
        seeds: fits with other seeds; the predictions of all are held at once.
    """
    held = values * np.dtype(np.float32).itemsize
    return BASE[co_smoothing] + (COPIES[co_smoothing] + seeds - 1) * held


def advice(
    cost: Cost, *, recordings: int = 1, points: int = 1, repeats: int = 1, refits: int = 0
) -> list[str]:
    """One line for a fit that takes long, and ways to shorten it.

    Args:
        cost: of one recording.
        recordings: how many there are.
        points: of a sweep.
        repeats: how many fits a recording takes: seeds of every draw, and folds.
        refits: trainings that a null takes beside these (`edge_tests.count`).

    Returns:
        Nothing for a fit of less than WORTH_SAYING seconds.
    """
    trainings = (cost.trainings * points * repeats + refits) * recordings
    seconds = trainings * cost.seconds
    if seconds < WORTH_SAYING:
        return []
    lines = [
        f"At most {_words(seconds)} of training: {trainings} x {cost.updates:,} updates of "
        f"{1000 * cost.seconds_per_update:.2g} ms ({cost.device}); about "
        f"{cost.memory / 1e9:.1f} GB of memory."
    ]
    there = limits.memory()
    if there is not None and cost.memory > there.size:
        lines.append(
            f"But {there.source} {there.size / 1e9:.1f} GB: fit fewer neurons (--where) or wider "
            "bins."
        )
    gpus = torch.cuda.device_count() if cost.device == "cuda" else 0
    if gpus > 1 and recordings * points * repeats == 1:
        lines.append(f"--devices {gpus} trains one model on all {gpus} GPUs.")
    if recordings * points * repeats > 1:
        lines.append("--engine ray runs several fits at once, here or on a cluster.")
    return lines


def _words(seconds: float) -> str:
    if seconds < 5400:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h"


def _bins(
    recording: Recording, bin_width: float | None, spike_bin_width: float
) -> tuple[int, float]:
    """Number of bins, and seconds per bin."""
    activity = recording.activity
    if isinstance(activity, Traces):
        times = np.asarray(activity.timestamps[:])
        known = times[np.isfinite(times)]
        if bin_width is not None:
            return math.ceil((known[-1] - known[0]) / bin_width), bin_width
        return len(times), float(np.median(np.diff(known)))
    spike_bin_width = bin_width or spike_bin_width
    if activity.intervals is not None and len(activity.intervals):
        span = float(activity.intervals.max() - activity.intervals.min())
    elif ends_known := spike_trains.stated_extent(activity, recording.notes):
        span = ends_known[1] - ends_known[0]
    else:
        ends = np.concatenate([[0], activity.index])
        spoken = np.flatnonzero(np.diff(ends))
        first = min((activity.times[int(ends[unit])] for unit in spoken), default=0.0)
        last = max((activity.times[int(ends[unit + 1]) - 1] for unit in spoken), default=0.0)
        span = float(last - first)
    return math.ceil(span / spike_bin_width), spike_bin_width


def _stand_in(
    recording: Recording,
    model: str,
    num_bins: int,
    bin_width: float,
    device: torch.device,
    options: Mapping[str, object],
) -> FitTask:
    """The problem of a shorter recording: the same neurons, and noise for their activity."""
    length = min(STAND_IN, num_bins)
    while True:
        try:
            noise = _noise(recording, length, bin_width)
            return build_task(
                noise, model, seed=0, data=DataOptions(bin_width), options=options, device=device
            )
        except DataError:
            if length >= num_bins:
                raise
            length = min(2 * length, num_bins)


def _noise(recording: Recording, length: int, bin_width: float) -> Recording:
    draw = np.random.default_rng(0)
    num_neurons = len(recording.neurons)
    activity: SpikeTimes | Traces
    if isinstance(recording.activity, SpikeTimes):
        counts = draw.poisson(SPIKES_PER_BIN * length, num_neurons) + 1
        times = [np.sort(draw.uniform(0, length * bin_width, count)) for count in counts]
        observed = np.array([[0.0, length * bin_width]])
        activity = SpikeTimes(np.concatenate(times), np.cumsum(counts), observed)
    else:
        data = draw.normal(size=(length, num_neurons)).astype(np.float32)
        activity = replace(recording.activity, data=data, timestamps=np.arange(length) * bin_width)
    return replace(recording, activity=activity, trials=None, intervals={}, covariates=())


def _updates(problem: FitTask, num_bins: int) -> int:
    """Optimiser steps of the longest training on `num_bins` bins."""
    if problem.config.updates is not None:
        return problem.config.updates
    return problem.config.epochs * math.ceil(
        _num_windows(problem, num_bins) / problem.config.batch_size
    )


def _num_windows(problem: FitTask, num_bins: int) -> int:
    """Training windows in `num_bins` bins."""
    return math.ceil(len(problem.windows.starts("train")) * num_bins / problem.binned.num_bins)


def _seconds_per_update(problem: FitTask, device: torch.device) -> float:
    planned = _updates(problem, problem.binned.num_bins)
    seconds = 0.0
    for number in (WARM_UP, TIMED):
        trained = train(
            problem.model_class,
            problem.config,
            problem.layout,
            problem.windows,
            seed=0,
            device=device,
            until=min(1.0, number / planned),
        )
        last = trained.history[-1]
        seconds = last["seconds"] / last["updates"]
    return seconds
