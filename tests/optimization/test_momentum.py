"""Momentum: equal to its peers, and what the chapter proves about it."""

import json
from pathlib import Path

import numpy as np
import pytest
from peers import our_path, recorded, torch_path

from reference_impl import SGD, Adam, Momentum, Nesterov, bowl, double_well, minimize, quadratic, taco_shell
from reference_impl.engines import blocked
from reference_impl.optimization.momentum import (
    best_tuning,
    convergence_rate,
    critical_rho,
    energy,
    expected_loss,
    from_physics,
    iteration_matrix,
    momentum,
    momentum_lr_inside,
    stationary_variance,
    worst_valley,
)

CONFORMANCE = json.loads((Path(__file__).parents[1] / "conformance" / "cs231n_optim.json").read_text())


@pytest.mark.parametrize("lr_inside", [False, True])
def test_the_path_is_torchs_as_recorded(lr_inside):
    path = our_path(Momentum(lr=0.02, rho=0.9, lr_inside=lr_inside))
    for step, w in recorded["momentum"].items():
        np.testing.assert_allclose(path[int(step)], w, rtol=0, atol=1e-12)


@pytest.mark.peers
def test_the_path_is_torchs():
    theirs = torch_path(lambda torch, p: torch.optim.SGD(p, lr=0.02, momentum=0.9))
    np.testing.assert_allclose(our_path(Momentum(lr=0.02, rho=0.9)), theirs, rtol=0, atol=1e-12)


def test_one_step_is_cs231ns():
    case = CONFORMANCE["sgd_momentum"]
    w, dw, v = (np.linspace(*case[name]["linspace"], case[name]["num"]).reshape(case[name]["shape"]) for name in ("w", "dw", "velocity"))
    optimizer = Momentum(lr=case["learning_rate"], rho=case["momentum"], lr_inside=True)
    optimizer.load_state_dict({"rule": "momentum_lr_inside", "steps": 1, "v/w": v})
    optimizer.update({"w": w}, {"w": dw})
    for got, expected in ((w, case["next_w"]), (optimizer.state["v"]["w"], case["next_velocity"])):
        expected = np.array(expected)
        assert (np.abs(got - expected) / np.maximum(1e-8, np.abs(got) + np.abs(expected))).max() < case["tol"]


def test_rho_zero_is_gradient_descent():
    np.testing.assert_array_equal(our_path(Momentum(lr=0.02, rho=0)), our_path(SGD(lr=0.02)))


def test_the_two_conventions_are_one_path_while_lr_is_constant_and_part_when_it_changes():
    outside, inside = (our_path(Momentum(lr=0.02, rho=0.9, lr_inside=where)) for where in (False, True))
    np.testing.assert_allclose(outside, inside, rtol=0, atol=1e-13)
    outside, inside = (our_path(Momentum(lr=lambda step: 0.02 if step < 50 else 0.002, rho=0.9, lr_inside=where)) for where in (False, True))
    np.testing.assert_allclose(outside[:51], inside[:51], rtol=0, atol=1e-13)
    assert np.abs(outside[52] - inside[52]).max() > 1e-4


def test_after_a_drop_the_inner_form_loses_its_excess_by_rho_a_step():
    w, v = 0.0, 0.0
    for step in range(300):
        w, v = momentum_lr_inside(w, 1.0, v, lr=0.1 if step < 200 else 0.01, rho=0.9)
        if step >= 200:
            assert -v - 0.1 == pytest.approx(0.9 * 0.9 ** (step - 199), abs=1e-8)  # 0.1 is the new length, 1 the old


def test_the_matrix_is_the_rule():
    matrix = np.array(iteration_matrix(3.0, 0.1, 0.8))
    w, v = 0.7, -0.4
    np.testing.assert_allclose(matrix @ [w, v], momentum(w, 3.0 * w, v, lr=0.1, rho=0.8))
    inside = np.array(iteration_matrix(3.0, 0.1, 0.8, rule=momentum_lr_inside))
    np.testing.assert_allclose(np.sort_complex(np.linalg.eigvals(inside)), np.sort_complex(np.linalg.eigvals(matrix)))


