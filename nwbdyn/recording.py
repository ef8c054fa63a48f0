"""A recording, independent of its file format.

NumPy and pandas only. Large arrays stay in the file (`LazyArray`) until somebody asks for them, so
opening a recording over the network costs the metadata and no more. Time is the first axis, times
are in seconds on the session's clock, and a *neuron* is a unit or an ROI.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import numpy as np
import pandas as pd

from nwbdyn.errors import ResultsError
from nwbdyn.printable import folder_name, printable

if TYPE_CHECKING:
    from pynwb import NWBFile

COUNTS = "counts"  # the quantity of binned spikes
TRACE_QUANTITIES = ("events", "dff", "deconvolved", "fluorescence")  # in order of preference
RECORDED_BY = ("experimenter", "lab", "institution")  # fields of an NWB file

UNKNOWN_ARCHIVE = "unknown"  # the instance of a copy whose record cannot be read


@dataclass(frozen=True)
class Source:
    """Origin of a recording, precise enough to fetch the same bytes again."""

    uri: str  # what a person can type again: "dandi:000140@0.220113.0408/…nwb", a path, "sample:…"
    url: str  # where the bytes are: https:// or file://; never a presigned URL; "" in what is
    # exported, where they lie on somebody's disk
    dandiset_id: str | None = None
    version: str | None = None
    asset_path: str | None = None
    asset_id: str | None = None
    digest: str | None = None  # "dandi-etag:…" or "sha256:…"
    size: int | None = None  # bytes
    instance: str | None = None  # the DANDI instance's name, where there is one

    @property
    def path(self) -> Path | None:
        """The local file, or None when the bytes are remote."""
        parts = urlsplit(self.url)
        return Path(url2pathname(parts.path)) if parts.scheme == "file" else None

    @property
    def is_zarr(self) -> bool:
        """True for a Zarr store, a folder of objects instead of a file."""
        return self._last.rstrip("/").lower().endswith(".zarr")

    @property
    def name(self) -> str:
        """File name without folder and `.nwb`, for run directories and messages."""
        return folder_name(Path(self._last).name.removesuffix(".zarr").removesuffix(".nwb"))

    @property
    def _last(self) -> str:
        return self.asset_path or unquote(urlsplit(self.url).path) or self.uri


def source_of(stored: object) -> Source:
    """The Source in stored values; raises TypeError for values that are not of its types."""
    if not isinstance(stored, dict):
        raise TypeError(f"the source is {repr(stored)[:60]}")
    for name, value in stored.items():
        expected = int if name == "size" else str
        if not isinstance(value, expected) and (value is not None or name in ("uri", "url")):
            raise TypeError(f"{name} of the source is {repr(value)[:60]}")
    return Source(**stored)


class LazyArray:
    """An array that stays in its file until it is indexed or turned into NumPy.

    Args:
        read: returns the part of the array that an index (anything h5py takes) names.
        shape: shape of the whole array.
        dtype: dtype of what `read` returns.
        stored: tells how many bytes hold it in the file, or None where that is not known.
        rows_together: rows that the file keeps in one chunk; reading fewer reads them all.
    """

    def __init__(
        self,
        read: Callable[[object], np.ndarray],
        shape: tuple[int, ...],
        dtype: np.dtype,
        *,
        stored: Callable[[], int | None] = lambda: None,
        rows_together: int = 1,
    ) -> None:
        self._read = read
        self._stored = stored
        self._whole: np.ndarray | None = None
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.rows_together = rows_together

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def stored_bytes(self) -> int | None:
        """Bytes in the file, compressed as they are there; None where that is not known."""
        return self._stored()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: object) -> np.ndarray:
        if self._whole is not None:
            return self._whole[key]  # type: ignore[call-overload]
        return self._read(key)

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        if self._whole is None:
            self._whole = self._read(())
        return np.array(self._whole, dtype=dtype, copy=copy)


Array = np.ndarray | LazyArray

# columns of NWB tables that may hold the names of single cells
LABELS = ("neuron_label", "neuron_name", "cell_label", "ID_labels", "label", "unit_name", "name")


@dataclass(frozen=True)
class Neurons:
    """The units or ROIs of a recording, one row each, in file order."""

    table: pd.DataFrame  # columns: id; where known cell_type, location, x, y, z, quality columns
    kind: str  # "unit" or "roi"
    table_path: str | None = None  # path of the NWB table inside the file
    table_object_id: str | None = None
    cell_type_source: str | None = None  # where cell_type was found, e.g. "units/cell_type"
    overlaps: np.ndarray | None = field(default=None, repr=False, compare=False)
    # (P, 3) rows of two ROIs whose masks have points in common, and the share of the smaller mask;
    # None where no mask was read
    micrometres: np.ndarray | None = field(default=None, repr=False, compare=False)
    # (2 or 3,) of one unit of x, y (z), where that is stated

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        columns = ", ".join(map(str, self.table.columns[:12]))
        more = ", …" if len(self.table.columns) > 12 else ""
        return printable(f"<Neurons {len(self)} {self.kind}s; columns {columns}{more}>")

    @property
    def ids(self) -> np.ndarray:
        """(num_neurons,) the `id` column."""
        return self.table["id"].to_numpy()

    @property
    def names(self) -> list[str]:
        """Display name of each neuron: "AVAL (12)", or its id if it has no label."""
        for column in LABELS:
            labels = self.table.get(column, pd.Series(dtype=str))
            texts = [one.strip() if isinstance(one, str) else "" for one in labels]
            given = [text for text in texts if text]
            if given and len(set(given)) > len(given) / 2:  # else it names kinds, such as "good"
                pairs = zip(self.ids, texts, strict=True)
                return [f"{text} ({one})" if text else str(one) for one, text in pairs]
        return [str(one) for one in self.ids]

    def take(self, rows: np.ndarray) -> "Neurons":
        """The neurons at `rows` (positions or a boolean mask), in that order."""
        positions = np.arange(len(self))[rows]
        overlaps = self.overlaps
        if overlaps is not None:
            row_of = np.full(len(self), -1)
            row_of[positions] = np.arange(len(positions))
            pairs = row_of[overlaps[:, :2].astype(int)]
            kept = (pairs >= 0).all(axis=1)
            overlaps = np.column_stack([pairs[kept], overlaps[kept, 2]])
        table = self.table.iloc[positions].reset_index(drop=True)
        return replace(self, table=table, overlaps=overlaps)


@dataclass(frozen=True)
class SpikeTimes:
    """Spike times of all units, ragged as in NWB."""

    times: Array  # (num_spikes,) seconds, unit after unit
    index: np.ndarray  # (num_units,) int64, end of each unit's spikes in `times`
    intervals: np.ndarray | None = (
        None  # (num_intervals, 2) seconds in which all units were observed; no row: never together
    )
    resolution: float | None = None  # seconds, where the file states it
    unit_intervals: tuple[np.ndarray | None, ...] | None = None
    # (num_intervals, 2) seconds of each unit, None for one that states none; None where all units
    # have the same

    def of(self, unit: int) -> np.ndarray:
        """(n,) spike times of one unit, by its row."""
        start = int(self.index[unit - 1]) if unit else 0
        return self.times[start : int(self.index[unit])]


@dataclass(frozen=True)
class Traces:
    """ROI traces of one or more imaging planes on one clock."""

    data: Array  # (num_frames, num_rois)
    timestamps: Array  # (num_frames,) seconds
    quantity: str  # "dff", "events", "deconvolved" or "fluorescence"
    unit: str = "n.a."  # as the file states it
    series_path: str | None = None  # path of the NWB series inside the file
    series_object_id: str | None = None


@dataclass(frozen=True)
class Covariate:
    """A behavioural or stimulus signal beside the neurons."""

    name: str
    data: Array  # (num_samples, num_channels)
    timestamps: Array  # (num_samples,) seconds
    unit: str = "n.a."
    channels: tuple[str, ...] = ()  # one name per channel, empty when the file gives none


@dataclass(frozen=True)
class Note:
    """Something in the file that was skipped, changed or odd, and why."""

    code: str  # stable, kebab-case: "skipped-object", "all-nan", "empty-unit", …
    where: str  # object path inside the file, or the neuron
    reason: str  # one sentence
    important: bool = False  # it changes what the numbers mean: at the top of `inspect` and `fit`

    def __str__(self) -> str:
        return f"{self.where}: {self.reason} [{self.code}]"


@dataclass(frozen=True)
class Recording:
    """One session: neurons, their activity, and what happened around them.

    Use it in a `with` block, or call `close()`, when it was opened from a file; arrays that were
    not yet read are gone afterwards.
    """

    session_id: str
    neurons: Neurons
    activity: SpikeTimes | Traces
    source: Source
    identifier: str = ""
    session_start_time: str = ""  # ISO 8601 with time zone
    session_description: str = ""
    subject: dict[str, str] = field(default_factory=dict)  # subject_id, species, sex, age, …
    recorded_by: dict[str, tuple[str, ...]] = field(default_factory=dict)  # see RECORDED_BY
    covariates: tuple[Covariate, ...] = ()
    trials: pd.DataFrame | None = None  # start_time, stop_time and every other column
    intervals: dict[str, pd.DataFrame] = field(default_factory=dict)  # every other interval table
    notes: tuple[Note, ...] = ()
    chosen: dict[str, Any] = field(default_factory=dict)  # where, plane …, as asked
    copied_from: tuple[Source, ...] = ()  # other sources of these bytes, see `nwb.read.copied_from`
    files: ExitStack = field(default_factory=ExitStack, repr=False, compare=False)
    file: object = field(
        default=None, repr=False, compare=False
    )  # open h5py.File, where there is one

    def __repr__(self) -> str:
        kind = self.neurons.kind.replace("roi", "ROI")
        if isinstance(self.activity, Traces):
            what = f"{self.activity.quantity}, {len(self.activity.timestamps):,} frames"
        else:
            what = f"{len(self.activity.times):,} spikes"
        parts = [self.source.name, f"{len(self.neurons)} {kind}s", what]
        if self.trials is not None:
            parts.append(f"{len(self.trials)} trials")
        return printable(f"<Recording {', '.join(parts)}, {len(self.notes)} notes>")

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *exc: Any) -> None:
        self.files.__exit__(*exc)  # files do not check for changes where an error is on its way

    def close(self) -> None:
        """Close the file behind the arrays that are still lazy."""
        self.files.close()

    def trials_to_pynapple(self, name: str = "trials") -> Any:
        """The trials, or another interval table, as an IntervalSet with every other column.

        Columns that hold something else than one number or text per row are left out.

        Raises:
            ResultsError: no such table, or pynapple, which is not a dependency, is not installed.
        """
        from nwbdyn import optional

        return optional.interval_set(self._intervals(name))

    def to_pynwb(self) -> "NWBFile":
        """The whole file as pynwb's objects, over the same open file, until it is closed.

        Raises:
            ReadError: there is no such file, or pynwb refuses it.
        """
        from nwbdyn.pynwb_view import nwbfile_of

        return nwbfile_of(self.file, self.source.name, self.files)

    def _intervals(self, name: str) -> pd.DataFrame:
        tables = dict(self.intervals)
        if self.trials is not None:
            tables.setdefault("trials", self.trials)
        if name not in tables:
            there = ", ".join(sorted(tables)) or "none"
            raise ResultsError(
                f"{self.source.name} has no interval table {name!r}; it has: {there}."
            )
        return tables[name]

    def covariate(self, name: str) -> Covariate:
        """The covariate called `name`; KeyError lists what is there."""
        for covariate in self.covariates:
            if covariate.name == name:
                return covariate
        there = ", ".join(self._covariate_names()) or "none"
        raise KeyError(f"no covariate {name!r}; there are: {there}")

    def _covariate_names(self) -> Iterator[str]:
        return (covariate.name for covariate in self.covariates)
