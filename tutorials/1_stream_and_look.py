# %% [markdown]
# # 1 · Stream a recording and look at it
#
# An address is enough. Nothing is downloaded first: opening reads the file's tables, and arrays
# are read when they are used. The address here is a simulated recording in the layout of a motor
# cortex benchmark. With the address `dandi:000140/sub-Jenkins/*small*train*` the same lines stream
# the real recording.

# %%
import os

import numpy as np
from scipy.ndimage import gaussian_filter1d

import nwbdyn
from nwbdyn.data.binning import bin_recording
from nwbdyn.report import style

QUICK = "NWBDYN_QUICK" in os.environ  # the tests run every tutorial with less
ADDRESS = "sample:reach?trials=40" if QUICK else "sample:reach"

recording = nwbdyn.open(ADDRESS)
recording.neurons.table.head()

# %% [markdown]
# `recording.notes` lists everything that was skipped or unusual.

# %%
for note in recording.notes:
    print(f"{note.where}: {note.reason} [{note.code}]")
print(f"{len(recording.neurons)} units, {len(recording.trials)} trials")
print("behaviour:", *(covariate.name for covariate in recording.covariates))
recording.trials.head()

# %% [markdown]
# ## One trial
#
# Spikes of every unit while the hand moves. `spikes.of(row)` reads one unit's spike times only.

# %%
trial = recording.trials.iloc[3]
spikes, hand = recording.activity, recording.covariate("hand_vel")
inside = (hand.timestamps[:] >= trial.start_time) & (hand.timestamps[:] < trial.stop_time)
speed = np.linalg.norm(hand.data[inside], axis=1)

with style.house():
    raster, below = style.panels(2, 1, size=(style.WIDE, 5), share_x=True)
    times = [spikes.of(unit) for unit in range(len(recording.neurons))]
    raster.eventplot(
        [t[(t >= trial.start_time) & (t < trial.stop_time)] - trial.start_time for t in times],
        colors=style.INK,
        linewidths=0.7,
    )
    raster.set_ylabel("unit")
    below.plot(hand.timestamps[inside] - trial.start_time, speed, color=style.MODEL)
    below.set_ylabel(f"hand speed ({hand.unit})")
    below.set_xlabel("time in the trial (s)")
    for panel in (raster, below):
        panel.axvline(trial.go_cue_time - trial.start_time, color=style.QUIET, linestyle="--")
        panel.axvline(trial.move_onset_time - trial.start_time, color=style.QUIET)

# %% [markdown]
# Dashed: the go cue. Solid: the onset of movement.
#
# ## Bins
#
# Every model sees the recording on one clock. Spikes become counts per bin. `valid` marks the bins
# that were observed; other bins are not filled.

# %%
binned = bin_recording(recording, bin_width=0.02)
print(binned.values.shape, f"{binned.valid.mean():.0%} of the bins were observed")

# %% [markdown]
# ## Rates around the movement, by target
#
# The mean count of three units in a window around the onset of movement, for each of the eight
# targets, smoothed by 40 ms.

# %%
onset = np.searchsorted(binned.time, recording.trials["move_onset_time"])
window = np.arange(-20, 30)
aligned = binned.values[onset[:, None] + window]  # (num_trials, bins, units)
target = recording.trials["trial_type"].to_numpy()
rate = np.array([aligned[target == name].mean(axis=0) for name in np.unique(target)]) / 0.02
varied = np.argsort(-gaussian_filter1d(rate, 2, axis=1).std(axis=0).mean(axis=0))[:3]

with style.house():
    panels = style.panels(1, 3, size=(style.WIDE, 2.8))
    for panel, unit in zip(panels, varied, strict=True):
        for name, curve in enumerate(gaussian_filter1d(rate[:, :, unit], 2, axis=1)):
            panel.plot(window * 0.02, curve, color=style.around(name / len(rate)))
        panel.axvline(0, color=style.QUIET)
        panel.set_title(f"unit {recording.neurons.ids[unit]}")
        panel.set_xlabel("time from the onset (s)")
    panels[0].set_ylabel("spikes / s")

# %% [markdown]
# Each colour is a target, in the order of their angles. A model of this recording has to explain
# two things: activity of planning before the onset, and rotation after it.
#
# A file stays open so that its arrays can be read later. Close it, or use `with nwbdyn.open(…)`.

# %%
recording.close()
