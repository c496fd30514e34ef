"""Run a page as a reader would: cells and examples in order, in one namespace; then its claims."""

from __future__ import annotations

import ast
import contextlib
import doctest
import io
import sys
import traceback
import types
import warnings
from typing import Any

from . import claims, formulas
from .page import Block, Page, PageError


def check(page: Page) -> None:
    """Run `page` and hold it to its word; raises PageError naming file and line of each fault."""
    namespace = run(page)
    if found := [*_borrowed(page), *claims.faults(page, namespace), *formulas.faults(page, namespace)]:
        raise PageError("\n".join(found))


def run(page: Page) -> dict[str, Any]:
    """The namespace after every cell and example of `page`; raises PageError at the first that fails."""
    module = types.ModuleType("__page__")
    namespace = module.__dict__
    sys.modules["__page__"] = module  # dataclasses and pickles look their module up
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", DeprecationWarning)  # of libraries: not the page's business
            for block in page.blocks:
                if block.kind == "cell":
                    _run_cell(block, page, namespace)
                elif block.kind == "examples":
                    _run_examples(block, page, namespace)
    finally:
        del sys.modules["__page__"]
    return namespace


def _borrowed(page: Page) -> list[str]:
    """Cells that use a name which only the examples bind: the build runs the cells alone."""
    by_examples: set[str] = set()
    by_cells: set[str] = set()
    found = []
    for block in page.blocks:
        if block.kind == "examples":
            by_examples |= set(claims.names_bound(block))
        elif block.kind == "cell":
            tree = ast.parse(block.text)
            names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
            by_cells |= {*claims.names_bound(block), *(n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)),
                         *(n.id for n in names if isinstance(n.ctx, ast.Store))}
            used = {n.id: n.lineno for n in names if isinstance(n.ctx, ast.Load)}
            found += [f"{page.path}:{block.line + line - 1}: this cell uses {name}, which only the examples bind; the build runs cells alone"
                      for name, line in used.items() if name in by_examples - by_cells]
    return found


def _run_cell(cell: Block, page: Page, namespace: dict[str, Any]) -> None:
    try:
        tree = ast.parse(cell.text)
        ast.increment_lineno(tree, cell.line - 1)
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(tree, str(page.path), "exec"), namespace)
    except SyntaxError as error:
        raise PageError(f"{page.path}:{cell.line + (error.lineno or 1) - 1}: {error.msg}") from error
    except Exception as error:
        frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(page.path)]
        raise PageError(f"{page.path}:{frames[-1] if frames else cell.line}: {type(error).__name__}: {error}") from error


def _run_examples(block: Block, page: Page, namespace: dict[str, Any]) -> None:
    test = doctest.DocTestParser().get_doctest(block.text + "\n", {}, str(page.path), str(page.path), block.line - 1)
    test.globs = namespace
    try:
        doctest.DebugRunner(verbose=False).run(test, clear_globs=False)
    except doctest.DocTestFailure as failure:
        line = block.line + failure.example.lineno
        difference = doctest.OutputChecker().output_difference(failure.example, failure.got, 0).rstrip()
        raise PageError(f"{page.path}:{line}: the output is not what the page says\n{difference}") from None
    except doctest.UnexpectedException as failure:
        line = block.line + failure.example.lineno
        kind, error, _ = failure.exc_info
        raise PageError(f"{page.path}:{line}: {kind.__name__}: {error}") from error
