"""Gradient descent against closed forms, PyTorch's recorded path, quadrature and enumeration."""

import itertools
import math

import numpy as np
import pytest

from reference_impl import SGD, Momentum, bowl, digits, minibatches, minimize, quadratic, saddle, softmax_regression, taco_shell, train
from reference_impl.optimization.adam import adam
from reference_impl.optimization.momentum import iteration_matrix, momentum
from reference_impl.optimization.sgd import (
    best_learning_rate,
    convergence_rate,
    goe,
    minibatch_variance,
    positive_definite_probability,
    semicircle_index,
    sgd,
    steps_to,
)

# ---- the rule ----


def test_the_rule_moves_against_the_gradient():
    assert sgd(3.0, 2.0, lr=0.25) == 2.5


@pytest.mark.parametrize("alpha_lambda", [0.1, 1.0, 1.7, 2.0, 2.2])
def test_the_path_on_a_quadratic_is_the_closed_form(alpha_lambda):
    curvatures, w0 = np.array([0.25, 1.0, 4.0]), np.array([2.0, -1.0, 0.5])
    lr = alpha_lambda / 4
    path, losses = minimize(quadratic(curvatures), w0, SGD(lr=lr), steps=40)
    exact = (1 - lr * curvatures) ** np.arange(41)[:, None] * w0
    np.testing.assert_allclose(path, exact, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(losses, exact**2 @ curvatures / 2, rtol=1e-12)


# A least-squares problem whose path PyTorch took too.
ROWS, COLUMNS = np.arange(8.0)[:, None], np.arange(3.0)
INPUTS = np.sin(1 + 3 * ROWS + COLUMNS * (ROWS + 1))
TARGETS = np.cos(np.arange(8.0))
START = np.array([1.0, -2.0, 0.5])
# torch 2.13, float64: torch.optim.SGD(lr=0.1) on ((INPUTS @ w - TARGETS)**2).mean(), after 1, 10 and 100 steps
TORCH = {
    1: [0.9521199357312726, -1.7698464332899895, 0.5361392020916808],
    10: [0.6520897956323731, -0.5494111763895894, 0.7394370834563322],
    100: [0.3039981826925986, 0.12281697350423118, 0.8657482354139108],
}


def gradient(w):
    return 2 * INPUTS.T @ (INPUTS @ w - TARGETS) / len(TARGETS)


def our_path(steps):
    return minimize(lambda w: np.mean((INPUTS @ w - TARGETS) ** 2), START, SGD(lr=0.1), steps, grad=gradient).path


def test_a_hundred_steps_are_those_recorded_from_torch():
    path = our_path(100)
    for step, recorded in TORCH.items():
        np.testing.assert_allclose(path[step], recorded, rtol=0, atol=1e-12)


@pytest.mark.peers
def test_a_hundred_steps_are_those_of_torch():
    torch = pytest.importorskip("torch")
    w = torch.tensor(START, requires_grad=True)
    x, y = torch.tensor(INPUTS), torch.tensor(TARGETS)
    optimizer = torch.optim.SGD([w], lr=0.1)
    path = [w.detach().numpy().copy()]
    for _ in range(100):
        optimizer.zero_grad()
        ((x @ w - y) ** 2).mean().backward()
        optimizer.step()
        path.append(w.detach().numpy().copy())
    np.testing.assert_allclose(our_path(100), path, rtol=0, atol=1e-12)
    for step, recorded in TORCH.items():
        np.testing.assert_allclose(path[step], recorded, rtol=0, atol=1e-13)


def test_the_gradient_leans_kappa_times_as_much_as_the_way_to_the_middle():
    w = np.array([[10.0, 1.0], [3.0, -0.2], [-1.0, 4.0]])
    g = taco_shell(10).grad(w)
    np.testing.assert_allclose(g[:, 1] / g[:, 0], 10 * w[:, 1] / w[:, 0])
    assert np.degrees(np.arctan2(*taco_shell(10).grad(np.array([10.0, 1.0]))[::-1])) == pytest.approx(45)  # as much along as across


def test_rings_k_squared_are_evenly_spaced_though_the_slope_grows():
    # so only the gap between the SAME two rings tells the slope: gap times mean slope is the rise
    for curvature in (1.0, 10.0):
        distance = np.sqrt(2 * np.arange(1, 9) ** 2 / curvature)
        np.testing.assert_allclose(np.diff(distance), np.diff(distance)[0])
        slope = curvature * distance
        assert slope[-1] == pytest.approx(8 * slope[0])
        np.testing.assert_allclose(np.diff(distance) * (slope[1:] + slope[:-1]) / 2, np.diff(np.arange(1, 9) ** 2))


def test_the_maps_of_the_book_are_drawn_with_rings_k_squared():
    plots = pytest.importorskip("reference_impl.plots")
    _, ax = plots.figure()
    levels = np.array(plots.contours(ax, taco_shell(10), (-1, 1), (-1, 1), levels=8).levels)
    np.testing.assert_allclose(levels / levels[0], np.arange(1, 9) ** 2)


# ---- its rate ----


@pytest.mark.parametrize("lr", [0.02, 0.1, 0.18, 0.199, 0.21])
def test_convergence_rate_is_the_decay_that_a_run_shows(lr):
    curvatures = [0.5, 3.0, 10.0]
    path, _ = minimize(quadratic(curvatures), np.ones(3), SGD(lr=lr), steps=400)
    size = np.linalg.norm(path, axis=1)
    assert (size[400] / size[300]) ** 0.01 == pytest.approx(convergence_rate(lr, curvatures), rel=1e-6)


def test_best_learning_rate_is_a_minimum_and_its_rate_is_the_formula():
    curvatures = [0.5, 3.0, 10.0]
    best, kappa = best_learning_rate(curvatures), 20
    assert best == pytest.approx(2 / 10.5)
    assert convergence_rate(best, curvatures) == pytest.approx((kappa - 1) / (kappa + 1))
    others = best * np.array([0.5, 0.9, 0.999, 1.001, 1.04])
    assert all(convergence_rate(lr, curvatures) > convergence_rate(best, curvatures) for lr in others)


def test_the_stable_range_ends_at_two_over_the_largest_curvature():
    curvatures = [1.0, 8.0]
    assert convergence_rate(0.25, curvatures) == 1
    assert convergence_rate(np.nextafter(0.25, 0), curvatures) < 1 < convergence_rate(np.nextafter(0.25, 1), curvatures)
    path, _ = minimize(quadratic(curvatures), [0.0, 1.0], SGD(lr=0.25), steps=5)
    assert path[:, 1].tolist() == [1, -1, 1, -1, 1, -1]  # bounces for ever


@pytest.mark.parametrize(("factor", "rate"), [(1e-6, 0.9), (0.5, 0.5), (1e-6, 0.999), (1e6, 1.01), (10.0, 3.0), (0.1, 0.0)])
def test_steps_to_is_the_first_step_beyond(factor, rate):
    steps = steps_to(factor, rate)
    beyond = rate**steps <= factor if factor < 1 else rate**steps >= factor
    before = rate ** (steps - 1) > factor if factor < 1 else rate ** (steps - 1) < factor
    assert beyond and before


@pytest.mark.parametrize(("factor", "rate"), [(1e-6, 1.0), (1e-6, 1.1), (1e6, 0.9), (1e6, 1.0), (0.0, 0.5), (1.0, 0.5), (1.0, 2.0), (0.5, -0.5),
                                              (math.inf, 2.0), (math.nan, 0.5), (0.5, math.nan)])
def test_steps_to_refuses_what_is_never_reached(factor, rate):
    with pytest.raises(ValueError, match=r"(same side of 1|(factor|rate) must be a number in ).*got"):
        steps_to(factor, rate)


def test_ten_times_the_condition_number_is_ten_times_the_work():
    assert [steps_to(1e-6, (c - 1) / (c + 1)) for c in (10, 100, 1000, 10_000)] == [69, 691, 6908, 69_078]


def polynomial(dots=8, weights=7):
    """Features at the data, curvatures and curves of the directions, from the steepest."""
    features = np.linspace(-1, 1, dots)[:, None] ** np.arange(weights)
    strength, ways = (part[..., ::-1] for part in np.linalg.eigh(features.T @ features / dots))
    return features, strength, ways


def test_the_curvature_of_a_direction_is_the_mean_square_of_its_curve_at_the_data():
    features, strength, ways = polynomial()
    np.testing.assert_allclose(((features @ ways) ** 2).mean(0), strength, atol=1e-14)
    turns = (np.diff(np.sign(np.diff(np.linspace(-1, 1, 999)[:, None] ** np.arange(7) @ ways, axis=0)), axis=0) != 0).sum(0)
    assert turns[-1] == turns.max() and turns[0] <= 1


def test_a_fit_from_zero_has_learned_of_each_direction_the_closed_share():
    features, strength, ways = polynomial()
    heights = np.random.default_rng(1).normal(size=8)
    path = minimize(lambda w: ((features @ w - heights) ** 2).mean() / 2, np.zeros(7), SGD(lr=0.5), 300,
                    grad=lambda w: features.T @ (features @ w - heights) / 8).path
    ends = ways.T @ np.linalg.lstsq(features, heights, rcond=None)[0]
    np.testing.assert_allclose(path @ ways, ends * (1 - (1 - 0.5 * strength) ** np.arange(301)[:, None]), atol=1e-9)


def test_noise_spoils_a_direction_by_its_curvature():
    features, strength, ways = polynomial()
    noise = np.random.default_rng(0).normal(size=(20_000, 8))
    ends = noise @ features @ ways / 8 / strength
    np.testing.assert_allclose(ends.var(0), 1 / (8 * strength), rtol=0.05)



# ---- leaving a saddle ----


def steps_away(rule, curvatures, states, sigma=0.0, limit=4000, **hyper):
    """The first step at which |w| is 1, from 1e-6, on -½λw²."""
    rng, w = np.random.default_rng(0), np.full(np.shape(curvatures), 1e-6)
    state, count = [np.zeros_like(w) for _ in range(states)], np.zeros(w.shape, int)
    for t in range(1, limit + 1):
        g = -curvatures * w + sigma * rng.standard_normal(w.shape)
        w, *state = rule(w, g, *state, lr=0.01, **hyper, **({"t": t} if rule is adam else {}))
        count[(count == 0) & (abs(w) >= 1)] = t
        w = np.clip(w, -1, 1)
    return count


FLATTER = np.array([1.0, 0.1, 0.01, 1e-3])
ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}


