"""Small recordings as a lab writes them, and fits of them made by hand, for tests of exporting."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from pynwb import NWBHDF5IO, NWBFile
from pynwb.file import Subject
from pynwb.ophys import DfOverF, ImageSegmentation, OpticalChannel

from nwbdyn.connectivity.connectivity import Connectivity
from nwbdyn.data.splits import GAP, TEST, TRAIN, VAL
from nwbdyn.recording import Neurons, Recording, Source
from nwbdyn.results.fit_results import Fit, Predictions

NUM_TIMES, NUM_NEURONS, BIN, CONTEXT = 60, 5, 0.5, 4
SUBJECT = {"subject_id": "m1", "species": "Mus musculus", "sex": "F", "age": "P90D"}
SESSION = {
    "session_id": "s1",
    "identifier": "lab-0001",
    "session_start_time": "2024-03-01T10:00:00+01:00",
    "session_description": "Spontaneous activity.",
}


def write_imaging(path: Path, subject: dict[str, str] | None = None) -> Path:
    """dF/F of five ROIs with cell types, two of which have none."""
    nwbfile = _session(subject)
    device = nwbfile.create_device(name="Microscope", description="A microscope.")
    plane = nwbfile.create_imaging_plane(
        name="plane",
        description="Layer 2/3.",
        optical_channel=OpticalChannel(name="g", description="green", emission_lambda=510.0),
        device=device,
        excitation_lambda=920.0,
        indicator="GCaMP6s",
        location="VISp",
        imaging_rate=1 / BIN,
    )
    segmentation = ImageSegmentation()
    rois = segmentation.create_plane_segmentation(
        name="rois", description="Cells.", imaging_plane=plane
    )
    rois.add_column(name="cell_type", description="Cell type.")
    for row, cell_type in enumerate(("Pvalb", "Sst", "Pvalb", "", "Sst")):
        rois.add_roi(id=10 + row, pixel_mask=[(row, row, 1.0)], cell_type=cell_type)
    module = nwbfile.create_processing_module(name="ophys", description="Imaging.")
    module.add(segmentation)
    traces = DfOverF()
    module.add(traces)
    traces.create_roi_response_series(
        name="dff",
        description="dF/F.",
        data=np.random.default_rng(0).normal(size=(NUM_TIMES, NUM_NEURONS)),
        rois=rois.create_roi_table_region(
            region=list(range(NUM_NEURONS)), description="All cells."
        ),
        unit="n.a.",
        rate=1 / BIN,
        starting_time=1.0,
    )
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def write_units(path: Path, subject: dict[str, str] | None = None) -> Path:
    """Spike times of five units."""
    nwbfile = _session(subject)
    device = nwbfile.create_device(name="Probe", description="A probe.")
    group = nwbfile.create_electrode_group(
        name="shank", description="One shank.", location="CA1", device=device
    )
    nwbfile.add_electrode(group=group, location="CA1")
    nwbfile.add_electrode(group=group, location="CA1")
    draw = np.random.default_rng(1)
    for row in range(NUM_NEURONS):
        times = np.sort(draw.uniform(0, NUM_TIMES * BIN, 40))
        nwbfile.add_unit(id=10 + row, spike_times=times, obs_intervals=[[0.0, NUM_TIMES * BIN]])
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def fit_of(path: Path, *, form: str = "netformer", seed: int = 0) -> Fit:
    """A made-up model output for a file of the functions above."""
    with NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        if nwbfile.units is not None:
            table, kind = nwbfile.units, "unit"
            where, columns = "/units", {}
            binning = {"bin_width": BIN, "quantity": "counts"}
        else:
            ophys = nwbfile.processing["ophys"]
            table, kind = ophys["ImageSegmentation"]["rois"], "roi"
            where = "/processing/ophys/ImageSegmentation/rois"
            columns = {"cell_type": [value or None for value in table["cell_type"][:]]}
            series = ophys["DfOverF"]["dff"]
            binning = {
                "bin_width": BIN,
                "quantity": "dff",
                "series_path": "/processing/ophys/DfOverF/dff",
                "series_object_id": series.object_id,
            }
        frame = pd.DataFrame({"id": table.id[:], "quality": np.linspace(0, 1, 5), **columns})
        neurons = Neurons(frame, kind, where, table.object_id)
        known = {name: getattr(nwbfile.subject, name, None) for name in SUBJECT}
    draw = np.random.default_rng(seed)
    time = (1.0 if kind == "roi" else BIN / 2) + BIN * np.arange(NUM_TIMES)
    values = draw.normal(size=(NUM_TIMES, NUM_NEURONS)).astype(np.float32)
    values[:CONTEXT] = np.nan
    connectivity = connectivity_of(neurons, time, form, draw)
    edges = connectivity.edges()
    edges["seed_sd"] = np.nan
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Fit(
        model="stndt" if form == "attention" else "netformer",
        config={"epochs": 3, "history": CONTEXT, "updates": None},
        binning=binning,
        split={"rule": "contiguous 70/15/15", "seed": seed, "bins": {"train": 40}},
        history=({"epoch": 1, "loss": 0.5, "validation": float("nan")},),
        metrics={
            "model": {"test": {"r2@1": 0.5, "pearson": float("nan")}},
            "baselines": {"persistence": {"test": {"r2@1": 0.25}}},
            "intervals": {"model": {"test": {"r2@1": [0.4, 0.6]}}},
            "primary": {"metric": "r2@1", "split": "test", "horizon": 1, "baseline": None},
            "beats_baseline": None,
        },
        predictions=Predictions(
            values=values,
            time=time,
            bin_width=BIN,
            held_out=np.zeros(NUM_NEURONS, bool),
            labels=np.repeat(np.array([TRAIN, GAP, VAL, GAP, TEST], np.int8), [36, 4, 8, 4, 8]),
            quantity=str(binning["quantity"]),
            horizon=1,
            neurons=neurons,
        ),
        connectivity=connectivity,
        edges=edges,
        neurons=neurons,
        source=Source(
            uri=str(path), url=path.resolve().as_uri(), digest=f"sha256:{digest}", size=10
        ),
        session={**SESSION, "subject": {k: v for k, v in known.items() if v}},
        versions={"nwbdyn": "0.1.0", "numpy": np.__version__},
        seed=seed,
        device="cpu",
        embeddings=draw.normal(size=(NUM_NEURONS, 2)).astype(np.float32),
        currents=currents_of(connectivity) if form == "gain" else None,
        influence=connectivity_of(neurons, time, "dense", draw) if form == "gain" else None,
        environment={"fitted_at": "2025-01-01T00:00:00+00:00", "threads": 1},
        weights={"key": np.ones((2, 2), np.float32)},
    )


def currents_of(connectivity: Connectivity) -> np.ndarray:
    """(num_bins, N) I(t) = A x(t), NaN in three bins as if they had not been observed."""
    currents = connectivity.arrays["activity"] @ connectivity.arrays["A"].T
    currents[20:23] = np.nan
    return currents


def fit_of_recording(recording: Recording) -> Fit:
    """A fit of any recording, made up but for where it comes from."""
    neurons, draw = recording.neurons, np.random.default_rng(0)
    num_neurons, num_times = len(neurons), max(200, len(neurons))
    time = BIN * np.arange(num_times)
    weight = draw.normal(size=(num_neurons, num_neurons)).astype(np.float32)
    connectivity = Connectivity(
        "static", time, (-BIN, 0.0), neurons, "z per z", True, {"weight": weight}
    )
    return Fit(
        model="netformer",
        config={},
        binning={},
        split={},
        history=(),
        metrics={"model": {"test": {"r2@1": 0.5, "pearson@1": 0.25}}},
        predictions=Predictions(
            values=draw.normal(size=(num_times, num_neurons)).astype(np.float32),
            time=time,
            bin_width=BIN,
            held_out=np.zeros(num_neurons, bool),
            labels=np.repeat(np.array([TRAIN, TEST], np.int8), [100, num_times - 100]),
            quantity="counts" if neurons.kind == "unit" else "dff",
            horizon=1,
            neurons=neurons,
        ),
        connectivity=connectivity,
        edges=connectivity.edges(),
        neurons=neurons,
        source=recording.source,
        session={
            "session_id": recording.session_id,
            "identifier": recording.identifier,
            "session_start_time": recording.session_start_time,
            "session_description": recording.session_description,
            "subject": dict(recording.subject),
        },
        versions={"nwbdyn": "0.1.0"},
        seed=0,
        device="cpu",
    )


def connectivity_of(
    neurons: Neurons, time: np.ndarray, form: str, draw: np.random.Generator
) -> Connectivity:
    last = np.arange(CONTEXT - 1, NUM_TIMES)
    attributes: dict[str, float | int | str | bool] = {}
    if form == "netformer":
        width = CONTEXT + 2
        arrays = {
            "activity": draw.normal(size=(NUM_TIMES, NUM_NEURONS)).astype(np.float32),
            "last": last,
            "embedding": draw.normal(size=(NUM_NEURONS, 2)).astype(np.float32),
            "query": draw.normal(size=(3, width)).astype(np.float32),
            "key": draw.normal(size=(3, width)).astype(np.float32),
            "norm_gain": np.ones(width, np.float32),
            "norm_bias": np.zeros(width, np.float32),
        }
        attributes = {"context": CONTEXT, "scale": width**-0.5, "necessity": 0.25}
        attributes["raw_values"] = False
    elif form == "gain":
        arrays = {
            "A": draw.normal(size=(NUM_NEURONS, NUM_NEURONS)).astype(np.float32),
            "g": draw.normal(size=(len(last), NUM_NEURONS)).astype(np.float32),
            "activity": draw.normal(size=(NUM_TIMES, NUM_NEURONS)).astype(np.float32),
            "last": last,
        }
    elif form == "attention":  # maps among the held-in neurons only
        neurons = neurons.take(np.array([0, 1, 2, 4]))
        maps = draw.dirichlet(np.ones(4), size=(len(last), 2, 4))
        owner = np.stack([np.arange(len(last)), np.full(len(last), CONTEXT - 1)], axis=1)
        sent = draw.normal(size=(len(last), 4)).astype(np.float16)
        arrays = {"maps": maps.astype(np.float16), "y": sent, "owner": owner}
        attributes = {"bin_width": BIN}
    elif form == "static":
        arrays = {"weight": draw.normal(size=(NUM_NEURONS, NUM_NEURONS)).astype(np.float32)}
    else:
        weight = draw.normal(size=(len(last), NUM_NEURONS, NUM_NEURONS)).astype(np.float32)
        arrays = {"weights": weight}
    return Connectivity(
        form=form,
        time=time[last],
        window=(-(CONTEXT - 0.5) * BIN, 0.5 * BIN),
        neurons=neurons,
        measure="z per z",
        causal=form != "attention",
        arrays=arrays,
        attributes=attributes,
    )


def _session(subject: dict[str, str] | None) -> NWBFile:
    return NWBFile(
        session_description=SESSION["session_description"],
        identifier=SESSION["identifier"],
        session_start_time=datetime.fromisoformat(SESSION["session_start_time"]).astimezone(UTC),
        session_id=SESSION["session_id"],
        subject=Subject(**(SUBJECT if subject is None else subject)),
    )
