"""Whether the copies of a page run alone: `alone` tries them in a process of its own, so that they share work.

The statements of a copy are tried in an order of their own, long ones first, as far as the notes of the page's run allow: then more copies
begin alike. If the notes are right, that changes nothing; if a copy fails so, it is tried in its own order, and that is what counts.
"""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from . import kept, kernel, run
from .copies import Copy, Imports, Statement, copies, split, statements
from .page import Page
from .watch import Reads

LONG = 0.05  # seconds

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
        return [f"{path}:1: the page does not keep its own word; its copies are tried when it does"]
    text = (root / path).read_text(encoding="utf-8")
    key = f"{kept.key(path, text, root)}-copies"
    if (found := kept.read(key, root)) is None:
        found = tried(Page.parse(text, path), made, root)
        kept.write(key, root, found)
    return list(found)


def tried(page: Page, made: run.Run, root: Path) -> list[str]:
    """The same of a page's run, tried now."""
    every = statements(page, made.notes)
    cells = [index for index, block in enumerate(page.blocks) if block.kind == "cell"]
    outputs = dict(zip(cells, made.outputs))
    programs = [_program(index, copy, page, every, outputs.get(index)) for index, copy in copies(page, made.notes).items()]
    with tempfile.TemporaryDirectory() as nowhere:
        given = json.dumps({"found": f"{nowhere}/found", "programs": programs})
        done = subprocess.run([sys.executable, "-c", _START], input=given, text=True, capture_output=True, cwd=nowhere,
                              env=kernel.environment(root, nowhere, 0))
        file = Path(nowhere, "found")
        found = dict(map(json.loads, file.read_text(encoding="utf-8").splitlines())) if file.exists() else {}
    why = {program["index"]: found.get(program["index"], f"it broke off\n{done.stderr[-2000:]}") for program in programs}
    return [f"{page.path}:{page.blocks[index].line}: the copy of this block does not run alone: {fault}" for index, fault in why.items() if fault]


def _program(index: int, copy: Copy, page: Page, every: Sequence[Statement], outputs: Any) -> dict[str, Any]:
    """A copy as `alone` takes it."""
    cut = [text for text, _ in split(copy.prefix)]
    assert cut[len(copy.imports):] == [part for text in copy.statements for part, _ in split(text)], "the pieces make another program"
    block = page.blocks[index]
    own = [at for at, statement in enumerate(every) if statement.block == index]
    # Most imports of the block itself can be made at the beginning, as its copy's are.
    imports, others = Imports(), [at for at in (*copy.rest, *own) if not every[at].imports]
    bound = set(dir(builtins)).union(*(every[at].binds for at in others))
    for _, nodes in split("\n".join(copy.imports)):
        imports.take(nodes, Reads(nodes).binds)
    early = [at for at in own if every[at].imports and not every[at].binds & bound and imports.take(every[at].nodes, every[at].binds)]
    order = [at for at in (*copy.rest, *own) if at not in early]
    ends = {at for at, statement in enumerate(every) if statement is every[-1] or statement.block != every[at + 1].block}

    def piece(at: int, text: str, raises: bool) -> dict[str, Any]:
        kind = page.blocks[every[at].block].kind
        return {"text": text, "mode": "single" if kind == "examples" else "show" if at in ends else "exec", "raises": raises}

    pieces = {at: piece(at, text, False) for at, text in zip(copy.rest, copy.statements)}
    pieces |= {at: piece(at, every[at].text, every[at].raises) for at in own}
    return {
        "index": index,
        "imports": imports.lines(),
        "pieces": [pieces[at] for at in order],
        "own": [order.index(at) for at in own if at in order],
        "quick": [order.index(at) for at in _long_first(order, every)],
        "outputs": outputs,
        "block": block.text if block.kind == "examples" else None,
    }


def _long_first(order: Iterable[int], every: Sequence[Statement]) -> list[int]:
    """These statements in an order that shares work: the longest, with what must come before it, then the next."""
    left, found = list(order), list[int]()
    for long in sorted(left, key=lambda at: (-every[at].seconds, at)):
        if long in left and every[long].seconds >= LONG:
            wanted = {long}
            for at in reversed(left[:left.index(long)]):
                if any(_must_follow(every[other], every[at]) for other in wanted):
                    wanted.add(at)
            found += [at for at in left if at in wanted]
            left = [at for at in left if at not in wanted]
    return found + left


def _must_follow(later: Statement, earlier: Statement) -> bool:
    writes, wrote = later.binds | later.changes, earlier.binds | earlier.changes
    return later.settings or earlier.settings or not (writes.isdisjoint(wrote | earlier.reads) and wrote.isdisjoint(later.reads))
