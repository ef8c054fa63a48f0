"""Shared files name recordings by file name and digest: no folder, user or host."""

import json
import platform
import re
import shutil
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import lab_files
import numpy as np
import pytest
from click.testing import CliRunner, Result
from standin import KEY, StandIn

import nwbdyn
from nwbdyn import archive, disclosure
from nwbdyn.cli import main
from nwbdyn.errors import ResultsError
from nwbdyn.nwb.results.model_run import name_of
from nwbdyn.recording import Note, Source
from nwbdyn.results import fit_results, run_directory
from nwbdyn.workflows import locate_source

USER = "somebody-4711"
QUICK = ["--epochs", "2", "--set", "history=4", "--set", "batch_size=256", "-q"]


def run(*arguments: object) -> Result:
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A user's home on this machine."""
    return tmp_path_factory.mktemp("machine") / "home" / USER


@pytest.fixture(scope="module")
def made(home) -> Path:
    """Everything that can be made of two recordings in a home: runs, exports, reports, copies."""
    data, work = home / "data", home / "work"
    data.mkdir(parents=True)
    work.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("USER", "LOGNAME", "USERNAME"):
            patch.setenv(name, USER)
        patch.setenv("HOME", str(home))
        patch.chdir(work)
        for seed in (0, 1):
            (source,) = archive.resolve(f"sample:cortex?neurons=6&duration=90&seed={seed}")
            shutil.copy(source.path, data / f"lab{seed}.nwb")
        labels = data / "labels.csv"
        labels.write_text("id,cell_type\n0,PV\n1,Sst\n2,PV\n")
        lab = data / "lab0.nwb"
        model = ["--model", "netformer", *QUICK]
        run("fit", lab, *model, "-o", "run", "--cell-types", labels, "--where", "id >= 0")
        run("fit", "../data", *model, "-o", work / "many")
        sweep = work / "sweep.json"
        sweep.write_text(json.dumps({"list": [{"embedding": 2}, {"embedding": -3}]}))
        run("export", "run")
        run("export", "run", "--enrich", "-o", work / "enriched.nwb")
        run("report", "run")
        run("fetch", lab, "-o", work / "copies")
    return work


def forbidden(home: Path) -> list[str]:
    """Texts that no file may contain: home and temporary folder, user, host."""
    host = platform.node().partition(".")[0]
    return [str(home), str(home.parents[1]), USER, *([host] if len(host) > 3 else [])]


def texts_of_hdf5(path: Path) -> Iterator[str]:
    """Every name, attribute and value of an HDF5 file that is text, decoded."""
    with h5py.File(path, "r") as file:
        actual: list[str] = []

        def visit(name: str, item: object) -> None:
            actual.append(name)
            assert isinstance(item, h5py.Group | h5py.Dataset)
            for key, value in item.attrs.items():
                actual.append(key)
                actual.extend(texts_of(value))
            if isinstance(item, h5py.Dataset) and item.shape is not None:
                actual.extend(texts_of(item[()]))

        visit("/", file)
        file.visititems(visit)
    yield from actual


def texts_of(value: object) -> Iterator[str]:
    """Every text in a value: also in arrays, in records, and in JSON that is a text."""
    if isinstance(value, bytes | np.bytes_):
        value = bytes(value).decode("utf-8", "replace")
    if isinstance(value, str):
        yield value
        if value[:1] in "[{":
            try:
                yield from texts_of(json.loads(value))
            except ValueError:
                return
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from texts_of(key)
            yield from texts_of(item)
    elif isinstance(value, list | tuple | np.void):
        for item in value:
            yield from texts_of(item)
    elif isinstance(value, np.ndarray):
        if value.dtype.kind in "OSU" or value.dtype.names:
            for item in value.ravel():
                yield from texts_of(item)
        elif value.dtype.itemsize == 1:  # text as numbers
            yield value.tobytes().decode("utf-8", "replace")


def texts_of_png(content: bytes) -> Iterator[str]:
    """The chunks of a PNG that hold text."""
    location = 8
    while location < len(content):
        length, kind = struct.unpack(">I4s", content[location : location + 8])
        if kind in (b"tEXt", b"iTXt", b"zTXt", b"eXIf"):
            yield content[location + 8 : location + 8 + length].decode("utf-8", "replace")
        location += 12 + length


