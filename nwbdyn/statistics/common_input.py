"""Common input: what the neurons still share once their own past and all others are known.

Unrecorded neurons, arousal and movement drive many neurons at once. They leave correlations in the
residuals of a model of the next bin, and edges between neurons that are not connected. Where every
neuron of a network is recorded, the residuals are independent. The measure is the first eigenvalue
of their correlations, minus its value by chance, divided by the number of neurons. In the networks
that the limit was chosen on, it was .05 to .07 where half of the neurons and three slow inputs were
not recorded, and at most .007 where all were. Small networks can exceed that (docs/trust.md).

Most variance of counts in short bins is the noise of single spikes. If rates share a relative
variance v, residuals of a mean count m share m v / (1 + m v) of theirs. So for counts the excess is
divided by the mean count: it is v, for any bin width.
"""

import numpy as np

from nwbdyn.baselines.ladder import Ladder
from nwbdyn.baselines.lagged_design import LaggedDesign
from nwbdyn.data.binning import Binned
from nwbdyn.results.sections.common_input import CommonInput

LIMIT = 0.015  # twice the largest excess of the networks on which it was chosen
FEWEST_NEURONS = 3
MOST_NEURONS = 2000  # above, the eigenvalue takes minutes


def common_input(binned: Binned, problem: LaggedDesign, ladder: Ladder) -> CommonInput | None:
    """Excess of the residuals of M2; None where fewer than 3 neurons vary."""
    residuals = residuals_of(binned, problem, ladder, "M2")
    varies = residuals.std(axis=0) > 0
    if int(varies.sum()) < FEWEST_NEURONS:
        return None
    excess = excess_eigenvalue(residuals[:, varies])
    if ladder.counts:
        excess /= float(np.nanmean(binned.values[problem.train][:, varies]))
    return CommonInput(excess, LIMIT, excess > LIMIT, of_rates=ladder.counts)


def excess_eigenvalue(residuals: np.ndarray) -> float:
    """First eigenvalue of the correlations minus chance, divided by the number of columns.

    By chance it is at most (1 + sqrt(N / n))^2 (Marchenko and Pastur 1967).

    Args:
        residuals: (n, N), no column constant.
    """
    num_rows, num_neurons = residuals.shape
    first = np.linalg.eigvalsh(np.corrcoef(residuals, rowvar=False))[-1]
    return float((first - (1 + np.sqrt(num_neurons / num_rows)) ** 2) / num_neurons)


def residuals_of(binned: Binned, problem: LaggedDesign, ladder: Ladder, rung: str) -> np.ndarray:
    """Residuals of a rung, (num_train, N); for counts divided by the square root of the rate."""
    linear = ladder[rung].linear[problem.train].astype(np.float64)
    if not ladder.counts:
        return problem.targets(problem.train) - linear
    rates = np.exp(np.minimum(linear, ladder.ceiling))
    return (np.nan_to_num(binned.values[problem.train]) - rates) / np.sqrt(rates)