def test_the_rate_is_the_largest_eigenvalue_of_the_matrices_for_numbers_and_for_arrays():
    rng = np.random.default_rng(2)
    lrs, rhos = rng.uniform([0.01, 0.0], [2.0, 1.2], (200, 2)).T
    rates = convergence_rate(lrs, rhos, [1.0, 3.0])
    for lr, rho, rate in zip(lrs, rhos, rates):
        largest = max(np.abs(np.linalg.eigvals(iteration_matrix(curvature, lr, rho))).max() for curvature in (1.0, 3.0))
        assert rate == convergence_rate(lr, rho, [1.0, 3.0]) == pytest.approx(largest, abs=1e-6)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9, 0.99])
def test_the_edge_of_stability(rho):
    edge = 2 + 2 * rho
    assert convergence_rate(edge * (1 - 1e-6), rho, [1.0]) < 1 < convergence_rate(edge * (1 + 1e-6), rho, [1.0])


def test_the_modulus_is_root_rho_when_the_ball_swings():
    rng = np.random.default_rng(0)
    for lr, rho in rng.uniform([0.01, 0.0], [3.9, 1.0], (200, 2)):
        if (1 - lr**0.5) ** 2 < rho * (1 - 1e-9):
            assert convergence_rate(lr, rho, [1.0]) == pytest.approx(rho**0.5, rel=1e-6)
        else:
            assert convergence_rate(lr, rho, [1.0]) > rho**0.5


def test_critical_damping_is_fastest():
    for lr in (0.01, 0.3, 1.7):
        at = critical_rho(lr, 2.0)
        rates = [convergence_rate(lr, rho, [2.0]) for rho in (at, at + 1e-3, at - 1e-3)]
        assert rates[0] == min(rates)


@pytest.mark.parametrize("kappa", [1.0, 2.0, 10.0, 1e4])
def test_the_best_tuning_is_best_of_all(kappa):
    curvatures = [1.0, kappa]
    lr, rho = best_tuning(curvatures)
    rate = convergence_rate(lr, rho, curvatures)
    assert rate == pytest.approx((kappa**0.5 - 1) / (kappa**0.5 + 1), abs=1e-6)  # a double root: rounding enters as its square root
    rng = np.random.default_rng(1)
    for stretch, other in zip(rng.uniform(0.5, 1.5, 300), rng.uniform(0, 1, 300)):
        assert convergence_rate(lr * stretch, other, curvatures) > rate - 1e-6


def test_a_ball_with_mass_and_friction_is_momentum():
    mass, friction, h = 2.0, 0.7, 0.05
    lr, rho = from_physics(mass, friction, h)
    path, _ = minimize(bowl(1), [1.0], Momentum(lr=lr, rho=rho), 400)
    time = h * np.arange(401)  # the exact solution of m x'' = -x - c x', at rest at 1
    a = friction / (2 * mass)
    swing = np.sqrt(1 / mass - a**2)
    exact = np.exp(-a * time) * (np.cos(swing * time) + a / swing * np.sin(swing * time))
    assert np.abs(path[:, 0] - exact).max() < 0.03


def test_momentum_beats_descent_in_a_direction_just_where_descents_factor_exceeds_root_rho():
    rng = np.random.default_rng(0)
    for product, rho in rng.uniform([0.0, 0.0], [5.0, 1.0], (2000, 2)):
        descent = abs(1 - product)
        if abs(descent - rho**0.5) > 1e-4:
            assert (convergence_rate(product, rho, [1.0]) < descent) == (descent > rho**0.5)


