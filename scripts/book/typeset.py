r"""Markdown extension: TeX in `$...$`, `\(...\)`, `$$...$$`, `\[...\]` and `\begin{align*}...` is typeset at build.

KaTeX makes of it HTML for the eye and MathML for a screen reader; what it does not understand fails the build. Its
script is beside this file, its style sheet and fonts are in `docs/`; `scripts/vendor_katex.py` puts them there.
"""

import atexit
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, fromstring

from markdown import Extension, Markdown
from markdown.extensions.toc import slugify, unique
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString
from py_mini_racer import MiniRacer
from pymdownx import arithmatex
from pymdownx.util import escape_chars

KATEX = Path(__file__).parent / "katex/katex.min.js"
TYPESET = r"""
const macros = {"\\qquad": "\\hskip2em\\relax\\allowbreak"};  // what stands behind it can go onto a line of its own
const refuse = ({command}) => { throw new Error(`${command} is not allowed`) };
const typeset = (tex, displayMode) => {
  try { return [katex.renderToString(tex, {displayMode, strict: "error", trust: refuse, macros: {...macros}}), ""] }
  catch (error) { return ["", error.message] }
}"""
# Letters whose fonts do not come with the site: KaTeX sets them all the same, in whatever the browser has.
LEFT_OUT = {
    *("mathit", "textit", "mathscr", "textscr", "mathsf", "textsf", "mathsfit", "mathitsf", "textitsf"),
    *("mathboldsf", "textboldsf", "mathfrak", "textfrak", "mathboldfrak", "textboldfrak"),
}
SHORT = 12  # signs: a formula of so few stays on one line
BRACKET = 20  # signs: so does what stands between brackets; more would not fit on a phone
PIECE = re.compile('(?=<span class="katex-(?:base|newline|tag)">)')
SEEN = re.compile('<var class="katex">.*?<annotation [^>]*>(.*?)</annotation>.*?</var>|<var class="katex rest">.*?</var>', re.S)
SIGN = re.compile('(?<=preserveAspectRatio="xMinYMin slice">)<path d="([^"]*)"/>')
SPACED = re.compile(r" *([+−±×⋅·<>=≠≈≡≤≥≪≫∼∝∈→↦⇒⟹]) *")
ACCENTS = {"^": "\u0302", "~": "\u0303", "ˉ": "\u0304", "˙": "\u0307", "¨": "\u0308", "⃗": "\u20d7"}


@cache  # one V8 for the whole build
def _katex() -> MiniRacer:
    context = MiniRacer()
    atexit.register(context.close)  # left to the garbage collector at exit, it waits for a thread that has ended
    context.eval(KATEX.read_text(encoding="utf-8"))
    context.eval(TYPESET)
    return context


@cache  # a page says $w$ a hundred times
def _set(tex: str, display: bool) -> tuple[str, tuple[str, ...]]:
    """A formula's MathML, and its HTML in pieces between which a line may break."""
    if not tex:
        raise ValueError("bad TeX '': it is empty")
    html, error = _katex().call("typeset", tex, display)
    if error:
        error = error.removeprefix("KaTeX parse error: ").removeprefix("LaTeX-incompatible input and strict mode is set to 'error': ")
        raise ValueError(f"bad TeX {tex!r}: {error.replace(chr(0x332), '')}")
    if letters := LEFT_OUT & {name for names in re.findall('class="([^"]*)"', html) for name in names.split()}:
        raise ValueError(f"bad TeX {tex!r}: the site has no font for \\{min(letters)}")
    html = re.sub(r' xmlns="[^"]*"', "", html.replace("\n", " "))  # HTML needs no namespaces
    _, mathml, html = re.split('(<span class="katex-mathml">.*</math></span>)<span class="katex-html" aria-hidden="true">', html)
    mathml = mathml.replace("<mo>\u2061</mo>", "")  # an invisible sign for "of"; at an index's end it makes the MathML invalid
    return mathml, tuple(_pieces(html.removesuffix("</span>" * (3 if display else 2))))


