"""Dropout: its layer, and what the chapter says of its expectation, over all masks."""

import numpy as np
import pytest
import sympy as sp

from reference_impl.generalization.dropout import (
    Dropout,
    all_masks,
    dropout_logistic_penalty,
    dropout_ridge,
    mask_probabilities,
    monte_carlo,
    sample_predictions,
    thinned_predictions,
    uncertainty,
)
from reference_impl.networks.data import digits
from reference_impl.networks.layers import Affine, Flatten, Layer, ReLU
from reference_impl.networks.losses import accuracy, log_softmax, softmax, softmax_cross_entropy
from reference_impl.networks.model import Sequential
from reference_impl.networks.training import Callback, fit
from reference_impl.optimization.momentum import Momentum
from reference_impl.optimization.sgd import SGD

KEEPS = [0.25, 0.4, 0.5, 0.7, 1.0]


def drop(x, keep=0.5, *, inverted=True, seed=0):
    return Dropout(keep, inverted=inverted).forward(x, train=True, rng=np.random.default_rng(seed))


class Given:
    """A generator whose next uniform numbers make this mask."""

    def __init__(self, mask):
        self.mask = mask

    def random(self, shape):
        return np.broadcast_to(np.where(self.mask > 0, 0.0, np.nextafter(1, 0)), shape)


# The layer

@pytest.mark.parametrize("keep", [0.25, 0.4, 0.7])
def test_the_properties_that_the_course_checks(keep):
    """CS231n's notebook: the means agree, the zeros are 1 - p of all, and there are none at test time."""
    x = np.random.default_rng(0).normal(10, 1, (500, 500))
    out, at_test = drop(x, keep), Dropout(keep).forward(x)
    error = np.sqrt((x**2).mean() * (1 - keep) / keep) / 500
    assert abs(out.mean() - x.mean()) < 5 * error and (at_test == x).all() and (at_test != 0).all()
    assert (out == 0).mean() == pytest.approx(1 - keep, abs=5 * np.sqrt(keep * (1 - keep)) / 500)


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("inverted", [True, False])
def test_the_backward_pass_is_the_derivative_of_the_forward_pass(keep, inverted):
    rng = np.random.default_rng(1)
    x, dout, h = rng.normal(size=(10, 7)), rng.normal(size=(10, 7)), 1e-6
    layer = Dropout(keep, inverted=inverted)
    for train in (True, False):
        def value(at, train=train):
            return (layer.forward(at, train=train, rng=np.random.default_rng(2)) * dout).sum()

        numeric = np.array([(value(x + h * e) - value(x - h * e)) / (2 * h) for e in np.eye(70).reshape(70, 10, 7)]).reshape(10, 7)
        value(x)
        np.testing.assert_allclose(layer.backward(dout), numeric, rtol=0, atol=1e-7)


def test_a_pass_at_test_time_replaces_the_mask_of_the_one_before():
    layer, x = Dropout(0.5), np.ones((4, 4))
    layer.forward(x, train=True, rng=np.random.default_rng(0))
    layer.forward(x)
    assert (layer.backward(x) == x).all()


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("inverted", [True, False])
def test_a_factor_of_four_goes_through_bit_for_bit(keep, inverted):
    x = np.random.default_rng(3).normal(size=(30, 20))
    np.testing.assert_array_equal(drop(4 * x, keep, inverted=inverted), 4 * drop(x, keep, inverted=inverted))


@pytest.mark.parametrize("inverted", [True, False])
def test_with_keep_one_it_is_the_identity_bit_for_bit(inverted):
    x = np.random.default_rng(4).normal(size=(30, 20)).astype(np.float32)
    layer = Dropout(1.0, inverted=inverted)
    for train in (True, False):
        out = layer.forward(x, train=train, rng=np.random.default_rng(0))
        np.testing.assert_array_equal(out, x)
        np.testing.assert_array_equal(layer.backward(x), x)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("inverted", [True, False])
@pytest.mark.parametrize("train", [True, False])
def test_the_dtype_is_kept_and_the_input_left_alone(dtype, inverted, train):
    x = np.ones((3, 2, 2, 1), dtype)
    layer = Dropout(0.3, inverted=inverted)
    out = layer.forward(x, train=train, rng=np.random.default_rng(0))
    assert out.dtype == dtype == layer.backward(x).dtype and out.shape == x.shape and (x == 1).all()


def test_every_example_has_a_mask_of_its_own_and_every_pass_a_new_one():
    x, rng, layer = np.ones((50, 30)), np.random.default_rng(0), Dropout(0.5)
    first, second = (layer.forward(x, train=True, rng=rng) for _ in range(2))
    assert len(np.unique(first, axis=0)) == 50 and (first != second).any()


