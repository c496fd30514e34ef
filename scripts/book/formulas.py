r"""No formula is loose: what a page displays is proved, defines, or cites.

Behind a formula stands a comment: `<!--= holds -->` (each of its statements is proved), `<!--= holds with \rho = matched.rho if 0 < \rho < 1 -->`
(names that take values of the page's run, assumptions), `<!--= is total -->` (an expression, equal to one of the page), or a mark:
`<!--: definition -->`, `<!--: given -->`, `<!--: condition -->`, or a source with its year. A `derivation` fence is a chain of formulas, each
with its reason behind `%`; every step is proved.

A definition makes a name that later formulas know. One that nothing uses is refused, as nothing would notice a slip in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import proofs
from .latex import SPACE, Names, Reader, Unreadable
from .page import Block, Page
from .proofs import RELATIONS, Statement, Unproved

MATH = re.compile(r"(?<![\\$`])(?:\$\$(?P<display>[^$]+)\$\$|\$(?! )(?P<inline>[^$`]+?)(?<![\\ ])\$(?!\d))")
BEHIND = re.compile(r"[ \t]*\n?[ \t]*<!--(?P<kind>[=:])(?P<text>.*?)-->", re.S)
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)", re.S)
FORMULA_CLAIM = re.compile(r"\s*(?:holds\b|is\s)")
MARKS = ("definition", "given", "condition")
STEPS = (r"\iff", r"\implies")
RELATION = "|".join(re.escape(r) + ("(?![a-zA-Z])" if r.startswith("\\") else "") for r in sorted(RELATIONS, key=len, reverse=True))
OPENING, CLOSING = "({[", ")}]"
YEAR = re.compile(r"\b(1[5-9]|20)\d\d\b")


class Loose(ValueError):
    """A formula that nothing vouches for."""


@dataclass(frozen=True)
class Step:
    """A line of a derivation: the sign it begins with, its expressions and relations in turn, its reason."""

    sign: str
    chain: tuple[str, ...]
    reason: str
    line: int
    defines: bool = False


@dataclass(frozen=True)
class Chain:
    """A derivation: what binds its names, what it assumes, where it approximates, its steps."""

    bound: tuple[tuple[str, str], ...]
    given: tuple[str, ...]
    near: str
    steps: tuple[Step, ...]


def faults(page: Page, namespace: Mapping[str, Any]) -> list[str]:
    """What the formulas of `page` have wrong, given the namespace its run left; each with file and line."""
    found: list[tuple[int, str]] = []
    try:
        names = vocabulary(page)
    except (Unreadable, AttributeError, TypeError) as error:
        return [f"{page.path}:1: the front matter's `formulas`: {error}"]
    strict = str(page.meta.get("edition", "1")) == "2"
    defined: dict[str, int] = {}
    for block in page.blocks:
        if block.kind == "derivation":
            found += _derivation_faults(block, names, namespace, defined)
        elif block.kind == "prose":
            found += [(block.line + block.text.count("\n", 0, at), why)
                      for at, why in _prose_faults(block.text, names, namespace, strict, block.line, defined)]
    found += [(line, f"no later formula uses the definition of {key}, so nothing would notice a slip in it: bind it to the page's run (`holds with …`)")
              for key, line in defined.items() if strict and key not in names.used]
    return [f"{page.path}:{line}: {why}" for line, why in found]


def vocabulary(page: Page) -> Names:
    """The names that the front matter declares: `formulas: {positive: …, functions: …, random: …, integer: …}`."""
    given = page.meta.get("formulas") or {}
    if unknown := set(given) - {"positive", "functions", "random", "integer"}:
        raise Unreadable(f"{sorted(unknown)} is none of positive, functions, random, integer")

    def listed(kind: str, whole: bool = True) -> frozenset[str]:
        names = (Reader(word, Names()).name() for word in str(given.get(kind, "")).split())
        return frozenset(name[2] if whole or not name[1] else name[0] for name in names) if kind in given else frozenset()

    return Names(listed("positive") | listed("positive", False), Names().integer | listed("integer"), listed("functions"),
                 listed("random") | listed("random", False))


# Formulas in prose

def formulas(text: str) -> Iterator[tuple[int, str, bool, str, str]]:
    """The formulas of a piece of prose: place, TeX, whether displayed, and the kind and text of the comment behind."""
    plain = CODE.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), re.sub(r"<!--.*?-->", lambda m: re.sub(r"[$`]", " ", m[0]), text, flags=re.S))
    for match in MATH.finditer(plain):
        behind = BEHIND.match(text, match.end())
        yield (match.start(), match["display"] or match["inline"], match["display"] is not None,
               behind["kind"] if behind else "", behind["text"].strip() if behind else "")


def vouched(kind: str, text: str) -> bool:
    """Whether the comment behind a formula is about the formula, not about its numbers."""
    return kind == ":" or bool(kind and FORMULA_CLAIM.match(text))


def _prose_faults(text: str, names: Names, namespace: Mapping[str, Any], strict: bool, line: int, defined: dict[str, int]) -> Iterator[tuple[int, str]]:
    for at, tex, displayed, kind, comment in formulas(text):
        try:
            if kind == ":":
                if comment == "definition":
                    for key in _define(tex, names):
                        defined.setdefault(key, line + text.count("\n", 0, at))
                elif comment not in MARKS and not YEAR.search(comment):
                    raise Loose(f"the mark {comment!r} is none of {', '.join(MARKS)}, and no source with its year")
            elif kind and FORMULA_CLAIM.match(comment):
                _hold(tex, comment, names, namespace)
            elif strict and not kind and (displayed or states_a_result(tex)):
                raise Loose("it is loose: put `<!--= holds -->`, `<!--: definition -->`, `<!--: given -->` or its source behind it")
            elif strict and displayed:
                raise Loose(f"the claim {comment!r} says nothing of a formula: `holds …` or `is …`")
        except (Unproved, Unreadable, Loose) as error:
            yield at, f"the formula {_short(tex)}: {error}"


def states_a_result(tex: str) -> bool:
    """Whether an inline formula says that one thing equals another, or lies beyond it, and at least one of the two is computed."""
    if r"\in" in re.findall(r"\\[a-zA-Z]+", tex) or r"\to" in tex:
        return False
    for chain in statements(tex):
        for left, relation, right in zip(chain[::2], chain[1::2], chain[2::2]):
            plain = [_is_name(side) for side in (left, right)]
            if all(plain) or (RELATIONS.get(relation) not in ("=", "~") and any(re.fullmatch(r"\s*-?[\d.]+\s*", side) for side in (left, right))):
                continue
            return True
    return False


def _is_name(tex: str) -> bool:
    """Whether a side is a number or a name, with no operation."""
    tex = SPACE.sub(" ", tex).strip()
    if not tex or re.fullmatch(r"-?\s*(?:[\d.,{}%\\]+|\\infty|\\dots|\\text\{[^}]*\})", tex) or re.fullmatch(r"\(?-?[\d., -]+\)?", tex):
        return True
    try:
        reader = Reader(tex.removeprefix("-"), Names())
        reader.name()
        return not reader.next
    except (ValueError, IndexError):
        return False


def statements(tex: str) -> list[list[str]]:
    """The statements of a formula, each as its sides and relations in turn; a row that begins with a relation goes on with the one before."""
    tex = re.sub(r"\\(?:begin|end)\{(?:aligned|align\*|split|gathered)\}", " ", tex)
    found: list[list[str]] = []
    for row in _split(tex, r"\\\\(?:\[[^\]]*\])?"):
        for piece in _split(re.sub(r"(?<!\\)&", " ", row) if r"\begin" not in row else row, r"\\qquad|\\quad|\\text\{[^{}]*\}|[,;](?=\s*(?:\\quad|\\qquad|\\text|$))"):
            piece = re.sub(r"[\s.,;:]+$", "", piece.strip())
            if not piece:
                continue
            chain = _chain(piece)
            if not chain[0].strip() and found:
                found[-1] += chain[1:]
            else:
                found.append(chain)
    return found


def _chain(tex: str) -> list[str]:
    """The sides and relations of one statement."""
    return [piece.strip() for piece in _split(tex, f"({RELATION})")]


def _split(tex: str, pattern: str) -> list[str]:
    """Split where the pattern stands outside of every bracket."""
    pieces, start, depth = [], 0, 0
    found = {match.start(): match for match in re.finditer(pattern, tex)}
    at = 0
    while at < len(tex):
        if not depth and at in found and found[at].end() > at:
            pieces += [tex[start:at], *([found[at][0]] if found[at].re.groups else [])]
            start = at = found[at].end()
            continue
        if tex.startswith((r"\begin", r"\end"), at):
            depth += 1 if tex.startswith(r"\begin", at) else -1
        elif tex[at] in OPENING:
            depth += 1
        elif tex[at] in CLOSING:
            depth = max(0, depth - 1)
        at += 2 if tex[at] == "\\" and not tex[at + 1 : at + 2].isalpha() else 1
    return [*pieces, tex[start:]]


def _define(tex: str, names: Names) -> list[str]:
    """Take a definition's left sides for names; the keys of what is defined."""
    keys = []
    for chain in statements(tex):
        if len(chain) < 3 or RELATIONS.get(chain[1]) != "=":
            raise Loose("a definition needs a name, an equals sign and what it is")
        keys.append(_name_it(chain[0], chain[-1], names))
        for left, relation, right in list(zip(chain[::2], chain[1::2], chain[2::2]))[1:]:
            proofs.check(_statement(left, relation, right, names))
    return keys


