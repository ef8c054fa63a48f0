"""Draw the README's picture: recorded and predicted activity, true and fitted couplings.

    python docs/make_picture.py [FILE.png]

The recording is `sample:cortex`, so the planted wiring is known; the fit takes about a minute.
"""

import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import matplotlib.pyplot as plt
import numpy as np

import nwbdyn
from nwbdyn import metrics, simulate
from nwbdyn.data.splits import TEST
from nwbdyn.report import figures, style
from nwbdyn.results.fit_results import Fit

ADDRESS = "sample:cortex?neurons=40"
SECONDS = 25.0  # of activity that are shown
SHOWN = 6  # neurons


def main(path: Path) -> None:
    fit = nwbdyn.fit(ADDRESS, "synapsnet")
    planted = simulate.sample(ADDRESS)[1].coupling
    with style.house():
        figure = plt.figure(figsize=(11, 3.6), dpi=110, facecolor="white")
        left, first, second, right = figure.subplots(1, 4, width_ratios=(1.5, 1, 1, 1.1))
    activity(fit, left)
    order = fit.connectivity.sorted_rows()
    estimate = fit.connectivity.mean().to_numpy()
    matrix(planted[np.ix_(order, order)], first, "planted wiring")
    score = metrics.agreement(estimate, planted)["auroc"]
    matrix(estimate[np.ix_(order, order)], second, f"found (AUROC {score:.2f})")
    second.set_ylabel("")
    figures.scores(fit, right)
    right.set_title("beside baselines")
    figure.savefig(path, transparent=False)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def activity(fit: Fit, axes: plt.Axes) -> None:
    """Some neurons at the start of test, one above the other, scaled alike."""
    bins = np.flatnonzero(fit.predictions.labels == TEST)
    bins = bins[np.isfinite(fit.predictions.values[bins]).all(axis=1)]
    bins = bins[: round(SECONDS / fit.predictions.bin_width)]
    recorded, predicted = fit.predictions.recorded[bins], fit.predictions.values[bins]
    spread = recorded.std(axis=0)
    rows = np.linspace(0, len(spread) - 1, SHOWN).astype(int)
    time = fit.predictions.time[bins]
    with style.house():
        for location, row in enumerate(rows):
            for values, colour, label in (
                (recorded, style.INK, "recorded"),
                (predicted, style.MODEL, "predicted"),
            ):
                scaled = (values[:, row] - recorded[:, row].mean()) / spread[row]
                axes.plot(
                    time, 5 * location + scaled, color=colour, label="" if location else label
                )
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("time (s)")
        axes.set_title("activity")
        axes.legend(loc="lower right", bbox_to_anchor=(1.02, 0.98), ncols=2, fontsize=8)


def matrix(weight: np.ndarray, axes: plt.Axes, title: str) -> None:
    """A coupling matrix without its diagonal."""
    shown = weight - np.diag(np.diag(weight))
    high = style.limit(shown)
    with style.house():
        axes.imshow(shown, cmap=style.SIGNED, vmin=-high, vmax=high, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("sends")
        axes.set_ylabel("receives")
        axes.set_title(title)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(Path(given[0]) if given else Path(__file__).resolve().parent / "picture.png")
