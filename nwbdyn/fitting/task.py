"""One recording, one model, and everything that is decided before training: bins, split, windows.

What does not fit together is refused here, with the value, what was expected and what to do.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from nwbdyn import models, nlb
from nwbdyn.data import binning, splits, trial_clock
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import FEWEST_HELD_OUT, SPLITS, Split
from nwbdyn.data.trials import NONE, tables, with_trials
from nwbdyn.data.windows import Windows
from nwbdyn.errors import ConfigError
from nwbdyn.fitting import task_checks
from nwbdyn.fitting.model_options import configure
from nwbdyn.models.base import CO_SMOOTHING, BaseConfig, Layout, Model, WindowSpec
from nwbdyn.nlb import Aligned
from nwbdyn.recording import Note, Recording, SpikeTimes, Traces
from nwbdyn.request import DataOptions
from nwbdyn.spelling import spelled
from nwbdyn.training.pretrained import Pretrained

log = logging.getLogger(__name__)

SESSION = "0"  # the key of the one session of a fit
HELD_OUT_SHARE = 0.25  # of the neurons, where the file does not say which are held out
DRAWS = 5  # of them, over which a score is averaged
_DEFAULTS = DataOptions()


@dataclass(frozen=True)
class FitTask:
    """A recording as one model will see it."""

    recording: Recording
    name: str  # of the model
    model_class: type[Model]
    config: BaseConfig
    layout: Layout
    binned: Binned
    split: Split
    windows: Windows
    aligned: Aligned | None  # the trials that windows are cut to, for co-smoothing models
    trials: str | None  # the interval table that was named
    fold: tuple[int, int] | None
    tried: tuple[BaseConfig, ...] = ()  # of a sweep: what was asked for, to be judged on validation
    adopted: Pretrained | None = None  # a fitted model whose shared weights are taken over

    is_joint: ClassVar[bool] = False
    joint_record: ClassVar[Mapping[str, Any]] = {}
    joint_notes: ClassVar[tuple[Note, ...]] = ()

    @property
    def sessions(self) -> Mapping[str, "FitTask"]:
        """This task, by the name of its one session."""
        return {self.windows.session: self}

    @property
    def spec(self) -> WindowSpec:
        return self.windows.spec

    @property
    def co_smoothing(self) -> bool:
        return self.model_class.target == CO_SMOOTHING

    @property
    def horizon(self) -> int:
        """Bins ahead of the last input; 0 for co-smoothing."""
        return 0 if self.co_smoothing else 1

    @property
    def held_out(self) -> np.ndarray:
        """(N,) bool."""
        return ~self.split.held_in

    @property
    def held_out_stated(self) -> bool:
        """True if the file itself marks the held-out neurons."""
        return splits.stated_held_out(self.binned.neurons.table) is not None

    @property
    def counted(self) -> np.ndarray:
        """(num_bins,) bool, the bins that are scored: no forward bins of a co-smoothing model."""
        if not self.co_smoothing:
            return np.ones(self.binned.num_bins, bool)
        starts = np.concatenate([self.windows.starts(name) for name in SPLITS[: splits.GAP]])
        counted = np.zeros(self.binned.num_bins, bool)
        places = np.arange(self.spec.context)
        belongs = places < self.windows.reach[starts][:, None]
        counted[(starts[:, None] + places)[belongs]] = True
        return counted

    @property
    def digest(self) -> str:
        """Of what is fitted, as "sha256:…": values, time, valid, covariates, split and held-in."""
        digest = sha256()
        for array in (
            self.binned.values,
            self.binned.time,
            self.binned.valid,
            self.binned.covariates,
            self.split.labels,
            self.split.held_in,
        ):
            digest.update(f"{array.dtype.str} {array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return f"sha256:{digest.hexdigest()}"

    @property
    def notes(self) -> tuple[Note, ...]:
        """Everything that was skipped, changed or odd on the way here."""
        aligned = self.aligned.notes if self.aligned is not None else ()
        return (*self.recording.notes, *self.binned.notes, *aligned, *self.windows.notes)

    def with_config(self, config: BaseConfig) -> "FitTask":
        """The same bins, split and targets, with the windows of another Config.

        Raises:
            ConfigError: a co-smoothing model whose windows would be cut in another way; then other
                bins would be scored.
        """
        spec = self.model_class.windows(config, self.layout)
        if spec == self.spec:
            return replace(self, config=config)
        if self.co_smoothing:
            raise ConfigError(
                f"{self.name} cannot try windows of {spec.context} + {spec.forward} bins beside "
                f"{self.spec.context} + {self.spec.forward}: they score other bins. Fit each length"
                " on its own."
            )
        scored = [self.windows.starts(name) + self.spec.context for name in SPLITS[: splits.GAP]]
        windows = Windows(
            self.binned,
            self.split,
            spec,
            starts=np.concatenate(scored) - spec.context,
            session=self.windows.session,
            neuron_ids=self.layout.neuron_ids[self.windows.session],
            device=self.windows.device,
            target=self.model_class.target,
            reach=self.windows.reach,
        )
        return replace(self, config=config, windows=windows)

    def described(self) -> dict[str, Any]:
        """The decisions, in plain values: model, config, binning, split, source."""
        source, activity = self.recording.source, self.recording.activity
        traces = activity if isinstance(activity, Traces) else None
        return {
            "model": self.name,
            "config": asdict(self.config),
            "binning": {
                "chosen": self.recording.chosen or None,
                "bin_width": self.binned.bin_width,
                "quantity": self.binned.quantity,
                "num_bins": self.binned.num_bins,
                "num_neurons": self.binned.num_neurons,
                "covariates": list(self.binned.covariate_names),
                "trials": self.trials,
                "aligned_trials": None if self.aligned is None else len(self.aligned.starts),
                "context": self.spec.context,
                "forward": self.spec.forward,
                "inputs": self.spec.inputs,
                "tensors": self.digest,
                "series_path": None if traces is None else traces.series_path,
                "series_object_id": None if traces is None else traces.series_object_id,
            },
            "split": {
                "rule": self.split.rule,
                "seed": self.split.seed,
                "fold": None if self.fold is None else list(self.fold),
                "bins": {name: int(self.split.bins(name).sum()) for name in SPLITS},
                "held_out": self.binned.neurons.ids[self.held_out].tolist(),
            },
            "source": {"uri": source.uri, "digest": source.digest},
        }


def build_task(
    recording: Recording,
    model: str,
    *,
    seed: int,
    data: DataOptions = _DEFAULTS,
    options: Mapping[str, object] = {},
    among: Sequence[Mapping[str, object]] = ({},),
    device: torch.device | str = "cpu",
) -> FitTask:
    """Bin, split and cut a recording for a model; options as in `fitting.fit`.

    Args:
        among: options that go on top of `options`, one set for each Config that is to be tried. The
            task takes the one that sees farthest back, and its split leaves room for that, so
            that all are judged on the same bins (see `FitTask.with_config`).

    Raises:
        ConfigError: an unknown model or option, or options that contradict the data.
        DataError: activity this model does not take, fewer than two usable neurons, no such
            interval table, or a recording too short to split.
    """
    model_class = models.load(model)
    task_checks.check_quantity(recording, model, model_class)
    hold_out = model_class.target == CO_SMOOTHING
    recording, binned, aligned = _bin_and_align(recording, data, model_class)
    cut = partial(
        splits.make,
        binned,
        seed=seed,
        hold_out=hold_out,
        fold=data.fold,
        heldout_fraction=max(HELD_OUT_SHARE, FEWEST_HELD_OUT / binned.num_neurons),
    )
    held_in = cut(gap=0).held_in
    if hold_out:
        task_checks.check_held_out(recording, held_in)
    layout = _layout(binned, held_in, aligned)
    configs = [configure(model, model_class, layout, {**options, **more}) for more in among]
    config = max(configs, key=lambda one: model_class.windows(one, layout).context)
    spec = model_class.windows(config, layout)
    split = cut(gap=spec.context)
    task_checks.check_training_bins(recording, binned, split, config, spec.context)
    windows = Windows(
        binned,
        split,
        spec,
        starts=None if aligned is None else aligned.starts,
        session=SESSION,
        device=device,
        target=model_class.target,
        reach=None if aligned is None else _reach(aligned, binned.num_bins),
    )
    for name in ("train", "val", "test"):
        windows.starts(name)  # raises, with advice, where nothing fits
    return FitTask(
        recording=recording,
        name=model,
        model_class=model_class,
        config=config,
        layout=layout,
        binned=binned,
        split=split,
        windows=windows,
        aligned=aligned,
        trials=data.trials,
        fold=data.fold,
        tried=tuple(configs) if len(configs) > 1 else (),
    )


def _bin_and_align(
    recording: Recording, data: DataOptions, model_class: type[Model]
) -> tuple[Recording, Binned, Aligned | None]:
    """The recording with the named trials, its bins, and the trials that windows are cut to."""
    hold_out = model_class.target == CO_SMOOTHING
    aligned_elsewhere = data.trials not in (None, NONE) and data.trials not in tables(recording)
    if data.trials is not None:
        others = tuple(note for note in recording.notes if note.code not in trial_clock.CODES)
        recording = replace(with_trials(recording, data.trials), notes=others)
    activity = recording.activity
    known = nlb.recognise(recording) if hold_out and not aligned_elsewhere else None
    bin_width = data.bin_width
    if bin_width is None and isinstance(activity, SpikeTimes):
        bin_width = known.bin_width if known is not None else model_class.spike_bin_width
    binned = binning.bin_recording(recording, bin_width=bin_width, covariates=data.covariates)
    named = data.trials is not None and recording.trials is not None
    if named and binned.trials is None:
        task_checks.refuse_trials(recording, str(data.trials), binned)
    task_checks.check_num_neurons(recording, binned)
    if hold_out and binned.trials is not None and (known is not None or named):
        stated = isinstance(activity, SpikeTimes) and activity.intervals is not None
        trials_cut = _labelled(binned.trials)
        aligned = nlb.align(binned, trials_cut, known, observation_stated=stated)
        return recording, binned, aligned
    return recording, binning.inside_trials(binned) if named else binned, None


def _layout(binned: Binned, held_in: np.ndarray, aligned: Aligned | None) -> Layout:
    """The layout of one session."""
    return Layout(
        neuron_ids={SESSION: tuple(range(binned.num_neurons))},
        held_in={SESSION: tuple(held_in.tolist())},
        bin_width=binned.bin_width,
        quantity=binned.quantity,
        num_covariates=binned.covariates.shape[1],
        trial_bins=None if aligned is None else (aligned.observed, aligned.forward),
        cell_types=cell_types(binned.neurons.table),
    )


def log_important(recording: Recording, notes: Iterable[Note]) -> None:
    """Warn, before training, of what changes the meaning of the numbers."""
    for note in notes:
        if note.important:
            log.warning("%s: %s", recording.source.name, spelled(str(note)))


def num_draws(requested: int | None, *, co_smoothing: bool, stated: bool) -> int:
    """Draws of held-out neurons that a fit takes.

    Args:
        asked: None for the default.
        co_smoothing: whether the model predicts held-out neurons.
        stated: whether the file says which they are.
    """
    if not co_smoothing or stated:
        return 1
    return DRAWS if requested is None else requested


def _labelled(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that the file's `split` column gives to a split; all without such a column."""
    if "split" not in trials:
        return trials
    names = trials["split"].astype(str).str.lower().replace("validation", "val")
    named = names.isin(SPLITS[: splits.GAP])
    return trials[named] if named.any() else trials


def _reach(aligned: Aligned, num_bins: int) -> np.ndarray:
    """(num_bins,) bins that belong to the trial whose window begins at each bin."""
    reach = np.full(num_bins, aligned.observed + aligned.forward, dtype=np.int64)
    np.minimum.at(reach, aligned.starts, aligned.reach)
    return reach


def cell_types(table: pd.DataFrame) -> tuple[int, ...] | None:
    """A number per neuron's type in alphabetical order, -1 = unknown; None without labels."""
    if "cell_type" not in table:
        return None
    labels = table["cell_type"].replace("", None)
    numbers, _ = pd.factorize(labels, sort=True)
    return tuple(numbers.tolist()) if labels.notna().any() else None
