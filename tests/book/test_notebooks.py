"""The hooks that run pages: small sites, built for real, each with one fault or one change."""

import json
import logging
import re
import shutil
from pathlib import Path

import pytest
from book import docstrings, kept, render, run
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

ROOT = Path(__file__).resolve().parents[2]
FRONT = "---\ntitle: {0}\njupyter:\n  kernelspec: {{name: python3, language: python, display_name: Python 3}}\n---\n\n# {0}\n\n"
FIGURE = """\
from reference_impl.plots import figure, show
fig, ax = figure()
lines = ax.plot([1, 2, 3])
show(fig, alt="A line.", caption="**Rise.** The slope is $\\\\eta$, see [the other](two.md).")
"""


class Site:
    """A small project with the book's own configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("scripts", "reference_impl"):
            (folder / name).symlink_to(ROOT / name)
        for name in ("assets", "stylesheets"):
            shutil.copytree(ROOT / "docs" / name, folder / "docs" / name)
        (folder / "mkdocs.yml").write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\nnav: null\nextra: {{run: false}}\n")
        self.page("index.md", "# Home\n")

    def page(self, name: str, text: str) -> None:
        (self.folder / "docs" / name).write_text(text)

    def notebook(self, name: str, *cells: str, prose: str = "Text.") -> None:
        fences = "\n\n".join(f"```python\n{cell.rstrip()}\n```" for cell in cells)
        self.page(name, FRONT.format(name.removesuffix(".md")) + f"{prose}\n\n{fences}\n")

    def build(self, strict: bool = True, nav: list[str] | None = None) -> None:
        config = load_config(str(self.folder / "mkdocs.yml"), strict=strict, nav=nav)
        config.plugins.on_startup(command="build", dirty=False)
        build(config)

    def html(self, name: str) -> str:
        return (self.folder / "site" / name / "index.html").read_text()


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    monkeypatch.delenv("SITE_URL", raising=False)
    return Site(tmp_path)


@pytest.fixture
def runs(monkeypatch):
    """The pages that run, as they do."""
    seen = []
    twice = run._twice

    def spy(page, text, root):
        seen.append(page.path.as_posix())
        return twice(page, text, root)

    monkeypatch.setattr(run, "_twice", spy)
    return seen


def fails(site, caplog):
    """The messages of a build that must fail."""
    with pytest.raises(Abort):
        site.build()
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING and record.name.startswith("mkdocs"))


UNFIT = {
    "raises": ("def f(x):\n    return 1 / x\n\nf(0)", 13, "ZeroDivisionError: division by zero"),
    "warns": ("import warnings\nwarnings.warn('beware')", 13, "UserWarning: beware"),
    "complains": ("import sys\nprint('beware', file=sys.stderr)", 12, "the cell wrote to stderr:\nbeware"),
    "picture": ("import IPython.display as show\nshow.display({'image/png': ''}, raw=True)", 12, "a picture without a description"),
    "address": ("object()", 12, "what this cell prints is another in every run: '<object at 0x"),
    "chance": ("import random\nprint(random.random())", 12, "what this cell prints is another in every run: '0."),
    "order": ("print({'a', 'b', 'c', 'd', 'e'})", 12, "what this cell prints is another in every run: \"{'"),
    "folder": ("import tempfile\nprint('a\\nb', tempfile.mkdtemp())", 12, "what this cell prints is another in every run: 'b "),
    "place": ("import reference_impl\nprint(reference_impl.__file__)", 12, "which is another in every build"),
    "dies": ("import os\nos._exit(3)", 12, "the run broke off"),
}


def test_cells_that_show_what_no_page_may(site, caplog, runs):
    for name, (cell, _, _) in UNFIT.items():
        site.notebook(f"{name}.md", cell)
    message = fails(site, caplog)
    for name, (_, line, says) in UNFIT.items():
        (fault,) = re.findall(rf"^docs/{name}.md:.*(?:\n(?!docs/).*)*", message, re.M)
        assert fault.startswith(f"docs/{name}.md:{line}: ") and says in fault, fault
    assert "\x1b" not in message
    caplog.clear()
    assert fails(site, caplog) == message  # kept with the runs
    assert len(runs) == len(UNFIT) + 1 and runs[-1] == "docs/dies.md"  # which may be for want of memory


def test_examples_that_print_something_else_in_every_run(site, caplog):
    site.page("one.md", "# One\n\n```pycon\n>>> import random; print(random.random())\n0.5\n```\n")
    assert "docs/one.md:4: what these examples print is another in every run" in fails(site, caplog)


def test_every_fault_of_every_page_is_named_at_once(site, caplog):
    site.notebook("one.md", "n = 3", prose="It takes 3<!--= n --> steps, not 4<!--= n -->, not 5<!--= n -->.")
    site.notebook("two.md", "1 / 0", prose="<div>")
    site.page("three.md", "# Three\n\n```python\n")
    message = fails(site, caplog)
    places = re.findall(r"^(docs/\w+\.md:\d+): ", message, re.M)
    assert places == ["docs/one.md:9", "docs/one.md:9", "docs/three.md:3", "docs/two.md:9", "docs/two.md:12"]


def test_a_page_says_at_its_top_what_is_wrong_if_the_build_is_not_strict(site, caplog, runs):
    site.notebook("one.md", "n = 3\nprint('shown', n)", "1 / 0", "print('never')", prose="Not 4<!--= n -->, <span>.")
    site.notebook("two.md", "print('sound')")
    site.page("three.md", "# Three\n\n```python\n")
    site.page("four.md", "---\nindex: question\n---\n# Four\n")
    site.page("five.md", "# Five\n\n> What?\n{: .question }\n")
    site.build(strict=False, nav=["one.md", "two.md", "three.md", "four.md", "five.md"])
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    for page, said in (("one", ["docs/one.md:9: &lt;span&gt; is never closed", "docs/one.md:17: ZeroDivisionError"]),
                       ("three", ["docs/three.md:3: this ```python block is never closed"]), ("five", ["docs/five.md:4: this question has no short"])):
        html = site.html(page)
        for text in said:
            assert html.index('class="admonition danger"') < html.index(text)
        assert any(f"docs/{page}.md" in warning for warning in warnings)
    assert "shown 3" in site.html("one") and "<!--=" not in site.html("one")
    assert 'class="admonition' not in site.html("two") and "sound" in site.html("two")
    assert "docs/five.md" not in site.html("one")
    assert "this ```python block is never closed" in site.html("four")  # which cannot be made without the third


@pytest.mark.parametrize("front", [
    "kernelspec: {name: python3, language: python, display_name: Python 3}",  # not under jupyter:
    "jupyter: {kernelspec: {name: python3, language: python, display_name: Python 3}}",  # jupytext wants two lines
    "description: none",
])  # fmt: skip
def test_page_that_would_not_run(site, caplog, front):
    site.page("one.md", f"---\n{front}\n---\n\n# One\n\n```python\nprint(1)\n```\n")
    message = fails(site, caplog)
    assert "docs/one.md:" in message and "kernelspec" in message


@pytest.mark.parametrize("prose", ["[a](nowhere.md)", "[a](index.md#nowhere)", "[a][reference_impl.Nowhere]", "[a](/x)"])
def test_broken_link(site, caplog, prose):
    site.page("one.md", f"# One\n\n{prose}\n")
    assert re.search("nowhere|Nowhere|absolute", fails(site, caplog))


def test_what_runs_again(site, runs):
    (site.folder / "reference_impl").unlink()
    (site.folder / "reference_impl").mkdir()
    (site.folder / "reference_impl/__init__.py").write_text("value = 'first'\n")
    site.notebook("one.md", "import reference_impl\nprint(reference_impl.value)")
    site.notebook("two.md", "print('se' + 'cond')")
    site.build()
    assert sorted(runs) == ["docs/one.md", "docs/two.md"] and "first" in site.html("one") and "second" in site.html("two")

    runs.clear()
    site.build()
    assert runs == []

    site.notebook("two.md", "print('se' + 'cond')", prose="Other words.")
    site.build()
    assert runs == ["docs/two.md"] and "Other words" in site.html("two")

    runs.clear()
    (site.folder / "reference_impl/data.json").write_text("{}")
    site.build()
    assert sorted(runs) == ["docs/one.md", "docs/two.md"]


def test_spoilt_runs_other_versions_and_a_file_edited_meanwhile(tmp_path, monkeypatch, runs):
    page = tmp_path / "page.md"
    page.write_text(FRONT.format("one") + "```python\nimport pathlib\nprint(len('a'))\n```\n")

    def again():
        runs.clear()
        made = run.run(Path("page.md"), tmp_path)
        assert made.faults == [] and made.outputs[0][0]["text"] == "1\n"
        return len(runs)

    assert (again(), again()) == (1, 0)
    (entry,) = (tmp_path / ".cache/pages").iterdir()
    entry.write_text(entry.read_text()[:100])  # as if the build had been cut off
    assert (again(), again()) == (1, 0)
    monkeypatch.setattr(kept, "_pinned", lambda extra: ["numpy==0"])
    assert (again(), again()) == (1, 0)
    package = tmp_path / "reference_impl"
    package.mkdir()
    page.write_text(page.read_text().replace("print", f"(pathlib.Path({str(package)!r}) / 'new.py').write_text('')\nprint"))
    assert (again(), again(), again()) == (1, 1, 0)  # the first run was not kept: the package changed meanwhile


def test_two_folders_same_bytes(tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    trees = []
    for name in ("a", "a-longer-name"):
        (tmp_path / name).mkdir()
        site = Site(tmp_path / name)
        site.notebook("one.md", FIGURE, "print(sorted({'a', 'b', 'c'}), object.__name__)\n1 + 1")
        site.notebook("two.md", "class Rich:\n    def _repr_markdown_(self):\n        return '*rich*'\n\nRich()")
        site.build()
        built = site.folder / "site"
        trees.append({path.relative_to(built): path.read_bytes() for path in built.rglob("*") if path.is_file()})
        monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert [path for path in trees[0] if trees[0][path] != trees[1].get(path)] == []
    assert trees[0].keys() == trees[1].keys()


def test_figures_outputs_and_downloads(site):
    site.notebook("one.md", FIGURE, FIGURE, "print('<b>')\nn = 40 + 2\nn", prose="Needs 42<!--= n --> steps, `<!-- code -->`.")
    site.notebook("two.md", "from IPython.display import Markdown\nMarkdown('The [first](one.md), $x^2$.')")
    site.build()
    html = site.html("one")
    ids = re.findall(r'\sid="([^"]*)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:xlink:href="#|url\(#)([^")]+)', html)) <= set(ids)
    assert html.count('role="img"') == 4 and html.count('id="figure-') == 2
    assert "<figcaption><strong>Rise.</strong>" in html and 'href="../two/"' in html and "η" in html
    assert html.index('class="plot"') < html.index("Code for this figure")
    assert re.search(r"&lt;b&gt;\n(</span><span>)?42", html) and "Needs 42 steps" in html and "&lt;!-- code --&gt;" in html
    assert 'href="one.ipynb" download' in html
    assert "<math" in site.html("two") and 'href="../one/"' in site.html("two")
    assert "Rise" in (site.folder / "site/search/search_index.json").read_text()

    notebook = json.loads((site.folder / "site/one/one.ipynb").read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [1, 2, 3]
    assert "text/html" in code[0]["outputs"][0]["data"] and "descent" not in str(code[0]["outputs"][0]["data"].keys())
    script = (site.folder / "site/one/one.py").read_text()
    compile(script, "one.py", "exec")
    assert "# %%" in script and "<!--=" not in script


def test_where_the_address_is_known_a_shared_page_brings_its_first_figure(site, monkeypatch):
    site.notebook("one.md", FIGURE, FIGURE.replace("A line", "Another"))
    site.notebook("two.md", "1 + 1")
    site.build()
    assert "og:image" not in site.html("one") and not list((site.folder / "site").rglob("card.png"))
    monkeypatch.setenv("SITE_URL", "https://example.org/book/")
    site.build()
    head = site.html("one").split("</head>")[0]
    assert '<meta property="og:image" content="https://example.org/book/one/card.png">' in head and 'content="A line."' in head
    assert [path.parent.name for path in (site.folder / "site").rglob("card.png")] == ["one"] and "og:image" not in site.html("two")


def test_works_words_and_the_map(site):
    site.page("glossary.md", "# Glossary\n\nSaddle\n:   A [flat](two.md) point.\n")
    site.notebook("one.md", "1 + 1", prose="A saddle, as Ash and Birch say, or a saddle.\n\n## References\n\n- A. Ash, B. Birch, *[Saddles](https://doi.org/10.1/1)*, 2001.")
    site.notebook("two.md", "1 + 1")
    (site.folder / "docs/optimization").mkdir()
    site.page("optimization/three.md", FRONT.format("Three") + "```python\n1\n```\n")
    site.page("optimization/four.md", FRONT.format("Four").replace("title: Four", "title: Four\nafter: [three]") + "```python\n1\n```\n")
    site.page("index.md", FRONT.format("Home") + "```python\n1\n```\n\n<div class=\"map\">\n</div>\n")
    site.build(nav=["index.md", "one.md", "two.md", "optimization/three.md", "optimization/four.md", "glossary.md"])
    html = site.html("one")
    assert '<a class="footnote-ref" href="#ref-ash-2001">Ash and Birch</a> say' in html and '<li><span id="ref-ash-2001"><span>A. Ash' in html
    assert html.count('<a class="footnote-ref term" href="../glossary/#term-saddle">') == 1
    assert '<p id="term-saddle"><span>A <a href="../two/">flat</a> point.</span></p>' in html
    assert '<dt id="term-saddle">' in site.html("glossary")
    home = (site.folder / "site/index.html").read_text()
    assert re.findall('<a [^>]*href="(optimization[^"]*)"[^>]*><b>(.)</b> (\\w+)<', home) == [("optimization/three/", "1", "Three"), ("optimization/four/", "2", "Four")]
    policy = home[home.index('<nav class="map"'):home.index("</nav>", home.index('<nav class="map"'))]
    assert "style=" not in policy
    assert "map" not in (site.folder / "site/index.ipynb").read_text()
    index = json.loads((site.folder / "site/search/search_index.json").read_text())["docs"]
    assert not any("flat" in entry["text"] for entry in index if entry["location"].startswith("one/"))


def test_a_derivation_is_a_grid_of_math_with_its_code_below(site):
    cell = "import sympy as sp\nx = sp.Symbol('x')\nDerivation('y', (x * (x + 1), 'a $z$'), (x**2 + x, 'b'), relation=r'\\le')"
    site.page("one.md", FRONT.format("one") + "```python fold\nfrom reference_impl.engines.symbolic import Derivation\n" + cell + "\n```\n")
    site.build()
    html = site.html("one")
    grid = html[html.index('class="derivation"'):html.index("<summary>Code</summary>")]
    assert grid.count("<math") == 4 and "≤" in grid and "$" not in grid
    assert html.index('class="derivation"') < html.index("<summary>Code</summary>")


def test_bare_doctests_in_docstrings_are_fenced():
    text = "Adds.\n\n>>> 1 + 1\n2\n>>> 3\n3\n\nMore.\n\n```pycon\n>>> 4\n4\n```"
    assert docstrings.fence(text) == "Adds.\n\n```pycon\n>>> 1 + 1\n2\n>>> 3\n3\n```\n\nMore.\n\n```pycon\n>>> 4\n4\n```"


@pytest.mark.parametrize(("caption", "words"), [
    ("**Two.** Left, calls; right, memory. On the left, three.", ["Left → First", "right → last", "On the left → In the first panel"]),
    ("Right: what is left, right or wrong; move it to the left.", ["Right → Last"]),
    ("Left of the line it holds, as it should on the right.", ["on the right → in the last panel"]),
])
def test_a_side_is_called_otherwise_where_panels_are_stacked(caption, words):
    found = re.findall(r'<span class="side" data-stacked="([^"]+)">([^<]+)</span>', render.SIDES.sub(render._stacked, caption))
    assert [f"{side} → {stacked}" for stacked, side in found] == words


def test_a_run_rests_on_what_runs_pages_and_not_on_how_they_look():
    names = {file.stem for file in kept.runners(Path(kept.__file__).parent)}
    assert {"__init__", "trials", "run", "kernel", "steps", "claims", "formulas", "proofs", "latex", "watch", "alone", "kept"} <= names
    assert not {"policy", "chapters", "runtime", "downloads", "notebooks", "wheel"} & names


def test_a_module_that_a_runner_imports_is_one(tmp_path):
    for name, text in {"__init__": "", "trials": "from . import a as b\nimport re\n", "a": "def f():\n    from .c import d\n", "c": "START = '''\nimport book.e\n'''", "e": "", "g": ""}.items():
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    assert [file.stem for file in kept.runners(tmp_path)] == ["__init__", "a", "c", "e", "trials"]


def test_a_page_for_the_ear_for_keys_and_for_paper(site):
    site.notebook("one.md", FIGURE, FIGURE, prose='"왜?", and [home](index.md).')
    site.page("two.md", "# Two\n")
    site.build(nav=["index.md", {"A": ["one.md"]}, {"B": [{"A": ["two.md"]}]}])
    html = site.html("one")
    assert '"<span lang="ko">왜?</span>", and' in html
    skips = re.findall(r'href="#([\w-]+)" class="(?:md-)?skip"', html)
    assert skips == ["one", "figure-1", "figure-2"] and all(f' id="{target}"' in html for target in skips)
    assert re.findall(r"<li>(http[^<]*)</li>", html) == ["http://127.0.0.1:8000/", "http://127.0.0.1:8000/two/"]
    assert html.count('data-note="2"') == 2  # each figure's caption leads there
    assert html.count('<div class="md-nav" role="group"') == 3 and '<nav class="md-nav" ' not in html  # of two landmarks "A" nobody knows which is which
    assert re.search(r'<button type="button" class="[^"]* contents" title="Table of contents" aria-label="Table of contents" hidden>\s*<svg', html)
    assert 'class="skip"' not in site.html("two") and 'class="notes"' not in site.html("two")
