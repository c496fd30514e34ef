"""Preprocessing: equal to scikit-learn, and what the chapter proves about the curvatures."""

import numpy as np
import pytest

from reference_impl import SGD, Adam, Affine, ReLU, Sequential, digits, evaluate, fit, softmax_regression
from reference_impl.generalization.batch_norm import BatchNorm
from reference_impl.optimization.newton import newton_step
from reference_impl.practice.preprocessing import AffineMap, center, condition_number, curvatures, standardize, whiten

STEPS = (center, standardize, whiten)


def cloud(seed=0, n=200, features=6, offset=3.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, features)) @ rng.normal(size=(features, features)) + offset * rng.normal(size=features)


def hessian(x):
    """Of least squares with a bias, block by block."""
    mean, covariance = x.mean(axis=0), np.atleast_2d(np.cov(x.T, ddof=0))
    return np.block([[covariance + np.outer(mean, mean), mean[:, None]], [mean[None], np.ones((1, 1))]])


@pytest.mark.parametrize("zca", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_whitened_inputs_have_mean_zero_and_the_identity_for_covariance(seed, zca):
    x = cloud(seed)
    z = whiten(x, zca=zca)(x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(z.T, ddof=0), np.eye(6), atol=1e-10)


def test_dividing_by_the_eigenvalues_turns_the_condition_number_upside_down():
    x = cloud() - cloud().mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(x.T, ddof=0))
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov((x @ vectors / values).T, ddof=0)), np.sort(1 / values), rtol=1e-8)
    assert condition_number(whiten(x)(x)) == pytest.approx(1, abs=1e-9)


def test_zca_is_the_whitening_that_changes_the_inputs_least():
    x = cloud(offset=0.0)
    x -= x.mean(axis=0)
    least = ((whiten(x, zca=True)(x) - x) ** 2).mean()
    rng = np.random.default_rng(1)
    for _ in range(20):
        turn, _ = np.linalg.qr(rng.normal(size=(6, 6)))
        assert ((whiten(x)(x) @ turn - x) ** 2).mean() > least
    matrix = whiten(x, zca=True).matrix
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)


@pytest.mark.parametrize("zca", [False, True])
def test_eps_is_added_under_the_root(zca):
    x, eps = cloud(), 0.7
    values = np.linalg.eigvalsh(np.cov(x.T, ddof=0))
    z = whiten(x, eps=eps, zca=zca)(x)
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(z.T, ddof=0)), values / (values + eps), rtol=1e-9)
    assert np.linalg.norm(whiten(x, eps=eps).matrix, 2) <= 1 / np.sqrt(eps)


@pytest.mark.peers
def test_standardize_is_scikit_learns():
    scaler = pytest.importorskip("sklearn.preprocessing").StandardScaler()
    data = digits()
    theirs = scaler.fit(data.inputs)
    ours, varies = standardize(data.inputs), data.inputs.std(axis=0) > 0
    np.testing.assert_allclose(ours.mean, theirs.mean_, rtol=0, atol=1e-14)
    np.testing.assert_allclose(ours(data.inputs), theirs.transform(data.inputs), rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours(data.test_inputs)[:, varies], theirs.transform(data.test_inputs)[:, varies], rtol=0, atol=1e-9)


@pytest.mark.peers
def test_whiten_is_scikit_learns_but_for_signs_order_and_ddof():
    PCA = pytest.importorskip("sklearn.decomposition").PCA
    x, new = cloud(), cloud(5)
    theirs = PCA(whiten=True, svd_solver="full").fit(x).transform(new)[:, ::-1] * np.sqrt(len(x) / (len(x) - 1))  # n - 1 there, n here
    ours = whiten(x)(new)
    np.testing.assert_allclose(ours * np.sign((ours * theirs).sum(axis=0)), theirs, rtol=0, atol=1e-10)


def test_standardized_inputs_have_mean_zero_and_deviation_one():
    x = cloud() * 10.0 ** np.arange(-3, 3) + 1e4
    z = standardize(x)(x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-9)


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 1e8 + 0.1, 1e-200, 1e140])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_feature_becomes_zero_and_is_no_direction(value, dtype):
    value = np.clip(value, -1e30, 1e30) if dtype is np.float32 else value
    x = np.random.default_rng(0).normal(size=(1001, 3)).astype(dtype)
    x[:, 1] = value
    assert (standardize(x)(x)[:, 1] == 0).all() and standardize(x).matrix[1] == 0
    if abs(value) < 1e10:
        assert whiten(x)(x).shape == (1001, 2)
        assert abs(whiten(x, zca=True)(x)[:, 1]).max() < 1e-5


