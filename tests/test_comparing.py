"""Networks to hold a model against: what they may see, and that differences are paired."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_fits import SMALL_STNDT, imaging, units
from test_joint import SMALL, days
from test_synapsnet import BEHAVIOUR, COUNTS, TRACES, make_batch

from nwbdyn.errors import ConfigError
from nwbdyn.fitting.pipeline import fit
from nwbdyn.models._comparators import COMPARATORS, MultichannelGRU, PopulationMean
from nwbdyn.models.synapsnet import SynapsNet
from nwbdyn.results import run_directory
from nwbdyn.workflows.joint import fit_joint


def made(model_class, layout):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return model_class(SynapsNet.configure(layout, hidden=8), layout).double()


@pytest.mark.parametrize("layout", [TRACES, COUNTS, BEHAVIOUR])
@pytest.mark.parametrize("name", COMPARATORS)
def test_a_comparator_predicts_and_learns(name, layout):
    model = made(COMPARATORS[name], layout)
    batch = make_batch(model, num_windows=20)
    model.initialise([batch])
    optimiser, _ = model.optimiser(30, 10)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = model.loss(batch, model(batch))
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    assert model(batch).prediction.shape == batch.target.shape


def test_the_population_mean_hears_everyone_alike_and_stays_so():
    model = made(PopulationMean, TRACES)
    batch = make_batch(model)
    model.initialise([batch])
    others = [[j for j in range(5) if j != i] for i in range(5)]
    mean = torch.stack([batch.activity[..., rows].mean(-1) for rows in others], dim=-1)
    torch.testing.assert_close(model.currents(batch), mean)
    before = model.adjacency("0").clone()
    optimiser, _ = model.optimiser(10, 10)
    model.loss(batch, model(batch)).backward()
    optimiser.step()
    model.after_update(1)
    torch.testing.assert_close(model.adjacency("0"), before)


def test_the_recurrent_network_is_another_for_every_session():

    layout = replace(
        TRACES,
        neuron_ids={"a": (0, 1, 2), "b": (3, 4)},
        held_in={"a": (True,) * 3, "b": (True,) * 2},
    )
    model = made(MultichannelGRU, layout)
    batch = make_batch(model, session="b")
    model.loss(batch, model(batch)).backward()
    assert all(parameter.grad is None for parameter in model.cells[0].parameters())
    assert all(parameter.grad is not None for parameter in model.cells[1].parameters())


def test_a_fit_tells_its_differences_to_each_comparator(tmp_path):
    found = fit(
        imaging(8, 900), "synapsnet", options=SMALL, comparators=True, run=tmp_path / "run"
    ).metrics
    told = found["comparators"]
    assert set(told["difference"]) == set(COMPARATORS)
    for name, compared in told["difference"].items():
        assert compared["with"] == pytest.approx(found["model"]["test"]["r2"], abs=1e-6)
        assert compared["without"] == pytest.approx(told["scores"][name]["test"]["r2"], abs=1e-6)
        low, high = compared["interval"]
        assert low < compared["adds"] < high
    assert all(len(values) == 3 for values in told["components"].values())
    assert (tmp_path / "run" / "comparator-1" / run_directory.CHECKPOINT).exists()
    fit(imaging(8, 900), "synapsnet", options=SMALL, run=tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "comparator-1").exists()


def test_components_are_those_of_the_training_bins():
    fitted = fit(imaging(8, 900), "synapsnet", options=SMALL, comparators=True)
    values, labels = imaging(8, 900).activity.data, fitted.predictions.labels
    train, test = values[labels == 0], labels == 2
    mean, sd = train.mean(0), train.std(0)
    _, _, axes = np.linalg.svd((train - mean) / sd, full_matrices=False)
    true, guess = (((x[test] - mean) / sd) @ axes[0] for x in (values, fitted.predictions.values))
    expected = np.corrcoef(true, guess)[0, 1]
    assert fitted.metrics["comparators"]["components"]["synapsnet"][0] == pytest.approx(
        expected, abs=1e-4
    )


def test_sessions_that_share_a_model_give_paired_differences(tmp_path):

    fits = fit_joint(days(), "synapsnet", options=SMALL, comparators=True, run=tmp_path / "run")
    table = json.loads((tmp_path / "run" / "metrics.json").read_text())["comparators"]
    each = [
        f.metrics["comparators"]["difference"]["population mean"]["adds"] for f in fits.values()
    ]
    assert table["population mean"]["mean"] == pytest.approx(np.mean(each))
    assert table["population mean"]["num_sessions"] == 2


def test_a_model_of_held_out_neurons_has_no_such_comparators():
    with pytest.raises(ConfigError, match="--comparators are models of the next bin"):
        fit(units(), "stndt", options=SMALL_STNDT, comparators=True)
