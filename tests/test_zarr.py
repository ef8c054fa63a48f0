"""NWB in Zarr: what hdmf-zarr writes reads as the HDF5 file it came from, here and over http."""

import contextlib
import json
import pickle
import warnings
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numcodecs
import numpy as np
import pytest
import zarr as zarr_python
from click.testing import CliRunner
from lab_files import write_imaging
from nwb_files import nwb, rois, traces, units
from standin import Faults, StandIn
from zarr_files import write_store

import nwbdyn
from nwbdyn import archive
from nwbdyn.cli import main
from nwbdyn.data.binning import bin_recording
from nwbdyn.errors import (
    AddressError,
    ArchiveError,
    NwbdynError,
    ReadError,
    ResultsError,
    StreamError,
)
from nwbdyn.nwb import zarr
from nwbdyn.nwb.read import recording as nwb_read
from nwbdyn.nwb.zarr import pickled
from nwbdyn.nwb.zarr.array import array_v2, array_v3
from nwbdyn.nwb.zarr.store import Folder
from nwbdyn.recording import Recording
from nwbdyn.streaming import disk
from nwbdyn.streaming.objects import DiskObjects
from nwbdyn.workflows import fetch

FILES = Path(__file__).parent / "files"
HDMF_ZARR = ("0.13", "0.14")  # writes version 2 of the Zarr format, and version 3
REAL = (
    "ecephys/human_mtl_dandi000207_sub-4_ses-4.nwb",
    "ophys/celegans_dag2023_2022-07-26-31.nwb",
    "ophys/celegans_scholz_142554_per-neuron-timeseries.nwb",
    "ophys/ophys_schema_sample_neuroconv_nwb_test.nwb",
)


@pytest.fixture(scope="session")
def sessions(tmp_path_factory) -> dict[str, Path]:
    """`session.nwb` and `session.nwb.zarr`, as pynwb and each release of hdmf-zarr wrote them."""
    folders = {release: tmp_path_factory.mktemp(f"hdmf-zarr-{release}") for release in HDMF_ZARR}
    for release, folder in folders.items():
        with zipfile.ZipFile(FILES / f"hdmf_zarr_{release}.zip") as stored:
            stored.extractall(folder)
    return folders


@pytest.fixture
def session(sessions) -> Path:
    return sessions["0.13"]


def same(one: Recording, other: Recording) -> None:
    """Everything that was read is the same, values included."""
    names = [covariate.name for covariate in one.covariates]
    assert names == [covariate.name for covariate in other.covariates]
    numbers = [c.name for c in one.covariates if np.isfinite(c.data[:]).any()]  # others are refused
    binned, again = bin_recording(one, covariates=numbers), bin_recording(other, covariates=numbers)
    for name in ("values", "time", "valid", "segment", "covariates"):
        np.testing.assert_array_equal(getattr(binned, name), getattr(again, name))
    assert one.neurons.table.equals(other.neurons.table)
    assert one.neurons.table_object_id == other.neurons.table_object_id
    assert (one.trials is None) == (other.trials is None)
    assert one.trials is None or one.trials.equals(other.trials)
    assert list(one.intervals) == list(other.intervals)
    assert all(one.intervals[name].equals(other.intervals[name]) for name in one.intervals)
    for field in ("session_id", "identifier", "session_start_time", "subject", "notes"):
        assert getattr(one, field) == getattr(other, field)


@pytest.mark.parametrize("release", HDMF_ZARR)
@pytest.mark.parametrize("quantity", [None, "fluorescence"])
def test_what_hdmf_zarr_wrote_reads_as_the_file_it_came_from(sessions, quantity, release):
    session = sessions[release]
    with (
        nwbdyn.open(str(session / "session.nwb"), quantity=quantity) as file,
        nwbdyn.open(str(session / "session.nwb.zarr"), quantity=quantity) as store,
    ):
        same(file, store)
        assert len(store.trials) == 10
        if quantity is None:
            assert store.neurons.table["cell_type"].tolist()[1] == "größer"
            assert store.neurons.table["location"].tolist() == ["CA1", "CA1", "CA3", "CA3", "CA1"]


def as_written(store: Path) -> Path:
    return store


def moved(store: Path) -> Path:
    """The store in another folder, under another name."""
    (store.parent / "moved" / "deep").mkdir(parents=True)
    return store.rename(store.parent / "moved" / "deep" / "other name.zarr")


