"""A page's one run: cells, examples and claims, in order, in one kernel. The site, the tests and the downloads come from it.

The run is made twice, in two kernels at the same time whose hashes differ. What one shows and the other does not would be another
thing in every build. The first is the one that counts; its claims are judged. The second is watched.

`kept` says for how long a run stands.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import hygiene, indexes, kept, kernel
from .page import Page, PageError
from .render import FIGURE
from .steps import Steps

ADDRESS = re.compile(" at 0x[0-9a-f]{6,}")  # in an object's plain repr


@dataclass(frozen=True)
class Run:
    """What the run of a page gave."""

    outputs: list[kernel.Outputs] = field(default_factory=list)  # of each cell; none behind one that raised
    faults: list[str] = field(default_factory=list)  # what the page has wrong, each with file and line
    notes: list[Any] = field(default_factory=list)  # of each step, by the watch of `steps`


def run(path: Path, root: Path, report: Callable[[float], None] = lambda seconds: None) -> Run:
    """The run of the page at `path` below `root`, as it was kept if nothing has changed; else `report` is told how long it took."""
    try:
        text = (root / path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return Run(faults=[f"{path}:{line}: the file is not UTF-8: {error.reason}"])
    unclean = hygiene.faults(text, path)
    try:
        page = Page.parse(text, path)
        indexes.marks(page, text)
    except PageError as error:
        return Run(faults=[*unclean, str(error)])
    made = _kept(page, text, root, report) if any(block.runs for block in page.blocks) else _judged(page, text)
    return Run(made.outputs, sorted([*unclean, *made.faults], key=lambda fault: int(fault.split(":")[1])), made.notes)


def _judged(page: Page, text: str) -> Run:
    """A page without code has nothing to run, but may have claims."""
    steps = Steps(text, page.path, {})
    steps.judge()
    return Run(faults=steps.faults)


def _kept(page: Page, text: str, root: Path, report: Callable[[float], None]) -> Run:
    key = kept.key(page.path, text, root)
    if (found := kept.read(key, root)) is not None:
        return Run(**found)
    started = time.time()
    try:
        made = asyncio.run(_twice(page, text, root))
    except kernel.Broken as error:  # by its page, or by this machine: not kept
        running = [block for block in page.blocks if block.runs]
        line = running[error.piece - 1].line if 1 <= error.piece <= len(running) else 1
        return Run([[] for _ in page.cells], [f"{page.path}:{line}: the run broke off\n{error}"])
    report(time.time() - started)
    if kept.key(page.path, text, root) == key:  # else a file was edited meanwhile, and may not be the one that was imported
        kept.write(key, root, asdict(made))
    return made


async def _twice(page: Page, text: str, root: Path) -> Run:
    (shown, faults, found), (again, more, other) = await asyncio.gather(
        _once(page, text, root, judged=True), _once(page, text, root, judged=False))
    faults += [fault for fault in more if fault not in faults]
    for cell, one, two in zip(page.cells, shown, again):
        faults += [f"{page.path}:{cell.line}: {why}" for why in [*_unfit(one), *(_other(_text(one), _text(two), "this cell") or _foreign(one, root))]]
    for index, printed in found["printed"].items():
        block = page.blocks[int(index)]
        faults += [f"{page.path}:{block.line}: {why}" for why in _other(printed, other["printed"].get(index, []), "these examples")]
    return Run(shown, faults, other["notes"])


async def _once(page: Page, text: str, root: Path, *, judged: bool) -> tuple[list[kernel.Outputs], list[str], dict[str, Any]]:
    """The outputs of the cells, the faults, and what `steps` found, of one run."""
    running = [index for index, block in enumerate(page.blocks) if block.runs]
    steps = "__import__('book.steps').steps"
    start, end = f"{steps}.start({text!r}, {str(page.path)!r}, watched={not judged})", f"{steps}.end({judged})"
    pieces = [start, *(f"{steps}.steps.block({index})" for index in running), end]
    _, *outputs, (last,) = await kernel.execute(pieces, root, 0 if judged else 1)
    found = last["data"]["application/json"]
    shown = [_tidy(given) for index, given in zip(running, outputs) if page.blocks[index].kind == "cell"]
    return shown, found["faults"], found


def _tidy(outputs: kernel.Outputs) -> kernel.Outputs:
    """Outputs with the pieces of a stream made one, without what differs from run to run and is not shown."""
    tidy: kernel.Outputs = []
    for output in outputs:
        output.pop("execution_count", None)
        if output["output_type"] == "stream" and tidy and output.get("name") == tidy[-1].get("name"):
            tidy[-1]["text"] += output["text"]
            continue
        if len(data := output.get("data", {})) > 1:
            data["text/plain"] = ADDRESS.sub("", data.get("text/plain", ""))
        tidy.append(output)
    return tidy


def _unfit(outputs: kernel.Outputs) -> list[str]:
    """What outputs hold that no page may show."""
    found = [f"the cell wrote to stderr:\n{output['text'].rstrip()}" for output in outputs if output.get("name") == "stderr"]
    for data in (output.get("data", {}) for output in outputs):
        if FIGURE not in data and any(kind.startswith("image/") for kind in data):
            found.append("a picture without a description; show figures with reference_impl.plots.show")
    return found


def _foreign(outputs: kernel.Outputs, root: Path) -> list[str]:
    """What outputs hold of this machine."""
    place = re.search(rf"{re.escape(str(root))}|{ADDRESS.pattern}", "\n".join(_text(outputs)))
    return [f"the page shows {place[0].strip()!r}, which is another in every build"] if place else []


def _text(outputs: kernel.Outputs) -> list[str]:
    """All that outputs hold, in lines."""
    values = [value for output in outputs for value in (output.get("text", ""), *output.get("data", {}).values())]
    return [line for value in values for line in (value if isinstance(value, str) else json.dumps(value, indent=1)).splitlines()]


def _other(one: list[str], two: list[str], what: str) -> list[str]:
    """That two runs do not show the same, with the first line that differs."""
    if one == two:
        return []
    first, second = next(((a, b) for a, b in zip(one, two) if a != b), ("more lines", "fewer") if len(one) > len(two) else ("fewer lines", "more"))
    at = next((at for at, (a, b) in enumerate(zip(first, second)) if a != b), 0)
    first, second = (line[max(0, at - 20):at + 40].strip() for line in (first, second))
    return [f"what {what} print{'s' if what == 'this cell' else ''} is another in every run: {first!r}, then {second!r}"]