def test_a_flatter_way_out_costs_descent_in_full_and_the_others_less():
    descent = np.array([steps_to(1e6, 1 + 0.01 * curvature) for curvature in FLATTER])
    assert descent[-1] / descent[0] == pytest.approx(995, abs=1)
    for rho, exact, ratio in ((0.9, [226, 1511], 612), (0.99, [152, 531, 2284], 100)):
        run = steps_away(momentum, FLATTER, 1, rho=rho)
        assert run[:len(exact)].tolist() == exact
        growth = [np.log(np.linalg.eigvals(iteration_matrix(-c, 0.01, rho)).max()) for c in FLATTER]
        assert growth[0] / growth[-1] == pytest.approx(ratio, rel=0.05)
    exact = steps_away(adam, FLATTER, 2, **ADAM)
    assert exact.min() == 77 and exact.max() == 78


def test_adam_pays_only_where_the_gradient_stays_below_its_epsilon_to_the_end():
    steps = steps_away(adam, 10.0 ** -np.array([4, 6, 7, 8]), 2, **ADAM)  # at the start: 1e-10 to 1e-14
    assert steps.tolist() == [78, 96, 246, 1529]


def test_momentum_pays_the_root_of_the_flatness_or_all_of_it():
    def growth(a, rho):
        return np.linalg.eigvals(iteration_matrix(-a, 1.0, rho)).max() - 1

    assert growth(1e-7, 0.9) == pytest.approx(1e-7 / 0.1, rel=1e-3)
    assert growth(1e-4, 1 - 1e-6) == pytest.approx(1e-2, rel=1e-2)


