"""An HDF5 NWB file written again as a Zarr store, by hand, in hdmf-zarr's layout."""

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
    attributes = {name: _json(file, value) for name, value in group.attrs.items()}
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
        attributes["zarr_link"] = links
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
    attributes = {name: _json(file, value) for name, value in dataset.attrs.items()}
    values, kind = _values(file, dataset)
    attributes["zarr_dtype"] = kind
    if not dataset.shape:
        attributes["zarr_dtype"] = "scalar"
        values = values.reshape(1)
    objects = None
    if values.dtype.kind == "O":
        objects = REFERENCES if kind == "object" else TEXT
    shape = values.shape
    chunks = (max(1, min(chunk, shape[0])), *(max(1, n) for n in shape[1:]))
    for first in range(0, shape[0], chunks[0]) if values.size else ():
        block = np.full(chunks, "" if objects is TEXT else 0, values.dtype)
        part = values[first : first + chunks[0]]
        block[: len(part)] = part
        number = (first // chunks[0], *(0 for _ in shape[1:]))
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
        if objects is not None:
            first_codec = {"name": "vlen-utf8" if objects is TEXT else "numcodecs.json2"}
        documents[f"{path}/zarr.json"] = {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": "string" if objects else _dtype_v3(values.dtype),
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "codecs": [
                first_codec,
                {"name": "gzip", "configuration": {"level": 1}},
            ],
            "fill_value": "" if objects else 0,
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
    fields = [[name, dtype[name].name] for name in dtype.names]
    return {"name": "structured", "configuration": {"fields": fields}}


def _reference(file: h5py.File, reference: h5py.Reference) -> dict[str, Any]:
    return {"source": ".", "path": file[reference].name, "object_id": None}


def _json(file: h5py.File, value: Any) -> Any:
    if isinstance(value, h5py.Reference):
        return {"zarr_dtype": "object", "value": _reference(file, value)}
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, np.ndarray):
        return [_json(file, item) for item in value.tolist()]
    return value.item() if isinstance(value, np.generic) else value
