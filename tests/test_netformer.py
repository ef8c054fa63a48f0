"""NetFormer against its equations, written out with every N x N matrix in float64."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from nwbdyn.connectivity.forms import NetFormerForm
from nwbdyn.models.base import Batch, Layout
from nwbdyn.models.netformer import PRESETS, NetFormer

TRACES = Layout(
    neuron_ids={"0": (0, 1, 2, 3, 4, 5)}, held_in={"0": (True,) * 6}, bin_width=0.25, quantity="dff"
)
COUNTS = replace(TRACES, quantity="counts", bin_width=0.02)
PAPER = {
    **{"history": 7, "embedding": 4, "layer_norm": True, "raw_values": False},
    **{"start": 1.0, "ridge": 0.0},
}


def make(layout: Layout = TRACES, seed: int = 0, **options) -> NetFormer:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        options = {"preset": "paper"} | options
        model = NetFormer(NetFormer.configure(layout, **options), layout)
        for parameter in model.parameters():  # no gain, bias or constant at a special value
            parameter.data += 0.1 * torch.randn_like(parameter)
    return model.double()


def make_batch(model: NetFormer, num_windows: int = 3, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    layout = model.layout
    session, ids = next(iter(layout.neuron_ids.items()))
    history, num_neurons = model.config.history, len(ids)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    activity, target = draw(num_windows, history, num_neurons), draw(num_windows, 1, num_neurons)
    if layout.counts:
        activity, target = activity.abs(), target.abs().round()
    return Batch(
        activity=activity,
        target=target,
        valid=torch.rand(target.shape, generator=generator) < 0.8,
        held_in=torch.ones(num_neurons, dtype=torch.bool),
        neuron_ids=torch.tensor(ids),
        covariates=draw(num_windows, history, layout.num_covariates),
        start_bin=torch.arange(num_windows),
        session=session,
    )


def layer_norm(x: Tensor, norm: torch.nn.LayerNorm) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        norm.weight * centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5) + norm.bias
    )


def oracle(model: NetFormer, batch: Batch) -> tuple[Tensor, Tensor]:
    """The linear part (B, N) and the whole A (B, N, M), token by token from the equations."""
    H, config = model.config.history, model.config
    N = batch.activity.shape[2]
    x = torch.cat([batch.activity, batch.covariates], dim=2).transpose(1, 2)
    e = torch.cat([model.embedding[batch.neuron_ids], model.covariate_embedding])
    z = torch.cat([x, e.expand(len(x), -1, -1)], dim=2)
    seen = torch.cat([torch.zeros_like(x), z[..., H:]], dim=2) if config.static else z
    if config.layer_norm:
        z, seen = layer_norm(z, model.norm_in), layer_norm(seen, model.norm_in)
    v = x if config.raw_values else z[..., :H]
    scale = config.scale or 1 / math.sqrt(H + config.embedding)
    A = scale * torch.einsum("pd,bid,pe,bje->bij", model.query, seen[:, :N], model.key, seen)
    if not config.coupling:
        A = A * torch.cat([torch.eye(N), torch.ones(N, A.shape[2] - N)], dim=1)
    kept = torch.ones(N) if model.retention is None else model.retention[batch.neuron_ids]
    u = kept[:, None] * v[:, :N] + torch.einsum("bij,bjh->bih", A, v)
    if config.layer_norm and not config.raw_values:
        u = layer_norm(u, model.norm_out)
    linear = u[..., -1]
    return linear if model.baseline is None else linear + model.baseline[batch.neuron_ids], A


VARIANTS = {
    "paper": (TRACES, PAPER),
    "covariates": (replace(TRACES, num_covariates=2), PAPER),
    "raw values": (TRACES, PAPER | {"raw_values": True}),
    "retention": (TRACES, PAPER | {"retention": True}),
    "raw values, retention": (TRACES, PAPER | {"raw_values": True, "retention": True}),
    "no layer norm": (TRACES, PAPER | {"layer_norm": False}),
    "no layer norm, H = 1": (TRACES, PAPER | {"layer_norm": False, "history": 1, "scale": 1.0}),
    "tanh": (TRACES, PAPER | {"layer_norm": False, "link": "tanh", "projection": 3}),
    "counts": (COUNTS, {"embedding": 4}),
    "static": (replace(TRACES, num_covariates=1), PAPER | {"static": True}),
    "static, no layer norm": (TRACES, PAPER | {"static": True, "layer_norm": False}),
    "no coupling": (replace(TRACES, num_covariates=1), PAPER | {"coupling": False}),
    "no coupling, no layer norm": (TRACES, PAPER | {"coupling": False, "layer_norm": False}),
}
LINK = {"identity": lambda x: x, "tanh": torch.tanh, "log": torch.exp}
variants = pytest.mark.parametrize(
    ("layout", "options"), VARIANTS.values(), ids=list(VARIANTS.keys())
)
COUPLED = {name: case for name, case in VARIANTS.items() if "coupling" not in case[1]}
coupled = pytest.mark.parametrize(("layout", "options"), COUPLED.values(), ids=list(COUPLED.keys()))


WAYS = {"through tokens": {}, "through a formed A": {"ridge": 5.0, "embedding": 9}}
ways = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS.keys()))


@ways
@variants
def test_the_fused_form_is_the_written_out_attention(layout, options, way):
    model = make(layout, **{**options, **way})
    batch = make_batch(model)
    assert model._forms_attention(batch) is bool(way)
    expected = LINK[model.config.link](oracle(model, batch)[0])
    torch.testing.assert_close(model(batch).prediction[:, 0], expected)


@ways
@variants
def test_the_fused_form_has_the_gradients_of_the_written_out_attention(layout, options, way):
    model = make(layout, **{**options, **way})
    batch = make_batch(model)
    weight = torch.randn(batch.target[:, 0].shape, dtype=torch.float64)
    used = [p for p in model.parameters() if p.numel()]
    ours = torch.autograd.grad(
        (weight * model(batch).prediction[:, 0]).sum(), used, allow_unused=True
    )
    linear, _ = oracle(model, batch)
    theirs = torch.autograd.grad(
        (weight * LINK[model.config.link](linear)).sum(), used, allow_unused=True
    )
    for mine, plain in zip(ours, theirs, strict=True):
        assert (mine is None) == (plain is None)
        if mine is not None:
            torch.testing.assert_close(mine, plain)


@pytest.mark.parametrize("way", [{"embedding": 30}, {"embedding": 200, "ridge": 5.0}])
def test_in_float32_the_two_forms_differ_by_rounding(way):
    layout = Layout(
        neuron_ids={"0": tuple(range(200))},
        held_in={"0": (True,) * 200},
        bin_width=0.25,
        quantity="dff",
    )
    model = make(layout, history=59, layer_norm=True, raw_values=False, **way)
    batch = make_batch(model)
    exact, _ = oracle(model, batch)
    single = replace(batch, activity=batch.activity.float(), covariates=batch.covariates.float())
    prediction = model.float()(single).prediction[:, 0]
    # rounding of sums over 200 neurons and 89 features: eps * sqrt(200 * 89) ~ 2e-5
    torch.testing.assert_close(prediction.double(), exact, rtol=1e-4, atol=2e-5)


@variants
def test_influence_is_the_jacobian_in_the_newest_inputs(layout, options):
    model = make(layout, **options).eval()
    batch = make_batch(model)

    def linear_of(newest: Tensor) -> Tensor:
        activity = torch.cat([batch.activity[:, :-1], newest[:, None]], dim=1)
        output = model(replace(batch, activity=activity))
        return (output.prediction if output.log_rate is None else output.log_rate)[:, 0].sum(0)

    expected = torch.autograd.functional.jacobian(linear_of, batch.activity[:, -1])
    torch.testing.assert_close(model.influence(batch), expected.permute(1, 0, 2))


@coupled
def test_the_stored_parameters_give_the_attention_in_numpy(layout, options):
    model = make(layout, **options).eval()
    batch = make_batch(model, num_windows=1)
    arrays = {name: value.numpy() for name, value in model.connectivity().items()}
    attributes = {"context": arrays.pop("context"), "scale": arrays.pop("scale")}
    arrays["activity"] = batch.activity[0].numpy()
    arrays["last"] = np.array([model.config.history - 1])
    A = NetFormerForm(arrays, attributes).matrices(np.array([0]))[0]
    expected = oracle(model, batch)[1].detach()[0, :, :6]
    # float32 in NumPy against float64 here
    np.testing.assert_allclose(A, expected, atol=1e-5)
    torch.testing.assert_close(model.attention(batch)[0], expected)


def test_without_layer_norm_one_bin_is_a_forward_euler_step():
    model = make(history=1, layer_norm=False, embedding=3)
    batch = make_batch(model)
    _, A = oracle(model, batch)
    x = batch.activity[:, 0]
    torch.testing.assert_close(model(batch).prediction[:, 0], x + (A @ x[..., None])[..., 0])


def test_poisson_gaussian_and_squared_losses_count_valid_targets_only():
    for layout, options in [
        (COUNTS, {}),
        (TRACES, PAPER),
        (TRACES, PAPER | {"loss": "gaussian"}),
    ]:
        model = make(layout, **options)
        batch = make_batch(model)
        output = model(batch)
        valid = batch.valid
        y, p = batch.target[valid], output.prediction[valid]
        if model.config.loss == "poisson":
            expected = torch.nn.functional.poisson_nll_loss(p.log(), y)
        elif model.config.loss == "gaussian":
            variance = model.log_variance.exp().expand_as(batch.target)[valid]
            expected = torch.nn.functional.gaussian_nll_loss(p, y, variance)
        else:
            expected = ((y - p) ** 2).mean()
        torch.testing.assert_close(model.loss(batch, output), expected)


def test_covariates_are_heard_and_not_predicted():
    layout = replace(TRACES, num_covariates=2)
    model = make(layout, **PAPER)
    batch = make_batch(model)
    silent = replace(batch, covariates=batch.covariates * 0 + 3.0)
    assert model(batch).prediction.shape == (3, 1, 6)
    assert not torch.allclose(model(batch).prediction, model(silent).prediction)


def test_only_the_queried_neurons_are_predicted_and_trained_on():
    model = make(**PAPER, queries=(1, 4))
    batch = make_batch(model)
    prediction = model(batch).prediction
    assert prediction.isnan().all(dim=(0, 1)).tolist() == [True, False, True, True, False, True]
    changed = batch.target.clone()
    changed[..., [0, 2, 3, 5]] = 1e6
    output = model(batch)
    assert model.loss(batch, output) == model.loss(replace(batch, target=changed), output)
    assert torch.isfinite(model.loss(batch, output))


def test_a_neuron_in_two_sessions_shares_its_embedding():
    layout = Layout(
        neuron_ids={"a": (0, 1, 2), "b": (3, 1)},
        held_in={"a": (True,) * 3, "b": (True,) * 2},
        bin_width=0.25,
        quantity="dff",
    )
    model = make(layout, **PAPER)
    first, second = (model.connectivity(session)["embedding"] for session in "ab")
    assert first.shape == (3, 4)
    torch.testing.assert_close(first[1], second[1])
    batch = make_batch(model)
    alone = replace(
        batch,
        activity=batch.activity[..., :2],
        target=batch.target[..., :2],
        valid=torch.ones_like(batch.valid[..., :2]),
        neuron_ids=torch.tensor([3, 1]),
        session="b",
    )
    (gradient,) = torch.autograd.grad(model.loss(alone, model(alone)), [model.embedding])
    assert (gradient.abs().sum(1) > 0).tolist() == [False, True, False, True]


def test_the_cell_type_constraint_in_closed_form_is_the_mean_over_pairs():
    layout = replace(TRACES, cell_types=(0, 1, 1, -1, 0, 1))
    model = make(layout, **PAPER, type_weight=0.5)
    batch = make_batch(model)
    _, A = oracle(model, batch)
    terms = []
    for post, a in enumerate(layout.cell_types):
        for pre, b in enumerate(layout.cell_types):
            if post != pre and a >= 0 and b >= 0:
                log_variance = model.type_log_variance[a, b]
                error = (A[:, post, pre] - model.type_mean[a, b]) ** 2
                terms.append(0.5 * (log_variance + error / log_variance.exp()))
    penalty = model(batch).hidden["type_penalty"]
    torch.testing.assert_close(penalty, torch.stack(terms).mean())
    free = make(layout, **PAPER)
    free.load_state_dict(model.state_dict(), strict=False)
    expected = free.loss(batch, free(batch)) + 0.5 * penalty
    torch.testing.assert_close(model.loss(batch, model(batch)), expected)


@pytest.mark.parametrize("embedding", [1, 4])
def test_the_ridge_is_the_summed_square_of_a_off_its_diagonal_per_receiver(embedding):
    layout, options = replace(TRACES, num_covariates=2), PAPER | {"embedding": embedding}
    model, free = make(layout, **options | {"ridge": 10.0}), make(layout, **options)
    batch = make_batch(model, num_windows=4)
    assert model._forms_attention(batch) is (embedding == 4)
    model.initialise([batch, batch])  # 8 windows
    _, A = oracle(model, batch)
    off = A * (1 - torch.eye(6, 8))
    size = (off**2).sum(dim=(1, 2)).mean() / 6
    expected = free.loss(batch, free(batch)) + 10.0 / 8 * size
    torch.testing.assert_close(model.loss(batch, model(batch)), expected)


def test_dropout_silences_whole_tokens_in_training_only():
    model = make(**PAPER, dropout=0.5)
    batch = make_batch(model)
    draws = [
        model.train()(replace(batch, generator=torch.Generator().manual_seed(s))).prediction
        for s in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    model.eval()
    assert torch.equal(model(batch).prediction, model(batch).prediction)
    ones = torch.ones(2000, 6, 1, dtype=torch.float64)
    model.train()
    seeded = replace(batch, generator=torch.Generator().manual_seed(0))
    dropped = model._drop(ones, seeded)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.05)  # 12,000 fair coins: sd .009


def test_constants_start_at_the_mean_through_the_link():
    model = make(COUNTS)
    batch = make_batch(model, num_windows=50)
    model.initialise([batch])
    mean = (batch.target * batch.valid).sum(dim=(0, 1)) / batch.valid.sum(dim=(0, 1))
    torch.testing.assert_close(model.baseline.exp().detach(), mean)


def test_what_a_neuron_keeps_starts_at_its_autoregression_of_order_one():
    model = make(**PAPER | {"raw_values": True, "retention": True})
    batch = make_batch(model, num_windows=50)
    model.initialise([batch, batch])
    for neuron in range(6):
        counts = batch.valid[:, 0, neuron]
        newest, target = batch.activity[counts, -1, neuron], batch.target[counts, 0, neuron]
        expected = torch.linalg.lstsq(newest[:, None], target[:, None]).solution[0, 0]
        torch.testing.assert_close(model.retention[neuron].detach(), expected)


def of_size(num_neurons):
    """A layout of so many neurons."""
    ids = tuple(range(num_neurons))
    return replace(TRACES, neuron_ids={"0": ids}, held_in={"0": (True,) * num_neurons})


@pytest.mark.parametrize(
    ("num_neurons", "embedding"),
    [
        *[(6, 30), (20, 30), (30, 45), (31, 47), (152, 228)],
        *[(153, 229), (200, 200), (1000, 89), (20_000, 30)],
    ],
)
def test_long_recordings_get_a_wide_embedding(num_neurons, embedding):
    layout = of_size(num_neurons)
    for one in NetFormer.candidates(NetFormer.configure(layout, preset="paper"), layout, 1001):
        assert one.embedding == embedding


def test_long_recordings_get_a_coupling_of_full_rank():
    layout = of_size(100)
    config = NetFormer.configure(layout, preset="paper")
    short = NetFormer.candidates(config, layout, 1000)
    assert {(one.embedding, one.retention) for one in short} == {(30, False)}
    long = NetFormer.candidates(config, layout, 1001)
    assert [(one.embedding, one.retention, one.ridge) for one in long] == [
        (150, True, 0.0),
        (150, True, 3e3),
    ]
    given = NetFormer.configure(layout, preset="paper", embedding=12, retention=False, ridge=1.0)
    assert NetFormer.candidates(given, layout, 1001) == (given,)


@pytest.mark.parametrize(
    ("layout", "options", "words"),
    [
        (
            TRACES,
            {"history": 1, "layer_norm": True, "raw_values": False, "core": False},
            "predicts a constant",
        ),
        (TRACES, {"link": "cube"}, "no link 'cube'"),
        (TRACES, {"loss": "poisson", "core": False}, "needs link='log'"),
        (COUNTS, {"link": "identity", "loss": "mse", "core": False}, "counts need it"),
        (TRACES, {"type_weight": 1.0, "core": False}, "this recording has none"),
        (TRACES, {"queries": (7,), "core": False}, "outside 0"),
        (TRACES, {"preset": "mouse"}, "mouse_v1"),
        (TRACES, {"history": 0}, "at least 1"),
        (TRACES, {"link": "tanh", "preset": "ladder"}, "add preset=paper"),
        (TRACES, {"own_part": False, "core": False}, "leaves nothing"),
    ],
)
def test_options_that_contradict_each_other_are_refused(layout, options, words):
    with pytest.raises(ValueError, match=words):
        NetFormer.configure(layout, **options)


def test_without_layer_norm_values_are_raw_whether_or_not_that_is_asked():
    requested, left = (make(history=1, layer_norm=False, raw_values=raw) for raw in (True, False))
    batch = make_batch(requested)
    assert torch.equal(requested(batch).prediction, left(batch).prediction)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_makes_a_model(preset):
    layout = COUNTS if preset == "spiking_ring" else TRACES
    model = make(layout, preset=preset)
    batch = make_batch(model)
    assert torch.isfinite(model.loss(batch, model(batch)))


def test_an_optimiser_comes_with_the_schedule_that_was_asked_for():
    for schedule in ("constant", "plateau", "step", "cyclic"):
        _, scheduler = make(**PAPER, schedule=schedule).optimiser(100, 10)
        assert (scheduler is None) == (schedule == "constant")


def test_layer_norms_that_turn_signs_are_told():
    model = make(**PAPER)
    model.on_train_end([])
    assert model.notes == ()
    model.norm_out.weight.data[6] = -0.5
    model.on_train_end([])
    assert "a positive coupling lowers the prediction" in model.notes[0]
    raw = make(**PAPER | {"raw_values": True})
    raw.norm_in.weight.data[6] = -0.5
    raw.on_train_end([])
    assert raw.notes == ()
