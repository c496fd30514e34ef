"""Whether the blocks of a built site give in the browser's Python what the page shows: `python scripts/check_runs.py SITE_DIR [--only adam …] [--alone]`.

Each block of each page runs under Node in the runtime that the site has, in the order of the page, or `--alone` in an empty namespace behind what
it needs. What it prints must be what the page's own run printed; of figures, that there is one. There integers have 32 bits, and sums
of floats may round otherwise: what differs for a known reason stands in `EXPECTED`. Each fault is named with its file and line; the last line counts.
"""

from __future__ import annotations

import argparse
import difflib
import doctest
import itertools
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from book import run, runtime
from book.copies import code
from book.kernel import ANSI
from book.page import Block, Page

from reference_impl.engines.outputs import FIGURE

ROOT = Path(__file__).resolve().parents[1]
DATA = re.compile(r'<template id="python">(.*?)</template>', re.S)
EXPECTED: dict[tuple[str, str], str] = {  # page, and a part of the block's code → why it gives something else
    ("optimization/adam", "all words alike"): "sums round otherwise there, and a count of steps with them",
    ("optimization/comparison", "budget, starts = 500, 100"): "sums round otherwise there, and two of a hundred starts, at a rate too high for most, arrive or not",
    ("optimization/groups", 'print("rate  no bound   bound 1  bound 0.1")'): "sums round otherwise there, and a network that only guesses guesses otherwise",
    ("optimization/nesterov", "tried_rhos = (0.5, 0.8, 0.9, 0.95)"): "sums round otherwise there, and four hundred epochs grow it into a digit",
    ("optimization/newton", "residual_goal, unknowns, spreads = 1e-8"): "sums round otherwise there, and with them the steps until a residual is small",
    ("optimization/quasi_newton", "print(found)"): "sums round otherwise there, and the loss at the minimum is nothing but rounding",
    ("optimization/schedules", "excess undone"): "sums round otherwise there, and at a peak rate too high for most one mean of ten losses with them",
    ("practice/preprocessing", "strangers, enough = len(data.test_labels), 120"): "sums round otherwise there, and whitening multiplies what is smallest",
}


def wanted(page: Page, outputs: list[list[dict[str, Any]]]) -> dict[int, list[str]]:
    """What each block of a page shows, by its index: texts, and of what is no text its type."""
    found: dict[int, list[str]] = {}
    cells = iter(outputs)
    for index, block in enumerate(page.blocks):
        if block.kind == "cell":
            found[index] = [said for output in next(cells) for said in _said(output)]
        elif block.kind == "examples":
            found[index] = _examples(block)
    return found


def _said(output: dict[str, Any]) -> list[str]:
    if output["output_type"] == "stream":
        return [ANSI.sub("", output["text"])]
    return [_kind(output["data"])]


def _kind(data: dict[str, Any]) -> str:
    return "a figure" if FIGURE in data else data.get("text/latex") or data.get("text/plain", "")


def _examples(block: Block) -> list[str]:
    parsed = doctest.DocTestParser().get_examples(block.text + "\n")
    return ["".join(example.exc_msg or example.want for example in parsed).replace("<BLANKLINE>", "")]


def given(outputs: list[list[Any]]) -> list[str]:
    """The same of what a run gave; what is printed comes in pieces."""
    found: list[str] = []
    for kind, values in itertools.groupby(outputs, key=lambda output: output[0]):
        if kind == "text":
            found.append("".join(value for _, value in values))
        else:
            found += [f"error: {value}" if kind == "error" else _kind(value) for _, value in values]
    return found


def same(one: list[str], two: list[str]) -> bool:
    """Whether these say the same, whatever the pieces."""
    first, second = ("\n".join(part.strip("\n") for part in parts if part.strip()) for parts in (one, two))
    return re.sub(" at 0x[0-9a-f]+", "", first) == re.sub(" at 0x[0-9a-f]+", "", second) or doctest.OutputChecker().check_output(first + "\n", second + "\n", 0)


def main(arguments: list[str] | None = None) -> int:
    """Print the faults and a count; 1 if there are faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("site", type=Path, metavar="SITE_DIR")
    parser.add_argument("--only", nargs="+", default=[], help="parts of the pages' names")
    parser.add_argument("--alone", action="store_true", help="each block in a namespace of its own")
    options = parser.parse_args(arguments)
    node = runtime._node()
    if node is None:
        parser.error("Node is not there")
    tally: Counter[str] = Counter()
    faults = 0
    for path in sorted((ROOT / "docs").rglob("*.md")):
        name = path.relative_to(ROOT / "docs").with_suffix("")
        if options.only and not any(part in str(name) for part in options.only):
            continue
        built = ((name.parent if name.name == "index" else name) / "index.html").as_posix()
        page = Page.read(path)
        if not any(block.runs for block in page.blocks) or not (options.site / built).is_file():
            continue
        data = DATA.search((options.site / built).read_text(encoding="utf-8"))
        if data is None:
            parser.error(f"{built} offers no Run: was Python to be had when the site was built?")
        told = json.loads(data[1])
        for block in told["blocks"]:
            block["code"] = code(page.blocks[block["block"]])
        job = {"page": built, "base": told["base"], "blocks": told["blocks"], "statements": told["statements"], "alone": options.alone}
        shown = wanted(page, run.run(path.relative_to(ROOT), ROOT).outputs)
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as file:
            command = [node, str(ROOT / "scripts/browser/runs.mjs"), str(options.site.resolve()), file.name]
            done = subprocess.run(command, input=json.dumps([job]), capture_output=True, text=True, check=False)
            answers = {answer["at"]: answer for answer in map(json.loads, file)}
        for at, block in enumerate(told["blocks"]):
            where, text = page.blocks[block["block"]], block["code"]
            tally["blocks"] += 1
            why = next((why for (of, part), why in EXPECTED.items() if of == str(name) and part in text), "")
            if block.get("native"):
                tally["say that they need " + " and ".join(block["native"])] += 1
            elif at not in answers:
                faults += 1
                print(f"{path.relative_to(ROOT)}:{where.line}: it did not run\n{done.stderr[-1000:]}")
            elif same(shown[block["block"]], given(answers[at]["outputs"])) and (answers[at]["good"] or not why):
                tally["give the same"] += 1
            elif why:
                tally[f"differ: {why}"] += 1
            else:
                faults += 1
                said, here = ("".join(parts).splitlines() for parts in (shown[block["block"]], given(answers[at]["outputs"])))
                print("\n".join(difflib.unified_diff(said, here, f"{path.relative_to(ROOT)}:{where.line}: the page", "the browser's Python", n=0, lineterm="")))
        print(f"{name}: {sum(answer['seconds'] for answer in answers.values()):.1f} s", flush=True)
    print(", ".join(f"{count} {what}" for what, count in tally.items()), f"{faults} faults", sep=", ")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
