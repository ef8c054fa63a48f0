"""Leave `VERSION.nwb` in the archive: one object of every type, as this version writes it.

Run it once per released version and commit the archive; see `older_files.py`.
"""

from datetime import datetime, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

import older_files
import yaml
from ndx_population_dynamics.testing import mock
from pynwb import NWBHDF5IO, NWBFile

EXTENSION = Path(__file__).resolve().parents[3]
NAMESPACE = EXTENSION / "spec" / "ndx-population-dynamics.namespace.yaml"


def add_results(nwbfile: NWBFile, prefix: str = "") -> None:
    """One object of every type, in the processing module `population_dynamics`."""
    if "population_dynamics" in nwbfile.processing:
        module = nwbfile.processing["population_dynamics"]
    else:
        module = nwbfile.create_processing_module("population_dynamics", "Fitted models.")
    run = mock.mock_ModelRun(name=f"{prefix}model_run")
    neurons = mock.mock_NeuronsTable(name=f"{prefix}neurons")
    edges = mock.mock_ConnectivityEdgesTable(run=run, neurons=neurons, name=f"{prefix}edges")
    for item in (
        run,
        neurons,
        edges,
        mock.mock_PredictedActivitySeries(run=run, neurons=neurons, name=f"{prefix}predictions"),
        mock.mock_EdgeWeightSeries(run=run, edges=edges, name=f"{prefix}edge_weights"),
        mock.mock_CellTypeConnectivitySeries(run=run, name=f"{prefix}cell_types"),
        mock.mock_CellTypeConnectivityTable(run=run, name=f"{prefix}cell_type_pairs"),
        mock.mock_TimeResolvedConnectivity(run=run, neurons=neurons, name=f"{prefix}connectivity"),
    ):
        module.add(item)


def write_file(path: Path) -> None:
    nwbfile = NWBFile(
        session_description="Mock.",
        identifier="mock",
        session_start_time=datetime(2025, 1, 1, tzinfo=timezone.utc),  # noqa: UP017 - Python 3.10
    )
    add_results(nwbfile)
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)


def version() -> str:
    """The version that the specification states."""
    return yaml.safe_load(NAMESPACE.read_text("utf-8"))["namespaces"][0]["version"]


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{version()}.nwb"
        write_file(path)
        older_files.add([path])
