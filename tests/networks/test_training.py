"""Training: what a run is, what its history holds and its callbacks are told, when it stops early; evaluating; what is refused."""

import math
import os
import sys
import warnings

import numpy as np
import pytest
from runs import STEPS, Life, X, Y, network

from reference_impl import (
    L2,
    SGD,
    Adam,
    Affine,
    Augment,
    BatchNorm,
    Callback,
    Checkpoint,
    EarlyStopping,
    Evaluate,
    Groups,
    History,
    Layer,
    MaxNorm,
    Momentum,
    Monitor,
    Progress,
    ProximalL1,
    ReLU,
    Sequential,
    Snapshots,
    WeightAverage,
    accuracy,
    digits,
    evaluate,
    fit,
    mean_squared_error,
    multiclass_hinge,
    predict,
    softmax_cross_entropy,
)
from reference_impl.networks.evaluation import check_finite, check_loss

# What a run is


def plain(model, optimizer, *, epochs, rng, batch_size):
    """The loop in its shortest form."""
    losses = []
    for _ in range(epochs):
        order = rng.permutation(len(X))
        for first in range(0, len(X), batch_size):
            batch = order[first:first + batch_size]
            value, dout = softmax_cross_entropy(model.forward(X[batch], train=True, rng=rng), Y[batch])
            model.backward(dout)
            optimizer.update(model.params, model.grads)
            losses.append(value)
    return losses


@pytest.mark.parametrize("batch_size", [1, 3, 4, 5, 10, 11])
def test_it_is_the_plain_loop(batch_size):
    ours, theirs = network(), network()
    history = fit(ours, X, Y, Adam(lr=0.1), epochs=3, rng=np.random.default_rng(0), batch_size=batch_size)
    losses = plain(theirs, Adam(lr=0.1), epochs=3, rng=np.random.default_rng(0), batch_size=batch_size)
    steps = -(-10 // batch_size)
    assert history.losses == losses and len(losses) == 3 * steps
    np.testing.assert_allclose(history["loss"], np.reshape(losses, (3, steps)).mean(axis=1), rtol=1e-15)
    for key, w in ours.params.items():
        np.testing.assert_array_equal(w, theirs.params[key])


def test_the_columns_of_the_history():
    def names(*callbacks):
        return [*fit(network(), X, Y, SGD(lr=0.1), epochs=2, rng=np.random.default_rng(0), callbacks=callbacks).epochs[-1]]

    def error_rate(scores, labels):
        return 1 - accuracy(scores, labels)

    sets = {"validation": (X[:4], Y[:4]), "test": (X[4:], Y[4:])}
    assert names() == ["loss"]
    assert names(Evaluate(sets)) == ["loss", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy"]
    assert names(Evaluate(sets, metric=None)) == ["loss", "validation_loss", "test_loss"]
    assert names(Evaluate({"test": (X, Y)}, metric=error_rate)) == ["loss", "test_loss", "test_error_rate"]


def test_the_columns_are_what_evaluate_finds_after_the_epoch():
    model, found = network(), []

    class Look(Callback):
        def after_epoch(self, run):
            found.append(evaluate(run.model, X[:7], Y[:7]))

    history = fit(model, X, Y, SGD(lr=0.1), epochs=3, rng=np.random.default_rng(0),
                  callbacks=[Evaluate({"test": (X[:7], Y[:7])}), Look()])
    assert history["test_loss"].tolist() == [row["loss"] for row in found]
    assert history["test_accuracy"].tolist() == [row["accuracy"] for row in found]
    assert all(type(value) is float for row in history.epochs for value in row.values())


def test_a_column_that_is_not_there_is_refused():
    with pytest.raises(KeyError, match=r"column must be one of \['loss', 'test_loss'\], got 'accuracy'"):
        History(epochs=[{"loss": 1.0, "test_loss": 2.0}])["accuracy"]
    with pytest.raises(KeyError, match=r"column must be one of \[\], got 'loss'"):
        History()["loss"]


def test_history_and_bytes_are_the_same_in_every_run():
    assert Life().fit() == Life().fit()
    assert Life().fit() != Life("MT19937").fit()


def test_no_epochs_change_nothing(tmp_path):
    life = Life()
    before = life.state()
    history, after = life.fit(tmp_path / "run", epochs=0)
    assert after == before and history == History()


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 1000])
@pytest.mark.parametrize("loss", [softmax_cross_entropy, mean_squared_error])
def test_evaluating_in_batches_is_evaluating_at_once(batch_size, loss):
    model = network()
    targets = Y if loss is softmax_cross_entropy else X
    found = evaluate(model, X, targets, loss=loss, metric=None if loss is mean_squared_error else accuracy, batch_size=batch_size)
    outputs = model.forward(X)
    expected = {"loss": loss(outputs, targets)[0]} | ({"accuracy": accuracy(outputs, Y)} if loss is softmax_cross_entropy else {})
    assert found == pytest.approx(expected, rel=1e-14)


def test_evaluating_leaves_the_model_as_it_is():
    life = Life()
    before = life.state()
    evaluate(life.model, X, Y)
    assert life.state() == before


