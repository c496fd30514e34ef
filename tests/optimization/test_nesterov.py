"""Nesterov's gradient: equal to its peers, and what the chapter proves about it."""

import numpy as np
import pytest
from peers import our_path, problem, recorded, torch_path

from reference_impl import SGD, Adam, Momentum, Nesterov, minimize, quadratic, rosenbrock
from reference_impl.optimization import momentum as heavy
from reference_impl.optimization.momentum import iteration_matrix, momentum
from reference_impl.optimization.nesterov import (
    accelerated,
    ahead,
    best_tuning,
    convergence_rate,
    critical_rho,
    effective_rho,
    momenta,
    nesterov,
    nesterov_lr_inside,
    stable_edge,
    steep_flat_steep,
    worst_case,
)


@pytest.mark.parametrize("lr_inside", [False, True])
def test_the_path_is_torchs_as_recorded(lr_inside):
    path = our_path(Nesterov(lr=0.02, rho=0.9, lr_inside=lr_inside))
    for step, w in recorded["nesterov"].items():
        np.testing.assert_allclose(path[int(step)], w, rtol=0, atol=1e-12)


@pytest.mark.peers
def test_the_path_is_torchs():
    theirs = torch_path(lambda torch, p: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True))
    np.testing.assert_allclose(our_path(Nesterov(lr=0.02, rho=0.9)), theirs, rtol=0, atol=1e-12)


def test_rho_zero_is_gradient_descent():
    np.testing.assert_array_equal(our_path(Nesterov(lr=0.02, rho=0)), our_path(SGD(lr=0.02)))


def test_the_two_conventions_are_one_path_while_lr_is_constant_and_part_when_it_changes():
    outside, inside = (our_path(Nesterov(lr=0.02, rho=0.9, lr_inside=where)) for where in (False, True))
    np.testing.assert_allclose(outside, inside, rtol=0, atol=1e-13)
    outside, inside = (our_path(Nesterov(lr=lambda step: 0.02 if step < 50 else 0.002, rho=0.9, lr_inside=where)) for where in (False, True))
    np.testing.assert_allclose(outside[:51], inside[:51], rtol=0, atol=1e-13)
    assert np.abs(outside[52] - inside[52]).max() > 1e-4


def test_the_parameters_are_the_points_ahead_of_momentum_with_the_gradient_there():
    w0, gradient = problem()
    w, v = w0, np.zeros_like(w0)
    expected = [w]
    for _ in range(100):
        w, v = momentum(w, gradient(ahead(w, v, lr=0.02, rho=0.9)), v, lr=0.02, rho=0.9)
        expected.append(ahead(w, v, lr=0.02, rho=0.9))
    np.testing.assert_allclose(our_path(Nesterov(lr=0.02, rho=0.9)), expected, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(accelerated(gradient, w0, 0.02, [0.9] * 100)[-1], w)


def test_a_momentum_that_changes_sets_the_two_forms_apart():
    f, rhos = rosenbrock(), momenta(50)[1]
    behind = accelerated(f.grad, [-1.0, 1.0], 1e-3, rhos)
    points = behind[:-1] + rhos[:, None] * np.diff(behind[:-1], axis=0, prepend=behind[:1])
    path = minimize(f, [-1.0, 1.0], Nesterov(lr=1e-3, rho=lambda step: rhos[step]), 49).path
    assert np.abs(points - path).max() > 1e-3


@pytest.mark.parametrize("rule", [nesterov, nesterov_lr_inside])
def test_on_a_quadratic_it_is_momentum_with_less_rho(rule):
    rng = np.random.default_rng(0)
    for curvature, lr, rho in rng.uniform([0.1, 0.01, 0.0], [5.0, 0.5, 1.0], (100, 3)):
        ours = np.array(iteration_matrix(curvature, lr, rho, rule=rule))
        theirs = np.array(iteration_matrix(curvature, lr, effective_rho(lr, rho, curvature)))
        np.testing.assert_allclose(np.poly(ours), np.poly(theirs), atol=1e-12)  # the same eigenvalues
        assert convergence_rate(lr, rho, [curvature]) == pytest.approx(np.abs(np.linalg.eigvals(ours)).max(), abs=1e-6)
    behind = accelerated(lambda w: 3 * w, [1.0], 0.1, [0.8] * 60)
    path = minimize(quadratic([3.0]), [1.0], Momentum(lr=0.1, rho=effective_rho(0.1, 0.8, 3.0)), 60).path
    np.testing.assert_allclose(behind, path, rtol=0, atol=1e-14)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.9, 0.99])
