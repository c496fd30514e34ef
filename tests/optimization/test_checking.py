"""What an optimizer looks at before a step: in full once, and then only whether the arrays are still the same."""

import numpy as np
import pytest

from reference_impl import SGD, AdaGrad, Adam, Groups, Momentum, RMSProp, engines, flatten
from reference_impl.optimization import checking, packing
from reference_impl.optimization.checking import check_apart, have_layout, layout


def pair(form=dict):
    return form({"a": np.zeros((2, 3)), "b": np.zeros(4, "f4")} if form is dict else {"a": np.zeros((2, 3)), "b": np.zeros(4)})


def with_(named, **others):
    return {**named, **others}


def locked(array):
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("form", [dict, flatten], ids=["dict", "flat"])
def test_the_same_layout_is_known_again(form):
    params, grads = pair(form), pair(form)
    before = layout(params)
    assert have_layout(before, params, grads) and have_layout(before, pair(form), pair(form))
    if form is dict:
        assert have_layout(before, dict(reversed(params.items())), dict(reversed(grads.items())))


OTHERS = {
    "shape": np.zeros((3, 2)), "axes": np.zeros(6), "dtype": np.zeros((2, 3), "f4"), "type": np.zeros((2, 3)).view(np.matrix), "list": [[0.0] * 3] * 2, "None": None,
}


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@pytest.mark.parametrize("other", OTHERS)
def test_another_layout_is_not_taken_for_the_known_one(other):
    params, before = pair(), layout(pair())
    assert not have_layout(before, with_(params, a=OTHERS[other]), pair())
    assert not have_layout(before, params, with_(pair(), a=OTHERS[other]))
    assert not have_layout(before, with_(params, a=OTHERS[other]), with_(pair(), a=OTHERS[other]))


def test_nor_are_other_keys_or_dicts_or_what_cannot_be_written():
    params, before = pair(), layout(pair())
    for one, other in (({"a": params["a"]}, pair()), (pair(), {"a": params["a"]}), (with_(pair(), c=np.zeros(1)), pair()), (pair(), with_(pair(), c=np.zeros(1))),
                       ({"a": params["a"], "c": params["b"]}, pair()), (pair(), {"a": params["a"], "c": params["b"]}), (None, pair()), (pair(), [])):
        assert not have_layout(before, one, other)
    assert not have_layout(before, with_(params, b=locked(np.zeros(4, "f4"))), pair())
    assert have_layout(before, pair(), with_(pair(), b=locked(np.zeros(4, "f4"))))
    assert not have_layout([], pair(), pair()) and have_layout([], {}, {})
    flat = pair(flatten)
    known = layout(flat)
    assert not have_layout(known, flat, {key: np.zeros(w.shape) for key, w in flat.items()}) and not have_layout(before, flat, flat)
    assert not have_layout(known, flat, flatten({"a": np.zeros((3, 2)), "b": np.zeros(4)}))
    locked(flat.buffer)
    assert not have_layout(known, flat, pair(flatten))


def test_memory_is_looked_at_once_for_the_same_arrays(monkeypatch):
    looked = []
    monkeypatch.setattr(checking, "check_apart", lambda *given: (looked.append(1), check_apart(*given)))
    optimizer, params, grads = Momentum(), {"a": np.zeros(3), "b": np.zeros(2)}, {"a": np.ones(3), "b": np.ones(2)}
    for expected in (1, 1, 1):
        optimizer.update(params, grads)
        assert len(looked) == expected
    for change in (lambda: params.update(a=np.zeros(3)), lambda: grads.update(b=np.ones(2)), lambda: params.update(c=np.zeros(1)) or grads.update(c=np.ones(1))):
        change()
        looked.clear()
        optimizer.update(params, grads)
        optimizer.update(params, grads)
        assert len(looked) == 1
    del params["c"], grads["c"]
    optimizer.update(params, grads)
    assert len(looked) == 2