def test_the_penalty_is_in_the_loss_and_in_the_gradient():
    ours, theirs = network(), network()

    class Ridge(Callback):
        def before_update(self, run):
            for key, w in run.model.params.items():
                run.model.grads[key] += 0.3 * w
                run.value += 0.15 * (w**2).sum()

    history = fit(ours, X, Y, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), batch_size=10, callbacks=[Ridge()])
    before = {key: w.copy() for key, w in theirs.params.items()}
    value = plain(theirs, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), batch_size=10)
    assert history.losses == pytest.approx([value[0] + 0.15 * sum((w**2).sum() for w in before.values())], rel=1e-13)
    for key, w in ours.params.items():
        np.testing.assert_allclose(w, theirs.params[key] - 0.03 * before[key], rtol=1e-12, atol=1e-15)


def test_augment_sees_batches_and_may_change_their_shape():
    seen = []

    def crop(inputs, rng):
        seen.append(inputs.shape)
        return inputs[:, rng.integers(2):][:, :3]

    wide = np.concatenate([X, X[:, :1]], axis=1)
    fit(network(), wide, Y, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), batch_size=4, callbacks=[Augment(crop)])
    assert seen == [(2, 4), (4, 4), (4, 4), (2, 4)]  # the rehearsal first


def test_the_rehearsal_takes_no_chance_from_the_run():
    one, other = Life(), Life()
    one.fit(epochs=0)
    assert one.state() == other.state()


def test_arrays_stay_the_same_objects_and_frozen_layers_as_they_are(tmp_path):
    life = Life()
    life.model.layers[3].frozen = True
    params, grads, buffers = life.model.params, life.model.grads, life.model.buffers
    kept = {key: w.copy() for key, w in life.model.layers[3].params.items()}
    life.fit(tmp_path / "run")
    life.fit(tmp_path / "run", epochs=5, resume=True)
    assert [*params] == ["0.W", "0.b"] and "m/3.W" not in life.optimizer.state_dict()
    for before, after in ((params, life.model.params), (grads, life.model.grads), (buffers, life.model.buffers)):
        assert before.keys() == after.keys() and all(before[key] is after[key] for key in before)
    for key, w in kept.items():
        np.testing.assert_array_equal(life.model.layers[3].params[key], w)


def test_a_model_that_learns_nothing_trains_without_a_word():
    model = network()
    for layer in model.layers:
        layer.frozen = True
    before = model.state_dict()
    assert len(fit(model, X, Y, SGD(lr=0.1), epochs=2, rng=np.random.default_rng(0)).losses) == 2
    for key, w in model.state_dict().items():
        np.testing.assert_array_equal(w, before[key])


# Callbacks


class Stop(Callback):
    def __init__(self, step):
        self.step = step

    def after_step(self, run):
        if run.step == self.step:
            run.stop = f"enough at {run.step}"


@pytest.mark.parametrize("step", range(1, 8))
def test_a_callback_may_stop_at_any_step(step, tmp_path):
    def run(resume=False):
        model = network()
        history = fit(model, X, Y, SGD(lr=0.1), epochs=3, rng=np.random.default_rng(0), batch_size=4,
                      callbacks=[Checkpoint(tmp_path / "run", resume=resume), Stop(step)])
        return history, {key: w.tolist() for key, w in model.params.items()}

    history, params = run()
    assert history.stopped == f"enough at {step}" and len(history.losses) == step
    assert len(history.epochs) == step // STEPS  # only whole epochs have a row
    assert run(resume=True) == (history, params)


def test_what_callbacks_are_told_and_when():
    told = []

    class Note(Callback):
        def after_step(self, run):
            told.append(("step", run.step, run.epoch, len(run.history.losses)))

        def after_epoch(self, run):
            told.append(("epoch", run.step, run.epoch, len(run.history.epochs)))

        def after_fit(self, run):
            told.append(("fit", run.step, run.epoch, run.stop))

    fit(network(), X, Y, SGD(lr=0.1), epochs=2, rng=np.random.default_rng(0), batch_size=5, callbacks=[Note()])
    assert told == [("step", 1, 0, 1), ("step", 2, 0, 2), ("epoch", 2, 1, 1), ("step", 3, 1, 3), ("step", 4, 1, 4), ("epoch", 4, 2, 2),
                    ("fit", 4, 2, "")]


class Keep(Callback):
    """The model after every epoch."""

    def __init__(self):
        self.models = []

    def after_epoch(self, run):
        self.models.append(run.model.state_dict())


@pytest.mark.parametrize("patience", [1, 2, 5])
@pytest.mark.parametrize(("column", "larger"), [("test_loss", False), ("test_accuracy", True)])
def test_early_stopping_goes_back_to_the_best_epoch(column, larger, patience):
    keep, early, model = Keep(), EarlyStopping(column, patience=patience, larger_is_better=larger), network()
    history = fit(model, X[:5], Y[:5], Momentum(lr=0.5, rho=0.9), epochs=40, rng=np.random.default_rng(1), batch_size=2,
                  callbacks=[Evaluate({"test": (X[5:], Y[5:])}), keep, early])
    values = history[column]
    best = int(values.argmax() if larger else values.argmin())
    assert early.best_epoch == best + 1 and early.best_value == values[best] and len(values) == best + 1 + patience < 40
    assert history.stopped == f"{column} has not improved on {values[best]:.4g} since epoch {best + 1}"
    for key, w in model.state_dict().items():
        np.testing.assert_array_equal(w, keep.models[best][key])


