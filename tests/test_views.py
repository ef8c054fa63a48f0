"""Views of a fit in Python and notebooks: repr, card, summary, figures."""

import base64
import io
import re
import subprocess
import sys
import types
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from small_fits import LINEAR, imaging, units

import nwbdyn
from nwbdyn.connectivity import edge_table
from nwbdyn.errors import DataError, NwbdynError, ResultsError
from nwbdyn.progress import Progress, silent
from nwbdyn.progress_bars import notebook_bars, progress_bars
from nwbdyn.report import card
from nwbdyn.results.views import Plots


@pytest.fixture(scope="module")
def fit():
    return nwbdyn.fit(imaging(), "netformer", epochs=3, options=LINEAR)


@pytest.mark.parametrize("name", ["fit", "predictions", "connectivity", "neurons", "recording"])
def test_a_repr_is_one_short_line(fit, name):
    shown = {
        "fit": fit,
        "predictions": fit.predictions,
        "connectivity": fit.connectivity,
        "neurons": fit.neurons,
        "recording": imaging(),
    }[name]
    text = repr(shown)
    assert len(text) < 300
    assert "\n" not in text
    assert "6 " in text  # neurons


def test_the_repr_of_a_fit_has_its_score_beside_that_of_the_best_baseline(fit):
    primary = fit.metrics["primary"]
    own = fit.metrics["model"]["test"][primary["metric"]]
    best = fit.metrics["baselines"][primary["baseline"]]["test"][primary["metric"]]
    assert f"{own:.3f} on test ({primary['baseline']} {best:.3f})" in repr(fit)


def test_a_recording_of_spikes_counts_them():
    recording = units()
    assert f"{len(recording.activity.times):,} spikes" in repr(recording)


def test_control_characters_in_a_name_are_written_out_in_a_repr(fit):
    named = replace(fit, source=replace(fit.source, url="", uri="a\x1b[2Jb.nwb"))
    assert "\x1b" not in repr(named)


def test_the_card_has_the_verdict_and_a_picture(fit):
    page = fit._repr_html_()
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    pixels = plt.imread(io.BytesIO(base64.b64decode(picture)))
    assert pixels.shape[1] > pixels.shape[0] > 100
    assert pixels[..., :3].std() > 0.01
    assert "http" not in page
    assert "on test" in page
    assert len(page) < 60_000
    assert "--null" not in page


def test_the_card_leaves_no_figure_open(fit):
    plt.close("all")
    fit._repr_html_()
    assert not plt.get_fignums()


def test_the_small_matrix_has_the_receiver_in_its_row(fit):
    rows = np.array([1, 0]), np.array([0, 2])  # post, pre
    edges = edge_table.edge_table(fit.neurons, *rows, np.array([2.0, -1.0]))
    matrix = card.strongest(replace(fit, edges=edges))
    assert matrix[1, 0] == 2.0
    assert matrix[0, 2] == -1.0
    assert np.isnan(matrix[0, 1])


def test_the_small_matrix_keeps_the_strongest_neurons(fit, monkeypatch):
    monkeypatch.setattr(card, "MOST_NEURONS", 2)
    rows = np.array([1, 3]), np.array([0, 5])  # post, pre
    edges = edge_table.edge_table(fit.neurons, *rows, np.array([0.1, 3.0]))
    matrix = card.strongest(replace(fit, edges=edges))
    assert matrix.shape == (2, 2)
    assert matrix[0, 1] == 3.0  # from 105 to 103


def test_the_summary_names_every_baseline_and_no_option_of_the_command_line(fit):
    text = fit.summary()
    assert all(name in text for name in fit.metrics["baselines"])
    assert f"{fit.metrics['model']['test']['r2']:.3f}" in text
    assert "edges (all in fit.edges):" in text  # a fit that is not saved has no edges.csv
    assert "--" not in re.sub(r"^-+$", "", text, flags=re.M)


def test_every_plot_returns_the_axes_it_drew_on(fit):
    plt.close("all")
    for name in ("connectivity", "scores", "learning_curves", "horizons", "weights"):
        axes = getattr(fit.plot, name)()
        assert isinstance(axes, Axes), name
        assert axes.has_data(), name
    for name in ("predictions", "population"):
        assert all(one.has_data() for one in getattr(fit.plot, name)()), name
    plt.close("all")