def test_every_step_takes_the_numbers_of_now():
    optimizer, w = Momentum(lr=0.5, rho=0.0), {"w": np.zeros(1)}
    for lr in (0.5, 0.25, 1, np.array(0.125), lambda step: 0.5):
        optimizer.lr = lr
        for _ in range(2):
            optimizer.update(w, {"w": np.ones(1)})
    assert w["w"] == -0.5 * 2 - 0.25 * 2 - 1 * 2 - 0.125 * 2 - 0.5 * 2
    optimizer.lr = np.array(0.5)
    optimizer.update(w, {"w": np.ones(1)})
    optimizer.lr[...] = 0.25
    before = w["w"].item()
    optimizer.update(w, {"w": np.ones(1)})
    assert before - w["w"] == 0.25


def test_numbers_are_held_against_new_dtypes():
    optimizer = SGD(lr=1e-60)
    optimizer.update({"w": np.zeros(1)}, {"w": np.ones(1)})
    for _ in range(2):
        with pytest.raises(ValueError, match="lr must not vanish in float32, got 1e-60"):
            optimizer.update({"w": np.zeros(1), "v": np.zeros(1, "f4")}, {"w": np.ones(1), "v": np.ones(1, "f4")})
    optimizer.update({"w": np.zeros(1)}, {"w": np.ones(1)})
    assert optimizer.steps == 2


def test_no_array_of_the_past_is_taken_for_one_of_now():
    optimizer, params = Momentum(), {"a": np.zeros(3), "b": np.zeros(3)}
    for _ in range(50):
        optimizer.update(params, {"a": np.ones(3), "b": np.ones(3)})  # gone at once: another may come to lie where it lay
        with pytest.raises(ValueError, match="must not share memory"):
            optimizer.update(params, {"a": params["b"][:], "b": np.ones(3)})


@pytest.mark.parametrize(("written", "read", "says"), [
    ("ab", "", None), ("aa", "", "params1 and params0 must not share memory, got the same array"), ("a", "a", "must not share memory, got the same array"),
    ("a", "A", "must not share memory, got arrays that overlap"), ("aA", "", "must not share memory, got arrays that overlap"), ("b", "aA", None), ("b", "aa", None),
    ("o", "", r"params0 must not overlap itself, got strides \(8, 8\) for the shape \(2, 2\)"), ("a", "o", None), ("ef", "", None), ("n", "", None), ("ab", "o", None)])
def test_what_may_share_memory(written, read, says):
    base, other, line = np.zeros(6), np.zeros(6), np.zeros(4)
    some = {"a": base, "A": base[2:4], "b": other, "o": np.lib.stride_tricks.as_strided(line, (2, 2), (8, 8)), "e": other[::2], "f": other[1::2], "n": np.zeros((0, 3))}
    given = ({f"params{i}": some[name] for i, name in enumerate(written)}, {f"grads{i}": some[name] for i, name in enumerate(read)})
    if says is None:
        check_apart(*given)
    else:
        with pytest.raises(ValueError, match=says):
            check_apart(*given)


@pytest.mark.parametrize(("strides", "shape", "overlaps"), [((8, 16), (2, 2), False), ((16, 8), (2, 2), False), ((8, 8), (2, 2), True), ((24, 8), (2, 3), False),
                                                              ((16, 8), (2, 3), True), ((0,), (2,), True), ((0,), (1,), False), ((-8,), (3,), False), ((8, 4), (2, 2), True)])
def test_whether_an_array_overlaps_itself(strides, shape, overlaps):
    array = np.lib.stride_tricks.as_strided(np.zeros(40)[20:], shape, strides)
    assert checking._overlaps_itself(array) is overlaps


# --- how the arrays are packed -----------------------------------------------------------------------------------------------------


def packed(params, rule=Adam.rule, counts=None):
    counts = counts or dict.fromkeys(params, 0)
    memories = {key: packing.Memory(counts[key], {"m": np.zeros(w.shape), "v": np.zeros(w.shape)}, w.dtype) for key, w in params.items()}
    return [pack.keys for pack in packing.packs_for(rule, params, memories, None)]