def _pieces(html: str) -> list[str]:
    """HTML where KaTeX lets a line break: before relations and signs. But a short formula stays whole, and so do short brackets."""
    groups: list[list[str]] = []
    depth, short = 0, _signs(html) <= SHORT
    for piece in PIECE.split(html):
        if not piece:
            continue
        whole = short or (depth > 0 and _signs("".join(groups[-1]) + piece) <= BRACKET)
        if groups and whole and all("katex-base" in each[:25] for each in (groups[-1][-1], piece)):
            groups[-1].append(piece)
        else:
            groups.append([piece])
        if "mspace allowbreak" in piece:
            groups.append(['<span class="aside"></span>'])
        depth = max(0, depth + piece.count('class="mopen') - piece.count('class="mclose'))
    return [group[0] if len(group) == 1 else f'<span class="katex-base">{"".join(group)}</span>' for group in groups]


def _signs(html: str) -> int:
    return len(re.sub("<[^>]*>|\u200b", "", html))


def _var(mathml: str, pieces: Sequence[str]) -> tuple[str, str]:
    """The class of a formula's `<var>`, or of one for a further part of it, and what stands in it."""
    html = f'<span class="katex-html" aria-hidden="true">{"".join(pieces)}</span>'
    return "katex" if mathml else "katex rest", mathml + html


def convert(tex: str, *, display: bool = False) -> str:
    """The HTML of a formula: a `<var class="katex">`. KaTeX makes none itself, so that its end is found without counting."""
    kind, html = _var(*_set(tex.strip(), display))
    html = f'<var class="{kind}">{html}</var>'
    return f'<span class="katex-display">{html}</span>' if display else html


def source(html: str) -> str:
    """HTML with each formula made its TeX again, as a search index wants it: readers look for "theta"."""
    return SEEN.sub(lambda formula: formula[1] or "", html)


def shared(page: str) -> str:
    """A page on which the outline of a long sign, as of a root, is written where it comes first and used wherever it comes again."""
    names: dict[str, str] = {}

    def once(sign: re.Match[str]) -> str:
        if name := names.get(sign[1]):
            return f'<use xlink:href="#{name}"/>'  # the theme sets any href anew where it changes pages without loading them, and cannot
        name = names[sign[1]] = f"sign-{len(names)}"
        return sign[0].replace("<path", f'<path id="{name}"', 1)

    return SIGN.sub(once, page)


def plain(tex: str) -> str:
    """A formula as one line of text, for tables of contents and titles."""
    mathml, _ = _set(tex.strip(), False)
    return " ".join(SPACED.sub(r" \1 ", _plain(fromstring(mathml))).split())


def _plain(node: Element) -> str:
    if node.tag == "annotation":
        return ""
    parts = [_plain(child) for child in node]
    if node.get("accent") and parts[1] in ACCENTS:
        return parts[0] + ACCENTS[parts[1]]
    if node.tag in ("msub", "munder", "msup", "mover", "msubsup", "munderover"):
        marks = ["^"] if node.tag in ("msup", "mover") else ["_", "^"]
        return parts[0] + "".join(part if part in "′″‴" else mark + _grouped(part) for mark, part in zip(marks, parts[1:]))
    if node.tag == "mfrac":
        return "/".join(map(_grouped, parts))
    if node.tag == "msqrt":
        return "√" + _grouped("".join(parts))
    return " " if node.tag == "mspace" else (node.text or "") + "".join(parts)


def _grouped(text: str) -> str:
    """Text in parentheses, unless it needs none."""
    return text if len(text) == 1 or text.isalnum() else f"({text})"


def _element(md: Markdown, mathml: str, pieces: Sequence[str]) -> Element:
    """A formula in Markdown's tree; what KaTeX makes waits in the stash, where nothing takes it for Markdown."""
    kind, html = _var(mathml, pieces)
    formula = Element("var", {"class": kind})
    formula.text = AtomicString(md.htmlStash.store(html))
    return formula


class _Inline(arithmatex.InlineArithmatexPattern):
    def handleMatch(self, m: re.Match[str], data: str) -> Any:
        found, start, end = super().handleMatch(m, data)
        if isinstance(found, Element):
            if "$" in (data[start - 1 : start], data[end : end + 1]) and data[start] == "$":
                raise ValueError(f"$$ {found.text} $$: display math stands in a paragraph of its own")
            if data[start] == "$" and data[end : end + 1].isdigit():
                return None, None, None  # a range of prices: $5-$6
            tex = (found.text or "").strip()
            found = _element(self.md, *_set(tex, False))
            found.set("data-tex", tex)  # for `_Headings`; `_Glue` takes it away
        return found, start, end