def with_a_link_to_nothing(store: Path) -> Path:
    """The link to the ROIs with a path that begins in the wrong place, as some versions wrote."""
    series = "processing/ophys/DfOverF/traces/.zattrs"
    documents = json.loads((store / ".zmetadata").read_text())
    attributes = documents["metadata"][series]
    (link,) = [link for link in attributes["zarr_link"] if link["name"] == "rois"]
    link["path"] = "/rois"
    (store / series).write_text(json.dumps(attributes))
    (store / ".zmetadata").write_text(json.dumps(documents))
    return store


def without_consolidated_metadata(store: Path) -> Path:
    (store / ".zmetadata").unlink()
    return store


@pytest.mark.parametrize(
    ("change", "release"),
    [
        (as_written, "0.13"),
        (moved, "0.13"),
        (with_a_link_to_nothing, "0.13"),
        (without_consolidated_metadata, "0.13"),
        (as_written, "0.14"),
        (moved, "0.14"),
    ],
)
def test_traces_of_a_store_keep_their_rois_and_times_that_are_links(tmp_path, change, release):
    with zipfile.ZipFile(FILES / f"hdmf_zarr_{release}_links.zip") as stored:
        stored.extractall(tmp_path)
    store = change(tmp_path / "links.nwb.zarr")
    with (
        nwbdyn.open(str(tmp_path / "links.nwb")) as file,
        nwbdyn.open(str(store)) as other,
    ):
        assert other.activity.quantity == "dff"
        np.testing.assert_array_equal(other.activity.data, file.activity.data)
        np.testing.assert_array_equal(other.activity.timestamps, file.activity.timestamps)
        assert file.neurons.ids.tolist() == [5, 3, 1, 0]
        if change is with_a_link_to_nothing:  # nothing says which ROIs, and 4 of 6 are not all
            assert "broken-link" in [note.code for note in other.notes]
        else:
            assert other.neurons.table.equals(file.neurons.table)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("name", REAL)
def test_a_real_file_reads_the_same_from_a_store(data, tmp_path, name, version):
    store = write_store(data / name, tmp_path / "copy.nwb.zarr", version=version, chunk=500)
    with nwbdyn.open(str(data / name)) as one, nwbdyn.open(str(store)) as other:
        same(one, other)


@pytest.fixture(params=HDMF_ZARR)
def served(sessions, request):
    """The folder over plain http, with a log of requests."""
    requested: list[str] = []
    session = sessions[request.param]

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            requested.append(self.path)

    handler = partial(Handler, directory=str(session))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/session.nwb.zarr", requested, session
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_store_over_http_gives_the_same_and_only_what_is_asked_for_travels(served):
    url, requested, session = served
    with nwbdyn.open(url) as remote, nwbdyn.open(str(session / "session.nwb")) as local:
        same(local, remote)
    assert not any("RoiResponseSeries/data" in path for path in requested)


