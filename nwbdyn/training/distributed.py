"""One fit over several processes: every batch split between them, gradients averaged (DDP).

Every process runs the same fit. Each takes its share of the windows of every batch, and after the
backward pass all hold the gradient of the whole batch, so their weights stay equal. The first
process alone validates, writes and speaks, and tells the others what it found. Refits on surrogates
and half-samples are many and small: every process makes its share of them by itself.

Where a loss is a mean over windows, as of the models of the next bin without dropout, the result is
that of one process, but for the order in which numbers are added. Masks, dropout and contrasts
between the windows of a batch are drawn within each share: those fits are as good, not the same.

Processes are started and joined by Lightning Fabric, which is not a dependency: `pip install
nwbdyn[multi-gpu]`.
"""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from nwbdyn import optional
from nwbdyn.errors import ConfigError, NwbdynError
from nwbdyn.models.base import Batch, Model

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Value = TypeVar("Value")


class ProcessGroup(Protocol):
    """The processes of one fit, as each of them sees it."""

    @property
    def is_rank_zero(self) -> bool:
        """True for the process that writes and prints."""

    @property
    def size(self) -> int:
        """Number of processes."""

    @property
    def device(self) -> torch.device | None:
        """Of this process; None leaves the choice to the fit."""

    def losses(self, model: Model) -> Callable[[Batch], Tensor]:
        """A function of a whole batch whose gradient, once averaged, is that of its loss."""

    def mean(self, loss: Tensor) -> float:
        """The loss of the whole batch, from what `losses` gave each process."""

    def start_epoch(self, seed: int, epoch: int) -> None:
        """Give every process random numbers of its own."""

    def broadcast_from_rank0(self, find: Callable[[], Value]) -> Value:
        """The result of rank zero, in every process; an error in rank zero is raised in all."""

    def scatter(
        self, jobs: Sequence[int], work: Callable[[Sequence[int]], Mapping[int, Value]]
    ) -> dict[int, Value]:
        """The results of `work` for every job, each computed by one process and sent to all.

        An error in one process is raised everywhere.
        """


class SingleProcess:
    """One process, the default."""

    is_rank_zero = True
    size = 1
    device = None

    def losses(self, model: Model) -> Callable[[Batch], Tensor]:
        return lambda batch: model.loss(batch, model(batch))

    def mean(self, loss: Tensor) -> float:
        return float(loss.detach())

    def start_epoch(self, seed: int, epoch: int) -> None:
        pass

    def broadcast_from_rank0(self, find: Callable[[], Value]) -> Value:
        return find()

    def scatter(
        self, jobs: Sequence[int], work: Callable[[Sequence[int]], Mapping[int, Value]]
    ) -> dict[int, Value]:
        return dict(work(jobs))


SINGLE_PROCESS = SingleProcess()


