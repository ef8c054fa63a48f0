"""Checkpoints of a training, in one file of the run directory; reading one executes nothing."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nwbdyn.errors import FitError
from nwbdyn.results import run_directory


def read_checkpoint(folder: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The checkpoint of a run; nothing in it executes.

    Raises:
        FitError: it is damaged.
    """
    path = folder / run_directory.CHECKPOINT
    try:
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise FitError(f"{path} is damaged ({error}). Start again with --overwrite.") from error


def write_checkpoint(state: Mapping[str, Any], folder: Path) -> None:
    """Write it into the run, atomically.

    By way of memory, because torch says of a full disk only that some stream failed.
    """
    content = io.BytesIO()
    torch.save(state, content)
    with run_directory.atomic_write(folder / run_directory.CHECKPOINT) as partial:
        partial.write_bytes(content.getbuffer())


def owned(value: Any) -> Any:
    """The same with memory of its own: a tensor may be part of a larger one, and change later."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, Mapping):
        return {name: owned(item) for name, item in value.items()}
    if isinstance(value, list):
        return [owned(item) for item in value]
    return value
