"""Which lines a change touches, as Git tells it: what the mutants of a change are made of."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path


def touched(since: str, root: Path, *folders: str) -> dict[str, set[int]]:
    """The numbers of the lines that the tree at `root` has otherwise than the commit `since`, by file; a new file has all of its own.

    Raises CalledProcessError where there is no such commit.
    """
    command = ["git", "-c", "core.quotePath=false", "diff", "--unified=0", "--no-renames", "--no-color", "--no-ext-diff", "--no-prefix", since, "--", *folders]
    text = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    found: dict[str, set[int]] = {}
    for part in re.split(r"^diff --git .*$", text, flags=re.M)[1:]:
        if name := re.search(r"^\+\+\+ (?!/dev/null$)([^\t\n]+)", part, flags=re.M):
            ranges = re.findall(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", part, flags=re.M)
            found[name[1]] = {line for start, count in ranges for line in range(int(start), int(start) + int(count or 1))}
    return found
