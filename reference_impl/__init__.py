"""Descent, Derived: how neural networks are trained, each rule written once and read many ways.

Public names live here and load when first used, so a page depends only on what it takes.

>>> from reference_impl import SGD, minimize, taco_shell
>>> path, losses = minimize(taco_shell(10), [10.0, 1.0], SGD(lr=0.18), steps=50)
>>> print(f"{losses[0]:.1f} -> {losses[-1]:.1e}")
55.0 -> 1.2e-07
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .networks.data import digits, photographs
    from .networks.layers import Affine, Conv2D, Flatten, Layer, MaxPool2D, ReLU, Sigmoid, Tanh
    from .networks.losses import accuracy, log_softmax, mean_squared_error, softmax, softmax_cross_entropy
    from .networks.model import Sequential
    from .networks.softmax import softmax_regression
    from .networks.training import Callback, Diverged, EarlyStopping, History, evaluate, fit
    from .optimization.adagrad import AdaGrad
    from .optimization.adam import Adam, AdamW, AMSGrad
    from .optimization.landscapes import Landscape, bowl, double_well, noisy, quadratic, rosenbrock, saddle, taco_shell
    from .optimization.minimize import Descent, minimize
    from .optimization.momentum import Momentum
    from .optimization.nesterov import Nesterov
    from .optimization.optimizer import Optimizer, Schedule
    from .optimization.rmsprop import RMSProp
    from .optimization.schedules import (
        constant,
        cosine,
        cyclic,
        ema,
        exponential,
        inverse_time,
        one_cycle,
        polyak_average,
        step_decay,
        warmup,
    )
    from .optimization.sgd import SGD, minibatches, train

_HOME = {
    "networks.data": "digits photographs",
    "networks.layers": "Affine Conv2D Flatten Layer MaxPool2D ReLU Sigmoid Tanh",
    "networks.losses": "accuracy log_softmax mean_squared_error softmax softmax_cross_entropy",
    "networks.model": "Sequential",
    "networks.softmax": "softmax_regression",
    "networks.training": "Callback Diverged EarlyStopping History evaluate fit",
    "optimization.adagrad": "AdaGrad",
    "optimization.adam": "Adam AdamW AMSGrad",
    "optimization.landscapes": "Landscape bowl double_well noisy quadratic rosenbrock saddle taco_shell",
    "optimization.minimize": "Descent minimize",
    "optimization.momentum": "Momentum",
    "optimization.nesterov": "Nesterov",
    "optimization.optimizer": "Optimizer Schedule",
    "optimization.rmsprop": "RMSProp",
    "optimization.schedules": "constant cosine cyclic ema exponential inverse_time one_cycle polyak_average step_decay warmup",
    "optimization.sgd": "SGD minibatches train",
}
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}

# Once more and spelled out: type checkers and editors read nothing else.
__all__ = [
    "SGD", "AMSGrad", "AdaGrad", "Adam", "AdamW", "Descent", "Landscape", "Momentum", "Nesterov", "Optimizer", "RMSProp", "Schedule",
    "accuracy", "bowl", "constant", "cosine", "cyclic", "digits", "double_well", "ema", "exponential", "inverse_time", "minibatches",
    "minimize", "noisy", "one_cycle", "polyak_average", "quadratic", "rosenbrock", "saddle", "softmax_regression", "step_decay",
    "taco_shell", "train", "warmup",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
