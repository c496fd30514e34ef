"""What the values that a rule is traced on refuse, by name, and what they take: numbers of every kind in every place."""

import itertools
import math
import random
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from readings import READINGS, plainly

from reference_impl import engines
from reference_impl.engines import blocked, compiled, fused, javascript, symbolic, whole
from reference_impl.engines.tape import signature, trace
from reference_impl.engines.traced import Recorder, Traced

SIZE = 200_001  # more than one block
ARRAY, LIST, TABLE = np.array([2.0]), [0.5], {"c": 0.5}
ZERO_D = np.array(0.5)
TURNS = itertools.count()


class Settings:
    rate = 0.5
    count = 0

    def rule(self, w, g, *, lr):
        return w - self.rate * g

    @classmethod
    def made(cls, w, g, *, lr):
        return w - cls.rate * g

    def __call__(self, w, g, *, lr):
        return w - self.rate * g


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


def going_on(w, g, *, lr):
    try:
        return w - lr * g.mean()
    except TypeError:
        return w


kept = []


def keeping(w, g, *, lr):
    kept.append(g)
    return w - kept[0]


def matching(w, g, *, lr):
    match lr:
        case float():
            return w
    return w - lr * g


def naming(w, g, *, lr):
    return w - {lr: 1.0}[lr] * g


