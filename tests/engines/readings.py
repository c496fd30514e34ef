"""Every reading as one function: what a rule makes of w and the state, of copies of some arrays."""

import sys
from unittest import mock

import array_api_strict
import device
import mpmath
import numpy as np
import sympy as sp
from py_mini_racer import MiniRacer

from reference_impl.engines import blocked, compiled, fused, javascript, symbolic, whole
from reference_impl.engines.tape import signature

JAVASCRIPT = MiniRacer()


def plainly(rule, arrays, values):
    """The rule as it stands, on whole arrays; float16 is computed in float32 and rounded once."""
    single = [a.astype("f4") if a.dtype == "f2" else a.copy() for a in arrays]
    with np.errstate(all="ignore"):
        results = rule(*single, **{name: values[name] for name in signature(rule).hyper})
        results = results if isinstance(results, tuple) else (results,)
        return [np.broadcast_to(np.asarray(r, a.dtype), a.shape) for r, a in zip(results, (arrays[0], *arrays[2:]), strict=True)]


def in_place(step):
    @np.errstate(all="ignore")
    def take(rule, arrays, values):
        copies = [a.copy() for a in arrays]
        step(rule, copies, values)
        np.testing.assert_array_equal(copies[1], arrays[1])
        return [copies[0], *copies[2:]]

    return take


@np.errstate(all="ignore")
def take_fused(rule, arrays, values):
    """The kernel's body, compiled for the processor."""
    with mock.patch.dict(sys.modules, cupy=device.cupy, cupyx=device.cupyx):
        fused._kernel.cache_clear()
        moved = [device.cupy.asarray(a) for a in arrays]
        fused.step(rule, moved, values)
        fused._kernel.cache_clear()
    return [a.get() for a in (moved[0], *moved[2:])]


@np.errstate(all="ignore")
def take_whole(rule, arrays, values):
    moved = [array_api_strict.asarray(a, copy=True) for a in arrays]
    whole.step(rule, moved, values)
    return [np.asarray(a) for a in (moved[0], *moved[2:])]


def take_javascript(rule, arrays, values):
    """In a browser's own engine, a number after the other. Strings carry them there and back: JSON has neither NaN nor -0."""
    rows = ";".join(",".join(repr(float(x)).replace("inf", "Infinity") for x in a.ravel()) for a in arrays)
    hyper = ",".join(repr(float(values[name])).replace("inf", "Infinity") for name in signature(rule).hyper)
    done = JAVASCRIPT.eval(f"""
        const rule = {javascript.source(rule)}, hyper = "{hyper}".split(",").filter(x => x).map(Number)
        const columns = "{rows}".split(";").map(row => row.split(",").map(Number))
        columns[0].map((_, i) => rule(...columns.map(c => c[i]), ...hyper).map(x => Object.is(x, -0) ? "-0" : String(x)).join()).join(";")
    """.replace("const rule", "var rule").replace("const columns", "var columns"))
    results = np.array([[float(x) for x in row.split(",")] for row in done.split(";")])
    return [column.reshape(arrays[0].shape) for column in results.T]


@mpmath.workdps(40)
def take_symbolic(rule, arrays, values):
    """SymPy's expressions with numbers put in, which are not rounded on the way."""
    numbers = {name: mpmath.mpf(values[name]) for name in signature(rule).hyper}
    found = [sp.lambdify(["w", "g", *signature(rule).state, *numbers], e, ["mpmath"]) for e in symbolic.expressions(rule).values()]
    rows = [[float(f(*map(mpmath.mpf, row), *numbers.values())) for f in found] for row in zip(*[a.ravel().tolist() for a in arrays])]
    return [np.array(column).reshape(arrays[0].shape) for column in zip(*rows)]


READINGS = {
    "blocked": in_place(blocked.step),
    "compiled": in_place(compiled.step),
    "fused": take_fused,
    "whole": take_whole,
    "javascript": take_javascript,
    "symbolic": take_symbolic,
}
