"""What a rule is called on when it is traced: values that write down each operation, and refuse all else by name. What they write are symbols."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .operations import OPERATIONS

# An ndarray raised to one of these powers takes the short cut, so the tape takes it too. Of a hyperparameter as the exponent nothing is
# known yet: that is always np.power, which makes infinity of -infinity to the power of 0.5 where the square root makes NaN.
POWERS: dict[float, np.ufunc] = {2.0: np.square, 0.5: np.sqrt, -1.0: np.reciprocal}

WHOLE = "a rule over whole arrays says @whole_arrays"
NO_BRANCH = "every element takes the same path, which np.maximum, np.minimum, np.sign and np.abs can bend without a branch"
FLOATS = "np.sqrt, np.exp and their like take arrays and hyperparameters, where those of math want a float"
KINDLESS = "it is a number in one reading and an array in another; numbers beside it are floats"
NUMBERS = "give a number as a float or as a hyperparameter, an array as state"

COMPARISONS = (np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal, np.logical_and, np.logical_or,
               np.logical_not, np.logical_xor, np.isnan, np.isfinite, np.isinf, np.signbit)


@dataclass(frozen=True, eq=False)
class Symbol:
    """A value on the tape; `scalar` if it is one number for all elements. Two are the same only if they are the very same object."""

    scalar: bool


@dataclass(frozen=True, eq=False)
class Argument(Symbol):
    """An argument of the rule: an array or a hyperparameter."""

    name: str

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Number(Symbol):
    """A number that stands in the rule."""

    value: float

    def __repr__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, eq=False)
class Node(Symbol):
    """An operation on earlier values."""

    ufunc: np.ufunc
    args: tuple[Symbol, ...]

    def __repr__(self) -> str:
        return f"{self.ufunc.__name__}({', '.join(map(repr, self.args))})"


class Recorder:
    """Where the operations of one call of a rule are written down."""

    def __init__(self, rule: str) -> None:
        self.rule, self.nodes, self.refused = rule, list[Node](), ""
        self._numbers: dict[str, Number] = {}

    def call(self, ufunc: np.ufunc, method: str, args: tuple[object, ...], options: dict[str, object]) -> Traced:
        """Write down a call of a ufunc."""
        if "out" in options:
            self.refuse(f"np.{ufunc.__name__} with out=", "a rule changes nothing in place: write v = rho * v for v *= rho")
        if method != "__call__":
            self.refuse(f"np.{ufunc.__name__}.{method}", WHOLE)
        if options:
            self.refuse(f"np.{ufunc.__name__} with {'=, '.join(options)}=", "leave it out")
        if ufunc not in OPERATIONS:
            whole = ufunc.signature is not None or ufunc.nout != 1
            self.refuse(f"np.{ufunc.__name__}", WHOLE if whole else NO_BRANCH if ufunc in COMPARISONS else
                        "write it by those of reference_impl.engines.operations.TABLE, or add a row there")
        symbols = tuple(map(self.symbol, args))
        scalar = all(s.scalar for s in symbols)
        if ufunc is np.power and not scalar and isinstance(symbols[1], Number) and symbols[1].value in POWERS:
            ufunc, symbols = POWERS[symbols[1].value], symbols[:1]
        node = Node(scalar, ufunc, symbols)
        self.nodes.append(node)
        return Traced(self, node)

    def symbol(self, value: object) -> Symbol:
        """What stands on the tape for a value that the rule computes with: a number that is none of its arguments becomes a float."""
        if isinstance(value, Traced):
            if value._recorder is not self:
                self.refuse("a value of an earlier call", "it must keep nothing from one call to the next")
            return value._symbol
        # Other numbers of NumPy's would decide the dtype of what is computed with them.
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer):
            self.refuse(f"{type(value).__name__} {value!r}" if isinstance(value, numbers.Number) else f"an object of type {type(value).__name__}", NUMBERS)
        try:
            number = float(value)
        except OverflowError:
            self.refuse(f"a whole number of {len(str(abs(value)))} digits", NUMBERS)
        return self._numbers.setdefault(number.hex(), Number(True, number))  # 0.0 and -0.0 are two, and NaN is itself

    def refuse(self, what: str, instead: str) -> NoReturn:
        self.refused = self.message(what, instead)
        raise TypeError(self.refused)

    def message(self, what: str, instead: str) -> str:
        """Why a rule is refused."""
        return f"rule {self.rule} must do the same with each element, by the operations of the table, got {what}: {instead}"


class Traced(NDArrayOperatorsMixin):
    """An array or a hyperparameter of a rule that is being traced, or what the rule made of them."""

    __slots__ = ("_recorder", "_symbol")

    def __init__(self, recorder: Recorder, symbol: Symbol) -> None:
        self._recorder, self._symbol = recorder, symbol

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: object, **options: object) -> Traced:
        return self._recorder.call(ufunc, method, args, options)

    def __array_function__(self, function: Callable[..., object], types: object, args: object, kwargs: object) -> NoReturn:
        name = f"{function.__module__.replace('numpy', 'np', 1)}.{function.__name__}"
        self._recorder.refuse(name, {"where": NO_BRANCH, "clip": "np.clip(x, low, high) is np.minimum(np.maximum(x, low), high)"}.get(
            function.__name__, f"it is no ufunc; {WHOLE}"))

    def __getattr__(self, name: str) -> NoReturn:
        self._recorder.refuse(f"the attribute .{name}", WHOLE)

    @property  # type: ignore[misc]
    def __class__(self) -> NoReturn:  # type: ignore[override]
        self._recorder.refuse("a question for its type", KINDLESS)


def _refusing(what: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(self: Traced, *args: object, **kwargs: object) -> NoReturn:
        self._recorder.refuse(what, instead)

    return refuse


for _what, _instead, _names in (
    ("a branch", NO_BRANCH, ["bool", "contains"]),
    ("a float() of it", FLOATS, ["float", "int", "index", "complex", "round", "trunc", "floor", "ceil"]),
    ("a text of it", KINDLESS, ["repr", "str", "format"]),
    ("its elements", WHOLE, ["getitem", "setitem", "delitem", "iter", "len", "reversed", "array"]),
):
    for _name in _names:
        setattr(Traced, f"__{_name}__", _refusing(_what, _instead))
