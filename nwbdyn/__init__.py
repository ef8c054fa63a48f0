"""nwbdyn: what the neurons in an NWB recording say about one another.

Public names resolve on first use, so importing the package imports no torch, pynwb, h5py or dandi.
"""
