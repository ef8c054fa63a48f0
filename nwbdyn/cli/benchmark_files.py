"""Files of the Neural Latents Benchmark on the pages of `inspect`.

A session of the benchmark is two files, a train file and a test file, which `fit` takes together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nwbdyn.recording import Recording, Source


@dataclass(frozen=True)
class Pairs:
    """Train files and test files that are fitted together, by their addresses."""

    test_of: dict[str, str] = field(default_factory=dict)  # train file -> name of its test file
    train_of: dict[str, str] = field(default_factory=dict)  # test file -> name of its train file


def pairs(sources: "Sequence[Source]") -> Pairs:
    """The pairs among these files."""
    from nwbdyn import archive

    grouped = Pairs()
    for train, *tests in archive.sessions(sources):
        for test in tests:
            grouped.test_of[train.uri] = _file_name(test)
            grouped.train_of[test.uri] = _file_name(train)
    return grouped


def layout(recording: "Recording") -> dict[str, Any] | None:
    """Name and windows of a data set of the benchmark; None for any other recording."""
    from nwbdyn import nlb

    known = nlb.recognise(recording)
    if known is None:
        return None
    begin, end = known.window
    return {"data_set": known.name, "align": known.align, "begin_ms": begin, "end_ms": end}


def words(known: dict[str, Any]) -> str:
    """One line on the data set of a recording."""
    return (
        f"{known['data_set']} of the Neural Latents Benchmark: stndt takes windows of "
        f"{known['begin_ms']} to {known['end_ms']} ms around {known['align']}"
    )


def _file_name(source: "Source") -> str:
    return source.uri.rstrip("/").rsplit("/", 1)[-1]
