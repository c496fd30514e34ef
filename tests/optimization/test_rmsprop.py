"""RMSProp: equal to its peers, and what the chapter proves about it."""

import json
from pathlib import Path

import numpy as np
import pytest
from peers import our_path, problem, recorded, torch_path

from reference_impl import AdaGrad, RMSProp, minimize, quadratic
from reference_impl.optimization.rmsprop import (
    changed_slope_step,
    constant_slope_step,
    cycle_amplitude,
    half_life,
    rmsprop,
    rmsprop_eps_inside,
)

CONFORMANCE = json.loads((Path(__file__).parents[1] / "conformance" / "cs231n_optim.json").read_text())


def slope_steps(optimizer, slopes):
    """The lengths of the steps when the gradients are `slopes`, whatever w is."""
    params, lengths = {"w": np.zeros(1)}, []
    for slope in slopes:
        before = params["w"].copy()
        optimizer.update(params, {"w": np.full(1, float(slope))})
        lengths.append((before - params["w"]).item())
    return np.array(lengths)


def test_the_path_is_torchs_as_recorded():
    path = our_path(RMSProp(lr=0.02))
    for step, w in recorded["rmsprop"].items():
        np.testing.assert_allclose(path[int(step)], w, rtol=0, atol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize(("decay", "eps"), [(0.99, 1e-8), (0.9, 1e-3), (0.0, 1e-8)])
def test_the_path_is_torchs(decay, eps):
    theirs = torch_path(lambda torch, p: torch.optim.RMSprop(p, lr=0.02, alpha=decay, eps=eps))
    np.testing.assert_allclose(our_path(RMSProp(lr=0.02, decay=decay, eps=eps)), theirs, rtol=0, atol=1e-12)


@pytest.mark.peers
def test_the_defaults_are_torchs():
    torch = pytest.importorskip("torch")
    theirs = torch.optim.RMSprop([torch.nn.Parameter(torch.zeros(1))]).defaults
    ours = RMSProp()
    assert (ours.lr, ours.decay, ours.eps) == (theirs["lr"], theirs["alpha"], theirs["eps"])


def test_one_step_is_cs231ns():
    case = CONFORMANCE["rmsprop"]
    w, dw, cache = (np.linspace(*case[name]["linspace"], case[name]["num"]).reshape(case[name]["shape"]) for name in ("w", "dw", "cache"))
    optimizer = RMSProp(lr=case["learning_rate"], decay=case["decay_rate"], eps=case["epsilon"])
    optimizer.load_state_dict({"rule": "rmsprop", "steps": 1, "s/w": cache})
    optimizer.update({"w": w}, {"w": dw})
    for got, expected in ((w, case["next_w"]), (optimizer.state["s"]["w"], case["next_cache"])):
        expected = np.array(expected)
        assert (np.abs(got - expected) / np.maximum(1e-8, np.abs(got) + np.abs(expected))).max() < case["tol"]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("c", [2.0**-20, 0.25, 4.0, 2.0**30])
def test_gradients_and_epsilon_scaled_alike_give_the_same_path_bit_for_bit(c, inside):
    _, gradient = problem()
    path = our_path(RMSProp(lr=0.02, decay=0.9, eps=0.01, eps_inside_root=inside))
    scaled = RMSProp(lr=0.02, decay=0.9, eps=0.01 * (c**2 if inside else c), eps_inside_root=inside)
    np.testing.assert_array_equal(our_path(scaled, gradient=lambda w: c * gradient(w)), path)


def test_each_coordinates_scale_is_its_own_affair_bit_for_bit():
    _, gradient = problem()
    scales = 2.0 ** np.array([-30, -3, 0, 1, 7, 40])
    plain, scaled = (our_path(RMSProp(lr=0.02, eps=0.0), gradient=lambda w, by=by: by * gradient(w)) for by in (1.0, scales))
    np.testing.assert_array_equal(scaled, plain)


@pytest.mark.parametrize("decay", [0.1, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("slope", [1e-6, 3.0])
def test_the_steps_on_a_constant_slope(decay, slope):
    lengths = slope_steps(RMSProp(lr=0.1, decay=decay, eps=0.0), [slope] * 300)
    np.testing.assert_allclose(lengths, constant_slope_step(np.arange(1, 301), 0.1, decay), rtol=1e-9)
    assert lengths[0] == pytest.approx(0.1 / (1 - decay) ** 0.5)


@pytest.mark.parametrize(("decay", "ratio"), [(0.9, 100.0), (0.99, 10.0), (0.5, 1e4), (0.9, 0.01)])
def test_the_steps_after_the_slope_has_changed(decay, ratio):
    optimizer = RMSProp(lr=0.1, decay=decay, eps=0.0)
    optimizer.load_state_dict({"rule": "rmsprop", "steps": 1, "s/w": np.full(1, ratio**2)})  # the average is full
    lengths = slope_steps(optimizer, [1.0] * 300)
    np.testing.assert_allclose(lengths, changed_slope_step(np.arange(1, 301), ratio, 0.1, decay), rtol=1e-8)


@pytest.mark.parametrize("decay", [0.05, 0.5, 0.9, 0.999])
def test_half_is_forgotten_after_the_half_life(decay):
    s, count = 1.0, 0
    while s > 0.5 * (1 + 1e-12):
        s, count = rmsprop(0.0, 0.0, s, lr=0.1, decay=decay, eps=1.0)[1], count + 1
    assert count == np.ceil(half_life(decay))


def test_the_window_is_longer_than_the_half_life_by_one_over_ln_2_in_the_limit_only():
    ratio = {decay: 1 / (1 - decay) / half_life(decay) for decay in (0.5, 0.9, 0.99, 0.999, 1 - 1e-7)}
    assert ratio[0.9] == pytest.approx(1.52, abs=0.005) and ratio[0.5] == 2
    assert list(ratio.values()) == sorted(ratio.values(), reverse=True)
    assert ratio[1 - 1e-7] == pytest.approx(1 / np.log(2), rel=1e-6)


@pytest.mark.parametrize("size", [1e-5, 1e-8, 1e-9, 1e-10])
def test_the_first_step_is_long_only_where_epsilon_is_small_beside_the_gradient(size):
    (length,) = slope_steps(RMSProp(lr=1.0, decay=0.99), [size])
    assert length == pytest.approx(size / (0.1 * size + 1e-8))
    assert (length > 9.9) == (size == 1e-5)


@pytest.mark.parametrize("turn", [0.2, 0.5, np.pi / 4])
@pytest.mark.parametrize("condition", [3.0, 100.0])
def test_the_swing_has_the_same_size_where_the_axes_lie_askew(turn, condition):
    axes = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    hessian = axes @ np.diag([1.0, condition]) @ axes.T
    path = minimize(lambda w: w @ hessian @ w / 2, [1.0, 0.7], RMSProp(lr=0.1, decay=0.9, eps=0.0), 3000, grad=lambda w: hessian @ w).path
    np.testing.assert_allclose(np.abs(path[-10:]), 0.05, rtol=1e-3)


def test_without_memory_any_amplitude_below_the_rate_swings():
    path = minimize(quadratic([2.0]), [0.03], RMSProp(lr=0.1, decay=0.0, eps=0.0), 6).path[:, 0]
    np.testing.assert_allclose(path, [0.03, -0.07] * 3 + [0.03], atol=1e-15)


def test_the_window_is_the_mean_age():
    for decay in (0.5, 0.9, 0.99):
        ages = np.arange(10_000)
        weights = (1 - decay) * decay**ages
        assert (weights * (ages + 1)).sum() == pytest.approx(1 / (1 - decay))


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("decay", [0.05, 0.3, 0.9, 0.99])
def test_in_the_end_it_swings_as_predicted(decay, inside):
    cases = [(1.0, 0.0), (50.0, 1e-3), (0.5, 0.01), (1.0, 0.2)]
    curvature, eps = np.array(cases).T
    eps = eps**2 if inside else eps
    predicted = [cycle_amplitude(0.1, c, e, eps_inside_root=inside) for c, e in zip(curvature, eps)]
    w, s = np.repeat([[1.0], [0.051], [1e-3]], len(cases), axis=1), np.zeros((3, len(cases)))
    rule = rmsprop_eps_inside if inside else rmsprop
    for _ in range(6000):
        before, (w, s) = w, rule(w, curvature * w, s, lr=0.1, decay=decay, eps=eps)
    np.testing.assert_allclose(np.abs(w), np.broadcast_to(predicted, w.shape), rtol=1e-3, atol=1e-12)
    np.testing.assert_array_equal(np.sign(before[:, :3]), -np.sign(w[:, :3]))


def test_the_swing_is_reached_at_the_rate_root_beta():
    decay, lr = 0.81, 0.2
    w, s, away = lr / 2 * 1.001, (lr / 2) ** 2, []
    for _ in range(60):
        w, s = rmsprop(w, w, s, lr=lr, decay=decay, eps=0.0)
        away.append(np.hypot(np.log(abs(w) * 2 / lr), np.log(s * 4 / lr**2)))
    assert (away[-1] / away[9]) ** (1 / 50) == pytest.approx(decay**0.5, rel=0.01)


def test_it_comes_near_and_leaves_again():
    away = np.abs(minimize(quadratic([2.0]), [1.0], RMSProp(lr=0.01, decay=0.9, eps=0.0), 400).path[:, 0])
    assert away.min() < 1e-18 and away[-1] == pytest.approx(0.005, rel=1e-3)


@pytest.mark.parametrize("lr", [0.1, 0.01])
def test_rounding_ends_the_path_where_the_minimum_is_not_at_zero(lr):
    path = minimize(lambda w: ((w - 1) ** 2).sum(), [2.0], RMSProp(lr=lr, decay=0.9), 400, grad=lambda w: 2 * (w - 1)).path[:, 0]
    assert path[-1] == 1


def test_without_curvature_at_the_minimum_it_arrives_by_the_fourth_root_of_the_decay():
    away = np.abs(minimize(lambda w: (w**4).sum(), [1.0], RMSProp(lr=0.1, decay=0.9, eps=0.0), 1500, grad=lambda w: 4 * w**3).path[:, 0])
    assert away[-1] < 1e-17
    assert (away[1400] / away[400]) ** (1 / 1000) == pytest.approx(0.9**0.25, rel=1e-6)


def test_the_first_step_on_the_plain_is_by_root_decay_longer_than_the_ratio_says():
    for decay in (0.5, 0.9):
        assert changed_slope_step(1, 1e4, 1.0, decay) * 1e4 == pytest.approx(decay**-0.5, rel=1e-6)


def test_a_falling_rate_takes_the_swing_with_it():
    def falling(step):
        return 0.1 / (1 + 0.1 * step)

    path = minimize(quadratic([2.0]), [1.0], RMSProp(lr=falling, decay=0.9), 2000).path[:, 0]
    assert abs(path[-1]) == pytest.approx(falling(1999) / 2, rel=0.02)


@pytest.mark.parametrize("size", [1e-12, 1e-8, 1e-4, 1.0])
def test_the_place_of_epsilon(size):
    eps = 1e-8
    outside, inside, squared = (-rule(0.0, size, size**2, lr=1.0, decay=0.9, eps=e)[0]
                                for rule, e in ((rmsprop, eps), (rmsprop_eps_inside, eps), (rmsprop_eps_inside, eps**2)))
    assert outside == pytest.approx(size / (size + eps))
    assert inside == pytest.approx(size / (size**2 + eps) ** 0.5)
    assert 1 - 1e-9 <= squared / outside <= 2**0.5 + 1e-9


def test_adagrad_is_a_schedule_of_it():
    imitation = RMSProp(lr=lambda step: 0.5 / (step + 1) ** 0.5, decay=lambda step: 1 - 1 / (step + 1), eps=0.0)
    np.testing.assert_allclose(our_path(imitation), our_path(AdaGrad(lr=0.5, eps=0.0)), rtol=0, atol=1e-12)


def test_without_memory_it_takes_the_sign():
    lengths = slope_steps(RMSProp(lr=0.125, decay=0.0, eps=0.0), [3.0, -1e-9, 1e9])
    np.testing.assert_array_equal(lengths, [0.125, -0.125, 0.125])


@pytest.mark.parametrize(("call", "message"), [
    (lambda: half_life(1.0), r"decay must be a number in \(0, 1\), got 1.0"),
    (lambda: half_life(0.0), r"decay must be a number in \(0, 1\), got 0.0"),
    (lambda: cycle_amplitude(0.0), r"lr must be a number in \(0, inf\), got 0.0"),
    (lambda: cycle_amplitude(0.1, 1.0, -1.0), r"eps must be a number in \[0, inf\), got -1.0"),
    (lambda: RMSProp(decay=1.0), r"decay must lie in \[0, 1\), got 1.0"),
])
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_at_equal_rates_it_gets_further_on_the_plain_than_adagrad_and_a_large_rate_takes_adagrad_over_the_cliff():
    def end(optimizer):
        path = minimize(lambda w: -w[0], [0.0], optimizer, 400, grad=lambda w: np.where(w < 3, -100.0, -1.0)).path[:, 0]
        return path[-1]

    for lr in (0.01, 0.1, 1.0, 10.0):
        assert end(RMSProp(lr=lr, decay=0.9, eps=0.0)) > 8 * end(AdaGrad(lr=lr))
    assert end(AdaGrad(lr=10.0)) > end(RMSProp(lr=0.03, decay=0.9, eps=0.0)) > end(AdaGrad(lr=0.3))
