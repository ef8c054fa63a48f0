"""Reading a part of a remote NWB file: this reader beside the ways there are today.

    python benchmarks/streaming.py [--folder DIR] [--repeats K]

The window task: all spikes, trials, running, cell types and the first 10 minutes of ROI traces of
an hour's recording with a raw ElectricalSeries that nobody asked for, in four chunk layouts, from a
server 40 ms away. And opening a file of 40 interval tables written in 40 passes. Every reader runs
in a process of its own, without anything kept from before; they take turns, and the best of the
repeats counts, because other programs on the machine only ever add.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import h5py
import numpy as np
import requests
from machine import publish, table

PORT = 9431
SERVER = f"http://127.0.0.1:{PORT}"
LAYOUTS = ("gzip", "contiguous", "small", "paged")
TABLES = "tables"
NUM_FRAMES, NUM_ROIS, WINDOW = 108_000, 500, 18_000
NUM_UNITS, SPIKES_PER_UNIT = 200, 18_000


def make(path: Path, layout: str) -> None:
    """An hour's recording: 200 units, 500 ROIs, behaviour, trials and a raw series."""
    from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries
    from pynwb.ecephys import ElectricalSeries
    from pynwb.ophys import DfOverF, ImageSegmentation, OpticalChannel, PlaneSegmentation
    from pynwb.ophys import RoiResponseSeries as Rois

    draw = np.random.default_rng(0)

    def stored(values: np.ndarray) -> object:
        if layout == "contiguous":
            return values
        row = values.nbytes // len(values)
        rows = min(len(values), max(1, int(10e6) // row))
        chunks = True if layout == "small" else (rows, *values.shape[1:])
        return H5DataIO(values, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True)

    content = NWBFile("benchmark", "benchmark", datetime(2024, 1, 2, tzinfo=UTC))
    device = content.create_device("device")
    channel = OpticalChannel(name="channel", description="-", emission_lambda=500.0)
    plane = content.create_imaging_plane(
        name="plane", optical_channel=channel, description="-", device=device,
        excitation_lambda=900.0, indicator="-", location="-",
    )  # fmt: skip
    rois = PlaneSegmentation(description="-", imaging_plane=plane, name="PlaneSegmentation")
    for number in range(NUM_ROIS):
        rois.add_roi(pixel_mask=[(number, number, 1.0)])
    rois.add_column("cell_type", "-", data=["a", "b"] * (NUM_ROIS // 2))
    region = rois.create_roi_table_region("all", region=list(range(NUM_ROIS)))
    traces = np.round(draw.standard_normal((NUM_FRAMES, NUM_ROIS), np.float32), 2)
    series = Rois(name="dff", data=stored(traces), rois=region, unit="n.a.", rate=30.0)
    module = content.create_processing_module("ophys", "-")
    module.add(ImageSegmentation(plane_segmentations=[rois]))
    module.add(DfOverF(roi_response_series=series))
    clock = np.arange(0, 3600, 1 / 60)
    behavior = content.create_processing_module("behavior", "-")
    for name in ("running", "pupil"):
        walk = stored(np.cumsum(draw.standard_normal(len(clock))))
        behavior.add(TimeSeries(name=name, data=walk, unit="m", timestamps=stored(clock.copy())))
    for number in range(600):
        content.add_trial(start_time=number * 6.0, stop_time=number * 6.0 + 4)
    group = content.create_electrode_group("group", "-", "-", device)
    for _ in range(64):
        content.add_electrode(group=group, location="-")
    electrodes = content.create_electrode_table_region(list(range(64)), "-")
    raw = draw.integers(-300, 300, (300_000, 64), np.int16)
    content.add_acquisition(
        ElectricalSeries(name="raw", data=stored(raw), electrodes=electrodes, rate=30_000.0)
    )
    for _ in range(NUM_UNITS):
        content.add_unit(spike_times=np.sort(draw.random(SPIKES_PER_UNIT) * 3600))
    pages = {"fs_strategy": "page", "fs_page_size": 4 << 20} if layout == "paged" else {}
    with h5py.File(path, "w", **pages) as file, NWBHDF5IO(file=file, mode="w") as io:
        io.write(content)


def make_tables(path: Path) -> None:
    """40 interval tables of 16 columns, each added to the file in a pass of its own."""
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.epoch import TimeIntervals

    draw = np.random.default_rng(0)
    content = NWBFile("benchmark", "benchmark", datetime(2024, 1, 2, tzinfo=UTC))
    with NWBHDF5IO(path, "w") as io:
        io.write(content)
    for number in range(40):
        with NWBHDF5IO(path, "a") as io:
            content = io.read()
            intervals = TimeIntervals(name=f"table_{number}", description="-")
            for row in range(1000):
                intervals.add_row(start_time=float(row), stop_time=row + 0.5)
            for column in range(14):
                intervals.add_column(f"column_{column}", "-", data=draw.random(1000))
            content.add_time_intervals(intervals)
            io.write(content)


def window(file: h5py.File) -> float:
    """The task; the sum shows that every reader read the same."""
    trials, running = file["intervals/trials"], file["processing/behavior/running"]
    read = [file["units/spike_times"][:], file["processing/ophys/DfOverF/dff/data"][:WINDOW]]
    read += [running["data"][:], running["timestamps"][:], trials["start_time"][:]]
    file["processing/ophys/ImageSegmentation/PlaneSegmentation/cell_type"][:]
    file["units/spike_times_index"][:]
    return float(sum(values.sum(dtype=float) for values in read))


def here(url: str, task: Callable[[h5py.File], float]) -> float:
    from nwbdyn.nwb.read import ranges
    from nwbdyn.recording import Source
    from nwbdyn.streaming import open_file

    with open_file(Source(uri=url, url=url)) as remote, h5py.File(remote, "r") as file:
        if task is window:
            running = file["processing/behavior/running"]
            plan = ranges.wanted(file["units/spike_times"], ())
            plan += ranges.wanted(running["data"], ()) + ranges.wanted(running["timestamps"], ())
            plan += ranges.wanted(file["processing/ophys/DfOverF/dff/data"], slice(0, WINDOW))
            remote.prefetch(plan)  # type: ignore[attr-defined]
        return task(file)


def here_recording(url: str, task: Callable[[h5py.File], float]) -> float:
    """Opening as `nwbdyn.open` does: the whole structure, neurons, trials and intervals."""
    from nwbdyn.errors import ReadError
    from nwbdyn.opening import open_source
    from nwbdyn.recording import Source

    with suppress(ReadError):  # the file of tables has no neurons, which is found out at the end
        open_source(Source(uri=url, url=url)).close()
    return 0.0


def h5py_remfile(url: str, task: Callable[[h5py.File], float]) -> float:
    import remfile

    with h5py.File(remfile.File(url), "r") as file:
        return task(file)


def pynwb_remfile(url: str, task: Callable[[h5py.File], float]) -> float:
    import remfile
    from pynwb import NWBHDF5IO

    with h5py.File(remfile.File(url), "r") as file, NWBHDF5IO(file=file, mode="r") as io:
        io.read()
        return task(file)


def read_nwb(url: str, task: Callable[[h5py.File], float]) -> float:
    import pynwb

    content = pynwb.read_nwb(url)
    return task(content.read_io._file)


READERS = {
    "pynwb.read_nwb": read_nwb,
    "pynwb + remfile": pynwb_remfile,
    "h5py + remfile": h5py_remfile,
    "nwbdyn": here,
    "nwbdyn.open": here_recording,
}


def measure(reader: str, name: str) -> dict[str, float]:
    """Seconds, requests and bytes of one reader on one file; what it imports is not counted."""
    warnings.simplefilter("ignore")
    import pynwb  # noqa: F401
    import remfile  # noqa: F401

    import nwbdyn.nwb.read.recording
    import nwbdyn.opening  # noqa: F401

    requests.get(f"{SERVER}/stats")
    began = time.perf_counter()
    total = READERS[reader](f"{SERVER}/{name}.nwb", (lambda _: 0.0) if name == TABLES else window)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "total": total, **requests.get(f"{SERVER}/stats").json()}


def compare(name: str, repeats: int) -> list[list[object]]:
    """One row per reader: best seconds, requests, bytes, and the time beside pynwb + remfile's."""
    results: dict[str, list[dict[str, float]]] = {}
    readers = [*READERS] if name == TABLES else [r for r in READERS if r != "nwbdyn.open"]
    environment = os.environ | {"NWBDYN_CACHE_SIZE": "0", "OMP_NUM_THREADS": "1"}
    for _ in range(repeats):
        for reader in readers:
            command = [sys.executable, __file__, "--measure", reader, name]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
            results.setdefault(reader, []).append(json.loads(done.stdout))
    assert len({round(runs[0]["total"], 3) for runs in results.values()}) == 1
    best = {reader: min(runs, key=lambda run: run["seconds"]) for reader, runs in results.items()}
    peer = best["pynwb + remfile"]["seconds"]
    return [
        [
            name,
            reader,
            f"{run['seconds']:.2f}",
            run["requests"],
            f"{run['bytes'] / 1e6:.1f}",
            f"{run['seconds'] / peer:.2f}",
        ]
        for reader, run in best.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "streaming")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--measure", nargs=2, metavar=("READER", "FILE"))
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure)))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in (*LAYOUTS, TABLES):
        path = arguments.folder / f"{name}.nwb"
        if not path.exists():
            print(f"making {path}", file=sys.stderr)
            make_tables(path) if name == TABLES else make(path, name)
    server = Path(__file__).with_name("slow_server.py")
    serving = subprocess.Popen([sys.executable, str(server), str(arguments.folder), str(PORT)])
    try:
        time.sleep(1)
        rows = [row for name in (*LAYOUTS, TABLES) for row in compare(name, arguments.repeats)]
    finally:
        serving.terminate()
        serving.wait()
    header = ("file", "reader", "seconds", "requests", "MB", "time beside pynwb + remfile")
    publish("streaming", "Reading over a 40 ms, 50 MB/s line.\n\n" + table(header, rows))


if __name__ == "__main__":
    main()
