"""Which reading a step takes, on how many threads, and what it costs besides time: no memory, no page fault, no second compilation."""

import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from rules import OPTIMIZERS, RULES

from reference_impl import SGD, Adam, engines, flatten, set_engine, set_threads
from reference_impl.engines import blocked, compiled, threads
from reference_impl.engines.tape import trace
from reference_impl.optimization.adam import adam

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def defaults():
    count = threads.count
    yield
    set_engine(None)
    set_threads(count)


@pytest.fixture
def readings(monkeypatch):
    """The names of the readings that were taken."""
    taken = []
    for name, reading in (("blocked", blocked), ("compiled", compiled)):
        step = reading.step
        monkeypatch.setattr(reading, "step", lambda *args, name=name, step=step: (taken.append(name), step(*args)))
    return taken


def arrays_for(rule, size, dtype="f4"):
    rng = np.random.default_rng(0)
    return [np.abs(rng.normal(size=size)).astype(dtype) for _ in trace(rule).arrays]


def update(optimizer, size=100, dtype="f4"):
    optimizer.update({"w": np.ones(size, dtype)}, {"w": np.ones(size, dtype)})


def test_small_arrays_are_read_in_blocks_and_large_ones_compiled(readings):
    update(SGD(), engines.COMPILED_FROM - 1)
    update(SGD(), engines.COMPILED_FROM)
    assert readings == ["blocked", "compiled"]


def test_a_rule_whose_last_digits_a_library_chooses_is_compiled_only_where_that_is_asked_for(readings):
    def rule(w, g, *, lr):
        return w - lr * np.tanh(g)

    assert all(trace(r).exact for r in RULES) and not trace(rule).exact
    for engine in (None, "compiled"):
        engines.step(rule, [np.ones(engines.COMPILED_FROM), np.ones(engines.COMPILED_FROM)], {"lr": 0.1}, engine)
    assert readings == ["blocked", "compiled"]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_results_do_not_depend_on_whether_numba_is_there(rule, dtype):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=engines.COMPILED_FROM + 3).astype(dtype) for _ in trace(rule).arrays]
    arrays[3:] = [abs(a) for a in arrays[3:]]
    if len(arrays) == 3 and "s" in trace(rule).state:
        arrays[2] = abs(arrays[2])
    both = [[a.copy() for a in arrays] for _ in range(2)]
    engines.quietly(engines.step, rule, both[0], RULES[rule], "blocked")
    engines.quietly(engines.step, rule, both[1], RULES[rule])
    for a, b in zip(*both):
        np.testing.assert_array_equal(a, b)


def test_an_optimizer_may_ask_for_its_engine(readings):
    update(SGD(engine="compiled"))
    update(SGD(engine="blocked"), engines.COMPILED_FROM)
    assert readings == ["compiled", "blocked"]


def test_an_engine_may_be_set_for_all(readings):
    set_engine("compiled")
    update(SGD())
    update(SGD(engine="blocked"))
    set_engine("blocked")
    update(SGD(), engines.COMPILED_FROM)
    assert readings == ["compiled", "blocked", "blocked"]


def test_what_numba_does_not_take_is_read_in_blocks(readings):
    update(SGD(engine="compiled"), dtype="f2")
    strided = np.ones((4, 6), "f4")[::2, ::2]
    SGD(engine="compiled").update({"w": strided}, {"w": np.ones((2, 3), "f4", order="F")})
    assert readings == ["blocked", "blocked"]


@pytest.mark.parametrize("use", [set_engine, lambda engine: SGD(engine=engine)], ids=["for all", "for one"])
def test_an_engine_that_is_not_there_is_refused(use, monkeypatch):
    with pytest.raises(ValueError, match="engine must be 'blocked', 'compiled' or None, got 'numba'"):
        use("numba")
    monkeypatch.setattr(compiled, "available", lambda: False)
    with pytest.raises(ModuleNotFoundError, match=r'engine="compiled" needs Numba: pip install numba'):
        use("compiled")


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None, "2"])
def test_a_number_of_threads_that_is_none_is_refused(wrong):
    with pytest.raises((TypeError, ValueError), match="threads must be a whole number from 1 up"):
        set_threads(wrong)


