"""How often `diagnose` is right: python scripts/diagnose_confusion.py [--seed 2027] [--runs 24] [--print].

Trains small networks with a known fault, each with settings of its own, asks `diagnose`, with a Monitor's columns and without, and writes
reference_impl/measurements/diagnose_confusion.json, which the chapter on diagnostics draws. The thresholds of `diagnose` were set on the runs of
`--seed 1 --runs 24 --print`; the file's runs, of another seed and another split of the digits, had no part in that, and those with tanh in
the place of the ReLU are unlike any run that had. Every run is made twice, to see
whether its answer hangs on the last bits of a sum. Takes about a minute.
"""

import argparse
import itertools
import json
import math
import platform
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import numpy as np  # noqa: E402

from reference_impl import SGD, Adam, Affine, Diverged, Evaluate, History, Momentum, ReLU, Sequential, Tanh, digits, fit  # noqa: E402
from reference_impl.networks.data import Split  # noqa: E402
from reference_impl.networks.layers import Layer  # noqa: E402
from reference_impl.practice.diagnostics import FAULTS, Monitor, diagnose  # noqa: E402

RUNS = {"healthy": 16} | dict.fromkeys(FAULTS, 12)
TANH = dict.fromkeys(RUNS, 6) | {"dead ReLUs": 0}
SEED = 2027
RATES = {"SGD": (0.1, 0.4), "Momentum": (0.02, 0.06), "Adam": (2e-3, 1e-2)}
TOO_HIGH = {"SGD": (2, 20), "Momentum": (0.4, 4), "Adam": (0.1, 1)}


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """A number from `low` to `high`, uniform in its logarithm."""
    return float(np.exp(rng.uniform(math.log(low), math.log(high))))


def faulty_run(fault: str, data: Split, rng: np.random.Generator, activation: type[Layer] = ReLU) -> tuple[History, dict[str, Any]]:
    """The history of one run with `fault`, or "healthy", and the settings drawn for it from `rng`."""
    name = str(rng.choice(list(RATES)))
    rate = between(rng, *RATES[name])
    hidden, width = int(rng.integers(1, 4)), int(rng.integers(16, 49))
    count, batch, epochs = int(rng.integers(200, 401)), int(rng.choice([16, 32])), int(rng.integers(10, 21))
    about: dict[str, Any] = {}
    if fault == "learning rate too high":
        rate = between(rng, *TOO_HIGH[name])
    elif fault == "learning rate too low":
        rate /= between(rng, 10, 1000)
    elif fault == "overfitting":
        count, epochs, about["noise"] = int(rng.integers(40, 81)), 4 * epochs, float(rng.uniform(0.2, 0.5))
    elif fault == "shuffled labels":
        epochs *= 2
    elif fault == "bad initialization":
        hidden = int(rng.integers(5, 8))
        about["std"] = between(rng, 0.005, 0.08) if rng.random() < 0.5 else between(rng, 0.5, 4)
    elif fault == "dead ReLUs":
        about["bias"], about["layer"] = -float(rng.uniform(1, 4)), int(rng.integers(hidden))
    elif fault == "unscaled inputs":
        about["scale"] = [16.0, 255.0, 1 / 255, between(rng, 100, 1000)][kind := int(rng.integers(4))]
        about["feature"] = int(rng.integers(64)) if kind == 3 else None
    pick = rng.permutation(len(data.inputs))[:count]
    inputs, labels, others, other_labels = data.inputs[pick], data.labels[pick], data.test_inputs[:200], data.test_labels[:200]
    if "noise" in about:
        inputs, others = (x + about["noise"] * rng.standard_normal(x.shape) for x in (inputs, others))
    if "scale" in about:
        scale = np.full(64, about["scale"]) if about["feature"] is None else np.where(np.arange(64) == about["feature"], about["scale"], 1)
        inputs, others = inputs * scale, others * scale
    if fault == "shuffled labels":
        labels = rng.permutation(labels)
    sizes = [64, *[width] * hidden, 10]
    affine = [Affine(*pair, rng=rng, std=about.get("std")) for pair in itertools.pairwise(sizes)]
    if "bias" in about:
        affine[about["layer"]].params["b"][...] = about["bias"]
    model = Sequential(*[layer for one in affine[:-1] for layer in (one, activation())], affine[-1])
    optimizer = {"SGD": SGD(lr=rate), "Momentum": Momentum(lr=rate, rho=0.9), "Adam": Adam(lr=rate)}[name]
    about = {"optimizer": name, "lr": rate, "hidden": hidden, "width": width, "examples": count, "batch": batch, "epochs": epochs} | about
    monitor = Monitor(model, inputs[:100])
    try:
        history = fit(model, inputs, labels, optimizer, epochs=epochs, batch_size=batch, rng=rng,
                      callbacks=[Evaluate({"train": (inputs, labels), "validation": (others, other_labels)}), monitor])
    except Diverged as error:
        history = monitor.history
        history.stopped = str(error)
        if not history.epochs:
            history.epochs.append(monitor.row())
    return history, about


