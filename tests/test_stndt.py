"""STNDT against an oracle written from its equations; its masks, maps and options."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from nwbdyn.models import _stndt_lean as lean
from nwbdyn.models import base
from nwbdyn.models._stndt_contrast import contrast
from nwbdyn.models._stndt_layers import Layer, dropout
from nwbdyn.models._stndt_masks import hide_one_side, mask
from nwbdyn.models.stndt import MAPS, PRESETS, STNDT


def layout(neurons=10, held_out=(1, 6, 9), bins=(8, 4)):
    return base.Layout(
        neuron_ids={"0": tuple(range(neurons))},
        held_in={"0": tuple(n not in held_out for n in range(neurons))},
        bin_width=0.02,
        quantity="counts",
        trial_bins=bins,
    )


def seeded(seed=0):
    return base.Random(torch.Generator().manual_seed(seed), "cpu")


def batch_of(shape, windows=5, seed=0, generator=None):
    held_in = torch.tensor(shape.held_in["0"])
    observed, ahead = shape.trial_bins
    draw = torch.Generator().manual_seed(seed)
    target = torch.poisson(torch.full((windows, observed + ahead, len(held_in)), 0.7), draw)
    activity = target * held_in
    activity[:, observed:] = 0
    return base.Batch(
        activity=activity,
        target=target,
        valid=torch.ones_like(target, dtype=torch.bool),
        held_in=held_in,
        neuron_ids=torch.arange(len(held_in)),
        covariates=torch.zeros(windows, observed + ahead, 0),
        start_bin=torch.arange(windows),
        generator=generator,
    )


def model_of(shape, seed=0, **options):
    torch.manual_seed(seed)
    model = STNDT(STNDT.configure(shape, **options), shape)
    with torch.no_grad():  # biases and layer-norm parameters start at 0 and 1: make them count
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def sinusoids(length, width):
    code = torch.zeros(length, width, dtype=torch.float64)
    for position in range(length):
        for column in range(width):
            angle = position / 10000 ** (2 * (column // 2) / width)
            code[position, column] = math.cos(angle) if column % 2 else math.sin(angle)
    return code


def oracle(parameters, held_in, counts, heads, layers, back, forward):
    """Log rates and maps of one window after another, from the paper, held-in neurons first."""
    order = [n for n, flag in enumerate(held_in) if flag]
    order += [n for n, flag in enumerate(held_in) if not flag]
    p = parameters
    bins, neurons = counts.shape[1:]
    location = torch.tensor(order).argsort()
    time_code = sinusoids(bins, neurons)[:, location]
    neuron_code = sinusoids(neurons, bins)[location]

    def norm(x, name):
        centred = x - x.mean(-1, keepdim=True)
        variance = (centred**2).mean(-1, keepdim=True)
        return centred / (variance + 1e-5).sqrt() * p[f"{name}.weight"] + p[f"{name}.bias"]

    def linear(x, name):
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def feed(x, name):
        inner = linear(norm(x, f"{name}.norm"), f"{name}.widen").clamp(min=0)
        return linear(inner, f"{name}.narrow")

    def softmax(scores):
        weights = (scores - scores.max(-1, keepdim=True).values).exp()
        return weights / weights.sum(-1, keepdim=True)

    rates, all_maps = [], []
    for x in counts:
        h = linear(x, "embed_time") * neurons**0.5 + time_code
        s = linear(x.T, "embed_neurons") * bins**0.5 + neuron_code
        maps = []
        for number in range(layers):
            name = f"layers.{number}"
            q, k, v = linear(norm(h, f"{name}.norm_time"), f"{name}.time.project").chunk(3, -1)
            mixed = []
            for head in range(heads):
                part = slice(head * neurons // heads, (head + 1) * neurons // heads)
                scores = q[:, part] @ k[:, part].T / (neurons / heads) ** 0.5
                for i in range(bins):
                    for j in range(bins):
                        if (back > 0 and j - i < -back) or (forward >= 0 and j - i > forward):
                            scores[i, j] = -math.inf
                mixed.append(softmax(scores) @ v[:, part])
            h = h + linear(torch.cat(mixed, -1), f"{name}.time.mix")
            h = h + feed(h, f"{name}.after_time")
            q, k = linear(norm(s, f"{name}.map.norm"), f"{name}.map.project").chunk(2, -1)
            map = torch.zeros(neurons, neurons, dtype=torch.float64)
            for head in range(heads):
                part = slice(head * bins // heads, (head + 1) * bins // heads)
                map = map + softmax(q[:, part] @ k[:, part].T / (bins / heads) ** 0.5) / heads
            maps.append(map)
            h = h + (map @ norm(h, f"{name}.norm_value").T).T
            h = h + feed(h, f"{name}.after_space")
            s = h.T
        rates.append(linear(norm(h, "norm"), "decode"))
        all_maps.append(torch.stack(maps))
    return torch.stack(rates), torch.stack(all_maps)


def doubled(model):
    return {
        name: value.detach().double().requires_grad_() for name, value in model.named_parameters()
    }


ROUNDING = 2e-4  # float32 against float64 through two layers, log rates of order 1


@pytest.mark.parametrize(("back", "forward"), [(3, 2), (0, -1), (2, 0)])
def test_log_rates_maps_and_gradients_match_the_equations(back, forward):
    shape = layout()
    options = {"layers": 2, "heads": 2, "attend_back": back, "attend_forward": forward}
    model, batch = model_of(shape, **options), batch_of(shape)
    output = model(batch)
    parameters = doubled(model)
    held_in = shape.held_in["0"]
    expected, maps = oracle(parameters, held_in, batch.activity.double(), 2, 2, back, forward)
    torch.testing.assert_close(output.log_rate.double(), expected, atol=ROUNDING, rtol=ROUNDING)
    torch.testing.assert_close(
        model.time_resolved(batch)["maps"].double(), maps, atol=ROUNDING, rtol=ROUNDING
    )

    hidden = torch.ones(12, 10, dtype=torch.bool)
    hidden[:8, list(held_in)] = False
    nll = (expected.exp() - batch.target * expected)[:, hidden].mean()
    loss = model.loss(batch, output)
    torch.testing.assert_close(loss.double(), nll, atol=ROUNDING, rtol=ROUNDING)
    loss.backward()
    nll.backward()
    for name, parameter in model.named_parameters():
        truth = parameters[name].grad
        scale = truth.abs().max().item()
        torch.testing.assert_close(
            parameter.grad.double(), truth, atol=ROUNDING * max(scale, 1e-2), rtol=1e-3, msg=name
        )


def nt_xent(features):
    total = 0.0
    unit = [f / f.norm() for f in features]
    for i in range(len(unit)):
        others = [((unit[i] @ unit[j]) / 0.07).exp() for j in range(len(unit)) if j != i]
        partner = ((unit[i] @ unit[(i + len(unit) // 2) % len(unit)]) / 0.07).exp()
        total = total - (partner / sum(others)).log() / len(unit)
    return total


def test_the_contrastive_loss_finds_the_other_view_among_all():
    features = torch.randn(6, 20, dtype=torch.float64)
    torch.testing.assert_close(contrast(features @ features.T, 0.07), nt_xent(features))


def test_contrast_from_inner_products_is_contrast_of_the_embeddings():
    shape = layout()
    model = model_of(shape).double()
    batch = batch_of(shape, generator=torch.Generator().manual_seed(3))
    visible = batch.activity[:, :8, model.columns].double()
    actual = model._contrasted(visible, batch, "learned")
    loss = sum(contrast(products, 0.07) for products in actual.values())
    loss.backward()

    # the same draw of views, embedded bin by bin and neuron by neuron
    config = model.config
    views, _ = mask(
        torch.cat([visible, visible]),
        seeded(3),
        ratio=config.contrast_ratio,
        token_ratio=config.contrast_token,
        random_ratio=config.contrast_random,
    )
    counts = torch.zeros(10, 12, 10, dtype=torch.float64)
    counts[:, :8, model.columns] = views
    parameters = doubled(model)
    time = counts @ parameters["embed_time.weight"].T + parameters["embed_time.bias"]
    neurons = counts.mT @ parameters["embed_neurons.weight"].T + parameters["embed_neurons.bias"]
    expected = nt_xent(time.flatten(1)) + nt_xent(neurons.flatten(1))
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for name in ("embed_time.weight", "embed_time.bias", "embed_neurons.weight"):
        torch.testing.assert_close(model.get_parameter(name).grad, parameters[name].grad)


def test_the_training_loss_is_the_masked_loss_plus_a_tenth_of_the_contrast_in_one_pass():
    shape = layout()
    model = model_of(shape, layers=1).train()
    calls = []
    model.layers[0].register_forward_hook(lambda *_: calls.append(1))
    batch = batch_of(shape, generator=torch.Generator().manual_seed(3))
    output = model(batch)
    assert len(calls) == 1
    scored = output.hidden["scored"]
    nll = (output.log_rate.exp() - batch.target * output.log_rate)[scored].mean()
    products = [output.hidden[name] for name in ("time_products", "neuron_products")]
    expected = nll + 0.1 * sum(contrast(each, 0.07) for each in products)
    torch.testing.assert_close(model.loss(batch, output), expected)


def test_the_papers_contrast_compares_predictions():
    shape = layout()
    model = model_of(shape, layers=1, contrast="prediction").train()
    batch = batch_of(shape, generator=torch.Generator().manual_seed(3))
    output = model(batch)
    assert output.hidden["rate_products"].shape == (10, 10)
    model.loss(batch, output).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize(("back", "forward"), [(3, 2), (0, -1), (2, 0)])
def test_the_lean_blocks_compute_what_the_plain_layer_computes(back, forward, heads, rate):
    torch.manual_seed(0)
    layer = Layer(80, 6, heads=heads, width=5, rate=rate, back=back, forward=forward).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    answers = []
    for is_lean in (False, True):
        layer.zero_grad()
        h = torch.linspace(-2, 2, 3 * 80 * 6, dtype=torch.float64).sin().view(3, 80, 6)
        h = (h + torch.arange(6) * 0.1).requires_grad_()
        map = layer.attention(h.mT, is_lean=is_lean)
        out, _ = layer(h, map, seeded(3), is_lean=is_lean)
        (out**3).sum().backward()
        answers.append([out, h.grad, *(parameter.grad for parameter in layer.parameters())])
    for expected, actual in zip(*answers, strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("block", ["Time", "Feed", "Space", "Map"])
def test_the_gradients_of_the_lean_blocks_hold_under_dropout(block, monkeypatch):
    monkeypatch.setattr(lean, "_BLOCK", 3)  # two blocks of three bins

    def weights(*sizes):
        draw = torch.Generator().manual_seed(len(sizes))
        return [
            torch.randn(size, generator=draw, dtype=torch.float64).requires_grad_()
            for size in sizes
        ]

    def apply(*tensors):
        rest = {
            "Time": (2, lean.Band.of(6, 2, 1), 0.3, seeded(5)),
            "Feed": (0.3, seeded(5)),
            "Space": (0.3, seeded(5)),
            "Map": (2,),
        }[block]
        return getattr(lean, block).apply(*tensors, *rest)

    h, norm = (2, 6, 4), ((4,), (4,))
    inputs = {
        "Time": weights(h, *norm, (12, 4), (12,), (4, 4), (4,)),
        "Feed": weights(h, *norm, (7, 4), (7,), (4, 7), (4,)),
        "Space": weights(h, (2, 4, 4), *norm),
        "Map": weights((2, 4, 6), *norm, (8, 4), (8,)),
    }[block]
    assert torch.autograd.gradcheck(apply, inputs)


@pytest.mark.parametrize(("bins", "size"), [(180, 30), (100, 50), (60, 30), (37, 37), (8, 8)])
def test_blocks_of_a_band_cover_it_exactly(bins, size):
    band = lean.Band.of(bins, 8, 4)
    assert band.size == size
    seen = torch.zeros(bins, bins, dtype=torch.bool)
    for block, query, key in (band.bias == 0).nonzero().tolist():
        seen[block * size + query, block * size - band.back + key] = True
    offset = torch.arange(bins) - torch.arange(bins)[:, None]
    assert torch.equal(seen, (offset >= -8) & (offset <= 4))


def test_masked_counts_become_zero_random_or_stay():
    counts = torch.full((40, 50, 30), 3.0)
    corrupted, masked = mask(
        counts,
        seeded(0),
        ratio=0.25,
        token_ratio=0.6,
        random_ratio=0.5,
    )
    se = math.sqrt(0.25 / counts.numel())  # of a share
    assert float(masked.float().mean()) == pytest.approx(0.25, abs=4 * se)
    assert torch.equal(corrupted[~masked], counts[~masked])
    # 60 % become 0 by token; of the other 40 % half a uniform draw from 0, 1, 2, half stay 3.
    shares = [float((corrupted[masked] == value).float().mean()) for value in range(4)]
    expected = [0.6 + 0.2 / 3, 0.2 / 3, 0.2 / 3, 0.2]
    assert shares == pytest.approx(expected, abs=4 * 2 * se)


@pytest.mark.parametrize(
    ("mode", "span"), [("full", 1), ("timestep", 1), ("full", 4), ("timestep", 4)]
)
def test_every_mode_masks_the_share_it_was_asked_for_at_the_edges_too(mode, span):
    counts = torch.ones(4000, 12, 3)
    _, masked = mask(
        counts,
        seeded(1),
        ratio=0.25,
        token_ratio=1.0,
        random_ratio=0.0,
        mode=mode,
        span=span,
    )
    per_bin = masked[..., 0].float().mean(0)
    assert torch.allclose(per_bin, torch.full((12,), 0.25), atol=4 * math.sqrt(0.1875 / 4000))
    if mode == "timestep":
        assert torch.equal(masked[..., 0], masked[..., 2])
    if span == 4:  # a masked run that touches no edge is at least as long as the span
        for row in masked[:200, :, 0].tolist():
            runs = "".join("x" if flag else " " for flag in row)[1:-1].split(" ")
            inner = [run for run in runs[1:-1] if run]
            assert all(len(run) >= 4 for run in inner)


def test_spans_grow_in_over_the_training():
    shape = layout()
    model = model_of(shape, mask_span=5, mask_span_start=0.2, mask_span_end=0.4)
    model.optimiser(100, 10)
    random = seeded()
    model.after_update(10)
    assert {int(model._span(random)) for _ in range(200)} == {1}
    model.after_update(90)
    assert {int(model._span(random)) for _ in range(200)} == {1, 2, 3, 4, 5}


def test_randomness_comes_from_the_batch_alone():
    shape = layout()
    model = model_of(shape).train()

    def loss(seed):
        batch = batch_of(shape, generator=torch.Generator().manual_seed(seed))
        return model.loss(batch, model(batch)).item()

    state = torch.get_rng_state()
    first = loss(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert loss(1) == first
    assert loss(2) != first


def test_dropout_keeps_the_mean_and_drops_its_share():
    x = torch.ones(400, 1001)
    y = dropout(x, 0.2, seeded())
    dropped = float((y == 0).float().mean())
    assert dropped == pytest.approx(0.2, abs=4 * math.sqrt(0.16 / x.numel()))
    assert float(y.mean()) == pytest.approx(1.0, abs=0.01)
    assert dropout(x, 0.0, None) is x


def test_masking_never_touches_what_is_unseen_and_scores_all_of_it():
    shape = layout()
    model = model_of(shape, mask_ratio=0.9, mask_token=0.0, mask_random=1.0).train()
    batch = batch_of(shape, generator=torch.Generator().manual_seed(0))
    counts = []
    whole = model._encode
    model._encode = lambda x, *rest: (counts.append(x), whole(x, *rest))[1]
    scored = model(batch).hidden["scored"]
    assert (counts[0][:, 8:] == 0).all()
    assert (counts[0][..., [1, 6, 9]] == 0).all()
    assert not torch.equal(counts[0], batch.activity)
    assert scored[:, 8:].all()
    assert scored[..., [1, 6, 9]].all()


def test_held_out_neurons_may_sit_anywhere_among_the_columns():
    sorted_layout, mixed = layout(6, (4, 5), (6, 2)), layout(6, (1, 3), (6, 2))
    order = torch.tensor([0, 2, 4, 5, 1, 3])  # mixed columns in the sorted layout's order
    first = model_of(sorted_layout, layers=2)
    second = model_of(mixed, layers=2)
    with torch.no_grad():
        for (name, source), target in zip(
            first.named_parameters(), second.parameters(), strict=True
        ):
            values = source.clone()
            back = order.argsort()
            if "time.project" in name:
                pass  # rows are features of heads: no order of neurons
            elif values.shape[0] == 6:
                values = values[back]
            if values.ndim == 2 and values.shape[1] == 6 and "time.mix" not in name:
                values = values[:, back]
            target.copy_(values)
    batch = batch_of(mixed)
    moved = replace(batch, activity=batch.activity[..., order], target=batch.target[..., order])
    torch.testing.assert_close(
        second(batch).log_rate[..., order], first(moved).log_rate, atol=1e-4, rtol=1e-4
    )


def test_it_works_with_nothing_held_out_and_no_forward_bins():
    shape = layout(6, (), (8, 0))
    model = model_of(shape)
    batch = batch_of(shape, generator=torch.Generator().manual_seed(0))
    model.train()
    model.loss(batch, model(batch)).backward()
    model.eval()
    first = model.loss(batch, model(batch))
    assert torch.isfinite(first)
    assert first == model.loss(batch, model(batch))


def test_heads_are_the_largest_common_divisor_and_the_run_is_told():
    assert model_of(layout(10, (1,), (8, 4)), heads=2).heads == 2
    model = model_of(layout(31, (1,), (100, 0)), heads=2)
    assert model.heads == 1
    assert "31 neurons" in model.notes[0]


@pytest.mark.parametrize("maps", MAPS)
def test_maps_can_be_replaced_to_see_what_they_are_worth(maps):
    shape = layout()
    model, batch = model_of(shape), batch_of(shape)
    model.on_train_end([batch])
    learned = model(batch).log_rate
    other = model(batch, maps=maps).log_rate
    assert torch.isfinite(other).all()
    assert torch.equal(other, learned) == (maps == "learned")


def test_the_trial_mean_is_the_mean_of_the_training_maps():
    shape = layout()
    model, batches = model_of(shape), [batch_of(layout(), 5, 0), batch_of(layout(), 2, 1)]
    model.on_train_end(batches)
    maps = torch.cat([model.time_resolved(batch)["maps"] for batch in batches])
    torch.testing.assert_close(model.mean_maps, maps.mean(0))


def test_contributions_add_up_to_what_the_map_adds():
    shape = layout()
    model, batch = model_of(shape, layers=1), batch_of(shape)
    read = model.time_resolved(batch)
    contributions = read["maps"][:, 0, None] * read["y"][:, 0, :, None]  # (B, T, post, pre)
    grabbed = []
    layer = model.layers[0]
    layer.after_space.register_forward_pre_hook(lambda _, inputs: grabbed.append(inputs[0]))
    layer.norm_value.register_forward_pre_hook(lambda _, inputs: grabbed.append(inputs[0]))
    model(batch)
    before, after = grabbed
    torch.testing.assert_close(contributions.sum(-1), after - before, atol=1e-4, rtol=1e-4)


def test_evaluation_clips_counts_to_the_training_maximum():
    shape = layout()
    model, batch = model_of(shape), batch_of(shape)
    model.initialise([batch])
    large = replace(batch, activity=torch.where(batch.activity == 0, 0, 100.0))
    peak = float(batch.activity.max())
    clipped = replace(batch, activity=torch.where(batch.activity == 0, 0, peak))
    assert torch.equal(model(large).log_rate, model(clipped).log_rate)


def test_the_learning_rate_warms_up_then_falls_to_zero_epoch_by_epoch():
    model = model_of(layout(), warmup=0.1)
    optimiser, schedule = model.optimiser(400, 4)
    rates = []
    for _ in range(400):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    epochs = [rates[4 * e : 4 * e + 4] for e in range(100)]
    assert all(len(set(epoch)) == 1 for epoch in epochs)
    assert max(rates) == rates[4 * 9] == pytest.approx(3e-3)
    assert rates[0] == pytest.approx(3e-4)
    assert rates[-1] < 1e-6


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_a_config_and_single_options_win_over_it(name):
    config = STNDT.configure(layout(), preset=name, layers=3)
    assert config.layers == 3
    assert config.epochs == PRESETS[name]["epochs"]
    assert config.updates is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "mc_mazes"}, "no preset 'mc_mazes'; choose from: mc_maze, mc_rtt"),
        ({"mask_mode": "neuron"}, "mask_mode is 'neuron'; choose from: full, timestep"),
        ({"contrast": "both"}, "contrast is 'both'; choose from: embedding, prediction, none"),
    ],
)
def test_bad_options_say_what_is_possible(options, message):
    with pytest.raises(ValueError, match=message):
        STNDT.configure(layout(), **options)


def test_a_short_training_learns_who_fires():
    shape = layout(8, (2, 5), (12, 2))
    model = model_of(shape, layers=1, dropout=0.0, dropout_embedding=0.0, dropout_rates=0.0)
    generator = torch.Generator().manual_seed(0)
    phase = torch.rand(32, 14, 1, generator=generator) > 0.5
    target = torch.poisson(torch.where(phase, 2.0, 0.1).expand(32, 14, 8), generator)
    held_in = torch.tensor(shape.held_in["0"])
    activity = target * held_in
    activity[:, 12:] = 0
    batch = replace(batch_of(shape, 32), target=target, activity=activity, generator=generator)
    optimiser, schedule = model.optimiser(60, 1)
    before = model.loss(batch, model(batch)).item()
    for step in range(60):
        model.train()
        optimiser.zero_grad()
        model.loss(batch, model(batch)).backward()
        optimiser.step()
        schedule.step()
        model.after_update(step + 1)
    model.eval()
    assert model.loss(batch, model(batch)).item() < before - 0.2
    assert F.softplus(model(batch).log_rate).isfinite().all()


@pytest.mark.parametrize("future", [False, True])
def test_influence_is_the_slope_of_the_log_rate_in_the_visible_counts(future):
    shape = layout()
    model, batch = model_of(shape), batch_of(shape)
    model = model.double()
    batch = replace(batch, activity=batch.activity.double())
    at, lags = 4, 3
    actual = model.influence(batch, at=at, lags=lags, future=future)
    assert actual.shape == (5, 10, 10)
    assert (actual[..., [1, 6, 9]] == 0).all()
    counts = batch.activity.clone()
    counts[:, slice(0, at + 1) if future else slice(at, None)] = 0
    near = range(5, 8) if future else range(1, 4)
    step = 1e-5
    for pre in (0, 3):
        more, fewer = counts.clone(), counts.clone()
        more[:, near, pre] += step
        fewer[:, near, pre] -= step
        model.ceiling.fill_(math.inf)
        with torch.no_grad():
            slope = model._log_rate(more, None, "learned") - model._log_rate(fewer, None, "learned")
        torch.testing.assert_close(
            actual[..., pre], slope[:, at] / (2 * step), atol=1e-7, rtol=1e-5
        )


def test_silencing_takes_a_neurons_recent_spikes_away_and_nothing_later_matters():
    shape = layout()
    model, batch = model_of(shape, batch_size=7), batch_of(shape)
    actual = model.influence(batch, at=6, lags=2, silence=True)
    later = replace(batch, activity=batch.activity.clone())
    later.activity[:, 6:8] += 1.0 * batch.held_in
    assert torch.equal(model.influence(later, at=6, lags=2, silence=True), actual)
    past = batch.activity.clone()
    past[:, 6:] = 0
    with torch.no_grad():
        whole = model(replace(batch, activity=past)).log_rate[:, 6]
        for pre in range(10):
            silent = past.clone()
            silent[:, 4:6, pre] = 0
            without = model(replace(batch, activity=silent)).log_rate[:, 6]
            torch.testing.assert_close(actual[..., pre], whole - without, atol=1e-5, rtol=1e-4)


def test_some_training_windows_are_hidden_from_or_up_to_a_bin():
    hidden, far = hide_one_side(4000, 6, seeded(), ratio=0.5, reach=2)
    rows = ["".join(str(int(flag)) for flag in row) for row in hidden.tolist()]
    after = {"0" * cut + "1" * (6 - cut) for cut in range(1, 6)}
    before = {"1" * cut + "0" * (6 - cut) for cut in range(1, 6)}
    assert set(rows) == after | before | {"000000"}
    share = sum(row != "000000" for row in rows) / 4000
    assert share == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 4000))
    beyond = dict(zip(rows, far.int().tolist(), strict=True))
    assert beyond["011111"] == [0, 0, 0, 1, 1, 1]  # two bins into the dark are scored, not more
    assert beyond["111000"] == [1, 0, 0, 0, 0, 0]


def test_a_window_that_is_hidden_from_a_bin_on_is_scored_just_beyond_it():
    shape = layout()
    model = model_of(shape, causal_mask_ratio=0.99, influence_lags=2).train()
    batch = batch_of(shape, windows=40, generator=torch.Generator().manual_seed(0))
    scored = model(batch).hidden["scored"]
    ends_dark = ~scored[:, 8:].any(2).any(1)  # forward bins lie beyond a window hidden to its end
    assert 10 < ends_dark.sum() < 30
    for row in scored[ends_dark]:
        whole = row.all(1).nonzero()[:, 0]  # bins in which every neuron is scored
        assert 1 <= len(whole) <= 2 + 2
