"""Every benchmark script runs, at counts too small to mean anything, and its own sums are right."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nwbdyn.models.netformer import NetFormer

SCRIPTS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch, tmp_path):
    """Import a script; `run` calls its main and returns the page it leaves."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.delenv("NWBDYN_RESUME", raising=False)
    machine = importlib.import_module("machine")
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    threads = torch.get_num_threads()

    def run(module: ModuleType, *arguments: str, page: str | None = None) -> str:
        monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *arguments])
        module.main()
        return (tmp_path / f"{page or module.__name__}.md").read_text()

    def load(name: str) -> ModuleType:
        module = importlib.import_module(name)
        module.run = lambda *arguments, page=None: run(module, *arguments, page=page)
        return module

    yield load
    torch.set_num_threads(threads)


def test_a_finished_part_is_not_computed_again(script, monkeypatch, tmp_path):
    machine = script("machine")
    monkeypatch.setenv("NWBDYN_RESUME", str(tmp_path / "parts"))
    first = machine.finished("one", lambda: {"r": 0.5, "note": "x", "w": np.eye(2)})
    again = machine.finished("one", lambda: pytest.fail("computed again"))
    assert again["r"] == first["r"] == 0.5
    assert again["note"] == "x"
    np.testing.assert_array_equal(again["w"], np.eye(2))


# --- trained side by side -----------------------------------------------------------------------


def test_models_trained_side_by_side_end_where_each_would_alone(script):
    stacked, toys = script("stacked"), script("netformer_toys")
    systems = [toys.System("tanh-static", seed, 0.01) for seed in range(2)]
    training = [system.windows(slice(200)) for system in systems]
    config = NetFormer.configure(toys.LAYOUT, preset="toy")
    together = stacked.seeded(lambda: NetFormer(config, toys.LAYOUT), range(2))
    alone = stacked.seeded(lambda: NetFormer(config, toys.LAYOUT), range(2))
    stacked.train(together, training, epochs=2, batch_size=80, learning_rate=0.01)
    for seed, (model, batch) in enumerate(zip(alone, training, strict=True)):
        optimiser = torch.optim.Adam(model.parameters(), 0.01)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(2):
            for rows in torch.randperm(200, generator=generator).split(80):
                optimiser.zero_grad()
                predicted = model(batch).prediction[rows]
                F.mse_loss(predicted, batch.target[rows]).backward()
                optimiser.step()
        for name, value in model.state_dict().items():
            # Sums in another order, in float32, through 6 steps of Adam.
            torch.testing.assert_close(together[seed].state_dict()[name], value, rtol=0, atol=1e-4)


def test_toy_systems(script):
    page = script("netformer_toys").run("--seeds", "2", "--others", "2", "--epochs", "1")
    assert page.count("| NetFormer, 2 seeds |") == 4
    assert page.count("| 2 other systems: NetFormer |") == 4
    # Least squares of the published systems, as published beside NetFormer's scores.
    for scores in ("1.000 | 1.000", "0.907 | 0.894", "0.935 | 0.883", "0.650 | 0.682"):
        assert f"| OLS | {scores} |" in page


def test_a_task_that_is_not_in_the_shared_data_is_taken(script, monkeypatch, tmp_path):
    tasks = script("netformer_tasks")
    monkeypatch.setattr(tasks, "NUM_TRAIN", 30)
    monkeypatch.setattr(tasks, "NUM_FIT", 20)
    folder = tmp_path / "DelayComparison" / "rnn12"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    weight, inward = random.normal(size=(12, 12)) / 4, random.normal(size=(12, 2))
    inputs = random.normal(size=(40, 10, 2)).astype(np.float32)
    hidden = np.zeros((40, 10, 12), np.float32)
    for k in range(9):
        hidden[:, k + 1] = np.tanh(hidden[:, k] @ weight.T + inputs[:, k + 1] @ inward.T)
    np.save(folder / "hidden_activity_alltrials.npy", hidden)
    np.save(folder / "inputs_alltrials.npy", inputs)
    np.save(folder / "W_hidden_GT.npy", weight)
    page = tasks.run(str(tmp_path), "--seeds", "2", "--oracle-seeds", "2", "--epochs", "1")
    assert "| task_delay | OLS of arctanh | 1.000 | 1.000 |" in page
    assert "paper's form, attention, seed 1" in page
    assert "oracle link, attention, seed 1" in (tmp_path / "netformer_oracle.md").read_text()


