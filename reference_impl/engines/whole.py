"""Whole arrays, with the functions of their own library: any array API's for the tape, and a rule over whole arrays as it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import arrays as libraries
from ..arrays import namespace
from .tape import OPERATORS, Rule, Symbol, signature, trace

# The standard's names where they differ from NumPy's or are younger than its first version.
NAMES: dict[np.ufunc, str] = {np.absolute: "abs"}


def step(rule: Rule, arrays: Sequence[Any], hyper: Mapping[str, float]) -> None:
    """Apply `rule` in place to `arrays` = (w, g, *state) of one library, dtype and shape."""
    tape, xp = trace(rule), namespace(arrays[0])
    values: dict[Any, Any] = dict(zip(tape.arrays, arrays)) | tape.scalars(hyper)
    for node in tape.nodes:
        if not node.scalar:
            function = OPERATORS.get(node.ufunc) or getattr(xp, NAMES.get(node.ufunc, node.ufunc.__name__))
            values[node] = function(*[values[a] if isinstance(a, Symbol) else a for a in node.args])
    results = [values[r] if isinstance(r, Symbol) else r for r in tape.results]
    for array, result in zip((arrays[0], *arrays[2:]), results):
        array[...] = result


def step_as_written(rule: Rule, arrays: Sequence[Any], hyper: Mapping[str, float]) -> None:
    """Run a rule over whole arrays and write what it returns into w and the state; float16 is handed to it as float32.

    Raises TypeError or ValueError, before anything is written, when it does not return the new w and each new state in the shape and
    dtype of the old. It cannot write into NumPy's arrays itself.

    >>> w = np.array([3.0, 4.0])
    >>> step_as_written(lambda w, g, *, lr: w - lr * g / np.linalg.norm(g), [w, w.copy()], {"lr": 1.0})
    >>> print(w)
    [2.4 3.2]
    """
    state, names = signature(rule)
    given = [_single(a) for a in arrays]
    results = rule(*map(_locked, given), **{name: hyper[name] for name in names})
    results = results if isinstance(results, tuple) else (results,)
    targets, used = (arrays[0], *arrays[2:]), (given[0], *given[2:])
    if len(results) != len(targets):
        raise TypeError(f"rule {rule.__name__} must return the new w and its {len(state)} state arrays, got {len(results)} values")
    for name, result, old in zip(("w", *state), results, used):
        if type(result) is not type(old):
            raise TypeError(f"rule {rule.__name__} must return the new {name} as {type(old).__name__}, got {type(result).__name__}")
        if result.shape != old.shape or result.dtype != old.dtype:
            raise ValueError(f"rule {rule.__name__} must return the new {name} with shape {old.shape} and dtype {old.dtype}, "
                             f"got {result.shape} and {result.dtype}")
    for target, result in zip(targets, [libraries.copy(result) for result in results]):  # a result may be an old array
        target[...] = result


def _single(array: Any) -> Any:
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _locked(array: Any) -> Any:
    """A view of NumPy's array that cannot be written."""
    if isinstance(array, np.ndarray):
        array = array.view()
        array.flags.writeable = False
    return array
