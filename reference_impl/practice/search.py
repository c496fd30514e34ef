"""Search for hyperparameters: grid, random, coarse to fine and successive halving, on one core or many machines.

Derived in the chapter on [search][search].
"""

from __future__ import annotations

import itertools
import math
import os
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..arrays.checks import GENERATOR, SIZE, Count, Flag, Instance, Numbers, Optional, Real, check, checked, shown
from ..networks.progress import bar
from .log import Log
from .trials import EXECUTOR, OBJECTIVE, Lost, Objective, Setting, Trial, outcomes

LOG = Optional(Instance(str, os.PathLike, words="a path"))
SETTINGS = Instance(Sequence, Iterator, words="mappings of names to values, in a list")
TRIALS = Instance(Sequence, words="a list of trials")
NAME = Instance(str, words="a name that no setting has")
PART = Real(0, 1, open_low=True)


@dataclass(frozen=True)
class Uniform:
    """Any number from `low` to `high`, all equally likely. Raises TypeError or ValueError unless both are finite and low < high.

    >>> Uniform(0, 10).at(0.25)
    2.5
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, Real())

    @checked(share=Real(0, 1))
    def at(self, share: float) -> float:
        """The number that has `share` of the distribution below it."""
        return float((1 - share) * self.low + share * self.high)

    @checked(values=Numbers(1), margin=SIZE)
    def narrowed(self, values: Sequence[float], margin: float) -> Uniform:
        """The span of `values`, with `margin` of this one's width on either side, inside this one."""
        room = margin * (self.high - self.low)
        low, high = max(self.low, min(values) - room), min(self.high, max(values) + room)
        return Uniform(low, high) if low < high else self


@dataclass(frozen=True)
class LogUniform:
    """A number from `low` to `high` whose logarithm is uniform: every decade equally likely.

    Raises TypeError or ValueError unless both are finite and 0 < low < high.

    >>> round(LogUniform(1e-4, 1).at(0.5), 12)
    0.01
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, Real(0, open_low=True))

    @checked(share=Real(0, 1))
    def at(self, share: float) -> float:
        """The number that has `share` of the distribution below it."""
        exponent = Uniform(math.log(self.low), math.log(self.high)).at(share)
        return min(max(math.exp(exponent), self.low), self.high)

    @checked(values=Numbers(1), margin=SIZE)
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
        check("axis", self.axis, Instance(Uniform, LogUniform, words="Uniform or LogUniform"))
        if not (float(self.axis.low).is_integer() and float(self.axis.high).is_integer()):
            raise ValueError(f"axis must have whole numbers as bounds, got {self.axis!r}")

    @checked(share=Real(0, 1))
    def at(self, share: float) -> int:
        """The number that has `share` of the distribution below it or in it."""
        between = type(self.axis)(self.axis.low - 0.5, self.axis.high + 0.5).at(share)
        return min(max(round(between), int(self.axis.low)), int(self.axis.high))

    @checked(values=Numbers(1), margin=SIZE)
    def narrowed(self, values: Sequence[int], margin: float) -> Whole | Choice:
        """The whole numbers in the span of `values`, with `margin` of the axis's width on either side; one alone is a choice of one."""
        part = self.axis.narrowed([min(values) - 0.5, max(values) + 0.5], margin)
        low, high = math.ceil(part.low), math.floor(part.high)
        return Whole(type(self.axis)(low, high)) if low < high else Choice([low])


