"""Wrong input of an export: one line each, with the next step.

A source that changed since the fit and a file that pynwb refuses are in test_enriching, a full disk
is in test_export_place; an upload that is denied, interrupted or rejected is in test_sharing.
"""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import lab_files
import pytest
from click.testing import CliRunner
from hdmf.common import VectorData
from pynwb import NWBHDF5IO
from pynwb.core import DynamicTable

import nwbdyn
from nwbdyn.cli import main
from nwbdyn.errors import ResultsError
from nwbdyn.nwb.results.model_run import name_of
from nwbdyn.results import run_directory
from nwbdyn.workflows.export import export


@pytest.fixture
def run(source, tmp_path) -> Path:
    return lab_files.fit_of(source).save(tmp_path / "run")


def reported(*arguments: object) -> str:
    """The one line that the command ends with."""
    result = CliRunner().invoke(main, ["export", *map(str, arguments)])
    assert result.exit_code == 1, result.output
    (line,) = result.stderr.strip().splitlines()
    return line


def test_an_incomplete_run_says_how_to_continue_it(run):
    (run / run_directory.METRICS).unlink()
    assert "is incomplete: no metrics.json" in (line := reported(run))
    assert "To continue, repeat the fit with --resume" in line


def test_a_run_of_a_newer_version_says_to_update(run):
    config = run / run_directory.CONFIG
    config.write_text(json.dumps(json.loads(config.read_text()) | {"format": 99}))
    assert "has format 99" in (line := reported(run))
    assert "Update nwbdyn" in line


def test_results_are_not_added_to_another_recording(source, tmp_path):
    other = lab_files.write_units(tmp_path / "other.nwb")
    with pytest.raises(
        ResultsError, match=r"other\.nwb has changed since the fit: expected sha256"
    ):
        export(lab_files.fit_of(source), tmp_path / "out.nwb", enrich=True, source_file=other)
    assert not (tmp_path / "out.nwb").exists()


def test_a_source_that_another_program_writes_to_is_left_to_it(source, run, tmp_path):
    program = f"""
import h5py, sys
with h5py.File({str(source)!r}, "r+"):
    print("open", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b"open\n"
        line = reported(run, "--enrich", "-o", tmp_path / "out.nwb")
        writer.stdin.close()
    assert "lab.nwb is open for writing in another program. Close it there" in line
    assert not (tmp_path / "out.nwb").exists()


def test_a_source_that_a_crash_left_open_is_read_and_not_enriched(source, tmp_path):
    left = tmp_path / "left.nwb"
    program = f"""
import h5py, os
with h5py.File({str(source)!r}) as old, h5py.File({str(left)!r}, "w", libver="latest") as new:
    new.attrs.update({{k: v for k, v in old.attrs.items() if k != ".specloc"}})
    for name in old:
        old.copy(name, new)
file = h5py.File({str(left)!r}, "a", libver="latest")
file["general"].attrs["touched"] = 1
file.flush()
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    fit = lab_files.fit_of(source)
    with pytest.raises(ResultsError, match=r"left\.nwb is marked as open .*h5clear -s COPY"):
        export(fit, tmp_path / "out.nwb", enrich=True, source_file=left)
    assert not (tmp_path / "out.nwb").exists()


def test_whoever_reads_the_old_output_keeps_it_while_it_is_replaced(source, tmp_path):
    path = export(lab_files.fit_of(source), tmp_path / "out.nwb")
    with h5py.File(path, "r") as reader:
        export(lab_files.fit_of(source, seed=1), path, overwrite=True)
        (name,) = (n for n in reader["processing/population_dynamics"] if "_" not in n)
        assert name == name_of(lab_files.fit_of(source))
    with nwbdyn.open_results(path) as fit:
        assert fit.seed == 1


def test_a_name_that_is_taken_in_the_processing_module_is_told(source, tmp_path):
    fit = lab_files.fit_of(source)
    fit = replace(fit, source=replace(fit.source, digest=None))  # the file will change
    taken = f"{name_of(fit)}_edges"
    with NWBHDF5IO(source, "a") as io:
        nwbfile = io.read()
        module = nwbfile.create_processing_module("population_dynamics", "The lab's own.")
        column = VectorData(name="x", description="A number.", data=[1.0])
        module.add(DynamicTable(name=taken, description="The lab's own.", columns=[column]))
        io.write(nwbfile)
    with pytest.raises(ResultsError, match=f"has '{taken}' in 'population_dynamics' already"):
        export(fit, tmp_path / "out.nwb", enrich=True)
    assert not (tmp_path / "out.nwb").exists()


def test_a_cached_extension_that_pynwb_cannot_load_stops_enriching_only(source, tmp_path):
    with h5py.File(source, "a") as file:
        version = file["specifications"].create_group("ndx-lost/0.1.0")
        version["namespace"] = json.dumps(
            {"namespaces": [{"name": "ndx-lost", "version": "0.1.0", "doc": "Lost.", "author": "A",
                             "contact": "a", "schema": [{"namespace": "ndx-never-cached"},
                                                        {"source": "lost"}]}]}
        )  # fmt: skip
        version["lost"] = json.dumps({"groups": [{"neurodata_type_def": "Lost",
                                                  "neurodata_type_inc": "NeverCached",
                                                  "doc": "Lost."}]})  # fmt: skip
        lost = file.create_group("acquisition/lost")
        lost.attrs.update(neurodata_type="Lost", namespace="ndx-lost", object_id="1")
    with nwbdyn.open(str(source)) as recording:
        fit = lab_files.fit_of_recording(recording)
    run = fit.save(tmp_path / "run")
    line = reported(run, "--enrich", "-o", tmp_path / "enriched.nwb")
    assert "pynwb cannot open lab to add to it" in line
    assert "Export without --enrich: the results then stand alone." in line
    alone = export(fit, tmp_path / "alone.nwb")
    with nwbdyn.open_results(alone) as back:
        assert list(back.neurons.ids) == list(fit.neurons.ids)


def test_a_name_that_is_no_nwb_file_is_refused_with_one_that_is(run, tmp_path):
    line = reported(run, "-o", tmp_path / "x.txt")
    assert "x.txt does not end in .nwb" in line
    assert line.endswith("x.nwb.")
    assert not (tmp_path / "x.txt").exists()
