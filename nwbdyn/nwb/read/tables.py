"""DynamicTable -> pandas, one column at a time: a bad column costs that column and no more."""

from collections.abc import Collection
from dataclasses import dataclass, field

import h5py
import numpy as np
import pandas as pd

from nwbdyn.errors import ReadError
from nwbdyn.nwb.read import objects
from nwbdyn.nwb.read.objects import HDF5_ERRORS, NwbIndex, attribute, has, one_line, path_of, text

NO_ENRICHING = "; pynwb does not open such a table, so export works without --enrich only"
MAX_COLUMN_BYTES = 256 * 2**20  # a column is read whole; a larger declared size is not a table's


@dataclass(frozen=True)
class Table:
    """The rows of a DynamicTable."""

    frame: pd.DataFrame  # `id` first, then the columns in the file's order
    descriptions: dict[str, str] = field(default_factory=dict)  # of the columns read


def read(
    contents: NwbIndex, group: h5py.Group, *, skip: Collection[str] = (), ragged: bool = False
) -> Table:
    """The columns of a table that fit a flat pandas frame; the others become notes.

    Args:
        contents: the open file; notes are added to it.
        group: the table.
        skip: columns that are read elsewhere or never wanted; not noted.
        ragged: keep columns with a list per row (intervals); otherwise they are noted (neurons).
    """
    names = [name for name in column_names(contents, group) if name not in (*skip, "id")]
    columns: dict[str, object] = {}
    descriptions: dict[str, str] = {}
    num_rows = count_rows(contents, group)
    dataset = contents.dataset(group, "id")
    ids = _ids(contents, dataset) if dataset is not None else None
    columns["id"] = ids
    if ids is None or len(ids) != num_rows:
        has_none = "no readable `id`" if ids is None else f"{len(ids)} ids for {num_rows} rows"
        reason = f"the table has {has_none}; rows are numbered from 0{NO_ENRICHING}"
        contents.note("no-id", path_of(group), reason)
        columns["id"] = np.arange(num_rows)
    for name in names:
        column = _column(contents, group, name, num_rows, ragged)
        if column is not None:
            columns[name] = column
            descriptions[name] = attribute(group[name], "description") or ""
    return Table(pd.DataFrame(columns), descriptions)


def column_names(contents: NwbIndex, group: h5py.Group) -> list[str]:
    """The table's columns: `colnames` where it is stated, else the datasets that are there."""
    stated = objects.stored(group, "colnames")
    if stated is not None:
        return [text(name) for name in np.atleast_1d(stated)]
    return [n for n in contents.names(group) if n != "id" and not n.endswith("_index")]


def count_rows(contents: NwbIndex, group: h5py.Group) -> int:
    """Number of rows: the length of `id`, else of the first column's outermost index.

    An `id` without values beside columns with rows does not count.
    """
    for name in ("id", *column_names(contents, group)):
        for candidate in (f"{name}_index_index", f"{name}_index", name):
            dataset = contents.dataset(group, candidate)
            if dataset is not None and dataset.ndim and dataset.size:
                return int(dataset.size if is_list(dataset) else dataset.shape[0])
    return 0


def is_list(dataset: h5py.Dataset) -> bool:
    """True if the values are one list; MATLAB stores it as one row or one column."""
    return dataset.ndim == 1 or (dataset.ndim == 2 and 1 in dataset.shape)


def whole_numbers(contents: NwbIndex, dataset: h5py.Dataset) -> np.ndarray | None:
    """(n,) int64 of a list of whole numbers, which may be stored as floats; None for others."""
    stored = values(contents, dataset)
    if stored is None or not is_list(dataset) or stored.dtype.kind not in "iuf":
        return None
    stored = stored.reshape(-1)
    if stored.dtype.kind == "f":
        farthest = float(2**53)  # floats beyond are not exact
        whole = np.isfinite(stored) & (np.abs(stored) < farthest) & (stored == np.round(stored))
        return stored.astype(np.int64) if whole.all() else None
    return stored.astype(np.int64)


def values(contents: NwbIndex, dataset: h5py.Dataset) -> np.ndarray | None:
    """A whole dataset as numbers, booleans or text; None with a note when it cannot be."""
    where = path_of(dataset)
    declared = int(np.prod(dataset.shape, dtype=float)) * dataset.dtype.itemsize
    if declared > MAX_COLUMN_BYTES:
        reason = f"declares {declared / 2**20:,.0f} MB, too large for a table's column"
        contents.note("too-large", where, reason)
        return None
    try:
        if h5py.check_ref_dtype(dataset.dtype) is not None:
            return _names(contents, objects.whole(dataset))
        if h5py.check_string_dtype(dataset.dtype) is not None:
            return np.asarray(dataset.asstr(errors="replace")[()], dtype=object)
        words = h5py.check_enum_dtype(dataset.dtype)
        if words is not None and dataset.dtype.kind in "iu":
            return _enumerated(contents.part(dataset, ()), words)
        if dataset.dtype.kind not in "biuf":
            contents.note("skipped-column", where, "holds compound values, not one value per row")
            return None
        return contents.part(dataset, ())
    except (*HDF5_ERRORS, ReadError) as error:
        contents.note("corrupted-object", where, one_line(error))
        return None


