"""The objective that counts, and the two searches: what they promise, and what they survive."""

import math

import numpy as np
import pytest

from reference_impl import rosenbrock
from reference_impl.optimization.landscapes import beale, himmelblau
from reference_impl.optimization.line_search import Objective, Result, _between, _Trial, backtracking, strong_wolfe

ONE = np.ones(1)


def line(phi, slope):
    """A loss of one weight, to be searched from 0 along +1."""
    return Objective(lambda x: phi(float(x[0])), lambda x: np.array([slope(float(x[0]))]))


def search(phi, slope, **options):
    return strong_wolfe(line(phi, slope), np.zeros(1), ONE, phi(0.0), slope(0.0), **options)


# Objective

def test_evaluations_are_counted_and_gradients_are_new_arrays_of_floats():
    kept = np.array([1, 2])
    objective = Objective(lambda x: np.float32(3), lambda x: kept)
    x = np.zeros(2)
    assert isinstance(objective.fun(x), float) and objective.fun(x) == 3.0
    first = objective.grad(x)
    kept[:] = 7
    assert first.tolist() == [1.0, 2.0] and first.dtype == float
    assert (objective.nfev, objective.ngev) == (2, 1)


def test_the_point_cannot_be_spoiled_nor_the_gradient_shared():
    def spoil(x):
        x[:] = np.nan
        return 1.0

    def its_own_argument(x):
        x *= 2
        return x

    x = np.array([1.0, 2.0])
    objective = Objective(spoil, its_own_argument)
    objective.fun(x)
    assert objective.grad(x).tolist() == [2.0, 4.0] and x.tolist() == [1.0, 2.0]


def test_loss_and_gradient_at_once_count_for_both_and_are_computed_once_a_point():
    calls = []

    def both(x):
        calls.append(x.copy())
        return x @ x, 2 * x

    objective = Objective(both, True)
    x = np.array([1.0, 2.0])
    assert objective.fun(x) == 5.0
    one, two = objective.grad(x), objective.grad(x.copy())
    one[:] = 0
    assert two.tolist() == [2.0, 4.0] and len(calls) == 1
    x[0] = 3.0  # the same array, another point
    assert objective.grad(x).tolist() == [6.0, 4.0]
    assert (objective.nfev, objective.ngev, len(calls)) == (2, 2, 2)


@pytest.mark.parametrize(("fun", "grad", "error", "says"), [
    (None, lambda x: x, TypeError, "fun must be a function of x, got None"),
    (lambda x: 0.0, None, TypeError, "grad must be a function of x, or True where fun returns loss and gradient, got None"),
    (lambda x: 0.0, False, TypeError, "grad must be a function of x, or True"),
    (lambda x: x, lambda x: x, TypeError, r"fun must return one real number, got array"),
    (lambda x: np.ones(1), lambda x: x, TypeError, r"fun must return one real number, got array"),
    (lambda x: 1j, lambda x: x, TypeError, "fun must return one real number, got 1j"),
    (lambda x: np.complex128(1), lambda x: x, TypeError, "fun must return one real number"),
    (lambda x: "1", lambda x: x, TypeError, "fun must return one real number, got '1'"),
    (lambda x: None, lambda x: x, TypeError, "fun must return one real number, got None"),
    (lambda x: 0.0, lambda x: x[:1], ValueError, r"grad must return shape \(2,\), got \(1,\)"),
    (lambda x: 0.0, lambda x: x[None], ValueError, r"grad must return shape \(2,\), got \(1, 2\)"),
    (lambda x: 0.0, lambda x: 0.0, ValueError, r"grad must return shape \(2,\), got \(\)"),
    (lambda x: 0.0, lambda x: 1j * x, TypeError, "grad must return real numbers, got complex128"),
    (lambda x: 0.0, lambda x: np.array(["a", "b"]), TypeError, "grad must return real numbers, got <U1"),
    (lambda x: 0.0, True, TypeError, r"fun must return \(loss, gradient\) when grad is True, got float"),
    (lambda x: (0.0, x, x), True, TypeError, r"fun must return \(loss, gradient\) when grad is True, got tuple"),
    (lambda x: (0.0, x[:1]), True, ValueError, r"grad must return shape \(2,\), got \(1,\)"),
])
def test_what_is_refused(fun, grad, error, says):
    with pytest.raises(error, match=says):
        objective = Objective(fun, grad)
        objective.fun(np.zeros(2))
        objective.grad(np.zeros(2))


