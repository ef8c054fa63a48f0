"""Read-out of a model on the session clock, compared with the model bin by bin."""

import numpy as np
import torch
from small import binned_traces

from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.data import splits
from nwbdyn.data.windows import Windows
from nwbdyn.inference import readout
from nwbdyn.models.base import Layout
from nwbdyn.models.synapsnet import SynapsNet, SynapsNetConfig


def test_input_currents_are_a_x_wherever_something_was_observed():
    binned = binned_traces(200, 5)
    binned.valid[60:64] = False
    split = splits.make(binned, seed=0, hold_out=False, gap=4)
    config = SynapsNetConfig(context=4, hidden=8)
    layout = Layout({"0": tuple(range(5))}, {"0": (True,) * 5}, binned.bin_width, "dff")
    windows = Windows(binned, split, SynapsNet.windows(config, layout))
    torch.manual_seed(0)
    model = SynapsNet(config, layout)
    coupling = readout.connectivity(model, windows)
    currents = readout.currents(coupling, windows)
    assert currents is not None
    assert currents.shape == binned.values.shape
    assert np.isnan(currents[60:64]).all()
    assert np.isfinite(np.delete(currents, np.s_[60:64], axis=0)).all()
    batch = next(iter(windows.batches("test", 16)))
    newest = batch.start_bin.numpy() + config.context - 1
    # float32 sums of five products of order one
    np.testing.assert_allclose(
        currents[newest], model.time_resolved(batch)["current"], rtol=1e-5, atol=1e-6
    )


def test_a_form_without_an_adjacency_has_no_currents():
    binned = binned_traces(200, 5)
    coupling = Connectivity(
        "static", binned.time, (-1.0, 0.0), binned.neurons, "z per z", True,
        {"weight": np.ones((5, 5), np.float32)},
    )  # fmt: skip
    split = splits.make(binned, seed=0, hold_out=False, gap=4)
    config = SynapsNetConfig(context=4, hidden=8)
    layout = Layout({"0": tuple(range(5))}, {"0": (True,) * 5}, binned.bin_width, "dff")
    windows = Windows(binned, split, SynapsNet.windows(config, layout))
    assert readout.currents(coupling, windows) is None
