"""SVG's paths in few signs: tenths of a unit, each point from the one before, none that a straight line passes anyway."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

TOLERANCE = 0.5  # tenths: how far a point that is left out may lie off the line that is drawn
PART = re.compile(r"([MLQCz])([^MLQCz]*)")


def compact(path: str) -> str:
    """An SVG path as Matplotlib writes it, in absolute coordinates, made short: no point moves by more than an eighth of a unit.

    >>> compact("M 10 10 L 20.04 10 L 30 10 L 30 25.5 z")
    'm10 10h20v15.5z'
    >>> compact("M 0 3 C 0.8 3 1.56 2.68 2.12 2.12 L 4.5 1.5 L 4.5 0 z")
    'm0 3c.8 0 1.6-.3 2.1-.9l2.4-.6v-1.5z'
    """
    steps: list[tuple[str, list[int]]] = []
    start = np.zeros(2, np.int64)
    line = [start]  # where the path is, and the straight strokes from there that are not written yet
    for command, numbers in [*PART.findall(path), ("", "")]:
        points = np.rint(10 * np.array(numbers.split(), float)).astype(np.int64).reshape(-1, 2)
        if command == "L":
            line.extend(points)
            continue
        steps += [_straight(*step) for step in np.diff(_needed(np.array(line)), axis=0).tolist()]
        if command == "z":
            steps.append(("z", []))
            line = [start]
        elif command:
            steps.append((command.lower(), (points - line[-1]).ravel().tolist()))
            line = [points[-1]]
            start = line[0] if command == "M" else start
    return _written(steps)


def _needed(line: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The points that a line needs, as Ramer, Douglas and Peucker choose them."""
    keep = np.zeros(len(line), bool)
    keep[[0, -1]] = True
    spans = [(0, len(line) - 1)]
    while spans:
        first, last = spans.pop()
        if last - first < 2:
            continue
        along, away = line[last] - line[first], line[first + 1 : last] - line[first]
        # From the stretch, not from the line through it: a path may go back on itself.
        part = np.clip(away @ along / max(along @ along, 1), 0, 1)
        off = np.hypot(*(away - np.outer(part, along)).T)
        if off.max() > TOLERANCE:
            middle = first + 1 + int(off.argmax())
            keep[middle] = True
            spans += [(first, middle), (middle, last)]
    return line[keep]


def _straight(right: int, down: int) -> tuple[str, list[int]]:
    return ("h", [right]) if not down else ("v", [down]) if not right else ("l", [right, down])


def _written(steps: list[tuple[str, list[int]]]) -> str:
    """The commands with no sign more than SVG's grammar needs."""
    text, last = "", ""
    for command, tenths in steps:
        text += command if command == "z" or command != ("l" if last == "m" else last) else " "
        for number in tenths:
            whole, part = divmod(abs(number), 10)
            text += "-" * (number < 0) + (f"{whole or ''}.{part}" if part else str(whole)) + " "
        text, last = text.rstrip(" "), command
    return re.sub(r"(?<=[a-z]) | (?=[-a-z])|(\.\d) (?=\.)", r"\1", text)
