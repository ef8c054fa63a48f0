"""One line about a fit and about its predictions: what Python shows of them."""

from pathlib import Path
from typing import Any

import numpy as np

from nwbdyn.printable import printable


def fit_text(name: str, num_neurons: int, metrics: dict[str, Any], run: Path | None) -> str:
    """Model and recording, size, and the primary score beside that of the best baseline."""
    parts = [name, f"{num_neurons} neurons"]
    if primary := metrics.get("primary"):
        metric, split, baseline = primary["metric"], primary["split"], primary["baseline"]
        score = f"{metric} {metrics['model'][split][metric]:.3f} on {split}"
        if baseline is not None:
            score += f" ({baseline} {metrics['baselines'][baseline][split][metric]:.3f})"
        parts.append(score)
    if run is not None:
        parts.append(f"saved in {run}")
    return printable(f"<Fit {', '.join(parts)}>")


def predictions_text(
    quantity: str, shape: tuple[int, ...], bin_width: float, held_out: np.ndarray, horizon: int
) -> str:
    """Quantity, shape, bin width, held-out neurons and horizon."""
    num_held_out = int(np.sum(held_out))
    neurons = f"{shape[1]} neurons" + (f" ({num_held_out} held out)" if num_held_out else "")
    bins = f"{shape[0]:,} bins of {bin_width:g} s"
    return printable(f"<Predictions {quantity}, {bins}, {neurons}, {horizon} bins ahead>")
