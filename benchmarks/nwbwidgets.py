"""Open exported files in nwbwidgets, which needs an old pynwb: every widget of every object.

    python benchmarks/nwbwidgets.py FILE.nwb …

It makes a fresh environment in a temporary folder and installs nwbwidgets beside pynwb 2.8.3 there,
which takes a few minutes and the network. Widgets are made without a browser: accordions and tabs
are opened, so that what they show is computed. Whether a picture is right, a person sees in a
notebook.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

REQUIREMENTS = ("pynwb==2.8.3", "hdmf==3.14.6", "nwbwidgets==0.11.3", "ipython_genutils")
OPEN = """
import contextlib, io, sys, warnings
warnings.simplefilter("ignore")
import matplotlib
matplotlib.use("agg")
import pynwb
from ipywidgets import Accordion, Tab
from nwbwidgets import nwb2widget
from nwbwidgets.view import default_neurodata_vis_spec as views

failures = 0
for path in sys.argv[1:]:
    with pynwb.NWBHDF5IO(path, "r", load_namespaces=True) as file:
        nwbfile = file.read()
        with contextlib.redirect_stdout(io.StringIO()):
            nwb2widget(nwbfile, neurodata_vis_spec=views)
        for item in nwbfile.processing["population_dynamics"].data_interfaces.values():
            number = 0
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    shown = [nwb2widget(item, neurodata_vis_spec=views)]
                    while shown:
                        widget = shown.pop()
                        number += 1
                        if isinstance(widget, (Accordion, Tab)):
                            for index in range(len(widget.children)):
                                widget.selected_index = index
                        shown.extend(getattr(widget, "children", ()) or ())
                result = f"{number} widgets"
            except Exception as error:
                failures += 1
                result = f"FAILED: {error!r}"
            print(f"{path}: {type(item).__name__} {item.name}: {result}")
sys.exit(1 if failures else 0)
"""


def main() -> None:
    files = [str(Path(path).resolve()) for path in sys.argv[1:]]
    if not files:
        sys.exit("Name the exported files: python benchmarks/nwbwidgets.py FILE.nwb …")
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", *REQUIREMENTS], check=True)
        # Widgets that are garbage-collected complain at length; that matters after a failure only.
        done = subprocess.run([python, "-I", "-c", OPEN, *files], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
