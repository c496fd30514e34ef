"""Every small change that could be made to a Python file: what `mutate_package.py` tries against the tests.

A change is another comparison, operator, sign, number, truth value, `and` for `or`, a negated condition, two arguments swapped, a statement
left out; never in docstrings, annotations, wording or what another platform runs.
"""

from __future__ import annotations

import ast
import difflib
import re
import sys
from dataclasses import dataclass
from typing import TypeAlias

SWAPPED = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not", ast.IsNot: "is", ast.In: "not in",
    ast.NotIn: "in", ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "/", ast.Mod: "*", ast.Pow: "*", ast.And: "or",
    ast.Or: "and", ast.BitAnd: "|", ast.BitOr: "&",
}
WORDING = {"__repr__", "__str__", "warn", "deprecated"}
EITHER_WAY = {"maximum", "minimum", "fmax", "fmin", "hypot", "max", "min", "gcd"}  # functions that give the same with two arguments swapped


Placed: TypeAlias = ast.expr | ast.stmt


@dataclass(frozen=True)
class Change:
    """One place of a file, as offsets into its bytes, and what then stands there."""

    path: str
    start: int
    end: int
    new: str

    def applied(self, source: bytes) -> bytes:
        """The file with the change."""
        return source[: self.start] + self.new.encode() + source[self.end :]


class Changes(ast.NodeVisitor):
    """Every change that could be made to a file."""

    def __init__(self, path: str, source: bytes) -> None:
        self.path, self.source, self.found = path, source, list[Change]()
        self.lines = [0]
        for line in source.splitlines(keepends=True):
            self.lines.append(self.lines[-1] + len(line))
        self.visit(ast.parse(source))

    def span(self, node: Placed) -> tuple[int, int]:
        """Where a node stands."""
        assert node.end_lineno is not None and node.end_col_offset is not None  # so it is for what was parsed
        return self.lines[node.lineno - 1] + node.col_offset, self.lines[node.end_lineno - 1] + node.end_col_offset

    def text(self, node: Placed) -> str:
        """A node as it is written."""
        start, end = self.span(node)
        return self.source[start:end].decode()

    def change(self, node: Placed, new: str) -> None:
        """Add one."""
        self.found.append(Change(self.path, *self.span(node), new))

    def operator(self, left: ast.expr, right: ast.expr, kind: ast.AST) -> None:
        """Between two operands, another operator."""
        if type(kind) in SWAPPED:
            start, end = self.span(left)[1], self.span(right)[0]
            between = self.source[start:end].decode()
            old = re.search(r"is\s+not|not\s+in|\*\*|//|[<>=!]=|\b(?:is|in|and|or)\b|[-+*/%<>&|]", between)
            if old:
                self.found.append(Change(self.path, start, end, between[: old.start()] + SWAPPED[type(kind)] + between[old.end() :]))

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, kind, right in zip([node.left, *node.comparators], node.ops, node.comparators):
            self.operator(left, right, kind)
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        self.operator(node.left, node.right, node.op)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:]):
            self.operator(left, right, node.op)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.USub | ast.Not):
            self.change(node, f"({self.text(node.operand)})")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.change(node, "pass")
        if type(node.op) in SWAPPED:
            self.change(node, f"{self.text(node.target)} {SWAPPED[type(node.op)]}= {self.text(node.value)}")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, bool):
            self.change(node, repr(not node.value))
        elif isinstance(node.value, int | float):
            others = [node.value + 1, node.value - 1]
            if isinstance(node.value, float) and abs(node.value) > 1e-3:  # half more of a tolerance says nothing
                others.append(1.5 * node.value)
            for other in others:
                if other != node.value:
                    self.change(node, f"({other!r})")

    def visit_If(self, node: ast.If) -> None:
        if (test := self.text(node.test)) == "TYPE_CHECKING" or test.startswith("sys.platform =="):
            for part in node.body if repr(sys.platform) in test.replace('"', "'") else node.orelse:
                self.visit(part)
            return
        self.change(node.test, f"not ({self.text(node.test)})")
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.change(node.test, f"(not ({self.text(node.test)}))")
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self.change(node.test, f"not ({self.text(node.test)})")
        self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.change(node, "pass")

    def visit_Delete(self, node: ast.Delete) -> None:
        self.change(node, "pass")

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant):  # a docstring, or ...
            return
        if not isinstance(node.value, ast.Yield | ast.YieldFrom):
            self.change(node, "pass")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            self.change(node, "pass")
        if not any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if node.name in WORDING or any("overload" in self.text(decorator) for decorator in node.decorator_list):
            return
        for decorator in node.decorator_list:
            self.visit(decorator)
        for default in (*node.args.defaults, *filter(None, node.args.kw_defaults)):
            self.visit(default)
        for part in node.body:
            self.visit(part)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if not any("Protocol" in self.text(base) for base in node.bases):
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = self.text(node.func).rpartition(".")[2]
        if name in WORDING:
            return
        for one, other in zip(node.args, node.args[1:] if name not in EITHER_WAY else ()):
            if not isinstance(one, ast.Starred) and not isinstance(other, ast.Starred) and self.text(one) != self.text(other):
                (start, middle), (right, end) = self.span(one), self.span(other)
                self.found.append(Change(self.path, start, end, f"{self.text(other)}{self.source[middle:right].decode()}{self.text(one)}"))
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Wording."""


def changes(path: str, source: bytes) -> list[Change]:
    """All of a file that leave it Python."""
    return [change for change in dict.fromkeys(Changes(path, source).found) if _compiles(change.applied(source))]


def _compiles(source: bytes) -> bool:
    try:
        compile(source, "changed", "exec")
    except SyntaxError:
        return False
    return True


def shown(change: Change, source: bytes) -> str:
    """A change of a file as a diff without context."""
    old, new = (text.decode().splitlines() for text in (source, change.applied(source)))
    return "\n".join([*difflib.unified_diff(old, new, change.path, change.path, n=0, lineterm="")][1:])
