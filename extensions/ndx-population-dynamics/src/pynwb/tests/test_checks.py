"""Constructors refuse arrays and tables that disagree; a file with such is read with a warning."""

import h5py
import ndx_population_dynamics as ndx
import numpy as np
import pytest
from hdmf.common import DynamicTable, DynamicTableRegion, VectorData
from make_file import write_file
from ndx_population_dynamics.testing import mock
from pynwb import NWBHDF5IO

PREDICTION_FIELDS = (
    "data", "unit", "rate", "starting_time", "description", "quantity", "horizon", "bin_width",
)  # fmt: skip


@pytest.fixture
def run():
    return mock.mock_ModelRun()


@pytest.fixture
def neurons():
    return mock.mock_NeuronsTable()


@pytest.mark.parametrize(
    ("make", "fields", "message"),
    [
        (mock.mock_ConstantConnectivity, {"lags": [1]}, "lags has the shape .1,., but there are 2"),
        (mock.mock_ConstantConnectivity, {"weight": np.ones((2, 3, 4))}, "must be equal"),
        (mock.mock_ConstantConnectivity, {"lag": 1}, "lag is given beside lags"),
        (mock.mock_QueryKeyConnectivity, {"query": np.ones((4, 6))}, "query has 6 columns"),
        (mock.mock_QueryKeyConnectivity, {"key": np.ones((3, 7))}, "key has the shape"),
        (mock.mock_QueryKeyConnectivity, {"norm_bias": None}, "must be given together"),
        (mock.mock_QueryKeyConnectivity, {"last_bin": np.arange(20)}, "last_bin runs from 0 to 19"),
        (mock.mock_QueryKeyConnectivity, {"activity": np.ones((24, 2))}, "3 rows of embedding"),
        (mock.mock_QueryKeyConnectivity, {"key_offset": np.ones((3, 5))}, "must be .3, 4."),
        (mock.mock_GainConnectivity, {"gain": np.ones((20, 2))}, "but there are 3 rows of weight"),
        (mock.mock_GainConnectivity, {"activity": np.ones((30, 3))}, "must be given together"),
        (mock.mock_AttentionConnectivity, {"maps": np.ones((20, 1, 3, 2))}, "must be equal"),
        (mock.mock_AttentionConnectivity, {"stream": np.ones((9, 3))}, "must be given together"),
        (mock.mock_StateDependentConnectivity, {"states": ["rest"]}, "2 matrices in weight"),
        (mock.mock_StateDependentConnectivity, {"state_index": [0, 2]}, "state_index runs from 0"),
        (mock.mock_TimeFollowingConnectivity, {"basis": np.ones((20, 3))}, "2 matrices in weight"),
        (mock.mock_TimeFollowingConnectivity, {"knots": [0.0]}, "knots has the shape"),
        (mock.mock_DenseConnectivity, {"weight": np.ones((20, 3, 2))}, "must be equal"),
    ],
)
def test_a_component_of_arrays_that_disagree_is_refused(make, fields, message):
    with pytest.raises(ValueError, match=message):
        make(**fields)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (mock.mock_ConstantConnectivity, "weight"),
        (mock.mock_QueryKeyConnectivity, "query"),
        (mock.mock_QueryKeyConnectivity, "last_bin"),
        (mock.mock_GainConnectivity, "gain"),
        (mock.mock_AttentionConnectivity, "maps"),
        (mock.mock_StateDependentConnectivity, "state_index"),
        (mock.mock_TimeFollowingConnectivity, "basis"),
        (mock.mock_DenseConnectivity, "weight"),
    ],
)
def test_a_component_without_a_required_array_is_refused(make, name):
    with pytest.raises((TypeError, ValueError), match=name):
        make(**{name: None})


def test_a_form_is_a_type_and_no_word(run, neurons):
    with pytest.raises(TypeError, match="form"):
        mock.mock_TimeResolvedConnectivity(run=run, neurons=neurons, form="banana")
    with pytest.raises(ValueError, match="which has no arrays; use a subtype"):
        mock.mock_TimeResolvedConnectivity(
            run=run,
            neurons=neurons,
            connectivity_components=[mock.mock_ConnectivityComponent()],
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "banana"}, "kind is 'banana'; it must be one of directed, simultaneous"),
        ({"timestamps": np.arange(19.0)}, "of 20 windows, but there are 19 timestamps"),
        ({"mean": np.ones((3, 2))}, "mean has the shape .3, 2.; it must be .3, 3."),
        ({"connectivity_components": []}, "it has no component"),
        (
            {"connectivity_components": [mock.mock_DenseConnectivity(weight=np.ones((20, 2, 2)))]},
            "dense is of 2 neurons, but neurons has 3 rows",
        ),
    ],
)
def test_a_connectivity_that_does_not_fit_its_windows_and_neurons_is_refused(
    run, neurons, fields, message
):
    with pytest.raises(ValueError, match=message):
        mock.mock_TimeResolvedConnectivity(run=run, neurons=neurons, **fields)


