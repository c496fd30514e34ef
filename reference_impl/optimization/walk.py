"""The arrays of an optimizer in the pieces in which a step visits them: large ones by themselves, small ones joined."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .. import arrays
from ..arrays.flat import Flat
from ..engines.tape import Rule

# Up to so many elements it costs less to copy an array twice than to call the rule's ufuncs for it alone.
SMALL = 2**14

State = dict[str, Any]
"""For each state array of a rule, a dict or a [`Flat`][reference_impl.arrays.flat.Flat] with the keys of the parameters."""


class Walk:
    """The way of a `rule` through `params`, `grads` and `state`, which have been checked and fit together.

    It is good for as long as the very same parameters and state come again; gradients may be other arrays each time. `state` is the state
    to go on with: where small arrays are joined, their part of it lies in one buffer.
    """

    def __init__(self, rule: Rule, params: Mapping[str, Any], grads: Mapping[str, Any], state: State) -> None:
        self.rule = rule
        self._fitting: object = None  # the hyperparameters that suit the arrays' dtypes
        if type(params) is Flat:
            self.state: State = {name: of if type(of) is Flat else _join(of, params.shapes) for name, of in state.items()}
            self._joined = [_Joined(list(params), params, grads, self.state)]
            self._alone: list[str] = []
        else:
            self.state = {name: dict(of) for name, of in state.items()}
            small: dict[np.dtype, list[str]] = {}
            for key, w in params.items():
                if isinstance(w, np.ndarray) and w.size <= SMALL:
                    small.setdefault(w.dtype, []).append(key)
            groups = [keys for keys in small.values() if len(keys) > 1]
            self._joined = [_Joined(keys, params, grads, self.state) for keys in groups]
            joined = {key for keys in groups for key in keys}
            self._alone = [key for key in params if key not in joined]
        self._kinds = [weakref.ref(w) for w in {w.dtype: w for w in _parts(params)}.values()]
        self._params, self._grads = _seen(params), _seen(grads)
        self._arrays = [(of, len(of), () if type(of) is Flat else tuple(of.items())) for of in self.state.values()]

    def is_for(self, rule: Rule, params: Mapping[str, Any], state: State) -> bool:
        """Whether these are the arrays that it was made for, and the parameters can still be written."""
        if rule is not self.rule or state is not self.state or not _same(params, self._params):
            return False
        for of, (before, count, named) in zip(state.values(), self._arrays):
            if of is not before or len(of) != count or not all([of.get(key) is array for key, array in named]):
                return False
        return all([not isinstance(w, np.ndarray) or w.flags.writeable for w in _parts(params)])

    def check_scale(self, values: dict[str, float]) -> None:
        """Refuse a hyperparameter that vanishes in the dtype of a parameter: ValueError."""
        if values is not self._fitting:
            for kind in self._kinds:
                for name, value in values.items():
                    arrays.check_scale(name, value, kind())
            self._fitting = values

    def has(self, grads: Mapping[str, Any]) -> bool:
        """Whether these are the gradients of the last step."""
        return _same(grads, self._grads)

    def follow(self, params: Mapping[str, Any], grads: Mapping[str, Any]) -> None:
        """Take the gradients from other arrays from now on, which have been checked."""
        self._grads = _seen(grads)
        for joined in self._joined:
            joined.follow(params, grads)

    def pieces(self, params: Mapping[str, Any], grads: Mapping[str, Any]) -> list[list[Any]]:
        """[w, g, *state] for each call of the rule, with the numbers of now; small arrays are copied together."""
        for joined in self._joined:
            joined.gather()
        state = self.state.values()
        return [joined.buffers for joined in self._joined] + [[params[key], grads[key], *[of[key] for of in state]] for key in self._alone]

    def give_back(self) -> None:
        """Copy the parameters that were copied back to where they came from."""
        for joined in self._joined:
            for w, new in zip(joined.params, joined.views):
                w[...] = new


class _Joined:
    """Some of the arrays, as vectors [w, g, *state]; those that lie in a `Flat` already are used as they are.

    The others are copied before each step: the `sources`, parameters and then gradients, into `gathered`.
    """

    def __init__(self, keys: list[str], params: Mapping[str, Any], grads: Mapping[str, Any], state: State) -> None:
        self.keys = keys
        if type(params) is Flat:
            shapes, w, self.params, self.views = params.shapes, params.buffer, [], []
            self.gathered = arrays.full_like(w, 0.0)
        else:
            shapes, self.params = {key: params[key].shape for key in keys}, [params[key] for key in keys]
            size = sum(w.size for w in self.params)
            self.gathered = np.empty(2 * size, self.params[0].dtype)
            w = self.gathered[:size]
            self.views = list(Flat(w, shapes).values())
        self.buffers = [w, w]
        self.follow(params, grads)
        for of in state.values():
            flat = of if type(of) is Flat else _join({key: of[key] for key in keys}, shapes)
            if flat is not of:
                of.update(flat)
            self.buffers.append(flat.buffer)

    def follow(self, params: Mapping[str, Any], grads: Mapping[str, Any]) -> None:
        if type(params) is Flat and type(grads) is Flat and list(grads.shapes.items()) == list(params.shapes.items()):
            self.sources, self.buffers[1] = [], grads.buffer
        else:
            self.sources = [*self.params, *(grads[key] for key in self.keys)]
            self.buffers[1] = self.gathered[-self.buffers[0].size:]

    def gather(self) -> None:
        if self.sources and isinstance(self.gathered, np.ndarray):
            np.concatenate(self.sources, axis=None, out=self.gathered)
        elif self.sources:
            self.gathered[...] = arrays.flat_copy(self.sources)


def _join(named: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Flat:
    return Flat(arrays.flat_copy([named[key] for key in shapes]), shapes)


def _parts(mapping: Mapping[str, Any]) -> Iterable[Any]:
    """The arrays whose memory the mapping is."""
    return (mapping.buffer,) if type(mapping) is Flat else mapping.values()


Seen = weakref.ref[Any] | list[tuple[str, weakref.ref[Any]]]


def _seen(mapping: Mapping[str, Any]) -> Seen:
    """What to know a mapping by: a `Flat`, whose arrays never change, or the arrays of a dict."""
    return weakref.ref(mapping) if type(mapping) is Flat else [(key, weakref.ref(array)) for key, array in mapping.items()]


def _same(mapping: Mapping[str, Any], seen: Seen) -> bool:
    if isinstance(seen, weakref.ref):
        return seen() is mapping
    return type(mapping) is dict and len(mapping) == len(seen) and all([mapping.get(key, seen) is ref() for key, ref in seen])
