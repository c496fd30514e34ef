"""Losses: their gradients against complex steps and PyTorch, extreme scores, and what they refuse."""

import numpy as np
import pytest

from reference_impl import accuracy, log_softmax, mean_squared_error, softmax, softmax_cross_entropy


def batch(seed=0, shape=(7, 4)):
    rng = np.random.default_rng(seed)
    return 3 * rng.normal(size=shape), rng.integers(0, shape[1], shape[0])


def complex_slope(fun, x):
    """The gradient of a real function by a complex step: exact to rounding."""
    found = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        nudged = x.astype(complex)
        nudged[i] += 1e-20j
        found[i] = fun(nudged).imag / 1e-20
    return found


@pytest.mark.parametrize("shape", [(7, 4), (1, 1), (1, 9), (3, 2)])
def test_the_gradient_of_the_cross_entropy_is_the_derivative(shape):
    scores, labels = batch(shape=shape)

    def loss(s):
        return (np.log(np.exp(s).sum(axis=1)) - s[np.arange(len(labels)), labels]).mean()

    value, dscores = softmax_cross_entropy(scores, labels)
    assert value == pytest.approx(loss(scores), rel=1e-14, abs=1e-15)
    np.testing.assert_allclose(dscores, complex_slope(loss, scores), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(dscores.sum(axis=1), 0, rtol=0, atol=1e-15)


@pytest.mark.parametrize("shape", [(7, 4), (1, 1), (3, 2, 2), (5,)])
def test_the_gradient_of_the_squared_error_is_the_derivative(shape):
    outputs, targets = np.random.default_rng(0).normal(size=(2, *shape))
    value, doutputs = mean_squared_error(outputs, targets)
    assert value == pytest.approx(((outputs - targets) ** 2).sum() / outputs.size, rel=1e-14)
    np.testing.assert_allclose(doutputs, complex_slope(lambda o: ((o - targets) ** 2).mean(), outputs), rtol=1e-12)


@pytest.mark.peers
def test_both_losses_are_torchs():
    torch = pytest.importorskip("torch")
    for seed in range(3):
        scores, labels = batch(seed)
        targets = np.random.default_rng(seed + 10).normal(size=scores.shape)
        for ours, theirs, wanted in ((softmax_cross_entropy, torch.nn.functional.cross_entropy, labels),
                                     (mean_squared_error, torch.nn.functional.mse_loss, targets)):
            x = torch.tensor(scores, requires_grad=True)
            value = theirs(x, torch.tensor(wanted))
            value.backward()
            loss, gradient = ours(scores, wanted)
            assert loss == pytest.approx(value.item(), rel=1e-13)
            np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=1e-10, atol=1e-16)
        np.testing.assert_allclose(log_softmax(scores), torch.log_softmax(torch.tensor(scores), 1).numpy(), rtol=1e-13)
        np.testing.assert_allclose(softmax(scores), torch.softmax(torch.tensor(scores), 1).numpy(), rtol=1e-13)


def test_no_overflow():
    for dtype in ("f4", "f8"):
        scores = np.array([[1e30, -1e30, 0], [-1e30, -1e30, -1e30]], dtype)
        np.testing.assert_allclose(softmax(scores), [[1, 0, 0], [1 / 3] * 3], rtol=1e-6)
        loss, dscores = softmax_cross_entropy(scores, np.array([1, 1]))
        assert loss == pytest.approx(1e30, rel=1e-6) and np.isfinite(dscores).all()


def test_a_score_of_minus_infinity_is_a_class_that_cannot_be():
    loss, dscores = softmax_cross_entropy(np.array([[0, -np.inf, 0]]), np.array([0]))
    assert loss == pytest.approx(np.log(2))
    assert dscores.tolist() == [[-0.5, 0, 0.5]]


def test_not_a_number_stays_in_sight():
    with np.errstate(invalid="ignore"):
        for bad in (np.nan, np.inf):
            assert np.isnan(softmax_cross_entropy(np.array([[bad, 0]]), np.array([1]))[0])
    assert np.isnan(mean_squared_error(np.array([np.nan]), np.zeros(1))[0])


