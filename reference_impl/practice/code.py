"""What a function does, as far as its code tells, in sixteen digits: a log knows by them that its objective was edited."""

from __future__ import annotations

import dis
import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from inspect import getattr_static
from types import CodeType, FunctionType, MethodType

import numpy as np


def fingerprint(function: Callable[..., object]) -> str:
    """Sixteen digits that differ when a function's code does, its defaults, or the values that it closes over.

    Functions and classes of the same module that it calls belong to it, a comment or docstring does not. Of what it closes over, of the
    arguments of a `functools.partial` and of the attributes of a method's object, numbers, strings, tuples of them, arrays and functions
    count, unless the function itself rebinds them. It cannot know data that is loaded, global values, lists and dictionaries, other
    modules. Another version of Python writes other code.

    >>> fingerprint(lambda x: x + 1) == fingerprint(lambda y: y + 1), fingerprint(lambda x: x + 1) == fingerprint(lambda x: x + 2)
    (True, False)
    """
    return hashlib.sha256(repr(_told(function, _home(function), set())).encode()).hexdigest()[:16]


def _home(function: object) -> str:
    """The module whose functions are followed."""
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__module__", "")


def _told(value: object, home: str, seen: set[int]) -> object:
    """What can be told of a value, the same in every process."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return repr(value)
    if isinstance(value, np.ndarray):
        return "object array" if value.dtype.hasobject else (str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest())
    if isinstance(value, tuple):
        return [_told(part, home, seen) for part in value]
    if isinstance(value, frozenset):
        return sorted(repr(_told(part, home, seen)) for part in value)
    if isinstance(value, CodeType):
        return value.co_code, value.co_names, [_told(constant, home, seen) for constant in value.co_consts]
    name = getattr(value, "__qualname__", type(value).__qualname__)
    if id(value) in seen:  # a function that calls itself
        return name
    seen.add(id(value))
    if isinstance(value, partial):
        return [_told(part, home, seen) for part in (value.func, value.args, *sorted(value.keywords.items()))]
    if isinstance(value, MethodType):
        return _told(value.__func__, home, seen), _attributes(value.__self__, home, seen, value.__func__)
    if isinstance(value, FunctionType):
        return _function(value, home, seen) if value.__module__ == home else f"{value.__module__}.{name}"
    if isinstance(value, type):
        own = (*vars(value).items(), *(("", base) for base in value.__bases__)) if value.__module__ == home else ()
        return name, [(key, _told(part, home, seen)) for key, part in own if isinstance(part, FunctionType | type)]
    if isinstance(called := getattr_static(type(value), "__call__", None), FunctionType):
        return _told(type(value), home, seen), _attributes(value, home, seen, called)
    return name, _told(value.__wrapped__, home, seen) if hasattr(value, "__wrapped__") else None


def _function(function: FunctionType, home: str, seen: set[int]) -> object:
    code = function.__code__
    own = list(_codes(code))
    rebound = _rebound(function, "STORE_DEREF")
    closed = [(name, cell.cell_contents) for name, cell in zip(code.co_freevars, function.__closure__ or ()) if hasattr(cell, "cell_contents")]
    called = [(name, function.__globals__[name]) for name in sorted({name for part in own for name in part.co_names})
              if isinstance(function.__globals__.get(name), FunctionType | type)]
    constants = [None if constant == function.__doc__ else constant for constant in code.co_consts]
    return (code.co_code, code.co_names, [_told(constant, home, seen) for constant in constants],
            _told(function.__defaults__, home, seen), _told(tuple(sorted((function.__kwdefaults__ or {}).items())), home, seen),
            [(name, _told(value, home, seen)) for name, value in closed if name not in rebound],
            [(name, _told(value, home, seen)) for name, value in called])


def _attributes(owner: object, home: str, seen: set[int], function: Callable[..., object]) -> object:
    rebound = _rebound(function, "STORE_ATTR")
    return [(name, _told(value, home, seen)) for name, value in sorted(getattr(owner, "__dict__", {}).items()) if name not in rebound]


def _codes(code: object) -> Iterator[CodeType]:
    """A function's code and that of the functions in it."""
    if isinstance(code, CodeType):
        yield code
        for constant in code.co_consts:
            yield from _codes(constant)


def _rebound(function: Callable[..., object], how: str) -> set[str]:
    """The names that a function gives new values: what it counts with."""
    return {str(step.argval) for code in _codes(getattr(function, "__code__", None)) for step in dis.get_instructions(code) if step.opname == how}
