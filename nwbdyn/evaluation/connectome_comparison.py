"""Couplings of a fit against a known wiring, beside what simple methods make of the same activity.

The wiring is a table of edges between named neurons. Only neurons that it names take part: of the
others nothing is known. Every estimate is scored on the same pairs: the model's own couplings, its
predictive influence where it was computed, the correlation and partial correlation of the training
bins, and the vector autoregressions and Poisson regressions that stand beside every model. A score
alone says little; the null redistributes the names of the neurons over the model's matrix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nwbdyn import baselines, metrics
from nwbdyn.connectivity import edge_table
from nwbdyn.data.binning import Binned
from nwbdyn.data.splits import Split
from nwbdyn.errors import ConfigError, DataError
from nwbdyn.evaluation import worm_wirings
from nwbdyn.progress import Progress, Report, silent
from nwbdyn.results import damage
from nwbdyn.results.fit_results import Fit

SHUFFLES = 1000
OF_RECORDING = "couplings of the recording"  # of a fit with a null, beside the model's weights
LEAST_NEURONS = 3  # named in the wiring; with two there is one pair in each direction
ORDER = 5  # bins of history that the autoregressions have beside a co-smoothing model


@dataclass(frozen=True)
class Validation:
    """Agreement of couplings with a known wiring."""

    table: pd.DataFrame  # one row per estimate, the model's first; one column per score
    null: pd.DataFrame  # per score of the model: mean, high (97.5 %) and p over shuffled names
    measure: str  # of the model's couplings, in words
    num_neurons: int  # that the wiring names
    num_pairs: int
    num_edges: int
    directed: bool
    signed: bool  # False: no weight of the wiring is negative, and sizes are compared
    held_out: tuple[str, ...]  # names in the wiring of neurons that the model has no couplings of
    unmapped: tuple[str, ...]  # names in the wiring that no neuron has
    ambiguous: tuple[str, ...]  # names that several neurons have: none of these takes part
    unnamed: tuple[str, ...]  # neurons that the wiring does not name


def validate(
    fit: Fit,
    edges: pd.DataFrame | Path | str | None = None,
    *,
    name_column: str = "id",
    directed: bool = True,
    within: str | None = None,
    shuffles: int = SHUFFLES,
    seed: int = 0,
    report: Report = silent,
) -> Validation:
    """Compare the couplings of a fit with a known wiring.

    Args:
        fit: of any model.
        edges: a table, or a CSV file, with columns pre and post (names) and, where they are known,
            weight; several rows of one pair add up. `worm:NAME` is a published wiring of C. elegans
            (see `worm_wirings`). None takes what was planted in a sample.
        name_column: column of the fit's neurons that holds the names.
        directed: False where the wiring does not say who sends: then both matrices are made
            symmetric, and there is no direction score.
        within: column of the fit's neurons; names are shuffled among neurons of the same entry.
        shuffles: of the names.
        seed: of the shuffles.
        report: called with the number of shuffles that are scored.

    Returns:
        The scores are those of `metrics.agreement`. Sign accuracy is NaN where the wiring has no
        negative weight, and then the sizes of couplings are compared with it.

    Raises:
        ConfigError: no such column.
        DataError: no wiring, a table without pre and post, or too few neurons that it names.
    """
    wiring = _edge_table(fit, edges)
    neurons = fit.connectivity.neurons
    names = _column(neurons.table, name_column)
    unique, counts = np.unique([name for name in names if name], return_counts=True)
    ambiguous = tuple(unique[counts > 1].tolist())
    known = set(unique[counts == 1].tolist())
    named = pd.unique(pd.concat([wiring["pre"], wiring["post"]]))
    wired, recorded = set(named), set(names)
    held_out = set(_column(fit.neurons.table, name_column)) - recorded
    rows = np.flatnonzero([name in known and name in wired for name in names])
    if len(rows) < LEAST_NEURONS:
        raise DataError(
            f"The wiring names {len(rows)} of {len(names)} neurons by {name_column!r}; it takes "
            f"{LEAST_NEURONS}. It names: {', '.join(named[:5])} …; the neurons are: "
            f"{', '.join(names[:5].tolist())} …. Pass --name-column."
        )
    truth = _matrix(wiring, names[rows])
    signed = bool((truth < 0).any())
    estimates = _between(fit, rows)
    pairs = ~np.eye(len(rows), dtype=bool)
    if not directed:
        truth, pairs = truth + truth.T, np.triu(pairs)
    table = pd.DataFrame(
        {
            name: _scores(matrix, truth, pairs, directed, signed)
            for name, matrix in estimates.items()
        }
    ).T
    groups = np.zeros(len(rows)) if within is None else _column(neurons.table, within)[rows]
    first = next(iter(estimates))
    drawn = []
    for order in _orders(groups, shuffles, seed):
        shuffled = estimates[first][np.ix_(order, order)]
        drawn.append(_scores(shuffled, truth, pairs, directed, signed))
        report(Progress("shuffling", len(drawn), shuffles, "shuffles"))
    return Validation(
        table=table,
        null=_null(table.loc[first], pd.DataFrame(drawn)),
        measure=fit.connectivity.measure,
        num_neurons=len(rows),
        num_pairs=int(pairs.sum()),
        num_edges=int((truth[pairs] != 0).sum()),
        directed=directed,
        signed=signed,
        held_out=tuple(sorted(str(name) for name in wired & held_out)),
        unmapped=tuple(sorted(str(name) for name in wired - recorded - held_out)),
        ambiguous=ambiguous,
        unnamed=tuple(name for name in names if name and name not in wired),
    )


def _edge_table(fit: Fit, edges: pd.DataFrame | Path | str | None) -> pd.DataFrame:
    """pre, post (text) and weight of the wiring."""
    if edges is None:
        return _planted(fit)
    if isinstance(edges, pd.DataFrame):
        return _checked(edges, "the table of edges")
    if isinstance(edges, str) and worm_wirings.is_wiring(edges):
        return worm_wirings.edges(edges)
    try:
        table = pd.read_csv(edges, dtype={"pre": str, "post": str}, keep_default_na=False)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{edges} cannot be read as CSV ({reason}).") from error
    return _checked(table, str(edges))


def _checked(edges: pd.DataFrame, where: str) -> pd.DataFrame:
    if not {"pre", "post"} <= set(edges.columns):
        has = ", ".join(map(str, edges.columns))
        raise DataError(f"{where} needs the columns pre and post; it has: {has}.")
    weight = pd.to_numeric(edges["weight"], errors="coerce") if "weight" in edges else 1.0
    table = pd.DataFrame(
        {"pre": edges["pre"].astype(str), "post": edges["post"].astype(str), "weight": weight}
    )
    missing = int(table["weight"].isna().sum())
    if missing:
        raise DataError(f"{where} has {missing} weights that are not numbers; leave these out.")
    return table


def _planted(fit: Fit) -> pd.DataFrame:
    """The couplings that were planted in a sample, as edges between neuron ids."""
    from nwbdyn import simulate

    if not fit.source.uri.startswith("sample:"):
        raise DataError(
            "The recording is no simulation, so its wiring is not known. Pass --edges with a CSV "
            "file: pre, post and, where they are known, weight."
        )
    recording, truth = simulate.sample(fit.source.uri)
    if truth.coupling is None:
        raise DataError(f"No coupling between neurons was planted in {fit.source.uri}.")
    ids = recording.neurons.ids.astype(str)
    post, pre = np.nonzero(~np.eye(len(ids), dtype=bool))
    return pd.DataFrame({"pre": ids[pre], "post": ids[post], "weight": truth.coupling[post, pre]})


def _column(table: pd.DataFrame, name: str) -> np.ndarray:
    """(N,) a column as text, "" where it is empty."""
    if name not in table:
        has = ", ".join(map(str, table.columns))
        raise ConfigError(f"The neurons of this fit have no column {name!r}; they have: {has}.")
    values = table[name].astype(object)
    return values.where(values.notna(), "").astype(str).to_numpy(dtype=object)


def _matrix(wiring: pd.DataFrame, names: np.ndarray) -> np.ndarray:
    """(N, N) [post, pre] summed weights between the neurons called `names`."""
    row = {name: number for number, name in enumerate(names)}
    inside = wiring[wiring["pre"].isin(row) & wiring["post"].isin(row)]
    matrix = np.zeros((len(names), len(names)))
    np.add.at(
        matrix,
        (inside["post"].map(row).to_numpy(int), inside["pre"].map(row).to_numpy(int)),
        inside["weight"].to_numpy(float),
    )
    return matrix


def _between(fit: Fit, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The estimates between some of the neurons of the fit's connectivity."""
    with damage.as_error(fit.name):
        return {name: matrix[np.ix_(rows, rows)] for name, matrix in _estimates(fit).items()}


