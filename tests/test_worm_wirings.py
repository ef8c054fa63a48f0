"""`worm:NAME`: published wirings of C. elegans through cect, which the tests do not install."""

import importlib.util
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from lab_files import fit_of, write_units

import nwbdyn
from nwbdyn.cli import main
from nwbdyn.errors import ConfigError
from nwbdyn.evaluation import worm_wirings

HAS_CECT = importlib.util.find_spec("cect") is not None


def test_rows_send_and_columns_receive_and_classes_add_up():
    acetylcholine = np.array([[0, 2, 0], [0, 0, 0], [1, 0, 0]])
    glutamate = np.array([[0, 1, 0], [0, 0, 4], [0, 0, 0]])
    table = worm_wirings.table_of(["A", "B", "C"], {"ACh": acetylcholine, "Glu": glutamate})
    assert list(table.itertuples(index=False, name=None)) == [
        ("A", "B", 3.0),
        ("B", "C", 4.0),
        ("C", "A", 1.0),
    ]


def test_without_cect_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cect.Utils", None)
    with pytest.raises(ConfigError, match=r"pip install 'nwbdyn\[worm\]'"):
        worm_wirings.edges("worm:White_whole")


def test_an_unknown_kind_of_synapse_is_refused_before_cect_is_loaded():
    with pytest.raises(ConfigError, match="No kind of synapse named 'electric'"):
        worm_wirings.edges("worm:White_whole:electric")


def test_a_file_that_is_not_there_is_a_wrong_command_line(tmp_path):
    result = CliRunner().invoke(main, ["validate", str(tmp_path), "--edges", "no.csv"])
    assert result.exit_code == 2
    assert "no file 'no.csv'" in result.stderr


def test_validate_takes_the_name_of_a_wiring(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cect.Utils", None)
    fit = fit_of(write_units(tmp_path / "a.nwb"))
    with pytest.raises(ConfigError, match="cect is not installed here"):
        nwbdyn.validate(fit, "worm:White_whole")


@pytest.mark.skipif(not HAS_CECT, reason="cect is not installed")
@pytest.mark.filterwarnings("ignore")
def test_cects_white_is_nemanodes_white(data):
    """Numbers of synapses agree on every pair that both data sets have."""
    import json

    listed = json.loads((data / "truth" / "celegans_connectome_white_1986_whole.json").read_text())
    known = {(one["pre"], one["post"]): sum(one["syn"]) for one in listed if one["typ"] == 0}
    table = worm_wirings.edges("worm:White_whole")
    ours = {(pre, post): weight for pre, post, weight in table.itertuples(index=False)}
    both = known.keys() & ours.keys()
    assert len(both) > 2000
    assert {pair: ours[pair] for pair in both} == {pair: known[pair] for pair in both}
    with pytest.raises(ConfigError, match="did you mean White_whole"):
        worm_wirings.edges("worm:White_wole")
