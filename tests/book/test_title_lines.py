"""What stands under a chapter's title."""

import pytest
from book import chapters
from book.page import Page, PageError


def pages(**after):
    texts = {"optimization/a.md": "", "optimization/b.md": "", "own.md": ""}
    return {uri: Page.parse(f"---\ntitle: T {uri[-4]}\nafter: [{after.get(uri[-4], '')}]\n---\n# T\n\n" + "word " * 1000 + "\n\n## Exercises\n\n" + "word " * 9000)
            for uri in texts}


def test_a_chapter_has_its_number_its_minutes_and_what_to_read_first():
    line = chapters.line("optimization/b.md", pages(b="a"), lambda uri: f"../{uri}")
    assert "Chapter 2 · 5 minutes of reading" in line and 'read first: <a href="../optimization/a.md">T a</a>' in line


def test_other_pages_have_no_number():
    line = chapters.line("own.md", pages(n="b"), str)
    assert "Chapter" not in line and '<a href="optimization/b.md">T b</a>' in line


@pytest.mark.parametrize("name", ["b", "n", "a", "gone"])
def test_what_comes_first_stands_before(name):
    with pytest.raises(PageError, match=f"'{name}', which is no page before this one"):
        chapters.line("optimization/a.md", pages(a=name), str)


def test_code_formulas_and_comments_take_no_time():
    words = "word " * 2000
    plain = Page.parse("---\ntitle: T\n---\n" + words)
    rich = Page.parse("---\ntitle: T\n---\n" + words + "\n\n```text\n" + words + "\n```\n\n$$" + words + "$$\n\n<!-- " + words + "-->\n")
    assert chapters.minutes(plain) == chapters.minutes(rich) == 10
