"""Edge statistics on recordings whose wiring is known: how often they err, and what they find.

    python benchmarks/calibration.py independent [--recordings K] [--model NAME]
    python benchmarks/calibration.py planted [--recordings K] [--first-seed S] [--system rate]
                                             [--model NAME] [--neurons N] [--embedding E]
                                             [--defaults | --unset]

`independent`: neurons (8, each an AR(1) of its own) with nothing in common: any edge is false.
`planted`: networks of 30 neurons (14 for netformer) with sparse wiring. Each recording is fitted
and refitted as `nwbdyn fit --null shift:20` does, and every rule of pooling the null
(`significance.pooled_p`) is applied to the same refits. A ridge VAR(1) goes through the same
surrogates, halves and rules, its penalty as chosen on the recording itself. `as reported` is the
rule in use, with q withheld where coupling adds nothing on test, and for a model whose edges are
not calibrated. The rule was chosen on seeds 0 to 2 of `rate`; other seeds and other
systems test it. NetFormer's A has no more dimensions than its embedding, which is half as large
again as the number of neurons here; that, and its ridge (by validation), were chosen on the same
seeds. `--defaults` leaves it all other options, `--unset` the length of training as well: the fits
of `nwbdyn fit --model netformer`. A page is written after every network. In `hetero` neurons differ
in their memory, in `hidden` half of the neurons are not recorded and three slow latents drive all.
"""

import argparse
import time

import numpy as np
import pandas as pd
import torch
from machine import publish, table

from nwbdyn import baselines, metrics
from nwbdyn.baselines import autoregression, vector
from nwbdyn.baselines import lagged_design as regression
from nwbdyn.baselines.regression import Ridge
from nwbdyn.evaluation import scoring
from nwbdyn.fitting import train_models
from nwbdyn.fitting.assemble import task_of
from nwbdyn.fitting.stages import edge_tests, surrogate_data
from nwbdyn.fitting.task import FitTask, build_task
from nwbdyn.fitting.train_models import RunContext
from nwbdyn.inference import readout
from nwbdyn.recording import Neurons, Recording, Source, Traces
from nwbdyn.simulate import sample
from nwbdyn.statistics import significance
from nwbdyn.statistics.significance import LEVEL, RULE, RULES, NullSamples
from nwbdyn.statistics.surrogates import Null

NULL = Null("shift", 20)
PICKED = ("rate", range(3))  # the kind of network and the seeds that RULE was chosen on
SHORT = {
    "preset": "paper",
    "validate_every": 4,
    "context": 3,
    "embedding": 4,
}  # many fits, so short ones
SMALL = {**SHORT, "updates": 60, "hidden": 8, "learning_rate": 0.02}
LARGE = {**SHORT, "updates": 120, "hidden": 16, "learning_rate": 0.01}
LINEAR = {
    **{"history": 1, "layer_norm": False, "raw_values": False, "ridge": 300.0},
    **{"epochs": 30, "batch_size": 128, "learning_rate": 0.01, "embedding": 10},
}  # NetFormer without layer norm: x + A(x) x
DEFAULTS = {
    "preset": "paper",
    "epochs": 30,
    "batch_size": 128,
    "learning_rate": 0.005,
}  # NetFormer's own, but short
SHORTER = {**LINEAR, "ridge": 0.0, "epochs": 20, "batch_size": 64, "learning_rate": 0.02}
OPTIONS = {  # by model and part; NetFormer with 14 neurons, up to which many fits are one program
    ("synapsnet", "independent"): SMALL,
    ("synapsnet", "planted"): LARGE,
    ("netformer", "independent"): LINEAR,
    ("netformer", "planted"): {**LINEAR, "ridge": 30.0},
}
NEURONS = {"synapsnet": 30, "netformer": 14}  # of a planted network
STEP = 0.05  # seconds


