"""A page's blocks, run statement by statement in the interpreter that imports this: each page's kernel does.

A step is a statement of a cell (with those that share a line with it), or an example. A run may be watched: its watch is told of
each step before and after.
"""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import linecache
import re
import sys
import traceback
import types
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from .page import Block, Page, grouped
from .watch import Recorder


class Watch(Protocol):
    """What looks on while a page runs, and keeps a note of each step."""

    notes: list[Any]

    def before(self, nodes: Sequence[ast.stmt]) -> None:
        """These statements are about to run; their line numbers are the page's."""

    def after(self) -> None:
        """They have run."""


class Steps:
    """One run of the page with this text, in `namespace`."""

    def __init__(self, text: str, path: Path, namespace: dict[str, Any], watch: Watch | None = None) -> None:
        self.page, self.namespace, self.watch = Page.parse(text, path), namespace, watch
        self.faults: list[str] = []
        self.printed: dict[int, list[str]] = {}  # by the examples of each block
        self.broken = False  # a cell raised, or something is no Python: whatever follows would fail for want of it
        # For tracebacks, and for whoever asks for a function's source.
        linecache.cache[str(path)] = (len(text), None, text.splitlines(keepends=True), str(path))

    def run(self) -> Steps:
        """Run every block."""
        for index in range(len(self.page.blocks)):
            self.block(index)
        return self

    def block(self, index: int) -> None:
        """Run one block of the page, if it is one that runs and nothing broke before it."""
        block = self.page.blocks[index]
        if block.runs and not self.broken:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", DeprecationWarning)  # of libraries: not the page's business
                if block.kind == "cell":
                    self._cell(index, block)
                else:
                    self._examples(index, block)

    def judge(self) -> None:
        """Hold the page to its word, when it has run."""
        from . import claims, formulas  # the latter needs SymPy, which not every run does

        if not self.broken:
            self.faults += [*claims.faults(self.page, self.namespace), *formulas.faults(self.page, self.namespace)]

    def parsed(self, source: str, line: int) -> ast.Module:
        """Code that stands in the page at `line`, with the page's line numbers."""
        return ast.parse("\n" * (line - 1) + source, str(self.page.path))

    def fault(self, line: int, why: str) -> None:
        """Note what is wrong at a line of the page."""
        self.faults.append(f"{self.page.path}:{line}: {why}")

    def before(self, nodes: Sequence[ast.stmt]) -> None:
        """Tell the watch of a step."""
        if self.watch:
            self.watch.before(nodes)

    def after(self) -> None:
        """Tell the watch that it has run."""
        if self.watch:
            self.watch.after()

    def _cell(self, index: int, block: Block) -> None:
        name = str(self.page.path)
        try:
            statements = self.parsed(block.text, block.line).body
            for group in grouped(statements):
                self.before(group)
                for statement in group:
                    if statement is statements[-1] and isinstance(statement, ast.Expr):
                        shown = compile(ast.Expression(statement.value), name, "eval", dont_inherit=True)
                        sys.displayhook(eval(shown, self.namespace))
                    else:
                        exec(compile(ast.Module([statement], []), name, "exec", dont_inherit=True), self.namespace)
                self.after()
        except (Exception, SystemExit) as error:
            self.broken = True
            frames = traceback.extract_tb(error.__traceback__)
            ours = [at for at, frame in enumerate(frames) if frame.filename == name]
            if isinstance(error, SyntaxError) and error.filename == name:
                self.fault(error.lineno or block.line, error.msg)
            else:
                below = "".join(traceback.format_list(frames[ours[-1] + 1:] if ours else []))
                self.fault(frames[ours[-1]].lineno or block.line if ours else block.line, f"{type(error).__name__}: {error}\n{below}".rstrip())

    def _examples(self, index: int, block: Block) -> None:
        self.printed[index] = []
        for example in doctest.DocTestParser().get_examples(block.text + "\n"):
            line = block.line + example.lineno
            try:
                self.before(self.parsed(example.source, line).body)
            except SyntaxError as wrong:
                self.broken = True
                return self.fault(wrong.lineno or line, wrong.msg)
            got, error = self._example(example.source, f"<the example in line {line}>")
            self.after()
            self.printed[index].append(got)
            # As doctest has it: an exception is what its last line says.
            wanted, last = (example.want, got) if error is None else (example.exc_msg, traceback.format_exception_only(error)[-1])
            if error is not None and wanted is None:
                self.fault(line, f"{type(error).__name__}: {error}")
            elif not doctest.OutputChecker().check_output(wanted or "", last, 0):
                difference = doctest.OutputChecker().output_difference(example, last, 0).rstrip()
                self.fault(line, f"the output is not what the page says\n{difference}")

    def _example(self, source: str, name: str) -> tuple[str, BaseException | None]:
        """What an example prints, and what it raises."""
        printed, shows = io.StringIO(), sys.displayhook
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        sys.displayhook = sys.__displayhook__
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(source, name, "single", dont_inherit=True), self.namespace)
            error = None
        except (Exception, SystemExit) as raised:
            error = raised
        finally:
            sys.displayhook = shows
        return re.sub(r"(?<=[^\n])\Z", "\n", printed.getvalue()), error


steps: Steps  # the run of this interpreter, if it is a page's kernel


def start(text: str, path: str, watched: bool) -> None:
    """Begin the run of a page, and watch it if that is asked: from now on its namespace is the interpreter's main module."""
    global steps
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    steps = Steps(text, Path(path), vars(main), Recorder(vars(main)) if watched else None)


def end(judged: bool) -> None:
    """Send what the run found to whoever started it, after the claims if it is this run that is judged."""
    from IPython.display import publish_display_data

    if judged:
        steps.judge()
    notes = steps.watch.notes if steps.watch else []
    publish_display_data({"application/json": {"faults": steps.faults, "printed": steps.printed, "notes": notes}})  # type: ignore[no-untyped-call]
