"""The NWB file of a `sample:` address, from the cache or newly written."""

import hashlib
import os
import re
from pathlib import Path

from nwbdyn import cache as caches
from nwbdyn import scratch, simulate
from nwbdyn.errors import AddressError
from nwbdyn.simulate.parameters import PREFIX


def sample_file(address: str, cache: Path | None = None) -> Path:
    """The NWB file of a `sample:` address; it is written if it is not in the cache.

    The planted couplings are beside it in `<name>.truth.npz` (`simulate.Truth.load`); no reader
    opens this file. Files of another version of the simulation are not used. Several processes may
    call this at the same time.

    Args:
        address: `sample:NAME?key=value&…`.
        cache: folder to keep it in; by default `samples` in the cache folder.

    Raises:
        AddressError: no such sample or parameter, a value out of range, or no writable folder.
    """
    address = simulate.normalise(address)
    folder = (cache or caches.folder("samples")) / _version()
    name = re.sub(r"[?&]", "-", address.removeprefix(PREFIX)).replace("=", "")
    path, truth_path = folder / f"{name}.nwb", folder / f"{name}.truth.npz"
    if path.exists() and truth_path.exists():
        return path
    from nwbdyn.simulate.nwb_file import write  # loads pynwb

    recording, truth = simulate.sample(address)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with scratch.folder(folder) as partial:
            truth.save(partial / truth_path.name)
            write(recording, partial / path.name)
            os.replace(partial / truth_path.name, truth_path)
            os.replace(partial / path.name, path)
    except OSError as error:
        raise AddressError(
            f"Cannot write {address} to {folder} ({error.strerror}); set {caches.VARIABLE} to a "
            "folder that can be written."
        ) from error
    return path


def _version() -> str:
    """Eight hex digits of the code that makes samples, so that files of older code are not used."""
    digest = hashlib.sha256()
    for source in sorted(Path(simulate.__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:8]
