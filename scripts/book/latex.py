r"""Textbook LaTeX read as SymPy: what an author writes is what is proved.

`Reader(tex, names).expression()` reads one side of a formula. A *name* is a letter or a command with its accent, subscript and mark:
`\hat m_t`, `w^*`, `v_{\text{inside}}`. Subscripts that are numbers or letters are indices, so that `w_{t+1}` is `w_t` one step later.
What cannot be read for certain is refused: `a/bc` has two meanings, and an unknown command has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\d+(?:\{,\}\d{3})*(?:\.\d+)?|[a-zA-Z]|'+|\S")
SPACE = re.compile(r"(?<!\\)\\[,;:!> ]|~|\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits|mathstrut)(?![a-zA-Z])")
ACCENTS = {rf"\{name}" for name in "hat bar tilde dot ddot vec overline widehat widetilde check".split()}
FONTS = {rf"\{name}" for name in "mathbf boldsymbol mathcal mathrm mathbb mathsf mathit operatorname bm".split()}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    r"\exp": sp.exp, r"\ln": sp.log, r"\log": sp.log, r"\sin": sp.sin, r"\cos": sp.cos, r"\tan": sp.tan, r"\tanh": sp.tanh,
    r"\cosh": sp.cosh, r"\sinh": sp.sinh, r"\arctan": sp.atan, r"\max": sp.Max, r"\min": sp.Min, r"\det": lambda a: sp.Matrix(a).det(method="berkowitz"),
    "sign": sp.sign, "tr": sp.trace, "diag": lambda a: sp.diag(*a), "erf": sp.erf,
}  # fmt: skip
GREEK = set(("alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho varrho sigma tau upsilon phi varphi chi "
             "psi omega Gamma Delta Theta Lambda Xi Sigma Upsilon Phi Psi Omega ell nabla partial top star").split())
CLOSING = {"(": ")", "[": "]", "{": "}", r"\{": r"\}", "|": "|", r"\lvert": r"\rvert", r"\lVert": r"\rVert", r"\|": r"\|", r"\langle": r"\rangle"}
NO_FACTOR = {*CLOSING.values(), r"\cdot", r"\times", r"\end", r"\to", r"\rightarrow"}
INDEX = set("ijklnt")  # letters that count


class Unreadable(ValueError):
    """LaTeX with no certain meaning."""


@dataclass
class Names:
    """What the names of a page mean: `values` by name, `series` by name and the index that stands for any, `functions` by name."""

    positive: frozenset[str] = frozenset()
    integer: frozenset[str] = frozenset(INDEX)
    functions: frozenset[str] = frozenset()
    random: frozenset[str] = frozenset()
    values: dict[str, Any] = field(default_factory=dict)
    series: dict[str, tuple[tuple[Any, ...], Any]] = field(default_factory=dict)
    expectations: list[tuple[Any, Any, str]] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def child(self) -> Names:
        """A copy in which more can be said."""
        return Names(self.positive, self.integer, self.functions, self.random, dict(self.values), dict(self.series), list(self.expectations), self.used)

    def symbol(self, key: str) -> sp.Symbol:
        """The symbol of a name without a value."""
        return sp.Symbol(key, **self._known(key))

    def indexed(self, base: str, indices: tuple[Any, ...]) -> Any:
        """An element of a series without a value."""
        return sp.IndexedBase(base, **self._known(base))[indices]

    def _known(self, key: str) -> dict[str, bool]:
        if key in self.positive:
            return {"positive": True, **({"integer": True} if key in self.integer else {})}
        return {"integer": True} if key in self.integer else {"real": True}

    def value(self, given: Any) -> Any:
        """A value of the page's Python as an expression in the names of the page's formulas."""
        if isinstance(given, sp.MatrixBase):
            return sp.Matrix(given.applyfunc(self.value))
        if isinstance(given, sp.Basic):
            known = {s: Reader(_as_tex(s.name), self).whole() for s in given.free_symbols if isinstance(s, sp.Symbol) and not isinstance(s, sp.Dummy)}
            known |= {s: self.indexed(Reader(_as_tex(str(s.base)), self).name()[0], tuple(self.value(i) for i in s.indices)) for s in given.atoms(sp.Indexed)}
            return given.xreplace(known) if known else given
        if isinstance(given, (list, tuple, np.ndarray)):
            rows = np.asarray(given, dtype=object)
            return sp.Matrix(rows.tolist()).applyfunc(self.value) if rows.ndim else self.value(rows.item())
        if isinstance(given, (bool, np.bool_)):
            raise Unreadable(f"{given!r} is no number")
        if isinstance(given, (int, np.integer, Fraction)):
            return sp.Rational(given)
        if isinstance(given, (float, np.floating)):
            return sp.Rational(repr(float(given)))
        if callable(given):
            return given
        raise Unreadable(f"{given!r} is neither a number nor an expression")

    def say(self, tex: str, value: Any, python: bool = True) -> None:
        r"""Give a name (`\rho`), an element of a series (`E_t`) or an expectation (`\mathrm{E}[m^2]`) its value."""
        value = self.value(value) if python else value
        reader = Reader(tex, self)
        if reader.at_expectation():
            reader._braced()
            reader.skip_subscript()
            reader.take("[")
            self.expectations.append((sp.expand(reader.sum()), value, tex))
            reader.take("]")
        else:
            base, indices, key = reader.name()
            loose = tuple(i for i in indices if isinstance(i, sp.Symbol))
            if loose and len(loose) == len(indices):
                self.series[base] = (loose, value)
            else:
                self.values[key] = value
        reader.end()


def _as_tex(name: str) -> str:
    """The LaTeX of a SymPy symbol's name; hyperparameters as the book writes them."""
    from reference_impl.engines.symbolic import LETTERS

    return LETTERS.get(name) or (name if "\\" in name or "'" in name else sp.latex(sp.Symbol(name)))