def texts_in(path: Path) -> Iterator[str]:
    """Every text in a file, whatever its format."""
    content = path.read_bytes()
    yield path.name
    if path.suffix in (".nwb", ".h5"):
        yield from texts_of_hdf5(path)
    elif path.suffix == ".safetensors":
        (length,) = struct.unpack("<Q", content[:8])
        yield from texts_of(json.loads(content[8 : 8 + length]))
    elif path.suffix == ".png":
        yield from texts_of_png(content)
    elif path.suffix == ".json":
        yield from texts_of(json.loads(content))
    yield content.decode("utf-8", "replace")  # HTML, JSON lines; names of whatever else


def test_no_file_that_may_leave_names_a_folder_a_user_or_the_host(made, home):
    files = [path for path in made.rglob("*") if path.is_file()]
    kept = [path for path in files if path.name == run_directory.LOCAL]
    looked_at = {path.suffix for path in files}
    assert {".nwb", ".h5", ".json", ".html", ".safetensors", ".jsonl"} <= looked_at
    assert len(kept) == 3
    leaks = {
        (path.relative_to(made).as_posix(), word, text[:80])
        for path in files
        if path not in kept
        for text in texts_in(path)
        for word in forbidden(home)
        if word in text
    }
    print(*sorted(leaks), sep="\n")
    assert not leaks


def test_the_walk_would_see_a_path(home, tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.attrs["json"] = json.dumps({"deep": [{"in": f"{home}/x"}]})
        file["rows"] = np.array([(1, str(home).encode())], dtype=[("n", int), ("t", "S99")])
        file["texts"] = [f"{home}/é"]
        file["letters"] = np.frombuffer(str(home).encode(), np.uint8)
    assert sum(str(home) in text for text in texts_of_hdf5(path)) == 5


def test_the_recording_is_named_by_file_and_digest(made, home):
    digest = f"sha256:{archive.sha256(home / 'data' / 'lab0.nwb')}"
    (exported,) = (made / "run").glob("*.nwb")
    for path in (exported, made / "enriched.nwb"):
        with nwbdyn.open_results(path) as fit:
            assert (fit.source.uri, fit.source.url, fit.source.digest) == ("lab0.nwb", "", digest)
            assert fit.source.name == "lab0"
    written = json.loads((made / "run/provenance.json").read_text())["source"]
    assert (written["uri"], written["url"], written["digest"]) == ("lab0.nwb", "", digest)
    assert "lab0.nwb" in (made / "run/report.html").read_text()


def test_the_run_itself_still_knows_where_its_recording_and_labels_lie(made, home):
    fit = nwbdyn.load(made / "run")
    assert fit.source.path == home / "data" / "lab0.nwb"
    assert fit.binning["chosen"]["cell_types"] == str(home / "data" / "labels.csv")
    assert locate_source.address_of(fit) == str(home / "data" / "lab0.nwb")
    moved = nwbdyn.load(shutil.copytree(made / "run", made.parent / "elsewhere"))
    assert name_of(moved) == name_of(fit)


def test_a_run_without_its_local_record_has_the_same_name_in_an_export(made, tmp_path):
    fit = nwbdyn.load(made / "run")
    shared = shutil.copytree(made / "run", tmp_path / "shared")
    (shared / run_directory.LOCAL).unlink()
    assert name_of(nwbdyn.load(shared)) == name_of(fit)
    assert nwbdyn.load(shared).source.path is None


def test_a_finished_fit_is_resumed_with_the_path_it_was_started_with(made, home):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        arguments = ["fit", home / "data" / "lab0.nwb", "--model", "netformer", *QUICK]
        chosen = ["--cell-types", "../data/labels.csv", "--where", "id >= 0", "-o", "run"]
        run(*arguments, *chosen, "--resume")


def test_a_folder_of_runs_is_resumed_although_its_summary_has_no_paths(made, home):
    rows = json.loads((made / "many" / run_directory.SUMMARY).read_text())
    assert [(row["uri"], row["run"]) for row in rows] == [
        ("lab0.nwb", "lab0"),
        ("lab1.nwb", "lab1"),
    ]
    before = (made / "many/lab0/metrics.json").stat().st_mtime_ns
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        run("fit", "../data", "--model", "netformer", *QUICK, "-o", made / "many", "--resume")
    assert (made / "many/lab0/metrics.json").stat().st_mtime_ns == before


# Finding a local recording again


def exported(made: Path, to: Path) -> Path:
    (path,) = (made / "run").glob("*.nwb")
    return Path(shutil.copy(path, to / "results.nwb"))


@pytest.mark.parametrize("name", ["lab0.nwb", "renamed.nwb"])
@pytest.mark.parametrize("where", ["beside", "working"])
def test_a_recording_is_found_by_its_digest(made, home, tmp_path, monkeypatch, name, where):
    folders = {"beside": tmp_path / "a", "working": tmp_path / "b"}
    for folder in folders.values():
        folder.mkdir()
        shutil.copy(home / "data" / "lab1.nwb", folder / "lab0.nwb")  # of that name, and another
    path = exported(made, folders["beside"])
    monkeypatch.chdir(folders["working"])
    shutil.copy(home / "data" / "lab0.nwb", folders[where] / name)
    with nwbdyn.open_results(path) as fit:
        actual = locate_source.address_of(fit, beside=path.parent)
    assert actual == str(folders[where] / name)


def test_a_recording_that_is_nowhere_is_asked_for(made, tmp_path, monkeypatch, home):
    path = exported(made, tmp_path)
    shutil.copy(home / "data" / "lab1.nwb", tmp_path / "lab0.nwb")  # of that name, and another
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ResultsError, match=r"lab0\.nwb \(sha256:.*with --source"):
        nwbdyn.reproduce(path)


