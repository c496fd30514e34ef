"""What stands under a chapter's title: its number, how long it takes to read, and what to read first (`after:` in the front matter)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape

from .page import Page, PageError

CHAPTERS = ("optimization/", "generalization/", "practice/")  # the folders whose pages have numbers
WORDS_A_MINUTE = 200


def minutes(page: Page) -> int:
    """How long its text takes at a reader's usual pace, up to the exercises, in whole fives; code and formulas count as nothing."""
    prose = "\n".join(block.text for block in page.blocks if block.kind == "prose")
    prose = re.split(r"^## (?:Exercises|References)\b", prose, maxsplit=1, flags=re.M)[0]
    prose = re.sub(r"<!--.*?-->|\$\$.*?\$\$|\$[^$]*\$|^\{:.*\}$", " ", prose, flags=re.S | re.M)
    return max(5, 5 * round(len(re.findall(r"[^\W\d_]{2,}", prose)) / WORDS_A_MINUTE / 5))


def line(uri: str, pages: Mapping[str, Page], link: Callable[[str], str]) -> str:
    """The line, as HTML, of the page `uri` among those of the book in their order; raises PageError where `after` names none before it."""
    page = pages[uri]
    numbered = [other for other in pages if other.startswith(CHAPTERS)]
    said = [f"Chapter {numbered.index(uri) + 1}"] if uri in numbered else []
    said.append(f"{minutes(page)} minutes of reading, without formulas and code")
    if first := needs(page.meta.get("after") or [], uri, pages):
        said.append("read first: " + ", ".join(f'<a href="{link(other)}">{escape(str(pages[other].meta["title"]))}</a>' for other in first))
    return f'<p class="chapter" data-search-exclude>{" · ".join(said)}</p>'


def parts(html: str) -> str:
    """A page in which what stands between headings is an element: a browser need not lay out those that are off the screen.

    The headings stay outside: the theme asks where each of them is. From `--length`, in letters, the style sheet has how high an element will be.

    >>> parts("<h1>T</h1><p>a</p>\\n<h2>A</h2>b\\n<h3>B</h3>c")
    '<h1>T</h1><p>a</p>\\n<h2>A</h2><div class="part" style="--length:100">b\\n</div><h3>B</h3><div class="part" style="--length:100">c</div>'
    """
    first, *others = re.split(r"^(<h[23][ >].*?</h[23]>)", html, flags=re.M | re.S)
    return first + "".join(f'{heading}<div class="part" style="--length:{_length(below)}">{below}</div>' for heading, below in zip(others[::2], others[1::2], strict=True))


def _length(html: str) -> int:
    """How many letters a piece of a page has, in hundreds; a figure, which is not there yet, is as high as a thousand."""
    return 100 * max(1, round(len(re.sub(r"<[^>]*>", "", html)) / 100) + 10 * html.count("data-figure"))


def needs(names: Sequence[str], uri: str, pages: Mapping[str, Page]) -> list[str]:
    """The pages that the front matter's `after` names."""
    before = list(pages)[:list(pages).index(uri)]
    found = []
    for name in names:
        at = [other for other in before if other.removesuffix(".md").endswith(f"/{name}")]
        if len(at) != 1:
            raise PageError(f"{pages[uri].path}:1: the front matter's `after` names {name!r}, which is no page before this one")
        found += at
    return found
