"""The files of every version, packed in `files.tar.xz`: 6.4 MB of them take 0.3 MB.

`VERSION.nwb` has one object of every type, as `make_file.py` of that version wrote it. Exports of
whole fits by the package of that time are `VERSION_FORM.nwb`; `VERSION_expected.npz` has these
fits' numbers. A file in the archive is never written anew: it is the promise that it reads.

    python older_files.py FOLDER        (unpacks them, to look at)
"""

import io
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

ARCHIVE = Path(__file__).resolve().parent / "files.tar.xz"


def unpack(folder: Path) -> Path:
    """Write every file of the archive into `folder`, and return it."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def add(paths: Iterable[Path]) -> None:
    """Add files to the archive.

    Raises:
        FileExistsError: the archive has a file of that name.
    """
    files = {}
    if ARCHIVE.exists():
        with tarfile.open(ARCHIVE) as archive:
            for member in archive:
                content = archive.extractfile(member)
                assert content is not None, f"{member.name} is no file"
                files[member.name] = content.read()
    for path in paths:
        if path.name in files:
            raise FileExistsError(f"{ARCHIVE.name} has {path.name}, which is never written anew.")
        files[path.name] = path.read_bytes()
    with tarfile.open(ARCHIVE, "w:xz", preset=9) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size = len(files[name])
            archive.addfile(member, io.BytesIO(files[name]))


if __name__ == "__main__":
    unpack(Path(sys.argv[1]))
