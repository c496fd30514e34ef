"""The readings of a rule agree: blocked and compiled with the plain rule, bit for bit; symbolic in its formulas."""

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import sympy as sp
from readings import READINGS, plainly
from rules import RULES

from reference_impl import engines
from reference_impl.engines import blocked, compiled, symbolic, threads
from reference_impl.engines.tape import signature, squares, trace
from reference_impl.optimization import adam
from reference_impl.optimization.adagrad import adagrad, adagrad_eps_inside
from reference_impl.optimization.momentum import momentum
from reference_impl.optimization.rmsprop import rmsprop, rmsprop_eps_inside

BLOCK = blocked.BLOCK_BYTES // 4


def arrays_for(rule, shape, dtype, order="C"):
    """w, g and the state; that of float16 parameters is float32."""
    rng = np.random.default_rng(0)
    dtypes = [dtype, dtype, *["f4" if dtype == "f2" else dtype] * len(signature(rule).state)]
    return [np.asarray(np.abs(rng.normal(size=shape)).astype(dtype), order=order) for dtype in dtypes]


def arrays_for_count(count):
    return [np.random.default_rng(i).uniform(1, 2, size=11) for i in range(count)]


def assert_same(arrays, expected):
    for got, want in zip([arrays[0], *arrays[2:]], expected, strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (7,), (3, 5), (BLOCK,), (BLOCK + 1,), (3 * BLOCK - 1,)], ids=str)
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_blocked_is_the_plain_rule_bit_for_bit(rule, shape, dtype):
    arrays = arrays_for(rule, shape, dtype)
    expected = plainly(rule, arrays, RULES[rule])
    blocked.step(rule, arrays, RULES[rule])
    assert_same(arrays, expected)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("size", [0, 1, 7, 1001])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_compiled_is_the_plain_rule_to_rounding(rule, size, dtype):
    arrays = arrays_for(rule, size, dtype)
    expected = plainly(rule, arrays, RULES[rule])
    compiled.step(rule, arrays, RULES[rule])
    for got, want in zip([arrays[0], *arrays[2:]], expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_any_layout_gives_the_same_numbers(rule):
    base = arrays_for(rule, (40, 30), "f4")
    expected = plainly(rule, base, RULES[rule])
    fortran = [np.asfortranarray(a) for a in base]
    mixed = [np.asfortranarray(a) if i % 2 else a.copy() for i, a in enumerate(base)]
    strided = [np.zeros((80, 60), "f4")[::2, ::-2] for _ in base]
    for a, b in zip(strided, base):
        a[...] = b
    for arrays in (fortran, mixed, strided):
        blocked.step(rule, arrays, RULES[rule])
        assert_same(arrays, expected)


@pytest.mark.parametrize("reading", [blocked, compiled])
def test_a_result_that_is_no_fresh_array_is_copied_where_it_belongs(reading):
    def swap(w, g, v, *, lr):
        return v, w

    arrays = [np.array([1.0]), np.array([2.0]), np.array([3.0])]
    reading.step(swap, arrays, {"lr": 1.0})
    assert [a.item() for a in arrays] == [3.0, 2.0, 1.0]


def test_an_old_value_that_is_needed_later_survives():
    def late(w, g, v, *, lr):
        new_w = w - lr * g
        new_v = w + v  # the old w
        return new_w, new_v

    arrays = [np.array([1.0]), np.array([2.0]), np.array([3.0])]
    blocked.step(late, arrays, {"lr": 0.5})
    assert [a.item() for a in arrays] == [0.0, 2.0, 4.0]


@pytest.mark.parametrize("reading", [blocked, compiled])
def test_a_rule_may_name_its_arrays_as_it_likes(reading):
    def rule(w, g, s0, r0, t0, i, sqrt, *, _1, others):
        s0 = _1 * s0 + g
        return w - others * np.sqrt(s0), s0, r0 + 2 * g, t0 * i, i + 1, np.sqrt(sqrt)

    arrays, values = arrays_for_count(7), {"_1": 0.5, "others": 0.25}
    expected = rule(*arrays, **values)
    reading.step(rule, arrays, values)
    assert_same(arrays, expected)


def test_scalars_are_computed_in_python_floats():
    def rule(w, g, *, lr, t):
        return w - lr * (1 - 0.1**t) ** 0.5 * g

    values = trace(rule).values({"lr": 0.3, "t": 2})
    assert values == (0.3 * (1 - 0.1**2) ** 0.5,) and type(values[0]) is float
    w, g = np.float32([1.0]), np.float32([2.0])
    expected = rule(w, g, lr=0.3, t=2)
    blocked.step(rule, [w, g], {"lr": 0.3, "t": 2})
    np.testing.assert_array_equal(w, expected)


def test_a_hyperparameter_that_is_not_given_is_named():
    for wrong in ({"lr": 0.1}, {"lr": 0.1, "rho": None}, {"lr": 0.1, "rho": "0.9"}, {"lr": 0.1, "rho": [0.9]}, None, 0.1):
        with pytest.raises(TypeError, match=r"hyper must hold a number for each of \['lr', 'rho'\], got"):
            blocked.step(momentum, [np.ones(2)] * 3, wrong)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_finite(bad, dtype):
    a = np.ones((5, 7), dtype)
    huge = np.full(10, np.finfo(dtype).max)
    assert engines.finite([a]) and engines.finite([huge]) and engines.finite([a[::2, ::3]]) and engines.finite([np.zeros(0, dtype)])
    a[2, 3] = bad
    assert not engines.finite([a]) and not engines.finite([a[::2, ::3]]) and not engines.finite([a.T])
    assert not engines.finite([np.concatenate([huge, a.ravel()])])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("numba", [True, False])
def test_finite_on_large_arrays(bad, numba, count, monkeypatch):
    monkeypatch.setattr(compiled, "available", lambda: numba)
    monkeypatch.setattr(threads, "count", count)
    for dtype in ("f4", "f8"):
        a = np.full(2 * compiled.BLOCK + 7, np.finfo(dtype).max, dtype)
        assert engines.finite([a])
        for place in (0, 1, 2, compiled.BLOCK - 1, compiled.BLOCK, len(a) // 2, *range(len(a) - 8, len(a))):
            a[place], kept = bad, a[place]
            assert not engines.finite([a])
            a[place] = kept


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 63, compiled.BLOCK - 1, compiled.BLOCK, compiled.BLOCK + 1, 3 * compiled.BLOCK + 6])
def test_the_sum_that_tells_what_is_finite_is_of_every_square(size, count, monkeypatch):
    monkeypatch.setattr(threads, "count", count)
    view = np.random.default_rng(0).normal(size=size)
    total, other = compiled._call(compiled._squares, [(view,), (view[:7],)])
    np.testing.assert_allclose([total, other], [(view**2).sum(), (view[:7]**2).sum()], rtol=1e-12)
    for most in (0.5, 2.0, 10.0):
        assert compiled.finite([view, view[:7]], most) is bool((abs(view) <= most).all())
        assert compiled.finite([np.zeros(3), view], most) is compiled.finite([view], most)