def _estimates(fit: Fit) -> Mapping[str, np.ndarray]:
    """name -> (N, N) [post, pre] couplings between the neurons of the fit's connectivity."""
    ids = fit.connectivity.neurons.ids
    kept = pd.Index(fit.neurons.ids).get_indexer(pd.Index(ids))
    estimates = {fit.model: _from_edges(fit, "weight")}
    if "model_weight" in fit.edges:
        estimates = {
            fit.model: _from_edges(fit, "model_weight"),
            OF_RECORDING: estimates[fit.model],
        }
    if edge_table.directed(fit.edges)["influence"].notna().any():
        estimates["influence"] = _from_edges(fit, "influence")
    binned, split = _activity(fit)
    train = binned.values[split.bins("train") & binned.valid]
    estimates |= {
        name: matrix[np.ix_(kept, kept)]
        for name, matrix in {
            "correlation": _correlation(train),
            "partial correlation": _partial_correlation(train),
        }.items()
    }
    context = int(str(fit.binning["context"])) if fit.predictions.horizon else ORDER
    for name, baseline in baselines.next_bin(binned, split, context=context).items():
        if baseline.coupling is not None and not name.startswith("AR"):
            estimates[name] = baseline.coupling[np.ix_(kept, kept)]
    return estimates


def _from_edges(fit: Fit, column: str) -> np.ndarray:
    """A column of the edge table as a matrix: there seeds are averaged. Edges left out are 0."""
    row = pd.Index(fit.connectivity.neurons.ids)
    matrix = np.zeros((len(row), len(row)))
    edges = edge_table.directed(fit.edges)
    post, pre = (row.get_indexer(pd.Index(edges[end])) for end in ("post_id", "pre_id"))
    matrix[post, pre] = edges[column].fillna(0.0)
    return matrix


