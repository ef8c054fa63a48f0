"""Refused fits: the error has the value, the expectation and the next step."""

from dataclasses import replace

import pandas as pd
import pytest
from small_fits import LINEAR, imaging

from nwbdyn.errors import ConfigError, DataError, FitError
from nwbdyn.fitting.fit import fit
from nwbdyn.training.checkpoint import read_checkpoint


def test_a_loss_that_is_not_finite_stops_with_the_step_and_keeps_the_checkpoint(tmp_path):
    run = tmp_path / "run"
    options = LINEAR | {"learning_rate": 1e18, "clip_norm": None}
    with pytest.raises(FitError, match=r"at update \d+ .*learning_rate.*\(now 1e\+18\)"):
        fit(imaging(), "netformer", epochs=5, options=options, run=run)
    state = read_checkpoint(run)
    assert all(value.isfinite().all() for value in state["best_weights"].values())


def test_an_unknown_option_is_named_beside_those_there_are():
    with pytest.raises(
        ConfigError,
        match=r"netformer has no option 'histroy'; did you mean history\? Choose from: ",
    ):
        fit(imaging(), "netformer", options={"histroy": 3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"history": "long"}, "history is 'long'; it takes int"),
        ({"layer_norm": 1}, "layer_norm is 1; it takes bool"),
        ({"batch_size": 0}, "batch_size is 0; it is at least 1"),
        ({"learning_rate": -0.1}, "learning_rate is -0.1; it is not negative"),
        ({"embedding": -1}, "embedding is -1; it has to be 1 or more"),
        ({"projection": 0}, "projection is 0; it has to be 1 or more"),
        ({"dropout": 1.0}, "dropout is 1.0; it has to be from 0 to below 1"),
        ({"ridge": -3.0}, "ridge is -3.0; a penalty is not negative"),
        ({"history": 1, "layer_norm": True, "raw_values": False}, "cannot be set up so"),
    ],
)
def test_an_option_with_a_wrong_value_is_named(options, message):
    with pytest.raises(ConfigError, match=message):
        fit(imaging(), "netformer", options=options)


def test_a_length_of_training_that_is_said_twice_is_refused():
    for option in ("epochs", "updates"):
        with pytest.raises(ConfigError, match=f"epochs is 2, and {option} among the options is 4"):
            fit(imaging(), "netformer", epochs=2, options={option: 4})


def test_too_few_of_anything_is_refused_before_training():
    for few in ({"seeds": 0}, {"heldout_resamples": 0}, {"folds": 2}):
        (name,) = few
        with pytest.raises(ConfigError, match=f"{name} is {few[name]}; at least"):
            fit(imaging(), "netformer", options=LINEAR, **few)


def test_an_unknown_model_and_device_are_named():
    with pytest.raises(ConfigError, match="No model named 'netfromer'"):
        fit(imaging(), "netfromer")
    with pytest.raises(ConfigError, match=r"No device named 'tpu'. Choose from: auto, cpu, cuda"):
        fit(imaging(), "netformer", device="tpu")


def test_stndt_refuses_traces_and_says_what_takes_them():
    with pytest.raises(DataError, match=r"stndt takes counts; made holds dff traces.*netformer"):
        fit(imaging(), "stndt")


def test_a_single_neuron_is_refused():
    with pytest.raises(DataError, match="has 1 usable neuron of 1; a coupling needs two"):
        fit(imaging(1), "netformer")


def test_a_table_of_trials_that_is_not_there_is_refused_with_those_that_are():
    recording = replace(imaging(), intervals={"reversals": pd.DataFrame()})
    with pytest.raises(DataError, match="no interval table 'trails'; it has: reversals"):
        fit(recording, "netformer", trials="trails")


def test_a_recording_too_short_for_the_context_is_refused():
    with pytest.raises(DataError, match=r"leaves none to train on .* or, for a shorter context"):
        fit(imaging(3, 40), "netformer", options={"history": 30})
