"""What each statement of a page reads, binds and changes, noted while the page runs.

Two objects are told apart by identity, an object before and after a statement by what it holds. An object into which nobody can see
(an iterator, a drawing) counts as changed by every statement that can reach it; all artists of a drawing are one such object.
"""

from __future__ import annotations

import ast
import dis
import functools
import marshal
import re
import sys
import time
import types
import zlib
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Note = dict[str, Any]

# A layer keeps here what its next backward pass needs of its last forward pass. Whoever wants it has called `forward`; were it part
# of the model, each look at a model's predictions would count as a change of the model.
PASSING = {"_cache"}

# What changes how everything drawn later looks. `figure` sets the book's style anew each time, so the values say nothing.
STYLING = {"rcParams", "rcdefaults"}

# Of these packages' objects none changes, or none that matters to a page.
_FIXED_FROM = {"sympy", "mpmath", "numba", "llvmlite", "fractions", "decimal", "datetime", "pathlib", "enum", "typing", "weakref",
               "_thread", "threading", "_abc"}
_CLOSED_FROM = {"matplotlib", "mpl_toolkits", "io", "_io"}
_VALUES = {bool, int, float, complex, str, bytes, type(None)}
_FIXED = (
    types.ModuleType, types.CodeType, range, slice, re.Pattern, type(...), type(NotImplemented), types.GenericAlias, types.UnionType,
    types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType, types.GetSetDescriptorType,
    types.MemberDescriptorType,
)  # fmt: skip


