"""The report: self-contained, whole, and true to the fit."""

import base64
import html.parser
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from matplotlib.colors import to_rgb
from small import TESTED

import nwbdyn
from nwbdyn.cli import main
from nwbdyn.connectivity import edge_table, strongest_edges
from nwbdyn.errors import ResultsError
from nwbdyn.report import figures, page, sections, slider, style, words
from nwbdyn.report.figures import arcs
from nwbdyn.results.sections.attention_maps import MapAblation
from nwbdyn.results.sections.difference import Difference
from nwbdyn.results.sections.dynamics import CouplingChange

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def fit():
    return nwbdyn.fit(
        "sample:cortex?neurons=8&duration=90", "netformer", epochs=2, options={"history": 4}
    )


@pytest.fixture(scope="module")
def currents():
    """Three seeds of a model that has input currents."""
    return nwbdyn.fit("sample:cortex?neurons=8&duration=90", "synapsnet", epochs=1, seeds=3)


@pytest.fixture(scope="module")
def trials():
    """A fit to aligned trials, with held-out units."""
    options = {"layers": 1, "updates": 4}
    return nwbdyn.fit("sample:reach?neurons=24&trials=40", "stndt", options=options)


@pytest.fixture(scope="module")
def rendered(request):
    """The page of a fit by its name here, drawn once."""
    pages: dict[str, str] = {}

    def of(model: str) -> str:
        if model not in pages:
            pages[model] = page.render(request.getfixturevalue(model))
        return pages[model]

    return of


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def titles(fit) -> set[str]:
    return {picture.title for section in sections.of_fit(fit) for picture in section.pictures}


def test_the_page_asks_the_network_for_nothing(rendered):
    text = rendered("fit")
    attributes = re.findall(r'(?:src|href|action)="([^"]*)"', text)
    assert all(value.startswith(("#", "data:")) for value in attributes)
    assert "url(http" not in text
    assert "@import" not in text


@pytest.mark.parametrize("model", ["fit", "currents", "trials"])
def test_every_figure_has_an_alternative_text_and_ids_are_unique(model, rendered):
    text = rendered(model)
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


def test_a_report_shows_what_its_model_has_and_no_empty_section(fit, currents, trials):
    assert {"Test trials", "Mean rates by condition"} <= titles(trials)
    assert "Neuron importance" in titles(trials)
    assert {"Input currents", "Do currents run ahead?", "Do seeds agree?"} <= titles(currents)
    assert not {"Test trials", "Neuron importance"} & titles(fit)
    assert "Do seeds agree?" not in titles(fit)
    assert all(section.pictures for section in sections.of_fit(fit))


def test_a_recording_without_positions_or_cell_types_leaves_their_sections_out(fit):
    bare = replace(
        fit.connectivity.neurons, table=fit.connectivity.neurons.table[["id"]], kind="roi"
    )
    plain = replace(fit, connectivity=replace(fit.connectivity, neurons=bare))
    assert {section.title for section in sections.of_fit(plain)} == {
        "Scores",
        "Activity",
        "Connectivity",
        "Simultaneous coupling",
    }
    assert "Neurons in space" not in page.render(plain)


def test_the_heat_map_shows_the_mean_matrix_without_its_diagonal(fit):
    axes = figures.connectivity(fit)
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    weight = fit.connectivity.mean().to_numpy()
    off = ~np.eye(len(weight), dtype=bool)
    assert np.isnan(np.diag(shown)).all()
    np.testing.assert_allclose(np.sort(shown[off]), np.sort(weight[off]), rtol=1e-6)
    low, high = axes.images[0].get_clim()
    assert low == -high


def test_only_edges_with_a_small_q_carry_a_dot(fit):
    assert not figures.connectivity(fit).collections
    edges = fit.edges.assign(q=np.where(np.arange(len(fit.edges)) == 2, 0.01, 0.3))
    axes = figures.connectivity(replace(fit, edges=edges))
    order = fit.connectivity.sorted_rows()
    ids = fit.connectivity.neurons.ids[order]
    (dot,) = axes.collections[0].get_offsets()
    assert to_rgb(axes.collections[0].get_edgecolor()[0]) == (1, 1, 1)  # seen on dark cells, too
    assert (ids[int(dot[0])], ids[int(dot[1])]) == (edges["pre_id"][2], edges["post_id"][2])


