"""A fit for which the memory is too small says so in one line, with a batch size to try."""

import subprocess
import sys

import pytest

from nwbdyn.training import out_of_memory

# Room for half of what one batch takes: 2,000 windows of 200 neurons in 200 dimensions, float32.
ROOM = 160_000_000
PROGRAM = f"""
import resource
from pathlib import Path
import torch
from small_fits import LINEAR, imaging
from nwbdyn.fitting import memory_check
from nwbdyn.fitting.fit import fit

memory_check.check = lambda *tasks, **seeds: None  # a rule of thumb may be too low

torch.set_num_threads(1)
options = LINEAR | {{"embedding": 200, "batch_size": 2000}}
recording = imaging(200, 3000)
fit(imaging(4, 300), "netformer", epochs=1, options=LINEAR)  # what is loaded late, loaded
status = Path("/proc/self/status").read_text()
(now,) = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (now + {ROOM}, resource.RLIM_INFINITY))
fit(recording, "netformer", epochs=1, options=options)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, as Linux has it")
def test_too_little_memory_is_said_with_a_batch_size_to_try(request):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        cwd=request.path.parent,
    )
    (*_, last) = done.stderr.strip().splitlines()
    assert "FitError: The memory is too small for batches of 2000 windows." in last
    assert "Set batch_size to 1000 or less" in last


def test_a_batch_of_one_window_cannot_be_halved():
    assert "Set batch_size to 16 or less" in out_of_memory.advice(32)
    assert "batch_size to" not in out_of_memory.advice(1)


def test_other_errors_are_not_taken_for_it():
    assert out_of_memory.ran_out(MemoryError("Unable to allocate 3 TiB"))
    assert not out_of_memory.ran_out(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
