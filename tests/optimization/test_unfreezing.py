"""Parameters that come and go: each keeps its state and its own count of steps."""

import copy
import io

import numpy as np
import pytest
from rules import OPTIMIZERS

from reference_impl import Adam, Groups, Momentum, flatten
from reference_impl.optimization import packing
from reference_impl.optimization.optimizer import Optimizer

SHAPES = {"a": (3, 2), "b": (4,), "c": (), "large": (packing.SMALL + 1,), "d": (2, 2)}
PRESENT = ["ab large", "a", "ab large", "abc", "c large", "abc large", "abcd large", "d", "abcd large", "bd", "abcd large"]


def numbers(seed, keys=tuple(SHAPES), dtype="f8"):
    return {key: np.asarray(np.random.default_rng([seed, *key.encode()]).normal(size=SHAPES[key]), dtype) for key in keys}


def keys_of(words):
    return [key for key in SHAPES if key in words.split() or (len(key) == 1 and key in words.split()[0])]


def constant_rates(kind):
    return "schedules" not in kind


@pytest.mark.parametrize("form", [dict, flatten], ids=["dict", "flat"])
@pytest.mark.parametrize("kind", filter(constant_rates, OPTIMIZERS))
def test_each_parameter_goes_the_way_that_it_would_go_alone(kind, form):
    together, alone = OPTIMIZERS[kind](), {key: OPTIMIZERS[kind]() for key in SHAPES}
    params, expected = numbers(0), numbers(0)
    for seed, words in enumerate(PRESENT, start=1):
        keys = keys_of(words)
        grads = numbers(seed, keys)
        given = form({key: params[key] for key in keys})
        together.update(given, grads)
        for key in keys:
            params[key][...] = given[key]
            alone[key].update({key: expected[key]}, {key: grads[key]})
    assert together.steps == len(PRESENT)
    saved = together.state_dict()
    for key, optimizer in alone.items():
        np.testing.assert_array_equal(params[key], expected[key])
        assert saved[f"steps/{key}"] == optimizer.steps
        for name, of in optimizer.state.items():
            np.testing.assert_array_equal(saved[f"{name}/{key}"], of[key])


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_run_resumed_while_some_are_absent_is_the_same_run(kind):
    uninterrupted, first, second = (OPTIMIZERS[kind]() for _ in range(3))
    whole, half = numbers(0, dtype="f4"), numbers(0, dtype="f4")

    def go(optimizer, params, steps):
        for seed in steps:
            keys = keys_of(PRESENT[seed])
            optimizer.update({key: params[key] for key in keys}, numbers(seed, keys, "f4"))

    go(uninterrupted, whole, range(11))
    go(first, half, range(5))
    np.savez(file := io.BytesIO(), **first.state_dict())
    file.seek(0)
    second.load_state_dict(np.load(file))
    go(second, half, range(5, 11))
    np.testing.assert_equal(half, whole)
    np.testing.assert_equal(second.state_dict(), uninterrupted.state_dict())


def test_a_new_parameter_is_corrected_as_in_its_first_step():
    optimizer = Adam(lr=0.1, eps=0.0)
    params = {"old": np.zeros(2)}
    for _ in range(50):
        optimizer.update(params, {"old": np.ones(2)})
    params["new"] = np.zeros(3)
    optimizer.update(params, {"old": np.ones(2), "new": np.full(3, 1e-3)})
    np.testing.assert_allclose(params["new"], -0.1)


def test_schedules_follow_the_optimizers_steps():
    optimizer = Momentum(lr=lambda step: 1.0 + step, rho=0.0)
    a, b = {"a": np.zeros(1)}, {"b": np.zeros(1)}
    optimizer.update(a, {"a": np.ones(1)})
    optimizer.update(a | b, {"a": np.ones(1), "b": np.ones(1)})
    assert (a["a"].item(), b["b"].item()) == (-3.0, -2.0)


def test_nothing_of_a_refused_step_remains():
    optimizer = Adam()
    params = {"a": np.zeros(2)}
    optimizer.update(params, {"a": np.ones(2)})
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=r"grads\['new'\] must be finite"):
        optimizer.update({**params, "new": np.zeros(1)}, {"a": np.ones(2), "new": np.array([np.nan])})
    np.testing.assert_equal(optimizer.state_dict(), before)


@pytest.mark.parametrize(("params", "says"), [
    ({"other": np.zeros(2)}, r"params must keep the keys of the earlier steps \['a', 'b'\], or some of them, got \['other'\]"),
    ({"a": np.zeros(3)}, r"params\['a'\] must keep the shape \(2,\) and dtype float32 of the earlier steps, got \(3,\) and float64"),
    ({"a": np.zeros((2, 1), "f4")}, r"params\['a'\] must keep the shape \(2,\)"),
    ({"a": np.zeros(2)}, r"params\['a'\] must keep the shape \(2,\) and dtype float32 of the earlier steps, got \(2,\) and float64"),
    ({"a": np.zeros(2, "f2")}, r"params\['a'\] must keep the shape \(2,\) and dtype float32 of the earlier steps, got \(2,\) and float16"),
    ({"b": np.zeros(2, "f4")}, r"params\['b'\] must keep the shape \(2,\) and dtype float16 of the earlier steps, got \(2,\) and float32"),
    ({"c": np.zeros(1), "a": np.zeros(3, "f4")}, r"params\['a'\] must keep the shape"),
])
def test_a_known_parameter_stays_what_it_was(params, says):
    optimizer = Momentum()
    optimizer.update({"a": np.zeros(2, "f4"), "b": np.zeros(2, "f2")}, {"a": np.ones(2, "f4"), "b": np.ones(2, "f2")})
    before = copy.deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=says):
        optimizer.update(params, {key: np.ones_like(w) for key, w in params.items()})
    np.testing.assert_equal(optimizer.state_dict(), before)
    assert all((w == 0).all() for w in params.values())


def test_a_parameter_from_another_library_is_not_taken_for_the_old():
    xp = pytest.importorskip("array_api_strict")
    optimizer = Momentum()
    optimizer.update({"w": np.zeros(2)}, {"w": np.ones(2)})
    with pytest.raises(TypeError, match=r"params\['w'\] must be an array of numpy as its state is, got one of array_api_strict"):
        optimizer.update({"w": xp.zeros(2)}, {"w": xp.ones(2)})


def test_groups_that_thaw_in_mid_run():
    optimizer = Groups({"body.*": Adam(lr=0.01), "*": Adam(lr=0.1)})
    head, body = {"head": np.zeros(2)}, {"body.0": np.zeros(2)}
    for _ in range(3):
        optimizer.update(head, {"head": np.ones(2)})
    optimizer.update(head | body, {"head": np.ones(2), "body.0": np.ones(2)})
    np.testing.assert_allclose(head["head"], -0.4)
    np.testing.assert_allclose(body["body.0"], -0.01, rtol=1e-6)
    assert optimizer.state_dict()["body.*/steps/body.0"] == 1 and optimizer.state_dict()["*/steps/head"] == 4
    assert all(isinstance(group, Optimizer) and group.steps == 4 for group in map(optimizer.optimizer_of, ("head", "body.0")))
