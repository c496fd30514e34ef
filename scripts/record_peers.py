"""Record PyTorch's paths on the tests' fixed problem: python scripts/record_peers.py (needs the extra `peers`)."""

import json
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

import torch  # noqa: E402
from peers import torch_path  # noqa: E402

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

paths = {name: torch_path(make) for name, make in OPTIMIZERS.items()}
kept = {"source": f"torch {torch.__version__.split('+')[0]}, float64, the problem of tests/peers.py; step: w"}
kept |= {name: {str(step): path[step].tolist() for step in (1, 2, 10, 50, 100)} for name, path in paths.items()}
(TESTS / "conformance" / "torch_paths.json").write_text(json.dumps(kept, indent=1) + "\n")
