"""One training update of STNDT beside the published form, on one CPU thread, four benchmark shapes.

    python benchmarks/stndt_speed.py [--shapes NAME …] [--updates K]

The reference is the published form in plain, well-kept torch: its own attention modules, the whole
spatial attention though only the map is used, two more passes of the encoder for the contrasted
views, separate draws for mask, token, random and count, and `nn.Dropout`. Every measurement runs in
a process of its own; the two forms take turns. Times are CPU time of the process, the median over
updates, because that does not count what other programs take; memory is the peak of the process
above what it held before the model was made.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

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


def lean(shape: tuple[int, ...], counts: Tensor) -> tuple[nn.Module, Callable[[], Tensor]]:
    held_in, held_out, observed, ahead, layers, heads = shape
    neurons = held_in + held_out
    layout = Layout(
        neuron_ids={"0": tuple(range(neurons))},
        held_in={"0": tuple(n < held_in for n in range(neurons))},
        bin_width=0.005,
        quantity="counts",
        trial_bins=(observed, ahead),
    )
    model = STNDT(STNDT.configure(layout, layers=layers, heads=heads), layout)
    activity = counts.clone()
    activity[:, observed:] = 0
    activity[..., held_in:] = 0
    batch = Batch(
        activity=activity,
        target=counts,
        valid=torch.ones_like(counts, dtype=torch.bool),
        held_in=torch.arange(neurons) < held_in,
        neuron_ids=torch.arange(neurons),
        covariates=counts.new_zeros(len(counts), counts.shape[1], 0),
        start_bin=torch.arange(len(counts)),
        generator=torch.Generator().manual_seed(0),
    )
    return model, lambda: model.loss(batch, model(batch))


def measure(name: str, form: str, updates: int) -> dict[str, float]:
    """CPU milliseconds of a median update, and MB above the process before the model."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = SHAPES[name]
    counts = torch.poisson(torch.full((WINDOWS, sum(shape[2:4]), sum(shape[:2])), 0.07))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if form == "lean":
        model, loss = lean(shape, counts)
    else:
        published = Published(shape)
        model, loss = published, lambda: published.loss(counts)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=5e-5)
    spent = []
    for _ in range(updates + 1):
        begun = time.process_time()
        optimiser.zero_grad()
        loss().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 200.0)
        optimiser.step()
        spent.append(time.process_time() - begun)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"ms": 1e3 * median(spent[1:]), "MB": peak * 1024 / 1e6}  # the first one warms up


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--updates", type=int, default=5)
    parser.add_argument("--turns", type=int, default=2, help="processes per form and shape")
    parser.add_argument("--one", nargs=2, metavar=("SHAPE", "FORM"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*arguments.one, arguments.updates)))
        return
    rows = []
    for name in arguments.shapes:
        found: dict[str, list[dict[str, float]]] = {"published": [], "lean": []}
        for _ in range(arguments.turns):
            for form, results in found.items():
                command = [sys.executable, __file__, "--one", name, form]
                done = subprocess.run(
                    [*command, "--updates", str(arguments.updates)],
                    check=True,
                    capture_output=True,
                    text=True,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                )
                results.append(json.loads(done.stdout))
        ms, mb = (
            {form: min(result[unit] for result in results) for form, results in found.items()}
            for unit in ("ms", "MB")
        )
        rows.append(
            [
                name,
                f"{ms['published']:.0f}",
                f"{ms['lean']:.0f}",
                f"{ms['published'] / ms['lean']:.2f} x",
                f"{mb['published']:.0f}",
                f"{mb['lean']:.0f}",
                f"{mb['lean'] / mb['published']:.2f} x",
            ]
        )
        print(rows[-1], flush=True)
    header = ["shape", "published, ms", "here, ms", "faster", "published, MB", "here, MB", "memory"]
    publish(
        "stndt_speed",
        "One update of STNDT, batch 64, one CPU thread, float32.\n\n" + table(header, rows),
    )


if __name__ == "__main__":
    main()
