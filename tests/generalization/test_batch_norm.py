"""Batch norm: its two passes against its peers and against complex steps, and what the chapter proves about it."""

import numpy as np
import pytest

from reference_impl import SGD, Affine, Conv2D, Flatten, ReLU, Sequential, digits, evaluate, fit, softmax_cross_entropy
from reference_impl.generalization.batch_norm import BatchNorm

SHAPES = [(6, 4), (2, 4), (3, 2, 5, 4), (1, 3, 3, 4), (2, 5, 4)]


def drawn(shape, seed=0, dtype=float):
    """A layer with scales, shifts and running statistics of its own, a batch, and a gradient by the output."""
    rng = np.random.default_rng(seed)
    x = rng.normal(rng.normal(size=shape[-1]), rng.uniform(0.5, 3, shape[-1]), shape)
    return x.astype(dtype), rng.normal(size=shape).astype(dtype)


def layer_for(features, seed=1, **settings):
    rng, layer = np.random.default_rng(seed), BatchNorm(features, **settings)
    layer.params["gamma"][:] = rng.normal(size=features)
    layer.params["beta"][:] = rng.normal(size=features)
    layer.buffers["mean"][:] = rng.normal(size=features)
    layer.buffers["var"][:] = rng.uniform(0.5, 2, features)
    return layer


def as_rows(x):
    return x.reshape(-1, x.shape[-1])


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("shape", "eps"), [(shape, eps) for shape in SHAPES for eps in (0.0, 1e-5, 0.3) if eps or shape != (2, 4)])
def test_backward_is_the_complex_steps(shape, eps, train):
    x, dout = drawn(shape)
    layer = layer_for(4, eps=eps)
    layer.forward(x, train=train)
    dx = layer.backward(dout)

    def derivative(change):
        shadow, z = layer_for(4, eps=eps), x.astype(complex)
        for arrays in (shadow.params, shadow.buffers):
            arrays.update({name: array.astype(complex) for name, array in arrays.items()})
        change(shadow, z)
        return (dout * shadow.forward(z, train=train)).sum().imag / 1e-30

    expected = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        def move(_, z, i=i):
            z[i] += 1e-30j
        expected[i] = derivative(move)
    np.testing.assert_allclose(dx, expected, rtol=1e-10, atol=1e-12 * abs(expected).max())
    for name in ("gamma", "beta"):
        for j in range(4):
            def turn(shadow, _, name=name, j=j):
                shadow.params[name][j] += 1e-30j
            assert layer.grads[name][j] == pytest.approx(derivative(turn), rel=1e-10)


@pytest.mark.parametrize("train", [True, False])
def test_backward_is_the_central_differences(train):
    x, dout = drawn((7, 3))
    layer = layer_for(3, keep=1.0)  # a forward pass in training leaves the statistics alone
    layer.forward(x, train=train)
    dx, expected, h = layer.backward(dout), np.zeros_like(x), 1e-5
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        expected[i] = (dout * (layer.forward(x + step, train=train) - layer.forward(x - step, train=train))).sum() / (2 * h)
    assert abs(dx - expected).max() / abs(expected).max() < 1e-7


