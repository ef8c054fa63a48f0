"""SynapsNet: one adjacency matrix per session, one decoder for every neuron.

Delavari, Oruç, Murphy, "SynapsNet: Enhancing Neuronal Population Dynamics Modeling via Learning
Functional Connectivity", arXiv 2411.08221. Re-implemented from the published description; no parity
with the paper's tables is claimed.

Neuron i receives the input current I_i(t) = sum over j != i of A_ij x_j(t), and from its own last W
bins, its current, the behaviour b and its embedding E_i one shared decoder f predicts

    xhat_i(t+1) = x_i(t) + f(x_i, I_i, b, E_i)            traces
    log rate_i(t+1) = log mean count_i + f(x_i, I_i, b, E_i)   counts

A is the only path between neurons, so the coupling at time t is exactly J_ij(t) = g_i(t) A_ij with
the gain g_i(t) = d prediction_i / d I_i(t). (A, f(I)) and (cA, f(I / c)) are the same model: A's
scale means nothing, and its sign is fixed at the end so that gains are positive.

By default (the preset "ladder") the prediction starts at the closed-form core c (`_core`: own
dynamics and additive coupling), and the decoder, which begins at exactly 0, is trained on what that
leaves over:

    xhat_i(t+1) = c_i(t) + f(x_i, I_i, b, E_i)            traces; of counts the log rate

A starts at the core's coupling W, and J_ij(t) = W_ij + g_i(t) A_ij.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from nwbdyn.models import base
from nwbdyn.models._core import (
    Core,
    cores,
    key,
    starts_at_core,
)
from nwbdyn.models._synapsnet_config import (
    OF_THE_PAPER,
    ON_CORE,
    PRESETS,
    SynapsNetConfig,
    check,
)
from nwbdyn.models._synapsnet_decoders import DECODERS
from nwbdyn.models._synapsnet_start import Moments

PENALTIES = (0.0, 1.0, 5.0, 20.0)  # L1 to choose from
SHORT = 1000  # training windows; beyond, choosing would cost as much as three more fits


class SynapsNet(base.Model):
    """Signed adjacency, input currents and a decoder that all neurons share."""

    quantities: ClassVar[frozenset[str]] = frozenset(
        {"counts", "dff", "events", "deconvolved", "fluorescence"}
    )
    target: ClassVar[str] = base.NEXT
    form: ClassVar[str] = "gain"
    Config: ClassVar[type[base.Config]] = SynapsNetConfig
    paper: ClassVar[str] = "Delavari, Oruç & Murphy, SynapsNet, arXiv 2411.08221"
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = PRESETS
    absent_options: ClassVar[Mapping[str, object]] = {"core": False}
    spike_bin_width: ClassVar[float] = 0.050
    config: SynapsNetConfig
    log_mean: Tensor  # (num_global,) log of the mean training count
    mean_gain: Tensor  # (num_global,) mean over training windows
    sign_agreement: Tensor  # (num_global,) share of training windows with a positive gain

    def __init__(self, config: SynapsNetConfig, layout: base.Layout) -> None:
        super().__init__(config, layout)
        check(config, layout)
        if config.core:
            self.core = cores(layout, context=config.context)
        if config.own_part:
            self.A = nn.ParameterDict(
                {
                    key(session): nn.Parameter(0.01 * torch.randn(len(ids), len(ids)))
                    for session, ids in layout.neuron_ids.items()
                }
            )
            self.E = nn.Parameter(torch.randn(layout.num_global, config.embedding))
            self.decoder = DECODERS[config.decoder](config, layout.num_covariates)
            if config.core:
                self.decoder.start_at_zero()
        for name in ("log_mean", "mean_gain", "sign_agreement"):
            self.register_buffer(name, torch.zeros(layout.num_global))
        self._schedule: lr_scheduler.LRScheduler | None = None

    @classmethod
    def configure(cls, layout: base.Layout, **options: object) -> SynapsNetConfig:
        """Counts get the Poisson loss and a second of context instead of 8 frames.

        A hippocampal recording gained .1 bits per spike on validation from 20 bins of 50 ms over 8;
        simulated spikes without slow changes lose little by them.

        The preset "paper" is the published form, without a core.

        Raises:
            TypeError: an unknown option.
            ValueError: an unknown preset, or options that contradict the data.
        """
        preset = options.pop("preset", None)
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"no preset {preset!r}; there are: {', '.join(PRESETS)}")
        defaults: dict[str, object] = {"loss": "poisson", "context": 20} if layout.counts else {}
        if starts_at_core(preset, options, OF_THE_PAPER):
            defaults |= ON_CORE
        config = SynapsNetConfig(**{**defaults, **options})  # type: ignore[arg-type]
        check(config, layout)
        return config

    @classmethod
    def candidates(
        cls, config: base.Config, layout: base.Layout, num_windows: int
    ) -> tuple[base.Config, ...]:
        """Penalties to choose from, where the L1 is left open and the recording is short.

        Not the default: on a worm of 800 frames and 141 neurons the validation error fell from .354
        without L1 to .315 at 5, but .320 needs no coupling at all, and an A of zeros says nothing.
        """
        assert isinstance(config, SynapsNetConfig)
        if config.l1 is not None:
            return (config,)
        penalties = PENALTIES if num_windows <= SHORT and config.coupling else PENALTIES[:1]
        return tuple(replace(config, l1=size) for size in penalties)

    @classmethod
    def windows(cls, config: base.Config, layout: base.Layout) -> base.WindowSpec:
        assert isinstance(config, SynapsNetConfig)
        return base.WindowSpec(context=config.context, inputs="zscore")

    def forward(self, batch: base.Batch) -> base.Output:
        if not self.config.own_part:
            return self._as_output(self._lower(batch))
        return self._output(batch, self.currents(batch))

    def loss(self, batch: base.Batch, output: base.Output) -> Tensor:
        """Mean over the valid targets."""
        if self.config.loss == "poisson":
            assert output.log_rate is not None
            cost = output.prediction - batch.target * output.log_rate
        else:
            cost = (output.prediction - batch.target) ** 2
        return torch.where(batch.valid, cost, 0.0).sum() / batch.valid.sum()

    def initialise(self, train: Iterable[base.Batch]) -> None:
        """A of every session from a ridge VAR(1), its penalty by generalised cross-validation."""
        if not self.config.own_part:
            return
        sums: dict[str, Moments] = {}
        ids: dict[str, Tensor] = {}
        for batch in train:
            ids[batch.session] = batch.neuron_ids
            seen = batch.valid[:, 0].all(dim=1)
            moments = sums.setdefault(batch.session, Moments())
            moments.add(batch.activity[seen, -1].double(), batch.target[seen, 0].double())
        total, count = torch.zeros_like(self.log_mean), torch.zeros_like(self.log_mean)
        for session, moments in sums.items():
            weight = moments.ridge().to(self.A[key(session)])
            if self.config.core and self._coupling(session).any():
                weight = self._coupling(session)
            self.A[key(session)].data.copy_(_without_diagonal(weight))
            mean = moments.mean_target.to(total)
            total.index_add_(0, ids[session], moments.count * mean)
            count.index_add_(0, ids[session], torch.full_like(mean, moments.count))
        self.log_mean.copy_((total / count.clamp(min=1)).clamp(min=1e-4).log())

    def optimiser(
        self, num_updates: int, updates_per_epoch: int
    ) -> tuple[torch.optim.Optimizer, lr_scheduler.LRScheduler | None]:
        """AdamW over one cycle of the learning rate."""
        optimiser, _ = super().optimiser(num_updates, updates_per_epoch)
        self._schedule = lr_scheduler.OneCycleLR(
            optimiser, max_lr=self.config.learning_rate, total_steps=num_updates + 1
        )
        return optimiser, self._schedule

    @torch.no_grad()
    def after_update(self, step: int) -> None:
        """The proximal step of the L1 penalty: a soft threshold at l1 times the learning rate."""
        if not self.config.l1 or self._schedule is None:
            return
        threshold = self.config.l1 * float(self._schedule.get_last_lr()[0])
        for weight in self.A.values():
            weight.copy_(F.softshrink(weight, threshold))

    @torch.no_grad()
    def on_train_end(self, train: Iterable[base.Batch]) -> None:
        """Turn A's sign so that the median gain is positive; the predictions stay the same.

        An adopted decoder has its sign already and stays as it is.
        """
        if not self.config.own_part:
            return
        gains, positive, count = (torch.zeros_like(self.log_mean) for _ in range(3))
        for batch in train:
            gain = self._gains(batch)[0]  # (B, N)
            gains.index_add_(0, batch.neuron_ids, gain.sum(0))
            positive.index_add_(0, batch.neuron_ids, (gain > 0).sum(0).to(positive))
            count.index_add_(0, batch.neuron_ids, torch.full_like(gain[0], len(gain)))
        self.mean_gain.copy_(gains / count.clamp(min=1))
        self.sign_agreement.copy_(positive / count.clamp(min=1))
        if positive.sum() < count.sum() / 2 and not self._adopted:
            self.decoder.turn_current()
            for weight in self.A.values():
                weight.neg_()
            self.mean_gain.neg_()
            self.sign_agreement.copy_(1 - self.sign_agreement)

    def load_core(self, session: str, state: Mapping[str, Tensor]) -> None:
        self.core[key(session)].load_state_dict(state)

    @property
    def fitted_form(self) -> str:
        return self.form if self.config.own_part else "static"

    def load_shared(self, state: Mapping[str, Tensor]) -> None:
        """Take the decoder of a fitted model and freeze it: A and E are all that is left to fit.

        Raises:
            ValueError: the decoder is of other sizes.
        """
        if not self.config.own_part:
            return  # closed-form cores share nothing
        prefix = "decoder."
        decoder = {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
        try:
            self.decoder.load_state_dict(decoder)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"the decoder does not fit this model ({reason})") from error
        self.decoder.requires_grad_(False)

    def session_state(self, session: str) -> dict[str, Tensor]:
        """Everything but the A and the core of other sessions."""
        own = key(session)
        parts = {name: name.split(".") for name in self.state_dict()}
        others = {n for n, part in parts.items() if part[0] in ("A", "core") and part[1] != own}
        return {name: value for name, value in self.state_dict().items() if name not in others}

    def adjacency(self, session: str) -> Tensor:
        """(N, N) A of a session, its diagonal 0."""
        weight = self.A[key(session)]
        return _without_diagonal(weight) if self.config.coupling else torch.zeros_like(weight)

    def currents(self, batch: base.Batch) -> Tensor:
        """(B, W, N) input currents I(t) = A x(t)."""
        return batch.activity @ self.adjacency(batch.session).T

    def mean_coupling(self, session: str | None = None) -> Tensor:
        """(N, N) mean gain times A: unlike A, comparable between receivers. After `finish`."""
        session = session or next(iter(self.layout.neuron_ids))
        gain = self.mean_gain[list(self.layout.neuron_ids[session])]
        return (gain[:, None] * self.adjacency(session)).detach()

    def lesion(self, batch: base.Batch, neurons: Sequence[int]) -> base.Output:
        """The prediction with some neurons unheard; `neurons` are columns of the batch."""
        if not self.config.own_part:
            return self._as_output(self._core(batch.session)(batch, silent=neurons))
        if self.config.core:
            lower = self._core(batch.session)(batch, silent=neurons)
            batch = replace(batch, lower=lower[:, None])
        weight = self.adjacency(batch.session).clone()
        weight[:, list(neurons)] = 0.0
        return self._output(batch, batch.activity @ weight.T)

    def connectivity(self, session: str | None = None) -> dict[str, Tensor]:
        session = session or next(iter(self.layout.neuron_ids))
        if not self.config.own_part:
            return {"weight": self._coupling(session)}
        arrays = {"A": self.adjacency(session).detach()}
        return arrays | ({"weight": self._coupling(session)} if self.config.core else {})

    @torch.no_grad()
    def time_resolved(self, batch: base.Batch) -> dict[str, Tensor]:
        """Gains g (B, N) and input currents (B, N) of the newest bin; J(t) = g[:, None] * A."""
        if not self.config.own_part:
            return {}
        return {"g": self._gains(batch)[0], "current": self.currents(batch)[:, -1]}

    @torch.no_grad()
    def influence(self, batch: base.Batch) -> Tensor:
        """J(t) = g(t) A off the diagonal; on it the gain of a neuron's own newest bin."""
        lower: Tensor | float = 0.0
        if self.config.core:
            lower = self._core(batch.session).influence(batch)
        if isinstance(lower, Tensor) and not self.config.own_part:
            return lower
        gain, own = self._gains(batch)
        return gain[:, :, None] * self.adjacency(batch.session) + torch.diag_embed(own) + lower

    def embeddings(self) -> Tensor | None:
        return self.E.detach() if self.config.own_part else None

    # --- parts ---

    @property
    def _adopted(self) -> bool:
        return not any(parameter.requires_grad for parameter in self.decoder.parameters())

    def _output(self, batch: base.Batch, currents: Tensor) -> base.Output:
        return self._as_output(self._linear(batch, batch.activity, currents))

    def _as_output(self, linear: Tensor) -> base.Output:
        """The output of a prediction (B, N), or of a log rate."""
        linear = linear[:, None]  # (B, 1, N)
        if self.config.loss == "poisson":
            return base.Output(prediction=linear.exp(), log_rate=linear)
        return base.Output(prediction=linear)

    def _linear(self, batch: base.Batch, activity: Tensor, currents: Tensor) -> Tensor:
        """(B, N) the prediction, or its log for counts."""
        identity = self.E[batch.neuron_ids]
        change = self.decoder(activity, currents, batch.covariates, identity)
        if self.config.core:
            return self._bounded(self._lower(batch) + change, batch.session)
        if self.config.loss == "poisson":
            return self.log_mean[batch.neuron_ids] + change
        return activity[:, -1] + change

    def _lower(self, batch: base.Batch) -> Tensor:
        """(B, N) the prediction of the core, or its log rate."""
        if batch.lower is not None:
            return batch.lower[:, 0]
        return self._core(batch.session)(batch)

    def _core(self, session: str) -> Core:
        core = self.core[key(session)]
        assert isinstance(core, Core)
        return core

    def _coupling(self, session: str) -> Tensor:
        """(N, N) W, the mean derivative of the core in the senders' newest inputs."""
        return self._core(session).coupling.detach()

    def _bounded(self, linear: Tensor, session: str) -> Tensor:
        """Log rates below the core's ceiling."""
        if self.config.loss != "poisson":
            return linear
        return torch.minimum(linear, self._core(session).ceiling)

    def _gains(self, batch: base.Batch) -> tuple[Tensor, Tensor]:
        """Gains (B, N) of the newest current and of a neuron's own newest bin.

        The decoder treats neurons one by one, so one backward pass gives all of them.
        """
        activity = batch.activity.detach().requires_grad_()
        currents = self.currents(batch).detach().requires_grad_()
        # cuDNN's GRU refuses a backward pass in evaluation mode.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            linear = self._linear(batch, activity, currents)
            gain, own = torch.autograd.grad(linear.sum(), [currents, activity])
        return gain[:, -1], own[:, -1]


MODEL = SynapsNet


def _without_diagonal(weight: Tensor) -> Tensor:
    return weight * (1 - torch.eye(len(weight), dtype=weight.dtype, device=weight.device))
