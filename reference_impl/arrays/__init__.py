"""Arrays of any library: which module they belong to, where they lie, and whether parameters and gradients fit together.

NumPy's arrays are the common case. CuPy's, on a GPU, take NumPy's own functions, and any other library's that follow
the array API standard will do for an optimizer.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np


def on_device(array: Any) -> bool:
    """Whether it is an array of CuPy, which must have been imported to have made one.

    >>> on_device(np.zeros(2))
    False
    """
    cupy = sys.modules.get("cupy")
    return cupy is not None and isinstance(array, getattr(cupy, "ndarray", ()))


def on_host(array: Any) -> Any:
    """The array itself, or what NumPy can read of it if it is CuPy's.

    >>> on_host(np.zeros(2))
    array([0., 0.])
    """
    return array.get(order="A") if on_device(array) else array


def linalg_errors(array: Any) -> AbstractContextManager[object]:
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


def beside(numbers: Any, array: Any) -> Any:
    """The numbers as an array on the side where `array` lies, which may be anything that NumPy takes for one.

    >>> beside([1.0, 2.0], [3, 4])
    array([1., 2.])
    """
    return np.asarray(numbers, like=array if on_device(array) else None)


def floats(x: Any) -> Any:
    """`x` as a new array of float64: where it is an array of CuPy on its device, else in main memory.

    >>> floats([1, 2])
    array([1., 2.])
    """
    return np.array(x, dtype=float, like=x if on_device(x) else None)


def namespace(array: Any) -> Any:
    """The module of an array: NumPy, CuPy, or whatever its library's array API is.

    Raises TypeError when `array` is no array.

    >>> namespace(np.zeros(2)).__name__
    'numpy'
    """
    if isinstance(array, np.ndarray):
        return np
    if on_device(array):
        return sys.modules["cupy"]
    if isinstance(array, np.generic) or not hasattr(array, "__array_namespace__"):
        raise TypeError(f"expected an array, got {type(array).__name__}")
    return array.__array_namespace__()


def is_plain(array: Any) -> bool:
    """Whether it is an array, and no subclass that means something else by it: a mask, a matrix.

    >>> is_plain(np.zeros(2)), is_plain([0.0]), is_plain(np.ma.zeros(2)), is_plain(np.float64(0))
    (True, False, False, False)
    """
    if isinstance(array, np.ndarray):
        return type(array) in (np.ndarray, np.memmap)
    return on_device(array) or (hasattr(array, "__array_namespace__") and not isinstance(array, np.generic))


def copy(array: Any) -> Any:
    """A copy that keeps library, dtype and layout.

    >>> a = np.zeros((2, 3), order="F")
    >>> copy(a).flags.f_contiguous
    True
    """
    return array.copy(order="K") if isinstance(array, np.ndarray) or on_device(array) else namespace(array).asarray(array, copy=True)


def full_like(array: Any, value: float) -> Any:
    """A plain array of the same library, shape, dtype and layout, filled with `value`.

    >>> full_like(np.zeros(2, dtype="f4"), 1.0)
    array([1., 1.], dtype=float32)
    """
    return np.full_like(array, value, subok=False) if isinstance(array, np.ndarray) else namespace(array).full_like(array, value)


def flat_copy(parts: Sequence[Any]) -> Any:
    """The elements of some arrays of one library and dtype, at least one of them, in a new vector.

    >>> flat_copy([np.ones((2, 1)), np.zeros(1)])
    array([1., 1., 0.])
    """
    xp = namespace(parts[0])
    return xp.concat([xp.reshape(part, (-1,)) for part in parts])


def check_fit(params: Mapping[str, Any], grads: Mapping[str, Any]) -> None:
    """Refuse what an optimizer cannot step on: other keys, shapes, dtypes or libraries, integers, read-only parameters.

    Raises TypeError or ValueError naming the array, its value and what was expected.
    """
    for name, given in (("params", params), ("grads", grads)):
        if not isinstance(given, Mapping):
            raise TypeError(f"{name} must be a dict of arrays, got {type(given).__name__}")
        for key, array in given.items():
            if not isinstance(key, str):
                raise TypeError(f"{name} must have strings as keys, got {key!r}")
            if not is_plain(array):
                raise TypeError(f"{name}[{key!r}] must be an array, got {type(array).__name__}")
    if params.keys() != grads.keys():
        raise ValueError(f"grads must have the keys of params {sorted(params)}, got {sorted(grads)}")
    for key, w in params.items():
        g = grads[key]
        if not is_floating(w):
            raise TypeError(f"params[{key!r}] must have the dtype float16, float32 or float64, got {w.dtype}")
        if isinstance(w, np.ndarray) != isinstance(g, np.ndarray) or namespace(g) is not namespace(w):
            raise TypeError(f"grads[{key!r}] must be an array of {namespace(w).__name__} as its parameter is, got one of {namespace(g).__name__}")
        if g.dtype != w.dtype:
            raise TypeError(f"grads[{key!r}] must have the dtype {w.dtype} of its parameter, got {g.dtype}")
        if g.shape != w.shape:
            raise ValueError(f"grads[{key!r}] must have the shape {w.shape} of its parameter, got {g.shape}")
        if isinstance(w, np.ndarray) and not w.flags.writeable:
            raise ValueError(f"params[{key!r}] must be writeable, got a read-only array")


def check_apart(params: Mapping[str, Any], grads: Mapping[str, Any], state: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse a parameter or a state that shares memory with itself or with another array: ValueError.

    Gradients are only read, and may share memory among themselves.

    Of other libraries' arrays it is only known whether two are the same object.
    """
    groups = {"params": params, "grads": grads} | {f"state[{name!r}]": of for name, of in state.items()}
    named = [(f"{name}[{key!r}]", name != "grads", a) for name, given in groups.items() for key, a in given.items()]
    seen: dict[int, tuple[str, bool]] = {}
    for name, written, array in named:
        other, other_written = seen.setdefault(id(array), (name, written))
        if other != name and (written or other_written):
            raise ValueError(f"{name} and {other} must not share memory, got the same array")
        if written and isinstance(array, np.ndarray) and not (array.flags.forc or array.size == 0) and _overlaps_itself(array):
            raise ValueError(f"{name} must not overlap itself, got strides {array.strides} for the shape {array.shape}")
    spans = sorted((*_bounds(a), at) for at, (_, _, a) in enumerate(named) if isinstance(a, np.ndarray) and a.size)
    reach: list[tuple[int, int, int]] = []  # spans that may still overlap the next
    for low, high, at in spans:
        name, written, array = named[at]
        reach = [span for span in reach if span[1] > low]
        for _, _, before in reach:
            other, other_written, other_array = named[before]
            if (written or other_written) and _share_memory(array, other_array):
                raise ValueError(f"{name} and {other} must not share memory, got arrays that overlap")
        reach.append((low, high, at))


