"""Every public function, class and method refuses every wrong kind of each argument by its name, and changes nothing.

The table says what each argument may be, in words of its own; what else is in `POOL` must be refused. A public callable or an argument
that is missing from the table fails, and so does a call that should be right.
"""

import decimal
import importlib
import inspect
import math
import numbers
import os
import random
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import sympy
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from rules import OPTIMIZERS, RULES

import reference_impl
from reference_impl import (
    SGD,
    Adam,
    Affine,
    BatchNorm,
    Choice,
    ColorPCA,
    Conv2D,
    Dropout,
    EarlyStopping,
    Flatten,
    Groups,
    Layer,
    LogUniform,
    MaxPool2D,
    Muon,
    Optimizer,
    ReLU,
    Sequential,
    Sigmoid,
    Snapshots,
    Tanh,
    Uniform,
    WeightAverage,
    Whole,
    bowl,
    flatten,
    saddle,
    softmax_cross_entropy,
    standardize,
)
from reference_impl.networks.run import History
from reference_impl.optimization import comparison, landscapes, line_search, momentum
from reference_impl.optimization.adam import Moments
from reference_impl.plots import (
    Chain,
    Compute,
    Data,
    Descent,
    Explore,
    Handle,
    Iterate,
    Levels,
    Line,
    Mark,
    Panel,
    Play,
    Slider,
    figure,
    show,
)
from reference_impl.practice.search import Stepped
from reference_impl.practice.trials import Trial

ROOT = Path(__file__).parents[1]


# What may be wrong

def some_function(*args):
    return args


POOL = {
    "nothing": None, "a word": "no", "the empty string": "", "bytes": b"no", "True": True, "False": False, "NumPy's True": np.True_,
    "0": 0, "1": 1, "2": 2, "-1": -1, "3": 3, "10**400": 10**400, "0.5": 0.5, "1.5": 1.5, "-0.5": -0.5, "2.0": 2.0, "nan": math.nan,
    "inf": math.inf, "-inf": -math.inf, "NumPy's nan": np.float32(math.nan), "NumPy's 3": np.int64(3), "NumPy's 0.25": np.float64(0.25),
    "complex": 1 + 1j, "a fraction": Fraction(1, 3), "a decimal": decimal.Decimal("0.5"), "a symbol": sympy.Symbol("a"),
    "no list": [], "a list": [1.0, 2.0], "a list of words": ["a"], "a list of nan": [1.0, math.nan], "a list of bools": [True, False],
    "a ragged list": [[1.0], [2.0, 3.0]], "a list of lists": [[1.0, 2.0], [3.0, 4.0]], "a list of None": [None], "no tuple": (),
    "a tuple": (1, 2),
    "a set": {1.0}, "an empty dict": {}, "a dict": {"a": 1}, "a dict of numbers": {1: np.ones(2)}, "an iterator": iter([1, 2]),
    "an object": object(), "a class": int, "a class of ours": SGD, "a function": some_function, "a module": math,
    "a seed": np.random.SeedSequence(0), "an old generator": np.random.RandomState(0), "Python's generator": random.Random(0),
    "a bit generator": np.random.PCG64(0), "a path": Path("nowhere"), "a dtype": np.dtype(float),
    "a number as an array": np.array(0.5), "a vector": np.array([0.5, 0.25]), "a whole vector": np.array([1, 2]),
    "a negative vector": -np.ones(2),
    "an empty vector": np.ones(0), "a vector with nan": np.array([1.0, math.nan]), "a vector with inf": np.array([1.0, math.inf]),
    "bools": np.array([True, False]), "complex numbers": np.ones(2, complex), "objects": np.array([1.0, None]),
    "words": np.array(["a", "b"]),
    "a masked vector": np.ma.array([1.0, 2.0], mask=[False, True]), "dates": np.array(["2020-01-01"], "M8[D]"),
    "a matrix": np.ones((2, 2)), "a matrix of nan": np.full((2, 2), math.nan), "an empty matrix": np.ones((0, 2)),
    "a whole matrix": np.ones((2, 2), int),
    "a complex matrix": np.ones((2, 2), complex), "an object matrix": np.full((2, 2), None), "a masked matrix": np.ma.ones((2, 2)),
    "a matrix of NumPy's old kind": np.ones((2, 2)).view(np.matrix), "three axes": np.ones((2, 2, 2)), "four axes": np.ones((1, 2, 2, 1)),
    "four axes of words": np.full((1, 2, 2, 1), "a"), "five axes": np.ones((1, 1, 1, 1, 1)), "a masked image": np.ma.ones((1, 2, 2, 1)),
}


@dataclass(frozen=True)
class Kind:
    """What an argument may be: a test of a value, and an example that the right call takes."""

    accepts: Callable[[object], bool]
    example: Callable[[], object]

    def __call__(self, example) -> "Kind":
        """The same with another example: a lambda makes it anew for each call."""
        return replace(self, example=example if getattr(example, "__name__", "") == "<lambda>" else lambda: example)

    def __or__(self, other: "Kind") -> "Kind":
        return Kind(lambda value: self.accepts(value) or other.accepts(value), self.example)


def kind(accepts, example) -> Kind:
    return Kind(accepts, lambda: None)(example)


def is_number(value) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)


def number(low=-math.inf, high=math.inf, *, above=None, below=None, infinite=False, example=0.5) -> Kind:
    def accepts(value):
        if not is_number(value) or (abs(value) > 10**300 and not (infinite and abs(value) == math.inf)):
            return False
        return low <= value <= high and (above is None or value > above) and (below is None or value < below)
    return kind(accepts, example)


def count(low=1, high=math.inf, example=3) -> Kind:
    return kind(lambda value: isinstance(value, int | np.integer) and not isinstance(value, bool) and low <= value <= high, example)


def instance(*classes, example) -> Kind:
    return kind(lambda value: isinstance(value, classes), example)


def one_of(*words) -> Kind:
    return kind(lambda value: any(type(value) is type(word) and value == word for word in words), words[0])


def numbers_(ndim=None, *, low=-math.inf, high=math.inf, above=None, below=None, finite=True, empty=False, whole=False, lists=True,
             least=0, dtypes="iuf", example=None) -> Kind:
    """Real numbers as an array, or (unless `lists` is False) in lists or alone."""
    def accepts(value):
        if not lists and not isinstance(value, np.ndarray):
            return False
        if isinstance(value, np.ndarray):
            if type(value) is not np.ndarray:
                return False
        elif not isinstance(value, list | tuple) and not is_number(value):
            return False
        try:
            array = np.asarray(value)
        except ValueError:
            return False
        if array.dtype.kind not in dtypes or array.ndim < least or (ndim is not None and array.ndim != ndim) or not (array.size or empty):
            return False
        if finite and not np.isfinite(array).all():
            return False
        if whole and (array != np.floor(array)).any():
            return False
        if array.dtype.kind not in "iuf":
            return True
        inside = (array >= low) & (array <= high) & (above is None or array > above) & (below is None or array < below)
        return bool((inside | np.isnan(array)).all())
    return kind(accepts, example)


def array(ndim=None, dtypes="f", finite=False, example=None, **more) -> Kind:
    """An array: elements are looked at only where they must be finite."""
    return numbers_(ndim, **{"dtypes": dtypes, "finite": finite, "empty": not finite, "lists": False, "example": example} | more)


