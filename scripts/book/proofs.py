r"""Whether a statement holds: equality, order, approximation, and one equation following from another.

An equation is held to forty digits at random points at which its assumptions hold, with sums written out for several lengths. Two
different rational expressions agree at all of them with a probability that no reader will live to see. An inequality is held to
hundreds of points. So what is false is found, and what passes is, for an equation, as good as proved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import mpmath
import numpy as np
import sympy as sp
from sympy.core.function import AppliedUndef

RELATIONS = {"=": "=", r"\equiv": "=", r"\le": "<=", r"\leq": "<=", r"\ge": ">=", r"\geq": ">=", "<": "<", ">": ">", r"\lt": "<", r"\gt": ">",
             r"\approx": "~", r"\ne": "!=", r"\neq": "!="}
DIGITS, LENGTHS, TRIALS = 40, 5, 20_000
Statement = tuple[Any, str, Any]

_known: dict[Any, Exception | None] = {}


class Unproved(ValueError):
    """A statement that does not hold, or that nothing shows."""


def check(statement: Statement, given: Sequence[Statement] = (), near: tuple[Any, Any] | None = None) -> None:
    """Raise Unproved unless the statement holds wherever `given` does."""
    _once(_check, statement, given, near)


def follows(conclusion: Statement, premise: Statement, given: Sequence[Statement] = (), both_ways: bool = False) -> None:
    """Raise Unproved unless the conclusion follows from the premise, and the premise from it if `both_ways`."""
    _once(_follows, conclusion, premise, given, both_ways)


def _once(proof: Callable[..., None], *arguments: Any) -> None:
    """Try a proof, unless it is known how it ends."""
    key = (proof, _frozen(arguments))
    if key not in _known:
        try:
            _known[key] = proof(*arguments)
        except Unproved as error:
            _known[key] = error
    if (error := _known[key]) is not None:
        raise error


def _frozen(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    return sp.ImmutableMatrix(value) if isinstance(value, sp.MatrixBase) else value


def _check(statement: Statement, given: Sequence[Statement], near: tuple[Any, Any] | None) -> None:
    left, relation, right = statement
    if isinstance(left, sp.MatrixBase) or isinstance(right, sp.MatrixBase):
        _elementwise(statement, given, near)
    elif relation == "=":
        _equal(left, right, given)
    elif relation == "~":
        _near(left, right, given, near)
    else:
        _ordered(statement, given)


def _follows(conclusion: Statement, premise: Statement, given: Sequence[Statement], both_ways: bool) -> None:
    if conclusion[1] == premise[1] == "=":
        _solved(premise, conclusion, given)
        if both_ways:
            _solved(conclusion, premise, given)
        return
    seen = set()
    for point in _points([*premise[::2], *conclusion[::2]], given, 300):
        holds = tuple(_true(s, point) for s in (premise, conclusion))
        seen.add(holds)
        if holds == (True, False) or (both_ways and holds == (False, True)):
            raise Unproved(f"it does not follow: one holds without the other at {_said(point)}")
    if not {(True, True), (False, False)} <= seen:
        raise Unproved("no point was found where both hold and one where neither does: say under which assumptions (`if …`)")


def _elementwise(statement: Statement, given: Sequence[Statement], near: Any) -> None:
    left, relation, right = statement
    if not (isinstance(left, sp.MatrixBase) and isinstance(right, sp.MatrixBase) and left.shape == right.shape):
        raise Unproved(f"{_short(left)} and {_short(right)} are not of one shape")
    for a, b in zip(left, right):
        check((a, relation, b), given, near)


def _equal(left: Any, right: Any, given: Sequence[Statement]) -> None:
    seen = 0
    for point in _points([left, right], given, 3):
        a, b = (_exact(side, point) for side in (left, right))
        if a is None or b is None:
            continue
        seen += 1
        if abs(a - b) > sp.Float(10) ** (12 - DIGITS) * max(abs(a), abs(b), sp.Float(10) ** -12):
            raise Unproved(f"{_short(right)} is not equal to {_short(left)}: {sp.N(b, 6)} and {sp.N(a, 6)} at {_said(point)}")
    if not seen:
        raise Unproved("no point was found at which both sides have a value and the assumptions hold")


def _ordered(statement: Statement, given: Sequence[Statement]) -> None:
    seen = 0
    for point in _points(statement[::2], given, 400):
        truth = _true(statement, point)
        if truth is False:
            left, relation, right = statement
            raise Unproved(f"{_short(left)} {relation} {_short(right)} fails at {_said(point)}")
        seen += truth is True
    if not seen:
        raise Unproved("no point was found at which both sides have a value and the assumptions hold")


def _near(left: Any, right: Any, given: Sequence[Statement], near: tuple[Any, Any] | None) -> None:
    if near is None:
        if not (left.free_symbols or right.free_symbols):
            if abs(sp.N(left - right, 15)) <= 0.02 * abs(sp.N(right, 15)):
                return
            raise Unproved(f"{sp.N(left, 6)} is not about {sp.N(right, 6)}")
        raise Unproved(r"\approx needs to know where: `near x = 0`")
    variable, goal = near
    seen = 0
    for point in _points([left, right], given, 3, but=variable):
        off = []
        for power in (6, 12):
            close = sp.Integer(10) ** power if goal == sp.oo else goal + sp.Rational(1, 10**power)
            a, b = (_exact(side.subs(variable, close), point) for side in (left, right))
            if a is None or b is None:
                break
            off.append(abs(a / b - 1) if b else abs(a))
        if len(off) == 2:
            seen += 1
            if not (off[1] < 1e-3 and off[1] <= off[0]):
                raise Unproved(f"the ratio of {_short(left)} to {_short(right)} does not tend to one: it is off by {sp.N(off[1], 3)} at {_said(point)}")
    if not seen:
        raise Unproved("no point was found at which both sides have a value")


def _solved(premise: Statement, conclusion: Statement, given: Sequence[Statement]) -> None:
    """Solve one equation for what the other names, and substitute."""
    rest, goal = premise[0] - premise[2], conclusion[0] - conclusion[2]
    if isinstance(rest, sp.MatrixBase):
        raise Unproved("equations of matrices are not solved")
    shared = _unknowns(rest) & _unknowns(goal)
    first = [conclusion[0]] if conclusion[0] in shared else []
    for unknown in [*first, *sorted(shared - set(first), key=lambda x: (sp.sympify(rest).count(x), str(x)))]:
        x = sp.Dummy(real=True)
        roots = _roots(rest.subs(unknown, x), x)
        if roots:
            failure = None
            for root in roots:
                try:
                    _equal(goal.subs(unknown, root), sp.Integer(0), given)
                    return
                except Unproved as error:
                    failure = error
            raise Unproved(f"it does not follow: {failure}")
    raise Unproved("it does not follow: the equation before could not be solved for anything that stands in this one")


def _roots(expression: Any, x: sp.Dummy) -> list[Any]:
    above = sp.fraction(sp.together(expression))[0]
    try:
        polynomial = sp.Poly(above, x)
        if polynomial.degree() == 1:
            a, b = polynomial.all_coeffs()
            return [-b / a]
        if polynomial.degree() == 2:
            a, b, c = polynomial.all_coeffs()
            root = sp.sqrt(b**2 - 4 * a * c)
            return [(-b + root) / (2 * a), (-b - root) / (2 * a)]
    except sp.PolynomialError:
        pass
    try:
        return list(sp.solve(expression, x))
    except Exception:  # SymPy gives up in many ways; another unknown may be solved for
        return []


def _unknowns(expression: Any) -> set[Any]:
    inside = {s for a in expression.atoms(sp.Indexed) for s in a.free_symbols}
    return (expression.free_symbols - inside) | expression.atoms(sp.Indexed) | expression.atoms(AppliedUndef)


# Points

Point = dict[Any, Any]


def _points(expressions: Sequence[Any], given: Sequence[Statement], each: int, but: Any = None) -> Iterator[Point]:
    """Points at which the assumptions hold, exact rationals: `each` for every choice of the whole numbers."""
    everything = [sp.sympify(e) for e in (*expressions, *(side for s in given for side in s[::2]))]
    counts = sorted({s for e in everything for s in _counting(e)}, key=str)
    found = 0
    for length in range(LENGTHS if counts else 1):
        rng = np.random.default_rng(length)
        whole = {s: sp.Integer(int(rng.integers(1, 4)) + length) for s in counts}
        plain = [_plain(e, whole) for e in everything]
        atoms = sorted({a for e in plain for a in _atoms(e)} - {but}, key=str)
        drawn = {a: _draw(a, rng) for a in atoms}
        fits = np.ones(TRIALS, dtype=bool)
        for statement in given:
            fits &= _mask(statement, whole, drawn)
        for at in np.flatnonzero(fits)[:each]:
            found += 1
            yield whole | {a: sp.Rational(int(values[at]), 997) for a, values in drawn.items()}
    if not found:
        raise Unproved("the assumptions hold at none of the points that were tried")


def _counting(expression: Any) -> set[Any]:
    limits = {s for total in expression.atoms(sp.Sum, sp.Product) for limit in total.limits for side in limit[1:] for s in side.free_symbols}
    indices = {s for a in expression.atoms(sp.Indexed) for i in a.indices for s in i.free_symbols}
    bound = {limit[0] for total in expression.atoms(sp.Sum, sp.Product) for limit in total.limits}
    return ((limits | indices | {s for s in expression.free_symbols if s.is_integer}) & expression.free_symbols) - bound


def _plain(expression: Any, whole: Point) -> Any:
    """The expression with its whole numbers, its sums written out."""
    return _written_out(sp.sympify(expression), frozenset(whole.items()))


@lru_cache(maxsize=1000)  # one statement asks for it at hundreds of points
def _written_out(expression: Any, whole: frozenset[tuple[Any, Any]]) -> Any:
    return expression.subs(dict(whole)).doit()


def _atoms(expression: Any) -> set[Any]:
    """What is drawn: functions and elements of series wherever they stand outside of others, and the other symbols."""
    found: set[Any] = set()
    while opaque := expression.atoms(AppliedUndef, sp.Indexed, sp.Derivative, sp.Subs):
        outer = {o for o in opaque if not any(o is not p and p.has(o) for p in opaque)}
        found |= outer
        expression = expression.xreplace({o: sp.Dummy() for o in outer})  # f(w_t) + w_t: the second w_t is left
    return found | {s for s in expression.free_symbols if not isinstance(s, sp.Dummy)}


def _draw(atom: Any, rng: np.random.Generator) -> np.ndarray:
    spread = 10 ** rng.uniform(-1.6, 0.6, TRIALS) if atom.is_positive else rng.normal(0, 1.4, TRIALS)
    values: np.ndarray = np.round(997 * spread).astype(int)
    return np.where(values == 0, 1, values)


def _mask(statement: Statement, whole: Point, drawn: dict[Any, np.ndarray]) -> Any:
    """At which points an assumption holds."""
    dummies = {a: sp.Dummy() for a in drawn}
    sides = []
    for side in statement[::2]:
        expression = _plain(side, whole).xreplace(dummies)
        used = [a for a in drawn if dummies[a] in expression.free_symbols]
        function = sp.lambdify([dummies[a] for a in used], expression, "numpy")
        with np.errstate(all="ignore"):
            sides.append(np.real_if_close(function(*(drawn[a] / 997 for a in used))) * np.ones(TRIALS))
    a, b = sides
    return {"=": np.isclose(a, b), "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b, "!=": a != b}[statement[1]]


def _exact(expression: Any, point: Point) -> Any:
    """The value at a point to forty digits; None where there is none."""
    whole = {k: v for k, v in point.items() if isinstance(k, sp.Symbol) and k.is_integer}
    value = _plain(expression, whole).xreplace({k: v for k, v in point.items() if k not in whole})
    left = value.atoms(AppliedUndef)
    value = value.xreplace({f: sp.Rational(1 + hash_of(str(f)) % 1994, 997) for f in left})
    number = sp.N(value, DIGITS)
    return number if number.is_number and number.is_finite and not number.has(sp.nan, sp.zoo) else None


def _true(statement: Statement, point: Point) -> bool | None:
    left, relation, right = statement
    with mpmath.workdps(DIGITS):
        a, b = _quickly(left, point), _quickly(right, point)
        if a is None or b is None:
            return None
        gap, slack = a - b, mpmath.mpf(10) ** (15 - DIGITS) * max(abs(a), abs(b), 1)
        return bool({"=": abs(gap) <= slack, "<=": gap <= slack, ">=": gap >= -slack, "<": gap < -slack, ">": gap > slack, "!=": abs(gap) > slack}[relation])


def _quickly(expression: Any, point: Point) -> Any:
    """The real value at a point, by a function compiled once for all points with these whole numbers; None where there is none."""
    plain = _plain(expression, {k: v for k, v in point.items() if isinstance(k, sp.Symbol) and k.is_integer})
    atoms, function = _compiled(plain)
    if function is None or not all(a in point for a in atoms):
        value = _exact(expression, point)
        return None if value is None or not value.is_real else mpmath.mpf(value)
    try:
        value = mpmath.mpmathify(function(*(mpmath.mpf(point[a].p) / point[a].q for a in atoms)))
    except (ZeroDivisionError, ValueError):
        return None
    return value if isinstance(value, mpmath.mpf) and mpmath.isfinite(value) else None


@lru_cache(maxsize=1000)
def _compiled(plain: Any) -> tuple[list[Any], Callable[..., Any] | None]:
    """What is drawn in an expression, and the expression as a function of that; no function where something would be left."""
    atoms = sorted(_atoms(plain), key=str)
    dummies = {a: sp.Dummy() for a in atoms}
    body = plain.xreplace(dummies)
    if body.atoms(AppliedUndef, sp.Indexed, sp.Derivative, sp.Subs, sp.Sum, sp.Product, sp.Integral, sp.Limit) or body.free_symbols - set(dummies.values()):
        return atoms, None
    return atoms, sp.lambdify(list(dummies.values()), body, "mpmath")


def hash_of(text: str) -> int:
    """A number that depends on the text alone, in every run."""
    return sum((at + 1) * ord(letter) * 7919 for at, letter in enumerate(text))


def _short(expression: Any) -> str:
    text = str(expression)
    return text if len(text) < 120 else text[:117] + "…"


def _said(point: Point) -> str:
    return ", ".join(f"{name} = {sp.N(value, 4)}" for name, value in list(point.items())[:6]) or "every point"
