"""Cost of an exported file of a large recording: bytes, memory, and time of a read.

    python benchmarks/export.py [--neurons N] [--bins T] [--forms FORM …] [--folder FOLDER]

A fit is made up at full size (its content does not matter here, its sizes do) and exported by a
process of its own, whose peak memory includes the whole fit, as that of `nwbdyn export` does (which
leaves the recorded activity in the run directory). Then the file is opened and asked for one matrix
at a random time and for one edge over all time. Before each question the file is dropped from the
system's cache, so it comes from the disk. Times are the median over the questions, as they passed
and as CPU time of the process, because other programs may share the machine.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection as Line
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from machine import publish, table
from scipy.signal import lfilter

import nwbdyn
from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.data.splits import GAP, TEST, TRAIN, VAL
from nwbdyn.recording import Neurons, Source
from nwbdyn.results.fit_results import Fit, Predictions

CONTEXT, WIDTH, BIN = 5, 30, 0.1
QUESTIONS = 20
BLOCK = 4000  # bins that are made up


def make_fit(form: str, num_neurons: int, num_bins: int) -> Fit:
    """A fit whose numbers mean nothing."""
    draw = np.random.default_rng(0)
    types = np.array(["Pvalb", "Sst", "Vip", "pyramidal"])[np.arange(num_neurons) % 4]
    neurons = Neurons(pd.DataFrame({"id": np.arange(num_neurons), "cell_type": types}), "roi")
    time_ = BIN * np.arange(num_bins)
    last = np.arange(CONTEXT - 1, num_bins)
    if form == "netformer":
        feature = CONTEXT + WIDTH
        arrays = {
            "activity": activity(draw, num_bins, num_neurons),
            "last": last,
            "embedding": small(draw, num_neurons, WIDTH),
            "query": small(draw, feature, feature),
            "key": small(draw, feature, feature),
            "norm_gain": np.ones(feature, np.float32),
            "norm_bias": np.zeros(feature, np.float32),
        }
        attributes: dict[str, float | int | str | bool] = {
            "context": CONTEXT,
            "scale": feature**-0.5,
        }
    else:
        gains = activity(draw, num_bins, num_neurons)[CONTEXT - 1 :]
        arrays = {"A": small(draw, num_neurons, num_neurons), "g": gains}
        attributes = {}
    connectivity = Connectivity(
        form,
        time_[last],
        (-(CONTEXT - 0.5) * BIN, 0.5 * BIN),
        neurons,
        "z per z",
        True,
        arrays,
        attributes,
    )
    chosen = np.zeros(len(last), bool)
    chosen[:: len(last) // 200] = True
    edges = connectivity.edges(100_000, mask=chosen)
    edges.attrs = {"num_pairs": num_neurons * (num_neurons - 1), "kept_share": 0.5}
    predictions = activity(draw, num_bins, num_neurons)
    cut = [num_bins * share // 100 for share in (70, 5, 10, 5)]
    cut.append(num_bins - sum(cut))
    return Fit(
        model="netformer" if form == "netformer" else "synapsnet",
        config={},
        binning={"bin_width": BIN, "quantity": "dff"},
        split={},
        history=(),
        metrics={"model": {"test": {"r2": 0.5}}},
        predictions=Predictions(
            predictions,
            time_,
            BIN,
            np.zeros(num_neurons, bool),
            np.repeat(np.array([TRAIN, GAP, VAL, GAP, TEST], np.int8), cut),
            "dff",
            1,
            neurons,
        ),
        connectivity=connectivity,
        edges=edges,
        neurons=neurons,
        source=Source("made-up.nwb", "file:///made-up.nwb"),
        session={"identifier": "made-up", "session_start_time": "2026-01-01T00:00:00+00:00"},
        versions={},
        seed=0,
        device="cpu",
        currents=None if form == "netformer" else predictions.copy(),
    )


def activity(draw: np.random.Generator, num_bins: int, num_neurons: int) -> np.ndarray:
    """(num_bins, num_neurons) slow noise; the same BLOCK bins again and again.

    gzip looks back over 32 kB only, so they compress no better for it.
    """
    noise = draw.standard_normal((min(BLOCK, num_bins), num_neurons))
    block = lfilter([0.4], [1, -0.9], noise, axis=0).astype(np.float32)
    return np.tile(block, (-(-num_bins // len(block)), 1))[:num_bins]


def small(draw: np.random.Generator, *shape: int) -> np.ndarray:
    return (draw.standard_normal(shape) * shape[-1] ** -0.5).astype(np.float32)


def export(form: str, num_neurons: int, num_bins: int, path: Path, reported: Line) -> None:
    """Make a fit and export it; tells peak memory in GB and the seconds of the export."""
    fit = make_fit(form, num_neurons, num_bins)
    begun = time.perf_counter(), time.process_time()
    nwbdyn.export(fit, path)
    took = time.perf_counter() - begun[0], time.process_time() - begun[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    reported.send((peak, *took))


def factor_bytes(path: Path) -> int:
    """Bytes that everything a matrix follows from takes in the file."""
    import h5py

    with h5py.File(path, "r") as file:
        (group,) = (
            item
            for name, item in file["processing/population_dynamics"].items()
            if name.endswith("_connectivity")
        )
        (component,) = (item for item in group.values() if isinstance(item, h5py.Group))
        arrays = [group["timestamps"], *component.values()]
        return sum(array.id.get_storage_size() for array in arrays)


def ask(path: Path, question: Callable[[Connectivity, int], object]) -> tuple[float, float]:
    """Median (seconds, CPU seconds) of a question, each one from the disk."""
    passed, worked = [], []
    with nwbdyn.open_results(path) as fit:
        question(fit.connectivity, 0)  # imports and the evaluator are not what is measured
        for number in range(1, QUESTIONS + 1):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            begun, cpu = time.perf_counter(), time.process_time()
            question(fit.connectivity, number)
            passed.append(time.perf_counter() - begun)
            worked.append(time.process_time() - cpu)
    return median(passed), median(worked)


def one_matrix(connectivity: Connectivity, number: int) -> object:
    times = connectivity.time
    return connectivity.at(times[(number * 7919 * 13) % len(times)])


def one_edge(connectivity: Connectivity, number: int) -> object:
    ids = connectivity.neurons.ids
    pre, post = ids[(37 * number) % len(ids)], ids[(101 * number + 5) % len(ids)]
    return connectivity.over_time(pre=pre, post=post)


def measure(form: str, num_neurons: int, num_bins: int, folder: Path) -> list[str]:
    path = folder / f"{form}.nwb"
    hear, tell = Pipe(duplex=False)
    child = Process(target=export, args=(form, num_neurons, num_bins, path, tell))
    child.start()
    peak, took, worked = hear.recv()
    child.join()
    dense = 4 * num_neurons**2 * num_bins
    factors = factor_bytes(path)
    matrix, edge = ask(path, one_matrix), ask(path, one_edge)
    return [
        form,
        f"{factors / 1e6:,.0f} MB, {factors / dense:.2%} of {dense / 1e9:,.0f} GB",
        f"{path.stat().st_size / 1e6:,.0f} MB",
        f"{peak:.2f} GB",
        f"{took:.0f} s ({worked:.0f} s CPU)",
        f"{1000 * matrix[0]:.0f} ms ({1000 * matrix[1]:.0f} ms CPU)",
        f"{1000 * edge[0]:.0f} ms ({1000 * edge[1]:.0f} ms CPU)",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neurons", type=int, default=1000)
    parser.add_argument("--bins", type=int, default=100_000)
    parser.add_argument("--forms", nargs="+", default=["netformer", "gain"])
    parser.add_argument("--folder", type=Path, help="where the files go, and stay")
    arguments = parser.parse_args()
    header = [
        "form",
        "factors",
        "file",
        "peak memory",
        "export",
        "one matrix",
        "one edge, all time",
    ]
    with TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        rows = [
            measure(form, arguments.neurons, arguments.bins, folder) for form in arguments.forms
        ]
    publish(
        "export",
        f"{arguments.neurons:,} neurons, {arguments.bins:,} bins.\n\n{table(header, rows)}",
    )


if __name__ == "__main__":
    main()
