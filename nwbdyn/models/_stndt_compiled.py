"""Preparation of STNDT's encoder for training through torch.compile."""

import os
import shutil
from importlib.util import find_spec

import torch
from torch import Tensor

from nwbdyn.errors import ConfigError
from nwbdyn.models.base import Random

_COMPILERS = ("g++", "clang++", "c++", "cl")


class TorchsOwn(Random):
    """Random numbers off torch's own generator, the only one that the compiler can make use of."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(None, device)
        self.device = device

    def random_int16(self, *shape: int) -> Tensor:
        # Not off one draw for four elements: what is drawn where it is used need not be stored.
        return torch.randint(-(2**15), 2**15, shape, dtype=torch.int16, device=self.device)


def check_compiler(device: torch.device) -> None:
    """Refuse to compile for a device without the programs that it takes.

    Raises:
        ConfigError: no C++ compiler, or no Triton for a GPU.
    """
    if not os.environ.get("CXX") and not any(shutil.which(name) for name in _COMPILERS):
        raise ConfigError(
            f"compile is on, but none of {', '.join(_COMPILERS)} is on the PATH, and CXX is not "
            "set. Install a C++ compiler, or set compile=false."
        )
    if device.type == "cuda" and find_spec("triton") is None:
        raise ConfigError(
            "compile is on, but the package triton, which writes programs for a GPU, is not "
            "installed. Install it, or set compile=false."
        )
