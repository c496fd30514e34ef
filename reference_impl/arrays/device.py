"""The way to a GPU and back (extra `gpu`)."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from .. import arrays

Moved = TypeVar("Moved")


def to_device(x: Moved) -> Moved:
    """A copy of `x` on the GPU: of an array, or of whatever holds arrays, such as a model or an optimizer with its state.

    Containers (dicts, lists, tuples) and objects are copied with all that they hold; arrays that `x` has in two places are
    one array in the copy too. `x` itself stays as it is and where it is. What is no array of numbers (functions, generators
    of random numbers, text) is not copied. Raises ModuleNotFoundError without CuPy (extra `gpu`).

    Everything in this package that takes arrays then runs there: `fit(to_device(model), to_device(inputs), …)`.
    """
    try:
        import cupy
    except ImportError:
        raise ModuleNotFoundError('to_device needs CuPy: pip install "cupy-cuda13x[ctk]"') from None
    moved: Moved = _rebuilt(x, lambda array: cupy.array(array, order="K"), {})
    return moved


def to_host(x: Moved) -> Moved:
    """A copy of `x` in main memory, with NumPy's arrays: the way back from [`to_device`][reference_impl.to_device].

    >>> to_host({"w": np.zeros(2)})
    {'w': array([0., 0.])}
    """
    moved: Moved = _rebuilt(x, lambda array: arrays.on_host(array) if arrays.on_device(array) else arrays.copy(array), {})
    return moved


def _rebuilt(x: Any, made: Callable[[Any], Any], done: dict[int, tuple[Any, Any]]) -> Any:
    """A copy of `x`, its arrays made anew; `done` keeps what was met, with the original, whose id must stay its own."""
    if id(x) in done:
        return done[id(x)][1]
    if arrays.on_device(x) or (isinstance(x, np.ndarray) and x.dtype.kind in "biuf"):
        new = made(x)
    elif isinstance(x, tuple):
        items = [_rebuilt(item, made, done) for item in x]
        new = type(x)(*items) if hasattr(x, "_fields") else tuple(items)
    elif isinstance(x, list):
        new = [_rebuilt(item, made, done) for item in x]
    elif isinstance(x, dict):
        new = {key: _rebuilt(value, made, done) for key, value in x.items()}
    elif isinstance(x, Mapping):  # a Flat: its arrays are views of one, and it knows of which
        reduced: Any = x.__reduce__()
        new = reduced[0](*_rebuilt(reduced[1], made, done))
    elif hasattr(x, "__dict__") and not isinstance(x, (type, types.FunctionType, types.MethodType, types.ModuleType)):
        new = copy.copy(x)
        done[id(x)] = x, new  # before its attributes, one of which may lead back to it
        vars(new).update({name: _rebuilt(value, made, done) for name, value in vars(new).items()})
    else:
        return x
    done[id(x)] = x, new
    return new
