"""The benchmark's scores against plain readings of their definitions, on miniature files."""

from itertools import pairwise

import h5py
import numpy as np
import pytest
from nwb_files import opened
from scipy.stats import pearsonr
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV
from test_nlb_tensors import HELD_OUT, IDS, LENGTH_MS, Miniature, length_of

from nwbdyn import nlb
from nwbdyn.errors import ResultsError
from nwbdyn.nlb import scores, submission

RANDOM = np.random.default_rng(0)
SD = {"maze": 70, "area2_bump": 40, "dmfc_rsg": 70}
CONDITIONS = {
    "maze": ("trial_type", "trial_version"),
    "area2_bump": ("cond_dir", "ctr_hold_bump"),
    "dmfc_rsg": ("is_eye", "theta", "is_short", "ts"),
}
ORDER = sorted(range(len(IDS)), key=lambda unit: (HELD_OUT[unit], IDS[unit]))


def bits(rates, spikes):
    """Plain: log-likelihood above each neuron's mean, in bits per spike."""
    gain = total = 0.0
    for neuron in range(spikes.shape[-1]):
        known = ~np.isnan(spikes[..., neuron])
        y, rate = spikes[..., neuron][known], rates[..., neuron][known]
        mean = y.mean()
        gain += (y * np.log(rate) - rate).sum() - (y * np.log(mean) - mean).sum()
        total += y.sum()
    return gain / total / np.log(2)


def conditioned(layout, folder):
    """A miniature file whose trials share few conditions."""
    file = Miniature(layout, folder)
    columns = {
        "maze": {"trial_type": 2, "trial_version": 2},
        "area2_bump": {"cond_dir": 2, "ctr_hold_bump": 2},
        "dmfc_rsg": {"is_eye": 2, "theta": 2, "is_short": 1, "ts": 1, "is_outlier": 5},
    }[layout]
    step = 1
    with h5py.File(file.path, "a") as written:
        for name, number in columns.items():
            values = np.arange(len(file.trials["start_time"])) // step % number
            if name == "is_outlier":
                values = values == number - 1
            stored = written["intervals/trials"][name]
            values = values.astype(stored.dtype)
            stored[:] = values
            file.trials[name] = values
            step *= 2
    return file


