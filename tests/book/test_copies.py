"""The copy of each block runs alone and gives what the page shows."""

import json
import math
import re
import sys
import types
from pathlib import Path
from statistics import median

import markdown
import numpy as np
import pytest
from book import alone, copies, run, trials
from book.page import Page, PageError
from book.steps import Steps
from book.watch import Recorder
from mkdocs.config import load_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if any(block.runs for block in Page.read(path).blocks)]
FRONT = "---\njupyter:\n  kernelspec: {name: python3, language: python}\n---\n"


@pytest.fixture
def main(monkeypatch):
    """A fresh main module."""
    module = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    return module


def ran(main, *codes):
    """The page that has these cells, and the notes of its run."""
    text = FRONT + "".join(f"\n```python\n{code.strip()}\n```\n" for code in codes)
    steps = Steps(text, Path("page.md"), vars(main), Recorder(vars(main))).run()
    assert not steps.faults
    return steps.page, steps.watch.notes


def prefix(main, *codes):
    """What the copy of the last of these cells puts before it."""
    page, notes = ran(main, *codes)
    return list(copies.copies(page, notes).values())[-1].prefix


@pytest.mark.parametrize(
    ("before", "block", "needs"),
    [
        ("a = 1", "b = 2", ""),
        ("a = 1\nb = 2", "b", "b = 2"),
        ("a = 1\na = 2", "a", "a = 2"),
        ("a = 1\na += 1", "a", "a = 1\na += 1"),
        ("a = 1\nb = a\na = 3", "b", "a = 1\nb = a"),
        ("a, b = 1, 2\nprint(a)", "a", "a, b = 1, 2"),
        ("a = 1; b = 2", "b", "a = 1; b = 2"),
        ("a = 1  # why\n# more", "a", "a = 1  # why"),
        ("k = 1", "k = 2\nk", ""),
        ("k = 1", "for k in range(3):\n    print(k)", ""),
        ("r = 5\nfor i in range(3):\n    r = i\n    s = r", "s", "for i in range(3):\n    r = i\n    s = r"),
        ("k = 1\nm = 2", "[k for k in range(m)]", "m = 2"),
        ("x = 1", "class A:\n    x = 2\n    y = x\nA.y", ""),
        # what was changed in place, by whatever name
        ("a = []\nlen(a)\na.append(1)", "a", "a = []\na.append(1)"),
        ("a = []\nb = [a]\na.append(1)\nc = 3", "b[0]", "a = []\nb = [a]\na.append(1)"),
        ("a = [1]\nb = list(a)\na.append(1)", "b", "a = [1]\nb = list(a)"),
        ("a = {}\nb = (a, 1)\na['k'] = 0.0\na['k'] = -0.0", "b", "a = {}\nb = (a, 1)\na['k'] = 0.0\na['k'] = -0.0"),
        ("a = {1}\nb = 2\na.add(b)", "a", "a = {1}\nb = 2\na.add(b)"),
        ("a = []\nadd = a.append\nadd(1)", "a", "a = []\nadd = a.append\nadd(1)"),
        ("a = [1]\na.sort()", "a", "a = [1]"),
        # iterators, into which one cannot see
        ("i = iter('abc')\nnext(i)\nj = iter('abc')\nnext(j)", "next(i)", "i = iter('abc')\nnext(i)"),
        ("def g():\n    yield 1\ni = g()\nnext(i)", "i", "def g():\n    yield 1\n\ni = g()\nnext(i)"),
        # functions: what they read counts where they are called
        ("k = 1\ndef f():\n    return k\nk = 2", "f()", "def f():\n    return k\n\nk = 2"),
        ("k = 1\nf = lambda x, y=k: x + y + k\nk = 2", "f(1)", "k = 1\nf = lambda x, y=k: x + y + k\nk = 2"),
        ("def g():\n    return 1\ndef f():\n    return g()\nh = 3", "f()", "def g():\n    return 1\n\ndef f():\n    return g()"),
        ("k = 3\nfs = [lambda: k]\nk = 4", "fs[0]()", "k = 3\nfs = [lambda: k]\nk = 4"),
        ("s = []\ndef f():\n    s.append(1)\nf()", "s", "s = []\n\ndef f():\n    s.append(1)\n\nf()"),
        ("def f():\n    global n\n    n = 1\nf()", "n", "def f():\n    global n\n    n = 1\n\nf()"),
        ("def f():\n    n = []\n    return lambda: n.append(1) or len(n)\ng = f()\ng()", "g()",
         "def f():\n    n = []\n    return lambda: n.append(1) or len(n)\n\ng = f()\ng()"),
        ("class A:\n    def m(self):\n        return k\na = A()\nk = 2\nm = 3", "a.m()",
         "class A:\n    def m(self):\n        return k\n\na = A()\nk = 2"),
        ("class A:\n    n = 0\na = A()\nA.n = 1", "a.n", "class A:\n    n = 0\n\na = A()\nA.n = 1"),
        ("class A:\n    __slots__ = ('n',)\na = A()\na.n = 1", "a.n", "class A:\n    __slots__ = ('n',)\n\na = A()\na.n = 1"),
        ("from functools import cache\nk = 1\n@cache\ndef f():\n    return k\nf()", "f()",
         "from functools import cache\n\nk = 1\n\n@cache\ndef f():\n    return k"),
        # what a block defines can be called
        ("from math import pi, tau\nk = 1\nj = 2\ndef g():\n    return k + pi", "def f():\n    return g()",
         "from math import pi\n\nk = 1\n\ndef g():\n    return k + pi"),
        ("k = 1\nj = 2", "f = lambda j: k + j", "k = 1"),
        ("k = 1", "def f():\n    return k\nk = 2", ""),
        # arrays and random numbers
        ("import numpy as np\na = np.zeros(3)\nb = a[1:]\nb += 1\nc = a.copy()\nc += 1", "a",
         "import numpy as np\n\na = np.zeros(3)\nb = a[1:]\nb += 1"),
        ("import numpy as np\na = np.eye(3)\nt = a.T\na[0, 1] = 2", "t[1]", "import numpy as np\n\na = np.eye(3)\nt = a.T\na[0, 1] = 2"),
        ("import numpy as np\nd = {'a': np.float64(1)}\nd['a'] = np.float64(2)", "d", "import numpy as np\n\nd = {'a': np.float64(1)}\nd['a'] = np.float64(2)"),
        ("import numpy as np\nr = np.random.default_rng(0)\ns = np.random.default_rng(1)\nx = s.random()\ny = r.random()", "r.random()",
         "import numpy as np\n\nr = np.random.default_rng(0)\ny = r.random()"),
        ("import numpy as np\nr = np.random.default_rng(0)\ns, = r.spawn(1)", "r.spawn(1)",
         "import numpy as np\n\nr = np.random.default_rng(0)\ns, = r.spawn(1)"),
        ("import numpy as np\nn = np.random.RandomState(0)\nn.rand()", "n.rand()", "import numpy as np\n\nn = np.random.RandomState(0)\nn.rand()"),
        ("import numpy as np\nnp.random.seed(0)", "1", "import numpy as np\n\nnp.random.seed(0)"),
        ("import random\nrandom.seed(0)", "1", "import random\n\nrandom.seed(0)"),
        ("import matplotlib as mpl\nmpl.rcParams['font.size'] = 10", "1", "import matplotlib as mpl\n\nmpl.rcParams['font.size'] = 10"),
        # drawings: to touch one is to change it, and no other
        ("from reference_impl.plots import figure\nf, a = figure()\ng, b = figure()\nb.plot([1])\nx = 2\na.plot([x])", "f.axes",
         "from reference_impl.plots import figure\n\nf, a = figure()\nx = 2\na.plot([x])"),
        ("from reference_impl.plots import figure\nf, a = figure()\nx = [1]\na.plot(x)", "x", "x = [1]"),
        # what a layer keeps for its backward pass is not part of it
        ("import numpy as np\nfrom reference_impl import ReLU\nr = ReLU()\ny = r.forward(np.ones(2))", "r.params",
         "from reference_impl import ReLU\n\nr = ReLU()"),
        # imports: those that are needed, by module, at the head
        ("from math import pi, tau\na = pi\nfrom math import e\nb = e", "a, b", "from math import pi, e\n\na = pi\nb = e"),
        ("from math import pi as p, tau", "import math\np", "from math import pi as p"),
        ("import math", "import math\nmath.pi", ""),
        ("import os.path\nimport os", "os.path", "import os.path\nimport os"),
        ("import os.path as p", "p", "import os.path as p"),
        ("from math import e\nf = e\nfrom cmath import e", "f, e", "from math import e\n\nf = e\nfrom cmath import e"),
        ("e = 1\nf = e\nfrom math import e", "f, e", "e = 1\nf = e\nfrom math import e"),
        ("from math import acos, acosh, asin, asinh, atan, atan2, atanh, cbrt, ceil, comb, cos, cosh, degrees",
         "acos, acosh, asin, asinh, atan, atan2, atanh, cbrt, ceil, comb, cos, cosh, degrees",
         "from math import (\n    acos, acosh, asin, asinh, atan, atan2, atanh, cbrt, ceil, comb, cos, cosh, degrees,\n)"),
    ],
)  # fmt: skip
def test_what_a_block_needs(main, before, block, needs):
    random = np.random.get_state()
    try:
        assert prefix(main, before, block) == needs
    finally:
        np.random.set_state(random)


