"""Predictive influence over time: the same question to every model, answered in test windows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_contributions import netformer, stndt, synapsnet

import nwbdyn
from nwbdyn import fit, simulate
from nwbdyn.connectivity import edge_table
from nwbdyn.errors import ConfigError
from nwbdyn.inference import influence, readout
from nwbdyn.results import fit_results
from nwbdyn.workflows.load_model import influence_at

SINGLE = {"rtol": 1e-4, "atol": 1e-7}  # matrices over time are kept in single precision


def test_synapsnets_influence_is_its_gain_weighted_coupling():
    model, windows = synapsnet()
    actual = influence.read(model, windows).over_time
    coupling = readout.connectivity(model, windows)
    apart = ~np.eye(6, dtype=bool)
    assert actual.num_windows == len(windows.starts("test"))
    for time in actual.time[::5]:
        one, other = actual.at(time).to_numpy(), coupling.at(time).to_numpy()
        np.testing.assert_allclose(one[apart], other[apart], **SINGLE)


def test_netformers_influence_is_the_derivative_of_the_prediction_in_the_newest_bin():
    model, windows = netformer(layer_norm=True)
    actual = influence.read(model, windows).over_time
    batch = next(iter(windows.batches("test", 4)))

    def predicted(newest):
        activity = torch.cat([batch.activity[:, :-1], newest[:, None]], dim=1)
        return model(replace(batch, activity=activity)).prediction[:, 0].sum(0)

    jacobian = torch.autograd.functional.jacobian(predicted, batch.activity[:, -1])
    for number, last in enumerate((batch.start_bin + 3).tolist()):
        matrix = actual.at(windows.binned.time[last])
        np.testing.assert_allclose(matrix, jacobian[:, number], **SINGLE)
    assert actual.causal


def test_stndts_influence_stops_at_the_last_bin_that_its_window_shows():
    model, windows = stndt()
    actual = influence.read(model, windows).over_time
    batch = next(iter(windows.batches("test", 1)))
    held_in = windows.split.held_in
    matrix = actual.at(actual.time[0]).to_numpy()
    np.testing.assert_allclose(matrix, model.influence(batch)[0][held_in][:, held_in], **SINGLE)
    start = int(batch.start_bin)
    # 12 bins without forward ones: the last is predicted, the one before it is the last seen
    assert actual.time[0] == windows.binned.time[start + 10]
    changed = replace(batch, activity=batch.activity.clone())
    changed.activity[:, 11:] = 9.0
    assert torch.equal(model.influence(changed), model.influence(batch))


def test_the_mean_is_over_all_windows_and_as_many_are_kept_as_there_is_room_for(monkeypatch):
    model, windows = synapsnet()
    whole = influence.read(model, windows, num_windows=12)
    every = whole.over_time.to_xarray()
    assert len(every.time) == 12
    np.testing.assert_allclose(every.mean("time"), whole.mean, **SINGLE)
    monkeypatch.setattr(influence, "KEPT_BYTES", 5 * 4 * 6**2)
    few = influence.read(model, windows, num_windows=12)
    np.testing.assert_array_equal(few.mean, whole.mean)
    assert few.over_time.num_windows == 5
    for time in few.over_time.time:
        np.testing.assert_array_equal(few.over_time.at(time), whole.over_time.at(time))


@pytest.mark.parametrize(
    ("model", "options"),
    [("netformer", {"history": 3, "ridge": 0.0}), ("synapsnet", {"hidden": 8})],
)
def test_a_fit_holds_it_beside_the_models_own_form_and_so_does_its_run(model, options, tmp_path):
    recording, _ = simulate.sample("sample:network?neurons=6&steps=400")
    made = fit(
        recording, model, epochs=1, options=options, influence_windows=20, run=tmp_path / "run"
    )
    assert made.influence.num_windows == 20
    assert "predictive influence" in made.influence.measure
    mean = made.influence.mean()
    edges = edge_table.directed(made.edges)
    expected = [
        mean.sel(post=i, pre=j) for i, j in zip(edges["post_id"], edges["pre_id"], strict=True)
    ]
    np.testing.assert_allclose(edges["influence"], expected, **SINGLE)
    loaded = fit_results.load(tmp_path / "run")
    np.testing.assert_array_equal(loaded.influence.to_xarray(), made.influence.to_xarray())
    assert loaded.influence.measure == made.influence.measure
    with nwbdyn.open_results(nwbdyn.export(made, tmp_path / "mean.nwb")) as back:
        assert back.influence.num_windows == 1  # the mean over all of them
        np.testing.assert_array_equal(back.influence.mean(), mean)
        for moment in made.influence.time[[0, -1]]:
            np.testing.assert_array_equal(back.influence.at(moment), mean)
    path = nwbdyn.export(made, tmp_path / "dense.nwb", dense=True)
    with nwbdyn.open_results(path) as back:
        np.testing.assert_array_equal(back.influence.to_xarray(), made.influence.to_xarray())
        np.testing.assert_array_equal(back.influence.time, made.influence.time)
        assert back.influence.measure == made.influence.measure


@pytest.mark.parametrize("make", [lambda: netformer(layer_norm=True), synapsnet, stndt])
def test_it_is_there_at_any_time_of_the_session(make):
    model, windows = make()
    every = influence.read(model, windows).over_time
    near = every.time[[0, 2]] + 0.001
    actual = influence.at(model, windows, [*near, near[0], windows.binned.time[40]])
    assert actual.num_windows == 3
    assert actual.time[1:].tolist() == every.time[[0, 2]].tolist()
    assert abs(actual.time[0] - windows.binned.time[40]) < 12 * windows.binned.bin_width
    for time in every.time[[0, 2]]:
        np.testing.assert_allclose(actual.at(time), every.at(time), **SINGLE)


def test_a_fit_is_asked_at_any_time_and_one_that_was_not_trained_for_it_says_so():
    address = "sample:network?neurons=6&steps=400"
    made = fit(address, "synapsnet", options={"updates": 20, "hidden": 8})
    time = made.connectivity.time[11]
    matrix = influence_at(made, [time]).at(time).to_numpy()
    apart = ~np.eye(6, dtype=bool)
    np.testing.assert_allclose(
        matrix[apart], made.connectivity.at(time).to_numpy()[apart], **SINGLE
    )
    options = {"context": 20, "layers": 1, "feedforward": 8, "updates": 2}
    reach = fit("sample:reach?neurons=20&trials=24", "stndt", bin_width=0.05, options=options)
    with pytest.raises(ConfigError, match="causal_mask_ratio"):
        influence_at(reach, [5.0])
