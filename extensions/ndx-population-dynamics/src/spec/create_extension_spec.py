"""Writes the specification of ndx-population-dynamics: the two YAML files in `spec/`.

Run it after every change of a type, and commit what it writes; a test runs it again and compares.
Attributes are `int`, never `int64`, and texts in datasets are `text`, never `isodatetime`: older
readers cannot open files that use the others.
"""

import argparse
from pathlib import Path

from pynwb.spec import (
    NWBAttributeSpec,
    NWBDatasetSpec,
    NWBGroupSpec,
    NWBLinkSpec,
    NWBNamespaceBuilder,
    export_spec,
)

NAME, VERSION = "ndx-population-dynamics", "0.2.0"
ANY_FLOAT = None  # "numeric" leaves out float16, which the large arrays may be
SPEC_FOLDER = Path(__file__).resolve().parents[2] / "spec"


def text(name: str, doc: str, *, required: bool = True) -> NWBAttributeSpec:
    return NWBAttributeSpec(name=name, doc=doc, dtype="text", required=required)


def number(name: str, doc: str, *, dtype: str = "float", required: bool = True) -> NWBAttributeSpec:
    return NWBAttributeSpec(name=name, doc=doc, dtype=dtype, required=required)


def scalar_text(name: str, doc: str) -> NWBDatasetSpec:
    return NWBDatasetSpec(name=name, doc=doc, dtype="text", quantity="?")


def array(
    name: str,
    doc: str,
    dims: tuple[str, ...],
    *,
    dtype: str | None = "float",
    quantity: str | int = "?",
) -> NWBDatasetSpec:
    shape = [None] * len(dims)
    return NWBDatasetSpec(
        name=name, doc=doc, dtype=dtype, dims=list(dims), shape=shape, quantity=quantity
    )


def series_data(doc: str, columns: str) -> NWBDatasetSpec:
    return NWBDatasetSpec(
        name="data", doc=doc, dtype="numeric", dims=["num_times", columns], shape=[None, None]
    )


def column(
    name: str, doc: str, *, dtype: str | None, required: bool = False, width: str | None = None
) -> NWBDatasetSpec:
    shape = {} if width is None else {"dims": ["num_rows", width], "shape": [None, None]}
    return NWBDatasetSpec(
        name=name,
        doc=doc,
        neurodata_type_inc="VectorData",
        dtype=dtype,
        quantity=1 if required else "?",
        **shape,
    )


def region(name: str, doc: str, *, quantity: str | int = 1) -> NWBDatasetSpec:
    return NWBDatasetSpec(
        name=name, doc=doc, neurodata_type_inc="DynamicTableRegion", quantity=quantity
    )


def run_link() -> NWBLinkSpec:
    return NWBLinkSpec(name="run", doc="The fit that this comes from.", target_type="ModelRun")


def measure() -> list[NWBAttributeSpec]:
    """What every connectivity type says of its numbers."""
    return [
        text("measure", "What a weight is, in words and units, e.g. 'z per z'."),
        number("is_causal", "Whether a window ends at its time stamp.", dtype="bool"),
        number("window_start", "Start of a window relative to its time stamp, in seconds."),
        number("window_stop", "End of a window relative to its time stamp, in seconds."),
    ]


