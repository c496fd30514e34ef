"""Pack and unpack: the arrays of a step as the vectors that a rule is applied to, and the way back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np

from .. import arrays, engines
from ..arrays.flat import Flat
from ..arrays.protocol import StandardArray
from ..engines.tape import Rule, is_elementwise, squares
from .checking import Layout, buffers

# Up to so many elements it costs less to copy an array twice than to call the rule's ufuncs for it alone.
SMALL = 2**14


# From so many elements on the average it costs a compiled loop less to be called for each array than to have all of them copied.
APART = 2**11


class Range(NamedTuple):
    """The numbers of a dtype whose square may be taken without a thought, and the smallest eps that hides a square that is lost."""

    low: float
    high: float
    eps: float


# A square of at most half the rounding of the largest number cannot lead over the end of the range, whatever it is added to.
RANGES = {dtype: Range(low=math.sqrt(float(limits.tiny / limits.eps)), high=math.sqrt(float(limits.max)) * math.sqrt(float(limits.eps) / 8),
                       eps=math.sqrt(float(limits.tiny)))
          for dtype in (np.dtype(np.float32), np.dtype(np.float64)) for limits in [np.finfo(dtype)]}
ANY = Range(low=0.0, high=math.inf, eps=0.0)  # for a rule that does not square


class Memory(NamedTuple):
    """What an optimizer keeps of one parameter: how many steps `t` it took and, by name, its state."""

    t: int
    state: Mapping[str, StandardArray]
    dtype: object = None  # the parameter's, once it has been seen

    def check(self, key: str, w: StandardArray) -> None:
        """Refuse a parameter that it does not fit: ValueError or TypeError."""
        for array in self.state.values():
            if arrays.namespace(array) is not arrays.namespace(w):
                library, other = (arrays.namespace(a).__name__ for a in (array, w))
                raise TypeError(f"params[{key!r}] must be an array of {library} as its state is, got one of {other}")
            dtype = w.dtype if self.dtype is None and arrays.is_half(w) and array.dtype == np.float32 else self.dtype or array.dtype
            if array.shape != w.shape or w.dtype != dtype:
                raise ValueError(f"params[{key!r}] must keep the shape {array.shape} and dtype {dtype} of the earlier steps, "
                                 f"got {w.shape} and {w.dtype}")


class Pack:
    """Some parameters that a rule steps on as on one array, with their memory.

    One array is taken as it is. Several are small. A compiled loop goes from one to the next; to be read in blocks, they are copied side by
    side for each step, and their state lies side by side for good. Or they are a whole [`Flat`][reference_impl.arrays.flat.Flat], whose buffer is taken.
    """

    def __init__(self, rule: Rule, keys: list[str], params: Mapping[str, StandardArray], memories: Mapping[str, Memory], engine: str | None) -> None:
        first = memories[keys[0]]
        self.keys, self.t, self.dtype, self.shapes = keys, first.t, first.dtype, {key: params[key].shape for key in keys}
        self.computing = arrays.computing_dtype(params[keys[0]])
        self.safe = RANGES[self.computing] if not is_elementwise(rule) or squares(rule) else ANY
        self.flat = type(params) is Flat and len(keys) == len(params) > 1
        size = sum(map(math.prod, self.shapes.values()))
        states = [[memories[key].state[name] for name in first.state] for key in keys]
        self.lines: list[list[np.ndarray]] = []  # the state of each parameter, where they are not joined
        if len(keys) > 1 and not self.flat and size >= APART * len(keys) and engines.compiles(cast(np.dtype, params[keys[0]].dtype), size, engine, rule):
            theirs = [cast(list[np.ndarray], [params[key], *state]) for key, state in zip(keys, states)]
            if all(array.flags.c_contiguous for row in theirs for array in row):
                self.lines = [[array.reshape(-1) for array in row[1:]] for row in theirs]
        joined = len(keys) > 1 and not self.lines
        self.state: dict[str, Mapping[str, StandardArray]] = {
            name: Flat(arrays.flat_copy(column), self.shapes) if joined else dict(zip(keys, column))
            for name, column in zip(first.state, zip(*states))}
        self.vectors = [vector for of in self.state.values() for vector in buffers(of).values()]
        self.copies: list[tuple[str, np.ndarray]] = []  # of the parameters
        if joined and not self.flat:
            self.room = np.empty(2 * size, params[keys[0]].dtype)
            self.copied = [self.room[:size], self.room[size:]]
            self.copies = list(cast(Mapping[str, np.ndarray], Flat(self.copied[0], self.shapes)).items())

    def pack(self, params: Mapping[str, StandardArray], grads: Mapping[str, StandardArray]) -> list[list[StandardArray]]:
        """Each `[w, g, *state]` that the rule takes."""
        keys = self.keys
        if len(keys) == 1:
            return [[params[keys[0]], grads[keys[0]], *self.vectors]]
        if self.lines:
            of_w, of_g = cast(tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]], (params, grads))
            return [[of_w[key].reshape(-1), of_g[key].reshape(-1), *state] for key, state in zip(keys, self.lines)]
        if self.flat:
            g = grads.buffer if type(grads) is Flat and list(grads.shapes) == keys else arrays.flat_copy([grads[key] for key in keys])
            return [[cast(Flat, params).buffer, g, *self.vectors]]
        together = [params[key] for key in keys] + [grads[key] for key in keys]
        np.concatenate(cast(list[np.ndarray], together), axis=None, out=self.room)
        return [[*self.copied, *self.vectors]]

    def unpack(self, params: Mapping[str, StandardArray]) -> None:
        """Copy the new parameters to where they belong, if they were copied."""
        for key, new in self.copies:
            params[key][...] = new

    def first(self, marked: np.ndarray) -> tuple[str, tuple[int, ...]]:
        """The key of the parameter, and the index in it, of the first element that is marked; no key if none is."""
        for key, array in Flat(marked.reshape(-1), self.shapes).items():
            if len(where := np.argwhere(array)):
                return key, tuple(where[0].tolist())
        return "", ()


class Packing(NamedTuple):
    """The parameters of a layout in packs for a rule, and the memory of those that are absent."""

    rule: str
    absent: Mapping[str, Memory]
    layout: Layout = ()
    packs: Sequence[Pack] = ()
    options: Sequence[str] = ()  # that the rule asks for besides its hyperparameters

    def memories(self) -> dict[str, Memory]:
        """The memory of each parameter."""
        packed = {key: Memory(pack.t, {name: of[key] for name, of in pack.state.items()}, pack.dtype) for pack in self.packs for key in pack.keys}
        return packed | dict(self.absent)

    def state(self) -> dict[str, StandardArray]:
        """The arrays in which the state lies, by the names that messages give them."""
        states = [pack.state for pack in self.packs]
        states += [{name: {key: array} for name, array in memory.state.items()} for key, memory in self.absent.items()]
        return {f"state[{name!r}][{key!r}]": array for state in states for name, of in state.items() for key, array in buffers(of).items()}


def packs_for(rule: Rule, params: Mapping[str, StandardArray], memories: Mapping[str, Memory], engine: str | None) -> list[Pack]:
    """All `params` in packs: a rule over whole arrays gets each by itself, an elementwise one small arrays that took equally many steps together."""
    together: dict[object, list[str]] = {}
    whole = type(params) is Flat and len({memories[key].t for key in params}) == 1
    for key, w in params.items():
        small = isinstance(w, np.ndarray) and w.size <= SMALL
        kind: object = (w.dtype, memories[key].t) if small or whole else key
        together.setdefault(kind if is_elementwise(rule) else key, []).append(key)
    return [Pack(rule, keys, params, memories, engine) for keys in together.values()]
