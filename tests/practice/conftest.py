"""The shared search, run here, one trial after the other."""

import pytest
from searches import SETTINGS, noisy

from reference_impl.practice.search import search


@pytest.fixture(scope="session")
def alone():
    return search(noisy, SETTINGS, seed=3)
