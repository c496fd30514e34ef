"""A bar for work that takes long, where tqdm (extra `progress`) is there."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from .run import Callback, Run


class Bar(Protocol):
    """What is told how far the work has come."""

    def update(self, n: float = 1) -> object:
        """So many steps more are done."""

    def set_postfix(self, values: Mapping[str, str], /, refresh: bool = True) -> None:
        """What stands behind the bar."""


class Silent:
    """A bar that shows nothing."""

    def update(self, n: float = 1) -> None:
        """So many steps more are done."""

    def set_postfix(self, values: Mapping[str, str], refresh: bool = True) -> None:
        """What stands behind the bar."""


@contextmanager
def bar(total: int, wanted: bool | None = None, unit: str = "step") -> Iterator[Bar]:
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
        raise ModuleNotFoundError("tqdm must be installed to show progress: pip install tqdm") from None
    with tqdm(total=total, unit=unit) as shown:
        yield shown


class Progress(Callback):
    """Show a bar on standard error, with the last epoch's row behind it. Needs tqdm: ModuleNotFoundError without it.

    >>> Progress().columns
    ()
    """

    columns = ()

    def before_fit(self, run: Run) -> None:
        self._bar = run.exits.enter_context(bar(run.epochs * run.steps_per_epoch, wanted=True))
        self._shown = 0

    def after_step(self, run: Run) -> None:
        self._bar.update(run.step - self._shown)  # many at once where a run is resumed
        self._shown = run.step

    def after_epoch(self, run: Run) -> None:
        self._bar.set_postfix({key: f"{value:.4g}" for key, value in run.history.epochs[-1].items()}, refresh=False)

    def after_fit(self, run: Run) -> None:
        self.after_step(run)