def traces(values: np.ndarray, seed: int) -> Recording:
    time_points = np.arange(len(values)) * STEP
    return Recording(
        session_id=f"made-{seed}",
        neurons=Neurons(pd.DataFrame({"id": np.arange(values.shape[1])}), "roi"),
        activity=Traces(values.astype(np.float32), time_points, "dff"),
        source=Source(f"made-{seed}.nwb", f"file:///made-{seed}.nwb"),
    )


def independent(seed: int, *, neurons: int = 8, steps: int = 800) -> Recording:
    """AR(1) processes with memories of their own and nothing in common."""
    draw = np.random.default_rng(seed)
    keep = draw.uniform(0.2, 0.9, neurons)
    x = np.zeros((steps + 100, neurons))
    for t in range(1, len(x)):
        x[t] = keep * x[t - 1] + draw.normal(size=neurons)
    return traces(x[100:], seed)


def judged(problem: FitTask, seed: int) -> tuple[NullSamples, np.ndarray, str]:
    """The refits, the edges that a fit reports, and why it reports none, "" where it may."""
    location = RunContext()
    trained = train_models.train_seeds(problem, [seed], location)
    uncoupled = train_models.predict_without_coupling(problem, seed, location)
    own = readout.predict(trained[0].model, problem.windows)
    coupling = scoring.paired_difference(task_of(problem), own, uncoupled)
    evidence = edge_tests.collect(problem, trained, NULL, location, seed=seed)
    ids = problem.binned.neurons.ids
    table = readout.edges([evidence.weight], problem.binned.neurons)
    table, section, _ = significance.edge_statistics(
        table,
        ids,
        evidence,
        coupling=coupling.to_json(),
        withheld=problem.model_class.q_withheld_reason(problem.config, problem.layout),
    )
    hits = table[table["q"] <= LEVEL]
    reported = np.zeros(evidence.weight.shape, dtype=bool)
    reported[hits["post_id"], hits["pre_id"]] = True
    return evidence, reported, section.withheld


def through_the_same_null(problem: FitTask, seed: int) -> NullSamples:
    """A ridge VAR(1) on the recording, its surrogates and its halves."""
    context = problem.spec.context

    def fit_task(binned):
        return regression.build_lagged_design(binned, problem.split, context, 1)

    def weights(task_on, rows):
        ridge = Ridge(task_on.lagged(rows, 1, slice(None)), task_on.targets(rows))
        return ridge.weights(penalty).T.astype(np.float64)

    own = fit_task(problem.binned)
    penalty = vector.ridge(problem.binned, own, autoregression.best(own))[1].penalty
    make, words = surrogate_data.recipe(problem, NULL)
    null = []
    for k in range(NULL.number):
        shifted = fit_task(make(np.random.default_rng([seed, k, 0])))
        null.append(weights(shifted, shifted.train))
    halves = []
    for k in range(edge_tests.HALF_PAIRS):
        half = surrogate_data.half_of_blocks(problem, np.random.default_rng([seed, k, 1]))
        rows = (own.train[half[own.train]], own.train[~half[own.train]])
        halves.append([weights(own, part) for part in rows])
    return NullSamples(weights(own, own.train), np.stack(null), np.array(halves), NULL.kind, words)


def called(evidence: NullSamples, rule: str) -> np.ndarray:
    """(N, N) bool, edges at q <= LEVEL."""
    se = significance.standard_error(evidence.halves)
    p = significance.pooled_p(evidence.weight, evidence.null, rule=rule, se=se)
    return significance.benjamini_hochberg(p) <= LEVEL