def test_settings_count_for_every_block(main):
    with np.printoptions():
        assert prefix(main, "import numpy as np\nnp.set_printoptions(precision=2)", "1") == "import numpy as np\n\nnp.set_printoptions(precision=2)"
    assert prefix(main, "import numpy as np\nwith np.printoptions(precision=2):\n    print(np.ones(1))", "1") == ""


def test_needs_nothing_that_comes_later(main):
    page, notes = ran(main, "a = 1", "b = a", "a = 2")
    assert [copy.text for copy in copies.copies(page, notes).values()] == ["a = 1", "a = 1\n\nb = a", "a = 2"]


EXAMPLES = FRONT + """
```pycon
>>> a = [1]
>>> a.index(2)
Traceback (most recent call last):
ValueError: 2 is not in list
>>> for i in a:
...     print(i)
1
>>> a.append(1 / (a.append(2) or 0))
Traceback (most recent call last):
ZeroDivisionError: division by zero
```

!!! note "A box"

    1. An item.

        ```pycon
        >>> len(a) < 3, "quoted & <escaped>"
        (True, 'quoted & <escaped>')
        >>> a
        [1, 2]

        ```

??? code "Code"

    ```pycon
    >>> b = 3
    ```
"""


def examples(main, text=EXAMPLES):
    steps = Steps(text, Path("page.md"), vars(main), Recorder(vars(main))).run()
    assert not steps.faults
    return steps


