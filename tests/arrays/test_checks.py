"""What arguments may be: each kind's values at its bounds and beyond, in the words of its message."""

import inspect
import math
from fractions import Fraction

import numpy as np
import pytest
import sympy

from reference_impl.arrays.checks import (
    FLOATING,
    GENERATOR,
    POSITIVE,
    SHARE,
    SIZE,
    SYMBOL,
    ArrayOf,
    Count,
    Either,
    Flag,
    Function,
    Instance,
    Numbers,
    OneOf,
    Optional,
    Real,
    check,
    checked,
    shown,
)

NAN, INF, ONES = math.nan, math.inf, np.ones(2)


class Called:
    def __call__(self):
        pass


@pytest.mark.parametrize(("kind", "right", "out_of_range", "of_another_kind"), [
    (Real(), [0, -1.5, 10**300, np.float32(2), Fraction(1, 3), np.int8(1)], [NAN, INF, -INF, 10**400], [None, True, np.False_, "1", 1j, [1], np.array(1.0)]),
    (Real(0, 1), [0, 1, 0.5], [-1e-9, 1 + 1e-9, NAN, INF], ["0.5"]),
    (Real(0, 1, open_low=True), [1e-300, 1], [0, 1.1], []),
    (Real(0, 1, open_high=True), [0, 0.999], [1, -0.1], []),
    (Real(1, infinite=True), [1, 5, INF], [0.9, -INF, NAN], []),
    (Real(infinite=True), [INF, -INF], [NAN, 10**400], []),
    (POSITIVE, [1e-300], [0, INF], []), (SIZE, [0, 1e300], [-1e-300, INF], []), (SHARE, [0, 0.99], [1, -0.1], []),
    (Count(), [1, np.int64(7), 10**400], [0, -1, 1.0, 1.5, NAN], [None, True, np.True_, "1", [1], 1j]),
    (Count(0, 3), [0, 3], [-1, 4], []),
    (Count(None), [-5, 0, 5], [0.5], [False, "0"]),
    (Flag(), [True, False, np.True_], [], [0, 1, "no", None, [], "True"]),
    (OneOf("a", None), ["a", None], ["b", 1, ["a"], np.array(["a", "a"])], []),
    (OneOf("a"), ["a"], [None, "A"], []),
    (Function("x"), [len, lambda: 0, Called()], [], [int, Called, None, "f", 1]),
    (Instance(list, tuple), [[], ()], [], [{}, None, list]),
    (GENERATOR, [np.random.default_rng(0)], [], [0, None, np.random, np.random.RandomState(0)]),
    (Numbers(), [1.5, [1, 2], ONES, ((1.0, 2.0), (3.0, 4.0)), np.float32(1), range(3), np.array(3)], [], []),
    (Numbers(), [], [NAN, [1, INF], [], np.ones(0), np.array([NAN])],
     [None, True, "12", b"12", [True], ["a"], [None], [[1], [2, 3]], [1j], {1.0}, {}, np.array([True]), np.ones(2, complex), np.array([None]),
      np.ma.ones(2), np.ones((2, 2)).view(np.matrix), iter([1]), int, len]),
    (Numbers(1), [[1.0], ONES], [1.0, [[1.0]], np.ones((1, 1))], []),
    (Numbers(0), [1.0, np.array(1.0)], [[1.0]], []),
    (Numbers(finite=False), [[NAN, INF]], [[]], []),
    (Numbers(empty=True), [[], np.ones((0, 2))], [[NAN]], []),
    (Numbers(low=0, high=1), [[0, 1], 0.5], [-0.1, [0.5, 1.1]], []),
    (Numbers(low=0, open_low=True), [[1e-9]], [[0.0, 1.0]], []),
    (Numbers(high=1, open_high=True), [[0.9, -5]], [[1.0]], []),
    (Numbers(low=0, finite=False), [[0, INF]], [[NAN]], []),
    (Numbers(whole=True), [[1, 2.0], 3], [[1.5], 0.5], []),
    (ArrayOf(), [ONES, np.ones((0, 3), "f2"), np.array([NAN])], [], [[1.0], 1.0, np.float64(1), np.ones(2, int), np.ma.ones(2), None, "a", np.ones(2, complex)]),
    (ArrayOf("n, features", "biuf"), [np.ones((2, 2)), np.ones((1, 2), bool), np.zeros((1, 1), "u1")], [ONES, np.ones((1, 1, 1))], [np.full((1, 1), "a")]),
    (ArrayOf(finite=True), [ONES], [np.array([1, NAN]), np.array([INF])], []),
    (SYMBOL, [sympy.Symbol("a"), sympy.Integer(1) / 3], [], [1, "a", None, sympy.Symbol]),
    (FLOATING, ["f2", np.float32, float, np.dtype("f8")], [int, complex, "i4", object, str, bool, np.longdouble], [None, "no", 3, np.float32(1), ONES, len]),
    (Optional(Count()), [None, 1], [0], ["a", False]),
    (Either(SIZE, Function("x")), [0.5, len], [-1, NAN], ["a", None, int]),
])
def test_each_kind(kind, right, out_of_range, of_another_kind):
    assert [value for value in right if kind.fault(value) is not None] == []
    assert [value for value in out_of_range if kind.fault(value) is not ValueError] == []
    assert [value for value in of_another_kind if kind.fault(value) is not TypeError] == []


