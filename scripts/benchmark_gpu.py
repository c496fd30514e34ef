"""What a step of Adam costs on a GPU: python scripts/benchmark_gpu.py [--write [FILE]] (extra `gpu`; a PyTorch with CUDA, where there is one).

Float32 weights: ours, PyTorch's fused and default step, the same rule as one CuPy call after another, and a copy on the device, in turn.
Prints the time of a step beside the copy's, in passes of which the copy makes two. With --write every round goes to FILE, after each case,
or to reference_impl/measurements/gpu.json, which the page *On a GPU* reads.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "reference_impl" / "measurements" / "gpu.json"
STEPS = 20
HYPER = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
Contenders = dict[str, Callable[[], object]]


def main(rounds: int, write: Path | None, powers: Sequence[int] = range(3, 9)) -> None:
    """Time Adam on 10^k weights for each of the powers, its kernel alone on the most, and twenty small arrays."""
    sys.path.insert(0, str(ROOT))
    import cupy
    import numpy as np

    from reference_impl import Adam, flatten, to_device
    from reference_impl.engines import fused
    from reference_impl.engines.tape import trace
    from reference_impl.optimization.adam import adam

    try:
        import torch
    except ImportError:
        torch = None
    if torch is None or not torch.cuda.is_available():
        torch = None
        print("no PyTorch with CUDA: its steps are not timed")

    def wait() -> None:
        if torch is not None:
            torch.cuda.synchronize()
        cupy.cuda.Device().synchronize()

    def seconds(call: Callable[[], object]) -> float:
        """Of one call, among many: the device works on its own, so both ends wait for it."""
        wait()
        start = time.perf_counter()
        for _ in range(STEPS):
            call()
        wait()
        return (time.perf_counter() - start) / STEPS

    def ours(params: Any, grads: Any, **how: bool) -> Callable[[], object]:
        optimizer = Adam(**HYPER, **how)
        return lambda: optimizer.update(params, grads)

    def theirs(sizes: list[int]) -> Contenders:
        """PyTorch's fused and default step."""
        if torch is None:
            return {}

        def step(**how: bool) -> Callable[[], object]:
            parameters = [torch.nn.Parameter(torch.ones(size, device="cuda")) for size in sizes]
            for parameter in parameters:
                parameter.grad = torch.ones_like(parameter)
            optimizer = torch.optim.Adam(parameters, lr=HYPER["lr"], betas=(HYPER["beta1"], HYPER["beta2"]), eps=HYPER["eps"], **how)
            return lambda: optimizer.step()

        return {"torch, fused": step(fused=True), "torch, default": step()}

    def adam_on(size: int) -> Contenders:
        w, g, m, v, target = (cupy.ones(size, "f4") for _ in range(5))
        numbers = {name: np.float32(value) for name, value in HYPER.items()}
        return {"ours": ours({"w": w}, {"w": g}), "ours, no check": ours({"w": w}, {"w": g}, check_finite=False),
                "one by one": lambda: adam(w, g, m, v, **numbers, t=3), "copy": lambda: cupy.copyto(target, w)} | theirs([size])

    def kernels(size: int) -> Contenders:
        """Adam's kernel alone, as it is and with products and sums joined."""
        arrays = [cupy.ones(size, "f4") for _ in trace(adam).arrays]
        values = [np.float32(value) for value in trace(adam).values(HYPER | {"t": 3})]
        kernel = fused._kernel(adam, trace(adam), arrays[0].dtype)
        inputs, outputs = (", ".join(f"T {p.name}" for p in group) for group in (kernel.in_params, kernel.out_params))
        joined = cupy.ElementwiseKernel(inputs, outputs, fused.source(adam), "joined", no_return=True)
        return {name: lambda k=k: k(arrays[1], *values, arrays[0], *arrays[2:]) for name, k in {"rounded": kernel, "joined": joined}.items()}

    def small(size: int) -> Contenders:
        host = {str(i): np.ones(size, "f4") for i in range(20)}
        here, flat = (lambda: to_device(host)), (lambda: to_device(flatten(host)))
        return {"ours, no check": ours(here(), here(), check_finite=False), "ours, flat": ours(flat(), flat(), check_finite=False)} | theirs([size] * 20)

    cases: dict[str, Callable[[], Contenders]] = {f"Adam 1e{k}": lambda k=k: adam_on(10**k) for k in powers}
    cases |= {f"kernel 1e{max(powers)}": lambda: kernels(10 ** max(powers)), "20 arrays of 550": lambda: small(550)}
    machine = {"device": cupy.cuda.runtime.getDeviceProperties(0)["name"].decode(), "cupy": cupy.__version__}
    machine |= ({} if torch is None else {"torch": torch.__version__}) | {"numpy": np.__version__}
    print(machine)
    runs: dict[str, dict[str, list[float]]] = {}
    order = random.Random(0)
    for case, made in cases.items():
        contenders = made()
        for call in contenders.values():
            seconds(call)
        runs[case] = {name: [] for name in contenders}
        for _ in range(rounds):
            for name in order.sample(list(contenders), len(contenders)):
                runs[case][name].append(seconds(contenders[name]))
        del contenders
        cupy.get_default_memory_pool().free_all_blocks()
        if torch is not None:
            torch.cuda.empty_cache()
        print(case)
        for name, row in runs[case].items():
            print(f"  {name:15} {1e6 * statistics.median(row):9.1f} µs", flush=True)
        if write:
            write.write_text(json.dumps({"machine": machine, "rounds": rounds, "seconds": runs}, indent=1) + "\n", encoding="utf-8")

    largest = runs[f"Adam 1e{max(powers)}"]
    copied = statistics.median(largest["copy"])
    for name, row in largest.items():
        print(f"{name:15} {2 * statistics.median(row) / copied:5.2f} passes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", nargs="?", type=Path, const=KEPT, metavar="FILE")
    main(**vars(parser.parse_args()))
