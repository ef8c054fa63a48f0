"""Baselines for models that predict the next bin from the bins before it.

Persistence repeats the last bin. AR(1) and AR are autoregressions of each neuron by itself. VAR
ridge adds coupling between neurons under an L2 penalty; it shrinks towards 0 or towards the AR,
whichever predicts validation better. Counts have a Poisson GLM with log link too, whose inputs are
all neurons' counts through causal exponentials. Covariates, where there are any, enter AR, VAR and
GLM.
"""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from scipy.signal import lfilter

from nwbdyn.baselines.baseline import Baseline
from nwbdyn.baselines.regression import Ridge, best_poisson, log_scaled
from nwbdyn.binning import Binned
from nwbdyn.errors import DataError
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import COUNTS
from nwbdyn.splits import GAP, SPLITS, TRAIN, VAL, Split

AR_ORDERS = (1, 2, 3, 5, 8, 12, 20)
VAR_ORDERS = (1, 2, 3, 5)
MAX_VAR_INPUTS = 1000  # lags times signals, beyond order 1: keeps the eigendecomposition short
PENALTIES = np.logspace(-4, 2, 13)  # per row, inputs in sd
FILTERS = {  # of the GLM's counts: time constants in seconds, 0 is the last bin itself
    "last bin + 0.1 s": (0.0, 0.1),
    "0.05 s + 0.25 s": (0.05, 0.25),
}
FLOOR = 0.01  # of a neuron's mean rate: a linear prediction of counts is kept above it


@dataclass(frozen=True)
class Problem:
    """What every regression here is made from."""

    signals: np.ndarray  # (num_bins, N + K) float32 in training sd, neurons, covariates
    num_neurons: int
    train: np.ndarray  # rows (bins) that fit
    val: np.ndarray  # rows that choose
    rows: np.ndarray  # rows that are predicted: an unbroken history of `context` bins
    context: int  # bins
    horizon: int  # bins from the last bin that is seen to the one that is predicted
    mean: np.ndarray  # (N,) of the training bins, source units
    sd: np.ndarray  # (N,)

    def lagged(self, rows: np.ndarray, order: int, signals: slice | int) -> np.ndarray:
        """(n, order * signals) the last `order` bins that are seen before each row."""
        return np.concatenate(
            [
                self.signals[rows - lag][:, signals].reshape(len(rows), -1)
                for lag in range(self.horizon, self.horizon + order)
            ],
            axis=1,
        )

    @property
    def covariates(self) -> slice:
        return slice(self.num_neurons, None)

    def targets(self, rows: np.ndarray) -> np.ndarray:
        """(n, N) the bin itself, in training sd."""
        return self.signals[rows, : self.num_neurons]


def next_bin(
    binned: Binned, split: Split, *, context: int, horizon: int = 1, report: Report = silent
) -> dict[str, Baseline]:
    """Predict each bin from the bins before it.

    A bin is predicted where the `context` bins before it belong to its segment and were observed,
    whatever their label; a training bin helps to fit where none of them is validation or test. A
    missing value counts as the neuron's training mean.

    Args:
        context: bins of history the model has.
        horizon: bins ahead. Beyond 1 every regression is fitted to that distance anew, which is at
            least as good as stepping there, and the Poisson GLM is left out.

    Returns:
        "persistence", "AR(1)", "AR", "VAR ridge" and, for counts, "Poisson GLM".

    Raises:
        DataError: no training or no validation bin has such a history.
    """
    problem = _problem(binned, split, context, horizon)
    counts = binned.quantity == COUNTS and horizon == 1
    total = 5 if counts else 4
    alone = _best_autoregression(problem)
    baselines = [
        _persistence(binned, problem),
        _ar_one(binned, problem),
        _ar(binned, problem, alone),
    ]
    report(Progress("baselines", len(baselines), total, "fits"))
    baselines.append(_var(binned, problem, alone))
    report(Progress("baselines", len(baselines), total, "fits"))
    if counts:
        baselines.append(_glm(binned, problem))
        report(Progress("baselines", len(baselines), total, "fits"))
    return {baseline.name: baseline for baseline in baselines}


