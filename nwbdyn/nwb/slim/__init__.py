"""Copies of NWB files without their raw arrays."""
