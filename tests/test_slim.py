"""A slim copy has everything but the raw data, and stands for its source."""

import json
import subprocess
import sys
import uuid
import warnings
from datetime import UTC, datetime
from pathlib import Path

import h5py
import lab_files
import numpy as np
import nwb_files
import pytest
from click.testing import CliRunner
from hdmf.backends.hdf5 import H5DataIO
from pynwb import NWBHDF5IO, NWBFile, TimeSeries, validate
from pynwb.behavior import BehavioralTimeSeries
from pynwb.ecephys import LFP, ElectricalSeries
from pynwb.file import Subject
from pynwb.image import ImageSeries
from pynwb.ophys import DfOverF, ImageSegmentation, OpticalChannel, TwoPhotonSeries
from standin import FAULTS, Faults, StandIn

import nwbdyn
from nwbdyn import archive
from nwbdyn.cli import main
from nwbdyn.data.binning import bin_recording
from nwbdyn.errors import NwbdynError, ReadError, ResultsError
from nwbdyn.nwb.read import slim_record, walk
from nwbdyn.nwb.slim.hdf5_copy import Copy, Omissions
from nwbdyn.progress import Progress, silent
from nwbdyn.streaming.disk import BLOCK
from nwbdyn.workflows import fetch

NUM_SAMPLES, NUM_FRAMES = 40_000, 200
RAW = (
    "/acquisition/raw/data",
    "/acquisition/raw/timestamps",
    "/acquisition/movie/data",
    "/processing/ecephys/LFP/lfp/data",
    "/stimulus/presentation/gratings/data",
)


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Path:
    """A session with voltages, a movie, a stimulus, units, ROIs and behaviour, written by pynwb."""
    path = tmp_path_factory.mktemp("lab") / "sub-m1_ses-1.nwb"
    draw = np.random.default_rng(0)
    nwbfile = NWBFile(
        session_description="Units and imaging.",
        identifier="lab-1",
        session_start_time=datetime(2024, 1, 1, tzinfo=UTC),
        session_id="1",
        subject=Subject(subject_id="m1", species="Mus musculus", sex="F", age="P90D"),
    )
    _add_units(nwbfile, draw)
    _add_imaging(nwbfile, draw)
    frames = draw.integers(0, 255, (NUM_FRAMES, 80, 80), dtype=np.uint8)
    nwbfile.add_stimulus(ImageSeries(name="gratings", data=frames, unit="n.a.", rate=10.0))
    nwbfile.add_acquisition(
        ImageSeries(
            name="video",
            external_file=["video.mp4"],
            format="external",
            unit="n.a.",
            timestamps=[0.0, 0.1],
        )
    )
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def _add_units(nwbfile: NWBFile, draw: np.random.Generator) -> None:
    device = nwbfile.create_device(name="probe", description="A probe.")
    group = nwbfile.create_electrode_group("shank", "One shank.", location="CA1", device=device)
    for _ in range(16):
        nwbfile.add_electrode(group=group, location="CA1")
    region = nwbfile.create_electrode_table_region(list(range(16)), "all")
    times = np.arange(NUM_SAMPLES) / 1000 + 0.25
    voltages = draw.integers(-500, 500, (NUM_SAMPLES, 16), dtype=np.int16)
    raw = ElectricalSeries(
        name="raw",
        data=H5DataIO(voltages, compression="gzip", chunks=(4000, 16)),
        electrodes=region,
        timestamps=times,
        comments="As amplified.",
    )
    nwbfile.add_acquisition(raw)
    lfp = ElectricalSeries(
        name="lfp", data=voltages.astype(np.float32), electrodes=region, rate=1000.0
    )
    nwbfile.create_processing_module("ecephys", "Derived.").add(LFP(electrical_series=lfp))
    nwbfile.add_unit_column("quality", "By hand.")
    for unit in range(5):
        spikes = np.sort(draw.uniform(0.5, 39, 200))
        nwbfile.add_unit(
            spike_times=spikes,
            obs_intervals=[[0.25, 40.0]],
            electrodes=[unit],
            electrode_group=group,
            waveform_mean=draw.normal(size=(30, 1)),
            quality="good" if unit else "mua",
        )
    nwbfile.add_trial_column("side", "Left or right.")
    for start in range(1, 39, 2):
        side = "left" if start % 4 == 1 else "right"
        nwbfile.add_trial(float(start), start + 1.5, side=side, timeseries=[raw])
    speed = TimeSeries(  # on the clock of the raw data, by a link
        name="speed", data=draw.normal(size=NUM_SAMPLES), unit="cm/s", timestamps=raw
    )
    pupil = TimeSeries(name="pupil", data=draw.normal(size=NUM_SAMPLES), unit="px", timestamps=raw)
    module = nwbfile.create_processing_module("behavior", "Behaviour.")
    module.add(BehavioralTimeSeries(time_series=[speed, pupil], name="BehavioralTimeSeries"))