def _problem(binned: Binned, split: Split, context: int, horizon: int) -> Problem:
    labels = split.labels
    training = labels == TRAIN
    whole = history(binned.valid, binned.segment)
    own = history(binned.valid & (training | (labels == GAP)), binned.segment)
    needed = context + horizon - 1
    rows = np.flatnonzero(binned.valid & (whole >= needed))
    train = np.flatnonzero(binned.valid & training & (own >= needed))
    val = rows[labels[rows] == VAL]
    for label, found in ((TRAIN, train), (VAL, val)):
        if not len(found):
            raise DataError(
                f"no {SPLITS[label]} bin has an unbroken history of {needed} bins for the "
                f"baselines ({int(np.sum(labels == label))} {SPLITS[label]} bins in all); "
                "shorten the context or lengthen the recording."
            )
    signals = np.concatenate([binned.values, binned.covariates], axis=1).astype(np.float64)
    signals[~np.isfinite(signals)] = np.nan
    mean, sd = _mean_and_sd(signals[binned.valid & training])
    scaled = np.nan_to_num((signals - mean) / sd).astype(np.float32)  # missing: the mean
    n = binned.num_neurons
    return Problem(scaled, n, train, val, rows, context, horizon, mean[:n], sd[:n])


def _mean_and_sd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each column without NaN; a column that is constant or empty has sd 1."""
    finite = np.isfinite(values)
    number = np.maximum(finite.sum(axis=0), 1)
    mean = np.where(finite, values, 0).sum(axis=0) / number
    sd = np.sqrt(np.square(np.where(finite, values - mean, 0)).sum(axis=0) / number)
    return mean, np.where(sd > 1e-9 * np.abs(mean), sd, 1.0)


def history(usable: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """(num_bins,) how many usable bins of its segment come right before each bin."""
    bins = np.arange(len(usable))
    starts = np.r_[True, segment[1:] != segment[:-1]]
    begin = np.maximum.accumulate(np.where(starts, bins, 0))
    after_gap = np.maximum.accumulate(np.where(usable, 0, bins + 1))  # first bin after the last gap
    before = np.r_[0, after_gap[:-1]]
    return bins - np.maximum(begin, before)


def _persistence(binned: Binned, problem: Problem) -> Baseline:
    last = binned.values[problem.rows - problem.horizon]
    last = np.where(np.isfinite(last), last, problem.mean)
    prediction = _in_place(binned, problem.rows, last)
    return Baseline("persistence", _floored(binned, problem, prediction), {})


def _ar_one(binned: Binned, problem: Problem) -> Baseline:
    one = _autoregression(problem, 1, covariates=False)
    prediction = _in_source_units(binned, problem, one.predicted)
    return Baseline("AR(1)", prediction, {"order": 1}, coupling=np.diag(one.slopes))


def _ar(binned: Binned, problem: Problem, alone: "Autoregression") -> Baseline:
    prediction = _in_source_units(binned, problem, alone.predicted)
    return Baseline("AR", prediction, {"order": alone.order}, coupling=np.diag(alone.slopes))


def _var(binned: Binned, problem: Problem, alone: "Autoregression") -> Baseline:
    """Ridge regression on all neurons' lags, of the activity or of what the AR leaves."""
    n, num_signals = problem.num_neurons, problem.signals.shape[1]
    targets = {"0": np.zeros_like(alone.predicted), "AR": alone.predicted}
    orders = [
        order
        for order in VAR_ORDERS
        if order == 1 or (order <= problem.context and order * num_signals <= MAX_VAR_INPUTS)
    ]
    best: tuple[float, int, str, float, np.ndarray] | None = None
    for order in orders:
        inputs = problem.lagged(problem.train, order, slice(None))
        held = problem.lagged(problem.val, order, slice(None))
        residuals = [
            problem.targets(problem.train) - base[problem.train] for base in targets.values()
        ]
        ridge = Ridge(inputs, np.concatenate(residuals, axis=1))
        for penalty in PENALTIES:
            both = ridge.weights(penalty)
            for k, (towards, base) in enumerate(targets.items()):
                weights = both[:, k * n : (k + 1) * n]
                error = problem.targets(problem.val) - base[problem.val] - held @ weights
                score = float(np.mean(error**2, dtype=np.float64))
                if best is None or score < best[0]:
                    best = (score, order, towards, float(penalty), weights)
    assert best is not None
    _, order, towards, penalty, weights = best
    predicted = np.zeros_like(alone.predicted)
    inputs = problem.lagged(problem.rows, order, slice(None))
    predicted[problem.rows] = targets[towards][problem.rows] + inputs @ weights
    coupling = weights.reshape(order, num_signals, n)[0, :n].T  # (post, pre)
    chosen: dict[str, float | int | str] = {"order": order, "penalty": penalty}
    if towards == "AR":
        coupling = coupling + np.diag(alone.slopes)
        chosen |= {"shrinks to": f"AR({alone.order})"}
    prediction = _in_source_units(binned, problem, predicted)
    return Baseline("VAR ridge", prediction, chosen, coupling=coupling)


