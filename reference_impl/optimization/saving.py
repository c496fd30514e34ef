"""The flat dict that `state_dict` gives and `load_state_dict` takes: `rule`, `steps`, and entries that begin with `hyper/`, `made/` or a name."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import arrays
from .packing import Memory
from .settings import settings_of

if TYPE_CHECKING:
    from .optimizer import Optimizer

Entries: TypeAlias = dict[str, Any]


def head(optimizer: Optimizer, rule: str) -> Entries:
    """All but the state: the rule, the count of steps, the settings as they are, and as they first were where they were others."""
    now, made = settings_of(optimizer), optimizer._made
    saved = {"rule": rule, "steps": optimizer.steps} | {f"hyper/{name}": value for name, value in now.items()}
    return saved | {f"made/{name}": made.get(name, "none") for name in now | made if now.get(name) != made.get(name)}


def split(saved: Mapping[str, Any], rule: str, prefixes: Sequence[str]) -> tuple[int, dict[str, Entries]]:
    """The count of steps, and the other entries by their prefix; refuses what is not of this rule: TypeError or ValueError."""
    if not isinstance(saved, Mapping):
        raise TypeError(f"saved must be a dict, got {type(saved).__name__}")
    if missing := {"rule", "steps"} - set(saved):
        raise ValueError(f"saved must hold 'rule' and 'steps', got none for {sorted(missing)}")
    if str(saved["rule"]) != rule:
        raise ValueError(f"saved must come from the rule {rule!r}, got {str(saved['rule'])!r}")
    parts: dict[str, Entries] = {prefix: {} for prefix in ("hyper", "made", *prefixes)}
    for entry in sorted(set(saved) - {"rule", "steps"}, key=str):
        prefix = max((p for p in parts if str(entry).startswith(f"{p}/")), key=len, default=None)
        if prefix is None:
            raise ValueError(f"saved must hold {', '.join(f'{p}/<key>' for p in parts)}, got {entry!r}")
        parts[prefix][entry.removeprefix(f"{prefix}/")] = saved[entry]
    return count("steps", saved["steps"]), parts


def count(entry: str, value: object) -> int:
    """A count of steps, from what NumPy's files make of it."""
    try:
        steps = operator.index(np.asarray(value)[()])
    except TypeError:
        steps = -1
    if steps < 0:
        raise ValueError(f"saved[{entry!r}] must be a count of steps, got {value!r}")
    return steps


def memories(parts: Mapping[str, Entries], names: Sequence[str], steps: int) -> dict[str, Memory]:
    """The memory of each parameter, in arrays of its own; none before the first step."""
    for name in names:
        for key, array in parts[name].items():
            if not arrays.is_plain(array) or not arrays.is_floating(array):
                raise TypeError(f"saved[{f'{name}/{key}'!r}] must be an array of floating-point numbers, got {array!r}")
    keys = parts[(*names, "steps")[0]].keys()
    if any(parts[name].keys() != keys for name in names) or (steps and names and not keys):
        raise ValueError(f"saved must hold every state array of {list(names)} for every key, got {sorted(keys)}")
    counts = {key: count(f"steps/{key}", parts["steps"].get(key, steps)) for key in keys}
    return {key: Memory(counts[key], {name: arrays.copy(arrays.wide(parts[name][key])) for name in names}) for key in keys if steps}