def test_which_arrays_are_stepped_on_together():
    small, middle, large = np.zeros(3), np.zeros((100, 100)), np.zeros(20_000)
    assert packed({"a": small, "b": middle, "c": large, "d": np.zeros(2, "f4"), "e": np.zeros((), "f4")}) == [["a", "b"], ["c"], ["d", "e"]]
    assert packed({"a": small, "b": np.zeros(2), "c": np.zeros(2)}, counts={"a": 1, "b": 2, "c": 1}) == [["a", "c"], ["b"]]
    assert packed(flatten({"a": small, "c": large})) == [["a", "c"]]
    assert packed(flatten({"a": small, "c": large}), counts={"a": 1, "c": 2}) == [["a"], ["c"]]


def test_a_packs_first_marked_element_is_named():
    memories = {key: packing.Memory(0, {"v": np.zeros(shape)}) for key, shape in (("a", (2, 2)), ("b", (3,)))}
    params = {key: memory.state["v"] for key, memory in memories.items()}
    pack = packing.Pack(Momentum.rule, ["a", "b"], params, memories, None)
    marked = np.zeros(7, bool)
    assert pack.first(marked) == ("", ())
    marked[[3, 5]] = True
    assert pack.first(marked) == ("a", (1, 1))
    marked[3] = False
    assert pack.first(marked) == ("b", (1,))
    alone = packing.Pack(Momentum.rule, ["a"], params, memories, None)
    assert alone.first(np.eye(2, dtype=bool)[::-1]) == ("a", (0, 1))


# --- where the range of a dtype ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_beside_the_largest_number_a_small_square_is_taken_and_one_that_leads_over_the_end_is_not(dtype):
    limits = np.finfo(dtype)
    root = np.sqrt(limits.max.astype("f8")) * np.sqrt(float(limits.eps))
    for factor, fits in ((0.3, True), (0.34, True), (0.45, True), (0.55, False), (1.5, False), (4, False), (1e3, False)):
        optimizer, w = AdaGrad(lr=1.0), {"w": np.ones(1, dtype)}
        optimizer.load_state_dict({"rule": "adagrad", "steps": 1, "s/w": np.array([limits.max], dtype)})
        g = {"w": np.array([factor * root], dtype)}
        if fits:
            optimizer.update(w, g)
            assert np.isfinite(optimizer.state["s"]["w"])
        else:
            with pytest.raises(ValueError, match="must leave the state of adagrad"):
                optimizer.update(w, g)


@pytest.mark.parametrize(("eps", "value", "fits"), [(1e-19, 1e-25, False), (1.2e-19, 1e-25, True), (0.0, 1e-19, False), (0.0, 1e-18, False), (0.0, 1e-17, True), (0.0, 1e-16, True), (0.0, 3e-16, True)])
def test_where_a_square_is_lost_and_where_an_eps_hides_it(eps, value, fits):
    optimizer, w = Adam(eps=eps), {"w": np.ones(2, "f4")}
    g = {"w": np.array([value, 1.0], "f4")}
    if fits:
        optimizer.update(w, g)
    else:
        with pytest.raises(ValueError, match="must have a square that does not vanish"):
            optimizer.update(w, g)


def test_only_small_gradients_are_tried_twice(monkeypatch):
    tried, step = [], engines.step
    monkeypatch.setattr(engines, "step", lambda *args: (tried.append(args), step(*args)))
    optimizer, w = RMSProp(eps=0.0), {"w": np.ones(2, "f4")}
    for g, times in (([1.0, 2.0], 1), ([1e-25, 2.0], 3), ([1e-15, 2.0], 1), ([1e14, 2.0], 1), ([1e18, 2.0], 2)):
        tried.clear()
        optimizer.update(w, {"w": np.array(g, "f4")})
        assert len(tried) == times


def test_patterns_that_begin_alike_keep_their_entries_apart():
    optimizer = Groups({"a": Momentum(), "a/b": Momentum(rho=0.5)})
    params = {"a": np.zeros(1), "a/b": np.zeros(1)}
    optimizer.update(params, {"a": np.ones(1), "a/b": np.full(1, 2.0)})
    other = Groups({"a": Momentum(), "a/b": Momentum(rho=0.5)})
    other.load_state_dict(optimizer.state_dict())
    np.testing.assert_equal(other.state_dict(), optimizer.state_dict())
