"""Adam, AdamW and AMSGrad: equal to their peers, and what the chapter proves about them."""

import json
from pathlib import Path

import numpy as np
import pytest
from peers import problem, recorded, torch_path
from scipy.special import log_softmax

from reference_impl import SGD, AdaGrad, Adam, AdamW, AMSGrad, Momentum, digits, minimize, softmax_regression, taco_shell, train
from reference_impl.optimization.adam import (
    adam,
    amsgrad,
    amsgrad_corrected_max,
    correction_ratio,
    drift_bound,
    follow,
    longest_step_gradients,
    step_bound,
    yogi,
)

CONFORMANCE = json.loads((Path(__file__).parents[1] / "conformance" / "cs231n_optim.json").read_text())
BETAS = 0.9, 0.999


def run(optimizer, gradients, w=0.0):
    """The path of one array whose gradients are given."""
    gradients = np.asarray(gradients, dtype=float)
    params, path = {"w": np.full(gradients.shape[1:], w)}, [np.full(gradients.shape[1:], w)]
    for g in gradients:
        optimizer.update(params, {"w": np.asarray(g)})
        path.append(params["w"].copy())
    return np.array(path)


def our_path(optimizer, steps=100, *, to=lambda w: w, back=lambda w: w, scale=1.0):
    """The path on the peers' problem, seen in the coordinates `to(w)`, with the loss multiplied by `scale`."""
    w, gradient = problem()
    params = {"w": to(w)}
    path = [params["w"].copy()]
    for _ in range(steps):
        optimizer.update(params, {"w": scale * to(gradient(back(params["w"])))})
        path.append(params["w"].copy())
    return np.array(path)


RECORDED = {"adam": lambda: Adam(lr=0.02), "adamw": lambda: AdamW(lr=0.02, weight_decay=0.1), "amsgrad": lambda: AMSGrad(lr=0.02)}


