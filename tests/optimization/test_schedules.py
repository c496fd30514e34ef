"""Schedules: pure functions, equal to their peers, and what the chapter proves about them."""

import math
import pickle

import numpy as np
import pytest
from rules import OPTIMIZERS

from reference_impl import (
    SGD,
    Adam,
    Affine,
    Momentum,
    ReLU,
    Sequential,
    constant,
    cosine,
    cyclic,
    digits,
    ema,
    exponential,
    inverse_time,
    linear,
    minimize,
    noisy,
    one_cycle,
    polyak_average,
    quadratic,
    softmax_cross_entropy,
    step_decay,
    warmup,
)
from reference_impl.optimization.adam import adam
from reference_impl.optimization.schedules import averaged_mean_square, mean_square

SCHEDULES = {
    "constant": constant(0.1),
    "step_decay": step_decay(0.1, every=7, factor=0.5),
    "exponential": exponential(0.1, decay=0.9),
    "inverse_time": inverse_time(0.1, half_after=5),
    "linear": linear(0.1, steps=30, floor=0.01),
    "cosine": cosine(0.1, steps=30, floor=0.01),
    "warmup": warmup(6, then=cosine(0.1, steps=24, floor=0.01)),
    "warmup to a number": warmup(6, then=0.1),
    "one_cycle": one_cycle(0.1, steps=30),
    "cyclic": cyclic(0.1, steps=8, floor=0.01),
}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())


def rates_of(schedule, count):
    return [schedule(step) for step in range(count)]


def torch_rates(make, count, lr=0.1):
    """The rates of the first `count` steps under a PyTorch scheduler."""
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, rates = make(torch.optim.lr_scheduler, optimizer), []
    for _ in range(count):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


# What they are


@every_schedule
def test_a_schedule_is_pure(schedule):
    before = rates_of(schedule, 40)
    assert rates_of(schedule, 40) == before
    for step in (39, 0, 17, 17, 3):
        assert schedule(step) == before[step]
    assert all(isinstance(rate, float) and rate > 0 for rate in before)


@every_schedule
def test_a_schedule_survives_pickling(schedule):
    assert rates_of(pickle.loads(pickle.dumps(schedule)), 60) == rates_of(schedule, 60)


def test_the_boundaries():
    stairs = step_decay(1.0, every=10, factor=0.5)
    assert rates_of(stairs, 20) == [1.0] * 10 + [0.5] * 10
    assert exponential(0.3, decay=0.9)(0) == 0.3
    assert inverse_time(0.3, half_after=7)(0) == 0.3
    assert inverse_time(0.3, half_after=7)(7) == 0.15
    fall = cosine(1.0, steps=10, floor=0.25)
    assert (fall(0), fall(10), fall(11), fall(10_000)) == (1.0, 0.25, 0.25, 0.25)
    line = linear(1.0, steps=10, floor=0.25)
    assert (line(0), line(10), line(11), line(10_000)) == (1.0, 0.25, 0.25, 0.25)
    cycle = one_cycle(1.0, steps=100, warm=0.3, start=0.04, end=1e-4)
    assert cycle(0) == pytest.approx(0.04, rel=1e-14)
    assert cycle(30) == 1.0 == max(rates_of(cycle, 101))
    assert cycle(100) == cycle(1000) == 1e-4
    saw = cyclic(1.0, steps=10, floor=0.1)
    assert saw(0) == saw(10) == saw(70) == 1.0
    assert rates_of(saw, 10) == rates_of(lambda step: saw(step + 30), 10) == rates_of(cosine(1.0, 10, 0.1), 10)


def test_one_cycle_without_a_rise_is_a_cosine():
    np.testing.assert_allclose(rates_of(one_cycle(1.0, steps=40, warm=0.0, end=0.1), 50), rates_of(cosine(1.0, 40, 0.1), 50), rtol=1e-15)


