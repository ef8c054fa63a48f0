"""Conditions on a recording, judged from the archive's metadata and from the file itself.

An answer is True, False, or None where nothing is stated.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nwbdyn.archive.catalogue import Asset, Summary
from nwbdyn.errors import ConfigError

UNITS, TRACES = "units", "traces"
TYPES = {UNITS: "Units", TRACES: "PlaneSegmentation"}  # NWB types in the metadata of assets
IN_FILES = ("min_neurons", "trials", "cell_types")  # conditions that no metadata answers

Answer = bool | None


@dataclass(frozen=True)
class Conditions:
    """Requirements on a recording; None and False ask for nothing."""

    activity: str | None = None  # "units" or "traces"
    species: str | None = None  # Latin or common name, or a part of it
    region: str | None = None  # name or acronym in an atlas
    min_neurons: int | None = None  # with activity
    trials: bool = False  # a trials table with rows
    cell_types: bool = False  # of at least one neuron
    results: bool = False  # files that nwbdyn wrote, in place of recordings

    def given(self) -> dict[str, Any]:
        """Conditions that ask for something, in the order in which they are judged."""
        return {
            name: value for name, value in vars(self).items() if value is not None and value
        } | {"results": self.results}

    def check(self, *, inspect: bool) -> None:
        """Refuse conditions that cannot be answered.

        Raises:
            ConfigError: only the files have the answer, and none will be opened; or results would
                be opened as recordings.
        """
        if self.results and inspect:
            raise ConfigError("--inspect opens recordings, and --results are none. Leave one out.")
        needed = [name for name in IN_FILES if name in self.given()]
        if needed and not inspect:
            options = " and ".join(f"--{name.replace('_', '-')}" for name in needed)
            raise ConfigError(
                f"The archive's metadata does not answer {options}. Pass --inspect to open files."
            )


def of_summary(conditions: Conditions, summary: Summary) -> dict[str, Answer]:
    """Answers that hold for every file of a dandiset; False rules out the whole dandiset."""
    answers: dict[str, Answer] = {}
    if conditions.activity and summary.variables:
        answers["activity"] = TYPES[conditions.activity] in summary.variables
    if conditions.species and summary.species:
        answers["species"] = any(names(text, conditions.species) for text in summary.species)
    return answers


def of_asset(conditions: Conditions, asset: Asset, summary: Summary) -> dict[str, Answer]:
    """Answers of an asset's metadata, one per condition."""
    answers: dict[str, Answer] = {"results": asset.is_result == conditions.results}
    if conditions.activity:
        known = asset.variables
        answers["activity"] = TYPES[conditions.activity] in known if known else None
    if conditions.species:
        answers["species"] = _any(asset.species, conditions.species)
    if conditions.region:
        region = conditions.region
        about = any(names(text, region) for text in (*summary.anatomy, *summary.texts))
        answers["region"] = _any(asset.anatomy, region) if asset.anatomy else about or None
    return answers | {name: None for name in IN_FILES if name in conditions.given()}


def of_file(
    conditions: Conditions, summary: Mapping[str, Any], stated: Mapping[str, Answer]
) -> dict[str, Answer]:
    """Answers of a file that was opened; the metadata's where the file states nothing.

    Args:
        summary: as `nwb.read.summary.summarise` makes it.
        stated: answers of the metadata.
    """
    neurons, activity, trials = summary["neurons"], summary["activity"], summary["trials"]
    answers = dict(stated)
    if conditions.activity:
        is_units = activity["quantity"] == "counts"
        answers["activity"] = is_units == (conditions.activity == UNITS)
    if conditions.species and (species := summary["subject"].get("species")):
        answers["species"] = stated["species"] or names(
            _with_common_name(species), conditions.species
        )
    if conditions.region and neurons["locations"]:
        known = [text for text in neurons["locations"] if text]
        answers["region"] = _any(known, conditions.region) if known else stated["region"]
    if conditions.min_neurons:
        usable = neurons["count"] - activity.get("empty_units", 0)
        answers["min_neurons"] = usable >= conditions.min_neurons
    if conditions.trials:
        answers["trials"] = trials is not None and trials["rows"] > 0
    if conditions.cell_types:
        answers["cell_types"] = any(neurons["cell_types"] or ())
    return answers


def names(text: str, wanted: str) -> bool:
    """True if a text names what is wanted, as whole words, whatever the case.

    A number may follow, so that VISp is also in VISp2/3 and CA in CA1. A genus may be one letter
    with a dot: C. elegans.
    """
    words = re.escape(wanted.strip())
    if abbreviated := re.fullmatch(r"([^\W\d_])\.\s*([^\W\d_]+)", wanted.strip()):
        words += rf"|{abbreviated[1]}[^\W\d_]*\s+{abbreviated[2]}"
    pattern = rf"(?<![^\W_])(?:{words})(?![^\W\d_])"
    return re.search(pattern, text, re.IGNORECASE) is not None


def _any(texts: Iterable[str], wanted: str) -> Answer:
    known = [text for text in texts if text]
    return any(names(text, wanted) for text in known) if known else None


def _with_common_name(species: str) -> str:
    """A species of a file with the name that the archive gives it: "Mus musculus - House mouse"."""
    from dandi.metadata.util import species_map

    for record in species_map:
        latin = record.name.partition(" - ")[0]
        if species.lower() in (latin.lower(), record.name.lower(), *record.common_names):
            return f"{species} {record.name} {' '.join(record.common_names)}"
    return species
