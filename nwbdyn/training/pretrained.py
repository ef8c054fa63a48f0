"""Shared weights of an earlier fit, loaded for a new session and not trained."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nwbdyn import disclosure, models
from nwbdyn.errors import ConfigError, ResultsError
from nwbdyn.recording import Source
from nwbdyn.results import fit_results, run_directory


@dataclass(frozen=True)
class Pretrained:
    """A fitted model, as far as a new session needs it."""

    run: str  # its run directory, of one recording or of several
    digest: str  # of its weights, as "sha256:…"
    options: Mapping[str, object]  # its Config
    bin_width: float | None  # seconds; None where it kept the frames of traces
    state: Mapping[str, Tensor] = field(repr=False)  # its weights by name
    sources: tuple[Source, ...] = ()  # recordings that it was trained on

    @property
    def record(self) -> dict[str, str]:
        """The part of this object that is stored in config.json."""
        return {"run": self.run, "digest": self.digest}


def read(run: Path | str, model: str) -> Pretrained:
    """The fitted model in a run directory.

    Raises:
        ConfigError: it is another model than `model`.
        ResultsError: there is no run, it is incomplete, or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    run = Path(run)
    run_directory.check_weights(run)
    config: dict[str, Any] = run_directory.read_json(run, run_directory.CONFIG)
    if config["model"] != model:
        raise ConfigError(
            f"{run} holds a fit of {config['model']}, not of {model}. Pass --model "
            f"{config['model']}, or another run."
        )
    try:
        content = (run / run_directory.WEIGHTS).read_bytes()
        state = load(content)
    except (OSError, SafetensorError) as error:
        raise ResultsError(f"Run {run} is damaged ({error}). Fit again.") from error
    binning = config["binning"]
    return Pretrained(
        run=str(run),
        digest=f"sha256:{sha256(content).hexdigest()}",
        options=models.load(model).options_of(config["config"]),
        bin_width=binning["bin_width"] if binning["quantity"] == "counts" else None,
        state={name: value.to(torch.float32) for name, value in state.items()},
        sources=_sources(run),
    )


def _sources(run: Path) -> tuple[Source, ...]:
    """Every recording that a run was trained on."""
    folders = [run / name for name in run_directory.sessions_in(run)] or [run]
    fits = [fit_results.load(folder, recorded=False) for folder in folders]
    sources = [source for fit in fits for source in fit_results.derived_from(fit)]
    return tuple(dict.fromkeys(map(disclosure.of_source, sources)))
