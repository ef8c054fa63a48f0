"""Speed of training on one GPU: bf16 and a compiler, 50,000 neurons.

    python benchmarks/gpu.py [--parts NAME …] [--rounds R] [--dry-run]

Without a CUDA device it says so and ends with status 1. `--dry-run` goes through every part on the
CPU, at sizes that mean nothing, prints and publishes nothing: it shows that the script runs.

precision: updates of STNDT in float32 over those with `compile`, `precision=bf16` and both; the
validation co-bps of each after equal training on a simulated recording, `--seeds` seeds.
large: an epoch of NetFormer over 50,000 neurons, with its peak memory.

The sides of a ratio take turns, `--rounds` times after one to warm up; seconds are medians of wall
time, waited for until the device is done.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import mean, median, stdev

import numpy as np
import pandas as pd
import torch
from machine import publish, table
from stndt_speed import SHAPES, batch_of, model_of
from torch import Tensor

from nwbdyn import metrics
from nwbdyn.fitting.task import FitTask, build_task
from nwbdyn.inference.readout import predict
from nwbdyn.models.stndt import STNDT
from nwbdyn.recording import Neurons, Recording, Source, Traces
from nwbdyn.request import DataOptions
from nwbdyn.simulate import sample
from nwbdyn.training.trainer import Trainer, train

PRECISIONS: dict[str, dict[str, object]] = {  # options of STNDT
    "float32": {},
    "compile": {"compile": True},
    "bf16": {"precision": "bf16"},
    "bf16 + compile": {"precision": "bf16", "compile": True},
}
LARGE = {"history": 59, "embedding": 30, "ridge": 0.0, "batch_size": 8}


def noise(num_neurons: int, num_frames: int) -> Recording:
    """Traces of noise at 10 Hz."""
    data = np.random.default_rng(0).normal(size=(num_frames, num_neurons)).astype(np.float32)
    return Recording(
        session_id="noise",
        neurons=Neurons(pd.DataFrame({"id": np.arange(num_neurons)}), "roi"),
        activity=Traces(data, np.arange(num_frames) / 10, "dff"),
        source=Source("noise", "noise"),
    )


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Until the device is done."""
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def in_turns(
    works: Sequence[Callable[[], object]], rounds: int, device: torch.device
) -> list[float]:
    """Median seconds of each."""
    spent: list[list[float]] = [[] for _ in works]
    for _ in range(rounds + 1):
        for work, each in zip(works, spent, strict=True):
            each.append(seconds(work, device))
    return [median(each[1:]) for each in spent]


def spiking(dry: bool, **options: object) -> FitTask:
    recording, _ = sample("sample:reach?trials=20" if dry else "sample:reach")
    small = {"layers": 1, "updates": 3} if dry else {}
    return build_task(
        recording,
        "stndt",
        seed=0,
        options={**options, **small},
        data=DataOptions(bin_width=0.02),
    )


def update_of(model: STNDT, name: str, windows: int, device: torch.device) -> Callable[[], None]:
    """One training update of STNDT in a benchmark's shape."""
    batch = batch_of(SHAPES[name], windows)
    tensors = {key: value for key, value in vars(batch).items() if isinstance(value, Tensor)}
    moved = {key: value.to(device) for key, value in tensors.items()}
    batch = type(batch)(**moved, generator=torch.Generator(device).manual_seed(0))
    optimiser = torch.optim.AdamW(model.to(device).parameters(), lr=1e-3)

    def update() -> None:
        optimiser.zero_grad()
        model.loss(batch, model(batch)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 200.0)
        optimiser.step()

    return update


def precision(device: torch.device, rounds: int, dry: bool, num_seeds: int) -> str:
    if dry:
        STNDT.compiler = "eager"  # traced only: writing programs takes a minute
    rows = []
    for name in ("Area2_Bump",) if dry else SHAPES:
        plain = model_of(SHAPES[name])
        works = []
        for options in PRECISIONS.values():
            model = STNDT(replace(plain.config, **options), plain.layout)
            model.load_state_dict(plain.state_dict())
            works.append(update_of(model.train(), name, 2 if dry else 64, device))
        slow, *others = in_turns(works, rounds if dry else 10 * rounds, device)
        faster = [f"{1e3 * one:.2f} ({slow / one:.1f} x)" for one in others]
        rows.append([name, f"{1e3 * slow:.2f}", *faster])
        print(rows[-1], flush=True)
    problem = spiking(dry, updates=600)
    scores = {
        way: [
            co_bps(problem.with_config(replace(problem.config, **options)), seed, device)
            for seed in range(num_seeds)
        ]
        for way, options in PRECISIONS.items()
    }
    reported = [
        f"{way} {mean(result):.3f} (sd {stdev(result):.3f})" for way, result in scores.items()
    ]
    return (
        "One update of STNDT, ms (and how much faster than in float32).\n\n"
        + table(["shape", *PRECISIONS], rows)
        + f"\n\nValidation co-bps of {num_seeds} seeds: {', '.join(reported)}."
    )


def co_bps(problem: FitTask, seed: int, device: torch.device) -> float:
    """Of held-out units in validation bins, after a whole training."""
    windows = problem.windows.to(device)
    fitted = train(
        problem.model_class, problem.config, problem.layout, windows, seed=seed, device=device
    )
    rates = predict(fitted.model, windows)
    rows = problem.split.bins("val") & problem.counted & problem.binned.valid
    rows &= np.isfinite(rates).all(axis=1)
    held_out = problem.held_out
    counts = problem.binned.values[rows][:, held_out].astype(float)
    return metrics.bits_per_spike(counts, rates[rows][:, held_out].astype(float))


def large(device: torch.device, dry: bool) -> str:
    num_neurons = 200 if dry else 50_000
    options = {**LARGE, "epochs": 1, "updates": None}
    problem = build_task(
        noise(num_neurons, 400 if dry else 2000), "netformer", seed=0, options=options
    )
    windows = problem.windows.to(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    loop = Trainer(
        problem.model_class, problem.config, problem.layout, windows, seed=0, device=device
    )
    taken = seconds(loop.epoch_of_updates, device)
    reported = ""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        reported = f", {torch.cuda.max_memory_allocated(device) / 1e9:.1f} of {total / 1e9:.0f} GB"
    return (
        f"NetFormer, {num_neurons:,} neurons, batch of {problem.config.batch_size}: an epoch of "
        f"{loop.step} updates and validation in {taken:.1f} s{reported}."
    )


def main() -> None:
    parts: dict[str, Callable[[], str]] = {
        "precision": lambda: precision(device, chosen.rounds, chosen.dry_run, chosen.seeds),
        "large": lambda: large(device, chosen.dry_run),
    }
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5, help="of the trainings behind co-bps")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, small; no numbers")
    chosen = parser.parse_args()
    if not (torch.cuda.is_available() or chosen.dry_run):
        sys.exit(
            "No CUDA device is available here, so there is nothing to measure. Run this where "
            "there is one, or pass --dry-run to see that it runs."
        )
    device = torch.device("cpu" if chosen.dry_run else "cuda")
    torch.manual_seed(0)
    text = "\n\n".join(parts[name]() for name in chosen.parts)
    if chosen.dry_run:
        print("A dry run on the CPU: these numbers mean nothing.\n\n" + text)
        return
    publish("gpu", f"On one {torch.cuda.get_device_name(device)}.\n\n{text}")


if __name__ == "__main__":
    main()
