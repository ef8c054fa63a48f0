"""Addresses, the archive behind them, and whole files down and up, against the stand-in."""

import hashlib
import logging
import subprocess
import sys
from pathlib import Path

import keyring
import pytest
from dandi.consts import DandiInstance
from dandi.dandiapi import DandiAPIClient
from standin import KEY, Faults, StandIn

from nwbdyn import archive
from nwbdyn.archive.addresses import DandiAddress, is_archive_link, parse_dandi
from nwbdyn.archive.connection import Connection
from nwbdyn.errors import AddressError, ArchiveError, ConfigError, ResultsError
from nwbdyn.recording import Source

MAZE = "sub-J/sub-J_ses-full_desc-train_behavior+ecephys.nwb"
MAZE_TEST = "sub-J/sub-J_ses-full_desc-test_ecephys.nwb"
OTHER = "sub-K/sub-K_ses-1_ophys.nwb"


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """No key, no default instance and no keyring of whoever runs the tests."""
    for name in ("DANDI_API_KEY", "DANDI_INSTANCE", "DANDI_SANDBOX_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setenv("DANDI_NO_ET", "1")


@pytest.fixture
def folder(tmp_path):
    """Three dandisets: 000001 published and public, 000002 embargoed, 000003 without NWB files."""
    root = tmp_path / "archive"
    for dandiset in ("000001", "000002"):
        for number, path in enumerate((MAZE, MAZE_TEST, OTHER)):
            file = root / dandiset / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(hashlib.sha256(f"{dandiset}{number}".encode()).digest() * 5000)
    (root / "000001" / "sub-J" / "sub-J_video.mp4").write_bytes(b"film")
    (root / "000003").mkdir()
    (root / "000003" / "README.txt").write_text("nothing yet")
    return root


@pytest.fixture
def standin(folder):
    published = {"000001": ["0.210101.0001", "0.220202.0002"]}
    with StandIn(folder, published=published, embargoed=["000002"], page_size=2) as running:
        yield running


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dandi:000128", DandiAddress("000128")),
        ("DANDI:000128", DandiAddress("000128")),
        ("Dandi:000128/", DandiAddress("000128")),
        ("dandi:000128@0.220113.0400", DandiAddress("000128", "0.220113.0400")),
        ("DANDI:000128/0.220113.0400", DandiAddress("000128", "0.220113.0400")),
        ("DANDI:000128/draft", DandiAddress("000128", "draft")),
        ("dandi:000128@draft/sub-*/*.nwb", DandiAddress("000128", "draft", "sub-*/*.nwb")),
        ("dandi:000128/sub-J/a b.nwb", DandiAddress("000128", None, "sub-J/a b.nwb")),
        ("dandi:000128/draft/sub-J/", DandiAddress("000128", "draft", "sub-J/")),
        ("dandi://dandi/000128@draft/sub-J/", DandiAddress("000128", "draft", "sub-J/", "dandi")),
        ("dandi://DANDI-SANDBOX/000128", DandiAddress("000128", None, "", "dandi-sandbox")),
        ("LINC:000128/draft", DandiAddress("000128", "draft", "", "linc")),
        ("https://doi.org/10.48324/dandi.000128/0.220113.0400",
         DandiAddress("000128", "0.220113.0400")),
        ("https://identifiers.org/DANDI:000128", DandiAddress("000128")),
        ("dandi:000128@9.9.9x/p", DandiAddress("000128", "9.9.9x", "p")),
        ("https://dandiarchive.org/dandiset/000128", None),
        ("folder/file.nwb", None),
        ("C:/data/file.nwb", None),
        ("s3://bucket/file.nwb", None),
    ],
)  # fmt: skip
def test_a_dandi_address_is_taken_apart(text, expected):
    assert parse_dandi(text) == expected


