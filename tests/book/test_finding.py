"""The names that readers use, in the search's index; and what the search makes of them and of their misspellings."""

import json
import re
from pathlib import Path

import py_mini_racer
import pytest
from book import finding
from markdown.extensions.toc import slugify

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / "docs/javascripts/search.js").read_text(encoding="utf-8")

DOCS = [
    {"location": "momentum/", "title": "Momentum", "text": "A ball.", "also": ["momentum", "모멘텀", "heavy ball"]},
    {"location": "momentum/#values", "title": "Which values?", "text": "", "also": ["why 0.9", "default momentum"]},
    {"location": "momentum/#bump", "title": "Over a bump", "text": "", "also": ["get over a local minimum"]},
    {"location": "nesterov/", "title": "Nesterov's gradient", "text": "The method of Nesterov.", "also": ["nesterov momentum"]},
    {"location": "norm/", "title": "Batch norm", "text": "", "also": ["batch norm", "normalization"]},
    {"location": "norm/#backward", "title": "Backward", "text": "", "also": ["batch norm backward"]},
    {"location": "sgd/", "title": "Gradient descent", "text": "", "also": ["경사하강법", "local minima"]},
    {"location": "api/", "title": "Reference", "text": "momenta momenta momenta", "boost": 0.1},
]


@pytest.fixture(scope="module")
def worker():
    """The script as the browser's worker, before a search of the theme's that tells what it was asked, and finds one page."""
    with py_mini_racer.MiniRacer() as context:
        context.eval("""
            var self = globalThis, location = { search: "?by=theirs.js" }, posted = [], heard = [], took = []
            class URLSearchParams { get() { return "theirs.js" } }
            class MessageEvent { constructor(type, { data }) { this.data = data } }
            self.addEventListener = (type, listener) => heard.push(listener)
            self.postMessage = message => posted.push(message)
            self.dispatchEvent = event => {
              let stopped = false
              event.stopImmediatePropagation = () => { stopped = true }
              for (const listener of heard) if (!stopped) listener(event)
            }
            self.importScripts = name => {
              took.push(name)
              self.addEventListener("message", ({ data }) => data.type === 2 && self.postMessage({ type: 3, data: { items: [[{ location: "api/", score: 5, terms: {} }]] } }))
              self.addEventListener("message", ({ data }) => took.push(data.data))
            }""")
        context.eval(SCRIPT)
        context.eval(f'dispatchEvent(new MessageEvent("message", {{ data: {{ type: 0, data: {{ docs: {json.dumps(DOCS)} }} }} }}))')
        yield context


def search(worker, query):
    """What the theme's own search is asked, and the places found: of each page the first."""
    worker.eval("posted = []; took = []")
    worker.eval(f'dispatchEvent(new MessageEvent("message", {{ data: {{ type: 2, data: {json.dumps(query)} }} }}))')
    asked, items = json.loads(worker.eval("JSON.stringify([took[0], posted[0].data.items])"))
    return asked, [group[0]["location"] for group in items]


@pytest.mark.parametrize(("query", "first"), [
    ("momentum", "momentum/"), ("Momentum", "momentum/"), ("heavy balls", "momentum/"), ("모멘텀", "momentum/"), ("모멘텀이란", "momentum/"), ("모멘", "momentum/"),
    ("경사 하강법", "sgd/"), ("why 0.9", "momentum/#values"), ("why is it 0.9?", "momentum/#values"), ("default mom", "momentum/#values"),
    ("why does momentum get over a local minimum", "momentum/#bump"), ("local minima", "sgd/"), ("BatchNorm", "norm/"),
    ("batch normalisation backward", "norm/#backward"), ("normalisation", "norm/"), ("nestrov", "nesterov/"), ("momentun", "momentum/"), ("nesterov's momentum", "nesterov/"),
    ("reference", "api/"), ("", "api/"), ("!!", "api/"), ("constructor", "api/"),
])
def test_the_section_that_is_called_so_comes_first(worker, query, first):
    assert search(worker, query)[1][0] == first


@pytest.mark.parametrize(("query", "asked"), [
    ("nestrov", "nesterov"), ("momentun", "momentum"), ("mometnum", "momentum"), ("moment", "moment"), ("bal", "bal"), ("xyzzyx", "xyzzyx"), ("momenta", "momenta"),
    ('"nestrov momentum"', '"nesterov momentum"'), ("+gradiant", "+gradient"), ("BatchNorm", "batch norm"), ("학습", "학습"),
])
def test_misspelt_words_are_mended_and_others_left(worker, query, asked):
    assert search(worker, query)[0] == asked


def test_a_page_is_shown_once_and_what_was_found_stays_behind(worker):
    places = search(worker, "momentum")[1]
    assert places[-1] == "api/" and len(places) == len(set(places))
    worker.eval("posted = []")
    worker.eval('dispatchEvent(new MessageEvent("message", { data: { type: 2, data: "why 0.9" } }))')
    group = json.loads(worker.eval("JSON.stringify(posted[0].data.items[0])"))
    assert [doc["location"] for doc in group] == ["momentum/#values", "momentum/"] and group[0]["score"] > group[1]["score"]


INDEX = json.dumps({"config": {}, "docs": [{"location": "a/", "title": "A"}, {"location": "a/#b", "title": "B"}, {"location": "api/x/", "title": "X"}]})


def test_names_are_joined_to_the_entries_and_the_reference_counts_less():
    docs = {doc["location"]: doc for doc in json.loads(finding.joined(INDEX, {"a.md": {"": ["alpha"], "b": [0.9]}, "gone.md": {"": ["x"]}}, {"a.md": "a/"}))["docs"]}
    assert docs["a/"]["also"] == ["alpha"] and docs["a/#b"]["also"] == ["0.9"] and "also" not in docs["api/x/"]
    assert docs["api/x/"]["boost"] < 1 and "boost" not in docs["a/"]


def test_every_page_and_section_with_names_is_there_and_has_each_once():
    for page, sections in finding.names().items():
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        headings = [line.lstrip("#").strip() for line in text.splitlines() if line.startswith("#")]
        known = {slugify(heading.replace("*", "").replace("`", ""), "-") for heading in headings} | set(re.findall(r"\{:? *#([\w-]+)", text))
        assert set(sections) - {""} <= known, page
        for anchor, names in sections.items():
            assert len(names) == len({str(name) for name in names}), f"{page}#{anchor}"


def test_queries_ask_for_places_that_there_are():
    queries = json.loads((ROOT / "scripts/browser/queries.json").read_text(encoding="utf-8"))
    assert len(queries) >= 25
    for place in queries.values():
        page, _, anchor = place.partition("#")
        assert (ROOT / "docs" / f"{page.rstrip('/')}.md").is_file(), place
        assert not anchor or anchor in finding.names()[f"{page.rstrip('/')}.md"], place
