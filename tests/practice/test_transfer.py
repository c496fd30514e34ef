"""Transfer: what is frozen stays as it is bit for bit, what is new is trained, and the source model is left alone."""

import copy
import operator

import numpy as np
import pytest
import transfer_rates as script

from reference_impl import SGD, Adam, Affine, Conv2D, Flatten, Momentum, ReLU, Sequential, Sigmoid, fit, measured, softmax_cross_entropy
from reference_impl.generalization.batch_norm import BatchNorm
from reference_impl.generalization.dropout import Dropout
from reference_impl.generalization.weight_decay import L2
from reference_impl.practice.transfer import features, freeze, with_new_head


def data(seed=0, n=40, inputs=6, classes=3):
    rng = np.random.default_rng(seed)
    return rng.integers(17, size=(n, inputs)) / 16, rng.integers(classes, size=n)


def network(seed=1, inputs=6):
    """With every kind of layer that trains or draws; the head is the last."""
    rng = np.random.default_rng(seed)
    model = Sequential(Affine(inputs, 8, rng=rng), BatchNorm(8), ReLU(), Dropout(0.5), Affine(8, 7, rng=rng), Sigmoid(), Affine(7, 3, rng=rng))
    x, y = data(9)
    fit(model, x, y, Momentum(lr=0.1), epochs=3, rng=rng, batch_size=8)
    return model


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)


class Watched(SGD):
    """Notes the keys that it is given."""

    def update(self, params, grads):
        self.__dict__.setdefault("seen", set()).update(params, grads)
        super().update(params, grads)


# freeze

@pytest.mark.parametrize("optimizer", [SGD(lr=0.1), Momentum(lr=0.1), Adam(lr=0.1, eps=1e-8)])
@pytest.mark.parametrize("penalty", [None, L2(0.1)])
@pytest.mark.parametrize("frozen", [[0, 1, 2, 3, 4, 5], [0, 1], [4], [0, 4]])
def test_frozen_layers_are_unchanged_bit_for_bit_and_all_others_train(frozen, penalty, optimizer):
    model, (x, y) = network(), data()
    freeze(model, frozen)
    before = model.state_dict()
    fit(model, x, y, copy.deepcopy(optimizer), epochs=3, rng=np.random.default_rng(2), batch_size=16,
        callbacks=[penalty] if penalty else [])
    for key, array in model.state_dict().items():
        assert np.array_equal(array, before[key]) == (int(key.split(".")[0]) in frozen), key


def test_an_optimizer_never_sees_what_is_frozen():
    model, (x, y), optimizer = network(), data(), Watched(lr=0.1)
    freeze(model, [0, 1])
    fit(model, x, y, optimizer, epochs=1, rng=np.random.default_rng(2))
    assert optimizer.seen == {"4.W", "4.b", "6.W", "6.b"} == set(model.params) == set(model.grads)


def test_a_frozen_body_runs_in_training_as_at_test_time_and_draws_nothing():
    model, (x, _) = network(), data()
    freeze(model, range(6))
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(model.forward(x, train=True, rng=rng), model.forward(x))
    assert rng.bit_generator.state == np.random.default_rng(3).bit_generator.state


def test_where_only_the_parameters_are_held_batch_norm_still_changes():
    model, (x, _) = network(), data()
    before = model.state_dict()
    model.forward(x, train=True, rng=np.random.default_rng(3))
    changed = {key for key, array in model.state_dict().items() if not np.array_equal(array, before[key])}
    assert changed == {"1.mean", "1.var"}


@pytest.mark.peers
def test_in_torch_without_a_gradient_the_statistics_move_until_eval_is_called():
    """What the chapter says of PyTorch."""
    torch = pytest.importorskip("torch")
    layer, x = torch.nn.BatchNorm1d(3), torch.arange(12.0).reshape(4, 3)
    layer.requires_grad_(False)
    layer(x)
    moved = layer.running_mean.clone()
    assert (moved != 0).all()
    layer.eval()
    layer(x)
    assert (layer.running_mean == moved).all()


def test_the_gradient_goes_through_a_frozen_layer_as_through_any():
    model, (x, y) = network(), data()
    freeze(model, [1, 3])  # as at test time, as is everything in the pass that it is compared with
    _, dout = softmax_cross_entropy(model.forward(x), y)
    expected = model.backward(dout)
    gradients = {key: array.copy() for key, array in model.grads.items()}
    freeze(model, [1, 2, 3, 4, 5, 6])
    _, dout = softmax_cross_entropy(model.forward(x, train=True, rng=np.random.default_rng(0)), y)
    np.testing.assert_array_equal(model.backward(dout), expected)
    assert model.grads.keys() == {"0.W", "0.b"}
    np.testing.assert_array_equal(model.grads["0.W"], gradients["0.W"])