@pytest.fixture
def remote(session, tmp_path, monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    for name in ("DANDI_API_KEY", "DANDI_INSTANCE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "archive" / "000001" / "sub-m1"
    folder.mkdir(parents=True)
    (session / "session.nwb.zarr").rename(folder / "sub-m1_ecephys.nwb.zarr")
    with StandIn(tmp_path / "archive") as running:
        yield running
    (folder / "sub-m1_ecephys.nwb.zarr").rename(session / "session.nwb.zarr")


def test_an_asset_of_the_archive_may_be_a_store(remote, session):
    (source,) = archive.resolve("dandi:000001", instance=remote.api)
    assert source.is_zarr
    assert source.name == "sub-m1_ecephys"
    assert source.digest.startswith("dandi-zarr-checksum:")
    with (
        nwbdyn.open("dandi:000001/sub-m1", instance=remote.api) as asset,
        nwbdyn.open(str(session / "session.nwb")) as local,
    ):
        same(local, asset)


def test_a_second_fit_of_a_store_transfers_nothing(remote, session, monkeypatch, tmp_path):
    monkeypatch.setenv("NWBDYN_CACHE", str(tmp_path / "cache"))
    (source,) = archive.resolve("dandi:000001", instance=remote.api)
    received = []
    for _ in range(2):
        with (
            zarr.open_store(source) as store,
            nwbdyn.open(str(session / "session.nwb")) as local,
            nwb_read.read(store, source) as asset,
        ):
            same(local, asset)
            received.append(store.transferred)
    assert received[0] > 0
    assert received[1] == 0
    assert disk.usage().files == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_object_on_disk_is_fetched_again(damage, monkeypatch, tmp_path):
    monkeypatch.setenv("NWBDYN_CACHE", str(tmp_path / "cache"))
    kept = DiskObjects("a digest")
    kept.write("units/id/0", b"twelve bytes")
    assert kept.read("units/id/0") == b"twelve bytes"
    assert kept.read("units/id/1") is None
    assert DiskObjects("another").read("units/id/0") is None
    (path,) = (item for item in (tmp_path / "cache").rglob("*") if item.is_file())
    content = path.read_bytes()
    other = {"flip": content[:-1] + b"S", "cut": content[:-1], "empty": b""}[damage]
    path.write_bytes(other)
    assert kept.read("units/id/0") is None


def test_objects_on_disk_stay_within_the_limit(monkeypatch, tmp_path):
    monkeypatch.setenv("NWBDYN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NWBDYN_CACHE_SIZE", "300 KB")
    monkeypatch.setattr("nwbdyn.streaming.disk._CHECK_AFTER", 50_000)
    kept = DiskObjects("a digest")
    for number in range(20):
        kept.write(str(number), bytes(40_000))
    assert disk.usage().size <= 400_000
    monkeypatch.setenv("NWBDYN_CACHE_SIZE", "0")
    off = DiskObjects("a digest")
    off.write("20", b"x")
    assert off.read("20") is None


def test_a_store_is_fetched_whole_verified_and_resumed(remote, session, tmp_path):
    (source,) = archive.resolve("dandi:000001", instance=remote.api)
    done = fetch.fetch(source, tmp_path, full=True)
    assert done.path == tmp_path / "000001" / "sub-m1" / "sub-m1_ecephys.nwb.zarr"
    assert done.size == source.size
    with (
        nwbdyn.open(str(done.path)) as here,
        nwbdyn.open(str(session / "session.nwb")) as local,
    ):
        same(local, here)
    assert fetch.fetch(source, tmp_path, full=True).path == done.path  # kept as it is
    (done.path / "units" / "id" / "0").write_bytes(b"other")
    with pytest.raises(ResultsError, match="differs"):
        fetch.fetch(source, tmp_path, full=True)


def test_an_interrupted_fetch_of_a_store_goes_on(remote, tmp_path, monkeypatch):
    monkeypatch.setattr("nwbdyn.archive.stores._PAUSE", 0.001)
    (source,) = archive.resolve("dandi:000001", instance=remote.api)
    remote.faults = Faults(["drop", "unavailable", "truncate"], rate=1.0, spare=30)
    with pytest.raises(ArchiveError, match="run the same command again; it resumes"):
        fetch.fetch(source, tmp_path, full=True)
    target = tmp_path / "000001" / "sub-m1" / "sub-m1_ecephys.nwb.zarr"
    assert not target.exists()
    (part,) = target.parent.glob("*.part")
    arrived = written(part)
    assert len(arrived) == 30
    remote.faults = None
    fetch.fetch(source, tmp_path, full=True)
    assert arrived.items() <= written(target).items()


def written(folder: Path) -> dict[str, int]:
    """When each file was written."""
    files = (item for item in folder.rglob("*") if item.is_file())
    return {item.relative_to(folder).as_posix(): item.stat().st_mtime_ns for item in files}


@pytest.mark.parametrize(
    "kind", ["drop", "truncate", "busy", "unavailable", "garbage", "forbid", "page"]
)
def test_faults_of_the_storage_end_in_the_right_values_or_in_an_error(
    remote, session, kind, monkeypatch
):
    monkeypatch.setattr(zarr.store, "PAUSE", 0.001)
    (source,) = archive.resolve("dandi:000001", instance=remote.api)
    text_shown = []
    with nwbdyn.open(str(session / "session.nwb")) as local:
        for seed in range(4):
            remote.faults = Faults([kind], rate=0.2, seed=seed)
            try:
                with nwbdyn.opening.open_source(source) as asset:
                    same(local, asset)
            except NwbdynError as error:
                text_shown.append(str(error))
    assert all("sub-m1_ecephys" in message for message in text_shown)


def test_a_fit_of_a_store_is_a_fit(session, tmp_path):
    run = tmp_path / "run"
    arguments = ["fit", str(session / "session.nwb.zarr"), "--model", "netformer", "-o", str(run)]
    quick = ["--epochs", "1", "--set", "history=3", "--quantity", "fluorescence"]
    result = CliRunner().invoke(main, [*arguments, *quick])
    assert result.exit_code == 0, result.output
    assert len(nwbdyn.load(run).neurons) == 6


def test_a_folder_is_searched_for_stores_too(session):
    assert [source.name for source in archive.resolve(str(session))] == ["session", "session"]


def test_what_cannot_be_done_with_a_store_says_so(session, tmp_path):
    (source,) = archive.resolve(str(session / "session.nwb.zarr"))
    with pytest.raises(ReadError, match=r"Zarr store, of which no slim copy is made.*--full"):
        fetch.fetch(source, tmp_path)
    whole = fetch.fetch(source, tmp_path / "whole", full=True)
    assert (whole.path / ".zgroup").read_bytes() == (source.path / ".zgroup").read_bytes()
    recording = nwbdyn.open(str(session / "session.nwb.zarr"))
    with recording, pytest.raises(ReadError, match="HDF5"):
        recording.to_pynwb()
    with pytest.raises(AddressError, match=r"no\.zarr"):
        nwbdyn.open(str(tmp_path / "no.zarr"))


@pytest.fixture
def store(tmp_path) -> Path:
    with nwb(tmp_path / "small.nwb") as file:
        units(file)
    return write_store(tmp_path / "small.nwb", tmp_path / "small.nwb.zarr")


def test_a_missing_chunk_is_never_taken_for_zeros(store):
    (store / "units" / "spike_times" / "0").unlink()
    with pytest.raises(ReadError, match="is missing: the copy is incomplete"):
        nwbdyn.open(str(store))


def test_a_damaged_chunk_is_named(store):
    chunk = store / "units" / "spike_times" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    with pytest.raises(ReadError, match=r"/units/spike_times in small\.nwb\.zarr"):
        nwbdyn.open(str(store))


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"zarr_format": 2}'])
def test_a_folder_that_is_no_store_is_refused(tmp_path, content):
    folder = tmp_path / "odd.nwb.zarr"
    folder.mkdir()
    if content is not None:
        (folder / ".zgroup").write_text(content)
    with pytest.raises(ReadError, match=r"odd\.nwb\.zarr"):
        nwbdyn.open(str(folder))


def test_a_link_out_of_the_store_is_not_followed(store, tmp_path):
    attributes = json.loads((store / ".zattrs").read_text())
    attributes["zarr_link"] = [{"name": "stolen", "path": "/units", "source": "../other.zarr"}]
    (store / ".zattrs").write_text(json.dumps(attributes))
    with nwbdyn.open(str(store)) as recording:
        (note,) = [note for note in recording.notes if note.code == "external-link"]
        assert note.where == "/stolen"
    with pytest.raises(OSError, match="leads out"):
        Folder(store, "a store").get("../small.nwb")


def test_a_reference_out_of_the_store_leads_nowhere(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file))
    store = write_store(tmp_path / "a.nwb", tmp_path / "a.nwb.zarr")
    attributes = store / "processing/ophys/DfOverF/RoiResponseSeries/rois/.zattrs"
    stored = json.loads(attributes.read_text())
    stored["table"]["value"]["source"] = "../b.nwb.zarr"
    attributes.write_text(json.dumps(stored))
    with nwbdyn.open(str(store)) as recording:
        assert "broken-reference" in [note.code for note in recording.notes]
        assert recording.neurons.table_path is None


