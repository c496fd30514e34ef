"""The monitor measures what it says, the gradient check finds planted bugs, and the file of the confusion is what the script makes."""

import itertools
import math

import diagnose_confusion as confusion
import numpy as np
import pytest

from reference_impl import (
    SGD,
    Adam,
    Affine,
    BatchNorm,
    Checkpoint,
    Dropout,
    Evaluate,
    Momentum,
    ReLU,
    Sequential,
    Tanh,
    digits,
    fit,
    mean_squared_error,
    measured,
    softmax_cross_entropy,
)
from reference_impl.generalization.weight_decay import L2
from reference_impl.networks.run import Diverged, History
from reference_impl.practice.diagnostics import (
    FAULTS,
    Monitor,
    diagnose,
    expected_first_loss,
    gradient_check,
    overfit_batch,
)

DATA = digits()
STORED = measured("diagnose_confusion")


def network(seed=0, hidden=20, activation=ReLU, **settings):
    rng = np.random.default_rng(seed)
    return Sequential(Affine(64, hidden, rng=rng, **settings), activation(), Affine(hidden, 10, rng=rng, **settings))


def train(model, optimizer, epochs=2, examples=100, scale=1.0, callbacks=()):
    x, y = DATA.inputs[:examples] * scale, DATA.labels[:examples]
    return fit(model, x, y, optimizer, epochs=epochs, batch_size=50, rng=np.random.default_rng(1),
               callbacks=[Evaluate({"validation": (DATA.test_inputs[:100] * scale, DATA.test_labels[:100])}), *callbacks])


# The monitor

def test_its_columns_are_measured_by_hand_too():
    model = network()
    monitor = Monitor(model, DATA.inputs[:100])
    at_first = model.state_dict()
    first_out = model.layers[1].forward(model.layers[0].forward(DATA.inputs[:100]))
    history = train(model, SGD(lr=0.1), epochs=1, callbacks=[monitor])
    row = history.epochs[0]
    assert math.isclose(row["rms/inputs"], np.sqrt(np.mean(DATA.inputs[:100] ** 2)))
    assert math.isclose(row["rms/1"], np.sqrt(np.mean(first_out**2)))
    assert row["dead/1"] == np.mean((first_out == 0).all(axis=0))
    again = network()
    again.load_state_dict(at_first)
    order, ratios, slopes = np.random.default_rng(1).permutation(100), [], []
    for batch in (order[:50], order[50:]):
        before = again.params["0.W"].copy()
        train_step(again, batch)
        slopes.append(np.linalg.norm(again.grads["0.W"]))
        ratios.append(np.linalg.norm(again.params["0.W"] - before) / np.linalg.norm(before))
    assert math.isclose(row["update/0.W"], np.mean(ratios), rel_tol=1e-12)
    assert math.isclose(row["gradient/0.W"], np.mean(slopes), rel_tol=1e-12)


def train_step(model, batch):
    model.backward(softmax_cross_entropy(model.forward(DATA.inputs[batch]), DATA.labels[batch])[1])
    SGD(lr=0.1).update(model.params, model.grads)


def test_it_does_not_change_the_run():
    bare, watched = network(), network()
    train(bare, Adam(lr=1e-2))
    train(watched, Adam(lr=1e-2), callbacks=[Monitor(watched, DATA.inputs[:30])])
    assert all((bare.params[key] == watched.params[key]).all() for key in bare.params)


def test_a_ratio_of_sgd_is_the_rate_times_the_gradient_over_the_weights():
    model = network()
    length = np.linalg.norm(model.params["2.W"])
    row = train(model, SGD(lr=0.3), epochs=1, examples=50, callbacks=[Monitor(model, DATA.inputs[:5])]).epochs[0]
    assert math.isclose(row["update/2.W"], 0.3 * row["gradient/2.W"] / length, rel_tol=1e-9)


def test_zero_weights_have_no_ratio():
    still, moving = network(std=0.0), network(std=0.0)
    row = train(still, SGD(lr=0.1), epochs=1, callbacks=[Monitor(still, DATA.inputs[:5])]).epochs[0]
    assert row["update/0.W"] == 0  # its gradient is 0 as well
    moving.params["0.b"][...] = 1.0
    row = train(moving, SGD(lr=0.1), epochs=1, callbacks=[Monitor(moving, DATA.inputs[:5])]).epochs[0]
    assert row["update/2.W"] == math.inf


