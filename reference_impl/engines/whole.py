"""The reading for other libraries' arrays: the tape replayed on whole arrays with the functions of their array API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..arrays import namespace
from .tape import OPERATORS, Rule, Symbol, trace

# The standard's names where they differ from NumPy's or are younger than its first version.
NAMES: dict[np.ufunc, str] = {np.absolute: "abs"}


def step(rule: Rule, arrays: Sequence[Any], hyper: Mapping[str, float]) -> None:
    """Apply `rule` in place to `arrays` = (w, g, *state) of one library, dtype and shape."""
    tape, xp = trace(rule), namespace(arrays[0])
    values: dict[Any, Any] = dict(zip(tape.arrays, arrays)) | tape.scalars(hyper)
    for node in tape.nodes:
        if not node.scalar:
            function = OPERATORS.get(node.ufunc) or getattr(xp, NAMES.get(node.ufunc, node.ufunc.__name__))
            values[node] = function(*[values[a] if isinstance(a, Symbol) else a for a in node.args])
    results = [values[r] if isinstance(r, Symbol) else r for r in tape.results]
    for array, result in zip((arrays[0], *arrays[2:]), results):
        array[...] = result
