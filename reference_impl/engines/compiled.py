"""The compiled reading: the tape printed as one loop and compiled by Numba (extra `fast`).

One pass over memory, no intermediate array. Float contraction stays off, so the result is the
plain rule's to the last bit on hardware where LLVM honours it, and to rounding everywhere.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from .tape import Rule, Symbol, trace

SIGNS = {np.add: "+", np.subtract: "-", np.multiply: "*", np.divide: "/"}


_orphaned = False


def available() -> bool:
    """Whether Numba is installed, and this process has not been forked from one whose threads it lost."""
    return _installed() and not _orphaned


@cache
def _installed() -> bool:
    return importlib.util.find_spec("numba") is not None


def _after_fork() -> None:
    global _orphaned
    _orphaned = _orphaned or bool(_loop.cache_info().currsize or _all_finite.cache_info().currsize)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@cache
def source(rule: Rule) -> tuple[str, tuple[Any, ...]]:
    """The loop's Python source, and the scalars that it takes after the arrays, in order.

    >>> def sgd(w, g, *, lr):
    ...     return w - lr * g
    >>> print(source(sgd)[0])
    def loop(w, g, s0):
        for i in prange(w.size):
            t0 = s0 * g[i]
            t1 = w[i] - t0
            w[i] = t1
    """
    tape = trace(rule)
    names: dict[Any, str] = {a: f"{a.name}[i]" for a in tape.arrays}
    scalars: list[Any] = []
    lines: list[str] = []

    def name(value: Any) -> str:
        if value not in names:  # a hyperparameter, a scalar sub-expression or a literal
            names[value] = f"s{len(scalars)}"
            scalars.append(value)
        return names[value]

    for node in (n for n in tape.nodes if not n.scalar):
        args = [name(a) for a in node.args]
        call = f" {SIGNS[node.ufunc]} ".join(args) if node.ufunc in SIGNS else f"np.{node.ufunc.__name__}({', '.join(args)})"
        names[node] = f"t{len(lines)}"
        lines.append(f"{names[node]} = {call}")
    lines.append(f"{', '.join(names[a] for a in tape.written)} = {', '.join(name(r) for r in tape.results)}")
    head = ", ".join([*(a.name for a in tape.arrays), *(f"s{i}" for i in range(len(scalars)))])
    return "\n        ".join([f"def loop({head}):\n    for i in prange(w.size):", *lines]), tuple(scalars)


@cache
def _loop(rule: Rule) -> Callable[..., None]:
    import numba

    namespace: dict[str, Any] = {"np": np, "prange": numba.prange}
    exec(source(rule)[0], namespace)
    return numba.njit(parallel=True, error_model="numpy")(namespace["loop"])


def step(rule: Rule, arrays: Sequence[np.ndarray], hyper: Mapping[str, float]) -> None:
    """Apply `rule` in place to `arrays` = (w, g, *state): one dtype, one length, one-dimensional."""
    _, wanted = source(rule)
    values, cast = trace(rule).scalars(hyper), arrays[0].dtype.type
    _loop(rule)(*arrays, *[cast(values[s] if isinstance(s, Symbol) else s) for s in wanted])


@cache
def _all_finite() -> Callable[[np.ndarray], bool]:
    import numba

    def loop(view):  # type: ignore[no-untyped-def]
        zero = view.dtype.type(0)
        total = zero
        for i in numba.prange(view.size):
            total += zero * view[i]  # 0 for a finite number, NaN for any other
        return total == zero

    return numba.njit(parallel=True, fastmath={"reassoc"})(loop)


def finite(view: np.ndarray) -> bool:
    """Whether every element of a one-dimensional view is a finite number."""
    return bool(_all_finite()(view))
