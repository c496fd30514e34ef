"""The order of the tests, and a GPU for those that want one."""

import sys
from collections.abc import Iterator
from types import ModuleType

import device
import pytest

from reference_impl.engines import fused


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Pages first: each takes seconds, and no processor should wait for the last one alone.

    A name with an address in it is another one in each process, and pytest-xdist then runs nothing.
    """
    if addresses := [item.nodeid for item in items if " at 0x" in item.nodeid]:
        raise pytest.UsageError(f"tests must have the same names in every process, got {addresses[0]}")
    items.sort(key=lambda item: "test_pages.py" not in item.nodeid)


@pytest.fixture(params=["stand-in", pytest.param("CuPy", marks=pytest.mark.gpu)])
def cupy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """CuPy: what tests/device.py has in its stead, and then CuPy itself, where there is a GPU."""
    if request.param == "stand-in":
        module = device.cupy
        monkeypatch.setitem(sys.modules, "cupy", device.cupy)
        monkeypatch.setitem(sys.modules, "cupyx", device.cupyx)
    else:
        module = pytest.importorskip("cupy", exc_type=ImportError)
        if not module.cuda.is_available():
            pytest.skip("no GPU")
    for made in (fused._kernel, fused._look):  # by the one or by the other
        made.cache_clear()
    yield module
    for made in (fused._kernel, fused._look):
        made.cache_clear()
