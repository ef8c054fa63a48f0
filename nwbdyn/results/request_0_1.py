"""The request of a fit of version 0.1, from the values in its run directory or file."""

from collections.abc import Mapping
from typing import Any, Protocol

from nwbdyn.request import FitRequest


class Described(Protocol):
    """A fit of version 0.1."""

    @property
    def model(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def config(self) -> Mapping[str, object]: ...
    @property
    def binning(self) -> Mapping[str, object]: ...
    @property
    def split(self) -> Mapping[str, object]: ...
    @property
    def environment(self) -> Mapping[str, object]: ...


def request_of(fit: Described) -> FitRequest:
    """The request of a fit; options that validation chose are left open again.

    Version 0.1 did not keep whether a bin width was requested: it is None here, and the width of
    the bins stands in `fit.binning`.
    """
    kept: Any = fit.environment.get("asked") or {}
    by_validation = kept.get("by_validation") or []
    fold: Any = fit.split.get("fold")
    trials: Any = fit.binning.get("trials")
    covariates: Any = fit.binning.get("covariates") or ()
    seeds: Any = fit.environment.get("seeds") or [fit.seed]
    return FitRequest.from_keywords(
        fit.model,
        trials=trials,
        covariates=tuple(covariates),
        fold=None if fold is None else tuple(fold),
        options={name: one for name, one in fit.config.items() if name not in by_validation},
        sweep={"list": kept["sweep"]} if kept.get("sweep") else None,
        seed=fit.seed,
        seeds=len(seeds),
        folds=fit.environment.get("folds"),
        heldout_resamples=kept.get("draws") or 1,
        null=kept.get("null"),
        states=kept.get("states"),
    )
