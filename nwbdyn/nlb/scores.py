"""The benchmark's scores of predicted rates against its targets, as published (Pei et al. 2021).

Rates and targets come under the benchmark's names (see `submission.arrange` and `tensors.targets`):
expected counts per bin, (num_trials, num_bins, num_units), held-in neurons before held-out ones.
"""

from collections.abc import Mapping

import numpy as np

from nwbdyn import metrics
from nwbdyn.errors import ResultsError

ALPHAS = np.logspace(-4, 0, 9)  # ridge penalties of the velocity decoder
FOLDS = 5  # contiguous, not shuffled

Arrays = Mapping[str, np.ndarray]


def score(targets: Arrays, rates: Arrays) -> dict[str, float]:
    """Every score that the targets and the rates allow.

    Returns:
        co_bps: bits per spike of the held-out neurons; fp_bps: of all neurons in the forward bins,
        where any of them was observed;
        vel_r2, psth_r2, tp_corr: see the functions of these names.

    Raises:
        ResultsError: rates without held-out neurons, or of other trials, bins or neurons.
    """
    _check(targets, rates)
    scores = {
        "co_bps": metrics.bits_per_spike(
            targets["eval_spikes_heldout"], rates["eval_rates_heldout"]
        )
    }
    if "eval_rates_heldin_forward" in rates and "eval_spikes_heldin_forward" in targets:
        later = _joined(targets, "eval_spikes", "_forward")
        if np.isfinite(later).any():
            rates_later = _joined(rates, "eval_rates", "_forward")
            scores["fp_bps"] = metrics.bits_per_spike(later, rates_later)
    if "eval_rates_heldin" not in rates:
        return scores
    predicted = _joined(rates, "eval_rates")
    behaviour = targets.get("eval_behavior")
    if behaviour is not None and behaviour.ndim == 2:
        within = ~np.isnan(targets["eval_spikes_heldout"][:, :, 0])
        scores["tp_corr"] = tp_corr(predicted, within, behaviour)
    elif behaviour is not None and "train_rates_heldin" in rates:
        scores["vel_r2"] = vel_r2(
            _joined(rates, "train_rates"),
            targets["train_behavior"],
            predicted,
            behaviour,
            train_groups=targets.get("train_decode_mask"),
            eval_groups=targets.get("eval_decode_mask"),
        )
    if "psth" in targets:
        scores["psth_r2"] = psth_r2(
            targets["psth"], predicted, targets["eval_cond_idx"], targets.get("eval_jitter")
        )
    return scores


def vel_r2(
    train_rates: np.ndarray,
    train_velocity: np.ndarray,
    eval_rates: np.ndarray,
    eval_velocity: np.ndarray,
    *,
    train_groups: np.ndarray | None = None,
    eval_groups: np.ndarray | None = None,
) -> float:
    """R2 of a ridge regression from all rates of a bin to the velocity at the layout's lag.

    The penalty is that of ALPHAS with the highest mean R2 over FOLDS of the training bins. Bins
    with an unknown velocity are left out.

    Args:
        train_rates, eval_rates: (num_trials, num_bins, N).
        train_velocity, eval_velocity: (num_trials, num_bins, 2).
        train_groups, eval_groups: (num_trials, num_groups) bool; each group of trials has its own
            decoder, and the result is the mean over groups.
    """
    if train_groups is None or eval_groups is None:
        train_groups = np.ones((len(train_rates), 1), dtype=bool)
        eval_groups = np.ones((len(eval_rates), 1), dtype=bool)
    values = []
    for train, evaluated in zip(
        train_groups.T.astype(bool), eval_groups.T.astype(bool), strict=True
    ):
        inputs, outputs = _known(train_rates[train], train_velocity[train])
        predictors, truth = _known(eval_rates[evaluated], eval_velocity[evaluated])
        if len(inputs) < FOLDS or len(predictors) < 2:
            values.append(np.nan)
            continue
        alpha = _best_alpha(inputs, outputs)
        (decoded,) = _ridge(inputs, outputs, [alpha], predictors)
        values.append(_r2(truth, decoded))
    return float(np.mean(values))


def psth_r2(
    psth: np.ndarray,
    rates: np.ndarray,
    trials: np.ndarray,
    jitter: np.ndarray | None = None,
) -> float:
    """R2 of the mean predicted rates per condition, over all conditions, mean over neurons.

    Args:
        psth: (num_conditions, num_bins, N) counts per bin, NaN where there is none.
        rates: (num_trials, num_bins, N).
        trials: (num_conditions,) arrays of rows of `rates`; a condition without a trial is left
            out.
        jitter: (num_trials,) bins by which each trial's window is late.
    """
    true, predicted = [], []
    for wanted, rows in zip(psth, trials, strict=True):
        if not len(rows):
            continue
        mean = np.mean([_shifted(rates[row], jitter, row) for row in rows], axis=0)
        known = ~np.isnan(wanted[:, 0])
        true.append(wanted[known])
        predicted.append(mean[known])
    if not true:
        return np.nan
    return _r2(np.concatenate(true), np.concatenate(predicted))


