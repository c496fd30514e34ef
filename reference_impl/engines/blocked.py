"""The blocked reading: the tape replayed with `out=` in blocks that stay in cache.

NumPy alone, and no array of the parameters' size: each block's intermediate results live in
scratch that every step uses again.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Literal

import numpy as np

from . import threads
from .tape import Rule, Symbol, trace

# Large enough to hide what a call of a ufunc costs, small enough for a second-level cache.
BLOCK_BYTES = 2**19

# Arrays of fewer elements are not worth a second thread.
THREADS_FROM = 2**18

# NumPy wants `out` by its name here; elsewhere by its place, which is quicker.
KEYWORD = (np.maximum, np.minimum)

_kept = threading.local()


def flat(arrays: Sequence[np.ndarray]) -> list[np.ndarray] | None:
    """The arrays as one-dimensional views of the same order of elements, or None if there are none.

    >>> a = np.zeros((2, 3), order="F")
    >>> [view.shape for view in flat([a, a])]
    [(6,), (6,)]
    >>> flat([a, np.zeros((2, 3))]) is None
    True
    """
    if all([a.flags.c_contiguous for a in arrays]):
        return [a if a.ndim == 1 else a.reshape(-1) for a in arrays]
    if all([a.flags.f_contiguous for a in arrays]):
        return [a.T.reshape(-1) for a in arrays]
    return None


def blocks(arrays: Sequence[np.ndarray], size: int, read: int = 1) -> Iterable[Sequence[np.ndarray]]:
    """One-dimensional pieces of at most `size` elements of `arrays`; number `read` is only read."""
    views = flat(arrays)
    if views is None:
        return _copied(arrays, size, read)
    if views[0].size <= size:
        return [views]
    return ([view[start:start + size] for view in views] for start in range(0, views[0].size, size))


def _copied(arrays: Sequence[np.ndarray], size: int, read: int) -> Iterator[Sequence[np.ndarray]]:
    """Pieces that nditer copies in and, where they are written, out again."""
    access: list[list[Literal["readonly", "readwrite"]]] = [["readonly"] if i == read else ["readwrite"] for i in range(len(arrays))]
    with np.nditer(list(arrays), ["external_loop", "buffered", "zerosize_ok"], access, buffersize=size) as pieces:
        for piece in pieces:
            yield piece if isinstance(piece, tuple) else (piece,)


@cache
def source(rule: Rule) -> tuple[str, int]:
    """The Python source of the replay on one block, and how many rows of scratch it uses.

    The rule's arrays get a `_` behind their names, so that none means something else; `s0`, `s1`, … are the tape's operands, `r0`,
    `r1`, … the rows. A call writes into an array itself once nobody needs its old value.

    >>> def momentum(w, g, v, *, lr, rho):
    ...     v = rho * v + g
    ...     w = w - lr * v
    ...     return w, v
    >>> print(source(momentum)[0])
    def replay(w_, g_, v_):
        multiply(s0, v_, v_)
        add(v_, g_, v_)
        multiply(s1, v_, r0)
        subtract(w_, r0, w_)
    """
    tape = trace(rule)
    name: dict[Any, str] = {a: f"{a.name}_" for a in tape.arrays} | {a: f"s{i}" for i, a in enumerate(tape.operands)}
    born = {node: time for time, node in enumerate(tape.work)}
    dies = {a: time for time, node in enumerate(tape.work) for a in node.args} | {r: len(tape.work) for r in tape.results}
    becomes = {a: r for a, r in zip(tape.written, tape.results) if r in born}
    rows: list[str] = []
    free: list[str] = []
    lines: list[str] = []
    for time, node in enumerate(tape.work):
        done = [a for a in dict.fromkeys(node.args) if isinstance(a, Symbol) and dies[a] == time]
        homes = [a for a, r in becomes.items() if r is node and dies.get(a, -1) <= time]
        homes += [a for a in done if a in becomes and dies[node] <= born[becomes[a]]]
        args = ", ".join(name[a] for a in node.args)
        free += [name[a] for a in done if name[a] in rows]
        if homes:
            name[node] = name[homes[0]]
        else:
            if not free:
                free = [f"r{len(rows)}"]
                rows += free
            name[node] = free.pop()
        out = "out=" if node.ufunc in KEYWORD else ""
        lines.append(f"{node.ufunc.__name__}({args}, {out}{name[node]})")
    moved = [(name[a], name[r]) for a, r in zip(tape.written, tape.results) if name[a] != name[r]]
    if moved:
        lines.append(", ".join(f"{a}[...]" for a, _ in moved) + " = " + ", ".join(f"{r}.copy()" for _, r in moved))
    return "\n    ".join([f"def replay({', '.join(f'{a.name}_' for a in tape.arrays)}):", *lines]), len(rows)


class Plan:
    """What one thread needs to replay a rule in one dtype: the function, its scalars, the rows of scratch.

    The scalars are 0-d arrays of the arrays' own dtype: NumPy neither promotes nor converts them in every block.
    """

    def __init__(self, rule: Rule, dtype: np.dtype) -> None:
        tape = trace(rule)
        text, self.rows = source(rule)
        self.values, self.size = np.empty(len(tape.operands), dtype), -1
        self.names: dict[str, Any] = {node.ufunc.__name__: node.ufunc for node in tape.work}
        self.names |= {f"s{i}": self.values[i, ...] for i in range(len(self.values))}
        exec(text, self.names)
        self.replay: Callable[..., None] = self.names["replay"]

    def run(self, arrays: Sequence[np.ndarray], values: tuple[float, ...]) -> None:
        """Replay the tape on all blocks of `arrays`."""
        self.values[:] = values
        for piece in blocks(arrays, BLOCK_BYTES // self.values.itemsize):
            if piece[0].size != self.size:
                self.size = piece[0].size
                self.names |= {f"r{i}": row for i, row in enumerate(_scratch(self.rows, self.size, self.values.dtype))}
            self.replay(*piece)


def _plan(rule: Rule, dtype: np.dtype) -> Plan:
    """This thread's plan; it is kept for the next step."""
    plans: dict[tuple[Rule, np.dtype], Plan] = _kept.__dict__.setdefault("plans", {})
    key = rule, dtype
    if key not in plans:
        plans[key] = Plan(rule, dtype)
    return plans[key]


