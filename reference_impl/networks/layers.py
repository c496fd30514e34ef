"""Layers of a network: each maps a batch forward, and a gradient back.

A layer keeps what its backward pass needs from its last forward pass. `params`, `grads` and
`buffers` are dicts of arrays that change in place and are never replaced, so an optimizer may hold
on to them. Images are (batch, height, width, channels).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from ..arrays import is_plain
from ..arrays.checks import FLOATING, GENERATOR, SIZE, Count, Flag, Optional, check, shown
from ..arrays.protocol import Array
from .fingerprint import arguments


class Layer(ABC):
    """The base of all layers: no parameters, and the two passes to be written.

    `frozen = True` keeps a layer as it is: a model then leaves its parameters out, and runs it as at test time.
    """

    frozen = False

    def __init__(self) -> None:
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}

    def __init_subclass__(cls) -> None:
        if "backward_params" not in vars(cls) and cls.backward is not cls._pair:  # what is inherited belongs to another `backward`
            cls.backward_params = Layer.backward_params  # type: ignore[method-assign]
        cls._pair = cls.backward

    @abstractmethod
    def forward(self, x: Array, *, train: bool = False, rng: np.random.Generator | None = None) -> Array:
        """The layer's output for a batch `x`; `train` and `rng` matter to layers that act otherwise in training."""

    @abstractmethod
    def backward(self, dout: Array) -> Array:
        """The loss's gradient by the input, from its gradient `dout` by the output; fills `grads`.

        Belongs to the last forward pass: RuntimeError when there was none.
        """

    def backward_params(self, dout: Array) -> None:
        """Fill `grads` as `backward` does; the first layer of a model has nobody to pass a gradient on to.

        A subclass that overrides `backward` alone gets this one back, which calls it.
        """
        self.backward(dout)

    _pair: ClassVar[Callable[..., Array]] = backward

    def _saved(self) -> Any:
        """What the last forward pass left in `self._cache`."""
        try:
            return self._cache
        except AttributeError:
            raise RuntimeError(f"{type(self).__name__}.backward needs a forward pass before it, got none") from None

    def described(self) -> str:
        """The layer in words: its settings, and the shapes of its arrays.

        >>> MaxPool2D(2).described()
        'MaxPool2D(size=2, stride=2)'
        """
        settings = [f"{name}={value}" for name, value in arguments(self).items()]
        shapes = [f"{name} {array.shape}" for name, array in (self.params | self.buffers).items()]
        return f"{type(self).__name__}({', '.join(settings + shapes)})"

    def __repr__(self) -> str:
        said = [f"{name} {array.shape}" for name, array in self.params.items()] + ["frozen"] * self.frozen
        return f"{type(self).__name__}({', '.join(said)})"

    _cache: Any


class Affine(Layer):
    """x W + b: every output a weighted sum of all inputs.

    `x` is (batch, inputs), `W` (inputs, outputs), `b` (outputs,), zero at first; `bias=False` leaves it out.
    The weights are drawn from `rng` with standard deviation `std`, by default √(2 / inputs) (He et al. 2015, eq. 10).
    Source of the backward pass: Goodfellow, Bengio & Courville 2016, section 6.5.6.

    >>> layer = Affine(3, 2, rng=np.random.default_rng(0))
    >>> layer.forward(np.ones((5, 3))).shape, layer.backward(np.ones((5, 2))).shape
    ((5, 2), (5, 3))
    >>> layer.grads["W"].tolist()
    [[5.0, 5.0], [5.0, 5.0], [5.0, 5.0]]
    """

    def __init__(self, inputs: int, outputs: int, *, rng: np.random.Generator, std: float | None = None, bias: bool = True,
                 dtype: DTypeLike = np.float64) -> None:
        super().__init__()
        check("inputs", inputs, Count())
        check("outputs", outputs, Count())
        self.params = _weights((inputs, outputs), inputs, rng, std, bias, dtype)
        self.grads = {name: np.zeros_like(array) for name, array in self.params.items()}

    def forward(self, x: Array, *, train: bool = False, rng: np.random.Generator | None = None) -> Array:
        W = self.params["W"]
        _check_array("x", x)
        if x.ndim != 2 or x.shape[1] != W.shape[0] or x.dtype != W.dtype:
            raise ValueError(f"x must be (batch, {W.shape[0]}) of {W.dtype}, got {x.shape} of {x.dtype}")
        self._cache = x
        out = x @ W
        if "b" in self.params:
            out += self.params["b"]
        return out

    def backward_params(self, dout: Array) -> None:
        x = self._saved()
        _check_shape(dout, (len(x), self.params["W"].shape[1]))
        np.matmul(x.T, dout, out=self.grads["W"])  # type: ignore[call-overload]
        if "b" in self.grads:
            _sum_rows(dout, self.grads["b"])

    def backward(self, dout: Array) -> Array:
        Affine.backward_params(self, dout)  # a subclass's own may call its `backward`
        return dout @ self.params["W"].T