def test_nan_stays_nan_wherever_it_is_and_nothing_is_nothing():
    assert np.isnan(drop(np.full((5, 5), np.nan))).all()
    assert drop(np.zeros((0, 4))).shape == (0, 4)


def test_a_frozen_dropout_drops_nothing():
    layer, x = Dropout(0.5), np.ones((4, 4))
    layer.frozen = True
    assert (Sequential(layer).forward(x, train=True, rng=np.random.default_rng(0)) == x).all()


@pytest.mark.parametrize(("shared", "coins"), [((1, 2), 6 * 5), ((1, 2, 3), 6), ((0,), 4 * 3 * 5), ((), 6 * 4 * 3 * 5)])
def test_a_shared_coin_keeps_or_drops_all_elements_along_its_axes(shared, coins):
    x = np.ones((6, 4, 3, 5))
    layer = Dropout(0.5, shared=shared)
    out = layer.forward(x, train=True, rng=np.random.default_rng(0))
    first = out[tuple(slice(0, 1) if axis in shared else slice(None) for axis in range(4))]
    assert first.size == coins and (out == first).all() and {0.0, 2.0} == set(out.ravel()) and out.shape == x.shape
    dout = np.random.default_rng(1).normal(size=x.shape)
    np.testing.assert_array_equal(layer.backward(dout), dout * out)
    np.testing.assert_array_equal(layer.forward(x), x)


@pytest.mark.parametrize("keep", [0.3, 0.6])
def test_a_shared_coin_keeps_the_mean_of_a_sum_and_squares_the_sum_in_its_variance(keep):
    """Over all masks: the noise of a weighted sum is that of its parts, or of the whole."""
    parts, masks = np.random.default_rng(2).normal(size=7), all_masks(7)
    chances = mask_probabilities(masks, keep)
    apart = masks @ parts / keep
    together = np.array([0, parts.sum() / keep])
    for outputs, weights, variance in ((apart, chances, (parts**2).sum()), (together, np.array([1 - keep, keep]), parts.sum() ** 2)):
        assert weights @ outputs == pytest.approx(parts.sum())
        assert weights @ outputs**2 - parts.sum() ** 2 == pytest.approx((1 - keep) / keep * variance)


@pytest.mark.peers
@pytest.mark.parametrize("keep", [0.3, 0.7])
def test_whole_channels_are_torchs_dropout2d(keep):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    x = torch.linspace(1, 2, 240, dtype=torch.float64).reshape(4, 5, 3, 4)  # (batch, channels, height, width)
    theirs = torch.nn.functional.dropout2d(x, p=1 - keep, training=True).numpy().transpose(0, 2, 3, 1)
    coins = (theirs != 0)[:, :1, :1]
    ours = Dropout(keep, shared=(1, 2)).forward(x.numpy().transpose(0, 2, 3, 1), train=True, rng=Given(coins))
    np.testing.assert_allclose(ours, theirs, rtol=1e-14)


@pytest.mark.peers
@pytest.mark.parametrize("keep", [0.3, 0.5, 0.9])
def test_given_its_mask_torch_agrees(keep):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    x = torch.linspace(1, 2, 60, dtype=torch.float64).reshape(6, 10).requires_grad_()
    theirs = torch.nn.functional.dropout(x, p=1 - keep, training=True)  # their p is what is dropped
    theirs.sum().backward()
    layer, values = Dropout(keep), x.detach().numpy()
    ours = layer.forward(values, train=True, rng=Given(theirs.detach().numpy()))
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-14)
    np.testing.assert_allclose(layer.backward(np.ones((6, 10))), x.grad.numpy(), rtol=1e-14)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: Dropout(0.0), r"keep must lie in \(0, 1\], got 0.0"),
    (lambda: Dropout(1.5), r"keep must lie in \(0, 1\], got 1.5"),
    (lambda: Dropout(float("nan")), r"keep must lie in \(0, 1\], got nan"),
    (lambda: Dropout(0.5, shared=(1, 2)).forward(np.ones((3, 2)), train=True, rng=np.random.default_rng(0)),
     r"shared must be among the axes 0 to 1 of x, got \(1, 2\) for the shape \(3, 2\)"),
    (lambda: thinned_predictions(Sequential(ReLU()), np.ones((1, 1))), "model must have one Dropout layer, got 0"),
    (lambda: thinned_predictions(Sequential(Dropout(), Dropout()), np.ones((1, 1))), "model must have one Dropout layer, got 2"),
    (lambda: thinned_predictions(Sequential(Dropout()), np.ones((1, 1, 1))), r"must be \(batch, n\) with a coin for each unit, got \(1, 1, 1\)"),
    (lambda: thinned_predictions(Sequential(Dropout(shared=(0,))), np.ones((1, 1))), r"with a coin for each unit, .* shared=\(0,\)"),
    (lambda: dropout_logistic_penalty(np.ones(2), np.ones((4, 2)), 0.0), r"keep must lie in \(0, 1\], got 0.0"),
    (lambda: dropout_logistic_penalty(np.ones(3), np.ones((4, 2)), 0.5), r"weights must be one for each column .* got \(3,\) for \(4, 2\)"),
    (lambda: dropout_logistic_penalty(np.ones(3), np.ones(3), 0.5), r"inputs \(n, features\), got \(3,\) for \(3,\)"),
    (lambda: Dropout(0.5).forward(np.ones(3), train=True), "rng must be a numpy.random.Generator when train=True, .* got None"),
    (lambda: all_masks(-1), r"n must lie in \[0, 20\], .* got -1"),
    (lambda: all_masks(21), r"n must lie in \[0, 20\], .* got 21"),
    (lambda: mask_probabilities(all_masks(2), 0), r"keep must lie in \(0, 1\], got 0"),
    (lambda: dropout_ridge(np.ones((3, 2)), np.ones(3), -0.1), r"keep must lie in \(0, 1\], got -0.1"),
    (lambda: dropout_ridge(np.ones((3, 2)), np.ones(2), 0.5), r"targets must be as many .* got \(2,\) for \(3, 2\)"),
    (lambda: dropout_ridge(np.ones(3), np.ones(3), 0.5), r"inputs \(n, features\), got \(3,\) for \(3,\)"),
    (lambda: monte_carlo(Sequential(), np.ones((1, 1)), 0, np.random.default_rng(0)), "samples must be 1 or more, got 0"),
    (lambda: uncertainty(np.ones((3, 2))), r"probabilities must be \(samples, batch, classes\), got the shape \(3, 2\)"),
])
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_backward_needs_a_forward_pass():
    with pytest.raises(RuntimeError, match=r"Dropout\.backward needs a forward pass"):
        Dropout().backward(np.ones(2))