def test_a_zigzag_is_damped_sooner_by_momentum_only_if_it_is_wide_enough():
    def calm(product, rho):
        path, _ = minimize(bowl(1), [1.0], Momentum(lr=product, rho=rho), 2000)
        return np.flatnonzero(np.abs(path[:, 0]) > 1e-3)[-1]

    for product in (1.2, 1.5, 1.8, 1.9):
        assert calm(product, 0.9) > 1.9 * calm(product, 0)
    assert calm(1.98, 0.9) < calm(1.98, 0) / 2
    assert calm(1.5, 0.5) > calm(1.5, 0) and calm(1.8, 0.5) < calm(1.8, 0)  # 1 + √½ lies between
    assert convergence_rate(1.5, 0.9, [1.0]) > convergence_rate(1.5, 0, [1.0])  # across
    for kappa, wins in ((10, False), (50, True)):  # the whole valley, by its floor
        with_momentum, without = (convergence_rate(1.5 / kappa, rho, [1.0, kappa]) for rho in (0.9, 0.0))
        assert (with_momentum < without) == wins


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.99])
def test_equal_slopes_that_alternate_leave_more_than_half(rho):
    v = 0.0
    for step in range(4000):
        _, v = momentum(0.0, (-1.0) ** step, v, lr=1.0, rho=rho)
    assert abs(v) == pytest.approx(1 / (1 + rho)) and abs(v) > 0.5


def test_the_best_settings_zigzag_to_the_end_and_first_swing_wider():
    lr, rho = best_tuning([1, 50])
    path, losses = minimize(taco_shell(50), [10, 1], Momentum(lr=lr, rho=rho), 40)
    assert (path[1:, 1] * path[:-1, 1] < 0).all()
    assert losses.max() > 2.5 * losses[0]


@pytest.mark.parametrize(("kappa", "swings_out"), [(5.8, False), (5.9, True), (100, True)])
def test_the_best_settings_swing_out_first_only_in_a_bad_valley(kappa, swings_out):
    lr, rho = best_tuning([1, kappa])
    path, _ = minimize(quadratic([1, kappa]), [0, 1], Momentum(lr=lr, rho=rho), 100)
    assert (np.abs(path[1:, 1]).max() > 1) == swings_out


@pytest.mark.parametrize(("kappa", "long"), [(3.9, False), (4.1, True)])
def test_the_best_settings_take_long_steps_from_condition_number_four(kappa, long):
    lr, rho = best_tuning([1, kappa])
    assert (lr * kappa > 2 * (1 - rho)) == long


def test_a_ball_from_below_the_bump_needs_long_steps_to_get_out():
    wells, start, bump = double_well(-0.1), [-1.3], [-0.1010]
    assert wells(start) < wells(bump)
    for rho in (0.5, 0.9, 0.99):
        short = Momentum(lr=2 * (1 - rho) / 4.07, rho=rho)  # no curvature above 4.07 where the energy lets it go
        assert minimize(wells, start, short, 3000).path.max() < bump[0]
    assert minimize(wells, start, Momentum(lr=0.4, rho=0.95), 3000).path[-1] == pytest.approx(1.05, abs=0.01)


def test_a_ball_can_leave_the_better_valley_too():
    path, _ = minimize(double_well(-0.1), [1.8], Momentum(lr=0.01, rho=0.96), 3000)
    assert path[-1] == pytest.approx(-0.946, abs=0.001)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, 0.99])
def test_energy_never_grows_where_the_step_is_short_enough(rho):
    wells = double_well(-0.1)
    lr = 2 * (1 - rho) / 12  # no curvature above 12 for |w| <= 2.08
    path, losses = minimize(wells, [-2.0], Momentum(lr=lr, rho=rho), 500)
    assert np.abs(path).max() <= 2.08
    assert np.diff(energy(losses, path, lr, rho)).max() <= 1e-12


