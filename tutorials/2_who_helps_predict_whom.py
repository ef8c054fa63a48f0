# %% [markdown]
# # 2 · Which neurons help to predict which?
#
# This tutorial fits two models to a network with known wiring. It makes four checks before it
# reads the matrix. Does the model beat simple baselines? Does coupling add anything? Do seeds
# agree? Which edges are stronger than in recordings of independent neurons?

# %%
import os

import numpy as np

import nwbdyn
from nwbdyn import metrics, simulate
from nwbdyn.evaluation import verdict
from nwbdyn.report import figures, style

QUICK = "NWBDYN_QUICK" in os.environ  # the tests run every tutorial with less
ADDRESS = f"sample:network?kind=rate&neurons=12&steps={600 if QUICK else 2500}"
LENGTH = {"updates": 20} if QUICK else {"updates": 400}
SEEDS, NULL = (2, "shift:2") if QUICK else (3, "shift:20")

_, truth = simulate.sample(ADDRESS)  # the recording, and what was planted in it
planted = truth.coupling  # (post, pre): the row receives

# %% [markdown]
# ## Two models, three seeds each

# %%
fits = {
    "netformer": nwbdyn.fit(ADDRESS, "netformer", seeds=SEEDS, options={"history": 4, **LENGTH}),
    "synapsnet": nwbdyn.fit(ADDRESS, "synapsnet", seeds=SEEDS, null=NULL, options=LENGTH),
}
for fit in fits.values():
    print("\n".join(verdict.sentences(fit.metrics, fit.model)), end="\n\n")

# %% [markdown]
# The first sentence compares the model with baselines that see the same frames. A later sentence
# says what coupling adds to own dynamics. Where it adds nothing, the matrix means nothing.

# %%
_ = figures.scores(fits["netformer"])
_ = figures.scores(fits["synapsnet"])

# %% [markdown]
# ## Planted and fitted couplings
#
# Only here do we know the answer. On real data, agreement with a wiring is far lower: tutorial 4.

# %%
matrices = {"planted": planted}
matrices |= {name: fit.connectivity.mean().to_numpy() for name, fit in fits.items()}
with style.house():
    panels = style.panels(1, 3, size=(style.WIDE, 3.2))
    for panel, (name, matrix) in zip(panels, matrices.items(), strict=True):
        shown = matrix - np.diag(np.diag(matrix))
        high = style.limit(shown)
        panel.imshow(shown, cmap=style.SIGNED, vmin=-high, vmax=high)
        panel.set_title(name)
        panel.set_xlabel("presynaptic (sends)")
    panels[0].set_ylabel("postsynaptic (receives)")

for name, fit in fits.items():
    result = metrics.agreement(fit.connectivity.mean().to_numpy(), planted)
    print(f"{name}: AUROC {result['auroc']:.2f}, correlation {result['pearson']:.2f}")

# %% [markdown]
# ## Do seeds agree?
#
# Seeds measure the noise of the optimisation. They agree more than two halves of a recording do,
# so they are no error bars. Do not interpret a matrix on which seeds disagree.

# %%
_ = figures.seeds(fits["synapsnet"])

# %% [markdown]
# ## Which edges are more than chance?
#
# `null="shift:20"` makes 20 surrogate recordings. In a surrogate each neuron's activity is shifted
# in time against the others, so no neuron helps to predict another. Couplings over the last three
# bins are fitted to the recording and to every surrogate. `q` is the share of false discoveries
# among the edges that are at least as strong.

# %%
tested = fits["synapsnet"].edges
called = tested[tested["q"] < 0.05]
row = {identity: location for location, identity in enumerate(fits["synapsnet"].neurons.ids)}
real = [planted[row[edge.post_id], row[edge.pre_id]] != 0 for edge in called.itertuples()]
num_planted = int((planted != 0).sum() - (np.diag(planted) != 0).sum())
print(f"{len(called)} edges at q < .05, {sum(real)} of them planted; {num_planted} were planted")
called[["pre", "post", "lag", "weight", "se", "p", "q"]].head(10)

# %%
_ = figures.connectivity(fits["synapsnet"])

# %% [markdown]
# Dots mark the significant edges. The line above counts how many of them were planted. Some may be
# false: the null is of independent neurons, and two neurons that are connected through a third one
# are not independent. None of this tests for a synapse. A neuron that was not recorded and drives
# two others causes an edge between them, and no null here detects that.

# %% [markdown]
# ## Couplings of milliseconds
#
# Bins of a model are wider than the delay of a spike. `null="jitter:20"` fits couplings to the
# spike times on a grid of 1 ms. `peak_ms` is the lag at which the filter of an edge peaks. In
# `sample:spiking` the delays are known.

# %%
address = f"sample:spiking?duration={60 if QUICK else 300}"
spiking = nwbdyn.fit(address, "netformer", null="jitter:20")
called = spiking.edges[(spiking.edges["kind"] == "directed") & (spiking.edges["q"] < 0.05)]
_, truth = simulate.sample(address)
row = {identity: location for location, identity in enumerate(spiking.neurons.ids)}
delays = [1000 * truth.delays[row[edge.post_id], row[edge.pre_id]] for edge in called.itertuples()]
called[["pre", "post", "weight", "q", "peak_ms"]].assign(delay_ms=delays).head(10)

# %% [markdown]
# ## Couplings that change with a state
#
# In `sample:switching` three senders change their receivers between two states. `states` compares
# the couplings of the two. Rows with a `state` are the edges that change.

# %%
switching = nwbdyn.fit("sample:switching", "netformer", states="task_state")
print(switching.summary())
changed = switching.edges[(switching.edges["state"] != "") & (switching.edges["q"] < 0.05)]
changed[["pre", "post", "state", "weight", "q"]].head(10)
