"""Options of SynapsNet and its presets."""

from dataclasses import dataclass

from nwbdyn.models import base
from nwbdyn.models._core import LADDER, PAPER

DECODERS = ("mlp", "gru")


@dataclass(frozen=True)
class SynapsNetConfig(base.Config):
    """Options of SynapsNet. The paper's sizes are not known; these are this project's."""

    context: int = 8  # W, bins of input; counts: 20
    embedding: int = 8  # width of E
    hidden: int = 64  # width of the decoder
    decoder: str = "mlp"  # "mlp" over the flattened window, or "gru" over its bins
    loss: str = "mse"  # "mse" for traces, "poisson" for counts
    l1: float | None = 0.0  # proximal: A shrinks by l1 * learning rate a step; None: by validation
    coupling: bool = True  # False, comparison model: A is 0
    core: bool = False  # start at the closed-form core; preset "ladder"
    own_part: bool = True  # False: the core alone, with nothing to train
    updates: int | None = 2000
    batch_size: int = 64
    learning_rate: float = 3e-3  # the peak of one cycle
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0
    patience: float = 50


PRESETS: dict[str, dict[str, object]] = {LADDER: {}, PAPER: {}}
OF_THE_PAPER = ("l1", "coupling")  # options that a fit on a core does not have
ON_CORE: dict[str, object] = {"core": True, "updates": 400, "patience": 0.15}


def check(config: SynapsNetConfig, layout: base.Layout) -> None:
    """Raises ValueError for options that contradict each other or the data."""
    if config.decoder not in DECODERS:
        raise ValueError(f"no decoder {config.decoder!r}; there are: {', '.join(DECODERS)}")
    expected = "poisson" if layout.counts else "mse"
    if config.loss != expected:
        raise ValueError(f"{layout.quantity} need loss={expected!r}; it is {config.loss!r}")
    if config.core and (config.l1 or not config.coupling):
        raise ValueError("l1 and coupling=False belong to the paper's form; add preset=paper")
    if not (config.core or config.own_part):
        raise ValueError("own_part=False leaves the core alone, and core=False leaves nothing")
    if config.context < 1:
        raise ValueError(f"context is {config.context}; a window has at least 1 bin")
    for name in ("embedding", "hidden"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}; it has to be 1 or more")
    if config.l1 is not None and config.l1 < 0:
        raise ValueError(f"l1 is {config.l1}; a penalty is not negative")
