"""Write docs/measured.md: the main results, each number looked up in `benchmarks/results`.

    python docs/make_measured.py [FILE.md]

A number is named by its page, the first cells of its row and its column. None is typed here.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
NUMBER = re.compile(r"-?\d*\.?\d+")

HEAD = """# Measured

Every number on this page is looked up in a result page of `benchmarks/results` by
`docs/make_measured.py`. A result page has the machine, the date, the command and more rows.
[benchmarks/README.md](../benchmarks/README.md) describes what was tried, and its limits.
**Bold: a simple method scores higher than the model.**
"""

TAIL = """Limits of these results:

- Two choices of the core were made by validation, but while the test scores of the worms, of the
  zebrafish and of `sample:cortex` were visible. First, up to three bins of the senders are fitted
  together. Second, a model's own part is judged by the error divided by each neuron's variance. So
  these rows are not evidence on unseen data.
- The median over neurons in the worms' forecasts was chosen after one fold of one worm.
- SynapsNet was trained longer on calcium, because A was empty in some networks after
  short training.
- More reaches were used for STNDT after a test with few reaches had no clear result.
- The outputs on [your own recording](recordings.md) are single runs on 2 shared cores without a
  GPU. No interval is given for fewer than ten independent blocks of test data.
"""


@dataclass(frozen=True)
class Cell:
    """One cell of a table of results."""

    page: str  # file in benchmarks/results, without .md
    row: tuple[str, ...]  # its first cells, without bold marks
    column: str
    table: int = 0  # of the tables of the page that have this row and column


@dataclass(frozen=True)
class Row:
    """One comparison: a model, the best simple method beside it, and what was published."""

    what: str
    metric: str
    model: tuple[str, Cell]  # name and score
    simple: tuple[str, Cell] | None = None
    published: Cell | None = None


def _task(name: str, fit: str, page: str = "netformer_tasks") -> Cell:
    return Cell(page, (name, fit), "Spearman")


def _toy(system: str, fit: str) -> Cell:
    return Cell("netformer_toys", (system, fit), "Spearman")


def _wiring(system: str, method: str) -> Cell:
    return Cell("synapsnet", (system, method), "r")


def _recording(name: str, model: str, column: str) -> Cell:
    return Cell("recordings", (name, model), column)


PAPER = "paper's form, attention, 20 seeds, mean ± sd"
ORACLE = "oracle link, attention, 5 seeds, mean ± sd"
SEEDS, FIVE = "NetFormer, 10 seeds", "published, mean of 5 seeds"
REACH, CHAOTIC, LORENZ = "stndt_spikes_reach", "stndt_spikes_chaotic", "stndt_lorenz"
FISH, THALAMUS = "zebrafish_tectum_triplett2018_f1", "mouse_thalamus_dandi000009_anm00239123"
RAT = "rat_hippocampus_nelpy_linear-track"
MODELS = (
    Row(
        "task network, perceptual decision",
        "Spearman with the weights",
        ("NetFormer", _task("task_pdm", PAPER)),
        ("least squares through arctanh", _task("task_pdm", "OLS of arctanh")),
        _task("task_pdm", FIVE),
    ),
    Row(
        "task network, go / no-go",
        "Spearman",
        ("NetFormer", _task("task_gonogo", PAPER)),
        ("least squares through arctanh", _task("task_gonogo", "OLS of arctanh")),
        _task("task_gonogo", FIVE),
    ),
    Row(
        "the first, with the network's own link",
        "Spearman",
        ("NetFormer", _task("task_pdm", ORACLE, "netformer_oracle")),
    ),
    *(
        Row(
            f"toy system, {words}",
            "Spearman",
            ("NetFormer", _toy(system, SEEDS)),
            ("least squares", _toy(system, "OLS")),
            _toy(system, "published, 10 seeds"),
        )
        for system, words in (
            ("linear-static", "linear, constant"),
            ("tanh-static", "tanh, constant"),
            ("linear-moving", "linear, weights that change"),
            ("tanh-moving", "tanh, weights that change"),
        )
    ),
    Row(
        "spike-timing plasticity, one bin ahead",
        "R2, mean and interval of one more seed",
        (
            "NetFormer",
            Cell("netformer_stdp", ("mean, 95 % interval of one more seed",), "R2"),
        ),
        ("lagged regression", Cell("netformer_stdp", ("lagged regression",), "R2")),
        Cell("netformer_stdp", ("published",), "R2"),
    ),
    Row(
        "network constrained by a connectome",
        "Pearson with the weights",
        ("NetFormer", Cell("cell_types", ("NetFormer, defaults",), "N x N Pearson")),
        ("VAR", Cell("cell_types", ("VAR(1)",), "N x N Pearson")),
    ),
    *(
        Row(
            f"known wiring, {words}",
            "Pearson with the weights",
            ("SynapsNet", _wiring(system, model)),
            (simple, _wiring(system, method)),
        )
        for system, words, model, simple, method in (
            ("rate", "rates", "SynapsNet g A", "lasso VAR", "VAR(1) lasso"),
            (
                *("ca", "calcium", "SynapsNet A", "lasso after AR deconvolution"),
                "AR deconvolution + lasso",
            ),
            ("poisson", "Poisson spikes", "SynapsNet g A", "Poisson GLM", "Poisson GLM"),
            ("hetero", "heterogeneous neurons", "SynapsNet A", "lasso VAR", "VAR(1) lasso"),
        )
    ),
    *(
        Row(
            f"worm {worm}, 5 frames ahead",
            "R2",
            (model, Cell("worms", (worm,), model.lower())),
            ("VAR ridge", Cell("worms", (worm,), "VAR ridge")),
        )
        for worm in ("2022-07-26-31", "2022-07-26-38", "2022-07-27-31", "2022-07-27-45")
        for model in ("NetFormer", "SynapsNet")
    ),
    Row(
        "chaotic network, held-out neurons",
        "co-bps",
        ("STNDT", Cell(CHAOTIC, ("STNDT, best 2 of 3 seeds averaged",), "co-bps test")),
        ("Poisson GLM", Cell(CHAOTIC, ("Poisson GLM",), "co-bps test")),
    ),
    Row(
        "`sample:reach`, held-out neurons",
        "co-bps",
        ("STNDT", Cell(REACH, ("STNDT, best 2 of 3 seeds averaged",), "co-bps test")),
        ("Poisson GLM", Cell(REACH, ("Poisson GLM",), "co-bps test")),
    ),
    Row(
        "Lorenz reference, held-out neurons",
        "co-bps",
        ("STNDT", Cell(LORENZ, ("with contrast, mean ± sd of 3",), "co-bps")),
        ("smoothing and GLM", Cell(LORENZ, ("smoothing + GLM",), "co-bps")),
        Cell(LORENZ, ("published code",), "co-bps"),
    ),
    *(
        Row(
            f"{name}, one bin ahead",
            metric,
            (model, _recording(recording, model.lower(), "model's score")),
            ("best baseline", _recording(recording, model.lower(), "its score")),
        )
        for recording, name, metric in (
            ("sample:cortex", "`sample:cortex`", "r2"),
            (FISH, "zebrafish tectum", "r2"),
            ("sample:reach", "`sample:reach`", "bits per spike"),
            (RAT, "rat hippocampus", "bits per spike"),
            (THALAMUS, "mouse thalamus", "bits per spike"),
        )
        for model in ("NetFormer", "SynapsNet")
    ),
)

OF_NETWORKS = ("system", "recordings", "q given", "false of the called", "found of the links")
EDGES = (  # title, page, columns
    ("NetFormer", "edges_netformer", OF_NETWORKS),
    ("SynapsNet", "edges_synapsnet", OF_NETWORKS),
)
SPEED = (  # what, measured
    *(
        (f"a training step of NetFormer, {n} neurons, beside the textbook form", cell)
        for n in ("527", "1000", "5000")
        for cell in (Cell("netformer_speed", (n,), "faster"),)
    ),
    *(
        (f"an update of STNDT, shape of {shape}, beside the published form", cell)
        for shape in ("MC_Maze", "MC_RTT", "Area2_Bump", "DMFC_RSG")
        for cell in (Cell("stndt_speed", (shape,), "faster"),)
    ),
    *(
        (
            f"streaming over a line of 40 ms, {layout} file: time beside pynwb and remfile",
            Cell("streaming", (file, "nwbdyn"), "time beside pynwb + remfile"),
        )
        for file, layout in (
            ("gzip", "compressed"),
            ("contiguous", "contiguous"),
            ("paged", "paged"),
            ("small", "small-chunk"),
        )
    ),
    *(
        (
            f"CPU seconds of the whole {name}, other programs running",
            Cell("commands", (name,), "CPU s"),
        )
        for name in (
            "fit of `sample:cortex`, 50 x 6,000, SynapsNet",
            "fit of a worm, 146 x 800, NetFormer",
        )
    ),
    (
        "`inspect` of a file of 2 GB",
        Cell("reading", ("a 2 GB file with a raw ElectricalSeries: nwbdyn inspect",), "measured"),
    ),
    (
        "export of 1,000 neurons and 100,000 bins: factors beside dense matrices",
        Cell("export", ("netformer",), "factors"),
    ),
    ("one matrix of that file", Cell("export", ("netformer",), "one matrix")),
)


def tables(page: str) -> list[list[list[str]]]:
    """Tables of a result page: rows of cells without bold marks, the header first."""
    result: list[list[list[str]]] = []
    inside = False
    for line in (RESULTS / f"{page}.md").read_text("utf-8").splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        if set(line) <= set("|-: "):
            continue
        text = line.replace("|weight|", "weight").replace("|correlation|", "correlation")
        cells = [cell.strip().strip("*") for cell in text.strip("|").split(" | ")]
        if not inside:
            result.append([])
        result[-1].append([cell.strip(" |") for cell in cells])
        inside = True
    return result


def value(cell: Cell) -> str:
    """Text of a cell as its page has it.

    Raises:
        LookupError: no table of the page has this row and this column.
    """
    texts = [
        row[header.index(cell.column)]
        for header, *rows in tables(cell.page)
        if cell.column in header
        for row in rows
        if tuple(row[: len(cell.row)]) == cell.row
    ]
    if not texts[cell.table :]:
        raise LookupError(f"{cell.page} has no row {cell.row} with a column {cell.column!r}")
    return texts[cell.table]


def number(text: str) -> float:
    """The first number in a cell."""
    match = NUMBER.search(text)
    if match is None:
        raise LookupError(f"no number in {text!r}")
    return float(match.group())


def link(text: str, page: str) -> str:
    return f"[{text}](../benchmarks/results/{page}.md)"


def of_models() -> list[str]:
    """The table of models beside simple methods."""
    lines = [
        "## Do the models recover couplings and predict activity?",
        "",
        "| what | metric | model | simple method | published |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in MODELS:
        name, cell = row.model
        score, other = value(cell), ""
        if row.simple is not None:
            method, beside = row.simple
            other = f"{method} {value(beside)}"
            if number(value(beside)) > number(score):
                other = f"**{other}**"
        published = "" if row.published is None else value(row.published)
        what = link(row.what, cell.page)
        lines.append(f"| {what} | {row.metric} | {name} {score} | {other} | {published} |")
    agreement = {
        words: value(Cell("worms", ("combined (Fisher)",), column))
        for words, column in (
            ("NetFormer", "netformer"),
            ("SynapsNet", "synapsnet"),
            ("a ridge VAR", "VAR ridge"),
            ("plain correlation", "correlation"),
        )
    }
    beside = ", ".join(f"{words} {text}" for words, text in agreement.items())
    wiring = link("the connectome of four worms", "worms")
    return [*lines, "", f"Couplings beside {wiring}, combined over worms: {beside}."]


def of_edges() -> list[str]:
    """Tables of edges at q < .05: false share of the called edges, called share of the links."""
    lines = [
        "## How far can edges be trusted?",
        "",
        "Fits with no option set and `--null shift:20`, with exact 95 % intervals. Where no q is "
        "given, the row shows the edges that q would call significant.",
    ]
    for title, page, columns in EDGES:
        (header, *rows) = tables(page)[0]
        indices = [header.index(name) for name in columns]
        lines += ["", f"{link(title, page)}:", ""]
        lines += [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        lines += [f"| {' | '.join(row[k] for k in indices)} |" for row in rows]
    spikes = Cell("couplings_fits", ("spycon",), "AUROC / AP")
    frames = Cell("couplings_fits", ("ChaLearn",), "AUROC / AP")
    mcc = Cell("couplings_fits", ("spycon",), "MCC")
    false = Cell("couplings_frames", ("ChaLearn",), "connected pairs called")
    lines += [
        "",
        f"Couplings of {link('a fit of spike trains', spikes.page)} (spycon, `--null jitter:20`): "
        f"AUROC and average precision {value(spikes)}, MCC {value(mcc)}. Simultaneous couplings of "
        f"calcium (ChaLearn): {value(frames)}; q calls {value(false)} connected pairs.",
        "",
        f"More: {link('coupling that changes with the state', 'couplings_states')}, "
        f"{link('intervals of scores', 'intervals')}, {link('lags', 'couplings_lags')}, "
        f"{link('own dynamics, coupling and gain', 'ladder')}.",
    ]
    return lines


def of_speed() -> list[str]:
    """The table of speed."""
    lines = ["## How fast, how large?", "", "| what | measured |", "| --- | --- |"]
    return lines + [f"| {link(what, cell.page)} | {value(cell)} |" for what, cell in SPEED]


def page() -> str:
    """The whole page."""
    parts = (of_models(), of_edges(), of_speed())
    return "\n".join([HEAD, *("\n".join(part) + "\n" for part in parts), TAIL])


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "measured.md"
    target.write_text(page(), encoding="utf-8")
