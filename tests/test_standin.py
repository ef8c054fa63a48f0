"""The archive's stand-in answers the real client: what holds here should hold out there."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pynwb import NWBHDF5IO, NWBFile
from pynwb.file import Subject
from standin import KEY, Faults, StandIn
from standin.archive import etag_of

FILES = {
    "000001": ("sub-a/sub-a_ecephys.nwb", "sub-b/sub-b_ecephys.nwb"),
    "000002": ("sub-c/sub-c.nwb",),
}


@pytest.fixture
def standin(tmp_path):
    for dandiset, paths in FILES.items():
        for path in paths:
            file = tmp_path / "archive" / dandiset / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(path.encode() * 10_000)
    published = {"000001": ["0.210101.0001"]}
    with StandIn(tmp_path / "archive", published=published, embargoed=["000002"]) as running:
        yield running


def _dandi(standin: StandIn, *arguments: str, folder: Path) -> str:
    """Run the client's command line, with the key in the client's own variable."""
    host = standin.url.removeprefix("http://")
    environment = {
        **os.environ,
        "DANDI_NO_ET": "1",
        "DANDI_CACHE": "ignore",
        "HOME": str(folder),
        f"{host}_API_KEY": KEY,
    }
    run = "from dandi.cli.command import main; main()"
    program = [sys.executable, "-W", "ignore", "-c", run, *arguments]
    done = subprocess.run(
        program, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_client_lists(standin, tmp_path):
    shown = _dandi(standin, "ls", "-r", f"{standin.api}/dandisets/000001/versions/draft/",
                   folder=tmp_path)  # fmt: skip
    assert all(path in shown for path in FILES["000001"])
    assert "sub-c.nwb" in _dandi(
        standin, "ls", "-r", f"{standin.api}/dandisets/000002/", folder=tmp_path
    )


@pytest.mark.slow
def test_the_client_downloads_and_resumes(standin, tmp_path):
    standin.faults = Faults(["drop"], limit=1)
    _dandi(standin, "download", f"{standin.api}/dandisets/000001/versions/0.210101.0001/",
           folder=tmp_path)  # fmt: skip
    for path in FILES["000001"]:
        assert (tmp_path / "000001" / path).read_bytes() == path.encode() * 10_000
    assert "identifier: DANDI:000001" in (tmp_path / "000001" / "dandiset.yaml").read_text()


@pytest.mark.slow
def test_the_client_uploads(standin, tmp_path):
    content = NWBFile("a file to send", "an identifier", datetime(2024, 1, 2, tzinfo=UTC))
    content.subject = Subject(subject_id="d", species="Mus musculus", sex="F", age="P30D")
    path = tmp_path / "mine" / "sub-d" / "sub-d.nwb"
    path.parent.mkdir(parents=True)
    with NWBHDF5IO(path, "w") as io:
        io.write(content)
    (tmp_path / "mine" / "dandiset.yaml").write_text("identifier: DANDI:000001\nname: x\n")
    _dandi(standin, "upload", "-i", standin.api, "--validation", "skip", folder=path.parents[1])
    assert (standin.folder / "000001" / "sub-d" / "sub-d.nwb").read_bytes() == path.read_bytes()


def test_a_listing_pages_as_the_archive_does(standin):
    import requests

    standin.page_size = 1
    address = f"{standin.api}/dandisets/000001/versions/draft/assets/"
    first = requests.get(address, params={"page_size": 1}).json()
    assert (first["count"], len(first["results"])) == (2, 1)
    assert first["next"] == f"{address}?page_size=1&page=2"
    second = requests.get(first["next"]).json()
    assert (second["count"], second["next"]) == (None, None)


def test_a_download_redirects_to_storage_with_ranges(standin):
    import requests

    path = standin.folder / "000001" / FILES["000001"][0]
    url = f"{standin.api}/assets/{standin.asset_id(path)}/download/"
    answer = requests.get(url, headers={"Range": "bytes=5-9"})
    assert (answer.status_code, answer.content) == (206, path.read_bytes()[5:10])
    assert answer.headers["Content-Range"] == f"bytes 5-9/{path.stat().st_size}"
    assert answer.headers["ETag"] == f'"{etag_of(path)}"'
    assert answer.history[0].status_code == 302
    assert requests.head(answer.url).status_code == 403  # signed for GET alone


def test_an_embargoed_asset_is_refused_without_the_key(standin):
    import requests

    path = standin.folder / "000002" / FILES["000002"][0]
    asset = standin.asset_id(path)
    assert requests.get(f"{standin.api}/dandisets/000002/").status_code == 401
    assert requests.get(f"{standin.api}/assets/{asset}/download/").status_code == 401
    assert requests.get(f"{standin.storage}/blobs/{asset}").status_code == 403
