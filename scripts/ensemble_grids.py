"""Snapshots and averaged weights at every rate: python scripts/ensemble_grids.py [--splits 10] [--print].

Takes the functions of the chapter on ensembles and writes to docs/generalization/ensembles_grids.json how many validation and test
digits each way to spend a run has right at each peak rate, and the test losses of averaged weights at each rate. The chapter draws the
file, and chooses its peaks on the validation digits. Takes some four minutes on one core.
"""

import argparse
import ast
import contextlib
import json
import platform
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
import numpy as np  # noqa: E402
from book.page import Page  # noqa: E402

from reference_impl import cosine  # noqa: E402

PAGE, FILE = ROOT / "docs/generalization/ensembles.md", ROOT / "docs/generalization/ensembles_grids.json"
PEAKS = [0.05, 0.1, 0.2, 0.4, 0.8]
RATES = [0.01, 0.03, 0.1, 0.3]
WRONG = [0.0, 0.3]
SPLITS = 10


def chapter() -> dict[str, Any]:
    """The page's imports, constants and functions, without its runs."""
    names: dict[str, Any] = {}
    for block in Page.read(PAGE).blocks:
        for node in ast.parse(block.text).body if block.kind == "cell" and "grids" not in block.text else []:
            calls = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
            cheap = isinstance(node, ast.Assign) and all(isinstance(call, ast.Name) and call.id in ("centred", "len", "slice") for call in calls)
            if cheap or isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef)):
                with contextlib.suppress(NameError):  # what is made from a run
                    exec(compile(ast.Module([node], []), str(PAGE), "exec"), names)
    return names


def snapshots(names: dict[str, Any], seed: int, wrong: float, peak: float) -> dict[str, list[int]]:
    """How many validation and test digits each way has right."""
    split, x, labels = names["noisy_labels"](seed, wrong)
    shots = names["shots"]
    kinds = (x[shots:], labels[shots:]), (split.test_inputs, split.test_labels)
    return {
        way: [int((names["average"](models, inputs).argmax(axis=1) == truth).sum()) for inputs, truth in kinds]
        for way, models in names["ways_to_spend"](seed, wrong, peak).items()
    }


def averages(names: dict[str, Any], seed: int, rate: float) -> list[list[float]]:
    """Test losses of the last weights, the second half averaged and the moving average: at a constant rate, and under a cosine."""
    schedules = rate, cosine(rate, names["total_steps"])
    return [[round(float(loss), 4) for loss in row] for row in names["losses_of"]([names["noisy_run"](seed, s) for s in schedules])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--print", action="store_true", help="write no file")
    options = parser.parse_args()
    names, splits = chapter(), range(options.splits)
    spent: dict[str, dict[str, list[list[list[int]]]]] = {}
    for wrong in WRONG:
        by_way = spent.setdefault(str(wrong), {})
        for peak in PEAKS:
            rows = [snapshots(names, seed, wrong, peak) for seed in splits]
            for way in rows[0]:
                by_way.setdefault(way, []).append([row[way] for row in rows])
            print(f"{wrong:.0%} wrong labels, peak {peak}: done")
    losses = {str(rate): [averages(names, seed, rate) for seed in splits] for rate in RATES}
    about = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
    blocks = [f' "about": {json.dumps(about)}', f' "peaks": {json.dumps(PEAKS)}']
    for key, table in (("snapshots", spent), ("averages", {"losses": losses})):
        inner = ",\n".join(
            f'  "{name}": {{\n' + ",\n".join(f'   "{row}": {json.dumps(values)}' for row, values in rows.items()) + "\n  }"
            for name, rows in table.items()
        )
        blocks.append(f' "{key}": {{\n{inner}\n }}')
    text = "{\n" + ",\n".join(blocks) + "\n}\n"
    if options.print:
        print(text)
    else:
        FILE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
