"""The package's public names: imported from one list, each when it is first used."""

import subprocess
import sys
from dataclasses import FrozenInstanceError, fields

import numpy as np
import pytest

import reference_impl
from reference_impl import L1, L2, Choice, LogUniform, Stepped, Uniform, Whole, standardize, taco_shell
from reference_impl.arrays.checks import Count, Flag, Function, Numbers, Real
from reference_impl.optimization.settings import Setting
from reference_impl.optimization.sgd import sgd
from reference_impl.plots import Compute, Data, Descent, Explore, Handle, Iterate, Levels, Line, Mark, Panel, Slider


@pytest.mark.parametrize("name", reference_impl.__all__)
def test_a_public_name_is_what_its_module_calls_so(name):
    found = getattr(reference_impl, name)
    home = sys.modules[f"reference_impl.{reference_impl._HOME[name]}"]
    assert found is getattr(home, name)
    assert name == "Schedule" or (found.__doc__ and found.__module__ == home.__name__), "documented, and taken from where it is defined"


def test_the_list_is_seen_by_who_asks():
    assert {"Adam", "fit", "minimize", "search"} <= set(reference_impl.__all__) <= set(dir(reference_impl))
    everything = {}
    exec("from reference_impl import *", everything)
    assert set(reference_impl.__all__) <= set(everything)


def test_a_name_that_there_is_not():
    with pytest.raises(AttributeError, match="module 'reference_impl' has no attribute 'adam_with_a_typo'"):
        _ = reference_impl.adam_with_a_typo
    with pytest.raises(ImportError, match="cannot import name 'adam_with_a_typo'"):
        from reference_impl import adam_with_a_typo as _  # noqa: F401


def test_only_what_is_used_is_loaded():
    program = "import sys; from reference_impl import taco_shell; print(*[n for n in sys.modules if n.startswith('reference_impl.')])"
    loaded = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    assert "reference_impl.optimization.landscapes" in loaded
    assert not any(name.startswith(("reference_impl.networks", "reference_impl.practice", "reference_impl.plots")) for name in loaded)


@pytest.mark.parametrize("value", [
    Real(0, 1), Count(), Flag(), Function("x"), Numbers(1), Setting(0, 1), L1(0.1), L2(0.1), taco_shell(2), Uniform(0, 1), LogUniform(1, 2), Whole(Uniform(1, 2)),
    Stepped(1, 3, 1), Choice(["a", "b"]), Levels(taco_shell(2)), Line("a", "b"), Mark(x=1), Handle("a"), Panel((0, 1), (0, 1), []), Slider("a", 0, 1, 0.5),
    Data("a", [1.0]), Compute("a", lambda x: x), Iterate({"a": 0}, lambda a: a, 3), Descent("d", sgd, taco_shell(2), 3),
    Explore("a", panels=[Panel((0, 1), (0, 1), [])]), standardize(np.eye(2)),
], ids=lambda value: type(value).__name__)
def test_what_describes_a_thing_stays_as_it_is(value):
    for field in fields(value):
        with pytest.raises(FrozenInstanceError):
            setattr(value, field.name, None)
    assert repr(value) and value != object()
