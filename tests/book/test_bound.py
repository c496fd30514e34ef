"""Whatever is false or spoilt on a page fails both `pytest` and a strict build, with its file and line.

Each fault is planted in a page of its own, all in one small project, which one pytest and one build judge.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SITE = """\
site_name: Small
hooks: [scripts/hooks.py]
plugins:
  - mkdocs-jupyter: {include: ["*.md"]}
markdown_extensions: [admonition, attr_list, md_in_html, pymdownx.superfences, toc, pymdownx.highlight: {pygments_lang_class: true}]
extra:
  install: {extras: [plots], needs: a minute}
"""

RUN = """---
title: Run
edition: 2
jupyter:
  kernelspec: {name: python3, language: python, display_name: Python 3}
---
# Run

```python
curvatures = [1.0, 4.0]
rate = 2 / sum(curvatures)
steps = {"momentum": 12, "descent": 40}
print("the best rate is", rate)
```

The best learning rate is 0.4<!--= rate -->. Momentum needs fewer<!--= fewer: steps["momentum"] < steps["descent"] --> steps.

```pycon
>>> rate
0.4
```
"""

PACKAGE = """---
title: Package
edition: 2
jupyter:
  kernelspec: {name: python3, language: python, display_name: Python 3}
---
# Package

```pycon
>>> from reference_impl.optimization.sgd import best_learning_rate
>>> best_learning_rate([1.0, 4.0])
0.4
```
"""

TEXT = r"""---
title: Text
edition: 2
---
# Text {: #top }

$$ (a + b)^2 = a^2 + 2 a b + b^2 $$<!--= holds -->

## The difference

```derivation
(a + b)^2 - (a - b)^2 = 4 a b + 2 b^2 - 2 b^2   % the squares of a cancel out
    = 4 a b                                     % and those of b
```

It grows.
"""

# What is planted: the page, what stands there, what stands there instead, and the line where that is to be found.
PLANTED = {
    "wrong-number": (RUN, "is 0.4<", "is 0.5<", 16, "the prose says 0.5, but rate is 0.4"),
    "false-comparison": (RUN, '"momentum": 12', '"momentum": 52', 16, "fewer"),
    "other-comparison": (RUN, "fewer<", "more<", 16, "the claim 'fewer' does not stand behind these words"),
    "wrong-output": (RUN, "\n0.4\n", "\n0.5\n", 19, "the output is not what the page says"),
    "another-in-every-run": (RUN, 'is", rate)', 'is", rate, id(rate))', 10, "is another in every run"),
    "wrong-package": (PACKAGE, "", "", 11, "the output is not what the page says"),
    "wrong-exponent": (TEXT, "b^2 $$", "b^3 $$", 7, "not equal"),
    "loose-formula": (TEXT, "<!--= holds -->", "", 7, "loose"),
    "wrong-left-side": (TEXT, "(a + b)^2 - (a - b)^2", "(a + b)^2 - (a - b)", 12, "not equal"),
    "unproved-step": (TEXT, "    = 4 a b  ", "    = 4 a b c", 13, "not equal"),
    "identical-lines": (TEXT, "    = 4 a b  ", "    = 4 a b + 2 b^2 - 2 b^2", 13, "the same line"),
    "id-given-twice": (TEXT, "## The difference", "## The difference {: #top }", 9, "the id 'top' is that of line 5 already"),
    "id-of-a-title": (TEXT, "{: #top }", "{: #the-difference }", 9, "this heading's own id 'the-difference' is that of line 5"),
    "open-tag": (TEXT, "It grows.", '<div class="wide">It grows.', 16, "<div> is never closed"),
    "crossed-tags": (TEXT, "It grows.", "<div><span>It grows.</div></span>", 16, "<span> is not closed"),
    "invisible": (TEXT, "It grows.", "It gr\u200bows.", 16, "U+200B (zero width space)"),
    "bidirectional": (TEXT, "It grows.", "It \u202egrows.", 16, "U+202E (right-to-left override)"),
    "soft-hyphen": (TEXT, "It grows.", "It gr\u00adows.", 16, "U+00AD (soft hyphen)"),
    "nul": (TEXT, "It grows.", "It gr\0ows.", 16, "U+0000"),
}  # fmt: skip
CODE = "reference_impl/optimization/sgd.py", "return float(2 / (known.min()", "return float(1.9 / (known.min()"
DOCSTRING = "reference_impl/optimization/momentum.py", "    (0.8, 2.0)\n", "    (0.8, 2.1)\n"


def project(folder: Path, pages: dict[str, str]) -> Path:
    """A copy of the project with these pages."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "reference_impl", folder / "reference_impl", ignore=ignore)
    shutil.copytree(ROOT / "scripts" / "book", folder / "scripts" / "book", ignore=ignore)
    shutil.copy(ROOT / "scripts" / "hooks.py", folder / "scripts")
    (folder / "tests").mkdir()
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "tests" / "test_pages.py", folder / "tests")
    for name in ("pyproject.toml", "README.md", "LICENSE", "CITATION.cff"):
        shutil.copy(ROOT / name, folder)
    (folder / "mkdocs.yml").write_text(SITE, encoding="utf-8")
    for name, text in pages.items():
        (folder / "docs" / f"{name}.md").write_text(text, encoding="utf-8")
    return folder


def judged(folder: Path) -> dict[str, tuple[int, str]]:
    """The exit status and the output of pytest and of a strict build."""
    commands = {"pytest": ["pytest", "-q", "-n0", "-p", "no:cacheprovider", "tests", DOCSTRING[0]],
                "mkdocs": ["mkdocs", "build", "--strict", "--quiet"]}
    made = {}
    for name, command in commands.items():
        done = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False)
        made[name] = done.returncode, done.stdout + done.stderr
    return made


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """What is said of a project with every planted fault."""
    pages = {}
    for name, (page, old, new, _, _) in PLANTED.items():
        pages[name] = changed(page, old, new) if old else page
    folder = project(tmp_path_factory.mktemp("planted"), pages)
    for file, old, new in (CODE, DOCSTRING):
        (folder / file).write_text(changed((folder / file).read_text(encoding="utf-8"), old, new), encoding="utf-8")
    return judged(folder)


def changed(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the text"
    return text.replace(old, new)


def test_unchanged_it_passes(tmp_path):
    for status, output in judged(project(tmp_path, {"index": TEXT, "run": RUN, "package": PACKAGE})).values():
        assert status == 0, output


@pytest.mark.parametrize("program", ["pytest", "mkdocs"])
@pytest.mark.parametrize("name", PLANTED)
def test_what_is_planted_on_a_page_is_caught_with_file_and_line(planted, name, program):
    *_, line, says = PLANTED[name]
    status, output = planted[program]
    assert status == 1, output
    found = re.findall(rf"^(?:ERROR\s+-\s+)?docs/{name}\.md:(\d+): (.*)", output, re.M)
    assert [(int(at), says in why) for at, why in found] == [(line, True)], found or output


def test_a_docstring_is_held_to_its_code(planted):
    _, output = planted["pytest"]
    line = (ROOT / DOCSTRING[0]).read_text(encoding="utf-8").partition(DOCSTRING[1])[0].count("\n")  # of the example before its result
    assert f"{DOCSTRING[0]}:{line}: DocTestFailure" in output, output
