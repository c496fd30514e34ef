"""What a finished page gets for those who hear it, go through it by keys, or print it."""

import re
from pathlib import Path

import pytest
from book import readers

ROOT = Path(__file__).resolve().parents[2]
PAGE = """<div data-md-component="skip"><a href="#t" class="md-skip">
 Skip to content
</a></div><nav><a href="../one/">One</a></nav>
<article class="md-content__inner md-typeset"><h1 id="t">T<a class="headerlink" href="#t">#</a></h1>
<p><a href="../one/#x">x</a>, <a class="autorefs" href="../one/">one</a> and <a href="../one/#x">x</a> again; <a href="#t">here</a>; <a href="t.py" download>file</a></p>
<figure class="figure" id="figure-1"><svg></svg></figure><figure class="figure" id="figure-2"></figure>
<h2 id="references">R</h2><ul><li><a href="https://doi.org/10/1">Work</a></li></ul>
<div class="about">A <a href="../cite/">c</a></div></article>"""


@pytest.mark.parametrize(("text", "marked"), [
    ('"rho는 friction과 같아" (001), "corresponds" (003)', ["rho는 friction과 같아"]),
    ('"분모가 커져서" (001), "제곱을 (ε) 더한다" (002)', ["분모가 커져서", "제곱을", "더한다"]),
    ("a 하나\n둘, b", ["하나\n둘,"]),
    ("(왜?)", ["왜?"]),
    ("<b>하나</b> two <b>셋</b>", ["하나", "셋"]),
    ("ㅋㅋ only", ["ㅋㅋ"]),
    ('<a title="하나 > 둘">one</a><!-- 하나 --><script>"하나"</script><svg><title>하나</title></svg>', []),
    ("no Korean: 中文, é", []),
])  # fmt: skip
def test_korean_words_are_said_to_be_korean_and_nothing_else_changes(text, marked):
    html = readers.korean(text)
    assert re.findall('<span lang="ko">(.*?)</span>', html, re.S) == marked
    assert re.sub('<span lang="ko">(.*?)</span>', r"\1", html, flags=re.S) == text


def test_keys_go_to_the_first_figure_and_from_each_to_the_next():
    html = readers.skips(PAGE)
    assert re.findall(r'<a href="#([\w-]+)" class="(md-skip|skip)">', html) == [("t", "md-skip"), ("figure-1", "md-skip"), ("figure-2", "skip")]
    assert '<figure class="figure" id="figure-1"><a href="#figure-2" class="skip">' in html
    assert '<figure class="figure" id="figure-2"></figure>' in html
    bare = PAGE.replace("figure", "picture")
    assert readers.skips(bare) == bare


def test_links_to_other_pages_are_notes_on_paper():
    html = readers.notes(PAGE, "https://book.org/two/")
    assert re.findall(r'data-note="(\d)"[^>]*href="([^"]*)"', html) == [("1", "../one/#x"), ("2", "../one/"), ("1", "../one/#x")]
    assert re.findall("<li>(http[^<]*)</li>", html) == ["https://book.org/one/#x", "https://book.org/one/"]
    assert html.index("https://doi.org") < html.index('<div class="notes">') < html.index('<div class="about">')
    assert re.sub(r' data-note="\d"|<div class="notes">.*?</div>\n', "", html, flags=re.S) == PAGE
    assert readers.notes("<p>no article</p>", "https://book.org/") == "<p>no article</p>"


def test_paper_has_the_colours_of_the_light_scheme():
    css = re.sub(r"/\*.*?\*/", "", (ROOT / "docs/stylesheets/book.css").read_text(encoding="utf-8"), flags=re.S)
    start = css.index("@media screen {")
    dark = css.index('[data-md-color-scheme="slate"] {')
    assert css[start + 15 : dark].isspace() and css.index("[data-md-color-scheme] {") < start
    light = set(re.findall(r"(--[\w-]+):", css[css.index("[data-md-color-scheme] {") : start]))
    assert light <= set(re.findall(r"(--[\w-]+):", css[dark : css.index("}", dark)]))  # or the dark scheme would have some of the light one's
