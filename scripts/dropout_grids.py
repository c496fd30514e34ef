"""Dropout by the number of examples, the place, the width and the rate: python scripts/dropout_grids.py [--splits 10] [--print].

Takes the functions of the chapter on dropout and writes to reference_impl/measurements/dropout_grids.json, for each split, how many
validation and test digits a network has right where the validation digits would stop it, and at the end. The chapter draws the file,
and makes every choice on the validation digits. Takes some eight minutes on one core.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from book.grids import MEASUREMENTS, as_text, definitions, keep  # noqa: E402

PAGE, FILE = ROOT / "docs/generalization/dropout.md", MEASUREMENTS / "dropout_grids.json"
SPLITS = 10
RATES = [0.015, 0.05, 0.15, 0.4]
KEEPS = [1.0, 0.9, 0.75, 0.5, 0.25]
SIZES = [50, 100, 200, 400, 800]
WIDTHS = [25, 100, 400]
WIDTH_AT = 200  # digits
FIRST = [1.0, 0.9, 0.8, 0.5]
FIRST_AT = [100, 800]  # digits
HIDDEN = [1.0, 0.75, 0.5]
SHARED = {"each unit": (), "each channel": (1, 2)}
COURSES = 100, [1.0, 0.5]  # digits, keeps
DOUBT_AT = [(100, 0.5), (100, 0.75), (400, 0.5)]  # digits, keep
WRONG = {"right labels": 0.0, "wrong labels": 0.3}


def chapter() -> dict[str, Any]:
    """The page's imports, constants and functions, without its runs."""
    return definitions(PAGE, FILE)


def counted(course: Any) -> np.ndarray:
    """Accuracies on validation and test digits as how many are right."""
    return np.round(np.array(course) * [300, 449]).astype(int)


def kept(course: Any) -> list[int]:
    """Validation and test digits right where the validation digits are right most often, then both at the end."""
    right = counted(course)
    return [*right[right[:, 0].argmax()].tolist(), *right[-1].tolist()]


def doubts(names: dict[str, Any], seed: int, n: int, p: float, lr: float, wrong: float) -> dict[str, list[float]]:
    """What a trained network gives at test time, on validation digits and on test digits."""
    model, _ = names["dense"](seed, n, p, lr, wrong)
    _, *others = names["digit_sets"](seed, n, wrong)
    rows = [names["at_test_time"](model, *part, np.random.default_rng(100 + seed)) for part in others]
    return {name: [round(float(row[name]), 4) for row in rows] for name in rows[0]}


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """A list for each name, in place of a row for each split."""
    return {name: [row[name] for row in rows] for name in rows[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--print", action="store_true", help="write no file")
    options = parser.parse_args()
    names, splits = chapter(), range(options.splits)

    def dense(n: int, p: float, lr: float, wrong: float = 0.0, **more: Any) -> list[list[int]]:
        return [kept(names["dense"](seed, n, p, lr, wrong, **more)[1]) for seed in splits]

    def at_rates(done: str, keeps: Iterable[float], run: Any) -> list[list[list[list[int]]]]:
        print(done)
        return [[run(p, lr) for lr in RATES] for p in keeps]

    sizes = {name: {str(n): at_rates(f"{n} digits, {name}", KEEPS, lambda p, lr, n=n, wrong=wrong: dense(n, p, lr, wrong)) for n in SIZES}
             for name, wrong in WRONG.items()}
    widths = {"right labels": {str(units): at_rates(f"{units} units", KEEPS, lambda p, lr, units=units: dense(WIDTH_AT, p, lr, units=units))
                               for units in WIDTHS}}
    first = {str(n): {str(p0): at_rates(f"{n} digits, {p0} of the inputs", HIDDEN, lambda p, lr, n=n, p0=p0: dense(n, p, lr, first=p0))
                      for p0 in FIRST} for n in FIRST_AT}
    convolution = {"coins": {name: at_rates(f"a coin for {name}", KEEPS, lambda p, lr, shared=shared: [
        kept(names["convolution"](seed, p, lr, shared)) for seed in splits]) for name, shared in SHARED.items()}}
    n, keeps = COURSES
    courses = {f"{name}, {p}": {str(lr): [counted(names["dense"](seed, n, p, lr, wrong)[1]).T.tolist() for seed in splits] for lr in RATES}
               for name, wrong in WRONG.items() for p in keeps}
    doubt = {f"{name}, {n} digits, {p}": {str(lr): columns([doubts(names, seed, n, p, lr, wrong) for seed in splits]) for lr in RATES}
             for name, wrong in WRONG.items() for n, p in DOUBT_AT}
    text = as_text({"rates": RATES, "keeps": KEEPS, "sizes": SIZES, "widths": WIDTHS, "first": FIRST, "hidden": HIDDEN, "at": {
                       "width": WIDTH_AT, "courses": COURSES[0], "wrong": WRONG["wrong labels"]}},
                   {"by size": sizes, "by width": widths, "by first": first, "by coin": convolution, "courses": courses, "at test time": doubt})
    keep(text, FILE, only_print=options.print)


if __name__ == "__main__":
    main()
