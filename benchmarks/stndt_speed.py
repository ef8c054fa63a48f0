"""One training update of STNDT beside the published form, on one CPU thread, four benchmark shapes.

    python benchmarks/stndt_speed.py [--shapes NAME …] [--updates K]

The reference is the published form in plain, well-kept torch: its own attention modules, the whole
spatial attention though only the map is used, two more passes of the encoder for the contrasted
views, separate draws for mask, token, random and count, and `nn.Dropout`. Given the same weights,
both forms have to give the same log rates first. Then single updates of both take turns in one
process. Times are CPU time, the median over updates, because that does not count what other
programs take; memory is the peak of two updates in a process of their own, above what it held
before the model was made.
"""

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import machine
import torch
from machine import publish, table
from torch import Tensor, nn
from torch.nn import functional as F

from nwbdyn.models.base import Batch, Layout
from nwbdyn.models.stndt import STNDT

# neurons held in and held out, observed and forward bins, layers, heads
SHAPES = {
    "MC_Maze": (137, 45, 140, 40, 4, 2),
    "MC_RTT": (98, 32, 120, 40, 4, 2),
    "Area2_Bump": (49, 16, 120, 40, 4, 1),
    "DMFC_RSG": (40, 14, 300, 40, 6, 2),
}
WINDOWS = 64
FORMS = ("published", "here")


class PublishedLayer(nn.Module):
    def __init__(self, bins: int, neurons: int, heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(neurons) for _ in range(4))
        self.spatial_norm = nn.LayerNorm(bins)
        self.temporal = nn.MultiheadAttention(neurons, heads, dropout=0.1, batch_first=True)
        self.spatial = nn.MultiheadAttention(bins, heads, batch_first=True)
        self.feed = nn.ModuleList(
            nn.Sequential(
                nn.Linear(neurons, 128), nn.ReLU(), nn.Dropout(0.1), nn.Linear(128, neurons)
            )
            for _ in range(2)
        )
        self.drop = nn.Dropout(0.1)

    def forward(self, h: Tensor, s: Tensor, hidden: Tensor) -> Tensor:
        a = self.norms[0](h)
        h = h + self.drop(self.temporal(a, a, a, attn_mask=hidden, need_weights=False)[0])
        h = h + self.drop(self.feed[0](self.norms[1](h)))
        s = self.spatial_norm(s)
        _, map = self.spatial(s, s, s)
        h = h + self.drop((map @ self.norms[2](h).mT).mT)
        return h + self.drop(self.feed[1](self.norms[3](h)))


