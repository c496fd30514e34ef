"""What a rule reads besides its arguments. A tape holds what that was when it was traced, so it must know when it is that no longer."""

from __future__ import annotations

import builtins
import dis
import functools
import inspect
import numbers
import sys
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import NamedTuple

import numpy as np

_MISSING = object()
_NUMBERS = (int, float, complex, str, bytes, np.generic, type(None))


class Outside(NamedTuple):
    """A number or function that a rule finds by a name: `read()` gives what the name is bound to now."""

    read: Callable[[], object]
    value: object


def read_from_outside(rule: object, rule_name: str) -> tuple[Outside, ...]:
    """The numbers and functions that `rule`, and those functions themselves, find in modules and enclosing functions.

    Raises TypeError for what can change without being bound anew: a list, a dict, an array, an object, or a module or class as such.

    >>> rate = 0.5
    >>> [outside.value for outside in read_from_outside(lambda w, g: w - rate * g, "descent")]
    [0.5]
    """
    found: list[Outside] = []
    seen: set[FunctionType] = set()

    def visit(value: object) -> None:
        function = _function(value)
        if function is None or function in seen:
            return
        seen.add(function)
        for name, read in _reads(function):
            thing = read()
            if _is_numpys(thing):
                continue
            if _function(thing) is not None or _is_fixed(thing):
                found.append(Outside(read, thing))
                visit(thing)
            elif not (isinstance(thing, BuiltinFunctionType) or _is_number_type(thing) or thing is _MISSING):
                raise TypeError(f"rule {rule_name} must read numbers and functions alone besides its arguments, got {name!r} of type "
                                f"{type(thing).__name__}: give a number as a hyperparameter, an array as state")

    visit(rule)
    return tuple(found)


def _function(value: object) -> FunctionType | None:
    """The function of Python's that is behind a value, if there is one."""
    while isinstance(value, functools.partial):
        value = value.func
    value = inspect.unwrap(value) if callable(value) else value
    return value if isinstance(value, FunctionType) else None


def _is_numpys(thing: object) -> bool:
    """Whether it is NumPy or a function of it, or Python's `math`, which do not change; what they do is the tape's affair."""
    name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", None) if callable(thing) else None
    return isinstance(thing, np.ufunc) or str(name).partition(".")[0] in ("numpy", "math")


def _is_number_type(thing: object) -> bool:
    return isinstance(thing, type) and (thing.__module__ == "builtins" or issubclass(thing, numbers.Number))


def _is_fixed(thing: object) -> bool:
    return isinstance(thing, _NUMBERS) or (isinstance(thing, tuple | frozenset) and all(_is_fixed(t) or _function(t) for t in thing))


def _reads(function: FunctionType) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each name of a module or of an enclosing function that a function reads, with the attributes behind it, and how to read it."""
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or ()))
    for code in _codes(function.__code__):
        chain: list[str] = []
        for instruction in dis.get_instructions(code):
            if chain and instruction.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                chain.append(instruction.argval)
                continue
            if instruction.opname == "IMPORT_NAME":
                yield instruction.argval, functools.partial(sys.modules.get, instruction.argval, ModuleType(instruction.argval))
            if chain:
                yield ".".join(chain), _reader(function, cells, *chain)
            outside = instruction.opname == "LOAD_GLOBAL" or (instruction.opname.endswith("DEREF") and instruction.argval in cells)
            chain = [instruction.argval] if outside else []


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _reader(function: FunctionType, cells: dict[str, CellType], name: str, *attributes: str) -> Callable[[], object]:
    if name in cells:
        first: Callable[[], object] = functools.partial(_contents, cells[name])
    else:
        first = functools.partial(function.__globals__.get, name, getattr(builtins, name, _MISSING))

    def read() -> object:
        thing = first()
        for attribute in attributes:
            if not isinstance(thing, ModuleType | type | FunctionType):  # what comes now are its own attributes and methods
                return thing
            thing = getattr(thing, attribute, _MISSING)
        return thing

    return read if attributes else first


def _contents(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return _MISSING