@pytest.mark.peers
@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 5, 4)])
@pytest.mark.parametrize("momentum", [0.1, 0.35, 0.0])
def test_it_is_torchs(shape, momentum):
    torch = pytest.importorskip("torch")
    kind, axes, back = (torch.nn.BatchNorm1d, (0, 1), (0, 1)) if len(shape) == 2 else (torch.nn.BatchNorm2d, (0, 3, 1, 2), (0, 2, 3, 1))
    theirs = kind(4, momentum=momentum, eps=1e-3, dtype=torch.float64)
    ours = layer_for(4, keep=1 - momentum, ddof=1, eps=1e-3)
    assert repr(BatchNorm.pytorch(4, momentum=momentum, eps=1e-3)) == repr(ours)
    with torch.no_grad():
        for tensor, array in ((theirs.weight, ours.params["gamma"]), (theirs.bias, ours.params["beta"]),
                              (theirs.running_mean, ours.buffers["mean"]), (theirs.running_var, ours.buffers["var"])):
            tensor.copy_(torch.from_numpy(array))
    for step, train in enumerate([True, True, False, True, False]):
        x, dout = drawn(shape, step)
        theirs.train(train)
        z = torch.from_numpy(x).permute(axes).requires_grad_()
        out = theirs(z)
        theirs.zero_grad()
        out.backward(torch.from_numpy(dout).permute(axes))
        pairs = [(ours.forward(x, train=train), out.detach().permute(back)), (ours.backward(dout), z.grad.permute(back)),
                 (ours.grads["gamma"], theirs.weight.grad), (ours.grads["beta"], theirs.bias.grad),
                 (ours.buffers["mean"], theirs.running_mean), (ours.buffers["var"], theirs.running_var)]
        for mine, other in pairs:
            np.testing.assert_allclose(mine, other.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.peers
def test_the_defaults_of_the_pytorch_preset_are_torchs():
    torch = pytest.importorskip("torch")
    theirs, ours = torch.nn.BatchNorm1d(5), BatchNorm.pytorch(5)
    assert (ours.keep, ours.eps) == (1 - theirs.momentum, theirs.eps)
    assert (theirs.running_mean.numpy() == ours.buffers["mean"]).all() and (theirs.running_var.numpy() == ours.buffers["var"]).all()


@pytest.mark.parametrize(("make", "keep", "ddof", "eps"), [
    (lambda: BatchNorm.pytorch(4), 0.9, 1, 1e-5),
    (lambda: BatchNorm.pytorch(4, momentum=0.25, eps=0.1), 0.75, 1, 0.1),
    (lambda: BatchNorm.keras(4), 0.99, 0, 1e-3),
    (lambda: BatchNorm.keras(4, momentum=0.25, eps=0.1), 0.25, 0, 0.1),
])
@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 5, 4)])
def test_the_presets_follow_their_frameworks_documented_formulas(make, keep, ddof, eps, shape):
    layer, mean, var = make(), np.zeros(4), np.ones(4)
    for seed in range(3):
        x, _ = drawn(shape, seed)
        rows = as_rows(x)
        y = layer.forward(x, train=True)
        np.testing.assert_allclose(as_rows(y), (rows - rows.mean(0)) / np.sqrt(rows.var(0) + eps), rtol=0, atol=1e-12)
        mean = mean * keep + rows.mean(0) * (1 - keep)
        var = var * keep + rows.var(0, ddof=ddof) * (1 - keep)
        np.testing.assert_allclose(layer.buffers["mean"], mean, rtol=1e-12)
        np.testing.assert_allclose(layer.buffers["var"], var, rtol=1e-12)
    np.testing.assert_allclose(as_rows(layer.forward(x)), (rows - mean) / np.sqrt(var + eps), rtol=0, atol=1e-12)


# The properties that the CS231n assignment of 2026 states (BatchNormalization.ipynb).
def test_cs231n_training_gives_mean_beta_and_std_gamma():
    x = np.random.default_rng(231).normal(size=(200, 50)) @ np.random.default_rng(1).normal(size=(50, 3)) - 4
    layer = BatchNorm(3)
    y = layer.forward(x, train=True)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-13)
    np.testing.assert_allclose(y.std(0), 1, atol=1e-6)
    layer.params["gamma"][:], layer.params["beta"][:] = [1, 2, 3], [11, 12, 13]
    y = layer.forward(x, train=True)
    np.testing.assert_allclose(y.mean(0), [11, 12, 13], rtol=1e-13)
    np.testing.assert_allclose(y.std(0), [1, 2, 3], rtol=1e-6)


def test_cs231n_after_fifty_passes_the_test_time_is_near_but_noisier():
    rng = np.random.default_rng(231)
    W1, W2, layer = rng.normal(size=(50, 60)), rng.normal(size=(60, 3)), BatchNorm(3)
    layer.buffers["var"][:] = 0  # as there
    for _ in range(50):
        layer.forward(np.maximum(rng.normal(size=(200, 50)) @ W1, 0) @ W2, train=True)
    y = layer.forward(np.maximum(rng.normal(size=(200, 50)) @ W1, 0) @ W2)
    assert 1e-8 < abs(y.mean(0)).max() < 0.2 and 1e-8 < abs(y.std(0) - 1).max() < 0.2


