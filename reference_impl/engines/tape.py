"""The tape: a rule called once on symbols, with every operation it used written down.

A rule is a pure elementwise function `rule(w, g, *state, *, hyperparameters)` that returns the new
`w` and the new state. Every reading of it (blocked, compiled, symbolic) replays this one tape, so
nothing else in the package states the equation again. What no reading could replay is refused when the rule is traced.
"""

from __future__ import annotations

import inspect
import itertools
import math
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from types import FunctionType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..arrays.checks import Instance, check, shown
from .operations import OPERATIONS, STATEMENTS, Reading
from .outside import Outside, read_from_outside
from .traced import POWERS, WHOLE, Argument, Node, Number, Recorder, Symbol, Traced

Rule = Callable[..., Any]
R = TypeVar("R", bound=Rule)

RULE = Instance(FunctionType, partial, words="a function of (w, g, *state arrays, *, hyperparameters), no method and no object")


class Signature(NamedTuple):
    """The names that a rule gives to its state arrays and to its hyperparameters."""

    state: tuple[str, ...]
    hyper: tuple[str, ...]


def signature(rule: Rule) -> Signature:
    """What a rule asks for, elementwise or not.

    Raises TypeError when it does not take `(w, g, *state, *, hyperparameters)`.

    >>> def momentum(w, g, v, *, lr, rho):
    ...     v = rho * v + g
    ...     return w - lr * v, v
    >>> signature(momentum)
    Signature(state=('v',), hyper=('lr', 'rho'))
    """
    check("rule", rule, RULE)
    return _signature(rule)


