"""Results appended to a copy of the recording's file; the file itself is only ever read."""

import errno
import hashlib
import os
import warnings
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from hdmf.common import DynamicTable
from pynwb import NWBHDF5IO, NWBFile
from pynwb.base import TimeSeries

from nwbdyn.errors import ResultsError
from nwbdyn.nwb.read import slim_record
from nwbdyn.nwb.read.units.unit_tables import unique_ids
from nwbdyn.nwb.results.dynamics import MODULE, MODULE_DESCRIPTION, Detail, InFile, results
from nwbdyn.nwb.results.model_run import name_of
from nwbdyn.progress import Progress, Report
from nwbdyn.results.fit_results import Fit

NAMESPACE = "ndx-population-dynamics"
WRITTEN_GROUPS = ("specifications", "processing", f"processing/{MODULE}")  # what is written to
MOST_WORDS = 200  # letters of an error of pynwb, which may print the whole file
LEFT_OPEN = "already open for write"  # HDF5, of a file whose writer did not close it
BLOCK = 16 * 2**20  # bytes copied at a time


def copy(source: Path, target: Path, report: Report) -> None:
    """Copy the bytes, telling how far it is."""
    total = source.stat().st_size
    with source.open("rb") as reader, target.open("wb") as writer:
        done = 0
        while block := reader.read(BLOCK):
            writer.write(block)
            done += len(block)
            report(Progress("copying", done, total, "bytes"))


def append(fit: Fit, path: Path, detail: Detail, report: Report) -> None:
    """Add the results of `fit` to the file at `path`, which is a copy.

    Raises:
        ResultsError: pynwb cannot open the file or add to it, it holds this fit already, or its
            neurons are not those that were fitted.
    """
    _check_places(path, fit.source.name)
    with warnings.catch_warnings(), _without_links_out(path):
        warnings.simplefilter("ignore")  # about the source, which is not ours to mend
        try:
            io = NWBHDF5IO(path, mode="a")
            nwbfile = io.read()
        except Exception as error:  # pynwb raises whatever a malformed object provokes
            raise ResultsError(
                f"pynwb cannot open {fit.source.name} to add to it ({_in_short(error)}). "
                "Export without --enrich: the results then stand alone."
            ) from error
        with io:
            _add(fit, nwbfile, detail, report)
            _write(io, nwbfile, fit.source.name)


def _write(io: NWBHDF5IO, nwbfile: NWBFile, name: str) -> None:
    try:
        io.write(nwbfile)
    except OSError:  # the disk's
        raise
    except Exception as error:  # hdmf raises whatever an object of the source provokes
        if os.strerror(errno.ENOSPC) in str(error):
            raise
        raise ResultsError(
            f"pynwb cannot add to {name} ({_in_short(error)}). Export without --enrich: the "
            "results then stand alone."
        ) from error


def _check_places(path: Path, name: str) -> None:
    """Refuse a file in which a group that is written to is a link, perhaps to another file."""
    with h5py.File(path, "r") as file:
        group: h5py.Group = file
        for path_inside in WRITTEN_GROUPS:
            group = file if path_inside.count("/") == 0 else group
            link = group.get(path_inside.rpartition("/")[2], getlink=True)
            if link is None:
                continue
            if not isinstance(link, h5py.HardLink):
                raise ResultsError(
                    f"/{path_inside} of {name} is a link, and nothing is written through one. "
                    "Export without --enrich: the results then stand alone."
                )
            group = file[path_inside]


@contextmanager
def _without_links_out(path: Path) -> Iterator[None]:
    """Take the links to other files out of the copy while it is written to, and put them back.

    HDF5 opens what such a link names for writing too, which changes that file.
    """
    with h5py.File(path, "r+") as file:
        links = list(_links_out(file))
        for where, name, _ in links:
            del file[where][name]
    yield
    with h5py.File(path, "r+") as file:
        for where, name, link in links:
            file[where][name] = link


def _links_out(file: h5py.File) -> Iterator[tuple[str, str, h5py.ExternalLink]]:
    """Every link to another file: the path of its group, its name, itself."""
    todo, seen = ["/"], set()
    while todo:
        group = file[todo.pop()]
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:
            continue
        seen.add(address)
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                yield group.name, name, link
            elif isinstance(link, h5py.HardLink) and isinstance(group[name], h5py.Group):
                todo.append(f"{group.name.rstrip('/')}/{name}")


def restore(source: Path, path: Path) -> None:
    """Undo what appending did to the source's own objects: the copy keeps its version of NWB.

    pynwb raises the schema version of an older file, caches the newer schema beside the file's own
    and renames types of some tables. Readers of the older version then refuse the copy, and objects
    that were valid no longer are.
    """
    with h5py.File(source, "r") as before, h5py.File(path, "r+") as after:
        _restore(before, after)
        known = before.get("specifications")
        if not isinstance(known, h5py.Group) or "core" not in known:
            return  # the source brought no schema along, so the one that was cached is its first
        for namespace in list(after["specifications"]):
            if namespace != NAMESPACE:
                _drop_new(after["specifications"], namespace, known.get(namespace, {}))
        if str(before.attrs["nwb_version"]).startswith(("2.0.", "2.1.")):
            after[f"processing/{MODULE}"].visititems(_plain_column_names)


