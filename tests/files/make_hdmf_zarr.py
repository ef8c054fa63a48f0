"""Made `hdmf_zarr_*.zip`: one session by pynwb 4.2 in HDF5, and the same exported by hdmf-zarr.

Run where hdmf-zarr is installed. 0.13 needs zarr below 3, and
NUMCODECS_ALLOW_UNSAFE_PICKLE_DECODE=1, for it pickles its references. 0.14 needs Python 3.12:

    python make_hdmf_zarr.py FOLDER
"""

import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import hdmf_zarr
import numpy as np
from hdmf_zarr import NWBZarrIO
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import BehavioralTimeSeries
from pynwb.file import Subject
from pynwb.ophys import Fluorescence, ImageSegmentation, OpticalChannel

folder = Path(sys.argv[1])
draw = np.random.default_rng(0)
nwbfile = NWBFile(
    session_description="Both kinds of recording, small.",
    identifier="zarr-1",
    session_start_time=datetime(2024, 1, 1, tzinfo=UTC),
    session_id="z1",
    subject=Subject(subject_id="m1", species="Mus musculus", sex="F", age="P90D"),
)
device = nwbfile.create_device(name="probe", description="A probe.")
shank = nwbfile.create_electrode_group("shank", "One shank.", location="CA1", device=device)
for channel in range(4):
    nwbfile.add_electrode(group=shank, location="CA1" if channel < 2 else "CA3")
nwbfile.add_unit_column("quality", "By hand.")
nwbfile.add_unit_column("cell_type", "By waveform.")
for unit in range(5):
    nwbfile.add_unit(
        spike_times=np.sort(draw.uniform(0, 20, 50)),
        obs_intervals=[[0.0, 20.0]],
        electrodes=[unit % 4],
        electrode_group=shank,
        quality="good" if unit else "mua",
        cell_type="größer" if unit % 2 else "",
    )
speed = TimeSeries(
    name="speed", data=draw.normal(size=400), unit="cm/s", timestamps=np.arange(400) / 20 + 0.1
)
turn = TimeSeries(name="turn", data=draw.normal(size=(400, 2)), unit="deg", timestamps=speed)
module = nwbfile.create_processing_module("behavior", "Behaviour.")
module.add(BehavioralTimeSeries(time_series=[speed, turn]))
nwbfile.add_trial_column("side", "Left or right.")
nwbfile.add_trial_column("correct", "Rewarded.")
for start in range(0, 20, 2):
    side = "left" if start % 4 else "right"
    nwbfile.add_trial(float(start), start + 1.5, side=side, correct=start > 8, timeseries=[speed])
plane = nwbfile.create_imaging_plane(
    name="plane",
    description="Layer 2/3.",
    optical_channel=OpticalChannel(name="g", description="green", emission_lambda=510.0),
    device=device,
    excitation_lambda=920.0,
    indicator="GCaMP6s",
    location="VISp",
)
segmentation = ImageSegmentation()
rois = segmentation.create_plane_segmentation("Cells.", plane, "rois")
for row in range(6):
    rois.add_roi(pixel_mask=[(row, row, 1.0), (row + 1, row, 0.5)])
ophys = nwbfile.create_processing_module("ophys", "Imaging.")
ophys.add(segmentation)
fluorescence = Fluorescence()
ophys.add(fluorescence)
fluorescence.create_roi_response_series(
    name="RoiResponseSeries",
    data=draw.integers(0, 4000, (200, 6), dtype=np.uint16),
    rois=rois.create_roi_table_region(region=list(range(6)), description="All."),
    unit="n.a.",
    rate=10.0,
    conversion=0.5,
)
with NWBHDF5IO(folder / "session.nwb", "w") as io:
    io.write(nwbfile, cache_spec=False)
with (
    NWBHDF5IO(folder / "session.nwb", "r") as io,
    NWBZarrIO(str(folder / "session.nwb.zarr"), mode="w") as zarr,
):
    zarr.export(src_io=io, write_args={"link_data": False})
version = hdmf_zarr.__version__.rpartition(".")[0]
with zipfile.ZipFile(folder / f"hdmf_zarr_{version}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".zip":
            archive.write(path, path.relative_to(folder))
