"""K seeds of one model as one stacked program, beside K fits one after another.

    python benchmarks/stacked_seeds.py [--rounds R] [--seeds 8 32]

The reference is `training.train`, one seed at a time. Its optimiser is torch's fused AdamW, so that
the stack takes no credit for its own. First both train five seeds in float64 and have to end with
equal weights. Then a single fit and the stacks take turns, `--rounds` times; every fit includes its
start, validation and finish. Times are CPU time of this process on one thread, so that what other
programs take does not count; the table has the medians.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import pandas as pd
import torch
from machine import publish, table

from nwbdyn.fitting.task import FitTask, build_task
from nwbdyn.models.base import Model
from nwbdyn.recording import Neurons, Recording, Source, SpikeTimes, Traces
from nwbdyn.training.batched import BatchedModel, max_batch_of_models, train_batched
from nwbdyn.training.trainer import train

CPU = torch.device("cpu")
NUM_FRAMES = 1000


@dataclass(frozen=True)
class Case:
    """One model at one size."""

    name: str
    model: str
    num_neurons: int
    epochs: int
    options: dict[str, object] = field(default_factory=dict)


STNDT = {"context": 50, "layers": 2, "feedforward": 32}
TASK = {"preset": "task_pdm"}
CASES = (
    Case("NetFormer, task preset", "netformer", 7, 30, TASK),
    Case("NetFormer, task preset", "netformer", 14, 30, TASK),
    Case("NetFormer, traces", "netformer", 7, 20, {"ridge": 3e3}),
    Case("NetFormer, traces", "netformer", 14, 20, {"ridge": 3e3}),
    Case("SynapsNet", "synapsnet", 7, 30),
    Case("SynapsNet", "synapsnet", 14, 30),
    Case("STNDT, batches of 16", "stndt", 12, 4, STNDT | {"batch_size": 16}),
    Case("STNDT, batches of 56", "stndt", 12, 4, STNDT | {"batch_size": 56}),
    Case("NetFormer, traces", "netformer", 50, 1, {"ridge": 3e3}),
    Case("SynapsNet", "synapsnet", 50, 2),
    Case("NetFormer, traces", "netformer", 150, 1, {"ridge": 3e3}),
)


def noise(num_neurons: int) -> Recording:
    """Traces of noise at 10 Hz: what they are does not change the time of an update."""
    data = np.random.default_rng(0).normal(size=(NUM_FRAMES, num_neurons)).astype(np.float32)
    return Recording(
        session_id="noise",
        neurons=Neurons(pd.DataFrame({"id": np.arange(num_neurons)}), "roi"),
        activity=Traces(data, np.arange(NUM_FRAMES) / 10, "dff"),
        source=Source("noise", "noise"),
    )


def spikes(num_neurons: int) -> Recording:
    """Spikes at 10 Hz, four bins of 20 ms for every frame of `noise`."""
    seconds = 0.08 * NUM_FRAMES
    times = [
        np.sort(rng.uniform(0, seconds, round(10 * seconds)))
        for rng in map(np.random.default_rng, range(num_neurons))
    ]
    return Recording(
        session_id="spikes",
        neurons=Neurons(pd.DataFrame({"id": np.arange(num_neurons)}), "unit"),
        activity=SpikeTimes(
            np.concatenate(times),
            np.cumsum([len(each) for each in times]),
            intervals=np.array([[0.0, seconds]]),
        ),
        source=Source("spikes", "spikes"),
    )


def problem_of(case: Case) -> FitTask:
    options = case.options | {"epochs": case.epochs, "updates": None, "patience": 1000}
    recording = (spikes if case.model == "stndt" else noise)(case.num_neurons)
    return build_task(recording, case.model, seed=0, options=options)


def fused(model_class: type[Model]) -> type[Model]:
    """The model with torch's fused AdamW."""

    class Fused(model_class):  # type: ignore[misc, valid-type]
        def optimiser(self, num_updates: int, updates_per_epoch: int):
            optimiser, schedule = super().optimiser(num_updates, updates_per_epoch)
            optimiser.param_groups[0]["fused"] = True
            return optimiser, schedule

    return Fused


def members(problem: FitTask, number: int) -> list[BatchedModel]:
    return [BatchedModel(problem.config, problem.windows, seed) for seed in range(number)]


def single(problem: FitTask, model_class: type[Model], seed: int = 0) -> Model:
    return train(
        model_class, problem.config, problem.layout, problem.windows, seed=seed, device=CPU
    ).model


def stacked(problem: FitTask, number: int) -> list[Model]:
    found = train_batched(
        problem.model_class, problem.layout, members(problem, number), device=CPU, stack=True
    )
    return [one.model for one in found]


def largest_difference(case: Case) -> float:
    """Between the weights of both ways in float64, relative to the largest weight of a tensor."""
    torch.set_default_dtype(torch.float64)
    try:
        problem = problem_of(case)
        for name in ("_values", "_inputs", "_mean", "_sd", "_covariates"):
            setattr(problem.windows, name, getattr(problem.windows, name).double())
        worst = 0.0
        for seed, model in enumerate(stacked(problem, 5)):
            wanted = single(problem, problem.model_class, seed).state_dict()
            for name, value in model.state_dict().items():
                if value.numel():
                    scale = float(wanted[name].abs().max().clamp(min=1e-300))
                    worst = max(worst, float((value - wanted[name]).abs().max()) / scale)
        return worst
    finally:
        torch.set_default_dtype(torch.float32)


def cpu_seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measure(case: Case, seeds: list[int], rounds: int) -> list[str]:
    """One row of the table."""
    problem = problem_of(case)
    reference = fused(problem.model_class)
    single(problem, reference)  # warms up
    alone: list[float] = []
    together: dict[int, list[float]] = {number: [] for number in seeds}
    for _ in range(rounds):
        for number in seeds:
            alone.append(cpu_seconds(lambda: single(problem, reference)))
            together[number].append(cpu_seconds(lambda k=number: stacked(problem, k)))
    one = median(alone)
    shares = [median(together[number]) / (number * one) for number in seeds]
    rule = max_batch_of_models(members(problem, 1)[0], problem.layout, CPU)
    return [
        case.name,
        str(case.num_neurons),
        f"{1e3 * one:.0f}",
        *(f"{share:.2f}" for share in shares),
        "one by one" if rule == 1 else f"up to {rule}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[8, 32])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most-neurons", type=int, default=1000, help="leave larger cases out")
    parser.add_argument("--dry", action="store_true", help="print the rows, publish nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    equal = [largest_difference(case) for case in CASES if case.num_neurons <= 12]
    print(f"largest relative difference of weights in float64: {max(equal):.1e}", flush=True)
    assert max(equal) < 1e-8
    rows = []
    for case in CASES:
        if case.num_neurons <= arguments.most_neurons:
            rows.append(measure(case, arguments.seeds, arguments.rounds))
            print(rows[-1], flush=True)
    if arguments.dry:
        return
    header = ["model", "neurons", "one fit, ms"]
    header += [f"{number} seeds / {number} fits" for number in arguments.seeds]
    text = (
        "CPU time of K seeds as one program over K times that of one fit (fused AdamW), one thread,"
        f" {NUM_FRAMES} frames of noise (STNDT: spikes, in windows of 50 bins); median "
        f"of {arguments.rounds} rounds. Weights of both ways "
        f"in float64 differ by at most {max(equal):.1e} of the largest. The last column is what "
        "`train_all` does unasked.\n\n"
    )
    publish("stacked_seeds", text + table([*header, "by default"], rows))


if __name__ == "__main__":
    main()
