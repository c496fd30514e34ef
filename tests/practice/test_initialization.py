"""Initialization: the peers' fans and deviations, the derived factors against networks, and the two failures of equal weights."""

import math
from itertools import pairwise

import numpy as np
import pytest

from reference_impl import (
    SGD,
    Affine,
    BatchNorm,
    Conv2D,
    Dropout,
    Momentum,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
    digits,
    evaluate,
    fit,
)
from reference_impl.practice.initialization import fans, he, initialize, lecun, orthogonal, signal, wide_limit, xavier

SHAPES = [(64, 10), (10, 64), (1, 7), (3, 3, 8, 16), (5, 5, 1, 4), (1, 1, 6, 2)]


def tower(activation, widths, dtype=np.float64):
    rng, layers = np.random.default_rng(0), []
    for inputs, outputs in pairwise(widths):
        layers += [Affine(inputs, outputs, rng=rng, dtype=dtype), activation()]
    return Sequential(*layers)


def torchs(torch, shape):
    """An empty tensor of the same weights in PyTorch's order."""
    return torch.empty(shape[::-1] if len(shape) == 2 else (shape[3], shape[2], shape[0], shape[1]), dtype=torch.float64)


@pytest.mark.peers
@pytest.mark.parametrize("shape", SHAPES)
def test_fans_are_torchs(shape):
    torch = pytest.importorskip("torch")
    assert fans(np.zeros(shape)) == torch.nn.init._calculate_fan_in_and_fan_out(torchs(torch, shape))


@pytest.mark.peers
@pytest.mark.parametrize("shape", [(400, 300), (3, 3, 40, 60)])
@pytest.mark.parametrize(("scheme", "theirs"), [
    (he, lambda init, w: init.kaiming_normal_(w, nonlinearity="relu")),
    (lecun, lambda init, w: init.kaiming_normal_(w, nonlinearity="linear")),
    (xavier, lambda init, w: init.xavier_normal_(w)),
])
def test_deviations_are_torchs(shape, scheme, theirs):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    weights = theirs(torch.nn.init, torchs(torch, shape))
    assert scheme(*fans(np.zeros(shape))) == pytest.approx(float(weights.std()), rel=0.01)


@pytest.mark.peers
@pytest.mark.parametrize("shape", [*SHAPES, (6, 6), (7, 3)])
def test_orthogonal_weights_meet_what_torchs_meet(shape):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch.nn.init.orthogonal_(torchs(torch, shape), gain=3.0).numpy()
    ours = orthogonal(shape, np.random.default_rng(0), gain=3.0)
    assert ours.shape == shape
    outputs = shape[-1]
    ours = ours.reshape(-1, outputs)
    theirs = theirs.reshape(outputs, -1).T
    for W in (ours, theirs):
        gram = W.T @ W if len(W) >= outputs else W @ W.T
        np.testing.assert_allclose(gram, 9 * np.eye(len(gram)), atol=1e-12)


@pytest.mark.peers
def test_torchs_own_layer_draws_evenly_with_a_third_of_lecuns_variance():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    weights = torch.nn.Linear(400, 300).weight.detach()
    assert float(weights.abs().max()) == pytest.approx(1 / 20, rel=1e-3)
    assert float(weights.std()) == pytest.approx(lecun(400, 300) / 3**0.5, rel=0.01)


def test_orthogonal_weights_prefer_no_direction():
    rng = np.random.default_rng(0)
    drawn = np.array([orthogonal((3, 3), rng) for _ in range(4000)])
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=5 / math.sqrt(3 * 4000))  # QR's own signs would give ±0.5
    np.testing.assert_allclose((drawn**2).mean(axis=0), 1 / 3, atol=0.03)
    assert np.linalg.det(drawn).min() < -0.999 and np.linalg.det(drawn).max() > 0.999


