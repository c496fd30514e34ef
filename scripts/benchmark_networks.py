"""What an epoch of training costs beside PyTorch's: python scripts/benchmark_networks.py [--rounds 60] (needs the extras `data`, `peers`).

The digits, an MLP 64-100-10 with ReLU in float32, Adam, batches of 64. Ours is `fit` with all that it does; PyTorch's is the usual
eager loop without its DataLoader, once with Adam as it comes and once with `fused=True`. One epoch of each alternates in one run with
equal threads; the ratio of the medians counts, and the quartiles of the rounds' ratios show its spread.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rounds", type=int, default=60, help="epochs of each")
parser.add_argument("--threads", type=int, help="only this many; by default one and two, each in a process of its own")
options = parser.parse_args()
if options.threads is None:
    for threads in ("1", "2"):
        subprocess.run([sys.executable, __file__, "--rounds", str(options.rounds), "--threads", threads], check=True)
    sys.exit()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = str(options.threads)

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np  # noqa: E402
import torch  # noqa: E402

from reference_impl import Adam, Affine, ReLU, Sequential, digits, fit  # noqa: E402

BATCH = 64
torch.set_num_threads(options.threads)
data = digits()
inputs, labels = data.inputs.astype(np.float32), data.labels


def ours():
    rng = np.random.default_rng(0)
    model = Sequential(Affine(64, 100, rng=rng, dtype=np.float32), ReLU(), Affine(100, 10, rng=rng, dtype=np.float32))
    optimizer = Adam(lr=1e-3)
    return lambda: fit(model, inputs, labels, optimizer, epochs=1, rng=rng, batch_size=BATCH)


def torchs(**how):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, **how)
    x, y = torch.tensor(inputs), torch.tensor(labels)

    def epoch() -> None:
        order = torch.randperm(len(x))
        for first in range(0, len(x), BATCH):
            batch = order[first:first + BATCH]
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
            loss.item()  # the history that `fit` keeps

    return epoch


def timed(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


epochs = {"ours": ours(), "torch, Adam": torchs(), "torch, fused Adam": torchs(fused=True)}
for _ in range(5):
    for epoch in epochs.values():
        epoch()
rounds = [{name: timed(epoch) for name, epoch in epochs.items()} for _ in range(options.rounds)]
median = {name: statistics.median(row[name] for row in rounds) for name in epochs}
print(f"{platform.processor() or platform.machine()}, {options.threads} thread(s), Python {platform.python_version()}, NumPy {np.__version__}, "
      f"torch {torch.__version__}; milliseconds an epoch of {-(-len(inputs) // BATCH)} steps")
print(f"{'':18} {'ms':>6} {'ours / torch':>13} {'quartiles':>11}")
print(f"{'ours':18} {1e3 * median['ours']:6.2f}")
for name in list(epochs)[1:]:
    low, _, high = statistics.quantiles([row["ours"] / row[name] for row in rounds], n=4)
    print(f"{name:18} {1e3 * median[name]:6.2f} {median['ours'] / median[name]:13.2f} {f'{low:.2f}-{high:.2f}':>11}")
