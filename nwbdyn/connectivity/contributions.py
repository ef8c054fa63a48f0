"""Contributions between neurons: a coupling times the signal it multiplies, in NumPy.

    M_ij(t) = A_ij(t) y_j(t)

y is what the model's own sum over senders runs over: NetFormer's values, the activity that
SynapsNet saw, the normalised stream that STNDT's first map mixes. M is signed and says how much
went from j to i at one moment, where A says how much would. It is evaluated from A's form and y,
never stored; each class here answers for M what its namesake in `forms` answers for A.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from nwbdyn.connectivity.forms import (
    BLOCK_BYTES,
    Form,
    GainForm,
    NetFormerForm,
    columns,
    without_diagonal,
)
from nwbdyn.connectivity.sums import CORE, SumForm, ZeroDiagonalForm
from nwbdyn.recording import Array


class NetFormerContributions(NetFormerForm):
    """A_ij(t) v_j(t), v the newest value: of the normalised token, or with `raw_values` as it is.

    The sum over j, and v_i itself, are what the model's prediction is made of. Arrays as for
    `NetFormerForm`; where they do not give v, `y` (num_windows, N) does.
    """

    def __init__(self, arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> None:
        super().__init__(arrays, attributes)
        self._value = arrays.get("y")
        self._raw = bool(attributes["raw_values"])

    def _keys(
        self, tokens: np.ndarray, windows: np.ndarray, neurons: np.ndarray | None
    ) -> np.ndarray:
        """Keys times values: A_ij v_j = s q_i . (k_j v_j)."""
        if self._value is not None:
            values = _rows(self._value, windows, neurons)
        elif self._raw:
            values = _rows(self._activity, self._last[windows], neurons)
        else:
            values = tokens[..., self._context - 1]  # (B, n)
        return super()._keys(tokens, windows, neurons) * values[..., None]


class GainContributions:
    """A_ij x_j(t): its sum over j is the input current. Arrays: `A`, `activity`, `last`."""

    def __init__(self, arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> None:
        # A neuron's activity scales a column of A, as a gain scales a row.
        self._turned = GainForm(
            {"A": np.asarray(arrays["A"]).T, "g": arrays["activity"]}, attributes
        )
        self._last = np.asarray(arrays["last"], dtype=np.int64)
        self.num_neurons = self._turned.num_neurons

    def matrices(self, windows: np.ndarray) -> np.ndarray:
        return self._turned.matrices(self._last[windows]).swapaxes(1, 2)

    def total(self, windows: np.ndarray) -> np.ndarray:
        return self._turned.total(self._last[windows]).T

    def entries(self, windows: np.ndarray, post: np.ndarray, pre: np.ndarray) -> np.ndarray:
        return self._turned.entries(self._last[windows], pre, post)

    def groups(self, windows: np.ndarray, member: np.ndarray) -> np.ndarray:
        return self._turned.groups(self._last[windows], member).swapaxes(1, 2)


class AttentionContributions:
    """A_ij y_j(t), bin by bin, with the first layer's map of the window that a bin belongs to.

    Arrays: `maps` as for `DenseForm`, `y` (num_bins, N), `owner` (num_bins, 2): the window of each
    bin, and the bin's place in it. A "window" of what is asked here is a bin.
    """

    def __init__(self, arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> None:
        self._maps, self._sent = arrays["maps"], arrays["y"]
        self._owner = np.asarray(arrays["owner"], dtype=np.int64)[:, 0]
        self.num_neurons = self._maps.shape[-1]

    def matrices(self, windows: np.ndarray) -> np.ndarray:
        made = np.empty((len(windows), self.num_neurons, self.num_neurons), np.float32)
        for rows, map, sent in self._by_map(windows):
            made[rows] = map * sent[:, None, :]
        return made

    def total(self, windows: np.ndarray) -> np.ndarray:
        total = np.zeros((self.num_neurons, self.num_neurons))
        for _, map, sent in self._by_map(windows):
            total += map * sent.sum(axis=0, dtype=np.float64)
        return total

    def entries(self, windows: np.ndarray, post: np.ndarray, pre: np.ndarray) -> np.ndarray:
        series = np.empty((len(windows), len(post)), np.float32)
        for rows, map, sent in self._by_map(windows):
            series[rows] = map[post, pre] * sent[:, pre]
        return series

    def groups(self, windows: np.ndarray, member: np.ndarray) -> np.ndarray:
        sums = np.empty((len(windows), member.shape[1], member.shape[1]), np.float32)
        for rows, map, sent in self._by_map(windows):
            received = member.T @ without_diagonal(map)  # (K, N)
            sums[rows] = (received * sent[:, None, :]) @ member
        return sums

    def _by_map(self, bins: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Positions in `bins`, the map (N, N) of their window, and y (n, N) in these bins."""
        for window in np.unique(self._owner[bins]).tolist():
            rows = np.flatnonzero(self._owner[bins] == window)
            map = np.asarray(self._maps[window, 0], dtype=np.float32)
            yield rows, map, _rows(self._sent, bins[rows], None).astype(np.float32)


