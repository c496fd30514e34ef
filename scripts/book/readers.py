"""What a finished page gets for readers who hear it, who go through it by keys, and who print it."""

from __future__ import annotations

import re
from html import unescape
from itertools import pairwise
from urllib.parse import urljoin

_OPAQUE = r'<(?P<kind>script|style|template|textarea|title|svg)\b.*?</(?P=kind)>|</?[a-zA-Z](?:[^<>"]|"[^"]*")*>|<!.*?>'
_HANGUL = r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]"
_WORD = rf"[^\s\"“”()<>]*{_HANGUL}[^\s\"“”()<>]*"
_KOREAN = re.compile(rf"(?P<opaque>{_OPAQUE})|{_WORD}(?:[^\"“”()<>]*\s{_WORD})?", re.S)
_FIGURE = re.compile(r'<figure class="figure" id="(figure-\d+)">')
_SKIP = re.compile(r'(<a href="[^"]*" class="md-skip">[^<]*</a>)')
_ARTICLE = re.compile(r'(<article class="md-content__inner.*?)(<h2 id="references".*?)?(<div class="about")', re.S)
_LINK = re.compile(r'<a\b(?=[^>]*\shref="([^"#][^"]*)")(?![^>]*\s(?:download\b|class="footnote-ref))')  # a word of the glossary is no source


def korean(html: str) -> str:
    """HTML whose Korean words say that they are Korean, so that they are read aloud as such.

    >>> korean('<p>"rho는 friction과 같아" (001), rho</p>')
    '<p>"<span lang="ko">rho는 friction과 같아</span>" (001), rho</p>'
    """
    return _KOREAN.sub(lambda found: found[0] if found["opaque"] else f'<span lang="ko">{found[0]}</span>', html) if re.search(_HANGUL, html) else html


def skips(html: str) -> str:
    """A page from whose start keys lead to its first figure, and from each figure to the next."""
    figures = _FIGURE.findall(html)
    if not figures:
        return html
    following = dict(pairwise(figures))
    html = _SKIP.sub(rf'\1\n<a href="#{figures[0]}" class="md-skip">Skip to the first figure</a>', html, count=1)
    return _FIGURE.sub(lambda here: here[0] + (f'<a href="#{following[here[1]]}" class="skip">Skip to the next figure</a>' if here[1] in following else ""), html)


def notes(html: str, address: str) -> str:
    """A page, of this address, that says on paper where its links to other pages lead: by numbers, and notes at its end."""
    article = _ARTICLE.search(html)
    if article is None:
        return html
    numbers: dict[str, int] = {}

    def numbered(link: re.Match[str]) -> str:
        number = numbers.setdefault(urljoin(address, unescape(link[1])), len(numbers) + 1)
        return f'{link[0]} data-note="{number}"'

    text = _LINK.sub(numbered, article[1])
    listed = "".join(f"<li>{target}</li>" for target in numbers)
    end = f'<div class="notes"><p>Where the links lead:</p><ol>{listed}</ol></div>\n' if numbers else ""
    return html[: article.start()] + text + (article[2] or "") + end + article[3] + html[article.end() :]
