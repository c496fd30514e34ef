"""Runs a page's code where a reader looks at it: in one namespace, and of the page no more than a block needs.

The build says of each statement of the page which names it writes, and on which earlier statements it rests; of each block, which statements
it needs. Before a block runs, those of them run that have not run yet, that were edited, that rest on one that ran after them, or whose
names something else has written since. So a block gives what it gave on the page, in whatever order blocks are run and edited.

`python.js` loads this file into the worker. It needs nothing but Python; where IPython's printer is there (`pretty`), values look as in notebooks.
"""

from __future__ import annotations

import ast
import builtins
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import io
import linecache
import marshal
import os
import re
import sys
import time
import traceback
import types
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

SHOWN = 200_000  # signs that one run may print
KINDS = {"text/html": "_repr_html_", "text/markdown": "_repr_markdown_", "image/svg+xml": "_repr_svg_", "text/latex": "_repr_latex_"}
Emit = Callable[[str, Any], object]


class Page:
    """A page's code and its namespace.

    `blocks` says of each block whether it is a `cell` (else examples), its `code`, its `first` statement and their `count`, and the statements
    that it `needs`; `statements` says of each what it `writes`, on which it `rests`, and whether it `raises`. What a run gives goes to `emit`:
    ("text", …), ("error", …), ("data", {type: text}), ("needs", [done, of]).
    """

    def __init__(self, blocks: Sequence[dict[str, Any]], statements: Sequence[dict[str, Any]], emit: Emit) -> None:
        self.blocks, self.statements, self.emit = blocks, statements, emit
        self.edits: dict[int, str] = {}
        self.block_of = {n: index for index, block in enumerate(blocks) for n in range(block["first"], block["first"] + block["count"])}
        self.texts = {n: text for block in blocks for n, text in enumerate(split(block["code"]), block["first"])}
        self.imports = {n for n, text in self.texts.items() if all(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.parse(text).body)}
        self.ran: dict[int, tuple[int, str]] = {}  # when a statement ran last, and its text; an edited block goes by its first statement
        self.clock = 0
        self.main = types.ModuleType("__main__")
        sys.modules["__main__"] = self.main

    def run(self, index: int, edits: dict[int, str]) -> bool:
        """Run a block, and before it what it needs, with the code of these blocks in the place of the page's; False if it raised."""
        self.edits = {at: code for at, code in edits.items() if code != self.blocks[at]["code"]}
        try:
            left = self.plan(index)
            for done, n in enumerate(left):
                self.emit("needs", [done, len(left)])
                if not self._need(n):
                    return False
            if left:
                self.emit("needs", [len(left), len(left)])
            return all(self._own(index, n) for n in self._own_statements(index)) if index not in self.edits else self._edited(index)
        finally:
            sys.stdout.flush()

    # ---- What must run ----

    def plan(self, index: int) -> list[int]:
        """The statements that must run before a block can, in order."""
        needed = sorted({self._unit(n) for n in self._needs(index)} - {self._unit(self.blocks[index]["first"])})
        again: set[int] = set()
        for n in needed:
            when, text = self.ran.get(n, (-1, ""))
            if (text != self._text(n) or when < 0
                    or any(e in again or self.ran[e][0] > when for e in self._rests(n) if e in needed)
                    or any(self._spoils(x, n) for x, (then, _) in self.ran.items() if then > when and not (x in needed and x > n))):
                again.add(n)
        return sorted(again)

    def _unit(self, n: int) -> int:
        """The statement by which a statement goes: itself, or the first of its edited block."""
        index = self.block_of[n]
        return self.blocks[index]["first"] if index in self.edits else n

    def _text(self, n: int) -> str:
        return self.edits.get(self.block_of[n], self.texts[n])

    def _members(self, n: int) -> range | tuple[int]:
        """The page's statements for which one stands."""
        block = self.blocks[self.block_of[n]]
        return range(block["first"], block["first"] + block["count"]) if self.block_of[n] in self.edits else (n,)

    def _own_statements(self, index: int) -> range:
        block = self.blocks[index]
        return range(block["first"], block["first"] + block["count"])

    def _needs(self, index: int) -> set[int]:
        """The earlier statements of the page that a block needs; those that it needs since it was edited, and those that edited ones need."""
        found: set[int] = set()
        left, seen = [index], {index}
        while left:
            at = left.pop()
            block = self.blocks[at]
            new = set(block["needs"])
            if at in self.edits:
                for name in _names(self.edits[at], ast.Load):
                    binder = max((n for n in range(block["first"]) if name in self.statements[n]["writes"]), default=None)
                    if binder is not None:
                        new |= self._closure(binder)
            found |= new
            for other in {self.block_of[n] for n in new} & set(self.edits) - seen:
                seen.add(other)
                left.append(other)
        return found

    def _closure(self, n: int) -> set[int]:
        found, left = {n}, [n]
        while left:
            new = set(self.statements[left.pop()]["rests"]) - found
            found |= new
            left += new
        return found

    def _rests(self, n: int) -> set[int]:
        index = self.block_of[n]
        if index in self.edits:
            return {self._unit(e) for e in self._needs(index)} - {n}
        return {self._unit(e) for e in self.statements[n]["rests"]} - {n}

    def _writes(self, n: int) -> set[str]:
        names = {name for member in self._members(n) for name in self.statements[member]["writes"]}
        code = self.edits.get(self.block_of[n])
        return names if code is None else (names | _names(code, ast.Store)) - _imported(code)

    def _spoils(self, x: int, n: int) -> bool:
        """Whether what ran at x has written a name that n writes; two imports mean the same."""
        if {x, n} <= self.imports and not {self.block_of[x], self.block_of[n]} & set(self.edits):
            return False
        return bool(self._writes(x) & self._writes(n))

    # ---- Running ----

    def _need(self, n: int) -> bool:
        """Run a statement, or an edited block, that another one needs, and show nothing; False if it raised."""
        edited = self.block_of[n] in self.edits
        with _printing(lambda text: None):
            try:
                self._execute(self._text(n), "exec")
            except BaseException as error:
                if edited or not self.statements[n]["raises"]:
                    where = "an earlier block that you have edited" if edited else "an earlier block of this page"
                    self.emit("error", f"In {where}, which this one needs:\n{self._told(error)}")
                    return False
        self._note(n, self._text(n))
        return True

    def _own(self, index: int, n: int) -> bool:
        """Run a statement of the block itself."""
        block, text = self.blocks[index], self.texts[n]
        last = n == block["first"] + block["count"] - 1
        with _printing(lambda text: self.emit("text", text)):
            try:
                self._execute(text, ("show" if last else "exec") if block["cell"] else "single")
            except BaseException as error:
                if not self.statements[n]["raises"]:
                    self._fail(error)
                    return False
                self.emit("text", traceback.format_exception_only(error)[-1])
        self._note(n, text)
        return True

    def _edited(self, index: int) -> bool:
        """Run a block as the reader left it."""
        block, code = self.blocks[index], self.edits[index]
        with _printing(lambda text: self.emit("text", text)):
            try:
                if block["cell"]:
                    self._execute(code, "show")
                else:
                    for line, text in lines(code):
                        self._execute(text, "single", line)
            except BaseException as error:
                self._fail(error)
                return False
            finally:
                self._note(block["first"], code)
        return True

    def _note(self, n: int, text: str) -> None:
        for member in self._members(n):
            self.ran.pop(member, None)
        self.clock += 1
        self.ran[n] = self.clock, text

    def _execute(self, text: str, mode: str, line: int = 1) -> None:
        name, text = f"<code {len(linecache.cache)}>", "\n" * (line - 1) + text
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        space = self.main.__dict__
        if mode == "single":
            sys.displayhook = self._example
            exec(compile(text + "\n", name, "single", dont_inherit=True), space)
            return
        body = ast.parse(text, name).body
        last = body.pop() if mode == "show" and body and isinstance(body[-1], ast.Expr) and not text.rstrip().endswith(";") else None
        exec(compile(ast.Module(body, []), name, "exec", dont_inherit=True), space)
        if isinstance(last, ast.Expr):
            self._display(eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), space))

    def _example(self, value: object) -> None:
        if value is not None:
            print(repr(value))
            vars(builtins)["_"] = value

    def _display(self, value: object) -> None:
        """Hand on a value as a notebook shows it."""
        if value is None:
            return
        sys.stdout.flush()
        self.emit("data", bundle(value))

    def _fail(self, error: BaseException) -> None:
        sys.stdout.flush()
        self.emit("error", self._told(error))

    def _told(self, error: BaseException) -> str:
        """A traceback, from the page's code on."""
        if isinstance(error, SyntaxError) and (error.filename or "").startswith("<code"):
            return "".join(traceback.format_exception_only(error)).replace(f'  File "{error.filename}", line', "  Line")
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        lines = traceback.format_exception(type(error), error, trace)
        return re.sub(r'File "<code \d+>"', "In this page's code", "".join(lines))


