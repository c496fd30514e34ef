"""Dropout: its layer, and what the chapter says of its expectation, over all masks."""

import dropout_grids as script
import numpy as np
import pytest
import sympy as sp

from reference_impl import measured
from reference_impl.generalization.dropout import (
    Dropout,
    all_masks,
    dropout_logistic_penalty,
    dropout_ridge,
    mask_probabilities,
    monte_carlo,
    thinned_predictions,
    uncertainty,
)
from reference_impl.networks.layers import Affine, Flatten, Layer, ReLU
from reference_impl.networks.losses import log_softmax, softmax, softmax_cross_entropy
from reference_impl.networks.model import Sequential
from reference_impl.networks.training import fit
from reference_impl.optimization.sgd import SGD

KEEPS = [0.25, 0.4, 0.5, 0.7, 1.0]


def drop(x, keep=0.5, *, inverted=True, seed=0):
    return Dropout(keep, inverted=inverted).forward(x, train=True, rng=np.random.default_rng(seed))


class Given(np.random.Generator):
    """A generator whose next uniform numbers make this mask."""

    def __new__(cls, mask):
        return super().__new__(cls)

    def __init__(self, mask):
        super().__init__(np.random.PCG64(0))
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
    (lambda: Dropout(0.0), r"keep must be a number in \(0, 1\], got 0\.0"),
    (lambda: Dropout(1.5), r"keep must be a number in \(0, 1\], got 1\.5"),
    (lambda: Dropout(float("nan")), r"keep must be a number in \(0, 1\], got nan"),
    (lambda: Dropout(0.5, shared=(1, 2)).forward(np.ones((3, 2)), train=True, rng=np.random.default_rng(0)),
     r"shared must be among the axes 0 to 1 of x, got \(1, 2\) for the shape \(3, 2\)"),
    (lambda: thinned_predictions(Sequential(ReLU()), np.ones((1, 1))), "model must have one Dropout layer, got 0"),
    (lambda: thinned_predictions(Sequential(Dropout(), Dropout()), np.ones((1, 1))), "model must have one Dropout layer, got 2"),
    (lambda: thinned_predictions(Sequential(Dropout()), np.ones((1, 1, 1))), r"model must give its Dropout layer \(batch, n\), with a coin for each unit, got \(1, 1, 1\)"),
    (lambda: thinned_predictions(Sequential(Dropout(shared=(0,))), np.ones((1, 1))), r"with a coin for each unit, .* shared=\(0,\)"),
    (lambda: dropout_logistic_penalty(np.ones(2), np.ones((4, 2)), 0.0), r"keep must be a number in \(0, 1\], got 0\.0"),
    (lambda: dropout_logistic_penalty(np.ones(3), np.ones((4, 2)), 0.5), r"weights must be one for each column .* got \(3,\) for \(4, 2\)"),
    (lambda: dropout_logistic_penalty(np.ones(3), np.ones(3), 0.5), r"inputs must be a non-empty matrix of finite numbers, got array\(\[1., 1., 1.\]\)"),
    (lambda: Dropout(0.5).forward(np.ones(3), train=True), "rng must be a numpy.random.Generator when train=True, .* got None"),
    (lambda: all_masks(-1), "n must be a whole number from 0 to 20, got -1"),
    (lambda: all_masks(21), "n must be a whole number from 0 to 20, got 21"),
    (lambda: mask_probabilities(all_masks(2), 0), r"keep must be a number in \(0, 1\], got 0"),
    (lambda: dropout_ridge(np.ones((3, 2)), np.ones(3), -0.1), r"keep must be a number in \(0, 1\], got -0\.1"),
    (lambda: dropout_ridge(np.ones((3, 2)), np.ones(2), 0.5), r"targets must be as many .* got \(2,\) for \(3, 2\)"),
    (lambda: dropout_ridge(np.ones(3), np.ones(3), 0.5), r"inputs must be a non-empty matrix of finite numbers, got array"),
    (lambda: monte_carlo(Sequential(), np.ones((1, 1)), 0, np.random.default_rng(0)), "samples must be a whole number from 1 up, got 0"),
    (lambda: uncertainty(np.ones((3, 2))), r"probabilities must be an array \(samples, batch, classes\) of floating-point numbers, got array"),
    (lambda: uncertainty(np.ones((0, 2, 3))), r"probabilities must hold a sample and a class, got the shape \(0, 2, 3\)"),
    (lambda: mask_probabilities(np.full((1, 2), 0.5), 0.5), "masks must hold zeros and ones, got array"),
    (lambda: dropout_ridge(np.ones((3, 2)), np.ones((3, 1, 1)), 0.5), r"targets must be as many .* got \(3, 1, 1\)"),
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