def test_an_identifier_without_six_digits_is_refused_with_the_likely_one():
    with pytest.raises(AddressError, match="did you mean dandi:000128"):
        archive.resolve("dandi:128")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://dandiarchive.org/dandiset/000128/draft/files?location=sub-J%2F", True),
        ("https://gui.dandiarchive.org/#/dandiset/000128", True),
        ("http://127.0.0.1:8000/api/dandisets/000128/versions/draft/assets/?path=a", True),
        ("http://host/api/assets/0a1b2c3d-0000-0000-0000-000000000000/download/", True),
        ("https://dandiarchive.s3.amazonaws.com/blobs/abc/def/0a1b", False),
        ("https://host/data/file.nwb", False),
        ("https://host/dandiset/file.nwb", False),
    ],
)
def test_a_link_to_an_archive_is_told_from_the_url_of_a_file(url, expected):
    assert is_archive_link(url) is expected


def test_without_a_version_the_newest_published_one_is_pinned(standin):
    actual = archive.resolve("dandi:000001", instance=standin.api)
    assert [source.asset_path for source in actual] == [MAZE_TEST, MAZE, OTHER]
    assert {source.version for source in actual} == {"0.220202.0002"}
    assert actual[1].uri == f"dandi:000001@0.220202.0002/{MAZE}"


def test_a_source_says_where_the_bytes_are_and_what_they_must_be(standin, folder):
    (source,) = archive.resolve(f"dandi:000001@draft/{OTHER}", instance=standin.api)
    data = (folder / "000001" / OTHER).read_bytes()
    etag = hashlib.md5(hashlib.md5(data).digest()).hexdigest()  # one part: the archive's own rule
    assert source.digest == f"dandi-etag:{etag}-1"
    assert source.size == len(data)
    assert source.url == f"{standin.storage}/blobs/{source.asset_id}"
    assert source.instance == standin.api
    assert source.name == "sub-K_ses-1_ophys"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("sub-J", [MAZE_TEST, MAZE]),
        ("sub-J/", [MAZE_TEST, MAZE]),
        ("sub-?/*ecephys.nwb", [MAZE_TEST, MAZE]),
        ("*_desc-t[er]*", [MAZE_TEST, MAZE]),
        ("**/*OPHYS.nwb", [OTHER]),
    ],
)
def test_a_folder_or_a_glob_narrows(standin, path, expected):
    actual = archive.resolve(f"dandi:000001@draft/{path}", instance=standin.api)
    assert [source.asset_path for source in actual] == expected


def test_links_to_pages_and_to_the_api_resolve(standin):
    draft = f"{standin.api}/dandisets/000001/versions/draft/assets"
    asset = standin.asset_id(standin.folder / "000001" / OTHER)
    uri = f"dandi:000001@draft/{OTHER}"
    for link in (
        f"{standin.url}/dandiset/000001/draft/files?location=sub-K%2F",
        f"{draft}/?path=sub-K",
        f"{draft}/?glob=*ophys.nwb",
        f"{draft}/{asset}/",
        f"{draft}/{asset}/download/",
    ):
        assert [source.uri for source in archive.resolve(link)] == [uri], link
    (bare,) = archive.resolve(f"{standin.api}/assets/{asset}/download/")
    assert (bare.asset_path, bare.dandiset_id) == (OTHER, None)
    assert bare.uri == f"{standin.api}/assets/{asset}/"
    assert len(archive.resolve(f"{standin.url}/dandiset/000001")) == 3


def test_the_clients_own_variables_point_at_an_archive(standin, monkeypatch):
    monkeypatch.setenv("DANDI_INSTANCE", standin.api)
    assert len(archive.resolve("dandi:000001")) == 3


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("dandi:000009", "no dandiset '000009'"),
        ("dandi:000001@0.1", "no version '0.1'; it has: draft, 0.220202.0002, 0.210101.0001"),
        ("dandi:000001/sub-K/sub-K_ses-1_ecephys.nwb", f"closest: {OTHER}"),
        ("dandi:000001/sub-Z*", "nothing that matches 'sub-Z*'"),
        ("dandi:000001/sub-J/sub-J_video.mp4", r"no NWB file at 'sub-J/sub-J_video.mp4'"),
        ("dandi:000003", "1 assets of kind .txt"),
    ],
)
def test_an_address_that_names_nothing_says_what_there_is(standin, address, message):
    with pytest.raises(AddressError) as caught:
        archive.resolve(address, instance=standin.api)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_archive_that_is_not_there_is_named_with_the_next_step():
    with pytest.raises(ArchiveError, match=r"127\.0\.0\.1:9.*check the network"):
        archive.resolve("dandi:000001", instance="http://127.0.0.1:9/api")
    with pytest.raises(ConfigError, match="No archive named 'dandy'"):
        archive.resolve("dandi:000001", instance="dandy")