def test_examples_lose_prompts_and_outputs(main):
    steps = examples(main)
    first, second, third = copies.copies(steps.page, steps.watch.notes).values()
    assert first.text == "a = [1]\na.index(2)\nfor i in a:\n    print(i)\na.append(1 / (a.append(2) or 0))"
    assert second.prefix == "a = [1]\ntry:\n    a.append(1 / (a.append(2) or 0))\nexcept Exception:\n    pass"
    assert second.block == 'len(a) < 3, "quoted & <escaped>"\na'
    assert third.text == "b = 3"


def test_refuses_notes_of_another_page(main):
    page, notes = ran(main, "a = 1", "a")
    with pytest.raises(ValueError, match=r"notes has 1 entries; expected one for each of the page's 2 statements"):
        copies.copies(page, notes[:1])


# ---- On the site ----


def html(text):
    """Markdown as the site's configuration renders its code."""

    config = load_config(str(ROOT / "mkdocs.yml"))
    wanted = [name for name in config.markdown_extensions if name != "book.typeset"]
    return markdown.markdown(text.removeprefix(FRONT), extensions=wanted, extension_configs=config.mdx_configs)


def held(made):
    """What each block that needs something has before it on a page, as `copies.js` puts it there; and the page without all that."""
    bare, *pool = re.split(r'<template id="needs">(.*)</template>\n', made)
    lines = json.loads(pool[0]) if pool else []
    needs = ["\n".join(lines[int(at)] for at in found.split()) for found in re.findall(' data-needs="([^"]*)"', made)]
    return needs, re.sub(' data-(?:needs|block)="[^"]*"', "", bare + "".join(pool[1:]))


def test_a_block_has_what_its_copy_needs(main):
    steps = examples(main)
    built = html(EXAMPLES) + "</article>"
    made = copies.attached(built, steps.page, steps.watch.notes)
    assert held(made) == ([list(copies.copies(steps.page, steps.watch.notes).values())[1].prefix], built)


