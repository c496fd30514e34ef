"""A Griffe extension: doctests that stand bare in a docstring become `pycon` fences, so that the site shows them as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

# From `>>>` to the next empty line, as doctest itself reads it.
BARE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.M)
FENCED = re.compile(r"(^(`{3,}).*?^\2$)", re.M | re.S)


class Doctests(griffe.Extension):
    """Fences the examples of every docstring."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Change an object's docstring as soon as it is known."""
        if obj.docstring:
            obj.docstring.value = fence(obj.docstring.value)


def fence(text: str) -> str:
    """The docstring with a fence around each doctest that has none."""
    pieces = FENCED.split(text)  # text, fence, its marks, text, ...
    for at in range(0, len(pieces), 3):
        pieces[at] = BARE.sub(lambda match: f"```pycon\n{match[0]}\n```", pieces[at])
    return "".join(piece for at, piece in enumerate(pieces) if at % 3 != 2)
