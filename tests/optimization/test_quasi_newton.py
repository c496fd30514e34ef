"""BFGS and L-BFGS: the algebra, the identities between them, SciPy's counts, memory, and everything that can go wrong."""

import inspect
import math
import tracemalloc

import numpy as np
import pytest
from scipy.optimize._lbfgsb_py import _minimize_lbfgsb

from reference_impl import measured, noisy, quadratic, rosenbrock, saddle
from reference_impl.networks.data import digits
from reference_impl.optimization import quasi_newton
from reference_impl.optimization.landscapes import beale, booth, himmelblau, logistic_regression
from reference_impl.optimization.line_search import Objective
from reference_impl.optimization.newton import conjugate_gradient
from reference_impl.optimization.quasi_newton import DenseInverse, LimitedInverse, bfgs, bfgs_update, lbfgs, two_loop
from reference_impl.optimization.second_order import IDLE

METHODS = [bfgs, lbfgs]
both = pytest.mark.parametrize("method", METHODS, ids=lambda m: m.__name__)


def positive_definite(rng, n):
    a = rng.standard_normal((n, n))
    return a @ a.T + 0.1 * np.eye(n)


def pairs_of(rng, n, count):
    a = positive_definite(rng, n)
    return [(s, a @ s) for s in rng.standard_normal((count, n))]


def learnt(pairs, scale, n):
    h = scale * np.eye(n)
    for s, y in pairs:
        h = bfgs_update(h, s, y)
    return h


# The update

