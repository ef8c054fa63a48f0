"""Recording -> Binned: every signal on one clock, gaps marked, nothing filled silently."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nwbdyn.recording import Neurons, Note


@dataclass(frozen=True)
class Binned:
    """Activity and covariates of one session on one clock.

    Spikes are counted in bins of `bin_width`. ROI traces keep their native frames (one bin = one
    frame) unless a bin width is given.
    """

    session_id: str
    values: np.ndarray  # (num_bins, num_neurons) float32, spike counts or trace values
    time: np.ndarray  # (num_bins,) float64, bin centres in seconds on the session clock
    bin_width: float  # seconds; for native frames the median frame interval
    valid: np.ndarray  # (num_bins,) bool, False where the neurons were not observed
    segment: np.ndarray  # (num_bins,) int, the same number = no gap in between; windows stay inside
    neurons: Neurons  # the columns of `values`
    quantity: str  # "counts", "dff", "events", "deconvolved" or "fluorescence"
    covariates: np.ndarray  # (num_bins, num_covariates) float32, K may be 0
    covariate_names: tuple[str, ...] = ()
    trials: pd.DataFrame | None = None  # start_time, stop_time, split …; rows in time order
    notes: tuple[Note, ...] = ()

    @property
    def num_bins(self) -> int:
        return self.values.shape[0]

    @property
    def num_neurons(self) -> int:
        return self.values.shape[1]