def test_it_says_what_it_is():
    assert repr(Sequential(Dropout(0.8), Dropout(0.5, inverted=False))) == "Sequential(Dropout(keep=0.8), Dropout(keep=0.5, inverted=False))"
    assert repr(Dropout(0.5, shared=(1, 2))) == "Dropout(keep=0.5, shared=(1, 2))"


# Masks and their expectation

@pytest.mark.parametrize("n", [0, 1, 5, 8])
def test_all_masks_are_all_of_them_once(n):
    masks = all_masks(n)
    assert masks.shape == (2**n, n) and len({tuple(mask) for mask in masks}) == 2**n and set(masks.ravel()) <= {0.0, 1.0}
    assert not masks[0].any() and masks[-1].all()


@pytest.mark.parametrize("keep", KEEPS)
def test_the_probabilities_are_binomial(keep):
    masks = all_masks(6)
    chances = mask_probabilities(masks, keep)
    assert chances.sum() == pytest.approx(1, abs=1e-14)
    counts = masks.sum(axis=1)
    for k in range(7):
        expected = float(sp.binomial(6, k)) * keep**k * (1 - keep) ** (6 - k)
        assert chances[counts == k].sum() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("inverted", [True, False])
def test_the_layers_mean_is_its_output_at_test_time_and_its_variance_the_chapters(keep, inverted):
    """The layer itself, run once with every mask."""
    x, masks = np.array([3.0, -1.0, 0.5, 2.0, 0.0, -4.0]), all_masks(6)
    chances, layer = mask_probabilities(masks, keep), Dropout(keep, inverted=inverted)
    outputs = np.array([layer.forward(x, train=True, rng=Given(mask)) for mask in masks])
    mean = chances @ outputs
    np.testing.assert_allclose(mean, layer.forward(x), atol=1e-13)
    variance = x**2 * ((1 - keep) / keep if inverted else keep * (1 - keep))
    np.testing.assert_allclose(chances @ outputs**2 - mean**2, variance, atol=1e-12)


def test_the_two_conventions_are_one_function_and_with_its_own_rate_one_path_bit_for_bit():
    rng = np.random.default_rng(5)
    x, y, W = rng.normal(size=(40, 6)), rng.integers(3, size=40), rng.normal(size=(6, 3))

    def trained(inverted, lr):
        head = Affine(6, 3, rng=np.random.default_rng(0), bias=False)
        head.params["W"][...] = W if inverted else W / 0.5
        model = Sequential(Dropout(0.5, inverted=inverted), head)
        outputs = [model.forward(x), model.forward(x, train=True, rng=np.random.default_rng(1))]
        fit(model, x, y, SGD(lr=lr), epochs=5, batch_size=16, rng=np.random.default_rng(2))
        return outputs, model.forward(x)

    (inverted, after), (original, after_original) = trained(True, 0.125), trained(False, 0.125 / 0.5**2)
    np.testing.assert_array_equal(inverted, original)
    np.testing.assert_array_equal(after, after_original)
    assert not np.array_equal(after, trained(False, 0.125)[1])


