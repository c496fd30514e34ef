"""Muon: momentum, made orthogonal. A rule over whole matrices.

A step has the direction of the nearest matrix with orthonormal rows or columns: with the momentum UΣVᵀ, of UVᵀ, so that all its singular
values count alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..arrays import functions, is_floating, is_plain, largest
from ..arrays.checks import shown
from ..arrays.protocol import Array, StandardArray
from ..engines.tape import whole_arrays
from .optimizer import Optimizer, Schedule, hyper


def orthogonalize(x: Array) -> Array:
    """The nearest matrix with orthonormal rows or columns, roughly.

    Its singular values lie in [0.68, 1.21], if none was below 0.002 of their norm.

    Five steps of a Newton-Schulz iteration, X ← aX + (bA + cA²)X with A = XXᵀ, from X divided by its Frobenius norm. Each maps a singular
    value σ to aσ + bσ³ + cσ⁵, whose slope at 0, 3.4445, is as steep as it can be while 1 is not left far behind. A matrix of zeros stays one.
    Raises TypeError or ValueError for what is no matrix.
    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".

    >>> import numpy as np
    >>> np.linalg.svd(orthogonalize(np.array([[3.0, 0.0], [4.0, 5.0]])), compute_uv=False).round(2).tolist()
    [1.13, 0.75]
    """
    if not is_plain(x) or not is_floating(x):
        raise TypeError(f"x must be a matrix of floating-point numbers, got {shown(x)}")
    if x.ndim != 2:
        raise ValueError(f"x must be a matrix, got the shape {x.shape}")
    a, b, c = 3.4445, -4.7750, 2.0315
    if not x.size or not (top := largest(x)):
        return x * 1.0
    tall = x.shape[0] > x.shape[1]
    x = (x.T if tall else x) / top  # so that no square leaves the range
    flat = functions(x).reshape(x, (-1,))
    x = x / (flat @ flat) ** 0.5
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.T if tall else x


@whole_arrays
def muon(w: Any, g: Any, v: Any, *, lr: Any, rho: Any, weight_decay: Any, nesterov: Any, outputs_first: Any) -> tuple[Any, Any]:
    """One step of Muon: the velocity `v` keeps `rho` of itself, and w moves by about `lr` in each of its directions.

    With `nesterov` the direction is that of the next velocity, if the gradient stayed. A matrix with more outputs than inputs takes
    √(outputs/inputs) times as long a step; the outputs are its columns, or with `outputs_first` its rows. Weight decay stands beside it,
    as in AdamW. Source: Jordan et al. 2024.
    """
    v = rho * v + g
    outputs, inputs = w.shape if outputs_first else w.shape[::-1]
    widening = max(1.0, outputs / max(inputs, 1)) ** 0.5
    w = (1 - lr * weight_decay) * w - lr * widening * orthogonalize(rho * v + g if nesterov else v)
    return w, v


@dataclass
class Muon(Optimizer):
    """Momentum whose steps are made orthogonal: [`muon`][reference_impl.optimization.muon.muon] on every matrix.

    `lr` > 0 is about the length of a step in each direction of a matrix, `rho` in [0, 1) what friction leaves of the velocity,
    `weight_decay` ≥ 0 as in [`AdamW`][reference_impl.AdamW]. Any of them may be a schedule. `nesterov=False` looks not ahead.
    Weights are (inputs, outputs), as in [`Affine`][reference_impl.Affine]; `outputs_first=True` takes them as (outputs, inputs), as PyTorch
    does. It matters only for which of them get longer steps.

    It takes matrices alone, and is meant for those between hidden layers: biases, gains, and the first and last layer go to another rule, by
    [`Groups`][reference_impl.Groups]. So do kernels of convolutions, unless each is given as a matrix: `kernel.reshape(-1, outputs)`, a view.
    Raises ValueError for other arrays.

    >>> import numpy as np
    >>> params = {"W": np.zeros((2, 2))}
    >>> Muon(lr=0.1).update(params, {"W": np.array([[1.0, 0.0], [0.0, 50.0]])})  # a step is as long in one direction as in the other
    >>> print(params["W"].round(2) + 0.0)
    [[-0.07  0.  ]
     [ 0.   -0.07]]
    """

    rule = staticmethod(muon)

    lr: float | Schedule = hyper(0.02, 0, open_low=True)
    rho: float | Schedule = hyper(0.95, 0, 1)
    weight_decay: float | Schedule = hyper(0.0, 0)
    nesterov: bool = True
    outputs_first: bool = False

    def _check_param(self, key: str, w: StandardArray) -> None:
        if len(w.shape) != 2:
            raise ValueError(f"params[{key!r}] must be a matrix for Muon, got the shape {w.shape}: give it to another rule, by Groups")
