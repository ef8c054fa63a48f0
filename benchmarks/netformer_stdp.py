"""NetFormer on synapses that change with the timing of spikes, beside a null of exchanged labels.

    python benchmarks/netformer_stdp.py [--seeds K] [--steps N] [--epochs N]

The neuron of `sample:stdp`: integrate-and-fire, 100 plastic inputs, 100,000 steps of 1 ms; the same
recording for every seed, its inputs drawn from the published seed. The published protocol: 101
tokens (the voltage z-scored on the first 80 % of steps; input spikes as 0 and 1, acting on the next
voltage), five steps of history, the voltage alone predicted, mean squared error, Adam .005, 20
epochs of batches of 64 on the first 80 %. Nothing is chosen.

R2 and MSE of the voltage's next step are of the last 20 %. The attention of the voltage to each
input over all steps and the true conductances are smoothed with a box of 10,000 steps (whole boxes
only); `median r` is the median over synapses of their correlation over time. The null exchanges the
labels of synapses 1,000 times. Only the voltage's row of the model is computed, which is the same
function in a quarter of the time (see `voltage_row`). "lagged regression" is least squares on the
same five steps of all tokens; it has no time course.
"""

import argparse
import math

import numpy as np
import torch
from machine import finished, publish, table
from scipy import stats
from torch import Tensor

from nwbdyn.metrics import pearson, r2
from nwbdyn.models.base import Batch, Layout
from nwbdyn.models.netformer import NetFormer
from nwbdyn.simulate.stdp import INPUT_RATE, STEP, simulate

NUM_INPUTS = 100
PUBLISHED_SEED = 2020  # of the input spikes
TRAIN = 0.8
BOX = 10_000  # steps
STRIDE = 100  # steps between the smoothed values that are correlated
NUM_PERMUTATIONS = 1000
PUBLISHED = (".0546", ".912", ".608 (.577-.656)")


class Neuron:
    """The recording: tokens (num_steps, 101), the voltage first, and true conductances."""

    def __init__(self, steps: int) -> None:
        random = np.random.RandomState(PUBLISHED_SEED)
        spikes = random.rand(NUM_INPUTS, steps).T < INPUT_RATE * STEP
        voltage, self.conductances, _ = simulate(spikes)
        tokens = np.column_stack([voltage, spikes]).astype(np.float32)
        self.cut = int(TRAIN * steps)
        voltage = tokens[: self.cut, 0]
        tokens[:, 0] = (tokens[:, 0] - voltage.mean()) / voltage.std()
        self.tokens = torch.from_numpy(tokens)
        num_tokens = tokens.shape[1]
        self.layout = Layout(
            neuron_ids={"0": tuple(range(num_tokens))},
            held_in={"0": (True,) * num_tokens},
            bin_width=STEP,
            quantity="dff",
        )

    def windows(self, last: torch.Tensor, history: int) -> Batch:
        """Windows that end at these steps, and the step after each."""
        rows = last[:, None] + torch.arange(1 - history, 1)
        target = self.tokens[last + 1][:, None]
        return Batch(
            activity=self.tokens[rows],
            target=target,
            valid=torch.ones_like(target, dtype=torch.bool),
            held_in=torch.ones(target.shape[2], dtype=torch.bool),
            neuron_ids=torch.arange(target.shape[2]),
            covariates=torch.zeros(len(last), history, 0),
            start_bin=rows[:, 0],
        )

    def regression(self, history: int) -> tuple[float, float]:
        """MSE and R2 of least squares on the same steps."""
        steps = np.arange(history - 1, len(self.tokens) - 1)
        tokens = self.tokens.numpy()
        x = np.concatenate([tokens[steps - lag] for lag in range(history)], axis=1)
        x = np.concatenate([x, np.ones_like(x[:, :1])], axis=1)
        y = tokens[steps + 1, 0]
        train = steps + 1 < self.cut
        gram, moment = x[train].T @ x[train], x[train].T @ y[train]
        predicted = x[~train] @ np.linalg.lstsq(gram, moment, rcond=None)[0]
        return scores(y[~train], predicted)


def scores(truth: np.ndarray, predicted: np.ndarray) -> tuple[float, float]:
    """Mean squared error and R2."""
    return float(((truth - predicted) ** 2).mean()), r2(truth[:, None], predicted[:, None])