def test_the_two_conventions_differ_in_the_gradient_of_the_next_weights_alone():
    """So only those need another learning rate: biases and the layers below have the same gradient."""
    x, y, keep = np.random.default_rng(12).normal(size=(20, 6)), np.arange(20) % 3, 0.4

    def gradients(inverted):
        rng = np.random.default_rng(0)
        first, head = Affine(6, 7, rng=rng), Affine(7, 3, rng=rng)
        if not inverted:
            head.params["W"] /= keep
        model = Sequential(first, ReLU(), Dropout(keep, inverted=inverted), head)
        model.backward(softmax_cross_entropy(model.forward(x, train=True, rng=np.random.default_rng(1)), y)[1])
        return first.grads["W"], first.grads["b"], head.grads["b"], head.grads["W"]

    *same, of_head = gradients(True)
    *original, of_original = gradients(False)
    for ours, theirs in zip(same, original, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(of_original, keep * of_head, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("inverted", [True, False])
def test_every_thinned_network_is_the_network_run_with_its_mask(inverted):
    rng, x = np.random.default_rng(15), np.random.default_rng(16).normal(size=(9, 3))
    model = Sequential(Affine(3, 4, rng=rng), ReLU(), Dropout(0.6, inverted=inverted), Affine(4, 2, rng=rng), ReLU())
    predictions, chances = thinned_predictions(model, x, predict=lambda scores: scores)
    for mask, prediction, chance in zip(all_masks(4), predictions, chances, strict=True):
        np.testing.assert_allclose(prediction, model.forward(x, train=True, rng=Given(mask)), rtol=1e-14)
        assert chance == pytest.approx(0.6 ** mask.sum() * 0.4 ** (4 - mask.sum()))
    np.testing.assert_allclose(thinned_predictions(model, x).predictions, softmax(predictions))


# Where the mean is exact, and where not

def net(seed=6):
    rng = np.random.default_rng(seed)
    return rng.random((5, 8)), rng.normal(size=(8, 4)), rng.normal(size=4), all_masks(8)


@pytest.mark.parametrize("keep", KEEPS)
def test_weight_scaling_is_the_renormalised_geometric_mean_over_all_masks(keep):
    x, W, b, masks = net()
    chances = mask_probabilities(masks, keep)
    members = softmax((x * masks[:, None] / keep) @ W + b)
    product = np.prod(members ** chances[:, None, None], axis=0)
    total = product.sum(axis=1, keepdims=True)
    full = softmax(x @ W + b)
    np.testing.assert_allclose(product / total, full, rtol=1e-12)
    # ... so its loss is the members' average loss plus log of a number that is at most 1.
    average = np.tensordot(chances, -np.log(members), axes=1)
    np.testing.assert_allclose(-np.log(full), average + np.log(total), rtol=1e-10, atol=1e-12)
    assert (total <= 1 + 1e-12).all() and (-np.log(full) <= average + 1e-12).all()


def test_weight_scaling_is_not_the_arithmetic_mean():
    x, W, b, masks = net()
    mean = np.tensordot(mask_probabilities(masks, 0.5), softmax((x * masks[:, None] / 0.5) @ W + b), axes=1)
    assert np.abs(mean - softmax(x @ W + b)).max() > 0.1


def test_a_linear_network_with_masks_of_their_own_in_two_layers_has_the_exact_mean_and_with_a_shared_one_has_not():
    rng = np.random.default_rng(7)
    x, W, V, masks, keep = rng.normal(size=4), rng.normal(size=(4, 4)), rng.normal(size=4), all_masks(4), 0.6
    chances = mask_probabilities(masks, keep)
    scaled = masks / keep
    outputs = np.einsum("az,bz->ab", (scaled * x) @ W, scaled * V)  # every pair of masks
    assert chances @ outputs @ chances == pytest.approx(x @ W @ V, rel=1e-12)
    shared = chances @ np.diagonal(outputs)
    assert shared == pytest.approx(x @ W @ V + (1 - keep) / keep * x @ (np.diag(W) * V), rel=1e-12)


@pytest.mark.parametrize("keep", KEEPS)
def test_linear_regression_under_dropout_is_ridge(keep):
    rng = np.random.default_rng(8)
    X, y, masks = rng.normal(size=(20, 8)) * np.arange(1, 9), rng.normal(size=20), all_masks(8)
    chances = mask_probabilities(masks, keep)
    penalty = (1 - keep) / keep * np.diag(X.T @ X)

    def expected(w):
        return chances @ ((y - (X * masks[:, None] / keep) @ w) ** 2).sum(axis=1)

    for w in rng.normal(size=(5, 8)):
        assert expected(w) == pytest.approx(((y - X @ w) ** 2).sum() + penalty @ w**2, rel=1e-12)
    best = dropout_ridge(X, y, keep)
    np.testing.assert_allclose(best, np.linalg.solve(X.T @ X + np.diag(penalty), X.T @ y), rtol=1e-9)
    for step in 1e-3 * np.concatenate([np.eye(8), -np.eye(8)]):
        assert expected(best + step) > expected(best)
    both = dropout_ridge(X, np.stack([y, -2 * y], axis=1), keep)
    np.testing.assert_allclose(both, np.stack([best, -2 * best], axis=1), rtol=1e-9)


def test_under_the_original_rule_it_is_ridge_for_the_weights_as_the_test_sees_them():
    """Srivastava et al., section 9.1, by SymPy: two inputs, four masks."""
    p, y, x1, x2, w1, w2 = sp.symbols("p y x1 x2 w1 w2")
    loss = sum((p if a else 1 - p) * (p if b else 1 - p) * (y - a * x1 * w1 - b * x2 * w2) ** 2 for a in (0, 1) for b in (0, 1))
    u1, u2 = p * w1, p * w2
    ridge = (y - x1 * u1 - x2 * u2) ** 2 + (1 - p) / p * (x1**2 * u1**2 + x2**2 * u2**2)
    assert sp.simplify(loss - ridge) == 0


def test_ridge_with_columns_of_zeros_or_without_dropout_and_too_few_rows_gives_the_shortest_weights():
    X, y = np.array([[1.0, 0.0, 1.0]]), np.array([2.0])
    np.testing.assert_allclose(dropout_ridge(X, y, 0.5), [2 / 3, 0, 2 / 3], atol=1e-12)
    np.testing.assert_allclose(dropout_ridge(X, y, 1.0), [1, 0, 1], atol=1e-12)


def logistic_regularizer(weights, inputs, keep):
    """What dropout adds to the loss, over all masks."""
    masks = all_masks(len(weights))
    scores = (inputs * masks[:, None] / keep) @ weights
    return (mask_probabilities(masks, keep) @ np.logaddexp(0, scores) - np.logaddexp(0, inputs @ weights)).sum()


@pytest.mark.parametrize("keep", [0.25, 0.5, 0.9])
def test_the_logistic_penalty_is_the_second_order_of_what_dropout_adds(keep):
    """The error falls one order faster than the penalty as the weights shrink, faster still without the third moment, at one half."""
    rng = np.random.default_rng(17)
    X, w = rng.normal(size=(20, 6)), rng.normal(size=6)
    errors = [abs(dropout_logistic_penalty(w * scale, X, keep)[0] / logistic_regularizer(w * scale, X, keep) - 1) for scale in (0.1, 0.01)]
    assert errors[1] < errors[0] / 9 < 0.01
    for scale in (0.3, 1, 3):
        bound = (1 - keep) / keep * (X**2 @ (w * scale) ** 2).sum() / 8
        assert 0 <= logistic_regularizer(w * scale, X, keep) <= bound and 0 <= dropout_logistic_penalty(w * scale, X, keep)[0] <= bound


def test_the_logistic_penalty_reads_as_its_formula_and_has_its_gradient():
    rng, h = np.random.default_rng(18), 1e-6
    X, w, keep = rng.normal(size=(12, 5)), 2 * rng.normal(size=5), 0.7
    sure = 1 / (1 + np.exp(-X @ w))
    value, gradient = dropout_logistic_penalty(w, X, keep)
    assert value == pytest.approx(0.3 / 0.7 / 2 * sum(s * (1 - s) * (x * w) @ (x * w) for s, x in zip(sure, X, strict=True)))
    numeric = [(dropout_logistic_penalty(w + h * e, X, keep)[0] - dropout_logistic_penalty(w - h * e, X, keep)[0]) / (2 * h) for e in np.eye(5)]
    np.testing.assert_allclose(gradient, numeric, atol=1e-7)
    assert dropout_logistic_penalty(w, X, 1.0)[0] == 0
    huge, slopes = dropout_logistic_penalty(np.array([1e3]), np.array([[1.0], [-1.0]]), 0.5)
    assert huge == 0 and slopes.tolist() == [0.0]


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_through_a_relu_the_mean_is_larger_and_by_no_more_than_the_bound(keep):
    rng, masks = np.random.default_rng(9), all_masks(8)
    chances = mask_probabilities(masks, keep)
    for _ in range(50):
        parts, b = rng.normal(size=8), rng.normal() * 3
        sums = masks @ parts / keep + b
        mu, var = parts.sum() + b, (1 - keep) / keep * (parts**2).sum()
        assert chances @ sums == pytest.approx(mu, abs=1e-12) and chances @ (sums - mu) ** 2 == pytest.approx(var, rel=1e-10)
        gap = chances @ np.maximum(sums, 0) - max(mu, 0)
        assert -1e-12 <= gap <= (np.sqrt(mu**2 + var) - abs(mu)) / 2 + 1e-12


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9])
def test_through_two_layers_the_error_obeys_the_recursive_bound_and_falls_well_short_of_it(keep):
    rng, below_masks, masks = np.random.default_rng(13), all_masks(3), all_masks(4)
    both, reached = np.outer(mask_probabilities(below_masks, keep), mask_probabilities(masks, keep)), []
    for _ in range(30):
        x, V, W, c, b = rng.random(3), rng.normal(size=(3, 4)), rng.normal(size=(4, 5)), rng.normal(size=4), rng.normal(size=5)
        first = (x * below_masks / keep) @ V + c
        second = (np.maximum(first, 0)[:, None] * masks / keep) @ W + b
        mean = np.tensordot(both, second, axes=2)
        below, sigma = first - (x @ V + c), np.sqrt(np.tensordot(both, (second - mean) ** 2, axes=2))
        plain = np.maximum(np.maximum(x @ V + c, 0) @ W + b, 0)
        error = np.abs(np.tensordot(both, np.maximum(second, 0), axes=2) - plain)
        bound = np.sqrt(mask_probabilities(below_masks, keep) @ below**2) / 2 @ np.abs(W) + sigma / 2
        assert (error <= bound + 1e-12).all()
        reached.append(error.sum() / bound.sum())
    assert np.mean(reached) < 0.5