def _scratch(count: int, size: int, dtype: np.dtype) -> list[np.ndarray]:
    """`count` arrays of `size` elements, which all plans of this thread share."""
    kept: dict[np.dtype, np.ndarray] = _kept.__dict__.setdefault("scratch", {})
    have = kept.get(dtype)
    if have is None or have.shape[0] < count or have.shape[1] < size:
        most = (0, 0) if have is None else have.shape
        have = kept[dtype] = np.empty((max(count, most[0]), max(size, most[1])), dtype)
    return [row[:size] for row in have[:count]]


def step(rule: Rule, arrays: Sequence[np.ndarray], hyper: Mapping[str, float]) -> None:
    """Apply `rule` in place to `arrays` = (w, g, *state): one dtype, one shape, any layout.

    >>> def sgd(w, g, *, lr):
    ...     return w - lr * g
    >>> w = np.array([1.0, 2.0])
    >>> step(sgd, [w, np.array([10.0, 20.0])], {"lr": 0.1})
    >>> print(w)
    [0. 0.]
    """
    values, dtype = trace(rule).values(**hyper), arrays[0].dtype
    if threads.count > 1 and arrays[0].size >= THREADS_FROM and (views := flat(arrays)) is not None:
        threads.together(lambda first, last: _plan(rule, dtype).run([view[first:last] for view in views], values), views[0].size)
    else:
        _plan(rule, dtype).run(arrays, values)


def finite(array: np.ndarray) -> bool:
    """Whether every element of an array of any layout is a finite number."""
    views = flat([array])
    if views is None or array.dtype.itemsize == 2:
        return _bounded(array)
    view = views[0]
    # A sum of squares is quickest, but may overflow. Where the step has threads, not by BLAS: its own would go on spinning beside them.
    threaded = threads.count > 1 and view.size >= THREADS_FROM
    squares = np.einsum("i,i", view, view) if threaded else view.dot(view)
    return math.isfinite(squares) or _bounded(view)


def _bounded(array: np.ndarray) -> bool:
    """The same by the largest and the smallest number of each block."""
    pieces = blocks([array], BLOCK_BYTES // array.dtype.itemsize, read=0) if array.size else ()
    return all(math.isfinite(piece.max()) and math.isfinite(piece.min()) for (piece,) in pieces)
