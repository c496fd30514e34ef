"""The map of what to read first, drawn from each page's `after`: links in rows, arrows between them; on a phone a list that says it in words.

Measures are pixels of a page whose `rem` is 20 of them, as the theme has it; the style sheet gives boxes and rows these sizes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from random import Random

from . import chapters
from .page import Page

PLACE = re.compile(r'<div class="map">\s*</div>')
WIDTH, BOX, HIGH, ROW = 736, 100, 46, 80  # of the drawing, of a box, from row to row
ABREAST = 6  # boxes in a row
STARTS = 20  # orders from which the best one is sought
ROOM, BESIDE = 10, 8  # that an arrow takes on its way past a row, and between it and what stands beside it

Needs = Mapping[str, list[str]]


@dataclass
class Stop:
    """A place in a row: a box, or where an arrow passes on its way to a later row."""

    row: int
    above: list[Stop]
    below: list[Stop]
    half: float
    x: float = 0.0


def needs(pages: Mapping[str, Page]) -> dict[str, list[str]]:
    """What each page needs that needs something or is needed, in the book's order; not what follows from the rest."""
    said = {uri: chapters.needs(page.meta.get("after") or [], uri, pages) for uri, page in pages.items()}
    behind: dict[str, set[str]] = {}
    for uri, first in said.items():
        behind[uri] = set(first).union(*(behind[other] for other in first))
    needed = {other for first in said.values() for other in first}
    return {
        uri: [other for other in first if not any(other in behind[another] for another in first)]
        for uri, first in said.items() if first or uri in needed
    }


def names(page: str) -> dict[str, str]:
    """What the table of chapters on a page of Markdown calls each.

    >>> names("| [Speed](engines/a.md), [on a GPU](engines/b.md) | what |")
    {'engines/a.md': 'Speed', 'engines/b.md': 'On a GPU'}
    """
    cells = re.findall(r"^\| (\[.*?) \|", page, re.M)
    return {uri: name[0].upper() + name[1:] for cell in cells for name, uri in re.findall(r"\[([^\]]+)\]\(([^)#]+)\)", cell)}


def drawn(pages: Mapping[str, Page], names: Mapping[str, str], link: Callable[[str], str]) -> str:
    """The map as HTML; `names` are short ones for pages, `link` makes of a page's path its address."""
    first = needs(pages)
    numbered = [uri for uri in pages if uri.startswith(chapters.CHAPTERS)]
    name = {uri: names.get(uri) or str(pages[uri].meta["title"]) for uri in first}
    stops, arrows = _laid(first)
    height = max(stop.row for stop in stops.values()) * ROW + HIGH
    items = []
    for uri, stop in stops.items():
        number = f"<b>{numbered.index(uri) + 1}</b> " if uri in numbered else ""
        after = f'<span class="after">, after {" and ".join(escape(name[other]) for other in first[uri])}</span>' if first[uri] else ""
        place = f"left:{_short((stop.x - BOX / 2) / 20)}rem;top:{_short(stop.row * ROW / 20)}rem"
        items.append(f'<li style="{place}"><a href="{link(uri)}">{number}{escape(name[uri])}{after}</a></li>')
    return (
        '<nav class="map" aria-label="What to read first" data-search-exclude>'
        f'<svg class="arrows" viewBox="0 0 {WIDTH} {height}" aria-hidden="true"><path d="{arrows}"/></svg>'
        f"<ol>{''.join(items)}</ol></nav>"
    )


def rows(first: Needs) -> dict[str, int]:
    """The row of each page: below all that it needs, and no row is too long.

    >>> rows({"a": [], "b": ["a"], "c": ["a", "b"]})
    {'a': 0, 'b': 1, 'c': 2}
    """
    found: dict[str, int] = {}
    for uri, above in first.items():
        row = max((found[other] + 1 for other in above), default=0)
        while list(found.values()).count(row) == ABREAST:
            row += 1
        found[uri] = row
    return found


