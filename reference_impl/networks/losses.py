"""Losses with their gradients, the weights of examples, and the accuracy of a classifier.

Every loss takes the `weights` of its examples, (batch,) numbers from 0 up: the mean over the batch is then of weight · loss, so a
weight of 2 is as good as the example twice and 0 as if it were wrong by nothing. The sum is divided by the number of examples, not by that of
the weights (as PyTorch's `weight=` does): so the batches' gradients are, on average, the whole data's.
"""

from __future__ import annotations

import math

import numpy as np

from .. import arrays
from ..arrays.checks import POSITIVE, ArrayOf, Count, Optional, check, checked, shown
from ..arrays.protocol import Array


def log_softmax(scores: Array) -> Array:
    """log(exp(s) / Σ exp(s)) along the last axis, without overflow.

    Raises TypeError for what is no array of numbers, ValueError without scores to compare.

    >>> np.exp(log_softmax(np.array([1000.0, 1000.0]))).tolist()
    [0.5, 0.5]
    """
    return _rounded(_log_softmax(scores), scores)


def softmax(scores: Array) -> Array:
    """exp(s) / Σ exp(s) along the last axis: scores turned into probabilities. Raises as `log_softmax` does.

    >>> softmax(np.array([0.0, 0.0, -1e4])).tolist()
    [0.5, 0.5, 0.0]
    """
    return _rounded(np.exp(_log_softmax(scores)), scores)


