"""A memory in which Python has started and imported what pages need: a reader's browser takes it over, and imports nothing.

`snapshot.mjs` makes it, under Node, from the site's own files for Python; `docs/javascripts/restore.mjs` says how it comes back. It is packed by
Zstandard, which is a fifth smaller here than what browsers unpack by themselves, so the site has a decoder too. The same files give the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_suffix(".mjs")
FROM = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "pyodide-lock.json", "python_stdlib.zip", "pretty.py",
        *(f"{part}.tar.zlib" for part in ("numpy", "sympy", "matplotlib", "package")))
SCRIPTS = ("page.py", "restore.mjs")  # of `docs/javascripts`
LONGEST = 900.0  # seconds
KEPT = 4  # of them, each some twenty megabytes

# What pages do in their first blocks: what this imports is in the memory, and the files that it reads come with it.
PROGRAM = r"""
import importlib
import importlib.resources
import inspect
import pkgutil

import numpy as np
import pretty
import sympy as sp

import reference_impl

for found in pkgutil.walk_packages(reference_impl.__path__, "reference_impl."):
    try:
        inspect.getsource(importlib.import_module(found.name))
    except ImportError:
        pass  # it wants a package that browsers do not have

for file in importlib.resources.files("reference_impl.measurements").iterdir():
    if file.name.endswith(".json"):
        file.read_bytes()

from reference_impl import SGD, minimize, taco_shell
from reference_impl.engines.symbolic import latex
from reference_impl.optimization.sgd import sgd
from reference_impl.plots import figure, show

x = sp.symbols("x", positive=True)
root = sp.solve(sp.diff(sp.sin(x) * sp.exp(x), x), x)
sp.lambdify(x, sp.simplify(sp.series(sp.log(1 + x), x, 0, 3).removeO()))(np.ones(2))
pretty.pretty(root), sp.latex(root), latex(sgd)
np.linalg.eigvalsh(np.fft.fft(np.eye(2)).real + np.random.default_rng(0).normal(size=(2, 2)))
path, losses = minimize(taco_shell(10), [10.0, 1.0], SGD(lr=0.18), steps=3)
fig, axes = figure()
axes.plot(losses, label="$10^2$")
axes.contour([[1, 2], [3, 4]])
axes.set(xlabel="steps", yscale="log")
axes.set_title("loss", weight="bold")
axes.legend()
show(fig, alt="A line.", caption="**A line.** It falls.")._repr_mimebundle_()
"""


def made(files: Mapping[str, bytes], decoder: bytes | None, node: str | None, kept: Path) -> dict[str, bytes]:
    """The memory and what comes with it, made of the site's files for Python or kept from a build that had the same.

    Raises OSError or SubprocessError, saying why, if it cannot be made.
    """
    if decoder is None:
        raise OSError("its decoder is not there")
    inputs = {name: files[name] for name in FROM} | {name: (ROOT / "docs/javascripts" / name).read_bytes() for name in SCRIPTS}
    inputs["program.py"] = PROGRAM.encode()
    place = kept / f"snapshot-{key(inputs)}"
    if not place.exists():
        if node is None:
            raise OSError("Node is not there")
        _make(inputs, node, place)
    os.utime(place)
    for old in sorted(kept.glob("snapshot-*"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return {path.name: path.read_bytes() for path in sorted(place.iterdir())} | unwrapped(decoder)


def key(inputs: Mapping[str, bytes]) -> str:
    """Another for other files, and for another way to make it of them."""
    digest = hashlib.sha256(SCRIPT.read_bytes())
    for name in sorted(inputs):
        digest.update(name.encode() + hashlib.sha256(inputs[name]).digest())
    return digest.hexdigest()[:16]


def _make(inputs: Mapping[str, bytes], node: str, place: Path) -> None:
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory(dir=place.parent, prefix="draft-") as folder:
        for name, content in inputs.items():
            Path(home, name).write_bytes(content)
        draft = Path(folder, "snapshot")
        draft.mkdir()
        done = subprocess.run([node, str(SCRIPT), home, str(draft)], capture_output=True, text=True, timeout=LONGEST, stdin=subprocess.DEVNULL,
                              env=os.environ | {"TZ": "UTC"}, check=False)
        if done.returncode:
            raise OSError((done.stderr.strip().splitlines() or ["Node did not say why"])[-1])
        with suppress(OSError):  # another build has made it meanwhile
            os.replace(draft, place)


def unwrapped(decoder: bytes) -> dict[str, bytes]:
    """Zstandard's decoder and its licence, out of the script that carries them: that would ask for an address that the site's policy does not allow."""
    text = decoder.decode()
    code, notice = re.search(r'const wasm = "([^"]+)"', text), re.search(r"^\* (BSD License.*?)^\*/", text, re.S | re.M)
    if code is None or notice is None:
        raise OSError("its decoder is another than was foreseen")
    return {"zstd.wasm": base64.b64decode(code[1]), "zstd.LICENSE.txt": re.sub(r"^\* ?", "", notice[1], flags=re.M).encode()}
