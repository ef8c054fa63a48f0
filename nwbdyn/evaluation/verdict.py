"""The verdict: sentences about the scores of a fit, for the terminal and the report."""

from collections.abc import Mapping, Sequence
from typing import Any

from nwbdyn.evaluation import kept_rung, mean_prediction, nested, scoring
from nwbdyn.evaluation.numbers import signed
from nwbdyn.recording import COUNTS

COARSE = 0.01  # seconds; a wider bin mixes synaptic delays with slower influence


def sentences(metrics: dict[str, Any], model: str) -> list[str]:
    """The whole verdict: comparison with baselines, gain from coupling, edges, held-out scores.

    Args:
        metrics: as metrics.json holds them.
        model: the model's name.
    """
    first = winner(metrics, model)
    if mean_prediction.sentence(metrics, model):
        return [first, *(_edges(metrics) if _of_spike_times(metrics) else [])]
    return [
        first,
        *_on_baseline(metrics.get("on_baseline"), metrics.get("draws")),
        *kept_rung.sentences(metrics.get("ladder"), model),
        *_ensemble(metrics.get("ensemble")),
        *_coupling(metrics),
        *nested.sentences(metrics.get("nested")),
        *_agreement(metrics.get("agreement")),
        *_edges(metrics),
        *_common_input(metrics),
        *_simultaneous(metrics.get("simultaneous")),
        *_dynamics(metrics.get("dynamics")),
        *([of_states(metrics["states"])] if metrics.get("states") else []),
        *_held_out(metrics.get("held_out"), metrics.get("draws")),
    ]


def parts(metrics: dict[str, Any]) -> dict[str, Any]:
    """Rows of a table of scores for a model on a baseline: what was trained, and the average.

    Args:
        metrics: as metrics.json holds them.

    Returns:
        Name -> split -> metric -> value; empty for other models.
    """
    section = metrics.get("on_baseline")
    if section is None:
        return {}
    weight = section["weight"]
    return {
        "  on its baseline": section["scores"]["transformer"],
        f"  average ({weight:.1f} of it)": section["scores"]["average"],
    }


def winner(metrics: dict[str, Any], model: str) -> str:
    """One sentence: did the model beat its best baseline on the primary metric?

    Over all draws of held-out neurons, where there are several. Where nothing predicts better than
    the mean, that is the sentence.
    """
    nothing = mean_prediction.sentence(metrics, model)
    if nothing:
        return nothing
    if metrics.get("draws") is not None and metrics["draws"].get("intervals"):
        return _winner_over_draws(metrics["draws"], model)
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
    every = {name: found[split].get(metric) for name, found in metrics["baselines"].items()}
    higher = _higher(every, own, split) if own > other else ""  # else its loss is said already
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
    if metrics.get("edges") is None:
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
    fine = (metrics.get("edges") or {}).get("filters")
    if binning.get("quantity") != COUNTS or width is None or width <= COARSE or fine:
        return []
    return [
        f"Bins of {1000 * width:g} ms are coarser than synaptic delays (1 to 5 ms): directed edges "
        "show slower influence, common input included. --null jitter:20 tests couplings of the "
        "spike times themselves, on a grid of 1 ms."
    ]


def of_states(found: dict[str, Any]) -> str:
    """Sentence on a difference of coupling between states.

    Args:
        found: metrics["states"], also of a fit of version 0.1.
    """
    between = f"between {', '.join(found['names'])}"
    if found["supported"] and "pattern_p" in found:
        changed = [name for name in ("pattern", "gain") if found[name]]
        p = ", ".join(f"{name} p = {found[f'{name}_p']:.2g}" for name in ("pattern", "gain"))
        return (
            f"Coupling differs {between} in its {' and '.join(changed)} ({p}); "
            f"{found['num_significant']} edges change at q < {found['level']:g}. A response that "
            "bends can pass for a gain, and noise of measurement that differs with the state for "
            "either."
        )
    if found["supported"]:
        return (
            f"Coupling differs {between} by more than in {found['num_simulations']} simulations "
            f"with a constant one (p = {found['p']:.2g})."
        )
    return f"Differences of coupling {between} are not supported: {found['why_not']}."