def test_where_no_mask_changes_the_sign_the_relu_has_no_gap():
    parts, masks = np.array([1.0, 2.0, 3.0]), all_masks(3)
    assert mask_probabilities(masks, 0.3) @ np.maximum(masks @ parts / 0.3, 0) == pytest.approx(6)


@pytest.mark.parametrize("keep", [0.3, 0.5, 0.8])
def test_the_variance_shift(keep):
    """Over data and masks together, by enumeration: after dropout, and after the weights behind it."""
    rng, masks = np.random.default_rng(10), all_masks(5)
    x, W, chances = rng.random((40, 5)) - 0.2, rng.normal(size=(5, 3)), mask_probabilities(all_masks(5), keep)
    dropped = x * masks[:, None] / keep

    def variance(values):
        mean, square = (np.tensordot(chances, (values**power).mean(axis=1), axes=1) for power in (1, 2))
        return square - mean**2

    noise = (1 - keep) / keep * (x**2).mean(axis=0)
    np.testing.assert_allclose(variance(dropped), x.var(axis=0) + noise, rtol=1e-10)
    np.testing.assert_allclose(variance(dropped @ W), (x @ W).var(axis=0) + noise @ W**2, rtol=1e-10)
    centred = x - x.mean(axis=0)
    np.testing.assert_allclose(centred.var(axis=0) / variance(centred * masks[:, None] / keep), keep, rtol=1e-10)


