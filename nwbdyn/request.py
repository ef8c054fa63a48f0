"""The request of a fit: everything that a user may decide, in one frozen object.

The command line, `nwbdyn.fit`, a batch over recordings, config.json, an exported file, `--resume`
and `reproduce` all hold the same FitRequest. To add an option, add one field to one of the parts
below and one click option of the same name.
"""

from collections import abc
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from nwbdyn.errors import ConfigError

FEWEST_FOLDS = 3


@dataclass(frozen=True)
class DataOptions:
    """Bins of a recording, and the split."""

    bin_width: float | None = None  # seconds; None: frames of traces, the model's width for spikes
    trials: str | None = None  # interval table, or windows around the times in one of its columns
    covariates: tuple[str, ...] = ()  # behavioural signals, and events as TABLE[.TIMES][:KINDS]
    fold: tuple[int, int] | None = None  # (k, K): test on every K-th block, from the k-th on


@dataclass(frozen=True)
class ModelOptions:
    """Which model, and its hyperparameters."""

    options: Mapping[str, object] = field(default_factory=dict)  # fields of the model's Config
    epochs: int | None = None  # passes over the training windows, at most
    sweep: Mapping[str, object] | Path | str | None = None  # candidates, see `fitting.sweep_space`
    init_from: Path | str | None = None  # run whose shared weights are loaded and not trained


@dataclass(frozen=True)
class ValidationOptions:
    """Repetitions of a fit, which measure how far its score can be trusted."""

    seed: int = 0  # of the weights, the order of batches and the held-out neurons
    seeds: int = 1  # fits, with seeds seed, seed + 1, …
    folds: int | None = None  # of a cross-validation over interleaved blocks
    heldout_resamples: int | None = None  # sets of held-out neurons; None: the model's default


@dataclass(frozen=True)
class TestOptions:
    """Which hypotheses about the connectivity are tested, and what is scored beside the fit."""

    null: str | None = None  # "shift:K", "trials:K" or "jitter:K", K surrogate recordings
    states: str | None = None  # "TABLE[:COLUMN]", "NAME=START-STOP,…" or a CSV file
    influence_windows: int = 200  # test windows of the predictive influence, at most
    targets: Path | str | None = None  # targets file of the Neural Latents Benchmark


@dataclass(frozen=True)
class ComputeOptions:
    """Device and processes of a fit. Changes no result beyond rounding."""

    device: str = "auto"  # "cpu", "cuda", or "auto": cuda where there is one
    devices: int = 1  # processes per machine that train one model together
    nodes: int = 1  # machines, likewise


@dataclass(frozen=True)
class OutputOptions:
    """Run directory of a fit. Never part of a file that leaves the machine."""

    run: Path | None = None  # run directory; None keeps everything in memory
    resume: bool = False
    overwrite: bool = False


_PARTS = {
    "data": DataOptions,
    "model_options": ModelOptions,
    "validation": ValidationOptions,
    "tests": TestOptions,
    "compute": ComputeOptions,
    "output": OutputOptions,
}
_PART_OF = {item.name: part for part, kind in _PARTS.items() for item in fields(kind)}
_STORED = ("data", "model_options", "validation", "tests")  # what identifies a fit
_RENAMED = {"draws": "heldout_resamples", "adopt": "init_from"}  # names of version 0.1
_PATHS = ("init_from", "targets")  # of which a file that leaves the machine holds the name alone
_KINDS: dict[Any, str] = {  # of values in a stored request, in words
    **{str: "a text", Path: "a text", int: "a whole number", float: "a number"},
    **{abc.Mapping: "a table", tuple: "a list"},
}
_UNIONS = (UnionType, Union)
_OPTION = {  # of the command line, where it is not called like its field
    "covariates": "--covariate",
    "options": "--set",
}