def test_it_resumes_bit_for_bit_within_an_epoch(tmp_path):
    def run(epochs, *more):
        model = network()
        return train(model, SGD(lr=0.1), epochs=epochs, callbacks=[Monitor(model, DATA.inputs[:20]), *more], examples=200)

    class Stop(Exception):
        pass

    model, whole = network(), run(2)
    monitor = Monitor(model, DATA.inputs[:20])
    after_step, seen = monitor.after_step, []

    def stop_at_step_7(state):
        after_step(state)
        seen.append(state.step)
        if len(seen) == 7:
            raise Stop

    monitor.after_step = stop_at_step_7
    file = tmp_path / "run.npz"
    with pytest.raises(Stop):
        train(model, SGD(lr=0.1), epochs=2, callbacks=[monitor, Checkpoint(file, every=3)], examples=200)
    assert run(2, Checkpoint(file, every=3, resume=True)).epochs == whole.epochs


def test_units_of_a_convolution_are_its_channels():
    from reference_impl import Conv2D

    conv = Conv2D(1, 3, 3, rng=np.random.default_rng(0))
    conv.params["b"][1] = -100
    monitor = Monitor(Sequential(conv, ReLU()), DATA.inputs[:20].reshape(-1, 8, 8, 1))
    assert monitor.row()["dead/1"] == 1 / 3


def test_its_history_survives_a_divergence():
    rng = np.random.default_rng(0)
    hidden = [layer for size in [64] + [20] * 5 for layer in (Affine(size, 20, rng=rng, std=1.5), ReLU())]
    model = Sequential(*hidden, Affine(20, 10, rng=rng, std=1.5))
    monitor = Monitor(model, DATA.inputs[:20])
    with pytest.raises(Diverged):
        train(model, SGD(lr=0.1), epochs=10, callbacks=[monitor])
    history = monitor.history
    history.epochs.append(monitor.row())
    assert diagnose(history, 10).fault == "bad initialization"


# The gradient check

class Wrong(ReLU):
    def backward(self, dout):
        return 1.001 * super().backward(dout)


@pytest.mark.parametrize("activation", [ReLU, Tanh])
def test_a_right_gradient_passes(activation):
    found = gradient_check(network(activation=activation), DATA.inputs[:30], DATA.labels[:30], rng=np.random.default_rng(0))
    assert max(found.errors.values()) < 1e-7


def test_a_gradient_wrong_by_a_thousandth_is_found_and_placed():
    found = gradient_check(network(activation=Wrong), DATA.inputs[:30], DATA.labels[:30], rng=np.random.default_rng(0))
    assert found.errors["0.W"] > 4e-4 and found.errors["0.b"] > 4e-4
    assert found.errors["2.W"] < 1e-7 and found.errors["2.b"] < 1e-7


@pytest.mark.peers
def test_it_agrees_with_torch():
    torch = pytest.importorskip("torch")
    inputs, weights = DATA.inputs[:10], network().params
    w = {key: torch.tensor(array, requires_grad=True) for key, array in weights.items()}
    scores = torch.relu(torch.tensor(inputs) @ w["0.W"] + w["0.b"]) @ w["2.W"] + w["2.b"]
    torch.nn.functional.cross_entropy(scores, torch.tensor(DATA.labels[:10])).backward()

    class Theirs(Sequential):
        def backward(self, dout):
            for key, array in self.grads.items():
                array[...] = w[key].grad.numpy()

    found = gradient_check(Theirs(*network().layers), inputs, DATA.labels[:10], rng=np.random.default_rng(0))
    assert max(found.errors.values()) < 1e-7


def test_a_kink_is_left_out_and_counted_and_hides_no_bug():
    def at(bias, layer):
        model = Sequential(Affine(1, 1, rng=np.random.default_rng(0)), layer)
        model.params["0.W"][...], model.params["0.b"][...] = 1.0, bias
        return gradient_check(model, np.ones((1, 1)), np.full((1, 1), 3.0), mean_squared_error, rng=np.random.default_rng(0))

    class Negative(ReLU):
        def backward(self, dout):
            return -super().backward(dout)

    assert at(-1.0 + 5e-6, ReLU()).kinks == 2
    assert at(-0.5, ReLU()).kinks == 0 and max(at(-0.5, ReLU()).errors.values()) < 1e-9
    assert at(-0.5, Negative()).errors["0.W"] == pytest.approx(1)