def test_the_edge_of_stability(rho):
    edge = stable_edge(rho)
    assert convergence_rate(edge * (1 - 1e-6), rho, [1.0]) < 1 < convergence_rate(edge * (1 + 1e-6), rho, [1.0])
    assert all(convergence_rate(x, rho, [1.0]) < 1 for x in np.linspace(1e-3, edge - 1e-3, 50))
    assert edge <= 2 <= 2 + 2 * rho  # gradient descent's and momentum's
    for x, stays in ((edge - 0.02, True), (edge + 0.02, False)):
        path = minimize(quadratic([1.0]), [1.0], Nesterov(lr=x, rho=rho), 1500).path
        assert (abs(path[-1, 0]) < 1) == stays


def test_the_modulus_when_the_ball_swings():
    rng = np.random.default_rng(0)
    for x, rho in rng.uniform([0.001, 0.0], [0.999, 1.0], (200, 2)):
        bound = (rho * (1 - x)) ** 0.5
        if rho > critical_rho(x, 1.0):
            assert convergence_rate(x, rho, [1.0]) == pytest.approx(bound, rel=1e-6)
        else:
            assert convergence_rate(x, rho, [1.0]) > bound


def test_critical_damping_is_fastest():
    for lr in (0.01, 0.3, 0.45):
        at = critical_rho(lr, 2.0)
        rates = [convergence_rate(lr, rho, [2.0]) for rho in (at, at + 1e-3, at - 1e-3)]
        assert rates[0] == min(rates)
        assert rates[0] == pytest.approx(1 - (2 * lr) ** 0.5, abs=1e-6)


@pytest.mark.parametrize("kappa", [1.0, 2.0, 10.0, 1e4])
def test_the_best_tuning_is_best_of_all_and_momentums_is_better(kappa):
    curvatures = [1.0, kappa]
    lr, rho = best_tuning(curvatures)
    rate = convergence_rate(lr, rho, curvatures)
    assert rate == pytest.approx(1 - 2 / (3 * kappa + 1) ** 0.5, abs=1e-6)  # a double root: rounding enters as its square root
    rng = np.random.default_rng(1)
    for stretch, other in zip(rng.uniform(0.5, 1.5, 300), rng.uniform(0, 1, 300)):
        assert convergence_rate(lr * stretch, other, curvatures) > rate - 1e-6
    for stretch, shift in rng.uniform(-0.01, 0.01, (300, 2)):
        assert convergence_rate(lr * (1 + stretch), rho + shift, curvatures) > rate - 1e-6
    assert heavy.convergence_rate(*heavy.best_tuning(curvatures), curvatures) <= rate + 1e-6


def test_momenta_obey_their_recurrence_and_grow():
    t, rho = momenta(500)
    np.testing.assert_allclose(t[1:] ** 2 - t[1:], t[:-1] ** 2, rtol=1e-12)
    assert np.all(t >= np.arange(2, 502) / 2)
    assert rho[0] == rho[1] == 0
    assert np.all(np.diff(rho[1:]) > 0)
    assert rho[-1] < 1
    with pytest.raises(ValueError, match="steps must be a whole number from 1 up, got 0"):
        momenta(0)


