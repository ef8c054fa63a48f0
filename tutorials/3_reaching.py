# %% [markdown]
# # 3 · STNDT on reaching data
#
# A transformer over time and neurons is trained to predict the spikes of units that it never sees.
# The recording has the columns of a Neural Latents Benchmark data set, so it is scored as the
# benchmark scores, too. `dandi:000140` in place of the address fits the real one.

# %%
import os

import nwbdyn
from nwbdyn.cli.scoreboard import of_benchmark
from nwbdyn.evaluation import verdict
from nwbdyn.report import figures

QUICK = "NWBDYN_QUICK" in os.environ  # the tests run every tutorial with less
ADDRESS = f"sample:reach?neurons={24 if QUICK else 40}&trials={40 if QUICK else 100}"
OPTIONS = {"layers": 1 if QUICK else 2, "updates": 4 if QUICK else 200}

fit = nwbdyn.fit(ADDRESS, "stndt", options=OPTIONS)

# %% [markdown]
# `updates` is half of the default of 400, to keep this page under two minutes. With few units and
# trials a GLM is hard to beat. The first sentence of the verdict names the better one.

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
# ## By condition
#
# The same for the conditions, a target and a way to it, that have most test trials: recorded over
# all trials, predicted on the test trials alone.

# %%
_ = figures.psths(fit)

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
