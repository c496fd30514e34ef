"""Tries the copies of a page: each runs in a namespace of its own, and its block must give what it gave on the page.

Copies that begin alike share their beginning: the process forks where they part. Their imports are made before that, all at once; before a
block runs, those that its copy lacks are taken away again.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import gc
import io
import json
import linecache
import os
import re
import sys
import types
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IPython.core.formatters import DisplayFormatter

from .steps import Steps
from .watch import Reads, bound_as

ADDRESS = re.compile(" at 0x[0-9a-f]{6,}")  # in an object's plain repr
FIGURE = "application/vnd.descent.figure+json"  # as reference_impl.plots writes it
FORMATTER = DisplayFormatter()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Program:
    """What a copy puts before the block with this index, and what the block gave on the page, if it is a cell."""

    index: int
    imports: list[str]
    statements: list[str]
    outputs: list[dict[str, Any]] | None

    def missing(self) -> set[str]:
        """The names that its statements read, and that nothing before has bound."""
        known, found = set(dir(builtins)), set()
        for text in [*self.imports, *self.statements]:
            nodes = ast.parse(text).body
            found |= Reads(nodes).reads - known
            inside = [part for node in nodes for part in ast.walk(node)]
            known |= Reads(nodes).binds | {part.id for part in inside if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
        return found


class Trial:
    """The programs of one page, in this process and those that it forks; what is wrong is added to the file `found`."""

    def __init__(self, text: str, path: str, found: str) -> None:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        self.namespace = vars(main)
        self.steps = Steps(text, Path(path), self.namespace)
        self.found = found
        self.imported: dict[str, Any] = {}

    def run(self, programs: Sequence[Program]) -> None:
        """Try them all."""
        for program in programs:
            if missing := program.missing():
                self.fault(program, f"it does not bind {', '.join(sorted(missing))}")
        with _calmly():
            apart: list[tuple[dict[str, Any], list[Program]]] = []  # where programs mean different things by one imported name
            for program in programs:
                own: dict[str, Any] = {}
                for line in program.imports:
                    exec(line, own)
                own.pop("__builtins__", None)
                fits = (group for group in apart if all(group[0].get(name, value) is value for name, value in own.items()))
                names, group = next(fits, ({}, []))
                names |= own
                group.append(program)
                if len(group) == 1:
                    apart.append((names, group))
        if (plots := sys.modules.get("reference_impl.plots")) is not None:
            plots._svg = lambda *_: ""  # type: ignore[attr-defined]  # what is drawn is the page's matter, and most of its time
        gc.freeze()
        for names, group in apart:
            self.imported = names
            _forked(lambda: (self.namespace.update(names), self.walk(group, 0)))

    def walk(self, programs: Sequence[Program], depth: int) -> None:
        """Run what is left of programs whose first `depth` statements have run."""
        groups: dict[Any, list[Program]] = {}
        for program in programs:
            groups.setdefault(program.statements[depth] if depth < len(program.statements) else program.index, []).append(program)
        for key, group in groups.items():
            def go(key: Any = key, group: list[Program] = group) -> None:
                self.block(group[0]) if isinstance(key, int) else self.statement(key, group, depth)

            go() if len(groups) == 1 else _forked(go)

    def statement(self, text: str, programs: Sequence[Program], depth: int) -> None:
        """Run a statement with which these programs go on, and then the rest of them."""
        name = f"<a copy's {text[:20]!r} {hash(text)}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        try:
            with _calmly(), contextlib.redirect_stdout(io.StringIO()):
                exec(compile(text, name, "exec", dont_inherit=True), self.namespace)
        except (Exception, SystemExit) as error:
            for program in programs:
                self.fault(program, f"{type(error).__name__}: {error}, in {text.splitlines()[0]!r}")
        else:
            self.walk(programs, depth + 1)

    def block(self, program: Program) -> None:
        """Run the block itself, with nothing around but what its copy made."""
        own: dict[str, Any] = {}
        with _calmly():
            exec("\n".join(program.imports), own)
        for name, value in self.imported.items():
            if name not in own and self.namespace.get(name) is value:
                del self.namespace[name]
        printed, shown = io.StringIO(), []
        sys.displayhook = lambda value: None if value is None else shown.append(FORMATTER.format(value)[0])  # type: ignore[no-untyped-call]
        with contextlib.redirect_stdout(printed):
            self.steps.block(program.index)
        for fault in self.steps.faults:
            self.fault(program, fault)
        if program.outputs is not None and not self.steps.faults:
            streams = "".join(output.get("text", "") for output in program.outputs)
            wanted = [streams, *(output["data"] for output in program.outputs if "data" in output)]
            got = [printed.getvalue(), *shown]
            if [_shown(each) for each in got] != [_shown(each) for each in wanted]:
                self.fault(program, f"it gives\n{got}\nand on the page it gave\n{wanted}")
        self.fault(program, "")

    def fault(self, program: Program, why: str) -> None:
        """Note what is wrong with a copy; nothing, for one that came to its end."""
        with open(self.found, "a", encoding="utf-8") as file:
            file.write(json.dumps([program.index, why]) + "\n")


def _shown(output: Any) -> Any:
    """What must be the same on the page and in the copy: of a figure, that it is one."""
    if isinstance(output, str):
        return output
    if FIGURE in output:
        return FIGURE, output["text/plain"]
    return {kind: ADDRESS.sub("", text) for kind, text in output.items() if isinstance(text, str)}


@contextlib.contextmanager
def _calmly() -> Any:
    """With the warnings that a page is run with."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def _forked(go: Any) -> None:
    """Do something in a process of its own, and wait for that."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            go()
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def main() -> None:
    """Try what stands on the standard input."""
    job = json.load(sys.stdin)
    Trial(job["text"], job["path"], job["found"]).run([Program(**program) for program in job["programs"]])
