"""No number and no comparison is loose: each is claimed, declared or structural.

A *claim* is a comment behind what it vouches for. Behind a number, `needs 189<!--= n_adam --> steps`, it is an expression that is
evaluated when the page has run and must give that number at the decimals shown. Several numbers in one formula take one claim with
commas, `$\\rho = 0.81$, $\\kappa = 9$<!--= rho, kappa -->`. Behind words it repeats them, and its expression must be true:
`needs fewer<!--= fewer: n_momentum < n_descent --> steps`. What stands behind formulas is read in `formulas.py`.

A *constant* is declared in the front matter, `constants: {1964: year of Polyak's paper}`; in the second edition with one reason for
each time that it occurs (a list for several). In formulas the integers 0, 1, 2 and all subscripts are structural; so is everything
under a heading "References". In the second edition number words from *three* up are numbers too.
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

import numpy as np

from . import formulas
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
_REFERENCES = re.compile(r"^(?P<level>#+) References[ \t]*\n", re.M)
STRUCTURAL = {"0", "1", "2"}

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORTH = {w: n for n, w in enumerate(_UNITS)} | {w: 10 * n for n, w in enumerate(_TENS, start=2)} | {"a": 1}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9}
_PARTS = {"third": 3, "quarter": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10, "twentieth": 20, "hundredth": 100,
          "thousandth": 1000, "millionth": 10**6, "billionth": 10**9}
_COUNT = rf"(?:{'|'.join([*_TENS, *_UNITS[:2:-1]])})(?:-(?:{'|'.join(_UNITS[9:0:-1])}))?"
_SCALE = f"(?:{'|'.join(_SCALES)})"
_PART = f"(?:{'|'.join(_PARTS)})"
_WORDS = re.compile(rf"""
    (?<![\w-])(?:
      (?P<part>(?P<count>a|one|two|{_COUNT})[\s-]+(?P<size>{_PART})s?)
      |(?P<half>half|twice)
      |(?P<whole>(?:(?:a|one|two|{_COUNT})\s+)?{_SCALE}(?:\s+(?:and\s+)?(?:{_COUNT}|{_SCALE}|one|two))*|{_COUNT}(?:\s+{_SCALE})*)
    )(?![\w]|-\w)""", re.X | re.I)
_NEARLY = 0.05  # of what a fraction, a multiple or a round number in words may be off

_SAID = re.compile(r"\s*(?!lambda\b)(?P<words>[^\W\d_][^:()\[\]{}=<>\"]*?):\s+(?P<code>.+)", re.S)
_MORE = {"more", "larger", "greater", "longer", "higher", "above", "wider", "steeper", "exceeds"}
_LESS = {"fewer", "less", "smaller", "shorter", "lower", "below", "narrower", "flatter"}
_SHOWN_BY = {"text", "annotate", "figtext", "legend", "title", "xlabel", "ylabel", "suptitle", "set_title", "set_xlabel", "set_ylabel",
             "set_label", "set_xticklabels", "set_yticklabels", "set_ticklabels"}
_SHOWN_AS = {"alt", "caption", "title", "label", "labels", "xlabel", "ylabel", "suptitle"}


@dataclass(frozen=True)
class Number:
    """A number of the prose, in digits or `in_words`: its text, where it ends, what it claims to be."""

    text: str
    mantissa: str
    exponent: int
    start: int
    end: int
    structural: bool
    in_words: bool = False

    def shows(self, value: Any) -> bool:
        """Whether `value`, at the decimals shown here, reads as this number."""
        _, _, decimals = self.mantissa.partition(".")
        try:
            if self.in_words:
                meant = float(self.mantissa)
                near = _NEARLY if meant < 3 or meant >= 100 else 0.0
                return abs(float(value) - meant) <= near * meant or round(float(value)) == meant
            scaled = float(value) / 10.0**self.exponent
            return f"{scaled:.{len(decimals)}f}" == self.mantissa or (scaled == 0 and float(self.mantissa) == 0)
        except (TypeError, ValueError, OverflowError):
            return False


def numbers(text: str, words: bool = False) -> Iterator[Number]:
    """The numbers in a piece of prose, in order; with `words`, those in words too."""
    masked = _without_references(text)
    for pattern in (_CLAIM, *_MASKED):
        masked = pattern.sub(_blank, masked)
    spans = [m.span() for m in _MATH.finditer(masked)]
    for start, end in spans:
        masked = masked[:start] + _COMMAND.sub(_blank, _SUBSCRIPT.sub(_blank, masked[start:end])) + masked[end:]
    found = []
    for m in _NUMBER.finditer(masked):
        in_formula = any(start <= m.start() < end for start, end in spans)
        power = m["power"] or m["e"] or (m["super"] or "").translate(_SUPERSCRIPT)
        bare = m["bare"] or (m["baresuper"] or "").translate(_SUPERSCRIPT)
        digits = "1" if bare else re.sub(r"[^\d.]", "", m["digits"])
        found.append(Number(m[0], ("-" if m["sign"] else "") + digits, int(power or bare or 0), m.start(), m.end(),
                            in_formula and m[0].lstrip("-−") in STRUCTURAL))
    for m in _WORDS.finditer(masked) if words else ():
        if not any(start <= m.start() < end for start, end in spans):
            found.append(Number(" ".join(m[0].lower().split()), repr(_in_digits(m)), 0, m.start(), m.end(), False, in_words=True))
    yield from sorted(found, key=lambda number: number.start)


def _in_digits(match: re.Match[str]) -> float:
    """What a number in words is."""
    if match["half"]:
        return {"half": 0.5, "twice": 2.0}[match["half"].lower()]
    if match["part"]:
        return _sum_of(match["count"]) / _PARTS[match["size"].lower()]
    return float(_sum_of(match["whole"]))


def _sum_of(words: str) -> int:
    total = group = 0
    for word in re.split(r"[\s-]+", words.lower()):
        if word in _SCALES:
            group = (group or 1) * _SCALES[word]
            if word != "hundred":
                total, group = total + group, 0
        elif word != "and":
            group += _WORTH[word]
    return total + group


def _without_references(text: str) -> str:
    """The text with what stands under "References" made blank, up to the next heading of that level or above."""
    if not (start := _REFERENCES.search(text)):
        return text
    after = re.compile(rf"^#{{1,{len(start['level'])}}} ", re.M).search(text, start.end())
    end = after.start() if after else len(text)
    return text[: start.start()] + re.sub(r"[^\n]", " ", text[start.start() : end]) + _without_references(text[end:])


def faults(page: Page, namespace: Mapping[str, Any]) -> list[str]:
    """What the numbers and comparisons of `page` have wrong, given the namespace its run left; each with file and line."""
    constants = page.meta.get("constants") or {}
    second = str(page.meta.get("edition", "1")) == "2"
    uses: Counter[str] = Counter()
    bound = Counter(name for block in page.blocks for name in names_bound(block))

    def declared(number: Number) -> bool:
        for form in (number.text, number.text.lstrip("-−")):
            if form in constants and not number.structural:
                uses[form] += 1
                return True
        return number.structural

    found: list[tuple[int, str]] = []  # each with its line
    for block in page.blocks:
        if block.kind == "cell":
            found += [(block.line + below, why) for below, why in _cell_faults(block.text, declared)]
        elif block.kind == "prose":
            text = _without_references(block.text)
            found += [(block.line + text.count("\n", 0, at), why) for at, why in _prose_faults(text, declared, namespace, bound, second)]
    for text in (page.meta.get("title", ""), page.meta.get("description", "")):
        found += [(1, f"the front matter shows {n.text}, which is not among the constants") for n in numbers(text) if not declared(n)]
    lines = page.front.splitlines()
    for constant, reasons in constants.items():
        line = next((i for i, s in enumerate(lines) if re.match(rf"""\s+["']?{re.escape(constant)}["']?\s*:""", s)), -1)
        given = len(reasons) if isinstance(reasons, list) else 1
        if not uses[constant]:
            found.append((line + 2, f"the constant {constant} is used nowhere on the page"))
        elif second and uses[constant] != given:
            found.append((line + 2, f"the constant {constant} occurs {uses[constant]} times, and {given} reasons are given: give a list, a reason for each"))
    return [f"{page.path}:{line}: {why}" for line, why in found]


def _cell_faults(code: str, declared: Callable[[Number], bool]) -> Iterator[tuple[int, str]]:
    """The numbers written into what a cell shows, each with the lines above it."""
    for line, text in _shown_strings(code):
        for number in numbers(text):
            if not declared(number):
                yield line - 1, (f"the text shows {number.text}, which the run did not produce: "
                                 f"format it from a value, or declare it under `constants`")


def _prose_faults(text: str, declared: Callable[[Number], bool], namespace: Mapping[str, Any],
                  bound: Counter[str], second: bool) -> Iterator[tuple[int, str]]:
    """The claims that do not hold, then the numbers that have none, each with its place in the text."""
    proved = [(at, at + len(tex)) for at, tex, _, kind, comment in formulas.formulas(text) if formulas.vouched(kind, comment)]
    free = [n for n in numbers(text, words=second) if not any(start <= n.start < end + 4 for start, end in proved)]
    for claim in _CLAIM.finditer(text):
        if formulas.FORMULA_CLAIM.match(claim["code"]):
            if not re.search(r"\$\s*$", text[: claim.start()]):
                yield claim.start(), f"the claim {claim['code'].strip()!r} does not stand behind a formula"
            continue
        if said := _SAID.fullmatch(claim["code"].strip()):
            yield from ((claim.start(), why) for why in _untrue(said["words"], said["code"], text[: claim.start()], namespace, bound))
            continue
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
    value, faults = _evaluated(code, namespace, bound)
    yield from faults
    if faults:
        return
    if not number.shows(value):
        yield f"the prose says {number.text}, but {code} is {value!r}"
    elif not _depends(code, value, namespace):
        yield f"the claim {code!r} gives {value!r} whatever the run gives: name the value that the run produced"


def _untrue(words: str, code: str, before: str, namespace: Mapping[str, Any], bound: Counter[str]) -> Iterator[str]:
    """What is wrong with a claim behind words."""
    said, wanted = (" ".join(re.sub(r"[*_`]", "", re.sub(r"<!--.*?-->", "", part, flags=re.S)).lower().split()) for part in (before, words))
    if not re.search(rf"(?<!\w){re.escape(wanted)}$", said):
        yield f"the claim {words!r} does not stand behind these words"
        return
    try:
        tree = ast.parse(code.strip(), mode="eval").body
    except SyntaxError as error:
        yield f"the claim {code!r} is no expression: {error.msg}"
        return
    if isinstance(tree, ast.Compare) and len(tree.ops) == 1:
        for kind, operators in ((_MORE, (ast.Gt, ast.GtE)), (_LESS, (ast.Lt, ast.LtE))):
            if kind & set(wanted.split()) and not isinstance(tree.ops[0], operators) and not (_MORE | _LESS) - kind & set(wanted.split()) \
                    and not {"no", "not", "never"} & set(wanted.split()):
                yield f"the words {words!r} and the comparison in {code!r} point in different directions"
                return
    value, faults = _evaluated(code, namespace, bound)
    yield from faults
    if not faults and not (isinstance(value, (bool, np.bool_)) and value):
        yield f"the prose says {words!r}, but {code} is {value!r}"


def _evaluated(code: str, namespace: Mapping[str, Any], bound: Counter[str]) -> tuple[Any, list[str]]:
    """The value of a claim, and what is wrong with it."""
    names = _names(code)
    if not names:
        return None, [f"the claim {code!r} is a literal: name the value that the run produced"]
    if again := [f"the claim {code!r} uses {name}, which the page binds more than once" for name in sorted(names) if bound[name] > 1]:
        return None, again
    try:
        return eval(code.strip(), dict(namespace)), []
    except Exception as error:  # whatever it is, the author must see it with its line
        return None, [f"the claim {code!r} fails: {type(error).__name__}: {error}"]


def _names(code: str) -> set[str]:
    return {n.id for n in ast.walk(ast.parse(code.strip(), mode="eval")) if isinstance(n, ast.Name)} - set(dir(builtins))


def _depends(code: str, value: Any, namespace: Mapping[str, Any]) -> bool:
    """Whether a claim's value changes with the numbers that it names, as far as that can be tried."""
    tree = ast.parse(code.strip(), mode="eval").body
    if not all(isinstance(n, (ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Name, ast.Constant, ast.expr_context)) for n in ast.walk(tree)):
        return True  # a length, say, is none of an array's numbers
    numeric = {name: namespace[name] for name in _names(code) if isinstance(namespace.get(name), (int, float, np.number, np.ndarray))}
    if set(numeric) != _names(code):
        return True
    for name, given in numeric.items():
        try:
            if not np.array_equal(eval(code.strip(), dict(namespace) | {name: given * 1.37 + 0.11}), value):
                return True
        except Exception:  # it needs its value as it is
            return True
    return False


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
        name = call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""
        shown = call.args if name == "print" or (name in _SHOWN_BY and isinstance(call.func, ast.Attribute)) else []
        parts = [*shown, *(k.value for k in call.keywords if k.arg in _SHOWN_AS)]
        while parts:
            part = parts.pop()
            if isinstance(part, ast.Constant) and isinstance(part.value, str):
                yield part.lineno, part.value
            elif isinstance(part, ast.Constant) and name == "print" and part in call.args and not isinstance(part.value, bool) and isinstance(part.value, (int, float)):
                yield part.lineno, repr(part.value)
            elif isinstance(part, ast.JoinedStr):
                parts += [p for p in part.values if isinstance(p, ast.Constant)]
                literal = [p.value for p in part.values if isinstance(p, ast.FormattedValue)]
                yield from ((p.lineno, repr(p.value)) for p in literal if isinstance(p, ast.Constant) and isinstance(p.value, (int, float)))
            elif isinstance(part, ast.BinOp):
                parts += [side for side in (part.left, part.right) if not (isinstance(side, ast.Constant) and isinstance(side.value, int))]
            elif isinstance(part, (ast.List, ast.Tuple)):
                parts += part.elts


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])