def _add_imaging(nwbfile: NWBFile, draw: np.random.Generator) -> None:
    microscope = nwbfile.create_device(name="microscope", description="A microscope.")
    plane = nwbfile.create_imaging_plane(
        name="plane",
        description="Layer 2/3.",
        optical_channel=OpticalChannel(name="g", description="green", emission_lambda=510.0),
        device=microscope,
        excitation_lambda=920.0,
        indicator="GCaMP6s",
        location="VISp",
    )
    frames = draw.integers(0, 4000, (NUM_FRAMES, 64, 64), dtype=np.uint16)
    movie = TwoPhotonSeries(
        name="movie",
        data=H5DataIO(frames, compression="gzip"),
        imaging_plane=plane,
        rate=10.0,
        unit="n.a.",
    )
    nwbfile.add_acquisition(movie)
    segmentation = ImageSegmentation()
    rois = segmentation.create_plane_segmentation("Cells.", plane, "rois", movie)
    rois.add_column(name="cell_type", description="Cell type.")
    for row in range(6):
        rois.add_roi(pixel_mask=[(row, row, 1.0), (row + 1, row, 0.5)], cell_type="Sst")
    module = nwbfile.create_processing_module("ophys", "Imaging.")
    module.add(segmentation)
    traces = DfOverF()
    module.add(traces)
    traces.create_roi_response_series(
        name="dff",
        data=H5DataIO(draw.normal(size=(NUM_FRAMES, 6)), compression="gzip", shuffle=True),
        rois=rois.create_roi_table_region(region=list(range(6)), description="All."),
        unit="n.a.",
        rate=10.0,
    )


def fetched(path: Path, folder: Path) -> fetch.FetchResult:
    return fetch.fetch(archive.resolve(str(path))[0], folder)


def datasets(path: Path) -> dict[str, h5py.Dataset]:
    """Every dataset by its path, as the file's own visitor finds them; the file stays open."""
    actual: dict[str, h5py.Dataset] = {}
    h5py.File(path).visititems(
        lambda name, item: actual.update({f"/{name}": item}) if hasattr(item, "dtype") else None
    )
    return actual


@pytest.fixture(scope="session")
def copy(lab, tmp_path_factory) -> Path:
    return fetched(lab, tmp_path_factory.mktemp("copy")).path


def test_everything_but_the_raw_arrays_is_there(lab, copy):
    before, after = datasets(lab), datasets(copy)
    clock = "/processing/behavior/BehavioralTimeSeries/pupil/timestamps"  # a link, now its values
    assert set(after) - set(before) == {"/scratch/slim_copy", clock}
    assert set(before) <= set(after)
    for path, dataset in before.items():
        if path in RAW:
            assert after[path].shape == (0, *dataset.shape[1:])
            assert after[path].dtype == dataset.dtype
        elif h5py.check_ref_dtype(dataset.dtype) is None and dataset.dtype.names is None:
            np.testing.assert_array_equal(after[path][()], dataset[()])


def test_stored_chunks_are_the_same_bytes(lab, copy):
    path = "/processing/ophys/DfOverF/dff/data"
    before, after = datasets(lab)[path], datasets(copy)[path]
    assert (after.compression, after.shuffle, after.chunks) == ("gzip", True, before.chunks)
    for number in range(before.id.get_num_chunks()):
        where = before.id.get_chunk_info(number).chunk_offset
        assert after.id.read_direct_chunk(where) == before.id.read_direct_chunk(where)


