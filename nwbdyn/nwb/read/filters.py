"""Compression filters that HDF5 knows only with a plugin: loaded where installed, else named."""

import importlib

import h5py

NAMES = {  # registered numbers of filters that hdf5plugin brings
    307: "bzip2",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32024: "sz3",
    32026: "blosc2",
}


def missing(dataset: h5py.Dataset) -> str | None:
    """Why the values of a dataset cannot be decompressed here, and what to do; None if they can."""
    if dataset.id is None or dataset.chunks is None:
        return None  # in a Zarr store, or not compressed
    listed = dataset.id.get_create_plist()
    used = [listed.get_filter(number) for number in range(listed.get_nfilters())]
    absent = [one for one in used if not _is_available(one[0])]
    if not absent:
        return None
    code, _, _, name = absent[0]
    called = NAMES.get(code) or name.decode("ascii", "replace").strip() or "unknown"
    if code in NAMES:
        advice = "install it with: pip install hdf5plugin"
    else:
        advice = "name another quantity, or install the HDF5 plugin of whoever wrote the file"
    return f"is compressed by the filter {called!r} ({code}), which is not here; {advice}"


def _is_available(code: int) -> bool:
    if h5py.h5z.filter_avail(code):
        return True
    try:
        importlib.import_module("hdf5plugin")  # registers its filters
    except ImportError:
        return False
    return bool(h5py.h5z.filter_avail(code))
