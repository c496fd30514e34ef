"""Change the package at random, one place at a time, and print what its tests do not catch.

    python scripts/mutate_package.py                                300 changes over the whole package
    python scripts/mutate_package.py -n 40 --only practice/search --only optimization/adam --seed 1

A change is another comparison, operator, sign, number, truth value, `and` for `or`, a negated condition, two arguments swapped, a statement
left out; never in docstrings, annotations, wording or what another platform runs. It is tried in a copy of the tree: against the module's own
tests and doctests, then those of modules that import it and those that import what it defines, then the page of the same name. What runs
into the time limit is caught. Exits with 1 if fewer than 95 of 100 are.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tqdm import tqdm

ROOT = Path(__file__).parents[1]
LEAST = 0.95
SWAPPED = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not", ast.IsNot: "is", ast.In: "not in",
    ast.NotIn: "in", ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.FloorDiv: "/", ast.Mod: "*", ast.Pow: "*", ast.And: "or",
    ast.Or: "and", ast.BitAnd: "|", ast.BitOr: "&",
}
WORDING = {"__repr__", "__str__", "warn", "deprecated"}
LIMIT = {"own": 120, "others": 120, "page": 400}  # seconds on a free machine


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

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where a node stands."""
        return self.lines[node.lineno - 1] + node.col_offset, self.lines[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def text(self, node: ast.AST) -> str:
        """A node as it is written."""
        start, end = self.span(node)
        return self.source[start:end].decode()

    def change(self, node: ast.AST, new: str) -> None:
        """Add one."""
        self.found.append(Change(self.path, *self.span(node), new))

    def operator(self, left: ast.AST, right: ast.AST, kind: ast.AST) -> None:
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
        if self.text(node.func).rpartition(".")[2] in WORDING:
            return
        for one, other in zip(node.args, node.args[1:]):
            if not isinstance(one, ast.Starred) and not isinstance(other, ast.Starred) and self.text(one) != self.text(other):
                (start, middle), (right, end) = self.span(one), self.span(other)
                self.found.append(Change(self.path, start, end, f"{self.text(other)}{self.source[middle:right].decode()}{self.text(one)}"))
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Wording."""


def changes(only: list[str]) -> list[Change]:
    """All of the package, or of the modules whose paths hold one of some words."""
    found = []
    for path in sorted((ROOT / "reference_impl").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not only or any(word in name for word in only):
            source = path.read_bytes()
            made = dict.fromkeys(Changes(name, source).found)
            found += [change for change in made if _compiles(change.applied(source))]
    return found


def _compiles(source: bytes) -> bool:
    try:
        compile(source, "changed", "exec")
    except SyntaxError:
        return False
    return True


class Tree:
    """A copy of the tree to change."""

    def __init__(self, folder: str) -> None:
        self.root, self.sound = Path(folder) / "tree", dict[str, bool]()
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)
        self.environment = os.environ | {"PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": str(self.root / ".numba"),
                                         "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, "-m", "compileall", "-q", "reference_impl", "tests", "scripts"], cwd=self.root, check=False)

    def caught(self, change: Change, slow: float) -> str:
        """The stage whose tests fail with the change; "" if none does."""
        file = self.root / change.path
        source, stat = file.read_bytes(), file.stat()
        for stage, tests in stages(self.root, change.path):
            file.write_bytes(change.applied(source))
            os.utime(file, (stat.st_atime, time.time() + random.randrange(10**6)))  # another time than the compiled file's
            try:
                failed = not self.passes(tests, slow * LIMIT[stage])
            finally:
                file.write_bytes(source)
                os.utime(file, (stat.st_atime, stat.st_mtime))
            if failed:
                if (key := " ".join(tests)) not in self.sound:
                    self.sound[key] = self.passes(tests, slow * LIMIT[stage])
                    if not self.sound[key]:
                        tqdm.write(f"fails before anything is changed, and is left out: {key}")
                if self.sound[key]:
                    return stage
        return ""

    def passes(self, tests: list[str], seconds: float) -> bool:
        """Whether tests pass in time."""
        command = [sys.executable, "-m", "pytest", "-n0", "-x", "-q", "-p", "no:cacheprovider", *tests]
        process = subprocess.Popen(command, cwd=self.root, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            return process.wait(seconds) in (0, 5)  # 5: nothing to run
        except subprocess.TimeoutExpired:
            return False
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def stages(root: Path, path: str) -> Iterator[tuple[str, list[str]]]:
    """The tests that concern a module, in the order in which they are tried."""
    module = Path(path).relative_to("reference_impl").with_suffix("")
    folder, name = module.parent.as_posix(), module.name if module.name != "__init__" else module.parent.name
    own = [file for file in (f"tests/{folder}/test_{name}.py",) if (root / file).exists()]
    yield "own", [path, *own]
    tree = ast.parse((ROOT / path).read_bytes())
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")}
    above = [user.relative_to(root / "reference_impl") for user in sorted((root / "reference_impl").rglob("*.py"))
             if re.search(rf"^ *from \.[\w.]*\b{name} import", user.read_text(encoding="utf-8"), re.M)]
    near = [file for user in above if (file := root / "tests" / user.parent / f"test_{user.name}").exists()]
    tests = sorted((root / "tests").rglob("test_*.py"), key=lambda file: (file not in near, folder not in file.parts))
    others = [file.relative_to(root).as_posix() for file in tests
              if file in near or (file.parent.name != "book" and imported(file) & {name, *defined})]
    yield from (("others", [file]) for file in others if file not in own)
    yield "others", ["reference_impl" if folder == "." else f"reference_impl/{folder}"]
    if (root / "docs" / f"{module}.md").exists():
        yield "page", ["tests/test_pages.py", "-k", f"{module}.md"]


def imported(file: Path) -> set[str]:
    """The names that a test imports, itself or through the helpers beside it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            found |= {part for alias in node.names for part in alias.name.split(".")}
            module = getattr(node, "module", None) or ""
            found |= set(module.split("."))
            for helper in {module, *(alias.name for alias in node.names)}:
                if (path := ROOT / "tests" / f"{helper}.py").exists():
                    found |= imported(path)
    return found


def shown(change: Change) -> str:
    """A change as a diff without context."""
    source = (ROOT / change.path).read_bytes()
    diff = difflib.unified_diff(source.decode().splitlines(), change.applied(source).decode().splitlines(), change.path, change.path, n=0, lineterm="")
    return "\n".join([*diff][1:])


def main() -> int:
    """Print what was caught, by stage, and every change that was not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-n", type=int, default=300, help="how many changes (default: 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], help="part of the path of a module; may be given again")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once (default: one a processor)")
    parser.add_argument("--slow", type=float, default=1.0, help="how much longer than usual tests may take here (default: 1)")
    options = parser.parse_args()
    possible = changes(options.only)
    chosen = random.Random(options.seed).sample(possible, min(options.n, len(possible)))
    caught: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        trees = SimpleQueue[Tree]()
        for job in range(options.jobs):
            trees.put(Tree(f"{folder}/{job}"))

        def tried(change: Change) -> str:
            tree = trees.get()
            try:
                return tree.caught(change, options.slow)
            finally:
                trees.put(tree)

        for change, stage in tqdm(zip(chosen, pool.map(tried, chosen)), total=len(chosen), unit="change", disable=None):
            caught[stage] += 1
            if not stage:
                tqdm.write(shown(change))
    share = 1 - caught[""] / len(chosen)
    print(f"{len(chosen)} of {len(possible)} changes, {caught['']} not caught: {share:.1%} caught "
          f"({caught['own']} by the module's own tests, {caught['others']} by others, {caught['page']} by its page)")
    return int(share < LEAST)


if __name__ == "__main__":
    sys.exit(main())