@pytest.mark.parametrize(("length", "smoothness"), [(1, 1.0), (10, 4.0), (100, 0.5)])
def test_the_bound_holds_at_every_step_and_the_floor_at_the_last(length, smoothness):
    f = worst_case(length, smoothness)
    np.testing.assert_allclose(f.grad(f.minima[0]), 0, atol=1e-12)
    assert np.linalg.eigvalsh(f.hess(f.minima[0])).max() <= smoothness
    assert f(f.minima[0]) == pytest.approx(smoothness / 8 * (1 / (f.n + 1) - 1))
    t, rhos = momenta(length)
    path = accelerated(f.grad, np.zeros(f.n), 1 / smoothness, rhos)
    gaps, k = f(path) - f(f.minima[0]), np.arange(length + 1)
    scale = smoothness * (f.minima[0] ** 2).sum()
    assert np.all(gaps <= 2 * scale / (k + 1) ** 2)
    assert gaps[-1] >= 3 * scale / (32 * (length + 1) ** 2)
    assert not path[-1, length:].any()  # news travels one weight a step
    t = np.append(0.0, t)
    u = t[:, None] * path - (t[:, None] - 1) * np.vstack([path[:1], path[:-1]]) - f.minima[0]
    energy = 2 / smoothness * t**2 * gaps + (u**2).sum(axis=1)
    assert np.diff(energy).max() <= 1e-12 * energy[0]


def test_the_bound_holds_on_a_convex_function_that_is_no_quadratic():
    def loss(w):  # curvature at most 1/4 * the largest eigenvalue of x'x
        return np.logaddexp(0, -x @ w).sum()

    x = np.random.default_rng(0).normal(size=(30, 4)) + 0.5
    x[:8] *= -1  # not separable: there is a minimum
    smoothness = np.linalg.eigvalsh(x.T @ x).max() / 4
    grad = lambda w: -x.T @ (1 / (1 + np.exp(x @ w)))  # noqa: E731
    best = accelerated(grad, np.zeros(4), 1 / smoothness, [0.7] * 3000)[-1]
    np.testing.assert_allclose(grad(best), 0, atol=1e-10)
    path = accelerated(grad, np.full(4, 3.0), 1 / smoothness, momenta(300)[1])
    gaps = np.array([loss(w) for w in path]) - loss(best)
    assert np.all(gaps <= 2 * smoothness * ((best - 3) ** 2).sum() / (np.arange(301) + 1) ** 2)


@pytest.mark.parametrize(("length", "smoothness"), [(0, 1.0), (3, 0.0)])
def test_the_worst_case_refuses(length, smoothness):
    with pytest.raises(ValueError, match=r"(k must be a whole number from 1 up|smoothness must be a number in )"):
        worst_case(length, smoothness)


def test_on_the_bent_line_momentum_cycles_and_the_others_arrive():
    f = steep_flat_steep()
    tuned = heavy.best_tuning([1.0, 25.0])
    np.testing.assert_allclose(tuned, (1 / 9, 4 / 9))
    cycle = np.array([792, -2208, 2592]) / 1225
    ends = minimize(f, [3.3], Momentum(*tuned), 300).path[-3:, 0]
    np.testing.assert_allclose(np.sort(ends), np.sort(cycle), rtol=0, atol=1e-12)
    for optimizer in (Nesterov(1 / 25, critical_rho(1 / 25, 1.0)), SGD(1 / 13)):
        assert abs(minimize(f, [3.3], optimizer, 300).path[-1, 0]) < 1e-9


def test_the_bent_line_is_convex_smooth_and_its_own_slope():
    f, w = steep_flat_steep(), np.linspace(-3, 4, 701)[:, None]
    steps = 1e-6
    np.testing.assert_allclose((f(w + steps) - f(w - steps)) / (2 * steps), f.grad(w)[:, 0], atol=1e-4)
    slopes = np.diff(f.grad(w)[:, 0]) / 0.01
    assert slopes.min() > 1 - 1e-9
    assert slopes.max() < 25 + 1e-9


def too_early(w, g, v, *, lr, rho):
    """The rule as it is often miscoded: the velocity is updated before its old value is used."""
    v = rho * v - lr * g
    return w + rho * rho * v - (1 + rho) * lr * g, v


