"""PlaneSegmentation -> a table of neurons: quality flags, and where each lies."""

import re
from dataclasses import dataclass

import h5py
import numpy as np
import pandas as pd

from nwbdyn.nwb.read import tables
from nwbdyn.nwb.read.imaging import masks
from nwbdyn.nwb.read.imaging.masks import AXES, PICTURES, POINTS
from nwbdyn.nwb.read.objects import NwbIndex, attribute, child, path_of
from nwbdyn.nwb.read.series import scalar_text

CENTRE = re.compile(r"centroid|centre|center|\bcom\b|position")


@dataclass(frozen=True)
class Rois:
    """The rows of an ROI table, and the positions from their masks."""

    frame: pd.DataFrame
    descriptions: dict[str, str]  # of its columns
    overlaps: np.ndarray | None  # as `recording.Neurons` has them
    micrometres: np.ndarray | None


def read(contents: NwbIndex, segmentation: h5py.Group) -> Rois:
    """Rows of the ROI table with x, y (z) where known and suite2p's `iscell` as two columns.

    Masks say which ROIs overlap, and where they lie where no column does. The grid of the imaging
    plane is the unit of positions that are in the masks' pixels.
    """
    pairs = _two_axis_columns(contents, segmentation)
    table = tables.read(contents, segmentation, skip=(*POINTS, *PICTURES, *pairs))
    added: dict[str, object] = {}
    for name, stored in pairs.items():
        if stored is None or len(stored) != len(table.frame):
            contents.note(
                "skipped-column", f"{path_of(segmentation)}/{name}", "cannot be read as pairs"
            )
        elif name == "iscell":
            added |= {"iscell": stored[:, 0] > 0.5, "iscell_probability": stored[:, 1]}
        else:
            added |= dict(zip(AXES, stored.T, strict=False))
    roi_masks = masks.read(contents, segmentation, len(table.frame))
    frame = table.frame.assign(**added)
    stated = [axis for axis in AXES if axis in frame] if "x" in frame else []
    if roi_masks is not None and not stated:
        frame = frame.assign(**dict(zip(AXES, masks.centres(roi_masks).T, strict=False)))
    location = _location(segmentation)
    if location and "location" not in frame:
        frame = frame.assign(location=location)
    micrometres = None
    if roi_masks is not None and (
        not stated or masks.in_their_unit(roi_masks, _numbers(frame[stated]))
    ):
        micrometres = masks.spacing(segmentation)
    return Rois(
        frame=frame,
        descriptions=table.descriptions,
        overlaps=None if roi_masks is None else masks.overlaps(roi_masks),
        micrometres=micrometres,
    )


def _numbers(frame: pd.DataFrame) -> np.ndarray:
    """(num_rois, num_columns) float; NaN where a value is not a number."""
    return frame.apply(pd.to_numeric, errors="coerce").to_numpy(float)


def _two_axis_columns(contents: NwbIndex, segmentation: h5py.Group) -> dict[str, np.ndarray | None]:
    """`iscell` (flag, probability), and centres whose description gives the order x, y."""
    pairs: dict[str, np.ndarray | None] = {}
    for name in tables.column_names(contents, segmentation):
        if name in (*POINTS, *PICTURES):
            continue
        dataset = contents.dataset(segmentation, name)
        if dataset is None or dataset.ndim != 2 or dataset.shape[1] not in (2, 3):
            continue
        description = (attribute(dataset, "description") or "").lower()
        in_order = re.search(r"\bx\b.*\by\b", description)
        is_centre = CENTRE.search(name.lower()) and in_order and "x" not in pairs
        if is_centre or (name == "iscell" and dataset.shape[1] == 2):
            pairs[name] = tables.values(contents, dataset)
    return pairs


def _location(segmentation: h5py.Group) -> str:
    """Location of the imaging plane, as the file states it."""
    plane = child(segmentation, "imaging_plane")
    location = child(plane, "location") if isinstance(plane, h5py.Group) else None
    return scalar_text(location) if isinstance(location, h5py.Dataset) else ""
