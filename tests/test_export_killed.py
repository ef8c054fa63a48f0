"""Whoever kills an export at any moment finds no target, or the old one, or the whole new one."""

import json
import subprocess
import sys

import lab_files
import pytest

from nwbdyn.workflows.export import export

# A warm process forks once per kill, so that a kill falls into the export and not into the imports.
PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
import nwbdyn
from nwbdyn.results import fit_results
from nwbdyn.workflows.export import export

run, folder, old, kills = sys.argv[1:]
folder, kills = Path(folder), int(kills)
fit = fit_results.load(Path(run))
old = Path(old).read_bytes()

def kill_many(target, enrich):
    def write():
        export(fit, target, enrich=enrich, overwrite=True)

    target.parent.mkdir()
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
        left = [item.name for item in target.parent.iterdir() if "partial" in item.name]
    return {"seen": seen, "left": left}

print(json.dumps([kill_many(folder / str(enrich) / "x.nwb", enrich) for enrich in (False, True)]))
"""


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_a_killed_export_leaves_the_target_absent_old_or_whole(tmp_path, kills):
    source = lab_files.write_imaging(tmp_path / "lab.nwb")
    before = source.read_bytes()
    run = lab_files.fit_of(source).save(tmp_path / "run")
    old = export(lab_files.fit_of(source, form="static"), tmp_path / "old.nwb")
    folder = tmp_path / "out"
    folder.mkdir()
    command = [sys.executable, "-c", PROGRAM, run, folder, old, kills]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    alone_and_enriched = json.loads(done.stdout)
    assert len(alone_and_enriched) == 2
    for reported in alone_and_enriched:
        assert reported["left"] == []  # the last export cleared what the kills had left
        assert reported["seen"]["killed"] >= kills // 2, reported
    assert source.read_bytes() == before
