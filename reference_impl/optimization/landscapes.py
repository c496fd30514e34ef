"""Loss functions to look at: small, exact, each with its gradient and its Hessian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import beside, floats, on_host
from ..arrays.checks import GENERATOR, SIZE, Count, Function, Instance, Numbers, Real, check, checked

Parts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Landscape:
    """A loss on vectors w of `n` numbers: call it for the loss, `grad(w)` (…, n), `hess(w)` (…, n, n).

    All three take arrays of shape (…, n), so a whole grid of points is one call; CuPy's give CuPy's. `minima` (k, n)
    holds the minima known in closed form, none where the loss falls without end. `fun(w)` is the loss too, in the dtype of w, and of symbols it is
    the formula. Raises TypeError or ValueError when w is of another kind or shape.

    >>> f = saddle()
    >>> w = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> print(f(w))
    [ 0.5 -2. ]
    >>> print(f.grad(w))
    [[ 1. -0.]
     [ 0. -2.]]
    """

    name: str
    n: int
    fun: Callable[[np.ndarray], Any]
    grad: Callable[[np.ndarray], np.ndarray]
    hess: Callable[[np.ndarray], np.ndarray]
    minima: np.ndarray

    def __post_init__(self) -> None:
        check("name", self.name, Instance(str, words="a string"))
        check("n", self.n, Count())
        check("minima", self.minima, Numbers(2, empty=True))
        if np.shape(self.minima)[1] != self.n:
            raise ValueError(f"minima must have shape (k, {self.n}), got {np.shape(self.minima)}")
        for name in ("fun", "grad", "hess"):
            check(name, getattr(self, name), Function("w"))
            object.__setattr__(self, name, _guarded(getattr(self, name), self.n))

    def __call__(self, w: ArrayLike) -> Any:
        check("w", w, Numbers(finite=False))
        return self.fun(beside(w, w).astype(float, copy=False))


def _guarded(function: Callable[[np.ndarray], Any], n: int) -> Callable[[np.ndarray], Any]:
    """The function, which refuses what is no array (…, n) of real numbers or of symbols."""
    def at(w: np.ndarray) -> Any:
        w = beside(w, w)
        if w.dtype.kind not in "fiuO":
            raise TypeError(f"w must be real numbers, got {w.dtype}")
        if w.shape[-1:] != (n,):
            raise ValueError(f"w must have shape (..., {n}), got {w.shape}")
        return function(w)

    return at


@checked(curvatures=Numbers(1), name=Instance(str, words="a string"))
def quadratic(curvatures: ArrayLike, name: str = "quadratic") -> Landscape:
    """½ Σ λᵢ wᵢ²: a quadratic in its own eigenbasis, with the given curvatures λ.

    Raises ValueError when `curvatures` is not a non-empty vector of finite numbers.

    >>> float(quadratic([1.0, 4.0])([2.0, 1.0]))
    4.0
    """
    scale = floats(curvatures)

    def hess(w: np.ndarray) -> np.ndarray:
        return np.broadcast_to(np.diag(beside(scale, w)), (*w.shape, scale.size))

    bounded = (scale > 0).all()
    return Landscape(name, scale.size, lambda w: w**2 @ beside(scale, w) / 2, lambda w: w * beside(scale, w), hess,
                     np.zeros((int(bounded), scale.size)))


@checked(n=Count())
def bowl(n: int = 2) -> Landscape:
    """½‖w‖²: the round bowl, every curvature 1.

    >>> bowl().grad(np.array([3.0, 4.0])).tolist()
    [3.0, 4.0]
    """
    return quadratic(np.ones(n), "bowl")


@checked(condition=Real(1))
def taco_shell(condition: float = 100.0) -> Landscape:
    """½(w₁² + κ w₂²): a long valley with steep walls, condition number `condition` = κ ≥ 1.

    Raises ValueError when κ < 1.

    >>> float(np.linalg.cond(taco_shell(50.0).hess(np.zeros(2))))
    50.0
    """
    return quadratic([1.0, condition], "taco shell")


def saddle() -> Landscape:
    """½(w₁² - w₂²): up along the first axis, down along the second, flat at the origin.

    >>> saddle().grad(np.zeros(2)).tolist()
    [0.0, -0.0]
    """
    return quadratic([1.0, -1.0], "saddle")


@checked(tilt=Real())
def double_well(tilt: float = 0.0) -> Landscape:
    """¼(w² - 1)² + tilt·w, in one dimension: two valleys near w = ±1 and a bump between them.

    There are two valleys while |tilt| < 2/(3√3); beyond that one is left. Raises ValueError when
    `tilt` is not finite.

    >>> float(double_well()([0.0]))
    0.25
    >>> double_well().minima.ravel().round(6).tolist()
    [-1.0, 1.0]
    """
    roots = np.roots([1.0, 0.0, -1.0, tilt])
    flat = np.sort(roots.real[np.abs(roots.imag) < 1e-9])
    return Landscape("double well", 1, lambda w: ((w**2 - 1) ** 2 / 4 + tilt * w).sum(-1),
                     lambda w: w * (w**2 - 1) + tilt, lambda w: (3 * w**2 - 1)[..., None],
                     flat[3 * flat**2 > 1][:, None])


@checked(n=Count(2))
def rosenbrock(n: int = 2) -> Landscape:
    """Σ 100(wᵢ₊₁ - wᵢ²)² + (1 - wᵢ)²: a curved valley whose floor hardly falls.

    Source: Rosenbrock 1960; SciPy's `scipy.optimize.rosen` for n > 2. Raises ValueError when n < 2.

    >>> float(rosenbrock()([1.0, 1.0]))
    0.0
    """
    def fun(w: np.ndarray) -> Any:
        here, after = w[..., :-1], w[..., 1:]
        return (100 * (after - here**2) ** 2 + (1 - here) ** 2).sum(-1)

    def grad(w: np.ndarray) -> np.ndarray:
        here, after = w[..., :-1], w[..., 1:]
        g = np.zeros(w.shape, like=w)
        g[..., :-1] = -400 * here * (after - here**2) - 2 * (1 - here)
        g[..., 1:] += 200 * (after - here**2)
        return g

    def hess(w: np.ndarray) -> np.ndarray:
        here, after = w[..., :-1], w[..., 1:]
        h, i = np.zeros((*w.shape, n), like=w), np.arange(n - 1)
        h[..., i, i] = 1200 * here**2 - 400 * after + 2
        h[..., i + 1, i + 1] += 200
        h[..., i, i + 1] = h[..., i + 1, i] = -400 * here
        return h

    return Landscape("Rosenbrock", n, fun, grad, hess, np.ones((1, n)))


def beale() -> Landscape:
    """Σᵢ (cᵢ - w₁(1 - w₂ⁱ))² with c = 1.5, 2.25, 2.625: a plateau with steep corners, and one minimum at (3, ½).

    Source: Beale 1958; Moré, Garbow & Hillstrom 1981, problem 5.

    >>> float(beale()([3.0, 0.5]))
    0.0
    """
    def parts(x: np.ndarray, y: np.ndarray) -> Parts:
        i, c = beside([1, 2, 3], x), beside([1.5, 2.25, 2.625], x)
        return c - x * (1 - y**i), y**i - 1, i * x * y ** (i - 1), 0 * x, i * y ** (i - 1), i * (i - 1) * x * y ** np.maximum(i - 2, 0)

    return _squares("Beale", parts, [[3.0, 0.5]])


def himmelblau() -> Landscape:
    """(w₁² + w₂ - 11)² + (w₁ + w₂² - 7)²: four minima of equal depth, at the roots of a quartic.

    Source: Himmelblau 1972.

    >>> himmelblau().minima.round(6).tolist()
    [[3.0, 2.0], [-2.805118, 3.131313], [-3.77931, -3.283186], [3.584428, -1.848127]]
    """
    def parts(x: np.ndarray, y: np.ndarray) -> Parts:
        def stack(a: np.ndarray | int, b: np.ndarray | int) -> np.ndarray:
            return np.concatenate([a + 0 * x, b + 0 * x], axis=-1)

        return (stack(x**2 + y - 11, x + y**2 - 7), stack(2 * x, 1), stack(1, 2 * y), beside([2.0, 0.0], x), 0 * x,
                beside([0.0, 2.0], x))

    return _squares("Himmelblau", parts, [[3.0, 2.0], [-2.805118086952745, 3.131312518250573], [-3.779310253377747, -3.2831859912861696],
                    [3.5844283403304917, -1.8481265269644036]])


def booth() -> Landscape:
    """(w₁ + 2w₂ - 7)² + (2w₁ + w₂ - 5)²: a quadratic whose axes are not the coordinates', with its minimum at (1, 3).

    >>> float(booth()([1.0, 3.0]))
    0.0
    """
    def parts(x: np.ndarray, y: np.ndarray) -> Parts:
        a, b, c = beside([[1.0, 2.0], [2.0, 1.0], [7.0, 5.0]], x)
        return a * x + b * y - c, a, b, 0 * x, 0 * x, 0 * x

    return _squares("Booth", parts, [[1.0, 3.0]])


def _squares(name: str, parts: Callable[[np.ndarray, np.ndarray], Parts], minima: ArrayLike) -> Landscape:
    """Σ rᵢ² in two dimensions, where `parts(x, y)` gives r, ∂r/∂x, ∂r/∂y, ∂²r/∂x², ∂²r/∂x∂y, ∂²r/∂y²."""
    def at(w: np.ndarray) -> Parts:
        return parts(w[..., :1], w[..., 1:])

    def grad(w: np.ndarray) -> np.ndarray:
        r, r_x, r_y, *_ = at(w)
        return 2 * np.stack([(r * r_x).sum(-1), (r * r_y).sum(-1)], axis=-1)

    def hess(w: np.ndarray) -> np.ndarray:
        r, r_x, r_y, r_xx, r_xy, r_yy = at(w)
        xx, xy, yy = (2 * total.sum(-1) for total in (r_x**2 + r * r_xx, r_x * r_y + r * r_xy, r_y**2 + r * r_yy))
        return np.stack([xx, xy, xy, yy], axis=-1).reshape(*w.shape, 2)

    return Landscape(name, 2, lambda w: (at(w)[0] ** 2).sum(-1), grad, hess, np.array(minima))


@checked(inputs=Numbers(2), labels=Numbers(1), penalty=SIZE)
def logistic_regression(inputs: ArrayLike, labels: ArrayLike, penalty: float = 0.0) -> Landscape:
    """The mean cross-entropy of a linear classifier, plus ½ `penalty` ‖w‖²: convex, and real where its data are.

    `inputs` (N, d) are finite numbers, on a GPU if w is, `labels` (N,) integers 0 … k-1; w holds a weight for each of the d inputs and k classes, n = d·k.
    Raises ValueError for other shapes and labels, and where `penalty` < 0. Source: Bishop 2006, section 4.3.4.

    >>> loss = logistic_regression([[1.0], [-1.0]], [0, 1])
    >>> round(float(loss([0.0, 0.0])), 6), loss.grad(np.zeros(2)).tolist()
    (0.693147, [-0.5, 0.5])
    """
    x, y = floats(inputs), np.array(on_host(labels))
    if y.shape != x.shape[:1] or y.dtype.kind not in "iu" or y.min() < 0:
        raise ValueError(f"labels must be {len(x)} whole numbers, 0 or more, got {labels!r}")
    target = beside(np.eye(int(y.max()) + 1)[y], x)
    shape = x.shape[1], target.shape[1]

    def scores(w: np.ndarray) -> np.ndarray:
        z: np.ndarray = x @ w.reshape(*w.shape[:-1], *shape)
        z -= z.max(axis=-1, keepdims=True)
        return z

    def chances(w: np.ndarray) -> np.ndarray:
        e: np.ndarray = np.exp(scores(w))
        e /= e.sum(axis=-1, keepdims=True)
        return e

    def fun(w: np.ndarray) -> Any:
        z = scores(w)
        return (np.log(np.exp(z).sum(axis=-1)) - (z * target).sum(axis=-1)).mean(axis=-1) + penalty / 2 * (w**2).sum(axis=-1)

    def grad(w: np.ndarray) -> np.ndarray:
        slopes: np.ndarray = x.T @ (chances(w) - target) / len(x)
        return slopes.reshape(w.shape) + penalty * w

    def hess(w: np.ndarray) -> np.ndarray:
        p = chances(w)
        middle = p[..., None] * beside(np.eye(shape[1]), w) - p[..., None] * p[..., None, :]
        h: np.ndarray = np.einsum("ia,ib,...ikl->...akbl", x, x, middle, optimize=True) / len(x)
        h = h.reshape(*w.shape, w.shape[-1])
        h += h.swapaxes(-1, -2).copy()
        h /= 2
        h += penalty * beside(np.eye(w.shape[-1]), w)
        return h

    return Landscape("logistic regression", shape[0] * shape[1], fun, grad, hess, np.empty((0, shape[0] * shape[1])))


@checked(landscape=Instance(Landscape), sigma=SIZE, rng=GENERATOR)
def noisy(landscape: Landscape, sigma: float, rng: np.random.Generator) -> Landscape:
    """`landscape` whose every call of `grad` adds fresh normal noise of standard deviation `sigma`.

    Loss and Hessian stay exact: they show where the steps really are. Raises ValueError when
    `sigma` is negative or not finite.

    >>> f = noisy(bowl(), 0.1, np.random.default_rng(0))
    >>> bool((f.grad(np.zeros(2)) == f.grad(np.zeros(2))).any())
    False
    """
    return Landscape(f"noisy {landscape.name}", landscape.n, landscape.fun,
                     lambda w: landscape.grad(w) + beside(sigma * rng.standard_normal(np.shape(w)), w),
                     landscape.hess, landscape.minima)
