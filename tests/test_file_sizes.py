"""A stand-alone file is at most twice the recording that was fitted, whatever the model."""

from dataclasses import replace

import h5py
import pytest

import nwbdyn

WORM = "ophys/celegans_dag2023_2022-07-26-31.nwb"  # 146 neurons, 800 frames, 1.08 MB
FISH = "ophys/zebrafish_tectum_triplett2018_f1.nwb"  # 114 neurons, 4,245 frames, 1.96 MB


@pytest.mark.parametrize(
    ("recording", "model"),
    [
        pytest.param(WORM, "netformer", marks=pytest.mark.slow),
        (WORM, "synapsnet"),  # the tightest of the worms
        pytest.param(FISH, "netformer", marks=pytest.mark.slow),
        pytest.param(FISH, "synapsnet", marks=pytest.mark.slow),
    ],
)
def test_an_exported_file_is_at_most_twice_its_recording(data, tmp_path, recording, model):
    source = data / recording
    fit = nwbdyn.fit(str(source), model, epochs=1, options={"preset": "paper"})
    path = nwbdyn.export(fit, tmp_path / "out.nwb")
    assert path.stat().st_size <= 2 * source.stat().st_size
    core = {"weight": fit.connectivity.mean().to_numpy()}  # of a fit whose own part is kept
    on_core = replace(fit.connectivity, arrays=fit.connectivity.arrays | core)
    larger = nwbdyn.export(replace(fit, connectivity=on_core), tmp_path / "core.nwb")
    assert path.stat().st_size < larger.stat().st_size <= 2 * source.stat().st_size
    whole = nwbdyn.export(fit, tmp_path / "whole.nwb", precision="float32")
    with nwbdyn.open_results(path) as small, nwbdyn.open_results(whole) as exact:
        t = float(fit.connectivity.time[len(fit.connectivity.time) // 2])
        wanted = fit.connectivity.at(t)
        # Rounding to 10 bits of a gain's deviation is at most 2^-11 of it; see docs/format.md.
        assert (abs(small.connectivity.at(t) - wanted) <= 2.0**-9 * abs(wanted).max()).all()
        assert (exact.connectivity.at(t) == wanted).all()
    assert is_described_as_rounded(path)
    assert not is_described_as_rounded(whole)


def is_described_as_rounded(path):
    """True if the descriptions of predictions and component state the rounding."""
    with h5py.File(path) as file:
        actual = []

        def visit(name, item):
            kind = str(item.attrs.get("neurodata_type"))
            if kind in ("PredictedActivitySeries", "QueryKeyConnectivity", "GainConnectivity"):
                actual.append("Rounded" in item.attrs["description"])

        file["processing/population_dynamics"].visititems(visit)
    assert len(actual) == 2
    assert len(set(actual)) == 1
    return actual[0]
