"""NetFormer's training step beside the textbook form, which builds the N x N attention.

    python benchmarks/netformer_speed.py [--rounds R] [--most-neurons N]

The textbook form below is the published equation in plain torch. Given the same weights and batch
it has to give the same prediction first. Then whole steps (forward, backward, fused AdamW) of both
take turns on one thread; times are CPU time of the process, medians over rounds, because that does
not count what other programs take. Peak memory comes from processes of their own, above what each
held before the model was made. Epochs over a recording and over one of ten times its length take
turns, too, as do steps with a ridge through tokens and through a formed A.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import machine
import numpy as np
import pandas as pd
import torch
from machine import publish, table
from torch import Tensor, nn
from torch.nn import functional as F

from nwbdyn.connectivity.forms import NetFormerForm
from nwbdyn.fitting.task import build_task
from nwbdyn.models.base import Batch, Layout
from nwbdyn.models.netformer import NetFormer
from nwbdyn.recording import Neurons, Recording, Source, Traces
from nwbdyn.training.trainer import Trainer

STEPS = ((527, 32), (1000, 32), (5000, 4))  # neurons, windows of a batch
MEMORY = (500, 1000, 2000, 4000)  # neurons, in batches of 4
LARGEST = 20_000  # neurons, in batches of 4
FRAMES = (5_000, 50_000)  # of recordings of 50 neurons
RIDGED = (14, 30, 60, 100, 200)  # neurons, in batches of 32, with the defaults of long recordings
OPTIONS = {"history": 59, "embedding": 30, "layer_norm": True, "raw_values": False, "ridge": 0.0}


class Textbook(nn.Module):
    """The paper's equations, one by one."""

    def __init__(self, num_neurons: int) -> None:
        super().__init__()
        history, width = OPTIONS["history"], OPTIONS["history"] + OPTIONS["embedding"]
        self.embedding = nn.Parameter(torch.randn(num_neurons, OPTIONS["embedding"]))
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(history)

    def forward(self, batch: Batch) -> Tensor:
        embedding = self.embedding.expand(batch.num_windows, -1, -1)
        z = self.norm_in(torch.cat([batch.activity.mT, embedding], dim=2))  # (B, N, d)
        v = z[..., : OPTIONS["history"]]
        attention = self.query(z) @ self.key(z).mT / z.shape[2] ** 0.5  # (B, N, N)
        return self.norm_out(v + attention @ v)[..., -1]

    def loss(self, batch: Batch) -> Tensor:
        return F.mse_loss(self(batch), batch.target[:, 0])

    def take(self, model: NetFormer) -> None:
        """The weights of the package's model."""
        renamed = {"query": "query.weight", "key": "key.weight"}
        state = {renamed.get(name, name): value for name, value in model.state_dict().items()}
        self.load_state_dict({name: state[name] for name in self.state_dict()})


def layout_of(num_neurons: int) -> Layout:
    return Layout({"0": tuple(range(num_neurons))}, {"0": (True,) * num_neurons}, 0.1, "dff")


def model_of(num_neurons: int) -> NetFormer:
    layout = layout_of(num_neurons)
    return NetFormer(NetFormer.configure(layout, **OPTIONS), layout)


def batch_of(num_neurons: int, num_windows: int, history: int = OPTIONS["history"]) -> Batch:
    activity = torch.randn(num_windows, history, num_neurons)
    return Batch(
        activity=activity,
        target=torch.randn(num_windows, 1, num_neurons),
        valid=torch.ones(num_windows, 1, num_neurons, dtype=torch.bool),
        held_in=torch.ones(num_neurons, dtype=torch.bool),
        neuron_ids=torch.arange(num_neurons),
        covariates=activity.new_zeros(num_windows, history, 0),
        start_bin=torch.arange(num_windows),
    )


