"""Newton's method: the minima of its peers, what the chapter proves, and no wrong answer called converged."""

import numpy as np
import pytest
from scipy import optimize

from reference_impl import double_well, quadratic, rosenbrock, saddle, taco_shell
from reference_impl.networks.data import digits
from reference_impl.optimization.landscapes import beale, himmelblau
from reference_impl.optimization.newton import conjugate_gradient, hessp_from, newton, newton_cg, newton_step, positive_shift

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
    assert (result.success, result.message) == (False, NO_MINIMUM)


def test_a_line_search_alone_fails_in_two_ways_and_says_which():
    hills, side, messages = himmelblau(), np.linspace(-6, 6, 10), []
    for start in np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2):
        result = newton(hills, start, hills.grad, hills.hess, method="line search")
        if not result.success:
            messages.append(result.message)
            bends = np.linalg.eigvalsh(hills.hess(result.x))
            assert bends[0] < 0 and (messages[-1] != NO_MINIMUM or bends[1] > 0)  # it stops at saddles, never at the top
    assert (len(messages), messages.count(NO_MINIMUM)) == (40, 17)
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
    assert minimum or result.message == NO_MINIMUM


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
    assert newton_cg(ridge, [0.0, 0.0], ridge.grad, lambda x, v: ridge.hess(x) @ v).message == NO_MINIMUM
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
    ({"gtol": 0.0}, "gtol must be positive, got 0.0"),
    ({"gtol": np.nan}, "gtol must be positive, got nan"),
    ({"maxiter": -1}, "maxiter must be a whole number, 0 or more, got -1"),
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
    with pytest.raises(ValueError, match="gtol must be positive, got -1"):
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
    assert tilted.success  # a saddle whose negative curvature is below 1.5e-8 of the largest


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
