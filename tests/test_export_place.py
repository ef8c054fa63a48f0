"""Folder and name of an exported file, and the state of the folder after a failure."""

import subprocess
import sys
from dataclasses import replace

import h5py
import lab_files
import numpy as np
import pytest
from exported_files import messages
from pynwb import NWBHDF5IO

import nwbdyn
from nwbdyn.errors import ConfigError, ResultsError
from nwbdyn.nwb.results.model_run import name_of
from nwbdyn.workflows.export import export


def test_the_name_follows_the_archives_rule(source, units, tmp_path):
    fit = replace(lab_files.fit_of(source), run=tmp_path)
    assert export(fit) == tmp_path / "sub-m1_ses-s1_desc-netformer_ophys.nwb"
    assert export(fit, enrich=True).name == "sub-m1_ses-s1_desc-netformer-enriched_ophys.nwb"
    session = {**fit.session, "session_id": "2024/03_01", "subject": {"subject_id": "mouse 7"}}
    odd = replace(lab_files.fit_of(units), run=tmp_path, session=session)
    assert export(odd).name == "sub-mouse-7_ses-2024-03-01_desc-netformer_ecephys.nwb"
    nobody = replace(odd, session={**session, "subject": {}})
    assert export(nobody).name == "units_desc-netformer.nwb"


def test_missing_subject_fields_are_named_and_filled_only_by_a_person(tmp_path, caplog):
    source = lab_files.write_imaging(tmp_path / "lab.nwb", {"subject_id": "m1", "sex": "F"})
    fit = lab_files.fit_of(source)
    with NWBHDF5IO(export(fit, tmp_path / "a.nwb"), "r") as io:
        subject = io.read().subject
        assert (subject.sex, subject.species, subject.age) == ("F", None, None)
    assert caplog.messages == [
        "lab: the recording states no species and no age of its subject, which the archive "
        "requires. Pass --subject species=VALUE (the Latin name) and --subject age=VALUE (such as "
        "P90D)."
    ]
    caplog.clear()
    given = {"species": "Mus musculus", "age": "P90D"}
    path = export(fit, tmp_path / "b.nwb", subject=given)
    assert not caplog.text
    assert not messages(path)
    with NWBHDF5IO(path, "r") as io:
        run = io.read().processing["population_dynamics"][name_of(fit)]
        assert list(run.run_notes["location"][:]) == [
            "/general/subject/species",
            "/general/subject/age",
        ]
        assert set(run.run_notes["reason"][:]) == {"Given at export."}
    with pytest.raises(ConfigError, match="The source says sex is 'F', not 'M'"):
        export(fit, tmp_path / "c.nwb", subject={"sex": "M"})
    with pytest.raises(ConfigError, match="Subject has no field 'colour'"):
        export(fit, tmp_path / "c.nwb", subject={"colour": "grey"})
    with pytest.raises(ResultsError, match="keeps the source's Subject"):
        export(fit, tmp_path / "c.nwb", enrich=True, subject=given)


@pytest.mark.parametrize("enrich", [False, True])
def test_an_existing_file_is_replaced_only_when_asked(source, tmp_path, enrich):
    path = tmp_path / "out.nwb"
    path.write_text("mine")
    fit = lab_files.fit_of(source)
    with pytest.raises(ResultsError, match=r"exists. Pass --overwrite"):
        export(fit, path, enrich=enrich)
    assert path.read_text() == "mine"
    export(fit, path, enrich=enrich, overwrite=True)
    assert h5py.is_hdf5(path)


@pytest.mark.parametrize("enrich", [False, True])
def test_a_failure_leaves_the_old_file_and_nothing_else(source, tmp_path, enrich, monkeypatch):
    path = tmp_path / "out.nwb"
    path.write_text("mine")
    fit = lab_files.fit_of(source)
    broken = replace(fit, edges=fit.edges.assign(pre_id=999))
    with pytest.raises(ResultsError, match="Neuron 999 is not among the 5 fitted ones"):
        export(broken, path, enrich=enrich, overwrite=True)
    assert path.read_text() == "mine"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["lab.nwb", "out.nwb"]


@pytest.mark.parametrize("enrich", [False, True])
def test_a_full_disk_is_one_line_and_leaves_nothing(source, tmp_path, enrich):
    run = lab_files.fit_of(source).save(tmp_path / "run")
    path = tmp_path / "out" / "x.nwb"
    program = f"""
import resource, signal
from pathlib import Path
import nwbdyn
from nwbdyn import archive
from nwbdyn.errors import ResultsError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import pynwb, ndx_population_dynamics
fit = nwbdyn.load({str(run)!r})
room = 100_000 if not {enrich} else Path({str(source)!r}).stat().st_size + 50_000
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
try:
    nwbdyn.export(fit, {str(path)!r}, enrich={enrich})
except ResultsError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Cannot write {path}: "), done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert not list(path.parent.iterdir())


def test_who_recorded_stands_in_a_stand_alone_file(tmp_path):
    path = lab_files.write_imaging(tmp_path / "lab.nwb")
    with h5py.File(path, "r+") as file:
        file["general/experimenter"] = np.array(["Roe, Jane", "Doe, John"], h5py.string_dtype())
        file["general/institution"] = "University of Somewhere"
    fit = nwbdyn.fit(str(path), "netformer", epochs=1, options={"history": 1})
    out = nwbdyn.export(fit, tmp_path / "out.nwb")
    with NWBHDF5IO(out, "r") as io:
        nwbfile = io.read()
        assert nwbfile.experimenter == ("Roe, Jane", "Doe, John")
        assert (nwbfile.institution, nwbfile.lab) == ("University of Somewhere", None)
    with nwbdyn.open_results(out) as back:
        assert back.session["experimenter"] == ["Roe, Jane", "Doe, John"]
        assert "lab" not in back.session
