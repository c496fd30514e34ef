"""Centring, scaling and whitening of the inputs, and what each does to the curvature that training meets.

Derived in the chapter on [preprocessing][preprocessing].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Affinely:
    """A fitted preprocessing step: call it with inputs (…, features) to get (inputs - `mean`) `matrix`.

    `matrix` is (features, kept), or (features,) where every feature is only multiplied. Fit it on training inputs, and
    use it on all others: what the test inputs look like is not known when training.

    >>> step = Affinely(np.array([1.0, 2.0]), np.array([2.0, 1.0]))
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


def center(inputs: np.ndarray) -> Affinely:
    """Subtract each feature's mean over `inputs` (n, features).

    Raises ValueError when `inputs` is not a non-empty table of finite numbers.

    >>> center(np.array([[1.0], [3.0]]))(np.array([[3.0]])).tolist()
    [[1.0]]
    """
    _check(inputs)
    return Affinely(inputs.mean(axis=0), np.ones(inputs.shape[1]))


def standardize(inputs: np.ndarray) -> Affinely:
    """Subtract each feature's mean and divide by its standard deviation; a constant feature becomes 0.

    Raises as [`center`][reference_impl.practice.preprocessing.center] does. Source: LeCun et al. 1998, section 4.3.

    >>> standardize(np.array([[1.0, 5.0], [3.0, 5.0]]))(np.array([[3.0, 5.0]])).tolist()
    [[1.0, 0.0]]
    """
    _check(inputs)
    deviation = inputs.std(axis=0)
    alive = deviation > _ROUNDING * np.abs(inputs).max(axis=0, initial=0)
    return Affinely(inputs.mean(axis=0), np.divide(1, deviation, out=np.zeros_like(deviation), where=alive))


def whiten(inputs: np.ndarray, *, eps: float = 0.0, zca: bool = False) -> Affinely:
    """Turn into the covariance's eigenbasis and divide by the *root* of its eigenvalues: the covariance becomes the identity.

    Directions without variance are left out. `eps` ≥ 0 is added to the eigenvalues, so that noise in flat directions is not blown
    up; `zca` turns back into the pixels' own axes at the end. Raises ValueError as `center` does, and when `eps` < 0.
    Source: LeCun et al. 1998, section 4.3; Bell & Sejnowski 1997 for ZCA.

    >>> x = np.random.default_rng(0).normal(size=(500, 2)) @ np.array([[3.0, 1.0], [0.0, 0.1]])
    >>> print(np.cov(whiten(x)(x).T, ddof=0).round(12) + 0.0)
    [[1. 0.]
     [0. 1.]]
    """
    _check(inputs)
    if not 0 <= eps < math.inf:
        raise ValueError(f"eps must be a finite number from 0 up, got {eps!r}")
    mean = inputs.mean(axis=0)
    centred = inputs - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(inputs))
    kept = values > _ROUNDING * values[-1]
    matrix = vectors[:, kept] / np.sqrt(values[kept] + eps)
    return Affinely(mean, matrix @ vectors[:, kept].T if zca else matrix)


def curvatures(inputs: np.ndarray) -> np.ndarray:
    """The eigenvalues, rising, of the Hessian of least squares on `inputs` (n, features) with a bias: of [x 1]ᵀ[x 1] / n.

    Their ratio, largest to smallest, is the condition number that gradient descent meets. With targets that are classes the
    softmax's Hessian is at most half of it (Böhning 1992). Raises ValueError as `center` does.

    >>> curvatures(np.array([[1.0], [-1.0]])).tolist()
    [1.0, 1.0]
    """
    _check(inputs)
    with_bias = np.hstack([inputs, np.ones((len(inputs), 1))])
    found: np.ndarray = np.linalg.eigvalsh(with_bias.T @ with_bias / len(inputs))
    return found


_ROUNDING = 1e-10  # what is smaller than this, relative to the largest, is rounding


def _check(inputs: np.ndarray) -> None:
    if inputs.ndim != 2 or not inputs.size or not np.isfinite(inputs).all():
        raise ValueError(f"inputs must be a non-empty table (n, features) of finite numbers, got shape {inputs.shape}")
