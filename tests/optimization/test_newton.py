"""Newton's method: the minima of its peers, what the chapter proves, and no wrong answer called converged."""

import numpy as np
import pytest
from scipy import optimize

from reference_impl import double_well, quadratic, rosenbrock, saddle, taco_shell
from reference_impl.networks.data import digits
from reference_impl.optimization.gauss_newton import fisher, gauss_newton, gauss_newton_step, kronecker_step, levenberg_marquardt
from reference_impl.optimization.landscapes import beale, himmelblau, logistic_regression
from reference_impl.optimization.newton import (
    conjugate_gradient,
    hessp_from,
    newton,
    newton_cg,
    newton_step,
    positive_shift,
    trust_region_step,
)

METHODS = ("shifted", "line search", "pure")
NO_MINIMUM = "the gradient vanishes at a point that is no minimum"


def logistic(penalty=0.1):
    """Twos against threes of the real digits: loss, gradient and Hessian of logistic regression with an l2 penalty."""
    data = digits()
    chosen = np.isin(data.labels, (2, 3))
    a = np.c_[data.inputs[chosen], np.ones(chosen.sum())] * np.where(data.labels[chosen] == 2, 1.0, -1.0)[:, None]

    def fun(w):
        return float(np.logaddexp(0, -a @ w).sum() + penalty / 2 * w @ w)

    def chance(w):
        return 1 / (1 + np.exp(a @ w))

    def grad(w):
        return -a.T @ chance(w) + penalty * w

    def hess(w):
        p = chance(w)
        return (a.T * (p * (1 - p))) @ a + penalty * np.eye(w.size)

    return fun, grad, hess, a.shape[1]


def problems():
    for name, landscape, start in (
        ("rosenbrock 2", rosenbrock(), [-1.2, 1.0]),
        ("rosenbrock 100", rosenbrock(100), np.full(100, 0.9)),
        ("beale", beale(), [1.0, 1.0]),
        ("himmelblau", himmelblau(), [3.5, 2.5]),
    ):
        yield pytest.param(landscape, landscape.grad, landscape.hess, np.array(start), id=name)
    fun, grad, hess, n = logistic()
    yield pytest.param(fun, grad, hess, np.zeros(n), id="logistic")


@pytest.mark.parametrize(("fun", "grad", "hess", "start"), problems())
def test_the_minimum_is_scipys(fun, grad, hess, start):
    theirs = optimize.minimize(fun, start, method="trust-exact", jac=grad, hess=hess, options={"gtol": 1e-9})
    inexact = optimize.minimize(fun, start, method="Newton-CG", jac=grad, hess=hess, options={"xtol": 1e-10, "maxiter": 2000})
    for ours in (newton(fun, start, grad, hess, gtol=1e-9), newton_cg(fun, start, grad, hessp_from(grad), gtol=1e-7)):
        assert ours.success
        np.testing.assert_allclose(ours.x, theirs.x, rtol=0, atol=2e-6)
        np.testing.assert_allclose(ours.x, inexact.x, rtol=0, atol=2e-6)
        assert ours.fun <= theirs.fun + 1e-12 * (1 + abs(theirs.fun))


def rotated(curvatures, seed=0):
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=2 * (len(curvatures),)))[0]
    return q * np.asarray(curvatures) @ q.T


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("condition", [1.0, 1e3, 1e7])
def test_a_positive_definite_quadratic_takes_one_step(method, condition):
    h = rotated(np.geomspace(1, condition, 6))
    at = np.arange(6.0)
    result = newton(lambda x: float((x - at) @ h @ (x - at)) / 2, np.full(6, 5.0), lambda x: h @ (x - at), lambda x: h, method=method)
    assert result.success and result.nit == 1
    np.testing.assert_allclose(result.x, at, atol=1e-8)


@pytest.mark.parametrize("seed", range(5))
def test_the_pure_path_is_the_same_in_all_coordinates(seed):
    rng = np.random.default_rng(seed)
    landscape, a = rosenbrock(4), rng.normal(size=(4, 4)) + 3 * np.eye(4)
    w = rng.uniform(0.8, 1.2, 4)
    z = np.linalg.solve(a, w)
    for _ in range(4):
        w = w + newton_step(landscape.grad(w), landscape.hess(w))
        z = z + newton_step(a.T @ landscape.grad(a @ z), a.T @ landscape.hess(a @ z) @ a)
        np.testing.assert_allclose(a @ z, w, rtol=1e-8)


def test_the_error_is_squared_with_the_factor_of_theory():
    for c in (0.5, 2.0, 7.0):  # e^w - c w: f'''/f'' = 1 at its minimum
        e = 1e-3
        w = np.log(c) + e
        after = w - (np.exp(w) - c) / np.exp(w) - np.log(c)
        assert after / e**2 == pytest.approx(0.5, rel=1e-3)
    e = np.array([0.3, 0.03])
    w = 1 + e
    np.testing.assert_allclose(w - (1 - 1 / w) * w**2 - 1, -(e**2), rtol=1e-12)  # w - ln w: exactly


def log_cosh(w):
    return float(abs(w[0]) + np.log1p(np.exp(-2 * abs(w[0]))) - np.log(2))


def log_cosh_hess(w):
    return np.diag(1 / np.cosh(w) ** 2)


def test_on_log_cosh_the_pure_method_diverges_beyond_the_root():
    edge = optimize.brentq(lambda w: w - np.tanh(w) * np.cosh(w) ** 2 + w, 0.5, 2)
    assert edge == pytest.approx(1.0886594924826534)
    for factor, inside in ((0.999, True), (-0.999, True), (1.001, False), (-1.5, False), (300.0, False)):
        result = newton(log_cosh, [factor * edge], np.tanh, log_cosh_hess, method="pure")
        assert result.success == inside
        assert newton(log_cosh, [factor * edge / 30], np.tanh, log_cosh_hess).success


@pytest.mark.parametrize("method", ["shifted", "line search"])
@pytest.mark.parametrize("start", [1.2, -5.0, 15.0])
def test_with_a_line_search_it_does_not(method, start):
    result = newton(log_cosh, [start], np.tanh, log_cosh_hess, method=method)
    assert result.success and abs(result.x[0]) < 1e-6


@pytest.mark.parametrize(("landscape", "start"), [
    (saddle(), [1.0, 2.0]), (quadratic([-1.0, -3.0]), [1.0, 2.0]), (double_well(), [0.3]), (himmelblau(), [0.0, 0.0]),
])
def test_pure_newton_at_a_saddle_or_maximum_is_not_called_converged(landscape, start):
    result = newton(landscape, start, landscape.grad, landscape.hess, method="pure")
    assert np.abs(landscape.grad(result.x)).max() < 1e-6 and (np.linalg.eigvalsh(landscape.hess(result.x)) < 0).any()
    lowest = np.linalg.eigvalsh(landscape.hess(result.x))[0]
    assert not result.success and result.message.startswith(f"{NO_MINIMUM}: the lowest curvature is {lowest:.3g} ± ")