def optional(given: Kind) -> Kind:
    return Kind(lambda value: value is None or given.accepts(value), given.example)


def sequence_of(accepts, example, least=1) -> Kind:
    return kind(lambda value: isinstance(value, list | tuple) and len(value) >= least and all(map(accepts, value)), example)


def mapping_of(accepts, example, empty=False) -> Kind:
    def fits(value):
        if not isinstance(value, Mapping) or not (value or empty):
            return False
        return all(isinstance(key, str) and accepts(item) for key, item in value.items())
    return kind(fits, example)


POSITIVE, SIZE, SHARE, PART = number(above=0), number(0), number(0, below=1), number(above=0, high=1)
INSIDE, ANY = number(above=0, below=1), number()
COUNT, NATURAL = count(), count(0)
FLAG = kind(lambda value: isinstance(value, bool | np.bool_), True)
TEXT = kind(lambda value: isinstance(value, str), "a word")
NAME = kind(lambda value: isinstance(value, str) and bool(value.strip()), "a word")
PATH = kind(lambda value: isinstance(value, str | os.PathLike), "file")
ANYTHING = kind(lambda value: True, None)
ITERATOR = instance(type(iter([])), example=None)
FUNCTION = kind(lambda value: callable(value) and not isinstance(value, type), some_function)
RNG = instance(np.random.Generator, example=lambda: np.random.default_rng(0))
DTYPE = one_of("f4", np.float32, np.dtype(float))
SYMBOL = instance(sympy.Expr, example=None)
QUANTITY = Kind((numbers_() | SYMBOL).accepts, lambda: 0.5)
FROM_ZERO = Kind((numbers_(low=0) | SYMBOL).accepts, lambda: 0.5)


def net(*more, features=3, classes=2):
    return Sequential(Affine(features, classes, rng=np.random.default_rng(0)), *more)


def x(*shape, dtype=float):
    return lambda: np.random.default_rng(1).uniform(0.1, 1, shape).astype(dtype)


MODEL = instance(Sequential, example=lambda: net())
LAYER = instance(Layer, example=lambda: ReLU())
OPTIMIZER = instance(Optimizer, example=lambda: SGD(lr=0.1))
IMAGES, FLOATS = array(4, "biuf", example=x(2, 6, 6, 3)), array(4, example=x(2, 6, 6, 3))
INPUTS, LABELS = array(dtypes="biuf", example=x(4, 3)), array(1, "iu", example=lambda: np.array([0, 1, 1, 0]))
EXAMPLES = array(dtypes="biuf", least=1, empty=False, example=x(4, 3))
TARGETS = EXAMPLES(lambda: np.array([0, 1, 1, 0]))
VECTOR, MATRIX = numbers_(1, example=lambda: np.array([0.5, 1.0])), numbers_(2, example=lambda: np.array([[2.0, 0.0], [0.0, 1.0]]))
LOSS = FUNCTION(lambda: softmax_cross_entropy)
CURVATURES = numbers_(example=lambda: [1.0, 4.0])
RISING = numbers_(low=0, above=0, example=lambda: [1.0, 4.0])
PATHS = numbers_(2, example=lambda: np.array([[1.0, 1.0], [0.5, 1.0], [0.5, 0.25]]))
ARRAYS = mapping_of(lambda value: False, lambda: {"w": np.ones(2)}, empty=True)
PARAMS = mapping_of(lambda value: False, lambda: {"w": np.ones(2)})


# The table: each argument of each public callable

CASES: dict[str, tuple[dict[str, Kind], Callable[[], object] | None]] = {}


def case(name, on=None, /, **kinds):
    """`on` makes the object whose method it is."""
    assert name not in CASES, name
    CASES[name] = kinds, on


# generalization

case("generalization.weight_decay.L1", strength=SIZE, keys=optional(sequence_of(lambda key: isinstance(key, str), ["0.W"])))
case("generalization.weight_decay.L2", strength=SIZE, keys=optional(sequence_of(lambda key: isinstance(key, str), ["0.W"])))
case("generalization.weight_decay.ProximalL1", strength=SIZE, keys=optional(sequence_of(lambda key: isinstance(key, str), ["0.W"])))
case("generalization.weight_decay.MaxNorm", limit=POSITIVE, keys=optional(sequence_of(lambda key: isinstance(key, str), ["0.W"])))
case("generalization.weight_decay.soft_threshold", w=number(infinite=True) | array(example=x(3)),
     threshold=number(0, infinite=True) | array(low=0))
case("generalization.weight_decay.clip_norm", w=array(example=x(3, 2)), limit=POSITIVE,
     axis=optional(count(-2, 1, 0) | one_of((0,), (0, 1), (), (1, 2))))
case("generalization.weight_decay.shrinkage", curvatures=array(low=0, example=x(3)) | number(0, infinite=True), strength=SIZE)
case("generalization.weight_decay.weight_keys", params=mapping_of(lambda value: True, lambda: {"0.W": 1}, empty=True))
case("generalization.dropout.Dropout", keep=PART, inverted=FLAG, shared=one_of((1,), (), (1, 2)))
case("generalization.dropout.all_masks", n=count(0, 20))
case("generalization.dropout.mask_probabilities", masks=array(2, "biuf", finite=True, low=0, high=1, whole=True, empty=True,
     example=lambda: np.eye(2)), keep=PART)
DROPPED = MODEL(lambda: net(Dropout(0.5)))
case("generalization.dropout.thinned_predictions", model=DROPPED, x=array(example=x(4, 3)),
     predict=FUNCTION(lambda: reference_impl.softmax))
case("generalization.dropout.dropout_ridge", inputs=MATRIX, targets=numbers_(example=x(2)), keep=PART)
case("generalization.dropout.dropout_logistic_penalty", weights=VECTOR, inputs=MATRIX, keep=PART)
for name in ("sample_predictions", "monte_carlo"):
    case(f"generalization.dropout.{name}", model=DROPPED, x=array(example=x(4, 3)), samples=COUNT, rng=RNG,
         predict=FUNCTION(lambda: reference_impl.softmax))
case("generalization.dropout.uncertainty", probabilities=array(3, example=lambda: np.full((2, 3, 4), 0.25)))
case("generalization.batch_norm.BatchNorm", features=COUNT, keep=PART, ddof=count(0, 1, 1), eps=SIZE, dtype=DTYPE)
case("generalization.batch_norm.BatchNorm.pytorch", features=COUNT, momentum=SHARE, eps=SIZE, dtype=DTYPE)
case("generalization.batch_norm.BatchNorm.keras", features=COUNT, momentum=PART, eps=SIZE, dtype=DTYPE)
case("generalization.augmentation.compose", steps=FUNCTION)
case("generalization.augmentation.flip", images=IMAGES)
case("generalization.augmentation.random_flip", images=IMAGES, rng=RNG, probability=number(0, 1))
SIDE = count(1, 6) | one_of((1, 2))
case("generalization.augmentation.random_crop", images=IMAGES, rng=RNG, size=SIDE, pad=NATURAL)
case("generalization.augmentation.random_scale_crop", images=FLOATS, rng=RNG, size=SIDE, low=POSITIVE(0.9), high=POSITIVE(1.1), pad=SIZE)
case("generalization.augmentation.ten_crop", images=IMAGES, size=SIDE)
case("generalization.augmentation.average_views", predict=FUNCTION(lambda: lambda views: views.reshape(len(views), -1)),
     views=array(dtypes="biuf", least=2, example=x(2, 3, 2)))