@dataclass(frozen=True)
class Stepped:
    """The numbers low, low + step, …, high, all equally likely: int if all three are, else float, without the last digits of the sums.

    Raises TypeError or ValueError unless they are finite, step > 0 and high lies a whole number of steps above low.

    >>> [Stepped(16, 64, 16).at(share) for share in (0.1, 0.3, 0.6, 0.8)], Stepped(0.1, 0.5, 0.1).at(0.5)
    ([16, 32, 48, 64], 0.3)
    """

    low: float
    high: float
    step: float

    def __post_init__(self) -> None:
        _check_bounds(self.low, self.high, Real())
        check("step", self.step, Real(0, open_low=True))
        steps = (self.high - self.low) / self.step
        if round(steps) < 1 or not math.isclose(steps, round(steps), rel_tol=1e-9):
            raise ValueError(f"high must lie a whole number of steps of {self.step!r} above low, {self.low!r}, got {self.high!r}")

    @property
    def count(self) -> int:
        """How many they are."""
        return round((self.high - self.low) / self.step) + 1

    @checked(share=Real(0, 1))
    def at(self, share: float) -> float:
        """The number at `share` of the row."""
        return self._number(min(int(share * self.count), self.count - 1))

    @checked(values=Numbers(1), margin=SIZE)
    def narrowed(self, values: Sequence[float], margin: float) -> Stepped | Choice:
        """The numbers in the span of `values`, with `margin` of the width on either side; one alone is a choice of one."""
        room = margin * (self.high - self.low)
        first = max(0, math.ceil((min(values) - room - self.low) / self.step - 1e-9))
        last = min(self.count - 1, math.floor((max(values) + room - self.low) / self.step + 1e-9))
        low, high = self._number(first), self._number(last)
        return replace(self, low=low, high=high) if first < last else Choice([low])

    def _number(self, k: int) -> float:
        if all(isinstance(part, int | np.integer) for part in (self.low, self.high, self.step)):
            return int(self.low) + k * int(self.step)
        return float({0: self.low, self.count - 1: self.high}.get(k, f"{self.low + k * self.step:.12g}"))


@dataclass(frozen=True)
class Choice:
    """One of some `values`, all equally likely. Raises TypeError unless they are in a sequence, ValueError when there is none.

    >>> Choice(["relu", "tanh"]).at(0.7)
    'tanh'
    """

    values: Sequence[Any]

    def __post_init__(self) -> None:
        if not isinstance(self.values, Sequence | np.ndarray) or isinstance(self.values, str | bytes) or getattr(self.values, "shape", 1) == ():
            raise TypeError(f"values must be a list or another sequence, got {self.values!r}")
        if not len(self.values):
            raise ValueError("values must hold at least one value, got none")

    @checked(share=Real(0, 1))
    def at(self, share: float) -> Any:
        """The value at `share` of the row."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    @checked(values=Instance(list, tuple), margin=SIZE)
    def narrowed(self, values: Sequence[Any], margin: float) -> Choice:
        """Those of the values that occur."""
        return Choice([value for value in self.values if any(value is other or np.array_equal(value, other) for other in values)])


Axis = Uniform | LogUniform | Whole | Stepped | Choice
Space = Mapping[str, Axis]


@checked(points=Count())
def grid(space: Space, points: int) -> list[dict[str, Any]]:
    """Every combination of `points` values on each axis, ends included, evenly spaced in its distribution.

    A choice has all its values, and an axis of whole numbers or steps each of its numbers once, fewer than `points` if it has no more.

    Raises ValueError when `points` < 1 or the space is empty, TypeError when an axis is none.

    >>> [setting["lr"] for setting in grid({"lr": LogUniform(0.01, 1)}, 3)]
    [0.01, 0.1, 1.0]
    """
    _check_space(space)
    shares = np.linspace(0, 1, points).tolist() if points > 1 else [0.5]
    axes = [list(axis.values) if isinstance(axis, Choice) else list(dict.fromkeys(_rounded(axis, share) for share in shares))
            for axis in space.values()]
    return [dict(zip(space, values)) for values in itertools.product(*axes)]


@checked(count=Count(), rng=GENERATOR)
def draw(space: Space, count: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """`count` settings drawn at random, every axis by itself.

    Raises ValueError when `count` < 1 or the space is empty, TypeError when an axis or `rng` is none.
    Source: Bergstra & Bengio 2012, figure 1.

    >>> draw({"lr": Choice([0.1])}, 2, np.random.default_rng(0))
    [{'lr': 0.1}, {'lr': 0.1}]
    """
    _check_space(space)
    shares = rng.random((count, len(space))).tolist()
    return [{name: axis.at(share) for (name, axis), share in zip(space.items(), row)} for row in shares]


@checked(trials=TRIALS, maximize=Optional(Flag()))
def best(trials: Sequence[Trial], *, maximize: bool | None = None) -> Trial:
    """The trial with the smallest value, or the largest where the search was one that maximizes; the first of equals.

    `maximize` says so of trials that do not. Raises ValueError when none has a number, TypeError when they are no trials.

    >>> best([Trial(0, {}, 2.0), Trial(1, {}, math.nan, "failed"), Trial(2, {}, 1.0)]).index
    2
    """
    if not (good := _ranked(trials, maximize)):
        raise ValueError(f"trials must hold one with a number, got {_without_a_number(trials)}")
    return good[0]


@checked(objective=OBJECTIVE, settings=SETTINGS, seed=Count(0), executor=EXECUTOR, log=LOG, retry=Flag(), edited=Flag(), maximize=Flag(),
         progress=Optional(Flag()))
def search(objective: Objective, settings: Iterable[Setting], *, seed: int = 0, executor: Executor | None = None,
           log: str | os.PathLike[str] | None = None, retry: bool = False, edited: bool = False, maximize: bool = False,
           progress: bool | None = None) -> list[Trial]:
    """Try every setting and return the trials, in the order of `settings`, whatever finished first.

    `objective(setting, rng)` returns the number to make small, or large if you `maximize`; its `rng` comes from `seed` and the setting's
    place alone, so the result does not depend on the executor. A setting whose objective raises is a trial with an `error` and its
    `traceback`, and the search goes on. When no trial at all has a number, that is a RuntimeWarning with the first error.

    - `executor` is any `concurrent.futures.Executor`; by default the trials run here, one by one. `ProcessPoolExecutor()` takes all
      cores, `dask.distributed.Client(…).get_executor()` many machines; then objective and settings must be picklable.
    - `log` is a file to which every finished trial is added at once. Called again with it, the same search goes on where it was,
      whatever broke it off; with more settings behind the same ones, it tries those that are new. It knows a search by its
      settings, its seed and its objective: by name, code, defaults and what that closes over, not by the data that it loads. A damaged
      line is named in a RuntimeWarning, and its trial runs again.
    - Searches that have one log at the same time share the work: each trial runs in one of them, and all return them all. What one of
      them has given to its executor stays with it; if it is killed, the others take that over.
    - `edited` goes on with a log although the objective's code is not what it was: its values stay.
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
    tried = _settings(settings)
    with closing(Log(log, objective, tried, seed, edited=edited)) as file:
        trials = _complete(file, objective, tried, 0, seed, executor, retry=retry, maximize=maximize, progress=progress)
    _warn_without_a_number(trials)
    return trials