@pytest.mark.parametrize(("wish", "count"), [("1", 1), ("", None), ("many", None), ("0", None), ("100000", None)])
def test_the_environment_may_ask_for_fewer_threads(wish, count, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    every = threads.available()
    monkeypatch.setenv("OMP_NUM_THREADS", wish)
    assert threads.available() == (count or every)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_threads_change_no_bit(rule, count, monkeypatch):
    monkeypatch.setattr(blocked, "THREADS_FROM", 1)
    arrays = arrays_for(rule, 2**18 + 13)
    expected = rule(*[a.copy() for a in arrays], **RULES[rule])
    set_threads(count)
    blocked.step(rule, arrays, RULES[rule])
    for got, want in zip([arrays[0], *arrays[2:]], expected if isinstance(expected, tuple) else (expected,), strict=True):
        np.testing.assert_array_equal(got, want, strict=True)


def test_the_compiled_loop_gives_the_same_on_any_number_of_threads():
    results = []
    for count in (1, 2, 100):
        arrays = arrays_for(*RULES.keys() & {SGD.rule}, compiled.THREADS_FROM + 1)
        set_threads(count)
        compiled.step(SGD.rule, arrays, {"lr": 0.1})
        results.append(arrays[0])
    assert (results[0] == results[1]).all() and (results[0] == results[2]).all()


@pytest.mark.parametrize(("wish", "used"), [(2, 2), (3, 3), (100, 3), (1, None)])
def test_the_compiled_loop_takes_as_many_threads_as_are_set_or_as_numba_has(wish, used, monkeypatch):
    import numba

    taken = []
    monkeypatch.setattr(numba, "set_num_threads", taken.append)
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 3)
    set_threads(wish)
    for size in (compiled.THREADS_FROM - 1, compiled.THREADS_FROM):
        compiled.step(SGD.rule, arrays_for(SGD.rule, size), {"lr": 0.1})
        assert taken == ([used] if used and size == compiled.THREADS_FROM else [])


