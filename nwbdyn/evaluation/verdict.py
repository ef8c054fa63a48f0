"""The verdict: sentences about the scores of a fit, for the terminal and the report.

Each section of the metrics has its own sentences (`nwbdyn.results.sections`). Here are their order,
what one section says in the light of another, and the comparison with the baselines.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nwbdyn.evaluation import mean_prediction, scoring
from nwbdyn.evaluation.numbers import signed
from nwbdyn.recording import COUNTS
from nwbdyn.results.sections.baseline_start import BaselineStart
from nwbdyn.results.sections.common_input import CommonInput
from nwbdyn.results.sections.coupling import CouplingGain
from nwbdyn.results.sections.dynamics import CouplingChange
from nwbdyn.results.sections.edges import EdgeTests
from nwbdyn.results.sections.held_out import HeldOutScores
from nwbdyn.results.sections.ladder import KeptRung
from nwbdyn.results.sections.nested import NestedTests
from nwbdyn.results.sections.reliability import Reliability
from nwbdyn.results.sections.repeats import HeldoutResampleScores
from nwbdyn.results.sections.seed_mean import SeedMean
from nwbdyn.results.sections.simultaneous import SimultaneousPairs
from nwbdyn.results.sections.state_gate import StateMatrices
from nwbdyn.results.sections.states import StateDifferences
from nwbdyn.results.sections.time_following import TimeFollowing

COARSE = 0.01  # seconds; a wider bin mixes synaptic delays with slower influence


def sentences(metrics: dict[str, Any], model: str) -> list[str]:
    """The whole verdict: comparison with baselines, gain from coupling, edges, held-out scores.

    Args:
        metrics: as metrics.json holds them.
        model: the model's name.
    """
    first = winner(metrics, model)
    if mean_prediction.sentence(metrics, model):
        tested = EdgeTests.from_metrics(metrics)
        return [first, *(_edges(metrics) if tested and tested.of_spike_times else [])]
    resamples = HeldoutResampleScores.from_metrics(metrics)
    start, ladder = BaselineStart.from_metrics(metrics), KeptRung.from_metrics(metrics)
    seeds = SeedMean.from_metrics(metrics)
    nested, reliability = NestedTests.from_metrics(metrics), Reliability.from_metrics(metrics)
    change, states = CouplingChange.from_metrics(metrics), StateDifferences.from_metrics(metrics)
    matrices, following = StateMatrices.from_metrics(metrics), TimeFollowing.from_metrics(metrics)
    pairs, held_out = SimultaneousPairs.from_metrics(metrics), HeldOutScores.from_metrics(metrics)
    return [
        first,
        *(start.sentences(resamples) if start else []),
        *(ladder.sentences(model) if ladder else []),
        *(seeds.sentences() if seeds else []),
        *_coupling(metrics),
        *(nested.sentences() if nested else []),
        *(reliability.sentences() if reliability else []),
        *_edges(metrics),
        *_common_input(metrics),
        *(pairs.sentences() if pairs else []),
        *(change.sentences() if change else []),
        *(states.sentences() if states else []),
        *(matrices.sentences() if matrices else []),
        *(following.sentences() if following else []),
        *(held_out.sentences(resamples) if held_out else []),
    ]


def parts(metrics: dict[str, Any]) -> dict[str, Any]:
    """Rows of a table of scores for a model on a baseline: what was trained, and the average.

    Args:
        metrics: as metrics.json holds them.

    Returns:
        Name -> split -> metric -> value; empty for other models.
    """
    start = BaselineStart.from_metrics(metrics)
    return {} if start is None else start.rows()


def winner(metrics: dict[str, Any], model: str) -> str:
    """One sentence: did the model beat its best baseline on the primary metric?

    Over all draws of held-out neurons, where there are several. Where nothing predicts better than
    the mean, that is the sentence.
    """
    nothing = mean_prediction.sentence(metrics, model)
    if nothing:
        return nothing
    resamples = HeldoutResampleScores.from_metrics(metrics)
    if resamples is not None and resamples.intervals:
        return _winner_over_draws(resamples, model)
    primary = metrics["primary"]
    metric, split, baseline = primary["metric"], primary["split"], primary["baseline"]
    own = metrics["model"][split][metric]
    if baseline is None:
        return f"{model}: {metric} {own:.3f} on {split}; no baseline could be scored."
    other = metrics["baselines"][baseline][split][metric]
    scores = f"{metric} {own:.3f} against {other:.3f} of {baseline} on {split}"
    interval = metrics.get("intervals", {}).get("difference", {}).get(split, {}).get(metric)
    known = interval is not None and all(end is not None for end in interval)
    if known:
        scores += f", difference {signed(interval[0])} to {signed(interval[1])}"
    every = {name: scored[split].get(metric) for name, scored in metrics["baselines"].items()}
    higher = _higher(every, own, split) if own > other else ""  # else the sentence states its loss
    if metrics.get("beats_baseline") is None:
        return f"{model}: {scores}{higher}."
    if known and _level(own - other, interval):
        return f"{model} is level with the best baseline: {scores}{higher}."
    if metrics["beats_baseline"]:
        return f"{_beats(model, higher)}: {scores}{higher}."
    if known and interval[1] < 0:
        return f"{model} loses to the best baseline: {scores}."
    return f"{model} does not beat the best baseline: {scores}."


def of_edges(metrics: dict[str, Any]) -> str:
    """Sentence on the gain from coupling and the significant edges of a null; "" without one."""
    if metrics.get(EdgeTests.KEY) is None:
        return ""
    return " ".join([*_coupling(metrics), *_edges(metrics)])


def of_training(history: Sequence[Mapping[str, float]], config: Mapping[str, object]) -> list[str]:
    """A sentence where training was too fast or too short, and what to try.

    Too fast: nothing was learned after the first validation. Too short: it ended at its limit, and
    the last tenth of it brought more than a twentieth of what was gained since the first
    validation. None where what was trained is left out.
    """
    if config.get("own_part") is False:
        return []
    validated = [row for row in history if row.get("validation") is not None]
    if len(validated) < 2:
        return []
    best = min(validated, key=lambda row: row["validation"])
    if best is validated[-1]:
        return _of_its_end(validated, config)
    if best is not validated[0]:
        return []
    rate = config["learning_rate"]
    return [
        f"The best epoch on validation was the first that was tried, {best['epoch']:.0f} of "
        f"{history[-1]['epoch']:.0f}: nothing was learned after it. Try a smaller learning rate, "
        f"--set learning_rate=X (now {rate:g})."
    ]


def _of_its_end(
    validated: Sequence[Mapping[str, float]], config: Mapping[str, object]
) -> list[str]:
    first, last = validated[0], validated[-1]
    before = [row for row in validated if row["updates"] <= (1 - _END) * last["updates"]]
    gained = first["validation"] - last["validation"]
    if not before or before[-1]["validation"] - last["validation"] <= _MUCH * gained:
        return []
    unit, option = "updates", "--set updates="
    if config.get("updates") is None:
        unit, option = "epochs", "--epochs "
    limit: Any = config[unit]
    return [
        f"Validation still improved when training ended, at its limit of {limit:,} {unit}. Train "
        f"longer, {option}{2 * limit}."
    ]


_END, _MUCH = 0.1, 0.05  # of a course; of what was gained in it


def of_bins(binning: Mapping[str, object], metrics: Mapping[str, Any]) -> list[str]:
    """A sentence where bins of spikes are coarser than synaptic delays, and no jitter was run.

    Args:
        binning: of the fit, with "quantity" and "bin_width".
        metrics: as metrics.json holds them.
    """
    width: Any = binning.get("bin_width")
    tested = EdgeTests.from_metrics(metrics)
    fine = tested is not None and tested.of_spike_times
    if binning.get("quantity") != COUNTS or width is None or width <= COARSE or fine:
        return []
    return [
        f"Bins of {1000 * width:g} ms are coarser than synaptic delays (1 to 5 ms): directed edges "
        "show slower influence, common input included. --null jitter:20 tests couplings of the "
        "spike times themselves, on a grid of 1 ms."
    ]


def _coupling(metrics: dict[str, Any]) -> list[str]:
    gain, edges = CouplingGain.from_metrics(metrics), EdgeTests.from_metrics(metrics)
    if gain is None:
        return []
    return gain.sentences(
        selected=len(metrics.get("candidates") or ()) > 1,
        of_recording=edges is not None and edges.of_recording,
    )


def _edges(metrics: dict[str, Any]) -> list[str]:
    """Which edges may be read; nothing of a model whose edges are no couplings."""
    tested, gain = EdgeTests.from_metrics(metrics), CouplingGain.from_metrics(metrics)
    if tested is not None:
        if gain is not None and gain.all_zero and not tested.of_recording:
            return []  # the sentence on coupling states it
        return tested.sentences()
    if gain is None or gain.all_zero:
        return []
    compared = gain.decisive
    if not compared.least > 0:
        verb = "are not shown to help" if compared.adds > 0 else "do not help"
        return [f"Do not read its edges: they {verb} to predict."]
    return ["No null was run; add --null shift:20 before reading edges."]


def _common_input(metrics: dict[str, Any]) -> list[str]:
    """Warning of common input, unless it is already the reason why edges have no q."""
    measured, tested = CommonInput.from_metrics(metrics), EdgeTests.from_metrics(metrics)
    if measured is None:
        return []
    withheld = tested is not None and tested.withheld == measured.q_withheld_reason
    return measured.sentences(withheld_for_it=withheld)


def _level(difference: float, interval: Sequence[float]) -> bool:
    """True if the interval lies within SAME, or excludes 0 and the difference is at most SAME."""
    if max(map(abs, interval)) <= scoring.SAME:
        return True
    decided = interval[0] > 0 or interval[1] < 0
    return decided and abs(difference) <= scoring.SAME


def _beats(model: str, higher: str) -> str:
    return f"{model} beats the {'baseline that validation chose' if higher else 'best baseline'}"


def _higher(baselines: Mapping[str, float | None], own: float, split: str) -> str:
    """The baselines that validation passed over and that score higher than the model, or ""."""
    above = {name: value for name, value in baselines.items() if value is not None and value > own}
    if not above:
        return ""
    highest = max(above, key=lambda name: above[name])
    if len(above) == 1:
        return f"; {highest} scores higher on {split}, {above[highest]:.3f}"
    return (
        f"; {len(above)} baselines score higher on {split} (highest: {highest}, "
        f"{above[highest]:.3f})"
    )


def _winner_over_draws(resamples: HeldoutResampleScores, model: str) -> str:
    metric, split = resamples.metric, resamples.split
    own = resamples.model[metric]["mean"]
    over = f"over {resamples.num_draws} draws of held-out neurons"
    difference = resamples.intervals.get("difference")
    if difference is None:
        return f"{model}: {metric} {own:.3f} {over} on {split}; no baseline was scored."
    other = own - resamples.difference[metric]["mean"]
    scores = (
        f"{metric} {own:.3f} against {other:.3f} on {split} {over}, difference "
        f"{signed(difference[0])} to {signed(difference[1])}"
    )
    if _level(own - other, difference):
        return f"{model} is level with the best baseline: {scores}."
    if resamples.beats:
        every = {name: scored[metric]["mean"] for name, scored in resamples.baselines.items()}
        higher = _higher(every, own, split)
        return f"{_beats(model, higher)}: {scores}{higher}."
    result = "loses to" if difference[1] < 0 else "does not beat"
    return f"{model} {result} the best baseline: {scores}."