@checked(objective=OBJECTIVE, rounds=Count(), count=Count(), rng=GENERATOR, keep=PART, margin=SIZE, executor=EXECUTOR, log=LOG,
         retry=Flag(), edited=Flag(), maximize=Flag(), progress=Optional(Flag()))
def coarse_to_fine(objective: Objective, space: Space, *, rounds: int, count: int, rng: np.random.Generator, keep: float = 0.25,
                   margin: float = 0.05, executor: Executor | None = None, log: str | os.PathLike[str] | None = None,
                   retry: bool = False, edited: bool = False, maximize: bool = False,
                   progress: bool | None = None) -> list[list[Trial]]:
    """Random search in rounds: each draws `count` settings from the part of the space that held the best of the last round.

    That part is, on every axis, the span of the best `keep` of the trials with `margin` of the width on either side. Returns the
    trials of each round. The options from `executor` on are those of [`search`][reference_impl.practice.search.search]; round
    0 has the log `{log}.0`, and so on.

    Raises ValueError when `rounds` or `count` < 1, `keep` is not in (0, 1] or `margin` < 0, TypeError for another kind of argument.

    >>> bowl = lambda setting, rng: (setting["a"] - 0.3) ** 2
    >>> coarse, fine = coarse_to_fine(bowl, {"a": Uniform(0, 1)}, rounds=2, count=20, rng=np.random.default_rng(0))
    >>> bool(np.median([trial.value for trial in fine]) < np.median([trial.value for trial in coarse]) / 5)
    True
    """
    _check_space(space)
    found: list[list[Trial]] = []
    for part in range(rounds):
        settings, seed = draw(space, count, rng), int(rng.integers(2**31))
        trials = search(objective, settings, seed=seed, executor=executor, retry=retry, edited=edited, maximize=maximize,
                        progress=progress, log=None if log is None else f"{os.fspath(log)}.{part}")
        found.append(trials)
        good = [trial for trial in _ranked(trials) if math.isfinite(trial.value)]
        chosen = [trial.setting for trial in good[:max(2, math.ceil(keep * len(good)))]]
        if len(chosen) > 1:
            space = {name: axis.narrowed([setting[name] for setting in chosen], margin) for name, axis in space.items()}
    return found