class _Block(arithmatex.BlockArithmatexProcessor):
    label = "equation"

    def generic_output(self, parent: Element, math: str) -> None:
        box = SubElement(parent, "div", {"class": "math", "tabindex": "0", "role": "group", "aria-label": self.label})
        SubElement(box, "span", {"class": "katex-display"}).append(_element(self.parser.md, *_set(math.strip(), True)))


class _Headings(Treeprocessor):
    def run(self, root: Element) -> None:
        """Give the table of contents, and the anchor, plain text where a heading has math."""
        used = {node.get("id", "") for node in root.iter()}
        for heading in root.iter():
            if re.fullmatch("h[1-6]", str(heading.tag)) and any("data-tex" in node.attrib for node in heading.iter()):
                label = _heading(heading)
                heading.attrib.setdefault("data-toc-label", label)
                if "id" not in heading.attrib:
                    heading.set("id", unique(slugify(label, "-"), used))


def _heading(node: Element) -> str:
    """A heading's text with its math made plain."""
    if tex := node.get("data-tex"):
        return plain(tex)
    return (node.text or "") + "".join(_heading(child) + (child.tail or "") for child in node)


class _Glue(Treeprocessor):
    def run(self, root: Element) -> None:
        """Keep a formula on one line with what touches it: its comma, the bracket before it, the "-th" behind it."""
        for parent in list(root.iter()):
            children, parent[:] = list(parent), []
            for node in children:
                tex = node.attrib.pop("data-tex", None)
                before = (parent[-1].tail if len(parent) else parent.text) or ""
                lead, tail = re.findall(r"[(\[“‘]*$", before)[0], re.findall("^[^\\s\x02]*", node.tail or "")[0]
                if tex is None or not lead + tail:
                    parent.append(node)
                    continue
                if len(parent):
                    parent[-1].tail = before.removesuffix(lead)
                else:
                    parent.text = before.removesuffix(lead)
                parent.extend(self.glued(lead, *_set(tex, False), tail))
                parent[-1].tail = (node.tail or "").removeprefix(tail)

    def glued(self, lead: str, mathml: str, pieces: Sequence[str], tail: str) -> list[Element]:
        """A formula with the text around it. A line may break between its pieces, not at its ends.

        No one element does that in every browser: the first and the last piece of a long formula get elements of their own.
        """
        if len(pieces) == 1:
            return [self.nobr(lead, mathml, pieces, tail)]
        first, last = 1 if lead else 0, len(pieces) - (1 if tail else 0)
        parts = [self.nobr(lead, mathml, pieces[:1], "")] if lead else []
        if first < last:
            parts.append(_element(self.md, "" if lead else mathml, pieces[first:last]))
        return [*parts, self.nobr("", "", pieces[-1:], tail)] if tail else parts

    def nobr(self, lead: str, mathml: str, pieces: Sequence[str], tail: str) -> Element:
        glued = Element("span", {"class": "nobr"})
        glued.text = lead
        formula = _element(self.md, mathml, pieces)
        formula.tail = tail
        glued.append(formula)
        return glued


class TypesetExtension(Extension):
    """The extension; `label` is what a screen reader calls the box of a display formula."""

    def __init__(self, **settings: Any) -> None:
        self.config = {"label": ["equation", "accessible name of a display formula's box"]}
        super().__init__(**settings)

    def extendMarkdown(self, md: Markdown) -> None:
        """Find math as pymdownx.arithmatex does, with its patterns and at its priorities."""
        md.registerExtension(self)
        escape_chars(md, ["$"])
        settings = {"generic": True, "tex_inline_wrap": ["", ""]}
        inline = _Inline(f"(?:{arithmatex.RE_SMART_DOLLAR_INLINE}|{arithmatex.RE_BRACKET_INLINE})", settings)
        inline.md = md
        md.inlinePatterns.register(inline, "math-inline", 189.9)
        patterns = arithmatex.RE_DOLLAR_BLOCK, arithmatex.RE_BRACKET_BLOCK, arithmatex.RE_TEX_BLOCK
        block = _Block(rf"(?s)^(?:{'|'.join(patterns)})[ ]*$", settings, md)
        block.label = self.getConfig("label")
        md.parser.blockprocessors.register(block, "math-block", 79.9)
        md.treeprocessors.register(_Headings(md), "math-headings", 19)
        md.treeprocessors.register(_Glue(md), "math-glue", 18)


def makeExtension(**settings: Any) -> TypesetExtension:
    """What Python-Markdown calls."""
    return TypesetExtension(**settings)