def step_of(model: nn.Module, batch: Batch) -> Callable[[], None]:
    """One training step of a model."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimiser.zero_grad()
        if isinstance(model, NetFormer):
            model.loss(batch, model(batch)).backward()
        else:
            model.loss(batch).backward()
        optimiser.step()

    return step


FORMS: dict[str, Callable[[int], nn.Module]] = {"textbook": Textbook, "here": model_of}


def cpu_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def largest_difference() -> float:
    """Between the predictions of both forms with the same weights, N = 200."""
    model, batch = model_of(200), batch_of(200, 8)
    textbook = Textbook(200)
    textbook.take(model)
    with torch.no_grad():
        return float((textbook(batch) - model(batch).prediction[:, 0]).abs().max())


def steps(rounds: int, most: int) -> list[list[str]]:
    rows = []
    for num_neurons, num_windows in STEPS:
        if num_neurons > most:
            continue
        batch = batch_of(num_neurons, num_windows)
        forms = {form: step_of(make(num_neurons), batch) for form, make in FORMS.items()}
        spent: dict[str, list[float]] = {form: [] for form in forms}
        for _ in range(rounds + 1):
            for form, step in forms.items():
                spent[form].append(cpu_seconds(step))
        slow, fast = (median(spent[form][1:]) for form in forms)  # the first one warms up
        row = [num_neurons, num_windows, f"{slow:.3f}", f"{fast:.3f}", f"{slow / fast:.1f} x"]
        rows.append([str(cell) for cell in row])
        print(rows[-1], flush=True)
    return rows


def peak(form: str, num_neurons: int, num_steps: int) -> dict[str, float]:
    """MB at the peak of some steps, above the process before the model; CPU seconds of the last."""
    torch.set_num_threads(1)
    batch = batch_of(num_neurons, 4)
    before = machine.forget_peak()
    step = step_of(FORMS[form](num_neurons), batch)
    seconds = [cpu_seconds(step) for _ in range(num_steps)]
    return {"MB": machine.peak() - before, "seconds": seconds[-1]}


def elsewhere(*arguments: object) -> dict[str, float]:
    """Result of `peak` or `epoch`, in a process of its own."""
    command = [sys.executable, __file__, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout)


class ThroughTokens(NetFormer):
    """Never forms A."""

    def _forms_attention(self, batch: Batch) -> bool:
        return False


def ridged(rounds: int) -> list[list[str]]:
    """Steps with a ridge, through tokens and as the package makes them."""
    rows = []
    for num_neurons in RIDGED:
        layout = layout_of(num_neurons)
        config = NetFormer.candidates(NetFormer.configure(layout), layout, 10_000)[-1]
        assert config.ridge
        batch = batch_of(num_neurons, 32, config.history)
        models = [ThroughTokens(config, layout), NetFormer(config, layout)]
        models[1].load_state_dict(models[0].state_dict())
        with torch.no_grad():
            one, other = (model(batch).prediction for model in models)
        assert (one - other).abs().max() < 1e-4 * one.abs().max()
        works = [step_of(model, batch) for model in models]
        spent: tuple[list[float], ...] = ([], [])
        for _ in range(5 * rounds + 1):
            for work, each in zip(works, spent, strict=True):
                each.append(cpu_seconds(work))
        slow, fast = (median(each[1:]) for each in spent)
        widths = f"{config.embedding}", f"{1e3 * slow:.1f}", f"{1e3 * fast:.1f}"
        rows.append([str(num_neurons), *widths, f"{slow / fast:.1f} x"])
        print(rows[-1], flush=True)
    return rows


def loop_over(num_frames: int) -> Trainer:
    """The training of a recording of 50 neurons."""
    data = np.random.default_rng(0).normal(size=(num_frames, 50)).astype(np.float32)
    recording = Recording(
        session_id="noise",
        neurons=Neurons(pd.DataFrame({"id": np.arange(50)}), "roi"),
        activity=Traces(data, np.arange(num_frames) / 10, "dff"),
        source=Source("noise", "noise"),
    )
    made = build_task(recording, "netformer", seed=0, options=OPTIONS | {"epochs": 1000})
    cpu = torch.device("cpu")
    return Trainer(made.model_class, made.config, made.layout, made.windows, seed=0, device=cpu)


def epoch_peak(num_frames: int) -> dict[str, float]:
    """MB at the peak of an epoch, above the process with the recording."""
    torch.set_num_threads(1)
    loop = loop_over(num_frames)
    before = machine.forget_peak()
    loop.epoch_of_updates()
    return {"MB": machine.peak() - before}


def epochs(rounds: int) -> str:
    """CPU seconds of an epoch over each length, in turns; of the longer one the loader's share."""
    loops = [loop_over(num_frames) for num_frames in FRAMES]
    spent: tuple[list[float], ...] = ([], [])
    for _ in range(rounds + 1):
        for loop, each, times in zip(loops, spent, (10, 1), strict=True):
            each.append(cpu_seconds(lambda k=times, one=loop: repeat(one, k)) / times)
    short, long = (median(each[1:]) for each in spent)
    ratio = median(b / a for a, b in zip(*(each[1:] for each in spent), strict=True))
    windows = [loop.windows.num_batches("train", 1) for loop in loops]

    def load() -> None:
        for _ in loops[1].windows.batches("train", loops[1].config.batch_size, loops[1].generator):
            pass

    peaks = [elsewhere("--epoch", num_frames)["MB"] for num_frames in FRAMES]
    return (
        f"An epoch over 50 neurons: {short:.2f} CPU s for {FRAMES[0]:,} frames ({windows[0]:,} "
        f"windows), {long:.2f} for {FRAMES[1]:,} ({windows[1]:,} windows): {ratio:.1f} x, the "
        f"median of {rounds} turns. Peak above the process with the recording: {peaks[0]:.0f} and "
        f"{peaks[1]:.0f} MB. The loader takes {100 * cpu_seconds(load) / long:.0f} % of an epoch."
    )


