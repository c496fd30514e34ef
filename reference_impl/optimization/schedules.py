"""Schedules: hyperparameters that change, as pure functions of the number of finished steps; and averages of a path.

Derived in the chapter on [schedules][schedules].

What makes a schedule raises TypeError for arguments of another kind, and ValueError for those out of range: rates and floors are finite
numbers from 0 up, of which an optimizer may take fewer; steps are whole numbers from 1 up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import overload

import numpy as np

from ..arrays import floats
from ..arrays.checks import POSITIVE, SHARE, SIZE, Count, Either, Function, Numbers, Real, checked
from ..arrays.protocol import Array
from .optimizer import Schedule


@checked(lr=SIZE)
def constant(lr: float) -> Schedule:
    """`lr` at every step.

    >>> constant(0.1)(1000)
    0.1
    """
    return partial(_constant, lr=lr)


@checked(lr=SIZE, every=Count(), factor=POSITIVE)
def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """`lr` times `factor` > 0 to the number of whole stretches of `every` steps.

    >>> schedule = step_decay(1.0, every=10, factor=0.5)
    >>> schedule(9), schedule(10), schedule(25)
    (1.0, 0.5, 0.25)
    """
    return partial(_step_decay, lr=lr, every=every, factor=factor)


@checked(lr=SIZE, decay=POSITIVE)
def exponential(lr: float, decay: float) -> Schedule:
    """`lr` times `decay` > 0 to the number of steps: below 1, all rates together are at most `lr` / (1 - `decay`).

    In the end it rounds to 0, which optimizers refuse: with a `decay` of 0.9 after some 7000 steps.

    >>> exponential(1.0, decay=0.5)(3)
    0.125
    """
    return partial(_exponential, lr=lr, decay=decay)


@checked(lr=SIZE, half_after=Real(1))
def inverse_time(lr: float, half_after: float) -> Schedule:
    """`lr` / (1 + step / `half_after`): half of `lr` after `half_after` steps, then like 1/t.

    `half_after` is at least 1. Source: Robbins & Monro 1951, section 2, the rates that fall like 1/t.

    >>> schedule = inverse_time(1.0, half_after=10)
    >>> schedule(0), schedule(10), schedule(30)
    (1.0, 0.5, 0.25)
    """
    return partial(_inverse_time, lr=lr, half_after=half_after)


@checked(lr=SIZE, steps=Count(), floor=SIZE)
def linear(lr: float, steps: int, floor: float = 0.0) -> Schedule:
    """A straight line from `lr` at step 0 down to `floor` at step `steps`, and `floor` from then on.

    A `floor` of 0 makes a rate of 0 at the end, which optimizers refuse: take the last step before.
    Source: Defazio et al. 2023, abstract, for a floor of 0.

    >>> schedule = linear(1.0, steps=10, floor=0.2)
    >>> schedule(0), round(schedule(5), 6), schedule(10), schedule(99)
    (1.0, 0.6, 0.2, 0.2)
    """
    return partial(_linear, lr=lr, steps=steps, floor=floor)


@checked(lr=SIZE, steps=Count(), floor=SIZE)
def cosine(lr: float, steps: int, floor: float = 0.0) -> Schedule:
    """Half a cosine from `lr` at step 0 down to `floor` at step `steps`, and `floor` from then on.

    A `floor` of 0 makes a rate of 0 at the end, which optimizers refuse: take the last step before.
    Source: Loshchilov & Hutter 2017, eq. (5).

    >>> schedule = cosine(1.0, steps=10, floor=0.2)
    >>> schedule(0), round(schedule(5), 6), schedule(10), schedule(99)
    (1.0, 0.6, 0.2, 0.2)
    """
    return partial(_cosine, lr=lr, steps=steps, floor=floor)


@checked(steps=Count(), then=Either(SIZE, Function("the step")))
def warmup(steps: int, then: Schedule | float) -> Schedule:
    """A straight rise to what `then` starts with, over `steps` steps; afterwards `then`, counted from there.

    The first step has the rate 1/`steps` of the last, not 0. `then` is a schedule, or a number for a constant one.
    Source: Goyal et al. 2017, section 2.2, where the rise begins at the rate of a small batch.

    >>> schedule = warmup(4, then=constant(1.0))
    >>> [schedule(step) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    """
    return partial(_warmup, steps=steps, then=then if callable(then) else constant(then))


@checked(lr=SIZE, steps=Count(2), warm=SHARE, start=SIZE, end=SIZE)
def one_cycle(lr: float, steps: int, warm: float = 0.3, start: float = 0.04, end: float = 1e-4) -> Schedule:
    """Half a cosine up from `lr`·`start` to `lr` in the part `warm` of `steps`, then half a cosine down to `lr`·`end`.

    PyTorch's `OneCycleLR` has the same cosines, but counts `steps` - 1 for `steps`, and its peak is one step earlier.
    `steps` is at least 2, `warm` in [0, 1). Source: Smith & Topin 2018, section 3, where both halves are straight lines.

    >>> schedule = one_cycle(1.0, steps=100, warm=0.5, start=0.25, end=0.0)
    >>> schedule(0), round(schedule(25), 6), schedule(50), round(schedule(75), 6)
    (0.25, 0.625, 1.0, 0.5)
    """
    return partial(_one_cycle, lr=lr, steps=steps, warm=warm, start=start, end=end)


@checked(lr=SIZE, steps=Count(), floor=SIZE)
def cyclic(lr: float, steps: int, floor: float = 0.0) -> Schedule:
    """Half a cosine from `lr` towards `floor`, over and over, every `steps` steps: warm restarts.

    Source: Loshchilov & Hutter 2017, section 3.

    >>> schedule = cyclic(1.0, steps=10)
    >>> schedule(0), round(schedule(5), 6), schedule(10)
    (1.0, 0.5, 1.0)
    """
    return partial(_cyclic, lr=lr, steps=steps, floor=floor)


@checked(path=Numbers())
def polyak_average(path: Array | Sequence[object]) -> np.ndarray:
    """The mean of all points so far, for each point of a path (steps + 1, …).

    Raises TypeError or ValueError for what is no path of finite numbers. Source: Polyak & Juditsky 1992.

    >>> polyak_average([4.0, 2.0, 0.0]).tolist()
    [4.0, 3.0, 2.0]
    """
    points = _points(path)
    count = np.arange(1, len(points) + 1, like=points).reshape(-1, *[1] * (points.ndim - 1))
    averages: np.ndarray = points.cumsum(axis=0) / count
    return averages


@checked(path=Numbers(), decay=SHARE)
def ema(path: Array | Sequence[object], decay: float) -> np.ndarray:
    """The moving average that keeps `decay` of itself at each point of a path (steps + 1, …); it starts at the first point.

    Raises ValueError when `decay` is not in [0, 1), TypeError or ValueError for what is no path of finite numbers.

    >>> ema([4.0, 2.0, 0.0], decay=0.5).tolist()
    [4.0, 3.0, 1.5]
    """
    averages = _points(path)
    for at in range(1, len(averages)):
        averages[at] = decay * averages[at - 1] + (1 - decay) * averages[at]
    return averages


@checked(rates=Numbers(empty=True), start=Numbers(low=0), curvature=Numbers(), sigma=Numbers(low=0))
def mean_square(rates: Array | Sequence[object], start: Array | float, *, curvature: Array | float = 1.0,
                sigma: Array | float = 1.0) -> np.ndarray:
    """The mean of w² after 0, 1, 2, … noisy steps with these `rates` (steps, …) on ½ `curvature` w²: (steps + 1, …).

    Each step takes s to (1 - αλ)² s + α²σ², where `sigma` is the noise's standard deviation; `start` is s at step 0.
    The rates must not depend on the noise. `start`, `curvature` and `sigma` may be arrays that broadcast with one step's rates.
    Raises ValueError when `rates` has no axis, the others do not broadcast with one step's rates, or `start` or `sigma` is negative.
    Source: Bottou, Curtis & Nocedal 2018, section 4.2; derived in the chapter.

    >>> mean_square([0.5, 0.5], start=4.0).tolist()
    [4.0, 1.25, 0.5625]
    """
    alpha, s, lam, noise = (np.asarray(given, dtype=float) for given in (rates, start, curvature, sigma))
    if not alpha.ndim:
        raise ValueError(f"rates must have one entry for each step, got {rates!r}")
    try:
        shape = np.broadcast_shapes(alpha.shape[1:], s.shape, lam.shape, noise.shape)
    except ValueError:
        raise ValueError("rates, start, curvature and sigma must broadcast in each step, got the shapes "
                         f"{alpha.shape[1:]}, {s.shape}, {lam.shape} and {noise.shape}") from None
    squares = np.empty((len(alpha) + 1, *shape))
    squares[0] = s
    keeps, adds = (1 - alpha * lam) ** 2, (alpha * noise) ** 2
    for at in range(len(alpha)):
        squares[at + 1] = keeps[at] * squares[at] + adds[at]
    return squares


@overload
def averaged_mean_square(lr: float, count: int, start: float, *, curvature: float = 1.0, sigma: float = 1.0) -> float: ...
@overload
def averaged_mean_square(lr: float, count: np.ndarray, start: float, *, curvature: float = 1.0, sigma: float = 1.0) -> np.ndarray: ...
@checked(lr=POSITIVE, count=Numbers(low=1, whole=True), start=SIZE, curvature=POSITIVE, sigma=SIZE)
def averaged_mean_square(lr: float, count: int | np.ndarray, start: float, *, curvature: float = 1.0,
                         sigma: float = 1.0) -> float | np.ndarray:
    """The mean square of the average of the first `count` points, the start included, at a constant rate: about σ²/(λ² count).

    On ½ `curvature` w² only: where the curvature changes from place to place, the average has a bias that grows with `lr`. Steps
    and arguments are those of [`mean_square`][reference_impl.optimization.schedules.mean_square]; `count`, whole numbers from 1 up, may be an array. Raises ValueError when `lr` times `curvature` is not in (0, 2). Source: Polyak & Juditsky 1992, theorem 1.

    >>> averaged_mean_square(0.5, 1, start=4.0), averaged_mean_square(0.5, 2, start=4.0)
    (4.0, 2.3125)
    """
    if not 0 < lr * curvature < 2:
        raise ValueError(f"lr * curvature must lie in (0, 2), got {lr * curvature:g}")
    q = 1 - lr * curvature
    left = (1 - q**count) / (1 - q)
    noise = count - 2 * left + (1 - q ** (2 * count)) / (1 - q**2)
    return (left / count) ** 2 * start + (sigma / (curvature * count)) ** 2 * noise


def _points(path: Array | Sequence[object]) -> np.ndarray:
    """A path as a new array of float64."""
    points: np.ndarray = floats(path)
    if not points.ndim:
        raise ValueError(f"path must have an axis that counts its points, got {path!r}")
    return points


def _constant(step: int, *, lr: float) -> float:
    return lr


def _step_decay(step: int, *, lr: float, every: int, factor: float) -> float:
    return lr * factor ** (step // every)


def _exponential(step: int, *, lr: float, decay: float) -> float:
    return lr * decay**step


def _inverse_time(step: int, *, lr: float, half_after: float) -> float:
    return lr / (1 + step / half_after)


def _linear(step: int, *, lr: float, steps: int, floor: float) -> float:
    return floor + (lr - floor) * (steps - step) / steps if step < steps else floor


def _between(start: float, end: float, part: float) -> float:
    """Half a cosine from `start` (part 0) to `end` (part 1)."""
    return end + (start - end) * (1 + math.cos(math.pi * min(part, 1.0))) / 2


def _cosine(step: int, *, lr: float, steps: int, floor: float) -> float:
    return _between(lr, floor, step / steps)


def _warmup(step: int, *, steps: int, then: Schedule) -> float:
    return then(0) * (step + 1) / steps if step < steps else then(step - steps)


def _one_cycle(step: int, *, lr: float, steps: int, warm: float, start: float, end: float) -> float:
    peak = warm * steps
    return _between(lr * start, lr, step / peak) if step < peak else _between(lr, lr * end, (step - peak) / (steps - peak))


def _cyclic(step: int, *, lr: float, steps: int, floor: float) -> float:
    return _between(lr, floor, step % steps / steps)