STORED = measured("dropout_grids")
RATES, GRID_KEEPS, SIZES = STORED["rates"], STORED["keeps"], STORED["sizes"]
DIGITS = [300, 449]  # for validation, for the test


@pytest.fixture(scope="module")
def chapter():
    return script.chapter()


def standard_error(values):
    return np.std(values, ddof=1) / len(values) ** 0.5


def told(values, sign=1):
    """Whether a mean lies beyond two standard errors on one side of zero."""
    return sign * np.mean(values) > 2 * standard_error(values)


def validated(runs, at_end=False):
    """Test accuracy by split, with whatever the runs differ in chosen on the validation digits."""
    runs = np.array(runs)
    runs = runs.reshape(-1, *runs.shape[-2:])
    best = runs[..., 2 * at_end].argmax(axis=0)
    return runs[best, np.arange(runs.shape[1]), 2 * at_end + 1] / 449


def gain(by_keep, which=slice(None), at_end=False):
    return validated(by_keep[which], at_end) - validated(by_keep[0], at_end)


def test_the_file_holds_what_the_script_makes(chapter):
    """Elsewhere a digit or two may fall to the other side."""
    assert (RATES, GRID_KEEPS, SIZES, STORED["widths"], STORED["first"]) == (script.RATES, script.KEEPS, script.SIZES, script.WIDTHS, script.FIRST)
    shape = len(GRID_KEEPS), len(RATES), script.SPLITS, 4
    by_size = {(labels, n): np.array(runs) for labels, rows in STORED["by size"].items() for n, runs in rows.items()}
    others = [*STORED["by width"]["right labels"].values(), *STORED["by coin"]["coins"].values()]
    assert script.SPLITS >= 10 and all(np.shape(runs) == shape for runs in (*by_size.values(), *others))
    assert np.shape(STORED["by first"]["800"]["0.8"]) == (len(script.HIDDEN), *shape[1:])
    again = script.kept(chapter["dense"](3, 100, 0.5, 0.15, 0.3)[1])
    assert np.abs(by_size["wrong labels", "100"][3, 2, 3] - again).max() <= 6
    again = script.kept(chapter["dense"](4, 100, 0.75, 0.05, first=0.8)[1])
    assert np.abs(np.array(STORED["by first"]["100"]["0.8"])[1, 1, 4] - again).max() <= 6
    again = script.kept(chapter["dense"](5, 200, 0.5, 0.4, units=25)[1])
    assert np.abs(np.array(STORED["by width"]["right labels"]["25"])[3, 3, 5] - again).max() <= 6
    again = script.kept(chapter["convolution"](2, 0.5, 0.15, (1, 2)))
    assert np.abs(np.array(STORED["by coin"]["coins"]["each channel"])[3, 2, 2] - again).max() <= 6
    again = script.counted(chapter["dense"](1, 100, 1.0, 0.4, 0.3)[1])
    assert np.abs(np.array(STORED["courses"]["wrong labels, 1.0"]["0.4"][1]).T - again).max() <= 8
    kept = STORED["at test time"]["wrong labels, 100 digits, 0.5"]["0.05"]
    for name, values in script.doubts(chapter, 6, 100, 0.5, 0.05, 0.3).items():
        np.testing.assert_allclose(values, kept[name][6], atol=0.03, err_msg=name)


