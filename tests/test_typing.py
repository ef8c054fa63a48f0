"""Both packages are typed: a user's script passes a strict type checker."""

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).with_name("typed_example.py")


def checked(path: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Mypy on one file, in strict mode, as a user's project would run it."""
    settings = tmp_path / "mypy.ini"
    settings.write_text("[mypy]\nstrict = True\nfollow_imports = silent\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings), str(path)]
    command += ["--cache-dir", str(tmp_path / "cache"), "--ignore-missing-imports"]
    return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)


def test_a_script_that_uses_the_package_is_typed(tmp_path):
    done = checked(EXAMPLE, tmp_path)
    assert done.returncode == 0, done.stdout


def test_a_wrong_argument_in_a_script_is_noticed(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(EXAMPLE.read_text("utf-8").replace("seed=0", 'seed="zero"'))
    done = checked(wrong, tmp_path)
    assert done.returncode == 1
    assert "seed" in done.stdout
