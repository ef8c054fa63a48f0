"""Made `hdmf_zarr_*_links.zip`: imaging whose dF/F has its ROIs and times by links, in Zarr.

As some sessions of the Allen Institute have them: the file in HDF5 by pynwb 4.2, and the same
exported by hdmf-zarr. Run where hdmf-zarr is installed, as `make_hdmf_zarr.py`:

    python make_hdmf_zarr_links.py FOLDER
"""

import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import h5py
import hdmf_zarr
import numpy as np
from hdmf_zarr import NWBZarrIO
from pynwb import NWBHDF5IO, NWBFile
from pynwb.file import Subject
from pynwb.ophys import DfOverF, Fluorescence, ImageSegmentation, OpticalChannel

folder = Path(sys.argv[1])
draw = np.random.default_rng(0)
nwbfile = NWBFile(
    session_description="dF/F with links.",
    identifier="zarr-links-1",
    session_start_time=datetime(2024, 1, 1, tzinfo=UTC),
    session_id="z2",
    subject=Subject(subject_id="m1", species="Mus musculus", sex="F", age="P90D"),
)
plane = nwbfile.create_imaging_plane(
    name="plane",
    description="Layer 2/3.",
    optical_channel=OpticalChannel(name="g", description="green", emission_lambda=510.0),
    device=nwbfile.create_device(name="scope", description="A microscope."),
    excitation_lambda=920.0,
    indicator="GCaMP6s",
    location="VISp",
    imaging_rate=10.0,
)
segmentation = ImageSegmentation()
rois = segmentation.create_plane_segmentation("Cells.", plane, "rois")
for row in range(6):
    rois.add_roi(pixel_mask=[(row, row, 1.0), (row + 1, row, 0.5)])
ophys = nwbfile.create_processing_module("ophys", "Imaging.")
fluorescence, change = Fluorescence(), DfOverF()
for item in (segmentation, fluorescence, change):
    ophys.add(item)
times = np.arange(200) / 10 + draw.uniform(0, 0.01, 200)
for container in (fluorescence, change):
    container.create_roi_response_series(
        name="traces",
        data=draw.normal(size=(200, 4)).astype(np.float32),
        rois=rois.create_roi_table_region(region=[5, 3, 1, 0], description="Some."),
        unit="n.a.",
        timestamps=times,
    )
with NWBHDF5IO(folder / "links.nwb", "w") as io:
    io.write(nwbfile, cache_spec=False)
with h5py.File(folder / "links.nwb", "a") as file:
    for name in ("rois", "timestamps"):
        del file["processing/ophys/DfOverF/traces"][name]
        link = h5py.SoftLink(f"/processing/ophys/Fluorescence/traces/{name}")
        file["processing/ophys/DfOverF/traces"][name] = link
with (
    NWBHDF5IO(folder / "links.nwb", "r") as io,
    NWBZarrIO(str(folder / "links.nwb.zarr"), mode="w") as zarr,
):
    zarr.export(src_io=io, write_args={"link_data": False})
version = hdmf_zarr.__version__.rpartition(".")[0]
target = folder / f"hdmf_zarr_{version}_links.zip"
with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".zip":
            archive.write(path, path.relative_to(folder))
