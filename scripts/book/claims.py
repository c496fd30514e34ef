"""No number is loose: every number of a page is claimed, declared or structural.

A *claim* is a comment behind a number, `needs 189<!--= n_adam --> steps`: the expression is
evaluated when the page has run and must give that number at the decimals shown. Several numbers in
one formula take one claim with commas, `$\\rho = 0.81$, $\\kappa = 9$<!--= rho, kappa -->`.
A *constant* is declared in the front matter, `constants: {1964: year of Polyak's paper}`.
In formulas the integers 0, 1, 2 and all subscripts are structural; so is everything under a heading
"References". All other numbers must carry a claim.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from doctest import DocTestParser
from typing import Any

from .page import Block, Page

_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_NUMBER = re.compile(r"""
    (?<![\w.\\])(?P<sign>(?<![\w)}\]])[-−])?
    (?P<digits>\d+(?:(?:,|\{,\}|\u202f|\\,)\d{3})*(?:\.\d+)?)
    (?:e(?P<e>[-+]?\d+)
     |\s?(?:×|\\times|\\cdot)\s?10(?:\^\{?(?P<power>-?\d+)\}?|(?P<super>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+))
     |(?<=(?<!\d)10)(?:\^\{?(?P<bare>-?\d+)\}?|(?P<baresuper>[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)))?
    (?!\d)
    """, re.X)
_CLAIM = re.compile(r"<!--=(?P<code>.*?)-->", re.S)
_MATH = re.compile(r"(?<![\\$])(?:\$\$[^$]+\$\$|\$(?! )[^$]+?(?<![\\ ])\$(?!\d))", re.S)
_MASKED = [
    re.compile(r"<!--(?!=).*?-->", re.S),                    # comments that are no claims
    re.compile(r"<(?!!--)[^<>\n]+>"),                        # HTML tags
    re.compile(r"(?<=\])\([^()\s]*(?:\s\"[^\"]*\")?\)"),     # link targets
    re.compile(r"(?<=\])\[[^\]]*\]"),                        # cross-references
    re.compile(r"^\[(?!\^)[^\]]+\]:.*$", re.M),              # link definitions
    re.compile(r"\[\^[^\]]+\]"),                             # footnote marks
    re.compile(r"\{\s*[:.#][^{}]*\}"),                       # attribute lists
    re.compile(r"^\s*\d+\.(?=\s)", re.M),                    # numbers of a list
    re.compile(r"^::: .*$", re.M),                           # API directives
    re.compile(r"(?<=[ (])00\d\b"),                         # names of the lecture notes
]
_SUBSCRIPT = re.compile(r"_(?:\{[^{}]*\}|\d)")
_COMMAND = re.compile(r"\\(?!times|cdot)[a-zA-Z]+")  # \sqrt2 holds the number 2
_REFERENCES = re.compile(r"^#+ References[ \t]*\n.*", re.M | re.S)
STRUCTURAL = {"0", "1", "2"}


@dataclass(frozen=True)
class Number:
    """A number of the prose: its text, where it ends, what it claims to be."""

    text: str
    mantissa: str
    exponent: int
    start: int
    end: int
    structural: bool

    def shows(self, value: Any) -> bool:
        """Whether `value`, at the decimals shown here, reads as this number."""
        _, _, decimals = self.mantissa.partition(".")
        try:
            scaled = float(value) / 10.0**self.exponent
            return f"{scaled:.{len(decimals)}f}" == self.mantissa or (scaled == 0 and float(self.mantissa) == 0)
        except (TypeError, ValueError, OverflowError):
            return False


def numbers(text: str) -> Iterator[Number]:
    """The numbers in a piece of prose, in order."""
    masked = _REFERENCES.sub(_blank, text)
    for pattern in (*_MASKED, _CLAIM):
        masked = pattern.sub(_blank, masked)
    formulas = [m.span() for m in _MATH.finditer(masked)]
    for start, end in formulas:
        masked = masked[:start] + _COMMAND.sub(_blank, _SUBSCRIPT.sub(_blank, masked[start:end])) + masked[end:]
    for m in _NUMBER.finditer(masked):
        in_formula = any(start <= m.start() < end for start, end in formulas)
        power = m["power"] or m["e"] or (m["super"] or "").translate(_SUPERSCRIPT)
        bare = m["bare"] or (m["baresuper"] or "").translate(_SUPERSCRIPT)
        digits = "1" if bare else re.sub(r"[^\d.]", "", m["digits"])
        yield Number(m[0], ("-" if m["sign"] else "") + digits, int(power or bare or 0), m.start(), m.end(),
                     in_formula and m[0].lstrip("-−") in STRUCTURAL)


def faults(page: Page, namespace: Mapping[str, Any]) -> list[str]:
    """What the numbers of `page` have wrong, given the namespace its run left; each with file and line."""
    constants = page.meta.get("constants") or {}
    unused = set(constants)
    bound = Counter(name for block in page.blocks for name in names_bound(block))

    def declared(number: Number) -> bool:
        for form in (number.text, number.text.lstrip("-−")):
            if form in constants:
                unused.discard(form)
                return True
        return number.structural

    found: list[tuple[int, str]] = []  # each with its line
    for block in page.blocks:
        if block.kind == "cell":
            found += [(block.line + below, why) for below, why in _cell_faults(block.text, declared)]
        elif block.kind == "prose":
            text = _REFERENCES.sub(_blank, block.text)
            found += [(block.line + text.count("\n", 0, at), why) for at, why in _prose_faults(text, declared, namespace, bound)]
    for text in (page.meta.get("title", ""), page.meta.get("description", "")):
        found += [(1, f"the front matter shows {n.text}, which is not among the constants") for n in numbers(text) if not declared(n)]
    lines = page.front.splitlines()
    for constant in unused:
        line = next((i for i, s in enumerate(lines) if re.match(rf"""\s+["']?{re.escape(constant)}["']?\s*:""", s)), -1)
        found.append((line + 2, f"the constant {constant} is used nowhere on the page"))
    return [f"{page.path}:{line}: {why}" for line, why in found]


def _cell_faults(code: str, declared: Callable[[Number], bool]) -> Iterator[tuple[int, str]]:
    """The numbers written into what a cell shows, each with the lines above it."""
    for line, text in _shown_strings(code):
        for number in numbers(text):
            if not declared(number):
                yield line - 1, (f"the text shows {number.text}, which the run did not produce: "
                                 f"format it from a value, or declare it under `constants`")


def _prose_faults(text: str, declared: Callable[[Number], bool], namespace: Mapping[str, Any],
                  bound: Counter[str]) -> Iterator[tuple[int, str]]:
    """The claims that do not hold, then the numbers that have none, each with its place in the text."""
    free = list(numbers(text))
    for claim in _CLAIM.finditer(text):
        shown = repr(claim["code"].strip())
        try:
            codes = _expressions(claim["code"].strip())
        except SyntaxError as error:
            yield claim.start(), f"the claim {shown} is no expression: {error.msg}"
            continue
        before = [n for n in free if n.end <= claim.start()][-len(codes):]
        if len(before) < len(codes) or re.search(r"\w{3}|\n\s*\n", _CLAIM.sub("", text[before[-1].end:claim.start()])):
            yield claim.start(), (f"the claim {shown} does not stand behind "
                                  f"{'its number' if len(codes) == 1 else f'its {len(codes)} numbers'}")
            continue
        free = [n for n in free if n not in before]
        for number, code in zip(before, codes):
            yield from ((number.start, why) for why in _wrong(number, code, namespace, bound))
    for number in free:
        if not declared(number):
            yield number.start, (f"the number {number.text} is loose: put a claim `<!--= expression -->` behind it, or declare it "
                                 f"under `constants` in the front matter with its reason")


def _wrong(number: Number, code: str, namespace: Mapping[str, Any], bound: Counter[str]) -> Iterator[str]:
    names = {n.id for n in ast.walk(ast.parse(code, mode="eval")) if isinstance(n, ast.Name)} - set(dir(builtins))
    if not names:
        yield f"the claim {code!r} is a literal: name the value that the run produced"
        return
    yield from (f"the claim {code!r} uses {name}, which the page binds more than once" for name in sorted(names) if bound[name] > 1)
    try:
        value = eval(code, dict(namespace))
    except Exception as error:  # whatever it is, the author must see it with its line
        yield f"the claim {code!r} fails: {type(error).__name__}: {error}"
        return
    if not number.shows(value):
        yield f"the prose says {number.text}, but {code} is {value!r}"


def _expressions(code: str) -> list[str]:
    tree = ast.parse(code, mode="eval").body
    return [ast.unparse(e) for e in tree.elts] if isinstance(tree, ast.Tuple) else [code]


def names_bound(block: Block) -> Iterator[str]:
    """The names that a cell or examples bind at top level; one that a loop binds comes twice."""
    if block.kind == "cell":
        sources = [block.text]
    else:
        sources = [e.source for e in DocTestParser().get_examples(block.text)] if block.kind == "examples" else []
    for source in sources:
        for statement in ast.parse(source).body:
            yield from _names_bound(statement)


def _names_bound(node: ast.AST, times: int = 1) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        yield node.name
        return
    if isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)):
        return
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield from [node.id] * times
    for child in ast.iter_child_nodes(node):
        yield from _names_bound(child, 2 if isinstance(node, (ast.For, ast.While, ast.AugAssign)) else times)


def _shown_strings(code: str) -> Iterator[tuple[int, str]]:
    """The literal text that a cell shows a reader: what it prints, its figures' words."""
    for call in (n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Call)):
        printed = call.args if isinstance(call.func, ast.Name) and call.func.id == "print" else []
        for shown in [*printed, *(k.value for k in call.keywords if k.arg in ("alt", "caption", "title", "label"))]:
            parts = [shown]
            while parts:
                part = parts.pop()
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value
                elif isinstance(part, ast.JoinedStr):
                    parts += [p for p in part.values if isinstance(p, ast.Constant)]
                elif isinstance(part, ast.BinOp):
                    parts += [part.left, part.right]


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])
