"""Softmax regression: the smallest classifier, one linear layer, with its gradient in closed form."""

from __future__ import annotations

import numpy as np

from .losses import softmax_cross_entropy


def softmax_regression(params: dict[str, np.ndarray], inputs: np.ndarray,
                       labels: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """The mean cross-entropy of a batch under a linear classifier, and its gradient.

    `params` holds `W` (features, classes) and `b` (classes,); `inputs` is (batch, features),
    `labels` (batch,) are integers in [0, classes). Source: Bishop 2006, section 4.3.4.

    >>> params = {"W": np.zeros((2, 3)), "b": np.zeros(3)}
    >>> loss, grads = softmax_regression(params, np.eye(2), np.array([0, 2]))
    >>> round(loss, 4), grads["b"].round(4).tolist()
    (1.0986, [-0.1667, 0.3333, -0.1667])
    """
    loss, dscores = softmax_cross_entropy(inputs @ params["W"] + params["b"], labels)
    return loss, {"W": inputs.T @ dscores, "b": dscores.sum(axis=0)}