def _name_it(left: str, right: str, names: Names) -> str:
    reader = Reader(left, names)
    if reader.at_expectation():
        names.say(left, Reader(right, names).whole(), python=False)
        return left
    base, _, key = reader.name()
    if reader.next == "(":
        inside = re.sub(r"^[^(]*\(|\)\s*$", "", left)
        arguments = [Reader(word, names).whole() for word in inside.split(",")]
        body = Reader(right, names).whole()
        names.values[key] = lambda *given: body.subs(dict(zip(arguments, given)), simultaneous=True)
        return key
    reader.end()
    names.say(left, Reader(right, names).whole(), python=False)
    return base if base in names.series and key not in names.values else key


def _hold(tex: str, claim: str, names: Names, namespace: Mapping[str, Any]) -> None:
    if claim.startswith("is"):
        value = _value(claim[2:], namespace)
        pieces = [chain for chain in statements(tex) if len(chain) == 1]
        if len(pieces) != 1 or len(statements(tex)) != 1:
            raise Loose("`is` needs a formula without a relation")
        proofs.check((Reader(pieces[0][0], names).whole(), "=", names.value(value)))
        return
    words = re.split(r"\b(with|if|near)\b", claim.strip().removeprefix("holds"))
    if words[0].strip():
        raise Loose(f"the claim {claim!r}: behind `holds` may stand `with NAME = EXPRESSION; …`, `if ASSUMPTION; …`, `near x = 0`")
    said = dict(zip(words[1::2], words[2::2]))
    inner = _bind(names, [_pair(part) for part in said.get("with", "").split(";") if part.strip()], namespace)
    given = [s for part in said.get("if", "").split(";") if part.strip() for s in _given(part, inner)]
    near = _near(said["near"], inner) if "near" in said else None
    held = 0
    for chain in statements(tex):
        for left, relation, right in zip(chain[::2], chain[1::2], chain[2::2]):
            proofs.check(_statement(left, relation, right, inner), given, near)
            held += 1
    if not held:
        raise Loose("it states nothing that could hold: `is EXPRESSION` is for a formula without a relation")