def test_the_scores_figure_shows_every_method(fit):
    axes = figures.scores(fit)
    names = {label.get_text() for label in axes.get_yticklabels()}
    assert names == {fit.model, *fit.metrics["baselines"]}


def test_the_scores_figure_shows_the_scores_of_the_metrics(fit):
    axes = figures.scores(fit)
    metric, split = fit.metrics["primary"]["metric"], fit.metrics["primary"]["split"]
    scores = {fit.model: fit.metrics["model"], **fit.metrics["baselines"]}
    names = [label.get_text() for label in axes.get_yticklabels()]
    drawn = {}
    for line in axes.lines:
        if len(line.get_xdata()) == 1:  # a longer one is an interval
            drawn[names[int(line.get_ydata()[0])]] = line.get_xdata()[0]
    assert drawn == {name: by_split[split][metric] for name, by_split in scores.items()}


def test_predictions_are_drawn_beside_what_was_recorded(fit):
    from nwbdyn.report.figures.activity import chosen

    reported = fit.predictions
    for panel, (_, neuron, _) in zip(figures.predictions(fit), chosen(fit), strict=True):
        for line, values in zip(panel.lines, (reported.recorded, reported.values), strict=True):
            rows = np.searchsorted(reported.time, line.get_xdata())
            assert (reported.labels[rows] == 2).all()  # test
            np.testing.assert_array_equal(line.get_ydata(), values[rows, neuron])


def test_the_course_of_two_cell_types_is_their_mean_weight(fit):
    axes = figures.cell_types_over_time(fit)
    course = fit.connectivity.by_cell_type()
    for line in axes.lines[:-1]:  # the last is zero
        pre, post = line.get_label().split(" → ")
        expected = course.sel(pre_type=pre, post_type=post).to_series().rolling(4, min_periods=1)
        np.testing.assert_allclose(line.get_ydata(), expected.mean(), rtol=1e-4, atol=1e-7)
    sizes = abs(course).mean("time").to_numpy().ravel()
    strongest = np.abs(axes.lines[0].get_ydata()).max()
    assert strongest >= np.nanmax(sizes) * 0.99


def test_the_cross_correlogram_shows_the_median_over_neurons(currents):
    from nwbdyn.report.figures.currents import lagged

    axes = figures.cross_correlogram(currents)
    median = lagged(currents).median()
    np.testing.assert_array_equal(axes.lines[0].get_xdata(), median.index)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), median)


