"""Nested predictors of the next bin, from a neuron's own past to coupling and gain.

Each rung adds one kind of term to the rung below and is fitted to its residual (traces) or with its
log rate as an offset (counts): M0 autoregression, M1 nonlinear own dynamics, M2 additive coupling,
M3 own dynamics gated by the population, M4 a gain of each neuron's whole input. Every penalty comes
from one grid. A rung is used only where validation supports it; otherwise it equals the one below.
"""

from nwbdyn.baselines.ladder.climbing import climb
from nwbdyn.baselines.ladder.rung import RUNGS, Ladder, Rung
from nwbdyn.baselines.ladder.selection import Gain, is_above

__all__ = ["RUNGS", "Gain", "Ladder", "Rung", "climb", "is_above"]
