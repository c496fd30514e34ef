"""What a step costs now and at an earlier revision, side by side: python scripts/benchmark_before.py REVISION [--rounds 15] [--only TEXT].

Both packages are loaded into one process, the earlier one from git under another name. In every round each of a case takes its turn, in random
order. Printed are the median times and the median of the rounds' ratios, now to before, with its quartiles.
"""

from __future__ import annotations

import argparse
import io
import math
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
from benchmark import settle, timed

ROOT = Path(__file__).parents[1]
RULES = ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSProp", "Adam", "AdamW", "AMSGrad")
MLP = [(64, 100), (100,), *[(100, 100), (100,)] * 8, (100, 10), (10,)]  # 20 arrays of 88,310 weights


def earlier(revision: str, folder: str) -> ModuleType:
    """The package as it was; its modules import one another by their places, so another name does not matter to them."""
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", revision, "reference_impl"], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    (Path(folder) / "reference_impl").rename(Path(folder) / "reference_impl_before")
    sys.path.insert(0, folder)
    return import_module("reference_impl_before")


def cases() -> Iterator[tuple[str, Callable[[ModuleType], Callable[[], object]]]]:
    for engine in ("blocked", "compiled"):
        for exponent in (3, 4, 5, 6, 7):
            for rule in RULES if exponent in (3, 5, 7) else ("Adam",):
                for check in (True, False):
                    yield f"{rule} 1e{exponent} {engine}{'' if check else ', no check'}", partial(large, rule, 10**exponent, engine, check)
        for flat in (False, True):
            for check in (True, False):
                yield f"20 arrays {engine}{', flat' * flat}{'' if check else ', no check'}", partial(small, engine, flat, check, False)
        yield f"20 arrays {engine}, new gradients", partial(small, engine, False, True, True)


def large(rule: str, size: int, engine: str, check: bool, package: ModuleType) -> Callable[[], object]:
    w, g = ({"w": np.random.default_rng(seed).standard_normal(size, "f4")} for seed in range(2))
    return partial(getattr(package, rule)(lr=1e-3, engine=engine, check_finite=check).update, w, g)


def small(engine: str, flat: bool, check: bool, anew: bool, package: ModuleType) -> Callable[[], object]:
    params, grads = ({str(i): np.random.default_rng([seed, i]).standard_normal(shape, "f4") for i, shape in enumerate(MLP)} for seed in range(2))
    if flat:
        params, grads = package.flatten(params), package.flatten(grads)
    optimizer = package.Adam(lr=1e-3, engine=engine, check_finite=check)
    if anew:
        return lambda: optimizer.update(params, {key: g.view() for key, g in grads.items()})
    return partial(optimizer.update, params, grads)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("revision")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="only the cases whose name contains this")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        packages = {"before": earlier(options.revision, folder), "now": import_module("reference_impl")}
        print(f"{'':36}{'before':>10}{'now':>10}   now/before (quartiles)")
        for name, make in cases():
            if options.only not in name:
                continue
            calls = {who: make(package) for who, package in packages.items()}
            repeat = 1
            for call in calls.values():
                call()
                repeat = max(repeat, math.ceil(0.002 / max(timed(call, 1), 1e-7)))
            times: dict[str, list[float]] = {who: [] for who in calls}
            for _ in range(options.rounds):
                for who in map(str, rng.permutation(list(calls))):
                    settle()
                    calls[who]()
                    times[who].append(timed(calls[who], repeat))
            low, middle, high = statistics.quantiles([a / b for a, b in zip(times["now"], times["before"])], n=4)
            before, now = (1e6 * statistics.median(times[who]) for who in ("before", "now"))
            print(f"{name:36}{before:8.1f}us{now:8.1f}us   {middle:.2f} ({low:.2f}-{high:.2f})", flush=True)


if __name__ == "__main__":
    main()
