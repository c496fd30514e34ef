"""Gradients kept within a bound: as functions on a dict of gradients, and inside a rule.

What is left is a gradient too. Of the loss ½r² the gradient is r; cut at c, it is that of Huber's loss, ½r² up to |r| = c and c(|r| - ½c)
beyond it. Cutting the norm of all of r at c gives the gradient of the same function of ‖r‖.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import NamedTuple, cast

import numpy as np

from .. import arrays, engines
from ..arrays.checks import POSITIVE, check, check_dict
from ..arrays.protocol import Array, StandardArray
from ..engines import blocked
from ..engines.tape import Rule, is_elementwise, signature, whole_arrays


class Norm(NamedTuple):
    """The Euclidean norm of many arrays, infinite where it exceeds float64, and its root, which never does."""

    value: float
    root: float

    def shrink(self, bound: float) -> tuple[float, float]:
        """Two factors that together bring the norm down to `bound`: a tiny one comes in two parts, which no dtype loses.

        They are 1 where the norm exceeds the bound by no more than its own rounding.
        """
        if self.value <= bound * (1 + 1e-15):
            return 1.0, 1.0
        root = math.sqrt(bound) / self.root
        return (root, root) if root < 1e-15 or math.isinf(self.value) else (bound / self.value, 1.0)


def norm(given: Iterable[StandardArray]) -> Norm:
    """The norm of all elements together, summed in float64; scaled by the largest where squares would leave its range.

    >>> norm([np.array([3.0], dtype="f2"), np.array([4.0])])
    Norm(value=5.0, root=2.23606797749979)
    >>> norm([2.0**600 * np.array([3.0, 4.0])]).value == 2.0**600 * 5
    True
    """
    vectors = [cast(Array, vector) for vector in given if math.prod(vector.shape)]
    with np.errstate(all="ignore"):
        squares, largest = sum(_squares(vector, 1.0) for vector in vectors), 1.0
        if not 1e-280 < squares < math.inf:
            largest = max([arrays.largest(vector) for vector in vectors], default=0.0)
            if not 0 < largest < math.inf:
                return Norm(largest, largest)
            largest = math.ldexp(1.0, math.frexp(largest)[1] - 1)  # a power of two, which rounds nothing
            squares = sum(_squares(vector, largest) for vector in vectors)
    return Norm(largest * math.sqrt(squares), math.sqrt(largest) * squares**0.25)


def _squares(vector: Array, scale: float) -> float:
    if not isinstance(vector, np.ndarray):
        wide = _wide(vector) / scale
        return float(wide @ wide)
    pieces = (piece.astype(np.float64) / scale for (piece,) in blocked.blocks([vector], 2**15, read=0))
    return math.fsum(float(np.dot(piece, piece)) for piece in pieces)


def _wide(vector: Array) -> Array:
    if arrays.on_device(vector):
        return vector.ravel().astype(np.float64)
    xp = arrays.namespace(vector)
    wide: Array = xp.astype(xp.reshape(vector, (-1,)), xp.float64)
    return wide


def clip_norm(grads: Mapping[str, Array], bound: float) -> dict[str, Array]:
    """The gradients, all scaled by one factor so that the norm of all their numbers together is at most `bound` > 0.

    Those within it are given back to the bit, in arrays of their own; the norm of others is `bound` to rounding, however large they were.
    Raises TypeError or ValueError for what is no dict of finite floating-point arrays. Source: Pascanu, Mikolov & Bengio 2013, algorithm 1.

    >>> clip_norm({"W": np.array([[6.0]]), "b": np.array([8.0])}, 5.0)
    {'W': array([[3.]]), 'b': array([4.])}
    """
    _check(grads, bound)
    one, other = norm(grads.values()).shrink(bound)
    return {key: arrays.copy(g) if one == 1 else _kept(g, lambda wide: wide * one * other) for key, g in grads.items()}


def clip_value(grads: Mapping[str, Array], bound: float) -> dict[str, Array]:
    """The gradients, each number cut to [-`bound`, `bound`], `bound` > 0, in arrays of their own.

    Raises TypeError or ValueError for what is no dict of finite floating-point arrays.

    >>> clip_value({"w": np.array([0.5, -3.0])}, 1.0)
    {'w': array([ 0.5, -1. ])}
    """
    _check(grads, bound)
    return {key: _kept(g, lambda wide: arrays.functions(wide).clip(wide, -bound, bound)) for key, g in grads.items()}


def _check(grads: Mapping[str, Array], bound: float) -> None:
    check("bound", bound, POSITIVE)
    check_dict("grads", grads)
    for key, g in grads.items():
        if not arrays.is_floating(g):
            raise TypeError(f"grads[{key!r}] must have the dtype float16, float32 or float64, got {g.dtype}")
        if not engines.finite([g]):
            raise ValueError(f"grads[{key!r}] must be finite, got {arrays.not_finite(g)}")


def _kept(g: Array, change: Callable[[Array], Array]) -> Array:
    """`g` changed, in its own dtype; float16 by way of float32."""
    with np.errstate(all="ignore"):
        return change(g.astype(np.float32)).astype(np.float16) if arrays.is_half(g) else change(g)


@cache
def clipped(rule: Rule) -> Rule:
    """The rule that sees its gradient scaled by two factors, and then cut at `clip_limit`.

    >>> def sgd(w, g, *, lr):
    ...     return w - lr * g
    >>> float(clipped(sgd)(1.0, 8.0, lr=1.0, clip_factor=0.5, clip_other=0.5, clip_limit=1.5))
    -0.5
    """

    def elementwise(w, g, *state, clip_factor, clip_other, clip_limit, **hyper):  # type: ignore[no-untyped-def]
        return rule(w, np.minimum(np.maximum(clip_other * (clip_factor * g), -clip_limit), clip_limit), *state, **hyper)

    @whole_arrays
    def whole(w, g, *state, clip_factor, clip_other, clip_limit, **hyper):  # type: ignore[no-untyped-def]
        return rule(w, arrays.functions(g).clip(clip_other * (clip_factor * g), -clip_limit, clip_limit), *state, **hyper)

    derived: Rule = elementwise if is_elementwise(rule) else whole
    names = signature(rule)
    kinds = inspect.Parameter
    derived.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [kinds(name, kinds.POSITIONAL_OR_KEYWORD) for name in ("w", "g", *names.state)]
        + [kinds(name, kinds.KEYWORD_ONLY) for name in (*names.hyper, "clip_factor", "clip_other", "clip_limit")])
    derived.__name__ = f"clipped_{rule.__name__}"
    return derived
