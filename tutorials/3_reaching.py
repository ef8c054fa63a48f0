# %% [markdown]
# # 3 · STNDT on reaching data
#
# A transformer over time and neurons is trained to predict the spikes of units that it never sees.
# The recording has the columns of a Neural Latents Benchmark data set, so the scores are those of
# the benchmark. The address `dandi:000140` fits the real recording.

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
# The figure shows the spikes of three held-out units in every test trial, and their mean beside
# the predicted rate. In the grey bins the model saw no unit at all.

# %%
_ = figures.rasters(fit)

# %% [markdown]
# ## By condition
#
# A condition is a target and a way to it. The figure shows the conditions with most test trials:
# recorded rates over all trials, predicted rates over the test trials only.

# %%
_ = figures.psths(fit)

# %% [markdown]
# ## What the attention maps show
#
# The units of this recording are not coupled: all follow shared latents. There is an attention map
# nevertheless, and neurons differ in the attention they receive. So read the necessity: the loss
# of the score when the maps are replaced.

# %%
_ = figures.connectivity(fit)
_ = figures.necessity(fit)

# %%
_ = figures.neuron_importance(fit)