@pytest.mark.parametrize(("lr", "rho", "curvature"), [(0.1, 0.0, 1.0), (0.1, 0.9, 1.0), (0.5, 0.5, 3.0), (1.9, 0.9, 1.0)])
def test_the_stationary_variance_against_simulation(lr, rho, curvature):
    rng, chains = np.random.default_rng(0), 20_000
    w, v = np.zeros((2, chains))
    for _ in range(400):
        arrays = [w, curvature * w + rng.standard_normal(chains), v]
        blocked.step(momentum, arrays, {"lr": lr, "rho": rho})
    assert w.var() == pytest.approx(stationary_variance(lr, rho, curvature, 1.0), rel=5 * np.sqrt(2 / chains))


def test_the_stationary_variance_ends_where_stability_does():
    with pytest.raises(ValueError, match=r"lr \* curvature must lie in \(0, 3.8\) for rho = 0.9, got 3.9"):
        stationary_variance(3.9, 0.9, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"rho must lie in \[0, 1\), got 1"):
        stationary_variance(0.1, 1.0, 1.0, 1.0)


def test_the_stationary_variance_of_many_settings_is_that_of_each():
    lrs, rhos = np.array([0.01, 0.1, 1.0]), np.array([[0.0], [0.9]])
    table = stationary_variance(lrs, rhos, 1.5, 0.3)
    assert [[stationary_variance(lr, rho, 1.5, 0.3) for lr in lrs] for rho in (0.0, 0.9)] == table.tolist()
    with pytest.raises(ValueError, match=r"in \(0, 2\) for rho = 0, got 2\.25"):
        stationary_variance(1.5 * lrs, rhos, 1.5, 0.3)


def test_the_cloud_is_as_wide_at_a_small_pace_narrower_at_a_large_one_and_wider_at_the_same_rate():
    def widened(lr, without):
        return stationary_variance(lr, 0.9, 1.0, 1.0) / stationary_variance(without, 0.0, 1.0, 1.0)

    assert 0.95 < widened(0.01, 0.1) < 1 and widened(0.1, 1.0) < 0.6 and widened(0.1, 0.1) > 9


def test_iterations_grow_with_the_root_of_the_condition_number():
    def steps(kappa):
        lr, rho = best_tuning([1, kappa])
        path, _ = minimize(quadratic([1, kappa]), [1, 1], Momentum(lr=lr, rho=rho), int(40 * kappa**0.5))
        away = np.linalg.norm(path, axis=1)
        return np.flatnonzero(away > 1e-6 * away[0])[-1] + 1

    assert steps(10_000) / steps(100) == pytest.approx(10, rel=0.2)


@pytest.mark.parametrize(("lr", "rho", "curvature"), [(0.1, 0.0, 1.0), (0.01, 0.9, 1.0), (0.5, 0.5, 3.0)])
def test_consecutive_steps_in_the_cloud_correlate_by_rho_less_half_the_product(lr, rho, curvature):
    rng = np.random.default_rng(1)
    w, v = np.zeros((2, 200))
    path = np.empty((4000, 200))
    for step in range(4000):
        w, v = momentum(w, curvature * w + rng.standard_normal(200), v, lr=lr, rho=rho)
        path[step] = w
    steps = np.diff(path[500:], axis=0)
    assert np.corrcoef(steps[1:].ravel(), steps[:-1].ravel())[0, 1] == pytest.approx(rho - lr * curvature / 2, abs=0.01)


def test_the_expected_loss_is_the_mean_of_runs_and_ends_at_the_stationary_variance():
    curvatures, steps, balls = np.array([1.0, 20.0]), 300, 4000
    lr, rho = np.linspace(0.06, 0.01, steps), np.linspace(0.5, 0.8, steps)
    parts = expected_loss(lr, rho, curvatures, [3.0, -1.0], 0.7)
    rng = np.random.default_rng(0)
    w, v = np.tile([3.0, -1.0], (balls, 1)), np.zeros((balls, 2))
    for step in range(steps):
        w, v = momentum(w, curvatures * w + 0.7 * rng.standard_normal((balls, 2)), v, lr=lr[step], rho=rho[step])
        if step in (5, 50, steps - 1):
            losses = w**2 @ curvatures / 2
            assert parts.from_start[step + 1] + parts.from_noise[step + 1] == pytest.approx(losses.mean(), abs=5 * losses.std() / np.sqrt(balls))
    at_rest = expected_loss(np.full(2000, 0.05), 0.6, curvatures, [0.0, 0.0], 0.7)
    stationary = sum(c / 2 * stationary_variance(0.05, 0.6, c, 0.7) for c in curvatures)
    assert at_rest.from_noise[-1] == pytest.approx(stationary) and not at_rest.from_start.any()