def test_a_dropped_label_is_wrong_in_training_and_validation_and_never_in_the_test(chapter):
    right, wrong = (chapter["digit_sets"](0, 200, part) for part in (0.0, 0.3))
    for (x, y), (other_x, other_y), share in zip(right, wrong, (0.27, 0.27, 0), strict=True):  # a tenth of the random ones are right
        np.testing.assert_array_equal(x, other_x)
        assert (y != other_y).mean() == pytest.approx(share, abs=0.07 * (share > 0))
    assert [len(y) for _, y in right] == [200, *DIGITS]
    np.testing.assert_allclose(right[0][0].mean(axis=0), 0, atol=1e-12)


def test_with_centred_pixels_every_unit_is_in_use_and_with_raw_ones_some_are_dead(chapter):
    for seed in range(10):
        for centred in (True, False):
            model, inputs, _ = chapter["one_hidden"](seed, 8, 0.75, centred=centred)
            assert (model.layers[0].forward(inputs) > 0).any(axis=0).all() == centred


def test_most_of_what_dropout_gains_against_wrong_labels_early_stopping_gains_too():
    by_size = STORED["by size"]["wrong labels"]
    at_the_end, stopped = ([gain(by_size[str(n)], at_end=end) for n in SIZES] for end in (True, False))
    assert all(told(values) for values in at_the_end[:4]) and not told(at_the_end[4]) and not told(at_the_end[4], -1)
    assert not any(told(values) for values in stopped[1:]) and np.mean(at_the_end[2]) > 0.03


def test_with_right_labels_dropout_gains_on_few_digits_and_nothing_on_many():
    stopped = [gain(STORED["by size"]["right labels"][str(n)]) for n in SIZES]
    assert all(told(values) for values in stopped[:4]) and not told(stopped[4])
    assert np.mean(stopped[0]) > 0.015 and all(0.005 < np.mean(values) < 0.01 for values in stopped[1:4])


def test_one_half_is_a_fair_first_choice_and_a_narrow_layer_bears_less_dropping_than_a_wide_one():
    gains = np.array([[gain(runs, at) for at in range(1, 5)] for runs in STORED["by size"]["right labels"].values()])
    assert (gains[:, 2].mean(axis=1) > 0).all() and gains.mean(axis=(0, 2)).argmax() == 2 and told(gains[:, 2].mean(axis=0))
    narrow, wide = (gain(STORED["by width"]["right labels"][units], 4) for units in ("25", "400"))
    assert told(narrow, -1) and told(wide) and told(wide - narrow)


def test_dropping_inputs_gains_on_few_digits_adds_nothing_told_to_dropping_units_and_costs_on_many():
    by_first = {n: {float(first): [validated(runs) for runs in by_hidden] for first, by_hidden in rows.items()} for n, rows in STORED["by first"].items()}
    few, many = by_first["100"], by_first["800"]
    assert told(few[0.8][0] - few[1.0][0]) and told(few[1.0][1] - few[1.0][0])
    assert not any(told(values - few[1.0][1]) for first in (0.9, 0.8, 0.5) for values in few[first])
    assert np.mean(many[0.5][2] - many[1.0][0]) < -0.005


def test_one_coin_for_a_channel_gains_no_more_here_than_one_for_each_unit():
    unit, channel = (STORED["by coin"]["coins"][name] for name in script.SHARED)
    assert not any(told(validated(unit[at]) - validated(channel[at]), -1) for at in range(1, 5))
    assert told(validated(unit[2]) - validated(channel[2]))


