"""Softmax regression: a linear layer, the cross-entropy loss and its gradient, in closed form."""

from __future__ import annotations

import numpy as np


def log_softmax(scores: np.ndarray) -> np.ndarray:
    """log(exp(s) / Σ exp(s)) along the last axis, without overflow.

    >>> np.exp(log_softmax(np.array([1000.0, 1000.0]))).tolist()
    [0.5, 0.5]
    """
    shifted = scores - scores.max(axis=-1, keepdims=True)
    result: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result


def softmax_regression(params: dict[str, np.ndarray], inputs: np.ndarray,
                       labels: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """The mean cross-entropy of a batch under a linear classifier, and its gradient.

    `params` holds `W` (features, classes) and `b` (classes,); `inputs` is (batch, features),
    `labels` (batch,) are integers in [0, classes). The gradient of the scores is the predicted
    probability minus 1 at the true class, over the batch size.
    Source: Bishop 2006, eq. (4.108)-(4.109).

    >>> params = {"W": np.zeros((2, 3)), "b": np.zeros(3)}
    >>> loss, grads = softmax_regression(params, np.eye(2), np.array([0, 2]))
    >>> round(loss, 4), grads["b"].round(4).tolist()
    (1.0986, [-0.1667, 0.3333, -0.1667])
    """
    rows = np.arange(len(labels))
    logp = log_softmax(inputs @ params["W"] + params["b"])
    dscores = np.exp(logp)
    dscores[rows, labels] -= 1
    dscores /= len(labels)
    return float(-logp[rows, labels].mean()), {"W": inputs.T @ dscores, "b": dscores.sum(axis=0)}


def accuracy(params: dict[str, np.ndarray], inputs: np.ndarray, labels: np.ndarray) -> float:
    """The fraction of `inputs` whose highest score is at its label.

    >>> accuracy({"W": np.eye(2), "b": np.zeros(2)}, np.eye(2), np.array([0, 0]))
    0.5
    """
    return float(np.mean((inputs @ params["W"] + params["b"]).argmax(axis=1) == labels))
