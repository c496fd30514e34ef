"""Many arrays in one buffer, and the optimizers' walk over them: the same steps bit for bit as over each array alone."""

import copy
import pickle

import numpy as np
import pytest
from rules import OPTIMIZERS

from reference_impl import SGD, Adam, Momentum, flatten
from reference_impl.arrays.flat import Flat
from reference_impl.optimization import packing

SHAPES = {"W": (3, 4), "b": (4,), "scale": (), "none": (0, 2)}


def arrays(seed, dtype="f4", order="C"):
    rng = np.random.default_rng(seed)
    return {key: np.asarray(rng.normal(size=shape), dtype, order=order) for key, shape in SHAPES.items()}


def same(a, b):
    assert list(a) == list(b)
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], strict=True)


def test_the_views_lie_in_one_buffer_in_order():
    given = arrays(0)
    flat = flatten(given)
    same(flat, given)
    assert all(np.shares_memory(view, flat.buffer) for view in flat.values() if view.size)
    assert not any(np.shares_memory(flat.buffer, array) for array in given.values())
    flat["b"][...] = 7
    assert flat.buffer[12:16].tolist() == [7] * 4 and flat.buffer.size == 17
    with pytest.raises(TypeError):
        flat["b"] = np.zeros(4)
    assert flat.full_like(2.0).buffer.tolist() == [2.0] * 17 and flat.full_like(2.0).shapes == flat.shapes
    assert repr(flat) == "Flat(W (3, 4), b (4,), scale (), none (0, 2))"


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda flat: pickle.loads(pickle.dumps(flat))])
def test_a_copy_keeps_its_views(again):
    flat = again(flatten(arrays(0)))
    flat["W"][...] = 0
    assert not flat.buffer[:12].any() and flat.buffer[12:].any()


@pytest.mark.parametrize(("given", "error", "says"), [
    ([np.zeros(2)], TypeError, "params must be a dict of arrays, got list"),
    ({"w": [0.0]}, TypeError, r"params\['w'\] must be an array, got list"),
    ({}, ValueError, "one library and dtype, got \\[\\]"),
    ({"a": np.zeros(2), "b": np.zeros(2, "f4")}, ValueError, "one library and dtype, got .*float32.*float64"),
])
def test_what_does_not_fit_into_one_buffer_is_refused(given, error, says):
    with pytest.raises(error, match=says):
        flatten(given)


def test_a_buffer_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"buffer must have the shape \(6,\)"):
        Flat(np.zeros(5), {"W": (2, 3)})