def test_references_lead_to_the_same_objects(lab, copy):
    with h5py.File(lab) as before, h5py.File(copy) as after:

        def target(file: h5py.File, reference: h5py.Reference) -> tuple[str, object]:
            item = file[reference]
            return item.name, item.attrs.get("object_id")

        seen = 0

        def compare(name: str, item: h5py.HLObject) -> None:
            nonlocal seen
            for key, value in item.attrs.items():
                if isinstance(value, h5py.Reference):
                    assert target(before, value) == target(after, after[name].attrs[key])
                    seen += 1

        before.visititems(compare)
        assert seen >= 8
        rows, copied = before["intervals/trials/timeseries"], after["intervals/trials/timeseries"]
        for one, other in zip(rows[()], copied[()], strict=True):
            assert tuple(one)[:2] == tuple(other)[:2]
            assert target(before, one[2]) == target(after, other[2])
        groups = [file["general/extracellular_ephys/electrodes/group"] for file in (before, after)]
        assert target(before, groups[0][3]) == target(after, groups[1][3])


def test_a_clock_that_was_only_with_the_raw_data_is_kept(copy):
    behaviour = h5py.File(copy)["processing/behavior/BehavioralTimeSeries"]
    assert behaviour["speed/timestamps"].shape == (NUM_SAMPLES,)
    assert behaviour["pupil/timestamps"][-1] == (NUM_SAMPLES - 1) / 1000 + 0.25


