"""Networks whose couplings are known, for `couplings.py` and `edges.py`.

Several networks are simulated at once, as blocks of one step, because a step of Python costs more
than the arithmetic of a network.
"""

from dataclasses import dataclass

import numpy as np

DELAYS = range(1, 5)  # ms


@dataclass(frozen=True)
class Cells:
    """Parameters of spiking units, times in ms."""

    rate: tuple[float, float]  # per second: mean, spread of the logarithm
    amplitude: float  # of a synapse, log units
    decay: float  # of a synapse
    refractory: float  # log units
    recovery: float
    inhibition: bool


CELLS = {
    "regular": Cells((2.1, 0.15), 2.2, 6.0, 7.0, 110.0, False),
    "irregular": Cells((4.0, 0.5), 1.2, 3.0, 4.0, 4.0, True),
    "slow synapses": Cells((2.0, 0.5), 1.8, 10.0, 5.0, 30.0, True),
}


def spiking(
    kind: str, seed: int, *, networks: int, units: int = 20, seconds: float = 1800.0
) -> list[tuple[list[np.ndarray], np.ndarray]]:
    """Spike times of each unit in seconds, and weights [post, pre], of several networks.

    Rates are exponentials of synaptic input, own refractoriness and two slow common inputs (60 and
    400 ms) on a grid of 1 ms; synapses have delays of 1 to 4 ms; a pair is coupled with 5 %.
    """
    draw, cells = np.random.default_rng([seed, *kind.encode()]), CELLS[kind]
    number = networks * units
    weights, delay = np.zeros((number, number)), draw.integers(1, 5, (number, number))
    for k in range(networks):
        part = slice(k * units, (k + 1) * units)
        coupled = (draw.random((units, units)) < 0.05) & ~np.eye(units, dtype=bool)
        size = np.exp(draw.normal(0, 0.25, (units, units)))
        signs = np.where(draw.random(units) < 0.2, -1.5, 1.0) if cells.inhibition else 1.0
        weights[part, part] = coupled * size * signs
    outgoing = {d: np.ascontiguousarray((weights * (delay == d)).T) for d in DELAYS}
    base = np.log(np.exp(draw.normal(np.log(cells.rate[0]), cells.rate[1], number)) / 1000)
    loading = draw.normal(0, 0.35, (number, 2))
    keep = np.exp(-1 / np.array([60.0, 400.0]))
    network = np.repeat(np.arange(networks), units)
    common = np.zeros((networks, 2))
    waiting = np.zeros((len(DELAYS) + 1, number))
    synapse, tired = np.zeros(number), np.zeros(number)
    fired: list[tuple[int, int]] = []
    for step in range(int(1000 * seconds)):
        common = keep * common + np.sqrt(1 - keep**2) * draw.normal(size=common.shape)
        drive = base + (loading * common[network]).sum(axis=1)
        rate = np.exp(drive + cells.amplitude * synapse - cells.refractory * tired)
        spikes = np.flatnonzero(draw.random(number) < rate)
        synapse = synapse * np.exp(-1 / cells.decay) + waiting[0]
        tired *= np.exp(-1 / cells.recovery)
        waiting[:-1] = waiting[1:]
        waiting[-1] = 0
        tired[spikes] = 1.0
        for unit in spikes:
            fired.append((step, int(unit)))
            for d in DELAYS:
                waiting[d - 1] += outgoing[d][unit]
    steps, who = np.array(fired).T
    times = (steps + draw.random(len(steps))) / 1000
    return [
        (
            [np.sort(times[who == k * units + unit]) for unit in range(units)],
            weights[k * units : (k + 1) * units, k * units : (k + 1) * units],
        )
        for k in range(networks)
    ]


