"""What a rule reads besides its arguments. A tape holds what that was when it was traced, so it must know when it is that no longer."""

from __future__ import annotations

import builtins
import dis
import inspect
import numbers
import sys
from collections.abc import Callable, Iterator
from functools import partial
from types import CellType, CodeType, FunctionType, ModuleType
from typing import NamedTuple

import numpy as np

_MISSING = object()


class Outside(NamedTuple):
    """A number or function that a rule finds by a name: `read()` gives what the name is bound to now."""

    read: Callable[[], object]
    value: object


def read_from_outside(rule: object, rule_name: str) -> tuple[Outside, ...]:
    """The numbers and functions that `rule`, and those functions themselves, find in their modules and enclosing functions.

    Raises TypeError for what can change without being bound anew: a list, a dict, an array, an object, a module, a class, a
    function with attributes. NumPy, `math` and Python's own functions may be read.

    >>> rate = 0.5
    >>> [outside.value for outside in read_from_outside(lambda w, g: w - rate * g, "descent")]
    [0.5]
    """
    found: list[Outside] = []
    functions = [_function(rule)]
    for function in functions:
        for name, read in _reads(function) if function else ():
            thing = read()
            if thing is _MISSING or _is_given(thing):
                continue
            inner = _function(thing)
            if not (_is_number(thing) or (inner and all(name.startswith("__") for name in vars(inner)))):
                raise TypeError(f"rule {rule_name} must read numbers and functions alone besides its arguments, got {name!r} of type "
                                f"{type(thing).__name__}: give a number as a hyperparameter, an array as state, a helper by its own name")
            found.append(Outside(read, thing))
            if inner not in functions:
                functions.append(inner)
    return tuple(found)


def _function(value: object) -> FunctionType | None:
    """The function of Python's that is behind a value, if there is one."""
    while isinstance(value, partial):
        value = value.func
    value = inspect.unwrap(value) if callable(value) else value
    return value if isinstance(value, FunctionType) else None


def _is_given(thing: object) -> bool:
    """Whether it is NumPy, Python's `math`, or a function of theirs or of Python's own, or makes numbers: the tape sees what they do."""
    if isinstance(thing, np.ufunc) or (isinstance(thing, type) and issubclass(thing, numbers.Number)):
        return True
    name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None) if callable(thing) else None
    return str(name).partition(".")[0] in ("numpy", "math", "builtins")


def _is_number(thing: object) -> bool:
    """Whether it is a number, a text, None, or a tuple of them."""
    return isinstance(thing, (int, float, complex, str, bytes, np.generic, type(None))) or (isinstance(thing, tuple) and all(map(_is_number, thing)))


def _reads(function: FunctionType) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each name of an enclosing function or of a module that a function reads, and how to read it."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        yield name, partial(_contents, cell)
    for name in dict.fromkeys(_globals(function.__code__)):
        yield name, partial(function.__globals__.get, name, getattr(builtins, name, sys.modules.get(name, _MISSING)))


def _globals(code: CodeType) -> Iterator[str]:
    """The names that a function, and those inside it, find in the module, or import."""
    yield from (i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "IMPORT_NAME"))
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals(constant)


def _contents(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return _MISSING
