"""The fused reading: its kernels compiled for the processor are the plain rule bit for bit, whatever the rule calls its arrays."""

import re
import subprocess
import sys
from pathlib import Path

import device
import numpy as np
import pytest
from readings import plainly
from rules import RULES

from reference_impl import engines, to_device, to_host
from reference_impl.engines import fused, whole
from reference_impl.engines.operations import OPERATIONS
from reference_impl.engines.tape import signature

SIZES = [(), (0,), (1,), (7,), (3, 5), (1001,)]


def arrays_for(rule, shape, dtype, special):
    """w, g and the state, of normal numbers of both signs; among them, if `special`, all that may go wrong, in every array at other places."""
    rng = np.random.default_rng(0)
    dtypes = [dtype, dtype, *["f4" if dtype == "f2" else dtype] * len(signature(rule).state)]
    made = [np.array(rng.normal(size=shape).astype(dtype)) for dtype in dtypes]
    if special:
        for a in made:
            info = np.finfo(a.dtype)
            odd = [np.nan, np.inf, -np.inf, 0.0, -0.0, info.tiny, -info.tiny, info.smallest_subnormal, info.max, -info.max, 1e-20, -1.0, 1.0]
            places = rng.random(a.shape) < 0.5
            a[places] = rng.choice(np.array(odd).astype(a.dtype), places.sum())
    return made


@np.errstate(all="ignore")
def step(rule, arrays, values):
    """What a step on a copy of `arrays` on the device makes of w and the state."""
    moved = [to_device(a) for a in arrays]
    fused.step(rule, moved, values)
    np.testing.assert_array_equal(to_host(moved[1]), arrays[1])
    return to_host([moved[0], *moved[2:]])


def assert_same_bits(got, want):
    assert got.dtype == want.dtype and got.shape == want.shape
    differ = got.view(f"u{got.itemsize}") != want.view(f"u{got.itemsize}") if got.ndim else got != want
    differ = differ & ~(np.isnan(got) & np.isnan(want))  # NaNs may differ in their signs
    assert not differ.any(), (got[differ][:5], want[differ][:5])


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_kernel_is_the_plain_rule_bit_for_bit(rule, dtype, cupy):
    special = cupy is device.cupy  # CuPy has its kernels flush what is too small for a normal float32 to 0
    for shape in SIZES:
        arrays = arrays_for(rule, shape, dtype, special)
        arrays[3:] = [np.array(abs(a)) for a in arrays[3:]]  # averages of squares
        for got, want in zip(step(rule, arrays, RULES[rule]), plainly(rule, arrays, RULES[rule]), strict=True):
            assert_same_bits(got, want)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_any_layout_gives_the_same_numbers(rule, cupy):
    base = arrays_for(rule, (40, 30), "f4", special=False)
    want = plainly(rule, base, RULES[rule])
    fortran = [np.asfortranarray(a) for a in base]
    mixed = [np.asfortranarray(a) if i % 2 else a for i, a in enumerate(base)]
    for arrays in (fortran, mixed):
        for got, expected in zip(step(rule, arrays, RULES[rule]), want, strict=True):
            np.testing.assert_array_equal(got, expected)
    wide = [to_device(np.zeros((80, 60), "f4")) for _ in base]
    strided = [a[::2, ::-2] for a in wide]
    for a, b in zip(strided, base):
        a[...] = to_device(b)
    with np.errstate(all="ignore"):
        fused.step(rule, strided, RULES[rule])
    for got, expected in zip([strided[0], *strided[2:]], want, strict=True):
        np.testing.assert_array_equal(to_host(got), expected)
    assert not to_host(wide[0])[1::2].any()


def test_a_rule_may_call_its_arrays_and_numbers_what_it_likes(cupy):
    def rule(w, g, i, n, T, exp, t0, s0, x_, *, double, register, _ind):
        return w - double * g, i + g, 2 * n, T * register + g, np.exp(exp), 0.5 * t0 - s0, s0 + 1, x_ * _ind

    values = {"double": 0.1, "register": 0.2, "_ind": 0.3}
    arrays = arrays_for(rule, 9, "f8", special=False)
    for got, want in zip(step(rule, arrays, values), plainly(rule, arrays, values), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-15)


def test_old_values_are_read_before_any_is_written(cupy):
    def turn(w, g, u, v, *, lr):
        return u, v, w

    def late(w, g, v, *, lr):
        return w - lr * g, w + v

    assert [a.item() for a in step(turn, [np.array([x]) for x in (1.0, 2.0, 3.0, 4.0)], {"lr": 1.0})] == [3, 4, 1]
    assert [a.item() for a in step(late, [np.array([x]) for x in (1.0, 2.0, 3.0)], {"lr": 0.5})] == [0, 4]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_every_function_that_a_rule_may_call_is_numpys(dtype, cupy):
    calls = [f"np.{f.__name__}({'w, g' if f.nin == 2 else 'w'})" for f in OPERATIONS]
    space = {"np": np}
    exec(f"def rule(w, g, {', '.join(f'r{i}' for i in range(len(calls)))}, *, lr): return w, {', '.join(calls)}", space)
    rng = np.random.default_rng(0)
    numbers = np.concatenate([rng.normal(size=1000), [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, np.nan]])
    states = [np.zeros_like(numbers, "f4" if dtype == "f2" else dtype) for _ in calls]
    arrays = [*(np.array(a, dtype) for a in (numbers, rng.permutation(numbers))), *states]
    _, *got = step(space["rule"], arrays, {"lr": 1.0})
    _, *want = plainly(space["rule"], arrays, {"lr": 1.0})
    for call, a, b in zip(calls, got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=4 * np.finfo(b.dtype).eps, atol=np.finfo(b.dtype).eps, err_msg=call)
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b), err_msg=call)


def test_no_number_in_a_body_is_a_double():
    for rule in RULES:
        typed = re.sub(r"\bT\(-?\d\)", "T", fused.source(rule))  # a number of the arrays' own type
        numbers = [word for word in typed.replace("(", " ").split() if word[0].isdigit()]
        assert not numbers, rule


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_finite(bad, dtype, cupy):
    a, huge = to_device(np.ones((5, 7), dtype)), to_device(np.full(10, np.finfo(dtype).max))
    assert fused.finite([a, huge, a[::2, ::3], a.T]) and fused.finite([to_device(np.zeros((0, 3), dtype))]) is True
    a[2, 3] = bad
    for array in (a, a[::2, ::3], a.T):
        assert fused.finite([huge, array]) is False
    assert fused.finite([a[:2]]) and fused.finite([a[3:]])


def test_an_arrays_library_decides(cupy, monkeypatch):
    def refused(*args):
        raise AssertionError("not by a kernel")

    monkeypatch.setattr(whole, "step", refused)
    rule = next(iter(RULES))
    arrays = arrays_for(rule, 5, "f4", special=False)
    moved = to_device(arrays)
    engines.step(rule, moved, RULES[rule])
    np.testing.assert_array_equal(to_host(moved[0]), plainly(rule, arrays, RULES[rule])[0])


def test_to_ask_does_not_import_cupy():
    script = ("import sys, numpy as np, reference_impl.arrays\n"
              "from reference_impl.engines import fused\n"
              "assert not fused.takes(np.zeros(1)) and not fused.takes(None) and 'cupy' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0