def smoothed(values: np.ndarray) -> np.ndarray:
    """Means of BOX steps, one every STRIDE steps; along the first axis."""
    total = np.concatenate([np.zeros_like(values[:1]), values]).cumsum(0, dtype=np.float64)
    box = min(BOX, len(values) // 2)
    return (total[box:] - total[:-box])[::STRIDE] / box


def voltage_row(model: NetFormer, activity: Tensor) -> tuple[Tensor, Tensor]:
    """The voltage's prediction (B,) and its attention to every token (B, M).

    The same as `model(batch)` and `model.attention(batch)` give for neuron 0. With z_j = w (t_j -
    mean_j) / sd_j + b for the token t_j = [x_j; e_j] and g = Wk^T q_0, the product z_j . g needs
    x_j . (w g), e_j . (w g), mean_j and sd_j: no (B, M, d) array of tokens is made.
    """
    norm, norm_out, embedding = model.norm_in, model.norm_out, model.embedding
    assert norm is not None
    assert norm_out is not None
    x = activity.mT  # (B, M, H)
    history, width = x.shape[2], x.shape[2] + embedding.shape[1]
    mean = (x.sum(-1) + embedding.sum(-1)) / width  # (B, M)
    squares = ((x**2).sum(-1) + (embedding**2).sum(-1)) / width
    inverse = torch.rsqrt(squares - mean**2 + norm.eps)
    own = torch.cat([x[:, 0], embedding[0].expand(len(x), -1)], dim=1)
    g = norm(own) @ model.query.T @ model.key  # (B, d)
    weighted = norm.weight * g
    product = (x @ weighted[:, :history, None])[..., 0] + weighted[:, history:] @ embedding.T
    product = inverse * (product - mean * weighted.sum(1, keepdim=True))
    attention = model.scale * (product + (g @ norm.bias)[:, None])
    values = (x - mean[..., None]) * inverse[..., None] * norm.weight[:history]
    values = values + norm.bias[:history]
    u = values[:, 0] + (attention[:, None] @ values)[:, 0]
    return norm_out(u)[:, -1], attention


def compete(neuron: Neuron, seed: int, epochs: int) -> dict[str, np.ndarray | float]:
    """MSE, R2, and the attention of the voltage to every input at every step."""
    config = NetFormer.configure(neuron.layout, preset="stdp", queries=(0,), epochs=epochs)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = NetFormer(config, neuron.layout)
    optimiser = torch.optim.Adam(model.parameters(), config.learning_rate)
    generator = torch.Generator().manual_seed(seed)
    last = torch.arange(config.history - 1, neuron.cut - 1)
    for _ in range(epochs):
        for rows in last[torch.randperm(len(last), generator=generator)].split(config.batch_size):
            optimiser.zero_grad()
            batch = neuron.windows(rows, config.history)
            guess, _ = voltage_row(model, batch.activity)
            ((guess - batch.target[:, 0, 0]) ** 2).mean().backward()
            optimiser.step()
    every = torch.arange(config.history - 1, len(neuron.tokens) - 1)
    predictions, attention = [], []
    with torch.no_grad():
        for rows in every.split(1000):
            row = voltage_row(model, neuron.windows(rows, config.history).activity)
            predictions.append(row[0].numpy())
            attention.append(row[1][:, 1:].numpy())
    predicted = np.concatenate(predictions)
    test = (every + 1 >= neuron.cut).numpy()
    error, explained = scores(neuron.tokens[every + 1, 0].numpy()[test], predicted[test])
    truth = smoothed(neuron.conductances[every.numpy()])
    return {
        "mse": error,
        "r2": explained,
        "course": smoothed(np.concatenate(attention)),
        "truth": truth,
    }


def null(course: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(NUM_PERMUTATIONS,) median r with the synapses' labels exchanged."""
    both = np.corrcoef(course.T, truth.T)[: course.shape[1], course.shape[1] :]
    random = np.random.default_rng(0)
    orders = (random.permutation(len(both)) for _ in range(NUM_PERMUTATIONS))
    return np.array([np.median(both[np.arange(len(both)), order]) for order in orders])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=20)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    neuron = Neuron(chosen.steps)
    simple = neuron.regression(5)
    rows: list[list[object]] = [
        ["published", *PUBLISHED, "-.04, .30"],
        ["lagged regression", *(f"{value:.4f}" for value in simple), "", ""],
    ]
    medians: list[float] = []
    explained: list[float] = []
    for seed in range(chosen.seeds):
        part = f"{seed}-{chosen.steps}-{chosen.epochs}"
        result = finished(part, compete, neuron, seed, chosen.epochs)
        medians.append(float(np.median(pearson.per_neuron(result["truth"], result["course"]))))
        explained.append(result["r2"])
        chance = null(result["course"], result["truth"])
        rows.append(
            [
                f"NetFormer, seed {seed}",
                f"{result['mse']:.4f}",
                f"{result['r2']:.4f}",
                f"{medians[-1]:.3f}",
                f"{np.median(chance):.2f}, {np.quantile(chance, 0.975):.2f}",
            ]
        )
        lines = list(rows)
        if len(medians) > 1:
            lines.append(
                ["**mean, 95 % interval of one more seed**", "", *intervals(explained, medians), ""]
            )
        header = ["fit", "MSE", "R2", "median r", "exchanged labels: median, 97.5 %"]
        publish("netformer_stdp", table(header, lines))


def intervals(*columns: list[float]) -> list[str]:
    cells = []
    for values in columns:
        count = len(values)
        spread = float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / count)
        half = float(stats.t.ppf(0.975, count - 1)) * spread
        mean = float(np.mean(values))
        cells.append(f"{mean:.3f}, {mean - half:.3f} to {mean + half:.3f}")
    return cells


if __name__ == "__main__":
    main()
