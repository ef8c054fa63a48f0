"""Tables inside a ModelRun: scores, options and other details, epochs, notes."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import pandas as pd
from ndx_population_dynamics import (
    RunDetailsTable,
    RunMetricsTable,
    RunNotesTable,
    TrainingHistoryTable,
)

from nwbdyn.nwb.results import components, storage
from nwbdyn.recording import Note
from nwbdyn.results.details import rows
from nwbdyn.results.fit_results import Fit
from nwbdyn.results.scores import scores, scores_beside


def metrics(fit: Fit) -> RunMetricsTable | None:
    """Scores of the model, then of every baseline; None for fewer than two."""
    all_scores = list(scores(fit.metrics))
    if len(all_scores) < 2:
        return None
    columns = {
        name: np.array([getattr(score, name) for score in all_scores], dtype=object)
        for name in ("method", "split", "metric")
    }
    columns["method"] = np.array(
        [fit.model if score.method is None else score.method for score in all_scores], dtype=object
    )
    columns["value"] = np.array([score.value for score in all_scores])
    if any(score.interval is not None for score in all_scores):
        ends = [score.interval or (math.nan, math.nan) for score in all_scores]
        columns["low"], columns["high"] = np.array(ends, dtype=np.float64).T
    return storage.table(
        RunMetricsTable,
        columns,
        name="metrics",
        description=(
            "Scores of the model, whose rows come first, beside the baselines on the same bins."
        ),
    )


def details(fit: Fit, notes: tuple[Note, ...] = ()) -> RunDetailsTable:
    """Everything nested that has no dedicated column or attribute, one value per row.

    A table of one row is none: a single epoch and a single note are here, too.
    """
    versions = {name: value for name, value in fit.versions.items() if name != "environment"}
    sections: dict[str, Mapping[str, object]] = {
        "config": fit.config,
        "binning": fit.binning,
        "split": fit.split,
        "versions": versions,
        "environment": fit.environment,
        "scores": scores_beside(fit.metrics) if metrics(fit) is not None else fit.metrics,
        "connectivity": components.remaining(fit.connectivity),
    }
    if fit.influence is not None:
        sections["influence"] = components.remaining(fit.influence)
    if len(fit.history) == 1:
        sections["history"] = {"0": fit.history[0]}
    if len(notes) == 1:
        sections["notes"] = {"0": asdict(notes[0])}
    all_rows = [row for name, values in sections.items() for row in rows(name, values)]
    return storage.table(
        RunDetailsTable,
        {
            field: np.array([getattr(row, field) for row in all_rows], dtype=object)
            for field in ("section", "key", "value", "value_type")
        },
        name="details",
        description="Options, binning, split, versions and further results of the fit.",
    )


def training_history(fit: Fit) -> TrainingHistoryTable | None:
    """One row per epoch, with a column for everything that was logged; None for fewer than two."""
    if len(fit.history) < 2:
        return None
    frame = pd.DataFrame(list(fit.history)).dropna(axis="columns", how="all")
    columns = {
        str(name): values.to_numpy()
        if values.dtype.kind in "biuf"
        else np.array([json.dumps(value) for value in values], dtype=object)
        for name, values in frame.items()
    }
    return storage.table(
        TrainingHistoryTable,
        columns,
        name="training_history",
        description="Losses and what else was logged, epoch by epoch.",
    )


def run_notes(notes: tuple[Note, ...]) -> RunNotesTable | None:
    """Table of the notes on skipped or changed data; None for fewer than two notes."""
    if len(notes) < 2:
        return None
    columns = {
        "code": [note.code for note in notes],
        "location": [note.where for note in notes],
        "reason": [note.reason for note in notes],
    }
    return storage.table(
        RunNotesTable,
        {name: np.array(values, dtype=object) for name, values in columns.items()},
        name="run_notes",
        description="What was skipped or changed when reading, fitting and exporting.",
    )
