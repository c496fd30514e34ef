"""What experiments too long for a page have measured: each a JSON file in this folder, written by a program of the book's `scripts/`."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from ..arrays.checks import OneOf, check

__all__ = ["measured"]


def measured(name: str) -> dict[str, Any]:
    """What the experiment of that name has measured, as its program wrote it; a page that draws it says what is in it.

    Raises `ValueError` for a name that there is not.

    >>> measured("newton_cost")["machine"]["dtype"]
    'float64'
    """
    names = sorted(file.name.removesuffix(".json") for file in files(__name__).iterdir() if file.name.endswith(".json"))
    check("name", name, OneOf(*names))
    found: dict[str, Any] = json.loads((files(__name__) / f"{name}.json").read_text(encoding="utf-8"))
    return found