def test_a_feature_that_varies_a_little_far_from_zero_is_kept():
    x = 1.7e9 + np.arange(100.0)[:, None] / 1000  # milliseconds of a clock
    z = standardize(x)(x)
    np.testing.assert_allclose(z.std(), 1, rtol=1e-3)


def test_a_pixel_lit_once_becomes_the_root_of_n_minus_one_whatever_its_brightness():
    x = np.zeros((50, 2))
    x[3] = 1e-6, 12.0
    np.testing.assert_allclose(standardize(x)(x)[3], 7.0)


@pytest.mark.parametrize("step", STEPS)
def test_one_example_or_no_variation_at_all_is_mapped_to_zero(step):
    for x in (np.full((1, 3), 7.0), np.full((5, 3), 0.1)):
        z = step(x)(x)
        assert z.shape == (len(x), 0 if step is whiten else 3) and (z == 0).all()
    assert (whiten(np.ones((4, 3)), zca=True)(np.ones((2, 3))) == 0).all()


def test_whitened_examples_fewer_than_features_lie_equally_far_from_one_another():
    z = whiten(cloud(n=6, features=20))(cloud(n=6, features=20))
    gaps = np.linalg.norm(z[:, None] - z, axis=2)[np.triu_indices(6, 1)]
    np.testing.assert_allclose(gaps, np.sqrt(2 * 6), rtol=1e-6)


@pytest.mark.parametrize("step", [*STEPS, lambda x: whiten(x, zca=True)])
def test_the_map_comes_from_what_it_was_fitted_on_and_changes_nothing_in_place(step):
    x, new = cloud(), cloud(1)
    kept, kept_new = x.copy(), new.copy()
    fitted = step(x)
    once = fitted(new)
    np.testing.assert_array_equal(np.concatenate([fitted(row[None]) for row in new]).round(9), once.round(9))
    np.testing.assert_array_equal(fitted(new.reshape(4, 50, 6)).reshape(200, -1).round(9), once.round(9))
    x[:] = 0  # the map has its own numbers
    np.testing.assert_array_equal(fitted(new), once)
    np.testing.assert_array_equal(new, kept_new)
    step(kept)
    np.testing.assert_array_equal(kept, cloud())


@pytest.mark.parametrize("step", STEPS)
def test_floating_types_are_kept_and_integers_become_float64(step):
    x = (50 + 10 * cloud(offset=0.0)).clip(0, 255)
    for dtype in (np.float32, np.float64):
        assert step(x.astype(dtype))(x.astype(dtype)).dtype == dtype
    pixels = x.astype(np.uint8)
    assert step(pixels)(pixels).dtype == np.float64
    np.testing.assert_allclose(step(pixels)(pixels), step(pixels.astype(float))(pixels.astype(float)))


def test_float32_inputs_far_from_zero_are_fitted_in_float64():
    x = (1000 + np.random.default_rng(0).normal(size=(100_000, 1))).astype(np.float32)
    assert float(center(x).mean[0]) == np.float32(x.astype(np.float64).mean())


@pytest.mark.parametrize("offset", [0.0, 1.0, 30.0])
def test_the_curvatures_are_the_eigenvalues_of_the_hessian_block_by_block(offset):
    x = cloud(offset=offset)
    np.testing.assert_allclose(curvatures(x), np.linalg.eigvalsh(hessian(x)), rtol=1e-6)
    assert condition_number(x) == pytest.approx(np.linalg.cond(np.hstack([x, np.ones((len(x), 1))])) ** 2, rel=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_the_mean_makes_one_large_eigenvalue_and_centring_never_hurts(seed):
    x = cloud(seed, features=4, offset=seed / 2)
    variance, place = np.linalg.eigvalsh(np.cov(x.T, ddof=0))[-1], 1 + (x.mean(axis=0) ** 2).sum()
    found = curvatures(x)
    assert place * (1 - 1e-12) <= found[-1] <= (place + variance) * (1 + 1e-12)
    assert found[-2] <= variance * (1 + 1e-12)
    assert condition_number(center(x)(x)) <= condition_number(x) * (1 + 1e-9)


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (0, 5), (2, 1), (100, 1), (-3, 0.1)])
def test_one_features_condition_number_follows_from_its_moments(mean, deviation):
    x = np.array([[mean - deviation], [mean + deviation]])
    kappa = condition_number(x)
    assert kappa + 2 + 1 / kappa == pytest.approx((1 + mean**2 + deviation**2) ** 2 / deviation**2, rel=1e-5)


