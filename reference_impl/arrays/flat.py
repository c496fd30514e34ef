"""Many small arrays as one: what a step costs is then one walk over one buffer, not a walk for each array."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import final

import numpy as np

from .. import arrays
from .checks import Real, check_dict, checked, shown
from .protocol import Array


@final
class Flat(Mapping[str, Array]):
    """A dict of arrays that are views of one vector, `buffer` (n,), one after the other.

    The arrays change in place; a key cannot be given another array, which would not lie in the buffer. Copies and pickles keep the views.

    >>> params = flatten({"W": np.ones((2, 3)), "b": np.zeros(2)})
    >>> params["b"][...] = 5
    >>> print(params.buffer)
    [1. 1. 1. 1. 1. 1. 5. 5.]
    """

    def __init__(self, buffer: Array, shapes: Mapping[str, tuple[int, ...]]) -> None:
        if not arrays.is_plain(buffer):
            raise TypeError(f"buffer must be an array, got {shown(buffer)}")
        if not isinstance(shapes, Mapping) or not all(isinstance(key, str) and isinstance(shape, tuple) for key, shape in shapes.items()):
            raise TypeError(f"shapes must map names to tuples of lengths, got {shown(shapes)}")
        self.buffer, self.shapes = buffer, dict(shapes)
        ends = np.cumsum([0, *(math.prod(shape) for shape in self.shapes.values())]).tolist()
        if buffer.shape != (ends[-1],):
            raise ValueError(f"buffer must have the shape ({ends[-1]},) for shapes {self.shapes}, got {buffer.shape}")
        self._views: dict[str, Array] = {key: buffer[first:last].reshape(shape) for (key, shape), first, last in zip(self.shapes.items(), ends, ends[1:])}

    def __getitem__(self, key: str) -> Array:
        return self._views[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __reduce__(self) -> tuple[type[Flat], tuple[Array, dict[str, tuple[int, ...]]]]:
        return Flat, (self.buffer, self.shapes)

    def __repr__(self) -> str:
        return f"Flat({', '.join(f'{key} {shape}' for key, shape in self.shapes.items())})"

    @checked(value=Real(infinite=True))
    def full_like(self, value: float) -> Flat:
        """Another of the same shapes and dtype, filled with `value`.

        >>> flatten({"b": np.ones(2)}).full_like(0.5).buffer.tolist()
        [0.5, 0.5]
        """
        return Flat(arrays.full_like(self.buffer, value), self.shapes)


def flatten(params: Mapping[str, Array]) -> Flat:
    """A copy of a dict of arrays as views of one buffer; an optimizer steps on it as on one array.

    Shapes are any, of one dtype and one library. Write gradients into a second one, `flatten(grads)` or `params.full_like(0)`.
    Raises TypeError for what is no array, ValueError for several dtypes or libraries, or none.

    >>> from reference_impl import SGD
    >>> params = flatten({"W": np.ones((2, 2)), "b": np.zeros(2)})
    >>> SGD(lr=0.5).update(params, params.full_like(1.0))
    >>> params["W"].tolist(), params["b"].tolist()
    ([[0.5, 0.5], [0.5, 0.5]], [-0.5, -0.5])
    """
    check_dict("params", params)
    kinds = {(arrays.namespace(array).__name__, str(array.dtype)) for array in params.values()}
    if len(kinds) != 1:
        raise ValueError(f"params must hold arrays of one library and dtype, got {sorted(kinds)}")
    return Flat(arrays.flat_copy(list(params.values())), {key: array.shape for key, array in params.items()})
