"""The reading in the browser: the tape printed as a JavaScript function of numbers, for figures that the reader steers."""

from __future__ import annotations

import json

from .tape import Rule, names_for, statements, trace


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
    lines = [f"const {names[number]} = {json.dumps(number.value)}" for number in tape.numbers]  # Infinity and NaN are JavaScript's words too
    lines += statements(tape.nodes, names, "javascript")
    head, result = (", ".join(names[s] for s in symbols) for symbols in (arguments, tape.results))
    return "\n  ".join([f"({head}) => {{", *lines, f"return [{result}]"]) + "\n}"