def ends(contents: NwbIndex, group: h5py.Group, name: str, num_values: int) -> np.ndarray | None:
    """(num_rows,) int64 end of each row's values in a ragged column, or None with a note.

    VectorIndex is stored in the smallest unsigned type, where differences wrap around.
    """
    dataset = contents.dataset(group, f"{name}_index")
    if dataset is None:
        return None
    index = whole_numbers(contents, dataset)
    if index is None:
        contents.note("broken-index", path_of(dataset), "is not a list of whole numbers")
        return None
    if np.any(np.diff(index, prepend=0) < 0):
        contents.note("broken-index", path_of(dataset), "its row ends are not in increasing order")
        return None
    last = int(index[-1]) if len(index) else 0
    if last != num_values:
        reason = f"its last row ends at {last:,}, but `{name}` has {num_values:,} values"
        contents.note("broken-index", path_of(dataset), reason)
        return None
    return index


def rows(column: np.ndarray, index: np.ndarray) -> list[np.ndarray]:
    """The values of each row of a ragged column."""
    return np.split(column, index[:-1]) if len(index) else []


def meanings(contents: NwbIndex, group: h5py.Group, name: str) -> dict[str, str]:
    """Meanings of a column's values, if the table carries a table of meanings for it."""
    try:
        table = group["meanings_tables"][f"{name}_meanings"]
    except HDF5_ERRORS:
        return {}
    frame = read(contents, table).frame
    if not {"value", "meaning"} <= set(frame):
        return {}
    return {str(v): str(m) for v, m in zip(frame["value"], frame["meaning"], strict=True)}


def _column(
    contents: NwbIndex, group: h5py.Group, name: str, num_rows: int, ragged: bool
) -> object | None:
    where = f"{path_of(group)}/{name}"
    dataset = contents.dataset(group, name)
    if dataset is None:
        if not has(group, name):
            contents.note("missing-column", where, "is named in colnames but not in the table")
        return None
    if has(group, f"{name}_index"):
        if not ragged:
            contents.note("skipped-column", where, "has several values per row")
            return None
        return _ragged_column(contents, group, dataset, name, num_rows)
    if dataset.ndim != 1 and not (is_list(dataset) and dataset.size == num_rows):
        shape = "x".join(str(n) for n in dataset.shape) or "a scalar"
        contents.note("skipped-column", where, f"is {shape}, not one value per row")
        return None
    if dataset.size != num_rows:
        reason = f"has {dataset.size} values, but the table has {num_rows} rows; it was not aligned"
        contents.note("column-length", where, reason)
        return None
    column = values(contents, dataset)
    return None if column is None else _decoded(contents, dataset, column.reshape(-1))


def _ragged_column(
    contents: NwbIndex, group: h5py.Group, dataset: h5py.Dataset, name: str, num_rows: int
) -> object | None:
    if has(group, f"{name}_index_index") or dataset.ndim != 1:
        contents.note("skipped-column", path_of(dataset), "has lists of lists per row")
        return None
    if dataset.dtype.names is not None:
        contents.note("skipped-column", path_of(dataset), "holds references to time series")
        return None
    index = ends(contents, group, name, len(dataset))
    if index is None:
        return None
    if len(index) != num_rows:
        reason = f"has {len(index)} rows, but the table has {num_rows}; it was not aligned"
        contents.note("column-length", path_of(dataset), reason)
        return None
    column = values(contents, dataset)
    if column is None:
        return None
    return pd.Series([row.tolist() for row in rows(column, index)], dtype=object)


def _ids(contents: NwbIndex, dataset: h5py.Dataset) -> np.ndarray | None:
    """(n,) ids; whole numbers that are stored as floats become integers."""
    stored = values(contents, dataset)
    if stored is None or not is_list(dataset):
        return None
    if stored.dtype.kind != "f":
        return stored.reshape(-1)
    whole = whole_numbers(contents, dataset)
    contents.note("float-id", path_of(dataset), f"ids are stored as floats{NO_ENRICHING}")
    return stored.reshape(-1) if whole is None else whole


def _enumerated(codes: np.ndarray, words: dict[str, int]) -> np.ndarray:
    """The words of an HDF5 enumeration; a code without a word stays a number."""
    by_code = {code: word for word, code in words.items()}
    named = [by_code.get(code, str(code)) for code in codes.reshape(-1).tolist()]
    return np.array(named, dtype=object).reshape(codes.shape)


def _decoded(contents: NwbIndex, dataset: h5py.Dataset, column: np.ndarray) -> np.ndarray:
    """The words behind an enumerated column (EnumData), other columns as they are."""
    elements = contents.dereference(objects.stored(dataset, "elements"))
    if elements is None or column.dtype.kind not in "iu":
        return column
    words = values(contents, elements)
    if words is None or np.any(column >= len(words)):
        contents.note(
            "broken-reference", path_of(dataset), "its codes have no words; kept as numbers"
        )
        return column
    return words[column]


def _names(contents: NwbIndex, references: np.ndarray) -> np.ndarray:
    """The names of referenced objects, empty where a reference leads nowhere."""
    targets = [contents.dereference(reference) for reference in references.reshape(-1)]
    names = ["" if target is None else path_of(target).rsplit("/", 1)[-1] for target in targets]
    return np.array(names, dtype=object).reshape(references.shape)
