"""Tries the copies of a page: each runs in a namespace of its own, and its block must give what it gave on the page.

Copies that begin alike share their beginning: the process forks where they part. Their imports are made before that, all at once; so it is
looked at separately whether each imports what it reads.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dis
import doctest
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

from reference_impl.engines.outputs import FIGURE

from .watch import Reads

ADDRESS = re.compile(" at 0x[0-9a-f]{6,}")  # in an object's plain repr
FORMATTER: Any = DisplayFormatter()


@dataclass(frozen=True)
class Program:
    """The copy of the block with this index: its imports, and its pieces in their order.

    A piece is the `text` of a statement, the `mode` in which it runs ("exec", "single" as an example, "show" as the last of a cell) and whether
    it `raises`. `own` are the places of the block's own pieces, `quick` is another order that should give the same. What the block gave on
    the page are `outputs`, if it is a cell; else it is the text of a `block` of examples.
    """

    index: int
    imports: list[str]
    pieces: list[dict[str, Any]]
    own: list[int]
    quick: list[int]
    outputs: list[dict[str, Any]] | None
    block: str | None

    def missing(self) -> set[str]:
        """The names that it reads, in functions too, and never binds before."""
        known, found, inner = set(dir(builtins)) | {"__name__"}, set(), set()
        for text in [*self.imports, *(piece["text"] for piece in self.pieces)]:
            nodes = ast.parse(text).body
            found |= Reads(nodes).reads - known
            inner |= Reads(nodes, deep=True).reads
            inside = [part for node in nodes for part in ast.walk(node)]
            known |= Reads(nodes).binds | {part.id for part in inside if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
        return found | (inner - known)

    def imported(self) -> dict[str, Any]:
        """What its imports bind."""
        found: dict[str, Any] = {}
        exec("\n".join(self.imports), found)
        return {name: value for name, value in found.items() if name != "__builtins__"}

    def fault(self, given: dict[int, Given]) -> str:
        """What is wrong with what its pieces gave; empty if nothing is."""
        own = [given[at] for at in self.own]
        if self.block is None:
            page = self.outputs or []
            wanted = _same(["".join(output.get("text", "") for output in page), *(output["data"] for output in page if "data" in output)])
            got = _same(["".join(each.printed for each in own), *(data for each in own for data in each.shown)])
            return "" if got == wanted else f"it gives {got}, and on the page it gave {wanted}"
        examples = [e for e in doctest.DocTestParser().get_examples(self.block + "\n")]
        if len(own) != len(examples):  # imports made at the beginning print nothing
            examples = [e for e in examples if e.source.rstrip("\n") in {self.pieces[at]["text"] for at in self.own}]
        check = doctest.OutputChecker()
        wrong = (check.output_difference(e, each.printed, 0) for e, each in zip(examples, own, strict=True)
                 if not check.check_output(e.exc_msg or e.want, each.printed, 0))
        return next(wrong, "")


@dataclass(frozen=True)
class Given:
    """What a piece printed (the exception, if it is to raise one), and the values that it showed."""

    printed: str
    shown: list[dict[str, Any]]


class Trial:
    """The programs of one page, in this process and those that it forks; what is wrong with each is added to the file `found`."""

    def __init__(self, found: str) -> None:
        main = sys.modules["__main__"] = types.ModuleType("__main__")
        self.namespace = vars(main)
        self.found = found

    def run(self, programs: Sequence[Program]) -> None:
        """Try them all."""
        apart: list[tuple[dict[str, Any], list[Program]]] = []  # where programs mean different things by one imported name
        for program in programs:
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
                    self.namespace.update(names)
                    self.walk([(program, program.quick) for program in group], 0, {})
        found = self.faults()
        failed = [program for program in programs if found.get(program.index, "it broke off")]
        for program in failed:
            with _fork() as forked:
                if forked:
                    self.namespace.update(program.imported())
                    self.walk([(program, list(range(len(program.pieces))))], 0, {})
        for names, group in apart:
            for program in group:
                if missing := program.missing() & set(names):  # it found them all the same, for others import them
                    self.say(program, f"it does not bind {', '.join(sorted(missing))}")

    def walk(self, programs: Sequence[tuple[Program, list[int]]], depth: int, given: dict[int, dict[int, Given]]) -> None:
        """Run what is left of programs, each with the order of its pieces, whose first `depth` pieces gave this."""
        groups: dict[tuple[Any, ...], list[tuple[Program, list[int]]]] = {}
        for program, order in programs:
            if depth == len(order):
                self.say(program, program.fault(given.get(program.index, {})))
            else:
                groups.setdefault(tuple(program.pieces[order[depth]].items()), []).append((program, order))
        for left, (piece, group) in zip(reversed(range(len(groups))), groups.items()):
            with _fork() if left else contextlib.nullcontext(True) as forked:
                if forked:
                    try:
                        result = self.piece(**dict(piece))
                    except (Exception, SystemExit) as error:
                        for program, _ in group:
                            self.say(program, f"{type(error).__name__}: {error}, in {dict(piece)['text'].splitlines()[0]!r}")
                    else:
                        now = {program.index: {**given.get(program.index, {}), order[depth]: result} for program, order in group}
                        self.walk(group, depth + 1, now)

    def piece(self, text: str, mode: str, raises: bool) -> Given:
        """Run a piece."""
        name = f"<a statement, {text[:40]!r}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        printed = io.StringIO()
        shown: list[dict[str, Any]] = []
        sys.displayhook = sys.__displayhook__ if mode == "single" else lambda value: None if value is None else shown.append(FORMATTER.format(value)[0])
        try:
            with _as_on_a_page(), contextlib.redirect_stdout(printed):
                body = ast.parse(text, name).body
                last = body.pop() if mode == "show" and isinstance(body[-1], ast.Expr) else None
                code = compile(text + "\n", name, "single") if mode == "single" else compile(ast.Module(body, []), name, "exec")
                exec(code, self.namespace)
                if isinstance(last, ast.Expr):
                    sys.displayhook(eval(compile(ast.Expression(last.value), name, "eval"), self.namespace))
        except (Exception, SystemExit) as error:
            if not raises:
                raise
            return Given(traceback.format_exception_only(error)[-1], shown)
        return Given(printed.getvalue(), shown)

    def say(self, program: Program, why: str) -> None:
        """Note what is wrong with a copy; nothing, for one that is right. What is said last counts."""
        with open(self.found, "a", encoding="utf-8") as file:
            file.write(json.dumps([program.index, why]) + "\n")

    def faults(self) -> dict[int, str]:
        """What is noted."""
        with open(self.found, encoding="utf-8") as file:
            return dict(map(json.loads, file))


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
    Path(job["found"]).touch()
    Trial(job["found"]).run([Program(**program) for program in job["programs"]])
