"""The mean coupling matrix as a picture that every NWB viewer shows."""

import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from pynwb.base import Images
from pynwb.image import RGBImage

from nwbdyn.connectivity.connectivity import Connectivity

SMALLEST, LARGEST = 400, 1000  # pixels of a side
DIAGONAL = 0.5  # grey: a neuron's own history is no coupling


def heat_map(name: str, matrix: np.ndarray, connectivity: Connectivity, averaged: str) -> Images:
    """Images with one picture: diverging colours around zero, sorted by cell type and region.

    Args:
        name: of the Images object.
        matrix: (N, N) [post, pre].
        connectivity: what the matrix averages, for the order of its rows and the words.
        averaged: over what, in words.
    """
    order = connectivity.sorted_rows()
    pixels, limit = draw(matrix[np.ix_(order, order)])
    labels = [label for label in ("cell_type", "location") if label in connectivity.neurons.table]
    words = " and ".join(labels).replace("_", " ")
    picture = RGBImage(
        name="coupling",
        data=H5DataIO(pixels, compression="gzip", shuffle=True),
        description=(
            f"Mean coupling over {averaged} ({connectivity.measure}). Rows receive, columns send; "
            + (f"both sorted by {words}. " if words else "both in the order of the recording. ")
            + f"Red is positive, blue negative, full colour at {limit:.3g}; the diagonal is grey."
        ),
    )
    return Images(name=name, images=[picture], description="Pictures of a fitted model.")


def draw(matrix: np.ndarray) -> tuple[np.ndarray, float]:
    """(side, side, 3) uint8 pixels, and the weight of full colour.

    Full colour is the 99th percentile of |weight| off the diagonal, so that one strong edge does
    not turn the rest white. Matrices beyond LARGEST are averaged in blocks.
    """
    from matplotlib import colormaps

    num_neurons = len(matrix)
    weights = np.array(matrix, dtype=np.float64)
    off_diagonal = np.abs(weights[~np.eye(num_neurons, dtype=bool)])
    limit = float(np.nanpercentile(off_diagonal, 99)) if off_diagonal.size else 0.0
    np.fill_diagonal(weights, np.nan)
    if num_neurons > LARGEST:
        starts = np.linspace(0, num_neurons, LARGEST, endpoint=False).astype(int)
        known = np.isfinite(weights).astype(np.float64)
        total = _blocks(np.nan_to_num(weights), starts)
        weights = total / np.maximum(_blocks(known, starts), 1)
    shade = weights / limit / 2 + 0.5 if limit else np.where(np.isfinite(weights), 0.5, np.nan)
    colours = colormaps["RdBu_r"](np.clip(np.nan_to_num(shade, nan=0.5), 0, 1))[..., :3]
    colours[~np.isfinite(weights)] = DIAGONAL
    pixels = np.round(255 * colours).astype(np.uint8)
    zoom = max(1, -(-SMALLEST // len(pixels)))
    return pixels.repeat(zoom, axis=0).repeat(zoom, axis=1), limit


def _blocks(matrix: np.ndarray, starts: np.ndarray) -> np.ndarray:
    return np.add.reduceat(np.add.reduceat(matrix, starts, axis=0), starts, axis=1)
