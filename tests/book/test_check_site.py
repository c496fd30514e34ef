"""The checker of built sites: it passes a sound site, and catches each fault that it claims to catch."""

import json
import random

import check_site
import pytest

PAGE = """<!doctype html>
<html lang="en"><head><link rel="stylesheet" href="../style.css"></head><body>
<h1 id="top">Page</h1>
<a href="../">home</a> <a href="#top">top</a> <a href="https://elsewhere.org/">elsewhere</a>
<a href="one.ipynb" download>notebook</a> <a href="one.py" download>script</a>
<div class="plot"><svg class="wide" role="img" aria-label="A line."><path id="f1-p"/></svg></div>
<img src="../dot.png" alt="A dot."> <code>\\(x\\) $$ $x$</code> It costs $5 or $6.
</body></html>
"""
random.seed(0)
NOISE = "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=500_000))


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    (folder / "one").mkdir(parents=True)
    (folder / "index.html").write_text('<html lang="en"><h1>Home</h1><a href="one/#top">one</a></html>')
    (folder / "one/index.html").write_text(PAGE)
    (folder / "one/one.py").write_text("1\n")
    cell = {"cell_type": "code", "id": "cell-1", "execution_count": 1, "outputs": [{}]}
    (folder / "one/one.ipynb").write_text(json.dumps({"cells": [cell], "metadata": {}}))
    (folder / "style.css").write_text("a { background: url(dot.png) }\n")
    (folder / "dot.png").write_bytes(b"")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/one.md").write_text("```python\n1\n```\n")
    return folder


def test_sound_site(site, capsys):
    assert check_site.main([str(site), "--docs", str(site.parent / "docs")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" passed, 0 failed")


@pytest.mark.parametrize(("old", "new", "said"), [
    ("../style.css", "https://cdn.org/style.css", "another host"),
    ("../style.css", "//cdn.org/style.css", "another host"),
    ("<body>", "<body><script src='https://cdn.org/x.js'></script>", "another host"),
    ("<body>", "<body><iframe src='https://cdn.org/'></iframe>", "another host"),
    ("<body>", "<body><picture><source srcset='a.png 1x, https://cdn.org/a.png 2x'></picture>", "another host"),
    ("<body>", "<body><form action='https://cdn.org/'></form>", "another host"),
    ("<body>", "<body><style>@import 'https://cdn.org/x.css';</style>", "another host"),
    ("<body>", "<body><p style='background: url(https://cdn.org/x)'></p>", "another host"),
    ("../dot.png", "https://cdn.org/dot.png", "another host"),
    ('rel="stylesheet" href="../style.css"', 'rel="preconnect" href="https://fonts.org"', "another host"),
    ('href="../"', 'href="../nowhere/"', "leads nowhere"),
    ("../dot.png", "../no.png", "leads nowhere"),
    ('"#top"', '"#nowhere"', "no anchor"),
    ('alt="A dot."', "", "no alt text"),
    ('aria-label="A line."', "", "no name"),
    ('role="img"', "", "role="),
    ('lang="en"', "", "no lang"),
    ('id="f1-p"', 'id="top"', "not unique"),
    ("</h1>", "</h1><h1>Two</h1>", "2 first-level headings"),
    ("$5 or $6", "$5x$", "TeX was left over"),
    ("$5 or $6", "[^nope]", "a footnote that is nowhere defined"),
    ("$5 or $6", "\\(x\\)", "TeX was left over"),
    ("$5 or $6", "189<!--= n -->", "claim was left over"),
    ("$5 or $6", '<b lang="ko">하나</b>, 둘', "Korean that is not said to be: ', 둘"),
    ("<code>", "<code>하나", "Korean that is not said to be"),
    ('href="one.ipynb"', 'href="two.ipynb"', "missing"),
    (' <a href="one.py" download>script</a>', "", ".py is missing"),
    (" download", "", "no sign that they were run"),
    ("</body>", f"{NOISE[:300_000]}</body>", "without its figures"),
    ("<path", f"<path d='{NOISE}'/><path", "gzipped; at most 250,000"),
])  # fmt: skip
def test_fault(site, capsys, old, new, said):
    assert old in PAGE
    (site / "one/index.html").write_text(PAGE.replace(old, new))
    assert check_site.main([str(site), "--docs", str(site.parent / "docs")]) == 1
    out = capsys.readouterr().out.splitlines()
    (named, *_) = [line for line in out if said in line]
    assert named.startswith("one/index.html:") or "docs/one.md:1:" in named
    assert out[-1].endswith(" failed") and not out[-1].endswith(" 0 failed")


def test_korean_that_is_said_to_be(site):
    (site / "one/index.html").write_text(PAGE.replace("$5 or $6", '<p lang="ko">하나 <b>둘</b><br> 셋</p>'))
    assert check_site.main([str(site), "--docs", str(site.parent / "docs")]) == 0


@pytest.mark.parametrize(("place", "filled"), [("<path", "<path d='{}'/><path"), ("</head>", "<style>{}</style></head>")])
def test_figures_and_the_themes_sheet_do_not_count_as_text(site, place, filled):
    (site / "one/index.html").write_text(PAGE.replace(place, filled.format(NOISE[:100_000])))
    assert check_site.main([str(site), "--docs", str(site.parent / "docs")]) == 0


def test_stylesheet_and_notebook(site, capsys):
    (site / "style.css").write_text("a {}\n@import url(https://cdn.org/x.css);\n")
    (site / "one/one.ipynb").write_text((site / "one/one.ipynb").read_text().replace("1, ", "null, "))
    assert check_site.main([str(site)]) == 1
    out = capsys.readouterr().out
    assert "style.css:2: the stylesheet asks another host" in out and "cell-1 of the notebook was not run" in out


def test_no_site(tmp_path, capsys):
    assert check_site.main([str(tmp_path)]) == 1
    assert "no index.html" in capsys.readouterr().out
