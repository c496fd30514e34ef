"""What a step costs, by every engine and beside PyTorch: python scripts/benchmark.py [--rounds 15] [--every | --write] (extras `test` and `peers`).

All contenders of a case take turns in one process, in another order each round, with equal threads. Runs once for each number of
threads and each setting of the allocator, in a process of its own. Every time is given in passes: one is
how long it takes to read, or to write, as many float32 numbers as there are parameters; half of what NumPy needs to negate 1e7 of them
in place. With --write the rounds go to reference_impl/measurements/performance.json, from which the page on performance takes its numbers.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "reference_impl" / "measurements" / "performance.json"
ALLOCATORS = {
    "default": {},
    # Memory once had is never given back to the system, so that it comes without page faults.
    "tuned": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": str(2**26)},
}
Contenders = dict[str, Callable[[], object]]

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rounds", type=int, default=15)
parser.add_argument("--only", default="", help="only the cases whose name contains this")
parser.add_argument("--every", action="store_true", help="every rule at 1e3 to 1e7, and nothing else")
parser.add_argument("--write", action="store_true")
parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)


def main() -> None:
    runs = {}
    for threads in dict.fromkeys([1, os.cpu_count() or 1]):
        for allocator, variables in ALLOCATORS.items():
            limits = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), str(threads))
            command = [sys.executable, __file__, "--rounds", str(options.rounds), "--only", options.only, "--worker", str(threads)]
            command += ["--every"] * options.every
            print(f"== {threads} thread(s), {allocator} allocator {variables or ''}", flush=True)
            with tempfile.NamedTemporaryFile() as file:
                subprocess.run(command, env=os.environ | limits | variables | {"RESULT": file.name}, check=True)
                runs[f"{threads} {allocator}"] = json.loads(Path(file.name).read_text())
    if options.write:
        machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.system(), "python": platform.python_version()}
        report = {"machine": machine | next(iter(runs.values())).pop("versions"), "allocators": ALLOCATORS, "rounds": options.rounds,
                  "runs": {name: run["cases"] for name, run in runs.items()}}
        text = json.dumps(report, indent=1)
        RESULTS.write_text(compact(text) + "\n", encoding="utf-8")


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def compact(text: str) -> str:
    """The innermost lists on one line."""
    return re.sub(r"\[\s+([^\[\]]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text)


def worker(threads: int) -> None:
    sys.path.insert(0, str(ROOT))
    import numba
    import numpy as np
    import torch
    from tqdm import tqdm

    torch.set_num_threads(threads)
    numbers = np.ones(10**7, "f4")
    one_pass = statistics.median(timed(partial(np.negative, numbers, out=numbers), 1) for _ in range(31)) / 2 / 10**7
    rng = np.random.default_rng(0)
    results = {}
    for name, size, gather in tqdm([case for case in cases() if options.only in case[0]], disable=None):
        contenders = gather()
        repeat = {}
        for who, call in contenders.items():
            call()  # warms up: states, caches, compilation
            repeat[who] = max(1, math.ceil(0.003 / max(timed(call, 1), 1e-7)))
        rounds: dict[str, list[float]] = {who: [] for who in contenders}
        for _ in range(options.rounds):
            for who in rng.permutation(list(contenders)):
                call, times = contenders[str(who)], repeat[str(who)]
                settle()
                if times > 1:
                    call()  # finds its things in the cache again
                rounds[str(who)].append(timed(call, times) / (size * one_pass))
        results[name] = {who: [float(f"{t:.4g}") for t in row] for who, row in rounds.items()}
        tqdm.write(table(name, rounds))
    versions = {"numpy": np.__version__, "numba": numba.__version__, "torch": torch.__version__}
    Path(os.environ["RESULT"]).write_text(json.dumps({"versions": versions, "cases": results}))


def table(name: str, rounds: dict[str, list[float]]) -> str:
    """The passes of each, and the median of its rounds' ratios to each of PyTorch's programs, with their quartiles."""
    median = {who: statistics.median(row) for who, row in rounds.items()}
    peers = [who for who in rounds if who.startswith("torch")]
    lines = [f"{name:40} {'passes':>9}" + "".join(f"{'/ ' + who:>22}" for who in peers)]
    for who, row in rounds.items():
        cells = []
        for peer in peers:
            low, middle, high = statistics.quantiles([a / b for a, b in zip(row, rounds[peer])], n=4)
            cells.append(f"{middle:.2f} ({low:.2f}-{high:.2f})")
        lines.append(f"  {who:38} {median[who]:9.2f}" + "".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)


def settle() -> None:
    """Wait, awake, until the threads of the one before have stopped spinning: after a sleep the processor itself would be slow."""
    end = time.perf_counter() + 0.005
    while time.perf_counter() < end:
        pass


def timed(call: Callable[[], object], repeat: int) -> float:
    start = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - start) / repeat


def cases() -> Iterator[tuple[str, int, Callable[[], Contenders]]]:
    """A name, the number of parameters, and how to gather the contenders: the arrays of one case at a time are in memory."""
    if options.every:
        yield from ((f"{rule} 1e{k} float32", 10**k, partial(large, rule, 10**k, "f4")) for rule in rules() for k in (3, 4, 5, 6, 7))
        return
    for rule in rules():
        yield f"{rule} 1e7 float32", 10**7, partial(large, rule, 10**7, "f4")
    yield "Adam 1e7 float64", 10**7, partial(large, "Adam", 10**7, "f8")
    for exponent in (3, 4, 5, 6, 8):
        yield f"Adam 1e{exponent} float32", 10**exponent, partial(large, "Adam", 10**exponent, "f4")
    yield "blocks, Adam 1e7 float32", 10**7, blocks
    for width in (32, 100):
        shapes = [(64, width), (width,), *[(width, width), (width,)] * 8, (width, 10), (10,)]
        yield f"Adam on 20 arrays of an MLP {width} wide", sum(map(math.prod, shapes)), partial(small, shapes)
    yield "epoch of an MLP on the digits", PARAMETERS_IN_AN_EPOCH, epochs


def rules() -> dict[str, tuple[Callable, Callable, tuple[str, ...]]]:
    """For each rule ours, PyTorch's, and the implementations that PyTorch has of it."""
    from torch import optim

    from reference_impl import SGD, AdaGrad, Adam, AdamW, AMSGrad, Momentum, Nesterov, RMSProp

    every = ("default", "foreach", "fused")
    return {
        "SGD": (lambda **k: SGD(lr=1e-3, **k), lambda p, **k: optim.SGD(p, lr=1e-3, **k), every),
        "Momentum": (lambda **k: Momentum(lr=1e-3, rho=0.9, **k), lambda p, **k: optim.SGD(p, lr=1e-3, momentum=0.9, **k), every),
        "Nesterov": (lambda **k: Nesterov(lr=1e-3, rho=0.9, **k),
                     lambda p, **k: optim.SGD(p, lr=1e-3, momentum=0.9, nesterov=True, **k), every),
        "AdaGrad": (lambda **k: AdaGrad(lr=1e-3, **k), lambda p, **k: optim.Adagrad(p, lr=1e-3, **k), every),
        "RMSProp": (lambda **k: RMSProp(lr=1e-3, **k), lambda p, **k: optim.RMSprop(p, lr=1e-3, **k), every[:2]),
        "Adam": (lambda **k: Adam(lr=1e-3, **k), lambda p, **k: optim.Adam(p, lr=1e-3, **k), every),
        "AdamW": (lambda **k: AdamW(lr=1e-3, **k), lambda p, **k: optim.AdamW(p, lr=1e-3, **k), every),
        "AMSGrad": (lambda **k: AMSGrad(lr=1e-3, **k), lambda p, **k: optim.Adam(p, lr=1e-3, amsgrad=True, **k), every),
    }


