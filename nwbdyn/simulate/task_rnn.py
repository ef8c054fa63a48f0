"""Activity of recurrent networks that were trained on a task, as published, with their weights.

A folder holds hidden_activity_alltrials.npy (num_trials, L, n), inputs_alltrials.npy
(num_trials, L, k), W_hidden_GT.npy (n, n; row = receiver) and config_*.json with the step `dt` in
milliseconds. The networks follow h(k+1) = tanh(W h(k) + U x(k+1) + b).
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from nwbdyn.errors import ReadError
from nwbdyn.recording import Covariate, Neurons, Recording, Source, Traces
from nwbdyn.simulate.parameters import START
from nwbdyn.simulate.truth import Truth

TRAIN, VAL, TEST = 0.72, 0.08, 0.20  # shares of the trials, in order


def task_rnn(folder: Path) -> tuple[Recording, Truth]:
    """The trials one after the other with a step missing in between, so that windows stay inside.

    The covariate `stimulus` at step k is what the network receives on its way to step k + 1; the
    last step of a trial repeats its own.

    Raises:
        ReadError: a file of the folder is missing.
    """
    configs = sorted(folder.glob("config_*.json"))
    if not configs:
        raise ReadError(f"{folder} holds no config_*.json; expected the folder of a task RNN.")
    step = json.loads(configs[0].read_text())["dt"] / 1000
    hidden = _load(folder / "hidden_activity_alltrials.npy")
    inputs = _load(folder / "inputs_alltrials.npy")
    num_trials, length, num_neurons = hidden.shape
    first = np.arange(num_trials) * (length + 1)
    time = ((first[:, None] + np.arange(length)) * step).ravel()
    arriving = np.concatenate([inputs[:, 1:], inputs[:, -1:]], axis=1)
    values = hidden.reshape(-1, num_neurons)
    last_train, last_val = round(TRAIN * num_trials), round((TRAIN + VAL) * num_trials)
    split = np.full(num_trials, "test", dtype=object)
    split[:last_val], split[:last_train] = "val", "train"
    trials = pd.DataFrame(
        {"start_time": first * step, "stop_time": (first + length) * step, "split": split}
    )
    task = f"{folder.parent.name}-{folder.name}"
    recording = Recording(
        session_id=task,
        neurons=Neurons(pd.DataFrame({"id": np.arange(num_neurons)}), kind="roi"),
        activity=Traces(values, time, "dff"),
        source=Source(uri=str(folder), url=folder.resolve().as_uri()),
        session_start_time=START,
        session_description=f"Simulated: a recurrent network trained on {folder.parent.name}",
        covariates=(Covariate("stimulus", arriving.reshape(len(time), -1), time),),
        trials=trials,
    )
    weights = _load(folder / "W_hidden_GT.npy").astype(np.float64)
    return recording, Truth(time=time, rates=values, latents=values, coupling=weights)


def _load(path: Path) -> np.ndarray:
    if not path.exists():
        raise ReadError(f"{path} is missing; expected the folder of a task RNN.")
    return np.load(path, allow_pickle=False)
