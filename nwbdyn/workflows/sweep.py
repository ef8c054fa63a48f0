"""A sweep: many settings of one model on one recording, of which validation takes one.

Every candidate is trained and judged on the same bins, as `members.choose` does for the options
that a model leaves open by itself. The test bins stay sealed until one candidate is taken, and that
one alone is scored on them, beside its baselines. Its validation score is the best of many, and so
flatters it: compare test scores.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nwbdyn.fitting.fit import fit
from nwbdyn.recording import Recording
from nwbdyn.results.fit_results import Fit


def sweep(
    recording: Recording | str,
    model: str,
    space: Mapping[str, object] | Path | str,
    **choices: Any,
) -> Fit:
    """Fit `model` with the settings among `space` that do best on validation.

    Args:
        recording: a recording, or an address that `nwbdyn.open` takes.
        model: a model's name.
        space: what to try, as a table or a YAML file (see `fitting.sweep_space`): fields of the
            model's Config on a grid or in a list.
        **choices: as `nwbdyn.fit` takes them; `options` are those that every candidate has.

    Returns:
        The Fit of the winner. `metrics["candidates"]` lists every candidate with its validation
        loss.

    Raises:
        ConfigError: a space or an option that makes no sense.
        DataError, FitError, ResultsError: as `nwbdyn.fit`; FitError also where all candidates fail.
    """
    return fit(recording, model, sweep=space, **choices)