def test_what_a_block_needs_breaks_no_page(main):
    page, notes = ran(main, "a = '</script><!-- \"'\ndef f():\n    return a", "f()")
    built = html("```python\na = '</script><!-- \"'\ndef f():\n    return a\n```\n\n```python\nf()\n```\n") + "</article>"
    made = copies.attached(built, page, notes)
    assert "</script>" not in made and "<!--" not in made
    assert held(made) == (["a = '</script><!-- \"'\n\ndef f():\n    return a"], built)


def test_blocks_are_found_in_any_order(main):
    text = FRONT + "\nText[^1].\n\n[^1]:\n    ```pycon\n    >>> a = 1\n    ```\n\n```pycon\n>>> a\n1\n```\n\n```pycon\n>>> a\n1\n```\n"
    steps = examples(main, text)
    made = copies.attached(html(text), steps.page, steps.watch.notes)
    assert made.count("data-needs") == 2 and made.index("data-needs") < made.index("footnote-backref")


def test_a_block_that_the_page_does_not_show_is_an_error(main):
    page, notes = ran(main, "a = 1", "a")
    with pytest.raises(PageError, match=r"page.md:11: the built page does not show this block"):
        copies.attached(html("```python\na = 1\n```\n"), page, notes)


# ---- They run ----


def tried(text, notes_of=lambda notes: notes, path=Path("docs/page.md")):
    """What is wrong with the copies of a page, given what becomes of the notes of its run."""
    page, given = Page.parse(text, path), []
    namespace = types.ModuleType("__main__")
    recorder = Recorder(vars(namespace))
    steps = Steps(text, path, vars(namespace), recorder)
    shown = sys.displayhook
    try:
        for index, block in enumerate(page.blocks):
            outputs = []
            sys.displayhook = lambda value, to=outputs: None if value is None else to.append({"data": alone.FORMATTER.format(value)[0]})
            steps.block(index)
            if block.kind == "cell":
                given.append(outputs)
    finally:
        sys.displayhook = shown
    return trials.tried(page, run.Run(given, [], notes_of(recorder.notes)), ROOT)


def test_copies_that_lack_something_are_found():
    text = FRONT + "".join(f"\n```python\n{code}\n```\n" for code in (
        "from math import pi, tau\na = [pi]\na.append(tau)", "len(a)", "a.append(2); a", "tau", "'as it is'"))  # fmt: skip
    assert tried(text) == []

    def forgetful(notes):
        return [{**note, "changes": []} for note in notes]

    def blind(notes):
        return [{**note, "reads": [name for name in note["reads"] if name not in ("tau", "pi")]} for note in notes]

    one, two = tried(text, forgetful)
    assert one.startswith("docs/page.md:13: the copy of this block does not run alone: it gives") and two.startswith("docs/page.md:17:")
    assert [fault.split(": ", 2)[::2] for fault in tried(text, blind)] == [
        ["docs/page.md:13", "it does not bind pi, tau"], ["docs/page.md:17", "it does not bind pi, tau"], ["docs/page.md:21", "it does not bind tau"]]


def test_a_copy_that_ends_its_process_is_found():
    text = FRONT + "\n```python\nimport os, sys\n1 if 'pytest' in sys.modules else os._exit(0)\n```\n"
    (fault,) = tried(text)
    assert fault.startswith("docs/page.md:7: the copy of this block does not run alone: it broke off")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT / "docs").as_posix())
def test_copies_of_page(path):
    """Every copy runs in a namespace of its own and gives the page's outputs; on a page of the second edition it is short."""
    name = path.relative_to(ROOT)
    if faults := trials.faults(name, ROOT):
        pytest.fail("\n".join(faults), pytrace=False)
    page = Page.read(path)
    made = copies.copies(page, run.run(name, ROOT).notes)
    before = {page.blocks[index].line - 1: copy.prefix.count("\n") + bool(copy.prefix) for index, copy in made.items()}
    lines = sorted(before.values())
    middle, most = median(lines), lines[math.ceil(0.95 * len(lines)) - 1]
    print(f"{name}: {len(lines)} blocks, before the median {middle:g} lines, before 95 % at most {most}")
    if page.meta.get("edition") == "2" and (middle > 12 or most > 50):
        longest = "".join(f"\n{name}:{line}: {count} lines" for line, count in sorted(before.items(), key=lambda each: -each[1])[:10])
        pytest.fail(f"{name}: copies put {middle:g} lines before the median block, {most} before 95 %; at most 12 and 50{longest}", pytrace=False)