@pytest.mark.parametrize("features", [2, 3, 5])
def test_unit_deviations_are_within_a_factor_of_the_best_scaling(features):
    rng = np.random.default_rng(features)
    for seed in range(10):
        x = cloud(seed, features=features)
        least = min(condition_number(center(x)(x) * 10 ** rng.uniform(-2, 2, features)) for _ in range(50))
        assert condition_number(standardize(x)(x)) <= (features + 1) * least


def test_directions_without_curvature_do_not_count():
    x = np.hstack([cloud(), np.zeros((200, 2))])
    assert condition_number(x) == pytest.approx(condition_number(x[:, :6]), rel=1e-6)
    assert len(curvatures(x)) == 9 and curvatures(x)[0] >= 0


def test_half_the_curvatures_bound_those_of_softmax_regression():
    x, rng = cloud(n=40, features=3), np.random.default_rng(0)
    labels, top = rng.integers(0, 3, 40), curvatures(x)[-1]
    for size in (0.0, 0.1, 1.0):
        params = {"W": size * rng.normal(size=(3, 3)), "b": size * rng.normal(size=3)}
        move = {key: rng.normal(size=array.shape) for key, array in params.items()}
        length = sum((array**2).sum() for array in move.values())
        ahead, behind = (softmax_regression({k: params[k] + t * move[k] for k in params}, x, labels)[1] for t in (1e-4, -1e-4))
        bend = sum((move[k] * (ahead[k] - behind[k])).sum() for k in params) / 2e-4
        assert 0 <= bend <= top / 2 * length


def paths(step, newton):
    """The predictions on the way from zero, by one method, on inputs that `step` prepared."""
    x = cloud(2)
    y = np.sin(np.arange(200.0))
    X = np.hstack([step(x)(x), np.ones((200, 1))])
    H, w, seen = X.T @ X / 200, np.zeros(X.shape[1]), []
    for _ in range(5):
        g = X.T @ (X @ w - y) / 200
        w = w + (newton_step(g, H) / 2 if newton else -g / np.linalg.norm(H, 2))
        seen.append(X @ w)
    return np.array(seen)


def test_newton_walks_the_same_path_on_all_inputs_and_gradient_descent_does_not():
    as_they_are = lambda x: lambda z: z  # noqa: E731
    newtons = [paths(step, newton=True) for step in (as_they_are, *STEPS)]
    for path in newtons[1:]:
        np.testing.assert_allclose(path, newtons[0], rtol=0, atol=1e-8)
    descents = [paths(step, newton=False) for step in (as_they_are, *STEPS)]
    assert all(np.abs(path - descents[0]).max() > 0.01 for path in descents[1:])
    white = descents[-1]  # one step of descent on whitened inputs is Newton's
    np.testing.assert_allclose(white[1:], np.broadcast_to(white[0], white[1:].shape), rtol=0, atol=1e-9)


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((2, 2, 2))])
@pytest.mark.parametrize("function", [*STEPS, curvatures, condition_number])
def test_inputs_that_are_no_table_are_refused(function, bad):
    with pytest.raises(ValueError, match=r"inputs must be a non-empty table \(n, features\), got shape"):
        function(bad)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e150, -1e300])
@pytest.mark.parametrize("function", [*STEPS, curvatures, condition_number])
def test_inputs_that_are_not_finite_or_whose_squares_would_not_be_are_refused(function, bad):
    x = cloud()
    x[3, 2] = bad
    with pytest.raises(ValueError, match="inputs must be finite and below 1e150 in size, got"):
        function(x)


@pytest.mark.parametrize("eps", [-1e-9, np.nan, np.inf])
def test_eps_must_be_finite_and_not_negative(eps):
    with pytest.raises(ValueError, match=r"eps must be a number in \[0, inf\), got"):
        whiten(cloud(), eps=eps)


def test_another_number_of_features_is_refused():
    with pytest.raises(ValueError, match=r"inputs must have 6 features, got shape \(2, 5\)"):
        standardize(cloud())(np.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"inputs must have 2 features, got shape \(\)"):
        AffineMap(np.zeros(2), np.ones(2))(np.array(1.0))


