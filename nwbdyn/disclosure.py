"""Values that may leave this machine: names and digests, no paths, no secrets.

A local file is named by its file name, a signed URL loses its query, and texts lose the folders of
this machine. Whatever is exported, reported or written into a run directory goes through here.
Where a local source lies is in the run's `local.json` alone, which is never exported.
"""

import os
import re
import socket
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from nwbdyn.recording import UNKNOWN_ARCHIVE

if TYPE_CHECKING:
    import pandas as pd

    from nwbdyn.recording import Source

# names of URL parameters that grant access, or go with one that does
SECRET = re.compile(
    r"(?i)x-amz-|x-goog-|signature|signed|^sig$|token|^expires$|^policy$|key|auth|secret|passw"
    r"|credential|session|jwt|^code$|^s[etpvr]$|hash|hmac"
)
_WEB = ("http://", "https://")
_ADDRESS = re.compile(r"(?i)(dandi://|(?!file:)[a-z][\w.-]+:(?![/\\]))")  # dandi:, sample:, doi:
_IN_QUOTES_OR_NOT = r"[^\s'\"<>,;()]"
_URL = re.compile(rf"(?i)\b(?:https?|file):/{_IN_QUOTES_OR_NOT}*")
_ROOT = r"(?:~(?:[A-Za-z_][\w.-]*)?/|/(?!/)|\.\.?[/\\]|[A-Za-z]:[/\\](?!/)|\\\\)"
_PATH = re.compile(rf"(?<![\w./\\-]){_ROOT}{_IN_QUOTES_OR_NOT}+")
_QUOTED = re.compile(rf"(?<=')({_ROOT}[^'\"\n]+)(?=')|(?<=\")({_ROOT}[^'\"\n]+)(?=\")")
_OF_A_HOST = re.compile(rf"\b[\w.-]+@[\w.-]+:[/~]{_IN_QUOTES_OR_NOT}*")  # as scp takes it
_SUFFIX = re.compile(r"\w\.[A-Za-z]\w{0,11}$")
IN_NWB = frozenset(  # groups at the top of an NWB file
    {
        *("acquisition", "analysis", "events", "general", "intervals", "processing"),
        *("scratch", "specifications", "stimulus", "units"),
    }
)


def of_source(source: "Source") -> "Source":
    """The same recording, without where it lies on this machine and without a signature."""
    is_local = source.path is not None or not source.url
    if is_local:
        return replace(source, uri=of_uri(source.uri), url="")
    if source.instance is None and _is_of_this_host(source.url):
        return replace(source, uri=of_uri(source.uri), url="", instance=UNKNOWN_ARCHIVE)
    return replace(source, uri=of_uri(source.uri), url=_without_secrets(source.url))


def of_uri(uri: str) -> str:
    """An address as others may read it: of a local file its name, of anything else all of it."""
    if uri.lower().startswith(_WEB):
        return file_name(urlsplit(uri).path) if _is_of_this_host(uri) else _without_secrets(uri)
    return uri if _ADDRESS.match(uri) else file_name(uri)


def of_text(text: str) -> str:
    """A text whose paths on this machine are file names, and whose URLs grant no access."""
    if "/" not in text and "\\" not in text:
        return text
    for folder in _folders():
        text = re.sub(rf"{re.escape(folder)}{_IN_QUOTES_OR_NOT}*", _name_of, text)
    text = _OF_A_HOST.sub(_name_of, _URL.sub(_url_of, text))
    text = _QUOTED.sub(_name_of_path, text)
    return _PATH.sub(_name_of_path, text)


