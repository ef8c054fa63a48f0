"""Zarr stores, local and over http: groups, attributes and arrays, read and never written.

Only what NWB files need of the format, versions 2 and 3. `open_store` finds the bytes, `read_tree`
the groups and arrays; nothing in a store can make Python run code.
"""

from nwbdyn.nwb.zarr.array import Array
from nwbdyn.nwb.zarr.store import Store, open_store
from nwbdyn.nwb.zarr.tree import Node, read_tree

__all__ = ["Array", "Node", "Store", "open_store", "read_tree"]
