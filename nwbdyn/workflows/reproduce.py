"""Fit again from an exported file, and compare the two fits.

The file is enough: it names the source, every choice and the digest of the tensors that went into
the fit. On the same CPU with as many threads a fit repeats itself; elsewhere the outcome says what
is different, because a sum of floats depends on all of it.
"""

import math
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from nwbdyn import models, opening, scratch
from nwbdyn.data import conditions
from nwbdyn.data.conditions import ConditionError
from nwbdyn.errors import AddressError, DataError, ResultsError
from nwbdyn.fitting import sweep_space
from nwbdyn.fitting.fit import fit_request
from nwbdyn.fitting.pipeline import task_keywords
from nwbdyn.fitting.task import build_task
from nwbdyn.nwb.results.open_results import open_results
from nwbdyn.progress import Report
from nwbdyn.progress_bars import progress_bars
from nwbdyn.recording import COUNTS, Recording
from nwbdyn.request import FitRequest, option_of
from nwbdyn.results import damage, provenance
from nwbdyn.results.fit_results import Fit
from nwbdyn.statistics import states
from nwbdyn.workflows import locate_source

PREDICTIONS, METRICS = 1e-5, 1e-6  # largest differences on the same CPU with as many threads
MACHINE = ("threads", "cpu", "platform")  # of a fit's environment, that can change a number


@dataclass(frozen=True)
class Reproduction:
    """A second fit beside the first, and what is different."""

    fit: Fit  # the second one
    predictions: float  # largest difference, in standard deviations of the neuron's prediction
    metrics: float  # largest difference of a score
    metric: str  # which score that is, e.g. "model.test.r2"
    unmatched: tuple[str, ...]  # scores that only one of the two has
    digests: tuple[str | None, str | None]  # of the source, then and now
    changed: dict[str, tuple[object, object]]  # versions, threads, device …: then and now

    @property
    def reproduced(self) -> bool:
        """True if predictions and scores agree as they do on the same machine."""
        return self.predictions <= PREDICTIONS and self.metrics <= METRICS


def reproduce(
    path: Path | str,
    run: str | None = None,
    *,
    source: str | None = None,
    instance: str | None = None,
    folder: Path | str | None = None,
    report: Report | bool = True,
) -> Reproduction:
    """Fit again what is in an exported file, from the file alone, and compare.

    Args:
        path: a file that `export` wrote.
        run: name of the ModelRun, where the file holds several.
        source: address of the recording, where it is no longer where the file says.
        instance: archive to ask; by default the one that the file names.
        folder: run directory to write the second fit to; None keeps it in memory.
        report: False for no progress bar, or a function, as for `nwbdyn.fit`.

    Returns:
        The second fit, and how it differs from the first.

    Raises:
        ResultsError: no such file or run, the fit also needed what is in no file, the source is
            gone, or it no longer gives the tensors that were fitted; the message has both digests.
        AddressError, ArchiveError, StreamError: the source cannot be opened.
    """
    with ExitStack() as files:
        shown = files.enter_context(progress_bars(report))
        first = files.enter_context(open_results(path, run))
        with damage.as_error(path):
            _check_alone(first)
            _check_model(first)
            chosen_of(first)
        temporary = files.enter_context(scratch.folder())
        address = source or locate_source.address_of(first, beside=Path(path).resolve().parent)
        recording = files.enter_context(reopened(first, address, instance, temporary, shown))
        request = checked_request(first, recording).with_keywords(
            device="cpu" if first.device == "cpu" else "auto",
            run=None if folder is None else Path(folder),
        )
        second = fit_request(request, recording, report=shown)
        with damage.as_error(path):
            difference, metric, unmatched = compare_metrics(first.metrics, second.metrics)
        return Reproduction(
            fit=second,
            predictions=compare_predictions(
                np.asarray(first.predictions.values), second.predictions.values
            ),
            metrics=difference,
            metric=metric,
            unmatched=unmatched,
            digests=(first.source.digest, recording.source.digest),
            changed=_changed(first, second),
        )


