"""Files that need no archive: on this disk, at any https URL, or simulated here on demand."""

import hashlib
import logging
import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

from nwbdyn.archive import origin
from nwbdyn.archive.addresses import FORMS, file_name
from nwbdyn.archive.assets import closest
from nwbdyn.disclosure import SECRET
from nwbdyn.errors import AddressError
from nwbdyn.recording import Source

_log = logging.getLogger(__name__)
_signed: dict[str, str] = {}  # address without its signature -> with it; this process only


def of_path(text: str) -> list[Source]:
    """A local file, or every NWB file in a local folder, sorted by path.

    A folder left by `dandi download` keeps the dandiset and version that its dandiset.yaml names.

    Raises:
        AddressError: nothing there, or a folder without NWB files.
    """
    if text.lower().startswith("file:"):
        text = url2pathname(unquote(urlsplit(text).path))
    path = Path(text).expanduser()
    _check_link(path)
    if path.is_file() or (path.is_dir() and path.suffix.lower() == ".zarr"):
        return [_file(path)]
    if path.is_dir():
        files = sorted(
            [file for file in path.rglob("*.nwb") if file.is_file()]
            + [file for file in path.rglob("*.nwb.zarr") if file.is_dir()]
        )
        dangling = [file for file in sorted(path.rglob("*.nwb")) if _dangles(file)]
        if dangling and not files:
            _check_link(dangling[0])
        if dangling:
            _log.warning(
                "%d of %d .nwb files in '%s' are links to files that are not there and are left "
                "out, such as '%s'. %s",
                len(dangling),
                len(dangling) + len(files),
                text,
                dangling[0].name,
                _how_to_get(dangling[0]),
            )
        if not files:
            raise AddressError(f"The folder '{text}' holds no .nwb file; expected at least one.")
        return [_file(file) for file in files]
    if re.fullmatch(r"\d{6}", text):
        raise AddressError(f"No file or folder '{text}'; for the dandiset write dandi:{text}.")
    if scheme := re.match(r"([a-z][a-z0-9+.]+)://", text):
        raise AddressError(
            f"'{text}' is no address: {scheme[1]}:// is not supported. An address is {FORMS}. Take "
            "the https URL of the same file."
        )
    hint = ""
    if path.parent.is_dir() and (names := sorted(file.name for file in path.parent.iterdir())):
        hint = f"; in its folder are: {', '.join(closest(path.name, names))}"
    raise AddressError(f"No file or folder '{text}'{hint}. An address is {FORMS}.")


def _dangles(path: Path) -> bool:
    return path.is_symlink() and not path.exists()


def _check_link(path: Path) -> None:
    """Refuse a link to a file that is not there."""
    if _dangles(path):
        raise AddressError(
            f"'{path}' is a link to '{os.readlink(path)}', which is not there. {_how_to_get(path)}"
        )


def _how_to_get(path: Path) -> str:
    """Advice on fetching the file behind a link."""
    if ".git/annex/" in Path(os.readlink(path)).as_posix():
        return "Its content is in a git-annex: get it with: datalad get, or git annex get."
    return "Correct the link, or give the file itself."


def of_url(url: str) -> Source:
    """A file at an https URL; a signature in it stays in this process and out of the Source."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise AddressError(f"'{url}' names no host; expected https://HOST/PATH.nwb.")
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    bare = urlunsplit(
        parts._replace(
            query="" if any(map(SECRET.search, names)) else parts.query,
            fragment="",
            netloc=parts.netloc.rpartition("@")[2],
        )
    )
    if bare != url:
        _signed[bare] = url
    return Source(uri=bare, url=bare, asset_path=file_name(bare) or None)


def signed_url(source: Source) -> str:
    """The URL as it was typed, with its signature where it had one."""
    return _signed.get(source.url, source.url)


def of_sample(address: str) -> Source:
    """A simulated recording, written to the cache folder as an ordinary NWB file."""
    from nwbdyn.simulate.address import normalise
    from nwbdyn.simulate.sample_file import sample_file

    path = sample_file(address)
    return Source(
        uri=normalise(address),
        url=path.resolve().as_uri(),
        asset_path=path.name,
        digest=f"sha256:{sha256(path)}",
        size=path.stat().st_size,
    )


def sha256(path: Path) -> str:
    """The SHA-256 digest of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(path: Path) -> Source:
    where = path.resolve()
    known = origin.of_file(path)
    return Source(
        uri=str(path),
        url=where.as_uri(),
        dandiset_id=known.dandiset_id,
        version=known.version,
        asset_path=known.asset_path,
        asset_id=known.asset_id,
        size=where.stat().st_size if where.is_file() else None,
        instance=known.instance,
    )
