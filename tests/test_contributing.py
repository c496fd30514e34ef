"""CONTRIBUTING, followed to the letter in a copy of the project with a rule that is not in it: Lion."""

import os
import re
import shutil
import subprocess
import sys

import pytest
from test_chapters import ROOT, lacking

COPIED = ("reference_impl", "tests", "docs", "scripts", "mkdocs.yml", "pyproject.toml", "README.md", "CONTRIBUTING.md", "CHANGELOG.md")

RULE = '''
"""Lion: steps of one length, by the sign of an average of gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .optimizer import Optimizer, Schedule, hyper


def lion(w: Any, g: Any, m: Any, *, lr: Any, beta1: Any, beta2: Any, weight_decay: Any) -> tuple[Any, Any]:
    """One step of Lion. Source: Chen et al. 2023, algorithm 2.

    >>> lion(1.0, 2.0, 0.0, lr=0.5, beta1=0.9, beta2=0.5, weight_decay=0.0)
    (np.float64(0.5), 1.0)
    """
    c = beta1 * m + (1 - beta1) * g
    w = w - lr * (np.sign(c) + weight_decay * w)
    m = beta2 * m + (1 - beta2) * g
    return w, m


@dataclass
class Lion(Optimizer):
    """Evolved sign momentum: the rule on every array; `beta1` and `beta2` in [0, 1), `weight_decay` ≥ 0."""

    rule = staticmethod(lion)

    lr: float | Schedule = hyper(1e-4, 0, open_low=True)
    beta1: float | Schedule = hyper(0.9, 0, 1)
    beta2: float | Schedule = hyper(0.99, 0, 1)
    weight_decay: float | Schedule = hyper(0.0, 0)
'''

TESTS = '''
import numpy as np

from reference_impl import Lion
from reference_impl.optimization.lion import lion


def test_every_step_has_the_length_of_the_rate():
    params = {"w": np.array([1.0, -2.0])}
    Lion(lr=0.1).update(params, {"w": np.array([1e-6, 3.0])})
    np.testing.assert_allclose(params["w"], [0.9, -2.1])


def test_the_step_looks_at_the_gradient_before_the_average_does():
    w, m = lion(0.0, 1.0, -0.05, lr=1.0, beta1=0.9, beta2=0.99, weight_decay=0.0)
    assert w == -1 and m < 0
'''

PAGE = '''
---
title: Lion
description: A step by the sign of an average.
edition: 2
jupyter:
  kernelspec: {name: python3, language: python, display_name: Python 3}
---

# Lion

Every weight goes the same way in each step, however large its gradient is (Chen et al.).

```pycon
>>> import numpy as np
>>> from reference_impl import Lion
>>> params = {"w": np.array([1.0, 1.0])}
>>> Lion(lr=0.5).update(params, {"w": np.array([3.0, 0.001])})
>>> print(params["w"])
[0.5 0.5]

```

## References

- X. Chen et al., *[Symbolic discovery of optimization algorithms](https://arxiv.org/abs/2302.06675)*, NeurIPS 2023, algorithm 2.
'''


def before(text, mark, line):
    assert text.count(mark) == 1
    return text.replace(mark, line + mark)


# For each file that CONTRIBUTING names what it becomes, from what it is.
PIECES = {
    "reference_impl/<part>/<name>.py": lambda text: RULE.lstrip(),
    "tests/<part>/test_<name>.py": lambda text: TESTS.lstrip(),
    "docs/<part>/<name>.md": lambda text: PAGE.lstrip(),
    "mkdocs.yml": lambda text: before(text, "      - optimization/schedules.md\n", "      - optimization/lion.md\n"),
    "docs/index.md": lambda text: before(text, "| [Schedules](", "| [Lion](optimization/lion.md) | what a sign forgets |\n"),
    "docs/api/<part>.md": lambda text: before(text, "::: reference_impl.optimization.schedules\n", "::: reference_impl.optimization.lion\n\n"),
    "reference_impl/__init__.py": lambda text: before(text, "    from .optimization.minimize import", "    from .optimization.lion import Lion as Lion\n"),
    "tests/rules.py": lambda text: text + "\nfrom reference_impl.optimization.lion import Lion, lion  # noqa: E402\n\n"
        'RULES[lion] = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "weight_decay": 0.01}\nOPTIMIZERS["Lion"] = lambda: Lion(lr=0.05, weight_decay=0.1)\n',
}


