"""`nwbdyn.tensors`: the binned, split recording for a model of one's own."""

import numpy as np
import pandas as pd
import pytest
import torch
from small_fits import imaging, units
from torch.utils.data import DataLoader

import nwbdyn
from nwbdyn.errors import ConfigError, DataError

ADDRESS = "sample:cortex?neurons=6&duration=60"


@pytest.fixture(scope="module")
def traces():
    return nwbdyn.tensors(imaging(), gap=5)


def test_an_address_gives_the_tensors_of_its_recording():
    ours = nwbdyn.tensors(ADDRESS, gap=5)
    with nwbdyn.open(ADDRESS) as recording:
        theirs = nwbdyn.tensors(recording, gap=5)
    np.testing.assert_array_equal(ours.values, theirs.values)
    assert ours.values.shape == (600, 6)


def test_numpy_arrays_have_the_stated_shapes_and_training_statistics(traces):
    arrays = traces.to_numpy()
    T, N = arrays["values"].shape
    for name in ("time", "valid", "segment", "split"):
        assert arrays[name].shape == (T,)
    assert arrays["covariates"].shape == (T, 0)
    train = arrays["split"] == 0
    np.testing.assert_allclose(arrays["mean"], arrays["values"][train].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(arrays["sd"], arrays["values"][train].std(axis=0), rtol=1e-5)
    assert len(arrays["neuron"]) == N


def test_a_dataset_of_xarray_labels_every_bin_with_its_split(traces):
    dataset = traces.to_xarray()
    assert dataset["activity"].dims == ("time", "neuron")
    assert list(dataset["neuron"].values) == list(range(100, 106))
    assert set(np.unique(dataset["split"])) == {"train", "val", "test", "gap"}
    assert dataset.attrs["quantity"] == "dff"


def test_a_window_is_followed_by_its_target(traces):
    windows = traces.to_torch(5)
    mean, sd = traces.normalisation()
    item = windows[7]
    first = int(item["start_bin"])
    expected = (traces.values[first : first + 6] - mean) / sd
    np.testing.assert_allclose(item["activity"], expected[:5], atol=1e-5)
    np.testing.assert_allclose(item["target"], expected[5], atol=1e-5)
    assert item["valid"].all()


def test_no_window_sees_a_bin_of_another_split(traces):
    labels = traces.split.labels
    for number, name in enumerate(("train", "val", "test")):
        for item in traces.to_torch(5, split=name):
            first = int(item["start_bin"])
            assert set(labels[first : first + 6]) <= {number, 3}
            assert labels[first + 5] == number


def test_counts_stay_counts_unless_they_are_normalised():
    counts = nwbdyn.tensors(units(), bin_width=0.05, gap=5)
    item = counts.to_torch(4)[0]
    first = int(item["start_bin"])
    np.testing.assert_array_equal(item["activity"], counts.values[first : first + 4])
    np.testing.assert_array_equal(item["target"], counts.values[first + 4])
    scaled = counts.to_torch(4, normalise=True)[0]
    assert not np.allclose(scaled["activity"], item["activity"])


def test_bins_outside_the_trials_are_not_valid():
    recording = imaging()
    trials = pd.DataFrame({"start_time": np.arange(0, 60, 3.0)})
    trials["stop_time"] = trials["start_time"] + 2
    inside = nwbdyn.tensors(
        nwbdyn.Recording(**{**vars(recording), "trials": trials}), trials="trials", gap=0
    )
    second = inside.time % 3
    np.testing.assert_array_equal(inside.valid, second < 2)


def test_a_linear_model_learns_from_a_loader(traces):
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 6)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    loader = DataLoader(traces.to_torch(1), batch_size=64, shuffle=True)
    losses = []
    for _ in range(5):
        for batch in loader:
            loss = (model(batch["activity"][:, 0]) - batch["target"]).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:2])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda t: t.to_torch(0), ConfigError, "at least 1 bin"),
        (lambda t: t.to_torch(3, split="gap"), ConfigError, "Choose from: train, val, test"),
        (lambda t: t.to_torch(5000), DataError, "No window of 5001 bins"),
        (lambda t: nwbdyn.tensors(imaging(), where="id > 3"), ConfigError, "nwbdyn.open"),
        (lambda t: nwbdyn.tensors(imaging(), trials="epochs"), DataError, "epochs"),
    ],
)
def test_what_makes_no_sense_is_refused(traces, call, error, message):
    with pytest.raises(error, match=message):
        call(traces)
