"""How to draw the first weights, and what the signal then does on its way through the layers.

Derived in the chapter on [initialization][initialization].
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from ..arrays.checks import GENERATOR, POSITIVE, SIZE, ArrayOf, Count, Either, Function, Instance, OneOf, checked, shown
from ..arrays.protocol import Array
from ..networks.layers import Layer
from ..networks.model import Sequential

Scheme = Callable[[int, int], float]
"""The standard deviation of the weights of a layer, from its fan-in and fan-out."""

FANS = {"fan_in": Count(), "fan_out": Count()}


@checked(weights=ArrayOf(dtypes="biuf"))
def fans(weights: Array) -> tuple[int, int]:
    """How many numbers feed into one output of a layer, and how many outputs one input feeds: fan-in and fan-out.

    `weights` is (inputs, outputs), or (size, size, channels, filters) of a convolution: there both counts are times size².
    They are those of a pixel far from the border, and of stride one; a stride of s feeds each input into fewer outputs, by s².
    PyTorch counts alike in its own order (outputs, inputs, …). Raises ValueError for other shapes.

    >>> fans(np.zeros((64, 10))), fans(np.zeros((3, 3, 8, 16)))
    ((64, 10), (72, 144))
    """
    places = _places("weights", weights.shape)
    return places * weights.shape[-2], places * weights.shape[-1]


@checked(**FANS)
def he(fan_in: int, fan_out: int) -> float:
    """√(2 / fan_in): keeps the size of the signal through ReLUs. Source: He et al. 2015.

    >>> he(50, 10)
    0.2
    """
    return math.sqrt(2 / fan_in)


@checked(**FANS)
def lecun(fan_in: int, fan_out: int) -> float:
    """√(1 / fan_in): keeps it through layers that are nearly linear. Source: LeCun et al. 1998.

    Often called Xavier too: it is the forward half of Glorot and Bengio's argument.

    >>> lecun(100, 10)
    0.1
    """
    return math.sqrt(1 / fan_in)


@checked(**FANS)
def xavier(fan_in: int, fan_out: int) -> float:
    """√(2 / (fan_in + fan_out)): between what the forward and what the backward pass ask for.

    Source: Glorot & Bengio 2010, eq. (16), which draws evenly with this deviation.

    >>> xavier(30, 20)
    0.2
    """
    return math.sqrt(2 / (fan_in + fan_out))


@checked(rng=GENERATOR, gain=SIZE)
def orthogonal(shape: tuple[int, ...], rng: np.random.Generator, gain: float = 1.0) -> np.ndarray:
    """Weights whose columns (or rows, if they are fewer) stand at right angles and have the length `gain`.

    `shape` as for [`fans`][reference_impl.practice.initialization.fans]; uniform among all such. √2 suits ReLUs. The deviation of
    one weight is `gain` / √n, with n the longer side: from few inputs to many outputs that is less than
    [`he`][reference_impl.practice.initialization.he] asks for. Raises TypeError or ValueError for another shape.
    Source: Saxe, McClelland & Ganguli 2014; Mezzadri 2007 for the signs.

    >>> W = orthogonal((3, 2), np.random.default_rng(0))
    >>> print((W.T @ W).round(12) + 0.0)
    [[1. 0.]
     [0. 1.]]
    """
    if not isinstance(shape, tuple) or any(Count().fault(side) for side in shape):
        raise TypeError(f"shape must be a tuple of whole numbers from 1 up, got {shown(shape)}")
    rows, columns = _places("shape", shape) * shape[-2], shape[-1]
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diagonal(r))  # QR alone prefers some directions
    weights: np.ndarray = gain * (q if rows >= columns else q.T).reshape(shape)
    return weights


@checked(model=Instance(Sequential), scheme=Either(SIZE, Function("fan-in and fan-out"), OneOf("orthogonal")), rng=GENERATOR)
def initialize(model: Sequential, scheme: Scheme | float | Literal["orthogonal"], rng: np.random.Generator) -> None:
    """Draw all weights `W` of a model anew, in place, from the normal distribution, and set the biases beside them to 0.

    `scheme` gives the standard deviation: a number, or a function of fan-in and fan-out such as
    [`he`][reference_impl.practice.initialization.he]; or it is `"orthogonal"`, with gain √2. Frozen layers stay as they are.
    Raises TypeError or ValueError for another scheme or a deviation that is negative or not finite, before anything is changed.

    >>> from reference_impl import Affine
    >>> rng = np.random.default_rng(0)
    >>> model = Sequential(Affine(1000, 100, rng=rng))
    >>> initialize(model, he, rng)
    >>> print(round(float(model.params["0.W"].std() / he(1000, 100)), 2))
    1.0
    """
    layers = [layer for layer in model.layers if "W" in layer.params and not layer.frozen]
    stds = [_std(scheme, layer.params["W"]) for layer in layers]
    for layer, std in zip(layers, stds):
        W = layer.params["W"]
        W[...] = np.asarray(orthogonal(W.shape, rng, math.sqrt(2)) if std is None else rng.standard_normal(W.shape) * std, like=W)
        if "b" in layer.params:
            layer.params["b"][...] = 0


class Signal(NamedTuple):
    """Root mean squares before the first layer and behind each: of the signal, and of the gradient; both (layers + 1,)."""

    forward: np.ndarray
    backward: np.ndarray


@checked(model=Instance(Sequential), x=ArrayOf(dtypes="biuf"), dout=ArrayOf())
def signal(model: Sequential, x: Array, dout: Array) -> Signal:
    """The size of the signal on its way forward from `x`, and of the gradient on its way back from `dout`, at test time.

    `x` is a batch; `dout` is the loss's gradient by the outputs and has their shape, else ValueError. The backward half
    starts at the input, as the forward one does, and ends with `dout` itself. Fills the model's `grads`.

    >>> from reference_impl import Affine, ReLU
    >>> model = Sequential(Affine(2, 2, rng=np.random.default_rng(0)), ReLU())
    >>> model.params["0.W"][...] = 2 * np.eye(2)
    >>> found = signal(model, np.ones((1, 2)), np.ones((1, 2)))
    >>> found.forward.tolist(), found.backward.tolist()
    ([1.0, 2.0, 2.0], [2.0, 1.0, 1.0])
    """
    forward = [root_mean_square(x)]
    for layer in model.layers:
        x = layer.forward(x)
        forward.append(root_mean_square(x))
    if dout.shape != x.shape:
        raise ValueError(f"dout must have the outputs' shape {x.shape}, got {dout.shape}")
    backward = [root_mean_square(dout)]
    for layer in reversed(model.layers):
        dout = layer.backward(dout)
        backward.append(root_mean_square(dout))
    return Signal(np.array(forward), np.array(backward[::-1]))


@checked(activation=Instance(Layer), scale=POSITIVE, depth=Count(0), start=POSITIVE)
def wide_limit(activation: Layer, scale: float, depth: int, start: float = 1.0) -> Signal:
    """What theory expects: the signal through `depth` very wide layers, each with an elementwise `activation` behind it.

    The n inputs of a layer get weights of standard deviation `scale` / √n and no bias; `start` is the RMS of the input, and the
    gradient at the end has RMS 1. Each z is then normal, so a layer's factors are integrals over one normal variable. For ReLU
    they are those of the mean square at any width. Raises ValueError unless `depth` is a whole number and `scale` and `start`
    are positive and finite. Source: Poole et al. 2016, forward; Schoenholz et al. 2017, backward.

    >>> from reference_impl import ReLU
    >>> found = wide_limit(ReLU(), scale=2.0, depth=4)  # √2 a layer
    >>> print(found.forward.round(3), found.backward.round(3))
    [1.    1.414 2.    2.828 4.   ] [4.    2.828 2.    1.414 1.   ]
    """
    z = np.linspace(-10, 10, 4000)  # an even number: none lies on ReLU's kink
    weight = np.exp(-z * z / 2)
    weight /= weight.sum()
    forward, factors = [start], []
    for _ in range(depth):
        out = activation.forward(scale * forward[-1] * z)
        slope = activation.backward(np.ones_like(z))
        forward.append(math.sqrt(float(weight @ (out * out))))
        factors.append(scale * math.sqrt(float(weight @ (slope * slope))))
    return Signal(np.array(forward), np.cumprod([1.0, *reversed(factors)])[::-1])


def _places(name: str, shape: tuple[int, ...]) -> int:
    """At how many places a weight of this shape looks: 1, or size² of a convolution."""
    if len(shape) not in (2, 4):
        raise ValueError(f"{name} must be (inputs, outputs) or (size, size, channels, filters), got {shape}")
    return math.prod(shape[:-2])


def _std(scheme: Scheme | float | str, W: Array) -> float | None:
    """The deviation that a scheme asks for; None when it is orthogonal."""
    counts = fans(W)
    if isinstance(scheme, str):
        return None
    std = scheme(*counts) if callable(scheme) else scheme
    if SIZE.fault(std):
        raise ValueError(f"scheme must give a finite deviation from 0 up, got {shown(std)}")
    return float(std)


@checked(array=ArrayOf(dtypes="biuf"))
def root_mean_square(array: Array) -> float:
    """√ of the mean square, in double precision: the squares of a faint float32 signal would vanish, those of a float16 one overflow.

    >>> root_mean_square(np.array([3.0, -3.0], dtype="f2"))
    3.0
    """
    array = array.astype(np.float64)
    return math.sqrt(float((array * array).mean()))