@checked(objective=OBJECTIVE, settings=SETTINGS, over=NAME, budgets=Numbers(1, low=0, open_low=True), keep=PART,
         seed=Count(0), executor=EXECUTOR, log=LOG, retry=Flag(), edited=Flag(), maximize=Flag(), progress=Optional(Flag()))
def halving(objective: Objective, settings: Iterable[Setting], *, over: str, budgets: Sequence[float], keep: float = 0.5, seed: int = 0,
            executor: Executor | None = None, log: str | os.PathLike[str] | None = None, retry: bool = False, edited: bool = False,
            maximize: bool = False, progress: bool | None = None) -> list[list[Trial]]:
    """Successive halving: every setting gets a small budget, the best of them a larger one, and so on.

    The objective finds its budget in the setting, under the name `over`: `{**setting, over: budgets[0]}` on the first rung. The best
    `keep` of a rung, at least one, go on to the next, in the order of their values; a trial without a number never does. Returns the
    trials of each rung that was reached; their `index` counts on from rung to rung.

    The other options are those of [`search`][reference_impl.practice.search.search]. One log has it all, and who goes on is written into
    it before the next rung begins: what it says then stays, also where `retry` gives a failed trial a number later.

    Raises ValueError when the budgets do not rise, `over` is in a setting or `keep` is not in (0, 1], TypeError for another kind of
    argument. Source: Jamieson & Talwalkar 2016, who keep one half.

    >>> def loss(setting, rng):
    ...     return abs(setting["a"] - 0.3) + 1 / setting["epochs"]
    >>> rungs = halving(loss, grid({"a": Uniform(0, 1)}, 11), over="epochs", budgets=[1, 4, 16])
    >>> [len(rung) for rung in rungs], rungs[-1][0].setting
    ([11, 5, 2], {'a': 0.3, 'epochs': 16})
    """
    tried = _settings(settings)
    steps = np.asarray(budgets).tolist()
    if any(high <= low for low, high in itertools.pairwise(steps)):
        raise ValueError(f"budgets must rise, got {budgets!r}")
    if not over or any(over in setting for setting in tried):
        raise ValueError(f"over must be {NAME}, got {over!r}")
    tried = [{**setting, over: steps[0]} for setting in tried]
    plan = {"of": len(tried), "over": over, "budgets": steps, "keep": float(keep), "maximize": bool(maximize)}
    rungs: list[list[Trial]] = []
    with closing(Log(log, objective, tried, seed, edited=edited, of={"halving": plan})) as file:
        for k, budget in enumerate(steps):
            start = len(tried) if k else 0
            if k:
                going_on = [trial.index for trial in _ranked(rungs[-1])][:max(1, math.floor(keep * len(rungs[-1]) + 1e-9))]
                if not going_on:
                    break
                tried += [{**tried[i], over: budget} for i in file.promoted(k, going_on)]
            rungs.append(_complete(file, objective, tried, start, seed, executor, retry=retry, maximize=maximize, progress=progress))
    _warn_without_a_number(rungs[-1])
    return rungs


@checked(share=Real(0, 1), trials=Count(0))
def chance_of_top(share: float, trials: int) -> float:
    """The probability that at least one of `trials` random settings is among the best `share` of all: 1 - (1 - share)^trials.

    Raises ValueError when `share` is not in [0, 1] or `trials` < 0.

    >>> chance_of_top(0.5, 2)
    0.75
    """
    return float(1 - (1 - share) ** trials)