def test_lists_and_python_numbers_will_do():
    objective = Objective(lambda x: True, lambda x: [1, 2])
    assert objective.fun(np.zeros(2)) == 1.0 and objective.grad(np.zeros(2)).tolist() == [1.0, 2.0]


def test_a_result_prints_the_verdict_first_and_is_frozen():
    result = Result(np.arange(100.0), 1.0, 2, 3, 4, True, "done", 5)
    assert str(result).splitlines() == ["converged: done", "x [ 0.  1.  2. ... 97. 98. 99.], fun 1, nit 2, nfev 3, ngev 4, nhev 5"]
    with pytest.raises(AttributeError):
        result.fun = 0.0


# Backtracking

@pytest.mark.parametrize("far", [1.0, 3.7, 1e3, 1e9])
def test_backtracking_takes_the_first_half_that_satisfies_armijo(far):
    objective = Objective(lambda x: float(x @ x), lambda x: 2 * x)
    t, after = backtracking(objective, ONE, -far * ONE, 1.0, -2 * far)
    assert after == (1 - t * far) ** 2 <= 1 - 1e-4 * t * 2 * far
    assert t == 1 or (1 - 2 * t * far) ** 2 > 1 - 1e-4 * 2 * t * 2 * far


def test_backtracking_leaves_a_wall_and_gives_up_uphill():
    wall = Objective(lambda x: -math.log(x[0]) + x[0] if x[0] > 0 else math.nan, lambda x: x)
    t, after = backtracking(wall, np.array([2.0]), np.array([-8.0]), 2 - math.log(2), -4.0)
    assert 2 - 8 * t > 0 and after < 2 - math.log(2)
    uphill = line(lambda t: t, lambda t: 1.0)
    assert backtracking(uphill, np.zeros(1), ONE, 0.0, -1.0, trials=7) is None and uphill.nfev == 7


# Strong Wolfe

CURVES = {
    "parabola": (lambda t: (t - 1) ** 2, lambda t: 2 * (t - 1)),
    "far": (lambda t: (t - 3000) ** 2, lambda t: 2 * (t - 3000)),
    "near": (lambda t: (t - 1e-6) ** 2, lambda t: 2 * (t - 1e-6)),
    "Moré-Thuente 1": (lambda t: -t / (t**2 + 2), lambda t: (t**2 - 2) / (t**2 + 2) ** 2),
    "Moré-Thuente 2": (lambda t: (t + 0.05) ** 5 - 2 * (t + 0.05) ** 4, lambda t: 5 * (t + 0.05) ** 4 - 8 * (t + 0.05) ** 3),
    "quartic": (lambda t: (t - 1) ** 4, lambda t: 4 * (t - 1) ** 3),
    "waves": (lambda t: 0.1 * (t - 20) ** 2 + 3 * math.sin(t), lambda t: 0.2 * (t - 20) + 3 * math.cos(t)),
    "barrier": (lambda t: -math.log(2 - t) - 3 * t if t < 2 else math.inf, lambda t: 1 / (2 - t) - 3),
    "double well": (lambda t: ((t - 2) ** 2 - 1) ** 2 - t, lambda t: 4 * (t - 2) * ((t - 2) ** 2 - 1) - 1),
}