@dataclass(frozen=True)
class FitRequest:
    """Everything that decides what a fit computes, and where."""

    model: str  # the model's name
    data: DataOptions = DataOptions()
    model_options: ModelOptions = ModelOptions()
    validation: ValidationOptions = ValidationOptions()
    tests: TestOptions = TestOptions()
    compute: ComputeOptions = ComputeOptions()
    output: OutputOptions = OutputOptions()

    @classmethod
    def from_keywords(cls, model: str, **keywords: Any) -> "FitRequest":
        """The request with these fields of its parts, by the fields' names.

        Raises:
            TypeError: no part has a field of that name.
        """
        return cls(model).with_keywords(**keywords)

    def with_keywords(self, **keywords: Any) -> "FitRequest":
        """The same request with some fields of its parts changed."""
        by_part: dict[str, dict[str, Any]] = {}
        for given, value in keywords.items():
            name = _RENAMED.get(given, given)
            if name not in _PART_OF:
                raise TypeError(f"a fit has no option {name!r}; it has: {', '.join(_PART_OF)}")
            if name in _PATHS and isinstance(value, str):
                value = Path(value)
            by_part.setdefault(_PART_OF[name], {})[name] = value
        parts = {part: replace(getattr(self, part), **given) for part, given in by_part.items()}
        return replace(self, **parts)

    def keywords(self) -> dict[str, Any]:
        """Every field of every part, as `from_keywords` takes them."""
        return {name: getattr(getattr(self, part), name) for name, part in _PART_OF.items()}

    @property
    def seeds(self) -> list[int]:
        """The seed of every fit."""
        first = self.validation.seed
        return list(range(first, first + self.validation.seeds))

    def check(self) -> None:
        """Refuse what makes no sense for any recording.

        Raises:
            ConfigError: a number that is too small, or two options that exclude each other.
        """
        validation = self.validation
        if validation.seeds < 1:
            raise ConfigError(f"seeds is {validation.seeds}; at least 1 fit is needed.")
        resamples = validation.heldout_resamples
        if resamples is not None and resamples < 1:
            raise ConfigError(
                f"heldout_resamples is {resamples}; at least 1 set of held-out neurons is needed."
            )
        if validation.folds is not None and validation.folds < FEWEST_FOLDS:
            raise ConfigError(
                f"folds is {validation.folds}; at least {FEWEST_FOLDS} folds are needed."
            )

    def to_json(self) -> dict[str, Any]:
        """Plain values of the parts that identify a fit; fields at their default are left out.

        Paths are reduced to names: a file that leaves the machine holds nothing of its folders.
        """
        stored: dict[str, Any] = {"model": self.model}
        for part in _STORED:
            default = asdict(_PARTS[part]())
            given = {
                name: _plain(value)
                for name, value in asdict(getattr(self, part)).items()
                if value != default[name]
            }
            if given:
                stored[part] = given
        return stored

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "FitRequest":
        """The request that `to_json` wrote. Fields that this version does not know are refused.

        Raises:
            ConfigError: a part or a field that this version does not know, or a value that is not
                of the field's type.
        """
        _check_stored("model", stored.get("model") if isinstance(stored, Mapping) else None, str)
        request = cls(stored["model"])
        for part, given in stored.items():
            if part == "model":
                continue
            _check_stored(part, given, abc.Mapping)
            hints = get_type_hints(_PARTS[part]) if part in _STORED else {}
            unknown = sorted(set(given) - set(hints))
            if unknown:
                raise ConfigError(
                    f"The stored request has {part}.{unknown[0]}, which this version of nwbdyn "
                    "does not know. Update nwbdyn."
                )
            values = {name: _read(value) for name, value in given.items()}
            for name, value in values.items():
                _check_stored(f"{part}.{name}", value, hints[name])
            request = request.with_keywords(**values)
        return request

    def diff(self, other: "FitRequest") -> dict[str, tuple[Any, Any]]:
        """Fields that identify a fit and differ: "validation.seeds" -> (here, there)."""
        changes: dict[str, tuple[Any, Any]] = {}
        if self.model != other.model:
            changes["model"] = (self.model, other.model)
        for part in _STORED:
            mine, theirs = asdict(getattr(self, part)), asdict(getattr(other, part))
            changes |= {
                f"{part}.{name}": (mine[name], theirs[name])
                for name in mine
                if _plain(mine[name]) != _plain(theirs[name])
            }
        return changes


def option_of(name: str) -> str:
    """The command line's option for a field: "heldout_resamples" -> "--heldout-resamples"."""
    return _OPTION.get(name, f"--{name.replace('_', '-')}")


def _plain(value: Any) -> Any:
    """A value as JSON holds it."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value


def _check_stored(name: str, value: Any, hint: Any) -> None:
    """Refuse a stored value that is not of a field's type; a path is stored as a text."""
    if not _is_of(value, hint):
        kinds = get_args(hint) if get_origin(hint) in _UNIONS else (hint,)
        origins = (get_origin(one) or one for one in kinds if one is not type(None))
        expected = " or ".join(dict.fromkeys(_KINDS[one] for one in origins))
        raise ConfigError(
            f"The stored request has {name} = {repr(value)[:60]}; expected {expected}. Fit the "
            "recording again."
        )


def _is_of(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin in _UNIONS:
        return any(_is_of(value, one) for one in arguments)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        return len(kinds) == len(value) and all(map(_is_of, value, kinds))
    if origin is Path:
        return isinstance(value, str)
    if origin in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, int | float if origin is float else origin)


def _read(value: Any) -> Any:
    """A value as the parts hold it: a list in JSON is a tuple."""
    return tuple(value) if isinstance(value, list) else value
