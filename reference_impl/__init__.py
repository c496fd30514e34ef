"""Descent, Derived: how neural networks are trained, each rule written once and read many ways.

Public names live here and load when first used, so a page depends only on what it takes.

>>> from reference_impl import SGD, minimize, taco_shell
>>> path, losses = minimize(taco_shell(10), [10.0, 1.0], SGD(lr=0.18), steps=50)
>>> print(f"{losses[0]:.1f} -> {losses[-1]:.1e}")
55.0 -> 1.2e-07
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from .arrays.device import to_device, to_host
    from .arrays.flat import Flat, flatten
    from .engines import set_engine
    from .engines.threads import set_threads
    from .generalization.augmentation import (
        ColorPCA,
        compose,
        flip,
        random_brightness,
        random_contrast,
        random_crop,
        random_flip,
        random_scale_crop,
        ten_crop,
    )
    from .generalization.batch_norm import BatchNorm
    from .generalization.dropout import Dropout
    from .generalization.ensembles import Snapshots, WeightAverage, ambiguity
    from .generalization.weight_decay import L1, L2, MaxNorm, ProximalL1
    from .measurements import measured
    from .networks.checkpoint import Diverged
    from .networks.data import digits, photographs
    from .networks.layers import Affine, Conv2D, Flatten, Layer, MaxPool2D, ReLU, Sigmoid, Tanh
    from .networks.losses import accuracy, log_softmax, mean_squared_error, softmax, softmax_cross_entropy
    from .networks.model import Sequential
    from .networks.softmax import softmax_regression
    from .networks.training import Callback, EarlyStopping, History, evaluate, fit
    from .optimization.adagrad import AdaGrad
    from .optimization.adam import Adam, AdamW, AMSGrad
    from .optimization.gauss_newton import gauss_newton, levenberg_marquardt
    from .optimization.landscapes import (
        Landscape,
        beale,
        booth,
        bowl,
        double_well,
        himmelblau,
        noisy,
        quadratic,
        rosenbrock,
        saddle,
        taco_shell,
    )
    from .optimization.line_search import Result
    from .optimization.minimize import Descent, minimize
    from .optimization.momentum import Momentum
    from .optimization.nesterov import Nesterov
    from .optimization.newton import newton, newton_cg
    from .optimization.optimizer import Optimizer, Schedule
    from .optimization.quasi_newton import bfgs, lbfgs
    from .optimization.rmsprop import RMSProp
    from .optimization.schedules import (
        constant,
        cosine,
        cyclic,
        ema,
        exponential,
        inverse_time,
        linear,
        one_cycle,
        polyak_average,
        step_decay,
        warmup,
    )
    from .optimization.sgd import SGD, minibatches, train
    from .practice.diagnostics import Monitor, diagnose, gradient_check
    from .practice.initialization import initialize
    from .practice.preprocessing import center, standardize, whiten
    from .practice.search import Choice, LogUniform, Uniform, Whole, search
    from .practice.transfer import freeze, with_new_head

_HOME = {
    "arrays.device": "to_device to_host",
    "engines": "set_engine",
    "engines.threads": "set_threads",
    "arrays.flat": "Flat flatten",
    "generalization.augmentation": "ColorPCA compose flip random_brightness random_contrast random_crop random_flip random_scale_crop ten_crop",
    "generalization.batch_norm": "BatchNorm",
    "generalization.dropout": "Dropout",
    "generalization.ensembles": "Snapshots WeightAverage ambiguity",
    "generalization.weight_decay": "L1 L2 MaxNorm ProximalL1",
    "measurements": "measured",
    "networks.checkpoint": "Diverged",
    "networks.data": "digits photographs",
    "networks.layers": "Affine Conv2D Flatten Layer MaxPool2D ReLU Sigmoid Tanh",
    "networks.losses": "accuracy log_softmax mean_squared_error softmax softmax_cross_entropy",
    "networks.model": "Sequential",
    "networks.softmax": "softmax_regression",
    "networks.training": "Callback EarlyStopping History evaluate fit",
    "optimization.adagrad": "AdaGrad",
    "optimization.adam": "AMSGrad Adam AdamW",
    "optimization.gauss_newton": "gauss_newton levenberg_marquardt",
    "optimization.landscapes": "Landscape beale booth bowl double_well himmelblau noisy quadratic rosenbrock saddle taco_shell",
    "optimization.line_search": "Result",
    "optimization.minimize": "Descent minimize",
    "optimization.momentum": "Momentum",
    "optimization.nesterov": "Nesterov",
    "optimization.newton": "newton newton_cg",
    "optimization.optimizer": "Optimizer Schedule",
    "optimization.quasi_newton": "bfgs lbfgs",
    "optimization.rmsprop": "RMSProp",
    "optimization.schedules": "constant cosine cyclic ema exponential inverse_time linear one_cycle polyak_average step_decay warmup",
    "optimization.sgd": "SGD minibatches train",
    "practice.diagnostics": "Monitor diagnose gradient_check",
    "practice.initialization": "initialize",
    "practice.preprocessing": "center standardize whiten",
    "practice.search": "Choice LogUniform Uniform Whole search",
    "practice.transfer": "freeze with_new_head",
}
_MODULE = {name: module for module, names in _HOME.items() for name in names.split()}

# Once more and spelled out: type checkers and editors read nothing else.
__all__ = [
    "L1",
    "L2",
    "SGD",
    "AMSGrad",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Affine",
    "BatchNorm",
    "Callback",
    "Choice",
    "ColorPCA",
    "Conv2D",
    "Descent",
    "Diverged",
    "Dropout",
    "EarlyStopping",
    "Flat",
    "Flatten",
    "History",
    "Landscape",
    "Layer",
    "LogUniform",
    "MaxNorm",
    "MaxPool2D",
    "Momentum",
    "Monitor",
    "Nesterov",
    "Optimizer",
    "ProximalL1",
    "RMSProp",
    "ReLU",
    "Result",
    "Schedule",
    "Sequential",
    "Sigmoid",
    "Snapshots",
    "Tanh",
    "Uniform",
    "WeightAverage",
    "Whole",
    "accuracy",
    "ambiguity",
    "beale",
    "bfgs",
    "booth",
    "bowl",
    "center",
    "compose",
    "constant",
    "cosine",
    "cyclic",
    "diagnose",
    "digits",
    "double_well",
    "ema",
    "evaluate",
    "exponential",
    "fit",
    "flatten",
    "flip",
    "freeze",
    "gauss_newton",
    "gradient_check",
    "himmelblau",
    "initialize",
    "inverse_time",
    "lbfgs",
    "levenberg_marquardt",
    "linear",
    "log_softmax",
    "mean_squared_error",
    "measured",
    "minibatches",
    "minimize",
    "newton",
    "newton_cg",
    "noisy",
    "one_cycle",
    "photographs",
    "polyak_average",
    "quadratic",
    "random_brightness",
    "random_contrast",
    "random_crop",
    "random_flip",
    "random_scale_crop",
    "rosenbrock",
    "saddle",
    "search",
    "set_engine",
    "set_threads",
    "softmax",
    "softmax_cross_entropy",
    "softmax_regression",
    "standardize",
    "step_decay",
    "taco_shell",
    "ten_crop",
    "to_device",
    "to_host",
    "train",
    "warmup",
    "whiten",
    "with_new_head",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