def _log_softmax(scores: Array) -> Array:
    """Of float16 in float32."""
    check("scores", scores, ArrayOf("", "iuf"))
    if not scores.ndim or not scores.shape[-1]:
        raise ValueError(f"scores must be (..., classes), got {scores.shape}")
    wide = arrays.wide(scores) if scores.dtype.kind == "f" else scores.astype(np.float64)  # differences of whole numbers overflow
    shifted = wide - wide.max(axis=-1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def _rounded(found: Array, scores: Array) -> Array:
    return found.astype(np.float16) if arrays.is_half(scores) else found


def softmax_cross_entropy(scores: Array, labels: Array, weights: Array | None = None) -> tuple[float, Array]:
    """The mean of -log softmax(scores)[label] over a batch, and its gradient by the scores.

    `scores` is (batch, classes); `labels` (batch,) are integers in [0, classes); `weights` (batch,) count the examples.
    The gradient is the probability, minus 1 at the true class, over the batch size. Raises ValueError for other
    shapes, an empty batch or labels out of range, TypeError for labels that are not integers.
    Source: Bishop 2006, eq. (4.108)-(4.109).

    >>> loss, dscores = softmax_cross_entropy(np.zeros((1, 4)), np.array([3]))
    >>> round(loss, 4), dscores.tolist()
    (1.3863, [[0.25, 0.25, 0.25, -0.75]])
    """
    true, weight = _at_labels(scores, labels), _column(weights, scores)
    wide = arrays.wide(scores)
    # No overflow, and one exponential for loss and gradient.
    shifted = np.subtract(wide, wide.max(axis=1, keepdims=True), out=np.empty_like(wide, order="C"))
    dscores = np.exp(shifted)
    sums = dscores.sum(axis=1, keepdims=True)
    losses = np.log(sums[:, 0]) - shifted.take(true)
    dscores /= sums
    dscores.reshape(-1)[true] -= 1
    if weight is not None:
        losses *= weight[:, 0]
        dscores *= weight
    dscores /= len(labels)
    return float(losses.sum()) / len(labels), dscores.astype(scores.dtype, copy=False)


def mean_squared_error(outputs: Array, targets: Array, weights: Array | None = None) -> tuple[float, Array]:
    """The mean of (output - target)² over all elements, and its gradient by the outputs.

    Both have the same shape, (batch, …); `weights` (batch,) count the examples. The gradient has the dtype of the outputs.
    Raises ValueError for other shapes and an empty batch, TypeError for what is no array of numbers. Source: Bishop 2006,
    eq. (5.11), with another factor: the mean over batch *and* outputs, as PyTorch's `MSELoss`.

    >>> loss, doutputs = mean_squared_error(np.array([[1.0, 3.0]]), np.array([[1.0, 1.0]]))
    >>> loss, doutputs.tolist()
    (2.0, [[0.0, 2.0]])
    """
    check("outputs", outputs, ArrayOf())
    check("targets", targets, ArrayOf("", "iuf"))
    if outputs.shape != targets.shape or not outputs.size or not outputs.ndim:
        raise ValueError(f"targets must have the shape {outputs.shape} of the outputs, not empty, got {targets.shape}")
    weight = _column(weights, outputs)
    error = arrays.wide(outputs) - targets
    slope = error if weight is None else error * weight
    return float((slope * error).mean()), (slope * (2 / error.size)).astype(outputs.dtype, copy=False)


def multiclass_hinge(scores: Array, labels: Array, weights: Array | None = None, *, margin: float = 1.0) -> tuple[float, Array]:
    """The mean over a batch of Σ max(0, s - s_true + margin) over all other classes' scores s, and its gradient by the scores.

    Nothing is to gain once the true class leads every other by the `margin` > 0. Shapes and errors are those of
    [`softmax_cross_entropy`][reference_impl.networks.losses.softmax_cross_entropy]; at a kink the slope is 0. PyTorch's
    `MultiMarginLoss` divides by the number of classes besides. Source: Weston & Watkins 1999.

    >>> loss, dscores = multiclass_hinge(np.array([[3.0, 2.5, 0.0]]), np.array([0]))
    >>> loss, dscores.tolist()
    (0.5, [[-1.0, 1.0, 0.0]])
    """
    check("margin", margin, POSITIVE)
    true, weight = _at_labels(scores, labels), _column(weights, scores)
    wide = arrays.wide(scores)
    excess = np.subtract(wide, wide.take(true)[:, None], out=np.empty_like(wide, order="C"))  # so that a reshape is a view
    excess += margin
    excess.reshape(-1)[true] = 0
    np.maximum(excess, 0, out=excess)
    dscores = (excess > 0).astype(wide.dtype, order="C")
    dscores.reshape(-1)[true] = -dscores.sum(axis=1)
    losses = excess.sum(axis=1)
    if weight is not None:
        losses *= weight[:, 0]
        dscores *= weight
    dscores /= len(labels)
    return float(losses.sum()) / len(labels), dscores.astype(scores.dtype, copy=False)


@checked(labels=ArrayOf("examples", "iu"), classes=Optional(Count()))
def class_weights(labels: Array, classes: int | None = None) -> np.ndarray:
    """A weight for each example that makes all classes count alike: examples / (classes present · examples of its class), (examples,).

    Their mean is 1. Of your own weights, one a class, `of_class[labels]` makes such an array. Raises ValueError for labels
    outside [0, classes), when `classes` is given, and for none. Source: King & Zeng 2001.

    >>> class_weights(np.array([0, 0, 0, 1])).tolist()
    [0.6666666666666666, 0.6666666666666666, 0.6666666666666666, 2.0]
    """
    if not len(labels) or labels.min() < 0 or (classes is not None and labels.max() >= classes):
        raise ValueError(f"labels must lie in [0, {'...' if classes is None else classes}), and be some, got {shown(labels)}")
    present, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: np.ndarray = len(labels) / (len(present) * counts[places])
    return weights


def accuracy(scores: Array, labels: Array) -> float:
    """The fraction of rows whose highest score is at the label.

    `scores` is (batch, classes), `labels` (batch,) integers. Raises as
    [`softmax_cross_entropy`][reference_impl.networks.losses.softmax_cross_entropy] does.

    >>> accuracy(np.eye(2), np.array([0, 0]))
    0.5
    """
    _at_labels(scores, labels)
    return float((scores.argmax(axis=1) == labels).mean())


def _at_labels(scores: Array, labels: Array) -> Array:
    """Where in the flattened scores those of the labels stand; refuses what does not fit."""
    for name, given, kinds, what in (("scores", scores, "f", "floating-point numbers"), ("labels", labels, "iu", "integers")):
        if not arrays.is_plain(given):
            raise TypeError(f"{name} must be an array of {what}, got {shown(given)}")
        if given.dtype.kind not in kinds:
            raise TypeError(f"{name} must be {what}, got {given.dtype}")
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not len(labels):
        raise ValueError(f"labels must have the shape (batch,) for scores (batch, classes), not empty, got {labels.shape} for {scores.shape}")
    if labels.view(labels.dtype.str.replace("i", "u")).max() >= scores.shape[1]:  # a negative number is a huge one without its sign
        raise ValueError(f"labels must lie in [0, {scores.shape[1]}), got {labels.min()} to {labels.max()}")
    places: Array = np.arange(0, scores.size, scores.shape[1], like=labels) + labels.astype(np.intp, copy=False)
    return places


def _column(weights: Array | None, outputs: Array) -> Array | None:
    """The weights, in a form and a dtype that multiplies the outputs' rows."""
    if weights is None:
        return None
    check("weights", weights, ArrayOf("batch", "biuf"))
    if weights.shape != outputs.shape[:1] or not ((weights >= 0) & (weights < math.inf)).all():
        raise ValueError(f"weights must be {len(outputs)} numbers from 0 up, as many as the batch, got {shown(weights)}")
    return weights.astype(arrays.wide(outputs[:0]).dtype).reshape(-1, *[1] * (outputs.ndim - 1))