def compare_predictions(first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference of two (num_bins, N) predictions, in each neuron's standard deviations.

    Infinite where only one of them predicts anything.
    """
    if first.shape != second.shape or (np.isnan(first) != np.isnan(second)).any():
        return math.inf
    there = np.isfinite(first)
    predicted = there.any(axis=0)
    if not predicted.any():
        return 0.0
    sd = np.nanstd(first[:, predicted].astype(np.float64), axis=0)
    difference = np.abs(second - first)[:, predicted] / np.where(sd > 0, sd, 1)
    return float(np.nanmax(difference))


def compare_metrics(
    first: Mapping[str, object], second: Mapping[str, object]
) -> tuple[float, str, tuple[str, ...]]:
    """Largest difference of a score, its name, and the scores that only one of the two has.

    Two words that differ, such as the name of the best baseline, are infinitely far apart.
    """
    before, now = dict(_leaves(first)), dict(_leaves(second))
    differences = {name: _distance(before[name], now[name]) for name in before if name in now}
    worst = max(differences, key=lambda name: differences[name], default="")
    unmatched = tuple(sorted(before.keys() ^ now.keys()))
    return differences.get(worst, 0.0), worst, unmatched


def reopened(
    fit: Fit, address: str, instance: str | None, scratch: Path, report: Report
) -> Recording:
    """The recording that was fitted, at `address`, with what was chosen from it."""
    chosen: dict[str, Any] = dict(chosen_of(fit))
    if chosen.pop("cell_types", None) is not None:
        # The CSV file with these labels may be gone; the labels themselves are in the results.
        chosen["cell_types"] = scratch / "cell_types.csv"
        fit.neurons.table[["id", "cell_type"]].to_csv(chosen["cell_types"], index=False)
    try:
        return opening.open(
            address, instance=instance or fit.source.instance, report=report, **chosen
        )
    except AddressError as error:
        raise ResultsError(
            f"{error} It is the source of these results; say where it is now with --source."
        ) from error


def chosen_of(fit: Fit) -> dict[str, str]:
    """The reading options of a fit, as `opening.open` takes them; no other name passes.

    Raises:
        ResultsError: what the fit states is no text, unknown to this version, or a condition that
            is outside the grammar; the message has its equivalent, where there is one.
    """
    stated = fit.binning.get("chosen") or {}
    if not isinstance(stated, Mapping):
        raise ResultsError(f"The results state {stated!r} as what was chosen; expected a table.")
    chosen = {name: value for name, value in stated.items() if name != "cell_types_digest"}
    known = signature(opening.open).parameters.keys() - {"address", "instance", "report"}
    for name, value in chosen.items():
        if name not in known or not isinstance(value, str):
            raise ResultsError(
                f"The results state that {name!r} was chosen as {value!r}, which this nwbdyn does "
                "not know. Update nwbdyn, or fit the recording again."
            )
    if "where" in chosen:
        try:
            conditions.parse(chosen["where"])
        except ConditionError as error:
            again = "Fit the recording again" + (
                f" with --where {shlex.quote(error.equivalent)}." if error.equivalent else "."
            )
            raise ResultsError(
                f"The results hold a condition that is not run. {error} {again}"
            ) from None
    return chosen


def _check_alone(fit: Fit) -> None:
    """Raise ResultsError where the fit also needed something that is not in its file."""
    decisions = _request(fit)
    for name, needed in (
        ("adopted", "parameters of an earlier run"),
        ("joint", "recordings of other sessions"),
    ):
        if name in decisions:
            raise ResultsError(
                f"This fit also needed {needed} ({decisions[name]}), which are not in its file. "
                "Repeat it with `nwbdyn fit` and the choices that the file states."
            )
    for option, needed in _files_of(fit.request).items():
        raise ResultsError(
            f"This fit also needed a file ({option} {needed}), which is not in its results and is "
            "not looked for. Repeat it with `nwbdyn fit` and the choices that the file states."
        )


def _check_model(fit: Fit) -> None:
    """Raise ResultsError where the model of the fit is of a package that is not installed."""
    if fit.model in models.names():
        return
    packages = ", ".join(provenance.model_packages(fit.versions))
    raise ResultsError(
        f"The model {fit.model!r} is not installed here. Install "
        f"{packages or 'the package that it comes from'}, and repeat the command."
    )


def _files_of(request: FitRequest) -> dict[str, str]:
    """Option -> file, of what a request would read besides the recording."""
    model, tests = request.model_options, request.tests
    intervals = tests.states if states.is_file(tests.states) else None
    sweep = None if isinstance(model.sweep, Mapping | None) else model.sweep
    files = {"states": intervals, "sweep": sweep, "init_from": model.init_from}
    files["targets"] = tests.targets
    return {option_of(name): str(file) for name, file in files.items() if file is not None}


def checked_request(fit: Fit, recording: Recording) -> FitRequest:
    """The request of the fit, once it is known to give the tensors that were fitted.

    A fit of version 0.1 does not say whether traces keep their frames or were resampled; the digest
    of the tensors tells.

    Raises:
        ResultsError: the recording does not give these tensors.
    """
    with damage.as_error(fit.name):
        request, stated = _request_of_then(fit), fit.binning.get("bin_width")
    if request.model_options.sweep is not None:
        candidates = sweep_space.points(request.model_options.sweep)
        request = request.with_keywords(sweep={"list": list(candidates)})
    widths: list[Any] = [request.data.bin_width]
    if "request" not in fit.environment:
        widths = [stated] if fit.binning.get("quantity") == COUNTS else [None, stated]
    digests = []
    for width in widths:
        candidate = request.with_keywords(bin_width=width)
        try:
            keywords, _ = task_keywords(candidate)
            digests.append(build_task(recording, fit.model, **keywords).digest)
        except DataError as error:
            digests.append(str(error))
            continue
        if digests[-1] == fit.binning.get("tensors"):
            return candidate
    raise ResultsError(
        f"{recording.source.uri} does not give the tensors that were fitted: expected "
        f"{fit.binning.get('tensors')}, found {digests[0]}. The digest of the source was "
        f"{fit.source.digest}, and is {recording.source.digest}. Give the file that was fitted "
        "with --source."
    )


def _request_of_then(fit: Fit) -> FitRequest:
    """The request of a fit, with the options that its version had no choice about."""
    request = fit.request
    options = request.model_options.options
    if options.get("preset") is not None:
        return request
    added = {
        name: fit.config.get(name, value)
        for name, value in models.load(fit.model).absent_options.items()
    }
    return request.with_keywords(options={**added, **options})


def _changed(first: Fit, second: Fit) -> dict[str, tuple[object, object]]:
    """Settings that can change a number and differ between the two fits."""
    pairs: dict[str, tuple[object, object]] = {
        name: (first.versions.get(name), second.versions.get(name))
        for name in sorted(first.versions.keys() | second.versions.keys())
    }
    pairs |= {name: (first.environment.get(name), second.environment.get(name)) for name in MACHINE}
    pairs["device"] = (first.device, second.device)
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _request(fit: Fit) -> Mapping[str, object]:
    decisions = fit.environment.get("asked")
    return decisions if isinstance(decisions, Mapping) else {}


def _leaves(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """Every single value of nested mappings and lists, with its path as a dotted name."""
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)  # type: ignore[assignment]
    else:
        yield name, value
        return
    for key, part in parts:
        yield from _leaves(part, f"{name}.{key}" if name else str(key))


def _distance(one: object, other: object) -> float:
    """|one - other| of numbers; 0 for equal values, infinite for others. None stands for NaN."""
    values = [math.nan if value is None else value for value in (one, other)]
    if not all(isinstance(value, int | float | np.number) for value in values):
        return 0.0 if one == other else math.inf
    a, b = (float(value) for value in values)  # type: ignore[arg-type]
    if math.isnan(a) or math.isnan(b):
        return 0.0 if math.isnan(a) and math.isnan(b) else math.inf
    return 0.0 if a == b else abs(a - b)
