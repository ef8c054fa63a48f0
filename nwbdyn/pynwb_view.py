"""An open HDF5 file as pynwb's objects, over the same open file."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from nwbdyn.errors import NwbdynError, ReadError

if TYPE_CHECKING:
    from pynwb import NWBFile


def nwbfile_of(file: object, name: str, files: ExitStack) -> "NWBFile":
    """The whole file as pynwb's objects, valid until `files` closes.

    Args:
        file: an open h5py.File.
        name: name of the recording, for messages.
        files: closes pynwb's reader.

    Raises:
        ReadError: `file` is not an open HDF5 file, or pynwb refuses it.
    """
    import h5py
    from pynwb import NWBHDF5IO

    if not isinstance(file, h5py.File):
        raise ReadError(f"{name} does not lie in an HDF5 file, which is what pynwb reads.")
    if not file:
        raise ReadError(f"{name} is closed; open it again.")
    try:
        io = NWBHDF5IO(file=file, mode="r")
        files.callback(io.close)
        return io.read()
    except NwbdynError:
        raise
    except Exception as error:  # pynwb raises whatever a malformed object provokes
        reason = " ".join(str(error.args[0] if error.args else error).split())
        raise ReadError(
            f"pynwb refuses {name} ({reason}). What nwbdyn read of it stays usable."
        ) from error