def repeat(loop: Trainer, times: int) -> None:
    for _ in range(times):
        loop.epoch_of_updates()


def cell_type_seconds(num_neurons: int = 527, num_types: int = 4) -> float:
    """CPU seconds per window of the K x K cell-type means, without N x N."""
    width = OPTIONS["history"] + OPTIONS["embedding"]
    queries, keys = torch.randn(2, 64, num_neurons, width)
    member = F.one_hot(torch.arange(num_neurons) % num_types).float()  # (N, K)

    def means() -> Tensor:
        return (member.T @ queries) @ (member.T @ keys).mT

    means()
    return min(cpu_seconds(means) for _ in range(5)) / len(queries)


def stored_cell_type_seconds(num_neurons: int = 527, num_types: int = 4) -> float:
    """The same from the stored form, queries and keys computed on the way."""
    model, num_frames = model_of(num_neurons), 600
    activity = np.random.default_rng(0).normal(size=(num_frames, num_neurons))
    last = np.arange(OPTIONS["history"], num_frames)
    arrays = {"activity": activity.astype(np.float32), "last": last}
    arrays |= {name: value.numpy() for name, value in model.connectivity().items()}
    form = NetFormerForm(arrays, {name: arrays[name] for name in ("context", "scale")})
    member = np.eye(num_types, dtype=np.float32)[np.arange(num_neurons) % num_types]
    windows = np.arange(len(last))
    return cpu_seconds(lambda: form.groups(windows, member)) / len(last)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most-neurons", type=int, default=LARGEST)
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--epoch", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if arguments.peak:
        form, num_neurons, num_steps = arguments.peak
        print(json.dumps(peak(form, int(num_neurons), int(num_steps))))
        return
    if arguments.epoch:
        print(json.dumps(epoch_peak(arguments.epoch)))
        return
    difference = largest_difference()
    print(f"largest difference of predictions: {difference:.1e}", flush=True)
    assert difference < 1e-4
    timed = steps(arguments.rounds, arguments.most_neurons)
    held = []
    for num_neurons in MEMORY:
        if num_neurons <= arguments.most_neurons:
            megabytes = [
                elsewhere("--peak", form, num_neurons, 1)["MB"] for form in ("textbook", "here")
            ]
            held.append([str(num_neurons), *(f"{value:.0f}" for value in megabytes)])
            print(held[-1], flush=True)
    large = elsewhere("--peak", "here", LARGEST, 3)
    formed = ridged(arguments.rounds)
    lengths = epochs(3 * arguments.rounds)
    text = (
        f"NetFormer, H 59, E 30, float32, one thread; median of {arguments.rounds} steps. With the "
        f"same weights both forms predict the same to {difference:.1e}.\n\n"
        + table(["neurons", "batch", "textbook, CPU s", "here, CPU s", "faster"], timed)
        + "\n\nPeak memory of a step with a batch of 4, MB.\n\n"
        + table(["neurons", "textbook", "here"], held)
        + f"\n\n{LARGEST:,} neurons, batch of 4: {large['seconds']:.2f} CPU s a step, "
        f"{large['MB']:.0f} MB.\n\nMeans over pairs of 4 cell types, 527 neurons: "
        f"{1e3 * cell_type_seconds():.3f} ms a window given queries and keys, "
        f"{1e3 * stored_cell_type_seconds():.2f} ms from the stored form.\n\nWith a ridge and the "
        "defaults of long recordings, batch of 32, CPU ms of a step through tokens and through a "
        "formed A, with the same predictions. (From 173 neurons on, the ridge through tokens sees "
        "every fourth window.)\n\n"
        + table(["neurons", "embedding", "tokens", "A", "faster"], formed)
        + f"\n\n{lengths}"
    )
    publish("netformer_speed", text)


if __name__ == "__main__":
    main()
