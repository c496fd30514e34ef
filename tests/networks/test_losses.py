"""Losses: their gradients against complex steps and PyTorch, extreme scores, and what they refuse."""

import numpy as np
import pytest

from reference_impl import accuracy, class_weights, log_softmax, mean_squared_error, multiclass_hinge, softmax, softmax_cross_entropy


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


# Weights of examples, the hinge loss, and float16

LOSSES = [softmax_cross_entropy, multiclass_hinge, mean_squared_error]


def of(loss, seed=0, dtype="f8", n=7):
    made = np.random.default_rng(seed)
    scores = made.normal(size=(n, 4)).astype(dtype)
    return scores, made.normal(size=(n, 4)).astype(dtype) if loss is mean_squared_error else made.integers(0, 4, n)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_weight_counts_an_example_so_many_times(loss):
    scores, targets = of(loss)
    many = np.array([0, 1, 2, 3, 0, 1, 0])
    value, gradient = loss(scores, targets, many)
    repeated, slopes = loss(np.repeat(scores, many, axis=0), np.repeat(targets, many, axis=0))
    assert value == pytest.approx(repeated, rel=1e-13)
    np.testing.assert_allclose(np.repeat(gradient, many, axis=0), slopes * many.repeat(many)[:, None], rtol=1e-12, atol=1e-17)
    same, slope = loss(scores, targets, np.ones(7))
    assert (same, slope.tolist()) == (pytest.approx(loss(scores, targets)[0], rel=1e-14), loss(scores, targets)[1].tolist())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_weighted_gradient_is_the_slope(loss):
    scores, targets = of(loss)
    weights = np.random.default_rng(3).uniform(0, 2, 7)
    _, gradient = loss(scores, targets, weights)
    for i in np.ndindex(scores.shape):
        moved = [scores.copy() for _ in range(2)]
        moved[0][i] += 1e-6
        moved[1][i] -= 1e-6
        up, down = (loss(one, targets, weights)[0] for one in moved)
        assert gradient[i] == pytest.approx((up - down) / 2e-6, abs=1e-8)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", ["f2", "f4"])
def test_weights_do_not_change_the_dtype(loss, dtype):
    scores, targets = of(loss, dtype=dtype)
    assert loss(scores, targets, np.ones(7))[1].dtype == loss(scores, targets)[1].dtype == dtype


@pytest.mark.parametrize(("weights", "error", "message"), [
    (np.ones(6), ValueError, "weights must be 7 numbers from 0 up, as many as the batch, got"),
    (np.full(7, -1.0), ValueError, "weights must be 7 numbers from 0 up"),
    (np.full(7, np.nan), ValueError, "weights must be 7 numbers from 0 up"),
    (np.ones((7, 1)), ValueError, r"weights must be an array \(batch\) of numbers"),
    ([1] * 7, TypeError, r"weights must be an array \(batch\) of numbers"),
    (np.ones(7, complex), TypeError, r"weights must be an array \(batch\) of numbers"),
])
@pytest.mark.parametrize("loss", LOSSES)
def test_bad_weights_are_refused(loss, weights, error, message):
    with pytest.raises(error, match=message):
        loss(*of(loss), weights)


@pytest.mark.parametrize("margin", [1.0, 0.3])
def test_the_hinge_loss_is_pytorchs_but_for_the_number_of_classes(margin):
    torch = pytest.importorskip("torch")
    scores, labels = of(multiclass_hinge, n=50)
    theirs = torch.tensor(scores, requires_grad=True)
    loss = 4 * torch.nn.functional.multi_margin_loss(theirs, torch.tensor(labels), margin=margin)
    loss.backward()
    value, dscores = multiclass_hinge(scores, labels, margin=margin)
    assert value == pytest.approx(loss.item(), rel=1e-13)
    np.testing.assert_allclose(dscores, theirs.grad.numpy(), rtol=1e-12, atol=1e-17)


def test_beyond_the_margin_nothing_is_to_gain_and_on_it_the_slope_is_0():
    assert multiclass_hinge(np.array([[2.0, 1.0], [0.0, 5.0]]), np.array([0, 1]))[0] == 0
    assert not multiclass_hinge(np.array([[2.0, 1.0]]), np.array([0]))[1].any()
    with pytest.raises(ValueError, match=r"margin must be a number in \(0, inf\), got 0"):
        multiclass_hinge(np.array([[2.0, 1.0]]), np.array([0]), margin=0)