def test_freezing_thaws_what_is_not_named_and_a_thawed_layer_trains():
    model, (x, y) = network(), data()
    freeze(model, range(6))
    freeze(model, [-1])
    assert [layer.frozen for layer in model.layers] == [False] * 6 + [True]
    freeze(model, [])
    assert not any(layer.frozen for layer in model.layers)
    before = model.state_dict()
    fit(model, x, y, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(2))
    assert all((array != before[key]).any() for key, array in model.state_dict().items())


def test_places_may_be_any_whole_numbers_from_either_end_and_come_twice():
    one, other = network(), network()
    freeze(one, np.array([0, 6, 6]))
    freeze(other, iter([-7, -1]))
    assert [layer.frozen for layer in one.layers] == [layer.frozen for layer in other.layers] == [True, *[False] * 5, True]


@pytest.mark.parametrize(("places", "error", "message"), [
    ([0, 7], IndexError, "layers must be places of a model with 7 layers, got 7"),
    ([-8], IndexError, "layers must be places of a model with 7 layers, got -8"),
    ([0, 1.0], TypeError, "layers must be whole numbers, got 1.0"),
    (["0"], TypeError, "layers must be whole numbers, got '0'"),
    ([True, False], TypeError, "layers must be whole numbers, got True"),
    (2, TypeError, "layers must be a list of places, got 2"),
    ("", TypeError, "layers must be a list of places, got ''"),
])
def test_freeze_refuses_what_is_no_place_and_changes_nothing(places, error, message):
    model = network()
    freeze(model, [1])
    with pytest.raises(error, match=message):
        freeze(model, places)
    assert [layer.frozen for layer in model.layers] == [False, True, *[False] * 5]


# with_new_head

def test_the_model_stays_as_it_is_whatever_is_done_with_the_copy():
    model, (x, y), rng = network(), data(classes=5), np.random.default_rng(4)
    freeze(model, [0, 1])
    before, outputs = model.state_dict(), model.forward(x)
    copied = with_new_head(model, Affine(7, 5, rng=rng))
    assert not any(layer.frozen for layer in copied.layers)
    fit(copied, x, y, Momentum(lr=0.5), epochs=3, rng=rng)
    assert same(model.state_dict(), before) and [layer.frozen for layer in model.layers] == [True, True, *[False] * 5]
    np.testing.assert_array_equal(model.forward(x), outputs)
    assert not np.array_equal(features(copied, x), features(model, x))


@pytest.mark.parametrize("body", range(-7, 8))
def test_the_body_is_the_models_and_the_head_the_given_layers_themselves(body):
    model, (x, _), head = network(), data(), [Flatten(), ReLU()]
    new = with_new_head(model, *head, body=body)
    count = body % 7 if body < 7 else 7
    assert len(new.layers) == count + 2 and all(map(operator.is_, new.layers[count:], head))
    np.testing.assert_array_equal(new.forward(x), np.maximum(features(model, x, body), 0))
    assert not {id(layer) for layer in new.layers} & {id(layer) for layer in model.layers}


@pytest.mark.parametrize(("call", "message"), [
    (lambda: with_new_head(network()), "head must hold at least one layer, got none"),
    (lambda: with_new_head(network(), ReLU(), body=8), "body must be a place in a model with 7 layers, got 8"),
    (lambda: with_new_head(network(), ReLU(), body=-8), "body must be a place in a model with 7 layers, got -8"),
    (lambda: features(network(), data()[0], 8), "body must be a place in a model with 7 layers, got 8"),
])
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_head_must_be_layers():
    with pytest.raises(TypeError, match="head must be a Layer, got 5"):
        with_new_head(network(), 5)


# features