def tp_corr(rates: np.ndarray, within: np.ndarray, produced: np.ndarray) -> float:
    """Correlation of neural speed from Set to Go with the produced interval; negative is good.

    Speed is the mean distance between the rates of neighbouring bins. Correlations are computed per
    response (eye or hand), direction and prior, and averaged.

    Args:
        rates: (num_trials, num_bins, N).
        within: (num_trials, num_bins) bool, Set to Go.
        produced: (num_trials, 5) is_eye, theta, is_short, ts, tp; NaN for outliers.
    """
    speed = np.full(len(rates), np.nan)
    for trial, inside in enumerate(within):
        steps = np.diff(rates[trial, inside], axis=0)
        if len(steps):
            speed[trial] = np.linalg.norm(steps, axis=1).mean()
    usable = np.isfinite(speed) & np.isfinite(produced).all(axis=1)
    values = []
    for condition in np.unique(produced[usable, :3], axis=0):
        rows = usable & (produced[:, :3] == condition).all(axis=1)
        if rows.sum() > 1:
            values.append(metrics.correlation(speed[rows], produced[rows, 4]))
    return float(np.mean(values)) if values else np.nan


def _check(targets: Arrays, rates: Arrays) -> None:
    for arrays, name in ((rates, "eval_rates_heldout"), (targets, "eval_spikes_heldout")):
        if name not in arrays:
            raise ResultsError(f"No {name!r} to score; there are: {', '.join(arrays)}.")
    for ours, values in rates.items():
        theirs = ours.replace("rates", "spikes")
        if theirs in targets and values.shape != targets[theirs].shape:
            raise ResultsError(
                f"{ours} is {values.shape} and the targets' {theirs} {targets[theirs].shape} "
                "(trials, bins, neurons). Score rates against the targets of the same data set, "
                "phase and bin width."
            )


def _joined(arrays: Arrays, prefix: str, suffix: str = "") -> np.ndarray:
    """Held-in and held-out neurons side by side."""
    parts = [arrays[f"{prefix}_held{group}{suffix}"] for group in ("in", "out")]
    return np.concatenate(parts, axis=-1).astype(np.float64)


def _known(rates: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins as rows, those with a velocity and rates."""
    inputs, outputs = rates.reshape(-1, rates.shape[-1]), velocity.reshape(-1, velocity.shape[-1])
    known = np.isfinite(outputs).all(axis=1) & np.isfinite(inputs).all(axis=1)
    return inputs[known].astype(np.float64), outputs[known].astype(np.float64)


def _best_alpha(inputs: np.ndarray, outputs: np.ndarray) -> float:
    fold = np.repeat(np.arange(FOLDS), [len(part) for part in _parts(len(inputs))])
    r2 = np.zeros((FOLDS, len(ALPHAS)))
    for number in range(FOLDS):
        out = fold == number
        decoded = _ridge(inputs[~out], outputs[~out], ALPHAS, inputs[out])
        r2[number] = [_r2(outputs[out], values) for values in decoded]
    return float(ALPHAS[r2.mean(axis=0).argmax()])


def _parts(number: int) -> list[np.ndarray]:
    return np.array_split(np.arange(number), FOLDS)


def _ridge(
    inputs: np.ndarray, outputs: np.ndarray, alphas: np.ndarray | list[float], x_eval: np.ndarray
) -> list[np.ndarray]:
    """Predictions of the evaluated rows by ridge regressions with an intercept, one per penalty."""
    centre, level = inputs.mean(axis=0), outputs.mean(axis=0)
    centred = inputs - centre
    spectrum, vectors = np.linalg.eigh(centred.T @ centred)
    projected = vectors.T @ (centred.T @ (outputs - level))
    turned = (x_eval - centre) @ vectors
    spectrum = np.maximum(spectrum, 0)[:, None]
    return [turned @ (projected / (spectrum + alpha)) + level for alpha in alphas]


def _r2(true: np.ndarray, predicted: np.ndarray) -> float:
    """Mean over columns of 1 - error / spread; a column without spread counts as 0."""
    error = np.square(true - predicted).sum(axis=0)
    spread = np.square(true - true.mean(axis=0)).sum(axis=0)
    exact = np.where(error == 0, 1.0, 0.0)
    return float(np.where(spread > 0, 1 - error / np.where(spread > 0, spread, 1), exact).mean())


def _shifted(rates: np.ndarray, jitter: np.ndarray | None, row: int) -> np.ndarray:
    """(num_bins, N) the rates moved to where they would be without jitter."""
    late = 0 if jitter is None else int(jitter[row])
    if late == 0:
        return rates
    moved = np.full_like(rates, np.nan)
    if late > 0:
        moved[late:] = rates[:-late]
    else:
        moved[:late] = rates[-late:]
    return moved
