"""Bytes of remote files: the right ones, or an error; and few requests on the way."""

import gc
import random
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import pytest
from standin import FAULTS, KEY, Faults, StandIn

from nwbdyn import archive
from nwbdyn.errors import AddressError, ArchiveError, StreamError
from nwbdyn.recording import Source
from nwbdyn.streaming import Patience, RangedFile, open_file
from nwbdyn.streaming.file import BLOCK
from nwbdyn.streaming.remote import Remote

HASTY = Patience(connect=2, silence=0.3, total=5, attempts=4, pause=0.01)
FILE = "sub-a/sub-a_ecephys.nwb"
ARRAYS = {"small": 100, "rows": 40_000, "raw": 600_000}


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in ("DANDI_API_KEY", "DANDI_INSTANCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("NWBDYN_CACHE_SIZE", "0")  # every byte from the server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An HDF5 file of 5 MB that does not compress, as an asset of an open and an embargoed one."""
    root = tmp_path_factory.mktemp("archive")
    generator = np.random.default_rng(0)
    for dandiset in ("000001", "000002"):
        path = root / dandiset / FILE
        path.parent.mkdir(parents=True)
        with h5py.File(path, "w") as file:
            for name, length in ARRAYS.items():
                file[name] = generator.random(length)
            file.create_dataset("chunked", data=generator.random((3000, 10)), chunks=(100, 10))
    return root


@pytest.fixture
def standin(folder):
    with StandIn(folder, embargoed=["000002"]) as running:
        yield running


@pytest.fixture
def data(folder) -> bytes:
    return (folder / "000001" / FILE).read_bytes()


@pytest.fixture
def source(standin) -> Source:
    return archive.resolve("dandi:000001", instance=standin.api)[0]


def _storage(standin: StandIn) -> list[str]:
    return [line for line in standin.requested if "/blobs/" in line]


def test_a_remote_file_reads_like_a_local_one(source, data):
    with open_file(source) as file:
        assert (file.seekable(), file.readable(), file.writable()) == (True, True, False)
        assert file.seek(0, 2) == len(data)
        assert file.read(10) == b""
        for start, stop in (
            (0, 1),
            (70_000, 70_001),
            (1_000_000, 3_000_000),
            (len(data) - 5, None),
        ):
            file.seek(start)
            assert file.read(-1 if stop is None else stop - start) == data[start:stop]
        file.seek(-3, 2)
        assert file.read() == data[-3:]
        file.seek(0)
        assert file.read() == data
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


def test_h5py_reads_a_remote_file(source, folder):
    with open_file(source) as file, h5py.File(file, "r") as remote:
        local = h5py.File(folder / "000001" / FILE)
        for name in (*ARRAYS, "chunked"):
            np.testing.assert_array_equal(remote[name][...], local[name][...])
        local.close()


def test_opening_takes_both_ends_at_once_and_asks_no_head(source, standin):
    with open_file(source) as file, h5py.File(file, "r") as remote:
        assert remote["small"][0] >= 0
        assert len(_storage(standin)) <= file.requests <= 4  # one may not have arrived yet
        assert file.transferred < 2_200_000
    assert not [line for line in _storage(standin) if line.startswith("HEAD")]


def test_the_size_comes_from_the_first_answer_when_nobody_knows_it(source, data):
    with open_file(Source(uri=source.url, url=source.url)) as file:
        assert file.size == len(data)
        assert file.etag == f'"{source.digest.removeprefix("dandi-etag:")}"'
        assert file.read() == data


def test_a_reader_that_moves_on_is_read_ahead_for(source, standin, data):
    with open_file(source) as file:
        got = b"".join(iter(lambda: file.read(20_000), b""))
    assert got == data
    assert len(_storage(standin)) < 12  # 250 reads
    assert file.transferred == len(data)


@pytest.mark.parametrize("small", [16 << 20, 1 << 20])
def test_only_a_small_file_that_is_read_here_and_there_comes_whole(
    small, source, data, monkeypatch
):
    monkeypatch.setattr("nwbdyn.streaming.file.SMALL", small)
    with open_file(source) as file:
        for start in (3_600_000, 2_900_000, 2_200_000, 1_500_000):
            file.seek(start)
            assert file.read(100) == data[start : start + 100]
        for _ in range(500):
            if file.transferred == len(data):
                break
            time.sleep(0.002)
        assert (file.transferred == len(data)) == (len(data) <= small)
        file.seek(0)
        assert file.read() == data


def test_nothing_is_fetched_twice(source, standin):
    with open_file(source) as file:
        file.read()
        before = file.requests
        file.seek(12345)
        file.read(100_000)
        assert file.requests == before


def test_planned_ranges_are_merged_and_fetched_before_they_are_read(source, standin, data):
    with open_file(source) as file:
        file.prefetch([(3_000_000, 3_000_100), (1_000_000, 1_000_100), (1_100_000, 1_200_000)])
        file.prefetch([(-5, 10), (len(data), len(data) + 10), (5, 5)])
        for _ in range(500):
            if file.requests == 4:
                break
            time.sleep(0.01)
        for start in (3_000_000, 1_000_000, 1_100_000):
            file.seek(start)
            assert file.read(100) == data[start : start + 100]
        assert file.requests == 4  # both ends, and two ranges
    assert len(_storage(standin)) == 4


def test_planned_ranges_come_in_the_order_in_which_they_are_read(source, data, monkeypatch):
    monkeypatch.setattr("nwbdyn.streaming.file.CONNECTIONS", 2)  # one planned range at a time
    requested: list[int] = []

    class Watched(Remote):
        def get(self, start, stop):
            requested.append(start)
            return super().get(start, stop)

    wanted = [(start, start + 10) for start in (3_000_000, 700_000, 2_000_000, 1_300_000)]
    with RangedFile(Watched("it", source.url, size=len(data))) as file:
        file.prefetch(wanted)
        for start, stop in wanted:
            file.seek(start)
            assert file.read(stop - start) == data[start:stop]
    planned = [start for start in requested if any(start <= a < start + BLOCK for a, _ in wanted)]
    assert planned == [start // BLOCK * BLOCK for start, _ in wanted]


def test_memory_stays_bounded_and_the_bytes_right(source, data, monkeypatch):
    monkeypatch.setattr("nwbdyn.streaming.file.WINDOW", 4 * BLOCK)
    remote = Remote("it", source.url, size=len(data))
    with RangedFile(remote, memory=0) as file:
        file.prefetch([(0, len(data))])
        assert file.read() == data
        assert file._held <= 16 * BLOCK
        file.seek(0)
        assert file.read() == data


def test_many_threads_share_a_file_of_ranges(source, data):
    with open_file(source) as file:
        wrong = []

        def work(seed: int) -> None:
            generator = random.Random(seed)
            for _ in range(20):
                start = generator.randrange(len(data))
                stop = min(start + generator.randrange(1, 300_000), len(data))
                target = bytearray(stop - start)
                file._want(start, stop)
                file._copy(start, stop, memoryview(target))
                wrong.extend([start] if bytes(target) != data[start:stop] else [])

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_progress_counts_the_bytes_that_arrived(source):
    seen = []
    with open_file(source, report=seen.append) as file:
        file.read(1_000_000)
    assert seen[-1].unit == "bytes"
    assert seen[-1].done >= 1_000_000


def test_a_local_file_is_opened_as_it_is(tmp_path):
    path = tmp_path / "a.nwb"
    path.write_bytes(b"content")
    with open_file(archive.resolve(str(path))[0]) as file:
        assert file.read() == b"content"
    path.unlink()
    with pytest.raises(AddressError, match="Cannot read"):
        open_file(Source(uri="a.nwb", url=path.as_uri()))


def test_an_embargoed_asset_streams_with_the_key_and_survives_a_stale_signature(
    standin, folder, monkeypatch
):
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    (source,) = archive.resolve("dandi:000002", instance=standin.api)
    data = (folder / "000002" / FILE).read_bytes()
    with open_file(source, renew=archive.renewal_of(source), patience=HASTY) as file:
        standin.signature += 1  # what was handed out until now is void
        assert file.read() == data
    assert not [key for key in standin.keys if "/blobs/" in key]
    monkeypatch.delenv("DANDI_API_KEY")
    with pytest.raises(ArchiveError, match="401"):
        open_file(source, renew=archive.renewal_of(source))


def test_a_public_asset_that_turns_private_is_found_again(source, standin, data):
    standin.faults = Faults(["forbid"], spare=2, limit=1)
    with open_file(source, renew=archive.renewal_of(source), patience=HASTY) as file:
        assert file.read() == data
    assert any(line.startswith("HEAD /api/assets/") for line in standin.requested)


@pytest.mark.parametrize("kind", [kind for kind in FAULTS if kind not in ("replaced", "resized")])
def test_a_passing_fault_is_survived(kind, source, standin, data):
    # The first answer says what the others must agree with, so it has to have an ETag.
    standin.faults = Faults([kind], limit=2, spare=2 if kind == "anonymous" else 0)
    with open_file(source, patience=HASTY) as file:
        assert file.read() == data
    # One answer with the whole file can be all it takes, if it comes before the second request.
    assert standin.faults.made == 2 or (kind == "whole" and standin.faults.made == 1)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("drop", "broke"),
        ("truncate", "other bytes|broke off|said"),
        ("stall", "fell silent|too slow"),  # whichever limit a loaded machine reaches first
        ("forbid", "access refused"),
        ("busy", "HTTP 429"),
        ("unavailable", "HTTP 503"),
        ("mislabelled", "ignore"),
        ("shifted", "other bytes"),
        ("resized", "replaced"),
        ("replaced", "replaced"),
        ("anonymous", "ETag"),
        ("garbage", "broke|connection"),
        ("page", "ignore"),
    ],
)
def test_a_lasting_fault_ends_in_one_plain_line(kind, message, source, standin):
    with open_file(source, patience=HASTY) as file:
        file.seek(0)
        file.read(10)
        file._take(file.size // BLOCK)
        standin.faults = Faults([kind])
        file.seek(1_000_000)
        with pytest.raises(StreamError, match=message) as caught:
            file.read()
    assert source.uri in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "http" not in str(caught.value).replace("HTTP", "")


def test_a_slow_trickle_ends_in_bounded_time(source, standin):
    standin.faults = Faults(["trickle"], spare=2)
    slow = Patience(connect=2, silence=0.3, total=1, attempts=4, pause=0.01, slowest=0)
    with open_file(source, patience=slow) as file:
        file.seek(-10, 2)
        file.read(10)  # both spare answers are in, so the next one trickles
        file.seek(1_000_000)
        with pytest.raises(StreamError, match="too slow"):
            file.read(100)


def test_a_server_without_ranges_serves_small_files_only(source, standin, data, monkeypatch):
    standin.faults = Faults(["whole"])
    plain = Source(uri="it", url=source.url)
    with open_file(plain, patience=HASTY) as file:
        assert file.read() == data
        assert file.requests <= 3
    monkeypatch.setattr("nwbdyn.streaming.remote.WHOLE_LIMIT", 1000)
    with pytest.raises(StreamError, match="download it"):
        open_file(plain, patience=HASTY)


def test_a_file_that_is_not_there_or_empty_is_named(standin, folder):
    gone = Source(uri="it", url=f"{standin.storage}/blobs/{'0' * 8}-0000-0000-0000-{'0' * 12}")
    with pytest.raises(StreamError, match="HTTP 404"):
        open_file(gone)
    with pytest.raises(StreamError, match="no connection"):
        open_file(Source(uri="it", url="http://127.0.0.1:9/x.nwb"), patience=HASTY)
    empty = folder / "000001" / "empty.nwb"
    empty.write_bytes(b"")
    try:
        (source,) = archive.resolve("dandi:000001/empty.nwb", instance=standin.api)
        with pytest.raises(StreamError, match="empty"):
            open_file(Source(uri="it", url=source.url))
        with pytest.raises(StreamError, match="empty"):
            open_file(source)
    finally:
        empty.unlink()


def test_a_signature_is_not_in_any_message(standin):
    url = f"{standin.storage}/blobs/x?X-Amz-Signature=hidden"
    (source,) = archive.resolve(url)
    with pytest.raises(StreamError) as caught:
        open_file(source)
    assert "hidden" not in str(caught.value)


def test_an_error_while_h5py_reads_is_still_ours(source, standin):
    with open_file(source, patience=HASTY) as file, h5py.File(file, "r") as remote:
        raw = remote["raw"]
        standin.faults = Faults(["unavailable"])
        with pytest.raises(StreamError, match="HTTP 503"):
            raw[...]


def _run(source: Source, standin: StandIn, local: dict[str, np.ndarray], seed: int) -> str:
    """One seeded run: "equal" or "error", and nothing else."""
    standin.faults = Faults(rate=random.Random(seed).choice([0.1, 0.3, 0.6]), seed=seed)
    try:
        with open_file(source, patience=HASTY) as file, h5py.File(file, "r") as remote:
            for name, expected in local.items():
                np.testing.assert_array_equal(remote[name][...], expected)
    except StreamError:
        return "error"
    return "equal"


@pytest.mark.parametrize("number", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_under_any_faults_bytes_are_right_or_refused(number, source, standin, folder):
    with h5py.File(folder / "000001" / FILE) as file:
        local = {name: file[name][...] for name in file}
    outcomes = [_run(source, standin, local, seed) for seed in range(number)]
    assert {"equal", "error"} == set(outcomes)


def test_nothing_is_collected_while_bytes_are_on_their_way(source, data):
    """A collection in a thread that fetches would wait for the lock that h5py holds meanwhile."""
    seen = []

    class Watched(Remote):
        def get(self, start: int, stop: int) -> tuple[int, bytes]:
            seen.append(gc.isenabled())
            return super().get(start, stop)

    assert gc.isenabled()
    with RangedFile(Watched("it", source.url, size=len(data))) as file:
        file.prefetch([(1_000_000, 2_000_000)])
        assert file.read() == data
    assert len(seen) > 3
    assert not any(seen)
    for thread in threading.enumerate():
        if thread.name.startswith("nwbdyn-stream"):
            thread.join(5)
    assert gc.isenabled()


def test_closing_lets_go_of_everything(source):
    before = threading.active_count()
    for _ in range(5):
        with open_file(source) as file:
            file.prefetch([(0, file.size)])
    for thread in threading.enumerate():
        if thread.name.startswith("nwbdyn-stream"):
            thread.join(5)
    assert threading.active_count() <= before + 16  # the stand-in's own, one per connection
    assert gc.isenabled()


def test_streaming_imports_no_reader():
    heavy = "{'dandi', 'pynwb', 'h5py', 'torch'}"
    program = f"import sys, nwbdyn.streaming; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
