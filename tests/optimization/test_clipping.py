"""Clipping: exact within the bound and beyond it, for any size of number, as a function and inside a rule; what it is the gradient of."""

import copy
import math

import numpy as np
import pytest
from rules import OPTIMIZERS

from reference_impl import SGD, Adam, Groups, Momentum, clip_norm, clip_value, engines, flatten
from reference_impl.engines.tape import trace
from reference_impl.optimization import packing
from reference_impl.optimization.clipping import clipped, norm

DTYPES = ["f2", "f4", "f8"]
ROUNDING = {"f2": 2e-3, "f4": 5e-7, "f8": 1e-14}


def gradients(dtype="f8", scale=1.0):
    rng = np.random.default_rng(0)
    return {"W": (scale * rng.normal(size=(3, 4))).astype(dtype), "b": (scale * rng.normal(size=4)).astype(dtype), "0-d": np.array(0.5 * scale, dtype),
            "empty": np.zeros((0, 2), dtype), "F": np.asfortranarray(scale * rng.normal(size=(2, 3))).astype(dtype)}


def length(grads):
    return math.sqrt(math.fsum(float(x) ** 2 for g in grads.values() for x in g.ravel()))


@pytest.mark.parametrize("dtype", DTYPES)
def test_within_the_bound_nothing_changes(dtype):
    grads = gradients(dtype)
    before = copy.deepcopy(grads)
    for result in (clip_norm(grads, 1.001 * length(grads)), clip_norm(grads, 1e300), clip_value(grads, 100), clip_value(grads, 1e300)):
        np.testing.assert_equal(result, before)
        assert all(result[key].dtype == dtype and not np.shares_memory(result[key], grads[key]) for key in grads)
    same = clip_norm({"w": np.array([3.0, 4.0])}, 5.0)
    assert same["w"].tolist() == [3.0, 4.0]
    np.testing.assert_equal(grads, before)


