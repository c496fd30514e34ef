"""Groups: which key goes where, that a group steps as its optimizer alone, and that they are one optimizer in everything else."""

import copy
import io
import re

import numpy as np
import pytest
from rules import OPTIMIZERS

from reference_impl import (
    SGD,
    Adam,
    AdamW,
    Affine,
    BatchNorm,
    Momentum,
    Muon,
    ReLU,
    Sequential,
    bowl,
    digits,
    evaluate,
    fit,
    flatten,
    minimize,
    train,
    warmup,
)
from reference_impl.optimization.groups import Groups


def problem(seed=0, dtype="f8"):
    rng = np.random.default_rng(seed)
    return {key: rng.normal(size=shape).astype(dtype) for key, shape in {"0.W": (3, 4), "0.b": (4,), "1.W": (4, 2), "1.b": (2,)}.items()}


def mixed(**bounds):
    return Groups({"*.b": AdamW(lr=1e-2, weight_decay=0.0), "0.*": AdamW(lr=warmup(3, 1e-3)), "*": Muon(lr=0.02)}, **bounds)


def test_the_first_pattern_that_fits_takes_a_key():
    assert mixed().assign(list(problem())) == {"*.b": ["0.b", "1.b"], "0.*": ["0.W"], "*": ["1.W"]}
    assert Groups({"[01].?": SGD(), "x": SGD()}).assign(["0.W", "x"]) == {"[01].?": ["0.W"], "x": ["x"]}
    assert Groups({"*.B": SGD(), "*": SGD()}).assign(["0.b", "0.B"]) == {"*.B": ["0.B"], "*": ["0.b"]}  # capitals are other letters
    assert mixed().optimizer_of("1.W").rule is Muon.rule and Adam().optimizer_of("w").lr == 1e-3