def test_noise_takes_adams_indifference_away():
    curvatures = np.repeat([[1.0], [0.1]], 100, axis=1)
    steep, flat = np.median(steps_away(adam, curvatures, 2, sigma=1.0, limit=6000, **ADAM), axis=1)
    assert 4 < flat / steep < 9
    descent = steps_away(lambda w, g, *, lr: (sgd(w, g, lr=lr),), curvatures[:1], 0, sigma=1.0, limit=1000)
    assert steep > 0.9 * np.median(descent)


def test_a_saddle_without_negative_curvature_holds_descent_from_a_whole_interval():
    w = np.linspace(0.01, 99.0, 50)  # lr 0.01: up to 1/α
    for _ in range(20_000):
        w = sgd(w, w**2, lr=0.01)
    assert (w > 0).all() and w.max() < 1 / (0.01 * 20_000)


def test_an_exact_start_on_an_askew_ridge_may_hold_for_ever():
    path = minimize(lambda w: w[0] * w[1], [1.0, 1.0], SGD(lr=0.01), 3000, grad=lambda w: w[::-1].copy()).path
    assert (path[:, 0] == path[:, 1]).all()
    assert (minimize(saddle(), [1.0, 0.0], SGD(lr=0.01), 3000).path[:, 1] == 0).all()


