"""The checker of pages: what it lets pass, and that it catches each kind of change."""

from pathlib import Path

import pytest
from book import claims
from book.page import PageError
from book.steps import Steps

GOOD = """---
title: A page
jupyter:
  kernelspec: {name: python3, language: python, display_name: Python 3}
constants:
  1964: year of Polyak's paper
---
# A page

Polyak wrote in 1964.

```python
steps = 189
rate = 0.98715
small = 3.2e-7
```

It needs 189<!--= steps --> steps at the rate $\\rho = 0.987$<!--= rate -->, down to
$3.2 \\times 10^{-7}$<!--= small -->, or 98.7 %<!--= 100 * rate --> of it; 1,890<!--= 10 * steps --> in all.

```pycon
>>> steps + 1
190
```

??? success "Solution"

    ```pycon
    >>> print(steps - 1)
    188
    ```

## References

1. A book of 1987, section 3.
"""


def faults(text: str) -> list[str]:
    """What a page's kernel would find, found in this process."""
    try:
        steps = Steps(text, Path("page.md"), {}).run()
    except PageError as error:
        return [str(error)]
    steps.judge()
    return steps.faults


def test_a_right_page_passes():
    assert faults(GOOD) == []


@pytest.mark.parametrize(("old", "new", "line", "says"), [
    ("needs 189<", "needs 198<", 18, "the prose says 198, but steps is 189"),
    ("0.987$", "0.986$", 18, "the prose says 0.986"),
    ("$3.2 ", "$3.1 ", 19, "the prose says 3.1"),
    ("10^{-7}", "10^{-6}", 19, "the prose says 3.2"),
    ("98.7 %", "98.8 %", 19, "the prose says 98.8"),
    ("1,890", "1,980", 19, "the prose says 1,980"),
    ("\n190\n", "\n191\n", 22, "the output is not what the page says"),
    ("    188\n", "    187\n", 29, "the output is not what the page says"),
    ("steps = 189", "steps = 188", 22, "the output is not what the page says"),
    ("rate = 0.98715", "rate = 0.98", 18, "the prose says 0.987, but rate is 0.98"),
    ("in 1964", "in 1965", 10, "the number 1965 is loose"),
    ("189<!--= steps -->", "189", 18, "the number 189 is loose"),
    ("<!--= steps -->", "<!--= 189 -->", 18, "is a literal"),
    ("<!--= steps -->", "<!--= stepz -->", 18, "NameError"),
    ("<!--= steps -->", "<!--= steps + -->", 18, "is no expression"),
    ("189<!--= steps --> steps", "189 of these steps<!--= steps -->", 18, "does not stand behind"),
    ("small = 3.2e-7", "small = 3.2e-7\nsteps = 189", 19, "binds more than once"),
    ("  1964:", "  1986: another\n  1964:", 6, "the constant 1986 is used nowhere"),
    ("steps = 189", "steps = 189 / 0", 13, "ZeroDivisionError"),
    ("steps = 189", "steps = = 189", 13, "invalid syntax"),
    ("steps = 189", "steps = 189; print('took 189 steps')", 13, "the text shows 189"),
    ("title: A page", "title: 7 pages", 1, "the front matter shows 7"),
    ("```pycon\n>>> steps + 1", "```py\n>>> steps + 1", 21, "no test collects a block marked 'py'"),
    ("```pycon\n>>> steps + 1", "```\n>>> steps + 1", 21, "no test collects a block marked ''"),
    ("It needs", "    indented = 1\n\nIt needs", 18, "no test collects this code"),
    ("It needs", "1. item\n\n        indented = 1\n\nIt needs", 20, "no test collects this code"),
    ("It needs", ">>> steps\n\nIt needs", 18, "no test collects this code"),
    ("It needs", "> ```python\n> x\n> ```\n\nIt needs", 18, "no test collects this code"),
    ("It needs", "<pre>x = 1</pre>\n\nIt needs", 18, "no test collects this code"),
    ("It needs", "```text\n>>> steps\n```\n\nIt needs", 18, "belong in a `pycon` block"),
    (">>> steps + 1", ">>> steps + 1  # doctest: +SKIP", 21, "may not be excused"),
    ("<!--= steps -->", "<!--= len('x' * 189) -->", 18, "is a literal"),
    ("## References", "## References and 7 more", 33, "the number 7 is loose"),
    ("```python\n", "```python title=\"x\"\n", 12, "no test collects"),
    (">>> steps + 1\n", "steps + 1\n", 21, "holds no `>>>` example"),
    ("    ```pycon\n    >>> print(steps - 1)", "    ```python\n    print(steps - 1)", 28, "an indented python block is not run"),
    ("jupyter:\n  ", "", 1, "would not run"),
    ("jupyter:\n  kernelspec: {name: python3, language: python, display_name: Python 3}", "jupyter: {kernelspec: {language: python}}", 1, "would not run"),
    ("190\n```", "190\n", 21, "is never closed"),
], ids=lambda value: str(value)[:24].strip())
def test_a_wrong_page_fails_with_file_and_line(old, new, line, says):
    assert old in GOOD
    found = faults(GOOD.replace(old, new, 1))
    assert any(fault.startswith(f"page.md:{line}: ") and says in fault for fault in found), found