def alone(model: str, number: int) -> None:
    begun = time.process_time()
    alarms: dict[tuple[str, str], list[bool]] = {}
    withheld = 0
    for seed in range(number):
        problem = build_task(
            independent(seed), model, seed=seed, options=OPTIONS[model, "independent"]
        )
        evidence, reported, why = judged(problem, seed)
        var = through_the_same_null(problem, seed)
        for rule in RULES:
            alarms.setdefault((model, rule), []).append(called(evidence, rule).any())
            alarms.setdefault(("VAR ridge", rule), []).append(called(var, rule).any())
        alarms.setdefault((model, "as reported"), []).append(reported.any())
        withheld += bool(why)
        print("independent", seed, why, flush=True)
    page = [
        f"{number} recordings of 8 independent neurons, 800 frames: share that report any edge at "
        f"q <= {LEVEL}. q was withheld in {withheld} of them: coupling adds nothing on test.",
        table(
            ["null pooled", model, "VAR ridge"],
            [
                [rule, *(_share(alarms.get((name, rule))) for name in (model, "VAR ridge"))]
                for rule in (*RULES, "as reported")
            ],
        ),
        f"{time.process_time() - begun:.0f} s of CPU in all.",
    ]
    publish(_page(model, "independent"), "\n\n".join(page))


def planted(
    model: str,
    system: str,
    seeds: range,
    neurons: int,
    options: dict[str, object],
    words: str,
    page_name: str,
) -> None:
    """False discoveries and power of every rule on a kind of network, and who ranks edges best."""
    begun = time.process_time()
    result: dict[tuple[str, str], list[tuple[float, float]]] = {}
    ranks: dict[str, list[float]] = {}
    backwards: list[np.ndarray] = []
    for seed in seeds:
        address = f"sample:network?kind={system}&seed={seed}&neurons={neurons}"
        recording, truth = sample(address)
        wiring = truth.coupling
        problem = build_task(recording, model, seed=seed, options=options)
        problem = train_models.select_candidate(
            problem, train_models.candidates(problem), seed, RunContext()
        ).problem
        evidence, reported, _ = judged(problem, seed)
        var = through_the_same_null(problem, seed)
        for rule in RULES:
            for name, of in ((model, evidence), ("VAR ridge", var)):
                result.setdefault((name, rule), []).append(_errors(called(of, rule), wiring))
        result.setdefault((model, "as reported"), []).append(_errors(reported, wiring))
        backwards.append(_backwards(called(evidence, RULE), wiring))
        ranks.setdefault(model, []).append(_auroc(evidence.weight, wiring))
        other_models = baselines.next_bin(
            problem.binned, problem.split, context=problem.spec.context
        )
        for name, baseline in other_models.items():
            if name.startswith("VAR"):
                ranks.setdefault(name, []).append(_auroc(baseline.coupling, wiring))
        print(system, seed, result[model, "as reported"][-1], flush=True)
        rows = [
            [rule, *(_pair(result.get((name, rule))) for name in (model, "VAR ridge"))]
            for rule in (*RULES, "as reported")
        ]
        auroc = ", ".join(f"{name} {np.mean(values):.3f}" for name, values in ranks.items())
        done = range(seeds[0], seed + 1)
        page = [
            f"{_count(done)} of {neurons} neurons, 2,000 frames, `{system}`, seeds {done[0]} to "
            f"{done[-1]}: false discoveries among the edges called, and share of the true edges "
            f"that are called. {_origin(system, seeds)} AUROC of |weight|: {auroc}."
            + (f" Embedding: {problem.config.embedding}." if model == "netformer" else "")
            + words,
            table(["null pooled", model, "VAR ridge"], rows),
            "{} of the {} false edges called by the rule in use join two neurons of which the "
            "receiver sends to the sender; of the {:,} absent edges {} do.".format(
                *np.sum(backwards, axis=0)
            ),
            f"{time.process_time() - begun:.0f} s of CPU in all.",
        ]
        publish(page_name, "\n\n".join(page))


def _picked(system: str, seeds: range) -> bool:
    """True if RULE was chosen on one of these networks."""
    return system == PICKED[0] and bool(set(seeds) & set(PICKED[1]))


def _count(seeds: range) -> str:
    return "1 network" if len(seeds) == 1 else f"{len(seeds)} networks"


