"""A Fit -> NWB objects and files."""
