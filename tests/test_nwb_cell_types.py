"""Columns that hold cell types, and columns that are never read as cell types."""

import numpy as np
import pytest
from nwb_files import (
    TEXT,
    add_column,
    noted,
    nwb,
    opened,
    rois,
    table,
    traces,
    units,
)

from nwbdyn.errors import DataError
from nwbdyn.nwb.read import cell_types


@pytest.mark.parametrize("name", ["cell_type", "CellType", "celltype_label", "putative_cell_type"])
def test_cell_types_are_found_under_the_names_labs_give_them(name, tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, **{name: ["pyr", "", "fast spiking"]})
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["cell_type"].tolist() == ["pyr", "", "fast spiking"]
        assert recording.neurons.cell_type_source == f"units/{name}"


def test_codes_take_the_words_of_their_description(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        group = units(file, quality=[1, 1, 1])
        add_column(group, "celltype_label", [1.0, 2.0, np.nan], "cell type: 1 = RSU, 2 = FSU")
        group.attrs["colnames"] = np.array(["spike_times", "celltype_label"], dtype=TEXT)
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["cell_type"].tolist() == ["RSU", "FSU", ""]
        assert recording.neurons.table["celltype_label"].tolist()[:2] == [1, 2]
        assert "1 = RSU, 2 = FSU" in next(
            note.reason for note in recording.notes if note.code == "cell-type-codes"
        )


def test_codes_without_words_stay_codes(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, cell_type=[1, 3, 2])
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["cell_type"].tolist() == ["1", "3", "2"]
        assert noted(recording)["cell-type-codes"] == "/units/cell_type"


def test_a_separate_table_with_one_row_per_neuron_is_joined_by_id(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file))
        subtypes = table(
            file["processing/ophys"], "Cell_Subtypes", "DynamicTable", cell_type=list("abcde")
        )
        subtypes["id"][...] = [4, 3, 2, 1, 0]
    with opened(tmp_path / "a.nwb") as recording:
        assert recording.neurons.table["cell_type"].tolist() == list("edcba")
        assert recording.neurons.cell_type_source == "processing/ophys/Cell_Subtypes/cell_type"


def test_a_separate_table_with_another_number_of_rows_is_never_aligned(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        traces(file, rois=rois(file))
        table(file["processing/ophys"], "Cell_Subtypes", "DynamicTable", cell_type=list("abcdef"))
    with opened(tmp_path / "a.nwb") as recording:
        assert "cell_type" not in recording.neurons.table
        assert noted(recording)["cell-type-rows"] == "/processing/ophys/Cell_Subtypes/cell_type"


def test_a_genotype_is_noted_and_never_used(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file)
        file["general/subject/genotype"] = "Pvalb-IRES-Cre"
    with opened(tmp_path / "a.nwb") as recording:
        assert "cell_type" not in recording.neurons.table
        assert noted(recording)["genotype"] == "/general/subject/genotype"
        assert recording.subject == {"genotype": "Pvalb-IRES-Cre", "species": "Mus musculus"}


def test_a_column_named_by_the_user_gives_the_cell_types(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, layer=["L4", "", "L5"])
    with opened(tmp_path / "a.nwb") as recording:
        labelled = cell_types.from_column(recording.neurons, "layer")
        assert labelled.table["cell_type"].tolist() == ["L4", "", "L5"]
        assert labelled.cell_type_source == "units/layer"
        with pytest.raises(DataError, match="no column 'depth'; it has: id, layer"):
            cell_types.from_column(recording.neurons, "depth")


def test_a_csv_file_gives_cell_types_by_id_and_never_by_order(tmp_path):
    with nwb(tmp_path / "a.nwb") as file:
        units(file, cell_type=["a", "b", "c"])
    with opened(tmp_path / "a.nwb") as recording:
        neurons = recording.neurons
    mapping = tmp_path / "types.csv"
    mapping.write_text("id,cell_type\n2,Pvalb\n0,Sst\n")
    labelled = cell_types.from_file(neurons, mapping)
    assert labelled.table["cell_type"].tolist() == ["Sst", "b", "Pvalb"]
    mapping.write_text("id,cell_type\n7,Pvalb\n")
    with pytest.raises(DataError, match=r"neurons that the recording does not have: 7\."):
        cell_types.from_file(neurons, mapping)
    mapping.write_text("id,cell_type\n1,Pvalb\n1,Sst\n")
    with pytest.raises(DataError, match="names a neuron twice: 1"):
        cell_types.from_file(neurons, mapping)