def test_simultaneous_couplings_are_symmetric_and_apart_from_directed_ones(fit):
    pairs = edge_table.simultaneous(fit.edges)
    shown = np.ma.filled(figures.simultaneous(fit).images[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, shown.T)
    assert np.isfinite(shown).sum() == 2 * len(pairs)
    assert np.nanmax(np.abs(shown)) == pytest.approx(pairs["weight"].abs().max())


def test_couplings_of_the_recording_have_a_heat_map_of_their_own(fit):
    assert "Couplings of spikes" not in titles(fit)
    edges = edge_table.directed(fit.edges).assign(q=1.0, weight=0.25)
    edges.loc[edges.index[3], "q"] = 0.01
    edges.attrs |= {"measure": "spikes per spike"}
    spiking = replace(fit, edges=edges)
    assert "Couplings over lags" in titles(spiking)
    assert "Couplings of spikes" in titles(replace(fit, edges=edges.assign(peak_ms=2.0)))
    axes = figures.couplings_of_recording(spiking)
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    assert np.isfinite(shown).sum() == len(edges)
    assert np.nanmin(shown) == np.nanmax(shown) == 0.25
    assert len(axes.collections[0].get_offsets()) == 1
    assert not figures.connectivity(spiking).collections  # the dots are not the model's


def test_the_page_names_the_strongest_edges(fit, rendered):
    text = rendered("fit")
    assert text.count('<table class="edges">') == 1
    first = strongest_edges.rows(fit.edges)[0]
    row = "".join(f"<td>{value}</td>" for value in first[:3])
    assert f"<tr>{row}" in text


def test_every_figure_is_tested_here():
    text = Path(__file__).read_text("utf-8")
    assert [name for name in figures.__all__ if f"figures.{name}(" not in text] == []


def test_the_learning_curve_marks_the_lowest_validation_loss(fit):
    axes = figures.learning_curve(fit)
    assert axes.figure.axes == [axes]  # both losses on one scale
    validation = [epoch["validation"] for epoch in fit.history]
    assert axes.lines[2].get_ydata()[0] == min(validation)


def test_the_best_neuron_is_predicted_better_than_the_median_and_the_worst(fit):
    axes = figures.predictions(fit)
    scores = [float(panel.get_title("left").rpartition("= ")[2]) for panel in axes]
    assert scores == sorted(scores, reverse=True)


def test_trials_of_one_split_are_drawn_side_by_side(trials):
    panel = figures.predictions(trials)[0]
    steps = np.diff(panel.lines[0].get_xdata())
    np.testing.assert_allclose(steps, trials.predictions.bin_width, rtol=1e-6)


def test_the_rasters_hold_every_spike_of_the_test_trials(trials):
    from nwbdyn.report.figures.activity import chosen
    from nwbdyn.report.figures.trials import trial_bins

    bins, observed = trial_bins(trials)
    assert observed == trials.binning["context"]
    assert len(bins) == 6  # 15 % of 40 trials
    axes = figures.rasters(trials)
    for panel, (_, neuron, _) in zip(axes[:3], chosen(trials), strict=True):
        ticks = sum(len(row.get_positions()) for row in panel.collections)
        assert ticks == trials.predictions.recorded[bins, neuron].sum()


def test_a_fit_without_trials_has_no_rasters(fit):
    with pytest.raises(ValueError, match="not aligned to trials"):
        figures.rasters(fit)


def test_a_condition_shows_the_mean_of_its_trials_and_what_was_predicted_for_its_test_trials(
    trials,
):
    from nwbdyn.report.figures.activity import chosen
    from nwbdyn.report.figures.trials import conditions, trial_bins

    every, _ = trial_bins(trials, None)
    with nwbdyn.open("sample:reach?neurons=24&trials=40") as recording:
        planted = recording.trials
    shown = conditions(trials)
    axes = figures.psths(trials)
    width = trials.predictions.bin_width
    for column, condition in enumerate(shown):
        target, version = map(int, condition.name.split(", "))
        of_it = (planted["trial_type"] == target) & (planted["trial_version"] == version)
        tested = of_it & (planted["split"] == "test")
        assert len(condition.trials) == of_it.sum()
        assert len(condition.test) == tested.sum() > 0
        onsets = planted["move_onset_time"][of_it].to_numpy()
        first = trials.predictions.time[every[condition.trials, 0]] - width / 2
        np.testing.assert_allclose(first, onsets - 0.25, atol=width)
        for row, (_, neuron, _) in enumerate(chosen(trials)):
            recorded, predicted = axes[row * len(shown) + column].lines
            for line, values, rows in (
                (recorded, trials.predictions.recorded, condition.trials),
                (predicted, trials.predictions.values, condition.test),
            ):
                rate = values[every[rows], neuron].mean(axis=0) / width
                # smoothing keeps the sum; edges are mirrored
                np.testing.assert_allclose(line.get_ydata().mean(), rate.mean(), rtol=1e-4)


def test_conditions_are_those_with_most_test_trials_and_columns_may_be_named(trials, fit):
    from nwbdyn.report.figures.trials import conditions

    sides = trials.trials.assign(side=np.where(trials.trials["target_y"] > 0, "up", "down"))
    requested = replace(trials, trials=sides)
    assert [one.name for one in conditions(requested, ["side"])] == ["down", "up"]
    assert len(conditions(trials)) <= 6
    assert conditions(fit) == []
    with pytest.raises(ResultsError, match="no column 'colour'; they have: id, start_time"):
        conditions(trials, ["colour"])
    with pytest.raises(ResultsError, match="All trials are alike in 'success'"):
        conditions(trials, ["success"])
    with pytest.raises(ResultsError, match=r"are not trials.*--trials TABLE"):
        conditions(fit, ["side"])
    with pytest.raises(ValueError, match="no trials, or no column known"):
        figures.psths(fit)


def test_conditions_can_be_named_on_the_command_line(trials, tmp_path):
    folder = trials.save(tmp_path / "run")
    done = CliRunner().invoke(main, ["report", str(folder), "--by", "trial_type, trial_version"])
    assert done.exit_code == 0, done.output
    assert "(trial_type, trial_version)" in (folder / "report.html").read_text("utf-8")
    wrong = CliRunner().invoke(main, ["report", str(folder), "--overwrite", "--by", "colour"])
    assert wrong.exit_code == 1
    assert "no column 'colour'" in wrong.output


def test_currents_are_those_of_the_fit_beside_what_was_recorded(currents):
    from nwbdyn.report.figures.activity import chosen

    def z(values):
        return (values - values.mean()) / values.std()

    for panel, (_, neuron, _) in zip(figures.currents(currents), chosen(currents), strict=True):
        for line, values in zip(
            panel.lines, (currents.predictions.recorded, currents.currents), strict=True
        ):
            rows = np.searchsorted(currents.predictions.time, line.get_xdata())
            assert (currents.predictions.labels[rows] == 2).all()  # test
            np.testing.assert_allclose(line.get_ydata(), z(values[rows, neuron]), atol=1e-4)


def test_the_mean_weight_of_two_types_is_over_pairs_of_different_neurons(fit):
    axes = figures.cell_types(fit)
    weight = fit.connectivity.mean().to_numpy().astype(float)
    np.fill_diagonal(weight, np.nan)
    types = fit.neurons.table["cell_type"].to_numpy()
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == [label.get_text() for label in axes.get_yticklabels()]
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    for row, post in enumerate(names):
        for column, pre in enumerate(names):
            pairs = weight[np.ix_(types == post, types == pre)]
            pairs = pairs[np.isfinite(pairs)]
            expected = pairs.mean() if len(pairs) else np.nan
            np.testing.assert_allclose(shown[row, column], expected, rtol=1e-4)


def test_importance_is_the_column_mean_of_the_maps(trials):
    axes = figures.neuron_importance(trials)
    received = trials.connectivity.mean().to_numpy().mean(axis=0)
    shown = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(shown, np.sort(received)[::-1][:40], rtol=1e-6)


def test_the_cross_correlogram_finds_the_lag_of_a_current_that_runs_ahead(currents):
    from nwbdyn.report.figures.currents import lagged

    ahead = np.roll(np.asarray(currents.predictions.recorded), -2, axis=0)
    table = lagged(replace(currents, currents=ahead))
    assert (table.idxmax(axis=1) == 2).all()
    np.testing.assert_allclose(table[2], 1, atol=0.02)  # the ends of test are rolled apart


def test_states_are_drawn_on_one_scale(fit):
    with nwbdyn.open("sample:cortex?neurons=8&duration=90") as recording:
        states = recording.intervals["behavioral_state"]
    still, running = figures.cell_types_by_state(fit, states)[::-1]
    assert still.images[0].get_clim() == running.images[0].get_clim()
    mask = states[states["state"] == "running"]
    expected = fit.connectivity.by_cell_type(mask=mask).mean("time")
    np.testing.assert_allclose(running.images[0].get_array(), expected, rtol=1e-5)


def test_every_number_of_the_scoreboard_is_in_the_metrics(fit):
    first = words.scoreboard(fit)[0]
    assert first["metric"] == fit.metrics["primary"]["metric"]
    model = fit.metrics["model"]["test"][first["metric"]]
    assert first["rows"][0] | {"interval": ""} == {
        "name": "netformer",
        "val": f"{fit.metrics['model']['val'][first['metric']]:.3f}",
        "test": f"{model:.3f}",
        "interval": "",
    }


def test_the_bibtex_on_the_page_can_be_copied_line_by_line(fit, rendered):
    text = html.unescape(rendered("fit"))
    assert "@inproceedings{netformer,\n  title = " in text
    assert "netformer,\\n" not in text
    hostile = replace(fit, model="a\x1b]0;b</pre><script>alert(1)</script>")
    assert "<script>alert" not in page.render(hostile)
    assert "\x1b" not in page.render(hostile)


def test_the_paper_of_the_model_is_cited(fit):
    cited = dict(words.citations(fit))
    assert "NetFormer" in cited["model"]
    dandi = replace(fit.source, dandiset_id="000140", version="0.220113.0408")
    assert "DANDI:000140" in dict(words.citations(replace(fit, source=dandi)))["data"]


def test_a_half_without_a_neighbour_takes_its_row_alone():
    def layout(*titles):
        pictures = [
            sections.Picture(title, "", figures.scores, wide=title == "wide") for title in titles
        ]
        return page.layout(pictures)

    assert layout("a", "b", "wide", "c") == ["half", "half", "wide", "lone"]
    assert layout("a", "wide", "b", "c") == ["lone", "wide", "half", "half"]
    assert layout("a", "b", "c") == ["half", "half", "lone"]
    assert layout("wide", "wide") == ["wide", "wide"]


def test_a_figure_without_a_neighbour_is_drawn_across_the_page(fit):
    width = re.compile(r'<svg[^>]* width="([\d.]+)pt"')
    half = page.svg(figures.learning_curve(fit), "half")
    across = page.svg(figures.learning_curve(fit), "across", across=True)
    assert float(width.search(half)[1]) == pytest.approx(72 * style.HALF)
    assert float(width.search(across)[1]) == pytest.approx(72 * style.WIDE)


def test_every_figure_is_saved_for_print_on_request(fit, tmp_path):
    page.svg(figures.scores(fit), "scores", folder=tmp_path)
    assert "currentColor" not in (tmp_path / "scores.svg").read_text("utf-8")
    pixels = plt.imread(tmp_path / "scores.png")
    assert pixels.shape[1] == pytest.approx(page.PRINT_DPI * style.HALF, abs=1)
    assert (pixels[0, 0] == 1).all()  # white, not transparent


def test_every_figure_that_the_page_offers_is_in_the_folder(changing, tmp_path):
    text = page.render(changing, figures_to=tmp_path)
    offered = set(re.findall(r'data-name="(\w+)"', text))
    assert "over_time" in offered
    for kind in ("svg", "png"):
        assert {path.stem for path in tmp_path.glob(f"*.{kind}")} == offered


def test_a_matrix_that_is_never_negative_is_not_called_red_and_blue(fit, trials):
    assert "red positive" in words.colours(fit)
    assert "none is negative" in words.colours(trials)
    assert "past helps to predict" in words.meaning(fit)
    assert "attends" in words.meaning(trials)
    for reported in (fit, trials):
        assert "not a test for a synapse" in page.render(reported)


@pytest.fixture(scope="module")
def changing():
    """A fit whose couplings change over time."""
    options = {"history": 4, "core": False}
    return nwbdyn.fit("sample:cortex?neurons=8&duration=90", "netformer", epochs=2, options=options)


def test_the_slider_is_small_however_long_the_recording(changing):
    movie = slider.movie(changing)
    assert len(movie.content) < 4 / 3 * slider.MOST_FRAMES * slider.MOST_ROWS**2 + 5000


def test_the_slider_has_the_colours_and_the_scale_of_the_mean_matrix(changing):
    movie = slider.movie(changing)
    image = figures.connectivity(changing).images[0]
    assert movie.high == image.get_clim()[1]
    content = json.loads(movie.content)
    palette = np.frombuffer(base64.b64decode(content["palette"]), np.uint8).reshape(256, 3)
    high = 255 * np.array(image.cmap(255)[:3])
    np.testing.assert_allclose(palette[255], high, atol=0.6)
    size = content["size"]
    pixels = np.frombuffer(base64.b64decode(content["pixels"]), np.uint8).reshape(-1, size, size)
    first = changing.connectivity.at(changing.connectivity.time[0]).to_numpy()
    shown = movie.high * (2 * pixels[0].astype(float) / 255 - 1)
    expected = np.clip(first[np.ix_(movie.order, movie.order)], -movie.high, movie.high)
    np.testing.assert_allclose(shown, expected, atol=movie.high / 255)
    still = figures.matrix_at(changing, 0, movie.order, movie.high).images[0]
    assert still.get_clim() == image.get_clim()
    drawn = np.ma.filled(still.get_array(), np.nan)
    off = ~np.eye(size, dtype=bool)
    np.testing.assert_allclose(drawn[off], first[np.ix_(movie.order, movie.order)][off])


def test_couplings_that_do_not_change_have_no_slider(fit):
    constant = np.allclose(
        fit.connectivity.at(fit.connectivity.time[0]).to_numpy(),
        fit.connectivity.at(fit.connectivity.time[-1]).to_numpy(),
    )
    assert constant
    assert slider.movie(fit) is None


def test_couplings_that_do_not_change_have_no_course_over_time(fit, changing):
    static = replace(
        fit.connectivity, form="static", arrays={"weight": fit.connectivity.mean().to_numpy()}
    )
    assert "Over time" in titles(changing)
    assert "Over time" not in titles(replace(fit, connectivity=static))


def test_the_slider_of_a_late_clock_begins_at_its_offset(changing):
    connectivity = replace(changing.connectivity, time=changing.connectivity.time + 1228343)
    content = json.loads(slider.movie(replace(changing, connectivity=connectivity)).content)
    assert content["clock"].startswith("after 12283")
    assert 0 <= content["time"][0] < 1


def test_arcs_are_the_strongest_edges_with_heads_at_the_receivers(fit):
    axes = figures.strongest_arcs(fit, num_edges=5)
    edges = arcs.shown(fit, 5)
    assert len(axes.patches) == 5
    names = [label.get_text() for label in axes.get_xticklabels()]
    by_id = dict(zip(fit.neurons.ids, fit.neurons.names, strict=True))
    for patch, edge in zip(axes.patches, edges.itertuples(), strict=True):
        path = patch._path_original
        start, end = path.vertices[0, 0], path.vertices[-1, 0]
        assert names[int(start)] == by_id[edge.pre_id]
        assert names[int(end)] == by_id[edge.post_id]
        red = patch.get_edgecolor()[0] > patch.get_edgecolor()[2]
        assert red == (edge.weight > 0)


def test_neurons_of_a_small_network_are_named_beside_their_types(fit):
    axes = figures.connectivity(fit)
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(names) == sorted(map(str, fit.neurons.names))
    small = figures.connectivity(fit, plt.figure().subplots())
    assert len(small.get_yticklabels()) < len(names)  # types alone


def test_a_name_in_the_file_cannot_inject_markup(fit):
    hostile = "</script><script>alert(1)</script>"
    table = fit.connectivity.neurons.table.assign(cell_type=[hostile, *["b"] * 7])
    neurons = replace(fit.connectivity.neurons, table=table)
    changed = replace(
        fit,
        source=replace(fit.source, uri=hostile),
        connectivity=replace(fit.connectivity, neurons=neurons),
    )
    assert "<script>alert" not in page.render(changed)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("model", ["fit", "currents", "trials", "changing"])
def test_a_browser_renders_the_page_without_a_console_message(model, rendered, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(rendered(model), encoding="utf-8")
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
    moves = 'id="movie"' in rendered(model)
    assert moves == bool(re.search(r'id="clock">t = [\d.-]+ s', done.stdout))


def test_a_page_goes_to_a_new_folder_and_a_place_that_cannot_be_written_is_one_line(fit, tmp_path):
    assert page.write(fit, tmp_path / "new" / "page.html").exists()
    (tmp_path / "file").touch()
    with pytest.raises(ResultsError, match=r"Cannot write .*page.html.*Pass -o"):
        page.write(fit, tmp_path / "file" / "page.html")


def test_neurons_without_a_place_are_left_out_of_the_map(fit):
    table = fit.connectivity.neurons.table.copy()
    table.loc[0, "x"] = np.nan
    placed = replace(fit.connectivity.neurons, table=table)
    partly = replace(fit, connectivity=replace(fit.connectivity, neurons=placed))
    axes = figures.strongest_edges(partly, num_edges=1000)
    lines = len(axes.lines) - 1  # the first are the neurons themselves
    assert len(axes.lines[0].get_xdata()) == 7
    assert lines == 2 * 7 * 6  # two halves of every edge
    assert "Distance" in titles(partly)


def test_a_tested_fit_shows_its_p_and_what_the_null_is(fit):
    assert "Against the null" not in titles(fit)
    edges = edge_table.directed(fit.edges)
    p = np.linspace(0.001, 1, len(edges))
    tested = replace(
        fit,
        edges=edges.assign(p=p),
        metrics=fit.metrics | {"edges": TESTED},
    )
    assert "Against the null" in titles(tested)
    heights = [bar.get_height() for bar in figures.null(tested).patches]
    assert sum(heights) == len(p)
    captions = [q.caption for s in sections.of_fit(tested) for q in s.pictures]
    assert any("neurons are independent" in caption for caption in captions)


def test_cell_types_have_intervals_where_they_were_tested(fit):
    pairs = {
        "post": ["EC", "EC"],
        "pre": ["Sst", "EC"],
        "weight": [-0.2, 0.1],
        "low_within_animal": [-0.3, -0.1],
        "high_within_animal": [-0.1, 0.3],
        "q_within_animal": [0.01, 0.4],
    }
    tested = replace(fit, groups=pd.DataFrame(pairs))
    axes = figures.cell_type_intervals(tested)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["EC → EC", "Sst → EC"]
    assert [line.get_fillstyle() for line in axes.lines[1:4:2]] == ["none", "full"]
    assert "Pairs of types with intervals" in titles(tested)


@pytest.mark.parametrize(("supported", "word"), [(False, "but not a refit"), (True, "worse")])
def test_a_course_over_time_says_whether_it_is_supported(changing, supported, word):
    fit = changing
    compared = {"metric": "r2", "split": "test", "adds": 0.01, "interval": [-0.02, 0.03]}
    static = Difference.from_json(compared)
    change = CouplingChange(0.9, 0.1, static, "VAR", True, supported)
    tested = replace(fit, metrics=fit.metrics | change.metrics())
    captions = [p.caption for s in sections.of_fit(tested) for p in s.pictures if p.wide]
    assert any(word in caption for caption in captions)


def test_scores_further_ahead_are_those_of_the_metrics(fit):
    axes = figures.horizons(fit)
    own = next(line for line in axes.lines if line.get_label() == fit.model)
    scores = fit.metrics["model"]["test"]
    assert dict(zip(*own.get_data(), strict=True)) == {
        1: scores["r2"],
        5: scores["r2@5"],
        10: scores["r2@10"],
        32: scores["r2@32"],
    }


def test_what_neurons_send_and_receive_adds_up(fit):
    axes = figures.degree(fit)
    size = np.abs(fit.connectivity.mean().to_numpy())
    np.fill_diagonal(size, 0)
    dots = np.concatenate([np.stack(line.get_data(), axis=1) for line in axes.lines])
    expected = np.stack([size.sum(axis=0), size.sum(axis=1)], axis=1)
    np.testing.assert_allclose(np.sort(dots, axis=0), np.sort(expected, axis=0), rtol=1e-5)


def test_every_edge_is_in_the_histogram_of_weights(fit):
    axes = figures.weights(fit)
    assert sum(bar.get_height() for bar in axes.patches) == len(edge_table.directed(fit.edges))


def test_principal_components_are_those_of_the_recorded_training_activity(fit):
    panel = figures.population(fit)[0]
    train = fit.predictions.labels == 0
    recorded = fit.predictions.recorded.astype(float)
    scaled = (recorded - recorded[train].mean(axis=0)) / recorded[train].std(axis=0)
    _, _, basis = np.linalg.svd(scaled[train], full_matrices=False)
    time, shown = panel.lines[0].get_data()
    rows = np.searchsorted(fit.predictions.time, time)
    expected = scaled[rows] @ basis[0]
    sign = np.sign(np.corrcoef(shown, expected)[0, 1])
    np.testing.assert_allclose(shown, sign * expected, atol=1e-3 * np.abs(expected).max())


def test_the_necessity_of_the_maps_is_drawn_as_it_was_measured(trials):
    axes = figures.necessity(trials)
    drawn = [bar.get_width() for bar in axes.patches]
    assert drawn == list(trials.metrics["necessity"]["loss"].values())


@pytest.mark.parametrize(("loss", "shown"), [(0.0, False), (0.01, True)])
def test_a_fit_that_is_its_baseline_shows_no_empty_bars(trials, loss, shown):
    section = dict(trials.metrics[MapAblation.KEY])
    section["loss"] = dict.fromkeys(section["loss"], 0.0) | {"uniform": loss}
    fit = replace(trials, metrics=trials.metrics | {MapAblation.KEY: section})
    assert ("Are the maps needed?" in titles(fit)) == shown


def test_the_legend_of_the_arcs_names_the_signs_that_there_are(fit, trials):
    def legend(fit):
        pictures = [p for s in sections.of_fit(fit) for p in s.pictures]
        return next(p.caption for p in pictures if p.title == "The strongest edges")

    assert "red positive, blue negative" in legend(fit)
    assert "all are positive" in legend(trials)


def test_few_methods_are_drawn_as_high_as_the_figure_beside_them(trials):
    assert figures.scores(trials).get_figure().get_figheight() == style.LEAST


def test_a_distance_is_the_one_between_the_two_neurons(fit):
    axes = figures.distance(fit)
    apart = axes.lines[0].get_xdata()
    table = fit.neurons.table.set_index("id")[["x", "y"]]
    every = [
        np.hypot(*(table.loc[edge.pre_id] - table.loc[edge.post_id]))
        for edge in edge_table.directed(fit.edges).itertuples()
    ]
    assert min(every) <= apart.min() <= apart.max() <= max(every)
    assert (np.diff(apart) > 0).all()


def test_seeds_that_always_agree_lie_on_one(currents):
    edges = currents.edges.assign(sign_agreement=1.0)
    axes = figures.seeds(replace(currents, edges=edges))
    assert set(axes.lines[0].get_ydata()) == {1.0}
    assert 0.5 < axes.lines[1].get_ydata()[0] < 1


def test_the_loss_without_some_neurons_is_drawn_as_it_was_measured(trials):
    axes = figures.dropping(trials)
    drawn = {line.get_label(): list(line.get_ydata()) for line in axes.lines}
    loss = trials.metrics["importance"]["loss"]
    for name in ("most attended", "least attended", "most active", "random"):  # silenced
        assert drawn[name] == loss[name]


def test_states_of_the_recording_are_shown_on_request(fit, tmp_path):
    folder = fit.save(tmp_path / "run")
    done = CliRunner().invoke(main, ["report", str(folder), "--states", "behavioral_state"])
    assert done.exit_code == 0, done.output
    text = (folder / "report.html").read_text("utf-8")
    assert "By state" in text
    assert "stationary" in text
    again = ["report", str(folder), "--overwrite", "--states"]
    wrong = CliRunner().invoke(main, [*again, "running"])
    assert "no interval table 'running'; it has: behavioral_state." in wrong.output
    wrong = CliRunner().invoke(main, [*again, "behavioral_state:speed"])
    assert "such columns of behavioral_state: state." in wrong.output


def test_lines_between_groups_stay_dark_on_the_light_matrix_in_dark_mode(fit):
    axes = figures.connectivity(fit)
    assert len(axes.lines) >= 2
    assert {line.get_color() for line in axes.lines} == {style.ON_MATRIX}
    assert style.ON_MATRIX not in page.PAGE_COLOURS


def test_a_late_clock_begins_at_its_offset(fit):
    late = replace(fit, connectivity=replace(fit.connectivity, time=fit.connectivity.time + 1e6))
    axes = figures.cell_types_over_time(late)
    first = np.floor(late.connectivity.time[0])
    assert axes.get_xlabel() == f"time (s) after {first:.0f} s"
    assert axes.lines[0].get_xdata()[0] < 1


def test_no_two_methods_share_a_line_in_the_scores_further_ahead(fit):
    lines = [line for line in figures.horizons(fit).lines if not line.get_label().startswith("_")]
    assert len(lines) == 1 + len(fit.metrics["baselines"]) > len(style.CATEGORIES)
    drawn = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}
    assert len(drawn) == len(lines)


def test_signs_of_edges_have_lighter_colours_in_dark_mode(rendered):
    text = rendered("fit")
    assert "stroke: var(--positive)" in text
    arcs = text[text.index('aria-label="The strongest edges"') :]
    assert style.NEGATIVE not in arcs[: arcs.index("</figure>")]


def test_no_two_baselines_share_a_colour_in_dark_mode():
    template = (Path(page.__file__).parent / "style.css.jinja").read_text("utf-8")
    dark = to_rgb(re.findall(r"--baseline: (#\w{6})", template)[1])
    others = (to_rgb(colour) for colour in style.CATEGORIES[1:])
    assert min(np.abs(np.subtract(dark, other)).max() for other in others) > 0.15
