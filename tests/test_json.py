"""`--json`: one document on stdout that follows its schema, for results and for errors."""

import json
import re
import runpy
from importlib import resources
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator, ValidationError
from lab_files import write_imaging, write_units
from nwb_files import nwb
from standin import StandIn

from nwbdyn.cli import cmd_export, documents, main
from nwbdyn.cli.cmd_reproduce import _document as reproduction_document
from nwbdyn.recording import Source
from nwbdyn.results.fit_results import load
from nwbdyn.workflows.archive_upload import UploadResult, ValidatedFile
from nwbdyn.workflows.reproduce import Reproduction

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = resources.files("nwbdyn.cli") / "schemas"
VERBS = main.list_commands(click.Context(main))
CORTEX = "sample:cortex?neurons=8&duration=90"
QUICK = ["--model", "netformer", "--epochs", "2", "--set", "history=4", "--set", "batch_size=256"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def checked(text: str, verb: str) -> dict:
    """The document in a text, which is nothing else, checked against the schema of `verb`."""
    document = json.loads(text)
    schema = json.loads((SCHEMAS / f"{verb}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(document)
    assert next(iter(document)) == "schema"
    return document


def error_of(result: Result, code: int) -> dict:
    document = checked(result.stdout, "error")
    assert document["exit_code"] == result.exit_code == code
    assert document["message"].splitlines()[0] in result.stderr
    return document


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> tuple[Path, dict]:
    """A run directory and the document of its fit."""
    folder = tmp_path_factory.mktemp("json") / "run"
    result = run("fit", CORTEX, *QUICK, "-o", folder, "--json")
    assert result.exit_code == 0, result.output
    return folder, checked(result.stdout, "fit")


# --- the schemas ---


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_json_and_has_a_schema_and_a_section(verb):
    command = main.get_command(click.Context(main), verb)
    assert "--json" in [option for one in command.params for option in one.opts]
    schema = json.loads((SCHEMAS / f"{verb}.json").read_text("utf-8"))
    assert schema["properties"]["schema"]["const"] == f"nwbdyn/{verb}/1"
    assert f"\n## {verb}\n" in (ROOT / "docs" / "json.md").read_text("utf-8")


def test_the_page_is_made_of_the_schemas():
    page = runpy.run_path(str(ROOT / "docs" / "make_json.py"))["page"]()
    assert (ROOT / "docs" / "json.md").read_text("utf-8") == page


def test_the_example_on_the_page_runs():
    page = (ROOT / "docs" / "json.md").read_text("utf-8")
    arguments, printed = re.search(r"\$ nwbdyn (.+) \| jq .*\n(.+)\n", page).groups()
    document = json.loads(run(*arguments.split()).stdout)
    assert document["recordings"][0]["fit"] == printed


def test_a_key_that_is_not_in_the_schema_is_refused():
    document = {"schema": "nwbdyn/report/1", "run": "runs/a", "page": "runs/a/report.html"}
    checked(json.dumps(document), "report")
    with pytest.raises(ValidationError):
        checked(json.dumps(document | {"size": 3}), "report")
    with pytest.raises(ValidationError):
        checked(json.dumps(document | {"schema": "nwbdyn/report/2"}), "report")


def test_numbers_that_are_not_finite_are_null(capsys):
    documents.write("report", {"run": float("nan"), "page": [float("inf"), 0.5]})
    assert json.loads(capsys.readouterr().out)["run"] is None


# --- verb by verb ---


def test_inspect(tmp_path):
    document = checked(run("inspect", CORTEX, "--json").stdout, "inspect")
    assert document["address"] == CORTEX
    (recording,) = document["recordings"]
    assert recording["neurons"]["count"] == 8
    assert recording["fit"].startswith("nwbdyn fit ")


def test_inspect_lists_files_that_cannot_be_read_or_hold_nothing(tmp_path):
    write_units(tmp_path / "a.nwb")
    nwb(tmp_path / "b.nwb").close()
    (tmp_path / "c.nwb").write_text("no recording")
    result = run("inspect", tmp_path, "--json")
    assert result.exit_code == 3
    readable, empty, damaged = checked(result.stdout, "inspect")["recordings"]
    assert readable["neurons"]["count"] == 5
    assert "skipped" in empty
    assert "error" in damaged


def test_fit(fitted):
    folder, document = fitted
    assert document["joint"] is None
    (one,) = document["recordings"]
    metrics = json.loads((folder / "metrics.json").read_text())
    metric = metrics["primary"]["metric"]
    assert one["score"] == metrics["model"]["test"][metric]
    assert one["baseline_score"] == metrics["baselines"][one["baseline"]]["test"][metric]
    assert one["interval"] == metrics["intervals"]["model"]["test"][metric]
    assert one["num_edges"] == len(load(folder).edges)
    assert len(one["strongest_edges"]) == 10
    assert {edge["kind"] for edge in one["strongest_edges"]} == {"directed", "simultaneous"}


def test_fit_of_several_lists_those_that_failed(tmp_path):
    (tmp_path / "in").mkdir()
    write_units(tmp_path / "in" / "a.nwb")
    (tmp_path / "in" / "b.nwb").write_text("no recording")
    result = run("fit", tmp_path / "in", *QUICK, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 3
    fitted, failed = checked(result.stdout, "fit")["recordings"]
    assert fitted["status"] == "fitted"
    assert Path(fitted["run"]).is_dir()
    assert failed["status"] == "failed"
    assert "b.nwb" in failed["reason"]


def test_fit_of_one_model_to_several(tmp_path):
    for number in (1, 2):
        write_imaging(tmp_path / f"{number}.nwb")
    options = ["--set", "context=4", "--set", "hidden=8", "--set", "batch_size=32"]
    words = ["--model", "synapsnet", "--joint", "--epochs", "1", *options, "--json"]
    result = run("fit", tmp_path, *words, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    document = checked(result.stdout, "fit")
    assert document["joint"]["num_shared_neurons"] == 0
    assert [one["status"] for one in document["recordings"]] == ["fitted", "fitted"]


def test_validate(fitted):
    folder, _ = fitted
    result = run("validate", folder, "--shuffles", "20", "--json")
    document = checked(result.stdout, "validate")
    assert document["num_neurons"] == 8
    assert document["num_pairs"] == 56
    assert document["null"]["shuffles"] == 20
    assert set(document["null"]["p"]) == set(next(iter(document["scores"].values())))


def test_export(fitted, tmp_path):
    folder, _ = fitted
    path = tmp_path / "out.nwb"
    document = checked(run("export", folder, "-o", path, "--json").stdout, "export")
    assert document == {
        "schema": "nwbdyn/export/1",
        "run": str(folder),
        "file": str(path),
        "upload": None,
    }
    assert path.is_file()
    result = run("reproduce", path, "--json")
    assert result.exit_code == 0, result.output
    assert checked(result.stdout, "reproduce")["reproduced"] is True


@pytest.mark.parametrize("sent", [False, True])
def test_an_upload_that_was_rejected_says_why(sent):
    parcel = ValidatedFile(Path("a.nwb"), "dandi:000200", "sub-a/a.nwb", 8)
    asset = Source("dandi:000200@draft/sub-a/a.nwb", "")
    receipt = UploadResult(asset, "", ("No species.",), pending=True) if sent else None
    upload = cmd_export._upload_fields(parcel, receipt)
    content = {"schema": "nwbdyn/export/1", "run": "r", "file": "a.nwb", "upload": upload}
    checked(json.dumps(content), "export")
    assert upload["sent"] is sent
    assert upload["asset"] == (asset.uri if sent else None)
    assert upload["rejections"] == (["No species."] if sent else [])


@pytest.mark.slow
def test_report(fitted, tmp_path):
    folder, _ = fitted
    page = tmp_path / "page.html"
    document = checked(run("report", folder, "-o", page, "--json").stdout, "report")
    assert document["page"] == str(page)
    assert page.is_file()


@pytest.mark.slow
def test_export_says_what_would_be_sent(fitted, tmp_path):
    folder, _ = fitted
    (tmp_path / "000200").mkdir()
    path = tmp_path / "sub-sample-mouse_ses-1_ophys.nwb"
    with StandIn(tmp_path) as archive:
        words = ["--upload", "dandi:000200", "--instance", archive.api, "--json"]
        subject = ["species=Mus musculus", "sex=U", "age=P90D"]
        given = [word for one in subject for word in ("--subject", one)]
        words += ["--allow-unknown-access"]
        result = run("export", folder, "-o", path, *given, *words)
    assert result.exit_code == 0, result.output
    upload = checked(result.stdout, "export")["upload"]
    assert upload["sent"] is False
    assert upload["asset"] is None
    assert upload["size"] == path.stat().st_size


def test_fetch(tmp_path):
    (tmp_path / "archive" / "000200" / "sub-a").mkdir(parents=True)
    write_units(tmp_path / "archive" / "000200" / "sub-a" / "sub-a_ecephys.nwb")
    with StandIn(tmp_path / "archive") as archive:
        address = ["dandi:000200", "--instance", archive.api, "--json"]
        listed = checked(run("fetch", *address, "--list").stdout, "fetch")["files"]
        fetched = checked(run("fetch", *address, "-o", tmp_path / "here").stdout, "fetch")["files"]
    assert [one["path"] for one in listed] == [None]
    (one,) = fetched
    assert Path(one["path"]).is_file()
    assert one["size"] == Path(one["path"]).stat().st_size
    assert one["source"] == listed[0]["source"]


def test_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NWBDYN_CACHE", str(tmp_path))
    document = checked(run("cache", "--json").stdout, "cache")
    assert (document["num_files"], document["removed"]) == (0, 0)
    checked(run("cache", "--clear", "--json").stdout, "cache")


def test_reproduce_names_what_is_different(fitted, tmp_path):
    folder, _ = fitted
    outcome = Reproduction(
        fit=load(folder),
        predictions=2e-4,
        metrics=0.0,
        metric="",
        unmatched=("model.test.skill",),
        digests=("sha256:a", None),
        changed={"threads": (1, 4)},
    )
    content = {"schema": "nwbdyn/reproduce/1", **reproduction_document(tmp_path, outcome)}
    document = checked(json.dumps(content), "reproduce")
    assert document["reproduced"] is False
    assert document["changed"] == {"threads": {"then": 1, "now": 4}}
    assert document["scores"]["largest_in"] is None


# --- errors ---


def test_our_own_errors_are_documents(tmp_path):
    document = error_of(run("fit", tmp_path / "no.nwb", *QUICK, "--json"), code=1)
    assert document["error"] == "AddressError"
    document = error_of(run("inspect", CORTEX, "--model", "netfromer", "--json"), code=2)
    assert document["error"] == "ConfigError"
    assert "did you mean netformer?" in document["message"]


def test_a_wrong_command_line_is_a_document():
    for arguments in (
        ["fit", CORTEX, "--json"],
        ["inspect", "--json", "--bogus"],
        ["fti", "--json"],
    ):
        assert error_of(run(*arguments), code=2)["error"] == "UsageError"


def test_an_option_after_two_dashes_is_no_option():
    assert run("inspect", "--", "--json").stdout == ""


def test_without_json_an_error_leaves_stdout_empty(tmp_path):
    assert run("inspect", tmp_path / "no.nwb").stdout == ""


def test_ctrl_c_is_a_document(monkeypatch):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("nwbdyn.archive.resolve", stop)
    assert error_of(run("inspect", CORTEX, "--json"), code=130)["error"] == "Interrupted"
