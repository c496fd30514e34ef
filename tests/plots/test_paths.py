"""Short paths draw what the long ones drew."""

import re

import numpy as np
import pytest

from reference_impl.plots.paths import compact

KINDS = {"m": 2, "l": 2, "h": 1, "v": 1, "q": 4, "c": 6, "z": 0}


def corners(path: str) -> list[np.ndarray]:
    """The points of each subpath of a short path, read by SVG's grammar."""
    found, at, start = [], np.zeros(2), np.zeros(2)
    for command, text in re.findall(r"([a-z])([^a-z]*)", path):
        numbers = [float(number) for number in re.findall(r"-?(?:\d+(?:\.\d+)?|\.\d+)", text)]
        size = KINDS[command]
        assert bool(numbers) == bool(size) and len(numbers) % (size or 1) == 0, path
        for place in range(0, len(numbers), size or 1):
            move = numbers[place : place + size]
            at = at + ([move[0], 0] if command == "h" else [0, move[0]] if command == "v" else move[-2:])
            if command == "m" and place == 0:
                found.append([])
                start = at
            found[-1].append(at)
        if command == "z":
            found[-1].append(start)
            at = start
    return [np.array(line) for line in found]


def distance(points: np.ndarray, line: np.ndarray) -> float:
    """From the farthest of `points` to a line of straight stretches."""
    first, along = line[:-1], np.diff(line, axis=0)
    away = points[:, None] - first
    part = np.clip((away * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-12), 0, 1)
    return float(np.hypot(*np.moveaxis(away - part[..., None] * along, -1, 0)).min(1).max())


@pytest.mark.parametrize("seed", range(20))
def test_no_point_moves_by_more_than_an_eighth(seed):
    rng = np.random.default_rng(seed)
    lines = [np.cumsum(rng.normal(size=(rng.integers(4, 60), 2)) * rng.choice([0.02, 0.3, 5, 200]), 0) for _ in range(3)]
    lines[1][3:] = lines[1][3]  # it stands still
    text = " ".join("M " + " L ".join(f"{x:.4f} {y:.4f}" for x, y in line) + " z" * (seed % 2) for line in lines)
    short = corners(compact(text))
    assert len(short) == 3
    for line, drawn in zip(lines, short, strict=True):
        whole = np.concatenate([line, line[:1]]) if seed % 2 else line
        assert distance(line, drawn) < 0.125 and distance(drawn, whole) < 0.08
        assert np.abs(drawn[0] - line[0]).max() <= 0.0501


def test_a_path_that_turns_back_keeps_its_end():
    assert compact("M 0 0 L 10 0 L 5 0") == "m0 0h10-5"


def test_a_dot_stays_a_dot():
    assert compact("M 3 4 L 3 4") == "m3 4h0"


def test_curves_keep_their_handles():
    assert compact("M 1 1 Q 2 2 3 1 C 4 0 5 0 6 1 z M 0 0 L 1 1") == "m1 1q1 1 2 0c1-1 2-1 3 0zm-1-1 1 1"


def test_errors_do_not_add_up():
    x = corners(compact("M 0 0 " + " ".join(f"L {0.14 * k:.2f} {k % 2}" for k in range(101))))[0][-1]
    assert x == pytest.approx([14, 0])
