"""Weight decay: the penalties' gradients, the soft threshold and the limit as minimisers, and what the chapter proves."""

import numpy as np
import pytest

from reference_impl import (
    SGD,
    Affine,
    Conv2D,
    EarlyStopping,
    Evaluate,
    Flatten,
    Groups,
    Momentum,
    ReLU,
    Sequential,
    cosine,
    digits,
    evaluate,
    fit,
    softmax_cross_entropy,
)
from reference_impl.generalization.weight_decay import L1, L2, MaxNorm, ProximalL1, clip_norm, shrinkage, soft_threshold, weight_keys
from reference_impl.optimization.momentum import momentum


def model(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return Sequential(Affine(5, 7, rng=rng, dtype=dtype), ReLU(), Affine(7, 3, rng=rng, dtype=dtype))


def data(seed=1, n=20):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 5)), rng.integers(0, 3, n)


def train(network, optimizer, epochs=10, **options):
    x, y = data()
    return fit(network, x, y, optimizer, epochs=epochs, rng=np.random.default_rng(0), batch_size=8, **options)


@pytest.mark.parametrize("penalty", [L2(0.3), L1(0.3), L2(0.3, keys=["0.b", "2.W"]), L1(0.0)])
def test_the_gradient_is_the_penaltys_slope(penalty):
    params = {key: np.random.default_rng(2).normal(size=w.shape) for key, w in model().params.items()}
    grads = {key: np.full_like(w, 10.0) for key, w in params.items()}
    value, step = penalty(params, grads), 1e-6
    for key, w in params.items():
        for at in np.ndindex(w.shape):
            sides = []
            for moved in (w[at] + step, w[at] - step):
                changed = params | {key: w.copy()}
                changed[key][at] = moved
                sides.append(penalty(changed, {k: np.zeros_like(v) for k, v in params.items()}))
            assert grads[key][at] - 10 == pytest.approx((sides[0] - sides[1]) / (2 * step), abs=1e-8)
    assert value == pytest.approx(penalty(params, grads))


def test_the_values_are_half_the_squares_and_the_sizes():
    params = {"0.W": np.array([[3.0, -4.0]]), "0.b": np.array([100.0])}
    for penalty, value in ((L2(0.5), 6.25), (L1(0.5), 3.5)):
        grads = {key: np.zeros_like(w) for key, w in params.items()}
        assert penalty(params, grads) == value
        assert grads["0.b"] == 0


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_dtype_stays(dtype):
    w = np.array([[1.0, -2.0]], dtype)
    g = np.zeros_like(w)
    for penalty in (L2(0.5), L1(0.5)):
        assert isinstance(penalty({"W": w}, {"W": g}), float)
    assert g.tolist() == [[1.0, -1.5]] and g.dtype == dtype
    assert soft_threshold(w, 0.5).dtype == clip_norm(w, 1.0).dtype == shrinkage(abs(w), 1.0).dtype == dtype


def test_weights_are_what_is_named_w():
    rng = np.random.default_rng(0)
    images = Sequential(Conv2D(1, 2, 3, rng=rng), Flatten(), Affine(8, 3, rng=rng))
    assert weight_keys(images.params) == ["0.W", "2.W"]
    assert weight_keys({"W": 0, "0.gamma": 0, "0.beta": 0, "1.V": 0, "1.WW": 0, "W.b": 0}) == ["W"]


def test_a_frozen_layer_is_not_penalised():
    network = model()
    everything = L2(1.0)(network.params, network.grads)
    network.layers[0].frozen = True
    rest = L2(1.0)(network.params, network.grads)
    assert rest == pytest.approx((network.layers[2].params["W"] ** 2).sum() / 2)
    assert rest < everything


@pytest.mark.parametrize("lr", [0.1, cosine(0.5, 30)])
def test_for_sgd_the_penalty_is_the_decay(lr):
    coupled, decayed, strength = model(), model(), 0.05
    x, y = data()
    fit(coupled, x, y, SGD(lr=lr), epochs=30, rng=np.random.default_rng(0), batch_size=len(x), callbacks=[L2(strength)])
    for step in range(30):
        decayed.backward(softmax_cross_entropy(decayed.forward(x), y)[1])
        rate = lr(step) if callable(lr) else lr
        for key, w in decayed.params.items():
            if key in ("0.W", "2.W"):
                w *= 1 - rate * strength
            w -= rate * decayed.grads[key]
    for key, w in coupled.params.items():
        np.testing.assert_allclose(w, decayed.params[key], rtol=0, atol=1e-13)