HOW = {"default": {}, "foreach": {"foreach": True}, "fused": {"fused": True}}
ENGINES = {f"{engine}{', no check' * unchecked}": {"engine": engine, "check_finite": not unchecked}
           for engine in ("blocked", "compiled") for unchecked in (False, True)}


def large(rule: str, size: int, dtype: str) -> Contenders:
    import numpy as np
    import torch

    from reference_impl.engines.tape import trace

    ours, theirs, have = rules()[rule]
    w, g = (np.random.default_rng(seed).standard_normal(size, dtype) for seed in range(2))
    params, grads = {"w": w}, {"w": g}
    contenders: Contenders = {}
    for name, how in ENGINES.items():
        contenders[name] = partial(ours(**how).update, params, grads)

    plain = type(ours()).rule
    values = {name.name: 10 if name.name == "t" else ours().hyperparameters()[name.name] for name in trace(plain).hyper}
    arrays = [w.copy(), *(np.zeros_like(w) for _ in trace(plain).state)]

    def whole() -> None:
        results = plain(arrays[0], g, *arrays[1:], **values)
        arrays[:] = results if isinstance(results, tuple) else (results,)

    contenders["whole arrays"] = whole
    for name in have:
        parameter = torch.nn.Parameter(torch.tensor(w))
        parameter.grad = torch.tensor(g)  # of its own: Nesterov's foreach changes it
        contenders[f"torch, {name}"] = theirs([parameter], **HOW[name]).step
    target = np.empty_like(w)
    contenders["copy"] = partial(np.copyto, target, g)
    contenders["in place"] = partial(np.negative, target, out=target)
    return contenders


