"""Pieces that several types are specified with: attributes, arrays, columns, regions."""

from pynwb.spec import NWBAttributeSpec, NWBDatasetSpec, NWBLinkSpec, NWBRefSpec

ANY_FLOAT = None  # "numeric" leaves out float16, which the large arrays may be


def text(name: str, doc: str, *, required: bool = True) -> NWBAttributeSpec:
    return NWBAttributeSpec(name=name, doc=doc, dtype="text", required=required)


def number(name: str, doc: str, *, dtype: str = "float", required: bool = True) -> NWBAttributeSpec:
    return NWBAttributeSpec(name=name, doc=doc, dtype=dtype, required=required)


def description(of: str, *, required: bool = True) -> NWBAttributeSpec:
    """Description of an object; where older files lack one, as core NWB does it."""
    if required:
        return text("description", f"Description of {of}.")
    return NWBAttributeSpec(
        name="description",
        doc=f"Description of {of}.",
        dtype="text",
        required=False,
        default_value="no description",
    )


def scalar_text(name: str, doc: str) -> NWBDatasetSpec:
    return NWBDatasetSpec(name=name, doc=doc, dtype="text", quantity="?")


def array(
    name: str,
    doc: str,
    dims: tuple[str, ...],
    *,
    dtype: str | None = "float",
    quantity: str | int = "?",
    width: int | None = None,
) -> NWBDatasetSpec:
    """An array; `width` is the size of the last axis where it is fixed."""
    shape = [None] * (len(dims) - 1) + [width]
    return NWBDatasetSpec(
        name=name, doc=doc, dtype=dtype, dims=list(dims), shape=shape, quantity=quantity
    )


def float_array(
    name: str, doc: str, dims: tuple[str, ...], *, quantity: str | int = "?"
) -> NWBDatasetSpec:
    """An array of any floating-point type, which the schema language has no word for."""
    doc = f"{doc} Any floating-point type, float16 included."
    return array(name, doc, dims, dtype=ANY_FLOAT, quantity=quantity)


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


def region(
    name: str, doc: str, *, quantity: str | int = 1, table: str | None = None
) -> NWBDatasetSpec:
    """Rows of another table; `table` is the type that the table must have."""
    target = []
    if table is not None:
        target = [
            NWBAttributeSpec(
                name="table",
                doc=f"The {table} whose rows these are.",
                dtype=NWBRefSpec(target_type=table, reftype="object"),
            )
        ]
    return NWBDatasetSpec(
        name=name,
        doc=doc,
        neurodata_type_inc="DynamicTableRegion",
        quantity=quantity,
        attributes=target,
    )


def run_link() -> NWBLinkSpec:
    return NWBLinkSpec(name="run", doc="The fit that this comes from.", target_type="ModelRun")


def neurons_link() -> NWBLinkSpec:
    return NWBLinkSpec(
        name="neurons", doc="The table that neurons are rows of.", target_type="NeuronsTable"
    )


def measure() -> list[NWBAttributeSpec]:
    """Attributes of every connectivity type that give its numbers a meaning."""
    return [
        text("measure", "What a weight is, in words and units, e.g. 'z per z'."),
        number("is_causal", "Whether a window ends at its time stamp.", dtype="bool"),
        number("window_start", "Start of a window relative to its time stamp, in seconds."),
        number("window_stop", "End of a window relative to its time stamp, in seconds."),
    ]