def test_cs231n_the_running_statistics_are_biased_and_keep_a_tenth_of_the_batch():
    x, _ = drawn((9, 4))
    layer = BatchNorm(4)
    layer.buffers["var"][:] = 0
    layer.forward(x, train=True)
    np.testing.assert_allclose(layer.buffers["mean"], 0.1 * x.mean(0), rtol=1e-13)
    np.testing.assert_allclose(layer.buffers["var"], 0.1 * x.var(0), rtol=1e-13)


def test_cs231n_the_compact_backward_pass_is_the_nodes():
    x, dout = drawn((9, 4))
    layer = layer_for(4)
    layer.forward(x, train=True)
    n, c = len(x), x - x.mean(0)
    r = 1 / np.sqrt((c * c).mean(0) + layer.eps)
    dx_hat = dout * layer.params["gamma"]
    dv = (dx_hat * c).sum(0) * -0.5 * r**3
    dc = dx_hat * r + 2 * c / n * dv
    by_nodes = dc - dc.sum(0) / n
    assert abs(layer.backward(dout) - by_nodes).max() < 1e-12 * abs(by_nodes).max()


# Exact relations.
@pytest.mark.parametrize("a", [-3.0, -0.01, 0.5, 1e6])
def test_batch_norm_of_a_x_plus_b_is_sign_a_times_that_of_x(a):
    x, _ = drawn((8, 3))
    layer = BatchNorm(3, eps=0.0)
    np.testing.assert_allclose(layer.forward(a * x + 7, train=True), np.sign(a) * layer.forward(x, train=True), rtol=1e-8)
    assert abs(BatchNorm(3, eps=0.1).forward(2 * x, train=True) - BatchNorm(3, eps=0.1).forward(x, train=True)).max() > 1e-3