# ---- random saddles ----


def test_goe_is_symmetric_with_the_variances_it_states():
    h = goe(4, np.random.default_rng(0), samples=20_000)
    assert (h == h.transpose(0, 2, 1)).all()
    se = math.sqrt(2 / 20_000)
    variance = (h**2).mean(axis=0)
    assert np.abs(np.diag(variance) - 1).max() < 4 * se
    assert np.abs(variance[~np.eye(4, dtype=bool)] - 0.5).max() < 4 * se / 2
    with pytest.raises(ValueError, match="n must be a whole number from 1 up, got 0"):
        goe(0, np.random.default_rng(0))


@pytest.mark.parametrize(("n", "closed"), [(1, 1 / 2), (2, (2 - math.sqrt(2)) / 4), (3, (math.pi - 2 * math.sqrt(2)) / (4 * math.pi))])
def test_positive_definite_probability_is_the_closed_form(n, closed):
    assert positive_definite_probability(n) == pytest.approx(closed, rel=1e-13)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_positive_definite_probability_is_the_integral_of_the_joint_density(n):
    points = {2: 40, 3: 40, 4: 28}[n]

    t, w = np.polynomial.legendre.leggauss(points)

    def total(low, high):
        # substitute from the smallest eigenvalue up: each lies between the one before and `high`
        lam = (low + (high - low) * (t + 1) / 2)[None]
        weight = (w * (high - low) / 2)
        for _ in range(n - 1):
            width = high - lam[-1]
            new = lam[-1][:, None] + width[:, None] * (t + 1) / 2
            weight = (weight[:, None] * w * width[:, None] / 2).ravel()
            lam = np.concatenate([np.repeat(lam, points, axis=1), new.reshape(1, -1)])
        vandermonde = np.prod([lam[j] - lam[i] for i, j in itertools.combinations(range(n), 2)], axis=0)
        return weight @ (vandermonde * np.exp(-(lam**2).sum(axis=0) / 2))

    assert positive_definite_probability(n) == pytest.approx(total(0, 7) / total(-7, 7), rel=1e-5)


