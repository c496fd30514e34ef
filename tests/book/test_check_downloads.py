"""The program that runs a site's downloads: small sites written by hand, each with one fault."""

import json
import sys
from html import escape
from pathlib import Path

import check_downloads
import pytest

LINE = 'pip install "a[b] @ http://127.0.0.1:8000/a.whl"'
SCRIPT = "open('{0}-1.svg', 'w').write('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')\n"
CELL = "from IPython.display import HTML\nHTML('<svg></svg>')"


def page(site: Path, name: str, script: str = SCRIPT, cell: str = CELL, line: str = LINE, figures: int = 1) -> None:
    folder = site / name
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(
        f'<meta name="site" content="http://127.0.0.1:8000/"><a href="{name}.ipynb" download>n</a><a href="{name}.py" download>s</a>'
        f"<pre><code>{escape(LINE)}</code></pre>" + "".join(f'<figure class="figure" id="figure-{n + 1}">' for n in range(figures)))
    (folder / f"{name}.py").write_text(f"# %% [markdown]\n# ```\n# {line}\n# ```\n\n# %%\n{script.format(name)}")
    cells = [{"id": "a", "cell_type": "markdown", "metadata": {}, "source": LINE},
             {"id": "b", "cell_type": "code", "metadata": {}, "source": cell, "outputs": [], "execution_count": None}]
    (folder / f"{name}.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))


def test_what_does_not_run_and_what_is_lost_is_named(tmp_path, capsys):
    page(tmp_path, "good")
    page(tmp_path, "raises", script="1 / 0\n", cell="[][1]")
    page(tmp_path, "loses", script="", cell="1")
    page(tmp_path, "more", figures=2)
    (tmp_path / "a.whl").write_bytes(b"")
    assert check_downloads.main([str(tmp_path), "--all", "--python", sys.executable]) == 1
    said = capsys.readouterr().out
    assert said.endswith("2 passed, 6 failed\n") and "good:" not in said
    for fault in ("raises: the script ends with 1:\n", "ZeroDivisionError", "raises: the notebook does not run:\n", "IndexError",
                  "loses: the script left 0 figures behind; the page has 1", "loses: the notebook left 0 figures behind; the page has 1",
                  "more: the script left 1 figures behind; the page has 2", "more: the notebook left 1 figures behind; the page has 2"):
        assert fault in said


def test_by_default_a_quarter_of_the_notebooks_is_run_and_each_has_its_turn(tmp_path, monkeypatch):
    seen = set()
    monkeypatch.setattr(check_downloads, "_script", lambda *_: (1, ""))
    monkeypatch.setattr(check_downloads, "_notebook", lambda page, *_: seen.add(page.name) or (1, ""))
    for name in "abcdefgh":
        page(tmp_path, name)
    for content in range(20):
        before = len(seen)
        (tmp_path / "a.whl").write_bytes(bytes([content]))
        ran, faults = check_downloads.check(tmp_path, [], False, Path(sys.executable))
        assert not faults and sum(len(one.seconds) for one in ran) == 10 and len(seen) - before in (0, 2)
    assert seen == set("abcdefgh")


def test_one_line_for_all(tmp_path):
    page(tmp_path, "one")
    page(tmp_path, "two", line=LINE.replace("[b]", "[c]"))
    with pytest.raises(SystemExit, match="should name one install line"):
        check_downloads.check(tmp_path, [], False, Path(sys.executable))


def test_a_page_that_does_not_say_the_line_and_one_that_is_not_there(tmp_path):
    page(tmp_path, "one")
    with pytest.raises(SystemExit, match=r"no pages \['two'\].*\['one'\]"):
        check_downloads.check(tmp_path, ["two"], False, Path(sys.executable))
    html = tmp_path / "one/index.html"
    html.write_text(html.read_text().replace("pip install", "pip"))
    with pytest.raises(SystemExit, match=r"one/index\.html: .*does not say how"):
        check_downloads.check(tmp_path, [], False, Path(sys.executable))
