"""Members of one model as rows of shared tensors, updated as one program.

Small models spend their time on calls, not on sums. Here one call does the sums of all members:
`forward` and `loss` run under torch.vmap over stacked parameters, and AdamW steps a matrix with one
row per member. What a member does alone it still does alone, in its own `training.Loop`: the order
of its batches, its random numbers, schedule, hooks, history, best weights, checkpoints.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from nwbdyn.data.windows import Windows
from nwbdyn.errors import FitError
from nwbdyn.models.base import Batch, Model, Random
from nwbdyn.training.trainer import Trainer
from nwbdyn.training.validation_loss import batch_loss

_SHARED = ("held_in", "neuron_ids")  # tensors of a batch that have no axis of windows
_OWN = ("activity", "target", "valid", "covariates", "start_bin", "lower")


class VmapTrainer:
    """Some training loops whose tensors are rows here, from `__init__` to `release`.

    The loops have models of one class and of equal shapes, in training windows of equal number, and
    agree in every option that `forward` and `loss` read (see `models.base.Model.stacks`).

    Raises:
        TypeError: a model that says it stacks is not trained by a plain AdamW.
    """

    def __init__(self, loops: Sequence[Trainer]) -> None:
        self.loops = list(loops)
        self.errors: dict[int, FitError] = {}  # position -> why this loop cannot go on
        self._model = loops[0].model
        self._model.needs_autograd_only = True
        for loop in self.loops:
            _check(loop)
            loop.optimiser.step()  # moves nothing; a scheduler warns where it has not seen a step
        trained = {n: p for n, p in self._model.named_parameters() if p.requires_grad}
        self._constant = self._stack_constants(set(trained))
        each = [dict(loop.model.named_parameters()) for loop in self.loops]
        sizes = [parameter.numel() for parameter in trained.values()]
        self._values, self._mean, self._square = (
            torch.cat([_rows(each, name, loops, part) for name in trained], dim=1)
            for part in ("", "exp_avg", "exp_avg_sq")
        )  # (K, P) parameters and the running moments of their gradients
        self._steps = [torch.zeros(()) for _ in self.loops]
        stops = torch.tensor(sizes).cumsum(0).tolist()
        self._columns = {
            name: slice(stop - size, stop)
            for name, size, stop in zip(trained, sizes, stops, strict=True)
        }
        self._leaves = {
            name: self._values[:, columns].view(len(loops), *trained[name].shape).requires_grad_()
            for name, columns in self._columns.items()
        }
        for row, (loop, parameters) in enumerate(zip(self.loops, each, strict=True)):
            self._steps[row].fill_(loop.step)
            for name, columns in self._columns.items():
                parameter = parameters[name]
                parameter.data = self._values[row, columns].view_as(parameter)
                loop.optimiser.state[parameter] = {
                    "step": self._steps[row],
                    "exp_avg": self._mean[row, columns].view_as(parameter),
                    "exp_avg_sq": self._square[row, columns].view_as(parameter),
                }
        self._numbers = self._stack_numbers()
        self._index = torch.arange(len(loops), device=self._values.device)

    @property
    def whole(self) -> bool:
        """True while every loop has something to do."""
        return not self.errors and not any(loop.finished for loop in self.loops)

    def epoch(self) -> None:
        """One pass over the training windows for every loop, and validation where it is due.

        A loop whose loss is not finite stops, with its error in `errors`; the others go on.
        """
        begun = time.monotonic()
        totals, seen = self._update_all()
        running = [k for k in range(len(self.loops)) if k not in self.errors]
        due = [k for k in running if self.loops[k].validates_next]
        validation = self._validate() if due else []
        seconds = (time.monotonic() - begun) / len(self.loops)
        for k in running:
            loop = self.loops[k]
            self._steps[k].fill_(loop.step)
            try:
                loop.end_epoch(totals[k] / seen[k], validation[k] if k in due else None, seconds)
            except FitError as error:
                self.errors[k] = error

    def release(self) -> None:
        """Give every loop tensors of its own again."""
        self._model.needs_autograd_only = False
        for loop in self.loops:
            for tensor in (*loop.model.parameters(), *loop.model.buffers()):
                tensor.data = tensor.data.clone()
            for state in loop.optimiser.state.values():
                for name, value in state.items():
                    state[name] = value.clone()

    # --- training ---

    def _update_all(self) -> tuple[list[float], list[int]]:
        """Sums over one pass of the losses of windows, and numbers of windows."""
        totals, seen = [0.0] * len(self.loops), [0] * len(self.loops)
        running = set(range(len(self.loops)))
        self._model.train()
        for batch in self._batches("train", [loop.generator for loop in self.loops]):
            losses = self._update(batch, running)
            for k in sorted(running):
                loop = self.loops[k]
                if not math.isfinite(losses[k]):
                    self.errors[k] = FitError(loop.not_finite("loss", losses[k]))
                    running.remove(k)
                    continue
                loop.optimizer_stepped()
                totals[k] += losses[k] * batch.num_windows
                seen[k] += batch.num_windows
                if loop.updated:
                    running.remove(k)
            if not running:
                break
        return totals, seen

    def _update(self, batch: "_Batches", running: set[int]) -> list[float]:
        """One step of the optimiser for the rows that are running; the loss of every row."""
        losses = self._call(lambda model, batch: model.loss(batch, model(batch)), batch)
        gradients = torch.autograd.grad(
            losses.sum(), list(self._leaves.values()), allow_unused=True
        )
        unused = [
            self._values[:, columns].clone() if gradient is None else None
            for columns, gradient in zip(self._columns.values(), gradients, strict=True)
        ]
        stopped = [k for k in range(len(self.loops)) if k not in running]
        rows = (self._values, self._mean, self._square) if stopped else ()
        before = [tensor[stopped] for tensor in rows]
        self._step(
            torch.cat(
                [
                    (torch.zeros_like(leaf) if gradient is None else gradient).flatten(1)
                    for leaf, gradient in zip(self._leaves.values(), gradients, strict=True)
                ],
                dim=1,
            )
        )
        # AdamW leaves a parameter without a gradient alone, its weight decay included.
        for columns, values in zip(self._columns.values(), unused, strict=True):
            if values is not None:
                self._values[:, columns] = values
        for tensor, kept in zip(rows, before, strict=True):
            tensor[stopped] = kept
        return losses.tolist()

    @torch.no_grad()
    def _step(self, gradient: Tensor) -> None:
        """AdamW (Loshchilov and Hutter, ICLR 2019) on every row, as torch.optim.AdamW does it."""
        settings = []
        for loop in self.loops:
            group, clip = loop.optimiser.param_groups[0], loop.config.clip_norm
            limit = math.inf if clip is None else clip
            step, rate = loop.step + 1, group["lr"]
            (first, second), decay = group["betas"], rate * group["weight_decay"]
            unbiased = (1 - first**step, math.sqrt(1 - second**step))
            settings.append(
                (limit, 1 - decay, 1 - first, second, unbiased[1], group["eps"], rate / unbiased[0])
            )
        limit, kept, new, old, root, epsilon, size = (
            torch.tensor(settings, dtype=torch.float64).T[..., None].to(gradient)
        )  # each (K, 1)
        if any(loop.config.clip_norm is not None for loop in self.loops):
            norm = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
            gradient = gradient * (limit / (norm + 1e-6)).clamp(max=1.0)
        self._values *= kept
        self._mean.lerp_(gradient, new)
        self._square.mul_(old).addcmul_(gradient, gradient * (1 - old))
        self._values -= size * self._mean / ((self._square.sqrt() / root) + epsilon)

    @torch.no_grad()
    def _validate(self) -> list[float]:
        """The validation loss of every row (see `validation_loss`)."""
        context = self.loops[0].windows.spec.context

        def sums(model: Model, batch: Batch) -> Tensor:
            return torch.stack(batch_loss(model, batch, model(batch), context))

        self._model.eval()
        for loop in self.loops:
            loop.model.before_validation()
        total = torch.zeros(len(self.loops), 2, dtype=torch.float64)
        for batch in self._batches("val", None):
            total += self._call(sums, batch).cpu()
        return (total[:, 0] / total[:, 1]).tolist()

    # --- one program ---

    def _call(self, function: Callable[[Model, Batch], Tensor], batch: "_Batches") -> Tensor:
        """(K, …) of a function of one model and one batch."""
        program = _BatchOfModels(self._model, function)
        weights = {f"model.{name}": value for name, value in self._leaves.items()}
        weights |= {f"model.{name}": value for name, value in self._constant.items()}

        def one(
            weights: dict[str, Tensor],
            numbers: dict[str, Tensor],
            member: Tensor,
            own: dict[str, Any],
        ) -> Tensor:
            for name, value in numbers.items():
                setattr(self._model, name, value)
            whole = _MemberBatch(
                **own,
                **batch.shared,
                session=batch.session,
                generators=batch.generators,
                member=member,
            )
            return functional_call(program, weights, (whole,))

        before = {name: getattr(self._model, name) for name in self._numbers}
        axes = (0, 0, 0, 0 if batch.stacked else None)
        try:
            return vmap(one, in_dims=axes, randomness="same")(
                weights, self._numbers, self._index, batch.own
            )
        finally:
            for name, value in before.items():
                setattr(self._model, name, value)

    def _batches(
        self, name: str, generators: Sequence[torch.Generator] | None
    ) -> Iterator["_Batches"]:
        """The next batch of every loop, gathered in one go where the loops share their windows."""
        windows = [_of_one_session(loop) for loop in self.loops]
        size = self.loops[0].config.batch_size
        if all(one is windows[0] for one in windows):
            if generators is None:
                for batch in windows[0].batches(name, size):
                    yield _Batches.of(batch, stacked=False)
                return
            orders = torch.stack([windows[0].ordered(name, one) for one in generators])
            for starts in orders.split(size, dim=1):
                yield _Batches.of(windows[0].gather(starts, name), generators=generators)
            return
        orders = torch.stack(
            [
                one.ordered(name, None if generators is None else generators[k])
                for k, one in enumerate(windows)
            ]
        )
        for starts in orders.split(size, dim=1):
            each = [one.gather(starts[k], name) for k, one in enumerate(windows)]
            own = {
                part: torch.stack([getattr(one, part) for one in each])
                for part in _present(each[0])
            }
            yield _Batches(own, _shared(each[0]), each[0].session, generators or ())

    # --- rows ---

    def _stack_constants(self, trained: set[str]) -> dict[str, Tensor]:
        """(K, …) of every buffer and every parameter that is not trained."""
        each = []
        for loop in self.loops:
            tensors = {**dict(loop.model.named_parameters()), **dict(loop.model.named_buffers())}
            each.append({name: value for name, value in tensors.items() if name not in trained})
        stacked = {
            name: torch.stack([tensors[name].detach() for tensors in each]) for name in each[0]
        }
        for row, tensors in enumerate(each):
            for name, tensor in tensors.items():
                tensor.data = stacked[name][row]
        return stacked

    def _stack_numbers(self) -> dict[str, Tensor]:
        """(K,) of every number in which the members differ."""
        stacked = {}
        for name in self._model.numbers:
            values = [float(getattr(loop.model, name)) for loop in self.loops]
            if len(set(values)) > 1:
                stacked[name] = torch.tensor(values).to(self._values)
        return stacked


class _BatchOfModels(nn.Module):
    """A function of a model as a module, for `functional_call` to exchange its tensors."""

    def __init__(self, model: Model, function: Callable[[Model, Batch], Tensor]) -> None:
        super().__init__()
        self.model, self.function = model, function

    def forward(self, batch: Batch) -> Tensor:
        return self.function(self.model, batch)


@dataclass(frozen=True)
class _Batches:
    """One batch for each member."""

    own: dict[str, Any]  # fields of a Batch, (K, B, …); without K where all members share them
    shared: dict[str, Any]  # fields of a Batch that have no axis of windows
    session: str
    generators: Sequence[torch.Generator] = ()
    stacked: bool = True

    @classmethod
    def of(cls, batch: Batch, *, stacked: bool = True, generators: Any = ()) -> "_Batches":
        own = {name: getattr(batch, name) for name in _present(batch)}
        return cls(own, _shared(batch), batch.session, generators, stacked)

    @property
    def num_windows(self) -> int:
        """Of one member."""
        return self.own["start_bin"].shape[-1]


@dataclass(frozen=True)
class _MemberBatch(Batch):
    """A batch as one member sees it inside the program."""

    generators: Sequence[torch.Generator] = ()
    member: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.long))

    @property
    def random(self) -> Random:
        return _MemberRandom(self)


class _MemberRandom(Random):
    """Random numbers of each model from its own generator, as one model sees them in a batch."""

    def __init__(self, batch: _MemberBatch) -> None:
        device = batch.activity.device
        self._each = [Random(one, device) for one in batch.generators]
        self._member = batch.member

    def uniform(self, *shape: int) -> Tensor:
        return torch.stack([one.uniform(*shape) for one in self._each])[self._member]

    def random_int16(self, *shape: int) -> Tensor:
        return torch.stack([one.random_int16(*shape) for one in self._each])[self._member]


def _of_one_session(loop: Trainer) -> Windows:
    assert isinstance(loop.windows, Windows)  # ensembles
    return loop.windows


def _present(batch: Batch) -> list[str]:
    return [name for name in _OWN if getattr(batch, name) is not None]


def _shared(batch: Batch) -> dict[str, Any]:
    return {name: getattr(batch, name) for name in _SHARED}


def _rows(
    each: Sequence[dict[str, nn.Parameter]], name: str, loops: Sequence[Trainer], part: str
) -> Tensor:
    """(K, size) of one parameter, or of what the optimisers remember of it."""
    rows = []
    for parameters, loop in zip(each, loops, strict=True):
        value = parameters[name].detach()
        if part:
            value = loop.optimiser.state[parameters[name]].get(part, torch.zeros_like(value))
        rows.append(value.flatten())
    return torch.stack(rows)


def _check(loop: Trainer) -> None:
    optimiser = loop.optimiser
    plain = type(optimiser) is torch.optim.AdamW and len(optimiser.param_groups) == 1
    if not plain or optimiser.defaults["amsgrad"] or optimiser.defaults["maximize"]:
        raise TypeError(
            f"{type(loop.model).__name__} stacks, so its optimiser has to be a plain AdamW "
            "with one group of parameters."
        )
