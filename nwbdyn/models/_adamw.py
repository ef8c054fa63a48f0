"""AdamW that does not import PyTorch's compiler.

The first optimiser of `torch.optim` imports `torch._dynamo`, which costs a notable share of the CPU
time of a small fit. Few models are compiled. These are torch's methods without the wrapper that
imports it.
"""

from inspect import unwrap
from typing import Any

import torch
from torch.optim import Optimizer


class AdamW(torch.optim.AdamW):
    """`torch.optim.AdamW`; not to be called inside a compiled function."""

    add_param_group = unwrap(Optimizer.add_param_group)
    zero_grad = unwrap(Optimizer.zero_grad)
    state_dict = unwrap(Optimizer.state_dict)
    load_state_dict = unwrap(Optimizer.load_state_dict)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        return unwrap(torch.optim.AdamW.step)(self, closure)