def follow(early, values, worse=0):
    """What it does to a model that says in which epoch it is, for these values of its column made worse."""
    model = Sequential(Affine(1, 1, rng=np.random.default_rng(0), std=0.0))

    class Say(Callback):
        def after_epoch(self, run):
            run.history.epochs[-1]["value"] = values[run.epoch - 1] + (-worse if early.larger_is_better else worse)
            model.params["0.W"][...] = run.epoch + 100 * worse

    history = fit(model, np.zeros((1, 1)), np.zeros((1, 1)), SGD(lr=0.1), epochs=len(values), rng=np.random.default_rng(0),
                  loss=mean_squared_error, callbacks=[Say(), early])
    return model.params["0.W"].item(), len(history.epochs)


NAN = float("nan")


@pytest.mark.parametrize(("values", "larger", "best", "epochs"), [
    ([3, 2, 1], False, 3, 3),
    ([1, 1, 1, 1], False, 1, 3),
    ([3, 4, 2, 3, 3, 1], False, 3, 5),
    ([NAN, 2, 1, NAN, 3], False, 3, 5),
    ([NAN, NAN, 5], False, 2, 2),
    ([NAN, 1, 2], True, 3, 3),
    ([0, -1, -2], True, 1, 3),
])
def test_early_stopping_on_given_values(values, larger, best, epochs):
    early = EarlyStopping("value", patience=2, larger_is_better=larger)
    assert follow(early, values) == (best, epochs)
    assert follow(early, values, worse=1) == (best + 100, epochs)  # a second run starts afresh


@pytest.mark.parametrize(("min_delta", "best", "epochs"), [(0.0, 5, 5), (0.25, 3, 5), (0.75, 3, 5), (1.0, 1, 3), (math.inf, 0, 2)])
def test_less_than_min_delta_is_no_gain(min_delta, best, epochs):
    if min_delta == math.inf:
        with pytest.raises(ValueError, match=r"min_delta must be a number in \[0, inf\), got inf"):
            EarlyStopping("value", patience=2, min_delta=min_delta)
        return
    for larger, sign in ((False, 1), (True, -1)):
        early = EarlyStopping("value", patience=2, min_delta=min_delta, larger_is_better=larger)
        assert follow(early, [sign * value for value in (4, 4, 3, 2.875, 2.75)]) == (best, epochs)


def test_early_stopping_on_a_column_that_a_callback_did_not_make_after_all():
    with pytest.raises(KeyError, match="column must be one of") as raised:
        follow(EarlyStopping("validation_loss", patience=2), [1, 2])
    assert len(raised.value.history.losses) == 1


# Refusals


class Tall(Callback):
    """Makes no column, and says so."""

    columns = ()


def late(array, value):
    """The last of the elements is another one."""
    array = array.copy()
    array.reshape(-1)[-1] = value
    return array


def fading(step):
    """A schedule that is over before the run is."""
    return 0.1 * max(0.0, 1 - step / 4)


def reached(step, value):
    return lambda t: value if t == step else 0.1