def test_an_array_in_a_file_is_an_array(tmp_path):
    mapped = np.memmap(tmp_path / "a", np.float64, "w+", shape=(2,))
    assert Numbers(1).fault(mapped) is None and ArrayOf().fault(mapped) is None


@pytest.mark.parametrize(("kind", "words"), [
    (Real(), "a number in (-inf, inf)"), (Real(0, 1), "a number in [0, 1]"), (Real(0, 1, open_low=True, open_high=True), "a number in (0, 1)"),
    (Real(1, infinite=True), "a number in [1, inf]"), (Real(high=2), "a number in (-inf, 2]"), (Real(-1), "a number in [-1, inf)"),
    (Count(), "a whole number from 1 up"), (Count(0, 3), "a whole number from 0 to 3"), (Count(None), "a whole number"),
    (Flag(), "True or False"), (OneOf("a", "b", None), "'a', 'b' or None"), (OneOf("a"), "'a'"), (Function("x and y"), "a function of x and y"),
    (Instance(int, float), "an int or a float"), (Instance(int, words="a thing"), "a thing"), (GENERATOR, "a numpy.random.Generator"),
    (Numbers(), "finite numbers"), (Numbers(0), "a finite number"), (Numbers(1), "a non-empty vector of finite numbers"),
    (Numbers(2, finite=False, empty=True), "a matrix of numbers"), (Numbers(3), "a non-empty array of 3 axes of finite numbers"),
    (Numbers(low=0, high=1, open_high=True), "finite numbers in [0, 1)"), (Numbers(low=1, whole=True), "whole numbers in [1, inf)"),
    (Numbers(high=0), "finite numbers in (-inf, 0]"),
    (ArrayOf(), "an array of floating-point numbers"), (ArrayOf("n, m", "iu"), "an array (n, m) of whole numbers"),
    (ArrayOf("", "iuf", finite=True), "an array of finite numbers"), (ArrayOf("n", "biuf"), "an array (n) of numbers"),
    (SYMBOL, "a SymPy expression"), (FLOATING, "float16, float32 or float64"), (Optional(Flag()), "True or False or None"),
    (Either(SIZE, Flag()), "a number in [0, inf) or True or False"),
])
def test_each_kind_in_words(kind, words):
    assert str(kind) == words


@pytest.mark.parametrize(("value", "words"), [
    (0.5, "0.5"), ("x" * 198, f"'{'x' * 198}'"), ("x" * 199, f"'{'x' * 198}'..."), ([0.0] * 100, f"[{'0.0, ' * 39}0.0,]..."),
    (ONES, "array([1., 1.])"), (np.ones((30, 3)), "an array of float64 of the shape (30, 3)"), (np.ones(500, int), "an array of int64 of the shape (500,)"),
    (np.r_[np.zeros(500), INF], "an array of float64 of the shape (501,) with inf at index (500,)"), (np.full(200, "a"), "an array of <U1 of the shape (200,)"),
])
def test_a_value_is_shown_in_two_hundred_characters(value, words):
    assert shown(value) == words or (isinstance(value, list) and len(shown(value)) == 203 and shown(value).endswith("]..."))


def test_the_message_names_the_argument_what_it_must_be_and_what_came():
    with pytest.raises(ValueError, match=r"^steps must be a whole number from 1 up, got 0$"):
        check("steps", 0, Count())
    with pytest.raises(TypeError, match=r"^steps must be a whole number from 1 up, got 'no'$"):
        check("steps", "no", Count())
    check("steps", 1, Count())


def decorated():
    calls = []

    @checked(a=Count(), rest=Flag(), c=SIZE)
    def function(a, b=None, *rest, c=0.5):
        """Its words."""
        calls.append((a, b, rest, c))
        return calls[-1]

    return function, calls


def test_what_is_declared_is_checked_however_it_is_given_and_the_rest_is_not():
    function, calls = decorated()
    assert function(1, "anything", True, False, c=2) == (1, "anything", (True, False), 2)
    assert function(a=1) == (1, None, (), 0.5) and len(calls) == 2
    for args, kwargs in (((0,), {}), ((), {"a": 0}), ((1, 2, True, "no"), {}), ((1, 2, 3), {}), ((1,), {"c": -1})):
        with pytest.raises((TypeError, ValueError), match=r"^(a|rest|c) must be "):
            function(*args, **kwargs)
    with pytest.raises(TypeError, match="missing"):
        function()
    assert len(calls) == 2


def test_a_declaration_can_be_read_and_the_function_keeps_its_name_words_and_signature():
    function, _ = decorated()
    assert set(function.kinds) == {"a", "rest", "c"} and function.__doc__ == "Its words."
    assert list(inspect.signature(function).parameters) == ["a", "b", "rest", "c"]
    with pytest.raises(TypeError, match=r"kinds must name arguments of function \['a'\], got \['b'\]"):
        @checked(b=Flag())
        def function(a):
            pass
