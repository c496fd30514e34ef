"""The fused reading: the tape printed as the body of one CUDA kernel, for CuPy's arrays (extra `gpu`).

One launch and one pass over memory, no intermediate array. CuPy is imported when the first of its arrays comes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..arrays import on_device
from .tape import Rule, Symbol, Tape, trace

# C++ for arguments of the arrays' type T, which alone decides which overload is called: the sqrt of a float is a float.
EXPRESSIONS: dict[np.ufunc, str] = {
    np.add: "{} + {}",
    np.subtract: "{} - {}",
    np.multiply: "{} * {}",
    np.divide: "{} / {}",
    np.negative: "-{}",
    np.positive: "{}",
    np.square: "{0} * {0}",
    np.reciprocal: "T(1) / {}",
    np.power: "pow({}, {})",
    np.absolute: "fabs({})",
    np.fabs: "fabs({})",
    np.sign: "{0} > T(0) ? T(1) : {0} < T(0) ? T(-1) : {0} == T(0) ? T(0) : {0}",
    np.maximum: "{0} >= {1} || {0} != {0} ? {0} : {1}",  # a NaN on either side comes out, as C's fmax would not have it
    np.minimum: "{0} <= {1} || {0} != {0} ? {0} : {1}",
    np.arctan: "atan({})",
} | {function: f"{function.__name__}({{}})" for function in (
    np.sqrt, np.cbrt, np.exp, np.exp2, np.expm1, np.log, np.log1p, np.log2, np.log10, np.sin, np.cos, np.tan, np.sinh, np.cosh, np.tanh,
    np.floor, np.ceil, np.trunc, np.rint)} | {function: f"{function.__name__}({{}}, {{}})" for function in (
        np.fmax, np.fmin, np.hypot, np.copysign)}

LOOKERS = 2**18  # threads that look for NaN: as many as a large card holds at once


def takes(array: Any) -> bool:
    """Whether this reading is the one for an array: whether CuPy made it.

    >>> takes(np.zeros(2))
    False
    """
    return on_device(array)


@cache
def source(rule: Rule) -> str:
    """The kernel's body.

    Arrays and hyperparameters keep the rule's names and get a `_` behind them, so that none means something else in CUDA; `s0`, …
    are the other scalars, in the tape's order. Raises TypeError for a rule with a ufunc that cannot be printed.

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
    name: dict[Any, str] = {a: f"{a.name}_" for a in tape.arrays} | _scalars(tape)
    lines: list[str] = []

    def keep(expression: str) -> str:
        lines.append(f"const T t{len(lines)} = {expression};")
        return f"t{len(lines) - 1}"

    for node in tape.work:
        if node.ufunc not in EXPRESSIONS:
            raise TypeError(f"rule {rule.__name__} must call ufuncs that CUDA has too, got {node.ufunc.__name__}")
        name[node] = keep(EXPRESSIONS[node.ufunc].format(*[name[a] for a in node.args]))
    # A result that is an old array is read before any array is written.
    results = [keep(name[r]) if isinstance(r, Symbol) and r in tape.arrays else name[r] for r in tape.results]
    return "\n".join([*lines, *(f"{name[a]} = {result};" for a, result in zip(tape.written, results))])


def _scalars(tape: Tape) -> dict[Any, str]:
    """The names of the operands that are no arrays."""
    nameless = itertools.count()
    return {a: f"{a.name}_" if isinstance(a, Symbol) and a.name else f"s{next(nameless)}" for a in tape.operands}


@cache
def _kernel(rule: Rule) -> Any:
    """CuPy's kernel of a rule: it reads g and the scalars, and writes w and the state.

    In CuPy's loop each parameter is a *reference* to its array's element. So the body reads w and the state before it writes
    them, although they are handed over as outputs alone: one array given as input and output would be two references to one element.
    """
    import cupy

    tape = trace(rule)
    w, g, *state = (f"T {a.name}_" for a in tape.arrays)
    scalars = [f"T {name}" for name in _scalars(tape).values()]
    # The kernel waits for memory, not for arithmetic: rounding each product by itself, as NumPy does, costs no time.
    return cupy.ElementwiseKernel(", ".join([g, *scalars]), ", ".join([w, *state]), source(rule),
                                  "descent_" + re.sub(r"\W", "_", rule.__name__), no_return=True, options=("--fmad=false",))


def step(rule: Rule, arrays: Sequence[Any], hyper: Mapping[str, float]) -> None:
    """Apply `rule` in place to CuPy's `arrays` = (w, g, *state): one dtype, one shape, any layout.

    Scalars are computed on the host in float64 and cast to the arrays' dtype, as in every reading.
    """
    if not arrays[0].flags.c_contiguous and all([a.flags.f_contiguous for a in arrays]):
        arrays = [a.T for a in arrays]  # the same elements in the order in which they lie
    w, g, *state = arrays
    _kernel(rule)(g, *map(w.dtype.type, trace(rule).values(**hyper)), w, *state)


@cache
def _look() -> Any:
    import cupy

    # A thread for every number is slow: each waits for one load. A thread with many has several on their way at once.
    body = """bool bad = false;
    for (ptrdiff_t j = i; j < x.size(); j += _ind.size()) bad |= !isfinite(x[j]);
    if (bad) found[0] = true;"""
    return cupy.ElementwiseKernel("raw T x", "raw bool found", body, "descent_not_finite", no_return=True)


def finite(arrays: Sequence[Any]) -> bool:
    """Whether every element of CuPy's arrays is a finite number: one byte of memory, and one wait for the device."""
    found = np.zeros(1, bool, like=arrays[0])
    for array in arrays:
        _look()(array, found, size=min(array.size, LOOKERS))
    return not found
