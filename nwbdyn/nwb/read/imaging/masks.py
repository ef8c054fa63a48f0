"""Positions of ROIs from their masks: the centre of each, and the pairs that overlap.

Masks list points, or are pictures (see `pictures`). Of a remote file they are read up to a size.
"""

import re
from dataclasses import dataclass

import h5py
import numpy as np

from nwbdyn.errors import ReadError
from nwbdyn.nwb.read import ranges, tables
from nwbdyn.nwb.read.imaging import pictures
from nwbdyn.nwb.read.imaging.pictures import MOST_POINTS
from nwbdyn.nwb.read.objects import (
    HDF5_ERRORS,
    NwbIndex,
    attribute,
    child,
    one_line,
    path_of,
    whole,
)

POINTS = ("pixel_mask", "voxel_mask")  # lists of points
PICTURES = ("image_mask",)  # one picture per ROI
MOST_STORED = 32 * 2**20  # bytes that travel from a remote file
AXES = ("x", "y", "z")
MICROMETRES = (  # what a unit is called, and how many micrometres it is
    (re.compile(r"(?i)^(m|met(er|re)s?)$"), 1e6),
    (re.compile(r"(?i)^(mm|millimet(er|re)s?)$"), 1e3),
    (re.compile(r"(?i)^([uµμ]m|micromet(er|re)s?|microns?)$"), 1.0),
)
PLAUSIBLE = (0.05, 100.0)  # micrometres from pixel to pixel
SAME_CENTRE = 1.0  # pixels between a stated centre and that of the mask


@dataclass(frozen=True)
class Masks:
    """The points of all ROIs of a table, one ROI after another."""

    coordinates: np.ndarray  # (num_points, 2 or 3) pixels or voxels
    weight: np.ndarray  # (num_points,)
    ends: np.ndarray  # (num_rois,) int64, end of each ROI's points


def read(contents: NwbIndex, segmentation: h5py.Group, num_rois: int) -> Masks | None:
    """The masks of an ROI table; None without any, with a note if they are not usable."""
    for name in (*POINTS, *PICTURES):
        dataset = contents.dataset(segmentation, name)
        if dataset is None:
            continue
        where = path_of(dataset)
        try:
            if name in POINTS:
                masks = _listed(contents, segmentation, name, dataset, num_rois)
            else:
                masks = _pictured(contents, dataset, num_rois)
        except (*HDF5_ERRORS, ReadError) as error:
            contents.note("corrupted-object", where, one_line(error))
            continue
        if isinstance(masks, str):
            contents.note("masks-unread", where, f"{masks}; overlaps of ROIs are not known")
        elif all(_is_one_value(centre) for centre in centres(masks).T):
            contents.note("no-positions", where, "all masks have the same centre: placeholders")
        else:
            return masks
    return None


def _listed(
    contents: NwbIndex,
    segmentation: h5py.Group,
    name: str,
    dataset: h5py.Dataset,
    num_rois: int,
) -> Masks | str:
    """Masks that list points, or why they are not read."""
    if dataset.dtype.names is None or dataset.ndim != 1:
        return "are not lists of points"
    why = _why_not(contents, dataset)
    if not why and len(dataset) > MOST_POINTS:
        why = f"list {len(dataset):,} points, {MOST_POINTS:,} at most"
    if why:
        return why
    ends = tables.ends(contents, segmentation, name, len(dataset))
    if ends is None or len(ends) != num_rois:
        return f"are not those of the {num_rois} ROIs"
    points = contents.part(dataset, ())
    coordinates = np.stack([points[axis] for axis in AXES if axis in dataset.dtype.names], axis=1)
    return Masks(coordinates, points["weight"].astype(np.float64), ends)


def _pictured(contents: NwbIndex, dataset: h5py.Dataset, num_rois: int) -> Masks | str:
    """Masks that are pictures, or why they are not read."""
    if dataset.ndim not in (3, 4) or dataset.dtype.kind not in "biuf":
        return "are not pictures"
    if len(dataset) != num_rois:
        return f"are {len(dataset)} pictures of {num_rois} ROIs"
    why = pictures.why_not(dataset) or _why_not(contents, dataset)
    if why:
        return why
    pixels = pictures.points(contents, dataset)
    if pixels is None:
        return f"mark more than {MOST_POINTS:,} points"
    owner, coordinates, weight = pixels
    return Masks(coordinates, weight, np.cumsum(np.bincount(owner, minlength=num_rois)))