class Conv2D(Layer):
    """The same small weighted sum at every place of an image.

    `x` is (batch, height, width, channels); `W` (size, size, channels, filters) slides over it, `stride` pixels at a
    time, after `pad` rows and columns of zeros on every side; `b` is (filters,). Weights as in
    [`Affine`][reference_impl.networks.layers.Affine], with size² · channels inputs.
    Source: Goodfellow, Bengio & Courville 2016, eq. (9.6): the kernel is not flipped.

    >>> layer = Conv2D(1, 4, 3, pad=1, rng=np.random.default_rng(0))
    >>> layer.forward(np.ones((2, 8, 8, 1))).shape
    (2, 8, 8, 4)
    """

    def __init__(self, channels: int, filters: int, size: int, *, rng: np.random.Generator, stride: int = 1, pad: int = 0,
                 std: float | None = None, bias: bool = True, dtype: DTypeLike = np.float64) -> None:
        super().__init__()
        for name, count in (("channels", channels), ("filters", filters), ("size", size), ("stride", stride)):
            check(name, count, Count())
        check("pad", pad, Count(0))
        self.size, self.stride, self.pad = size, stride, pad
        self.params = _weights((size, size, channels, filters), size * size * channels, rng, std, bias, dtype)
        self.grads = {name: np.zeros_like(array) for name, array in self.params.items()}

    def forward(self, x: Array, *, train: bool = False, rng: np.random.Generator | None = None) -> Array:
        W = self.params["W"]
        _check_array("x", x)
        if x.ndim != 4 or x.shape[3] != W.shape[2] or x.dtype != W.dtype:
            raise ValueError(f"x must be (batch, height, width, {W.shape[2]}) of {W.dtype}, got {x.shape} of {x.dtype}")
        if self.pad:
            x = np.pad(x, ((0, 0), (self.pad, self.pad), (self.pad, self.pad), (0, 0)))
        patches = _patches(x, self.size, self.stride)
        rows = patches.reshape(-1, W[..., 0].size)
        self._cache = x.shape, patches.shape, rows
        out: Array = rows @ W.reshape(-1, W.shape[3])
        if "b" in self.params:
            out += self.params["b"]
        return out.reshape(*patches.shape[:3], W.shape[3])

    def backward_params(self, dout: Array) -> None:
        _, patches_shape, rows = self._saved()
        _check_shape(dout, (*patches_shape[:3], self.params["W"].shape[3]))
        dout = dout.reshape(-1, dout.shape[3])
        np.matmul(rows.T, dout, out=self.grads["W"].reshape(-1, dout.shape[1]))
        if "b" in self.grads:
            _sum_rows(dout, self.grads["b"])

    def backward(self, dout: Array) -> Array:
        Conv2D.backward_params(self, dout)
        W = self.params["W"]
        shape, patches_shape, _ = self._saved()
        drows = dout.reshape(-1, W.shape[3]) @ W.reshape(-1, W.shape[3]).T
        dx = _put_back(drows.reshape(patches_shape), shape, self.stride)
        return dx[:, self.pad:dx.shape[1] - self.pad, self.pad:dx.shape[2] - self.pad]


class MaxPool2D(Layer):
    """The largest value in each window of `size` by `size` pixels, for each channel; `stride` is `size` by default.

    `x` is (batch, height, width, channels). The gradient goes to the first of the largest.
    Source: Goodfellow, Bengio & Courville 2016, section 9.3.

    >>> MaxPool2D(2).forward(np.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0].tolist()
    [[5.0, 7.0], [13.0, 15.0]]
    """

    def __init__(self, size: int, *, stride: int | None = None) -> None:
        super().__init__()
        check("size", size, Count())
        check("stride", stride, Optional(Count()))
        self.size, self.stride = size, size if stride is None else stride

    def forward(self, x: Array, *, train: bool = False, rng: np.random.Generator | None = None) -> Array:
        _check_array("x", x)
        if x.ndim != 4:
            raise ValueError(f"x must be (batch, height, width, channels), got {x.shape}")
        patches = _patches(x, self.size, self.stride)
        windows = patches.reshape(*patches.shape[:3], self.size**2, x.shape[3])
        largest = windows.argmax(axis=3)[:, :, :, None]
        self._cache = x.shape, patches.shape, windows.shape, largest
        return np.take_along_axis(windows, largest, axis=3)[:, :, :, 0]

    def backward(self, dout: Array) -> Array:
        shape, patches_shape, windows_shape, largest = self._saved()
        _check_shape(dout, (*patches_shape[:3], shape[3]))
        dwindows = np.zeros_like(dout, shape=windows_shape)
        np.put_along_axis(dwindows, largest, dout[:, :, :, None], axis=3)
        return _put_back(dwindows.reshape(patches_shape), shape, self.stride)


class Flatten(Layer):
    """Images (batch, height, width, channels), or whatever the shape, as rows (batch, features).

    >>> Flatten().forward(np.zeros((2, 8, 8, 1))).shape
    (2, 64)
    """

    def forward(self, x: Array, *, train: bool = False, rng: np.random.Generator | None = None) -> Array:
        _check_array("x", x)
        if not x.ndim:
            raise ValueError(f"x must be (batch, ...), got {x.shape}")
        self._cache = x.shape
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def backward(self, dout: Array) -> Array:
        shape = self._saved()
        _check_shape(dout, (shape[0], math.prod(shape[1:])))
        return dout.reshape(shape)


