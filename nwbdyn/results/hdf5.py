"""Arrays, tables and attributes in one HDF5 file, as a tree of plain Python values.

`results.h5` is such a file. A mapping is a group, an array a dataset, a pandas table a group with
one dataset per column, and a string or number an attribute. Any HDF5 reader shows the same names.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from nwbdyn import inside
from nwbdyn.results import run_directory

Tree = Mapping[str, "np.ndarray | pd.DataFrame | str | int | float | bool | Tree"]

ENTRY_BYTES = 4096  # of a name, its type and its place
_TABLE = "columns"  # attribute of a group that is a table: its column names, as JSON
_ATTRIBUTES = "attributes"  # the table's own `attrs`, as JSON


def write(path: Path, tree: Tree) -> None:
    """Write `tree` as a new HDF5 file; numbers are compressed with gzip and shuffle.

    Raises:
        OSError: there is no room for it, were it not compressed.
    """
    h5py.File(path, "w").close()
    run_directory.preallocate(path, _most_bytes(tree))
    with h5py.File(path, "r+") as file:
        _write_group(file, tree)


def read(path: Path, *, without: Collection[str] = ()) -> dict:
    """The tree that `write` wrote, in memory, without the branches at these paths ("/a/b").

    Raises:
        ResultsError: a part of it lies in another file.
    """
    with h5py.File(path, "r") as file:
        inside.check(file)
        return _read_group(file, without)


def _most_bytes(tree: Tree) -> int:
    """Approximate size in the file: the numbers, and for each entry one of the file's lists."""
    total = ENTRY_BYTES
    for value in tree.values():
        if isinstance(value, pd.DataFrame):
            total += ENTRY_BYTES * (1 + value.shape[1])
            total += int(value.memory_usage(index=False, deep=True).sum())
        elif isinstance(value, np.ndarray):
            total += ENTRY_BYTES + value.nbytes + value.nbytes // 16
        elif isinstance(value, Mapping):
            total += _most_bytes(value)
        else:
            total += ENTRY_BYTES + len(str(value))
    return total


def _write_group(group: h5py.Group, tree: Tree) -> None:
    for name, value in tree.items():
        if isinstance(value, pd.DataFrame):
            _write_table(group.create_group(name), value)
        elif isinstance(value, np.ndarray):
            _write_array(group, name, value)
        elif isinstance(value, Mapping):
            _write_group(group.create_group(name), value)
        else:
            group.attrs[name] = value


def _read_group(group: h5py.Group, without: Collection[str]) -> dict:
    tree: dict = {name: _scalar(value) for name, value in group.attrs.items()}
    for name, item in group.items():
        if item.name in without:
            continue
        if isinstance(item, h5py.Dataset):
            tree[name] = _read_array(item)
        elif _TABLE in item.attrs:
            tree[name] = _read_table(item)
        else:
            tree[name] = _read_group(item, without)
    return tree


def _write_array(group: h5py.Group, name: str, array: np.ndarray) -> h5py.Dataset:
    if array.dtype.kind in "OUT":
        strings = [str(value) for value in array.ravel()]
        shaped = np.array(strings, dtype=object).reshape(array.shape)
        return group.create_dataset(name, data=shaped, dtype=h5py.string_dtype())
    if array.size < 1024:  # a filter would cost more bytes than it saves
        return group.create_dataset(name, data=array)
    return group.create_dataset(name, data=array, compression="gzip", shuffle=True)


def _read_array(dataset: h5py.Dataset) -> np.ndarray:
    if h5py.check_string_dtype(dataset.dtype):
        return np.asarray(dataset.asstr()[()], dtype=object)
    return dataset[()]


def _write_table(group: h5py.Group, table: pd.DataFrame) -> None:
    group.attrs[_TABLE] = json.dumps([str(name) for name in table.columns])
    group.attrs[_ATTRIBUTES] = json.dumps(table.attrs)
    for number, name in enumerate(table.columns):
        column = table[name]
        if column.dtype.kind in "biuf":
            _write_array(group, str(number), column.to_numpy())
            continue
        values = column.tolist()
        missing = np.array([_is_missing(value) for value in values], bool)
        as_text = all(isinstance(v, str) for v, m in zip(values, missing, strict=True) if not m)
        texts = [
            "" if gone else (value if as_text else json.dumps(_plain(value)))
            for value, gone in zip(values, missing, strict=True)
        ]
        dataset = _write_array(group, str(number), np.array(texts, dtype=object))
        dataset.attrs["encoding"] = "text" if as_text else "json"
        if missing.any():
            dataset.attrs["missing"] = np.flatnonzero(missing)


def _read_table(group: h5py.Group) -> pd.DataFrame:
    columns = {}
    for number, name in enumerate(json.loads(group.attrs[_TABLE])):
        dataset = group[str(number)]
        values = _read_array(dataset)
        if dataset.attrs.get("encoding") == "json":
            decoded = np.empty(len(values), dtype=object)
            for row, text in enumerate(values):
                decoded[row] = json.loads(text) if text else None
            values = decoded
        if "missing" in dataset.attrs:
            values[dataset.attrs["missing"]] = None
        columns[name] = values
    table = pd.DataFrame(columns)
    table.attrs = json.loads(group.attrs.get(_ATTRIBUTES, "{}"))
    return table


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _scalar(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