@pytest.mark.parametrize("scheme", [0.3, np.float32(0.3), 0, he, lecun, xavier, lambda fan_in, fan_out: 1 / fan_out])
def test_initialize_draws_every_weight_with_the_deviation_asked_for_and_clears_the_biases(scheme):
    rng = np.random.default_rng(0)
    model = Sequential(Conv2D(20, 30, 5, rng=rng), ReLU(), Affine(200, 90, rng=rng), Affine(90, 200, rng=rng, bias=False))
    for key, array in model.params.items():
        array[...] = 7.0 if key.endswith("b") else 0.0
    arrays = dict(model.params)
    initialize(model, scheme, np.random.default_rng(1))
    for key, array in model.params.items():
        assert array is arrays[key]
        if key.endswith("b"):
            assert (array == 0).all()
        else:
            std = scheme(*fans(array)) if callable(scheme) else float(scheme)
            assert array.std() == pytest.approx(std, rel=0.03)
            assert abs(array.mean()) <= 4 * std / math.sqrt(array.size)


def test_initialize_depends_on_the_generator_alone_and_keeps_dtypes():
    model = tower(ReLU, [8, 6, 4], np.float32)
    initialize(model, he, np.random.default_rng(5))
    first = model.state_dict()
    initialize(model, "orthogonal", np.random.default_rng(6))
    W = model.params["0.W"]
    np.testing.assert_allclose(W.T @ W, 2 * np.eye(6), atol=1e-6)
    initialize(model, he, np.random.default_rng(5))
    for key, array in model.state_dict().items():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, first[key])


def test_initialize_leaves_frozen_layers_and_batch_norm_alone():
    rng = np.random.default_rng(0)
    model = Sequential(Affine(4, 3, rng=rng), BatchNorm(3), Affine(3, 2, rng=rng))
    model.layers[0].params["b"][...] = 5
    model.layers[1].params["beta"][...] = 6
    model.layers[0].frozen = True
    before = model.state_dict()
    initialize(model, he, rng)
    changed = [key for key, array in model.state_dict().items() if (array != before[key]).any()]
    assert changed == ["2.W"]


@pytest.mark.parametrize(("scheme", "message"), [
    ("kaiming", r"scheme must be a number in \[0, inf\) or a function of fan-in and fan-out or 'orthogonal', got 'kaiming'"),
    (None, "scheme must be .* got None"),
    (-0.1, "scheme must be .* got -0.1"),
    (math.nan, "scheme must be .* got nan"),
    (True, "scheme must be .* got True"),
    (lambda fan_in, fan_out: 1.0 if fan_in == 4 else -1.0, "scheme must give a finite deviation from 0 up, got -1.0"),
    (lambda fan_in, fan_out: "0.1", "scheme must give a finite deviation from 0 up, got '0.1'"),
])
def test_a_bad_scheme_is_refused_before_anything_changes(scheme, message):
    rng = np.random.default_rng(0)
    model = tower(ReLU, [4, 3, 2])
    before, state = model.state_dict(), rng.bit_generator.state
    with pytest.raises((TypeError, ValueError), match=message):
        initialize(model, scheme, rng)
    assert rng.bit_generator.state == state
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize(("call", "message"), [
    (lambda: fans(np.zeros(3)), r"weights must be \(inputs, outputs\) or \(size, size, channels, filters\), got \(3,\)"),
    (lambda: orthogonal((2, 3, 4), np.random.default_rng(0)), r"shape must be \(inputs, outputs\) or .*, got \(2, 3, 4\)"),
    (lambda: he(0, 1), "fan_in must be a whole number from 1 up, got 0"),
    (lambda: lecun(2.5, 1), "fan_in must be a whole number from 1 up, got 2.5"),
    (lambda: xavier(1, -1), "fan_out must be a whole number from 1 up, got -1"),
    (lambda: wide_limit(ReLU(), 1.0, -1), "depth must be a whole number from 0 up, got -1"),
    (lambda: he(1, 0), "fan_out must be a whole number from 1 up, got 0"),
    (lambda: orthogonal([2, 3], np.random.default_rng(0)), r"shape must be a tuple of whole numbers from 1 up, got \[2, 3\]"),
    (lambda: orthogonal((2, 0), np.random.default_rng(0)), r"shape must be a tuple of whole numbers from 1 up, got \(2, 0\)"),
    (lambda: wide_limit(ReLU(), 0.0, 1), r"scale must be a number in \(0, inf\), got 0.0"),
    (lambda: wide_limit(ReLU(), 1.0, 1, start=math.nan), r"start must be a number in \(0, inf\), got nan"),
    (lambda: signal(tower(ReLU, [2, 3]), np.ones((4, 2)), np.ones((1, 3))), r"dout must have the outputs' shape \(4, 3\), got \(1, 3\)"),
])
def test_what_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_the_signal_is_what_the_layers_give():
    rng = np.random.default_rng(0)
    model = tower(Tanh, [5, 4, 3])
    x, dout = rng.standard_normal((6, 5)), rng.standard_normal((6, 3))
    found = signal(model, x, dout)
    out = model.forward(x)
    dx = model.backward(dout)
    assert found.forward.shape == found.backward.shape == (5,)
    assert found.forward[[0, -1]] == pytest.approx([np.sqrt((x**2).mean()), np.sqrt((out**2).mean())], rel=1e-14)
    assert found.backward[[0, -1]] == pytest.approx([np.sqrt((dx**2).mean()), np.sqrt((dout**2).mean())], rel=1e-14)


