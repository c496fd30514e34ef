"""Works are linked where the text mentions them, to their entries under *References*; the theme shows an entry beside the link.

What mentions a work is its authors, all of them or the first "and others", or its title in italics. A lone name does where a year, an opening
bracket, *after*, a verb such as *found* or an *'s* says that the author is meant. Where two works fit, or none, nothing is linked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape

from markdown.extensions.toc import slugify

from . import running

OTHERS = r"(?:and|&amp;)\s+(?:others|(?:his\s+|her\s+|their\s+)?colleagues)|et\s+al\.?(?![\w])"
_INITIALS = r"(?:[A-Z]\.[-–]?\s?)+\s?"
_SURNAME = r"(?:(?:de|van|van\s+der|von)\s)?[^\W\d_a-z][\w’'–-]+(?:\s[^\W\d_a-z][\w’'–-]+)?"
_AUTHOR = rf"{_INITIALS}{_SURNAME}"
_AUTHORS = rf"{_AUTHOR}(?:(?:,|;|\s+and)\s+{_AUTHOR})*(?P<others>\s+and\s+others|\s+et\s+al\.|\s+and\s+the\s[\w\s]+)?"
_WORK = re.compile(rf'(?<![\w.]){_AUTHORS}(?=,\s+(?:<em>|"|&quot;|four\spapers))')
_YEAR = re.compile(r"(?<![\w.:/])(?:19|20)\d\d(?![\w/])")
_ADDRESS = re.compile(r"https?://\S*|arXiv:\S*")
SAYS = "asks|bent|calls|called|derived|derives|found|gave|gives|measured|noted|notes|objects|printed|proved|proves|said|says|saw|showed|shows|suggested|wrote|writes"
OF = "argument|article|book|bound|paper|proof|theorem|thesis"
RULES = ("Nesterov",)  # whose name is most often that of a rule: "Nesterov's loss" is what the rule reaches


@dataclass(frozen=True)
class Work:
    """A work under *References*: its id, its authors' surnames, whether there are more, its year and its title."""

    id: str
    authors: tuple[str, ...]
    others: bool
    year: str
    title: str


def linked(html: str) -> str:
    """A page on which each mention that fits one work is a link to its entry."""
    body, entries = _cut(html)
    entries, works = listed(entries)
    if not works:
        return html
    mention, titles = _mention(works), _titles(works)

    def text(piece: str) -> str:
        return mention.sub(lambda found: _link(fitting(found, works), found[0]), piece)

    def title(piece: str) -> str | None:
        work = titles.get(_plain(piece))
        return _link([work], f"<em>{piece}</em>") if work else None

    return running.changed(body, text, title) + entries


def doubtful(html: str) -> list[str]:
    """What looks like the mention of a work on a finished page, or is that of one of several; and behind a `#`, works that no link leads to."""
    body, entries = _cut(html)
    works = listed(re.sub(r"</?span[^>]*>", "", entries))[1]
    mention, loose = _mention(works), re.compile(rf"\b{_SURNAME}(?:\s+(?:{OTHERS})|(?:,|\s+and)?\s+\(?(?:19|20)\d\d\b\)?)")
    found: list[str] = []

    def text(piece: str) -> str:
        these = {each.start(): each[0] for each in loose.finditer(piece)}
        these |= {each.start(): each[0] for each in mention.finditer(piece) if len(fitting(each, works)) > 1}
        found.extend(" ".join(unescape(each).split()) for _, each in sorted(these.items()))
        return piece

    running.changed(body, text)
    return found + [f"#{work.id}" for work in works if f'href="#{work.id}"' not in body]


def listed(html: str) -> tuple[str, list[Work]]:
    """The HTML of references, in which each work is an element with an id, and the works."""
    works: list[Work] = []

    def entry(item: re.Match[str]) -> str:
        return f"<li>{_entry(item[1], works)}</li>"

    return re.sub(r"<li>(.*?)</li>", entry, html, flags=re.S), works


def _entry(html: str, works: list[Work]) -> str:
    bare = re.sub(r"<a\b[^>]*>|</a>", "", html)
    starts = [found.start() for found in _WORK.finditer(bare)]
    if not starts:
        return html
    # From places in the bare text to places in the HTML; a link that begins there belongs to the work.
    places: list[int] = []
    at = 0
    for piece in re.split(r"(<a\b[^>]*>|</a>)", html):
        if not re.fullmatch(r"<a\b[^>]*>|</a>", piece):
            places += range(at, at + len(piece))
        at += len(piece)
    cuts = []
    for start in starts:
        before = re.search(r"<a\b[^>]*>$", html[:places[start]])
        cuts.append(before.start() if before else places[start])
    pieces = [html[begin:end] for begin, end in zip(cuts, [*cuts[1:], len(html)])]
    made = html[:cuts[0]]
    for at, piece in enumerate(pieces):
        work = _work(piece, works)
        works.append(work)
        tail = re.search(r"[.;,]?(?:\s+[\w\s]*:?)?\s*$", piece) if at + 1 < len(pieces) else None
        whole = piece[:tail.start()] if tail else piece
        made += f'<span id="{work.id}"><span>{whole}</span></span>{piece[len(whole):]}'
    return made