def unbeaten(found: dict[str, Any]) -> str:
    """The comparisons on test that A(t) fails and those it passes, if a change is not supported.

    Args:
        found: metrics["dynamics"].
    """
    static, baseline = found["static"], found.get("against_baseline")
    refit = f"a refit with a constant A ({_gain(static)})"
    best = found["baseline"] or "a baseline"
    best += f" ({_gain(baseline)})" if baseline is not None else ""
    if above_zero(static):
        return f"A(t) beats {refit} on {static['split']}, but not {best}"
    if found["beats_baseline"]:
        return f"A(t) beats {best} on {static['split']}, but not {refit}"
    return f"A(t) beats neither {refit} nor {best} on {static['split']}"


def above_zero(compared: dict[str, Any]) -> bool:
    """True when the interval of what is added lies above 0; False without an interval."""
    ends = compared["interval"]
    return bool(ends and None not in ends and ends[0] > 0)


def against_the_better(coupling: dict[str, Any]) -> dict[str, Any]:
    """The comparison that decides what coupling adds: with the model without it, or with AR.

    Args:
        coupling: metrics["coupling"]; of a run before AR was compared, the refit decides.
    """
    compared: dict[str, Any] = coupling["against_ar"] if _ar_is_better(coupling) else coupling
    return compared


def least_gain(coupling: dict[str, Any]) -> float | None:
    """Smallest plausible gain from coupling: the interval's lower end, or the value without one.

    Args:
        coupling: metrics["coupling"].
    """
    compared = against_the_better(coupling)
    interval = compared.get("interval")
    return interval[0] if interval and None not in interval else compared.get("adds")


def span(interval: Sequence[float | None] | None, digits: int = 3) -> str:
    """An interval to read, "" where it is not known."""
    if interval is None or any(end is None or end != end for end in interval):
        return ""
    return f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"


def _on_baseline(section: dict[str, Any] | None, draws: dict[str, Any] | None) -> list[str]:
    """Whether validation kept what was trained on top of a baseline."""
    if section is None:
        return []
    name = section["baseline"]
    error = "" if section["error"] is None else f" (standard error {section['error']:.4f})"
    gain = f"{section['gain']:+.4f} bits per spike{error} over {section['num_blocks']} blocks"
    if section["kept"]:
        sentence = f"It starts from {name} and adds to it on validation: {gain}; its weight is "
        sentence += f"{section['weight']:.1f}."
    else:
        sentence = (
            f"Validation kept {name}: what was trained on top of it adds {gain}, which is not "
        )
        sentence += f"above one standard error. The predictions are those of {name}."
    if draws is not None and "num_kept" in draws:
        sentence += f" Of {draws['num_draws']} draws, {draws['num_kept']} kept the trained part."
    return [sentence]


def _ensemble(told: dict[str, Any] | None) -> list[str]:
    if told is None:
        return []
    number, total = len(told["seeds"]), len(told["ranking"])
    ends = span(told["interval"])
    return [
        f"Rates are the mean of the best {number} of {total} seeds on validation: "
        f"{told['metric']} {told['ensemble']:.3f} against {told['single']:.3f} of the best seed on "
        f"{told['split']}" + (f", difference {ends}." if ends else ".")
    ]


def _coupling(metrics: dict[str, Any]) -> list[str]:
    """Sentence on the gain from coupling. "Adds" requires an interval above zero."""
    coupling = metrics.get("coupling")
    if coupling is None:
        return []
    if coupling.get("all_zero"):
        chosen = len(metrics.get("candidates") or ()) > 1
        first = "Validation chose no coupling" if chosen else "No coupling was kept"
        if _of_spike_times(metrics):
            return [f"{first} in these bins; the edges are those of the spike times."]
        return [f"{first}: every weight is 0, so the edge matrix is empty."]
    compared = against_the_better(coupling)
    adds, interval = compared.get("adds"), compared.get("interval")
    if adds is None:
        return []
    of = f"of {compared['metric']} on {compared['split']}"
    other = _without_coupling(coupling)
    if not interval or None in interval:
        if adds > 0:
            first = f"Coupling adds {adds:+.3f} {of} here"
        else:
            first = f"Coupling does not help here: {adds:+.3f} {of}"
        return [f"{first}; too short to test against {other}."]
    gain = f"{adds:+.3f} ({interval[0]:+.3f} to {interval[1]:+.3f}) {of}"
    if interval[0] > 0:
        return [f"Coupling adds {gain} to {other}."]
    verb = "is not shown to help" if adds > 0 else "does not help"
    return [f"Coupling {verb}: {gain} against {other}."]