def blocks() -> Contenders:
    """Blocks of 2^12 to 2^24 bytes an array."""
    import numpy as np

    from reference_impl.engines import blocked

    ours, *_ = rules()["Adam"]
    params, grads = ({"w": np.random.default_rng(seed).standard_normal(10**7, "f4")} for seed in range(2))
    optimizer = ours(engine="blocked", check_finite=False)

    def update(size: int) -> None:
        before, blocked.BLOCK_BYTES = blocked.BLOCK_BYTES, size
        optimizer.update(params, grads)
        blocked.BLOCK_BYTES = before

    return {str(2**exponent): partial(update, 2**exponent) for exponent in range(12, 25, 2)}


def small(shapes: list[tuple[int, ...]]) -> Contenders:
    import numpy as np
    import torch

    from reference_impl import flatten

    ours, theirs, have = rules()["Adam"]
    params, grads = ({str(i): np.random.default_rng([seed, i]).standard_normal(shape, "f4") for i, shape in enumerate(shapes)} for seed in range(2))
    contenders: Contenders = {}
    for name, how in ENGINES.items():
        for kind, own in (("", dict), (", flat", flatten)):
            contenders[name + kind] = partial(ours(**how).update, own(params), own(grads))
    for name in have:
        parameters = [torch.nn.Parameter(torch.tensor(w)) for w in params.values()]
        for parameter, g in zip(parameters, grads.values()):
            parameter.grad = torch.tensor(g)
        contenders[f"torch, {name}"] = theirs(parameters, **HOW[name]).step
    return contenders


PARAMETERS_IN_AN_EPOCH = 22 * (64 * 100 + 100 + 100 * 10 + 10)  # of the 22 steps


def epochs() -> Contenders:
    """The digits, 64-100-10 with ReLU in float32, batches of 64. Ours is `fit` with all that it does, PyTorch's the usual loop, without its DataLoader."""
    import numpy as np
    import torch

    from reference_impl import Adam, Affine, ReLU, Sequential, digits, fit

    data = digits()
    inputs, labels = data.inputs.astype("f4"), data.labels
    x, y = torch.tensor(inputs), torch.tensor(labels)

    def ours(**how: str) -> Callable[[], object]:
        rng = np.random.default_rng(0)
        model = Sequential(Affine(64, 100, rng=rng, dtype=np.float32), ReLU(), Affine(100, 10, rng=rng, dtype=np.float32))
        optimizer = Adam(**how)
        return lambda: fit(model, inputs, labels, optimizer, epochs=1, rng=rng)

    def torchs(**how: bool) -> Callable[[], object]:
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(64, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10))
        optimizer = torch.optim.Adam(model.parameters(), **how)

        def epoch() -> None:
            order = torch.randperm(len(x))
            for first in range(0, len(x), 64):
                batch = order[first:first + 64]
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
                loss.backward()
                optimizer.step()
                loss.item()  # the history that `fit` keeps

        return epoch

    return {"blocked": ours(), "compiled": ours(engine="compiled")} | {f"torch, {name}": torchs(**how) for name, how in HOW.items()}


if __name__ == "__main__":
    options = parser.parse_args()
    if options.worker:
        worker(options.worker)
    else:
        main()
