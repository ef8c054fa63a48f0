"""From an address to a Recording, wherever the file is."""

import shutil

import numpy as np
import pytest
from standin import StandIn

import nwbdyn
from nwbdyn.errors import AddressError, ReadError
from nwbdyn.recording import SpikeTimes

FILE = "ecephys/mouse_thalamus_dandi000009_anm00239123.nwb"


@pytest.fixture
def standin(data, tmp_path, monkeypatch):
    """The thalamus recording as an asset, and as another subject's."""
    for name in ("DANDI_API_KEY", "DANDI_INSTANCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DANDI_NO_ET", "1")
    for subject in ("a", "b"):
        folder = tmp_path / "archive" / "000009" / f"sub-{subject}"
        folder.mkdir(parents=True)
        shutil.copy(data / FILE, folder / f"sub-{subject}.nwb")
    with StandIn(tmp_path / "archive") as running:
        yield running


def _spikes(recording: nwbdyn.Recording) -> np.ndarray:
    assert isinstance(recording.activity, SpikeTimes)
    return np.asarray(recording.activity.times)


def test_a_recording_streams_with_the_values_of_the_local_file(data, standin):
    with nwbdyn.open("dandi:000009/sub-a", instance=standin.api) as remote:
        with nwbdyn.open(str(data / FILE)) as local:
            assert remote.neurons.table.equals(local.neurons.table)
            np.testing.assert_array_equal(_spikes(remote), _spikes(local))
        assert remote.source.uri == "dandi:000009@draft/sub-a/sub-a.nwb"
        assert remote.source.digest.startswith("dandi-etag:")


def test_closing_a_recording_closes_its_file(data):
    recording = nwbdyn.open(str(data / FILE))
    recording.close()
    with pytest.raises((ReadError, ValueError)):
        _spikes(recording)


def test_a_local_file_is_known_by_its_digest(data):
    with nwbdyn.open(str(data / FILE)) as recording:
        assert recording.source.digest == (
            "sha256:14000842e1ca27fdded4d83394c73462d9b81b80c3a2a018cb11baf8b066d5c8"
        )


def test_several_files_are_listed_with_the_way_on(standin):
    with pytest.raises(AddressError, match=r"names 2 files: sub-a/sub-a\.nwb.*nwbdyn fit"):
        nwbdyn.open("dandi:000009", instance=standin.api)


def test_a_file_that_is_not_nwb_is_closed_again(tmp_path):
    path = tmp_path / "a.nwb"
    path.write_bytes(b"not HDF5 at all")
    with pytest.raises(ReadError, match=r"a\.nwb"):
        nwbdyn.open(str(path))
    path.unlink()
