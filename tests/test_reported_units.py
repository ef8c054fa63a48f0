"""Public bug reports about units, trials and behaviour, made into files by scripts: each is right.

The scripts lie beside the shared data; each writes a file and what an independent reader finds.
"""

import json
import runpy
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from shared_files import shared_data

import nwbdyn
from nwbdyn.data.binning import Binned, bin_recording
from nwbdyn.errors import DataError
from nwbdyn.workflows.export import export

FOLDER = None if shared_data() is None else shared_data().parent / "cases"
SCRIPTS = sorted(path for kind in "sb" for path in FOLDER.glob(f"{kind}*.py")) if FOLDER else []
REFUSED = {  # at the fit -> what the message names
    "s02": "count from each trial",
    "s03": 'never observed together.*--where "id <= 5".*--where "id >= 100"',
    "s21": r"only 0\.0004 s is common to all",
}
NOTED = {  # code of the note -> whether it is important
    "s01": ("restarting-spikes", True),
    "s02": ("relative-spikes", True),
    "s03": ("never-together", True),
    "s03b": ("unequal-intervals", True),
    "s04": ("uncounted-spikes", False),
    "s06": ("no-units", False),
    "s07": ("merged-units", False),
    "s09": ("duplicate-ids", False),
    "s13": ("stray-spikes", True),
    "s14": ("repeated-spikes", True),
    "s16": ("no-id", False),
    "s17": ("reversed-intervals", True),
    "s18": ("open-intervals", False),
    "s19": ("float-id", False),
    "s21": ("never-together", True),
    "s22": ("invalid-spikes", True),
    "s23": ("read-flags", False),
    "s24": ("no-interval-index", False),
    "b01": ("transposed", False),
    "b02": ("overlapping-trials", False),
    "b03": ("unusable-trials", True),
    "b05": ("unusable-trials", True),
    "b06": ("times-only", False),
    "b08": ("invalid-events", False),
}
NOT_COUNTED = {"s04": [1] * 8, "s13": [0, 0, 0, 1, 0, 0, 0, 0]}  # of each unit, and noted
EXPORTED = ("s07", "s08", "s09", "s12")

pytestmark = pytest.mark.skipif(
    not SCRIPTS, reason="no scripts of reported cases beside the shared data (../cases)"
)


def made_by(script: Path, path: Path) -> dict:
    """Run a script; return what it expects of the file that it wrote."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pynwb's, about what is odd in these files
        patch.setattr(sys, "argv", [str(script), str(path)])
        runpy.run_path(str(script), run_name="__main__")
    return json.loads(Path(f"{path}.expect.json").read_text())


def check_bins(binned: Binned, expected: dict, name: str) -> None:
    if "per_unit" in expected:
        counts = binned.values[binned.valid].sum(axis=0).astype(int)
        missing = NOT_COUNTED.get(name, [0] * len(counts))
        assert (counts + missing).tolist() == expected["per_unit"]
    if "column_mean" in expected:
        means = binned.values.mean(axis=0)
        np.testing.assert_allclose(means, expected["column_mean"], rtol=1e-5)  # float32 traces
    if "span" in expected:
        edges = binned.time[binned.valid][[0, -1]] + np.array([-0.5, 0.5]) * binned.bin_width
        assert edges.tolist() == pytest.approx(expected["span"])
    if name == "s17":
        inside = (binned.time > 80) & (binned.time < 120)
        assert not binned.valid[inside].any()
        assert binned.valid[~inside].all()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_reported_case_comes_out_right(script, tmp_path):
    name, path = script.stem.split("_")[0], tmp_path / "case.nwb"
    expected = made_by(script, path)
    with nwbdyn.open(str(path)) as recording:
        if "trials" in expected:
            assert len(recording.trials) == expected["trials"]
        if "events" in expected:
            assert expected["events"] in recording.intervals
        if "cell_type" in expected:
            assert recording.neurons.table["cell_type"].tolist() == expected["cell_type"]
        if "ids" in expected:
            column = "stored_id" if "stored_id" in recording.neurons.table else "id"
            assert recording.neurons.table[column].tolist() == expected["ids"]
        if script.stem.startswith("s23"):
            assert np.flatnonzero(recording.neurons.table["heldout"]).tolist() == [9, 10, 11]
        for covariate, shape in expected.get("covariate_shape", {}).items():
            assert list(recording.covariate(covariate).data.shape) == shape
        for covariate, mean in expected.get("covariate_means", {}).items():
            assert np.mean(recording.covariate(covariate).data[:]) == pytest.approx(mean)
        notes = list(recording.notes)
        if name in REFUSED:
            with pytest.raises(DataError, match=REFUSED[name]):
                bin_recording(recording)
        else:
            position = [expected["covariate"]] if "covariate" in expected else []
            named = [*position, *expected.get("covariates", [])]
            binned = bin_recording(recording, covariates=named)
            check_bins(binned, expected, name)
            notes += binned.notes
            assert len(binned.covariate_names) == len(named) + len(position)  # x and y
    important = {note.code: note.important for note in notes}
    if name in NOTED:
        code, matters = NOTED[name]
        assert important[code] == matters
    else:
        assert not any(important.values())
    if "where" in expected:
        with nwbdyn.open(str(path), where=expected["where"]) as recording:
            assert len(recording.neurons) == len(expected["per_unit"]) // 2


@pytest.mark.parametrize("name", EXPORTED)
def test_a_reported_case_is_fitted_exported_and_enriched(name, tmp_path):
    path = tmp_path / "case.nwb"
    expected = made_by(next(FOLDER.glob(f"{name}_*.py")), path)
    options = {"context": 4, "hidden": 8, "batch_size": 256}
    with nwbdyn.open(str(path)) as recording:
        made = nwbdyn.fit(recording, "synapsnet", epochs=1, options=options, bin_width=0.1)
    assert len(made.neurons) == len(expected["per_unit"])
    for enrich in (False, True):
        out = export(made, tmp_path / f"{enrich}.nwb", enrich=enrich)
        with nwbdyn.open_results(out) as results:
            assert results.neurons.ids.tolist() == made.neurons.ids.tolist()