@pytest.mark.parametrize("t", [1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("c2", [0.1, 0.9])
@pytest.mark.parametrize("name", CURVES)
def test_both_conditions_hold_from_any_first_step(name, c2, t):
    phi, slope = CURVES[name]
    step = search(phi, slope, t=t, c2=c2)
    assert step.loss == phi(step.t) <= phi(0) + 1e-4 * step.t * slope(0)
    assert abs(slope(step.t)) <= c2 * abs(slope(0)) and step.slope == slope(step.t) == step.grad[0]


@pytest.mark.parametrize("f", [rosenbrock(), rosenbrock(9), beale(), himmelblau()], ids=lambda f: f"{f.name} {f.n}")
def test_both_conditions_hold_along_random_directions_and_the_pair_curves_up(f):
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, p = rng.uniform(-2, 2, f.n), rng.standard_normal(f.n) * 10 ** rng.uniform(-4, 2)
        g = f.grad(x)
        p = -np.sign(g @ p) * p
        objective = Objective(f.fun, f.grad)
        step = strong_wolfe(objective, x, p, float(f(x)), float(g @ p))
        if step is None or step.t > 1e20:
            continue  # a line along which Beale's function falls for ever
        assert step.loss <= f(x) + 1e-4 * step.t * (g @ p) and abs(step.grad @ p) <= -0.9 * (g @ p)
        assert (step.grad - g) @ (step.x - x) >= 0.1 * step.t * -(g @ p) * (1 - 1e-9) > 0
        assert objective.ngev <= objective.nfev <= 20


def test_a_good_first_step_costs_one_evaluation_and_a_bad_one_few():
    for t, most in ((1.0, 1), (1.05, 1), (30.0, 4), (0.01, 7)):
        objective = line(*CURVES["parabola"])
        strong_wolfe(objective, np.zeros(1), ONE, 1.0, -2.0, t=t, c2=0.1)
        assert objective.nfev <= most


@pytest.mark.parametrize("beyond", [math.nan, math.inf])
def test_beyond_a_wall_steps_get_shorter(beyond):
    step = search(lambda t: (t - 1) ** 2 if t < 1.5 else beyond, lambda t: 2 * (t - 1) if t < 1.5 else math.nan, t=1e5)
    assert 0 < step.t < 1.5 and abs(step.slope) <= 1.8


def test_a_gradient_that_is_no_number_makes_the_step_shorter_too():
    step = search(lambda t: -t if t < 8 else 0.0, lambda t: -1.0 + 0.2 * t if t < 3 else math.nan, t=5.0)
    assert 0 < step.t < 3 and step.slope == -1 + 0.2 * step.t


def test_uphill_there_is_no_step():
    assert search(lambda t: t, lambda t: -1.0) is None  # the gradient has the wrong sign
    assert search(lambda t: 0.0, lambda t: -1.0) is None  # a plateau that the gradient denies
    assert search(lambda t: math.nan if t else 0.0, lambda t: -1.0) is None


def test_at_a_kink_the_lowest_point_comes_back_though_no_slope_is_flat():
    step = search(lambda t: max(0.7 - t, 2 * (t - 0.7)), lambda t: -1.0 if t < 0.7 else 2.0)
    assert step.t == pytest.approx(0.7, abs=1e-12) and step.slope in (-1.0, 2.0)


def test_a_loss_that_falls_for_ever_returns_from_astronomically_far():
    assert search(lambda t: -t, lambda t: -1.0).t > 1e25
    assert search(lambda t: -math.inf if t > 3 else -t, lambda t: -1.0).loss == -math.inf


def test_where_rounding_hides_the_fall_the_slopes_decide():
    step = search(lambda t: 1e9 + 1e-9 * (t - 1) ** 2, lambda t: 2e-9 * (t - 1), t=5.0, c2=0.5)
    assert step is None or abs(step.slope) <= 1e-9
    step = search(lambda t: 1e9, lambda t: 2e-9 * (t - 1), t=1.2, c2=0.5)
    assert step.t == 1.2


@pytest.mark.parametrize("best", [0.35, 0.5, 0.62])
@pytest.mark.parametrize("cubic", [-0.4, 0, 0.3])
def test_between_two_ends_the_cubic_and_the_parabola_are_met_where_they_are_lowest(best, cubic):
    def loss(t):
        return (t - best) ** 2 + cubic * (t - best) ** 3 + 7

    def slope(t):
        return 2 * (t - best) + 3 * cubic * (t - best) ** 2

    assert _between(_Trial(0.0, loss(0), slope(0)), _Trial(1.0, loss(1), slope(1))) == pytest.approx(best, abs=1e-12)
    assert _between(_Trial(1.0, loss(1), slope(1)), _Trial(0.0, loss(0), slope(0))) == pytest.approx(best, abs=1e-12)
    assert _between(_Trial(0.0, best**2, -2 * best), _Trial(1.0, (1 - best) ** 2)) == pytest.approx(best, abs=1e-12)
