# %% [markdown]
# # 3 · STNDT on reaching data
#
# A transformer over time and neurons is trained to predict the spikes of units that it never sees.
# The recording has the columns of a Neural Latents Benchmark data set, so it is scored as the
# benchmark scores, too. `dandi:000140` in place of the address fits the real one.

# %%
import os

import numpy as np
from scipy.ndimage import gaussian_filter1d

import nwbdyn
from nwbdyn.cli.scoreboard import of_benchmark
from nwbdyn.report import figures, style
from nwbdyn.report.figures.activity import trial_bins
from nwbdyn.scoring import verdict

QUICK = "NWBDYN_QUICK" in os.environ  # the tests run every tutorial with less
ADDRESS = f"sample:reach?neurons={24 if QUICK else 40}&trials={40 if QUICK else 100}"
OPTIONS = {"layers": 1 if QUICK else 2, "updates": 4 if QUICK else 200}

fit = nwbdyn.fit(ADDRESS, "stndt", options=OPTIONS)

# %% [markdown]
# `updates` is far below the default of 2,000, to keep this page under two minutes. A GLM with few
# units and trials is hard to beat, and the first sentence says who won.

# %%
print("\n".join(verdict.sentences(fit.metrics, fit.model)))
print("\n".join(of_benchmark(fit.metrics, fit.model)))

# %%
_ = figures.scores(fit)
_ = figures.learning_curve(fit)

# %% [markdown]
# ## Trials
#
# Spikes of three held-out units in every test trial, and their mean beside the predicted rate. In
# the grey bins the model saw nothing at all, held-in units included.

# %%
_ = figures.rasters(fit)

# %% [markdown]
# ## By target
#
# The same for the best unit, for two groups of targets: means over training and test trials of what
# was recorded and of what was predicted.

# %%
with nwbdyn.open(ADDRESS) as recording:
    trials = recording.trials
start = fit.connectivity.time + fit.connectivity.window[0]
which = np.searchsorted(trials["start_time"].to_numpy(), start, side="right") - 1
bins = np.searchsorted(fit.predictions.time, start)[:, None] + np.arange(fit.binning["context"])
unit = figures.activity.chosen(fit)[0][1]
right = np.cos(2 * np.pi * trials["trial_type"].to_numpy()[which] / 8) > 0
time = (np.arange(bins.shape[1]) + 0.5) * fit.predictions.bin_width

with style.house():
    panels = style.panels(1, 2, size=(style.WIDE, 2.8))
    for panel, group, title in zip(panels, (right, ~right), ("right", "left"), strict=True):
        for values, colour, name in (
            (fit.predictions.recorded, style.INK, "recorded"),
            (fit.predictions.values, style.MODEL, "predicted"),
        ):
            rate = values[bins[group], unit].mean(axis=0) / fit.predictions.bin_width
            panel.plot(time, gaussian_filter1d(rate, 10), color=colour, label=name)
        panel.set_title(f"unit {fit.neurons.ids[unit]}, targets on the {title}")
        panel.set_xlabel("time in the trial's window (s)")
    panels[0].set_ylabel("spikes / s")
    panels[0].legend()
print(f"{len(trial_bins(fit)[0])} of {len(which)} trials are test trials")

# %% [markdown]
# ## What the attention maps say
#
# Nothing couples one unit of this recording to another: all follow shared latents. The map is there
# all the same, and neurons differ in the attention they receive. The score that counts is what is
# lost when the maps are replaced.

# %%
_ = figures.connectivity(fit)
_ = figures.necessity(fit)

# %%
_ = figures.neuron_importance(fit)