def split(text: str) -> list[str]:
    """The top-level statements of a piece of code; those that share a line are one."""
    return [statement for _, statement in lines(text)]


def lines(text: str) -> list[tuple[int, str]]:
    """The same, each behind the number of its first line."""
    every, found, end = text.split("\n"), [], 0
    for node in ast.parse(text).body:
        first = min(part.lineno for part in (node, *getattr(node, "decorator_list", [])))
        assert node.end_lineno is not None
        if found and first == end:
            found[-1][1] = node.end_lineno
        else:
            found.append([first, node.end_lineno])
        end = node.end_lineno
    return [(first, "\n".join(every[first - 1:last])) for first, last in found]


def bundle(value: object) -> dict[str, Any]:
    """What a notebook shows of a value, by type."""
    if hasattr(value, "_repr_mimebundle_"):
        return dict(value._repr_mimebundle_())
    if type(value).__name__ == "Figure" and hasattr(value, "savefig"):
        drawn = io.StringIO()
        value.savefig(drawn, format="svg")
        return {"image/svg+xml": drawn.getvalue(), "text/plain": repr(value)}
    found: dict[str, Any] = {"text/plain": _pretty(value)}
    for kind, method in KINDS.items():
        if not isinstance(value, type) and hasattr(value, method) and (text := getattr(value, method)()) is not None:
            found[kind] = text
    return found


