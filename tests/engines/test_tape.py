"""What a tape takes and what it refuses, by name: nothing is read otherwise than the rule says."""

import math
import random
from decimal import Decimal
from fractions import Fraction
from functools import partial

import array_api_strict
import numpy as np
import pytest
from readings import READINGS, plainly

from reference_impl import engines, to_device, to_host
from reference_impl.engines import blocked, compiled, fused, javascript, symbolic, whole
from reference_impl.engines.tape import is_elementwise, signature, squares, trace, whole_arrays
from reference_impl.optimization import adagrad, adam, momentum, nesterov, rmsprop, sgd

SIZE = 200_001  # more than one block
ARRAY, LIST, TABLE = np.array([2.0]), [0.5], {"c": 0.5}
ZERO_D = np.array(0.5)
RATE = 0.5
THREE = 3


class Settings:
    rate = 0.5
    count = 0


SETTINGS = Settings()


def in_place(w, g, v, *, lr):
    v *= 0.5
    return w - lr * v, v


def in_place_on_a_number(w, g, *, lr):
    lr *= 0.5
    return w - lr * g


def out_by_place(w, g, *, lr):
    np.multiply(lr, g, g)
    return w - g


def loop(w, g, *, lr):
    for element in g:
        w = w - element
    return w


def counting(w, g, *, lr):
    Settings.count += 1
    return w - Settings.count * g


kept = []


def keeping(w, g, *, lr):
    kept.append(g)
    return w - kept[0]


