"""What a fit is asked about its couplings, beside how well they predict: `--null` and `--states`.

Of the recording, whether coupling and a change of gain help to predict at all (`nested`). Of every
edge, whether it is stronger than in recordings without coupling (`significance`); of
A(t), whether it predicts better than a constant (`identifiability`); of states of behaviour,
whether coupling differs between them (`state_null`); and means between cell types (`groups`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from nwbdyn.errors import ConfigError
from nwbdyn.fitting.stages import edge_tests, nested_tests, state_test, static_control
from nwbdyn.fitting.task import FitTask
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.recording import Recording
from nwbdyn.results.fit_results import Fit
from nwbdyn.statistics import groups
from nwbdyn.statistics import states as behaviour
from nwbdyn.statistics.surrogates import Null
from nwbdyn.training.trainer import Trained


@dataclass(frozen=True)
class HypothesisTests:
    """True where there are any."""

    null: Null | None
    states: str | None  # as asked
    intervals: pd.DataFrame | None  # of these states, see `states.of_recording`

    @classmethod
    def parse(cls, recording: Recording, null: str | None, states: str | None) -> "HypothesisTests":
        """The questions in words: `null` "shift:20", `states` "TABLE:COLUMN".

        Raises:
            ConfigError: words of another form, states without a null, or a table that is not there.
        """
        if null is None and states is not None:
            raise ConfigError("states are tested beside a null. Add --null shift:20.")
        return cls(
            None if null is None else Null.parse(null),
            states,
            None if states is None else behaviour.of_recording(recording, states),
        )

    def __bool__(self) -> bool:
        return self.null is not None

    @property
    def asked(self) -> dict[str, Any]:
        """For the record of what was asked; empty where nothing was."""
        asked = {"null": self.null and str(self.null), "states": self.states}
        return {name: words for name, words in asked.items() if words is not None}

    def check(self, problem: FitTask) -> None:
        """Refuse what this problem has no answer to, before anything is trained (ConfigError)."""
        if self.null is None:
            return
        edge_tests.check(problem, self.null)
        if self.intervals is not None:
            state_test.check(problem, self.intervals, self.null.number)

    def answer(
        self,
        fitted: Fit,
        problem: FitTask,
        trained: Sequence[Trained],
        place: RunContext,
        *,
        influence_windows: int,
    ) -> Fit:
        """The fit with the answers in its edges, groups, metrics and notes."""
        if self.null is None:
            return fitted
        fitted = edge_tests.with_edge_statistics(
            fitted, problem, trained, self.null, place, influence_windows=influence_windows
        )
        if not problem.co_smoothing:
            fitted = nested_tests.with_answers(fitted, problem, self.null.number, place.report)
        first = trained[0]
        constant = static_control.train_static(problem, first, place)
        fitted = static_control.with_dynamics(fitted, problem, first, constant)
        if self.intervals is not None and constant is not None:
            fitted = state_test.with_states(
                fitted, problem, first, constant, self.intervals, place, number=self.null.number
            )
        return groups.with_groups(fitted)