@cache
def _signature(rule: Rule) -> Signature:
    parameters = inspect.signature(rule).parameters.values()
    names = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD)
    hyper = tuple(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    if names[:2] != ("w", "g") or len(names) + len(hyper) != len(parameters):
        raise TypeError(f"rule {name_of(rule)} must take (w, g, *state arrays, *, hyperparameters), got {inspect.signature(rule)}")
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
    check("rule", rule, RULE)
    rule.over_whole_arrays = True  # type: ignore[attr-defined]
    return rule


def is_elementwise(rule: Rule) -> bool:
    """Whether a rule does the same with each element, and so can be traced."""
    check("rule", rule, RULE)
    return not getattr(rule, "over_whole_arrays", False)


def name_of(rule: Rule) -> str:
    """The name by which messages call a rule."""
    return getattr(rule, "__name__", repr(rule))


def checked_results(rule: Rule, results: object) -> tuple[Any, ...]:
    """What a rule returned, the new w and each new state, as a tuple; TypeError if there are more or fewer."""
    several: tuple[Any, ...] = results if issubclass(type(results), tuple) else (results,)  # type: ignore[assignment]
    state, _ = signature(rule)
    if len(several) != 1 + len(state):
        raise TypeError(f"rule {name_of(rule)} must return the new w and its {len(state)} state arrays, got {len(several)} values")
    return several


def names_for(symbols: Iterable[Symbol]) -> dict[Symbol, str]:
    """What every language calls some symbols: an argument by the rule's own name with a `_`, so that it means nothing else there, others s0, s1, …"""
    nameless = itertools.count()
    return {s: f"{s.name}_" if isinstance(s, Argument) else f"s{next(nameless)}" for s in symbols}


def statements(nodes: Iterable[Node], names: dict[Symbol, str], reading: Reading) -> list[str]:
    """A statement for each node, in the language of a reading; those that have no name yet are called t0, t1, … in `names`.

    >>> w, lr = Argument(False, "w"), Argument(True, "lr")
    >>> root = Node(False, np.sqrt, (w,))
    >>> statements([root, Node(False, np.multiply, (lr, root))], names_for([w, lr]), "javascript")
    ['const t0 = Math.sqrt(w_)', 'const t1 = lr_ * t0']
    """
    lines: list[str] = []
    for node in nodes:
        out = names.setdefault(node, f"t{len(lines)}")
        value = getattr(OPERATIONS[node.ufunc], reading).format(*[names[a] for a in node.args], out=out)
        lines.append(STATEMENTS.get(reading, "{out} = {value}").format(out=out, value=value))
    return lines


@dataclass(frozen=True, eq=False)
class Tape:
    """What a rule does: its arrays `w, g, *state`, its hyperparameters, the nodes that its results need, its results.

    `outside` is what it reads besides its arguments, `rule` its name, `kept` what a reading has each thread keep for the next step.
    """

    arrays: tuple[Argument, ...]
    hyper: tuple[Argument, ...]
    nodes: tuple[Node, ...]
    results: tuple[Symbol, ...]
    outside: tuple[Outside, ...]
    rule: str
    kept: threading.local = field(default_factory=threading.local)

    @property
    def state(self) -> tuple[str, ...]:
        """The names of the state arrays."""
        return tuple(a.name for a in self.arrays[2:])

    @property
    def written(self) -> tuple[Argument, ...]:
        """The arrays that the results replace: `w` and the state, not `g`."""
        return self.arrays[:1] + self.arrays[2:]

    @cached_property
    def work(self) -> tuple[Node, ...]:
        """The nodes that compute arrays."""
        return tuple(node for node in self.nodes if not node.scalar)

    @cached_property
    def exact(self) -> bool:
        """Whether every reading gives the same bits: whether no operation on arrays leaves its last digits to a library."""
        return all(OPERATIONS[node.ufunc].exact for node in self.work)

    @cached_property
    def squares(self) -> bool:
        """Whether a value that is made of the gradient and numbers alone holds a power of it from the second up."""
        power: dict[Symbol, float] = {self.arrays[1]: 1.0}
        for node in self.work:
            if all(a.scalar or a in power for a in node.args):
                power[node] = _power(node, [power.get(a, 0.0) for a in node.args])
        return any(p >= 2 for p in power.values())

    @property
    def traffic(self) -> tuple[int, int]:
        """How many arrays go to or from memory in a step: with a loop for each operation, and with one loop for all."""
        arguments = sum(not a.scalar for node in self.work for a in set(node.args))
        return arguments + len(self.work), len(self.arrays) + len(self.written)

    @cached_property
    def operands(self) -> tuple[Symbol, ...]:
        """What the array nodes and the results take besides arrays: hyperparameters, scalar nodes, numbers."""
        used = dict.fromkeys([*(a for node in self.work for a in node.args), *self.results])
        return tuple(a for a in used if a.scalar)

    def values(self, hyper: Mapping[str, float]) -> tuple[float, ...]:
        """The `operands`, computed once a step in Python's float64; `hyper` are the hyperparameters by name.

        Raises TypeError where one is missing or no number, ValueError where Python finds no result, as of 1 / 0.
        """
        try:
            return self._on_host(hyper)
        except (TypeError, LookupError):
            raise TypeError(f"hyper must hold a number for each of {[a.name for a in self.hyper]}, got {shown(hyper)}") from None
        except (ArithmeticError, ValueError) as error:
            at = ", ".join(f"{a.name} = {hyper[a.name]}" for a in self.hyper)
            raise ValueError(f"what rule {self.rule} makes of its hyperparameters must be real numbers, got {str(error)!r} at {at}") from error

    @cached_property
    def _on_host(self) -> Callable[[Mapping[str, float]], tuple[float, ...]]:
        names = names_for((*self.hyper, *self.numbers))
        space: dict[str, Any] = {"math": math, "np": np} | {names[number]: number.value for number in self.numbers}
        given = [f"{names[a]} = float(1.0 * hyper[{a.name!r}])" for a in self.hyper]
        lines = statements([node for node in self.nodes if node.scalar], names, "host")
        exec("\n    ".join(["def on_host(hyper):", *given, *lines, f"return ({''.join(f'{names[a]}, ' for a in self.operands)})"]), space)
        function: Callable[[Mapping[str, float]], tuple[float, ...]] = space["on_host"]
        return function

    @property
    def numbers(self) -> tuple[Number, ...]:
        """The numbers that stand in the rule."""
        used = dict.fromkeys([*(a for node in self.nodes for a in node.args), *self.results])
        return tuple(a for a in used if isinstance(a, Number))

    def __str__(self) -> str:
        names = names_for((*self.arrays, *self.hyper)) | {number: repr(number.value) for number in self.numbers}
        return "; ".join([*statements(self.nodes, names, "host"), ", ".join(names[r] for r in self.results)])


_tapes: dict[Rule, Tape] = {}


def trace(rule: Rule) -> Tape:
    """The tape of `rule`; it is kept until something that the rule reads from outside is bound anew.

    Raises TypeError, naming what it found and what to do, when the signature is not `(w, g, *state, *, hyperparameters)`, when the rule
    does what no reading could do with each element by itself, when it is not pure, or when it does not return the new `w` and
    one array for each state. The [operations][reference_impl.engines.operations] that it may use stand in one table.

    >>> def momentum(w, g, v, *, lr, rho):
    ...     v = rho * v + g
    ...     w = w - lr * v
    ...     return w, v
    >>> tape = trace(momentum)
    >>> tape.state
    ('v',)
    >>> tape.nodes
    (multiply(rho, v), add(multiply(rho, v), g), multiply(lr, add(multiply(rho, v), g)), subtract(w, multiply(lr, add(multiply(rho, v), g))))
    """
    try:
        tape = _tapes.get(rule)
    except TypeError:  # no function
        tape = None
    if tape is None or (tape.outside and not all([read() is value for read, value in tape.outside])):
        tape = _tapes[rule] = record(rule)
    return tape


def record(rule: Rule) -> Tape:
    """A new tape of `rule`."""
    if not is_elementwise(rule):
        raise TypeError(f"rule {name_of(rule)} must be elementwise to be traced, got one over whole arrays, which runs as written")
    tape, again = _record(rule), _record(rule)
    if str(tape) != str(again):
        raise TypeError(f"rule {name_of(rule)} must do the same whenever it is called, got {tape} and then {again}")
    return tape


def _record(rule: Rule) -> Tape:
    state, hyper = signature(rule)
    outside = read_from_outside(rule, name_of(rule))
    arrays = tuple(Argument(False, name) for name in ("w", "g", *state))
    scalars = tuple(Argument(True, name) for name in hyper)
    recorder = Recorder(name_of(rule))
    try:
        results = rule(*[Traced(recorder, a) for a in arrays], **{s.name: Traced(recorder, s) for s in scalars})
    except Exception as error:
        if not (recorder.refused or isinstance(error, (TypeError, AttributeError, BufferError))):
            raise  # the rule's own; but what follows a refusal is the refusal, whatever the rule made of it
        raise TypeError(recorder.refused or recorder.message(f"{type(error).__name__} {str(error)!r}", WHOLE)) from error
    if recorder.refused:  # and the rule went on another way
        raise TypeError(recorder.refused)
    symbols = tuple(recorder.symbol(r) for r in checked_results(rule, results))
    needed = set(symbols)
    for node in reversed(recorder.nodes):
        if node in needed:
            needed |= set(node.args)
    return Tape(arrays, scalars, tuple(node for node in recorder.nodes if node in needed), symbols, outside, recorder.rule)


def squares(rule: Rule) -> bool:
    """Whether an elementwise rule squares, or raises to a higher power, what it computes from the gradient and numbers alone.

    Then a gradient must lie where its square is a number of the dtype.

    >>> from reference_impl.optimization.adam import adam
    >>> from reference_impl.optimization.sgd import sgd
    >>> squares(adam), squares(sgd)
    (True, False)
    """
    return trace(rule).squares


_POWERS = {ufunc: power for power, ufunc in POWERS.items()}


def _power(node: Node, of: list[float]) -> float:
    """The power of the gradient in a node whose arguments have the powers `of`."""
    if node.ufunc is np.multiply:
        return of[0] + of[1]
    if node.ufunc is np.divide:
        return of[0] - of[1]
    if node.ufunc is np.power:
        exponent = node.args[1]
        return of[0] * exponent.value if isinstance(exponent, Number) else math.inf
    return max(of) * _POWERS.get(node.ufunc, 1.0)
