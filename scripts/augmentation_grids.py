"""Augmentation in other settings: python scripts/augmentation_grids.py [--seeds 10] [--print].

Takes the functions of the chapter on augmentation and writes to reference_impl/measurements/augmentation_grids.json how many test digits networks
have right, with and without each augmentation, for several numbers of digits, rates, numbers of steps and ways to split; and the accuracy
on squares of photographs for five ways to split those and two numbers of epochs. Takes some fifteen minutes on one core.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
import numpy as np  # noqa: E402
from book.grids import MEASUREMENTS, as_text, definitions, keep  # noqa: E402

from reference_impl import digits  # noqa: E402

PAGE, FILE = ROOT / "docs/generalization/augmentation.md", MEASUREMENTS / "augmentation_grids.json"
SETTINGS = {  # digits, rate, steps, whether most test digits are by new writers
    "50 digits, rate 0.03, 100 steps": (50, 0.03, 100, False),
    "50 digits, rate 0.1, 400 steps": (50, 0.1, 400, False),
    "200 digits, rate 0.1, 100 steps": (200, 0.1, 100, False),
    "200 digits, rate 0.1, 400 steps": (200, 0.1, 400, False),
    "800 digits, rate 0.1, 400 steps": (800, 0.1, 400, False),
    "800 digits, rate 0.1, 1600 steps": (800, 0.1, 1600, False),
    "50 digits, rate 0.1, 400 steps, new writers": (50, 0.1, 400, True),
    "200 digits, rate 0.1, 400 steps, new writers": (200, 0.1, 400, True),
}
SPLITS = ["at random", "left to right", "right to left", "top to bottom", "bottom to top"]
EPOCHS = {"photographs": 40, "photographs, longer": 160}
SEEDS, FIRST, FROM = 10, 800, 1000


def chapter() -> dict[str, Any]:
    """The page's imports, constants and functions, without its runs."""
    return definitions(PAGE, FILE)


def split(seed: int, n: int, new_writers: bool) -> tuple[np.ndarray, ...]:
    """Training digits and test digits: at random, or those that were collected first and those that were collected last."""
    if not new_writers:
        data = digits(seed)
        return data.inputs[:n], data.labels[:n], data.test_inputs, data.test_labels
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    chosen = np.random.default_rng(seed).permutation(FIRST)[:n]
    return inputs[chosen] / 16, labels[chosen], inputs[FROM:] / 16, labels[FROM:]


def measure(names: dict[str, Any], setting: str, name: str, seed: int) -> tuple[int, int]:
    """How many test digits there are, and how many of them the network has right."""
    n, rate, steps, new_writers = SETTINGS[setting]
    x, labels, test, truth = split(seed, n, new_writers)
    model = names["of_digits"](x, labels, seed, names["augmentations"]()[name], rate, steps)
    return len(truth), round(names["right"](model, test.reshape(-1, 8, 8, 1), truth) * len(truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--print", action="store_true", help="write no file")
    options = parser.parse_args()
    names, seeds = chapter(), range(options.seeds)
    counts: dict[str, int] = {}
    tables: dict[str, dict[str, dict[str, Any]]] = {"right": {}} | {table: {} for table in EPOCHS}
    for table, epochs in EPOCHS.items():
        for way in SPLITS:
            tables[table][way] = {
                name: [[round(float(share), 4) for share in names["photo_scores"](way, seed, augment, epochs)] for seed in seeds]
                for name, augment in names["photo_augmentations"]().items()
            }
            print(f"{table}, {way}: done", flush=True)
    for setting in SETTINGS:
        for name in names["augmentations"]():
            found = [measure(names, setting, name, seed) for seed in seeds]
            counts[setting] = found[0][0]
            tables["right"].setdefault(setting, {})[name] = [right for _, right in found]
        print(f"{setting}: done", flush=True)
    text = as_text({"new writers": [FIRST, FROM], "digits": counts}, tables)
    keep(text, FILE, only_print=options.print)


if __name__ == "__main__":
    main()
