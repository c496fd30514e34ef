"""Whole arrays, with the functions of their own library: any array API's for the tape, and a rule over whole arrays as it is written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..arrays import namespace
from ..arrays.checks import shown
from ..arrays.protocol import StandardArray
from .tape import Rule, Tape, checked_results, name_of, names_for, signature, statements, trace


def source(rule: Rule) -> str:
    """The Python source of the replay on whole arrays; `xp` is their library, the tape's operands are named as in blocks.

    >>> def sgd(w, g, *, lr):
    ...     return w - lr * g
    >>> print(source(sgd))
    def replay(w_, g_, lr_):
        t0 = lr_ * g_
        t1 = w_ - t0
        return t1,
    """
    tape = trace(rule)
    names = names_for((*tape.arrays, *tape.operands))
    head = ", ".join(names.values())
    lines = statements(tape.work, names, "whole")
    return "\n    ".join([f"def replay({head}):", *lines, f"return {''.join(f'{names[r]}, ' for r in tape.results)}".rstrip()])


@cache
def _replay(rule: Rule, tape: Tape, xp: object) -> Callable[..., tuple[StandardArray, ...]]:
    space: dict[str, Any] = {"xp": xp}
    exec(source(rule), space)
    function: Callable[..., tuple[StandardArray, ...]] = space["replay"]
    return function


def step(rule: Rule, arrays: Sequence[StandardArray], hyper: Mapping[str, float]) -> None:
    """Apply `rule` in place to `arrays` = (w, g, *state) of one library, dtype and shape; float16 is computed in float32."""
    tape, xp, w = trace(rule), namespace(arrays[0]), arrays[0]
    single = [_single(a) for a in arrays]
    operands = [xp.asarray(value, dtype=single[0].dtype, device=getattr(w, "device", None)) for value in tape.values(hyper)]
    _write((w, *arrays[2:]), _replay(rule, tape, xp)(*single, *operands))


def step_as_written(rule: Rule, arrays: Sequence[StandardArray], hyper: Mapping[str, float]) -> None:
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
    if not hyper.keys() >= set(names):
        raise TypeError(f"hyper must hold a value for each of {list(names)}, got {shown(hyper)}")
    try:
        returned = rule(*map(_locked, given), **{name: hyper[name] for name in names})
    except ValueError as error:
        if "read-only" not in str(error):
            raise
        raise ValueError(f"rule {name_of(rule)} must change nothing in place, got {str(error)!r}: write v = rho * v for v *= rho") from error
    results = [_whole(result, old) for result, old in zip(checked_results(rule, returned), (given[0], *given[2:]))]
    for name, result, old in zip(("w", *state), results, (given[0], *given[2:])):
        if type(result) is not type(old):
            raise TypeError(f"rule {name_of(rule)} must return the new {name} as {type(old).__name__}, got {type(result).__name__}")
        if result.shape != old.shape or result.dtype != old.dtype:
            raise ValueError(f"rule {name_of(rule)} must return the new {name} with shape {old.shape} and dtype {old.dtype}, "
                             f"got {result.shape} and {result.dtype}")
    _write((arrays[0], *arrays[2:]), results)


def finite(array: StandardArray, most: float = math.inf) -> bool:
    """Whether every element of an array is a finite number, and no larger than `most`."""
    xp = namespace(array)
    return bool(xp.all(xp.isfinite(array) & (xp.abs(array) <= most)))


def _write(targets: Sequence[StandardArray], results: Sequence[StandardArray]) -> None:
    """Put the results where they belong; one may be an old array, which another is written to."""
    for target, copied in [(target, _astype(result, target.dtype)) for target, result in zip(targets, results)]:
        target[...] = copied


def _single(array: StandardArray) -> StandardArray:
    """The array, or its numbers in float32 if it is of float16."""
    return _astype(array, namespace(array).float32) if str(array.dtype).endswith("float16") else array


def _astype(array: StandardArray, dtype: object) -> StandardArray:
    """A copy in a dtype of the same library."""
    own = getattr(array, "astype", None)
    copied: StandardArray = own(dtype) if own is not None else namespace(array).astype(array, dtype)
    return copied


def _whole(result: StandardArray, old: StandardArray) -> StandardArray:
    """An array, where NumPy gave a scalar for one of no axes."""
    return np.asarray(result) if isinstance(result, np.generic) and isinstance(old, np.ndarray) else result


def _locked(array: StandardArray) -> StandardArray:
    """A view of NumPy's array that cannot be written."""
    if isinstance(array, np.ndarray):
        array = array.view()
        array.flags.writeable = False
    return array