def test_every_fault_is_reported_at_once_by_the_number_of_its_line():
    text = GOOD.replace("needs 189<", "needs 188<").replace("1,890<", "1,891<").replace("\n190\n", "\n191\n").replace("    188\n", "    187\n")
    assert sorted(int(fault.split(":")[1]) for fault in faults(text)) == [18, 19, 22, 29]


@pytest.mark.parametrize(("code", "line", "says"), [
    ("a = 1\n\ndef f(x):\n    return 1 / x\n\nf(0)", 11, "ZeroDivisionError: division by zero"),  # where it is, not where it is called from
    ("a = 1\nimport json\njson.loads('')", 10, "JSONDecodeError: Expecting value"),  # the page's last line on the way there
    ("a = 1\neval('1 +')", 9, "SyntaxError: invalid syntax"),
    ("a = 1\nreturn a", 9, "'return' outside function"),
    ("import warnings\nwarnings.warn('beware')", 9, "UserWarning: beware"),
    ("import sys\nsys.exit(3)", 9, "SystemExit: 3"),
])  # fmt: skip
def test_a_cell_that_raises_ends_the_run_with_its_line(code, line, says):
    front = GOOD[:GOOD.index("constants:")] + "---\n"
    found = faults(f"{front}\n```python\n{code}\n```\n\nIt is 7<!--= a -->.\n\n```pycon\n>>> 1\n2\n```\n")
    assert len(found) == 1 and found[0].startswith(f"page.md:{line}: {says}"), found


def test_examples_are_doctests():
    text = "```pycon\n>>> def f(x):\n...     raise ValueError('no')\n...\n>>> f(1)\nTraceback (most recent call last):\n    ...\nValueError: no\n" \
           ">>> print('a\\n\\nb', end='')\na\n<BLANKLINE>\nb\n>>> None\n>>> import inspect; print(inspect.getsource(f).splitlines()[0])\ndef f(x):\n" \
           "```\n"
    assert faults(text) == []
    wrong = text.replace("ValueError: no\n", "ValueError: yes\n").replace(">>> None", ">>> 1 / 0")
    assert [fault.splitlines()[0] for fault in faults(wrong)] == [
        "page.md:5: the output is not what the page says", "page.md:13: ZeroDivisionError: division by zero"]
    assert faults(text.replace(">>> None", ">>> 1 +")) == ["page.md:13: invalid syntax"]


@pytest.mark.parametrize(("text", "expected"), [
    ("at 0.5 and -3, then 1e-6", ["0.5", "-3", "1e-6"]),
    ("a range of 3-5 and x-1", ["3", "5", "1"]),
    ("10⁻⁶ and 2.5 × 10⁻³", ["10⁻⁶", "2.5 × 10⁻³"]),
    ("$10^{-6}$, $w_{12}$, $x_3 = 7$, $\\tfrac{1}{2}\\kappa^2$", ["10^{-6}", "7"]),
    ("$w^9 = \\sqrt7 + \\tfrac{3}{2}$, 42ms and 42x", ["9", "7", "3", "42", "42"]),
    ("[^a]: It takes 42 steps.", ["42"]),
    ("`lr=0.1` and `float32`, H200, seed_4", ["0.1"]),
    ("[a link](page-2.md#part-3), [x][a.b2], a note[^4]", []),
    ("1. first\n2. second", []),
    ("<span class='w3'>5</span> <!-- 6 -->", ["5"]),
    ("12,000 or 12\u202f000", ["12,000", "12\u202f000"]),
])
def test_which_numbers_are_found(text, expected):
    assert [n.text for n in claims.numbers(text) if not n.structural] == expected


@pytest.mark.parametrize(("shown", "value", "agrees"), [
    ("0.30", 0.3, True), ("0.30", 0.305001, False), ("3", 2.6, True), ("-0.5", -0.5, True), ("0.5", -0.5, False),
    ("2.5e-3", 0.0025, True), ("2.5e-3", 0.0026, False), ("10^{-6}", 1e-6, True), ("10^{-6}", 2e-6, False), ("0", -0.0, True),
    ("1", float("nan"), False), ("1", None, False),
])
def test_a_number_shows_a_value_at_its_decimals(shown, value, agrees):
    (number,) = claims.numbers(f"${shown}$")
    assert number.shows(value) is agrees
