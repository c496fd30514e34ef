"""What a rule reads besides its arguments. A tape holds what that was when it was traced, so it must know when it is that no longer."""

from __future__ import annotations

import builtins
import dis
import numbers
import sys
from collections.abc import Callable, Iterator
from functools import partial
from operator import attrgetter
from types import CellType, CodeType, FunctionType, ModuleType
from typing import NamedTuple

import numpy as np

_MISSING = object()

# Python's functions that tell a symbol from a number, or one call from another; and what tells one call from another in NumPy.
QUESTIONS = frozenset({"isinstance", "issubclass", "type", "callable", "getattr", "setattr", "delattr", "hasattr", "dir", "vars", "globals", "locals",
                       "repr", "str", "ascii", "format", "bytes", "bytearray", "memoryview", "hash", "id", "object", "super", "print",
                       "eval", "exec", "compile", "__import__", "open", "input", "breakpoint"})
SECRETS = frozenset({"random", "empty", "load", "loadtxt", "genfromtxt", "fromfile", "memmap", "geterr"})


class Outside(NamedTuple):
    """A number or function that a rule finds by a name: `read()` gives what the name is bound to now."""

    read: Callable[[], object]
    value: object


def read_from_outside(rule: object, rule_name: str) -> tuple[Outside, ...]:
    """The numbers and functions that `rule`, and those functions themselves, find in their modules, enclosing functions and defaults.

    Raises TypeError for what can change without being bound anew: a list, a dict, an array, an object, a module, a class, a
    function with attributes; and for what asks about a value instead of computing with it, or differs from call to call, as `isinstance` and
    `np.random`. Else NumPy, `math` and Python's own functions may be read.

    >>> rate = 0.5
    >>> [outside.value for outside in read_from_outside(lambda w, g: w - rate * g, "descent")]
    [0.5]
    """
    found: list[Outside] = []
    functions = [rule]
    for function in functions:
        for name, read in _reads(function):
            thing = read()
            if thing is _MISSING or _is_given(thing):
                continue
            if not (_is_number(thing) or _is_function(thing)):
                raise TypeError(f"rule {rule_name} must read numbers and functions alone besides its arguments, got {name!r} of type "
                                f"{type(thing).__name__}: give a number as a hyperparameter, an array as state, a helper by its own name")
            found.append(Outside(read, thing))
            if not any(thing is known for known in functions):
                functions.append(thing)
    return tuple(found)


def _is_given(thing: object) -> bool:
    """Whether it is NumPy, Python's `math`, or a function of theirs or of Python's own, or makes numbers: the tape sees what they do."""
    if isinstance(thing, np.ufunc) or (isinstance(thing, type) and issubclass(thing, numbers.Number)):
        return True
    name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None) if callable(thing) else None
    top, *rest = str(name).split(".")
    if callable(thing) and (getattr(thing, "__name__", "") in (QUESTIONS if top == "builtins" else SECRETS)):
        return False
    return top in ("numpy", "math", "builtins") and rest[:1] != ["random"]


def _is_number(thing: object) -> bool:
    """Whether it is a number, a text, None, or a tuple of them."""
    return isinstance(thing, (int, float, complex, str, bytes, np.generic, type(None))) or (isinstance(thing, tuple) and all(map(_is_number, thing)))


def _is_function(thing: object) -> bool:
    """Whether it is a function of Python's that holds nothing, or a wrapper of functools around one."""
    if isinstance(thing, FunctionType | partial):
        return all(name.startswith("__") for name in vars(thing))
    return callable(thing) and isinstance(getattr(thing, "__wrapped__", None), FunctionType)


def _reads(function: object) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each name by which a function reads something of an enclosing function or of a module, or that it was given beforehand, and how to read it."""
    if isinstance(function, partial | FunctionType):
        for place in range(len(_bound(function))):
            yield f"argument {place} given beforehand", partial(_nth, function, place)
    elif hasattr(function, "__wrapped__"):
        yield "__wrapped__", partial(getattr, function, "__wrapped__")
    if isinstance(function, FunctionType):
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
            yield name, partial(_contents, cell)
        for name in dict.fromkeys(_names(function.__code__, "LOAD_GLOBAL", "LOAD_NAME", "IMPORT_NAME")):
            yield name, partial(function.__globals__.get, name, getattr(builtins, name, sys.modules.get(name, _MISSING)))
        for name in dict.fromkeys(_names(function.__code__, "LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM")):
            if name in SECRETS or name.startswith("__"):
                yield f".{name}", partial(attrgetter, name)


def _bound(function: partial[object] | FunctionType) -> tuple[object, ...]:
    """What a partial function holds, or the defaults of a function."""
    if isinstance(function, partial):
        return (function.func, *function.args, *function.keywords.values())
    return (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())


def _nth(function: partial[object] | FunctionType, place: int) -> object:
    return dict(enumerate(_bound(function))).get(place, _MISSING)


def _names(code: CodeType, *operations: str) -> Iterator[str]:
    """The names that a function, and those inside it, use in some operations of Python's."""
    yield from (i.argval for i in dis.get_instructions(code) if i.opname in operations)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant, *operations)


def _contents(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return _MISSING