def test_a_faint_signal_and_a_loud_one_are_seen_in_single_precision():
    model = tower(ReLU, [4, 4], np.float32)
    model.params["0.W"][...] = 1e-30 * np.eye(4)
    assert signal(model, np.ones((1, 4), np.float32), np.ones((1, 4), np.float32)).forward[-1] == pytest.approx(1e-30)
    model.params["0.W"][...] = 1e30 * np.eye(4)
    assert signal(model, np.ones((1, 4), np.float32), np.ones((1, 4), np.float32)).backward[0] == pytest.approx(1e30)


def test_a_nan_shows_from_where_it_enters():
    model = tower(Tanh, [2, 2, 2])
    model.params["2.W"][0, 0] = np.nan
    found = signal(model, np.ones((1, 2)), np.ones((1, 2)))
    assert np.isnan(found.forward).tolist() == [False, False, False, True, True]


@pytest.mark.parametrize("scale", [0.1, 1.0, math.sqrt(2), 2.0, 30.0])
def test_the_wide_limit_of_relu_is_a_power_both_ways(scale):
    found = wide_limit(ReLU(), scale, 30, start=2.0)
    np.testing.assert_allclose(found.forward, 2 * (scale / math.sqrt(2)) ** np.arange(31), rtol=1e-9)
    np.testing.assert_allclose(found.backward, (scale / math.sqrt(2)) ** np.arange(30, -1, -1), rtol=1e-9)


@pytest.mark.parametrize("activation", [Tanh, Sigmoid])
@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0, 8.0])
def test_the_wide_limit_is_the_integral_and_what_a_wide_layer_does(activation, scale):
    from scipy.integrate import quad

    layer, found = activation(), wide_limit(activation(), scale, 1)

    def normal(of):
        return quad(lambda z: of(np.array([scale * z])).item() * math.exp(-z * z / 2) / math.sqrt(2 * math.pi), -9, 9, limit=200)[0]

    def slope(z):
        layer.forward(z)
        return layer.backward(np.ones_like(z))

    assert found.forward[1] == pytest.approx(math.sqrt(normal(lambda z: layer.forward(z) ** 2)), rel=1e-6)
    assert found.backward[0] == pytest.approx(scale * math.sqrt(normal(lambda z: slope(z) ** 2)), rel=1e-6)
    width, rng = 400, np.random.default_rng(0)
    model = tower(activation, [width, width])
    initialize(model, scale / math.sqrt(width), rng)
    x, dout = rng.standard_normal((2, 60, width))
    measured = signal(model, x / np.sqrt((x**2).mean()), dout / np.sqrt((dout**2).mean()))
    assert measured.forward[-1] == pytest.approx(found.forward[1], rel=0.02)
    assert measured.backward[0] == pytest.approx(found.backward[0], rel=0.03)


def test_tanh_at_gain_one_dies_like_a_power_of_the_depth():
    found = wide_limit(Tanh(), 1.0, 4000).forward
    assert found[4000] * math.sqrt(2 * 4000) == pytest.approx(1, abs=0.005)
    assert found[2000] / found[4000] == pytest.approx(math.sqrt(2), rel=1e-3)


def test_tanh_above_gain_one_is_level_forward_and_explodes_backward_faster_for_a_larger_gain():
    growth = []
    for gain in (1.2, 5 / 3, 3, 10):
        forward, backward = wide_limit(Tanh(), gain, 100)
        assert forward[60] == pytest.approx(forward[100], rel=1e-3)
        growth.append(backward[20] / backward[21])
    assert growth == sorted(growth)
    np.testing.assert_allclose(growth, [1.017, 1.10, 1.36, 2.35], rtol=0.01)