# The same Pfaffians with 40 digits.
@pytest.mark.parametrize(("n", "precise"), [(4, 0.00245670925978622), (6, 4.62018747754899e-6), (9, 6.166501765956e-12), (10, 2.26565315810842e-14)])
def test_positive_definite_probability_keeps_its_digits(n, precise):
    assert positive_definite_probability(n) == pytest.approx(precise, rel=1e-7)


@pytest.mark.parametrize("n", [0, 11])
def test_positive_definite_probability_refuses_other_sizes(n):
    with pytest.raises(ValueError, match=rf"n must be a whole number from 1 to 10, got {n}"):
        positive_definite_probability(n)


@pytest.mark.parametrize("shift", [-2.0, -0.9, -0.3, 0.0, 0.4, 0.8, 1.5])
def test_semicircle_index_is_the_integral_of_the_semicircle(shift):
    x = np.linspace(-1, 1, 200_001)
    density = 2 / math.pi * np.sqrt(1 - x**2)
    assert semicircle_index(shift) == pytest.approx(np.sum(density[x + shift < 0]) * (x[1] - x[0]), abs=1e-5)


def test_semicircle_index_is_that_of_large_random_matrices():
    eigenvalues = np.linalg.eigvalsh(goe(200, np.random.default_rng(1))[0]) / math.sqrt(400)
    for shift in (-0.7, 0.0, 0.5):
        assert np.mean(eigenvalues + shift < 0) == pytest.approx(semicircle_index(shift), abs=0.02)


# ---- minibatches ----


@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_minibatch_variance_is_the_enumerated_one(size):
    values = np.array([3.0, -1.0, 4.0, 1.5, -9.0, 2.0])[:size]
    for batch_size in range(1, size + 1):
        means = [np.mean(batch) for batch in itertools.combinations(values, batch_size)]
        assert np.mean(means) == pytest.approx(values.mean())
        assert minibatch_variance(values.var(), size, batch_size) == pytest.approx(np.var(means))


@pytest.mark.parametrize(("batch_size", "expected"), [(0, "be a whole number from 1 up"), (7, r"lie in \[1, 6\]")])
def test_batch_sizes_out_of_range_are_refused_when_they_are_given(batch_size, expected):
    rng, message = np.random.default_rng(0), f"batch_size must {expected}, got {batch_size}"
    with pytest.raises(ValueError, match=message):
        minibatch_variance(1.0, 6, batch_size)
    with pytest.raises(ValueError, match=message):
        minibatches(rng, 6, batch_size)
    with pytest.raises(ValueError, match=message):
        train(squares, {"w": np.zeros(1)}, np.ones((6, 1)), np.ones(6), SGD(), epochs=0, batch_size=batch_size, rng=rng)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


def squares(params, x, y):
    error = x @ params["w"] - y
    return float(np.mean(error**2)), {"w": 2 * x.T @ error / len(x)}


@pytest.mark.parametrize(("inputs", "targets"), [((33, 1), (66,)), ((33, 1), (32,)), ((), (1,)), ((1,), ())])
def test_training_wants_a_target_for_each_input(inputs, targets):
    params, optimizer, rng = {"w": np.zeros(1)}, Momentum(), np.random.default_rng(0)
    with pytest.raises(ValueError, match="targets must be as many as the inputs, got the shapes"):
        train(squares, params, np.ones(inputs), np.ones(targets), optimizer, epochs=1, batch_size=1, rng=rng)
    assert params["w"] == 0 and optimizer.steps == 0 and rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_training_stops_at_a_loss_that_is_no_number_before_its_step():
    params, rng = {"w": np.ones(1)}, np.random.default_rng(0)
    with pytest.raises(ValueError, match="loss must return a finite number, got nan in step 0"):
        train(lambda params, x, y: (np.nan, {"w": np.ones(1)}), params, np.ones((4, 1)), np.ones(4), SGD(), epochs=1, batch_size=2, rng=rng)
    assert params["w"] == 1


