"""An executed page as Markdown."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field
from textwrap import indent
from typing import Any

from mkdocs.structure.files import Files

from book import formulas, kernel
from book.page import Block
from reference_impl.engines.outputs import DERIVATION, FIGURE

SHOWN = (FIGURE, "text/markdown", "text/latex", "text/html", "text/plain")  # the first that an output has
PRINTED = "{ .text .output .no-copy }"
# Comments (claims among them) go; code, where `<!--` is text, stays.
COMMENT = re.compile(
    r"(^ *(`{3,}|~{3,})[^\n]*\n.*?^ *\2[`~]*[ ]*$|(?<!`)(`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)\3(?!`))"
    r"|^[ \t]*<!--(?:(?!-->).)*-->[ \t]*\n|<!--.*?-->",
    re.M | re.S,
)
SIDES = re.compile(r"(?P<on>[Oo])n the (?P<of>left|right)\b|(?:^|(?<=[*.;:] ))(?P<side>[Ll]eft|[Rr]ight)(?=[,:] )")  # of a figure, in its caption
DERIVATION_FENCE = re.compile(r"^(?P<indent> *)```derivation\n(?P<text>.*?)^(?P=indent)```[ ]*$", re.M | re.S)


@dataclass
class Built:
    """What an executed page has beside its Markdown."""

    files: Files  # of the site, for links
    figures: list[str] = field(default_factory=list)
    card: bytes = b""  # the picture for links to the page, a PNG
    alt: str = ""  # what it shows


def pieces(text: str, cells: Sequence[Block]) -> list[str]:
    """The Markdown before, between and after the cells, each cell with its fences taken out."""
    lines = text.splitlines()
    at = lines.index("---", 1) + 1  # behind the front matter, which every notebook page has
    pieces = []
    for cell in cells:
        pieces.append("\n".join(lines[at : cell.line - 2]))
        marks = re.match("[`~]+", lines[cell.line - 2])
        assert marks is not None
        at = next(n for n in range(cell.line - 1, len(lines)) if lines[n].rstrip() == marks[0]) + 1
    return [*pieces, "\n".join(lines[at:])]


def prose(text: str) -> str:
    """Markdown between cells, without its comments."""
    return DERIVATION_FENCE.sub(_chain, COMMENT.sub(r"\1", text)) + "\n\n"


def cell(block: Block, outputs: kernel.Outputs, result: Built) -> str:
    """A cell as Markdown: its code, then what it printed; where it drew a figure or says `fold`, the code last and folded."""
    code = _fence("python", block.text)
    before = len(result.figures)
    shown = "\n\n".join(_output(output, result) for output in outputs)
    shown = shown.replace(f"\n```\n\n``` {PRINTED}\n", "\n")  # what is printed and what is returned: one block
    if len(result.figures) > before:
        return f"{shown}\n\n{_folded('Code for this figure', code)}"
    if "fold" in block.info.split():
        return f"{shown}\n\n{_folded('Code', code)}"
    return f"{code}\n\n{shown}"


def _output(output: dict[str, Any], result: Built) -> str:
    """One output as Markdown."""
    if output["output_type"] == "stream":
        return _fence(PRINTED, kernel.ANSI.sub("", output["text"]).rstrip())
    data = output["data"]
    if FIGURE in data:
        return _figure(data[FIGURE], result)
    if DERIVATION in data:
        return _derivation(data[DERIVATION])
    if any(kind.startswith("image/") for kind in data):
        return ""  # without a description: the run says so
    kind = next((kind for kind in SHOWN if kind in data), "text/plain")
    text = data.get(kind, "")
    if kind == "text/plain":
        return _fence(PRINTED, text)
    if kind == "text/latex":  # SymPy's is one formula, meant to stand alone
        return re.sub(r"^\$(?:\\displaystyle\s)?([^$]*)\$$", r"$$\n\1\n$$", text.strip())
    if kind == "text/html":
        result.figures.append(f'<div class="output-html">{text}</div>')
        return f'<div data-figure="{len(result.figures)}"></div>'
    return str(text)


def _figure(figure: dict[str, Any], result: Built) -> str:
    """A figure as Markdown: its caption is the page's text, its drawing is put in at the end."""
    result.figures.append("")
    number = len(result.figures)
    if card := figure.get("card"):
        result.card, result.alt = b64decode(card), figure["alt"]
    drawings = [_own_ids(figure["svg"], f"f{number}w-", "wide")]
    if figure["narrow"]:
        drawings.append(_own_ids(figure["narrow"], f"f{number}n-", "narrow"))
        result.figures[-1] = f'<div class="plot">{"".join(drawings)}</div>'
    else:  # it scrolls on a small screen, so the keyboard must reach it
        result.figures[-1] = f'<div class="plot plot--scroll" tabindex="0">{drawings[0]}</div>'
    if play := figure.get("play"):
        result.figures[-1] += _explorable(play, number)
    caption = COMMENT.sub(r"\1", figure["caption"])
    if figure["narrow"]:
        caption = SIDES.sub(_stacked, caption)
    return (
        f'<figure class="figure" id="figure-{number}" markdown="block">\n<div data-figure="{number}"></div>\n'
        f'<figcaption markdown="span">{caption}</figcaption>\n</figure>'
    )