case("generalization.augmentation.random_brightness", images=FLOATS, rng=RNG, strength=SIZE)
case("generalization.augmentation.random_contrast", images=FLOATS, rng=RNG, strength=SIZE)
case("generalization.augmentation.ColorPCA", values=numbers_(1, low=0, example=lambda: np.ones(2)), vectors=numbers_(2,
     example=lambda: np.eye(2)))
case("generalization.augmentation.ColorPCA.fit", images=array(4, finite=True, example=x(2, 6, 6, 3)))
case("generalization.augmentation.ColorPCA.jitter", lambda: ColorPCA(np.ones(3), np.eye(3)), images=FLOATS, rng=RNG, sigma=SIZE,
     by_root=FLAG)
case("generalization.ensembles.ambiguity", predictions=array(dtypes="iuf", example=x(3, 2)),
     targets=array(dtypes="iuf", example=x(2)), weights=optional(numbers_(1, low=0, example=lambda: np.ones(3))))
case("generalization.ensembles.average", models=sequence_of(lambda model: isinstance(model, Sequential),
     lambda: [net()]), x=array(example=x(4, 3), dtypes="biuf", finite=True))
case("generalization.ensembles.correlated_variance", variance=numbers_(low=0, example=2.0),
     correlation=numbers_(low=-1, high=1, example=0.5), members=numbers_(low=1, example=3))
case("generalization.ensembles.Snapshots", every=COUNT)
case("generalization.ensembles.Snapshots.models", lambda: Snapshots(1), model=MODEL)
case("generalization.ensembles.WeightAverage", decay=PART, start=COUNT)
case("generalization.ensembles.WeightAverage.model", lambda: averaged(), model=MODEL)
case("generalization.ensembles.recompute_statistics", model=MODEL(lambda: net(BatchNorm(2))), inputs=EXAMPLES, batch_size=count(2),
     rng=optional(RNG))


def averaged():
    average = WeightAverage()
    reference_impl.fit(net(), x(4, 3)(), np.array([0, 1, 1, 0]), SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), callbacks=[average])
    return average


# networks

LAYERS = {
    "networks.layers.Affine": (lambda: Affine(3, 2, rng=np.random.default_rng(0)), (4, 3), (4, 2)),
    "networks.layers.Conv2D": (lambda: Conv2D(3, 2, 2, rng=np.random.default_rng(0)), (2, 4, 4, 3), (2, 3, 3, 2)),
    "networks.layers.MaxPool2D": (lambda: MaxPool2D(2), (2, 4, 4, 3), (2, 2, 2, 3)),
    "networks.layers.Flatten": (Flatten, (2, 4, 4, 3), (2, 48)),
    "networks.layers.ReLU": (ReLU, (4, 3), (4, 3)),
    "networks.layers.Tanh": (Tanh, (4, 3), (4, 3)),
    "networks.layers.Sigmoid": (Sigmoid, (4, 3), (4, 3)),
    "generalization.dropout.Dropout": (Dropout, (4, 3), (4, 3)),
    "generalization.batch_norm.BatchNorm": (lambda: BatchNorm(3), (4, 3), (4, 3)),
    "networks.model.Sequential": (net, (4, 3), (4, 2)),
}


def passed(make, shape):
    layer = make()
    layer.forward(x(*shape)())
    return layer


for name, (make, shape, out) in LAYERS.items():
    inputs = {4: array(4, example=x(*shape)), 2: array(2, example=x(*shape))}[len(shape)]
    if name.endswith(("ReLU", "Tanh", "Sigmoid", "Flatten", "Dropout")):
        inputs = array(dtypes="f" if name.endswith("Dropout") else "iuf", least=int(name.endswith("Flatten")), example=x(*shape))
    acts, draws = name.endswith(("Dropout", "BatchNorm", "Sequential")), name.endswith(("Dropout", "Sequential"))  # the others do not look
    case(f"{name}.forward", make, x=inputs, train=FLAG(False) if acts else ANYTHING, rng=optional(RNG) if draws else ANYTHING)
    for way in ("backward", "backward_params"):
        case(f"{name}.{way}", partial(passed, make, shape), dout=array(len(out), example=x(*out)))

case("networks.layers.Affine", inputs=COUNT, outputs=COUNT, rng=RNG, std=optional(SIZE), bias=FLAG, dtype=DTYPE)
case("networks.layers.Conv2D", channels=COUNT, filters=COUNT, size=COUNT, rng=RNG, stride=COUNT, pad=NATURAL, std=optional(SIZE),
     bias=FLAG, dtype=DTYPE)
case("networks.layers.MaxPool2D", size=COUNT, stride=optional(COUNT))
SCORES = array(example=x(4, 2), least=1, finite=True, dtypes="f")
WEIGHTS = optional(numbers_(1, low=0, lists=False, example=lambda: np.ones(4)))
case("networks.losses.softmax", scores=array(dtypes="iuf", example=x(4, 2), least=1))
case("networks.losses.log_softmax", scores=array(dtypes="iuf", example=x(4, 2), least=1))
case("networks.losses.softmax_cross_entropy", scores=array(2, example=x(4, 2)), labels=LABELS, weights=WEIGHTS)
case("networks.losses.multiclass_hinge", scores=array(2, example=x(4, 2)), labels=LABELS, weights=WEIGHTS, margin=POSITIVE)
case("networks.losses.mean_squared_error", outputs=array(example=x(4, 2)), targets=array(dtypes="iuf", example=x(4, 2)), weights=WEIGHTS)
case("networks.losses.class_weights", labels=LABELS, classes=optional(COUNT))
case("networks.losses.accuracy", scores=array(2, example=x(4, 2)), labels=LABELS)
case("networks.model.Sequential", layers=LAYER)
case("networks.model.Sequential.load_state_dict", net, saved=mapping_of(lambda value: False, lambda: net().state_dict()))
case("networks.model.all_params", model=MODEL)
case("networks.model.Sequential.save", net, path=PATH)
case("networks.model.Sequential.load", lambda: saved(), path=kind(lambda value: isinstance(value, str | os.PathLike), "model.npz"))


def saved():
    net().save("model.npz")
    return net()


case("networks.training.fit", model=MODEL, inputs=array(dtypes="biuf", least=1, finite=True, example=x(4, 3)),
     targets=array(dtypes="biuf", least=1, finite=True, example=LABELS.example), optimizer=OPTIMIZER, epochs=NATURAL, rng=RNG,
     batch_size=COUNT, drop_last=FLAG,
     loss=LOSS, weights=WEIGHTS, callbacks=one_of([], ())(lambda: [EarlyStopping("loss", patience=1)]))
case("networks.evaluation.predict", model=MODEL, inputs=EXAMPLES, batch_size=COUNT)
case("networks.evaluation.evaluate", model=MODEL, inputs=EXAMPLES, targets=TARGETS, loss=LOSS,
     metric=optional(FUNCTION(lambda: reference_impl.accuracy)), batch_size=COUNT)
case("networks.evaluation.Evaluate", sets=mapping_of(lambda value: False, lambda: {"test": (x(4, 3)(), np.array([0, 1, 1, 0]))}),
     metric=optional(FUNCTION))
