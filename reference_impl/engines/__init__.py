"""How a rule is read: one tape, many readings. This package knows no chapter.

`blocked` (NumPy, the default), `compiled` (Numba, extra `fast`), `symbolic` (SymPy). A reading on
another array library is one more module with the same `step(rule, arrays, hyper)`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..arrays import namespace
from . import blocked, compiled, whole
from .tape import Rule

# Below this many elements a step is too short to repay a second of compilation.
COMPILED_FROM = 2**18


def step(rule: Rule, arrays: Sequence[Any], hyper: Mapping[str, float]) -> None:
    """Apply `rule` in place to `arrays` = (w, g, *state) by the fastest reading at hand.

    Large contiguous arrays go to `compiled` where Numba is installed, everything else to
    `blocked`. The two agree to rounding.
    """
    if not isinstance(arrays[0], np.ndarray):
        whole.step(rule, arrays, hyper)
    elif _compiles(arrays[0]) and (views := blocked.flat(arrays)) is not None:
        compiled.step(rule, views, hyper)
    else:
        blocked.step(rule, arrays, hyper)


def finite(array: Any) -> bool:
    """Whether every element is a finite number; allocates nothing of the array's size.

    >>> finite(np.array([1.0, 2.0])), finite(np.array([1.0, np.nan]))
    (True, False)
    """
    if not isinstance(array, np.ndarray):
        xp = namespace(array)
        return bool(xp.all(xp.isfinite(array)))
    views = blocked.flat([array])
    if views is not None and _compiles(array):
        return compiled.finite(views[0])
    if views is not None and array.dtype != np.float16:
        with np.errstate(all="ignore"):
            if math.isfinite(np.dot(views[0], views[0])):
                return True  # else a square may just have overflowed: look at each element
    size = blocked.BLOCK_BYTES // array.dtype.itemsize
    return all(np.isfinite(piece).all() for (piece,) in blocked.blocks([array], size, read=0))


def _compiles(array: np.ndarray) -> bool:
    return array.size >= COMPILED_FROM and array.dtype.itemsize in (4, 8) and compiled.available()