class FabricGroup:
    """Several processes that Fabric has joined."""

    def __init__(self, fabric: "Fabric") -> None:
        self._fabric = fabric
        self._generator = torch.Generator(fabric.device)
        self.is_rank_zero, self.size = fabric.global_rank == 0, fabric.world_size
        self.device = fabric.device

    def losses(self, model: Model) -> Callable[[Batch], Tensor]:
        wrapped = self._fabric.setup_module(_Loss(model))
        rank, size = self._fabric.global_rank, self.size

        def loss(batch: Batch) -> Tensor:
            mine, weight = shard_batch(batch, rank, size, self._generator)
            return wrapped(mine) * weight

        return loss

    def mean(self, loss: Tensor) -> float:
        total = self._fabric.all_reduce(loss.detach(), reduce_op="mean")
        assert isinstance(total, Tensor)
        return float(total)

    def start_epoch(self, seed: int, epoch: int) -> None:
        entropy = [seed % 2**63, epoch, self._fabric.global_rank]
        own, shared = np.random.SeedSequence(entropy).generate_state(2).tolist()
        self._generator.manual_seed(own)
        torch.manual_seed(shared)

    def broadcast_from_rank0(self, find: Callable[[], Value]) -> Value:
        outcome: Value | NwbdynError | None = None
        if self.is_rank_zero:
            try:
                outcome = find()
            except NwbdynError as error:
                outcome = error
        outcome = self._fabric.broadcast(outcome)
        if isinstance(outcome, NwbdynError):
            raise outcome
        return outcome  # type: ignore[return-value]

    def scatter(
        self, jobs: Sequence[int], work: Callable[[Sequence[int]], Mapping[int, Value]]
    ) -> dict[int, Value]:
        own = jobs[self._fabric.global_rank :: self.size]
        mine: Mapping[int, Value] | NwbdynError
        try:
            mine = work(own) if own else {}
        except NwbdynError as error:
            mine = error
        each: list[Mapping[int, Value] | NwbdynError] = [{}] * self.size
        torch.distributed.all_gather_object(each, mine)
        results: dict[int, Value] = {}
        for one in each:
            if isinstance(one, NwbdynError):
                raise one
            results |= one
        return results


class _Loss(nn.Module):
    """A model's loss as a forward pass, so that DDP sees every parameter that it depends on."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.spare = nn.Parameter(torch.zeros(()))  # DDP warns where there is none without use

    def forward(self, batch: Batch) -> Tensor:
        return self.model.loss(batch, self.model(batch))


def shard_batch(
    batch: Batch, rank: int, size: int, generator: torch.Generator | None
) -> tuple[Batch, float]:
    """Every `size`-th window of a batch, from the `rank`-th on, and what its mean loss weighs.

    The weights of all shares add up to `size`, so that the mean over processes of weighted losses
    is the mean over windows. A share without a window takes the first one, at no weight.
    """
    mine = slice(rank, None, size)
    num_windows = len(range(batch.num_windows)[mine])
    if num_windows == 0:
        mine = slice(0, 1)
    cut = replace(
        batch,
        activity=batch.activity[mine],
        target=batch.target[mine],
        valid=batch.valid[mine],
        covariates=batch.covariates[mine],
        start_bin=batch.start_bin[mine],
        lower=None if batch.lower is None else batch.lower[mine],
        generator=None if batch.generator is None else generator,
    )
    return cut, num_windows * size / batch.num_windows


@cache
def init_process_group(device: str, devices: int = 1, nodes: int = 1) -> ProcessGroup:
    """The processes of this fit; starts the others, unless torchrun or SLURM has.

    Fabric starts the same command, or script, again for every further device of this node. Under
    torchrun the numbers are torchrun's own; under SLURM, `srun` starts the tasks, as many as
    `devices` on each of `nodes`.

    Args:
        device: "cpu", "cuda", or "auto" = cuda where there is one.
        devices: processes per node: one per GPU, or on a CPU one per share of the cores.
        nodes: machines.

    Raises:
        ConfigError: fewer than one, more GPUs than there are, or Lightning is not installed.
    """
    if torch.distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    if devices < 1 or nodes < 1:
        raise ConfigError(f"{devices} devices on {nodes} nodes: at least one of each is needed.")
    if devices * nodes == 1:
        return SINGLE_PROCESS
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if cuda and torch.cuda.device_count() < devices:
        raise ConfigError(
            f"--devices {devices}, but {torch.cuda.device_count()} GPUs are here. Ask for fewer, "
            "or pass --device cpu."
        )
    optional.engine("lightning", "multi-gpu")
    from lightning.fabric import Fabric
    from lightning.fabric.strategies import DDPStrategy

    for name in ("fabric", "pytorch"):
        logging.getLogger(f"lightning.{name}").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=devices,
        num_nodes=nodes,
        strategy=DDPStrategy(find_unused_parameters=True),
    )
    fabric.launch()
    return FabricGroup(fabric)