def test_training_mode_and_the_model_comes_back():
    rng = np.random.default_rng(0)
    model = Sequential(Affine(64, 8, rng=rng), BatchNorm(8), Tanh(), Dropout(0.5), Affine(8, 10, rng=rng))
    before = model.state_dict()
    found = gradient_check(model, DATA.inputs[:30], DATA.labels[:30], rng=rng, train=True)
    assert max(found.errors[key] for key in found.errors if key != "0.b") < 1e-6  # that one is 0 behind batch norm
    after = model.state_dict()
    assert all((before[key] == after[key]).all() for key in before)


def test_a_loss_that_fails_leaves_the_model_as_it_was():
    model, calls = network(), []

    def loss(outputs, targets):
        calls.append(0)
        if len(calls) == 4:
            raise RuntimeError("stop")
        return mean_squared_error(outputs, targets)

    before = model.state_dict()
    with pytest.raises(RuntimeError, match="stop"):
        gradient_check(model, DATA.inputs[:3], np.zeros((3, 10)), loss, rng=np.random.default_rng(0))
    assert all((before[key] == model.params[key]).all() for key in before)


def test_refusals():
    single = Sequential(Affine(64, 10, rng=np.random.default_rng(0), dtype=np.float32))
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"model must hold float64 parameters, got float32 in '0.W'"):
        gradient_check(single, DATA.inputs[:3].astype("f4"), DATA.labels[:3], rng=rng)
    for step in (0.0, -1e-5, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"step must be a number in \(0, inf\), got"):
            gradient_check(network(), DATA.inputs[:3], DATA.labels[:3], rng=rng, step=step)
    with pytest.raises(ValueError, match="entries must be a whole number from 1 up, got 0"):
        gradient_check(network(), DATA.inputs[:3], DATA.labels[:3], rng=rng, entries=0)
    with pytest.raises(ValueError, match="classes must be a whole number from 2 up, got 1"):
        expected_first_loss(1)
    for std in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"std must be a number in \[0, inf\), got"):
            expected_first_loss(10, std)
    with pytest.raises(ValueError, match="history must hold at least one step, got none"):
        diagnose(History(), 10)
    with pytest.raises(ValueError, match="classes must be"):
        diagnose(History(losses=[1.0]), 1)


def test_a_run_without_epochs_has_no_dead_units():
    found = diagnose(History(losses=[LN10, LN10]), 10)
    assert (found.fault, found.why) == ("unsure", "the last epoch has no validation_loss and validation_accuracy")


# Before training

@pytest.mark.parametrize("std", [0.1, 1.0, 2.0])
def test_the_first_loss_lies_between_its_bounds(std):
    rng = np.random.default_rng(0)
    loss, _ = softmax_cross_entropy(std * rng.standard_normal((100_000, 10)), rng.integers(0, 10, 100_000))
    assert expected_first_loss(10) < loss < expected_first_loss(10, std)


def test_overfitting_a_batch_changes_nothing_and_finds_a_dead_network():
    model, optimizer = network(), Adam(lr=1e-2)
    before = model.state_dict()
    losses = overfit_batch(model, DATA.inputs[:10], DATA.labels[:10], optimizer, steps=100)
    assert losses.shape == (100,) and losses[-1] < 0.05
    assert all((before[key] == model.params[key]).all() for key in before)
    assert np.array_equal(losses, overfit_batch(model, DATA.inputs[:10], DATA.labels[:10], optimizer, steps=100))
    model.params["0.b"][...] = -10
    assert overfit_batch(model, DATA.inputs[:10], DATA.labels[:10], optimizer, steps=100)[-1] > 1


# The diagnosis

def rows(losses, validation, accuracy, **columns):
    return [{"loss": a, "validation_loss": b, "validation_accuracy": accuracy} | columns for a, b in zip(losses, validation)]


LN10 = math.log(10)
FINE = {"rms/inputs": 1.0, "rms/0": 1.4, "rms/1": 1.0, "dead/1": 0.1, "rms/2": 1.0, "update/0.W": 0.01, "update/2.W": 0.01}
FALLING, TOGETHER = np.linspace(2.2, 0.1, 20), np.linspace(2.3, 0.3, 20)
TURNING = np.r_[np.linspace(2.3, 1.0, 10), np.linspace(1.0, 1.8, 10)]


