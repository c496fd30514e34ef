"""Check: what an optimizer refuses of parameters and gradients, before anything is changed."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .. import arrays
from ..arrays.checks import check_dict
from ..arrays.flat import Flat
from ..arrays.protocol import StandardArray

Layout = tuple[tuple[str, object, object, object, bool], ...]
"""The key, type, dtype and shape of each array of a dict, and whether NumPy has it in C order; a `Flat` counts as one array with many shapes."""


def buffers(named: Mapping[str, StandardArray]) -> Mapping[str, StandardArray]:
    """The arrays whose memory a dict is: its own, or that of all together."""
    return {"": named.buffer} if type(named) is Flat else named


class Checked(NamedTuple):
    """What was found right in the last step: the layout, and which arrays share no memory."""

    layout: Layout = ()
    apart: Sequence[weakref.ref[StandardArray]] = ()


def check_arrays(known: Checked, params: Mapping[str, StandardArray], grads: Mapping[str, StandardArray],
                 state: Callable[[], dict[str, StandardArray]]) -> tuple[Checked, Mapping[str, StandardArray]]:
    """Refuse what no step can be taken with: TypeError or ValueError. What is `known` from the last step is not looked at twice.

    Gives what is known now, and the gradients as arrays. `state()` names the arrays that only the optimizer may hold.
    """
    if not have_layout(known.layout, params, grads):
        check_params(params)
        known, grads = Checked(layout(params)), fitting(params, grads)
    written, read = buffers(params), buffers(grads)
    given, before = [*written.values(), *read.values()], [seen() for seen in known.apart]
    if len(given) == len(before) and all(map(operator.is_, given, before)):
        return known, grads
    check_apart({f"params[{key!r}]": w for key, w in written.items()} | state(), {f"grads[{key!r}]": g for key, g in read.items()})
    return Checked(known.layout, [weakref.ref(array) for array in given]), grads


def layout(named: Mapping[str, StandardArray]) -> Layout:
    """What fits with other arrays of the same layout, once it has been checked."""
    if type(named) is Flat:
        return (("", type(named.buffer), named.buffer.dtype, named.shapes, True),)
    return tuple([(key, type(array), array.dtype, array.shape, isinstance(array, np.ndarray) and array.flags.c_contiguous)
                  for key, array in named.items()])


def have_layout(before: Layout, params: Mapping[str, StandardArray], grads: Mapping[str, StandardArray]) -> bool:
    """Whether parameters, writeable, and gradients surely have a layout that has been checked; where not, all is checked again."""
    if type(params) is Flat and type(grads) is Flat:
        buffer, shapes = params.buffer, params.shapes
        return (layout(params) == before and type(grads.buffer) is type(buffer) and grads.buffer.dtype is buffer.dtype
                and (grads.shapes is shapes or grads.shapes == shapes) and (not isinstance(buffer, np.ndarray) or buffer.flags.writeable))
    if type(params) is not dict or type(grads) is not dict or not len(params) == len(grads) == len(before):
        return False
    for key, kind, dtype, shape, in_order in before:
        w, g = params.get(key), grads.get(key)
        if w is None or g is None or not type(w) is type(g) is kind or not w.dtype is g.dtype is dtype or w.shape != shape or g.shape != shape:
            return False
        if isinstance(w, np.ndarray):
            flags = w.flags
            if not flags.writeable or flags.c_contiguous is not in_order:
                return False
    return True


def check_params(params: Mapping[str, StandardArray]) -> None:
    """Refuse what is no dict of plain arrays of floating-point numbers, TypeError, and those that cannot be changed in place, ValueError."""
    check_dict("params", params)
    for key, w in params.items():
        if not arrays.is_floating(w):
            raise TypeError(f"params[{key!r}] must have the dtype float16, float32 or float64, got {w.dtype}")
        if isinstance(w, np.ndarray) and not w.flags.writeable:
            raise ValueError(f"params[{key!r}] must be writeable, got a read-only array")


def fitting(params: Mapping[str, StandardArray], grads: Mapping[str, StandardArray]) -> Mapping[str, StandardArray]:
    """The gradients, those that are NumPy's numbers as arrays of no axes: so NumPy gives the gradient of such a parameter.

    Raises TypeError or ValueError where keys, shapes, dtypes or libraries are not those of the parameters.
    """
    if isinstance(grads, Mapping) and any(isinstance(g, np.generic) for g in grads.values()):
        grads = {key: np.asarray(g) if isinstance(g, np.generic) else g for key, g in grads.items()}
    check_dict("grads", grads)
    if params.keys() != grads.keys():
        raise ValueError(f"grads must have the keys of params {sorted(params)}, got {sorted(grads)}")
    for key, w in params.items():
        g = grads[key]
        if isinstance(w, np.ndarray) != isinstance(g, np.ndarray) or arrays.namespace(g) is not arrays.namespace(w):
            library, other = (arrays.namespace(array).__name__ for array in (w, g))
            raise TypeError(f"grads[{key!r}] must be an array of {library} as its parameter is, got one of {other}")
        if g.dtype != w.dtype:
            raise TypeError(f"grads[{key!r}] must have the dtype {w.dtype} of its parameter, got {g.dtype}")
        if g.shape != w.shape:
            raise ValueError(f"grads[{key!r}] must have the shape {w.shape} of its parameter, got {g.shape}")
    return grads


def check_apart(written: Mapping[str, StandardArray], read: Mapping[str, StandardArray]) -> None:
    """Refuse an array to be written, named as in a message, that shares memory with itself or with another array: ValueError.

    What is only read may share memory among itself. Of other libraries' arrays it is only known whether two are the same object.
    """
    named = [(name, True, array) for name, array in written.items()] + [(name, False, array) for name, array in read.items()]
    seen: dict[int, tuple[str, bool]] = {}
    for name, writes, array in named:
        other, other_writes = seen.setdefault(id(array), (name, writes))
        if other != name and (writes or other_writes):
            raise ValueError(f"{name} and {other} must not share memory, got the same array")
        if writes and isinstance(array, np.ndarray) and not (array.flags.forc or array.size == 0) and _overlaps_itself(array):
            raise ValueError(f"{name} must not overlap itself, got strides {array.strides} for the shape {array.shape}")
    spans = sorted((*_bounds(a), at) for at, (_, _, a) in enumerate(named) if isinstance(a, np.ndarray) and a.size)
    reach: Sequence[tuple[int, int, int]] = []  # spans that may still overlap the next
    for low, high, at in spans:
        name, writes, array = named[at]
        reach = [span for span in reach if span[1] > low]
        for _, _, before in reach:
            other, other_writes, other_array = named[before]
            if (writes or other_writes) and _share_memory(array, other_array):
                raise ValueError(f"{name} and {other} must not share memory, got arrays that overlap")
        reach = [*reach, (low, high, at)]


def _bounds(array: np.ndarray) -> tuple[int, int]:
    """The addresses between which an array's elements lie."""
    if array.flags.forc:
        start = array.__array_interface__["data"][0]
        return start, start + array.nbytes
    return np.lib.array_utils.byte_bounds(array)


def _share_memory(a: StandardArray, b: StandardArray) -> bool:
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:  # undecided in reasonable time: not worth the risk
        return True


def _overlaps_itself(array: np.ndarray) -> bool:
    """Whether two elements may share memory: an axis steps less far than the finer axes reach."""
    reach = array.itemsize
    for stride, count in sorted((abs(s), n) for s, n in zip(array.strides, array.shape) if n > 1):
        if stride < reach:
            return True
        reach += stride * (count - 1)
    return False
