"""Runs a page's cells in a fresh kernel and keeps the outputs until something they were made from changes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

import nbformat.v4
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

Outputs = list[dict[str, Any]]

TIMEOUT = 600  # seconds a cell may run
UNUSED = 30 * 24 * 3600  # seconds after which an entry that no build has read is removed
v4: Any = nbformat.v4  # which has no types
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")

# What a page depends on is watched from the kernel's first moment: every import it tries and every file it opens.
START = """
import sys
def watch(names=set(), files=set()):
    def hook(event, args):
        if event == "import": names.add(args[0])
        elif event == "open" and isinstance(args[0], str): files.add(args[0])
    def inputs():
        modules = {n: getattr(m, "__file__", None) for n, m in list(sys.modules.items())}
        return {"names": sorted(names | set(modules)), "modules": modules, "files": sorted(files)}
    sys.addaudithook(hook)
    sys.page_inputs = inputs
watch()
if sys.path[0] == "": del sys.path[0]
from ipykernel.kernelapp import launch_new_instance
launch_new_instance()
"""
END = "import json, sys; print(json.dumps(sys.page_inputs()))"


class CellError(Exception):
    """A cell raised: which one (from 0), the line in it (from 1), and the traceback."""

    def __init__(self, cell: int, line: int, traceback: str) -> None:
        super().__init__(traceback)
        self.cell, self.line, self.traceback = cell, line, traceback


class Kernel(AsyncKernelManager):
    """The running interpreter as a kernel: whatever kernels this user or machine has installed play no part."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """What starts it."""
        argv = [sys.executable, "-c", START, "-f", "{connection_file}"]
        return KernelSpec(argv=argv, display_name="Python 3", language="python")


def run(cells: Sequence[str], root: Path, report: Callable[[float], None]) -> list[Outputs]:
    """The outputs of each cell, run in order in one kernel that finds the project's modules in `root`.

    They come from `.cache/pages` where they are still true; `report` is told the seconds of a run. Raises `CellError`.
    """
    store = root / ".cache" / "pages"
    # This file's digest is in the key: a page is run again when the way of running it changes. So is Numba, which the
    # package asks for without importing it.
    recipe = [list(cells), sys.version, platform.machine(), _digest(Path(__file__)), _installed("numba")]
    entry = store / f"{hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:32]}.json"
    if (outputs := _recall(entry, root)) is not None:
        return outputs
    started = time.time()
    outputs, inputs = asyncio.run(_execute(cells, root))
    report(time.time() - started)
    files, packages = _project_files(inputs, root), _packages(inputs, root)
    # A file edited while the page ran may not be the one that was imported: such a run is not kept.
    if all(_modified(root / name) < started for name in files):
        found = {"files": {name: _digest(root / name) for name in files}, "packages": packages, "outputs": outputs}
        _write(entry, json.dumps(found, sort_keys=True))
    return outputs


def forget_unused(root: Path) -> None:
    """Remove entries, and leavings of interrupted builds, that no build has read for a month."""
    for path in (root / ".cache" / "pages").glob("*"):
        with suppress(OSError):  # another build may have been quicker
            if path.stat().st_mtime < time.time() - UNUSED:
                path.unlink()


def _recall(entry: Path, root: Path) -> list[Outputs] | None:
    try:
        found = json.loads(entry.read_text(encoding="utf-8"))
        same = all(_digest(root / name) == digest for name, digest in found["files"].items())
        if same and all(_installed(top) == what for top, what in found["packages"].items()):
            os.utime(entry)
            return list(found["outputs"])
    except (OSError, ValueError, KeyError):
        pass  # no entry, or one that cannot be read: run the page
    return None


def _write(path: Path, text: str) -> None:
    """Write a file so that whoever looks finds the whole of it or nothing, whenever the build is interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix="draft-")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(draft, path)


