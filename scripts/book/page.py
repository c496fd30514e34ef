"""A page: a Markdown file cut into prose, cells, examples and displayed blocks.

- An unindented `python` fence is a *cell*: run when the site is built, and by the tests.
- A `pycon` fence holds *examples*, `>>>` and output: tested as doctests among the cells, in order.
- A `derivation` fence is a chain of formulas with reasons, each step proved when the page has run.
- A fence of another language that is not run (`DISPLAYED`) is shown as it is.

Any other code (another fence, a block that is code by its indent, a fence in a quotation, `<pre>`) is an error, so that
none goes untested by accident.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

DISPLAYED = {"text", "bash", "console", "yaml", "toml", "bibtex"}
KERNEL_LINE = "{name: python3, language: python, display_name: Python 3}"

_FENCE = re.compile(r"^(?P<indent>[ \t]*)(?P<mark>`{3,}|~{3,})(?P<info>[^`]*)$")


class PageError(Exception):
    """What is wrong on a page, each fault with its file and line."""


@dataclass(frozen=True)
class Block:
    """A piece of a page; `text` starts at `line` (1-based) of the file, fences left out."""

    kind: Literal["prose", "cell", "examples", "derivation", "display"]
    text: str
    line: int
    info: str = ""

    @property
    def runs(self) -> bool:
        """Whether it is code that runs with the page."""
        return self.kind in ("cell", "examples")


@dataclass(frozen=True)
class Page:
    """A page's path, front matter and blocks in order; every line of the body is in one block."""

    path: Path
    meta: dict[str, Any]
    front: str
    blocks: tuple[Block, ...]

    @classmethod
    def read(cls, path: str | Path) -> Page:
        """The page in the file `path`; raises PageError for a fence that nothing would run."""
        return cls.parse(Path(path).read_text(encoding="utf-8"), Path(path))

    @classmethod
    def parse(cls, text: str, path: Path = Path("page.md")) -> Page:
        """The page with this text."""
        lines = text.splitlines()
        start, front = 0, ""
        if lines and lines[0] == "---" and "---" in lines[1:]:
            start = lines.index("---", 1) + 1
            front = "\n".join(lines[1:start - 1])
        # Numbers among the constants keep the digits that the author wrote.
        meta = yaml.load(front, Loader=yaml.BaseLoader) or {}
        page = cls(path, meta, front, tuple(_blocks(lines, start, path)))
        if meta.get("edition", "2") != "2":
            raise PageError(f"{path}:1: the front matter's edition is {meta['edition']!r}: it is 2, or left out for a page of the first")
        if any(b.kind == "cell" for b in page.blocks) and not page.executable:
            raise PageError(f"{path}:1: this page has python cells, but its front matter names no kernel, so they would "
                            f"not run: it needs a line `jupyter:` and below it `  kernelspec: {KERNEL_LINE}`")
        return page

    @property
    def executable(self) -> bool:
        """Whether the build runs the page's cells."""
        if not re.search(r"^jupyter:\s*$", self.front, re.M):  # Jupytext sees no other form
            return False
        jupyter = self.meta["jupyter"]
        spec = jupyter.get("kernelspec") if isinstance(jupyter, dict) else None
        return isinstance(spec, dict) and spec.get("language") == "python"

    @property
    def cells(self) -> tuple[Block, ...]:
        """The code that the build runs, in order."""
        return tuple(b for b in self.blocks if b.kind == "cell")


def grouped(statements: Sequence[ast.stmt]) -> list[list[ast.stmt]]:
    """The statements of a cell, those that share a line together."""
    groups: list[list[ast.stmt]] = []
    for statement in statements:
        if groups and statement.lineno == groups[-1][-1].end_lineno:
            groups[-1].append(statement)
        else:
            groups.append([statement])
    return groups


def _blocks(lines: list[str], start: int, path: Path) -> list[Block]:
    blocks: list[Block] = []
    prose_from = start

    def end_prose(at: int) -> None:
        if at > prose_from:
            blocks.append(Block("prose", "\n".join(lines[prose_from:at]), prose_from + 1))

    at = start
    while at < len(lines):
        opening = _FENCE.match(lines[at])
        if not opening:
            at += 1
            continue
        mark, info = opening["mark"], opening["info"].strip()
        close = next((i for i in range(at + 1, len(lines)) if lines[i].rstrip() == opening["indent"] + mark), None)
        if close is None:
            raise PageError(f"{path}:{at + 1}: this {mark}{info} block is never closed")
        end_prose(at)
        text = textwrap.dedent("\n".join(lines[at + 1:close]))
        blocks.append(Block(_kind(info, text, bool(opening["indent"]), f"{path}:{at + 1}"), text, at + 2, info))
        at = prose_from = close + 1
    end_prose(len(lines))
    _refuse_code([(b.line + i, text) for b in blocks if b.kind == "prose" for i, text in enumerate(b.text.split("\n"))], path)
    return blocks


def _refuse_code(prose: list[tuple[int, str]], path: Path) -> None:
    """Refuse code that Markdown makes of prose: a fence in a quotation, `<pre>`, `>>>`, too deep an indent."""
    inside = [0]  # the indents at which a list item's or an admonition's own text may stand
    blank = True
    for number, text in prose:
        if not text.strip():
            blank = True
            continue
        indent = len(text.expandtabs(4)) - len(text.expandtabs(4).lstrip())
        code = re.match(r"\s*(?:>\s*)+(?:`{3}|~{3})|\s*(?:>>> )|.*<pre[\s>]", text)
        while inside[-1] > indent:
            inside.pop()
        if code or (blank and indent >= inside[-1] + 4):
            raise PageError(f"{path}:{number}: no test collects this code: put it in a `python` or `pycon` fence")
        if re.match(r"\s*(?:[-*+]|\d+\.)\s|\s*(?:!!!|\?\?\?\+?|===)\s|\s*\[\^[^\]]+\]:|\s*:\s", text):
            inside.append(indent + 4)
        blank = False


def _kind(info: str, text: str, indented: bool, where: str) -> Literal["cell", "examples", "derivation", "display"]:
    if info in ("python", "python fold"):
        if indented:
            raise PageError(f"{where}: an indented python block is not run: write a `pycon` block with `>>>` here")
        return "cell"
    if info == "pycon":
        if ">>> " not in text:
            raise PageError(f"{where}: this pycon block holds no `>>>` example")
        if re.search(r"#\s*doctest:", text):
            raise PageError(f"{where}: an example may not be excused from its test by a doctest option")
        return "examples"
    if info == "derivation":
        return "derivation"
    if info in DISPLAYED:
        if re.search(r"^\s*>>> ", text, re.M):
            raise PageError(f"{where}: `>>>` examples belong in a `pycon` block, where they are tested")
        return "display"
    raise PageError(f"{where}: no test collects a block marked {info!r}: use `python` (a cell), `pycon` (examples), "
                    f"or one of {', '.join(sorted(DISPLAYED))} for text that is only shown")
