"""The whole package on a GPU's arrays: the same calls give the same numbers, and they lie where the arguments lay."""

import copy
import math
import sys
from functools import partial

import device
import numpy as np
import pytest
from rules import OPTIMIZERS

from reference_impl import (
    L1,
    L2,
    SGD,
    Adam,
    AdamW,
    Affine,
    Augment,
    BatchNorm,
    Callback,
    Checkpoint,
    ColorPCA,
    Conv2D,
    Diverged,
    Dropout,
    EarlyStopping,
    Evaluate,
    Flatten,
    Groups,
    MaxNorm,
    MaxPool2D,
    Momentum,
    Monitor,
    Muon,
    ProximalL1,
    ReLU,
    Sequential,
    Sigmoid,
    Snapshots,
    Tanh,
    WeightAverage,
    accuracy,
    ambiguity,
    arrays,
    beale,
    bfgs,
    booth,
    bowl,
    center,
    clip_value,
    compose,
    double_well,
    ema,
    evaluate,
    fit,
    flatten,
    flip,
    freeze,
    gauss_newton,
    gradient_check,
    himmelblau,
    initialize,
    lbfgs,
    levenberg_marquardt,
    log_softmax,
    mean_squared_error,
    minimize,
    newton,
    newton_cg,
    noisy,
    polyak_average,
    quadratic,
    random_brightness,
    random_contrast,
    random_crop,
    random_flip,
    random_scale_crop,
    rosenbrock,
    softmax_cross_entropy,
    softmax_regression,
    standardize,
    ten_crop,
    to_device,
    to_host,
    train,
    warmup,
    whiten,
    with_new_head,
)
from reference_impl.generalization.augmentation import average_views
from reference_impl.generalization.dropout import dropout_ridge, monte_carlo
from reference_impl.generalization.ensembles import average
from reference_impl.generalization.weight_decay import clip_norm, shrinkage, soft_threshold
from reference_impl.optimization.clipping import clip_norm as clip_gradients_to_norm
from reference_impl.optimization.gauss_newton import fisher, kronecker_step
from reference_impl.optimization.landscapes import logistic_regression
from reference_impl.optimization.newton import conjugate_gradient, hessp_from, trust_region_step
from reference_impl.practice.diagnostics import overfit_batch
from reference_impl.practice.initialization import he, signal
from reference_impl.practice.preprocessing import condition_number, curvatures
from reference_impl.practice.transfer import features


def here(x):
    """What `to_device` is on the other side: a copy."""
    return copy.deepcopy(x)


def normal(*shape, dtype="f8", seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def labels(count, classes=3):
    return np.random.default_rng(1).integers(0, classes, count)


def images(count=4, side=6, channels=2, dtype="f8"):
    return normal(count, side, side, channels, dtype=dtype)


def net(dtype="f8", seed=0):
    rng = np.random.default_rng(seed)
    # No bias before batch norm: its gradient is 0 but for rounding, and Adam would make a step of that.
    layers = Conv2D(2, 4, 3, pad=1, rng=rng, bias=False, dtype=dtype), BatchNorm(4, dtype=dtype), ReLU(), MaxPool2D(2), Flatten(), Dropout(0.8)
    return Sequential(*layers, Affine(36, 3, rng=rng, dtype=dtype))


def assert_same(got, want, tolerance):
    """Equal numbers in equal structures, to the last bit where `tolerance` is 0."""
    assert type(got) is type(want) or {type(got), type(want)} <= {float, np.float64}, (type(got), type(want))
    if isinstance(want, dict):
        assert got.keys() == want.keys()
        got, want = [got[key] for key in want], list(want.values())
    if isinstance(want, list | tuple):
        assert len(got) == len(want)
        for one, other in zip(got, want):
            assert_same(one, other, tolerance)
    elif isinstance(want, np.ndarray) and want.dtype.kind == "f":
        assert got.dtype == want.dtype and got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)
    elif isinstance(want, float):
        assert got == want or (math.isnan(got) and math.isnan(want)) or (tolerance and math.isclose(got, want, rel_tol=1e-3, abs_tol=1e-6))
    else:
        np.testing.assert_array_equal(got, want)


