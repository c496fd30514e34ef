"""How many threads a step may use, and the pool that they wait in."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise

from ..arrays.checks import Count, check


def available() -> int:
    """The processors of this process, or fewer where `OMP_NUM_THREADS` says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wish = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(wish)) if wish.isdecimal() and int(wish) else cores


count = available()


def set_threads(threads: int) -> None:
    """Let a step on large arrays use so many threads, 1 or more, from now on in this process.

    At first it is the number of processors, or `OMP_NUM_THREADS` if that is less. The results are the same bit for bit.
    Raises ValueError for other numbers, TypeError for what is none.

    >>> set_threads(0)
    Traceback (most recent call last):
        ...
    ValueError: threads must be a whole number from 1 up, got 0
    """
    global count
    check("threads", threads, Count())
    count = int(threads)


def together(function: Callable[[int, int], object], size: int) -> None:
    """Call `function(first, last)` on `count` even parts of `size` elements at once, and wait for all of them.

    Each part runs in a copy of the caller's context: NumPy keeps there what it does about overflow.
    """
    edges = [size * i // count for i in range(count + 1)]
    others = [_pool(count - 1).submit(contextvars.copy_context().run, function, first, last) for first, last in pairwise(edges[1:])]
    try:
        function(*edges[:2])
    finally:
        wait(others)
    for other in others:
        other.result()


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, "step")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a child has the pool, but not its threads

