"""Folders of runs: which runs they hold, their files, their pages and their summary."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from small_fits import imaging
from test_json import checked

import nwbdyn
from nwbdyn.cli import main
from nwbdyn.errors import ResultsError
from nwbdyn.evaluation import over_recordings
from nwbdyn.evaluation.numbers import signed
from nwbdyn.report import summary
from nwbdyn.results import run_folder
from nwbdyn.workflows.export_folder import export_each

QUICK = ["--model", "netformer", "--epochs", "1", "--set", "history=2"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory) -> Path:
    """A folder with the runs of two small recordings, and a file and a folder that are no runs."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in ((0, "one"), (1, "two")):
        nwbdyn.fit(
            imaging(seed=seed),
            model="netformer",
            epochs=1,
            options={"history": 2},
            run=folder / name,
        )
    (folder / "notes").mkdir()
    (folder / "notes.txt").write_text("mine")
    return folder


# --- which runs a folder holds ---


def test_a_folder_lists_its_complete_runs_by_name(two_runs):
    assert run_folder.runs_in(two_runs) == (two_runs / "one", two_runs / "two")


def test_a_run_a_file_and_nothing_are_no_folders_of_runs(two_runs):
    assert run_folder.runs_in(two_runs / "one") == ()
    assert run_folder.runs_in(two_runs / "notes.txt") == ()
    assert run_folder.runs_in(two_runs / "absent") == ()