class ReLU(Layer):
    """max(x, 0), elementwise; its slope at 0 is taken as 0.

    Source: Glorot, Bordes & Bengio 2011, section 3.

    >>> layer = ReLU()
    >>> layer.forward(np.array([[-1.0, 2.0]])).tolist(), layer.backward(np.array([[3.0, 3.0]])).tolist()
    ([[0.0, 2.0]], [[0.0, 3.0]])
    """

    def forward(self, x: Array, *, train: bool = False, rng: np.random.Generator | None = None) -> Array:
        _check_array("x", x)
        out: Array = np.maximum(x, 0)
        self._cache = out
        return out

    def backward(self, dout: Array) -> Array:
        out = self._saved()
        _check_shape(dout, out.shape)
        din: Array = dout * (out > 0)
        return din


class Tanh(Layer):
    """tanh x, elementwise.

    >>> layer = Tanh()
    >>> layer.forward(np.zeros((1, 1))).item(), layer.backward(np.ones((1, 1))).item()
    (0.0, 1.0)
    """

    def forward(self, x: Array, *, train: bool = False, rng: np.random.Generator | None = None) -> Array:
        _check_array("x", x)
        out: Array = np.tanh(x)
        self._cache = out
        return out

    def backward(self, dout: Array) -> Array:
        out = self._saved()
        _check_shape(dout, out.shape)
        din: Array = dout * (1 - out * out)
        return din


class Sigmoid(Layer):
    """1 / (1 + exp(-x)), elementwise, without overflow.

    >>> layer = Sigmoid()
    >>> layer.forward(np.array([[0.0, -1e4]])).tolist(), layer.backward(np.ones((1, 2))).tolist()
    ([[0.5, 0.0]], [[0.25, 0.0]])
    """

    def forward(self, x: Array, *, train: bool = False, rng: np.random.Generator | None = None) -> Array:
        _check_array("x", x)
        out: Array = (1 + np.tanh(x / 2)) / 2
        self._cache = out
        return out

    def backward(self, dout: Array) -> Array:
        out = self._saved()
        _check_shape(dout, out.shape)
        din: Array = dout * (out * (1 - out))
        return din


def _check_array(name: str, x: Array) -> None:
    if not is_plain(x) or x.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be an array of numbers, got {shown(x)}")


def _check_shape(dout: Array, shape: tuple[int, ...]) -> None:
    """Refuse a gradient that does not belong to the output of the last forward pass."""
    _check_array("dout", dout)
    if dout.shape != shape:
        raise ValueError(f"dout must have the shape {shape} of the output, got {dout.shape}")


def _sum_rows(rows: Array, out: Array) -> None:
    """Write the sum over the first axis into `out`; in float16 it would stop growing where a row is less than half a digit."""
    if out.dtype == np.float16:
        out[...] = rows.sum(axis=0, dtype=np.float32)
    else:
        np.sum(rows, axis=0, out=out)  # type: ignore[call-overload]


def _weights(shape: tuple[int, ...], fan_in: int, rng: np.random.Generator, std: float | None, bias: bool, dtype: DTypeLike) -> dict[str, Array]:
    """`W` drawn with standard deviation `std`, by default He's for `fan_in` inputs, and `b` of zeros, one for each output."""
    check("rng", rng, GENERATOR)
    check("std", std, Optional(SIZE))
    check("bias", bias, Flag())
    check("dtype", dtype, FLOATING)
    std = math.sqrt(2 / fan_in) if std is None else std
    weights: dict[str, Array] = {"W": (rng.standard_normal(shape) * std).astype(dtype)}
    return weights | {"b": np.zeros(shape[-1], dtype)} if bias else weights


def _patches(x: Array, size: int, stride: int) -> np.ndarray:
    """All windows of an image batch: (batch, rows, columns, size, size, channels)."""
    batch, height, width, channels = x.shape
    if min(height, width) < size:
        raise ValueError(f"x must be at least {size} by {size} pixels, got {height} by {width}")
    rows, columns = (height - size) // stride + 1, (width - size) // stride + 1
    patches = np.empty_like(x, shape=(batch, rows, columns, size, size, channels))
    for i in range(size):
        for j in range(size):
            patches[:, :, :, i, j] = x[:, i:i + rows * stride:stride, j:j + columns * stride:stride]
    return patches


def _put_back(patches: Array, shape: tuple[int, ...], stride: int) -> np.ndarray:
    """The transpose of `_patches`: every window added to where it was taken."""
    x = np.zeros_like(patches, shape=shape)
    _, rows, columns, size, _, _ = patches.shape
    for i in range(size):
        for j in range(size):
            x[:, i:i + rows * stride:stride, j:j + columns * stride:stride] += patches[:, :, :, i, j]
    return x
