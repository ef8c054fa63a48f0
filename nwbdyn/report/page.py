"""One self-contained HTML page per run: opens from disk, asks the network for nothing.

Figures are inline SVG whose ink takes the page's own text colour, so light and dark mode both read
well. The slider's matrices travel inside the page as 8-bit numbers.
"""

import base64
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from nwbdyn import run_directory, verdict
from nwbdyn.errors import ResultsError
from nwbdyn.report import figures, style
from nwbdyn.results import Fit

MOST_FRAMES = 60  # matrices behind the slider
MOST_ROWS = 80  # neurons on a side of them; the strongest of a larger network
PAPERS = {
    "netformer": "Lu et al., NetFormer, ICLR 2025",
    "stndt": "Le and Shlizerman, STNDT, NeurIPS 2022",
    "synapsnet": "Delavari, Oruc and Murphy, SynapsNet, arXiv 2411.08221",
}


@dataclass(frozen=True)
class Figure:
    """One figure on the page."""

    title: str
    caption: str  # also the alternative text
    svg: str


def write(fit: Fit, path: Path, *, overwrite: bool = False) -> Path:
    """Write the report of `fit` to `path`, whole or not at all.

    Raises:
        ResultsError: `path` exists and `overwrite` is off, or it cannot be written.
    """
    if path.exists() and not overwrite:
        raise ResultsError(f"{path} exists. Pass --overwrite, or -o with another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with run_directory.replacing(path) as partial:
            partial.write_text(render(fit), encoding="utf-8")
    except OSError as error:
        raise ResultsError(
            f"Cannot write {path}: {error}. Pass -o with a file in a folder that can be written to."
        ) from error
    return path


def render(fit: Fit) -> str:
    """The page as a string."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nwbdyn.report", "."), autoescape=True, undefined=StrictUndefined
    )
    metrics: dict[str, Any] = fit.metrics
    return environment.get_template("page.html.jinja").render(
        fit=fit,
        title=f"{fit.model} on {fit.source.name}",
        verdict=verdict.winner(metrics, fit.model),
        scores=_score_rows(fit),
        figures=_figures(fit),
        slider=_slider(fit),
        provenance=_provenance(fit),
        paper=PAPERS.get(fit.model, fit.model),
        notes=fit.notes,
    )


def _figures(fit: Fit) -> list[Figure]:
    connectivity = fit.connectivity
    kind = "reconstruction" if fit.predictions.horizon == 0 else "prediction"
    typed = connectivity.neurons.table.get("cell_type")
    has_types = typed is not None and typed.fillna("").astype(str).ne("").any()
    plan: list[tuple[bool, str, str, Callable[[Fit], Axes | tuple[Axes, ...]]]] = [
        (
            bool(fit.metrics["baselines"]),
            "Who predicts best",
            "The primary metric on test for the model (orange) and each baseline (blue); bars are "
            "95 % block-bootstrap intervals.",
            figures.scores,
        ),
        (
            True,
            "Predicted against recorded",
            "The best, the median and the worst scored neuron on test, recorded in grey and "
            "predicted in orange.",
            figures.predictions,
        ),
        (
            True,
            "Population",
            "Principal components of the recorded activity on test, and the same components of "
            f"the {kind}.",
            figures.population,
        ),
        (
            True,
            "Connectivity, mean over time",
            f"Mean {connectivity.measure}; rows receive, columns send; sorted by cell type and "
            "region; blue is negative, red positive, white zero; the diagonal is left out.",
            figures.connectivity,
        ),
        (
            bool(has_types),
            "Cell types",
            "Mean weight from each presynaptic to each postsynaptic cell type.",
            figures.cell_types,
        ),
        (
            bool(has_types) and connectivity.num_windows > 1,
            "Cell types over time",
            "The strongest pairs of cell types over the session, smoothed.",
            figures.cell_types_over_time,
        ),
        (True, "Weights", "How the weights of all edges are distributed.", figures.weights),
        (
            True,
            "Input and output",
            "Each dot is a neuron: what it sends against what it receives.",
            figures.degree,
        ),
        (
            figures.has_positions(fit),
            "Distance",
            "Size of the weights against the distance between the two neurons.",
            figures.distance,
        ),
        (
            figures.has_positions(fit),
            "Where the strongest edges are",
            "The strongest edges between the neurons' positions; red positive, blue negative.",
            figures.strongest_map,
        ),
        (
            len(fit.history) > 1,
            "Learning curve",
            "Training loss per epoch (grey) and the validation score that chose the weights "
            "(orange).",
            figures.learning_curve,
        ),
    ]
    return [
        Figure(title, caption, _svg(draw, fit)) for wanted, title, caption, draw in plan if wanted
    ]


def _svg(draw: Callable[[Fit], Axes | tuple[Axes, ...]], fit: Fit) -> str:
    with mpl.rc_context({"backend": "agg"}):
        axes = draw(fit)
        figure = (axes[0] if isinstance(axes, tuple) else axes).get_figure()
        assert figure is not None
        buffer = io.StringIO()
        with style.house():
            figure.savefig(buffer, format="svg", metadata={"Date": None})  # type: ignore[union-attr]
        plt.close(figure)  # type: ignore[arg-type]
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(style.INK, "currentColor")
    return _unique_ids(svg, draw.__name__)


def _unique_ids(svg: str, prefix: str) -> str:
    """Several figures share one page, so every id gets the figure's name in front."""
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(xlink:href|href)="#', rf'\1="#{prefix}-', svg)
    return re.sub(r"url\(#", f"url(#{prefix}-", svg)


def _slider(fit: Fit) -> str | None:
    """Matrices over time as JSON with 8-bit pixels in base 64, None for static connectivity."""
    connectivity = fit.connectivity
    if connectivity.num_windows < 2:
        return None
    chosen = np.unique(np.linspace(0, connectivity.num_windows - 1, MOST_FRAMES).astype(int))
    mean = np.abs(connectivity.mean().to_numpy()).copy()
    np.fill_diagonal(mean, 0)
    strongest = np.argsort(-(mean.sum(axis=0) + mean.sum(axis=1)))[:MOST_ROWS]
    order = [row for row in figures._sorted_rows(connectivity.neurons.table) if row in strongest]
    frames = []
    for window in chosen:
        matrix = connectivity.at(connectivity.time[window]).to_numpy()[np.ix_(order, order)].copy()
        np.fill_diagonal(matrix, 0)
        frames.append(matrix)
    high = style.limit(np.array(frames))
    pixels = np.round(np.clip(np.array(frames) / high, -1, 1) * 127 + 128).astype(np.uint8)
    return json.dumps(
        {
            "size": len(order),
            "time": [round(float(t), 3) for t in connectivity.time[chosen]],
            "limit": float(f"{high:.3g}"),
            "pixels": base64.b64encode(pixels.tobytes()).decode(),
        }
    )


def _score_rows(fit: Fit) -> list[dict[str, str]]:
    """One row per metric and method, test beside validation; errors are left to metrics.json."""
    metrics: dict[str, Any] = fit.metrics
    by_name = {fit.model: metrics["model"], **metrics["baselines"]}
    intervals = metrics.get("intervals", {})
    by_interval = {fit.model: intervals.get("model", {}), **intervals.get("baselines", {})}
    split = metrics["primary"]["split"]
    shown = [name for name in metrics["model"].get(split, {}) if not name.startswith("mse")]
    return [
        {
            "metric": metric,
            "name": name,
            "val": _score(splits.get("val", {}).get(metric)),
            "test": _score(splits.get(split, {}).get(metric)),
            "interval": _interval(by_interval.get(name, {}).get(split, {}).get(metric)),
        }
        for metric in shown
        for name, splits in by_name.items()
    ]


def _score(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.4f}"


def _interval(interval: list[float] | None) -> str:
    if interval is None or any(end is None or end != end for end in interval):
        return ""
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


def _provenance(fit: Fit) -> list[tuple[str, str]]:
    source = fit.source
    return [
        ("source", source.uri),
        ("digest", source.digest or "not known"),
        ("session", str(fit.session.get("session_id", ""))),
        ("neurons", f"{len(fit.neurons)} ({fit.neurons.kind}s)"),
        ("bin width", f"{fit.predictions.bin_width:g} s"),
        ("split", str(fit.split.get("rule", ""))),
        ("seed", str(fit.seed)),
        ("device", fit.device),
        ("versions", ", ".join(f"{name} {version}" for name, version in fit.versions.items())),
        ("config", json.dumps(fit.config, default=str)),
    ]