@pytest.mark.parametrize(("fault", "first", "epochs"), [
    ("healthy", 2.5, rows(FALLING, TOGETHER, 0.9, **FINE)),
    ("healthy", 2.5, rows(FALLING, TOGETHER, 0.9)),
    ("unscaled inputs", 2.5, rows(FALLING, TOGETHER, 0.9, **FINE | {"rms/inputs": 7.0})),
    ("unscaled inputs", 2.5, rows(FALLING, TOGETHER, 0.9, **FINE | {"rms/inputs": math.nan})),
    ("bad initialization", 40.0, rows(FALLING, TOGETHER, 0.9, **FINE)),
    ("bad initialization", LN10, rows(FALLING, TOGETHER, 0.9, **FINE | {"rms/1": 0.01})),
    ("unsure", 40.0, rows(FALLING, TOGETHER, 0.9)),
    ("dead ReLUs", 2.5, rows(FALLING, TOGETHER, 0.9, **FINE | {"dead/1": 0.9})),
    ("dead ReLUs", 2.5, rows([2.1, 2.0], [2.1, 2.0], 0.3, **FINE) + rows([2.0], [2.0], 0.3, **FINE | {"dead/1": 0.9})),
    ("learning rate too high", 2.5, rows(np.r_[9.0, FALLING], np.r_[9.0, TOGETHER], 0.9, **FINE)),
    ("learning rate too high", 2.5, rows(FALLING + 0.6, TOGETHER + 0.6, 0.6, **FINE | {"update/2.W": 0.5})),
    ("learning rate too high", 2.5, rows([2.0, 1.0, 2.3], [2.0, 1.0, 2.3], 0.1, **FINE)),
    ("learning rate too low", 2.5, rows(np.linspace(2.5, 2.2, 20), np.linspace(2.5, 2.2, 20), 0.2, **FINE | {"update/0.W": 1e-4, "update/2.W": 1e-4})),
    ("learning rate too low", 2.5, rows(np.linspace(2.5, 2.2, 20), np.linspace(2.5, 2.2, 20), 0.2)),
    ("learning rate too low", 2.5, rows(np.linspace(2.5, 2.2, 20), np.linspace(4.0, 2.3, 20), 0.2)),  # only where they end counts
    ("shuffled labels", 2.5, rows(FALLING, np.linspace(2.3, 4.0, 20), 0.12, **FINE)),
    ("overfitting", 2.5, rows(FALLING, TURNING, 0.7, **FINE)),
    ("overfitting", 2.5, rows(FALLING, TURNING, 0.7)),
    ("unsure", LN10, rows(np.full(20, LN10), np.full(20, LN10), 0.1)),
    ("unsure", 2.5, rows(FALLING, TOGETHER, 0.5, **FINE)),
    ("unsure", 2.5, [{"loss": 1.0}]),
])
def test_each_rule_on_a_made_up_history(fault, first, epochs):
    found = diagnose(History(losses=[first] * 200, epochs=epochs), 10)
    assert found.fault == fault
    assert found.why


def smooth(last):
    """Validation losses whose mean over three epochs goes from 2 to `last`."""
    return [2.0, 2.0, 2.0, 2.0, 3 * last - 4.0]


def fault(first=2.5, losses=(2.2, 0.1), validation=(2.3, 0.3), accuracy=0.9, steps=200, classes=10, monitor=True, last=None, **columns):
    epochs = rows(losses, validation, accuracy, **(FINE if monitor else {}) | {key.replace("_", "/", 1): value for key, value in columns.items()})
    epochs[-1] |= {key.replace("_", "/", 1): value for key, value in (last or {}).items()}
    return diagnose(History(losses=[first] * steps, epochs=epochs), classes).fault


UP, DOWN = 1 + 1e-9, 1 - 1e-9
WORSE = (2.5, 2.4)  # losses that say nothing by themselves


