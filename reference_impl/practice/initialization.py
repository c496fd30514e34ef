"""How to draw the first weights, and what the signal then does on its way through the layers.

Derived in the chapter on [initialization][initialization].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..networks.model import Sequential

Scheme = Callable[[int, int], float]
"""The standard deviation of the weights of a layer, from its fan-in and fan-out."""


def fans(weights: Any) -> tuple[int, int]:
    """How many numbers feed into one output of a layer, and how many outputs one input feeds: fan-in and fan-out.

    `weights` is (inputs, outputs), or (size, size, channels, filters) of a convolution: there both counts are times size².
    Raises ValueError for other shapes.

    >>> fans(np.zeros((64, 10))), fans(np.zeros((3, 3, 8, 16)))
    ((64, 10), (72, 144))
    """
    if weights.ndim not in (2, 4):
        raise ValueError(f"weights must be (inputs, outputs) or (size, size, channels, filters), got {weights.shape}")
    places = math.prod(weights.shape[:-2])
    return places * weights.shape[-2], places * weights.shape[-1]


def he(fan_in: int, fan_out: int) -> float:
    """√(2 / fan_in): keeps the size of the signal through ReLUs. Source: He et al. 2015, eq. (10).

    >>> he(50, 10)
    0.2
    """
    return math.sqrt(2 / fan_in)


def lecun(fan_in: int, fan_out: int) -> float:
    """√(1 / fan_in): keeps it through layers that are nearly linear. Source: LeCun et al. 1998, eq. (16).

    Often called Xavier too: it is the forward half of Glorot and Bengio's argument.

    >>> lecun(100, 10)
    0.1
    """
    return math.sqrt(1 / fan_in)


def xavier(fan_in: int, fan_out: int) -> float:
    """√(2 / (fan_in + fan_out)): between what the forward and what the backward pass ask for.

    Source: Glorot & Bengio 2010, eq. (12) and (16).

    >>> xavier(30, 20)
    0.2
    """
    return math.sqrt(2 / (fan_in + fan_out))


def orthogonal(shape: tuple[int, ...], rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """Weights whose columns (or rows, if they are fewer) stand at right angles and have the length `gain`.

    `shape` as for [`fans`][reference_impl.practice.initialization.fans]; uniform among all such. √2 suits ReLUs.
    Source: Saxe, McClelland & Ganguli 2014, section 3; Mezzadri 2007 for the signs.

    >>> W = orthogonal((3, 2), np.random.default_rng(0))
    >>> print((W.T @ W).round(12) + 0.0)
    [[1. 0.]
     [0. 1.]]
    """
    rows, columns = math.prod(shape[:-1]), shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diagonal(r))
    weights: np.ndarray = gain * (q if rows >= columns else q.T).reshape(shape)
    return weights


def initialize(model: Sequential, scheme: Scheme | float | str, rng: np.random.Generator) -> None:
    """Draw all weights of a model anew, in place, and set its biases to 0.

    `scheme` gives the standard deviation: a number, or a function of fan-in and fan-out such as
    [`he`][reference_impl.practice.initialization.he]; or it is `"orthogonal"`, with gain √2. Frozen layers stay as they are.
    Raises ValueError for another string or a deviation that is negative or not finite, before anything is changed.

    >>> from reference_impl import Affine
    >>> rng = np.random.default_rng(0)
    >>> model = Sequential(Affine(1000, 100, rng=rng))
    >>> initialize(model, he, rng)
    >>> print(round(float(model.params["0.W"].std() / he(1000, 100)), 2))
    1.0
    """
    if isinstance(scheme, str) and scheme != "orthogonal":
        raise ValueError(f"scheme must be a number, a function or 'orthogonal', got {scheme!r}")
    weights = [layer.params["W"] for layer in model.layers if "W" in layer.params and not layer.frozen]
    deviations = [] if isinstance(scheme, str) else [float(scheme(*fans(W)) if callable(scheme) else scheme) for W in weights]
    if bad := [deviation for deviation in deviations if not 0 <= deviation < math.inf]:
        raise ValueError(f"scheme must give a finite deviation from 0 up, got {bad[0]!r}")
    for layer in model.layers:
        if "b" in layer.params and "W" in layer.params and not layer.frozen:
            layer.params["b"][...] = 0
    for i, W in enumerate(weights):
        W[...] = orthogonal(W.shape, rng, math.sqrt(2)) if isinstance(scheme, str) else rng.standard_normal(W.shape) * deviations[i]


class Signal(NamedTuple):
    """Root mean squares: of the input and each layer's output, and of the gradient there; both (layers + 1,)."""

    forward: np.ndarray
    backward: np.ndarray


def signal(model: Sequential, x: Any, dout: Any) -> Signal:
    """The size of the signal before the first layer and behind each: forward from `x`, and backward from `dout`.

    `x` is a batch, `dout` the loss's gradient by the outputs, of their shape. The backward half starts at the input, as the
    forward one does, and ends with `dout` itself.

    >>> from reference_impl import Affine, ReLU
    >>> model = Sequential(Affine(2, 2, rng=np.random.default_rng(0)), ReLU())
    >>> model.params["0.W"][...] = 2 * np.eye(2)
    >>> found = signal(model, np.ones((1, 2)), np.ones((1, 2)))
    >>> found.forward.tolist(), found.backward.tolist()
    ([1.0, 2.0, 2.0], [2.0, 1.0, 1.0])
    """
    forward, backward = [_rms(x)], [_rms(dout)]
    for layer in model.layers:
        x = layer.forward(x)
        forward.append(_rms(x))
    for layer in reversed(model.layers):
        dout = layer.backward(dout)
        backward.append(_rms(dout))
    return Signal(np.array(forward), np.array(backward[::-1]))


def _rms(array: Any) -> float:
    return math.sqrt(float((array * array).mean()))
