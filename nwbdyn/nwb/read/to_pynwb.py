"""An open recording as pynwb sees it, over the same open file."""

import h5py
from pynwb import NWBHDF5IO, NWBFile

from nwbdyn.errors import NwbdynError, ReadError
from nwbdyn.nwb.read.objects import one_line
from nwbdyn.recording import Recording


def nwbfile_of(recording: Recording) -> NWBFile:
    """The whole file as pynwb's objects, valid until the recording is closed.

    Raises:
        ReadError: the recording was not read from an HDF5 file or is closed, or pynwb refuses it.
    """
    file = recording.file
    if not isinstance(file, h5py.File):
        raise ReadError(
            f"{recording.source.name} does not lie in an HDF5 file, which is what pynwb reads."
        )
    if not file:
        raise ReadError(f"{recording.source.name} is closed; open it again.")
    try:
        io = NWBHDF5IO(file=file, mode="r")
        recording.files.callback(io.close)
        return io.read()
    except NwbdynError:
        raise
    except Exception as error:  # pynwb raises whatever a malformed object provokes
        raise ReadError(
            f"pynwb refuses {recording.source.name} ({one_line(error)}). What nwbdyn read of it "
            "stays usable."
        ) from error