def place(root, file):
    return root / file.replace("<part>", "optimization").replace("<name>", "lion")


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """The project with Lion in it."""
    root = tmp_path_factory.mktemp("project")
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, root / name, **({"ignore": shutil.ignore_patterns("__pycache__", "node_modules")} if copy is shutil.copytree else {}))
    for file, change in PIECES.items():
        path = place(root, file)
        path.write_text(change(path.read_text(encoding="utf-8") if path.exists() else ""), encoding="utf-8")
    return root


def run(root, *arguments):
    """What pytest says in the copy."""
    return subprocess.run([sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", "-rA", "-q", *arguments], cwd=root, text=True, capture_output=True,
                          env=os.environ | {"PYTHONPATH": str(root), "PYTEST_ADDOPTS": ""})


def test_the_files_are_those_that_contributing_names():
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("\n## ")[0]
    assert re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE) == list(PIECES)


def test_what_is_added_is_tested_by_all_that_contributing_promises(copied):
    done = run(copied, "tests", "reference_impl/optimization/lion.py", "-k", "(lion or Lion) and not million and not test_contributing")
    passed = re.findall(r"^PASSED (\S+)", done.stdout, re.MULTILINE)
    assert done.returncode == 0, done.stdout[-5000:]
    files = {name.split("::")[0] for name in passed}
    assert {f"tests/{name}.py" for name in ("engines/test_engines", "engines/test_fused", "engines/test_readings", "optimization/test_optimizer",
                                            "optimization/test_lion", "arrays/test_device", "test_chapters", "test_init", "test_pages", "test_refusals")} <= files
    assert any("refus" in name for name in passed) and any("resum" in name for name in passed)
    assert run(copied, "tests/test_chapters.py").returncode == 0


@pytest.mark.parametrize(("file", "says"), [
    ("reference_impl/<part>/<name>.py", "reference_impl/optimization/lion.py lacks the module"),
    ("tests/<part>/test_<name>.py", "tests/optimization/test_lion.py lacks tests that import from reference_impl.optimization.lion"),
    ("docs/<part>/<name>.md", "docs/optimization/lion.md lacks the page"),
    ("mkdocs.yml", "mkdocs.yml lacks the line '- optimization/lion.md' under nav"),
    ("docs/index.md", "docs/index.md lacks the row '| [Title](optimization/lion.md) | what it answers |'"),
    ("docs/api/<part>.md", "docs/api/optimization.md lacks the line '::: reference_impl.optimization.lion'"),
])  # fmt: skip
def test_what_is_left_out_of_a_chapter_is_named(file, says, copied):
    path = place(copied, file)
    whole = path.read_text(encoding="utf-8")
    try:
        original = ROOT / path.relative_to(copied)
        path.unlink() if not original.exists() else shutil.copyfile(original, path)
        assert lacking("optimization/lion", copied) == [says]
    finally:
        path.write_text(whole, encoding="utf-8")


def test_what_is_left_out_of_a_rule_is_named(copied):
    both = [place(copied, file) for file in ("reference_impl/__init__.py", "tests/rules.py")]
    whole = [path.read_text(encoding="utf-8") for path in both]
    try:
        for path in both:
            shutil.copyfile(ROOT / path.relative_to(copied), path)
        said = run(copied, "tests/test_chapters.py", "-k", "a_rule_and_its_optimizer").stdout
        for words in ("tests/rules.py lacks reference_impl.optimization.lion.lion in RULES", "tests/rules.py lacks Lion in OPTIMIZERS",
                      "reference_impl/__init__.py lacks 'from .optimization.lion import Lion as Lion'"):
            assert words in said
    finally:
        for path, text in zip(both, whole):
            path.write_text(text, encoding="utf-8")
