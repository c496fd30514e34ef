"""The hooks that run pages: small sites, built for real, each with one fault or one change."""

import logging
import re
import shutil
from pathlib import Path

import pytest
from book import docstrings, kernel
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
        shutil.copytree(ROOT / "docs" / "stylesheets", folder / "docs" / "stylesheets")
        (folder / "mkdocs.yml").write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\nnav: null\n")
        self.page("index.md", "# Home\n")

    def page(self, name: str, text: str) -> None:
        (self.folder / "docs" / name).write_text(text)

    def notebook(self, name: str, *cells: str, prose: str = "Text.") -> None:
        fences = "\n\n".join(f"```python\n{cell.rstrip()}\n```" for cell in cells)
        self.page(name, FRONT.format(name.removesuffix(".md")) + f"{prose}\n\n{fences}\n")

    def build(self) -> None:
        config = load_config(str(self.folder / "mkdocs.yml"), strict=True)
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
    """The cells of each run in a kernel, as the runs happen."""
    seen = []
    execute = kernel._execute

    def spy(cells, root):
        seen.append(list(cells))
        return execute(cells, root)

    monkeypatch.setattr(kernel, "_execute", spy)
    return seen


def fails(site, caplog):
    """The messages of a build that must fail."""
    with pytest.raises(Abort):
        site.build()
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)


def test_failing_cell(site, caplog):
    site.notebook("one.md", "ok = 1", "def f(x):\n    return 1 / x\n\nf(0)")
    message = fails(site, caplog)
    line = (site.folder / "docs/one.md").read_text().splitlines().index("f(0)") + 1
    assert f"docs/one.md:{line}: a cell failed" in message
    assert "ZeroDivisionError" in message and "\x1b" not in message


def test_cell_that_warns(site, caplog, runs):
    site.notebook("one.md", "import warnings\nwarnings.warn('beware')")
    assert "beware" in fails(site, caplog)
    caplog.clear()
    assert "docs/one.md:12: the cell wrote to stderr" in fails(site, caplog)  # from the cache too
    assert len(runs) == 1


@pytest.mark.parametrize("cell", ["object()", "import reference_impl\nprint(reference_impl.__file__)"])
def test_output_that_differs_from_build_to_build(site, caplog, cell):
    site.notebook("one.md", cell)
    assert "docs/one.md: the page shows" in fails(site, caplog)


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
    (site.folder / "a.py").write_text("value = 'first'\n")
    (site.folder / "b.py").write_text("value = 'other'\n")
    site.notebook("one.md", "import a\nprint(a.value)\ntry:\n    import missing\nexcept ImportError:\n    print('go' + 'ne')")
    site.notebook("two.md", "import b\nprint(b.value)")
    site.build()
    assert len(runs) == 2 and "first" in site.html("one") and "gone" in site.html("one")

    runs.clear()
    site.build()
    site.notebook("one.md", *[runs_of("one.md", site)], prose="Other words.")
    site.build()
    assert runs == [] and "Other words" in site.html("one")

    (site.folder / "a.py").write_text("value = 'second'\n")
    site.build()
    assert len(runs) == 1 and "second" in site.html("one")

    runs.clear()
    (site.folder / "missing.py").write_text("")  # a module that was looked for
    (site.folder / "unused.py").write_text("")
    site.build()
    assert len(runs) == 1 and "gone" not in site.html("one")

    runs.clear()
    (site.folder / "b").mkdir()  # a package goes before a module of its name
    (site.folder / "b/__init__.py").write_text("value = 'package'\n")
    site.build()
    assert len(runs) == 1 and "package" in site.html("two")


def runs_of(name, site):
    return re.search(r"```python\n(.*?)\n```", (site.folder / "docs" / name).read_text(), re.S)[1]


def test_spoilt_cache_and_other_versions(tmp_path, runs, monkeypatch):
    (tmp_path / "data.txt").write_text("1")
    cell = f"import yaml\nprint(open({str(tmp_path / 'data.txt')!r}).read())"

    def again():
        runs.clear()
        outputs = kernel.run([cell], tmp_path, lambda seconds: None)
        return len(runs), outputs[0][0]["text"]

    assert again() == (1, "1\n")
    assert again() == (0, "1\n")
    (entry,) = (tmp_path / ".cache/pages").iterdir()
    entry.write_text(entry.read_text()[:100])  # as if the build had been cut off
    assert again() == (1, "1\n")
    (tmp_path / "data.txt").write_text("2")  # a file that the page reads
    assert again() == (1, "2\n")
    installed = kernel._installed
    monkeypatch.setattr(kernel, "_installed", lambda top: "PyYAML==0" if top == "yaml" else installed(top))
    assert again()[0] == 1


def test_two_folders_same_bytes(tmp_path, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    trees = []
    for name in ("a", "a-longer-name"):
        (tmp_path / name).mkdir()
        site = Site(tmp_path / name)
        site.notebook("one.md", FIGURE, "print({'a', 'b', 'c'}, object.__name__)\n1 + 1")
        site.notebook("two.md", "class Rich:\n    def _repr_markdown_(self):\n        return '*rich*'\n\nRich()")
        site.build()
        built = site.folder / "site"
        trees.append({path.relative_to(built): path.read_bytes() for path in built.rglob("*") if path.is_file()})
        monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert [path for path in trees[0] if trees[0][path] != trees[1].get(path)] == []
    assert trees[0].keys() == trees[1].keys()


def test_figures_outputs_and_downloads(site):
    site.notebook("one.md", FIGURE, FIGURE, "print('<b>')\n40 + 2", prose="Needs 42<!--= n --> steps, `<!-- code -->`.")
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

    notebook = kernel.json.loads((site.folder / "site/one/one.ipynb").read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [1, 2, 3]
    assert "text/html" in code[0]["outputs"][0]["data"] and "descent" not in str(code[0]["outputs"][0]["data"].keys())
    script = (site.folder / "site/one/one.py").read_text()
    compile(script, "one.py", "exec")
    assert "# %%" in script and "<!--=" not in script


def test_a_derivation_is_a_grid_of_math_with_its_code_below(site):
    cell = "import sympy as sp\nx = sp.Symbol('x')\nDerivation('y', (x * (x + 1), 'a $z$'), (x**2 + x, 'b'), relation=r'\\le')"
    site.page("one.md", FRONT.format("one") + "```python fold\nfrom reference_impl.engines.symbolic import Derivation\n" + cell + "\n```\n")
    site.build()
    html = site.html("one")
    grid = html[html.index('class="derivation"'):html.index("<summary>")]
    assert grid.count("<math") == 4 and "≤" in grid and "$" not in grid
    assert html.index('class="derivation"') < html.index("<summary>Code</summary>")


def test_bare_doctests_in_docstrings_are_fenced():
    text = "Adds.\n\n>>> 1 + 1\n2\n>>> 3\n3\n\nMore.\n\n```pycon\n>>> 4\n4\n```"
    assert docstrings.fence(text) == "Adds.\n\n```pycon\n>>> 1 + 1\n2\n>>> 3\n3\n```\n\nMore.\n\n```pycon\n>>> 4\n4\n```"