def test_behind_the_weights_covariances_of_either_sign_add_variance_if_the_signs_of_the_weights_fit():
    split, rng = digits(0), np.random.default_rng(0)
    shift = split.inputs.mean(axis=0)
    model = classifier(50, 0.5, rng)
    fit(model, split.inputs - shift, split.labels, Momentum(lr=0.05, rho=0.9), epochs=15, rng=rng)
    first, relu, _, last = model.layers
    x, W = relu.forward(first.forward(split.test_inputs - shift)), last.params["W"]
    covariances = np.cov(x.T, bias=True)
    np.fill_diagonal(covariances, 0)
    for part in (np.maximum(covariances, 0), np.minimum(covariances, 0)):
        assert np.median(((part @ W) * W).sum(axis=0) / (x @ W).var(axis=0)) > 0.25


# Monte Carlo

def test_sampling_converges_to_the_sum_over_all_masks_with_the_predicted_error():
    x, W, b, masks = net()
    head = Affine(8, 4, rng=np.random.default_rng(0))
    head.params["W"][...], head.params["b"][...] = W, b
    members, chances, samples = softmax((x * masks[:, None] / 0.5) @ W + b), mask_probabilities(masks, 0.5), 4000
    exact = np.tensordot(chances, members, axes=1)
    spread = np.sqrt(np.tensordot(chances, (members - exact) ** 2, axes=1))
    mean, sampled_spread = monte_carlo(Sequential(Dropout(0.5), head), x, samples, np.random.default_rng(1))
    assert (np.abs(mean - exact) < 4.5 * spread / samples**0.5).all()
    np.testing.assert_allclose(sampled_spread, spread, rtol=0.1)
    assert (np.abs(mean - softmax(x @ W + b)) > 4.5 * spread / samples**0.5).any()


