"""Take everything away from a built site and run it elsewhere: `python scripts/check_downloads.py SITE_DIR [--all] [--only adam …]`.

The site is served on this machine. In a new virtual environment the install line of its pages is run as they say it; then every page's
script, in an empty folder of its own, and notebooks in kernels of that environment. All must run to their ends, and leave every figure
of their page behind: a script as a file, a notebook as an output. Nothing of the repository is within their reach.

A script and its notebook are the same code, cut differently; together they take minutes. So by default every script is run but only a
quarter of the notebooks, another quarter whenever the package changes. With --all every notebook is run too.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import hashlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from urllib.request import urlopen
from xml.etree import ElementTree

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

TURNS = 4  # a notebook is run in every fourth state of the package
LIMIT = 900  # seconds
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass
class Taken:
    """What a page gives away: the text of its script and its notebook, their install lines, and how many figures it has."""

    name: str
    script: str
    notebook: str
    lines: set[str]
    figures: int


@dataclass
class Ran:
    """How a page's downloads fared."""

    name: str
    seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@contextmanager
def served(site: Path) -> Iterator[str]:
    """The address at which a folder is served."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def taken(site: Path, address: str) -> list[Taken]:
    """What each page gives away, with the address put in from which it is read, as the site's own script does."""
    found = []
    for path in sorted(site.rglob("*.html")):
        url = urljoin(address, path.relative_to(site).as_posix())
        html = _read(url)
        files = {Path(name).suffix: urljoin(url, name) for name in re.findall(r'href="([^"]+)" download', html)}
        if not files:
            continue
        built = re.search(r'<meta name="site" content="([^"]+)">', html)
        said = re.search(r"<code>(pip install [^<]*)</code>", html)
        if built is None or said is None:
            raise SystemExit(f"{path}: the page has downloads but does not say how to install what they need")
        script, notebook = (_read(files[kind]) for kind in (".py", ".ipynb"))
        first = nbformat.reads(notebook, as_version=4).cells[0].source  # type: ignore[no-untyped-call]
        lines = [unescape(said[1]), *re.findall(r"^(?:# )?(pip install .*)$", f"{first}\n{script.split('# %%')[1]}", re.M)]
        script, notebook, *lines = (text.replace(built[1], address) for text in (script, notebook, *lines))
        found.append(Taken(Path(files[".py"]).stem, script, notebook, set(lines), len(re.findall(r'\sid="figure-\d+"', html))))
    return found


def _read(url: str) -> str:
    with urlopen(url) as answer:
        return str(answer.read().decode())


def environment(folder: Path, line: str) -> Path:
    """The interpreter of a new environment in which the line has been run, and what Jupyter needs in a kernel."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    started = time.time()
    command, *arguments = shlex.split(line)
    assert command == "pip"
    subprocess.run([python, "-m", "pip", "--disable-pip-version-check", *arguments, "--quiet"], check=True, cwd=folder)
    print(f"{line}\nran in {time.time() - started:.0f} s", flush=True)
    subprocess.run([python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", f"ipykernel=={version('ipykernel')}"], check=True, cwd=folder)
    return python


def run(page: Taken, python: Path, folder: Path, notebook: bool) -> Ran:
    """Run a page's script, and its notebook if wanted, each in a folder of its own."""
    ran = Ran(page.name)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "IPYTHON", "MPL", "JUPYTER"))} | ONE_THREAD
    env |= {"HOME": str(folder), "PYTHONUTF8": "1"}
    for what, step in (("script", _script), ("notebook", _notebook)):
        if what == "script" or notebook:
            started = time.time()
            own = folder / page.name / what
            own.mkdir(parents=True)
            figures, fault = step(page, python, own, env)
            ran.seconds.append(time.time() - started)
            if fault:
                ran.faults.append(f"{page.name}: the {what} {fault}")
            elif figures != page.figures:
                ran.faults.append(f"{page.name}: the {what} left {figures} figures behind; the page has {page.figures}")
    return ran