def test_a_plot_takes_axes(fit):
    plt.close("all")
    _, axes = plt.subplots()
    assert fit.plot.scores(axes) is axes
    plt.close("all")


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("connectivity", {"axes": 3}, "axes is of type int. Pass one matplotlib Axes"),
        ("scores", {"axes": "left"}, "axes is of type str. Pass one matplotlib Axes"),
        ("strongest_arcs", {"num_edges": "ten"}, "num_edges is 'ten'. Pass a whole number"),
        ("strongest_arcs", {"num_edges": 2.5}, "num_edges is 2.5. Pass a whole number"),
        ("edge_map", {"num_edges": 0}, "num_edges is 0. Pass a whole number of 1 or more"),
        ("cell_types", {"column": "kind"}, "No neuron of this recording has a 'kind'"),
        ("cell_types_by_state", {"states": "rest"}, "states is of type str. Pass a DataFrame"),
        ("cell_types_by_state", {"states": pd.DataFrame({"label": ["a"]})}, "without start_time"),
    ],
)
def test_a_wrong_argument_of_a_plot_is_not_called_a_damaged_result(fit, name, arguments, message):
    with pytest.raises(NwbdynError, match=re.escape(message)) as caught:
        getattr(fit.plot, name)(**arguments)
    assert "hold a value of the wrong kind" not in str(caught.value)
    plt.close("all")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("edge_map", "states no positions of its neurons"),
        ("null", "No directed edge has a p. Fit again with --null shift:20"),
    ],
)
def test_a_plot_of_what_the_fit_lacks_says_so(fit, name, message):
    with pytest.raises(DataError, match=re.escape(message)):
        getattr(fit.plot, name)()
    plt.close("all")


def test_a_damaged_result_is_still_called_one(fit):
    damaged = replace(fit, edges=fit.edges.rename(columns={"weight": "w"}))
    with pytest.raises(ResultsError, match="hold a value of the wrong kind"):
        damaged.plot.weights()
    plt.close("all")


def test_every_plot_is_a_figure_of_the_report():
    from nwbdyn.report import figures

    names = {"learning_curves": "learning_curve", "edge_map": "strongest_edges"}
    for name in vars(Plots):
        if not name.startswith("_"):
            assert names.get(name, name) in figures.__all__


def test_reading_a_run_imports_no_figure(fit, tmp_path):
    fit.save(tmp_path / "run")
    program = (
        "import sys, nwbdyn; fit = nwbdyn.load(sys.argv[1]); repr(fit)\n"
        "assert not {'matplotlib', 'click', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "run")], check=True)


class Screen:
    """A stand-in for IPython's display: what a cell shows, one entry per update."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, page: str, *, display_id: bool) -> "Screen":
        assert display_id
        self.shown.append(page)
        return self

    def update(self, page: str) -> None:
        self.shown.append(page)


@pytest.fixture
def screen(monkeypatch) -> Screen:
    screen = Screen()
    module = types.ModuleType("IPython.display")
    module.HTML, module.display = str, screen.display
    package = types.ModuleType("IPython")
    package.get_ipython = lambda: types.SimpleNamespace(kernel="one")
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return screen


def test_a_notebook_shows_a_bar_that_is_gone_at_the_end(screen):
    with progress_bars(True) as report:
        report(Progress("training", 3, 12, "epochs", {"loss": 0.5}))
    assert 'value="0.2500"' in screen.shown[0]
    assert "3/12 epochs" in screen.shown[0]
    assert screen.shown[-1] == ""


def test_a_notebook_shows_names_as_letters(screen):
    with notebook_bars() as report:
        report(Progress("<script>", 1, 2))
    assert "<script>" not in screen.shown[0]


@pytest.mark.parametrize("report", [True, False])
def test_nothing_is_drawn_without_a_terminal_or_with_false(report, capsys):
    with progress_bars(report) as used:
        assert used is silent
    assert capsys.readouterr().err == ""


def test_false_draws_nothing_in_a_notebook(screen):
    with progress_bars(False) as used:
        assert used is silent
    assert not screen.shown


def test_a_terminal_shows_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_bars(True) as used:
        assert used is not silent


def test_a_function_is_called_with_the_progress():
    actual: list[Progress] = []
    nwbdyn.fit(imaging(), "netformer", epochs=1, options=LINEAR, report=actual.append)
    assert {"training", "baselines"} <= {one.stage for one in actual}
