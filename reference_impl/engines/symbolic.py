"""The symbolic reading: the tape turned into SymPy, for the LaTeX and the algebra of the pages (extra `symbolic`)."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from types import FrameType
from typing import Any, cast

import sympy as sp
from sympy.printing.latex import LatexPrinter

from ..arrays.checks import Either, Instance, Real, check, shown
from . import operations, outputs, traced
from .operations import OPERATIONS
from .tape import Rule, Tape, record, trace
from .traced import Symbol, Traced

TEXT = Instance(str, words="a string")
EXPRESSION = Either(Instance(sp.Basic, sp.MatrixBase, words="a SymPy expression"), Real(infinite=True))

LETTERS = {name: letter.latex for name, letter in operations.LETTERS.items()}


class Formula(str):
    """Display LaTeX; a notebook and a page typeset it.

    >>> print(Formula("a = b"))
    a = b
    """

    def _repr_latex_(self) -> str:
        return f"$$\n{self}\n$$"


class _PlusFirst(LatexPrinter):  # type: ignore[misc]
    """Sums begin with a term that has no minus, as one writes them by hand."""

    def _as_ordered_terms(self, expr: sp.Basic, order: str | None = None) -> list[sp.Basic]:
        return sorted(super()._as_ordered_terms(expr, order), key=lambda term: term.could_extract_minus_sign())


def tex(expression: sp.Basic) -> Formula:
    r"""An expression, or a number, as display LaTeX.

    Raises TypeError for anything else.

    >>> a, b = sp.symbols("alpha lambda")
    >>> print(tex(1 - a * b))
    1 - \alpha \lambda
    """
    check("expression", expression, EXPRESSION)
    return Formula(_PlusFirst({"mat_str": "pmatrix", "mat_delim": ""}).doprint(expression))


def expressions(rule: Rule, **values: object) -> dict[str, sp.Expr]:
    """What `rule` makes of `w` and each state, as SymPy expressions in the rule's own names.

    `values` puts expressions in the place of names, for example `g=curvature * w`. Raises
    TypeError for a value that is no argument of the rule.

    >>> from reference_impl.optimization.momentum import momentum
    >>> expressions(momentum, g=3 * sp.Symbol("w"))
    {'w': -lr*(rho*v + 3*w) + w, 'v': rho*v + 3*w}
    """
    tape = trace(rule)
    names = [s.name for s in (*tape.arrays, *tape.hyper)]
    if unknown := set(values) - set(names):
        raise TypeError(f"values must be arguments of {rule.__name__} {names}, got {sorted(unknown)}")
    for name, value in values.items():
        check(name, value, EXPRESSION)
    known: dict[Symbol, sp.Basic] = {s: sp.sympify(values.get(s.name, sp.Symbol(s.name))) for s in (*tape.arrays, *tape.hyper)}
    return {a.name: cast(sp.Expr, _replay(tape, known, r)) for a, r in zip(tape.written, tape.results)}


def latex(rule: Rule) -> Formula:
    r"""The rule as the paper prints it: a line for each array it changes and for each value it gives a name, in its own order.

    A rule that takes the step number `t` is numbered as its paper numbers it: step t makes
    w_t of w_{t-1} and g_t. Others make w_{t+1} of w_t and g_t. A name `m_hat` becomes \hat m.

    >>> from reference_impl.optimization.momentum import momentum
    >>> print(latex(momentum))
    \begin{align*}
    v_{t+1} &= \rho v_{t} + g_{t} \\
    w_{t+1} &= w_{t} - \alpha v_{t+1}
    \end{align*}
    >>> def averaged(w, g, m, *, lr, beta1, t):
    ...     m = beta1 * m + (1 - beta1) * g
    ...     m_hat = m / (1 - beta1**t)
    ...     return w - lr * m_hat, m
    >>> print(latex(averaged))
    \begin{align*}
    m_{t} &= \beta_{1} m_{t-1} + \left(1 - \beta_{1}\right) g_{t} \\
    \hat m_{t} &= \frac{m_{t}}{1 - \beta_{1}^{t}} \\
    w_{t} &= w_{t-1} - \alpha \hat m_{t}
    \end{align*}
    """
    tape, named = _with_names(rule)
    numbered = any(s.name == "t" for s in tape.hyper)
    old, now, new = ("t-1", "t", "t") if numbered else ("t", "t", "t+1")
    known: dict[Symbol, sp.Basic] = {a: sp.Symbol(f"{_letter(a.name)}_{{{now if a.name == 'g' else old}}}") for a in tape.arrays}
    known |= {s: sp.Symbol(_letter(s.name)) for s in tape.hyper}
    made = [(f"{_letter(array.name)}_{{{new}}}", result) for array, result in zip(tape.written, tape.results)]
    made += [(_letter(name) if node.scalar else f"{_letter(name)}_{{{new}}}", node)
             for node, name in named.items() if node not in tape.results]
    lines = []
    age: dict[Symbol, int] = {node: time for time, node in enumerate(tape.nodes)}
    for name, result in sorted(made, key=lambda pair: age.get(pair[1], -1)):
        with sp.evaluate(False):
            lines.append(f"{name} &= {sp.latex(_replay(tape, known, result), order='none')}")
        known[result] = sp.Symbol(name)
    return Formula("\\begin{align*}\n" + " \\\\\n".join(lines) + "\n\\end{align*}")


def _letter(name: str) -> str:
    r"""A name of a rule as one writes it: `beta1` is \beta_1, `m_hat` is \hat m, `lr_t` is \alpha_{t}."""
    if name in LETTERS:
        return LETTERS[name]
    base, _, mark = name.rpartition("_")
    if base and mark in ("hat", "bar", "tilde"):
        return rf"\{mark} {_letter(base)}"
    if base and mark == "t":
        return f"{_letter(base)}_{{t}}"
    return name if len(name) == 1 else rf"\mathrm{{{name}}}".replace("_", r"\_")


def _with_names(rule: Rule) -> tuple[Tape, dict[Symbol, str]]:
    """A tape of `rule`, and the local names that the rule, or a rule that it calls, gives to values on it."""
    names: dict[Symbol, str] = {}

    def note(frame: FrameType, event: str, _result: object) -> None:
        code, module = frame.f_code, str(frame.f_globals.get("__name__"))
        if event == "return" and module != traced.__name__ and not module.startswith("numpy."):
            for name in code.co_varnames[code.co_argcount + code.co_kwonlyargcount:]:
                if isinstance(value := frame.f_locals.get(name), Traced):
                    names.setdefault(value._symbol, name)

    before = sys.getprofile()
    sys.setprofile(note)  # a function's local names can be read while it runs, and only then
    try:
        tape = record(rule)
    finally:
        sys.setprofile(before)
    return tape, {node: names[node] for node in tape.nodes if node in names}


class Derivation:
    r"""A chain of equal expressions, each step proved by SymPy when it is written down.

    `left` is the LaTeX of what is derived, `relation` stands between it and the first expression;
    each step is an expression and why it equals the one before. Raises ValueError naming the first
    step that does not, TypeError for what is no such pair.

    >>> a, b = sp.symbols("a b")
    >>> print(Derivation("s", ((a + b) ** 2, "by definition"), (a**2 + 2*a*b + b**2, "expanded")).latex)
    \begin{align*}
    s &= \left(a + b\right)^{2} && \text{by definition} \\
    &= a^{2} + 2 a b + b^{2} && \text{expanded}
    \end{align*}
    >>> try:
    ...     Derivation("s", ((a + b) ** 2, "by definition"), (a**2 + b**2, "wrong"))
    ... except ValueError as error:
    ...     print(error)
    step 2 of 's' (wrong): a**2 + b**2 is not equal to (a + b)**2; the difference is -2*a*b
    """

    def __init__(self, left: str, *steps: tuple[sp.Basic, str], relation: str = "=") -> None:
        check("left", left, TEXT)
        check("relation", relation, TEXT)
        if not steps:
            raise TypeError("steps must be one pair of an expression and a reason or more, got none")
        for step in steps:
            if not (isinstance(step, tuple) and len(step) == 2 and EXPRESSION.fault(step[0]) is None and isinstance(step[1], str)):
                raise TypeError(f"steps must be pairs of {EXPRESSION} and a reason, got {shown(step)}")
        for number, ((before, _), (after, why)) in enumerate(pairwise(steps), start=2):
            difference: Any = difference_of(after, before)
            if difference != difference * 0:
                raise ValueError(f"step {number} of {left!r} ({why}): {after} is not equal to {before}; "
                                 f"the difference is {difference}")
        self.left, self.steps, self.relation = left, steps, relation

    @property
    def result(self) -> sp.Basic:
        """The last expression."""
        return self.steps[-1][0]

    @property
    def latex(self) -> Formula:
        """The chain, aligned at its equals signs, with the reasons beside it."""
        lines = [f"{left} &{sign} {expression} && \\text{{{why}}}".strip() for left, sign, expression, why in self._rows()]
        return Formula("\\begin{align*}\n" + " \\\\\n".join(lines) + "\n\\end{align*}")

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [("" if i else self.left, "=" if i else self.relation, str(tex(e)), why) for i, (e, why) in enumerate(self.steps)]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        return {"text/plain": str(self.latex), "text/latex": self.latex._repr_latex_(), outputs.DERIVATION: self._rows()}


def difference_of(a: sp.Basic, b: sp.Basic) -> sp.Basic:
    """a - b, simplified: 0 (or a zero matrix) when SymPy can prove them equal. Raises TypeError for what is no expression."""
    check("a", a, EXPRESSION)
    check("b", b, EXPRESSION)
    first: Any = sp.sympify(a).doit()
    second: Any = sp.sympify(b).doit()
    return sp.simplify(sp.expand(first - second))


def _replay(tape: Tape, known: dict[Symbol, sp.Basic], result: Symbol) -> sp.Basic:
    for number in tape.numbers:
        if not math.isfinite(number.value):
            raise TypeError(f"rule {tape.rule} must hold finite numbers to be read by SymPy, got {number.value}")
    with sp.evaluate(True):  # numbers become fractions, even where `latex` holds SymPy back from evaluating
        values = known | {number: sp.nsimplify(number.value, rational=True) for number in tape.numbers}
    for node in tape.nodes:
        if node not in values:
            values[node] = _function(OPERATIONS[node.ufunc].symbolic)(*[values[a] for a in node.args])
    return values[result]


@cache
def _function(cell: str) -> Callable[..., sp.Basic]:
    """What a cell of the table says, in SymPy's words."""
    function: Callable[..., sp.Basic] = eval(f"lambda a, b=None: {cell.format('a', 'b')}", vars(sp).copy())
    return function
