"""What a figure that the reader steers computes: sliders, data, elementwise functions, recurrences, chains and descents.

Each is written once, in Python. It is run in Python for the drawing on paper, and printed as JavaScript for the browser.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..arrays.checks import Count, Either, Flag, Function, Instance, Kind, Numbers, Optional, Real, check, shown
from ..engines import javascript
from ..engines.operations import LETTERS
from ..engines.tape import Rule, signature
from ..optimization.landscapes import Landscape
from ..optimization.optimizer import Optimizer

Named = str | float
"""A number, or the name of one that the reader sets or that is computed."""

Values = dict[str, Any]
"""The numbers and series of a figure by name."""

WORDS = {
    "lr": "learning rate", "rho": "momentum", "beta1": "decay of the mean", "beta2": "decay of the squares", "decay": "decay", "eps": "epsilon",
    "kappa": "condition number", "sigma": "noise",
}


class _Identifier:
    """A name that Python and JavaScript share."""

    def fault(self, value: object) -> type[Exception] | None:
        return TypeError if not isinstance(value, str) else None if re.fullmatch("[a-z]\\w*", value, re.A) else ValueError

    def __str__(self) -> str:
        return "a name of letters, digits and _"


TEXT, IDENTIFIER = Instance(str, words="a string"), _Identifier()
NAMED = Either(Real(), IDENTIFIER)


class Made(NamedTuple):
    """One thing to compute: for the browser `data` and the `source` of a function, for Python `run`; in `steps` it has a value for each, but not in `rows`."""

    out: tuple[str, ...]
    reads: tuple[Named, ...]
    data: dict[str, Any]
    source: str
    run: Callable[[Values], Values]
    steps: int = 0
    rows: tuple[str, ...] = ()


def check_each(argument: str, value: Sequence[object], kind: Kind) -> None:
    """Refuse what is no list or tuple of things of a kind.

    >>> check_each("noise", ["a", "b!"], IDENTIFIER)
    Traceback (most recent call last):
        ...
    ValueError: noise must be a name of letters, digits and _, got 'b!'
    """
    check(argument, value, Instance(list, tuple))
    for item in value:
        check(argument, item, kind)


def check_numbers_or_names(argument: str, value: Mapping[str, object]) -> None:
    """Refuse what is no dict from words to numbers or names.

    >>> check_numbers_or_names("settings", {"lr": "fast!"})
    Traceback (most recent call last):
        ...
    ValueError: settings['lr'] must be a number in (-inf, inf) or a name of letters, digits and _, got 'fast!'
    """
    check(argument, value, Instance(Mapping, words="a dict of numbers or names"))
    for key, item in value.items():
        if not isinstance(key, str):
            raise TypeError(f"{argument} must have names as keys, got {key!r}")
        check(f"{argument}[{key!r}]", item, NAMED)


@dataclass(frozen=True)
class Slider:
    """A number that the reader sets, from `low` to `high`, `value` at first.

    `label` is its name in words and its letter; hyperparameters have theirs by themselves. `step` rounds it, `log` spreads it by its logarithm.
    `marks` are places on it that one can jump to: words to a number, or to the name of a computed one, as `{"edge of stability": "edge"}`.
    `resets` names sliders that go back to their start when the reader moves this one, as a guess does when the riddle is another.

    Raises `TypeError` for arguments of another kind, `ValueError` if `value` or a mark lies outside.

    >>> Slider("lr", 0.01, 0.2, 0.1, marks={"best": 2 / 11}).label
    'learning rate α'
    """

    name: str
    low: float
    high: float
    value: float
    label: str = ""
    step: float | None = None
    log: bool = False
    marks: Mapping[str, Named] = field(default_factory=dict)
    resets: Sequence[str] = ()

    def __post_init__(self) -> None:
        check("name", self.name, IDENTIFIER)
        for bound in ("low", "high", "value"):
            check(bound, getattr(self, bound), Real())
        check("label", self.label, TEXT)
        check("step", self.step, Optional(Real(0, open_low=True)))
        check("log", self.log, Flag())
        check_numbers_or_names("marks", self.marks)
        check_each("resets", self.resets, IDENTIFIER)
        if not self.low < self.high:
            raise ValueError(f"high must be above low = {self.low}, got {self.high}")
        if not self.low <= self.value <= self.high:
            raise ValueError(f"value must be in [{self.low}, {self.high}], got {self.value}")
        if self.log and self.low <= 0:
            raise ValueError(f"low must be positive where log is True, got {self.low}")
        for words, at in self.marks.items():
            if not isinstance(at, str):
                check(f"marks[{words!r}]", at, Real(self.low, self.high))
        letter = LETTERS[self.name].text if self.name in LETTERS else ""
        if not self.label:
            object.__setattr__(self, "label", " ".join(filter(None, (WORDS.get(self.name, "" if letter else self.name), letter))))

    @property
    def data(self) -> dict[str, Any]:
        """For the browser."""
        marks = [[words, at if isinstance(at, str) else float(at)] for words, at in self.marks.items()]
        return {"name": self.name, "label": self.label, "low": float(self.low), "high": float(self.high), "value": float(self.value),
                "step": self.step and float(self.step), "log": self.log, "marks": marks, "resets": list(self.resets)}


@dataclass(frozen=True)
class Data:
    """Numbers that travel with the figure: draws of a generator, measurements, a grid for curves. NaN is a gap in a line.

    Raises `TypeError` or `ValueError` unless `values` is a non-empty vector of numbers.

    >>> Data("t", np.arange(1, 101)).made[0].data["range"]
    [1.0, 100.0, 100]
    """

    name: str
    values: ArrayLike

    def __post_init__(self) -> None:
        check("name", self.name, IDENTIFIER)
        check("values", self.values, Numbers(1, finite=False))

    @property
    def made(self) -> list[Made]:
        """What there is to compute."""
        values = np.asarray(self.values, dtype=float)
        even = np.array_equal(values, np.linspace(values[0], values[-1], len(values)))
        data: dict[str, Any] = {"range": [values[0].item(), values[-1].item(), len(values)]} if even else {
            "values": [x if np.isfinite(x) else None for x in values.tolist()]}
        return [Made((self.name,), (), {"kind": "data", "out": [self.name], **data}, "", lambda known: {self.name: values})]


@dataclass(frozen=True)
class Compute:
    """An elementwise function of what is known by the names of its arguments: of numbers it gives a number, of series a series.

    `name` is what it returns, a tuple of names where it returns several. It uses the operations of rules, or what SymPy's symbols understand
    (`sympy.Piecewise` for a branch). `reads` names what it is given, in order, where its arguments have other names or are many, as in `lambda *w: sum(w)`.

    Raises `TypeError` for arguments of another kind or a function that is not elementwise.

    >>> ratio = Compute("ratio", lambda t, beta2: np.sqrt(1 - beta2**t))
    >>> ratio.made[0].run({"t": np.array([1.0, 2.0]), "beta2": 0.75})["ratio"].round(3).tolist()
    [0.5, 0.661]
    """

    name: str | tuple[str, ...]
    function: Callable[..., Any]
    reads: Sequence[str] = ()

    def __post_init__(self) -> None:
        check("name", self.name, Instance(str, list, tuple, words="a name or several"))
        check_each("reads", self.reads, IDENTIFIER)
        check_each("name", self._names, IDENTIFIER)
        if not self._names:
            raise ValueError(f"name must be one at least, got {self.name!r}")
        check("function", self.function, Function("numbers and series"))

    @property
    def _names(self) -> tuple[str, ...]:
        return (self.name,) if isinstance(self.name, str) else tuple(self.name)

    @property
    def made(self) -> list[Made]:
        """What there is to compute."""
        arguments, source, call = javascript.printed(self.function, self.reads)
        return [_mapped(self._names, arguments, source, call)]


@dataclass(frozen=True)
class Iterate:
    """A recurrence: from `first`, a dict of names to numbers or names, `function` makes the next values of all of them, `steps` times.

    The function's arguments are the names in `first`, others that are known, and `t`, the number of the step from 1. Of a series it is
    given the element of that step. The results are series of `steps` + 1 values.

    Raises `TypeError` for arguments of another kind or a function that is not elementwise.

    >>> halved = Iterate({"w": 8}, lambda w: w / 2, steps=3)
    >>> halved.made[0].run({})["w"].tolist()
    [8.0, 4.0, 2.0, 1.0]
    """

    first: Mapping[str, Named]
    function: Callable[..., Any]
    steps: int

    def __post_init__(self) -> None:
        _check_recurrence(self.first, self.function)
        check("steps", self.steps, Count())

    @property
    def made(self) -> list[Made]:
        """What there is to compute."""
        arguments, source, call = javascript.printed(self.function)
        names = tuple(self.first)
        others = tuple(a for a in arguments if a not in names)
        given = ", ".join(arguments)
        source = f"((f) => ({', '.join((*names, *others))}) => f({given}))({source})"

        def following(state: np.ndarray, *more: float) -> Any:
            result = call(**dict(zip(names, state)), **dict(zip(others, more)))
            return result if isinstance(result, tuple) else (result,)

        return [_iterated(names, tuple(self.first.values()), others, self.steps, source, following)]


@dataclass(frozen=True)
class Chain:
    """A recurrence in a row of `places`, each of which knows its two neighbours: from `first`, `function` makes the next values at every place at once.

    `first` is a dict of names to numbers or names, as for `Iterate`; of a series a place takes the element of its own. The function's arguments are the
    names in `first`, each as well with `_before` and `_after` for the value at the place before and after (beyond the ends these are `ends`), others that are known, and
    `t`, the number of the step from 1. A name in `first` is then the row as it is at the step at which the figure stands. `sums` is a dict of names to
    functions of the same arguments: the sum of each over the row, a series with a value for each step.

    Raises `TypeError` for arguments of another kind or a function that is not elementwise.

    >>> heard = Chain({"w": 0}, lambda w_before, w_after: (w_before + w_after) / 2, places=4, steps=2, ends=(8, 0), sums={"all": lambda w: w})
    >>> found = heard.made[0].run({"now": 2})
    >>> found["w"].tolist(), found["all"].tolist()
    ([4.0, 2.0, 0.0, 0.0], [0.0, 4.0, 6.0])
    """

    first: Mapping[str, Named]
    function: Callable[..., Any]
    places: int
    steps: int
    ends: Sequence[float] = (0, 0)
    sums: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_recurrence(self.first, self.function)
        check("places", self.places, Count())
        check("steps", self.steps, Count())
        check("ends", self.ends, Numbers(1))
        if len(self.ends) != 2:
            raise ValueError(f"ends must be 2 finite numbers, got {shown(self.ends)}")
        check("sums", self.sums, Instance(Mapping, words="a dict of names to functions"))
        check_each("sums", list(self.sums), IDENTIFIER)
        check_each("sums", list(self.sums.values()), Function("what is known"))

    @property
    def made(self) -> list[Made]:
        """What there is to compute."""
        names, sums = tuple(self.first), tuple(self.sums)
        near = tuple(f"{name}{side}" for name in names for side in ("", "_before", "_after"))
        parts = [javascript.printed(function) for function in (self.function, *self.sums.values())]
        others = tuple(dict.fromkeys(a for part in parts for a in part.arguments if a not in near))
        calls = ", ".join(f"...f{i}({', '.join(part.arguments)})" for i, part in enumerate(parts))
        source = (f"(({', '.join(f'f{i}' for i in range(len(parts)))}) => ({', '.join((*near, *others))}) => [{calls}])("
                  + ",\n".join(part.source for part in parts) + ")")
        places, (before, after) = self.places, map(float, self.ends)

        def run(known: Values) -> Values:
            rows = [np.broadcast_to(np.asarray(known[f] if isinstance(f, str) else f, dtype=float), places) for f in self.first.values()]
            found: Values = {name: [] for name in sums}
            for step in range(self.steps + 1):
                if step == known["now"]:
                    found |= dict(zip(names, rows))
                given = {o: float(step + 1) if o == "t" else known[o] for o in others}
                for name, row in zip(names, rows):
                    given |= {name: row, f"{name}_before": np.append(before, row[:-1]), f"{name}_after": np.append(row[1:], after)}
                with np.errstate(all="ignore"):
                    results = [part.call(*[given[a] for a in part.arguments]) for part in parts]
                for name, value in zip(sums, results[1:]):
                    found[name].append(np.broadcast_to(value, places).sum())
                made = results[0] if isinstance(results[0], tuple | list) else (results[0],)
                rows = [np.broadcast_to(np.asarray(row, dtype=float), places) for row in made]
            return found | {name: np.array(found[name]) for name in sums}

        first = [f if isinstance(f, str) else float(f) for f in self.first.values()]
        data = {"kind": "chain", "out": [*names, *sums], "first": first, "args": list(others), "places": places, "steps": self.steps, "ends": [before, after]}
        return [Made((*names, *sums), (*first, *(o for o in others if o != "t"), "now"), data, source, run, self.steps, names)]


@dataclass(frozen=True)
class Descent:
    """A descent by `rule` on `loss`, from `start`, the name of a point of the figure, in `steps` steps.

    It computes series by the names `{name}_x` and `{name}_y` (the path), `{name}_loss` and `{name}_distance` (to the nearest of the minima, where
    they are known). `rule` is a rule, whose hyperparameters are the figure's numbers of their names, or an optimizer with its own settings;
    `settings` gives some hyperparameters numbers or other names. `loss` is a landscape of one or two numbers, or a function of `x`, `y` and
    others that are known, of which SymPy takes the gradient. `noise` names series, one for each coordinate, that are added to the gradients.

    Raises `TypeError` for arguments of another kind, `ValueError` for a landscape of more than two numbers or an unknown hyperparameter.

    >>> from reference_impl.optimization.landscapes import bowl
    >>> from reference_impl.optimization.sgd import sgd
    >>> found = {"start_x": 1.0, "start_y": 2.0, "lr": 0.5}
    >>> for part in Descent("descent", sgd, bowl(), steps=2).made:
    ...     found |= part.run(found)
    >>> found["descent_x"].tolist(), found["descent_loss"].tolist()
    ([1.0, 0.5, 0.25], [2.5, 0.625, 0.15625])
    """

    name: str
    rule: Rule | Optimizer
    loss: Landscape | Callable[..., Any]
    steps: int
    start: str = "start"
    settings: Mapping[str, Named] = field(default_factory=dict)
    noise: Sequence[str] = ()

    def __post_init__(self) -> None:
        check("name", self.name, IDENTIFIER)
        check("rule", self.rule, Either(Function("(w, g, …)"), Instance(Optimizer)))
        check("loss", self.loss, Either(Instance(Landscape), Function("x, y, …")))
        check("steps", self.steps, Count())
        check("start", self.start, IDENTIFIER)
        check_numbers_or_names("settings", self.settings)
        check_each("noise", self.noise, IDENTIFIER)
        if isinstance(self.loss, Landscape) and self.loss.n > 2:
            raise ValueError(f"loss must be of one or two numbers, got {self.loss.n}")
        hyper = signature(self._rule).hyper
        if unknown := set(self.settings) - set(hyper):
            raise ValueError(f"settings must be hyperparameters of the rule {list(hyper)}, got {sorted(unknown)}")
        if self.noise and len(self.noise) != len(self._axes):
            raise ValueError(f"noise must be a name for each of {len(self._axes)} coordinates, got {shown(self.noise)}")

    @property
    def _rule(self) -> Rule:
        return self.rule._rule() if isinstance(self.rule, Optimizer) else self.rule

    @property
    def _axes(self) -> tuple[str, ...]:
        if isinstance(self.loss, Landscape):
            return ("x", "y")[:self.loss.n]
        return tuple(a for a in ("x", "y") if a in javascript.arguments_of(self.loss))

    @property
    def made(self) -> list[Made]:
        """What there is to compute: the path, the losses, the distances."""
        import sympy as sp

        rule, axes, landscape = self._rule, self._axes, self.loss
        states, hyper = signature(rule)
        symbols = sp.symbols([f"{a}_" for a in axes], real=True)
        if isinstance(landscape, Landscape):
            others: tuple[str, ...] = ()
            formula = sp.sympify(landscape.fun(np.array(symbols, dtype=object)))
            loss_of: Callable[..., Any] = landscape
            slope_of: Callable[..., Any] = landscape.grad
        else:
            arguments = javascript.arguments_of(landscape)
            others = tuple(a for a in arguments if a not in axes)
            symbols += sp.symbols([f"{a}_" for a in others], real=True)
            formula = sp.sympify(landscape(**dict(zip((*axes, *others), symbols))))
            loss_of, slope_of = _by_formula(formula, symbols, len(axes))

        given: list[Named] = [self.settings[h] if h in self.settings else
                              getattr(self.rule, h) if isinstance(self.rule, Optimizer) and h != "t" else h for h in hyper]
        for key, value in zip(hyper, given):
            check(f"settings[{key!r}]", value, NAMED)
        n, s = len(axes), len(states)
        path = tuple(f"{self.name}_{a}" for a in axes)
        hidden = tuple(f"{self.name}_{a}_{state}" for state in states for a in axes)
        reads = (*given, *others, *self.noise)

        def following(state: np.ndarray, *more: float) -> Any:
            settings, rest, noise = more[:len(hyper)], more[len(hyper):len(hyper) + len(others)], more[len(hyper) + len(others):]
            w, *arrays = state.reshape(1 + s, n)
            g = slope_of(w, *rest) + (np.array(noise) if noise else 0)
            made = rule(w, g, *arrays, **dict(zip(hyper, settings)))
            return np.concatenate(made if isinstance(made, tuple) else (made,))

        # The arguments in JavaScript: the coordinates of w, those of each state, hyperparameters, what the loss knows besides, noise.
        own = [*axes, *(f"{a}{i}" for i in range(s) for a in axes)]
        settings, rest, noise = [f"h{i}" for i in range(len(hyper))], [f"k{i}" for i in range(len(others))], [f"n{i}" for i in range(len(self.noise))]
        calls = [f"rule({', '.join([a, f'g[{i}]' + (f' + n{i}' if noise else ''), *(f'{a}{j}' for j in range(s)), *settings])})"
                 for i, a in enumerate(axes)]
        results = [f"r{i}[{j}]" for j in range(1 + s) for i in range(n)]
        source = (f"((rule, slopes) => ({', '.join([*own, *settings, *rest, *noise])}) => {{\n"
                  f"  const g = slopes({', '.join([*axes, *rest])}), " + ", ".join(f"r{i} = {call}" for i, call in enumerate(calls))
                  + f"\n  return [{', '.join(results)}]\n}})({javascript.source(rule)},\n"
                  + javascript.of_expressions([formula.diff(symbol) for symbol in symbols[:n]], symbols) + ")")

        def losses(*columns: Any) -> Any:
            return loss_of(np.stack(columns[:n], axis=-1), *columns[n:])

        made = [_iterated((*path, *hidden), (*(f"{self.start}_{a}" for a in axes), *[0.0] * n * s), reads, self.steps, source, following),
                _mapped((f"{self.name}_loss",), (*path, *others), javascript.of_expressions([formula], symbols), losses)]
        if isinstance(landscape, Landscape) and len(landscape.minima):
            goals = landscape.minima
            away = " , ".join(f"Math.hypot({', '.join(f'{a} - {json.dumps(x)}' for a, x in zip(axes, goal.tolist()))})" for goal in goals)

            def distances(*columns: Any) -> Any:
                return np.linalg.norm(np.stack(columns, axis=-1)[..., None, :] - goals, axis=-1).min(axis=-1)

            made.append(_mapped((f"{self.name}_distance",), path, f"({', '.join(axes)}) => [Math.min({away})]", distances))
        return made


def _by_formula(formula: Any, symbols: Sequence[Any], axes: int) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """A loss at points (…, `axes`), and its gradient at one, of a formula whose first `axes` symbols are the coordinates."""
    import sympy as sp

    loss, slopes = sp.lambdify(symbols, formula), sp.lambdify(symbols, [formula.diff(s) for s in symbols[:axes]])

    def loss_at(w: np.ndarray, *more: Any) -> Any:
        return loss(*np.moveaxis(w, -1, 0), *more)

    def slope_at(w: np.ndarray, *more: Any) -> np.ndarray:
        return np.array(slopes(*w, *more), dtype=float)

    return loss_at, slope_at


def _mapped(out: tuple[str, ...], arguments: tuple[str, ...], source: str, call: Callable[..., Any]) -> Made:
    def run(known: Values) -> Values:
        with np.errstate(all="ignore"):
            results = call(*[_array(known[a]) for a in arguments])
        results = results if isinstance(results, tuple | list) else (results,)
        if len(results) != len(out):
            raise ValueError(f"name must be a name for each of the {len(results)} results, got {list(out)}")
        shape = np.broadcast_shapes(*[np.shape(known[a]) for a in arguments]) if arguments else ()
        return {name: np.broadcast_to(np.asarray(r, dtype=float), shape) if shape else float(r) for name, r in zip(out, results)}

    return Made(out, arguments, {"kind": "map", "out": list(out), "args": list(arguments)}, source, run)


def _check_recurrence(first: Mapping[str, Named], function: Callable[..., Any]) -> None:
    """Refuse what nothing could begin with, or go on by: TypeError or ValueError."""
    check_numbers_or_names("first", first)
    check_each("first", list(first), IDENTIFIER)
    if not first:
        raise ValueError(f"first must hold one at least, got {first!r}")
    check("function", function, Function("what is known"))


def _iterated(out: tuple[str, ...], first: tuple[Named, ...], reads: tuple[Named, ...], steps: int, source: str,
              following: Callable[..., Any]) -> Made:
    def run(known: Values) -> Values:
        def at(what: Named, step: int) -> Any:
            if what == "t":
                return float(step + 1)
            value: Any = known[what] if isinstance(what, str) else what
            return value[step] if np.ndim(value) else np.float64(value)

        state = np.array([at(f, 0) for f in first], dtype=float)
        rows = [state]
        with np.errstate(all="ignore"):
            for step in range(steps):
                state = np.array(following(state, *[at(r, step) for r in reads]), dtype=float)
                rows.append(state)
        return dict(zip(out, np.array(rows).T))

    plain = [[x if isinstance(x, str) else float(x) for x in numbers] for numbers in (first, reads)]
    return Made(out, (*first, *(r for r in reads if r != "t")), {"kind": "iterate", "out": list(out), "first": plain[0], "args": plain[1], "steps": steps},
                source, run, steps)


def _array(value: Any) -> Any:
    return np.asarray(value, dtype=float) if np.ndim(value) else np.float64(value)
