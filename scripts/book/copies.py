"""What the copy button gives: a block of a page as a program that runs alone.

Before the block stand the imports and the earlier statements of the page that it needs, found by walking back from it through the
notes that `watch` took while the page ran (a dynamic slice: Korel & Laski 1988). Where a block needs nothing, the copy is the block.
"""

from __future__ import annotations

import ast
import doctest
import json
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path

from . import kept, kernel, run
from .page import Block, Page, PageError
from .watch import Note, Reads, bound_as

WIDTH = 88  # columns of an import line
_CODE = re.compile(r'<div class="language-(?:python|pycon) highlight"(?=[^>]*>\s*<pre\b[^>]*>(?P<code>.*?)</pre>)', re.S)


@dataclass(frozen=True)
class Statement:
    """A statement of a cell (with those that share a line with it), or an example; `block` is the index of its block."""

    block: int
    text: str
    nodes: tuple[ast.stmt, ...]
    raises: bool = False  # as the page says that it does

    @property
    def imports(self) -> bool:
        """Whether it does nothing but import."""
        return all(isinstance(node, ast.Import | ast.ImportFrom) for node in self.nodes)

    @property
    def binds(self) -> set[str]:
        """The names that it surely binds."""
        return set() if self.raises else Reads(self.nodes).binds


@dataclass(frozen=True)
class Copy:
    """What is copied for a block: import lines, earlier statements, and the block's own code."""

    imports: tuple[str, ...]
    statements: tuple[str, ...]
    block: str

    @property
    def prefix(self) -> str:
        """What stands before the block's own code."""
        rows: list[str] = []
        for text in self.statements:
            apart = bool(re.match(r"async def |def |class |@", text))
            if apart and rows and rows[-1]:
                rows.append("")
            rows += [text, ""] if apart else [text]
        return "\n\n".join(part for part in ("\n".join(self.imports), "\n".join(rows).strip("\n")) if part)

    @property
    def text(self) -> str:
        """The program."""
        return f"{self.prefix}\n\n{self.block}" if self.prefix else self.block


def copies(page: Page, notes: Sequence[Note]) -> dict[int, Copy]:
    """The copy of each cell and each `pycon` block, by the block's index; `notes` are those of the page's run, one for each statement.

    Raises ValueError if their numbers differ.
    """
    statements = [statement for index, block in enumerate(page.blocks) for statement in _of_block(index, block)]
    if len(statements) != len(notes):
        raise ValueError(f"notes has {len(notes)} entries; expected one for each of the page's {len(statements)} statements")
    steps = list(zip(statements, notes))
    return {index: _copy(index, code(page.blocks[index]), steps) for index in dict.fromkeys(statement.block for statement in statements)}


def code(block: Block) -> str:
    """A block's code, without prompts and outputs."""
    if block.kind == "cell":
        return block.text
    return "".join(example.source for example in doctest.DocTestParser().get_examples(block.text + "\n")).rstrip("\n")


def _of_block(index: int, block: Block) -> list[Statement]:
    if block.kind == "cell":
        return [Statement(index, text, nodes) for text, nodes in split(block.text)]
    if block.kind != "examples":
        return []
    examples = doctest.DocTestParser().get_examples(block.text + "\n")
    return [Statement(index, e.source.rstrip("\n"), tuple(ast.parse(e.source).body), e.exc_msg is not None) for e in examples]


def split(text: str) -> list[tuple[str, tuple[ast.stmt, ...]]]:
    """The top-level statements of a piece of code, each with its source; those that share a line are one."""
    groups: list[list[ast.stmt]] = []
    for node in ast.parse(text).body:
        if groups and node.lineno == groups[-1][-1].end_lineno:
            groups[-1].append(node)
        else:
            groups.append([node])
    lines, found = text.split("\n"), []
    for group in groups:
        first = min(part.lineno for part in (group[0], *getattr(group[0], "decorator_list", [])))
        found.append(("\n".join(lines[first - 1:group[-1].end_lineno]), tuple(group)))
    return found


def _copy(index: int, block: str, steps: Sequence[tuple[Statement, Note]]) -> Copy:
    """The copy of one block: from its end back, what binds a name that is needed, or changes what is behind it."""
    # `import a.b`, `import a.c` and `import a` all bind `a`, and whoever reads it may mean any of them.
    packages = {bound_as(alias) for statement, _ in steps for node in statement.nodes if isinstance(node, ast.Import)
                for alias in node.names if "." in alias.name and not alias.asname}
    needed: set[str] = set()
    taken: list[tuple[Statement, set[str]]] = []
    for statement, note in reversed([step for step in steps if step[0].block <= index]):
        binds = statement.binds | set(note["binds"])
        wanted = needed & binds
        own = statement.block == index
        if not own:
            does = wanted if statement.imports else wanted or needed & set(note["changes"]) or note["settings"]
            if not does:
                continue
            taken.append((statement, wanted))
        needed = (needed - (binds - packages if statement.imports else binds)) | set(note["reads"])
    imports, statements = _Imports(), []
    bound: set[str] = set()
    for statement, wanted in reversed(taken):
        if statement.imports and not wanted & bound and imports.take(statement.nodes, wanted):
            continue
        text = textwrap.dedent(statement.text)
        if statement.raises:
            text = f"try:\n{textwrap.indent(text, '    ')}\nexcept Exception:\n    pass"
        bound |= statement.binds
        statements.append(text)
    return Copy(tuple(imports.lines()), tuple(statements), block)


