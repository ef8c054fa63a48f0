"""Files are data: nothing in one runs, opens another file, or says where something is written."""

import json
import os
import pickle
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import lab_files
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

import nwbdyn
from nwbdyn import archive
from nwbdyn.cli import main
from nwbdyn.errors import ConfigError, FitError, NwbdynError, ResultsError
from nwbdyn.fitting import sweep_space
from nwbdyn.nwb.results.open_results import MODULE, run_names
from nwbdyn.nwb.zarr.array import array_v2
from nwbdyn.nwb.zarr.store import Folder
from nwbdyn.printable import folder_name
from nwbdyn.recording import Source
from nwbdyn.request import FitRequest
from nwbdyn.results import run_directory
from nwbdyn.training import checkpoint
from nwbdyn.workflows import batch, load_model, reproduce

SECRET = b"-----PRIVATE KEY OF THIS MACHINE-----" * 40


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def secret(tmp_path) -> Path:
    path = tmp_path / "secret" / "id_rsa"
    path.parent.mkdir()
    path.write_bytes(SECRET)
    return path


@pytest.fixture
def fit(source):
    return lab_files.fit_of(source)


@pytest.fixture
def saved(fit, tmp_path) -> Path:
    return fit.save(tmp_path / "run")


class Runs:
    """An object whose unpickling makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


# What is unpickled or parsed


def test_a_checkpoint_that_holds_code_is_refused_unrun(tmp_path):
    made = tmp_path / "made"
    torch.save({"epoch": Runs(made)}, tmp_path / run_directory.CHECKPOINT)
    with pytest.raises(FitError, match="is damaged"):
        checkpoint.read_checkpoint(tmp_path)
    assert not made.exists()


def test_a_pickled_chunk_of_a_zarr_store_is_refused_unrun(tmp_path):
    made = tmp_path / "made"

    (tmp_path / "0").write_bytes(pickle.dumps(Runs(made)))
    document = {
        "shape": [1],
        "chunks": [1],
        "dtype": "|O",
        "compressor": None,
        "filters": [{"id": "pickle"}],
        "order": "C",
    }
    with Folder(tmp_path, "a store") as store, pytest.raises(OSError, match="not allowed in data"):
        array_v2(store, "", document)[:]
    assert not made.exists()


@pytest.mark.parametrize(
    "text",
    [
        "grid: !!python/object/apply:os.system ['touch {made}']",
        "list: !!python/name:os.system",
        "!!python/object/new:os.system [touch {made}]",
        "list: [!!python/object/apply:os.system ['touch {made}']]",
    ],
)
def test_a_sweep_with_tags_of_python_is_refused_unrun(tmp_path, text):
    made, path = tmp_path / "made", tmp_path / "sweep.yaml"
    path.write_text(text.format(made=made))
    with pytest.raises(ConfigError):
        sweep_space.points(path)
    assert not made.exists()


@pytest.mark.parametrize(
    "name", ["os", "../../evil", "base", "_comparators", "nwbdyn.models.stndt"]
)
def test_the_name_of_a_model_in_a_run_imports_nothing(saved, name):
    change(saved, run_directory.CONFIG, model=name)
    fit = nwbdyn.load(saved)
    with pytest.raises(NwbdynError, match="No model named"):
        load_model.load_model(fit)


@pytest.mark.parametrize("name", [None, 7, ["stndt"], {"a": 1}])
def test_a_model_whose_name_is_no_text_is_damage(saved, name):
    change(saved, run_directory.CONFIG, model=name)
    with pytest.raises(ResultsError, match="is damaged"):
        nwbdyn.load(saved)


OF_ANOTHER_TYPE = [
    (run_directory.CONFIG, ("config",), []),
    (run_directory.CONFIG, ("binning",), 7),
    (run_directory.CONFIG, ("split",), -1.5),
    (run_directory.CONFIG, ("seed",), True),
    (run_directory.PROVENANCE, ("versions",), "1"),
    (run_directory.PROVENANCE, ("versions", "torch"), 7),
    (run_directory.PROVENANCE, ("environment",), []),
    (run_directory.PROVENANCE, ("device",), None),
    (run_directory.PROVENANCE, ("source",), "lab.nwb"),
    (run_directory.PROVENANCE, ("source", "uri"), 7),
    (run_directory.PROVENANCE, ("source", "digest"), []),
    (run_directory.PROVENANCE, ("source", "size"), "large"),
    (run_directory.PROVENANCE, ("notes",), [7]),
    (run_directory.METRICS, ("model",), {"test": {"r2": "\x1b]0;title\x07"}}),
    (run_directory.METRICS, ("model",), {"test": {"r2": True}}),
    (run_directory.METRICS, ("baselines",), {"AR": {"test": {"r2": {"a": 1}}}}),
    (run_directory.METRICS, ("coupling",), {"adds": 0.1, "interval": [0.1]}),
    (run_directory.METRICS, ("coupling",), {"adds": 0.1, "interval": [0.1, []]}),
]


@pytest.mark.parametrize(("name", "keys", "value"), OF_ANOTHER_TYPE)
def test_a_value_of_another_type_in_a_run_is_damage(saved, name, keys, value):
    content = json.loads((saved / name).read_text())
    part = content
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    (saved / name).write_text(json.dumps(content))
    with pytest.raises(ResultsError, match=r"is damaged .*Fit again") as refused:
        nwbdyn.load(saved)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("line", ["[1]", "7", '{"loss": "low"}', '{"loss": []}'])
def test_a_history_of_anything_but_numbers_is_damage(saved, line):
    (saved / run_directory.HISTORY).write_text(f'{{"epoch": 1, "loss": null}}\n{line}\n')
    with pytest.raises(ResultsError, match=r"history\.jsonl is damaged"):
        nwbdyn.load(saved)


def change(folder: Path, name: str, **values: object) -> None:
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(content | values))


# What was chosen from a recording, as a file states it


def stating(fit, **chosen: object):
    return replace(fit, binning=fit.binning | {"chosen": chosen})


@pytest.mark.parametrize(
    "chosen",
    [
        {"report": "x"},
        {"instance": "https://elsewhere/api"},
        {"address": "/etc/passwd"},
        {"no_such": "x"},
        {"where": 7},
        {"where": ["id > 0"]},
        {"plane": {"a": 1}},
        {"quantity": None},
    ],
)
def test_a_stored_choice_that_is_not_known_is_refused(fit, chosen):
    with pytest.raises(ResultsError, match="Update nwbdyn, or fit the recording again"):
        reproduce.chosen_of(stating(fit, **chosen))
    with pytest.raises(ResultsError, match="expected a table"):
        reproduce.chosen_of(replace(fit, binning={"chosen": "where"}))


def test_a_stored_file_of_cell_types_is_not_opened(fit, secret, tmp_path):
    stated = stating(fit, cell_types=str(secret))
    address = fit.source.uri
    with reproduce.reopened(stated, address, None, tmp_path, lambda _: None) as recording:
        kinds = recording.neurons.table["cell_type"].tolist()
    assert kinds == ["Pvalb", "Sst", "Pvalb", "", "Sst"]


OLD = [
    ("@pd.io.common.os.system('touch {made}') == 0", None),
    ("cell_type.str.startswith('P')", "startswith(cell_type, 'P')"),
    ("(id > 10) & ~cell_type.isna()", "id > 10 and (not isna(cell_type))"),
    ("id.__class__ == 1", None),
]


@pytest.mark.parametrize(("condition", "equivalent"), OLD)
def test_a_stored_condition_outside_the_grammar_is_refused_in_one_line(
    fit, tmp_path, condition, equivalent
):
    made = tmp_path / "made"
    condition = condition.format(made=made)
    stated = stating(fit, where=condition)
    exported = nwbdyn.export(stated, tmp_path / "results.nwb")
    shown = run("reproduce", exported)
    assert shown.exit_code == 1
    assert shown.stderr.startswith("nwbdyn: The results hold a condition that is not run.")
    assert shown.stderr.count("\n") == 1
    assert "is refused at character" in shown.stderr
    if equivalent is not None:
        assert f"with --where {shlex.quote(equivalent)}." in shown.stderr
    loaded = nwbdyn.load(stated.save(tmp_path / "shared"))
    with pytest.raises(ResultsError, match="a condition that is not run"):
        load_model.load_model(loaded)
    assert not made.exists()


@pytest.mark.parametrize(("condition", "equivalent"), OLD)
def test_a_run_with_such_a_condition_is_not_resumed(tmp_path, condition, equivalent):
    made = tmp_path / "made"
    requested = {"model": "m", "binning": {"chosen": {"where": condition.format(made=made)}}}
    run_directory.open_run(tmp_path / "run", requested)
    with pytest.raises(FitError, match="a condition that is not run") as refused:
        run_directory.open_run(tmp_path / "run", requested, resume=True)
    assert "\n" not in str(refused.value)
    assert equivalent is None or shlex.quote(equivalent) in str(refused.value)
    assert not made.exists()


@pytest.mark.parametrize(
    ("before", "now", "option"),
    [
        ({"where": "id > 1"}, {"where": "id > 2"}, "--where 'id > 1'"),
        ({"where": "id > 1"}, None, "--where 'id > 1'"),
        (None, {"plane": "a"}, "was started with no --plane, now with --plane a. Resume with no"),
        ({"cell_types_digest": 1}, {"cell_types_digest": 2}, "the same recording and choices"),
        ({"plane": "a"}, {"plane": "a", "where": "id > 1"}, "no --where"),
    ],
)
def test_a_resumed_fit_names_what_was_taken_from_the_recording(tmp_path, before, now, option):
    run_directory.open_run(tmp_path, {"binning": {"chosen": before}})
    with pytest.raises(FitError, match="Resume with") as refused:
        run_directory.open_run(tmp_path, {"binning": {"chosen": now}}, resume=True)
    assert option in str(refused.value)


@pytest.mark.parametrize(
    ("stored", "named"),
    [
        ([], "model = None; expected a text"),
        ("netformer", "model = None"),
        ({"model": 7}, "model = 7; expected a text"),
        ({"model": "m", "data": 7}, "data = 7; expected a table"),
        ({"model": "m", "validation": {"seeds": "2"}}, "seeds = '2'; expected a whole number"),
        ({"model": "m", "validation": {"seeds": True}}, "seeds = True"),
        ({"model": "m", "validation": {"folds": {"a": 1}}}, "folds = {'a': 1}"),
        ({"model": "m", "data": {"bin_width": "x"}}, "bin_width = 'x'; expected a number"),
        ({"model": "m", "data": {"covariates": "x"}}, "covariates = 'x'; expected a list"),
        ({"model": "m", "data": {"fold": [1, 2, 3]}}, r"fold = \(1, 2, 3\); expected a list"),
        ({"model": "m", "model_options": {"options": [1]}}, r"options = \(1,\); expected a table"),
        ({"model": "m", "tests": {"null": 5}}, "null = 5; expected a text"),
        ({"model": "m", "tests": {"no_such": 5}}, "does not know"),
        ({"model": "m", "output": {"overwrite": True}}, "does not know"),
        ({"model": "m", "compute": {"devices": 64}}, "does not know"),
    ],
)
def test_a_stored_request_of_other_types_is_refused(stored, named):
    with pytest.raises(ConfigError, match=named):
        FitRequest.from_json(stored)


def test_a_request_is_read_as_it_was_stored():
    requested = {
        "bin_width": 1,
        "covariates": ("speed",),
        "fold": (0, 5),
        "options": {"history": 4},
    }
    request = FitRequest.from_keywords("netformer", sweep={"list": [{"a": 1}]}, **requested)
    assert FitRequest.from_json(json.loads(json.dumps(request.to_json()))) == request


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("tests", "states"),
        ("tests", "targets"),
        ("model_options", "sweep"),
        ("model_options", "init_from"),
    ],
)
def test_a_file_that_a_stored_request_names_is_not_opened(fit, tmp_path, part, name):
    opened = tmp_path / "file.csv"
    os.mkfifo(opened)  # who opens it waits for ever
    request = {"model": "netformer", part: {name: str(opened)}}
    stated = replace(fit, environment=fit.environment | {"request": request})
    path = nwbdyn.export(stated, tmp_path / "results.nwb")
    with pytest.raises(ResultsError, match=r"also needed a file \(--.*not looked for"):
        reproduce.reproduce(path)


# Values that lie in another file


def external(
    group: h5py.Group, name: str, secret: Path, *, as_text: bool = False, count: int = len(SECRET)
) -> None:
    """A dataset whose values are the first bytes of another file."""
    kind = h5py.h5t.C_S1.copy() if as_text else h5py.h5t.NATIVE_UINT8
    if as_text:
        kind.set_size(len(SECRET))
    space = h5py.h5s.create(h5py.h5s.SCALAR) if as_text else h5py.h5s.create_simple((count,))
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if name in group:
        del group[name]
    plist.set_external(str(secret).encode(), 0, len(SECRET) if as_text else count)
    h5py.h5d.create(group.id, name.encode(), kind, space, plist)


VIRTUAL_INSIDE = {  # virtual datasets that name this file -> their source in it
    "virtual dataset of external storage": "/stored",
    "virtual dataset through an external link": "/through/data",
    "virtual dataset of itself": "/circle",
    "virtual dataset of nothing": "/nothing",
}


def elsewhere(
    kind: str, group: h5py.Group, name: str, secret: Path, count: int = len(SECRET)
) -> None:
    """Something in a file that stands for the first bytes of another one."""
    other = secret.with_suffix(".h5")
    with h5py.File(other, "w") as file:
        file["data"] = np.frombuffer(SECRET, np.uint8)[:count]
        file["group/data"] = np.frombuffer(SECRET, np.uint8)[:count]
    if name in group:
        del group[name]
    if kind == "external storage":
        external(group, name, secret, count=count)
    elif kind == "external link":
        group[name] = h5py.ExternalLink(str(other), "/data")
    elif kind == "soft link through an external one":
        group.file["through"] = h5py.ExternalLink(str(other), "/group")
        group[name] = h5py.SoftLink("/through/data")
    elif kind in VIRTUAL_INSIDE:
        layout = h5py.VirtualLayout((count,), np.uint8)
        layout[:] = h5py.VirtualSource(".", VIRTUAL_INSIDE[kind], (count,))
        external(group.file, "stored", secret, count=count)
        group.file["through"] = h5py.ExternalLink(str(other), "/group")
        group.file.create_virtual_dataset("circle", layout)
        group.create_virtual_dataset(name, layout)
    else:
        layout = h5py.VirtualLayout((count,), np.uint8)
        layout[:] = h5py.VirtualSource(str(other), "data", (count,))
        group.create_virtual_dataset(name, layout)


KINDS = (
    "external storage",
    "external link",
    "soft link through an external one",
    "virtual dataset",
    *VIRTUAL_INSIDE,
)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["embeddings", "extra", "predictions/values"])
def test_a_run_whose_arrays_lie_in_another_file_is_refused(saved, secret, kind, name):
    with h5py.File(saved / run_directory.RESULTS, "a") as file:
        elsewhere(kind, file[name].parent if name in file else file, name.split("/")[-1], secret)
    with pytest.raises(ResultsError, match=r"another file|is damaged"):
        nwbdyn.load(saved)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["data", "general/session_id", "session_description"])
def test_results_whose_values_lie_in_another_file_are_refused(fit, tmp_path, secret, kind, where):
    path = nwbdyn.export(fit, tmp_path / "results.nwb")
    with h5py.File(path, "a") as file:
        name = where
        if where == "data":
            (run_name,) = run_names(path)
            name = f"{MODULE}/{run_name}_predictions/data"
        group = file[name].parent if name in file else file["general"]
        elsewhere(kind, group, name.split("/")[-1], secret)
    with pytest.raises(ResultsError, match="another file"):
        nwbdyn.open_results(path)


def test_a_group_that_contains_itself_is_refused(saved):
    with h5py.File(saved / run_directory.RESULTS, "a") as file:
        file["predictions/again"] = file["predictions"]
    with pytest.raises(ResultsError, match="groups deep"):
        nwbdyn.load(saved)


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording_gives_no_byte_of_another_file(source, secret, kind, tmp_path):
    name = "processing/ophys/ImageSegmentation/rois/cell_type"
    with h5py.File(source, "a") as file:
        elsewhere(kind, file[name].parent, "cell_type", secret, count=5)
    with nwbdyn.open(str(source)) as recording:
        assert "cell_type" not in recording.neurons.table
        codes = {note.code for note in recording.notes}
        assert codes & {"external-data", "external-link", "broken-link"}
    copied = run("fetch", source, "-o", tmp_path / "copies")
    assert copied.exit_code == 0, copied.output
    secret.unlink()
    secret.with_suffix(".h5").unlink()
    (copy,) = (tmp_path / "copies").glob("*.nwb")
    with h5py.File(copy, "r") as file:
        there = file[name][()].tolist() if kind == "virtual dataset" and name in file else []
        assert SECRET[0] not in there


@pytest.mark.parametrize(
    "name", ["session_description", "identifier", "general/session_id", "general/subject/sex"]
)
def test_a_text_of_a_session_is_not_read_from_another_file(source, secret, name, tmp_path):
    with h5py.File(source, "a") as file:
        group = file.require_group("general/subject") if "subject" in name else file
        group = file["general"] if name == "general/session_id" else group
        external(group, name.split("/")[-1], secret, as_text=True)
    with nwbdyn.open(str(source)) as recording:
        shown = (recording.session_description, recording.identifier, recording.session_id)
        assert "PRIVATE" not in repr((shown, recording.subject))
    assert "PRIVATE" not in run("inspect", source, "--json").output


@pytest.mark.parametrize("path", ["general", "general/subject", "general/session_id", "identifier"])
def test_a_link_to_another_file_gives_a_note_wherever_it_is(source, tmp_path, path):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file.create_group("group")
    with h5py.File(source, "a") as file:
        if path in file:
            del file[path]
        file[path] = h5py.ExternalLink(str(other), "/group")
    with nwbdyn.open(str(source)) as recording:
        noted = {note.where for note in recording.notes if note.code == "external-link"}
    assert noted == {f"/{path}"}


# Names of files and of sessions as paths


@pytest.mark.parametrize("name", ["../other", "..", "/abs", "a/b", "", ".", "C:x", "a\\b"])
def test_a_session_of_a_run_leads_into_no_other_folder(saved, tmp_path, name):
    other = tmp_path / "other"
    shutil.copytree(saved, other)
    change(saved, run_directory.CONFIG, sessions={name: {}})
    for read in (run_directory.sessions_in, nwbdyn.load):
        with pytest.raises(ResultsError, match="no folder in the run"):
            read(saved)
    with pytest.raises(ResultsError, match="no folder in the run"):
        run_directory.validate_run_dir(saved, overwrite=True)
    assert (other / run_directory.CONFIG).exists()
    assert (saved / run_directory.METRICS).exists()


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("...nwb", "recording"),
        (".nwb", "recording"),
        ("....nwb", "recording"),
        ("a\x1bb.nwb", "a-b"),
        ("a\nb.nwb", "a-b"),
        ("sub-a_ses-1.nwb", "sub-a_ses-1"),
        ("sub-é.nwb.zarr", "sub-é"),
    ],
)
def test_the_name_of_a_file_makes_a_folder_of_its_own(name, folder):
    local = Source(uri=f"/data/{name}", url="", asset_path=f"sub-a/{name}")
    assert local.name == folder
    assert batch.run_names([(local,), (local,)]) == [folder, f"{folder}-2"]


def test_a_long_name_is_cut():
    assert len(folder_name("a" * 999)) == 120


@pytest.mark.parametrize("text", ["../../x", "a/b", "..", "a\nb\x1b[2J", "x" * 400])
def test_the_name_of_an_export_is_one_file_name_whatever_the_subject_is_called(fit, text, tmp_path):
    subject = {"subject_id": text, "species": "Mus musculus", "sex": "F", "age": "P1D"}
    fit = replace(fit, session=fit.session | {"subject": subject, "session_id": text})
    path = nwbdyn.export(fit.save(tmp_path / "run"))
    assert path.parent == tmp_path / "run"
    assert path.name.startswith("sub-")
    assert path.name.isprintable()


@pytest.mark.parametrize("path", ["../x.nwb", "/etc/x.nwb", "a/../../x.nwb", "a\\..\\x.nwb"])
def test_an_asset_is_not_written_outside_of_the_folder(tmp_path, path):
    source = Source(uri="dandi:000001", url="https://h/x", dandiset_id="000001", asset_path=path)
    with pytest.raises(NwbdynError, match="leads out of the folder"):
        archive.target_of(source, tmp_path)


@pytest.mark.parametrize("name", [run_directory.METRICS, run_directory.REPORT])
def test_a_link_in_a_run_does_not_lead_a_write_elsewhere(tmp_path, secret, name):
    (tmp_path / f"{name}.partial").symlink_to(secret)
    before = secret.read_bytes()
    with run_directory.atomic_write(tmp_path / name) as partial:
        partial.write_text("results", encoding="utf-8")
    assert secret.read_bytes() == before
    assert not (tmp_path / name).is_symlink()


def other_run(tmp_path: Path) -> dict[Path, bytes]:
    """Files of a run beside the one that is written to."""
    folder = tmp_path / "precious"
    folder.mkdir()
    for name in (*run_directory.FILES, "0.npy"):
        (folder / name).write_bytes(SECRET)
    return {path: path.read_bytes() for path in folder.iterdir()}


MEMBERS = ["seed-0", "fold-1", "static", "session-a", run_directory.REFITS]


@pytest.mark.parametrize("member", MEMBERS)
def test_overwriting_a_run_removes_a_link_and_nothing_that_it_leads_to(tmp_path, member):
    precious, path = other_run(tmp_path), tmp_path / "received"
    path.mkdir()
    (path / run_directory.CONFIG).write_text('{"format": 1, "sessions": {"session-a": {}}}')
    (path / member).symlink_to(tmp_path / "precious")
    run_directory.validate_run_dir(path, overwrite=True)
    assert {one: one.read_bytes() for one in (tmp_path / "precious").iterdir()} == precious
    assert not any(path.iterdir())


@pytest.mark.parametrize("member", MEMBERS)
def test_a_run_with_a_link_for_a_folder_is_not_resumed(tmp_path, member):
    precious, path = other_run(tmp_path), tmp_path / "received"
    path.mkdir()
    (path / run_directory.CONFIG).write_text('{"format": 1, "sessions": {"session-a": {}}}')
    (path / member).symlink_to(tmp_path / "precious")
    with pytest.raises(ResultsError, match=rf"{member} is a link to .*Remove the link"):
        run_directory.validate_run_dir(path, resume=True)
    assert {one: one.read_bytes() for one in (tmp_path / "precious").iterdir()} == precious


def test_history_is_not_appended_through_a_link(tmp_path, secret):
    (tmp_path / run_directory.HISTORY).symlink_to(secret)
    with pytest.raises(ResultsError, match="is a link"):
        run_directory.append_history(tmp_path, {"epoch": 1})
    assert secret.read_bytes() == SECRET


# Names in commands and messages


@pytest.mark.parametrize("name", ["a; touch made.nwb", "$(touch made).nwb", "`touch made`.nwb"])
def test_the_proposed_command_quotes_the_name_of_a_file(tmp_path, name):
    (sample,) = archive.resolve("sample:cortex?neurons=6&duration=60")  # long enough for a fit
    path = tmp_path / name
    path.write_bytes(sample.path.read_bytes())
    command = run("inspect", path).stdout.splitlines()[-1]
    assert shlex.split(command)[2] == str(path)


def test_braces_and_percent_signs_in_names_are_letters(source, tmp_path):
    path = source.rename(tmp_path / "{0.__class__} %s %(a)s.nwb")
    shown = run("inspect", path)
    assert shown.exit_code == 0, shown.output
    assert "{0.__class__} %s %(a)s.nwb" in shown.stdout