model_run = NWBGroupSpec(
    neurodata_type_def="ModelRun",
    neurodata_type_inc="NWBDataInterface",
    doc="One model fitted to one recording: everything needed to judge the fit and to repeat it.",
    attributes=[
        text("model", "Name of the model, e.g. 'netformer'."),
        text("software", "Name of the software that fitted it."),
        text("software_version", "Version of that software."),
        number("seed", "Seed of the fit.", dtype="int"),
        text("device", "What it was computed on, e.g. 'cpu'.", required=False),
        text("fit_time", "When the fit ended, ISO 8601 with time zone.", required=False),
        text("checkpoint_digest", "'sha256:' and the digest of the weights.", required=False),
    ],
    datasets=[
        scalar_text("config", "Options of the model and its training, as JSON."),
        scalar_text("binning", "Bin width, quantity, alignment and covariates, as JSON."),
        scalar_text("split", "How training, validation and test were chosen, as JSON."),
        scalar_text("versions", "Versions of the packages in use, as JSON."),
        scalar_text("history", "One training record per epoch, as a JSON list."),
        scalar_text("scores", "Every score of the model and the baselines, as nested JSON."),
        scalar_text("notes", "What was skipped or changed on the way, as a JSON list."),
    ],
    groups=[
        NWBGroupSpec(
            neurodata_type_inc="RunSource",
            doc="The recordings that were fitted.",
            quantity="*",
        ),
        NWBGroupSpec(
            name="metrics",
            neurodata_type_inc="RunMetrics",
            doc="Scores of the model beside the baselines.",
            quantity="?",
        ),
        NWBGroupSpec(
            name="splits",
            neurodata_type_inc="TimeIntervals",
            doc="Stretches of the session that trained, chose and tested; column `label`.",
            quantity="?",
        ),
    ],
)

run_source = NWBGroupSpec(
    neurodata_type_def="RunSource",
    neurodata_type_inc="NWBDataInterface",
    doc="A recording that a model was fitted to, precise enough to fetch the same bytes again.",
    attributes=[
        text("uri", "The address as a person would type it again."),
        text("url", "Where the bytes are.", required=False),
        text("instance", "Name of the archive's instance.", required=False),
        text("dandiset_id", "Identifier of the dandiset.", required=False),
        text("dandiset_version", "Version of the dandiset.", required=False),
        text("asset_path", "Path of the asset in the dandiset.", required=False),
        text("asset_id", "Identifier of the asset.", required=False),
        text("digest", "Algorithm, ':' and digest of the file.", required=False),
        number("size", "Size of the file in bytes.", dtype="int", required=False),
        text("neurons_path", "Path of the table of units or ROIs in the file.", required=False),
        text("neurons_object_id", "Object id of that table.", required=False),
        text("series_path", "Path of the activity series in the file.", required=False),
        text("series_object_id", "Object id of that series.", required=False),
    ],
)

run_metrics = NWBGroupSpec(
    neurodata_type_def="RunMetrics",
    neurodata_type_inc="DynamicTable",
    doc="One row per split, metric and method, the model's and the baselines'.",
    datasets=[
        column("method", "The model's name, or the baseline's.", dtype="text", required=True),
        column("split", "What it was measured on, e.g. 'test'.", dtype="text", required=True),
        column("metric", "Name of the score; '@h' is the horizon.", dtype="text", required=True),
        column("value", "The score.", dtype="float", required=True),
        column("low", "Lower end of its interval, where there is one.", dtype="float"),
        column("high", "Upper end of its interval, where there is one.", dtype="float"),
    ],
)

neuron_table = NWBGroupSpec(
    neurodata_type_def="NeuronTable",
    neurodata_type_inc="DynamicTable",
    doc="The units or ROIs that a model was fitted to, one row each, in the model's order.",
    attributes=[
        text("kind", "'unit' or 'roi'."),
        text("cell_type_source", "Where the cell types were found.", required=False),
    ],
    datasets=[
        column("source_id", "Id in the recording's table.", dtype=None, required=True),
        NWBDatasetSpec(
            name="source_row",
            doc="Row of the recording's table, where that table is in the same file.",
            neurodata_type_inc="DynamicTableRegion",
            quantity="?",
        ),
        column("cell_type", "Cell type, '' where unknown.", dtype="text"),
        column("location", "Brain region, '' where unknown.", dtype="text"),
        column("position", "x, y and z as the recording gives them.", dtype="float", width="xyz"),
        column("held_out", "Whether the model had to predict it unseen.", dtype="bool"),
        column("embedding", "The model's vector of the neuron.", dtype="float", width="dimension"),
        column("predicted_cell_type", "Cell type that the fit suggests.", dtype="text"),
    ],
)