def test_a_server_that_is_no_archive_is_named(standin):
    with pytest.raises(ArchiveError, match="HTTP 404"):
        archive.resolve("dandi:000001", instance=f"{standin.url}/blobs/api")


def test_an_embargoed_dandiset_asks_for_the_key_and_opens_with_it(standin, monkeypatch, caplog):
    with pytest.raises(ArchiveError, match=r"HTTP 401.*DANDI_API_KEY"):
        archive.resolve("dandi:000002", instance=standin.api)
    monkeypatch.setenv("DANDI_API_KEY", "another key")
    with pytest.raises(ArchiveError, match="does not accept the key") as caught:
        archive.resolve("dandi:000002", instance=standin.api)
    assert "another key" not in str(caught.value)
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    with caplog.at_level(logging.DEBUG):
        source = archive.resolve(f"dandi:000002/{OTHER}", instance=standin.api)[0]
        presigned = archive.content_url(source)
    assert source.url == f"{standin.api}/assets/{source.asset_id}/download/"
    assert "signature=" in presigned
    assert KEY not in caplog.text + repr(source)


@pytest.mark.parametrize("host", ["dandi", "DANDI", "ember-dandi", "openai"])
def test_a_host_that_is_called_like_an_archive_draws_no_key_out(host, monkeypatch):
    for name in ("DANDI_API_KEY", "EMBER_DANDI_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, KEY)
    monkeypatch.setattr(keyring, "get_password", lambda *_: KEY if host != "openai" else None)
    instance = DandiInstance(host, None, f"http://{host}/api")
    with (
        DandiAPIClient(dandi_instance=instance) as client,
        pytest.raises(ArchiveError, match="set DANDI_INSTANCE to http"),
    ):
        Connection(client, known=False).authenticate()


def test_the_key_is_not_sent_unless_the_archive_asks(standin, monkeypatch):
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    archive.resolve("dandi:000001", instance=standin.api)
    assert standin.keys == []


def test_a_local_file_keeps_the_origin_that_dandi_download_left(tmp_path):
    file = tmp_path / "000128" / "sub-J" / "sub-J.nwb"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    record = "identifier: DANDI:000128\nname: x\nversion: 0.220113.0400\n"
    (tmp_path / "000128" / "dandiset.yaml").write_text(record)
    (source,) = archive.resolve(str(tmp_path / "000128"))
    assert (source.dandiset_id, source.version) == ("000128", "0.220113.0400")
    assert source.asset_path == "sub-J/sub-J.nwb"
    assert source.path == file
    assert archive.resolve(file.as_uri())[0].path == file


def test_a_local_address_that_is_not_there_says_what_is(tmp_path):
    (tmp_path / "recording.nwb").write_bytes(b"x")
    with pytest.raises(AddressError, match=r"in its folder are: recording\.nwb"):
        archive.resolve(str(tmp_path / "recordin.nwb"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(AddressError, match=r"holds no \.nwb file"):
        archive.resolve(str(tmp_path / "empty"))
    with pytest.raises(AddressError, match="write dandi:000128"):
        archive.resolve("000128")
    with pytest.raises(AddressError, match="is empty"):
        archive.resolve("  ")


def test_a_signature_in_a_url_stays_out_of_the_source():
    url = "https://user:word@host/a%20file.nwb?X-Amz-Signature=abc&X-Amz-Expires=3"
    (source,) = archive.resolve(url)
    assert source.url == source.uri == "https://host/a%20file.nwb"
    assert source.name == "a file"
    assert archive.signed_url(source) == url
    (plain,) = archive.resolve("https://host/file.nwb?version=2")
    assert plain.url == "https://host/file.nwb?version=2"


def _named(*paths: str) -> list[Source]:
    return [
        Source(uri=path, url=f"https://host/{path}", dandiset_id="000128", asset_path=path)
        for path in paths
    ]


def test_train_and_test_of_one_session_come_together_train_first():
    a, b, c = _named(MAZE_TEST, MAZE, OTHER)
    assert archive.sessions([a, b, c]) == [(b, a), (c,)]


def test_halves_of_different_sessions_stay_apart():
    paths = ("s/s_ses-1_desc-train_e.nwb", "s/s_ses-2_desc-test_e.nwb", "s/s_desc-training_e.nwb")
    assert archive.sessions(_named(*paths)) == [(source,) for source in _named(*paths)]


def test_a_download_lands_where_the_client_would_put_it(standin, folder, tmp_path):
    (source,) = archive.resolve(f"dandi:000001/{OTHER}", instance=standin.api)
    seen = []
    path = archive.download(source, tmp_path / "out", report=seen.append)
    assert path == tmp_path / "out" / "000001" / OTHER
    assert path.read_bytes() == (folder / "000001" / OTHER).read_bytes()
    assert list(path.parent.iterdir()) == [path]
    assert (seen[-1].done, seen[-1].unit) == (source.size, "bytes")
    before = len(standin.requested)
    assert archive.download(source, tmp_path / "out") == path
    assert len(standin.requested) == before
    path.write_bytes(b"mine")
    with pytest.raises(ResultsError, match="differs from"):
        archive.download(source, tmp_path / "out")
    assert path.read_bytes() == b"mine"


def test_a_broken_download_goes_on_where_it_stopped(standin, folder, tmp_path):
    (source,) = archive.resolve(f"dandi:000001/{OTHER}", instance=standin.api)
    standin.faults = Faults(["drop"], limit=1)
    path = archive.download(source, tmp_path)
    assert path.read_bytes() == (folder / "000001" / OTHER).read_bytes()
    assert standin.faults.made == 1


def test_a_part_left_by_an_earlier_run_is_used(standin, folder, tmp_path, monkeypatch):
    from nwbdyn.archive import transfer

    (source,) = archive.resolve(f"dandi:000001/{OTHER}", instance=standin.api)
    monkeypatch.setattr(transfer, "_ATTEMPTS", 1)
    standin.faults = Faults(["unavailable"], spare=1)
    data = (folder / "000001" / OTHER).read_bytes()
    part = transfer._part(tmp_path / "000001" / OTHER, source.digest)
    part.parent.mkdir(parents=True)
    part.write_bytes(data[:1000])
    assert archive.download(source, tmp_path).read_bytes() == data
    assert not part.exists()


def test_bytes_that_do_not_match_their_digest_are_discarded(standin, tmp_path):
    (source,) = archive.resolve(f"dandi:000001/{OTHER}", instance=standin.api)
    standin.faults = Faults(["replaced"])
    with pytest.raises(ArchiveError, match="digest"):
        archive.download(source, tmp_path)
    left = [path.name for path in (tmp_path / "000001").rglob("*") if path.is_file()]
    assert left == ["dandiset.yaml"]


def test_an_embargoed_asset_downloads_with_the_key(standin, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    (source,) = archive.resolve(f"dandi:000002/{OTHER}", instance=standin.api)
    path = archive.download(source, tmp_path)
    assert path.read_bytes() == (folder / "000002" / OTHER).read_bytes()
    assert not [key for key in standin.keys if "/blobs/" in key]
    monkeypatch.delenv("DANDI_API_KEY")
    with pytest.raises(ArchiveError, match="HTTP 401"):
        archive.download(source, tmp_path / "elsewhere")


def test_a_file_at_a_url_downloads_and_resumes(standin, folder, tmp_path):
    asset = standin.asset_id(folder / "000001" / OTHER)
    (source,) = archive.resolve(f"{standin.storage}/blobs/{asset}")
    standin.faults = Faults(["drop", "busy"], limit=2)
    path = archive.download(source, tmp_path)
    assert path.read_bytes() == (folder / "000001" / OTHER).read_bytes()
    assert path == tmp_path / asset


def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path):
    for name in ("../../etc/x.nwb", "/etc/x.nwb", "a/../../x.nwb", "..\\x.nwb"):
        (source,) = _named(name)
        with pytest.raises(AddressError, match="leads out of the folder"):
            archive.download(source, tmp_path)


def test_a_local_file_is_copied_once(tmp_path):
    file = tmp_path / "a.nwb"
    file.write_bytes(b"content")
    (source,) = archive.resolve(str(file))
    copy = archive.download(source, tmp_path / "out")
    assert copy.read_bytes() == b"content"
    assert archive.download(source, tmp_path / "out") == copy
    assert archive.download(source, tmp_path) == file


def test_importing_the_room_imports_no_client():
    program = (
        "import sys, nwbdyn.archive\n"
        "print({'dandi', 'pynwb', 'h5py', 'torch', 'requests'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def _nwb(path: Path) -> Path:
    from datetime import UTC, datetime

    from pynwb import NWBHDF5IO, NWBFile
    from pynwb.file import Subject

    start = datetime(2024, 1, 2, tzinfo=UTC)
    content = NWBFile("a file to send", "an identifier", start, session_id="1")
    content.subject = Subject(subject_id="K", species="Mus musculus", sex="F", age="P30D")
    with NWBHDF5IO(path, "w") as io:
        io.write(content)
    return path


def test_an_upload_arrives_once_and_carries_its_lineage(standin, folder, tmp_path, monkeypatch):
    path = _nwb(tmp_path / "sub-K_ses-1_desc-netformer_ophys.nwb")
    with pytest.raises(ArchiveError, match="HTTP 401"):
        archive.upload(path, "dandi:000001", instance=standin.api)
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    activity = {"schemaKey": "Activity", "name": "a fit"}
    sent = archive.upload(path, "dandi:000001", instance=standin.api, generated_by=[activity])
    assert sent.uri == f"dandi:000001@draft/sub-K/{path.name}"
    assert (folder / "000001" / "sub-K" / path.name).read_bytes() == path.read_bytes()
    assert activity in standin.metadata[sent.asset_id]["wasGeneratedBy"]
    assert archive.upload(path, "000001", instance=standin.api) == sent
    assert sum("initialize" in line for line in standin.requested) == 1
    path.unlink()
    _nwb(path)
    with pytest.raises(ResultsError, match="other content"):
        archive.upload(path, "dandi:000001", instance=standin.api)
    again = archive.upload(path, "dandi:000001", instance=standin.api, replace=True)
    assert again.digest != sent.digest


def test_an_upload_needs_a_dandiset_and_a_subject(standin, tmp_path, monkeypatch):
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    with pytest.raises(AddressError, match="expected dandi:ID"):
        archive.upload(tmp_path / "sub-K.nwb", "dandi:000001/sub-K", instance=standin.api)
    with pytest.raises(AddressError, match="names no subject"):
        archive.upload(tmp_path / "results.nwb", "dandi:000001", instance=standin.api)
    with pytest.raises(AddressError, match="no dandiset '000009'"):
        archive.upload(tmp_path / "sub-K.nwb", "dandi:000009", instance=standin.api)


def test_a_sample_is_made_once_and_pinned_by_its_full_address():
    address = "sample:reach?seed=3&neurons=20&trials=20"
    (source,) = archive.resolve(address)
    (short,) = archive.resolve("sample:reach?trials=20&neurons=20&seed=3")
    assert source.uri == short.uri
    assert source.path == short.path
    assert source.digest == f"sha256:{hashlib.sha256(source.path.read_bytes()).hexdigest()}"
    with pytest.raises(AddressError, match="sample"):
        archive.resolve("sample:nothing")