def test_the_runs_of_a_joint_fit_are_those_of_its_recordings_in_its_order(tmp_path):
    sessions = {"b": {}, "a": {}}
    (tmp_path / "config.json").write_text(json.dumps({"format": 1, "sessions": sessions}))
    with pytest.raises(ResultsError, match=r"incomplete\. To continue, repeat the fit with "):
        run_folder.runs_in(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    assert run_folder.runs_in(tmp_path) == (tmp_path / "b", tmp_path / "a")


@pytest.fixture
def one_incomplete(two_runs, tmp_path) -> Path:
    """A folder with one complete run, and one that was stopped before its end."""
    folder = tmp_path / "runs"
    for name in ("one", "two"):
        shutil.copytree(two_runs / name, folder / name)
    (folder / "two" / "metrics.json").unlink()
    return folder


def test_incomplete_runs_are_listed_apart(one_incomplete):
    assert run_folder.runs_in(one_incomplete) == (one_incomplete / "one",)
    assert run_folder.incomplete_in(one_incomplete) == (one_incomplete / "two",)
    assert run_folder.incomplete_in(one_incomplete / "two") == ()
    assert run_folder.incomplete_in(one_incomplete / "absent") == ()


@pytest.mark.parametrize("verb", [["report"], ["export"], ["validate", "--edges", "EDGES"]])
def test_an_incomplete_run_is_named_and_does_not_stop_the_others(verb, one_incomplete, tmp_path):
    (tmp_path / "edges.csv").write_text("pre,post,weight\n100,101,1\n101,102,1\n")
    name, *options = [str(tmp_path / "edges.csv") if word == "EDGES" else word for word in verb]
    result = run(name, one_incomplete, *options)
    assert result.exit_code == 3, result.output
    wanted = f"nwbdyn: {one_incomplete / 'two'}: the run is incomplete. To continue, repeat"
    assert wanted in result.stderr
    assert result.stderr.count("is incomplete") == 1


def test_the_summary_page_names_an_incomplete_run(one_incomplete):
    runs = [summary.of_run(one) for one in run_folder.runs_in(one_incomplete)]
    assert "<strong>two</strong>, incomplete: To continue, repeat" in summary.render(
        one_incomplete, runs, one_incomplete
    )


def test_the_documents_of_a_folder_hold_its_incomplete_runs(one_incomplete):
    result = run("export", one_incomplete, "--json")
    assert result.exit_code == 3
    (one, two) = checked(result.stdout, "export")["files"]
    assert (one["reason"], two["file"]) == (None, None)
    assert two["reason"].startswith("the run is incomplete")


def test_a_folder_without_a_complete_run_says_which_are_incomplete(one_incomplete):
    (one_incomplete / "one" / "metrics.json").unlink()
    result = run("report", one_incomplete)
    assert result.exit_code == 1
    assert "is complete: one, two. To continue, repeat the fit with --resume" in result.stderr


def test_one_reason_for_several_runs_is_printed_once(two_runs):
    result = run("validate", two_runs)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.count("is no simulation") == 1
    assert f"2 runs in {two_runs} (one, two): The recording is no sim" in result.stderr


# --- export ---


def test_every_run_of_a_folder_becomes_a_file_in_its_run(two_runs):
    result = run("export", two_runs, "--overwrite", "-q")
    assert result.exit_code == 0, result.output
    paths = [Path(line) for line in result.stdout.splitlines()]
    assert [path.parent for path in paths] == [two_runs / "one", two_runs / "two"]
    assert all(path.suffix == ".nwb" and path.is_file() for path in paths)
    again = run("export", two_runs)
    assert again.exit_code == 0
    assert "2 of them held these results already." in again.stdout


def test_two_runs_never_share_a_file(two_runs, tmp_path):
    runs = run_folder.runs_in(two_runs)  # of one session, as its recordings say
    with pytest.raises(ResultsError, match=r"one and .*two would both be written to"):
        export_each(runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_that_cannot_be_exported_does_not_stop_the_others(two_runs, tmp_path):
    names = {path.name: path for path in run_folder.runs_in(two_runs)}
    exported = export_each(list(names.values()), overwrite=True)
    exported[0].path.write_bytes(b"something else")
    first, second = export_each(list(names.values()))
    assert "exists" in first.reason
    assert second.reason == ""
    result = run("export", two_runs, "--json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert [one["reason"] is None for one in document["files"]] == [False, True]
    first.path.unlink()


# --- report ---


@pytest.fixture(scope="module")
def page(two_runs) -> str:
    """The summary page of two runs; only the first has a page of its own."""
    (two_runs / "one" / "report.html").write_text("a page")
    runs = run_folder.runs_in(two_runs)
    return summary.write(two_runs, runs, two_runs / "report.html").read_text("utf-8")


def test_a_summary_has_a_row_per_recording_that_links_to_its_page(page):
    assert page.count('href="one/report.html"') == 1
    assert "two/report.html" not in page  # it has no page
    assert page.count("<tr>") == 3  # the header and two recordings


def test_the_numbers_of_a_summary_are_those_of_the_metrics(page, two_runs):
    for name in ("one", "two"):
        metrics = json.loads((two_runs / name / "metrics.json").read_text())
        best = metrics["primary"]["baseline"]
        score = metrics["model"]["test"]["r2"]
        assert f'class="number">{score:.3f}</td>' in page
        other = metrics["baselines"][best]["test"]["r2"]
        assert f'class="number">{signed(score - other)}</td>' in page


def test_a_summary_says_in_how_many_recordings_the_model_is_above(page, two_runs):
    actual = [summary.of_run(run).standing for run in run_folder.runs_in(two_runs)]
    assert over_recordings.sentence("netformer", actual) in page


def test_a_summary_explains_q_only_where_a_run_has_some(two_runs, tmp_path):
    run = summary.of_run(two_runs / "one")
    assert "q &lt; .05" not in summary.render(two_runs, [run], tmp_path)
    tested = replace(run, num_significant=3)
    assert summary.render(two_runs, [tested], tmp_path).count("q &lt; .05") == 3  # twice a column


def test_a_summary_lists_recordings_without_a_fit_and_no_markup_of_theirs(two_runs, tmp_path):
    row = {"uri": "file:///x/c.nwb", "run": "c", "status": "skipped", "reason": "<b>no units</b>"}
    (tmp_path / "summary.json").write_text(json.dumps([row]))
    runs = [summary.of_run(run) for run in run_folder.runs_in(two_runs)]
    page = summary.render(tmp_path, runs, tmp_path)
    assert "c.nwb" in page
    assert "&lt;b&gt;no units&lt;/b&gt;" in page


def test_a_summary_names_no_folder_but_those_of_the_runs(page, two_runs, tmp_path):
    runs = [summary.of_run(run) for run in run_folder.runs_in(two_runs)]
    elsewhere = summary.render(two_runs, runs, tmp_path)
    assert "<a href" not in elsewhere
    assert "Each name is a link" in page
    assert "Each name is a link" not in elsewhere
    assert two_runs.name not in elsewhere.partition("<table")[2]
    assert 'href="../one/report.html"' in summary.render(two_runs, runs, two_runs / "notes")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "first").symlink_to(two_runs / "one")
    rows = [summary.of_run(run) for run in run_folder.runs_in(linked)]
    assert 'href="first/report.html"' in summary.render(linked, rows, linked)


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        ({"uri": "a"}, "holds dict"),
        ([["a"]], "no attribute"),
        ([{"status": "skipped"}], "uri and status"),
        ([{"uri": 7, "status": "skipped"}], "uri and status"),
    ],
)
def test_a_summary_of_the_wrong_kind_is_damaged(two_runs, tmp_path, stored, reason):
    (tmp_path / "summary.json").write_text(json.dumps(stored))
    runs = [summary.of_run(run) for run in run_folder.runs_in(two_runs)]
    with pytest.raises(ResultsError, match=f"is damaged.*{reason}"):
        summary.render(tmp_path, runs, tmp_path)


