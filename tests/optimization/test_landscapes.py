"""Each landscape's gradient and Hessian against finite differences, its minima, and what it refuses."""

import re

import numpy as np
import pytest

from reference_impl import bowl, double_well, noisy, quadratic, rosenbrock, saddle, taco_shell
from reference_impl.optimization.landscapes import beale, booth, himmelblau, logistic_regression

LANDSCAPES = [bowl(), bowl(5), taco_shell(3.0), taco_shell(1e4), saddle(), double_well(), double_well(-0.3), double_well(2.0), rosenbrock(),
              rosenbrock(7), quadratic([0.5, -2.0, 3.0]), beale(), himmelblau(), booth(),
              logistic_regression(np.random.default_rng(0).normal(size=(6, 2)), [0, 1, 2, 2, 1, 0], 0.1)]
NAMES = [f"{f.name} {f.n} {i}" for i, f in enumerate(LANDSCAPES)]


@pytest.mark.parametrize("f", LANDSCAPES, ids=NAMES)
def test_gradient_and_hessian_are_the_derivatives(f):
    rng = np.random.default_rng(0)
    for w in rng.normal(size=(20, f.n)):
        h = 1e-5 * np.eye(f.n)
        slope = (f(w + h) - f(w - h)) / 2e-5
        np.testing.assert_allclose(f.grad(w), slope, rtol=1e-6, atol=1e-6 * max(1, np.abs(slope).max()))
        curve = (f.grad(w + h) - f.grad(w - h)) / 2e-5
        np.testing.assert_allclose(f.hess(w), curve, rtol=1e-6, atol=1e-6 * max(1, np.abs(curve).max()))
        np.testing.assert_array_equal(f.hess(w), f.hess(w).T)


@pytest.mark.parametrize("f", LANDSCAPES, ids=NAMES)
def test_a_grid_of_points_is_one_call(f):
    w = np.random.default_rng(1).normal(size=(3, 4, f.n))
    assert f(w).shape == (3, 4) and f.grad(w).shape == (3, 4, f.n) and f.hess(w).shape == (3, 4, f.n, f.n)
    np.testing.assert_allclose(f(w)[1, 2], f(w[1, 2]))
    np.testing.assert_allclose(f.grad(w)[1, 2], f.grad(w[1, 2]))
    np.testing.assert_allclose(f.hess(w)[1, 2], f.hess(w[1, 2]))


@pytest.mark.parametrize("f", LANDSCAPES, ids=NAMES)
def test_minima_are_flat_and_curve_up(f):
    for w in f.minima:
        np.testing.assert_allclose(f.grad(w), 0, atol=1e-12)
        assert np.linalg.eigvalsh(f.hess(w)).min() > 0


def test_how_many_minima():
    assert [len(f.minima) for f in (bowl(), saddle(), double_well(), double_well(0.38), double_well(0.39), rosenbrock())] == [1, 0, 2, 2, 1, 1]


def test_rosenbrock_is_scipys():
    optimize = pytest.importorskip("scipy.optimize")
    w = np.random.default_rng(2).normal(size=6)
    f = rosenbrock(6)
    np.testing.assert_allclose([f(w), *f.grad(w), *f.hess(w).ravel()],
                               [optimize.rosen(w), *optimize.rosen_der(w), *optimize.rosen_hess(w).ravel()])