def test_log_softmax_along_the_last_axis_of_any_shape():
    scores = np.random.default_rng(0).normal(size=(2, 3, 4))
    np.testing.assert_allclose(np.exp(log_softmax(scores)), np.exp(scores) / np.exp(scores).sum(-1, keepdims=True), rtol=1e-14)
    np.testing.assert_allclose(log_softmax(scores + 1e3), log_softmax(scores), rtol=0, atol=1e-12)
    np.testing.assert_allclose(softmax(scores[0, 0]).sum(), 1, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_a_dtype_stays_as_it_is_and_nothing_given_changes(dtype):
    scores, labels = batch()
    scores = scores.astype(dtype)
    for loss, targets in ((softmax_cross_entropy, labels), (mean_squared_error, scores.astype("f8")), (mean_squared_error, scores + 1)):
        before = scores.copy(), targets.copy()
        value, gradient = loss(scores, targets)
        assert type(value) is float and gradient.dtype == dtype
        np.testing.assert_array_equal(scores, before[0])
        np.testing.assert_array_equal(targets, before[1])
    assert log_softmax(scores).dtype == softmax(scores).dtype == dtype


@pytest.mark.parametrize("dtype", ["i1", "u1", "i4", ">i4", "i8", "u8"])
@pytest.mark.parametrize("change", [np.asfortranarray, lambda x: x[:, ::-1][:, ::-1], lambda x: np.repeat(x, 2, axis=0)[::2]])
def test_any_integer_labels_and_any_layout_will_do(dtype, change):
    scores, labels = batch()
    loss, dscores = softmax_cross_entropy(scores, labels)
    other_loss, other = softmax_cross_entropy(change(scores), labels.astype(dtype))
    assert other_loss == pytest.approx(loss, rel=1e-14)
    np.testing.assert_allclose(other, dscores, rtol=1e-14, atol=1e-17)
    assert accuracy(change(scores), labels.astype(dtype)) == accuracy(scores, labels)


def test_accuracy_counts_rows_whose_first_largest_score_is_the_labels():
    assert accuracy(np.eye(3), np.array([0, 1, 1])) == pytest.approx(2 / 3)
    assert accuracy(np.zeros((2, 3)), np.array([0, 1])) == 0.5


@pytest.mark.parametrize("fun", [softmax_cross_entropy, accuracy])
@pytest.mark.parametrize(("scores", "labels", "error", "message"), [
    (np.zeros((2, 3)), np.zeros(3, int), ValueError, r"labels must have the shape \(batch,\) .* got \(3,\) for \(2, 3\)"),
    (np.zeros((2, 3)), np.zeros((2, 3), int), ValueError, r"got \(2, 3\) for \(2, 3\)"),
    (np.zeros((2, 3)), np.array(1), ValueError, r"got \(\) for \(2, 3\)"),
    (np.zeros(2), np.zeros(2, int), ValueError, r"got \(2,\) for \(2,\)"),
    (np.zeros((0, 3)), np.zeros(0, int), ValueError, r"not empty, got \(0,\) for \(0, 3\)"),
    (np.zeros((2, 3)), np.zeros(2), TypeError, "labels must be integers, got float64"),
    (np.zeros((2, 3)), np.zeros(2, bool), TypeError, "labels must be integers, got bool"),
    (np.zeros((2, 3)), np.array([0, 3]), ValueError, r"labels must lie in \[0, 3\), got 0 to 3"),
    (np.zeros((2, 3)), np.array([-1, 2]), ValueError, r"labels must lie in \[0, 3\), got -1 to 2"),
])
def test_bad_labels_are_refused(fun, scores, labels, error, message):
    with pytest.raises(error, match=message):
        fun(scores, labels)


@pytest.mark.parametrize(("outputs", "targets"), [((2, 3), (3, 2)), ((2, 1), (2,)), ((0,), (0,))])
def test_bad_targets_are_refused(outputs, targets):
    with pytest.raises(ValueError, match=r"targets must have the shape \(.*\) of the outputs, not empty, got \("):
        mean_squared_error(np.zeros(outputs), np.zeros(targets))
