"""Does coupling differ between states? A change of gain and a change of pattern, tested apart.

Each neuron is regressed on its own past, linear and nonlinear, and on the last bin of all others.
What is left over is regressed on the product of each input with a state's indicator. Intercept and
own past may change with the state freely. What remains is split in two: a *gain*, one factor on a
receiver's whole input, and a *pattern*, any other change of its incoming weights. A saturating
response under stronger drive is a change of gain; rewiring is a change of pattern.

Standard errors come from dwell blocks (stretches of one state): scores are summed within a block,
so noise may be correlated there and differ between states. p comes from permutations of the states
over dwell blocks of the same statistics, q of an edge from those of all edges pooled.

Noise that changes its colour with the state can pass for a change of coupling. Where residuals are
not white within a state, no p is given.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2

from nwbdyn.errors import DataError
from nwbdyn.statistics.significance import LEVEL, benjamini_hochberg

FEWEST_BLOCKS = 10  # dwell blocks of each state
FEWEST_BINS = 50  # of each state
NUM_PERMUTATIONS = 199
OWN_LAGS = 3  # bins of own past, beside its nonlinear functions
COLOUR_LAGS = 3  # bins over which residuals have to be white
COLOUR_LEVEL = 0.001  # p at which residuals of a state are called coloured


@dataclass(frozen=True)
class StateChange:
    """Differences between states; p is NaN where nothing was tested."""

    names: tuple[str, ...]
    pattern_p: float  # that incoming weights change beyond a factor
    gain_p: float  # that a factor on a receiver's input changes
    change: np.ndarray  # (S, N, N) [state, post, pre] weight in a state less that outside of it
    se: np.ndarray  # (S, N, N)
    p: np.ndarray  # (S, N, N) of a change of any kind, NaN on the diagonal
    q: np.ndarray  # (S, N, N) over all edges; two states are one comparison
    colour_p: np.ndarray  # (S,) that residuals of a state are white
    num_blocks: tuple[int, ...]  # dwell blocks of each state
    not_tested: str  # why there is no p, "" where there is one

    @property
    def pattern_changes(self) -> bool:
        return not self.not_tested and self.pattern_p <= LEVEL

    @property
    def gain_changes(self) -> bool:
        return not self.not_tested and self.gain_p <= LEVEL


def state_change(
    values: np.ndarray,
    segment: np.ndarray,
    state: np.ndarray,
    names: tuple[str, ...],
    *,
    num_permutations: int = NUM_PERMUTATIONS,
    seed: int = 0,
) -> StateChange:
    """Test whether coupling differs between states.

    Args:
        values: (T, N), NaN in bins that are not to be used.
        segment: (T,) int, the same number = no gap in between.
        state: (T,) int, index into `names`, -1 for none.
        names: of the states, two or more.

    Raises:
        DataError: fewer than two states, or one with too few dwell blocks or bins.
    """
    rows, block, of_block = dwell_blocks(values, segment, state, names)
    inputs = values[rows - 1]
    scale = np.where(inputs.std(axis=0) > 0, inputs.std(axis=0), 1.0)
    inputs = np.column_stack([np.ones(len(rows)), (inputs - inputs.mean(axis=0)) / scale])
    residual, weights = _left_over(values, rows, inputs)
    inside = np.stack([state[rows] == k for k in range(len(names))])
    product = np.concatenate([one[:, None] * inputs for one in inside[1:]], axis=1)
    white, _ = _left_over(values, rows, inputs, product)  # whose coupling may differ
    colour = np.array([_colour_p(white, rows, one) for one in inside])
    sums = _Sums.of(inputs, residual, block, weights)
    share = inside.mean(axis=1)
    contrasts = [_contrast(sums, (of_block == k) - share[k]) for k in range(len(names))]
    pattern, gain = _totals(contrasts)
    random = np.random.default_rng([seed, 0])
    drawn: list[tuple[float, float]] = []
    pool: list[np.ndarray] = []
    for _ in range(num_permutations):
        order = random.permutation(of_block)
        each = [_contrast(sums, (order == k) - share[k]) for k in range(len(names))]
        drawn.append(_totals(each))
        pool.append(np.concatenate([np.abs(one.change_z[sums.others]) for one in each]))
    above = np.array(drawn)
    not_tested = ""
    if (colour < COLOUR_LEVEL / len(names)).any():
        which = ", ".join(name for name, p in zip(names, colour, strict=True) if p < COLOUR_LEVEL)
        not_tested = (
            f"residuals are not white in {which}; noise whose spectrum differs between states can "
            "look like a change of coupling"
        )
    unit = scale[None, None, :]
    p = _edge_p([one.change_z for one in contrasts], np.concatenate(pool), sums.others)
    p = np.full_like(p, np.nan) if not_tested else p
    return StateChange(
        names=names,
        pattern_p=np.nan if not_tested else _p(pattern, above[:, 0]),
        gain_p=np.nan if not_tested else _p(gain, above[:, 1]),
        change=np.stack([one.change for one in contrasts]) / unit,
        se=np.stack([one.se for one in contrasts]) / unit,
        p=p,
        q=np.stack([benjamini_hochberg(one) for one in p])
        if len(names) == 2
        else benjamini_hochberg(p),
        colour_p=colour,
        num_blocks=tuple(int((of_block == k).sum()) for k in range(len(names))),
        not_tested=not_tested,
    )


def dwell_blocks(
    values: np.ndarray, segment: np.ndarray, state: np.ndarray, names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bins that are tested, the dwell block of each, and the state of each block.

    Arguments and errors as for `state_change`.
    """
    rows = _rows(values, segment, state)
    block = _dwell_blocks(rows, state)
    of_block = state[rows[np.r_[True, np.diff(block) > 0]]] if len(rows) else state[:0]
    _check(of_block, state[rows], names)
    return rows, block, of_block


