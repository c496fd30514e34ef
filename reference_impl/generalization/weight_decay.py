"""Penalties and limits on weights: L2, L1 with its soft threshold, max norm, and how far each shrinks.

Derived in the chapter on [weight decay][weight-decay].

What is held small are the *weights*: the arrays whose name is `W`, such as `0.W`. Biases and the scales and shifts of a
normalisation are left alone; `keys` names other arrays. Nothing is penalised in a frozen layer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from ..arrays.checks import POSITIVE, SIZE, ArrayOf, Either, Real, check, checked, shown
from ..arrays.protocol import Array
from ..networks.run import Callback, Run

_NUMBERS = Either(ArrayOf(), Real(infinite=True))


class _WithRate(Protocol):
    lr: float | Callable[[int], float]


@dataclass(frozen=True)
class _Penalty(Callback, ABC):
    """`strength` times what a subclass makes of each array of weights."""

    columns = ()

    strength: float
    keys: Collection[str] | None = None

    def __post_init__(self) -> None:
        check("strength", self.strength, SIZE)
        _check_keys(self.keys)

    def rehearse(self, run: Run) -> None:
        _chosen(run.model.params, self.keys)

    def before_update(self, run: Run) -> None:
        run.value += self(run.model.params, run.model.grads)

    def __call__(self, params: Mapping[str, Array], grads: Mapping[str, Array]) -> float:
        """Add the penalty's gradient to `grads` in place, and return the penalty."""
        total = 0.0
        for w, g in _pairs(params, grads, self.keys):
            size, slope = self._of(w)
            g += self.strength * slope
            total += size
        return self.strength * total

    @abstractmethod
    def _of(self, w: Array) -> tuple[float, Array]:
        """The penalty of strength 1, and its gradient."""


class L2(_Penalty):
    """The penalty ½λ·Σw²: it adds λw to every weight's gradient.

    For `fit(callbacks=[L2(1e-3)])`; the loss in the history is with the penalty. `strength` λ ≥ 0 is a number; `keys` names what is penalised, by default the
    weights. Raises ValueError for another strength and when a key is missing. Beside a mean loss of n examples
    that is a negative log-likelihood it is a Gaussian prior of variance 1/(nλ) on each weight. Source: Krogh & Hertz 1991;
    Goodfellow, Bengio & Courville 2016, section 7.1.

    >>> params, grads = {"0.W": np.array([[3.0, -4.0]])}, {"0.W": np.zeros((1, 2))}
    >>> L2(0.5)(params, grads), grads["0.W"].tolist()
    (6.25, [[1.5, -2.0]])
    """

    def _of(self, w: Array) -> tuple[float, Array]:
        return float((w * w).sum()) / 2, w


class L1(_Penalty):
    """The penalty λ·Σ|w|: it adds λ·sign(w) to every weight's gradient, and nothing at 0.

    For `fit(callbacks=[L1(1e-3)])`; `strength`, `keys` and what is raised as for [`L2`][reference_impl.generalization.weight_decay.L2].
    This is a subgradient: with a fixed step a weight whose minimum is 0 swings about it, about as wide as a step;
    [`ProximalL1`][reference_impl.generalization.weight_decay.ProximalL1] sets it to 0. Source: Tibshirani 1996;
    Goodfellow, Bengio & Courville 2016, section 7.1.

    >>> params, grads = {"0.W": np.array([[3.0, -4.0, 0.0]])}, {"0.W": np.zeros((1, 3))}
    >>> L1(0.5)(params, grads), grads["0.W"].tolist()
    (3.5, [[0.5, -0.5, 0.0]])
    """

    def _of(self, w: Array) -> tuple[float, Array]:
        return float(abs(w).sum()), np.sign(w)


@checked(w=_NUMBERS, threshold=_NUMBERS)
def soft_threshold(w: Array, threshold: Array | float) -> Array:
    """The point z that makes ½(z - w)² + t·|z| smallest: w moved towards 0 by t, and 0 if it is nearer than that.

    `w` is an array, `threshold` t ≥ 0 a number, or an array that broadcasts against `w`. NaN stays NaN. Raises ValueError for a
    negative threshold and other shapes, TypeError for what is no number. Source: Donoho & Johnstone 1994; Parikh & Boyd 2014.

    >>> soft_threshold(np.array([3.0, -0.5, -2.0]), 1.0).tolist()
    [2.0, 0.0, -1.0]
    """
    if not np.all(threshold >= 0):
        raise ValueError(f"threshold must be 0 or more, got {threshold!r}")
    try:
        fits = np.broadcast_shapes(np.shape(w), np.shape(threshold)) == np.shape(w)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"threshold must broadcast to the shape {np.shape(w)} of w, got {np.shape(threshold)}")
    return w - np.clip(w, -threshold, threshold)


class ProximalL1(Callback):
    """The L1 penalty as a step of its own: after every update each weight passes the soft threshold `lr` · `strength`.

    For `fit(callbacks=[ProximalL1(1e-3)])`; `strength` and `keys` as for [`L1`][reference_impl.generalization.weight_decay.L1].
    With `SGD` on full batches it is the proximal gradient method, whose fixed points are the minima of loss + λ·Σ|w| where the
    loss is convex; the loss in the history is without the penalty. Source: Beck & Teboulle 2009;
    Duchi & Singer 2009.

    >>> ProximalL1(1e-3).strength
    0.001
    """

    columns = ()

    def __init__(self, strength: float, keys: Collection[str] | None = None) -> None:
        check("strength", strength, SIZE)
        _check_keys(keys)
        self.strength, self.keys = strength, keys

    def rehearse(self, run: Run) -> None:
        _chosen(run.model.params, self.keys)
        if not hasattr(run.optimizer, "lr"):
            raise TypeError(f"optimizer must have one rate lr for all weights, got {run.optimizer!r}")

    def after_step(self, run: Run) -> None:
        lr = cast(_WithRate, run.optimizer).lr
        lr = lr(run.optimizer.steps - 1) if callable(lr) else lr
        for w in _chosen(run.model.params, self.keys).values():
            w[...] = soft_threshold(w, lr * self.strength)