def _laid(first: Needs) -> tuple[dict[str, Stop], str]:
    """Where the boxes stand, and the arrows' path."""
    stops = {uri: Stop(row, [], [], BOX / 2) for uri, row in rows(first).items()}
    ways: list[list[Stop]] = []
    for uri, above in first.items():
        for other in above:
            way = [stops[other], *(Stop(row, [], [], ROOM / 2) for row in range(stops[other].row + 1, stops[uri].row)), stops[uri]]
            for here, there in pairwise(way):
                here.below.append(there)
                there.above.append(here)
            ways.append(way)
    every = {id(stop): stop for stop in [*stops.values(), *(stop for way in ways for stop in way)]}.values()
    levels = [[stop for stop in every if stop.row == row] for row in range(max(stop.row for stop in every) + 1)]
    best, fewest = levels, len(ways) ** 2
    for start in range(STARTS):
        for level in levels:
            Random(start).shuffle(level)
            _placed(level)
        for sweep in range(8):
            for level in levels if sweep % 2 else reversed(levels):
                level.sort(key=lambda stop: _mean(stop.above if sweep % 2 else stop.below) or stop.x)
                _placed(level)
            for level in levels:
                _exchanged(level, levels)
            if (found := _crossings(levels)) < fewest:
                best, fewest = [list(level) for level in levels], found
    for level in best:
        _placed(level)
    for _ in range(24):  # in that order, between what is above and what is below
        for level in best:
            _spread(level, {id(stop): _mean(stop.above + stop.below) or stop.x for stop in level})
    return stops, "".join(map(_arrow, ways))


def _exchanged(level: list[Stop], levels: list[list[Stop]]) -> None:
    """Exchange neighbours in a row where arrows then cross less often."""
    for at in range(1, len(level)):
        before = _crossings(levels)
        for _ in range(2):  # and back, where it is no better
            level[at - 1 : at + 1] = reversed(level[at - 1 : at + 1])
            _placed(level)
            if _crossings(levels) < before:
                break


def _placed(level: list[Stop]) -> None:
    """Put a row's stops at equal distances."""
    for at, stop in enumerate(level):
        stop.x = WIDTH * (at + 1) / (len(level) + 1)


def _crossings(levels: list[list[Stop]]) -> int:
    """How often arrows cross between rows."""
    found = 0
    for level in levels:
        ends = [there.x for stop in level for there in sorted(stop.below, key=lambda there: there.x)]
        found += sum(left > right for at, left in enumerate(ends) for right in ends[at + 1:])
    return found


def _mean(stops: list[Stop]) -> float:
    return sum(stop.x for stop in stops) / len(stops) if stops else 0.0


def _spread(level: list[Stop], wanted: Mapping[int, float]) -> None:
    """Put a row's stops as near as may be to where they want to be, in their order, none over another."""
    offsets = [0.0]
    for left, right in pairwise(level):
        offsets.append(offsets[-1] + left.half + right.half + BESIDE)
    low, high = level[0].half, WIDTH - offsets[-1] - level[-1].half
    groups: list[list[float]] = []  # of stops that touch: what each would have the first of the row's
    for stop, offset in zip(level, offsets):
        groups.append([min(max(wanted[id(stop)] - offset, low), high)])
        while len(groups) > 1 and sum(groups[-2]) / len(groups[-2]) > sum(groups[-1]) / len(groups[-1]):
            last = groups.pop()
            groups[-1] += last
    places = [sum(group) / len(group) for group in groups for _ in group]
    for stop, place, offset in zip(level, places, offsets):
        stop.x = place + offset


def _arrow(way: list[Stop]) -> str:
    x, y = way[0].x, way[0].row * ROW + HIGH
    path = f"M{_short(x)} {y}"
    for stop in way[1:]:
        top = stop.row * ROW
        path += f"C{_short(x)} {y + 18} {_short(stop.x)} {top - 18} {_short(stop.x)} {top}"
        x, y = stop.x, top
        if stop is not way[-1]:
            y += HIGH
            path += f"V{y}"
    return f"{path}m-3 -5l3 5l3 -5"


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
