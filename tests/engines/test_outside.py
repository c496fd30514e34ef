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

from reference_impl.engines.outside import read_from_outside
from reference_impl.engines.tape import trace
from reference_impl.optimization import adam

RATE = 0.5


class Settings:
    rate = 0.5

    def own(self):
        return self.rate


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


def importing_numpy(w, g):
    import math

    import numpy

    return w - numpy.sqrt(g) * math.pi


def kept_rate(x):
    return kept_rate.rate * x


kept_rate.rate = 0.25
PAIR, NESTED, MIXED = (1.0, 2.0), ((1, 2), (3.0, (4, "5"))), (1.0, [2.0])
TEXT, NOTHING, WHOLE = "some text", None, 7


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
    (lambda w, g: w - third(g), [third, 0.5]),
    (lambda w, g: w - fourth(g), [fourth, 0.5]),
    (lambda w, g: next(RATE * x for x in (w, g)), [0.5]),
    (lambda w, g: (lambda x: (lambda y: RATE * y)(x))(g), [0.5]),
    (partial(partial(lambda w, g, c: w - RATE * c * g, c=2)), [0.5]),
    (lambda w, g: w - nowhere * g, []),  # noqa: F821
    (builtins.abs, []),
    (lambda w, g: w - sign(g), []),
    (lambda w, g: w - float(3) * Fraction(1, 2) * Decimal(1) * g, []),
    (importing_numpy, []),
], ids=range(19))
def test_numbers_and_functions_are_found(rule, reads):
    assert values_of(rule) == reads


def test_what_an_enclosing_function_holds_is_found():
    rate, later = 2.0, partial(halved)
    assert values_of(lambda w, g: w - rate * g) == [2.0]
    assert values_of(lambda w, g: w - later(g)) == [later, 0.5]

    def rule(w, g):
        return w - unbound * g

    assert values_of(rule) == []
    unbound = 3.0
    assert values_of(rule) == [3.0]


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
])
def test_what_can_change_without_being_bound_anew_is_refused(rule, name, kind):
    with pytest.raises(TypeError, match=f"rule some must read numbers and functions alone .* got '{name}' of type {kind}"):
        read_from_outside(rule, "some")


HIDDEN, KEPT = Settings(), [1.0]
append, method = KEPT.append, Settings().own
MODULE = type(math)("module")
MODULE.RATES = {0: 1.0}


def secret(x):
    return KEPT[0] * x
