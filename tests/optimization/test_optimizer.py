"""`update` in place: what it refuses, that a refusal changes nothing, and that a resumed run is the same run."""

import copy
import io
import math
import pickle
import re
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pytest
from rules import OPTIMIZERS

from reference_impl import SGD, AdaGrad, Adam, Groups, Momentum, Muon, engines
from reference_impl.optimization import packing
from reference_impl.optimization.optimizer import Optimizer, hyper


def problem(dtype="f8"):
    rng = np.random.default_rng(1)
    return ({"W": rng.normal(size=(3, 4)).astype(dtype), "b": rng.normal(size=4).astype(dtype)},
            {"W": rng.normal(size=(3, 4)).astype(dtype), "b": rng.normal(size=4).astype(dtype)})


def snapshot(optimizer, params, grads):
    return copy.deepcopy((optimizer.state_dict(), {k: np.array(v) for k, v in params.items()},
                          {k: np.array(v) for k, v in grads.items()}))


def with_item(d, key, value):
    return {**d, key: value}


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def poisoned(a, value):
    a = a.copy()
    a.flat[a.size // 2] = value
    return a


shared = np.zeros(20)
WRONG = {
    "missing gradient": (lambda p, g: (p, {"W": g["W"]}), ValueError, "grads must have the keys of params ['W', 'b'], got ['W']"),
    "extra gradient": (lambda p, g: (p, with_item(g, "c", g["b"])), ValueError, "got ['W', 'b', 'c']"),
    "other parameters": (lambda p, g: ({"c": p["W"]}, {"c": g["W"]}), ValueError,
                         "params must keep the keys of the earlier steps ['W', 'b'], or some of them, got ['c']"),
    "keys that are no strings": (lambda p, g: (with_item(p, 3, p["b"]), g), TypeError, "strings as keys, got 3"),
    "params is a list": (lambda p, g: ([p["W"]], g), TypeError, "params must be a dict of arrays, got list"),
    "grads is an array": (lambda p, g: (p, g["W"]), TypeError, "grads must be a dict of arrays, got ndarray"),
    "a list for an array": (lambda p, g: (with_item(p, "b", [1.0] * 4), g), TypeError, "params['b'] must be an array, got list"),
    "a number for a gradient": (lambda p, g: (p, with_item(g, "b", 1.0)), TypeError, "grads['b'] must be an array, got float"),
    "a NumPy scalar": (lambda p, g: (with_item(p, "b", np.float64(1)), g), TypeError, "params['b'] must be an array, got float64"),
    "None": (lambda p, g: (p, with_item(g, "b", None)), TypeError, "grads['b'] must be an array, got NoneType"),
    "wrong shape": (lambda p, g: (p, with_item(g, "b", g["b"][:3])), ValueError, "grads['b'] must have the shape (4,) of its parameter, got (3,)"),
    "a shape that broadcasts": (lambda p, g: (p, with_item(g, "b", g["b"][:1])), ValueError, "got (1,)"),
    "wrong dtype": (lambda p, g: (p, with_item(g, "b", g["b"].astype("f4"))), TypeError, "grads['b'] must have the dtype float64 of its parameter, got float32"),
    "integers": (lambda p, g: (with_item(p, "b", np.arange(4)), g), TypeError, "params['b'] must have the dtype float16, float32 or float64, got int64"),
    "complex": (lambda p, g: (with_item(p, "b", np.zeros(4, complex)), g), TypeError, "float16, float32 or float64, got complex128"),
    "objects": (lambda p, g: (with_item(p, "b", np.array([1, None], object)), g), TypeError, "float16, float32 or float64, got object"),
    "foreign byte order": (lambda p, g: (with_item(p, "b", p["b"].astype(">f8")), g), TypeError, "float16, float32 or float64, got >f8"),
    "NaN": (lambda p, g: (p, with_item(g, "W", poisoned(g["W"], np.nan))), ValueError, "grads['W'] must be finite, got nan at index (1, 2)"),
    "infinity": (lambda p, g: (p, with_item(g, "b", poisoned(g["b"], -np.inf))), ValueError, "grads['b'] must be finite, got -inf at index (2,)"),
    "read-only": (lambda p, g: (with_item(p, "b", read_only(p["b"])), g), ValueError, "params['b'] must be writeable"),
    "parameter is its gradient": (lambda p, g: (p, with_item(g, "b", p["b"])), ValueError, "must not share memory"),
    "gradient is a view of another parameter": (lambda p, g: (p, with_item(g, "b", p["W"][0])), ValueError, "must not share memory"),
    "two parameters are one array": (lambda p, g: (with_item(p, "b", p["W"][1]), g), ValueError, "must not share memory"),
    "two parameters overlap": (lambda p, g: ({"W": shared[:12].reshape(3, 4), "b": shared[10:14]}, g), ValueError, "must not share memory"),
    "long doubles": (lambda p, g: (with_item(p, "b", p["b"].astype(np.longdouble)), g), TypeError, "float16, float32 or float64, got"),
    "a masked array": (lambda p, g: (p, with_item(g, "b", np.ma.masked_invalid([np.nan, 1, 1, 1]))), TypeError, "grads['b'] must be an array, got MaskedArray"),
    "a record array": (lambda p, g: (with_item(p, "W", p["W"].view(np.recarray)), g), TypeError, "params['W'] must be an array, got recarray"),
    "a parameter overlaps itself": (lambda p, g: (with_item(p, "W", np.lib.stride_tricks.as_strided(shared, (3, 4), (8, 8))), g),
                                    ValueError, "params['W'] must not overlap itself"),
}


def assert_refused(kind, case):
    """Assert that a wrong update of an optimizer after its first step is refused, and changes nothing."""
    spoil, error, says = WRONG[case]
    optimizer = OPTIMIZERS[kind]()
    params, grads = problem()
    optimizer.update(params, grads)
    bad_params, bad_grads = spoil(params, grads)
    if case == "other parameters" and not optimizer.state:  # nothing ties SGD to the parameters it saw before
        optimizer.update(bad_params, bad_grads)
        return
    before = snapshot(optimizer, params, grads)
    with pytest.raises(error, match=re.escape(says)):
        optimizer.update(bad_params, bad_grads)
    np.testing.assert_equal(snapshot(optimizer, params, grads), before)


@pytest.mark.parametrize("kind", ["SGD", "Adam"])  # without state, and with some
@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_refused_and_changes_nothing(case, kind):
    assert_refused(kind, case)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_every_optimizer_refuses_bad_input(kind):
    for case in ("wrong shape", "NaN", "read-only", "parameter is its gradient"):
        assert_refused(kind, case)


@pytest.mark.parametrize("kind", [k for k, make in OPTIMIZERS.items() if "SGD" not in k])
def test_arrays_of_the_state_are_nobody_elses(kind):
    optimizer = OPTIMIZERS[kind]()
    params, grads = problem()
    optimizer.update(params, grads)
    of = next(iter(optimizer.state.values()))
    for wrong in ((params, with_item(grads, "b", of["b"])), (with_item(params, "b", of["b"]), grads)):
        before = snapshot(optimizer, params, grads)
        with pytest.raises(ValueError, match="must not share memory"):
            optimizer.update(*wrong)
        np.testing.assert_equal(snapshot(optimizer, params, grads), before)


def test_a_hyperparameter_that_vanishes_in_the_dtype_is_refused():
    params = {"w": np.ones(2, "f2")}
    with pytest.raises(ValueError, match="eps must not vanish in float32, got 1e-50"):  # in which float16 is computed
        Adam(eps=1e-50).update(params, {"w": np.zeros(2, "f2")})
    with pytest.raises(ValueError, match="lr must not vanish in float32, got 1e-60"):
        SGD(lr=1e-60).update({"w": np.ones(2, "f4")}, {"w": np.ones(2, "f4")})
    assert params["w"].tolist() == [1, 1]


@pytest.mark.filterwarnings("error")
def test_overflow_stops_no_step_halfway():
    optimizer = Momentum(lr=10.0)
    params = {"a": np.array([1.0]), "b": np.array([1e308])}
    with np.errstate(all="raise"):
        optimizer.update(params, {"a": np.array([1.0]), "b": np.array([-1e308])})
    assert params["a"] == -9 and np.isinf(params["b"]) and optimizer.steps == 1


def test_the_rule_stays_while_there_is_state():
    optimizer = Momentum(lr=0.1)
    params, grads = problem()
    optimizer.update(params, grads)
    optimizer.lr_inside = True
    with pytest.raises(ValueError, match="the rule must stay 'momentum', whose state this is, got 'momentum_lr_inside'"):
        optimizer.update(params, grads)


def test_no_parameters_are_no_hindrance():
    optimizer = Momentum()
    optimizer.update({}, {})
    optimizer.update(*problem())
    assert optimizer.steps == 2 and sorted(optimizer.state["v"]) == ["W", "b"]


HYPER = [
    (lambda: SGD(lr=0), ValueError, "lr must lie in (0, inf), got 0"),
    (lambda: SGD(lr=-1e-3), ValueError, "lr must lie in (0, inf), got -0.001"),
    (lambda: SGD(lr=math.nan), ValueError, "lr must lie in (0, inf), got nan"),
    (lambda: SGD(lr=math.inf), ValueError, "lr must lie in (0, inf), got inf"),
    (lambda: SGD(lr=10**400), ValueError, "lr must lie in (0, inf), got 1000"),
    (lambda: SGD(lr="0.1"), TypeError, "lr must be a number in (0, inf) or a schedule, got '0.1'"),
    (lambda: SGD(lr=True), TypeError, "lr must be a number"),
    (lambda: SGD(lr=None), TypeError, "lr must be a number"),
    (lambda: SGD(lr=np.array([0.1])), TypeError, "lr must be a number"),
    (lambda: Momentum(rho=1), ValueError, "rho must lie in [0, 1), got 1"),
    (lambda: Momentum(rho=-0.1), ValueError, "rho must lie in [0, 1), got -0.1"),
    (lambda: Momentum(rho=math.nan), ValueError, "rho must lie in [0, 1), got nan"),
    (lambda: Adam(beta2=1.0), ValueError, "beta2 must lie in [0, 1), got 1.0"),
    (lambda: Adam(eps=-1e-8), ValueError, "eps must lie in [0, inf), got -1e-08"),
]


@pytest.mark.parametrize(("make", "error", "says"), HYPER, ids=[says for *_, says in HYPER])
def test_bad_hyperparameters_are_refused(make, error, says):
    with pytest.raises(error, match=re.escape(says)):
        make()


@pytest.mark.parametrize(("name", "value", "error", "says"), [
    ("lr", -1.0, ValueError, "lr must lie in (0, inf), got -1.0"),
    ("lr", lambda step: 0.1 - step, ValueError, "lr(1) must lie in (0, inf), got -0.9"),
    ("rho", lambda step: step, ValueError, "rho(1) must lie in [0, 1), got 1"),
    ("rho", lambda step: None, TypeError, "rho(1) must be a number in [0, 1)"),
])
def test_a_hyperparameter_that_turns_bad_is_refused_and_changes_nothing(name, value, error, says):
    optimizer = Momentum(lr=0.1)
    params, grads = problem()
    optimizer.update(params, grads)
    setattr(optimizer, name, value)
    before = snapshot(optimizer, params, grads)
    with pytest.raises(error, match=re.escape(says)):
        optimizer.update(params, grads)
    np.testing.assert_equal(snapshot(optimizer, params, grads), before)


def test_numpy_numbers_are_numbers():
    assert SGD(lr=np.float32(0.5)).hyperparameters() == {"lr": 0.5}
    assert SGD(lr=1).hyperparameters() == {"lr": 1.0}


def test_the_check_of_gradients_is_an_option():
    params, grads = {"w": np.ones(2)}, {"w": np.array([np.nan, 1.0])}
    SGD(lr=0.5, check_finite=False).update(params, grads)
    np.testing.assert_array_equal(params["w"], [np.nan, 0.5])


def test_parameters_that_only_interleave_are_fine():
    both = np.zeros(10)
    SGD(lr=1.0).update({"even": both[::2], "odd": both[1::2]}, {"even": np.ones(5), "odd": np.full(5, 2.0)})
    np.testing.assert_array_equal(both, [-1, -2] * 5)


def test_gradients_may_share_memory_among_themselves():
    g = np.ones(3)
    params = {"a": np.zeros(3), "b": np.zeros(3)}
    SGD(lr=1.0).update(params, {"a": g, "b": np.broadcast_to(1.0, 3)})
    np.testing.assert_array_equal(params["a"], params["b"])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_any_layout_and_dtype_takes_the_same_path(kind, dtype):
    rng = np.random.default_rng(2)
    start, pull = rng.normal(size=(5, 6)).astype(dtype), rng.normal(size=(5, 6)).astype(dtype)
    layouts = {
        "plain": start.copy(), "fortran": np.asfortranarray(start), "0-d": np.array(start[2, 3]), "empty": np.zeros((0, 3), dtype),
        "strided": np.zeros((10, 12), dtype)[::-2, ::2],
    }
    layouts["strided"][...] = start
    optimizer = OPTIMIZERS[kind]()
    identity = {k: id(a) for k, a in layouts.items()}
    if hasattr(optimizer, "eps") and dtype == "f2":
        optimizer.eps = 1e-4
    for _ in range(3):
        grads = {k: (a * a.dtype.type(0.5) + (pull if a.shape == pull.shape else a.dtype.type(pull[2, 3]))) for k, a in layouts.items()}
        optimizer.update(layouts, {k: np.asarray(g, dtype) for k, g in grads.items()})
    assert {k: id(a) for k, a in layouts.items()} == identity
    np.testing.assert_array_equal(layouts["plain"], layouts["fortran"])
    np.testing.assert_array_equal(layouts["plain"], layouts["strided"])
    assert layouts["0-d"] == layouts["plain"][2, 3] and layouts["0-d"].dtype == dtype


@pytest.mark.parametrize("shape", [(), (0,), (3, 4)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_any_array_api_array_takes_numpys_path(kind, dtype, shape):
    xp = pytest.importorskip("array_api_strict")
    rng = np.random.default_rng(4)
    numbers = rng.normal(size=(4, *shape)).astype(dtype)
    ours, theirs = {"w": np.array(numbers[0])}, {"w": xp.asarray(numbers[0])}
    optimizer, other = OPTIMIZERS[kind](), OPTIMIZERS[kind]()
    for g in numbers[1:]:
        optimizer.update(ours, {"w": np.asarray(g)})
        other.update(theirs, {"w": xp.asarray(g)})
    assert theirs["w"].dtype == getattr(xp, dtype)
    np.testing.assert_allclose(np.asarray(theirs["w"]), ours["w"], rtol=1e-6 if dtype == "float32" else 1e-14)
    resumed = OPTIMIZERS[kind]()
    resumed.load_state_dict(other.state_dict())
    before = xp.asarray(theirs["w"], copy=True)
    again = {"w": xp.asarray(before, copy=True)}
    for run, params in ((other, theirs), (resumed, again)):
        run.update(params, {"w": xp.asarray(numbers[1])})
    assert bool(xp.all(again["w"] == theirs["w"]))


def test_array_api_arrays_are_checked_too():
    xp = pytest.importorskip("array_api_strict")
    w, g = xp.asarray([1.0, 2.0]), xp.asarray([1.0, float("nan")])
    for params, grads, error, says in [
        ({"w": w}, {"w": g}, ValueError, "grads['w'] must be finite, got NaN or infinity"),
        ({"w": w}, {"w": w}, ValueError, "must not share memory"),
        ({"w": w, "v": w}, {"w": g, "v": g}, ValueError, "must not share memory"),
        ({"w": w}, {"w": np.ones(2)}, TypeError, "must be an array of array_api_strict"),
        ({"w": xp.asarray([1, 2])}, {"w": xp.asarray([1, 2])}, TypeError, "float16, float32 or float64"),
        ({"w": w}, {"w": xp.asarray([1.0])}, ValueError, "must have the shape (2,)"),
    ]:
        with pytest.raises(error, match=re.escape(says)):
            Momentum().update(params, grads)
    assert w.tolist() == [1.0, 2.0] if hasattr(w, "tolist") else bool(xp.all(w == xp.asarray([1.0, 2.0])))


@pytest.mark.parametrize("stored", ["dict", "npz"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_resumed_run_is_the_same_run_bit_for_bit(kind, stored):
    params, _ = problem("f4")
    rng = np.random.default_rng(3)
    all_grads = [{k: rng.normal(size=w.shape).astype("f4") for k, w in params.items()} for _ in range(20)]
    whole, half = copy.deepcopy(params), copy.deepcopy(params)
    uninterrupted, first, second = (OPTIMIZERS[kind]() for _ in range(3))
    for grads in all_grads:
        uninterrupted.update(whole, grads)
    for grads in all_grads[:10]:
        first.update(half, grads)
    saved = first.state_dict()
    first.update(copy.deepcopy(half), all_grads[10])  # must not reach into what was saved
    if stored == "npz":
        np.savez(file := io.BytesIO(), **saved)
        file.seek(0)
        saved = np.load(file)
    second.load_state_dict(saved)
    for grads in all_grads[10:]:
        second.update(half, grads)
    np.testing.assert_equal(half, whole)
    np.testing.assert_equal(second.state_dict(), uninterrupted.state_dict())


def test_a_fresh_state_can_be_saved_and_loaded():
    optimizer = Momentum()
    optimizer.load_state_dict(Momentum().state_dict())
    optimizer.update(*problem())


@pytest.mark.parametrize(("change", "says"), [
    (lambda s: {k: v for k, v in s.items() if k != "steps"}, "got none for ['steps']"),
    (lambda s: s | {"rule": "adam"}, "saved must come from the rule 'momentum', got 'adam'"),
    (lambda s: s | {"steps": -1}, "saved['steps'] must be a count of steps, got -1"),
    (lambda s: s | {"steps": 1.5}, "saved['steps'] must be a count of steps, got 1.5"),
    (lambda s: s | {"steps": None}, "saved['steps'] must be a count of steps, got None"),
    (lambda s: s | {"m/W": s["v/W"]}, "got 'm/W'"),
    (lambda s: s | {3: s["v/W"]}, "got 3"),
    (lambda s: {"rule": "momentum", "steps": 3}, "every state array"),
], ids=["no steps", "other rule", "negative steps", "half a step", "None steps", "unknown state", "no string", "no arrays"])
def test_a_state_that_does_not_fit_is_refused(change, says):
    optimizer = Momentum()
    params, grads = problem()
    optimizer.update(params, grads)
    before = snapshot(optimizer, params, grads)
    with pytest.raises(ValueError, match=re.escape(says)):
        optimizer.load_state_dict(change(optimizer.state_dict()))
    np.testing.assert_equal(snapshot(optimizer, params, grads), before)


@pytest.mark.parametrize("wrong", [[1.0, 2.0], np.arange(2), np.array([None]), None, np.float64(1)], ids=repr)
def test_a_state_that_is_no_array_of_numbers_is_refused(wrong):
    with pytest.raises(TypeError, match=re.escape("saved['v/w'] must be an array of floating-point numbers")):
        Momentum().load_state_dict({"rule": "momentum", "steps": 1, "v/w": wrong})
    with pytest.raises(TypeError, match="saved must be a dict, got list"):
        Momentum().load_state_dict([wrong])


def test_a_loaded_state_must_fit_the_parameters():
    optimizer = Momentum()
    optimizer.update({"w": np.zeros(3)}, {"w": np.ones(3)})
    for wrong in (np.zeros(4), np.zeros(3, "f4")):
        with pytest.raises(ValueError, match=re.escape("params['w'] must keep the shape (3,) and dtype float64")):
            optimizer.update({"w": wrong}, {"w": np.ones_like(wrong)})
    assert optimizer.steps == 1


def test_schedules_are_asked_for_the_number_of_finished_steps():
    asked = []
    optimizer = SGD(lr=lambda step: asked.append(step) or 0.1)
    for _ in range(3):
        optimizer.update({"w": np.zeros(1)}, {"w": np.ones(1)})
    assert asked == [0, 1, 2]


def test_an_optimizer_is_a_rule_and_its_fields():
    @dataclass
    class SignDescent(Optimizer):
        rule = staticmethod(lambda w, g, *, lr: w - lr * np.sign(g))
        lr: float = hyper(0.1, 0, open_low=True)

    params = {"w": np.array([1.0, 1.0])}
    SignDescent().update(params, {"w": np.array([5.0, -0.1])})
    np.testing.assert_allclose(params["w"], [0.9, 1.1])


# --- what a resumed run needs ------------------------------------------------------------------------------------------------------


def steps(optimizer, count, params, change=None):
    for seed in range(count):
        if seed == change:
            optimizer.lr = optimizer.lr / 2
        optimizer.update(params, {key: np.random.default_rng([optimizer.steps, 7]).normal(size=w.shape) for key, w in params.items()})


def through(store, saved):
    if store == "dict":
        return saved
    np.savez(file := io.BytesIO(), **saved)
    file.seek(0)
    return np.load(file)


@pytest.mark.parametrize("store", ["dict", "npz"])
@pytest.mark.parametrize("make", [lambda: SGD(lr=0.1), lambda: Momentum(lr=0.1, lr_inside=True), lambda: Adam(lr=0.1, clip_norm=1.0, clip_value=0.5)])
def test_a_hyperparameter_that_was_changed_in_mid_run_is_resumed(make, store):
    uninterrupted, first, second = make(), make(), make()
    whole, half = problem()[0], problem()[0]
    steps(uninterrupted, 8, whole, change=3)
    steps(first, 5, half, change=3)
    saved = through(store, first.state_dict())
    assert saved["hyper/lr"] == 0.05 and saved["made/lr"] == 0.1
    second.load_state_dict(saved)
    assert second.lr == 0.05
    steps(second, 3, half)
    np.testing.assert_equal(half, whole)
    np.testing.assert_equal(second.state_dict(), uninterrupted.state_dict())


MADE = [
    (lambda: Adam(lr=0.1), lambda: Adam(lr=0.5), "made with lr = 0.5 as this one is, got lr = 0.1"),
    (lambda: Adam(lr=0.1), lambda: Adam(lr=0.1, beta2=0.99), "made with beta2 = 0.99 as this one is, got beta2 = 0.999"),
    (lambda: Adam(lr=0.1), lambda: Adam(lr=lambda step: 0.1), "made with lr = 'schedule' as this one is, got lr = 0.1"),
    (lambda: Adam(lr=lambda step: 0.1), lambda: Adam(lr=0.1), "made with lr = 0.1 as this one is, got lr = 'schedule'"),
    (lambda: SGD(clip_norm=1.0), lambda: SGD(), "made with clip_norm = None as this one is, got clip_norm = 1.0"),
    (lambda: SGD(), lambda: SGD(clip_value=2), "made with clip_value = 2.0 as this one is, got clip_value = None"),
    (lambda: Muon(), lambda: Muon(nesterov=False), "made with nesterov = False as this one is, got nesterov = True"),
    (lambda: AdaGrad(initial_accumulator=1), lambda: AdaGrad(), "made with initial_accumulator = 0.0 as this one is, got initial_accumulator = 1.0"),
]


@pytest.mark.parametrize("store", ["dict", "npz"])
@pytest.mark.parametrize(("make", "other", "says"), MADE, ids=[says for *_, says in MADE])
def test_an_optimizer_made_with_others_is_told_what_differs(make, other, says, store):
    optimizer, resumed = make(), other()
    optimizer.update({"w": np.eye(2)}, {"w": np.eye(2)})
    before = resumed.state_dict()
    with pytest.raises(ValueError, match=re.escape(f"saved must come from an optimizer {says}")):
        resumed.load_state_dict(through(store, optimizer.state_dict()))
    np.testing.assert_equal(resumed.state_dict(), before)


def test_a_bound_that_was_set_or_lifted_in_mid_run_is_resumed():
    for first, last in ((None, 1.0), (1.0, None)):
        optimizer, resumed = SGD(clip_norm=first), SGD(clip_norm=first)
        optimizer.clip_norm = last
        resumed.load_state_dict(through("npz", optimizer.state_dict()))
        assert resumed.clip_norm == last


def test_a_schedule_cannot_be_saved_and_must_be_there():
    def schedule(step):
        return 0.1

    scheduled, resumed = SGD(lr=schedule), SGD(lr=schedule)
    resumed.load_state_dict(scheduled.state_dict())
    assert resumed.lr is schedule
    changed, resumed = SGD(lr=0.1), SGD(lr=0.1)
    changed.lr = schedule
    with pytest.raises(ValueError, match=r"lr must be set to the schedule that saved speaks of before it is loaded, got 0\.1"):
        resumed.load_state_dict(changed.state_dict())
    resumed.lr = schedule
    resumed.load_state_dict(changed.state_dict())
    assert resumed.lr is schedule


def test_state_belongs_to_the_rule_that_made_it():
    optimizer = Adam(eps_hat=True)
    params, grads = problem()
    optimizer.update(params, grads)
    optimizer.eps_hat = False
    assert optimizer.state_dict()["rule"] == "adam_eps_hat"
    with pytest.raises(ValueError, match="saved must come from the rule 'adam', got 'adam_eps_hat'"):
        Adam().load_state_dict(optimizer.state_dict())


def test_a_file_from_before_hyperparameters_were_saved_can_be_loaded():
    optimizer = Adam(lr=0.5)
    old = {"rule": "adam", "steps": 3, "m/w": np.ones(2), "v/w": np.ones(2)}
    optimizer.load_state_dict(old)
    assert optimizer.lr == 0.5 and optimizer.steps == 3 and optimizer.state_dict()["steps/w"] == 3


@pytest.mark.parametrize(("wrong", "says"), [
    ({"steps/W": -1}, "saved['steps/W'] must be a count of steps, got -1"),
    ({"steps/W": 0.5}, "saved['steps/W'] must be a count of steps, got 0.5"),
    ({"hyper/colour": 1.0}, "made with colour = None as this one is, got colour = 1.0"),
    ({"v/c": np.ones(2, "f2"), "steps": 0.5}, "saved['steps'] must be a count"),
    ({"hyper/lr": math.nan, "made/lr": 0.01}, "saved['hyper/lr'] must lie in (0, inf), got nan"),
    ({"hyper/rho": 1.5, "made/rho": 0.9}, "saved['hyper/rho'] must lie in [0, 1), got 1.5"),
])
def test_an_entry_that_makes_no_sense_is_refused(wrong, says):
    optimizer = Momentum()
    params, grads = problem()
    optimizer.update(params, grads)
    before = optimizer.state_dict()
    with pytest.raises(ValueError, match=re.escape(says)):
        optimizer.load_state_dict(before | wrong)
    np.testing.assert_equal(optimizer.state_dict(), before)


@pytest.mark.parametrize("value", [[0.1, 0.2], None, object(), np.array([0.1]), 1j, b"schedule"], ids=lambda value: type(value).__name__)
def test_a_saved_hyperparameter_is_a_number_or_a_word(value):
    optimizer = Momentum()
    with pytest.raises(TypeError, match="saved must hold hyperparameters as numbers and words, got"):
        optimizer.load_state_dict(optimizer.state_dict() | {"hyper/lr": value})
    assert optimizer.lr == 0.01


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))])
@pytest.mark.parametrize("kind", [*OPTIMIZERS, "groups"])
def test_a_copy_goes_on_as_the_original(kind, again):
    optimizer = Groups({"W": Adam(), "*": Momentum()}, clip_norm=1.0) if kind == "groups" else OPTIMIZERS[kind]()
    if again is not copy.copy and "schedules" in kind:
        optimizer.lr = optimizer.rho = 0.5  # a lambda cannot be pickled
    params, grads = problem()
    optimizer.update(params, grads)
    other, others = again(optimizer), copy.deepcopy(params)
    other.update(others, grads)
    if again is not copy.copy:
        optimizer.update(params, grads)
        np.testing.assert_equal(others, params)
        np.testing.assert_equal(other.state_dict(), optimizer.state_dict())


# --- arguments ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.array(0.5), np.float32(0.5), np.float64(0.5), np.array(0.5, "f4")], ids=repr)
def test_numbers_in_arrays_of_no_axes_are_numbers(value):
    for lr in (value, lambda step: value, lambda step: np.where(step < 3, value, 0.25)):
        w = {"w": np.array([1.0])}
        SGD(lr=lr).update(w, {"w": np.array([1.0])})
        assert w["w"] == 0.5 and type(SGD(lr=lr).hyperparameters()["lr"]) is float


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_the_gradient_of_a_number_may_be_numpys_number(dtype):
    params = {"w": np.array(3.0, dtype), "W": np.ones(2, dtype)}
    grads = {"w": (params["w"] * params["w"]), "W": np.ones(2, dtype)}
    assert isinstance(grads["w"], np.generic)
    SGD(lr=0.5).update(params, grads)
    assert params["w"] == -1.5 and params["w"].dtype == dtype
    with pytest.raises(TypeError, match=r"params\['w'\] must be an array, got float\d\d: np.asarray\(params\['w'\]\) is one"):
        SGD(lr=0.5).update({"w": grads["w"]}, {"w": grads["w"]})
    with pytest.raises(TypeError, match=r"grads\['w'\] must have the dtype float.. of its parameter, got longdouble|float128"):
        SGD(lr=0.5).update({"w": np.array(3.0, dtype)}, {"w": np.longdouble(1)})


@pytest.mark.parametrize(("name", "value", "error"), [
    (name, value, error) for name in ("check_finite", "lr_inside") for value, error in (("no", TypeError), (1, TypeError), (None, TypeError), ([], TypeError))
] + [("engine", value, ValueError) for value in ("fast", 3, True, [])] + [
    (name, value, error) for name in ("lr", "rho", "clip_norm", "clip_value")
    for value, error in ((-1, ValueError), (math.nan, ValueError), (math.inf, ValueError), (10**400, ValueError), ("1", TypeError), (True, TypeError),
                         (1j, TypeError), ([0.1], TypeError), (np.array([0.1]), TypeError), (np.array(True), TypeError), (SGD, TypeError), (np.array(1j), TypeError))
] + [("clip_norm", 0, ValueError), ("clip_value", 0.0, ValueError), ("rho", 1, ValueError), ("lr", 0, ValueError), ("lr", None, TypeError)])
def test_an_argument_of_the_wrong_kind_is_refused_by_name(name, value, error):
    with pytest.raises(error, match=f"^{name} must "):
        Momentum(**{name: value})
    if name in ("lr", "rho", "clip_norm", "clip_value") and not callable(value) and value is not None:
        optimizer, params = Momentum(**{name: lambda step: value}), {"w": np.ones(2)}
        with pytest.raises(error, match=rf"^{name}\(0\) must "):
            optimizer.update(params, {"w": np.ones(2)})
        assert optimizer.steps == 0 and not optimizer.state and (params["w"] == 1).all()


def test_where_the_sum_starts_is_a_number():
    with pytest.raises(TypeError, match=r"initial_accumulator must be a number in \[0, inf\), got <function"):
        AdaGrad(initial_accumulator=lambda step: 0.1)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_parameters_that_hold_no_numbers_are_refused(kind):
    for bad in (np.nan, np.inf):
        params, grads = problem()
        params["W"][1, 2] = bad
        optimizer = OPTIMIZERS[kind]()
        with pytest.raises(ValueError, match=rf"params\['W'\] must be finite, got {bad} at index \(1, 2\)"):
            optimizer.update(params, grads)
        assert optimizer.steps == 0 and not optimizer.state
        optimizer.check_finite = False
        optimizer.update(params, grads)


def test_a_rule_that_cannot_be_read_is_refused_before_anything_is_changed():
    @dataclass
    class Branching(Optimizer):
        rule = staticmethod(lambda w, g, v, *, lr: (w, v) if g > 0 else (w - lr * g, v))
        lr: float = hyper(0.1, 0)

    for check in (True, False):
        optimizer, params = Branching(check_finite=check), {"w": np.ones(2)}
        with pytest.raises(TypeError):
            optimizer.update(params, {"w": np.ones(2)})
        assert optimizer.steps == 0 and not optimizer.state and (params["w"] == 1).all()


class Interrupt(BaseException):
    pass


def test_after_an_interrupt_between_two_arrays_the_run_can_go_on(monkeypatch):
    optimizer = Momentum()
    params = {"a": np.zeros(packing.SMALL + 1), "b": np.zeros(packing.SMALL + 1)}
    grads = {key: np.ones_like(w) for key, w in params.items()}
    step, calls = engines.step, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 2:
            raise Interrupt
        step(*args)

    monkeypatch.setattr(engines, "step", interrupted)
    with pytest.raises(Interrupt):
        optimizer.update(params, grads)
    assert optimizer.steps == 0 and [optimizer.state_dict()[f"steps/{key}"] for key in "ab"] == [1, 0]
    optimizer.update(params, grads)
    np.testing.assert_allclose([params["a"][0], params["b"][0]], [-0.029, -0.01])
    assert optimizer.steps == 1


def test_two_optimizers_in_two_threads_do_not_meet():
    def run(seed):
        optimizer, params = Adam(lr=0.1), problem("f4")[0]
        for step in range(200):
            optimizer.update(params, {key: np.random.default_rng([seed, step]).normal(size=w.shape).astype("f4") for key, w in params.items()})
        return params

    with ThreadPoolExecutor(4) as pool:
        for threaded, seed in zip(pool.map(run, range(8)), range(8)):
            np.testing.assert_equal(threaded, run(seed))


def test_any_mapping_is_a_dict_of_arrays():
    params, grads = problem()
    expected = copy.deepcopy(params)
    optimizer, plain = Adam(), Adam()
    for _ in range(3):
        optimizer.update(MappingProxyType(params), OrderedDict(reversed(grads.items())))
        plain.update(expected, grads)
    np.testing.assert_equal(params, expected)


def test_a_parameter_replaced_in_the_dict_is_the_one_that_is_changed():
    optimizer = Momentum(lr=0.1, rho=0.5)
    params, grads = {"a": np.zeros(2), "b": np.zeros(2)}, {"a": np.ones(2), "b": np.ones(2)}
    optimizer.update(params, grads)
    old = params["a"]
    params["a"] = np.full(2, 5.0)
    optimizer.update(params, grads)
    np.testing.assert_allclose(params["a"], 4.85)
    np.testing.assert_allclose(old, -0.1)
    params["b"] = grads["b"]
    with pytest.raises(ValueError, match=r"must not share memory"):
        optimizer.update(params, grads)


def test_float16_is_stepped_on_in_float32():
    optimizer, single = Adam(lr=1e-3), Adam(lr=1e-3)
    half, wide = {"w": np.ones(3, "f2")}, {"w": np.ones(3, "f4")}
    grads = np.array([300.0, 2e-4, -6e4], "f2")
    optimizer.update(half, {"w": grads})
    single.update(wide, {"w": grads.astype("f4")})
    np.testing.assert_array_equal(half["w"], wide["w"].astype("f2"))
    assert optimizer.state["v"]["w"].dtype == np.float32
    np.testing.assert_allclose(optimizer.state["v"]["w"], single.state["v"]["w"], rtol=1e-6)
    resumed = Adam(lr=1e-3)
    resumed.load_state_dict(optimizer.state_dict())
    resumed.update(half, {"w": grads})
    resumed = Adam(lr=1e-3)  # a file from when the state was in half precision too
    resumed.load_state_dict({"rule": "adam", "steps": 1, "m/w": np.ones(3, "f2"), "v/w": np.ones(3, "f2")})
    assert resumed.state["m"]["w"].dtype == np.float32


@pytest.mark.parametrize(("entry", "value", "says"), [
    ("m/w", np.array([np.nan]), r"saved\['m/w'\] must be finite, got nan at index \(0,\)"),
    ("v/w", np.array([np.inf]), r"saved\['v/w'\] must be finite, got inf at index \(0,\)"),
    ("steps/b", 1, r"saved must hold a count of steps for the keys of its state \['w'\] alone, got one for \['b'\]"),
])
def test_a_damaged_state_is_refused(entry, value, says):
    optimizer = Adam()
    optimizer.update({"w": np.ones(1)}, {"w": np.ones(1)})
    with pytest.raises(ValueError, match=says):
        Adam().load_state_dict(optimizer.state_dict() | {entry: value})
