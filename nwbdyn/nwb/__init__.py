"""NWB files, read with h5py and written with pynwb."""

from nwbdyn import cache

cache.replace_unwritable()
