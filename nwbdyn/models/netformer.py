"""NetFormer: the next step of every neuron from attention between neurons.

Lu, Zhang, Le, Wang, Sümbül, Shea-Brown, Mi, "NetFormer: An interpretable model for recovering
dynamical connectivity in neuronal population dynamics", ICLR 2025.

With x_i the last H steps of neuron i and e_i its embedding:

    z_i = LN1([x_i ; e_i])        q_i = Wq z_i        k_j = Wk z_j        v_i = z_i[:H]
    A_ij = s q_i . k_j            u_i = v_i + sum_j A_ij v_j            yhat_i = LN2(u_i)[H - 1]

No softmax, no value map, no output layer. A is time-resolved because q and k see the activity;
row = receiver. Training forms it only where a ridge asks for it and there are fewer tokens than
one is wide, and then without the tokens (`_netformer_parts`); else
A v = s Z (Wq^T (Wk (Z^T V))), memory O(B N d).

Beyond the paper: covariates as tokens that are heard and not predicted, link functions with a
constant per neuron, raw values, a factor per neuron on what it keeps of its own v_i (`retention`),
a ridge on A, dropout of whole tokens, and two comparison models (`static`, `coupling`).

By default (the preset "ladder") the prediction starts at the closed-form core (`_core`: own
dynamics and additive coupling W), and attention is trained on what that leaves over, centred and
from exactly 0 (`_netformer_centred`): A(t) = W + D(t). The preset "paper" is the form above.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler

from nwbdyn.models import _netformer_centred as centred
from nwbdyn.models import base
from nwbdyn.models._core import PAPER, Core, cores, key, starts_at_core
from nwbdyn.models._netformer_config import (
    OF_THE_PAPER,
    PRESETS,
    NetFormerConfig,
    candidates,
    check,
    defaults,
    full_embedding,
    on_core,
)
from nwbdyn.models._netformer_norms import back_through, through
from nwbdyn.models._netformer_parts import parts, rows
from nwbdyn.models._netformer_penalties import size_of_attention, size_through_tokens, type_penalty

MEAN_BATCHES = 16  # from which the means of a dynamic part are taken before a validation

LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda linear: linear,
    "tanh": torch.tanh,
    "log": torch.exp,
}


class NetFormer(base.Model):
    """Attention between neurons as time-resolved coupling."""

    quantities: ClassVar[frozenset[str]] = frozenset(
        {"counts", "dff", "events", "deconvolved", "fluorescence"}
    )
    target: ClassVar[str] = base.NEXT
    form: ClassVar[str] = "netformer"
    Config: ClassVar[type[base.Config]] = NetFormerConfig
    paper: ClassVar[str] = "Lu et al., NetFormer, ICLR 2025"
    presets: ClassVar[dict[str, dict[str, object]]] = PRESETS
    absent_options: ClassVar[Mapping[str, object]] = {"core": False}
    config: NetFormerConfig
    queried: Tensor  # (num_global,) bool
    cell_type: Tensor  # (num_global,) long
    query_mean: Tensor  # (num_global, p) see `_netformer_centred.Means`
    sent_mean: Tensor  # (num_global, p)
    seen: Tensor  # (num_global, 2) least and largest input in training

    def __init__(self, config: NetFormerConfig, layout: base.Layout) -> None:
        super().__init__(config, layout)
        check(config, layout)
        if config.core:
            self.core = cores(layout, context=config.history)
        if not config.own_part:
            return
        embedding = config.embedding or full_embedding(layout)
        history, width = config.history, config.history + embedding
        projection = config.projection or width
        bound = width**-0.5
        self.scale = bound if config.scale is None else config.scale
        self.dropout, self.type_weight = config.dropout, config.type_weight
        self.ridge = config.ridge or 0.0  # `initialise` divides it by the number of windows
        self.embedding = nn.Parameter(torch.randn(layout.num_global, embedding))
        self.covariate_embedding = nn.Parameter(torch.randn(layout.num_covariates, embedding))
        self.query = nn.Parameter(torch.empty(projection, width).uniform_(-bound, bound))
        self.key = nn.Parameter(torch.empty(projection, width).uniform_(-bound, bound))
        self.query.data *= config.start
        self.norm_in = nn.LayerNorm(width) if config.layer_norm else None
        self.norm_out = (
            nn.LayerNorm(history) if config.layer_norm and not config.raw_values else None
        )
        if config.core:
            self.covariate_embedding.requires_grad_(False)  # covariates enter the core
            sizes = {"query_mean": projection, "sent_mean": projection, "seen": 2}
            for name, size in sizes.items():
                self.register_buffer(name, torch.zeros(layout.num_global, size))
        self.baseline = nn.Parameter(torch.zeros(layout.num_global)) if config.baseline else None
        self.retention = nn.Parameter(torch.ones(layout.num_global)) if config.retention else None
        if config.loss == "gaussian":
            self.log_variance = nn.Parameter(torch.zeros(layout.num_global))
        if config.type_weight:
            assert layout.cell_types is not None  # check
            num_types = 1 + max(layout.cell_types)
            self.register_buffer("cell_type", torch.tensor(layout.cell_types), persistent=False)
            self.type_mean = nn.Parameter(torch.zeros(num_types, num_types))  # C
            self.type_log_variance = nn.Parameter(torch.zeros(num_types, num_types))
        if config.queries is not None:
            queried = torch.zeros(layout.num_global, dtype=torch.bool)
            queried[list(config.queries)] = True
            self.register_buffer("queried", queried, persistent=False)

    @classmethod
    def configure(cls, layout: base.Layout, **options: object) -> NetFormerConfig:
        """Defaults for this kind of data; `preset` names a published experiment (PRESETS).

        Raises:
            TypeError: an unknown option.
            ValueError: an unknown preset, or options that contradict each other or the data.
        """
        preset = options.pop("preset", None)
        if preset is not None and preset not in PRESETS:
            raise ValueError(f"no preset {preset!r}; there are: {', '.join(PRESETS)}")
        if starts_at_core(preset, options, OF_THE_PAPER):
            chosen = on_core(layout)
        else:
            chosen = defaults(layout) if preset in (None, PAPER) else PRESETS[str(preset)]
        config = NetFormerConfig(**{**chosen, **options})  # type: ignore[arg-type]
        check(config, layout)
        return config

    @classmethod
    def candidates(
        cls, config: base.Config, layout: base.Layout, num_windows: int
    ) -> tuple[base.Config, ...]:
        assert isinstance(config, NetFormerConfig)
        return candidates(config, layout, num_windows)

    @classmethod
    def windows(cls, config: base.Config, layout: base.Layout) -> base.WindowSpec:
        assert isinstance(config, NetFormerConfig)
        return base.WindowSpec(context=config.history, inputs=config.inputs)

    def forward(self, batch: base.Batch) -> base.Output:
        if self.config.core:
            return self._on_core(batch)
        if self._forms_attention(batch):
            received, values, hidden = self._through_attention(batch)
        else:
            received, values, hidden = self._through_tokens(batch)
        u = self._kept(values, batch) + received  # (B, N, C)
        linear = (u if self.norm_out is None else self.norm_out(u))[..., -1][:, None]  # (B, 1, N)
        if self.baseline is not None:
            linear = linear + self.baseline[batch.neuron_ids]
        if self.config.queries is not None:
            linear = linear.masked_fill(~self.queried[batch.neuron_ids], torch.nan)
        return base.Output(
            prediction=LINKS[self.config.link](linear),
            log_rate=linear if self.config.link == "log" else None,
            hidden=hidden,
        )

    def loss(self, batch: base.Batch, output: base.Output) -> Tensor:
        """Mean over the valid targets of the neurons that are queried."""
        counted = batch.valid
        if self.config.queries is not None:
            counted = counted & self.queried[batch.neuron_ids]
        target = batch.target
        prediction = torch.where(counted, output.prediction, target)  # the rest may be NaN
        if self.config.loss == "poisson":
            assert output.log_rate is not None  # check: Poisson goes with the log link
            cost = prediction - target * torch.where(counted, output.log_rate, 0.0)
        elif self.config.loss == "gaussian":
            log_variance = self.log_variance[batch.neuron_ids]
            error = (target - prediction) ** 2
            cost = 0.5 * (log_variance + error * torch.exp(-log_variance))
        else:
            cost = (prediction - target) ** 2
        total = torch.where(counted, cost, 0.0).sum() / counted.sum()
        if self.config.ridge:
            total = total + self.ridge * output.hidden["size"]
        if self.config.type_weight:
            total = total + self.type_weight * output.hidden["type_penalty"]
        return total

    def initialise(self, train: Iterable[base.Batch]) -> None:
        """Count the windows; start the constants at the mean target, seen through the link.

        What a neuron keeps of itself starts at its first-order autoregression.
        """
        if self.config.core:
            self._take_range(train)
            return
        num_windows = 0
        total = torch.zeros_like(self.embedding.data[:, 0])
        count, product, square = (torch.zeros_like(total) for _ in range(3))
        for batch in train:
            num_windows += batch.num_windows
            newest = batch.activity[:, -1:] * batch.valid
            product.index_add_(
                0, batch.neuron_ids, (newest * batch.target).sum(dim=(0, 1)).to(total)
            )
            square.index_add_(0, batch.neuron_ids, (newest**2).sum(dim=(0, 1)).to(total))
            targets = (batch.target * batch.valid).sum(dim=(0, 1)).to(total)
            total.index_add_(0, batch.neuron_ids, targets)
            count.index_add_(0, batch.neuron_ids, batch.valid.sum(dim=(0, 1)).to(total))
        self.ridge = (self.config.ridge or 0.0) / max(1, num_windows)
        if self.retention is not None and self.config.link == "identity":
            self.retention.data.copy_(product / square.clamp(min=1e-12))
        if self.baseline is None:
            return
        mean = total / count.clamp(min=1)
        if self.config.link == "log":
            mean = torch.log(mean.clamp(min=1e-4))
        elif self.config.link == "tanh":
            mean = torch.atanh(mean.clamp(-0.999, 0.999))
        self.baseline.data.copy_(mean)

    def optimiser(
        self, num_updates: int, updates_per_epoch: int
    ) -> tuple[torch.optim.Optimizer, lr_scheduler.LRScheduler | None]:
        optimiser, _ = super().optimiser(num_updates, updates_per_epoch)
        rate, schedule = self.config.learning_rate, self.config.schedule
        if schedule == "plateau":
            return optimiser, lr_scheduler.ReduceLROnPlateau(optimiser, patience=3)
        if schedule == "step":
            step = max(1, 100 * updates_per_epoch)
            return optimiser, lr_scheduler.StepLR(optimiser, step, gamma=0.9)
        if schedule == "cyclic":
            return optimiser, lr_scheduler.CyclicLR(
                optimiser, base_lr=rate / 2, max_lr=2 * rate, cycle_momentum=False
            )
        return optimiser, None

    @torch.no_grad()
    def on_train_end(self, train: Iterable[base.Batch]) -> None:
        """Add a note if the layer norms change signs: then A_ij > 0 lowers the prediction.

        On a core: means of queries and of what is sent, over every training window.
        """
        if self.config.core:
            if self.config.own_part:
                self._take_means(train)
            return
        if self.norm_out is None or self.norm_in is None:
            return
        newest = self.config.history - 1
        turned = float(self.norm_in.weight[newest] * self.norm_out.weight[newest])
        if turned <= 0:
            self.notes = (
                f"the layer norms multiply the newest value by {turned:.3g}: a positive coupling "
                "lowers the prediction; read the signs of the influence instead",
            )

    def connectivity(self, session: str | None = None) -> dict[str, Tensor]:
        """Arrays from which A is evaluated at any window (form "netformer")."""
        session = session or next(iter(self.layout.neuron_ids))
        ids = self.layout.neuron_ids[session]
        if not self.config.own_part:
            return {"weight": self._core(session).coupling.detach()}
        embedding, query, key = self.embedding[list(ids)], self.query.data, self.key.data
        parameters: dict[str, Tensor] = {}
        if self.config.static:
            # A sees the embedding alone: fold its normalised token into the embedding's place.
            embedding = self._normed(F.pad(embedding, (self.config.history, 0)))
            query, key = (F.pad(weight, (self.config.history, 0)) for weight in (query, key))
        elif self.norm_in is not None:
            parameters = {"norm_gain": self.norm_in.weight, "norm_bias": self.norm_in.bias}
        parameters |= {
            "embedding": embedding,  # (N, E)
            "query": query,  # (p, H + E)
            "key": key,
            "context": torch.tensor(self.config.history),
            "scale": torch.tensor(self.scale, dtype=torch.float64),
            # Without a layer norm on the values, the newest value is the activity itself.
            "raw_values": torch.tensor(self.norm_out is None),
        }
        if self.config.core:
            parameters["weight"] = self._core(session).coupling
            parameters["query_offset"] = self.query_mean[list(ids)]
            parameters["seen"] = self.seen[list(ids)]
        return {name: value.detach() for name, value in parameters.items()}

    @torch.no_grad()
    def time_resolved(self, batch: base.Batch) -> dict[str, Tensor]:
        """The newest values y (B, N), where a static A keeps no tokens that would give them."""
        if not self.config.own_part or self.norm_out is None or not self.config.static:
            return {}
        return {"y": self._tokens(batch)[1][:, : batch.activity.shape[2], -1]}

    def embeddings(self) -> Tensor | None:
        return self.embedding.detach() if self.config.own_part else None

    @property
    def fitted_form(self) -> str:
        return self.form if self.config.own_part else "static"

    def load_core(self, session: str, state: Mapping[str, Tensor]) -> None:
        self.core[key(session)].load_state_dict(state)

    def session_state(self, session: str) -> dict[str, Tensor]:
        """Everything but the cores of other sessions."""
        own = f"core.{key(session)}."
        return {
            name: value
            for name, value in self.state_dict().items()
            if not name.startswith("core.") or name.startswith(own)
        }

    @torch.no_grad()
    def before_validation(self) -> None:
        """On a core: means over some training windows."""
        if self.config.core and self.config.own_part:
            self._take_means(self._some)

    def load_shared(self, state: Mapping[str, Tensor]) -> None:
        """Take queries, keys, norms and covariate tokens: what is per neuron is left to fit.

        Raises:
            ValueError: they are of other sizes.
        """
        if not self.config.own_part:
            return  # closed-form cores share nothing
        per_neuron = ("embedding", "baseline", "retention", "log_variance")
        shared = {k: v for k, v in self.named_parameters() if k not in per_neuron}
        for name, parameter in shared.items():
            given = state.get(name)
            if given is None or given.shape != parameter.shape:
                size = "missing" if given is None else tuple(given.shape)
                raise ValueError(f"{name} is {size}, this model needs {tuple(parameter.shape)}")
            parameter.data.copy_(given)
            parameter.requires_grad_(False)

    @torch.no_grad()
    def attention(self, batch: base.Batch) -> Tensor:
        """(B, post, pre) A between neurons, formed and detached: for few neurons or few windows."""
        seen = self._tokens(batch)[0][:, : batch.activity.shape[2]]
        return self.scale * (seen @ self.query.T) @ (seen @ self.key.T).mT

    @torch.no_grad()
    def influence(self, batch: base.Batch) -> Tensor:
        """Exact Jacobian of the prediction (log link: of the log rate) in the newest inputs.

        With t_j the change of token j per unit of its newest input and g_i the gradient of yhat_i
        in u_i: s [(q_i . k_j)(g_i . t_j[:H]) + (q_i . Wk t_j)(g_i . v_j)], plus on the diagonal
        what passes through a neuron's own residual and query.
        """
        if self.config.core:
            return self._influence_on_core(batch)
        num_neurons, newest = batch.activity.shape[2], self.config.history - 1
        seen, values = self._tokens(batch)
        unit = torch.zeros_like(seen[:, :num_neurons])
        unit[..., newest] = 1.0
        step = unit if self.norm_in is None else through(self.norm_in, self._raw(batch), unit)
        value_step = torch.ones_like(values[:, :num_neurons])
        if self.norm_out is not None:
            value_step = step[..., : newest + 1]
        if self.config.static:
            step = torch.zeros_like(step)

        gradient = torch.zeros_like(value_step)
        gradient[..., -1] = 1.0
        if self.norm_out is not None:
            u = self._kept(values, batch) + self._received(seen, values, num_neurons)
            gradient = back_through(self.norm_out, u, gradient)
        if self.config.link == "tanh":
            gradient = gradient * (1 - self(batch).prediction.mT ** 2)

        queries, keys = seen[:, :num_neurons] @ self.query.T, seen @ self.key.T
        attention = queries @ keys[:, :num_neurons].mT  # (B, post, pre)
        jacobian = attention * (gradient @ value_step.mT)
        gradient_of_values = gradient @ values.mT  # (B, post, M)
        jacobian += (queries @ (step @ self.key.T).mT) * gradient_of_values[..., :num_neurons]
        if not self.config.coupling:
            own = torch.eye(num_neurons, dtype=torch.bool, device=jacobian.device)
            jacobian *= own
            gradient_of_values[..., :num_neurons] *= own
        through_query = (((step @ self.query.T) @ keys.mT) * gradient_of_values).sum(-1)
        kept = gradient * self._kept(value_step, batch)
        diagonal = kept.sum(-1) + self.scale * through_query
        return self.scale * jacobian + torch.diag_embed(diagonal)

    # --- on a core ---

    def _core(self, session: str) -> Core:
        core = self.core[key(session)]
        assert isinstance(core, Core)
        return core

    def _on_core(self, batch: base.Batch) -> base.Output:
        core = self._core(batch.session)
        linear = core(batch) if batch.lower is None else batch.lower[:, 0]
        hidden = {}
        if self.config.own_part:
            queries, keys, values = self._projected(batch)
            means = self._means(batch)
            if self.training:
                means = centred.of_batch(queries, keys, values)
            linear = linear + self.scale * centred.received(queries, keys, values, means)
            if self.config.ridge:
                hidden["size"] = self.scale**2 * centred.size(queries, keys, means)
            if self.config.link == "log":
                linear = torch.minimum(linear, core.ceiling)
        linear = linear[:, None]  # (B, 1, N)
        return base.Output(
            prediction=LINKS[self.config.link](linear),
            log_rate=linear if self.config.link == "log" else None,
            hidden=hidden,
        )

    def _means(self, batch: base.Batch) -> centred.Means:
        ids = batch.neuron_ids
        return centred.Means(self.query_mean[ids], self.sent_mean[ids])

    def _bounded(self, batch: base.Batch) -> Tensor:
        """(B, H, N) inputs inside the training range."""
        low, high = self.seen[batch.neuron_ids].T
        return batch.activity.clamp(low, high)

    def _projected(self, batch: base.Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys (B, N, p), and the newest values (B, N)."""
        activity = self._bounded(batch)
        embedding = self.embedding[batch.neuron_ids].expand(len(activity), -1, -1)
        tokens = self._normed(torch.cat([activity.mT, embedding], dim=2))
        return rows(tokens, self.query), rows(tokens, self.key), activity[:, -1]

    def _take_range(self, train: Iterable[base.Batch]) -> None:
        """Least and largest inputs, and batches from which means are taken before validation."""
        if not self.config.own_part:
            return
        self._some: list[base.Batch] = []
        num_windows = 0
        self.seen[:, 0], self.seen[:, 1] = math.inf, -math.inf
        for batch in train:
            ids = batch.neuron_ids
            self.seen[ids, 0] = torch.minimum(self.seen[ids, 0], batch.activity.amin((0, 1)))
            self.seen[ids, 1] = torch.maximum(self.seen[ids, 1], batch.activity.amax((0, 1)))
            num_windows += batch.num_windows
            self._some.append(batch)
            if len(self._some) > 2 * MEAN_BATCHES:
                self._some = self._some[::2]
        self.ridge = (self.config.ridge or 0.0) / max(1, num_windows)

    def _take_means(self, batches: Iterable[base.Batch]) -> None:
        query, sent, count = (torch.zeros_like(self.query_mean) for _ in range(3))
        for batch in batches:
            queries, keys, values = self._projected(batch)
            query.index_add_(0, batch.neuron_ids, queries.sum(0))
            sent.index_add_(0, batch.neuron_ids, (keys * values[..., None]).sum(0))
            count.index_add_(
                0, batch.neuron_ids, torch.full_like(queries[0], float(batch.num_windows))
            )
        self.query_mean.copy_(query / count.clamp(min=1))
        self.sent_mean.copy_(sent / count.clamp(min=1))

    def _influence_on_core(self, batch: base.Batch) -> Tensor:
        influence = self._core(batch.session).influence(batch)
        if not self.config.own_part:
            return influence
        queries, keys, values = self._projected(batch)
        inside = (self._bounded(batch)[:, -1] == batch.activity[:, -1]).to(values)  # (B, N)
        embedding = self.embedding[batch.neuron_ids].expand(len(values), -1, -1)
        raw = torch.cat([self._bounded(batch).mT, embedding], dim=2)
        unit = torch.zeros_like(raw)
        unit[..., self.config.history - 1] = inside
        step = unit if self.norm_in is None else through(self.norm_in, raw, unit)
        steps = (rows(step, self.query), rows(step, self.key), inside)
        return influence + self.scale * centred.jacobian(
            queries, keys, values, self._means(batch), steps
        )

    # --- parts ---

    def _halves(self, batch: base.Batch) -> tuple[Tensor, Tensor]:
        """Histories (B, M, H) and embeddings (M, E) of the tokens; covariates after neurons."""
        history, embedding = batch.activity.mT, self.embedding[batch.neuron_ids]
        if batch.covariates.shape[-1]:
            history = torch.cat([history, batch.covariates.mT], dim=1)
            embedding = torch.cat([embedding, self.covariate_embedding])
        return history, embedding

    def _raw(self, batch: base.Batch) -> Tensor:
        """(B, M, d) history beside embedding."""
        history, embedding = self._halves(batch)
        return torch.cat([history, embedding.expand(len(history), -1, -1)], dim=2)

    def _normed(self, tokens: Tensor) -> Tensor:
        return tokens if self.norm_in is None else self.norm_in(tokens)

    def _tokens(self, batch: base.Batch) -> tuple[Tensor, Tensor]:
        """Inputs of queries and keys (B, M, d), and the values (B, M, C), the newest last.

        C = H with LN2; else nothing but the newest value is ever used, and C = 1.
        """
        raw, history = self._raw(batch), self.config.history
        tokens = self._normed(raw)
        seen = (
            self._normed(F.pad(raw[..., history:], (history, 0))) if self.config.static else tokens
        )
        if self.norm_out is not None:
            return seen, tokens[..., :history]
        return seen, self._newest(batch)

    def _newest(self, batch: base.Batch) -> Tensor:
        """(B, M, 1) newest values, from the batch: tokens would keep a gradient."""
        return torch.cat([batch.activity[:, -1], batch.covariates[:, -1]], dim=1)[..., None]

    def _kept(self, values: Tensor, batch: base.Batch) -> Tensor:
        """(B, N, C): what the neurons keep of their own values."""
        own = values[:, : len(batch.neuron_ids)]
        return own if self.retention is None else own * self.retention[batch.neuron_ids][:, None]

    def _drop(self, values: Tensor, batch: base.Batch) -> Tensor:
        """Values with whole tokens silenced: an entry-wise dropout of A would have to form A."""
        if not (self.training and self.config.dropout):
            return values
        chance = batch.random.uniform(*values.shape[:2], 1)
        return values * (chance >= self.dropout) / (1 - self.dropout)

    @property
    def _mixing(self) -> Tensor:
        """(d, d) M = s Wq^T Wk: A = Z M Z^T."""
        return self.scale * self.query.T @ self.key

    def _forms_attention(self, batch: base.Batch) -> bool:
        """True if the ridge needs A, A is smaller than the tokens, and nothing else needs the
        tokens.
        """
        num_tokens = batch.activity.shape[2] + batch.covariates.shape[2]
        small = num_tokens < self.query.shape[1]
        return bool(self.config.ridge) and small and not self.config.type_weight

    def _through_attention(self, batch: base.Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Input to the neurons (B, N, C), the values (B, M, C), and the terms of the loss."""
        num_neurons = batch.activity.shape[2]
        history, embedding = self._halves(batch)
        seen = parts(
            torch.zeros_like(history[:1]) if self.config.static else history,
            embedding,
            self.norm_in,
        )
        attention = seen.attention(self._mixing, num_neurons)
        values = self._newest(batch)
        if self.norm_out is not None:
            moving = parts(history, embedding, self.norm_in) if self.config.static else seen
            values = moving.values(self.config.history)
        weight = attention
        if not self.config.coupling:
            own = torch.eye(*attention.shape[1:], dtype=attention.dtype, device=attention.device)
            own[:, num_neurons:] = 1  # covariates are heard all the same
            weight = attention * own
        hidden = {"size": size_of_attention(attention)}
        return weight @ self._drop(values, batch), values, hidden

    def _through_tokens(self, batch: base.Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The same as `_through_attention`, without forming A."""
        num_neurons = batch.activity.shape[2]
        seen, values = self._tokens(batch)
        hidden = {}
        if self.config.ridge:
            hidden["size"] = size_through_tokens(seen, num_neurons, self._mixing)
        if self.config.type_weight:
            hidden["type_penalty"] = type_penalty(
                self.scale * rows(seen[:, :num_neurons], self.query),
                rows(seen[:, :num_neurons], self.key),
                self.cell_type[batch.neuron_ids],
                self.type_mean,
                self.type_log_variance,
            )
        return self._received(seen, self._drop(values, batch), num_neurons), values, hidden

    def _received(self, seen: Tensor, inputs: Tensor, num_neurons: int) -> Tensor:
        """(B, N, C): sum over tokens j of A_ij v_j, without forming A."""
        neurons, senders, sent = seen[:, :num_neurons], seen, inputs
        if not self.config.coupling:
            senders, sent = seen[:, num_neurons:], inputs[:, num_neurons:]
        context = rows(rows(sent.mT @ senders, self.key), self.query.T)  # (B, C, d)
        if context.shape[1] == 1:  # one value per token: a product of matrices is slower
            received = (neurons * context).sum(-1, keepdim=True)
        else:
            received = neurons @ context.mT
        if not self.config.coupling:
            own = (rows(neurons, self.query) * rows(neurons, self.key)).sum(-1, keepdim=True)
            received = received + own * inputs[:, :num_neurons]
        return self.scale * received


MODEL = NetFormer