@pytest.mark.parametrize(("name", "at", "beyond"), [
    ("unscaled inputs", {"rms_inputs": 0.05}, {"rms_inputs": 0.05 * DOWN}),
    ("unscaled inputs", {"rms_inputs": 5.0, "rms_1": 1.0}, {"rms_inputs": 5.0 * UP}),
    ("bad initialization", {"first": LN10 + 2}, {"first": (LN10 + 2) * UP}),
    ("bad initialization", {"first": math.log(3) + 2, "classes": 3}, {"first": (math.log(3) + 2) * UP, "classes": 3}),
    ("dead ReLUs", {"dead_1": 0.7 * DOWN}, {"dead_1": 0.7}),
    ("dead ReLUs", {"last": {"dead_1": 0.7 * DOWN}}, {"last": {"dead_1": 0.7}}),
    ("bad initialization", {"rms_inputs": 2.0, "rms_1": 0.2}, {"rms_inputs": 2.0, "rms_1": 0.2 * DOWN}),
    ("learning rate too high", {"losses": (1.25 * 2.5, 0.1)}, {"losses": (1.25 * 2.5 * UP, 0.1)}),
    ("learning rate too high", {"first": 1.0, "losses": (1.25 * LN10, 0.1)}, {"first": 1.0, "losses": (1.25 * LN10 * UP, 0.1)}),
    ("learning rate too high", {"losses": WORSE, "update_2.W": 0.1}, {"losses": WORSE, "update_2.W": 0.1 * UP}),
    ("learning rate too high", {"losses": (2.2, 0.25 * LN10), "update_2.W": 0.5}, {"losses": (2.2, 0.25 * LN10 * UP), "update_2.W": 0.5}),
    ("learning rate too high", {"losses": (1.6, 1.15 * 1.6)}, {"losses": (1.6, 1.15 * 1.6 * UP)}),
    ("learning rate too high", {"losses": (0.9, 0.5 * LN10)}, {"losses": (0.9, 0.5 * LN10 * UP)}),
    ("learning rate too low", {"losses": WORSE, "steps": 45}, {"losses": WORSE, "steps": 44}),  # a hundredth of the weights' length each
    ("learning rate too low", {"losses": (2.2, 0.25 * LN10), "steps": 44}, {"losses": (2.2, 0.25 * LN10 * UP), "steps": 44}),
    ("shuffled labels", {"losses": (2.2, 0.95 * LN10), "validation": (2.3, 3.0), "accuracy": 0.1},
     {"losses": (2.2, 0.95 * LN10 * DOWN), "validation": (2.3, 3.0), "accuracy": 0.1}),
    ("shuffled labels", {"validation": (2.3, LN10), "accuracy": 0.1}, {"validation": (2.3, LN10 * UP), "accuracy": 0.1}),
    ("shuffled labels", {"validation": (2.3, 3.0), "accuracy": 0.1 + 0.15 * 0.9}, {"validation": (2.3, 3.0), "accuracy": (0.1 + 0.15 * 0.9) * DOWN}),
    ("shuffled labels", {"validation": (2.3, 3.0), "accuracy": 0.25 + 0.15 * 0.75, "classes": 4},
     {"validation": (2.3, 3.0), "accuracy": (0.25 + 0.15 * 0.75) * DOWN, "classes": 4}),
    ("learning rate too low", {"losses": (2.2, 0.5 * LN10), "monitor": False}, {"losses": (2.2, 0.5 * LN10 * UP), "monitor": False}),
    ("learning rate too low", {"losses": (2.2, 2.0), "validation": (2.5, 2.0 + 0.25 * LN10), "monitor": False},
     {"losses": (2.2, 2.0), "validation": (2.5, (2.0 + 0.25 * LN10) * DOWN), "monitor": False}),
    ("overfitting", {"losses": [2.0, 1.0, 0.5, 0.2, 0.1], "validation": smooth(2.04 * DOWN)},
     {"losses": [2.0, 1.0, 0.5, 0.2, 0.1], "validation": smooth(2.04 * UP)}),
    ("overfitting", {"losses": (2.2, 1.0), "validation": (1.5, 1.0 + 0.25 * LN10)}, {"losses": (2.2, 1.0), "validation": (1.5, (1.0 + 0.25 * LN10) * UP)}),
    ("healthy", {"accuracy": 0.55}, {"accuracy": 0.55 * UP}),
    ("healthy", {"accuracy": 0.625, "classes": 4}, {"accuracy": 0.625 * UP, "classes": 4}),
])
def test_each_threshold_lies_where_the_chapter_says(name, at, beyond):
    assert fault(**at) != name == fault(**beyond)