def smoothed(file):
    """(LENGTH_MS, units) every unit's spikes under the Gaussian, stretch by stretch."""
    width = int(6 * SD[file.layout])
    lag = np.arange(width) - (width - 1) / 2
    kernel = np.exp(-0.5 * (lag / SD[file.layout]) ** 2)
    kernel /= kernel.sum()
    smooth = np.full((LENGTH_MS, len(IDS)), np.nan)
    for start, stop in file.observed:
        first, last = -(-start // 10), stop // 10
        for column, unit in enumerate(ORDER):
            fired = np.bincount(file.spikes[unit] // 10, minlength=LENGTH_MS)[first:last]
            full = np.convolve(fired, kernel)
            smooth[first:last, column] = full[(width - 1) // 2 :][: last - first]
    return smooth


def binned(smooth, first, number, width=5):
    """(number, units) sums over bins, NaN where a bin's first millisecond is."""
    rows = []
    for step in range(first, first + number):
        part = smooth[step * width : (step + 1) * width]
        unknown = step * width >= LENGTH_MS or np.isnan(part[0, 0])
        rows.append(np.full(len(IDS), np.nan) if unknown else np.nansum(part, axis=0))
    return np.array(rows)


def expected_psths(file, learned, requested):
    """condition -> its PSTH (bins, units) and the rows of `requested` that belong to it."""
    smooth, length = smoothed(file), length_of(file.layout)
    shifted = file.layout == "dmfc_rsg"
    if shifted:
        file = without_jitter(file)
    by_condition = {}
    for row in sorted(learned + requested):
        if not (shifted and file.trials["is_outlier"][row]):
            key = tuple(float(file.trials[name][row]) for name in CONDITIONS[file.layout])
            by_condition.setdefault(key, []).append(row)
    actual = {}
    for key, rows in by_condition.items():
        lasts = {}
        for row in rows:
            lasts[row] = length
            if shifted:
                begin, end = (-(-int(file.trials[n][row]) // 50) for n in ("set_time", "go_time"))
                lasts[row] = end - begin
        mean = np.mean(list(lasts.values()))
        rows = [row for row in rows if lasts[row] >= 0.8 * mean]
        shortest = min(lasts[row] for row in rows)
        cut = np.array([binned(smooth, begin, length) for begin in file.begins(rows)])
        known = ~np.isnan(cut)
        total, number = np.where(known, cut, 0).sum(axis=0), known.sum(axis=0)
        psth = np.where(number > 0, total / np.maximum(number, 1), np.nan)
        psth[: length - shortest] = np.nan
        actual[key] = psth, [requested.index(row) for row in rows if row in requested]
    return actual


def without_jitter(file):
    file.jitter = lambda rows, width: [0] * len(rows)
    return file


@pytest.mark.parametrize("layout", SD)
def test_psths_are_smoothed_spikes_averaged_over_the_trials_of_a_condition(layout, tmp_path):
    file = conditioned(layout, tmp_path)
    with opened(file.path) as recording:
        actual = nlb.targets(recording)
        late = actual.get("eval_jitter")
    learned, requested = file.rows("train"), file.rows("val")
    if layout == "dmfc_rsg":
        assert late.tolist() == file.jitter(requested, 5)
    expected = expected_psths(file, learned, requested)
    assert len(actual["psth"]) == len(expected) > 1
    for key, psth, rows in zip(
        sorted(expected), actual["psth"], actual["eval_cond_idx"], strict=True
    ):
        assert rows.tolist() == expected[key][1]
        # sums of exponentials in another order
        assert np.allclose(psth, expected[key][0], atol=1e-12, equal_nan=True)


def test_psths_of_the_test_trials_use_every_labelled_trial(tmp_path):
    file = conditioned("maze", tmp_path)
    labels = np.array(file.trials["split"], dtype=object)
    labels[file.rows("val")[0]] = "test"
    file.trials["split"] = labels.tolist()
    with h5py.File(file.path, "a") as written:
        written["intervals/trials/split"][:] = labels
    with opened(file.path) as recording:
        actual = nlb.targets(recording, learned="train val", phase="test")
    expected = expected_psths(file, file.rows("train", "val"), file.rows("test"))
    for key, psth in zip(sorted(expected), actual["psth"], strict=True):
        assert np.allclose(psth, expected[key][0], atol=1e-12, equal_nan=True)
    assert sum(map(len, actual["eval_cond_idx"])) == 1


def made_rates(targets, num_train=0, num_held_in=4, seed=0):
    """Positive rates of the right shapes, that follow the velocity where there is one."""
    rng = np.random.default_rng(seed)
    shape = targets["eval_spikes_heldout"].shape
    forward = targets["eval_spikes_heldout_forward"].shape[1]
    rates = {}
    for phase, trials in (("train", num_train), ("eval", shape[0])):
        for group, number in (("heldin", num_held_in), ("heldout", shape[2])):
            rates[f"{phase}_rates_{group}"] = rng.gamma(2, 0.05, (trials, shape[1], number))
            rates[f"{phase}_rates_{group}_forward"] = rng.gamma(2, 0.05, (trials, forward, number))
    return rates


def joined(arrays, name):
    return np.concatenate([arrays[f"{name}_heldin"], arrays[f"{name}_heldout"]], axis=-1)


@pytest.mark.parametrize("layout", ["maze", "mc_rtt", "area2_bump"])
def test_bits_and_decoding_are_those_of_the_definitions(layout, tmp_path):
    file = (conditioned if layout in CONDITIONS else Miniature)(layout, tmp_path)
    with opened(file.path) as recording:
        targets = nlb.targets(recording)
    rates = made_rates(targets, num_train=len(file.rows("train")))
    for phase in ("train", "eval"):  # a neuron that tells the velocity, with noise
        signal = np.nan_to_num(targets[f"{phase}_behavior"][..., 0])
        rates[f"{phase}_rates_heldin"][..., 0] += np.exp(signal / np.abs(signal).max())
    actual = scores.score(targets, rates)
    assert actual["co_bps"] == pytest.approx(
        bits(rates["eval_rates_heldout"], targets["eval_spikes_heldout"])
    )
    later = [
        np.concatenate([a[f"{name}_heldin_forward"], a[f"{name}_heldout_forward"]], axis=-1)
        for a, name in ((rates, "eval_rates"), (targets, "eval_spikes"))
    ]
    assert actual["fp_bps"] == pytest.approx(bits(*later))
    masks = [np.ones(len(targets[f"{p}_behavior"]), bool)[:, None] for p in ("train", "eval")]
    if layout == "area2_bump":
        masks = [targets["train_decode_mask"], targets["eval_decode_mask"]]
    decoded = []
    for train, evaluated in zip(masks[0].T, masks[1].T, strict=True):
        parts = []
        for phase, mask in (("train", train), ("eval", evaluated)):
            velocity = targets[f"{phase}_behavior"][mask].reshape(-1, 2)
            inputs = joined(rates, f"{phase}_rates")[mask].reshape(-1, len(IDS))
            known = ~np.isnan(velocity[:, 0])
            parts += [inputs[known], velocity[known]]
        search = GridSearchCV(Ridge(), {"alpha": np.logspace(-4, 0, 9)})
        search.fit(parts[0], parts[1])
        decoded.append(search.score(parts[2], parts[3]))
    assert len(decoded) == (2 if layout == "area2_bump" else 1)
    # the same normal equations, solved by eigenvectors instead of Cholesky
    assert actual["vel_r2"] == pytest.approx(np.mean(decoded), abs=1e-8)


@pytest.mark.parametrize("layout", SD)
def test_psth_r2_compares_mean_rates_with_psths_per_neuron(layout, tmp_path):
    file = conditioned(layout, tmp_path)
    with opened(file.path) as recording:
        targets = nlb.targets(recording)
    rates = made_rates(targets, num_train=len(file.rows("train")))
    late = targets.get("eval_jitter", np.zeros(len(file.rows("val")), int))
    true, predicted = [], []
    for psth, rows in zip(targets["psth"], targets["eval_cond_idx"], strict=True):
        known = np.flatnonzero(~np.isnan(psth[:, 0]))
        if len(rows):
            moved = [joined(rates, "eval_rates")[row][known - late[row]] for row in rows]
            true.append(psth[known])
            predicted.append(np.mean(moved, axis=0))
    expected = r2_score(np.concatenate(true), np.concatenate(predicted))
    assert scores.score(targets, rates)["psth_r2"] == pytest.approx(expected)


def test_the_psths_themselves_score_1_and_their_mean_0():
    psth = RANDOM.random((3, 10, 4))
    rows = np.array([np.array([0, 2]), np.array([1]), np.array([], int)], dtype=object)
    rates = psth[[0, 1, 0]]
    assert scores.psth_r2(psth, rates, rows) == pytest.approx(1)
    flat = np.broadcast_to(psth[:2].mean(axis=(0, 1)), rates.shape)
    assert scores.psth_r2(psth, flat, rows) == pytest.approx(0)


def test_speed_is_correlated_with_the_produced_interval_within_conditions(tmp_path):
    file = Miniature("dmfc_rsg", tmp_path)
    with opened(file.path) as recording:
        targets = nlb.targets(recording)
    shape = (40, *targets["eval_spikes_heldout"].shape[1:])
    rng = np.random.default_rng(1)
    targets["eval_spikes_heldout"] = np.full(shape, np.nan)
    behaviour = rng.integers(0, 2, (40, 5)).astype(float)
    behaviour[:, 4] = rng.uniform(600, 1500, 40)
    behaviour[5] = np.nan
    targets["eval_behavior"] = behaviour
    for trial in range(40):
        targets["eval_spikes_heldout"][trial, 100 : 140 + trial] = 1.0
    targets = {name: targets[name] for name in ("eval_spikes_heldout", "eval_behavior")}
    rates = {
        "eval_rates_heldin": rng.random((40, shape[1], 4)),
        "eval_rates_heldout": rng.random(shape),
    }
    both = joined(rates, "eval_rates")
    speeds = np.array(
        [
            np.mean([np.linalg.norm(b - a) for a, b in pairwise(part)])
            for part in (both[trial, 100 : 140 + trial] for trial in range(40))
        ]
    )
    expected = []
    for condition in np.unique(behaviour[np.isfinite(behaviour[:, 0]), :3], axis=0):
        rows = (behaviour[:, :3] == condition).all(axis=1)
        expected.append(pearsonr(speeds[rows], behaviour[rows, 4])[0])
    assert scores.score(targets, rates)["tp_corr"] == pytest.approx(np.mean(expected))
    assert set(scores.score(targets, rates)) == {"co_bps", "tp_corr"}


def test_rates_of_other_trials_are_refused(tmp_path):
    file = Miniature("maze", tmp_path)
    with opened(file.path) as recording:
        targets = nlb.targets(recording)
    rates = made_rates(targets)
    rates["eval_rates_heldout"] = rates["eval_rates_heldout"][1:]
    with pytest.raises(ResultsError, match="trials, bins, neurons"):
        scores.score(targets, rates)
    with pytest.raises(ResultsError, match="No 'eval_rates_heldout' to score"):
        scores.score(targets, {})


def test_targets_are_written_and_read_with_their_conditions(tmp_path):
    file = conditioned("dmfc_rsg", tmp_path)
    with opened(file.path) as recording:
        targets = nlb.targets(recording)
    path = submission.write(tmp_path / "targets.h5", {"dmfc_rsg": targets})
    again = submission.read(path)["dmfc_rsg"]
    assert set(again) == set(targets)
    rows = zip(again["eval_cond_idx"], targets["eval_cond_idx"], strict=True)
    assert all(np.array_equal(ours, theirs) for ours, theirs in rows)
    rates = made_rates(targets)
    assert scores.score(again, rates) == pytest.approx(scores.score(targets, rates), abs=1e-6)


def test_a_recording_without_a_hand_is_scored_by_its_spikes_alone(tmp_path):
    file = Miniature("maze", tmp_path)
    with h5py.File(file.path, "a") as written:
        del written["processing/behavior"]
    with opened(file.path) as recording:
        targets = nlb.targets(recording)
    actual = scores.score(targets, made_rates(targets))
    assert set(actual) == {"co_bps", "fp_bps", "psth_r2"}