@dataclass(frozen=True)
class _Sums:
    """Sums over each dwell block, from which every permutation is computed."""

    gram: np.ndarray  # (B, M, M) of the inputs, the first of which is 1
    score: np.ndarray  # (B, M, N) inputs times residuals
    weights: np.ndarray  # (N, M) the constant coupling, 0 for constant and own input
    uncertainty: np.ndarray  # (N, M) variance of the weights
    others: np.ndarray  # (N, N) bool, [post, pre] off the diagonal

    @classmethod
    def of(
        cls, inputs: np.ndarray, residual: np.ndarray, block: np.ndarray, weights: np.ndarray
    ) -> "_Sums":
        starts = np.flatnonzero(np.r_[True, np.diff(block) > 0])
        pieces = zip(starts, np.r_[starts[1:], len(block)], strict=True)
        gram, score = [], []
        for start, stop in pieces:
            gram.append(inputs[start:stop].T @ inputs[start:stop])
            score.append(inputs[start:stop].T @ residual[start:stop])
        inverse = np.linalg.pinv(np.sum(gram, axis=0), hermitian=True)
        uncertainty = _spread(np.einsum("km,bmn->bkn", inverse, np.stack(score))).T
        others = ~np.eye(residual.shape[1], dtype=bool)
        return cls(np.stack(gram), np.stack(score), weights, uncertainty, others)


@dataclass(frozen=True)
class _Contrast:
    """One state against the others."""

    change: np.ndarray  # (N, N)
    se: np.ndarray  # (N, N)
    change_z: np.ndarray  # (N, N)
    pattern_z: np.ndarray  # (N, N) of the change beyond a gain
    gain_z: np.ndarray  # (N,) of each receiver


def _contrast(sums: _Sums, indicator: np.ndarray) -> _Contrast:
    """The change of every weight with an indicator (B,) per block, and its robust z."""
    whole = sums.gram.sum(axis=0)
    tilted = np.einsum("b,bij->ij", indicator, sums.gram)
    squared = np.einsum("b,bij->ij", indicator**2, sums.gram)
    projection = np.linalg.pinv(whole, hermitian=True) @ tilted  # of product terms on inputs
    information = squared - tilted @ projection
    inverse = np.linalg.pinv(information, hermitian=True)
    # scores of product terms freed of the inputs, per block: (B, M, N)
    score = indicator[:, None, None] * sums.score - projection.T @ sums.score
    parts = inverse @ score  # influence of each block on each coefficient
    change = parts.sum(axis=0)  # (M, N)
    variance = _spread(parts)
    pattern_z = np.zeros((len(sums.weights),) * 2)
    gain_z = np.zeros(len(sums.weights))
    information = np.linalg.pinv(inverse[1:, 1:], hermitian=True)  # without the constant
    for post, weight in enumerate(sums.weights):
        other = np.flatnonzero(sums.others[post])
        metric = _without(information, post)[np.ix_(other, other)]
        direction = weight[1:][other]
        along = metric @ direction
        size = float(direction @ along)
        each = parts[:, 1:, post][:, other]  # (B, N - 1)
        gain = each @ along / size if size > 0 else np.zeros(len(each))
        beyond = each - gain[:, None] * direction
        # the direction of a gain is uncertain itself
        blurred = gain.sum() ** 2 * sums.uncertainty[post, 1:][other]
        pattern_z[post, other] = beyond.sum(axis=0) / np.sqrt(_spread(beyond) + blurred)
        if size > 0:
            gain_z[post] = gain.sum() / np.sqrt(_spread(gain))
    by_post, se = change[1:].T, np.sqrt(variance[1:].T)
    return _Contrast(by_post, se, by_post / se, pattern_z, gain_z)


def _without(information: np.ndarray, row: int) -> np.ndarray:
    """(N, N) the inverse of a covariance without one row, from that with it; 0 in that row."""
    size = information[row, row]
    if size <= 0:
        return information
    return information - np.outer(information[:, row], information[row]) / size


