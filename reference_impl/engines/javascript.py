"""The reading in the browser: the tape printed as a JavaScript function of numbers, for figures that the reader steers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ..arrays.checks import Function as Callables, check, shown
from .tape import Rule, names_for, statements, trace
from .traced import Argument, Number, Recorder, Symbol, Traced


class Printed(NamedTuple):
    """A function of numbers: the names of its arguments, its JavaScript, and how to call it on arrays in Python."""

    arguments: tuple[str, ...]
    source: str
    call: Callable[..., Any]


def source(rule: Rule) -> str:
    """The rule as a JavaScript function of its arguments, in order; it returns the new `w` and the new state.

    The arguments get a `_` behind their names, so that none means something else; `s0`, `s1`, … are the numbers that stand in the rule.

    >>> from reference_impl.optimization.momentum import momentum
    >>> print(source(momentum))
    (w_, g_, v_, lr_, rho_) => {
      const t0 = rho_ * v_
      const t1 = t0 + g_
      const t2 = lr_ * t1
      const t3 = w_ - t2
      return [t3, t1]
    }
    """
    tape = trace(rule)
    arguments = (*tape.arrays, *tape.hyper)
    names = names_for((*arguments, *tape.numbers))
    body = [*_numbers(tape.numbers, names), *statements(tape.nodes, names, "javascript")]
    return _written([names[a] for a in arguments], body, [names[r] for r in tape.results])


def function(what: Callable[..., Any]) -> str:
    """An elementwise function as a JavaScript function of its arguments, in order; it returns a list of what the function returns.

    It may use the [operations][reference_impl.engines.operations] that rules may use, or else what SymPy's symbols understand.

    Raises `TypeError` for what is no function, or one that neither the tape nor SymPy can follow.

    >>> import numpy as np
    >>> print(function(lambda t, beta1, beta2: np.sqrt(1 - beta2**t) / (1 - beta1**t)))
    (t_, beta1_, beta2_) => {
      const s0 = 1.0
      const t0 = beta2_ ** t_
      const t1 = s0 - t0
      const t2 = Math.sqrt(t1)
      const t3 = beta1_ ** t_
      const t4 = s0 - t3
      const t5 = t2 / t4
      return [t5]
    }
    """
    return printed(what).source


def printed(what: Callable[..., Any], arguments: Sequence[str] = ()) -> Printed:
    """An elementwise function, read by the tape or by SymPy; `arguments` are names for what it is given, where its own are not meant.

    >>> import numpy as np, sympy as sp
    >>> kept = printed(lambda u, keep: sp.Piecewise((1, u < keep), (0, True)))
    >>> kept.arguments, kept.call(np.array([0.2, 0.7]), 0.5).tolist()
    (('u', 'keep'), [1.0, 0.0])
    """
    check("what", what, Callables("numbers"))
    arguments = tuple(arguments) or arguments_of(what)
    recorder, symbols = Recorder(getattr(what, "__name__", "function")), [Argument(False, name) for name in arguments]
    try:
        results = what(*[Traced(recorder, a) for a in symbols])
        traced = [recorder.symbol(r) for r in (results if issubclass(type(results), tuple) else (results,))]
    except TypeError as refused:
        return _by_symbols(what, arguments, refused)
    used = set(traced)
    for node in reversed(recorder.nodes):
        if node in used:
            used |= set(node.args)
    nodes = [node for node in recorder.nodes if node in used]
    numbers = [s for s in dict.fromkeys([*(a for node in nodes for a in node.args), *traced]) if isinstance(s, Number)]
    names = names_for((*symbols, *numbers))
    body = [*_numbers(numbers, names), *statements(nodes, names, "javascript")]
    return Printed(arguments, _written([names[a] for a in symbols], body, [names[r] for r in traced]), what)


def arguments_of(what: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's arguments.

    >>> arguments_of(lambda x, y, kappa: (x**2 + kappa * y**2) / 2)
    ('x', 'y', 'kappa')
    """
    return tuple(inspect.signature(what).parameters)


def _by_symbols(what: Callable[..., Any], arguments: tuple[str, ...], refused: TypeError) -> Printed:
    import sympy as sp

    symbols = sp.symbols([f"{name}_" for name in arguments], real=True)
    try:
        results = what(*symbols)
        made = [sp.sympify(r) for r in (results if isinstance(results, tuple) else (results,))]
    except (TypeError, AttributeError, ValueError) as error:  # what it calls cannot take a symbol, or SymPy not what it returns
        raise TypeError(f"what must be elementwise, for the tape or for SymPy, got {refused}; {error}") from error
    return Printed(arguments, of_expressions(made, symbols), sp.lambdify(symbols, made if isinstance(results, tuple) else made[0]))


def of_expressions(made: Sequence[Any], symbols: Sequence[Any]) -> str:
    """SymPy's expressions of some symbols as one JavaScript function, which returns the list of their values.

    Raises `ValueError` where an expression holds another symbol or what SymPy cannot print.

    >>> import sympy as sp
    >>> x, y = sp.symbols("x_ y_")
    >>> print(of_expressions([x**2 * y, sp.sqrt(x**2 * y)], [x, y]))
    (x_, y_) => {
      const t0 = Math.pow(x_, 2)*y_
      return [t0, Math.sqrt(t0)]
    }
    """
    import sympy as sp

    if unknown := {s for e in made for s in e.free_symbols} - set(symbols):
        raise ValueError(f"expressions must hold no symbol but {list(symbols)}, got {sorted(map(str, unknown))}")
    shared, rest = sp.cse(list(made), sp.numbered_symbols("t"))
    lines = [f"const {name} = {sp.jscode(part)}" for name, part in shared]
    text = _written([str(s) for s in symbols], lines, [str(sp.jscode(part)) for part in rest])
    if "Not supported" in text:
        raise ValueError(f"expressions must be made of what JavaScript's Math knows, got {shown(made)}")
    return text


def _numbers(numbers: Sequence[Number], names: dict[Symbol, str]) -> list[str]:
    return [f"const {names[n]} = {json.dumps(n.value)}" for n in numbers]  # Infinity and NaN are JavaScript's words too


def _written(arguments: Sequence[str], body: Sequence[str], results: Sequence[str]) -> str:
    return "\n  ".join([f"({', '.join(arguments)}) => {{", *body, f"return [{', '.join(results)}]"]) + "\n}"
