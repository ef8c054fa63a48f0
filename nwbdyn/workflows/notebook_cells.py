"""Cells of a notebook about one recording: stream, look, fit, scores, connectivity, states, export.

The order is that of the archive's example notebooks. Code uses the public names of nwbdyn, so that
a reader can go on from any cell.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from textwrap import dedent

from nwbdyn.printable import printable
from nwbdyn.version import __version__

MARKDOWN, CODE = "markdown", "code"
Cell = tuple[str, str]  # kind and text

_SPIKES = """\
    spikes = recording.activity
    times = [spikes.of(unit) for unit in range(min(60, len(recording.neurons)))]
    start = min((t[0] for t in times if len(t)), default=0)

    figure, axes = plt.subplots(figsize=(9, 4))
    axes.eventplot([t[t < start + 10] for t in times], colors="black", linewidths=0.6)
    axes.set(xlabel="time (s)", ylabel="unit", title="The first ten seconds")
    plt.show()
    """
_TRACES = """\
    traces = recording.activity
    shown = traces.data[:1000, : min(20, len(recording.neurons))]
    scaled = (shown - np.nanmean(shown, axis=0)) / np.nanstd(shown, axis=0)

    figure, axes = plt.subplots(figsize=(9, 5))
    axes.plot(traces.timestamps[: len(scaled)], scaled / 6 + np.arange(scaled.shape[1]), lw=0.6)
    axes.set(xlabel="time (s)", ylabel="ROI", title=f"{traces.quantity}, the first frames")
    plt.show()
    """
_STATES = """\
    from nwbdyn.errors import ResultsError
    from nwbdyn.statistics import states

    intervals = states.of_recording(recording, {states!r})
    means = {{}}
    for name, rows in intervals.groupby("state"):
        try:
            means[name] = fit.connectivity.mean(mask=rows)
        except ResultsError as error:  # no window lies inside such an interval
            print(f"{{name}}: {{error}}")

    off_diagonal = ~np.eye(len(recording.neurons), dtype=bool)
    high = max((abs(m.to_numpy()[off_diagonal]).max() for m in means.values()), default=1) or 1
    figure, panels = plt.subplots(1, max(1, len(means)), figsize=(9, 3), squeeze=False)
    for axes, (name, matrix) in zip(panels[0], means.items()):
        shown = np.where(off_diagonal, matrix.to_numpy(), 0)
        axes.imshow(shown, cmap="RdBu_r", vmin=-high, vmax=high)
        axes.set(title=f"{{name}} ({{matrix.attrs['num_windows']}} windows)", xlabel="sends")
    panels[0, 0].set_ylabel("receives")
    plt.show()
    """


@dataclass(frozen=True)
class Plan:
    """Choices of a notebook; what depends on the recording."""

    address: str  # as the notebook opens it
    title: str
    model: str
    updates: int  # of the small fit
    is_spikes: bool
    opened: dict[str, object] = field(default_factory=dict)  # arguments of `nwbdyn.open`
    states: str | None = None  # argument of `statistics.states.of_recording`
    link: str | None = None  # page of the dandiset
    size: str = ""  # what a fit reads, in words


def cells(plan: Plan) -> Iterator[Cell]:
    """Every cell, in order."""
    yield from _opening(plan)
    yield from _fitting(plan)
    if plan.states is not None:
        yield from _states(plan)
    yield from _sharing(plan)


def _opening(plan: Plan) -> Iterator[Cell]:
    link = f" It is part of [a dandiset]({plan.link})." if plan.link else ""
    yield _text(f"""
        # {_prose(plan.title)}

        This notebook streams one recording, fits a model of functional connectivity to it and
        compares the model with simple baselines.{link}

        1. Stream the recording
        2. Look at it
        3. Fit a model
        4. Scores
        5. Connectivity
        {"6. States" if plan.states else "6. Export"}
        {"7. Export" if plan.states else ""}

        Written by `nwbdyn notebook`, version {__version__}. To run it, install the package:
        `pip install nwbdyn`.
        """)
    options = "".join(f", {name}={value!r}" for name, value in plan.opened.items())
    yield _code(f"""
        import tempfile
        from pathlib import Path

        import matplotlib.pyplot as plt
        import numpy as np

        import nwbdyn

        ADDRESS = {plan.address!r}
        """)
    yield _text("""
        ## 1. Stream the recording

        Opening reads the tables of the file. Arrays are read when they are used.
        """)
    yield _code(f"""
        recording = nwbdyn.open(ADDRESS{options})
        recording
        """)
    yield _code("""
        recording.neurons.table.head()
        """)
    yield _text("""
        Anything odd in the file is in the notes.
        """)
    yield _code("""
        for note in recording.notes:
            print(note)
        print(len(recording.notes), "notes")
        """)
    yield _text("""
        ## 2. Look at it
        """)
    yield CODE, dedent(_SPIKES if plan.is_spikes else _TRACES).strip()


def _fitting(plan: Plan) -> Iterator[Cell]:
    size = f" It reads {plan.size} of activity." if plan.size else ""
    yield _text(f"""
        ## 3. Fit a model

        This fit is small, so that the notebook ends in minutes: {plan.updates} updates of
        `{plan.model}`.{size} For a result to publish, leave out `updates`, and read
        `fit.summary()` first.
        """)
    yield _code(f"""
        fit = nwbdyn.fit(
            recording, {plan.model!r}, seed=0, options={{"updates": {plan.updates}}}, report=False
        )
        fit
        """)
    yield _text("""
        ## 4. Scores

        The sentences say whether the model predicts better than its baselines, and whether
        coupling helps. Where it does not help, the couplings below have no meaning.
        """)
    yield _code("""
        print(fit.summary())
        """)
    yield _code("""
        fit.plot.scores()
        plt.show()
        """)
    yield _code("""
        fit.plot.predictions()
        plt.show()
        """)
    yield _text("""
        ## 5. Connectivity

        The mean matrix over time. Rows receive, columns send. An edge says that one neuron helps
        to predict another. It does not say that there is a synapse.
        """)
    yield _code("""
        fit.plot.connectivity()
        plt.show()
        """)
    yield _code("""
        fit.edges.head(10)
        """)


def _states(plan: Plan) -> Iterator[Cell]:
    yield _text(f"""
        ## 6. States

        The mean matrix in each state of {_prose(plan.states or "")}, on one colour scale. These
        differences are not tested: `nwbdyn.fit(…, states=…, null="shift:20")` tests them.
        """)
    yield CODE, dedent(_STATES.format(states=plan.states)).strip()


def _sharing(plan: Plan) -> Iterator[Cell]:
    yield _text(f"""
        ## {7 if plan.states else 6}. Export

        The results as an NWB file that any NWB tool opens. Name a folder of your own to keep it.
        """)
    yield _code("""
        folder = Path(tempfile.mkdtemp())
        path = nwbdyn.export(fit, folder / "results.nwb")
        print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")

        with nwbdyn.open_results(path) as results:
            print(results)
        recording.close()
        """)


def _prose(text: str) -> str:
    """A name from a file or an address as text, without a meaning in Markdown or HTML."""
    plain = printable(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_\[\]$#|~])", r"\\\1", plain)


def _text(text: str) -> Cell:
    return MARKDOWN, dedent(text).strip()


def _code(text: str) -> Cell:
    return CODE, dedent(text).strip()
