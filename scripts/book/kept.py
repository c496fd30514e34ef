"""Keeps what the runs of pages gave in `.cache/pages`, for as long as nothing that they rest on has changed."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
import tempfile
import time
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

DISTRIBUTION = "descent-derived"
UNUSED = 30 * 24 * 3600  # seconds after which a run that nobody has asked for is forgotten


def key(page: Path, text: str, root: Path) -> str:
    """A digest of all that a page's run rests on: its text, the package, what runs it, Python, the packages that the project pins and those that it locks."""
    digest = hashlib.sha256(json.dumps([page.as_posix(), text, sys.version, platform.machine(), _pinned("test")]).encode())
    package = [file for file in (root / "reference_impl").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    for file in sorted([*package, *runners(Path(__file__).parent), *root.glob("requirements.lock")]):
        digest.update(f"\n{file.name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:32]


@cache
def runners(folder: Path) -> list[Path]:
    """Of the book's modules those that run pages and their copies: `trials`, and what it imports of the others, and these. How a page looks is not theirs."""
    found, new = {"__init__"}, ["trials"]
    while new:
        found.add(name := new.pop())
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        imports = re.findall(r"^ *(?:from (?:\.|book\.)(\w+) import|from (?:\.|book) import (.+)|import book\.(\w+))", text, flags=re.M)
        new += {other for names in imports for other in re.findall(r"\w+", " ".join(names)) if (folder / f"{other}.py").exists()} - found
    return [folder / f"{name}.py" for name in sorted(found)]


def read(key: str, root: Path) -> Any:
    """What was written under `key`, or None."""
    entry = _entry(key, root)
    with suppress(OSError, ValueError):  # there is none, or none that can be read
        found = json.loads(entry.read_text(encoding="utf-8"))
        os.utime(entry)
        return found
    return None


def write(key: str, root: Path, found: Any) -> None:
    """Keep `found`, so that whoever looks finds the whole of it or nothing, whenever this is interrupted."""
    entry = _entry(key, root)
    entry.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=entry.parent, prefix="draft-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(found, file, sort_keys=True)
    os.replace(draft, entry)


def forget_unused(root: Path) -> None:
    """Remove runs, and leavings of interrupted ones, that nobody has asked for in a month."""
    for entry in _entry("*", root).parent.glob("*"):
        with suppress(OSError):  # another build may have been quicker
            if entry.stat().st_mtime < time.time() - UNUSED:
                entry.unlink()


def _entry(key: str, root: Path) -> Path:
    return root / ".cache" / "pages" / f"{key}.json"


@cache
def _pinned(extra: str) -> list[str]:
    """The packages that the project names for its pages and tests, with their versions where they are installed."""
    found: list[str] = []
    for wanted in map(Requirement, requires(DISTRIBUTION) or []):
        if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
            if wanted.name == DISTRIBUTION:
                found += [package for inner in sorted(wanted.extras) for package in _pinned(inner)]
            else:
                with suppress(PackageNotFoundError):
                    found.append(f"{wanted.name}=={version(wanted.name)}")
    return found