def test_curvatures_that_are_all_zero_have_no_best_rate():
    assert best_learning_rate([0.0, 2.0]) == 1
    with pytest.raises(ValueError, match=r"curvatures must not all be 0, got \[0.0, 0.0\]"):
        best_learning_rate([0.0, 0.0])


@pytest.mark.parametrize(("size", "batch_size", "sizes"), [(6, 2, [2, 2, 2]), (7, 3, [3, 3, 1]), (5, 5, [5]), (3, 1, [1, 1, 1])])
def test_an_epoch_takes_every_example_once(size, batch_size, sizes):
    batches = list(minibatches(np.random.default_rng(3), size, batch_size))
    assert [len(batch) for batch in batches] == sizes
    assert sorted(np.concatenate(batches)) == list(range(size))


def test_epochs_differ_in_their_order():
    rng = np.random.default_rng(0)
    first, second = (np.concatenate(list(minibatches(rng, 50, 10))) for _ in range(2))
    assert (first != second).any()


# ---- the loop ----


def run(optimizer, seed=0):
    data = digits()
    params = {"W": np.zeros((64, 10)), "b": np.zeros(10)}
    losses = train(softmax_regression, params, data.inputs[:300], data.labels[:300], optimizer, epochs=3, batch_size=32,
                   rng=np.random.default_rng(seed))
    return losses, params


@pytest.mark.parametrize("optimizer", [SGD(lr=0.3), Momentum(lr=0.1)], ids=lambda o: type(o).__name__)
def test_train_lowers_the_loss_with_any_optimizer(optimizer):
    losses, _ = run(optimizer)
    assert len(losses) == 3 * 10 == optimizer.steps
    assert losses[0] == pytest.approx(math.log(10))
    assert np.mean(losses[-10:]) < 0.7 * losses[0]


def test_train_is_the_loop_written_out():
    losses, params = run(SGD(lr=0.3))
    data, rng = digits(), np.random.default_rng(0)
    w, b, expected = np.zeros((64, 10)), np.zeros(10), []
    for _ in range(3):
        order = rng.permutation(300)
        for start in range(0, 300, 32):
            batch = order[start:start + 32]
            value, grads = softmax_regression({"W": w, "b": b}, data.inputs[batch], data.labels[batch])
            w, b = w - 0.3 * grads["W"], b - 0.3 * grads["b"]
            expected.append(value)
    assert losses == expected
    np.testing.assert_array_equal(params["W"], w)
    np.testing.assert_array_equal(params["b"], b)


def steps_to_loss(batch_size, lr, seed, goal=0.3, limit=120):
    data, rng = digits(seed), np.random.default_rng(seed)
    params, steps = {"W": np.zeros((64, 10)), "b": np.zeros(10)}, 0
    while steps < limit:
        for batch in minibatches(rng, len(data.inputs), batch_size):
            _, grads = softmax_regression(params, data.inputs[batch], data.labels[batch])
            params, steps = {k: params[k] - lr * grads[k] for k in params}, steps + 1
            if softmax_regression(params, data.inputs, data.labels)[0] <= goal:
                return steps
    return math.inf


def test_small_batches_save_examples_and_large_ones_steps():
    for seed in range(3):
        steps = [steps_to_loss(batch_size, lr, seed) for batch_size, lr in ((8, 2), (32, 4), (1348, 8))]
        assert steps[0] > steps[1] > steps[2]
        assert 8 * steps[0] < 32 * steps[1] < 1348 * steps[2]


def test_a_rate_beyond_the_edge_at_the_start_reaches_the_goal_sooner():
    assert steps_to_loss(1348, 8, 0) < steps_to_loss(1348, 1.7, 0)  # the edge at zero weights is at 1.75