class Published(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        held_in, held_out, observed, ahead, layers, heads = shape
        self.held_in, self.observed = held_in, observed
        self.bins, self.neurons = observed + ahead, held_in + held_out
        self.embed_time = nn.Linear(self.neurons, self.neurons)
        self.embed_neurons = nn.Linear(self.bins, self.bins)
        self.layers = nn.ModuleList(
            PublishedLayer(self.bins, self.neurons, heads) for _ in range(layers)
        )
        self.norm, self.decode = nn.LayerNorm(self.neurons), nn.Linear(self.neurons, self.neurons)
        self.drop = nn.Dropout(0.2)
        offset = torch.arange(self.bins) - torch.arange(self.bins)[:, None]
        self.hidden = torch.zeros(self.bins, self.bins).masked_fill(
            (offset < -8) | (offset > 4), -math.inf
        )
        self.time_code = torch.randn(self.bins, self.neurons)
        self.neuron_code = torch.randn(self.neurons, self.bins)

    def encode(self, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        time = self.embed_time(counts) * math.sqrt(self.neurons)
        neurons = self.embed_neurons(counts.mT) * math.sqrt(self.bins)
        h, s = self.drop(time + self.time_code), self.drop(neurons + self.neuron_code)
        for layer in self.layers:
            h = layer(h, s, self.hidden)
            s = h.mT
        return self.decode(self.drop(self.norm(h))), time, neurons

    def corrupt(self, counts: Tensor, ratio: float, token: float) -> tuple[Tensor, Tensor]:
        visible = counts[:, : self.observed, : self.held_in].clone()
        masked = torch.bernoulli(torch.full(visible.shape, ratio)).bool()
        zeroed = torch.bernoulli(torch.full(visible.shape, token)).bool() & masked
        random = torch.bernoulli(torch.full(visible.shape, 0.5)).bool() & masked & ~zeroed
        integers = torch.randint(int(visible.max()), visible.shape).float()
        visible[zeroed] = 0
        visible[random] = integers[random]
        ahead, held_out = self.bins - self.observed, self.neurons - self.held_in
        padding = (0, held_out, 0, ahead)
        return F.pad(visible, padding), F.pad(masked, padding, value=True)

    def loss(self, counts: Tensor) -> Tensor:
        masked, scored = self.corrupt(counts, 0.25, 1.0)
        first, _ = self.corrupt(counts, 0.05, 0.5)
        second, _ = self.corrupt(counts, 0.05, 0.5)
        log_rate, _, _ = self.encode(masked)
        _, *first_views = first_pass = self.encode(first)  # as published, kept until the end
        _, *second_views = second_pass = self.encode(second)
        loss = F.poisson_nll_loss(log_rate, counts, reduction="none")[scored].mean()
        for pair in zip(first_views, second_views, strict=True):
            unit = F.normalize(torch.cat(pair).flatten(1), dim=1)
            similarity = (unit @ unit.T / 0.07).fill_diagonal_(-math.inf)
            partner = torch.arange(len(unit)).roll(len(unit) // 2)
            loss = loss + 0.1 * F.cross_entropy(similarity, partner)
        del first_pass, second_pass
        return loss


def model_of(shape: tuple[int, ...]) -> STNDT:
    held_in, held_out, observed, ahead, layers, heads = shape
    neurons = held_in + held_out
    layout = Layout(
        neuron_ids={"0": tuple(range(neurons))},
        held_in={"0": tuple(n < held_in for n in range(neurons))},
        bin_width=0.005,
        quantity="counts",
        trial_bins=(observed, ahead),
    )
    return STNDT(STNDT.configure(layout, layers=layers, heads=heads), layout)


def batch_of(shape: tuple[int, ...], windows: int) -> Batch:
    held_in, held_out, observed, ahead = shape[:4]
    bins, neurons = observed + ahead, held_in + held_out
    counts = torch.poisson(torch.full((windows, bins, neurons), 0.07))
    activity = counts.clone()
    activity[:, observed:] = 0
    activity[..., held_in:] = 0
    return Batch(
        activity=activity,
        target=counts,
        valid=torch.ones_like(counts, dtype=torch.bool),
        held_in=torch.arange(neurons) < held_in,
        neuron_ids=torch.arange(neurons),
        covariates=counts.new_zeros(windows, bins, 0),
        start_bin=torch.arange(windows),
        generator=torch.Generator().manual_seed(0),
    )


@torch.no_grad()
def same_weights(published: Published, model: STNDT) -> None:
    """Give the published form the weights of the package's model."""
    pairs: list[tuple[nn.Module, nn.Module]] = [
        (published.embed_time, model.embed_time),
        (published.embed_neurons, model.embed_neurons),
        (published.norm, model.norm),
        (published.decode, model.decode),
    ]
    published.time_code, published.neuron_code = model.time_code, model.neuron_code
    for plain, layer in zip(published.layers, model.layers, strict=True):
        norms = (layer.norm_time, layer.after_time.norm, layer.norm_value, layer.after_space.norm)
        pairs += zip(plain.norms, norms, strict=True)
        pairs += [(plain.spatial_norm, layer.map.norm), (plain.temporal.out_proj, layer.time.mix)]
        for feed, own in zip(plain.feed, (layer.after_time, layer.after_space), strict=True):
            pairs += [(feed[0], own.widen), (feed[3], own.narrow)]
        plain.temporal.in_proj_weight.copy_(layer.time.project.weight)
        plain.temporal.in_proj_bias.copy_(layer.time.project.bias)
        rows = len(layer.map.project.weight)  # queries and keys; there are no values
        plain.spatial.in_proj_weight[:rows] = layer.map.project.weight
        plain.spatial.in_proj_bias[:rows] = layer.map.project.bias
    for ours, theirs in pairs:
        ours.load_state_dict(theirs.state_dict())


@torch.no_grad()
def largest_difference(name: str) -> float:
    """Between the log rates of both forms with the same weights, two windows."""
    model, published = model_of(SHAPES[name]).eval(), Published(SHAPES[name]).eval()
    same_weights(published, model)
    batch = batch_of(SHAPES[name], 2)
    log_rate = model(batch).log_rate
    assert log_rate is not None
    return float((published.encode(batch.activity)[0] - log_rate).abs().max())


def update_of(name: str, form: str) -> Callable[[], None]:
    """One training update of a form."""
    batch = batch_of(SHAPES[name], WINDOWS)
    if form == "here":
        model = model_of(SHAPES[name])
        loss: Callable[[], Tensor] = lambda: model.loss(batch, model(batch))  # noqa: E731
        parameters = list(model.parameters())
    else:
        published = Published(SHAPES[name])
        loss = lambda: published.loss(batch.target)  # noqa: E731
        parameters = list(published.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=5e-5)

    def update() -> None:
        optimiser.zero_grad()
        loss().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 200.0)
        optimiser.step()

    return update


def peak(name: str, form: str) -> float:
    """MB of two updates above the process before the model."""
    before = machine.forget_peak()
    update = update_of(name, form)
    update()
    update()
    return machine.peak() - before


def elsewhere(name: str, form: str) -> float:
    """`peak` in a process of its own."""
    command = [sys.executable, __file__, "--peak", name, form]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout)


def milliseconds(name: str, updates: int) -> dict[str, float]:
    """CPU milliseconds of the median update of both forms, taking turns."""
    forms = {form: update_of(name, form) for form in FORMS}
    spent: dict[str, list[float]] = {form: [] for form in FORMS}
    for _ in range(updates + 1):
        for form, update in forms.items():
            begun = time.process_time()
            update()
            spent[form].append(1e3 * (time.process_time() - begun))
    return {form: median(each[1:]) for form, each in spent.items()}  # the first one warms up


def measure(name: str, updates: int) -> list[str]:
    """One row of the table."""
    mb = {form: elsewhere(name, form) for form in FORMS}
    ms = milliseconds(name, updates)
    row = [name, f"{ms['published']:.0f}", f"{ms['here']:.0f}"]
    row += [f"{ms['published'] / ms['here']:.2f} x"]
    row += [f"{mb['published']:.0f}", f"{mb['here']:.0f}", f"{mb['here'] / mb['published']:.2f} x"]
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--updates", type=int, default=3)
    parser.add_argument("--peak", nargs=2, metavar=("SHAPE", "FORM"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    if arguments.peak:
        print(peak(*arguments.peak))
        return
    differences = [largest_difference(name) for name in arguments.shapes]
    print("largest differences of log rates:", differences, flush=True)
    assert max(differences) < 1e-3
    rows = []
    for name in arguments.shapes:
        rows.append(measure(name, arguments.updates))
        print(rows[-1], flush=True)
    header = ["shape", "published, ms", "here, ms", "faster", "published, MB", "here, MB", "memory"]
    text = (
        f"One update of STNDT, batch {WINDOWS}, one CPU thread, float32; median CPU time of "
        f"{arguments.updates} updates. With the same weights the log rates of both forms differ by "
        f"at most {max(differences):.1e}.\n\n"
    )
    publish("stndt_speed", text + table(header, rows))


if __name__ == "__main__":
    main()
