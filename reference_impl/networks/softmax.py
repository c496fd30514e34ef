"""Softmax regression: the smallest classifier, one linear layer, with its gradient in closed form."""

from __future__ import annotations

from collections.abc import Mapping

from ..arrays.checks import ArrayOf, check, shown
from ..arrays.protocol import Array
from .losses import softmax_cross_entropy


def softmax_regression(params: Mapping[str, Array], inputs: Array, labels: Array) -> tuple[float, dict[str, Array]]:
    """The mean cross-entropy of a batch under a linear classifier, and its gradient.

    `params` holds `W` (features, classes) and `b` (classes,); `inputs` is (batch, features),
    `labels` (batch,) are integers in [0, classes). Raises ValueError and TypeError for others. Source: Bishop 2006, section 4.3.4.

    >>> import numpy as np
    >>> params = {"W": np.zeros((2, 3)), "b": np.zeros(3)}
    >>> loss, grads = softmax_regression(params, np.eye(2), np.array([0, 2]))
    >>> round(loss, 4), grads["b"].round(4).tolist()
    (1.0986, [-0.1667, 0.3333, -0.1667])
    """
    check("inputs", inputs, ArrayOf("batch, features", "iuf"))
    if not isinstance(params, Mapping):
        raise TypeError(f"params must be a dict of W and b, got {shown(params)}")
    if not {"W", "b"} <= params.keys():
        raise ValueError(f"params must hold W and b, got {sorted(map(str, params))}")
    W, b = params["W"], params["b"]
    check("params['W']", W, ArrayOf("features, classes"))
    check("params['b']", b, ArrayOf("classes"))
    if inputs.shape[1:] != W.shape[:1] or b.shape != W.shape[1:]:
        raise ValueError(f"params must hold W ({inputs.shape[1]}, classes) and b (classes,), got {W.shape} and {b.shape}")
    loss, dscores = softmax_cross_entropy(inputs @ W + b, labels)
    return loss, {"W": inputs.T @ dscores, "b": dscores.sum(axis=0)}
