"""A fingerprint: another one for another function, the same for the same in every process, whatever it counts with."""

import functools
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from reference_impl.practice import code as module
from reference_impl.practice.code import fingerprint


def made(source, name="f"):
    """A function, or what else a piece of source binds, of a module of its own."""
    space = {"__name__": "mine", "np": np, "partial": partial, "functools": functools}
    exec(source, space)
    return space[name]


SAME = {
    "comment": ("def f(s, rng):\n    return s['a'] + 1", "def f(s, rng):  # the loss\n\n    return s['a'] + 1"),
    "docstring": ("def f(s, rng):\n    'The loss.'\n    return s['a']", "def f(s, rng):\n    'What is lost.'\n    return s['a']"),
    "first docstring": ("def f(s, rng):\n    return s['a']", "def f(s, rng):\n    'What is lost.'\n    return s['a']"),
    "names of arguments": ("def f(s, rng):\n    return s['a']", "def f(setting, chance):\n    return setting['a']"),
    "a function that it does not call": ("def g(): return 1\ndef f(s, rng): return s['a']", "def g(): return 2\ndef f(s, rng): return s['a']"),
    "a list that it adds to": ("def g(x=[]):\n    def f(s, rng):\n        x.append(1)\n    return f\nf = g()",
                               "def g(x=[1]):\n    def f(s, rng):\n        x.append(1)\n    return f\nf = g()"),
    "a number that it counts with": ("def g(x):\n    def f(s, rng):\n        nonlocal x\n        x += 1\n    return f\nf = g(1)",
                                     "def g(x):\n    def f(s, rng):\n        nonlocal x\n        x += 1\n    return f\nf = g(2)"),
    "an attribute that it counts with": ("class C:\n    n = 0\n    def __call__(self, s, rng):\n        self.n += 1\nf = C()",
                                         "class C:\n    n = 0\n    def __call__(self, s, rng):\n        self.n += 1\nf = C()\nf.n = 3"),
    "a global value": ("N = 1\ndef f(s, rng): return N", "N = 2\ndef f(s, rng): return N"),
    "an object": ("def f(s, rng, x=object()): return x", "def f(s, rng, x=object()): return x"),
    "the order of keywords": ("def g(s, rng, a, b): return a\nf = partial(g, a=1, b=2)", "def g(s, rng, a, b): return a\nf = partial(g, b=2, a=1)"),
    "a constant set": ("def f(s, rng): return s['a'] in {'x', 'y', 'z'}", "def f(s, rng): return s['a'] in {'x', 'y', 'z'}"),
}
OTHER = {
    "constant": ("def f(s, rng): return 1.0", "def f(s, rng): return 2.0"),
    "sign": ("def f(s, rng): return s['a'] + 1", "def f(s, rng): return s['a'] - 1"),
    "key": ("def f(s, rng): return s['a']", "def f(s, rng): return s['b']"),
    "constant set": ("def f(s, rng): return s['a'] in {'x', 'y'}", "def f(s, rng): return s['a'] in {'x', 'z'}"),
    "another function of NumPy": ("def f(s, rng): return np.sin(s['a'])", "def f(s, rng): return np.cos(s['a'])"),
    "in a lambda in it": ("def f(s, rng): return max([1, 2], key=lambda x: x)", "def f(s, rng): return max([1, 2], key=lambda x: -x)"),
    "default": ("def f(s, rng, n=1): return n", "def f(s, rng, n=2): return n"),
    "keyword's default": ("def f(s, rng, *, n=1): return n", "def f(s, rng, *, n=2): return n"),
    "tuple as default": ("def f(s, rng, n=(1, 2)): return n", "def f(s, rng, n=(1, 3)): return n"),
    "a function that it calls": ("def g(): return 1\ndef f(s, rng): return g()", "def g(): return 2\ndef f(s, rng): return g()"),
    "a function that that one calls": ("def h(): return 1\ndef g(): return h()\ndef f(s, rng): return g()",
                                       "def h(): return 2\ndef g(): return h()\ndef f(s, rng): return g()"),
    "a class that it uses": ("class C:\n    def m(self): return 1\ndef f(s, rng): return C().m()",
                             "class C:\n    def m(self): return 2\ndef f(s, rng): return C().m()"),
    "what that is a kind of": ("class B:\n    def m(self): return 1\nclass C(B):\n    pass\ndef f(s, rng): return C().m()",
                               "class B:\n    def m(self): return 2\nclass C(B):\n    pass\ndef f(s, rng): return C().m()"),
    "a number closed over": ("def g(x):\n    return lambda s, rng: x\nf = g(1)", "def g(x):\n    return lambda s, rng: x\nf = g(2)"),
    "a string closed over": ("def g(x):\n    return lambda s, rng: x\nf = g('a')", "def g(x):\n    return lambda s, rng: x\nf = g('b')"),
    "an array closed over": ("def g(x):\n    return lambda s, rng: x\nf = g(np.arange(3))", "def g(x):\n    return lambda s, rng: x\nf = g(np.arange(3) + 1)"),
    "its shape": ("def g(x):\n    return lambda s, rng: x\nf = g(np.zeros((2, 3)))", "def g(x):\n    return lambda s, rng: x\nf = g(np.zeros((3, 2)))"),
    "its dtype": ("def g(x):\n    return lambda s, rng: x\nf = g(np.zeros(2))", "def g(x):\n    return lambda s, rng: x\nf = g(np.zeros(2, int))"),
    "a function closed over": ("def g(x):\n    return lambda s, rng: x()\nf = g(lambda: 1)", "def g(x):\n    return lambda s, rng: x()\nf = g(lambda: 2)"),
    "a function in a set": ("def g(x):\n    return lambda s, rng: x\nf = g(frozenset({lambda: 1}))", "def g(x):\n    return lambda s, rng: x\nf = g(frozenset({lambda: 2}))"),
    "a function in a tuple": ("def g(x):\n    return lambda s, rng: x\nf = g((lambda: 1,))", "def g(x):\n    return lambda s, rng: x\nf = g((lambda: 2,))"),
    "a partial's argument": ("def g(n, s, rng): return n\nf = partial(g, 1)", "def g(n, s, rng): return n\nf = partial(g, 2)"),
    "a partial's keyword": ("def g(s, rng, n): return n\nf = partial(g, n=1)", "def g(s, rng, n): return n\nf = partial(g, n=2)"),
    "a partial's function": ("def g(n, s, rng): return n\nf = partial(g, 1)", "def g(n, s, rng): return -n\nf = partial(g, 1)"),
    "an attribute": ("class C:\n    def __call__(self, s, rng):\n        n = self.n\n        return n\nf = C()\nf.n = 1",
                     "class C:\n    def __call__(self, s, rng):\n        n = self.n\n        return n\nf = C()\nf.n = 2"),
    "a function as attribute": ("class C:\n    def __call__(self, s, rng): return self.n()\nf = C()\nf.n = lambda: 1",
                                "class C:\n    def __call__(self, s, rng): return self.n()\nf = C()\nf.n = lambda: 2"),
    "an object's call": ("class C:\n    def __call__(self, s, rng): return 1\nf = C()", "class C:\n    def __call__(self, s, rng): return 2\nf = C()"),
    "a method": ("class C:\n    def m(self, s, rng): return 1\nf = C().m", "class C:\n    def m(self, s, rng): return 2\nf = C().m"),
    "a method's object": ("class C:\n    def m(self, s, rng): return 1\nc = C()\nc.n = 1\nf = c.m", "class C:\n    def m(self, s, rng): return 1\nc = C()\nc.n = 2\nf = c.m"),
    "what is behind a cache": ("@functools.lru_cache\ndef f(s, rng): return 1", "@functools.lru_cache\ndef f(s, rng): return 2"),
    "what is behind a decorator": (
        "def d(g):\n    @functools.wraps(g)\n    def w(*a): return g(*a)\n    return w\n@d\ndef f(s, rng): return 1",
        "def d(g):\n    @functools.wraps(g)\n    def w(*a): return g(*a)\n    return w\n@d\ndef f(s, rng): return 2"),
    "another library's function": ("f = np.mean", "f = np.median"),
    "None and a number": ("def f(s, rng, n=None): return n", "def f(s, rng, n=0): return n"),
    "objects in an array, and numbers": ("def f(s, rng, n=np.array([1, 'a'], object)): return n", "def f(s, rng, n=np.array([1, 2])): return n"),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME.keys())
