"""Time-resolved connectivity, evaluated in NumPy from the cheapest form that is exact."""

from dataclasses import dataclass, field

import numpy as np

from nwbdyn.recording import Neurons


@dataclass(frozen=True)
class Connectivity:
    """Who helps predict whom, [..., post, pre]: row = receiver.

    `form` says what `arrays` hold:
    - "netformer": activity (num_bins, N) as the model saw it, parameters; the matrix at any bin is
      computed on demand;
    - "gain": A (N, N), g (num_windows, N): J(t) = g(t)[:, None] * A;
    - "attention": maps (num_windows, num_layers, N_in, N_in), row-stochastic, acausal;
    - "static": weight (N, N); "dense": weight (num_windows, N, N).
    """

    form: str
    time: np.ndarray  # (num_windows,) seconds; causal forms: time of the last input bin
    window: tuple[float, float]  # seconds (start, stop) of a window relative to `time`
    neurons: Neurons  # rows of every array that has an N axis (for attention: the held-in)
    measure: str  # in words, with units: "attention weight (no unit)", "z per z"
    causal: bool
    arrays: dict[str, np.ndarray]
    attributes: dict[str, float | int | str | bool] = field(default_factory=dict)
