"""AdaGrad: equal to its peers, and what the chapter proves about it."""

import numpy as np
import pytest
from peers import our_path, problem, recorded, torch_path

from reference_impl import SGD, AdaGrad, minimize, quadratic, taco_shell
from reference_impl.optimization.adagrad import adagrad, adagrad_eps_inside, best_fixed_rates, regret_bound, slope_distance


def test_the_path_is_torchs_as_recorded():
    path = our_path(AdaGrad(lr=0.1))
    for step, w in recorded["adagrad"].items():
        np.testing.assert_allclose(path[int(step)], w, rtol=0, atol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize("initial", [0.0, 0.1, 3.0])
def test_the_path_is_torchs(initial):
    theirs = torch_path(lambda torch, p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=initial))
    np.testing.assert_allclose(our_path(AdaGrad(lr=0.1, initial_accumulator=initial)), theirs, rtol=0, atol=1e-12)


@pytest.mark.peers
def test_the_defaults_are_torchs():
    torch = pytest.importorskip("torch")
    theirs = torch.optim.Adagrad([torch.nn.Parameter(torch.zeros(1))]).defaults
    ours = AdaGrad()
    assert (ours.lr, ours.eps, ours.initial_accumulator) == (theirs["lr"], theirs["eps"], theirs["initial_accumulator_value"])


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("c", [2.0**-20, 0.25, 4.0, 2.0**30])
def test_gradients_and_epsilon_scaled_alike_give_the_same_path_bit_for_bit(c, inside):
    _, gradient = problem()
    eps, start = 0.01, 0.3
    path = our_path(AdaGrad(lr=0.1, eps=eps, initial_accumulator=start, eps_inside_root=inside))
    scaled = AdaGrad(lr=0.1, eps=eps * (c**2 if inside else c), initial_accumulator=start * c**2, eps_inside_root=inside)
    np.testing.assert_array_equal(our_path(scaled, gradient=lambda w: c * gradient(w)), path)


def test_each_coordinates_scale_is_its_own_affair_bit_for_bit():
    _, gradient = problem()
    scales = 2.0 ** np.array([-30, -3, 0, 1, 7, 40])
    plain, scaled = (our_path(AdaGrad(lr=0.1, eps=0.0), gradient=lambda w, by=by: by * gradient(w)) for by in (1.0, scales))
    np.testing.assert_array_equal(scaled, plain)


@pytest.mark.parametrize("kappa", [2.0, 64.0, 2.0**20])
def test_the_path_on_a_valley_along_the_axes_does_not_depend_on_its_curvatures(kappa):
    round_bowl, valley = (minimize(taco_shell(k), [9.0, 1.5], AdaGrad(lr=0.5, eps=0.0), 50).path for k in (1.0, kappa))
    np.testing.assert_array_equal(valley, round_bowl)


def test_a_weight_in_other_units_needs_its_learning_rate_in_them_too():
    c = 8.0
    path = minimize(quadratic([3.0]), [1.0], AdaGrad(lr=0.1, eps=0.0), 50).path
    other = minimize(quadratic([3.0 * c**2]), [1.0 / c], AdaGrad(lr=0.1 / c, eps=0.0), 50).path
    np.testing.assert_array_equal(other * c, path)
    wrong = minimize(quadratic([3.0 * c**2]), [1.0 / c], AdaGrad(lr=0.1, eps=0.0), 50).path
    assert np.abs(wrong * c - path).max() > 0.1


@pytest.mark.parametrize("slope", [1e-6, 1.0, 300.0])
@pytest.mark.parametrize("initial", [0.0, 5.0])
def test_on_a_constant_slope_the_step_falls_like_the_root_of_the_steps(slope, initial):
    optimizer = AdaGrad(lr=0.1, eps=0.0, initial_accumulator=initial * slope**2)
    path = minimize(lambda w: slope * w[0], [0.0], optimizer, 200, grad=lambda w: np.full(1, slope)).path[:, 0]
    np.testing.assert_allclose(-np.diff(path), 0.1 / np.sqrt(initial + np.arange(1, 201)), rtol=1e-9)
    if not initial:
        np.testing.assert_allclose(-path, slope_distance(np.arange(201), 0.1), rtol=1e-12)