NORMED = "x must hold two or more values per feature in training"
REFUSED = {
    "model": [(network, TypeError, "model must be a Sequential, got <function"), (None, TypeError, "model must be a Sequential, got None")],
    "inputs": [
        (X.tolist(), TypeError, r"inputs must be an array of numbers whose first axis counts examples, got \[\["),
        (np.float64(1), TypeError, "inputs must be an array of numbers"),
        (np.array(1.0), TypeError, "inputs must be an array of numbers"),
        (np.ma.array(X), TypeError, "inputs must be an array of numbers"),
        (X.astype(object), TypeError, "inputs must be an array of numbers"),
        (X + 0j, TypeError, "inputs must be an array of numbers"),
        (X[:0], ValueError, "inputs must hold at least one example, got none"),
        (late(X, np.nan), ValueError, r"inputs must be finite, got nan at index \(9, 2\)"),
        (late(X, -np.inf), ValueError, r"inputs must be finite, got -inf at index \(9, 2\)"),
        (X[:, :2], ValueError, r"x must be \(batch, 3\) of float64, got \(2, 2\) of float64"),
        (X.astype("f4"), ValueError, r"x must be \(batch, 3\) of float64, got \(2, 3\) of float32"),
    ],
    "targets": [
        (Y.tolist(), TypeError, r"targets must be an array of numbers"),
        (Y[:9], ValueError, "targets must be as many as the inputs, got 9 for 10"),
        (np.zeros(10), TypeError, "labels must be integers, got float64"),
        (np.full(10, 3), ValueError, r"labels must lie in \[0, 3\), got 3 to 3"),
        (late(Y, 3), ValueError, r"labels must lie in \[0, 3\), got 0 to 3"),
        (late(Y, -1), ValueError, r"labels must lie in \[0, 3\), got -1 to 2"),
        (late(np.zeros(10), np.nan), ValueError, r"targets must be finite, got nan at index \(9,\)"),
    ],
    "optimizer": [
        (SGD, TypeError, r"optimizer must be an Optimizer object, such as SGD\(lr=0.1\), got <class"),
        ("sgd", TypeError, "optimizer must be an Optimizer object, .* got 'sgd'"),
        ({}, TypeError, "optimizer must be an Optimizer object"),
        (SGD(lr=fading), ValueError, r"lr\(4\) must lie in \(0, inf\), got 0.0"),
        (SGD(lr=reached(5, np.nan)), ValueError, r"lr\(5\) must lie in \(0, inf\), got nan"),
        (SGD(lr=reached(8, math.inf)), ValueError, r"lr\(8\) must lie in \(0, inf\), got inf"),
        (SGD(lr=reached(7, None)), TypeError, r"lr\(7\) must be a number in .*, got None"),
        (SGD(lr=reached(7, "0.1")), TypeError, r"lr\(7\) must be a number in .*, got '0.1'"),
        (SGD(lr=0.1, clip_norm=reached(6, -1.0)), ValueError, r"clip_norm\(6\) must lie in"),
        (Groups({"0.*": SGD(lr=0.1), "*": Momentum(lr=0.1, rho=reached(6, 1.5))}), ValueError, r"rho\(6\) must lie in"),
        (Groups({"0.*": SGD(lr=0.1)}), ValueError, r"params must have keys that a pattern fits \['0\.\*'\], got '3.W'"),
    ],
    "epochs": [(-1, ValueError, "epochs must be a whole number from 0 up, got -1"), (1.5, ValueError, r"epochs must be .*, got 1\.5"),
               ("3", TypeError, "epochs must be .*, got '3'"), (True, TypeError, "epochs must be .*, got True")],
    "rng": [(0, TypeError, r"rng must be a numpy\.random\.Generator, got 0"), (np.random.RandomState(0), TypeError, "rng must be .*, got RandomState")],
    "batch_size": [(0, ValueError, "batch_size must be a whole number from 1 up, got 0"), (2.5, ValueError, r"batch_size must be .*, got 2\.5"),
                   (math.nan, ValueError, "batch_size must be .*, got nan"), (None, TypeError, "batch_size must be .*, got None")],
    "drop_last": [("yes", TypeError, "drop_last must be True or False, got 'yes'"), (1, TypeError, "drop_last must be True or False, got 1")],
    "loss": [
        ("mse", TypeError, "loss must be a function of outputs and targets, got 'mse'"),
        (lambda outputs, targets: 1.0, TypeError, "loss must return a number and its gradient by the outputs, got 1.0"),
        (lambda outputs, targets: (outputs, outputs), TypeError, "loss must return a number and its gradient by the outputs, got"),
        (lambda outputs, targets: (1.0, outputs[0]), ValueError, r"loss must return a gradient of the outputs' shape \(10, 3\), got \(3,\)"),
    ],
    "weights": [
        ([1] * 10, TypeError, r"weights must be an array \(examples\) of numbers"),
        (np.ones(9), ValueError, "weights must be numbers from 0 up, one for each of 10 examples and not all 0, got"),
        (np.zeros(10), ValueError, "weights must be numbers from 0 up, one for each of 10 examples and not all 0, got"),
        (late(np.ones(10), -1), ValueError, "weights must be numbers from 0 up"),
        (late(np.ones(10), np.nan), ValueError, "weights must be numbers from 0 up"),
        (late(np.ones(10), np.inf), ValueError, "weights must be numbers from 0 up"),
        (np.ones((10, 1)), ValueError, r"weights must be an array \(examples\) of numbers"),
        ("balanced", TypeError, r"weights must be an array \(examples\) of numbers"),
    ],
    "callbacks": [
        (EarlyStopping("loss", patience=1), TypeError, "callbacks must be a list of Callback objects, got <"),
        ([EarlyStopping], TypeError, "callbacks must be a list of Callback objects, got \\[<class"),
        ([None], TypeError, "callbacks must be a list of Callback objects, got \\[None"),
        ([EarlyStopping("test_loss", patience=1)], ValueError, r"column must be one of \['loss'\], which callbacks before it make, got 'test_loss'"),
        ([Evaluate({"test": (X, Y)}), EarlyStopping("test_los", patience=1)], ValueError,
         r"column must be one of \['loss', 'test_loss', 'test_accuracy'\], .* got 'test_los'"),
        ([EarlyStopping("test_loss", patience=1), Evaluate({"test": (X, Y)})], ValueError, r"column must be one of \['loss'\]"),
        ([Tall(), EarlyStopping("height", patience=1)], ValueError, r"column must be one of \['loss'\], .* got 'height'"),
        ([MaxNorm(1.0, keys=["nope"])], ValueError, r"params must hold \['nope'\], got \['0.W'"),
        ([ProximalL1(1.0, keys=["nope"])], ValueError, r"params must hold \['nope'\], got \['0.W'"),
        ([L2(1.0, keys=["nope"])], ValueError, r"params must hold \['nope'\], got \['0.W'"),
        ([Evaluate({"test": (X[:, :2], Y)})], ValueError, r"x must be \(batch, 3\) of float64, got \(1, 2\) of float64"),
        ([Evaluate({"test": (X, late(Y, 3))})], ValueError, r"labels must lie in \[0, 3\), got 0 to 3"),
        ([Evaluate({"test": (late(X, np.nan), Y)})], ValueError, r"sets\['test'\]: inputs must be finite, got nan"),
        ([Evaluate({"test": (X, late(np.zeros(10), np.nan))})], ValueError, r"sets\['test'\]: targets must be finite, got nan at index \(9,\)"),
        ([Evaluate({"test": (X, Y)}, metric=lambda outputs, targets: "good")], TypeError, "metric must return a number, got 'good'"),
        ([Augment(lambda x, rng: x[:, :rng.integers(2)])], ValueError, r"x must be \(batch, 3\)"),
    ],
}


