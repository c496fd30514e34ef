"""L-BFGS against SciPy's L-BFGS-B: python scripts/benchmark_lbfgs.py [--rounds 7] [--write].

Prints the function evaluations on each problem from several starts, then the time: pairs of runs in turn, and the median of
their ratios. With --write the numbers go to reference_impl/measurements/lbfgs_cost.json, from which the chapter on quasi-Newton methods
takes them. One thread: on few cores SciPy's many small calls of a threaded BLAS cost more than they gain.
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import numpy as np  # noqa: E402
import scipy  # noqa: E402
from scipy.optimize import minimize  # noqa: E402

from reference_impl import Landscape, quadratic, rosenbrock  # noqa: E402
from reference_impl.networks.data import digits  # noqa: E402
from reference_impl.optimization.landscapes import beale, booth, himmelblau, logistic_regression  # noqa: E402
from reference_impl.optimization.quasi_newton import lbfgs  # noqa: E402


def ours(f: Landscape, x0: np.ndarray, gtol: float) -> tuple[int, int]:
    result = lbfgs(f.fun, x0, f.grad, gtol=gtol, maxiter=100_000)
    assert result.success, result
    return result.nfev, result.ngev


def scipys(f: Landscape, x0: np.ndarray, gtol: float) -> tuple[int, int]:
    limits = {"gtol": gtol, "ftol": 0, "maxcor": 10, "maxiter": 10**6, "maxfun": 10**7}
    result = minimize(f.fun, x0, jac=f.grad, method="L-BFGS-B", options=limits)
    assert result.success, result
    return result.nfev, result.njev


def uniform(low: float, high: float) -> Callable[[int, int], np.ndarray]:
    return lambda seed, n: np.random.default_rng(seed).uniform(low, high, n)


def evaluations() -> dict[str, dict[str, list[int]]]:
    data = digits()
    pixels = np.hstack([data.inputs, np.ones((len(data.inputs), 1))])
    problems = [
        ("Rosenbrock, n = 2", rosenbrock(), uniform(-2, 2), 20, 1e-6),
        ("Rosenbrock, n = 100", rosenbrock(100), uniform(-2, 2), 20, 1e-6),
        ("Rosenbrock, n = 1000", rosenbrock(1000), uniform(-2, 2), 10, 1e-6),
        ("Beale", beale(), lambda seed, n: np.array([2, 0]) + uniform(-1, 1)(seed, n), 20, 1e-6),
        ("Himmelblau", himmelblau(), uniform(-5, 5), 20, 1e-6),
        ("Booth", booth(), uniform(-10, 10), 20, 1e-6),
        ("quadratic, κ = 1e6", quadratic(np.geomspace(1, 1e6, 50)), uniform(-2, 2), 20, 1e-6),
        ("logistic regression", logistic_regression(pixels, data.labels, 1e-4), uniform(-0.1, 0.1), 10, 1e-5),
    ]
    counts: dict[str, dict[str, list[int]]] = {}
    for name, f, start, starts, gtol in problems:
        pairs = [(ours(f, start(seed, f.n), gtol), scipys(f, start(seed, f.n), gtol)) for seed in range(starts)]
        row = counts[name] = {"ours": [a[0] for a, _ in pairs], "gradients": [a[1] for a, _ in pairs], "scipy": [b[0] for _, b in pairs]}
        ratios = np.array(row["ours"]) / row["scipy"]
        print(f"{name:22s} ours {np.mean(row['ours']):8.1f}  scipy {np.mean(row['scipy']):8.1f}  "
              f"ratio of sums {sum(row['ours']) / sum(row['scipy']):.3f}  from {ratios.min():.2f} to {ratios.max():.2f}")
    return counts


def times(rounds: int) -> dict[str, dict[str, list[float]]]:
    large = quadratic([1.0])  # its own would make an n × n Hessian's shape
    curvatures = np.geomspace(1, 100, 10**6)
    large = Landscape("quadratic", 10**6, lambda w: float(w @ (curvatures * w)) / 2, lambda w: curvatures * w, large.hess, large.minima)
    problems = [("Rosenbrock, n = 1000", rosenbrock(1000), np.tile([-1.2, 1.0], 500), 1e-6, rounds),
                ("quadratic, n = 1e6", large, np.ones(10**6), 1e-5, max(3, rounds // 2))]
    seconds: dict[str, dict[str, list[float]]] = {}
    for name, f, x0, gtol, turns in problems:
        row: dict[str, list[float]] = {"ours": [], "scipy": []}
        for turn in range(turns):
            for who, method in (("ours", ours), ("scipy", scipys))[:: 1 if turn % 2 else -1]:
                start = time.perf_counter()
                method(f, x0, gtol)
                row[who].append(round(time.perf_counter() - start, 4))
        ratios = np.array(row["ours"]) / row["scipy"]
        print(f"{name:22s} ours {np.median(row['ours']):7.2f} s  scipy {np.median(row['scipy']):7.2f} s  "
              f"median ratio {np.median(ratios):.2f}  from {ratios.min():.2f} to {ratios.max():.2f}")
        seconds[name] = row
    return seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    machine = {"system": platform.system(), "threads": 1, "python": platform.python_version(), "numpy": np.__version__, "scipy": scipy.__version__}
    record = {"machine": machine, "evaluations": evaluations(), "seconds": times(options.rounds)}
    if options.write:
        text = json.dumps(record, indent=1, ensure_ascii=False)
        (ROOT / "reference_impl/measurements/lbfgs_cost.json").write_text(text + "\n", encoding="utf-8")
