"""Batch norm: each feature shifted and scaled to mean 0 and variance 1 over the batch, then to a mean and a spread that are learned.

Derived in the chapter on [batch norm][batch-norm].
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from .. import arrays
from ..arrays.checks import FLOATING, SHARE, SIZE, Count, Flag, Real, check, checked, shown
from ..arrays.protocol import Array
from ..networks.layers import Layer

KEEP = Real(0, 1, open_low=True)


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

    In float16 everything is computed in float32, and rounded once where it comes out: a sum of squares over a batch would overflow,
    and a running statistic stop short of its goal. So the buffers of a float16 layer are float32.

    The backward pass belongs to the last forward pass, in training or not. A feature whose batch holds NaN or infinity,
    or overflows, comes out as NaN, so that it is seen, and leaves its running statistics as they were. With
    `eps=0` a feature that is constant over the batch comes out as NaN too.

    Raises TypeError for settings of another kind and ValueError for those outside their ranges, for another shape or dtype of `x`, and in
    training for fewer than two values per feature, which have no spread; before any buffer changes.
    Source: Ioffe & Szegedy 2015, section 3: algorithm 1 and the backward pass after it.

    >>> layer, x = BatchNorm(2, eps=0.0), np.array([[1.0, 10.0], [3.0, 50.0]])
    >>> layer.forward(x, train=True).tolist()
    [[-1.0, -1.0], [1.0, 1.0]]
    >>> layer.buffers["mean"].round(6).tolist(), layer.buffers["var"].round(6).tolist()
    ([0.2, 3.0], [1.0, 40.9])
    >>> layer.backward(np.array([[1.0, 0.0], [0.0, 0.0]])).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    """

    @checked(features=Count(), keep=KEEP, ddof=Count(0, 1), eps=SIZE, dtype=FLOATING)
    def __init__(self, features: int, *, keep: float = 0.9, ddof: int = 0, eps: float = 1e-5, dtype: DTypeLike = np.float64) -> None:
        super().__init__()
        self.params = {"gamma": np.ones(features, dtype), "beta": np.zeros(features, dtype)}
        arrays.check_scale("eps", eps, self.params["gamma"])
        self.grads = {name: np.zeros_like(array) for name, array in self.params.items()}
        self.buffers = {"mean": arrays.wide(np.zeros(features, dtype)), "var": arrays.wide(np.ones(features, dtype))}
        # Python's floats: NumPy's would lift float32 work to float64.
        self.keep, self.ddof, self.eps = float(keep), int(ddof), float(eps)

    @classmethod
    @checked(momentum=SHARE)
    def pytorch(cls, features: int, *, momentum: float = 0.1, eps: float = 1e-5, dtype: DTypeLike = np.float64) -> BatchNorm:
        """As `torch.nn.BatchNorm1d` and `BatchNorm2d`: `momentum` in [0, 1) is what the batch *adds*, variances n - 1.

        >>> BatchNorm.pytorch(3, momentum=0.25)
        BatchNorm(3, keep=0.75, ddof=1, eps=1e-05)
        """
        return cls(features, keep=1 - momentum, ddof=1, eps=eps, dtype=dtype)

    @classmethod
    @checked(momentum=KEEP)
    def keras(cls, features: int, *, momentum: float = 0.99, eps: float = 1e-3, dtype: DTypeLike = np.float64) -> BatchNorm:
        """As `keras.layers.BatchNormalization` (Keras 3): `momentum` in (0, 1] is what is *kept*, variances over n.

        >>> BatchNorm.keras(3)
        BatchNorm(3, keep=0.99, ddof=0, eps=0.001)
        """
        return cls(features, keep=momentum, ddof=0, eps=eps, dtype=dtype)

    def forward(self, x: Array, *, train: bool = False, rng: np.random.Generator | None = None) -> Array:
        gamma = self.params["gamma"]
        if not arrays.is_plain(x):
            raise TypeError(f"x must be an array (batch, ..., {len(gamma)}) of {gamma.dtype}, got {shown(x)}")
        if x.ndim < 2 or x.shape[-1] != len(gamma) or x.dtype != gamma.dtype:
            raise ValueError(f"x must be (batch, ..., {len(gamma)}) of {gamma.dtype}, got {x.shape} of {x.dtype}")
        check("train", train, Flag())
        rows = arrays.wide(x.reshape(-1, len(gamma)))
        if train:
            if (n := len(rows)) < 2:
                raise ValueError(f"x must hold two or more values per feature in training, as one has no spread, got {x.shape}")
            mean = _sum(rows) / n
            x_hat = rows - mean
            var = _dot(x_hat, x_hat) / n
            finite = np.isfinite(var)
            self._follow("mean", mean, finite)
            self._follow("var", var * (n / (n - self.ddof)), finite)
            divisor = np.where(finite, var, math.nan) + self.eps  # an overflow would come out as 0
        else:
            x_hat, divisor = rows - self.buffers["mean"], self.buffers["var"] + self.eps
        inverse_std = 1 / np.sqrt(divisor)
        x_hat *= inverse_std
        self._cache = x_hat, inverse_std, train, x.shape
        out: Array = gamma * x_hat
        out += self.params["beta"]
        return out.reshape(x.shape).astype(x.dtype, copy=False)

    def backward(self, dout: Array) -> Array:
        x_hat, inverse_std, train, shape = self._saved()
        if not arrays.is_plain(dout):
            raise TypeError(f"dout must be an array of the shape {shape} of x, got {shown(dout)}")
        if dout.shape != shape or dout.dtype != self.params["gamma"].dtype:
            raise ValueError(f"dout must be {shape} of {self.params['gamma'].dtype} as x is, got {dout.shape} of {dout.dtype}")
        rows: Array = arrays.wide(dout.reshape(x_hat.shape))
        dgamma, dbeta = _dot(rows, x_hat), _sum(rows)
        self.grads["gamma"][...], self.grads["beta"][...] = dgamma, dbeta
        scale: Array = self.params["gamma"] * inverse_std
        if not train:  # the statistics are constants then
            return (rows * scale).reshape(shape).astype(dout.dtype, copy=False)
        dx: Array = x_hat * (dgamma / -len(rows))
        dx += rows
        dx -= dbeta / len(rows)
        dx *= scale
        return dx.reshape(shape).astype(dout.dtype, copy=False)

    def _follow(self, name: str, batch: Array, where: Array) -> None:
        running = self.buffers[name]
        running[...] = np.where(where & np.isfinite(batch), self.keep * running + (1 - self.keep) * batch, running)

    def __repr__(self) -> str:
        return f"BatchNorm({len(self.params['gamma'])}, keep={self.keep:g}, ddof={self.ddof}, eps={self.eps:g})"


def _sum(rows: Array) -> Array:
    """The sum of each column. As a matrix product it is faster than `sum`, which adds row after row, and rounds less."""
    ones: Array = np.ones_like(rows[:, 0])
    return ones @ rows


def _dot(a: Array, b: Array) -> Array:
    """The dot product of each column of `a` with that of `b`, without an array of products."""
    products: Array = np.einsum("ij,ij->j", a, b)
    return products