def _pair(text: str) -> tuple[str, str]:
    name, _, expression = text.partition(" = ")
    if not expression.strip():
        raise Loose(f"{text.strip()!r} is no binding: NAME = EXPRESSION")
    return name.strip(), expression.strip()


def _bind(names: Names, pairs: Sequence[tuple[str, str]], namespace: Mapping[str, Any]) -> Names:
    inner = names.child()
    for name, expression in pairs:
        if re.fullmatch(r"\$.*\$", expression):
            inner.say(name, Reader(expression.strip("$"), inner).whole(), python=False)
        else:
            inner.say(name, _value(expression, namespace))
        if not Reader(name, inner).at_expectation():  # that element itself, so that r_j and r_k can both be bound
            base, _, key = Reader(name, inner).name()
            inner.values[key] = inner.series[base][1] if base in inner.series and key not in inner.values else inner.values[key]
    return inner


def _value(expression: str, namespace: Mapping[str, Any]) -> Any:
    try:
        return eval(expression.strip(), dict(namespace))
    except Exception as error:  # whatever it is, the author must see it with its line
        raise Loose(f"{expression.strip()!r} fails: {type(error).__name__}: {error}") from None


def _given(text: str, names: Names) -> list[Statement]:
    chain = _chain(text)
    if len(chain) < 3:
        raise Loose(f"{text.strip()!r} is no assumption")
    return [_statement(*three, names) for three in zip(chain[::2], chain[1::2], chain[2::2])]


def _near(text: str, names: Names) -> tuple[Any, Any]:
    name, _, goal = text.partition("=")
    return Reader(name, names).whole(), Reader(goal, names).whole()


def _statement(left: str, relation: str, right: str, names: Names) -> Statement:
    if relation not in RELATIONS:
        raise Loose(f"{relation!r} is no relation that can be proved")
    return Reader(left, names).whole(), RELATIONS[relation], Reader(right, names).whole()


def _short(tex: str) -> str:
    tex = " ".join(tex.split())
    return f"${tex}$" if len(tex) < 80 else f"${tex[:77]}…$"


# Derivations

