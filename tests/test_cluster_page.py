"""The recipes in docs/cluster.md: every command on the page is one that the program takes."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from nwbdyn.cli.cmd_fit import command
from nwbdyn.fitting import sweep_space

PAGE = Path(__file__).resolve().parents[1] / "docs" / "cluster.md"
TEXT = PAGE.read_text("utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.M | re.S)
SCRIPTS = [body for language, body in BLOCKS if language == "bash"]
COMMANDS = [
    line
    for language, body in BLOCKS
    if language in ("", "bash")
    for line in body.splitlines()
    if "nwbdyn fit" in line
]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_on_the_page_parses(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text("grid: {history: [1]}")
    words = shlex.split(line)
    arguments = words[words.index("fit") + 1 :]
    context = command.make_context("fit", arguments)
    assert context.params["model"]
    assert context.params["run"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda text: text.splitlines()[1])
def test_a_script_on_the_page_is_one_that_bash_reads(script):
    done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_tasks_and_gpus_of_a_job_are_those_that_the_fit_asks_for():
    (script,) = (text for text in SCRIPTS if "--devices" in text)
    requested = dict(re.findall(r"#SBATCH --([\w-]+)=(\S+)", script))
    line = next(line for line in script.splitlines() if "nwbdyn fit" in line)
    words = shlex.split(line)
    given = command.make_context("fit", words[words.index("fit") + 1 :]).params
    assert str(given["nodes"]) == requested["nodes"]
    assert str(given["devices"]) == requested["ntasks-per-node"] == requested["gpus-per-node"]


def test_the_sweep_on_the_page_is_one(tmp_path):
    (body,) = (body for language, body in BLOCKS if language == "yaml")
    (tmp_path / "sweep.yaml").write_text(body)
    points = sweep_space.points(tmp_path / "sweep.yaml")
    assert len(points) == 6 + 1
