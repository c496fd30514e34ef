"""What a Newton step costs on this machine: python scripts/benchmark_newton.py [--largest 6400] [--rounds 7].

Writes reference_impl/measurements/newton_cost.json, which the chapter on Newton's method draws: the seconds of a dense solve of H p = -g
(`numpy.linalg.solve`), of the Cholesky factorisation that tests H, and of one Hessian-vector product from two gradients of
Rosenbrock's function, each on one thread in float64, every round kept.
"""

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import numpy as np  # noqa: E402

from reference_impl import rosenbrock  # noqa: E402
from reference_impl.optimization.newton import hessp_from  # noqa: E402

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--largest", type=int, default=6400, help="number of weights of the largest dense solve")
parser.add_argument("--rounds", type=int, default=7)
options = parser.parse_args()


def timed(call, *args) -> float:
    """Seconds a call, from as many calls as take a hundredth of a second."""
    calls, spent = 1, 0.0
    while True:
        start = time.perf_counter()
        for _ in range(calls):
            call(*args)
        spent = time.perf_counter() - start
        if spent > 0.01:
            return spent / calls
        calls *= 2


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def dense(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A positive definite matrix that costs nothing to make, and a right-hand side."""
    h = rng.standard_normal((n, n))
    h += h.T
    h.flat[:: n + 1] += 8 * n**0.5
    return h, rng.standard_normal(n)


rng = np.random.default_rng(0)
found: dict[str, list[dict[str, object]]] = {"solve": [], "cholesky": [], "Hessian-vector product": []}
n = 100
while n <= options.largest:
    h, g = dense(rng, n)
    for name, call, args in (("solve", np.linalg.solve, (h, g)), ("cholesky", np.linalg.cholesky, (h,))):
        found[name].append({"n": n, "seconds": [timed(call, *args) for _ in range(options.rounds)]})
        print(name, n, f"{min(found[name][-1]['seconds']):.3g} s", flush=True)
    n *= 2
for n in (10**3, 10**4, 10**5, 10**6, 10**7):
    w, v = rng.standard_normal((2, n))
    product = hessp_from(rosenbrock(n).grad)
    found["Hessian-vector product"].append({"n": n, "seconds": [timed(product, w, v) for _ in range(options.rounds)]})
    print("product", n, f"{min(found['Hessian-vector product'][-1]['seconds']):.3g} s", flush=True)

machine = {"processor": processor(), "system": platform.system(), "threads": 1, "dtype": "float64",
           "python": platform.python_version(), "numpy": np.__version__,
           "blas": np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]}
rounded = {name: [{"n": row["n"], "seconds": [float(f"{s:.3g}") for s in row["seconds"]]} for row in rows] for name, rows in found.items()}
target = ROOT / "reference_impl" / "measurements" / "newton_cost.json"
text = json.dumps({"machine": machine, **rounded}, indent=1)
target.write_text(text + "\n", encoding="utf-8")
print(f"wrote {target}; the numbers on docs/optimization/newton.md follow from it")