@pytest.mark.parametrize(("losses", "expected"), [
    (np.linspace(2.3, 2.0, 11), "learning rate too low"),
    (np.r_[np.linspace(2.3, 2.25, 3), np.linspace(2.26, 2.0, 9)], "learning rate too low"),  # ten of eleven steps lead down
    (np.r_[2.3, 2.31, np.linspace(2.28, 2.1, 3), 2.11], "unsure"),  # three of five
    (np.r_[2.3, 2.31, np.linspace(2.28, 2.1, 4)], "unsure"),  # four of five: not more than that
    ([2.0], "unsure"),
])
def test_without_a_monitor_a_low_rate_is_a_loss_that_falls_nearly_always(losses, expected):
    assert fault(losses=losses, validation=losses, accuracy=0.3, monitor=False) == expected


@pytest.mark.parametrize("first", [LN10 - 0.019, LN10 + 0.019])
def test_a_loss_that_stays_where_it_was_may_have_no_signal(first):
    def why(first):
        return diagnose(History(losses=[first] * 200, epochs=rows([LN10] * 5, [LN10] * 5, 0.1)), 10).why

    assert "no signal" in why(first) and "no signal" not in why(LN10 + 0.0201) + why(LN10 - 0.0201)


def test_of_two_epochs_each_validation_loss_is_taken_by_itself():
    assert fault(losses=(2.0, 0.1), validation=(1.0, 1.021)) == "overfitting" != fault(losses=(2.0, 0.1), validation=(1.0, 1.019))


@pytest.mark.parametrize(("sets", "asked", "found"), [
    (["validation"], None, "validation"), (["test"], None, "test"), (["dev", "validation"], None, "validation"), (["dev", "test"], "test", "test"),
])
def test_new_data_go_by_any_name(sets, asked, found):
    epochs = [{"loss": a} | {f"{name}_{what}": value for name in sets for what, value in (("loss", 0.3), ("accuracy", 0.9 if name == found else 0.2))}
              for a in FALLING]
    assert diagnose(History(losses=[2.5] * 200, epochs=epochs), 10, validation=asked).fault == "healthy"


@pytest.mark.parametrize(("columns", "asked"), [
    (["dev_loss", "dev_accuracy", "test_loss", "test_accuracy"], None), (["dev_loss", "dev_accuracy"], "validation"), (["dev_loss"], "dev"), ([], "dev")])
def test_a_name_that_no_new_data_have_is_refused(columns, asked):
    with pytest.raises(ValueError, match=r"validation must be one of the evaluated \[.*\], got '(dev|validation)'"):
        diagnose(History(losses=[2.5], epochs=[{"loss": 1.0} | dict.fromkeys(columns, 0.5)]), 10, validation=asked)


def test_without_new_data_or_with_an_unfinished_last_row_it_is_unsure():
    for epochs in ([{"loss": 1.0, "validation_loss": 1.0}], [*rows([1.0], [1.0], 0.9), {"rms/inputs": 1.0, "rms/0": 1.0}]):
        found = diagnose(History(losses=[2.5], epochs=epochs), 10)
        assert found == ("unsure", "the last epoch has no validation_loss and validation_accuracy")


def test_the_classes_are_asked_for():
    with pytest.raises(TypeError, match="classes"):
        diagnose(History(losses=[2.5]))


def test_the_monitor_says_which_columns_it_makes_and_measures_half_precision_in_double():
    rng = np.random.default_rng(0)
    model = Sequential(Affine(64, 20, rng=rng, dtype="f2"), ReLU(), Affine(20, 10, rng=rng, dtype="f2"))
    x = (DATA.inputs[:100] * 3000).astype("f2")
    monitor = Monitor(model, x)
    assert monitor.row()["rms/inputs"] == pytest.approx(np.sqrt(np.mean(x.astype(float) ** 2)), rel=1e-12)
    history = fit(model, DATA.inputs[:100].astype("f2"), DATA.labels[:100], SGD(lr=0.1), epochs=1, rng=rng, callbacks=[monitor])
    assert list(history.epochs[0])[1:] == monitor.columns and all(map(math.isfinite, history.epochs[0].values()))


