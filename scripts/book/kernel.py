"""Runs pieces of code in a fresh kernel."""

from __future__ import annotations

import json
import os
import platform
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nbformat.v4
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

Outputs = list[dict[str, Any]]

TIMEOUT = 600  # seconds a piece may run, or a kernel take to start
v4: Any = nbformat.v4  # which has no types
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

# The book's own modules are there before the page runs, and not on the path that the page imports from.
START = f"""
import sys
sys.path[0] = {str(Path(__file__).resolve().parents[1])!r}
import book.steps
del sys.path[0]
from ipykernel.kernelapp import launch_new_instance
launch_new_instance()
"""


class Broken(Exception):
    """A piece did not come to its end; `piece` is its number."""

    def __init__(self, piece: int, why: str) -> None:
        super().__init__(why)
        self.piece = piece


class Kernel(AsyncKernelManager):
    """The running interpreter as a kernel: whatever kernels this user or machine has installed play no part."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """What starts it."""
        argv = [sys.executable, "-c", START, "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


async def execute(pieces: Sequence[str], root: Path, seed: int) -> list[Outputs]:
    """The outputs of each piece, run in order in one kernel that finds the project's modules in `root`; `seed` is that of its hashes.

    Raises `Broken`.
    """
    book = v4.new_notebook(cells=[v4.new_code_cell(text) for text in pieces])
    index = 0
    with tempfile.TemporaryDirectory() as nowhere:  # a page that needs a file of the repository would not run elsewhere
        # Sockets in a folder of its own: no port to listen on, none to collide with.
        manager = Kernel(transport="ipc", ip=f"{nowhere}/kernel", connection_file=f"{nowhere}/kernel.json")
        client = NotebookClient(book, km=manager, timeout=TIMEOUT, startup_timeout=TIMEOUT)
        with Path(nowhere, "log").open("w+", encoding="utf-8", errors="replace") as log:  # what the process itself says; of interest if it dies
            try:
                async with client.async_setup_kernel(cleanup_kc=True, cwd=nowhere, env=environment(root, nowhere, seed), stderr=log):
                    for index, cell in enumerate(book.cells):
                        await client.async_execute_cell(cell, index)
            except (CellExecutionError, CellTimeoutError, DeadKernelError, RuntimeError) as error:
                log.seek(0)
                raise Broken(index, ANSI.sub("", f"{error}\n{log.read()}".rstrip())) from None
        return [list(json.loads(json.dumps(cell.outputs))) for cell in book.cells]


# Wider instructions sum in another order, and a long run then ends with other digits: each processor of the last ten years has these.
WIDTH = {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"} if platform.machine() in ("x86_64", "AMD64") else {}


def environment(root: Path, home: str, seed: int) -> dict[str, str]:
    """The kernel's environment: nothing of the user's settings, nothing else that differs from run to run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "IPYTHON", "MPL"))}
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    return kept | one_thread | WIDTH | {
        "PYTHONPATH": str(root),
        "PYTHONHASHSEED": str(seed),
        "IPYTHONDIR": home,
        "FIGURE_CARDS": "yes",  # the first figure's picture, for links to the page
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": str(root / ".cache" / "matplotlib"),  # kept: Matplotlib's list of fonts takes seconds to make
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # or the debugger prints a warning onto the page
        "TZ": "UTC",
        "COLUMNS": "80",
    }  # fmt: skip