def _activity(fit: Fit) -> tuple[Binned, Split]:
    """The fitted activity, from the arrays of the fit; without covariates."""
    kept = fit.predictions
    if kept.recorded is None:
        raise DataError("This fit keeps no recorded activity to compare with. Fit again.")
    values = np.asarray(kept.recorded, dtype=np.float32)
    time, labels = np.asarray(kept.time), np.asarray(kept.labels)
    valid = np.asarray(np.isfinite(values).any(axis=1))
    breaks = np.diff(time, prepend=time[0]) > 1.5 * kept.bin_width
    breaks |= np.diff(valid, prepend=valid[:1])
    binned = Binned(
        session_id=str(fit.session.get("session_id", "")),
        values=values,
        time=time,
        bin_width=kept.bin_width,
        valid=valid,
        segment=np.cumsum(breaks),
        neurons=fit.neurons,
        quantity=kept.quantity,
        covariates=np.zeros((len(time), 0), np.float32),
    )
    everyone = np.ones(len(fit.neurons), dtype=bool)
    return binned, Split(labels=labels, held_in=everyone, seed=fit.seed, rule="of the fit")


def _correlation(values: np.ndarray) -> np.ndarray:
    """(N, N) Pearson correlation over bins; 0 for a neuron that is constant."""
    centred = np.nan_to_num(values - np.nanmean(values, axis=0)).astype(np.float64)
    size = np.sqrt(np.square(centred).sum(axis=0))
    scaled = centred / np.where(size > 0, size, 1)
    product = scaled.T @ scaled
    return (product + product.T) / 2  # rounding must not tell (i, j) from (j, i)


def _partial_correlation(values: np.ndarray) -> np.ndarray:
    """(N, N) correlation given all others, from the pseudo-inverse of the correlation matrix."""
    precision = np.linalg.pinv(_correlation(values), hermitian=True)
    scale = np.sqrt(np.maximum(np.diag(precision), 1e-12))
    return -(precision + precision.T) / (2 * np.outer(scale, scale))


def _scores(
    matrix: np.ndarray, truth: np.ndarray, pairs: np.ndarray, directed: bool, signed: bool
) -> dict[str, float]:
    if not signed:
        matrix = np.abs(matrix)
    if not directed:
        matrix = (matrix + matrix.T) / 2
    scores = metrics.agreement(matrix, truth, pairs)
    if not signed:
        scores["sign_accuracy"] = np.nan
    if not directed:
        scores["direction"] = np.nan
    return scores


def _orders(groups: np.ndarray, shuffles: int, seed: int) -> list[np.ndarray]:
    """Orders of the neurons, each shuffled inside its groups."""
    draw = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    orders = []
    for _ in range(shuffles):
        order = np.arange(len(groups))
        for rows in members:
            order[rows] = draw.permutation(rows)
        orders.append(order)
    return orders


def _null(scores: pd.Series, drawn: pd.DataFrame) -> pd.DataFrame:
    """mean, high and p per score; p counts shuffles that score at least as much."""
    if drawn.empty:
        return pd.DataFrame(index=scores.index, columns=["mean", "high", "p"], dtype=float)
    reached = (drawn >= scores - 1e-12).sum()
    p = (1 + reached) / (1 + len(drawn))
    return pd.DataFrame(
        {
            "mean": drawn.mean(),
            "high": drawn.quantile(0.975),
            "p": p.where(scores.notna()),
        }
    )