def steps_to_a_hundredth(x, y):
    """Least squares from zero at 1/λ_max, until a hundredth of the first loss is left."""
    X, w, count = np.hstack([x, np.ones((len(x), 1))]), np.zeros(x.shape[1] + 1), 0
    while ((X @ w - y) ** 2).sum() > 0.01 * (y**2).sum():
        w = w - X.T @ (X @ w - y) / len(x) / curvatures(x)[-1]
        count += 1
    return count


def test_centring_never_raises_the_condition_number_and_yet_a_target_along_the_mean_takes_more_steps():
    x = np.array([[8.0], [12.0]])
    assert condition_number(center(x)(x)) < condition_number(x)
    along, across = x[:, 0], x[:, 0] - 10
    assert steps_to_a_hundredth(x, along) == 1 < steps_to_a_hundredth(x - 10, along)
    assert steps_to_a_hundredth(x, across) > 1000 > steps_to_a_hundredth(x - 10, across)


def test_a_sparse_table_is_centred_without_being_filled():
    sparse, rng = pytest.importorskip("scipy.sparse"), np.random.default_rng(0)
    x = sparse.random_array((60, 40), density=0.05, rng=rng).tocsr()
    full, mean = center(x.toarray())(x.toarray()), x.mean(axis=0)
    W, delta = rng.normal(size=(40, 3)), rng.normal(size=(60, 3))
    np.testing.assert_allclose(x @ W - mean @ W, full @ W, atol=1e-12)
    np.testing.assert_allclose(x.T @ delta - np.outer(mean, delta.sum(axis=0)), full.T @ delta, atol=1e-12)


def descent(x, labels, times, rate=1.0):
    """Weights of least squares after so many steps from zero, at `rate` / λ_max."""
    X = np.hstack([x, np.ones((len(x), 1))])
    lam, V = np.linalg.eigh(X.T @ X / len(X))
    on = lam > 1e-12 * lam[-1]
    lam, V = lam[on], V[:, on]
    best = V.T @ (X.T @ np.eye(10)[labels]) / len(X) / lam[:, None]
    return [V @ ((1 - (1 - rate * lam / lam[-1]) ** t)[:, None] * best) for t in times]


def right(weights, x, labels):
    return ((x @ weights[:-1] + weights[-1]).argmax(axis=1) == labels).mean()


def test_on_whitened_inputs_the_answers_do_not_change_on_the_way_and_elsewhere_they_do():
    data, few, times = digits(), 100, (1, 10, 1000)
    for step, changes in ((whiten, False), (standardize, True)):
        ready = step(data.inputs[:few])
        for rate in (0.1, 1.0):
            found = [right(w, ready(data.test_inputs), data.test_labels)
                     for w in descent(ready(data.inputs[:few]), data.labels[:few], times, rate)]
            assert (len(set(found)) > 1) is changes


def test_what_looks_like_a_leak_is_mostly_more_images():
    gained, leaked = [], []
    for seed in range(6):
        data = digits(seed)
        own, test, others = data.inputs[:60], data.test_inputs, data.inputs[-len(data.test_inputs):]
        alone, with_test, with_others = (
            right(descent(step(own), data.labels[:60], [10])[0], step(test), data.test_labels)
            for step in (whiten(np.vstack([own, more])) for more in (own[:0], test, others)))
        gained.append(with_others - alone)
        leaked.append(with_test - with_others)
    assert np.mean(gained) > 0.15 and abs(np.mean(leaked)) < 0.03


def test_which_preparation_a_network_gains_most_by_depends_on_the_rate():
    def accuracies(rate):
        found = []
        for seed in range(5):
            data, rng = digits(seed), np.random.default_rng(seed)
            mean, deviation = data.inputs.mean(axis=0), (data.inputs - data.inputs.mean(axis=0)).std()
            row = []
            for offset, scale in ((0, 1), (mean, 1), (mean, deviation)):
                rng = np.random.default_rng(seed)
                model = Sequential(Affine(64, 50, rng=rng), ReLU(), Affine(50, 10, rng=rng))
                fit(model, (data.inputs[:1048] - offset) / scale, data.labels[:1048], SGD(lr=rate), epochs=3, rng=rng)
                row.append(evaluate(model, (data.test_inputs - offset) / scale, data.test_labels)["accuracy"])
            found.append(row)
        return np.mean(found, axis=0)

    scaled, centred, one_number = accuracies(0.05)
    assert centred < scaled < one_number
    scaled = max(accuracies(rate)[0] for rate in (0.4, 0.8))
    _, centred, one_number = accuracies(1.6)
    assert centred - scaled > 0.03 > abs(one_number - centred)