@pytest.mark.parametrize("eps", [0.0, 1e-5, 2.0])
@pytest.mark.parametrize("shape", [(8, 3), (2, 4, 4, 3)])
def test_what_the_gradient_by_the_input_is_orthogonal_to(shape, eps):
    x, dout = drawn(shape)
    layer = layer_for(3, eps=eps)
    layer.forward(x, train=True)
    dx, rows = as_rows(layer.backward(dout)), as_rows(x)
    var = rows.var(0)
    x_hat = (rows - rows.mean(0)) / np.sqrt(var + eps)
    np.testing.assert_allclose(dx.sum(0), 0, atol=1e-13)
    left = layer.params["gamma"] * layer.grads["gamma"] * eps / (var + eps) ** 1.5
    np.testing.assert_allclose((x_hat * dx).sum(0), left, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose((x_hat**2).sum(0), len(rows) * var / (var + eps), rtol=1e-12)


def test_a_batch_of_two_is_a_sign_and_lets_no_gradient_through():
    layer = BatchNorm(1, eps=0.0)
    assert layer.forward(np.array([[3.0], [3.5]]), train=True).tolist() == [[-1.0], [1.0]]
    assert layer.backward(np.array([[5.0], [-2.0]])).tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize("n", [2, 5, 50])
def test_no_value_exceeds_the_root_of_n_minus_one(n):
    x = np.random.default_rng(n).standard_cauchy((n, 200))
    bound = np.sqrt(n - 1)
    assert abs(BatchNorm(200).forward(x, train=True)).max() <= bound * (1 + 1e-12)
    alone = np.zeros((n, 1))
    alone[0] = 5.0
    assert BatchNorm(1, eps=0.0).forward(alone, train=True)[0, 0] == pytest.approx(bound, rel=1e-12)


def test_images_are_rows_of_pixels():
    x, dout = drawn((3, 4, 5, 2))
    image, rows = layer_for(2, ddof=1), layer_for(2, ddof=1)
    np.testing.assert_array_equal(as_rows(image.forward(x, train=True)), rows.forward(as_rows(x), train=True))
    np.testing.assert_array_equal(as_rows(image.backward(dout)), rows.backward(as_rows(dout)))
    np.testing.assert_array_equal(image.buffers["var"], rows.buffers["var"])


# What the chapter derives.
def network(scale=1.0, eps=0.0, bias=False):
    hidden, head = (Affine(5, 8, rng=np.random.default_rng(0), bias=bias), Affine(8, 3, rng=np.random.default_rng(1)))
    hidden.params["W"] *= scale
    return Sequential(hidden, BatchNorm(8, eps=eps), ReLU(), head)


def gradient(model, seed=0):
    rng = np.random.default_rng(seed)
    loss, dscores = softmax_cross_entropy(model.forward(rng.normal(size=(12, 5)), train=True), rng.integers(0, 3, 12))
    model.backward(dscores)
    return loss


def test_the_bias_before_it_is_redundant():
    model = network(eps=1e-5, bias=True)
    loss = gradient(model)
    assert abs(model.grads["0.b"]).max() < 1e-14 < abs(model.grads["0.W"]).max()
    model.params["0.b"][:] = np.arange(8.0) * 10
    assert gradient(model) == pytest.approx(loss, rel=1e-9)


@pytest.mark.parametrize("c", [2.0**-10, 0.5, 8.0])
def test_the_scale_of_the_weights_is_a_learning_rate_bit_for_bit(c):
    eps, paths = 2.0**-10, []
    for scale in (1.0, c):
        model, losses = network(scale, eps * scale**2), []
        for step in range(20):
            losses.append(gradient(model, step))
            for key, w in model.params.items():
                w -= (0.1 * scale**2 if key == "0.W" else 0.1) * model.grads[key]
        paths.append(losses)
    assert paths[0] == paths[1] and paths[0][0] != paths[0][-1]


def test_the_gradient_stands_at_right_angles_to_the_weights_and_falls_as_they_grow():
    short, long = network(), network(4.0)
    assert gradient(short) == gradient(long)
    w, g = short.params["0.W"], short.grads["0.W"]
    np.testing.assert_array_equal(long.grads["0.W"], g / 4)
    assert abs((w * g).sum(0)).max() < 1e-14 < abs(g).max()
    after = w - 0.5 * g
    np.testing.assert_allclose((after**2).sum(0), (w**2).sum(0) + 0.25 * (g**2).sum(0), rtol=1e-13)


def test_at_test_time_it_melts_into_the_layer_before():
    x, _ = drawn((6, 4))
    affine, norm = Affine(4, 3, rng=np.random.default_rng(0)), layer_for(3)
    factor = norm.params["gamma"] / np.sqrt(norm.buffers["var"] + norm.eps)
    shift = (affine.params["b"] - norm.buffers["mean"]) * factor + norm.params["beta"]
    np.testing.assert_allclose(x @ (affine.params["W"] * factor) + shift, Sequential(affine, norm).forward(x), rtol=1e-12)


def test_training_and_test_differ_until_the_statistics_have_followed():
    x, _ = drawn((20, 3))
    layer = BatchNorm(3)
    trained = layer.forward(x, train=True)
    assert abs(layer.forward(x) - trained).max() > 0.1
    for _ in range(400):
        layer.forward(x, train=True)
    np.testing.assert_allclose(layer.forward(x), trained, atol=1e-9)


def test_at_test_time_an_answer_depends_on_no_neighbour_and_changes_nothing():
    x, _ = drawn((6, 4))
    layer = layer_for(4)
    before = {key: array.copy() for key, array in layer.buffers.items()}
    together = layer.forward(x)
    np.testing.assert_array_equal(together, np.concatenate([layer.forward(row[None]) for row in x]))
    assert all((layer.buffers[key] == before[key]).all() for key in before)
    assert layer.forward(x[:0]).shape == (0, 4) and layer.backward(x[:0]).shape == (0, 4)


def test_a_frozen_layer_runs_as_at_test_time_in_both_passes():
    x, dout = drawn((6, 4))
    layer = layer_for(4)
    layer.frozen = True
    model = Sequential(layer)
    before = model.state_dict()
    out = model.forward(x, train=True)
    np.testing.assert_array_equal(out, layer_for(4).forward(x))
    scale = layer.params["gamma"] / np.sqrt(layer.buffers["var"] + layer.eps)
    np.testing.assert_allclose(model.backward(dout), dout * scale, rtol=1e-14)
    assert not model.params and all((model.state_dict()[key] == before[key]).all() for key in before)


def test_keep_one_holds_the_statistics_and_the_unrolled_weights_are_those_of_the_chapter():
    batches = [drawn((5, 2), seed)[0] for seed in range(6)]
    still, moving = BatchNorm(2, keep=1.0), BatchNorm(2, keep=0.7)
    for x in batches:
        still.forward(x, train=True)
        moving.forward(x, train=True)
    assert (still.buffers["mean"] == 0).all() and (still.buffers["var"] == 1).all()
    weights = 0.3 * 0.7 ** np.arange(6)[::-1]
    np.testing.assert_allclose(moving.buffers["mean"], weights @ [x.mean(0) for x in batches], rtol=1e-12)
    np.testing.assert_allclose(moving.buffers["var"], weights @ [x.var(0) for x in batches] + 0.7**6, rtol=1e-12)


def test_the_unbiased_variance_is_unbiased_and_the_biased_one_too_small():
    rng, layers = np.random.default_rng(0), [BatchNorm(400, keep=0.999, ddof=ddof) for ddof in (0, 1)]
    for layer in layers:
        layer.buffers["var"][:] = 4
    for _ in range(1500):
        x = rng.normal(0, 2, (3, 400))
        for layer in layers:
            layer.forward(x, train=True)
    forgot = 1 - 0.999**1500
    assert layers[0].buffers["var"].mean() == pytest.approx(4 - 4 / 3 * forgot, rel=0.01)
    assert layers[1].buffers["var"].mean() == pytest.approx(4, rel=0.01)


def balanced(alpha, decay, steps, start, g=3.0, seed=0):
    """The square of a weight's length after `steps`, and the tangents of its turns, under gradients of length g/|w| at right angles."""
    rng, w, turns = np.random.default_rng(seed), np.full(50, start / 50**0.5), []
    for _ in range(steps):
        slope = rng.normal(size=50)
        slope -= w * (w @ slope) / (w @ w)
        slope *= g / np.linalg.norm(slope) / np.linalg.norm(w)
        turns.append(alpha * np.linalg.norm(slope) / np.linalg.norm(w))
        w = (1 - alpha * decay) * w - alpha * slope
    return w @ w, np.array(turns)


@pytest.mark.parametrize("start", [0.1, 20.0])
@pytest.mark.parametrize(("alpha", "decay"), [(0.2, 0.1), (0.4, 0.05), (0.1, 0.05)])
def test_decay_and_gradient_balance_and_the_turn_is_that_of_their_product_alone(alpha, decay, start):
    q, turns = balanced(alpha, decay, round(8 / (alpha * decay)), start)
    assert q**2 == pytest.approx(alpha * 3**2 / (decay * (2 - alpha * decay)), rel=1e-3)
    assert turns[-1] ** 2 == pytest.approx(alpha * decay * (2 - alpha * decay), rel=1e-3)


def test_before_one_over_two_alpha_lambda_steps_there_is_no_balance():
    turns = [balanced(0.2, 0.1, round(0.5 / (2 * 0.2 * 0.1)), start)[1][-1] / np.sqrt(2 * 0.2 * 0.1) for start in (2.0, 20.0)]
    assert turns[1] < 0.1 and turns[0] > 0.7


SEEDS = range(10)


def deep(seed, norm, depth, std=None, last=None):
    rng, layers, n = np.random.default_rng(seed), [], 64
    for _ in range(depth):
        layers += [Affine(n, 32, rng=rng, std=std, bias=norm is None), *([norm(32)] if norm else []), ReLU()]
        n = 32
    return Sequential(*layers, Affine(n, 10, rng=rng, std=last or std))


def accuracies(seed, norm, lr, stops, *, count=1348, size=32, depth=2, std=None, last=None, held=False):
    """Test accuracies in per cent after each of the steps in `stops`; `held` keeps the length of each hidden unit's weights."""
    data, model, rng = digits(seed), deep(seed, norm, depth, std, last), np.random.default_rng(seed)
    hidden = [w for key, w in model.params.items() if key.endswith("W")][:-1]
    long, found = [np.linalg.norm(w, axis=0) for w in hidden], []
    for step in range(1, stops[-1] + 1):
        pick = rng.integers(0, count, size) if size < count else np.arange(count)
        _, slope = softmax_cross_entropy(model.forward(data.inputs[pick], train=True), data.labels[pick])
        model.backward_params(slope)
        for key, w in model.params.items():
            w -= lr * model.grads[key]
        if held:
            for w, length in zip(hidden, long, strict=True):
                w *= length / np.linalg.norm(w, axis=0)
        if step in stops:
            found.append(100 * evaluate(model, data.test_inputs, data.test_labels)["accuracy"])
    return np.array(found)


def paired(values):
    """Mean of paired differences, and its standard error."""
    return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def test_on_new_digits_it_helps_or_harms_by_how_many_there_were_and_how_long_it_trained_and_its_noise_helps():
    of = {(norm, count): np.array([accuracies(seed, norm, 0.1, (60, 300), count=count) for seed in SEEDS])
          for norm in (None, BatchNorm) for count in (100, 400)}
    few, many = (of[BatchNorm, count] - of[None, count] for count in (100, 400))
    without_noise = np.array([accuracies(seed, BatchNorm, 0.1, (300,), count=100, size=100)[0] for seed in SEEDS])
    for gains in (few[:, 0], -few[:, 1], many[:, 0], many[:, 1] - few[:, 1], of[BatchNorm, 100][:, 1] - without_noise):
        mean, error = paired(gains)
        assert mean > 2 * error > 0


def test_the_growth_of_the_weights_carries_a_bad_start_and_huge_steps_but_not_large_ones():
    def loss_if_held(lr, std=None):
        runs = [np.array([accuracies(seed, BatchNorm, lr, (90,), depth=5, std=std, held=held)[0] for seed in SEEDS]) for held in (False, True)]
        return paired(runs[0] - runs[1])

    mean, error = loss_if_held(0.1, std=0.01)
    assert mean - 3 * error > 20
    mean, error = loss_if_held(1.6)
    assert mean > 2 * error
    mean, error = loss_if_held(0.4)
    assert abs(mean) < 3


def test_a_small_start_lags_by_the_last_layer_which_no_batch_norm_follows():
    def reached(**start):
        return np.array([accuracies(seed, BatchNorm, 0.1, (90,), depth=5, **start)[0] for seed in SEEDS])

    usual, last = reached(), np.sqrt(2 / 32)
    mean, error = paired(usual - reached(std=0.01))
    assert mean - 3 * error > 10
    mean, error = paired(usual - reached(std=0.01, last=last))
    assert mean - 2 * error < 0
    mean, error = paired(reached(std=0.01, last=last) - reached(std=0.01, last=last, held=True))
    assert mean - 3 * error > 40


def test_in_batches_of_two_the_first_layer_learns_by_epsilon_alone():
    for eps, moves in ((0.0, False), (0.1, True)):
        model, rng = deep(0, lambda n, eps=eps: BatchNorm(n, eps=eps), 2), np.random.default_rng(0)
        _, slope = softmax_cross_entropy(model.forward(rng.normal(size=(2, 64)), train=True), np.array([3, 5]))
        model.backward(slope)
        assert (abs(model.grads["0.W"]).max() > 1e-6) == moves
        assert abs(model.grads["4.gamma"]).max() > 1e-6 and abs(model.grads["6.W"]).max() > 1e-6


# What could go wrong.
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e200])
def test_what_is_not_finite_is_seen_and_spares_the_running_statistics(bad):
    x, dout = drawn((6, 3))
    x[2, 1] = bad
    layer, clean = layer_for(3), layer_for(3)
    with np.errstate(all="ignore"):
        out = layer.forward(x, train=True)
        dx = layer.backward(dout)
    assert np.isnan(out[:, 1]).all() and np.isnan(dx[:, 1]).all()
    expected = clean.forward(np.ascontiguousarray(np.where(np.arange(3) == 1, 0.0, x)), train=True)
    np.testing.assert_allclose(out[:, ::2], expected[:, ::2], rtol=1e-12)
    np.testing.assert_allclose(layer.buffers["mean"][::2], clean.buffers["mean"][::2], rtol=1e-12)
    assert layer.buffers["mean"][1] == layer_for(3).buffers["mean"][1] and layer.buffers["var"][1] == layer_for(3).buffers["var"][1]


