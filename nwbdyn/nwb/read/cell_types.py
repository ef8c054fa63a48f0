"""Cell types of neurons in a file, and the meaning of their codes.

A label is taken from a column of the neurons' own table, else from a separate table with exactly
one row per neuron. The subject's genotype says what was labelled in the animal, not what each
neuron is: it is noted and never used.
"""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from nwbdyn.errors import DataError
from nwbdyn.nwb.read import tables
from nwbdyn.nwb.read.objects import NwbIndex, NwbObject
from nwbdyn.recording import Neurons

# spelled without case, spaces and underscores; the earlier is preferred
COLUMNS = (
    "celltype",
    "celltypes",
    "celltypelabel",
    "putativecelltype",
    "cellsubtype",
    "cellsubtypes",
    "cellclass",
    "neurontype",
    "moleculartype",
    "subtype",
)
CODE = re.compile(r"(-?\d+(?:\.\d+)?)\s*(?:=|:|->|-|is)\s*([^,;.\n]+)")


def label(
    contents: NwbIndex, neurons: Neurons, descriptions: dict[str, str], subject: dict[str, str]
) -> Neurons:
    """The neurons with a text column `cell_type` and its source, where the file has one."""
    column = find_column(neurons.table)
    if column is not None:
        where = f"{neurons.table_path}/{column}"
        labels = _words(contents, where, neurons.table[column], descriptions.get(column, ""))
        return _labelled(neurons, labels, where)
    for item in contents.of_type("DynamicTable"):
        labelled = _from_other_table(contents, item, neurons)
        if labelled is not None:
            return labelled
    if "genotype" in subject:
        reason = f"{subject['genotype']!r} may name a cell type, but not neuron by neuron; not used"
        contents.note("genotype", "/general/subject/genotype", reason)
    return neurons


def from_column(neurons: Neurons, name: str) -> Neurons:
    """The neurons with the values of one of their own columns as cell types.

    Raises:
        DataError: the table has no such column; it names those it has.
    """
    if name not in neurons.table:
        has = ", ".join(map(str, neurons.table.columns))
        table = f"The {'ROI' if neurons.kind == 'roi' else neurons.kind} table {neurons.table_path}"
        raise DataError(f"{table} has no column {name!r}; it has: {has}.")
    labels = ["" if pd.isna(value) else str(value).strip() for value in neurons.table[name]]
    return _labelled(neurons, labels, f"{neurons.table_path}/{name}")


def from_file(neurons: Neurons, path: Path) -> Neurons:
    """The neurons with the cell types of a CSV file with columns `id` and `cell_type`.

    A neuron that the file does not name keeps the label it had, or none.

    Raises:
        DataError: the file is no CSV, lacks a column, repeats an id, or names a neuron that is not
            there.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read as CSV ({' '.join(str(error).split())}); it needs the columns "
            "id and cell_type."
        ) from error
    if not {"id", "cell_type"} <= set(table.columns):
        has = ", ".join(table.columns)
        raise DataError(f"{path} needs the columns id and cell_type; it has: {has}.")
    repeated = table["id"][table["id"].duplicated()].unique()
    if len(repeated):
        raise DataError(f"{path} names a neuron twice: {', '.join(repeated[:5])}.")
    ids = neurons.table["id"].astype(str)
    unknown = table["id"][~table["id"].isin(ids)]
    if len(unknown):
        listed = ", ".join(unknown[:5])
        known = ", ".join(ids[:5])
        raise DataError(
            f"{path} names {len(unknown)} neurons that the recording does not have: {listed}. "
            f"Its ids are like: {known}."
        )
    given = ids.map(table.set_index("id")["cell_type"])
    before = neurons.table.get("cell_type", "")
    labelled = _labelled(neurons, given.fillna(before).tolist(), "")
    return replace(labelled, cell_type_source=path.name)


def find_column(table: pd.DataFrame) -> str | None:
    """The column of `table` that holds cell types, by its name."""
    plain = {re.sub(r"[\s_-]", "", str(name)).lower(): str(name) for name in table.columns}
    return next((plain[name] for name in COLUMNS if name in plain), None)


def _from_other_table(contents: NwbIndex, item: NwbObject, neurons: Neurons) -> Neurons | None:
    """Labels from a table beside the neurons' own, one row per neuron."""
    if item.core_type != "DynamicTable" or item.path in (neurons.table_path or "").split(", "):
        return None
    names = tables.column_names(contents, item.group)
    if find_column(pd.DataFrame(columns=names)) is None:
        return None
    table = tables.read(contents, item.group)
    column = find_column(table.frame)
    if column is None:
        return None
    where = f"{item.path}/{column}"
    if len(table.frame) != len(neurons):
        reason = f"has {len(table.frame)} rows for {len(neurons)} neurons; it was not aligned"
        contents.note("cell-type-rows", where, reason)
        return None
    frame = table.frame
    ids = neurons.table["id"]
    if set(frame["id"]) == set(ids) and not frame["id"].duplicated().any():
        frame = frame.set_index("id").loc[ids].reset_index()
    else:
        reason = "its ids are not the neurons' ids; rows are taken in the neurons' order"
        contents.note("cell-type-order", where, reason)
    labels = _words(contents, where, frame[column], table.descriptions.get(column, ""))
    return _labelled(neurons, labels, where)


def _labelled(neurons: Neurons, labels: list[str], where: str) -> Neurons:
    table = neurons.table.assign(cell_type=pd.Series(labels, dtype="str"))
    return replace(neurons, table=table, cell_type_source=where.lstrip("/"))


def _words(contents: NwbIndex, where: str, column: pd.Series, description: str) -> list[str]:
    """Labels as text: codes become the words their description gives them; unknown is empty."""
    paths, name = where.rsplit("/", 1)
    stated: dict[str, str] = {}
    for path in paths.split(", "):  # of several planes or tables of units
        table = contents.group(path)
        stated |= {} if table is None else tables.meanings(contents, table, name)
    if stated:
        contents.note("cell-type-codes", where, f"codes read by the file's own table: {stated}")
        return [stated.get(str(value), "") for value in column]
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        codes = column.to_numpy(dtype=np.float64)
        meanings = {float(code): word.strip() for code, word in CODE.findall(description)}
        known = {float(code) for code in codes[np.isfinite(codes)]}
        if known and known <= set(meanings):
            words = ", ".join(f"{code:g} = {meanings[code]}" for code in sorted(known))
            contents.note("cell-type-codes", where, f"codes read by their description: {words}")
            return [meanings[code] if np.isfinite(code) else "" for code in codes]
        contents.note(
            "cell-type-codes", where, f"codes without words; described as {description!r}"
        )
        return [f"{code:g}" if np.isfinite(code) else "" for code in codes]
    return ["" if pd.isna(value) else str(value).strip() for value in column]
