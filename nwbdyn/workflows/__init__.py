"""Work over fits: joint fits, batches, sweeps, fetch, export, reproduction, upload."""

from nwbdyn import cache

cache.replace_unwritable()  # before pynwb is imported, which writes there
