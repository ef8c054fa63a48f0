"""The whole contract between a model and the rest of nwbdyn.

A model is one file in this folder with a `Config` dataclass, a `Model` subclass and `MODEL = …`.
It sees tensors and a `Layout`, never a recording, a file or the command line. Time is axis 1 of a
batch; connectivity is [..., post, pre].
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nwbdyn.models._adamw import AdamW

NEXT, CO_SMOOTHING = "next", "co-smoothing"
PARAMETERS = {  # form of a model's connectivity -> names that `Model.connectivity` returns
    "static": ("weight",),
    "dense": (),
    "gain": ("A",),
    "netformer": ("embedding", "query", "key", "context", "scale"),
    "attention": (),
}
PER_WINDOW = {  # names that `Model.time_resolved` returns beside them, one row per window
    "dense": ("weights",),
    "gain": ("g",),
    "attention": ("maps",),
}


@dataclass(frozen=True)
class Layout:
    """Sizes and properties of the data; everything that may determine the size of a model."""

    neuron_ids: dict[str, tuple[int, ...]]  # session -> global row of each of its neurons
    held_in: dict[str, tuple[bool, ...]]  # session -> flag per neuron
    bin_width: float  # seconds
    quantity: str  # "counts", "dff", "events", "deconvolved" or "fluorescence"
    num_covariates: int = 0
    trial_bins: tuple[int, int] | None = None  # (observed, forward) bins of an aligned trial
    cell_types: tuple[int, ...] | None = None  # (num_global,) number of the type; -1 = unknown

    @property
    def num_global(self) -> int:
        """Number of distinct neurons over all sessions."""
        return 1 + max(max(ids) for ids in self.neuron_ids.values())

    @property
    def counts(self) -> bool:
        """True when the activity is binned spikes."""
        return self.quantity == "counts"


@dataclass(frozen=True)
class WindowSpec:
    """The windows that a model needs."""

    context: int  # bins of input
    forward: int = 0  # co-smoothing: bins after the context to predict, unseen
    inputs: str = "zscore"  # "zscore", "raw" (traces as they are, targets too), "counts", or
    # "exponential" (causal filter over counts)
    time_constant: float = 0.1  # seconds, of the exponential


class Random:
    """Random numbers off one generator (torch's own where it is None), on one device."""

    def __init__(self, generator: torch.Generator | None, device: torch.device | str) -> None:
        self._generator, self._device = generator, torch.device(device)

    def uniform(self, *shape: int) -> Tensor:
        """Numbers from [0, 1)."""
        return torch.rand(shape, generator=self._generator, device=self._device)

    def random_int16(self, *shape: int) -> Tensor:
        """16 random bits per element, int16; four elements share one draw."""
        numel = math.prod(shape)
        words = torch.empty((numel + 3) // 4, dtype=torch.int64, device=self._device)
        words.random_(-(2**63), None, generator=self._generator)
        return words.view(torch.int16)[:numel].view(shape)


@dataclass(frozen=True)
class Batch:
    """Some windows of one session.

    NEXT models: T = context, S = 1, the target is the bin after the context.
    CO_SMOOTHING models: T = S = context + forward; held-out columns and forward bins of `activity`
    are zero.
    """

    activity: Tensor  # (B, T, N) as the model's WindowSpec.inputs asks
    target: Tensor  # (B, S, N) counts, or z-scored traces
    valid: Tensor  # (B, S, N) bool, the targets that count
    held_in: Tensor  # (N,) bool
    neuron_ids: Tensor  # (N,) long, global rows
    covariates: Tensor  # (B, T, K), z-scored with training statistics
    start_bin: Tensor  # (B,) long, first bin of each window on the session clock
    session: str = "0"
    generator: torch.Generator | None = None  # masks and dropout draw from it in training
    lower: Tensor | None = None  # (B, S, N) prediction of a closed-form core (a log rate of counts)
    # from these windows; None where it is not known, or the activity is another

    @property
    def num_windows(self) -> int:
        return self.activity.shape[0]

    @property
    def random(self) -> Random:
        """Random numbers off this batch's generator."""
        return Random(self.generator, self.activity.device)


@dataclass(frozen=True)
class Output:
    """Output of a model for one batch; the same type in training and in evaluation."""

    prediction: Tensor  # (B, S, N) in the units of the target; expected counts per bin for spikes
    log_rate: Tensor | None = None  # (B, S, N) where the model works in logs
    connectivity: dict[str, Tensor] = field(default_factory=dict)  # per window, see Model.form
    hidden: dict[str, Tensor] = field(default_factory=dict)  # what the model's own loss needs


@dataclass(frozen=True)
class Config:
    """Training options every model has. A model's Config adds its own fields and defaults."""

    epochs: int = 100  # passes over the training windows, at most
    updates: int | None = None  # optimiser steps, at most; overrides epochs
    batch_size: int = 32  # windows per update
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    clip_norm: float | None = None  # gradient norm limit
    patience: float = 20  # validations without improvement before stopping; below 1: that share of
    # all validations that there may be
    validate_every: int | None = 1  # epochs between validations; none: 40 of them in the course
    validate_from: float = 0.0  # share of the course before the first validation
    stop_after: float = 1.0  # share of the course after which training ends


BaseConfig = Config  # inside a Model, `Config` is the model's own


class Model(nn.Module):
    """Base class of every model of functional connectivity.

    Subclasses set the class variables, build themselves from (config, layout) and define `windows`,
    `forward` and `loss`, and `influence` too where neurons are held out. The hooks below have
    defaults that suit most models.
    """

    quantities: ClassVar[frozenset[str]]  # what it can be fitted to
    target: ClassVar[str]  # NEXT or CO_SMOOTHING
    form: ClassVar[str]  # native connectivity, a name in PARAMETERS
    Config: ClassVar[type[BaseConfig]]
    paper: ClassVar[str]  # one-line citation
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {}  # name -> options; for `configure`
    spike_bin_width: ClassVar[float] = 0.020  # seconds, where nobody asks for another
    ablations: ClassVar[tuple[str, ...]] = ()  # what `forward(batch, maps=…)` can put for its maps
    # Options, beside those of training, in which members of a stack may differ:
    absent_options: ClassVar[Mapping[str, object]] = {}  # of configs of earlier versions
    notes: tuple[str, ...] = ()  # what differs from what was asked, for the run's notes

    def __init__(self, config: BaseConfig, layout: Layout) -> None:
        super().__init__()
        self.config = config
        self.layout = layout

    @classmethod
    def missing_methods(cls) -> list[str]:
        """Names of required methods and attributes that this class does not define."""
        required = ("quantities", "target", "form", "Config", "paper")
        missing = [name for name in required if not hasattr(cls, name)]
        defined = ["windows", "forward", "loss"]
        if getattr(cls, "target", NEXT) == CO_SMOOTHING:
            defined.append("influence")
        return missing + [name for name in defined if getattr(cls, name) is getattr(Model, name)]

    @classmethod
    def configure(cls, layout: Layout, **options: object) -> BaseConfig:
        """The Config for this kind of data; `options` win over the defaults.

        Raises:
            TypeError: an option the Config does not have.
            ValueError: options that contradict each other or the data.
        """
        return cls.Config(**options)  # type: ignore[arg-type]

    @classmethod
    def options_of(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Options that give a stored config again, whichever version stored it."""
        return {**cls.absent_options, **config}

    @classmethod
    def candidates(
        cls, config: BaseConfig, layout: Layout, num_windows: int
    ) -> tuple[BaseConfig, ...]:
        """Configs that validation chooses from before the fit; most models leave nothing open.

        Args:
            config: as `configure` made it.
            num_windows: training windows.
        """
        return (config,)

    @classmethod
    def windows(cls, config: BaseConfig, layout: Layout) -> WindowSpec:
        """The WindowSpec for this Config."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Output:
        raise NotImplementedError

    def loss(self, batch: Batch, output: Output) -> Tensor:
        """Scalar training loss."""
        raise NotImplementedError

    def initialise(self, train: Iterable[Batch]) -> None:
        """Set starting values from the training batches; called once before training."""

    def optimiser(
        self, num_updates: int, updates_per_epoch: int
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
        """The optimiser and a scheduler that is stepped once per update.

        A ReduceLROnPlateau is stepped once per validation with its score instead.
        """
        optimiser = AdamW(
            self.parameters(),
            lr=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )
        return optimiser, None

    def after_update(self, step: int) -> None:
        """Called after optimiser step number `step` (proximal steps, ramps)."""

    def on_train_end(self, train: Iterable[Batch]) -> None:
        """Called once with the best weights restored (fix signs, cache means)."""

    def load_core(self, session: str, state: Mapping[str, Tensor]) -> None:
        """Take over the closed-form core of one session; called before `initialise`.

        Raises:
            ValueError: this model has no core.
        """
        raise ValueError("this model has no closed-form core")

    def before_validation(self) -> None:
        """Update what `forward` takes from the batch while training; called before a validation."""

    def load_shared(self, state: Mapping[str, Tensor]) -> None:
        """Take over what sessions share from the state of a fitted model, and freeze it.

        Raises:
            ValueError: sessions share nothing in this model, or the sizes differ.
        """
        raise ValueError("sessions share no weights in this model")

    def session_state(self, session: str) -> dict[str, Tensor]:
        """The part of the state that belongs to one session; all of it in most models."""
        return dict(self.state_dict())

    @property
    def fitted_form(self) -> str:
        """The connectivity form of this very model: `form`, or "static" without a changing part."""
        return self.form

    def connectivity(self, session: str | None = None) -> dict[str, Tensor]:
        """The parameters that the native connectivity form needs, detached.

        Names are those of `nwbdyn.Connectivity`; rows are the neurons of `session` (the first one
        by default).
        """
        return {}

    def time_resolved(self, batch: Batch) -> dict[str, Tensor]:
        """Time-resolved parts of the native connectivity form, one row per window, detached.

        Empty where the parameters and the activity are enough. `y` is what the coupling multiplies,
        where contributions need it: (B, N), or (B, layers, T, N) beside attention maps.
        """
        return {}

    def influence(self, batch: Batch) -> Tensor:
        """(B, post, pre): what one more unit of input in the last observed bin of neuron `pre` does
        to the prediction of neuron `post`, everything later than that bin unseen. Detached.

        The one read-out that means the same for every model: traces in target units per input
        unit; spikes as change of the log rate. The diagonal is a neuron's own history. By default
        that of a next-bin model is the derivative of `forward`, one backward pass per neuron;
        another model defines its own.
        """
        with torch.enable_grad():
            activity = batch.activity.detach().requires_grad_()
            output = self(replace(batch, activity=activity, lower=None))
            predicted = output.prediction if output.log_rate is None else output.log_rate
            rows = [
                torch.autograd.grad(predicted[:, -1, post].sum(), activity, retain_graph=True)[0][
                    :, -1
                ]
                for post in range(predicted.shape[2])
            ]
        return torch.stack(rows, dim=1)

    @property
    def supports_influence(self) -> bool:
        """True if `influence` is meaningful for the model as it was trained."""
        return True

    def embeddings(self) -> Tensor | None:
        """(num_global, E) neuron embeddings, detached, or None."""
        return None
