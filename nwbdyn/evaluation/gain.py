"""Gain from coupling in a next-bin model, on test.

The model stands beside one without coupling and beside AR, which predicts every neuron by itself.
The former is the model's own dynamics (M1) where it contains them, else a refit with coupling off.
It can be weaker than AR, and then what coupling adds to it is what it lacks. So the better of the
two, by validation, is the one that coupling has to beat.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from nwbdyn.baselines import Baseline
from nwbdyn.evaluation import scoring
from nwbdyn.evaluation.scoring import Task
from nwbdyn.results.sections.coupling import AR, CouplingGain

REFIT, OWN_DYNAMICS = "refit", "nonlinear AR"


def of_coupling(
    task: Task,
    prediction: np.ndarray,
    without: np.ndarray,
    baselines: Mapping[str, Baseline],
    *,
    name: str | None = None,
    edges: pd.DataFrame | None = None,
) -> CouplingGain:
    """Gain from coupling on test over a model without it, and over AR.

    Args:
        prediction: (num_bins, N) of the model, source units.
        without: (num_bins, N) of the model without coupling.
        baselines: those of the model.
        name: the baseline that predicts `without`; None for a refit.
        edges: the fit's edge table.
    """
    compared = scoring.paired_difference(task, prediction, without)
    better = against_ar = None
    if AR in baselines:
        alone = baselines[AR].prediction
        better = scoring.better(task, {REFIT: without, AR: alone}) or REFIT
        against_ar = scoring.paired_difference(task, prediction, alone)
    return CouplingGain(
        **vars(compared),
        against_ar=against_ar,
        better=better,
        baseline=name,
        all_zero=all_zero(edges) if edges is not None and len(edges) else None,
    )


def all_zero(edges: pd.DataFrame) -> bool:
    """True if every edge has the weight 0 in every seed, so that the edge matrix is empty.

    Args:
        edges: a fit's edge table, with "weight" and "seed_sd".
    """
    return not (edges["weight"].any() or edges["seed_sd"].fillna(0.0).any())