def _of_spike_times(metrics: dict[str, Any]) -> bool:
    """True where the edges were fitted to spike times, not to the bins of the model."""
    return (metrics.get("edges") or {}).get("null") == "jitter"


def _without_coupling(coupling: dict[str, Any]) -> str:
    """The model without coupling that decides, in words."""
    alone = "AR" if _ar_is_better(coupling) else coupling.get("baseline")
    return "a refit without it" if alone is None else f"{alone}, each neuron by itself"


def _ar_is_better(coupling: dict[str, Any]) -> bool:
    return coupling.get("better") == "AR"


def _agreement(told: dict[str, Any] | None) -> list[str]:
    """Sentences on the reliability of couplings between seeds and between halves of the windows."""
    if told is None:
        return []
    lines = []
    own = f"Mean {told['of']}"
    for name, words in (("coupling", own), ("influence", "Mean predictive influences")):
        found = told.get(name, {})
        if found.get("seeds") is not None:
            lines.append(f"{words} of two seeds agree at r = {found['seeds']:.2f}.")
    halves = told["coupling"]["windows"]
    if halves is not None:
        lines.append(f"{own} of odd and even windows agree at r = {halves:.2f}.")
    return lines


def _edges(metrics: dict[str, Any]) -> list[str]:
    """Which edges may be read; nothing of a model whose edges are no couplings."""
    tested, coupling = metrics.get("edges"), metrics.get("coupling")
    if coupling is not None and coupling.get("all_zero") and not _of_spike_times(metrics):
        return []  # `_coupling` has said so
    if tested is None:
        if coupling is None:
            return []
        least = least_gain(coupling)
        if least is not None and not least > 0:
            helped = against_the_better(coupling)["adds"] > 0
            verb = "are not shown to help" if helped else "do not help"
            return [f"Do not read its edges: they {verb} to predict."]
        return ["No null was run; add --null shift:20 before reading edges."]
    if tested["withheld"]:
        return [f"No edge can be called significant: {tested['withheld']}."]
    kinds = {"shift": "shifted", "trials": "trial-shuffled", "jitter": "jittered"}
    kind = kinds[tested["null"]]
    sentence = (
        f"{tested['num_significant']} of {tested['num_edges']} edges at q < {tested['level']:g} "
        f"against {tested['num_surrogates']} {kind} recordings"
    )
    flagged = tested["num_significant"] - tested["num_significant_unflagged"]
    if flagged:
        sentence += f", {flagged} of them flagged as possible artefacts"
    if tested.get("filters"):
        sentence += f" (filters: {tested['filters']}, chosen by their coupling gain on validation)"
    halves = tested["half_split_correlation"]
    if halves is not None and halves == halves:
        sentence += f"; halves of the data agree at r = {halves:.2f}"
    return [f"{sentence}."]


def _common_input(metrics: dict[str, Any]) -> list[str]:
    """Warning of common input, unless it has been given as the reason why edges have no q."""
    measured, tested = metrics.get("common_input"), metrics.get("edges")
    if measured is None or not measured["above"]:
        return []
    if tested is not None and "common input" in (tested["withheld"] or ""):
        return []
    return [
        f"Common input is likely: the neurons share {measured['excess']:.3f} of their residual "
        f"variance beyond chance, more than {measured['limit']:g}. Edges can come from it."
    ]