def chain(block: Block) -> Chain:
    """A derivation fence, read; raises Loose with its line for what is none."""
    bound: list[tuple[str, str]] = []
    given: list[str] = []
    near, steps = "", []
    lines: list[tuple[int, str]] = []
    for number, text in enumerate(block.text.splitlines()):
        word, _, rest = text.strip().partition(" ")
        if not text.strip():
            continue
        if word in ("with", "if", "near") and not lines:
            if word == "with":
                bound += [_pair(part) for part in rest.split(";") if part.strip()]
            elif word == "if":
                given += [part for part in rest.split(";") if part.strip()]
            else:
                near = rest
        elif lines and not re.match(rf"(?:{RELATION}|\\iff|\\implies)(?![a-zA-Z])", text.strip()) and word != "define":
            lines[-1] = lines[-1][0], f"{lines[-1][1]} {text.strip()}"
        else:
            lines.append((block.line + number, text.strip()))
    for line, text in lines:
        formula, *reasons = re.split(r"(?<!\\)%", text)
        reason = " ".join(part.strip() for part in reasons)
        formula = re.sub(r"[\s.,;]+$", "", formula.strip())
        defines, sign = formula.startswith("define "), ""
        if defines:
            formula = formula.removeprefix("define ")
        elif match := re.match(r"\\(?:iff|implies)(?![a-zA-Z])", formula):
            sign, formula = match[0], formula[match.end() :]
        parts = _chain(formula)
        if not parts[0] and len(parts) > 1 and not sign:
            sign, parts = parts[1], parts[2:]
        steps.append(Step(sign, tuple(parts), reason, line, defines))
    return Chain(tuple(bound), tuple(given), near, tuple(steps))


def rows(block: Block) -> list[tuple[str, str, str, str]]:
    """A derivation's lines as they are shown: left side, sign, right side, reason."""
    shown = []
    for step in chain(block).steps:
        text = " ".join(step.chain)
        if step.sign:
            shown.append(("", step.sign, text, step.reason))
        elif len(step.chain) > 2:
            shown.append((step.chain[0], step.chain[1], " ".join(step.chain[2:]), step.reason))
        else:
            shown.append((text, "", "", step.reason))
    return shown


def _derivation_faults(block: Block, names: Names, namespace: Mapping[str, Any], defined: dict[str, int]) -> Iterator[tuple[int, str]]:
    try:
        derivation = chain(block)
        inner = _bind(names, derivation.bound, namespace)
        given = [s for text in derivation.given for s in _given(text, inner)]
        near = _near(derivation.near, inner) if derivation.near else None
    except (Unproved, Unreadable, Loose) as error:
        yield block.line, f"this derivation: {error}"
        return
    steps = derivation.steps
    if len(steps) < 2:
        yield block.line, "a derivation has two lines at least"
    before: Statement | None = None  # the last statement, where equations follow from one another
    last, shown = "", ""  # the last expression, and as it is typeset
    for number, step in enumerate(steps):
        try:
            if not step.reason:
                raise Loose("no reason stands behind `%`")
            parts = list(step.chain)
            follows = step.sign in STEPS
            if number == 0 and step.sign:
                raise Loose("the first line begins with what is derived, not with a sign")
            if number and not step.sign and not step.defines:
                raise Loose(f"it begins with none of {', '.join(['=', *STEPS])} and the other relations")
            now = _typeset(parts[-1] if step.sign and not follows else " ".join(parts))
            if shown and now == shown:
                raise Loose("it is the same line as the one before")
            shown = _typeset(parts[-1]) if not follows and not (number + 1 < len(steps) and steps[number + 1].sign in STEPS) else now
            if step.defines:
                key = _name_it(parts[0], parts[-1], names)
                _name_it(parts[0], parts[-1], inner)
                defined.setdefault(key, step.line)
                last = parts[-1]
                continue
            if step.sign and not follows:
                parts = [last, step.sign, *parts]
            if len(parts) < 3:
                raise Loose("it states nothing: LEFT = RIGHT")
            said = [_statement(*three, inner) for three in zip(parts[::2], parts[1::2], parts[2::2])]
            if follows:
                if before is None:
                    raise Loose(f"{step.sign} needs an equation in the line before")
                proofs.follows((said[0][0], said[0][1], said[-1][2]) if len(said) == 1 else said[0], before, given, step.sign == r"\iff")
                for statement in said[1:]:
                    proofs.check(statement, given, near)
            elif not (number + 1 < len(steps) and steps[number + 1].sign in STEPS and number == 0):
                for statement in said:  # a first equation from which others follow is given
                    proofs.check(statement, given, near)
            before, last = said[-1] if len(said) == 1 else said[0], parts[-1]
        except (Unproved, Unreadable, Loose) as error:
            last = step.chain[-1]
            yield step.line, f"this step of the derivation: {error}"


def _typeset(tex: str) -> str:
    """A formula without what TeX does not show."""
    return re.sub(r"[\s{}]|\\tfrac|\\dfrac|\\frac", lambda m: "/" if "frac" in m[0] else "", SPACE.sub("", tex))
