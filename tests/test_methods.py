"""`methods.md` of a run: numbers are those of the fit, and only real DOIs are cited."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from small import TESTED
from small_fits import LINEAR, SMALL_STNDT, imaging, units

import nwbdyn
from nwbdyn import models
from nwbdyn.recording import Source
from nwbdyn.report import page
from nwbdyn.results import methods_text


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    nwbdyn.fit(imaging(), "netformer", epochs=2, options=LINEAR, run=folder)
    return folder


@pytest.fixture(scope="module")
def fit(run):
    return nwbdyn.load(run)


def test_a_run_holds_its_methods(run, fit):
    text = (run / "methods.md").read_text("utf-8")
    metric = fit.metrics["model"]["test"]["r2"]
    baseline = fit.metrics["primary"]["baseline"]
    assert "6 ROIs (dff) were binned at 100 ms into 600 bins (1 min)." in text
    assert f"{fit.split['bins']['test']:,} test" in text
    assert f"netformer: {metric:.3f}" in text
    assert f"{baseline}: {fit.metrics['baselines'][baseline]['test']['r2']:.3f}" in text
    assert f"A refit without coupling: r2 {fit.metrics['coupling']['without']:.3f}" in text
    assert "ridge 3000" in text
    assert f"nwbdyn {nwbdyn.__version__}" in text
    assert "@inproceedings{netformer," in text


def test_it_names_no_folder_of_this_machine(run, tmp_path):
    assert str(tmp_path.parent) not in (run / "methods.md").read_text("utf-8")
    assert "file://" not in (run / "methods.md").read_text("utf-8")


def test_the_report_shows_the_same_paragraphs(fit):
    html = page.render(fit)
    assert "<h2>Methods</h2>" in html
    assert "were binned at 100 ms" in html
    assert "@inproceedings{netformer," in html


def test_every_model_of_the_package_has_a_publication():
    assert set(methods_text.PUBLICATIONS) == set(models.names())
    for entry in methods_text.PUBLICATIONS.values():
        assert entry.count("{") == entry.count("}")
        assert re.search(r"^  (doi|url) = ", entry, re.M)


def test_held_out_neurons_are_counted():
    fit = nwbdyn.fit(units(), "stndt", epochs=1, heldout_resamples=1, options=SMALL_STNDT)
    held_out = int(fit.predictions.held_out.sum())
    text = methods_text.markdown(fit)
    assert f"{held_out} neurons were held out." in text
    assert "co_bps of held-out neurons on test" in text


DANDI = Source(
    uri="dandi:000140", url="", dandiset_id="000140", version="0.220113.0408", instance="dandi"
)
ROWS = [  # source, its DOI
    (DANDI, "10.48324/dandi.000140/0.220113.0408"),
    (replace(DANDI, version="draft"), None),
    (replace(DANDI, version=None), None),
    (replace(DANDI, instance="lab"), None),
    (replace(DANDI, dandiset_id=None), None),
]


@pytest.mark.parametrize(("source", "doi"), ROWS)
def test_a_doi_belongs_to_a_published_version_in_the_archive(source, doi):
    assert methods_text.dandiset_doi(source) == doi


def test_the_data_are_cited_with_their_doi(fit):
    text = methods_text.markdown(replace(fit, source=DANDI))
    assert "  doi = {10.48324/dandi.000140/0.220113.0408}" in text
    assert "(DANDI:000140, version 0.220113.0408)" in text


EDGES = TESTED | {"null": "shift:20", "num_significant": 3}


def test_edges_come_with_their_null_and_their_number(fit):
    tested = replace(fit, metrics=fit.metrics | {"edges": EDGES})
    text = methods_text.markdown(tested)
    assert "20 surrogate recordings (shift:20)" in text
    assert "3 of 30 edges had q < 0.05." in text


def test_couplings_of_spikes_come_with_their_filters(fit):
    spikes = EDGES | {"filters": "box to 10 ms", "smallest_p": 0.0}
    text = methods_text.markdown(replace(fit, metrics=fit.metrics | {"edges": spikes}))
    assert "filters chosen by their coupling gain on validation (box to 10 ms)" in text
    assert "pooled over edges" not in text


STATES = {
    "names": ["rest", "run"],
    "num_blocks": [12, 14],
    "num_permutations": 199,
    "p": None,
    "supported": False,
    "why_not": "residuals are not white in run",
    "hypothesis": "coupling is the same in all states",
}


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (STATES, "were not tested: residuals are not white in run."),
        (STATES | {"p": 0.4, "num_significant": 0}, "are not supported: residuals are not white"),
    ],
)
def test_states_come_with_their_periods_and_the_result(fit, section, sentence):
    text = methods_text.markdown(replace(fit, metrics=fit.metrics | {"states": section}))
    assert "States: rest (12 periods), run (14 periods). Null hypothesis: coupling is the" in text
    assert sentence in text
    assert "States:" not in methods_text.markdown(fit)


def test_withheld_edges_come_with_the_reason(fit):
    withheld = EDGES | {"withheld": "coupling adds nothing on test"}
    text = methods_text.markdown(replace(fit, metrics=fit.metrics | {"edges": withheld}))
    assert "No q is given: coupling adds nothing on test." in text
    assert "edges had q" not in text


def test_a_name_in_a_file_ends_no_field(fit):
    named = replace(fit, model="mine}\n@misc{other", versions={"nwbdyn": "1}"})
    entries = methods_text.bibtex(named)
    assert all(entry.count("{") == entry.count("}") for entry in entries)
    assert "\n" not in entries[0]