def test_a_constant_feature_gives_the_shift_and_a_far_one_keeps_its_variance():
    layer = layer_for(2)
    out = layer.forward(np.full((5, 2), 3.0), train=True)
    np.testing.assert_allclose(out, np.tile(layer.params["beta"], (5, 1)), rtol=0, atol=1e-12)
    assert np.isfinite(layer.backward(np.ones((5, 2)))).all()
    x = 1e9 + np.arange(8.0)[:, None]
    np.testing.assert_allclose(BatchNorm(1, eps=0.0).forward(x, train=True).std(), 1, rtol=1e-12)
    with np.errstate(all="ignore"):
        assert np.isnan(BatchNorm(1, eps=0.0).forward(np.ones((5, 1)), train=True)).all()


def test_dtypes_stay_dicts_are_never_rebound_and_inputs_are_left_alone():
    x, dout = drawn((6, 4), dtype=np.float32)
    layer = BatchNorm(4, keep=np.float64(0.9), eps=np.float64(1e-5), dtype=np.float32)
    held = {**layer.params, **layer.grads, **layer.buffers}
    ids = {id(a) for d in (layer.params, layer.grads, layer.buffers) for a in d.values()}
    x0, d0 = x.copy(), dout.copy()
    for train in (True, False):
        out, dx = layer.forward(x, train=train), layer.backward(dout)
        assert out.dtype == dx.dtype == np.float32 and not np.shares_memory(out, x) and not np.shares_memory(dx, dout)
    assert all(a.dtype == np.float32 for a in held.values())
    assert ids == {id(a) for d in (layer.params, layer.grads, layer.buffers) for a in d.values()}
    np.testing.assert_array_equal(x, x0)
    np.testing.assert_array_equal(dout, d0)


