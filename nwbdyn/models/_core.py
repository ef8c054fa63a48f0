"""The closed-form core of a next-bin model: rungs M0, M1 and M2 of the ladder, on tensors.

    core_i(t) = own_i(last bins of i, covariates) + sum over j != i, k of W^k_ij f_k(last bins of j)

`baselines.ladder` fits the coefficients on training bins and selects the rungs on validation bins;
here they are buffers of a model, so that checkpoints, roll-outs and influences include them. The
model's own part, which is trained, is added on top and starts at exactly 0.
"""

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from nwbdyn.models import base
from nwbdyn.models._core_terms import (
    CURVED,
    TIME_CONSTANTS,
    WINDOW_SHARES,
    curved_terms,
    finer_terms,
    num_terms,
    sender_blocks,
    sender_functions,
    two_sided_terms,
)

PAPER, LADDER = "paper", "ladder"  # presets: the published form; a closed-form core
LONGEST = 20  # lags of the autoregression


class Core(nn.Module):
    """Coefficients of one session; see `weights` for what each buffer holds."""

    lags: Tensor  # (N, L) weights of own lags, the newest first
    rates: Tensor  # (N, K - 1) of own counts through exponentials and windows; traces: none
    curved: Tensor  # (N, F) of nonlinear functions of own lags
    covariates: Tensor  # (N, C)
    constant: Tensor  # (N,)
    senders: Tensor  # (K, N, N) [kind, post, pre], diagonal 0
    range: Tensor  # (2, N) of the signals in training; nonlinear functions see them inside it
    ceiling: Tensor  # (N,) largest log rate
    unit: Tensor  # (2, N) signal (of counts: count) = unit[0] * input + unit[1]
    covariate_unit: Tensor  # (2, C) likewise
    scaling: Tensor  # (K, 3, N) of counts: see `smoothing.LogRates`
    decay: Tensor  # (K, T) of counts: weights of the bins in each filter, oldest first
    rest: Tensor  # (K, N) of counts: what stands for all bins before the window
    coupling: Tensor  # (N, N) [post, pre] mean derivative in the sender's newest input

    def __init__(
        self, num_neurons: int, num_covariates: int, *, context: int, counts: bool
    ) -> None:
        super().__init__()
        self.counts, self.context = counts, context
        self._num_curved = min(CURVED, context)
        n = num_neurons
        filters = len(TIME_CONSTANTS) + len(WINDOW_SHARES) if counts else 0
        self.blocks = sender_blocks(n, context, counts=counts)
        sizes = {
            "lags": (n, min(LONGEST, context)),
            "rates": (n, max(0, filters - 1)),
            "curved": (n, sum(num_terms(context))),
            "covariates": (n, num_covariates),
            "constant": (n,),
            "senders": (sum(self.blocks.values()), n, n),
            "range": (2, n),
            "ceiling": (n,),
            "unit": (2, n),
            "covariate_unit": (2, num_covariates),
            "scaling": (filters, 3, n),
            "decay": (filters, context if counts else 0),
            "rest": (filters, n),
            "coupling": (n, n),
        }
        for name, size in sizes.items():
            self.register_buffer(name, torch.zeros(size))
        self.unit[0], self.covariate_unit[0], self.scaling[:, (0, 2)] = 1.0, 1.0, 1.0
        self.ceiling.fill_(torch.finfo(torch.float32).max)

    def forward(self, batch: base.Batch, *, silent: Sequence[int] = ()) -> Tensor:
        """Prediction (B, N) in the units of the target; for counts the log rate.

        Args:
            silent: columns whose output reaches no other neuron.
        """
        own, sent = self._parts(batch.activity, batch.covariates[:, -1])
        linear = own
        if len(sent):
            weights = self.senders
            if silent:
                cut = torch.zeros_like(self.constant).index_fill(
                    0, torch.tensor(silent, device=weights.device), 1.0
                )
                weights = weights * (1 - cut * (1 - torch.eye(len(cut), device=weights.device)))
            linear = linear + torch.einsum("kbj,kij->bi", sent, weights)
        return self._in_target_units(linear)

    @torch.no_grad()
    def jacobian(self, batch: base.Batch) -> tuple[Tensor, Tensor]:
        """Derivatives of the prediction with respect to the newest inputs.

        Returns:
            (B, N): with respect to a neuron's own input. (K, B, N): of each kind of sender term,
            with respect to the sender's input. The latter times `senders` (for traces also divided
            by the receiver's unit) are the derivatives of the prediction.
        """
        with torch.enable_grad():
            activity = batch.activity.detach().requires_grad_()
            own, sent = self._parts(activity, batch.covariates[:, -1])
            (direct,) = torch.autograd.grad(own.sum(), activity, retain_graph=True)
            kinds = [
                torch.autograd.grad(one.sum(), activity, retain_graph=True)[0][:, -1]
                for one in sent
            ]
        return direct[:, -1] * self._per_unit, torch.stack(kinds) if kinds else sent

    @torch.no_grad()
    def influence(self, batch: base.Batch) -> Tensor:
        """Derivatives of the prediction with respect to the newest inputs, (B, post, pre)."""
        own, kinds = self.jacobian(batch)
        between = torch.zeros(*own.shape, own.shape[1], dtype=own.dtype, device=own.device)
        for kind, weight in zip(kinds, self.senders, strict=True):
            between += kind[:, None, :] * weight
        return between * self._per_unit[:, None] + torch.diag_embed(own)

    @property
    def _per_unit(self) -> Tensor:
        """(N,) units of the target per unit of the signal."""
        return torch.ones_like(self.constant) if self.counts else 1 / self.unit[0]

    def _in_target_units(self, linear: Tensor) -> Tensor:
        if self.counts:
            return torch.minimum(linear, self.ceiling)
        return (linear - self.unit[1]) / self.unit[0]

    def _parts(self, activity: Tensor, covariates: Tensor) -> tuple[Tensor, Tensor]:
        """Own terms (B, N), and the sender terms (K, B, N)."""
        signals = activity * self.unit[0] + self.unit[1]  # (B, T, N)
        smooth = signals.new_zeros(0, len(signals), signals.shape[2])
        if self.counts:
            counts = signals.clamp(min=0)
            added, mean, sd = (self.scaling[:, part] for part in range(3))  # each (K, N)
            filtered = torch.einsum("ft,btn->fbn", self.decay, counts) + self.rest[:, None]
            smooth = ((filtered + added[:, None]).log() - mean[:, None]) / sd[:, None]
            smooth = smooth[1:]
            signals = ((counts + added[0]).log() - mean[0]) / sd[0]
        lags = signals.flip(1).unbind(1)  # the newest first
        bounded = [one.clamp(self.range[0], self.range[1]) for one in lags[: self._num_curved]]
        terms = [
            *curved_terms(bounded, torch.tanh),
            *two_sided_terms(bounded),
            *finer_terms(bounded, torch.tanh),
        ]
        own = self.constant + sum_of(lags, self.lags) + sum_of(terms, self.curved)
        own = own + sum_of(smooth.unbind(0), self.rates)
        seen = covariates * self.covariate_unit[0] + self.covariate_unit[1]
        own = own + seen @ self.covariates.T
        return own, self._sent(lags, bounded, smooth)

    def _sent(self, lags: tuple[Tensor, ...], bounded: list[Tensor], smooth: Tensor) -> Tensor:
        """(K, B, N) terms of the senders."""
        terms: list[Tensor] = []
        for name, number in self.blocks.items():
            if name == "rates":
                terms += smooth[:number].unbind(0)
            elif name == "last bin":
                terms.append(lags[0])
            elif name == "earlier bins":
                terms += lags[1 : 1 + number]
            else:
                before = bounded[1] if self.context > 1 else None
                terms += sender_functions(bounded[0], before, torch.tanh)
        return torch.stack(terms) if terms else lags[0].new_zeros(0, *lags[0].shape)


