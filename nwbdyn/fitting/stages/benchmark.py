"""The Neural Latents Benchmark inside a fit: rates for its trials, and how they score.

A recording of the benchmark's layout is scored as the benchmark scores it, on whole trials cut from
spike times (`nlb`), beside the baselines that say something of them. Its trials are the fit's own:
what decoders learn from was trained on, val chose, test did neither.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch

from nwbdyn import baselines, nlb
from nwbdyn.baselines import Baseline
from nwbdyn.data.flags import flags
from nwbdyn.errors import ConfigError, ResultsError
from nwbdyn.fitting.stage import FitInputs, FitState, Stage, StageResult
from nwbdyn.fitting.task import SESSION, FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.models.base import Batch, Model
from nwbdyn.nlb import scores, submission
from nwbdyn.recording import Recording
from nwbdyn.request import FitRequest
from nwbdyn.results.sections.benchmark import BenchmarkResult

LEARNED = {"val": ("train",), "test": ("train", "val")}  # what decoders learn from, by split scored
SMOOTHING = "smoothing + GLM"  # the baseline that has rates of held-in neurons too


@dataclass(frozen=True)
class BenchmarkScores(Stage):
    """Section "benchmark": the Neural Latents Benchmark's scores on its own trials."""

    @classmethod
    def plan(cls, request: FitRequest, task: FitTask, inputs: FitInputs) -> Self | None:
        """None for a recording of another layout, and for a model of the next bin."""
        return cls() if task.co_smoothing and layout_of(task) is not None else None

    def run(self, state: FitState, ctx: RunContext) -> StageResult:
        """Score the mean rates of the seeds that the prediction averages."""
        averaged = [state.trained[number].model for number in state.scored.mean.members]
        section = evaluate(state.task, averaged, state.scored.baselines)
        return StageResult((section,))


def layout_of(problem: FitTask) -> nlb.Layout | None:
    """The benchmark's layout that the fit's windows follow, or None."""
    if problem.aligned is None or problem.trials is not None:
        return None
    return nlb.recognise(problem.recording)


def evaluate(
    problem: FitTask, models: Sequence[Model], baselines_: Mapping[str, Baseline]
) -> BenchmarkResult:
    """The benchmark's scores of the mean rates of some models, and of the baselines."""
    layout = layout_of(problem)
    assert layout is not None  # plan
    width = problem.binned.bin_width
    recording = _as_fitted(problem)
    own: dict[str, dict[str, float]] = {}
    others: dict[str, dict[str, dict[str, float]]] = {name: {} for name in baselines_}
    numbers: dict[str, int] = {}
    seconds, num_trials = 0.0, 0
    for split, splits in LEARNED.items():
        learned, scored = " ".join(map(_label, splits)), _label(split)
        targets = nlb.targets(recording, bin_width=width, learned=learned, phase=scored)
        seen = {
            phase: nlb.held_in_counts(recording, names, bin_width=width)
            for phase, names in (("train", learned), ("eval", scored))
        }
        rates: dict[str, np.ndarray] = {}
        for phase, (counts, _) in seen.items():
            predicted = predict(problem, models, counts)
            rates |= _arranged(problem, phase, predicted.rates)
            seconds, num_trials = seconds + predicted.seconds, num_trials + len(counts)
        own[split] = scores.score(targets, rates)
        numbers[split] = len(seen["eval"][0])
        for name, baseline in baselines_.items():
            theirs = _rates_of(problem, recording, name, baseline, seen)
            others[name][split] = scores.score(targets, theirs)
    return BenchmarkResult(
        data_set=submission.group_name(layout, width),
        model=own,
        baselines=others,
        num_trials=numbers,
        milliseconds_per_trial=1000 * seconds / num_trials / len(models),
    )


def phase(
    problem: FitTask, models: Sequence[Model], test: Recording | None
) -> dict[str, np.ndarray]:
    """Rates in the benchmark's form: for the training trials and for the evaluated ones.

    With the test file, the trials of both: the train file's train and val trials, and the test
    trials, of which only held-in units are known. Without it, the validation phase: the train
    file's train trials and its val trials.

    Returns:
        As `nlb.submission.arrange`, train and eval together, all trials in file order.

    Raises:
        ConfigError: not a recording of the benchmark.
        DataError: no such trials, or a test file of another session.
    """
    layout, width = layout_of(problem), problem.binned.bin_width
    train = problem.recording
    if layout is None:
        raise ConfigError(
            f"{train.source.name} does not have the layout of a Neural Latents data set, or its "
            "windows do not follow it; leave out the test file, --targets and --trials."
        )
    if test is None:
        learned, _ = nlb.held_in_counts(train, "train", bin_width=width)
        counts, _ = nlb.held_in_counts(train, "val", bin_width=width)
    else:
        nlb.check_pair(train, test)
        learned, _ = nlb.held_in_counts(train, "train val", bin_width=width)
        counts, _ = nlb.held_in_counts(test, "test", bin_width=width, layout=layout)
    rates = _arranged(problem, "train", predict(problem, models, learned).rates)
    return rates | _arranged(problem, "eval", predict(problem, models, counts).rates)


def read_targets(problem: FitTask, path: Path) -> dict[str, np.ndarray]:
    """The targets of the fit's data set and bin width in a file of the benchmark.

    Raises:
        ResultsError: the file cannot be read, or has no targets of this data set.
    """
    layout = layout_of(problem)
    assert layout is not None
    groups = submission.read(path)
    name = submission.group_name(layout, problem.binned.bin_width)
    if name not in groups:
        raise ResultsError(f"{path} has no targets of {name!r}; it has: {', '.join(groups)}.")
    return groups[name]