def test_deep_saturation_makes_the_gradient_grow():
    for scale in (10.0, 20.0):
        found = wide_limit(Tanh(), scale, 5)
        factor = found.backward[0] / found.backward[1]
        assert factor == pytest.approx(math.sqrt(4 * scale / (3 * math.sqrt(2 * math.pi))), rel=0.05)


@pytest.mark.parametrize("by", [0.5, 2.0])
def test_a_relu_network_is_homogeneous_in_each_layer_bit_for_bit(by):
    rng = np.random.default_rng(0)
    model = tower(ReLU, [10, 8, 8, 6])
    x, dout = rng.standard_normal((3, 10)), rng.standard_normal((3, 6))
    plain = signal(model, x, dout)
    for key, W in model.params.items():
        if key.endswith("W"):
            W *= by
    scaled = signal(model, x, dout)
    np.testing.assert_array_equal(scaled.forward, plain.forward * by ** np.array([0, 1, 1, 2, 2, 3, 3]))
    np.testing.assert_array_equal(scaled.backward, plain.backward * by ** np.array([3, 2, 2, 1, 1, 0, 0]))


def layer_factors(draw, runs, n):
    """What a layer with ReLU does to the mean square of one fixed input, in many draws."""
    x = np.linspace(-1, 2, n)
    return np.array([(np.maximum(x @ draw(), 0) ** 2).sum() / (x @ x) for _ in range(runs)])


def test_a_layers_factor_has_mean_one_and_the_derived_variances():
    n, rng = 12, np.random.default_rng(0)
    for draw, variance in ((lambda: he(n, n) * rng.standard_normal((n, n)), 5 / n),
                           (lambda: orthogonal((n, n), rng, math.sqrt(2)), 3 / (n + 2))):
        factors = layer_factors(draw, 6000, n)
        assert abs(factors.mean() - 1) < 4 * math.sqrt(variance / 6000)
        assert factors.var(ddof=1) == pytest.approx(variance, rel=0.12)


def test_fan_in_telescopes_on_the_way_back_and_the_average_fades():
    widths = [90, 30] * 8 + [90]
    model, rng = tower(ReLU, widths), np.random.default_rng(0)
    ends = {}
    for name, scheme in (("he", he), ("average", lambda i, o: math.sqrt(2) * xavier(i, o))):
        logs = []
        for _ in range(12):
            initialize(model, scheme, rng)
            found = signal(model, rng.standard_normal((10, 90)), rng.standard_normal((10, 90)))
            logs.append(np.log([found.forward[-1], found.backward[0]]))
        ends[name] = np.mean(logs, axis=0)
    expected = 8 * math.log(4 * 90 * 30 / 120**2) / 2  # -1.15 for the eight pairs
    np.testing.assert_allclose(ends["he"], 0, atol=0.8)
    np.testing.assert_allclose(ends["average"] - ends["he"], expected, atol=0.6)


def test_with_zero_weights_only_the_last_bias_ever_moves():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 5)), rng.integers(0, 3, 40)
    for activation in (ReLU, Tanh):
        model = Sequential(*tower(activation, [5, 4, 4, 3]).layers[:-1])
        initialize(model, 0.0, rng)
        fit(model, x, y, SGD(lr=0.5), epochs=5, rng=rng, batch_size=8)
        assert [key for key, array in model.params.items() if array.any()] == ["4.b"]


