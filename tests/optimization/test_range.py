"""Gradients whose squares leave the dtype: the right step, or a refusal that names them; never silence."""

import math
import re

import numpy as np
import pytest
from rules import OPTIMIZERS

from reference_impl import AdaGrad, Adam, RMSProp, flatten
from reference_impl.engines.tape import squares, trace
from reference_impl.optimization import packing

SQUARING = [kind for kind, make in OPTIMIZERS.items() if squares(make()._rule())]
WITH_EPS = [kind for kind in SQUARING if "eps inside" not in kind]
BEYOND = {"f4": [1.9e19, 1e20, 3e38], "f8": [1.4e154, 1e160, 1.7e308]}
ORDINARY = {"f4": [1e15, 1e-15], "f8": [1e145, 1e-140]}


def wide_step(optimizer, w, g):
    """The plain rule's first step in long doubles, whose range no square here leaves."""
    rule, wide = optimizer._rule(), np.longdouble
    state = [np.full(w.shape, optimizer._initial(name), wide) for name in trace(rule).state]
    result = rule(w.astype(wide), g.astype(wide), *state, **optimizer.hyperparameters(), t=1) if "t" in {s.name for s in trace(rule).hyper} else \
        rule(w.astype(wide), g.astype(wide), *state, **{k: v for k, v in optimizer.hyperparameters().items() if k != "initial_accumulator"})
    return result[0] if isinstance(result, tuple) else result


def test_the_rules_that_square_are_known():
    assert {"SGD", "Momentum", "Nesterov"}.isdisjoint(kind.split(",")[0] for kind in SQUARING)
    assert {"AdaGrad", "RMSProp", "Adam", "AdamW", "AMSGrad"} <= {kind.split(",")[0] for kind in SQUARING}


