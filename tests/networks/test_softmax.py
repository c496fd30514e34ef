"""Softmax regression: its gradient against complex steps; the digits it is trained on."""

import numpy as np
import pytest

from reference_impl import digits, photographs, softmax_regression


def test_the_gradient_is_the_derivative():
    rng = np.random.default_rng(0)
    params = {"W": rng.normal(size=(5, 4)), "b": rng.normal(size=4)}
    x, y = rng.normal(size=(7, 5)), rng.integers(0, 4, 7)
    _, grads = softmax_regression(params, x, y)

    def loss(params):
        scores = x @ params["W"] + params["b"]
        return (np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(7), y]).mean()

    for name, w in params.items():
        for i in np.ndindex(w.shape):
            nudged = {k: a.astype(complex) for k, a in params.items()}
            nudged[name][i] += 1e-20j
            assert grads[name][i] == pytest.approx(loss(nudged).imag / 1e-20, rel=1e-10, abs=1e-14)
    assert softmax_regression(params, x, y)[0] == pytest.approx(loss(params), rel=1e-14)


def test_no_overflow_and_no_change_of_dtype():
    params = {"W": np.full((2, 3), 1e4, "f4"), "b": np.array([0, 1e4, -1e4], "f4")}
    loss, grads = softmax_regression(params, np.ones((2, 2), "f4"), np.array([2, 1]))
    assert np.isfinite(loss) and all(np.isfinite(g).all() and g.dtype == np.float32 for g in grads.values())


def test_the_digits_are_all_there_and_split_once():
    data = digits(seed=3)
    assert data.inputs.shape == (1348, 64) and data.test_inputs.shape == (449, 64)
    assert data.inputs.min() == 0 and data.inputs.max() == 1
    again, other = digits(seed=3), digits(seed=4)
    np.testing.assert_array_equal(data.inputs, again.inputs)
    assert not np.array_equal(data.labels, other.labels)
    everything = np.sort(np.concatenate([data.labels, data.test_labels]))
    np.testing.assert_array_equal(everything, np.sort(np.concatenate([other.labels, other.test_labels])))


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_a_bad_split_is_refused(fraction):
    with pytest.raises(ValueError, match=r"test_fraction must be a number in \(0, 1\), got"):
        digits(test_fraction=fraction)


def test_the_photographs_fill_their_range():
    images = photographs()
    assert images.dtype == np.float64 and images.min() == 0 and images.max() == 1


@pytest.mark.parametrize(("params", "name"), [
    ({"W": [[0.0, 0.0]], "b": np.zeros(2)}, r"params\['W'\]"), ({"W": np.zeros(2), "b": np.zeros(2)}, r"params\['W'\]"),
    ({"W": np.zeros((1, 2)), "b": [0.0, 0.0]}, r"params\['b'\]"), ({"W": np.zeros((1, 2)), "b": np.zeros((1, 2))}, r"params\['b'\]"),
])
def test_parameters_of_another_kind_are_refused_by_name(params, name):
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be"):
        softmax_regression(params, np.ones((3, 1)), np.array([0, 1, 0]))
