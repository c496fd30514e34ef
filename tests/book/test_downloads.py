"""What readers take away: the wheel and the line that installs it, notebooks and scripts."""

import io
import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from book import downloads, install, wheel
from book.page import Page
from mkdocs.commands.build import build
from mkdocs.config import load_config

ROOT = Path(__file__).resolve().parents[2]
FRONT = "---\ntitle: {0}\njupyter:\n  kernelspec: {{name: python3, language: python, display_name: Python 3}}\n---\n\n# {0}\n\n"
PAGES = sorted(path for path in (ROOT / "docs").rglob("*.md") if "\njupyter:" in path.read_text(encoding="utf-8"))


def parts(text: str, outputs=(), link=lambda target: f"https://book/{target}", reference=lambda name: f"https://book/api#{name}"):
    text = FRONT.format("One") + text
    return downloads.parts(Page.parse(text), text, list(outputs), link, reference)


def text_of(markdown: str, **settings) -> str:
    _title, *others = "\n\n".join(part.text for part in parts(markdown, **settings)).split("\n\n", 1)
    return "".join(others)


@pytest.mark.parametrize(("markdown", "plain"), [
    ("It took 42<!--= n --> steps, `<!-- code -->`.", "It took 42 steps, `<!-- code -->`."),
    ("$$x = y$$\n<!--: definition -->\n\nText.", "$$x = y$$\n\nText."),
    ("> What?\n> Why?\n{: .question }\n\nSo.", "> **Question**\n>\n> What?\n> Why?\n\nSo."),
    ('!!! failure "The notes say: up"\n\n    It goes\n    down.\n\nNo.', "> **Correction. The notes say: up**\n>\n> It goes\n> down.\n\nNo."),
    ('1. Which?\n\n    ??? success "Solution"\n\n        This:\n\n        - $a$\n\n2. And?', "1. Which?\n\n> **Solution**\n>\n> This:\n>\n> - $a$\n\n2. And?"),
    ('!!! note\n\n    ??? success "In"\n\n        it.', "> **Note**\n>\n> > **In**\n> >\n> > it."),
    ("## Best {: #best }\n\n[Start](x.md){ .md-button .md-button--primary }", "## Best\n\n[Start](https://book/x.md)"),
    ("[a](x.md#y), [b](#z), [`c`](y.md), `[d](e.md)`, $f[x](y)$", "[a](https://book/x.md#y), [b](https://book/#z), [`c`](https://book/y.md), `[d](e.md)`, $f[x](y)$"),
    ("[`fit`][reference_impl.fit], [`a.b`][]", "[`fit`](https://book/api#reference_impl.fit), [`a.b`](https://book/api#a.b)"),
    ("```bash\nls {: #a }\n```", "```bash\nls {: #a }\n```"),
])  # fmt: skip
def test_text_reads_well_in_any_notebook(markdown, plain):
    assert text_of(markdown) == plain


def test_a_link_that_leads_nowhere_is_its_text():
    assert text_of("[a *b*](x.md), [`c`][d.e].", link=lambda target: None, reference=lambda name: None) == "a *b*, `c`."


def test_links_lead_to_the_site():
    link, reference = downloads.links("part/page.md", "https://book/", {"part/other.md": "part/other/", "part/page.md": "part/page/", "index.md": "./"}.get,
                                      {"a.b": "api/#a.b", "numpy.x": "https://numpy.org/x"}.get)
    assert link("other.md#x") == "https://book/part/other/#x" and link("#y") == "https://book/part/page/#y" and link("../index.md") == "https://book/"
    assert link("https://else/a.md") == "https://else/a.md" and link("none.md") is None
    assert reference("a.b") == "https://book/api/#a.b" and reference("numpy.x") == "https://numpy.org/x" and reference("c") is None


EXAMPLES = """\
!!! failure "No"

    Look:

    ```pycon
    >>> def double(x):
    ...     return 2 * x
    >>> double(2)
    4
    >>> y = 3
    >>> for k in range(2):
    ...     print(k)
    0
    1
    >>> print()
    <BLANKLINE>
    >>> double(y)
    6
    >>> [][1]
    Traceback (most recent call last):
    IndexError: list index out of range
    >>> last = 1
    ```

    So not.
"""


def test_examples_are_cells_of_their_own_with_what_they_show():
    _, before, *code, after = (part for text in [EXAMPLES] for part in [None, *parts(text)])
    assert before.text.endswith("> **Correction. No**\n>\n> Look:") and after.text == "> So not."
    assert [part.text for part in code] == [
        "def double(x):\n    return 2 * x\n\n\ndouble(2)", "y = 3\nfor k in range(2):\n    print(k)", "print()", "double(y)",
        'try:\n    [][1]\nexcept Exception as error:\n    print(f"{type(error).__name__}: {error}")', "last = 1"]
    shown = [output.get("text") or output["data"]["text/plain"] for part in code for output in part.outputs]
    assert shown == ["4", "0\n1\n", "\n", "6", "IndexError: list index out of range\n"]
    script = downloads.script(parts(EXAMPLES), "From here.")
    assert "\ndisplay(double(2))\n" in script and "\n# > So not.\n" in script and ">>>" not in script


