"""A restored model repeats its predictions; a lesion removes a neuron's output."""

import numpy as np
import pytest
import torch
from small_fits import LINEAR, SMALL_STNDT, imaging, units
from test_joint import SMALL, TINY, days

import nwbdyn
from nwbdyn.errors import ConfigError, ResultsError
from nwbdyn.fitting.fit import fit
from nwbdyn.inference import readout
from nwbdyn.workflows.joint import fit_joint
from nwbdyn.workflows.load_model import lesion, load_model


@pytest.mark.parametrize(
    ("model", "recording", "options"),
    [
        ("netformer", imaging(8), LINEAR),
        ("synapsnet", imaging(8), TINY),
        ("stndt", units(), SMALL_STNDT),
    ],
)
def test_a_restored_model_predicts_what_the_fit_holds(model, recording, options, tmp_path):
    made = fit(recording, model, epochs=1, options=options, heldout_resamples=1)
    loaded = nwbdyn.load(made.save(tmp_path / "run"))
    restored = load_model(loaded, recording)
    again = readout.predict(restored.model, restored.problem.windows)
    np.testing.assert_allclose(again, made.predictions.values, atol=1e-6)


def test_a_sample_is_opened_again_by_its_address():
    address = "sample:network?neurons=8&steps=400"
    made = fit(address, "synapsnet", options=SMALL)
    actual = lesion(made, [made.neurons.ids[2]])
    restored = load_model(made)
    silenced = restored.model.A["0"].detach().clone()
    silenced[:, 2] = 0.0
    restored.model.A["0"].data.copy_(silenced)
    after = readout.predict(restored.model, restored.problem.windows, splits=["test"])
    rows = np.isfinite(after).all(axis=1)
    change = (after - made.predictions.values)[rows] / restored.problem.windows.sd
    np.testing.assert_allclose(actual["mean_change"], change.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(actual["rms_change"], np.sqrt((change**2).mean(axis=0)), atol=1e-5)
    assert actual["lesioned"].tolist() == [False, False, True, *[False] * 5]
    assert actual["rms_change"][2] == 0  # a neuron does not hear itself through A
    assert torch.equal(load_model(made).model.A["0"][:, 3], silenced[:, 3])


def test_what_cannot_be_lesioned_or_restored_is_refused():
    made = fit(imaging(8), "netformer", epochs=1, options=LINEAR)
    with pytest.raises(ConfigError, match="netformer cannot be lesioned"):
        lesion(made, [100], recording=imaging(8))
    with pytest.raises(ConfigError, match="No neuron has the id 7"):
        lesion(made, [7], recording=imaging(8))
    with pytest.raises(ResultsError, match="does not give the tensors that were fitted"):
        load_model(made, imaging(8, seed=3))
    joint = fit_joint(days(), "netformer", options=LINEAR, epochs=1)["monday"]
    with pytest.raises(ResultsError, match="several recordings at once"):
        load_model(joint, days()[0])
