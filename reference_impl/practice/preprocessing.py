"""Centring, scaling and whitening of the inputs, and what each does to the curvature that training meets.

Derived in the chapter on [preprocessing][preprocessing].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class AffineMap:
    """A fitted preprocessing step: called with inputs (…, features) it returns (inputs - `mean`) `matrix`.

    `matrix` is (features, kept), or (features,) where each feature is only multiplied. Fit it on training inputs and
    call it on all others, or the test says too much or too little. Raises ValueError for another number of features.

    >>> step = AffineMap(np.array([1.0, 2.0]), np.array([2.0, 1.0]))
    >>> step(np.array([[2.0, 2.0]])).tolist()
    [[2.0, 0.0]]
    """

    mean: np.ndarray
    matrix: np.ndarray

    def __call__(self, inputs: Any) -> Any:
        if inputs.shape[-1:] != self.mean.shape:
            raise ValueError(f"inputs must have {len(self.mean)} features, got shape {inputs.shape}")
        centred = inputs - self.mean
        return centred * self.matrix if self.matrix.ndim == 1 else centred @ self.matrix


def center(inputs: np.ndarray) -> AffineMap:
    """Subtract each feature's mean over the training inputs, (n, features).

    Raises ValueError when `inputs` is empty, no table, or not finite and below 1e150 in size. It is fitted in float64
    and keeps the inputs' own floating-point type.

    >>> center(np.array([[1.0], [3.0]]))(np.array([[3.0]])).tolist()
    [[1.0]]
    """
    _, mean = _moments(inputs)
    return _fitted(inputs, mean, np.ones_like(mean))


def standardize(inputs: np.ndarray) -> AffineMap:
    """Subtract each feature's mean and divide by its standard deviation; a constant feature becomes 0.

    The deviation is that of the n inputs themselves (`ddof=0`, as in scikit-learn). Takes and raises what
    [`center`][reference_impl.practice.preprocessing.center] does. Source: LeCun et al. 1998, section 4.3.

    >>> standardize(np.array([[1.0, 5.0], [3.0, 5.0]]))(np.array([[3.0, 5.0]])).tolist()
    [[1.0, 0.0]]
    """
    x, mean = _moments(inputs)
    deviation = np.sqrt(((x - mean) ** 2).mean(axis=0))
    varies = deviation > 4 * _EPS * np.abs(x).max(axis=0)  # less is how the numbers were rounded
    return _fitted(inputs, mean, np.where(varies, 1 / np.where(varies, deviation, 1), 0))


def whiten(inputs: np.ndarray, *, eps: float = 0.0, zca: bool = False) -> AffineMap:
    """Turn into the covariance's eigenbasis, divide by the *root* of its eigenvalues: the covariance becomes the identity.

    Directions without variance are left out; the others come in rising order of it. `eps` ≥ 0 is added to the
    eigenvalues, so that noise in flat directions is not blown up. `zca` turns back to the features' own axes.
    Takes and raises what [`center`][reference_impl.practice.preprocessing.center] does, and ValueError when `eps` < 0.
    Source: LeCun et al. 1998, section 4.3; Bell & Sejnowski 1997 for ZCA.

    >>> x = np.random.default_rng(0).normal(size=(500, 2)) @ np.array([[3.0, 1.0], [0.0, 0.1]])
    >>> print(np.cov(whiten(x)(x).T, ddof=0).round(12) + 0.0)
    [[1. 0.]
     [0. 1.]]
    """
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps must be a finite number from 0 up, got {eps!r}")
    x, mean = _moments(inputs)
    centred = x - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(x))
    kept = _above_rounding(values, x)
    matrix = vectors[:, kept] / np.sqrt(values[kept] + eps)
    return _fitted(inputs, mean, matrix @ vectors[:, kept].T if zca else matrix)


def curvatures(inputs: np.ndarray) -> np.ndarray:
    """The eigenvalues, rising, of the Hessian of least squares with a bias: of [x 1]ᵀ[x 1] / n, features + 1 of them.

    Half of each bounds that of softmax regression (Böhning 1992). Takes and raises what
    [`center`][reference_impl.practice.preprocessing.center] does. Source: LeCun et al. 1998.

    >>> curvatures(np.array([[1.0], [-1.0]])).tolist()
    [1.0, 1.0]
    """
    x, _ = _moments(inputs)
    with_bias = np.hstack([x, np.ones_like(x[:, :1])])
    found: np.ndarray = np.linalg.eigvalsh(with_bias.T @ with_bias / len(x)).clip(0)
    return found


def condition_number(inputs: np.ndarray) -> float:
    """The largest of the [`curvatures`][reference_impl.practice.preprocessing.curvatures] over the smallest that is not 0.

    Where the curvature is 0 so is the gradient, and no step ever goes there.

    >>> round(condition_number(np.array([[1.0, 7.0], [-1.0, 7.0]])), 6)
    50.0
    """
    found = curvatures(inputs)
    return float(found[-1] / found[_above_rounding(found, inputs)][0])


def _moments(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The inputs in float64, and their mean."""
    if inputs.ndim != 2 or not inputs.size:
        raise ValueError(f"inputs must be a non-empty table (n, features), got shape {inputs.shape}")
    x = inputs.astype(np.float64)
    largest = float(np.abs(x).max())
    if not largest < 1e150:  # the square of more would overflow
        raise ValueError(f"inputs must be finite and below 1e150 in size, got {largest}")
    mean = x.mean(axis=0)
    return x, mean + (x - mean).mean(axis=0)  # a second look takes out the rounding of a long sum


def _above_rounding(values: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    above: np.ndarray = values > max(inputs.shape) * _EPS * values[-1]
    return above


def _fitted(inputs: np.ndarray, mean: np.ndarray, matrix: np.ndarray) -> AffineMap:
    dtype = inputs.dtype if np.issubdtype(inputs.dtype, np.floating) else np.float64
    return AffineMap(mean.astype(dtype), matrix.astype(dtype))