def test_class_weights_make_all_classes_count_alike():
    labels = np.random.default_rng(0).choice([0, 2, 3], 50, p=[0.7, 0.2, 0.1])
    weights = class_weights(labels, 4)
    sums = [weights[labels == label].sum() for label in (0, 2, 3)]
    np.testing.assert_allclose(sums, 50 / 3)
    assert all(len(set(weights[labels == label])) == 1 for label in (0, 2, 3))
    utils = pytest.importorskip("sklearn.utils.class_weight")
    np.testing.assert_allclose(weights, utils.compute_sample_weight("balanced", labels))
    for bad, message in ((np.array([0, 4]), r"labels must lie in \[0, 4\)"), (np.array([-1, 2]), r"labels must lie in \[0, 4\)"),
                         (np.zeros(0, int), r"labels must lie in \[0, 4\), and be some")):
        with pytest.raises(ValueError, match=message):
            class_weights(bad, 4)
    with pytest.raises(TypeError, match="labels must be an array"):
        class_weights([0, 1])
    with pytest.raises(ValueError, match="classes must be a whole number from 1 up or None, got 0"):
        class_weights(labels, 0)
    assert class_weights(np.array([0, 1])).tolist() == [1, 1]


@pytest.mark.parametrize("loss", LOSSES)
def test_in_float16_sums_and_squares_stay_in_range(loss):
    made = np.random.default_rng(0)
    scores = (300 * made.normal(size=(4096, 4))).astype("f2")
    targets = np.zeros((4096, 4), "f2") if loss is mean_squared_error else made.integers(0, 4, 4096)
    value, gradient = loss(scores, targets)
    exact, slope = loss(scores.astype("f8"), targets)
    assert value == pytest.approx(exact, rel=1e-3)
    np.testing.assert_allclose(gradient, slope, rtol=1e-3, atol=2**-24)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: softmax([1.0, 2.0]), "scores must be an array of numbers, got"),
    (lambda: log_softmax(np.ones(2, complex)), "scores must be an array of numbers, got"),
    (lambda: log_softmax(np.array(1.0)), r"scores must be \(..., classes\), got \(\)"),
    (lambda: log_softmax(np.ones((2, 0))), r"scores must be \(..., classes\), got \(2, 0\)"),
    (lambda: softmax_cross_entropy([[1.0]], np.array([0])), "scores must be an array of floating-point numbers, got"),
    (lambda: softmax_cross_entropy(np.ones((1, 1)), [0]), r"labels must be an array of integers, got \[0\]"),
    (lambda: softmax_cross_entropy(np.ones((1, 1), int), np.array([0])), "scores must be floating-point numbers, got int"),
    (lambda: accuracy(np.ones((1, 1)), None), "labels must be an array of integers, got None"),
    (lambda: mean_squared_error([1.0], np.ones(1)), "outputs must be an array of floating-point numbers"),
    (lambda: mean_squared_error(np.ones(1), [1.0]), "targets must be an array of numbers"),
    (lambda: mean_squared_error(np.array(1.0), np.array(1.0)), r"targets must have the shape \(\) of the outputs"),
])
def test_what_is_no_array_is_refused_by_name(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_softmax_of_half_precision_is_what_double_precision_gives_rounded_once():
    scores = (np.random.default_rng(0).normal(size=(200, 50)) * 5).astype("f2")
    for function in (softmax, log_softmax):
        found, expected = function(scores), function(scores.astype(float))
        assert found.dtype == np.float16
        assert (np.abs(found - expected) <= np.maximum(0.51 * np.spacing(np.abs(expected).astype("f2")).astype(float), 1e-7)).all()


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda scores: np.repeat(scores, 2, axis=1)[:, ::2], lambda scores: scores[::-1].copy()[::-1]])
@pytest.mark.parametrize("loss", [softmax_cross_entropy, multiclass_hinge])
def test_the_layout_of_the_scores_does_not_matter(loss, layout):
    scores, labels = batch()
    for weights in (None, np.arange(7.0)):
        found, expected = loss(layout(scores), labels, weights), loss(scores, labels, weights)
        assert found[0] == expected[0] and np.array_equal(found[1], expected[1])


@pytest.mark.parametrize("dtype", ["i1", "u1", "i8", "u8"])
def test_softmax_of_whole_numbers_is_that_of_floats(dtype):
    scores = np.array([np.iinfo(dtype).min, 0, 1, np.iinfo(dtype).max], dtype)
    assert np.array_equal(softmax(scores), softmax(scores.astype(float))) and np.array_equal(log_softmax(scores), log_softmax(scores.astype(float)))


def test_infinite_weights_are_refused():
    scores, labels = batch()
    for loss, targets in ((softmax_cross_entropy, labels), (multiclass_hinge, labels), (mean_squared_error, scores)):
        with pytest.raises(ValueError, match=r"weights must be 7 numbers from 0 up.*inf"):
            loss(scores, targets, np.array([1.0] * 6 + [np.inf]))


def test_class_weights_of_a_label_far_from_the_others():
    assert class_weights(np.array([0, 0, 0, 2**40])).tolist() == class_weights(np.array([0, 0, 0, 1])).tolist()