def _why_not(contents: NwbIndex, dataset: h5py.Dataset) -> str:
    """Why masks are not fetched, "" where they are or need not be."""
    if not contents.watched.is_remote:
        return ""
    size = ranges.stored(dataset)
    if size is None:  # as much as they would take unpacked
        size = int(np.prod(dataset.shape, dtype=float)) * dataset.dtype.itemsize
    if size <= MOST_STORED:
        return ""
    return (
        f"take {size / 2**20:,.0f} MB of a remote file, {MOST_STORED // 2**20} at most; run "
        "nwbdyn fetch and open the copy to have them"
    )


def centres(masks: Masks) -> np.ndarray:
    """(num_rois, 2 or 3) centre of each mask by its weights; NaN where it has none."""
    weight = masks.weight[:, None]
    zero = np.zeros((1, masks.coordinates.shape[1]))
    total = np.cumsum(np.concatenate([zero[:, :1], weight]), axis=0)
    moment = np.cumsum(np.concatenate([zero, weight * masks.coordinates]), axis=0)
    first = np.concatenate([[0], masks.ends[:-1]])
    weights = np.broadcast_to(total[masks.ends] - total[first], (len(masks.ends), zero.shape[1]))
    moments = moment[masks.ends] - moment[first]
    return np.divide(moments, weights, out=np.full(weights.shape, np.nan), where=weights > 0)


def overlaps(masks: Masks) -> np.ndarray:
    """(P, 3) the rows of two ROIs that have points in common, and the share of the smaller one."""
    owner = np.repeat(np.arange(len(masks.ends)), np.diff(masks.ends, prepend=0))
    counted = masks.weight[: len(owner)] > 0
    number = np.zeros(int(counted.sum()), dtype=np.int64)  # of the point
    for values in masks.coordinates[: len(owner)][counted].T:
        known, rank = np.unique(values, return_inverse=True)
        number = number * len(known) + rank
    # by point, then by ROI; a point counts once, however often a mask lists it
    number, owner = np.divmod(
        np.unique(number * len(masks.ends) + owner[counted]), max(1, len(masks.ends))
    )
    size = np.bincount(owner, minlength=len(masks.ends))
    pairs, counts = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for step in range(1, len(masks.ends)):
        same = number[step:] == number[:-step]  # of those who share a point
        if not same.any():
            break
        pair = owner[:-step][same] * len(masks.ends) + owner[step:][same]
        pair, count = np.unique(pair, return_counts=True)
        pairs.append(pair)
        counts.append(count)
    both, position = np.unique(np.concatenate(pairs), return_inverse=True)
    shared = np.bincount(position, weights=np.concatenate(counts), minlength=len(both))
    rows = np.column_stack(np.divmod(both, max(1, len(masks.ends))))
    return np.column_stack([rows, shared / size[rows].min(axis=1)])


def spacing(segmentation: h5py.Group) -> np.ndarray | None:
    """(2 or 3,) micrometres from point to point along x, y (z); None where that is not stated."""
    plane = child(segmentation, "imaging_plane")
    dataset = child(plane, "grid_spacing") if isinstance(plane, h5py.Group) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.shape not in ((2,), (3,)):
        return None
    unit = (attribute(dataset, "unit") or "meters").strip()
    size = next((size for pattern, size in MICROMETRES if pattern.match(unit)), None)
    if size is None:
        return None
    try:
        distances = np.asarray(whole(dataset), dtype=np.float64) * size
    except HDF5_ERRORS:
        return None
    plausible = (distances >= PLAUSIBLE[0]) & (distances <= PLAUSIBLE[1])
    return distances if plausible.all() else None


def in_their_unit(masks: Masks, coordinates: np.ndarray) -> bool:
    """True if stated centres are in the pixels of the masks, judged by the masks' positions.

    Args:
        coordinates: (num_rois, 2 or 3).
    """
    own = centres(masks)
    if own.shape[1] < coordinates.shape[1]:
        return False
    apart = np.abs(own[:, : coordinates.shape[1]] - coordinates).max(axis=1)
    known = np.isfinite(apart)
    return bool(known.any() and np.median(apart[known]) <= SAME_CENTRE)


def _is_one_value(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    return len(known) > 1 and bool(np.all(known == known[0]))
