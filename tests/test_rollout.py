"""Rolling a model out: each step goes on from the step before, within one stretch of one split."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

from nwbdyn import baselines
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import TEST, TRAIN, VAL, Split
from nwbdyn.data.windows import Windows
from nwbdyn.inference import rollout
from nwbdyn.models import base
from nwbdyn.recording import Neurons

WEIGHT = torch.tensor([[0.8, 0.3], [-0.2, 0.7]])
LABELS = np.repeat([TRAIN, VAL, TEST], [60, 20, 20]).astype(np.int8)


@dataclass(frozen=True)
class Config(base.Config):
    """No options of its own."""


class Linear(base.Model):
    """x(t + 1) = W x(t), plus the last covariate."""

    quantities = frozenset({"dff"})
    target = base.NEXT
    form = "static"
    Config = Config
    paper = "none"

    def forward(self, batch: base.Batch) -> base.Output:
        predicted = batch.activity[:, -1:] @ WEIGHT.T
        if batch.covariates.shape[2]:
            predicted = predicted + batch.covariates[:, -1:]
        return base.Output(prediction=predicted)


def windows(num_covariates: int = 0, segment: np.ndarray | None = None) -> Windows:
    rng = np.random.default_rng(0)
    binned = Binned(
        session_id="made",
        values=rng.normal(2.0, 3.0, (100, 2)).astype(np.float32),
        time=np.arange(100) * 0.1,
        bin_width=0.1,
        valid=np.ones(100, bool),
        segment=np.zeros(100, int) if segment is None else segment,
        neurons=Neurons(pd.DataFrame({"id": [0, 1]}), "roi"),
        quantity="dff",
        covariates=rng.normal(size=(100, num_covariates)).astype(np.float32),
    )
    return Windows(
        binned, Split(LABELS, np.ones(2, bool), 0, "by hand"), base.WindowSpec(context=2)
    )


def linear(cut: Windows) -> Linear:
    layout = base.Layout(
        {"0": (0, 1)}, {"0": (True, True)}, 0.1, "dff", cut.binned.covariates.shape[1]
    )
    return Linear(Config(batch_size=7), layout)


@pytest.mark.parametrize("horizon", [1, 3])
def test_a_step_goes_on_from_the_prediction_before(horizon):
    cut = windows()
    rolled = rollout.roll_out(linear(cut), cut, horizons=[horizon], splits=["test"])[horizon]
    scaled = (cut.binned.values - cut.mean) / cut.sd
    power = np.linalg.matrix_power(WEIGHT.numpy(), horizon)
    wanted = scaled[90 - horizon] @ power.T * cut.sd + cut.mean
    np.testing.assert_allclose(rolled[90], wanted, rtol=1e-5)


def test_the_future_of_a_covariate_is_its_last_value():
    cut = windows(num_covariates=1)
    rolled = rollout.roll_out(linear(cut), cut, horizons=[2], splits=["test"])[2]
    scaled = (cut.binned.values - cut.mean) / cut.sd
    train = cut.binned.covariates[:60]
    last = ((cut.binned.covariates - train.mean()) / train.std())[88]
    one = scaled[88] @ WEIGHT.numpy().T + last
    two = one @ WEIGHT.numpy().T + last
    np.testing.assert_allclose(rolled[90], two * cut.sd + cut.mean, rtol=1e-4)


def test_a_neuron_that_left_its_training_range_is_still_followed():
    cut = windows()
    cut.binned.values[80:] += 100.0
    rolled = rollout.roll_out(linear(cut), cut, horizons=[1], splits=["test"])[1]
    scaled = (cut.binned.values - cut.mean) / cut.sd
    wanted = scaled[89] @ WEIGHT.numpy()[1] * cut.sd[1] + cut.mean[1]
    assert wanted > cut.binned.values[:60, 1].max() + 20
    np.testing.assert_allclose(rolled[90, 1], wanted, rtol=1e-5)


def test_nothing_is_predicted_outside_the_stretch_the_data_come_from():
    cut = windows(segment=(np.arange(100) >= 90).astype(int))
    rolled = rollout.roll_out(linear(cut), cut, horizons=[3], splits=["val", "test"])[3]
    predicted = np.isfinite(rolled).all(axis=1)
    # A context of 2 bins and 2 steps on the way: 4 bins after the start of every stretch.
    wanted = np.zeros(100, bool)
    wanted[[*range(64, 80), *range(84, 90), *range(94, 100)]] = True
    np.testing.assert_array_equal(predicted, wanted)


def test_the_baselines_predict_from_as_far_as_the_model():
    cut = windows()
    actual = baselines.next_bin(cut.binned, cut.split, context=2, horizon=3)
    np.testing.assert_allclose(actual["persistence"].prediction[90], cut.binned.values[87])
    other = windows()
    other.binned.values[88:90] += 100.0
    again = baselines.next_bin(other.binned, other.split, context=2, horizon=3)
    for name, baseline in actual.items():
        np.testing.assert_array_equal(baseline.prediction[90], again[name].prediction[90])