REFUSED = {
    "isinstance": (lambda w, g, *, lr: w if isinstance(lr, float) else g, "'isinstance'"),
    "type": (lambda w, g, *, lr: w if type(w) is float else g, "'type'"),
    "match": (matching, "a question for its type"),
    "isscalar": (lambda w, g, *, lr: w if np.isscalar(lr) else g, "a question for its type"),
    "__class__": (lambda w, g, *, lr: w if lr.__class__ is float else g, "'.__class__'"),
    "f-string": (lambda w, g, *, lr: w - float(f"{lr}") * g, "a text of it"),
    "f-string of the repr": (lambda w, g, *, lr: w if f"{lr!r}" else g, "a text of it"),
    "%": (lambda w, g, *, lr: w if "%s" % lr else g, "a text of it"),  # noqa: UP031
    "format": (lambda w, g, *, lr: w if "{}".format(lr) else g, "a text of it"),  # noqa: UP032
    "hasattr": (lambda w, g, *, lr: w if hasattr(g, "__array_interface__") else g, "'hasattr'"),
    "three of pow": (lambda w, g, *, lr: pow(g, 2, 3), "takes 2 positional arguments"),
    "key": (naming, "unhashable"),
    "from_dlpack": (lambda w, g, *, lr: np.from_dlpack(g), "__dlpack__"),
    "frombuffer": (lambda w, g, *, lr: np.frombuffer(g), "bytes-like"),
    "nditer": (lambda w, g, *, lr: next(np.nditer(g)), "__array"),
    "broadcast": (lambda w, g, *, lr: np.broadcast(g, w).iters[0], "a question for its type|result with an exception set|__array"),
    "np.random": (lambda w, g, *, lr: w - np.random.rand() * g, r"'\.random'"),
    "a method": (Settings().rule, "no method"),
    "a method of the class": (Settings.made, "no method"),
    "a callable object": (Settings(), "no object"),
    "a builtin": (abs, "no object"),
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
    "asarray": (lambda w, g, *, lr: w - np.asarray(g), "the attribute .__array"),
    "array": (lambda w, g, *, lr: w - np.array([g, g]).sum(0), "the attribute .__array"),
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
    "fraction": (lambda w, g, *, lr: w - g * Fraction(1, 2), r"Fraction Fraction\(1, 2\)"),
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
    "a global object": (lambda w, g, *, lr: w - SETTINGS.rate * g, "'SETTINGS' of type Settings"),
    "random numbers": (lambda w, g, *, lr: w - np.random.default_rng().random() * g, r"'.random'"),
    "a count of another kind": (lambda w, g, *, lr: w - next(TURNS) * g, "'TURNS' of type count"),
    "random numbers of Python's": (lambda w, g, *, lr: w - random.random() * g, "'random' of type module"),
    "a count": (counting, "'Settings' of type type"),
    "an earlier call": (keeping, "'kept' of type list"),
    "an error that the rule catches": (going_on, "the attribute .mean"),
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
    arrays = [np.ones(3), np.full(3, 2.0), *(np.full(3, 5.0) for _ in signature(rule).state)] if not says.startswith(("must take", "no ")) else []
    if arrays:
        with pytest.raises(TypeError, match=f"rule {rule.__name__}"):
            engines.step(rule, arrays, {"lr": 0.1, "t": 1})
        assert [a[0] for a in arrays] == [1.0, 2.0, *[5.0] * (len(arrays) - 2)]


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


def test_power_takes_the_short_cuts_that_numpy_takes():
    def rule(w, g, a, b, *, lr):
        return g**2, g**0.5, g**-1.0

    assert [node.ufunc for node in trace(rule).nodes] == [np.square, np.sqrt, np.reciprocal]
    assert [node.ufunc for node in trace(lambda w, g, *, lr: w - lr**2 * g**3).nodes][:2] == [np.power, np.power]


def test_a_long_rule_is_traced_in_no_time():
    def rule(w, g, *, lr):
        for _ in range(200):
            g = g + g
        return w - g

    assert len(trace(rule).nodes) == 201


def test_a_number_is_on_the_tape_once_and_minus_zero_is_another():
    tape = trace(lambda w, g, *, lr: (2 * g + 2.0 * w) * 0.0 + -0.0 * g + np.nan * w + math.nan)
    assert [repr(number.value) for number in tape.numbers] == ["2.0", "0.0", "-0.0", "nan"]


def test_a_value_of_another_call_is_refused_and_one_prints_as_it_was_made():
    one, other = Recorder("one"), Recorder("other")
    w = Traced(one, one.symbol(2))
    assert repr((np.sqrt(w) * 3)._symbol) == "multiply(sqrt(2.0), 3.0)"
    with pytest.raises(TypeError, match=r"rule other must do .* got a value of an earlier call"):
        other.symbol(w)
    with pytest.raises(TypeError, match=r"the attribute \._other"):
        w._other  # noqa: B018
    with pytest.raises(AttributeError):
        w.shape = 3


def test_no_symbol_tells_what_it_is():
    w = Traced(Recorder("some"), Recorder("some").symbol(2))
    for ask in (repr, str, format, lambda x: x.__class__, lambda x: isinstance(x, float), lambda x: hasattr(x, "__array_interface__")):
        with pytest.raises(TypeError, match="rule some must do the same with each element"):
            ask(w)


@pytest.mark.parametrize(("rule", "says"), [
    (lambda w, g, *, lr, t: w - lr * (1 / (t - 3)) * g, "division"),
    (lambda w, g, *, lr, t: w - lr * (2 - t) ** 0.5 * g, "math domain error"),
    (lambda w, g, *, lr, t: w - (-lr) ** 0.5 * g, "math domain error"),
    (lambda w, g, *, lr, t: w - 10.0 ** (150 * t) * g, "range error|out of range"),
])
def test_hyperparameters_of_which_a_rule_makes_no_number_are_refused_by_name(rule, says):
    for step in (blocked.step, compiled.step, whole.step):
        arrays = [np.ones(3), np.ones(3)]
        with pytest.raises(ValueError, match=rf"what rule <lambda> makes of its hyperparameters must be real numbers, got .*({says}).* at lr = 0.1, t = 3"):
            step(rule, arrays, {"lr": 0.1, "t": 3})
        assert arrays[0].tolist() == [1.0] * 3


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("make", [lambda c: lambda w, g, *, lr: np.maximum(w, c), lambda c: lambda w, g, *, lr: w - lr * abs(g) ** c])
def test_numbers_that_sympy_does_not_know_are_refused_by_name(make, number):
    for ask in (symbolic.latex, symbolic.expressions):
        with pytest.raises(TypeError, match=f"rule <lambda> must hold finite numbers to be read by SymPy, got {number}"):
            ask(make(number))
