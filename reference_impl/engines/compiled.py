"""The compiled reading: the tape printed as one loop and compiled by Numba (extra `fast`).

One pass over memory, no intermediate array. Float contraction stays off, so the result is the
plain rule's to the last bit on hardware where LLVM honours it, and to rounding everywhere.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np

from . import blocked, threads
from .tape import Rule, Tape, names_for, statements, trace

# The elements that the look for what is not finite takes at once.
BLOCK = 2**16

# Arrays of fewer elements are not worth waking other threads.
THREADS_FROM = 2**16

R = TypeVar("R")

_installed = importlib.util.find_spec("numba") is not None
_orphaned = False

# Not every threading layer of Numba bears two parallel loops at once.
_turn = threading.Lock()


def available() -> bool:
    """Whether Numba is installed, and this process has not been forked from one whose threads it lost."""
    return _installed and not _orphaned


def _after_fork() -> None:
    global _orphaned
    _orphaned = _orphaned or bool(_loop.cache_info().currsize or _squares.cache_info().currsize)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def source(rule: Rule) -> str:
    """The loop's Python source; after the arrays it takes the tape's operands, named as in blocks, as float64.

    >>> def sgd(w, g, *, lr):
    ...     return w - lr * g
    >>> print(source(sgd))
    def loop(w_, g_, lr_):
        lr_ = w_.dtype.type(lr_)
        for i in prange(w_.size):
            t0 = lr_ * g_[i]
            t1 = w_[i] - t0
            w_[i] = t1
    """
    tape = trace(rule)
    names = names_for((*tape.arrays, *tape.operands))
    head, casts = ", ".join(names.values()), [f"{names[a]} = w_.dtype.type({names[a]})" for a in tape.operands]
    names |= {a: f"{names[a]}[i]" for a in tape.arrays}
    body = statements(tape.work, names, "compiled")
    body.append(f"{', '.join(names[a] for a in tape.written)} = {', '.join(names[r] for r in tape.results)}")
    return "\n    ".join([f"def loop({head}):", *casts, "for i in prange(w_.size):", *(f"    {line}" for line in body)])


@cache
def _loop(rule: Rule, tape: Tape, parallel: bool) -> Callable[..., None]:
    """The loop, compiled; kept on disk beside the rule's module, or where Numba keeps such things."""
    import numba

    # Numba looks a compiled function up by file and name: the name tells loops apart that the file does not.
    text, file = source(rule), getattr(getattr(rule, "__code__", None), "co_filename", "<rule>")
    name = f"loop_{hashlib.sha256(f'{text} {parallel}'.encode()).hexdigest()[:16]}"
    space: dict[str, Any] = {"np": np, "prange": numba.prange if parallel else range, "__name__": rule.__module__}
    exec(compile(text.replace("loop", name, 1), file, "exec"), space)
    compiled: Callable[..., None]
    try:
        compiled = numba.njit(parallel=parallel, error_model="numpy", cache=os.path.isfile(file))(space[name])
    except RuntimeError:  # there is no folder to write to
        compiled = numba.njit(parallel=parallel, error_model="numpy")(space[name])
    return compiled


def _call(loop: Callable[[bool], Callable[..., R]], pieces: Sequence[Sequence[np.ndarray]], *numbers: float) -> list[R]:
    """Call a loop on each of some lists of arrays, serial or parallel, whichever is worth it for the longest."""
    if threads.count == 1 or max([piece[0].size for piece in pieces]) < THREADS_FROM:
        serial = loop(False)
        return [serial(*piece, *numbers) for piece in pieces]
    import numba

    with _turn:
        most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(min(threads.count, most))
        return [loop(piece[0].size >= THREADS_FROM)(*piece, *numbers) for piece in pieces]


def step(rule: Rule, arrays: Sequence[np.ndarray], hyper: Mapping[str, float]) -> None:
    """Apply `rule` in place to `arrays` = (w, g, *state): one dtype, one length, one-dimensional."""
    step_each(rule, [arrays], hyper)


def step_each(rule: Rule, pieces: Sequence[Sequence[np.ndarray]], hyper: Mapping[str, float]) -> None:
    """The same to each (w, g, *state) of some in one dtype."""
    tape = trace(rule)
    _call(partial(_loop, rule, tape), pieces, *tape.values(hyper))


@cache
def _squares(parallel: bool) -> Callable[[np.ndarray], float]:
    import numba

    indices = numba.prange if parallel else range

    def loop(view):  # type: ignore[no-untyped-def]
        total = view.dtype.type(0)
        count = -(-view.size // BLOCK)
        # From the last block to the first: the step, which begins with the first, finds in the cache what was read last.
        for i in indices(count):
            start = (count - 1 - i) * BLOCK
            block, part = view[start:start + BLOCK], view.dtype.type(0)
            quarter = block.size // 4  # from four places at once: memory answers several requests sooner than one after the other
            a, b, c, d = block[:quarter], block[quarter:2 * quarter], block[2 * quarter:3 * quarter], block[3 * quarter:4 * quarter]
            for j in range(quarter):
                part += a[j] * a[j] + b[j] * b[j] + c[j] * c[j] + d[j] * d[j]
            for j in range(4 * quarter, block.size):
                part += block[j] * block[j]
            total += part
        return total

    return numba.njit(parallel=parallel, fastmath={"reassoc"})(loop)


def finite(views: Sequence[np.ndarray], most: float = math.inf) -> bool:
    """Whether every element of one-dimensional views is a finite number, and no larger than `most`: by a sum of squares, if it does not overflow."""
    squares = sum(_call(_squares, [(view,) for view in views]))
    return (math.isfinite(squares) and squares <= most * most) or all(blocked.bounded(view, most) for view in views)
