"""The groups and arrays of a Zarr store, from its metadata alone.

A local folder is walked, for consolidated metadata can be out of date; over http, where nothing can
be listed, they are needed.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from nwbdyn.errors import ReadError
from nwbdyn.nwb.zarr.array import Array, array_v2, array_v3
from nwbdyn.nwb.zarr.store import Store

V2 = (".zgroup", ".zarray", ".zattrs")
V3 = "zarr.json"
MAX_DEPTH = 64


@dataclass
class Node:
    """A group, or an array."""

    path: str  # "/" or "/units/id"
    attributes: dict[str, Any] = field(default_factory=dict)
    array: Array | None = None  # None for a group
    members: list[str] = field(default_factory=list)  # names in a group, sorted


def read_tree(store: Store) -> dict[str, Node]:
    """Every group and array by its path.

    Raises:
        ReadError: no Zarr store, metadata that make no sense, or none consolidated over http.
    """
    try:
        documents = _consolidated(store) if store.names("") is None else _walked(store)
        if documents is None:
            raise ReadError(
                f"{store.name} has no consolidated metadata (.zmetadata, or in zarr.json), without "
                "which a Zarr store cannot be read over http. Download it and give the folder."
            )
        nodes = _nodes(store, documents)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReadError(f"The metadata of {store.name} make no sense ({error}).") from error
    if "/" not in nodes:
        raise ReadError(f"{store.name} is no Zarr store: it has neither .zgroup nor zarr.json.")
    return nodes


def _consolidated(store: Store) -> dict[str, Any] | None:
    """Key -> document, as one request has them."""
    content = store.get(".zmetadata")
    if content is not None:
        return json.loads(content)["metadata"]
    content = store.get(V3)
    if content is None:
        return None
    root = json.loads(content)
    inside = (root.get("consolidated_metadata") or {}).get("metadata")
    if inside is None:
        return None
    return {V3: root} | {f"{path}/{V3}": document for path, document in inside.items()}


def _walked(store: Store) -> dict[str, Any]:
    """Key -> document, from every folder that is no array's."""
    documents: dict[str, Any] = {}
    todo = [""]
    while todo:
        folder = todo.pop()
        if folder.count("/") > MAX_DEPTH:
            continue
        names = store.names(folder.rstrip("/")) or []
        for name in names:
            if name in V2 or name == V3:
                documents[folder + name] = json.loads(store.get(folder + name) or b"null")
        is_array = ".zarray" in names or (
            V3 in names and documents[folder + V3].get("node_type") == "array"
        )
        if not is_array and any(name in names for name in (*V2, V3)):
            todo += [f"{folder}{name}/" for name in names if not name.startswith(".")]
    return documents


def _nodes(store: Store, documents: dict[str, Any]) -> dict[str, Node]:
    nodes: dict[str, Node] = {}
    for key, document in documents.items():
        folder, _, kind = key.rpartition("/")
        path = f"/{folder}"
        if kind == V3:
            is_array = document["node_type"] == "array"
            array = array_v3(store, folder, document) if is_array else None
            nodes[path] = Node(path, dict(document.get("attributes") or {}), array)
        elif kind in (".zgroup", ".zarray"):
            array = array_v2(store, folder, document) if kind == ".zarray" else None
            nodes[path] = Node(
                path, dict(documents.get(f"{key[: -len(kind)]}.zattrs") or {}), array
            )
    for path in sorted(nodes):
        parent, _, name = path.rpartition("/")
        if name and (parent or "/") in nodes:
            nodes[parent or "/"].members.append(name)
    return nodes
