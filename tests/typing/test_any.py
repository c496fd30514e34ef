"""How much the package's types leave open: `Any`, for each thousand lines outside the update rules, which read as mathematics."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "reference_impl"
AT_MOST = 20


def is_rule(node):
    """Whether a function is an update rule: it takes w and g, and every hyperparameter by name."""
    return isinstance(node, ast.FunctionDef) and [a.arg for a in node.args.args[:2]] == ["w", "g"] and bool(node.args.kwonlyargs)


def counted(source):
    """How often `Any` is used, and the lines among which it is."""
    tree = ast.parse(source)
    rules = [node for node in tree.body if is_rule(node)]
    skipped = {id(node) for rule in rules for node in ast.walk(rule)}
    used = sum(isinstance(node, ast.Name) and node.id == "Any" and id(node) not in skipped for node in ast.walk(tree))
    return used, len(source.splitlines()) - sum(rule.end_lineno - rule.lineno + 1 for rule in rules)


def test_what_is_counted():
    assert counted("from typing import Any\ndef f(x: Any, y: list[Any]) -> int:\n    return 1\n") == (2, 3)
    assert counted("def rule(w: Any, g: Any, *, lr: Any) -> Any:\n    return w\nx: Any\n") == (1, 1)


def test_little_is_left_open():
    found = {path.relative_to(PACKAGE).as_posix(): counted(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}
    uses, lines = map(sum, zip(*found.values()))
    most = "\n".join(f"{used:4} in {of:4} lines of {name}" for name, (used, of) in sorted(found.items(), key=lambda item: -item[1][0]) if used)
    assert 1000 * uses / lines <= AT_MOST, f"{uses} Any in {lines} lines, {1000 * uses / lines:.0f} per 1000:\n{most}"
