"""A bar for work that takes long, where tqdm (extra `progress`) and someone to look at it are there."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class Silent:
    """A bar that shows nothing."""

    def update(self, count: int = 1) -> None:
        """So many steps more are done."""

    def set_postfix(self, values: Mapping[str, str], refresh: bool = True) -> None:
        """What stands behind the bar."""


@contextmanager
def bar(total: int, wanted: bool | None = None, unit: str = "step") -> Iterator[Any]:
    """A bar of `total` steps on standard error; `wanted` None shows it on a terminal, if tqdm is installed.

    Raises ModuleNotFoundError when it is wanted and tqdm is missing.

    >>> with bar(3, wanted=False) as shown:
    ...     shown.update()
    """
    if wanted is None:
        wanted = sys.stderr is not None and sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None
    if not wanted:
        yield Silent()
        return
    try:
        from tqdm import tqdm
    except ImportError:
        raise ModuleNotFoundError('progress=True needs tqdm: pip install tqdm') from None
    with tqdm(total=total, unit=unit) as shown:
        yield shown
