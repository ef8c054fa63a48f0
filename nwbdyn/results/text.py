"""One line about a fit and about its predictions: what Python shows of them."""

from typing import TYPE_CHECKING, Any

from nwbdyn.printable import printable

if TYPE_CHECKING:
    from nwbdyn.results.fit_results import Fit, Predictions


def fit_text(fit: "Fit") -> str:
    """Model, recording, size, and the primary score beside that of the best baseline."""
    metrics: dict[str, Any] = fit.metrics
    parts = [f"{fit.model} on {fit.source.name}", f"{len(fit.neurons)} neurons"]
    if primary := metrics.get("primary"):
        metric, split, baseline = primary["metric"], primary["split"], primary["baseline"]
        score = f"{metric} {metrics['model'][split][metric]:.3f} on {split}"
        if baseline is not None:
            score += f" ({baseline} {metrics['baselines'][baseline][split][metric]:.3f})"
        parts.append(score)
    if fit.run is not None:
        parts.append(f"saved in {fit.run}")
    return printable(", ".join(parts))


def predictions_text(predictions: "Predictions") -> str:
    """Quantity, shape, bin width and horizon."""
    bins, neurons = predictions.values.shape
    held_out = int(predictions.held_out.sum())
    parts = [
        predictions.quantity,
        f"{bins:,} bins of {predictions.bin_width:g} s",
        f"{neurons} neurons" + (f" ({held_out} held out)" if held_out else ""),
        f"{predictions.horizon} bins ahead",
    ]
    return printable(", ".join(parts))
