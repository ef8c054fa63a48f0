"""Time-resolved connectivity, evaluated in NumPy from the cheapest form that is exact.

A recording of 1,000 neurons and 100,000 frames has 400 GB of coupling matrices and a few hundred
megabytes of numbers that determine them. `Connectivity` keeps the numbers and answers in matrices,
edges, cell types and time courses; one matrix per window is made on request only, within a limit.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from nwbdyn import optional
from nwbdyn.connectivity import edge_table
from nwbdyn.connectivity.contributions import CONTRIBUTIONS, FACTOR_DESCRIPTION, REQUIRED_ARRAYS
from nwbdyn.connectivity.forms import Form
from nwbdyn.connectivity.sums import FORMS
from nwbdyn.errors import ResultsError
from nwbdyn.printable import printable
from nwbdyn.recording import Neurons

DENSE_LIMIT = 2**30  # bytes of matrices that `to_xarray` makes without an explicit request
LABELS = ("cell_type", "location")  # columns of the neuron table that label rows and columns


@dataclass(frozen=True)
class Connectivity:
    """Time-resolved functional connectivity, [..., post, pre]: row = receiver.

    `form` says what `arrays` (NumPy, or lazy while a file is open) hold:

    - "netformer": activity (num_bins, N) as the model saw it, last (num_windows,) the row of
      `activity` each window ends at, embedding (N, E), query (P, H + E), key (P, H + E) and, with
      layer norm, norm_gain (H + E,) and norm_bias (H + E,); attributes: context H, scale,
      raw_values. The matrix at any window is computed on demand. With `weight` (N, N), and
      query_offset (N, P), it is the sum of this constant and of a dynamic part without diagonal;
    - "gain": A (N, N), g (num_windows, N): J(t) = g(t)[:, None] * A; and the activity x (num_bins,
      N) that A is multiplied with, last (num_windows,) the row of it each window ends at. With
      `weight` (N, N), J(t) is the sum of this constant and of g(t) A;
    - "attention": maps (num_windows, num_layers, N_in, N_in), row-stochastic, acausal; the first
      layer answers, deeper columns are mixtures of neurons. y (num_bins, N_in), what the first map
      is multiplied with, in the bins that lie in a window; owner (num_bins, 2) that window and the
      bin's place in it; attribute: bin_width;
    - "static": weight (N, N), and activity and last as above, where they are known;
    - "dense": weights (num_windows, N, N);
    - "states": weight (S, N, N), state (num_windows,) number of the matrix, -1 for none; attribute
      states, the names, a line each;
    - "basis": basis (num_windows, K), weight (K, N, N), knots (K,) seconds; attribute bandwidth,
      seconds;
    - "sum": any components, of a file: see `nwbdyn.connectivity.sums`.

    `contributions` has the forms of `nwbdyn.connectivity.contributions` over the same arrays.
    """

    form: str
    time: np.ndarray  # (num_windows,) seconds, rising; causal forms: time of the last input bin
    window: tuple[float, float]  # seconds (start, stop) of a window relative to `time`
    neurons: Neurons  # rows of every array that has an N axis (for attention: the held-in)
    measure: str  # in words, with units: "attention weight (no unit)", "z per z"
    causal: bool
    arrays: dict[str, np.ndarray]
    attributes: dict[str, float | int | str | bool] = field(default_factory=dict)
    tested: pd.DataFrame | None = field(default=None, repr=False, compare=False)  # Fit.edges

    def __repr__(self) -> str:
        span = f"{self.time[0]:.3f} to {self.time[-1]:.3f} s, " if self.num_windows else ""
        return printable(
            f"<Connectivity {self.form}: {self.measure}; {len(self.neurons)} neurons, "
            f"{self.num_windows:,} windows, {span}{self.stored_bytes / 1e6:.1f} MB>"
        )

    @property
    def num_windows(self) -> int:
        return len(self.time)

    @property
    def dense_bytes(self) -> int:
        """Bytes of one float32 matrix per window, were they all made."""
        return 4 * self.num_windows * len(self.neurons) ** 2

    @property
    def stored_bytes(self) -> int:
        """Bytes of the arrays that determine every matrix."""
        return sum(array.nbytes for array in self.arrays.values())

    def at(self, time: float) -> xr.DataArray:
        """The matrix of the window nearest to `time`.

        Args:
            time: seconds on the session clock.

        Returns:
            (post, pre), labelled; the window's own time is the scalar coordinate `time`.

        Raises:
            ResultsError: `time` lies outside the windows.
        """
        low, high = self.time[0] + self.window[0], self.time[-1] + self.window[1]
        if not low <= time <= high:
            raise ResultsError(
                f"No connectivity at {time:g} s; windows cover {low:.3f} to {high:.3f} s."
            )
        nearest = int(np.abs(self.time - time).argmin())
        matrix = self._evaluator.matrices(np.array([nearest]))[0]
        return self._labelled(matrix).assign_coords(time=self.time[nearest])

    def mean(self, mask: np.ndarray | pd.DataFrame | None = None) -> xr.DataArray:
        """The mean matrix over windows, streamed.

        Args:
            mask: (num_windows,) flags, or a table with start_time and stop_time (seconds): a window
                counts when it lies inside one interval as a whole. None takes every window.

        Returns:
            (post, pre), labelled; `attrs["num_windows"]` says how many windows it averages.

        Raises:
            ResultsError: no window is left.
        """
        windows = self._windows(mask)
        matrix = (self._evaluator.total(windows) / len(windows)).astype(np.float32)
        return self._labelled(matrix).assign_attrs(num_windows=len(windows))

    def edges(
        self,
        k: int | None = None,
        *,
        q: float | None = None,
        mask: np.ndarray | pd.DataFrame | None = None,
    ) -> pd.DataFrame:
        """The `k` strongest off-diagonal entries of the mean (all by default), strongest first.

        Args:
            k: rows at most.
            q: keep edges that are called at this rate of false discoveries, with the statistics of
                the fit's edge table beside them. Of the mean over every window only.
            mask: as for `mean`.

        Returns:
            One row per directed edge, see `connectivity.edge_table`; statistics are NaN unless `q`
            is given.

        Raises:
            ResultsError: `q` where no edge was tested, or where q was withheld (it says why).
        """
        if q is None:
            return self._table(self.mean(mask).to_numpy(), k)
        if mask is not None:
            raise ResultsError(
                "q belongs to the mean over every window, not to those of a mask. Leave one out."
            )
        tested = None if self.tested is None else edge_table.directed(self.tested)
        if tested is None or tested["p"].isna().all():
            raise ResultsError(
                "No null was run, so no edge has a q. Fit again with --null shift:20."
            )
        withheld = tested.attrs.get("withheld")
        if withheld:
            raise ResultsError(f"No edge can be called significant: {withheld}.")
        called = tested[tested["q"] <= q]
        order = np.argsort(-called["weight"].abs().to_numpy(), kind="stable")[:k]
        return called.iloc[order].reset_index(drop=True)

    def over_time(
        self,
        pre: int | Iterable[int],
        post: int | Iterable[int],
        *,
        mask: np.ndarray | pd.DataFrame | None = None,
    ) -> xr.DataArray:
        """The weight of some edges in every window.

        Args:
            pre, post: neuron ids, one of each or one of each per edge.
            mask: as for `mean`.

        Returns:
            (time, edge) with coordinates pre and post.
        """
        pre_ids, post_ids = np.atleast_1d(np.asarray(pre)), np.atleast_1d(np.asarray(post))
        windows = self._windows(mask)
        values = self._evaluator.entries(windows, self._rows(post_ids), self._rows(pre_ids))
        return xr.DataArray(
            values,
            dims=("time", "edge"),
            coords={
                "time": self.time[windows],
                "pre": ("edge", pre_ids),
                "post": ("edge", post_ids),
            },
            name="weight",
            attrs={"measure": self.measure},
        )

    def by_cell_type(
        self, column: str = "cell_type", *, mask: np.ndarray | pd.DataFrame | None = None
    ) -> xr.DataArray:
        """Mean weight per pair of cell types over time, exactly, without a matrix per window.

        Args:
            column: of the neuron table; "location" gives regions.
            mask: as for `mean`.

        Returns:
            (time, post_type, pre_type): means over ordered pairs i != j; NaN where a pair of types
            has no such pair. Neurons without a label take no part.

        Raises:
            ResultsError: the recording labels no neuron.
        """
        labels = self._label(column)
        types = np.array(sorted(set(labels) - {""}), dtype=str)
        if not len(types):
            raise ResultsError(
                f"No neuron of this recording has a {column!r}; the neuron table has: "
                f"{', '.join(map(str, self.neurons.table.columns))}."
            )
        member = (labels[:, None] == types).astype(np.float32)  # (N, K)
        size = member.sum(axis=0)
        pairs = np.outer(size, size) - np.diag(size)
        windows = self._windows(mask)
        sums = self._evaluator.groups(windows, member)
        means = (sums / np.where(pairs > 0, pairs, np.nan)).astype(np.float32)
        return xr.DataArray(
            means,
            dims=("time", "post_type", "pre_type"),
            coords={"time": self.time[windows], "post_type": types, "pre_type": types},
            name="weight",
            attrs={"measure": self.measure},
        )

    def contributions(self) -> "Connectivity":
        """Contributions M_ij(t) = A_ij(t) y_j(t) of each neuron to each other, as another
        connectivity.

        They are signed, evaluated lazily from A and y, and have all methods of A. y is, for
        "netformer", the newest value (covariates send, too, and are not in it); for "gain", the
        activity x, with raw A: the sum over senders is the input current; for "attention", the
        normalised stream in the first layer, one matrix per bin, not per window.

        Raises:
            ResultsError: a form without contributions, or a fit that did not keep what they need.
        """
        if self.form == "static" and "activity" not in self.arrays:
            raise ResultsError(
                "This constant coupling has no activity beside it, as in an exported file: its "
                "contributions are its weights times the activity of the recording. The run "
                "directory has them."
            )
        if self.form not in REQUIRED_ARRAYS:
            raise ResultsError(
                f"Connectivity of the form {self.form!r} has no contributions; these have: "
                f"{', '.join(REQUIRED_ARRAYS)}."
            )
        kept = {**self.arrays, **self.attributes}
        missing = [name for name in REQUIRED_ARRAYS[self.form] if name not in kept]
        if missing:
            raise ResultsError(
                f"Contributions need {', '.join(missing)}, which this fit did not keep: it is of "
                "an earlier version. Fit again."
            )
        time, window = self.time, self.window
        if self.form == "attention":
            owner, bin_width = np.asarray(self.arrays["owner"]), float(self.attributes["bin_width"])
            time = self.time[owner[:, 0]] + self.window[0] + (owner[:, 1] + 0.5) * bin_width
            window = (-bin_width / 2, bin_width / 2)
        return replace(
            self,
            form=f"{self.form} contributions",
            time=time,
            window=window,
            measure=f"contribution: coupling times the {FACTOR_DESCRIPTION[self.form]}",
            tested=None,
        )

    def sorted_rows(self) -> np.ndarray:
        """(N,) rows by cell type, then region, then as recorded; unlabelled neurons last."""
        keys: list[np.ndarray] = [np.arange(len(self.neurons))]
        for label in ("location", "cell_type"):
            if label in self.neurons.table:
                values = self._label(label).astype(str)
                keys.extend([values, values == ""])
        return np.lexsort(keys)

    def to_xarray(self, time: slice | None = None, *, limit: int = DENSE_LIMIT) -> xr.DataArray:
        """One matrix per window, all at once.

        Args:
            time: seconds, `slice(start, stop)`; None for every window.
            limit: bytes above which the request is refused.

        Returns:
            (time, post, pre), labelled.

        Raises:
            ResultsError: the matrices would take more than `limit` bytes, or no window is left.
        """
        start = time.start if time is not None and time.start is not None else -np.inf
        stop = time.stop if time is not None and time.stop is not None else np.inf
        windows = self._windows((self.time >= start) & (self.time <= stop))
        size = 4 * len(windows) * len(self.neurons) ** 2
        if size > limit:
            raise ResultsError(
                f"{len(windows):,} matrices of {len(self.neurons)} x {len(self.neurons)} take "
                f"{size / 1e9:.1f} GB, the limit is {limit / 1e9:.1f} GB. Ask for fewer with "
                "time=slice(start, stop), or use at(t), mean(), over_time() or by_cell_type()."
            )
        labelled = self._labelled(self._evaluator.matrices(windows))
        return labelled.assign_coords(time=self.time[windows])

    def to_pandas(self, mask: np.ndarray | pd.DataFrame | None = None) -> pd.DataFrame:
        """The mean matrix as a table: rows receive, columns send, both named by neuron id."""
        frame = self.mean(mask).to_pandas()
        return frame.rename_axis(index="post", columns="pre")

    def to_pynapple(self, time: slice | None = None, *, limit: int = DENSE_LIMIT) -> Any:
        """One matrix per window as a TsdTensor (time, post, pre); arguments as for `to_xarray`.

        Raises:
            ResultsError: as `to_xarray`, or pynapple, which is not a dependency, is not installed.
        """
        pynapple = optional.load("pynapple")
        matrices = self.to_xarray(time, limit=limit)
        return pynapple.TsdTensor(t=matrices.time.to_numpy(), d=matrices.to_numpy())

    def to_networkx(self, time: float | None = None, *, k: int | None = None) -> Any:
        """A directed graph of the matrix at `time`, or of the mean; edges point from pre to post.

        Args:
            time: seconds; None for the mean over every window.
            k: keep the strongest edges only.

        Raises:
            ResultsError: as `at`, or networkx, which is not a dependency, is not installed.
        """
        networkx = optional.load("networkx")
        matrix = self.mean() if time is None else self.at(time)
        edges = self._table(matrix.to_numpy(), k)
        graph = networkx.DiGraph(measure=self.measure)
        for row, neuron in enumerate(self.neurons.ids.tolist()):
            known = {name: self._label(name)[row] for name in LABELS if name in self.neurons.table}
            graph.add_node(neuron, **known)
        graph.add_weighted_edges_from(
            zip(*(edges[name].tolist() for name in ("pre_id", "post_id", "weight")), strict=True)
        )
        return graph

    def to_mne(self, time: float | slice | None = None, *, limit: int = DENSE_LIMIT) -> Any:
        """The matrix as mne-connectivity keeps one: its rows send and its columns receive.

        Args:
            time: seconds; None for the mean over every window; `slice(start, stop)` for one matrix
                per window.
            limit: as for `to_xarray`.

        Returns:
            A `mne_connectivity.Connectivity`, or a `TemporalConnectivity` for a slice, whose nodes
            are named by neuron id and whose `method` is the measure.

        Raises:
            ResultsError: as `at` and `to_xarray`, or mne-connectivity, which is not a dependency,
                is not installed.
        """
        mne = optional.load("mne_connectivity")
        names = [str(neuron) for neuron in self.neurons.ids]
        common = {"n_nodes": len(names), "names": names, "method": self.measure}
        if isinstance(time, slice):
            matrices = self.to_xarray(time, limit=limit)
            data = matrices.transpose("pre", "post", "time").to_numpy()
            return mne.TemporalConnectivity(
                data.reshape(-1, data.shape[2]), times=matrices.time.to_numpy(), **common
            )
        matrix = self.mean() if time is None else self.at(time)
        return mne.Connectivity(matrix.to_numpy().T.ravel(), **common)

    @cached_property
    def _evaluator(self) -> Form:
        known = FORMS | CONTRIBUTIONS
        if self.form not in known:
            raise ResultsError(
                f"Unknown form {self.form!r} of connectivity; known: {', '.join(known)}."
            )
        return known[self.form](self.arrays, self.attributes)

    def _table(self, matrix: np.ndarray, k: int | None) -> pd.DataFrame:
        post, pre = edge_table.strongest(np.abs(matrix), k)
        return edge_table.edge_table(self.neurons, post, pre, matrix[post, pre])

    def _windows(self, mask: np.ndarray | pd.DataFrame | None) -> np.ndarray:
        """Positions of the windows that a mask or a table of intervals keeps."""
        if mask is None:
            keep = np.ones(self.num_windows, bool)
        elif isinstance(mask, pd.DataFrame):
            first, last = self.time + self.window[0], self.time + self.window[1]
            keep = np.zeros(self.num_windows, bool)
            for start, stop in zip(mask["start_time"], mask["stop_time"], strict=True):
                keep |= (first >= start) & (last <= stop)
        else:
            keep = np.asarray(mask, dtype=bool)
            if keep.shape != self.time.shape:
                raise ResultsError(
                    f"A mask of shape {keep.shape} does not fit {self.num_windows} windows."
                )
        if not keep.any():
            raise ResultsError(
                f"No window is left: {self.num_windows} windows of "
                f"{self.window[1] - self.window[0]:g} s, none inside the requested times."
            )
        return np.flatnonzero(keep)

    def _rows(self, ids: np.ndarray) -> np.ndarray:
        rows = pd.Index(self.neurons.ids).get_indexer(pd.Index(ids))
        if (rows < 0).any():
            unknown = ", ".join(map(str, ids[rows < 0][:5]))
            raise ResultsError(f"No neuron has the id {unknown}; see connectivity.neurons.ids.")
        return rows

    def _label(self, column: str) -> np.ndarray:
        """(N,) str, a label column of the neuron table, "" where it is empty."""
        if column not in self.neurons.table:
            return np.full(len(self.neurons), "", dtype=object)
        values = self.neurons.table[column]
        return values.astype(object).where(values.notna(), "").astype(str).to_numpy(dtype=object)

    def _labelled(self, matrix: np.ndarray) -> xr.DataArray:
        """A DataArray (post, pre) or (time, post, pre) with ids and labels on both axes."""
        coords: dict[str, object] = {"post": self.neurons.ids, "pre": self.neurons.ids}
        for label in LABELS:
            if label in self.neurons.table:
                for axis in ("post", "pre"):
                    coords[f"{axis}_{label}"] = (axis, self._label(label).astype(str))
        dims = ("time", "post", "pre")[-matrix.ndim :]
        return xr.DataArray(
            matrix, dims=dims, coords=coords, name="weight", attrs={"measure": self.measure}
        )
