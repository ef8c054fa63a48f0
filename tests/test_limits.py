"""Memory limits of machine, container and process: known, and kept to before training."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_fits import LINEAR, imaging, units

from nwbdyn.cli import exhausted
from nwbdyn.data import binning, large, limits
from nwbdyn.data.limits import Memory
from nwbdyn.errors import DataError
from nwbdyn.fitting import memory_check
from nwbdyn.fitting.task import build_task

GB = 10**9
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="limits as Linux has them")


def tree(root: Path, groups: str, files: dict[str, object]) -> Path:
    """A file system that states these control groups and limits."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(groups)
    for name, limit in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{limit}\n")
    return root


@pytest.mark.parametrize(
    ("groups", "files", "size"),
    [
        ("0::/\n", {"memory.max": 8 * GB}, 8 * GB),
        ("0::/\n", {"memory.max": "max"}, None),
        ("0::/job\n", {"job/memory.max": 3 * GB}, 3 * GB),
        ("0::/job/step\n", {"job/memory.max": 3 * GB, "job/step/memory.max": "max"}, 3 * GB),
        ("0::/job/step\n", {"job/memory.max": 3 * GB, "job/step/memory.max": 2 * GB}, 2 * GB),
        ("0::/../other\n", {"memory.max": 5 * GB}, 5 * GB),  # a path that is valid outside only
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": 4 * GB}, 4 * GB),
        ("4:memory:/\n", {"memory/memory.limit_in_bytes": 9223372036854771712}, None),
        ("5:cpu,memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": 4 * GB}, 4 * GB),
        ("4:memory:/docker/1f\n", {"memory/memory.limit_in_bytes": 6 * GB}, 6 * GB),
        ("3:cpu:/a\n", {"memory/a/memory.limit_in_bytes": 4 * GB}, None),
        ("0::/\n", {"memory.max": "no number"}, None),
        ("", {}, None),
    ],
)
def test_the_least_limit_of_a_container_and_of_what_it_lies_in_counts(
    tmp_path, groups, files, size
):
    actual = limits.container(tree(tmp_path, groups, files))
    assert (actual and actual.size) == size


def test_a_container_smaller_than_the_machine_is_its_memory(tmp_path):
    root = tree(tmp_path, "0::/\n", {"memory.max": 1000})
    assert limits.memory(root) == Memory(1000, "this container has")
    root = tree(tmp_path / "large", "0::/\n", {"memory.max": 2**59})
    assert limits.memory(root) == limits.installed()
    assert limits.memory(tmp_path / "nothing") == limits.installed()


def test_arrays_larger_than_a_share_of_the_limit_are_kept_on_disk(monkeypatch, cache):
    monkeypatch.setattr(limits, "memory", lambda: Memory(4000, "this container has"))
    assert large.memmap_zeros((10, 25)).nbytes == 1000
    assert not isinstance(large.memmap_zeros((10, 25)), large.np.memmap)
    assert isinstance(large.memmap_zeros((10, 26)), large.np.memmap)


def problem(**choices: object):
    return build_task(imaging(8, 600), "netformer", seed=0, options=LINEAR, **choices)


def test_a_fit_that_memory_holds_is_not_refused():
    memory_check.check([problem()], room=Memory(10 * GB, "this machine has"))
    memory_check.check([problem()], room=Memory(10**8, "there is left", is_remainder=True))


