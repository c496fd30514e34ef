"""The running text of a rendered page: what lies outside of links, code, formulas, headings and quotations."""

from __future__ import annotations

import re
from collections.abc import Callable

# None of these stands in one of its own kind, so that the next closing tag is its own.
CLOSED = r"<(?P<kind>a|blockquote|button|code|h[1-6]|pre|script|style|summary|svg|th|var)\b.*?</(?P=kind)>|<p class=\"admonition-title\">.*?</p>"
TITLE = r"<em>(?P<title>[^<]*)</em>"
TAG = r"<[^>]*>"
_PARTS = re.compile(rf"(?P<closed>{CLOSED})|(?P<titled>{TITLE})|(?P<tag>{TAG})|(?P<text>[^<]+)", re.S)


def changed(html: str, text: Callable[[str], str], title: Callable[[str], str | None] = lambda title: None) -> str:
    """The HTML with each piece of running text as `text` has it; what stands in `<em>` may be had as a whole from `title`.

    >>> changed("<h2>a</h2><p>a <a>a</a> <em>a</em>", str.upper)
    '<h2>a</h2><p>A <a>a</a> <em>A</em>'
    """

    def part(found: re.Match[str]) -> str:
        if found["text"]:
            return text(found["text"])
        if found["titled"]:
            whole = title(found["title"])
            return f"<em>{text(found['title'])}</em>" if whole is None else whole
        return found[0]

    return _PARTS.sub(part, html)