class Trap:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_in_a_store_can_run_code(capsys):
    with pytest.raises(ValueError, match=r"builtins\.print"):
        pickled.loads(pickle.dumps(Trap()))
    assert capsys.readouterr().out == ""
    values = np.array([{"path": "/units", "source": "."}, None], dtype=object)
    assert pickled.loads(pickle.dumps(values, protocol=5)).tolist() == values.tolist()


class Pickled:
    """Something that is pickled as a call and the state that follows."""

    def __init__(self, call: object, arguments: tuple, state: object = None) -> None:
        self.reduced = (call, arguments) if state is None else (call, arguments, state)

    def __reduce__(self) -> tuple:
        return self.reduced


RECONSTRUCT = np._core.multiarray._reconstruct
FIELD_OUTSIDE = {"a": (np.dtype("O"), 1 << 20)}  # of values of 8 bytes


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Pickled(np.ndarray, ((64,), "u1")), "takes no arguments"),
        (Pickled(np.dtype, ("V8", False, True)), "not a plain one"),
        (Pickled(np.dtype, ([("a", "O")],)), "not a plain one"),
        (Pickled(np.dtype, ("i8",), (3, "|", None, ("a",), FIELD_OUTSIDE, 8, 1, 0)), "with fields"),
        (Pickled(np._core.multiarray.scalar, (np.dtype("i8"),)), "without a value"),
        (Pickled(np._core.multiarray.scalar, (np.dtype("i8"), b"1")), "without a value"),
        (Pickled(RECONSTRUCT, (np.matrix, (0,), b"b")), "not allowed in data"),
        (
            Pickled(RECONSTRUCT, (np.ndarray, (0,), b"b"), (1, (9,), np.dtype("i8"), False, b"")),
            "cannot reshape",
        ),
    ],
)
def test_a_pickle_cannot_have_memory_read_that_is_none_of_its_values(value, reason):
    with pytest.raises(ValueError, match=reason):
        pickled.loads(pickle.dumps(value))


