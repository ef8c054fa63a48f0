"""A message names `--overwrite` on the command line and `overwrite=True` in Python."""

import inspect

import pytest
from click.testing import CliRunner
from small_fits import imaging

import nwbdyn
from nwbdyn.cli import main
from nwbdyn.errors import ResultsError
from nwbdyn.spelling import FLAGS, KEYWORDS, in_python

ROWS = [
    ("x exists. Pass --overwrite to replace it.", "x exists. Pass overwrite=True to replace it."),
    ("Pass --bin-width 0.005.", "Pass bin_width=0.005."),
    ("add --null shift:20 before", 'add null="shift:20" before'),
    ("--set learning_rate=X (now 0.001)", 'options={"learning_rate": X} (now 0.001)'),
    ("--set preset=paper", 'options={"preset": "paper"}'),
    ("Pass --subject species=VALUE.", 'Pass subject={"species": VALUE}.'),
    ("Pass --device cpu or auto.", 'Pass device="cpu" or auto.'),
    ("a larger --bin-width", "a larger bin_width"),
    ("--states simulates only", "states simulates only"),
    ("leave out --covariate speed", "leave out covariates speed"),
    ("Pass --plane NAME to take one", "Pass plane=NAME to take one"),
    ("Pass --overwrite, or -o with another name.", "Pass overwrite=True, or another name."),
    ("try `nwbdyn fit a.nwb --model stndt`", "try `nwbdyn fit a.nwb --model stndt`"),
]


@pytest.mark.parametrize(("message", "python"), ROWS)
def test_options_become_keyword_arguments(message, python):
    assert in_python(message) == python


def test_every_renamed_option_is_a_keyword_of_fit():
    keywords = inspect.signature(nwbdyn.fit).parameters
    assert set(KEYWORDS.values()) <= set(keywords)
    assert "overwrite" in FLAGS
    assert "overwrite" in keywords


@pytest.fixture
def no_command_line(monkeypatch):
    """Undo the spelling that the other tests read messages in."""
    monkeypatch.setattr("nwbdyn.errors.spelled", in_python)


def test_python_reads_of_keywords_and_the_terminal_of_options(no_command_line, tmp_path):
    options = {"history": 4, "batch_size": 256}
    nwbdyn.fit(imaging(), "netformer", epochs=1, options=options, run=tmp_path / "run")
    with pytest.raises(ResultsError, match="Pass overwrite=True to replace it"):
        nwbdyn.fit(imaging(), "netformer", epochs=1, options=options, run=tmp_path / "run")


def test_the_terminal_reads_of_options(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    done = CliRunner().invoke(
        main, ["fit", "sample:cortex", "--model", "netformer", "-o", str(tmp_path / "run")]
    )
    assert done.exit_code == 1
    assert "Pass --overwrite to replace it" in done.output
