"""Which neurons and traces to take, in Python and on the command line, and how a fit remembers."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from nwb_files import made, nwb, rois, traces, units

import nwbdyn
from nwbdyn.cli import main
from nwbdyn.data import selection
from nwbdyn.errors import ConfigError, DataError, ReadError

QUICK = ["--epochs", "1", "--set", "history=3", "--set", "batch_size=64"]


@pytest.fixture
def spikes(tmp_path) -> Path:
    """Six units of 200 to 700 spikes in 100 s, with their quality and layer."""
    draw = np.random.default_rng(0)
    with nwb(tmp_path / "spikes.nwb") as file:
        units(
            file,
            spikes=[np.sort(draw.uniform(0, 100, 200 + 100 * unit)).tolist() for unit in range(6)],
            quality=["good", "mua", "good", "good", "mua", "good"],
            layer=["L2", "L2", "L5", "L5", "L5", ""],
        )
        file["units/obs_intervals"] = np.tile([[0.0, 100.0]], (6, 1))
        file["units/obs_intervals_index"] = np.arange(1, 7)
    return tmp_path / "spikes.nwb"


@pytest.fixture
def imaging(tmp_path) -> Path:
    """Two planes of four ROIs each, 300 frames."""
    draw = np.random.default_rng(0)
    with nwb(tmp_path / "imaging.nwb") as file:
        for name in ("upper", "lower"):
            table = rois(file, name, 4)
            data = made(300, 4) / 100 + draw.normal(size=(300, 4))
            traces(file, f"dff_{name}", rois=table, data=data)
    return tmp_path / "imaging.nwb"


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_neurons_are_kept_by_a_condition(spikes):
    with nwbdyn.open(str(spikes), where="quality == 'good'") as recording:
        assert recording.neurons.ids.tolist() == [0, 2, 3, 5]
        assert recording.chosen == {"where": "quality == 'good'"}
        assert len(recording.activity.of(1)) == 400


def test_rates_are_those_of_the_spikes_and_the_time_observed(spikes):
    with nwbdyn.open(str(spikes), where="quality == 'good' and firing_rate > 4.5") as recording:
        assert recording.neurons.ids.tolist() == [3, 5]
    with nwbdyn.open(str(spikes), where="num_spikes == 300") as recording:
        assert recording.neurons.ids.tolist() == [1]


def test_a_second_condition_is_remembered_beside_the_first(spikes):
    with nwbdyn.open(str(spikes), where="quality == 'good'") as recording:
        kept = selection.where(recording, "id > 2")
        assert kept.neurons.ids.tolist() == [3, 5]
        assert kept.chosen == {"where": "(quality == 'good') and (id > 2)"}


def test_cell_types_come_from_a_file_and_can_be_asked_for(spikes, tmp_path):
    labels = tmp_path / "types.csv"
    labels.write_text("id,cell_type\n0,PV\n3,SST\n5,PV\n")
    with nwbdyn.open(str(spikes), cell_types=labels, where="cell_type == 'PV'") as recording:
        assert recording.neurons.ids.tolist() == [0, 5]
        assert recording.neurons.cell_type_source == labels.name
        digest = hashlib.sha256(labels.read_bytes()).hexdigest()
        assert recording.chosen == {
            "cell_types": str(labels),
            "cell_types_digest": f"sha256:{digest}",
            "where": "cell_type == 'PV'",
        }


def test_a_file_wins_over_a_column_and_leaves_the_rest(spikes, tmp_path):
    labels = tmp_path / "types.csv"
    labels.write_text("id,cell_type\n0,PV\n")
    with nwbdyn.open(str(spikes), cell_type_column="layer", cell_types=labels) as recording:
        assert recording.neurons.table["cell_type"].tolist() == ["PV", "L2", "L5", "L5", "L5", ""]


@pytest.mark.parametrize("content", [None, "", "id,type\n0,PV\n", "id,cell_type\n99,PV\n", "\0"])
def test_a_file_of_cell_types_that_does_not_fit_is_named(spikes, tmp_path, content):
    labels = tmp_path / "types.csv"
    if content is not None:
        labels.write_text(content)
    with pytest.raises(DataError, match=r"types\.csv"):
        nwbdyn.open(str(spikes), cell_types=labels)


def test_one_plane_is_read_on_its_own(imaging):
    with nwbdyn.open(str(imaging), plane="upper") as recording:
        assert len(recording.neurons) == 4
        assert recording.activity.series_path == "/processing/ophys/DfOverF/dff_upper"
    with pytest.raises(ReadError, match="no plane named 'middle'; it has: lower, upper"):
        nwbdyn.open(str(imaging), plane="middle")


def test_a_file_that_was_not_understood_is_closed(spikes, tmp_path):
    with pytest.raises(ConfigError, match="depth"):
        nwbdyn.open(str(spikes), where="depth > 3")
    spikes.rename(tmp_path / "moved.nwb")


def test_inspect_shows_what_is_kept_and_repeats_the_choice(spikes):
    shown = run("inspect", spikes, "--where", "layer == 'L5'", "--cell-type-column", "layer")
    assert "3 units" in shown.output
    assert "L5 3" in shown.output
    command = shown.output.splitlines()[-1]
    assert command.endswith("--cell-type-column layer --where 'layer == '\"'\"'L5'\"'\"''")
    result = run("inspect", spikes, "--where", "layer == 'L5'", "--json")
    (listed,) = json.loads(result.stdout)["recordings"]
    assert listed["neurons"]["count"] == 3
    assert listed["chosen"] == {"where": "layer == 'L5'"}


def test_a_fit_remembers_what_was_chosen(spikes, tmp_path):
    labels = tmp_path / "types.csv"
    labels.write_text("id,cell_type\n0,PV\n")
    choice = ["--where", "quality == 'good'", "--cell-types", labels]
    arguments = ["fit", spikes, "--model", "netformer", "-o", tmp_path / "run", *choice, *QUICK]
    fitted = run(*arguments, "--bin-width", "0.1")
    assert fitted.exit_code == 0, fitted.output
    fit = nwbdyn.load(tmp_path / "run")
    assert fit.neurons.ids.tolist() == [0, 2, 3, 5]
    chosen = fit.binning["chosen"]
    assert chosen["where"] == "quality == 'good'"
    del chosen["cell_types_digest"]
    with nwbdyn.open(fit.source.uri, **chosen) as again:
        assert again.neurons.table["cell_type"].tolist() == ["PV", "", "", ""]
    resumed = run(*arguments, "--where", "id > 0", "--bin-width", "0.1", "--resume")
    assert resumed.exit_code == 1
    assert "quality == 'good'" in resumed.output


def test_a_plane_is_fitted_alone(imaging, tmp_path):
    arguments = ["fit", imaging, "--model", "netformer", "-o", tmp_path / "run", *QUICK]
    fitted = run(*arguments, "--plane", "lower")
    assert fitted.exit_code == 0, fitted.output
    fit = nwbdyn.load(tmp_path / "run")
    assert len(fit.neurons) == 4
    assert fit.binning["chosen"] == {"plane": "lower"}
    assert fit.binning["series_path"] == "/processing/ophys/DfOverF/dff_lower"


@pytest.mark.parametrize(
    ("option", "word", "code"),
    [
        (["--where", "depth > 3"], "there are: id, quality, layer", 2),
        (["--where", "id > 99"], "None of the 6 neurons", 1),
        (["--plane", "upper"], "no plane", 1),
        (["--cell-type-column", "kind"], "no column 'kind'", 1),
        (["--quantity", "volts"], "Choose from: counts", 2),
    ],
)
def test_a_choice_that_is_not_there_is_one_line(spikes, tmp_path, option, word, code):
    result = run("fit", spikes, "--model", "netformer", "-o", tmp_path / "run", *option)
    assert result.exit_code == code
    assert len(result.stderr.strip().splitlines()) == 1
    if word != "no plane":
        assert word in result.stderr
    assert not (tmp_path / "run").exists()
