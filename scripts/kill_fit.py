"""Kill a running fit at random moments, resume it each time, and say what is lost and what is left over.

    python scripts/kill_fit.py [-n KILLS] [--seed SEED]

A child process trains a small network with all that a run depends on, and writes its checkpoint after every step. It is killed (SIGKILL) at a
random moment; another one goes on. A run that has ended begins again, in the same file. Prints how many kills hit a run, how many ended runs
differ from the uninterrupted one, and how many files beside the checkpoint were found: after a kill, and at the end. The exit status is 1 unless the last two
and the differences are 0.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
import numpy as np  # noqa: E402

from reference_impl import (  # noqa: E402
    Adam,
    Affine,
    Augment,
    BatchNorm,
    Checkpoint,
    Dropout,
    EarlyStopping,
    Evaluate,
    Sequential,
    Tanh,
    WeightAverage,
    fit,
)


def run(path: Path | None) -> str:
    """The run, resumed from its checkpoint where there is one; returns what it ends as."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)), rng.integers(0, 3, 60)
    model = Sequential(Affine(4, 8, rng=rng), BatchNorm(8), Tanh(), Dropout(0.8), Affine(8, 3, rng=rng))
    optimizer, average = Adam(lr=lambda step: 0.05 / (1 + step / 50)), WeightAverage(0.9)
    callbacks = [Augment(lambda x, rng: x + 0.1 * rng.standard_normal(x.shape)), Evaluate({"validation": (x[:20], y[:20])}), average,
                 EarlyStopping("validation_loss", patience=100)]
    if path is not None:
        callbacks.append(Checkpoint(path, every=1, resume=True))
    history = fit(model, x, y, optimizer, epochs=20, batch_size=8, rng=rng, callbacks=callbacks)
    arrays = model.state_dict() | average.state_dict() | {key: np.asarray(value) for key, value in optimizer.state_dict().items()}
    digest = hashlib.sha256(json.dumps([history.losses, history.epochs, str(rng.bit_generator.state)]).encode())
    for key in sorted(arrays):
        digest.update(key.encode() + np.asarray(arrays[key]).tobytes())
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=100, help="how many kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print("ready", flush=True)
        print(run(options.child), flush=True)
        return
    whole, chance, started = run(None), random.Random(options.seed), time.perf_counter()
    kills = ended = different = beside = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.npz"
        while kills < options.n:
            command = [sys.executable, __file__, "--child", str(path)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
                assert child.stdout is not None and child.stderr is not None
                child.stdout.readline()
                try:
                    out, error = child.communicate(timeout=chance.uniform(0, 0.4))
                    if child.returncode:
                        sys.exit(error)
                    ended, different = ended + 1, different + (out.strip() != whole)
                    path.unlink()
                except subprocess.TimeoutExpired:
                    os.kill(child.pid, signal.SIGKILL)
                    child.communicate()
                    kills += 1
            beside += len(set(os.listdir(folder)) - {path.name})
        different += run(path) != whole
        left = len(set(os.listdir(folder)) - {path.name})
    print(f"{kills} kills, {ended + 1} runs ended; different from the uninterrupted run: {different}; "
          f"files left over: {beside} after a kill, {left} at the end ({time.perf_counter() - started:.0f} s)")
    sys.exit(bool(different or beside or left))


if __name__ == "__main__":
    main()
