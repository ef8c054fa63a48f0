# %% [markdown]
# # 4 · A real recording, end to end: a worm against its connectome
#
# The recording is of a freely moving *C. elegans* with most head neurons in view (Dag et al.
# 2023). The wiring is that of the same species from electron microscopy (White et al. 1986).
# `NWBDYN_DATA` names a folder with the recording and the wiring. Without this folder, `nwbdyn
# inspect dandi:000776` lists similar recordings. Use one of their addresses instead of the path
# below.

# %%
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

import nwbdyn
from nwbdyn.evaluation import verdict
from nwbdyn.evaluation.connectome_comparison import validate
from nwbdyn.report import figures, style

QUICK = "NWBDYN_QUICK" in os.environ  # the tests run every tutorial with less
DATA = Path(os.environ["NWBDYN_DATA"])
WORM = DATA / "ophys" / "celegans_dag2023_2022-07-26-31.nwb"
WIRING = DATA / "truth" / "celegans_connectome_white_1986_whole.json"

recording = nwbdyn.open(str(WORM))
print(f"{len(recording.neurons)} ROIs; the reader noted, first of all:")
for note in recording.notes[:3]:
    print(f"  {note.where}: {note.reason}")
recording.neurons.table.iloc[:5, :8]

# %% [markdown]
# ## Activity and behaviour

# %%
traces, time = np.asarray(recording.activity.data), np.asarray(recording.activity.timestamps)
velocity = recording.covariate("velocity")
scaled = (traces - np.nanmean(traces, axis=0)) / np.nanstd(traces, axis=0)
_, _, basis = np.linalg.svd(np.nan_to_num(scaled), full_matrices=False)
order = np.argsort(basis[0])

with style.house():
    above, below = style.panels(2, 1, size=(style.WIDE, 5), share_x=True)
    above.imshow(
        scaled[:, order].T,
        aspect="auto",
        cmap=style.SIGNED,
        vmin=-3,
        vmax=3,
        extent=(0, time[-1] - time[0], 0, len(order)),
    )
    above.set_ylabel("neuron, by first component")
    below.plot(np.asarray(velocity.timestamps) - time[0], velocity.data[:, 0], color=style.INK)
    below.axhline(0, color=style.QUIET, linewidth=0.5)
    below.set_ylabel("velocity")
    below.set_xlabel("time (s)")

# %% [markdown]
# ## Fit, and read the score before the matrix

# %%
fit = nwbdyn.fit(recording, "netformer", epochs=2 if QUICK else 30, seeds=1 if QUICK else 2)
recording.close()
print("\n".join(verdict.sentences(fit.metrics, fit.model)))
_ = figures.scores(fit)

# %%
_ = figures.predictions(fit)

# %%
_ = figures.connectivity(fit)

# %% [markdown]
# Couplings are drawn between the positions of the neurons: positive ones red, negative ones blue.

# %%
_ = figures.strongest_edges(fit)

# %% [markdown]
# ## Against the connectome
#
# Neurons of the recording and of the wiring are matched by name. Neurons without a unique name are
# left out. A pair counts in either direction: the question is whether coupled neurons have any
# contact. The null shuffles the names.


# %%
def padded(name: str) -> str:
    """The names of 1986 have no zeros: VB2 is VB02 today."""
    return re.sub(r"^(AS|DA|DB|DD|VA|VB|VC|VD)(\d)$", r"\g<1>0\2", name)


wiring = pd.DataFrame(json.loads(WIRING.read_text()))
wiring = wiring[["pre", "post"]].map(padded)
result = validate(
    fit, wiring, name_column="neuron_label", directed=False, shuffles=50 if QUICK else 500
)
print(f"{result.num_neurons} named neurons, {result.num_edges} of {result.num_pairs} pairs touch")
result.table[["auroc", "auprc"]].round(3)

# %%
with style.house():
    (panel,) = style.panels(size=(style.HALF, 0.8 + 0.3 * len(result.table)))
    scores = result.table["auroc"].sort_values()
    own = [name == result.table.index[0] for name in scores.index]
    colours = [style.MODEL if mine else style.BASELINE for mine in own]
    panel.scatter(scores, range(len(scores)), color=colours)
    panel.set_yticks(range(len(scores)), scores.index)
    panel.axvspan(
        2 * result.null["mean"]["auroc"] - result.null["high"]["auroc"],
        result.null["high"]["auroc"],
        color=style.QUIET,
        alpha=0.25,
        linewidth=0,
    )
    panel.set_xlabel("AUROC; grey: names shuffled")

# %% [markdown]
# A score far above .6 would be a reason to look for a mistake. Much of what the neurons of a worm
# share is its behaviour, and eight minutes contain little information on synapses. Where plain
# correlation has the same score, the model adds nothing about the wiring.
