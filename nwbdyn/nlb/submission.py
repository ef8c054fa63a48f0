"""The benchmark's files: predicted rates as it takes them, targets as it hands them out."""

import os
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from nwbdyn.data.clock import whole_ms
from nwbdyn.errors import ResultsError
from nwbdyn.nlb.layouts import Layout


def arrange(
    split: str, predictions: np.ndarray, *, observed: int, held_in: np.ndarray, ids: np.ndarray
) -> dict[str, np.ndarray]:
    """Predictions of one split under the benchmark's names.

    Args:
        split: "train" or "eval".
        predictions: (num_trials, observed + forward, N) expected counts per bin.
        held_in: (N,) bool.
        ids: (N,) unit ids; columns are put in ascending order within held-in and held-out.

    Returns:
        `<split>_rates_heldin`, `<split>_rates_heldout`, and with forward bins `…_forward` of both.
    """
    order = np.argsort(ids, kind="stable")
    arranged = {}
    for group, kept in (("heldin", held_in), ("heldout", ~held_in)):
        columns = order[kept[order]]
        arranged[f"{split}_rates_{group}"] = predictions[:, :observed, columns]
        if predictions.shape[1] > observed:
            arranged[f"{split}_rates_{group}_forward"] = predictions[:, observed:, columns]
    return arranged


def group_name(layout: Layout, bin_width: float) -> str:
    """The data set's name in the benchmark's files: "mc_maze" at 5 ms, "mc_maze_20" at 20 ms."""
    width_ms = whole_ms(bin_width)
    return layout.name if width_ms == 5 else f"{layout.name}_{width_ms}"


def write(
    path: Path, data_sets: Mapping[str, Mapping[str, np.ndarray]], *, overwrite: bool = False
) -> Path:
    """Write tensors, rates or targets as the benchmark's HDF5: one group per data set.

    A data set without a name, "", lies at the root, as input tensors do.

    Raises:
        ResultsError: the file exists and `overwrite` was not asked for.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise ResultsError(f"{path} exists. Pass --overwrite to replace it.")
    partial = path.with_name(path.name + ".partial")
    try:
        with h5py.File(partial, "w") as file:
            for name, arrays in data_sets.items():
                group = file.create_group(name) if name else file
                for key, values in arrays.items():
                    _write_array(group, key, values)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def read(path: Path) -> dict[str, dict[str, np.ndarray]]:
    """Every data set of a file of targets, rates or tensors; arrays at the root are data set "".

    Raises:
        ResultsError: not a file of the benchmark.
    """
    try:
        with h5py.File(path, "r") as file:
            groups = {name: item for name, item in file.items() if isinstance(item, h5py.Group)}
            contents = {name: _arrays(group) for name, group in {"": file, **groups}.items()}
    except OSError as error:
        raise ResultsError(f"{path} cannot be read as HDF5: {error}.") from None
    contents = {name: arrays for name, arrays in contents.items() if arrays}
    if not contents:
        raise ResultsError(f"{path} holds no arrays; expected the benchmark's tensors or targets.")
    return contents


def _arrays(group: h5py.Group) -> dict[str, np.ndarray]:
    return {key: item[()] for key, item in group.items() if isinstance(item, h5py.Dataset)}


def _write_array(group: h5py.Group, key: str, values: np.ndarray) -> None:
    if values.dtype == object:  # rows of trials, a different number per condition
        rows = group.create_dataset(key, values.shape, dtype=h5py.vlen_dtype(np.int32))
        for number, row in enumerate(values):
            rows[number] = row.astype(np.int32)
    else:
        group.create_dataset(key, data=_single(values), compression="gzip")


def _single(values: np.ndarray) -> np.ndarray:
    """Floating-point numbers in 32 bits, as the benchmark stores them."""
    return values.astype(np.float32) if np.issubdtype(values.dtype, np.floating) else values
