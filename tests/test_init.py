"""The package's public names: imported from one list, each when it is first used."""

import subprocess
import sys

import pytest

import reference_impl


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
