"""Coupling at every time: a sum of components, each a form with its required arrays.

W is the number of windows, N of neurons, B of bins. Every matrix is [post, pre].
"""

from parts_of_types import (
    array,
    description,
    float_array,
    measure,
    number,
    region,
    run_link,
    text,
)
from pynwb.spec import NWBGroupSpec

MATRIX = ("num_neurons_post", "num_neurons_pre")


def component(name: str, doc: str, datasets: list, attributes: list | None = None) -> NWBGroupSpec:
    return NWBGroupSpec(
        neurodata_type_def=name,
        neurodata_type_inc="ConnectivityComponent",
        doc=doc,
        datasets=datasets,
        attributes=attributes or [],
    )


def seen_activity(quantity: str | int) -> list:
    """Activity that windows are cut from."""
    return [
        float_array(
            "activity",
            "Activity as the model saw it.",
            ("num_bins", "num_neurons"),
            quantity=quantity,
        ),
        array(
            "last_bin",
            "Row of `activity` that each window ends at.",
            ("num_windows",),
            dtype="int",
            quantity=quantity,
        ),
        array(
            "is_observed",
            "Whether each row of `activity` was recorded; absent where all were.",
            ("num_bins",),
            dtype="bool",
        ),
    ]


time_resolved_connectivity = NWBGroupSpec(
    neurodata_type_def="TimeResolvedConnectivity",
    neurodata_type_inc="NWBDataInterface",
    doc=(
        "The coupling matrix [post, pre] of every window, A(t): the sum of the components, each "
        "of which determines its matrix at every window exactly."
    ),
    attributes=[
        description("the couplings"),
        text("kind", "'directed', or 'simultaneous' for undirected coupling within one bin."),
        *measure(),
    ],
    datasets=[
        array(
            "timestamps",
            "Time of each window in seconds, on the clock of the session's other series.",
            ("num_windows",),
            dtype="float64",
            quantity=1,
        ),
        region("neurons", "The neuron of each row and column of a matrix.", table="NeuronsTable"),
        array("mean", "Mean matrix over windows, for viewers.", MATRIX),
    ],
    groups=[
        NWBGroupSpec(
            neurodata_type_inc="ConnectivityComponent",
            doc="The components of the sum.",
            quantity="+",
        ),
    ],
    links=[run_link()],
)

connectivity_component = NWBGroupSpec(
    neurodata_type_def="ConnectivityComponent",
    neurodata_type_inc="NWBDataInterface",
    doc="One component of a time-resolved connectivity. Abstract: files hold one of its subtypes.",
    attributes=[
        description("the component"),
        number(
            "lag",
            "Bins by which the sender precedes the receiver, where there is one lag.",
            dtype="int",
            required=False,
        ),
        number(
            "zero_diagonal",
            "Whether the diagonal counts as 0, whatever the arrays give; false where absent.",
            dtype="bool",
            required=False,
        ),
    ],
)

constant_connectivity = component(
    "ConstantConnectivity",
    "Coupling that does not change: A_ij = sum over k of weight[k, i, j].",
    [
        array("weight", "One matrix per lag.", ("num_lags", *MATRIX), quantity=1),
        array(
            "lags",
            "Bins by which the sender precedes the receiver: 1 for the next bin, 0 within one bin, "
            "-1 where a matrix is over all lags of the model.",
            ("num_lags",),
            dtype="int",
            quantity=1,
        ),
        array(
            "sender_function",
            "Function of the sender's activity that each matrix multiplies; absent where all are "
            "'linear'.",
            ("num_lags",),
            dtype="text",
        ),
    ],
)

