"""Sample recordings of one case each: what is planted, and that a fit shows it at its defaults."""

import numpy as np
import pytest
from click.testing import CliRunner

import nwbdyn
from nwbdyn.cli import main
from nwbdyn.simulate import sample

LEVEL = 0.05


def test_a_spike_is_followed_by_others_after_the_delay_of_the_pair():
    recording, truth = sample("sample:spiking?duration=300")
    spikes, window = recording.activity, 0.002  # seconds around the delay
    for post, pre in np.argwhere(truth.coupling):
        sent, received = spikes.of(int(pre)), spikes.of(int(post))
        arrived = sent + truth.delays[post, pre]
        counts = np.diff(np.searchsorted(received, [arrived - window, arrived + window]), axis=0)
        chance = len(received) / 300 * 2 * window
        caused = counts.sum() / len(sent) - chance
        # a binomial of about 2,500 spikes has a standard error of .007
        assert abs(caused - truth.coupling[post, pre]) < 0.03


def test_delays_are_known_where_a_pair_is_coupled():
    for name in ("spiking", "frames"):
        _, truth = sample(f"sample:{name}?duration=60")
        assert np.array_equal(np.isfinite(truth.delays), truth.coupling != 0)
        assert np.nanmin(truth.delays) >= 0.002
        assert np.nanmax(truth.delays) <= 0.020
        assert truth.coupling.sum(axis=1).max() <= 0.6 + 1e-9


def test_frames_are_longer_than_every_delay():
    recording, truth = sample("sample:frames?duration=60")
    frame = np.diff(recording.activity.timestamps[:2])[0]
    assert frame == pytest.approx(0.2)
    assert frame > 5 * np.nanmax(truth.delays)


def test_three_senders_change_their_receivers_and_keep_their_weights():
    recording, truth = sample("sample:switching")
    engaged, idle = truth.couplings
    changed = np.flatnonzero((engaged != idle).any(axis=0))
    assert len(changed) == 3
    for sender in range(10):
        assert np.allclose(np.sort(engaged[:, sender]), np.sort(idle[:, sender]))
        assert engaged[sender, sender] == idle[sender, sender] == 0
    table = recording.intervals["task_state"]
    middle = (table["start_time"] + table["stop_time"]) / 2
    at = np.searchsorted(truth.time, middle)
    assert list(table["label"]) == [("engaged", "idle")[state] for state in truth.state[at]]
    assert (table["stop_time"] - table["start_time"])[:-1].min() >= 4.0 - 1e-9


def test_both_states_are_stable():
    for seed in range(5):
        _, truth = sample(f"sample:switching?steps=600&seed={seed}")
        for coupling in truth.couplings:
            assert np.abs(np.linalg.eigvals(0.5 * np.eye(10) + coupling)).max() <= 0.85 + 1e-9


# What the commands of docs/samples.md show; benchmarks/samples.py has the numbers of more seeds


def fitted(name: str, *more: str, folder) -> tuple[nwbdyn.Fit, str]:
    """A fit by the command line at its defaults, and what was printed."""
    run = folder / name
    words = ["fit", f"sample:{name}", "--model", "netformer", *more, "-o", str(run)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return nwbdyn.load(run), " ".join(done.stdout.split())


def matrix(fit: nwbdyn.Fit, kind: str, *, of_state: bool = False) -> np.ndarray:
    """(N, N) [post, pre] bool, edges at q <= LEVEL."""
    edges = fit.edges[(fit.edges["kind"] == kind) & (fit.edges["q"] <= LEVEL)]
    edges = edges[(edges["state"] != "") == of_state]
    ids = list(fit.neurons.table["id"])
    result = np.zeros((len(ids), len(ids)), bool)
    for edge in edges.itertuples():
        result[ids.index(edge.post_id), ids.index(edge.pre_id)] = True
    return result


@pytest.mark.slow
def test_delays_of_milliseconds_are_recovered(tmp_path):
    fit, _ = fitted("spiking", "--null", "jitter:20", folder=tmp_path)
    _, truth = sample("sample:spiking")
    called, links = matrix(fit, "directed"), truth.coupling != 0
    assert (called & links).sum() == links.sum()  # measured: 13 of 13, and one false
    assert (called & ~links).sum() <= 2
    ids = list(fit.neurons.table["id"])
    errors = [
        edge.peak_ms - 1000 * truth.delays[ids.index(edge.post_id), ids.index(edge.pre_id)]
        for edge in fit.edges[fit.edges["kind"] == "directed"].itertuples()
        if links[ids.index(edge.post_id), ids.index(edge.pre_id)]
    ]
    assert np.median(np.abs(errors)) <= 3.0  # ms; raised cosines are several wide


@pytest.mark.slow
def test_coupling_within_a_frame_is_called_simultaneous_and_not_directed(tmp_path):
    fit, _ = fitted("frames", "--null", "shift:20", folder=tmp_path)
    _, truth = sample("sample:frames")
    links = truth.coupling != 0
    upper = np.triu(np.ones(links.shape, bool), 1)
    links = (links | links.T) & upper
    called = matrix(fit, "simultaneous")
    called = (called | called.T) & upper
    assert (called & links).sum() >= 0.8 * links.sum()  # measured: 20 of 21, none false
    assert (called & ~links).sum() <= 2
    assert matrix(fit, "directed").sum() <= 0.2 * links.sum()


@pytest.mark.slow
def test_a_coupling_that_changes_with_the_state_is_called_a_pattern(tmp_path):
    fit, text = fitted("switching", "--states", "task_state", folder=tmp_path)
    assert "Coupling differs between engaged, idle in its pattern" in text
    _, truth = sample("sample:switching")
    called = matrix(fit, "directed", of_state=True)
    changed = truth.couplings[0] != truth.couplings[1]
    assert (called & changed).sum() >= 0.8 * changed.sum()
    assert (called & ~changed).sum() <= 2