@pytest.mark.parametrize("quantity", [None, "dff"])
def test_tensors_are_equal_bit_by_bit(lab, copy, quantity):
    with (
        nwbdyn.open(str(lab), quantity=quantity) as whole,
        nwbdyn.open(str(copy), quantity=quantity) as part,
    ):
        names = [covariate.name for covariate in whole.covariates]
        one = bin_recording(whole, bin_width=0.1, covariates=names)
        other = bin_recording(part, bin_width=0.1, covariates=names)
        assert len(names) == 2
        for name in ("values", "time", "valid", "segment", "covariates"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.neurons.table.equals(other.neurons.table)
        assert whole.trials.equals(part.trials)


def test_pynwb_opens_and_validates_it(lab, copy):
    with NWBHDF5IO(copy, "r") as io:
        nwbfile = io.read()
        assert nwbfile.units["quality"][:].tolist() == ["mua", *["good"] * 4]
        assert nwbfile.units["electrodes"][2]["location"].tolist() == ["CA1"]
        assert nwbfile.acquisition["raw"].data.shape == (0, 16)
        assert "sub-m1_ses-1.nwb" in nwbfile.acquisition["raw"].comments
        assert nwbfile.acquisition["raw"].comments.startswith("As amplified. Its values (40000 x")
        assert nwbfile.trials["timeseries"][0][0].timeseries is nwbfile.acquisition["raw"]
        assert json.loads(nwbfile.scratch["slim_copy"].data)["left_out"]
        with NWBHDF5IO(lab, "r") as whole:
            assert set(whole.read().objects) <= set(nwbfile.objects)
    assert validate(path=lab) == []
    assert validate(path=copy) == []


def test_what_was_left_out_is_listed(lab, tmp_path):
    result = fetched(lab, tmp_path)
    assert sorted(item.path for item in result.left_out) == sorted(RAW)
    by_path = {item.path: item for item in result.left_out}
    voltages = by_path["/acquisition/raw/data"]
    assert (voltages.shape, voltages.dtype) == ((NUM_SAMPLES, 16), "int16")
    assert voltages.bytes == NUM_SAMPLES * 16 * 2
    assert voltages.neurodata_type == "ElectricalSeries"
    record = slim_record.of_file(result.path)
    assert record.left_out == result.left_out
    assert result.size < result.source_size / 3


def test_opened_again_it_stands_for_its_source(lab, copy):
    with nwbdyn.open(str(lab)) as whole, nwbdyn.open(str(copy)) as part:
        assert (part.source.uri, part.source.digest) == (str(copy), whole.source.digest)
        assert part.source.digest == whole.source.digest
        assert part.source.path == copy
        (note,) = [note for note in part.notes if note.code == "slim-copy"]
        assert "5 arrays" in note.reason


def test_a_second_fetch_keeps_what_is_there(lab, tmp_path):
    first = fetched(lab, tmp_path)
    before = first.path.stat()
    assert fetched(lab, tmp_path) == first
    assert first.path.stat().st_mtime_ns == before.st_mtime_ns


def test_a_slim_copy_of_a_slim_copy_stands_for_the_first(lab, copy, tmp_path):
    again = fetched(copy, tmp_path)
    assert again.path.read_bytes() == copy.read_bytes()
    with nwbdyn.open(str(again.path)) as recording:
        assert recording.source.name == "sub-m1_ses-1"


REAL = (
    "ecephys/human_mtl_dandi000207_sub-4_ses-4.nwb",
    "ecephys/mouse_thalamus_dandi000009_anm00239123.nwb",
    "ophys/celegans_dag2023_2022-07-26-31.nwb",
    "ophys/celegans_scholz_142554_per-neuron-timeseries.nwb",
    "ophys/ophys_schema_sample_neuroconv_nwb_test.nwb",
)


@pytest.mark.parametrize("name", REAL)
def test_a_copy_of_everything_has_every_value_type_and_attribute(name, data, tmp_path):
    path, target = data / name, tmp_path / "copy.nwb"
    source = archive.resolve(str(path))[0]
    with path.open("rb") as file, h5py.File(target, "w") as made:
        contents = walk.open_contents(file, source)
        with contents.file:
            copy = Copy(contents, made, Omissions())
            copy.structure()
            copy.values(silent)
            copy.attributes()
            assert copy.lost == {}
    before, after = datasets(path), datasets(target)
    assert list(before) == list(after)
    for where, dataset in before.items():
        assert after[where].id.get_type() == dataset.id.get_type()
        assert list(after[where].attrs) == list(dataset.attrs)
        if h5py.check_ref_dtype(dataset.dtype) is None and dataset.shape is not None:
            np.testing.assert_array_equal(after[where][()], dataset[()])
    with nwbdyn.open(str(path)) as one, nwbdyn.open(str(target)) as other:
        for name in ("values", "time", "valid"):
            np.testing.assert_array_equal(
                getattr(bin_recording(one), name), getattr(bin_recording(other), name)
            )
        assert one.neurons.table.equals(other.neurons.table)
        assert one.notes == other.notes


@pytest.mark.parametrize(
    "name", [*(pytest.param(name, marks=pytest.mark.slow) for name in REAL[1:-1]), REAL[-1]]
)
def test_what_pynwb_says_of_a_real_file_it_says_of_its_copy(name, data, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "WORTH_IT", -1)
    path = data / name
    result = fetched(path, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pynwb, about these files
        assert list(map(str, validate(path=result.path))) == list(map(str, validate(path=path)))
        with NWBHDF5IO(path, "r") as one, NWBHDF5IO(result.path, "r") as other:
            assert set(one.read().objects) <= set(other.read().objects)


def test_another_file_at_the_target_is_left_alone(lab, copy, tmp_path):
    target = tmp_path / lab.name
    target.write_bytes(b"somebody's notes")
    with pytest.raises(ResultsError, match="differs"):
        fetched(lab, tmp_path)
    assert target.read_bytes() == b"somebody's notes"
    with h5py.File(lab) as source, h5py.File(target, "w") as other:
        source.copy("general", other)
        slim_record.write(
            other,
            slim_record.SlimRecord(archive.resolve(str(lab))[0], "sha256:other", (), "a test"),
        )
    with pytest.raises(ResultsError, match="slim copy of other bytes"):
        fetched(lab, tmp_path)


def test_the_source_is_never_its_own_target(lab):
    before = lab.read_bytes()
    assert fetched(lab, lab.parent).path == lab
    assert lab.read_bytes() == before


def test_a_file_with_nothing_to_leave_out_is_fetched_whole(data, tmp_path):
    path = data / "ecephys" / "human_mtl_dandi000207_sub-4_ses-4.nwb"
    result = fetched(path, tmp_path)
    assert result.left_out == ()
    assert result.path.read_bytes() == path.read_bytes()


def test_large_waveforms_of_single_spikes_are_left_out_of_their_table(lab, tmp_path):
    path = tmp_path / "snippets.nwb"
    path.write_bytes(lab.read_bytes())
    with h5py.File(path, "r+") as file:
        units = file["units"]
        units["waveforms"] = np.zeros((1000, 200))
        units["waveforms_index"] = np.arange(1, 1001)
        units["waveforms_index_index"] = np.arange(200, 1001, 200)
        for name, kind in (("waveforms", "VectorData"), ("waveforms_index", "VectorIndex")):
            units[name].attrs.update(neurodata_type=kind, namespace="hdmf-common", description="x")
            units[name].attrs["object_id"] = str(uuid.uuid4())
        outer = units["waveforms_index_index"]
        outer.attrs.update(neurodata_type="VectorIndex", namespace="hdmf-common", description="x")
        outer.attrs["object_id"] = str(uuid.uuid4())
        units["waveforms_index"].attrs["target"] = units["waveforms"].ref
        outer.attrs["target"] = units["waveforms_index"].ref
        names = [*units.attrs["colnames"], "waveforms"]
        units.attrs["colnames"] = np.array(names, dtype=h5py.string_dtype())
    result = fetched(path, tmp_path / "copy")
    with NWBHDF5IO(result.path, "r") as io:
        units = io.read().units
        assert "waveforms" not in units.colnames
        assert "waveform_mean" in units.colnames
    assert validate(path=result.path) == []
    assert "/units/waveforms" in {item.path for item in result.left_out}


@pytest.fixture
def remote(lab, tmp_path, monkeypatch):
    """The session as an asset."""
    monkeypatch.setenv("NWBDYN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DANDI_NO_ET", "1")
    for name in ("DANDI_API_KEY", "DANDI_INSTANCE"):
        monkeypatch.delenv(name, raising=False)
    asset = tmp_path / "archive" / "000001" / "sub-m1" / "sub-m1_ses-1.nwb"
    asset.parent.mkdir(parents=True)
    with h5py.File(lab) as source, h5py.File(asset, "w") as large:
        for name in source:
            source.copy(name, large, expand_refs=True)
        large.attrs.update({k: v for k, v in source.attrs.items() if k != ".specloc"})
        del large["acquisition/movie/data"]
        noise = np.random.default_rng(0).integers(0, 4000, (4000, 64, 64), dtype=np.uint16)
        large["acquisition/movie"].create_dataset("data", data=noise, chunks=(50, 64, 64))
    with StandIn(tmp_path / "archive") as running:
        yield running


def test_an_asset_lands_where_dandi_puts_it_and_its_raw_bytes_stay_away(remote, tmp_path):
    (source,) = archive.resolve("dandi:000001", instance=remote.api)
    seen: list[Progress] = []
    result = fetch.fetch(source, tmp_path / "out", report=seen.append)
    assert result.path == tmp_path / "out" / "000001" / "sub-m1" / "sub-m1_ses-1.nwb"
    received = max(advance.done for advance in seen if advance.stage == "streaming")
    assert received < source.size / 5
    with nwbdyn.open(str(result.path)) as recording:
        assert recording.source.uri == "dandi:000001@draft/sub-m1/sub-m1_ses-1.nwb"
        assert recording.source.digest.startswith("dandi-etag:")
        assert recording.source.asset_id == source.asset_id


def test_a_fetch_that_broke_off_transfers_only_the_rest(remote, tmp_path, monkeypatch):
    (source,) = archive.resolve("dandi:000001", instance=remote.api)

    def received(out: Path, cache: str, faults: Faults | None = None) -> int:
        """Bytes that came over the network until the copy was there, or the network was not."""
        monkeypatch.setenv("NWBDYN_CACHE", str(tmp_path / cache))
        remote.faults = faults
        seen: list[Progress] = []
        try:
            fetch.fetch(source, out, report=seen.append)
        except NwbdynError:
            assert faults
        return max((advance.done for advance in seen if advance.stage == "streaming"), default=0)

    whole = received(tmp_path / "whole", "cache-of-one")
    gone = Faults(["forbid", "unavailable"], spare=5)
    first = received(tmp_path / "out", "cache-of-two", gone)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    second = received(tmp_path / "out", "cache-of-two")
    assert 0 < first < whole
    assert second <= whole - first + 2 * BLOCK
    assert received(tmp_path / "again", "cache-of-two") == 0


def test_the_command_lists_what_was_left_out_and_the_sizes(lab, tmp_path):
    result = CliRunner().invoke(main, ["fetch", str(lab), "-o", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "/acquisition/raw/data" in result.output
    assert "40000 x 16" in result.output
    assert " -> " in result.output
    assert result.output.splitlines()[-1] == str(tmp_path / lab.name)
    whole = CliRunner().invoke(main, ["fetch", str(lab), "--full", "-o", str(tmp_path / "whole")])
    assert whole.exit_code == 0, whole.output
    assert (tmp_path / "whole" / lab.name).read_bytes() == lab.read_bytes()


def test_a_damaged_chunk_is_named_and_nothing_is_left(lab, tmp_path):
    path = tmp_path / "damaged.nwb"
    with h5py.File(lab) as file:
        last = file["units/spike_times"].id.get_offset() or 0
    path.write_bytes(lab.read_bytes()[: max(last, 1) + 10])
    with pytest.raises(ReadError, match=r"damaged\.nwb"):
        fetched(path, tmp_path / "out")
    assert list((tmp_path / "out").rglob("*")) == []


def test_a_full_disk_leaves_nothing_behind(lab, tmp_path):
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from nwbdyn import archive\n"
        "from nwbdyn.workflows import fetch\n"
        "from nwbdyn.errors import ResultsError\n"
        "source = archive.resolve(sys.argv[1])[0]\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        "try: fetch.fetch(source, Path(sys.argv[2]))\n"
        "except ResultsError as error: print(error)\n"
    )
    arguments = [sys.executable, "-c", program, str(lab), str(tmp_path / "out")]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Cannot write" in done.stdout
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("advance", [1, 4, -1])
def test_whoever_stops_it_finds_nothing_half_written(lab, tmp_path, advance):
    seen: list[Progress] = []
    fetch.fetch(archive.resolve(str(lab))[0], tmp_path / "whole", report=seen.append)
    left = advance if advance > 0 else len(seen)

    def stop(progress: Progress) -> None:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.fetch(archive.resolve(str(lab))[0], tmp_path / "out", report=stop)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_a_fit_of_the_copy_exports_into_the_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "WORTH_IT", -1)
    source = lab_files.write_imaging(tmp_path / "lab.nwb")
    with h5py.File(source, "r+") as file:
        series = file["acquisition"].create_group("raw")
        series.attrs.update(neurodata_type="ImageSeries", namespace="core", comments="")
        series.attrs["object_id"] = str(uuid.uuid4())
        series["data"] = np.zeros((10, 4, 4))
        series["data"].attrs.update(unit="n.a.", conversion=1.0, offset=0.0, resolution=-1.0)
        series["starting_time"] = 0.0
        series["starting_time"].attrs.update(rate=1.0, unit="seconds")
    copy = fetched(source, tmp_path / "copy")
    assert copy.left_out
    fit = lab_files.fit_of(source)
    enriched = nwbdyn.export(fit, tmp_path / "e.nwb", enrich=True, source_file=copy.path)
    with nwbdyn.open(str(enriched)) as recording:
        assert recording.source.digest == fit.source.digest
    assert nwbdyn.open_results(enriched).model == "netformer"


def test_faults_of_the_storage_leave_a_right_copy_or_none(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "WORTH_IT", -1)
    monkeypatch.setenv("DANDI_NO_ET", "1")
    monkeypatch.delenv("DANDI_INSTANCE", raising=False)
    asset = tmp_path / "archive" / "000001" / "sub-m1" / "sub-m1.nwb"
    asset.parent.mkdir(parents=True)
    asset.write_bytes(lab_files.write_imaging(tmp_path / "lab.nwb").read_bytes())
    with h5py.File(asset, "r+") as file:
        nwb_files.series(
            file["acquisition"], "raw", np.zeros((9000, 40)), kind="ElectricalSeries", rate=1.0
        )
    kinds = [kind for kind in FAULTS if kind not in ("stall", "trickle")]
    with StandIn(tmp_path / "archive") as running:
        (source,) = archive.resolve("dandi:000001", instance=running.api)
        copies = 0
        for seed in range(25):
            monkeypatch.setenv("NWBDYN_CACHE", str(tmp_path / f"cache-{seed}"))
            running.faults = Faults(kinds, rate=0.3, seed=seed)
            out = tmp_path / f"out-{seed}"
            try:
                path = fetch.fetch(source, out).path
            except NwbdynError:
                assert [item for item in out.rglob("*") if item.is_file()] == []
                continue
            copies += 1
            with nwbdyn.open(str(path)) as copy, nwbdyn.open(str(asset)) as whole:
                np.testing.assert_array_equal(
                    bin_recording(copy).values, bin_recording(whole).values
                )
        assert 0 < copies < 25
