"""Sections "benchmark" and "submission": scores of the Neural Latents Benchmark."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.section import Section

BySplit = Mapping[str, Mapping[str, float | None]]  # split -> metric -> score


@dataclass(frozen=True)
class BenchmarkResult(Section):
    """Scores on the benchmark's own trials, of the fit and of its baselines."""

    data_set: str
    model: BySplit
    baselines: Mapping[str, BySplit]  # as far as a baseline predicts
    num_trials: Mapping[str, int]  # split -> number
    milliseconds_per_trial: float  # of one model's forward pass

    KEY: ClassVar[str] = "benchmark"


@dataclass(frozen=True)
class Submission(Section):
    """The file of rates in the benchmark's form, and their scores here."""

    phase: str  # "test" or "validation"
    file: str
    targets: str | None  # name of the targets file
    scores: Mapping[str, float | None] | None  # None without targets

    KEY: ClassVar[str] = "submission"