def check_scale(name: str, value: float, array: Any) -> None:
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


def is_floating(array: Any) -> bool:
    """Whether an array's dtype is one that the rules take: float16, float32 or float64, in this machine's byte order.

    >>> is_floating(np.zeros(2)), is_floating(np.zeros(2, dtype=int))
    (True, False)
    """
    if isinstance(array.dtype, np.dtype):
        return bool(array.dtype.kind == "f" and array.dtype.itemsize <= 8 and array.dtype.isnative)
    return bool(namespace(array).isdtype(array.dtype, "real floating"))


def _bounds(array: np.ndarray) -> tuple[int, int]:
    """The addresses between which an array's elements lie."""
    if array.flags.forc:
        start = array.__array_interface__["data"][0]
        return start, start + array.nbytes
    return np.lib.array_utils.byte_bounds(array)


def _share_memory(a: np.ndarray, b: np.ndarray) -> bool:
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:  # undecided in reasonable time: not worth the risk
        return True


def _overlaps_itself(array: np.ndarray) -> bool:
    """Whether two elements may share memory: an axis steps less far than the finer axes reach."""
    reach = array.itemsize
    for stride, count in sorted((abs(s), n) for s, n in zip(array.strides, array.shape) if n > 1):
        if stride < reach:
            return True
        reach += stride * (count - 1)
    return False