def of_value(value: Any) -> Any:
    """Plain values, as in JSON, with every text in them as `of_text` leaves it."""
    if isinstance(value, str):
        return of_text(value)
    if isinstance(value, Mapping):
        return {of_value(key): of_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(of_value(item) for item in value)
    return value


def of_table(table: "pd.DataFrame") -> "pd.DataFrame":
    """A table whose texts hold file names in place of paths and URLs; the column of ids stays.

    A "/" within a text, as in "L2/3", is none of a path.
    """
    shown = table.copy()
    for name in table.columns:
        if name == "id" or table[name].dtype.kind in "biufM":
            continue
        texts = {value for value in table[name].tolist() if isinstance(value, str)}
        names = {value: of_text(value) for value in texts if _has_address(value)}
        if names:
            shown[name] = table[name].replace(names)
    return shown


def of_decisions(described: Mapping[str, Any]) -> dict[str, Any]:
    """The decisions in config.json, with local files by their names."""
    public = dict(described)
    if isinstance(sessions := public.get("sessions"), Mapping):
        public["sessions"] = {name: of_decisions(one) for name, one in sessions.items()}
    for name in ("test", "targets"):
        if isinstance(public.get(name), str):
            public[name] = of_uri(public[name])
    for group, name in (("source", "uri"), ("adopted", "run")):
        held = public.get(group)
        if isinstance(held, Mapping) and isinstance(held.get(name), str):
            public[group] = {**held, name: of_uri(held[name])}
    if isinstance(binning := public.get("binning"), Mapping):
        public["binning"] = of_binning(binning)
    return public


def of_binning(binning: Mapping[str, Any]) -> dict[str, Any]:
    """The record of the binning, with the file of cell types by its name."""
    chosen = binning.get("chosen")
    if not isinstance(chosen, Mapping) or not isinstance(chosen.get("cell_types"), str):
        return dict(binning)
    return {**binning, "chosen": {**chosen, "cell_types": file_name(chosen["cell_types"])}}


def is_path(text: str) -> bool:
    """True for a text that begins like a path of this or another system."""
    return _PATH.match(text) is not None


def _has_address(text: str) -> bool:
    return any(form.search(text) is not None for form in (_PATH, _URL, _OF_A_HOST))


def file_name(path: object) -> str:
    """The last part of a path or of a file URL, in the way of any system."""
    text = str(path)
    if text.lower().startswith("file:"):
        text = unquote(urlsplit(text).path)
    return re.split(r"[/\\]", text.rstrip("/\\"))[-1]


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    return urlunsplit(
        parts._replace(
            query="" if any(map(SECRET.search, names)) else parts.query,
            fragment="",
            netloc=parts.netloc.rpartition("@")[2],
        )
    )


def _is_of_this_host(url: str) -> bool:
    try:
        host = (urlsplit(url).hostname or "").lower()
    except ValueError:
        return False
    own = socket.gethostname().lower()
    return own not in ("", "localhost") and (host == own or host.startswith(f"{own}."))


def _folders() -> list[str]:
    """Folders of this machine that a text may name, the longest first."""
    folders = {os.path.expanduser("~"), tempfile.gettempdir(), os.getcwd()}
    folders |= {os.path.realpath(folder) for folder in folders}
    long_enough = [folder for folder in folders if len(folder.strip("/\\")) > 2]
    return sorted(long_enough, key=len, reverse=True)


def _name_of(match: re.Match[str]) -> str:
    path, end = _trimmed(match[0])
    return f"{file_name(path)}{end}"


def _url_of(match: re.Match[str]) -> str:
    url, end = _trimmed(match[0])
    try:
        is_file = url.lower().startswith("file:")
        shown = file_name(unquote(url[5:])) if is_file else _without_secrets(url)
    except ValueError:  # no URL after all
        shown = file_name(url)
    return f"{shown}{end}"


def _name_of_path(match: re.Match[str]) -> str:
    """The name of a path, of this machine or another; one inside an NWB file stays."""
    path, end = _trimmed(match[0])
    if path.startswith("/") and _is_in_nwb(path) and not _exists(path):
        return match[0]
    return f"{file_name(path)}{end}"


def _is_in_nwb(path: str) -> bool:
    """True for `/units` and the like. `/scratch` is also a disk of many clusters, so below it only
    what lies at its top counts; and nothing does that ends like a file.
    """
    top, *below = path.strip("/").split("/")
    if not below:
        return True  # one name, with no folder in it
    if top not in IN_NWB or _SUFFIX.search(path):
        return False
    return top != "scratch" or len(below) == 1


def _exists(path: str) -> bool:
    folder = path.rpartition("/")[0]
    try:
        return Path(path).exists() or ("/" in folder.strip("/") and Path(folder).is_dir())
    except (OSError, ValueError):
        return False


def _trimmed(text: str) -> tuple[str, str]:
    """Without the marks that end a sentence, and these."""
    bare = text.rstrip(".:!?]}")
    return bare, text[len(bare) :]