def test_a_line_search_alone_fails_in_two_ways_and_says_which():
    hills, side, messages = himmelblau(), np.linspace(-6, 6, 10), []
    for start in np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2):
        result = newton(hills, start, hills.grad, hills.hess, method="line search")
        if not result.success:
            messages.append(result.message)
            bends = np.linalg.eigvalsh(hills.hess(result.x))
            assert bends[0] < 0 and (not messages[-1].startswith(NO_MINIMUM) or bends[1] > 0)  # it stops at saddles, never at the top
    assert (len(messages), sum(message.startswith(NO_MINIMUM) for message in messages)) == (40, 17)
    assert sum("does not lead down" in message for message in messages) == 23


@pytest.mark.parametrize("seed", range(3))
def test_the_default_finds_a_minimum_from_anywhere(seed):
    hills, rng = himmelblau(), np.random.default_rng(seed)
    for start in rng.uniform(-8, 8, (15, 2)):
        for result in (newton(hills, start, hills.grad, hills.hess),
                       newton_cg(hills, start, hills.grad, lambda x, v: hills.hess(x) @ v)):
            assert result.success
            assert np.linalg.norm(hills.minima - result.x, axis=1).min() < 1e-5


@pytest.mark.parametrize("solver", ["newton", "newton_cg"])
@pytest.mark.parametrize(("fun", "grad", "hess", "start", "minimum"), [
    (lambda x: x[0] ** 3, lambda x: 3 * x**2, lambda x: np.diag(6 * x), [0.0], False),
    (lambda x: x[0] ** 4, lambda x: 4 * x**3, lambda x: np.diag(12 * x**2), [0.0], True),
    (lambda x: -x[0] ** 4, lambda x: -4 * x**3, lambda x: np.diag(-12 * x**2), [0.0], False),
    (lambda x: x[0] ** 2 - x[1] ** 4, lambda x: np.array([2 * x[0], -4 * x[1] ** 3]), lambda x: np.diag([2, -12 * x[1] ** 2]), [1.0, 0.0], False),
    (lambda x: (x[0] + x[1]) ** 2, lambda x: np.full(2, 2 * (x[0] + x[1])), lambda x: np.full((2, 2), 2.0), [1.0, 0.5], True),
    (lambda x: 1e9, lambda x: 0 * x, lambda x: np.zeros((2, 2)), [1.0, 0.5], True),
    (lambda x: 0.0 + x[0] * x[1], lambda x: x[::-1], lambda x: np.array([[0, 1], [1, 0]]), [0.0, 0.0], False),
], ids=["x³", "x⁴", "-x⁴", "x² - y⁴", "a trough", "a plain", "xy"])
def test_where_the_hessian_is_singular_the_loss_beside_it_decides(solver, fun, grad, hess, start, minimum):
    result = newton(fun, start, grad, hess) if solver == "newton" else newton_cg(fun, start, grad, lambda x, v: hess(x) @ v)
    assert result.success == minimum
    assert minimum or result.message.startswith(NO_MINIMUM)


@pytest.mark.parametrize(("fun", "grad", "hess"), [
    (lambda x: x[0] ** 3, lambda x: 3 * x**2, lambda x: np.diag(6 * x)),
    (lambda x: np.exp(-x[0]), lambda x: -np.exp(-x), lambda x: np.diag(np.exp(-x))),
], ids=["x³", "exp(-x)"])
@pytest.mark.parametrize("method", ["shifted", "line search", "pure"])
def test_a_slope_that_fades_out_is_no_minimum(fun, grad, hess, method):
    for result in (newton(fun, [1.0], grad, hess, method=method), newton_cg(fun, [1.0], grad, lambda x, v: hess(x) @ v)):
        assert not result.success and "still falls" in result.message


@pytest.mark.parametrize("seed", range(10))
def test_the_shift_makes_positive_definite_and_is_not_needlessly_large(seed):
    rng = np.random.default_rng(seed)
    h = rng.normal(size=(5, 5)) * 10.0 ** rng.integers(-8, 8)
    h = h + h.T
    lowest, size = np.linalg.eigvalsh(h)[0], np.abs(h).max()
    mu = positive_shift(h)
    assert np.linalg.eigvalsh(h + mu * np.eye(5))[0] > 0
    assert mu == 0 or mu <= 2 * max(-lowest, 1e-3 * size) + 2e-3 * size
    g = rng.normal(size=5)
    assert g @ newton_step(g, h + mu * np.eye(5)) < 0


def test_a_positive_definite_matrix_is_not_shifted_and_a_zero_one_is():
    assert positive_shift(rotated([1e-6, 1.0, 30.0])) == 0
    assert 0 < positive_shift(np.zeros((2, 2))) < np.inf
    with pytest.raises(np.linalg.LinAlgError, match="no finite shift"):
        positive_shift(np.array([[0.0, 1.7e308], [1.7e308, -1.7e308]]))


def test_conjugate_gradients_end_after_as_many_steps_as_there_are_eigenvalues():
    b = np.random.default_rng(0).normal(size=9)
    for curvatures in ([2.0] * 9, [1.0] * 4 + [50.0] * 5, [1.0, 5.0, 9.0] * 3, np.arange(1.0, 10.0)):
        a = rotated(curvatures)
        x, residuals, flat = conjugate_gradient(lambda d, a=a: a @ d, b)
        assert len(residuals) - 1 == len(set(curvatures)) and flat is None
        np.testing.assert_allclose(a @ x, b, atol=1e-8)
        assert residuals[-1] == pytest.approx(np.linalg.norm(b - a @ x), abs=1e-9)


def test_conjugate_gradients_lower_the_parabola_in_every_step_and_keep_the_rate():
    kappa = 400.0
    a, b = rotated(np.linspace(1, kappa, 60)), np.ones(60)
    exact = np.linalg.solve(a, b)
    errors = []
    for k in range(25):
        x = conjugate_gradient(lambda d: a @ d, b, maxiter=k).x
        errors.append(float((x - exact) @ a @ (x - exact)) ** 0.5)
    rate = (kappa**0.5 - 1) / (kappa**0.5 + 1)
    assert (np.diff(errors) < 0).all()
    assert all(error <= 2 * rate**k * errors[0] * (1 + 1e-9) for k, error in enumerate(errors))
    w, velocity = np.zeros(60), np.zeros(60)
    for error in errors:  # momentum with the best settings is never ahead, product for product
        assert error <= float((w - exact) @ a @ (w - exact)) ** 0.5 * (1 + 1e-9)
        velocity = rate**2 * velocity - 4 / (1 + kappa**0.5) ** 2 * (a @ w - b)
        w = w + velocity


def test_conjugate_gradients_stop_at_negative_curvature_and_show_it():
    a = np.diag([1.0, 2.0, -1.0])
    x, _, flat = conjugate_gradient(lambda d: a @ d, np.ones(3))
    assert flat is not None and flat @ a @ flat <= 0
    assert np.ones(3) @ x >= 0  # still no step uphill
    x, residuals, flat = conjugate_gradient(lambda d: a @ d, np.zeros(3))
    assert not x.any() and flat is None and residuals == [0.0]


