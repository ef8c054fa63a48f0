"""The report: self-contained, whole, and true to the fit."""

import html.parser
import re
import shutil
import subprocess
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

import nwbdyn
from nwbdyn.errors import ResultsError
from nwbdyn.report import figures, page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def fit():
    return nwbdyn.fit(
        "sample:cortex?neurons=8&duration=90", "netformer", epochs=2, options={"history": 4}
    )


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_the_page_asks_the_network_for_nothing(fit):
    text = page.render(fit)
    attributes = re.findall(r'(?:src|href|action)="([^"]*)"', text)
    assert all(value.startswith(("#", "data:")) for value in attributes)
    assert "url(http" not in text
    assert "@import" not in text


def test_every_figure_has_an_alternative_text_and_ids_are_unique(fit):
    text = page.render(fit)
    ids: list[str] = []
    pictures = 0

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            nonlocal pictures
            values = dict(attributes)
            if "id" in values:
                ids.append(values["id"])
            if values.get("role") == "img":
                pictures += 1
                assert values.get("aria-label")

    Reader().feed(text)
    assert pictures >= 5
    assert len(ids) == len(set(ids))


def test_the_heat_map_shows_the_mean_matrix_without_its_diagonal(fit):
    axes = figures.connectivity(fit)
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    weight = fit.connectivity.mean().to_numpy()
    off = ~np.eye(len(weight), dtype=bool)
    assert np.isnan(np.diag(shown)).all()
    np.testing.assert_allclose(np.sort(shown[off]), np.sort(weight[off]), rtol=1e-6)
    low, high = axes.images[0].get_clim()
    assert low == -high


def test_the_scores_figure_shows_every_method(fit):
    axes = figures.scores(fit)
    names = {label.get_text() for label in axes.get_yticklabels()}
    assert names == {fit.model, *fit.metrics["baselines"]}


def test_a_name_in_the_file_cannot_inject_markup(fit):
    hostile = replace(fit.source, uri="<script>alert(1)</script>")
    assert "<script>alert" not in page.render(replace(fit, source=hostile))


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_browser_renders_the_page_without_a_console_message(fit, tmp_path):
    path = page.write(fit, tmp_path / "report.html")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    assert re.search(r'id="clock">t = [\d.-]+ s', done.stdout)


def test_a_page_goes_to_a_new_folder_and_a_place_that_cannot_be_written_is_one_line(fit, tmp_path):
    assert page.write(fit, tmp_path / "new" / "page.html").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match=r"Cannot write .*page.html.*Pass -o"):
        page.write(fit, tmp_path / "file" / "page.html")