def test_the_folder_that_a_file_states_is_not_looked_into(made, home, tmp_path, monkeypatch):
    path = exported(made, tmp_path)
    monkeypatch.chdir(tmp_path)
    with nwbdyn.open_results(path) as fit:
        stated = home / "data" / "lab0.nwb"
        older = replace(fit, source=replace(fit.source, uri=str(stated), url=stated.as_uri()))
        with pytest.raises(ResultsError, match="with --source"):
            locate_source.address_of(older, beside=tmp_path)


# Single values


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("/home/a b/lab.nwb", "lab.nwb"),
        ("../lab.nwb", "lab.nwb"),
        ("data/lab.nwb", "lab.nwb"),
        ("~/lab.nwb", "lab.nwb"),
        ("lab.nwb", "lab.nwb"),
        ("folder/store.nwb.zarr/", "store.nwb.zarr"),
        (r"C:\Users\a\lab.nwb", "lab.nwb"),
        (r"\\server\share\lab.nwb", "lab.nwb"),
        ("file:///home/a%20b/lab%201.nwb", "lab 1.nwb"),
        ("dandi:000001@draft/sub-a/sub-a.nwb", "dandi:000001@draft/sub-a/sub-a.nwb"),
        ("dandi://linc/000001@draft/sub-a.nwb", "dandi://linc/000001@draft/sub-a.nwb"),
        ("sample:reach?seed=0", "sample:reach?seed=0"),
        ("https://host/a/lab.nwb", "https://host/a/lab.nwb"),
        ("https://host/lab.nwb?version=2", "https://host/lab.nwb?version=2"),
        ("https://me:word@host/lab.nwb", "https://host/lab.nwb"),
        ("https://host/lab.nwb#part", "https://host/lab.nwb"),
        ("https://host/lab.nwb?X-Amz-Signature=1&X-Amz-Expires=9", "https://host/lab.nwb"),
        ("https://host/lab.nwb?sv=2022&sig=abc", "https://host/lab.nwb"),
        ("https://host/lab.nwb?access_token=abc&v=2", "https://host/lab.nwb"),
        ("https://host/lab.nwb?rlkey=abc", "https://host/lab.nwb"),
        ("https://host/lab.nwb?password=abc", "https://host/lab.nwb"),
    ],
)
def test_an_address_keeps_what_others_need_and_nothing_else(uri, shown):
    assert disclosure.of_uri(uri) == shown
    assert disclosure.of_uri(shown) == shown