def test_equal_units_stay_equal_and_do_what_one_unit_does():
    x, y = np.random.default_rng(0).standard_normal((40, 5)) + 1, np.random.default_rng(1).integers(0, 3, 40)

    def trained(units, weights):
        model = Sequential(*tower(ReLU, [5, units, units, 3]).layers[:-1])
        for key, weight in zip(("0.W", "2.W", "4.W"), weights):
            model.params[key][...] = weight
        history = fit(model, x, y, SGD(lr=0.2), epochs=8, rng=np.random.default_rng(2), batch_size=8)
        return model.params, np.array(history.losses)

    c, k = 0.2, 9
    team, losses = trained(k, (c, c, c))
    alone, losses_alone = trained(1, (c * math.sqrt(k), c * k, c * math.sqrt(k)))
    assert abs(losses[-1] - losses[0]) > 1e-3
    np.testing.assert_allclose(losses_alone, losses, rtol=1e-9)
    np.testing.assert_allclose(team["0.W"] * math.sqrt(k), np.repeat(alone["0.W"], k, axis=1), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(team["2.W"] * k, np.full((k, k), alone["2.W"].item()), rtol=1e-7)
    assert np.linalg.matrix_rank(team["4.W"], tol=1e-9) == 1


# What the chapter says in words

@pytest.mark.parametrize("seed", range(5))
def test_averaged_fans_lose_with_every_change_of_width(seed):
    rng = np.random.default_rng(seed)
    widths = [40, *rng.integers(2, 200, 8), 40]
    factors = [[2 * count / (a + b) for a, b in pairwise(widths) for count in ((a, b)[way],)] for way in (0, 1)]
    for each, ends in zip(factors, (widths[0] / widths[-1], widths[-1] / widths[0])):
        assert math.prod(each) < math.sqrt(ends)


def plain(hidden, units=16):
    return Sequential(*tower(ReLU, [64] + [units] * hidden + [10]).layers[:-1])


def test_what_parts_the_units_may_be_a_formula_or_dropout():
    data = digits()
    x = data.inputs - data.inputs.mean(axis=0)
    test = data.test_inputs - data.inputs.mean(axis=0)
    by_turn = {}
    for turn in (1.0, 0.7):  # which formula matters
        model = plain(2)
        for key in ("0.W", "2.W", "4.W"):
            W = model.params[key]
            row, column = np.indices(W.shape) + 1
            W[...] = he(*W.shape) * math.sqrt(2) * np.cos(turn * row * column)
        fit(model, x, data.labels, SGD(lr=0.1), epochs=6, rng=np.random.default_rng(1))
        by_turn[turn] = evaluate(model, test, data.test_labels)["accuracy"]
    assert by_turn[1.0] > 0.85
    assert 0.3 < by_turn[0.7] < 0.7

    layers = plain(2).layers
    for layer in layers[::2]:
        layer.params["W"][...] = 0.1
    model = Sequential(*layers[:2], Dropout(0.5), *layers[2:])
    fit(model, x, data.labels, SGD(lr=0.5), epochs=2, rng=np.random.default_rng(1))
    assert len(np.unique(model.params["0.W"].round(9), axis=1).T) == 16


def test_a_wrong_scale_costs_much_with_ten_layers_and_a_tuned_rate_makes_it_good_with_three():
    def right(scheme, rate, hidden, seed):
        split, rng = digits(seed), np.random.default_rng(seed)
        mean, spread = split.inputs.mean(axis=0), split.inputs.std()
        model = plain(hidden, 50)
        initialize(model, scheme, rng)
        fit(model, (split.inputs - mean) / spread, split.labels, Momentum(lr=rate), epochs=3, rng=rng)
        return evaluate(model, (split.test_inputs - mean) / spread, split.test_labels)["accuracy"]

    def mean(scheme, rate, hidden):
        return np.mean([right(scheme, rate, hidden, seed) for seed in range(3)])

    assert mean(he, 0.02, 10) > 0.2 + mean(lecun, 0.04, 10)
    assert mean("orthogonal", 0.01, 10) > mean(he, 0.01, 10)
    assert abs(mean(he, 0.08, 3) - mean(lecun, 0.08, 3)) < 0.03

    def larger(fan_in, fan_out):
        return 2 / math.sqrt(fan_in)

    assert mean(lecun, 0.005, 3) + 0.1 < mean(he, 0.005, 3) < mean(larger, 0.005, 3)


def test_with_biases_drawn_like_the_weights_a_deep_relu_tower_forgets_its_input():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 100))
    for _ in range(30):
        W, b = rng.uniform(-0.1, 0.1, (100, 100)), rng.uniform(-0.1, 0.1, 100)
        x = np.maximum(x @ W + b, 0)
    assert np.linalg.norm(x[0]) > 0.01 and np.linalg.norm(x[0] - x[1]) < 1e-6 * np.linalg.norm(x[0])