@pytest.mark.parametrize(("lr", "steps", "floor"), [(1.0, 10, 0.0), (0.3, 7, 0.02), (1e-3, 1000, 1e-5)])
@pytest.mark.parametrize("make", [cosine, linear])
def test_a_cosine_and_a_line_are_symmetric(make, lr, steps, floor):
    fall = make(lr, steps, floor)
    for step in range(steps + 1):
        assert fall(step) + fall(steps - step) == pytest.approx(lr + floor, rel=1e-14)
    assert sum(rates_of(fall, steps)) == pytest.approx(steps / 2 * (lr + floor) + (lr - floor) / 2, rel=1e-12)


def test_a_line_falls_by_the_same_amount_in_every_step():
    np.testing.assert_allclose(np.diff(rates_of(linear(0.8, steps=20, floor=0.2), 21)), -0.03, rtol=1e-12)


@pytest.mark.parametrize("then", [0.4, cosine(0.4, 50), exponential(0.4, 0.9)])
def test_a_warmup_rises_in_a_line_to_where_the_rest_begins(then):
    start = then(0) if callable(then) else then
    schedule = warmup(20, then=then)
    np.testing.assert_allclose(rates_of(schedule, 21), [*(start * np.arange(1, 21) / 20), start], rtol=1e-15)
    assert schedule(19) == schedule(20) == start
    for step in range(30):
        assert schedule(20 + step) == (then(step) if callable(then) else then)


def test_warmups_nest():
    assert warmup(4, then=warmup(5, then=1.0))(4) == warmup(5, then=1.0)(0)


@pytest.mark.parametrize(("make", "message"), [
    (lambda: inverse_time(0.1, half_after=0.5), r"half_after must be a number in \[1, inf\), got 0.5"),
    (lambda: one_cycle(0.1, steps=1), "steps must be a whole number from 2 up, got 1"),
    (lambda: ema(1.0, decay=0.5), "path must have an axis that counts its points, got 1.0"),
    (lambda: polyak_average(np.float32(1.0)), "path must have an axis that counts its points, got"),
    (lambda: mean_square(0.1, start=1.0), "rates must have one entry for each step, got 0.1"),
    (lambda: mean_square(np.ones((3, 2)), start=np.ones(3)), r"must broadcast in each step, got the shapes \(2,\), \(3,\), \(\) and \(\)"),
    (lambda: averaged_mean_square(2.0, 10, start=1.0), r"lr \* curvature must lie in \(0, 2\), got 2"),
    (lambda: averaged_mean_square(0.5, 10, start=1.0, curvature=5.0), r"lr \* curvature must lie in \(0, 2\), got 2.5"),
])
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("make", [
    lambda: constant(-1), lambda: constant(np.nan), lambda: constant("0.1"), lambda: constant(np.array(0.1)), lambda: constant(True),
    lambda: step_decay(0.1, 3, -1), lambda: step_decay(0.1, 2.5), lambda: exponential(0.1, 0.0), lambda: linear(0.1, 10, floor=-1e-9),
    lambda: one_cycle(0.1, 10, start=-1), lambda: one_cycle(0.1, 10, end=-1), lambda: warmup(3, then=-0.1), lambda: warmup(3, then=SGD),
])
def test_what_could_never_be_a_rate_is_refused_when_the_schedule_is_made(make):
    with pytest.raises((TypeError, ValueError), match=" must be a "):
        make()


def test_zero_may_be_an_end_of_a_schedule():
    assert constant(0)(5) == cosine(0.1, steps=3, floor=0.0)(3) == one_cycle(0.1, 10, start=0)(0) == 0


def test_an_optimizer_refuses_the_zero_at_the_end_of_a_cosine_and_changes_nothing():
    optimizer, w = SGD(lr=cosine(0.1, steps=3)), np.ones(2)
    for _ in range(3):
        optimizer.update({"w": w}, {"w": np.ones(2)})
    before = w.copy()
    with pytest.raises(ValueError, match=r"lr\(3\) must lie in \(0, inf\), got 0.0"):
        optimizer.update({"w": w}, {"w": np.ones(2)})
    np.testing.assert_array_equal(w, before)
    assert optimizer.steps == 3


