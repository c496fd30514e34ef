"""Change each cell of the table of operations, and see that its test notices: python scripts/mutate_operations.py [--every] (extra `test`).

A cell is what one reading writes for one operation. It is given another operation's text, and its own with the arguments exchanged; then
the test of that row in that reading runs on it. Printed is what no test noticed, and how many there were. By itself each cell takes a few
others' texts; with --every those of all operations of as many arguments. A text that means the same (`fabs` for `absolute`) is no change.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "engines")]

from test_operations import READINGS, check_host, check_row  # noqa: E402

from reference_impl.engines.operations import OPERATIONS, Operation  # noqa: E402

SYMMETRIC = (np.add, np.multiply, np.maximum, np.minimum, np.fmax, np.fmin, np.hypot)
# Pairs of functions that are one function, or where a reading's language has but one for both.
SAME = ({np.absolute, np.fabs}, {np.maximum, np.fmax}, {np.minimum, np.fmin})
NEIGHBOURS = 3


def changes(row: Operation, reading: str, every: bool) -> Iterator[tuple[str, str]]:
    """What is put in the place of a cell, and what that means."""
    cell = getattr(row, reading)
    rows = list(OPERATIONS.values())
    at = rows.index(row)
    others = [r for r in rows[at + 1:] + rows[:at] if r.ufunc.nin == row.ufunc.nin]
    for other in others if every else others[:NEIGHBOURS]:
        text = getattr(other, reading)
        if text != cell and not ({row.ufunc, other.ufunc} in SAME and (row.ufunc is np.absolute or row.ufunc is np.fabs or reading == "symbolic")):
            yield other.ufunc.__name__, text
    if row.ufunc.nin == 2 and row.ufunc not in SYMMETRIC:
        yield "its arguments exchanged", cell.replace("{0}", "{2}").replace("{1}", "{0}").replace("{2}", "{1}")


def noticed(ufunc: np.ufunc, reading: str) -> bool:
    """Whether the test of a row fails."""
    try:
        if reading == "host":
            check_host(ufunc)
        else:
            check_row(ufunc, reading)
    except Exception:
        return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", action="store_true")
    parser.add_argument("--only", default="", help="only this reading")
    options = parser.parse_args()
    readings = [reading for reading in ("host", *READINGS) if options.only in ("", reading)]
    tried, survivors = 0, []
    for row in tqdm(list(OPERATIONS.values()), disable=None):
        for reading in readings:
            for name, text in changes(row, reading, options.every):
                OPERATIONS[row.ufunc] = dataclasses.replace(row, **{reading: text})
                tried += 1
                if not noticed(row.ufunc, reading):
                    survivors.append(f"{row.ufunc.__name__} in {reading} as {name}: {text}")
            OPERATIONS[row.ufunc] = row
            if noticed(row.ufunc, reading):
                raise SystemExit(f"{row.ufunc.__name__} in {reading} fails unchanged")
    print(*survivors, f"{tried - len(survivors)} of {tried} changes noticed", sep="\n")
    raise SystemExit(bool(survivors))


if __name__ == "__main__":
    main()