def test_what_it_answers_is_what_it_says_it_can():
    stored = [one[column] for one in STORED["relu"] + STORED["tanh"] for column in ("diagnosis", "from_curves")]
    assert set(stored) <= {*FAULTS, "healthy", "unsure"}


# The confusion table

def test_the_file_has_all_runs_once():
    ran = [(one["fault"], one["number"]) for one in STORED["relu"]]
    assert ran == [(fault, number) for fault, count in confusion.RUNS.items() for number in range(count)]
    assert len(ran) == 100
    assert STORED["about"]["seed"] == confusion.SEED
    assert sum(not one["steady"] for one in STORED["relu"] + STORED["tanh"]) <= 2


@pytest.mark.parametrize("kind", ["relu", "tanh"])
def test_a_random_part_of_the_file_comes_out_again(kind):
    data, activation = digits(confusion.SEED), {"relu": ReLU, "tanh": Tanh}[kind]
    steady = [one for one in STORED[kind] if one["steady"]]
    same = 0
    for stored in np.random.default_rng().choice(steady, 4, replace=False):
        made = confusion.run(confusion.SEED, stored["fault"], stored["number"], data, activation)
        # The words may differ in a digit, where a rate is so high that the last bit of a sum grows into it.
        same += {key: made[key] for key in made if key != "why"} == {key: stored[key] for key in made if key != "why"}
    assert same >= 3, "one may hang on the processor's last bit, which steady on another processor does not tell"


# What the chapter says in words

def learned(model, optimizer, epochs=20):
    fit(model, DATA.inputs[:300], DATA.labels[:300], optimizer, epochs=epochs, batch_size=32, rng=np.random.default_rng(1))
    return float((model.forward(DATA.inputs[:300]).argmax(axis=1) == DATA.labels[:300]).mean())


def deep(seed, std=0.02):
    rng, sizes = np.random.default_rng(seed), [64, *[32] * 5, 10]
    layers = [Affine(a, b, rng=rng, std=std) for a, b in itertools.pairwise(sizes)]
    return Sequential(*[layer for one in layers[:-1] for layer in (one, ReLU())], layers[-1])


@pytest.mark.parametrize("seed", range(3))
def test_adam_finds_its_way_out_of_tiny_weights_but_nothing_out_of_a_dead_layer(seed):
    assert learned(deep(seed), SGD(lr=0.1)) < 0.2 < learned(deep(seed), Adam(lr=0.01))
    dead = network(seed)
    dead.params["0.b"][...] = -5
    before = dead.params["0.W"].copy()
    assert learned(dead, Adam(lr=0.01)) < 0.2
    assert (dead.params["0.W"] == before).all()


def of(width, hidden, seed, **settings):
    rng, sizes = np.random.default_rng(seed), [64, *[width] * hidden, 10]
    layers = [Affine(a, b, rng=rng, **settings) for a, b in itertools.pairwise(sizes)]
    return Sequential(*[layer for one in layers[:-1] for layer in (one, ReLU())], layers[-1])


@pytest.mark.parametrize("seed", range(2))
def test_tiny_weights_in_two_layers_only_start_late(seed):
    assert learned(of(32, 2, seed, std=0.02), SGD(lr=0.5), epochs=40) > 0.9
    assert learned(of(32, 5, seed, std=0.02), SGD(lr=0.5), epochs=40) < 0.2


def test_a_small_sound_network_may_not_learn_ten_digits_by_heart():
    four, many = ([overfit_batch(of(width, 2, seed), DATA.inputs[:10], DATA.labels[:10], SGD(lr=0.1), steps=150)[-1] for seed in range(5)]
                  for width in (4, 32))
    assert np.median(four) > 0.3 and max(many) < 0.1


def test_the_rate_at_which_shuffled_labels_looked_too_high_is_good_for_true_ones():
    [one] = [one for one in STORED["relu"] if one["fault"] == "shuffled labels" and one["diagnosis"] == "learning rate too high"]
    told = one["settings"]
    for seed in range(3):
        model = of(told["width"], told["hidden"], seed)
        x, y = DATA.inputs[:told["examples"]], DATA.labels[:told["examples"]]
        history = fit(model, x, y, SGD(lr=told["lr"]), epochs=told["epochs"], batch_size=told["batch"], rng=np.random.default_rng(seed),
                      callbacks=[Evaluate({"validation": (DATA.test_inputs, DATA.test_labels)}), Monitor(model, x)])
        assert diagnose(history, 10).fault == "healthy"


