"""What every minimiser keeps: it ends, it says why, it says what it did not look at, and it takes only what it can.

Each fault is tried on each of them: Newton's four methods, Newton with products, BFGS, L-BFGS, Gauss–Newton, Levenberg–Marquardt, and `minimize`.
"""

import inspect
import math

import numpy as np
import pytest

from reference_impl import SGD, Momentum, bowl, double_well, minimize, noisy, quadratic, rosenbrock, taco_shell
from reference_impl.optimization import gauss_newton as gauss_newton_module
from reference_impl.optimization.gauss_newton import fisher, gauss_newton, gauss_newton_step, kronecker_step, levenberg_marquardt
from reference_impl.optimization.landscapes import Landscape, himmelblau, logistic_regression
from reference_impl.optimization.line_search import Objective, Result, backtracking, cause, largest, returned, strong_wolfe
from reference_impl.optimization.newton import (
    conjugate_gradient,
    hessp_from,
    newton,
    newton_cg,
    newton_step,
    positive_shift,
    trust_region_step,
)
from reference_impl.optimization.quasi_newton import DenseInverse, LimitedInverse, bfgs, bfgs_update, lbfgs, two_loop
from reference_impl.optimization.second_order import FURTHER, IDLE, Doubts, Stop, Verdict, by_slope, descend, judged, searched


def by_newton(method):
    return lambda fun, x0, grad, hess, **options: newton(fun, x0, grad, hess, method=method, **options)


def by_products(fun, x0, grad, hess, **options):
    return newton_cg(fun, x0, grad, lambda x, v: np.asarray(hess(x)) @ v, **options)


SEARCHING = {
    "shifted": by_newton("shifted"), "trust region": by_newton("trust region"), "line search": by_newton("line search"), "newton_cg": by_products,
    "bfgs": lambda fun, x0, grad, hess, **options: bfgs(fun, x0, grad, **options),
    "lbfgs": lambda fun, x0, grad, hess, **options: lbfgs(fun, x0, grad, **options),
}
ALL = {**SEARCHING, "pure": by_newton("pure")}
SQUARES = {
    "gauss_newton": gauss_newton, "levenberg_marquardt": levenberg_marquardt,
    "gauss_newton, pure": lambda residuals, x0, jac, **options: gauss_newton(residuals, x0, jac, method="pure", **options),
}
searching = pytest.mark.parametrize("minimiser", SEARCHING.values(), ids=SEARCHING)
each = pytest.mark.parametrize("minimiser", ALL.values(), ids=ALL)
squares = pytest.mark.parametrize("minimiser", SQUARES.values(), ids=SQUARES)
BOWL = {"fun": lambda x: float(x @ x), "x0": [1.0, 2.0], "grad": lambda x: 2 * x, "hess": lambda x: 2 * np.eye(2)}
LINE = {"residuals": lambda x: x - [3.0, 4.0], "x0": [0.0, 1.0], "jac": lambda x: np.eye(2)}


# It ends, and says why

WRONG = {
    "the wrong sign": (lambda x: -2 * x, "the gradient has the wrong sign, or is noisy or another loss's: the loss changes -1 times as fast as it says"),
    "a millionfold scale": (lambda x: 2e6 * x, "the gradient has the wrong scale, or is noisy or another loss's: the loss changes 1e-06 times as fast as it says"),
}


@searching
@pytest.mark.parametrize("far_up", [0.0, 1e6])
@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_gradient_is_named_after_a_few_evaluations(minimiser, fault, far_up):
    grad, says = WRONG[fault]
    result = minimiser(lambda x: far_up + x @ x, [1.0, 2.0], grad, BOWL["hess"])
    assert not result.success and says in result.message
    assert result.nfev + result.ngev + result.nhev < 100


@each
def test_a_gradient_a_millionth_as_long_is_named_where_the_steps_run_out(minimiser):
    result = minimiser(lambda x: x @ x, [1.0, 2.0], lambda x: 2e-6 * x, BOWL["hess"], maxiter=1)
    assert (result.success, result.nit) == (False, 1)
    assert result.message == "the iteration limit is reached: the gradient has the wrong scale, or is noisy or another loss's: " \
                             "the loss changes 1e+06 times as fast as it says"


@each
@pytest.mark.parametrize("slopes", [np.ones_like, lambda x: 2 * x], ids=["constant", "2x"])
def test_a_constant_with_a_slope_ends_soon_and_is_named(minimiser, slopes):
    result = minimiser(lambda x: 1.0, [1.0, 2.0], slopes, lambda x: np.eye(2))
    assert not result.success and result.nfev < 100
    assert "the gradient has the wrong scale, or is noisy or another loss's: the loss changes 0 times as fast as it says" in result.message


@searching
def test_a_gradient_that_never_changes_ends(minimiser):
    result = minimiser(lambda x: x @ x, [1.0, 2.0], np.ones_like, BOWL["hess"])
    assert not result.success and "the gradient has the wrong s" in result.message
    assert result.nit < 40 and result.nfev < 1500


@searching
def test_a_wall_of_nan_ends_and_is_named(minimiser):
    result = minimiser(lambda x: x @ x if x[0] > 0.5 else math.nan, [1.0, 2.0], lambda x: 2 * x, BOWL["hess"])
    assert not result.success and result.message.endswith(": just ahead the loss is not finite")
    assert 0.5 <= result.x[0] < 0.6 and result.nfev < 1000


@searching
@pytest.mark.parametrize("seed", range(3))
def test_noise_ends(minimiser, seed):
    rng = np.random.default_rng(seed)
    result = minimiser(lambda x: x @ x + 1e-3 * rng.standard_normal(), [1.0, 2.0], lambda x: 2 * x + 0.1 * rng.standard_normal(2), BOWL["hess"])
    assert not result.success and result.nfev < 1500


@squares
def test_a_jacobian_of_the_wrong_sign_is_named(minimiser):
    result = minimiser(LINE["residuals"], LINE["x0"], lambda x: -np.eye(2), maxiter=100)
    assert not result.success and result.nfev < 110
    assert "the gradient has the wrong sign" in result.message


def test_a_step_without_slope_is_not_searched_for_ever():
    objective = Objective(lambda x: 1.0, lambda x: np.ones(1))
    with pytest.raises(Stop, match="no step that lowers the loss enough: the gradient has the wrong scale"):
        searched(objective, np.zeros(1), -np.ones(1), objective.fun(np.zeros(1)), np.ones(1))
    assert objective.nfev == 1 + 60 + 2


@pytest.mark.parametrize(("fun", "slope", "says"), [
    (lambda x: abs(x[0]), -1.0, ": the loss is lowest here, though the gradient is not zero: a kink, rounding within the loss, or another loss's gradient"),
    (lambda x: math.inf if x[0] > 0 else -x[0], -1.0, ": just ahead the loss is not finite"),
    (lambda x: math.nan if x[0] < 0 else -x[0], -1.0, ""),
    (lambda x: -x[0], -1.0, ""), (lambda x: -x[0], -1.9, ""), (lambda x: -x[0], -0.51, ""),
    (lambda x: -x[0], -2.1, ": the gradient has the wrong scale, or is noisy or another loss's: the loss changes 0.48 times as fast as it says"),
    (lambda x: -x[0], -0.49, ": the gradient has the wrong scale, or is noisy or another loss's: the loss changes 2 times as fast as it says"),
    (lambda x: 3 * x[0], -1.0, ": the gradient has the wrong sign, or is noisy or another loss's: the loss changes -3 times as fast as it says"),
    (lambda x: 0.0, -1e-320, ""),
])
def test_the_cause_is_what_the_losses_on_either_side_tell(fun, slope, says):
    objective = Objective(fun, lambda x: np.array([slope]))
    with np.errstate(all="ignore"):
        assert cause(objective, np.zeros(1), np.ones(1), np.array([slope]), 0.0) == says
    assert objective.nfev == 2


@pytest.mark.parametrize(("promise", "said"), [(2.2e-12, True), (2.3e-12, False), (math.inf, False)])
def test_rounding_is_the_cause_where_less_than_ten_thousand_roundings_are_promised(promise, said):
    objective = Objective(lambda x: 1.0 + 1e-6 * (x @ x) / 3, lambda x: 2e-6 * x / 3)
    loss = objective.fun(np.array([1e-6]))
    message = cause(objective, np.array([1e-6]), np.array([-1.0]), np.array([7e-13]), loss, promise)
    assert message == (": precision of the loss reached, rounding hides what it could still fall" if said else "")


