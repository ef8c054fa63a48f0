"""Cost of reading: benchmark tensors, files with huge raw data, long recordings.

    python benchmarks/reading.py [--folder DIR]

Seconds are CPU seconds of the process, so that other programs on the machine do not matter much;
memory is the peak of what Python and NumPy allocate, without what is returned. Remote files come
from `slow_server.py`, and nothing is kept from before.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pandas as pd
import requests
from machine import publish, table

if TYPE_CHECKING:
    from nwbdyn.recording import Recording

PORT = 9432
SERVER = f"http://127.0.0.1:{PORT}"
NUM_SPIKES, NUM_UNITS, NUM_TRIALS, TRIAL = 7_600_000, 182, 2_869, 2.5  # as the maze's; seconds
HUGE = {"2 GB": 1_000_000_000, "10 GB": 5_000_000_000}  # values of two bytes
SHORT, LONG, NUM_ROIS = 20_000, 200_000, 200  # frames, frames, ROIs
MEMORY = 32 * 2**20  # bytes that the machine of `longer_row` is taken to have


# ---------------------------------------------------------------- tensors of the benchmark


def maze() -> "Recording":
    """A session with the layout, the number of spikes and the length of the large maze session."""
    from nwbdyn.recording import Neurons, Recording, Source, SpikeTimes

    draw = np.random.default_rng(0)
    length = NUM_TRIALS * TRIAL
    counts = np.full(NUM_UNITS, NUM_SPIKES // NUM_UNITS)
    times = np.concatenate([np.sort(draw.uniform(0, length, count)) for count in counts])
    times = np.round(times * 30_000) / 30_000
    start = np.arange(NUM_TRIALS) * TRIAL
    trials = pd.DataFrame(
        {
            "start_time": start,
            "stop_time": start + TRIAL,
            "move_onset_time": np.round(start + 1.0 + draw.uniform(0, 0.2, NUM_TRIALS), 3),
            "split": np.where(np.arange(NUM_TRIALS) % 5 == 0, "val", "train"),
        }
    )
    heldout = np.arange(NUM_UNITS) % 4 == 0
    return Recording(
        session_id="maze",
        neurons=Neurons(pd.DataFrame({"id": np.arange(NUM_UNITS), "heldout": heldout}), "unit"),
        activity=SpikeTimes(times, np.cumsum(counts), np.array([[0.0, length]])),
        source=Source("maze.nwb", "file:///maze.nwb"),
        trials=trials,
    )


def cut_from_spikes(recording: "Recording") -> dict[str, np.ndarray]:
    """All counts of the train and the val trials."""
    from nwbdyn.nlb.cut import Cut
    from nwbdyn.nlb.layouts import LAYOUTS
    from nwbdyn.nlb.moments import moments_of
    from nwbdyn.nlb.tensors import units

    cut = Cut(LAYOUTS["000128"], 0.005)
    moments = moments_of(recording)
    result = {}
    for split in ("train", "val"):
        starts = cut.starts(recording.trials[recording.trials["split"] == split])
        for part in ("heldin", "heldout"):
            rows = units(recording, held_out=part == "heldout")
            observed, forward = cut.observed_and_forward(recording, rows, starts, moments)
            result |= {f"{split}_{part}": observed, f"{split}_{part}_forward": forward}
    return result


def on_a_dense_grid(recording: "Recording") -> dict[str, np.ndarray]:
    """The same in the plain way: the whole session in bins of 5 ms, then cut."""
    from nwbdyn.data.clock import grid_ceil, grid_index

    spikes, trials = recording.activity, recording.trials
    held_out = recording.neurons.table["heldout"].to_numpy()
    num_bins = round(NUM_TRIALS * TRIAL / 0.005) + 200
    dense = np.zeros((num_bins, NUM_UNITS), dtype=np.float32)
    for unit in range(NUM_UNITS):
        bins = grid_index(spikes.of(unit), 0.005)
        np.add.at(dense[:, unit], bins, 1)
    first = grid_ceil(trials["move_onset_time"].to_numpy() - 0.25, 0.005)
    later = grid_ceil(trials["move_onset_time"].to_numpy() + 0.45, 0.005)
    result = {}
    for split in ("train", "val"):
        rows = trials["split"].to_numpy() == split
        for name, starts, length in (("", first, 140), ("_forward", later, 40)):
            cut = dense[starts[rows][:, None] + np.arange(length)]
            for part, columns in (("heldin", ~held_out), ("heldout", held_out)):
                result[f"{split}_{part}{name}"] = cut[..., columns]
    return result


def tensors_row() -> list[object]:
    recording = maze()
    expected = on_a_dense_grid(recording)
    seconds = []
    for _ in range(3):
        began = time.process_time()
        result = cut_from_spikes(recording)
        seconds.append(time.process_time() - began)
    same = all(np.array_equal(result[name], expected[name]) for name in expected)
    size = sum(counts.nbytes for counts in result.values())
    del result
    tracemalloc.start()
    cut_from_spikes(recording)
    peak = tracemalloc.get_traced_memory()[1] - size
    tracemalloc.stop()
    return [
        "tensors from 7.6 M spikes, 182 units, 2,869 trials, 5 ms",
        f"{min(seconds):.2f} s CPU, {peak / 1e6:.0f} MB beside {size / 1e6:.0f} MB of tensors, "
        f"{'bit-equal' if same else 'NOT EQUAL'} to a dense grid that is cut",
        "<= 1 s, <= 100 MB",
    ]


# ---------------------------------------------------------------- opening beside raw data


def make_huge(path: Path, num_values: int) -> None:
    """Units and trials beside a raw ElectricalSeries of which nothing was ever written."""
    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.ecephys import ElectricalSeries

    draw = np.random.default_rng(0)
    content = NWBFile("benchmark", "benchmark", datetime(2024, 1, 2, tzinfo=UTC))
    device = content.create_device("device")
    group = content.create_electrode_group("group", "-", "-", device)
    for _ in range(64):
        content.add_electrode(group=group, location="CA1")
    electrodes = content.create_electrode_table_region(list(range(64)), "-")
    raw = ElectricalSeries(
        name="raw", data=np.zeros((2, 64), np.int16), electrodes=electrodes, rate=30_000.0
    )
    content.add_acquisition(raw)
    for _ in range(100):
        content.add_unit(spike_times=np.sort(draw.random(5_000) * 3600), electrodes=[0])
    for number in range(600):
        content.add_trial(start_time=number * 6.0, stop_time=number * 6.0 + 4)
    with NWBHDF5IO(path, "w") as io:
        io.write(content)
    with h5py.File(path, "a") as file:
        series = file["acquisition/raw"]
        attributes = dict(series["data"].attrs)
        del series["data"]
        position = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        position.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        position.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        space = h5py.h5s.create_simple((num_values // 64, 64))
        h5py.h5d.create(series.id, b"data", h5py.h5t.NATIVE_INT16, space, position)
        series["data"].attrs.update(attributes)


class Watched:
    """A local file that remembers which bytes were read."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.read_ranges: list[tuple[int, int]] = []
        for name in ("seek", "tell", "close", "readable", "seekable"):
            setattr(self, name, getattr(self._file, name))

    def read(self, size: int = -1) -> bytes:
        start = self._file.tell()
        content = self._file.read(size)
        self.read_ranges.append((start, start + len(content)))
        return content

    def readinto(self, buffer: memoryview) -> int:
        start = self._file.tell()
        number = self._file.readinto(buffer)
        self.read_ranges.append((start, start + number))
        return number


