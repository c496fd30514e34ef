"""The symbolic reading: the tape turned into SymPy, for the LaTeX and the algebra of the pages (extra `symbolic`)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import sympy as sp
from sympy.printing.latex import LatexPrinter

from .tape import OPERATORS, Rule, Symbol, Tape, trace

FUNCTIONS = OPERATORS | {np.sqrt: sp.sqrt, np.square: lambda x: x**2, np.reciprocal: lambda x: 1 / x,
                         np.abs: sp.Abs, np.sign: sp.sign, np.maximum: sp.Max}

MIME = "application/vnd.descent.derivation+json"  # what the site's hook looks for

# How the names of the hyperparameters are written in a formula.
LETTERS = {"lr": r"\alpha", "rho": r"\rho", "beta1": r"\beta_1", "beta2": r"\beta_2", "decay": r"\beta",
           "eps": r"\varepsilon", "weight_decay": r"\lambda"}


class Formula(str):
    """Display LaTeX; a notebook and a page typeset it.

    >>> print(Formula("a = b"))
    a = b
    """

    def _repr_latex_(self) -> str:
        return f"$$\n{self}\n$$"


class _PlusFirst(LatexPrinter):  # type: ignore[misc]
    """Sums begin with a term that has no minus, as one writes them by hand."""

    def _as_ordered_terms(self, expr: Any, order: str | None = None) -> list[Any]:
        return sorted(super()._as_ordered_terms(expr, order), key=lambda term: term.could_extract_minus_sign())


def tex(expression: Any) -> Formula:
    r"""An expression as display LaTeX.

    >>> a, b = sp.symbols("alpha lambda")
    >>> print(tex(1 - a * b))
    1 - \alpha \lambda
    """
    return Formula(_PlusFirst({"mat_str": "pmatrix", "mat_delim": ""}).doprint(expression))


def expressions(rule: Rule, **values: Any) -> dict[str, Any]:
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
    known = {s: sp.sympify(values.get(s.name, sp.Symbol(s.name))) for s in (*tape.arrays, *tape.hyper)}
    return {a.name: _replay(tape, known, r) for a, r in zip(tape.written, tape.results)}


def latex(rule: Rule) -> Formula:
    r"""The rule as the paper prints it, one line for each array it changes, in the order it changes them.

    >>> from reference_impl.optimization.momentum import momentum
    >>> print(latex(momentum))
    \begin{align*}
    v_{t+1} &= \rho v_{t} + g_{t} \\
    w_{t+1} &= w_{t} - \alpha v_{t+1}
    \end{align*}
    """
    tape = trace(rule)
    known: dict[Symbol, Any] = {a: sp.Symbol(f"{a.name}_t") for a in tape.arrays}
    known |= {s: sp.Symbol(LETTERS.get(s.name, s.name)) for s in tape.hyper}
    lines = []
    for array, result in sorted(zip(tape.written, tape.results), key=lambda pair: _age(tape, pair[1])):
        new = f"{array.name}_{{t+1}}"
        with sp.evaluate(False):
            lines.append(f"{new} &= {sp.latex(_replay(tape, known, result), order='none')}")
        if isinstance(result, Symbol):
            known[result] = sp.Symbol(new)
    return Formula("\\begin{align*}\n" + " \\\\\n".join(lines) + "\n\\end{align*}")


class Derivation:
    r"""A chain of equal expressions, each step proved by SymPy when it is written down.

    `left` is the LaTeX of what is derived, `relation` stands between it and the first expression;
    each step is an expression and why it equals the one before. Raises ValueError naming the first
    step that does not.

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

    def __init__(self, left: str, *steps: tuple[Any, str], relation: str = "=") -> None:
        for number, ((before, _), (after, why)) in enumerate(pairwise(steps), start=2):
            difference = difference_of(after, before)
            if difference != difference * 0:
                raise ValueError(f"step {number} of {left!r} ({why}): {after} is not equal to {before}; "
                                 f"the difference is {difference}")
        self.left, self.steps, self.relation = left, steps, relation

    @property
    def result(self) -> Any:
        """The last expression."""
        return self.steps[-1][0]

    @property
    def latex(self) -> Formula:
        """The chain, aligned at its equals signs, with the reasons beside it."""
        lines = [f"{left} &{sign} {expression} && \\text{{{why}}}".strip() for left, sign, expression, why in self._rows()]
        return Formula("\\begin{align*}\n" + " \\\\\n".join(lines) + "\n\\end{align*}")

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [("" if i else self.left, "=" if i else self.relation, str(tex(e)), why) for i, (e, why) in enumerate(self.steps)]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/plain": str(self.latex), "text/latex": self.latex._repr_latex_(), MIME: self._rows()}


def difference_of(a: Any, b: Any) -> Any:
    """a - b, simplified: 0 (or a zero matrix) when SymPy can prove them equal."""
    return sp.simplify(sp.expand(sp.sympify(a).doit() - sp.sympify(b).doit()))


def _replay(tape: Tape, known: dict[Symbol, Any], result: Any) -> Any:
    values = dict(known)
    for node in tape.nodes:
        if node not in values:
            values[node] = FUNCTIONS[node.ufunc](*(values[a] if isinstance(a, Symbol) else _exactly(a) for a in node.args))
    return values[result] if isinstance(result, Symbol) else _exactly(result)


def _exactly(number: float) -> Any:
    """A literal of the rule as a fraction; decided here, where `latex` holds SymPy back from evaluating."""
    with sp.evaluate(True):
        return sp.nsimplify(number, rational=True)


def _age(tape: Tape, result: Any) -> int:
    return tape.nodes.index(result) if result in tape.nodes else -1