predicted_activity = NWBGroupSpec(
    neurodata_type_def="PredictedActivity",
    neurodata_type_inc="TimeSeries",
    doc=(
        "Activity as a model predicts it, in the recording's units and on its clock; NaN where "
        "there is no prediction. `control` holds the split of each sample, `control_description` "
        "the names of the splits."
    ),
    attributes=[
        text("quantity", "'counts' per bin, 'dff', 'events', 'deconvolved' or 'fluorescence'."),
        number("horizon", "Bins ahead; 0 where hidden neurons are predicted.", dtype="int"),
        number("bin_width", "Width of a bin in seconds; time stamps are bin centres."),
    ],
    datasets=[
        series_data("Predicted activity.", "num_neurons"),
        region("neurons", "The neuron of each column."),
    ],
    links=[
        run_link(),
        NWBLinkSpec(
            name="source_series",
            doc="The series that was predicted, where it is in the same file.",
            target_type="TimeSeries",
            quantity="?",
        ),
    ],
)

connectivity_edges = NWBGroupSpec(
    neurodata_type_def="ConnectivityEdges",
    neurodata_type_inc="DynamicTable",
    doc=(
        "Directed couplings between neurons, averaged over time, strongest first. A statistic that "
        "was not computed has no column, or is NaN. Nothing here tests for a synapse."
    ),
    attributes=[
        *measure(),
        text("average", "What the weights average over, in words.", required=False),
        number("num_possible", "Number of edges that there could be.", dtype="int"),
        number("kept_share", "Share of the summed absolute weight that the kept edges hold."),
        text("null_hypothesis", "What p and q are measured against, in words.", required=False),
        number("smallest_p", "The smallest p that could have come out.", required=False),
    ],
    datasets=[
        region("pre", "The neuron that predicts."),
        region("post", "The neuron that is predicted."),
        column("pre_cell_type", "Cell type of the neuron that predicts.", dtype="text"),
        column("post_cell_type", "Cell type of the neuron that is predicted.", dtype="text"),
        column("weight", "Mean weight.", dtype="float", required=True),
        column(
            "influence", "Mean effect of one more unit of input on the prediction.", dtype="float"
        ),
        column("se", "Standard error over blocks of time.", dtype="float"),
        column("seed_sd", "Standard deviation over seeds: optimisation noise.", dtype="float"),
        column("half_split_agreement", "Agreement of two halves of the session.", dtype="float"),
        column("p", "p value against the null hypothesis.", dtype="float"),
        column("q", "False discovery rate at this p.", dtype="float"),
        column("sign_agreement", "Share of seeds that agree on the sign.", dtype="float"),
        column("flags", "Artefacts this edge may be, comma-separated.", dtype="text"),
    ],
    links=[run_link()],
)

edge_weight_series = NWBGroupSpec(
    neurodata_type_def="EdgeWeightSeries",
    neurodata_type_inc="TimeSeries",
    doc="Weights of some edges over time.",
    attributes=[
        *measure(),
        number("kept_share", "Share of the summed absolute mean weight that these edges hold."),
        number("num_averaged", "Windows averaged into one sample; 1 for none.", dtype="int"),
    ],
    datasets=[
        series_data("Weight of each edge.", "num_edges"),
        region("edges", "The edge of each column."),
    ],
    links=[run_link()],
)

cell_type_connectivity_series = NWBGroupSpec(
    neurodata_type_def="CellTypeConnectivitySeries",
    neurodata_type_inc="TimeSeries",
    doc="Mean weight between cell types over time; NaN where a pair of types has no two neurons.",
    attributes=[*measure(), text("grouped_by", "Column of the neuron table, e.g. 'cell_type'.")],
    datasets=[
        series_data("Mean weight of each pair of types.", "num_pairs"),
        array(
            "post_type", "Receiving type of each column.", ("num_pairs",), dtype="text", quantity=1
        ),
        array("pre_type", "Sending type of each column.", ("num_pairs",), dtype="text", quantity=1),
        array("num_edges", "Neuron pairs in each column.", ("num_pairs",), dtype="int", quantity=1),
    ],
    links=[run_link()],
)

