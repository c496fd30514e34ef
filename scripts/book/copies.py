"""What the copy button gives: a block of a page as a program that runs alone.

Before the block stand the imports and the earlier statements of the page that it needs, found by walking back from it through the
notes that `watch` took while the page ran (a dynamic slice: Korel & Laski 1988). Where a block needs nothing, the copy is the block.
"""

from __future__ import annotations

import ast
import builtins
import doctest
import json
import re
import textwrap
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from html import unescape

from .page import Block, Page, PageError, grouped
from .watch import Note, Reads, bound_as

WIDTH = 88  # columns of an import line
_CODE = re.compile(r'<div class="language-(?:python|pycon) highlight"(?=[^>]*>\s*<pre\b[^>]*>(?P<code>.*?)</pre>)', re.S)


@dataclass(frozen=True)
class Statement:
    """A statement of a cell (with those that share a line with it), or an example, and what its page's run noted of it."""

    block: int  # the index of its block
    text: str
    nodes: tuple[ast.stmt, ...]
    raises: bool  # as the page says that it does
    imports: bool  # and does nothing else
    reads: frozenset[str]
    binds: frozenset[str]
    changes: frozenset[str]
    settings: bool
    seconds: float
    later: frozenset[str]  # the names that the functions it defines read when they are called


@dataclass(frozen=True)
class Copy:
    """What is copied for a block: import lines, earlier statements, and the block's own code.

    `rest` are the places of the earlier statements among the page's, `taken` those of the imports too.
    """

    imports: tuple[str, ...]
    statements: tuple[str, ...]
    block: str
    rest: tuple[int, ...]
    taken: tuple[int, ...]

    @property
    def parts(self) -> list[str]:
        """What stands before the block's own code: lines, and statements of more than one."""
        found = [*self.imports, ""]
        for text in self.statements:
            apart = bool(re.match(r"async def |def |class |@", text))
            if apart and found[-1]:
                found.append("")
            found += [text, ""] if apart else [text]
        return found[not self.imports:len(found) - (found[-1] == "")]

    @property
    def prefix(self) -> str:
        """The same as one text."""
        return "\n".join(self.parts)

    @property
    def text(self) -> str:
        """The program."""
        return f"{self.prefix}\n\n{self.block}" if self.prefix else self.block


def copies(page: Page, notes: Sequence[Note]) -> dict[int, Copy]:
    """The copy of each cell and each `pycon` block, by the block's index; `notes` are those of the page's run, one for each statement.

    Raises ValueError if their numbers differ.
    """
    every = statements(page, notes)
    packages = {bound_as(alias) for statement in every for node in statement.nodes if isinstance(node, ast.Import)
                for alias in node.names if "." in alias.name and not alias.asname}
    return {index: _copy(index, code(page.blocks[index]), every, packages) for index in dict.fromkeys(s.block for s in every)}


def statements(page: Page, notes: Sequence[Note]) -> list[Statement]:
    """The statements of a page's cells and examples, in order; raises ValueError unless there is a note for each."""
    found = [(index, *part) for index, block in enumerate(page.blocks) for part in _of_block(block)]
    if len(found) != len(notes):
        raise ValueError(f"notes has {len(notes)} entries; expected one for each of the page's {len(found)} statements")
    made = []
    for (index, text, nodes, raises), note in zip(found, notes):
        now, later = Reads(nodes), Reads(nodes, deep=True)
        made.append(Statement(
            index, text, nodes, raises,
            imports=all(isinstance(node, ast.Import | ast.ImportFrom) for node in nodes),
            reads=frozenset(note["reads"]),
            binds=frozenset(note["binds"]) | (set() if raises else now.binds),
            changes=frozenset(note["changes"]),
            settings=note["settings"],
            seconds=note["seconds"],
            later=frozenset(later.reads - now.reads),
        ))  # fmt: skip
    return made


def code(block: Block) -> str:
    """A block's code, without prompts and outputs."""
    if block.kind == "cell":
        return block.text
    return "".join(example.source for example in doctest.DocTestParser().get_examples(block.text + "\n")).rstrip("\n")


def _of_block(block: Block) -> list[tuple[str, tuple[ast.stmt, ...], bool]]:
    if block.kind == "cell":
        return [(text, nodes, False) for text, nodes in split(block.text)]
    examples = doctest.DocTestParser().get_examples(block.text + "\n") if block.kind == "examples" else []
    return [(e.source.rstrip("\n"), tuple(ast.parse(e.source).body), e.exc_msg is not None) for e in examples]


