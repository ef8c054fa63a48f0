"""The Neural Latents Benchmark's seven data sets: recognised by their layout, cut as published.

Pei et al. 2021. A layout says which trial column the windows are aligned to, from when to when they
reach, and how far beyond them a model must predict. Trials of any other recording are aligned to
their start and cut to their median length.
"""

from nwbdyn.nlb import scores, submission
from nwbdyn.nlb.alignment import Aligned, align, first_bins, jitter
from nwbdyn.nlb.layouts import LAYOUTS, Layout, recognise
from nwbdyn.nlb.tensors import check_pair, held_in_counts, targets, tensors, units

__all__ = [
    "LAYOUTS",
    "Aligned",
    "Layout",
    "align",
    "check_pair",
    "first_bins",
    "held_in_counts",
    "jitter",
    "recognise",
    "scores",
    "submission",
    "targets",
    "tensors",
    "units",
]
