"""One self-contained HTML page per run: opens from disk, makes no network request.

Figures are inline SVG whose ink takes the page's own text colour, so light and dark mode both read
well. The slider's matrices travel inside the page as 8-bit numbers.
"""

import io
import json
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from nwbdyn.errors import ResultsError
from nwbdyn.evaluation import verdict
from nwbdyn.printable import printable
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.report import figures, sections, slider, style, words
from nwbdyn.report.sections import Picture, Section
from nwbdyn.report.slider import Movie
from nwbdyn.results import damage, fit_results, methods_text, run_directory
from nwbdyn.results.fit_results import Fit

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

PRINT_DPI = 300  # of the PNG of a figure
LONE = "lone"  # layout of a half without a neighbour
PAGE_COLOURS = {  # of the figures, by what the page calls them in light and in dark mode
    style.INK: "currentColor",
    style.MODEL: "var(--model)",
    style.BASELINE: "var(--baseline)",
    style.POSITIVE: "var(--positive)",
    style.NEGATIVE: "var(--negative)",
}


def write(
    fit: Fit,
    path: Path,
    *,
    states: pd.DataFrame | None = None,
    by: Sequence[str] | None = None,
    figures_to: Path | None = None,
    overwrite: bool = False,
    report: Report = silent,
) -> Path:
    """Write the report of `fit` to `path`, whole or not at all.

    Args:
        figures_to: folder for every figure as SVG and as PNG for print, too; earlier ones are
            replaced. None writes none.
        states: intervals of behavioural states, see `nwbdyn.statistics.states`.
        by: columns of the trials that make a condition. Default: those that are known.
        overwrite: replace an earlier page.
        report: called with the number of figures that are drawn.

    Raises:
        ResultsError: `path` exists and `overwrite` is off, it cannot be written, the trials have
            no column of `by`, or the fit was read from files with a value of the wrong kind.
    """
    if path.exists() and not overwrite:
        raise ResultsError(f"{path} exists. Pass --overwrite, or -o with another name.")
    if figures_to is not None and figures_to.is_symlink():
        raise ResultsError(
            f"{figures_to} is a link, and nothing is written through one. Remove it, or pass -o "
            "with a file in another folder."
        )
    with written(path) as partial:
        with damage.as_error(fit.name):
            page = render(fit, states=states, by=by, figures_to=figures_to, report=report)
        partial.write_text(page, encoding="utf-8")
    return path


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A path to write a page to, which takes the place of `path` at the end.

    Raises:
        ResultsError: `path` cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with run_directory.atomic_write(path) as partial:
            yield partial
    except OSError as error:
        raise ResultsError(
            f"Cannot write {path}: {error}. Pass -o with a file in a folder that can be written to."
        ) from error


