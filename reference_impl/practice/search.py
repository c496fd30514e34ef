"""Search for hyperparameters: grid, random and coarse to fine, on one core or many machines.

Derived in the chapter on [search][search].
"""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..progress import bar

Setting = Mapping[str, Any]
Objective = Callable[[Setting, np.random.Generator], float]


@dataclass(frozen=True)
class Uniform:
    """Any number from `low` to `high`, all equally likely. Raises ValueError unless low < high, both finite.

    >>> Uniform(0, 10).at(0.25)
    2.5
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"low and high must be finite and rise, got {self.low!r} and {self.high!r}")

    def at(self, share: float) -> float:
        """The number that has `share` of the distribution below it."""
        return float(self.low + share * (self.high - self.low))

    def narrowed(self, values: Sequence[float], margin: float) -> Uniform:
        """The span of `values`, with `margin` of this one's width on either side, inside this one."""
        room = margin * (self.high - self.low)
        return Uniform(max(self.low, min(values) - room), min(self.high, max(values) + room))


@dataclass(frozen=True)
class LogUniform:
    """A number from `low` to `high` whose logarithm is uniform: every decade equally likely. Raises ValueError unless 0 < low < high.

    >>> round(LogUniform(1e-4, 1).at(0.5), 12)
    0.01
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high < math.inf:
            raise ValueError(f"low and high must be positive and finite and rise, got {self.low!r} and {self.high!r}")

    def at(self, share: float) -> float:
        """The number that has `share` of the distribution below it."""
        exponent = Uniform(math.log(self.low), math.log(self.high)).at(share)
        return min(max(math.exp(exponent), self.low), self.high)

    def narrowed(self, values: Sequence[float], margin: float) -> LogUniform:
        """The span of `values`, with `margin` of this one's width on either side, both on the logarithmic scale."""
        room = (self.high / self.low) ** margin
        return LogUniform(max(self.low, min(values) / room), min(self.high, max(values) * room))


@dataclass(frozen=True)
class Choice:
    """One of some `values`, all equally likely. Raises ValueError when there is none.

    >>> Choice(["relu", "tanh"]).at(0.7)
    'tanh'
    """

    values: Sequence[Any]

    def __post_init__(self) -> None:
        if not len(self.values):
            raise ValueError("values must hold at least one value, got none")

    def at(self, share: float) -> Any:
        """The value at `share` of the row."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def narrowed(self, values: Sequence[Any], margin: float) -> Choice:
        """Those of the values that occur."""
        return Choice([value for value in self.values if value in values])


Space = Mapping[str, Uniform | LogUniform | Choice]


def grid(space: Space, points: int) -> list[dict[str, Any]]:
    """Every combination of `points` values on each axis, ends included, evenly spaced in its distribution; a choice has all its values.

    Raises ValueError when `points` < 1.

    >>> [setting["lr"] for setting in grid({"lr": LogUniform(0.01, 1)}, 3)]
    [0.01, 0.1, 1.0]
    """
    _at_least_one(points=points)
    shares = np.linspace(0, 1, points) if points > 1 else np.array([0.5])
    axes = [list(axis.values) if isinstance(axis, Choice) else [_rounded(axis.at(share)) for share in shares] for axis in space.values()]
    return [dict(zip(space, values)) for values in itertools.product(*axes)]


def draw(space: Space, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """`count` settings drawn at random, every axis by itself.

    Raises ValueError when `count` < 1. Source: Bergstra & Bengio 2012, section 2.

    >>> draw({"lr": Choice([0.1])}, 2, np.random.default_rng(0))
    [{'lr': 0.1}, {'lr': 0.1}]
    """
    _at_least_one(count=count)
    return [{name: axis.at(share) for (name, axis), share in zip(space.items(), row)} for row in rng.random((count, len(space)))]


@dataclass(frozen=True)
class Trial:
    """One setting and what came of it: its `value`, NaN where it failed, and then the `error`."""

    index: int
    setting: dict[str, Any]
    value: float
    error: str = ""


def best(trials: Sequence[Trial]) -> Trial:
    """The trial with the smallest value; the first of equals. Raises ValueError when none has a number.

    >>> best([Trial(0, {}, 2.0), Trial(1, {}, math.nan, "failed"), Trial(2, {}, 1.0)]).index
    2
    """
    good = [trial for trial in trials if not math.isnan(trial.value)]
    if not good:
        raise ValueError(f"trials must hold one with a number, got {len(trials)} without; the first error: "
                         f"{next((trial.error for trial in trials if trial.error), 'none')}")
    return min(good, key=lambda trial: trial.value)


def search(objective: Objective, settings: Sequence[Setting], *, seed: int = 0, executor: Executor | None = None,
           log: str | os.PathLike[str] | None = None, progress: bool | None = None) -> list[Trial]:
    """Try every setting and return the trials, in the order of `settings`, whatever finished first.

    `objective(setting, rng)` returns the number to make small; its `rng` comes from `seed` and the setting's place alone, so the
    result does not depend on the executor. A setting whose objective raises is a trial with an `error`, and the search goes on.

    `executor` is any `concurrent.futures.Executor`; by default the trials run here, one by one. `ProcessPoolExecutor()` takes all
    cores, `dask.distributed.Client(…).get_executor()` many machines; then objective and settings must be picklable.

    `log` is a file to which every finished trial is added at once. Called again with it, the same search goes on where it was,
    whatever broke it off. Raises ValueError when the file belongs to another search, RuntimeError when the executor breaks down.
    `progress` shows a bar (needs tqdm); by default on a terminal.

    >>> trials = search(lambda setting, rng: (setting["lr"] - 0.1) ** 2, grid({"lr": LogUniform(0.001, 10)}, 5))
    >>> len(trials), best(trials).setting
    (5, {'lr': 0.1})
    """
    tried = [dict(setting) for setting in settings]
    about = json.dumps({"seed": seed, "settings": tried}, default=repr, sort_keys=True)
    done: dict[int, Trial] = {}
    with closing(_Log(log, about, tried, done)) as file, bar(len(tried), progress, "trial") as shown:
        shown.update(len(done))
        left = [i for i in range(len(tried)) if i not in done]
        pool = _Here() if executor is None else executor
        futures: dict[Future[tuple[float, str]], int] = {}
        try:
            for i in left:
                futures[pool.submit(_attempt, objective, tried[i], (seed, i))] = i
                if executor is None:
                    _collect(next(reversed(futures)), i, tried, done, file, shown)
            if executor is not None:
                for future in as_completed(futures):
                    _collect(future, futures[future], tried, done, file, shown)
        except BrokenExecutor as error:
            raise RuntimeError(f"the executor broke down after {len(done)} of {len(tried)} trials ({error}); "
                               + (f"the same call goes on from {log}" if log else "with a log the search could go on")) from error
        finally:
            for future in futures:
                future.cancel()
    return [done[i] for i in range(len(tried))]


def coarse_to_fine(objective: Objective, space: Space, *, rounds: int, count: int, rng: np.random.Generator, keep: float = 0.25,
                   margin: float = 0.05, executor: Executor | None = None) -> list[list[Trial]]:
    """Random search in rounds: each draws `count` settings from the part of the space that held the best of the last round.

    That part is, on every axis, the span of the best `keep` of the trials with `margin` of the width on either side. Returns the
    trials of each round. Raises ValueError when `rounds` or `count` < 1 or `keep` is not in (0, 1].

    >>> bowl = lambda setting, rng: (setting["a"] - 0.3) ** 2
    >>> coarse, fine = coarse_to_fine(bowl, {"a": Uniform(0, 1)}, rounds=2, count=20, rng=np.random.default_rng(0))
    >>> bool(np.median([trial.value for trial in fine]) < np.median([trial.value for trial in coarse]) / 5)
    True
    """
    _at_least_one(rounds=rounds, count=count)
    if not 0 < keep <= 1:
        raise ValueError(f"keep must lie in (0, 1], got {keep!r}")
    found: list[list[Trial]] = []
    for _ in range(rounds):
        trials = search(objective, draw(space, count, rng), seed=int(rng.integers(2**31)), executor=executor)
        found.append(trials)
        good = sorted((trial for trial in trials if math.isfinite(trial.value)), key=lambda trial: trial.value)
        chosen = good[:max(2, math.ceil(keep * len(good)))]
        if len({json.dumps(trial.setting, default=repr) for trial in chosen}) > 1:
            space = {name: axis.narrowed([trial.setting[name] for trial in chosen], margin) for name, axis in space.items()}
    return found


def chance_of_top(share: float, trials: int) -> float:
    """The probability that at least one of `trials` random settings is among the best `share` of all: 1 - (1 - share)^trials.

    Source: Bergstra & Bengio 2012, section 2.

    >>> chance_of_top(0.5, 2)
    0.75
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1], got {share!r}")
    return 1 - (1 - share) ** trials