def open_here(url: str) -> None:
    from nwbdyn.nwb.read.summary import summarise
    from nwbdyn.opening import open_source
    from nwbdyn.recording import Source

    with open_source(Source(uri=url, url=url)) as recording:
        summarise(recording)


def open_pynwb_remfile(url: str) -> None:
    import remfile
    from pynwb import NWBHDF5IO

    with h5py.File(remfile.File(url), "r") as file, NWBHDF5IO(file=file, mode="r") as io:
        io.read()


def open_read_nwb(url: str) -> None:
    import pynwb

    pynwb.read_nwb(url)


OPENERS: dict[str, Callable[[str], None]] = {
    "nwbdyn inspect": open_here,
    "pynwb + remfile, opening": open_pynwb_remfile,
    "pynwb.read_nwb, opening": open_read_nwb,
}


def measure_opening(opener: str, name: str) -> dict[str, float]:
    warnings.simplefilter("ignore")
    requests.get(f"{SERVER}/stats")
    OPENERS[opener](f"{SERVER}/{name}")
    return requests.get(f"{SERVER}/stats").json()


def inspect_rows(folder: Path) -> list[list[object]]:
    """Requests and bytes of opening the 2 GB file over the network, each reader in a process."""
    path = folder / "2 GB.nwb".replace(" ", "")
    environment = os.environ | {"NWBDYN_CACHE_SIZE": "0", "OMP_NUM_THREADS": "1"}
    rows: list[list[object]] = []
    for opener in OPENERS:
        command = [sys.executable, __file__, "--measure", opener, path.name]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        served = json.loads(done.stdout)
        share = served["bytes"] / path.stat().st_size
        rows.append(
            [
                f"a 2 GB file with a raw ElectricalSeries: {opener}",
                f"{served['requests']} requests, {served['bytes'] / 1e6:.1f} MB, {share:.2%} of it",
                "< 60 requests, < 2 %" if opener == "nwbdyn inspect" else "",
            ]
        )
    return rows


