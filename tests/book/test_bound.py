"""A number stands in four places: in prose, in an output, in a docstring, in code. Change one, and plain `pytest` fails there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PAGE = """---
title: Small
jupyter:
  kernelspec: {name: python3, language: python, display_name: Python 3}
---
# Small

```python
from reference_impl.optimization.sgd import best_learning_rate

best = best_learning_rate([1.0, 4.0])
```

The best learning rate is 0.4<!--= best -->.

```pycon
>>> best
0.4
```
"""

PROSE, OUTPUT, CODE, DOCSTRING = "docs/small.md:14: ", "docs/small.md:17: ", "docs/small.md:17: ", "reference_impl/optimization/sgd.py:"


@pytest.fixture
def project(tmp_path):
    """A copy of the project with one small page."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "reference_impl", tmp_path / "reference_impl", ignore=ignore)
    shutil.copytree(ROOT / "scripts" / "book", tmp_path / "scripts" / "book", ignore=ignore)
    (tmp_path / "tests").mkdir()
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "tests" / "test_pages.py", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "docs" / "small.md").write_text(PAGE, encoding="utf-8")
    return tmp_path


def run_pytest(project):
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "tests", "reference_impl/optimization/sgd.py"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def change(project, file, old, new):
    path = project / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_unchanged_it_passes(project):
    status, output = run_pytest(project)
    assert status == 0, output


@pytest.mark.parametrize(("file", "old", "new", "where"), [
    ("docs/small.md", "is 0.4<", "is 0.5<", PROSE),
    ("docs/small.md", "\n0.4\n", "\n0.5\n", OUTPUT),
    ("reference_impl/optimization/sgd.py", "    >>> best_learning_rate([1.0, 3.0])\n    0.5", "    >>> best_learning_rate([1.0, 3.0])\n    0.6", DOCSTRING),
    ("reference_impl/optimization/sgd.py", "return float(2 / (curvatures.min()", "return float(1.9 / (curvatures.min()", CODE),
], ids=["prose", "output", "docstring", "code"])
def test_a_change_is_caught_with_file_and_line(project, file, old, new, where):
    change(project, file, old, new)
    status, output = run_pytest(project)
    assert status == 1, output
    assert re.search(re.escape(where) + r"\d*", output), output