def _work(html: str, works: list[Work]) -> Work:
    bare = re.sub(r"<a\b[^>]*>|</a>", "", html)
    found = _WORK.match(bare)
    assert found is not None
    authors = re.sub(r"\s+(?:and\s+others|et\s+al\.|and\s+the\s[\w\s]+)$", "", found[0])
    names = tuple(re.sub(rf"^{_INITIALS}", "", unescape(name.strip())) for name in re.split(r",|;|\sand\s", authors))
    rest = _ADDRESS.sub("", re.sub(r"<[^>]*>", "", bare[found.end():]))
    year = _YEAR.search(rest)
    title = re.match(r',\s+(?:<em>(.*?)</em>|(?:"|&quot;)(.*?)(?:"|&quot;))', bare[found.end():], re.S)
    stem = name = f"ref-{slugify(names[0], '-')}{f'-{year[0]}' if year else ''}"
    taken = sum(re.fullmatch(rf"{re.escape(stem)}(-\d)?", work.id) is not None for work in works)
    if taken:
        name = f"{stem}-{taken + 1}"
    return Work(name, names, bool(found["others"]), year[0] if year else "", (title[1] or title[2]) if title else "")


def _mention(works: list[Work]) -> re.Pattern[str]:
    """What may be a mention of one of the works; `fitting` says of which."""
    whole = {_joined(work.authors) for work in works if len(work.authors) > 1 and not work.others}
    firsts = "|".join(sorted({_name(work.authors[0]) for work in works}, key=len, reverse=True))
    year = r"(?:,?\s+(?P<year{0}>(?:19|20)\d\d)\b|\s+\((?P<bracket{0}>(?:19|20)\d\d)\))"
    several = "|".join([*sorted(whole, key=len, reverse=True), rf"(?:{firsts})\s+(?:{OTHERS})"])
    lone = (
        rf"(?:{firsts}){year.format(2)}|(?:(?<=\()|(?<=\bafter\s))(?:{firsts})(?=[,;.)])|(?:{firsts})(?=\s+(?:{SAYS})\b)|(?:{firsts})(?='s?\s+(?:{OF})\b)"
        rf"|(?!(?:{'|'.join(RULES)})\b)(?:{firsts})(?='s?\s)"
    )
    return re.compile(rf"(?<![\w’'–-])(?:(?P<several>{several}){year.format(1)}?|(?P<lone>{lone}))(?![\w–-])")


def fitting(mention: re.Match[str], works: list[Work]) -> list[Work]:
    """The works that a mention may be of."""
    year = next((found for name, found in mention.groupdict().items() if found and name.startswith(("year", "bracket"))), "")
    text = mention["several"] or mention["lone"]

    def fits(work: Work) -> bool:
        if year and work.year != year:
            return False
        if mention["lone"]:
            return re.match(rf"{_name(work.authors[0])}\b", text) is not None and (bool(year) or (len(work.authors) == 1 and not work.others))
        if re.search(OTHERS, text):
            return re.match(rf"{_name(work.authors[0])}\s", text) is not None and (len(work.authors) > 2 or work.others)
        return not work.others and re.fullmatch(_joined(work.authors), text) is not None

    return [work for work in works if fits(work)]


def _joined(authors: tuple[str, ...]) -> str:
    """The pattern of all the authors: "A, B and C", "A & B"."""
    *first, last = map(_name, authors)
    return r",\s+".join(first) + rf",?\s+(?:and|&amp;)\s+{last}" if first else last


def _name(surname: str) -> str:
    return r"\s+".join(map(re.escape, surname.replace("’", "'").split()))


def _titles(works: list[Work]) -> dict[str, Work]:
    """The works by titles that are no names of one word, as of a rule."""
    found: dict[str, Work] = {}
    for work in works:
        if len(work.title.split()) > 2:
            found[_plain(work.title)] = work
    return found


def _plain(title: str) -> str:
    return re.sub(r"\W+", " ", unescape(title).lower()).strip()


def _link(works: list[Work], text: str) -> str:
    return f'<a class="footnote-ref" href="#{works[0].id}">{text}</a>' if len(works) == 1 else text


def _cut(html: str) -> tuple[str, str]:
    """The page before its references, and from there on."""
    at = html.find('<h2 id="references"')
    return (html, "") if at < 0 else (html[:at], html[at:])