def test_one_sample_is_the_pass_in_training_and_has_no_spread():
    rng = np.random.default_rng(11)
    model, x = Sequential(Affine(3, 9, rng=rng), ReLU(), Dropout(0.4), Affine(9, 2, rng=rng)), rng.normal(size=(5, 3))
    mean, spread = monte_carlo(model, x, 1, np.random.default_rng(0), predict=lambda scores: scores)
    np.testing.assert_array_equal(mean, model.forward(x, train=True, rng=np.random.default_rng(0)))
    assert (spread == 0).all()
    log = monte_carlo(model, x, 1, np.random.default_rng(0), predict=log_softmax).mean
    np.testing.assert_allclose(log, log_softmax(mean))


def test_only_dropout_is_in_training_while_sampling():
    class Tells(Layer):
        def forward(self, x, *, train=False, rng=None):
            assert not train
            return x

        def backward(self, dout):
            return dout

    x = np.ones((2, 3, 1))
    plain = monte_carlo(Sequential(Tells(), Flatten(), Tells()), x, 3, np.random.default_rng(0))
    np.testing.assert_allclose(plain.mean, 1 / 3)
    assert (plain.spread == 0).all()


def test_the_scores_of_uncertainty_are_those_of_their_definitions():
    samples = softmax(np.random.default_rng(14).normal(size=(7, 5, 4)) * 3)
    samples[:, 0] = samples[0, 0]  # all agree
    scores, mean = uncertainty(samples), samples.mean(axis=0)
    for i in range(5):
        votes = np.bincount(samples[:, i].argmax(axis=1), minlength=4)
        entropy = -sum(q * np.log(q) for q in mean[i])
        within = np.mean([-sum(q * np.log(q) for q in sample[i]) for sample in samples])
        expected = 1 - mean[i].max(), 1 - votes.max() / 7, entropy, entropy - within
        np.testing.assert_allclose([score[i] for score in scores], expected, atol=1e-12)
    assert scores.mutual_information[0] == pytest.approx(0, abs=1e-12) and scores.variation_ratio[0] == 0
    assert (scores.mutual_information > -1e-12).all() and (scores.mutual_information <= scores.entropy).all()
    assert (samples.std(axis=0) <= np.sqrt(mean * (1 - mean)) + 1e-12).all()


# What the chapter says of real digits

class Accuracies(Callback):
    def __init__(self, *sets):
        self.sets, self.values = sets, []

    def after_epoch(self, run):
        if run.epoch % 5 == 0:
            self.values.append([accuracy(run.model.forward(x), y) for x, y in self.sets])


def classifier(units, keep, rng):
    return Sequential(Affine(64, units, rng=rng), ReLU(), Dropout(keep), Affine(units, 10, rng=rng))


def trained_on_few(seed, *, keep=0.5, lr=0.05, wrong=0.0, n=100, epochs=80):
    """The network, its test data, and its accuracy on validation and test digits every five epochs."""
    split, rng = digits(seed), np.random.default_rng(seed)
    shift = split.inputs[:100].mean(axis=0)
    inputs, test, labels = split.inputs[:2 * n] - shift, (split.test_inputs - shift, split.test_labels), split.labels[:2 * n].copy()
    replaced = rng.random(2 * n) < wrong
    labels[replaced] = rng.integers(10, size=replaced.sum())
    model, record = classifier(50, keep, rng), Accuracies((inputs[n:], labels[n:]), test)
    fit(model, inputs[:n], labels[:n], Momentum(lr=lr, rho=0.9), epochs=epochs, batch_size=50, rng=rng, callbacks=[record])
    return model, test, np.array(record.values)


def standard_error(values):
    return np.std(values, ddof=1) / len(values) ** 0.5


def test_with_centred_pixels_every_unit_is_in_use_and_with_raw_ones_some_are_dead():
    dead = {True: [], False: []}
    for seed in range(5):
        for centre, counts in dead.items():
            split, rng = digits(seed), np.random.default_rng(seed)
            inputs = split.inputs - split.inputs.mean(axis=0) * centre
            model = classifier(8, 0.75, rng)
            fit(model, inputs, split.labels, Momentum(lr=0.05, rho=0.9), epochs=20, rng=rng)
            counts.append(int((~(model.layers[0].forward(inputs) > 0).any(axis=0)).sum()))
    assert max(dead[True]) == 0 and min(dead[False]) > 0


def as_sure_as(given, scores):
    """The softmax of the scores times the one number that makes it as sure of its choices as the given probabilities, on average."""
    scales = np.linspace(0.05, 1.5, 300)
    sure = [softmax(scale * scores).max(axis=1).mean() for scale in scales]
    assert sure[0] < given.max(axis=1).mean() < sure[-1]
    return softmax(np.interp(given.max(axis=1).mean(), sure, scales) * scores)


