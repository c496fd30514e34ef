"""The fused reading: the tape printed as the body of one CUDA kernel, for CuPy's arrays (extra `gpu`).

One launch and one pass over memory, no intermediate array. CuPy is imported when the first of its arrays comes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..arrays import on_device
from .tape import Rule, Tape, name_of, names_for, statements, trace
from .traced import Symbol

LOOKERS = 2**18  # threads that look for NaN: as many as a large card holds at once


def takes(array: object) -> bool:
    """Whether this reading is the one for an array: whether CuPy made it.

    >>> takes(np.zeros(2))
    False
    """
    return on_device(array)


def source(rule: Rule) -> str:
    """The kernel's body.

    Arrays and hyperparameters keep the rule's names and get a `_` behind them, so that none means something else in CUDA; `s0`, …
    are the other scalars, in the tape's order. `T` is the type that is computed in.

    >>> def momentum(w, g, v, *, lr, rho):
    ...     v = rho * v + (1 - rho) * g
    ...     return w - lr * v, v
    >>> print(source(momentum))
    const T t0 = rho_ * v_;
    const T t1 = s0 * g_;
    const T t2 = t0 + t1;
    const T t3 = lr_ * t2;
    const T t4 = w_ - t3;
    w_ = t4;
    v_ = t2;
    """
    tape = trace(rule)
    names = names_for((*tape.arrays, *tape.operands))
    lines = statements(tape.work, names, "fused")
    # An old array that is a result is read before any is written.
    kept: dict[Symbol, str] = {array: f"k{i}" for i, array in enumerate(tape.arrays) if array in tape.results}
    lines += [f"const T {name} = {names[array]};" for array, name in kept.items()]
    names_now = names | kept
    return "\n".join([*lines, *(f"{names[a]} = {names_now[r]};" for a, r in zip(tape.written, tape.results))])


@cache
def _kernel(rule: Rule, tape: Tape, dtype: np.dtype) -> Callable[..., None]:
    """CuPy's kernel of a rule for parameters of a dtype: it reads g and the scalars, and writes w and the state.

    In CuPy's loop each parameter is a *reference* to its array's element. So the body reads w and the state before it writes
    them, although they are handed over as outputs alone: one array given as input and output would be two references to one element.
    """
    import cupy

    half = dtype.itemsize == 2
    kind, computing = ("float16", "float32") if half else (dtype.name, dtype.name)
    w, g = ("half_w", "half_g") if half else ("w_", "g_")
    reads = [f"{kind} {g}", *(f"{computing} {name}" for name in names_for(tape.operands).values())]
    writes = [f"{kind} {w}", *(f"{computing} {name}_" for name in tape.state)]
    body = f"const T g_ = half_g;\nT w_ = half_w;\n{source(rule)}\nhalf_w = w_;" if half else source(rule)
    # The kernel waits for memory, not for arithmetic: rounding each product by itself, as NumPy does, costs no time.
    kernel: Callable[..., None] = cupy.ElementwiseKernel(
        ", ".join(reads), ", ".join(writes), body, "descent_" + re.sub(r"\W", "_", name_of(rule)), no_return=True,
        preamble=f"typedef {'double' if computing == 'float64' else 'float'} T;", options=("--fmad=false",))
    return kernel


def step(rule: Rule, arrays: Sequence[Any], hyper: Mapping[str, float]) -> None:
    """Apply `rule` in place to CuPy's `arrays` = (w, g, *state): one dtype, one shape, any layout.

    Scalars are computed on the host in float64 and cast to the dtype that is computed in, as in every reading: for w and g of float16,
    whose state is float32, that is float32.
    """
    if not arrays[0].flags.c_contiguous and all([a.flags.f_contiguous for a in arrays]):
        arrays = [a.T for a in arrays]  # the same elements in the order in which they lie
    w, g, *state = arrays
    tape = trace(rule)
    number = np.float64 if w.dtype.itemsize == 8 else np.float32
    _kernel(rule, tape, w.dtype)(g, *map(number, tape.values(hyper)), w, *state)


@cache
def _look() -> Callable[..., None]:
    import cupy

    # A thread for every number is slow: each waits for one load. A thread with many has several on their way at once.
    body = """bool bad = false;
    for (ptrdiff_t j = i; j < x.size(); j += _ind.size()) bad |= !isfinite(x[j]) || x[j] > most || x[j] < -most;
    if (bad) found[0] = true;"""
    kernel: Callable[..., None] = cupy.ElementwiseKernel("raw T x, T most", "raw bool found", body, "descent_not_finite", no_return=True)
    return kernel


def finite(arrays: Sequence[Any], most: float = math.inf) -> bool:
    """Whether every element of CuPy's arrays is a finite number, and no larger than `most`: one byte of memory, and one wait for the device."""
    found = np.zeros(1, bool, like=arrays[0])
    for array in arrays:
        _look()(array, array.dtype.type(most), found, size=min(array.size, LOOKERS))
    return not found
