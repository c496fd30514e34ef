"""What a path tells of the loss, and the same rules elsewhere.

Derived in the chapter on [comparison][comparison].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from ..arrays.checks import POSITIVE, SHARE, SIZE, Count, Instance, Numbers, Optional, Real, check, checked
from ..arrays.protocol import Array
from .adagrad import AdaGrad
from .adam import Adam, AdamW, AMSGrad
from .momentum import Momentum
from .nesterov import Nesterov
from .optimizer import Optimizer, Schedule
from .rmsprop import RMSProp
from .sgd import SGD

PATH = Numbers(2)


@checked(path=PATH, grads=PATH)
def curvature_along(path: np.ndarray, grads: np.ndarray) -> np.ndarray:
    """The curvature of the loss along each step of a path, by the secant: d·(change of g)/‖d‖², shape (steps,).

    `path` and `grads` (steps + 1, n) are points and the gradients at them. Each value is the mean of
    the second derivative in the step's direction over the step; where a step has no length it is NaN.
    Source: Barzilai & Borwein 1988, where a step size is its inverse.

    >>> path = np.array([[1.0, 0.0], [0.5, 0.0], [0.5, 2.0]])
    >>> curvature_along(path, path * [3.0, -1.0]).tolist()
    [3.0, -1.0]
    """
    path, grads = _matching(path, grads)
    steps = np.diff(path, axis=0)
    squared, product = (steps**2).sum(axis=1), (steps * np.diff(grads, axis=0)).sum(axis=1)
    curvatures: np.ndarray = np.divide(product, squared, out=np.full(len(steps), np.nan), where=squared > 0)
    return curvatures


class Reading(NamedTuple):
    """A Hessian read off a path: `hessian` (n, n), `spectrum` (k,), rising, `directions` (n, k), `residual`.

    The spectrum is the Hessian's within the k `directions`, orthonormal, in which the path went; of the
    others the path knows nothing, and `hessian` is zero there. `residual`, in [0, 1], is the part of the
    gradients' changes that one constant Hessian leaves unexplained.
    """

    hessian: np.ndarray
    spectrum: np.ndarray
    directions: np.ndarray
    residual: float


@checked(path=PATH, grads=PATH, tolerance=Real(0, 1, open_low=True, open_high=True))
def read_hessian(path: np.ndarray, grads: np.ndarray, tolerance: float = 1e-6) -> Reading:
    """The symmetric H that best explains the gradients' changes as H times the steps, by least squares.

    `path` and `grads` are (steps + 1, n), steps ≥ 1. A direction counts as visited when the steps'
    singular value there is above `tolerance` in (0, 1) times the largest. Raises ValueError when
    shapes do not fit or no step has any length. Source: the secant equation, Nocedal & Wright 2006, chapter 6. In the basis of
    the steps' right singular vectors, where their Gram matrix is diagonal, the normal equations fall apart.

    >>> path = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.5]])
    >>> print(read_hessian(path, path * [2.0, -1.0]).spectrum)
    [-1.  2.]
    """
    path, grads = _matching(path, grads)
    steps, changes = np.diff(path, axis=0), np.diff(grads, axis=0)
    if not steps.any():
        raise ValueError("path must move, got steps that are all zero")
    left, sizes, right = np.linalg.svd(steps, full_matrices=False)
    seen = sizes > tolerance * sizes[0]
    basis = right[seen].T
    sizes = sizes[seen]
    known = sizes[:, None] * (left[:, seen].T @ changes @ basis)
    within = (known + known.T) / (sizes[:, None] ** 2 + sizes**2)
    hessian = basis @ within @ basis.T
    missed, total = (np.linalg.norm(a @ basis) for a in (changes - steps @ hessian, changes))
    return Reading(hessian, np.linalg.eigvalsh(within), basis, float(missed / total) if total else 0.0)


@checked(path=PATH, grads=PATH, tolerance=SIZE)
def refutes_convexity(path: np.ndarray, grads: np.ndarray, tolerance: float = 1e-12) -> bool:
    """Whether two points of the path prove that the loss is not convex: (g - g′)·(w - w′) < 0.

    True is a proof, as far as gradients are exact (`tolerance` ≥ 0, times the two lengths, leaves room
    for rounding). False proves nothing. Takes memory for all pairs. Source: Nesterov 2004, on convex functions.

    >>> path = np.array([[0.0], [1.0], [4.0]])
    >>> refutes_convexity(path, path**2), refutes_convexity(path, np.sin(path))
    (False, True)
    """
    path, grads = _matching(path, grads)
    apart, change = path[:, None] - path, grads[:, None] - grads
    product = (apart * change).sum(axis=-1)
    lengths = np.linalg.norm(apart, axis=-1) * np.linalg.norm(change, axis=-1)
    return bool((product < -tolerance * lengths).any())


@checked(path=PATH, lr=POSITIVE, rho=SHARE)
def implied_gradients(path: np.ndarray, lr: float, rho: float = 0.0) -> np.ndarray:
    """The gradients (steps, n) at all points but the last, from the path (steps + 1, n) alone.

    Holds for gradient descent, and for momentum with `rho` from rest: each step is -lr times the velocity.

    >>> path = np.array([[1.0], [0.75], [0.5625]])
    >>> implied_gradients(path, lr=0.25).ravel().tolist()
    [1.0, 0.75]
    """
    velocity = -np.diff(np.asarray(path, dtype=float), axis=0) / lr
    velocity[1:] -= rho * velocity[:-1].copy()
    return velocity


@checked(path=PATH)
def relative_gradients(path: np.ndarray, optimizer: AdaGrad | RMSProp | Adam) -> np.ndarray:
    """The gradients (steps, n) at all points but the last, from the path (steps + 1, n) of an adaptive rule alone, in units of each coordinate's first.

    `optimizer` is the one that made the path, in a single array, from a fresh start. The unit stays unknown; an AdaGrad
    whose sum starts above 0 gives it away, and the gradients come in full. ε counts as 0, an error of about
    ε over the denominator's root; a gradient q times all before it multiplies that by up to q². A step of Adam's along `m` has a second solution where it exceeds (1 - β₁)/√(1 - β₂) times the
    corrected α; this takes the smaller gradient, the true one as long as it is at most (1 - β₁)β₂/(β₁(1 - β₂)) times v/|m|, both
    from before the step. Raises TypeError for another rule, ValueError where the averages keep nothing, a step is not this
    optimizer's, or rounding has swallowed a gradient. Derived in the chapter.

    >>> path = np.array([[1.0], [0.5], [0.2]])
    >>> relative_gradients(path, AdaGrad(lr=0.5, eps=0.0)).ravel().round(6).tolist()
    [1.0, 0.75]
    """
    if type(optimizer) not in (AdaGrad, RMSProp, Adam):
        raise TypeError(f"optimizer must be an AdaGrad, RMSProp or Adam, got {type(optimizer).__name__}")
    steps = -np.diff(np.asarray(path, dtype=float), axis=0)
    grads, m, s = np.empty_like(steps), np.zeros(steps.shape[1:]), np.full(steps.shape[1:], getattr(optimizer, "initial_accumulator", 0.0))
    at = replace(optimizer)
    for k, step in enumerate(steps):
        at.steps = k
        given = at.hyperparameters()
        lr, beta1, keep = given["lr"], given.get("beta1", 0.0), given.get("beta2", given.get("decay", 1.0))
        if not keep:
            raise ValueError("optimizer must keep some of its average of squares, got a share of 0")
        own, new = 1 - beta1, 1.0 if isinstance(optimizer, AdaGrad) else 1 - keep
        if isinstance(optimizer, Adam):
            lr *= (1 - keep ** (k + 1)) ** 0.5 / (1 - beta1 ** (k + 1))
        r, a, c = step / lr, beta1 * m, keep * s  # r = (a + own·g)/√(c + new·g²), to be solved for g
        fresh = c == 0
        d = own**2 * c + new * a**2 - new * c * r**2
        wrong = np.where(fresh, (r != 0) & (abs(abs(r) - own / new**0.5) > 1e-3 * own / new**0.5), d < -1e-9 * (own**2 * c + new * a**2))
        if wrong.any():
            raise ValueError(f"path must be this optimizer's, got step {k} that it cannot take: {-step[wrong][0]:g}")
        root = r * np.sqrt(np.maximum(d, 0))
        with np.errstate(all="ignore"):  # each form of the solution divides by 0 only where the other is taken
            solved = np.where(a * r > 0, (c * r**2 - a**2) / (a * own + root), (root - a * own) / (own**2 - new * r**2))
        g = grads[k] = np.where(fresh, np.sign(r), solved)
        if not np.isfinite(g).all():
            raise ValueError(f"path must let each gradient be told from those before it, got step {k}, which rounds to the longest possible")
        m, s = a + own * g, c + new * g**2
    return grads


@checked(path=PATH, grads=PATH)
def on_one_scale(path: np.ndarray, grads: np.ndarray) -> np.ndarray:
    """`grads` with each coordinate times a factor that makes the Hessian of the path symmetric; the first keeps its own.

    `path` and `grads` are (points, n), the gradients right up to a positive factor for each coordinate. Holds where one Hessian does. A factor
    shows only in the mixed second derivatives: raises ValueError when the path does not span all directions, or some
    coordinates are coupled with no others. Source: the symmetry of second derivatives.

    >>> path = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.5]])
    >>> print(on_one_scale(path, path @ [[2.0, 1.0], [1.0, 3.0]] * [1.0, 100.0]))
    [[3.  4. ]
     [1.  3. ]
     [0.5 1.5]]
    """
    path, grads = _matching(path, grads)
    n = path.shape[1]
    raw, _, rank, _ = np.linalg.lstsq(np.diff(path, axis=0), np.diff(grads, axis=0), rcond=1e-9)
    if rank < n:
        raise ValueError(f"path must span {n} directions, got {rank}")
    if n == 1:
        return grads
    unit, size = np.eye(n), np.linalg.norm(raw, axis=0)
    raw = raw / size
    unequal = [raw[i, j] * unit[j] - raw[j, i] * unit[i] for i, j in combinations(range(n), 2)]  # times the factors: 0
    _, values, rows = np.linalg.svd(np.array(unequal))
    factor = rows[-1] / size
    if values[n - 2] < 1e-6 or not (factor / factor[0] > 0).all():
        raise ValueError("path must couple all coordinates in one Hessian, got some whose mixed second derivatives fix no factor")
    scaled: np.ndarray = grads * (factor / factor[0])
    return scaled


@checked(step_length=Numbers(low=0, open_low=True), sigma=SIZE)
def secant_error(step_length: Array | Sequence[float] | float, sigma: float) -> np.ndarray:
    """The standard error of the secant curvature, √2·σ/‖d‖: noise of standard deviation σ in each gradient, the step independent of it.

    >>> round(float(secant_error(0.1, 0.01)), 6)
    0.141421
    """
    error: np.ndarray = np.sqrt(2) * sigma / np.asarray(step_length)
    return error


def _matching(path: np.ndarray, grads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    path, grads = np.asarray(path, dtype=float), np.asarray(grads, dtype=float)
    if path.ndim != 2 or len(path) < 2 or path.shape != grads.shape:
        raise ValueError(f"path and grads must have one shape (steps + 1, n) with steps >= 1, got {path.shape} and {grads.shape}")
    return path, grads


@dataclass(frozen=True)
class BeforeCorrection:
    """ε as a schedule that makes Adam, AdamW or AMSGrad add `eps` to the uncorrected root: ε/√(1 - β₂ᵗ), t = step + 1.

    Source: Kingma & Ba 2015, section 2, last paragraph, whose ε̂ this is, divided by √(1 - β₂ᵗ).

    >>> round(BeforeCorrection(1e-7)(0), 12)
    3.162278e-06
    """
    eps: float
    beta2: float = 0.999

    def __post_init__(self) -> None:
        check("eps", self.eps, SIZE)
        check("beta2", self.beta2, SHARE)

    def __repr__(self) -> str:
        return f"BeforeCorrection({self.eps:g})" if self.beta2 == 0.999 else f"BeforeCorrection({self.eps:g}, {self.beta2:g})"

    @checked(step=Count(0))
    def __call__(self, step: int) -> float:
        return float(self.eps / (1 - self.beta2 ** (step + 1)) ** 0.5)


@dataclass(frozen=True)
class Row:
    """One rule of a framework and what it is here.

    `name` with `options` is the call there (`options` None: not a call of today), every other setting
    at its default there except the learning rate, whose default is `lr` (None: there is none, or none on
    record). `ours` with `settings` takes the same steps, on the gradient plus `l2` times the weights;
    `ours` is None where nothing of ours does, and `note` says why. Raises TypeError or ValueError for anything else.
    """

    framework: str
    name: str
    ours: type[Optimizer] | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] | None = field(default_factory=dict)
    lr: float | None = None
    l2: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("framework", "name", "note"):
            check(name, getattr(self, name), Instance(str, words="a string"))
        if self.ours is not None and not (isinstance(self.ours, type) and issubclass(self.ours, Optimizer)):
            raise TypeError(f"ours must be a class of optimizers or None, got {self.ours!r}")
        check("settings", self.settings, Instance(Mapping, words="a dict"))
        check("options", self.options, Optional(Instance(Mapping, words="a dict")))
        check("lr", self.lr, Optional(POSITIVE))
        check("l2", self.l2, SIZE)

    @property
    def call(self) -> str:
        """The call there, the learning rate left out: also the row's name in the recorded figures."""
        return self.name if self.options is None else f"{self.name}({', '.join(f'{k}={v!r}' for k, v in self.options.items())})"

    def optimizer(self, lr: float | Schedule) -> Optimizer:
        """Ours with this learning rate or schedule. Raises ValueError where `ours` is None."""
        if self.ours:
            return self.ours(lr=lr, **self.settings)  # type: ignore[call-arg]
        raise ValueError(f"{self.framework}'s {self.call} is none of ours: {self.note}")

    def cells(self) -> tuple[str, ...]:
        """Call there; ours; default learning rate; ε and its place; where `lr` enters or the sum starts, and the weight decay."""
        lr = "" if self.lr is None else f"{self.lr:g}"
        if self.ours is None:
            return f"`{self.call}`", "none", lr, "", self.note
        at = {f.name: f.default for f in fields(self.ours)} | dict(self.settings)
        place, eps = "", at.get("eps")
        if eps is not None:
            before = ", uncorrected" if at.get("eps_hat") or isinstance(eps, BeforeCorrection) else ""
            place = f"{getattr(eps, 'eps', eps):g}, {'inside' if at.get('eps_inside_root') else 'after'} the root{before}"
        states = {"lr_inside": f"α {'inside' if at.get('lr_inside') else 'outside'} the velocity",
                  "corrected_max": "largest of the corrected averages" if at.get("corrected_max") else "corrects the largest average",
              "initial_accumulator": f"sum starts at {at.get('initial_accumulator', 0):g}", "decay": f"keeps {at.get('decay', 0):g}"}
        state = next((text for name, text in states.items() if name in at), "")
        decay = f"decay coupled, {self.l2:g}" if self.l2 else f"decay decoupled, {at['weight_decay']:g}" if "weight_decay" in at else ""
        shown = ", ".join(f"`{k}={v!r}`" for k, v in self.settings.items())
        return f"`{self.call}`", f"`{self.ours.__name__}`" + (shown and f" with {shown}"), lr, place, "; ".join(filter(None, (state, decay)))


