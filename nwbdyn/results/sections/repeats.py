"""Sections "folds", "draws" and "few_shot": scores over repetitions, with mean and spread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from nwbdyn.results.sections.section import Section

Spread = Mapping[str, Any]  # mean, sd, and values of the repetitions


@dataclass(frozen=True)
class FoldScores(Section):
    """Test scores of fits on interleaved test blocks."""

    num_folds: int
    model: Mapping[str, Spread]  # metric -> spread
    baselines: Mapping[str, Mapping[str, Spread]]  # name -> metric -> spread
    difference: Mapping[str, Spread]  # the model minus each fold's best baseline

    KEY: ClassVar[str] = "folds"


@dataclass(frozen=True)
class FewShotScores(Section):
    """co_bps on test of read-outs that were fitted to few training windows."""

    metric: str
    split: str
    windows: int  # that a read-out is fitted to
    num_draws: int  # of these windows
    model: Spread
    baselines: Mapping[str, Spread]

    KEY: ClassVar[str] = "few_shot"


@dataclass(frozen=True)
class HeldoutResampleScores(Section):
    """Test scores over several sets of held-out neurons."""

    num_draws: int  # sets of held-out neurons
    metric: str
    split: str
    model: Mapping[str, Spread]
    baselines: Mapping[str, Mapping[str, Spread]]
    difference: Mapping[str, Spread]
    intervals: Mapping[str, Sequence[float]]  # "model" and "difference", 95 %; few blocks: empty
    beats: bool | None  # the difference lies above 0; None without an interval
    num_neurons: int | None = None  # held out in any set
    per_neuron: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # id -> mean, sets
    num_kept: int | None = None  # sets in which validation kept what was trained on a baseline

    KEY: ClassVar[str] = "draws"
    OPTIONAL: ClassVar[frozenset[str]] = frozenset({"num_kept"})

    def metrics(self) -> dict[str, Any]:
        """The section, and in its light whether the fit beats its baselines."""
        return super().metrics() | {"beats_baseline": self.beats}
