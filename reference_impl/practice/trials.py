"""Trials: run here or by any executor.

What [`search`][reference_impl.practice.search.search] is made of; its chapter is that on [search][search].
"""

from __future__ import annotations

import copy
import math
import numbers
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

import numpy as np

from ..arrays.checks import Count, Flag, Function, Instance, Optional, Real, check, checked, shown

Setting = Mapping[str, Any]
Objective = Callable[[Setting, np.random.Generator], float]

OBJECTIVE = Function("a setting and a generator")
EXECUTOR = Optional(Instance(Executor, words="a concurrent.futures.Executor (Dask: client.get_executor())"))


@dataclass(frozen=True)
class Trial:
    """One setting and what came of it: its `value`, NaN where it failed, and then the `error`.

    `traceback` says where it was raised, its last ten calls, in 4,000 characters at most; `maximize`, whether the search wants large
    values. Both are left out of what is printed and compared. Raises TypeError or ValueError for what none of these can be.

    >>> Trial(0, {"lr": 0.1}, 2.5)
    Trial(index=0, setting={'lr': 0.1}, value=2.5, error='')
    """

    index: int
    setting: Setting
    value: float
    error: str = ""
    traceback: str = field(default="", repr=False, compare=False)
    maximize: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check("index", self.index, Count(0))
        check("setting", self.setting, Instance(Mapping, words="a mapping of names to values"))
        if not (isinstance(self.value, numbers.Real) and self.value != self.value):
            check("value", self.value, Real(infinite=True))
        for name, text in (("error", self.error), ("traceback", self.traceback)):
            check(name, text, Instance(str, words="a string"))
        check("maximize", self.maximize, Flag())


Outcome = tuple[float, str, str]


def _attempt(objective: Objective, setting: Setting, seed: int, index: int) -> Outcome:
    """What a worker does: the value, or the error that the objective raised and its traceback."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))  # a stream apart from default_rng(seed)
    try:
        return _number(objective(_copied(setting), rng)), "", ""
    except (Exception, SystemExit) as error:
        try:
            said = f"{type(error).__name__}: {error}"
        except Exception:  # one that cannot say what it is
            said = type(error).__name__
        return math.nan, said if len(said) <= 1000 else f"{said[:997]}...", traceback.format_exc(limit=-10)[-4000:]


def _copied(setting: Setting) -> dict[str, Any]:
    """A setting for the objective to change as it likes: other trials may have the same list in theirs."""
    try:
        return copy.deepcopy(dict(setting))
    except Exception:  # what cannot be copied, as a module, is shared
        return dict(setting)


def _number(value: object) -> float:
    try:
        if not isinstance(value, str | bytes):
            return float(value)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise TypeError(f"objective must return a number, got {shown(value)}")


class Lost(Exception):
    """The executor did not bring a trial back; the cause says why."""


# More than any cluster has workers, and few enough to hold in memory.
_IN_FLIGHT = 10_000


@checked(executor=EXECUTOR, objective=OBJECTIVE, settings=Instance(Sequence, words="a sequence of mappings"), seed=Count(0),
         left=Instance(Iterable, words="the indices of settings"))
def outcomes(executor: Executor | None, objective: Objective, settings: Sequence[Setting], seed: int,
             left: Iterable[int]) -> Generator[Trial, None, None]:
    """The trials of the settings whose indices are `left`, each as it ends; without an executor they run here, one by one.

    An index is taken from `left` when its trial can begin. When the executor breaks down, it still gives those that come back, and then
    raises Lost. Dask gives a trial up when several workers died with it in hand, by its fault or not: it is run once more, and if that
    ends the same way it has failed.

    >>> [trial.value for trial in outcomes(None, lambda setting, rng: 2 * setting["a"], [{"a": 1}, {"a": 2}], seed=0, left=[1, 0])]
    [4.0, 2.0]
    """
    if executor is None:
        for i in left:
            yield Trial(i, settings[i], *_attempt(objective, settings[i], seed, i))
        return
    fresh, again, running = iter(left), deque[int](), dict[Future[Outcome], int]()
    ended = SimpleQueue[Future[Outcome]]()
    suspected: set[int] = set()
    lost: Exception | None = None
    try:
        while True:
            while lost is None and len(running) < _IN_FLIGHT:
                if (i := next(fresh, -1)) < 0:
                    if not again:
                        break
                    i = again.popleft()
                try:
                    future = executor.submit(_attempt, objective, settings[i], seed, i)
                except Exception as error:
                    lost = error
                else:
                    running[future] = i
                    future.add_done_callback(ended.put)
            if not running:
                break
            future = ended.get()
            i = running.pop(future)
            failure = CancelledError("cancelled") if future.cancelled() else future.exception()
            if failure is None:
                yield Trial(i, settings[i], *future.result())
            elif type(failure).__name__ == "KilledWorker" and i in suspected:
                yield Trial(i, settings[i], math.nan, f"KilledWorker: {failure}")
            elif type(failure).__name__ == "KilledWorker":
                suspected.add(i)
                again.append(i)
            elif not isinstance(failure, Exception):  # an interrupt
                raise failure
            elif lost is None:
                lost = failure
                for other in list(running):
                    other.cancel()
        if lost is not None:
            raise Lost(f"the executor broke down ({type(lost).__name__}: {lost}); a worker may have died, or objective and setting "
                       "could not be pickled for it") from lost
    finally:
        for future in running:
            future.cancel()
