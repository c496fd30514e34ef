"""The reading in the browser: the tape printed as a JavaScript function of numbers, for figures that the reader steers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .tape import Rule, Symbol, trace

EXPRESSIONS: dict[np.ufunc, str] = {
    np.add: "{} + {}",
    np.subtract: "{} - {}",
    np.multiply: "{} * {}",
    np.divide: "{} / {}",
    np.power: "{} ** {}",
    np.negative: "-{}",
    np.square: "{0} * {0}",
    np.reciprocal: "1 / {}",
    np.sqrt: "Math.sqrt({})",
    np.abs: "Math.abs({})",
    np.sign: "Math.sign({})",
    np.maximum: "Math.max({}, {})",
}


def source(rule: Rule) -> str:
    """The rule as a JavaScript function of its arguments, in order; it returns the new `w` and the new state.

    >>> from reference_impl.optimization.momentum import momentum
    >>> print(source(momentum))
    (w, g, v, lr, rho) => {
      const t0 = rho * v
      const t1 = t0 + g
      const t2 = lr * t1
      const t3 = w - t2
      return [t3, t1]
    }
    """
    tape = trace(rule)
    names = {s: s.name for s in (*tape.arrays, *tape.hyper)} | {node: f"t{i}" for i, node in enumerate(tape.nodes)}

    def name(value: Any) -> str:
        return names[value] if isinstance(value, Symbol) else repr(value)

    lines = [f"const {names[n]} = {EXPRESSIONS[n.ufunc].format(*map(name, n.args))}" for n in tape.nodes if n.ufunc]
    head = ", ".join(s.name for s in (*tape.arrays, *tape.hyper))
    return "\n  ".join([f"({head}) => {{", *lines, f"return [{', '.join(map(name, tape.results))}]"]) + "\n}"
