"""A mistake in a command is answered before anything heavy is imported, in whole words."""

import shlex
import subprocess
import sys

import pandas as pd
import pytest
from click.testing import CliRunner

from nwbdyn import models
from nwbdyn.cli import main, terminal
from nwbdyn.errors import ConfigError
from nwbdyn.nwb.read.summary import _column

MISTAKES = [  # arguments after `fit sample:cortex`, what stderr has
    (["--model", "netfromer"], "did you mean netformer?"),
    (["--model", "netformer", "--seeds", "0"], "0 is not in the range"),
]


@pytest.mark.parametrize(("arguments", "answer"), MISTAKES)
def test_a_mistake_is_answered_before_torch_is_imported(arguments, answer):
    program = (
        "import sys\nfrom nwbdyn.cli import main\n"
        f"try: main({['fit', 'sample:cortex', *arguments]!r})\n"
        "except SystemExit as stop: assert stop.code == 2, stop.code\n"
        "assert not {'torch', 'dandi', 'pynwb'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert answer in done.stderr


def test_a_name_of_a_model_is_checked_without_loading_it():
    models.check_name("stndt")
    with pytest.raises(ConfigError, match="did you mean stndt"):
        models.check_name("stdnt")


@pytest.mark.parametrize("address", ["s3://bucket/a.nwb", "gs://bucket/a.nwb"])
def test_a_scheme_that_is_not_read_is_named(address):
    done = CliRunner().invoke(main, ["inspect", address])
    assert done.exit_code == 1
    assert f"{address.partition(':')[0]}:// is not supported" in done.output
    assert "https URL" in done.output


def test_a_long_command_breaks_between_words_and_can_be_typed_again():
    words = ["nwbdyn", "fit", "a b.nwb", "--set", "x=1", *(f"--option-{i}" for i in range(12))]
    text = terminal.command(words)
    assert all(len(line) <= terminal.WIDTH for line in text.splitlines())
    assert len(text.splitlines()) > 1
    assert shlex.split(text.replace("\\\n", " ")) == words


def test_a_short_command_stays_on_its_line():
    assert terminal.command(["nwbdyn", "cache"]) == "  nwbdyn cache"


def test_different_values_are_counted_without_the_empty_one():
    words = [f"w{i}" for i in range(30)]
    assert _column(pd.Series([*words, "", ""])) == {"different": 30}
    assert _column(pd.Series(words)) == {"different": 30}
