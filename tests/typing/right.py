"""A small program as a user writes it: mypy and Pyright find nothing in it, and it runs."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reference_impl import (
    L2,
    SGD,
    Adam,
    AdamW,
    Affine,
    BatchNorm,
    Callback,
    Dropout,
    EarlyStopping,
    Evaluate,
    Groups,
    History,
    Momentum,
    Muon,
    Optimizer,
    ReLU,
    Schedule,
    Sequential,
    Uniform,
    bfgs,
    clip_norm,
    constant,
    cosine,
    digits,
    fit,
    flatten,
    lbfgs,
    minimize,
    newton,
    rosenbrock,
    search,
    set_engine,
    softmax_cross_entropy,
    to_host,
    train,
    warmup,
)
from reference_impl.networks.run import Run
from reference_impl.optimization.optimizer import hyper


def by_hand() -> float:
    """Parameters of one's own."""
    params = {"w": np.array([1.0, 2.0]), "b": np.zeros((), dtype=np.float64)}
    optimizer = AdamW(lr=warmup(10, then=cosine(0.1, 100)), weight_decay=0.01, engine="blocked")
    for _ in range(3):
        optimizer.update(params, {"w": 2 * params["w"], "b": np.ones(())})
    grads = clip_norm({"w": params["w"]}, 1.0)
    flat = flatten({"w": np.ones(3, np.float32)})
    Momentum(lr=constant(0.1), rho=0.9).update(flat, flat.full_like(0.5))
    return float(grads["w"].sum())


def own_schedule(step: int) -> float:
    return 0.1 / (1 + step)


def sign(w: Any, g: Any, *, lr: Any) -> Any:
    return w - lr * np.sign(g)


@dataclass
class Sign(Optimizer):
    """A rule of one's own."""

    rule = staticmethod(sign)
    lr: float | Schedule = hyper(0.01, 0, open_low=True)


class Last(Callback):
    """A callback of one's own."""

    def __init__(self) -> None:
        self.steps = 0

    def after_step(self, run: Run) -> None:
        self.steps = run.step
        if run.step >= 100:
            run.stop = "enough"


def network(lr: float | Schedule) -> History:
    data, rng = digits(), np.random.default_rng(0)
    model = Sequential(Affine(64, 16, rng=rng), BatchNorm(16), ReLU(), Dropout(0.9), Affine(16, 10, rng=rng))
    optimizer = Groups({"*.b": SGD(lr=lr), "*.W": Muon(lr=0.01), "*": Adam(lr=own_schedule)}, clip_norm=1.0)
    watched = Evaluate({"validation": (data.test_inputs, data.test_labels)})
    callbacks = [watched, L2(1e-3), Last(), EarlyStopping("validation_accuracy", patience=2, larger_is_better=True)]
    history = fit(model, data.inputs, data.labels, optimizer, epochs=1, rng=rng, loss=softmax_cross_entropy, callbacks=callbacks)
    weights: dict[str, Any] = to_host(model).state_dict()
    return history if weights else History()


def minimisers() -> str:
    valley = rosenbrock()
    path, losses = minimize(valley, [-1.2, 1.0], Sign(lr=0.01), steps=10)

    def bowl(w: NDArray[np.float64]) -> float:
        return float(w @ w)

    def slope(w: NDArray[np.float64]) -> NDArray[np.float64]:
        return 2 * w

    minimize(bowl, path[-1], SGD(lr=0.1), steps=3, grad=slope)
    found = newton(valley, path[-1], valley.grad, valley.hess, method="line search", callback=print)
    also = lbfgs(lambda w: (float(w @ w), 2 * w), np.ones(3), grad=True, memory=5)
    return found.message + bfgs(bowl, [1.0, 2.0], slope).message + also.message + str(losses.min())


def objective(setting: Mapping[str, Any], rng: np.random.Generator) -> float:
    return float(setting["x"] + rng.normal())


def searching() -> float:
    space = Uniform(0.0, 1.0)
    with ThreadPoolExecutor(1) as executor:
        trials = search(objective, [{"x": space.at(0.5)}, {"x": 2.0}], seed=1, executor=executor)
    return min(trial.value for trial in trials)


def main() -> None:
    set_engine(None)
    print(by_hand(), minimisers(), searching(), network(0.1)["validation_accuracy"][-1])
    rng = np.random.default_rng(0)
    params = {"w": np.zeros(2)}
    train(lambda p, x, y: (float(p["w"] @ p["w"]), {"w": 2 * p["w"]}), params, np.ones((4, 2)), np.ones(4), SGD(), epochs=1, batch_size=2, rng=rng)


if __name__ == "__main__":
    main()