@pytest.mark.parametrize("curvature", [0.3, 2.0])
@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_with_momentum_a_decay_counts_for_a_part_of_the_penalty(curvature, rho):
    strength, lr = 0.4, 0.05
    ends = []
    for decoupled in (False, True):
        w = v = 0.0
        for _ in range(4000):
            g = curvature * (w - 1)
            w, v = momentum((1 - lr * strength) * w, g, v, lr=lr, rho=rho) if decoupled else momentum(w, g + strength * w, v, lr=lr, rho=rho)
        ends.append(w)
    assert ends == pytest.approx([shrinkage(curvature, strength), shrinkage(curvature, (1 - rho) * strength)])


@pytest.mark.peers
@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_the_path_is_that_of_torchs_weight_decay(rho):
    torch = pytest.importorskip("torch")
    x, y = data()
    ours = model()
    theirs = {key: torch.tensor(w.copy(), requires_grad=True) for key, w in ours.params.items()}
    groups = [{"params": [theirs[k] for k in weight_keys(theirs)], "weight_decay": 0.1}, {"params": [theirs["0.b"], theirs["2.b"]]}]
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=rho)
    for _ in range(20):
        optimizer.zero_grad()
        hidden = torch.relu(torch.tensor(x) @ theirs["0.W"] + theirs["0.b"])
        torch.nn.functional.cross_entropy(hidden @ theirs["2.W"] + theirs["2.b"], torch.tensor(y)).backward()
        optimizer.step()
    fit(ours, x, y, Momentum(lr=0.1, rho=rho), epochs=20, rng=np.random.default_rng(0), batch_size=len(x), callbacks=[L2(0.1)])
    for key, w in ours.params.items():
        np.testing.assert_allclose(w, theirs[key].detach().numpy(), rtol=0, atol=1e-12)