case("networks.callbacks.Augment", function=FUNCTION)
case("networks.callbacks.EarlyStopping", column=TEXT, patience=COUNT, min_delta=SIZE, larger_is_better=FLAG)
case("networks.checkpoint.Checkpoint", path=PATH, every=optional(COUNT), resume=FLAG)
case("networks.softmax.softmax_regression", params=mapping_of(lambda value: False, lambda: {"W": np.ones((3, 2)), "b": np.zeros(2)}),
     inputs=array(2, "iuf", example=x(4, 3)), labels=LABELS)
case("networks.data.digits", seed=NATURAL, test_fraction=INSIDE)


# optimization

AS_ARRAY = array(0, finite=True)  # a number, as a schedule with np.where gives it
RATE, KEPT, EPS = number(above=0, example=0.1) | FUNCTION | AS_ARRAY, SHARE | FUNCTION | AS_ARRAY, SIZE | FUNCTION | AS_ARRAY
BOUND = optional(RATE(1.0))
COMMON = {"check_finite": FLAG, "engine": one_of(None, "blocked", "compiled")("blocked"), "clip_norm": BOUND, "clip_value": BOUND}
HYPER = {"lr": RATE, "rho": KEPT, "decay": KEPT, "beta1": KEPT, "beta2": KEPT, "eps": EPS, "weight_decay": EPS,
    "initial_accumulator": SIZE | AS_ARRAY}


def hyperparameters(optimizer: type[Optimizer]) -> dict[str, Kind]:
    """What the fields of an optimizer may be, by their names; of one that is not known here that it is an option, or a number or schedule."""
    given = {name: parameter.default for name, parameter in inspect.signature(optimizer).parameters.items()}
    return {name: COMMON.get(name) or HYPER.get(name) or (FLAG if isinstance(default, bool) else ANY(default) | FUNCTION | AS_ARRAY)
            for name, default in given.items()}


for optimizer in sorted({Moments, *(type(make()) for make in OPTIMIZERS.values()), Muon}, key=lambda optimizer: optimizer.__name__):
    case(f"{optimizer.__module__.removeprefix('reference_impl.')}.{optimizer.__name__}", **hyperparameters(optimizer))
case("optimization.optimizer.Optimizer", **COMMON)
case("optimization.optimizer.Optimizer.optimizer_of", lambda: SGD(), key=TEXT)
case("optimization.optimizer.Optimizer.update", lambda: SGD(lr=0.1), params=PARAMS, grads=PARAMS)
case("optimization.optimizer.Optimizer.load_state_dict", lambda: SGD(lr=0.1), saved=mapping_of(lambda value: False, lambda: SGD(lr=0.1).state_dict()))
case("optimization.groups.Groups", groups=mapping_of(lambda value: isinstance(value, Optimizer), lambda: {"*": SGD()}), clip_norm=BOUND,
     clip_value=BOUND)
GROUPS = partial(Groups, {"*": SGD()})
case("optimization.groups.Groups.assign", GROUPS, keys=sequence_of(lambda key: isinstance(key, str), ["a"]) | ITERATOR | array(1, "U"))
case("optimization.groups.Groups.optimizer_of", GROUPS, key=TEXT)
case("optimization.groups.Groups.update", GROUPS, params=PARAMS, grads=PARAMS)
case("optimization.clipping.clip_norm", grads=ARRAYS, bound=POSITIVE)
case("optimization.clipping.clip_value", grads=ARRAYS, bound=POSITIVE)
case("optimization.muon.orthogonalize", x=array(2, example=x(3, 2)))
case("optimization.sgd.convergence_rate", lr=POSITIVE, curvatures=CURVATURES)
case("optimization.sgd.best_learning_rate", curvatures=numbers_(low=0, example=lambda: [1.0, 4.0]))
case("optimization.sgd.steps_to", factor=POSITIVE(0.1), rate=SIZE)
case("optimization.sgd.minibatch_variance", variance=SIZE, size=COUNT, batch_size=count(1, 3))
case("optimization.sgd.goe", n=COUNT, rng=RNG, samples=COUNT)
case("optimization.sgd.positive_definite_probability", n=count(1, 10))
case("optimization.sgd.semicircle_index", shift=ANY)
case("optimization.sgd.minibatches", rng=RNG, size=COUNT, batch_size=count(1, 3))
case("optimization.sgd.train", loss=FUNCTION(lambda: lambda params, inputs, targets: (1.0, {"w": np.ones(2)})), params=PARAMS,
     inputs=array(dtypes="biuf", least=1, example=x(4, 3)),
     targets=array(dtypes="biuf", least=1, example=x(4)), optimizer=OPTIMIZER, epochs=NATURAL, batch_size=count(1, 4), rng=RNG)
case("optimization.momentum.iteration_matrix", curvature=QUANTITY, lr=QUANTITY, rho=QUANTITY, rule=FUNCTION(lambda: momentum.momentum))
case("optimization.momentum.from_physics", mass=POSITIVE | SYMBOL, friction=SIZE | SYMBOL, time_step=POSITIVE | SYMBOL)
case("optimization.momentum.critical_rho", lr=FROM_ZERO, curvature=FROM_ZERO)
case("optimization.momentum.convergence_rate", lr=numbers_(example=0.1), rho=numbers_(example=0.5), curvatures=CURVATURES)
case("optimization.momentum.best_tuning", curvatures=RISING)
case("optimization.momentum.energy", losses=numbers_(1, example=x(3)), path=PATHS, lr=POSITIVE, rho=SHARE)
case("optimization.momentum.stationary_variance", lr=numbers_(example=0.1), rho=numbers_(example=0.5), curvature=numbers_(example=1.0),
     noise=SIZE)
case("optimization.momentum.expected_loss", lr=numbers_(least=0, empty=True, example=x(3)), rho=numbers_(empty=True, example=x(3)),
     curvatures=VECTOR, start=VECTOR, noise=SIZE)
case("optimization.momentum.worst_valley", condition=number(above=1, example=4.0), n=COUNT)
case("optimization.nesterov.ahead", w=QUANTITY, v=QUANTITY, lr=QUANTITY, rho=QUANTITY)
case("optimization.nesterov.effective_rho", lr=QUANTITY, rho=QUANTITY, curvature=QUANTITY)
case("optimization.nesterov.stable_edge", rho=Kind((numbers_(low=0, high=1) | SYMBOL).accepts, lambda: 0.5))
case("optimization.nesterov.critical_rho", lr=FROM_ZERO, curvature=FROM_ZERO)
case("optimization.nesterov.convergence_rate", lr=ANY, rho=ANY, curvatures=CURVATURES)
case("optimization.nesterov.best_tuning", curvatures=RISING)
case("optimization.nesterov.momenta", steps=COUNT)
case("optimization.nesterov.accelerated", grad=FUNCTION(lambda: lambda w: w), w0=VECTOR, lr=POSITIVE,
     rhos=numbers_(1, empty=True, example=lambda: [0.5]))
