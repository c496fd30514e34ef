"""`minimize` keeps the whole path, leaves its arguments alone, and refuses what it cannot start from."""

import numpy as np
import pytest
from rules import OPTIMIZERS

from reference_impl import SGD, Momentum, bowl, minimize, rosenbrock


def test_the_path_is_the_closed_form_on_a_bowl():
    path, losses = minimize(bowl(3), [1.0, -2.0, 4.0], SGD(lr=0.1), 50)
    np.testing.assert_allclose(path, 0.9 ** np.arange(51)[:, None] * [1, -2, 4], rtol=1e-13)
    np.testing.assert_allclose(losses, (path**2).sum(axis=1) / 2)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_goes_down(kind):
    descent = minimize(bowl(), [1.0, -1.0], OPTIMIZERS[kind](), 60)
    assert descent.path.shape == (61, 2) and descent.losses.shape == (61,)
    assert descent.losses[-1] < 0.05 * descent.losses[0]


def test_start_and_optimizer_stay_as_they_were():
    start, optimizer = np.array([1.0, 1.0]), Momentum(lr=0.1)
    first = minimize(bowl(), start, optimizer, 5)
    np.testing.assert_array_equal(minimize(bowl(), start, optimizer, 5).path, first.path)
    assert optimizer.steps == 0 and not optimizer.state and start.tolist() == [1.0, 1.0]


def test_a_plain_function_with_its_gradient_will_do():
    path, losses = minimize(lambda w: float(w @ w), np.array([1, 0]), SGD(lr=0.25), 1, grad=lambda w: 2 * w)
    assert path.tolist() == [[1, 0], [0.5, 0]] and losses.tolist() == [1, 0.25]


def test_no_steps():
    path, losses = minimize(bowl(), [3.0, 4.0], SGD(lr=0.1), 0)
    assert path.tolist() == [[3, 4]] and losses.tolist() == [12.5]


@pytest.mark.parametrize(("w0", "steps", "says"), [
    ([[1.0]], 1, "w0 must be a non-empty vector of finite numbers"), ([1.0, np.nan], 1, "w0 must be a non-empty vector of finite numbers"), (1.0, 1, "w0 must be a non-empty vector of finite numbers"), ([1.0, 1.0], -1, "steps must be a whole number from 0 up, got -1"),
])
def test_bad_input_is_refused(w0, steps, says):
    with pytest.raises(ValueError, match=says):
        minimize(bowl(), w0, SGD(lr=0.1), steps)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_a_path_that_blows_up_says_so():
    with pytest.raises(ValueError, match=r"grads\['w'\] must be finite"):
        minimize(rosenbrock(), [5.0, -5.0], SGD(lr=1.0), 100)
