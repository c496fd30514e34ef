"""What a rule reads from outside: numbers and functions are read again when they are bound anew, what can change in secret is refused."""

import builtins
import math
from decimal import Decimal
from fractions import Fraction
from functools import cache, partial, wraps

import numpy as np
import pytest
from numpy import sign
from readings import READINGS

from reference_impl.engines.outside import QUESTIONS, read_from_outside
from reference_impl.engines.tape import trace
from reference_impl.optimization import adam

RATE = 0.5


class Settings:
    rate = 0.5

    def own(self):
        return self.rate


HELD = Settings()


def halved(x):
    return RATE * x


def test_what_a_rule_reads_is_read_again_when_it_is_bound_anew(monkeypatch):
    scale = 2.0

    def enclosed(w, g, *, lr):
        return w - scale * g

    rules = [lambda w, g, *, lr: w - RATE * g, lambda w, g, *, lr: w - halved(g), enclosed,
             partial(lambda w, g, *, lr: w - halved(g)), lambda w, g, *, lr: (lambda x: w - RATE * x)(g)]
    for number in (0.5, 3.0):
        monkeypatch.setitem(globals(), "RATE", number)
        scale = number
        for rule in rules:
            for reading in ("blocked", "compiled", "whole"):
                assert READINGS[reading](rule, [np.ones(3), np.ones(3)], {"lr": 1.0})[0].tolist() == [1 - number] * 3
            assert READINGS["javascript"](rule, [np.ones(3), np.ones(3)], {"lr": 1.0})[0].tolist() == [1 - number] * 3
    monkeypatch.setitem(globals(), "halved", lambda x: 7 * x)
    assert READINGS["blocked"](rules[1], [np.ones(3), np.ones(3)], {"lr": 1.0})[0].tolist() == [-6] * 3


def test_a_rule_that_reads_nothing_that_changes_is_traced_once():
    assert trace(adam.adamw) is trace(adam.adamw)


def decorated(function):
    @wraps(function)
    def wrapper(*args):
        return function(*args)

    return wrapper


@decorated
def third(x):
    return x * RATE / 3


@cache
def fourth(x):
    return x * RATE / 4


def importing(w, g):
    from fractions import Fraction

    return w - float(Fraction(1, 3)) * g


def importing_random(w, g):
    from numpy import random

    return w - random.rand() * g


def importing_random_as(w, g):
    import numpy.random as r

    return w - r.rand() * g


def listed(x, c=[1.0]):  # noqa: B006
    return c[0] * x


def importing_numpy(w, g):
    import math

    import numpy

    return w - numpy.sqrt(g) * math.pi


def kept_rate(x):
    return kept_rate.rate * x


kept_rate.rate = 0.25
PAIR, NESTED, MIXED = (1.0, 2.0), ((1, 2), (3.0, (4, "5"))), (1.0, [2.0])
TEXT, NOTHING, WHOLE = "some text", None, 7
BOUND = partial(partial(lambda w, g, c: w - RATE * c * g, c=2))


def given(x, a=3, b=4.0, *, change=halved):
    return a * b * change(x)


def values_of(rule):
    return [value for _, value in read_from_outside(rule, "rule")]


@pytest.mark.parametrize(("rule", "reads"), [
    (lambda w, g: w - g, []),
    (lambda w, g: w - np.sqrt(g) * abs(g), []),
    (lambda w, g: w - RATE * g, [0.5]),
    (lambda w, g: w - WHOLE * g + RATE, [7, 0.5]),
    (lambda w, g: w - math.pi * g, []),
    (lambda w, g: w - np.pi * np.e * g, []),
    (lambda w, g: w - PAIR[0] * g, [PAIR]),
    (lambda w, g: w if TEXT else NOTHING, [TEXT, None]),
    (lambda w, g: w - NESTED[0][0] * g, [NESTED]),
    (lambda w, g: w - third(g), [third, third.__wrapped__, 0.5]),
    (lambda w, g: w - fourth(g), [fourth, fourth.__wrapped__, 0.5]),
    (lambda w, g: next(RATE * x for x in (w, g)), [0.5]),
    (lambda w, g: (lambda x: (lambda y: RATE * y)(x))(g), [0.5]),
    (BOUND, [BOUND.func, 2, 0.5]),
    (lambda w, g: w - given(g), [given, 3, 4.0, halved, 0.5]),
    (lambda w, g: w - nowhere * g, []),  # noqa: F821
    (builtins.abs, []),
    (lambda w, g: w - sign(g), []),
    (lambda w, g: w - float(3) * Fraction(1, 2) * Decimal(1) * g, []),
    (importing_numpy, []),
], ids=range(20))
def test_numbers_and_functions_are_found(rule, reads):
    assert values_of(rule) == reads