@pytest.mark.parametrize("rho", [0.1, 0.5, 0.9])
def test_the_wrong_order_costs_stability(rho):
    edge = 2 * (1 + rho) / (1 + 2 * rho + 2 * rho**2)
    radius = [np.abs(np.linalg.eigvals(iteration_matrix(1.0, x, rho, rule=too_early))).max() for x in (edge - 1e-6, edge + 1e-6)]
    assert radius[0] < 1 < radius[1]
    assert edge < stable_edge(rho)
    assert (edge > 1) == (rho < 0.5**0.5)


def test_the_first_steps():
    w, v = 1.0, 0.0
    for expected in (0.85, 0.675):  # the wrong order gives 0.825 first
        w, v = nesterov_lr_inside(w, 1.0, v, lr=0.1, rho=0.5)
        assert w == pytest.approx(expected, abs=1e-15)
    assert too_early(1.0, 1.0, 0.0, lr=0.1, rho=0.5)[0] == pytest.approx(0.825)


def test_it_commutes_with_a_shift_of_the_origin():
    w, gradient = problem()
    shift = np.arange(6.0)
    moved = our_path(Nesterov(lr=0.02), start=w + shift, gradient=lambda u: gradient(u - shift))
    np.testing.assert_allclose(moved - shift, our_path(Nesterov(lr=0.02)), rtol=0, atol=1e-12)


def test_it_commutes_with_permutations_and_sign_flips_bit_for_bit():
    w, gradient = problem()
    rng = np.random.default_rng(5)
    order, sign = rng.permutation(6), rng.choice([-1.0, 1.0], 6)
    back = np.argsort(order)
    path = our_path(Nesterov(lr=0.02))
    permuted = our_path(Nesterov(lr=0.02), start=w[order], gradient=lambda u: gradient(u[back])[order])
    np.testing.assert_array_equal(permuted[:, back], path)
    flipped = our_path(Nesterov(lr=0.02), start=sign * w, gradient=lambda u: sign * gradient(sign * u))
    np.testing.assert_array_equal(sign * flipped, path)


def test_it_commutes_with_rotations():
    w, gradient = problem()
    q, _ = np.linalg.qr(np.random.default_rng(6).normal(size=(6, 6)))
    turned = our_path(Nesterov(lr=0.02), start=q @ w, gradient=lambda u: q @ gradient(q.T @ u))
    np.testing.assert_allclose(turned @ q, our_path(Nesterov(lr=0.02)), rtol=0, atol=1e-12)


@pytest.mark.parametrize("lr_inside", [False, True])
def test_a_loss_eight_times_as_high_with_an_eighth_of_the_rate_is_the_same_path_bit_for_bit(lr_inside):
    _, gradient = problem()
    path = our_path(Nesterov(lr=0.02, lr_inside=lr_inside))
    scaled = our_path(Nesterov(lr=0.02 / 8, lr_inside=lr_inside), gradient=lambda w: 8 * gradient(w))
    np.testing.assert_array_equal(scaled, path)


def overshoot(xs, rho, steps=400):
    """How far momentum goes beyond the minimum of ½λw² from rest at 1, by αλ in `xs`."""
    w, v, lowest = np.ones_like(xs), np.zeros_like(xs), np.ones_like(xs)
    for _ in range(steps):
        w, v = momentum(w, xs * w, v, lr=1.0, rho=rho)
        lowest = np.minimum(lowest, w)
    return np.maximum(-lowest, 0)


@pytest.mark.parametrize(("rho", "share"), [(0.5, 0.06), (0.8, 0.0), (0.9, 0.0), (0.99, 0.0)])
def test_beyond_one_the_ball_still_overshoots_less_but_for_the_last_bit_at_a_small_rho(rho, share):
    xs = np.linspace(1, stable_edge(rho), 1001)[1:-1]
    more = overshoot(xs, effective_rho(1.0, rho, xs)) > overshoot(xs, rho)
    assert more.mean() == pytest.approx(share, abs=0.005)
    assert not more[: round((1 - share) * 0.95 * xs.size)].any()


