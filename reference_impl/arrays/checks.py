"""Arguments checked where they enter: what may be given is declared, and what is refused is told in one style.

A function says in one place, by [`checked`][reference_impl.arrays.checks.checked], what each of its arguments may be. The message names the
argument, what was expected and what came; a TypeError is for another kind of thing, a ValueError for one out of range.
"""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec, Protocol, TypeVar, cast

import numpy as np

from . import is_plain, not_finite

P = ParamSpec("P")
R = TypeVar("R")


class Kind(Protocol):
    """What an argument may be: `str(kind)` says it in words that follow "must be"."""

    def fault(self, value: object) -> type[Exception] | None:
        """None for a value that will do, else which error it is."""


@dataclass(frozen=True)
class Real:
    """A number, no bool, from `low` to `high`; `open_low` and `open_high` leave an end out, and infinity is left out unless `infinite`.

    >>> print(Real(0, 1, open_high=True)), print(Real(0, open_low=True))
    a number in [0, 1)
    a number in (0, inf)
    (None, None)
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    infinite: bool = False

    def fault(self, value: object) -> type[Exception] | None:
        if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
            return TypeError
        try:
            number = float(value)
        except OverflowError:  # an int of hundreds of digits
            return ValueError
        inside = self.low <= number <= self.high and (self.infinite or math.isfinite(number))
        return None if inside and not (self.open_low and number == self.low) and not (self.open_high and number == self.high) else ValueError

    def __str__(self) -> str:
        left = "(" if self.open_low or (self.low == -math.inf and not self.infinite) else "["
        right = ")" if self.open_high or (self.high == math.inf and not self.infinite) else "]"
        return f"a number in {left}{self.low:g}, {self.high:g}{right}"


POSITIVE, SIZE, SHARE = Real(0, open_low=True), Real(0), Real(0, 1, open_high=True)
"""A number above 0, one from 0 up, and one in [0, 1)."""


@dataclass(frozen=True)
class Count:
    """A whole number, no bool, from `low` up, or to `high`; with `low` None any.

    >>> print(Count()), print(Count(0, 3)), print(Count(None))
    a whole number from 1 up
    a whole number from 0 to 3
    a whole number
    (None, None, None)
    """

    low: int | None = 1
    high: int | None = None

    def fault(self, value: object) -> type[Exception] | None:
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
            return ValueError if isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_) else TypeError
        return None if (self.low is None or self.low <= value) and (self.high is None or value <= self.high) else ValueError

    def __str__(self) -> str:
        bounds = "" if self.low is None else f" from {self.low} {'up' if self.high is None else f'to {self.high}'}"
        return f"a whole number{bounds}"


@dataclass(frozen=True)
class Flag:
    """True or False, and nothing that merely counts as one of them.

    >>> print(Flag())
    True or False
    """

    def fault(self, value: object) -> type[Exception] | None:
        return None if isinstance(value, bool | np.bool_) else TypeError

    def __str__(self) -> str:
        return "True or False"


class OneOf:
    """One of some words, or None if it is among them.

    >>> print(OneOf("line search", "pure", None))
    'line search', 'pure' or None
    """

    def __init__(self, *choices: str | None) -> None:
        self.choices = choices

    def fault(self, value: object) -> type[Exception] | None:
        return None if (value is None and None in self.choices) or (isinstance(value, str) and value in self.choices) else ValueError

    def __str__(self) -> str:
        *first, last = map(repr, self.choices)
        return f"{', '.join(first)} or {last}" if first else last


@dataclass(frozen=True)
class Function:
    """Something that can be called; `of` says with what. A class is none: who gives one forgot to make an object of it.

    >>> print(Function("x"))
    a function of x
    """

    of: str

    def fault(self, value: object) -> type[Exception] | None:
        return None if callable(value) and not isinstance(value, type) else TypeError

    def __str__(self) -> str:
        return f"a function of {self.of}"


class Instance:
    """An object of one of some classes, in the `words` of the message: by default, the names of the classes.

    >>> print(Instance(np.random.Generator, words="a numpy.random.Generator")), print(Instance(list, tuple))
    a numpy.random.Generator
    a list or a tuple
    (None, None)
    """

    def __init__(self, *classes: type, words: str = "") -> None:
        names = (f"{'an' if kind.__name__[0] in 'AEIOUaeiou' else 'a'} {kind.__name__}" for kind in classes)
        self.classes, self.words = classes, words or " or ".join(names)

    def fault(self, value: object) -> type[Exception] | None:
        return None if isinstance(value, self.classes) else TypeError

    def __str__(self) -> str:
        return self.words


GENERATOR = Instance(np.random.Generator, words="a numpy.random.Generator")
NAME = Instance(str, words="a name")


@dataclass(frozen=True)
class Numbers:
    """Real numbers that NumPy takes for an array: of `ndim` axes, None for any; finite unless `finite=False`; empty only if `empty`.

    All lie from `low` to `high`; `open_low` and `open_high` leave an end out; `whole` ones have no fraction. Masked arrays and matrices,
    which mean something else by the same operations, are none.

    >>> print(Numbers(1)), print(Numbers(2, finite=False)), print(Numbers(low=0, open_low=True))
    a non-empty vector of finite numbers
    a non-empty matrix of numbers
    finite numbers in (0, inf)
    (None, None, None)
    >>> print(Numbers(low=1, whole=True))
    whole numbers in [1, inf)
    """

    ndim: int | None = None
    finite: bool = True
    empty: bool = False
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    whole: bool = False

    def fault(self, value: object) -> type[Exception] | None:
        kind = getattr(getattr(value, "dtype", None), "kind", None)
        if kind is None:
            if not isinstance(value, numbers.Real | Sequence) or isinstance(value, str | bytes | bool):
                return TypeError
            try:
                value = np.asarray(value)
            except (ValueError, TypeError):
                return TypeError
            kind = value.dtype.kind if value.size else "f"
        if kind not in "iuf" or not (is_plain(value) or isinstance(value, np.generic)):
            return TypeError
        array = cast(np.ndarray, value)
        if (self.ndim is not None and array.ndim != self.ndim) or not (array.size or self.empty):
            return ValueError
        if self.finite and not bool(np.isfinite(array).all()):
            return ValueError
        if self.whole and not bool((array == np.floor(array)).all()):
            return ValueError
        if self.low == -math.inf and self.high == math.inf:
            return None
        above = array > self.low if self.open_low else array >= self.low
        below = array < self.high if self.open_high else array <= self.high
        return None if bool((above & below).all()) else ValueError

    def __str__(self) -> str:
        what = f"{'whole ' if self.whole else 'finite ' if self.finite else ''}numbers"
        if self.low != -math.inf or self.high != math.inf:
            what += str(Real(self.low, self.high, self.open_low, self.open_high)).removeprefix("a number")
        if self.ndim is None:
            return what
        if self.ndim == 0:
            return f"a {what.replace('numbers', 'number')}"
        shape = {1: "vector", 2: "matrix"}.get(self.ndim, f"array of {self.ndim} axes")
        return f"a {'' if self.empty else 'non-empty '}{shape} of {what}"


_NAMES = {"f": "floating-point numbers", "iu": "whole numbers", "iuf": "numbers", "biuf": "numbers"}


@dataclass(frozen=True)
class ArrayOf:
    """An array of NumPy or CuPy, no list, with these `axes`, "" for any; `dtypes` are the kinds of numbers that will do.

    Its elements are not looked at unless they must be `finite`: a batch that holds NaN goes through.

    >>> print(ArrayOf("batch, height, width, channels", "biuf")), print(ArrayOf(finite=True))
    an array (batch, height, width, channels) of numbers
    an array of finite floating-point numbers
    (None, None)
    """

    axes: str = ""
    dtypes: str = "f"
    finite: bool = False

    def fault(self, value: object) -> type[Exception] | None:
        if not is_plain(value):
            return TypeError
        array = cast(np.ndarray, value)
        if getattr(array.dtype, "kind", "") not in tuple(self.dtypes):
            return TypeError
        if self.axes and array.ndim != self.axes.count(",") + 1:
            return ValueError
        return ValueError if self.finite and not bool(np.isfinite(array).all()) else None

    def __str__(self) -> str:
        return f"an array {f'({self.axes}) ' if self.axes else ''}of {'finite ' if self.finite else ''}{_NAMES[self.dtypes]}"


class _Symbol:
    """An expression of SymPy, which must have been imported to have made one."""

    def fault(self, value: object) -> type[Exception] | None:
        sympy = sys.modules.get("sympy")
        return None if sympy is not None and isinstance(value, sympy.Expr) else TypeError

    def __str__(self) -> str:
        return "a SymPy expression"


SYMBOL = _Symbol()


class _Floating:
    """A dtype of the rules and layers, or what NumPy takes for its name."""

    def fault(self, value: object) -> type[Exception] | None:
        if value is None or isinstance(value, np.generic | np.ndarray):  # NumPy takes what has a dtype for it
            return TypeError
        try:
            dtype = np.dtype(value)  # type: ignore[call-overload]
        except (TypeError, ValueError, SyntaxError):
            return TypeError
        return None if dtype in (np.float16, np.float32, np.float64) else ValueError

    def __str__(self) -> str:
        return "float16, float32 or float64"


FLOATING = _Floating()


class Optional:
    """None, or what another kind takes.

    >>> print(Optional(Count()))
    a whole number from 1 up or None
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def fault(self, value: object) -> type[Exception] | None:
        return None if value is None else self.kind.fault(value)

    def __str__(self) -> str:
        return f"{self.kind} or None"


