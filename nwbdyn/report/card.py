"""A fit as a notebook shows it: the verdict, the scores, and one small picture.

The picture is a PNG inside the HTML, so a saved notebook shows it without this package and without
a network.
"""

import base64
import io
from html import escape

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from nwbdyn.connectivity import edge_table
from nwbdyn.evaluation import verdict
from nwbdyn.printable import printable
from nwbdyn.report import figures, style, words
from nwbdyn.results import fit_results
from nwbdyn.results.fit_results import Fit
from nwbdyn.spelling import in_python

MOST_NEURONS = 60  # rows of the small matrix: those with the strongest edges
SIZE = (6.4, 2.5)  # inches
DPI = 72


def card(fit: Fit) -> str:
    """HTML with the verdict, the primary score of every method, and the strongest couplings."""
    fit = fit_results.shareable(fit)
    sentences = [verdict.winner(fit.metrics, fit.model), *words.trust(fit)]
    listed = "".join(f"<li>{_text(sentence)}</li>" for sentence in sentences)
    picture = base64.b64encode(_png(fit)).decode("ascii")
    return (
        f"<div><strong>{_text(f'{fit.model} on {fit.source.name}')}</strong><br>"
        f"<small>{_text(words.subtitle(fit))}</small>"
        f"<ul>{listed}</ul>"
        f'<img alt="Scores beside baselines, and the mean matrix of couplings" '
        f'src="data:image/png;base64,{picture}"></div>'
    )


def _text(text: str) -> str:
    return escape(printable(in_python(text)))


def _png(fit: Fit) -> bytes:
    """Scores beside the matrix, on a figure that no notebook shows a second time."""
    with style.house():
        figure = Figure(figsize=SIZE)
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    figures.scores(fit, left)
    _draw_edges(fit, right)
    buffer = io.BytesIO()
    with style.house():
        figure.savefig(buffer, format="png", dpi=DPI, transparent=False, facecolor="white")
    return buffer.getvalue()


def _draw_edges(fit: Fit, axes: plt.Axes) -> None:
    """The weights of the edge table as a matrix; `connectivity` would average every window."""
    matrix = strongest(fit)
    high = style.limit(matrix)
    with style.house():
        axes.imshow(matrix, cmap=style.SIGNED, vmin=-high, vmax=high, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("presynaptic (sends)")
        axes.set_ylabel("postsynaptic (receives)")


def strongest(fit: Fit) -> np.ndarray:
    """(n, n) weights [post, pre] among the neurons with the strongest edges, in recording order."""
    edges = edge_table.directed(fit.edges)
    row_of = {neuron: row for row, neuron in enumerate(fit.neurons.ids)}
    pre, post = (edges[end].map(row_of).to_numpy(int) for end in ("pre_id", "post_id"))
    size = np.zeros(len(row_of))
    np.add.at(size, pre, edges["weight"].abs())
    np.add.at(size, post, edges["weight"].abs())
    kept = np.sort(np.argsort(-size, kind="stable")[:MOST_NEURONS])
    matrix = np.full((len(row_of), len(row_of)), np.nan)
    matrix[post, pre] = edges["weight"]
    return matrix[np.ix_(kept, kept)]
