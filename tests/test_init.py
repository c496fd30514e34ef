"""The package's public names, which `reference_impl/__init__.py` lists for the loader and for type checkers."""

import reference_impl


def test_every_public_name_has_a_home():
    assert sorted(reference_impl.__all__) == sorted(reference_impl._MODULE)
    for name in reference_impl.__all__:
        assert getattr(reference_impl, name).__name__ == name or name == "Schedule"
