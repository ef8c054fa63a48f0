"""Options of STNDT: the authors' defaults, their four benchmark configurations, checks."""

from dataclasses import dataclass

from nwbdyn.models import base
from nwbdyn.models._stndt_masks import MODES

CONTRASTS = ("embedding", "prediction", "none")
PRECISIONS = ("float32", "bf16")


@dataclass(frozen=True)
class Config(base.Config):
    """Options of STNDT. Architecture and rates are the authors'; training length is ours.

    The paper's lengths are in PRESETS.
    """

    updates: int | None = 400
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 5e-5
    clip_norm: float | None = 200.0
    patience: int = 10
    validate_every: int | None = None
    validate_from: float = 0.25  # before it, what is trained has yet to catch up with the baseline
    warmup: float = 0.1  # share of the training with a rising learning rate; a cosine to 0 follows

    context: int = 100  # observed bins of a window, where there are no aligned trials
    forward: int = 0  # bins to predict after them, likewise
    layers: int = 4
    heads: int = 2  # at most; the largest number that divides bins and neurons is taken
    feedforward: int = 128  # units of the feed-forward layers
    attend_back: int = 8  # bins back that a bin attends to; 0 or less: all
    attend_forward: int = 4  # bins ahead; less than 0: all
    baseline: bool = True  # held-out neurons start from their baseline's log rates; the paper: no
    start_at_mean: bool = True  # rates start at each neuron's mean; the paper: one spike per bin
    dropout: float = 0.1
    dropout_embedding: float = 0.2
    dropout_rates: float = 0.2  # before the read-out

    mask_mode: str = "full"  # "full" single elements, "timestep" whole bins
    mask_ratio: float = 0.25  # share of the observed held-in counts that is masked
    mask_token: float = 1.0  # share of the masked that becomes 0
    mask_random: float = 0.5  # share of the others that becomes a random count
    mask_span: int = 1  # bins masked together, at most
    mask_span_start: float = 0.16  # share of the training after which spans begin to grow
    mask_span_end: float = 0.24  # share of the training after which every mask is a span
    causal_mask_ratio: float = 0.0  # share of windows hidden from, or up to, a random bin: ours
    influence_lags: int = 10  # bins back over which `influence` adds up, at most

    contrast: str = "embedding"  # what is contrasted: "embedding", "prediction" (paper) or "none"
    contrast_weight: float = 0.1  # of the contrastive loss
    contrast_temperature: float = 0.07
    contrast_ratio: float = 0.05  # mask of the two views, as above
    contrast_token: float = 0.5
    contrast_random: float = 0.5

    precision: str = "float32"  # "bf16": products of the training's encoder, for speed on a GPU
    compile: bool = False  # train the encoder through torch.compile, likewise


_PAPER: dict[str, object] = {
    "baseline": False,
    "learning_rate": 1e-3,
    "validate_from": 0.0,
    "start_at_mean": False,
    "layers": 4,
    "heads": 2,
    "feedforward": 128,
    "updates": None,
    "validate_every": 20,
}
_SHARES = (
    "dropout",
    "dropout_embedding",
    "dropout_rates",
    "mask_ratio",
    "contrast_ratio",
    "causal_mask_ratio",
    "warmup",
    "validate_from",
)
PRESETS: dict[str, dict[str, object]] = {  # the authors' four benchmark configurations
    "mc_maze": _PAPER | {"epochs": 50501, "warmup": 5000 / 50501, "patience": 3000 // 20},
    "mc_rtt": _PAPER | {"epochs": 50501, "warmup": 5000 / 50501, "patience": 3000 // 20},
    "area2_bump": _PAPER
    | {"heads": 1, "epochs": 40001, "warmup": 5000 / 40001, "patience": 2500 // 20},
    "dmfc_rsg": _PAPER
    | {"layers": 6, "epochs": 50501, "warmup": 5000 / 50501, "patience": 4000 // 20},
}


def configured(layout: base.Layout, options: dict[str, object]) -> Config:
    """The Config for these data; `preset` names one of PRESETS, other options win over it.

    Raises:
        TypeError: an option the Config does not have.
        ValueError: a choice that does not exist, a share outside 0 to 1, or data that do not fit.
    """
    preset = options.pop("preset", None)
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; choose from: {', '.join(PRESETS)}")
    config = Config(**(PRESETS.get(str(preset), {}) | options))  # type: ignore[arg-type]
    for name, choices in (("mask_mode", MODES), ("contrast", CONTRASTS), ("precision", PRECISIONS)):
        value = getattr(config, name)
        if value not in choices:
            raise ValueError(f"{name} is {value!r}; choose from: {', '.join(choices)}")
    for name in _SHARES:
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}; it has to be from 0 to below 1")
    for name in ("layers", "heads", "feedforward", "context", "mask_span", "influence_lags"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} is {getattr(config, name)}; it has to be 1 or more")
    if len(layout.held_in) != 1:
        raise ValueError(
            f"stndt fits one session at a time; there are {len(layout.held_in)}: fit each alone"
        )
    if not any(next(iter(layout.held_in.values()))):
        raise ValueError("no neuron is held in, so there is nothing to predict from")
    return config
