"""How often the interval beside a score holds what an endless test would give.

    python benchmarks/intervals.py [--recordings K]

Recordings whose predictions are known beforehand (a decaying trace predicted by its last value,
rightly and with a wrong decay), so that the score of an endless test is known too: one of 200,000
frames. Short tests of a few blocks are drawn from the same process, and blocks as long as a fit
would make them (twice the memory) give the interval of the score and of its difference from that
of the other prediction. Percentiles of the same draws stand beside what `metrics` does with them.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from machine import publish, table

from nwbdyn import metrics
from nwbdyn.evaluation import blocks
from nwbdyn.metrics import r2

DECAY, WRONG = 0.85, 0.95  # of what was there a frame before
NEURONS = 20
Process = Callable[[int, int, np.random.Generator], np.ndarray]
Interval = tuple[float, float]


def calcium(frames: int, neurons: int, random: np.random.Generator) -> np.ndarray:
    """Rare events of uneven size, half of them shared by half of the neurons, and noise."""
    alone = random.random((frames, neurons)) < 0.01
    together = (random.random((frames, 1)) < 0.01) & (random.random((frames, neurons)) < 0.5)
    events = (alone | together) * random.lognormal(0, 1, (frames, neurons))
    return decaying(events) + 0.05 * random.normal(size=events.shape)


def smooth(frames: int, neurons: int, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise, half of it shared, that decays."""
    return decaying(random.normal(size=(frames, neurons)) + random.normal(size=(frames, 1)))


def decaying(events: np.ndarray) -> np.ndarray:
    values = np.zeros_like(events)
    for frame in range(1, len(events)):
        values[frame] = DECAY * values[frame - 1] + events[frame]
    return values


def predicted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The frames from the second on, and two predictions of them."""
    return values[1:], DECAY * values[:-1], WRONG * values[:-1]


def scored(values: np.ndarray) -> tuple[float, float]:
    """R2 of the right prediction, and how much better it is than the other."""
    true, right, wrong = predicted(values)
    return r2(true, right), r2(true, right) - r2(true, wrong)


def intervals(values: np.ndarray, length: int, seed: int) -> dict[str, tuple[Interval, Interval]]:
    """By method: of the score, and of the difference."""
    true, right, wrong = predicted(values)
    numbers = metrics.time_blocks(len(true), length)
    ours = metrics.resampled(r2, true, (right,), numbers, 1000, seed)
    theirs = metrics.resampled(r2, true, (wrong,), numbers, 1000, seed)
    return {
        "percentiles": (percentiles(ours), percentiles(ours - theirs)),
        "symmetric, as in a fit": (
            metrics.block_interval(r2, true, right, blocks=numbers, seed=seed),
            metrics.difference_interval(r2, true, right, wrong, blocks=numbers, seed=seed),
        ),
    }


def percentiles(draws: np.ndarray) -> Interval:
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=int, default=300)
    number = parser.parse_args().recordings
    begun = time.process_time()
    rows = []
    processes: dict[str, Process] = {"rare events": calcium, "smooth": smooth}
    for name, make in processes.items():
        truth = scored(make(200_000, 4, np.random.default_rng(0)))
        length = 2 * blocks.memory(make(2_000, NEURONS, np.random.default_rng(1)))
        for count in (10, 20, 50, 100):
            result: dict[str, list[tuple[bool, bool]]] = {}
            for seed in range(number):
                random = np.random.default_rng([count, seed])
                values = make(count * length + 1, NEURONS, random)
                for method, pair in intervals(values, length, seed).items():
                    holds = [low <= t <= high for t, (low, high) in zip(truth, pair, strict=True)]
                    result.setdefault(method, []).append((holds[0], holds[1]))
            for method, both in result.items():
                score, difference = np.mean(both, axis=0)
                rows.append([name, count, method, f"{score:.2f}", f"{difference:.2f}"])
                print(*rows[-1], flush=True)
    publish(
        "intervals",
        f"Share of {number} short tests whose 95 % interval holds R2 of an endless test, and its "
        f"difference between two predictions; {NEURONS} neurons, blocks of twice the memory.\n\n"
        + table(["recording", "blocks", "interval", "R2", "difference"], rows)
        + f"\n\n{time.process_time() - begun:.0f} s of CPU in all.",
    )


if __name__ == "__main__":
    main()