def test_features_are_the_cut_models_output_at_test_time_and_nothing_moves():
    model, (x, _) = network(), data()
    before, out = model.state_dict(), x
    for i, layer in enumerate(model.layers):
        np.testing.assert_array_equal(features(model, x, i), out)
        out = layer.forward(out)
    np.testing.assert_array_equal(features(model, x, 7), model.forward(x))
    np.testing.assert_array_equal(features(model, x), features(model, x, 6))
    assert same(model.state_dict(), before)


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_a_head_on_features_computed_once_goes_the_same_way_bit_for_bit(batch_size):
    """Inputs and body are multiples of a power of two, so that a product does not depend on how many rows it has."""
    rng = np.random.default_rng(5)
    body = [Conv2D(1, 3, 2, rng=rng), ReLU(), Flatten(), Affine(12, 6, rng=rng), ReLU()]
    for layer in body:
        for array in layer.params.values():
            array[...] = np.round(array * 64) / 64
    whole = Sequential(*body, Affine(6, 4, rng=rng), ReLU(), Affine(4, 3, rng=rng))
    freeze(whole, range(5))
    alone = Sequential(*copy.deepcopy(whole.layers[5:]))
    x, y = data(n=40, inputs=9)
    x = x.reshape(40, 3, 3, 1)
    told = [fit(model, inputs, y, Adam(lr=0.01), epochs=4, rng=np.random.default_rng(6), batch_size=batch_size)
            for model, inputs in ((whole, x), (alone, features(whole, x, 5)))]
    assert told[0].losses == told[1].losses
    assert all(np.array_equal(array, whole.params[f"{int(key[0]) + 5}{key[1:]}"]) for key, array in alone.params.items())


# What the chapter derives

@pytest.mark.parametrize(("n", "k", "missed"), [(12, 3, 0.0), (40, 10, 3.0), (60, 20, 0.5)])
def test_the_risk_of_least_squares_on_some_of_the_features(n, k, missed):
    """Above the noise: missed + (1 + missed) k / (n - k - 1), of which the expected inverse Wishart trace is the heart."""
    rng, draws = np.random.default_rng(7), 4000
    z = rng.normal(size=(draws, n, k))
    noise = rng.normal(size=(draws, n, 1)) * (1 + missed) ** 0.5  # what is missed is noise to the head
    zt = z.swapaxes(1, 2)
    errors = (np.linalg.solve(zt @ z, zt @ noise) ** 2).sum(axis=(1, 2)) + missed
    derived = missed + (1 + missed) * k / (n - k - 1)
    assert abs(errors.mean() - derived) < 4.5 * errors.std() / draws**0.5


@pytest.mark.parametrize(("d", "k", "missed"), [(40, 10, 0.2), (40, 10, 3.0), (8, 7, 0.01)])
def test_freezing_wins_below_the_derived_number_of_examples_and_loses_above(d, k, missed):
    crossing = d + 1 + (d - k) / missed

    def gain(n):
        return d / (n - d - 1) - (missed + (1 + missed) * k / (n - k - 1))

    assert gain(crossing) == pytest.approx(0, abs=1e-12) and gain(crossing - 1) > 0 > gain(crossing + 1)


def test_the_gradient_that_a_head_sends_into_the_body_is_at_most_its_norm_times_the_loss():
    rng = np.random.default_rng(8)
    for scale in (0.1, 1.0, 30.0):
        head = Affine(6, 4, rng=rng, std=scale)
        h, y = rng.normal(size=(50, 6)), rng.integers(4, size=50)
        norm = np.linalg.norm(head.params["W"], 2)
        for i in range(50):
            loss, dout = softmax_cross_entropy(head.forward(h[i:i + 1]), y[i:i + 1])
            assert np.linalg.norm(head.backward(dout)) <= 2**0.5 * norm * loss + 1e-12


def test_a_head_of_zeros_sends_nothing_into_the_body_in_the_first_step():
    model, (x, y) = with_new_head(network(), Affine(7, 3, rng=np.random.default_rng(0), std=0.0)), data()
    before = model.state_dict()
    fit(model, x, y, SGD(lr=0.5), epochs=1, batch_size=40, rng=np.random.default_rng(2))
    changed = {key for key, array in model.state_dict().items() if not np.array_equal(array, before[key])}
    assert changed == {"6.W", "6.b", "1.mean", "1.var"}