def _stacked(side: re.Match[str]) -> str:
    """A side, with what it is called where panels stand one below the other: the style sheet shows it there."""
    on, word = side["on"], side["of"] or side["side"]
    name = "first" if word.lower() == "left" else "last"
    stacked = f"{'I' if on == 'O' else 'i'}n the {name} panel" if on else name.title() if word.istitle() else name
    return f'<span class="side" data-stacked="{stacked}">{side[0]}</span>'


def _explorable(play: dict[str, Any], number: int) -> str:
    """What the site's script needs to let the reader steer a figure: its numbers, and its functions as they were printed."""
    name = f"play-{play['name'] or number}"
    data = json.dumps({key: value for key, value in play.items() if key not in ("name", "sources")}, ensure_ascii=False, separators=(",", ":"))
    script = f"(window.explorables ??= {{}})[{json.dumps(name)}] = {{...{data},\nfunctions: [{', '.join(play['sources'])}]}}"
    script = script.replace("</", "<\\/")
    return f'<script>{script}</script>\n<div class="explore" id="{name}"></div>'


def _chain(match: re.Match[str]) -> str:
    """A derivation fence as the grid that readers see."""
    block = Block("derivation", match["text"], 1)
    return indent(_derivation([list(row) for row in formulas.rows(block)]), match["indent"])


def _derivation(rows: list[list[str]]) -> str:
    """A derivation as Markdown: a grid, so that on a phone the reasons can stand below the expressions."""
    equations = any(sign in formulas.STEPS for _, sign, _, _ in rows)  # they are in line at no sign: each takes the whole width
    cells = []
    for left, sign, expression, why in rows:
        whole = equations and (left or sign in formulas.STEPS)
        cells += [
            "<div></div>" if whole or not left else f'<div markdown="span">$\\displaystyle {left}$</div>',
            f'<div class="equation" markdown="span">$\\displaystyle {" ".join(filter(None, (left, sign, expression)))}$</div>' if whole
            else f'<div markdown="span">$\\displaystyle {{}}{sign} {expression}$</div>',
            f'<div markdown="span">{why}</div>',
        ]
    opening = '<div class="derivation" tabindex="0" role="group" aria-label="derivation" markdown="block">'
    return "\n".join([opening, *cells, "</div>"])


def notice(faults: Sequence[str]) -> str:
    """What is wrong with a page, for its top."""
    return '!!! danger "This page does not hold"\n\n' + indent(_fence("{ .text .no-copy }", "\n".join(faults)), "    ")


def _own_ids(svg: str, prefix: str, name: str) -> str:
    """Number a drawing's ids behind a prefix, which makes them unique on the page, and name its class."""
    names: dict[str, str] = {}
    svg = re.sub(r'( id="|href="#|url\(#)([^")]+)', lambda match: match[1] + names.setdefault(match[2], f"{prefix}{len(names)}"), svg)
    return svg.replace("<svg ", f'<svg class="{name}" ', 1)


def _fence(info: str, text: str) -> str:
    """A fenced block whose fence is longer than any in the text."""
    marks = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    return f"{marks}{' ' if info.startswith('{') else ''}{info}\n{text.expandtabs()}\n{marks}"


def _folded(title: str, text: str) -> str:
    return f'??? code "{title}"\n\n' + "\n".join(f"    {line}" if line else "" for line in text.split("\n"))
