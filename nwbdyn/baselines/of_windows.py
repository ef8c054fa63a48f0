"""The baselines of a model's own windows, fitted once for training and scoring alike."""

from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np

from nwbdyn.baselines.baseline import Baseline
from nwbdyn.baselines.held_out import co_smoothing
from nwbdyn.data.splits import GAP, SPLITS, TRAIN, VAL
from nwbdyn.data.windows import Windows
from nwbdyn.progress import Report, silent

CHOOSING = 5  # every so many windows choose, where none are kept for validation
_FITTED: WeakKeyDictionary[Windows, dict[str, Baseline]] = WeakKeyDictionary()


def co_smoothing_of(windows: Windows, *, report: Report = silent) -> dict[str, Baseline]:
    """Predict held-out neurons in the windows of a co-smoothing model; see `co_smoothing`.

    Where all windows train, as in a refit for a submission, every fifth of them chooses filter and
    penalty, and all of them fit the regression.
    """
    if windows not in _FITTED:
        split, context = windows.split, windows.spec.context
        refit = not (split.labels == VAL).any()
        names = SPLITS[:1] if refit else SPLITS[:GAP]
        starts = np.concatenate([windows.starts(name) for name in names])
        if refit:
            labels = split.labels.copy()
            chosen = (starts[CHOOSING - 1 :: CHOOSING, None] + np.arange(context)).ravel()
            labels[chosen[labels[chosen] == TRAIN]] = VAL
            split = replace(split, labels=labels)
        _FITTED[windows] = co_smoothing(
            windows.binned,
            split,
            starts,
            context=context,
            reach=windows.reach,
            refit=refit,
            report=report,
        )
    return _FITTED[windows]
