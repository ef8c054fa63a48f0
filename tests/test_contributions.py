"""Contributions are what a model's own sum over senders adds up, bin by bin."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small import binned_counts, binned_traces

from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.data import splits
from nwbdyn.data.windows import Windows
from nwbdyn.errors import ResultsError
from nwbdyn.inference import readout
from nwbdyn.models.base import Layout
from nwbdyn.models.netformer import NetFormer, NetFormerConfig
from nwbdyn.models.stndt import STNDT
from nwbdyn.models.synapsnet import SynapsNet, SynapsNetConfig

NUM_NEURONS = 6
TYPES = ["pyr", "pv", "pyr", "", "pyr", "sst"]
CLOSE = {"rtol": 2e-4, "atol": 2e-5}  # float32 sums of a few products of order one


def layout(quantity="dff", held_in=(True,) * NUM_NEURONS):
    return Layout({"0": tuple(range(NUM_NEURONS))}, {"0": held_in}, 0.1, quantity)


def cut(binned, model_class, config, *, hold_out=False):
    """Windows of a recording with a gap, for a model."""
    spec = model_class.windows(config, layout(binned.quantity))
    split = splits.make(
        binned, seed=0, hold_out=hold_out, gap=spec.context, heldout_fraction=1 / NUM_NEURONS
    )
    return Windows(binned, split, spec, target=model_class.target)


def traces():
    binned = binned_traces(200, NUM_NEURONS)
    binned.valid[60:64] = False
    table = binned.neurons.table.assign(cell_type=TYPES)
    return replace(binned, neurons=replace(binned.neurons, table=table))


def netformer(**options):
    binned = traces()
    config = NetFormerConfig(history=4, embedding=3, **options)
    windows = cut(binned, NetFormer, config)
    torch.manual_seed(0)
    return NetFormer(config, layout()).eval(), windows


def synapsnet():
    windows = cut(traces(), SynapsNet, SynapsNetConfig(context=4, hidden=8))
    torch.manual_seed(0)
    return SynapsNet(SynapsNetConfig(context=4, hidden=8), layout()).eval(), windows


def stndt():
    binned = binned_counts(240, NUM_NEURONS)
    config = STNDT.configure(layout("counts"), context=12, layers=2, feedforward=8)
    windows = cut(binned, STNDT, config, hold_out=True)
    torch.manual_seed(0)
    held_in = tuple(windows.split.held_in.tolist())
    return STNDT(config, layout("counts", held_in)).eval(), windows


NETFORMERS = {
    "layer norm": {"layer_norm": True},
    "raw values": {"layer_norm": True, "raw_values": True},
    "no layer norm": {"layer_norm": False},
    "constant coupling": {"layer_norm": True, "static": True},
    "constant coupling, no layer norm": {"layer_norm": False, "static": True},
}


@pytest.mark.parametrize("options", NETFORMERS.values(), ids=NETFORMERS)
def test_netformers_contributions_are_what_is_added_to_a_neurons_own_value(options):
    model, windows = netformer(**options)
    sent = readout.connectivity(model, windows).contributions()
    batch = next(iter(windows.batches("test", 8)))
    with torch.no_grad():
        seen, values = model._tokens(batch)
        received = model._received(seen, values, NUM_NEURONS)[..., -1]
        each = model.attention(batch) * values[:, None, :, -1]
    last = batch.start_bin.numpy() + 3
    for number, time in enumerate(windows.binned.time[last]):
        matrix = sent.at(time)
        np.testing.assert_allclose(matrix, each[number], **CLOSE)
        np.testing.assert_allclose(matrix.sum("pre"), received[number], **CLOSE)


def test_synapsnets_contributions_add_up_to_the_input_current():
    model, windows = synapsnet()
    coupling = readout.connectivity(model, windows)
    sent = coupling.contributions().to_xarray()
    currents = readout.currents(coupling, windows)
    rows = np.isin(windows.binned.time, sent.time)
    np.testing.assert_allclose(sent.sum("pre"), currents[rows], **CLOSE)
    weight, x = coupling.arrays["A"], windows.inputs[rows]
    np.testing.assert_allclose(
        sent[7], [[weight[i, j] * x[7, j] for j in range(6)] for i in range(6)], **CLOSE
    )


def test_stndts_contributions_are_its_first_maps_times_what_they_mix():
    model, windows = stndt()
    sent = readout.connectivity(model, windows).contributions()
    held_in = windows.split.held_in
    seen = 0
    for split in ("train", "val", "test"):
        starts = windows.starts(split)
        for batch in windows.batches(split, 4):
            read = model.time_resolved(batch)
            for number, start in enumerate(batch.start_bin.tolist()):
                for location in range(12):
                    # Only the window in which a bin lies farthest from an edge speaks for it.
                    depths = [min(start + location - s, s + 11 - start - location) for s in starts]
                    if max(depths) != min(location, 11 - location) or depths.count(max(depths)) > 1:
                        continue
                    expected = read["maps"][number, 0] * read["y"][number, 0, location]
                    matrix = sent.at(windows.binned.time[start + location])
                    half = {"rtol": 2e-3, "atol": 1e-4}  # maps and y are kept in half precision
                    np.testing.assert_allclose(matrix, expected[held_in][:, held_in], **half)
                    seen += 1
    assert seen > 0.8 * len(sent.time)


MADE = {
    "netformer": lambda: netformer(layer_norm=True),
    "synapsnet": synapsnet,
    "stndt": stndt,
}


@pytest.fixture(params=MADE, scope="module")
def sent(request) -> Connectivity:
    model, windows = MADE[request.param]()
    actual = readout.connectivity(model, windows).contributions()
    types = TYPES[: len(actual.neurons)]
    table = actual.neurons.table.assign(cell_type=types)
    return replace(actual, neurons=replace(actual.neurons, table=table))


def test_means_edges_courses_and_types_are_those_of_the_matrices(sent):
    every = sent.to_xarray()
    mask = np.arange(sent.num_windows) % 3 != 1
    np.testing.assert_allclose(sent.mean(mask), every[mask].mean("time"), **CLOSE)
    ids = sent.neurons.ids
    course = sent.over_time(pre=ids[[0, 3]], post=ids[[2, 1]], mask=mask)
    for number, (pre, post) in enumerate([(0, 2), (3, 1)]):
        np.testing.assert_allclose(course[:, number], every[mask, post, pre], **CLOSE)
    types = sent.by_cell_type(mask=mask)
    labels = np.array(TYPES[: len(ids)])
    for post in types.post_type.to_numpy():
        for pre in types.pre_type.to_numpy():
            pairs = [
                (i, j)
                for i in np.flatnonzero(labels == post)
                for j in np.flatnonzero(labels == pre)
                if i != j
            ]
            if pairs:
                expected = np.mean([every[mask, i, j] for i, j in pairs], axis=0)
                actual = types.sel(post_type=post, pre_type=pre)
                np.testing.assert_allclose(actual, expected, **CLOSE)


def test_a_fit_without_what_they_need_and_a_form_without_contributions_say_so():
    model, windows = synapsnet()
    coupling = readout.connectivity(model, windows)
    earlier = replace(coupling, arrays={name: coupling.arrays[name] for name in ("A", "g")})
    with pytest.raises(ResultsError, match=r"need activity, last, .* earlier version"):
        earlier.contributions()
    constant = replace(coupling, form="static", arrays={"weight": np.ones((6, 6), np.float32)})
    with pytest.raises(ResultsError, match="constant coupling has no activity"):
        constant.contributions()
    with pytest.raises(ResultsError, match="has no contributions"):
        coupling.contributions().contributions()
