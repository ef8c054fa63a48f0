"""Texts of the recording itself lose their folders, users, hosts and keys in all that leaves."""

import re
from dataclasses import replace

import lab_files
import pandas as pd
import pytest
from test_disclosure import texts_of_hdf5

import nwbdyn
from nwbdyn import disclosure
from nwbdyn.results import fit_results

USER = "somebody-4711"
TEXTS = (
    f"/home/{USER}/exp 1/rec.dat",
    rf"C:\Users\{USER}\rec.dat",
    rf"\\server-{USER}\share\rec.dat",
    f"~{USER}/rec.dat",
    f"file:///home/{USER}/rec.dat",
    f"https://bucket.example/rec.dat?X-Amz-Signature={USER}",
    f"https://me:{USER}@host.example/rec.dat",
    f"{USER}@host.example:/data/rec.dat",
    f"me@{USER}:~/rec.dat",
)


@pytest.mark.parametrize("text", TEXTS)
def test_a_path_within_a_sentence_is_a_file_name(text):
    assert USER not in disclosure.of_text(f"Recorded as {text} on Monday.")
    assert "rec.dat" in disclosure.of_text(f"Recorded as {text} on Monday.")


@pytest.mark.parametrize(
    "text",
    [
        *("L2/3", "Pvalb/Sst", "and/or", "PV /SST", "/", "~1/2 of them", "~ 10/s", "1/s", "m/s"),
        *("2024/03/01", "a\\b", "me@lab.example", "me@lab.example: hello", "10:/", "n/a", "/units"),
        *("https://example.org/page", "dandi:000001/sub-a", "spikes @ 10 Hz/unit", "[1/2]"),
    ],
)
def test_a_text_that_is_no_path_stays(text):
    assert disclosure.of_text(text) == text


def test_texts_of_a_table_lose_folders_and_keep_their_slashes():
    table = pd.DataFrame(
        {
            "id": ["/home/a", "b"],
            "cell_type": ["/home/a/PV", None],
            "layer": ["L2/3", "see /home/a/x"],
            "depth": [1.5, 2.5],
        }
    )
    table.attrs = {"kept_share": 1.0}
    shown = disclosure.of_table(table)
    assert shown["id"].tolist() == ["/home/a", "b"]
    assert shown["cell_type"][0] == "PV"
    assert shown["cell_type"].isna().tolist() == [False, True]
    assert shown["cell_type"].dtype == table["cell_type"].dtype
    assert shown["layer"].tolist() == ["L2/3", "see x"]
    assert shown["depth"].tolist() == [1.5, 2.5]
    assert shown.attrs == table.attrs
    assert table["cell_type"][0] == "/home/a/PV"


def test_names_that_are_keys_are_shown_as_names_too():
    stored = {"states": {f"/home/{USER}/run": {"p": [f"/home/{USER}/x"]}, 3: "L2/3"}}
    assert disclosure.of_value(stored) == {"states": {"run": {"p": ["x"]}, 3: "L2/3"}}


@pytest.fixture
def fit(tmp_path):
    """A fit of a recording that has such a text in every place for one."""
    made = lab_files.fit_of(lab_files.write_imaging(tmp_path / "lab.nwb"))
    path = f"/home/{USER}/data/"
    table = made.neurons.table.assign(
        cell_type=[f"{path}PV", "Sst", f"{path}PV", None, "Sst"],
        label=[f"{path}cell-{row}" for row in range(5)],
        file=[f"{path}{row}.dat" for row in range(5)],
    )
    neurons = replace(made.neurons, table=table)
    subject = {"subject_id": "m1", "species": "Mus musculus", "description": " ".join(TEXTS)}
    session = {
        "session_id": f"{path}s1",
        "identifier": f"{path}lab-1",
        "session_start_time": "2024-03-01T10:00:00+01:00",
        "session_description": " ".join(TEXTS),
        "subject": subject,
    }
    connectivity = replace(made.connectivity, neurons=neurons)
    return replace(
        made,
        neurons=neurons,
        predictions=replace(made.predictions, neurons=neurons),
        connectivity=connectivity,
        edges=connectivity.edges(),
        session=session,
        trials=pd.DataFrame({"first_bin": [0], "kind": [f"{path}go"]}),
    )


def test_nothing_that_leaves_has_a_folder_of_the_recordings_texts(fit, tmp_path):
    fit.save(tmp_path / "run")
    loaded = nwbdyn.load(tmp_path / "run")
    assert loaded.neurons.names[0] == "cell-0 (10)"
    assert loaded.neurons.table["cell_type"].tolist()[:2] == ["PV", "Sst"]
    for number, one in enumerate((fit, loaded)):  # in memory, and from its run directory
        files = [nwbdyn.export(one, tmp_path / f"{number}.nwb")]
        if one is loaded:
            files.append(tmp_path / "run/results.h5")
        for file in files:
            leaks = [text for text in texts_of_hdf5(file) if USER in text]
            assert leaks == [], file.name
    kept = [path for path in (tmp_path / "run").iterdir() if path.name != "local.json"]
    for path in kept:
        assert USER.encode() not in path.read_bytes(), path.name
    assert USER not in str(fit_results.shareable(fit).trials)
    with nwbdyn.open_results(tmp_path / "0.nwb") as results:
        assert re.search(r"rec\.dat", str(results.session["session_description"]))
        assert results.session["session_id"] == "s1"
