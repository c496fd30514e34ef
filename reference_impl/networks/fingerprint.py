"""What a run, a model or a callback is made of, in words and numbers that can be written down and compared."""

from __future__ import annotations

import functools
import inspect
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import arrays


def told(value: object) -> Any:
    """A value as JSON can write it: arrays by their checksum, functions by their name, and other objects by their class.

    >>> told({"keys": ("0.W",), "of": np.zeros(3, dtype="f4"), "by": told})
    {'keys': ['0.W'], 'of': 'float32 (3,) 7bd5c66f', 'by': 'told'}
    """
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if arrays.is_plain(value):
        array: np.ndarray = arrays.on_host(value)
        return f"{array.dtype} {array.shape} {zlib.crc32(np.ascontiguousarray(array)):08x}"  # type: ignore[arg-type]
    if isinstance(value, Mapping):
        return {str(key): told(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [told(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, functools.partial):
        return [told(value.func), told(value.args), told(value.keywords)]
    return getattr(value, "__qualname__", type(value).__name__)


def arguments(made: object) -> dict[str, Any]:
    """The arguments of an object's `__init__` that it keeps under their own names.

    >>> from reference_impl import EarlyStopping
    >>> arguments(EarlyStopping("loss", patience=3))
    {'column': 'loss', 'patience': 3, 'min_delta': 0.0, 'larger_is_better': False}
    """
    return {name: told(getattr(made, name)) for name in inspect.signature(type(made)).parameters if hasattr(made, name)}