@pytest.mark.parametrize("bound", [1.0, 0.125, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_beyond_the_bound_the_norm_is_the_bound(dtype, bound):
    grads = gradients(dtype, scale=10)
    result, before = clip_norm(grads, bound), length(grads)
    assert length(result) == pytest.approx(bound, rel=ROUNDING[dtype])
    for key, g in grads.items():
        np.testing.assert_allclose(result[key], g.astype("f8") * (bound / before), rtol=ROUNDING[dtype], atol=1e-6 if dtype == "f2" else 0)
        assert result[key].dtype == dtype and result[key].shape == g.shape


@pytest.mark.parametrize(("dtype", "value", "count"), [
    ("f2", 6e4, 1000), ("f2", 6e-8, 50), ("f4", 3e38, 10_000), ("f4", 1e20, 3), ("f4", 1e-45, 8), ("f4", 1e-30, 100),
    ("f8", 1.7e308, 300), ("f8", 1e200, 3), ("f8", 1e-200, 7), ("f8", 5e-324, 4)])
def test_a_norm_is_right_however_large_or_small_the_numbers(dtype, value, count):
    g = np.full(count, value, dtype)
    exact = float(g[0]) * math.sqrt(count) if dtype != "f8" or value < 1e300 else math.inf
    assert norm([g]).value == pytest.approx(exact, rel=1e-14)
    root = math.sqrt(float(g[0])) * count**0.25
    assert norm([g]).root == pytest.approx(root, rel=1e-14)
    if value > 1:
        bound = 1.0
        np.testing.assert_allclose(clip_norm({"w": g}, bound)["w"].astype("f8"), 1 / math.sqrt(count), rtol=ROUNDING[dtype])
    assert norm([g, np.zeros(3)]).value == norm([g]).value and norm([]).value == norm([np.zeros(0)]).value == norm([np.zeros(2)]).value == 0


def test_a_norm_is_over_all_arrays_and_all_blocks():
    rng = np.random.default_rng(1)
    parts = [rng.normal(size=shape).astype(dtype) for shape, dtype in (((70_000,), "f4"), ((3, 200), "f8"), ((40_000,), "f2"))]
    strided = rng.normal(size=(50, 60))[::2, ::-3]
    assert norm([*parts, strided]).value == pytest.approx(math.sqrt(sum((p.astype("f8") ** 2).sum() for p in (*parts, strided))), rel=1e-13)


def test_a_bound_equal_to_the_norm_is_no_reason_to_scale():
    for seed in range(50):
        g = np.random.default_rng(seed).normal(size=1000)
        np.testing.assert_array_equal(clip_norm({"w": g}, float(np.linalg.norm(g)))["w"], g)


def test_a_norm_beyond_all_numbers_comes_down_to_a_bound_that_is_large_too():
    assert clip_norm({"w": np.full(100, 1.7e308)}, 1e300)["w"] == pytest.approx(np.full(100, 1e299))


def test_a_gradient_just_beyond_the_bound_is_scaled():
    g = np.array([3.0, 4.0])
    assert clip_norm({"w": g}, 5 * (1 - 1e-12))["w"][0] < 3


@pytest.mark.parametrize("dtype", DTYPES)
def test_by_value_each_number_is_cut(dtype):
    result = clip_value({"w": np.array([-3.0, -0.0, 0.25, 7.0], dtype)}, 0.5)["w"]
    assert result.tolist() == [-0.5, 0.0, 0.25, 0.5] and np.signbit(result[1]) and result.dtype == dtype


def huber(r, c):
    """½r² up to |r| = c, and its tangent beyond."""
    return np.where(r <= c, r**2 / 2, c * (r - c / 2))


LOSSES = {"clip_value": (clip_value, lambda r, c: huber(np.abs(r), c).sum()), "clip_norm": (clip_norm, lambda r, c: float(huber(np.linalg.norm(r), c)))}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", LOSSES)
def test_what_is_left_is_the_gradient_of_hubers_loss(kind, seed):
    clip, loss = LOSSES[kind]
    rng = np.random.default_rng(seed)
    r, c, h = rng.normal(size=6) * rng.choice([0.1, 1.0, 10.0]), 1.0, 1e-6
    numeric = [(loss(r + h * e, c) - loss(r - h * e, c)) / (2 * h) for e in np.eye(6)]
    np.testing.assert_allclose(clip({"r": r}, c)["r"], numeric, atol=1e-8)


@pytest.mark.parametrize("clip", [clip_norm, clip_value])
@pytest.mark.parametrize(("grads", "bound", "error", "says"), [
    ([np.ones(2)], 1.0, TypeError, "grads must be a dict of arrays, got list"),
    (None, 1.0, TypeError, "grads must be"),
    ({"w": [1.0]}, 1.0, TypeError, r"grads\['w'\] must be an array, got list"),
    ({3: np.ones(2)}, 1.0, TypeError, "grads must have strings as keys, got 3"),
    ({"w": np.arange(2)}, 1.0, TypeError, r"grads\['w'\] must have the dtype float16, float32 or float64, got int64"),
    ({"w": np.ones(2, complex)}, 1.0, TypeError, r"grads\['w'\] must have the dtype"),
    ({"w": np.array([1.0, np.nan])}, 1.0, ValueError, r"grads\['w'\] must be finite, got nan at index \(1,\)"),
    ({"w": np.array([[-np.inf]])}, 1.0, ValueError, r"grads\['w'\] must be finite, got -inf at index \(0, 0\)"),
    *(({"w": np.ones(2)}, bound, error, "bound must be") for bound, error in (
        (0, ValueError), (-1.0, ValueError), (np.nan, ValueError), (np.inf, ValueError), ("1", TypeError), (None, TypeError), (True, TypeError), ([1], TypeError)))])
def test_what_cannot_be_clipped_is_refused(clip, grads, bound, error, says):
    with pytest.raises(error, match=f"^{says}"):
        clip(grads, bound)


def test_arrays_of_any_library_are_clipped():
    xp = pytest.importorskip("array_api_strict")
    grads = {"w": xp.asarray([6.0, 8.0]), "b": xp.asarray([[0.0]])}
    assert [float(x) for x in clip_norm(grads, 5.0)["w"]] == [3.0, 4.0]
    assert [float(x) for x in clip_value(grads, 7.0)["w"]] == [6.0, 7.0]
    w, expected = {"w": xp.asarray([1.0, 1.0]), "b": xp.asarray([[1.0]])}, {"w": np.ones(2), "b": np.ones((1, 1))}
    for params, own in ((w, grads), (expected, {"w": np.array([6.0, 8.0]), "b": np.zeros((1, 1))})):
        Momentum(lr=0.5, clip_norm=5.0, clip_value=3.5).update(params, own)
    assert [float(x) for x in w["w"]] == expected["w"].tolist() == [-0.5, -0.75]


# --- inside a rule -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["blocked", "compiled"])
@pytest.mark.parametrize("form", ["dict", "flat", "large"])
@pytest.mark.parametrize("bounds", [{"clip_norm": 1.0}, {"clip_value": 0.3}, {"clip_norm": 2.0, "clip_value": 0.4}, {"clip_norm": 1e9, "clip_value": 1e9}], ids=str)
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimizer_steps_as_on_clipped_gradients(kind, bounds, form, engine):
    optimizer, plain = OPTIMIZERS[kind](), OPTIMIZERS[kind]()
    optimizer.engine = plain.engine = engine
    for name, bound in bounds.items():
        setattr(optimizer, name, bound)
    size = packing.SMALL + 1 if form == "large" else 4
    rng = np.random.default_rng(0)
    params = {"W": rng.normal(size=(2, 3)), "b": rng.normal(size=size)}
    expected = copy.deepcopy(params)
    given = flatten(params) if form == "flat" else params
    for _ in range(3):
        grads = {key: rng.normal(size=w.shape) for key, w in params.items()}
        before = copy.deepcopy(grads)
        optimizer.update(given, grads)
        np.testing.assert_equal(grads, before)
        cut = clip_norm(grads, bounds["clip_norm"]) if "clip_norm" in bounds else grads
        plain.update(expected, clip_value(cut, bounds["clip_value"]) if "clip_value" in bounds else cut)
    for key in params:
        if bounds["clip_value" if "clip_value" in bounds else "clip_norm"] == 1e9:
            np.testing.assert_array_equal(given[key], expected[key])
        np.testing.assert_allclose(given[key], expected[key], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_rule_is_handed_gradients_whose_norm_is_the_bound(dtype):
    for scale in (1.0, 1e4) if dtype == "f2" else (1.0, 1e30):
        grads = gradients(dtype, scale)
        params = {key: np.zeros_like(g) for key, g in grads.items()}
        SGD(lr=1.0, clip_norm=0.5).update(params, grads)
        assert length(params) == pytest.approx(0.5, rel=ROUNDING[dtype])


def test_a_bound_may_be_a_schedule():
    optimizer, w = SGD(lr=1.0, clip_norm=lambda step: 1.0 + step, clip_value=lambda step: 10.0 - 9.5 * step), {"w": np.zeros(1)}
    moves = []
    for _ in range(2):
        optimizer.update(w, {"w": np.array([-8.0])})
        moves.append(w["w"].item())
    assert moves == [1.0, 1.5]


def test_with_a_bound_on_the_norm_the_gradients_are_looked_at_in_any_case():
    for bad in (np.nan, np.inf):
        optimizer, w = SGD(check_finite=False, clip_norm=1.0), {"w": np.zeros(2)}
        with pytest.raises(ValueError, match=rf"grads\['w'\] must be finite, got {bad} at index \(1,\)"):
            optimizer.update(w, {"w": np.array([1.0, bad])})
        assert optimizer.steps == 0 and not w["w"].any()


def test_a_bound_makes_huge_gradients_harmless():
    for dtype, value in (("f4", 1e20), ("f8", 1e160), ("f8", 1.7e308)):
        optimizer, w = Adam(lr=0.1, clip_norm=1.0), {"w": np.zeros(2, dtype)}
        optimizer.update(w, {"w": np.array([value, -value], dtype)})
        np.testing.assert_allclose(w["w"], [-0.1, 0.1], rtol=1e-6)
        optimizer, w = Adam(lr=0.1, clip_value=1.0), {"w": np.zeros(2, dtype)}
        optimizer.update(w, {"w": np.array([value, -value], dtype)})
        np.testing.assert_allclose(w["w"], [-0.1, 0.1], rtol=1e-6)


def test_a_bound_that_vanishes_in_the_dtype_is_refused():
    with pytest.raises(ValueError, match="clip_value must not vanish in float32, got 1e-60"):
        SGD(clip_value=1e-60).update({"w": np.zeros(2, "f4")}, {"w": np.ones(2, "f4")})


def test_a_clipped_rule_is_a_rule_with_two_more_hyperparameters():
    rule = Adam.rule
    tape = trace(clipped(rule))
    assert tape.state == trace(rule).state and {s.name for s in tape.hyper} == {s.name for s in trace(rule).hyper} | {"clip_factor", "clip_other", "clip_limit"}
    assert clipped(rule) is clipped(rule) and clipped(rule).__name__ == "clipped_adam"


def test_clipping_copies_no_large_array(monkeypatch):
    seen = []
    step = engines.step
    monkeypatch.setattr(engines, "step", lambda rule, arrays, *rest: (seen.append([id(a) for a in arrays[:2]]), step(rule, arrays, *rest)))
    w, g = {"w": np.zeros(packing.SMALL + 1)}, {"w": np.ones(packing.SMALL + 1)}
    SGD(clip_norm=1.0, clip_value=0.1).update(w, g)
    assert seen == [[id(w["w"]), id(g["w"])]]


def test_groups_are_clipped_together_or_each_by_itself():
    grads = {"a": np.array([3.0]), "b": np.array([4.0])}
    for make, moved in ((lambda: Groups({"a": SGD(lr=1.0), "b": SGD(lr=2.0)}, clip_norm=2.5), [-1.5, -4.0]),
                        (lambda: Groups({"a": SGD(lr=1.0, clip_norm=1.0), "b": SGD(lr=2.0)}), [-1.0, -8.0]),
                        (lambda: Groups({"a": SGD(lr=1.0), "b": SGD(lr=2.0, clip_value=0.5)}), [-3.0, -1.0]),
                        (lambda: Groups({"a": SGD(lr=1.0), "b": SGD(lr=2.0)}, clip_value=3.5), [-3.0, -7.0])):
        params = {"a": np.zeros(1), "b": np.zeros(1)}
        make().update(params, grads)
        assert [params["a"].item(), params["b"].item()] == pytest.approx(moved, rel=1e-14)