def test_with_dropout_training_takes_longer():
    later, factors = [], []
    for labels in script.WRONG:
        for lr in RATES:
            plain, dropped = (16 * (1 + np.array(STORED["courses"][f"{labels}, {p}"][str(lr)])[:, 0].argmax(axis=1)) for p in (1.0, 0.5))
            later.append(dropped - plain)
            factors.append(dropped.mean() / plain.mean())
    assert min(factors) > 1.1 and max(factors) < 3 and told(np.mean(later, axis=0))


def test_the_validated_rate_rises_with_dropout_by_less_than_ten_times():
    by_keep = [np.exp(np.mean([np.log(RATES)[np.array(runs[at])[..., 0].argmax(axis=0)] for runs in STORED["by size"]["right labels"].values()]))
               for at in range(5)]
    assert by_keep[0] == min(by_keep) and by_keep[3] == max(by_keep) and by_keep[3] < 2 * by_keep[0]


CELLS = [(setting, rate) for setting, by_rate in STORED["at test time"].items() for rate in by_rate]
SCORES = ("mean: 1 - largest", "variation ratio", "predictive entropy", "mutual information", "spread of the choice")


def on_test(setting, rate, column):
    return np.array(STORED["at test time"][setting][rate][column])[:, 1]


def test_sampling_lowers_the_loss_of_a_network_surer_than_right_and_raises_that_of_one_less_sure():
    for cell in CELLS:
        over = (on_test(*cell, "one pass, sure") - on_test(*cell, "one pass, right")).mean()
        change = on_test(*cell, "sampled, loss") - on_test(*cell, "one pass, loss")
        assert abs((on_test(*cell, "sampled, right") - on_test(*cell, "one pass, right")).mean()) < 0.005
        assert (on_test(*cell, "sampled, sure") < on_test(*cell, "one pass, sure")).all()
        assert change.mean() > 0 if over < 0 else over < 0.02 or change.mean() < 0
        assert -0.1 < (on_test(*cell, "tempered, loss") - on_test(*cell, "sampled, loss")).mean() < 0.025


def test_the_mean_of_samples_finds_wrong_digits_as_one_pass_does_and_disagreement_worse():
    signs = {name: [int(told(gained)) - int(told(gained, -1)) for cell in CELLS
                    for gained in [on_test(*cell, name) - on_test(*cell, "one pass: 1 - largest")]] for name in SCORES}
    better, worse = ({name: values.count(sign) for name, values in signs.items()} for sign in (1, -1))
    assert worse["mean: 1 - largest"] == 0 < better["mean: 1 - largest"] and better["mutual information"] == better["spread of the choice"] == 0
    assert worse["mutual information"] > len(CELLS) / 2 and worse["spread of the choice"] > 0.9 * len(CELLS)
    less_room = [cell for cell in CELLS if on_test(*cell, "room, wrong").mean() < on_test(*cell, "room, right").mean()]
    assert less_room == [("wrong labels, 400 digits, 0.5", "0.015")]  # so it is not for lack of room


def test_a_score_chosen_on_validation_digits_gains_next_to_nothing():
    names = ["one pass: 1 - largest", *SCORES]
    for by_rate in STORED["at test time"].values():
        right = np.array([rows["one pass, right"] for rows in by_rate.values()])[..., 0]
        table = np.array([[rows[name] for name in names] for rows in by_rate.values()])
        chosen = table[right.argmax(axis=0), :, np.arange(script.SPLITS)]
        at = chosen[..., 0].argmax(axis=1)
        assert np.mean(chosen[np.arange(script.SPLITS), at, 1] - chosen[:, 0, 1]) < 0.005


def test_the_variance_shift_in_trained_networks(chapter):
    """Behind the weights it is milder: covariances of either sign add variance if the signs of the weights fit."""
    rows = [chapter["shift"](*chapter["one_hidden"](seed, 50, 0.5, epochs=10)) for seed in range(10)]
    for row in rows:
        assert row["directly, measured"] == pytest.approx(row["directly, predicted"], abs=0.02)
        assert row["behind weights, measured"] == pytest.approx(row["behind weights, predicted"], abs=0.02)
        assert row["behind weights, shuffled units"] < 0.5 < 0.7 < row["behind weights, measured"]
        assert min(row["positive covariances"], row["negative covariances"]) > 0.25