@pytest.mark.parametrize("seed", range(10))
def test_the_update_satisfies_the_secant_equation_is_symmetric_positive_definite_and_the_textbooks(seed):
    rng = np.random.default_rng(seed)
    h, ((s, y),) = positive_definite(rng, 5), pairs_of(rng, 5, 1)
    new, rho = bfgs_update(h, s, y), 1 / (s @ y)
    np.testing.assert_allclose(new @ y, s, atol=1e-9)
    np.testing.assert_allclose(new, new.T, atol=1e-10)
    assert np.linalg.eigvalsh(new).min() > 0
    v = np.eye(5) - rho * np.outer(y, s)
    np.testing.assert_allclose(new, v.T @ h @ v + rho * np.outer(s, s), atol=1e-8)
    b = np.linalg.inv(h)
    direct = b - np.outer(b @ s, b @ s) / (s @ b @ s) + rho * np.outer(y, y)
    np.testing.assert_allclose(np.linalg.inv(new), direct, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_no_other_symmetric_matrix_that_satisfies_the_secant_equation_is_nearer(seed):
    rng = np.random.default_rng(seed)
    n = 4
    h, weight, s = positive_definite(rng, n), positive_definite(rng, n), rng.standard_normal(n)
    y = weight @ s
    new, root = bfgs_update(h, s, y), np.linalg.cholesky(weight)

    def distance(m):
        return np.linalg.norm(root.T @ (m - h) @ root)

    across = np.eye(n) - np.outer(y, y) / (y @ y)
    for size in (1e-3, 1.0, 100.0):
        e = rng.standard_normal((n, n))
        other = new + size * across @ (e + e.T) @ across
        np.testing.assert_allclose(other @ y, s, atol=1e-6 * size + 1e-9)
        assert distance(other) > distance(new)
        # Pythagoras: what the update changes is at right angles to what is free.
        assert distance(other) ** 2 == pytest.approx(distance(new) ** 2 + np.linalg.norm(root.T @ (other - new) @ root) ** 2, rel=1e-6)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_exact_line_searches_end_in_n_steps_on_a_quadratic_with_the_inverse_built_and_the_path_of_conjugate_gradients(n):
    a = positive_definite(np.random.default_rng(n), n)
    x, h, pairs, norms = np.ones(n), np.eye(n), [], []
    for _ in range(n):
        g = a @ x
        norms.append(np.linalg.norm(g))
        p = -h @ g
        s = -(g @ p) / (p @ a @ p) * p
        h = bfgs_update(h, s, a @ s)
        pairs.append((s, a @ s))
        x = x + s
        for old_s, old_y in pairs:  # nothing is forgotten
            np.testing.assert_allclose(h @ old_y, old_s, atol=1e-6)
    np.testing.assert_allclose(x, 0, atol=1e-8)
    np.testing.assert_allclose(h, np.linalg.inv(a), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norms, conjugate_gradient(lambda d: a @ d, -a @ np.ones(n))[1][:n], rtol=1e-5)


def test_where_curvatures_repeat_the_minimum_comes_before_the_inverse_is_built():
    a, x, h, steps = np.array([2.0, 2.0, 2.0, 5.0]), np.array([1.0, 2.0, 3.0, 4.0]), np.eye(4), 0
    while np.abs(a * x).max() > 1e-12:
        g, steps = a * x, steps + 1
        p = -h @ g
        s = -(g @ p) / (p @ (a * p)) * p
        h, x = bfgs_update(h, s, a * s), x + s
    assert steps == 2
    assert np.linalg.norm(h - np.diag(1 / a)) == pytest.approx(0.5**0.5)  # two directions as the identity had them: 1 for ½


@pytest.mark.parametrize("memory", [1, 3, 8])
def test_with_exact_line_searches_on_a_quadratic_every_memory_takes_the_path_of_conjugate_gradients(memory):
    a, x, pairs, norms = positive_definite(np.random.default_rng(8), 8), np.ones(8), [], []
    for _ in range(8):
        g = a @ x
        norms.append(np.linalg.norm(g))
        p = -two_loop(g, pairs[-memory:], 1.0)
        s = -(g @ p) / (p @ a @ p) * p
        pairs.append((s, a @ s))
        x = x + s
    np.testing.assert_allclose(norms, conjugate_gradient(lambda d: a @ d, -a @ np.ones(8))[1][:8], rtol=1e-5)


# The two loops

@pytest.mark.parametrize(("n", "count"), [(1, 1), (3, 1), (3, 7), (20, 5)])
def test_two_loops_are_the_dense_product(n, count):
    rng = np.random.default_rng(n)
    pairs = pairs_of(rng, n, count)
    h = learnt(pairs, 0.3, n)
    for g in rng.standard_normal((4, n)):
        np.testing.assert_allclose(two_loop(g, pairs, 0.3), h @ g, rtol=1e-8, atol=1e-9 * np.linalg.norm(h) * np.linalg.norm(g))
    assert two_loop(g, [], 2.0).tolist() == (2 * g).tolist()


@pytest.mark.parametrize("memory", [1, 2, 5, 9])
def test_two_triangles_are_the_two_loops_while_pairs_come_and_go(memory):
    rng = np.random.default_rng(memory)
    n = 6
    limited, pairs = LimitedInverse(n, memory), pairs_of(rng, n, 14)
    for k, (s, y) in enumerate(pairs):
        limited.learn(s, y)
        g = rng.standard_normal(n)
        before = g.copy()
        kept = pairs[max(0, k + 1 - memory) : k + 1]
        assert limited.scale == pytest.approx(s @ y / (y @ y))
        product = two_loop(g, kept, limited.scale)
        np.testing.assert_allclose(limited.times(g), product, rtol=1e-7, atol=1e-8 * np.linalg.norm(product))
        np.testing.assert_array_equal(g, before)


def test_two_triangles_bear_pairs_of_very_different_sizes():
    rng = np.random.default_rng(0)
    limited = LimitedInverse(8, 10)
    pairs = [(s * 10.0**-k, y * 10.0**-k) for k, (s, y) in enumerate(pairs_of(rng, 8, 10))]
    for s, y in pairs:
        limited.learn(s, y)
    g = rng.standard_normal(8)
    product = two_loop(g, pairs, limited.scale)
    np.testing.assert_allclose(limited.times(g), product, rtol=1e-6, atol=1e-8 * np.linalg.norm(product))


def test_before_any_pair_the_gradient_comes_back_as_it_is():
    g = np.array([3.0, -1.0, 0.5])
    np.testing.assert_array_equal(LimitedInverse(3, 2).times(g), g)


def test_what_is_forgotten_is_gone():
    rng = np.random.default_rng(0)
    for inverse, fresh in ((LimitedInverse(4, 3), LimitedInverse(4, 3)), (DenseInverse(4), DenseInverse(4))):
        for s, y in pairs_of(rng, 4, 5):
            inverse.learn(s, y)
        inverse.forget()
        assert inverse.learnt == 0
        s, y = pairs_of(rng, 4, 1)[0]
        inverse.learn(s, y)
        fresh.learn(s, y)
        np.testing.assert_array_equal(inverse.times(np.arange(4.0)), fresh.times(np.arange(4.0)))


class Counting(np.ndarray):
    """An array that counts the additions and multiplications of its products."""

    operations = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if ufunc is np.matmul:
            Counting.operations += 2 * max(i.size for i in inputs)
        return getattr(ufunc, method)(*(np.asarray(i) for i in inputs), **options)


def test_a_step_costs_eight_mn_for_the_direction_and_two_mn_to_learn(monkeypatch):
    memory, n = 4, 50
    limited, pairs = LimitedInverse(n, memory), pairs_of(np.random.default_rng(0), n, memory)
    limited.s, limited.y = limited.s.view(Counting), limited.y.view(Counting)
    for s, y in pairs:
        monkeypatch.setattr(Counting, "operations", 0)
        limited.learn(s, y)
    assert Counting.operations == 2 * memory * n
    monkeypatch.setattr(Counting, "operations", 0)
    product = limited.times(np.ones(n))
    assert Counting.operations == 8 * memory * n
    np.testing.assert_allclose(product, two_loop(np.ones(n), pairs, limited.scale), rtol=1e-7)


def test_the_scale_is_an_inverse_curvature_of_a_positive_definite_mean_hessian_and_need_not_be_one_of_another():
    rng = np.random.default_rng(0)
    for _ in range(20):
        h, s = positive_definite(rng, 5), rng.standard_normal(5)
        y, curvatures = h @ s, np.linalg.eigvalsh(h)
        assert curvatures[0] <= y @ y / (s @ y) <= curvatures[-1] * (1 + 1e-12)
    s, y = np.array([1.0, 0.9]), np.array([1.0, -0.9])
    assert s @ y > 0 and y @ y / (s @ y) == pytest.approx(1.81 / 0.19)


class FirstScale(LimitedInverse):
    """L-BFGS that keeps the scale of its first pair, as BFGS does."""

    def learn(self, s, y):
        super().learn(s, y)
        self.first = self.scale = self.scale if self.learnt == 1 else self.first


@pytest.mark.parametrize("f", [rosenbrock(), rosenbrock(6), beale(), booth(), quadratic([1.0, 10.0, 100.0])], ids=lambda f: f"{f.name} {f.n}")
def test_with_all_pairs_and_the_same_scale_lbfgs_is_bfgs(f):
    start = np.full(f.n, 0.5)
    paths = []
    for inverse in (DenseInverse(f.n), FirstScale(f.n, 100)):
        path = []
        result = quasi_newton._descend(Objective(f.fun, f.grad), start, inverse, 1e-6, 60, path.append)
        assert result.success
        paths.append(np.array(path))
    assert len(paths[0]) == len(paths[1]) < 100
    np.testing.assert_allclose(paths[1][:12], paths[0][:12], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(paths[1][-1], paths[0][-1], atol=1e-5)


# Whole runs

RUNS = [(rosenbrock(), 2), (rosenbrock(20), 2), (beale(), 0.5), (himmelblau(), 4), (booth(), 9), (quadratic(np.geomspace(1, 1e4, 10)), 2)]


@both
@pytest.mark.parametrize(("f", "size"), RUNS, ids=[f"{f.name} {f.n}" for f, _ in RUNS])
def test_they_find_a_minimum_and_say_what_it_took(method, f, size):
    for seed in range(4):
        calls = [0, 0]

        def fun(w, calls=calls):
            calls[0] += 1
            return f.fun(w)

        def grad(w, calls=calls):
            calls[1] += 1
            return f.grad(w)

        start = np.random.default_rng(seed).uniform(-size, size, f.n) + (2 if f.name == "Beale" else 0)
        before = start.copy()
        result = method(fun, start, grad)
        assert result.success and result.message.startswith("no slope is larger than gtol; only the gradient was looked at")
        assert (result.nfev, result.ngev) == tuple(calls) and 0 < result.nit < result.ngev <= result.nfev
        assert np.abs(f.grad(result.x)).max() <= 1e-6 and result.fun == f.fun(result.x)
        np.testing.assert_array_equal(start, before)
        if f.name != "Rosenbrock" or f.n == 2:
            assert np.abs(f.minima - result.x).max(axis=1).min() < 1e-5


@both
@pytest.mark.parametrize("gtol", [1e-1, 1e-3, 1e-9])
def test_gtol_is_the_largest_slope(method, gtol):
    f, path = rosenbrock(4), []
    result = method(f.fun, np.zeros(4), f.grad, gtol=gtol, callback=path.append)
    slopes = np.abs(f.grad(np.array(path))).max(axis=1)
    assert result.success and slopes[-1] <= gtol < slopes[:-1].min()


@both
def test_loss_and_gradient_in_one_function_take_the_same_path(method):
    f = rosenbrock(5)
    apart = method(f.fun, np.zeros(5), f.grad)
    together = method(lambda w: (f.fun(w), f.grad(w)), np.zeros(5), True)
    np.testing.assert_array_equal(apart.x, together.x)
    assert together.nfev == together.ngev == apart.nfev


@both
def test_a_function_that_reuses_and_spoils_its_arrays_does_no_harm(method):
    f, buffer = rosenbrock(5), np.zeros(5)

    def grad(w):
        buffer[:] = f.grad(w)
        w[:] = np.nan
        return buffer

    def fun(w):
        value = f.fun(w)
        w[:] = 0
        return value

    kept = []

    def callback(w):
        kept.append(w.copy())
        w[:] = 1e9

    np.testing.assert_array_equal(method(fun, np.zeros(5), grad, callback=callback).x, method(f.fun, np.zeros(5), f.grad).x)
    np.testing.assert_array_equal(kept[-1], method(f.fun, np.zeros(5), f.grad).x)


@both
def test_powers_of_two_as_units_of_the_loss_change_nothing_but_the_first_step(method):
    f = quadratic([1.0, 7.0, 30.0])
    a, b = (method(lambda w, c=c: c * f.fun(w), np.ones(3), lambda w, c=c: c * f.grad(w), gtol=1e-6 * c) for c in (1.0, 1024.0))
    assert a.nit == b.nit
    np.testing.assert_allclose(a.x, b.x, atol=1e-12)


@both
def test_one_weight_lists_and_integers_will_do(method):
    assert method(lambda w: (w[0] - 3) ** 2, [0], lambda w: [2 * (w[0] - 3)]).x == pytest.approx([3.0])


@pytest.mark.peers
@pytest.mark.parametrize(("f", "size", "shift", "seeds", "most"), [
    (rosenbrock(), 2, 0, 20, 1.2), (rosenbrock(100), 2, 0, 2, 1.1), (beale(), 1, [2, 0], 20, 1.1), (himmelblau(), 5, 0, 20, 1.1),
    (booth(), 10, 0, 20, 1.0), (quadratic(np.geomspace(1, 1e6, 20)), 2, 0, 2, 1.2),
], ids=lambda v: f"{v.name} {v.n}" if hasattr(v, "name") else "")
def test_no_more_evaluations_than_scipy_takes_with_a_fifth_to_spare(f, size, shift, seeds, most):
    optimize = pytest.importorskip("scipy.optimize")
    ours = theirs = 0
    limits = {"gtol": 1e-6, "ftol": 0, "maxcor": 10, "maxiter": 10**6, "maxfun": 10**7}
    for seed in range(seeds):
        start = np.random.default_rng(seed).uniform(-size, size, f.n) + shift
        a, b = lbfgs(f.fun, start, f.grad, maxiter=10**5), optimize.minimize(f.fun, start, jac=f.grad, method="L-BFGS-B", options=limits)
        assert a.success and b.success
        ours, theirs = ours + a.nfev, theirs + b.nfev
    assert ours <= most * theirs


@pytest.mark.peers
def test_no_more_evaluations_than_scipy_on_real_digits():
    optimize = pytest.importorskip("scipy.optimize")
    data = digits()
    f = logistic_regression(data.inputs[:300], data.labels[:300], 1e-3)
    limits = {"gtol": 1e-5, "ftol": 0, "maxcor": 10, "maxiter": 10**6, "maxfun": 10**7}
    ours, theirs = lbfgs(f.fun, np.zeros(f.n), f.grad, gtol=1e-5), optimize.minimize(f.fun, np.zeros(f.n), jac=f.grad, method="L-BFGS-B", options=limits)
    assert ours.success and ours.nfev <= 1.2 * theirs.nfev
    np.testing.assert_allclose(ours.x, theirs.x, atol=5e-3)


def test_the_recorded_counts_keep_within_a_fifth_and_the_times_too():
    record = measured("lbfgs_cost")
    assert len(record["evaluations"]) == 8
    for counts in record["evaluations"].values():
        assert len(counts["ours"]) == len(counts["scipy"]) >= 10
        assert sum(counts["ours"]) <= 1.1 * sum(counts["scipy"])
        assert max(np.array(counts["ours"]) / counts["scipy"]) <= 1.2
    ratios = [np.median(np.array(t["ours"]) / t["scipy"]) for t in record["seconds"].values()]
    assert ratios[0] <= 1.1 and ratios[1] <= 0.7


def test_whether_bfgs_or_a_few_pairs_need_fewer_evaluations_depends_on_the_loss():
    for f, sign in ((rosenbrock(20), 1), (quadratic(np.geomspace(1, 1000, 20)), -1)):
        rows = []
        for seed in range(10):
            start = np.random.default_rng(seed).uniform(-2, 2, 20)
            rows.append([lbfgs(f.fun, start, f.grad, memory=5).nfev, lbfgs(f.fun, start, f.grad).nfev, bfgs(f.fun, start, f.grad).nfev])
        five, ten, whole = np.array(rows).T
        paired = sign * (whole - ten)
        assert paired.mean() > 5 * paired.std(ddof=1) / 10**0.5
        assert (five - ten).mean() > 0


@pytest.mark.parametrize("f", [rosenbrock(20), quadratic(np.geomspace(1, 1000, 20))], ids=lambda f: f.name)
def test_old_pairs_do_no_harm_where_the_scale_is_the_last_pairs(f):
    rows = []
    for seed in range(10):
        start = np.random.default_rng(seed).uniform(-2, 2, 20)
        rows.append([lbfgs(f.fun, start, f.grad, memory=1000).nfev, lbfgs(f.fun, start, f.grad, memory=20).nfev, bfgs(f.fun, start, f.grad).nfev])
    everything, twenty, first_scale = np.array(rows).T
    for others in (twenty, first_scale):
        fewer = others - everything
        assert fewer.mean() > 5 * fewer.std(ddof=1) / 10**0.5


def test_the_first_step_is_tried_at_length_one_and_later_ones_in_full():
    seen, points, f = [], [], rosenbrock()

    def fun(x):
        seen.append(x.copy())
        return f.fun(x)

    lbfgs(fun, [-1.2, 1.0], f.grad, callback=points.append, maxiter=3)
    start, inverse = np.array([-1.2, 1.0]), LimitedInverse(2, 10)
    np.testing.assert_allclose(seen[1] - start, -f.grad(start) / np.linalg.norm(f.grad(start)))
    inverse.learn(points[0] - start, f.grad(points[0]) - f.grad(start))
    full = points[0] - inverse.times(f.grad(points[0]))
    assert min(abs(x - full).max() for x in seen) < 1e-9


@pytest.mark.parametrize(("n", "wrong"), [(1, (0.15, 0.3)), (10, (0.0, 0.01)), (100, (0.0, 0.0))])
def test_a_step_along_the_noise_reads_the_curvature_too_large_by_one_over_the_rate(n, wrong):
    curvature, t = 4.0, 0.05
    before, after = np.random.default_rng(0).normal(0, 0.1, (2, 4000, n))
    s = -t * before
    product = (s * (curvature * s + after - before)).sum(axis=1)
    assert wrong[0] <= (product <= 0).mean() <= wrong[1]
    assert np.median(product / (s**2).sum(axis=1)) == pytest.approx(curvature + 1 / t, rel=0.05)


@pytest.mark.parametrize("memory", [3, 10])
def test_memory_is_two_vectors_a_pair_and_a_few_more(memory):
    n = 100_000
    curvatures = np.linspace(1, 50, n)
    tracemalloc.start()
    lbfgs(lambda w: w @ (curvatures * w) / 2, np.ones(n), lambda w: curvatures * w, memory=memory, maxiter=2 * memory)
    peak = tracemalloc.get_traced_memory()[1] / (8 * n)
    tracemalloc.stop()
    assert 2 * memory < peak < 2 * memory + 14


# What can go wrong

def kink(x):
    return float(max(x[0], -2 * x[0]))


def kink_slope(x):
    return np.array([1.0 if x[0] >= 0 else -2.0])


UNBOUNDED, NO_STEP, NO_MINIMUM, NOT_FINITE = "unbounded below", "the line search failed", "the gradient vanishes, but the loss falls next to it", "not finite"
BREAKS = {
    "a gradient of the wrong sign": (lambda x: x @ x, lambda x: -2 * x, [1.0, 2.0], NO_STEP),
    "the gradient of another loss": (lambda x: float((x**4 + x**2).sum()), lambda x: 2 * (x - 1), [10.0], NO_MINIMUM),
    "a biased gradient": (lambda x: x @ x, lambda x: 2 * x + 0.3, [1.0, 2.0], NO_MINIMUM),
    "a gradient of zeros": (lambda x: x @ x, lambda x: 0 * x, [1.0, 2.0], NO_MINIMUM),
    "a slope forgotten": (lambda x: x @ x, lambda x: 2 * x * [1, 0], [1.0, 2.0], NO_MINIMUM),
    "a start on a maximum": (lambda x: -(x @ x), lambda x: -2 * x, [0.0, 0.0], NO_MINIMUM),
    "a start on a saddle": (saddle().fun, saddle().grad, [0.0, 0.0], NO_MINIMUM),
    "a saddle reached along its valley": (saddle().fun, saddle().grad, [1.0, 0.0], NO_MINIMUM),
    "a slope without end": (lambda x: -x.sum(), lambda x: -np.ones(2), [1.0, 2.0], UNBOUNDED),
    "a gentle slope without end": (lambda x: -1e-5 * x.sum(), lambda x: -1e-5 * np.ones(2), [1.0, 2.0], UNBOUNDED),
    "a steep slope without end": (lambda x: -1e15 * x.sum(), lambda x: -1e15 * np.ones(2), [1.0, 2.0], UNBOUNDED),
    "a hill": (lambda x: -(x @ x), lambda x: -2 * x, [1.0, 2.0], UNBOUNDED),
    "an exponential hill": (lambda x: -np.exp(x).sum(), lambda x: -np.exp(x), [1.0], UNBOUNDED),
    "a pole": (lambda x: np.log(x).sum(), lambda x: 1 / x, [1.0], UNBOUNDED),
    "a valley that sinks": (lambda x: x[0] ** 2 - x[1], lambda x: np.array([2 * x[0], -1.0]), [1.0, 1.0], UNBOUNDED),
    "a kink": (kink, kink_slope, [0.7], NO_STEP),
    "a raised kink": (lambda x: 1 + kink(x), kink_slope, [0.7], NO_STEP),
    "a wall": (lambda x: x[0] if x[0] > 0.5 else math.nan, np.ones_like, [1.0], NO_STEP),
    "a wall of infinity": (lambda x: x @ x if x[0] > 0.5 else math.inf, lambda x: 2 * x, [1.0], NO_STEP),
    "no number but at the start": (lambda x: x @ x if x[0] == 1 else math.nan, lambda x: 2 * x, [1.0], NO_STEP),
    "no slope but at the start": (lambda x: x @ x, lambda x: 2 * x if x[0] == 1 else math.nan * x, [1.0], NO_STEP),
    "an edge with an infinite slope": (lambda x: np.sqrt(x).sum(), lambda x: 0.5 / np.sqrt(x), [1.0], NOT_FINITE),
    "NaN": (lambda x: math.nan, lambda x: 2 * x, [1.0], NOT_FINITE),
    "infinity": (lambda x: math.inf, lambda x: 2 * x, [1.0], NOT_FINITE),
    "a gradient of NaN": (lambda x: x @ x, lambda x: [1.0, math.nan], [1.0, 1.0], NOT_FINITE),
    "a gradient of infinity": (lambda x: x @ x, lambda x: [-math.inf, 1.0], [1.0, 1.0], NOT_FINITE),
    "a loss that overflows": (lambda x: x @ x, lambda x: 2 * x, [1e160, 2e160], NOT_FINITE),
    "a start too far out": (lambda x: x @ x, lambda x: 2 * x, [1e150, 2e150], NO_STEP),
    "a plateau with a slope": (lambda x: 1.0, lambda x: np.ones_like(x), [1.0, 2.0], NO_STEP),
}


@both
@pytest.mark.parametrize("name", BREAKS)
def test_never_a_wrong_answer_called_converged(method, name):
    fun, grad, start, says = BREAKS[name]
    result = method(fun, start, grad)
    assert not result.success and says in result.message
    assert result.nfev < 1000
    with np.errstate(all="ignore"):
        value, end = float(fun(np.array(start))), fun(result.x)
    assert not math.isfinite(value) or result.fun == end <= value


HARMLESS = {
    "a kink with a slope of zero": (lambda x: float(np.abs(x).sum()), np.sign, [0.3], [0.0]),
    "a barrier": (lambda x: (x - np.log(x)).sum() if (x > 0).all() else math.nan, lambda x: 1 - 1 / x, [1e-3, 1e3, 5.0], [1.0, 1.0, 1.0]),
    "a domain": (lambda x: -np.sqrt(1 - x @ x), lambda x: x / np.sqrt(1 - x @ x), [0.6, 0.7], [0.0, 0.0]),
    "a gradient a hundred times too large": (lambda x: x @ x, lambda x: 200 * x, [1.0, 2.0], [0.0, 0.0]),
    "a gradient a hundred times too small": (lambda x: x @ x, lambda x: 0.02 * x, [1.0, 2.0], [0.0, 0.0]),
    "a large constant": (lambda x: 1e6 + rosenbrock().fun(x), rosenbrock().grad, [-1.2, 1.0], [1.0, 1.0]),
    "an enormous constant": (lambda x: 1e16 + x @ x, lambda x: 2 * x, [1.0, 2.0], [0.0, 0.0]),
    "single precision": (lambda x: np.float32(rosenbrock().fun(x)), lambda x: rosenbrock().grad(x).astype("f4"), [-1.2, 1.0], [1.0, 1.0]),
    "a tiny scale of weights": (lambda x: 1e20 * (x @ x), lambda x: 2e20 * x, [1e-12, 2e-12], [0.0, 0.0]),
    "a flat minimum": (lambda x: float((x**4).sum()), lambda x: 4 * x**3, [1.0, 0.5], [0.0, 0.0]),
    "a start at the minimum": (booth().fun, booth().grad, [1.0, 3.0], [1.0, 3.0]),
    "a weight right from the start": (quadratic([1.0, 5.0]).fun, quadratic([1.0, 5.0]).grad, [2.0, 0.0], [0.0, 0.0]),
    "a plain": (lambda x: 1.0, lambda x: 0 * x, [10.0], [10.0]),
}


@both
@pytest.mark.parametrize("name", HARMLESS)
def test_what_looks_dangerous_and_is_not(method, name):
    fun, grad, start, end = HARMLESS[name]
    result = method(fun, start, grad)
    assert result.success
    np.testing.assert_allclose(result.x, end, atol=2e-2 if name == "a flat minimum" else 1e-5)


@both
def test_a_limit_of_iterations_is_no_convergence(method):
    f = rosenbrock()
    for limit in (0, 1, 7):
        result = method(f.fun, [-1.2, 1.0], f.grad, maxiter=limit)
        assert (result.success, result.nit, result.message) == (False, limit, "the iteration limit is reached")
    assert method(f.fun, [1.0, 1.0], f.grad, maxiter=0).success


@both
@pytest.mark.parametrize("seed", range(5))
def test_noise_ends_the_descent_without_an_endless_loop(method, seed):
    f = noisy(quadratic([1.0, 3.0]), 0.1, np.random.default_rng(seed))
    result = method(f.fun, [1.0, 2.0], f.grad, gtol=1e-9, maxiter=300)
    assert not result.success and result.nfev < 300 * 51
    loss = np.random.default_rng(seed)
    result = method(lambda x: x @ x + 1e-3 * loss.standard_normal(), [1.0, 2.0], f.grad, gtol=1e-9, maxiter=300)
    assert not result.success and result.nfev < 300 * 51


def test_below_what_rounding_allows_it_stops_and_says_so():
    rng = np.random.default_rng(0)
    f = logistic_regression(rng.normal(size=(50, 4)), rng.integers(3, size=50), 0.1)
    result = lbfgs(f.fun, np.zeros(12), f.grad, gtol=1e-30)
    assert not result.success and result.nit < 200 and "rounding" in result.message
    assert np.abs(f.grad(result.x)).max() < 1e-9


class Uphill(DenseInverse):
    def times(self, g):
        return -g


def test_a_direction_that_does_not_lead_down_is_dropped_for_the_slope():
    f = booth()
    result = quasi_newton._descend(Objective(f.fun, f.grad), np.zeros(2), Uphill(2), 1e-3, 1000, None)
    assert result.success and result.nit > 5


def test_steps_without_progress_are_counted_and_end(monkeypatch):
    monkeypatch.setattr(quasi_newton, "strong_wolfe", lambda o, x, p, loss, slope: quasi_newton_step(x, loss, slope, o))

    def quasi_newton_step(x, loss, slope, objective):
        from reference_impl.optimization.line_search import Step
        return Step(1.0, x, loss, slope, objective.grad(x))

    f = booth()
    result = lbfgs(f.fun, np.zeros(2), f.grad)
    assert not result.success and result.nit == IDLE and "neither loss nor gradient" in result.message


@both
@pytest.mark.parametrize(("change", "error", "says"), [
    ({"x0": [[1.0, 2.0]]}, ValueError, r"x0 must be a non-empty vector of finite numbers, got \[\[1.0, 2.0\]\]"),
    ({"x0": 1.0}, ValueError, "x0 must be a non-empty vector of finite numbers, got 1.0"),
    ({"x0": []}, ValueError, r"x0 must be a non-empty vector of finite numbers, got \[\]"),
    ({"x0": [1.0, math.nan]}, ValueError, r"finite numbers, got \[1.0, nan\]"),
    ({"x0": [1.0, -math.inf]}, ValueError, r"finite numbers, got \[1.0, -inf\]"),
    ({"x0": [1j, 0]}, TypeError, "finite numbers, got"),
    ({"x0": ["1", "2"]}, TypeError, "finite numbers, got"),
    ({"gtol": 0.0}, ValueError, r"gtol must be a number in \(0, inf\), got 0.0"),
    ({"gtol": -1e-6}, ValueError, r"gtol must be a number in \(0, inf\), got -1e-06"),
    ({"gtol": math.nan}, ValueError, r"gtol must be a number in \(0, inf\), got nan"),
    ({"maxiter": -1}, ValueError, "maxiter must be a whole number from 0 up, got -1"),
    ({"maxiter": 1.5}, ValueError, "maxiter must be a whole number from 0 up, got 1.5"),
    ({"maxiter": True}, TypeError, "maxiter must be a whole number from 0 up, got True"),
    ({"fun": 3}, TypeError, "fun must be a function of x, got 3"),
    ({"grad": None}, TypeError, "grad must be a function of x, or True"),
    ({"grad": lambda w: w[:1]}, ValueError, r"grad must return shape \(2,\), got \(1,\)"),
    ({"grad": lambda w: w.astype(complex)}, TypeError, "grad must return real numbers, got complex128"),
    ({"fun": lambda w: w}, TypeError, "fun must return one real number, got array"),
])
def test_bad_input_is_refused(method, change, error, says):
    f = booth()
    given = {"fun": f.fun, "x0": [0.0, 0.0], "grad": f.grad} | change
    with pytest.raises(error, match=says):
        method(given.pop("fun"), given.pop("x0"), given.pop("grad"), **given)


@pytest.mark.parametrize("memory", [0, -1, 2.0, True, None, "10"])
def test_memory_is_a_whole_number(memory):
    with pytest.raises((TypeError, ValueError), match=f"memory must be a whole number from 1 up, got {memory!r}"):
        lbfgs(booth().fun, [0.0, 0.0], booth().grad, memory=memory)


def test_a_loss_that_raises_is_not_silenced():
    def fun(w):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        lbfgs(fun, [1.0], lambda w: w)


def test_at_a_monkey_saddle_it_is_said_that_only_slopes_were_looked_at():
    result = lbfgs(lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2, [1.0, 0.0], lambda x: np.array([3 * (x[0] ** 2 - x[1] ** 2), -6 * x[0] * x[1]]))
    assert result.x.round(6).tolist() == [0.0, 0.0] and "only the gradient was looked at, not the curvature" in result.message


@pytest.mark.parametrize("count", [128, 512])
def test_fresh_batches_end_the_descent_above_the_minimum_on_real_digits(count):
    data, zeros = digits(), np.zeros(650)
    images = np.hstack([data.inputs, np.ones((len(data.inputs), 1))])
    whole = logistic_regression(images, data.labels, 1e-3)
    least = lbfgs(whole.fun, zeros, whole.grad, gtol=1e-4).fun
    for seed in range(5):
        rng = np.random.default_rng(seed)

        def both(w, rng=rng):
            rows = rng.choice(len(images), count, replace=False)
            part = logistic_regression(images[rows], data.labels[rows], 1e-3)
            return part.fun(w), part.grad(w)

        end = lbfgs(both, zeros, True)
        assert not end.success and end.nit < 30 and whole.fun(end.x) > least + 0.08


def test_both_stop_after_as_many_steps():
    """SciPy's limit for L-BFGS-B, which is meant for any problem that ends at all."""
    theirs = inspect.signature(_minimize_lbfgsb).parameters["maxiter"].default
    assert {inspect.signature(minimiser).parameters["maxiter"].default for minimiser in (bfgs, lbfgs)} == {theirs}