def test_layout_does_not_matter():
    x, dout = drawn((3, 4, 6, 2))
    a, b = layer_for(2), layer_for(2)
    turned = np.asfortranarray(x)[:, ::-1], np.asfortranarray(dout)[:, ::-1]
    np.testing.assert_allclose(b.forward(turned[0], train=True)[:, ::-1], a.forward(x, train=True), rtol=1e-11)
    np.testing.assert_allclose(b.backward(turned[1])[:, ::-1], a.backward(dout), rtol=1e-10, atol=1e-13)


def test_it_trains_in_a_model_after_a_convolution_and_its_state_is_saved():
    rng = np.random.default_rng(0)

    def build():
        return Sequential(Conv2D(1, 3, 3, rng=np.random.default_rng(0), bias=False), BatchNorm(3), ReLU(), Flatten(),
                          Affine(48, 2, rng=np.random.default_rng(1)))

    x = rng.normal(size=(64, 6, 6, 1))
    labels = (x.mean(axis=(1, 2, 3)) > 0).astype(int)
    model, copy = build(), build()
    history = fit(model, x, labels, SGD(lr=0.1), epochs=10, rng=rng, batch_size=16)
    assert history["loss"][-1] < 0.5 * history["loss"][0] and {"1.mean", "1.var"} == model.buffers.keys()
    assert (model.buffers["1.var"] != 1).all()
    copy.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(copy.forward(x), model.forward(x))


