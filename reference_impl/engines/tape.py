"""The tape: a rule called once on symbols, with every ufunc it used written down.

A rule is a pure elementwise function `rule(w, g, *state, *, hyperparameters)` that returns the new
`w` and the new state. Every reading of it (blocked, compiled, symbolic) replays this one tape, so
nothing else in the package states the equation again.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

Rule = Callable[..., Any]
R = TypeVar("R", bound=Rule)


class Signature(NamedTuple):
    """The names that a rule gives to its state arrays and to its hyperparameters."""

    state: tuple[str, ...]
    hyper: tuple[str, ...]


@cache
def signature(rule: Rule) -> Signature:
    """What a rule asks for, elementwise or not.

    Raises TypeError when it does not take `(w, g, *state, *, hyperparameters)`.

    >>> def momentum(w, g, v, *, lr, rho):
    ...     v = rho * v + g
    ...     return w - lr * v, v
    >>> signature(momentum)
    Signature(state=('v',), hyper=('lr', 'rho'))
    """
    parameters = inspect.signature(rule).parameters.values()
    names = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    hyper = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    if names[:2] != ("w", "g") or len(names) + len(hyper) != len(parameters):
        raise TypeError(f"rule {rule.__name__} must take (w, g, *state arrays, *, hyperparameters), got {inspect.signature(rule)}")
    return Signature(names[2:], hyper)


def whole_arrays(rule: R) -> R:
    """Say of a rule that it is not elementwise: it runs as written, on one array after the other, by the arrays' own library.

    Such a rule may use products of matrices, norms, means. No reading prints it.

    >>> @whole_arrays
    ... def normalised(w, g, *, lr):
    ...     return w - lr * g / np.linalg.norm(g)
    >>> is_elementwise(normalised)
    False
    >>> trace(normalised)
    Traceback (most recent call last):
        ...
    TypeError: rule normalised must be elementwise to be traced, got one over whole arrays, which runs as written
    """
    rule.over_whole_arrays = True  # type: ignore[attr-defined]
    return rule


def is_elementwise(rule: Rule) -> bool:
    """Whether a rule does the same with each element, and so can be traced."""
    return not getattr(rule, "over_whole_arrays", False)

# What Python itself does with two floats; NumPy's scalar ufuncs may differ in the last bit.
OPERATORS: dict[np.ufunc, Callable[..., Any]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.divide: operator.truediv,
    np.power: operator.pow,
    np.negative: operator.neg,
}

SIGNS: dict[np.ufunc, str] = {np.add: "+", np.subtract: "-", np.multiply: "*", np.divide: "/", np.power: "**"}

# An ndarray raised to one of these powers takes the short cut, so the tape takes it too.
POWERS: dict[float, np.ufunc] = {2: np.square, 0.5: np.sqrt, -1: np.reciprocal}


class Symbol(NDArrayOperatorsMixin):
    """A value on the tape: an argument of the rule, or a ufunc of earlier values."""

    # Symbols are keys of dictionaries, so equality means identity again.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, nodes: list[Node], name: str, scalar: bool = False) -> None:
        self.name, self.scalar, self._nodes = name, scalar, nodes

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **options: Any) -> Symbol:
        if method != "__call__" or options or ufunc.nout != 1:
            raise TypeError(f"a rule may call plain ufuncs with one result only, got "
                            f"{ufunc.__name__}.{method} with {options}")
        scalar = all(not isinstance(a, Symbol) or a.scalar for a in args)
        if ufunc is np.power and not scalar and not isinstance(args[1], Symbol) and args[1] in POWERS:
            ufunc, args = POWERS[args[1]], args[:1]
        node = Node(self._nodes, ufunc, args, scalar)
        self._nodes.append(node)
        return node

    def __bool__(self) -> bool:
        raise TypeError("a rule must not branch on its values: every element takes the same path")

    def __repr__(self) -> str:
        return self.name


class Node(Symbol):
    """A ufunc of earlier values."""

    def __init__(self, nodes: list[Node], ufunc: np.ufunc, args: tuple[Any, ...], scalar: bool) -> None:
        super().__init__(nodes, "", scalar)
        self.ufunc, self.args = ufunc, args

    def __repr__(self) -> str:
        return f"{self.ufunc.__name__}({', '.join(map(repr, self.args))})"


@dataclass(frozen=True, eq=False)
class Tape:
    """What a rule does: its arrays `w, g, *state`, its hyperparameters, its nodes, its results."""

    arrays: tuple[Symbol, ...]
    hyper: tuple[Symbol, ...]
    nodes: tuple[Node, ...]
    results: tuple[Any, ...]

    @property
    def state(self) -> tuple[str, ...]:
        """The names of the state arrays."""
        return tuple(a.name for a in self.arrays[2:])

    @property
    def written(self) -> tuple[Symbol, ...]:
        """The arrays that the results replace: `w` and the state, not `g`."""
        return self.arrays[:1] + self.arrays[2:]

    @cached_property
    def work(self) -> tuple[Node, ...]:
        """The nodes that compute arrays."""
        return tuple(node for node in self.nodes if not node.scalar)

    @property
    def traffic(self) -> tuple[int, int]:
        """How many arrays go to or from memory in a step: with a loop for each operation, and with one loop for all."""
        arguments = sum(isinstance(a, Symbol) and not a.scalar for node in self.work for a in set(node.args))
        return arguments + len(self.work), len(self.arrays) + len(self.written)

    @cached_property
    def operands(self) -> tuple[Any, ...]:
        """What the array nodes and the results take besides arrays: hyperparameters, scalar nodes, literals."""
        used = dict.fromkeys([*(a for node in self.work for a in node.args), *self.results])
        return tuple(a for a in used if not isinstance(a, Symbol) or a.scalar)

    @cached_property
    def values(self) -> Callable[..., tuple[float, ...]]:
        """The function of the hyperparameters, by name, that computes the `operands` once a step in Python's float64."""
        names: dict[Any, str] = {s: s.name for s in self.hyper}
        space: dict[str, Any] = {}
        lines = [f"def values({''.join(f'{name}, ' for name in names.values())}**_others):"]
        for node in (n for n in self.nodes if n.scalar):
            args = [names[a] if isinstance(a, Symbol) else repr(a) for a in node.args]
            if node.ufunc in SIGNS:
                call = f" {SIGNS[node.ufunc]} ".join(args)
            else:
                space[f"np_{node.ufunc.__name__}"] = node.ufunc
                call = f"float(np_{node.ufunc.__name__}({', '.join(args)}))"
            names[node] = f"_{len(lines)}"
            lines.append(f"{names[node]} = {call}")
        lines.append(f"return ({''.join(f'{names[a] if isinstance(a, Symbol) else repr(a)}, ' for a in self.operands)})")
        exec("\n    ".join(lines), space)
        function: Callable[..., tuple[float, ...]] = space["values"]
        return function

    def scalars(self, hyper: Mapping[str, float]) -> dict[Any, float]:
        """The value of each of the `operands`."""
        return dict(zip(self.operands, self.values(**hyper)))