def test_the_distance_on_a_slope_lies_between_its_bounds_and_grows_without_end():
    t = np.arange(1, 100_001)
    distance = slope_distance(t, 1.0)
    assert (2 * (np.sqrt(t + 1) - 1) < distance).all() and (distance <= 2 * np.sqrt(t) - 1).all()
    assert distance[-1] - 2 * np.sqrt(t[-1]) == pytest.approx(-1.4603545088, abs=2e-3)  # the zeta function at 1/2
    assert slope_distance(0, 1.0) == 0


def test_without_epsilon_a_zero_gradient_at_the_start_is_lost_for_ever():
    for rule in (adagrad, adagrad_eps_inside):
        with np.errstate(invalid="ignore"):
            w, s = rule(np.ones(2), np.array([0.0, 1.0]), np.zeros(2), lr=0.1, eps=0.0)
            assert np.isnan(w[0]) and w[1] == 0.9
            assert np.isnan(rule(w, np.ones(2), s, lr=0.1, eps=0.0)[0][0])
        w, _ = rule(np.ones(2), np.array([0.0, 1.0]), np.zeros(2), lr=0.1, eps=1e-10)
        assert w[0] == 1.0


def test_a_large_epsilon_makes_it_gradient_descent():
    np.testing.assert_allclose(our_path(AdaGrad(lr=0.02 * 1e9, eps=1e9)), our_path(SGD(lr=0.02)), rtol=0, atol=1e-7)


def test_the_best_fixed_rates_minimise_the_bound_in_hindsight():
    g, distance = np.random.default_rng(0).normal(size=(30, 4)) * [1, 5, 0.1, 2], np.array([1.0, 2.0, 0.5, 1.0])
    sums = (g**2).sum(axis=0)

    def price(rates):
        return distance**2 / (2 * rates) + rates / 2 * sums

    best = best_fixed_rates(g, distance)
    np.testing.assert_allclose(price(best), distance * np.sqrt(sums))
    for other in (0.5, 0.99, 1.01, 2.0):
        assert (price(best * other) > price(best)).all()
    # One rate for all is never better.
    assert price(np.linalg.norm(distance) / np.sqrt(sums.sum())).sum() >= price(best).sum()
    assert best_fixed_rates([[0.0]], 1.0)[0] == np.inf


def test_the_bound_is_smallest_at_its_own_rate_and_root_two_above_hindsight():
    g = np.random.default_rng(1).normal(size=(20, 3))
    least = regret_bound(g, 3.0)
    assert least == pytest.approx(2**0.5 * 3 * np.sqrt((g**2).sum(axis=0)).sum())
    assert least == pytest.approx(regret_bound(g, 3.0, lr=3 / 2**0.5))
    assert all(regret_bound(g, 3.0, lr=lr) > least for lr in (0.5, 2.0, 2.2, 9.0))


@pytest.mark.parametrize("seed", range(20))
def test_the_regret_never_exceeds_the_bound(seed):
    """Random absolute losses, against the best of many fixed points and against the medians."""
    rng = np.random.default_rng(seed)
    rounds, n, lr = 200, 4, float(10 ** rng.uniform(-2, 1))
    present = rng.random((rounds, n)) < rng.uniform(0.05, 1, n)
    targets = rng.normal(size=(rounds, n)) + rng.normal(size=n)
    w, s, path, slopes = np.zeros(n), np.zeros(n), [], []
    for there, y in zip(present, targets):
        g = np.where(there, np.sign(w - y), 0.0)
        path.append(w)
        slopes.append(g)
        w, s = adagrad(w, g, s, lr=lr, eps=1e-12)
    path = np.array(path)
    medians = np.array([np.median(y[there]) if there.any() else 0.0 for there, y in zip(present.T, targets.T)])
    for u in (medians, np.zeros(n), *rng.normal(size=(5, n))):
        regret = (np.abs(path - targets) - np.abs(u - targets))[present].sum()
        assert regret <= regret_bound(slopes, np.abs(path - u).max(), lr=lr) + 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_its_bound_can_be_the_larger_one_where_its_regret_is_the_smaller(seed):
    """Words by Zipf's law: against the best single rate, and that one's bound in hindsight."""
    rng = np.random.default_rng(seed)
    words, rounds, rates = 50, 3000, 2.0 ** np.arange(-5, 2)[:, None]
    often = 1 / np.arange(1, words + 1)
    word = rng.choice(words, rounds, p=often / often.sum())
    shown = rng.uniform(-1, 1, words)[word] + 0.3 * rng.standard_normal(rounds)
    median = np.array([np.median(shown[word == i]) if (word == i).any() else 0.0 for i in range(words)])
    one, own, s = np.zeros((3, len(rates), words))
    paid, furthest, slopes = np.zeros((2, len(rates))), np.zeros(len(rates)), np.zeros((rounds, words))
    for k, (i, y) in enumerate(zip(word, shown)):
        g = np.zeros((2, *own.shape))
        for rule, w in enumerate((one, own)):
            paid[rule] += abs(w[:, i] - y)
            g[rule, :, i] = np.sign(w[:, i] - y)
        furthest = np.maximum(furthest, abs(own - median).max(axis=1))
        slopes[k, i] = 1.0
        one = one - rates * g[0]
        own, s = adagrad(own, g[1], s, lr=rates, eps=1e-10)
    assert paid[1].min() < paid[0].min()
    bounds = [regret_bound(slopes, far, lr=float(lr)) for far, lr in zip(furthest, rates[:, 0])]
    assert min(bounds) > 1.5 * np.linalg.norm(median) * np.sqrt(rounds)