def _origin(system: str, seeds: range) -> str:
    chosen = f"The rule in use, `{RULE}`, was chosen on seeds 0 to {PICKED[1][-1]} of `{PICKED[0]}`"
    if _picked(system, seeds):
        return f"{chosen}: this page shows the choice and is no test of it."
    return f"{chosen}, none of which is here."


def _page(model: str, part: str) -> str:
    return f"calibration_{part}" if model == "synapsnet" else f"calibration_{part}_{model}"


def _errors(hits: np.ndarray, wiring: np.ndarray) -> tuple[float, float]:
    """False discovery proportion and power, off the diagonal."""
    others = ~np.eye(len(wiring), dtype=bool)
    hits, true = hits[others], (wiring != 0)[others]
    return float((hits & ~true).sum() / max(hits.sum(), 1)), float((hits & true).sum() / true.sum())


def _backwards(hits: np.ndarray, wiring: np.ndarray) -> np.ndarray:
    """How many false edges run against a true one, of how many; of absent ones: all, and those."""
    absent = (wiring == 0) & ~np.eye(len(wiring), dtype=bool)
    against, false = wiring.T != 0, hits & absent
    return np.array([(false & against).sum(), false.sum(), absent.sum(), (absent & against).sum()])


def _auroc(weight: np.ndarray, wiring: np.ndarray) -> float:
    others = ~np.eye(len(wiring), dtype=bool)
    return metrics.auroc(np.abs(weight)[others], (wiring != 0)[others])


def _share(flags: list[bool] | None) -> str:
    return "" if flags is None else f"{np.mean(flags):.2f}"


def _pair(values: list[tuple[float, float]] | None) -> str:
    if values is None:
        return ""
    false, power = np.mean(values, axis=0)
    return f"{false:.3f}, {power:.3f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = parser.add_subparsers(dest="part", required=True)
    for name, number in (("independent", 20), ("planted", 6)):
        part = parts.add_parser(name)
        part.add_argument("--recordings", type=int, default=number)
        part.add_argument("--model", choices=("synapsnet", "netformer"), default="synapsnet")
        if name == "planted":
            part.add_argument("--system", default="rate", help="a kind of sample:network")
            part.add_argument("--first-seed", type=int, default=PICKED[1].stop)
            part.add_argument("--neurons", type=int, help="default: 30, for netformer 14")
            part.add_argument("--embedding", type=int, help="netformer; default: 1.5 per neuron")
            own = part.add_mutually_exclusive_group()
            own.add_argument("--defaults", action="store_true", help="netformer's, but short")
            own.add_argument("--unset", action="store_true", help="netformer, no option set")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.part == "independent":
        alone(chosen.model, chosen.recordings)
    else:
        first = chosen.first_seed
        seeds = range(first, first + chosen.recordings)
        neurons = chosen.neurons or NEURONS[chosen.model]
        name = chosen.system + ("_picked" if _picked(chosen.system, seeds) else "")
        page_name = _page(chosen.model, name)
        options, words = OPTIONS[chosen.model, "planted"], ""
        page_name += "" if neurons == NEURONS[chosen.model] else f"_{neurons}"
        if chosen.embedding is not None:
            page_name += f"_embedding_{chosen.embedding}"
        if chosen.model == "netformer":
            wide = {"embedding": chosen.embedding or 3 * neurons // 2}
            options = (DEFAULTS if chosen.defaults else options) | wide
        if chosen.defaults:
            words = " All other options but the length of training are the package's own."
            page_name += "_defaults"
        if chosen.unset:
            options = {"preset": "paper"}
            words = f" This is `nwbdyn fit --model {chosen.model} --set preset=paper`."
            page_name += "_unset"
        page_name += "" if first <= PICKED[1].stop else f"_from_{first}"
        planted(chosen.model, chosen.system, seeds, neurons, options, words, page_name)
