# %% [markdown]
# # 6 · Your own model in one file
#
# A model is a file with a `Config`, a class and `MODEL = …`. If the file is in `nwbdyn/models/`,
# the command line, the contract tests and the baselines include it. This tutorial writes it to
# another folder and adds this folder to the list.
#
# The model is a vector autoregression of low rank. Neurons are coupled through a few channels,
# `x(t+1) = x(t) + U V' x(t)`, so N neurons have 2 N R weights instead of N².

# %%
import os
import tempfile
from pathlib import Path

import nwbdyn
from nwbdyn import models
from nwbdyn.evaluation import verdict
from nwbdyn.report import figures

QUICK = "NWBDYN_QUICK" in os.environ  # the tests run every tutorial with less
ADDRESS = f"sample:cortex?neurons={8 if QUICK else 40}&duration={90 if QUICK else 400}"

SOURCE = '''
"""LowRank: coupling through a few channels, x(t+1) = x(t) + U V' x(t)."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from nwbdyn.models import base


@dataclass(frozen=True)
class LowRankConfig(base.Config):
    rank: int = 4  # channels
    coupling: bool = True  # off in the refit that says what coupling adds


class LowRank(base.Model):
    quantities = frozenset({"dff", "events", "deconvolved", "fluorescence"})
    target = base.NEXT
    form = "static"
    Config = LowRankConfig
    paper = "this tutorial"
    config: LowRankConfig

    def __init__(self, config, layout):
        super().__init__(config, layout)
        size = (layout.num_global, config.rank)
        self.receive = nn.Parameter(0.1 * torch.randn(size))  # U
        self.send = nn.Parameter(0.1 * torch.randn(size))  # V

    @property
    def weight(self):
        return self.receive @ self.send.T  # (post, pre)

    @classmethod
    def windows(cls, config, layout):
        return base.WindowSpec(context=1)

    def forward(self, batch):
        newest = batch.activity[:, -1:]  # (B, 1, N)
        heard = newest @ self.weight.T
        return base.Output(newest + self.config.coupling * heard)

    def loss(self, batch, output):
        return F.mse_loss(output.prediction[batch.valid], batch.target[batch.valid])

    def connectivity(self, session=None):
        return {"weight": self.weight.detach()}


MODEL = LowRank
'''
folder = Path(tempfile.mkdtemp(prefix="nwbdyn-tutorial-"))
(folder / "lowrank.py").write_text(SOURCE)
models.__path__.append(str(folder))
models.names()

# %% [markdown]
# The class states what it takes (`quantities`), what it predicts (`target`) and the form of its
# connectivity. The package does everything else: windows, splits, training, early stopping,
# baselines, intervals, the predictive influence (the derivative of `forward`), files.

# %%
fits = {
    rank: nwbdyn.fit(ADDRESS, "lowrank", epochs=3 if QUICK else 40, options={"rank": rank})
    for rank in (1, 4, 8)
}
for rank, fit in fits.items():
    print(f"rank {rank}: {' '.join(verdict.sentences(fit.metrics, fit.model)[:2])}")

# %%
best = max(fits, key=lambda rank: fits[rank].metrics["model"]["val"]["r2"])
_ = figures.scores(fits[best])

# %%
_ = figures.connectivity(fits[best])

# %% [markdown]
# The rank was chosen on validation. Report the test score of this rank. The network of this
# recording is sparse and not of low rank, and the table of scores shows this.
#
# A model that needs more than defaults can define hooks: `initialise` (starting values from the
# training data), `optimiser`, `after_update` (proximal steps), `on_train_end` (signs), `candidates`
# (what validation chooses). `tests/test_model_contract.py` is what a model has to pass.

# %%
_ = figures.learning_curve(fits[best])
models.__path__.remove(str(folder))
