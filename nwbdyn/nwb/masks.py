"""Where ROIs lie, from their masks: the centre of each, and which of them lie on one another.

Masks that list points are read, up to a size. Masks that are pictures are not: their bytes would
outweigh everything else that is read of a file.
"""

import re
from dataclasses import dataclass

import h5py
import numpy as np

from nwbdyn.errors import ReadError
from nwbdyn.nwb import tables
from nwbdyn.nwb.objects import HDF5_ERRORS, Contents, attribute, has, path_of

POINTS = ("pixel_mask", "voxel_mask")  # lists of points
PICTURES = ("image_mask",)  # one picture per ROI, never read
MAX_BYTES = 4 * 2**20
AXES = ("x", "y", "z")
MICROMETRES = (  # what a unit is called, and how many micrometres it is
    (re.compile(r"(?i)^(m|met(er|re)s?)$"), 1e6),
    (re.compile(r"(?i)^(mm|millimet(er|re)s?)$"), 1e3),
    (re.compile(r"(?i)^([uµμ]m|micromet(er|re)s?|microns?)$"), 1.0),
)
PLAUSIBLE = (0.05, 100.0)  # micrometres from pixel to pixel


@dataclass(frozen=True)
class Masks:
    """The points of all ROIs of a table, one ROI after another."""

    place: np.ndarray  # (num_points, 2 or 3) pixels or voxels
    weight: np.ndarray  # (num_points,)
    ends: np.ndarray  # (num_rois,) int64, end of each ROI's points


def read(contents: Contents, segmentation: h5py.Group, num_rois: int) -> Masks | None:
    """The masks of an ROI table; None, noted, where they are not read or are placeholders."""
    for name in POINTS:
        dataset = contents.dataset(segmentation, name)
        if dataset is None or dataset.dtype.names is None or dataset.ndim != 1:
            continue
        where = path_of(dataset)
        if dataset.dtype.itemsize * len(dataset) > MAX_BYTES:
            reason = "masks are too large to be read: centres and overlaps are not known"
            contents.note("no-positions", where, reason)
            continue
        index = tables.ends(contents, segmentation, name, len(dataset))
        if index is None or len(index) != num_rois:
            continue
        try:
            points = contents.part(dataset, ())
        except (*HDF5_ERRORS, ReadError) as error:
            contents.note("corrupted-object", where, str(error))
            continue
        axes = [axis for axis in AXES if axis in (points.dtype.names or ())]
        place = np.stack([points[axis] for axis in axes], axis=1)
        found = Masks(place, points["weight"].astype(np.float64), index)
        if all(_is_one_value(centre) for centre in centres(found).T):
            contents.note("no-positions", where, "all masks have the same centre: placeholders")
            return None
        return found
    if has(segmentation, "image_mask"):
        reason = "masks are pictures and are not read: positions and overlaps are not known"
        contents.note("no-positions", f"{path_of(segmentation)}/image_mask", reason)
    return None


def centres(masks: Masks) -> np.ndarray:
    """(num_rois, 2 or 3) centre of each mask by its weights; NaN where it has none."""
    weight = masks.weight[:, None]
    zero = np.zeros((1, masks.place.shape[1]))
    total = np.cumsum(np.concatenate([zero[:, :1], weight]), axis=0)
    moment = np.cumsum(np.concatenate([zero, weight * masks.place]), axis=0)
    first = np.concatenate([[0], masks.ends[:-1]])
    weights = np.broadcast_to(total[masks.ends] - total[first], (len(masks.ends), zero.shape[1]))
    moments = moment[masks.ends] - moment[first]
    return np.divide(moments, weights, out=np.full(weights.shape, np.nan), where=weights > 0)


def overlaps(masks: Masks) -> np.ndarray:
    """(P, 3) the rows of two ROIs that have points in common, and the share of the smaller one."""
    owner = np.repeat(np.arange(len(masks.ends)), np.diff(masks.ends, prepend=0))
    counted = masks.weight[: len(owner)] > 0
    number = np.zeros(int(counted.sum()), dtype=np.int64)  # of the point
    for values in masks.place[: len(owner)][counted].T:
        known, rank = np.unique(values, return_inverse=True)
        number = number * len(known) + rank
    # by point, then by ROI; a point counts once, however often a mask lists it
    number, owner = np.divmod(
        np.unique(number * len(masks.ends) + owner[counted]), max(1, len(masks.ends))
    )
    size = np.bincount(owner, minlength=len(masks.ends))
    pairs: list[np.ndarray] = []
    for step in range(1, len(masks.ends)):
        same = number[step:] == number[:-step]  # of those who share a point
        if not same.any():
            break
        pairs.append(np.column_stack([owner[:-step][same], owner[step:][same]]))
    if not pairs:
        return np.zeros((0, 3))
    both, shared = np.unique(np.concatenate(pairs), axis=0, return_counts=True)
    return np.column_stack([both, shared / size[both].min(axis=1)])


def spacing(segmentation: h5py.Group) -> np.ndarray | None:
    """(2 or 3,) micrometres from point to point along x, y (z); None where that is not stated."""
    plane = segmentation.get("imaging_plane")
    dataset = plane.get("grid_spacing") if isinstance(plane, h5py.Group) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.shape not in ((2,), (3,)):
        return None
    unit = (attribute(dataset, "unit") or "meters").strip()
    size = next((size for pattern, size in MICROMETRES if pattern.match(unit)), None)
    if size is None:
        return None
    found = np.asarray(dataset[()], dtype=np.float64) * size
    plausible = (found >= PLAUSIBLE[0]) & (found <= PLAUSIBLE[1])
    return found if plausible.all() else None


def _is_one_value(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    return len(known) > 1 and bool(np.all(known == known[0]))
