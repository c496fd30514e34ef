"""What a tape holds, and what is no rule."""

import numpy as np
import pytest
from readings import READINGS, plainly

from reference_impl import engines
from reference_impl.engines import blocked, compiled, fused, javascript, symbolic, whole
from reference_impl.engines.tape import is_elementwise, signature, squares, trace, whole_arrays
from reference_impl.optimization import adagrad, adam, momentum, nesterov, rmsprop, sgd

SIZE = 200_001  # more than one block


@pytest.mark.parametrize("wrong", [None, 3, "adam", type("Rule", (), {})], ids=str)
def test_what_is_no_function_is_no_rule(wrong):
    for ask in (signature, trace):
        with pytest.raises(TypeError, match="rule must be a function"):
            ask(wrong)


EXACT = {
    "sum": lambda w, g, v, *, lr, rho: (w - lr * (rho * v + g), rho * v + g),
    "old arrays": lambda w, g, v, *, lr, rho: (v, w),
    "dead code": lambda w, g, v, *, lr, rho: (w * 2, w / 3, (w - lr * g, v + g))[2],
    "one node twice": lambda w, g, v, *, lr, rho: (w - g,) * 2,
    "a number as state": lambda w, g, v, *, lr, rho: (w - lr * g, rho),
    "nothing new": lambda w, g, v, *, lr, rho: (w, v),
    "the gradient": lambda w, g, v, *, lr, rho: (g, g),
    "late": lambda w, g, v, *, lr, rho: (w - lr * g, w + v),
}


@pytest.mark.parametrize("reading", ["blocked", "compiled", "fused", "whole"])
@pytest.mark.parametrize("rule", EXACT.values(), ids=list(EXACT))
def test_a_reading_is_the_plain_rule_to_the_last_bit(rule, reading):
    for dtype in ("f4", "f8"):
        arrays = [np.random.default_rng(i).normal(size=SIZE).astype(dtype) for i in range(3)]
        values = {"lr": 0.1, "rho": 0.9}
        for got, want in zip(READINGS[reading](rule, arrays, values), plainly(rule, arrays, values), strict=True):
            np.testing.assert_array_equal(got, want, strict=True)


@pytest.mark.parametrize(("rule", "does"), [
    (sgd.sgd, False), (momentum.momentum, False), (nesterov.nesterov_lr_inside, False), (adagrad.adagrad, True), (rmsprop.rmsprop, True),
    (adam.adam, True), (adam.yogi, True), (adam.amsgrad, True),
    (lambda w, g, *, lr: w - g * g, True), (lambda w, g, *, lr: w - g**3, True), (lambda w, g, *, lr: w - abs(g) * g, True),
    (lambda w, g, *, lr: w - np.sqrt(g) * np.sqrt(g), False), (lambda w, g, *, lr: w - (lr * g) ** 2, True),
    (lambda w, g, *, lr: w - g**lr, True), (lambda w, g, m, *, lr: (w, (g - m) ** 2), False), (lambda w, g, *, lr: w - g / g**2, True),
    (lambda w, g, *, lr: w - g * g / g, True), (lambda w, g, *, lr: w - (1 / g) * g, False), (lambda w, g, *, lr: w**2, False),
    (lambda w, g, *, lr: w - g**1.5, False), (lambda w, g, *, lr: w - np.maximum(g, lr) * -g, True), (lambda w, g, *, lr: w - 1 / g**-2, True),
    (lambda w, g, *, lr: w - lr**2 * g, False),
])
def test_a_tape_tells_whether_it_squares_the_gradient(rule, does):
    assert squares(rule) is does


@pytest.mark.parametrize("wrong", [None, "w", 1.5, {}, np.ones(3), (x for x in ())], ids=lambda wrong: type(wrong).__name__)
def test_what_is_no_list_of_arrays_is_refused_by_name(wrong):
    with pytest.raises(TypeError, match="arrays must be a list of arrays, got"):
        engines.step(sgd.sgd, wrong, {"lr": 0.1})
    with pytest.raises(TypeError, match="arrays must be a list of arrays, got"):
        engines.finite(wrong)


@pytest.mark.parametrize("wrong", [None, [], {}, 3, "adam", float], ids=str)
def test_what_cannot_be_a_rule_is_refused_by_name(wrong):
    for ask in (trace, signature, squares, whole_arrays, is_elementwise, blocked.source, compiled.source, fused.source, whole.source,
                javascript.source, symbolic.latex, symbolic.expressions):
        with pytest.raises(TypeError, match="rule must be a function of"):
            ask(wrong)


@pytest.mark.parametrize("wrong", ["fast", 3, [], True])
def test_an_engine_that_is_none_is_refused_by_name(wrong):
    for ask in (lambda: engines.step(sgd.sgd, [np.ones(2)] * 2, {"lr": 0.1}, wrong), lambda: engines.finite([np.ones(2)], wrong)):
        with pytest.raises(ValueError, match="engine must be 'blocked', 'compiled' or None, got"):
            ask()