@pytest.mark.parametrize(("name", "value", "error", "message"), [(name, *case) for name, cases in REFUSED.items() for case in cases])
def test_what_can_be_known_is_refused_before_anything_is_changed(name, value, error, message, tmp_path):
    life = Life()
    life.fit(tmp_path / "run", epochs=1)
    optimizer = value if name == "optimizer" else SGD(lr=0.1)
    checkpoint = Checkpoint(tmp_path / "run")
    before, written = life.state(), (tmp_path / "run").read_bytes()
    given = {"model": life.model, "inputs": X, "targets": Y, "optimizer": optimizer, "epochs": 3, "rng": life.rng, "batch_size": 4, "callbacks": []}
    given |= {name: value}
    if isinstance(given["callbacks"], list):
        given["callbacks"] = [*given["callbacks"], checkpoint]
    with pytest.raises(error, match=message):
        fit(**given)
    assert life.state() == before and (tmp_path / "run").read_bytes() == written and os.listdir(tmp_path) == ["run"]
    assert not getattr(optimizer, "steps", 0)


@pytest.mark.parametrize(("examples", "options", "ends"), [(33, {}, False), (33, {"drop_last": True}, True), (34, {}, True), (1, {}, False)])
def test_a_last_batch_that_is_too_small_is_found_out_before_the_first(examples, options, ends):
    rng = np.random.default_rng(0)
    model = Sequential(Affine(3, 4, rng=rng), BatchNorm(4), Affine(4, 3, rng=rng))
    x, y, before = rng.normal(size=(examples, 3)), rng.integers(0, 3, examples), model.state_dict()
    if ends:
        assert len(fit(model, x, y, SGD(lr=0.1), epochs=2, batch_size=16, rng=rng, **options).losses) == 2 * (2 if options else 3)
        return
    with pytest.raises(ValueError, match=NORMED):
        fit(model, x, y, SGD(lr=0.1), epochs=2, batch_size=16, rng=rng, **options)
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


def test_no_whole_batch_is_refused_where_the_rest_is_left_out():
    with pytest.raises(ValueError, match="batch_size must be at most the 10 examples when drop_last=True, got 11"):
        fit(network(), X, Y, SGD(lr=0.1), epochs=1, batch_size=11, drop_last=True, rng=np.random.default_rng(0))
    assert len(fit(network(), X, Y, SGD(lr=0.1), epochs=1, batch_size=10, drop_last=True, rng=np.random.default_rng(0)).losses) == 1


def test_an_optimizer_of_another_model_is_refused_before_the_first_step():
    optimizer, model = Momentum(lr=0.1), network()
    optimizer.update({"0.W": np.zeros((2, 2))}, {"0.W": np.zeros((2, 2))})
    before = model.state_dict()
    with pytest.raises(ValueError, match=r"params\['0.W'\] must keep the shape"):
        fit(model, X, Y, optimizer, epochs=1, rng=np.random.default_rng(0))
    assert optimizer.steps == 1 and all((before[key] == w).all() for key, w in model.state_dict().items())


def test_one_callback_twice_and_two_checkpoints_are_refused(tmp_path):
    twice = Keep()
    for callbacks, message in (([twice, twice], "callbacks must be different objects, got one of them twice"),
                               ([Checkpoint(tmp_path / "a"), Checkpoint(tmp_path / "b")], "callbacks must hold one Checkpoint at most")):
        with pytest.raises(ValueError, match=message):
            fit(network(), X, Y, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), callbacks=callbacks)
    assert not os.listdir(tmp_path)


def test_a_run_without_an_end_in_sight_begins_all_the_same():
    called = []

    def schedule(step):
        called.append(step)
        return 0.1

    history = fit(network(), X, Y, SGD(lr=schedule), epochs=10**12, rng=np.random.default_rng(0), callbacks=[Stop(3)])
    assert len(history.losses) == 3 and len(called) < 2**21 and max(called) == 10**12 - 1


