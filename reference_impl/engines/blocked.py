"""The blocked reading: the tape replayed with `out=` in blocks that stay in cache.

NumPy alone, and no array of the parameters' size: each block's intermediate results live in
scratch that every step uses again.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from . import threads
from .operations import OPERATIONS
from .tape import Rule, Tape, names_for, statements, trace
from .traced import Argument, Node, Symbol

# Large enough to hide what a call of a ufunc costs, small enough for a second-level cache; a block has up to twice as many.
BLOCK_BYTES = 2**18

# Fewer operations on elements are not worth a second thread.
THREADS_FROM = 2**22

# So many operations has a long rule.
MANY = 16

SINGLE = np.dtype(np.float32)


def flat(arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray] | None:
    """The arrays as contiguous one-dimensional views of the same order of elements, or None if there are none.

    >>> a = np.zeros((2, 3), order="F")
    >>> [view.shape for view in flat([a, a])]
    [(6,), (6,)]
    >>> flat([a, np.zeros((2, 3))]) is None
    True
    """
    for a in arrays:
        if a.ndim != 1 or not a.flags.c_contiguous:
            break
    else:
        return arrays
    if all([a.flags.c_contiguous for a in arrays]):
        return [a.reshape(-1) for a in arrays]
    if all([a.flags.f_contiguous for a in arrays]):
        return [a.T.reshape(-1) for a in arrays]
    return None


def blocks(arrays: Sequence[np.ndarray], size: int, read: int = 1, dtype: np.dtype | None = None) -> Iterable[Sequence[np.ndarray]]:
    """One-dimensional pieces of `arrays`, copied into `dtype` if it is given; number `read` is only read.

    They are even, of `size` elements or more where there are so many, and of fewer than twice that.
    """
    if arrays[0].ndim == 1 and arrays[0].size < 2 * size and dtype is None:
        return [arrays]
    views = flat(arrays)
    if views is None or dtype is not None:
        return _copied(views or arrays, size, read, dtype)
    count = views[0].size // size
    if count <= 1:
        return [views]
    size = -(-views[0].size // count)
    return ([view[start:start + size] for view in views] for start in range(0, views[0].size, size))


def _copied(arrays: Sequence[np.ndarray], size: int, read: int, dtype: np.dtype | None) -> Iterator[Sequence[np.ndarray]]:
    """Pieces that nditer copies in, where they are not as they should be, and, where they are written, out again."""
    access: list[list[Literal["readonly", "readwrite"]]] = [["readonly"] if i == read else ["readwrite"] for i in range(len(arrays))]
    with np.nditer(list(arrays), ["external_loop", "buffered", "zerosize_ok"], access, op_dtypes=[dtype] * len(arrays), casting="same_kind",
                   buffersize=size) as pieces:
        for piece in pieces:
            yield piece if isinstance(piece, tuple) else (piece,)


def source(rule: Rule) -> tuple[str, int]:
    """The Python source of the replay on one block, and how many rows of scratch it uses.

    The rule's arguments get a `_` behind their names, so that none means something else; `s0`, `s1`, … are other numbers, computed once
    a step, `r0`, `r1`, … the rows. A call writes into an array itself once nobody needs its old value.

    >>> def momentum(w, g, v, *, lr, rho):
    ...     v = rho * v + g
    ...     w = w - lr * v
    ...     return w, v
    >>> print(source(momentum)[0])
    def replay(w_, g_, v_, rho_, lr_, r0):
        multiply(rho_, v_, v_)
        add(v_, g_, v_)
        multiply(lr_, v_, r0)
        subtract(w_, r0, w_)
    """
    tape = trace(rule)
    names, rows = _homes(tape)
    head = ", ".join([*(names[a] for a in (*tape.arrays, *tape.operands)), *rows])
    lines = statements(tape.work, names, "blocked")
    moved = [(names[a], names[r]) for a, r in zip(tape.written, tape.results) if names[a] != names[r]]
    if moved:
        lines.append(", ".join(f"{a}[...]" for a, _ in moved) + " = " + ", ".join(f"{r}.copy()" for _, r in moved))
    return "\n    ".join([f"def replay({head}):", *(lines or ["pass"])]), len(rows)


def _homes(tape: Tape) -> tuple[dict[Symbol, str], list[str]]:
    """Where each value of the tape is written, and the rows of scratch that that takes."""
    names = names_for((*tape.arrays, *tape.operands))
    born = {node: time for time, node in enumerate(tape.work)}
    dies: dict[Symbol, int] = {a: time for time, node in enumerate(tape.work) for a in node.args}
    dies |= dict.fromkeys(tape.results, len(tape.work))
    becomes = {a: r for a, r in zip(tape.written, tape.results) if isinstance(r, Node)}
    rows: list[str] = []
    free: list[str] = []
    for time, node in enumerate(tape.work):
        done = [a for a in dict.fromkeys(node.args) if not a.scalar and dies[a] == time]
        homes: list[Symbol] = [a for a, r in becomes.items() if r is node and dies.get(a, -1) <= time]
        homes += [a for a in done if isinstance(a, Argument) and a in becomes and dies[node] <= born[becomes[a]]]
        free += [names[a] for a in done if names[a] in rows]
        if homes:
            names[node] = names[homes[0]]
        else:
            if not free:
                free = [f"r{len(rows)}"]
                rows += free
            names[node] = free.pop()
    return names, rows


class Plan:
    """What one thread needs to replay a rule in one dtype: the function, its numbers, rows of scratch as long as the longest block so far.

    The numbers are arrays without axes: NumPy neither promotes nor converts them in every block.
    """

    def __init__(self, rule: Rule, tape: Tape, dtype: np.dtype) -> None:
        text, count = source(rule)
        space: dict[str, Any] = {ufunc.__name__: ufunc for ufunc in OPERATIONS}
        exec(text, space)
        self.replay: Callable[..., None] = space["replay"]
        self.copied = SINGLE if dtype.itemsize == 2 else None
        self.values = np.empty(len(tape.operands), self.copied or dtype)
        self.operands = [self.values[i, ...] for i in range(len(tape.operands))]
        self.scratch, self.size = np.empty((count, 0), self.values.dtype), -1

    def run(self, arrays: Sequence[np.ndarray], values: tuple[float, ...]) -> None:
        """Replay the rule on all blocks of `arrays`."""
        self.values[:] = values
        for piece in blocks(arrays, BLOCK_BYTES // self.values.itemsize, dtype=self.copied):
            if piece[0].size != self.size:
                self.size = piece[0].size
                if self.size > self.scratch.shape[1]:
                    self.scratch = np.empty((len(self.scratch), self.size), self.scratch.dtype)
                self.beside = *self.operands, *self.scratch[:, :self.size]
            self.replay(*piece, *self.beside)


def _plan(rule: Rule, tape: Tape, dtype: np.dtype) -> Plan:
    """This thread's plan; the tape keeps it for the next step."""
    plan: Plan | None = getattr(tape.kept, dtype.char, None)
    if plan is None:
        plan = Plan(rule, tape, dtype)
        setattr(tape.kept, dtype.char, plan)
    return plan