def test_in_half_precision_the_weight_stands_still_and_the_sum_goes_on():
    params, optimizer = {"w": np.zeros(1, np.float16)}, AdaGrad(lr=0.01, eps=0.0)
    for _ in range(2100):
        optimizer.update(params, {"w": np.ones(1, np.float16)})
    assert params["w"] == -1 and optimizer.state["s"]["w"].item() == 2100
    params["w"][:] = 0  # near 0, where the format is fine enough to see the steps
    optimizer.update(params, {"w": np.ones(1, np.float16)})
    assert params["w"].item() == pytest.approx(-0.01 / 2101**0.5, rel=2e-3)
    one, s = np.float16(1), np.float16(0)
    for _ in range(2100):
        _, s = adagrad(np.float16(0), one, s, lr=one, eps=one)
    assert s == 2048 and s.dtype == np.float16


def noisy_bowl(steps, *, lr, curvature=1.0, sigma=1.0, early=0.0, size=5000):
    """E w² of AdaGrad and of descent on α/(σ√t) after `steps` noisy steps from 1, and AdaGrad's mean rate."""
    rng = np.random.default_rng(7)
    own, falling, s = np.ones(size), np.ones(size), np.full(size, float(early))
    for t in range(1, steps + 1):
        noise = sigma * rng.standard_normal(size)
        own, s = adagrad(own, curvature * own + noise, s, lr=lr, eps=0.0)
        falling = falling - lr / (sigma * np.sqrt(t)) * (curvature * falling + noise)
    return (own**2).mean(), (falling**2).mean(), (lr / np.sqrt(s)).mean()


@pytest.mark.parametrize(("lr", "curvature", "sigma"), [(0.5, 1.0, 1.0), (2.0, 1.0, 1.0), (0.5, 4.0, 1.0), (0.5, 1.0, 3.0)])
def test_with_noise_it_is_descent_on_a_schedule_of_one_over_root_t(lr, curvature, sigma):
    steps = 1500
    own, falling, rate = noisy_bowl(steps, lr=lr, curvature=curvature, sigma=sigma)
    assert own == pytest.approx(lr * sigma / (2 * curvature * steps**0.5), rel=0.05)
    assert own == pytest.approx(falling, rel=0.05)
    assert rate == pytest.approx(lr / (sigma * steps**0.5), rel=0.05)


def test_a_small_rate_follows_its_schedule_late():
    early, late = (noisy_bowl(steps, lr=0.1)[0] / (0.1 / (2 * steps**0.5)) for steps in (50, 2000))
    assert early > 10
    assert late == pytest.approx(1, abs=0.15)