query_key_connectivity = component(
    "QueryKeyConnectivity",
    (
        "Coupling from a query of the receiver and a key of the sender. The token z_i of neuron i "
        "is activity[last_bin - context + 1 .. last_bin, i], newest last, followed by "
        "embedding[i]; with norm_gain, z_i is centred over its entries, divided by sqrt(variance + "
        "1e-5), multiplied by norm_gain and shifted by norm_bias. q_i = query z_i - "
        "query_offset[i], k_j = key z_j - key_offset[j], offsets 0 where absent; A_ij = scale q_i "
        ". k_j. What j contributes to i is A_ij v_j: v_j is sent_value[t, j] where that is there, "
        "activity[last_bin, j] where is_raw_value, else the newest value in z_j."
    ),
    [
        *seen_activity(1),
        array("embedding", "Vector of each neuron.", ("num_neurons", "dimension"), quantity=1),
        array("query", "Query map.", ("projection", "feature"), quantity=1),
        array("key", "Key map.", ("projection", "feature"), quantity=1),
        array("norm_gain", "Gain of the layer norm.", ("feature",)),
        array("norm_bias", "Bias of the layer norm.", ("feature",)),
        array("query_offset", "Subtracted from queries.", ("num_neurons", "projection")),
        array("key_offset", "Subtracted from keys: centring.", ("num_neurons", "projection")),
        float_array(
            "sent_value",
            "Value that each neuron sends, where the activity does not give it.",
            ("num_windows", "num_neurons"),
        ),
    ],
    [
        number("context", "Bins of history in a token.", dtype="int"),
        number("scale", "Factor of every entry."),
        number(
            "is_raw_value",
            "Whether the newest activity is sent, not the newest value of the token; false where "
            "absent.",
            dtype="bool",
            required=False,
        ),
    ],
)

gain_connectivity = component(
    "GainConnectivity",
    (
        "A constant matrix times a gain of each receiver: A_ij(t) = gain[t, i] weight[i, j]. What "
        "j contributes to the input current of i is weight[i, j] activity[last_bin[t], j]."
    ),
    [
        array("weight", "Constant matrix.", MATRIX, quantity=1),
        float_array(
            "gain",
            "Gain of each receiver.",
            ("num_windows", "num_neurons"),
            quantity=1,
        ),
        *seen_activity("?"),
    ],
)

attention_connectivity = component(
    "AttentionConnectivity",
    (
        "Attention maps, the first layer of which is between neurons: A_ij(t) = maps[t, 0, i, j]. "
        "What j contributes to i in bin b is maps[window_of_bin[b, 0], 0, i, j] stream[b, j]."
    ),
    [
        float_array(
            "maps",
            "Attention maps; rows sum to 1. Columns of deeper layers are mixtures of neurons.",
            ("num_windows", "num_layers", *MATRIX),
            quantity=1,
        ),
        float_array(
            "stream",
            "Values that the first map multiplies, in the bins that lie in a window.",
            ("num_bins", "num_neurons"),
        ),
        array(
            "window_of_bin",
            "Window of each row of `stream`, and the position of the bin in it.",
            ("num_bins", "window_and_position"),
            dtype="int",
            width=2,
        ),
    ],
    [number("bin_width", "Width of a bin in seconds.", required=False)],
)

state_dependent_connectivity = component(
    "StateDependentConnectivity",
    (
        "One matrix per state: A_ij(t) = weight[state_index[t], i, j], and 0 where state_index is "
        "-1: in no state."
    ),
    [
        array("weight", "One matrix per state.", ("num_states", *MATRIX), quantity=1),
        array("states", "Name of each state.", ("num_states",), dtype="text", quantity=1),
        array(
            "state_index",
            "State of each window: row of `states`, -1 for none.",
            ("num_windows",),
            dtype="int",
            quantity=1,
        ),
    ],
)

time_following_connectivity = component(
    "TimeFollowingConnectivity",
    (
        "Slow change with time itself, such as drift and plasticity: A_ij(t) = sum over k of "
        "basis[t, k] weight[k, i, j]."
    ),
    [
        float_array(
            "basis",
            "Temporal basis functions, e.g. interpolation between knots.",
            ("num_windows", "num_functions"),
            quantity=1,
        ),
        array("weight", "One matrix per basis function.", ("num_functions", *MATRIX), quantity=1),
        array(
            "knots",
            "Time of each basis function in seconds.",
            ("num_functions",),
            dtype="float64",
        ),
    ],
    [number("bandwidth", "Width of the temporal kernel in seconds.", required=False)],
)

dense_connectivity = component(
    "DenseConnectivity",
    "One stored matrix per window: A_ij(t) = weight[t, i, j].",
    [
        float_array(
            "weight",
            "One matrix per window.",
            ("num_windows", *MATRIX),
            quantity=1,
        ),
    ],
)

CONNECTIVITY_TYPES = [
    time_resolved_connectivity,
    connectivity_component,
    constant_connectivity,
    query_key_connectivity,
    gain_connectivity,
    attention_connectivity,
    state_dependent_connectivity,
    time_following_connectivity,
    dense_connectivity,
]
