"""A user's program under mypy and Pyright: nothing is said of a right one, and every mistake in a wrong one is found."""

import inspect
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import right
import wrong

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MISTAKES = [value for value in vars(wrong).values() if inspect.isfunction(value) and value.__module__ == "wrong" and value.__annotations__["return"] == "None"]


def mypy():
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "reference_impl", HERE / "right.py", HERE / "wrong.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    return re.findall(r"^(.+?):(\d+): error: (.*)  \[([a-z-]+)\]$", done.stdout, re.MULTILINE)


def pyright():
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]  # of what pyproject.toml includes
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    return [(each["file"], each["range"]["start"]["line"] + 1, each["message"], each.get("rule", ""))
            for each in json.loads(said[said.index("{"):])["generalDiagnostics"] if each["severity"] == "error"]


@pytest.fixture(scope="module", params=[mypy, pyright], ids=["mypy", "Pyright"])
def found(request):
    """The checker's name, and what it finds in the package and in both programs: file, line, message, code."""
    return request.param.__name__, request.param()


def marked(checker):
    """What a checker should find, line and code, by the marks in wrong.py."""
    lines = (HERE / "wrong.py").read_text(encoding="utf-8").splitlines()
    marks = [(number, re.search(rf"# .*?{checker}: ((?:[\w-]+(?:, (?!\w+:))?)+)", line)) for number, line in enumerate(lines, 1)]
    return Counter((number, code) for number, match in marks if match for code in match[1].split(", ") if code)


def test_every_mistake_is_found_and_nothing_else(found):
    checker, faults = found
    said = Counter((int(line), code) for file, line, _, code in faults if Path(file).name == "wrong.py")
    assert not (missed := marked(checker) - said), f"{checker} does not see {missed}"
    assert not (more := said - marked(checker)), f"{checker} sees more: {more}"


def test_nothing_is_found_in_what_is_right(found):
    assert not [fault for fault in found[1] if Path(fault[0]).name != "wrong.py"]


def test_each_mistake_is_marked_for_both():
    assert len(MISTAKES) == len({line for line, _ in marked("mypy")}) == len({line for line, _ in marked("pyright")}) >= 12


def test_the_right_program_runs(capsys):
    right.main()
    assert capsys.readouterr().out


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_what_types_find_is_refused_when_it_runs(mistake):
    with pytest.raises((TypeError, ValueError, AttributeError, ImportError)):
        mistake()