def found_arrays(x):
    if isinstance(x, dict | list | tuple):
        return [a for item in (x.values() if isinstance(x, dict) else x) for a in found_arrays(item)]
    return [x] if hasattr(x, "dtype") and not isinstance(x, np.generic) else []


def assert_agree(got, want, cupy):
    """Here and there: the same bits on the stand-in; on a GPU, to rounding, as sums are done in another order there."""
    got, want = to_host(got), to_host(want)
    # A float64 average of float32 weights is no more exact than they are.
    rounding = 1e-3 if any(a.dtype == np.float32 for a in found_arrays(want)) else 1e-7
    assert_same(got, want, tolerance=0 if cupy is device.cupy else rounding)


def compare(case, cupy):
    """Run a case here and there. It takes the way to its side, and returns arrays of that side and numbers."""
    want, got = case(here), case(to_device)
    strays = [a for a in found_arrays(got) if not isinstance(a, cupy.ndarray)]
    assert not strays, strays
    assert_agree(got, want, cupy)


# --- layers and losses ------------------------------------------------------------------------------------------------------------


def rng0():
    return np.random.default_rng(0)


LAYERS = {
    "affine": (lambda dtype: Affine(5, 4, rng=rng0(), dtype=dtype), (7, 5)),
    "affine without bias": (lambda dtype: Affine(5, 4, rng=rng0(), dtype=dtype, bias=False), (7, 5)),
    "convolution": (lambda dtype: Conv2D(2, 3, 3, rng=rng0(), stride=2, pad=1, dtype=dtype), (3, 6, 5, 2)),
    "convolution, unpadded": (lambda dtype: Conv2D(2, 3, 2, rng=rng0(), dtype=dtype), (3, 6, 5, 2)),
    "pool": (lambda dtype: MaxPool2D(2), (3, 6, 5, 2)),
    "pool, overlapping": (lambda dtype: MaxPool2D(3, stride=1), (3, 6, 5, 2)),
    "flatten": (lambda dtype: Flatten(), (3, 4, 5, 2)),
    "relu": (lambda dtype: ReLU(), (7, 5)),
    "tanh": (lambda dtype: Tanh(), (7, 5)),
    "sigmoid": (lambda dtype: Sigmoid(), (7, 5)),
    "dropout": (lambda dtype: Dropout(0.7), (7, 5)),
    "dropout, original": (lambda dtype: Dropout(0.7, inverted=False), (7, 5)),
    "batch norm": (lambda dtype: BatchNorm(5, dtype=dtype), (7, 5)),
    "batch norm of images": (lambda dtype: BatchNorm.pytorch(2, dtype=dtype), (3, 4, 5, 2)),
}


@pytest.mark.parametrize("train", [True, False], ids=["training", "test"])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer(kind, dtype, train, cupy):
    make, shape = LAYERS[kind]

    def case(move):
        layer, x = move(make(dtype)), move(normal(*shape, dtype=dtype))
        outs = []
        for _ in range(2):
            out = layer.forward(x, train=train, rng=rng0())
            outs += [out, layer.backward(move(normal(*out.shape, dtype=dtype, seed=1)))]
        return outs, layer.params, dict(layer.grads), dict(layer.buffers)

    compare(case, cupy)


def test_a_batch_that_is_not_finite_leaves_batch_norms_statistics(cupy):
    def case(move):
        layer, x = move(BatchNorm(3)), normal(5, 3)
        x[1, 1] = np.nan
        return layer.forward(move(x), train=True), layer.buffers

    compare(case, cupy)


def scores(move):
    return move(normal(9, 3)), move(labels(9))


LOSSES = {
    "log softmax": lambda move: log_softmax(scores(move)[0]),
    "cross-entropy": lambda move: softmax_cross_entropy(*scores(move)),
    "accuracy": lambda move: accuracy(*scores(move)),
    "mean squared error": lambda move: mean_squared_error(move(normal(4, 2, dtype="f4")), move(normal(4, 2, dtype="f4", seed=1))),
    "softmax regression": lambda move: softmax_regression(move({"W": normal(5, 3), "b": normal(3)}), move(normal(9, 5)), move(labels(9))),
}


# --- training ---------------------------------------------------------------------------------------------------------------------


