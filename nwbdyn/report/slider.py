"""Matrices over time for the page's slider, as 8-bit numbers in base 64."""

import base64
import json
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np

from nwbdyn.report.figures import coupling
from nwbdyn.report.figures.activity import session_clock
from nwbdyn.report.figures.coupling import strongest_rows
from nwbdyn.results.fit_results import Fit

MOST_FRAMES = 60
MOST_ROWS = 80  # neurons on a side; the strongest of a larger network


@dataclass(frozen=True)
class Movie:
    """Matrices over time: what the page's script draws, and where it starts."""

    content: str  # JSON for the page's script
    order: np.ndarray  # rows that are shown
    high: float  # weight of the full colour, as in the mean matrix


def movie(fit: Fit) -> Movie | None:
    """The matrices over time, at most half a megabyte; None where they do not change.

    In the JSON `pixels` holds a byte per weight, window after window, row after row: 0 for the low
    end of the colours of the mean matrix, 255 for the high end. `palette` holds their 256 colours.
    """
    connectivity = fit.connectivity
    if connectivity.num_windows < 2:
        return None
    chosen = np.unique(np.linspace(0, connectivity.num_windows - 1, MOST_FRAMES).astype(int))
    mean = connectivity.mean().to_numpy()
    order = strongest_rows(mean, connectivity.sorted_rows(), MOST_ROWS)
    matrices = np.array(
        [
            connectivity.at(connectivity.time[window]).to_numpy()[np.ix_(order, order)]
            for window in chosen
        ]
    )
    cmap, low, high = coupling.scale(fit)
    if np.ptp(matrices, axis=0).max() < (high - low) / 255:  # no colour of the page would change
        return None
    pixels = np.round(255 * np.clip((matrices - low) / (high - low), 0, 1)).astype(np.uint8)
    palette = (255 * mpl.colormaps[cmap](np.arange(256))[:, :3]).round().astype(np.uint8)
    time, clock = session_clock(connectivity.time[chosen])
    content = json.dumps(
        {
            "size": len(order),
            "of": len(mean),
            "time": [round(float(t), 3) for t in time],
            "clock": clock.removeprefix("time (s)").strip(),
            "limit": float(f"{high:.3g}"),
            "palette": base64.b64encode(palette.tobytes()).decode(),
            "pixels": base64.b64encode(pixels.tobytes()).decode(),
        }
    )
    return Movie(content.replace("<", "\\u003c"), order, high)  # no label ends the script