def test_the_product_from_gradients_is_the_hessians():
    rng = np.random.default_rng(0)
    for landscape in (rosenbrock(6), taco_shell(1e4), himmelblau()):
        for scale in (1e-6, 1.0, 1e6):
            x, v = rng.normal(size=(2, landscape.n))
            exact = landscape.hess(x) @ v
            ours = hessp_from(landscape.grad)(x, scale * v) / scale
            np.testing.assert_allclose(ours, exact, rtol=0, atol=1e-7 * np.abs(exact).max())
    assert not hessp_from(lambda x: x**2)(np.ones(2), np.zeros(2)).any()


def test_newton_cg_needs_no_matrix_and_few_products():
    n = 20_000
    valley = rosenbrock(n)
    result = newton_cg(valley, 1 + 0.1 * np.cos(np.arange(n)), valley.grad, hessp_from(valley.grad))
    assert result.success and np.abs(result.x - 1).max() < 1e-6
    assert result.nhev < 300


def test_each_failure_says_what_it_is():
    ridge = saddle()
    expected = {"shifted": "unbounded below", "line search": "does not lead down", "pure": NO_MINIMUM}
    for method, message in expected.items():
        result = newton(ridge, [1.0, 1.0], ridge.grad, ridge.hess, method=method)
        assert not result.success and message in result.message
    assert "unbounded below" in newton_cg(ridge, [1.0, 1.0], ridge.grad, lambda x, v: ridge.hess(x) @ v).message
    assert newton_cg(ridge, [0.0, 0.0], ridge.grad, lambda x, v: ridge.hess(x) @ v).message.startswith(NO_MINIMUM)
    flat = {"grad": lambda x: np.ones(1), "hess": lambda x: np.zeros((1, 1))}
    assert "singular" in newton(lambda x: x[0], [0.0], **flat, method="pure").message
    slope = newton(lambda x: x[0], [0.0], **flat, maxiter=20)
    assert (slope.success, slope.nit) == (False, 20) and "iteration limit" in slope.message
    nan = newton(lambda x: np.nan, [0.0], **flat)
    assert not nan.success and "not finite" in nan.message
    lying = newton(lambda x: -x[0], [0.0], **flat)  # the loss rises where its gradient says it falls
    assert not lying.success and "line search found no step" in lying.message
    nan_hess = newton(lambda x: x[0] ** 2, [1.0], lambda x: 2 * x, lambda x: np.full((1, 1), np.nan))
    assert not nan_hess.success and "Hessian is not finite" in nan_hess.message
    nan_product = newton_cg(lambda x: x[0] ** 2, [1.0], lambda x: 2 * x, lambda x, v: v * np.nan)
    assert not nan_product.success and "product is not finite" in nan_product.message


def test_a_loss_that_falls_to_minus_infinity_ends():
    result = newton(lambda x: -np.exp(x[0]), [0.0], lambda x: -np.exp(x), lambda x: np.diag(-np.exp(x)))
    assert not result.success and "unbounded below" in result.message
    barrier = newton(lambda x: np.log(x[0]), [2.0], lambda x: 1 / x, lambda x: np.diag(-1 / x**2))
    assert not barrier.success


@pytest.mark.parametrize("method", ["shifted", "line search"])
def test_a_tolerance_below_rounding_of_the_loss_is_reached_all_the_same(method):
    result = newton(lambda x: 1e6 + np.cosh(x).sum(), [1.0, -2.0], np.sinh, lambda x: np.diag(np.cosh(x)), gtol=1e-12, method=method)
    assert result.success and np.abs(result.x).max() < 1e-12


def test_the_counts_are_the_calls():
    valley, calls = rosenbrock(), dict.fromkeys(("fun", "grad", "hess"), 0)

    def counted(name, call):
        def inner(*args):
            calls[name] += 1
            return call(*args)
        return inner

    result = newton(counted("fun", valley), [-1.2, 1.0], counted("grad", valley.grad), counted("hess", valley.hess))
    assert (result.nfev, result.ngev, result.nhev) == tuple(calls.values())
    assert result.ngev == result.nit + 1 == result.nhev


def test_nothing_of_the_callers_is_kept_or_changed():
    valley, start, buffer, seen = rosenbrock(), np.array([-1.2, 1.0]), np.empty(2), []

    def grad(x):
        buffer[:] = valley.grad(x)
        x[:] = np.nan
        return buffer

    def callback(x):
        seen.append(x.copy())
        x[:] = 0

    result = newton(valley, start, grad, valley.hess, callback=callback)
    plain = newton(valley, start, valley.grad, valley.hess)
    np.testing.assert_array_equal(result.x, plain.x)
    np.testing.assert_array_equal(start, [-1.2, 1.0])
    assert len(seen) == result.nit
    both = newton(lambda x: (valley(x), valley.grad(x)), start, True, valley.hess)
    np.testing.assert_array_equal(both.x, plain.x)


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1e8, 1e150])
def test_the_first_step_does_not_depend_on_the_scale_of_the_loss(scale):
    valley = rosenbrock()
    first, scaled = (newton(lambda x, c=c: c * valley(x), [-1.2, 1.0], lambda x, c=c: c * valley.grad(x),
                            lambda x, c=c: c * valley.hess(x), maxiter=1, gtol=1e-300).x for c in (1.0, scale))
    np.testing.assert_allclose(scaled, first, rtol=1e-12)


BOWL = {"fun": lambda x: x @ x, "x0": [1.0, 2.0], "grad": lambda x: 2 * x, "hess": lambda x: 2 * np.eye(2)}


@pytest.mark.parametrize(("wrong", "message"), [
    ({"method": "newton"}, "method must be 'shifted', 'trust region', 'line search' or 'pure', got 'newton'"),
    ({"x0": []}, r"x0 must be a non-empty vector of finite numbers, got \[\]"),
    ({"x0": [[1.0, 2.0]]}, "x0 must be a non-empty vector"),
    ({"x0": [np.nan, 2.0]}, "x0 must be a non-empty vector of finite numbers"),
    ({"gtol": 0.0}, r"gtol must be a number in \(0, inf\), got 0.0"),
    ({"gtol": np.nan}, r"gtol must be a number in \(0, inf\), got nan"),
    ({"maxiter": -1}, "maxiter must be a whole number from 0 up, got -1"),
    ({"grad": lambda x: np.ones(3)}, r"grad must return shape \(2,\), got \(3,\)"),
    ({"hess": lambda x: np.ones(2)}, r"hess must return shape \(2, 2\), got \(2,\)"),
    ({"hess": lambda x: np.array([[2.0, 0.5], [0.0, 2.0]])}, "hess must return a symmetric matrix, got one that differs by 0.5"),
])
def test_what_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        newton(**{**BOWL, **wrong})


