"""Search for hyperparameters: grid, random and coarse to fine, on one core or many machines.

Derived in the chapter on [search][search].
"""

from __future__ import annotations

import itertools
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..networks.layers import check_count
from ..networks.progress import bar
from .trials import Log, Lost, Objective, Setting, Trial, outcomes


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
        return float((1 - share) * self.low + share * self.high)

    def narrowed(self, values: Sequence[float], margin: float) -> Uniform:
        """The span of `values`, with `margin` of this one's width on either side, inside this one."""
        room = margin * (self.high - self.low)
        low, high = max(self.low, min(values) - room), min(self.high, max(values) + room)
        return Uniform(low, high) if low < high else self


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
        low, high = max(self.low, min(values) / room), min(self.high, max(values) * room)
        return LogUniform(low, high) if low < high else self


@dataclass(frozen=True)
class Whole:
    """The whole numbers of an axis, ends included, as int: for what counts something, such as the units of a layer.

    A number k gets the share of `axis` between k - ½ and k + ½: under `Uniform` all are equally likely, under `LogUniform` k about
    as 1/k. Raises TypeError unless `axis` is one of these, ValueError unless its bounds are whole (for `LogUniform`, from 1 up).

    >>> Whole(LogUniform(4, 64)).at(0.5), [Whole(Uniform(1, 4)).at(share) for share in (0.1, 0.3, 0.6, 0.8)]
    (15, [1, 2, 3, 4])
    """

    axis: Uniform | LogUniform

    def __post_init__(self) -> None:
        if not isinstance(self.axis, Uniform | LogUniform):
            raise TypeError(f"axis must be Uniform or LogUniform, got {self.axis!r}")
        if not (float(self.axis.low).is_integer() and float(self.axis.high).is_integer()):
            raise ValueError(f"axis must have whole numbers as bounds, got {self.axis!r}")

    def at(self, share: float) -> int:
        """The number that has `share` of the distribution below it or in it."""
        between = type(self.axis)(self.axis.low - 0.5, self.axis.high + 0.5).at(share)
        return min(max(round(between), int(self.axis.low)), int(self.axis.high))

    def narrowed(self, values: Sequence[int], margin: float) -> Whole | Choice:
        """The whole numbers in the span of `values`, with `margin` of the axis's width on either side; one alone is a choice of one."""
        part = self.axis.narrowed([min(values) - 0.5, max(values) + 0.5], margin)
        low, high = math.ceil(part.low), math.floor(part.high)
        return Whole(type(self.axis)(low, high)) if low < high else Choice([low])