case("optimization.nesterov.worst_case", k=COUNT, smoothness=POSITIVE)
case("optimization.adagrad.best_fixed_rates", gradients=PATHS, distance=numbers_(above=0, example=1.0))
case("optimization.adagrad.regret_bound", gradients=PATHS, distance=POSITIVE, lr=optional(POSITIVE))
case("optimization.adagrad.slope_distance", steps=numbers_(low=0, whole=True, example=4), lr=POSITIVE)
case("optimization.rmsprop.half_life", decay=INSIDE)
case("optimization.rmsprop.constant_slope_step", step=numbers_(low=1, whole=True, example=4), lr=POSITIVE, decay=SHARE)
case("optimization.rmsprop.changed_slope_step", step=numbers_(low=1, whole=True, example=4), ratio=POSITIVE, lr=POSITIVE, decay=SHARE)
case("optimization.rmsprop.cycle_amplitude", lr=POSITIVE, curvature=POSITIVE, eps=SIZE, eps_inside_root=FLAG)
case("optimization.adam.follow", gradients=numbers_(least=1, example=lambda: [5.0, -5.0]), beta1=SHARE, beta2=SHARE, eps=SIZE)
BETA = Kind((numbers_(low=0, below=1) | SYMBOL).accepts, lambda: 0.5)
case("optimization.adam.correction_ratio", t=Kind((numbers_(low=1, finite=False) | SYMBOL).accepts, lambda: 3), beta1=BETA, beta2=BETA)
case("optimization.adam.drift_bound", t=numbers_(low=1, example=3), beta=SHARE, drift=SIZE)
case("optimization.adam.step_bound", t=number(1, infinite=True, example=3), beta1=SHARE, beta2=INSIDE, corrected=FLAG)
case("optimization.adam.longest_step_gradients", t=COUNT, beta1=SHARE, beta2=INSIDE)
case("optimization.schedules.constant", lr=SIZE)
case("optimization.schedules.step_decay", lr=SIZE, every=COUNT, factor=POSITIVE)
case("optimization.schedules.exponential", lr=SIZE, decay=POSITIVE)
case("optimization.schedules.inverse_time", lr=SIZE, half_after=number(1, example=2.0))
for name in ("linear", "cosine", "cyclic"):
    case(f"optimization.schedules.{name}", lr=SIZE, steps=COUNT, floor=SIZE)
case("optimization.schedules.warmup", steps=COUNT, then=SIZE | FUNCTION)
case("optimization.schedules.one_cycle", lr=SIZE, steps=count(2), warm=SHARE, start=SIZE, end=SIZE)
case("optimization.schedules.polyak_average", path=numbers_(least=1, example=lambda: [4.0, 2.0]))
case("optimization.schedules.ema", path=numbers_(least=1, example=lambda: [4.0, 2.0]), decay=SHARE)
case("optimization.schedules.mean_square", rates=numbers_(least=1, empty=True, example=lambda: [0.5, 0.5]), start=numbers_(low=0,
     example=4.0), curvature=numbers_(example=1.0),
     sigma=numbers_(low=0, example=1.0))
case("optimization.schedules.averaged_mean_square", lr=POSITIVE, count=numbers_(low=1, whole=True, example=3), start=SIZE,
     curvature=POSITIVE, sigma=SIZE)

VECTORS = numbers_(1, finite=False, example=lambda: np.array([0.5, 1.0]))
GRADIENT = kind(lambda value: value is True or FUNCTION.accepts(value), lambda: lambda w: w)
FUN = FUNCTION(lambda: lambda w: w @ w / 2)
OPTIONS = {"gtol": POSITIVE, "maxiter": NATURAL, "callback": optional(FUNCTION)}
case("optimization.newton.newton_step", g=numbers_(least=1, example=VECTOR.example), h=numbers_(least=2, example=MATRIX.example))
case("optimization.newton.positive_shift", h=MATRIX)
case("optimization.newton.trust_region_step", g=VECTOR, h=MATRIX, radius=number(above=0, infinite=True))
case("optimization.newton.conjugate_gradient", product=FUNCTION(lambda: lambda v: v), b=VECTOR, tol=SIZE, maxiter=optional(NATURAL))
case("optimization.newton.hessp_from", grad=FUNCTION)
case("optimization.newton.newton", fun=FUN, x0=VECTOR, grad=GRADIENT,
     hess=FUNCTION(lambda: lambda w: np.eye(2)), method=one_of("shifted", "trust region", "line search", "pure"), **OPTIONS)
case("optimization.newton.newton_cg", fun=FUN, x0=VECTOR, grad=GRADIENT, hessp=FUNCTION(lambda: lambda w, v: v), **OPTIONS)
case("optimization.gauss_newton.gauss_newton_step", r=VECTOR, j=MATRIX, mu=SIZE)
RESIDUALS = {"residuals": FUNCTION(lambda: lambda w: w), "x0": VECTOR, "jac": FUNCTION(lambda: lambda w: np.eye(2))}
case("optimization.gauss_newton.gauss_newton", **RESIDUALS, method=one_of("line search", "pure"), **OPTIONS)
case("optimization.gauss_newton.levenberg_marquardt", **RESIDUALS, **OPTIONS)
case("optimization.gauss_newton.fisher", derivatives=numbers_(3, example=x(2, 2, 3)),
     chances=numbers_(2, low=0, high=1, example=lambda: np.full((2, 2), 0.5)))
case("optimization.gauss_newton.kronecker_step", g=MATRIX, a=MATRIX, s=MATRIX, damping=SIZE)
case("optimization.quasi_newton.bfgs_update", h=MATRIX, s=VECTOR, y=VECTOR)
case("optimization.quasi_newton.two_loop", g=VECTOR, pairs=one_of([], ())(lambda: [(np.ones(2), np.ones(2))]), scale=POSITIVE)
case("optimization.quasi_newton.DenseInverse", n=COUNT, like=optional(array(dtypes="biuf")))
case("optimization.quasi_newton.LimitedInverse", n=COUNT, memory=COUNT, like=optional(array(dtypes="biuf")))
case("optimization.quasi_newton.bfgs", fun=FUN, x0=VECTOR, grad=GRADIENT, **OPTIONS)
case("optimization.quasi_newton.lbfgs", fun=FUN, x0=VECTOR, grad=GRADIENT, memory=COUNT, **OPTIONS)
case("optimization.line_search.Objective", fun=FUN, grad=GRADIENT)
OBJECTIVE = instance(line_search.Objective, example=lambda: line_search.Objective(lambda w: w @ w / 2, lambda w: w))
SEARCH = {"objective": OBJECTIVE, "x": VECTORS, "p": VECTORS(lambda: np.array([-0.5, -1.0])), "loss": number(infinite=True, example=0.625)}
DOWN = {"slope": number(below=0, infinite=True, example=-1.25), "t": POSITIVE, "c1": SHARE}
case("optimization.line_search.backtracking", **SEARCH, **DOWN, trials=COUNT)
case("optimization.line_search.strong_wolfe", **SEARCH, **DOWN, c2=SHARE, trials=COUNT)
case("optimization.comparison.curvature_along", path=PATHS, grads=PATHS)
case("optimization.comparison.read_hessian", path=PATHS, grads=PATHS, tolerance=INSIDE)
case("optimization.comparison.refutes_convexity", path=PATHS, grads=PATHS, tolerance=SIZE)
case("optimization.comparison.implied_gradients", path=PATHS, lr=POSITIVE, rho=SHARE)
case("optimization.comparison.relative_gradients", path=numbers_(2, example=lambda: [[1.0], [0.9], [0.85]]),
     optimizer=OPTIMIZER(lambda: Adam(lr=0.1, eps=0.0)))
