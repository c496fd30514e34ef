"""The order of the tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pages first: each takes seconds, and no processor should wait for the last one alone."""
    items.sort(key=lambda item: "test_pages.py" not in item.nodeid)