def test_dropout_stops_the_weights_of_separated_classes_and_the_second_order_does_so_later(chapter):
    fits = np.array([chapter["fit_three_ways"](seed, 0.75) for seed in range(10)])
    plain, exact, second = np.linalg.norm(fits, axis=2).T
    assert (plain > 100).sum() == 2 and exact.max() < 4 and second.max() < 6
    assert ((fits[:, 1] * fits[:, 2]).sum(axis=1) / exact / second).min() > 0.99


@pytest.mark.parametrize("keep", [0.9, 0.7, 0.3])
@pytest.mark.parametrize("inverted", [True, False])
def test_in_half_precision_it_is_what_double_precision_gives_rounded_once(keep, inverted):
    x = np.random.default_rng(0).normal(1000, 300, (50, 40)).astype("f2")
    half, double = Dropout(keep, inverted=inverted), Dropout(keep, inverted=inverted)
    for train in (True, False):
        pairs = [(layer.forward(z, train=train, rng=np.random.default_rng(1)), layer.backward(z)) for layer, z in ((half, x), (double, x.astype(float)))]
        for found, expected in zip(*pairs):
            assert found.dtype == np.float16
            np.testing.assert_array_equal(found, expected.astype(np.float32).astype(np.float16))


@pytest.mark.parametrize("classes", [2, 3000])
def test_uncertainty_of_half_precision_is_computed_in_single(classes):
    p = np.random.default_rng(0).dirichlet(np.ones(classes), (4, 5)).astype("f2")
    for found, expected in zip(uncertainty(p), uncertainty(p.astype(float))):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wrong", [[[1.0, 2.0]], np.ones((1, 1)), np.ones(2), np.ones((1, 2), int), np.ma.ones((1, 2))])
@pytest.mark.parametrize("train", [True, False])
def test_a_gradient_that_is_not_the_outputs_is_refused(train, wrong):
    layer = Dropout(0.5)
    layer.forward(np.ones((1, 2)), train=train, rng=np.random.default_rng(0))
    with pytest.raises((TypeError, ValueError), match="dout must "):
        layer.backward(wrong)


@pytest.mark.parametrize("shared", [[1], (-1,), (0.5,), (True,), 1, None, "1"])
def test_shared_axes_are_a_tuple_of_counts(shared):
    with pytest.raises(TypeError, match="shared must be a tuple of axes"):
        Dropout(0.5, shared=shared)


def test_masks_come_from_a_generator_alone():
    with pytest.raises(TypeError, match=r"rng must be a numpy.random.Generator or None, got 0"):
        Dropout(0.5).forward(np.ones((1, 2)), train=True, rng=0)


@pytest.mark.parametrize("keep", [0.2, 0.35, 0.5, 0.75, 0.9])
def test_a_sum_of_eight_units_keeps_its_mean_with_the_division_and_p_times_it_without(keep):
    masks = all_masks(8)
    chances, sums = mask_probabilities(masks, keep), masks.sum(axis=1)
    assert chances @ sums / keep == pytest.approx(8)
    assert chances @ sums == pytest.approx(8 * keep)
    assert (abs(chances @ sums - 8 * (1 - keep)) < 1e-9) == (keep == 0.5)  # the notes' factor is right at one half alone
    assert chances @ (sums / keep) ** 2 - 64 == pytest.approx(8 * (1 - keep) / keep)


def test_the_smaller_p_the_wider_the_divided_sums_scatter():
    coins = np.random.default_rng(15).random((8, 4000))
    spreads = [((coins < keep).sum(axis=0) / keep).std() for keep in (1.0, 0.8, 0.6, 0.4, 0.2)]
    assert spreads[0] == 0 and (np.diff(spreads) > 0).all()