def test_steps_that_change_nothing_are_counted_and_one_that_does_starts_anew():
    def run(losses, slopes):
        given = iter(zip(losses, slopes))
        objective = Objective(lambda x: 1 + 1e-9 / 3, lambda x: np.ones(1))

        def advance(x, loss, g):
            loss, slope = next(given)
            return x, loss, np.array([slope])

        return descend(objective, [0.0], advance, lambda *_: None, maxiter=50)

    still = run([1 + 1e-9 / 3] * 50, [1.0] * 50)
    assert still.nit == IDLE == 20 and still.message.startswith("neither loss nor gradient gets smaller: the gradient has the wrong scale")
    assert run([1 + 1e-9 / 3] * 50, [1.0] * 10 + [0.9] * 40).nit == 11 + IDLE
    assert run([1 + 1e-9 / 3] * 10 + [1.0] * 40, [1.0] * 50).nit == 11 + IDLE
    assert run([1 + 1e-9 / 3] * 10 + [1.1] * 40, [1.0] * 50).nit == 11 + IDLE
    assert run([1 + 1e-9 / 3 - 2e-15 * k for k in range(50)], [1.0] * 50).nit == 50  # too little in one step, but not in eight
    assert run([1 + 1e-9 / 3 + 2e-16 * (k % 5) for k in range(50)], [1.0] * 50).nit == IDLE


# It says what it did not look at

NO_MINIMUM = "the gradient vanishes at a point that is no minimum"
SADDLES = {
    "x² - y²": (lambda x: x[0] ** 2 - x[1] ** 2, lambda x: np.array([2 * x[0], -2 * x[1]]), lambda x: np.diag([2.0, -2.0]), [1.0, 0.0]),
    "x² - 1e-9 y²": (lambda x: x[0] ** 2 - 1e-9 * x[1] ** 2, lambda x: np.array([2 * x[0], -2e-9 * x[1]]), lambda x: np.diag([2.0, -2e-9]), [1.0, 0.0]),
    "a monkey saddle": (lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2, lambda x: np.array([3 * (x[0] ** 2 - x[1] ** 2), -6 * x[0] * x[1]]),
                        lambda x: np.array([[6 * x[0], -6 * x[1]], [-6 * x[1], -6 * x[0]]]), [1.0, 0.0]),
    "x² - y⁴": (lambda x: x[0] ** 2 - x[1] ** 4, lambda x: np.array([2 * x[0], -4 * x[1] ** 3]), lambda x: np.diag([2.0, -12 * x[1] ** 2]), [1.0, 0.0]),
    "a maximum": (lambda x: -(x @ x), lambda x: -2 * x, lambda x: -2 * np.eye(2), [0.0, 0.0]),
    "xy": (lambda x: x[0] * x[1], lambda x: x[::-1], lambda x: np.array([[0, 1], [1, 0]]), [0.0, 0.0]),
}
UNSEEN = ("only the gradient was looked at, not the curvature", "directions that they did not try were not looked at",
          "cannot be told from zero: along it only the loss nearby was looked at")


@each
@pytest.mark.parametrize("saddle", SADDLES)
def test_at_a_saddle_there_is_no_success_or_it_says_what_was_not_looked_at(minimiser, saddle):
    fun, grad, hess, start = SADDLES[saddle]
    result = minimiser(fun, start, grad, hess)
    assert not result.success or any(words in result.message for words in UNSEEN)
    if minimiser not in (ALL["bfgs"], ALL["lbfgs"]):
        assert not result.success


@each
def test_the_bottom_of_a_quartic_and_a_trough_are_minima_with_a_reserve(minimiser):
    quartic = minimiser(lambda x: float((x**4).sum()), [1.0, 0.5], lambda x: 4 * x**3, lambda x: np.diag(12 * x**2))
    assert quartic.success
    bottom = minimiser(lambda x: float((x**4).sum()), [0.0, 0.0], lambda x: 4 * x**3, lambda x: np.diag(12 * x**2))
    trough = minimiser(lambda x: (x[0] + x[1]) ** 2, [1.0, -1.0], lambda x: np.full(2, 2 * (x[0] + x[1])), lambda x: np.full((2, 2), 2.0))
    for result in (bottom, trough):
        assert result.success and any(words in result.message for words in UNSEEN)


@pytest.mark.parametrize("method", ["shifted", "trust region", "line search", "pure"])
def test_newton_tells_the_lowest_curvature_and_how_well_it_is_known(method):
    def curved(lowest, dtype=float, skew=0.0):
        h = np.diag([2.0, lowest]).astype(dtype)
        h[0, 1] += skew
        return newton(lambda x: 0.0, [0.0, 0.0], lambda x: 0 * x, lambda x: h, method=method)

    assert curved(0.5).message == "the gradient is at most gtol, and the lowest curvature, 0.5 ± 6e-14, is positive"
    for lowest, success, says in (
        (6e-14, True, "6e-14 ± 6e-14, is positive"), (5e-14, True, "5e-14 ± 6e-14, cannot be told from zero"), (0.0, True, "0 ± 6e-14, cannot be told from zero"),
        (-5e-14, True, "-5e-14 ± 6e-14, cannot be told from zero"), (-6e-14, False, f"{NO_MINIMUM}: the lowest curvature is -6e-14 ± 6e-14"),
    ):
        result = curved(lowest)
        assert result.success == success and says in result.message
    for lowest, success in ((4e-5, True), (-2e-5, True), (-4e-5, False)):  # 64 · 2 roundings of a float32
        result = curved(lowest, np.float32)
        assert result.success == success and "± 3e-05" in result.message
    assert "± 1e-07, cannot be told" in curved(0.0, skew=1e-7).message
    assert not curved(-2e-7, skew=1e-7).success and curved(-0.9e-7, skew=1e-7).success


def test_newton_with_products_tells_curvature_to_ten_digits():
    def curved(lowest):
        return newton_cg(lambda x: x[0] ** 2 + lowest * x[1] ** 2 / 2, [0.0, 0.0], lambda x: np.array([2 * x[0], lowest * x[1]]),
                         lambda x, v: np.array([2 * v[0], lowest * v[1]]))

    refused = curved(-1e-9)
    assert not refused.success and refused.message.startswith(f"{NO_MINIMUM}: the lowest curvature is -1e-09 ± ")
    assert curved(-1e-11).success and curved(1e-11).success
    assert curved(1e-11).message == "the gradient is at most gtol, and conjugate gradients met no negative curvature: " \
                                    "directions that they did not try were not looked at"


def bump(x, at):
    """0, and -1 at `at`, with two derivatives everywhere and none at 0."""
    return -max(0.0, 1 - ((x[0] - at) / (at / 2)) ** 2) ** 3


@pytest.mark.parametrize("at", [1e-3, -1e-3, 1e-5, -1e-5])
@pytest.mark.parametrize("size", [1.0, 4.0])
def test_along_a_flat_direction_the_loss_is_looked_at_on_both_sides_near_and_nearer(at, size):
    far = np.array([0.0, size - 1])
    result = newton(lambda x: bump(x - far, at * size), far, lambda x: 0 * x, lambda x: np.diag([0.0, 1.0]))
    assert not result.success and result.message == f"{NO_MINIMUM}: the loss is lower {abs(at) * size:.1g} beside it"
    assert newton(lambda x: bump(x - far, 3 * at * size), far, lambda x: 0 * x, lambda x: np.diag([0.0, 1.0])).success


def test_the_last_look_leads_further_ahead_than_any_bottom_of_an_even_power():
    seen = []

    def fun(x):
        seen.append(x[0])
        return float(x[0] ** 4)

    result = newton(fun, [1.0], lambda x: 4 * x**3, lambda x: np.diag(12 * x**2))
    assert seen[-1] == pytest.approx(result.x[0] * (1 - FURTHER / 3)) and FURTHER == 32


def test_a_loss_beside_the_point_counts_beyond_64_roundings_and_below_its_tangent():
    def look(loss, lower, slope=0.0):
        objective = Objective(lambda x: loss + slope * x[0] - lower * (x[0] != 0), lambda x: x)
        objective.fun(np.array([1e-3 / 3]))
        return judged(objective, np.zeros(1), loss, np.array([slope]), Doubts(0.0, 0.0, np.ones((1, 1)), np.zeros(1), "seen")).success

    rounding = np.finfo(float).eps
    for loss in (1 / 3, 7 / 3):
        assert look(loss, 60 * rounding * (1 + loss)) and not look(loss, 70 * rounding * (1 + loss))
    assert look(1 / 3, 0.0, slope=1e-3) and not look(1 / 3, 1e-9, slope=1e-3)


