"""Training: what a run is, what its history holds and its callbacks are told, when it stops early; evaluating; what is refused."""

import sys
import warnings

import numpy as np
import pytest
from runs import STEPS, Life, X, Y, network

from reference_impl import (
    SGD,
    Adam,
    Affine,
    Callback,
    EarlyStopping,
    History,
    Momentum,
    ReLU,
    Sequential,
    accuracy,
    digits,
    evaluate,
    fit,
    mean_squared_error,
    softmax_cross_entropy,
)

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
    def names(**options):
        return [*fit(network(), X, Y, SGD(lr=0.1), epochs=2, rng=np.random.default_rng(0), **options).epochs[-1]]

    def error_rate(scores, labels):
        return 1 - accuracy(scores, labels)

    sets = {"validation": (X[:4], Y[:4]), "test": (X[4:], Y[4:])}
    assert names() == ["loss"]
    assert names(evaluate_on=sets) == ["loss", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy"]
    assert names(evaluate_on=sets, metric=None) == ["loss", "validation_loss", "test_loss"]
    assert names(evaluate_on={"test": (X, Y)}, metric=error_rate) == ["loss", "test_loss", "test_error_rate"]


def test_the_columns_are_what_evaluate_finds_after_the_epoch():
    model, found = network(), []

    class Look(Callback):
        def after_epoch(self, run):
            found.append(evaluate(run.model, X[:7], Y[:7]))

    history = fit(model, X, Y, SGD(lr=0.1), epochs=3, rng=np.random.default_rng(0), evaluate_on={"test": (X[:7], Y[:7])}, callbacks=[Look()])
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

    def ridge(params, grads):
        for key, w in params.items():
            grads[key] += 0.3 * w
        return 0.15 * sum((w**2).sum() for w in params.values())

    history = fit(ours, X, Y, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), batch_size=10, penalty=ridge)
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
    fit(network(), wide, Y, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), batch_size=4, augment=crop)
    assert seen == [(1, 4), (4, 4), (4, 4), (2, 4)]  # the rehearsal first


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
    def run(**options):
        model = network()
        history = fit(model, X, Y, SGD(lr=0.1), epochs=3, rng=np.random.default_rng(0), batch_size=4, callbacks=[Stop(step)],
                      checkpoint=tmp_path / "run", **options)
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
                  evaluate_on={"test": (X[5:], Y[5:])}, callbacks=[keep, early])
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

    history = fit(model, np.zeros((1, 1)), np.zeros((1, 1)), SGD(lr=0.1), epochs=len(values), rng=np.random.default_rng(0), metric=None,
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


def test_early_stopping_on_a_column_that_is_not_there():
    with pytest.raises(KeyError, match="column must be one of"):
        follow(EarlyStopping("validation_loss", patience=2), [1, 2])


# Refusals


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"inputs": X.tolist()}, TypeError, r"inputs must be an array whose first axis counts examples, got \[\["),
    ({"targets": Y.tolist()}, TypeError, r"targets must be an array whose first axis counts examples, got \["),
    ({"inputs": np.float64(1)}, TypeError, "inputs must be an array whose first axis counts examples, got"),
    ({"inputs": np.array(1.0)}, TypeError, "inputs must be an array whose first axis counts examples, got"),
    ({"inputs": np.ma.array(X)}, TypeError, "inputs must be an array whose first axis counts examples, got"),
    ({"targets": Y[:9]}, ValueError, "targets must be as many as the inputs, and some, got 9 for 10"),
    ({"inputs": X[:0], "targets": Y[:0]}, ValueError, "targets must be as many as the inputs, and some, got 0 for 0"),
    ({"batch_size": 0}, ValueError, "batch_size must be a whole number from 1 up, got 0"),
    ({"batch_size": 2.5}, ValueError, r"batch_size must be a whole number from 1 up, got 2\.5"),
    ({"batch_size": float("nan")}, ValueError, "batch_size must be a whole number from 1 up, got nan"),
    ({"epochs": -1}, ValueError, "epochs must be a whole number from 0 up, got -1"),
    ({"epochs": 1.5}, ValueError, r"epochs must be a whole number from 0 up, got 1\.5"),
    ({"rng": 0}, TypeError, r"rng must be a numpy\.random\.Generator, got 0"),
    ({"rng": np.random.RandomState(0)}, TypeError, r"rng must be a numpy\.random\.Generator, got RandomState"),
    ({"callbacks": [EarlyStopping]}, TypeError, "callbacks must be Callback objects, got <class"),
    ({"resume": True, "checkpoint": None}, ValueError, "checkpoint must name a file when resume or checkpoint_every is given, got None"),
    ({"checkpoint_every": 5, "checkpoint": None}, ValueError, "checkpoint must name a file when resume or checkpoint_every is given"),
    ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be a whole number from 1 up, got 0"),
    ({"inputs": X[:, :2]}, ValueError, r"x must be \(batch, 3\) of float64, got \(1, 2\) of float64"),
    ({"inputs": X.astype("f4")}, ValueError, r"x must be \(batch, 3\) of float64, got \(1, 3\) of float32"),
    ({"targets": np.zeros(10)}, TypeError, "labels must be integers, got float64"),
    ({"targets": np.full(10, 3)}, ValueError, r"labels must lie in \[0, 3\), got 3 to 3"),
    ({"evaluate_on": {"test": (X[:, :2], Y)}}, ValueError, r"x must be \(batch, 3\) of float64, got \(1, 2\) of float64"),
    ({"evaluate_on": {"test": (X, Y[:3])}}, ValueError, "targets must be as many as the inputs, and some, got 3 for 10"),
    ({"evaluate_on": {"test": (X[:0], Y[:0])}}, ValueError, "targets must be as many as the inputs, and some, got 0 for 0"),
    ({"augment": lambda x, rng: x[:, :rng.integers(2)]}, ValueError, r"x must be \(batch, 3\)"),
])
def test_bad_arguments_are_refused_and_nothing_is_changed(change, error, message, tmp_path):
    life = Life()
    life.fit(tmp_path / "run", epochs=1)
    before, written = life.state(), (tmp_path / "run").read_bytes()
    given = {"model": life.model, "inputs": X, "targets": Y, "optimizer": life.optimizer, "epochs": 1, "rng": life.rng, "batch_size": 4,
             "callbacks": life.callbacks, "checkpoint": tmp_path / "run"}
    with pytest.raises(error, match=message):
        fit(**given | change)
    assert life.state() == before and (tmp_path / "run").read_bytes() == written


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"inputs": X[:0], "targets": Y[:0]}, ValueError, "targets must be as many as the inputs, and some, got 0 for 0"),
    ({"targets": Y[:9]}, ValueError, "targets must be as many as the inputs, and some, got 9 for 10"),
    ({"inputs": X.tolist()}, TypeError, "inputs must be an array"),
    ({"batch_size": 0}, ValueError, "batch_size must be a whole number from 1 up, got 0"),
])
def test_evaluate_refuses(change, error, message):
    with pytest.raises(error, match=message):
        evaluate(**{"model": network(), "inputs": X, "targets": Y} | change)


@pytest.mark.parametrize("patience", [0, -1, 1.5, float("nan"), True])
def test_a_bad_patience_is_refused(patience):
    with pytest.raises(ValueError, match="patience must be a whole number from 1 up, got"):
        EarlyStopping("validation_loss", patience=patience)


# The bar


def test_a_bar_is_shown_on_demand(capsys, tmp_path):
    pytest.importorskip("tqdm")
    Life().fit(progress=True)
    assert "9/9" in capsys.readouterr().err
    Life().fit(tmp_path / "run", epochs=1)
    Life().fit(tmp_path / "run", resume=True, progress=True)
    assert "9/9" in capsys.readouterr().err
    Life().fit(progress=False)
    Life().fit()
    assert capsys.readouterr().err == ""


def test_a_bar_that_cannot_be_shown_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    life = Life()
    before = life.state()
    with pytest.raises(ModuleNotFoundError, match="needs tqdm"):
        life.fit(progress=True)
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
