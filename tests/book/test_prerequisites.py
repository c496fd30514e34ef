"""The map of what to read first: what it leaves out, where its boxes stand, and the book's own."""

import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from book import prerequisites
from book.page import Page
from book.prerequisites import ABREAST, BOX, PLACE, WIDTH, drawn, names, needs, rows

DOCS = Path(__file__).parents[2] / "docs"
HOME = (DOCS / "index.md").read_text(encoding="utf-8")


class Loader(yaml.SafeLoader):
    """Of mkdocs.yml, whose tags do not matter here."""


Loader.add_multi_constructor("", lambda loader, suffix, node: None)


def paths(nav):
    return [nav] if isinstance(nav, str) else [path for entry in (nav.values() if isinstance(nav, dict) else nav) for path in paths(entry)]


def book(**after):
    return {f"optimization/{name}.md": Page(Path(f"{name}.md"), {"title": name.title(), "after": first}, "", ()) for name, first in after.items()}


@pytest.fixture(scope="module")
def real():
    nav = yaml.load((DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"), Loader)["nav"]
    return {path: Page.read(DOCS / path) for path in paths(nav) if (DOCS / path).exists()}


def test_what_follows_from_the_rest_has_no_arrow_and_what_stands_alone_no_box():
    pages = book(a=[], b=["a"], c=["a", "b"], alone=[])
    assert needs(pages) == {"optimization/a.md": [], "optimization/b.md": ["optimization/a.md"], "optimization/c.md": ["optimization/b.md"]}


def test_rows_are_below_what_they_need_and_not_too_long():
    first = {"a": [], **{f"b{n}": ["a"] for n in range(ABREAST + 2)}, "c": ["b0"]}
    found = rows(first)
    assert [list(found.values()).count(row) for row in range(3)] == [1, ABREAST, 3]
    assert all(found[other] < found[uri] for uri, above in first.items() for other in above)


def test_the_books_map(real):
    html = drawn(real, names(HOME), lambda uri: f"to/{uri}")
    first = needs(real)
    assert {uri for uri in real if real[uri].meta.get("after")} <= set(first)
    assert [uri.removeprefix("to/") for uri in re.findall(r'href="([^"]*)"', html)] == list(first), "in the order of the book"
    assert '<li style="' in html and ">1</b> Gradient descent</a>" in html
    assert "<b>6</b> Adam<span class=\"after\">, after Momentum and RMSProp</span>" in html
    # An arrow for each need in both drawings, with a head.
    for drawing in re.findall(r'<path d="([^"]*)"', html):
        assert drawing.count("M") == drawing.count("m") == sum(map(len, first.values()))
    # Boxes within the drawing, none over another.
    places = sorted((float(top), float(left) * 20) for left, top in re.findall(r"left:([\d.]+)rem;top:([\d.]+)rem", html))
    assert len(places) == len(first) and min(left for _, left in places) >= 0 and max(left for _, left in places) <= WIDTH - BOX + 0.5
    assert all(there[1] - here[1] >= BOX for here, there in pairwise(places) if here[0] == there[0])
    assert html == drawn(real, names(HOME), lambda uri: f"to/{uri}")


def test_arrows_that_pass_a_row_pass_beside_its_boxes(real):
    stops, _ = prerequisites._laid(needs(real))
    seen, todo = {}, list(stops.values())
    while todo:
        stop = todo.pop()
        if id(stop) not in seen:
            seen[id(stop)] = stop
            todo += stop.above + stop.below
    assert len(seen) > len(stops)
    assert prerequisites._crossings([sorted((stop for stop in seen.values() if stop.row == row), key=lambda stop: stop.x) for row in range(7)]) == 0
    assert all(stop.half <= stop.x <= WIDTH - stop.half for stop in seen.values())
    for one in seen.values():
        for other in seen.values():
            if one is not other and one.row == other.row:
                assert abs(one.x - other.x) > one.half + other.half


def test_arrows_cross_only_where_they_must():
    crossed = book(a=[], b=["a"], c=["a"], d=["c"], e=["b"], f=["d"], g=["e"])
    stops, _ = prerequisites._laid(needs(crossed))
    row = [sorted((stop.x, uri) for uri, stop in stops.items() if stop.row == n) for n in (1, 2, 3)]
    below = dict(zip("bcde", "edfg"))
    assert [[below[uri[13]] for _, uri in each] for each in row[:2]] == [[uri[13] for _, uri in each] for each in row[1:]]


def test_home_has_a_place_for_it_that_downloads_leave_out():
    assert len(PLACE.findall(HOME)) == 1
    assert re.search(r'^<div class="map">\n</div>$', HOME, re.M)
    for path in names(HOME):
        assert (DOCS / path).exists() or path.startswith("api/")