class GainedContributions:
    """g_i(t) A_ij x_j(t), beside the contributions of a constant. Arrays as for `GainForm`, and
    `activity` and `last` as for `GainContributions`.
    """

    def __init__(self, arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> None:
        self._weight = np.asarray(arrays["A"])
        self._gain, self._activity = arrays["g"], arrays["activity"]
        self._last = np.asarray(arrays["last"], dtype=np.int64)
        self.num_neurons = len(self._weight)

    def matrices(self, windows: np.ndarray) -> np.ndarray:
        made = np.empty((len(windows), self.num_neurons, self.num_neurons), np.float32)
        for block, gains, sent in self._blocks(windows):
            made[block] = gains[:, :, None] * self._weight * sent[:, None, :]
        return made

    def total(self, windows: np.ndarray) -> np.ndarray:
        total = np.zeros((self.num_neurons, self.num_neurons))
        for _, gains, sent in self._blocks(windows):
            total += gains.T @ sent
        return total * self._weight

    def entries(self, windows: np.ndarray, post: np.ndarray, pre: np.ndarray) -> np.ndarray:
        series = np.empty((len(windows), len(post)), np.float32)
        for block, gains, sent in self._blocks(windows):
            series[block] = gains[:, post] * self._weight[post, pre] * sent[:, pre]
        return series

    def groups(self, windows: np.ndarray, member: np.ndarray) -> np.ndarray:
        weight = without_diagonal(self._weight)
        sums = np.empty((len(windows), member.shape[1], member.shape[1]), np.float32)
        for block, gains, sent in self._blocks(windows):
            received = weight @ (sent[:, :, None] * member)  # (B, N, K)
            sums[block] = member.T @ (gains[:, :, None] * received)
        return sums

    def _blocks(self, windows: np.ndarray) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Gains and activity (B, N) of some windows, block after block."""
        size = max(1, BLOCK_BYTES // (4 * self.num_neurons**2))
        for start in range(0, len(windows), size):
            part = windows[start : start + size]
            gains = _rows(self._gain, part, None).astype(np.float64)
            yield slice(start, start + size), gains, _rows(self._activity, self._last[part], None)


def netformer(arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> Form:
    """A_ij(t) v_j(t), with that of a constant coupling where there is one."""
    dynamic = NetFormerContributions(arrays, attributes)
    if CORE not in arrays:
        return dynamic
    return SumForm([static(arrays, attributes), ZeroDiagonalForm(dynamic)])


def gain(arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> Form:
    """A_ij x_j(t); beside a constant coupling (W_ij + g_i(t) A_ij) x_j(t)."""
    if CORE not in arrays:
        return GainContributions(arrays, attributes)
    return SumForm([static(arrays, attributes), GainedContributions(arrays, attributes)])


def static(arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> Form:
    """W_ij x_j(t)."""
    return GainContributions({**arrays, "A": arrays["weight"]}, attributes)


CONTRIBUTIONS: dict[str, Callable[[Mapping[str, Array], Mapping[str, object]], Form]] = {
    "netformer contributions": netformer,
    "gain contributions": gain,
    "static contributions": static,
    "attention contributions": AttentionContributions,
}
REQUIRED_ARRAYS = {  # form of a coupling -> arrays and attributes its contributions also need
    "netformer": ("raw_values",),
    "gain": ("activity", "last"),
    "static": ("activity", "last"),
    "attention": ("y", "owner", "bin_width"),
}
FACTOR_DESCRIPTION = {  # form of a coupling -> what it is multiplied with, in words
    "netformer": "newest value of the sender, as the model saw it",
    "gain": "activity of the sender, as the model saw it",
    "static": "activity of the sender, as the model saw it",
    "attention": "normalised stream of the sender in the first layer",
}


def _rows(array: Array, rows: np.ndarray, neurons: np.ndarray | None) -> np.ndarray:
    """`array[rows][:, neurons]` for rising rows, which are read as one stretch."""
    first, stop = int(rows[0]), int(rows[-1]) + 1
    return columns(array, slice(first, stop), neurons)[rows - first]