def test_early_gradients_count_as_steps_already_made_slow_the_way_and_quiet_the_end():
    sum_left = 100.0**2
    for steps in (100, 2500):
        rate = noisy_bowl(steps, lr=0.5, early=sum_left, size=2000)[2]
        assert rate == pytest.approx(0.5 / (steps + sum_left) ** 0.5, rel=0.01)
    on_the_way, arrived = (noisy_bowl(steps, lr=0.5)[0] for steps in (100, 3000))
    slow, quiet = (noisy_bowl(steps, lr=0.5, early=sum_left)[0] for steps in (100, 3000))
    assert slow > 10 * on_the_way
    assert quiet < 0.7 * arrived


def test_without_noise_early_gradients_hold_the_rate_down_for_ever():
    ends = []
    for early in (0.0, 1e4):
        w, s = 1.0, early
        rates = []
        for _ in range(2000):
            w, s = adagrad(w, w, s, lr=0.5, eps=0.0)
            rates.append(0.5 / s**0.5)
        assert rates[-1] == pytest.approx(rates[100], rel=2e-3)
        ends.append(rates[-1])
    assert ends[0] > 80 * ends[1]


@pytest.mark.parametrize(("accumulator", "steps"), [(0.0, 17), (1.0, 158), (100.0, 1402)])
def test_how_fast_it_leaves_a_saddle_depends_on_what_the_accumulator_holds(accumulator, steps):
    optimizer = AdaGrad(lr=0.1, initial_accumulator=accumulator)
    path = minimize(lambda w: (w[0] ** 2 - w[1] ** 2) / 2, [1.0, 1e-6], optimizer, 1500, grad=lambda w: w * [1.0, -1.0]).path
    assert np.argmax(abs(path[:, 1]) > 1) == steps


def test_on_the_line_that_leads_into_a_saddle_it_never_leaves():
    path = minimize(lambda w: (w[0] ** 2 - w[1] ** 2) / 2, [1.0, 0.0], AdaGrad(lr=0.1), 3000, grad=lambda w: w * [1.0, -1.0]).path
    assert (path[:, 1] == 0).all() and abs(path[-1, 0]) < 1e-9


def test_in_a_turned_valley_no_rate_brings_it_as_far_as_the_best_descent():
    turn = np.array([[1.0, -1.0], [1.0, 1.0]]) / 2**0.5
    hessian, start = turn @ np.diag([1.0, 50.0]) @ turn.T, turn @ [9.0, 1.5]

    def left(optimizer):
        path = minimize(lambda w: w @ hessian @ w / 2, start, optimizer, 40, grad=lambda w: hessian @ w).path
        return np.linalg.norm(path[-1])

    assert min(left(AdaGrad(lr=2.0**k)) for k in np.arange(-2, 7, 0.5)) > 3 > 1.9 > left(SGD(lr=2 / 51))


def test_without_noise_the_largest_rate_on_the_sliders_ends_nearest_and_none_explodes():
    paths = {lr: minimize(taco_shell(50), [9.0, 1.5], AdaGrad(lr=lr, eps=0.0), 40).path for lr in (0.5, 2.0, 4.0, 8.0, 1000.0)}
    ends = [np.linalg.norm(path[-1]) for path in paths.values()]
    assert ends[:4] == sorted(ends[:4], reverse=True)
    assert ends[4] < 1e-9
    assert np.linalg.norm(paths[1000.0], axis=1).max() == pytest.approx(np.hypot(991, 998.5))  # after the first step
    assert all(abs(paths[lr]).max() <= 9 for lr in (0.5, 2.0, 4.0, 8.0))


@pytest.mark.parametrize(("call", "message"), [
    (lambda: regret_bound([1.0, 2.0], 1.0), r"gradients must be a non-empty matrix of finite numbers, got \[1.0, 2.0\]"),
    (lambda: regret_bound([[1.0]], 0.0), r"distance must be a number in \(0, inf\), got 0.0"),
    (lambda: regret_bound([[1.0]], 1.0, lr=0.0), r"lr must be a number in \(0, inf\) or None, got 0.0"),
    (lambda: best_fixed_rates([[1.0]], -1.0), r"distance must be finite numbers in \(0, inf\), got -1.0"),
    (lambda: best_fixed_rates([[1.0, 2.0]], [1.0, 2.0, 3.0]), r"distance must be one number, or one for each of 2 coordinates, got the shape \(3,\)"),
    (lambda: AdaGrad(initial_accumulator=-0.1), r"initial_accumulator must lie in \[0, inf\), got -0.1"),
])
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
