"""Search of an archive for recordings that meet conditions: its metadata first, then the files.

Dandisets come in the archive's order. One whose summary rules out a condition costs one request;
of the others the assets are listed, and with `inspect` opened until enough of them meet every
condition. What a condition removed is counted, so that an empty search can say why.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from nwbdyn.archive import addresses
from nwbdyn.archive.catalogue import Asset, Catalogue, Dandiset, Summary, open_catalogue
from nwbdyn.errors import ConfigError, NoActivityError, NwbdynError
from nwbdyn.opening import open_source
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.recording import COUNTS, TRACE_QUANTITIES, Source
from nwbdyn.workflows import find_conditions
from nwbdyn.workflows.find_conditions import TRACES, Answer, Conditions

MOST_DANDISETS = 100
MOST_OPENED = 10  # files of one dandiset; all of them where the address names it
MOST_LISTED = 3000  # likewise, files of which the metadata is requested
LISTED = 100  # files; a smaller dandiset is listed at once, where its summary would cost as much
NO_NWB = "no NWB file"  # in the counts of what was removed
UNREADABLE = "cannot be read, or nothing to fit"
_NOTHING = Summary(frozenset(), frozenset(), (), ())
_ORDER = ("results", "activity", "species", "region", "min_neurons", "trials", "cell_types")


@dataclass(frozen=True)
class Scope:
    """Part of an archive that is searched, and how far."""

    instance: str | None = None
    address: str | None = None  # one dandiset: dandi:ID[@VERSION]
    text: str | None = None  # words in the metadata of dandisets
    limit: int = 10  # files
    per_dandiset: int = 3  # files of one dandiset; all of them where the address names it
    most_dandisets: int = MOST_DANDISETS
    inspect: bool = False  # open the files


@dataclass(frozen=True)
class Hit:
    """A file that meets every condition."""

    source: Source
    dandiset_name: str
    num_matching: int  # files of the dandiset that meet what the metadata can answer
    asset: Asset
    contents: dict[str, Any] | None = None  # summary of the file, where it was opened
    chosen: dict[str, Any] | None = None  # options that a fit needs, to read the same


@dataclass(frozen=True)
class Removed:
    """Files that one condition removed."""

    condition: str  # a field of Conditions, NO_NWB or UNREADABLE
    num_files: int
    num_unstated: int = 0  # of them, those of which nothing is stated


@dataclass(frozen=True)
class Findings:
    """Files that meet the conditions, and an account of the search."""

    hits: tuple[Hit, ...]
    archive: str
    num_listed: int  # dandisets that the archive lists for the text
    num_dandisets: int  # of them, those that were searched
    num_files: int  # files of those
    removed: tuple[Removed, ...]  # in the order in which conditions are judged
    unread: tuple[tuple[str, str], ...]  # address and reason
    num_skipped: int  # files without an answer, beyond MOST_LISTED or MOST_OPENED of their dandiset


class _Counts:
    """Files that conditions removed, so far."""

    def __init__(self) -> None:
        self.false: Counter[str] = Counter()
        self.unstated: Counter[str] = Counter()
        self.files = 0

    def passes(self, answers: dict[str, Answer], *, unstated: bool) -> bool:
        """True if no condition removes a file; else the first one that does is counted.

        Args:
            unstated: a file passes where nothing is stated, because it will be opened.
        """
        for name in _ORDER:
            answer = answers.get(name, True)
            if answer or (answer is None and unstated):
                continue
            self.false[name] += 1
            self.unstated[name] += answer is None
            return False
        return True

    def removed(self) -> tuple[Removed, ...]:
        """One entry per condition that removed something."""
        order = (NO_NWB, *_ORDER, UNREADABLE)
        return tuple(
            Removed(name, self.false[name], self.unstated[name])
            for name in order
            if self.false[name]
        )


def find(conditions: Conditions, scope: Scope, *, report: Report = silent) -> Findings:
    """Search an archive.

    Args:
        conditions: all of them have to hold.
        scope: where to search, and how far.
        report: called with the number of dandisets that are done.

    Raises:
        ConfigError: a condition that only files answer, and none is opened; an address of a file.
        AddressError: the address names no dandiset.
        ArchiveError: the archive cannot be reached or refuses.
    """
    conditions.check(inspect=scope.inspect)
    address = _address(scope)
    instance = scope.instance or (address.instance if address else None)
    with open_catalogue(instance) as catalogue:
        num_listed, dandisets = _dandisets(catalogue, scope, address)
        search = _Search(catalogue, conditions, scope, report)
        num_total = min(num_listed, scope.most_dandisets)
        num_searched = 0
        hits: list[Hit] = []
        for number, dandiset in enumerate(dandisets):
            if number == num_total or len(hits) == scope.limit:
                break
            hits += search.of_dandiset(dandiset, scope.limit - len(hits))
            num_searched = number + 1
            report(Progress("searching", num_searched, num_total, "dandisets"))
        return Findings(
            hits=tuple(hits),
            archive=catalogue.name,
            num_listed=num_listed,
            num_dandisets=num_searched,
            num_files=search.counts.files,
            removed=search.counts.removed(),
            unread=tuple(search.unread),
            num_skipped=search.num_skipped,
        )


class _Search:
    """Search of one dandiset after the other."""

    def __init__(
        self, catalogue: Catalogue, conditions: Conditions, scope: Scope, report: Report
    ) -> None:
        self.counts = _Counts()
        self.unread: list[tuple[str, str]] = []
        self.num_skipped = 0
        self._catalogue, self._conditions, self._scope = catalogue, conditions, scope
        self._report = report

    def of_dandiset(self, dandiset: Dandiset, most: int) -> list[Hit]:
        """At most so many hits of a dandiset."""
        conditions, counts = self._conditions, self.counts
        counts.files += dandiset.num_assets
        summary = _NOTHING
        judged = conditions.activity or conditions.species
        if conditions.region or (judged and dandiset.num_assets > LISTED):
            summary = self._catalogue.summary(dandiset)
        ruled_out = find_conditions.of_summary(conditions, summary)
        for name in _ORDER:
            if ruled_out.get(name) is False:
                counts.false[name] += dandiset.num_assets
                return []
        most_listed = MOST_LISTED if self._scope.address is None else None
        assets, complete = self._catalogue.files(dandiset, most_listed)
        others = max(0, dandiset.num_assets - len(assets))
        if complete:
            counts.false[NO_NWB] += others
        else:
            self.num_skipped += others
        candidates = []
        for asset in assets:
            answers = find_conditions.of_asset(conditions, asset, summary)
            if counts.passes(answers, unstated=self._scope.inspect):
                candidates.append((asset, answers))
        hits = self._hits(candidates, most)
        return [
            replace(hit, dandiset_name=dandiset.name, num_matching=len(candidates)) for hit in hits
        ]

    def _hits(self, candidates: list[tuple[Asset, dict[str, Answer]]], most: int) -> list[Hit]:
        """At most so many of the files of a dandiset that the metadata leaves."""
        scope, hits = self._scope, list[Hit]()
        everywhere = scope.address is None
        if everywhere:
            most = min(most, scope.per_dandiset)
        if not scope.inspect:
            return [Hit(asset.source, "", 0, asset) for asset, _ in candidates[:most]]
        for number, (asset, answers) in enumerate(candidates):
            if len(hits) == most:
                break
            if everywhere and number == MOST_OPENED:
                self.num_skipped += len(candidates) - number
                break
            hit = self._opened(asset, answers)
            if hit is not None:
                hits.append(hit)
        return hits

    def _opened(self, asset: Asset, stated: dict[str, Answer]) -> Hit | None:
        """The file, if what it holds meets the conditions."""
        try:
            contents, options = self._read(asset.source)
        except ConfigError:
            raise
        except NwbdynError as error:
            self.counts.false[UNREADABLE] += 1
            self.unread.append((asset.source.uri, str(error)))
            return None
        answers = find_conditions.of_file(self._conditions, contents, stated)
        if not self.counts.passes(answers, unstated=False):
            return None
        return Hit(asset.source, "", 0, asset, contents, options)

    def _read(self, source: Source) -> tuple[dict[str, Any], dict[str, Any]]:
        """Summary of a file, and the options that a fit needs to read the same.

        Units win over traces, so of a file with both the traces have to be named.
        """
        contents = self._summary(source)
        if self._conditions.activity == TRACES and contents["activity"]["quantity"] == COUNTS:
            for quantity in TRACE_QUANTITIES:
                with suppress(NoActivityError):
                    return self._summary(source, quantity=quantity), {"quantity": quantity}
        return contents, {}

    def _summary(self, source: Source, **options: str) -> dict[str, Any]:
        from nwbdyn.nwb.read.summary import summarise

        with open_source(source, report=self._report, **options) as recording:
            return summarise(recording)


def _address(scope: Scope) -> addresses.DandiAddress | None:
    """The dandiset to search, if one is named.

    Raises:
        ConfigError: the address names a file, or something outside an archive.
    """
    if scope.address is None:
        return None
    address = addresses.parse_dandi(scope.address)
    if address is None or address.path:
        raise ConfigError(
            f"'{scope.address}' names no dandiset to search. Pass dandi:ID or dandi:ID@VERSION."
        )
    return address


def _dandisets(
    catalogue: Catalogue, scope: Scope, address: addresses.DandiAddress | None
) -> tuple[int, Iterator[Dandiset]]:
    if address is None:
        return catalogue.dandisets(scope.text)
    return 1, iter([catalogue.dandiset(address)])
