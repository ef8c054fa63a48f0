"""Section "edges": tests of single edges against surrogate recordings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from nwbdyn.results.sections.section import Record, Section

JITTER = "jitter"  # the null of couplings that are fitted to spike times
_KINDS = {"shift": "shifted", "trials": "trial-shuffled", JITTER: "jittered"}


@dataclass(frozen=True)
class TimeScale(Record):
    """Filters of spike couplings that were compared on validation."""

    filters: str
    gain: float  # coupling gain
    surrogate_gain: float


@dataclass(frozen=True)
class EdgeTests(Section):
    """The null, and how many edges are significant against it.

    What ends in `_unflagged` leaves out edges that may be artefacts.
    """

    null: str  # kind of the surrogates
    tested: str  # column of the edge table
    hypothesis: str
    num_surrogates: int
    num_half_samples: int  # refits behind the standard error
    smallest_p: float
    level: float  # of q
    num_edges: int
    num_significant: int | None  # None without q
    num_flagged: int
    num_significant_unflagged: int | None
    withheld: str  # why there is no q; "" where there is one
    half_split_correlation: float | None  # of the weights of halves of the data
    mean_weight: float
    rule: str | None = None  # scale of the pooled null
    half_split_correlation_unflagged: float | None = None
    mean_weight_unflagged: float | None = None
    stable_signs: float | None = None  # share of edges with one sign in all halves
    measure: str | None = None  # of edges that are not the weights of the model
    terms: str | None = None  # of a sender, tested jointly
    slow_input: float | None = None  # relative variance of rates explained by older activity
    num_untested: int | None = None
    filters: str | None = None
    window: float | None = None  # seconds
    time_scales: Sequence[TimeScale] | None = None

    KEY: ClassVar[str] = "edges"
    OPTIONAL: ClassVar[frozenset[str]] = frozenset(
        {
            "rule",
            "stable_signs",
            "measure",
            "terms",
            "slow_input",
            "num_untested",
            "filters",
            "window",
            "time_scales",
        }
    )

    @property
    def of_spike_times(self) -> bool:
        """True where the edges were fitted to spike times, not to the bins of the model."""
        return self.null == JITTER

    @property
    def of_recording(self) -> bool:
        """True where the edges were fitted to the recording and are not the model's weights."""
        return self.measure is not None

    def sentences(self) -> list[str]:
        """Number of significant edges, or why none can be called significant."""
        if self.withheld:
            return [f"No edge can be called significant: {self.withheld}."]
        sentence = (
            f"{self.num_significant} of {self.num_edges} edges at q < {self.level:g} "
            f"against {self.num_surrogates} {_KINDS[self.null]} recordings"
        )
        if self.terms:
            sentence += f" (directed, a joint test of the sender's {self.terms})"
        flagged = (self.num_significant or 0) - (self.num_significant_unflagged or 0)
        if flagged:
            sentence += f", {flagged} of them flagged as possible artefacts"
        if self.filters:
            sentence += f" (filters: {self.filters}, chosen by their coupling gain on validation)"
        halves = self.half_split_correlation
        if halves is not None and halves == halves:
            sentence += f"; halves of the data agree at r = {halves:.2f}"
        return [f"{sentence}."]

    def caption(self) -> str:
        """Caption of the figure of p."""
        least = self.smallest_p
        smallest = f"; the smallest p that they can give is {least:.2g}" if least > 0 else ""
        return (
            f"p of every edge. The null: {self.hypothesis} ({self.num_surrogates} "
            f"surrogates{smallest}). "
            "The dashed line is where all bars would end if it were true."
        )
