"""Arrays of any library: which module they belong to, and where they lie.

NumPy's arrays are the common case. CuPy's, on a GPU, take NumPy's own functions, and any other library's that follow
the array API standard will do for an optimizer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import numpy as np

from .protocol import Array, StandardArray

A = TypeVar("A", bound=StandardArray)


def on_device(array: object) -> bool:
    """Whether it is an array of CuPy, which must have been imported to have made one.

    >>> on_device(np.zeros(2))
    False
    """
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, getattr(cupy, "ndarray", ()))


def on_host(array: Any) -> np.ndarray:
    """The array itself, or what NumPy can read of it if it is CuPy's.

    >>> on_host(np.zeros(2))
    array([0., 0.])
    """
    host: np.ndarray = array.get(order="A") if on_device(array) else array
    return host


def linalg_errors(array: object) -> AbstractContextManager[object]:
    """Where linear algebra on `array` raises LinAlgError, as NumPy's does: CuPy would go on with whatever came out.

    >>> with linalg_errors(np.eye(2)):
    ...     np.linalg.cholesky(-np.eye(2))
    Traceback (most recent call last):
        ...
    numpy.linalg.LinAlgError: Matrix is not positive definite
    """
    if not on_device(array):
        return nullcontext()
    from cupyx import errstate

    loud: AbstractContextManager[object] = errstate(linalg="raise")
    return loud


def beside(numbers: object, array: Any) -> np.ndarray:
    """The numbers as an array on the side where `array` lies, which may be anything that NumPy takes for one.

    >>> beside([1.0, 2.0], [3, 4])
    array([1., 2.])
    """
    return np.asarray(numbers, like=array if on_device(array) else None)


def floats(x: Any) -> np.ndarray:
    """`x` as a new array of float64: where it is an array of CuPy on its device, else in main memory.

    >>> floats([1, 2])
    array([1., 2.])
    """
    return np.array(x, dtype=float, like=x if on_device(x) else None)


def namespace(array: object) -> Any:
    """The module of an array: NumPy, CuPy, or whatever its library's array API is.

    Raises TypeError when `array` is no array.

    >>> namespace(np.zeros(2)).__name__
    'numpy'
    """
    if isinstance(array, np.ndarray):
        return np
    if on_device(array):
        return sys.modules["cupy"]
    own = getattr(array, "__array_namespace__", None)
    if own is None or isinstance(array, np.generic):
        raise TypeError(f"expected an array, got {type(array).__name__}")
    return own()


def functions(array: object) -> Any:
    """The module whose functions take an array: NumPy for its own and CuPy's, else what its library's array API is.

    >>> functions(np.zeros(2)).__name__
    'numpy'
    """
    return np if on_device(array) else namespace(array)


def largest(array: StandardArray) -> float:
    """The largest size of an element of a non-empty array.

    >>> largest(np.array([1.0, -2.0]))
    2.0
    """
    size = functions(array).abs(array)
    return float(size.max() if hasattr(size, "max") else functions(array).max(size))


def is_plain(array: object) -> bool:
    """Whether it is an array, and no subclass that means something else by it: a mask, a matrix.

    >>> is_plain(np.zeros(2)), is_plain([0.0]), is_plain(np.ma.zeros(2)), is_plain(np.float64(0))
    (True, False, False, False)
    """
    if isinstance(array, np.ndarray):
        return type(array) in (np.ndarray, np.memmap)
    return on_device(array) or (hasattr(array, "__array_namespace__") and not isinstance(array, np.generic))


def copy(array: A) -> A:
    """A copy that keeps library, dtype and layout.

    >>> a = np.zeros((2, 3), order="F")
    >>> copy(a).flags.f_contiguous
    True
    """
    given: Any = array
    copied: A = given.copy(order="K") if isinstance(array, np.ndarray) or on_device(array) else namespace(array).asarray(array, copy=True)
    return copied


def full_like(array: A, value: float) -> A:
    """A plain array of the same library, shape, dtype and layout, filled with `value`.

    >>> full_like(np.zeros(2, dtype="f4"), 1.0)
    array([1., 1.], dtype=float32)
    """
    filled: A = namespace(array).full_like(array, value, **({"subok": False} if isinstance(array, np.ndarray) else {}))
    return filled


def wide(array: A) -> A:
    """The array itself, or one of float16 in float32: what is summed or squared there would overflow, and be rounded at every step.

    >>> wide(np.ones(2, dtype="f2")).dtype, wide(np.ones(2)).dtype
    (dtype('float32'), dtype('float64'))
    """
    given: Any = array
    wider: A = given.astype(np.float32) if is_half(array) else array
    return wider


def is_half(array: StandardArray) -> bool:
    """Whether an array is of NumPy's or CuPy's float16.

    >>> is_half(np.zeros(2, dtype="f2")), is_half(np.zeros(2))
    (True, False)
    """
    return isinstance(array.dtype, np.dtype) and array.dtype == np.float16


def computing_dtype(array: StandardArray) -> np.dtype:
    """NumPy's dtype of the format in which a rule is computed on an array of floating-point numbers: float32 or float64.

    >>> computing_dtype(np.zeros(2, dtype="f2"))
    dtype('float32')
    """
    double = array.dtype.itemsize > 4 if isinstance(array.dtype, np.dtype) else namespace(array).finfo(array.dtype).bits > 32
    return np.dtype(np.float64 if double else np.float32)


def flat_copy(parts: Sequence[StandardArray]) -> Array:
    """The elements of some arrays of one library and dtype, at least one of them, in a new vector.

    >>> flat_copy([np.ones((2, 1)), np.zeros(1)])
    array([1., 1., 0.])
    """
    xp = namespace(parts[0])
    vector: Array = xp.concat([xp.reshape(part, (-1,)) for part in parts])
    return vector


def check_scale(name: str, value: float, array: StandardArray) -> None:
    """Refuse a hyperparameter that is not 0 but would be in the array's dtype: ValueError.

    >>> check_scale("eps", 1e-8, np.zeros(2, dtype="f2"))
    Traceback (most recent call last):
        ...
    ValueError: eps must not vanish in float16, got 1e-08
    """
    xp = np if isinstance(array.dtype, np.dtype) else namespace(array)
    if value and abs(value) < 1e-7 and float(xp.asarray(value, dtype=array.dtype)) == 0:
        raise ValueError(f"{name} must not vanish in {array.dtype}, got {value!r}")


def not_finite(array: Any) -> str:
    """In words, the first element that is not finite.

    >>> not_finite(np.array([[1.0, np.nan]]))
    'nan at index (0, 1)'
    """
    if not isinstance(array, np.ndarray) and not on_device(array):
        return "NaN or infinity"
    where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    return f"{array[where]} at index {where}"


def is_floating(array: StandardArray) -> bool:
    """Whether an array's dtype is one that the rules take: float16, float32 or float64, in this machine's byte order.

    >>> is_floating(np.zeros(2)), is_floating(np.zeros(2, dtype=int))
    (True, False)
    """
    if isinstance(array.dtype, np.dtype):
        return bool(array.dtype.kind == "f" and array.dtype.itemsize <= 8 and array.dtype.isnative)
    return bool(namespace(array).isdtype(array.dtype, "real floating"))
