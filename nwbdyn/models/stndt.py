"""STNDT: a transformer over time whose stream is mixed across neurons by a spatial attention map.

Le & Shlizerman 2022, "STNDT: Modeling Neural Population Activity with a Spatiotemporal
Transformer", NeurIPS, arXiv 2206.04727. For counts x (T, N) of one window

    h = sqrt(N) (x W_e^T + b_e) + PE,       s = sqrt(T) (x^T W_s^T + b_s) + PE^T
    per layer: h += attention over time(LN h);  h += feed-forward(LN h)
               A  = softmax over neurons of queries and keys of LN s          (N, N)
               h += (A LN(h)^T)^T;              h += feed-forward(LN h);      s = h^T
    log rate = LN(h) W_d^T + b_d

By default the log rate of a held-out neuron is that of its baseline, a Poisson regression on
filtered held-in counts, plus the read-out above, whose weights for these neurons start at 0.

It is trained to fill in hidden counts (Poisson loss) and to tell windows apart under two random
corruptions (contrastive loss). Maps are acausal, one per window and layer, and not connectivity by
themselves: judge them by what the score loses when they are replaced (`forward(batch, maps=…)`).
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nwbdyn.models import base
from nwbdyn.models._stndt_compiled import TorchsOwn, check_compiler
from nwbdyn.models._stndt_config import PRESETS, Config, configured
from nwbdyn.models._stndt_contrast import contrast, embedded_products
from nwbdyn.models._stndt_influence import jacobian, silenced
from nwbdyn.models._stndt_layers import Layer, dropout, position_code
from nwbdyn.models._stndt_lean import Affine, Drop, cache_sized
from nwbdyn.models._stndt_masks import hide_one_side, mask
from nwbdyn.models._stndt_skip import Skip

__all__ = ["MAPS", "MODEL", "PRESETS", "STNDT", "Config"]

MAPS = ("learned", "uniform", "trial-mean", "shuffled", "identity")

Options = Config  # inside the class, `Config` is its own attribute


class STNDT(base.Model):
    """The model, for one session whose held-out neurons and forward bins come in as zeros."""

    quantities = frozenset({"counts"})
    target = base.CO_SMOOTHING
    form = "attention"
    Config: ClassVar[type[base.Config]] = Config
    paper = "Le & Shlizerman, STNDT, NeurIPS 2022, arXiv 2206.04727"
    presets = PRESETS
    ablations = MAPS[1:]
    compiler: ClassVar[str] = "inductor"  # backend of torch.compile

    config: Options
    notes: tuple[str, ...]  # what differs from what was asked, for the run's notes
    layers: nn.ModuleList
    progress: Tensor
    time_code: Tensor
    neuron_code: Tensor
    held_out: Tensor
    unseen: Tensor
    ceiling: Tensor
    mean_maps: Tensor

    def __init__(self, config: Options, layout: base.Layout) -> None:
        super().__init__(config, layout)
        (held_in,) = layout.held_in.values()
        self.observed, ahead = _bins(config, layout)
        bins, neurons = self.observed + ahead, len(held_in)
        self.heads = _common_divisor(bins, neurons, config.heads)
        self.notes = ()
        if self.heads != config.heads:
            self.notes = (
                f"{self.heads} attention heads instead of {config.heads}: the number has to divide "
                f"{neurons} neurons and {bins} bins",
            )
        self.embed_time = nn.Linear(neurons, neurons)
        nn.init.uniform_(self.embed_time.weight, -0.1, 0.1)
        self.embed_neurons = nn.Linear(bins, bins)
        layer = Layer(
            bins,
            neurons,
            heads=self.heads,
            width=config.feedforward,
            rate=config.dropout,
            back=config.attend_back,
            forward=config.attend_forward,
        )
        with torch.no_grad():
            scale = 0.67 * config.layers**-0.25
            for linear in (layer.time.mix, layer.after_time.widen, layer.after_time.narrow):
                linear.weight.mul_(scale)
        self.contrast_weight = config.contrast_weight
        self.layers = nn.ModuleList(copy.deepcopy(layer) for _ in range(config.layers))
        self.norm = nn.LayerNorm(neurons)
        self.decode = nn.Linear(neurons, neurons)
        nn.init.uniform_(self.decode.weight, -0.1, 0.1)
        nn.init.zeros_(self.decode.bias)

        # The authors' columns are held-in neurons first. Only the position codes know a neuron's
        # place, so these are laid out in the batch's order and no activity is ever permuted.
        flags = torch.tensor(held_in)
        column = torch.argsort(torch.argsort(~flags, stable=True))  # (N,)
        self.register_buffer("time_code", position_code(bins, neurons)[:, column], persistent=False)
        self.register_buffer("neuron_code", position_code(neurons, bins)[column], persistent=False)
        unseen = ~flags.expand(bins, neurons).clone()
        unseen[self.observed :] = True
        self.register_buffer("unseen", unseen, persistent=False)  # (T, N) zero in every input
        self.sees_all = not bool(unseen.any())
        first, *_, last = chosen = flags.nonzero()[:, 0].tolist() * 2
        joined = all(held_in[first : last + 1])
        # The held-in columns: a slice, where they are side by side, is a view and not a copy.
        self.columns = slice(first, last + 1) if joined else chosen[: len(chosen) // 2]
        self.skip: Skip | None = None
        if config.baseline and not all(held_in):
            self.skip = Skip(self.observed, sum(held_in), neurons)
        self.register_buffer("held_out", ~flags, persistent=False)
        self.register_buffer("ceiling", torch.tensor(math.inf))  # largest training count
        self.register_buffer("mean_maps", torch.zeros(config.layers, neurons, neurons))
        self.register_buffer("progress", torch.zeros(()))  # share of the training that is done
        self._num_updates = 1

    @classmethod
    def configure(cls, layout: base.Layout, **options: object) -> Options:
        """The Config for these data; `preset` names one of PRESETS, other options win over it."""
        return configured(layout, options)

    @classmethod
    def windows(cls, config: base.Config, layout: base.Layout) -> base.WindowSpec:
        assert isinstance(config, Options)
        observed, ahead = _bins(config, layout)
        return base.WindowSpec(context=observed, forward=ahead, inputs="counts")

    @torch.no_grad()
    def initialise(self, train: Iterable[base.Batch]) -> None:
        """Remember the largest training count: inputs are clipped to it in evaluation.

        With `start_at_mean` every rate starts at the neuron's mean. From one spike per bin a unit
        of 1 Hz would spend the whole training on its way down.

        Raises:
            ConfigError: `compile` on a machine without a compiler.
        """
        if self.config.compile:
            check_compiler(self.progress.device)
        largest = 0.0
        spikes, bins = torch.zeros_like(self.decode.bias), torch.zeros_like(self.decode.bias)
        for batch in train:
            largest = max(largest, float(batch.activity.max()))
            spikes += (batch.target * batch.valid).sum((0, 1))
            bins += batch.valid.sum((0, 1))
        self.ceiling.fill_(largest)
        if self.config.start_at_mean:
            self.decode.bias.copy_(torch.log((spikes + 0.5) / bins.clamp(min=1)))

    def forward(self, batch: base.Batch, maps: str = "learned") -> base.Output:
        """Log rates of every neuron in every bin.

        Args:
            maps: what stands for the spatial maps: "learned", or to see what they are worth
                "uniform", "trial-mean" (over the training windows, after `finish`), "shuffled"
                (another window's map; at least two windows) or "identity".
        """
        if not self.training:
            counts = batch.activity.clamp(max=self.ceiling)
            log_rate = self._on_baseline(self._log_rate(counts, None, maps), batch.activity)
            return base.Output(prediction=log_rate.exp(), log_rate=log_rate)
        config, random = self.config, batch.random
        visible = batch.activity[:, : self.observed, self.columns]
        corrupted, masked = self._mask(visible, random, self._span(random))
        far, seen = None, None
        if config.causal_mask_ratio:
            hidden, far = self._hide_one_side(batch)
            corrupted = corrupted.masked_fill(hidden, 0)
            masked = masked | hidden
            seen = ~hidden[..., 0]
        log_rate = self._log_rate(self._among_zeros(corrupted, batch), random, maps)
        log_rate = self._on_baseline(log_rate, batch.activity, seen)
        scored = self._among_zeros(masked, batch) | self.unseen
        if far is not None:
            scored = scored & ~far
        needed = {"scored": scored} | self._contrasted(visible, batch, maps)
        return base.Output(prediction=log_rate.exp(), log_rate=log_rate, hidden=needed)

    def loss(self, batch: base.Batch, output: base.Output) -> Tensor:
        """Poisson loss of the hidden entries, plus the contrastive loss in training.

        In evaluation the hidden entries are the held-out neurons and the forward bins. Where there
        are neither, the held-in counts are masked once more, always with the same seed.
        """
        scored = output.hidden.get("scored")
        if scored is None:
            scored = self.unseen.expand(batch.target.shape)
            if self.sees_all:
                output, scored = self._masked_again(batch)
        assert output.log_rate is not None
        weight = (scored & batch.valid).to(output.log_rate.dtype)
        nll = output.prediction - batch.target * output.log_rate
        loss = (nll * weight).sum() / weight.sum().clamp(min=1)
        for name in ("time_products", "neuron_products", "rate_products"):
            if name in output.hidden:
                term = contrast(output.hidden[name], self.config.contrast_temperature)
                loss = loss + self.contrast_weight * term
        return loss

    def optimiser(
        self, num_updates: int, updates_per_epoch: int
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        """AdamW with a linear warm-up and a cosine to 0, constant within an epoch.

        A training of fewer than 40 epochs is cut into 40 steps instead.
        """
        self._num_updates = num_updates
        optimiser, _ = super().optimiser(num_updates, updates_per_epoch)
        stride = max(1, min(updates_per_epoch, num_updates // 40))
        stages = math.ceil(num_updates / stride)
        rising = max(1, round(self.config.warmup * stages))

        def factor(step: int) -> float:
            stage = min(step // stride, stages)
            if stage < rising:
                return (stage + 1) / rising
            return 0.5 * (1 + math.cos(math.pi * (stage - rising) / max(1, stages - rising)))

        return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, factor)

    def after_update(self, step: int) -> None:
        self.progress.fill_(step / self._num_updates)

    @torch.no_grad()
    def on_train_end(self, train: Iterable[base.Batch]) -> None:
        """Keep the mean maps of the training windows, for `forward(batch, maps="trial-mean")`."""
        self.eval()
        total, num_windows = torch.zeros_like(self.mean_maps), 0
        for batch in train:
            total += self.time_resolved(batch)["maps"].sum(0)
            num_windows += batch.num_windows
        self.mean_maps.copy_(total / num_windows)

    @property
    def on_baseline(self) -> bool:
        """True where the held-out neurons are to start from their baseline's log rates."""
        return self.skip is not None

    @torch.no_grad()
    def start_from(self, regression: Mapping[str, Tensor]) -> None:
        """Start the held-out neurons exactly at their baseline; see `Skip.fill`."""
        assert self.skip is not None
        self.skip.fill(regression, self.held_out.nonzero()[:, 0])
        self.decode.weight[self.held_out] = 0
        self.decode.bias[self.held_out] = 0

    @property
    def share(self) -> float:
        """Share of the transformer's part in the log rates of held-out neurons; 1 without a
        baseline below it.
        """
        return 1.0 if self.skip is None else float(self.skip.share)

    @share.setter
    def share(self, value: float) -> None:
        assert self.skip is not None
        self.skip.share.fill_(value)

    @torch.no_grad()
    def time_resolved(self, batch: base.Batch) -> dict[str, Tensor]:
        """Window attention and its contributions, acausal.

        Returns:
            maps: (B, L, N, N) row-stochastic, [attending, attended], no unit.
            y: (B, L, T, N) what the maps multiply: maps[i, j] y[t, j] is neuron j's contribution to
                i's stream in bin t.
            importance: (B, N) attention that each neuron receives in layer 1, mean over receivers.
        """
        kept: list[tuple[Tensor, Tensor]] = []
        self._log_rate(batch.activity.clamp(max=self.ceiling), None, "learned", kept)
        maps, y = (torch.stack(each, 1) for each in zip(*kept, strict=True))
        return {"maps": maps, "y": y, "importance": maps[:, 0].mean(1)}

    @property
    def supports_influence(self) -> bool:
        """Only a model that was trained with causal masks has seen such inputs."""
        return self.config.causal_mask_ratio > 0

    def influence(
        self,
        batch: base.Batch,
        *,
        at: int | None = None,
        lags: int | None = None,
        silence: bool = False,
        future: bool = False,
    ) -> Tensor:
        """(B, post, pre) influence on the log rate of bin `at`, all inputs from `at` on hidden.

        By default the exact Jacobian: log rate per spike, added up over the lags. Train with
        `causal_mask_ratio`, or such windows are off the training distribution. Held-out neurons
        only receive: their columns are 0.

        Args:
            at: bin of the window; by default the first that is never observed, else the last.
            lags: bins back, from 1; by default the Config's.
            silence: the change of the log rate that the spikes of `pre` at these lags make together
                (with them minus without them), instead of the Jacobian.
            future: the same with time reversed (inputs up to `at` hidden, lags ahead): a control
                for the direction, not an influence.
        """
        bins = batch.activity.shape[1]
        at = min(self.observed, bins - 1) if at is None else at
        lags = self.config.influence_lags if lags is None else lags
        seen = slice(at + 1, self.observed) if future else slice(0, min(at, self.observed))
        near = slice(at + 1, at + 1 + lags) if future else slice(max(0, at - lags), at)
        counts = torch.zeros_like(batch.activity)
        counts[:, seen] = batch.activity[:, seen].clamp(max=self.ceiling)

        shown = counts.new_zeros(counts.shape[0], self.observed)
        shown[:, seen] = 1

        def log_rate(x: Tensor) -> Tensor:
            part = shown[:1].expand(len(x), -1)
            return self._on_baseline(self._log_rate(x, None, "learned"), x, part)[:, at]

        if silence:
            return silenced(log_rate, counts, near, self.config.batch_size)
        return jacobian(log_rate, counts, near) * batch.held_in

    def _on_baseline(self, log_rate: Tensor, counts: Tensor, seen: Tensor | None = None) -> Tensor:
        """The read-out (B, T, N) on top of the baseline's log rates, where there is one.

        Args:
            counts: (B, T, N) not corrupted.
            seen: (B, T_obs) the bins that are not hidden; by default all.
        """
        if self.skip is None:
            return log_rate
        visible = counts[:, : self.observed, self.columns]
        below = self.skip(visible, counts.shape[1] - self.observed, seen)
        if not self.training:
            log_rate = torch.where(self.held_out, self.skip.share * log_rate, log_rate)
        return below + log_rate

    def _mask(
        self, visible: Tensor, random: base.Random, span: int | Tensor = 1
    ) -> tuple[Tensor, Tensor]:
        """Visible counts (B, T, N) corrupted as the Config states, and the corrupted positions."""
        config = self.config
        return mask(
            visible,
            random,
            ratio=config.mask_ratio,
            token_ratio=config.mask_token,
            random_ratio=config.mask_random,
            mode=config.mask_mode,
            span=span,
            longest=1 if isinstance(span, int) else config.mask_span,
        )

    def _hide_one_side(self, batch: base.Batch) -> tuple[Tensor, Tensor]:
        """(B, T_obs, 1) observed bins that are hidden, (B, T, 1) all bins too far to be scored."""
        config = self.config
        hidden, far = hide_one_side(
            batch.num_windows,
            self.observed,
            batch.random,
            ratio=config.causal_mask_ratio,
            reach=config.influence_lags,
        )
        ahead = batch.activity.shape[1] - self.observed
        beyond = hidden[:, -1:].expand(-1, ahead)  # forward bins follow what is hidden
        return hidden[..., None], torch.cat([far, beyond], 1)[..., None]

    def _among_zeros(self, visible: Tensor, batch: base.Batch) -> Tensor:
        """Values of held-in neurons in observed bins, among zeros for all that is unseen."""
        whole = visible.new_zeros(batch.activity.shape)
        whole[:, : self.observed, self.columns] = visible
        return whole

    def _contrasted(self, visible: Tensor, batch: base.Batch, maps: str) -> dict[str, Tensor]:
        """(2B, 2B) inner products of two corrupted views of every window, by what is compared."""
        config = self.config
        if config.contrast == "none":
            return {}
        views, _ = mask(
            torch.cat([visible, visible]),
            batch.random,
            ratio=config.contrast_ratio,
            token_ratio=config.contrast_token,
            random_ratio=config.contrast_random,
        )
        if config.contrast == "prediction":
            whole = replace(batch, activity=torch.cat([batch.activity, batch.activity]))
            counts = self._among_zeros(views, whole)
            rates = self._log_rate(counts, batch.random, maps).flatten(1)
            return {"rate_products": rates @ rates.T}
        time, neurons = self.embed_time, self.embed_neurons
        bins, num_neurons = self.unseen.shape
        return {
            "time_products": embedded_products(
                views, time.weight[:, self.columns], time.bias, bins
            ),
            "neuron_products": embedded_products(
                views.mT.contiguous(), neurons.weight[:, : self.observed], neurons.bias, num_neurons
            ),
        }

    def _masked_again(self, batch: base.Batch) -> tuple[base.Output, Tensor]:
        """A prediction from masked held-in counts, the same mask at every call."""
        device = batch.activity.device
        seeded = base.Random(torch.Generator(device).manual_seed(0), device)
        visible = batch.activity[:, : self.observed, self.columns]
        counts, masked = self._mask(visible, seeded)
        log_rate = self._log_rate(self._among_zeros(counts, batch), None, "learned")
        output = base.Output(prediction=log_rate.exp(), log_rate=log_rate)
        return output, self._among_zeros(masked, batch)

    def _span(self, random: base.Random) -> int | Tensor:
        """Bins masked together in this update: 1, or with growing probability up to mask_span."""
        config = self.config
        if config.mask_span <= 1:
            return 1
        ramp = max(config.mask_span_end - config.mask_span_start, 1e-9)
        chance = (self.progress - config.mask_span_start) / ramp
        draw, width = random.uniform(2)
        return torch.where(draw < chance, 1 + (width * config.mask_span).floor(), 1)

    def _log_rate(
        self,
        counts: Tensor,
        random: base.Random | None,
        maps: str,
        kept: list[tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        """(B, T, N) log expected counts per bin; `kept` receives each layer's map and y."""
        if random is None:
            return self._encode(counts, None, maps, kept)
        encode, config = self._encode, self.config
        if config.compile:
            encode, random = self._compiled, TorchsOwn(counts.device)
        whole = maps == "shuffled" or counts.device.type != "cpu"
        parts = (counts,) if whole else cache_sized(counts)
        with _products_in(config.precision, counts.device):
            log_rate = torch.cat([encode(part, random, maps) for part in parts])
        return log_rate.to(counts.dtype)

    @cached_property
    def _compiled(self) -> Callable[..., Tensor]:
        return torch.compile(self._encode, backend=self.compiler)

    def _encode(
        self,
        counts: Tensor,
        random: base.Random | None,
        maps: str,
        kept: list[tuple[Tensor, Tensor]] | None = None,
    ) -> Tensor:
        _, bins, neurons = counts.shape
        is_lean = random is not None and self._is_lean(counts)
        affine, drop = (Affine.apply, Drop.apply) if is_lean else (F.linear, dropout)
        time, space = self.embed_time, self.embed_neurons
        # Scaling the weights is cheaper than scaling what comes out.
        root = neurons**0.5, bins**0.5
        h = affine(counts, time.weight * root[0], time.bias * root[0]) + self.time_code
        s = (
            affine(counts.mT.contiguous(), space.weight * root[1], space.bias * root[1])
            + self.neuron_code
        )
        h = drop(h, self.config.dropout_embedding, random)
        s = drop(s, self.config.dropout_embedding, random)
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            map = self._replace(layer.attention(s, is_lean=is_lean), maps, number)
            h, y = layer(h, map, random, is_lean=is_lean)
            s = h.mT
            if kept is not None and y is not None:
                kept.append((map, y))
        h = drop(self.norm(h), self.config.dropout_rates, random)
        return affine(h, self.decode.weight, self.decode.bias)

    def _is_lean(self, counts: Tensor) -> bool:
        """True if blocks with hand-written gradients in float32 can replace the plain ones."""
        plain = self.config.compile or self.config.precision != "float32"
        return counts.device.type == "cpu" and not plain

    def _replace(self, map: Tensor, maps: str, layer: int) -> Tensor:
        if maps == "learned":
            return map
        if maps == "uniform":
            return torch.full_like(map, 1 / map.shape[-1])
        if maps == "trial-mean":
            return self.mean_maps[layer].expand_as(map)
        if maps == "identity":
            return torch.eye(map.shape[-1], device=map.device).expand_as(map)
        if maps == "shuffled":
            if len(map) < 2:
                raise ValueError("shuffled maps need at least two windows in a batch")
            return map.roll(1, 0)
        raise ValueError(f"no maps called {maps!r}; choose from: {', '.join(MAPS)}")


def _bins(config: Options, layout: base.Layout) -> tuple[int, int]:
    """Observed and forward bins of a window."""
    return layout.trial_bins or (config.context, config.forward)


def _products_in(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Products and attention in `precision`; sums over rows, softmax and norms stay float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _common_divisor(bins: int, neurons: int, most: int) -> int:
    return next(h for h in range(most, 0, -1) if bins % h == 0 and neurons % h == 0)


MODEL = STNDT