@pytest.mark.parametrize("flat", ["params", "grads", "both", "neither", "other order"])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize(("engine", "apart"), [("blocked", 0), ("compiled", packing.APART), ("compiled", 0)], ids=["blocked", "compiled", "compiled apart"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_joined_arrays_take_the_path_of_each_alone(kind, engine, apart, dtype, flat, monkeypatch):
    monkeypatch.setattr(packing, "APART", apart)
    together, alone = OPTIMIZERS[kind](), {key: OPTIMIZERS[kind]() for key in SHAPES}
    together.engine = engine
    for optimizer in (together, *alone.values()):
        if getattr(optimizer, "eps", 0):
            optimizer.eps = 1e-4  # does not vanish in float16
    params, expected = arrays(0, dtype), arrays(0, dtype)
    given = flatten(params) if flat in ("params", "both", "other order") else params
    for seed in range(1, 5):
        grads = arrays(seed, dtype)
        for key, optimizer in alone.items():
            optimizer.update({key: expected[key]}, {key: grads[key]})
        if flat == "other order":
            grads = flatten(dict(reversed(grads.items())))
        together.update(given, flatten(grads) if flat in ("grads", "both") else grads)
    same(given, expected)
    saved = together.state_dict()
    for key, optimizer in alone.items():
        for name, of in optimizer.state.items():
            np.testing.assert_array_equal(saved[f"{name}/{key}"], of[key], strict=True)


@pytest.mark.parametrize("change", [flatten, dict], ids=["to flat", "to a dict"])
def test_a_run_may_change_between_flat_and_dict(change):
    optimizer, plain = Adam(lr=0.1), Adam(lr=0.1)
    params, expected = arrays(0), arrays(0)
    params = params if change is flatten else flatten(params)
    for seed in range(1, 6):
        if seed == 3:
            params = change(params)
        optimizer.update(params, arrays(seed))
        plain.update(expected, arrays(seed))
    same(dict(params), expected)


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_compiled_loop_goes_from_array_to_array_as_long_as_they_lie_in_line(order, monkeypatch):
    monkeypatch.setattr(packing, "APART", 0)
    optimizer, plain = (Adam(lr=0.1, clip_norm=1.0, engine=engine) for engine in ("compiled", "blocked"))
    params, expected, base = arrays(0), arrays(0), np.zeros((6, 8), "f4")
    for seed in range(1, 6):
        grads = {key: np.array(g, order=order) for key, g in arrays(seed).items()}
        if seed == 3:  # one of them no longer lies in line
            key = next(key for key in SHAPES if len(SHAPES[key]) == 2)
            view = base[:SHAPES[key][0], ::2][:, :SHAPES[key][1]]
            view[...] = params[key]
            params[key] = view
        optimizer.update(params, grads)
        plain.update(expected, grads)
        assert [bool(pack.lines) for pack in optimizer._packing.packs] == [seed < 3]
    same(params, expected)
    np.testing.assert_array_equal(base[:SHAPES[key][0], ::2][:, :SHAPES[key][1]], expected[key])
    for name, of in plain.state.items():
        same(dict(optimizer.state[name]), dict(of))


@pytest.mark.parametrize("value", [np.nan, 1e30])
def test_nothing_changes_where_one_of_several_arrays_in_line_is_refused(value, monkeypatch):
    monkeypatch.setattr(packing, "APART", 0)
    optimizer, params, grads = Adam(engine="compiled"), arrays(0), arrays(1)
    optimizer.update(params, grads)
    before, state, last = {key: w.copy() for key, w in params.items()}, optimizer.state_dict(), "scale"
    grads[last][...] = value
    with pytest.raises(ValueError, match=rf"grads\['{last}'\] must"):
        optimizer.update(params, grads)
    same(params, before)
    for key, what in optimizer.state_dict().items():
        np.testing.assert_array_equal(what, state[key])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_arrays_that_are_too_small_are_copied_together(count):
    mean = packing.APART
    for size in (mean - 1, mean):
        params, grads = ({f"{i}": np.ones(size if i else mean) for i in range(count)} for _ in range(2))
        optimizer = Momentum(lr=0.1, engine="compiled")
        optimizer.update(params, grads)
        assert [bool(pack.lines) for pack in optimizer._packing.packs] == [size == mean]


def test_together_small_arrays_are_worth_compiling():
    size = 2**13
    for count in (7, 8, 9):
        params, grads = ({f"{i}": np.full(size, i + 1.0) for i in range(count)} for _ in range(2))
        optimizer, plain = Momentum(lr=0.1), Momentum(lr=0.1, engine="blocked")
        expected = {key: w.copy() for key, w in params.items()}
        for _ in range(2):
            optimizer.update(params, grads)
            plain.update(expected, grads)
        assert [bool(pack.lines) for pack in optimizer._packing.packs] == [count >= 8]
        same(params, expected)


def test_small_arrays_of_any_layout_and_dtype_stay_where_they_are():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(8, 6))
    params = {"strided": base[::2, ::-2], "fortran": np.asfortranarray(rng.normal(size=(3, 2))), "half": rng.normal(size=3).astype("f2"),
              "other half": rng.normal(size=(2, 2)).astype("f2"), "single": rng.normal(size=2).astype("f4")}
    grads = {key: rng.normal(size=w.shape).astype(w.dtype) for key, w in params.items()}
    expected = {key: w.copy() for key, w in params.items()}
    optimizer, alone = Momentum(lr=0.1), {key: Momentum(lr=0.1) for key in params}
    for _ in range(3):
        optimizer.update(params, grads)
        for key, one in alone.items():
            one.update({key: expected[key]}, {key: grads[key]})
    same(params, expected)
    assert np.shares_memory(params["strided"], base)


def test_only_small_arrays_are_joined(monkeypatch):
    seen = []
    from reference_impl import engines
    step = engines.step
    monkeypatch.setattr(engines, "step", lambda rule, piece, *rest: (seen.append(piece[0].size), step(rule, piece, *rest)))
    params = {"a": np.zeros(packing.SMALL), "b": np.zeros(3), "large": np.zeros(packing.SMALL + 1), "c": np.zeros(2)}
    SGD().update(params, {key: np.ones_like(w) for key, w in params.items()})
    assert sorted(seen) == [packing.SMALL + 1, packing.SMALL + 5]


def stepped(make=lambda: Adam(lr=0.1)):
    optimizer, params, grads = make(), arrays(0), arrays(1)
    for _ in range(2):
        optimizer.update(params, grads)
    return optimizer, params, grads


def test_a_refused_gradient_leaves_everything_as_it_was():
    optimizer, params, grads = stepped()
    before = copy.deepcopy((params, optimizer.state_dict()))
    grads["b"][2] = np.nan
    with pytest.raises(ValueError, match=r"grads\['b'\] must be finite, got nan at index \(2,\)"):
        optimizer.update(params, grads)
    same(params, before[0])
    same(optimizer.state_dict(), before[1])


def test_what_was_changed_between_two_steps_is_seen():
    def follow(change):
        optimizer, params, grads = stepped()
        params, grads = change(optimizer, params, grads) or (params, grads)
        optimizer.update(params, grads)
        return params, optimizer.state_dict()

    def in_place(optimizer, params, grads):
        params["W"] *= 2
        grads["b"][...] = 3
        optimizer.state["m"]["W"][...] = 1

    def replaced(optimizer, params, grads):
        params["W"] = params["W"] * 2
        grads["b"] = np.full(4, 3, "f4")
        optimizer.state["m"]["W"][...] = 1

    for got, want in zip(follow(replaced), follow(in_place)):
        same(got, want)

    def swapped(optimizer, params, grads):
        return params, dict(zip(grads, [grads[key] for key in ("W", "none", "b", "scale")]))

    with pytest.raises(ValueError, match=r"grads\['b'\] must have the shape"):
        follow(swapped)

    def frozen(optimizer, params, grads):
        params["b"].flags.writeable = False

    with pytest.raises(ValueError, match=r"params\['b'\] must be writeable"):
        follow(frozen)

    def renamed(optimizer, params, grads):
        return {f"V{key}": w for key, w in params.items()}, {f"V{key}": g for key, g in grads.items()}

    with pytest.raises(ValueError, match="params must keep the keys"):
        follow(renamed)

    def listed(optimizer, params, grads):
        return list(params.values()), grads

    with pytest.raises(TypeError, match="params must be a dict of arrays, got list"):
        follow(listed)


def test_arrays_of_the_state_change_in_place_and_are_not_replaced():
    optimizer, _, _ = stepped()
    for change in (lambda state: state.__setitem__("m", {}), lambda state: state["m"].__setitem__("W", np.ones((3, 4), "f4")),
                   lambda state: state["m"].__delitem__("W")):
        with pytest.raises((TypeError, AttributeError)):
            change(optimizer.state)


def test_a_state_that_was_loaded_counts_from_then_on():
    optimizer, params, grads = stepped()
    optimizer.load_state_dict(Adam(lr=0.1).state_dict())
    other, others = Adam(lr=0.1), copy.deepcopy(params)
    for one, w in ((optimizer, params), (other, others)):
        one.update(w, grads)
    same(params, others)


def test_a_parameter_that_is_gone_is_not_taken_for_another():
    optimizer = SGD()
    optimizer.update({"a": np.ones(packing.SMALL + 1)}, {"a": np.ones(packing.SMALL + 1)})
    params = {"b": np.ones(3)}
    optimizer.update(params, {"b": np.ones(3)})
    assert (params["b"] != 1).all()


def test_a_hyperparameter_that_changes_is_held_against_the_dtype_again():
    optimizer, params, grads = Adam(eps=1e-4), arrays(0, "f2"), arrays(1, "f2")
    optimizer.update(params, grads)
    optimizer.eps = 1e-50
    with pytest.raises(ValueError, match="eps must not vanish in float32"):
        optimizer.update(params, grads)


def test_large_gradients_are_not_kept_alive():
    import weakref

    optimizer, params = SGD(), {"w": np.zeros(packing.SMALL + 1)}
    grads = {"w": np.ones(packing.SMALL + 1)}
    optimizer.update(params, grads)
    gone = weakref.ref(grads["w"])
    del grads
    assert gone() is None


def test_a_copied_or_pickled_optimizer_goes_on_alike():
    for again in (copy.deepcopy, lambda optimizer: pickle.loads(pickle.dumps(optimizer))):
        optimizer, params, grads = stepped()
        other, others = again(optimizer), copy.deepcopy(params)
        optimizer.update(params, grads)
        other.update(others, grads)
        same(params, others)
        optimizer.update(params, grads)
        assert other.steps == 3
