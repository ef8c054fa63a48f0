"""The training loop: seeded, resumable, with early stopping and the best weights.

Every random number comes from the seed through a generator or inside a fork of torch's global
state, so a caller's own random numbers are left as they were. A checkpoint is written at the start
and after every validation; on CPU a run resumed from one ends with the same weights, bit for bit,
as a run that was never stopped.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nwbdyn.data.pooling import PooledWindows
from nwbdyn.data.windows import Windows
from nwbdyn.errors import FitError
from nwbdyn.models._adamw import AdamW
from nwbdyn.models.base import Config, Layout, Model
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.results import run_directory
from nwbdyn.training import lower_rungs, out_of_memory
from nwbdyn.training.baseline_start import BaselineVerdict, judge, start_on_baseline
from nwbdyn.training.checkpoint import owned, read_checkpoint, write_checkpoint
from nwbdyn.training.distributed import SINGLE_PROCESS, ProcessGroup
from nwbdyn.training.validation_loss import validation_loss

NUM_VALIDATIONS = 40  # in a course whose Config names no number of epochs between them


@dataclass(frozen=True)
class Trained:
    """A model with its best weights, and how it got there."""

    model: Model
    history: tuple[dict[str, float], ...]  # one record per epoch
    best_epoch: int  # epoch the weights are from
    best: float  # its validation loss
    seed: int
    best_fraction: float  # of the whole course, done by then
    on_baseline: BaselineVerdict | None = None  # what it adds to the baseline that it starts from


def train(
    model_class: type[Model],
    config: Config,
    layout: Layout,
    windows: Windows | PooledWindows,
    *,
    seed: int,
    device: torch.device,
    folder: Path | None = None,
    resume: bool = False,
    until: float | None = None,
    adopted: Mapping[str, Tensor] | None = None,
    team: ProcessGroup = SINGLE_PROCESS,
    report: Report = silent,
) -> Trained:
    """Train one model on one recording, or on several at once.

    Args:
        windows: of the recording, or of all recordings pooled.
        folder: run directory that receives checkpoints and history; None keeps nothing.
        resume: go on from the checkpoint in `folder`, where there is one.
        until: share of the course after which to stop. Then nothing is validated, and the last
            weights are kept.
        adopted: the state of a fitted model, whose shared part is taken over and not trained.
        team: the processes that train it together; each calls this, and the leading one alone has a
            `folder`.
        report: called after every epoch, with loss, validation loss, best so far and seconds left.

    Raises:
        FitError: a loss that is not finite, a checkpoint of another model or configuration, or too
            little memory.
        KeyboardInterrupt: as it came, once the last whole epoch is saved.
    """
    try:
        with isolated_rng(seed, device):
            loop = Trainer(
                model_class,
                config,
                layout,
                windows,
                seed=seed,
                device=device,
                folder=folder,
                until=until,
                adopted=adopted,
                team=team,
            )
            loop.begin(resume=resume)
            try:
                while not loop.finished:
                    loop.epoch_of_updates()
                    report(loop.progress())
            except KeyboardInterrupt:
                loop.save_last_epoch()
                raise
            return loop.trained()
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory.ran_out(error):
            raise
        raise FitError(out_of_memory.advice(config.batch_size)) from error


class Trainer:
    """State of a training, and its bookkeeping."""

    def __init__(
        self,
        model_class: type[Model],
        config: Config,
        layout: Layout,
        windows: Windows | PooledWindows,
        *,
        seed: int,
        device: torch.device,
        folder: Path | None = None,
        until: float | None = None,
        adopted: Mapping[str, Tensor] | None = None,
        team: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        windows = lower_rungs.with_core(windows, config)
        self.config, self.windows, self.seed, self.folder = config, windows, seed, folder
        self.device = device
        _raise_malloc_mmap_threshold()
        self.generator = torch.Generator(device).manual_seed(seed)
        self.updates_per_epoch = windows.num_batches("train", config.batch_size)
        epochs = config.epochs
        if config.updates is not None:
            epochs = math.ceil(config.updates / self.updates_per_epoch)
        self.num_epochs = max(1, epochs)
        self.num_updates = config.updates or epochs * self.updates_per_epoch
        self.validates = until is None
        share = config.stop_after if until is None else until
        self.last_update = max(1, round(share * self.num_updates))
        self.validate_every = config.validate_every or max(1, self.num_epochs // NUM_VALIDATIONS)
        self.model = model_class(config, layout).to(device)
        for part in lower_rungs.sessions(windows) if lower_rungs.has_core(config) else ():
            self.model.load_core(part.session, part.core)
        if adopted is not None:
            self._adopt(adopted)
        self.model.initialise(windows.batches("train", config.batch_size))
        self.optimiser, self.scheduler = self._optimiser()
        self.team, self._loss = team, team.losses(self.model)
        self.epoch = self.step = self.epochs_without_improvement = self.best_epoch = 0
        self.best = math.inf
        self.best_weights = _copied(self.model.state_dict())
        self.history: list[dict[str, float]] = []
        self.seconds = 0.0
        self.last_epoch: dict[str, Any] | None = None  # newer than the checkpoint on disk

    def _optimiser(
        self,
    ) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
        if not self.trains:  # an optimiser wants a parameter
            return AdamW([torch.zeros(1, requires_grad=True)]), None
        return self.model.optimiser(self.num_updates, self.updates_per_epoch)

    def _adopt(self, state: Mapping[str, Tensor]) -> None:
        try:
            self.model.load_shared(state)
        except ValueError as error:
            raise FitError(
                f"The weights of the other run cannot be taken over: {error}. Give the options and "
                "covariates that it was fitted with."
            ) from error

    @property
    def finished(self) -> bool:
        if not self.trains:
            return True
        patient = self.epochs_without_improvement < self.patience
        return self.epoch >= self.num_epochs or self.updated or not patient

    @property
    def trains(self) -> bool:
        """True for a model with something left to train beside a closed-form core."""
        return any(parameter.requires_grad for parameter in self.model.parameters())

    @property
    def patience(self) -> float:
        """Validations without improvement before stopping."""
        patience = self.config.patience
        if patience >= 1:
            return patience
        return max(1.0, patience * math.ceil(self.num_epochs / self.validate_every))

    @property
    def updated(self) -> bool:
        """True when no update is left."""
        return self.step >= self.last_update

    @property
    def validates_next(self) -> bool:
        """True when validation follows the updates of the running epoch."""
        epoch = self.epoch + 1
        if epoch >= self.num_epochs or self.updated:
            return self.validates
        begun = epoch >= self.config.validate_from * self.num_epochs
        return self.validates and begun and epoch % self.validate_every == 0

    def begin(self, *, resume: bool) -> None:
        """Go back to the checkpoint, or leave a first one."""
        state = self.team.broadcast_from_rank0(lambda: self._kept() if resume else None)
        if state is not None:
            self.restore(state)
            return
        start_on_baseline(self.model, self.windows)
        if lower_rungs.has_core(self.config):
            self._validate_core()
        if self.folder is not None:
            self.save()

    def _validate_core(self) -> None:
        """Make the core alone, where the training starts, the weights to improve on."""
        if self.validates:
            self.best = self.team.broadcast_from_rank0(self._validation_loss)
        if self.trains:
            return
        record = {"epoch": 0, "updates": 0, "loss": self.best, "validation": self.best}
        self.history.append(record | {"learning_rate": 0.0, "seconds": 0.0})
        if self.folder is not None:
            run_directory.append_history(self.folder, self.history[-1])

    def _kept(self) -> dict[str, Any] | None:
        """The checkpoint in the folder, if there is one."""
        if self.folder is None or not (self.folder / run_directory.CHECKPOINT).exists():
            return None
        return read_checkpoint(self.folder, self.device if self.team is SINGLE_PROCESS else "cpu")

    def epoch_of_updates(self) -> None:
        """One pass over the training windows, and the validation that may follow it."""
        begun = time.monotonic()
        loss = self._update_all()
        validation = None
        if self.validates_next:
            validation = self.team.broadcast_from_rank0(self._validation_loss)
        self.end_epoch(loss, validation, time.monotonic() - begun)

    def _validation_loss(self) -> float:
        self.model.before_validation()
        return validation_loss(self.model, self.windows, self.config.batch_size)

    def end_epoch(self, loss: float, validation: float | None, seconds: float) -> None:
        """Keep the books of an epoch, given its mean training loss and its validation loss.

        Raises:
            FitError: the validation loss is not finite.
        """
        if validation is not None and not math.isfinite(validation):
            raise FitError(self.not_finite("validation loss", validation))
        self.epoch += 1
        record: dict[str, float] = {"epoch": self.epoch, "updates": self.step, "loss": loss}
        if validation is not None:
            record["validation"] = validation
            self._validated(validation)
        record["learning_rate"] = float(self.optimiser.param_groups[0]["lr"])
        self.seconds += seconds
        record["seconds"] = round(self.seconds, 3)
        self.history.append(record)
        if self.folder is None:
            return
        run_directory.append_history(self.folder, record)
        if validation is not None or self.epoch >= self.num_epochs or self.updated:
            self.save()
        else:
            self.last_epoch = self.state()

    def progress(self) -> Progress:
        """Progress of the training; `seconds left` assumes the longest possible course."""
        record = self.history[-1]
        detail: dict[str, float | str] = {"loss": record["loss"], "best": self.best}
        if "validation" in record:
            detail["validation"] = record["validation"]
        remaining = self.num_epochs - self.epoch
        detail["seconds left"] = self.seconds / self.epoch * remaining
        return Progress("training", self.epoch, self.num_epochs, "epochs", detail)

    def trained(self) -> Trained:
        """The model with its best weights, finished."""
        best_epoch = self.best_epoch if self.validates else self.epoch
        if self.validates:
            self.model.load_state_dict(self.best_weights)
        self.model.on_train_end(self.windows.batches("train", self.config.batch_size))
        self.model.eval()
        return Trained(
            model=self.model,
            history=tuple(self.history),
            best_epoch=best_epoch,
            best=self.best,
            seed=self.seed,
            best_fraction=(
                self.history[best_epoch - 1]["updates"] / self.num_updates if best_epoch else 0.0
            ),
            on_baseline=judge(self.model, self.windows) if self.validates else None,
        )

    def _update_all(self) -> float:
        """Mean loss over one pass of optimiser steps."""
        self.model.train()
        self.team.start_epoch(self.seed, self.epoch)
        total, num_windows = 0.0, 0
        for batch in self.windows.batches("train", self.config.batch_size, self.generator):
            self.optimiser.zero_grad(set_to_none=True)
            loss = self._loss(batch)
            loss.backward()  # a GPU is given all of it before its loss is waited for
            value = self.team.mean(loss)
            if not math.isfinite(value):
                raise FitError(self.not_finite("loss", value))
            if self.config.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
            self.optimiser.step()
            self.optimizer_stepped()
            total += value * batch.num_windows
            num_windows += batch.num_windows
            if self.updated:
                break
        return total / num_windows

    def optimizer_stepped(self) -> None:
        """Update the state after a step of the optimiser."""
        self.step += 1
        self.model.after_update(self.step)
        if self.scheduler is not None and not self._waits_for_validation:
            self.scheduler.step()

    def _validated(self, value: float) -> None:
        """Keep the weights when this validation loss is the lowest so far."""
        if value < self.best:
            self.best, self.best_epoch, self.epochs_without_improvement = value, self.epoch, 0
            self.best_weights = _copied(self.model.state_dict())
        else:
            self.epochs_without_improvement += 1
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(value)

    @property
    def _waits_for_validation(self) -> bool:
        return isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)

    def not_finite(self, what: str, value: float) -> str:
        """Message for a loss that is not finite, with the next step."""
        kept = "" if self.folder is None else f" The last good checkpoint stays in {self.folder}."
        rate, norm = self.config.learning_rate, self.config.clip_norm
        clip = f"{norm / 5:g} (now {norm:g})" if norm else "1 (gradients are not clipped now)"
        return (
            f"Training diverged: the {what} is {value} at update {self.step + 1} (epoch "
            f"{self.epoch + 1}, seed {self.seed}). Fit again with a smaller step, --set "
            f"learning_rate={rate / 5:.2g} (now {rate:g}), or --set clip_norm={clip}.{kept}"
        )

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, as tensors and plain values of its own."""
        state: dict[str, Any] = {
            "seed": self.seed,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler is not None else None,
            "generator": self.generator.get_state(),
            "random": torch.get_rng_state(),
            "epoch": self.epoch,
            "step": self.step,
            "stale": self.epochs_without_improvement,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
            "history": self.history,
            "seconds": self.seconds,
        }
        if self.device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(self.device)
        return owned(state)

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        assert self.folder is not None
        write_checkpoint(self.state(), self.folder)
        self.last_epoch = None

    def save_last_epoch(self) -> None:
        """Write the last whole epoch, where it is newer than the checkpoint."""
        if self.folder is not None and self.last_epoch is not None:
            write_checkpoint(self.last_epoch, self.folder)

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to a checkpoint."""
        if state["seed"] != self.seed:
            raise FitError(
                f"The checkpoint in {self.folder} is of seed {state['seed']}, not {self.seed}."
            )
        try:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise FitError(
                f"The checkpoint in {self.folder} is of another model or configuration. Start "
                "again with --overwrite, or give the options it was started with."
            ) from error
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        self.generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["random"].cpu())
        if self.device.type == "cuda" and "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"].cpu(), self.device)
        for name in ("epoch", "step", "best", "best_epoch", "best_weights", "history"):
            setattr(self, name, state[name])
        self.epochs_without_improvement = state["stale"]
        self.seconds = state["seconds"]
        if self.folder is not None:
            run_directory.write_history(self.folder, self.history)


def _raise_malloc_mmap_threshold() -> None:
    """Spare updates the fresh pages that the system would hand out, cleared, for every tensor.

    Freeing a block of close to 32 MB tells glibc to hold on to blocks of up to that size from then
    on. Nothing is written to this one, so that it takes no memory; elsewhere it changes nothing.
    """
    torch.empty(31 * 2**20, dtype=torch.uint8)


def _copied(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in weights.items()}


@contextmanager
def isolated_rng(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's global random numbers start at `seed` inside the block and go on as before after."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
