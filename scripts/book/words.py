"""The glossary's words: each is linked where a page first says it, and the theme shows beside the link what it means."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from markdown.extensions.toc import slugify

from . import running

PAGE = "glossary.md"
PLAIN = {"ambiguity", "clipping", "friction", "gradient", "overshoot", "pass", "rule", "schedule", "state", "tape", "velocity"}  # words of every page, or with other meanings
_ENTRY = re.compile(r"^(?P<terms>\S.*)\n:   (?P<said>.*)$", re.M)
_LINK = re.compile(r"\[([^\[\]]+)\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Word:
    """An entry of the glossary: its id there, what it explains, and the Markdown of what it says."""

    id: str
    terms: tuple[str, ...]
    said: str


def words(glossary: str) -> list[Word]:
    """The entries of the glossary's Markdown.

    >>> words("Fan-in, fan-out\\n:   Of a layer.")
    [Word(id='term-fan-in', terms=('fan-in', 'fan-out'), said='Of a layer.')]
    """
    found = []
    for entry in _ENTRY.finditer(glossary):
        terms = tuple(_lowered(term) for term in _terms(entry["terms"]))
        found.append(Word(_id(terms[0]), terms, entry["said"]))
    return found


def anchored(html: str) -> str:
    """The glossary's page, each entry with an id."""
    return re.sub(r"<dt>(.*?)</dt>", lambda entry: f'<dt id="{_id(_lowered(_terms(entry[1])[0]))}">{entry[1]}</dt>', html)


def linked(html: str, glossary: list[Word], link: Callable[[str], str]) -> str:
    """A page on which the first mention of each word leads to the glossary, with what those words mean, unseen, at its end.

    `link` makes of a path in docs an address on the page. The theme looks up what it shows by the part of the link's address behind the `#`.
    """
    by_form = {form: word for word in glossary for term in word.terms if term not in PLAIN for form in _forms(term)}
    if not by_form:
        return html
    longest_first = sorted(by_form, key=len, reverse=True)
    pattern = re.compile("(?<![\\w-])(?:" + "|".join(re.escape(form).replace("\\ ", r"\s+") for form in longest_first) + ")(?![\\w-])", re.I)
    seen: dict[str, Word] = {}

    def mention(found: re.Match[str]) -> str:
        word = by_form[" ".join(found[0].lower().split())]
        if word.id in seen:
            return found[0]
        seen[word.id] = word
        return f'<a class="footnote-ref term" href="{link(PAGE)}#{word.id}">{found[0]}</a>'

    at = html.find('<h2 id="references"')
    body, references = (html, "") if at < 0 else (html[:at], html[at:])
    html = running.changed(body, lambda piece: pattern.sub(mention, piece)) + references
    meanings = "".join(f'<p id="{word.id}"><span>{_html(word.said, link)}</span></p>' for word in seen.values())
    return f'{html}\n<div hidden data-search-exclude>{meanings}</div>' if seen else html


def _html(markdown: str, link: Callable[[str], str]) -> str:
    """What an entry says: its words and links."""

    def address(target: str) -> str:
        path, mark, anchor = target.partition("#")
        return f"{link(path)}{mark}{anchor}"

    return _LINK.sub(lambda found: f'<a href="{address(found[2])}">{found[1]}</a>', escape(markdown, quote=False))


def _terms(title: str) -> list[str]:
    """What an entry's title names: "Fan-in, fan-out"; "Vanishing and exploding gradients"."""
    if both := re.fullmatch(r"(\w+) and (\w+) (\w+)", title):
        return [f"{both[1]} {both[3]}", f"{both[2]} {both[3]}"]
    return title.split(", ")


def _forms(term: str) -> list[str]:
    """A term as a sentence may have it."""
    if re.search(r"[^s]s$", term):
        return [term.lower(), term[:-1].lower()]
    for end, plural in (("um", "a"), ("y", "ies"), ("rch", "rches"), ("", "s")):
        if term.endswith(end):
            return [term.lower(), f"{term.removesuffix(end)}{plural}".lower()]
    raise AssertionError


def _lowered(term: str) -> str:
    return term if term.startswith("Hessian") else term[0].lower() + term[1:]


def _id(term: str) -> str:
    return f"term-{slugify(term, '-')}"
