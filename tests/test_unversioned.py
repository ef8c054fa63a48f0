"""Servers that do not say which version of a file they send, and addresses out of the ordinary."""

import logging
import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import lab_files
import pytest
from standin import StandIn
from standin.storage import serve

import nwbdyn
from nwbdyn import archive, streaming
from nwbdyn.archive.addresses import page_link
from nwbdyn.errors import AddressError, StreamError
from nwbdyn.fitting.fit import fit
from nwbdyn.recording import Source

SIZE = 3_000_000


class Server:
    """One file at one address, sent as `fault` says."""

    def __init__(self, path: Path, fault: str | None) -> None:
        self.path, self.fault = path, fault
        over = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(handler) -> None:  # noqa: N805
                serve(handler, self.path, "1", self.fault, over)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/{path.name}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def content(tmp_path) -> Path:
    path = tmp_path / "a.nwb"
    path.write_bytes(random.Random(0).randbytes(SIZE))
    return path


@pytest.fixture
def served(monkeypatch):
    """Start servers; they stop with the test."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("NWBDYN_CACHE_SIZE", "0")
    started: list[Server] = []

    def start(path: Path, fault: str | None) -> Server:
        started.append(Server(path, fault))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def of(server: Server) -> Source:
    return Source(uri=server.url, url=server.url)


def test_a_server_that_names_no_version_is_said_once(content, served, caplog):
    with streaming.open_file(of(served(content, "anonymous"))) as file:
        assert file.read() == content.read_bytes()
    message = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(message) == 1
    assert "sends neither ETag nor Last-Modified" in message[0].getMessage()


def test_a_server_that_names_a_version_is_asked_nothing_more(content, served, caplog):
    with streaming.open_file(of(served(content, None))) as file:
        file.read()
        before = file.requests
        file.check_unchanged()
        assert file.requests == before
    assert not caplog.records


def other_end(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def other_start(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


@pytest.mark.parametrize("change", [other_start, other_end, lambda data: data[:-1]])
def test_a_file_replaced_while_it_was_read_is_an_error_at_the_end(content, served, change):
    def read_and_change() -> None:
        with streaming.open_file(of(served(content, "anonymous"))) as file:
            file.read()
            content.write_bytes(change(content.read_bytes()))

    with pytest.raises(StreamError, match="replaced while it was read"):
        read_and_change()


def test_an_error_on_the_way_is_not_covered_by_the_check(content, served):
    def read_and_fail() -> None:
        with streaming.open_file(of(served(content, "anonymous"))) as file:
            content.write_bytes(other_end(file.read()))
            raise KeyError("of the reader")

    with pytest.raises(KeyError):
        read_and_fail()


def test_a_fit_of_a_file_that_was_replaced_ends_before_training(tmp_path, served, data):
    path = tmp_path / "worm.nwb"
    path.write_bytes((data / "ophys/celegans_dag2023_2022-07-26-38.nwb").read_bytes())
    server = served(path, "anonymous")
    with nwbdyn.open(server.url) as recording:
        path.write_bytes(path.read_bytes() + b"more")
        with pytest.raises(StreamError, match="replaced while it was read"):
            fit(recording, "netformer", epochs=1, run=tmp_path / "run")
        assert not (tmp_path / "run").exists()
        path.write_bytes(path.read_bytes()[:-4])


def test_a_download_of_a_file_that_was_replaced_leaves_no_file(content, served, tmp_path):
    server = served(content, "anonymous")

    def change(progress: object) -> None:
        content.write_bytes(other_end(content.read_bytes()))

    folder = tmp_path / "here"
    with pytest.raises(StreamError, match="replaced while it was read"):
        archive.download(of(server), folder, report=change)
    assert not (folder / "a.nwb").exists()


def test_a_total_that_is_not_named_is_taken_from_a_whole_answer(content, served):
    with streaming.open_file(of(served(content, "uncounted"))) as file:
        assert file.size == SIZE
        assert file.read() == content.read_bytes()


# Addresses


@pytest.mark.parametrize(
    ("link", "bare"),
    [
        ("/dandiset/000128/draft/files?location=sub-m1%2F&page=1", "?location=sub-m1%2F"),
        ("/dandiset/000128/draft/files?page=2&location=sub-m1", "?location=sub-m1"),
        ("/dandiset/000128/0.220113.0400/files?location=", ""),
        ("/dandiset/000128?search=mouse&pos=3", ""),
    ],
)
def test_what_a_page_remembers_for_itself_is_no_part_of_the_address(link, bare):
    root = "https://dandiarchive.org"
    assert page_link(root + link) == root + link.partition("?")[0] + bare
    api = f"{root}/api/dandisets/000128/versions/draft/assets/?path=sub-m1&page=1"
    assert page_link(api) == api


@pytest.fixture
def brackets(tmp_path, monkeypatch):
    """An archive with a folder in brackets."""
    monkeypatch.setenv("DANDI_NO_ET", "1")
    for name in ("sub-[m1]/sub-[m1].nwb", "sub-m/sub-m.nwb", "sub-1/sub-1.nwb"):
        path = tmp_path / "archive/000001" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(name.encode())
    with StandIn(tmp_path / "archive") as server:
        yield server


@pytest.mark.parametrize(
    ("address", "actual"),
    [
        ("dandi:000001/sub-[m1]/sub-[m1].nwb", ["sub-[m1]/sub-[m1].nwb"]),
        ("dandi:000001/sub-[m1]", ["sub-[m1]/sub-[m1].nwb"]),
        ("dandi:000001/sub-[m]/*.nwb", ["sub-m/sub-m.nwb"]),
    ],
)
def test_a_path_with_brackets_is_itself_before_it_is_a_pattern(brackets, address, actual):
    sources = archive.resolve(address, instance=brackets.api)
    assert [source.asset_path for source in sources] == actual


def test_a_local_file_with_brackets_is_read(tmp_path):
    folder = tmp_path / "data [1]"
    folder.mkdir()
    lab_files.write_imaging(folder / "a[b].nwb")
    for address in (folder / "a[b].nwb", folder):
        with nwbdyn.open(str(address)) as recording:
            assert recording.source.name == "a[b]"


def test_a_link_to_an_annex_that_is_not_here_says_how_to_get_it(tmp_path, caplog):
    link = tmp_path / "a.nwb"
    link.symlink_to("../.git/annex/objects/Xx/Yy/MD5E-s9--ab.nwb/MD5E-s9--ab.nwb")
    for address in (link, tmp_path):
        with pytest.raises(AddressError, match="datalad get, or git annex get"):
            archive.resolve(str(address))
    lab_files.write_imaging(tmp_path / "b.nwb")
    (source,) = archive.resolve(str(tmp_path))
    assert source.name == "b"
    assert "1 of 2 .nwb files" in caplog.text
    other = tmp_path / "c.nwb"
    other.symlink_to("nowhere.nwb")
    with pytest.raises(
        AddressError, match=r"is a link to 'nowhere\.nwb', which is not there\. Corr"
    ):
        archive.resolve(str(other))
