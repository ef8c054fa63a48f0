"""The ROI table of a series and the rows of it that its channels are.

`rois` comes as integers, as MATLAB's doubles, as a column or a row, from 1, empty, or not at all.
"""

from dataclasses import dataclass

import h5py
import numpy as np

from nwbdyn.nwb.read import objects, tables
from nwbdyn.nwb.read.imaging import roles
from nwbdyn.nwb.read.objects import NwbIndex, NwbObject, has, path_of


@dataclass(frozen=True)
class Regions:
    """Whose activity a series holds."""

    table: h5py.Group | None  # the ROI table
    rows: np.ndarray | None  # (num_rois,) rows of it; None where they are not known
    num_rois: int | None  # that the series states; None where it states none
    inferred: bool = False  # the table was found by its number of rows


def table_of(contents: NwbIndex, series: NwbObject) -> h5py.Group | None:
    """The ROI table that `rois` of a series refers to."""
    dataset = contents.dataset(series.group, "rois")
    table = None if dataset is None else contents.dereference(objects.stored(dataset, "table"))
    return table if isinstance(table, h5py.Group) else None


def read(contents: NwbIndex, series: NwbObject) -> Regions:
    """The ROIs of a series: from `rois`, else from the ROI table as long as an axis of it."""
    dataset = contents.dataset(series.group, "rois")
    if dataset is None:
        return _by_length(contents, series)
    table = table_of(contents, series)
    if table is None:
        reason = "its ROI table is not in the file; neurons are numbered from 0"
        contents.note("broken-reference", f"{series.path}/rois", reason)
    stored = tables.values(contents, dataset)
    where = f"{series.path}/rois"
    if stored is None or stored.dtype.kind not in "iuf" or stored.size != max(stored.shape or (1,)):
        if stored is not None:
            shape = " x ".join(map(str, stored.shape))
            reason = f"is {shape} of {stored.dtype}, no list of rows; neurons are numbered from 0"
            contents.note("broken-reference", where, reason)
        return Regions(table, None, None)
    listed = stored.reshape(-1)
    if not len(listed):
        return Regions(table, _all_rows(contents, series, table), None)
    rows = listed.astype(np.int64) if np.isfinite(listed).all() else np.full(len(listed), -1)
    if not np.array_equal(rows, listed):
        odd = listed[rows != listed][0]
        reason = f"holds {odd:g}, which is no row of a table; numbered from 0 instead"
        contents.note("broken-reference", where, reason)
        return Regions(None, np.arange(len(rows)), len(rows))
    if table is None:
        return Regions(None, rows, len(rows))
    num_rows = tables.count_rows(contents, table)
    if num_rows and np.array_equal(np.sort(rows), np.arange(1, num_rows + 1)):
        reason = f"counts rows from 1 to {num_rows}; read as 0 to {num_rows - 1}"
        contents.note("rois-from-one", where, reason)
        return Regions(table, rows - 1, len(rows))
    if rows.min() < 0 or rows.max() >= num_rows:
        worst = int(rows.min() if rows.min() < 0 else rows.max())
        reason = f"points to row {worst} of {num_rows} ROIs; numbered from 0 instead"
        contents.note("broken-reference", where, reason)
        return Regions(None, np.arange(len(rows)), len(rows))
    return Regions(table, rows, len(rows))


def table_lengths(contents: NwbIndex) -> dict[str, int]:
    """Rows of every ROI table of the file that is not of background, by its path."""
    return {
        item.path: tables.count_rows(contents, item.group)
        for item in contents.of_type("PlaneSegmentation")
        if not roles.is_background(item.name)
    }


def _by_length(contents: NwbIndex, series: NwbObject) -> Regions:
    """The ROI table that has as many rows as an axis of the traces; of several, by its name."""
    dataset = contents.dataset(series.group, "data")
    shape = () if dataset is None else dataset.shape
    fitting = {path: n for path, n in table_lengths(contents).items() if n and n in shape}
    if len(fitting) > 1:
        named = set(roles.words(series.path))
        shared = {path: _distinct(path, fitting) & named for path in fitting}
        fitting = {path: n for path, n in fitting.items() if shared[path]}
    absent = not has(series.group, "rois")
    if len(fitting) != 1:
        if absent:
            contents.note("no-rois", series.path, "names no ROIs; neurons are numbered from 0")
        return Regions(None, None, None)
    ((path, num_rows),) = fitting.items()
    reason = f"names no ROIs; the {num_rows} rows of {path} are taken, in their order"
    contents.note("no-rois", series.path, reason)
    return Regions(contents.group(path), np.arange(num_rows), None, inferred=True)


def _distinct(path: str, paths: dict[str, int]) -> set[str]:
    """Words of a table's name that no other table's name has."""
    others = {word for other in paths if other != path for word in roles.words(_name(other))}
    return set(roles.words(_name(path))) - others


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1]


def _all_rows(contents: NwbIndex, series: NwbObject, table: h5py.Group | None) -> np.ndarray | None:
    """Every row of the table, for a series whose `rois` is empty."""
    if table is None:
        return None
    num_rows = tables.count_rows(contents, table)
    data = contents.dataset(series.group, "data")
    if data is None or num_rows not in data.shape:
        reason = f"is empty, and the table's {num_rows} rows are not as many as the traces"
        contents.note("empty-rois", f"{series.path}/rois", reason)
        return None
    reason = f"is empty; all {num_rows} rows of {path_of(table)} are taken, in their order"
    contents.note("empty-rois", f"{series.path}/rois", reason)
    return np.arange(num_rows)
