"""Experiments too long for a build: a script runs a page's own functions on a grid and keeps the results in a file of the package."""

from __future__ import annotations

import ast
import contextlib
import json
import platform
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .page import Page

MEASUREMENTS = Path(__file__).resolve().parents[2] / "reference_impl" / "measurements"
PLAIN = (ast.Name, ast.Constant, ast.Attribute, ast.Tuple, ast.List, ast.Dict, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.expr_context)


def definitions(page: Path, file: Path, calls: Collection[str] = ()) -> dict[str, Any]:
    """A page's imports, functions and constants, without its runs and without the cell that reads `file`.

    An assignment counts as a constant if it is made of names, literals and arithmetic, calls nothing but `calls`, and needs nothing that a
    run makes.
    """
    names: dict[str, Any] = {}
    for block in Page.read(page).blocks:
        for node in ast.parse(block.text).body if block.kind == "cell" and not reads(block.text, file) else []:
            constant = isinstance(node, ast.Assign) and all(
                inner.func.id in calls if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) else isinstance(inner, PLAIN)
                for inner in ast.walk(node.value))
            if constant or isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef):
                with contextlib.suppress(NameError):
                    exec(compile(ast.Module([node], []), str(page), "exec"), names)
    return names


def reads(code: str, file: Path) -> bool:
    """Whether a cell reads what `file` keeps."""
    return f'measured("{file.stem}")' in code


def as_text(head: Mapping[str, Any], tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """JSON for a file that people compare: what it was made with, the numbers of `head`, and a line for each row of each table."""
    about = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
    blocks = [f' "{key}": {json.dumps(value)}' for key, value in ({"about": about} | dict(head)).items()]
    for key, rows_of in tables.items():
        inner = ",\n".join(f'  "{name}": {{\n' + ",\n".join(f'   "{row}": {json.dumps(values)}' for row, values in rows.items()) + "\n  }"
                           for name, rows in rows_of.items())
        blocks.append(f' "{key}": {{\n{inner}\n }}')
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def keep(text: str, file: Path, *, only_print: bool) -> None:
    """Write what a script found, or only show it."""
    if only_print:
        print(text)
    else:
        file.write_text(text, encoding="utf-8")
