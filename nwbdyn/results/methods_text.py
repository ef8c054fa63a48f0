"""`methods.md` of a run: the methods of a paper with every number filled in, and what to cite.

Every number comes from the fit itself; what a fit does not know is left out. Publications are those
of the models, of the data where the archive gives them a DOI, and of the software.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nwbdyn.printable import printable
from nwbdyn.results import provenance
from nwbdyn.results.sections.coupling import CouplingGain
from nwbdyn.results.sections.edges import EdgeTests
from nwbdyn.results.sections.states import StateDifferences

PUBLICATIONS = {  # model -> its BibTeX entry; a DOI where the publication has one
    "netformer": """@inproceedings{netformer,
  title = {{NetFormer}: An interpretable model for recovering dynamical connectivity in neuronal
           population dynamics},
  author = {Lu and Zhang and Le and Wang and S{\\"u}mb{\\"u}l and {Shea-Brown} and Mi},
  booktitle = {International Conference on Learning Representations},
  year = {2025},
  url = {https://openreview.net/forum?id=bcTjW5kS4W}
}""",
    "stndt": """@inproceedings{stndt,
  title = {{STNDT}: Modeling Neural Population Activity with a Spatiotemporal Transformer},
  author = {Le and Shlizerman},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2022},
  doi = {10.48550/arXiv.2206.04727}
}""",
    "synapsnet": """@misc{synapsnet,
  title = {{SynapsNet}: Enhancing Neuronal Population Dynamics Modeling via Learning Functional
           Connectivity},
  author = {Delavari, Parsa and Oruc, Ipek and Murphy, Timothy H},
  year = {2024},
  doi = {10.48550/arXiv.2411.08221}
}""",
}
TRAINING = (  # fields of a Config that the paragraph names, with their words
    ("learning_rate", "learning rate"),
    ("batch_size", "batch size"),
    ("context", "context in bins"),
    ("history", "history in bins"),
    ("embedding", "embedding size"),
    ("layers", "layers"),
    ("weight_decay", "weight decay"),
    ("ridge", "ridge"),
    ("l1", "L1 penalty"),
)


def markdown(fit: Any) -> str:
    """The page: one paragraph per step, then BibTeX.

    Args:
        fit: a `nwbdyn.results.fit_results.Fit`, as it may be shown to others.
    """
    methods = "\n\n".join(paragraphs(fit))
    entries = "\n\n".join(bibtex(fit))
    return printable(
        f"# Methods\n\n{methods}\n\n# Publications\n\n```bibtex\n{entries}\n```\n", lines=True
    )


def paragraphs(fit: Any) -> list[str]:
    """Data, model, scores and statistics, one paragraph each."""
    metrics = fit.metrics
    sentences = (
        *(_data(fit), _model(fit), _scores(fit)),
        *(_coupling(metrics), _edges(metrics), _states(metrics)),
    )
    return [text for text in sentences if text]


def bibtex(fit: Any) -> list[str]:
    """BibTeX entries of the model, the data and the software."""
    version = _plain(fit.versions.get("nwbdyn", ""))
    software = (
        f"@software{{nwbdyn,\n  title = {{nwbdyn}},\n  author = {{The nwbdyn developers}},\n"
        f"  version = {{{version}}}\n}}"
    )
    entries = [PUBLICATIONS.get(fit.model, f"% model: {_plain(fit.model)}, see its own page")]
    return [*entries, *_data_entry(fit.source), software]


def dandiset_doi(source: Any) -> str | None:
    """DOI of a published version of a dandiset in the DANDI archive; drafts have none."""
    published = source.version not in (None, "", "draft")
    if not source.dandiset_id or not published or source.instance not in (None, "dandi"):
        return None
    return f"10.48324/dandi.{source.dandiset_id}/{source.version}"


def _data_entry(source: Any) -> list[str]:
    if not source.dandiset_id:
        return []
    number, version = _plain(source.dandiset_id), _plain(source.version or "draft")
    lines = [f"  title = {{DANDI:{number}}}", f"  version = {{{version}}}"]
    doi = dandiset_doi(source)
    if doi is not None:
        lines.append(f"  doi = {{{_plain(doi)}}}")
    lines.append("  note = {authors and title: see the page of the dandiset}")
    return [f"@misc{{dandi{number},\n" + ",\n".join(lines) + "\n}"]


def _data(fit: Any) -> str:
    predictions, split, source = fit.predictions, fit.split, fit.source
    bins, neurons = predictions.values.shape
    minutes = bins * predictions.bin_width / 60
    kind = fit.neurons.kind.replace("roi", "ROI")
    origin = f"Recording: {_quoted(source.name)}"
    if source.dandiset_id:
        origin += f" (DANDI:{source.dandiset_id}, version {source.version or 'draft'})"
    elif source.uri.startswith("sample:"):
        origin += f", simulated ({_quoted(source.uri)})"
    parts = ", ".join(
        f"{number:,} {name}" for name, number in split.get("bins", {}).items() if name != "gap"
    )
    text = (
        f"{origin}. {neurons} {kind}s ({predictions.quantity}) were binned at "
        f"{1000 * predictions.bin_width:.6g} ms into {bins:,} bins ({minutes:.3g} min)."
    )
    if fit.binning.get("aligned_trials"):
        text += f" Windows were aligned to {fit.binning['aligned_trials']:,} trials."
    if split.get("rule"):
        text += f" Split: {split['rule']}"
        text += f" ({parts} bins)." if parts else "."
    if split.get("bins", {}).get("gap"):
        text += f" {split['bins']['gap']:,} bins between the parts were left out."
    if predictions.held_out.any():
        text += f" {int(predictions.held_out.sum())} neurons were held out."
    return text


def _model(fit: Any) -> str:
    config: Mapping[str, Any] = fit.config
    options = [
        f"{words} {config[name]:g}"
        for name, words in TRAINING
        if isinstance(config.get(name), int | float) and not isinstance(config[name], bool)
    ]
    length = [
        f"{config[name]:,} {name}" for name in ("updates", "epochs") if config.get(name) is not None
    ]
    seeds: Sequence[int] = fit.environment.get("seeds", [fit.seed])
    text = f"Model: {fit.model}"
    if options:
        text += f" with {', '.join(options)}"
    text += f". Training lasted at most {length[0]}" if length else ". It was trained"
    text += f" (seed{'' if len(seeds) == 1 else 's'} {', '.join(map(str, seeds))})"
    validated = [row for row in fit.history if row.get("validation") is not None]
    if validated:
        best = min(validated, key=lambda row: row["validation"])
        last = fit.history[-1]["epoch"]
        text += f"; the weights are those of epoch {best['epoch']:.0f} of {last:.0f}"
        text += ", with the lowest validation loss"
    known = [
        f"{name} {fit.versions[name]}"
        for name in ("nwbdyn", "python", "torch")
        if name in fit.versions
    ]
    software = ", ".join([*known, *provenance.model_packages(fit.versions)])
    return f"{text}. Software: {software}; device: {fit.device}."


def _scores(fit: Any) -> str:
    metrics: dict[str, Any] = fit.metrics
    primary = metrics.get("primary")
    if primary is None:
        return ""
    metric, split, baseline = primary["metric"], primary["split"], primary["baseline"]
    ahead = "of held-out neurons" if not primary["horizon"] else f"{primary['horizon']} bin ahead"
    own = metrics["model"][split][metric]
    text = f"Score: {metric} {ahead} on {split}. {fit.model}: {own:.3f}"
    interval = metrics.get("intervals", {}).get("model", {}).get(split, {}).get(metric)
    if _known(interval):
        text += f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f}"
        blocks = metrics.get("num_blocks")
        number = blocks.get(metric) if isinstance(blocks, Mapping) else blocks
        text += f", block bootstrap of {number} blocks)" if number else ", block bootstrap)"
    if baseline is None:
        return f"{text}."
    other = metrics["baselines"][baseline][split][metric]
    names = ", ".join(metrics["baselines"])
    text += f". Best baseline on validation, {baseline}: {other:.3f}"
    difference = metrics.get("intervals", {}).get("difference", {}).get(split, {}).get(metric)
    if _known(difference):
        text += f"; 95 % interval of the difference {difference[0]:+.3f} to {difference[1]:+.3f}"
    return f"{text}. Baselines ({names}) used the same bins; validation chose their options."


def _coupling(metrics: Mapping[str, Any]) -> str:
    gain = CouplingGain.from_metrics(metrics)
    if gain is None or gain.adds != gain.adds:
        return ""
    other = gain.baseline
    alone = "A refit without coupling" if other is None else f"Without coupling ({other})"
    text = (
        f"{alone}: {gain.metric} {gain.without:.3f} against {gain.with_:.3f} with coupling on "
        f"{gain.split}, difference {gain.adds:+.3f}"
    )
    if gain.ends is not None:
        low, high = gain.ends
        text += f" (95 % interval {low:+.3f} to {high:+.3f})"
    return f"{text}."


def _states(metrics: Mapping[str, Any]) -> str:
    tested = StateDifferences.from_metrics(metrics)
    if tested is None or tested.num_permutations is None or tested.num_blocks is None:
        return ""
    periods = ", ".join(
        f"{name} ({number:,} periods)"
        for name, number in zip(tested.names, tested.num_blocks, strict=True)
    )
    text = f"States: {periods}. Null hypothesis: {tested.hypothesis}."
    return f"{text} {' '.join(tested.sentences())}"


def _edges(metrics: Mapping[str, Any]) -> str:
    tested = EdgeTests.from_metrics(metrics)
    if tested is None:
        return ""
    text = (
        f"Edges: {tested.num_surrogates} surrogate recordings ({tested.null}). Null "
        f"hypothesis: {tested.hypothesis}. {_how_tested(tested)}; q is corrected for the false "
        "discovery rate (Benjamini and Hochberg). "
    )
    if tested.withheld:
        return f"{text}No q is given: {tested.withheld}."
    return f"{text}{tested.num_significant} of {tested.num_edges} edges had q < {tested.level:g}."


def _how_tested(tested: EdgeTests) -> str:
    """Source of the p of edges: couplings of spike times, couplings over lags, or refits."""
    if tested.filters:
        return (
            "Couplings were fitted to spike times on a grid of 1 ms with filters chosen by their "
            f"coupling gain on validation ({tested.filters}); p is the larger of a Wald test "
            "against 0 and a test against the surrogates"
        )
    if tested.terms:
        return (
            "Couplings were fitted to all recorded bins by least squares, and each edge was tested "
            f"jointly over the sender's {tested.terms}; p is the larger of a Wald test with a "
            "covariance clustered by blocks of time and a test against the edges of all surrogates "
            f"(smallest possible p {tested.smallest_p:.2g})"
        )
    return f"p is two-sided and pooled over edges (smallest possible p {tested.smallest_p:.2g})"


def _known(interval: Sequence[float | None] | None) -> bool:
    return interval is not None and all(end is not None and end == end for end in interval)


def _quoted(text: str) -> str:
    return f"`{text.replace('`', ' ')}`"


def _plain(text: str) -> str:
    """A text for BibTeX, without what ends a field."""
    return "".join(letter for letter in text if letter not in "{}\\%\n")
