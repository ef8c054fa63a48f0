"""Whoever kills an export at any moment finds no target, or the old one, or the whole new one."""

import subprocess
import sys

import lab_files
import pytest

from nwbdyn.nwb.write import export

# A warm process forks once per kill, so that a kill falls into the export and not into the imports.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
import nwbdyn
from nwbdyn.runs import results
from nwbdyn.nwb.write import export

run, target, old, enrich, kills = sys.argv[1:]
run, target, enrich, kills = Path(run), Path(target), enrich == "True", int(kills)
fit = results.load(run)
old = Path(old).read_bytes()

def write():
    export(fit, target, enrich=enrich, overwrite=True)

start = time.monotonic(); write(); duration = time.monotonic() - start
target.unlink()
seen = {"absent": 0, "old": 0, "whole": 0, "killed": 0}
for number in range(kills):
    there = number % 2 == 1
    if there:
        target.write_bytes(old)
    child = os.fork()
    if child == 0:
        write()
        os._exit(0)
    time.sleep(duration * (number + 0.5) / kills)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    seen["killed"] += os.WIFSIGNALED(status)
    if not target.exists():
        assert not there, "the old file is gone"
        seen["absent"] += 1
    elif target.read_bytes() == old:
        assert there
        seen["old"] += 1
    else:
        with nwbdyn.open_results(target) as back:
            assert (back.connectivity.mean() == fit.connectivity.mean()).all()
        seen["whole"] += 1
    target.unlink(missing_ok=True)
write()  # what a kill left beside the target is no obstacle
with nwbdyn.open_results(target):
    print(seen, [item.name for item in target.parent.iterdir() if "partial" in item.name])
"""


@pytest.mark.parametrize("enrich", [False, True])
@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_a_killed_export_leaves_the_target_absent_old_or_whole(tmp_path, enrich, kills):
    source = lab_files.write_imaging(tmp_path / "lab.nwb")
    before = source.read_bytes()
    fit = lab_files.fit_of(source)
    run = fit.save(tmp_path / "run")
    old = export(lab_files.fit_of(source, form="static"), tmp_path / "old.nwb")
    folder = tmp_path / "out"
    folder.mkdir()
    program = [sys.executable, "-c", PROGRAM]
    arguments = [str(run), str(folder / "x.nwb"), str(old), str(enrich), str(kills)]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seen = done.stdout
    assert seen.strip().endswith("[]"), seen  # the last export cleared what the kills had left
    killed = int(seen.split("'killed': ")[1].split("}")[0])
    assert killed >= kills // 2, seen
    assert source.read_bytes() == before