@dataclass(frozen=True)
class Choice:
    """One of some `values`, all equally likely. Raises TypeError unless they are in a sequence, ValueError when there is none.

    >>> Choice(["relu", "tanh"]).at(0.7)
    'tanh'
    """

    values: Sequence[Any]

    def __post_init__(self) -> None:
        if not isinstance(self.values, Sequence | np.ndarray) or isinstance(self.values, str):
            raise TypeError(f"values must be a list or another sequence, got {self.values!r}")
        if not len(self.values):
            raise ValueError("values must hold at least one value, got none")

    def at(self, share: float) -> Any:
        """The value at `share` of the row."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def narrowed(self, values: Sequence[Any], margin: float) -> Choice:
        """Those of the values that occur."""
        return Choice([value for value in self.values if value in values])


Space = Mapping[str, Uniform | LogUniform | Whole | Choice]


def grid(space: Space, points: int) -> list[dict[str, Any]]:
    """Every combination of `points` values on each axis, ends included, evenly spaced in its distribution.

    A choice has all its values, and an axis of whole numbers each of its numbers once, fewer than `points` if it has no more.

    Raises ValueError when `points` < 1 or the space is empty, TypeError when an axis is none.

    >>> [setting["lr"] for setting in grid({"lr": LogUniform(0.01, 1)}, 3)]
    [0.01, 0.1, 1.0]
    """
    _check_space(space)
    check_count("points", points)
    shares = np.linspace(0, 1, points).tolist() if points > 1 else [0.5]
    axes = [list(axis.values) if isinstance(axis, Choice) else list(dict.fromkeys(_rounded(axis, share) for share in shares))
            for axis in space.values()]
    return [dict(zip(space, values)) for values in itertools.product(*axes)]


def draw(space: Space, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """`count` settings drawn at random, every axis by itself.

    Raises ValueError when `count` < 1 or the space is empty, TypeError when an axis or `rng` is none.
    Source: Bergstra & Bengio 2012, figure 1.

    >>> draw({"lr": Choice([0.1])}, 2, np.random.default_rng(0))
    [{'lr': 0.1}, {'lr': 0.1}]
    """
    _check_space(space)
    check_count("count", count)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r}")
    shares = rng.random((count, len(space))).tolist()
    return [{name: axis.at(share) for (name, axis), share in zip(space.items(), row)} for row in shares]


def best(trials: Sequence[Trial]) -> Trial:
    """The trial with the smallest value; the first of equals. Raises ValueError when none has a number.

    >>> best([Trial(0, {}, 2.0), Trial(1, {}, math.nan, "failed"), Trial(2, {}, 1.0)]).index
    2
    """
    good = [trial for trial in trials if not math.isnan(trial.value)]
    if not good:
        raise ValueError(f"trials must hold one with a number, got {_without_a_number(trials)}")
    return min(good, key=lambda trial: trial.value)


def search(objective: Objective, settings: Sequence[Setting], *, seed: int = 0, executor: Executor | None = None,
           log: str | os.PathLike[str] | None = None, retry: bool = False, progress: bool | None = None) -> list[Trial]:
    """Try every setting and return the trials, in the order of `settings`, whatever finished first.

    `objective(setting, rng)` returns the number to make small; its `rng` comes from `seed` and the setting's place alone, so the
    result does not depend on the executor. A setting whose objective raises is a trial with an `error`, and the search goes on. When
    no trial at all has a number, that is a RuntimeWarning with the first error.

    - `executor` is any `concurrent.futures.Executor`; by default the trials run here, one by one. `ProcessPoolExecutor()` takes all
      cores, `dask.distributed.Client(…).get_executor()` many machines; then objective and settings must be picklable.
    - `log` is a file to which every finished trial is added at once. Called again with it, the same search goes on where it was,
      whatever broke it off; with more settings behind the same ones, it tries those that are new. It knows a search by its
      objective's *name*, its settings and its seed: not by what the objective does. Edit that, or the data it loads, and the log
      gives the old values; take a new file. One search at a time may have the file: two would lose lines.
    - `retry` runs the trials again that the log has as failed: for errors of the machine (a full disk), since an error of the
      objective, with the same setting and generator, comes again. By default they stay as they are.
    - `progress` shows a bar (needs tqdm); by default on a terminal.

    A program that is killed outright (`kill -9`) cannot stop its `ProcessPoolExecutor`: the workers finish what they were given, whose
    values are lost, and wait for ever. End them before you go on.

    Raises ValueError when `log` is the file of something else, TypeError when a setting's value cannot be told from another in it,
    or an argument is of the wrong kind, all before the first trial; RuntimeError when the executor breaks down.

    >>> trials = search(lambda setting, rng: (setting["lr"] - 0.1) ** 2, grid({"lr": LogUniform(0.001, 10)}, 5))
    >>> len(trials), best(trials).setting
    (5, {'lr': 0.1})
    """
    if not callable(objective):
        raise TypeError(f"objective must be a function of a setting and a generator, got {objective!r}")
    if executor is not None and not isinstance(executor, Executor):
        raise TypeError(f"executor must be a concurrent.futures.Executor (Dask: client.get_executor()), got {executor!r}")
    check_count("seed", seed, low=0)
    tried: list[dict[str, Any]] = []
    for setting in settings:
        if not isinstance(setting, Mapping):
            raise TypeError(f"settings must be mappings of names to values, got {setting!r}")
        tried.append(dict(setting))
    with closing(Log(log, objective, tried, seed)) as file, bar(len(tried), progress, "trial") as shown:
        done = {i: trial for i, trial in file.done.items() if not (retry and trial.error)}
        shown.update(len(done))
        left = [i for i in range(len(tried)) if i not in done]
        try:
            with closing(outcomes(executor, objective, tried, seed, left)) as ended:
                for trial in ended:
                    done[trial.index] = trial
                    file.add(trial)
                    shown.update()
        except Lost as lost:
            kept = ("a log would have kept them" if log is None
                    else f"call again with an executor that works, and the search goes on from {os.fspath(log)}")
            raise RuntimeError(f"{lost}; {len(done)} of {len(tried)} trials are done: {kept}") from lost.__cause__
    trials = [done[i] for i in range(len(tried))]
    if trials and all(math.isnan(trial.value) for trial in trials):
        warnings.warn(f"no trial has a number: {_without_a_number(trials)}", RuntimeWarning, stacklevel=2)
    return trials


def coarse_to_fine(objective: Objective, space: Space, *, rounds: int, count: int, rng: np.random.Generator, keep: float = 0.25,
                   margin: float = 0.05, executor: Executor | None = None, log: str | os.PathLike[str] | None = None,
                   progress: bool | None = None) -> list[list[Trial]]:
    """Random search in rounds: each draws `count` settings from the part of the space that held the best of the last round.

    That part is, on every axis, the span of the best `keep` of the trials with `margin` of the width on either side. Returns the
    trials of each round. `executor`, `log` and `progress` are those of [`search`][reference_impl.practice.search.search]; round
    0 has the log `{log}.0`, and so on.

    Raises ValueError when `rounds` or `count` < 1, `keep` is not in (0, 1] or `margin` < 0.

    >>> bowl = lambda setting, rng: (setting["a"] - 0.3) ** 2
    >>> coarse, fine = coarse_to_fine(bowl, {"a": Uniform(0, 1)}, rounds=2, count=20, rng=np.random.default_rng(0))
    >>> bool(np.median([trial.value for trial in fine]) < np.median([trial.value for trial in coarse]) / 5)
    True
    """
    check_count("rounds", rounds)
    if not 0 < keep <= 1:
        raise ValueError(f"keep must lie in (0, 1], got {keep!r}")
    if not 0 <= margin < math.inf:
        raise ValueError(f"margin must lie in [0, inf), got {margin!r}")
    found: list[list[Trial]] = []
    for part in range(rounds):
        settings, seed = draw(space, count, rng), int(rng.integers(2**31))
        trials = search(objective, settings, seed=seed, executor=executor, progress=progress,
                        log=None if log is None else f"{os.fspath(log)}.{part}")
        found.append(trials)
        good = sorted((trial for trial in trials if math.isfinite(trial.value)), key=lambda trial: trial.value)
        chosen = [trial.setting for trial in good[:max(2, math.ceil(keep * len(good)))]]
        if len(chosen) > 1:
            space = {name: axis.narrowed([setting[name] for setting in chosen], margin) for name, axis in space.items()}
    return found


def chance_of_top(share: float, trials: int) -> float:
    """The probability that at least one of `trials` random settings is among the best `share` of all: 1 - (1 - share)^trials.

    Raises ValueError when `share` is not in [0, 1] or `trials` < 0.

    >>> chance_of_top(0.5, 2)
    0.75
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must lie in [0, 1], got {share!r}")
    check_count("trials", trials, low=0)
    return 1 - (1 - share) ** trials


def _without_a_number(trials: Sequence[Trial]) -> str:
    return f"{len(trials)} without; the first error: {next((trial.error for trial in trials if trial.error), 'none')}"


def _rounded(axis: Uniform | LogUniform | Whole, share: float) -> float:
    """The number at `share` without the last digits that a logarithm there and back leaves."""
    if isinstance(axis, Whole):
        return round(_rounded(axis.axis, share))
    return min(max(float(f"{axis.at(share):.12g}"), float(axis.low)), float(axis.high))


def _check_space(space: Space) -> None:
    if not isinstance(space, Mapping) or not space:
        raise ValueError(f"space must map at least one name to its values, got {space!r}")
    for name, axis in space.items():
        if not isinstance(axis, Uniform | LogUniform | Whole | Choice):
            raise TypeError(f"space must map names to Uniform, LogUniform, Whole or Choice, got {axis!r} for {name!r}")
