"""Tries the copies of a page: each runs in a namespace of its own, and its block must give what it gave on the page.

Copies that begin alike share their beginning: the process forks where they part. Their imports are made before that, all at once; before a
block runs, those that its copy lacks are taken away again.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dis
import gc
import importlib
import io
import json
import linecache
import os
import re
import sys
import traceback
import types
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from IPython.core.formatters import DisplayFormatter

from .steps import Steps
from .watch import Reads

ADDRESS = re.compile(" at 0x[0-9a-f]{6,}")  # in an object's plain repr
FIGURE = "application/vnd.descent.figure+json"  # as reference_impl.plots writes it
FORMATTER: Any = DisplayFormatter()


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

    def imported(self) -> dict[str, Any]:
        """What its imports bind."""
        found: dict[str, Any] = {}
        exec("\n".join(self.imports), found)
        return {name: value for name, value in found.items() if name != "__builtins__"}


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
        apart: list[tuple[dict[str, Any], list[Program]]] = []  # where programs mean different things by one imported name
        for program in programs:
            if missing := program.missing():
                self.fault(program, f"it does not bind {', '.join(sorted(missing))}")
            with _as_on_a_page():
                own = program.imported()
                _warm(own)
            for names, group in apart:
                if all(names.get(name, value) is value for name, value in own.items()):
                    names.update(own)
                    group.append(program)
                    break
            else:
                apart.append((own, [program]))
        if (plots := sys.modules.get("reference_impl.plots")) is not None:
            plots._svg = lambda *_: ""  # type: ignore[attr-defined]  # how a figure looks is the page's matter, and takes most of its time
        gc.freeze()
        for names, group in apart:
            with _fork() as forked:
                if forked:
                    self.imported = names
                    self.namespace.update(names)
                    self.walk(group, 0)

    def walk(self, programs: Sequence[Program], depth: int) -> None:
        """Run what is left of programs whose first `depth` statements have run."""
        groups: dict[str, list[Program]] = {}
        for program in programs:
            if depth < len(program.statements):
                groups.setdefault(program.statements[depth], []).append(program)
            else:
                with _fork() as forked:
                    if forked:
                        self.block(program)
        for text, group in groups.items():
            with _fork() if len(groups) > 1 else contextlib.nullcontext(True) as forked:
                if forked and self.statement(text, group):
                    self.walk(group, depth + 1)

    def statement(self, text: str, programs: Sequence[Program]) -> bool:
        """Run a statement with which these programs go on; whether they can."""
        name = f"<a statement, {text[:40]!r}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        try:
            with _as_on_a_page(), contextlib.redirect_stdout(io.StringIO()):
                exec(compile(text, name, "exec", dont_inherit=True), self.namespace)
            return True
        except (Exception, SystemExit) as error:
            for program in programs:
                self.fault(program, f"{type(error).__name__}: {error}, in {text.splitlines()[0]!r}")
            return False

    def block(self, program: Program) -> None:
        """Run the block itself, with nothing around but what its copy made."""
        own = program.imported()
        for name, value in self.imported.items():
            if name not in own and self.namespace.get(name) is value:
                del self.namespace[name]
        printed = io.StringIO()
        shown: list[dict[str, Any]] = []
        sys.displayhook = lambda value: None if value is None else shown.append(FORMATTER.format(value)[0])
        with contextlib.redirect_stdout(printed):
            self.steps.block(program.index)
        for fault in self.steps.faults:
            self.fault(program, fault)
        if program.outputs is not None and not self.steps.faults:
            streams = "".join(output.get("text", "") for output in program.outputs)
            wanted = _same([streams, *(output["data"] for output in program.outputs if "data" in output)])
            if (got := _same([printed.getvalue(), *shown])) != wanted:
                self.fault(program, f"it gives {got}, and on the page it gave {wanted}")
        self.fault(program, "")

    def fault(self, program: Program, why: str) -> None:
        """Note what is wrong with a copy; nothing, for one that came to its end."""
        with open(self.found, "a", encoding="utf-8") as file:
            file.write(json.dumps([program.index, why]) + "\n")


def _same(outputs: Sequence[Any]) -> list[Any]:
    """What must be the same on the page and in the copy; of a figure, that it is one."""
    return [output if isinstance(output, str) else (FIGURE, output["text/plain"]) if FIGURE in output else
            {kind: ADDRESS.sub("", text) for kind, text in output.items() if isinstance(text, str)} for output in outputs]  # fmt: skip


def _warm(names: dict[str, Any]) -> None:
    """Import what these functions will import when they are called: once, rather than in every fork."""
    for function in names.values():
        if isinstance(function, types.FunctionType):
            for step in dis.get_instructions(function):
                if step.opname == "IMPORT_NAME":
                    with contextlib.suppress(ImportError):
                        importlib.import_module(step.argval)


@contextlib.contextmanager
def _as_on_a_page() -> Iterator[None]:
    """With warnings as errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


@contextlib.contextmanager
def _fork() -> Iterator[bool]:
    """Do what stands within in a process of its own, where this is true, and wait for its end."""
    if child := os.fork():
        os.waitpid(child, 0)
        yield False
        return
    try:
        yield True
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


def main() -> None:
    """Try what stands on the standard input."""
    job = json.load(sys.stdin)
    Trial(job["text"], job["path"], job["found"]).run([Program(**program) for program in job["programs"]])
