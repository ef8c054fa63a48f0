"""Small recordings written out by hand, for tests of what follows the reader."""

import numpy as np
import pandas as pd

from nwbdyn.data.binning import Binned, bin_recording
from nwbdyn.recording import Covariate, Neurons, Recording, Source, SpikeTimes, Traces


def neurons(number: int, kind: str = "unit", **columns: object) -> Neurons:
    return Neurons(pd.DataFrame({"id": np.arange(number), **columns}), kind)


def units(
    spikes: list[list[float]],
    *,
    intervals: list[tuple[float, float]] | None = None,
    trials: pd.DataFrame | None = None,
    covariates: tuple[Covariate, ...] = (),
    invalid_times: list[tuple[float, float]] | None = None,
    uri: str = "small.nwb",
    dandiset_id: str | None = None,
    **columns: object,
) -> Recording:
    """A recording of spiking units; `columns` go into the unit table."""
    times = np.array([time for unit in spikes for time in unit], dtype=float)
    index = np.cumsum([len(unit) for unit in spikes]).astype(np.int64)
    observed = None if intervals is None else np.array(intervals, dtype=float)
    tables = {}
    if invalid_times is not None:
        tables["invalid_times"] = pd.DataFrame(invalid_times, columns=["start_time", "stop_time"])
    return Recording(
        session_id="small",
        neurons=neurons(len(spikes), **columns),
        activity=SpikeTimes(times, index, observed),
        source=Source(uri, f"file:///{uri}", dandiset_id=dandiset_id),
        trials=trials,
        covariates=covariates,
        intervals=tables,
    )


def rois(
    data: np.ndarray,
    timestamps: np.ndarray,
    *,
    covariates: tuple[Covariate, ...] = (),
    trials: pd.DataFrame | None = None,
    invalid_times: list[tuple[float, float]] | None = None,
) -> Recording:
    """A recording of dF/F traces."""
    tables = {}
    if invalid_times is not None:
        tables["invalid_times"] = pd.DataFrame(invalid_times, columns=["start_time", "stop_time"])
    return Recording(
        session_id="small",
        neurons=neurons(data.shape[1], "roi"),
        activity=Traces(np.asarray(data, dtype=np.float32), np.asarray(timestamps, float), "dff"),
        source=Source("small.nwb", "file:///small.nwb"),
        covariates=covariates,
        trials=trials,
        intervals=tables,
    )


def trial_table(starts: np.ndarray, length: float, **columns: object) -> pd.DataFrame:
    starts = np.asarray(starts, dtype=float)
    return pd.DataFrame({"start_time": starts, "stop_time": starts + length, **columns})


def poisson_spikes(
    num_units: int, seconds: float, *, rate: float = 20.0, start: float = 0.0, seed: int = 0
) -> list[list[float]]:
    """Spike times of independent Poisson units, sorted."""
    rng = np.random.default_rng(seed)
    numbers = rng.poisson(rate * seconds, num_units)
    return [sorted(rng.uniform(start, start + seconds, n).tolist()) for n in numbers]


def binned_counts(num_bins: int, num_units: int = 4, *, seed: int = 0, **more: object) -> Binned:
    """Poisson counts in bins of 20 ms from 0 s, all observed."""
    width = 0.020
    spikes = poisson_spikes(num_units, num_bins * width, seed=seed)
    return bin_recording(
        units(spikes, intervals=[(0.0, num_bins * width)], **more), bin_width=width
    )


def binned_traces(num_frames: int, num_rois: int = 3, *, seed: int = 0) -> Binned:
    """Noise traces at 10 Hz."""
    data = np.random.default_rng(seed).normal(2.0, 3.0, (num_frames, num_rois))
    return bin_recording(rois(data, np.arange(num_frames) / 10))


TESTED = {  # section "edges" of the metrics
    **{"null": "shift", "tested": "weight", "hypothesis": "neurons are independent"},
    **{"num_surrogates": 20, "num_half_samples": 10, "smallest_p": 0.0017, "level": 0.05},
    **{"num_edges": 30, "num_flagged": 0, "mean_weight": 0.1, "withheld": ""},
    **{"num_significant": 5, "num_significant_unflagged": 5, "half_split_correlation": 0.9},
}