def _drop_new(specifications: h5py.Group, namespace: str, known: Container[str]) -> None:
    for version in list(specifications[namespace]):
        if version not in known:
            del specifications[namespace][version]
    if not len(specifications[namespace]):
        del specifications[namespace]


def _plain_column_names(name: str, item: h5py.HLObject) -> None:
    """Column names in ASCII, where they are: all that the schema allowed before NWB 2.2."""
    names = item.attrs.get("colnames", ())
    if len(names) and all(isinstance(name, str) and name.isascii() for name in names):
        item.attrs["colnames"] = np.array(names, dtype=np.bytes_)


def _restore(before: h5py.HLObject, after: h5py.HLObject) -> None:
    for name, value in before.attrs.items():
        if not isinstance(value, h5py.Reference) and not np.array_equal(value, after.attrs[name]):
            after.attrs[name] = value
    if isinstance(before, h5py.Group):
        for name in before:
            # Links point at objects that are met in their own place, or at nothing.
            if isinstance(before.get(name, getlink=True), h5py.HardLink):
                _restore(before[name], after[name])


def _in_short(error: Exception) -> str:
    """The end of an error's text, where pynwb says what is wrong."""
    words = " ".join(str(error).split())
    return words if len(words) <= MOST_WORDS else f"… {words[-MOST_WORDS:].partition(' ')[2]}"


def _add(fit: Fit, nwbfile: NWBFile, detail: Detail, report: Report) -> None:
    if MODULE in nwbfile.processing:
        module = nwbfile.processing[MODULE]
    else:
        module = nwbfile.create_processing_module(name=MODULE, description=MODULE_DESCRIPTION)
    if name_of(fit) in module.data_interfaces:
        raise ResultsError(f"{fit.source.name} holds the results of {name_of(fit)} already.")
    taken = [name for name in module.data_interfaces if name.startswith(f"{name_of(fit)}_")]
    if taken:
        raise ResultsError(
            f"{fit.source.name} has {taken[0]!r} in {MODULE!r} already. Export "
            "without --enrich: the results then stand alone."
        )
    for item in results(fit, in_file=_in_file(fit, nwbfile), detail=detail, report=report):
        module.add(item)


def _in_file(fit: Fit, nwbfile: NWBFile) -> InFile:
    """The table and the series that were fitted, looked up by their object ids."""
    table = nwbfile.objects.get(fit.neurons.table_object_id)
    series = nwbfile.objects.get(str(fit.binning.get("series_object_id")))
    series = series if isinstance(series, TimeSeries) else None
    if not isinstance(table, DynamicTable):
        if fit.neurons.table_object_id is not None:
            raise ResultsError(
                f"{fit.source.name} no longer has the table {fit.neurons.table_path} (object id "
                f"{fit.neurons.table_object_id}) that was fitted. Fit this file again."
            )
        return InFile(series=series)
    stored = np.asarray(table.id[:])
    ids = unique_ids(stored.astype(stored.dtype.newbyteorder("="), copy=False))
    rows = pd.Index(ids).get_indexer(pd.Index(fit.neurons.ids))
    if (rows < 0).any():
        raise ResultsError(
            f"{fit.neurons.table_path} has no row with id {fit.neurons.ids[rows < 0][0]}: the "
            "table changed since the fit. Fit this file again."
        )
    return InFile(neurons=table, rows=np.asarray(rows), series=series)


def check_free(path: Path) -> None:
    """Refuse a file that another program is writing to: its copy could be of any moment."""
    try:
        h5py.File(path, "r").close()
    except BlockingIOError as error:
        raise ResultsError(
            f"{path} is open for writing in another program. Close it there and export again."
        ) from error
    except OSError as error:
        if LEFT_OPEN in str(error):
            raise ResultsError(
                f"{path} is marked as open for writing. Close it there and export again; if the "
                "program that wrote it crashed, take the mark off a copy with `h5clear -s COPY`, "
                "fit the copy and enrich it. Or export without --enrich: the results then stand "
                "alone."
            ) from error
        raise ResultsError(f"{path} is not an HDF5 file ({error}).") from error


def check_content(path: Path, fit: Fit) -> None:
    """Refuse a file that is neither what was fitted nor a slim or enriched copy of it."""
    wanted = fit.source.digest
    if wanted is None or not wanted.startswith("sha256:"):
        return  # the archive's etag depends on how a file was sent in parts
    with path.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    if digest != wanted and wanted not in _digests_inside(path):
        raise ResultsError(
            f"{path} has changed since the fit: expected {wanted[:19]}…, found {digest[:19]}…. "
            "Fit it again, or give the file that was fitted."
        )


def _digests_inside(path: Path) -> set[str]:
    """Digests of what a slim copy was made from, and of what the results in a file are about."""
    digests: set[str] = set()
    with h5py.File(path, "r") as file:
        slim = slim_record.read(file)
        digests |= {slim.source.digest or ""} if slim else set()
        module = file.get(f"processing/{MODULE}")
        runs: Mapping = module if isinstance(module, h5py.Group) else {}
        for run in runs.values():
            if isinstance(run, h5py.Group) and run.attrs.get("neurodata_type") == "ModelRun":
                digests |= {item.attrs.get("digest", "") for item in run.values()}
    return digests - {""}