def test_a_script_shows_what_a_cell_shows():
    value = {"output_type": "execute_result", "data": {"text/plain": "x"}, "metadata": {}}
    printed = {"output_type": "stream", "name": "stdout", "text": "x"}
    one, two = '"é"; (\n    1 +\n    2\n)  # three', "print('x')"
    script = downloads.script(parts(f"```python\n{one}\n```\n\n```python\n{two}\n```\n", [[value], [printed]]), "From here.")
    assert "display((1, 2))" in downloads.script(parts("```python\n1, 2\n```\n", [[value]]), "From here.")
    assert 'display("é"; ' not in script and '"é"; display((\n    1 +\n    2\n))  # three' in script and "\nprint('x')\n" in script
    assert "import display" not in downloads.script(parts(f"```python\n{two}\n```\n", [[printed]]), "From here.")


DERIVATION = "```derivation\nwith a = sp.Symbol('a')\na^2 - 1 = (a - 1)(a + 1)  % third binomial\n  = a(a + 1) - (a + 1)  % for later\n```\n"


def test_a_derivation_is_display_latex_and_a_comment():
    found = parts(DERIVATION)
    cell = json.loads(downloads.notebook(found, "One", "From here."))["cells"][-1]["source"]
    assert cell.startswith("$$\n\\begin{aligned}\na^2 - 1 &= (a - 1)(a + 1) && \\text{third binomial} \\\\\n") and cell.endswith("\\end{aligned}\n$$")
    assert "# a^2 - 1 = (a - 1)(a + 1)  % third binomial\n#   = a(a + 1) - (a + 1)  % for later" in downloads.script(found, "From here.")


def test_a_reason_is_text_for_latex():
    found = parts("```derivation\na = b  % the *bound* of $w^* \\cdot x_1$ in `a_b` & [there](x.md), 5 \\% off\n```\n")
    assert r"&& \text{the bound of $w^* \cdot x_1$ in a\_b \& there, 5 \% off}" in json.loads(downloads.notebook(found, "One", "Note."))["cells"][-1]["source"]


def test_paragraphs_are_laid_out_anew_in_the_script():
    long = "word " * 30
    one = downloads.script(parts("One\nline.\n\n> A\n> quotation.\n\n1. First,\n    and more.\n2. Second.\n"), "From here.")
    assert one.endswith("# One line.\n#\n# > A quotation.\n#\n# 1. First, and more.\n# 2. Second.\n")
    script = downloads.script(parts(f"- {long}\n\n| a | {long} |\n| - | - |\n\n$$\n{long}\n$$\n"), "From here.")
    assert [len(line) > 110 for line in script.splitlines() if "word" in line] == [False, False, True, True]
    assert "\n#   word" in script


def test_a_large_notebook_goes_without_outputs():
    output = {"output_type": "stream", "name": "stdout", "text": "x" * downloads.LARGEST}
    book = json.loads(downloads.notebook(parts("```python\nprint(1)\n```\n", [[output]]), "One", "From here."))
    assert book["cells"][-1]["outputs"] == [] and book["metadata"]["outputs"] == "left out for their size"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_page_leaves_the_sites_markdown_in_its_downloads(path):
    text = path.read_text(encoding="utf-8")
    found = downloads.parts(Page.parse(text, path), text, [], lambda target: target.replace(".md", "/"), lambda name: None)
    book = json.loads(downloads.notebook(found, path.stem, "From here."))
    plain = "\n".join(re.sub(r"^```.*?^```$|`+[^`]*`+", "", cell["source"], flags=re.M | re.S) for cell in book["cells"] if cell["cell_type"] == "markdown")
    assert re.findall(r".*(?:!!!|\?\?\?|\{:|\{ ?[.#]|\[\^|</?div|<!--|\.md\b|\]\[|>>>).*", plain) == []
    compile(downloads.script(found, "From here."), f"{path.stem}.py", "exec")


# ---- The wheel ----


def test_the_wheel_holds_the_package_with_its_data_and_no_more(tmp_path):
    name, content = wheel.wheel()
    names = zipfile.ZipFile(io.BytesIO(content)).namelist()
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "reference_impl").rglob("*") if path.suffix in {".py", ".json", ".typed"}}
    assert re.fullmatch(r"descent_derived-0\.4\.0\+[0-9a-f]{8}-py3-none-any\.whl", name)
    assert {path for path in names if ".dist-info/" not in path} == package