@pytest.mark.parametrize("seed", range(4))
def test_behind_the_relu_batch_norm_leaves_no_eigenvalue_of_the_mean(seed):
    hidden = Affine(64, 50, rng=np.random.default_rng(seed)).forward(digits().inputs)

    def normed(h):
        return BatchNorm(50).forward(h, train=True)

    lead = [(bent := curvatures(h))[-1] / bent[-2] for h in (hidden.clip(0), normed(hidden).clip(0), normed(hidden.clip(0)))]
    assert lead[0] > 10 > lead[1] > 3 > 1.6 > lead[2]


def test_the_map_from_more_images_helps_on_the_way_and_not_at_the_end():
    way, end = [], []
    for seed in range(6):
        data = digits(seed)
        own, test = data.inputs[:60], data.test_inputs
        step = whiten(np.vstack([own, data.inputs[-len(test) :]]))
        soon, late = (right(w, step(test), data.test_labels) for w in descent(step(own), data.labels[:60], (10, 10**6)))
        way.append(soon)
        end.append(late - right(descent(whiten(own)(own), data.labels[:60], [1])[0], whiten(own)(test), data.test_labels))
    assert np.mean(way) > 0.6 and abs(np.mean(end)) < 0.05


def test_whitening_takes_away_most_where_the_digits_can_only_just_be_fitted():
    lost = {20: [], 50: [], 200: []}
    for seed in range(6):
        data = digits(seed)
        for count, gaps in lost.items():
            own, labels = data.inputs[:count], data.labels[:count]
            step = whiten(own)
            white = right(descent(step(own), labels, [1])[0], step(data.test_inputs), data.test_labels)
            gaps.append(right(descent(own, labels, [200])[0], data.test_inputs, data.test_labels) - white)
    fewest, hardest, many = (np.mean(gaps) for gaps in lost.values())
    assert hardest > 0.3 > 0.15 > max(fewest, many)


def test_how_far_adam_goes_decides_whether_whitening_pays_after_centring():
    def steps(step, goal):
        x, counts = step(data.inputs)(data.inputs), []
        for rate in (0.2, 0.4, 0.8):
            params, rule, count = {"W": np.zeros((x.shape[1], 10)), "b": np.zeros(10)}, Adam(lr=rate), 0
            while (found := softmax_regression(params, x, data.labels))[0] > goal:
                rule.update(params, found[1])
                count += 1
            counts.append(count)
        return min(counts)

    data = digits()
    assert steps(whiten, 0.2) > steps(center, 0.2) and steps(whiten, 0.1) < steps(center, 0.1)


@pytest.mark.parametrize(("mean", "matrix", "message"), [
    (np.zeros(2), np.ones(3), r"matrix must be .* for a mean of \(2,\), got the shape \(3,\)"),
    (np.zeros(2), np.ones((2, 2, 1)), r"matrix must be .* for a mean of \(2,\), got the shape \(2, 2, 1\)"),
    (np.zeros((2, 1)), np.ones(2), r"mean must be an array \(features\) of finite floating-point numbers, got"),
    (np.full(2, np.nan), np.ones(2), r"mean must be .* finite .* got array\(\[nan, nan\]\)"),
    (np.zeros(2), [1.0, 1.0], r"matrix must be an array of finite .* got \[1\.0, 1\.0\]"),
])
def test_a_map_whose_parts_do_not_fit_is_refused(mean, matrix, message):
    with pytest.raises((TypeError, ValueError), match=message):
        AffineMap(mean, matrix)


@pytest.mark.parametrize("fit", [*STEPS, lambda x: whiten(x, zca=True)])
@pytest.mark.parametrize(("std", "mean"), [(10, 0), (1e-4, 0), (3, 2000), (1e4, 0)])
def test_in_half_precision_it_is_what_double_precision_gives_rounded_once(fit, std, mean):
    x = (np.random.default_rng(0).normal(size=(4096, 3)) * std + mean).astype("f2")
    found, expected = fit(x)(x), fit(x.astype(float))(x.astype(float))
    assert found.dtype == np.float16
    error, digit = np.abs(found.astype(float) - expected), np.spacing(np.abs(expected).astype("f2")).astype(float)
    assert (error <= np.maximum(0.51 * digit, 1e-3 * digit.max())).all()
