"""Newton's method: go to the bottom of the parabola that touches the loss, and see to it that it has one.

Derived in the chapter on [Newton's method][newtons-method].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..arrays import beside, linalg_errors
from .line_search import ROUNDING, Objective, Result
from .second_order import Doubts, Point, Stop, by_slope, descend, real, searched

Fun = Callable[[np.ndarray], Any]
Grad = Callable[[np.ndarray], Any]
Product = Callable[[np.ndarray, np.ndarray], Any]

SHRINK, GROW = 0.25, 0.75  # a trust region whose parabola foretold the fall of the loss worse, or better, than this
LEAST = 1e-4  # of the foretold fall: a step that brings no more is not taken


def newton_step(g: Any, h: Any) -> np.ndarray:
    """The pure step p with H p = -g: it leads to where the parabola that touches the loss has no slope.

    `g` (…, n) is the gradient, `h` (…, n, n) the Hessian. Raises LinAlgError where the Hessian is singular.
    Source: Nocedal & Wright 2006, eq. (3.30).

    >>> print(newton_step(np.array([2.0, 6.0]), np.diag([1.0, 2.0])))
    [-2. -3.]
    """
    with linalg_errors(h):
        step: np.ndarray = np.linalg.solve(h, -beside(g, h)[..., None])[..., 0]
    return step


def positive_shift(h: np.ndarray) -> float:
    """A μ ≥ 0 for which H + μI is positive definite beyond rounding: 0 if H is, else found by trying Cholesky factorisations.

    `h` (n, n) is symmetric and finite. The first μ is a thousandth of the largest |element| more than the diagonal demands; it doubles until the
    factorisation succeeds with no pivot that is rounding alone. A pivot is what is left of a diagonal element, so it is held
    against that element: whether μ is 0 does not depend on the units of the weights. For two weights with condition number κ,
    turned by the angle θ from the axes, μ is 0 up to about κ = 1 / (2.2e-16 sin² 2θ); along an axis for any κ. A μ that is
    not 0 is at least a thousandth of the largest |element|. Raises LinAlgError if no finite μ will do.
    Source: Nocedal & Wright 2006, algorithm 3.3, with β relative to the size of H.

    >>> positive_shift(np.diag([1.0, 1e16]))
    0.0
    >>> 3.0 < positive_shift(np.diag([1.0, -3.0])) < 4.0
    True
    """
    size = float(np.abs(h).max()) or 1.0
    beta = 1e-3 * size
    lowest = float(np.diagonal(h).min())
    mu = 0.0 if lowest > 0 else beta - lowest
    while np.isfinite(mu):
        try:
            with linalg_errors(h):
                factor = np.linalg.cholesky(h + mu * beside(np.eye(len(h)), h))
            if (np.diagonal(factor) ** 2 > 2 * len(h) * ROUNDING * (np.diagonal(h) + mu)).all():  # else singular, but for rounding
                return mu
        except np.linalg.LinAlgError:
            pass
        mu = max(2 * mu, beta)
    raise np.linalg.LinAlgError("no finite shift makes the matrix positive definite")


def trust_region_step(g: Any, h: Any, radius: float) -> tuple[np.ndarray, float]:
    """The step p, no longer than `radius`, that minimises g·p + ½ p·Hp, and the μ ≥ 0 with (H + μI) p = -g.

    `g` (n,) is the gradient, `h` (n, n) a symmetric Hessian of any sign. Either μ is 0 and p is Newton's step, or ‖p‖ is the
    radius. The eigenvalues of H are computed, so that the hard case is met too: where the slope has no part along the most
    negative curvature, p goes that way all the same. Raises ValueError unless `radius` > 0.
    Source: Moré & Sorensen 1983, lemmas 2.1 and 2.3, section 3; Nocedal & Wright 2006, theorem 4.1 and section 4.3.

    >>> p, mu = trust_region_step(np.array([2.0, 0.0]), np.diag([2.0, -1.0]), 2.0)
    >>> print(abs(p).round(6), mu)
    [0.666667 1.885618] 1.0
    >>> p, mu = trust_region_step(np.array([2.0, 6.0]), np.diag([1.0, 2.0]), 9.0)
    >>> print(p, mu)
    [-2. -3.] 0.0
    """
    if not radius > 0:
        raise ValueError(f"radius must be positive, got {radius!r}")
    values, vectors = np.linalg.eigh(h)
    c = vectors.T @ beside(g, h)
    c[np.abs(c) <= len(c) * ROUNDING * np.linalg.norm(c)] = 0  # what is rounding alone decides nothing
    values[np.abs(values) <= len(c) * ROUNDING * np.abs(values).max()] = 0
    lowest, steepness = float(values[0]), float(np.linalg.norm(c))
    gaps = values - lowest

    def part(t: float) -> np.ndarray:  # with μ = t - lowest, so that no digit is lost near the hard case
        steps: np.ndarray = -c / np.where(c == 0, 1, gaps + t)
        return steps

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        p, t = part(lowest), lowest
        if lowest >= 0 and float(np.linalg.norm(p)) <= radius:
            return vectors @ p, 0.0
        low, high = max(0.0, lowest), max(0.0, lowest, steepness / radius)  # at the high end ‖p‖ is at most the radius
        t = high
        for _ in range(200):
            p = part(t)
            length = float(np.linalg.norm(p))
            low, high = (t, high) if length > radius else (low, t)
            if abs(length - radius) <= 4 * ROUNDING * radius or high - low <= ROUNDING * high:
                break
            slope = float((p**2 / (gaps + t)).sum())
            t += (length / radius - 1) * length**2 / slope  # Newton's step for 1/‖p‖ = 1/radius, nearly a straight line in μ
            if not low < t < high:
                t = (low + high) / 2
    if lowest <= 0 and length < radius * (1 - 1e-9):  # the hard case
        p[0] = np.copysign(max(radius**2 - float(np.linalg.norm(p[1:])) ** 2, 0.0) ** 0.5, p[0] + 0.0)
    return vectors @ p, t - lowest


class Solution(NamedTuple):
    """What conjugate gradients found: `x`, the `residuals` ‖b - Ax‖ from the start on, and the direction of
    curvature ≤ 0 at which it stopped, None if it met none."""

    x: np.ndarray
    residuals: list[float]
    flat: np.ndarray | None


def conjugate_gradient(product: Callable[[np.ndarray], np.ndarray], b: np.ndarray, *, tol: float = 1e-10,
                       maxiter: int | None = None) -> Solution:
    """Solve A x = b from 0 with nothing but products A d, for a symmetric A.

    `product(d)` returns A d; `b` is (n,). Stops when ‖b - Ax‖ ≤ `tol`·‖b‖, after `maxiter` steps (n by default), or at a
    direction d with d·A d ≤ 0, of which a positive definite A has none.
    Source: Hestenes & Stiefel 1952; Nocedal & Wright 2006, algorithms 5.2 and 7.1.

    >>> A = np.array([[4.0, 1.0], [1.0, 3.0]])
    >>> x, residuals, flat = conjugate_gradient(lambda d: A @ d, np.array([1.0, 2.0]))
    >>> print(x.round(6), len(residuals) - 1)
    [0.090909 0.636364] 2
    """
    x, r, d = np.zeros_like(b), b.copy(), b.copy()
    squared = float(r @ r)
    residuals = [squared**0.5]
    for _ in range(len(b) if maxiter is None else maxiter):
        if residuals[-1] <= tol * residuals[0]:
            break
        a_d = product(d)
        curvature = float(d @ a_d)
        if not curvature > ROUNDING * float(np.linalg.norm(d) * np.linalg.norm(a_d)):  # 0, but for rounding
            return Solution(x, residuals, d)
        x = x + squared / curvature * d
        r = r - squared / curvature * a_d
        before, squared = squared, float(r @ r)
        d = r + squared / before * d
        residuals.append(squared**0.5)
    return Solution(x, residuals, None)


def hessp_from(grad: Grad) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The product H v from two gradients, (∇f(x + εv) - ∇f(x - εv)) / 2ε: no Hessian is ever formed.

    `grad(x)` is the gradient at `x` (n,). The result is a function of `x` and `v` (n,). Its error is about
    ε_machine^⅔ ≈ 4e-11 times the size of the gradient and of its second derivative along v, so that about ten digits are right
    where these are no larger than H v. Source: Nocedal & Wright 2006, chapter 8.

    >>> product = hessp_from(lambda x: x**3)
    >>> print(product(np.array([1.0, 2.0]), np.array([1.0, -1.0])).round(6))
    [  3. -12.]
    """
    def product(x: np.ndarray, v: np.ndarray) -> np.ndarray:
        length = float(np.linalg.norm(v))
        if not length:
            return np.zeros_like(v)
        eps = ROUNDING ** (1 / 3) * (1 + float(np.linalg.norm(x))) / length
        ahead = np.array(grad(x + eps * v), dtype=float, like=x)  # a copy: `grad` may use its array again
        slopes: np.ndarray = (ahead - grad(x - eps * v)) / (2 * eps)
        return slopes

    return product