@dataclass(frozen=True)
class Predicted:
    """Rates of some trials."""

    rates: np.ndarray  # (num_trials, observed + forward, num_units) expected counts per bin
    seconds: float  # of the forward passes of all models


def predict(problem: FitTask, models: Sequence[Model], counts: np.ndarray) -> Predicted:
    """Mean rates that some models give to trials of which the held-in units are known.

    A unit that never fired where the recording was observed is in no model; its rate is that of
    half a spike in all of training.

    Args:
        counts: (num_trials, observed, num_held_in), units by ascending id; NaN counts as 0.
    """
    recording, binned, spec = problem.recording, problem.binned, problem.spec
    kept = _kept(problem)
    column_of = {int(row): column for column, row in enumerate(np.flatnonzero(kept))}
    known = nlb.units(_as_held_out(problem), held_out=False)
    columns = [(column_of[int(row)], j) for j, row in enumerate(known) if int(row) in column_of]
    into, out_of = map(list, zip(*columns, strict=True))
    bins = spec.context + spec.forward
    silent = 0.5 / max(1, int((problem.split.bins("train") & binned.valid).sum()))
    rates = np.full((len(counts), bins, len(recording.neurons)), silent, dtype=np.float32)
    device, seconds = problem.windows.device, 0.0
    held_in = torch.as_tensor(problem.split.held_in, device=device)
    size = models[0].config.batch_size
    for start in range(0, len(counts), size):
        part = np.nan_to_num(counts[start : start + size])
        activity = torch.zeros(len(part), bins, binned.num_neurons, device=device)
        activity[:, : spec.context, into] = torch.as_tensor(part[:, :, out_of], device=device)
        batch = Batch(
            activity=activity,
            target=torch.zeros_like(activity),
            valid=torch.ones_like(activity, dtype=torch.bool),
            held_in=held_in,
            neuron_ids=torch.arange(binned.num_neurons, device=device),
            covariates=torch.zeros(*activity.shape[:2], binned.covariates.shape[1], device=device),
            start_bin=torch.zeros(len(part), dtype=torch.long, device=device),
            session=SESSION,
        )
        begun = time.perf_counter()
        with torch.no_grad():
            mean = torch.stack([model(batch).prediction for model in models]).mean(dim=0).cpu()
        seconds += time.perf_counter() - begun
        rates[start : start + size, :, kept] = mean.numpy()
    return Predicted(rates, seconds)


def _rates_of(
    problem: FitTask,
    recording: Recording,
    name: str,
    baseline: Baseline,
    seen: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> dict[str, np.ndarray]:
    """A baseline's rates, NaN where it predicts none; without held-in neurons if it has none."""
    binned = problem.binned
    origin = round(binned.time[0] / binned.bin_width - 0.5)
    by_name: dict[str, np.ndarray] = {}
    for phase, (counts, starts) in seen.items():
        bins = starts[:, None] - origin + np.arange(problem.spec.context)
        rates = np.full((*bins.shape, len(recording.neurons)), np.nan)
        inside = (bins >= 0) & (bins < binned.num_bins)
        rates[..., _kept(problem)] = np.where(
            inside[..., None], baseline.prediction[np.where(inside, bins, 0)], np.nan
        )
        arranged = _arranged(problem, phase, rates)
        if name == SMOOTHING:
            arranged[f"{phase}_rates_heldin"] = baselines.smoothed(
                baseline, np.nan_to_num(counts), bin_width=binned.bin_width
            )
        else:
            del arranged[f"{phase}_rates_heldin"]
        by_name |= arranged
    return by_name


def _arranged(problem: FitTask, phase: str, rates: np.ndarray) -> dict[str, np.ndarray]:
    held_out = _as_held_out(problem).neurons.table["heldout"].to_numpy(bool)
    return submission.arrange(
        phase,
        rates,
        observed=problem.spec.context,
        held_in=~held_out,
        ids=problem.recording.neurons.ids,
    )


def _kept(problem: FitTask) -> np.ndarray:
    """(num_units,) bool, the units of the file that the fit uses."""
    return np.isin(problem.recording.neurons.ids, problem.binned.neurons.ids)


def _as_held_out(problem: FitTask) -> Recording:
    """The recording, with the units that this fit held out as its `heldout` column."""
    neurons = problem.recording.neurons
    held_out = np.isin(neurons.ids, problem.binned.neurons.ids[problem.held_out])
    used = _kept(problem)
    stated = flags(neurons.table["heldout"])
    assert stated is not None  # as `nlb.recognise`
    table = neurons.table.assign(heldout=np.where(used, held_out, stated))
    return replace(problem.recording, neurons=replace(neurons, table=table))


def _as_fitted(problem: FitTask) -> Recording:
    """The recording, its trials labelled with the split in which the fit used them."""
    aligned, trials = problem.aligned, problem.binned.trials
    assert aligned is not None
    assert trials is not None
    labels = np.full(len(trials), "none", dtype=object)
    for split in ("train", "val", "test"):
        used = np.isin(aligned.starts, problem.windows.starts(split))
        labels[trials.index.get_indexer(aligned.trials.index[used])] = _label(split)
    return replace(_as_held_out(problem), trials=trials.assign(split=labels))


def _label(split: str) -> str:
    """A name of its own: to the benchmark "test" means the trials of a test file, cut otherwise."""
    return f"fit-{split}"
