"""Record other frameworks' paths on the tests' fixed problem: python scripts/record_peers.py (those that are installed)."""

import json
import sys
from importlib import metadata, util
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"
sys.path[:0] = [str(TESTS), str(ROOT)]

from peers import peer_default, peer_path, torch_path  # noqa: E402

from reference_impl.optimization.comparison import ROWS  # noqa: E402

OPTIMIZERS = {
    "sgd": lambda torch, p: torch.optim.SGD(p, lr=0.02),
    "momentum": lambda torch, p: torch.optim.SGD(p, lr=0.02, momentum=0.9),
    "nesterov": lambda torch, p: torch.optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True),
    "adagrad": lambda torch, p: torch.optim.Adagrad(p, lr=0.1),
    "rmsprop": lambda torch, p: torch.optim.RMSprop(p, lr=0.02),
    "adam": lambda torch, p: torch.optim.Adam(p, lr=0.02),
    "adamw": lambda torch, p: torch.optim.AdamW(p, lr=0.02, weight_decay=0.1),
    "amsgrad": lambda torch, p: torch.optim.Adam(p, lr=0.02, amsgrad=True),
}


def version(package):
    return metadata.version(package).split("+")[0]


def write(name, kept):
    (TESTS / "conformance" / name).write_text(json.dumps(kept, indent=1) + "\n")


def points(path, kept=(1, 2, 10, 50, 100)):
    return {str(step): path[step].tolist() for step in kept}


if util.find_spec("torch"):
    source = {"source": f"torch {version('torch')}, float64, the problem of tests/peers.py; step: w"}
    write("torch_paths.json", source | {name: points(torch_path(make)) for name, make in OPTIMIZERS.items()})

for framework, package in {"PyTorch": "torch", "Keras": "keras", "Optax": "optax"}.items():
    if util.find_spec(package):
        rows = [row for row in ROWS if row.framework == framework]
        write(f"peers_{framework.lower()}.json", {
            "source": f"{package}, float64, the problem of tests/peers.py, learning rate peer_lr; step: w",
            "version": version(package),
            "rows": {row.call: {"lr": peer_default(row), "path": points(peer_path(row), (1, 2, 10, 50, 52, 100))} for row in rows},
        })