def test_the_reason_of_a_recording_without_a_fit_names_no_folder(two_runs, tmp_path):
    rows = [{"uri": "/home/x/c.nwb", "status": "failed", "reason": "No file /home/x/d.csv."}]
    (tmp_path / "summary.json").write_text(json.dumps([*rows, {"uri": "e", "status": "failed"}]))
    page = summary.render(tmp_path, [summary.of_run(two_runs / "one")], tmp_path)
    assert "/home/x" not in page
    assert "No file d.csv." in page


def test_figures_are_not_written_through_a_link(two_runs, tmp_path):
    shared = tmp_path / "shared"
    (tmp_path / "mine").mkdir()
    nwbdyn.load(two_runs / "one").save(shared)
    (shared / "figures").symlink_to(tmp_path / "mine")
    result = run("report", shared)
    assert result.exit_code == 1
    assert "figures is a link" in result.stderr
    assert list((tmp_path / "mine").iterdir()) == []
    assert not (shared / "report.html").exists()


@pytest.mark.slow
def test_report_of_a_folder_keeps_the_pages_that_are_there(two_runs):
    (two_runs / "one" / "report.html").write_text("a page")
    (two_runs / "two" / "report.html").unlink(missing_ok=True)
    result = run("report", two_runs, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["page"] == str(two_runs / "report.html")
    assert document["pages"] == [str(two_runs / name / "report.html") for name in ("one", "two")]
    assert (two_runs / "one" / "report.html").read_text() == "a page"
    assert "<svg" in (two_runs / "two" / "report.html").read_text("utf-8")
    elsewhere = run("report", two_runs, "-o", two_runs / "two" / "report.html")
    assert elsewhere.exit_code == 1
    assert "exists. Pass --overwrite" in elsewhere.stderr


# --- validate ---


def test_every_run_of_a_folder_is_compared_with_one_wiring(two_runs, tmp_path):
    wiring = tmp_path / "wiring.csv"
    wiring.write_text("pre,post,weight\n100,101,1\n101,102,-1\n103,104,1\n")
    words = ["validate", two_runs, "--edges", wiring, "--shuffles", 5]
    result = run(*words)
    assert result.exit_code == 0, result.output
    header, _, *rows = result.stdout.splitlines()
    assert header.split()[:2] == ["run", "neurons"]
    assert [row.split()[0] for row in rows[:2]] == ["one", "two"]
    both = json.loads(run(*words, "--json").stdout)["runs"]
    alone = json.loads(run("validate", two_runs / "one", *words[2:], "--json").stdout)
    assert both[0]["scores"] == alone["scores"]
    assert [one["reason"] for one in both] == [None, None]


def test_runs_that_a_wiring_does_not_name_are_listed_with_the_reason(two_runs, tmp_path):
    wiring = tmp_path / "wiring.csv"
    wiring.write_text("pre,post\nAVAL,AVAR\n")
    result = run("validate", two_runs, "--edges", wiring, "--shuffles", 5)
    assert result.exit_code == 1
    assert result.stderr.count("Pass --name-column.") == 1
    assert "2 runs in" in result.stderr
