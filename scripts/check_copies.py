"""Whether the copy buttons of a built site give what the tests have tried: `python scripts/check_copies.py SITE_DIR [--only adam …]`.

Chromium presses every button (`browser/copies.mjs`, which needs `npm install` there once). Each block of a page's code must give its copy, as
it follows from the page's run. Each fault is named with its file and line; the last line counts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from book import run
from book.copies import copies
from book.page import Page

ROOT = Path(__file__).resolve().parents[1]


def faults(page: Path, given: list[str | None]) -> tuple[list[str], int]:
    """What is wrong with the texts that a page's buttons give, and how many blocks the page has."""
    source = Page.read(ROOT / page)
    made = {index: copy.text.rstrip() for index, copy in copies(source, run.run(page, ROOT).notes).items()}
    left = list(given)
    found = []
    for index, text in made.items():
        if text in left:
            left.remove(text)
        else:
            found.append(f"{page}:{source.blocks[index].line}: no button gives the copy of this block")
    return found + [f"{page}:1: a button gives what is no block's copy: {text!r}" for text in left], len(made)


def main(arguments: list[str] | None = None) -> int:
    """Print the faults and a count; 1 if there are faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("site", type=Path, metavar="SITE_DIR")
    parser.add_argument("--only", nargs="+", default=[], help="parts of the pages' names")
    options = parser.parse_args(arguments)
    pages = {}
    for path in sorted((ROOT / "docs").rglob("*.md")):
        name = path.relative_to(ROOT / "docs").with_suffix("")
        if any(block.runs for block in Page.read(path).blocks) and (not options.only or any(part in str(name) for part in options.only)):
            pages[path.relative_to(ROOT)] = ((name.parent if name.name == "index" else name) / "index.html").as_posix()
    if not pages:
        parser.error(f"--only is {options.only}: no page with code has that in its name")
    command = ["node", "copies.mjs", str(options.site.resolve()), f"--pages={','.join(pages.values())}"]
    given = json.loads(subprocess.run(command, cwd=ROOT / "scripts" / "browser", check=True, capture_output=True, text=True).stdout)
    found, count = [], 0
    for page, built in pages.items():
        if built not in given:
            found.append(f"{page}:1: the site does not have this page")
            continue
        wrong, blocks = faults(page, given[built])
        found, count = found + wrong, count + blocks
    print(*found, f"{count} blocks on {len(pages)} pages, {len(found)} faults", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
