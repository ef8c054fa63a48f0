"""Open files of this extension with their types in an old pynwb, without the extension.

    python old_pynwb.py FILE.nwb …        (by default every file of `older_files.py`)

It makes a fresh environment in a temporary folder, installs pynwb 2.8.3 with the hdmf of its time
there, and reads the files in it. That takes a minute and the network, so it is not among the tests.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

import older_files

REQUIREMENTS = ["pynwb==2.8.3", "hdmf==3.14.6"]
READ = """
import sys, warnings
warnings.simplefilter("ignore")
import pynwb
for path in sys.argv[1:]:
    with pynwb.NWBHDF5IO(path, "r", load_namespaces=True) as io:
        module = io.read().processing["population_dynamics"]
        objects = module.data_interfaces.values()
        names = sorted(type(item).__name__ for item in objects)
        assert "ModelRun" in names, names
        for item in objects:
            if type(item).__name__ == "ConnectivityEdgesTable":
                frame = item.to_dataframe()
                assert {"pre", "post", "kind", "lag", "weight"} <= set(frame), frame
            if type(item).__name__ == "ConnectivityEdges":  # of 0.1 and 0.2
                assert item["pre"][0]["source_id"].size
            if type(item).__name__ == "TimeResolvedConnectivity":
                assert item.connectivity_components
        print(f"pynwb {pynwb.__version__} reads {path}: {', '.join(names)}")
"""

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        unpacked = older_files.unpack(Path(folder) / "files")
        files = sys.argv[1:] or sorted(map(str, unpacked.glob("*.nwb")))
        environment = Path(folder) / "environment"
        venv.create(environment, with_pip=True)
        python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", *REQUIREMENTS], check=True)
        subprocess.run([python, "-I", "-c", READ, *files], check=True)
