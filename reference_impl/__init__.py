"""Descent, Derived: how neural networks are trained, each rule written once and read many ways.

Public names live here and load when first used, so a page depends only on what it takes.

>>> from reference_impl import SGD, minimize, taco_shell
>>> path, losses = minimize(taco_shell(10), [10.0, 1.0], SGD(lr=0.18), steps=50)
>>> print(f"{losses[0]:.1f} -> {losses[-1]:.1e}")
55.0 -> 1.2e-07
"""

from typing import TYPE_CHECKING

__version__ = "0.4.0"

if TYPE_CHECKING:
    from .arrays.device import to_device as to_device, to_host as to_host
    from .arrays.flat import Flat as Flat, flatten as flatten
    from .engines import set_engine as set_engine
    from .engines.threads import set_threads as set_threads
    from .generalization.augmentation import (
        ColorPCA as ColorPCA,
        compose as compose,
        flip as flip,
        random_brightness as random_brightness,
        random_contrast as random_contrast,
        random_crop as random_crop,
        random_flip as random_flip,
        random_scale_crop as random_scale_crop,
        ten_crop as ten_crop,
    )
    from .generalization.batch_norm import BatchNorm as BatchNorm
    from .generalization.dropout import Dropout as Dropout
    from .generalization.ensembles import (
        Snapshots as Snapshots,
        WeightAverage as WeightAverage,
        ambiguity as ambiguity,
        recompute_statistics as recompute_statistics,
    )
    from .generalization.weight_decay import L1 as L1, L2 as L2, MaxNorm as MaxNorm, ProximalL1 as ProximalL1
    from .measurements import measured as measured
    from .networks.callbacks import Augment as Augment, EarlyStopping as EarlyStopping
    from .networks.checkpoint import Checkpoint as Checkpoint
    from .networks.data import digits as digits, photographs as photographs
    from .networks.evaluation import Evaluate as Evaluate, evaluate as evaluate, predict as predict
    from .networks.layers import (
        Affine as Affine,
        Conv2D as Conv2D,
        Flatten as Flatten,
        Layer as Layer,
        MaxPool2D as MaxPool2D,
        ReLU as ReLU,
        Sigmoid as Sigmoid,
        Tanh as Tanh,
    )
    from .networks.losses import (
        accuracy as accuracy,
        class_weights as class_weights,
        log_softmax as log_softmax,
        mean_squared_error as mean_squared_error,
        multiclass_hinge as multiclass_hinge,
        softmax as softmax,
        softmax_cross_entropy as softmax_cross_entropy,
    )
    from .networks.model import Sequential as Sequential
    from .networks.progress import Progress as Progress
    from .networks.run import Callback as Callback, Diverged as Diverged, History as History
    from .networks.softmax import softmax_regression as softmax_regression
    from .networks.training import fit as fit
    from .optimization.adagrad import AdaGrad as AdaGrad
    from .optimization.adam import Adam as Adam, AdamW as AdamW, AMSGrad as AMSGrad
    from .optimization.clipping import clip_norm as clip_norm, clip_value as clip_value
    from .optimization.gauss_newton import gauss_newton as gauss_newton, levenberg_marquardt as levenberg_marquardt
    from .optimization.groups import Groups as Groups
    from .optimization.landscapes import (
        Landscape as Landscape,
        beale as beale,
        booth as booth,
        bowl as bowl,
        double_well as double_well,
        himmelblau as himmelblau,
        noisy as noisy,
        quadratic as quadratic,
        rosenbrock as rosenbrock,
        saddle as saddle,
        taco_shell as taco_shell,
    )
    from .optimization.line_search import Result as Result
    from .optimization.minimize import Descent as Descent, minimize as minimize
    from .optimization.momentum import Momentum as Momentum
    from .optimization.muon import Muon as Muon
    from .optimization.nesterov import Nesterov as Nesterov
    from .optimization.newton import newton as newton, newton_cg as newton_cg
    from .optimization.optimizer import Optimizer as Optimizer, Schedule as Schedule
    from .optimization.quasi_newton import bfgs as bfgs, lbfgs as lbfgs
    from .optimization.rmsprop import RMSProp as RMSProp
    from .optimization.schedules import (
        constant as constant,
        cosine as cosine,
        cyclic as cyclic,
        ema as ema,
        exponential as exponential,
        inverse_time as inverse_time,
        linear as linear,
        one_cycle as one_cycle,
        polyak_average as polyak_average,
        step_decay as step_decay,
        warmup as warmup,
    )
    from .optimization.sgd import SGD as SGD, minibatches as minibatches, train as train
    from .practice.diagnostics import Monitor as Monitor, diagnose as diagnose, gradient_check as gradient_check
    from .practice.initialization import initialize as initialize
    from .practice.preprocessing import center as center, standardize as standardize, whiten as whiten
    from .practice.search import (
        Choice as Choice,
        LogUniform as LogUniform,
        Stepped as Stepped,
        Uniform as Uniform,
        Whole as Whole,
        halving as halving,
        search as search,
    )
    from .practice.transfer import freeze as freeze, with_new_head as with_new_head
else:  # The imports above are the one list of public names; each is imported from there when it is first used.
    import ast
    from importlib import import_module

    _HOME = {
        alias.name: node.module
        for node in ast.walk(ast.parse(__spec__.loader.get_source(__name__)))
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
    __all__ = sorted(_HOME)

    def __getattr__(name):
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f".{_HOME[name]}", __name__), name)

    def __dir__():
        return sorted({*globals(), *__all__})
