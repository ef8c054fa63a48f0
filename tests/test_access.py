"""Results of a recording go to an open dandiset only where everybody may see the recording."""

import ipaddress
import socket
import threading
import uuid
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import lab_files
import pytest
from click.testing import CliRunner, Result
from standin import KEY, StandIn

import nwbdyn
from nwbdyn import archive
from nwbdyn.archive import connection
from nwbdyn.cli import main
from nwbdyn.errors import ArchiveError, ResultsError
from nwbdyn.recording import Source
from nwbdyn.workflows import archive_upload


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("DANDI_INSTANCE", "DANDI_SANDBOX_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


@pytest.fixture
def standin(tmp_path):
    """An archive with a recording in 000001 and the empty dandisets 000002 (open) and 000003."""
    asset = tmp_path / "archive/000001/sub-m1/sub-m1_ses-s1.nwb"
    asset.parent.mkdir(parents=True)
    lab_files.write_imaging(asset)
    for name in ("000002", "000003"):
        (tmp_path / "archive" / name).mkdir()
    with StandIn(tmp_path / "archive", embargoed=["000003"]) as server:
        yield server


def by_link(server: StandIn) -> Source:
    """The recording by the link of its asset, which names no dandiset."""
    (path,) = server.paths("000001")
    (source,) = archive.resolve(f"{server.api}/assets/{server.asset_id(path)}/")
    assert source.dandiset_id is None
    return source


@pytest.fixture
def as_if_public(monkeypatch):
    """Servers of this machine stand for servers of the internet."""
    monkeypatch.setattr(ipaddress.IPv4Address, "is_global", True)


def metadata(server: StandIn, **stated: object) -> None:
    (path,) = server.paths("000001")
    server.metadata[server.asset_id(path)] = stated


def check(server: StandIn, source: Source, to: str = "dandi:000002", **more: bool) -> None:
    archive_upload.check_draft(to, source, instance=server.api, **more)


def test_an_open_asset_by_its_link_may_go_to_an_open_dandiset(standin):
    source = by_link(standin)
    assert archive.access(source) == "open"
    check(standin, source)


def test_an_embargoed_asset_by_its_link_is_refused(standin):
    standin.embargoed.add("000001")
    source = by_link(standin)
    assert archive.access(source) == "embargoed"
    with pytest.raises(ResultsError, match=r"is embargoed.*--allow-embargoed"):
        check(standin, source)
    with pytest.raises(ResultsError, match="is embargoed"):
        check(standin, source, allow_unknown_access=True)
    check(standin, source, allow_embargoed=True)
    check(standin, source, to="dandi:000003")


EMBARGOED = {"status": "dandi:EmbargoedAccess"}
OPEN = {"status": "dandi:OpenAccess"}


@pytest.mark.parametrize(
    ("stated", "access"),
    [
        ([OPEN], "open"),
        ([EMBARGOED], "embargoed"),
        ([OPEN, EMBARGOED], "embargoed"),
        ([{"status": "dandi:RestrictedAccess"}], "embargoed"),
        ([{"status": "dandi:SomethingNew"}], "unknown"),
        ([OPEN, {"status": "dandi:SomethingNew"}], "unknown"),
        ([{}], "unknown"),
        (["dandi:OpenAccess"], "unknown"),
        ([], "unknown"),
        (None, "unknown"),
        ("dandi:OpenAccess", "unknown"),
    ],
)
def test_the_access_is_what_the_archive_states_of_the_asset(standin, stated, access):
    source = by_link(standin)
    metadata(standin, access=stated)
    assert archive.access(source) == access


def test_unknown_access_is_refused_unless_the_flag_says_so(standin):
    source = by_link(standin)
    metadata(standin, access=None)
    with pytest.raises(ResultsError, match=r"is unknown .*--allow-unknown-access"):
        check(standin, source)
    with pytest.raises(ResultsError, match="is unknown"):
        check(standin, source, allow_embargoed=True)
    check(standin, source, allow_unknown_access=True)
    check(standin, source, to="dandi:000003")


@pytest.mark.parametrize("asset_id", [str(uuid.UUID(int=1)), "../../info", ""])
def test_an_asset_that_the_archive_does_not_have_is_unknown(standin, asset_id):
    source = replace(by_link(standin), asset_id=asset_id)
    with pytest.raises(ResultsError, match="is unknown"):
        check(standin, source)
    assert not any(".." in line for line in standin.requested)


def test_an_archive_that_does_not_answer_is_unknown(standin):
    source = replace(by_link(standin), instance="http://127.0.0.1:9/api")
    with pytest.raises(ResultsError, match=r"is unknown .*Cannot reach the archive"):
        check(standin, source)
    check(standin, source, allow_unknown_access=True)


def test_without_a_key_an_embargoed_asset_is_unknown(standin, monkeypatch):
    source = by_link(standin)
    standin.embargoed.add("000001")
    monkeypatch.delenv("DANDI_API_KEY")
    with pytest.raises(ResultsError, match=r"is unknown .*asks for a key"):
        check(standin, source)


ASSET, DANDISET = r"GET /api/assets/[^/]+/info/", r"GET /api/dandisets/000001/?"


@pytest.mark.parametrize("requested", [ASSET, DANDISET])
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "HTTP 401"),
        (403, "HTTP 403"),
        (404, "has no (asset|dandiset)"),
        (200, "cannot be read"),
        (302, "cannot be read"),
        (None, "stopped answering .*no answer in"),
    ],
)
def test_an_answer_that_states_no_access_is_unknown(
    standin, monkeypatch, requested, status, reason
):
    source = by_link(standin)
    if requested == DANDISET:
        (source,) = archive.resolve("dandi:000001", instance=standin.api)
    if status is None:
        monkeypatch.setattr(connection, "_SILENCE", 0.2)
        standin.silent.add(requested)
    else:
        standin.refused[requested] = (status, "other words")
    with pytest.raises(ResultsError, match=rf"is unknown .*{reason}") as refused:
        check(standin, source)
    assert "\n" not in str(refused.value)
    assert KEY not in str(refused.value)


