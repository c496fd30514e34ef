"""What every optimizer shares: hyperparameters, state, checks, and `update` in place."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import numpy as np

from .. import arrays, engines
from ..engines.tape import Rule, trace
from .walk import Walk

Schedule = Callable[[int], float]
"""A hyperparameter that changes: a pure function of the number of finished steps (0, 1, 2, …)."""


class Interval(NamedTuple):
    """Where a hyperparameter may lie: from `low` (excluded if `open_low`) up to `high`, excluded.

    >>> print(Interval(0, 1)), print(Interval(0, math.inf, open_low=True))
    [0, 1)
    (0, inf)
    (None, None)
    """

    low: float
    high: float
    open_low: bool = False

    def __contains__(self, value: object) -> bool:
        return self.low <= value < self.high and not (self.open_low and value == self.low)  # type: ignore[operator]

    def __str__(self) -> str:
        return f"{'(' if self.open_low else '['}{self.low:g}, {self.high:g})"


def hyper(default: float, low: float, high: float = math.inf, *, open_low: bool = False) -> Any:
    """A hyperparameter field of an optimizer: its default and where it may lie."""
    return field(default=default, metadata={"within": Interval(low, high, open_low)})


@dataclass
class Optimizer:
    """The base of all optimizers; a subclass gives its hyperparameters as fields, and its rule.

    Any hyperparameter is a number or a [`Schedule`][reference_impl.optimization.optimizer.Schedule].
    `check_finite=False` skips the look at the gradients, which costs one more pass over them. `engine` says how the rule is read on
    NumPy arrays, as [`set_engine`][reference_impl.engines.set_engine] does for all optimizers.
    """

    rule: ClassVar[Rule]

    check_finite: bool = field(default=True, kw_only=True, repr=False)
    engine: str | None = field(default=None, kw_only=True, repr=False)
    steps: int = field(default=0, init=False, repr=False, compare=False)
    state: dict[str, dict[str, Any]] = field(default_factory=dict, init=False, repr=False, compare=False)

    _walk: Walk | None = field(default=None, init=False, repr=False, compare=False)
    _given: tuple[list[Any], dict[str, float]] = field(default=([], {}), init=False, repr=False, compare=False)

    _begun: str = field(default="", init=False, repr=False, compare=False)  # the rule that the state belongs to

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_walk": None}  # weak references cannot be pickled

    def __post_init__(self) -> None:
        engines.check_engine(self.engine)
        for name, within in _INTERVALS[type(self)].items():
            if not callable(value := getattr(self, name)):
                _checked(name, value, within)

    def _rule(self) -> Rule:
        """The rule that the options choose."""
        return type(self).rule

    def _initial(self, name: str) -> float:
        """What the state array `name` holds before the first step."""
        return 0.0

    def hyperparameters(self) -> dict[str, float]:
        """The value of each hyperparameter in the coming step.

        Raises ValueError when one lies outside its range, TypeError when it is no number.

        >>> from reference_impl import SGD
        >>> SGD(lr=lambda step: 0.1 / (1 + step)).hyperparameters()
        {'lr': 0.1}
        """
        return dict(self._hyperparameters())

    def _hyperparameters(self) -> dict[str, float]:
        """The same; the very same dict as long as the same numbers stand in the fields."""
        given, values = self._given
        intervals = _INTERVALS[type(self)]
        fields_now = [getattr(self, name) for name in intervals]
        if len(given) == len(fields_now) and all(map(operator.is_, given, fields_now)):
            return values
        values = {}
        for (name, within), value in zip(intervals.items(), fields_now):
            scheduled = callable(value)
            values[name] = _checked(f"{name}({self.steps})" if scheduled else name, value(self.steps) if scheduled else value, within)
        self._given = [] if any(map(callable, fields_now)) else fields_now, values
        return values

    def update(self, params: Mapping[str, Any], grads: Mapping[str, Any]) -> None:
        """Take one step: change every array of `params` in place.

        `params` and `grads` are dicts with the same keys; each gradient has its parameter's shape
        and dtype (float16, 32 or 64). Any layout will do: 0-d, empty, strided, Fortran order; and
        arrays of any library that follows the array API standard and can be changed in place.

        Raises ValueError or TypeError, before anything is changed, when keys, shapes or dtypes do
        not fit, a gradient holds NaN or infinity, a parameter is read-only, two arrays share
        memory, or a hyperparameter is out of range or vanishes in the dtype. Only an interrupt can
        leave a step half done.

        >>> import numpy as np
        >>> from reference_impl import SGD
        >>> params = {"w": np.array([1.0, 2.0])}
        >>> SGD(lr=0.1).update(params, {"w": np.array([1.0, -1.0])})
        >>> print(params["w"])
        [0.9 2.1]
        """
        rule = self._rule()
        values = self._hyperparameters()
        walk = self._walk
        if walk is None or not walk.is_for(rule, params, self.state):
            arrays.check_fit(params, grads)
            state = self._state_for(rule, params)
            arrays.check_apart(params, grads, state)
            walk = Walk(rule, params, grads, state)
        elif not walk.has(grads):
            arrays.check_fit(params, grads)
            arrays.check_apart(params, grads, self.state)
            walk.follow(params, grads)
        walk.check_scale(values)
        pieces = walk.pieces(params, grads)
        if self.check_finite and not engines.finite([piece[1] for piece in pieces], self.engine):
            key = next(key for key, g in grads.items() if not engines.finite([g]))
            raise ValueError(f"grads[{key!r}] must be finite, got {arrays.not_finite(grads[key])}")
        self._walk, self.state, self._begun = walk, walk.state, rule.__name__
        engines.quietly(self._step, walk, pieces, {**values, "t": self.steps + 1})
        self.steps += 1

    def _step(self, walk: Walk, pieces: list[list[Any]], values: dict[str, float]) -> None:
        for piece in pieces:
            engines.step(walk.rule, piece, values, self.engine)
        walk.give_back()

    def _state_for(self, rule: Rule, params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The state arrays that fit `params`: those at hand, or zeros before the first step."""
        names = trace(rule).state if params or self.state else ()
        if self.state and self._begun != rule.__name__:
            raise ValueError(f"the rule must stay {self._begun!r}, whose state this is, got {rule.__name__!r}")
        if not self.state:
            return {name: {key: arrays.full_like(w, self._initial(name)) for key, w in params.items()} for name in names}
        for name in names:
            have = self.state[name]
            if have.keys() != params.keys():
                raise ValueError(f"params must keep the keys of the earlier steps {sorted(have)}, got {sorted(params)}")
            for key, w in params.items():
                if have[key].shape != w.shape or have[key].dtype != w.dtype:
                    raise ValueError(f"params[{key!r}] must keep the shape {have[key].shape} and dtype {have[key].dtype} "
                                     f"of the earlier steps, got {w.shape} and {w.dtype}")
        return self.state

    def state_dict(self) -> dict[str, Any]:
        """The count of steps and the state, in a flat dict of copies, ready for `np.savez`; hyperparameters are not in it.

        >>> import numpy as np
        >>> from reference_impl import Momentum
        >>> optimizer = Momentum(lr=0.1)
        >>> optimizer.update({"w": np.array([1.0])}, {"w": np.array([0.5])})
        >>> optimizer.state_dict()
        {'rule': 'momentum', 'steps': 1, 'v/w': array([0.5])}
        """
        copies = {f"{name}/{key}": arrays.copy(a) for name, of in self.state.items() for key, a in of.items()}
        return {"rule": self._rule().__name__, "steps": self.steps, **copies}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from `saved`, a `state_dict` of an optimizer with the same rule.

        With the same hyperparameters the resumed run equals the uninterrupted one bit for bit. Raises ValueError, before
        anything is changed, when `saved` belongs to another rule or lacks something.
        """
        rule = self._rule()
        if not isinstance(saved, Mapping):
            raise TypeError(f"saved must be a dict, got {type(saved).__name__}")
        if missing := {"rule", "steps"} - set(saved):
            raise ValueError(f"saved must hold 'rule' and 'steps', got none for {sorted(missing)}")
        if str(saved["rule"]) != rule.__name__:
            raise ValueError(f"saved must come from the rule {rule.__name__!r}, got {str(saved['rule'])!r}")
        try:
            steps = operator.index(np.asarray(saved["steps"])[()])
        except TypeError:
            steps = -1
        if steps < 0:
            raise ValueError(f"saved['steps'] must be a count of steps, got {saved['steps']!r}")
        state: dict[str, dict[str, Any]] = {name: {} for name in trace(rule).state}
        for entry in sorted(set(saved) - {"rule", "steps"}, key=str):
            name, slash, key = str(entry).partition("/")
            if name not in state or not slash:
                raise ValueError(f"saved must hold {', '.join(f'{n}/<key>' for n in state) or 'no arrays'}, got {entry!r}")
            if not arrays.is_plain(saved[entry]) or not arrays.is_floating(saved[entry]):
                raise TypeError(f"saved[{entry!r}] must be an array of floating-point numbers, got {saved[entry]!r}")
            state[name][key] = arrays.copy(saved[entry])
        if any(a.keys() != b.keys() for a, b in pairwise(state.values())) or (steps and not all(state.values())):
            raise ValueError(f"saved must hold every state array of {list(state)} for every key, got {sorted(saved)}")
        self.steps, self.state, self._begun = steps, state if steps else {}, rule.__name__


class _Intervals(dict[type[Optimizer], dict[str, Interval]]):
    """The hyperparameters of each optimizer with their intervals, collected when first asked for."""

    def __missing__(self, optimizer: type[Optimizer]) -> dict[str, Interval]:
        self[optimizer] = {f.name: f.metadata["within"] for f in fields(optimizer) if "within" in f.metadata}
        return self[optimizer]


_INTERVALS = _Intervals()


def _checked(name: str, value: Any, within: Interval) -> float:
    if type(value) is not float and (not isinstance(value, numbers.Real) or isinstance(value, bool)):
        raise TypeError(f"{name} must be a number in {within} or a schedule, got {value!r}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if number not in within:
        raise ValueError(f"{name} must lie in {within}, got {value!r}")
    return number

