r"""Markdown extension: TeX in `$...$`, `\(...\)`, `$$...$$`, `\[...\]` and `\begin{align*}...` becomes MathML at build."""

import re
from typing import Any
from xml.etree.ElementTree import Element

from markdown import Extension, Markdown
from markdown.treeprocessors import Treeprocessor
from markdown.util import AtomicString
from pymdownx import arithmatex
from pymdownx.util import escape_chars

from .tex import element, plain


def _math(tex: str, **options: Any) -> Element:
    """The formula, its text marked as no Markdown."""
    formula = element(tex, **options)
    for node in formula.iter():
        node.text = AtomicString(node.text) if node.text else node.text
    return formula


class _Inline(arithmatex.InlineArithmatexPattern):
    def handleMatch(self, m: re.Match[str], data: str) -> Any:
        found, start, end = super().handleMatch(m, data)
        if isinstance(found, Element):
            if "$" in (data[start - 1 : start], data[end : end + 1]) and data[start] == "$":
                raise ValueError(f"$$ {found.text} $$: display math stands in a paragraph of its own")
            if data[start] == "$" and data[end : end + 1].isdigit():
                return None, None, None  # a range of prices: $5-$6
            found = _math(found.text or "")
        return found, start, end


class _Block(arithmatex.BlockArithmatexProcessor):
    label = "equation"

    def generic_output(self, parent: Element, math: str) -> None:
        parent.append(_math(math, display=True, label=self.label))


class _Headings(Treeprocessor):
    def run(self, root: Element) -> None:
        """Give the table of contents text where a heading has math."""
        for heading in root.iter():
            if re.fullmatch("h[1-6]", str(heading.tag)) and heading.find(".//math") is not None:
                heading.attrib.setdefault("data-toc-label", _heading(heading))


class _Glue(Treeprocessor):
    def run(self, root: Element) -> None:
        """Keep a formula and the punctuation behind it on one line."""
        for parent in list(root.iter()):
            for at, node in enumerate(parent):
                if node.tag == "math" and (mark := re.match(r"[.,;:!?)\]’”]+", node.tail or "")):
                    parent[at] = glued = Element("span", {"class": "nobr"})
                    glued.append(node)
                    glued.tail, node.tail = (node.tail or "")[mark.end():], mark[0]


def _heading(node: Element) -> str:
    """A heading's text with its math made plain."""
    if node.tag == "math":
        return " ".join(plain(node).split())
    return (node.text or "") + "".join(_heading(child) + (child.tail or "") for child in node)


class MathMLExtension(Extension):
    """The extension; `label` is what a screen reader calls the box of a display formula."""

    def __init__(self, **settings: Any) -> None:
        self.config = {"label": ["equation", "accessible name of a display formula's box"]}
        super().__init__(**settings)

    def extendMarkdown(self, md: Markdown) -> None:
        """Find math as pymdownx.arithmatex does, with its patterns and at its priorities."""
        md.registerExtension(self)
        escape_chars(md, ["$"])
        md.block_level_elements.remove("math")  # or Markdown puts a line break, that is a space, behind it
        settings = {"generic": True, "tex_inline_wrap": ["", ""]}
        inline = f"(?:{arithmatex.RE_SMART_DOLLAR_INLINE}|{arithmatex.RE_BRACKET_INLINE})"
        md.inlinePatterns.register(_Inline(inline, settings), "math-inline", 189.9)
        patterns = arithmatex.RE_DOLLAR_BLOCK, arithmatex.RE_BRACKET_BLOCK, arithmatex.RE_TEX_BLOCK
        block = _Block(rf"(?s)^(?:{'|'.join(patterns)})[ ]*$", settings, md)
        block.label = self.getConfig("label")
        md.parser.blockprocessors.register(block, "math-block", 79.9)
        md.treeprocessors.register(_Headings(md), "math-headings", 19)
        md.treeprocessors.register(_Glue(md), "math-glue", 18)


def makeExtension(**settings: Any) -> MathMLExtension:
    """What Python-Markdown calls."""
    return MathMLExtension(**settings)
