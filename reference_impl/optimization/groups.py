"""Groups of parameters, each with its own rule and hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from ..arrays.checks import NAME, check, shown
from ..arrays.protocol import StandardArray
from . import saving
from .checking import Layout, layout
from .optimizer import Optimizer
from .packing import Packing
from .share import Share


@dataclass
class Groups(Optimizer):
    """One optimizer for each group of parameters, wherever an optimizer is wanted.

    `groups` maps patterns to optimizers. A pattern is a glob (`*` any characters, `?` one, `[0-9]` one of some), and the first that fits
    a key takes it. Each pattern gets a fresh copy of its optimizer, which stands in `groups` under it. `clip_norm` and `clip_value` are
    taken over all groups together, and then no group has its own. `steps` is one count for all, which every group's schedules follow.

    A pattern may fit no key of a step: those of a layer that is frozen come later. One that fits none of all keys is a typing error, which
    [`assign`][reference_impl.optimization.groups.Groups.assign] refuses, and `fit`, which knows the frozen ones too.

    Raises TypeError or ValueError for what is no pattern, no optimizer or no group at all; `update` raises ValueError for a key that no
    pattern fits, and as every optimizer does, for all groups before any steps.

    >>> import numpy as np
    >>> from reference_impl import SGD, AdamW, Groups
    >>> params = {"0.W": np.ones((2, 2)), "0.b": np.ones(2)}
    >>> grads = {"0.W": np.zeros((2, 2)), "0.b": np.ones(2)}
    >>> optimizer = Groups({"*.b": SGD(lr=0.5), "*": AdamW(lr=0.1, weight_decay=0.5)}, clip_norm=10.0)
    >>> optimizer.update(params, grads)
    >>> params["0.W"].tolist(), params["0.b"].tolist()
    ([[0.95, 0.95], [0.95, 0.95]], [0.5, 0.5])
    """

    groups: Mapping[str, Optimizer] = field(default_factory=dict)

    check_finite: bool = field(default=True, init=False, repr=False)  # each group has its own
    engine: Literal["blocked", "compiled"] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.groups, Mapping):
            raise TypeError(f"groups must be a dict of optimizers, got {self.groups!r}")
        if not self.groups:
            raise ValueError("groups must hold a pattern and its optimizer, got none")
        for pattern, optimizer in self.groups.items():
            if not isinstance(pattern, str):
                raise TypeError(f"groups must have patterns of keys as keys, got {pattern!r}")
            if not isinstance(optimizer, Optimizer) or isinstance(optimizer, Groups):
                raise TypeError(f"groups[{pattern!r}] must be an optimizer with a rule, got {optimizer!r}")
            for bound in ("clip_norm", "clip_value"):
                if getattr(optimizer, bound) is not None and (self.clip_norm is not None or self.clip_value is not None):
                    raise ValueError(f"groups[{pattern!r}] must have no {bound} beside that of all groups, got {getattr(optimizer, bound)!r}")
        self.groups = {pattern: replace(optimizer) for pattern, optimizer in self.groups.items()}

    def assign(self, keys: Iterable[str]) -> dict[str, list[str]]:
        """Which keys each pattern takes; ValueError for a key that none fits, and for a pattern that fits none.

        >>> from reference_impl import SGD
        >>> Groups({"*.b": SGD(lr=0.1), "*": SGD(lr=0.2)}).assign(["0.W", "0.b"])
        {'*.b': ['0.b'], '*': ['0.W']}
        """
        if isinstance(keys, str | Mapping) or not isinstance(keys, Iterable) or getattr(keys, "ndim", 1) != 1:
            raise TypeError(f"keys must be a list of names, got {shown(keys)}")
        keys = list(keys)
        for key in keys:
            check("keys", key, NAME)
        taken = self._split(keys)
        if idle := [pattern for pattern, its in taken.items() if not its]:
            raise ValueError(f"groups must have patterns that fit a key, got {idle} for the keys {keys}")
        return taken

    def _split(self, keys: Iterable[str]) -> dict[str, list[str]]:
        taken: dict[str, list[str]] = {pattern: [] for pattern in self.groups}
        for key in keys:
            pattern = next((pattern for pattern in self.groups if fnmatchcase(key, pattern)), None)
            if pattern is None:
                raise ValueError(f"params must have keys that a pattern fits {list(self.groups)}, got {key!r}")
            taken[pattern].append(key)
        return taken

    def optimizer_of(self, key: str) -> Optimizer:
        """The optimizer of the group that a key belongs to."""
        check("key", key, NAME)
        return next(self.groups[pattern] for pattern, its in self._split([key]).items() if its)

    def update(self, params: Mapping[str, StandardArray], grads: Mapping[str, StandardArray]) -> None:
        """Take one step in all groups, as an optimizer does; all are checked before any steps."""
        super().update(params, grads)
        for optimizer in self.groups.values():
            optimizer.steps = self.steps

    def hyperparameters(self) -> dict[str, float]:
        """The value of each hyperparameter in the coming step, as `pattern/name`.

        >>> from reference_impl import SGD
        >>> Groups({"*": SGD(lr=0.1)}).hyperparameters()
        {'*/lr': 0.1}
        """
        return {f"{pattern}/{name}": value for pattern, optimizer in self._at_step() for name, value in optimizer.hyperparameters().items()}

    def _at_step(self) -> Iterable[tuple[str, Optimizer]]:
        for pattern, optimizer in self.groups.items():
            optimizer.steps = self.steps
            yield pattern, optimizer

    def _packings(self) -> Iterable[Packing]:
        return [optimizer._packing for optimizer in self.groups.values()]

    def _shares(self, now: Layout, params: Mapping[str, StandardArray], grads: Mapping[str, StandardArray],
                known_elsewhere: Callable[[], bool] = lambda: False) -> list[Share]:
        keys = self._split(params)

        def known() -> bool:
            return not self._memories().keys().isdisjoint(params)

        shares = []
        for pattern, optimizer in self._at_step():
            its, theirs = ({key: of[key] for key in keys[pattern]} for of in (params, grads))
            shares += optimizer._shares(layout(its), its, theirs, known)
        return shares

    def _clip(self, shares: Sequence[Share]) -> None:
        for share in shares:
            share.optimizer._clip([share])
        super()._clip(shares)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to equal the uninterrupted one: of each group, under its pattern, what its optimizer gives out."""
        return saving.head(self, self._name()) | {f"{pattern}/{entry}": value for pattern, optimizer in self._at_step()
                                           for entry, value in optimizer.state_dict().items()}

    def _name(self) -> str:
        return f"groups {list(self.groups)}"

    def _read(self, saved: Mapping[str, Any]) -> list[tuple[Optimizer, dict[str, Any]]]:
        steps, parts = saving.split(saved, self._name(), list(self.groups))
        read: list[tuple[Optimizer, dict[str, Any]]] = [(self, {"steps": steps, **saving.settings_to_go_on_with(self, parts["hyper"], parts["made"])})]
        for pattern, optimizer in self.groups.items():
            try:
                read += optimizer._read(parts[pattern])
            except (TypeError, ValueError) as error:
                raise type(error)(f"{error}, in the group {pattern!r}") from None
        return read