def test_far_beyond_the_edge_the_loss_falls_once_then_rises_and_comes_down_where_it_is_less_curved():
    data = digits()
    inputs, target = np.column_stack([data.inputs, np.ones(len(data.labels))]), np.eye(10)[data.labels]
    weights, losses = np.zeros((65, 10)), []

    def chances():
        scores = np.exp(inputs @ weights - (inputs @ weights).max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)

    for _ in range(200):
        losses.append(-np.log((chances() * target).sum(axis=1) + 1e-300).mean())
        weights = weights - 8 * inputs.T @ (chances() - target) / len(inputs)
    assert losses[1] < 0.6 * losses[0] and max(losses[2:10]) > 3 * losses[0] and losses[-1] < 0.1
    p, v = chances(), np.random.default_rng(0).standard_normal((65, 10))
    for _ in range(50):  # power iteration on the Hessian
        slope = inputs @ (v / np.linalg.norm(v))
        v = inputs.T @ (p * slope - p * (p * slope).sum(axis=1, keepdims=True)) / len(inputs)
    assert np.linalg.norm(v) < 2 / 8


def test_the_noise_scale_grows_as_the_loss_comes_down():
    def noise_scale(data, params):
        each = [softmax_regression(params, data.inputs[[i]], data.labels[[i]])[1] for i in range(len(data.labels))]
        each = np.stack([np.append(grads["W"], grads["b"]) for grads in each])
        return each.var(axis=0).sum() / np.sum(each.mean(axis=0) ** 2)

    scales = []
    for seed in range(3):
        data, params = digits(seed), {"W": np.zeros((64, 10)), "b": np.zeros(10)}
        scales.append([noise_scale(data, params)])
        train(softmax_regression, params, data.inputs, data.labels, SGD(lr=0.5), epochs=20, batch_size=32,
              rng=np.random.default_rng(seed))
        scales[-1].append(noise_scale(data, params))
    start, end = np.median(scales, axis=0)
    assert start == pytest.approx(71, abs=1.5) and end > 3 * start


def test_noise_goes_where_every_example_is_fitted():
    x = np.arange(1.0, 5.0)[:, None]

    def loss(params, x, y):
        residual = x @ params["w"] - y
        return float(np.mean(residual**2) / 2), {"w": x.T @ residual / len(x)}

    left = []
    for off in (np.zeros(4), np.array([1.0, -1.0, 1.0, -1.0])):
        y, params = 5 * x[:, 0] + off, {"w": np.zeros(1)}
        train(loss, params, x, y, SGD(lr=0.05), epochs=200, batch_size=1, rng=np.random.default_rng(0))
        left.append(abs(params["w"] - np.linalg.lstsq(x, y, rcond=None)[0]).item())
    assert left[0] < 1e-12 and left[1] > 0.01


def test_the_seed_alone_decides_the_path():
    (first, p), (second, q), (other, _) = run(SGD(lr=0.3)), run(SGD(lr=0.3)), run(SGD(lr=0.3), seed=1)
    assert first == second != other
    np.testing.assert_array_equal(p["W"], q["W"])


def test_swapping_the_optimizer_changes_the_path_and_nothing_else():
    (plain, _), (heavy, _) = run(SGD(lr=0.1)), run(Momentum(lr=0.1))
    assert plain[0] == heavy[0]
    assert heavy[-1] < plain[-1]


def test_without_momentum_the_swap_changes_nothing_at_all():
    (plain, _), (weightless, _) = run(SGD(lr=0.1)), run(Momentum(lr=0.1, rho=0))
    assert plain == weightless


# ---- what is refused ----


@pytest.mark.parametrize("lr", [0, -0.1, math.nan, math.inf])
def test_a_learning_rate_that_is_not_positive_and_finite_is_refused(lr):
    with pytest.raises(ValueError, match=r"lr must lie in \(0, inf\)"):
        SGD(lr=lr)


def test_a_diverging_run_stops_at_the_first_gradient_that_is_not_finite():
    with pytest.raises(ValueError, match=r"grads\['w'\] must be finite"), np.errstate(over="ignore"):
        minimize(bowl(1), [1.0], SGD(lr=1e200), steps=5)
