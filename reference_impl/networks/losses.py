"""Losses with their gradients, and the accuracy of a classifier."""

from __future__ import annotations

from typing import Any

import numpy as np


def log_softmax(scores: Any) -> Any:
    """log(exp(s) / Σ exp(s)) along the last axis, without overflow.

    >>> np.exp(log_softmax(np.array([1000.0, 1000.0]))).tolist()
    [0.5, 0.5]
    """
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(scores: Any) -> Any:
    """exp(s) / Σ exp(s) along the last axis: scores turned into probabilities.

    >>> softmax(np.array([0.0, 0.0, -1e4])).tolist()
    [0.5, 0.5, 0.0]
    """
    return np.exp(log_softmax(scores))


def softmax_cross_entropy(scores: Any, labels: Any) -> tuple[float, Any]:
    """The mean of -log softmax(scores)[label] over a batch, and its gradient by the scores.

    `scores` is (batch, classes); `labels` (batch,) are integers in [0, classes). The gradient is
    the probability, minus 1 at the true class, over the batch size. Raises ValueError for other
    shapes, an empty batch or labels out of range, TypeError for labels that are not integers.
    Source: Bishop 2006, eq. (4.108)-(4.109).

    >>> loss, dscores = softmax_cross_entropy(np.zeros((1, 4)), np.array([3]))
    >>> round(loss, 4), dscores.tolist()
    (1.3863, [[0.25, 0.25, 0.25, -0.75]])
    """
    true = _at_labels(scores, labels)
    # No overflow, and one exponential for loss and gradient.
    shifted = np.subtract(scores, scores.max(axis=1, keepdims=True), out=np.empty_like(scores, order="C"))
    dscores = np.exp(shifted)
    sums = dscores.sum(axis=1, keepdims=True)
    loss = float((np.log(sums[:, 0]) - shifted.take(true)).sum()) / len(labels)
    dscores /= sums
    dscores.reshape(-1)[true] -= 1
    dscores /= len(labels)
    return loss, dscores


def mean_squared_error(outputs: Any, targets: Any) -> tuple[float, Any]:
    """The mean of (output - target)² over all elements, and its gradient by the outputs.

    Both have the same shape; else ValueError. The gradient has the dtype of the outputs. Source: Bishop 2006,
    eq. (5.11), with another factor: the mean over batch *and* outputs, as PyTorch's `MSELoss`.

    >>> loss, doutputs = mean_squared_error(np.array([[1.0, 3.0]]), np.array([[1.0, 1.0]]))
    >>> loss, doutputs.tolist()
    (2.0, [[0.0, 2.0]])
    """
    if outputs.shape != targets.shape or not outputs.size:
        raise ValueError(f"targets must have the shape {outputs.shape} of the outputs, not empty, got {targets.shape}")
    error = outputs - targets
    return float((error * error).mean()), (error * (2 / error.size)).astype(outputs.dtype, copy=False)


def accuracy(scores: Any, labels: Any) -> float:
    """The fraction of rows whose highest score is at the label.

    `scores` is (batch, classes), `labels` (batch,) integers. Raises as
    [`softmax_cross_entropy`][reference_impl.networks.losses.softmax_cross_entropy] does.

    >>> accuracy(np.eye(2), np.array([0, 0]))
    0.5
    """
    _at_labels(scores, labels)
    return float((scores.argmax(axis=1) == labels).mean())


def _at_labels(scores: Any, labels: Any) -> Any:
    """Where in the flattened scores those of the labels stand; refuses what does not fit."""
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not len(labels):
        raise ValueError(f"labels must have the shape (batch,) for scores (batch, classes), not empty, got {labels.shape} for {scores.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, got {labels.dtype}")
    if labels.view(labels.dtype.str.replace("i", "u")).max() >= scores.shape[1]:  # a negative number is a huge one without its sign
        raise ValueError(f"labels must lie in [0, {scores.shape[1]}), got {labels.min()} to {labels.max()}")
    return np.arange(0, scores.size, scores.shape[1], like=labels) + labels.astype(np.intp, copy=False)
