"""Connection to one archive: which instance, whether it is reachable, and a key only on demand.

Wraps the dandi client, imported inside functions because it is slow to import. Keys come from the
client's own places (environment, keyring), go to the client and nowhere else; what the client says
about a failed request is replaced by one plain line.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from nwbdyn import cache
from nwbdyn.errors import ArchiveError, ConfigError

if TYPE_CHECKING:
    from dandi.consts import DandiInstance
    from dandi.dandiapi import DandiAPIClient
    from requests import Session

T = TypeVar("T")
DEFAULT_INSTANCE = "dandi"
_PATIENCE = 10  # seconds for the first answer of an archive
_SILENCE = 60  # seconds without a byte of a later answer
_UNREADABLE = (KeyError, TypeError, ValueError)  # what the client raises for other JSON
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Connection:
    """A client of one archive; use `connect`, which closes it."""

    def __init__(self, client: "DandiAPIClient", *, known: bool) -> None:
        self.client = client
        self.keyed = False  # True once the archive has asked for a key and accepted it
        self._known = known

    @property
    def name(self) -> str:
        """The value of `Source.instance`: the client's name of the archive, else the API's URL."""
        instance = self.client.dandi_instance
        return instance.name if self._known else instance.api

    def ask(self, call: Callable[[], T]) -> T:
        """`call()`, once more with a key when the archive refuses the first time.

        Raises:
            ArchiveError: unreachable, refused, or an answer that makes no sense.
        """
        import requests

        with self._plain_words():
            try:
                return call()
            except requests.HTTPError as error:
                if self.keyed or _status(error) not in (401, 403):
                    raise
            self.authenticate()
            return call()

    def authenticate(self) -> None:
        """Give the archive the user's key.

        Raises:
            ArchiveError: there is no key, or the archive does not accept it.
        """
        import requests

        if self.keyed:
            return
        key = self._key()
        if not key:
            raise ArchiveError(
                f"The archive '{self.name}' asks for a key (HTTP 401: embargoed, or an upload): "
                f"{self._how_to_set()}."
            )
        with self._plain_words():
            try:
                self.client.authenticate(key)
            except requests.HTTPError as error:
                if _status(error) not in (401, 403):
                    raise
                raise ArchiveError(
                    f"The archive '{self.name}' does not accept the key "
                    f"(HTTP {_status(error)}): {self._how_to_set()}."
                ) from None
        self.keyed = True

    def _key(self) -> str | None:
        from dandi.consts import known_instances

        name = self.client.dandi_instance.name
        if self._known and (key := os.environ.get(self.client.api_key_env_var)):
            return key
        if self._takes_default_key() and (key := os.environ.get("DANDI_API_KEY")):
            return key
        if not self._known and name.lower() in known_instances:
            return None  # a host that is called like an archive
        import keyring
        from keyring.errors import KeyringError

        try:
            return keyring.get_password(f"dandi-api-{name}", "key")
        except KeyringError:
            return None

    def _takes_default_key(self) -> bool:
        """True if DANDI_API_KEY applies to an archive without a name in the client.

        Only where the environment names that archive too, or on this machine: a link in an address
        must not be able to draw the key out.
        """
        if self._known:
            return False
        named = os.environ.get("DANDI_INSTANCE", "").rstrip("/")
        api = self.client.dandi_instance.api.rstrip("/")
        return named in (api, api.removesuffix("/api")) or urlsplit(api).hostname in _LOOPBACK

    def _how_to_set(self) -> str:
        if self._known:
            return f"set {self.client.api_key_env_var} to your API key from the archive's web page"
        return (
            f"set DANDI_INSTANCE to {self.client.dandi_instance.api} and DANDI_API_KEY to your key"
        )

    @contextmanager
    def _plain_words(self) -> Iterator[None]:
        import pydantic
        import requests

        where = f"The archive '{self.name}'"
        try:
            yield
        except requests.HTTPError as error:
            status = _status(error)
            if status in (401, 403):
                message = f"refuses this request even with the key (HTTP {status}): ask its owner"
            elif status is not None and 400 <= status < 500 and status != 429:
                text = "" if error.response is None else " ".join(error.response.text.split())
                message = f"rejected the request (HTTP {status}): {text[:200]}"
            else:
                message = f"answered HTTP {status}: try again later"
            raise ArchiveError(f"{where} {message}.") from None
        except (requests.ConnectionError, requests.Timeout) as error:
            raise ArchiveError(
                f"{where} stopped answering ({_short(error)}): check the network and try again."
            ) from None
        except (requests.RequestException, pydantic.ValidationError, *_UNREADABLE) as error:
            raise ArchiveError(
                f"{where} gave an answer that cannot be read ({type(error).__name__}): "
                "try again later."
            ) from None


@contextmanager
def connect(instance: str | None = None) -> Iterator[Connection]:
    """A connection to an archive.

    Args:
        instance: the client's name for it ("dandi", "dandi-sandbox", …) or the URL of its API;
            by default the environment variable DANDI_INSTANCE, else "dandi".

    Raises:
        ConfigError: no archive of that name.
        ArchiveError: it cannot be reached, or is no DANDI archive.
    """
    with _quiet_client():
        from dandi.dandiapi import DandiAPIClient

        instance_url, known = _instance(
            instance or os.environ.get("DANDI_INSTANCE") or DEFAULT_INSTANCE
        )
        with DandiAPIClient(dandi_instance=instance_url) as client:
            _limit(client.session)
            yield Connection(client, known=known)


def _limit(session: "Session") -> None:
    """Let requests end where the server stops answering; the client sets no limit of its own."""
    import requests
    from requests.adapters import HTTPAdapter

    limits = (_PATIENCE, _SILENCE)

    class Limited(HTTPAdapter):
        def send(self, *args: Any, **more: Any) -> requests.Response:
            return super().send(*args, **{**more, "timeout": more.get("timeout") or limits})

    for scheme in ("http://", "https://"):
        session.mount(scheme, Limited())


def _instance(text: str) -> "tuple[DandiInstance, bool]":
    """The instance that a name or URL stands for, reached once; and whether the client knows it."""
    from dandi.consts import DandiInstance, known_instances, known_instances_rev

    url = text.rstrip("/")
    name = known_instances_rev.get(url, text.lower())
    if known := known_instances.get(name):
        _info(known.api, known.name)
        return known, True
    if not url.lower().startswith(("http://", "https://")):
        raise ConfigError(
            f"No archive named '{text}'. Choose from: {', '.join(sorted(known_instances))}, "
            "or give the URL of its API."
        )
    parts = urlsplit(url)
    root = f"{parts.scheme}://{parts.netloc}"
    info = _info(url if parts.path.endswith("/api") else f"{root}/api", text)
    try:
        api = str(info["services"]["api"]["url"]).rstrip("/")  # type: ignore[index]
    except (KeyError, TypeError):
        raise ArchiveError(f"'{text}' is no DANDI archive: its API tells no address.") from None
    for candidate in known_instances.values():
        if candidate.api.rstrip("/") == api:
            return candidate, True
    return DandiInstance(urlsplit(api).netloc, None, api), False


def _info(api: str, name: str) -> dict[str, object]:
    """The archive's description of itself; the first contact, so it fails fast with the reason."""
    import requests

    try:
        answer = requests.get(f"{api.rstrip('/')}/info/", timeout=_PATIENCE)
    except requests.RequestException as error:
        raise ArchiveError(
            f"Cannot reach the archive '{name}' at {api} ({_short(error)}): "
            "check the network, or use a local file or a sample: address."
        ) from None
    if answer.status_code != 200:
        raise ArchiveError(
            f"The archive '{name}' at {api} answered HTTP {answer.status_code}: try again later."
        )
    try:
        info = answer.json()
    except ValueError:
        info = None
    if not isinstance(info, dict):
        raise ArchiveError(f"'{api}' is no DANDI archive: expected the URL of its API.")
    return info


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Keep the client from requesting newer versions from a third party and from logging twice."""
    os.environ.setdefault("DANDI_NO_ET", "1")
    cache.replace_unwritable()
    log, silence = logging.getLogger("dandi"), logging.NullHandler()
    log.addHandler(silence)
    try:
        yield
    finally:
        log.removeHandler(silence)


def _status(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


def _short(error: Exception) -> str:
    """The reason without the URL, which may carry a signature."""
    import requests

    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy refused"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    if isinstance(error, requests.Timeout):
        return (
            f"no answer in {_SILENCE if isinstance(error, requests.ReadTimeout) else _PATIENCE} s"
        )
    text = str(error)
    if "NameResolution" in text or "resolve" in text:
        return "its name does not resolve; no network?"
    return "no connection"
