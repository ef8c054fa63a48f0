"""The stored forms of connectivity, each evaluated exactly in NumPy, block by block.

A form answers four questions about some windows without ever holding one matrix per window: the
matrices themselves (for the few that are asked for), their sum, single entries over time, and sums
over pairs of groups. `Connectivity` labels what comes out. Arrays may be lazy (`LazyArray` or an
h5py dataset): only the rows and columns that a question needs are read.
"""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np

from nwbdyn.recording import Array

BLOCK_BYTES = 64 * 2**20  # working memory of one block of windows
NORM_EPSILON = 1e-5  # of NetFormer's layer norm

STATES, STATE_NAMES = "states", "states"  # form with one matrix per state; its attribute
BASIS = "basis"  # form with basis functions of time
BANDWIDTH = "bandwidth"  # its attribute: sd of the kernel, seconds


class Form(Protocol):
    """Interface of every form. `windows` are sorted positions on the connectivity's clock."""

    num_neurons: int

    def __init__(self, arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> None: ...

    def matrices(self, windows: np.ndarray) -> np.ndarray:
        """(num_windows, N, N) the matrices, [post, pre]."""

    def total(self, windows: np.ndarray) -> np.ndarray:
        """(N, N) float64, the sum of the matrices over the windows."""

    def entries(self, windows: np.ndarray, post: np.ndarray, pre: np.ndarray) -> np.ndarray:
        """(num_windows, E) the entries [post[e], pre[e]]."""

    def groups(self, windows: np.ndarray, member: np.ndarray) -> np.ndarray:
        """(num_windows, K, K) sums over pairs i != j of post group and pre group.

        `member` is (N, K), 1 where a neuron belongs to a group.
        """


class NetFormerForm:
    """A(t)_ij = scale q_i . k_j, with q and k maps of the normalised history and the embedding.

    Arrays: `activity` (num_bins, N) as the model saw it, `last` (num_windows,) the row of it that
    each window ends at, `embedding` (N, E), `query` and `key` (P, H + E), and with layer norm
    `norm_gain` and `norm_bias` (H + E,); `query_offset` and `key_offset` (N, P), taken from queries
    and keys. Attributes: `context` H and `scale`.
    """

    def __init__(self, arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> None:
        self._activity = arrays["activity"]
        self._last = np.asarray(arrays["last"], dtype=np.int64)
        self._embedding = np.asarray(arrays["embedding"], dtype=np.float32)
        self._query = np.asarray(arrays["query"], dtype=np.float32)
        self._key = np.asarray(arrays["key"], dtype=np.float32)
        self._norm = (
            (np.asarray(arrays["norm_gain"]), np.asarray(arrays["norm_bias"]))
            if "norm_gain" in arrays
            else None
        )
        self._query_offset, self._key_offset = (
            np.asarray(arrays[name], dtype=np.float32) if name in arrays else None
            for name in ("query_offset", "key_offset")
        )
        self._context = int(attributes["context"])  # type: ignore[call-overload]
        self._scale = np.float32(attributes["scale"])  # type: ignore[arg-type]
        self.num_neurons = len(self._embedding)

    def matrices(self, windows: np.ndarray) -> np.ndarray:
        blocks = [
            self._scale * (queries @ keys.swapaxes(1, 2))  # (B, N, N)
            for _, queries, keys in self._projections(windows)
        ]
        return np.concatenate(blocks)

    def total(self, windows: np.ndarray) -> np.ndarray:
        total = np.zeros((self.num_neurons, self.num_neurons))
        for _, queries, keys in self._projections(windows):
            # Sum over windows and projection at once: (N, B P) @ (B P, N).
            flat = (x.swapaxes(0, 1).reshape(self.num_neurons, -1) for x in (queries, keys))
            left, right = flat
            total += left @ right.T
        return total * float(self._scale)

    def entries(self, windows: np.ndarray, post: np.ndarray, pre: np.ndarray) -> np.ndarray:
        neurons, position = np.unique(np.concatenate([post, pre]), return_inverse=True)
        row, column = position[: len(post)], position[len(post) :]
        series = np.empty((len(windows), len(post)), np.float32)
        step = max(1, BLOCK_BYTES // (8 * max(1, len(post)) * len(self._query)))
        for block, queries, keys in self._projections(windows, neurons):
            for start in range(0, len(queries), step):
                part = slice(start, start + step)
                products = np.einsum("bep,bep->be", queries[part][:, row], keys[part][:, column])
                series[block][part] = self._scale * products
        return series

    def groups(self, windows: np.ndarray, member: np.ndarray) -> np.ndarray:
        member = member.astype(np.float32)
        sums = np.empty((len(windows), member.shape[1], member.shape[1]), np.float32)
        for block, queries, keys in self._projections(windows):
            pairs = (member.T @ queries) @ (member.T @ keys).swapaxes(1, 2)  # (B, K, K)
            itself = np.einsum("bnp,bnp->bn", queries, keys) @ member  # (B, K)
            pairs[:, range(member.shape[1]), range(member.shape[1])] -= itself
            sums[block] = self._scale * pairs
        return sums

    def _projections(
        self, windows: np.ndarray, neurons: np.ndarray | None = None
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Queries and keys (B, n, P) of `neurons` (all by default), block after block."""
        embedding = self._embedding if neurons is None else self._embedding[neurons]
        last = self._last[windows]
        features = self._context + embedding.shape[1]
        size = max(1, BLOCK_BYTES // (4 * len(embedding) * (3 * features + 2 * len(self._query))))
        start = 0
        while start < len(last):
            # A block also ends where its windows lie far apart, so that no long stretch is read.
            stop = min(start + size, int(np.searchsorted(last, last[start] + 2 * size)))
            block = slice(start, max(stop, start + 1))
            tokens = self._tokens(last[block], embedding, neurons)
            queries = _less(tokens @ self._query.T, self._query_offset, neurons)
            yield block, queries, self._keys(tokens, windows[block], neurons)
            start = block.stop

    def _keys(
        self, tokens: np.ndarray, windows: np.ndarray, neurons: np.ndarray | None
    ) -> np.ndarray:
        """(B, n, P) keys of the senders."""
        return _less(tokens @ self._key.T, self._key_offset, neurons)

    def _tokens(
        self, last: np.ndarray, embedding: np.ndarray, neurons: np.ndarray | None
    ) -> np.ndarray:
        """(B, n, H + E): history, newest last, beside the embedding; normalised if the model is."""
        first = int(last[0]) - self._context + 1
        activity = columns(self._activity, slice(first, int(last[-1]) + 1), neurons)
        history = np.lib.stride_tricks.sliding_window_view(activity, self._context, axis=0)
        shape = (len(last), len(embedding), self._context + embedding.shape[1])
        tokens = np.empty(shape, np.float32)
        tokens[..., : self._context] = history[last - last[0]]  # (B, n, H)
        tokens[..., self._context :] = embedding
        if self._norm is not None:
            gain, bias = self._norm
            tokens -= tokens.mean(axis=-1, keepdims=True)
            variance = np.square(tokens).mean(axis=-1, keepdims=True)
            tokens *= gain / np.sqrt(variance + NORM_EPSILON)
            tokens += bias
        return tokens


class GainForm:
    """J(t)_ij = g_i(t) A_ij. Arrays: `A` (N, N), `g` (num_windows, N)."""

    def __init__(self, arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> None:
        self._weight = np.asarray(arrays["A"])
        self._gain = arrays["g"]
        self.num_neurons = len(self._weight)

    def matrices(self, windows: np.ndarray) -> np.ndarray:
        blocks = [gains[:, :, None] * self._weight for _, gains in self._gains(windows)]
        return np.concatenate(blocks)  # (num_windows, N, N)

    def total(self, windows: np.ndarray) -> np.ndarray:
        total = np.zeros(self.num_neurons)
        for _, gains in self._gains(windows):
            total += gains.sum(axis=0, dtype=np.float64)
        return total[:, None] * self._weight

    def entries(self, windows: np.ndarray, post: np.ndarray, pre: np.ndarray) -> np.ndarray:
        neurons, position = np.unique(post, return_inverse=True)
        series = np.empty((len(windows), len(post)), np.float32)
        for block, gains in self._gains(windows, neurons):
            series[block] = gains[:, position] * self._weight[post, pre]
        return series

    def groups(self, windows: np.ndarray, member: np.ndarray) -> np.ndarray:
        received = without_diagonal(self._weight) @ member  # (N, K)
        pairs = member[:, :, None] * received[:, None, :]  # (N, K, K)
        sums = np.empty((len(windows), *pairs.shape[1:]), np.float32)
        for block, gains in self._gains(windows):
            sums[block] = np.tensordot(gains, pairs, axes=1)
        return sums

    def _gains(
        self, windows: np.ndarray, neurons: np.ndarray | None = None
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Gains (B, n) of `neurons` (all by default), block after block."""
        size = max(1, BLOCK_BYTES // (4 * self.num_neurons))
        start = 0
        while start < len(windows):
            last = windows[start] + size  # a block ends before a long stretch would be read
            block = slice(start, int(np.searchsorted(windows, last)))
            first = int(windows[start])
            rows = slice(first, int(windows[block.stop - 1]) + 1)
            yield block, columns(self._gain, rows, neurons)[windows[block] - first]
            start = block.stop


class StaticForm:
    """One matrix for all times. Arrays: `weight` (N, N)."""

    def __init__(self, arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> None:
        self._weight = np.asarray(arrays["weight"])
        self.num_neurons = len(self._weight)

    def matrices(self, windows: np.ndarray) -> np.ndarray:
        return np.repeat(self._weight[None], len(windows), axis=0)

    def total(self, windows: np.ndarray) -> np.ndarray:
        return self._weight.astype(np.float64) * len(windows)

    def entries(self, windows: np.ndarray, post: np.ndarray, pre: np.ndarray) -> np.ndarray:
        return np.repeat(self._weight[post, pre][None], len(windows), axis=0)

    def groups(self, windows: np.ndarray, member: np.ndarray) -> np.ndarray:
        sums = member.T @ without_diagonal(self._weight) @ member
        return np.repeat(sums[None], len(windows), axis=0)


class DenseForm:
    """One stored matrix per window.

    Arrays: `weights` (num_windows, N, N), or `maps` (num_windows, num_layers, N, N), of which the
    first layer is read: deeper columns are mixtures of neurons.
    """

    def __init__(self, arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> None:
        self._layered = "maps" in arrays
        self._stored = arrays["maps" if self._layered else "weights"]
        self.num_neurons = self._stored.shape[-1]

    def matrices(self, windows: np.ndarray) -> np.ndarray:
        # One read per window: the windows may be far apart, and each is one chunk on disk.
        return np.stack([self._matrix(int(window)) for window in windows])

    def total(self, windows: np.ndarray) -> np.ndarray:
        total = np.zeros((self.num_neurons, self.num_neurons))
        for window in windows:
            total += self._matrix(int(window))
        return total

    def entries(self, windows: np.ndarray, post: np.ndarray, pre: np.ndarray) -> np.ndarray:
        return np.stack([self._matrix(int(window))[post, pre] for window in windows])

    def groups(self, windows: np.ndarray, member: np.ndarray) -> np.ndarray:
        return np.stack(
            [member.T @ without_diagonal(self._matrix(int(window))) @ member for window in windows]
        )

    def _matrix(self, window: int) -> np.ndarray:
        stored = self._stored[window, 0] if self._layered else self._stored[window]
        return np.asarray(stored, dtype=np.float32)


class StateForm:
    """A(t)_ij = weight[state[t], i, j], and 0 where the state is -1.

    Arrays: `state` (num_windows,) int, `weight` (S, N, N); attribute: names of the states, a line
    each.
    """

    def __init__(self, arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> None:
        weight, state = np.asarray(arrays["weight"]), np.asarray(arrays["state"])
        basis = (state[:, None] == np.arange(len(weight))).astype(np.float32)
        self._whole = BasisForm({"weight": weight, "basis": basis}, attributes)
        self.num_neurons = weight.shape[-1]

    def matrices(self, windows: np.ndarray) -> np.ndarray:
        return self._whole.matrices(windows)

    def total(self, windows: np.ndarray) -> np.ndarray:
        return self._whole.total(windows)

    def entries(self, windows: np.ndarray, post: np.ndarray, pre: np.ndarray) -> np.ndarray:
        return self._whole.entries(windows, post, pre)

    def groups(self, windows: np.ndarray, member: np.ndarray) -> np.ndarray:
        return self._whole.groups(windows, member)


class BasisForm:
    """A(t)_ij = sum over k of basis[t, k] weight[k, i, j]: states, or slow change with time.

    Arrays: `basis` (num_windows, K), `weight` (K, N, N), and optionally `knots` (K,), the time of
    each basis function in seconds; attribute: `bandwidth` of the kernel in seconds.
    """

    def __init__(self, arrays: Mapping[str, Array], attributes: Mapping[str, object]) -> None:
        self._weight = np.asarray(arrays["weight"])
        self._basis = arrays["basis"]
        self.num_neurons = self._weight.shape[-1]

    def matrices(self, windows: np.ndarray) -> np.ndarray:
        return np.tensordot(self._functions(windows), self._weight, axes=1).astype(np.float32)

    def total(self, windows: np.ndarray) -> np.ndarray:
        return np.tensordot(self._functions(windows).sum(axis=0), self._weight, axes=1)

    def entries(self, windows: np.ndarray, post: np.ndarray, pre: np.ndarray) -> np.ndarray:
        return (self._functions(windows) @ self._weight[:, post, pre]).astype(np.float32)

    def groups(self, windows: np.ndarray, member: np.ndarray) -> np.ndarray:
        sums = member.T @ without_diagonal(self._weight) @ member  # (K, groups, groups)
        return np.tensordot(self._functions(windows), sums, axes=1).astype(np.float32)

    def _functions(self, windows: np.ndarray) -> np.ndarray:
        return np.asarray(self._basis)[windows].astype(np.float64)


def columns(array: Array, rows: slice, chosen: np.ndarray | None) -> np.ndarray:
    """Return `array[rows][:, chosen]`, reading a few columns of a file in turn; None takes all."""
    if chosen is None:
        return np.asarray(array[rows])
    if isinstance(array, np.ndarray) or len(chosen) > 16:
        return np.asarray(array[rows])[:, chosen]
    return np.stack([array[rows, int(column)] for column in chosen], axis=1)


def _less(values: np.ndarray, offset: np.ndarray | None, neurons: np.ndarray | None) -> np.ndarray:
    """`values` (B, n, P) less the `offset` (N, P) of `neurons`, where there is one."""
    if offset is None:
        return values
    return values - (offset if neurons is None else offset[neurons])


def without_diagonal(matrix: np.ndarray) -> np.ndarray:
    """(…, N, N) with zeros on the diagonal."""
    return matrix * (1 - np.eye(matrix.shape[-1], dtype=matrix.dtype))
