"""What a fused step costs on a GPU: python scripts/benchmark_gpu.py [--write] (extra `gpu`, and a PyTorch with CUDA).

Adam on 1e8 float32 weights: ours, PyTorch's fused one, and a copy on the device, in turn. Prints the time of a step, the bytes that it
must move over that time, and that beside the copy's. With --write the rounds go to docs/engines/gpu.json, with the device's name.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
SIZE, STEPS = 10**8, 20


def main(rounds: int, write: bool) -> None:
    sys.path.insert(0, str(ROOT))
    import cupy
    import torch

    from reference_impl import Adam
    from reference_impl.engines.tape import trace

    def seconds(call: Callable[[], object]) -> float:
        """Of one call, among many: the device works on its own, so both ends wait for it."""
        torch.cuda.synchronize()
        cupy.cuda.Device().synchronize()
        start = time.perf_counter()
        for _ in range(STEPS):
            call()
        torch.cuda.synchronize()
        cupy.cuda.Device().synchronize()
        return (time.perf_counter() - start) / STEPS

    def ours(**how: bool) -> Callable[[], object]:
        optimizer, params, grads = Adam(lr=1e-3, **how), {"w": cupy.ones(SIZE, "f4")}, {"w": cupy.ones(SIZE, "f4")}
        return lambda: optimizer.update(params, grads)

    parameter = torch.nn.Parameter(torch.ones(SIZE, device="cuda"))
    parameter.grad = torch.ones(SIZE, device="cuda")
    source, target = cupy.ones(SIZE, "f4"), cupy.empty(SIZE, "f4")
    _, least = trace(Adam.rule).traffic
    passes = {"ours, no check": least, "ours": least + 1, "torch, fused": least, "copy": 2}
    contenders = {"ours, no check": ours(check_finite=False), "ours": ours(), "copy": lambda: cupy.copyto(target, source),
                  "torch, fused": torch.optim.Adam([parameter], lr=1e-3, fused=True).step}
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for call in contenders.values():
        seconds(call)
    for _ in range(rounds):
        for name, call in contenders.items():
            times[name].append(seconds(call))
    device = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    bandwidth = {name: passes[name] * 4 * SIZE / statistics.median(row) for name, row in times.items()}
    print(f"{device}, CuPy {cupy.__version__}, torch {torch.__version__}, Adam on {SIZE:.0e} float32 weights")
    for name, row in times.items():
        print(f"{name:15} {1e3 * statistics.median(row):7.3f} ms {bandwidth[name] / 1e9:7.0f} GB/s, {bandwidth[name] / bandwidth['copy']:.2f} of the copy's")
    if write:
        report = {"machine": {"device": device, "cupy": cupy.__version__, "torch": torch.__version__}, "size": SIZE, "passes": passes, "seconds": times}
        (ROOT / "docs" / "engines" / "gpu.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--write", action="store_true")
    main(**vars(parser.parse_args()))