@pytest.mark.parametrize("form", [dict, flatten], ids=["dict", "flat"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_group_steps_as_its_optimizer_alone(kind, form):
    groups, biases, rest = Groups({"*.b": Adam(lr=0.3), "*": OPTIMIZERS[kind]()}), Adam(lr=0.3), OPTIMIZERS[kind]()
    params, expected = form(problem()), problem()
    for seed in range(1, 5):
        grads = problem(seed)
        groups.update(params, grads)
        for optimizer, last in ((biases, "b"), (rest, "W")):
            optimizer.update(*({key: of[key] for key in of if key.endswith(last)} for of in (expected, grads)))
    np.testing.assert_equal(dict(params), expected)
    assert groups.steps == 4


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_group_may_have_other_keys_than_before_where_another_keeps_its_own(kind):
    """One layer after the other thaws and freezes again: the same as with an optimizer for each parameter."""
    groups = Groups({"head": Adam(lr=0.1), "*": OPTIMIZERS[kind]()})
    params, expected = ({key: np.ones((2, 2)) for key in ("head", "first", "second")} for _ in range(2))
    rules = {key: Adam(lr=0.1) if key == "head" else OPTIMIZERS[kind]() for key in params}
    for keys in (["head", "first"], ["head", "second"], ["head", "first"]):
        groups.update({key: params[key] for key in keys}, {key: np.full((2, 2), 0.5) for key in keys})
        for key in params:
            if key in keys:
                rules[key].update({key: expected[key]}, {key: np.full((2, 2), 0.5)})
            else:
                rules[key].steps += 1  # schedules follow the steps of all
    for key, w in params.items():
        np.testing.assert_allclose(w, expected[key], rtol=1e-14)
    if rules["first"].state:
        with pytest.raises(ValueError, match=r"params must keep the keys of the earlier steps"):
            groups.update({"strange": np.ones((2, 2))}, {"strange": np.ones((2, 2))})


@pytest.mark.parametrize("store", ["dict", "npz"])
def test_a_resumed_run_is_the_same_run(store):
    uninterrupted, first, second = mixed(clip_norm=1.0), mixed(clip_norm=1.0), mixed(clip_norm=1.0)
    whole, half = problem(), problem()
    for seed in range(8):
        if seed == 2:
            uninterrupted.groups["*"].lr = 0.01
            uninterrupted.clip_norm = 0.5
        uninterrupted.update(whole, problem(seed))
    for seed in range(4):
        if seed == 2:
            first.groups["*"].lr = 0.01
            first.clip_norm = 0.5
        first.update(half, problem(seed))
    saved = first.state_dict()
    assert saved["steps"] == saved["*.b/steps"] == 4 and saved["*/hyper/lr"] == 0.01 and saved["*/made/lr"] == 0.02 and saved["hyper/clip_norm"] == 0.5
    assert {"*.b/m/0.b", "0.*/v/0.W", "*/v/1.W", "*/steps/1.W"} <= saved.keys()
    if store == "npz":
        np.savez(file := io.BytesIO(), **saved)
        file.seek(0)
        saved = np.load(file)
    second.load_state_dict(saved)
    for seed in range(4, 8):
        second.update(half, problem(seed))
    np.testing.assert_equal(half, whole)
    np.testing.assert_equal(second.state_dict(), uninterrupted.state_dict())


@pytest.mark.parametrize(("other", "says"), [
    (lambda: mixed(), "saved must come from an optimizer made with clip_norm = None as this one is, got clip_norm = 1.0"),
    (lambda: Groups({"*": Muon(lr=0.02)}, clip_norm=1.0), "saved must come from the rule \"groups ['*']\", got \"groups ['*.b', '0.*', '*']\""),
    (lambda: Groups({"*.b": AdamW(lr=1e-2, weight_decay=0.0), "0.*": AdamW(lr=warmup(3, 1e-3)), "*": Muon(lr=0.5)}, clip_norm=1.0),
     "made with lr = 0.5 as this one is, got lr = 0.02, in the group '*'"),
    (lambda: Groups({"*.b": AdamW(lr=1e-2, weight_decay=0.0), "0.*": AdamW(lr=warmup(3, 1e-3)), "*": SGD(lr=0.02)}, clip_norm=1.0),
     "saved must come from the rule 'sgd', got 'muon', in the group '*'"),
])
def test_groups_of_another_make_are_refused_and_nothing_is_loaded(other, says):
    optimizer, resumed = mixed(clip_norm=1.0), other()
    optimizer.update(problem(), problem(1))
    before = resumed.state_dict()
    with pytest.raises(ValueError, match=re.escape(says)):
        resumed.load_state_dict(optimizer.state_dict())
    np.testing.assert_equal(resumed.state_dict(), before)


@pytest.mark.parametrize("change", [lambda s: s | {"*.b/steps": -1}, lambda s: s | {"elsewhere/rule": "sgd"}, lambda s: s | {"*/q/1.W": np.ones(2)},
                                    lambda s: {k: v for k, v in s.items() if not k.startswith("0.*/")}])
def test_a_damaged_file_is_refused(change):
    optimizer = mixed()
    optimizer.update(problem(), problem(1))
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match="saved"):
        optimizer.load_state_dict(change(before))
    np.testing.assert_equal(optimizer.state_dict(), before)


WRONG = {
    "a list": (lambda: Groups([SGD()]), TypeError, "groups must be a dict of optimizers, got [SGD(lr=0.01)]"),
    "None": (lambda: Groups(None), TypeError, "groups must be a dict of optimizers, got None"),
    "none": (lambda: Groups({}), ValueError, "groups must hold a pattern and its optimizer, got none"),
    "nothing": (lambda: Groups(), ValueError, "groups must hold a pattern"),
    "a key that is no pattern": (lambda: Groups({3: SGD()}), TypeError, "groups must have patterns of keys as keys, got 3"),
    "a class": (lambda: Groups({"*": SGD}), TypeError, "groups['*'] must be an optimizer with a rule, got <class"),
    "a word": (lambda: Groups({"*": "sgd"}), TypeError, "groups['*'] must be an optimizer with a rule, got 'sgd'"),
    "groups": (lambda: Groups({"*": Groups({"*": SGD()})}), TypeError, "groups['*'] must be an optimizer with a rule, got Groups"),
    "two bounds": (lambda: Groups({"*": SGD(clip_norm=1)}, clip_norm=2), ValueError, "groups['*'] must have no clip_norm beside that of all groups, got 1"),
    "two kinds of bound": (lambda: Groups({"*": SGD(clip_value=1)}, clip_norm=2), ValueError, "groups['*'] must have no clip_value beside that of all groups, got 1"),
    "a bound of 0": (lambda: Groups({"*": SGD()}, clip_norm=0), ValueError, "clip_norm must lie in (0, inf), got 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_makes_no_groups_is_refused(case):
    make, error, says = WRONG[case]
    with pytest.raises(error, match=f"^{re.escape(says)}"):
        make()


@pytest.mark.parametrize(("params", "spoil", "error", "says"), [
    (problem(), lambda p, g: g["1.b"].fill(np.nan), ValueError, "grads['1.b'] must be finite, got nan at index (0,)"),
    (problem(), lambda p, g: g["0.b"].fill(1e160), ValueError, "grads['0.b'] must leave the state of adamw within float64, got 1e+160 at index (0,)"),
    (problem(), lambda p, g: g.pop("1.b"), ValueError, "grads must have the keys of params"),
    (problem(), lambda p, g: g.update({"1.W": g["1.W"].T}), ValueError, "grads['1.W'] must have the shape (4, 2) of its parameter, got (2, 4)"),
    (problem(), lambda p, g: p.update({"1.b": p["0.b"][:2]}), ValueError, "params['0.b'] must not share memory"),
    (problem(), lambda p, g: g.update({"1.W": p["0.W"].reshape(-1)[:8].reshape(4, 2)}), ValueError, "must not share memory"),
    (problem() | {"2.x": np.ones(3)}, lambda p, g: None, ValueError, "params['2.x'] must be a matrix for Muon, got the shape (3,)"),
    (problem(), lambda p, g: p["1.W"].flags.__setattr__("writeable", False), ValueError, "params['1.W'] must be writeable"),
])
def test_all_groups_are_checked_before_any_steps(params, spoil, error, says):
    params = copy.deepcopy(params)
    optimizer, grads = mixed(), {key: np.ones_like(w) for key, w in params.items()}
    spoil(params, grads)
    before = copy.deepcopy(params)
    with pytest.raises(error, match=re.escape(says) if "share" not in says else "must not share memory"):
        optimizer.update(params, grads)
    np.testing.assert_equal(params, before)
    assert optimizer.steps == 0 and not optimizer.state and all(group.steps == 0 for group in optimizer.groups.values())


def test_a_key_that_no_pattern_fits_is_refused_by_name():
    with pytest.raises(ValueError, match=re.escape("params must have keys that a pattern fits ['*.b'], got '0.W'")):
        Groups({"*.b": SGD()}).update(problem(), problem())
    with pytest.raises(ValueError, match=re.escape("groups must have patterns that fit a key, got ['*.bias'] for the keys ['0.W', '0.b', '1.W', '1.b']")):
        Groups({"*.bias": SGD(), "*": SGD()}).assign(list(problem()))


@pytest.mark.parametrize("wrong", [None, [np.ones(2)], {"w": [1.0]}, {3: np.ones(2)}], ids=repr)
def test_what_is_no_dict_of_arrays_is_refused(wrong):
    with pytest.raises(TypeError, match="params"):
        Groups({"*": SGD()}).update(wrong, {})


def test_fit_knows_the_keys_of_frozen_layers_too():
    rng = np.random.default_rng(0)
    model = Sequential(Affine(3, 4, rng=rng), ReLU(), Affine(4, 2, rng=rng))
    model.layers[0].frozen = True
    x, labels = rng.normal(size=(8, 3)), np.arange(8) % 2
    before = model.state_dict()
    optimizer = Groups({"2.weights": SGD(), "*": SGD()})
    with pytest.raises(ValueError, match=r"groups must have patterns that fit a key, got \['2.weights'\] for the keys \['0.W', '0.b', '2.W', '2.b'\]"):
        fit(model, x, labels, optimizer, epochs=1, rng=rng)
    np.testing.assert_equal(model.state_dict(), before)
    assert optimizer.steps == 0
    fit(model, x, labels, Groups({"0.*": SGD(lr=1e-3), "*": Adam(lr=0.1, eps=0.0)}), epochs=1, rng=rng)
    np.testing.assert_equal(model.state_dict()["0.W"], before["0.W"])
    assert (model.state_dict()["2.W"] != before["2.W"]).all()


def test_each_pattern_has_a_fresh_optimizer_of_its_own():
    used = Adam(lr=0.1)
    used.update({"w": np.ones(1)}, {"w": np.ones(1)})
    groups = Groups({"a": used, "b": used})
    groups.update({"a": np.zeros(1), "b": np.zeros(2)}, {"a": np.ones(1), "b": np.ones(2)})
    assert used.steps == 1 and list(used.state["m"]) == ["w"]
    groups.groups["a"].lr = 0.2
    assert groups.hyperparameters()["a/lr"] == 0.2 and groups.hyperparameters()["b/lr"] == used.lr == 0.1


def test_schedules_follow_the_count_of_all_groups():
    groups = Groups({"a": SGD(lr=lambda step: 1.0 + step), "b": SGD(lr=lambda step: 10.0 + step)})
    groups.update({"a": np.zeros(1)}, {"a": np.ones(1)})
    assert groups.hyperparameters() == {"a/lr": 2.0, "b/lr": 11.0}
    b = {"b": np.zeros(1)}
    groups.update(b, {"b": np.ones(1)})
    assert b["b"] == -11 and [group.steps for group in groups.groups.values()] == [2, 2]
    groups.groups["a"].lr = lambda step: -1.0
    with pytest.raises(ValueError, match=r"lr\(2\) must lie in \(0, inf\), got -1"):
        groups.update(b, {"b": np.ones(1)})


def test_groups_go_wherever_an_optimizer_goes():
    one, other = minimize(bowl(2), [2.0, 1.0], Groups({"*": Momentum(lr=0.1)}), 5), minimize(bowl(2), [2.0, 1.0], Momentum(lr=0.1), 5)
    np.testing.assert_array_equal(one.path, other.path)

    x = np.random.default_rng(0).normal(size=(12, 3))
    labels = np.arange(12) % 2

    def network():
        rng = np.random.default_rng(1)
        return Sequential(Affine(3, 4, rng=rng), ReLU(), Affine(4, 2, rng=rng))

    models = network(), network()
    for model, optimizer in zip(models, (Groups({"*.b": AdamW(), "*": AdamW()}), AdamW())):
        fit(model, x, labels, optimizer, epochs=2, batch_size=4, rng=np.random.default_rng(2))
    np.testing.assert_equal(models[0].params, models[1].params)

    def loss(params, inputs, targets):
        error = inputs @ params["w"] - targets
        return float(np.mean(error**2)), {"w": 2 * inputs.T @ error / len(inputs)}

    params = {"w": np.zeros(3)}
    losses = train(loss, params, x, x[:, 0], Groups({"w": SGD(lr=0.1)}), epochs=20, batch_size=4, rng=np.random.default_rng(0))
    assert losses[-1] < 1e-2 * losses[0]


def test_clipped_noise_that_is_lopsided_settles_where_the_clipped_mean_is_zero():
    w, rule, rng, late = {"w": np.ones(500)}, SGD(lr=0.02, clip_value=1.0), np.random.default_rng(0), []
    for _ in range(800):
        rule.update(w, {"w": w["w"] - rng.exponential(size=500)})
        late.append(w["w"].mean())
    assert abs(np.mean(late[400:]) - 0.8414) < 0.01  # w = 1 - exp(-w - 1), not the mean 1


def test_a_strong_decay_ruins_batch_norm_by_its_gains():
    def accuracy(seed, *without):
        data, rng = digits(seed), np.random.default_rng(seed)
        model = Sequential(Affine(64, 32, rng=rng), BatchNorm(32), ReLU(), Affine(32, 10, rng=rng))
        rule = Groups({pattern: AdamW(lr=0.01, weight_decay=0) for pattern in without} | {"*": AdamW(lr=0.01, weight_decay=10.0)})
        fit(model, data.inputs[:200], data.labels[:200], rule, epochs=20, batch_size=50, rng=rng)
        return evaluate(model, data.test_inputs, data.test_labels)["accuracy"]

    for seed in range(3):
        assert accuracy(seed) < 0.75 and accuracy(seed, "*.b", "*.beta") < 0.75 and accuracy(seed, "*.gamma") > 0.8


@pytest.mark.parametrize("bound", ["clip_norm", "clip_value"])
def test_a_state_from_groups_with_another_bound_is_refused(bound):
    def groups(**bounds):
        return Groups({"*": SGD(lr=0.1)}, **bounds)

    params = {"w": np.ones(2)}
    for theirs, ours in (({}, {bound: 1.0}), ({bound: 1.0}, {}), ({bound: 1.0}, {bound: 2.0})):
        saving, loading = groups(**theirs), groups(**ours)
        saving.update(params, {"w": np.ones(2)})
        with pytest.raises(ValueError, match=f"saved must come from an optimizer made with {bound} = "):
            loading.load_state_dict(saving.state_dict())
        assert loading.steps == 0
    same = groups()
    setattr(same, bound, 1.0)
    same.load_state_dict(groups().state_dict())
    assert getattr(same, bound) is None
