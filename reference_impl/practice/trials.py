"""Trials: run here or by any executor, and kept in a log to go on from.

What [`search`][reference_impl.practice.search.search] is made of; its chapter is that on [search][search].
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO

import numpy as np

Setting = Mapping[str, Any]
Objective = Callable[[Setting, np.random.Generator], float]


@dataclass(frozen=True)
class Trial:
    """One setting and what came of it: its `value`, NaN where it failed, and then the `error`."""

    index: int
    setting: dict[str, Any]
    value: float
    error: str = ""


def _attempt(objective: Objective, setting: dict[str, Any], seed: int, index: int) -> tuple[float, str]:
    """What a worker does: the value, or the error that the objective raised."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))  # a stream apart from default_rng(seed)
    try:
        return float(objective(dict(setting), rng)), ""
    except (Exception, SystemExit) as error:
        return math.nan, f"{type(error).__name__}: {error}"


class Lost(Exception):
    """The executor did not bring a trial back; the cause says why."""


# More than any cluster has workers, and few enough to hold in memory.
_IN_FLIGHT = 10_000


def outcomes(executor: Executor | None, objective: Objective, settings: Sequence[dict[str, Any]], seed: int,
             left: Iterable[int]) -> Generator[Trial, None, None]:
    """The trials of the settings whose indices are `left`, each as it ends; without an executor they run here, one by one.

    When the executor breaks down, it still gives those that come back, and then raises Lost. Dask gives a trial up when several
    workers died with it in hand, by its fault or not: it is run once more, and if that ends the same way it has failed.
    """
    if executor is None:
        for i in left:
            yield Trial(i, settings[i], *_attempt(objective, settings[i], seed, i))
        return
    waiting, running = deque(left), dict[Future[tuple[float, str]], int]()
    ended = SimpleQueue[Future[tuple[float, str]]]()
    suspected: set[int] = set()
    lost: Exception | None = None
    try:
        while running or (waiting and not lost):
            while waiting and not lost and len(running) < _IN_FLIGHT:
                i = waiting.popleft()
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
                waiting.append(i)
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


class Log:
    """A line of JSON that says which search this is, then one for each finished trial; of two for one trial the later counts.

    It may be the file of a search of the first few of `settings`. A line that is damaged, was cut short or has another setting
    counts as not there. A crash of the program costs no line, one of the machine those of the last second.
    """

    def __init__(self, path: str | os.PathLike[str] | None, objective: Objective, settings: Sequence[dict[str, Any]], seed: int) -> None:
        self.done: dict[int, Trial] = {}
        self.stream: BinaryIO | None = None
        self.synced = -math.inf
        if path is None:
            return
        head = _head(objective, settings, seed)
        content = Path(path).read_bytes() if Path(path).exists() else b""
        whole = content[:content.rfind(b"\n") + 1]
        first, *lines = (whole or content).decode(errors="replace").splitlines() or [""]
        if first not in (head, _head(objective, settings[:_trials_of(first)], seed)) if whole else not head.startswith(first):
            raise ValueError(f"log must be a file of this search, {head}, got {os.fspath(path)}, which begins {first[:120]!r}")
        for line in lines:
            with suppress(ValueError, TypeError, KeyError, IndexError):
                row = json.loads(line)
                index, value, error = row["index"], row["value"], row["error"]
                if index in range(len(settings)) and _said(settings[index]) == _said(row["setting"]):
                    self.done[index] = Trial(index, settings[index], math.nan if value is None else float(value), error)
        self.stream = Path(path).open("ab")  # noqa: SIM115 (closed with the log)
        self.stream.truncate(len(whole))
        if not whole:
            self._write(head)

    def add(self, trial: Trial) -> None:
        if self.stream is not None:
            value = None if math.isnan(trial.value) else trial.value
            row = {"index": trial.index, "setting": trial.setting, "value": value, "error": trial.error}
            self._write(json.dumps(row, default=_plain))

    def _write(self, line: str) -> None:
        assert self.stream is not None
        self.stream.write(line.encode() + b"\n")
        self.stream.flush()
        if time.monotonic() > self.synced + 1:  # takes milliseconds: as long as many a trial
            self._sync()

    def _sync(self) -> None:
        assert self.stream is not None
        os.fsync(self.stream.fileno())
        self.synced = time.monotonic()

    def close(self) -> None:
        if self.stream is not None:
            self._sync()
            self.stream.close()


def _head(objective: Objective, settings: Sequence[dict[str, Any]], seed: int) -> str:
    """The first line of a search's log."""
    digest = hashlib.sha256(json.dumps(settings, default=_plain, sort_keys=True).encode()).hexdigest()
    name = getattr(objective, "__qualname__", type(objective).__qualname__)
    return json.dumps({"objective": name, "trials": len(settings), "settings": digest[:16], "seed": int(seed)})


def _trials_of(head: str) -> int:
    """How many trials a log's first line speaks of; 0 when it is none."""
    with suppress(ValueError, TypeError, KeyError):
        trials = json.loads(head)["trials"]
        return trials if isinstance(trials, int) else 0
    return 0


def _said(setting: Mapping[str, Any]) -> str:
    """A setting as a log says it."""
    return json.dumps(json.loads(json.dumps(setting, default=_plain)), sort_keys=True)


def _plain(value: Any) -> Any:
    """A setting's value for a log: the same in every process, or TypeError."""
    if isinstance(value, np.generic | np.ndarray) and not isinstance(value, np.longdouble):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    said = f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else repr(value)
    if "<lambda>" in said or re.search(r" at 0x[0-9a-fA-F]+", said):
        raise TypeError(f"settings must hold numbers, strings or what has a name or a repr of its own, for a log, got {value!r}")
    return said