def test_the_sum_of_the_steps_bounds_the_way_and_is_not_it():
    for rate, most in ((0.3, 0.6), (0.003, 1.0)):
        model = network()
        first = model.params["2.W"].copy()
        history = train(model, SGD(lr=rate), epochs=30, examples=300, callbacks=[Monitor(model, DATA.inputs[:5])])
        steps = history["update/2.W"].mean() * len(history.losses)
        way = np.linalg.norm(model.params["2.W"] - first) / np.linalg.norm(first)
        assert way < math.expm1(steps)
        if rate == 0.3:
            assert way < most * steps


def test_a_wide_layer_moves_less_and_the_network_is_better():
    ways, right = [], []
    for width in (16, 256):
        rng = np.random.default_rng(0)
        model = Sequential(Affine(64, width, rng=rng), ReLU(), Affine(width, width, rng=rng), ReLU(), Affine(width, 10, rng=rng))
        first = model.params["2.W"].copy()
        right.append(learned(model, SGD(lr=0.1), epochs=10))
        ways.append(np.linalg.norm(model.params["2.W"] - first) / np.linalg.norm(first))
    assert ways[1] < ways[0] / 2 and right[1] > right[0]


def test_strong_curvature_is_left_out_as_a_kink():
    model = network(activation=Tanh)
    for scale, skipped in ((1.0, False), (255.0, True)):
        found = gradient_check(model, scale * DATA.inputs[:30], DATA.labels[:30], rng=np.random.default_rng(0), entries=200)
        assert (found.kinks > 0) is skipped


def test_a_backward_pass_without_the_mask_goes_downhill_and_a_little_less_far():
    class NoMask(ReLU):
        def backward(self, dout):
            return dout

    behind = []
    for seed in range(4):
        ends = []
        for activation in (ReLU, NoMask):
            model = network(seed, hidden=32, activation=activation)
            x = DATA.inputs - DATA.inputs.mean(axis=0)
            history = fit(model, x, DATA.labels, SGD(lr=0.1), epochs=8, batch_size=64, rng=np.random.default_rng(seed))
            assert (np.diff(history["loss"]) < 0).all()
            ends.append(history["loss"][-1])
        behind.append(ends[1] - ends[0])
    assert 0 < np.mean(behind) < 0.1


def test_weight_decay_does_not_help_on_a_plateau_and_helps_where_the_loss_on_new_data_rises():
    def new_loss(noise, examples, epochs, strength, seed):
        data, rng = digits(seed), np.random.default_rng(seed)
        x, others = (x + noise * rng.standard_normal(x.shape) for x in (data.inputs[:examples], data.test_inputs))
        model = network(seed, hidden=32)
        fit(model, x, data.labels[:examples], Momentum(lr=0.05, rho=0.9), epochs=epochs, batch_size=50, rng=rng,
            callbacks=[L2(strength)] if strength else [])
        return softmax_cross_entropy(model.forward(others), data.test_labels)[0]

    plateau, noisy = (0.0, 400, 30), (0.45, 60, 60)
    for seed in range(4):
        none, weak, strong = (new_loss(*plateau, strength, seed) for strength in (0, 0.001, 0.01))
        assert abs(weak / none - 1) < 0.06 and strong > 1.1 * none
        assert new_loss(*noisy, 0.03, seed) < 0.95 * new_loss(*noisy, 0, seed)


def test_the_confusion_is_what_the_chapter_reads_from_it():
    from_curves = [one for one in STORED["relu"] if one["fault"] in ("dead ReLUs", "bad initialization", "unscaled inputs")]
    assert len(from_curves) == 36 and not any(one["from_curves"] == one["fault"] for one in from_curves)
    assert all(one["steady"] for one in STORED["relu"])
    for optimizer, fault, extreme in (("SGD", "learning rate too low", max), ("Adam", "learning rate too high", min)):
        ran = [one for one in STORED["relu"] if one["fault"] == fault and one["settings"]["optimizer"] == optimizer]
        assert extreme(ran, key=lambda one: one["settings"]["lr"])["diagnosis"] != fault