class Averages(Callback):
    """A user's callback with an array of its own."""

    def __init__(self):
        self.total = None

    def after_step(self, run):
        g = run.model.grads["0.W"]
        self.total = g.copy() if self.total is None else self.total + g

    def state_dict(self):
        return {} if self.total is None else {"total": self.total}

    def load_state_dict(self, saved):
        self.total = saved.get("total")


def callbacks_for(model, x):
    return [EarlyStopping("validation_loss", patience=9), WeightAverage(decay=0.9), Snapshots(every=3), Monitor(model, x), MaxNorm(1.5),
            ProximalL1(1e-3), Averages()]


def training(move, dtype="f4", optimizer=None, more=(), **options):
    """A run with all that there is, and all that it leaves behind."""
    model, x, y = move(net(dtype)), move(images(10, dtype=dtype)), move(labels(10))
    optimizer = AdamW(lr=warmup(2, 0.01)) if optimizer is None else optimizer
    callbacks = callbacks_for(model, x)
    augment = compose(random_flip, partial(random_crop, size=6, pad=1), partial(random_brightness, strength=0.1))
    history = fit(model, x, y, optimizer, rng=np.random.default_rng(3), batch_size=4,
                  callbacks=[L2(1e-2), Augment(augment), Evaluate({"validation": (x[:5], y[:5])}), *callbacks, *more], **options)
    states = [part.state_dict() for part in (model, optimizer, *callbacks)]
    kept = [{key: value for key, value in state.items() if getattr(value, "ndim", 0)} for state in states]
    return kept, history.losses, history.epochs, average(callbacks[2].models(model), x), callbacks[1].model(model).forward(x)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_fit(dtype, cupy):
    compare(lambda move: training(move, dtype, epochs=3), cupy)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_fit_with_every_optimizer(kind, cupy):
    compare(lambda move: training(move, optimizer=OPTIMIZERS[kind](), epochs=1), cupy)


def test_a_resumed_run_is_the_same_run(cupy, tmp_path):
    whole = training(to_device, epochs=2)
    training(to_device, epochs=1, more=[Checkpoint(tmp_path / "run")])
    resumed = training(to_device, epochs=2, more=[Checkpoint(tmp_path / "run", resume=True)])
    assert_agree(resumed, whole, cupy)
    assert all(isinstance(a, cupy.ndarray) for a in found_arrays(resumed[0]))


@pytest.mark.parametrize("first", [here, to_device], ids=["from here", "from there"])
def test_a_run_can_change_sides(first, cupy, tmp_path):
    second = here if first is to_device else to_device
    training(first, epochs=1, more=[Checkpoint(tmp_path / "run")])
    resumed = training(second, epochs=2, more=[Checkpoint(tmp_path / "run", resume=True)])
    assert_agree(resumed, training(here, epochs=2), cupy)


def test_a_run_that_diverges_says_where(cupy):
    model = to_device(net())
    model.params["6.W"][0, 1] = math.nan
    with pytest.raises(Diverged, match=r"first in layer 6 \(Affine\), W"):
        fit(model, to_device(images()), to_device(labels(4)), SGD(lr=0.1), epochs=1, rng=rng0())


def test_a_checkpoint_of_a_model_that_is_not_finite_is_refused(cupy, tmp_path):
    model = to_device(net())
    model.params["6.W"][0, 1] = math.inf
    with pytest.raises(Diverged, match=r"layer 6 \(Affine\), W"):
        fit(model, to_device(images()), to_device(labels(4)), SGD(lr=0.1), epochs=0, rng=rng0(), callbacks=[Checkpoint(tmp_path / "run")])


