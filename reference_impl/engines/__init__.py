"""How a rule is read: one tape, many readings. This package knows no chapter.

`blocked` (NumPy, the default), `compiled` (Numba, extra `fast`), `fused` (CuPy, extra `gpu`), `whole` (any library of the array API), each
with `source(rule)`, what it prints of the rule, and `step(rule, arrays, hyper)`; besides `javascript` and `symbolic` (SymPy). What may be on
a tape, and how each of them writes it, stands in the table of `operations`.
"""

from __future__ import annotations

import contextvars
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np

from ..arrays.checks import OneOf, check, shown
from . import blocked, compiled, fused, whole
from .tape import Rule, trace

# Unless Numba is asked for: below this many elements thousands of steps do not repay the half second in which it starts.
COMPILED_FROM = 2**16

R = TypeVar("R")

ENGINES = ("blocked", "compiled", None)
_chosen: str | None = None

_QUIET = contextvars.Context()
_QUIET.run(np.seterr, all="ignore")


def set_engine(engine: Literal["blocked", "compiled"] | None) -> None:
    """Read rules on NumPy arrays by `engine` from now on in this process, where an optimizer does not say otherwise.

    "blocked" is NumPy alone; "compiled" is Numba; None, as at first, takes Numba for arrays of 2¹⁶ elements or more,
    where it is installed and the results are the same bit for bit: where the rule has no operation that two libraries may round
    differently, as exp or a power. Arrays that Numba does not take (float16, strided) are read in blocks.
    Raises ValueError for another name, ModuleNotFoundError for "compiled" without Numba.

    >>> set_engine("fast")
    Traceback (most recent call last):
        ...
    ValueError: engine must be 'blocked', 'compiled' or None, got 'fast'
    """
    global _chosen
    _chosen = check_engine(engine)


def check_engine(engine: str | None) -> str | None:
    """Refuse an engine that there is not."""
    check("engine", engine, OneOf(*ENGINES))
    if engine == "compiled" and not compiled.available():
        raise ModuleNotFoundError('engine="compiled" needs Numba: pip install numba')
    return engine


def step(rule: Rule, arrays: Sequence[Any], hyper: Mapping[str, float], engine: str | None = None) -> None:
    """Apply `rule` in place to `arrays` = (w, g, *state) by `engine`, or by the one set for the process.

    The arrays' own library decides first: CuPy's go to `fused`, NumPy's to `blocked` or `compiled`, others to `whole`.
    A rule over whole arrays runs as it is written. That they fit together is for the caller to see, as an optimizer does.
    """
    if not isinstance(arrays, (list, tuple)) or engine not in ENGINES:
        _refuse(arrays, engine)
    if getattr(rule, "over_whole_arrays", False):
        whole.step_as_written(rule, arrays, hyper)
    elif isinstance(arrays[0], np.ndarray):
        if compiles(arrays[0].dtype, arrays[0].size, engine, rule) and (views := blocked.flat(arrays)) is not None:
            compiled.step(rule, views, hyper)
        else:
            blocked.step(rule, arrays, hyper)
    elif fused.takes(arrays[0]):
        fused.step(rule, arrays, hyper)
    else:
        whole.step(rule, arrays, hyper)


def step_each(rule: Rule, pieces: Sequence[Sequence[Any]], hyper: Mapping[str, float], engine: str | None = None) -> None:
    """Apply `rule` to one (w, g, *state), or to several of NumPy's, small and in line, by Numba if all together are worth it."""
    if len(pieces) > 1 and compiles(pieces[0][0].dtype, sum([piece[0].size for piece in pieces]), engine, rule):
        compiled.step_each(rule, pieces, hyper)
    else:
        for piece in pieces:
            step(rule, piece, hyper, engine)


def finite(arrays: Sequence[Any], engine: str | None = None, most: float = math.inf) -> bool:
    """Whether every element of some arrays is a finite number, and no larger than `most`; of NumPy's and CuPy's, allocates nothing of their size.

    >>> finite([np.array([1.0, 2.0])]), finite([np.array([1.0, np.nan])])
    (True, False)
    """
    if not isinstance(arrays, (list, tuple)) or engine not in ENGINES:
        _refuse(arrays, engine)
    fusible = [array for array in arrays if fused.takes(array)]  # to ask for all of them costs but one wait
    others = (quietly(within, [array], most, engine) for array in arrays if not fused.takes(array))
    return all(others) and (not fusible or fused.finite(fusible, most))


def within(arrays: Sequence[Any], most: float, engine: str | None) -> bool:
    """The same of arrays of one library and dtype, of arguments that have been checked; to be called [`quietly`][reference_impl.engines.quietly]."""
    first = arrays[0]
    if not isinstance(first, np.ndarray):
        return fused.finite(arrays, most) if fused.takes(first) else all(whole.finite(array, most) for array in arrays)
    if compiles(first.dtype, sum([array.size for array in arrays]), engine) and (views := blocked.flat(arrays)) is not None:
        return compiled.finite(views, most)
    return all(blocked.finite(array, most) for array in arrays)


def _refuse(arrays: object, engine: str | None) -> None:
    check("engine", engine, OneOf(*ENGINES))
    raise TypeError(f"arrays must be a list of arrays, got {shown(arrays)}")


def quietly(function: Callable[..., R], *args: object) -> R:
    """Call `function` with NumPy's warnings off: a number too large becomes infinity, and stops nothing halfway.

    Does what `np.errstate(all="ignore")` does, but quicker: a step on a small array is not much longer than that.
    """
    return _QUIET.copy().run(function, *args)


def compiles(dtype: np.dtype, size: int, engine: str | None, rule: Rule | None = None) -> bool:
    """Whether NumPy's arrays of so many elements are stepped on, or looked at if there is no rule, by Numba."""
    engine = engine or _chosen
    if engine == "blocked" or dtype.itemsize == 2:
        return False
    return (engine == "compiled" or (size >= COMPILED_FROM and (rule is None or trace(rule).exact))) and compiled.available()
