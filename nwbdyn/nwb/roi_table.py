"""PlaneSegmentation -> a table of neurons: quality flags, where each lies, and never a mask."""

import re
from dataclasses import replace

import h5py
import numpy as np

from nwbdyn.errors import ReadError
from nwbdyn.nwb import tables
from nwbdyn.nwb.objects import HDF5_ERRORS, Contents, attribute, has, path_of
from nwbdyn.nwb.series import scalar_text

MASKS = ("pixel_mask", "voxel_mask")  # lists of points, read only to find the centre
IMAGES = ("image_mask",)  # one picture per ROI, never read
MAX_MASK_BYTES = 4 * 2**20
CENTRE = re.compile(r"centroid|centre|center|\bcom\b|position")
AXES = ("x", "y", "z")


def read(contents: Contents, segmentation: h5py.Group) -> tables.Table:
    """Rows of the ROI table with x, y (z) where known and suite2p's `iscell` as two columns."""
    pairs = _two_axis_columns(contents, segmentation)
    table = tables.read(contents, segmentation, skip=(*MASKS, *IMAGES, *pairs))
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
    if "x" not in added and "x" not in table.frame:
        added |= _centres(contents, segmentation, len(table.frame))
    location = _location(segmentation)
    if location and "location" not in table.frame:
        added["location"] = location
    return replace(table, frame=table.frame.assign(**added))


def _two_axis_columns(contents: Contents, segmentation: h5py.Group) -> dict[str, np.ndarray | None]:
    """`iscell` (flag, probability), and centres whose description gives the order x, y."""
    pairs: dict[str, np.ndarray | None] = {}
    for name in tables.column_names(contents, segmentation):
        if name in (*MASKS, *IMAGES):
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


def _centres(contents: Contents, segmentation: h5py.Group, num_rois: int) -> dict[str, np.ndarray]:
    """Weighted centre of each mask, in pixels or voxels; NaN where a mask has no weight."""
    for name in MASKS:
        dataset = contents.dataset(segmentation, name)
        if dataset is None or dataset.dtype.names is None or dataset.ndim != 1:
            continue
        where = path_of(dataset)
        if dataset.dtype.itemsize * len(dataset) > MAX_MASK_BYTES:
            contents.note("no-positions", where, "masks are too large to read for their centres")
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
        centres = {axis: _weighted(points, axis, index) for axis in axes}
        if all(_is_one_value(centre) for centre in centres.values()):
            contents.note("no-positions", where, "all masks have the same centre: placeholders")
            return {}
        return centres
    if has(segmentation, "image_mask"):
        reason = "masks are pictures and are not read, so positions are not known"
        contents.note("no-positions", f"{path_of(segmentation)}/image_mask", reason)
    return {}


def _weighted(points: np.ndarray, axis: str, index: np.ndarray) -> np.ndarray:
    """(num_rois,) mean of one axis over each mask's points, by their weights."""
    weight = points["weight"].astype(np.float64)
    total = np.cumsum(np.concatenate([[0.0], weight]))
    moment = np.cumsum(np.concatenate([[0.0], weight * points[axis]]))
    first = np.concatenate([[0], index[:-1]])
    weights = total[index] - total[first]
    moments = moment[index] - moment[first]
    return np.divide(moments, weights, out=np.full(len(index), np.nan), where=weights > 0)


def _is_one_value(values: np.ndarray) -> bool:
    known = values[np.isfinite(values)]
    return len(known) > 1 and bool(np.all(known == known[0]))


def _location(segmentation: h5py.Group) -> str:
    """Where the imaging plane is, as the file states it."""
    plane = segmentation.get("imaging_plane")
    location = plane.get("location") if isinstance(plane, h5py.Group) else None
    return scalar_text(location) if isinstance(location, h5py.Dataset) else ""