def test_what_lies_ahead_counts_beyond_64_roundings():
    rounding = np.finfo(float).eps
    for loss in (1 / 3, 7 / 3):
        for roundings, success in ((60, True), (70, False)):
            objective = Objective(lambda x, loss=loss, k=roundings: loss - k * rounding * (1 + loss) * (x[0] == 32.0), lambda x: x)
            verdict = judged(objective, np.zeros(1), loss, np.zeros(1), Doubts(0.0, 0.0, np.empty((0, 1)), np.ones(1), "nothing more was looked at"))
            assert verdict.success == success
            assert verdict.message == ("the gradient is at most gtol, and nothing more was looked at" if success else
                                       "the gradient is at most gtol, but further along the next step the loss still falls")


@squares
def test_least_squares_say_that_the_curvature_was_not_looked_at(minimiser):
    result = minimiser(**LINE)
    assert result.success and result.message.endswith("along the eigenvectors of JᵀJ: the curvature was not looked at")


# A loss in float32

TARGET = np.float32([0.3, -1.7, 0.6])


def single(x):
    return np.float32(7.1) + (np.float32([1, 10, 100]) * (x.astype("f4") - TARGET) ** 2).sum(dtype="f4")


def single_slope(x):
    return 2 * np.float32([1, 10, 100]) * (x.astype("f4") - TARGET)


@each
@pytest.mark.parametrize("hidden", [False, True], ids=["float32", "as a Python number"])
def test_a_loss_in_float32_is_minimised_as_well_as_scipy_does_and_its_gradient_not_blamed(minimiser, hidden):
    optimize = pytest.importorskip("scipy.optimize")
    theirs = optimize.minimize(lambda x: float(single(x)), np.zeros(3), jac=lambda x: single_slope(x).astype(float), method="L-BFGS-B")
    result = minimiser(lambda x: single(x).item() if hidden else single(x), np.zeros(3), single_slope, lambda x: 2 * np.diag(np.float32([1, 10, 100])), gtol=1e-5)
    assert result.success or "precision of the loss reached" in result.message
    assert np.abs(result.x - TARGET).max() <= max(1e-6, 2 * np.abs(theirs.x - TARGET).max())


@pytest.mark.parametrize("minimiser", [bfgs, lbfgs])
def test_rosenbrocks_valley_in_float32_far_above_zero(minimiser):
    valley = rosenbrock()
    result = minimiser(lambda x: float(np.float32(5) + np.float32(valley.fun(x))), [-1.2, 1.0], lambda x: valley.grad(x).astype("f4"))
    assert result.success and np.abs(result.x - 1).max() < 1e-5
    wrong = minimiser(lambda x: float(np.float32(5) + np.float32(valley.fun(x))), [-1.2, 1.0], lambda x: -valley.grad(x).astype("f4"))
    assert not wrong.success and "the gradient has the wrong sign" in wrong.message


def test_the_rounding_of_losses_is_known_from_their_digits():
    single, double = np.finfo(np.float32).eps, np.finfo(float).eps
    for losses, rounding in (
        ([0.0, 1.0, -3.0, 0.375, math.inf, math.nan, 65535.0], double),  # round numbers, which say nothing
        ([65536.0, 2.0**-30], double), ([65537.0], single), ([float(np.float32(0.1))], single), ([np.float32(0.1)], single), ([2.0**24 - 1], single),
        ([2.0**25 - 1], double), ([0.1], double), ([float(np.float32(0.1)), 0.1], double), ([0.1, float(np.float32(0.1))], double),
        ([float(np.float32(0.1)), 1.0], single),
    ):
        given = iter(losses)
        objective = Objective(lambda x, given=given: next(given), lambda x: x)
        for _ in losses:
            objective.fun(np.zeros(1))
        assert objective.rounding == rounding


# Nothing of the user's is changed, shared or lost

@each
def test_a_gradient_that_returns_its_argument_and_functions_that_spoil_it_do_no_harm(minimiser):
    def spoils(function):
        def inner(x):
            value = function(x.copy())
            x[:] = np.nan
            return value
        return inner

    plain = minimiser(lambda x: x @ x / 2, [1.0, 2.0], lambda x: x.copy(), lambda x: np.eye(2))
    start, path = np.array([1.0, 2.0]), []
    rude = minimiser(spoils(lambda x: x @ x / 2), start, lambda x: x, spoils(lambda x: np.eye(2)),
                     callback=lambda x: (path.append(x), x.__setitem__(0, 5.0)))
    np.testing.assert_array_equal(rude.x, plain.x)
    assert start.tolist() == [1.0, 2.0] and len(path) == plain.nit and not np.shares_memory(rude.x, path[-1])
    assert (rude.nfev, rude.ngev, rude.nhev) == (plain.nfev, plain.ngev, plain.nhev)


@each
def test_a_hessian_that_is_used_again_stays_as_it_was(minimiser):
    h = np.diag([1.0, 3.0])
    result = minimiser(lambda x: x @ h @ x / 2, [1.0, 2.0], lambda x: h @ x, lambda x: h)
    assert result.success and h.tolist() == [[1.0, 0.0], [0.0, 3.0]]


@each
def test_read_only_arrays_lists_and_float32_are_taken(minimiser):
    start = np.array([1, 2], dtype="f4")
    start.flags.writeable = False
    result = minimiser(lambda x: np.float32(x @ x), start, lambda x: list(2 * x), lambda x: [[2, 0], [0, 2]])
    assert result.success and result.x.dtype == float and result.x.flags.writeable and np.abs(result.x).max() < 1e-6


@each
def test_a_callback_may_end_it_with_stopiteration_and_any_other_error_passes(minimiser):
    valley, seen = rosenbrock(), []

    def callback(x):
        seen.append(x)
        if len(seen) == 2:
            raise StopIteration

    result = minimiser(valley, [-1.2, 1.0], valley.grad, lambda x: valley.hess(x) + 1e3 * np.eye(2), callback=callback)
    assert (result.success, result.nit, result.message) == (False, 2, "the callback raised StopIteration")
    np.testing.assert_array_equal(result.x, seen[-1])
    for error in (KeyboardInterrupt, ZeroDivisionError):
        def fails(x, error=error):
            raise error

        with pytest.raises(error):
            minimiser(valley, [-1.2, 1.0], valley.grad, lambda x: valley.hess(x) + 1e3 * np.eye(2), callback=fails)


@squares
def test_least_squares_too_spare_their_arrays_and_hear_the_callback(minimiser):
    jacobian, kept = np.diag([1.0, 2.0]), np.array([3.0, 4.0])

    def residuals(x):
        buffer = jacobian @ x - kept
        x[:] = np.nan
        return buffer

    def callback(x):
        raise StopIteration

    result = minimiser(residuals, [0.0, 1.0], lambda x: jacobian)
    np.testing.assert_allclose(result.x, [3.0, 2.0], atol=1e-6)
    assert jacobian.tolist() == [[1.0, 0.0], [0.0, 2.0]] and kept.tolist() == [3.0, 4.0]
    ended = minimiser(residuals, [0.0, 1.0], lambda x: jacobian, callback=callback)
    assert (ended.success, ended.nit, ended.message) == (False, 1, "the callback raised StopIteration")


def test_minimize_gives_copies_and_takes_a_gradient_that_returns_its_argument():
    def fun(w):
        value = w @ w / 2
        w[:] = 1e9
        return value

    def grad(w):
        w *= 3
        return w

    path, losses = minimize(fun, [1.0, 2.0], SGD(lr=0.25), 2, grad=lambda w: w)
    assert path.tolist() == [[1.0, 2.0], [0.75, 1.5], [0.5625, 1.125]] and losses.tolist() == [2.5, 1.40625, 0.791015625]
    assert minimize(fun, [1.0, 2.0], SGD(lr=0.25), 1, grad=grad).path.tolist() == [[1.0, 2.0], [0.25, 0.5]]
    buffer = np.empty(2)

    def again(w):
        buffer[:] = 2 * w
        return buffer

    assert minimize(fun, [1.0, 2.0], Momentum(lr=0.25), 2, grad=again).path[1].tolist() == [0.5, 1.0]


# It takes only what it can, and says so before it begins