def test_a_product_of_the_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"hessp must return shape \(2,\), got \(1,\)"):
        newton_cg(BOWL["fun"], BOWL["x0"], BOWL["grad"], lambda x, v: v[:1])
    with pytest.raises(ValueError, match=r"gtol must be a number in \(0, inf\), got -1"):
        newton_cg(BOWL["fun"], BOWL["x0"], BOWL["grad"], lambda x, v: 2 * v, gtol=-1)


# What the shift, the last look and the theory promise, and where that ends

@pytest.mark.parametrize("units", [1.0, 1e-3, 1e7])
def test_a_narrow_valley_along_the_axes_is_not_shifted_whatever_its_units(units):
    for kappa in (2.0**20, 2.0**52, 1e100):
        assert positive_shift(np.diag([1.0, kappa]) * np.array([[units**2, units], [units, 1.0]])) == 0
        shell = taco_shell(kappa)
        result = newton(shell, [9.0, 1.5], shell.grad, shell.hess)
        assert (result.success, result.nit) == (True, 1) and not result.x.any()
    h = np.array([[2.0, 1.0], [1.0, 3.0]])
    unit = np.diag([1.0, 1e9 * units])
    assert positive_shift(unit @ h @ unit) == 0 < positive_shift(unit @ (h - 4 * np.eye(2)) @ unit)
    for mu in (positive_shift(np.full((2, 2), 2.0) * np.outer(np.diag(unit), np.diag(unit))), positive_shift(np.diag([0.0, 1.0]))):
        assert mu > 0  # singular, but for rounding


def turned(kappa, angle=0.5):
    q = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    h = q * np.array([1.0, kappa]) @ q.T
    return (h + h.T) / 2, q @ np.array([9.0, 1.5])


def test_in_a_turned_valley_rounding_costs_digits_as_it_gets_narrower():
    left = []
    for kappa in (2.0**20, 2.0**36, 2.0**48):
        h, at = turned(kappa)
        left.append(np.linalg.norm(at + newton_step(h @ at, h)))
        assert positive_shift(h) == 0
    assert left[0] < 1e-9 < 1e-7 < left[1] < 1e-3 < 1e-2 < left[2]


def test_the_nearer_a_valley_lies_to_an_axis_the_narrower_it_may_be_before_it_is_shifted():
    for angle, unshifted, shifted in ((np.pi / 4, 2e15, 1.5e16), (0.1, 4e16, 5e17), (0.01, 4e18, 5e19)):
        assert positive_shift(turned(unshifted, angle)[0]) == 0 < positive_shift(turned(shifted, angle)[0])


def two_basins(w):
    return float(w[0] ** 2 / 2 - 400 * np.exp(-(w[0] - 16) ** 2))


def its_slope(w):
    return w + 800 * (w - 16) * np.exp(-(w - 16) ** 2)


def its_curvature(w):
    return np.diag(1 + 800 * (1 - 2 * (w - 16) ** 2) * np.exp(-(w - 16) ** 2))


def test_a_lower_basin_far_off_is_no_reason_to_doubt_a_minimum_that_is_reached():
    for method in METHODS:
        result = newton(two_basins, [-1.0], its_slope, its_curvature, method=method)
        assert result.success and result.x == pytest.approx([0.0])
    assert newton_cg(two_basins, [-1.0], its_slope, lambda x, v: its_curvature(x) @ v).success
    early = newton(two_basins, [-0.5], its_slope, its_curvature, gtol=1.0)  # 32 steps of 0.5 lead into the other basin
    assert (early.success, early.nit) == (False, 0) and "along the next step the loss still falls" in early.message


@pytest.mark.parametrize(("gtol", "alarms"), [(1e-1, True), (1e-2, False), (1e-4, False)])
def test_the_last_look_reaches_as_far_as_the_distance_that_is_left(gtol, alarms):
    ends = [newton(lambda w: float(0.02 * w[0] ** 2 - np.cos(w[0])), [start], lambda w: 0.04 * w + np.sin(w),
                   lambda w: np.diag(0.04 + np.cos(w)), gtol=gtol) for start in np.linspace(-30, 30, 301)]
    refused = [end for end in ends if not end.success]
    assert any("still falls" in end.message for end in refused) == alarms
    assert all("no minimum" in end.message and np.cos(end.x[0]) < -0.04 for end in refused if "still falls" not in end.message)
    assert all(np.cos(end.x[0]) > -0.04 for end in ends if end.success)


@pytest.mark.parametrize("k", [2, 4, 8, 16, 18])
def test_the_last_look_leads_over_the_bottom_of_flat_minima_up_to_the_sixteenth_power(k):
    result = newton(lambda w: float(w[0] ** k), [1.0], lambda w: k * w ** (k - 1), lambda w: np.diag(k * (k - 1) * w ** (k - 2)))
    assert result.success == (k <= 16) and np.abs(result.x) < 0.4


def test_the_last_look_sees_nothing_below_rounding_of_the_loss():
    def cubic(gtol):
        return newton(lambda x: x[0] ** 3, [1.0], lambda x: 3 * x**2, lambda x: np.diag(6 * x), gtol=gtol)

    assert not cubic(1e-9).success
    assert cubic(1e-12).success  # at 5e-7, where all that is to be seen is smaller than 64 roundings
    tilted = newton(lambda x: x[0] ** 2 - 1e-9 * x[1] ** 2, [1.0, 0.0], lambda x: np.array([2 * x[0], -2e-9 * x[1]]), lambda x: np.diag([2, -2e-9]))
    assert not tilted.success and "the lowest curvature is -2e-09" in tilted.message


@pytest.mark.parametrize("part", [1.0, 0.5, 0.1, 0.01])
def test_a_fixed_part_of_each_step_diverges_too_from_far_enough_out(part):
    edge = optimize.brentq(lambda w: part * np.sinh(2 * w) - 4 * w, 0.3, 20)
    for factor, inside in ((0.99, True), (1.01, False)):
        w = factor * edge
        for _ in range(3000):
            if abs(w) > 100:
                break
            w = w - part * np.sinh(2 * w) / 2
        assert (abs(w) < 1e-9) == inside and (abs(w) > 100) != inside


def test_conjugate_gradients_need_more_than_n_products_where_rounding_spoils_the_directions():
    needed = []
    for kappa in (10.0, 1e3, 1e6):
        a = rotated(np.geomspace(1, kappa, 20))
        needed.append(len(conjugate_gradient(lambda d, a=a: a @ d, np.ones(20), tol=1e-8, maxiter=1000).residuals) - 1)
    assert needed[0] <= 20 < needed[1] < needed[2]


def test_the_two_forms_of_beta_are_one_and_the_residuals_are_at_right_angles():
    a, b = rotated(np.linspace(1, 9, 7)), np.random.default_rng(1).normal(size=7)
    directions, residuals = [], []
    for k in range(6):
        residuals.append(b - a @ conjugate_gradient(lambda d: a @ d, b, maxiter=k, tol=1e-30).x)
    conjugate_gradient(lambda d: (directions.append(d), a @ d)[1], b, tol=1e-30)
    for k in range(5):
        r, after, d = residuals[k], residuals[k + 1], directions[k]
        assert r @ d == pytest.approx(r @ r) and after @ r == pytest.approx(0, abs=1e-9 * (r @ r))
        assert -(after @ a @ d) / (d @ a @ d) == pytest.approx(after @ after / (r @ r), rel=1e-6)