def test_a_fit_that_memory_does_not_hold_is_refused_with_what_would_fit():
    fit_task = problem()
    assert (fit_task.binned.num_neurons, fit_task.binned.values.size) == (8, 4800)
    base, copy = 450_000_000, 4800 * 4
    half = Memory(base + 36 * copy, "this container has")  # the rule of thumb counts 72 copies
    with pytest.raises(DataError) as refused:
        memory_check.check([fit_task], room=half)
    message = str(refused.value)
    assert "this container has 0.451 GB" in message
    assert "What would fit: 4 of its 8 neurons (--where)" in message
    assert f"--bin-width {2 * fit_task.binned.bin_width:g}" in message
    assert "--seeds" not in message
    with pytest.raises(DataError, match="Nothing of it would fit here"):
        memory_check.check([fit_task], room=Memory(base // 2, "this container has"))


def test_what_many_seeds_predict_is_counted_and_fewer_are_proposed():
    just = Memory(450_000_000 + 72 * 4800 * 4, "this machine has")
    memory_check.check([problem()], room=just)
    with pytest.raises(DataError, match="or fewer --seeds"):
        memory_check.check([problem()], seeds=2, room=just)


def test_the_recordings_of_a_joint_fit_are_counted_together():
    just = Memory(450_000_000 + 72 * 4800 * 4, "this machine has")
    with pytest.raises(DataError, match="and 1 more takes"):
        memory_check.check([problem(), problem()], room=just)


def test_a_fit_is_refused_before_anything_is_written(monkeypatch, tmp_path):
    from nwbdyn.fitting.fit import fit

    run = tmp_path / "run"
    made = fit(imaging(8, 300), "netformer", epochs=1, options=LINEAR, run=run)
    before = (run / "metrics.json").read_bytes()
    monkeypatch.setattr(limits, "room", lambda: Memory(1000, "this container has"))
    with pytest.raises(DataError, match="this container has"):
        fit(imaging(8, 300), "netformer", epochs=1, options=LINEAR, run=run, overwrite=True)
    assert (run / "metrics.json").read_bytes() == before
    # what is finished is loaded, whatever memory there is
    again = fit(imaging(8, 300), "netformer", epochs=1, options=LINEAR, run=run, resume=True)
    assert again.metrics["model"] == made.metrics["model"]


def test_bins_beyond_the_address_space_are_refused_in_numbers_of_few_digits(monkeypatch):
    left = Memory(10**6, "the address space left by ulimit -v is", is_remainder=True)
    monkeypatch.setattr(limits, "addresses_left", lambda: left)
    recording = units()
    stray = recording.activity.times.copy()
    stray[-1] = 3e6
    recording = replace(
        recording,
        activity=replace(recording.activity, times=stray, intervals=np.array([[0.0, 3e6]])),
    )
    with pytest.raises(
        DataError, match=r"the address space left by ulimit -v is 0\.001 GB"
    ) as text_shown:
        binning.bin_recording(recording)
    assert "--bin-width" in str(text_shown.value)
    assert "spans 3e+06 s" in str(text_shown.value)


PROGRAM = """
import resource
from pathlib import Path
from small_fits import LINEAR, imaging
from nwbdyn.fitting.fit import fit

fit(imaging(4, 300), "netformer", epochs=1, options=LINEAR)  # what is loaded late, loaded
status = Path("/proc/self/status").read_text()
(now,) = (int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, (now + 400_000_000, resource.RLIM_INFINITY))
fit(imaging(100, 50_000), "netformer", epochs=1, options=LINEAR)
"""


@LINUX
def test_a_fit_larger_than_its_address_space_is_refused_before_training(request):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, cwd=request.path.parent
    )
    (*_, last) = done.stderr.strip().splitlines()
    assert "DataError: A fit of " in last
    assert "the address space left by ulimit -v is 0." in last
    assert "(where)" in last
    assert "bin_width" in last


@LINUX
@pytest.mark.parametrize("kilobytes", [250_000, 600_000])
def test_a_program_that_cannot_even_load_says_so_in_one_line(kilobytes):
    fit = f"{sys.executable} -m nwbdyn fit sample:cortex --model netformer"
    command = f"ulimit -v {kilobytes}; exec {fit}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = [one for one in done.stderr.splitlines() if "OpenBLAS" not in one]
    assert line.startswith("nwbdyn: Memory ran out: the address space (ulimit -v) is 0.")


@pytest.mark.parametrize(
    ("error", "is_stated"),
    [
        (MemoryError("Unable to allocate 3 TiB"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (ImportError("libx.so: failed to map segment from shared object"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("can't start new thread"), True),
        (OSError(2, "No such file"), False),
        (RuntimeError("shapes cannot be multiplied"), False),
        (SystemError("error return without exception set"), False),
    ],
)
def test_memory_that_ran_out_is_told_from_bugs(error, is_stated):
    assert (exhausted.line(error) is not None) is is_stated