def _simultaneous(found: dict[str, Any] | None) -> list[str]:
    """Sentence on pairs that act within the same bin; none where nothing was tested."""
    if found is None or found["num_significant"] is None:
        return []
    return [
        f"{found['num_significant']} of {found['num_pairs']} pairs act together within one bin "
        f"(simultaneous, undirected) at q < {found['level']:g}, beyond the activity of the whole "
        "population; common input to a few neurons passes this null."
    ]


def _dynamics(found: dict[str, Any] | None) -> list[str]:
    """Sentence on a change of coupling over time; none if it was not tested."""
    if found is None or found["supported"] is None:
        return []
    if found["supported"]:
        return [
            f"Coupling that changes beats a refit with a constant one ({_gain(found['static'])}); "
            f"{found['state_share']:.0%} of its mean square changes over time."
        ]
    return [f"Differences of coupling over time and state are not supported: {unbeaten(found)}."]


def _gain(compared: dict[str, Any]) -> str:
    """A gain and its interval: "r2 +0.020, +0.010 to +0.030"."""
    ends = compared["interval"]
    known = ends and None not in ends
    span = f"{ends[0]:+.3f} to {ends[1]:+.3f}" if known else "too few blocks for an interval"
    return f"{compared['metric']} {compared['adds']:+.3f}, {span}"


def _level(difference: float, interval: Sequence[float]) -> bool:
    """True where two scores differ by no more than SAME, by the interval or, beyond 0, by value."""
    if max(map(abs, interval)) <= scoring.SAME:
        return True
    decided = interval[0] > 0 or interval[1] < 0
    return decided and abs(difference) <= scoring.SAME


def _beats(model: str, higher: str) -> str:
    return f"{model} beats the {'baseline that validation chose' if higher else 'best baseline'}"


def _higher(baselines: Mapping[str, float | None], own: float, split: str) -> str:
    """The baselines that validation passed over and that score higher than the model, or ""."""
    found = {name: value for name, value in baselines.items() if value is not None and value > own}
    if not found:
        return ""
    highest = max(found, key=lambda name: found[name])
    if len(found) == 1:
        return f"; {highest} scores higher on {split}, {found[highest]:.3f}"
    return f"; {len(found)} score higher on {split}, up to {found[highest]:.3f} of {highest}"


def _winner_over_draws(draws: dict[str, Any], model: str) -> str:
    metric, number = draws["metric"], draws["num_draws"]
    own = draws["model"][metric]["mean"]
    over = f"over {number} draws of held-out neurons"
    difference = draws["intervals"].get("difference")
    if difference is None:
        return f"{model}: {metric} {own:.3f} {over} on {draws['split']}; no baseline was scored."
    other = own - draws["difference"][metric]["mean"]
    scores = (
        f"{metric} {own:.3f} against {other:.3f} on {draws['split']} {over}, difference "
        f"{signed(difference[0])} to {signed(difference[1])}"
    )
    if _level(own - other, difference):
        return f"{model} is level with the best baseline: {scores}."
    if draws["beats"]:
        every = {name: found[metric]["mean"] for name, found in draws["baselines"].items()}
        higher = _higher(every, own, draws["split"])
        return f"{_beats(model, higher)}: {scores}{higher}."
    said = "loses to" if difference[1] < 0 else "does not beat"
    return f"{model} {said} the best baseline: {scores}."


def _held_out(found: dict[str, Any] | None, draws: dict[str, Any] | None) -> list[str]:
    """Sentences on the spread of the held-out score over trials and neurons."""
    if found is None:
        return []
    if draws is not None:
        spread, ends = draws["model"][found["metric"]], draws.get("intervals", {}).get("model")
        shown = f", {span(ends)} over trials and neurons" if ends else ""
        return [
            f"Over {draws['num_draws']} draws of held-out neurons: {found['metric']} "
            f"{spread['mean']:.3f} +- {spread['sd']:.3f} (sd){shown}. Predictions and the table of "
            "scores are those of the first draw."
        ]
    ends = span(found["intervals"]["model"])
    held = f"{found['num_neurons']} neurons held out"
    lines = [f"{found['metric']} over trials and {held}: {ends}."] if ends else []
    if found.get("stated") is False:
        lines.append("One draw of held-out neurons: it says as much of them as of the model.")
    return lines
