"""Sections of metrics.json that a stage of a fit writes: one dataclass each, with its sentences."""