NOTHING = [None, "x", b"x", True, {}, {"w": 1.0}, object(), SGD, int, lambda x: x, 1j, [1j, 2.0], np.array([1 + 0j, 2.0]), ["1", "2"], np.array(["1", "2"]),
           [True, False], np.array([True, False]), np.array([1.0, None]), [[1.0], [1.0, 2.0]], np.ma.array([1.0, 2.0]), [], np.empty((0,)), 1.0, [[1.0, 2.0]],
           [1.0, math.nan], [math.inf, 1.0], [1.0, -math.inf]]
NO_FUNCTION = [None, "x", 3, [1.0], np.ones(2), SGD, float, {}]
WRONG_OPTIONS = [("gtol", value) for value in (None, "1", 0, 0.0, -1e-6, math.nan, math.inf, True, 1j, [1e-6], np.array([1e-6]))]
WRONG_OPTIONS += [("maxiter", value) for value in (None, "1", -1, 1.5, 2.0, math.nan, math.inf, True, [1], np.bool_(True))]
WRONG_OPTIONS += [("callback", value) for value in ("x", 3, True, [print], SGD)]


def untouched(*_):
    raise AssertionError("called before its arguments were checked")


def named(value):
    return value.__name__ if isinstance(value, type) else repr(value)[:40].partition(" at 0x")[0]


@each
@pytest.mark.parametrize("x0", NOTHING, ids=named)
def test_a_start_that_is_no_vector_of_finite_numbers_is_refused_first(minimiser, x0):
    with pytest.raises((TypeError, ValueError), match=r"^x0 must be a non-empty vector of finite numbers, got "):
        minimiser(untouched, x0, untouched, untouched)


