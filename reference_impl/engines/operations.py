"""The vocabulary of rules: one row an operation, and in it how each reading writes it. A rule that calls anything else is refused.

To add an operation, add a row. A cell is a template: `{0}` and `{1}` stand for the arguments, which are names, never expressions, so that
no cell needs parentheses around them; `{out}` is where blocks put the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

Reading = Literal["host", "blocked", "compiled", "fused", "whole", "javascript", "symbolic"]


@dataclass(frozen=True)
class Operation:
    """A ufunc and what each reading writes for it.

    `exact` says that IEEE 754 leaves no choice of the result, so that readings agree to the last bit; others may differ in the last digits,
    as each has a mathematical library of its own. `host` is Python on the numbers that are no arrays, once a step.
    """

    ufunc: np.ufunc
    exact: bool
    host: str
    blocked: str
    compiled: str
    fused: str
    whole: str
    javascript: str
    symbolic: str


def _row(ufunc: np.ufunc, form: str = "", *, exact: bool = False, host: str = "", compiled: str = "", fused: str = "", whole: str = "",
         javascript: str = "", symbolic: str = "") -> Operation:
    """A row: each cell as given, else `form`, else a call of the function by NumPy's name for it."""
    name, args = ufunc.__name__, ", ".join(["{0}", "{1}"][:ufunc.nin])
    out = "out={out}" if ufunc in (np.maximum, np.minimum) else "{out}"  # those want it by name; elsewhere by its place, which is quicker
    return Operation(
        ufunc, exact,
        host=host or form or f"float(np.{name}({args}))",
        blocked=f"{name}({args}, {out})",
        compiled=compiled or form or f"np.{name}({args})",
        fused=fused or form or f"{name}({args})",
        whole=whole or form or f"xp.{name}({args})",
        javascript=javascript or form or f"Math.{name}({args})",
        symbolic=symbolic or form or f"{name}({args})",
    )


# In CUDA `T` is the type that is computed in, and its arguments decide which overload is called: the sqrt of a float is a float. A number
# beside them must be of that type too. JavaScript has its numbers' `**` give NaN for 1 to the power of infinity; C, and so NumPy, gives 1.
# SymPy knows neither -0 nor NaN. Of two zeros `maximum` may give either.
TABLE = (
    _row(np.add, "{0} + {1}", exact=True),
    _row(np.subtract, "{0} - {1}", exact=True),
    _row(np.multiply, "{0} * {1}", exact=True),
    _row(np.divide, "{0} / {1}", exact=True),
    _row(np.negative, "-{0}", exact=True),
    _row(np.positive, "+{0}", exact=True),
    _row(np.square, "{0} * {0}", exact=True, symbolic="{0}**2"),
    _row(np.reciprocal, "1 / {0}", exact=True, host="float(np.reciprocal({0}))", compiled="np.reciprocal({0})", fused="T(1) / {0}"),
    _row(np.sqrt, exact=True),
    _row(np.absolute, exact=True, fused="fabs({0})", whole="xp.abs({0})", javascript="Math.abs({0})", symbolic="Abs({0})"),
    _row(np.fabs, exact=True, whole="xp.abs({0})", javascript="Math.abs({0})", symbolic="Abs({0})"),
    _row(np.sign, exact=True, fused="{0} > T(0) ? T(1) : {0} < T(0) ? T(-1) : {0} == T(0) ? T(0) : {0}"),
    # A NaN on either side comes out of the first two, as C's fmax would not have it; fmax and fmin leave it out.
    _row(np.maximum, exact=True, fused="{0} >= {1} || {0} != {0} ? {0} : {1}", javascript="Math.max({0}, {1})", symbolic="Max({0}, {1})"),
    _row(np.minimum, exact=True, fused="{0} <= {1} || {0} != {0} ? {0} : {1}", javascript="Math.min({0}, {1})", symbolic="Min({0}, {1})"),
    _row(np.fmax, exact=True, whole="xp.where(xp.isnan({0}), {1}, xp.where(xp.isnan({1}), {0}, xp.maximum({0}, {1})))",
         javascript="isNaN({0}) ? {1} : isNaN({1}) ? {0} : Math.max({0}, {1})", symbolic="Max({0}, {1})"),
    _row(np.fmin, exact=True, whole="xp.where(xp.isnan({0}), {1}, xp.where(xp.isnan({1}), {0}, xp.minimum({0}, {1})))",
         javascript="isNaN({0}) ? {1} : isNaN({1}) ? {0} : Math.min({0}, {1})", symbolic="Min({0}, {1})"),
    _row(np.copysign, exact=True, javascript="{1} < 0 || Object.is({1}, -0) ? -Math.abs({0}) : Math.abs({0})",
         symbolic="Abs({0}) * (2 * Heaviside({1}, 1) - 1)"),
    _row(np.floor, exact=True),
    _row(np.ceil, exact=True, symbolic="ceiling({0})"),
    _row(np.trunc, exact=True, symbolic="sign({0}) * floor(Abs({0}))"),
    _row(np.rint, exact=True, whole="xp.round({0})", symbolic="floor((2 * {0} + 1) / 4) + ceiling((2 * {0} - 1) / 4)",  # halves to even
         javascript="Math.abs({0}) < 2 ** 52 ? Math.sign({0}) * (Math.abs({0}) + 2 ** 52 - 2 ** 52) : {0}"),
    _row(np.power, "{0} ** {1}", host="math.pow({0}, {1})", fused="pow({0}, {1})"),
    _row(np.exp),
    _row(np.exp2, whole="2 ** {0}", javascript="2 ** {0}", symbolic="2**{0}"),
    _row(np.expm1, symbolic="exp({0}) - 1"),
    _row(np.log),
    _row(np.log2, symbolic="log({0}, 2)"),
    _row(np.log10, symbolic="log({0}, 10)"),
    _row(np.log1p, symbolic="log(1 + {0})"),
    _row(np.cbrt, whole="xp.sign({0}) * xp.abs({0}) ** (1 / 3)", symbolic="sign({0}) * cbrt(Abs({0}))"),
    _row(np.hypot, symbolic="sqrt({0}**2 + {1}**2)"),
    _row(np.sin),
    _row(np.cos),
    _row(np.tan),
    _row(np.arctan, fused="atan({0})", whole="xp.atan({0})", javascript="Math.atan({0})", symbolic="atan({0})"),
    _row(np.sinh),
    _row(np.cosh),
    _row(np.tanh),
)

OPERATIONS: dict[np.ufunc, Operation] = {row.ufunc: row for row in TABLE}

# A statement of each language: `value` is the operation of the table, `out` its name. Others write `out = value`.
STATEMENTS: dict[Reading, str] = {"blocked": "{value}", "fused": "const T {out} = {value};", "javascript": "const {out} = {value}"}


class Letter(NamedTuple):
    """How a hyperparameter is written in LaTeX and in plain text."""

    latex: str
    text: str


LETTERS = {
    "lr": Letter(r"\alpha", "α"),
    "rho": Letter(r"\rho", "ρ"),
    "beta1": Letter(r"\beta_1", "β₁"),
    "beta2": Letter(r"\beta_2", "β₂"),
    "decay": Letter(r"\beta", "β"),
    "eps": Letter(r"\varepsilon", "ε"),
    "weight_decay": Letter(r"\lambda", "λ"),
}
