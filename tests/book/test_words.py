"""The glossary's words: linked where a page first says them, with what they mean at hand."""

import re
from pathlib import Path

import pytest
from book import words
from markdown import Markdown

DOCS = Path(__file__).parents[2] / "docs"
GLOSSARY = """
Saddle
:   Up and down. [Descent](optimization/sgd.md#saddle) leaves it, if $a < b$.

Fan-in, fan-out
:   Of a layer.

Exploding and vanishing gradients
:   Gradients that grow.

Local minimum
:   No lower point.

Rule
:   A function.
"""
ELSEWHERE = {"term-secant-condition", "term-vanishing-gradients"}
REAL = words.words((DOCS / words.PAGE).read_text(encoding="utf-8"))


def linked(html):
    return words.linked(html, words.words(GLOSSARY), lambda path: f"../{path.removesuffix('.md')}/")


def mentions(html):
    return re.findall(r'<a class="footnote-ref term" href="\.\./glossary/#term-([\w-]+)">(.*?)</a>', linked(html), re.S)


@pytest.mark.parametrize(("html", "expected"), [
    ("<p>A saddle, and another saddle.</p>", [("saddle", "saddle")]),
    ("<p>Saddles are many; a saddle is one.</p>", [("saddle", "Saddles")]),
    ("<p>Local\nminima, and a <em>fan-out</em>.</p>", [("local-minimum", "Local\nminima"), ("fan-in", "fan-out")]),
    ("<p>An exploding gradient.</p>", [("exploding-gradients", "exploding gradient")]),
    ("<h2>Saddle</h2><p><code>saddle</code> <a href='x'>saddle</a> <var class='katex'><span>saddle</span></var></p><blockquote><p>saddle</p></blockquote>", []),
    ("<p>A saddlebag, a side-saddle, a rule, a fan-ins.</p>", [("fan-in", "fan-ins")]),
    ("<p>None.</p><h2 id=\"references\">References</h2><ul><li>On the saddle.</li></ul>", []),
])  # fmt: skip
def test_the_first_mention_of_a_word_in_the_running_text_is_linked(html, expected):
    assert mentions(html) == expected


def test_what_a_word_means_stands_unseen_at_the_end_where_the_theme_finds_it():
    html = linked("<p>A saddle.</p>")
    assert html.endswith(
        '\n<div hidden data-search-exclude><p id="term-saddle"><span>Up and down. <a href="../optimization/sgd/#saddle">Descent</a> leaves it, '
        "if $a &lt; b$.</span></p></div>"
    )
    assert linked("<p>None.</p>") == "<p>None.</p>"


def test_the_glossary_has_the_places_that_links_lead_to():
    html = Markdown(extensions=["def_list"]).convert(GLOSSARY)
    assert re.findall('<dt id="([^"]*)">', words.anchored(html)) == [word.id for word in words.words(GLOSSARY)]


def test_the_book_s_words():
    ids = [word.id for word in REAL]
    assert len(ids) == len(set(ids)) == (DOCS / words.PAGE).read_text(encoding="utf-8").count("\n:   ")
    terms = {term for word in REAL for term in word.terms}
    assert terms >= words.PLAIN
    assert all("$" not in word.said for word in REAL), "the theme shows what stands there as it is"
    # All but those that readers bring from elsewhere are said somewhere in a chapter.
    text = " ".join(path.read_text(encoding="utf-8") for path in DOCS.rglob("*.md") if path.name not in ("glossary.md", "index.md"))
    said = words.linked(f"<p>{re.sub(r'[<>]', ' ', text)}</p>", REAL, str)
    assert {word.id for word in REAL if not words.PLAIN.issuperset(word.terms)} - set(re.findall(r'#(term-[\w-]+)"', said)) == ELSEWHERE
