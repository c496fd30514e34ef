"""Centring, scaling and whitening of the inputs, and what each does to the curvature that training meets.

Derived in the chapter on [preprocessing][preprocessing].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import wide
from ..arrays.checks import SIZE, ArrayOf, Flag, check, checked
from ..arrays.protocol import Array

TABLE = ArrayOf(dtypes="biuf")
_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class AffineMap:
    """A fitted preprocessing step: called with inputs (…, features) it returns (inputs - `mean`) `matrix`.

    `matrix` is (features, kept), or (features,) where each feature is only multiplied. Fit it on training inputs and
    call it on all others, or the test says too much or too little. Inputs of float16 are computed with in float32, and rounded
    once; `mean` and `matrix` that are fitted to them are float32.

    Raises TypeError for what is no array, ValueError for another number of features, and for a `mean` and a `matrix` that do not fit.

    >>> step = AffineMap(np.array([1.0, 2.0]), np.array([2.0, 1.0]))
    >>> step(np.array([[2.0, 2.0]])).tolist()
    [[2.0, 0.0]]
    """

    mean: np.ndarray
    matrix: np.ndarray

    def __post_init__(self) -> None:
        check("mean", self.mean, ArrayOf("features", finite=True))
        check("matrix", self.matrix, ArrayOf(finite=True))
        if self.matrix.ndim not in (1, 2) or self.matrix.shape[:1] != self.mean.shape:
            raise ValueError("matrix must be (features,) or (features, kept) for a mean of "
                             f"{self.mean.shape}, got the shape {self.matrix.shape}")

    def __call__(self, inputs: Array) -> Array:
        check("inputs", inputs, TABLE)
        if inputs.shape[-1:] != self.mean.shape:
            raise ValueError(f"inputs must have {len(self.mean)} features, got shape {inputs.shape}")
        centred = wide(inputs) - self.mean
        out: Array = centred * self.matrix if self.matrix.ndim == 1 else centred @ self.matrix
        return out.astype(np.float16) if inputs.dtype == np.float16 else out


@checked(inputs=TABLE)
def center(inputs: np.ndarray) -> AffineMap:
    """Subtract each feature's mean over the training inputs, (n, features).

    Raises TypeError when `inputs` is no array of numbers, ValueError when it is empty, no table, or not finite and below
    1e150 in size. It is fitted in float64 and keeps the inputs' own floating-point type.

    >>> center(np.array([[1.0], [3.0]]))(np.array([[3.0]])).tolist()
    [[1.0]]
    """
    _, mean = _moments(inputs)
    return _fitted(inputs, mean, np.ones_like(mean))


@checked(inputs=TABLE)
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


@checked(inputs=TABLE, eps=SIZE, zca=Flag())
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
    x, mean = _moments(inputs)
    centred = x - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / len(x))
    kept = _above_rounding(values, x)
    matrix = vectors[:, kept] / np.sqrt(values[kept] + eps)
    return _fitted(inputs, mean, matrix @ vectors[:, kept].T if zca else matrix)


@checked(inputs=TABLE)
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


@checked(inputs=TABLE)
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
    dtype = wide(inputs[:0]).dtype if inputs.dtype.kind == "f" else np.float64
    return AffineMap(mean.astype(dtype), matrix.astype(dtype))
