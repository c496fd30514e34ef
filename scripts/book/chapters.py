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
    """A page whose sections, each with its heading, are elements: a browser need not lay out those that are off the screen.

    >>> parts("<h1>T</h1><p>a</p>\\n<h2>A</h2>b\\n<h2>B</h2>c")
    '<h1>T</h1><p>a</p>\\n<section class="part"><h2>A</h2>b\\n</section><section class="part"><h2>B</h2>c</section>'
    """
    first, *others = re.split(r"^(?=<h2[ >])", html, flags=re.M)
    return first + "".join(f'<section class="part">{part}</section>' for part in others)


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