@pytest.mark.parametrize("engine", ["blocked", "compiled"])
@pytest.mark.parametrize("form", ["alone", "joined", "flat", "large"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kind", SQUARING)
def test_a_square_that_overflows_is_refused(kind, dtype, form, engine):
    for value in BEYOND[dtype]:
        for sign in (1, -1):
            optimizer = OPTIMIZERS[kind]()
            optimizer.engine = engine
            size = packing.SMALL + 3 if form == "large" else 5
            params, grads = ({key: np.ones(size, dtype) for key in ("a", "b")[form == "alone":]} for _ in range(2))
            grads["b"][-2] = sign * value
            if form == "flat":
                params, grads = flatten(params), flatten(grads)
            rule = optimizer._rule().__name__
            says = f"grads['b'] must leave the state of {rule} within {np.dtype(dtype)}, got {grads['b'][-2]} at index ({size - 2},)"
            with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
                optimizer.update(params, grads)
            assert optimizer.steps == 0 and not optimizer.state and all((w == 1).all() for w in params.values())


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_within_the_range_the_step_is_the_rules(kind, dtype):
    for value in ORDINARY[dtype] + ([] if kind in SQUARING else BEYOND[dtype][:2]):
        optimizer = OPTIMIZERS[kind]()
        w, g = np.ones(3, dtype), np.array([value, -value, 1.0], dtype)
        with np.errstate(over="ignore"):
            expected = wide_step(optimizer, w, g)
        optimizer.update({"w": w}, {"w": g})
        np.testing.assert_allclose(w, expected.astype(dtype), rtol=1e-5 if dtype == "f4" else 1e-12)


@pytest.mark.parametrize("kind", SQUARING)
@pytest.mark.parametrize("value", [300.0, 6e4, 2e-4, 6e-8])
def test_in_half_precision_every_square_fits(kind, value):
    optimizer = OPTIMIZERS[kind]()
    w, g = np.ones(2, "f2"), np.array([value, -value], "f2")
    expected = wide_step(optimizer, w, g)
    optimizer.update({"w": w}, {"w": g})
    np.testing.assert_allclose(w, expected.astype("f2"), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_sum_that_would_overflow_by_and_by_is_refused_in_the_step_in_which_it_would(dtype):
    optimizer, w = AdaGrad(lr=1.0), np.ones(1, dtype)
    g = np.array([np.sqrt(np.finfo(dtype).max / 4.5)], dtype)
    for _ in range(4):
        optimizer.update({"w": w}, {"w": g})
    before = w.copy()
    with pytest.raises(ValueError, match=r"grads\['w'\] must leave the state of adagrad within"):
        optimizer.update({"w": w}, {"w": g})
    assert w == before and optimizer.steps == 4
    optimizer.update({"w": w}, {"w": np.ones(1, dtype)})  # what is small beside the sum is taken
    assert np.isfinite(optimizer.state["s"]["w"])


def test_state_that_is_infinite_already_is_not_blamed_on_a_gradient():
    optimizer, w = AdaGrad(), {"w": np.ones(2)}
    optimizer.update(w, {"w": np.ones(2)})
    optimizer.state["s"]["w"][0] = np.inf
    optimizer.update(w, {"w": np.array([1e150, 1e150])})
    assert optimizer.steps == 2


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kind", WITH_EPS)
def test_a_square_that_vanishes_is_refused_where_no_eps_hides_it(kind, dtype):
    value = {"f4": 1e-25, "f8": 1e-170}[dtype]
    for eps in (0.0, {"f4": 1e-30, "f8": 1e-200}[dtype]):
        for bad in (value, -value) + ((0.0,) if eps == 0 else ()):
            optimizer = OPTIMIZERS[kind]()
            optimizer.eps = eps
            params = {"a": np.ones(2, dtype), "w": np.ones((2, 2), dtype)}
            grads = {"a": np.ones(2, dtype), "w": np.array([[1.0, 2.0], [bad, 3.0]], dtype)}
            says = f"grads['w'] must have a square that does not vanish in {np.dtype(dtype)} where eps is {eps:g}, got {grads['w'][1, 0]} at index (1, 0)"
            with pytest.raises(ValueError, match=f"^{re.escape(says)}$"):
                optimizer.update(params, grads)
            assert optimizer.steps == 0 and not optimizer.state and all((w == 1).all() for w in params.values())


@pytest.mark.parametrize("make", [Adam, RMSProp, AdaGrad])
def test_a_small_gradient_after_large_ones_is_taken_without_eps(make):
    optimizer = make(lr=0.1, eps=0.0)
    w = {"w": np.ones(3, "f4")}
    for g in ([1, 1, 1], [1e-30, -1e-30, 0], [0, 1e-30, 1]):
        optimizer.update(w, {"w": np.array(g, "f4")})
    assert np.isfinite(w["w"]).all()


def test_an_average_that_passes_through_0_is_not_taken_for_a_lost_square():
    optimizer, w = Adam(beta1=0.5, eps=0.0), {"w": np.zeros(2, "f4")}
    optimizer.update(w, {"w": np.array([-2e-16, 1], "f4")})
    optimizer.update(w, {"w": np.array([1e-16, 1], "f4")})
    assert optimizer.state["m"]["w"][0] == 0 and optimizer.steps == 2


@pytest.mark.parametrize(("nearer", "refused"), [(2**-12, True), (2**-8, False)])
def test_what_comes_near_the_end_of_the_range_is_refused_too(nearer, refused):
    """What is made of such an average, a corrected one say, would be infinite."""
    optimizer, w = Adam(), {"w": np.ones(1, "f4")}
    g = np.array([math.sqrt(float(np.finfo("f4").max)) * (1 - nearer)], "f4")
    if not refused:
        optimizer.update(w, {"w": g})
        return
    with pytest.raises(ValueError, match="must leave the state of adam within float32"):
        optimizer.update(w, {"w": g})


def test_a_weight_that_was_no_number_is_not_blamed_on_its_gradient():
    optimizer, w = Adam(eps=1e-30), {"w": np.ones(2, "f4")}
    optimizer.update(w, {"w": np.ones(2, "f4")})
    w["w"][0] = np.nan
    optimizer.update(w, {"w": np.array([0, 1], "f4")})
    assert optimizer.steps == 2 and np.isnan(w["w"]).tolist() == [True, False]


def test_an_eps_of_the_usual_size_hides_what_vanishes():
    w = {"w": np.zeros(2, "f4")}
    Adam(lr=1.0).update(w, {"w": np.array([1e-25, 1.0], "f4")})
    np.testing.assert_allclose(w["w"], [-1e-17, -1], rtol=1e-4)


def test_who_does_not_look_does_not_see():
    w = {"w": np.ones(1, "f4")}
    optimizer = Adam(check_finite=False)
    optimizer.update(w, {"w": np.array([1e20], "f4")})
    assert w["w"] == 1 and np.isinf(optimizer.state["v"]["w"])


def test_other_libraries_arrays_are_looked_at_too():
    xp = pytest.importorskip("array_api_strict")
    w = xp.asarray([1.0, 1.0], dtype=xp.float32)
    for g, eps, says in (([1.0, 1e20], 1e-8, "must leave the state of adam within float32"), ([1e-25, 1.0], 0.0, "must have a square that does not vanish")):
        with pytest.raises(ValueError, match=says):
            Adam(eps=eps).update({"w": w}, {"w": xp.asarray(g, dtype=xp.float32)})
    Adam().update({"w": w}, {"w": xp.asarray([1e10, -1.0], dtype=xp.float32)})
    assert float(w[0]) == pytest.approx(0.999) and float(w[1]) == pytest.approx(1.001)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_next_to_the_largest_square_a_step_is_right_or_refused(dtype):
    g, taken = np.sqrt(np.finfo(dtype).max), 0
    for _ in range(100):
        w, optimizer = {"w": np.ones(1, dtype)}, Adam(lr=0.1)
        try:
            for _ in range(5):
                optimizer.update(w, {"w": np.array([g], dtype)})
        except ValueError as error:
            assert "must leave the state of adam within" in str(error) and (w["w"] == 1).all()
        else:
            assert w["w"] == pytest.approx(0.5, abs=1e-3)
            taken += 1
        g = g * np.array(1 - 1e-4, dtype)
    assert 0 < taken < 100