def _script(page: Taken, python: Path, folder: Path, env: dict[str, str]) -> tuple[int, str]:
    """How many figures the script left in its folder, and what went wrong."""
    (folder / f"{page.name}.py").write_text(page.script, encoding="utf-8")
    try:
        done = subprocess.run([python, f"{page.name}.py"], cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return 0, f"takes more than {LIMIT} s"
    if done.returncode:
        return 0, f"ends with {done.returncode}:\n{done.stderr[-2000:]}"
    drawings = list(folder.glob(f"{page.name}-*.svg"))
    return sum(ElementTree.parse(path).getroot().tag.endswith("}svg") for path in drawings), ""


def _notebook(page: Taken, python: Path, folder: Path, env: dict[str, str]) -> tuple[int, str]:
    """How many figures the notebook has when it has run, and what went wrong."""

    class Kernel(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(argv=[str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"], display_name="Python 3", language="python")

    book = nbformat.reads(page.notebook, as_version=4)  # type: ignore[no-untyped-call]
    for cell in book.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    with tempfile.TemporaryDirectory() as sockets:  # whose path may not be long
        manager = Kernel(transport="ipc", ip=f"{sockets}/kernel", connection_file=f"{sockets}/kernel.json")
        client = NotebookClient(book, km=manager, timeout=LIMIT)

        async def execute() -> None:
            async with client.async_setup_kernel(cleanup_kc=True, cwd=str(folder), env=env):
                for index, cell in enumerate(book.cells):
                    await client.async_execute_cell(cell, index)

        try:
            asyncio.run(execute())
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            return 0, f"does not run:\n{str(error)[-2000:]}"
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    return sum("<svg" in output.get("data", {}).get("text/html", "") for output in outputs), ""


def check(site: Path, only: list[str], every: bool, python: Path | None = None) -> tuple[list[Ran], list[str]]:
    """How each page's downloads fared, and all faults; with `python`, in that interpreter's environment as it is."""
    with served(site) as address, tempfile.TemporaryDirectory() as name:
        pages = taken(site, address)
        if unknown := set(only) - {page.name for page in pages}:
            raise SystemExit(f"{site} has no pages {sorted(unknown)} with downloads; it has {[page.name for page in pages]}")
        lines = set().union(*(page.lines for page in pages))
        if len(lines) != 1:
            raise SystemExit(f"the pages and their downloads should name one install line, but name {sorted(lines)}")
        python = python or environment(Path(name, "environment"), lines.pop())
        wheels = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(site.glob("*.whl"))))
        turn = wheels.digest()[0]
        wanted = [(page, every or bool(only) or number % TURNS == turn % TURNS) for number, page in enumerate(pages) if not only or page.name in only]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ran = list(pool.map(lambda task: run(task[0], python, Path(name), task[1]), wanted))
    return ran, [fault for page in ran for fault in page.faults]


def main(arguments: list[str] | None = None) -> int:
    """Print how long each download ran, the faults, and a last line that counts; 1 if there are faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("site", type=Path, metavar="SITE_DIR")
    parser.add_argument("--all", action="store_true", help="run every notebook too")
    parser.add_argument("--only", nargs="+", default=[], metavar="PAGE", help="run the scripts and notebooks of these pages, as momentum")
    parser.add_argument("--python", type=Path, help="run them by this interpreter, which must have ipykernel, and install nothing")
    options = parser.parse_args(arguments)
    ran, faults = check(options.site.resolve(), options.only, options.all, options.python)
    for page in ran:
        print(f"{page.name:<20}" + "".join(f"{what:>10} {seconds:6.1f} s" for what, seconds in zip(("script", "notebook"), page.seconds)))
    print(*faults, sep="\n")
    count = sum(len(page.seconds) for page in ran)
    print(f"{count - len(faults)} passed, {len(faults)} failed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
