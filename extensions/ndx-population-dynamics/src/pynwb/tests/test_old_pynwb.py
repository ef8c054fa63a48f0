"""Files of this extension open in pynwb 2.8.3 without it, where such an environment is given."""

import os
import subprocess

import pytest
from old_pynwb import READ

PYTHON = os.environ.get("PYTHON_WITH_PYNWB_2_8_3", "")


@pytest.mark.skipif(
    not PYTHON, reason="PYTHON_WITH_PYNWB_2_8_3 names no Python; old_pynwb.py makes one"
)
def test_files_of_every_version_open_in_pynwb_2_8_3(files):
    paths = sorted(map(str, files.glob("*.nwb")))
    done = subprocess.run([PYTHON, "-I", "-c", READ, *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("pynwb 2.8.3 reads ") == len(paths)