def test_the_wheel_is_the_same_bytes_from_any_folder_and_leaves_nothing_behind(tmp_path):
    made = []
    for folder in (tmp_path / "a", tmp_path / "longer"):
        for name in ("pyproject.toml", "README.md", "LICENSE", "docs/assets/katex/LICENSE.txt"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        shutil.copytree(ROOT / "reference_impl/practice", folder / "reference_impl/practice")
        (folder / "reference_impl/__init__.py").write_text("")
        (folder / "reference_impl/__init__.py").chmod(0o600 if made else 0o644)
        (folder / "build/lib/reference_impl").mkdir(parents=True)
        (folder / "build/lib/reference_impl/stale.py").write_text("")
        before = sorted(folder.rglob("*"))
        made.append(wheel.wheel(folder))
        assert sorted(folder.rglob("*")) == before
    assert made[0] == made[1]
    (folder / "reference_impl/__init__.py").write_text("# new")
    assert wheel.wheel(folder)[0] != made[0][0]  # or pip would leave the old one as it is
    assert not [name for name in zipfile.ZipFile(io.BytesIO(made[0][1])).namelist() if "stale" in name]


def test_a_wheel_that_cannot_be_built(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "a"\nreadme = "README.md"\nlicense-files = []\n')
    (tmp_path / "README.md").write_text("")
    with pytest.raises(RuntimeError, match=r"could not build the wheel.*\n(?s:.*)version"):
        wheel.wheel(tmp_path)


# ---- A site ----

FIGURE = """\
from reference_impl.plots import figure, show
fig, ax = figure()
lines = ax.plot([1, 2, 3])
show(fig, alt="A line.", caption="**Rise.** See [the home](index.md).")
"""


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Builds a small site, for an address or none, and gives its folder."""

    def made(site_url: str = "", text: str = "") -> Path:
        monkeypatch.setenv("SITE_URL", site_url)
        for name in ("scripts", "reference_impl"):
            (tmp_path / name).symlink_to(ROOT / name)
        for name in ("assets", "stylesheets", "javascripts"):
            shutil.copytree(ROOT / "docs" / name, tmp_path / "docs" / name)
        (tmp_path / "mkdocs.yml").write_text(f"INHERIT: {ROOT / 'mkdocs.yml'}\nnav: null\nextra: {{run: false}}\n")
        (tmp_path / "docs/index.md").write_text("# Home\n\nIt needs {{ needs }}.\n\n```bash\n{{ install gpu }}\n```\n")
        (tmp_path / "docs/one.md").write_text(FRONT.format("One") + f"[Home](index.md)\n\n```python\n{FIGURE}```\n\n{text}")
        config = load_config(str(tmp_path / "mkdocs.yml"), strict=True)
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
        return tmp_path / "site"

    return made


def line(address: str, extras: str = "plots,symbolic,data") -> str:
    return f'pip install "descent-derived[{extras}] @ {address}{wheel.wheel()[0].replace("+", "%2B")}"'


@pytest.mark.parametrize("address", ["", "https://book.example/in/a/folder/"])
def test_each_page_and_each_download_say_the_line_for_this_site(built, address):
    site = built(address)
    there = address or install.LOCAL
    assert (site / wheel.wheel()[0]).read_bytes() == wheel.wheel()[1]
    home, page = ((site / name).read_text() for name in ("index.html", "one/index.html"))
    assert line(there).replace('"', "&#34;") in page and f'<meta name="site" content="{there}">' in page
    assert line(there, "plots,symbolic,data,gpu") in re.sub(r"<[^>]+>", "", home).replace("&quot;", '"') and "It needs Python 3.11" in home
    notebook = json.loads((site / "one/one.ipynb").read_text())
    assert line(there) in notebook["cells"][0]["source"] and f"]({there}one/)" in notebook["cells"][0]["source"]
    assert f"[Home]({there})" in notebook["cells"][1]["source"]
    assert f"# {line(there)}\n" in (site / "one/one.py").read_text()


def test_the_downloads_run_away_from_the_site_and_leave_the_figure(built, tmp_path):
    site = built(text=EXAMPLES + "\n" + DERIVATION.replace("with a = sp.Symbol('a')\n", ""))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "one.py").write_text((site / "one/one.py").read_text())
    done = subprocess.run([sys.executable, "one.py"], cwd=elsewhere, capture_output=True, text=True, check=True)
    assert done.stdout == "one-1.svg: **Rise.** See the home.\n4\n0\n1\n\n6\nIndexError: list index out of range\n"
    assert (elsewhere / "one-1.svg").read_text().startswith("<svg")
    book = json.loads((site / "one/one.ipynb").read_text())
    assert [cell["execution_count"] for cell in book["cells"] if cell["cell_type"] == "code"] == [1, 2, 3, 4, 5, 6, 7]
    (output,) = next(cell["outputs"] for cell in book["cells"] if cell["cell_type"] == "code")
    assert list(output["data"]) == ["text/html", "text/plain"]