def test_the_expected_loss_takes_runs_side_by_side():
    lrs = np.array([0.01, 0.03])
    both = expected_loss(np.full((50, 2), lrs), 0.9, [1.0, 9.0], [1.0, 1.0], 0.1)
    for column, lr in enumerate(lrs):
        one = expected_loss(np.full(50, lr), 0.9, [1.0, 9.0], [1.0, 1.0], 0.1)
        np.testing.assert_allclose(both.from_start[:, column], one.from_start)
        np.testing.assert_allclose(both.from_noise[:, column], one.from_noise)
    with pytest.raises(ValueError, match=r"lr and rho must hold a value for each step, got 0\.1 and 0\.9"):
        expected_loss(0.1, 0.9, [1.0], [1.0], 0.0)


@pytest.mark.parametrize(("kappa", "steps"), [(4.0, 18), (100.0, 60)])
def test_on_the_worst_valley_momentum_is_on_the_floor_at_every_step_and_no_method_below(kappa, steps):
    valley = worst_valley(kappa, 400)
    curvatures = np.linalg.eigvalsh(valley.hess(np.zeros(400)))
    assert curvatures[0] >= 1 and curvatures[-1] <= kappa
    q = (kappa**0.5 - 1) / (kappa**0.5 + 1)
    np.testing.assert_allclose(valley.minima[0, :40], q ** np.arange(1, 41), rtol=1e-9, atol=1e-12)
    floor = q ** np.arange(steps + 1)

    def left(optimizer):
        away = np.linalg.norm(minimize(valley, np.zeros(400), optimizer, steps).path - valley.minima, axis=1)
        return away / away[0]

    lr, rho = best_tuning([1, kappa])
    np.testing.assert_allclose(left(Momentum(lr=lr, rho=rho)), floor, rtol=1e-6)
    for other in (SGD(lr=2 / (1 + kappa)), Nesterov(lr=1 / kappa, rho=q), Momentum(lr=lr, rho=0.9 * rho), Momentum(lr=0.9 * lr, rho=rho), Adam(lr=0.1)):
        assert (left(other) > floor * (1 - 1e-9)).all() and left(other)[-1] > 2 * floor[-1]


def test_the_worst_valley_refuses_what_is_none():
    with pytest.raises(ValueError, match=r"condition must be a number in \(1, inf\), got 1"):
        worst_valley(1, 5)
    with pytest.raises(ValueError, match="n must be a whole number from 1 up, got 0"):
        worst_valley(4.0, 0)
    valley = worst_valley(4.0, 6)
    w = np.linspace(-1, 1, 6)
    bumped = [(valley(w + 1e-6 * e) - valley(w - 1e-6 * e)) / 2e-6 for e in np.eye(6)]
    np.testing.assert_allclose(valley.grad(w), bumped, atol=1e-8)
    np.testing.assert_allclose(valley.grad(valley.minima[0]), 0, atol=1e-12)


@pytest.mark.parametrize("h", [0.2, 0.05])
def test_half_the_time_step_leaves_half_the_gap_to_the_real_ball(h):
    def gap(h, mass=1.0, friction=0.5):
        lr, rho = from_physics(mass, friction, h)
        path, _ = minimize(bowl(1), [1.0], Momentum(lr=lr, rho=rho), round(20 / h))
        time, fade = h * np.arange(len(path)), friction / (2 * mass)
        swing = np.sqrt(1 / mass - fade**2)
        return np.abs(path[:, 0] - np.exp(-fade * time) * (np.cos(swing * time) + fade / swing * np.sin(swing * time))).max()

    assert gap(h / 2) == pytest.approx(gap(h) / 2, rel=0.03)


