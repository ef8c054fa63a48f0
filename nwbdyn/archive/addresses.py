"""Addresses as typed, parsed: archive, dandiset, version and path, or URL.

Nothing here touches the network or the disk. Forms that name a dandiset are read here, because the
dandi client refuses lower case, `DANDI:ID@VERSION/path` and bare DOIs; links to an archive's pages
and API are left to the client's own parser.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from nwbdyn.errors import AddressError

FORMS = (
    "dandi:ID[@VERSION][/path-or-glob], an archive link, an https URL of a file, "
    "a local file or folder, sample:NAME"
)

_NUMBER = re.compile(r"\d{6}")
_VERSION = r"(?:\d+\.\d+\.\d+|draft)"
_SCHEME = re.compile(r"(?P<instance>[a-z][\w.-]+):(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_EXPLICIT = re.compile(r"dandi://(?P<instance>[\w.-]+)/(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_DANDISET = re.compile(r"(?P<id>[^/@]+)(?:@(?P<version>[^/]*))?(?:/(?P<path>.*))?", re.DOTALL)
_SLASH_VERSION = re.compile(rf"(?P<version>{_VERSION})(?:/(?P<path>.*))?", re.DOTALL)
_ANY_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_DOI = re.compile(r"(?:doi:|https?://(?:dx\.)?doi\.org/)?10\.\d+/dandi\.(.+)", re.IGNORECASE)
_IDENTIFIERS = re.compile(r"https?://identifiers\.org/(dandi:.+)", re.IGNORECASE)
_ARCHIVE_HOSTS = ("dandiarchive.org", "lincbrain.org", "emberarchive.org")
_PREVIEW_HOST = re.compile(r".*dandiarchive-org\.netlify\.app")
_PAGE = re.compile(r"(?i)/dandiset/\d{6}(/|$)")
_ARCHIVE_PATH = re.compile(
    r"/(?:api/)?(?:#/)?(?:dandisets?/\d{6}(?:[/?]|$)|assets/[0-9a-f]{8}-[0-9a-f-]{27}(?:[/?]|$))",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class DandiAddress:
    """One or more assets of a dandiset."""

    dandiset_id: str  # six digits
    version: str | None = None  # None: the newest published version, else draft
    path: str = ""  # exact path, folder, glob, or nothing for all
    instance: str | None = None  # as typed: "dandi", "dandi-sandbox", …; None when it says nothing

    @property
    def is_glob(self) -> bool:
        return any(mark in self.path for mark in "*?[")


def is_sample(text: str) -> bool:
    """True for `sample:NAME`."""
    return text.lower().startswith("sample:")


def is_address(text: str) -> bool:
    """True for everything but a path on this disk."""
    try:
        return is_sample(text) or is_url(text) or parse_dandi(text) is not None
    except AddressError:  # of that form, and wrong
        return True


def is_remote(text: str) -> bool:
    """True for an address of an archive or of the web, also with a scheme that is not read."""
    if is_sample(text) or text.lower().startswith("file:"):
        return False
    return _ANY_URL.match(text) is not None or is_address(text)


def is_url(text: str) -> bool:
    """True for http and https."""
    return text.lower().startswith(("http://", "https://"))


def is_archive_link(url: str) -> bool:
    """True for a page or an API address of a DANDI archive, false for the URL of some file.

    Any host may run an archive, so the path decides, and the host only where it is a known one.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    if any(host == known or host.endswith(f".{known}") for known in _ARCHIVE_HOSTS):
        return True
    if _PREVIEW_HOST.fullmatch(host):
        return True
    fragment = f"#{parts.fragment}" if parts.fragment else ""
    return bool(_ARCHIVE_PATH.match(f"{parts.path}{fragment}"))


def parse_dandi(text: str) -> DandiAddress | None:
    """The dandiset and path that `text` names, or None when it is not of that form.

    Reads `dandi:ID`, `dandi:ID@VERSION`, `dandi:ID/VERSION`, each with `/path-or-glob` behind it,
    in any case and with any instance's name for `dandi`; `dandi://INSTANCE/ID[@VERSION][/path]`;
    and DOIs of dandisets.

    Raises:
        AddressError: the form is right and the identifier is not six digits.
    """
    if doi := _DOI.fullmatch(text):
        text = f"dandi:{doi[1]}"
    elif link := _IDENTIFIERS.fullmatch(text):
        text = link[1]
    elif is_url(text):
        return None
    if explicit := _EXPLICIT.fullmatch(text):
        instance: str | None = explicit["instance"].lower()
        rest = explicit["rest"]
    elif (scheme := _SCHEME.fullmatch(text)) and not scheme["rest"].startswith("//"):
        instance = None if scheme["instance"].lower() == "dandi" else scheme["instance"].lower()
        rest = scheme["rest"]
    else:
        return None
    match = _DANDISET.fullmatch(rest)
    if not match or not _NUMBER.fullmatch(match["id"]):
        if instance not in (None, "dandi"):
            return None  # some other scheme, not an archive's name
        digits = match["id"] if match else ""
        hint = f"; did you mean dandi:{int(digits):06}?" if digits.isdecimal() else "."
        raise AddressError(f"'{text}' names no dandiset: expected dandi: and six digits{hint}")
    version, path = match["version"], match["path"] or ""
    if version is None and (slash := _SLASH_VERSION.fullmatch(path)):
        version, path = slash["version"], slash["path"] or ""
    return DandiAddress(match["id"], version or None, path.lstrip("/"), instance)


def page_link(url: str) -> str:
    """A link to a page of a dandiset without what the page itself remembers: its number, a search.

    The folder that it shows (`location`) stays. Other links stay as they are.
    """
    path, mark, query = url.partition("?")
    if not mark or not _PAGE.search(path):
        return url
    shown = [part for part in re.split("[&#]", query) if part.lower().startswith("location=")]
    shown = [part for part in shown if len(part) > len("location=")]
    return f"{path}?{shown[0]}" if shown else path


def file_name(url: str) -> str:
    """The last part of a URL's path, decoded."""
    return unquote(urlsplit(url).path).rstrip("/").rsplit("/", 1)[-1]