def test_a_schedule_may_end_with_the_run():
    rates = [0.3, 0.2, 0.1]
    assert len(fit(network(), X, Y, SGD(lr=lambda step: rates[step]), epochs=1, batch_size=4, rng=np.random.default_rng(0)).losses) == 3


def test_only_the_steps_to_come_are_looked_at(tmp_path):
    def run(epochs, resume):
        rates = [0.3, 0.25, 0.2, 0.15, 0.1, 0.05]
        fit(network(), X, Y, SGD(lr=lambda step: rates[step]), epochs=epochs, batch_size=4, rng=np.random.default_rng(0),
            callbacks=[Checkpoint(tmp_path / "run", resume=resume)])

    run(1, False)
    run(2, True)
    with pytest.raises(IndexError):
        run(3, True)
    optimizer, model = SGD(lr=lambda step: 0.1 if step >= 3 else 0.0), network()
    optimizer.steps = 3
    assert len(fit(model, X, Y, optimizer, epochs=1, rng=np.random.default_rng(0)).losses) == 1


def test_large_data_is_looked_at_to_its_end():
    inputs = np.zeros(2**24 + 3, "f2")
    check_finite("inputs", inputs)
    inputs[-1] = np.nan
    with pytest.raises(ValueError, match=r"inputs must be finite, got nan at index \(16777218,\)"):
        check_finite("inputs", inputs)
    outputs, targets = np.zeros((1, 2**22), "f4"), np.broadcast_to(np.float32(1), (3, 2**22))
    seen = []

    def loss(outputs, targets, weights):
        seen.append((outputs.shape, targets.shape, weights.tolist()))
        return mean_squared_error(outputs, targets, weights)

    check_loss(loss, outputs, targets, np.arange(3.0))
    assert seen == [((1, 2**22), (1, 2**22), [i]) for i in range(3)]


# With the history in hand


class Fuse(Layer):
    """Breaks in its fourth batch."""

    def __init__(self, where):
        super().__init__()
        self.where, self.batches = where, 0

    def forward(self, x, *, train=False, rng=None):
        self.batches += train
        if self.where == "forward" and self.batches == 4:
            raise RuntimeError("blown")
        return x

    def backward(self, dout):
        if self.where == "backward" and self.batches == 4:
            raise RuntimeError("blown")
        return dout


class Breaks(Callback):
    def __init__(self, hook, error):
        setattr(self, hook, self.breaks)
        self.error, self.told = error, 0

    def breaks(self, run):
        self.told += 1
        if self.told == 2:
            raise self.error("broken")


class Breaker:
    """A loss, or an augmentation, that breaks in the fourth batch; the first call is the rehearsal's."""

    def __init__(self, inner):
        self.inner, self.called = inner, 0

    def __call__(self, *given):
        self.called += 1
        if self.called == 5:
            raise RuntimeError("blown")
        return self.inner(*given)


@pytest.mark.parametrize(("steps", "rows", "change"), [
    (3, 1, lambda: {"model": Sequential(Affine(3, 3, rng=np.random.default_rng(0)), Fuse("forward"))}),
    (3, 1, lambda: {"model": Sequential(Affine(3, 3, rng=np.random.default_rng(0)), Fuse("backward"))}),
    (3, 1, lambda: {"loss": Breaker(softmax_cross_entropy)}),
    (3, 1, lambda: {"callbacks": [Augment(Breaker(lambda x, rng: x))]}),
    (1, 0, lambda: {"callbacks": [Breaks("before_step", KeyboardInterrupt)]}),
    (1, 0, lambda: {"callbacks": [Breaks("before_update", RuntimeError)]}),
    (2, 0, lambda: {"callbacks": [Breaks("after_step", SystemExit)]}),
    (6, 2, lambda: {"callbacks": [Breaks("after_epoch", MemoryError)]}),
])
def test_whatever_ends_a_run_has_the_history_so_far(steps, rows, change):
    given = {"model": network(), "inputs": X, "targets": Y, "optimizer": Momentum(lr=0.1), "epochs": 3, "batch_size": 4,
             "rng": np.random.default_rng(0)} | change()
    with pytest.raises((RuntimeError, KeyboardInterrupt, SystemExit, MemoryError), match=r"blown|broken") as raised:
        fit(**given)
    history = raised.value.history
    assert (len(history.losses), len(history.epochs), given["optimizer"].steps) == (steps, rows, steps)
    assert history.stopped == f"{type(raised.value).__name__}: {raised.value}"
    assert f"ended after {steps} steps" in raised.value.__notes__[0]
    assert len(history["loss"]) == rows if rows else history.epochs == []


def test_a_row_that_was_not_finished_spoils_no_column():
    found = Breaker(accuracy)
    found.called = 1
    with pytest.raises(RuntimeError, match="blown") as raised:
        fit(network(), X, Y, SGD(lr=0.1), epochs=9, rng=np.random.default_rng(0), callbacks=[Evaluate({"test": (X, Y)}, metric=found)])
    history = raised.value.history
    assert len(history["loss"]) == 3 and len(history["test_loss"]) == 2