@pytest.fixture(scope="module")
def at_test_time():
    """By rate, ten draws of one pass and a hundred samples: how well each score finds the wrong digits, loss, confidence, accuracy."""
    found = {}
    for lr in (0.01, 0.05, 0.1, 0.2):
        found[lr] = []
        for seed in range(10):
            model, (inputs, labels), _ = trained_on_few(seed, lr=lr)
            scores, index = model.forward(inputs), np.arange(len(labels))
            one = softmax(scores)
            samples = sample_predictions(model, inputs, 100, np.random.default_rng(100 + seed))
            mean, choice, unsure = samples.mean(axis=0), one.argmax(axis=1), uncertainty(samples)

            tempered, wrong = as_sure_as(mean, scores), choice != labels
            room = np.sqrt(mean * (1 - mean))[index, choice]

            def finds(score, wrong=wrong):
                over = score[wrong][:, None] - score[~wrong]
                return ((over > 0) + 0.5 * (over == 0)).mean()

            found[lr].append({
                "one": finds(1 - one.max(axis=1)), "mean": finds(unsure.least_confidence), "mutual": finds(unsure.mutual_information),
                "spread": finds(samples.std(axis=0)[index, choice]),
                "loss": -np.log(mean[index, labels]).mean() + np.log(one[index, labels]).mean(),
                "tempered": -np.log(tempered[index, labels]).mean() + np.log(one[index, labels]).mean(),
                "room": room[wrong].mean() - room[~wrong].mean(),
                "sure": one.max(axis=1).mean() - accuracy(one, labels), "right": accuracy(mean, labels) - accuracy(one, labels),
                "calmer": mean.max(axis=1).mean() - one.max(axis=1).mean()})
    return {lr: {key: np.array([row[key] for row in rows]) for key in rows[0]} for lr, rows in found.items()}


def test_the_mean_of_samples_finds_wrong_digits_as_well_as_one_pass_and_the_bare_spread_worse(at_test_time):
    for table in at_test_time.values():
        assert abs((table["mean"] - table["one"]).mean()) < 0.02
        gain = table["spread"] - table["one"]
        assert gain.mean() + 2 * standard_error(gain) < 0
    gain = at_test_time[0.05]["mutual"] - at_test_time[0.05]["one"]
    assert gain.mean() + 2 * standard_error(gain) < 0
    assert abs(at_test_time[0.01]["mutual"].mean() - 0.5) < 2 * standard_error(at_test_time[0.01]["mutual"])
    assert all((at_test_time[lr]["room"] > 0).all() for lr in (0.05, 0.2))  # so it is not for lack of room


def test_with_wrong_labels_and_a_low_rate_mutual_information_is_larger_for_the_digits_that_are_right():
    found = []
    for seed in range(10):
        model, (inputs, labels), _ = trained_on_few(seed, lr=0.01, wrong=0.3)
        wrong = model.forward(inputs).argmax(axis=1) != labels
        score = uncertainty(sample_predictions(model, inputs, 100, np.random.default_rng(100 + seed))).mutual_information
        found.append((score[wrong][:, None] > score[~wrong]).mean())
    assert np.mean(found) + 2 * standard_error(found) < 0.5


def test_sampling_raises_the_loss_of_a_network_less_sure_than_right_and_lowers_it_for_one_much_too_sure(at_test_time):
    for lr, sign in ((0.05, 1), (0.2, -1)):
        table = at_test_time[lr]
        assert (table["calmer"] < 0).all() and abs(table["right"].mean()) < 0.01
        assert sign * table["sure"].mean() < 0 < sign * table["loss"].mean() - 2 * standard_error(table["loss"])


def test_sampling_moves_the_loss_as_one_pass_tempered_to_its_confidence_does_and_too_sure_is_not_enough(at_test_time):
    for table in at_test_time.values():
        assert abs((table["loss"] - table["tempered"]).mean()) < 0.01
    between = at_test_time[0.1]
    assert (between["sure"] > 0).all() and abs(between["loss"].mean()) < 2 * standard_error(between["loss"])


def test_dropout_keeps_out_wrong_labels_at_the_end_but_early_stopping_does_too_for_few_digits_and_a_low_rate_turns_the_sign():
    def ahead(lr, wrong, **more):
        with_it, without = (
            np.array([trained_on_few(seed, keep=keep, lr=lr, wrong=wrong, **more)[2] for seed in range(10)]) for keep in (0.5, 1.0))
        stop = [each[:, :, 0].argmax(axis=1) for each in (with_it, without)]
        stopped = with_it[np.arange(10), stop[0], 1] - without[np.arange(10), stop[1], 1]
        return with_it[:, -1, 1] - without[:, -1, 1], stopped

    at_the_end, stopped = ahead(0.05, 0.3)
    assert (at_the_end > 0).sum() >= 9 and abs(stopped.mean()) < 2 * standard_error(stopped)
    slow, _ = ahead(0.01, 0)
    assert slow.mean() + 2 * standard_error(slow) < 0
    _, with_more = ahead(0.05, 0.3, n=400, epochs=30)
    assert with_more.mean() - 2 * standard_error(with_more) > 0
