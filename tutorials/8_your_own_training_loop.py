# %% [markdown]
# # 8 · Tensors for your own torch model
#
# `nwbdyn.tensors` bins, aligns and splits a recording, and returns it as xarray, NumPy or a torch
# Dataset. It streams: with the address `dandi:000140/sub-Jenkins/*small*train*` it transfers only
# the bytes that it needs. The training below uses nothing else of nwbdyn.

# %%
import os

import matplotlib.pyplot as plt
import torch
from torch.utils.data import DataLoader

import nwbdyn

QUICK = "NWBDYN_QUICK" in os.environ  # the tests run every tutorial with less
ADDRESS = f"sample:cortex?neurons={8 if QUICK else 40}&duration={90 if QUICK else 400}"
CONTEXT, EPOCHS = 5, 2 if QUICK else 20

tensors = nwbdyn.tensors(ADDRESS, gap=CONTEXT)
tensors.to_xarray()

# %% [markdown]
# ## What is in it
#
# Every bin has a label: train, val, test, or gap. Means and deviations come from the training
# bins. No window crosses a gap in the recording or a bin of another split.

# %%
arrays = tensors.to_numpy()
figure, axes = plt.subplots(figsize=(7, 2.5))
axes.plot(arrays["time"], arrays["values"][:, 0], lw=0.6)
for number, name in enumerate(("train", "val", "test")):
    inside = arrays["time"][arrays["split"] == number]
    axes.axvspan(inside[0], inside[-1], alpha=0.08, color=f"C{number}", label=name)
axes.set(xlabel="time (s)", ylabel="dF/F", title="One neuron and the three splits")
axes.legend(loc="upper right")

# %% [markdown]
# ## A model in ten lines
#
# A recurrent network predicts the next frame of all neurons.


# %%
class Recurrent(torch.nn.Module):
    def __init__(self, num_neurons: int, size: int = 32) -> None:
        super().__init__()
        self.cell = torch.nn.GRU(num_neurons, size, batch_first=True)
        self.out = torch.nn.Linear(size, num_neurons)

    def forward(self, activity: torch.Tensor) -> torch.Tensor:  # (B, T, N) -> (B, N)
        return activity[:, -1] + self.out(self.cell(activity)[0][:, -1])


# %%
torch.manual_seed(0)
model = Recurrent(tensors.values.shape[1])
optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
splits = {name: tensors.to_torch(CONTEXT, split=name) for name in ("train", "val")}
losses = {name: [] for name in splits}
for _ in range(EPOCHS):
    for name, windows in splits.items():
        total = 0.0
        for batch in DataLoader(windows, batch_size=64, shuffle=name == "train"):
            error = (model(batch["activity"]) - batch["target"])[batch["valid"]]
            loss = error.square().mean()
            total += loss.item() * len(batch["activity"])
            if name == "train":
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        losses[name].append(total / len(windows))

# %%
figure, axes = plt.subplots(figsize=(4, 2.5))
for name, values in losses.items():
    axes.plot(range(1, EPOCHS + 1), values, label=name)
axes.set(xlabel="epoch", ylabel="mean squared error", title="Learning curve (z-scored traces)")
axes.legend()

# %% [markdown]
# To get baselines, connectivity and an NWB file for a model, write one more class:
# [tutorial 6](6_your_own_model.py).