def test_series_as_wide_as_their_tables_only(run, neurons):
    edges = mock.mock_ConnectivityEdgesTable(run=run, neurons=neurons)
    with pytest.raises(ValueError, match=r"data has the shape \(20, 2\), but there are 3 neurons"):
        mock.mock_PredictedActivitySeries(run=run, neurons=neurons, data=np.ones((20, 2)))
    with pytest.raises(ValueError, match="but there are 4 edges"):
        mock.mock_EdgeWeightSeries(run=run, edges=edges, data=np.ones((20, 5)))
    with pytest.raises(ValueError, match="low has the shape"):
        mock.mock_EdgeWeightSeries(run=run, edges=edges, low=np.ones((20, 3)))
    with pytest.raises(ValueError, match="but there are 4 pairs of types"):
        mock.mock_CellTypeConnectivitySeries(run=run, pre_type=["pv"])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (DynamicTable(name="other", description="Another."), "at rows of a DynamicTable"),
        (None, "points at no table; give it a NeuronsTable"),
    ],
)
def test_a_missing_or_wrong_target_table_is_refused(run, neurons, table, message):
    region = DynamicTableRegion(name="neurons", data=[0, 1, 2], description="Rows.", table=table)
    fields = mock.mock_PredictedActivitySeries(run=run, neurons=neurons).fields
    kept = {name: value for name, value in fields.items() if name in PREDICTION_FIELDS}
    with pytest.raises(ValueError, match=message):
        ndx.PredictedActivitySeries(name="predictions", neurons=region, run=run, **kept)


def test_an_edge_table_needs_its_neurons(run):
    with pytest.raises(TypeError, match="neurons"):
        ndx.ConnectivityEdgesTable(
            name="edges",
            description="Edges.",
            num_possible=6,
            kept_share=1.0,
            run=run,
            measure="z per z",
            is_causal=True,
            window_start=0.0,
            window_stop=0.0,
        )


def test_a_run_needs_a_description_and_no_deprecated_text():
    with pytest.raises(ValueError, match="description is missing"):
        mock.mock_ModelRun(description="no description")
    with pytest.raises(ValueError, match="config is deprecated; see details"):
        mock.mock_ModelRun(config="{}")


def test_a_file_whose_arrays_disagree_is_read_with_a_warning(tmp_path):
    path = tmp_path / "wrong.nwb"
    write_file(path)
    with h5py.File(path, "a") as file:
        gain = file["processing/population_dynamics/connectivity/gain"]
        del gain["gain"]
        gain["gain"] = np.ones((20, 2))
    with (
        NWBHDF5IO(path, "r") as io,
        pytest.warns(UserWarning, match="GainConnectivity 'gain': gain has the shape"),
    ):
        io.read()


@pytest.mark.parametrize(
    ("make", "fields", "message"),
    [
        (mock.mock_PredictedActivitySeries, {"quantity": "rate"}, "quantity is 'rate'; it must be"),
        (mock.mock_TimeResolvedConnectivity, {"kind": "banana"}, "one of directed, simultaneous"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused(make, fields, message, run, neurons):
    with pytest.raises(ValueError, match=message):
        make(run=run, neurons=neurons, **fields)


def test_neurons_of_a_kind_that_does_not_exist_are_refused():
    with pytest.raises(ValueError, match="kind is 'cell'; it must be one of unit, roi"):
        ndx.NeuronsTable(name="neurons", description="Fitted cells.", kind="cell")


def rows_of(type_of, column, run, neurons):
    measure = {"measure": "n.a.", "is_causal": True, "window_start": -0.1, "window_stop": 0.0}
    if type_of is ndx.RunDetailsTable:
        row = {"section": "config", "key": "a", "value": "1", "value_type": "number"}
        fields = {}
    elif type_of is ndx.CellTypeConnectivityTable:
        row = {"pre_type": "a", "post_type": "b", "kind": "directed", "weight": 1.0}
        fields = {"grouped_by": "cell_type", "run": run, **measure}
    else:
        row = {"pre": "a", "post": "b", "pre_id": 0, "post_id": 1, "pre_row": 0, "post_row": 1}
        row |= {"kind": "directed", "lag": 1, "weight": 1.0}
        fields = {"num_possible": 6, "kept_share": 1.0, "run": run, "neurons": neurons, **measure}
    return {"name": "table", "description": "A table.", **fields}, row, row | {column: "banana"}


@pytest.mark.parametrize(
    ("type_of", "column"),
    [
        (ndx.ConnectivityEdgesTable, "kind"),
        (ndx.CellTypeConnectivityTable, "kind"),
        (ndx.RunDetailsTable, "value_type"),
    ],
)
def test_a_row_or_column_with_a_value_that_is_not_allowed_is_refused(type_of, column, run, neurons):
    fields, right, wrong = rows_of(type_of, column, run, neurons)
    table = type_of(**fields)
    table.add_row(**right)
    table.add_row(right)
    for given, by_name in (((), wrong), ((wrong,), {}), ((), {"data": wrong})):
        with pytest.raises(ValueError, match=f"{column} is 'banana'; it must be one of"):
            table.add_row(*given, **by_name)
    assert len(table) == 2
    columns = [VectorData(name=key, description="A column.", data=[wrong[key]]) for key in wrong]
    with pytest.raises(ValueError, match=f"{column} is 'banana'"):
        type_of(columns=columns, colnames=list(wrong), **fields)