connectivity_factors = NWBGroupSpec(
    neurodata_type_def="ConnectivityFactors",
    neurodata_type_inc="NWBDataInterface",
    doc=(
        "The arrays from which the exact matrix at any time follows, [post, pre], without one "
        "stored matrix per time. form 'netformer': z_i is the history "
        "activity[last-context+1 .. last, i] followed by embedding[i]; with norm_gain, z_i is "
        "centred, divided by sqrt(variance + 1e-5), multiplied by norm_gain and shifted by "
        "norm_bias; A_ij = scale (query z_i) . (key z_j). form 'gain': J_ij = g[t, i] A[i, j]. "
        "form 'attention': maps[t, 0, i, j]. form 'static': weight[i, j]. form 'dense': "
        "weights[t, i, j]. Contributions are A_ij x_j for 'netformer', x_j the newest value in z_j "
        "(details: raw_values, the newest activity), A[i, j] activity[last[t], j] for 'gain', "
        "maps[owner[b, 0], 0, i, j] y[b, j] in bin b for 'attention'."
    ),
    attributes=[
        text("form", "'netformer', 'gain', 'attention', 'static' or 'dense'."),
        *measure(),
        number("context", "netformer: bins of history.", dtype="int", required=False),
        number("scale", "netformer: factor of every entry.", required=False),
    ],
    datasets=[
        array(
            "timestamps",
            "Time of each window in seconds.",
            ("num_windows",),
            dtype="float64",
            quantity=1,
        ),
        region("neurons", "The neuron of each row and column of a matrix."),
        scalar_text("details", "What else the model says of its couplings, as JSON."),
        array(
            "activity",
            "netformer, gain: activity as the model saw it.",
            ("num_bins", "num_neurons"),
            dtype=ANY_FLOAT,
        ),
        array(
            "last",
            "netformer, gain: row of activity each window ends at.",
            ("num_windows",),
            dtype="int",
        ),
        array("embedding", "netformer: vector of each neuron.", ("num_neurons", "dimension")),
        array("query", "netformer: query map.", ("projection", "feature")),
        array("key", "netformer: key map.", ("projection", "feature")),
        array("norm_gain", "netformer: gain of the layer norm.", ("feature",)),
        array("norm_bias", "netformer: bias of the layer norm.", ("feature",)),
        array("A", "gain: adjacency.", ("post", "pre")),
        array("g", "gain: gain of each receiver.", ("num_windows", "num_neurons"), dtype=ANY_FLOAT),
        array("maps", "attention: maps.", ("num_windows", "layer", "post", "pre"), dtype=ANY_FLOAT),
        array(
            "y",
            "What a matrix is multiplied with. attention: in the bins that lie in a window; "
            "netformer: at each window, where activity does not give it.",
            ("num_bins", "num_neurons"),
            dtype=ANY_FLOAT,
        ),
        array(
            "owner",
            "attention: window of each row of y, and the place of the bin in it.",
            ("num_bins", "window_and_place"),
            dtype="int",
        ),
        array("weight", "static: matrix.", ("post", "pre")),
        array(
            "weights",
            "dense: one matrix per window.",
            ("num_windows", "post", "pre"),
            dtype=ANY_FLOAT,
        ),
    ],
    links=[run_link()],
)

TYPES = [
    model_run,
    run_source,
    run_metrics,
    neuron_table,
    predicted_activity,
    connectivity_edges,
    edge_weight_series,
    cell_type_connectivity_series,
    connectivity_factors,
]


def main(output: Path) -> None:
    namespace = NWBNamespaceBuilder(
        name=NAME,
        version=VERSION,
        doc="Models of neural population dynamics: predicted activity and coupling over time",
        author=["nwbdyn developers"],
    )
    namespace.include_namespace("core")
    export_spec(namespace, TYPES, str(output))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", nargs="?", type=Path, default=SPEC_FOLDER)
    main(parser.parse_args().output)