def newton(fun: Fun, x0: Any, grad: Grad | bool, hess: Callable[[np.ndarray], Any], *, method: str = "shifted",
           gtol: float = 1e-6, maxiter: int = 1000, callback: Callable[[np.ndarray], object] | None = None) -> Result:
    """Minimise `fun` from `x0` with the Hessian; converged where every slope is at most `gtol` *and* it looks like a minimum.

    `fun(x)`, `grad(x)` (n,) and `hess(x)` (n, n) are the loss at `x` (n,) and its derivatives; `grad=True` says that `fun`
    returns loss and gradient. `method` is

    - `"shifted"`: H + μI with a μ that makes it positive definite, then backtracking. Every step leads down.
    - `"trust region"`: the lowest point of the parabola within a radius, which grows and shrinks with how well the last steps
      were foretold.
    - `"line search"`: the Newton direction with backtracking. Gives up where that direction does not lead down.
    - `"pure"`: the whole step, no questions asked, as the textbooks' first page has it.

    It looks like a minimum where no curvature is below -1.5e-8 of the largest, the loss does not fall beside it along
    directions with less curvature than 1.5e-8 of the largest, nor 32 times the next step ahead. That is no proof: what lies
    below these bounds, or below rounding of the loss, is not seen; and where `gtol` is so large that the next step is still
    long, a lower valley that far ahead makes it say that the loss still falls.

    `callback(x)` is called with a copy of each new point. The result counts the Hessians as `nhev`; where it does not end
    at a minimum `success` is False and `message` says why. Raises ValueError when an argument has a wrong shape, `x0` is
    not finite, the Hessian is not symmetric, `gtol` ≤ 0 or `maxiter` < 0.
    Source: Nocedal & Wright 2006, algorithm 3.2 and section 3.4.

    >>> from reference_impl import rosenbrock
    >>> valley = rosenbrock()
    >>> result = newton(valley, [-1.2, 1.0], valley.grad, valley.hess)
    >>> print(result.x.round(6), result.success)
    [1. 1.] True
    >>> from reference_impl import saddle
    >>> newton(saddle(), [1.0, 1.0], saddle().grad, saddle().hess, method="pure").message
    'the gradient vanishes at a point that is no minimum'
    """
    if method not in ("shifted", "trust region", "line search", "pure"):
        raise ValueError(f"method must be 'shifted', 'trust region', 'line search' or 'pure', got {method!r}")
    objective = Objective(fun, grad)
    nhev, radius = 0, 0.0

    def hessian(x: np.ndarray) -> np.ndarray:
        nonlocal nhev
        nhev += 1
        h = _real(hess(x.copy()), "hess", 2 * x.shape, x)
        if not np.isfinite(h).all():
            raise Stop("the Hessian is not finite")
        if (gap := np.abs(h - h.T).max()) > 1e-6 * np.abs(h).max():
            raise ValueError(f"hess must return a symmetric matrix, got one that differs by {gap:.3g} from its transpose")
        symmetric: np.ndarray = (h + h.T) / 2
        return symmetric

    def step(h: np.ndarray, g: np.ndarray, shifted: bool) -> np.ndarray:
        try:
            return newton_step(g, h + positive_shift(h) * beside(np.eye(len(h)), h) if shifted else h)
        except np.linalg.LinAlgError:
            raise Stop("the Hessian is singular: there is no Newton step") from None

    def pure(x: np.ndarray, loss: float, g: np.ndarray) -> Point:
        x = x + step(hessian(x), g, False)
        return x, objective.fun(x), objective.grad(x)

    def line_search(x: np.ndarray, loss: float, g: np.ndarray) -> Point:
        return searched(objective, x, step(hessian(x), g, method == "shifted"), loss, g)

    def trust_region(x: np.ndarray, loss: float, g: np.ndarray) -> Point:
        nonlocal radius
        h = hessian(x)
        radius = radius or float(np.linalg.norm(step(h, g, True)))
        for _ in range(60):
            p, mu = trust_region_step(g, h, radius)
            promise = -float(g @ p + p @ (h @ p) / 2)
            after = objective.fun(x + p)
            gain = (loss - after) / promise if promise > 0 else 0.0
            if not gain >= SHRINK:
                radius = SHRINK * float(np.linalg.norm(p))
            elif gain > GROW and mu:
                radius *= 2
            if gain > LEAST:
                return x + p, after, objective.grad(x + p)
            if (near := by_slope(objective, x, p, loss, g, promise)) is not None:
                return near
        raise Stop("no step within the trust region lowers the loss enough")

    def doubts(x: np.ndarray, g: np.ndarray) -> Doubts:
        h = hessian(x)
        values, vectors = np.linalg.eigh(h)
        largest = float(np.abs(values).max())
        return Doubts(float(values[0]), largest, vectors.T[values <= ROUNDING**0.5 * largest], step(h, g, True))

    advance = {"pure": pure, "trust region": trust_region}.get(method, line_search)
    return descend(objective, x0, advance, doubts, nhev=lambda: nhev, gtol=gtol, maxiter=maxiter, callback=callback)