def test_the_sums_of_squares_are_what_the_textbooks_print():
    x, y = np.random.default_rng(3).normal(size=(2, 9))
    w = np.stack([x, y], axis=-1)
    np.testing.assert_allclose(beale()(w), (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2)
    np.testing.assert_allclose(himmelblau()(w), (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2)
    np.testing.assert_allclose(booth()(w), (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2)


@pytest.mark.parametrize("f", [beale(), himmelblau(), booth()], ids=lambda f: f.name)
def test_their_minima_are_zeros_and_all_of_them(f):
    np.testing.assert_allclose(f(f.minima), 0, atol=1e-28)
    assert np.isfinite(f.hess(np.zeros(2))).all()
    assert len(f.minima) == {"Beale": 1, "Himmelblau": 4, "Booth": 1}[f.name]


def test_logistic_regression_is_scikit_learns():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(40, 3)), rng.integers(3, size=40)
    f = logistic_regression(x, y, 0.05)
    w = np.zeros(9)
    for _ in range(20):
        w -= np.linalg.solve(f.hess(w), f.grad(w))
    theirs = linear.LogisticRegression(C=1 / (0.05 * 40), fit_intercept=False, tol=1e-10).fit(x, y).coef_
    np.testing.assert_allclose(w.reshape(3, 3), theirs.T, atol=1e-5)
    assert np.isfinite(f(1e6 * np.arange(9.0)))


def test_condition_of_the_taco_shell():
    assert np.linalg.cond(taco_shell(1e6).hess(np.zeros(2))) == pytest.approx(1e6)


def test_noise_is_fresh_has_the_asked_spread_and_follows_rng():
    def gradients(seed):
        f = noisy(taco_shell(10), 0.5, np.random.default_rng(seed))
        return np.array([f.grad(np.array([1.0, 2.0])) for _ in range(4000)])

    a = gradients(0)
    np.testing.assert_array_equal(a, gradients(0))
    assert not np.array_equal(a, gradients(1))
    np.testing.assert_allclose(a.mean(axis=0), [1, 20], atol=4 * 0.5 / np.sqrt(4000))
    np.testing.assert_allclose(a.std(axis=0), 0.5, rtol=0.05)
    f = noisy(bowl(), 0.5, np.random.default_rng(0))
    assert f([3.0, 4.0]) == 12.5 and f.name == "noisy bowl"


@pytest.mark.parametrize(("make", "says"), [
    (lambda: quadratic([]), "curvatures must be a non-empty vector"),
    (lambda: quadratic([[1.0]]), "curvatures must be a non-empty vector"),
    (lambda: quadratic([1.0, np.nan]), "finite numbers, got [1.0, nan]"),
    (lambda: taco_shell(0.5), "condition must be a number in [1, inf), got 0.5"),
    (lambda: taco_shell(np.nan), "condition must be a number in [1, inf), got nan"),
    (lambda: rosenbrock(1), "n must be a whole number from 2 up, got 1"),
    (lambda: double_well(np.inf), "tilt must be a number in (-inf, inf), got inf"),
    (lambda: noisy(bowl(), -1.0, np.random.default_rng(0)), "sigma must be a number in [0, inf), got -1.0"),
    (lambda: logistic_regression([1.0], [0]), "inputs must be a non-empty matrix of finite numbers, got [1.0]"),
    (lambda: logistic_regression([[np.nan]], [0]), "inputs must be a non-empty matrix of finite numbers"),
    (lambda: logistic_regression([[1.0]], [0, 1]), "labels must be 1 whole numbers, 0 or more, got [0, 1]"),
    (lambda: logistic_regression([[1.0]], [-1]), "labels must be 1 whole numbers, 0 or more, got [-1]"),
    (lambda: logistic_regression([[1.0]], [0.5]), "labels must be 1 whole numbers, 0 or more, got [0.5]"),
    (lambda: logistic_regression([[1.0]], [0], -1.0), "penalty must be a number in [0, inf), got -1.0"),
    (lambda: bowl()([1.0, 2.0, 3.0]), "w must have shape (..., 2), got (3,)"),
    (lambda: bowl()(1.0), "w must have shape (..., 2), got ()"),
])
def test_bad_input_is_refused(make, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        make()


@pytest.mark.parametrize("lowest", [0.0, -1e-9, -0.5, -1.0])
def test_a_quadratic_that_is_flat_or_falls_on_an_axis_has_no_one_minimum(lowest):
    assert quadratic([1.0, lowest]).minima.shape == (0, 2) and quadratic([1.0, 1e-9]).minima.shape == (1, 2)


def test_a_landscape_does_not_change():
    with pytest.raises(AttributeError):
        bowl().n = 3
