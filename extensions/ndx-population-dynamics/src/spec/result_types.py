"""Tables and series of a fit: neurons, predictions, edges, cell types."""

from parts_of_types import (
    array,
    column,
    measure,
    neurons_link,
    number,
    region,
    run_link,
    series_data,
    text,
)
from pynwb.spec import NWBDatasetSpec, NWBGroupSpec, NWBLinkSpec

KIND = "'directed', or 'simultaneous' for undirected coupling within one bin"

neurons_table = NWBGroupSpec(
    neurodata_type_def="NeuronsTable",
    neurodata_type_inc="DynamicTable",
    doc="The units or ROIs that a model was fitted to, one row each, in the model's order.",
    attributes=[
        text("kind", "'unit' or 'roi'."),
        text("cell_type_source", "Column that the cell types come from.", required=False),
    ],
    datasets=[
        column(
            "neuron_name", "Unique name of the neuron, for people.", dtype="text", required=True
        ),
        column(
            "source_id",
            "Id in the recording's table, an integer or a text as it is there.",
            dtype=None,
            required=True,
        ),
        NWBDatasetSpec(
            name="source_row",
            doc="Row of the recording's table, where that table is in the same file.",
            neurodata_type_inc="DynamicTableRegion",
            quantity="?",
        ),
        column("cell_type", "Cell type, '' where unknown.", dtype="text"),
        column("location", "Brain region, '' where unknown.", dtype="text"),
        column(
            "position",
            "x, y and z as the recording gives them, in its unit.",
            dtype="float",
            width="xyz",
        ),
        column("held_out", "Whether the model had to predict it unseen.", dtype="bool"),
        column("embedding", "The model's vector of the neuron.", dtype="float", width="dimension"),
        column("predicted_cell_type", "Cell type that the fit suggests.", dtype="text"),
    ],
)

predicted_activity_series = NWBGroupSpec(
    neurodata_type_def="PredictedActivitySeries",
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
        region("neurons", "The neuron of each column.", table="NeuronsTable"),
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

connectivity_edges_table = NWBGroupSpec(
    neurodata_type_def="ConnectivityEdgesTable",
    neurodata_type_inc="DynamicTable",
    doc=(
        "Couplings between neurons, one per row, averaged over time, strongest first. Every column "
        "holds one plain value per row. A statistic that was not computed has no column, or is "
        "NaN. Nothing here tests for a synapse."
    ),
    attributes=[
        *measure(),
        text("average", "Windows and seeds that the weights average over.", required=False),
        number("num_possible", "Number of edges that there could be.", dtype="int"),
        number("kept_share", "Share of the summed absolute weight that the rows hold."),
        text("null_hypothesis", "Null hypothesis of p and q, in words.", required=False),
        number("smallest_p", "The smallest p that could have come out.", required=False),
    ],
    datasets=[
        column("pre", "Name of the neuron that predicts.", dtype="text", required=True),
        column("post", "Name of the neuron that is predicted.", dtype="text", required=True),
        column("pre_id", "Its id in the recording's table.", dtype=None, required=True),
        column("post_id", "Its id in the recording's table.", dtype=None, required=True),
        column("pre_row", "Its row of the table `neurons`.", dtype="int", required=True),
        column("post_row", "Its row of the table `neurons`.", dtype="int", required=True),
        column("kind", f"{KIND}.", dtype="text", required=True),
        column(
            "lag",
            "Bins by which pre precedes post; 0 within one bin, -1 over all lags of the model.",
            dtype="int",
            required=True,
        ),
        column(
            "state",
            "State or contrast of states, e.g. 'running - rest'; '' for the whole session.",
            dtype="text",
        ),
        column("weight", "Mean weight.", dtype="float", required=True),
        column("se", "Standard error over blocks of time.", dtype="float"),
        column("p", "p value against the null hypothesis.", dtype="float"),
        column("q", "False discovery rate at this p.", dtype="float"),
        column("flags", "Artefacts this edge may be, comma-separated.", dtype="text"),
        column(
            "peak_ms",
            "Delay of the largest weight in the filter of a coupling of spike times, milliseconds.",
            dtype="float",
        ),
        column(
            "model_weight",
            "Mean weight in the model, where `weight` was estimated from the recording itself.",
            dtype="float",
        ),
        column("pre_cell_type", "Cell type of the neuron that predicts.", dtype="text"),
        column("post_cell_type", "Cell type of the neuron that is predicted.", dtype="text"),
        column(
            "influence", "Mean effect of one more unit of input on the prediction.", dtype="float"
        ),
        column("seed_sd", "Standard deviation over seeds: optimisation noise.", dtype="float"),
        column("half_split_agreement", "Agreement of two halves of the session.", dtype="float"),
        column("sign_agreement", "Share of seeds that agree on the sign.", dtype="float"),
        column("p_constant", "p value against a weight that is constant.", dtype="float"),
        column("q_constant", "False discovery rate at p_constant.", dtype="float"),
    ],
    links=[run_link(), neurons_link()],
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
        region("edges", "The edge of each column.", table="ConnectivityEdgesTable"),
        array("low", "Lower end of a pointwise 95 % band.", ("num_times", "num_edges")),
        array("high", "Upper end of a pointwise 95 % band.", ("num_times", "num_edges")),
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

cell_type_connectivity_table = NWBGroupSpec(
    neurodata_type_def="CellTypeConnectivityTable",
    neurodata_type_inc="DynamicTable",
    doc=(
        "Mean weight between cell types, one pair of types, kind and state per row. A statistic "
        "that was not computed has no column, or is NaN."
    ),
    attributes=[
        *measure(),
        text("grouped_by", "Column of the neuron table, e.g. 'cell_type'."),
        text("null_hypothesis", "Null hypothesis of p and q, in words.", required=False),
    ],
    datasets=[
        column("pre_type", "Sending type.", dtype="text", required=True),
        column("post_type", "Receiving type.", dtype="text", required=True),
        column("kind", f"{KIND}.", dtype="text", required=True),
        column("state", "State or contrast of states; '' for the whole session.", dtype="text"),
        column("num_pre", "Number of sending neurons.", dtype="int"),
        column("num_post", "Number of receiving neurons.", dtype="int"),
        column("weight", "Mean weight.", dtype="float", required=True),
        column("low", "Lower end of its 95 % interval.", dtype="float"),
        column("high", "Upper end of its 95 % interval.", dtype="float"),
        column("p", "p value against the null hypothesis.", dtype="float"),
        column("q", "False discovery rate at this p.", dtype="float"),
    ],
    links=[run_link()],
)

RESULT_TYPES = [
    neurons_table,
    predicted_activity_series,
    connectivity_edges_table,
    edge_weight_series,
    cell_type_connectivity_series,
    cell_type_connectivity_table,
]