@dataclass(frozen=True)
class Autoregression:
    """Each neuron by itself."""

    order: int
    predicted: np.ndarray  # (num_bins, N) float32, in training sd, 0 where there is no prediction
    slopes: np.ndarray  # (N,) of the last bin seen


def _best_autoregression(problem: Problem) -> Autoregression:
    """The order, one for all neurons, with the least validation error."""
    truth = problem.targets(problem.val)
    orders = [order for order in AR_ORDERS if order <= problem.context]
    fits = [_autoregression(problem, order, covariates=True) for order in orders]
    return min(
        fits,
        key=lambda fit: float(np.mean((truth - fit.predicted[problem.val]) ** 2, dtype=np.float64)),
    )


def _autoregression(problem: Problem, order: int, *, covariates: bool) -> Autoregression:
    """Least squares of each neuron on its own last `order` bins (and the last covariates)."""
    predicted = np.zeros((len(problem.signals), problem.num_neurons), np.float32)
    slopes = np.zeros(problem.num_neurons)
    beside = problem.covariates if covariates else slice(0, 0)
    fitted = problem.lagged(problem.train, 1, beside)
    applied = problem.lagged(problem.rows, 1, beside)
    for neuron in range(problem.num_neurons):
        inputs = np.concatenate([problem.lagged(problem.train, order, neuron), fitted], axis=1)
        gram = (inputs.T @ inputs).astype(np.float64) / len(inputs)
        gram[np.diag_indices_from(gram)] += 1e-6  # constant or collinear inputs
        moment = inputs.T @ problem.targets(problem.train)[:, neuron] / len(inputs)
        weights = np.linalg.solve(gram, moment.astype(np.float64))
        inputs = np.concatenate([problem.lagged(problem.rows, order, neuron), applied], axis=1)
        predicted[problem.rows, neuron] = inputs @ weights.astype(np.float32)
        slopes[neuron] = weights[0]
    return Autoregression(order, predicted, slopes)


def _glm(binned: Binned, problem: Problem) -> Baseline:
    """Poisson regression on exponentially filtered counts and covariates of all neurons."""
    choice = best_poisson(
        {name: partial(_filtered, binned, problem, taus) for name, taus in FILTERS.items()},
        binned.values,
        train=problem.train,
        val=problem.val,
    )
    prediction = _in_place(binned, problem.rows, choice.rates[problem.rows])
    n, num_filters = problem.num_neurons, len(FILTERS[choice.inputs])
    weights = choice.weights.weights[: num_filters * n]  # (num_filters * N, N)
    coupling = weights.reshape(num_filters, n, n).sum(axis=0).T  # (post, pre)
    return Baseline("Poisson GLM", prediction, choice.chosen("history"), coupling=coupling)


def _filtered(binned: Binned, problem: Problem, time_constants: tuple[float, ...]) -> np.ndarray:
    """(num_bins, F) inputs of the GLM, from the bin before backwards.

    The log rates of all neurons through the first exponential come first, then through the second,
    then the covariates of the bin before. After a gap a filter starts from the training mean.
    """
    past = history(binned.valid, binned.segment)
    starts = np.flatnonzero(past == 0)
    filtered = np.tile(problem.mean, (len(time_constants), len(past), 1)).astype(np.float32)
    for start, stop in pairwise([*starts, len(past)]):
        run = binned.values[start : stop - 1]
        for rates, time_constant in zip(filtered, time_constants, strict=True):
            keep = np.exp(-binned.bin_width / time_constant) if time_constant else 0.0
            state = keep * problem.mean[None]
            rates[start + 1 : stop] = lfilter([1 - keep], [1, -keep], run, axis=0, zi=state)[0]
    rates = np.concatenate(list(filtered), axis=1)
    covariates = np.zeros_like(problem.signals[:, problem.covariates])
    covariates[1:] = problem.signals[:-1, problem.covariates]
    return np.concatenate([log_scaled(rates, problem.train), covariates], axis=1)


def _in_source_units(binned: Binned, problem: Problem, predicted: np.ndarray) -> np.ndarray:
    values = predicted[problem.rows] * problem.sd + problem.mean
    return _floored(binned, problem, _in_place(binned, problem.rows, values))


def _in_place(binned: Binned, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    prediction = np.full(binned.values.shape, np.nan)
    prediction[rows] = values
    return prediction


def _floored(binned: Binned, problem: Problem, prediction: np.ndarray) -> np.ndarray:
    """Expected counts stay positive; a silent neuron is given half a spike in all of training."""
    if binned.quantity != COUNTS:
        return prediction
    return np.maximum(prediction, np.maximum(FLOOR * problem.mean, 0.5 / len(problem.train)))