def newton_cg(fun: Fun, x0: Any, grad: Grad | bool, hessp: Product, *, gtol: float = 1e-6, maxiter: int = 1000,
              callback: Callable[[np.ndarray], object] | None = None) -> Result:
    """Minimise `fun` from `x0` with Hessian-vector products alone: memory for a few vectors, not for a matrix.

    `hessp(x, v)` is H v at `x`, both (n,); [`hessp_from`][reference_impl.optimization.newton.hessp_from] makes one from
    `grad`. Each step solves H p = -g by conjugate gradients, only as well as it is worth, and leaves at negative curvature
    with what it has. At the end conjugate gradients from a fixed vector look for negative curvature once more, and 32 times
    the next step ahead the loss must not be lower: signs of a minimum, no proof of one. The result counts the products as `nhev`. Raises ValueError as [`newton`][reference_impl.optimization.newton.newton] does.
    Source: Nocedal & Wright 2006, algorithm 7.1, with η = min(½, √‖g‖).

    >>> from reference_impl import rosenbrock
    >>> valley = rosenbrock(50)
    >>> result = newton_cg(valley, np.zeros(50), valley.grad, hessp_from(valley.grad))
    >>> float(abs(result.x - 1).max()) < 1e-5, result.success
    (True, True)
    """
    objective, products = Objective(fun, grad), 0

    def product_at(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        def product(v: np.ndarray) -> np.ndarray:
            nonlocal products
            products += 1
            h_v = _real(hessp(x.copy(), v.copy()), "hessp", x.shape, x)
            if not np.isfinite(h_v).all():
                raise Stop("a Hessian-vector product is not finite")
            return h_v

        return product

    def ahead_of(x: np.ndarray, g: np.ndarray) -> np.ndarray:
        product = product_at(x)
        p, residuals, flat = conjugate_gradient(product, -g, tol=min(0.5, float(np.linalg.norm(g)) ** 0.5))
        if flat is not None and len(residuals) == 1:  # at the first look: as far down the slope as the curvature's size says
            return -g * (float(g @ g) / (abs(float(g @ product(g))) or float(g @ g)))
        return p

    def doubts(x: np.ndarray, g: np.ndarray) -> Doubts:
        product, ahead = product_at(x), ahead_of(x, g)
        anywhere = np.sin(np.arange(1.0, len(x) + 1, like=x) ** 2)  # at right angles to nothing in particular
        flat = conjugate_gradient(product, anywhere).flat
        size = float(np.linalg.norm(product(anywhere)) / np.linalg.norm(anywhere))
        if flat is None:
            return Doubts(size, size, np.empty((0, len(x)), like=x), ahead)
        d = flat / np.linalg.norm(flat)
        return Doubts(float(d @ product(d)), size, d[None], ahead)

    def advance(x: np.ndarray, loss: float, g: np.ndarray) -> Point:
        return searched(objective, x, ahead_of(x, g), loss, g)

    return descend(objective, x0, advance, doubts, nhev=lambda: products, gtol=gtol, maxiter=maxiter, callback=callback)


def _real(returned: Any, name: str, shape: tuple[int, ...], like: np.ndarray) -> np.ndarray:
    """What the user's function `name` returned, as a new array of floats of the expected shape on the side of `like`."""
    array = real(returned, f"what {name} returns", like)
    if array.shape != shape:
        raise ValueError(f"{name} must return shape {shape}, got {array.shape}")
    return array
