"""A network: layers one after the other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .. import arrays
from ..arrays.checks import GENERATOR, Flag, Instance, Optional, check, checked, shown
from ..arrays.protocol import Array
from .files import HeldFile, read
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
                raise TypeError(f"layers must be layers, got {shown(layer)}")
        if len({id(layer) for layer in layers}) != len(layers):
            raise ValueError("layers must be different objects, got one of them twice")
        self.layers = list(layers)

    @property
    def params(self) -> dict[str, Array]:
        """The arrays that an optimizer changes."""
        return {f"{i}.{name}": array for i, layer in enumerate(self.layers) if not layer.frozen for name, array in layer.params.items()}

    @property
    def grads(self) -> dict[str, Array]:
        """The gradients that the last backward pass found, with the keys of `params`."""
        return {f"{i}.{name}": array for i, layer in enumerate(self.layers) if not layer.frozen for name, array in layer.grads.items()}

    @property
    def buffers(self) -> dict[str, Array]:
        """The arrays that a forward pass in training changes: running statistics."""
        return {f"{i}.{name}": array for i, layer in enumerate(self.layers) for name, array in layer.buffers.items()}

    def forward(self, x: Array, *, train: bool = False, rng: np.random.Generator | None = None) -> Array:
        """The outputs for a batch `x`. Layers that need chance in training take it from `rng`."""
        if type(train) is not bool:
            check("train", train, Flag())
        if rng is not None:
            check("rng", rng, Optional(GENERATOR))
        for layer in self.layers:
            x = layer.forward(x, train=train and not layer.frozen, rng=rng)
        return x

    def backward(self, dout: Array) -> Array:
        """The loss's gradient by the inputs, from its gradient `dout` by the outputs; fills `grads`."""
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout

    def backward_params(self, dout: Array) -> None:
        """Fill `grads` as `backward` does, and go no further down than to the first layer that learns."""
        learning = [i for i, layer in enumerate(self.layers) if layer.params and not layer.frozen]
        if not learning:
            return
        for layer in reversed(self.layers[learning[0] + 1:]):
            dout = layer.backward(dout)
        self.layers[learning[0]].backward_params(dout)

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters, frozen ones too, and of all buffers, under their keys.

        >>> from reference_impl.networks.layers import Affine
        >>> Sequential(Affine(1, 1, rng=np.random.default_rng(0), std=0.0)).state_dict()
        {'0.W': array([[0.]]), '0.b': array([0.])}
        """
        return {key: arrays.copy(array) for key, array in self._all().items()}

    def load_state_dict(self, saved: Mapping[str, Array]) -> None:
        """Take over parameters and buffers from `saved`, in place: a model on a GPU takes them from main memory too.

        Raises ValueError, before anything is changed, when keys, shapes or dtypes differ.
        """
        own = self._all()
        if not isinstance(saved, Mapping):
            raise TypeError(f"saved must be a dict of arrays, got {shown(saved)}")
        if own.keys() != saved.keys():
            raise ValueError(f"saved must have the keys {sorted(own)}, got {sorted(saved)}")
        for key, array in own.items():
            if not arrays.is_plain(saved[key]):
                raise TypeError(f"saved[{key!r}] must be an array, got {shown(saved[key])}")
            if array.shape != saved[key].shape or array.dtype != saved[key].dtype:
                raise ValueError(f"saved[{key!r}] must be {array.shape} of {array.dtype}, got {saved[key].shape} of {saved[key].dtype}")
        for key, array in own.items():
            array[...] = np.asarray(saved[key], like=array)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all parameters and buffers to a file, whole or not at all: NumPy's own, without pickle, whose arrays `np.load` reads too.

        The layers themselves are not in it: they are code. Raises FileNotFoundError when the folder is missing.

        >>> import tempfile
        >>> from reference_impl import Affine
        >>> model = Sequential(Affine(2, 1, rng=np.random.default_rng(0)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/model.npz")
        ...     same = Sequential(Affine(2, 1, rng=np.random.default_rng(1))).load(f"{folder}/model.npz")
        >>> bool((same.params["0.W"] == model.params["0.W"]).all())
        True
        """
        file = HeldFile(_path(path))
        file.hold()
        try:
            file.write({key: arrays.on_host(array) for key, array in self._all().items()} | {"layers": np.array(self.architecture())})
        finally:
            file.release()

    def load(self, path: str | os.PathLike[str]) -> Sequential:
        """Take over what `save` has written, in place, and return the model itself.

        Raises ValueError, before anything is changed, when the file is damaged or holds a model of other layers.
        """
        content = read(_path(path), "Sequential.save")
        theirs = [str(layer) for layer in content.pop("layers", ())]
        if theirs != self.architecture():
            raise ValueError(f"path must hold a model of the layers {self.architecture()}, got {path} with {theirs}")
        self.load_state_dict(content)
        return self

    def architecture(self) -> list[str]:
        """The layers in words: each with its settings and the shapes of its arrays.

        >>> from reference_impl import Conv2D, ReLU
        >>> Sequential(Conv2D(1, 4, 3, pad=1, rng=np.random.default_rng(0)), ReLU()).architecture()
        ['Conv2D(size=3, stride=1, pad=1, W (3, 3, 1, 4), b (4,))', 'ReLU()']
        """
        return [layer.described() for layer in self.layers]

    def _all(self) -> dict[str, Array]:
        return {f"{i}.{name}": array for i, layer in enumerate(self.layers) for name, array in (layer.params | layer.buffers).items()}

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


MODEL = Instance(Sequential, words="a Sequential")


@checked(model=MODEL)
def all_params(model: Sequential) -> dict[str, Array]:
    """The parameters of all layers, frozen ones too, under their keys.

    >>> from reference_impl.networks.layers import Affine
    >>> model = Sequential(Affine(1, 1, rng=np.random.default_rng(0)))
    >>> model.layers[0].frozen = True
    >>> list(model.params), list(all_params(model))
    ([], ['0.W', '0.b'])
    """
    return {f"{i}.{name}": array for i, layer in enumerate(model.layers) for name, array in layer.params.items()}


def _path(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise TypeError(f"path must name a file, got {shown(path)}")
    return Path(path)
