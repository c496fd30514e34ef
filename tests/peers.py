"""A fixed random problem on which paths are compared with those of other frameworks: live where installed, recorded where not."""

from __future__ import annotations

import inspect
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


def torch_path(make, steps=100, lr=None):
    """The path (steps + 1, 6) of a PyTorch optimizer on the problem, with a schedule `lr`; skips where PyTorch is not installed."""
    torch = pytest.importorskip("torch")
    w, gradient = problem()
    parameter = torch.nn.Parameter(torch.tensor(w))
    optimizer, path = make(torch, [parameter]), [w]
    for step in range(steps):
        if lr is not None:
            optimizer.param_groups[0]["lr"] = lr(step)
        parameter.grad = torch.tensor(gradient(parameter.detach().numpy()))
        optimizer.step()
        path.append(parameter.detach().numpy().copy())
    return np.array(path)


def our_path(optimizer, steps=100, *, start=None, gradient=None, l2=0.0):
    """The path (steps + 1, n) of one of ours: on the problem, or from `start` with `gradient`; `l2` times the weights beside it."""
    w, own = problem()
    gradient = gradient or own
    params = {"w": (w if start is None else start).copy()}
    path = [params["w"].copy()]
    for _ in range(steps):
        optimizer.update(params, {"w": gradient(params["w"]) + l2 * params["w"]})
        path.append(params["w"].copy())
    return np.array(path)


def keras_path(make, steps=100, lr=None):
    """The path of a Keras optimizer on the problem, in float64, with a schedule `lr`; skips where Keras is not installed."""
    keras = pytest.importorskip("keras")
    keras.backend.set_floatx("float64")
    w, gradient = problem()
    variable = keras.Variable(w, dtype="float64")
    optimizer, path = make(keras), [w]
    for step in range(steps):
        if lr is not None:
            optimizer.learning_rate = lr(step)
        optimizer.apply([keras.ops.convert_to_tensor(gradient(path[-1]), dtype="float64")], [variable])
        path.append(np.array(keras.ops.convert_to_numpy(variable.value)))
    return np.array(path)


def optax_path(make, steps=100):
    """The path of an Optax optimizer on the problem, in float64; skips where Optax is not installed."""
    optax = pytest.importorskip("optax")
    import jax

    w, gradient = problem()
    with jax.enable_x64(True):
        here = jax.numpy.asarray(w)
        optimizer, path = make(optax), [w]
        state = optimizer.init(here)
        for _ in range(steps):
            change, state = optimizer.update(jax.numpy.asarray(gradient(path[-1])), state, here)
            here = optax.apply_updates(here, change)
            path.append(np.array(here))
    return np.array(path)


def peer_lr(step):
    """Every row's learning rate: its drop tells α inside the velocity from α outside.

    At larger rates RMSProp jumps about its minimum, where rounding grows past all tolerance.
    """
    return 0.005 if step < 50 else 0.001


def peer_path(row):
    """The path of the framework of a row of `comparison.ROWS` itself; skips where it is not installed."""
    if row.framework == "PyTorch":
        return torch_path(lambda torch, p: getattr(torch.optim, row.name)(p, **row.options), lr=peer_lr)
    if row.framework == "Keras":
        return keras_path(lambda keras: getattr(keras.optimizers, row.name)(**row.options), lr=peer_lr)

    def make(optax):  # its schedules are traced
        import jax

        return getattr(optax, row.name)(learning_rate=lambda step: jax.numpy.where(step < 50, peer_lr(0), peer_lr(50)), **row.options)

    return optax_path(make)


def peer_default(row):
    """The learning rate that the framework of a row takes by default, None if it has none."""
    module = {"PyTorch": "torch.optim", "Keras": "keras.optimizers", "Optax": "optax"}[row.framework]
    default = inspect.signature(getattr(pytest.importorskip(module), row.name)).parameters[
        "lr" if row.framework == "PyTorch" else "learning_rate"].default
    return None if default is inspect.Parameter.empty else default