@each
@pytest.mark.parametrize(("name", "value"), WRONG_OPTIONS, ids=lambda value: named(value))
def test_wrong_options_are_refused_first(minimiser, name, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
        minimiser(untouched, [1.0, 2.0], untouched, untouched, **{name: value})


@squares
@pytest.mark.parametrize(("name", "value"), [*WRONG_OPTIONS, *(("x0", value) for value in NOTHING)], ids=lambda value: named(value))
def test_least_squares_refuse_wrong_options_first(minimiser, name, value):
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
        minimiser(**{"residuals": untouched, "x0": [1.0, 2.0], "jac": untouched, name: value})


@pytest.mark.parametrize("value", NO_FUNCTION, ids=named)
def test_what_is_no_function_is_refused_first(value):
    for minimiser in ALL.values():
        for name in ("fun", "grad"):
            with pytest.raises(TypeError, match=f"^{name} must be a function of x"):
                minimiser(**{**BOWL, name: value})
    for name, call in (("hess", newton), ("hessp", newton_cg)):
        with pytest.raises(TypeError, match=f"^{name} must be a function of x"):
            call(untouched, [1.0], untouched, value)
    for minimiser in SQUARES.values():
        for name in ("residuals", "jac"):
            with pytest.raises(TypeError, match=f"^{name} must be a function of x"):
                minimiser(**{**LINE, name: value})
    for call, name in ((hessp_from, "grad"), (lambda f: conjugate_gradient(f, np.ones(2)), "product")):
        with pytest.raises(TypeError, match=f"^{name} must be a function of "):
            call(value)
    for name in ("fun", "grad") if value is not None else ("fun",):
        with pytest.raises(TypeError, match=f"^{name} must be a function of w"):
            minimize(**{"fun": untouched, "w0": [1.0], "optimizer": SGD(lr=0.1), "steps": 1, "grad": untouched, name: value})


def test_false_is_no_gradient_and_no_method_is_guessed():
    for minimiser in ALL.values():
        with pytest.raises(TypeError, match=r"^grad must be a function of x, or True where fun returns loss and gradient, got False"):
            minimiser(**{**BOWL, "grad": False})
    for method in (None, "Shifted", 1, True):
        with pytest.raises((TypeError, ValueError), match=r"^method must be 'shifted', 'trust region', 'line search' or 'pure', got "):
            newton(**BOWL, method=method)
        with pytest.raises((TypeError, ValueError), match=r"^method must be 'line search' or 'pure', got "):
            gauss_newton(**LINE, method=method)


class Sparse:
    """What SciPy's sparse matrices have in common."""

    shape, dtype = (2, 2), np.dtype(float)

    def toarray(self):
        return np.eye(2)


class Torch:
    """A tensor that keeps its history, as PyTorch has them."""

    def __init__(self, values, dtype="torch.float32"):
        self.values, self.dtype, self.shape = np.asarray(values), dtype, np.shape(values)

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad")

    def __float__(self):
        return float(self.values)


BAD_VECTORS = [(lambda x: x * 1j, TypeError, "real numbers, got complex128"), (lambda x: list(map(complex, x)), TypeError, "real numbers, got complex128"),
               (lambda x: None, TypeError, "real numbers, got object"), (lambda x: "x", TypeError, "real numbers, got <U1"),
               (lambda x: np.array(["1", "2"]), TypeError, "real numbers, got <U1"), (lambda x: {"w": x}, TypeError, "real numbers, got object"),
               (lambda x: x.astype(object), TypeError, "real numbers, got object"), (lambda x: [[1.0], [1.0, 2.0]], TypeError, "real numbers, got"),
               (lambda x: np.ma.array(x), TypeError, "real numbers, got a masked array"), (lambda x: Sparse(), TypeError, "a dense array, got a sparse Sparse"),
               (lambda x: Torch(x), TypeError, "real numbers, got .*: Can't call numpy"), (lambda x: x[:1], ValueError, r"shape \(2,\), got \(1,\)"),
               (lambda x: x[None], ValueError, r"shape \(2,\), got \(1, 2\)"), (lambda x: 1.0, ValueError, r"shape \(2,\), got \(\)"),
               (lambda x: np.append(x, 1.0), ValueError, r"shape \(2,\), got \(3,\)"), (lambda x: [], ValueError, r"shape \(2,\), got \(0,\)")]


@pytest.mark.parametrize(("bad", "error", "says"), BAD_VECTORS)
def test_what_is_no_gradient_or_product_is_refused_by_name(bad, error, says):
    for minimiser in ALL.values():
        with pytest.raises(error, match=f"^grad must return {says}"):
            minimiser(**{**BOWL, "grad": bad})
        with pytest.raises(error, match=f"^grad must return {says}"):
            minimiser(**{**BOWL, "fun": lambda x: (1.0, bad(x)), "grad": True})
    with pytest.raises(error, match=f"^hessp must return {says}"):
        newton_cg(BOWL["fun"], BOWL["x0"], BOWL["grad"], lambda x, v: bad(v))
    with pytest.raises(error, match=f"^product must return {says}"):
        conjugate_gradient(bad, np.ones(2))
    with pytest.raises(error, match=f"^grad must return {says}"):
        hessp_from(bad)(np.ones(2), np.ones(2))
    with pytest.raises(error, match=f"^grad must return {says}"):
        minimize(BOWL["fun"], [1.0, 2.0], SGD(lr=0.1), 1, grad=bad)


@pytest.mark.parametrize(("bad", "error", "says"), [
    *((lambda x, bad=bad: bad(x), error, says.replace("(2,)", "(2, 2)").replace(r"\(2,\)", r"\(2, 2\)")) for bad, error, says in BAD_VECTORS if error is TypeError),
    (lambda x: np.ones(2), ValueError, r"shape \(2, 2\), got \(2,\)"), (lambda x: np.ones((2, 3)), ValueError, r"shape \(2, 2\), got \(2, 3\)"),
    (lambda x: np.array([[2.0, 1e-3], [0.0, 2.0]]), ValueError, "a symmetric matrix, got one that differs by 0.001 from its transpose"),
    (lambda x: np.array([[2.0, 2.1e-6], [0.0, 2.0]]), ValueError, "a symmetric matrix, got one that differs by 2.1e-06 from its transpose"),
])
def test_what_is_no_hessian_is_refused_by_name(bad, error, says):
    for method in ("shifted", "trust region", "line search", "pure"):
        with pytest.raises(error, match=f"^hess must return {says}"):
            newton(**{**BOWL, "hess": bad}, method=method)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_a_hessian_may_be_a_little_skew_or_a_matrix():
    assert newton(**{**BOWL, "hess": lambda x: np.array([[2.0, 1.9e-6], [0.0, 2.0]])}).success
    assert newton(**{**BOWL, "hess": lambda x: np.asmatrix(2 * np.eye(2))}).success


def test_scipys_sparse_hessian_is_refused_by_name_and_its_products_taken():
    sparse = pytest.importorskip("scipy.sparse")
    h = sparse.csr_array(np.diag([2.0, 2.0]))
    for kind in (h, sparse.coo_matrix(h)):
        with pytest.raises(TypeError, match=rf"^hess must return a dense array, got a sparse {type(kind).__name__}: its toarray\(\) is one"):
            newton(**{**BOWL, "hess": lambda x, kind=kind: kind})
        with pytest.raises(TypeError, match=r"^jac must return a dense array"):
            gauss_newton(LINE["residuals"], LINE["x0"], lambda x, kind=kind: kind)
    assert newton_cg(BOWL["fun"], BOWL["x0"], BOWL["grad"], lambda x, v: h @ v).success


@pytest.mark.parametrize("bad", [lambda x: 1j, lambda x: np.complex128(1), lambda x: "1", lambda x: np.array("1"), lambda x: None, lambda x: x, lambda x: x[:1],
                                 lambda x: [1.0], lambda x: {}, lambda x: np.array(1.0, dtype=object), lambda x: np.timedelta64(1), lambda x: (1.0, 2 * x),
                                 lambda x: Torch(1.0, "torch.complex64"), lambda x: Torch([1.0])])
def test_a_loss_that_is_no_real_number_is_refused(bad):
    for minimiser in ALL.values():
        with pytest.raises(TypeError, match=r"^fun must return one real number, got "):
            minimiser(**{**BOWL, "fun": bad})
    with pytest.raises(TypeError, match=r"^fun must return one real number, got "):
        minimize(bad, [1.0, 2.0], SGD(lr=0.1), 1, grad=lambda w: w)


@each
@pytest.mark.parametrize("number", [float, np.float32, np.array, Torch, lambda loss: np.longdouble(loss)], ids=["float", "float32", "array", "tensor", "longdouble"])
def test_numbers_of_any_library_will_do_as_a_loss(minimiser, number):
    assert minimiser(lambda x: number(x @ x), [1.0, 2.0], BOWL["grad"], BOWL["hess"]).success


@pytest.mark.peers
def test_pytorchs_tensors_are_taken_as_losses_and_gradients():
    torch = pytest.importorskip("torch")

    def loss(x):
        w = torch.from_numpy(x).requires_grad_()
        return w, ((w - 1) ** 4).sum() + (w**2).sum()

    def both(x):
        w, value = loss(x)
        value.backward()
        return value.detach(), w.grad

    for minimiser in (bfgs, lbfgs):
        result = minimiser(both, np.zeros(3), True)
        apart = minimiser(lambda x: both(x)[0], np.zeros(3), lambda x: both(x)[1])
        assert result.success and result.x.tolist() == apart.x.tolist()
    with pytest.raises(TypeError, match=r"(?s)^grad must return real numbers, got tensor.*detach"):
        lbfgs(lambda x: float(x @ x), np.zeros(3), lambda x: loss(x)[0])
    with pytest.raises(TypeError, match=r"^x0 must be a non-empty vector of finite numbers, got tensor"):
        lbfgs(both, torch.zeros(3), True)


@pytest.mark.parametrize(("change", "says"), [
    *(({"w0": value}, "w0 must be a non-empty vector of finite numbers") for value in NOTHING),
    *(({"optimizer": value}, "optimizer must be an optimizer such as") for value in (None, SGD, "sgd", 0.1, lambda w: w)),
    *(({"steps": value}, "steps must be a whole number from 0 up") for value in (None, -1, 1.0, 1.5, True, "10", math.inf)),
    ({"fun": lambda w: 0.0, "grad": None}, "grad, where fun has none, must be a function of w, got None"),
])
def test_minimize_refuses_first(change, says):
    given = {"fun": untouched, "w0": [1.0], "optimizer": SGD(lr=0.1), "steps": 1, "grad": untouched} | change
    with pytest.raises((TypeError, ValueError), match=f"^{says}"):
        minimize(**given)


def test_minimize_takes_the_gradient_of_its_landscape():
    assert minimize(bowl(), [1.0, 2.0], SGD(lr=0.5), 1).path.tolist() == minimize(bowl(), [1.0, 2.0], SGD(lr=0.5), 1, grad=lambda w: w).path.tolist()
    assert minimize(bowl(), [1.0, 2.0], SGD(lr=0.5), 1, grad=lambda w: 0 * w).path.tolist() == [[1.0, 2.0], [1.0, 2.0]]


# The parts

def test_the_largest_of_a_gradient_is_an_absolute_value_and_shows_nan():
    assert largest(np.array([1.0, -3.0, 2.0])) == 3.0 and largest(np.array([5.0, -3.0])) == 5.0
    assert math.isnan(largest(np.array([1.0, math.nan]))) and largest(np.array([-math.inf, 1.0])) == math.inf


def test_what_functions_return_is_copied_and_its_shape_told():
    kept = np.ones(2)
    assert not np.shares_memory(returned(kept, "grad", (2,), kept), kept)
    assert returned(np.ones((3, 2), dtype=int), "jac", (None, 2), kept).dtype == float
    with pytest.raises(ValueError, match=r"^jac must return shape \(any, 2\), got \(0, 2\)"):
        returned(np.ones((0, 2)), "jac", (None, 2), kept)
    with pytest.raises(ValueError, match=r"^jac must return shape \(any,\), got \(\)"):
        returned(1.0, "jac", (None,), kept)


RESULT = {"x": np.ones(2), "fun": 0.5, "nit": 1, "nfev": 2, "ngev": 3, "success": True, "message": "it ended"}


@pytest.mark.parametrize(("name", "value"), [
    ("x", "x"), ("x", 1.0), ("x", np.array([1j])), ("fun", None), ("fun", 1j), ("nit", -1), ("nit", 1.5), ("nfev", "1"), ("nfev", -1), ("ngev", None), ("ngev", -1),
    ("nhev", -1), ("nhev", True), ("success", "yes"), ("success", 1), ("message", None), ("message", 3),
])
def test_a_result_is_made_of_what_it_says(name, value):
    Result(**RESULT)
    with pytest.raises((TypeError, ValueError), match=f"^{name} must be "):
        Result(**{**RESULT, name: value})


def test_a_verdict_is_asked_once_and_only_where_no_slope_is_larger_than_gtol():
    asked = []

    def verdict(x, loss, g):
        asked.append((x.copy(), loss, g))
        return Verdict(False, "so it is")

    objective = Objective(lambda x: x @ x / 2, lambda x: x)
    end = descend(objective, [8.0], lambda x, loss, g: (x / 2, loss / 4, g / 2), verdict, gtol=0.5)
    assert (end.x.tolist(), end.fun, end.nit, end.success, end.message) == ([0.5], 0.125, 4, False, "so it is") and len(asked) == 1
    assert descend(objective, [0.5], lambda *_: None, verdict, gtol=0.5, maxiter=0, nhev=lambda: 7).nhev == 7


@pytest.mark.parametrize(("first", "loss", "unbounded"), [(0.0, -0.9e30, False), (0.0, -1.1e30, True), (9.0, -0.9e31, False), (-9.0, -1.1e31, True), (1.0, -math.inf, True)])
def test_a_loss_is_unbounded_below_from_1e30_times_its_first(first, loss, unbounded):
    objective = Objective(lambda x: first, lambda x: np.ones(1))
    end = descend(objective, [0.0], lambda x, _, g: (x, loss, g), lambda *_: None, maxiter=1)
    assert end.message.startswith("the loss falls without end: it seems to be unbounded below" if unbounded else "the iteration limit")


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_a_whole_step_is_taken_by_slope_where_the_loss_tells_less_than_eight_digits(scale):
    objective = Objective(lambda x: scale * (1 + x[0] ** 2) / 3, lambda x: np.array([2 * scale * x[0] / 3]))
    x, p, g = np.array([1.0]), np.array([-0.5]), np.array([2 * scale / 3])
    loss = objective.fun(x)
    near = by_slope(objective, x, p, loss, g, 0.9e-8 * loss)
    assert near[0].tolist() == [0.5] and near[1] == objective.fun(near[0]) and near[2].tolist() == objective.grad(near[0]).tolist()
    assert by_slope(objective, x, p, loss, g, 1.1e-8 * loss) is None
    assert by_slope(objective, x, 2 * -x, loss, g, 0.0) is None  # as steep on the other side
    assert by_slope(objective, x, np.array([np.nan]), loss, g, 0.0) is None


# The minima of SciPy, for no more evaluations

def wood(x):
    return (100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2 + 90 * (x[3] - x[2] ** 2) ** 2 + (1 - x[2]) ** 2
            + 10.1 * ((x[1] - 1) ** 2 + (x[3] - 1) ** 2) + 19.8 * (x[1] - 1) * (x[3] - 1))


def wood_slope(x):
    a, b = x[1] - x[0] ** 2, x[3] - x[2] ** 2
    return np.array([-400 * x[0] * a - 2 * (1 - x[0]), 200 * a + 20.2 * (x[1] - 1) + 19.8 * (x[3] - 1),
                     -360 * x[2] * b - 2 * (1 - x[2]), 180 * b + 20.2 * (x[3] - 1) + 19.8 * (x[1] - 1)])


def wood_bends(x):
    h = np.diag([1200 * x[0] ** 2 - 400 * x[1] + 2, 220.2, 1080 * x[2] ** 2 - 360 * x[3] + 2, 200.2])
    h[0, 1] = h[1, 0] = -400 * x[0]
    h[2, 3] = h[3, 2] = -360 * x[2]
    h[1, 3] = h[3, 1] = 19.8
    return h


CLASSICS = {
    "Rosenbrock 2": (rosenbrock().fun, rosenbrock().grad, rosenbrock().hess, [-1.2, 1.0]),
    "Rosenbrock 20": (rosenbrock(20).fun, rosenbrock(20).grad, rosenbrock(20).hess, np.zeros(20)),
    "Wood": (wood, wood_slope, wood_bends, [-3.0, -1.0, -3.0, -1.0]),
}


@pytest.mark.parametrize("problem", CLASSICS)
@searching
def test_classic_problems_end_at_their_minimum(minimiser, problem):
    fun, grad, hess, start = CLASSICS[problem]
    result = minimiser(fun, start, grad, hess)
    assert result.success or minimiser is ALL["line search"]
    assert minimiser is ALL["line search"] or np.abs(result.x - 1).max() < 1e-4


# By the median of starts that differ by 1e-14: so far apart the last digits of a processor's matrix products lead.
@pytest.mark.parametrize(("minimiser", "most"), [
    ("shifted", [30, 50, 65]), ("trust region", [25, 48, 47]), ("newton_cg", [93, 152, 228]), ("bfgs", [45, 116, 49]), ("lbfgs", [45, 147, 113]),
])
def test_classic_problems_take_no_more_losses_than_they_did(minimiser, most):
    for limit, (fun, grad, hess, start) in zip(most, CLASSICS.values()):
        rng = np.random.default_rng(0)
        starts = [np.array(start) * (1 + 1e-14 * rng.normal(size=len(start))) for _ in range(9)]
        assert np.median([SEARCHING[minimiser](fun, near, grad, hess).nfev for near in starts]) <= limit


# What the parts refuse, each argument by its name

H, G, J = np.diag([1.0, 2.0]), np.ones(2), np.ones((3, 2))
SOME = Objective(lambda x: x @ x, lambda x: 2 * x)
PARTS = {
    newton_step: {"g": G, "h": H},
    positive_shift: {"h": H},
    trust_region_step: {"g": G, "h": H, "radius": 1.0},
    conjugate_gradient: {"product": lambda d: d, "b": G, "tol": 1e-3, "maxiter": 2},
    hessp_from: {"grad": lambda x: x},
    bfgs_update: {"h": H, "s": G, "y": G},
    two_loop: {"g": G, "pairs": [(G, G)], "scale": 1.0},
    DenseInverse: {"n": 2},
    LimitedInverse: {"n": 2, "memory": 3},
    gauss_newton_step: {"r": np.ones(3), "j": J, "mu": 0.0},
    fisher: {"derivatives": np.ones((1, 2, 3)), "chances": np.full((1, 2), 0.5)},
    kronecker_step: {"g": np.ones((2, 1)), "a": H, "s": np.ones((1, 1)), "damping": 0.0},
    backtracking: {"objective": SOME, "x": G, "p": -G, "loss": 2.0, "slope": -4.0, "t": 1.0, "c1": 1e-4, "trials": 9},
    strong_wolfe: {"objective": SOME, "x": G, "p": -G, "loss": 2.0, "slope": -4.0, "t": 1.0, "c1": 1e-4, "c2": 0.9, "trials": 9},
    descend: {"objective": SOME, "x0": G, "advance": lambda *_: None, "verdict": lambda *_: Verdict(True, ""), "gtol": 9.0, "maxiter": 1, "callback": None},
    searched: {"objective": SOME, "x": G, "p": -G, "loss": 2.0, "g": 2 * G},
    by_slope: {"objective": SOME, "x": G, "p": -G, "loss": 2.0, "g": 2 * G, "promise": 1.0},
    cause: {"objective": SOME, "x": G, "p": -G, "g": 2 * G, "loss": 2.0, "promise": 1.0},
    Objective: {"fun": lambda x: x @ x, "grad": lambda x: 2 * x},
    quadratic: {"curvatures": [1.0], "name": "q"},
    bowl: {"n": 2}, taco_shell: {"condition": 2.0}, double_well: {"tilt": 0.1}, rosenbrock: {"n": 2},
    logistic_regression: {"inputs": [[1.0], [2.0]], "labels": [0, 1], "penalty": 0.1},
    noisy: {"landscape": bowl(), "sigma": 0.1, "rng": np.random.default_rng(0)},
    Landscape: {"name": "flat", "n": 2, "fun": lambda w: 0.0, "grad": lambda w: 0 * w, "hess": lambda w: np.zeros((2, 2)), "minima": np.zeros((0, 2))},
}
NEVER = [object(), 1j, np.array([1j]), np.array(["a"]), {}, SGD, np.array([None])]
ALSO = {"callback": [3, "x"], "name": [None, 3], "minima": [None, np.zeros(2), np.zeros((1, 3))]}
LIMITS = {
    "radius": [0.0, -1.0, math.nan], "tol": [-1e-9, math.nan, math.inf], "maxiter": [-1, 1.5, True], "scale": [0.0, -1.0, math.inf], "n": [0, -1, 1.0, True],
    "memory": [0, 1.5], "mu": [-1e-9, math.inf], "damping": [-1e-9, math.nan], "chances": [np.full((1, 2), 1.1), np.full((1, 2), -0.1), np.full((2, 2), 0.5)],
    "loss": [math.nan, "1"], "slope": [0.0, 1.0, math.nan], "t": [0.0, -1.0, math.inf], "c1": [-0.1, 1.0], "c2": [-0.1, 1.0, 1e-5], "trials": [0, 2.5],
    "promise": [math.nan, "1"], "gtol": [0.0, math.inf], "condition": [0.9, math.inf, math.nan], "tilt": [math.inf, math.nan], "sigma": [-0.1, math.inf],
    "penalty": [-0.1, math.nan], "labels": [[0], [0, 0.5], [0, -1], [[0, 1]]], "inputs": [[1.0, 2.0], [[math.nan], [1.0]], [[]]],
    "pairs": [[(G,)], [3], [G]], "curvatures": [[], [math.nan], [[1.0]]], "h": [np.ones(2), np.full((2, 2), math.nan)], "b": [[], [math.nan], np.eye(2)],
    "j": [np.ones((2, 2)), np.ones(3), J * math.inf], "a": [np.eye(3), np.ones((2, 1))], "x0": [[], [math.nan]], "y": [np.ones(3), [math.nan, 1.0]],
    "derivatives": [np.ones((2, 3)), np.full((1, 2, 3), math.nan)],
}


@pytest.mark.parametrize(("call", "name", "value"), [
    (call, name, value) for call, given in PARTS.items() for name in given for value in [*(NEVER if name != "name" else []), *ALSO.get(name, []), *LIMITS.get(name, [])]
    if not (name == "x0" and value is None)
], ids=lambda value: named(value))
def test_every_part_refuses_what_it_cannot_take_by_name(call, name, value):
    call(**PARTS[call])
    with pytest.raises((TypeError, ValueError), match=rf"^{name} must "):
        call(**{**PARTS[call], name: value})


@pytest.mark.parametrize(("call", "says"), [
    (lambda: newton_step(G, np.eye(3)), r"^h must have shape \(..., n, n\) for g of shape \(..., n\), got \(3, 3\) for \(2,\)"),
    (lambda: newton_step(1.0, 2.0), r"^h must have shape"),
    (lambda: positive_shift(np.ones((2, 3))), r"^h must be a symmetric matrix, got one of shape \(2, 3\)"),
    (lambda: positive_shift(np.array([[1.0, 2.0], [0.0, 1.0]])), "^h must be a symmetric matrix, got one that differs by 2 from its transpose"),
    (lambda: trust_region_step(G, np.array([[1.0, 2.0], [0.0, 1.0]]), 1.0), "^h must be a symmetric matrix"),
    (lambda: trust_region_step(G, np.eye(3), 1.0), r"^h must have shape \(2, 2\) for g of shape \(2,\), got \(3, 3\)"),
    (lambda: bfgs_update(np.eye(3), G, G), r"^h must have shape \(2, 2\) for s of shape \(2,\), got \(3, 3\)"),
    (lambda: bfgs_update(H, G, -G), r"^s·y must be positive, got -2.0"),
    (lambda: bfgs_update(H, G, np.array([1.0, -1.0])), r"^s·y must be positive, got 0.0"),
    (lambda: two_loop(G, [(G, G), (G, np.ones(3))], 1.0), r"^pairs must be pairs \(s, y\) of finite vectors of shape \(2,\) as g, got \(array\(\[1., 1.\]\), "),
    (lambda: two_loop(G, [(G, G * math.nan)], 1.0), "^pairs must be pairs"),
    (lambda: gauss_newton_step(np.ones(2), J), r"^j must have a row for each of the 2 residuals, got shape \(3, 2\)"),
    (lambda: fisher(np.ones((1, 2, 3)), np.ones((1, 3))), r"^chances must have shape \(1, 2\) for derivatives of shape \(1, 2, 3\), got \(1, 3\)"),
    (lambda: kronecker_step(np.ones((2, 1)), np.eye(2), np.eye(2)), r"^s must have shape \(1, 1\) for g of shape \(2, 1\), got \(2, 2\)"),
    (lambda: strong_wolfe(SOME, G, -G, 2.0, -4.0, c1=0.5, c2=0.4), r"^c2 must be at least c1 = 0.5, got 0.4"),
    (lambda: hessp_from(lambda x: x)(G, np.ones(3)), r"^v must have the shape \(2,\) of x, got \(3,\)"),
    (lambda: hessp_from(lambda x: x)([1.0, "x"], G), "^x must be a non-empty vector of numbers"),
    (lambda: hessp_from(lambda x: x)(G, None), "^v must be a non-empty vector of numbers"),
    (lambda: logistic_regression([[1.0]], [0, 1]), r"^labels must be 1 whole numbers, 0 or more, got \[0, 1\]"),
    (lambda: Landscape("flat", 2, len, len, len, np.zeros((1, 3))), r"^minima must have shape \(k, 2\), got \(1, 3\)"),
])
def test_shapes_that_do_not_fit_together_are_refused(call, says):
    with pytest.raises(ValueError if "non-empty" not in says else (TypeError, ValueError), match=says):
        call()


def test_the_parts_take_lists_and_batches():
    assert newton_step([2.0, 6.0], [[1.0, 0.0], [0.0, 2.0]]).tolist() == [-2.0, -3.0]
    assert newton_step(np.ones((5, 3, 2)), np.broadcast_to(H, (5, 3, 2, 2))).shape == (5, 3, 2)
    assert trust_region_step(G, H, math.inf)[1] == 0.0 and bfgs_update([[1.0]], [1.0], [2.0]).tolist() == [[0.5]]
    assert two_loop([3], ([1.0], [1.0]) and [(np.ones(1), np.ones(1))], 2).tolist() == [3.0] and conjugate_gradient(lambda d: 2 * d, [4, 0]).x.tolist() == [2.0, 0.0]
    assert hessp_from(lambda x: x)([1, 2], [0, 0]).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("landscape", [bowl(), rosenbrock(), himmelblau(), logistic_regression([[1.0], [2.0]], [0, 1]), noisy(bowl(), 0.1, np.random.default_rng(0))],
                         ids=lambda f: f.name)
@pytest.mark.parametrize("part", ["__call__", "fun", "grad", "hess"])
def test_a_landscape_refuses_what_is_no_point_of_it(landscape, part):
    call = getattr(landscape, part)
    call([1.0, 2.0]), call(np.ones((3, 2), dtype=int)), call(np.ones((0, 2)) if part != "__call__" else np.ones((1, 2)))
    for w in (None, "x", {}, 1j, [1j, 2.0], ["1", "2"], np.array([True, False]), [1.0, 2.0, 3.0], 1.0, [[1.0], [2.0]], [1.0]):
        with pytest.raises((TypeError, ValueError), match=r"^w must (be|have) "):
            call(w)


# Where a changed constant would show

@pytest.mark.parametrize("k", [3, 5, 7])
@pytest.mark.parametrize("minimiser", [bfgs, lbfgs])
def test_what_the_inverse_hessian_promised_is_remembered_where_the_slope_alone_promises_more(minimiser, k):
    a, at = 1e13 * np.array([[2.0, 1 / k], [1 / k, 1.0]]), np.array([1 / 3, 2 / 7])
    b = a @ at + 1.3e-3
    result = minimiser(lambda x: 1 / 3 + (x - at) @ a @ (x - at) / 2, [1.0, 2.0], lambda x: a @ x - b, gtol=1e-30)
    g = a @ result.x - b
    assert g @ g > 1e5 * 2.2e-16 * result.fun  # so much the slope alone would promise
    assert not result.success and result.message == "the line search failed: precision of the loss reached, rounding hides what it could still fall"


def test_the_losses_on_either_side_are_looked_at_a_cube_root_of_rounding_away():
    seen = []
    objective = Objective(lambda x: (seen.append(x), 0.1)[1], lambda x: x)
    x, p = np.array([3.0, -7.0]), np.array([1.0, -2.0])
    cause(objective, x, p, -p, objective.fun(x))
    far = np.finfo(float).eps ** (1 / 3) * 8 * p / 2
    np.testing.assert_allclose(seen[1] - x, far, rtol=1e-6)
    np.testing.assert_allclose(seen[2] - x, -far, rtol=1e-6)


@pytest.mark.parametrize(("bent", "named_wrong"), [(0.09, True), (0.11, False)])
def test_a_ratio_is_told_only_where_the_losses_lie_on_a_straight_line(bent, named_wrong):
    objective = Objective(lambda x: 5 * x[0] + bent * 5 * abs(x[0]) / 2, lambda x: x)
    message = cause(objective, np.zeros(1), -np.ones(1), np.ones(1), 0.0)
    assert ("wrong scale" in message) == named_wrong


@pytest.mark.parametrize(("minimiser", "says"), [("trust region", "no step within the trust region lowers the loss enough"), ("shifted", "the line search found no step")])
def test_at_a_kink_the_first_step_tells_what_was_promised(minimiser, says):
    result = ALL[minimiser](lambda x: 1 + abs(x[0]), [0.0], lambda x: np.ones(1), lambda x: np.eye(1))
    assert result.message.startswith(says) and result.message.endswith("a kink, rounding within the loss, or another loss's gradient")
    squared = levenberg_marquardt(lambda x: 1 + abs(x), [0.0], lambda x: np.eye(1))
    assert squared.message == "no μ makes a step that lowers the loss: the loss is lowest here, though the gradient is not zero: " \
                              "a kink, rounding within the loss, or another loss's gradient"


def test_in_float32_the_slopes_decide_below_64_roundings():
    rounding = np.finfo(np.float32).eps
    objective = Objective(lambda x: float(np.float32(1.1) + np.float32(x[0] ** 2)), lambda x: 2 * x)
    x = np.array([1e-3])
    loss = objective.fun(x)
    assert objective.rounding == rounding
    assert by_slope(objective, x, -x / 2, loss, 2 * x, 60 * rounding * loss) is not None
    assert by_slope(objective, x, -x / 2, loss, 2 * x, 70 * rounding * loss) is None


@pytest.mark.parametrize("seed", range(5))
def test_a_curvature_that_is_rounding_alone_leads_nowhere(seed):
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    h = q * [0.0, 1.0, 3.0] @ q.T
    h = (h + h.T) / 2
    g = h @ np.ones(3)
    p, mu = trust_region_step(g, h, 1e3)
    assert mu == 0.0 and np.linalg.norm(p) < 2
    np.testing.assert_allclose(h @ p, -g, atol=1e-12)


def test_a_trust_region_is_no_smaller_than_squares_can_be():
    p, mu = trust_region_step(np.array([1.0, 1.0]), np.diag([1.0, -1.0]), 1e-100)
    assert np.linalg.norm(p) == pytest.approx(1e-100, rel=1e-6) and mu == pytest.approx(2**0.5 * 1e100)
    for radius in (0.99e-100, 1e-200):
        with pytest.raises(ValueError, match=r"^radius must be a number in \[1e-100, inf\]"):
            trust_region_step(np.array([1.0, 1.0]), np.diag([1.0, -1.0]), radius)
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert not newton(lambda x: x @ x + rng.normal(), [0.0, 0.0], lambda x: 2 * x + rng.normal(size=2), BOWL["hess"], method="trust region").success


def test_newton_with_products_tells_how_well_it_knows_a_curvature():
    refused = newton_cg(lambda x: (x[0] ** 2 - x[1] ** 2) / 2, [0.0, 0.0], lambda x: x * [1.0, -1.0], lambda x, v: v * [1.0, -1.0])
    assert not refused.success and refused.message.endswith("± 1e-10")  # every product is as long as its vector


def test_a_jacobian_at_a_point_whose_residuals_were_not_the_last():
    squares = gauss_newton_module._Squares(lambda x: x - 3, lambda x: np.eye(1))
    assert squares.grad(np.array([1.0])).tolist() == [-2.0]
    squares.loss(np.array([2.0]))
    assert squares.grad(np.array([1.0])).tolist() == [-2.0] and squares.r.tolist() == [-2.0]


@each
def test_a_start_without_slope_costs_one_loss_and_one_gradient_before_the_verdict(minimiser):
    result = minimiser(BOWL["fun"], [0.0, 0.0], BOWL["grad"], BOWL["hess"])
    assert result.success and result.nit == 0 and result.ngev == 1


# Numbers whose squares leave float64


def valley_in(units, scale):
    """Rosenbrock's valley for weights measured in other units, times a number."""
    valley = rosenbrock()
    return (lambda x: scale * float(valley(x / units)), np.array([-1.2, 1.0]) * units, lambda x: scale / units * valley.grad(x / units),
            lambda x: scale / units / units * valley.hess(x / units))


@pytest.mark.parametrize(("units", "scale"), [(1.0, 1e200), (1.0, 1e-200), (1.0, 1e100), (1e150, 1.0), (1.0, 1e300)])
def test_curvatures_and_slopes_of_any_size_lead_to_the_minimum(units, scale):
    fun, start, grad, hess = valley_in(units, scale)
    for found in (newton(fun, start, grad, hess, method="trust region", gtol=1e-6 * scale / units),
                  newton_cg(fun, start, grad, lambda x, v: hess(x) @ v, gtol=1e-6 * scale / units)):
        assert found.success, found.message
        np.testing.assert_allclose(found.x / units, 1.0, atol=1e-4)


@pytest.mark.parametrize("scale", [1e200, 1e-200])
@pytest.mark.parametrize("solver", [bfgs, lbfgs])
def test_where_squares_of_slopes_leave_float64_the_curvature_is_not_learnt_and_it_ends_at_once(solver, scale):
    fun, start, grad, _ = valley_in(1.0, scale)
    found = solver(fun, start, grad, gtol=1e-6 * scale)
    assert found.nfev == 1 and not found.success and "the square of the gradient leaves float64" in found.message


@pytest.mark.parametrize("start", [300.0, 354.0, 1e5])
@pytest.mark.parametrize("method", ["shifted", "trust region", "line search"])
def test_where_the_curvature_fades_out_a_step_is_cut_to_where_the_loss_still_tells(method, start):
    def hess(x):
        return np.diag(4 * np.exp(-2 * np.abs(x)) / (1 + np.exp(-2 * np.abs(x))) ** 2)

    found = newton(lambda x: float(np.logaddexp(x, -x).sum()), [start], np.tanh, hess, method=method)
    assert found.success or "Hessian is singular" in found.message
    beyond = newton(lambda x: float(np.logaddexp(x, -x).sum()), [370.0], np.tanh, hess, method=method)
    assert beyond.message == "the step leaves float64: the curvature is too small beside the gradient"


@pytest.mark.parametrize(("g", "h", "radius"), [
    ([1e-300, 0.0], [-1.0, -1.0], 1.0), ([1e300, 0.0], [1.0, 1.0], 1.0), ([1.0, 2.0], [1.0, -1.0], 1e200), ([1.0, 0.0], [1.0, -1.0], 1e200),
    ([1.0, 1.0], [1e-300, -1e-300], 5.0), ([1e200, 1.0], [1e-200, -1e-200], 5.0), ([1.0, 2.0], [1e20, -1e20], 1e-100),
])
def test_the_trust_regions_step_is_as_long_as_the_radius_whatever_its_size(g, h, radius):
    p, mu = trust_region_step(np.array(g), np.diag(h), radius)
    assert np.linalg.norm(p / radius) == pytest.approx(1, abs=1e-9) and mu >= max(0.0, -min(h))


def test_an_infinite_radius_wants_a_lowest_point():
    assert trust_region_step(np.ones(2), np.eye(2), np.inf)[0].tolist() == [-1.0, -1.0]
    for lowest in (0.0, -1.0):
        with pytest.raises(ValueError, match=r"radius must be finite where g·p \+ ½ p·Hp has no lowest point, got inf"):
            trust_region_step(np.ones(2), np.diag([1.0, lowest]), np.inf)


@pytest.mark.parametrize("scale", [1e200, 1e-200, 5e-324])
def test_conjugate_gradients_and_products_take_vectors_of_any_size(scale):
    a = np.array([[4.0, 1.0], [1.0, 3.0]])
    found = conjugate_gradient(lambda d: a @ d, np.array([4.0, 4.0]) * scale)
    if scale > 1e-300:
        np.testing.assert_allclose(a @ found.x, np.array([4.0, 4.0]) * scale)
        assert found.residuals[-1] < 1e-10 * found.residuals[0]
        np.testing.assert_allclose(hessp_from(lambda x: x**2)(np.ones(2), scale * np.ones(2)), 2 * scale, rtol=1e-6)
    else:
        assert found.x.any()


@pytest.mark.parametrize("solve", [lambda *args: newton(*args, lambda x: 2 * np.eye(2)), lambda *args: newton_cg(*args, lambda x, v: 2 * v)])
def test_a_gradient_that_is_zero_at_the_start_is_not_believed_unseen(solve):
    assert "the loss is lower" in solve(lambda x: x @ x, [1.0, 2.0], lambda x: 0 * x).message
    assert solve(lambda x: x @ x, [0.0, 0.0], lambda x: 2 * x).success


def test_a_loss_that_no_float_holds_is_refused():
    for loss, error, message in ((10**400, ValueError, "fun must return a number within float64, got 1000"),
                                 (np.ma.masked_array(1.0, mask=True), TypeError, "fun must return one real number, got masked_array")):
        with pytest.raises(error, match=message):
            lbfgs(lambda x, loss=loss: loss, [1.0], lambda x: 2 * x)


def test_a_dead_layer_has_a_damped_step_and_no_layer_a_negative_moment():
    g, zero, one = np.ones((2, 1)), np.zeros((2, 2)), np.ones((1, 1))
    assert kronecker_step(g, zero, np.zeros((1, 1)), 0.01).ravel() == pytest.approx([-100.0, -100.0])
    assert np.isfinite(kronecker_step(g, zero, one, 0.01)).all()
    with pytest.raises(ValueError, match="a must be a second moment, whose diagonal is not negative, got"):
        kronecker_step(g, -np.eye(2), one, 0.01)


def test_pairs_whose_product_vanishes_or_overflows_are_refused_and_lists_are_vectors():
    assert two_loop([1.0, 1.0], [([1, 0], [4, 2])], 1.0).tolist() == [0.0, 0.5]
    with pytest.raises(ValueError, match=r"pairs must be pairs \(s, y\) with s·y not 0, got"):
        two_loop(np.ones(2), [(np.array([1.0, 0.0]), np.array([0.0, 1.0]))], 1.0)
    for size in (1e-160, 1e200):
        with pytest.raises(ValueError, match="s and y must have squares within float64, got"):
            bfgs_update(np.eye(2), size * np.ones(2), size * np.ones(2))


def test_a_memory_without_bound_takes_no_more_room_than_the_steps():
    assert lbfgs(lambda x: x @ x, [1.0, 2.0], lambda x: 2 * x, memory=10**12, maxiter=50).success


def test_minimisers_end_where_their_signatures_say():
    """One default for all: what a figure's or a page's count of steps rests on."""
    for minimiser, most in ((newton, 1000), (newton_cg, 1000), (gauss_newton, 1000), (levenberg_marquardt, 1000), (bfgs, 15_000), (lbfgs, 15_000)):
        defaults = {name: given.default for name, given in inspect.signature(minimiser).parameters.items()}
        assert (defaults["gtol"], defaults["maxiter"]) == (1e-6, most), minimiser.__name__