def test_in_flat_directions_the_two_overshoot_alike_but_only_in_the_limit():
    for x, least, most in ((1e-2, 0.8, 0.9), (1e-4, 0.96, 1.0)):
        xs = np.array([x])
        assert least < (overshoot(xs, effective_rho(1.0, 0.99, xs)) / overshoot(xs, 0.99))[0] < most


def test_with_the_same_settings_the_swing_across_the_valley_is_gone_after_three_steps():
    across = {m: minimize(quadratic([1.0, 50.0]), [10.0, 1.0], m(0.015, 0.9), 40).path[:, 1] for m in (Momentum, Nesterov)}
    assert np.flatnonzero(abs(across[Nesterov]) > 0.1)[-1] == 3
    assert np.flatnonzero(abs(across[Momentum]) > 0.1)[-1] == 40
    assert all((np.diff(np.sign(path)) != 0).sum() >= 12 for path in across.values())  # both still cross


def test_with_noise_the_points_ahead_lie_further_out_than_the_ball():
    rng = np.random.default_rng(1)
    for x, apart in ((0.01, 1.017), (0.1, 1.18), (0.5, 2.2)):
        w, v = np.zeros((2, 20_000))
        for _ in range(600):
            w, v = nesterov(w, x * w + rng.standard_normal(w.size), v, lr=1.0, rho=0.9)
        assert np.mean(w**2) / np.mean(ahead(w, -v, lr=1.0, rho=0.9) ** 2) == pytest.approx(apart, rel=0.03)


def test_going_back_and_adding_is_going_on_from_the_point_ahead():
    theta, g, v = np.random.default_rng(2).normal(size=(3, 5))
    back = momentum(theta, g, v, lr=0.1, rho=0.8)[0]
    np.testing.assert_allclose(back, ahead(theta, v, lr=0.1, rho=0.8) - 0.1 * g, rtol=0, atol=1e-15)


def test_in_the_steepest_direction_the_point_ahead_is_home_after_two_steps():
    path = minimize(quadratic([1.0]), [1.0], Nesterov(lr=1.0, rho=0.5), 3).path[:, 0]
    np.testing.assert_array_equal(path, [1.0, -0.5, 0.0, 0.0])


@pytest.mark.parametrize("length", [1, 5, 40])
def test_what_no_method_of_gradients_reaches_on_the_chain(length):
    """The least loss on the first k weights: L/(16(k + 1)) above the minimum, and that is the floor."""
    f, start = worst_case(length, 2.0), np.zeros(2 * length + 1)
    hess, pull = f.hess(start)[:length, :length], -f.grad(start)[:length]
    least = -pull @ np.linalg.solve(hess, pull) / 2 - f(f.minima[0])
    assert least == pytest.approx(2.0 / (16 * (length + 1)))
    assert least >= 3 * 2.0 * (f.minima[0] ** 2).sum() / (32 * (length + 1) ** 2)


def on_the_endless_chain(kappa, optimizer, steps):
    """The distances left on the chain with curvatures from 1 to `kappa`, as parts of the first, and the path of its first weights."""
    ratio = (kappa**0.5 - 1) / (kappa**0.5 + 1)
    goal = ratio ** np.arange(1, steps + 1)

    def slope(w):
        return (kappa - 1) / 4 * (2 * w - np.append(1, w[:-1]) - np.append(w[1:], 0)) + w

    path = minimize(lambda w: w @ w, np.zeros(steps), optimizer, steps, grad=slope).path
    rest = ratio ** (2 * steps + 2) / (1 - ratio**2)  # of the weights beyond, which have not moved
    return np.sqrt((((path - goal) ** 2).sum(1) + rest) / (ratio**2 / (1 - ratio**2))), path, ratio