@pytest.mark.parametrize("numba", [True, False])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_large_arrays_take_the_fastest_reading_and_the_same_numbers(rule, numba, monkeypatch):
    monkeypatch.setattr(compiled, "available", lambda: numba)
    arrays = arrays_for(rule, engines.COMPILED_FROM, "f4")
    expected = plainly(rule, arrays, RULES[rule])
    engines.step(rule, arrays, RULES[rule])
    for got, want in zip([arrays[0], *arrays[2:]], expected, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("reading", ["javascript", "symbolic"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_reading_of_numbers_computes_what_the_rule_computes(rule, reading):
    arrays = arrays_for(rule, 20, "f8")
    arrays[:3] = [a * np.where(np.arange(20) % 3, 1, -1) for a in arrays[:3]]
    if rule in (rmsprop, rmsprop_eps_inside, adagrad, adagrad_eps_inside):
        arrays[2] = abs(arrays[2])
    for got, want in zip(READINGS[reading](rule, arrays, RULES[rule]), plainly(rule, arrays, RULES[rule]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13)


@pytest.mark.parametrize("gradient", [300.0, 2e-4, -65504.0, 6e-8])
@pytest.mark.parametrize("rule", [rule for rule in RULES if squares(rule)], ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("reading", ["blocked", "fused", None])
def test_float16_steps_as_the_rule_says(reading, rule, gradient):
    """As the plain rule does in float64, to one float16 apart; w and g are float16, the state is float32."""
    arrays = [np.ones(5, "f2"), np.full(5, gradient, "f2"), *(np.zeros(5, "f4") for _ in signature(rule).state)]
    exact, values = [a.astype("f8") for a in arrays], RULES[rule] | {"eps": 1e-7}
    for t in range(1, 5):
        want = plainly(rule, exact, values | {"t": t})
        exact = [want[0], exact[1], *want[1:]]
        if reading:
            got = READINGS[reading](rule, arrays, values | {"t": t})
            arrays = [got[0], arrays[1], *got[1:]]
        else:
            engines.step(rule, arrays, values | {"t": t})
        assert [a.dtype.itemsize for a in arrays] == [2, 2, *[4] * len(want[1:])]
        assert abs(arrays[0] - want[0]).max() <= t * np.spacing(np.float16(1.0))


@pytest.mark.parametrize("layout", ["flat", "strided", "Fortran"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_float16_of_any_layout_is_computed_in_float32_and_rounded_once(rule, layout):
    arrays = arrays_for(rule, {"flat": 300_001, "strided": (400, 500), "Fortran": (40, 30)}[layout], "f2")
    if layout == "strided":
        arrays = [a[::2, ::-3] for a in arrays]
    if layout == "Fortran":
        arrays = [np.asfortranarray(a) for a in arrays]
    expected = plainly(rule, arrays, RULES[rule])
    blocked.step(rule, arrays, RULES[rule])
    assert_same(arrays, expected)


def test_float16_in_blocks_takes_no_array_of_the_parameters_size():
    arrays = arrays_for(adam.adam, 2**23, "f2")
    blocked.step(adam.adam, arrays, RULES[adam.adam])
    tracemalloc.start()
    blocked.step(adam.adam, arrays, RULES[adam.adam])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < arrays[0].nbytes / 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("engine", ["blocked", None])
def test_a_forked_child_steps_too(engine, tmp_path):
    script = tmp_path / "forks.py"
    script.write_text(f"""
import multiprocessing, sys
import numpy as np
from reference_impl import SGD, set_engine, set_threads
set_engine({engine!r})
set_threads(2)
def step():
    params = {{"w": np.zeros(2**19, "f4")}}
    SGD(lr=1.0).update(params, {{"w": np.ones(2**19, "f4")}})
    assert (params["w"] == -1).all()
step()
child = multiprocessing.get_context("fork").Process(target=step)
child.start()
child.join(20)
hangs = child.is_alive()
child.kill()
sys.exit(hangs or child.exitcode)
""")
    done = subprocess.run([sys.executable, str(script)], cwd=Path(__file__).parents[2], env=os.environ | {"PYTHONPATH": "."}, check=False)
    assert done.returncode == 0


def lines_of(rule):
    return symbolic.latex(rule).replace(r" \\", "").splitlines()[1:-1]


def test_latex_numbers_a_rule_that_counts_its_steps_as_the_paper_does_and_prints_the_names_that_the_rule_gives():
    assert lines_of(adam.adam) == [
        r"m_{t} &= \beta_{1} m_{t-1} + \left(1 - \beta_{1}\right) g_{t}",
        r"v_{t} &= \beta_{2} v_{t-1} + \left(1 - \beta_{2}\right) g_{t}^{2}",
        r"\hat m_{t} &= \frac{m_{t}}{1 - \beta_{1}^{t}}",
        r"\hat v_{t} &= \frac{v_{t}}{1 - \beta_{2}^{t}}",
        r"w_{t} &= w_{t-1} - \frac{\alpha \hat m_{t}}{\sqrt{\hat v_{t}} + \varepsilon}",
    ]
    assert lines_of(momentum) == [r"v_{t+1} &= \rho v_{t} + g_{t}", r"w_{t+1} &= w_{t} - \alpha v_{t+1}"]


def test_latex_prints_the_names_of_a_rule_that_the_rule_calls_and_of_values_without_an_array():
    *same, last = lines_of(adam.adamw)
    assert same == lines_of(adam.adam)[:-1]
    assert last == lines_of(adam.adam)[-1].replace("= w_{t-1}", r"= \left(1 - \alpha \lambda\right) w_{t-1}")
    *_, rate, last = lines_of(adam.adam_eps_hat)
    assert rate == r"\alpha_{t} &= \frac{\alpha \sqrt{1 - \beta_{2}^{t}}}{1 - \beta_{1}^{t}}"
    assert last == r"w_{t} &= w_{t-1} - \frac{\alpha_{t} m_{t}}{\sqrt{v_{t}} + \varepsilon}"
    assert r"\hat v_{t} &= \frac{\mathrm{top}_{t}}{1 - \beta_{2}^{t}}" in lines_of(adam.amsgrad)


def test_latex_leaves_the_profiler_as_it_was(monkeypatch):
    def spy(frame, event, result):
        pass

    def broken(w, g, *, lr):
        raise ValueError("a rule's own error")

    before = sys.getprofile()
    sys.setprofile(spy)
    try:
        symbolic.latex(momentum)
        assert sys.getprofile() is spy
        with pytest.raises(ValueError, match="own error"):
            symbolic.latex(broken)
        assert sys.getprofile() is spy
    finally:
        sys.setprofile(before)


def test_latex_takes_no_name_for_what_a_helper_calls_its_argument():
    def half(x):
        return 0.5 * x

    def rule(w, g, *, lr):
        g_bar = half(g + w)
        the_step = lr * g_bar
        return w - the_step

    assert lines_of(rule) == [r"\bar g_{t+1} &= \frac{g_{t} + w_{t}}{2}", r"\mathrm{the\_step}_{t+1} &= \alpha \bar g_{t+1}",
                              r"w_{t+1} &= w_{t} - \mathrm{the\_step}_{t+1}"]


def test_a_derivation_proves_each_step():
    x, y = sp.symbols("x y")
    chain = symbolic.Derivation("f", (sp.sin(x) ** 2 + sp.cos(x) ** 2, "start"), (sp.Integer(1), "Pythagoras"))
    assert chain.result == 1 and r"\text{Pythagoras}" in chain.latex
    matrix = sp.Matrix([[x, y], [y, x]])
    symbolic.Derivation("M", (matrix**2, "square"), (sp.Matrix([[x**2 + y**2, 2 * x * y], [2 * x * y, x**2 + y**2]]), "by hand"))
    with pytest.raises(ValueError, match="step 2"):
        symbolic.Derivation("M", (matrix, "start"), (matrix.T * 2, "wrong"))
    with pytest.raises(TypeError, match="speed"):
        symbolic.expressions(next(iter(RULES)), speed=1)


@pytest.mark.parametrize("wrong", [None, "x", [sp.Symbol("x")], object(), True, np.ones(2)], ids=lambda wrong: type(wrong).__name__)
def test_what_is_no_expression_is_refused_by_name(wrong):
    x = sp.Symbol("x")
    for name, ask in {"expression": lambda: symbolic.tex(wrong), "a": lambda: symbolic.difference_of(wrong, x), "b": lambda: symbolic.difference_of(x, wrong),
                      "g": lambda: symbolic.expressions(momentum, g=wrong), "steps": lambda: symbolic.Derivation("f", (x, "start"), (wrong, "so"))}.items():
        with pytest.raises(TypeError, match=rf"^{name} must be .*a SymPy expression"):
            ask()


def test_what_is_no_derivation_is_refused_by_name():
    x = sp.Symbol("x")
    for ask, says in [(lambda: symbolic.Derivation(x, (x, "start")), "left must be a string"), (lambda: symbolic.Derivation("f"), "steps must be"),
                      (lambda: symbolic.Derivation("f", (x, "start"), relation=None), "relation must be a string"),
                      (lambda: symbolic.Derivation("f", (x, x)), "steps must be"), (lambda: symbolic.Derivation("f", x), "steps must be"),
                      (lambda: symbolic.Derivation("f", (x, "a", "b")), "steps must be")]:
        with pytest.raises(TypeError, match=says):
            ask()


def test_a_number_is_an_expression_too():
    assert symbolic.tex(2) == "2" and symbolic.difference_of(3, 1) == 2
    assert symbolic.expressions(momentum, lr=0, v=1, g=2)["v"] == sp.Symbol("rho") + 2