def test_what_an_enclosing_function_holds_is_found():
    rate, later = 2.0, partial(halved)
    assert values_of(lambda w, g: w - rate * g) == [2.0]
    assert values_of(lambda w, g: w - later(g)) == [later, halved, 0.5]

    def rule(w, g):
        return w - unbound * g

    assert values_of(rule) == []
    unbound = 3.0
    assert values_of(rule) == [3.0]


def tripled(function):
    @wraps(function)
    def wrapper(*args, **kwargs):
        return RATE * function(*args, **kwargs)

    return wrapper


@tripled
def scaled(x):
    return x


def factor(x, c=0.5):
    return c * x


def factor_by_name(x, *, c=0.5):
    return c * x


def test_what_a_wrapper_reads_and_what_is_given_beforehand_is_read_again(monkeypatch):
    held = partial(factor_by_name, c=0.5)

    def inner(w, g, *, lr):
        class Rates:
            now = RATE

        return w - Rates.now * g

    rules = [(lambda w, g, *, lr: w - scaled(g)), inner, lambda w, g, *, lr: w - factor(g),
             lambda w, g, *, lr: w - factor_by_name(g), lambda w, g, *, lr: w - held(g)]

    def steps():
        return [READINGS["blocked"](rule, [np.ones(3), np.ones(3)], {"lr": 1.0})[0][0] for rule in rules]

    assert steps() == [0.5] * 5
    monkeypatch.setitem(globals(), "RATE", 3.0)
    monkeypatch.setattr(factor, "__defaults__", (3.0,))
    monkeypatch.setitem(factor_by_name.__kwdefaults__, "c", 3.0)
    monkeypatch.setitem(held.keywords, "c", 3.0)
    assert steps() == [-2.0] * 5
    monkeypatch.setattr(factor, "__defaults__", None)
    assert all(read() is not value for read, value in read_from_outside(factor, "some")) and values_of(factor) == []


def test_what_a_class_inside_a_rule_reads_is_found():
    def rule(w, g):
        class Rates:
            now = RATE

        return w - g * Rates

    assert 0.5 in values_of(rule)


log = [1.0]


def test_an_attribute_is_no_global_of_the_same_name():
    assert values_of(lambda w, g: w - np.log(g)) == [] and log


def test_a_rule_that_calls_itself_is_looked_at_once():
    def rule(w, g):
        return rule(w, g)

    assert values_of(rule) == [rule]


@pytest.mark.parametrize(("rule", "name", "kind"), [
    (lambda w, g: w - MIXED[0] * g, "MIXED", "tuple"),
    (lambda w, g: w - HIDDEN.rate * g, "HIDDEN", "Settings"),
    (lambda w, g: w - Settings.rate * g, "Settings", "type"),
    (lambda w, g: w - kept_rate(g), "kept_rate", "function"),
    (lambda w, g: w - append(g), "append", "builtin_function_or_method"),
    (lambda w, g: w - method() * g, "method", "method"),
    (lambda w, g: w - (lambda x: (lambda y: KEPT[0] * y)(x))(g), "KEPT", "list"),
    (lambda w, g: w - secret(g), "KEPT", "list"),
    (lambda w, g: w - MODULE.RATES[0] * g, "MODULE", "module"),
    (lambda w, g: w - (lambda m: m.RATE)(MODULE) * g, "MODULE", "module"),
    (lambda w, g: w - (lambda c: c.rate)(Settings) * g, "Settings", "type"),
    (importing, "fractions", "module"),
    (lambda w, g: w - LISTED(g), "argument 0 given beforehand", "list"),
    (partial(Settings.own, HELD), "argument 1 given beforehand", "Settings"),
    (lambda w, g: w - normal() * g, "normal", "method"),
    (lambda w, g: w - uniform() * g, "uniform", "method"),
    (lambda w, g: w - RANDOM.rand() * g, "RANDOM", "module"),
    (importing_random, ".random", "attrgetter"),
    (importing_random_as, "numpy.random", "module"),
    (lambda w, g: w - np.empty(1)[0] * g, ".empty", "attrgetter"),
    (lambda w, g: w - halved.__globals__["RATE"] * g, ".__globals__", "attrgetter"),
    *((question, name, type(getattr(builtins, name)).__name__) for name in sorted(QUESTIONS)
      for question in [eval(f"lambda w, g: {name}(g)")]),
])
def test_what_can_change_without_being_bound_anew_is_refused(rule, name, kind):
    with pytest.raises(TypeError, match=f"rule some must read numbers and functions alone .* got '{name}' of type {kind}"):
        read_from_outside(rule, "some")


HIDDEN, KEPT = Settings(), [1.0]
LISTED, RANDOM, normal, uniform = listed, np.random, np.random.normal, np.random.uniform
append, method = KEPT.append, Settings().own
MODULE = type(math)("module")
MODULE.RATES = {0: 1.0}


def secret(x):
    return KEPT[0] * x
