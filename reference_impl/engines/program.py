"""What is on a tape, and the one printer that writes it in the language of each reading."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .operations import OPERATIONS, Reading

# A statement of each language: `value` is the operation of the table, `out` its name.
STATEMENTS: dict[Reading, str] = {
    "host": "{out} = {value}",
    "blocked": "{value}",
    "compiled": "{out} = {value}",
    "fused": "const T {out} = {value};",
    "whole": "{out} = {value}",
    "javascript": "const {out} = {value}",
}


@dataclass(frozen=True, eq=False)
class Symbol:
    """A value on the tape; `scalar` if it is one number for all elements. Two are the same only if they are the very same object."""

    scalar: bool


@dataclass(frozen=True, eq=False)
class Argument(Symbol):
    """An argument of the rule: an array or a hyperparameter."""

    name: str

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Number(Symbol):
    """A number that stands in the rule."""

    value: float

    def __repr__(self) -> str:
        return repr(self.value)


@dataclass(frozen=True, eq=False)
class Node(Symbol):
    """An operation on earlier values."""

    ufunc: np.ufunc
    args: tuple[Symbol, ...]

    def __repr__(self) -> str:
        return f"{self.ufunc.__name__}({', '.join(map(repr, self.args))})"


def argument_names(arguments: Iterable[Argument], behind: str = "") -> dict[Symbol, str]:
    """The rule's own names with a `_` and, it may be, an index `behind`, so that none means something else in any language."""
    return {a: f"{a.name}_{behind}" for a in arguments}


def statements(nodes: Iterable[Node], names: dict[Symbol, str], reading: Reading) -> list[str]:
    """A statement for each node, in the language of a reading; those that have no name yet are called t0, t1, … in `names`.

    >>> w, lr = Argument(False, "w"), Argument(True, "lr")
    >>> root = Node(False, np.sqrt, (w,))
    >>> statements([root, Node(False, np.multiply, (lr, root))], argument_names([w, lr]), "javascript")
    ['const t0 = Math.sqrt(w_)', 'const t1 = lr_ * t0']
    """
    lines: list[str] = []
    for node in nodes:
        out = names.setdefault(node, f"t{len(lines)}")
        value = getattr(OPERATIONS[node.ufunc], reading).format(*[names[a] for a in node.args], out=out)
        lines.append(STATEMENTS[reading].format(out=out, value=value))
    return lines