def _pretty(value: object) -> str:
    try:
        from pretty import pretty  # IPython's
    except ImportError:
        return repr(value)
    return str(pretty(value))


def _names(code: str, context: type) -> set[str]:
    """The names that code reads, or binds outside of functions; none if it is no Python."""
    try:
        left: list[ast.AST] = [ast.parse(code)]
    except SyntaxError:
        return set()
    found = set()
    while left:
        node = left.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, context):
            found.add(node.id)
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) and context is ast.Store:
            found.add(node.name)
        elif not (isinstance(node, ast.Lambda) and context is ast.Store):
            left += ast.iter_child_nodes(node)
    return found


def _imported(code: str) -> set[str]:
    try:
        nodes = ast.parse(code).body
    except SyntaxError:
        return set()
    return {(alias.asname or alias.name).split(".")[0] for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}


class _Stream(io.TextIOBase):
    """Hands on what is printed, in pieces that are large or old enough, and no more than a page can bear."""

    def __init__(self, emit: Callable[[str], object]) -> None:
        self.emit, self.held, self.size, self.at, self.total = emit, [], 0, time.monotonic(), 0
        self.held: list[str]

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.total <= SHOWN:
            self.total += len(text)
            self.held.append(text if self.total <= SHOWN else "\n… and more, which is not shown\n")
            self.size += len(text)
        if self.size > 4000 or time.monotonic() - self.at > 0.1:
            self.flush()
        return len(text)

    def flush(self) -> None:
        if self.held:
            self.emit("".join(self.held))
        self.held, self.size, self.at = [], 0, time.monotonic()


@contextmanager
def _printing(emit: Callable[[str], object]) -> Iterator[None]:
    """Print to `emit`."""
    before, hook = (sys.stdout, sys.stderr), sys.displayhook
    stream = sys.stdout = sys.stderr = _Stream(emit)
    try:
        yield
    finally:
        stream.flush()
        sys.stdout, sys.stderr = before
        sys.displayhook = hook


# ---- Packages ----

SITE = "/lib/python3.14/site-packages"
PARTS = {
    "numpy": "numpy", "sympy": "sympy", "mpmath": "sympy", "scipy": "scipy", "sklearn": "sklearn", "reference_impl": "package",
    **dict.fromkeys(["matplotlib", "mpl_toolkits", "PIL", "contourpy", "cycler", "kiwisolver", "packaging", "pyparsing", "dateutil", "six"], "matplotlib"),
}
for _name in ["stats", "crypto", "diffgeom", "holonomic", "categories", "liealgebras", "vector"]:
    PARTS[f"sympy.{_name}"] = "sympy_apart"