REFUSED = {
    "@": (lambda w, g, *, lr: w - lr * (g @ g) * g, "np.matmul.*@whole_arrays"),
    "@ from the right": (lambda w, g, *, lr: w - ARRAY @ g, "'ARRAY' of type ndarray"),
    "dot": (lambda w, g, *, lr: w - lr * np.dot(g, g) * g, r"np.dot: it is no ufunc.*@whole_arrays"),
    "vdot": (lambda w, g, *, lr: w - lr * np.vdot(g, g) * g, "np.vdot"),
    "norm": (lambda w, g, *, lr: w - lr * g / np.linalg.norm(g), "np.linalg.norm"),
    "vecdot": (lambda w, g, *, lr: w - np.vecdot(g, g), "np.vecdot"),
    "mean": (lambda w, g, *, lr: w - lr * np.mean(g), "np.mean"),
    "sum": (lambda w, g, *, lr: w - lr * np.sum(g), "np.sum"),
    "flip": (lambda w, g, *, lr: w - lr * np.flip(g), "np.flip"),
    "transpose": (lambda w, g, *, lr: w - lr * np.transpose(g), "np.transpose"),
    "roll": (lambda w, g, *, lr: w - lr * np.roll(g, 1), "np.roll"),
    "sort": (lambda w, g, *, lr: w - lr * np.sort(g), "np.sort"),
    "cumsum": (lambda w, g, *, lr: w - lr * np.cumsum(g), "np.cumsum"),
    "einsum": (lambda w, g, *, lr: w - np.einsum("i,i", g, g), "np.einsum"),
    "where": (lambda w, g, *, lr: np.where(g, w, g), "np.where.*without a branch"),
    "clip": (lambda w, g, *, lr: w - np.clip(g, -1, 1), r"np.clip.*np.minimum\(np.maximum"),
    "zeros_like": (lambda w, g, *, lr: w - np.zeros_like(g), "np.zeros_like"),
    "concatenate": (lambda w, g, *, lr: w - np.concatenate([g, g]), "np.concatenate"),
    ".T": (lambda w, g, *, lr: w - lr * g.T, r"the attribute .T"),
    ".sum": (lambda w, g, *, lr: w - lr * g.sum(), r"the attribute .sum"),
    ".mean": (lambda w, g, *, lr: w - lr * g.mean(), r"the attribute .mean"),
    ".shape": (lambda w, g, *, lr: w - lr * g.shape[0], r"the attribute .shape"),
    ".size": (lambda w, g, *, lr: w - g / g.size, r"the attribute .size"),
    ".ndim": (lambda w, g, *, lr: w - g * g.ndim, r"the attribute .ndim"),
    ".dtype": (lambda w, g, *, lr: w - lr * g * g.dtype.itemsize, r"the attribute .dtype"),
    ".real": (lambda w, g, *, lr: w - lr * g.real, r"the attribute .real"),
    "an attribute of a number": (lambda w, g, *, lr: w - lr.real * g, r"the attribute .real"),
    "index": (lambda w, g, *, lr: w - g[0], "its elements"),
    "slice": (lambda w, g, *, lr: w - g[::-1], "its elements"),
    "iteration": (loop, "its elements"),
    "len": (lambda w, g, *, lr: w - g / len(g), "its elements"),
    "asarray": (lambda w, g, *, lr: w - np.asarray(g), "its elements"),
    "array": (lambda w, g, *, lr: w - np.array([g, g]).sum(0), "its elements"),
    "reversed": (lambda w, g, *, lr: w - next(reversed(g)), "its elements"),
    "float": (lambda w, g, *, lr: w - float(g), "float"),
    "int": (lambda w, g, *, lr: w - int(g), "float"),
    "round": (lambda w, g, *, lr: w - round(g), "float"),
    "math.sqrt": (lambda w, g, *, lr: w - math.sqrt(g), "float.*np.sqrt"),
    "math.floor": (lambda w, g, *, lr: w - math.floor(g), "float"),
    "math of a number": (lambda w, g, *, lr: w - math.sqrt(lr) * g, "float.*np.sqrt"),
    "branch": (lambda w, g, *, lr: w if g else g, "a branch"),
    "comparison": (lambda w, g, *, lr: w - (g > 0) * g, "np.greater.*without a branch"),
    "equality": (lambda w, g, *, lr: w - (g == 0) * w, "np.equal"),
    "inequality": (lambda w, g, *, lr: w - (g != 0) * w, "np.not_equal"),
    "comparison of numbers": (lambda w, g, *, lr, t: w - g if t > 1 else w, "np.greater"),
    "max of Python": (lambda w, g, *, lr: max(w, g), "np.greater"),
    "in": (lambda w, g, *, lr: w if 0 in g else g, "a branch"),
    "isnan": (lambda w, g, *, lr: w - np.isnan(g) * g, "np.isnan"),
    "remainder": (lambda w, g, *, lr: w - g % 2, "np.remainder.*TABLE"),
    "floor division": (lambda w, g, *, lr: w - g // 2, "np.floor_divide"),
    "a ufunc without a row": (lambda w, g, *, lr: np.logaddexp(w, g), "np.logaddexp.*TABLE"),
    "and": (lambda w, g, *, lr: w & g, "np.bitwise_and"),
    "invert": (lambda w, g, *, lr: ~w, "np.invert"),
    "reduce": (lambda w, g, *, lr: w - np.add.reduce(g), "np.add.reduce"),
    "accumulate": (lambda w, g, *, lr: w - np.add.accumulate(g), "np.add.accumulate"),
    "outer": (lambda w, g, *, lr: w - np.multiply.outer(g, g), "np.multiply.outer"),
    "two results": (lambda w, g, *, lr: np.divmod(w, g)[0], "np.divmod"),
    "frexp": (lambda w, g, *, lr: np.frexp(w)[0], "np.frexp"),
    "dtype=": (lambda w, g, *, lr: np.subtract(w, g, dtype="f4"), "np.subtract with dtype="),
    "where=": (lambda w, g, *, lr: np.subtract(w, g, where=True), "np.subtract with where="),
    "out=": (lambda w, g, *, lr: np.subtract(w, g, out=w), "np.subtract with out="),
    "out by its place": (out_by_place, "np.multiply with out="),
    "in place": (in_place, "np.multiply with out=.*write v = rho"),
    "in place on a number": (in_place_on_a_number, "np.multiply with out="),
    "bool": (lambda w, g, *, lr: w - True * g, "bool True"),
    "np.bool": (lambda w, g, *, lr: w - np.True_ * g, "bool"),
    "complex": (lambda w, g, *, lr: w - 1j * g, "complex 1j"),
    "fraction": (lambda w, g, *, lr: w - Fraction(1, 2) * g, r"Fraction Fraction\(1, 2\)"),
    "decimal": (lambda w, g, *, lr: w - g * Decimal("0.5"), "Decimal"),
    "string": (lambda w, g, *, lr: w + "1", "type str"),
    "None": (lambda w, g, *, lr: w + None, "type NoneType"),
    "list": (lambda w, g, *, lr: w + [1.0], "type list"),  # noqa: RUF005
    "np.float32": (lambda w, g, *, lr: w - np.float32(0.1) * g, "float32"),
    "np.longdouble": (lambda w, g, *, lr: w - np.longdouble(0.1) * g, "longdouble"),
    "an array": (lambda w, g, *, lr: w - np.array([0.1]) * g, "type ndarray"),
    "an array of no axes": (lambda w, g, *, lr: w - np.array(0.1) * g, "type ndarray"),
    "a number without end": (lambda w, g, *, lr: w - 10**400 * g, "a whole number of 401 digits"),
    "a global array": (lambda w, g, *, lr: w - ARRAY * g, "'ARRAY' of type ndarray"),
    "a global array of no axes": (lambda w, g, *, lr: w - ZERO_D * g, "'ZERO_D' of type ndarray"),
    "a global list": (lambda w, g, *, lr: w - LIST[0] * g, "'LIST' of type list"),
    "a global dict": (lambda w, g, *, lr: w - TABLE["c"] * g, "'TABLE' of type dict"),
    "a global object": (lambda w, g, *, lr: w - SETTINGS.rate * g, "'SETTINGS.rate' of type Settings"),
    "random numbers": (lambda w, g, *, lr: w - random.random() * g, "must do the same whenever it is called"),
    "a count": (counting, "must do the same whenever it is called"),
    "an earlier call": (keeping, "'kept.append' of type list"),
    "no g": (lambda w, *, lr: w, "must take"),
    "varargs": (lambda w, g, *rest: w, "must take"),
    "state that is not returned": (lambda w, g, v, *, lr: w, "must return the new w and its 1 state arrays, got 1 values"),
    "too much": (lambda w, g, *, lr: (w, g), "must return the new w and its 0 state arrays, got 2 values"),
    "nothing": (lambda w, g, *, lr: None, "type NoneType"),
    "a list of results": (lambda w, g, *, lr: [w], "type list"),
}


@pytest.mark.parametrize(("rule", "says"), REFUSED.values(), ids=list(REFUSED))
def test_what_no_reading_could_replay_is_refused_by_name(rule, says):
    kept.clear()
    for ask in (trace, blocked.source, compiled.source, fused.source, whole.source, javascript.source, symbolic.latex, symbolic.expressions):
        with pytest.raises(TypeError, match=says):
            ask(rule)
    arrays = [np.ones(3), np.full(3, 2.0), *(np.full(3, 5.0) for _ in signature(rule).state)] if "must take" not in says else []
    if arrays:
        with pytest.raises(TypeError, match=f"rule {rule.__name__}"):
            engines.step(rule, arrays, {"lr": 0.1, "t": 1})
        assert [a[0] for a in arrays] == [1.0, 2.0, *[5.0] * (len(arrays) - 2)]


@pytest.mark.parametrize("wrong", [None, 3, "adam", type("Rule", (), {})], ids=str)
def test_what_is_no_function_is_no_rule(wrong):
    for ask in (signature, trace):
        with pytest.raises(TypeError, match="rule must be a function"):
            ask(wrong)


NUMBERS = {
    "whole": 3, "negative whole": -2, "fraction": 0.3, "negative": -0.7, "minus one": -1.0, "huge": 1e300, "tiny": 1e-300, "-0": -0.0,
    "many digits": 0.1 + 0.2, "beyond int64": 2**70, "exponent": -1e-8, "np.float64": np.float64(0.3), "negative np.float64": np.float64(-0.3),
    "np.int64": np.int64(-3), "infinity": np.inf, "minus infinity": -math.inf, "NaN": math.nan, "pi": np.pi,
}
PLACES = {
    "factor": lambda c: lambda w, g, s, *, lr, t: (w - lr * (c * g), s + g * c),
    "summand": lambda c: lambda w, g, s, *, lr, t: (c - lr * g, s - c),
    "divided": lambda c: lambda w, g, s, *, lr, t: (w - lr / (c * lr), c / (g + 10)),
    "base of the count": lambda c: lambda w, g, s, *, lr, t: (w - lr * c**t * g, s + c**t),
    "exponent": lambda c: lambda w, g, s, *, lr, t: (w - lr * abs(g) ** c, s + lr**c),
    "base": lambda c: lambda w, g, s, *, lr, t: (w - lr * abs(c) ** g, s + 2**-t),
    "sign": lambda c: lambda w, g, s, *, lr, t: (w - lr * -(c**2) * -g, s - -c),
    "alone": lambda c: lambda w, g, s, *, lr, t: (w - lr * g, c),
    "in a function": lambda c: lambda w, g, s, *, lr, t: (np.maximum(w, c), np.minimum(c, np.maximum(lr, c))),
    "twice": lambda c: lambda w, g, s, *, lr, t: (0.0 * w + -0.0, s + c - -c * (c + lr)),
}


@pytest.mark.parametrize("reading", [r for r in READINGS if r not in ("fused", "symbolic")])
@pytest.mark.parametrize("number", NUMBERS.values(), ids=list(NUMBERS))
def test_a_number_in_any_place_is_that_number(number, reading):
    with np.errstate(all="ignore"):
        check_numbers(number, reading, 25)


@pytest.mark.parametrize("reading", READINGS)
def test_numbers_are_right_on_large_arrays(reading):
    size = {"javascript": 20_001, "symbolic": 201}.get(reading, SIZE)
    for number in (-1.0, 0.3):
        check_numbers(number, reading, size)


def check_numbers(number, reading, size):
    arrays = [np.random.default_rng(i).normal(size=size) for i in range(3)]
    for place, make in PLACES.items():
        rule, values = make(number), {"lr": 0.5, "t": 3.0}
        try:
            want = plainly(rule, arrays, values)
        except (ZeroDivisionError, OverflowError):
            continue
        for a, b in zip(READINGS[reading](rule, arrays, values), want, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-14, err_msg=place)


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


def halved(x):
    return RATE * x


def test_what_a_rule_reads_is_read_again_when_it_is_bound_anew(monkeypatch):
    scale = 2.0

    def enclosed(w, g, *, lr):
        return w - scale * g

    rules = [lambda w, g, *, lr: w - RATE * g, lambda w, g, *, lr: w - halved(g), lambda w, g, *, lr: w - Settings.rate * g, enclosed,
             partial(lambda w, g, *, lr: w - halved(g)), lambda w, g, *, lr: (lambda x: w - RATE * x)(g)]
    for number in (0.5, 3.0):
        monkeypatch.setitem(globals(), "RATE", number)
        monkeypatch.setattr(Settings, "rate", number)
        scale = number
        for rule in rules:
            for reading in ("blocked", "compiled", "whole"):
                assert READINGS[reading](rule, [np.ones(3), np.ones(3)], {"lr": 1.0})[0].tolist() == [1 - number] * 3
            assert READINGS["javascript"](rule, [np.ones(3), np.ones(3)], {"lr": 1.0})[0].tolist() == [1 - number] * 3
    monkeypatch.setitem(globals(), "halved", lambda x: 7 * x)
    assert READINGS["blocked"](rules[1], [np.ones(3), np.ones(3)], {"lr": 1.0})[0].tolist() == [-6] * 3


def test_a_rule_that_reads_nothing_that_changes_is_traced_once():
    assert trace(adam.adamw) is trace(adam.adamw)


def test_power_takes_the_short_cuts_that_numpy_takes():
    def rule(w, g, a, b, *, lr):
        return g**2, g**0.5, g**-1.0

    tape = trace(rule)
    assert [node.ufunc for node in tape.nodes] == [np.square, np.sqrt, np.reciprocal]
    assert [node.ufunc for node in trace(lambda w, g, *, lr: w - lr**2 * g**3).nodes][:2] == [np.power, np.power]


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


@pytest.mark.parametrize("wrong", [None, "w", 1.5, {}, np.ones(3), (x for x in ())], ids=str)
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