# Their peers


# Recorded with torch 2.13.0: the rates of the steps 0, 3, 4, 9, 10, 19, base rate 0.1, settings as in PEERS.
RECORDED = {
    "StepLR": [0.1, 0.1, 0.03, 0.009, 0.009, 0.0008099999999999998],
    "ExponentialLR": [0.1, 0.07290000000000002, 0.06561000000000002, 0.03874204890000002, 0.03486784401000002, 0.013508517176729932],
    "CosineAnnealingLR": [0.1, 0.09457631880429199, 0.0905113229228377, 0.058716070546254946, 0.051283929453745034, 0.01],
    "CosineAnnealingWarmRestarts": [0.1, 0.05500000000000001, 0.032500000000000015, 0.05500000000000001, 0.032500000000000015, 0.09397114317029975],
    "OneCycleLR": [0.0040000000000000036, 0.06683281572999747, 0.09083281572999748, 0.0811745653949763, 0.07169430017913009, 4e-07],
    "LinearLR": [0.0125, 0.05, 0.0625, 0.1, 0.1, 0.1],
}
PEERS = {
    "StepLR": (step_decay(0.1, every=4, factor=0.3), lambda m, o: m.StepLR(o, 4, gamma=0.3)),
    "ExponentialLR": (exponential(0.1, decay=0.9), lambda m, o: m.ExponentialLR(o, 0.9)),
    "CosineAnnealingLR": (cosine(0.1, steps=19, floor=0.01), lambda m, o: m.CosineAnnealingLR(o, 19, eta_min=0.01)),
    "CosineAnnealingWarmRestarts": (cyclic(0.1, steps=6, floor=0.01), lambda m, o: m.CosineAnnealingWarmRestarts(o, 6, eta_min=0.01)),
    "OneCycleLR": (  # its peak lies at step 0.3 * 20 - 1, its end at step 20 - 1
        one_cycle(0.1, steps=19, warm=5 / 19, start=1 / 25, end=1 / 25e4),
        lambda m, o: m.OneCycleLR(o, max_lr=0.1, total_steps=20, cycle_momentum=False),
    ),
    "LinearLR": (warmup(8, then=0.1), lambda m, o: m.LinearLR(o, start_factor=1 / 8, total_iters=7)),
    "LinearLR, falling": (linear(0.1, steps=19, floor=0.01), lambda m, o: m.LinearLR(o, start_factor=1, end_factor=0.1, total_iters=19)),
}
every_peer = pytest.mark.parametrize("name", PEERS)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@every_peer
def test_the_rates_are_torchs(name):
    ours, theirs = PEERS[name]
    np.testing.assert_allclose(rates_of(ours, 20), torch_rates(theirs, 20), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", RECORDED)
def test_the_rates_are_torchs_as_recorded(name):
    np.testing.assert_allclose([PEERS[name][0](step) for step in (0, 3, 4, 9, 10, 19)], RECORDED[name], rtol=0, atol=1e-14)


# Optimizers that follow them


@every_schedule
@pytest.mark.parametrize("make", [SGD, Momentum, Adam])
def test_an_optimizer_takes_the_rate_of_the_steps_it_has_finished(schedule, make):
    """Setting the number by hand before each step is the same."""
    followed, by_hand = np.array([1.0, -2.0]), np.array([1.0, -2.0])
    optimizer, manual = make(lr=schedule), make(lr=1.0)
    for step in range(35):
        optimizer.update({"w": followed}, {"w": 3 * followed})
        manual.lr = schedule(step)
        manual.update({"w": by_hand}, {"w": 3 * by_hand})
    np.testing.assert_array_equal(followed, by_hand)


@every_schedule
def test_every_schedule_brings_a_descent_down(schedule):
    path, losses = minimize(quadratic([1.0, 5.0]), [1.0, 1.0], SGD(lr=schedule), 29)
    assert losses[-1] < losses[0] / 10
    np.testing.assert_allclose(path[-1, 1], np.prod(1 - 5 * np.array(rates_of(schedule, 29))), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_resumed_in_mid_schedule_equals_the_uninterrupted_one(name):
    def make():
        optimizer = OPTIMIZERS[name]()
        optimizer.lr = SCHEDULES["warmup"]
        return optimizer

    def go_on(optimizer, w, steps):
        for _ in range(steps):
            optimizer.update({"w": w}, {"w": w**3 + 2 * w})
        return w

    whole = go_on(make(), np.array([1.0, -0.5]), 24)
    for stop in (0, 3, 6, 15):  # before, in, at the end of and after the rise
        first, second = make(), make()
        w = go_on(first, np.array([1.0, -0.5]), stop)
        second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
        np.testing.assert_array_equal(go_on(second, w, 24 - stop), whole)


def test_an_optimizer_with_a_schedule_survives_pickling_in_the_middle():
    optimizer, w = Adam(lr=SCHEDULES["one_cycle"]), np.ones(3)
    for _ in range(10):
        optimizer.update({"w": w}, {"w": w**3})
    copy, w_copy = pickle.loads(pickle.dumps(optimizer)), w.copy()
    for _ in range(10):
        optimizer.update({"w": w}, {"w": w**3})
        copy.update({"w": w_copy}, {"w": w_copy**3})
    np.testing.assert_array_equal(w, w_copy)


# Averages


def test_polyak_average_is_the_mean_of_every_beginning():
    path = np.random.default_rng(0).standard_normal((30, 2, 3))
    averages = polyak_average(path)
    for count in range(1, 31):
        np.testing.assert_allclose(averages[count - 1], path[:count].mean(axis=0), rtol=0, atol=1e-14)


def test_ema_is_its_closed_form():
    path, decay = np.random.default_rng(1).standard_normal((25, 2)), 0.8
    averages = ema(path, decay)
    for at in range(25):
        ages = np.arange(at)  # the start is the oldest and keeps the rest of the weight
        expected = decay**at * path[0] + (1 - decay) * (decay ** ages[:, None] * path[at - ages]).sum(axis=0)
        np.testing.assert_allclose(averages[at], expected, rtol=0, atol=1e-14)


def test_averages_of_what_does_not_move_and_with_no_memory():
    still = np.full((10, 2), 3.0)
    np.testing.assert_allclose(polyak_average(still), still)
    np.testing.assert_allclose(ema(still, 0.9), still)
    path = np.arange(5)
    np.testing.assert_array_equal(ema(path, 0.0), path)
    assert path.dtype.kind == "i"  # the path is left as it was


# What the chapter predicts


@every_schedule
def test_the_mean_square_against_simulation(schedule):
    walkers = 4000
    land = noisy(quadratic(np.full(walkers, 2.0)), 0.5, np.random.default_rng(0))
    path, _ = minimize(land, np.full(walkers, 1.5), SGD(lr=schedule), 40)
    expected = mean_square(rates_of(schedule, 40), start=1.5**2, curvature=2.0, sigma=0.5)
    error = (path**2).std(axis=1) / np.sqrt(walkers)
    assert (np.abs((path**2).mean(axis=1) - expected) <= 4.5 * error + 1e-15).all()


def test_the_mean_square_at_a_constant_rate_is_its_closed_form():
    lr, curvature, sigma, start = 0.3, 1.7, 0.4, 5.0
    floor = lr * sigma**2 / (curvature * (2 - lr * curvature))
    expected = floor + (1 - lr * curvature) ** (2 * np.arange(51)) * (start - floor)
    np.testing.assert_allclose(mean_square([lr] * 50, start, curvature=curvature, sigma=sigma), expected, rtol=1e-12)


def test_the_mean_square_takes_many_rates_and_curvatures_at_once():
    rates, curvatures = np.random.default_rng(2).uniform(0, 1, (20, 4, 1)), np.array([0.1, 1.0, 1.5])
    together = mean_square(rates, 2.0, curvature=curvatures, sigma=0.3)
    assert together.shape == (21, 4, 3)
    for i in range(4):
        for j in range(3):
            np.testing.assert_allclose(together[:, i, j], mean_square(rates[:, i, 0], 2.0, curvature=curvatures[j], sigma=0.3), rtol=1e-13)


def test_without_steps_nothing_has_moved():
    assert mean_square([], start=3.0).tolist() == [3.0]


@pytest.mark.parametrize("lr", [0.05, 0.5, 1.9])
def test_the_average_against_its_definition(lr):
    """Every noise's weight in the mean, from the rule itself: one unit of noise at a time."""
    curvature, sigma, start, points = 0.9, 0.7, 2.0, 25
    weights = []
    for at in range(points - 1):
        kicks = np.zeros(points - 1)
        kicks[at] = 1.0
        w, path = 0.0, [0.0]
        for kick in kicks:
            w -= lr * (curvature * w + kick)
            path.append(w)
        weights.append(np.mean(path))
    still = np.mean((1 - lr * curvature) ** np.arange(points))
    expected = start * still**2 + sigma**2 * np.sum(np.square(weights))
    assert averaged_mean_square(lr, points, start, curvature=curvature, sigma=sigma) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("lr", [0.02, 0.2, 1.0, 1.8])
def test_the_average_is_asymptotically_the_best_whatever_the_rate(lr):
    count, curvature, sigma = 10**8, 0.5, 0.3
    best = sigma**2 / (curvature**2 * count)
    assert averaged_mean_square(lr, count, 1.0, curvature=curvature, sigma=sigma) == pytest.approx(best, rel=1e-3)


def test_one_over_t_with_the_perfect_constant_is_the_plain_mean():
    for at, square in enumerate(mean_square(rates_of(inverse_time(1.0, half_after=1), 100), start=7.0)):
        if at:
            assert square == pytest.approx(1 / at, rel=1e-12)


@pytest.mark.parametrize("c", [0.6, 1.0, 2.0, 5.0])
def test_one_over_t_ends_at_c_squared_over_2c_minus_1(c):
    steps = 100_000
    square = mean_square(c / (10 + np.arange(steps)), start=0.0)[-1]
    assert square * steps == pytest.approx(c**2 / (2 * c - 1), rel=0.2 if c < 1 else 0.01)


@pytest.mark.parametrize("c", [0.1, 0.25, 0.4])
def test_one_over_t_with_too_small_a_constant_is_slower(c):
    squares = mean_square(c / (10 + np.arange(100_000)), start=1.0)
    assert np.log10(squares[-1] / squares[10_000]) == pytest.approx(-2 * c, abs=0.02)


def test_one_over_t_for_the_steep_direction_covers_a_third_of_the_way_along_the_flat_one():
    squares = mean_square(inverse_time(1 / 40, half_after=40)(np.arange(100_000)), 1.0, curvature=0.05)
    assert 1 - math.sqrt(squares[-1]) == pytest.approx(1 / 3, abs=0.03)


@pytest.mark.parametrize(("lr", "decay", "curvature"), [(0.1, 0.99, 0.05), (0.1, 0.9, 0.5), (0.5, 0.5, 0.9)])
def test_an_exponential_stops_before_it_arrives(lr, decay, curvature):
    schedule, steps = exponential(lr, decay), 1000
    path, _ = minimize(quadratic([curvature]), [1.0], SGD(lr=schedule), steps)
    supply = lr / (1 - decay)
    assert 1 - curvature * supply <= path[-1, 0] <= math.exp(-curvature * supply)
    assert sum(rates_of(schedule, steps)) == pytest.approx(supply, rel=1e-4)
    arrives, _ = minimize(quadratic([curvature]), [1.0], SGD(lr=inverse_time(lr, half_after=1 / (1 - decay))), steps)
    assert arrives[-1, 0] < path[-1, 0]


def test_the_stationary_floor_of_an_ema():
    walkers, lr, decay = 500, 0.2, 0.95
    land = noisy(quadratic(np.ones(walkers)), 1.0, np.random.default_rng(3))
    path, _ = minimize(land, np.zeros(walkers), SGD(lr=lr), 1000)
    q = 1 - lr
    expected = lr / (2 - lr) * (1 - decay) / (1 + decay) * (1 + decay * q) / (1 - decay * q)
    assert (ema(path, decay)[300:] ** 2).mean() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("curvature", [0.01, 0.5, 1.9])
def test_on_a_bowl_no_rise_helps(curvature):
    """Two steps let in 2xyλ(y - x)σ² more noise with the smaller rate first, so falling rates are best of all orders."""
    x, y = 0.2, 0.7
    ends = [mean_square(rates, 3.0, curvature=curvature)[-1] for rates in ([x, y], [y, x])]
    assert ends[0] - ends[1] == pytest.approx(2 * x * y * curvature * (y - x), rel=1e-9)
    rates = np.random.default_rng(0).uniform(0.01, 1.0, (30, 200))
    falling = np.sort(rates, axis=0)[::-1]
    assert (mean_square(falling, 3.0, curvature=curvature)[-1] <= mean_square(rates, 3.0, curvature=curvature)[-1] + 1e-12).all()


def test_on_a_bowl_the_average_has_no_bias_even_with_lopsided_noise():
    rng, w, total = np.random.default_rng(0), np.zeros(2000), 0.0
    for _ in range(2000):
        w = w - 0.8 * (w + rng.exponential(size=2000) - 1)
        total = total + w / 2000
    assert (w > 0).mean() > 0.55  # the points lie lopsided about it
    assert abs(total.mean()) < 4 * total.std() / math.sqrt(w.size)


@pytest.mark.parametrize("lr", [0.05, 0.1, 0.2])
def test_off_the_bowl_the_average_has_a_bias_that_grows_with_the_rate(lr):
    """On e^w - w with unit noise: E e^w = 1, so E w < 0, and E w is about -lr/4."""
    runs, steps = 1000, 5000
    rng, w, total, means = np.random.default_rng(4), 0.0, 0.0, 0.0
    for at in range(steps):
        w = w - lr * (np.expm1(w) + rng.standard_normal(runs))
        if at >= 500:
            total, means = total + w, means + np.exp(w).mean()
    center, error = total.mean() / (steps - 500), total.std() / (steps - 500) / np.sqrt(runs)
    assert means / (steps - 500) == pytest.approx(1, abs=0.002)
    assert center < -5 * error
    assert abs(center + lr / 4) < 4 * error + lr**2 / 4  # the next order is in proportion to the rate's square


def best_of(schedules, sigma, low=0.01, steps=1000):
    """The lowest mean loss at the end over sixty peaks, as in the chapter's table."""
    curvatures, peaks = np.geomspace(low, 1, 10), np.geomspace(0.003, 1.9, 60)[:, None]
    return min(
        (mean_square(np.array(rates_of(schedule, steps))[:, None, None] * peaks, 1.0, curvature=curvatures, sigma=sigma)[-1] @ curvatures).min() / 2
        for schedule in schedules
    )


def test_no_schedule_is_the_best():
    line = [linear(1.0, 1000, floor) for floor in (0.0, 0.01, 0.1)]
    power = [exponential(1.0, end ** (1 / 1000)) for end in (0.1, 0.01, 0.001)]
    assert best_of(line, 1.0) == pytest.approx(0.046953, abs=1e-6) and best_of(power, 1.0) == pytest.approx(0.047211, abs=1e-6)
    assert best_of(line, 0.1) > 1.05 * best_of(power, 0.1)
    assert best_of(line, 0.1, low=0.001) < best_of(power, 0.1, low=0.001)


def test_a_step_decay_by_tenths_can_lose_to_no_decay_where_one_by_halves_does_not():
    tenths = [step_decay(1.0, every=1000 // parts) for parts in (2, 3, 4)]
    halves = [step_decay(1.0, every=1000 // parts, factor=0.5) for parts in (4, 6, 8)]
    assert best_of(halves, 1.0) < best_of([constant(1.0)], 1.0) < best_of(tenths, 1.0)


@pytest.mark.parametrize("beta2", [0.9, 0.99, 0.999])
def test_adams_excess_on_noise_is_about_sixteen_settled_steps_whatever_beta2(beta2):
    coordinates, settled = 4000, np.sqrt(0.1 / 1.9)
    rng, (w, m, v), lengths = np.random.default_rng(0), np.zeros((3, coordinates)), []
    for t in range(1, 101):
        before = w
        w, m, v = adam(w, rng.standard_normal(coordinates), m, v, lr=1.0, beta1=0.9, beta2=beta2, eps=0.0, t=t)
        lengths.append(np.sqrt(np.mean((w - before) ** 2)))
    assert np.sum(np.array(lengths) / settled - 1) == pytest.approx(15.6, abs=1.2)
    assert np.flatnonzero(np.array(lengths) < 1.1 * settled)[0] + 1 in range(20, 28)


@pytest.mark.parametrize("p", [0.25, 0.5])
def test_slow_decays_arrive_in_mean_square(p):
    assert mean_square(1 / np.arange(1, 50_001) ** p, 1.0)[-1] == pytest.approx(0.5 / 50_000**p, rel=0.05)


def test_without_a_finite_sum_of_squares_it_is_the_noise_that_decides_about_single_paths():
    """At the rates 1/√t normal noise lets the paths be; rare and large noise of the same variance goes on throwing them."""
    rng, w, far = np.random.default_rng(1), np.zeros((2, 200)), np.zeros((2, 200), bool)
    for t in range(4000):
        rare = (rng.random(200) < 1 / (t + 1)) * np.sqrt(t + 1) * rng.choice([-1, 1], 200)
        w = w - (w + np.array([rng.standard_normal(200), rare])) / np.sqrt(t + 1)
        far |= (t >= 2000) & (np.abs(w) > 0.8)
    assert not far[0].any() and far[1].sum() > 50


# The network that the chapter asks


DATA = digits(0)


def network(seed):
    rng = np.random.default_rng(seed)
    return Sequential(Affine(64, 32, rng=rng), ReLU(), Affine(32, 10, rng=rng)), rng


def steepest(model, steps=40, nudge=1e-7):
    """The Hessian's largest eigenvalue on 1000 examples, by the power method on H + 5; the nudge is small enough to miss the kinks."""
    values = model.params
    at = {key: value.copy() for key, value in values.items()}
    rng = np.random.default_rng(0)
    direction = {key: rng.standard_normal(value.shape) for key, value in values.items()}

    def slopes(sign):
        for key, value in values.items():
            value[...] = at[key] + sign * nudge * direction[key]
        model.backward(softmax_cross_entropy(model.forward(DATA.inputs[:1000]), DATA.labels[:1000])[1])
        return {key: grad.copy() for key, grad in model.grads.items()}

    for _ in range(steps):
        size = np.sqrt(sum((value**2).sum() for value in direction.values()))
        direction = {key: value / size for key, value in direction.items()}
        ahead, behind = slopes(1), slopes(-1)
        product = {key: (ahead[key] - behind[key]) / (2 * nudge) for key in ahead}
        value = sum((product[key] * direction[key]).sum() for key in product)
        direction = {key: product[key] + 5 * direction[key] for key in product}
    for key, array in values.items():
        array[...] = at[key]
    return value


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_curvature_of_a_network_climbs_on_the_way(seed):
    model, rng = network(seed)
    optimizer, found = SGD(lr=0.2), {}
    for step in range(81):
        if step in (5, 80):
            found[step] = steepest(model)
        batch = rng.integers(1000, size=32)
        model.backward(softmax_cross_entropy(model.forward(DATA.inputs[batch]), DATA.labels[batch])[1])
        optimizer.update(model.params, model.grads)
    assert found[80] > 1.2 * found[5]


@pytest.mark.parametrize("noise", [True, False])
def test_at_a_high_peak_adams_first_steps_are_too_long_with_noise_and_without(noise):
    """A warm-up, and undoing no more than the excess on noise, both bring the loss down; the same cut thirty steps later does not."""
    down = linear(0.3, 200)

    def undone(step):
        forgotten = 0.9 ** (step + 1)
        return down(step) * math.sqrt((1 - forgotten) / (1 + forgotten))

    def late(step):
        return down(step) * (undone(step - 30) / down(step - 30) if step >= 30 else 1)

    def ended(schedule, seed):
        model, rng = network(seed)
        optimizer = Adam(lr=schedule)
        for _ in range(200):
            batch = rng.integers(1000, size=32) if noise else slice(128)
            model.backward(softmax_cross_entropy(model.forward(DATA.inputs[batch]), DATA.labels[batch])[1])
            optimizer.update(model.params, model.grads)
        where = slice(1000) if noise else slice(128)
        return softmax_cross_entropy(model.forward(DATA.inputs[where]), DATA.labels[where])[0]

    for seed in range(3):
        plain, *others = [ended(schedule, seed) for schedule in (down, undone, warmup(20, then=linear(0.3, 180)))]
        assert max(others) < plain / 2 < ended(late, seed)


# The drop of the chapter's figure: a steep direction with strong noise, a flat one with weak noise


def two_directions(when, factor, total=400, rate=0.2):
    """Mean loss in the flat and in the steep direction, over the steps; when and factor may be arrays."""
    when, factor = np.broadcast_arrays(when, factor)
    at = np.arange(total).reshape(-1, *[1] * when.ndim)
    rates = rate * np.where(at < when, 1, factor)
    curvature, noise = np.array([0.02, 1.0]), np.array([1.0, 5.0])
    squares = mean_square(rates[..., None], np.array([100.0, 4.0]), curvature=curvature, sigma=noise)
    return squares * curvature / 2


def test_a_drop_too_soon_looks_better_for_most_of_the_run_and_ends_worse():
    early, late = two_directions(40, 0.1), two_directions(300, 0.1)
    ahead = early.sum(axis=1) < late.sum(axis=1)
    assert ahead[41:].sum() > 0.6 * 400 and not ahead[-1]
    assert early[-1, 0] > 4 * late[-1, 0]  # it is the walk along the flat direction that is missing
    assert early[-1, 1] < late[-1, 1]


def test_the_noise_has_settled_long_before_the_early_drop():
    steep = two_directions(400, 1)[:, 1]
    assert abs(steep[12:] / steep[-1] - 1).max() < 0.01


def test_the_best_drop_is_late_and_deep_and_each_way_from_it_is_worse():
    when, factor = np.meshgrid(np.arange(0, 401, 25), np.geomspace(0.01, 1, 21))
    ends = two_directions(when, factor)[-1].sum(axis=-1)
    row, column = np.unravel_index(ends.argmin(), ends.shape)
    assert 250 <= when[row, column] <= 325 and 0.05 < factor[row, column] < 0.15
    assert (np.diff(ends[row, column:]) > 0).all() and (np.diff(ends[row, :column + 1]) < 0).all()
    assert (np.diff(ends[row:, column]) > 0).all() and (np.diff(ends[:row + 1, column]) < 0).all()
    lowest, best, highest = two_directions(when[row, column], factor[[0, row, -1], column])[-1]
    assert lowest[0] > best[0] and highest[1] > best[1]  # too low stops the walk, too high keeps the noise
