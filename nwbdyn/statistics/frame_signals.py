"""Signals whose coincidence within a frame shows simultaneous coupling.

Innovations are what a neuron's own past leaves over. Where calcium events stand out of Gaussian
measurement noise, the signal is events: differences between frames, freed of light that pixels
share, summed over a few frames and thresholded (Stetter et al. 2012; Sutera et al. 2014). Sums of
differences are differences over more frames, in which noise cancels; sums of innovations would
hold the slow course of fluorescence. Where there are no such events, the signal is the innovations.
"""

from dataclasses import dataclass

import numpy as np

HIGH = 3.0  # robust standard deviations that Gaussian noise rarely exceeds
LIGHT_TAIL = 0.03  # most squared deviation below -HIGH for Gaussian noise; exactly Gaussian: .0147
QUIET = 0.05  # share of neurons beyond HIGH in a frame, above which it is not quiet
FEWEST_QUIET = 10  # quiet frames per neuron that shared light is estimated from
SMALLEST = 0.05  # of the eigenvalues of the noise's correlation
CLIP = 2.0  # robust standard deviations that quiet innovations are held within


@dataclass(frozen=True)
class Innovations:
    """Residuals of each neuron's own past, in robust standard deviations."""

    values: np.ndarray  # (n, N)
    run: np.ndarray  # (n,) int, the same number = frames follow one another

    def smoothed(self, num_frames: int) -> np.ndarray:
        """(m, N) sums over windows of `num_frames` frames that follow one another."""
        if num_frames == 1:
            return self.values
        sums = np.cumsum(np.vstack([np.zeros(self.values.shape[1]), self.values]), axis=0)
        window = sums[num_frames:] - sums[:-num_frames]
        return window[self.run[num_frames - 1 :] == self.run[: len(window)]]


def innovations(values: np.ndarray, segment: np.ndarray, *, order: int) -> Innovations:
    """Residuals of an autoregression of each neuron; of order 0, differences between frames.

    Args:
        values: (T, N), NaN in frames that are not to be used.
        segment: (T,) int, the same number = no gap in between.
        order: frames of own past; 0 takes the last frame as it is.
    """
    usable = np.isfinite(values).all(axis=1)
    history = max(order, 1)
    rows = np.arange(history, len(values))
    whole = usable[rows]
    for lag in range(1, history + 1):
        whole &= usable[rows - lag] & (segment[rows - lag] == segment[rows])
    rows = rows[whole]
    left = np.empty((len(rows), values.shape[1]))
    if not order:
        left = values[rows] - values[rows - 1]
    for neuron, trace in enumerate(values.T if order else ()):
        past = np.column_stack([np.ones(len(rows)), *(trace[rows - k - 1] for k in range(order))])
        left[:, neuron] = trace[rows] - past @ np.linalg.lstsq(past, trace[rows], rcond=None)[0]
    run = np.cumsum(np.diff(rows, prepend=rows[:1]) > 1)
    return Innovations(robust(left), run)


def robust(values: np.ndarray) -> np.ndarray:
    """Less the median, over the robust standard deviation (of a constant neuron, over 1)."""
    centred = values - np.median(values, axis=0)
    scale = 1.4826 * np.median(np.abs(centred), axis=0)
    scale = np.where(scale > 0, scale, values.std(axis=0))
    return centred / np.where(scale > 0, scale, 1.0)


def has_events(innovations: Innovations) -> bool:
    """True where innovations are Gaussian noise below, and heavier than that above.

    Compares the share of squared deviation beyond HIGH on both sides, the median over neurons.
    """
    squares = np.square(innovations.values)
    total = np.maximum(squares.sum(axis=0), 1e-12)
    above = np.median((squares * (innovations.values > HIGH)).sum(axis=0) / total)
    below = np.median((squares * (innovations.values < -HIGH)).sum(axis=0) / total)
    return bool(below <= LIGHT_TAIL < above)


def unmixed(innovations: Innovations) -> Innovations:
    """Innovations whose noise is uncorrelated between neurons in quiet frames.

    Scattered light and neuropil correlate neurons in every frame, events or not. The symmetric
    square root of the inverse noise correlation undoes this. With too few quiet frames nothing is
    changed.
    """
    quiet = (innovations.values > HIGH).mean(axis=1) < QUIET
    num_neurons = innovations.values.shape[1]
    if quiet.sum() < FEWEST_QUIET * num_neurons:
        return innovations
    noise = correlation(np.clip(innovations.values[quiet], -CLIP, CLIP))
    size, vectors = np.linalg.eigh(noise)
    root = (vectors / np.sqrt(np.maximum(size, SMALLEST))) @ vectors.T
    return Innovations(innovations.values @ root, innovations.run)


def events(smoothed: np.ndarray, threshold: float) -> np.ndarray:
    """Values above `threshold` robust standard deviations; 0 elsewhere."""
    scaled = robust(smoothed)
    return np.where(scaled > threshold, scaled, 0.0)


def correlation(values: np.ndarray) -> np.ndarray:
    """(N, N) correlations; a constant neuron has none with any other."""
    centred = values - values.mean(axis=0)
    size = np.sqrt(np.square(centred).sum(axis=0))
    centred = centred / np.where(size > 0, size, 1.0)
    product = centred.T @ centred
    np.fill_diagonal(product, 1.0)
    return product