def environment() -> "Environment":
    """The templates of the pages."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("nwbdyn.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(
    fit: Fit,
    *,
    states: pd.DataFrame | None = None,
    by: Sequence[str] | None = None,
    figures_to: Path | None = None,
    report: Report = silent,
) -> str:
    """The page as a string; its figures go to `figures_to`, too."""
    fit = fit_results.shareable(fit)
    metrics: dict[str, Any] = fit.metrics
    movie = slider.movie(fit)
    planned = sections.of_fit(fit, states, by)
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            title=f"{fit.model} on {fit.source.name}",
            subtitle=words.subtitle(fit),
            uri=fit.source.uri,
            verdict=verdict.winner(metrics, fit.model),
            trust=words.trust(fit),
            meaning=words.meaning(fit),
            colours=words.colours(fit),
            sections=_drawn(planned, fit, report, movie, figures_to),
            scoreboard=words.scoreboard(fit),
            strongest=words.strongest(fit),
            benchmark=words.benchmark(fit),
            slider=None if movie is None else movie.content,
            change=sections.change_caption(fit),
            provenance=words.provenance(fit),
            config=words.config(fit),
            paper=json.dumps([[name, colour] for colour, name in PAGE_COLOURS.items()]),
            citations=words.citations(fit),
            methods=[text.replace("`", "") for text in methods_text.paragraphs(fit)],
            bibtex=_with_lines("\n\n".join(methods_text.bibtex(fit))),
            notes=sorted(fit.notes, key=lambda note: not note.important),
        )
    )


def _shown(value: object) -> object:
    """Texts with control characters written out; what is markup already stays as it is."""
    return printable(value) if type(value) is str else value


def _with_lines(text: str) -> "Markup":
    """A text of several lines as markup, its other control characters written out."""
    from markupsafe import escape

    return escape(printable(text, lines=True))


def _drawn(
    planned: Sequence[Section],
    fit: Fit,
    report: Report,
    movie: Movie | None,
    figures_to: Path | None,
) -> list[dict[str, Any]]:
    """The sections with their figures as SVG; the slider of `movie` follows the mean matrix."""
    total = sum(len(section.pictures) for section in planned)
    drawn: list[dict[str, Any]] = []
    done = 0
    for section in planned:
        pictures = []
        layouts = layout(section.pictures)
        for picture, where in zip(section.pictures, layouts, strict=True):
            report(Progress("drawing", done, total, "figures"))
            name = picture.draw.__name__
            pictures.append(
                {
                    "title": picture.title,
                    "caption": picture.caption,
                    "layout": where,
                    "name": name,
                    "svg": svg(picture.draw(fit), name, across=where == LONE, folder=figures_to),
                }
            )
            if picture.title == sections.MATRIX and movie is not None:
                first = figures.matrix_at(fit, 0, movie.order, movie.high)
                pictures[-1]["movie"] = svg(first, "over_time", folder=figures_to)
            done += 1
        drawn.append({"title": section.title, "pictures": pictures})
    report(Progress("drawing", done, total, "figures"))
    return drawn


def layout(pictures: Sequence[Picture]) -> list[str]:
    """ "wide", "half", or "lone" (a half without a neighbour, which is drawn across the page)."""
    layouts: list[str] = []
    waiting = False  # a half waits for its neighbour
    for picture in pictures:
        if picture.wide and waiting:
            layouts[-1] = LONE
        waiting = not picture.wide and not waiting
        layouts.append("wide" if picture.wide else "half")
    if waiting:
        layouts[-1] = LONE
    return layouts


def svg(
    axes: Axes | tuple[Axes, ...],
    name: str,
    *,
    across: bool = False,
    folder: Path | None = None,
) -> str:
    """The figure of these axes as SVG in the page's colours, its ids starting with `name`.

    Args:
        across: a figure of half the page is drawn across the whole.
        folder: for `name`.svg and `name`.png in the colours of paper; None writes none.
    """
    figure = (axes[0] if isinstance(axes, tuple) else axes).get_figure()
    assert figure is not None
    if across:
        figure.set_size_inches(style.WIDE, figure.get_figheight())  # type: ignore[union-attr]
    buffer = io.StringIO()
    with style.house(), warnings.catch_warnings():
        # a browser has the letters that the fonts of this machine lack
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from")
        figure.savefig(buffer, format="svg", metadata={"Date": None})  # type: ignore[union-attr]
    text = printable(buffer.getvalue(), lines=True)
    if folder is not None:
        _save(figure, text, folder, name)
    plt.close(figure)  # type: ignore[arg-type]
    text = text[text.index("<svg") :]
    for colour, variable in PAGE_COLOURS.items():
        text = text.replace(colour, variable)
    return _unique_ids(text, name)


def _save(figure: Any, text: str, folder: Path, name: str) -> None:
    """Write a figure as SVG and as PNG, each whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    with run_directory.atomic_write(folder / f"{name}.svg") as partial:
        partial.write_text(text, encoding="utf-8")
    with (
        run_directory.atomic_write(folder / f"{name}.png") as partial,
        style.house(),
        warnings.catch_warnings(),
    ):
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from")
        figure.savefig(partial, format="png", dpi=PRINT_DPI, transparent=False, facecolor="white")


def _unique_ids(svg: str, prefix: str) -> str:
    """Several figures share one page, so every id gets the figure's name in front."""
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(xlink:href|href)="#', rf'\1="#{prefix}-', svg)
    return re.sub(r"url\(#", f"url(#{prefix}-", svg)