@pytest.mark.parametrize("shape", [(1, 3), (0, 3), (1, 1, 1, 3), (0, 4, 4, 3)])
def test_a_batch_without_spread_is_refused_in_training_before_anything_changes(shape):
    layer = layer_for(3)
    with pytest.raises(ValueError, match=r"x must hold two or more values per feature in training, as one has no spread, got \("):
        layer.forward(np.ones(shape), train=True)
    fresh = layer_for(3)
    assert all((layer.buffers[key] == fresh.buffers[key]).all() for key in fresh.buffers)
    with pytest.raises(RuntimeError, match=r"BatchNorm\.backward needs a forward pass before it, got none"):
        layer.backward(np.ones(shape))
    assert layer.forward(np.ones(shape)).shape == shape


@pytest.mark.parametrize(("call", "message"), [
    (lambda: BatchNorm(2.0), r"features must be a whole number from 1 up, got 2\.0"),
    (lambda: BatchNorm(3, keep=0.0), r"keep must be a number in \(0, 1\], got 0\.0"),
    (lambda: BatchNorm(3, keep=np.nan), r"keep must be a number in \(0, 1\], got nan"),
    (lambda: BatchNorm(3, ddof=2), "ddof must be a whole number from 0 to 1, got 2"),
    (lambda: BatchNorm(3, eps=-1e-5), r"eps must be a number in \[0, inf\), got -1e-05"),
    (lambda: BatchNorm(3, eps=1e-9, dtype=np.float16), "eps must not vanish in float16, got 1e-09"),
    (lambda: BatchNorm(3, dtype=int), r"dtype must be float16, float32 or float64, got <class 'int'>"),
    (lambda: BatchNorm(3, dtype=complex), r"dtype must be float16, float32 or float64, got <class 'complex'>"),
    (lambda: BatchNorm.pytorch(3, momentum=1.0), r"momentum must be a number in \[0, 1\), got 1\.0"),
    (lambda: BatchNorm.keras(3, momentum=0.0), r"momentum must be a number in \(0, 1\], got 0\.0"),
    (lambda: BatchNorm(3).forward(np.ones((4, 2)), train=True), r"x must be \(batch, \.\.\., 3\) of float64, got \(4, 2\) of float64"),
    (lambda: BatchNorm(3).forward(np.ones(3)), r"x must be \(batch, \.\.\., 3\) of float64, got \(3,\) of float64"),
    (lambda: BatchNorm(3).forward(np.ones((4, 3), np.float32)), r"x must be \(batch, \.\.\., 3\) of float64, got \(4, 3\) of float32"),
    (lambda: BatchNorm(3).forward([[1.0, 2.0, 3.0]]), r"x must be an array \(batch, \.\.\., 3\) of float64, got \[\[1\.0, 2\.0, 3\.0\]\]"),
])
def test_what_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("wrong", [[[1.0, 2.0]] * 4, np.ones((3, 2)), np.ones((1, 2)), np.ones(2), np.ones((4, 2), "f4"), np.ma.ones((4, 2))])
def test_a_gradient_that_is_not_the_outputs_is_refused_and_leaves_grads_alone(train, wrong):
    layer = BatchNorm(2)
    layer.forward(drawn((4, 2))[0], train=train)
    with pytest.raises((TypeError, ValueError), match="dout must be "):
        layer.backward(wrong)
    assert not layer.grads["gamma"].any() and not layer.grads["beta"].any()


