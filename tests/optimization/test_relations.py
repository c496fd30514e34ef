"""Exact relations between runs: what may be changed in a problem without changing the path, and what may not."""

import numpy as np
import pytest
from rules import OPTIMIZERS

from reference_impl import SGD, AdaGrad, Adam, AdamW, AMSGrad, Momentum, Nesterov, RMSProp

ROTATION_INVARIANT = {"SGD", "Momentum", "Momentum, lr inside", "Momentum, schedules", "Nesterov", "Nesterov, lr inside"}
LINEAR = sorted(ROTATION_INVARIANT - {"Momentum, schedules"})
SCALE_FREE = {"AdaGrad": AdaGrad, "RMSProp": RMSProp, "Adam": Adam, "AMSGrad": AMSGrad}


def gradient(w):
    """Of a smooth function that is no quadratic, separable in no basis."""
    matrix = np.array([[2.0, 0.5, -0.3], [0.5, 1.0, 0.2], [-0.3, 0.2, 0.7]])
    return matrix @ w + np.tanh(w) * 0.5


def path(optimizer, start, grad, steps=30):
    params, points = {"w": np.array(start, dtype=float)}, []
    for _ in range(steps):
        optimizer.update(params, {"w": np.array(grad(params["w"]), dtype=float)})
        points.append(params["w"].copy())
    return np.array(points)


START = np.array([1.0, -0.7, 0.4])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_order_of_coordinates_does_not_matter(kind):
    order = [2, 0, 1]
    back = np.argsort(order)
    moved = path(OPTIMIZERS[kind](), START[order], lambda w: gradient(w[back])[order])
    np.testing.assert_array_equal(moved, path(OPTIMIZERS[kind](), START, gradient)[:, order])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_signs_of_axes_do_not_matter(kind):
    signs = np.array([1.0, -1.0, -1.0])
    moved = path(OPTIMIZERS[kind](), START * signs, lambda w: gradient(w * signs) * signs)
    np.testing.assert_array_equal(moved, path(OPTIMIZERS[kind](), START, gradient) * signs)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_origin_does_not_matter_but_to_weight_decay(kind):
    shift = np.array([3.0, -2.0, 0.5])
    moved = path(OPTIMIZERS[kind](), START + shift, lambda w: gradient(w - shift))
    same = np.allclose(moved, path(OPTIMIZERS[kind](), START, gradient) + shift, rtol=0, atol=1e-9)
    assert same is not hasattr(OPTIMIZERS[kind](), "weight_decay")


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_rotation_matters_exactly_to_those_that_divide_each_coordinate(kind):
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    moved = path(OPTIMIZERS[kind](), turn @ START, lambda w: turn @ gradient(turn.T @ w))
    still = path(OPTIMIZERS[kind](), START, gradient) @ turn.T
    if kind in ROTATION_INVARIANT:
        np.testing.assert_allclose(moved, still, rtol=0, atol=1e-12)
    else:
        assert np.abs(moved - still).max() > 1e-3


@pytest.mark.parametrize("kind", LINEAR)
def test_eight_times_the_loss_at_an_eighth_of_the_rate(kind):
    plain, scaled = OPTIMIZERS[kind](), OPTIMIZERS[kind]()
    scaled.lr = plain.lr / 8
    np.testing.assert_array_equal(path(scaled, START, lambda w: 8 * gradient(w)), path(plain, START, gradient))


@pytest.mark.parametrize("factor", [4.0, 64.0, 0.25])
@pytest.mark.parametrize("kind", SCALE_FREE)
def test_the_scale_of_gradient_and_eps_does_not_matter(kind, factor):
    plain, scaled = SCALE_FREE[kind](lr=0.05, eps=1e-3), SCALE_FREE[kind](lr=0.05, eps=1e-3 * factor)
    np.testing.assert_array_equal(path(scaled, START, lambda w: factor * gradient(w)), path(plain, START, gradient))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_many_arrays_at_once_are_many_runs(kind):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=4), rng.normal(size=(2, 3))
    together, first, second, joined = (OPTIMIZERS[kind]() for _ in range(4))
    both, alone_a, alone_b = {"a": a.copy(), "b": b.copy()}, {"a": a.copy()}, {"b": b.copy()}
    flat = {"all": np.concatenate([a, b.ravel()])}
    for _ in range(10):
        ga, gb = rng.normal(size=4), rng.normal(size=(2, 3))
        together.update(both, {"a": ga, "b": gb})
        first.update(alone_a, {"a": ga})
        second.update(alone_b, {"b": gb})
        joined.update(flat, {"all": np.concatenate([ga, gb.ravel()])})
    np.testing.assert_equal(both, alone_a | alone_b)
    np.testing.assert_array_equal(flat["all"], np.concatenate([both["a"], both["b"].ravel()]))


@pytest.mark.parametrize("g", [3.0, -0.02, 1e-6])
def test_adam_on_a_constant_gradient_takes_steps_of_one_length(g):
    points = path(Adam(lr=0.1, eps=1e-8), [0.0], lambda w: [g], steps=50)
    steps = np.diff(points[:, 0], prepend=0)
    np.testing.assert_allclose(steps, -0.1 * g / (abs(g) + 1e-8), rtol=1e-11)


def test_momentum_on_a_constant_gradient_is_its_closed_form():
    lr, rho, g, steps = 0.1, 0.9, 2.0, 40
    t = np.arange(1, steps + 1)
    exact = -lr * g / (1 - rho) * (t - rho * (1 - rho**t) / (1 - rho))
    np.testing.assert_allclose(path(Momentum(lr=lr, rho=rho), [0.0], lambda w: [g], steps)[:, 0], exact, rtol=1e-13)
    velocity = lr * g * (1 - rho ** (t + 1)) / (1 - rho)  # what Nesterov's look ahead adds
    ahead = path(Nesterov(lr=lr, rho=rho), [0.0], lambda w: [g], steps)[:, 0]
    np.testing.assert_allclose(np.diff(ahead, prepend=0), -velocity, rtol=1e-12)


def test_adamw_without_gradient_only_decays():
    points = path(AdamW(lr=0.1, weight_decay=0.5), [2.0], lambda w: [0.0], steps=30)
    np.testing.assert_allclose(points[:, 0], 2 * 0.95 ** np.arange(1, 31), rtol=1e-14)


def test_without_decay_adamw_is_adam():
    np.testing.assert_array_equal(path(AdamW(lr=0.1, weight_decay=0.0), START, gradient), path(Adam(lr=0.1), START, gradient))


def test_sgd_is_momentum_and_nesterov_without_memory():
    plain = path(SGD(lr=0.1), START, gradient)
    for other in (Momentum(lr=0.1, rho=0.0), Nesterov(lr=0.1, rho=0.0)):
        np.testing.assert_allclose(path(other, START, gradient), plain, rtol=0, atol=1e-15)
