"""Blocks on disk: fetched once, sound or not used, bounded, shared between processes."""

import os
import random
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner
from standin import KEY, StandIn

from nwbdyn import archive, cache
from nwbdyn.cli import main
from nwbdyn.errors import ConfigError
from nwbdyn.recording import Source
from nwbdyn.streaming import disk, open_file
from nwbdyn.streaming.disk import BLOCK, SEGMENT, DiskBlocks
from nwbdyn.streaming.file import HEAD

FILE = "sub-a/sub-a_ecephys.nwb"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache, and an archive with a file of 5 MB, open and embargoed."""
    monkeypatch.setenv("NWBDYN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NWBDYN_CACHE_SIZE", raising=False)
    monkeypatch.delenv("DANDI_INSTANCE", raising=False)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setenv("DANDI_NO_ET", "1")
    for dandiset in ("000001", "000002"):
        path = tmp_path / "archive" / dandiset / FILE
        path.parent.mkdir(parents=True)
        path.write_bytes(random.Random(0).randbytes(5_000_000))
    return tmp_path / "archive"


@pytest.fixture
def standin(folder):
    with StandIn(folder, embargoed=["000002"]) as running:
        yield running


@pytest.fixture
def source(standin) -> Source:
    return archive.resolve("dandi:000001", instance=standin.api)[0]


@pytest.fixture
def data(folder) -> bytes:
    return (folder / "000001" / FILE).read_bytes()


def test_a_second_open_transfers_nothing(source, standin, data):
    with open_file(source) as file:
        assert file.read() == data
    before = len(standin.requested)
    with open_file(source) as file:
        assert file.read() == data
        assert (file.requests, file.transferred) == (0, 0)
    assert len(standin.requested) == before


def test_only_what_is_missing_is_fetched(source, data):
    with open_file(source) as file:
        file.seek(2_000_000)
        file.read(100_000)
    with open_file(source) as file:
        assert file.read() == data
        assert 0 < file.transferred <= len(data) - 100_000


def test_a_file_at_a_url_is_known_again_by_its_etag(source, data, folder):
    plain = Source(uri=source.url, url=source.url)
    with open_file(plain) as file:
        file.read()
    with open_file(plain) as file:
        assert file.read() == data
        assert (file.requests, file.transferred) == (1, HEAD)  # to learn the ETag
    changed = bytes(reversed(data))
    (folder / "000001" / FILE).write_bytes(changed)
    with open_file(plain) as file:
        assert file.read() == changed


def test_the_key_is_the_content_not_the_address(source, standin, data, monkeypatch):
    with open_file(source) as file:
        file.read()
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    (copy,) = archive.resolve("dandi:000002", instance=standin.api)
    with open_file(copy) as file:
        assert file.read() == data
        assert file.requests == 0


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "wipe"])
def test_a_damaged_block_is_fetched_again(damage, source, data):
    with open_file(source) as file:
        file.read()
    segments = [path for path in disk.usage().folder.rglob("*") if path.is_file()]
    for path in segments:
        content = bytearray(path.read_bytes())
        if damage == "flip":
            for at in range(0, len(content), 1000):
                content[at] ^= 0xFF
        elif damage == "cut":
            del content[len(content) // 2 :]
        elif damage == "empty":
            content.clear()
        else:  # what a crash leaves that wrote entries and lost the blocks
            content[SEGMENT * 8 :] = bytes(len(content) - SEGMENT * 8)
        path.write_bytes(content)
    with open_file(source) as file:
        assert file.read() == data
        assert file.transferred > 0
    with open_file(source) as file:
        assert file.read() == data
        assert file.transferred == 0


def test_the_cache_stays_within_its_limit_and_the_oldest_go_first(monkeypatch):
    monkeypatch.setenv("NWBDYN_CACHE_SIZE", "20 MB")
    blocks = random.Random(1).randbytes(SEGMENT * BLOCK)
    for number, name in enumerate(("first", "second", "third")):
        kept = DiskBlocks(name)
        kept.write(0, blocks)
        for path in kept._folder.iterdir():
            os.utime(path, (number, number))
    DiskBlocks("first").read(0, 1)  # used again just now
    monkeypatch.setenv("NWBDYN_CACHE_SIZE", "10 MB")
    disk.trim(cache.folder("streams"), disk.limit())
    assert len(DiskBlocks("first").read(0, SEGMENT)) == SEGMENT
    assert DiskBlocks("second").read(0, SEGMENT) == {}
    assert disk.usage().size <= 10_000_000
    assert (disk.usage().files, disk.usage().limit) == (2, 10_000_000)
    disk.clear()
    assert disk.usage().size == 0


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("1000", 1000), ("1.5 GB", 1_500_000_000), ("20m", 20_000_000)]
)
def test_a_size_is_read_with_its_unit(text, size, monkeypatch):
    monkeypatch.setenv("NWBDYN_CACHE_SIZE", text)
    assert disk.limit() == size


def test_a_size_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("NWBDYN_CACHE_SIZE", "much")
    with pytest.raises(ConfigError, match="'much'; expected a size"):
        disk.limit()


def test_a_cache_that_cannot_be_written_is_said_once_and_reading_goes_on(
    source, data, tmp_path, monkeypatch, caplog
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("NWBDYN_CACHE", str(tmp_path / "file"))
    with open_file(source) as file:
        assert file.read() == data
    assert len([record for record in caplog.records if "without the cache" in record.message]) == 1


def test_threads_and_trimming_at_once_leave_only_sound_blocks(monkeypatch):
    monkeypatch.setenv("NWBDYN_CACHE_SIZE", "6 MB")
    whole = random.Random(2).randbytes(3 * SEGMENT * BLOCK)
    wrong = []

    def work(seed: int) -> None:
        generator, kept = random.Random(seed), DiskBlocks("shared")
        for _ in range(30):
            first = generator.randrange(3 * SEGMENT)
            after = min(first + generator.randrange(1, 20), 3 * SEGMENT)
            kept.write(first * BLOCK, whole[first * BLOCK : after * BLOCK])
            for number, block in kept.read(0, 3 * SEGMENT).items():
                if block != whole[number * BLOCK : (number + 1) * BLOCK]:
                    wrong.append(number)
            disk.trim(cache.folder("streams"), disk.limit())

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_processes_share_the_cache(source, data):
    program = (
        "from nwbdyn.recording import Source\n"
        "from nwbdyn.streaming import open_file\n"
        f"with open_file({source!r}) as file:\n"
        "    content = file.read()\n"
        "import hashlib; print(hashlib.sha256(content).hexdigest())\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    printed = {process.communicate(timeout=60)[0].strip() for process in running}
    assert len(printed) == 1
    with open_file(source) as file:
        assert file.read() == data
        assert file.requests == 0


def test_the_command_line_shows_and_clears_the_cache(source):
    with open_file(source) as file:
        file.read()
    shown = CliRunner().invoke(main, ["cache"])
    assert shown.exit_code == 0, shown.output
    assert str(disk.usage().folder) in shown.output
    assert "streamed files  1\n" in shown.output
    cleared = CliRunner().invoke(main, ["cache", "--clear"])
    assert cleared.output.startswith("Removed ")
    assert disk.usage().files == 0