def test_optimizers_in_several_threads_do_not_meet_in_numba(tmp_path):
    script = tmp_path / "crowd.py"
    script.write_text("""
import threading
import numpy as np
from reference_impl import SGD, set_threads
set_threads(2)
def work():
    params, grads = {"w": np.zeros(2**18)}, {"w": np.ones(2**18)}
    optimizer = SGD(lr=1.0, engine="compiled")
    for _ in range(50):
        optimizer.update(params, grads)
    done.append(params["w"].max())
done = []
crowd = [threading.Thread(target=work) for _ in range(4)]
for one in crowd: one.start()
for one in crowd: one.join()
print(*done)
""")
    done = subprocess.run([sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True, check=False,
                          env=os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_THREADING_LAYER": "workqueue", "NUMBA_NUM_THREADS": "2"})
    assert done.stdout.split() == ["-50.0"] * 4, done.stderr


@pytest.mark.filterwarnings("error")
def test_threads_keep_quiet_about_overflow():
    set_threads(3)
    params = {"w": np.full(blocked.THREADS_FROM, 3e38, "f4")}
    SGD(lr=10.0, engine="blocked").update(params, {"w": np.full(blocked.THREADS_FROM, -3e38, "f4")})
    assert np.isinf(params["w"]).all()


def test_large_arrays_are_shared_among_the_threads(monkeypatch):
    together, parts = threads.together, []
    monkeypatch.setattr(threads, "together", lambda function, size: (parts.append(size), together(function, size)))
    set_threads(2)
    operations = len(trace(SGD.rule).work)
    for size in (blocked.THREADS_FROM // operations - 1, blocked.THREADS_FROM // operations):
        update(SGD(engine="blocked", check_finite=False), size)
    set_threads(1)
    update(SGD(engine="blocked", check_finite=False), blocked.THREADS_FROM)
    assert operations == 2 and parts == [blocked.THREADS_FROM // 2]


@pytest.mark.parametrize("where", [0, 2, 4])
def test_an_error_in_a_thread_comes_out_when_all_have_ended(where):
    set_threads(3)
    ended = []

    def part(first, last):
        if first == where:
            raise ZeroDivisionError
        time.sleep(0.05)
        ended.append(first)

    with pytest.raises(ZeroDivisionError):
        threads.together(part, 6)
    assert sorted(ended) == sorted({0, 2, 4} - {where})


@pytest.mark.parametrize("engine", ["blocked", "compiled"])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_update_allocates_nothing_of_the_parameters_size_and_faults_no_page(kind, engine):
    resource = pytest.importorskip("resource", reason="page faults are counted on Unix only")
    optimizer, size = OPTIMIZERS[kind](), 2**21
    optimizer.engine = engine
    rng = np.random.default_rng(0)
    params, grads = ({"w": rng.normal(size=size).astype("f4")} for _ in range(2))
    for _ in range(3):
        optimizer.update(params, grads)
    tracemalloc.start()
    optimizer.update(params, grads)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < params["w"].nbytes / 50
    faults = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        optimizer.update(params, grads)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    # A fresh array would fault once a page, or once for 512 of them where the system gives large pages; what Python does beside may fault now and then.
    assert min(faults) == 0 and sum(faults) < params["w"].nbytes // resource.getpagesize() // 20


@pytest.mark.parametrize("count", [2, 20])
@pytest.mark.parametrize("flat", [True, False], ids=["flat", "dict"])
def test_a_step_on_many_small_arrays_calls_the_rule_once(flat, count, readings):
    params, grads = ({f"{i}": np.ones((i, 3)) for i in range(count)} for _ in range(2))
    if flat:
        params, grads = flatten(params), flatten(grads)
    Adam().update(params, grads)
    assert readings == ["blocked"]


def run(script, cache):
    done = subprocess.run([sys.executable, str(script)], cwd=ROOT, capture_output=True, text=True, check=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(cache)})
    return done.stdout.split()


def test_a_loop_is_compiled_once_for_all_processes_and_anew_when_its_rule_changes(tmp_path):
    script, part = tmp_path / "own_rule.py", tmp_path / "part_of_it.py"
    script.write_text("""
import numpy as np
from part_of_it import changed
from reference_impl.engines import compiled
from reference_impl.engines.tape import trace
from reference_impl.optimization.adam import adam

def rule(w, g, *, lr):
    return changed(w) - lr * g

w = np.ones(5)
compiled.step(rule, [w, np.zeros(5)], {"lr": 1.0})
print(w[0], sum(compiled._loop(rule, trace(rule), False).stats.cache_hits.values()))
""")
    part.write_text("import numpy as np\ndef changed(w): return np.exp(0.0 * w)")
    assert run(script, tmp_path / "cache") == ["1.0", "0"]
    assert run(script, tmp_path / "cache") == ["1.0", "1"]
    part.write_text("import numpy as np\ndef changed(w): return np.sqrt(4.0 * w)")  # Numba itself would look at the script alone
    assert run(script, tmp_path / "cache") == ["2.0", "0"]


def test_a_rule_without_a_file_is_compiled_too():
    space = {}
    exec("def plain(w, g, *, lr):\n    return w - lr * g", space)
    w = np.ones(3)
    space["plain"].__module__ = "__main__"
    compiled.step(space["plain"], [w, np.ones(3)], {"lr": 0.25})
    assert w.tolist() == [0.75] * 3


def test_even_the_first_step_in_blocks_needs_no_array_as_large_as_the_parameters():
    def fresh(w, g, m, v, *, lr, beta1, beta2, eps, t):  # no thread has a plan of it
        return adam(w, g, m, v, lr=lr, beta1=beta1, beta2=beta2, eps=eps, t=t)

    arrays = [np.ones(2**21, "f4") for _ in range(4)]
    trace(fresh)
    tracemalloc.start()
    try:
        blocked.step(fresh, arrays, {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "t": 1})
        assert tracemalloc.get_traced_memory()[1] < arrays[0].nbytes
    finally:
        tracemalloc.stop()
