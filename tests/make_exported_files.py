"""Leave exports of this version of the extension in its archive of test files, one per form.

    python tests/make_exported_files.py

adds `VERSION_FORM.nwb` and `VERSION_expected.npz`, the numbers that the same fits give in memory,
for `test_older_files.py`. Run it before the version of the extension is raised.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import lab_files
import numpy as np
import yaml

from nwbdyn.results.fit_results import Fit
from nwbdyn.workflows.export import export

ROOT = Path(__file__).resolve().parents[1]
EXTENSION = ROOT / "extensions/ndx-population-dynamics"
FORMS = ("netformer", "gain", "attention", "static", "dense")


def fit_of(form: str) -> Fit:
    """A fit of a made-up recording, whose source names no folder of this machine."""
    lab_files.write_imaging(Path("lab.nwb"))
    fit = lab_files.fit_of(Path("lab.nwb"), form=form)
    return replace(fit, source=replace(fit.source, url="file:///lab.nwb"))


def expected(fit: Fit) -> dict[str, np.ndarray]:
    """Numbers that the exported file must give."""
    connectivity = fit.connectivity
    numbers = {
        "at": connectivity.at(15.2).to_numpy(),
        "mean": connectivity.mean().to_numpy(),
        "predictions": np.asarray(fit.predictions.values),
        "weight": fit.edges["weight"].to_numpy(),
    }
    if fit.currents is not None:
        numbers["currents"] = fit.currents
    if fit.influence is not None:
        numbers["influence"] = fit.influence.mean().to_numpy()
    if connectivity.form in ("netformer", "gain", "attention"):
        numbers["contributions"] = connectivity.contributions().mean().to_numpy()
    return numbers


def main() -> None:
    sys.path.append(str(EXTENSION / "src/pynwb/tests"))
    import older_files

    namespace = EXTENSION / "spec/ndx-population-dynamics.namespace.yaml"
    version = yaml.safe_load(namespace.read_text("utf-8"))["namespaces"][0]["version"]
    numbers = {}
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        paths = [Path(f"{version}_{form}.nwb") for form in FORMS]
        for form, path in zip(FORMS, paths, strict=True):
            fit = fit_of(form)
            export(fit, path)
            numbers |= {f"{form}_{name}": array for name, array in expected(fit).items()}
        np.savez_compressed(f"{version}_expected.npz", **numbers)
        older_files.add([*paths, Path(f"{version}_expected.npz")])


if __name__ == "__main__":
    main()