@pytest.mark.parametrize("kappa", [2, 30, 400])
@pytest.mark.parametrize("make", [
    lambda kappa, share, rho: SGD(2 * share / kappa), lambda kappa, share, rho: Momentum((2 + 2 * rho) * share / kappa, rho),
    lambda kappa, share, rho: Nesterov(stable_edge(rho) * share / kappa, rho), lambda kappa, share, rho: Adam(share, rho),
    lambda kappa, share, rho: Momentum(*heavy.best_tuning([1, kappa])), lambda kappa, share, rho: Nesterov(*best_tuning([1, kappa]))])
def test_no_method_of_gradients_is_below_the_bound_on_the_endless_chain(make, kappa):
    rng = np.random.default_rng(0)
    for _ in range(10):
        left, path, ratio = on_the_endless_chain(kappa, make(kappa, rng.uniform(0.01, 1), rng.uniform(0, 0.99)), 30)
        assert (left >= ratio ** np.arange(31) * (1 - 1e-6)).all()
        assert [int(np.flatnonzero(point)[-1]) + 1 for point in path[1:]] == list(range(1, 31))


@pytest.mark.parametrize("kappa", [2, 30, 400, 10_000])
def test_tuned_momentum_puts_one_weight_of_the_chain_into_its_place_a_step(kappa):
    left, path, ratio = on_the_endless_chain(kappa, Momentum(*heavy.best_tuning([1, kappa])), 30)
    np.testing.assert_allclose(left, ratio ** np.arange(31), rtol=1e-6, atol=1e-14)
    np.testing.assert_allclose(path, np.tri(31, 30, -1) * ratio ** np.arange(1, 31), atol=1e-10)


def test_momentum_loses_its_lead_over_nesterov_to_the_swing_from_up_a_wall():
    kappa, counts = 10_000, {}
    for method, tuning in ((Momentum, heavy.best_tuning([1, kappa])), (Nesterov, best_tuning([1, kappa]))):
        for across in (1.0, 0.0):
            away = np.linalg.norm(minimize(quadratic([1, kappa]), [1.0, across], method(*tuning), 2000).path, axis=1)
            counts[method, across] = np.flatnonzero(away > 1e-6 * away[0])[-1] + 1
            assert (away.max() > 20 * away[0]) == (method is Momentum and across > 0)
    assert counts[Nesterov, 1.0] / counts[Momentum, 1.0] == pytest.approx(1.33, abs=0.01)
    assert counts[Nesterov, 0.0] / counts[Momentum, 0.0] == pytest.approx(3**0.5, abs=0.02)


def test_the_energy_of_the_proof_falls_by_what_the_facts_leave():
    """Each step of the proof in numbers, on vectors: where w lies, where u goes, what the square gains."""
    rng = np.random.default_rng(3)
    (t, rhos), smooth = momenta(12), 2.5
    for k in range(1, 11):
        theta, before, g = rng.normal(size=(3, 4))
        u = theta + (t[k - 1] - 1) * (theta - before)
        w = ahead(theta, (before - theta) * smooth, lr=1 / smooth, rho=rhos[k])
        np.testing.assert_allclose(t[k] * w, (t[k] - 1) * theta + u, atol=1e-12)
        new = w - g / smooth
        u_new = new + (t[k] - 1) * (new - theta)
        np.testing.assert_allclose(u_new, u - t[k] * g / smooth, atol=1e-12)
        bound = t[k] * g @ u - t[k] ** 2 * g @ g / (2 * smooth)
        assert u_new @ u_new - u @ u == pytest.approx(-2 / smooth * bound, abs=1e-10)


@pytest.mark.parametrize("kappa", [10, 100, 1000])
def test_the_best_settings_lie_outside_what_the_wrong_order_bears(kappa):
    alpha, rho = best_tuning([1, kappa])
    assert 2 * (1 + rho) / (1 + 2 * rho + 2 * rho**2) < alpha * kappa < stable_edge(rho)


def test_a_gradient_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"grad must return the shape \(2,\) of w, got \(\)"):
        accelerated(lambda w: 1.0, [1.0, 2.0], 0.1, [0.5])