@pytest.mark.parametrize("kappa", [10.0, 50.0, 1000.0])
def test_the_stricter_the_final_loss_the_less_momentum_gains(kappa):
    rhos = np.linspace(0, 0.995, 100)[:, None]
    lrs = np.geomspace(1e-4, 0.999, 300) * (2 + 2 * rhos) / kappa
    speeds = -np.log(convergence_rate(lrs, rhos, [1, kappa]))
    final = sum(c / 2 * stationary_variance(lrs, rhos, c, 1.0) for c in (1.0, kappa))
    gains = [speeds[final <= level].max() / speeds[:1][final[:1] <= level].max() for level in (1.0, 0.1, 0.01, 0.001)]
    assert (np.diff(gains) < 0).all() and gains[0] > 2 and gains[-1] < 2.5


@pytest.mark.parametrize("condition", [30, 100, 1000])
def test_what_becomes_of_plans_that_change_rho_in_a_noisy_valley(condition):
    length, alphas, bends = 300, np.geomspace(5e-4, 4, 40), np.geomspace(1 / condition, 1, 31)
    time = np.linspace(0, 1, length)
    up, nine = 0.5 + 0.49 * time, np.full(length, 0.9)

    def final(rho, rate, noise):
        with np.errstate(all="ignore"):
            parts = expected_loss(rate[:, None] * alphas, rho[:, None], bends, np.ones(31), noise)
        return np.nanmin(parts.from_start[-1] + parts.from_noise[-1])

    for noise in (0.01, 0.1):
        constant = final(nine, np.ones(length), noise)
        assert final(up, np.ones(length), noise) > 1.3 * constant
        assert 0.8 * constant < final(up, (1 - up) / 0.1, noise) < constant
        down, rate_down = final(0.99 * (1 - time), np.ones(length), noise), final(nine, 1 - time, noise)
        assert down < constant and rate_down < constant and 0.7 < rate_down / down < 1.3
        assert 0.85 < rate_down / final(0 * nine, 1 - time, noise) < 1.15


@pytest.mark.parametrize("kappa", [10.0, 50.0, 1000.0])
def test_the_best_pair_stands_beside_a_cliff(kappa):
    lr, rho = best_tuning([1, kappa])
    q = rho**0.5
    assert convergence_rate(1.001 * (1 + q**2) * 2 / (1 + q) ** 2 * lr, rho, [1, kappa]) > 1
    assert (1 + q**2) * 2 / (1 + q) ** 2 < 1.11


@pytest.mark.parametrize(("call", "message"), [
    (lambda: convergence_rate(np.ones(2), np.ones(3), [1.0]), r"lr and rho must broadcast against each other, got the shapes \(2,\), \(3,\)"),
    (lambda: stationary_variance(np.ones(2), 0.5, np.ones(3), 1.0), r"lr, rho and curvature must broadcast against each other"),
    (lambda: expected_loss(np.ones(2), np.ones(3), [1.0], [1.0], 0.1), "lr and rho must broadcast against each other"),
    (lambda: expected_loss([0.5], [0.0], [1.0, 2.0], [1.0], 0.1), r"start must have the shape \(2,\) of curvatures, got \(1,\)"),
    (lambda: energy([1.0], [[1.0], [2.0]], 0.1, 0.5), "losses must be one for each point of the path, got 1 for 2"),
])
def test_what_does_not_fit_together_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_before_any_step_the_expected_loss_is_that_of_the_start():
    none = np.empty(0)
    for lr, rho in ((none, none), (none, 0.5), (0.5, none)):
        parts = expected_loss(lr, rho, [1.0, 4.0], [2.0, 1.0], noise=1.0)
        assert parts.from_start.tolist() == [4.0] and parts.from_noise.tolist() == [0.0]
