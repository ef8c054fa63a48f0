"""An HDF5 NWB file written again as a Zarr store, by hand, in hdmf-zarr's layout.

Version 2 as hdmf-zarr 0.13 has it, version 3 as 0.14.
"""

import json
from pathlib import Path, PurePosixPath
from typing import Any

import h5py
import numcodecs
import numpy as np

GZIP = numcodecs.GZip(1)
TEXT, REFERENCES = numcodecs.VLenUTF8(), numcodecs.JSON()


def write_store(source: Path, store: Path, *, version: int = 2, chunk: int = 64) -> Path:
    """The file at `source` as a store with consolidated metadata.

    Args:
        source: an HDF5 NWB file.
        store: the folder to make.
        version: of the Zarr format, 2 or 3.
        chunk: rows per chunk.
    """
    documents: dict[str, Any] = {}
    with h5py.File(source) as file:
        _write_group(file, file, store, "", version, chunk, documents)
    for key, document in documents.items():
        path = store / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
    if version == 2:
        whole = {"zarr_consolidated_format": 1, "metadata": documents}
        (store / ".zmetadata").write_text(json.dumps(whole))
    else:
        inside = {
            str(PurePosixPath(key).parent): document
            for key, document in documents.items()
            if key != "zarr.json"
        }
        consolidated = {"kind": "inline", "must_understand": False, "metadata": inside}
        root = documents["zarr.json"] | {"consolidated_metadata": consolidated}
        (store / "zarr.json").write_text(json.dumps(root))
    return store


def _write_group(
    file: h5py.File,
    group: h5py.Group,
    store: Path,
    path: str,
    version: int,
    chunk: int,
    documents: dict[str, Any],
) -> None:
    attributes = {name: _json(file, value, version) for name, value in group.attrs.items()}
    links = []
    for name in group:
        where = f"{path}/{name}".lstrip("/")
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            links.append({"name": name, "path": link.path, "source": "."})
        elif isinstance(group[name], h5py.Group):
            _write_group(file, group[name], store, where, version, chunk, documents)
        else:
            _write_array(file, group[name], store, where, version, chunk, documents)
    if links:
        attributes["zarr_link" if version == 2 else "_LINKS"] = links
    if version == 2:
        documents[f"{path}/.zgroup".lstrip("/")] = {"zarr_format": 2}
        documents[f"{path}/.zattrs".lstrip("/")] = attributes
    else:
        documents[f"{path}/zarr.json".lstrip("/")] = {
            "zarr_format": 3,
            "node_type": "group",
            "attributes": attributes,
        }


def _write_array(
    file: h5py.File,
    dataset: h5py.Dataset,
    store: Path,
    path: str,
    version: int,
    chunk: int,
    documents: dict[str, Any],
) -> None:
    attributes = {name: _json(file, value, version) for name, value in dataset.attrs.items()}
    values, kind = _values(file, dataset)
    objects = None
    if values.dtype.kind == "O":
        objects = REFERENCES if kind == "object" and version == 2 else TEXT
    if version == 2:
        attributes["zarr_dtype"] = kind if dataset.shape else "scalar"
        values = values.reshape(dataset.shape or 1)
    elif kind == "object":
        attributes["_DTYPE"] = "object_reference"
        for at, item in np.ndenumerate(values):
            values[at] = item["path"]
    elif isinstance(kind, str):
        attributes["_DTYPE"] = kind
    shape = values.shape
    chunks = tuple(max(1, n if axis else min(chunk, n)) for axis, n in enumerate(shape))
    for number in np.ndindex(*(-(-n // c) for n, c in zip(shape, chunks, strict=True))):
        block = np.full(chunks, "" if objects is TEXT else 0, values.dtype)
        at = tuple(slice(i * c, (i + 1) * c) for i, c in zip(number, chunks, strict=True))
        part = np.asarray(values[at], values.dtype)
        block[(*(slice(0, n) for n in part.shape), ...)] = part
        key = ".".join(map(str, number)) if version == 2 else "/".join(["c", *map(str, number)])
        where = store / path / key
        where.parent.mkdir(parents=True, exist_ok=True)
        if objects is not None:
            where.write_bytes(GZIP.encode(objects.encode(block.reshape(-1))))
        else:
            where.write_bytes(GZIP.encode(block))
    if version == 2:
        documents[f"{path}/.zattrs"] = attributes
        documents[f"{path}/.zarray"] = {
            "zarr_format": 2,
            "shape": shape,
            "chunks": chunks,
            "dtype": "|O" if objects else _dtype_v2(values.dtype),
            "compressor": GZIP.get_config(),
            "filters": [objects.get_config()] if objects else None,
            "fill_value": "" if objects else None,
            "order": "C",
        }
    else:
        first_codec = {"name": "bytes", "configuration": {"endian": "little"}}
        documents[f"{path}/zarr.json"] = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": "string" if objects else _dtype_v3(values.dtype),
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": [
                {"name": "vlen-utf8"} if objects else first_codec,
                {"name": "gzip", "configuration": {"level": 1}},
            ],
            "fill_value": "" if objects else _fill_v3(values.dtype),
            "attributes": attributes,
        }


def _values(file: h5py.File, dataset: h5py.Dataset) -> tuple[np.ndarray, Any]:
    """The stored array and its `zarr_dtype`."""
    if h5py.check_ref_dtype(dataset.dtype) is not None:
        stored = np.empty(dataset.shape, dtype=object)
        for at, item in np.ndenumerate(dataset[()]):
            stored[at] = _reference(file, item)
        return stored, "object"
    if h5py.check_string_dtype(dataset.dtype) is not None:
        return np.asarray(dataset.asstr()[()], dtype=object), "str"
    if dataset.dtype.names is not None and dataset.dtype.hasobject:
        plain = [name for name in dataset.dtype.names if not dataset.dtype[name].hasobject]
        return dataset[()][plain].astype([(name, dataset.dtype[name]) for name in plain]), [
            {"name": name, "dtype": str(dataset.dtype[name])} for name in plain
        ]
    return np.asarray(dataset[()]), str(dataset.dtype)


def _dtype_v2(dtype: np.dtype) -> Any:
    return dtype.descr if dtype.names is not None else dtype.str


def _dtype_v3(dtype: np.dtype) -> Any:
    if dtype.names is None:
        return dtype.name
    fields = [{"name": name, "data_type": dtype[name].name} for name in dtype.names]
    return {"name": "struct", "configuration": {"fields": fields}}


def _fill_v3(dtype: np.dtype) -> Any:
    return 0 if dtype.names is None else dict.fromkeys(dtype.names, 0)


def _reference(file: h5py.File, reference: h5py.Reference) -> dict[str, Any]:
    return {"source": ".", "path": file[reference].name, "object_id": None}


def _json(file: h5py.File, value: Any, version: int) -> Any:
    if isinstance(value, h5py.Reference):
        reference = _reference(file, value)
        if version == 2:
            return {"zarr_dtype": "object", "value": reference}
        return {"_REFERENCE": {"source": ".", "path": reference["path"]}}
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return [_json(file, item, version) for item in value.tolist()]
    return value.item() if isinstance(value, np.generic) else value