def _attempt(objective: Objective, setting: dict[str, Any], seed: tuple[int, int]) -> tuple[float, str]:
    """What a worker does: the value, or the error that the objective raised."""
    try:
        return float(objective(setting, np.random.default_rng(seed))), ""
    except Exception as error:
        return math.nan, f"{type(error).__name__}: {error}"


def _collect(future: Future[tuple[float, str]], index: int, settings: list[dict[str, Any]], done: dict[int, Trial], file: _Log,
             shown: Any) -> None:
    done[index] = Trial(index, settings[index], *future.result())
    file.add(done[index])
    shown.update()


class _Here(Executor):
    """Runs what is submitted at once, in this thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


class _Log:
    """A line of JSON for each finished trial; a line that an interrupt cut short is dropped."""

    def __init__(self, path: str | os.PathLike[str] | None, about: str, settings: list[dict[str, Any]], done: dict[int, Trial]) -> None:
        self.stream: TextIO | None = None
        if path is None:
            return
        text = Path(path).read_text(encoding="utf-8") if Path(path).exists() else ""
        head, *lines = text[:text.rfind("\n") + 1].splitlines() or [about]
        if head != about:
            raise ValueError(f"log must belong to this search, got {os.fspath(path)}, which has other settings or another seed")
        for line in lines:
            index, value, error = json.loads(line)
            done[index] = Trial(index, settings[index], math.nan if value is None else float(value), error)
        self.stream = Path(path).open("a", encoding="utf-8")  # noqa: SIM115 (closed with the log)
        self.stream.truncate(len(text[:text.rfind("\n") + 1].encode()))
        if not text:
            self._write(about)

    def add(self, trial: Trial) -> None:
        self._write(json.dumps([trial.index, None if math.isnan(trial.value) else trial.value, trial.error]))

    def _write(self, line: str) -> None:
        if self.stream is not None:
            self.stream.write(line + "\n")
            self.stream.flush()
            os.fsync(self.stream.fileno())

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()


def _rounded(value: float) -> float:
    """Without the last digits that a logarithm there and back leaves."""
    return float(f"{value:.12g}")


def _at_least_one(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} must be 1 or more, got {count!r}")