def test_an_array_without_values_is_not_made_of_what_lies_in_memory():
    made = pickled.loads(pickle.dumps(Pickled(RECONSTRUCT, (np.ndarray, (64,), b"b"))))
    assert made.shape == (0,)


@pytest.mark.parametrize(
    "value",
    [
        np.array(["a", None, {"source": ".", "path": "/x"}], dtype=object),
        np.array([[1, 2, 3], [4, 5, 6]], dtype=">i4", order="F"),
        np.array(["ä", "bc"]),
        np.float32(0.1),
        [np.array([1.5]), (np.int64(3), "text")],
    ],
    ids=repr,
)
@pytest.mark.parametrize("protocol", [3, 4])
def test_plain_values_come_out_of_a_pickle_as_they_went_in(value, protocol):
    actual = pickled.loads(pickle.dumps(value, protocol=protocol))
    assert repr(actual) == repr(value)


def array_of(tmp_path: Path, values: np.ndarray, chunks: tuple[int, ...], **document) -> zarr.Array:
    """The values as a version 2 array in chunks of their own."""
    codec = numcodecs.Zstd()
    for index in np.ndindex(*(-(-n // c) for n, c in zip(values.shape, chunks, strict=True))):
        block = np.zeros(chunks, values.dtype)
        where = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))
        part = values[where]
        block[tuple(slice(0, n) for n in part.shape)] = part
        order = document.get("order", "C")
        (tmp_path / ".".join(map(str, index))).write_bytes(codec.encode(block.tobytes(order=order)))
    described = {
        "shape": values.shape,
        "chunks": chunks,
        "dtype": values.dtype.str,
        "compressor": codec.get_config(),
        "filters": None,
        "order": "C",
        **document,
    }
    return array_v2(Folder(tmp_path, "a store"), "", described)


KEYS = (
    (),
    ...,
    3,
    -1,
    slice(2, 9),
    slice(None, None, 3),
    slice(5, 5),
    (slice(2, 9), 1),
    (slice(None), slice(1, 4)),
    (4, slice(None)),
    ([1, 4, 7], slice(None)),
    (slice(None), [0, 3]),
    (np.arange(11) % 2 == 0, slice(2, 3)),
    (..., 2),
    (3, 4),
    [],
    [4, 2],
    [True, False] * 5 + [False],
    np.arange(11) % 2 == 0,
    (slice(None), []),
    (..., [3, 1]),
    ([4, 2], ...),
    np.arange(55).reshape(11, 5) % 3 == 0,
)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("key", KEYS, ids=str)
def test_every_index_gives_what_numpy_gives(tmp_path, key, order):
    values = np.arange(55, dtype=">i4").reshape(11, 5)
    array = array_of(tmp_path, values, (4, 3), order=order)
    np.testing.assert_array_equal(array[key], values[key])


@pytest.mark.parametrize("key", [11, (0, 5), (0, 0, 0), [12]])
def test_an_index_that_makes_no_sense_is_refused(tmp_path, key):
    array = array_of(tmp_path, np.zeros((11, 5)), (4, 3))
    with pytest.raises((IndexError, TypeError)):
        array[key]


VERSION_3 = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [3, 2],
    "data_type": "float64",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 2]}},
    "chunk_key_encoding": {"name": "default"},
    "codecs": [{"name": "bytes", "configuration": {"endian": "big"}}],
    "fill_value": "NaN",
}


