"""Matrices over time for the page's slider, as 8-bit numbers in base 64."""

import base64
import json

import numpy as np

from nwbdyn.report import style
from nwbdyn.report.figures.coupling import labels_of, strongest_rows
from nwbdyn.results.fit_results import Fit

MOST_FRAMES = 60
MOST_ROWS = 80  # neurons on a side; the strongest of a larger network


def frames(fit: Fit) -> str | None:
    """JSON for the page's script, at most half a megabyte; None for static connectivity.

    `pixels` holds 128 + 127 w / limit for the weight w, window after window, row after row.
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
    matrices[:, range(len(order)), range(len(order))] = 0
    high = style.limit(matrices)
    pixels = np.round(np.clip(matrices / high, -1, 1) * 127 + 128).astype(np.uint8)
    groups = style.bounds(labels_of(fit)[order].tolist())
    content = json.dumps(
        {
            "size": len(order),
            "of": len(mean),
            "time": [round(float(t), 3) for t in connectivity.time[chosen]],
            "limit": float(f"{high:.3g}"),
            "groups": [[name, start] for name, start, _ in groups] if len(groups) > 1 else [],
            "pixels": base64.b64encode(pixels.tobytes()).decode(),
        }
    )
    return content.replace("<", "\\u003c")  # a label must not end the script