# Weights of examples


@pytest.mark.parametrize("loss", [softmax_cross_entropy, multiclass_hinge, mean_squared_error])
def test_weights_are_the_examples_so_many_times(loss):
    many, targets = np.array([1, 2, 0, 1, 3, 1, 0, 1, 0, 1]), X if loss is mean_squared_error else Y
    ours, theirs = network(), network()
    fit(ours, X, targets, SGD(lr=0.1), epochs=4, batch_size=10, rng=np.random.default_rng(0), loss=loss, weights=many)
    fit(theirs, np.repeat(X, many, axis=0), np.repeat(targets, many, axis=0), SGD(lr=0.1), epochs=4, batch_size=10, rng=np.random.default_rng(0), loss=loss)
    for key, w in ours.params.items():
        np.testing.assert_allclose(w, theirs.params[key], rtol=1e-10, atol=1e-14)


def test_weights_go_with_their_examples_into_every_batch():
    """Those of weight 0 are as if they were not there: their inputs may be anything."""
    weights = np.where(np.arange(10) % 3, 1.0, 0.0).astype("f4")
    changed = np.where(weights[:, None] > 0, X, 7.0)
    ends = []
    for inputs in (X, changed):
        model = network()
        fit(model, inputs, Y, SGD(lr=0.1), epochs=3, batch_size=3, rng=np.random.default_rng(0), weights=weights)
        ends.append(model.params["0.W"])
    np.testing.assert_array_equal(*ends)


def test_what_is_left_out_is_left_out():
    seen = []

    class Count(Callback):
        def before_step(self, run):
            seen.append(len(run.batch.inputs))

    history = fit(network(), X, Y, SGD(lr=0.1), epochs=2, batch_size=4, drop_last=True, rng=np.random.default_rng(0), callbacks=[Count()])
    assert seen == [4, 4, 4, 4] and len(history.losses) == 4 and history["loss"].tolist() == np.reshape(history.losses, (2, 2)).mean(axis=1).tolist()


def test_a_layer_may_be_thawed_on_the_way(tmp_path):
    class Thaw(Callback):
        def after_epoch(self, run):
            if run.epoch == 1:
                run.model.layers[0].frozen = False

    def run(epochs, resume=False):
        model, optimizer = network(), Adam(lr=0.1)
        model.layers[0].frozen = True
        history = fit(model, X, Y, optimizer, epochs=epochs, batch_size=4, rng=np.random.default_rng(0),
                      callbacks=[Thaw(), Checkpoint(tmp_path / "run", resume=resume)])
        return history, {key: w.tolist() for key, w in model.state_dict().items()}

    first = network().params["0.W"].tolist()
    assert run(1)[1]["0.W"] == first
    assert run(2)[1]["0.W"] != first
    whole = run(3)
    run(2)
    assert run(3, resume=True) == whole


# Predicting


@pytest.mark.parametrize("batch_size", [1, 3, 10, 1000])
def test_predicting_in_batches_is_predicting_at_once(batch_size):
    life = Life()
    before = life.state()
    np.testing.assert_allclose(predict(life.model, X, batch_size=batch_size), life.model.forward(X), rtol=1e-14)
    assert life.state() == before


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"inputs": X[:0]}, ValueError, "inputs must hold at least one example, got none"),
    ({"inputs": X.tolist()}, TypeError, "inputs must be an array of numbers"),
    ({"model": Affine}, TypeError, "model must be a Sequential, got <class"),
    ({"batch_size": 0}, ValueError, "batch_size must be a whole number from 1 up, got 0"),
])
def test_predict_refuses(change, error, message):
    with pytest.raises(error, match=message):
        predict(**{"model": network(), "inputs": X} | change)


@pytest.mark.parametrize(("sets", "options", "message"), [
    ((X, Y), {}, "sets must be a dict of pairs"),
    ({}, {}, "sets must be a dict of pairs"),
    ({"test": X}, {}, "sets must be a dict of pairs"),
    ({"test": (X, Y, X)}, {}, "sets must be a dict of pairs"),
    ({1: (X, Y)}, {}, "sets must be a dict whose keys are names, got 1"),
    ({"test": (X, Y[:3])}, {}, r"sets\['test'\]: targets must be as many as the inputs, got 3 for 10"),
    ({"test": (X[:0], Y[:0])}, {}, r"sets\['test'\]: inputs must hold at least one example"),
    ({"test": (X, Y)}, {"metric": "accuracy"}, "metric must be a function of outputs and targets or None"),
])
def test_evaluate_on_refuses(sets, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Evaluate(sets, **options)


def test_augment_and_early_stopping_refuse():
    for make, message in ((lambda: Augment(None), "function must be a function of inputs and rng, got None"),
                          (lambda: EarlyStopping(None, patience=1), "column must be the name of a column, got None"),
                          (lambda: EarlyStopping("loss", patience=1, larger_is_better="no"), "larger_is_better must be True or False, got 'no'"),
                          (lambda: EarlyStopping("loss", patience=1, min_delta="0"), "min_delta must be a number")):
        with pytest.raises(TypeError, match=message):
            make()


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"targets": Y[:9]}, ValueError, "targets must be as many as the inputs, got 9 for 10"),
    ({"inputs": X[:0], "targets": Y[:0]}, ValueError, "inputs must hold at least one example, got none"),
    ({"inputs": X.tolist()}, TypeError, "inputs must be an array of numbers"),
    ({"model": network}, TypeError, "model must be a Sequential, got <function"),
    ({"loss": 3}, TypeError, "loss must be a function of outputs and targets, got 3"),
    ({"metric": "accuracy"}, TypeError, "metric must be a function of outputs and targets or None, got 'accuracy'"),
    ({"batch_size": 0}, ValueError, "batch_size must be a whole number from 1 up, got 0"),
])
def test_evaluate_refuses(change, error, message):
    with pytest.raises(error, match=message):
        evaluate(**{"model": network(), "inputs": X, "targets": Y} | change)


