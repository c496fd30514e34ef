"""Every row of the table, in every reading, on every kind of number, is NumPy's function."""

import itertools

import numpy as np
import pytest
from readings import READINGS

from reference_impl.engines.operations import OPERATIONS, TABLE
from reference_impl.engines.tape import trace

NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.3, -0.3, 0.5, -0.5, 1.5, -1.5, 2.0, -2.0, 2.5, -2.5, 3.7, -3.7, 30.0, -30.0, 1e-8, -1e-8,
           1e15, -1e15, np.inf, -np.inf, np.nan]
# So many last digits may the libraries of two readings differ in where no standard says how to round; and the array API, which has no
# cube root, raises to a third that is rounded itself.
DIGITS = 8
CUBE_ROOT = 100
# Of two zeros either may be the larger, and the sign of -0 is a 0 of either sign.
FREE_ZEROS = (np.maximum, np.minimum, np.fmax, np.fmin, np.sign)


def numbers(dtype):
    """Numbers of every kind: signs, zeros, halves, denormals, the smallest and the largest, infinity, NaN, and ordinary ones."""
    info = np.finfo(dtype)
    odd = [info.smallest_subnormal, info.tiny, info.max]
    drawn = np.random.default_rng(0).normal(size=30) * 3
    return np.array([*NUMBERS, *odd, *[-x for x in odd], *drawn], dtype)


def rule_of(ufunc):
    """A rule whose state becomes what the ufunc makes of w, and of g."""
    if ufunc.nin == 1:
        return lambda w, g, s, *, lr: (w, ufunc(w))
    return lambda w, g, s, *, lr: (w, ufunc(w, g))


def cases(ufunc, reading, dtype):
    """w and g for it: all pairs, where there are two; what the reading's language takes otherwise by its own standard is left out."""
    every = numbers(dtype)
    pairs = np.array(list(itertools.product(every, every) if ufunc.nin == 2 else zip(every, every)), dtype)
    if reading == "symbolic":  # SymPy has real numbers, without end: neither NaN nor infinity nor -0, and its powers may be complex
        pairs = pairs[(abs(pairs) < 1e3).all(1) & ((abs(pairs) > 1e-9) | ((pairs == 0) & ~np.signbit(pairs))).all(1)]
        with np.errstate(all="ignore"):
            pairs = pairs[np.isfinite(ufunc(*pairs.T[:ufunc.nin]))]
    if reading == "javascript" and ufunc is np.power:  # its ±1 to the power of infinity, and 1 to that of NaN, is NaN
        pairs = pairs[(abs(pairs[:, 0]) != 1) | np.isfinite(pairs[:, 1])]
    return pairs.T.copy()


def assert_is_numpys(got, want, exact, free_zeros, digits=DIGITS):
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want))
    if exact:
        np.testing.assert_array_equal(got, want)
        if not free_zeros:
            np.testing.assert_array_equal(np.signbit(got)[want == 0], np.signbit(want)[want == 0])
    else:
        info = np.finfo(want.dtype)
        np.testing.assert_allclose(got, want, rtol=digits * info.eps, atol=digits * info.smallest_subnormal)


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("ufunc", OPERATIONS, ids=lambda ufunc: ufunc.__name__)
def test_a_row_is_numpys_function_in_each_reading(ufunc, reading):
    check_row(ufunc, reading)


def check_row(ufunc, reading):
    for dtype in ("f8",) if reading in ("javascript", "symbolic") else ("f4", "f8"):
        w, g = cases(ufunc, reading, dtype)
        with np.errstate(all="ignore"):
            want = ufunc(*(w, g)[:ufunc.nin])
        kept, got = READINGS[reading](rule_of(ufunc), [w, g, np.zeros_like(w)], {"lr": 1.0})
        np.testing.assert_array_equal(kept, w)
        exact = OPERATIONS[ufunc].exact and not (reading == "symbolic" and ufunc in (np.divide, np.reciprocal, np.sqrt))
        digits = CUBE_ROOT if (reading, ufunc) == ("whole", np.cbrt) else DIGITS
        assert_is_numpys(got, want, exact, reading == "symbolic" or ufunc in FREE_ZEROS, digits)


@pytest.mark.parametrize("ufunc", OPERATIONS, ids=lambda ufunc: ufunc.__name__)
def test_a_row_is_numpys_function_on_the_host(ufunc):
    check_host(ufunc)


def check_host(ufunc):
    """On the hyperparameters Python computes; it raises where a division by zero or a number too large would give infinity."""
    rule = (lambda w, g, *, a, b: w * ufunc(a)) if ufunc.nin == 1 else (lambda w, g, *, a, b: w * ufunc(a, b))
    given, tried = cases(ufunc, "host", "f8"), 0
    with np.errstate(all="ignore"):
        for a, b, want in zip(*given.tolist(), ufunc(*given[:ufunc.nin])):
            try:
                got, = trace(rule).values({"a": a, "b": b})
            except (ZeroDivisionError, OverflowError, ValueError):
                assert not np.isfinite(want)
                continue
            tried += 1
            assert type(got) is float
            assert_is_numpys(np.float64(got), want, OPERATIONS[ufunc].exact, ufunc in FREE_ZEROS)
    assert tried > 20


def test_the_table_says_what_every_reading_agrees_on():
    assert len(OPERATIONS) == len(TABLE) == len({row.ufunc.__name__ for row in TABLE})
    assert not {row.ufunc for row in TABLE if row.exact} & {np.power, np.exp, np.log, np.tanh, np.sin, np.cbrt, np.hypot}