def starts_at_core(
    preset: object, options: Mapping[str, object], of_the_paper: Collection[str]
) -> bool:
    """True for the preset "ladder", and without a preset unless an option says otherwise.

    Args:
        preset: None where no preset is named.
        options: `core` decides where it is given.
        of_the_paper: options that only the published form has; any of these chooses that form.
    """
    if preset is not None:
        return preset == LADDER
    if "core" in options:
        return bool(options["core"])
    return not set(options) & set(of_the_paper)


def sum_of(terms: list[Tensor] | tuple[Tensor, ...], weights: Tensor) -> Tensor | float:
    """Sum over columns f of weights (N, F) times terms[f] (B, N); extra terms are ignored."""
    total: Tensor | float = 0.0
    for term, weight in zip(terms, weights.T.contiguous(), strict=False):
        total = term * weight if isinstance(total, float) else total.addcmul(term, weight)
    return total


def cores(layout: base.Layout, *, context: int) -> nn.ModuleDict:
    """A core for every session of a layout."""
    return nn.ModuleDict(
        {
            key(session): Core(
                len(ids), layout.num_covariates, context=context, counts=layout.counts
            )
            for session, ids in layout.neuron_ids.items()
        }
    )


def key(session: str) -> str:
    """A session's name as the key of a parameter, which may hold no dot."""
    return session.replace(".", "%2E")
