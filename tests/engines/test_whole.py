"""Rules over whole arrays run as they are written, on arrays of any library, and nothing pretends to read them otherwise."""

import array_api_strict
import numpy as np
import pytest

from reference_impl import SGD, Groups, engines, to_device, to_host
from reference_impl.engines import blocked, compiled, fused, javascript, symbolic, whole
from reference_impl.engines.tape import is_elementwise, signature, squares, trace, whole_arrays
from reference_impl.optimization import sgd


@whole_arrays
def normed(w, g, v, *, lr, rho):
    v = rho * v + g / np.linalg.norm(g)
    return w - lr * v @ np.eye(v.shape[-1], dtype=v.dtype), v


def test_a_rule_over_whole_arrays_runs_as_it_is_written():
    arrays = [np.random.default_rng(i).normal(size=(3, 4)) for i in range(3)]
    want = normed(*arrays, lr=0.1, rho=0.9)
    engines.step(normed, arrays, {"lr": 0.1, "rho": 0.9, "t": 3, "more": 1})
    np.testing.assert_array_equal(arrays[0], want[0])
    np.testing.assert_array_equal(arrays[2], want[1])
    assert not is_elementwise(normed) and is_elementwise(sgd.sgd) and signature(normed) == (("v",), ("lr", "rho"))


@pytest.mark.parametrize("ask", [trace, blocked.source, compiled.source, fused.source, whole.source, javascript.source, symbolic.latex,
                                 symbolic.expressions, squares])
def test_no_reading_pretends_to_fit_a_rule_over_whole_arrays(ask):
    with pytest.raises(TypeError, match=r"rule normed must be elementwise.*runs as written"):
        ask(normed)


def test_a_rule_over_whole_arrays_computes_float16_in_float32():
    rule = whole_arrays(lambda w, g, v, *, lr: (w - lr * g / np.linalg.norm(g), v + g @ g))
    arrays = [np.ones(4, "f2"), np.full(4, 300, "f2"), np.zeros(4, "f4")]
    engines.step(rule, arrays, {"lr": 1.0})
    assert [a.dtype.name for a in arrays] == ["float16", "float16", "float32"]
    assert arrays[0].tolist() == [0.5] * 4 and arrays[2].tolist() == [360_000] * 4


@pytest.mark.parametrize(("rule", "error", "says"), [
    (lambda w, g, v, *, lr: (w - np.linalg.norm(g), v[:1]), ValueError, r"the new v with shape \(3,\).*got \(1,\)"),
    (lambda w, g, v, *, lr: (w.astype("f4"), v), ValueError, "the new w with shape .* and dtype float64, got .* float32"),
    (lambda w, g, v, *, lr: (w, 0.0), TypeError, "the new v as ndarray, got float"),
    (lambda w, g, v, *, lr: w, TypeError, "must return the new w and its 1 state arrays, got 1 values"),
    (lambda w, g, v, *, lr: (w, v.__imul__(2)), ValueError, "read-only"),
    (lambda w, g, v, *, lr: (w, g.__imul__(2)), ValueError, "read-only"),
])
def test_what_a_rule_over_whole_arrays_must_not_do_is_refused_before_anything_is_written(rule, error, says):
    arrays = [np.ones(3), np.full(3, 2.0), np.full(3, 5.0)]
    with pytest.raises(error, match=says):
        engines.step(whole_arrays(rule), arrays, {"lr": 1.0})
    assert [a.tolist() for a in arrays] == [[1.0] * 3, [2.0] * 3, [5.0] * 3]


def test_a_rule_over_whole_arrays_may_return_what_it_was_given():
    arrays = [np.ones(3), np.full(3, 2.0), np.full(3, 5.0)]
    engines.step(whole_arrays(lambda w, g, v, *, lr: (v, w[::-1])), arrays, {"lr": 1.0})
    assert [a[0] for a in arrays] == [5.0, 2.0, 1.0]


