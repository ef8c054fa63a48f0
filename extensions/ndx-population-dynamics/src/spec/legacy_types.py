"""Types of 0.1 and 0.2 that are no longer written, so that files of these versions keep reading.

No definition here changes any more. They are in a schema file of their own,
`ndx-population-dynamics.legacy.yaml`.
"""

from parts_of_types import (
    ANY_FLOAT,
    array,
    column,
    measure,
    number,
    region,
    run_link,
    scalar_text,
    series_data,
    text,
)
from pynwb.spec import NWBDatasetSpec, NWBGroupSpec, NWBLinkSpec

run_metrics = NWBGroupSpec(
    neurodata_type_def="RunMetrics",
    neurodata_type_inc="RunMetricsTable",  # so that it may lie where a ModelRun has one
    doc="One row per split, metric and method, the model's and the baselines'.",
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

LEGACY_TYPES = [
    run_metrics,
    neuron_table,
    predicted_activity,
    connectivity_edges,
    connectivity_factors,
]