for _name in ["biomechanics", "continuum_mechanics", "control", "hep", "hydrogen", "mechanics", "optics", "paulialgebra", "pring", "qho_1d", "quantum",
              "secondquant", "sho", "vector", "wigner"]:
    PARTS[f"sympy.physics.{_name}"] = "sympy_apart"
_there: set[str] = set()
_code: dict[str, tuple[str, memoryview]] = {}  # a module's file and byte code


def installed(part: str, files: bytes) -> None:
    """Put a part, a tar of files, where Python finds it: byte code stays in memory, which is quicker, the rest goes into files."""
    if part in _there:
        return
    _there.add(part)
    at, content, folders = 0, memoryview(files), set[str]()
    while files[at]:  # a file is a header of 512 bytes and its content, filled up to as many again
        name, size, above = (files[at + start:at + end].rstrip(b"\0") for start, end in ((0, 100), (124, 136), (345, 500)))
        path = f"{SITE}/{above.decode()}/{name.decode()}" if above else f"{SITE}/{name.decode()}"
        if (folder := path.rpartition("/")[0]) not in folders:
            os.makedirs(folder, exist_ok=True)
            folders.add(folder)
        data = content[at + 512:at + 512 + int(size, 8)]
        if path.endswith(".pyc"):
            file = path if "__pycache__" not in path else path.replace("__pycache__/", "").partition(".cpython")[0] + ".py"  # its source is there
            _code[file[len(SITE) + 1:].rpartition(".")[0].replace("/", ".").removesuffix(".__init__")] = file, data[16:]  # behind a header
        else:
            with open(path, "wb", buffering=0) as target:
                target.write(data)
        at += 512 + (int(size, 8) + 511) // 512 * 512
    for finder in sys.path_importer_cache.values():
        if isinstance(finder, importlib.machinery.FileFinder):  # another would read Python's own archive again, which is long
            finder.invalidate_caches()


def lazily(fetch: Callable[[str], Any]) -> None:
    """Let an import find byte code in memory, and one of a part that is not there fetch it."""
    sys.meta_path[:0] = [_InMemory(), _Lazily(fetch)]


def started(fetch: Callable[[str], Any], screens: str = "") -> None:
    """Begin; figures are drawn for these screens."""
    os.environ["FIGURE_SCREENS"] = screens
    lazily(fetch)


def restored(fetch: Callable[[str], Any], screens: str = "") -> None:
    """Begin with a kept memory, where chance must start anew."""
    import random

    import numpy.random
    import sympy.core.random

    for module in (random, numpy.random, sympy.core.random):
        module.seed()
    started(fetch, screens)


def keep(modules: Sequence[str], parts: Sequence[str], rest: Sequence[str]) -> None:
    """Import what a kept memory is to have of these parts (`scripts/book/snapshot.mjs`); the `rest` of their modules is another part."""
    for name in modules:
        importlib.import_module(name)
    _there.update(parts)
    PARTS.update(dict.fromkeys(rest, "rest"))
    sys.path_importer_cache.clear()
    linecache.clearcache()
    re.purge()
    gc.collect()


class _InMemory(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        if name not in _code:
            return None
        file, _ = _code[name]
        folder = [file.rpartition("/")[0]] if "/__init__.py" in file else None
        return importlib.util.spec_from_file_location(name, file, loader=_Loader(name, file), submodule_search_locations=folder)


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> types.CodeType:
        code: types.CodeType = marshal.loads(_code[fullname][1])
        return code


class _Lazily(importlib.abc.MetaPathFinder):
    def __init__(self, fetch: Callable[[str], Any]) -> None:
        self.fetch = fetch

    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        part = PARTS.get(name)
        if part is None or part in _there or (part == "scipy" and _asked_by("sympy")):
            return None
        installed(part, zlib.decompress(self.fetch(part).to_bytes()))
        parent = sys.modules.get(name.rpartition(".")[0])
        where: Any = parent and parent.__path__
        return _InMemory().find_spec(name, where) or importlib.machinery.PathFinder.find_spec(name, where)


def _asked_by(package: str) -> bool:
    """Whether it is this package that imports: SymPy takes SciPy for its functions, if it is there, and NumPy else."""
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(f"{package}."):
            return True
        frame = frame.f_back
    return False