def bursting(
    seed: int, *, networks: int, neurons: int = 100, seconds: float = 600.0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Fluorescence (frames of 20 ms, N) and links [post, pre] of bursting cultures.

    Leaky integrate-and-fire neurons on the unit square, linked with a chance that falls with
    distance (density .1), synapses that tire, a decay of calcium of 1 s, saturation, noise, and
    light that scatters to neighbours, after the model of Stetter et al. (2012).
    """
    draw = np.random.default_rng(seed)
    places = draw.random((networks, neurons, 2))
    apart = np.sqrt(np.square(places[:, :, None] - places[:, None]).sum(axis=-1))
    chance = np.exp(-np.square(apart / 0.45)) * ~np.eye(neurons, dtype=bool)
    chance *= 0.1 * neurons * (neurons - 1) / chance.sum(axis=(1, 2), keepdims=True)
    links = draw.random(chance.shape) < chance  # (networks, post, pre)
    outgoing = links.transpose(0, 2, 1).astype(float)
    shape = (networks, neurons)
    voltage, current = draw.uniform(-5, 10, shape), np.zeros(shape)
    vigour, rest, arriving = np.ones(shape), np.zeros(shape), np.zeros((2, *shape))
    counts = np.zeros((int(50 * seconds), *shape))
    for step in range(int(1000 * seconds)):
        current = current * np.exp(-1 / 10) + arriving[0]
        arriving[0], arriving[1] = arriving[1], 0
        kicks = 7.0 * draw.poisson(0.028, shape)
        voltage += -voltage / 20 + current / 20 + kicks * (rest <= 0)
        voltage[rest > 0] = 0
        rest -= 1
        vigour += (1 - vigour) / 2800
        spikes = voltage >= 20
        if spikes.any():
            arriving[1] += 28 * np.einsum("ki,kij->kj", spikes * vigour, outgoing)
            vigour -= 0.4 * spikes * vigour
            voltage[spikes], rest[spikes] = 0, 2
            counts[step // 20] += spikes
    calcium = np.zeros_like(counts)
    for frame in range(1, len(counts)):
        calcium[frame] = 0.98 * calcium[frame - 1] + counts[frame]
    bright = calcium / (calcium + 6) + 0.03 * draw.normal(size=calcium.shape)
    scatter = 0.15 * np.exp(-np.square(apart / 0.15)) * ~np.eye(neurons, dtype=bool)
    return [(bright[:, k] + bright[:, k] @ scatter[k], links[k]) for k in range(networks)]


def lagged(
    seed: int, *, neurons: int = 24, bins: int = 2000, heavy: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Traces (bins, N) and links [post, pre] of a linear network with delays of 1 to 3 bins."""
    draw = np.random.default_rng(seed)
    links = (draw.random((neurons, neurons)) < 0.1) & ~np.eye(neurons, dtype=bool)
    delay = draw.integers(1, 4, links.shape)
    sign = np.where(draw.random(neurons) < 0.2, -1, 1)
    weights = links * sign * draw.uniform(0.15, 0.35, links.shape)
    by_delay = [weights * (delay == d) for d in (1, 2, 3)]
    own = 0.5
    companion = np.zeros((3 * neurons, 3 * neurons))
    companion[:neurons] = np.hstack([own * np.eye(neurons) + by_delay[0], *by_delay[1:]])
    companion[neurons:, :-neurons] = np.eye(2 * neurons)
    shrink = min(0.95 / np.abs(np.linalg.eigvals(companion)).max(), 1.0)
    own *= shrink
    by_delay = [shrink ** (d + 1) * one for d, one in enumerate(by_delay)]
    x = np.zeros((bins + 200, neurons))
    for t in range(3, len(x)):
        noise = draw.standard_t(4, neurons) if heavy else draw.normal(size=neurons)
        x[t] = own * x[t - 1] + noise
        x[t] += sum(one @ x[t - 1 - d] for d, one in enumerate(by_delay))
    return x[200:], links


def refractory(
    seed: int,
    *,
    units: int = 24,
    bins: int = 4000,
    unrecorded: int = 0,
    shared: float = 0.0,
    linked: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Spikes (bins, N) of 0 or 1 and links [post, pre], with delays of 1 to 3 bins.

    The log rate of a unit sums its input and its own last three bins, which inhibit it.

    Args:
        unrecorded: more units, of which nothing is returned.
        shared: standard deviation of the weights, in the log rates, of three slow inputs (AR(.95)
            of unit variance).
        linked: False for units without couplings, each with a slow input of its own (AR(.99) with a
            standard deviation of .5 in the log rate).
    """
    draw, total = np.random.default_rng(seed), units + unrecorded
    links = (draw.random((total, total)) < 0.1 * linked) & ~np.eye(total, dtype=bool)
    delay = draw.integers(1, 4, links.shape)
    sign = np.where(draw.random(total) < 0.2, -1, 1)
    weights = links * sign * draw.uniform(0.5, 1.2, links.shape)
    base = np.log(draw.uniform(0.05, 0.25, total))
    by_delay = [weights * (delay == d) for d in (1, 2, 3)]
    loading, keep = np.zeros((total, 0)), 0.95
    if shared:
        loading = shared * draw.normal(size=(total, 3))
    if not linked:
        loading, keep = 0.5 * np.eye(total), 0.99
    slow = np.zeros(loading.shape[1])
    x = np.zeros((bins + 100, total))
    for t in range(3, len(x)):
        slow = keep * slow + np.sqrt(1 - keep**2) * draw.normal(size=len(slow))
        rate = base - 3 * x[t - 1] - 1.5 * x[t - 2] - 0.7 * x[t - 3] + loading @ slow
        rate += sum(one @ x[t - 1 - d] for d, one in enumerate(by_delay))
        x[t] = draw.random(total) < 1 - np.exp(-np.exp(np.minimum(rate, 1)))
    seen = np.sort(draw.permutation(total)[:units]) if unrecorded else np.arange(total)
    return x[100:, seen], links[np.ix_(seen, seen)]


def independent(
    seed: int, *, neurons: int = 8, frames: int = 800, drift: bool = False
) -> np.ndarray:
    """Traces (frames, N) of AR(1) processes with nothing in common.

    Args:
        drift: each has a slow course of its own beside it (AR(.995) of the same size).
    """
    draw = np.random.default_rng(seed)
    keep = draw.uniform(0.2, 0.9, neurons)
    x, slow = np.zeros((2, frames + 100, neurons))
    for t in range(1, len(x)):
        x[t] = keep * x[t - 1] + draw.normal(size=neurons)
        if drift:
            slow[t] = 0.995 * slow[t - 1] + 0.1 * draw.normal(size=neurons)
    return (x / x.std(axis=0) + drift * slow)[100:]


def calcium(spikes: np.ndarray, seed: int) -> np.ndarray:
    """Fluorescence of spikes: decays of .8 to .95 per bin, and noise of .15 sd."""
    draw = np.random.default_rng(seed)
    keep = draw.uniform(0.8, 0.95, spikes.shape[1])
    level = np.zeros(spikes.shape)
    for t in range(1, len(spikes)):
        level[t] = keep * level[t - 1] + spikes[t]
    return level + 0.15 * level.std(axis=0) * draw.normal(size=level.shape)


def alternating(
    kind: str, seed: int, *, neurons: int = 10, bins: int = 4000, dwell: int = 100
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Traces, states (bins,) and weights in the second state less those in the first.

    Changes: "flip" of one sender, "rewiring", "half off", "gain" times .4. Constant weights:
    "constant", "white" (shared white drive in one state), "saturating" (and more drive in one
    state), "coloured" (AR(.7) drive whose strength differs), "observation noise" that differs.
    """
    draw = np.random.default_rng([seed, *kind.encode()])
    size = draw.uniform(0.15, 0.35, (neurons, neurons))
    weights = (draw.random(size.shape) < 0.3) * draw.choice([-1, 1], size.shape) * size
    np.fill_diagonal(weights, 0)
    others = weights.copy()
    if kind == "flip":
        others[:, np.argmax((weights != 0).sum(axis=0))] *= -1
    elif kind == "rewiring":
        others = weights[:, draw.permutation(neurons)].copy()
        np.fill_diagonal(others, 0)
    elif kind == "half off":
        edges = draw.permutation(np.argwhere(weights))
        others[tuple(edges[: len(edges) // 2].T)] = 0
    elif kind == "gain":
        others = 0.4 * weights
    own = 0.5 * np.eye(neurons)
    largest = max(np.abs(np.linalg.eigvals(own + one)).max() for one in (weights, others))
    shrink = min(0.85 / largest, 1.0)
    state = np.arange(bins) // dwell % 2
    loading, coloured = draw.normal(size=(neurons, 2)), np.zeros(neurons)
    x = np.zeros((bins, neurons))
    for t in range(1, bins):
        second = state[t] == 1
        given = (others if second else weights) @ x[t - 1]
        noise = draw.normal(size=neurons)
        if kind == "white" and second:
            noise = noise + 0.8 * loading @ draw.normal(size=2)
        elif kind == "saturating":
            given, noise = np.tanh(1.5 * given), noise * (1.8 if second else 0.7)
        elif kind == "coloured":
            coloured = 0.7 * coloured + draw.normal(size=neurons) * (1.5 if second else 0.3)
            noise = noise + coloured
        x[t] = shrink * (0.5 * x[t - 1] + given) + noise
    if kind == "observation noise":
        x = x + draw.normal(size=x.shape) * np.where(state, 1.0, 0.2)[:, None]
    return x, state, others - weights


def slow(draw: np.random.Generator, bins: int, period: int) -> np.ndarray:
    """(bins,) random walk without periods below `period`; mean 0, sd 1."""
    steps = np.cumsum(draw.normal(size=bins + 4 * period))
    line = np.linspace(steps[0], steps[-1], len(steps))
    spectrum = np.fft.rfft(steps - line)
    spectrum[np.fft.rfftfreq(len(steps)) > 1 / period] = 0
    walk = (np.fft.irfft(spectrum, len(steps)) + line)[2 * period : 2 * period + bins]
    return (walk - walk.mean()) / walk.std()


def drifting(
    kind: str, seed: int, *, neurons: int = 10, bins: int = 4000, period: int = 1000
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Traces, weights (bins, N, N) and which of them change; periods of `period` and more.

    Changes: "walk" of every weight, "sine" likewise, with an sd of a fifth of the weights' size;
    "few": a fifth of the weights walk with an sd of .7 of that size. Constant weights: "constant",
    "memory", "mean" and "noise" of each neuron that drift, "common input" whose size drifts,
    "saturating" with drifting means, "observation noise" that drifts.
    """
    draw = np.random.default_rng([seed, *kind.encode()])
    size = draw.uniform(0.15, 0.35, (neurons, neurons))
    weights = (draw.random(size.shape) < 0.3) * draw.choice([-1, 1], size.shape) * size
    np.fill_diagonal(weights, 0)
    edges = draw.permutation(np.argwhere(weights))
    unit = np.sqrt(np.square(weights[weights != 0]).mean())
    course = np.repeat(weights[None], bins, axis=0)
    changing = {"walk": len(edges), "sine": len(edges), "few": len(edges) // 5}.get(kind, 0)
    for post, pre in edges[:changing]:
        angle = 2 * np.pi * (np.arange(bins) / (period * draw.uniform(1, 2)) + draw.random())
        shape = np.sqrt(2) * np.sin(angle) if kind == "sine" else slow(draw, bins, period)
        course[:, post, pre] += (0.7 if kind == "few" else 0.2) * unit * shape
    own = 0.5 * np.eye(neurons)
    largest = max(np.abs(np.linalg.eigvals(own + one)).max() for one in course[::100])
    shrink = min(0.85 / largest, 1.0)
    course *= shrink

    def each() -> np.ndarray:
        return np.stack([slow(draw, bins, period) for _ in range(neurons)], axis=1)

    memory = 0.5 * shrink + (0.15 * each() if kind == "memory" else 0)
    memory = np.broadcast_to(memory, (bins, neurons))
    mean = each() if kind in ("mean", "saturating") else np.zeros((bins, neurons))
    noise = np.exp(0.5 * each()) if kind == "noise" else np.ones((bins, neurons))
    shared = 0.8 * np.exp(0.5 * slow(draw, bins, period)) * (kind == "common input")
    loading = draw.normal(size=(neurons, 2))
    x = np.zeros((bins, neurons))
    for t in range(1, bins):
        away = x[t - 1] - mean[t - 1]
        sent = np.tanh(1.5 * x[t - 1]) if kind == "saturating" else away
        x[t] = mean[t] + memory[t] * away + course[t] @ sent + noise[t] * draw.normal(size=neurons)
        x[t] += shared[t] * (loading @ draw.normal(size=2))
    if kind == "observation noise":
        x = x + 0.5 * np.exp(0.5 * each()) * draw.normal(size=x.shape)
    which = np.zeros(weights.shape, bool)
    which[tuple(edges[:changing].T)] = True
    return x, course, which