def test_noise_takes_the_whole_step_away_not_the_hessian():
    rng, curvatures = np.random.default_rng(0), np.array([1.0, 100.0])
    ends = {"whole": np.zeros((20, 2)), "part": np.zeros((20, 2)), "descent": np.zeros((20, 2))}
    sums = dict.fromkeys(ends, 0.0)
    for _ in range(4000):
        noise = rng.standard_normal((20, 2))
        for name, w in ends.items():
            g = curvatures * w + noise
            ends[name] = w - {"whole": g / curvatures, "part": 0.01 * g / curvatures, "descent": 0.01 * g}[name]
            sums[name] = sums[name] + (curvatures * ends[name] ** 2).sum(axis=1) / 8000
    assert sums["whole"].mean() == pytest.approx((1 + 1 / 100) / 2, rel=0.02)
    assert sums["part"].mean() == pytest.approx(0.01 / 1.99 * (1 + 1 / 100) / 2, rel=0.1)
    assert sums["descent"].mean() == pytest.approx((0.01 / 1.99 + 0.01 / 1) / 2, rel=0.1)
    assert (sums["part"] < sums["descent"]).all() and (sums["descent"] < sums["whole"]).all()


# Where the shift begins, in numbers

@pytest.mark.parametrize("angle", np.linspace(0.02, np.pi / 2 - 0.02, 40))
def test_a_turned_valley_is_shifted_from_the_condition_number_that_the_chapter_derives(angle):
    limit = 1 / (np.finfo(float).eps * np.sin(2 * angle) ** 2)
    assert positive_shift(turned(limit / 4, angle)[0]) == 0
    h, at = turned(limit * 10, angle)
    assert positive_shift(h) >= 1e-3 * np.abs(h).max() * (1 - 1e-12)
    stands = newton(lambda w: w @ h @ w / 2, at, lambda w: h @ w, lambda w: h, gtol=1e-300, maxiter=50)
    along = np.array([np.cos(angle), np.sin(angle)])
    assert not stands.success and along @ stands.x == pytest.approx(along @ at, abs=1.0)  # the floor is out of sight


# The trust region

def foretold(p, g, h):
    return float(g @ p + p @ h @ p / 2)


