"""Public bug reports turned into files by scripts beside the shared data: each comes out right."""

import importlib.util
import json
import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pynwb import NWBHDF5IO
from shared_files import shared_data
from zarr_files import write_store

import nwbdyn
from nwbdyn.data.binning import bin_recording
from nwbdyn.errors import NwbdynError, ResultsError
from nwbdyn.recording import Recording, SpikeTimes
from nwbdyn.workflows.export import export

FOLDER = None if shared_data() is None else shared_data().parent / "cases"
SCRIPTS = sorted(path for kind in "tfx" for path in FOLDER.glob(f"{kind}*.py")) if FOLDER else []
PROCESS_OF_ITS_OWN = ("f04",)  # it forks and dies
REFUSED = {  # what is refused -> what the message names
    "t04": r"FOV1 0\.0 to 79\.9 s.*FOV2 100\.0 to 179\.9 s.*--plane",
    "t12": r"1506 times for 1500 samples",
    "x01": r"links to another file, '.*times\.h5'.*copy the values",
}
NOTED = {  # what is read with a note -> its code, and whether it is important
    "t01": ("clock-contradicts", True),
    "t06": ("odd-clock", True),
    "t10": ("uneven-frames", True),
    "t11": ("coarse-clock", True),
    "t13": ("broken-index", False),
    "t18": ("clock-contradicts", True),
    "t23": ("no-cells", True),
}
NOT_EXPORTED = {"f02": "session_start_time is 'unknown'"}  # and what the message names
NUM_NEURONS = {"t16": 8, "t20": 8, "t21": 8, "t24": 8}

pytestmark = pytest.mark.skipif(
    not SCRIPTS, reason="no scripts of reported cases beside the shared data (../cases)"
)


class WritesByHand:
    """Stands in for `hdmf_zarr.NWBZarrIO`, which cannot be installed beside Zarr 3.

    What it leaves has hdmf-zarr's layout; `test_zarr.py` reads stores that hdmf-zarr itself wrote.
    """

    def __init__(self, path: str, mode: str) -> None:
        self.path = Path(path)

    def __enter__(self) -> "WritesByHand":
        return self

    def __exit__(self, *raised: object) -> None:
        pass

    def export(self, src_io: NWBHDF5IO, write_args: dict) -> None:
        write_store(Path(src_io.source), self.path)


def made_by(script: Path, *arguments: object) -> None:
    """Run a script; skip where a package is missing that it needs to write its file."""
    words = [str(script), *map(str, arguments)]
    if script.name[:3] in PROCESS_OF_ITS_OWN:
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        return
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pynwb's, about what is odd in these files
        patch.setattr(sys, "argv", words)
        if script.name[0] == "z" and importlib.util.find_spec("hdmf_zarr") is None:
            patch.setitem(sys.modules, "hdmf_zarr", SimpleNamespace(NWBZarrIO=WritesByHand))
        try:
            runpy.run_path(str(script), run_name="__main__")
        except ModuleNotFoundError as error:  # hdf5plugin, which `make test` installs
            pytest.skip(f"{script.name} needs {error.name} to write its file")


def check(recording: Recording, expected: dict) -> None:
    """Compare a recording with what an independent reader of its file expects."""
    neurons, activity = recording.neurons, recording.activity
    if "per_unit" in expected:
        assert isinstance(activity, SpikeTimes)
        assert np.diff(activity.index, prepend=0).tolist() == expected["per_unit"]
        return
    times = np.asarray(activity.timestamps)
    timed = np.isfinite(times)
    if "column_mean" in expected:
        means = np.asarray(activity.data)[timed].mean(axis=0)
        np.testing.assert_allclose(means, expected["column_mean"], rtol=1e-5)  # float32 traces
    if "times" in expected:
        first, last, number = expected["times"]
        assert times[timed][[0, -1]].tolist() == pytest.approx([first, last])
        assert timed.sum() == number
    for column in ("cell_type", "x"):
        if column in expected:
            assert neurons.table[column].tolist() == expected[column]
    if "ids" in expected:
        assert neurons.ids.tolist() == expected["ids"]
    if "segments" in expected:
        assert len(np.unique(bin_recording(recording).segment)) == expected["segments"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_reported_case_comes_out_right(script, tmp_path):
    name, path = script.name[:3], tmp_path / "case.nwb"
    made_by(script, path)
    expected = json.loads(Path(f"{path}.expect.json").read_text())
    if name in REFUSED:
        with pytest.raises(NwbdynError) as refused, nwbdyn.open(str(path)):
            pass
        assert re.search(REFUSED[name], str(refused.value))
        return
    with nwbdyn.open(str(path)) as recording:
        check(recording, expected)
        if name in NUM_NEURONS:
            assert len(recording.neurons) == NUM_NEURONS[name]
        if name in NOTED:
            code, important = NOTED[name]
            assert important in [n.important for n in recording.notes if n.code == code]
        if expected.get("export"):
            fitted = nwbdyn.fit(recording, "netformer", epochs=1, options={"history": 2})
            if name in NOT_EXPORTED:
                with pytest.raises(ResultsError, match=NOT_EXPORTED[name]):
                    export(fitted, tmp_path / "out.nwb")
            else:
                assert export(fitted, tmp_path / "out.nwb").exists()


@pytest.mark.parametrize(
    "name", ["a.nwb.zarr", "moved/deep/other name.zarr", "c.nwb.zarr", "d.nwb.zarr"]
)
def test_the_reported_stores_come_out_as_the_file_they_were_made_of(name, tmp_path):
    made_by(next(FOLDER.glob("t09*.py")), tmp_path / "case.nwb")
    made_by(next(FOLDER.glob("z01*.py")), tmp_path / "case.nwb", tmp_path / "stores")
    expected = json.loads((tmp_path / "case.nwb.expect.json").read_text())
    with nwbdyn.open(str(tmp_path / "stores" / name)) as recording:
        check(recording, expected)