@pytest.mark.parametrize("joined", [dict, flatten], ids=["dict", "flat"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimizer(kind, joined, cupy):
    def case(move):
        optimizer = OPTIMIZERS[kind]()
        params = joined(move({"W": normal(4, 3, dtype="f4"), "b": normal(3, dtype="f4"), "0-d": np.array(1.5, "f4"), "F": np.asfortranarray(normal(2, 3, dtype="f4"))}))
        for seed in range(4):
            grads = move({key: normal(*w.shape, dtype="f4", seed=seed) if w.ndim else np.array(0.5, "f4") for key, w in params.items()})
            if seed == 2:
                saved, optimizer = optimizer.state_dict(), OPTIMIZERS[kind]()
                optimizer.load_state_dict(saved)
            optimizer.update(params, grads)
        return dict(params), [dict(of) for of in optimizer.state.values()]

    compare(case, cupy)


OPTIMIZERS_OF_MANY = {
    "groups": lambda: Groups({"*.b": AdamW(lr=0.1), "0.*": Muon(lr=0.02), "*": Momentum(lr=0.1)}, clip_norm=1.0),
    "clipped": lambda: Adam(lr=0.1, clip_norm=1.0, clip_value=0.3),
    "Muon": lambda: Groups({"*W": Muon(lr=0.02, clip_value=0.5), "*": SGD()}),
}


@pytest.mark.parametrize("kind", OPTIMIZERS_OF_MANY)
def test_groups_clipping_and_parameters_that_come_and_go(kind, cupy):
    def case(move):
        optimizer = OPTIMIZERS_OF_MANY[kind]()
        params = move({"0.W": normal(4, 3, dtype="f4"), "0.b": normal(3, dtype="f4"), "1.W": normal(3, 2, dtype="f4"), "1.b": normal(2, dtype="f4")})
        for seed, keys in enumerate(["0.W 0.b", "0.W 0.b 1.W 1.b", "1.W 1.b", "0.W 0.b 1.W 1.b"]):
            now = {key: params[key] for key in keys.split()}
            optimizer.update(now, move({key: 3 * normal(*w.shape, dtype="f4", seed=seed) for key, w in now.items()}))
            if seed == 1:
                saved, optimizer = optimizer.state_dict(), OPTIMIZERS_OF_MANY[kind]()
                optimizer.load_state_dict(saved)
            if seed == 2:
                optimizer = move(optimizer) if move is here else to_device(optimizer)
        return params, [dict(of) for of in optimizer.state.values()]

    compare(case, cupy)


@pytest.mark.parametrize("clip", [clip_gradients_to_norm, clip_value])
def test_gradients_are_clipped_where_they_lie(clip, cupy):
    compare(lambda move: clip(move({"W": normal(4, 3, dtype="f4"), "b": normal(3)}), 0.5), cupy)


def test_squares_that_leave_the_dtype_are_seen_there_too(cupy):
    for g, eps, says in (([1.0, 1e20], 1e-8, "must leave the state of adam within float32, got .* at index \\(1,\\)"),
                         ([1e-25, 1.0], 0.0, "must have a square that does not vanish in float32 where eps is 0")):
        optimizer, params = Adam(eps=eps), to_device({"w": np.ones(2, "f4")})
        with pytest.raises(ValueError, match=says):
            optimizer.update(params, to_device({"w": np.array(g, "f4")}))
        assert optimizer.steps == 0 and params["w"].tolist() == [1, 1]


def test_an_optimizer_does_not_change_sides_by_itself(cupy):
    optimizer = Momentum()
    optimizer.update({"w": np.ones(2)}, {"w": np.ones(2)})
    with pytest.raises(TypeError, match=r"params\['w'\] must be an array of numpy as its state is, got one of"):
        optimizer.update(to_device({"w": np.ones(2)}), to_device({"w": np.ones(2)}))


def test_an_optimizer_refuses_what_does_not_fit(cupy):
    params, nan = to_device({"w": np.ones(2)}), to_device({"w": np.array([1.0, np.nan])})
    for grads, error, says in [
        (nan, ValueError, r"grads\['w'\] must be finite, got nan at index \(1,\)"),
        ({"w": np.ones(2)}, TypeError, "must be an array of"),
        (params, ValueError, "must not share memory"),
        (to_device({"w": np.ones(2, "f4")}), TypeError, "must have the dtype float64"),
    ]:
        with pytest.raises(error, match=says):
            Momentum().update(params, grads)
    with pytest.raises(ValueError, match="eps must not vanish in float32"):
        Adam(eps=1e-60).update(to_device({"w": np.ones(2, "f2")}), to_device({"w": np.ones(2, "f2")}))
    with pytest.raises(TypeError, match="float16, float32 or float64"):
        SGD().update(to_device({"w": np.arange(2)}), to_device({"w": np.arange(2)}))
    assert params["w"].tolist() == [1, 1]


# --- the rest, a line each --------------------------------------------------------------------------------------------------------


def moved_batch(move, dtype="f8"):
    return move(images(5, side=7, dtype=dtype))


AUGMENTATIONS = {
    "flip": lambda x: flip(x),
    "random flip": lambda x: random_flip(x, rng0()),
    "crop": lambda x: random_crop(x, rng0(), size=(5, 4), pad=2),
    "scale": lambda x: random_scale_crop(x, rng0(), size=5, low=0.9, high=1.4, pad=0.5),
    "ten": lambda x: ten_crop(x, size=4),
    "views": lambda x: average_views(lambda views: views.reshape(len(views), -1), ten_crop(x, size=4)),
    "brightness": lambda x: random_brightness(x, rng0(), strength=0.3),
    "contrast": lambda x: random_contrast(x, rng0(), strength=0.3),
    "colours": lambda x: ColorPCA(np.array([4.0, 1.0]), np.array([[0.6, 0.8], [0.8, -0.6]])).jitter(x, rng0()),
}


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_an_augmentation(kind, dtype, cupy):
    compare(lambda move: AUGMENTATIONS[kind](moved_batch(move, dtype)), cupy)


LANDSCAPES = {
    "quadratic": lambda move: quadratic([1.0, 4.0]), "quadratic there": lambda move: quadratic(move(np.array([1.0, 4.0]))), "bowl": lambda move: bowl(),
    "double well": lambda move: double_well(0.1), "rosenbrock": lambda move: rosenbrock(), "rosenbrock of 5": lambda move: rosenbrock(5),
    "beale": lambda move: beale(), "himmelblau": lambda move: himmelblau(), "booth": lambda move: booth(),
    "logistic": lambda move: logistic_regression(move(normal(6, 2)), move(labels(6)), penalty=0.1),
    "noisy": lambda move: noisy(rosenbrock(), 0.1, rng0()),
}


@pytest.mark.parametrize("kind", LANDSCAPES)
def test_a_landscape(kind, cupy):
    def case(move):
        landscape = LANDSCAPES[kind](move)
        w = move(normal(3, 2, landscape.n))
        path = minimize(landscape, w[0, 0], Momentum(lr=1e-3), steps=5)
        return landscape(w), landscape.grad(w), landscape.hess(w), path, polyak_average(path.path), ema(path.path, 0.5)

    compare(case, cupy)


def valley(move):
    return rosenbrock(), move(np.array([-1.2, 1.0]))


def found(result):
    return result.x, result.fun, result.success, result.message.split(":")[0], str(result).partition(":")[0]


def both(w):
    """Loss and gradient at once."""
    return rosenbrock()(w), rosenbrock().grad(w)


def singular(move):
    return newton(lambda w: w[0] ** 2 + 0 * w[1], move(np.array([1.0, 1.0])), lambda w: w * move(np.array([2.0, 0.0])),
                  lambda w: move(np.diag([2.0, 0.0])), method="line search")


def squares(move, solver):
    """Least squares whose residuals bend, on the side of w."""
    a, b = move(normal(6, 2)), move(normal(6, seed=1))
    return solver(lambda w: a @ w + 0.1 * (a @ w) ** 2 - b, move(np.array([1.0, -1.0])), lambda w: a * (1 + 0.2 * (a @ w))[:, None])


MINIMISERS = {
    "gauss_newton": lambda move: squares(move, gauss_newton),
    "levenberg_marquardt": lambda move: squares(move, levenberg_marquardt),
    "bfgs": lambda move: bfgs(valley(move)[0], valley(move)[1], rosenbrock().grad),
    "lbfgs": lambda move: lbfgs(rosenbrock(20), move(np.zeros(20)), rosenbrock(20).grad, memory=4),
    "lbfgs, both at once": lambda move: lbfgs(both, valley(move)[1], True),
    "lbfgs, a saddle": lambda move: lbfgs(lambda w: w[0] ** 2 - w[1] ** 2, move(np.array([1.0, 0.0])), lambda w: w * move(np.array([2.0, -2.0]))),
    "newton": lambda move: newton(*valley(move), rosenbrock().grad, rosenbrock().hess),
    "newton, pure": lambda move: newton(*valley(move), rosenbrock().grad, rosenbrock().hess, method="pure"),
    "newton, indefinite": lambda move: newton(himmelblau(), move(np.zeros(2)), himmelblau().grad, himmelblau().hess),
    "newton, singular": singular,
    "newton, trust region": lambda move: newton(himmelblau(), move(np.zeros(2)), himmelblau().grad, himmelblau().hess, method="trust region"),
    "newton_cg": lambda move: newton_cg(*valley(move), rosenbrock().grad, hessp_from(rosenbrock().grad)),
}


@pytest.mark.parametrize("kind", MINIMISERS)
def test_a_minimiser(kind, cupy):
    compare(lambda move: found(MINIMISERS[kind](move)), cupy)


def fitted(step, x):
    return step.mean, step.matrix, step(x)


def whitened(x):
    """What does not hang on the signs of eigenvectors, which are anyone's choice."""
    step = whiten(x)
    return step.mean, abs(step.matrix), step(x) @ step(x).T


def spread(move):
    x = normal(30, 4)
    x[:, 2] = 7  # a constant feature
    return move(x)


def shaken(move, scheme):
    model = move(net("f4"))
    initialize(model, scheme, rng0())
    return model.params


def loop(move):
    params = move({"W": np.zeros((4, 3)), "b": np.zeros(3)})
    return params, train(softmax_regression, params, move(normal(20, 4)), move(labels(20)), SGD(lr=0.1), epochs=2, batch_size=6, rng=rng0())


def transferred(move):
    model, x = move(net()), move(images())
    freeze(model, range(2))
    other = with_new_head(model, move(Affine(36, 2, rng=rng0())))
    return list(model.params.values()), features(model, x), other.forward(x)


def checked(move):
    model = move(Sequential(Affine(3, 4, rng=rng0()), Tanh(), Affine(4, 3, rng=rng0())))
    errors, kinks = gradient_check(model, move(normal(5, 3)), move(labels(5)), rng=rng0())
    return model.params, kinks, max(errors.values()) < 1e-6


SINGLE = LOSSES | {
    "center": lambda move: fitted(center(spread(move)), spread(move)),
    "standardize": lambda move: fitted(standardize(spread(move)), spread(move)),
    "standardize, float32": lambda move: fitted(standardize(spread(move).astype("f4")), spread(move).astype("f4")),
    "whiten": lambda move: whitened(move(normal(30, 4))),
    "zca": lambda move: fitted(whiten(spread(move), eps=0.1, zca=True), spread(move)),
    "curvatures": lambda move: curvatures(spread(move)),
    "condition number": lambda move: condition_number(move(normal(30, 4))),
    "ambiguity": lambda move: tuple(ambiguity(move(normal(3, 5)), move(normal(5)))),
    "ambiguity, weighted": lambda move: tuple(ambiguity(move(normal(3, 5)), move(normal(5)), [1.0, 2.0, 3.0])),
    "average": lambda move: average([move(net(seed=i)) for i in range(2)], move(images())),
    "monte carlo": lambda move: tuple(monte_carlo(move(net()), move(images()), 3, rng0())),
    "trust region step": lambda move: trust_region_step(move(np.array([1.0, 2.0])), move(np.diag([3.0, -1.0])), 0.5)[0],
    "fisher": lambda move: fisher(move(normal(5, 3, 4)), move(np.full((5, 3), 1 / 3))),
    "kronecker step": lambda move: kronecker_step(move(normal(2, 3)), move(np.diag([1.0, 2.0])), move(np.eye(3)), 0.1),
    "dropout ridge": lambda move: dropout_ridge(move(normal(9, 3)), move(normal(9)), keep=0.5),
    "soft threshold": lambda move: soft_threshold(move(normal(9, dtype="f4")), 0.5),
    "soft threshold, each": lambda move: soft_threshold(move(normal(9)), move(abs(normal(9, seed=1)))),
    "clip norm": lambda move: clip_norm(move(normal(4, 3, dtype="f4")), 1.0, axis=0),
    "clip norm of a vector": lambda move: clip_norm(move(normal(4)), 1.0, axis=()),
    "shrinkage": lambda move: shrinkage(move(abs(normal(4))), 0.1),
    "L1": lambda move: (L1(0.1)(move({"W": normal(3)}), grads := move({"W": normal(3, seed=1)})), grads),
    "he": lambda move: shaken(move, he),
    "orthogonal": lambda move: shaken(move, "orthogonal"),
    "conjugate gradients": lambda move: conjugate_gradient(lambda d: d * move(np.array([1.0, 2.0])), move(np.ones(2))).x,
    "train": loop,
    "evaluate": lambda move: evaluate(move(net()), move(images()), move(labels(4))),
    "transfer": transferred,
    "gradient check": checked,
}


@pytest.mark.parametrize("kind", SINGLE)
def test_a_function(kind, cupy):
    compare(SINGLE[kind], cupy)


def test_measurements_are_numbers_in_main_memory(cupy):
    def case(move):
        losses = overfit_batch(move(net()), move(images()), move(labels(4)), SGD(lr=0.1), steps=3)
        model = move(Sequential(Affine(3, 4, rng=rng0()), ReLU(), Affine(4, 2, rng=rng0())))
        colours = ColorPCA.fit(move(images()))
        return losses, tuple(signal(model, move(normal(5, 3)), move(normal(5, 2)))), colours.values, abs(colours.vectors)

    assert_agree(case(to_device), case(here), cupy)


# --- there and back ---------------------------------------------------------------------------------------------------------------


def test_what_is_moved_is_a_copy(cupy):
    a = np.asfortranarray(normal(2, 3))
    there = to_device({"a": a, "again": a, "list": [a, "text", None, 3], "pair": (a, labels(2))})
    assert isinstance(there["a"], cupy.ndarray) and there["a"].flags.f_contiguous and there["a"] is there["again"] is there["list"][0]
    assert there["list"][1:] == ["text", None, 3] and isinstance(there["pair"], tuple)
    once_more = to_device(there)
    there["a"][0, 0] = 9.0
    assert a[0, 0] != 9 and float(once_more["a"][0, 0]) != 9
    back = to_host(there)
    assert type(back["a"]) is np.ndarray and back["a"].flags.f_contiguous and back["a"][0, 0] == 9 and back["a"] is back["again"]
    host = to_host(back)
    host["a"][0, 1] = 7.0
    assert back["a"][0, 1] != 7


def test_a_model_is_moved_with_all_that_it_holds(cupy):
    model, rng = net(), np.random.default_rng(0)
    model.layers[0].frozen = True
    model.forward(images(), train=True, rng=rng)
    there = to_device(model)
    assert not set(map(id, there.layers)) & set(map(id, model.layers)) and there.layers[0].frozen and there.layers[1].keep == 0.9
    for group in ("params", "grads", "buffers"):
        ours, theirs = getattr(model, group), getattr(there, group)
        assert ours.keys() == theirs.keys() and all(isinstance(a, cupy.ndarray) for a in theirs.values())
        assert all(type(a) is np.ndarray for a in ours.values())
    there.backward(to_device(np.ones((4, 3))))  # the forward pass moved too
    assert_same(to_host(there).state_dict(), model.state_dict(), tolerance=0)


def test_an_optimizer_and_a_flat_dict_are_moved(cupy):
    params, optimizer = flatten({"W": normal(3, 2), "b": normal(2)}), Adam(lr=lambda step: 0.1)
    optimizer.update(params, params.full_like(1.0))
    there, its = to_device((params, optimizer))
    for p, o in ((params, optimizer), (there, its)):
        o.update(p, p.full_like(0.5))
    there["b"][...] = 5.0
    assert isinstance(there.buffer, cupy.ndarray) and there.buffer.tolist()[-2:] == [5, 5]
    assert_agree(there["W"], params["W"], cupy)
    assert its.steps == optimizer.steps == 2 and its.lr is optimizer.lr


def test_a_model_takes_weights_from_main_memory(cupy):
    saved, there = net(seed=1).state_dict(), to_device(net())
    there.load_state_dict(saved)
    assert_same(to_host(there.state_dict()), saved, tolerance=0)


def test_a_failure_of_linear_algebra_is_an_error(cupy):
    with arrays.linalg_errors(to_device(np.eye(2))), pytest.raises(np.linalg.LinAlgError):
        np.linalg.cholesky(to_device(-np.eye(2)))


def test_without_cupy_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ModuleNotFoundError, match=r'to_device needs CuPy: pip install "cupy-cuda13x\[ctk\]"'):
        to_device(np.zeros(2))
    assert to_host(np.zeros(2)).tolist() == [0, 0]