case("optimization.comparison.on_one_scale", path=PATHS, grads=PATHS(lambda: PATHS.example() @ [[2.0, 1.0], [1.0, 3.0]]))
case("optimization.comparison.secant_error", step_length=numbers_(above=0, example=0.1), sigma=SIZE)
case("optimization.comparison.BeforeCorrection", eps=SIZE, beta2=SHARE)
case("optimization.comparison.BeforeCorrection.__call__", lambda: comparison.BeforeCorrection(1e-7), step=NATURAL)
case("optimization.comparison.Row", framework=TEXT, name=TEXT,
     ours=kind(lambda value: value is None or (isinstance(value, type) and issubclass(value, Optimizer)), SGD),
     settings=kind(lambda value: isinstance(value, Mapping), lambda: {}), options=kind(lambda value: value is None or isinstance(value,
         Mapping), None), lr=optional(POSITIVE), l2=SIZE, note=TEXT)
case("optimization.comparison.Row.optimizer", lambda: comparison.ROWS[0], lr=RATE)
case("optimization.comparison.Table", rows=sequence_of(lambda row: isinstance(row, comparison.Row), comparison.ROWS))
case("optimization.landscapes.quadratic", curvatures=VECTOR, name=TEXT)
case("optimization.landscapes.bowl", n=COUNT)
case("optimization.landscapes.taco_shell", condition=number(1, example=4.0))
case("optimization.landscapes.double_well", tilt=ANY)
case("optimization.landscapes.rosenbrock", n=count(2))
case("optimization.landscapes.logistic_regression", inputs=MATRIX,
     labels=numbers_(1, low=0, whole=True, example=lambda: [0, 1]), penalty=SIZE)
case("optimization.landscapes.noisy", landscape=instance(landscapes.Landscape, example=lambda: saddle()), sigma=SIZE, rng=RNG)
case("optimization.landscapes.Landscape", name=TEXT, n=COUNT(2), fun=FUNCTION, grad=FUNCTION, hess=FUNCTION,
     minima=numbers_(2, empty=True, example=lambda: np.ones((1, 2))))
case("optimization.landscapes.Landscape.__call__", bowl, w=numbers_(least=1, finite=False, empty=True, example=VECTOR.example))
case("optimization.minimize.minimize", fun=FUNCTION(lambda: bowl()), w0=VECTOR, optimizer=OPTIMIZER, steps=NATURAL,
     grad=optional(FUNCTION(lambda: lambda w: w)))


# practice

TABLE = array(2, "biuf", finite=True, empty=False, example=x(5, 3))
case("practice.preprocessing.AffineMap", mean=array(1, finite=True, example=lambda: np.ones(2)), matrix=array(finite=True, least=1,
     example=lambda: np.eye(2)))
case("practice.preprocessing.AffineMap.__call__", lambda: standardize(x(5, 3)()), inputs=array(dtypes="biuf", example=x(4, 3)))
for name in ("center", "standardize", "curvatures", "condition_number"):
    case(f"practice.preprocessing.{name}", inputs=TABLE)
case("practice.preprocessing.whiten", inputs=TABLE, eps=SIZE, zca=FLAG)
case("practice.initialization.fans", weights=array(dtypes="biuf", least=2, example=x(3, 2)))
for name in ("he", "lecun", "xavier"):
    case(f"practice.initialization.{name}", fan_in=COUNT, fan_out=COUNT)
case("practice.initialization.orthogonal", shape=one_of((3, 2), (1, 2)), rng=RNG, gain=SIZE)
case("practice.initialization.initialize", model=MODEL, scheme=SIZE | FUNCTION | one_of("orthogonal"), rng=RNG)
case("practice.initialization.signal", model=MODEL, x=array(dtypes="iuf", example=x(4, 3)), dout=array(example=x(4, 2)))
case("practice.initialization.wide_limit", activation=LAYER, scale=POSITIVE, depth=NATURAL, start=POSITIVE)
case("practice.initialization.root_mean_square", array=array(dtypes="biuf", example=x(3)))
case("practice.diagnostics.Monitor", model=MODEL, inputs=INPUTS)
case("practice.diagnostics.gradient_check", model=MODEL, inputs=INPUTS, targets=INPUTS(LABELS.example), loss=LOSS, rng=RNG, entries=COUNT,
     step=POSITIVE(1e-5), train=FLAG)
case("practice.diagnostics.expected_first_loss", classes=count(2), std=SIZE)
case("practice.diagnostics.overfit_batch", model=MODEL, inputs=EXAMPLES, targets=TARGETS, optimizer=OPTIMIZER, steps=NATURAL, loss=LOSS)
case("practice.diagnostics.diagnose", history=instance(History, example=lambda: History(losses=[2.5])), classes=count(2),
     validation=optional(TEXT(None)))
for name, bounds in {"Uniform": (ANY(0), ANY(1.0)), "LogUniform": (POSITIVE(0.1), POSITIVE(1.0))}.items():
    case(f"practice.search.{name}", low=bounds[0], high=bounds[1])
case("practice.search.Stepped", low=ANY(0), high=ANY(4), step=POSITIVE)
case("practice.search.Whole", axis=instance(Uniform, LogUniform, example=lambda: Uniform(1, 4)))
SPACE = mapping_of(lambda axis: isinstance(axis, Uniform | LogUniform | Whole | Choice | Stepped), lambda: {"a": Uniform(0, 1)})
VALUES = kind(lambda value: (isinstance(value, list | tuple) and len(value)) or (isinstance(value,
    np.ndarray) and value.ndim and len(value)), lambda: [1, 2])
case("practice.search.Choice", values=VALUES)
for name, make in {"Uniform": partial(Uniform, 0, 4), "LogUniform": partial(LogUniform, 1, 4), "Stepped": partial(Stepped, 0, 4, 1),
    "Whole": lambda: Whole(Uniform(1, 4)),
                   "Choice": partial(Choice, [1, 2])}.items():
    case(f"practice.search.{name}.at", make, share=number(0, 1))
    values = kind(lambda value: isinstance(value, list | tuple), lambda: [1, 2]) if name == "Choice" else numbers_(1,
        example=lambda: [1, 2])
    case(f"practice.search.{name}.narrowed", make, values=values, margin=SIZE)
case("practice.search.grid", space=SPACE, points=COUNT)
case("practice.search.draw", space=SPACE, count=COUNT, rng=RNG)
case("practice.search.best", trials=kind(lambda value: False, lambda: [Trial(0, {"a": 1}, 0.5)]), maximize=optional(FLAG))
SETTINGS = sequence_of(lambda setting: isinstance(setting, Mapping), lambda: [{"a": 1}], least=0) | ITERATOR
TASK = FUNCTION(lambda: lambda setting, rng: 0.5)
RUN = {"executor": optional(instance(Executor, example=None)), "log": optional(PATH(None)), "retry": FLAG(False), "edited": FLAG(False),
    "maximize": FLAG, "progress": optional(FLAG(False))}
case("practice.search.search", objective=TASK, settings=SETTINGS, seed=NATURAL, **RUN)
case("practice.search.coarse_to_fine", objective=TASK, space=SPACE, rounds=COUNT(1), count=COUNT, rng=RNG, keep=PART, margin=SIZE, **RUN)
case("practice.search.halving", objective=TASK, settings=SETTINGS, over=NAME("budget"),
     budgets=numbers_(1, above=0, example=lambda: [1, 2]), keep=PART, seed=NATURAL, **RUN)