@pytest.mark.parametrize("patience", [0, -1, 1.5, float("nan"), True, None, "3"])
def test_a_bad_patience_is_refused(patience):
    with pytest.raises((TypeError, ValueError), match="patience must be a whole number from 1 up, got"):
        EarlyStopping("validation_loss", patience=patience)


# The bar


def test_a_bar_is_shown_on_demand(capsys, tmp_path):
    pytest.importorskip("tqdm")
    Life().fit(callbacks=[Progress()])
    assert "9/9" in capsys.readouterr().err
    Life().fit(tmp_path / "run", epochs=1)
    for _ in range(2):  # an ended run has nothing more to do
        Life().fit(tmp_path / "run", resume=True, callbacks=[Progress()])
        assert "9/9" in capsys.readouterr().err
    Life().fit()
    assert capsys.readouterr().err == ""


def test_a_bar_that_cannot_be_shown_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    life = Life()
    before = life.state()
    with pytest.raises(ModuleNotFoundError, match="tqdm must be installed to show progress"):
        life.fit(callbacks=[Progress()])
    assert life.state() == before


# A peer


def test_an_mlp_on_the_digits_is_no_worse_than_scikit_learns():
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    ours, theirs, epochs = [], [], 20
    for seed in range(5):
        data, rng = digits(seed), np.random.default_rng(seed)
        model = Sequential(Affine(64, 100, rng=rng), ReLU(), Affine(100, 10, rng=rng))
        fit(model, data.inputs, data.labels, Adam(lr=1e-3), epochs=epochs, batch_size=200, rng=rng)
        ours.append(evaluate(model, data.test_inputs, data.test_labels)["accuracy"])
        peer = MLPClassifier((100,), alpha=0, max_iter=epochs, random_state=seed)
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            peer.fit(data.inputs, data.labels)
        theirs.append(peer.score(data.test_inputs, data.test_labels))
    difference = np.subtract(ours, theirs)
    assert difference.mean() >= -difference.std(ddof=1) / 5**0.5, (ours, theirs)
    assert min(ours) > 0.9


def test_what_watched_another_run_begins_anew():
    class Enough(Callback):
        columns = ()

        def after_step(self, run):
            run.stop = "enough"

    watchers = EarlyStopping("loss", patience=1), WeightAverage(), Snapshots(2)

    def run(width, **given):
        model = Sequential(Affine(3, width, rng=np.random.default_rng(width)))
        fit(model, X, Y, SGD(lr=0.1), rng=np.random.default_rng(0), **given)
        return model.state_dict()

    run(4, epochs=3, callbacks=watchers)
    run(3, epochs=0, callbacks=watchers)  # another model: there is nothing of the first to go back to
    assert not watchers[0].best and not watchers[1].count and not watchers[2].states
    run(3, epochs=3, callbacks=watchers)
    broken, alone = (run(3, epochs=1, batch_size=4, callbacks=[*callbacks, Enough()]) for callbacks in (watchers, ()))
    assert all(np.array_equal(broken[key], alone[key]) for key in alone)


def test_layers_may_freeze_and_thaw_under_what_watches_them():
    class Turn(Callback):
        columns = ()

        def after_step(self, run):
            run.model.layers[0].frozen, run.model.layers[1].frozen = run.step < 2, run.step >= 3

    class Record(Callback):
        columns = ()

        def after_step(self, run):
            seen.append(run.model.state_dict())

    seen = []
    model = Sequential(Affine(3, 4, rng=np.random.default_rng(0)), Affine(4, 3, rng=np.random.default_rng(1)))
    monitor, average = Monitor(model, X), WeightAverage()
    model.layers[0].frozen = True
    history = fit(model, X, Y, SGD(lr=0.1), epochs=2, batch_size=4, rng=np.random.default_rng(0), callbacks=[Record(), average, monitor, Turn()])
    assert all(np.allclose(array, np.mean([state[key] for state in seen], axis=0)) for key, array in average.weights.items())
    assert average.weights.keys() == seen[0].keys() and average.model(model).forward(X).shape == (len(X), 3)
    assert history["update/1.W"][1] == 0 < history["update/0.W"][1] and history["gradient/1.W"][1] == 0
