# %% [markdown]
# # 7 · Many sessions, on one machine or on a cluster
#
# A folder or a dandiset is fitted session by session, each into its own run directory. A session
# that fails does not stop the others. Finished sessions are not fitted again.
#
# The same on the command line: `nwbdyn fit FOLDER --model synapsnet -o runs/all`, later with
# `--resume`.

# %%
import os
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

import nwbdyn
from nwbdyn import archive
from nwbdyn.report import style
from nwbdyn.request import FitRequest
from nwbdyn.workflows import batch

QUICK = "NWBDYN_QUICK" in os.environ  # the tests run every tutorial with less
NUM_SESSIONS = 2 if QUICK else 6
SAMPLE = f"sample:cortex?neurons={8 if QUICK else 30}&duration={90 if QUICK else 200}"
FOLDER = Path(tempfile.mkdtemp(prefix="nwbdyn-tutorial-"))

sessions = FOLDER / "sessions"
sessions.mkdir()
for seed in range(NUM_SESSIONS):
    path = archive.resolve(f"{SAMPLE}&seed={seed}")[0].path
    shutil.copy(path, sessions / f"mouse-{seed}.nwb")
(sessions / "mouse-x.nwb").write_text("an upload that broke off")

# %% [markdown]
# ## Fit them all
#
# `archive.resolve` takes any address: here a folder, else `dandi:ID` or a glob.

# %%
result = archive.sessions(archive.resolve(str(sessions)))
request = FitRequest.from_keywords("synapsnet", epochs=1 if QUICK else 12, run=FOLDER / "runs")
outcomes = batch.fit_each(result, request)
table = pd.DataFrame([asdict(outcome) for outcome in outcomes])
table.assign(run=table["run"].map(lambda run: Path(run).name))[
    ["run", "status", "value", "baseline", "baseline_value", "reason"]
]

# %% [markdown]
# The broken file is left out, with the reason. With `resume=True` only missing sessions are
# fitted, for example after the file was fetched again.

# %%
again = batch.fit_each(result, request.with_keywords(resume=True))
print([outcome.status for outcome in again])

# %% [markdown]
# ## Does the model beat its best baseline in each session?
#
# Each dot is a session. Above the line the model is better than its best baseline.

# %%
fitted = table[table["status"] == batch.FITTED]
with style.house():
    (panel,) = style.panels(size=(3.4, 3.2))
    panel.plot(fitted["baseline_value"], fitted["value"], "o", color=style.MODEL)
    ends = [fitted[["value", "baseline_value"]].min().min(), fitted["value"].max()]
    panel.plot(ends, ends, color=style.QUIET, linewidth=0.8)
    panel.set_xlabel(f"best baseline, {fitted['metric'].iloc[0]}")
    panel.set_ylabel("synapsnet")

# %% [markdown]
# ## What the sessions have in common
#
# The figure shows the mean weight per pair of cell types in every session. A session is one
# observation. So the relevant spread is between sessions, not between edges.

# %%
pairs = {}
for outcome in outcomes:
    if outcome.status == batch.FITTED:
        mean = nwbdyn.load(outcome.run).connectivity.by_cell_type().mean("time")
        for post in mean["post_type"].values:
            for pre in mean["pre_type"].values:
                value = float(mean.sel(post_type=post, pre_type=pre))
                pairs.setdefault(f"{pre} → {post}", []).append(value)
common = pd.DataFrame(pairs).T.dropna()
common = common.loc[common.mean(axis=1).abs().sort_values(ascending=False).index[:8]][::-1]

with style.house():
    (panel,) = style.panels(size=(style.HALF, 3))
    for location, (_, values) in enumerate(common.iterrows()):
        panel.plot(values, np.full(len(values), location), "o", color=style.BASELINE, alpha=0.5)
        panel.plot(values.mean(), location, "D", color=style.MODEL)
    panel.axvline(0, color=style.INK, linewidth=0.5)
    panel.set_yticks(range(len(common)), common.index)
    panel.set_xlabel("mean weight; blue: a session, orange: their mean")

# %% [markdown]
# ## On a cluster
#
# Run `pip install nwbdyn[ray]`, and use the same call with an engine: `batch.fit_each(…,
# engine=RayExecutor(cluster="head:6379", cpus=2, gpus=0.25))`, or
#
#     nwbdyn fit dandi:000140 --model stndt --all --engine ray --cluster head:6379 \
#         --cpus-per-fit 2 --gpus-per-fit 0.25 -o /shared/runs/all
#
# Run directories are the same for every engine, so another engine can continue. All nodes need
# access to the folder. `--joint` fits one model to all sessions: SynapsNet shares its decoder,
# NetFormer its query and key maps.