@pytest.mark.parametrize("name", RECORDED)
def test_the_path_is_torchs_as_recorded(name):
    path = our_path(RECORDED[name]())
    for step, w in recorded[name].items():
        np.testing.assert_allclose(path[int(step)], w, rtol=0, atol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize(("ours", "theirs"), [
    (Adam(lr=0.05), lambda torch, p: torch.optim.Adam(p, lr=0.05)),
    (Adam(lr=0.01, beta1=0.5, beta2=0.9, eps=0.1), lambda torch, p: torch.optim.Adam(p, lr=0.01, betas=(0.5, 0.9), eps=0.1)),
    (AdamW(lr=0.05, weight_decay=0.1), lambda torch, p: torch.optim.AdamW(p, lr=0.05, weight_decay=0.1)),
    (AMSGrad(lr=0.05), lambda torch, p: torch.optim.Adam(p, lr=0.05, amsgrad=True)),
])
def test_the_path_is_torchs(ours, theirs):
    np.testing.assert_allclose(our_path(ours), torch_path(theirs), rtol=0, atol=1e-12)


def test_one_step_is_cs231ns():
    case = CONFORMANCE["adam"]
    w, dw, m, v = (np.linspace(*case[name]["linspace"], case[name]["num"]).reshape(case[name]["shape"]) for name in ("w", "dw", "m", "v"))
    optimizer = Adam(lr=case["learning_rate"], beta1=case["beta1"], beta2=case["beta2"], eps=case["epsilon"])
    optimizer.load_state_dict({"rule": "adam", "steps": case["t_before"], "m/w": m, "v/w": v})
    optimizer.update({"w": w}, {"w": dw})
    assert optimizer.steps == case["t_used"]
    for got, expected in ((w, case["next_w"]), (optimizer.state["m"]["w"], case["next_m"]), (optimizer.state["v"]["w"], case["next_v"])):
        expected = np.array(expected)
        assert (np.abs(got - expected) / np.maximum(1e-8, np.abs(got) + np.abs(expected))).max() < case["tol"]


def test_following_gradients_is_the_optimizers_path():
    g = np.random.default_rng(0).normal(size=(60, 3))
    steps, m, v = follow(g, 0.8, 0.95, eps=0.01)
    optimizer = Adam(lr=0.3, beta1=0.8, beta2=0.95, eps=0.01)
    np.testing.assert_allclose(np.diff(run(optimizer, g), axis=0), -0.3 * steps, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(m[-1], optimizer.state["m"]["w"])
    np.testing.assert_array_equal(v[-1], optimizer.state["v"]["w"])


# The correction


@pytest.mark.parametrize("seed", range(5))
def test_m_is_the_weighted_sum_and_its_weights_add_up_to_what_the_correction_divides_by(seed):
    rng = np.random.default_rng(seed)
    beta, g = rng.uniform(0, 1), rng.normal(size=(30, 4))
    m = v = np.zeros(4)
    for t, g_t in enumerate(g, start=1):
        _, m, v = adam(0.0, g_t, m, v, lr=1.0, beta1=beta, beta2=beta, eps=1.0, t=t)
        weights = (1 - beta) * beta ** np.arange(t - 1, -1, -1.0)
        np.testing.assert_allclose(m, weights @ g[:t], rtol=0, atol=1e-14)
        np.testing.assert_allclose(v, weights @ g[:t] ** 2, rtol=0, atol=1e-13)
        assert weights.sum() == pytest.approx(1 - beta**t, rel=1e-12)


def means(kind, seed, steps, drift):
    """The means of a gradient that moves by at most `drift` a step."""
    rng, t = np.random.default_rng(seed), np.arange(1, steps + 1)
    return {
        "steady": rng.normal() + drift * t,
        "walk": np.cumsum(rng.uniform(-drift, drift, steps)),
        "wave": drift / 0.3 * np.sin(0.3 * t + seed),
        "jumps": np.cumsum(drift * rng.choice([-1, 0, 1], steps)),
    }[kind]


@pytest.mark.parametrize("kind", ["steady", "walk", "wave", "jumps"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99])
def test_zeta_stays_within_its_bound_on_gradients_that_change(kind, seed, beta):
    steps, drift = 200, 0.1
    mu = means(kind, seed, steps, drift)
    m, zeta = 0.0, []
    for t, mean in enumerate(mu, start=1):
        m = adam(0.0, mean, m, 1.0, lr=1.0, beta1=beta, beta2=0.9, eps=1.0, t=t)[1]  # linear: the mean of m is m of the means
        zeta.append(m - (1 - beta**t) * mean)
    allowed = drift_bound(np.arange(1, steps + 1), beta, drift)
    assert (np.abs(zeta) <= allowed + 1e-12).all()
    assert allowed.max() <= drift * beta / (1 - beta) * (1 + 1e-12)
    if kind == "steady":
        np.testing.assert_allclose(zeta, -allowed, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_bias_of_both_moments_on_noisy_gradients_that_change(seed):
    rng, chains, steps = np.random.default_rng(seed), 10_000, 40
    mu = means("walk", seed, steps, 0.2)
    m = v = np.zeros(chains)
    for t, mean in enumerate(mu, start=1):
        g = mean + rng.standard_normal(chains)
        _, m, v = adam(0.0, g, m, v, lr=1.0, beta1=0.9, beta2=0.99, eps=1.0, t=t)
    for average, beta, expected in ((m, 0.9, mu), (v, 0.99, mu**2 + 1)):
        weights = (1 - beta) * beta ** np.arange(steps - 1, -1, -1.0)
        zeta = weights @ (expected - expected[-1])
        error = average.std() / chains**0.5
        assert abs(average.mean() - expected[-1] * (1 - beta**steps) - zeta) < 4 * error
        assert abs(zeta) <= drift_bound(steps, beta, np.abs(np.diff(expected)).max())


@pytest.mark.parametrize("t", [1, 10, 300])
def test_the_root_of_a_right_average_is_too_small(t):
    g = np.random.default_rng(t).standard_normal((t, 10_000))
    v_hat = 0.001 * 0.999 ** np.arange(t - 1, -1, -1.0) @ g**2 / (1 - 0.999**t)
    mean, error = np.sqrt(v_hat).mean(), np.sqrt(v_hat).std() / 100
    assert abs(v_hat.mean() - 1) < 4 * v_hat.std() / 100
    assert mean < 1 - 2 * error or t == 300
    parabola = 1 - 0.001 * (1 + 0.999**t) / (1.999 * (1 - 0.999**t)) / 4
    assert mean == pytest.approx(np.sqrt(2 / np.pi) if t == 1 else parabola, abs=4 * error + 0.002)


def test_the_ratio_is_the_uncorrected_step_over_the_corrected():
    g = np.random.default_rng(0).normal(size=40)
    m = v = 0.0
    for t, g_t in enumerate(g, start=1):
        state, options = (g_t, m, v), {"lr": 1.0, "beta1": 0.9, "beta2": 0.999, "eps": 0.0}
        _, m, v = adam(0.0, *state, **options, t=t)
        ratio = adam(0.0, *state, **options, t=np.inf)[0] / adam(0.0, *state, **options, t=t)[0]
        assert ratio == pytest.approx(correction_ratio(t, *BETAS), rel=1e-12)


def test_the_facts_about_the_ratio():
    t = np.arange(1, 30_001)
    ratio = correction_ratio(t, *BETAS)
    assert ratio[0] == pytest.approx(10**0.5, rel=1e-12)
    assert t[ratio.argmax()] == 12
    assert ratio.max() == pytest.approx(6.5685, abs=1e-4)
    assert t[np.abs(ratio - 1) > 0.01][-1] == 3924
    assert correction_ratio(np.inf, *BETAS) == 1


# What a step is


@pytest.mark.parametrize("g", [3.0, -1e-3, 1e-8, 4e5])
@pytest.mark.parametrize("eps", [1e-8, 1e-3, 1.0])
def test_on_a_constant_gradient_every_step_is_the_sign_but_for_eps(g, eps):
    steps = -np.diff(run(Adam(lr=0.1, eps=eps), np.full(300, g)))
    np.testing.assert_allclose(steps, 0.1 * g / (abs(g) + eps), rtol=1e-11)


def test_without_memory_it_is_sign_descent():
    g = np.random.default_rng(0).normal(size=(50, 5)) * 10.0 ** np.arange(-2, 3)
    np.testing.assert_array_equal(run(Adam(lr=0.5, beta1=0, beta2=0, eps=0), g), run(SGD(lr=0.5), np.sign(g)))


def test_in_noise_a_step_is_short():
    g = np.random.default_rng(0).standard_normal((600, 4000))
    step = np.diff(run(Adam(lr=1.0, beta2=0.99), g), axis=0)[-1]
    assert np.sqrt((step**2).mean()) == pytest.approx((0.1 / 1.9) ** 0.5, rel=0.06)


@pytest.mark.parametrize("ratio", [0.01, 0.1, 1.0, 10.0])
def test_the_mean_step_is_the_signal_to_noise_ratio_and_its_root_mean_square_has_a_floor(ratio):
    step = follow(ratio + np.random.default_rng(0).standard_normal((1500, 4000)))[0][-1]
    quiet = 0.1 / 1.9
    assert step.mean() == pytest.approx(ratio / (1 + ratio**2) ** 0.5, abs=0.012)
    assert (step**2).mean() ** 0.5 == pytest.approx(((ratio**2 + quiet) / (1 + ratio**2)) ** 0.5, rel=0.04)


def trembling(lr, sigma, seeds=10, walkers=50):
    """The mean of w² in the long run on ½w² with noise, for each of ten runs."""
    rng, seen, m, v = np.random.default_rng(0), [], 0.0, 0.0
    w = np.zeros((seeds, walkers))
    for t in range(1, 3001):
        w, m, v = adam(w, w + sigma * rng.standard_normal(w.shape), m, v, lr=lr, beta1=0.9, beta2=0.999, eps=0.0, t=t)
        if t > 1500:
            seen.append((w**2).mean(axis=1))
    return np.mean(seen, axis=0)


@pytest.mark.parametrize("sigma", [0.5, 10.0])
@pytest.mark.parametrize("lr", [0.02, 0.05])
def test_with_a_constant_rate_the_weights_tremble_with_a_variance_of_half_the_rate_times_the_noise(lr, sigma):
    lr = lr * sigma  # how far it trembles beside the noise depends on their quotient
    variance = trembling(lr, sigma)
    assert variance.mean() == pytest.approx(lr * sigma / 2, rel=0.06)
    assert (abs(variance / (lr * sigma / 2) - 1) < 0.3).all()


@pytest.mark.parametrize("make", [Adam, AMSGrad])
@pytest.mark.parametrize("power", [-3, 1, 6])
def test_gradients_and_eps_times_a_power_of_four_give_the_same_path_bit_for_bit(make, power):
    c = 4.0**power
    np.testing.assert_array_equal(our_path(make(lr=0.05, eps=c * 1e-8), scale=c), our_path(make(lr=0.05, eps=1e-8)))


@pytest.mark.parametrize("name", RECORDED)
def test_it_commutes_with_permutations_and_signs_but_not_with_rotations(name):
    rng, plain = np.random.default_rng(0), our_path(RECORDED[name]())
    order, signs = rng.permutation(6), rng.choice([-1.0, 1.0], 6)
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    permuted = our_path(RECORDED[name](), to=lambda w: w[order], back=lambda w: w[np.argsort(order)])
    np.testing.assert_array_equal(permuted, plain[:, order])
    flipped = our_path(RECORDED[name](), to=lambda w: signs * w, back=lambda w: signs * w)
    np.testing.assert_array_equal(flipped, signs * plain)
    turned = our_path(RECORDED[name](), to=lambda w: rotation @ w, back=lambda w: rotation.T @ w)
    assert np.abs(turned - plain @ rotation.T).max() > 0.01


def test_it_commutes_with_a_shift_of_the_origin_and_adamw_does_not():
    shift = np.arange(6.0)
    for name, commutes in (("adam", True), ("amsgrad", True), ("adamw", False)):
        w, gradient = problem()
        params, optimizer = {"w": w + shift}, RECORDED[name]()
        for _ in range(100):
            optimizer.update(params, {"w": gradient(params["w"] - shift)})
        apart = np.abs(params["w"] - shift - our_path(RECORDED[name]())[-1]).max()
        assert (apart < 1e-12) == commutes


def test_eps_hat_is_eps_times_the_root_of_the_correction():
    eps_hat = 0.03
    varying = Adam(lr=0.05, eps=lambda step: eps_hat / (1 - 0.999 ** (step + 1)) ** 0.5)
    np.testing.assert_allclose(our_path(Adam(lr=0.05, eps=eps_hat, eps_hat=True)), our_path(varying), rtol=0, atol=1e-13)
    assert np.abs(our_path(Adam(lr=0.05, eps=eps_hat, eps_hat=True)) - our_path(Adam(lr=0.05, eps=eps_hat))).max() > 1e-3


def test_without_eps_the_two_forms_are_one():
    np.testing.assert_allclose(our_path(Adam(lr=0.05, eps=0, eps_hat=True)), our_path(Adam(lr=0.05, eps=0)), rtol=0, atol=1e-13)


def test_where_eps_outweighs_the_root_it_is_descent_along_the_averaged_gradient():
    w, gradient = problem()
    m, path = np.zeros(6), [w]
    for t in range(1, 101):
        m = 0.9 * m + 0.1 * gradient(w)
        w = w - 0.02 * m / (1 - 0.9**t)
        path.append(w)
    np.testing.assert_allclose(our_path(Adam(lr=0.02e9, eps=1e9)), path, rtol=0, atol=1e-6)


def test_the_limit_without_memory_of_m_and_with_all_of_v_is_adagrad():
    g = np.random.default_rng(0).normal(size=(60, 3))
    limit = Adam(lr=lambda step: 0.1 / (step + 1) ** 0.5, beta1=0, beta2=1 - 1e-9, eps=0)
    np.testing.assert_allclose(run(limit, g), run(AdaGrad(lr=0.1, eps=0), g), rtol=0, atol=1e-6)


# How long a step can be


@pytest.mark.parametrize(("beta1", "beta2"), [BETAS, (0.9, 0.99), (0.5, 0.9), (0.0, 0.9), (0.9, 0.7), (0.5, 0.25)])
@pytest.mark.parametrize("t", [1, 2, 17, 300])
def test_the_longest_step_is_reached_and_no_other_gradients_pass_it(beta1, beta2, t):
    bound = step_bound(t, beta1, beta2)
    optimizer = lambda: Adam(lr=1.0, beta1=beta1, beta2=beta2, eps=0)  # noqa: E731
    g = longest_step_gradients(t, beta1, beta2)
    if np.abs(np.log10(g[g > 0])).max() < 100 and (g > 0).all():
        assert abs(np.diff(run(optimizer(), g))[-1]) == pytest.approx(bound, rel=1e-9)
    rng = np.random.default_rng(t)
    others = rng.normal(size=(t, 200)) * rng.uniform(0.7, 1.4, 200) ** np.arange(t)[:, None]
    assert np.abs(np.diff(run(optimizer(), others), axis=0)[-1]).max() <= bound * (1 + 1e-9)
    assert step_bound(t, beta1, beta2, corrected=False) == pytest.approx(bound * correction_ratio(t, beta1, beta2))


def test_the_papers_bound_is_passed():
    paper = 0.1 / 0.001**0.5
    assert step_bound(np.inf, *BETAS) == pytest.approx(paper / (1 - 0.81 / 0.999) ** 0.5)
    taken = np.abs(np.diff(run(Adam(lr=1.0, eps=0), longest_step_gradients(1000, *BETAS))))
    np.testing.assert_allclose(taken, [step_bound(t, *BETAS) for t in range(1, 1001)], rtol=1e-9)
    assert 1 + np.argmax(taken > paper) == 210
    assert step_bound(np.inf, 0.9, 0.99) > 2.3 > 1 == pytest.approx(0.1 / 0.01**0.5)  # the paper's other case


def test_a_smaller_beta2_bounds_the_steps_and_forgets_sooner_and_needs_hardly_a_correction():
    assert step_bound(np.inf, 0.9, 0.95) == pytest.approx(1.165, abs=1e-3)
    assert correction_ratio(np.arange(1, 1000), 0.9, 0.95).max() < 1.1
    after = {}
    for beta2 in (0.95, 0.999):
        v = follow(np.r_[np.ones(8000), np.full(8000, 0.1)], beta2=beta2)[2][7999:] ** 0.5
        after[beta2] = int((v < 0.11).argmax())
    assert after == {0.95: 121, 0.999: 6153}


def longest_step(slope, w, rate, count):
    """The longest of Adam's steps down a slope of one variable, in units of the rate."""
    m = v = longest = 0.0
    for t in range(1, count + 1):
        if abs(g := slope(w)) > 1e150:
            break
        before = w
        w, m, v = adam(w, g, m, v, lr=rate, beta1=BETAS[0], beta2=BETAS[1], eps=0.0, t=t)
        longest = max(longest, abs(w - before) / rate)
    return longest


@pytest.mark.parametrize("start", [1e-6, 1e-3, 1.0])
@pytest.mark.parametrize("rate", [1e-3, 1e-2, 0.1, 1.0])
def test_a_run_that_leaves_a_saddle_stays_far_below_the_bound(start, rate):
    assert 1.3 < longest_step(lambda w: -w, start, rate, 3000) < 1.672


def test_an_exponential_slope_of_the_right_rate_nearly_reaches_the_bound_and_a_power_does_not():
    supremum = step_bound(np.inf, *BETAS)
    on_exponential = {c: longest_step(lambda w, c=c: -np.exp(c * w), 0.0, 1.0, 5000) for c in (0.012, 0.1, 1.0)}
    assert 0.99 * supremum < on_exponential[0.012] < supremum
    assert on_exponential[1.0] < 2 < on_exponential[0.1] < 5
    assert max(longest_step(lambda w: -10 * w**9, 1.0, rate, 3000) for rate in (1e-3, 1e-2, 0.1, 1.0)) < 4


def test_kingma_and_bas_condition_lets_betas_pass_whose_steps_have_no_bound():
    beta1, beta2 = 0.9, 0.7
    assert beta1**2 / beta2**0.5 < 1 < beta1**2 / beta2
    assert step_bound(np.inf, beta1, beta2) == np.inf
    assert beta1 / beta2**0.5 > 1  # the condition of Reddi and others excludes them


def test_where_q_is_one_or_more_there_is_no_bound():
    assert step_bound(100, 0.5, 0.25) == pytest.approx(0.5 / 0.75**0.5 * 10, rel=1e-6)
    assert step_bound(np.inf, 0.5, 0.25) == step_bound(np.inf, 0.9, 0.7) == np.inf


@pytest.mark.parametrize("betas", [(1.0, 0.9), (-0.1, 0.9), (0.9, 0.0), (0.9, 1.0)])
def test_the_step_bound_refuses_betas_out_of_range(betas):
    with pytest.raises(ValueError, match=r"beta(1 must be a number in \[|2 must be a number in \()0, 1\), got"):
        step_bound(3, *betas)


def test_gradients_without_a_row_for_each_step_are_refused():
    with pytest.raises(ValueError, match=r"gradients must have a row for each step, got 5\.0"):
        follow(5.0)


# Problems on which it goes wrong


@pytest.mark.parametrize("start", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("lr", [0.3, 0.6, 2.0])
@pytest.mark.parametrize(("make", "goes_to"), [(Adam, 1.0), (AMSGrad, -1.0)])
def test_reddis_problem(start, lr, make, goes_to):
    x = {"x": np.array([start])}
    optimizer = make(lr=lambda step: lr / (step + 1) ** 0.5, beta1=0, beta2=0.1)
    for step in range(1000):
        optimizer.update(x, {"x": np.array([-1.0 if step % 3 else 3.0])})
        np.clip(x["x"], -1, 1, out=x["x"])
    assert x["x"].item() == pytest.approx(goes_to, abs=0.1)


@pytest.mark.parametrize("big", [2.5, 3.0, 10.0, 100.0])
def test_reddis_cycle_goes_up_for_every_c(big):
    beta2 = 1 / (1 + big**2)
    v = follow(np.resize([big, -1.0, -1.0], 3000), beta1=0, beta2=beta2)[2][-3:]
    k = 1 + beta2 + beta2**2
    np.testing.assert_allclose(v, np.array([big**2 + beta2 + beta2**2, 2 - beta2 * (1 - beta2), 2 - (1 - beta2) ** 2]) / k, rtol=1e-12)
    pushes = np.array([-big, 1, 1]) / v**0.5
    assert pushes.sum() > (2**0.5 - 1) * k**0.5 > 0
    assert (2 - big) / v.max() ** 0.5 < 0  # AMSGrad divides all by the root of the largest


@pytest.mark.parametrize("start", [-1.0, 0.0, 1.0])
def test_yogi_goes_to_the_best_point_of_reddis_problem(start):
    w, m, v = np.array([start]), np.zeros(1), np.zeros(1)
    for t in range(1, 1001):
        w, m, v = yogi(w, np.array([3.0 if t % 3 == 1 else -1.0]), m, v, lr=0.5 / t**0.5, beta1=0, beta2=0.1, eps=0.0, t=t)
        w = np.clip(w, -1, 1)
    assert w.item() == pytest.approx(-1, abs=0.1)


def test_yogi_moves_v_by_a_part_of_the_square_however_far_it_is():
    for g, before, moves in ((1.0, 100.0, -1), (1.0, 2.0, -1), (2.0, 1.0, 4), (1.0, 1.0, 0)):
        v = yogi(0.0, g, 0.0, before, lr=1.0, beta1=0.0, beta2=0.75, eps=1.0, t=1)[2]
        assert v == before + 0.25 * moves


@pytest.mark.parametrize("make", [AdaGrad, Adam])
@pytest.mark.parametrize("seed", range(10))
def test_wilsons_weights_are_a_multiple_of_a_sign(make, seed):
    y = np.where(np.random.default_rng(seed).random(30) < 0.75, 1.0, -1.0)
    assert y.sum() > 0  # without it the second and third weight would have the other sign
    X = np.zeros((30, 3 + 150))
    X[:, 0], X[:, 1:3] = y, 1
    for row, label in enumerate(y):
        X[row, 3 + 5 * row:3 + 5 * row + (1 if label > 0 else 5)] = 1
    X, params = X[:, X.any(axis=0)], {"w": np.zeros(int(X.any(axis=0).sum()))}
    np.testing.assert_array_equal(X @ np.sign(X.T @ y), 4 * y)  # why the residuals stay proportional to y
    optimizer = make(lr=0.03, eps=0.0)
    for _ in range(300):
        optimizer.update(params, {"w": X.T @ (X @ params["w"] - y)})
    w = params["w"]
    np.testing.assert_allclose(w, np.abs(w).max() * np.sign(X.T @ y), rtol=0, atol=1e-9)
    assert (np.sign(X @ w) == y).all()
    assert w[:3] @ [-1, 1, 1] > 0  # a new negative example is called positive


# AdamW


@pytest.mark.parametrize(("lr", "decay"), [(0.1, 0.5), (1e-3, 0.01), (0.5, 1.0)])
def test_adamw_at_zero_gradient_only_decays(lr, decay):
    path = run(AdamW(lr=lr, weight_decay=decay), np.zeros((50, 3)), w=2.0)
    np.testing.assert_allclose(path[:, 0], 2 * (1 - lr * decay) ** np.arange(51), rtol=1e-13)


def test_adamw_without_decay_is_adam():
    np.testing.assert_array_equal(our_path(AdamW(lr=0.05, weight_decay=0)), our_path(Adam(lr=0.05)))


@pytest.mark.parametrize("decay", [1e-3, 1.0, 1e3])
def test_the_penalty_alone_decays_by_the_learning_rate_whatever_its_strength(decay):
    params, optimizer = {"w": np.array([2.0, -3.0])}, Adam(lr=0.01, eps=0)
    optimizer.update(params, {"w": decay * params["w"]})
    np.testing.assert_allclose(params["w"], [1.99, -2.99], rtol=1e-12)


def test_amsgrads_top_never_falls():
    g = np.r_[10.0, np.full(200, 1e-3)][:, None]
    optimizer, params, tops = AMSGrad(lr=0.1, beta2=0.5), {"w": np.zeros(1)}, []
    for g_t in g:
        optimizer.update(params, {"w": g_t})
        tops.append(optimizer.state["top"]["w"].item())
    assert (np.diff(tops) >= 0).all()
    assert tops[-1] == 50.0
    assert optimizer.state["v"]["w"].item() < 1e-5


@pytest.mark.parametrize("corrected_max", [False, True])
def test_amsgrads_denominator_falls_unless_the_maximum_is_taken_after_the_correction(corrected_max):
    def denominators(gradients):
        m = v = top = 0.0
        for t, g in enumerate(gradients, start=1):
            top = rule(0.0, g, m, v, top, lr=1.0, beta1=0.9, beta2=0.999, eps=0.0, t=t)[3]
            v = 0.999 * v + 0.001 * g**2
            yield (top if corrected_max else top / (1 - 0.999**t)) ** 0.5

    rule = amsgrad_corrected_max if corrected_max else amsgrad
    after_one = list(denominators([1.0, 0.0, 0.0, 0.0]))
    assert after_one == pytest.approx([1, 1, 1, 1] if corrected_max else [1, 0.7073, 0.5777, 0.5004], abs=1e-4)
    *_, in_the_end = denominators([10.0] + 9999 * [1.0])
    assert in_the_end == pytest.approx(10 if corrected_max else 1, abs=1e-4)


def test_adamw_is_the_papers_with_its_decay_times_the_learning_rate():
    lr, ours = 0.02, 0.1
    theirs = lr * ours  # algorithm 2: w - (step + λw), with λ outside the learning rate
    w, gradient = problem()
    m = v = np.zeros(6)
    path = [w]
    for t in range(1, 101):
        step, m, v = adam(0.0, gradient(w), m, v, lr=lr, beta1=0.9, beta2=0.999, eps=1e-8, t=t)
        w = w + step - theirs * w
        path.append(w)
    np.testing.assert_allclose(our_path(AdamW(lr=lr, weight_decay=ours)), path, rtol=0, atol=1e-13)


def test_a_penalty_decays_quiet_weights_more_than_adamw_and_noisy_ones_less():
    left = {}
    for name, optimizer in (("adamw", AdamW(lr=0.01, weight_decay=0.1)), ("penalty", Adam(lr=0.01))):
        rng, p = np.random.default_rng(0), {"w": np.ones((3, 400))}
        for _ in range(1000):
            noise = rng.standard_normal((3, 400)) * np.array([[0.1], [1.0], [10.0]])
            optimizer.update(p, {"w": noise + (0.1 * p["w"] if name == "penalty" else 0)})
        left[name] = p["w"].mean(axis=1)
    np.testing.assert_allclose(left["adamw"], 0.999**1000, rtol=0, atol=0.05)
    assert left["penalty"][0] < 0.02
    assert left["penalty"][1] == pytest.approx(0.999**1000, abs=0.05)
    assert left["penalty"][2] > 0.85


@pytest.mark.parametrize(("lr", "decay"), [(0.1, 0.5), (0.05, 0.2)])
def test_adamws_weights_are_an_average_of_its_updates_and_end_at_one_over_the_decay(lr, decay):
    g = np.random.default_rng(0).normal(size=(80, 4))
    u, beta = follow(g, eps=1e-8)[0], 1 - lr * decay
    path, average = run(AdamW(lr=lr, weight_decay=decay), g), np.zeros(4)
    for w, u_t in zip(path[1:], u):
        average = beta * average + (1 - beta) * (-u_t / decay)
        np.testing.assert_allclose(w, average, rtol=0, atol=1e-12)
    steady = run(AdamW(lr=lr, weight_decay=decay), np.tile([0.01, 1.0, -100.0], (3000, 1)))
    np.testing.assert_allclose(steady[-1], np.array([-1, -1, 1]) / decay, rtol=1e-4)


# Rare words


def language(seeds, words, before, after):
    """How often each word comes, and what follows it how often, in several languages."""
    noise = np.stack([np.random.default_rng(seed).standard_normal((words, words)) for seed in seeds])
    rank = np.arange(1.0, words + 1)
    often, follows = rank[:, None] ** -before, rank**-after * np.exp(noise)
    return often / often.sum(), follows / follows.sum(axis=-1, keepdims=True)


def learn(often, follows, optimizer, rates):
    """What is left to learn of each word, before each step; the optimizer's own rate is one."""
    logits = np.zeros(np.broadcast_shapes(np.shape(rates), follows.shape))
    while True:
        fit = log_softmax(logits, axis=-1)
        yield often[:, 0] * (follows * (np.log(follows) - fit)).sum(axis=-1)
        step = {"w": np.zeros_like(logits)}
        optimizer.update(step, {"w": often * (np.exp(fit) - follows)})
        logits += rates * step["w"]


def fewest_steps(often, follows, optimizer, rates, most=800):
    """Steps until one hundredth of the loss is left, at the best of the rates, for each language."""
    needed, goal = np.full((len(rates), len(follows)), np.inf), 0.0
    for step, left in enumerate(learn(often, follows, optimizer, np.reshape(rates, (-1, 1, 1, 1)))):
        left = left.sum(axis=-1)
        goal = 0.01 * left if step == 0 else goal
        needed[(left < goal) & np.isinf(needed)] = step
        if np.isfinite(needed.min(axis=0)).all() or step == most:
            return needed.min(axis=0)


def test_gradient_descent_learns_a_heavy_tailed_language_slowly_and_adam_does_not_and_without_the_tails_they_are_alike():
    grids = {SGD: 2.0 ** np.arange(3, 11), Momentum: 2.0 ** np.arange(2, 10), Adam: 2.0 ** np.arange(-4, 2)}
    needed = {(kind, make): fewest_steps(*language(range(100, 110), 40, kind, kind), make(lr=1.0), grid)
              for kind in (0, 1) for make, grid in grids.items()}
    assert (needed[1, SGD] > 2.5 * needed[1, Adam]).all()
    assert (needed[1, Momentum] > needed[1, Adam]).all()
    assert (needed[1, Adam] <= needed[0, Adam] + 3).all()
    assert (needed[0, SGD] <= 1.5 * needed[0, Adam]).all()
    assert (needed[1, SGD] > 3 * needed[0, SGD]).all()


def test_adams_table_does_not_depend_on_how_often_a_word_comes():
    left = []
    for before in (0, 1):
        often, follows = language([3], 20, before, 1)
        *_, last = (x for x, _ in zip(learn(often, follows, Adam(lr=1.0, eps=0.0), 0.25), range(30)))
        left.append(last / often[:, 0])
    np.testing.assert_allclose(*left, rtol=1e-9)


# What depends on the learning rate


def overshoot(first, second, lr):
    """How far past the minimum of ½w² Adam goes from 10 with only the corrections that are asked for."""
    w, m, v, lowest = 10.0, 0.0, 0.0, 10.0
    for t in range(1, 901):
        length = lr / (1 - 0.9**t if first else 1) * ((1 - 0.999**t) ** 0.5 if second else 1)
        w, m, v = adam(w, w, m, v, lr=length, beta1=0.9, beta2=0.999, eps=0.0, t=np.inf)
        lowest = min(lowest, w)
    return max(-lowest, 0)


@pytest.mark.parametrize("lr", [0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
def test_the_second_moments_error_overshoots_and_the_firsts_protects_beside_a_right_v_at_some_rates_only(lr):
    both, only_v, neither, only_m = (overshoot(*pair, lr) for pair in ((True, True), (False, True), (False, False), (True, False)))
    assert only_m > neither > max(both, only_v)
    if lr > 0.1:
        assert (only_v < both) == (lr <= 1 or lr == 30)


def late_distance(slope, w, lr):
    m, v, seen = 0.0, 0.0, []
    for t in range(1, 81):
        w, m, v = adam(w, slope(w), m, v, lr=lr, beta1=0.9, beta2=0.999, eps=0.0, t=t)
        seen.append(np.linalg.norm(w, axis=1))
    return np.mean(seen[40:], axis=0)


@pytest.mark.parametrize(("lr", "least", "most"), [(0.1, 0.15, 0.35), (0.3, 0, 0.05), (1.0, 0, 0.05), (3.0, 0, 0.05)])
def test_a_turned_valley_is_nearer_from_some_starts_at_a_small_rate_and_from_hardly_any_at_larger_ones(lr, least, most):
    turn, steep = np.array([[1.0, -1.0], [1.0, 1.0]]) / 2**0.5, np.array([1.0, 100.0])
    around = 0.03 + 2 * np.pi * np.arange(96) / 96
    starts = 10 * np.stack([np.cos(around), np.sin(around)], axis=1)
    straight = late_distance(lambda w: w * steep, starts, lr)
    turned = late_distance(lambda w: (w @ turn * steep) @ turn.T, starts @ turn.T, lr)
    assert least <= np.mean(turned < straight) <= most
    assert turned.mean() > straight.mean()


def test_gradients_of_one_sign_that_fade_make_short_steps():
    fading = 0.99 ** np.arange(400)
    path = run(Adam(lr=1.0, eps=0.0), fading)
    assert path[-2] - path[-1] == pytest.approx(0.061, abs=0.001)


def test_along_the_axes_the_condition_number_drops_out():
    paths = [minimize(taco_shell(k), np.array([10.0, 1.0]), Adam(lr=0.3, eps=0), 60, grad=taco_shell(k).grad).path for k in (1, 20, 1000)]
    for path in paths[1:]:
        np.testing.assert_allclose(path, paths[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(paths[1][1] - paths[1][0], [-0.3, -0.3], rtol=1e-12)  # although the slopes are 10 and 20


def test_which_learning_rate_is_good_depends_on_the_budget():
    data, held = digits(0), {}
    for lr in (0.001, 0.01, 0.1):
        net, optimizer = {"W": np.zeros((64, 10)), "b": np.zeros(10)}, Adam(lr=lr)
        for epochs in (5, 55):
            train(softmax_regression, net, data.inputs[:1010], data.labels[:1010], optimizer, epochs=epochs, batch_size=32, rng=np.random.default_rng(epochs))
            held[lr, epochs] = softmax_regression(net, data.inputs[1010:], data.labels[1010:])[0]
    assert held[0.1, 5] < held[0.01, 5] < held[0.001, 5]
    assert held[0.01, 55] < min(held[0.001, 55], held[0.1, 55])
    assert held[0.001, 55] < held[0.001, 5] / 4


@pytest.mark.parametrize(("beta2", "goes_to"), [(0.9, 1.0), (0.99, -1.0)])
def test_a_rarer_gradient_beats_one_beta2_and_not_the_next(beta2, goes_to):
    x, optimizer, path = {"x": np.zeros(1)}, Adam(lr=lambda step: 0.5 / (step + 1) ** 0.5, beta1=0, beta2=beta2), []
    for step in range(6000):
        optimizer.update(x, {"x": np.array([-1.0 if step % 50 else 60.0])})
        np.clip(x["x"], -1, 1, out=x["x"])
        path.append(x["x"].item())
    assert np.mean(path[-300:]) == pytest.approx(goes_to, abs=0.2)


def only(first, second):
    """Adam's rule with those corrections that are asked for."""

    def rule(w, g, m, v, *, lr, beta1, beta2, t):
        lr = lr / (1 - beta1**t) if first else lr
        lr = lr * np.sqrt(1 - beta2**t) if second else lr
        return adam(w, g, m, v, lr=lr, beta1=beta1, beta2=beta2, eps=1e-12, t=1e9)

    return rule


def floor_of_the_valley(rule, beta1, beta2, steps=70, lr=0.3):
    """Where the rule takes one weight on a bowl of curvature one, from ten."""
    w, m, v, path = 10.0, 0.0, 0.0, [10.0]
    for t in range(1, steps + 1):
        w, m, v = rule(w, w, m, v, lr=lr, beta1=beta1, beta2=beta2, t=t)
        path.append(w)
    return np.array(path)


def test_with_both_corrections_put_into_the_rate_it_is_adam():
    whole = minimize(taco_shell(1), np.array([10.0, 10.0]), Adam(lr=0.3, eps=1e-12), 70).path[:, 0]
    np.testing.assert_allclose(floor_of_the_valley(only(True, True), *BETAS), whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("start", [(10.0, 1.0), (-4.0, 2.0), (3.0, -2.0)])
def test_from_wherever_one_starts_the_first_step_goes_along_a_diagonal_with_the_corrections_and_without(start):
    start = np.array(start)
    for rule in (only(False, False), only(True, True)):
        step = rule(start, taco_shell(20).grad(start), 0.0, 0.0, lr=0.3, beta1=0.9, beta2=0.999, t=1)[0] - start
        np.testing.assert_allclose(step / abs(step[0]), -np.sign(start), rtol=1e-9)


def test_the_lower_beta2_is_the_less_the_corrections_change():
    missed = []
    for beta2 in (0.999, 0.99, 0.98, 0.95):
        without, adams = (floor_of_the_valley(only(*both), 0.9, beta2).min() for both in ((False, False), (True, True)))
        missed.append(adams - without)
    assert (np.diff(missed) < 0).all() and missed[0] > 4 and missed[-1] < 0.1


def test_the_lower_beta1_is_the_less_its_error_protects():
    firsts = [correction_ratio(1, beta1, 0.999) for beta1 in (0.9, 0.6, 0.3, 0.0)]
    assert (np.diff(firsts) > 0).all() and firsts[-1] == pytest.approx((1 - 0.999) ** -0.5)


def test_both_curves_above_adams_come_down_with_beta2():
    steps = np.arange(1, 1000)
    for curve in (lambda beta2: correction_ratio(steps, 0.9, beta2), lambda beta2: (1 - beta2**steps) ** -0.5):
        highest = [curve(beta2).max() for beta2 in (0.999, 0.99, 0.95, 0.9)]
        assert (np.diff(highest) < 0).all()


def test_at_its_best_rates_gradient_descent_on_words_magnifies_the_last_digits():
    often, follows = language([0], 50, 1, 1)
    apart = []
    for shift in (0.0, 1e-13):
        logits = np.full(follows.shape, 0.0)
        logits[..., 0] += shift
        for _ in range(150):
            said = np.exp(log_softmax(logits, axis=-1))
            logits -= 2**6.5 * often * (said - follows)
        apart.append(logits)
    assert abs(apart[0] - apart[1]).max() > 1e6 * 1e-13
