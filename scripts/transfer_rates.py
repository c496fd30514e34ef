"""Fine-tune at every rate: python scripts/transfer_rates.py [--splits 10] [--print].

Takes the tasks, the network and the ways to train from the first cells of the chapter on transfer learning, runs them at all rates for all
numbers of labels, and writes to reference_impl/measurements/transfer_rates.json how many validation and test digits each network has right. The
chapter draws the file, and chooses its rates on the validation digits. Takes some four minutes on one core.
"""

import argparse
import copy
import json
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
import numpy as np  # noqa: E402
from book.grids import MEASUREMENTS, keep, reads  # noqa: E402
from book.page import Page  # noqa: E402

from reference_impl import Affine, Sequential  # noqa: E402

PAGE, FILE = ROOT / "docs/practice/transfer.md", MEASUREMENTS / "transfer_rates.json"
RATES = [0.025, 0.05, 0.1, 0.2, 0.4, 0.8]
SIZES = [20, 60, 200, 500]  # what comes after these many labelled digits is for validation
SPLITS = 10


def chapter() -> dict[str, Any]:
    """What the page defines before the cell that reads the file."""
    names: dict[str, Any] = {}
    for block in Page.read(PAGE).blocks:
        if block.kind == "cell":
            if reads(block.text, FILE):
                return names
            exec(compile(block.text, str(PAGE), "exec"), names)
    raise ValueError(f"{PAGE} must have a cell that reads measured({FILE.stem!r}), got none")


def ways(names: dict[str, Any], task: Any, seed: int, n: int, source: Sequential) -> dict[str, Callable[[float], Sequential]]:
    """Every way to use `n` labels of the target: a function that takes the rate and gives the trained network."""
    train_all, train_head, new_head = (names[name] for name in ("train_all", "train_head", "new_head"))
    rng = np.random.default_rng([seed, n, 3])
    untrained, pixels = names["network"](rng), Sequential(Affine(names["field"]**2, 5, rng=rng))
    strange = copy.deepcopy(source)
    strange.layers[0].params["W"][...] = source.layers[0].params["W"][names["shuffle"]]
    made: dict[str, Callable[[float], Sequential]] = {}

    def from_start(way: str, start: Sequential, halves: int = 1, body: float = 1.0) -> None:
        """All weights from the network `start`, the body at `body` times the head's rate."""
        made[way] = lambda lr: train_all(copy.deepcopy(start), task, seed, n, lr, halves, body)

    def frozen(body: Sequential, lr: float) -> Sequential:
        """A head trained on `body` as it is."""
        trained: Sequential = train_head(new_head(body, seed, n), task, seed, n, lr, 2)
        return trained

    for way, halves in (("from scratch, half", 1), ("from scratch", 2), ("from scratch, twice", 4)):
        from_start(way, untrained, halves)
    from_start("pixels", pixels, 2)
    for ending, body in (("", source), (", dissimilar", strange), (", random", untrained)):
        made["frozen" + ending] = partial(frozen, body)
    from_start("fine-tuned, dissimilar", train_head(new_head(strange, seed, n), task, seed, n))
    head_first = train_head(new_head(source, seed, n), task, seed, n)
    for factor in (1.0, 0.3, 0.1):
        ending = "" if factor == 1 else f", body at {factor}"
        from_start("fine-tuned" + ending, head_first, body=factor)
        from_start("random head" + ending, new_head(source, seed, n), body=factor)
    for ending, factor in (("", 1.0), (", body at 0.1", 0.1)):
        from_start(f"random head{ending}, all epochs", new_head(source, seed, n), 2, factor)
    return made


def measure(names: dict[str, Any], seed: int, sizes: list[int] = SIZES) -> tuple[list[int], dict[str, list[list[list[int]]]]]:
    """How many validation and test digits a split has, and how many of them each way has right: number of labels, rate, which."""
    task = names["draw"](seed)
    source = names["pretrain"](task, seed)
    kinds = (task.inputs[SIZES[-1]:], task.labels[SIZES[-1]:]), task.new_test
    found: dict[str, list[list[list[int]]]] = {}
    for n in sizes:
        for way, train in ways(names, task, seed, n, source).items():
            models = [train(rate) for rate in RATES]
            found.setdefault(way, []).append([[round(names["right"](model, kind) * len(kind[1])) for kind in kinds] for model in models])
    return [len(labels) for _, labels in kinds], found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--print", action="store_true", help="write no file")
    options = parser.parse_args()
    names = chapter()
    digits: list[list[int]] = []
    right: dict[str, list[list[list[list[int]]]]] = {}
    for seed in range(options.splits):
        counts, found = measure(names, seed)
        digits.append(counts)
        for way, by_size in found.items():
            right.setdefault(way, []).append(by_size)
        print(f"split {seed}: {counts[1]} test digits")
    about = {"python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
    rows = ",\n".join(f'  "{way}": [\n' + ",\n".join(f"   {json.dumps(split)}" for split in splits) + "\n  ]" for way, splits in right.items())
    head = ",\n".join(f' "{key}": {json.dumps(value)}' for key, value in (("about", about), ("sizes", SIZES), ("rates", RATES), ("digits", digits)))
    text = f'{{\n{head},\n "right": {{\n{rows}\n }}\n}}\n'
    keep(text, FILE, only_print=options.print)


if __name__ == "__main__":
    main()