def untouched_row(folder: Path) -> list[object]:
    """Reading and binning the units beside a 10 GB series, and which of its bytes were read."""
    from nwbdyn.data.binning import bin_recording
    from nwbdyn.nwb.read.recording import read
    from nwbdyn.recording import Source

    path = folder / "10GB.nwb"
    with h5py.File(path, "r") as file:
        raw = file["acquisition/raw/data"]
        start, size = raw.id.get_offset(), raw.id.get_storage_size()
    watched = Watched(path)
    with read(watched, Source(path.name, path.as_uri())) as recording:  # type: ignore[arg-type]
        bin_recording(recording)
    inside = sum(
        max(0, min(stop, start + size) - max(begin, start)) for begin, stop in watched.read_ranges
    )
    read_in_all = sum(stop - begin for begin, stop in watched.read_ranges)
    return [
        "a 10 GB series beside the units: read and binned",
        f"{inside:,} of its {size / 1e9:.0f} GB read; {read_in_all / 1e6:.1f} MB in all",
        "never touched",
    ]


# ---------------------------------------------------------------- longer recordings


def make_traces(path: Path, num_frames: int) -> None:
    draw = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", (num_frames, NUM_ROIS), "f4", chunks=(2_000, NUM_ROIS))
        for first in range(0, num_frames, 2_000):
            data[first : first + 2_000] = draw.standard_normal((2_000, NUM_ROIS))


def longer_row(folder: Path) -> list[object]:
    """Traces on disk, 200 ROIs, binned as on a machine with 32 MB of memory."""
    from nwbdyn.data import large
    from nwbdyn.data.binning import bin_recording
    from nwbdyn.recording import LazyArray, Neurons, Recording, Source, Traces

    large.memory = lambda: MEMORY
    large.READ = large.WORK = MEMORY // 4
    seconds: dict[int, list[float]] = {SHORT: [], LONG: []}
    peaks = {}
    for num_frames in (SHORT, LONG):
        path = folder / f"traces-{num_frames}.h5"
        if not path.exists():
            make_traces(path, num_frames)
    for turn in range(4):  # the first three for the time, the last for the memory
        for num_frames in (SHORT, LONG):
            with h5py.File(folder / f"traces-{num_frames}.h5", "r") as file:
                data = file["data"]
                lazy = LazyArray(data.__getitem__, data.shape, data.dtype, rows_together=2_000)
                recording = Recording(
                    session_id="long",
                    neurons=Neurons(pd.DataFrame({"id": np.arange(NUM_ROIS)}), "roi"),
                    activity=Traces(lazy, np.arange(num_frames) / 30, "dff"),
                    source=Source("long.nwb", "file:///long.nwb"),
                )
                if turn == 3:
                    tracemalloc.start()
                began = time.process_time()
                bin_recording(recording, bin_width=0.1)
                if turn == 3:
                    peaks[num_frames] = tracemalloc.get_traced_memory()[1]
                    tracemalloc.stop()
                else:
                    seconds[num_frames].append(time.process_time() - began)
    ratio = min(seconds[LONG]) / min(seconds[SHORT])
    return [
        f"{SHORT:,} and {LONG:,} frames of {NUM_ROIS} ROIs into bins, with 32 MB of memory",
        f"{ratio:.1f} times the CPU time, {peaks[SHORT] / 1e6:.0f} and {peaks[LONG] / 1e6:.0f} MB "
        "at the peak",
        "<= 11 times, the same peak",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "reading")
    parser.add_argument("--measure", nargs=2, metavar=("OPENER", "FILE"))
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure_opening(*arguments.measure)))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, num_values in HUGE.items():
        path = arguments.folder / f"{name.replace(' ', '')}.nwb"
        if not path.exists():
            make_huge(path, num_values)
    server = Path(__file__).with_name("slow_server.py")
    serving = subprocess.Popen([sys.executable, str(server), str(arguments.folder), str(PORT)])
    try:
        time.sleep(1)
        rows = inspect_rows(arguments.folder)
    finally:
        serving.terminate()
        serving.wait()
    rows = [tensors_row(), *rows, untouched_row(arguments.folder), longer_row(arguments.folder)]
    header = ("what", "measured", "to reach")
    publish("reading", table(header, rows))


if __name__ == "__main__":
    main()