class Either:
    """What one of some kinds takes.

    >>> print(Either(Real(), Function("the step")))
    a number in (-inf, inf) or a function of the step
    """

    def __init__(self, *kinds: Kind) -> None:
        self.kinds = kinds

    def fault(self, value: object) -> type[Exception] | None:
        faults = [kind.fault(value) for kind in self.kinds]
        return None if None in faults else ValueError if ValueError in faults else TypeError

    def __str__(self) -> str:
        return " or ".join(map(str, self.kinds))


def check(name: str, value: object, kind: Kind) -> None:
    """Refuse a value that is not of its kind.

    >>> check("steps", -1, Count(0))
    Traceback (most recent call last):
        ...
    ValueError: steps must be a whole number from 0 up, got -1
    """
    if (fault := kind.fault(value)) is not None:
        raise fault(f"{name} must be {kind}, got {shown(value)}")


def check_dict(name: str, given: Mapping[str, object]) -> None:
    """Refuse what is no dict of arrays: TypeError.

    >>> check_dict("params", {"w": [1.0]})
    Traceback (most recent call last):
        ...
    TypeError: params['w'] must be an array, got list
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"{name} must be a dict of arrays, got {type(given).__name__}")
    for key, array in given.items():
        if not isinstance(key, str):
            raise TypeError(f"{name} must have strings as keys, got {key!r}")
        if not is_plain(array):
            hint = f": np.asarray({name}[{key!r}]) is one" if isinstance(array, np.generic) else ""
            raise TypeError(f"{name}[{key!r}] must be an array, got {type(array).__name__}{hint}")


def shown(value: object) -> str:
    """A value as a message shows it: cut where it is long; of a large array its shape, and what in it is not finite.

    >>> shown("x" * 500)[-12:], shown(0.5)
    ("xxxxxxxx'...", '0.5')
    >>> shown(np.where(np.arange(100) == 7, np.nan, 0.0))
    'an array of float64 of the shape (100,) with nan at index (7,)'
    """
    text = repr(value)
    if len(text) <= 200:
        return text
    if not isinstance(value, np.ndarray):
        return f"{text[:199]}{text[-1]}..."
    bad = value.dtype.kind == "f" and not np.isfinite(value).all()
    return f"an array of {value.dtype} of the shape {value.shape}" + (f" with {not_finite(value)}" if bad else "")


def checked(**kinds: Kind) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Declare what the arguments of a function may be; they are checked at every call, before its body runs.

    The declaration stays readable as `function.kinds`; each of the `*args` is of the kind of `args`. Raises TypeError
    where it names no argument of the function.

    >>> @checked(steps=Count(), lr=Real(0, open_low=True))
    ... def run(steps, lr=0.1):
    ...     return steps * lr
    >>> run(10)
    1.0
    >>> run(10, lr="fast")
    Traceback (most recent call last):
        ...
    TypeError: lr must be a number in (0, inf), got 'fast'
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = inspect.signature(function).parameters
        names = list(parameters)
        rest = next((name for name, parameter in parameters.items() if parameter.kind is parameter.VAR_POSITIONAL), None)
        first = names if rest is None else names[:names.index(rest)]
        if unknown := kinds.keys() - set(names):
            raise TypeError(f"kinds must name arguments of {function.__name__} {names}, got {sorted(unknown)}")

        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            for name, value in (*zip(first, args), *((rest, value) for value in args[len(first):] if rest), *kwargs.items()):
                if (kind := kinds.get(name)) is not None:
                    check(name, value, kind)
            return function(*args, **kwargs)

        wrapper.kinds = kinds  # type: ignore[attr-defined]
        return wrapper

    return decorate