def test_a_url_of_this_host_is_a_file_name(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "workstation-7")
    for host in ("workstation-7", "workstation-7.lab.example", "WORKSTATION-7:8000"):
        source = Source(f"http://{host}/x/lab.nwb", f"http://{host}/x/lab.nwb")
        assert disclosure.of_source(source) == Source("lab.nwb", "", instance="unknown")
    other = Source("http://workstation-70/lab.nwb", "http://workstation-70/lab.nwb")
    assert disclosure.of_source(other) == other


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot read {home}/data/lab.nwb: damaged.", "cannot read lab.nwb: damaged."),
        ("'{home}/data/lab.nwb' is there", "'lab.nwb' is there"),
        ("see file://{home}/lab.nwb.", "see lab.nwb."),
        ("({home})", "({name})"),
        ("from https://h/x.nwb?sig=1, twice", "from https://h/x.nwb, twice"),
        ("/units/spike_times: 3 of 4 [empty-unit]", "/units/spike_times: 3 of 4 [empty-unit]"),
        ("units/cell_type and 1/2 a day", "units/cell_type and 1/2 a day"),
        ("took ../secret/labels.csv", "took labels.csv"),
        ("DANDI:000001@draft/sub-a/x.nwb", "DANDI:000001@draft/sub-a/x.nwb"),
        ("rate > 3 and a / b < 2", "rate > 3 and a / b < 2"),
        # of a machine that is not this one
        ("of /scratch/alice/x.nwb; 2 arrays", "of x.nwb; 2 arrays"),
        ("file=/gpfs/alice/run1, lost", "file=run1, lost"),
        ("source:/lustre/alice/x.nwb.", "source:x.nwb."),
        ("'/Volumes/My Disk/alice/x y.nwb' is lost", "'x y.nwb' is lost"),
        (r"at C:\Users\alice\x.nwb", "at x.nwb"),
        ("at C:/Users/alice/x.nwb", "at x.nwb"),
        (r"at \\server\alice\x.nwb", "at x.nwb"),
        ("at ~alice/lab/x.nwb", "at x.nwb"),
        ("at file:///home/alice/x.nwb", "at x.nwb"),
        ("at /scratch/alice/run/1", "at 1"),
        ("at /processing/alice/x.h5", "at x.h5"),
        # of the recording
        ("/processing/ophys/DfOverF/dff and /scratch/slim_copy", None),
        ("links to '/general/subject', see /acquisition/raw:", None),
        ("/stimulus/presentation/a, /intervals/trials, /analysis/b/c", None),
        ("https://host/alice/x.nwb and s3://bucket/x.nwb", None),
    ],
)
def test_a_text_keeps_paths_inside_files_and_loses_those_of_the_disk(
    text, shown, tmp_path, monkeypatch
):
    home = tmp_path / "some home"
    (home / "data").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    actual = disclosure.of_text(text.format(home=home))
    assert actual == (text if shown is None else shown.format(name=home.name))
    assert disclosure.of_text(actual) == actual


def test_what_was_asked_names_files_and_runs_without_their_folders(source):
    fit = lab_files.fit_of(source)
    requested = {
        "adopted": {"run": "../elsewhere/first", "digest": "sha256:1"},
        "test": "/data/alice/test.nwb",
        "targets": "/data/alice/targets.h5",
        "null": "shift:20",
    }
    metrics = fit.metrics | {
        "submission": {"targets": "../alice/targets.h5", "file": "submission.h5", "scores": None},
        "candidates": [{"reason": f"{source} went away"}],
    }
    fit = replace(
        fit,
        environment=fit.environment | {"asked": requested},
        metrics=metrics,
        notes=(Note("slim-copy", "/scratch/slim_copy", f"a slim copy of {source}; 2 arrays"),),
        binning=fit.binning | {"chosen": {"cell_types": "../alice/t.csv", "where": "id > 0"}},
    )
    shown = fit_results.shareable(fit)
    assert shown.environment["asked"] == {
        "adopted": {"run": "first", "digest": "sha256:1"},
        "test": "test.nwb",
        "targets": "targets.h5",
        "null": "shift:20",
    }
    assert shown.metrics["submission"]["targets"] == "targets.h5"
    assert shown.metrics["candidates"] == [{"reason": "lab.nwb went away"}]
    assert shown.notes[0].reason == "a slim copy of lab.nwb; 2 arrays"
    assert shown.binning["chosen"] == {"cell_types": "t.csv", "where": "id > 0"}
    assert name_of(shown) == name_of(fit)
    assert fit_results.shareable(shown).source == shown.source


def test_the_activity_of_an_upload_names_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("DANDI_API_KEY", KEY)
    (tmp_path / "archive/000002").mkdir(parents=True)
    lab = lab_files.write_imaging(tmp_path / "lab.nwb")
    saved = lab_files.fit_of(lab).save(tmp_path / "run")
    with StandIn(tmp_path / "archive") as server:
        run("export", saved, "--upload", "dandi:000002", "--send", "--instance", server.api)
        (metadata,) = server.metadata.values()
    text = json.dumps(metadata)
    assert re.search(r"Fitted to lab\.nwb, sha256:[0-9a-f]{64} with nwbdyn", text)
    assert str(tmp_path) not in text
