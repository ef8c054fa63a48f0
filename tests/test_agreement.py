"""Agreement of couplings between seeds and between halves of their windows."""

import numpy as np
import pandas as pd
import pytest
from test_contributions import stndt

from nwbdyn import fit, simulate
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.evaluation import reliability, verdict
from nwbdyn.inference import readout
from nwbdyn.recording import Neurons


def coupling(matrices, form="dense"):
    neurons = Neurons(pd.DataFrame({"id": np.arange(matrices.shape[1])}), "unit")
    time = np.arange(float(len(matrices)))
    return Connectivity(form, time, (-1.0, 0.0), neurons, "z per z", True, {"weights": matrices})


def test_seeds_agree_as_their_off_diagonal_entries_correlate():
    draw = np.random.default_rng(0)
    means = [draw.normal(size=(5, 5)) for _ in range(3)]
    apart = ~np.eye(5, dtype=bool)
    pairs = [
        np.corrcoef(means[a][apart], means[b][apart])[0, 1] for a, b in [(0, 1), (0, 2), (1, 2)]
    ]
    assert reliability.seed_reliability(means) == pytest.approx(np.mean(pairs))
    assert reliability.seed_reliability(means[:1]) is None
    assert reliability.seed_reliability([np.zeros((5, 5)), means[0]]) is None


def test_halves_are_the_odd_and_the_even_windows():
    matrices = np.random.default_rng(1).normal(size=(9, 4, 4)).astype(np.float32)
    apart = ~np.eye(4, dtype=bool)
    odd, even = matrices[1::2].mean(0)[apart], matrices[::2].mean(0)[apart]
    assert reliability.split_half_reliability(coupling(matrices)) == pytest.approx(
        np.corrcoef(odd, even)[0, 1], abs=1e-5
    )
    assert reliability.split_half_reliability(coupling(matrices[:3])) is None


def test_attention_is_split_by_windows_and_overlapping_windows_are_not():
    model, windows = stndt()
    maps = readout.connectivity(model, windows)
    actual = reliability.reliability([maps.mean().to_numpy()], maps, [], None)
    assert (actual.of, actual.coupling.seeds) == ("maps", None)
    assert -1 <= actual.coupling.windows <= 1
    assert "influence" not in actual.to_json()


def test_a_fit_of_two_seeds_tells_how_far_they_agree():
    recording, _ = simulate.sample("sample:network?neurons=6&steps=400")
    options = {"updates": 20, "hidden": 8}
    made = fit(recording, "synapsnet", seeds=2, options=options)
    each = [fit(recording, "synapsnet", seed=seed, options=options) for seed in (0, 1)]
    apart = ~np.eye(6, dtype=bool)

    def agree(couplings):
        one, other = (coupling.mean().to_numpy()[apart] for coupling in couplings)
        return np.corrcoef(one, other)[0, 1]

    actual = made.metrics["agreement"]
    assert actual["coupling"]["windows"] is None  # windows of a next-bin model overlap
    expected = agree([one.connectivity for one in each])
    assert actual["coupling"]["seeds"] == pytest.approx(expected, abs=1e-5)
    expected = agree([one.influence for one in each])
    assert actual["influence"]["seeds"] == pytest.approx(expected, abs=1e-5)
    message = verdict.sentences(made.metrics, "synapsnet")
    assert any(line.startswith("Mean couplings of two seeds agree at r = ") for line in message)