_KERAS_ADAM = {"eps": 1e-7, "eps_hat": True}
VERSIONS = {"PyTorch": "2.13.0", "Keras": "3.15.1", "Optax": "0.2.8", "CS231n": "2026", "Deep Learning from Scratch": "chapter 6"}
"""What the rows were compared with."""

ROWS = (
    Row("PyTorch", "SGD", SGD, lr=1e-3),
    Row("PyTorch", "SGD", Momentum, options={"momentum": 0.9}, lr=1e-3),
    Row("PyTorch", "SGD", Nesterov, options={"momentum": 0.9, "nesterov": True}, lr=1e-3),
    Row("PyTorch", "SGD", Momentum, options={"momentum": 0.9, "weight_decay": 0.1}, lr=1e-3, l2=0.1),
    Row("PyTorch", "Adagrad", AdaGrad, lr=1e-2),
    Row("PyTorch", "RMSprop", RMSProp, lr=1e-2),
    Row("PyTorch", "Adam", Adam, lr=1e-3),
    Row("PyTorch", "Adam", Adam, options={"weight_decay": 0.1}, lr=1e-3, l2=0.1),
    Row("PyTorch", "AdamW", AdamW, lr=1e-3),
    Row("PyTorch", "Adam", AMSGrad, options={"amsgrad": True}, lr=1e-3),
    Row("Keras", "SGD", SGD, lr=1e-2),
    Row("Keras", "SGD", Momentum, {"lr_inside": True}, {"momentum": 0.9}, lr=1e-2),
    Row("Keras", "SGD", Nesterov, {"lr_inside": True}, {"momentum": 0.9, "nesterov": True}, lr=1e-2),
    Row("Keras", "Adagrad", AdaGrad, {"eps": 1e-7, "eps_inside_root": True, "initial_accumulator": 0.1}, lr=1e-3),
    Row("Keras", "RMSprop", RMSProp, {"decay": 0.9, "eps": 1e-7, "eps_inside_root": True}, lr=1e-3),
    Row("Keras", "Adam", Adam, _KERAS_ADAM, lr=1e-3),
    Row("Keras", "Adam", AdamW, {"eps": BeforeCorrection(1e-7), "weight_decay": 0.1}, {"weight_decay": 0.1}, lr=1e-3),
    Row("Keras", "AdamW", AdamW, {"eps": BeforeCorrection(1e-7), "weight_decay": 0.004}, lr=1e-3),
    Row("Keras", "Adam", AMSGrad, {"eps": BeforeCorrection(1e-7)}, {"amsgrad": True}, lr=1e-3),
    Row("Optax", "sgd", SGD),
    Row("Optax", "sgd", Momentum, options={"momentum": 0.9}),
    Row("Optax", "sgd", Nesterov, options={"momentum": 0.9, "nesterov": True}),
    Row("Optax", "adagrad", AdaGrad, {"eps": 1e-7, "eps_inside_root": True, "initial_accumulator": 0.1}),
    Row("Optax", "rmsprop", RMSProp, {"decay": 0.9, "eps_inside_root": True}),
    Row("Optax", "adam", Adam),
    Row("Optax", "adamw", AdamW, {"weight_decay": 1e-4}),
    Row("Optax", "amsgrad", AMSGrad, {"corrected_max": True}),
    Row("CS231n", "sgd_momentum", Momentum, {"lr_inside": True}),
    Row("CS231n", "rmsprop", RMSProp),
    Row("CS231n", "adam", Adam),
    Row("Deep Learning from Scratch", "SGD", SGD, lr=1e-2),
    Row("Deep Learning from Scratch", "Momentum", Momentum, {"lr_inside": True}, lr=1e-2),
    Row("Deep Learning from Scratch", "Nesterov", Nesterov, {"lr_inside": True}, lr=1e-2),
    Row("Deep Learning from Scratch", "Nesterov until 2021", None, options=None, lr=1e-2, note="the velocity is updated before the look-ahead uses it"),
    Row("Deep Learning from Scratch", "AdaGrad", AdaGrad, {"eps": 1e-7}, lr=1e-2),
    Row("Deep Learning from Scratch", "RMSprop", RMSProp, {"eps": 1e-7}, lr=1e-2),
    Row("Deep Learning from Scratch", "Adam", Adam, _KERAS_ADAM, lr=1e-3),
)
"""Every row of the chapter's table; the tests hold each to the framework, live or as recorded."""


@dataclass(frozen=True)
class Table:
    """Rows of a framework as a Markdown table, for the last line of a page's cell; a column that says nothing is left out.

    Raises TypeError for what are no rows, ValueError for none.
    """

    rows: Sequence[Row]

    def __post_init__(self) -> None:
        if not isinstance(self.rows, Sequence) or not all(isinstance(row, Row) for row in self.rows):
            raise TypeError(f"rows must be a list of rows, got {self.rows!r}")
        if not self.rows:
            raise ValueError(f"rows must hold at least one row, got {self.rows!r}")

    def _repr_markdown_(self) -> str:
        head = (f"{(name := self.rows[0].framework)} ({VERSIONS[name]})", "here", "default α", "ε", "what else")
        columns = [column for column in zip(head, *(row.cells() for row in self.rows)) if any(column[1:])]
        names, *body = zip(*columns)
        return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, ("---",) * len(columns), *body))
