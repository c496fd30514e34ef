"""AdamW and Muon at all pairs of rates: python scripts/muon_rates.py [--splits 30] [--print].

Trains the network of the chapter on parameter groups in plain NumPy, with all pairs of rates at once, and writes to
reference_impl/measurements/muon_rates.json, for each way, pair and split, the training loss of the last epoch, and the validation loss and the
number of test digits that are right at its end. The chapter chooses its rates on the validation losses. Takes some four minutes on one core.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from book.grids import MEASUREMENTS, as_text, keep  # noqa: E402

from reference_impl import digits  # noqa: E402

FILE = MEASUREMENTS / "muon_rates.json"
FIRST, SPLITS = 20, 30
REST = [0.001, 0.003, 0.01, 0.03]
HIDDEN = {"AdamW": [0.0001, 0.0003, 0.001, 0.003, 0.01], "Muon": [0.001, 0.003, 0.01, 0.03]}
SIZES, TRAINED_ON, EPOCHS, BATCH = (64, 64, 64, 64, 10), 1000, 10, 64
P, Q, R = 3.4445, -4.7750, 2.0315


def orthogonalized(x: np.ndarray) -> np.ndarray:
    """Five steps of Jordan's polynomial on each matrix of a stack."""
    x = x / np.maximum(np.linalg.norm(x, axis=(-2, -1), keepdims=True), 1e-30)
    for _ in range(5):
        gram = x @ x.transpose(0, 2, 1)
        x = P * x + (Q * gram + R * (gram @ gram)) @ x
    return x


def initial(rng: np.random.Generator) -> list[np.ndarray]:
    """The weights of the four layers, by He's rule, then their biases."""
    weights = [(rng.normal(size=pair) * np.sqrt(2 / pair[0])).astype(np.float32) for pair in itertools.pairwise(SIZES)]
    return weights + [np.zeros((1, size), np.float32) for size in SIZES[1:]]


def outputs(params: Sequence[np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    """What goes into each layer, and what comes out of the last, for each pair."""
    passed = [np.broadcast_to(x, (len(params[0]), *x.shape))]
    for layer in range(4):
        z = passed[-1] @ params[layer] + params[4 + layer]
        passed.append(np.maximum(z, 0) if layer < 3 else z)
    return passed


def loss(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean loss of each pair."""
    z = z - z.max(-1, keepdims=True)
    logs = z - np.log(np.exp(z).sum(-1, keepdims=True))
    mean: np.ndarray = -logs[:, np.arange(len(y)), y].mean(-1)
    return mean


def gradients(params: Sequence[np.ndarray], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The loss of a batch, and its gradient by all parameters."""
    passed = outputs(params, x)
    z = passed[-1]
    d = np.exp(z - z.max(-1, keepdims=True))
    d /= d.sum(-1, keepdims=True)
    d[:, np.arange(len(y)), y] -= 1
    d = d / len(y)
    found = [np.zeros(0)] * 8
    for layer in (3, 2, 1, 0):
        found[layer], found[4 + layer] = passed[layer].transpose(0, 2, 1) @ d, d.sum(1, keepdims=True)
        if layer:
            d = (d @ params[layer].transpose(0, 2, 1)) * (passed[layer] > 0)
    return loss(z, y), found


def train(way: str, pairs: Sequence[tuple[float, float]], seed: int, epochs: int = EPOCHS) -> tuple[np.ndarray, list[np.ndarray]]:
    """Training loss, validation loss and test digits right at the end, and the parameters: for each pair of rates."""
    data, rng = digits(seed), np.random.default_rng(1000 + seed)
    x, y = data.inputs.astype(np.float32), data.labels
    rest, hidden = (np.array(rates, np.float32)[:, None, None] for rates in zip(*pairs))
    params = [np.repeat(p[None], len(pairs), 0) for p in initial(rng)]
    m, v, t = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params], 0
    for _ in range(epochs):
        order, seen = rng.permutation(TRAINED_ON), np.zeros(len(pairs))
        for start in range(0, TRAINED_ON, BATCH):
            batch = order[start:start + BATCH]
            of_batch, found = gradients(params, x[batch], y[batch])
            seen, t = seen + of_batch * len(batch), t + 1
            for i, g in enumerate(found):
                if way == "Muon" and i in (1, 2):
                    m[i] = 0.95 * m[i] + g
                    params[i] -= hidden * orthogonalized(0.95 * m[i] + g)
                else:
                    m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g * g
                    params[i] -= (hidden if i in (1, 2) else rest) * (m[i] / (1 - 0.9**t)) / (np.sqrt(v[i] / (1 - 0.999**t)) + 1e-8)
    right = (outputs(params, data.test_inputs.astype(np.float32))[-1].argmax(-1) == data.test_labels).sum(-1)
    validation = loss(outputs(params, x[TRAINED_ON:])[-1], y[TRAINED_ON:])
    return np.stack([seen / TRAINED_ON, validation, right], axis=1), params


def rows(found: np.ndarray) -> list[list[float]]:
    """Losses to five decimals, digits as whole numbers."""
    return [[round(float(one), 5), round(float(two), 5), int(right)] for one, two, right in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--splits", type=int, default=SPLITS)
    parser.add_argument("--print", action="store_true", help="write no file")
    options = parser.parse_args()
    tables = {}
    for way, rates in HIDDEN.items():
        pairs = [(rest, hidden) for rest in REST for hidden in rates]
        found = np.stack([train(way, pairs, FIRST + i)[0] for i in range(options.splits)], axis=1)
        tables[way] = {str(rest): {str(hidden): rows(found[pairs.index((rest, hidden))]) for hidden in rates} for rest in REST}
        print(way)
    keep(as_text({"first split": FIRST, "epochs": EPOCHS, "test digits": 449}, tables), FILE, only_print=options.print)


if __name__ == "__main__":
    main()
