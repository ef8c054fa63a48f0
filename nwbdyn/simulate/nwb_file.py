"""A recording as the NWB file that a lab would write of it, for recordings made by `simulate`.

The same recording gives the same file: creation dates are the session's, and object ids follow
from the place of an object in the file.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np
import pandas as pd
from hdmf.build import DatasetBuilder, GroupBuilder
from hdmf.common import DynamicTable, DynamicTableRegion, VectorData, VectorIndex
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.misc import Units
from pynwb.ophys import (
    DfOverF,
    Fluorescence,
    ImageSegmentation,
    OpticalChannel,
    PlaneSegmentation,
)

from nwbdyn.recording import Covariate, Recording, SpikeTimes, Traces

RESOLUTION = 1e-6  # seconds, of spike times that state none
CHANNELS = 96  # per array; more units than that share channels
PLACEHOLDER = [(0, 0, 1.0)]  # the mask, which pynwb demands, of a cell without a place
RADIUS = 4  # pixels, of the disc that stands for a cell's mask
DESCRIPTIONS = {
    "heldout": "True for units that a benchmark holds out of a model's input",
    "cell_type": "cell type, known for every ROI",
    "split": "what the trial is for: train, val or test",
    "target_on_time": "the target appears, seconds",
    "go_cue_time": "the cue to move, seconds",
    "move_onset_time": "the hand starts to move, seconds",
    "rt": "reaction time from the go cue to the onset of movement, seconds",
    "delay": "time from the target to the go cue, seconds",
    "trial_type": "number of the target",
    "trial_version": "0: a straight reach, 1: a reach around a barrier",
    "target_x": "position of the target, metres",
    "target_y": "position of the target, metres",
    "success": "True when the target was reached",
    "state": "running or stationary",
    "label": "engaged or idle",
    "behavioral_state": "what the animal is doing",
}


def write(recording: Recording, path: Path) -> None:
    """Write units or ROI traces, behaviour, trials, other intervals and the subject to `path`."""
    start = datetime.fromisoformat(recording.session_start_time)
    identifier = recording.identifier or str(uuid5(NAMESPACE_URL, recording.source.uri))
    nwbfile = NWBFile(
        session_description=recording.session_description,
        identifier=identifier,
        session_start_time=start,
        file_create_date=[start],
        session_id=recording.session_id,
        subject=Subject(**recording.subject) if recording.subject else None,
        experiment_description=recording.session_description,
        keywords=["simulation"],
    )
    if isinstance(recording.activity, SpikeTimes):
        _add_units(nwbfile, recording, recording.activity)
    else:
        _add_rois(nwbfile, recording, recording.activity)
    if recording.covariates:
        module = nwbfile.create_processing_module("behavior", "what the animal did")
        for covariate in recording.covariates:
            module.add(_series(covariate))
    if recording.trials is not None:
        _add_trials(nwbfile, recording.trials)
    for name, table in recording.intervals.items():
        nwbfile.add_time_intervals(_intervals(name, table))
    with _RepeatableIO(path, mode="w") as io:
        io.write(nwbfile)


def _add_units(nwbfile: NWBFile, recording: Recording, spikes: SpikeTimes) -> None:
    table = recording.neurons.table
    device = nwbfile.create_device("arrays", description="simulated electrode arrays")
    location = table.get("location", pd.Series("unknown", index=table.index))
    electrodes: dict[tuple[str, int], int] = {}
    for area in dict.fromkeys(location):
        group = nwbfile.create_electrode_group(
            f"array-{area}", description=f"array in {area}", location=area, device=device
        )
        for channel in range(min(CHANNELS, int((location == area).sum()))):
            electrodes[area, channel] = len(electrodes)
            nwbfile.add_electrode(location=area, group=group)
    number_in_area = location.groupby(location).cumcount() % CHANNELS
    channels = [electrodes[key] for key in zip(location, number_in_area, strict=True)]
    ends = np.arange(1, len(table) + 1)  # of ragged columns, per unit
    # whole columns at once: row by row takes seconds
    columns = _ragged("spike_times", "seconds", spikes.times[:], spikes.index)
    if spikes.intervals is not None:
        observed = np.tile(spikes.intervals, (len(table), 1))
        last = ends * len(spikes.intervals)
        columns += _ragged("obs_intervals", "start and stop of what was observed", observed, last)
    columns += _ragged(
        "electrodes", "where it was recorded", channels, ends, table=nwbfile.electrodes
    )
    for name in table.columns.difference(["id", "location"], sort=False):
        values = table[name].to_numpy()
        columns.append(VectorData(name=name, description=DESCRIPTIONS.get(name, name), data=values))
    nwbfile.units = Units(
        name="units",
        description="simulated units",
        id=table["id"].to_numpy(),
        columns=columns,
        resolution=spikes.resolution or RESOLUTION,
    )


def _ragged(
    name: str,
    description: str,
    values: np.ndarray | list[int],
    ends: np.ndarray,
    *,
    table: DynamicTable | None = None,
) -> list[VectorData]:
    """A column with several values, or rows of `table`, per row; and where each row ends."""
    if table is None:
        column = VectorData(name=name, description=description, data=values)
    else:
        column = DynamicTableRegion(name=name, description=description, data=values, table=table)
    return [column, VectorIndex(name=f"{name}_index", data=ends, target=column)]


def _add_rois(nwbfile: NWBFile, recording: Recording, traces: Traces) -> None:
    table = recording.neurons.table
    rate = 1 / float(np.median(np.diff(traces.timestamps[:])))
    plane = nwbfile.create_imaging_plane(
        name="plane",
        optical_channel=OpticalChannel(
            name="green", description="emission of the indicator", emission_lambda=510.0
        ),
        description="one plane of layer 2/3, one micrometre per pixel",
        device=nwbfile.create_device("microscope", description="simulated two-photon microscope"),
        excitation_lambda=920.0,
        indicator="GCaMP",
        location="VISp",
        imaging_rate=rate,
        grid_spacing=[1.0, 1.0],
        grid_spacing_unit="micrometers",
    )
    cells = PlaneSegmentation(
        name="cells", description="simulated cells, a disc each", imaging_plane=plane
    )
    columns = [name for name in table.columns if name not in ("id", "x", "y")]
    for name in columns:
        cells.add_column(name, DESCRIPTIONS.get(name, name))
    for row in table.itertuples(index=False):
        values = {name: getattr(row, name) for name in columns}
        mask = _disc(row.x, row.y) if "x" in table else PLACEHOLDER
        cells.add_roi(id=int(row.id), pixel_mask=mask, **values)
    module = nwbfile.create_processing_module("ophys", "cells and their traces")
    module.add(ImageSegmentation(plane_segmentations=[cells]))
    container = DfOverF() if traces.quantity == "dff" else Fluorescence()
    module.add(container)
    container.create_roi_response_series(
        name=traces.quantity,
        description="one trace per cell",
        data=H5DataIO(np.asarray(traces.data), compression="gzip", shuffle=True),
        rois=cells.create_roi_table_region("all cells", region=list(range(len(table)))),
        unit=traces.unit,
        **_clock(traces.timestamps[:]),
    )


def _disc(x: float, y: float) -> list[tuple[int, int, float]]:
    """Pixels (x, y, weight) of a disc around whole-numbered x, y."""
    steps = range(-RADIUS, RADIUS + 1)
    inside = [(i, j) for i in steps for j in steps if i * i + j * j <= RADIUS * RADIUS]
    return [(int(x) + i, int(y) + j, 1.0) for i, j in inside]


def _series(covariate: Covariate) -> TimeSeries:
    data = np.asarray(covariate.data)
    return TimeSeries(
        name=covariate.name,
        description=covariate.name.replace("_", " "),
        data=H5DataIO(data[:, 0] if data.shape[1] == 1 else data, compression="gzip", shuffle=True),
        unit=covariate.unit,
        comments=f"columns=[{','.join(covariate.channels)}]" if covariate.channels else "",
        **_clock(covariate.timestamps[:]),
    )


def _clock(timestamps: np.ndarray) -> Mapping[str, object]:
    """A start and a rate where the clock is regular, else the timestamps."""
    step = (timestamps[-1] - timestamps[0]) / (len(timestamps) - 1)
    regular = timestamps[0] + step * np.arange(len(timestamps))
    if np.allclose(timestamps, regular, rtol=0, atol=1e-6):
        return {"starting_time": float(timestamps[0]), "rate": float(1 / step)}
    return {"timestamps": H5DataIO(timestamps, compression="gzip", shuffle=True)}


def _add_trials(nwbfile: NWBFile, trials: pd.DataFrame) -> None:
    for name in trials.columns.difference(["start_time", "stop_time"], sort=False):
        nwbfile.add_trial_column(name, DESCRIPTIONS.get(name, name))
    for row in trials.to_dict("records"):
        nwbfile.add_trial(**row)


def _intervals(name: str, table: pd.DataFrame) -> TimeIntervals:
    intervals = TimeIntervals(name=name, description=DESCRIPTIONS.get(name, name))
    for column in table.columns.difference(["start_time", "stop_time"], sort=False):
        intervals.add_column(column, DESCRIPTIONS.get(column, column))
    for row in table.to_dict("records"):
        intervals.add_row(**row)
    return intervals


class _RepeatableIO(NWBHDF5IO):
    """Write object ids that follow from an object's path instead of pynwb's random ones."""

    def write_builder(self, builder: GroupBuilder, **options: Any) -> None:
        _set_object_ids(builder, location=builder["identifier"].data)
        super().write_builder(builder, **options)


def _set_object_ids(builder: GroupBuilder | DatasetBuilder, location: str) -> None:
    if "object_id" in builder.attributes:
        builder.attributes["object_id"] = str(uuid5(NAMESPACE_URL, location))
    if isinstance(builder, GroupBuilder):
        for part in (*builder.groups.values(), *builder.datasets.values()):
            _set_object_ids(part, f"{location}/{part.name}")