case("practice.search.chance_of_top", share=number(0, 1), trials=NATURAL)
PLACES = sequence_of(count(-2, 2).accepts, [0], least=0) | array(1, "iu") | numbers_(1, empty=True, low=0, high=0) | ITERATOR
case("practice.transfer.freeze", model=MODEL(lambda: net(ReLU(), ReLU())), layers=PLACES)
case("practice.transfer.with_new_head", model=MODEL, head=LAYER, body=count(-1, 1, 0))
case("practice.transfer.features", model=MODEL(lambda: net(ReLU())), x=array(dtypes="biuf", example=x(4, 3)), body=count(-2, 2, 1))
case("measurements.measured", name=one_of("performance"))


# plots

AXES, FIGURE = instance(Axes, example=lambda: figure()[1]), instance(Drawing, example=lambda: drawn())
LIMITS = kind(lambda value: value in ((1, 2), [1.0, 2.0]) if isinstance(value,
    list | tuple) else VECTOR.accepts(value) and len(value) == 2 and value[0] < value[1], (-1, 1))


def drawn(label=None):
    fig, ax = figure()
    ax.plot([1, 2], label=label)
    return fig


case("plots.figure", ncols=COUNT, width=POSITIVE(5.0), height=POSITIVE(3.0), sharey=FLAG)
case("plots.legend", ax=AXES(lambda: drawn("a label").axes[0]), ncols=optional(COUNT))
case("plots.show", fig=FIGURE, alt=NAME, caption=NAME, play=optional(instance(Explore, Play, example=None)))
case("plots.contours", ax=AXES, landscape=FUNCTION(lambda: bowl()), xlim=LIMITS, ylim=LIMITS, levels=COUNT | numbers_(1))
case("plots.trace", ax=AXES, path=PATHS, label=NAME, every=COUNT)
case("plots.Figure", svg=TEXT, narrow=TEXT, alt=TEXT, caption=TEXT, play=optional(instance(Explore, Play, example=None)), card=TEXT)
case("plots.Figure.save", lambda: show(drawn(), alt="a", caption="b"), path=PATH("a.svg"))
PAIR = kind(lambda value: numbers_(1).accepts(value) and len(value) == 2, [1, 10])
case("plots.play.Play", rule=FUNCTION(lambda: momentum.momentum), curvatures=PAIR, start=PAIR, steps=COUNT,
     sliders=mapping_of(lambda value: False, lambda: {"lr": (0.01, 0.2, 0.1), "rho": (0, 0.9, 0.5)}), xlim=LIMITS, ylim=LIMITS,
     best=optional(mapping_of(lambda value: False, lambda: {"lr": 0.1, "rho": 0.5})))
IDENTIFIER = kind(lambda value: isinstance(value, str) and value.isidentifier(), "a_name")
NAMED = Kind((ANY | IDENTIFIER).accepts, lambda: 0.5)
SETTINGS = mapping_of(NAMED.accepts, lambda: {}, empty=True)
case("plots.programs.Slider", name=IDENTIFIER, low=ANY(1), high=ANY(3), value=ANY(2), label=TEXT, step=optional(POSITIVE), log=FLAG,
     marks=mapping_of(lambda value: IDENTIFIER.accepts(value) or (is_number(value) and 1 <= value <= 3), lambda: {"best": 2}, empty=True),
     resets=sequence_of(IDENTIFIER.accepts, ["other"], 0))
case("plots.programs.Data", name=IDENTIFIER, values=numbers_(1, finite=False, example=lambda: [1.0, 2.0]))
case("plots.programs.Compute", name=IDENTIFIER | sequence_of(IDENTIFIER.accepts, ["a"]), function=FUNCTION, reads=sequence_of(IDENTIFIER.accepts, [], 0))
case("plots.programs.Iterate", first=mapping_of(NAMED.accepts, lambda: {"w": 1}), function=FUNCTION, steps=COUNT)
case("plots.programs.Chain", first=mapping_of(NAMED.accepts, lambda: {"w": 1}), function=FUNCTION, places=COUNT, steps=COUNT, ends=PAIR,
     sums=mapping_of(lambda value: False, lambda: {}, empty=True))
case("plots.programs.Descent", name=IDENTIFIER, rule=FUNCTION(lambda: momentum.momentum) | OPTIMIZER, loss=FUNCTION(lambda: bowl()), steps=COUNT,
     start=IDENTIFIER, settings=mapping_of(lambda value: False, lambda: {"lr": 0.5}, empty=True), noise=sequence_of(lambda value: False, (), 0))
case("plots.panels.Levels", landscape=FUNCTION(lambda: bowl()), filled=FLAG, labels=sequence_of(lambda value: False, (), 0),
     levels=kind(lambda value: COUNT.accepts(value) or (numbers_(1).accepts(value) and (np.diff(value) > 0).all()), lambda: [0.5, 1.0]))
case("plots.panels.Line", x=TEXT(""), y=TEXT(""), path=NAME, label=TEXT, dots=optional(FLAG), line=FLAG, color=optional(count(0, 3)), faint=FLAG)
case("plots.panels.Mark", x=NAMED, y=one_of(None), label=TEXT)
case("plots.panels.Handle", point=NAME, x=TEXT(""), y=TEXT(""), label=TEXT)
case("plots.panels.Panel", xlim=LIMITS((1, 2)), ylim=LIMITS((1, 2)), layers=sequence_of(lambda layer: isinstance(layer, Levels | Line | Mark | Handle),
     lambda: [Mark(x=1)], 0), xlabel=TEXT, ylabel=TEXT, title=TEXT, equal=FLAG, aspect=POSITIVE, logx=FLAG, logy=FLAG, wide=FLAG)
EMPTY = Panel((0, 1), (0, 1), [])
case("plots.explore.Explore", name=kind(lambda value: isinstance(value, str) and (not value or value.isidentifier()), "figure"),
     sliders=sequence_of(lambda item: isinstance(item, Slider), lambda: [Slider("a", 0, 1, 0.5)], 0),
     points=mapping_of(PAIR.accepts, lambda: {"start": (1, 2)}, empty=True),
     programs=sequence_of(lambda item: isinstance(item, Data | Compute | Iterate | Chain | Descent), lambda: [Data("t", [1, 2])], 0),
     panels=sequence_of(lambda item: isinstance(item, Panel), lambda: [EMPTY]), readout=TEXT)
case("plots.explore.Explore.draw", lambda: Explore("a", panels=[EMPTY]), width=POSITIVE(5.0), height=optional(POSITIVE(3.0)))


# engines and arrays

case("engines.set_engine", engine=one_of(None, "blocked", "compiled"))
case("engines.threads.set_threads", threads=COUNT(1))
case("arrays.flat.flatten", params=PARAMS)
case("arrays.flat.Flat", buffer=array(1, "biuf", example=x(3)), shapes=mapping_of(lambda value: False, lambda: {"w": (3,)}))
case("arrays.flat.Flat.full_like", lambda: flatten({"w": np.ones(2)}), value=number(infinite=True))
case("engines.symbolic.latex", rule=FUNCTION(lambda: momentum.momentum))
case("engines.javascript.function", what=FUNCTION(lambda: lambda x: 2 * x))
for module in ("blocked", "compiled", "fused", "javascript", "whole"):
    case(f"engines.{module}.source", rule=FUNCTION(lambda: momentum.momentum))


# What is no part of the table, and why