# Half precision: what float64 gives, rounded once.
def ulps(found, expected):
    """How far it is off, in float16's own steps at the right value."""
    return np.max(np.abs(found.astype(float) - expected) / np.spacing(np.abs(expected).astype(np.float16)).astype(float))


@pytest.mark.parametrize(("shape", "std", "mean"), [((4096, 3), 10, 0), ((16, 16, 16, 3), 10, 5), ((4096, 2), 5000, 0), ((4096, 2), 1e-3, 0),
                                                    ((4096, 2), 30, 2000), ((50_000, 1), 100, -300), ((2, 3), 1000, 0)])
@pytest.mark.parametrize("train", [True, False])
def test_half_precision_gives_what_double_gives_to_an_ulp(shape, std, mean, train):
    rng = np.random.default_rng(0)
    x, dout = (rng.normal(size=shape) * std + mean).astype("f2"), rng.normal(size=shape).astype("f2")
    half, double = (BatchNorm(shape[-1], eps=1e-5, dtype=dtype) for dtype in ("f2", "f8"))
    for layer in (half, double):
        layer.params["gamma"][...], layer.params["beta"][...] = 0.5, 3.0
    for _ in range(30):
        half.forward(x, train=True), double.forward(x.astype(float), train=True)
    for name, expected in double.buffers.items():
        np.testing.assert_allclose(half.buffers[name], expected, rtol=1e-4, atol=1e-4 * std)
        assert np.isfinite(half.buffers[name]).all()
    out, expected = half.forward(x, train=train), double.forward(x.astype(float), train=train)
    assert out.dtype == np.float16 and ulps(out, expected) <= 1
    dx, slopes = half.backward(dout), double.backward(dout.astype(float))
    assert dx.dtype == np.float16
    np.testing.assert_allclose(dx.astype(float), slopes, rtol=1e-3, atol=max(2e-3 * np.abs(slopes).max(), 6e-8))
    for name, expected in double.grads.items():
        np.testing.assert_allclose(half.grads[name].astype(float), expected, rtol=1e-3, atol=1e-3)


def test_half_precision_s_running_statistics_reach_their_goal():
    layer, x = BatchNorm(1, keep=0.999, dtype="f2"), np.array([[1000.0], [1002.0]], "f2")
    for _ in range(10_000):
        layer.forward(x, train=True)
    assert abs(layer.buffers["mean"][0] - 1001) < 0.2 and abs(layer.buffers["var"][0] - 1) < 1e-3