def test_the_same_function_has_the_same(one, other):
    assert fingerprint(made(one)) == fingerprint(made(other))


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER.keys())
def test_another_function_has_another(one, other):
    assert fingerprint(made(one)) != fingerprint(made(other)) and fingerprint(made(one)) == fingerprint(made(one))


def test_functions_that_call_each_other_end():
    source = "def g(n): return f(n, 0) if n else {}\ndef f(s, rng): return g(s) + {}"
    assert len({fingerprint(made(source.format(*pair))) for pair in ((0, 1), (0, 2), (3, 1))}) == 3


def test_functions_of_other_modules_are_known_by_name_only():
    def called(s, rng):
        return np.linalg.norm(s["a"])

    def other():
        return 1

    before = fingerprint(partial(called, other))
    other.__module__ = "elsewhere"
    assert fingerprint(partial(called, other)) != before


def test_it_is_the_same_in_every_process(tmp_path):
    code = """
from functools import partial
from reference_impl.practice.code import fingerprint
class Model:
    def __init__(self, width): self.width = width
    def loss(self, s): return self.width in (1, 2) and s["a"] in {"x", "y", "z"}
def helper(s, names=frozenset({"a", "b", "c"})): return Model(3).loss(s)
def objective(folder, s, rng, extra=object()): return helper(s)
print(fingerprint(partial(objective, "here", extra=None)), fingerprint(objective))
"""
    root = Path(module.__file__).parents[2]
    texts = {subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True,
                            env=os.environ | {"PYTHONHASHSEED": seed}).stdout for seed in "123"}
    assert len(texts) == 1 and [len(word) for word in texts.pop().split()] == [16, 16]
