"""A fit on disk: the Fit, its run directory, its lock and its provenance."""
