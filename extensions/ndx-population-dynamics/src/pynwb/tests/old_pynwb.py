"""Proof that files of this extension open with their types in an old pynwb without it.

    python old_pynwb.py FILE.nwb …        (by default every file in `files/`)

It makes a fresh environment in a temporary folder, installs pynwb 2.8.3 with the hdmf of its time
there, and reads the files in it. That takes a minute and the network, so it is not among the tests.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

REQUIREMENTS = ["pynwb==2.8.3", "hdmf==3.14.6"]
READ = """
import sys, warnings
warnings.simplefilter("ignore")
import pynwb
for path in sys.argv[1:]:
    with pynwb.NWBHDF5IO(path, "r", load_namespaces=True) as io:
        module = io.read().processing["population_dynamics"]
        names = sorted(type(item).__name__ for item in module.data_interfaces.values())
        assert "ModelRun" in names and "PredictedActivity" in names, names
        edges = [item for item in module.data_interfaces.values()
                 if type(item).__name__ == "ConnectivityEdges"]
        assert all(table["pre"][0]["source_id"].size for table in edges)
        print(f"pynwb {pynwb.__version__} reads {path}: {', '.join(names)}")
"""

if __name__ == "__main__":
    files = sys.argv[1:] or sorted(map(str, (Path(__file__).parent / "files").glob("*.nwb")))
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", *REQUIREMENTS], check=True)
        subprocess.run([python, "-I", "-c", READ, *files], check=True)