@pytest.mark.peers
def test_the_soft_threshold_is_torchs():
    torch = pytest.importorskip("torch")
    w = np.random.default_rng(0).normal(size=1000)
    np.testing.assert_allclose(soft_threshold(w, 0.7), torch.nn.functional.softshrink(torch.tensor(w), 0.7).numpy(), rtol=0, atol=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_the_soft_threshold_is_the_minimum_among_all_places(seed):
    rng = np.random.default_rng(seed)
    places = np.linspace(-4, 4, 8001)
    for w, t in zip(rng.uniform(-3, 3, 100), rng.uniform(0, 2, 100)):
        best = places[((places - w) ** 2 / 2 + t * abs(places)).argmin()]
        assert abs(soft_threshold(w, t) - best) <= 5.1e-4


def test_the_soft_threshold_at_its_edges():
    w = np.array([1.0, -1.0, 0.0, 1e300, -np.inf, np.nan])
    assert soft_threshold(w, 1.0)[:4].tolist() == [0.0, 0.0, 0.0, 1e300]
    assert soft_threshold(w, 1.0)[4] == -np.inf and np.isnan(soft_threshold(w, 1.0)[5])
    np.testing.assert_array_equal(soft_threshold(w, 0.0)[:4], w[:4])
    assert soft_threshold(w[:4], np.array([0.5, 2.0, 0.0, np.inf])).tolist() == [0.5, 0.0, 0.0, 0.0]
    assert soft_threshold(np.empty((0, 3)), 1.0).shape == (0, 3)


def test_the_proximal_step_ends_where_the_lasso_has_its_minimum():
    """Where a weight is not 0 the slope is -λ·sign(w); where it is, no steeper than λ."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 8))
    y = x @ np.array([2.0, -1.0, 0.5, 0, 0, 0, 0, 0]) + 0.3 * rng.standard_normal(60)
    layer = Affine(8, 1, rng=rng, bias=False)

    def half_square(outputs, targets):
        error = outputs - targets
        return float((error**2).mean() / 2), error / len(error)

    fit(Sequential(layer), x, y[:, None], SGD(lr=0.3), epochs=300, rng=rng, batch_size=60, loss=half_square,
        callbacks=[ProximalL1(0.2)])
    w = layer.params["W"][:, 0]
    slope, zero = x.T @ (x @ w - y) / 60, w == 0
    np.testing.assert_allclose(slope[~zero], -0.2 * np.sign(w[~zero]), rtol=0, atol=1e-12)
    assert (abs(slope[zero]) < 0.2).all() and 3 <= zero.sum() <= 6


def test_the_threshold_uses_the_rate_of_the_step_that_was_made():
    rates = [0.5, 0.125, 0.25]
    layer = Affine(1, 1, rng=np.random.default_rng(0), std=0.0)
    layer.params["W"][:] = 4.0

    def flat(outputs, targets):
        return 0.0, np.zeros_like(outputs)

    fit(Sequential(layer), np.ones((3, 1)), np.ones((3, 1)), SGD(lr=lambda step: rates[step]), epochs=1, rng=np.random.default_rng(0),
        batch_size=1, loss=flat, callbacks=[ProximalL1(1.0)])
    assert layer.params["W"].item() == 4 - sum(rates)
    assert layer.params["b"].item() == 0


def test_only_the_proximal_step_makes_weights_exactly_zero():
    by_gradient, proximal = model(), model()
    train(by_gradient, SGD(lr=0.2), epochs=60, callbacks=[L1(0.05)])
    train(proximal, SGD(lr=0.2), epochs=60, callbacks=[ProximalL1(0.05)])
    zeros = [np.mean([(w.params[key] == 0).mean() for key in ("0.W", "2.W")]) for w in (by_gradient, proximal)]
    assert zeros[0] == 0 and zeros[1] > 0.2
    assert proximal.params["0.b"].any()


def test_clipping_is_the_nearest_point_within_the_limit():
    rng = np.random.default_rng(0)
    for _ in range(50):
        w, limit = rng.normal(size=3) * 3, rng.uniform(0.1, 4)
        inside = rng.normal(size=(2000, 3))
        inside *= (limit * rng.random((2000, 1)) ** 0.2) / np.linalg.norm(inside, axis=1, keepdims=True)
        clipped = clip_norm(w, limit)
        assert np.linalg.norm(clipped) <= limit * (1 + 1e-15)
        assert (np.linalg.norm(inside - w, axis=1) >= np.linalg.norm(clipped - w) - 1e-12).all()


def test_what_is_within_the_limit_stays_bit_for_bit():
    w = np.random.default_rng(0).normal(size=(4, 50))
    norms = np.linalg.norm(w, axis=0)
    clipped = clip_norm(w, 2.0, axis=0)
    np.testing.assert_array_equal(clipped[:, norms < 2], w[:, norms < 2])
    np.testing.assert_allclose(np.linalg.norm(clipped[:, norms > 2], axis=0), 2.0, rtol=1e-15)
    assert (norms < 2).any() and (norms > 2).any()
    np.testing.assert_array_equal(clip_norm(clip_norm(w, 2.0, axis=0), 2.0 * (1 + 1e-15), axis=0), clipped)


def test_clipping_at_its_edges():
    np.testing.assert_allclose(clip_norm(np.array([3e300, -4e300]), 1.0), [0.6, -0.8])
    np.testing.assert_allclose(clip_norm(np.array([300.0, 400.0], np.float16), 5.0), [3.0, 4.0], rtol=2e-3)  # their squares overflow
    assert clip_norm(np.zeros(3), 1.0).tolist() == [0, 0, 0]
    assert clip_norm(np.empty((0, 3)), 1.0, axis=0).shape == (0, 3)
    assert np.isnan(clip_norm(np.array([np.nan, 1.0]), 1.0)).all()


@pytest.mark.peers
def test_clipping_is_torchs_renorm():
    torch = pytest.importorskip("torch")
    w = np.random.default_rng(0).normal(size=(6, 20))
    np.testing.assert_allclose(clip_norm(w, 2.0, axis=0), torch.renorm(torch.tensor(w), 2, 1, 2.0).numpy(), rtol=1e-6)


def test_max_norm_keeps_every_unit_short_and_biases_free():
    rng = np.random.default_rng(0)
    images = Sequential(Conv2D(1, 4, 3, rng=rng, std=2.0), ReLU(), Flatten(), Affine(36, 3, rng=rng, std=2.0))
    longest = []

    class Watch(MaxNorm):
        def after_step(self, run):
            super().after_step(run)
            longest.append([np.sqrt((w**2).sum(axis=tuple(range(w.ndim - 1)))).max() for k, w in run.model.params.items() if k[-1] == "W"])

    fit(images, rng.normal(size=(30, 5, 5, 1)), rng.integers(0, 3, 30), SGD(lr=0.5), epochs=5, rng=rng, batch_size=10, callbacks=[Watch(0.8)])
    assert len(longest) == 15 and np.max(longest) <= 0.8 * (1 + 1e-12) and np.max(longest) > 0.79
    assert images.params["3.b"].any()


def test_shrinkage_is_ridges_closed_form_in_the_eigenbasis():
    rng = np.random.default_rng(0)
    x, y, strength = rng.normal(size=(40, 6)) * [3, 2, 1, 0.5, 0.1, 0], rng.normal(size=40), 0.07
    hessian, pull = x.T @ x / 40, x.T @ y / 40
    curvatures, basis = np.linalg.eigh(hessian)
    ridge = np.linalg.solve(hessian + strength * np.eye(6), pull)
    least_squares = np.linalg.lstsq(x, y, rcond=None)[0]
    np.testing.assert_allclose(basis.T @ ridge, shrinkage(curvatures, strength) * (basis.T @ least_squares), rtol=0, atol=1e-12)


def test_shrinkage_at_its_edges():
    curvatures = np.array([0.0, 1e-300, 1.0, 1e300])
    assert shrinkage(curvatures[1:], 0.0).tolist() == [1, 1, 1]
    assert shrinkage(curvatures, 1.0)[[0, 2, 3]].tolist() == [0, 0.5, 1]
    assert shrinkage(4.0, 1.0) == 0.8
    # A saddle's coordinate, under a penalty that makes a bowl of it: the minimum of -½(w - 1)² + w² is at -1.
    assert shrinkage(-1.0, 2.0) == -1.0


def test_relu_layers_rescaled_are_the_same_function_and_balanced_at_the_penaltys_minimum():
    network, x = model(), data()[0]
    before = network.forward(x)
    network.layers[0].params["W"] *= 16
    network.layers[0].params["b"] *= 16
    network.layers[2].params["W"] /= 16
    np.testing.assert_array_equal(network.forward(x), before)
    network, (x, y) = model(), data()
    fit(network, x, y, Momentum(lr=0.2), epochs=400, rng=np.random.default_rng(0), batch_size=len(x), callbacks=[L2(0.03)])
    first, second = (np.linalg.norm(network.params[key]) for key in weight_keys(network.params))
    assert first == pytest.approx(second, rel=0.005) and first > 0.5


@pytest.mark.parametrize("n", [5, 40])
def test_the_belief_counts_as_other_numbers_of_examples_in_other_directions(n):
    """nλ/λᵢ examples with the target 0 along direction i, and λ none, have the same minimum."""
    rng = np.random.default_rng(0)
    x, strength = rng.normal(size=(n, 3)) * [3.0, 1.0, 0.2], 0.3
    y = rng.normal(size=n)
    curvatures, basis = np.linalg.eigh(x.T @ x / n)
    worth = n * strength / curvatures
    believed = (np.sqrt(worth * curvatures) * basis).T  # rows: along each direction, as long as that many examples
    found = np.linalg.lstsq(np.vstack([x, believed]), np.concatenate([y, np.zeros(3)]), rcond=None)[0]
    ridge = np.linalg.solve(x.T @ x / n + strength * np.eye(3), x.T @ y / n)
    np.testing.assert_allclose(found, ridge, rtol=1e-10)
    assert worth.max() > 20 * worth.min() and ((worth > n) == (curvatures < strength)).all()


SPLITS, FEW = [digits(seed) for seed in range(10)], 100


def regression(data, strength):
    """Ridge on the first digits: weights, the eigenvectors and curvatures of the Hessian, and of any W the test error,
    the test accuracy, and that without the mean of the labels."""
    x, y = data.inputs[:FEW], np.eye(10)[data.labels[:FEW]]
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
    hessian = (x - mean_x).T @ (x - mean_x) / FEW
    curvatures, basis = np.linalg.eigh(hessian)

    def judged(w):
        scores = (data.test_inputs - mean_x) @ w
        error = ((scores + mean_y - np.eye(10)[data.test_labels]) ** 2).sum(axis=1).mean()
        return error, *((s.argmax(axis=1) == data.test_labels).mean() for s in (scores + mean_y, scores))

    pull = (x - mean_x).T @ (y - mean_y) / FEW
    return np.linalg.solve(hessian + strength * np.eye(64), pull), curvatures, basis, judged


def test_what_harms_the_regression_is_most_of_all_the_direction_of_its_weights_and_no_factor_mends_a_name():
    strength, found = 10**-1.5, []
    for data in SPLITS:
        long, curvatures, basis, judged = regression(data, 1e-6)
        short = regression(data, strength)[0]
        steep = basis[:, curvatures > strength]
        cut = steep @ (steep.T @ long)
        found.append([judged(w) for w in (long, short, long * np.linalg.norm(short) / np.linalg.norm(long), cut)])
        assert 1 - (np.linalg.norm(cut) / np.linalg.norm(long)) ** 2 > 0.9
    error, right, without_mean = np.moveaxis(found, 2, 0)
    assert (right[:, 1] - right[:, 0] > 0.05).all() and (right[:, 3] - right[:, 0] > 0.05).all()
    assert (right[:, 2] < right[:, 0]).all() and (without_mean[:, 2] == without_mean[:, 0]).all()  # the mean outweighs what is left
    assert 0.2 < (error[:, 0] - error[:, 2]).mean() < 0.6 * (error[:, 0] - error[:, 3]).mean()
    assert (error[:, 2] - error[:, 1] > 0.25).all() and (error[:, 3] - error[:, 1] < 0.1).all()


@pytest.mark.parametrize("step", [0.1, 0.01])
def test_a_subgradient_of_fixed_steps_comes_as_near_as_a_step_and_the_proximal_step_to_the_minimum(step):
    ends = {}
    for how in ("gradient", "proximal"):
        w, seen = np.array([1.0]), []
        for _ in range(3000):
            g = w - 0.3
            if how == "gradient":
                L1(1.0)({"W": w}, {"W": g})
                w = w - step * g
            else:
                w = soft_threshold(w - step * g, step)
            seen.append(abs(w.item()))
        ends[how] = max(seen[-100:])
    assert ends["proximal"] == 0 and 0.5 * step < ends["gradient"] < 1.5 * step


def memorised(seed, share, hidden=50, epochs=80, callbacks=()):
    """A network's accuracy on validation and test digits, on its own labels, the share of wrong labels it kept, and its length."""
    data, rng = SPLITS[seed], np.random.default_rng(seed)
    labels = data.labels[:FEW].copy()
    labels[:int(share * FEW)] = np.random.default_rng(seed).integers(0, 10, int(share * FEW))
    network = Sequential(Affine(64, hidden, rng=rng), ReLU(), Affine(hidden, 10, rng=rng))
    fit(network, data.inputs[:FEW], labels, Momentum(lr=0.2), epochs=epochs, rng=rng, batch_size=FEW,
        callbacks=[Evaluate({"validation": (data.inputs[FEW:600], data.labels[FEW:600])}), *callbacks])
    said, wrong = network.forward(data.inputs[:FEW]).argmax(axis=1), labels != data.labels[:FEW]
    right = [(network.forward(x).argmax(axis=1) == y).mean() for x, y in ((data.inputs[FEW:600], data.labels[FEW:600]),
                                                                          (data.test_inputs, data.test_labels))]
    return *right, (said == labels).mean(), (said == labels)[wrong].mean() if wrong.any() else 0.0, np.sqrt(
        sum((network.params[key] ** 2).sum() for key in weight_keys(network.params)))


def test_what_a_weak_penalty_gains_with_wrong_labels_it_gains_while_most_of_them_stay_in_memory():
    bare, weak, strong = (np.array([memorised(seed, 0.2, callbacks=[L2(strength)]) for seed in range(6)]) for strength in (0.0, 0.01, 0.03))
    assert weak[:, 3].mean() > 0.75 > 0.5 > strong[:, 3].mean()
    assert (weak - bare)[:, 1].mean() > 0.4 * (strong - bare)[:, 1].mean() > 0.02


def test_with_wrong_labels_stopping_in_time_gains_what_the_penalty_gains_and_with_true_ones_nothing_is_forgotten():
    """The penalty helps where no length is priced (stopped) and where no label is left out (true): length is not the whole cause."""
    gains = {}
    for share, strength in ((0.2, 0.03), (0.0, 0.01)):
        runs = {"bare": [], "penalty": [L2(strength)]}
        runs["stopped"] = [EarlyStopping("validation_accuracy", patience=80, larger_is_better=True)]
        found = {name: np.array([memorised(seed, share, callbacks=callbacks) for seed in range(6)]) for name, callbacks in runs.items()}
        for name, values in found.items():
            gains[share, name] = values[:, 1] - found["bare"][:, 1]
        if share:
            assert (found["bare"][:, 3] > 0.9).all() and found["penalty"][:, 3].mean() < 0.5 and found["stopped"][:, 3].mean() < 0.5
        else:
            assert (found["penalty"][:, 2] == 1).all()
    assert gains[0.2, "penalty"].mean() > 0.05 and gains[0.2, "stopped"].mean() > 0.6 * gains[0.2, "penalty"].mean()
    assert gains[0.0, "penalty"].mean() > 0.005 and gains[0.0, "stopped"].mean() < 0.005


def test_a_network_that_memorised_random_labels_is_shorter_than_at_the_start_and_longer_than_one_that_learnt_true_ones():
    rng = np.random.default_rng(0)
    start = Sequential(Affine(64, 200, rng=rng), ReLU(), Affine(200, 10, rng=rng)).params
    begun = np.sqrt(sum((start[key] ** 2).sum() for key in weight_keys(start)))
    for seed in range(3):
        random, true = (memorised(seed, share, hidden=200, epochs=120, callbacks=[L2(0.005)]) for share in (1.0, 0.0))
        assert random[2] == true[2] == 1 and random[1] < 0.25 < 0.8 < true[1]
        assert true[4] + 2 < random[4] < begun - 2
    random, true = (memorised(0, share, hidden=200, epochs=400, callbacks=[L2(0.005)]) for share in (1.0, 0.0))  # at rest
    assert random[2] == true[2] == 1 and true[4] < 9.5 < 13.5 < random[4] < 14.8


def test_a_strong_l1_costs_the_same_with_zeros_and_without():
    lost = []
    for data in SPLITS[:6]:
        right = []
        for penalty in (L1(0.001), L1(0.01), ProximalL1(0.001), ProximalL1(0.01)):
            rng = np.random.default_rng(0)
            network = Sequential(Affine(64, 10, rng=rng))
            fit(network, data.inputs[:FEW], data.labels[:FEW], SGD(lr=0.5), epochs=100, rng=rng, batch_size=FEW, callbacks=[penalty])
            right.append((network.forward(data.test_inputs).argmax(axis=1) == data.test_labels).mean())
        lost.append((right[0] - right[1], right[2] - right[3]))
    gradient, proximal = np.mean(lost, axis=0)
    assert gradient > 0.01 and abs(gradient - proximal) < 0.01


def test_nothing_is_changed_when_an_array_is_missing():
    params, grads = {"0.W": np.ones(2), "1.W": np.ones(2)}, {"0.W": np.zeros(2)}
    for penalty in (L2(1.0), L1(1.0)):
        with pytest.raises(ValueError, match=r"grads must hold \['0.W', '1.W'\], got \['0.W'\]"):
            penalty(params, grads)
    assert not grads["0.W"].any()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: L2(-1.0), r"strength must be a number in \[0, inf\), got -1.0"),
    (lambda: L2(float("nan")), r"strength must be a number in \[0, inf\), got nan"),
    (lambda: L1(float("inf")), r"strength must be a number in \[0, inf\), got inf"),
    (lambda: ProximalL1(-1.0), r"strength must be a number in \[0, inf\), got -1.0"),
    (lambda: L2(1.0)({"0.b": np.ones(1)}, {"0.b": np.ones(1)}), r"params must hold an array W, got \['0.b'\]"),
    (lambda: L1(1.0, keys=["v"])({"W": np.ones(1)}, {"W": np.ones(1)}), r"params must hold \['v'\], got \['W'\]"),
    (lambda: soft_threshold(np.ones(2), -0.1), "threshold must be 0 or more, got -0.1"),
    (lambda: soft_threshold(np.ones(2), float("nan")), "threshold must be an array .* or a number in .*, got nan"),
    (lambda: clip_norm(np.ones(2), 0.0), r"limit must be a number in \(0, inf\), got 0.0"),
    (lambda: MaxNorm(float("inf")), r"limit must be a number in \(0, inf\), got inf"),
    (lambda: shrinkage(0.0, 0.0), "curvatures plus strength must be positive and finite, got 0.0 and 0.0"),
    (lambda: shrinkage(np.array([1.0, -2.0]), 1.0), "curvatures plus strength must be positive"),
    (lambda: shrinkage(1.0, -0.5), r"strength must be a number in \[0, inf\), got -0.5"),
])
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(("call", "message"), [
    (lambda: L2("0.1"), r"strength must be a number in \[0, inf\), got '0.1'"),
    (lambda: L1(True), r"strength must be a number in \[0, inf\), got True"),
    (lambda: ProximalL1(None), r"strength must be a number in \[0, inf\), got None"),
    (lambda: MaxNorm("3"), r"limit must be a number in \(0, inf\), got '3'"),
    *((lambda kind=kind, keys=keys: kind(1.0, keys), "keys must be a list of names such as '0.W', or None, got") for kind in (L1, L2, ProximalL1, MaxNorm)
      for keys in ("0.W", 3, [0])),
    (lambda: soft_threshold([1.0], 0.1), "w must be an array of floating-point numbers or a number"),
    (lambda: soft_threshold(np.ones(2), "1"), "threshold must be an array of floating-point numbers or a number"),
    (lambda: soft_threshold(np.ones(2), np.ones(3)), r"shape|threshold"),
    (lambda: soft_threshold(np.ones(2), np.ones((2, 2))), r"threshold must broadcast to the shape \(2,\) of w, got \(2, 2\)"),
    (lambda: clip_norm([1.0], 1.0), "w must be an array of floating-point numbers"),
    (lambda: clip_norm(np.ones(2), None), r"limit must be a number in \(0, inf\), got None"),
    (lambda: clip_norm(np.ones(2), 1.0, axis="0"), "axis must be a whole number, several of them, or None, got '0'"),
    (lambda: clip_norm(np.ones(2), 1.0, axis=True), "axis must be a whole number, several of them, or None, got True"),
    (lambda: clip_norm(np.ones(2), 1.0, axis=1), r"axis must be among the axes of w, of the shape \(2,\), got 1"),
    (lambda: clip_norm(np.ones(2), 1.0, axis=(0, -2)), r"axis must be among the axes of w, of the shape \(2,\), got \(0, -2\)"),
    (lambda: shrinkage("1", 1.0), "curvatures must be an array of floating-point numbers or a number"),
    (lambda: shrinkage(np.array([np.inf]), 1.0), "curvatures plus strength must be positive and finite"),
    (lambda: shrinkage(1.0, "1"), r"strength must be a number in \[0, inf\), got '1'"),
])
def test_what_is_of_another_kind_is_refused_by_name(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_the_proximal_step_wants_one_rate():
    network, before = model(), model().state_dict()
    x, y = data()
    with pytest.raises(TypeError, match="optimizer must have one rate lr for all weights, got Groups"):
        fit(network, x, y, Groups({"*": SGD(lr=0.1)}), epochs=1, rng=np.random.default_rng(0), callbacks=[ProximalL1(0.1)])
    assert all((network.state_dict()[key] == w).all() for key, w in before.items())


def test_the_loss_in_the_history_is_with_the_penalty():
    (x, y), network = data(), model()
    weights = [network.params[key].copy() for key in ("0.W", "2.W")]
    bare = evaluate(network, x, y)["loss"]
    history = fit(network, x, y, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), batch_size=len(x), callbacks=[L2(0.3), L1(0.2)])
    expected = bare + sum(0.15 * (w * w).sum() + 0.2 * abs(w).sum() for w in weights)
    assert history.losses == pytest.approx([expected], rel=1e-13)


def test_an_infinite_weight_or_threshold_has_its_limit():
    assert soft_threshold(np.array([np.inf, 1.0]), 1.0).tolist() == [np.inf, 0.0]
    assert soft_threshold(np.array([2.0, -3.0]), np.inf).tolist() == [0.0, 0.0]