def _spread(parts: np.ndarray) -> np.ndarray:
    """Variance of a sum over blocks (first axis), each block's part being independent."""
    centred = parts - parts.mean(axis=0)
    return np.maximum(np.square(centred).sum(axis=0) * len(parts) / (len(parts) - 1), 1e-300)


def _totals(contrasts: list[_Contrast]) -> tuple[float, float]:
    """Sums of squared z over edges, and over receivers."""
    pattern = sum(float(np.square(one.pattern_z).sum()) for one in contrasts)
    return pattern, sum(float(np.square(one.gain_z).sum()) for one in contrasts)


def _p(observed: float, drawn: np.ndarray) -> float:
    return float((1 + (drawn >= observed).sum()) / (1 + len(drawn)))


def _edge_p(z: list[np.ndarray], pool: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(S, N, N) from the permutations of all edges."""
    pool = np.sort(pool)
    p = np.full((len(z), *others.shape), np.nan)
    for k, one in enumerate(z):
        above = len(pool) - np.searchsorted(pool, np.abs(one[others]), side="left")
        p[k][others] = (1 + above) / (1 + len(pool))
    return p


def _left_over(
    values: np.ndarray, rows: np.ndarray, inputs: np.ndarray, product: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(n, N) residuals with one constant coupling, and its weights (N, M) of other neurons.

    Args:
        product: (n, P) more inputs of every neuron.
    """
    num_neurons = values.shape[1]
    residual = np.empty((len(rows), num_neurons))
    weights = np.zeros((num_neurons, inputs.shape[1]))
    for neuron in range(num_neurons):
        own = inputs[:, 1 + neuron]
        past = [values[rows - lag, neuron] for lag in range(2, OWN_LAGS + 1)]
        bent = [np.tanh(own), np.maximum(own - 1, 0), np.maximum(-own - 1, 0)]
        more = [] if product is None else [product]
        design = np.column_stack([inputs, *past, *bent, *more])
        solution = np.linalg.lstsq(design, values[rows, neuron], rcond=None)[0]
        residual[:, neuron] = values[rows, neuron] - design @ solution
        weights[neuron] = solution[: inputs.shape[1]]
        weights[neuron, [0, 1 + neuron]] = 0.0
    return residual, weights


def _colour_p(residual: np.ndarray, rows: np.ndarray, inside: np.ndarray) -> float:
    """p that residuals are white in a state, over all neurons (Ljung and Box 1978)."""
    rows, residual = rows[inside], residual[inside]
    statistic = 0.0
    for lag in range(1, COLOUR_LAGS + 1):
        pair = rows[lag:] - rows[:-lag] == lag
        later, earlier = residual[lag:][pair], residual[:-lag][pair]
        size = np.sqrt(np.square(later).sum(axis=0) * np.square(earlier).sum(axis=0))
        r = (later * earlier).sum(axis=0) / np.where(size > 0, size, 1.0)
        statistic += float(pair.sum() * np.square(r).sum())
    return float(chi2.sf(statistic, COLOUR_LAGS * residual.shape[1]))


def _rows(values: np.ndarray, segment: np.ndarray, state: np.ndarray) -> np.ndarray:
    """(n,) bins in a state, with a whole past."""
    usable = np.isfinite(values).all(axis=1)
    rows = np.arange(OWN_LAGS, len(values))
    whole = usable[rows] & (state[rows] >= 0)
    for lag in range(1, OWN_LAGS + 1):
        whole &= usable[rows - lag] & (segment[rows - lag] == segment[rows])
    return rows[whole]


def _dwell_blocks(rows: np.ndarray, state: np.ndarray) -> np.ndarray:
    """(n,) int, the same number = one unbroken stretch of one state."""
    if not len(rows):
        return np.zeros(0, dtype=int)
    changes = (np.diff(rows) > 1) | (np.diff(state[rows]) != 0)
    return np.r_[0, np.cumsum(changes)]


def _check(of_block: np.ndarray, of_row: np.ndarray, names: tuple[str, ...]) -> None:
    if len(names) < 2:
        raise DataError("One state cannot differ from another. Name a column with two or more.")
    for k, name in enumerate(names):
        blocks, bins = int((of_block == k).sum()), int((of_row == k).sum())
        if blocks < FEWEST_BLOCKS:
            periods = f"{blocks} unbroken period{'' if blocks == 1 else 's'}"
            raise DataError(
                f"State {name!r} has {periods}; the test needs {FEWEST_BLOCKS} of each state: with "
                "fewer, slow drift can pass for a difference between states. Name shorter, "
                "alternating periods, or leave out --states."
            )
        if bins < FEWEST_BINS:
            raise DataError(
                f"State {name!r} has {bins} bins with a past; a test of a change needs "
                f"{FEWEST_BINS}. Use a table with longer intervals."
            )