async def _execute(cells: Sequence[str], root: Path) -> tuple[list[Outputs], dict[str, Any]]:
    """Run the cells; the outputs, and what the kernel imported and opened."""
    book = v4.new_notebook(cells=[v4.new_code_cell(text) for text in (*cells, END)])
    with tempfile.TemporaryDirectory() as nowhere:  # a page that needs a file of the repository would not run elsewhere
        # Sockets in a folder of its own: no port to listen on, none to collide with.
        manager = Kernel(transport="ipc", ip=f"{nowhere}/kernel", connection_file=f"{nowhere}/kernel.json")
        client = NotebookClient(book, km=manager, timeout=TIMEOUT)
        async with client.async_setup_kernel(cleanup_kc=True, cwd=nowhere, env=_environment(root, nowhere)):
            for index, cell in enumerate(book.cells):
                try:
                    await client.async_execute_cell(cell, index)
                except CellExecutionError:
                    traceback = ANSI.sub("", "\n".join(cell.outputs[-1]["traceback"]))
                    lines = re.findall(r"Cell In\[\d+\], line (\d+)", traceback)
                    raise CellError(index, int(lines[0]) if lines else 1, traceback) from None
                except (CellTimeoutError, DeadKernelError) as error:
                    raise CellError(index, 1, str(error)) from None
        text = json.dumps([cell.outputs for cell in book.cells[:-1]]).replace(nowhere, "")
        inputs = json.loads("".join(output["text"] for output in book.cells[-1].outputs if "text" in output))
    return json.loads(text), inputs


def _environment(root: Path, home: str) -> dict[str, str]:
    """The kernel's environment: nothing of the user's settings, nothing that differs from run to run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "IPYTHON", "MPL"))}
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    return kept | one_thread | {
        "PYTHONPATH": str(root),
        "PYTHONHASHSEED": "0",
        "IPYTHONDIR": home,
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": str(root / ".cache" / "matplotlib"),  # kept: Matplotlib's list of fonts takes seconds to make
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # or the debugger prints a warning onto the page
        "TZ": "UTC",
        "COLUMNS": "80",
    }  # fmt: skip


def _project_files(inputs: dict[str, Any], root: Path) -> list[str]:
    """The files of the project that the page rests on, and those whose coming into being would change what it imports."""
    found = {path for name in (*inputs["modules"].values(), *inputs["files"]) if name and (path := _inside(name, root))}
    ours = _own_packages(inputs, root)
    for name in inputs["names"]:
        top, _, rest = name.partition(".")
        if not rest or top in ours:
            path = name.replace(".", "/")
            found |= {f"{path}.py", f"{path}/__init__.py"}
    return sorted(found)


def _packages(inputs: dict[str, Any], root: Path) -> dict[str, str]:
    """Every package from elsewhere that the page imported, or tried to, with its version."""
    tops = {name.partition(".")[0] for name in inputs["names"]} - _own_packages(inputs, root)
    return {top: _installed(top) for top in sorted(tops - set(sys.stdlib_module_names))}


def _own_packages(inputs: dict[str, Any], root: Path) -> set[str]:
    return {name.partition(".")[0] for name, file in inputs["modules"].items() if file and _inside(file, root)}


def _inside(name: str, root: Path) -> str | None:
    """The path of a file relative to the project, unless it lies elsewhere or is not the project's own."""
    path = Path(os.path.abspath(name))
    if not path.is_relative_to(root):
        return None
    parts = path.relative_to(root).parts
    foreign = any(part.startswith(".") or part in {"__pycache__", "site-packages"} for part in parts)
    return None if foreign else "/".join(parts)


@cache
def _installed(top: str) -> str:
    """The distributions that provide a top-level package, with their versions; empty where there is none."""
    names = sorted(set(_distributions().get(top, [])))
    with suppress(PackageNotFoundError):
        return " ".join(f"{name}=={version(name)}" for name in names)
    return ""


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(packages_distributions())


def _digest(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    except OSError:
        return None


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
