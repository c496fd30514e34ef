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
    return hashlib.sha256(repr(_Reader(function).told(function)).encode()).hexdigest()[:16]


class _Reader:
    """Tells of values what is the same in every process; follows the functions of one module, that of the first, each once."""

    def __init__(self, function: object) -> None:
        while isinstance(function, partial):
            function = function.func
        self.home = getattr(function, "__module__", "")
        self.seen: set[int] = set()

    def told(self, value: object) -> object:
        if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
            return repr(value)
        if isinstance(value, np.ndarray):
            return "object array" if value.dtype.hasobject else (str(value.dtype), value.shape, hashlib.sha256(value.tobytes()).hexdigest())
        if isinstance(value, tuple):
            return [self.told(part) for part in value]
        if isinstance(value, frozenset):
            return sorted(repr(self.told(part)) for part in value)
        if isinstance(value, CodeType):
            return value.co_code, value.co_names, self.told(value.co_consts)
        name = getattr(value, "__qualname__", type(value).__qualname__)
        if id(value) in self.seen:  # a function that calls itself
            return name
        self.seen.add(id(value))
        if isinstance(value, partial):
            return self.told((value.func, value.args, *sorted(value.keywords.items())))
        if isinstance(value, MethodType):
            return self.told(value.__func__), self.attributes(value.__self__, value.__func__)
        if isinstance(value, FunctionType):
            return self.function(value) if value.__module__ == self.home else f"{value.__module__}.{name}"
        if isinstance(value, type):
            own = (*vars(value).items(), *(("", base) for base in value.__bases__)) if value.__module__ == self.home else ()
            return name, [(key, self.told(part)) for key, part in own if isinstance(part, FunctionType | type)]
        if isinstance(called := getattr_static(type(value), "__call__", None), FunctionType):
            return self.told(type(value)), self.attributes(value, called)
        wrapped = getattr(value, "__wrapped__", None)
        return name, self.told(wrapped) if wrapped is not None else None

    def function(self, function: FunctionType) -> object:
        code, rebound = function.__code__, _rebound(function, "STORE_DEREF")
        closed = [(name, self.told(cell.cell_contents)) for name, cell in zip(code.co_freevars, function.__closure__ or ())
                  if name not in rebound and hasattr(cell, "cell_contents")]
        used = {name: function.__globals__.get(name) for part in _codes(code) for name in part.co_names}
        called = [(name, self.told(value)) for name, value in sorted(used.items()) if isinstance(value, FunctionType | type)]
        constants = tuple(None if constant == function.__doc__ else constant for constant in code.co_consts)
        defaults = function.__defaults__, tuple(sorted((function.__kwdefaults__ or {}).items()))
        return code.co_code, code.co_names, self.told(constants), self.told(defaults), closed, called

    def attributes(self, owner: object, function: Callable[..., object]) -> object:
        rebound = _rebound(function, "STORE_ATTR")
        return [(name, self.told(value)) for name, value in sorted(getattr(owner, "__dict__", {}).items()) if name not in rebound]


def _codes(code: object) -> Iterator[CodeType]:
    """A function's code and that of the functions in it."""
    if isinstance(code, CodeType):
        yield code
        for constant in code.co_consts:
            yield from _codes(constant)


def _rebound(function: Callable[..., object], how: str) -> set[str]:
    """The names that a function gives new values: what it counts with."""
    return {str(step.argval) for code in _codes(getattr(function, "__code__", None)) for step in dis.get_instructions(code) if step.opname == how}