def step(rule: Rule, arrays: Sequence[np.ndarray], hyper: Mapping[str, float]) -> None:
    """Apply `rule` in place to `arrays` = (w, g, *state): one dtype, one shape, any layout.

    With w and g of float16 the state is float32, and so is all that is computed; the new w is rounded once.

    >>> def sgd(w, g, *, lr):
    ...     return w - lr * g
    >>> w = np.array([1.0, 2.0])
    >>> step(sgd, [w, np.array([10.0, 20.0])], {"lr": 0.1})
    >>> print(w)
    [0. 0.]
    """
    tape, dtype = trace(rule), arrays[0].dtype
    values = tape.values(hyper)
    if threads.count > 1 and arrays[0].size * len(tape.work) >= THREADS_FROM and (views := flat(arrays)) is not None:
        threads.together(lambda first, last: _plan(rule, tape, dtype).run([view[first:last] for view in views], values), views[0].size)
    else:
        _plan(rule, tape, dtype).run(arrays, values)


def finite(array: np.ndarray, most: float = math.inf) -> bool:
    """Whether every element of an array of any layout is a finite number, and no larger than `most`."""
    views = [array] if array.ndim == 1 else flat([array])
    if views is None or array.dtype.itemsize == 2:
        return bounded(array, most)
    view = views[0]
    # A sum of squares is quickest, but may overflow. Where the step has threads, not by BLAS: its own would go on spinning beside them.
    threaded = threads.count > 1 and view.size * MANY >= THREADS_FROM
    squares = float(np.einsum("i,i", view, view) if threaded else view.dot(view))
    return (squares < math.inf and squares <= most * most) or bounded(view, most)


def bounded(array: np.ndarray, most: float) -> bool:
    """The same by the largest and the smallest number of each block."""
    pieces = blocks([array], BLOCK_BYTES // array.dtype.itemsize, read=0) if array.size else ()
    most = min(most, sys.float_info.max)
    return all(-most <= float(piece.min()) and float(piece.max()) <= most for (piece,) in pieces)