def test_the_prediction_interval_is_that_of_another_mean(script):
    tasks = script("netformer_tasks")
    random = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        seen = random.normal(size=20)
        low, high = tasks.interval(seen, 5)
        inside += low < random.normal(size=5).mean() < high
    assert inside / 2000 == pytest.approx(0.95, abs=0.015)  # 3 standard errors


def test_the_row_of_the_voltage_is_that_of_the_whole_model(script):
    stdp = script("netformer_stdp")
    neuron = stdp.Neuron(1000)
    config = NetFormer.configure(neuron.layout, preset="stdp", queries=(0,))
    model = NetFormer(config, neuron.layout)
    torch.nn.init.normal_(model.norm_in.weight)
    torch.nn.init.normal_(model.norm_in.bias)
    batch = neuron.windows(torch.arange(4, 20), config.history)
    predicted, attention = stdp.voltage_row(model, batch.activity)
    # Sums of some hundred products in another order, float32.
    torch.testing.assert_close(predicted, model(batch).prediction[:, 0, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(attention, model.attention(batch)[:, 0], rtol=1e-4, atol=1e-3)


def test_stdp(script):
    page = script("netformer_stdp").run("--seeds", "2", "--steps", "2000", "--epochs", "1")
    assert "lagged regression" in page


# --- worms --------------------------------------------------------------------------------------


def test_names_that_say_nothing_give_a_p_that_is_not_small(script):
    worms = script("worms")
    random = np.random.default_rng(0)
    names, types = np.array([f"N{k}" for k in range(30)]), np.repeat(["a", "b"], 15)
    edges = random.random((30, 30)) < 0.1
    pairs = {frozenset((names[i], names[j])) for i, j in np.argwhere(edges) if i != j}
    wired = (edges | edges.T) + 0.1 * random.normal(size=(30, 30))
    auroc, null, p = worms.against_connectome(wired, names, types, pairs, 0)
    assert auroc > 0.95
    assert abs(null - 0.5) < 0.05
    assert p < 0.01
    *_, p = worms.against_connectome(random.normal(size=(30, 30)), names, types, pairs, 0)
    assert p > 0.05


def test_the_mean_of_a_block_explains_nothing_about_it(script):
    worms = script("worms")
    random = np.random.default_rng(0)
    block = np.repeat([0, 1, -1], 50)
    values = random.normal(size=(150, 3)) + 10 * block[:, None]
    used = block >= 0
    about = worms.centred(values, block, used)
    mean = np.where(used[:, None], values - about, np.nan)
    assert worms.r2_about_blocks(values, mean, about) == pytest.approx(0)
    assert worms.r2_about_blocks(values, values, about) == 1


def test_an_autoregression_has_as_many_samples_as_theory_says(script):
    worms = script("worms")
    random = np.random.default_rng(0)
    values = np.zeros((20_000, 5))
    for t in range(1, len(values)):
        values[t] = 0.8 * values[t - 1] + random.normal(size=5)
    block = np.zeros(len(values), int)
    about = worms.centred(values, block, block == 0)
    expected = len(values) * (1 - 0.8) / (1 + 0.8)
    assert worms.effective_samples(about, block) == pytest.approx(expected, rel=0.15)


@pytest.mark.slow
def test_worms(script, data):
    short = ["--set", "netformer.epochs=1", "--set", "synapsnet.updates=5"]
    name = "worms_netformer.epochs_1_synapsnet.updates_5"
    page = script("worms").run(str(data), "--worms", "1", "--folds", "1", *short, page=name)
    assert "combined (Fisher)" in page


def test_the_connectome_of_a_file_is_undirected_and_padded(script, tmp_path):
    file = tmp_path / "wiring.json"
    entries = [("VB2", "DD3", 0), ("DD3", "VB2", 0), ("AVAL", "AVAR", 2)]
    file.write_text(
        json.dumps([{"pre": a, "post": b, "typ": t, "syn": [1]} for a, b, t in entries])
    )
    names, pairs = script("worms").chemical(file)
    assert names == {"VB02", "DD03", "AVAL", "AVAR"}
    assert pairs == {frozenset(("VB02", "DD03"))}


# --- simulated wiring and spikes ----------------------------------------------------------------


def test_synapsnet(script, monkeypatch):
    synapsnet = script("synapsnet")
    monkeypatch.setattr(synapsnet, "SYSTEMS", {"ca": (12, 400, 1), "poisson": (12, 600, 1)})
    page = synapsnet.run("--systems", "ca", "poisson", "--runs", "1", "--updates", "5")
    assert "AR deconvolution + lasso" in page
    assert "Poisson GLM" in page


def test_means_between_types_leave_the_diagonal_out(script):
    cell_types = script("cell_types")
    weights = np.array([[100.0, 1, 2, 2], [3, 100, 4, 4], [5, 7, 100, 8], [5, 7, 9, 100]])
    actual = cell_types.by_type(weights, np.array(["a", "a", "b", "b"]))
    np.testing.assert_allclose(actual, [[2, 3], [6, 8.5]])


@pytest.mark.slow
def test_cell_types(script):
    page = script("cell_types").run("--systems", "constrained", "--steps", "1500", "--epochs", "1")
    assert "sign of the sender" in page


def test_spikes_of_a_chaotic_network(script, monkeypatch):
    spikes = script("stndt_spikes")
    small = "sample:chaotic?neurons=24&conditions=4&trials=10"
    monkeypatch.setattr(spikes, "SYSTEMS", {"chaotic": (small, {"context": 50, "layers": 1})})
    page = spikes.run(
        *("--systems", "chaotic", "--seeds", "2", "--updates", "2"), page="stndt_spikes_chaotic"
    )
    assert "| true rates |" in page
    assert "of 2 seeds averaged" in page


@pytest.mark.slow
def test_lorenz(script, data):
    folder = str(data / "simulated" / "lorenz48")
    page = script("stndt_lorenz").run(folder, "--seeds", "0", "--without", "--updates", "8")
    assert "smoothing + GLM" in page


def test_a_fit_that_is_refused_says_why_on_the_page(script, data):
    page = script("recordings").run(str(data), "--only", "thalamus", "--models", "stndt")
    assert "co-smoothing needs 5 held-out and 5 held-in" in page
    assert "| stndt | refused: nwbdyn: " in page


def test_without_a_gpu_there_is_nothing_to_measure(script):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    gpu = script("gpu")
    with pytest.raises(SystemExit, match="No CUDA device"):
        gpu.run()


@pytest.mark.slow
# torch.compile looks at the gradient of every tensor, and hides its own warning only by a filter
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")
def test_every_part_of_the_gpu_benchmark_runs_dry(script, monkeypatch, capsys, tmp_path):
    gpu = script("gpu")
    monkeypatch.setattr(gpu.STNDT, "compiler", gpu.STNDT.compiler)  # a dry run changes it
    arguments = ["gpu.py", "--dry-run", "--rounds", "1", "--seeds", "2"]
    monkeypatch.setattr(sys, "argv", arguments)
    gpu.main()
    reported = capsys.readouterr().out
    assert "these numbers mean nothing" in reported
    assert "Validation co-bps of 2 seeds" in reported
    assert "an epoch of" in reported
    assert not (tmp_path / "gpu.md").exists()


# --- edges --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_edges_of_independent_neurons_have_a_page_of_their_own(script):
    edges = script("edges")
    options = ("--recordings", "1", "--systems", "independent")
    page = edges.run(*options, page="independent_netformer")
    (row,) = [line for line in page.splitlines() if line.startswith("| 8 neurons, AR(1), 800")]
    assert row.split(" | ")[1] == "1"
    assert row.split(" | ")[-2] == "60 to 60"


def test_shares_of_networks_and_of_independent_recordings(script):
    edges = script("edges")
    links = np.array([[0, 1], [0, 0]], dtype=bool)
    both = np.array([[0, 1], [1, 0]], dtype=bool)
    none = np.zeros((2, 2), dtype=bool)
    each = [edges.Outcome(links, both, 0, True, 0.01), edges.Outcome(links, none, 2, False, -0.02)]
    number, given, false, right, excess = edges.of_network(each)
    assert (number, given, excess) == (2, 1, "-0.020 to 0.010")
    assert false.startswith("0.500 [0.01, 0.99] of 2")
    assert right.startswith("0.500 [0.01, 0.99] of 2")
    cells = edges.of_independent(each)
    assert [cell[:5] for cell in cells[2:]] == ["0.500", "0.500", "0.500"]


@pytest.mark.parametrize(
    ("system", "kind", "linked"),
    [
        ("delays heavy", "roi", True),
        ("spikes hidden", "unit", True),
        ("independent drift", "roi", False),
        ("independent spikes", "unit", False),
    ],
)
def test_recordings_of_edges_have_the_links_of_their_system(script, system, kind, linked):
    recording, links = script("edges").made(system, 0, 0.02)
    assert recording.neurons.kind == kind
    assert links.shape == (len(recording.neurons),) * 2
    assert bool(links.any()) is linked