class Reader:
    """Reads one expression."""

    def __init__(self, tex: str, names: Names, bound: Mapping[str, Any] | None = None) -> None:
        self.tex, self.names = tex, names
        self.tokens = TOKEN.findall(SPACE.sub(" ", tex))
        self.at = 0
        self.bound: dict[str, Any] = dict(bound or {})  # the indices of sums around
        self.bars: list[str] = []  # what ends the expression that is being read

    # Tokens

    @property
    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        """The next token, which must be `wanted` if that is given."""
        token = self.next
        if not token or (wanted and token != wanted):
            raise Unreadable(f"{self.tex.strip()!r}: expected {wanted or 'more'!r}, found {token or 'the end'!r}")
        self.at += 1
        return token

    def refuse(self, why: str) -> Unreadable:
        return Unreadable(f"{self.tex.strip()!r}: {why}")

    def end(self) -> None:
        if self.next:
            raise self.refuse(f"nothing can be made of {' '.join(self.tokens[self.at:])!r}")

    def whole(self) -> Any:
        """The expression that the whole text is."""
        try:
            value = self.sum()
        except (TypeError, AttributeError, IndexError, ZeroDivisionError) as error:  # a function without its argument, say
            raise self.refuse(f"it cannot be computed: {error}") from None
        self.end()
        return value

    # Expressions

    def sum(self) -> Any:
        value = self._signed()
        while self.next in ("+", "-", "−"):
            sign = self.take()
            term = self.product()
            value = self._added(value, term if sign == "+" else -term)
        return value

    def _signed(self) -> Any:
        if self.next in ("-", "−", "+"):
            sign = self.take()
            return self.product() if sign == "+" else -self.product()
        return self.product()

    def _added(self, a: Any, b: Any) -> Any:
        if isinstance(a, sp.MatrixBase) != isinstance(b, sp.MatrixBase):
            raise self.refuse("a matrix and a number are added")
        return a + b

    def product(self) -> Any:
        value, divided = self.power(), False
        while self.next:
            if self.next in ("/",):
                self.take()
                value, divided = self._quotient(value, self._signed_power()), True
            elif self.next in (r"\cdot", r"\times", "*"):
                dot = self.take()
                factor = self._signed_power()
                while self._starts():  # d · H d is d · (H d)
                    factor = self._times(factor, self.power(), False)
                value, divided = self._times(value, factor, dot == r"\cdot"), False
            elif self._starts():
                if divided:
                    raise self.refuse(f"what stands behind the slash is not clear at {self.next!r}: write a fraction or brackets")
                value = self._times(value, self.power(), False)
            else:
                break
        return value

    def _signed_power(self) -> Any:
        if self.next in ("-", "−"):
            self.take()
            return -self.power()
        return self.power()

    def _starts(self) -> bool:
        """Whether a factor starts here."""
        token = self.next
        if self.bars and token == self.bars[-1]:
            return False
        return bool(re.fullmatch(r"[a-zA-Z]|\d.*", token)) or token in CLOSING or (
            bool(re.fullmatch(r"\\[a-zA-Z]+", token)) and token not in NO_FACTOR)

    def _times(self, a: Any, b: Any, dot: bool) -> Any:
        if isinstance(a, sp.MatrixBase) and isinstance(b, sp.MatrixBase):
            if a.shape == b.shape and b.shape[1] == 1 and dot:
                return (a.T * b)[0, 0]
            if a.shape[1] != b.shape[0]:
                raise self.refuse(f"a product of matrices of shapes {a.shape} and {b.shape}")
            product = a * b
            return product[0, 0] if product.shape == (1, 1) else product
        return a * b

    def _quotient(self, a: Any, b: Any) -> Any:
        if isinstance(b, sp.MatrixBase):
            raise self.refuse("division by a matrix")
        return a / b

    def power(self) -> Any:
        value = self.atom()
        while self.next in ("^", "!") or self.next.startswith("'"):
            if self.take() == "!":
                value = sp.factorial(value)
                continue
            if self.tokens[self.at - 1].startswith("'"):
                raise self.refuse("a prime stands behind no name")
            if self._exponent_is(r"\top"):
                value = value.T if isinstance(value, sp.MatrixBase) else value
                continue
            exponent = self.argument()
            if isinstance(value, sp.MatrixBase) and exponent == -1:
                value = value.adjugate("berkowitz") / value.det("berkowitz")  # `inv` asks of each pivot whether it is zero, for seconds
            elif isinstance(exponent, sp.MatrixBase):
                raise self.refuse("a matrix as an exponent")
            else:
                value = value**exponent
        return value

    def _exponent_is(self, *marks: str) -> bool:
        """Take an exponent that is one of these marks."""
        for mark in marks:
            for form in ([mark], ["{", mark, "}"]):
                if self.tokens[self.at : self.at + len(form)] == form:
                    self.at += len(form)
                    return True
        return False

    def argument(self) -> Any:
        """What TeX takes for an argument: a group in braces, or one token."""
        if self.next == "{":
            return self.group("{")
        if self.next.isdigit() and len(self.next) > 1:  # \frac12
            digits = self.next
            self.tokens[self.at : self.at + 1] = [digits[0], digits[1:]]
        if self.next in ("-", "−"):
            raise self.refuse("a sign needs braces here")
        return self.atom(scripts=False)

    def group(self, opening: str) -> Any:
        self.take(opening)
        self.bars.append(CLOSING[opening])
        value = self.sum()
        self.bars.pop()
        self.take(CLOSING[opening])
        return value

    def arguments(self) -> list[Any]:
        """What stands in round brackets, separated by commas."""
        opening = self.take()
        self.bars.append(CLOSING[opening])
        found = [self.sum()]
        while self.next in (",", ";"):
            self.take()
            found.append(self.sum())
        self.bars.pop()
        self.take(CLOSING[opening])
        return found

    def atom(self, scripts: bool = True) -> Any:
        token = self.next
        if re.match(r"\d", token):
            return sp.Rational(self.take().replace("{,}", ""))
        if token in ("|", r"\lvert", r"\lVert", r"\|"):
            inside = self.group(token)
            if token in (r"\lVert", r"\|") or isinstance(inside, sp.MatrixBase):
                return sp.sqrt(sum(x**2 for x in inside)) if isinstance(inside, sp.MatrixBase) else sp.Abs(inside)
            return sp.Abs(inside)
        if token in ("(", "[", "{", r"\{"):
            return self.group(token)
        if token in (r"\frac", r"\tfrac", r"\dfrac"):
            return self.fraction()
        if token == r"\sqrt":
            self.take()
            degree = self.group("[") if self.next == "[" else sp.Integer(2)
            return self.argument() ** (1 / degree)
        if token in (r"\sum", r"\prod"):
            return self.series()
        if token == r"\lim":
            return self.limit()
        if token == r"\begin":
            return self.matrix()
        if token in (r"\boxed", r"\underbrace", r"\overbrace"):
            self.take()
            inside = self.argument()
            self.skip_subscript()
            return inside
        if token == r"\infty":
            self.take()
            return sp.oo
        if token == r"\pi":
            self.take()
            return sp.pi
        if self.at_expectation():
            return self.expectation()
        if (function := self.function()) is not None:
            return function
        if re.fullmatch(r"[a-zA-Z]", token) or token in ACCENTS | FONTS or token.removeprefix("\\") in GREEK:
            return self.named() if scripts else self.named(scripts=False)
        raise self.refuse(f"{token!r} has no meaning here" if token else "it ends too early")

    def fraction(self) -> Any:
        self.take()
        start = self.at
        if self.tokens[start : start + 3] in (["{", "d", "}"], ["{", r"\partial", "}"]):
            self.at += 3
            variable = self._variable()
            return sp.diff(self.power(), variable)
        if self.tokens[start : start + 2] in (["{", "d"], ["{", r"\partial"]):
            self.at += 2
            what = self.sum()
            self.take("}")
            return sp.diff(what, self._variable())
        above = self.argument()
        return self._quotient(above, self.argument())

    def _variable(self) -> Any:
        """The denominator of a derivative."""
        self.take("{")
        if self.take() not in ("d", r"\partial"):
            raise self.refuse("a derivative by nothing")
        variable = self.atom()
        self.take("}")
        return variable

    def series(self) -> Any:
        kind = self.take()
        self.take("_")
        self.take("{")
        letter = self.name()[2]
        if self.next == "=":
            self.take()
            low = self.sum()
            self.take("}")
            self.take("^")
            high = self.argument()
        else:
            raise self.refuse("a sum needs its limits: _{i=1}^{n}")
        index = sp.Symbol(letter, integer=True)
        outer, self.bound = self.bound, self.bound | {letter: index}
        body = self.product()
        self.bound = outer
        return (sp.Sum if kind == r"\sum" else sp.Product)(body, (index, low, high))

    def limit(self) -> Any:
        self.take()
        self.take("_")
        self.take("{")
        variable = self.atom()
        if self.take() not in (r"\to", r"\rightarrow"):
            raise self.refuse(r"a limit needs x \to a")
        goal = self.sum()
        self.take("}")
        return sp.limit(self.product(), variable, goal)

    def matrix(self) -> Any:
        kind = "".join(self._braced())
        if not kind.endswith("matrix"):
            raise self.refuse(f"an environment {kind!r} is not read")
        rows: list[list[Any]] = [[]]
        while self.next != r"\end":
            rows[-1].append(self.sum())
            if self.next == "&":
                self.take()
            elif self.next == r"\\":
                self.take()
                if self.next != r"\end":
                    rows.append([])
        self._braced()
        return sp.Matrix(rows)

    def _braced(self) -> list[str]:
        self.take()
        self.take("{")
        inside = []
        while self.next != "}":
            inside.append(self.take())
        self.take()
        return inside

    # Functions and names

    def function(self) -> Any:
        """A function that everybody knows, applied; None if none stands here."""
        key = self.next
        if key == r"\operatorname":
            key = "".join(self.tokens[self.at + 2 : self.tokens.index("}", self.at)])
        if key not in FUNCTIONS or key in self.names.values:
            return None
        if self.take() == r"\operatorname":
            while self.take() != "}":
                pass
        power = None
        if self.next == "^":
            self.take()
            power = self.argument()
        self.skip_subscript()
        values = self.arguments() if self.next in ("(", "[", r"\{") else [self.power()]
        value = FUNCTIONS[key](*values)
        return value if power is None else value**power

    def at_expectation(self) -> bool:
        ahead = "".join(self.tokens[self.at : self.at + 4])
        return bool(re.match(r"\\(?:mathrm|mathbb|operatorname)\{(?:E|V)", ahead)) or ahead.startswith(r"\operatorname{Var") or "".join(
            self.tokens[self.at : self.at + 6]) == r"\operatorname{Var}"

    def expectation(self) -> Any:
        what = "".join(self._braced())
        if what not in ("E", "Var"):
            raise self.refuse(f"{what!r} is no expectation")
        self.skip_subscript()
        if self.next not in ("[", "("):
            raise self.refuse(f"{what} needs brackets")
        inside = self.group(self.next)
        mean = self._mean(inside)
        return mean if what == "E" else self._mean(inside**2) - mean**2

    def _mean(self, value: Any) -> Any:
        """An expectation, taken term by term."""
        value = sp.expand(value)
        if isinstance(value, sp.Add):
            return sum((self._mean(term) for term in value.args), sp.Integer(0))
        if isinstance(value, sp.MatrixBase):
            return value.applyfunc(self._mean)
        if isinstance(value, sp.Sum):
            return sp.Sum(self._mean(value.function), *value.limits)
        if value.func is sp.Function("E"):
            return value
        fixed, chance = sp.Integer(1), sp.Integer(1)
        for factor in sp.Mul.make_args(value):
            inner = factor
            if isinstance(factor, sp.Sum) and self._random(factor):
                if chance != 1:
                    raise self.refuse("the mean of a product with a random sum is not taken")
                return fixed * self._mean(inner) if fixed != 1 else self._mean(inner)
            if self._random(factor):
                chance *= factor
            else:
                fixed *= factor
        return fixed * self._known_mean(chance)

    def _random(self, value: Any) -> bool:
        names = {str(a.base) for a in value.atoms(sp.Indexed)} | {s.name for s in value.free_symbols if isinstance(s, sp.Symbol)}
        return bool(names & self.names.random)

    def _known_mean(self, chance: Any) -> Any:
        if chance == 1:
            return chance
        indices = sorted({i for a in chance.atoms(sp.Indexed) for i in a.indices}, key=str)
        for pattern, value, said in self.names.expectations:
            if pattern == chance:
                self.names.used.add(said)
                return value
            free = sorted({i for a in pattern.atoms(sp.Indexed) for i in a.indices if isinstance(i, sp.Symbol)}, key=str)
            if len(free) == 1:
                for index in indices:
                    if pattern.subs(free[0], index) == chance:
                        self.names.used.add(said)
                        return value.subs(free[0], index)
            elif len(free) == 2 and len(indices) == 2:
                for pair in (indices, indices[::-1]):
                    if pattern.subs(dict(zip(free, pair)), simultaneous=True) == chance:
                        self.names.used.add(said)
                        return value.subs(dict(zip(free, pair)), simultaneous=True)
        return sp.Function("E")(chance)

    def skip_subscript(self) -> None:
        if self.next == "_":
            self.take()
            if self.next == "{":
                depth = 0
                while True:
                    depth += {"{": 1, "}": -1}.get(self.next, 0)
                    self.take()
                    if not depth:
                        break
            else:
                self.take()

    def name(self) -> tuple[str, tuple[Any, ...], str]:
        """A name: its base, its indices, and the whole of it."""
        base = self._base()
        indices: tuple[Any, ...] = ()
        below, mark = "", ""
        while True:
            if self.next.startswith("'"):
                base += self.take()
            elif self.next == "_" and not below:
                self.take()
                start = self.at
                indices = self._indices()
                below = "".join(self.tokens[start : self.at]).removeprefix("{").removesuffix("}")
            elif self.next == "^" and not mark and (found := self._mark()):
                mark = found
            else:
                break
        base += f"^{mark}" if mark else ""
        return base, indices, base + (f"_{{{below}}}" if below else "")

    def _base(self) -> str:
        token = self.take()
        if token in ACCENTS | FONTS:
            inside = self._inside_base()
            return f"{token}{{{inside}}}"
        if token == r"\nabla" and self._starts():
            return token + self._base()
        if not re.fullmatch(r"[a-zA-Z]", token) and token.removeprefix("\\") not in GREEK:
            raise self.refuse(f"{token!r} is no name")
        return token

    def _inside_base(self) -> str:
        if self.next != "{":
            return self._base()
        self.take()
        inside = ""
        while self.next != "}":
            inside += self.take()
        self.take()
        return inside

    def _mark(self) -> str:
        """A superscript that belongs to the name: a star, a text, a number in brackets."""
        rest = self.tokens[self.at + 1 :]
        for form in (["*"], [r"\star"], ["{", "*", "}"], ["{", r"\star", "}"], ["+"], ["{", "+", "}"]):
            if rest[: len(form)] == form:
                self.at += 1 + len(form)
                return "*" if "+" not in form else "+"
        if rest[:2] in (["{", r"\text"], ["{", "("], ["{", r"\mathrm"]):
            end = rest.index("}", 2 if rest[1] == "(" else rest.index("}") + 1)
            self.at += end + 2
            return "".join(rest[1:end])
        return ""

    def _indices(self) -> tuple[Any, ...]:
        """A subscript as indices; none where it is a word or a mark."""
        if self.next != "{":
            token = self.take()
            if token.isdigit() and len(token) > 1:
                self.tokens[self.at - 1 : self.at] = [token[0], token[1:]]
                token = token[0]
            return self._index([token])
        self.take()
        inside, depth = [], 0
        while depth or self.next != "}":
            depth += {"{": 1, "}": -1}.get(self.next, 0)
            inside.append(self.take())
        self.take()
        return self._index(inside)

    def _index(self, tokens: list[str]) -> tuple[Any, ...]:
        if any(token in ("*", r"\text", r"\star", r"\mathrm", r"\max", r"\min", r"\infty") or token in GREEK for token in tokens):
            return ()
        if len(tokens) > 1 and all(re.fullmatch(r"[a-z]|\d", token) for token in tokens):  # w_{ij}
            return tuple(self._index([token])[0] for token in tokens)
        pieces = " ".join(tokens).split(",")
        return tuple(Reader(piece, Names(self.names.positive, self.names.integer), self.bound).whole() for piece in pieces)

    def named(self, scripts: bool = True) -> Any:
        """What a name stands for."""
        if not scripts:
            base = self._base()
            return self._meaning(base, (), base)
        start = self.at
        base, indices, key = self.name()
        if key == "e" and self.next == "^" and "e" not in self.names.values:
            return sp.E
        if self.next == "(" and (callable(self._known(key)) or key.rstrip("'").removeprefix(r"\nabla") in self.names.functions):
            return self._applied(key)
        if self.tokens[start] == r"\mathrm" and key == r"\mathrm{e}":
            return sp.E
        return self._meaning(base, indices, key)

    def _known(self, key: str) -> Any:
        value = self.names.values.get(key)
        return None if isinstance(value, sp.Basic) and not isinstance(value, sp.Lambda) else value

    def _applied(self, key: str) -> Any:
        values = self.arguments()
        self.names.used.add(key)
        known = self._known(key)
        if callable(known):
            return self.names.value(known(*values))
        primes = len(key) - len(key.rstrip("'"))
        if primes and callable(of := self._known(key.rstrip("'"))):
            self.names.used.add(key.rstrip("'"))
            x = sp.Dummy()
            return sp.diff(self.names.value(of(x)), x, primes).subs(x, values[0])
        return sp.Function(key, real=True)(*values)

    def _meaning(self, base: str, indices: tuple[Any, ...], key: str) -> Any:
        if key in self.bound:
            return self.bound[key]
        if key in self.names.values:
            self.names.used.add(key)
            return self.names.values[key]
        if indices and base in self.names.series:
            pattern, value = self.names.series[base]
            if len(pattern) == len(indices):
                self.names.used.add(base)
                return value.subs(dict(zip(pattern, indices)), simultaneous=True)
        return self.names.indexed(base, indices) if indices else self.names.symbol(key)