def _complete(log: Log, objective: Objective, tried: Sequence[Setting], start: int, seed: int, executor: Executor | None, *, retry: bool,
              maximize: bool, progress: bool | None) -> list[Trial]:
    """The trials of `tried` from `start` on: what the log has, and the others, run here or by another search on the same log."""
    done = {i: trial for i, trial in log.known(tried, start).items() if not (retry and trial.error)}
    with bar(len(tried) - start, progress, "trial") as counter:
        counter.update(len(done))
        try:
            with closing(_each_once(log, objective, tried, [i for i in range(start, len(tried)) if i not in done], seed, executor)) as ended:
                for trial in ended:
                    done[trial.index] = trial
                    counter.update()
        except Lost as lost:
            kept = ("a log would have kept them" if log.path is None
                    else f"call again with an executor that works, and the search goes on from {log.path}")
            raise RuntimeError(f"{lost}; {len(done)} of {len(tried)} trials are done: {kept}") from lost.__cause__
    return [replace(done[i], maximize=maximize) for i in range(start, len(tried))]


def _each_once(log: Log, objective: Objective, tried: Sequence[Setting], left: list[int], seed: int,
               executor: Executor | None) -> Generator[Trial, None, None]:
    """The trials that are left, each as it ends: here, or in another search, which is waited for."""
    before = {i: log.rows.get(i) for i in left}
    while left:
        elsewhere: list[int] = []
        found: list[Trial] = []

        def free(left: list[int] = left, elsewhere: list[int] = elsewhere, found: list[Trial] = found) -> Iterator[int]:
            for i in left:
                if not log.claim(i):
                    elsewhere.append(i)
                elif log.rows.get(i) is not before[i] and (trial := log.find(i, tried[i])) is not None:
                    log.release(i)
                    found.append(trial)
                else:
                    yield i

        with closing(outcomes(executor, objective, tried, seed, free())) as ended:
            for trial in ended:
                log.add(trial)
                yield trial
        yield from found
        if left := elsewhere:
            log.claim(left[0], wait=True)  # holding none itself
            log.release(left[0])


def _ranked(trials: Sequence[Trial], maximize: bool | None = None) -> list[Trial]:
    """The trials with a number, the best first, equals in their order."""
    for trial in trials:
        check("trials", trial, Instance(Trial, words="a list of trials"))
    sign = -1 if (any(trial.maximize for trial in trials) if maximize is None else maximize) else 1
    return sorted((trial for trial in trials if not math.isnan(trial.value)), key=lambda trial: sign * trial.value)


def _without_a_number(trials: Sequence[Trial]) -> str:
    return f"{len(trials)} without; the first error: {next((trial.error for trial in trials if trial.error), 'none')}"


def _warn_without_a_number(trials: Sequence[Trial]) -> None:
    if trials and all(math.isnan(trial.value) for trial in trials):
        warnings.warn(f"no trial has a number: {_without_a_number(trials)}", RuntimeWarning, stacklevel=4)


def _rounded(axis: Uniform | LogUniform | Whole | Stepped, share: float) -> float:
    """The number at `share` without the last digits that a logarithm there and back leaves."""
    if isinstance(axis, Stepped):
        return axis.at(share)
    if isinstance(axis, Whole):
        return round(_rounded(axis.axis, share))
    return min(max(float(f"{axis.at(share):.12g}"), float(axis.low)), float(axis.high))


def _settings(settings: Iterable[Setting]) -> list[dict[str, Any]]:
    tried, listed = [], isinstance(settings, list | tuple)
    if isinstance(settings, str | bytes):
        raise TypeError(f"settings must be {SETTINGS}, got {settings!r}")
    for setting in settings:
        if not isinstance(setting, Mapping):
            raise TypeError(f"settings must be {SETTINGS}, got {shown(setting if listed else settings)}")
        for name in setting:
            check("settings", name, Instance(str, words="mappings whose names are strings"))
        tried.append(dict(setting))
    return tried


def _check_bounds(low: float, high: float, kind: Real) -> None:
    check("low", low, kind)
    check("high", high, kind)
    if low >= high:
        raise ValueError(f"low must be less than high, got {low!r} and {high!r}")


def _check_space(space: Space) -> None:
    check("space", space, Instance(Mapping, words="a mapping of names to axes"))
    if not space:
        raise ValueError(f"space must map at least one name to its values, got {space!r}")
    for name, axis in space.items():
        check("space", name, Instance(str, words="a mapping whose names are strings"))
        if not isinstance(axis, Axis):
            raise TypeError(f"space must map names to Uniform, LogUniform, Whole, Stepped or Choice, got {axis!r} for {name!r}")