def without_monitor(history: History) -> History:
    """The same history as `fit` alone writes it."""
    return History(history.losses, [{key: value for key, value in row.items() if "/" not in key} for row in history.epochs], history.stopped)


def run(seed: int, fault: str, number: int, data: Split, activation: type[Layer] = ReLU) -> dict[str, Any]:
    """One run and what `diagnose` says of it."""
    history, about = faulty_run(fault, data, np.random.default_rng([seed, list(RUNS).index(fault), number]), activation)
    found, curves = diagnose(history, 10), diagnose(without_monitor(history), 10)
    losses = [row["loss"] for row in history.epochs if "loss" in row]
    return {"fault": fault, "number": number, "diagnosis": found.fault, "why": found.why, "from_curves": curves.fault,
            "fell": len(losses) > 1 and losses[-1] < losses[0],
            "settings": {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in about.items()}}


def checked_run(seed: int, fault: str, number: int, data: Split, activation: type[Layer]) -> dict[str, Any]:
    """`run`, and whether the answers are `steady`: the same when the inputs differ in the 12th digit, as another machine's sums may."""
    nudged = data._replace(inputs=data.inputs * (1 + 1e-12))
    found, again = (run(seed, fault, number, some, activation) for some in (data, nudged))
    return found | {"steady": all(found[key] == again[key] for key in ("diagnosis", "from_curves", "fell"))}


def numbered(counts: dict[str, int], runs: int | None = None) -> list[tuple[str, int]]:
    """Each fault with the numbers of its runs."""
    return [(fault, number) for fault, count in counts.items() for number in range(runs or count)]


def table(runs: list[dict[str, Any]], column: str) -> str:
    """A line for each true fault: how often which answer was given."""
    counts = {fault: Counter(run[column] for run in runs if run["fault"] == fault) for fault in RUNS}
    return "\n".join(f"{fault:24s}" + ", ".join(f"{n} {answer}" for answer, n in found.most_common()) for fault, found in counts.items() if found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--runs", type=int, help="of each kind, with the ReLU; by default 16 healthy ones and 12 with each fault")
    parser.add_argument("--print", action="store_true", help="write no file")
    options = parser.parse_args()
    data = digits(options.seed)
    results = {"relu": [checked_run(options.seed, *one, data, ReLU) for one in numbered(RUNS, options.runs)],
               "tanh": [checked_run(options.seed, *one, data, Tanh) for one in numbered(TANH)]}
    for name, runs in results.items():
        for column in ("diagnosis", "from_curves"):
            right = sum(one[column] == one["fault"] for one in runs)
            print(f"{name}, {column}: {right} of {len(runs)} right\n{table(runs, column)}\n")
    if not options.print:
        about = {"seed": options.seed, "python": platform.python_version(), "numpy": np.__version__, "machine": platform.machine()}
        lines = ",\n".join(f' "{name}": [\n' + ",\n".join(f"  {json.dumps(one)}" for one in runs) + "\n ]" for name, runs in results.items())
        (ROOT / "reference_impl/measurements/diagnose_confusion.json").write_text(f'{{\n "about": {json.dumps(about)},\n{lines}\n}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
