"""What a run is made of, told so that it can be written down and compared."""

import functools
import json

import numpy as np
import pytest

from reference_impl import Augment, EarlyStopping, Evaluate, MaxNorm, accuracy
from reference_impl.networks.fingerprint import arguments, told


def shift(x, rng, *, by):
    return x + by


@pytest.mark.parametrize(("value", "said"), [
    (None, None), (True, True), (3, 3), (0.1, 0.1), ("a", "a"), (np.float32(0.5), 0.5), (np.int64(3), 3), ((1, [2]), [1, [2]]),
    ({"b", "a"}, ["a", "b"]), (frozenset({2, 1}), ["1", "2"]), ({1: None}, {"1": None}), (accuracy, "accuracy"), (MaxNorm(1.0), "MaxNorm"),
    (MaxNorm, "MaxNorm"), (functools.partial(shift, by=2), ["shift", [], {"by": 2}]), (np.zeros((0, 3)), "float64 (0, 3) 00000000"),
])
def test_values_are_told_as_json_can_write_them(value, said):
    assert told(value) == said and type(told(value)) is type(said)
    assert json.loads(json.dumps(told(value))) == said


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i8", "u1", "?"])
def test_one_changed_element_is_told(dtype):
    a = np.arange(24).reshape(2, 3, 4).astype(dtype)
    b = a.copy()
    b[1, 2, 3] = 0
    assert told(a) == told(a.copy()) == told(np.asfortranarray(a)) == told(np.repeat(a, 2, axis=2)[:, :, ::2])
    assert len({told(a), told(b), told(a.reshape(2, 12)), told(a.view("V1") if a.itemsize == 1 else a.view("u1"))}) == 4


def test_the_arguments_of_a_callback_are_those_that_it_keeps():
    class Odd(EarlyStopping):
        def __init__(self, column, forgotten=3):
            super().__init__(column, patience=2)

    assert arguments(EarlyStopping("loss", patience=3, min_delta=0.5)) == {"column": "loss", "patience": 3, "min_delta": 0.5, "larger_is_better": False}
    assert arguments(Odd("loss")) == {"column": "loss"}
    assert arguments(Augment(functools.partial(shift, by=2))) == {"function": ["shift", [], {"by": 2}]}
    found = arguments(Evaluate({"test": (np.ones((1, 1)), np.array([0]))}))
    assert found["metric"] == "accuracy" and [text.split()[0] for text in found["sets"]["test"]] == ["float64", "int64"]