@checked(w=ArrayOf("", "f"), limit=POSITIVE)
def clip_norm(w: Array, limit: float, axis: int | tuple[int, ...] | None = None) -> Array:
    """The nearest array whose norm over `axis` is at most `limit`: longer vectors scaled back, others left as they are.

    `limit` > 0; `axis` as in `np.sum`, by default all of `w` is one vector. Shape and dtype stay; squares do not
    overflow. Raises ValueError for another limit. Source: Parikh & Boyd 2014 (a projection).

    >>> clip_norm(np.array([[3.0, 0.3], [4.0, 0.4]]), 1.0, axis=0).tolist()
    [[0.6000000000000001, 0.3], [0.8, 0.4]]
    """
    axes = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if not all(isinstance(i, int) and not isinstance(i, bool) for i in axes):
        raise TypeError(f"axis must be a whole number, several of them, or None, got {axis!r}")
    if not all(-w.ndim <= i < w.ndim for i in axes):
        raise ValueError(f"axis must be among the axes of w, of the shape {w.shape}, got {axis!r}")
    if not w.size:
        return w.copy()
    largest = np.maximum(abs(w).max(axis=axis, keepdims=True), limit)
    norm, bound = np.sqrt(((w / largest) ** 2).sum(axis=axis, keepdims=True)), limit / largest
    clipped: Array = w * (bound / np.maximum(norm, bound))
    return clipped


class MaxNorm(Callback):
    """The limit ‖w‖ ≤ `limit` on the incoming weights of every unit, kept after every update.

    For `fit(callbacks=[MaxNorm(3.0)])`. A unit's incoming weights are what the last axis of `W` counts: a column of an
    affine layer, a filter of a convolution. `keys` as for [`L2`][reference_impl.generalization.weight_decay.L2]. Raises
    ValueError unless 0 < `limit` < ∞. Source: Srebro & Shraibman 2005; Srivastava et al. 2014.

    >>> MaxNorm(3.0).limit
    3.0
    """

    columns = ()

    def __init__(self, limit: float, keys: Collection[str] | None = None) -> None:
        check("limit", limit, POSITIVE)
        _check_keys(keys)
        self.limit, self.keys = limit, keys

    def rehearse(self, run: Run) -> None:
        _chosen(run.model.params, self.keys)

    def after_step(self, run: Run) -> None:
        for w in _chosen(run.model.params, self.keys).values():
            w[...] = clip_norm(w, self.limit, axis=tuple(range(w.ndim - 1)))


@checked(curvatures=_NUMBERS, strength=SIZE)
def shrinkage(curvatures: Array | float, strength: float) -> Array | float:
    """What L2 leaves of the minimum's coordinate along each eigenvector of the Hessian: λᵢ/(λᵢ + λ).

    `curvatures` λᵢ are its eigenvalues, an array or a number, `strength` λ ≥ 0. Their sum over all directions is
    the effective number of parameters. Raises ValueError unless each λᵢ + λ > 0, without which there is no minimum.
    Source: Goodfellow, Bengio & Courville 2016, section 7.1; Hastie, Tibshirani & Friedman 2009, section 3.4.

    >>> shrinkage(np.array([9.0, 1.0, 0.0]), 1.0).tolist()
    [0.9, 0.5, 0.0]
    """
    if not np.all((curvatures + strength > 0) & np.isfinite(curvatures)):
        raise ValueError(f"curvatures plus strength must be positive and finite, got {curvatures!r} and {strength!r}")
    return curvatures / (curvatures + strength)


def weight_keys(params: Mapping[str, object]) -> list[str]:
    """The keys of the weights among `params`: those whose last part is `W`.

    >>> weight_keys({"0.W": 1, "0.b": 2, "1.gamma": 3, "W": 4})
    ['0.W', 'W']
    """
    if not isinstance(params, Mapping) or not all(isinstance(key, str) for key in params):
        raise TypeError(f"params must be a dict with names as keys, got {shown(params)}")
    return [key for key in params if key.rpartition(".")[2] == "W"]


def _chosen(params: Mapping[str, Array], keys: Collection[str] | None) -> dict[str, Array]:
    names = weight_keys(params) if keys is None else keys
    if not names or not set(names) <= params.keys():
        wanted = "an array W" if keys is None else sorted(keys)
        raise ValueError(f"params must hold {wanted}, got {sorted(params)}")
    return {key: params[key] for key in names}


def _pairs(params: Mapping[str, Array], grads: Mapping[str, Array], keys: Collection[str] | None) -> list[tuple[Array, Array]]:
    chosen = _chosen(params, keys)
    if not chosen.keys() <= grads.keys():
        raise ValueError(f"grads must hold {sorted(chosen)}, got {sorted(grads)}")
    return [(w, grads[key]) for key, w in chosen.items()]


def _check_keys(keys: Collection[str] | None) -> None:
    if keys is None:
        return
    if isinstance(keys, str | Mapping | np.ndarray) or not isinstance(keys, Collection) or not all(isinstance(key, str) for key in keys):
        raise TypeError(f"keys must be a list of names such as '0.W', or None, got {shown(keys)}")
    if not keys:
        raise ValueError(f"keys must hold at least one name, or be None, got {keys!r}")
