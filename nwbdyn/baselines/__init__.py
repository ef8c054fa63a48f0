"""Simple methods that predict the same bins from the same inputs as the model.

`next_bin` stands beside models that predict the next bin, `co_smoothing` beside models that
predict held-out neurons. Both return dict[str, Baseline]: the row's name in a printed table ->
its prediction and what was chosen on validation. Everything is fitted on training bins only;
orders, penalties and filters are chosen on validation bins; test bins are only predicted.
"""

from nwbdyn.baselines.baseline import Baseline
from nwbdyn.baselines.held_out import co_smoothing, smoothed
from nwbdyn.baselines.history import next_bin
from nwbdyn.baselines.of_windows import co_smoothing_of

__all__ = ["Baseline", "co_smoothing", "co_smoothing_of", "next_bin", "smoothed"]