@cache
def trace(rule: Rule) -> Tape:
    """The tape of `rule`.

    Raises TypeError when the signature is not `(w, g, *state, *, hyperparameters)`, when the rule
    branches on a value, or when it does not return the new `w` and one array for each state.

    >>> def momentum(w, g, v, *, lr, rho):
    ...     v = rho * v + g
    ...     w = w - lr * v
    ...     return w, v
    >>> tape = trace(momentum)
    >>> tape.state
    ('v',)
    >>> [node.ufunc.__name__ for node in tape.nodes]
    ['multiply', 'add', 'multiply', 'subtract']
    """
    if not is_elementwise(rule):
        raise TypeError(f"rule {rule.__name__} must be elementwise to be traced, got one over whole arrays, which runs as written")
    state, hyper = signature(rule)
    names = ("w", "g", *state)
    nodes: list[Node] = []
    arrays = tuple(Symbol(nodes, name) for name in names)
    scalars = tuple(Symbol(nodes, name, scalar=True) for name in hyper)
    results = rule(*arrays, **{s.name: s for s in scalars})
    results = results if isinstance(results, tuple) else (results,)
    if len(results) != len(arrays) - 1:
        raise TypeError(f"rule {rule.__name__} must return the new w and its {len(arrays) - 2} state "
                        f"arrays, got {len(results)} values")
    return Tape(arrays, scalars, tuple(nodes), results)


@cache
def squares(rule: Rule) -> bool:
    """Whether an elementwise rule squares, or raises to a higher power, what it computes from the gradient and numbers alone.

    Then a gradient must lie where its square is a number of the dtype.

    >>> from reference_impl.optimization.adam import adam
    >>> from reference_impl.optimization.sgd import sgd
    >>> squares(adam), squares(sgd)
    (True, False)
    """
    tape = trace(rule)
    power: dict[Any, float] = {tape.arrays[1]: 1.0}
    for node in tape.work:
        args = [power.get(a) if isinstance(a, Symbol) and not a.scalar else 0.0 for a in node.args]
        first, *rest = args
        if first is None or None in rest:
            continue
        if node.ufunc is np.square:
            power[node] = 2 * first
        elif node.ufunc is np.multiply:
            power[node] = first + rest[0]
        elif node.ufunc is np.divide:
            power[node] = first - rest[0]
        elif node.ufunc is np.power and isinstance(node.args[1], int | float):
            power[node] = first * node.args[1]
        elif node.ufunc is np.sqrt:
            power[node] = first / 2
        else:
            power[node] = max(args)
    return any(p >= 2 for p in power.values())