def test_version_3_fills_in_what_was_never_written(tmp_path):
    (tmp_path / "c" / "0").mkdir(parents=True)
    (tmp_path / "c" / "0" / "0").write_bytes(np.arange(4, dtype=">f8").tobytes())
    array = array_v3(Folder(tmp_path, "a store"), "", VERSION_3)
    np.testing.assert_array_equal(array[:], [[0, 1], [2, 3], [np.nan, np.nan]])


TEXT_OF_4 = {"name": "fixed_length_utf32", "configuration": {"length_bytes": 16}}


def test_values_with_fields_fill_in_by_field(tmp_path):
    fields = [{"name": "x", "data_type": "int32"}, {"name": "name", "data_type": TEXT_OF_4}]
    data_type = {"name": "struct", "configuration": {"fields": fields}}
    document = VERSION_3 | {"data_type": data_type, "fill_value": {"x": 7, "name": "none"}}
    array = array_v3(Folder(tmp_path, "a store"), "", document)
    assert array[0, 1].tolist() == (7, "none")


@pytest.fixture
def shards(tmp_path) -> Path:
    """An archive with a store whose array `a` is in shards of four chunks."""
    (tmp_path / "000001").mkdir()
    store = zarr_python.create_group(tmp_path / "000001" / "s.nwb.zarr")
    layout = {"chunks": (2, 4), "shards": (8, 4), "compressors": None}
    store.create_array("a", data=np.arange(64.0).reshape(16, 4), **layout)
    with warnings.catch_warnings(action="ignore"):  # not yet in the specification
        zarr_python.consolidate_metadata(store.store)
    return tmp_path


@pytest.mark.parametrize("remote", [True, False])
def test_of_a_shard_only_the_parts_that_an_index_touches_travel(shards, remote, monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    with StandIn(shards) as running:
        (source,) = archive.resolve(
            "dandi:000001" if remote else str(shards / "000001" / "s.nwb.zarr"),
            instance=running.api,
        )
        with zarr.open_store(source) as store:
            array = zarr.read_tree(store)["/a"].array
            before = store.transferred if remote else 0
            np.testing.assert_array_equal(array[2:4], np.arange(8.0, 16.0).reshape(2, 4))
            if remote:
                assert store.transferred - before == 2 * 4 * 8 + 4 * 16 + 4  # a chunk, the index
            np.testing.assert_array_equal(array[:], np.arange(64.0).reshape(16, 4))


@pytest.mark.parametrize(
    "kind", ["drop", "truncate", "shifted", "resized", "uncounted", "whole", "unavailable"]
)
def test_faults_of_ranges_end_in_the_right_values_or_in_an_error(shards, kind, monkeypatch):
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.setenv("NWBDYN_CACHE_SIZE", "0")
    monkeypatch.setattr(zarr.store, "PAUSE", 0.001)
    with StandIn(shards) as running:
        (source,) = archive.resolve("dandi:000001", instance=running.api)
        for seed in range(4):
            with zarr.open_store(source) as store:
                array = zarr.read_tree(store)["/a"].array
                running.faults = Faults([kind], rate=0.3, seed=seed)
                with contextlib.suppress(StreamError):
                    np.testing.assert_array_equal(array[:], np.arange(64.0).reshape(16, 4))
            running.faults = None


def test_an_enriched_copy_of_a_store_is_refused_in_words(tmp_path):
    file = write_imaging(tmp_path / "lab.nwb")
    store = write_store(file, tmp_path / "lab.nwb.zarr")
    with nwbdyn.open(str(store)) as recording:
        fit = nwbdyn.fit(recording, "netformer", epochs=1, options={"history": 3})
    with pytest.raises(NwbdynError, match=r"lab\.nwb\.zarr"):
        nwbdyn.export(fit, tmp_path / "e.nwb", enrich=True)
    assert nwbdyn.export(fit, tmp_path / "alone.nwb").exists()
