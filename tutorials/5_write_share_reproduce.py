# %% [markdown]
# # 5 · Write, share, reproduce
#
# A fit is written to NWB in one of two forms: as a small separate file, or beside the data in a
# copy of the recording. Any NWB tool opens both, without this package.

# %%
import os
import tempfile
from pathlib import Path

import h5py
import matplotlib.pyplot as plt
from pynwb import NWBHDF5IO

import nwbdyn
from nwbdyn.evaluation import verdict
from nwbdyn.report import figures, page

QUICK = "NWBDYN_QUICK" in os.environ  # the tests run every tutorial with less
ADDRESS = "sample:cortex?neurons=8&duration=90" if QUICK else "sample:cortex?neurons=30"
FOLDER = Path(tempfile.mkdtemp(prefix="nwbdyn-tutorial-"))

fit = nwbdyn.fit(ADDRESS, "netformer", epochs=2 if QUICK else 20, run=FOLDER / "run")
print(verdict.winner(fit.metrics, fit.model))

# %% [markdown]
# The run directory has every option, score and result. Reading it executes no code from it.

# %%
for path in sorted((FOLDER / "run").iterdir()):
    print(f"{path.name:24}{path.stat().st_size / 1000:9.1f} kB" if path.is_file() else path.name)

# %% [markdown]
# ## Two kinds of file
#
# The source file is never changed.

# %%
alone = nwbdyn.export(fit, FOLDER / "alone.nwb")
enriched = nwbdyn.export(fit, FOLDER / "enriched.nwb", enrich=True)
for path in (alone, enriched):
    print(f"{path.name:16}{path.stat().st_size / 1e6:.1f} MB")

# %% [markdown]
# ## In pynwb alone

# %%
with NWBHDF5IO(enriched, "r") as io:
    module = io.read().processing["population_dynamics"]
    for name, item in module.data_interfaces.items():
        print(f"{type(item).__name__:28}{name}")
    edges = next(item for name, item in module.data_interfaces.items() if name.endswith("_edges"))
    table = edges.to_dataframe()
table[["weight"]].describe().T

# %% [markdown]
# ## As a fit again: xarray and pandas
#
# `open_results` gives the same object as `nwbdyn.fit`. Large arrays stay in the file.

# %%
with nwbdyn.open_results(enriched) as opened:
    movie = opened.connectivity.to_xarray(time=slice(30, 31))
    predicted = opened.predictions.to_xarray()
    strongest = opened.connectivity.edges(5)
print(movie.dims, movie.shape, "·", predicted.dims, predicted.shape)
strongest

# %% [markdown]
# The matrix at any time is computed from its factors. No array of size time x neurons x neurons is
# stored.

# %%
whole = fit.connectivity.dense_bytes / 1e6
print(
    f"{fit.connectivity.stored_bytes / 1e6:.2f} MB of factors stand for {whole:.1f} MB of matrices"
)
_ = figures.connectivity(fit)

# %% [markdown]
# ## The picture that every viewer shows

# %%
with h5py.File(enriched) as file:
    module = file["processing/population_dynamics"]
    name = next(name for name in module if name.endswith("_figures"))
    picture = module[name]["coupling"][:]
_, axes = plt.subplots(figsize=(4, 4))
axes.imshow(picture)
axes.set_axis_off()

# %% [markdown]
# ## A report, and the upload to the archive
#
# `nwbdyn export RUN --upload dandi:ID` checks the file with the archive's own checks and shows
# what would be sent. It sends nothing until you add `--send`.

# %%
print(page.write(fit, FOLDER / "report.html"))

# %% [markdown]
# ## Reproduce
#
# The file alone is enough: it has the address of the source, its digest and every option. On the
# same machine and with the same number of threads the numbers are the same.

# %%
again = nwbdyn.reproduce(alone)
print(f"reproduced: {again.reproduced}")
print(f"predictions differ by {again.predictions:.1e} sd, {again.metric} by {again.metrics:.1e}")
