"""How soon a chapter shows its text, beside the same text under Material alone: `python scripts/check_load.py SITE_DIR [--page optimization/momentum]`.

Chromium loads both in turns (`browser/load.mjs`, which needs `npm install` there once) on a slow line, at a quarter of the machine's speed and at
all of it. What the project promises: the largest paint of the slow phone within 1.1 times the plain page's, tasks that block a hand for 200 ms
at most at full speed, 300 kB before a reader touches anything. These are times: run it where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAINT, BLOCKED, MOVED = 1.1, 200, 300_000  # times the plain page's, ms, bytes
SETTINGS = """\
site_name: Plain
theme: {name: material, font: false}
plugins: [search]
markdown_extensions: [admonition, attr_list, def_list, footnotes, md_in_html, tables, pymdownx.details, pymdownx.highlight, pymdownx.superfences,
  {pymdownx.arithmatex: {generic: true}}, {toc: {permalink: true}}]
"""


def plain(page: str, folder: Path) -> Path:
    """A built site of a chapter's text with nothing but Material; links lead to its first page."""
    text = re.sub(r"<!--.*?-->", "", (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"), flags=re.S)
    (folder / "docs").mkdir()
    (folder / "docs" / "index.md").write_text("# Plain\n", encoding="utf-8")
    (folder / "docs" / "page.md").write_text(re.sub(r"\]\([^)\s]*\)", "](index.md)", text), encoding="utf-8")
    (folder / "mkdocs.yml").write_text(SETTINGS, encoding="utf-8")
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "-q", "-f", str(folder / "mkdocs.yml")], check=True, capture_output=True)
    return folder / "site"


def main(arguments: list[str] | None = None) -> int:
    """Print the figures and what is not held; 1 if something is not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("site", type=Path, metavar="SITE_DIR")
    parser.add_argument("--page", default="optimization/momentum", help="a chapter, as optimization/momentum")
    parser.add_argument("--rounds", type=int, default=7, help="loads of each page on each phone")
    options = parser.parse_args(arguments)
    if not (options.site / options.page / "index.html").exists():
        parser.error(f"--page is {options.page}: expected a chapter of {options.site}")
    with tempfile.TemporaryDirectory() as name:
        stock = plain(options.page, Path(name))
        command = ["node", "load.mjs", str(options.site.resolve()), f"{options.page}/", str(stock), "page/", f"--rounds={options.rounds}"]
        *lines, data = subprocess.run(command, cwd=ROOT / "scripts" / "browser", check=True, capture_output=True, text=True).stdout.splitlines()
    print(*lines, sep="\n")
    slow, slow_plain, fast, _ = json.loads(data)
    found = []
    if slow["paint"] > PAINT * slow_plain["paint"]:
        found.append(f"the largest paint comes at {slow['paint'] / slow_plain['paint']:.2f} times the plain page's: expected {PAINT} at most")
    if fast["blocked"] > BLOCKED:
        found.append(f"tasks block for {fast['blocked']} ms: expected {BLOCKED} at most")
    if slow["moved"] > MOVED:
        found.append(f"{slow['moved'] / 1000:.0f} kB are moved before a reader touches anything: expected {MOVED / 1000:.0f} at most")
    print(*found, f"{len(found)} promises are not held; paint {slow['paint'] / slow_plain['paint']:.2f} times the plain page's", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