@pytest.mark.usefixtures("as_if_public")
def test_a_file_on_the_web_is_open_where_everybody_can_read_it(standin):
    (path,) = standin.paths("000001")
    url = f"{standin.storage}/blobs/{standin.asset_id(path)}"
    source = Source(uri=url, url=url)
    assert archive.access(source) == "open"
    standin.embargoed.add("000001")  # now it needs a signature
    (signed,) = archive.resolve(f"{url}?signature={standin.signature}")
    assert archive.access(signed) == "unknown"
    with pytest.raises(ResultsError, match="--allow-unknown-access"):
        check(standin, signed)
    assert not any("blobs" in key for key in standin.keys)


class Web(BaseHTTPRequestHandler):
    """A server whose paths answer as such servers do; `/private` needs `?t=word`."""

    content = b"\x89HDF\r\n\x1a\n" + bytes(92)
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        page = b"<html>Log in</html>".ljust(len(self.content))
        whole = {"Content-Type": "application/octet-stream"}
        part = whole | {"Content-Range": f"bytes 0-0/{len(self.content)}"}
        html = {"Content-Type": "text/html"}
        status, headers, body = {
            "/ranged": (206, part, self.content[:1]),
            "/whole": (200, whole, self.content),
            "/login": (200, html, page),
            "/login-untyped": (200, {}, page),
            "/login-ranged": (206, html | part | html, page[:1]),
            "/to-login": (302, {"Location": "/login"}, b""),
            "/to-file": (302, {"Location": "/ranged"}, b""),
            "/other-range": (206, whole | {"Content-Range": "bytes 5-5/100"}, b"x"),
            "/other-size": (206, whole | {"Content-Range": "bytes 0-0/7"}, b"x"),
            "/short": (200, whole, self.content[:50]),
            "/private": (206, part, b"x") if query == "t=word" else (403, {}, b""),
            "/store.zarr/.zgroup": (200, whole, b'{"zarr_format": 2}'),
            "/third.zarr/zarr.json": (200, whole, b'{"zarr_format": 3, "node_type": "group"}'),
            "/login.zarr/.zgroup": (200, html, page),
            "/other.zarr/.zgroup": (200, whole, b'{"error": "log in"}'),
            "/list.zarr/.zgroup": (200, whole, b'["zarr_format"]'),
            "/closed.zarr/.zgroup": (403, {}, b'{"zarr_format": 2}'),
            "/broken.zarr/.zgroup": (200, whole, b'{"zarr_'),
        }.get(path, (404, {}, b""))
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def web():
    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("ranged", "open"),
        ("whole", "open"),
        ("to-file", "open"),
        ("login", "unknown"),
        ("login-untyped", "unknown"),
        ("login-ranged", "unknown"),
        ("to-login", "unknown"),
        ("other-range", "unknown"),
        ("other-size", "unknown"),
        ("short", "unknown"),
        ("private", "unknown"),
        ("private?t=word", "unknown"),
    ],
)
@pytest.mark.usefixtures("as_if_public")
def test_only_bytes_of_the_file_make_it_open(web, path, expected):
    url = f"{web}/{path}"
    assert archive.access(Source(uri=url, url=url, size=len(Web.content))) == expected


@pytest.mark.parametrize(("path", "expected"), [("ranged", "open"), ("whole", "unknown")])
@pytest.mark.usefixtures("as_if_public")
def test_a_whole_answer_of_unknown_size_proves_nothing(web, path, expected):
    url = f"{web}/{path}"
    assert archive.access(Source(uri=url, url=url)) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("store.zarr", "open"),
        ("store.zarr/", "open"),
        ("third.zarr", "open"),
        ("login.zarr", "unknown"),
        ("other.zarr", "unknown"),
        ("list.zarr", "unknown"),
        ("closed.zarr", "unknown"),
        ("broken.zarr", "unknown"),
        ("none.zarr", "unknown"),
    ],
)
@pytest.mark.usefixtures("as_if_public")
def test_a_store_on_the_web_is_open_where_everybody_can_read_its_root(web, path, expected):
    source = Source(uri=f"{web}/{path}", url=f"{web}/{path}?token=abc")
    assert archive.access(source) == expected