def split(text: str) -> list[tuple[str, tuple[ast.stmt, ...]]]:
    """The top-level statements of a piece of code, each with its source; those that share a line are one."""
    lines, found = text.split("\n"), []
    for group in grouped(ast.parse(text).body):
        first = min(part.lineno for part in (group[0], *getattr(group[0], "decorator_list", [])))
        found.append(("\n".join(lines[first - 1:group[-1].end_lineno]), tuple(group)))
    return found


def _copy(index: int, block: str, every: Sequence[Statement], packages: set[str]) -> Copy:
    """The copy of one block: from its end back, what binds a name that is needed, or changes what is behind it.

    `import a.b`, `import a.c` and `import a` all bind `a`, one of `packages`: whoever reads it may mean any of them.
    """
    needed = _for_later(index, every)
    taken: list[tuple[int, set[str]]] = []
    for at in reversed(range(len(every))):
        statement = every[at]
        if statement.block > index:
            continue
        wanted = needed & statement.binds
        if statement.block < index:
            if not wanted and (statement.imports or not (needed & statement.changes or statement.settings)):
                continue
            taken.append((at, wanted))
        needed -= statement.binds - packages if statement.imports else statement.binds
        needed |= statement.reads
    imports, rest, bound = Imports(), [], set(dir(builtins))  # what is one of these before its import must not be imported earlier
    for at, wanted in reversed(taken):
        if not (every[at].imports and not wanted & bound and imports.take(every[at].nodes, wanted)):
            rest.append(at)
            bound |= every[at].binds
    return Copy(tuple(imports.lines()), tuple(_alone(every[at]) for at in rest), block, tuple(rest), tuple(at for at, _ in reversed(taken)))


def direct(every: Sequence[Statement]) -> list[list[int]]:
    """Of each statement those earlier ones that it rests on itself: what bound a name that it reads, and what has changed that since."""
    found = []
    for at, statement in enumerate(every):
        needed, rests = set(statement.reads), []
        for before in reversed(range(at)):
            if needed & (every[before].binds | every[before].changes) or every[before].settings:
                rests.append(before)
                needed -= every[before].binds
        found.append(rests[::-1])
    return found


def _for_later(index: int, every: Sequence[Statement]) -> set[str]:
    """What the functions that a block defines read when they are called, and the functions that these call."""
    found: set[str] = set()
    left = [statement for statement in every if statement.block == index]
    last = {name: statement for statement in every if statement.block <= index for name in statement.binds}
    while left:
        new = left.pop().later & set(last) - found
        found |= new
        left += [last[name] for name in new]
    return found


def _alone(statement: Statement) -> str:
    """A statement as it stands in the copy of another block."""
    if statement.raises:
        return f"try:\n{textwrap.indent(statement.text, '    ')}\nexcept Exception:\n    pass"
    return statement.text


class Imports:
    """Imports to stand at a program's head: a line for each module, in the order of the page."""

    def __init__(self) -> None:
        self._modules: dict[str, list[str]] = {}
        self._bound: dict[str, str] = {}  # what each name is

    def take(self, nodes: Iterable[ast.stmt], wanted: Container[str]) -> bool:
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
    """A built page on which each block has its index and what its copy puts before it; `javascripts/copies.js` puts it where the button finds it.

    What blocks need is much the same for all of them: the page has a list of it, a block the numbers of its own.

    Raises PageError for a block that is not found in `html`.
    """
    made = copies(page, notes)
    left = {index: page.blocks[index].text.expandtabs().strip("\n") for index in made}
    pool: dict[str, int] = {}

    def mark(found: re.Match[str]) -> str:
        shown = unescape(re.sub("<[^>]*>", "", found["code"])).strip("\n")
        index = next((index for index, text in left.items() if text == shown), None)
        if index is None:
            return found[0]
        del left[index]
        needs = " ".join(str(pool.setdefault(part, len(pool))) for part in made[index].parts)
        return f'{found[0]} data-block="{index}"' + (f' data-needs="{needs}"' if needs else "")

    html = _CODE.sub(mark, html)
    if left:
        raise PageError("\n".join(f"{page.path}:{page.blocks[index].line}: the built page does not show this block" for index in left))
    return held("needs", list(pool), html) if pool else html


def held(name: str, what: object, html: str) -> str:
    """A built page that holds something for its scripts, as JSON: in its article, which the theme exchanges where it changes pages without loading them."""
    text = json.dumps(what, ensure_ascii=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return html.replace("</article>", f'<template id="{name}">{text}</template>\n</article>')