def hard_and_easy(seed):
    """A gradient, a Hessian of any kind and a radius; now and then the hard case."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 7))
    h = rng.normal(size=(n, n))
    h = h @ h.T if seed % 3 == 0 else h + h.T
    if seed % 5 == 0:  # equal curvatures, zeros among them
        q = np.linalg.qr(h)[0]
        h = q * rng.integers(-2, 3, n).astype(float) @ q.T
        h = (h + h.T) / 2
    g = rng.normal(size=n) * 10.0 ** rng.integers(-8, 8)
    if seed % 7 == 0:
        lowest = np.linalg.eigh(h)[1][:, 0]
        g = g - lowest * (lowest @ g)
    return (0 * g if seed % 50 == 0 else g), h, 10.0 ** rng.uniform(-6, 6)


@pytest.mark.parametrize("block", range(4))
def test_the_trust_regions_step_meets_its_conditions(block):
    for seed in range(100 * block, 100 * block + 100):
        g, h, radius = hard_and_easy(seed)
        p, mu = trust_region_step(g, h, radius)
        size, length = np.abs(np.linalg.eigvalsh(h)).max(), np.linalg.norm(p)
        assert np.linalg.norm(h @ p + mu * p + g) <= 1e-9 * (np.linalg.norm(g) + (size + mu) * length)
        assert length <= radius * (1 + 1e-9) and mu >= 0
        assert np.linalg.eigvalsh(h)[0] + mu >= -1e-9 * size
        assert mu == 0 or length == pytest.approx(radius, rel=1e-8)
        others = np.random.default_rng(seed).normal(size=(30, len(g)))
        others *= radius * np.random.default_rng(seed).uniform(size=(30, 1)) / np.linalg.norm(others, axis=1, keepdims=True)
        assert all(foretold(p, g, h) <= foretold(q, g, h) + 1e-9 * (np.linalg.norm(g) * radius + size * radius**2) for q in others)


def test_the_trust_regions_step_shrinks_as_mu_grows_and_is_newtons_where_there_is_room():
    g, h = np.array([1.0, -2.0, 0.5]), rotated([1.0, 3.0, 20.0])
    shifts = [trust_region_step(g, h, radius)[1] for radius in (1e-3, 1e-2, 1e-1, 1.0, 1e3)]
    assert (np.diff(shifts) < 0).all() or shifts[-1] == 0
    np.testing.assert_allclose(trust_region_step(g, h, 1e3)[0], newton_step(g, h), rtol=1e-10)
    for radius in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=r"radius must be a number in \[1e-100, inf\]"):
            trust_region_step(g, h, radius)


@pytest.mark.parametrize("slope", [1.0, -1.0])
def test_in_the_hard_case_the_lowest_curvature_is_followed_upward(slope):
    """Both ways along it are as good: which one is taken must not hang on the other coordinates."""
    p, mu = trust_region_step(np.array([0.0, slope]), np.diag([-1.0, 1.0]), 2.0)
    np.testing.assert_allclose(p * np.sign(np.linalg.eigh(np.diag([-1.0, 1.0]))[1][0, 0]), [np.sqrt(4 - 0.25), -slope / 2])
    assert mu == pytest.approx(1.0)


def test_at_the_exact_top_the_trust_region_knows_a_way_down():
    ridge = saddle()
    h = ridge.hess(np.zeros(2))
    p, mu = trust_region_step(np.zeros(2), h, 0.5)
    assert np.linalg.norm(p) == pytest.approx(0.5) and p @ h @ p == pytest.approx(0.25 * np.linalg.eigvalsh(h)[0]) and mu > 0


@pytest.mark.parametrize(("fun", "grad", "hess", "start"), problems())
def test_the_trust_region_finds_scipys_minimum(fun, grad, hess, start):
    theirs = optimize.minimize(fun, start, method="trust-exact", jac=grad, hess=hess, options={"gtol": 1e-9})
    ours = newton(fun, start, grad, hess, method="trust region", gtol=1e-9)
    assert ours.success and ours.fun <= theirs.fun + 1e-12 * (1 + abs(theirs.fun))
    np.testing.assert_allclose(ours.x, theirs.x, rtol=0, atol=2e-6)


def test_the_trust_region_finds_a_minimum_from_everywhere_and_never_climbs():
    hills, side = himmelblau(), np.linspace(-6, 6, 8)
    for start in np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2):
        path = [start]
        result = newton(hills, start, hills.grad, hills.hess, method="trust region", callback=path.append)
        assert result.success and np.linalg.norm(hills.minima - result.x, axis=1).min() < 1e-5
        assert (np.diff([float(hills(w)) for w in path]) <= 1e-12).all()
    lying = newton(lambda x: -x[0], [0.0], lambda x: np.ones(1), lambda x: np.ones((1, 1)), method="trust region")
    assert not lying.success and "no step within the trust region" in lying.message


# Sums of squares

def rosenbrock_squares(w):
    return np.array([10 * (w[1] - w[0] ** 2), 1 - w[0]])


def rosenbrock_jacobian(w):
    return np.array([[-20 * w[0], 10.0], [-1.0, 0.0]])


def powell(w):
    return np.array([w[0] + 10 * w[1], 5**0.5 * (w[2] - w[3]), (w[1] - 2 * w[2]) ** 2, 10**0.5 * (w[0] - w[3]) ** 2])


def powell_jacobian(w):
    a, b = 2 * (w[1] - 2 * w[2]), 2 * 10**0.5 * (w[0] - w[3])
    return np.array([[1, 10, 0, 0], [0, 0, 5**0.5, -(5**0.5)], [0, a, -2 * a, 0], [b, 0, 0, -b]])


U, BARD = np.arange(1.0, 16.0), np.array([.14, .18, .22, .25, .29, .32, .35, .39, .37, .58, .73, .96, 1.34, 2.10, 4.39])


def bard(w):
    return BARD - w[0] - U / ((16 - U) * w[1] + np.minimum(U, 16 - U) * w[2])


def bard_jacobian(w):
    below = ((16 - U) * w[1] + np.minimum(U, 16 - U) * w[2]) ** 2
    return np.stack([-np.ones(15), U * (16 - U) / below, U * np.minimum(U, 16 - U) / below], axis=1)


S, SPEED = np.repeat([0.02, 0.06, 0.11, 0.22, 0.56, 1.10], 2), np.array([76, 47, 97, 107, 123, 139, 159, 152, 191, 201, 207, 200.0])


def enzyme(w):
    return w[0] * S / (np.exp(w[1]) + S) - SPEED


def enzyme_jacobian(w):
    k = np.exp(w[1])
    return np.stack([S / (k + S), -w[0] * S * k / (k + S) ** 2], axis=1)


SQUARES = [
    pytest.param(rosenbrock_squares, rosenbrock_jacobian, [-1.2, 1.0], 5e-6, id="rosenbrock"),
    pytest.param(powell, powell_jacobian, [3.0, -1.0, 0.0, 1.0], 5e-3, id="powell singular"),
    pytest.param(bard, bard_jacobian, [1.0, 1.0, 1.0], 1e-4, id="bard"),
    pytest.param(enzyme, enzyme_jacobian, [100.0, 0.0], 1e-4, id="enzyme"),
]


@pytest.mark.parametrize(("residuals", "jac", "start", "tolerance"), SQUARES)
@pytest.mark.parametrize("solver", [gauss_newton, levenberg_marquardt], ids=["gauss_newton", "levenberg_marquardt"])
def test_the_least_squares_are_scipys(solver, residuals, jac, start, tolerance):
    theirs = optimize.least_squares(residuals, start, jac=jac, method="lm", xtol=1e-14, ftol=1e-14, gtol=1e-14)
    ours = solver(residuals, start, jac)
    assert ours.success and ours.fun == pytest.approx(theirs.cost, abs=1e-7)
    np.testing.assert_allclose(ours.x, theirs.x, rtol=0, atol=tolerance)
    assert ours.nfev >= ours.nit + 1 == ours.ngev


def test_the_jacobians_of_these_tests_are_right():
    for residuals, jac, start, _ in (given.values for given in SQUARES):
        w = np.array(start) + 0.1
        by_difference = np.stack([(residuals(w + e) - residuals(w - e)) / 2e-6 for e in 1e-6 * np.eye(len(w))], axis=1)
        np.testing.assert_allclose(jac(w), by_difference, rtol=1e-6, atol=1e-6)


def test_linear_least_squares_take_one_step_and_a_singular_one_the_shortest():
    rng = np.random.default_rng(0)
    j, y = rng.normal(size=(9, 4)), rng.normal(size=9)
    result = gauss_newton(lambda w: j @ w - y, np.ones(4), lambda w: j)
    assert result.success and result.nit == 1
    np.testing.assert_allclose(result.x, np.linalg.lstsq(j, y)[0], atol=1e-10)
    twin = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    np.testing.assert_allclose(gauss_newton_step(np.array([-2.0, -4.0, -6.0]), twin), [1.0, 1.0], rtol=1e-12)


@pytest.mark.parametrize("mu", [0.0, 1e-3, 10.0])
def test_the_step_solves_the_shifted_normal_equations_and_survives_what_they_do_not(mu):
    rng = np.random.default_rng(1)
    j, r = rng.normal(size=(7, 3)), rng.normal(size=7)
    np.testing.assert_allclose(gauss_newton_step(r, j, mu), np.linalg.solve(j.T @ j + mu * np.eye(3), -j.T @ r), rtol=1e-10)
    thin = np.array([[1.0, 1.0], [1e-8, 0.0], [0.0, 1e-8]])
    assert np.linalg.matrix_rank(thin.T @ thin) == 1
    np.testing.assert_allclose(gauss_newton_step(-thin @ [1.0, 2.0], thin), [1.0, 2.0], rtol=1e-6)
    with pytest.raises(ValueError, match=r"mu must be a number in \[0, inf\), got -1"):
        gauss_newton_step(r, j, -1)


@pytest.mark.parametrize("a", [0.0, 0.1, 0.5, 0.9, -0.5, -1.5])
def test_gauss_newton_keeps_of_the_error_what_it_leaves_out(a):
    def residuals(w):
        return np.array([w[0] + 1, a * w[0] ** 2 + w[0] - 1])

    def jac(w):
        return np.array([[1.0], [2 * a * w[0] + 1]])

    w = np.array([1e-6])
    assert (w + gauss_newton_step(residuals(w), jac(w)))[0] / w[0] == pytest.approx(a, abs=1e-4)
    pure = gauss_newton(residuals, [0.1], jac, method="pure", maxiter=200)
    assert (abs(pure.x[0]) < 1e-4) == (abs(a) < 1)
    for result in (gauss_newton(residuals, [0.1], jac), levenberg_marquardt(residuals, [0.1], jac)):
        assert result.success and abs(result.x[0]) < 1e-4


def test_rosenbrocks_squares_take_two_pure_steps_over_a_hill():
    path = []
    result = gauss_newton(rosenbrock_squares, [-1.2, 1.0], rosenbrock_jacobian, method="pure", callback=path.append)
    assert (result.success, result.nit) == (True, 2)
    assert 90 < rosenbrock()(path[0]) / rosenbrock()(np.array([-1.2, 1.0])) < 105
    assert gauss_newton(rosenbrock_squares, [-1.2, 1.0], rosenbrock_jacobian).nit > 2


def test_without_second_derivatives_more_starts_reach_the_enzymes_curve():
    def loss(w):
        return float(enzyme(w) @ enzyme(w)) / 2

    def grad(w):
        return enzyme(w) @ enzyme_jacobian(w)

    def hess(w):
        return np.array([(grad(w + e) - grad(w - e)) / 2e-6 for e in 1e-6 * np.eye(2)])

    def symmetric(w):
        return (hess(w) + hess(w).T) / 2

    best, reached = levenberg_marquardt(enzyme, [100.0, 0.0], enzyme_jacobian).x, dict.fromkeys(("newton", "squares", "pure newton", "pure squares"), 0)
    for start in np.stack(np.meshgrid(np.linspace(20, 400, 6), np.linspace(-7, 3, 6)), axis=-1).reshape(-1, 2):
        ends = {"newton": newton(loss, start, grad, symmetric, maxiter=200),
                "squares": levenberg_marquardt(enzyme, start, enzyme_jacobian, maxiter=200),
                "pure newton": newton(loss, start, grad, symmetric, method="pure", maxiter=200),
                "pure squares": gauss_newton(enzyme, start, enzyme_jacobian, method="pure", maxiter=200)}
        for name, end in ends.items():
            reached[name] += bool(np.abs(end.x - best).max() < 1e-3)
    assert reached["pure newton"] < reached["pure squares"] < reached["newton"] < reached["squares"]


@pytest.mark.parametrize("solver", [gauss_newton, levenberg_marquardt], ids=["gauss_newton", "levenberg_marquardt"])
def test_squares_that_end_at_no_minimum_say_so(solver):
    top = solver(lambda w: w**2 - 1, [0.0], lambda w: np.diag(2 * w))
    assert not top.success and top.message.startswith(f"{NO_MINIMUM}: the loss is lower")
    pass_ = solver(lambda w: np.array([w[0], w[1] ** 2 - 1]), [0.0, 0.0], lambda w: np.array([[1.0, 0.0], [0.0, 2 * w[1]]]))
    assert not pass_.success and pass_.message.startswith(f"{NO_MINIMUM}: the loss is lower")
    nan = solver(lambda w: w * np.nan, [1.0], lambda w: np.eye(1))
    assert not nan.success and "not finite" in nan.message
    huge = solver(lambda w: np.array([1.0]), [1.0], lambda w: np.array([[1e200]]), maxiter=3)
    assert not huge.success


def test_a_jacobian_of_the_wrong_sign_ends_soon():
    result = levenberg_marquardt(lambda w: w - 3, [0.0, 1.0], lambda w: -np.eye(2))
    assert not result.success and "no μ makes a step that lowers the loss" in result.message and "wrong sign" in result.message and result.nfev < 100


@pytest.mark.parametrize(("wrong", "error", "message"), [
    ({"residuals": 3}, TypeError, "residuals must be a function of x, got 3"),
    ({"jac": None}, TypeError, "jac must be a function of x, got None"),
    ({"residuals": lambda w: 1.0}, ValueError, r"residuals must return shape \(any,\), got \(\)"),
    ({"residuals": lambda w: w * 1j}, TypeError, "residuals must return real numbers, got complex128"),
    ({"jac": lambda w: np.ones(2)}, ValueError, r"jac must return shape \(2, 2\), got \(2,\)"),
    ({"jac": lambda w: np.ones((2, 3))}, ValueError, r"jac must return shape \(2, 2\), got \(2, 3\)"),
    ({"x0": [1j, 0]}, TypeError, "x0 must be a non-empty vector of finite numbers"),
    ({"gtol": 0}, ValueError, r"gtol must be a number in \(0, inf\), got 0"),
    ({"maxiter": 2.5}, ValueError, "maxiter must be a whole number from 0 up, got 2.5"),
])
def test_what_least_squares_refuse(wrong, error, message):
    given = {"residuals": lambda w: w - 1, "x0": [0.0, 0.0], "jac": lambda w: np.eye(2)} | wrong
    for solver in (gauss_newton, levenberg_marquardt):
        with pytest.raises(error, match=message):
            solver(**given)
    with pytest.raises(ValueError, match="method must be 'line search' or 'pure', got 'lm'"):
        gauss_newton(lambda w: w, [1.0], lambda w: np.eye(1), method="lm")


def test_complex_derivatives_are_refused():
    with pytest.raises(TypeError, match="hess must return real numbers, got complex128"):
        newton(**{**BOWL, "hess": lambda x: 2 * np.eye(2) + 0j})
    with pytest.raises(TypeError, match="hessp must return real numbers, got complex128"):
        newton_cg(BOWL["fun"], BOWL["x0"], BOWL["grad"], lambda x, v: v + 0j)
    with pytest.raises(TypeError, match="x0 must be a non-empty vector of finite numbers"):
        newton(**{**BOWL, "x0": np.array([1.0 + 0j, 2.0])})


# Fisher information

def softmax_of(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_fisher_information_is_the_mean_square_of_the_slopes_for_the_models_own_labels(seed):
    rng = np.random.default_rng(seed)
    derivatives, chances = rng.normal(size=(6, 3, 4)), softmax_of(rng.normal(size=(6, 3)))
    total = np.zeros((4, 4))
    for j, p in zip(derivatives, chances):
        for label in range(3):
            slope = (p - np.eye(3)[label]) @ j
            total += p[label] * np.outer(slope, slope) / 6
    ours = fisher(derivatives, chances)
    np.testing.assert_allclose(ours, total, rtol=1e-12, atol=1e-14)
    middle = [np.diag(p) - np.outer(p, p) for p in chances]
    np.testing.assert_allclose(ours, np.mean([j.T @ m @ j for j, m in zip(derivatives, middle)], axis=0), rtol=1e-12, atol=1e-14)
    assert np.linalg.eigvalsh(ours)[0] > -1e-14


@pytest.mark.parametrize("seed", range(3))
def test_fisher_information_is_the_hessian_of_softmax_regression_and_newton_the_natural_gradient(seed):
    rng = np.random.default_rng(seed)
    x, labels = rng.normal(size=(20, 3)), rng.integers(0, 4, 20)
    labels[:4] = range(4)
    classifier, w = logistic_regression(x, labels), rng.normal(size=12)
    derivatives = np.einsum("ia,kl->ikal", x, np.eye(4)).reshape(20, 4, 12)
    np.testing.assert_allclose(fisher(derivatives, softmax_of(x @ w.reshape(3, 4))), classifier.hess(w), rtol=1e-10, atol=1e-14)


class Tiny:
    """A network with one hidden layer of tanh, its derivatives by hand, on a few random examples."""

    def __init__(self, seed, examples=40, inputs=4, hidden=3, classes=3):
        rng = np.random.default_rng(seed)
        self.x, self.shapes = rng.normal(size=(examples, inputs)), ((inputs, hidden), (hidden, classes))
        self.y = np.eye(classes)[rng.integers(0, classes, examples)]
        self.w = np.concatenate([rng.normal(size=shape).ravel() for shape in self.shapes])

    def layers(self, w):
        split = int(np.prod(self.shapes[0]))
        return w[:split].reshape(self.shapes[0]), w[split:].reshape(self.shapes[1])

    def scores(self, w):
        first, second = self.layers(w)
        return np.tanh(self.x @ first) @ second

    def derivatives(self, w):
        return np.stack([(self.scores(w + e) - self.scores(w - e)) / 2e-6 for e in 1e-6 * np.eye(len(w))], axis=-1)

    def factors(self, w):
        second = self.layers(w)[1]
        hidden, p = np.tanh(self.x @ self.layers(w)[0]), softmax_of(self.scores(w))
        outer = np.stack([np.diag(q) - np.outer(q, q) for q in p])
        inner = (1 - hidden**2)[..., None] * second
        return [(a.T @ a / len(a), s.mean(axis=0)) for a, s in ((self.x, inner @ outer @ inner.swapaxes(1, 2)), (hidden, outer))]


@pytest.mark.parametrize("seed", range(5))
def test_fisher_information_is_the_hessian_of_the_divergence_from_a_network_to_its_neighbours(seed):
    net = Tiny(seed)
    p = softmax_of(net.scores(net.w))

    def divergence(step):
        return float((p * np.log(p / softmax_of(net.scores(net.w + step)))).sum()) / len(p)

    information = fisher(net.derivatives(net.w), p)
    step = 1e-3 * np.random.default_rng(seed).normal(size=len(net.w))
    assert divergence(step) == pytest.approx(step @ information @ step / 2, rel=2e-2)


@pytest.mark.parametrize("seed", range(5))
def test_the_factors_are_exact_for_one_example_and_the_better_the_less_the_slopes_hang_on_the_inputs(seed):
    def off(net, w):
        information, parts = fisher(net.derivatives(w), softmax_of(net.scores(w))), (slice(0, 12), slice(12, 21))
        return [np.linalg.norm(np.kron(a, s) - information[part, part]) / np.linalg.norm(information[part, part])
                for part, (a, s) in zip(parts, net.factors(w))]

    one, many = Tiny(seed, examples=1), Tiny(seed, examples=300)
    assert max(off(one, one.w)) < 1e-5
    by_size = np.array([off(many, size * many.w) for size in (0.03, 0.3, 1.0)])
    assert (np.diff(by_size[:, 0]) > 0).all() and by_size[0, 0] < 0.03  # with small weights every slope is the same


@pytest.mark.parametrize("seed", range(5))
def test_two_small_solves_are_the_large_one(seed):
    rng = np.random.default_rng(seed)
    root_a, root_s, g = rng.normal(size=(4, 4)), rng.normal(size=(3, 3)), rng.normal(size=(4, 3))
    a, s = root_a @ root_a.T + np.eye(4), root_s @ root_s.T + np.eye(3)
    np.testing.assert_allclose(kronecker_step(g, a, s).ravel(), np.linalg.solve(np.kron(a, s), -g.ravel()), rtol=1e-9)
    damping = 0.01
    pi = (np.trace(a) / 4 / (np.trace(s) / 3)) ** 0.5
    both = np.kron(a + pi * 0.1 * np.eye(4), s + 0.1 / pi * np.eye(3))
    np.testing.assert_allclose(kronecker_step(g, a, s, damping).ravel(), np.linalg.solve(both, -g.ravel()), rtol=1e-9)
    assert kronecker_step(2 * g, a, s, damping) == pytest.approx(2 * kronecker_step(g, a, s, damping))
    with pytest.raises(ValueError, match=r"damping must be a number in \[0, inf\), got -1"):
        kronecker_step(g, a, s, -1)


# Conjugate directions, proved on the page and watched here

@pytest.mark.parametrize("seed", range(3))
def test_every_direction_is_conjugate_to_all_before_and_every_residual_at_right_angles(seed):
    rng = np.random.default_rng(seed)
    a, b, directions = rotated(np.linspace(1, 30, 7), seed), rng.normal(size=7), []
    residuals = [b - a @ conjugate_gradient(lambda d: a @ d, b, maxiter=k, tol=1e-30).x for k in range(7)]
    conjugate_gradient(lambda d: (directions.append(d), a @ d)[1], b, tol=1e-30)
    for products in (np.array(directions) @ a @ np.transpose(directions), np.array(residuals) @ np.transpose(residuals)):
        off = products / np.sqrt(np.outer(np.diagonal(products), np.diagonal(products))) - np.eye(7)
        assert np.abs(off).max() < 1e-6
    for k in range(1, 7):
        assert np.abs(residuals[k] @ np.transpose(directions[:k])).max() < 1e-8 * (b @ b)


@pytest.mark.parametrize("part", [0.03, 0.1, 0.3])
def test_a_damped_newton_step_trembles_as_derived_and_no_more_than_descent_of_its_speed(part):
    rng, curvatures = np.random.default_rng(0), np.array([1.0, 3.0])
    w, other, seen = np.zeros((4000, 2)), np.zeros((4000, 2)), int(20 / part)
    for _ in range(seen):
        noise = rng.standard_normal(w.shape)
        w = w - part * (w + noise / curvatures)
        other = other - part * (curvatures * other + noise)
    np.testing.assert_allclose(w.var(axis=0), part / (curvatures**2 * (2 - part)), rtol=0.1)
    np.testing.assert_allclose(other.var(axis=0), part / (curvatures * (2 - part * curvatures)), rtol=0.1)
    assert (part / (curvatures**2 * (2 - part)) <= part / (curvatures * (2 - part * curvatures))).all()


@pytest.mark.parametrize("w", [-1.5, -0.7, -0.57, -0.3, 0.2, 0.57, 0.6, 1.4])
def test_the_step_leads_down_where_the_loss_bends_up_and_up_where_it_bends_down_until_the_shift_lifts_it(w):
    well, at = double_well(), np.array([w])
    g, h = well.grad(at), well.hess(at)
    assert np.sign(g @ newton_step(g, h)) == -np.sign(h[0, 0]) == -np.sign(abs(w) - 3**-0.5)
    assert g @ newton_step(g, h + 1.01 * np.eye(1)) < 0  # the lowest curvature of this loss is -1
    for mu in np.linspace(1.01, 3, 5):
        place = at
        for _ in range(200):
            place = place + newton_step(well.grad(place), well.hess(place) + mu * np.eye(1))
        np.testing.assert_allclose(abs(place), 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("place", [(1.0, 2.5), (-0.3, -0.9), (4.0, -0.5), (-1.0, 3.0)])
def test_as_the_shift_grows_the_step_turns_to_the_slope_and_gets_shorter(place):
    hills, at = himmelblau(), np.array(place)
    g, h = hills.grad(at), hills.hess(at)
    least = max(0, -np.linalg.eigvalsh(h)[0]) + 1e-3
    steps = [newton_step(g, h + (least + mu) * np.eye(2)) for mu in np.geomspace(1e-3, 1e5, 40)]
    lengths = np.linalg.norm(steps, axis=1)
    along = -np.array(steps) @ g / lengths / np.linalg.norm(g)
    assert (np.diff(lengths) < 0).all() and (np.diff(along) > -1e-12).all() and along[-1] > 1 - 1e-5
