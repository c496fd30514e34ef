"""The flat dict that `state_dict` gives and `load_state_dict` takes: `rule`, `steps`, and entries that begin with `hyper/`, `made/` or a name."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import arrays, engines
from .packing import Memory

if TYPE_CHECKING:
    from .optimizer import Optimizer

Entries: TypeAlias = dict[str, Any]
Saved: TypeAlias = float | str | None


def head(optimizer: Optimizer, rule: str) -> Entries:
    """All but the state: the rule, the count of steps, the settings as they are, and as they first were where they were others."""
    now, made = settings_now(optimizer), optimizer._made
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
            if not engines.finite([array]):
                raise ValueError(f"saved[{f'{name}/{key}'!r}] must be finite, got {arrays.not_finite(array)}")
    keys = parts[(*names, "steps")[0]].keys()
    if any(parts[name].keys() != keys for name in names) or (steps and names and not keys):
        raise ValueError(f"saved must hold every state array of {list(names)} for every key, got {sorted(keys)}")
    if strangers := parts["steps"].keys() - keys:
        raise ValueError(f"saved must hold a count of steps for the keys of its state {sorted(keys)} alone, got one for {sorted(strangers)}")
    counts = {key: count(f"steps/{key}", parts["steps"].get(key, steps)) for key in keys}
    return {key: Memory(counts[key], {name: arrays.copy(arrays.wide(parts[name][key])) for name in names}) for key in keys if steps}


def settings_now(optimizer: Optimizer) -> dict[str, Saved]:
    """The hyperparameters and options as they can be saved: a number, a word, or "schedule"; nothing for None."""
    names = [f.name for f in fields(optimizer) if f.init and f.name not in ("check_finite", "engine")]
    given = {name: "schedule" if callable(value := getattr(optimizer, name)) else value for name in names}
    given |= {name: float(value) for name, value in given.items() if name in optimizer._settings and not isinstance(value, str | None)}
    return {name: value for name, value in given.items() if isinstance(value, bool | int | float | str)}


def settings_to_go_on_with(optimizer: Optimizer, now: Mapping[str, object], changed: Mapping[str, object]) -> dict[str, Saved]:
    """What saved settings make of an optimizer's: those `now`, if it was made with the same; `changed` are those it was made with, where they differ.

    A file from before they were saved says nothing of them. Raises ValueError where the optimizers were made with others.
    """
    if not now and not changed and not all(setting.optional for setting in optimizer._settings.values()):
        return {}
    found = {name: _plain(value) for name, value in now.items()}
    made = found | {name: _plain(value) for name, value in changed.items()}
    for name, setting in optimizer._settings.items():
        if name in found and found[name] != "schedule":
            setting.check(f"saved['hyper/{name}']", found[name])
    for name in sorted(made.keys() | optimizer._made.keys()):
        theirs, ours = made.get(name), optimizer._made.get(name)
        if theirs != ours:
            raise ValueError(f"saved must come from an optimizer made with {name} = {ours!r} as this one is, got {name} = {theirs!r}")
        if found.get(name) == "schedule" and not callable(getattr(optimizer, name)):
            raise ValueError(f"{name} must be set to the schedule that saved speaks of before it is loaded, got {getattr(optimizer, name)!r}")
    return {name: found.get(name) for name in made | settings_now(optimizer) if found.get(name) != "schedule"}


def _plain(value: object) -> Saved:
    """A setting as it was saved, from what NumPy's files make of it."""
    array = np.asarray(arrays.on_host(value))
    if array.shape != () or array.dtype.kind not in "bifU":
        raise TypeError(f"saved must hold hyperparameters as numbers and words, got {value!r}")
    plain: Saved = array.item()
    return None if plain == "none" else plain
