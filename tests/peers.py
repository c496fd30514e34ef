"""A fixed random problem on which paths are compared with PyTorch's: live where it is installed, recorded where not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

recorded = json.loads((Path(__file__).parent / "conformance" / "torch_paths.json").read_text())


def problem():
    """A start (6,) and the gradient of a quartic well tilted by a random quadratic; float64."""
    rng = np.random.default_rng(2024)
    a = rng.normal(size=(6, 6))
    matrix, pull = a @ a.T / 6, rng.normal(size=6)
    return rng.normal(size=6), lambda w: matrix @ w - pull + w**3


def torch_path(make, steps=100):
    """The path (steps + 1, 6) of a PyTorch optimizer on the problem; skips where PyTorch is not installed."""
    torch = pytest.importorskip("torch")
    w, gradient = problem()
    parameter = torch.nn.Parameter(torch.tensor(w))
    optimizer, path = make(torch, [parameter]), [w]
    for _ in range(steps):
        parameter.grad = torch.tensor(gradient(parameter.detach().numpy()))
        optimizer.step()
        path.append(parameter.detach().numpy().copy())
    return np.array(path)