class _Imports:
    """Imports to stand at a program's head: a line for each module, in the order of the page."""

    def __init__(self) -> None:
        self._modules: dict[str, list[str]] = {}
        self._bound: dict[str, str] = {}  # what each name is

    def take(self, nodes: Iterable[ast.stmt], wanted: set[str]) -> bool:
        """Take what these statements import of the names; False, and nothing is taken, if one of these is something else here."""
        new = [(_source(node), alias) for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names
               if bound_as(alias) in wanted]
        meant = {bound_as(alias): source + (alias.name if source or alias.asname else bound_as(alias)) for source, alias in new}
        if any(self._bound.get(name, what) != what for name, what in meant.items()):
            return False
        self._bound |= meant
        for source, alias in new:
            names = self._modules.setdefault(source or f"import {ast.unparse(alias)}", [])
            if source and ast.unparse(alias) not in names:
                names.append(ast.unparse(alias))
        return True

    def lines(self) -> list[str]:
        """The import statements."""
        found = []
        for source, names in self._modules.items():
            line = source + ", ".join(names)
            if len(line) > WIDTH:
                rows = textwrap.wrap(", ".join(names) + ",", WIDTH - 4, break_long_words=False)
                line = "\n".join([f"{source}(", *(f"    {row}" for row in rows), ")"])
            found.append(line)
        return found


def _source(node: ast.Import | ast.ImportFrom) -> str:
    return f"from {'.' * node.level}{node.module or ''} import " if isinstance(node, ast.ImportFrom) else ""


def attached(html: str, page: Page, notes: Sequence[Note]) -> str:
    """A built page, in which each block that needs more than itself holds its copy, as Material's copy button asks for it.

    Raises PageError for a block that is not found in `html`.
    """
    made = copies(page, notes)
    left = {index: page.blocks[index].text.expandtabs().strip("\n") for index in made}

    def mark(found: re.Match[str]) -> str:
        shown = unescape(re.sub("<[^>]*>", "", found["code"])).strip("\n")
        index = next((index for index, text in left.items() if text == shown), None)
        if index is None:
            return found[0]
        del left[index]
        return f'{found[0]} data-copy="{escape(made[index].text)}"' if made[index].prefix else found[0]

    html = _CODE.sub(mark, html)
    if left:
        raise PageError("\n".join(f"{page.path}:{page.blocks[index].line}: the built page does not show this block" for index in left))
    return html


# ---- Whether the copies run ----

_START = f"""
import sys
sys.path[0] = {str(Path(__file__).resolve().parents[1])!r}
import book.alone
del sys.path[0]
book.alone.main()
"""


def faults(path: Path, root: Path) -> list[str]:
    """What is wrong with the copies of the page at `path` below `root`, each with file and line; kept as long as the page's run is."""
    made = run.run(path, root)
    if made.faults:
        return made.faults
    text = (root / path).read_text(encoding="utf-8")
    key = f"{kept.key(path, text, root)}-copies"
    if (found := kept.read(key, root)) is None:
        found = _tried(Page.parse(text, path), text, made, root)
        kept.write(key, root, found)
    return list(found)


def _tried(page: Page, text: str, made: run.Run, root: Path) -> list[str]:
    cells = [index for index, block in enumerate(page.blocks) if block.kind == "cell"]
    outputs = dict(zip(cells, made.outputs))
    programs = []
    for index, copy in copies(page, made.notes).items():
        parts, heads = [part for part, _ in split(copy.prefix)], len(copy.imports)
        programs.append({"index": index, "imports": parts[:heads], "statements": parts[heads:], "outputs": outputs.get(index)})
    with tempfile.TemporaryDirectory() as nowhere:
        file = Path(nowhere, "found")
        job = {"text": text, "path": str(page.path), "found": str(file), "programs": programs}
        done = subprocess.run([sys.executable, "-c", _START], input=json.dumps(job), text=True, capture_output=True, cwd=nowhere,
                              env=kernel._environment(root, nowhere, 0))
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    found = [(index, why) for index, why in map(json.loads, lines)]
    ended = {index for index, _ in found}
    found += [(program["index"], f"it broke off\n{done.stderr[-2000:]}") for program in programs if program["index"] not in ended]
    return [f"{page.path}:{page.blocks[index].line}: the copy of this block does not run alone: {why}" for index, why in found if why]
