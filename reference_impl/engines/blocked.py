"""The blocked reading: the tape replayed with `out=` in blocks that stay in cache.

NumPy alone, and no array of the parameters' size: each block's intermediate results live in
scratch that every step uses again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from .tape import Rule, Symbol, Tape, trace

# Large enough to hide what a call of a ufunc costs, small enough for a second-level cache.
BLOCK_BYTES = 2**19

_scratch = threading.local()


def flat(arrays: Sequence[np.ndarray]) -> list[np.ndarray] | None:
    """The arrays as one-dimensional views of the same order of elements, or None if there are none.

    >>> a = np.zeros((2, 3), order="F")
    >>> [view.shape for view in flat([a, a])]
    [(6,), (6,)]
    >>> flat([a, np.zeros((2, 3))]) is None
    True
    """
    if all([a.flags.c_contiguous for a in arrays]):
        return [a.reshape(-1) for a in arrays]
    if all([a.flags.f_contiguous for a in arrays]):
        return [a.T.reshape(-1) for a in arrays]
    return None


def blocks(arrays: Sequence[np.ndarray], size: int, read: int = 1) -> Iterator[tuple[np.ndarray, ...]]:
    """One-dimensional pieces of at most `size` elements of `arrays`; number `read` is only read."""
    views = flat(arrays)
    if views is None:  # nditer copies each piece in and, where it is written, out again
        access = [["readonly"] if i == read else ["readwrite"] for i in range(len(arrays))]
        with np.nditer(list(arrays), ["external_loop", "buffered", "zerosize_ok"], access,  # type: ignore[arg-type]
                       buffersize=size) as pieces:
            for piece in pieces:
                yield piece if isinstance(piece, tuple) else (piece,)
    elif views[0].size <= size:
        yield tuple(views)
    else:
        for start in range(0, views[0].size, size):
            yield tuple(view[start:start + size] for view in views)


class Plan:
    """A tape as calls `ufunc(*in, out)` on numbered slots: the arrays, the scalars, rows of scratch.

    A call writes into an array itself once nobody needs its old value.
    """

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        work = [node for node in tape.nodes if not node.scalar]
        used = dict.fromkeys(a for node in work for a in node.args) | dict.fromkeys(tape.results)
        self.scalars = [a for a in used if not isinstance(a, Symbol) or a.scalar]
        slot: dict[Any, int] = {a: i for i, a in enumerate((*tape.arrays, *self.scalars))}
        first_row = len(slot)

        born = {node: time for time, node in enumerate(work)}
        dies = {a: time for time, node in enumerate(work) for a in node.args} | {r: len(work) for r in tape.results}
        becomes = {a: r for a, r in zip(tape.written, tape.results) if r in born}
        free: list[int] = []
        self.rows, self.calls = 0, []
        for time, node in enumerate(work):
            done = [a for a in dict.fromkeys(node.args) if isinstance(a, Symbol) and dies[a] == time]
            homes = [a for a, r in becomes.items() if r is node and dies.get(a, -1) <= time]
            homes += [a for a in done if a in becomes and dies[node] <= born[becomes[a]]]
            free += [slot[a] for a in done if slot[a] >= first_row]
            if homes:
                slot[node] = slot[homes[0]]
            elif free:
                slot[node] = free.pop()
            else:
                slot[node] = first_row + self.rows
                self.rows += 1
            self.calls.append((node.ufunc, [slot[a] for a in node.args], slot[node]))
        self.copies = [(slot[a], slot[r]) for a, r in zip(tape.written, tape.results) if slot[a] != slot[r]]

    def run(self, slots: Sequence[np.ndarray]) -> None:
        """Replay the tape on one block."""
        for ufunc, args, out in self.calls:
            ufunc(*[slots[i] for i in args], slots[out])
        if self.copies:
            sources = [slots[source].copy() for _, source in self.copies]
            for (target, _), source in zip(self.copies, sources):
                np.copyto(slots[target], source)


@cache
def _plan(rule: Rule) -> Plan:
    return Plan(trace(rule))


def _rows(count: int, size: int, dtype: np.dtype) -> list[np.ndarray]:
    """`count` scratch arrays of `size` elements, kept by this thread for the next step."""
    kept: dict[tuple[int, np.dtype], np.ndarray] = _scratch.__dict__.setdefault("kept", {})
    have = kept.get((count, dtype))
    if have is None or have.shape[1] < size:
        have = kept[count, dtype] = np.empty((count, size), dtype)
    return [row[:size] for row in have]


def step(rule: Rule, arrays: Sequence[np.ndarray], hyper: Mapping[str, float]) -> None:
    """Apply `rule` in place to `arrays` = (w, g, *state): one dtype, one shape, any layout.

    >>> def sgd(w, g, *, lr):
    ...     return w - lr * g
    >>> w = np.array([1.0, 2.0])
    >>> step(sgd, [w, np.array([10.0, 20.0])], {"lr": 0.1})
    >>> print(w)
    [0. 0.]
    """
    plan, dtype = _plan(rule), arrays[0].dtype
    values = plan.tape.scalars(hyper)
    # 0-d arrays of the arrays' own dtype: NumPy neither promotes nor converts them in every block.
    scalars = [np.asarray(values.get(s, s), dtype) for s in plan.scalars]
    size = min(arrays[0].size, BLOCK_BYTES // dtype.itemsize)
    scratch = _rows(plan.rows, size, dtype)
    for piece in blocks(arrays, size):
        short = len(piece[0]) < size
        plan.run([*piece, *scalars, *([row[:len(piece[0])] for row in scratch] if short else scratch)])
