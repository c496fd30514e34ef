"""What a path tells of the loss, and the same rules elsewhere.

Derived in the chapter on [comparison][comparison].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

from .adagrad import AdaGrad
from .adam import Adam, AdamW, AMSGrad
from .momentum import Momentum
from .nesterov import Nesterov
from .optimizer import Optimizer, Schedule
from .rmsprop import RMSProp
from .sgd import SGD


def curvature_along(path: np.ndarray, grads: np.ndarray) -> np.ndarray:
    """The curvature of the loss along each step of a path, by the secant: d·(change of g)/‖d‖², shape (steps,).

    `path` and `grads` (steps + 1, n) are points and the gradients at them. Each value is the mean of
    the second derivative in the step's direction over the step; where a step has no length it is NaN.
    Source: Barzilai & Borwein 1988, eq. (5), whose step size is its inverse.

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


def read_hessian(path: np.ndarray, grads: np.ndarray, tolerance: float = 1e-6) -> Reading:
    """The symmetric H that best explains the gradients' changes as H times the steps, by least squares.

    `path` and `grads` are (steps + 1, n), steps ≥ 1. A direction counts as visited when the steps'
    singular value there is above `tolerance` in (0, 1) times the largest. Raises ValueError when
    shapes do not fit or no step has any length. Source: the secant equation, Nocedal & Wright 2006, eq. (6.6). In the basis of
    the steps' right singular vectors, where their Gram matrix is diagonal, the normal equations fall apart.

    >>> path = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.5]])
    >>> print(read_hessian(path, path * [2.0, -1.0]).spectrum)
    [-1.  2.]
    """
    path, grads = _matching(path, grads)
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance must lie in (0, 1), got {tolerance!r}")
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


def refutes_convexity(path: np.ndarray, grads: np.ndarray, tolerance: float = 1e-12) -> bool:
    """Whether two points of the path prove that the loss is not convex: (g - g′)·(w - w′) < 0.

    True is a proof, as far as gradients are exact (`tolerance` ≥ 0, times the two lengths, leaves room
    for rounding). False proves nothing. Takes memory for all pairs. Source: Nesterov 2004, theorem 2.1.3.

    >>> path = np.array([[0.0], [1.0], [4.0]])
    >>> refutes_convexity(path, path**2), refutes_convexity(path, np.sin(path))
    (False, True)
    """
    path, grads = _matching(path, grads)
    apart, change = path[:, None] - path, grads[:, None] - grads
    product = (apart * change).sum(axis=-1)
    lengths = np.linalg.norm(apart, axis=-1) * np.linalg.norm(change, axis=-1)
    return bool((product < -tolerance * lengths).any())


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


def secant_error(step_length: Any, sigma: float) -> Any:
    """The standard error of the secant curvature, √2·σ/‖d‖: noise of standard deviation σ in each gradient, the step independent of it.

    >>> round(float(secant_error(0.1, 0.01)), 6)
    0.141421
    """
    return np.sqrt(2) * sigma / np.asarray(step_length)


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

    def __call__(self, step: int) -> float:
        return float(self.eps / (1 - self.beta2 ** (step + 1)) ** 0.5)


@dataclass(frozen=True)
class Row:
    """One rule of a framework and what it is here.

    `name` with `options` is the call there (`options` None: not a call of today), every other setting
    at its default there except the learning rate, whose default is `lr` (None: there is none, or none on
    record). `ours` with `settings` takes the same steps, on the gradient plus `l2` times the weights;
    `ours` is None where nothing of ours does, and `note` says why.
    """

    framework: str
    name: str
    ours: type[Optimizer] | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] | None = field(default_factory=dict)
    lr: float | None = None
    l2: float = 0.0
    note: str = ""

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
        """Call there; ours; default learning rate; ε and its place; where `lr` enters or the sum starts; weight decay."""
        lr = "" if self.lr is None else f"{self.lr:g}"
        if self.ours is None:
            return f"`{self.call}`", "none", lr, "", self.note, ""
        at = {f.name: f.default for f in fields(self.ours)} | dict(self.settings)
        place, eps = "", at.get("eps")
        if eps is not None:
            before = ", uncorrected" if at.get("eps_hat") or isinstance(eps, BeforeCorrection) else ""
            place = f"{getattr(eps, 'eps', eps):g}, {'inside' if at.get('eps_inside_root') else 'after'} the root{before}"
        states = {"lr_inside": f"α {'inside' if at.get('lr_inside') else 'outside'} the velocity",
                  "corrected_max": "largest of the corrected averages" if at.get("corrected_max") else "corrects the largest average",
              "initial_accumulator": f"sum starts at {at.get('initial_accumulator', 0):g}", "decay": f"keeps {at.get('decay', 0):g}"}
        state = next((text for name, text in states.items() if name in at), "")
        decay = f"coupled, {self.l2:g}" if self.l2 else f"decoupled, {at['weight_decay']:g}" if "weight_decay" in at else ""
        shown = ", ".join(f"{k}={v!r}" for k, v in self.settings.items())
        return f"`{self.call}`", f"`{self.ours.__name__}({shown})`", lr, place, state, decay


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


class Table(NamedTuple):
    """Rows of a framework as a Markdown table, for the last line of a page's cell."""

    rows: Sequence[Row]

    def _repr_markdown_(self) -> str:
        head = (f"{(name := self.rows[0].framework)} ({VERSIONS[name]})", "here", "default α", "ε", "state", "weight decay")
        lines = [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *(row.cells() for row in self.rows))]
        return "\n".join(lines)
