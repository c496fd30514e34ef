"""Batch norm: each feature shifted and scaled to mean 0 and variance 1 over the batch, then to a mean and a spread that are learned.

Derived in the chapter on [batch norm][batch-norm].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import arrays
from ..networks.layers import Layer


class BatchNorm(Layer):
    """gamma · (x - mean) / √(var + eps) + beta for each feature, with mean and variance of the batch in training.

    `x` is (batch, features), or has more axes between the two, as images (batch, height, width, channels) do: the
    statistics are over all axes but the last. `gamma` and `beta` are (features,), at first 1 and 0. At test time the
    running statistics take the place of the batch's: the buffers `mean` and `var`, (features,), at first 0 and 1.
    Every forward pass in training moves them,

        running ← keep · running + (1 - keep) · batch,

    with `keep` in (0, 1]. Frameworks differ in two ways, and each has a name here.

    - `keep` is Keras's `momentum`; PyTorch's `momentum` is 1 - `keep`.
    - `ddof` says which variance goes into the running one: 0 divides by the number n of values (Keras), 1 by n - 1
      (PyTorch). What normalises the batch always divides by n.

    The backward pass belongs to the last forward pass, in training or not. A feature whose batch holds NaN or infinity,
    or overflows, comes out as NaN, so that it is seen, and leaves its running statistics as they were. With
    `eps=0` a feature that is constant over the batch comes out as NaN too.

    Raises ValueError for settings outside their ranges, for another shape or dtype of `x`, and in training for
    fewer than two values per feature, which have no spread; before any buffer changes.
    Source: Ioffe & Szegedy 2015, section 3: algorithm 1 and the backward pass after it.

    >>> layer, x = BatchNorm(2, eps=0.0), np.array([[1.0, 10.0], [3.0, 50.0]])
    >>> layer.forward(x, train=True).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    >>> layer.buffers["mean"].round(6).tolist(), layer.buffers["var"].round(6).tolist()
    ([0.2, 3.0], [1.0, 40.9])
    >>> layer.backward(np.array([[1.0, 0.0], [0.0, 0.0]])).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """

    def __init__(self, features: int, *, keep: float = 0.9, ddof: int = 0, eps: float = 1e-5, dtype: Any = np.float64) -> None:
        super().__init__()
        if not isinstance(features, int | np.integer) or isinstance(features, bool) or features < 1:
            raise ValueError(f"features must be a whole number from 1 up, got {features!r}")
        if not 0 < keep <= 1:
            raise ValueError(f"keep must lie in (0, 1], got {keep!r}")
        if ddof not in (0, 1):
            raise ValueError(f"ddof must be 0 or 1, got {ddof!r}")
        if not 0 <= eps < math.inf:
            raise ValueError(f"eps must be a finite number from 0 up, got {eps!r}")
        self.params = {"gamma": np.ones(features, dtype), "beta": np.zeros(features, dtype)}
        arrays.check_scale("eps", eps, self.params["gamma"])
        self.grads = {name: np.zeros_like(array) for name, array in self.params.items()}
        self.buffers = {"mean": np.zeros(features, dtype), "var": np.ones(features, dtype)}
        # Python's floats: NumPy's would lift float32 work to float64.
        self.keep, self.ddof, self.eps = float(keep), int(ddof), float(eps)

    @classmethod
    def pytorch(cls, features: int, *, momentum: float = 0.1, eps: float = 1e-5, dtype: Any = np.float64) -> BatchNorm:
        """As `torch.nn.BatchNorm1d` and `BatchNorm2d`: `momentum` in [0, 1) is what the batch *adds*, variances n - 1.

        >>> BatchNorm.pytorch(3, momentum=0.25)
        BatchNorm(3, keep=0.75, ddof=1, eps=1e-05)
        """
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {momentum!r}")
        return cls(features, keep=1 - momentum, ddof=1, eps=eps, dtype=dtype)

    @classmethod
    def keras(cls, features: int, *, momentum: float = 0.99, eps: float = 1e-3, dtype: Any = np.float64) -> BatchNorm:
        """As `keras.layers.BatchNormalization` (Keras 3): `momentum` in (0, 1] is what is *kept*, variances over n.

        >>> BatchNorm.keras(3)
        BatchNorm(3, keep=0.99, ddof=0, eps=0.001)
        """
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must lie in (0, 1], got {momentum!r}")
        return cls(features, keep=momentum, ddof=0, eps=eps, dtype=dtype)

    def forward(self, x: Any, *, train: bool = False, rng: np.random.Generator | None = None) -> Any:
        gamma = self.params["gamma"]
        if x.ndim < 2 or x.shape[-1] != len(gamma) or x.dtype != gamma.dtype:
            raise ValueError(f"x must be (batch, ..., {len(gamma)}) of {gamma.dtype}, got {x.shape} of {x.dtype}")
        rows = x.reshape(-1, len(gamma))
        if train:
            if (n := len(rows)) < 2:
                raise ValueError(f"x must hold two or more values per feature in training, as one has no spread, got {x.shape}")
            mean = _sum(rows) / n
            x_hat = rows - mean
            var = _dot(x_hat, x_hat) / n
            finite = np.isfinite(var)
            self._follow("mean", mean, finite)
            self._follow("var", var * (n / (n - self.ddof)), finite)
            var = np.where(finite, var, math.nan)  # an overflow would come out as 0
        else:
            x_hat, var = rows - self.buffers["mean"], self.buffers["var"]
        inverse_std = 1 / np.sqrt(var + self.eps)
        x_hat *= inverse_std
        self._cache = x_hat, inverse_std, train
        out = gamma * x_hat
        out += self.params["beta"]
        return out.reshape(x.shape)

    def backward(self, dout: Any) -> Any:
        x_hat, inverse_std, train = self._saved()
        rows = dout.reshape(x_hat.shape)
        dgamma, dbeta = self.grads["gamma"], self.grads["beta"]
        dgamma[...], dbeta[...] = _dot(rows, x_hat), _sum(rows)
        scale = self.params["gamma"] * inverse_std
        if not train:  # the statistics are constants then
            return dout * scale
        dx = x_hat * (dgamma / -len(rows))
        dx += rows
        dx -= dbeta / len(rows)
        dx *= scale
        return dx.reshape(dout.shape)

    def _follow(self, name: str, batch: Any, where: Any) -> None:
        running = self.buffers[name]
        np.copyto(running, self.keep * running + (1 - self.keep) * batch, where=where & np.isfinite(batch))

    def __repr__(self) -> str:
        return f"BatchNorm({len(self.params['gamma'])}, keep={self.keep:g}, ddof={self.ddof}, eps={self.eps:g})"


def _sum(rows: Any) -> Any:
    """The sum of each column. As a matrix product it is faster than `sum`, which adds row after row, and rounds less."""
    return np.ones_like(rows[:, 0]) @ rows


def _dot(a: Any, b: Any) -> Any:
    """The dot product of each column of `a` with that of `b`, without an array of products."""
    return np.einsum("ij,ij->j", a, b)
