"""Which neurons attention falls on, and whether a model needs them."""

import numpy as np
import pytest
import torch
from small_fits import SMALL_STNDT, units

from nwbdyn import metrics
from nwbdyn.evaluation import map_ablation
from nwbdyn.fitting.assemble import task_of
from nwbdyn.fitting.fit import fit
from nwbdyn.fitting.task import build_task
from nwbdyn.inference import readout
from nwbdyn.results.sections.attention_maps import NeuronImportance


class Reads(torch.nn.Module):
    """Every rate follows one neuron, and attention falls on another."""

    config = type("Config", (), {"batch_size": 4})()

    def __init__(self, read, attended):
        super().__init__()
        self.read, self.attended = int(read), int(attended)

    def forward(self, batch):
        first = batch.activity[:, :, self.read, None]
        rate = (0.2 + 0.5 * first).expand_as(batch.activity)
        return type("Output", (), {"prediction": rate})()

    def time_resolved(self, batch):
        share = torch.full((len(batch.activity), batch.activity.shape[2]), 0.05)
        share[:, self.attended] = 0.45
        return {"importance": share}


@pytest.fixture(scope="module")
def problem():
    return build_task(units(), "stndt", seed=1, options=SMALL_STNDT)


def test_silent_inputs_are_zero_for_the_model_and_others_stay(problem):
    windows, held_in = problem.windows, np.flatnonzero(problem.split.held_in)
    model = Reads(held_in[0], held_in[1])

    def predicted(*silent):
        columns = torch.tensor(silent, dtype=torch.long)
        return readout.predict(model, windows, splits=["test"], without=columns)

    np.testing.assert_array_equal(predicted(), predicted(held_in[1], held_in[2]))
    without = predicted(held_in[0])
    reached = np.isfinite(without)
    assert (without[reached] == np.float32(0.2)).all()


def test_what_is_lost_without_some_neurons_is_the_difference_of_scores(problem):
    task = task_of(problem)
    held_in = np.flatnonzero(task.split.held_in)
    model = Reads(held_in[0], held_in[1])
    actual = map_ablation.scores(model, problem.windows, task)
    assert actual.neurons == task.binned.neurons.ids[held_in].tolist()
    assert int(np.argmax(actual.attention)) == 1
    assert actual.dropped == [1, 2, 4]  # of 7
    assert actual.half_split == pytest.approx(1.0)

    def co_bps(silent):
        columns = torch.as_tensor(silent, dtype=torch.long)
        rates = readout.predict(model, problem.windows, splits=["test"], without=columns)
        rows = task.split.bins("test") & np.isfinite(rates).all(1) & task.counted
        return metrics.co_bps(task.binned.values[rows], rates[rows], task.held_out)

    whole, without_all = co_bps([]), co_bps(held_in)
    assert actual.loss["most attended"][0] == 0  # attention is no need
    by_rate = np.argsort(-task.binned.values[task.split.bins("train")][:, held_in].mean(0))
    expected = [whole - co_bps(held_in[by_rate[:n]]) for n in (1, 2, 4)]
    assert actual.loss["most active"] == pytest.approx(expected, abs=1e-6)
    # all is lost with the neuron that is read, nothing without it
    for value in actual.loss["least attended"] + expected:
        assert min(abs(value), abs(value - (whole - without_all))) < 1e-6


def test_a_fit_tells_importance_beside_its_stability_and_the_dropping_test():
    actual = fit(units(), "stndt", epochs=2, options=SMALL_STNDT).metrics
    actual = NeuronImportance.from_metrics(actual)
    assert len(actual.attention) == 7
    assert sum(actual.attention) <= 1.0  # held-out neurons receive some, too
    assert set(actual.loss) == {
        *("most attended", "least attended", "most active", "random", "random_sd")
    }
    assert -1 <= actual.half_split <= 1
