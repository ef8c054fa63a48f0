"""The optimiser: torch's own numbers, without loading its compiler."""

import subprocess
import sys

import torch

from nwbdyn.models._adamw import AdamW
from nwbdyn.simulate.sample_file import sample_file

SMALL = "sample:cortex?neurons=6&duration=60"
FIT = """
import sys
from nwbdyn.cli import main
options = ["--model", "netformer", "--epochs", "2", "--set", "history=3", "-o", sys.argv[2]]
main(["fit", sys.argv[1], *options], standalone_mode=False)
print(sorted(set(sys.modules) & {"torch._dynamo", "pynwb", "sympy"}), file=sys.stderr)
"""


def descended(kind: type[torch.optim.AdamW]) -> tuple[torch.Tensor, dict]:
    """A parameter after ten steps, halfway through a new optimiser, and the last state."""
    weight = torch.nn.Parameter(torch.linspace(-1, 1, 5))
    optimiser = kind([weight], lr=0.1, weight_decay=0.5)
    for step in range(10):
        if step == 5:
            state = optimiser.state_dict()
            optimiser = kind([weight], lr=0.3)
            optimiser.load_state_dict(state)
        optimiser.zero_grad()
        (weight**3).sum().backward()
        optimiser.step()
    return weight.detach(), optimiser.state_dict()


def test_steps_and_state_are_those_of_torch():
    weight, state = descended(AdamW)
    expected, expected_state = descended(torch.optim.AdamW)
    assert torch.equal(weight, expected)
    assert str(state) == str(expected_state)


def test_a_fit_loads_neither_the_compiler_nor_what_writes_nwb(tmp_path):
    sample_file(SMALL)
    command = [sys.executable, "-c", FIT, SMALL, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