WRITTEN_AS_MATHEMATICS = {f"{rule.__module__.removeprefix('reference_impl.')}.{rule.__name__}" for rule in RULES} | {"optimization.muon.muon"}
RESULTS = {"optimization.line_search.Result", "networks.run.History", "networks.run.Run", "networks.run.Batch", "practice.trials.Trial",
    "engines.tape.Tape"}
TAKES_ANYTHING = {"plots.display", "arrays.device.to_device", "arrays.device.to_host"}
TOLD_BY_A_RUN = {"rehearse", "before_fit", "before_step", "before_update", "after_step", "after_epoch", "after_fit", "load_state_dict",
    "examples", "diverged"}
WITHIN_THE_PACKAGE = {  # called with what was checked where it entered
    "arrays", "arrays.checks", "engines", "engines.blocked", "engines.compiled", "engines.fused", "engines.whole", "engines.symbolic",
    "engines.tape", "engines.threads",
    "networks.progress", "networks.run", "optimization.second_order", "optimization.optimizer", "optimization.clipping", "practice.trials",
    "plots.play", "plots.explore", "plots.panels", "plots.programs", "optimization.quasi_newton", "optimization.line_search", "networks.evaluation",
}


def public() -> dict[str, Callable[..., object]]:
    """Every function, class and method with arguments of the modules on the API's pages, and all public names, by where they are defined."""
    modules = re.findall(r"^::: reference_impl\.([\w.]+)", "\n".join(path.read_text() for path in sorted((ROOT / "docs/api").glob("*.md"))), re.M)
    found = {}
    for module in modules:
        for name, thing in vars(importlib.import_module(f"reference_impl.{module}")).items():
            if not name.startswith("_") and getattr(thing, "__module__", "") == f"reference_impl.{module}":
                found[f"{module}.{name}"] = thing
    for name in reference_impl.__all__:
        thing = getattr(reference_impl, name)
        if callable(thing) and thing.__module__.startswith("reference_impl"):
            found.setdefault(f"{thing.__module__.removeprefix('reference_impl.')}.{name}", thing)
    for owner, thing in list(found.items()):
        if isinstance(thing, type) and not getattr(thing, "_is_protocol", False):
            methods = {name: getattr(thing, name) for name in vars(thing) if not name.startswith("_") or name == "__call__"}
            found |= {f"{owner}.{name}": method for name, method in methods.items() if inspect.isroutine(method)}
    return {name: thing for name, thing in found.items() if _is_part(name, thing)}


def _is_part(name: str, thing: object) -> bool:
    if name in CASES:
        return True
    owner, _, last = name.rpartition(".")
    if isinstance(thing, type):
        if issubclass(thing, BaseException | tuple) or getattr(thing, "_is_protocol", False) or thing.__init__ in (object.__init__,
            Layer.__init__):
            return False
    elif not callable(thing) or len(_arguments(name, thing)) == 0:
        return False
    if name in WRITTEN_AS_MATHEMATICS | RESULTS | TAKES_ANYTHING or last == "rule" or owner in RESULTS:
        return False
    if last in TOLD_BY_A_RUN or name.startswith(("networks.layers.Layer.", "networks.run.Callback.")):
        return False
    return not any(owner == module or owner.rpartition(".")[0] == module for module in WITHIN_THE_PACKAGE)


def _arguments(name: str, thing: Callable[..., object]) -> list[str]:
    names = list(inspect.signature(thing).parameters)
    return names[1:] if names[:1] == ["self"] else names


PUBLIC = public()


def test_the_table_holds_every_public_callable_and_no_other():
    assert set(PUBLIC) == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_the_table_holds_every_argument(name):
    assert set(CASES[name][0]) == set(_arguments(name, PUBLIC[name]))


def called(name: str, given: Mapping[str, object], owner: object) -> object:
    thing = getattr(owner, name.rpartition(".")[2]) if owner is not None else PUBLIC[name]
    signature = inspect.signature(thing)
    rest = [parameter.name for parameter in signature.parameters.values() if parameter.kind is parameter.VAR_POSITIONAL]
    arguments = inspect.BoundArguments(signature, {key: (given[key],) if key in rest else given[key] for key in signature.parameters})
    return thing(*arguments.args, **arguments.kwargs)


def state(thing: object, seen: tuple[int, ...] = ()) -> object:
    """All that could be changed of a thing, so that two states compare equal only where nothing was."""
    if id(thing) in seen or isinstance(thing, type | Axes | Drawing) or inspect.isroutine(thing) or inspect.ismodule(thing):
        return id(thing)
    seen = (*seen, id(thing))
    if isinstance(thing, np.ndarray):
        return thing.dtype.str, thing.shape, str(thing.tolist())
    if isinstance(thing, np.random.Generator | np.random.BitGenerator):
        return str(getattr(thing, "bit_generator", thing).state)
    if isinstance(thing, Mapping):
        return [(key, state(value, seen)) for key, value in thing.items()]
    if isinstance(thing, list | tuple):
        return [state(value, seen) for value in thing]
    if hasattr(thing, "__dict__"):
        return [(key, state(value, seen)) for key, value in vars(thing).items()]
    return type(thing), repr(thing)


def told_well(error: Exception, name: str, value: object) -> bool:
    """Whether a message names the argument, says what it must be, and shows the value, or what of it is at fault."""
    said = str(error)
    return bool(re.search(rf"\b{name}\b", said)) and " must " in said and "got " in said and any(text[:40] in said for text in parts(value))


def parts(value: object) -> list[str]:
    """A value, or what tells it: its type, its elements, its keys, its length or its shape."""
    found = [repr(value), str(value), type(value).__name__, "none", "one of"]
    if isinstance(value, np.ndarray):
        found += [str(value.shape), str(value.dtype), "nan", str(value.shape[0] if value.ndim else ""), *map(repr, value.ravel()),
            *(map(repr, value) if value.ndim else [])]
    elif isinstance(value, Sequence | Mapping | set):
        inside = list(value.values() if isinstance(value, Mapping) else value)
        found += [*map(repr, inside), *(type(item).__name__ for item in inside), str(list(value)), str(len(value)), *map(repr, value)]
    elif is_number(value):
        found += ["()", "nan", "inf"]
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def given_to(name: str) -> tuple[dict[str, object], object]:
    kinds, on = CASES[name]
    return {key: kind.example() for key, kind in kinds.items()}, None if on is None else on()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_what_is_right_is_taken(name, folder):
    called(name, *given_to(name))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "argument"), [(name, argument) for name, (kinds, _) in CASES.items() for argument in kinds])
def test_what_is_wrong_is_refused_by_name_and_changes_nothing(name, argument, folder):
    kind, faults = CASES[name][0][argument], []
    given, owner = given_to(name)
    before, files = state([given, owner]), sorted(os.listdir())
    for described, value in POOL.items():
        if kind.accepts(value):
            continue
        was = state(value)
        try:
            called(name, given | {argument: value}, owner)
        except (TypeError, ValueError) as error:
            if not told_well(error, argument, value):
                faults.append(f"{described}: said badly: {type(error).__name__}: {error}")
        except Exception as error:
            faults.append(f"{described}: {type(error).__name__}: {error}")
        else:
            faults.append(f"{described}: taken")
        if state([given, owner]) != before or state(value) != was or sorted(os.listdir()) != files:
            faults.append(f"{described}: changed something")
            given, owner = given_to(name)
            before, files = state([given, owner]), sorted(os.listdir())
    assert not faults, f"{name}({argument}=…):\n" + "\n".join(faults)
