"""Mean and standard deviation of large arrays, read in blocks."""

import numpy as np


def mean_and_sd(values: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) float32 each, over some rows, NaN left out; read in blocks, so that it takes no memory.

    A column that does not vary takes the median deviation of the others.
    """
    blocks = np.array_split(np.flatnonzero(rows), 1 + rows.sum() // 65536)
    number = np.zeros(values.shape[1])
    total, square = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for block in blocks:
        part = values[block].astype(np.float64)
        number += np.isfinite(part).sum(axis=0)
        total += np.nansum(part, axis=0)
    mean = total / np.maximum(number, 1)
    for block in blocks:
        square += np.nansum((values[block] - mean) ** 2, axis=0)
    sd = np.sqrt(square / np.maximum(number, 1))
    varies = sd > 1e-6 * max(float(sd.max(initial=0.0)), 1e-30)
    sd[~varies] = np.median(sd[varies]) if varies.any() else 1.0
    return mean.astype(np.float32), sd.astype(np.float32)
