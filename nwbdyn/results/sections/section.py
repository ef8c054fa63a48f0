"""One section of metrics.json as a frozen dataclass, and its conversion from and to JSON.

A stage returns its result as a Section. The verdict and the report read the same class again from
the metrics of a fit, of an earlier version too.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Self

from nwbdyn.errors import ResultsError


@dataclass(frozen=True)
class Record:
    """Values with names, as an object of a JSON file holds them.

    A field with a default may be absent in files of earlier versions. A trailing underscore of a
    field is not part of its name in the file (`with_`).
    """

    RECORDS: ClassVar[Mapping[str, type["Record"]]] = {}  # fields that are records themselves
    OPTIONAL: ClassVar[frozenset[str]] = frozenset()  # fields that are left out where they are None

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The record in an object of a JSON file; names that it does not know are left out.

        Raises:
            ResultsError: a field without a default is missing.
        """
        known: dict[str, Any] = {}
        for one in fields(cls):
            name = one.name.rstrip("_")
            if name not in values:
                if one.default is MISSING and one.default_factory is MISSING:
                    raise ResultsError(
                        f"The results are damaged: {cls.__name__} has no {name!r}. Fit again, or "
                        "get them anew from whoever made them."
                    )
                continue
            value, record = values[name], cls.RECORDS.get(name)
            is_record = record is not None and isinstance(value, Mapping)
            known[one.name] = record.from_json(value) if record and is_record else value
        return cls(**known)

    def to_json(self) -> dict[str, Any]:
        """The object of a JSON file."""
        values = {one.name.rstrip("_"): getattr(self, one.name) for one in fields(self)}
        return {
            name: _plain(value)
            for name, value in values.items()
            if value is not None or name not in self.OPTIONAL
        }


@dataclass(frozen=True)
class Section(Record):
    """A record that is a section of metrics.json."""

    KEY: ClassVar[str]  # its name in metrics.json

    @classmethod
    def from_metrics(cls, metrics: Mapping[str, Any]) -> Self | None:
        """The section in the metrics of a fit; None where the fit has none."""
        values = metrics.get(cls.KEY)
        return None if values is None else cls.from_json(values)

    def metrics(self) -> dict[str, Any]:
        """The section under its name, as metrics.json holds it."""
        return {self.KEY: self.to_json()}


def _plain(value: Any) -> Any:
    """Lists and dictionaries instead of tuples, mappings and records."""
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