def test_a_rule_over_whole_arrays_runs_on_arrays_of_any_library(cupy):
    rule = whole_arrays(lambda w, g, v, *, lr: (w - lr * (w.T @ g), v + g))
    start = [np.arange(4.0).reshape(2, 2) + i for i in range(3)]
    for arrays in (to_device(start), [array_api_strict.asarray(a, copy=True) for a in start]):
        engines.step(rule, arrays, {"lr": 0.5})
        got = [np.asarray(to_host(a)) for a in arrays]
        np.testing.assert_allclose(got[0], start[0] - 0.5 * start[0].T @ start[1], rtol=1e-14)
        np.testing.assert_array_equal(got[1:], [start[1], start[2] + start[1]])


def test_a_parameter_of_no_axes_is_stepped_on_and_a_number_for_an_array_is_refused():
    arrays = [np.array(3.0), np.array(1.0)]
    engines.step(whole_arrays(lambda w, g, *, lr: w - lr * g), arrays, {"lr": 0.5})
    assert arrays[0] == 2.5 and isinstance(w := arrays[0], np.ndarray) and w.ndim == 0
    with pytest.raises(ValueError, match=r"the new w with shape \(3,\) .* got \(\)"):
        engines.step(whole_arrays(lambda w, g, *, lr: np.linalg.norm(g)), [np.ones(3), np.ones(3)], {"lr": 0.5})


@pytest.mark.parametrize("change", [lambda w, g, v, *, lr: (w, v.__imul__(2)), lambda w, g, v, *, lr: (w, v.__setitem__(0, 1.0))])
def test_what_changes_in_place_is_told_what_to_do(change):
    with pytest.raises(ValueError, match=r"rule <lambda> must change nothing in place, got .*read-only.*: write v = rho \* v for v \*= rho"):
        engines.step(whole_arrays(change), [np.ones(3), np.ones(3), np.ones(3)], {"lr": 0.5})
    with pytest.raises(ValueError, match=r"^no such matrix$"):
        engines.step(whole_arrays(failing), [np.ones(3), np.ones(3)], {"lr": 0.5})


def failing(w, g, *, lr):
    raise ValueError("no such matrix")


class Kept:
    def method(self, w, g, *, lr):
        return w - lr * g


@pytest.mark.parametrize("wrong", [Kept().method, len, staticmethod(failing), Kept(), np.add], ids=lambda wrong: type(wrong).__name__)
def test_what_is_no_plain_function_is_no_rule_over_whole_arrays(wrong):
    with pytest.raises(TypeError, match=r"rule must be a function of .*, no method and no object, got"):
        whole_arrays(wrong)


def test_a_hyperparameter_that_there_is_not_is_named():
    arrays = [np.ones(3), np.ones(3), np.ones(3)]
    with pytest.raises(TypeError, match=r"hyper must hold a value for each of \['lr', 'rho'\], got \{'lr': 0.1\}"):
        engines.step(normed, arrays, {"lr": 0.1})


@pytest.mark.parametrize("rule", [normed, lambda w, g, v, *, lr, rho: (w - lr * v, rho * v + g)])
def test_a_hyperparameter_that_the_optimizer_has_not_is_named(rule):
    class Own(SGD):
        def _rule(self):
            return rule

    params = {"w": np.ones(3)}
    with pytest.raises(TypeError, match=f"rule {rule.__name__} must take hyperparameters that are fields of Own, got 'rho'"):
        Own(lr=0.1).update(params, {"w": np.ones(3)})
    assert params["w"].tolist() == [1.0] * 3


@pytest.mark.parametrize("grouped", [False, True])
def test_no_step_is_left_half_done_by_the_arithmetic_of_hyperparameters(grouped):
    class Ending(SGD):
        def _rule(self):
            return ending

    def ending(w, g, *, lr, t):
        return w - lr * (1 / (t - 3)) * g

    optimizer = Groups({"old": Ending(lr=0.1), "new": Ending(lr=0.1)}) if grouped else Ending(lr=0.1)
    params = {"new": np.ones(3)}
    for _ in range(2):
        optimizer.update(params, {"new": np.ones(3)})
    params = {"old": np.ones(3), "new": params["new"]}
    before, steps = {key: w.copy() for key, w in params.items()}, optimizer.steps
    with pytest.raises(ValueError, match=r"what rule ending makes of its hyperparameters must be real numbers, got .*division.* at lr = 0.1, t = 3"):
        optimizer.update(params, {"old": np.ones(3), "new": np.ones(3)})
    assert all((params[key] == before[key]).all() for key in params) and optimizer.steps == steps
