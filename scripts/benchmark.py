"""What an update costs beside PyTorch's: python scripts/benchmark.py [--size 1000000] [--rounds 40] (needs the extra `peers`).

Fifty steps of ours and fifty of PyTorch's for-loop step alternate in one run with equal threads; the ratio of the medians
counts, and the quartiles of the rounds' ratios show its spread. Also prints what a step allocates.
"""

import argparse
import os
import platform
import statistics
import sys
import time
import tracemalloc
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--size", type=int, default=1_000_000, help="number of float32 parameters")
parser.add_argument("--rounds", type=int, default=40)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--no-numba", action="store_true", help="measure the NumPy reading alone")
options = parser.parse_args()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = str(options.threads)

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np  # noqa: E402
import torch  # noqa: E402
from tqdm import trange  # noqa: E402

from reference_impl import SGD, Adam, Momentum  # noqa: E402
from reference_impl.engines import compiled  # noqa: E402

if options.no_numba:
    compiled.available = lambda: False
torch.set_num_threads(options.threads)

CASES = {
    "SGD": (SGD(lr=1e-3), lambda p: torch.optim.SGD(p, lr=1e-3, foreach=False, fused=False)),
    "Momentum": (Momentum(lr=1e-3, rho=0.9), lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9, foreach=False, fused=False)),
    "Adam": (Adam(lr=1e-3), lambda p: torch.optim.Adam(p, lr=1e-3, foreach=False, fused=False)),
}


def timed(call) -> float:
    start = time.perf_counter()
    for _ in range(50):
        call()
    return time.perf_counter() - start


reading = "NumPy in blocks" if options.no_numba or not compiled.available() else "Numba"
print(f"{platform.processor() or platform.machine()}, {options.threads} thread(s), Python {platform.python_version()}, NumPy {np.__version__}, "
      f"torch {torch.__version__}; large arrays read by {reading}; {options.size:,} float32 parameters; gradients checked for NaN")
print(f"{'rule':10} {'ours / torch':>13} {'quartiles':>14} {'allocated in a step':>22}")
for name, (ours, make) in CASES.items():
    rng = np.random.default_rng(0)
    w, g = rng.normal(size=(2, options.size)).astype(np.float32)
    params, grads = {"w": w.copy()}, {"w": g}
    theirs = torch.nn.Parameter(torch.tensor(w))
    theirs.grad = torch.tensor(g)
    peer = make([theirs])

    def step(ours=ours, params=params, grads=grads) -> None:
        ours.update(params, grads)

    for _ in range(5):
        step()
        peer.step()
    rounds = [(timed(step), timed(peer.step)) for _ in trange(options.rounds, desc=name, leave=False, disable=None)]
    tracemalloc.start()
    step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    ratio = statistics.median(a for a, _ in rounds) / statistics.median(b for _, b in rounds)
    low, _, high = statistics.quantiles([a / b for a, b in rounds], n=4)
    print(f"{name:10} {ratio:13.2f} {f'{low:.2f}-{high:.2f}':>14} {peak:>13,} bytes of {w.nbytes:,}")
