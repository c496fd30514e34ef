"""A network: layers one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import arrays
from .layers import Layer


class Sequential:
    """Layers in a row: the output of each is the input of the next.

    `params`, `grads` and `buffers` are those of all layers, under keys such as `0.W`; those of frozen
    layers are left out of the first two. Raises TypeError for what is no layer, ValueError for one that comes twice.

    >>> from reference_impl.networks.layers import Affine, ReLU
    >>> rng = np.random.default_rng(0)
    >>> model = Sequential(Affine(64, 20, rng=rng), ReLU(), Affine(20, 10, rng=rng))
    >>> model.forward(np.zeros((3, 64))).shape
    (3, 10)
    >>> {key: array.shape for key, array in model.params.items()}
    {'0.W': (64, 20), '0.b': (20,), '2.W': (20, 10), '2.b': (10,)}
    """

    def __init__(self, *layers: Layer) -> None:
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers must be layers, got {layer!r}")
        if len({id(layer) for layer in layers}) != len(layers):
            raise ValueError("layers must be different objects, got one of them twice")
        self.layers = list(layers)

    @property
    def params(self) -> dict[str, Any]:
        """The arrays that an optimizer changes."""
        return {f"{i}.{name}": array for i, layer in enumerate(self.layers) if not layer.frozen for name, array in layer.params.items()}

    @property
    def grads(self) -> dict[str, Any]:
        """The gradients that the last backward pass found, with the keys of `params`."""
        return {f"{i}.{name}": array for i, layer in enumerate(self.layers) if not layer.frozen for name, array in layer.grads.items()}

    @property
    def buffers(self) -> dict[str, Any]:
        """The arrays that a forward pass in training changes: running statistics."""
        return {f"{i}.{name}": array for i, layer in enumerate(self.layers) for name, array in layer.buffers.items()}

    def forward(self, x: Any, *, train: bool = False, rng: np.random.Generator | None = None) -> Any:
        """The outputs for a batch `x`. Layers that need chance in training take it from `rng`."""
        for layer in self.layers:
            x = layer.forward(x, train=train and not layer.frozen, rng=rng)
        return x

    def backward(self, dout: Any) -> Any:
        """The loss's gradient by the inputs, from its gradient `dout` by the outputs; fills `grads`."""
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout

    def backward_params(self, dout: Any) -> None:
        """Fill `grads` as `backward` does, and go no further down than to the first layer that learns."""
        learning = [i for i, layer in enumerate(self.layers) if layer.params and not layer.frozen]
        if not learning:
            return
        for layer in reversed(self.layers[learning[0] + 1:]):
            dout = layer.backward(dout)
        first = self.layers[learning[0]]
        kind = next(kind for kind in type(first).__mro__ if {"backward", "backward_params"} & vars(kind).keys())
        (first.backward_params if "backward_params" in vars(kind) else first.backward)(dout)

    def state_dict(self) -> dict[str, Any]:
        """Copies of all parameters, frozen ones too, and of all buffers, under their keys.

        >>> from reference_impl.networks.layers import Affine
        >>> Sequential(Affine(1, 1, rng=np.random.default_rng(0), std=0.0)).state_dict()
        {'0.W': array([[0.]]), '0.b': array([0.])}
        """
        return {key: arrays.copy(array) for key, array in self._all().items()}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Take over parameters and buffers from `saved`, in place: a model on a GPU takes them from main memory too.

        Raises ValueError, before anything is changed, when keys, shapes or dtypes differ.
        """
        own = self._all()
        if own.keys() != saved.keys():
            raise ValueError(f"saved must have the keys {sorted(own)}, got {sorted(saved)}")
        for key, array in own.items():
            if array.shape != saved[key].shape or array.dtype != saved[key].dtype:
                raise ValueError(f"saved[{key!r}] must be {array.shape} of {array.dtype}, got {saved[key].shape} of {saved[key].dtype}")
        for key, array in own.items():
            array[...] = np.asarray(saved[key], like=array)

    def _all(self) -> dict[str, Any]:
        return {f"{i}.{name}": array for i, layer in enumerate(self.layers) for name, array in (layer.params | layer.buffers).items()}

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"
