"""Snapshots and averaged weights at every rate: python scripts/ensemble_grids.py [--splits 10] [--print].

Takes the functions of the chapter on ensembles and writes to reference_impl/measurements/ensembles_grids.json how many validation and test
digits each way to spend a run has right at each peak rate, and the test losses of averaged weights at each rate. The chapter draws the
file, and chooses its peaks on the validation digits. Takes some four minutes on one core.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from book.grids import MEASUREMENTS, as_text, definitions, keep  # noqa: E402

from reference_impl import cosine  # noqa: E402

PAGE, FILE = ROOT / "docs/generalization/ensembles.md", MEASUREMENTS / "ensembles_grids.json"
PEAKS = [0.05, 0.1, 0.2, 0.4, 0.8]
RATES = [0.01, 0.03, 0.1, 0.3]
WRONG = [0.0, 0.3]
SPLITS = 10


def chapter() -> dict[str, Any]:
    """The page's imports, constants and functions, without its runs."""
    return definitions(PAGE, FILE, ("centred", "len", "slice"))


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
    text = as_text({"peaks": PEAKS}, {"snapshots": spent, "averages": {"losses": losses}})
    keep(text, FILE, only_print=options.print)


if __name__ == "__main__":
    main()