@pytest.mark.parametrize("path", ["ranged", "store.zarr"])
def test_what_only_this_network_reaches_is_not_open_to_everybody(web, monkeypatch, path):
    url = f"{web}/{path}"
    source = Source(uri=url, url=url, size=len(Web.content))
    assert archive.access(source) == "unknown"
    by_name = url.replace("127.0.0.1", "localhost")
    assert archive.access(replace(source, uri=by_name, url=by_name)) == "unknown"


@pytest.mark.parametrize(
    ("public", "expected"),
    [((True, True), "open"), ((False, True), "unknown"), ((True, False), "unknown")],
)
def test_a_redirect_into_this_network_is_not_open(web, monkeypatch, public, expected):
    answers = iter(public)  # of the host that was named, of the one that answered
    monkeypatch.setattr(ipaddress.IPv4Address, "is_global", property(lambda _: next(answers)))
    source = Source(uri=f"{web}/to-file", url=f"{web}/to-file", size=len(Web.content))
    monkeypatch.setattr("socket.getaddrinfo", _one_address(socket.getaddrinfo))
    assert archive.access(source) == expected


def _one_address(lookup):
    return lambda *a, **k: lookup(*a, **k)[:1]


@pytest.mark.parametrize(
    ("uri", "url", "expected"),
    [
        ("recording.nwb", "", "local"),
        ("recording.nwb", "file:///data/recording.nwb", "local"),
        ("C:\\data\\recording.nwb", "", "local"),
        ("sample:reach", "file:///cache/reach.nwb", "local"),
        ("dandi:000001@draft/sub-m1/sub-m1.nwb", "", "unknown"),
        ("DANDI:1", "", "unknown"),
        ("https://example.org/a.nwb", "", "unknown"),
        ("s3://bucket/a.nwb", "s3://bucket/a.nwb", "unknown"),
        ("a.nwb", "ftp://example.org/a.nwb", "unknown"),
        ("dandi://ember-dandi/000001/a.nwb", "", "unknown"),
    ],
)
def test_an_address_without_the_names_of_an_archive_is_not_the_users_own(uri, url, expected):
    assert archive.access(Source(uri=uri, url=url)) == expected


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        (None, "asked"),
        ("dandi", "asked"),
        ("https://api.dandiarchive.org/api/", "asked"),
        ("dandi-sandbox", "unknown"),
        ("http://127.0.0.1:9/api", "unknown"),
    ],
)
@pytest.mark.parametrize("known", [{"dandiset_id": "000001"}, {"asset_id": str(uuid.UUID(int=1))}])
def test_a_dandiset_of_no_archive_is_not_looked_for_in_another(monkeypatch, named, expected, known):
    """The main archive's embargoed 000001 is not the sandbox's open 000001."""
    if named is not None:
        monkeypatch.setenv("DANDI_INSTANCE", named)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nothing is reached
    source = Source(uri="a.nwb", url="", **known)
    try:
        answer = archive.access(source)
    except ArchiveError as error:
        answer = "asked" if "'dandi'" in str(error) or "dandiarchive" in str(error) else "?"
    assert answer == expected


def test_a_local_file_of_no_archive_is_the_users_own(standin, tmp_path):
    (source,) = archive.resolve(str(standin.paths("000001")[0]))
    assert archive.access(source) == "local"
    check(standin, source)


def test_an_embargoed_file_that_was_fetched_is_still_embargoed(standin, tmp_path):
    standin.embargoed.add("000001")
    (source,) = archive.resolve("dandi:000001", instance=standin.api)
    path = archive.download(source, tmp_path / "fetched")
    (local,) = archive.resolve(str(path))
    assert (local.dandiset_id, local.instance) == ("000001", standin.api)
    assert archive.access(local) == "embargoed"
    again = archive.download(source, tmp_path / "fetched")
    assert again == path


def export(run: Path, server: StandIn, *more: str) -> Result:
    arguments = ["export", str(run), "--upload", "dandi:000002", "--instance", server.api, *more]
    return CliRunner().invoke(main, arguments)


def test_the_command_refuses_before_anything_is_written_and_takes_the_flag(standin, tmp_path):
    source = by_link(standin)
    fit = lab_files.fit_of(standin.paths("000001")[0])
    run = replace(fit, source=source).save(tmp_path / "run")
    assert nwbdyn.load(run).source.asset_id == source.asset_id
    metadata(standin, access=[])
    refused = export(run, standin)
    assert refused.exit_code == 1
    assert "--allow-unknown-access" in refused.stderr
    assert not list(run.glob("*.nwb"))
    assert export(run, standin, "--allow-unknown-access").exit_code == 0
    alone = CliRunner().invoke(main, ["export", str(run), "--allow-unknown-access"])
    assert (alone.exit_code, "go with --upload" in alone.stderr) == (2, True)