def test_a_network_on_shuffled_inputs_is_the_network_with_shuffled_rows():
    """The chapter's dissimilar body."""
    (x, y), order = data(inputs=30), np.random.default_rng(3).permutation(30)
    rng = np.random.default_rng(4)
    plain = Sequential(Affine(30, 5, rng=rng), ReLU(), Affine(5, 3, rng=rng))
    moved = copy.deepcopy(plain)
    moved.layers[0].params["W"][...] = plain.layers[0].params["W"][order]
    for model, inputs in ((plain, x), (moved, x[:, order])):
        fit(model, inputs, y, Momentum(lr=0.1), epochs=10, batch_size=16, rng=np.random.default_rng(5))
    np.testing.assert_allclose(moved.params["0.W"], plain.params["0.W"][order], rtol=0, atol=1e-12)
    np.testing.assert_allclose(moved.params["2.W"], plain.params["2.W"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n", "d"), [(45, 40), (90, 40)])
def test_with_weight_decay_from_scratch_a_body_that_misses_most_never_wins(n, d):
    """That freezing wins with few examples on any body is a sentence about least squares without restraint."""
    rng, draws, signal, missed = np.random.default_rng(9), 400, 4.0, 3.0
    x = rng.normal(size=(draws, n, d))
    beta = np.eye(d)[0] * signal**0.5
    xt, y = x.swapaxes(1, 2), x @ beta + rng.normal(size=(draws, n))
    risk = {decay: ((np.linalg.solve(xt @ x + decay * np.eye(d), xt @ y[:, :, None])[:, :, 0] - beta) ** 2).sum(axis=1).mean()
            for decay in (0.0, d / signal)}
    frozen = missed + (1 + missed) * 10 / (n - 10 - 1)
    assert risk[d / signal] < risk[0] and risk[d / signal] < frozen / 2
    assert (risk[0] > frozen) == (n < d + 1 + 30 / missed)  # the derived crossing


# What the chapter measures: the file of the rates

STORED = measured("transfer_rates")
DIGITS, RATES, SIZES = np.array(STORED["digits"]), np.array(STORED["rates"]), STORED["sizes"]
ACCURACY = {way: np.array(counts) / DIGITS[:, None, None] for way, counts in STORED["right"].items()}


@pytest.fixture(scope="module")
def chapter():
    return script.chapter()


def chosen(way):
    return ACCURACY[way][..., 0].argmax(axis=2)


def tuned(way):
    return np.take_along_axis(ACCURACY[way][..., 1], chosen(way)[..., None], 2)[..., 0]


def errors(a, b):
    """The mean paired difference in standard errors, for each number of labels."""
    gap = a - b
    return gap.mean(axis=0) / (gap.std(axis=0, ddof=1) / len(gap) ** 0.5)


def test_the_file_holds_what_the_script_makes(chapter):
    counts, found = script.measure(chapter, 3, [60])
    assert counts == STORED["digits"][3] and found.keys() == STORED["right"].keys()
    assert STORED["rates"] == script.RATES and STORED["sizes"] == script.SIZES and len(DIGITS) == script.SPLITS >= 10
    for way, by_size in found.items():  # on another machine a digit or two may fall to the other side
        off = np.abs(np.array(by_size[0]) - STORED["right"][way][3][SIZES.index(60)])
        assert off.max() <= 8 and off.mean() <= 1, way


def test_validation_and_test_digits_are_apart_from_all_that_is_learnt_from(chapter):
    task = chapter["draw"](0)
    assert len(task.inputs) - max(SIZES) == DIGITS[0, 0] and len(task.new_test[1]) == DIGITS[0, 1]

    def originals(fields):
        """Each picture without its place: rows and columns that are dark all over are taken off."""
        shown = [field.reshape(11, 11) for field in fields]
        return {(image[image.any(axis=1)][:, image.any(axis=0)]).tobytes() for image in shown}

    assert not originals(task.inputs) & originals(task.new_test[0])


def test_fine_tuning_is_ahead_of_scratch_at_every_size_and_freezing_only_where_labels_are_few():
    scratch = tuned("from scratch")
    assert (errors(tuned("fine-tuned"), scratch) > 2.5).all()
    assert (errors(tuned("fine-tuned"), tuned("from scratch, twice"))[1:] > 2.5).all()
    frozen = errors(tuned("frozen"), scratch)
    assert (frozen[:2] > 4).all() and (frozen[2:] < -4).all()
    assert (errors(tuned("frozen"), tuned("pixels")) > 4).all() and (errors(tuned("frozen, dissimilar"), tuned("pixels")) < -2).all()


def test_the_loss_behind_a_dissimilar_body_is_one_of_steps():
    strange = tuned("fine-tuned, dissimilar")
    assert errors(strange, tuned("from scratch"))[2] < -3
    assert np.abs(errors(strange, tuned("from scratch, half"))).max() < 2


def test_the_best_rate_of_fine_tuning_is_lower_with_many_labels_and_does_not_matter_with_few():
    octaves = np.log2(RATES[chosen("from scratch, half")] / RATES[chosen("fine-tuned")])
    assert errors(octaves, 0)[2] > 3 and errors(octaves, 0)[3] > 1.5
    assert 0.8 < octaves[:, 2].mean() < 1.5 and 0.3 < octaves[:, 3].mean() < 1
    few, more = (ACCURACY["fine-tuned"][:, i, :, 1].mean(axis=0) for i in (1, 2))
    assert np.ptp(few) < 0.02 and np.ptp(more[:4]) < 0.03 and more.max() - more[-1] > 0.3
    best = {way: RATES[ACCURACY[way][..., 1].mean(axis=0).argmax(axis=1)] for way in ("fine-tuned", "from scratch, half")}
    assert (best["fine-tuned"][2:] < best["from scratch, half"][2:]).all()


def test_a_slower_body_has_either_sign_at_one_rate_and_gains_nothing_at_chosen_ones_behind_a_trained_head():
    for start in ("fine-tuned", "random head"):
        same_rate = errors(ACCURACY[f"{start}, body at 0.1"][:, 2, :, 1], ACCURACY[start][:, 2, :, 1])
        assert (same_rate[:3] < -4).all() and (same_rate[4:] > 2).all()
    for part in (0.3, 0.1):
        assert (errors(tuned(f"fine-tuned, body at {part}"), tuned("fine-tuned")) < 2).all()
    assert errors(tuned("fine-tuned, body at 0.1"), tuned("fine-tuned"))[2] < -2
    at_rates = ACCURACY["fine-tuned, body at 0.1"][..., 0].mean(axis=0)
    assert (at_rates.argmax(axis=1)[[1, 3]] == len(RATES) - 1).all() and at_rates[2].argmax() < len(RATES) - 1  # where the grid may be too short
    gain = errors(tuned("random head, body at 0.1"), tuned("random head"))
    assert gain[0] > 2 and np.abs(gain[1:]).max() < 2
    assert (tuned("fine-tuned") - tuned("random head, body at 0.1")).mean(axis=0).min() > 0


def test_with_as_many_epochs_the_random_head_is_behind_with_the_fewest_labels_alone():
    behind = errors(tuned("fine-tuned"), tuned("random head"))
    assert behind[0] > 3 and behind[2] > 3
    as_long = errors(tuned("fine-tuned"), tuned("random head, all epochs"))
    assert as_long[0] > 3 and np.abs(as_long[1:]).max() < 2


def test_a_random_head_has_a_small_loss_on_many_examples_and_a_trained_one_has_a_larger_norm(chapter):
    task = chapter["draw"](0)
    source, guessing = chapter["pretrain"](task, 0), np.log(5)
    x, y = task.inputs[:60], task.labels[:60]
    parts, norms, losses = [], [], []
    for seed in range(10):
        model = chapter["new_head"](source, seed, 60)
        for _ in range(2):
            loss = np.array([softmax_cross_entropy(model.forward(x[i:i + 1]), y[i:i + 1])[0] for i in range(60)])
            parts.append((loss < guessing).mean())
            losses.append(loss.mean())
            norms.append(np.linalg.norm(model.layers[2].params["W"], 2))
            chapter["train_head"](model, task, seed, 60)
    assert 0.25 < np.mean(parts[::2]) < 0.55 and np.mean(losses[::2]) > guessing
    assert np.mean(norms[1::2]) > 2 * np.mean(norms[::2]) and np.mean(losses[1::2]) < guessing / 4


def test_shrunk_to_the_length_of_the_other_a_change_behind_a_random_head_costs_the_old_task_no_more(chapter):
    gaps = []
    for seed in range(4):
        task = chapter["draw"](seed)
        source = chapter["pretrain"](task, seed)
        body, models = source.layers[0].params, [chapter["new_head"](source, seed, 60) for _ in range(2)]
        chapter["train_head"](models[1], task, seed, 60)
        changes = []
        for model in models:
            chapter["train_all"](model, task, seed, 60, 0.5)
            changes.append({key: model.layers[0].params[key] - body[key] for key in body})
        lengths = [sum((c**2).sum() for c in change.values()) ** 0.5 for change in changes]
        kept = []
        for which, part in ((0, 1.0), (1, 1.0), (0, lengths[1] / lengths[0])):
            changed = copy.deepcopy(source)
            for key, array in changed.layers[0].params.items():
                array[...] = body[key] + part * changes[which][key]
            kept.append(chapter["right"](changed, task.old_test))
        gaps.append((kept[1] - kept[0], kept[1] - kept[2]))
    longer, shrunk = np.mean(gaps, axis=0)
    assert longer > 0.08 and abs(shrunk) < 0.04 < longer / 2