class Reads(ast.NodeVisitor):
    """The names that code reads before it has surely bound them, in `reads`, and those that it surely binds, in `binds`.

    The body of a function that is only defined is read when the function is called: it counts if `deep`.
    """

    def __init__(self, nodes: Iterable[ast.AST | None], *, deep: bool = False, bound: Iterable[str] = (), reads: set[str] | None = None) -> None:
        self.reads = set() if reads is None else reads
        self.binds = set(bound)
        self.deep = deep
        self._visit(*nodes)

    def _visit(self, *nodes: ast.AST | None) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def _apart(self, *nodes: ast.AST | None, local: Iterable[str] = (), deep: bool = True) -> set[str]:
        """Visit code that may not run, or that has names of its own; what is surely bound if it runs."""
        return Reads(nodes, deep=deep, bound={*self.binds, *local}, reads=self.reads).binds

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.binds.add(node.id)
        elif node.id not in self.binds:
            self.reads.add(node.id)

    def visit_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.value, ast.Lambda) and not self.deep:  # as good as a `def`
            self._visit(*node.value.args.defaults, *node.value.args.kw_defaults)
        else:
            self._visit(node.value)
        self._visit(*node.targets)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._visit(node.annotation, node.value)
        if node.value is not None or not isinstance(node.target, ast.Name):
            self._visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name) and node.target.id not in self.binds:
            self.reads.add(node.target.id)
        self._visit(node.value, node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._visit(node.value, node.target)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self._visit(node.values[0])
        self._apart(*node.values[1:])

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._visit(node.test)
        self._apart(node.body)
        self._apart(node.orelse)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._function(node.args, [node.body])

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit(*node.decorator_list, node.returns)
        self._function(node.args, node.body if self.deep else [])
        self.binds.add(node.name)

    def _function(self, args: ast.arguments, body: Sequence[ast.AST]) -> None:
        given = [*args.posonlyargs, *args.args, *args.kwonlyargs, *(arg for arg in (args.vararg, args.kwarg) if arg)]
        self._visit(*args.defaults, *args.kw_defaults, *(arg.annotation for arg in given))
        inside = [node for part in body for node in ast.walk(part)]
        common = {name for node in inside if isinstance(node, ast.Global) for name in node.names}
        stored = {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        self._apart(*body, local={arg.arg for arg in given} | (stored - common))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit(*node.decorator_list, *node.bases, *node.keywords)
        self._apart(*node.body, deep=self.deep)
        self.binds.add(node.name)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        first, *others = node.generators
        self._visit(first.iter)
        loops = [first.target, *first.ifs, *(part for loop in others for part in (loop.iter, loop.target, *loop.ifs))]
        self._apart(*loops, *((node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)))

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension

    def visit_If(self, node: ast.If) -> None:
        self._visit(node.test)
        self.binds |= self._apart(*node.body) & self._apart(*node.orelse)

    def visit_For(self, node: ast.For) -> None:
        self._visit(node.iter)
        self._apart(node.target, *node.body)
        self._apart(*node.orelse)

    def visit_While(self, node: ast.While) -> None:
        self._visit(node.test)
        self._apart(*node.body)
        self._apart(*node.orelse)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            self._visit(item.context_expr, item.optional_vars)
        self.binds |= self._apart(*node.body)

    def visit_Try(self, node: ast.Try) -> None:
        self._visit(*(handler.type for handler in node.handlers))
        whole = self._apart(*node.body, *node.orelse)
        self.binds |= whole.intersection(*(self._apart(*h.body, local=[h.name] if h.name else []) for h in node.handlers))
        self._visit(*node.finalbody)

    def visit_Match(self, node: ast.Match) -> None:
        self._visit(node.subject)
        for case in node.cases:
            patterns = [part for part in ast.walk(case.pattern) if isinstance(part, ast.MatchAs | ast.MatchStar)]
            self._apart(case.pattern, case.guard, *case.body, local={part.name for part in patterns if part.name})

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.binds |= {bound_as(alias) for alias in node.names}

    visit_ImportFrom = visit_Import


def bound_as(alias: ast.alias) -> str:
    """The name that an import binds."""
    return alias.asname or alias.name.partition(".")[0]


class Recorder:
    """Looks on while a page runs in `namespace`: call `before` and `after` around each of its statements.

    `notes` has an entry for each: the names that it `reads` (those among them that the page's functions read when it calls them),
    the names that it `binds` and those whose objects it `changes`, and whether it changed `settings`: what everything after it
    depends on, such as NumPy's common random state and its way to print. `seconds` is how long the processor took.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.notes: list[Note] = []
        self._namespace = namespace
        self._values: dict[str, Any] = {}  # the page's names
        self._reach: dict[str, set[int]] = {}  # the objects behind each name, by their ids
        self._names: Counter[int] = Counter()  # how many names each is behind
        self._seen: dict[int, tuple[Any, Any, list[Any]]] = {}  # an object, what it holds, its parts
        self._settings = _settings()

    def before(self, nodes: Sequence[ast.stmt]) -> None:
        """These statements are about to run."""
        self._nodes = nodes
        self._reads = self._with_functions(Reads(nodes).reads)
        self._touched = set().union(*(self._reach.get(name, ()) for name in self._reads))
        self._started = time.process_time()

    def after(self) -> None:
        """They have run."""
        seconds = time.process_time() - self._started
        changed = {at for at in self._touched if self._look(self._seen[at][0])}
        values = {name: value for name, value in self._namespace.items() if not name.startswith("__")}
        binds = {name for name, value in values.items() if name not in self._values or value is not self._values[name]}
        changes = {name for name, reach in self._reach.items() if not changed.isdisjoint(reach)}
        self._values = values
        for name in binds | (changes & set(values)):
            self._behind(name, self._walk(values[name]))
        for name in set(self._reach) - set(values):
            self._behind(name, set())
        settings = _settings()
        differs = any(settings[name] != value for name, value in self._settings.items())
        styles = any(name in STYLING for node in self._nodes for part in ast.walk(node) for name in (getattr(part, "attr", ""), getattr(part, "id", "")))
        self._settings = settings
        self.notes.append({"reads": sorted(self._reads), "binds": sorted(binds), "changes": sorted(changes), "settings": differs or styles,
                           "seconds": round(seconds, 2)})

    def _behind(self, name: str, things: set[int]) -> None:
        """Note which objects are behind a name, and forget those that are no more behind any."""
        self._names.update(things)
        gone = self._reach.pop(name, set())
        self._names.subtract(gone)
        for at in gone:
            if not self._names[at]:
                del self._names[at], self._seen[at]
        if things:
            self._reach[name] = things

    def _with_functions(self, names: set[str]) -> set[str]:
        """Those of the names that the page has bound, those that its functions behind them read, and so on."""
        found, left = set(), names & set(self._values)
        while left:
            found |= left
            functions = [thing for name in left for at in self._reach.get(name, ()) if self._is_page_function(thing := self._seen[at][0])]
            left = {name for function in functions for name in _globals(function.__code__) if name in self._values} - found
        return found

    def _is_page_function(self, thing: Any) -> bool:
        return isinstance(thing, types.FunctionType) and thing.__globals__ is self._namespace

    def _walk(self, value: Any) -> set[int]:
        """The objects that can be reached from a value, each of which is looked at if it was not yet."""
        left: list[Any] = []
        self._part(value, left)
        found: set[int] = set()
        while left:
            thing = left.pop()
            if id(thing) not in found:
                found.add(id(thing))
                if id(thing) not in self._seen:
                    self._look(thing)
                left += self._seen[id(thing)][2]
        return found

    def _look(self, thing: Any) -> bool:
        """Look at what an object holds; whether it may be something else than at the last look."""
        parts: list[Any] = []
        held = self._held(thing, parts)
        last = self._seen.get(id(thing))
        self._seen[id(thing)] = thing, held, parts
        return last is None or held is None or held != last[1]

    def _part(self, value: Any, parts: list[Any]) -> Any:
        """What stands for a value in what holds it; a value that can change, or holds one that can, becomes one of `parts`."""
        kind = type(value)
        if kind in _VALUES:
            return (kind, value or repr(value))  # 0.0 is not -0.0
        if kind is tuple:
            return tuple(self._part(item, parts) for item in value)
        if kind.__module__ == "numpy" and issubclass(kind, _numpy().generic) and not value.dtype.hasobject:
            return kind, value.tobytes()
        if not self._is_fixed(value, kind):
            parts.append(value)
        return _Same(value)

    def _is_fixed(self, value: Any, kind: type) -> bool:
        """Whether nothing that a page does changes a value."""
        if issubclass(kind, type):
            return bool(value.__module__ != self._namespace["__name__"])
        if issubclass(kind, types.FunctionType):
            return not (value.__closure__ or value.__defaults__ or self._is_page_function(value))
        if issubclass(kind, types.BuiltinFunctionType | types.MethodWrapperType):
            return value.__self__ is None or isinstance(value.__self__, types.ModuleType | type)
        top = kind.__module__.partition(".")[0]
        if top == "numpy":
            return issubclass(kind, _numpy().ufunc | _numpy().dtype) or kind.__name__ == "_ArrayFunctionDispatcher"
        return issubclass(kind, _FIXED) or (top in _FIXED_FROM and "Mutable" not in kind.__name__)

    def _held(self, thing: Any, parts: list[Any]) -> Any:
        """What an object holds, for comparison; None if it cannot be seen."""
        kind = type(thing)
        if kind is list and _VALUES.issuperset(map(type, thing)):  # most objects of a page that reads large data
            return marshal.dumps(thing, 2)
        top = kind.__module__.partition(".")[0]
        if top in _CLOSED_FROM:
            drawing = _drawing(thing)
            return None if drawing is thing else self._part(drawing, parts)
        if hasattr(kind, "__next__"):
            return None
        if top == "numpy" or hasattr(kind, "__array_finalize__"):
            return self._of_numpy(thing, parts)
        if top == "sympy":
            return tuple(thing.flat()) if hasattr(thing, "flat") else None

        def of(*values: Any) -> tuple[Any, ...]:
            return tuple(self._part(value, parts) for value in values)

        held: list[Any] = []
        if isinstance(thing, dict):
            held.append([of(*pair) for pair in thing.items()])
        elif isinstance(thing, list | tuple | deque):
            held.append(of(*thing))
        elif isinstance(thing, set | frozenset):
            held.append(frozenset(of(*thing)))
        elif isinstance(thing, bytearray):
            held.append(bytes(thing))
        elif isinstance(thing, types.MappingProxyType):
            held.append([of(*pair) for pair in thing.items()])
        elif isinstance(thing, types.FunctionType):
            held.append(of(*_contents(thing), thing.__defaults__, *(thing.__kwdefaults__ or {}).values()))
        elif isinstance(thing, types.MethodType):
            held.append(of(thing.__self__, thing.__func__))
        elif isinstance(thing, types.BuiltinFunctionType | types.MethodWrapperType):
            held.append(of(thing.__self__))
        elif isinstance(thing, functools.partial):
            held.append(of(thing.func, thing.args, *thing.keywords.values()))
        elif isinstance(thing, type):
            held.append([(name, *of(value)) for name, value in vars(thing).items() if not re.fullmatch("__(dict|weakref|doc)__", name)])
            held.append(of(*thing.__bases__))
        elif isinstance(thing, staticmethod | classmethod):
            held.append(of(thing.__func__))
        elif isinstance(thing, property):
            held.append(of(thing.fget, thing.fset, thing.fdel))
        elif isinstance(thing, functools.cached_property):
            held.append(of(thing.func))
        elif hasattr(thing, "cache_info"):  # what functools.cache remembers, it would find again
            held.append(of(thing.__wrapped__))
        if not isinstance(thing, type):
            if isinstance(own := getattr(thing, "__dict__", None), dict):
                held.append([(name, *of(value)) for name, value in own.items() if name not in PASSING])
            slots = [slot for base in kind.__mro__ for slot in _slots(base)]
            if slots:
                held.append([(slot, *of(getattr(thing, slot, None))) for slot in slots])
        if not held:
            return None
        if kind.__module__ == self._namespace["__name__"]:
            held.append(of(kind))
        return held

    def _of_numpy(self, thing: Any, parts: list[Any]) -> Any:
        np = _numpy()
        if isinstance(thing, np.random.Generator):
            return self._part(thing.bit_generator, parts)
        if isinstance(thing, np.random.BitGenerator):
            return _state(thing.state), self._part(thing.seed_seq, parts)
        if isinstance(thing, np.random.SeedSequence):
            return _state(thing.state)
        if isinstance(thing, np.random.RandomState):
            return _state(thing.get_state(legacy=False))
        if not isinstance(thing, np.ndarray):
            return None
        where = thing.shape, thing.strides, thing.dtype, thing.__array_interface__["data"]
        if isinstance(thing.base, np.ndarray):  # there its numbers are
            return where, self._part(thing.base, parts)
        if thing.dtype.hasobject:
            return where, [self._part(item, parts) for item in thing.ravel().tolist()]
        flat = next((a for a in (thing, thing.T) if a.flags.c_contiguous), None)
        numbers = np.ascontiguousarray(thing) if flat is None else flat
        return where, zlib.crc32(numbers.reshape(-1).view(np.uint8)) if thing.size else 0


@dataclass(frozen=True, eq=False)
class _Same:
    """Equal only to what stands for the same object; it keeps the object, so that no other gets its id."""

    thing: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.thing is self.thing

    def __hash__(self) -> int:
        return id(self.thing)


@functools.cache
def _numpy() -> Any:
    import numpy  # a page without arrays does without

    return numpy


@functools.cache
def _globals(code: types.CodeType) -> frozenset[str]:
    """The global names that a function's code reads, and those of the functions in it."""
    own = {step.argval for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return frozenset(own.union(*(_globals(inner) for inner in code.co_consts if isinstance(inner, types.CodeType))))


@functools.cache
def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    names = [slots] if isinstance(slots, str) else list(slots)
    own = [f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") and not name.endswith("__") else name for name in names]
    return tuple(name for name in own if name not in ("__dict__", "__weakref__", *PASSING))


def _contents(function: types.FunctionType) -> list[Any]:
    """What a function holds of those around it."""
    found = []
    for cell in function.__closure__ or ():
        try:
            found.append(cell.cell_contents)
        except ValueError:  # empty as yet
            found.append(None)
    return found


def _drawing(thing: Any) -> Any:
    """The whole drawing of which something is a part."""
    figure = getattr(thing, "figure", None)
    while figure is not None and (around := getattr(figure, "figure", None)) not in (None, figure):  # a figure in a figure
        figure = around
    return thing if figure is None else figure


def _state(value: Any) -> Any:
    """The state of a source of random numbers, for comparison."""
    if isinstance(value, dict):
        return {name: _state(part) for name, part in value.items()}
    return value.tobytes() if hasattr(value, "tobytes") else value


def _settings() -> dict[str, Any]:
    """What every statement depends on, as far as it is loaded."""
    found: dict[str, Any] = {}
    if (np := sys.modules.get("numpy")) is not None:
        found["print"], found["errors"] = np.get_printoptions(), np.geterr()
        found["draw"] = _state(np.random.get_state(legacy=False))
    if (random := sys.modules.get("random")) is not None:
        found["random"] = random.getstate()
    return found
