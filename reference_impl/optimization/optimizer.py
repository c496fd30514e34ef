"""What every optimizer shares: hyperparameters, memory, and `update` in place: check, pack, step, unpack."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np

from .. import arrays, engines
from ..arrays.checks import NAME, check
from ..arrays.protocol import StandardArray
from ..engines.tape import Rule, is_elementwise, signature, trace
from . import saving
from .checking import Checked, Layout, check_arrays
from .clipping import norm
from .packing import Memory, Packing, packs_for
from .settings import BOUND, Setting, settings_of
from .share import Share

LOST = 1e-44  # no dtype loses a larger number than that

Schedule = Callable[[int], float]
"""A hyperparameter that changes: a pure function of the number of finished steps (0, 1, 2, …)."""


def hyper(default: float, low: float, high: float = math.inf, *, open_low: bool = False, scheduled: bool = True) -> Any:
    """A hyperparameter field of an optimizer: its default, where it may lie (below `high`), and whether it may be a schedule."""
    return field(default=default, metadata={"setting": Setting(low, high, open_low, scheduled)})


@dataclass
class Optimizer:
    """The base of all optimizers; a subclass gives its hyperparameters as fields, and its rule.

    Any hyperparameter is a number or a [`Schedule`][reference_impl.optimization.optimizer.Schedule]. These four stand in every optimizer:

    - `clip_norm` and `clip_value` > 0 keep the gradients within a bound: first the norm of all of them together, then each number,
      as [`clip_norm`][reference_impl.clip_norm] and [`clip_value`][reference_impl.clip_value] do. What `update` is given stays as it is.
    - `check_finite=False` skips the look at the gradients, which costs one more pass over them: nobody sees then that one is NaN or
      infinite, or too large or too small for its square. With `clip_norm` the pass is needed anyway, and NaN and infinity are refused.
    - `engine` says how the rule is read on NumPy arrays, as [`set_engine`][reference_impl.engines.set_engine] does for all optimizers.

    `steps` counts the updates, and schedules follow it.
    """

    rule: ClassVar[Rule]

    check_finite: bool = field(default=True, kw_only=True, repr=False)
    engine: Literal["blocked", "compiled"] | None = field(default=None, kw_only=True, repr=False)
    clip_norm: float | Schedule | None = field(default=None, kw_only=True, repr=False, metadata={"setting": BOUND})
    clip_value: float | Schedule | None = field(default=None, kw_only=True, repr=False, metadata={"setting": BOUND})
    steps: int = field(default=0, init=False, repr=False, compare=False)

    _settings: Mapping[str, Setting] = field(init=False, repr=False, compare=False)
    _made: dict[str, saving.Saved] = field(init=False, repr=False, compare=False)  # the settings at first
    _checked: Checked = field(default=Checked(), init=False, repr=False, compare=False)
    _packing: Packing = field(default=Packing("", {}), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        engines.check_engine(self.engine)
        self._settings = settings_of(self)
        self._made = saving.settings_now(self)

    def __getstate__(self) -> dict[str, Any]:
        """What a copy needs: packs are made anew, and weak references cannot be pickled."""
        return self.__dict__ | {"_checked": Checked(), "_packing": Packing(self._packing.rule, self._packing.memories())}

    def _rule(self) -> Rule:
        """The rule that the options choose."""
        return type(self).rule

    def _initial(self, name: str) -> float:
        """What the state array `name` holds before the first step."""
        return 0.0

    def _check_param(self, key: str, w: StandardArray) -> None:
        """Refuse an array that the rule cannot take."""

    @property
    def state(self) -> Mapping[str, Mapping[str, StandardArray]]:
        """For each state array of the rule, by name, the array of each parameter: float32 for one in float16, else in its dtype.

        They change in place; none can be replaced by another.
        """
        found: dict[str, dict[str, StandardArray]] = {}
        for key, memory in self._memories().items():
            for name, array in memory.state.items():
                found.setdefault(name, {})[key] = array
        return MappingProxyType({name: MappingProxyType(of) for name, of in found.items()})

    def optimizer_of(self, key: str) -> Optimizer:
        """The optimizer that steps on a parameter: itself, where there are no groups."""
        check("key", key, NAME)
        return self

    def _packings(self) -> Iterable[Packing]:
        """How the parameters are packed, in each group if there are some."""
        return [self._packing]

    def _memories(self) -> dict[str, Memory]:
        return {key: memory for packing in self._packings() for key, memory in packing.memories().items()}

    def _state_arrays(self) -> dict[str, StandardArray]:
        return {name: array for packing in self._packings() for name, array in packing.state().items()}

    def hyperparameters(self) -> dict[str, float]:
        """The value of each hyperparameter of the rule in the coming step.

        Raises ValueError when one lies outside its range, TypeError when it is no number.

        >>> from reference_impl import SGD
        >>> SGD(lr=lambda step: 0.1 / (1 + step)).hyperparameters()
        {'lr': 0.1}
        """
        values = {}
        for name, setting in self._settings.items():
            if not setting.optional:
                given = getattr(self, name)
                fits = type(given) is float and setting.least <= given < setting.high  # so it is in nearly every step
                values[name] = given if fits else setting.value(name, given, self.steps)
        return values

    def update(self, params: Mapping[str, StandardArray], grads: Mapping[str, StandardArray]) -> None:
        """Take one step: change every array of `params` in place.

        `params` and `grads` are dicts with the same keys; each gradient has its parameter's shape
        and dtype (float16, 32 or 64). Any layout will do: 0-d, empty, strided, Fortran order; and
        arrays of any library that follows the array API standard and can be changed in place.

        A key may be absent for some steps, and new keys may come: each keeps its state and its own count of steps. Arrays in
        float16 are stepped on in float32, with a state in float32, and rounded once.

        Raises ValueError or TypeError, before anything is changed, when keys, shapes or dtypes do not fit, none of the keys of the
        earlier steps is there, a gradient holds NaN or infinity, or has a square that leaves the dtype and would spoil the step, a new
        parameter holds NaN, a parameter is read-only, two arrays share memory, or a hyperparameter is out of range or vanishes in the
        dtype, or the rule makes no number of its hyperparameters, as of 1 / 0. Only an interrupt, or a rule over whole arrays that raises, can leave a step half done.

        >>> import numpy as np
        >>> from reference_impl import SGD
        >>> params = {"w": np.array([1.0, 2.0])}
        >>> SGD(lr=0.1).update(params, {"w": np.array([1.0, -1.0])})
        >>> print(params["w"])
        [0.9 2.1]
        """
        checked, grads = check_arrays(self._checked, params, grads, self._state_arrays)
        shares = self._shares(checked.layout, params, grads)
        for share in shares:
            share.pack()
        self._clip(shares)
        engines.quietly(take, shares)
        self._checked = checked
        self.steps += 1

    def _shares(self, now: Layout, params: Mapping[str, StandardArray], grads: Mapping[str, StandardArray],
                known_elsewhere: Callable[[], bool] = lambda: False) -> list[Share]:
        """What is to be done with parameters of the layout `now`, and with which hyperparameters."""
        rule, packing, values = self._rule(), self._packing, self.hyperparameters()
        if packing.rule != rule.__name__ or packing.layout != now:
            packing = self._pack_for(rule, now, params, known_elsewhere)
        if min(filter(None, values.values()), default=1.0) < LOST:
            check_scale(values, packing)
        for name in packing.options:
            values[name] = getattr(self, name)
        return [Share(self, rule, values, packing, params, grads)]

    def _pack_for(self, rule: Rule, now: Layout, params: Mapping[str, StandardArray], known_elsewhere: Callable[[], bool]) -> Packing:
        """These parameters packed, each with the memory that there is of it, or a new one.

        Strangers alone are refused, unless another group of the same step knows some of its own.
        """
        known, names, begun = self._memories(), signature(rule).state, self._packing.rule
        if is_elementwise(rule):
            trace(rule)  # what cannot be read is refused here
        if known and names and begun != rule.__name__:
            raise ValueError(f"the rule must stay {begun!r}, whose state this is, got {rule.__name__!r}")
        if known and names and params and known.keys().isdisjoint(params) and not known_elsewhere():
            raise ValueError(f"params must keep the keys of the earlier steps {sorted(known)}, or some of them, got {sorted(params)}")
        mine = {}
        for key, w in params.items():
            if self.check_finite and not engines.finite([w], self.engine):
                raise ValueError(f"params[{key!r}] must be finite, got {arrays.not_finite(w)}")
            self._check_param(key, w)
            memory = known.pop(key, None)
            if memory is None:
                memory = Memory(0, {name: arrays.full_like(arrays.wide(w), self._initial(name)) for name in names}, w.dtype)
            memory.check(key, w)
            mine[key] = memory._replace(dtype=w.dtype)
        options = [name for name in signature(rule).hyper if name not in self._settings and name != "t"]
        if unknown := [name for name in options if not hasattr(self, name)]:
            raise TypeError(f"rule {rule.__name__} must take hyperparameters that are fields of {type(self).__name__}, got {unknown[0]!r}")
        return Packing(rule.__name__, known, now, packs_for(rule, params, mine, self.engine), options)

    def _clip(self, shares: Sequence[Share]) -> None:
        """Have the gradients of some shares scaled together and cut, where a bound is set."""
        if self.clip_norm is None and self.clip_value is None:
            return
        factors, limit = (1.0, 1.0), math.inf
        if self.clip_norm is not None:
            highest = BOUND.value("clip_norm", self.clip_norm, self.steps)
            total = norm(g for share in shares for g in share.grads.values())  # one by one, however they are packed: to the last bit
            if not total.root < math.inf:
                for share in shares:
                    share.check_finite()
            for share in shares:
                share.norm = total.value
            factors = total.shrink(highest)
        if self.clip_value is not None:
            limit = BOUND.value("clip_value", self.clip_value, self.steps)
        for share in shares:
            if limit < LOST:
                check_scale({"clip_value": limit}, share.packing)
            share.clip(factors, limit)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to equal the uninterrupted one, in a flat dict of numbers, text and copies of arrays, ready for `np.savez`.

        The rule that the state belongs to; how many steps were taken, and how many with each parameter; the state;
        under `hyper/` the hyperparameters as they are, and under `made/` those that were others when the optimizer was made. Of a schedule
        it only says that it is one.

        >>> import numpy as np
        >>> from reference_impl import Momentum
        >>> optimizer = Momentum(lr=0.1)
        >>> optimizer.update({"w": np.array([1.0])}, {"w": np.array([0.5])})
        >>> optimizer.state_dict()
        {'rule': 'momentum', 'steps': 1, 'hyper/lr': 0.1, 'hyper/rho': 0.9, 'hyper/lr_inside': False, 'steps/w': 1, 'v/w': array([0.5])}
        """
        saved, memories = saving.head(self, self._packing.rule or self._rule().__name__), self._memories()
        saved |= {f"steps/{key}": memory.t for key, memory in memories.items()}
        return saved | {f"{name}/{key}": arrays.copy(array) for key, memory in memories.items() for name, array in memory.state.items()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from `saved`, a `state_dict` of an optimizer with the same rule, made with the same hyperparameters.

        The resumed run equals the uninterrupted one bit for bit: hyperparameters that were changed on the way are changed here too. Raises
        ValueError or TypeError, before anything is changed, when `saved` lacks something, belongs to another rule, or to an optimizer made with
        other hyperparameters: to go on with others, load first and set them then.
        """
        for optimizer, attributes in self._read(saved):
            vars(optimizer).update(attributes)

    def _read(self, saved: Mapping[str, Any]) -> list[tuple[Optimizer, dict[str, Any]]]:
        """What `saved` makes of the attributes of an optimizer, or of each in some groups."""
        rule = self._rule()
        names = signature(rule).state
        steps, entries = saving.split(saved, rule.__name__, ("steps", *names))
        packing = Packing(rule.__name__, saving.memories(entries, names, steps))
        return [(self, {"steps": steps, "_packing": packing, **saving.settings_to_go_on_with(self, entries["hyper"], entries["made"])})]


def take(shares: Sequence[Share]) -> None:
    """Take a step, if nothing speaks against any part of it."""
    for share in shares:
        share.check_numbers()
    if len(shares) > 1 or len(shares[0].pieces) > 1:  # else nothing is changed before the only pack is refused
        for share in shares:
            share.check_scalars()
    for share in shares:
        share.step()


def check_scale(values: Mapping[str, float], packing: Packing) -> None:
    """Refuse a hyperparameter that is not 0 but would be in the dtype in which a parameter is stepped on: ValueError."""
    for pack in packing.packs:
        for name, value in values.items():
            arrays.check_scale(name, value, np.empty(0, pack.computing))
