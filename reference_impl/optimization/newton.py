"""Newton's method: go to the bottom of the parabola that touches the loss, and see to it that it has one.

Derived in the chapter on [Newton's method][newtons-method].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..arrays import beside, floats, linalg_errors
from ..arrays.checks import SIZE, Count, Function, Numbers, OneOf, Optional, Real, checked
from .line_search import GRADIENT, ROUNDING, SINGLE, Gradient, Loss, LossAndGradient, Objective, Result, cause, length, returned, scaled
from .second_order import OPTIONS, REACH, Doubts, Point, Stop, Verdict, anywhere, by_slope, check_step, descend, judged, searched

SHRINK, GROW = 0.25, 0.75  # a trust region whose parabola foretold the fall of the loss worse, or better, than this
TINY = 1e-100  # the least radius: of shorter steps the squares vanish
LEAST = 1e-4  # of the foretold fall: a step that brings no more is not taken


@checked(g=Numbers(), h=Numbers())
def newton_step(g: np.ndarray, h: np.ndarray) -> np.ndarray:
    """The pure step p with H p = -g: it leads to where the parabola that touches the loss has no slope.

    `g` (…, n) is the gradient, `h` (…, n, n) the Hessian. Raises LinAlgError where the Hessian is singular.
    ValueError for shapes that do not fit.
    Source: Nocedal & Wright 2006, eq. (3.30).

    >>> print(newton_step(np.array([2.0, 6.0]), np.diag([1.0, 2.0])))
    [-2. -3.]
    """
    g, h = floats(g), floats(h)
    if not g.ndim or h.shape != (*g.shape, g.shape[-1]):
        raise ValueError(f"h must have shape (..., n, n) for g of shape (..., n), got {h.shape} for {g.shape}")
    return _solved(g, h)


def _solved(g: np.ndarray, h: np.ndarray) -> np.ndarray:
    with linalg_errors(h):
        step: np.ndarray = np.linalg.solve(h, -beside(g, h)[..., None])[..., 0]
    return step


@checked(h=Numbers(2))
def positive_shift(h: np.ndarray) -> float:
    """A μ ≥ 0 for which H + μI is positive definite beyond rounding: 0 if H is, else found by trying Cholesky factorisations.

    `h` (n, n) is symmetric and finite. The first μ is a thousandth of the largest |element| more than the diagonal demands; it doubles until the
    factorisation succeeds with no pivot that is rounding alone. A pivot is what is left of a diagonal element, so it is held
    against that element: whether μ is 0 does not depend on the units of the weights. For two weights with condition number κ,
    turned by the angle θ from the axes, μ is 0 up to about κ = 1 / (2.2e-16 sin² 2θ); along an axis for any κ. A μ that is
    not 0 is at least a thousandth of the largest |element|. Raises LinAlgError if no finite μ will do, ValueError if H is not symmetric.
    Source: Nocedal & Wright 2006, algorithm 3.3, with β relative to the size of H.

    >>> positive_shift(np.diag([1.0, 1e16]))
    0.0
    >>> 3.0 < positive_shift(np.diag([1.0, -3.0])) < 4.0
    True
    """
    return _shift(_symmetric(h, "h must be"))


def _shift(h: np.ndarray) -> float:
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


@checked(g=Numbers(1), h=Numbers(2), radius=Real(TINY, infinite=True))
def trust_region_step(g: np.ndarray, h: np.ndarray, radius: float) -> tuple[np.ndarray, float]:
    """The step p, no longer than `radius`, that minimises g·p + ½ p·Hp, and the μ ≥ 0 with (H + μI) p = -g.

    `g` (n,) is the gradient, `h` (n, n) a symmetric Hessian of any sign. Either μ is 0 and p is Newton's step, or ‖p‖ is the
    radius. The eigenvalues of H are computed, so that the hard case is met too: where the slope has no part along the most
    negative curvature, p goes that way all the same. Raises ValueError unless `radius` ≥ 1e-100 and H is symmetric and fits g, and where
    `radius` is infinite and the parabola has no lowest point.
    Source: Moré & Sorensen 1983, lemmas 2.1 and 2.3, section 3; Nocedal & Wright 2006, theorem 4.1 and section 4.3.

    >>> p, mu = trust_region_step(np.array([2.0, 0.0]), np.diag([2.0, -1.0]), 2.0)
    >>> print(abs(p).round(6), mu)
    [0.666667 1.885618] 1.0
    >>> p, mu = trust_region_step(np.array([2.0, 6.0]), np.diag([1.0, 2.0]), 9.0)
    >>> print(p, mu)
    [-2. -3.] 0.0
    """
    g, h = floats(g), _symmetric(h, "h must be")
    if len(g) != len(h):
        raise ValueError(f"h must have shape {2 * g.shape} for g of shape {g.shape}, got {h.shape}")
    (g, slope), (h, curvature) = scaled(g), scaled(h)
    values, vectors = np.linalg.eigh(h)
    c = vectors.T @ beside(g, h)
    c[np.abs(c) <= len(c) * ROUNDING * np.linalg.norm(c)] = 0  # what is rounding alone decides nothing
    values[np.abs(values) <= len(c) * ROUNDING * np.abs(values).max()] = 0
    lowest, unit = float(values[0]), slope / curvature
    gaps = values - lowest

    def part(t: float) -> np.ndarray:  # with μ = t - lowest, so that no digit is lost near the hard case
        steps: np.ndarray = -c / np.where(c == 0, 1, gaps + t)
        return steps

    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        p, t = part(lowest), lowest
        size = float(np.linalg.norm(p))
        most = float(np.divide(radius, unit))
        if lowest >= 0 and np.isfinite(size) and size <= most:
            return vectors @ p * unit, 0.0
        if radius == np.inf:
            raise ValueError("radius must be finite where g·p + ½ p·Hp has no lowest point, got inf")
        if most > 1 / TINY:  # the radius is measured in itself
            c, unit, most = c / most, radius, 1.0
        elif most < TINY:  # so short a step feels no curvature
            steepness = float(np.linalg.norm(g))
            return -g / steepness * radius, steepness * slope / radius
        low, high = max(0.0, lowest), max(0.0, lowest, length(c) / most)  # at the high end ‖p‖ is at most the radius
        t = high
        for _ in range(200):
            p = part(t)
            size = float(np.linalg.norm(p))
            low, high = (t, high) if size > most else (low, t)
            if abs(size - most) <= 4 * ROUNDING * most or high - low <= ROUNDING * high:
                break
            if steep := float((p**2 / (gaps + t)).sum()):
                t += (size / most - 1) * size**2 / steep  # Newton's step for 1/‖p‖ = 1/radius, nearly a straight line in μ
            if not low < t < high:
                t = (low + high) / 2
    if lowest <= 0 and size < most * (1 - 1e-9):  # the hard case
        p[0] = np.copysign(max(most**2 - float(np.linalg.norm(p[1:])) ** 2, 0.0) ** 0.5, p[0] + 0.0)
    return vectors @ p * unit, (t - lowest) * curvature


class Solution(NamedTuple):
    """What conjugate gradients found: `x`, the `residuals` ‖b - Ax‖ from the start on, and the direction of
    curvature ≤ 0 at which it stopped, None if it met none."""

    x: np.ndarray
    residuals: list[float]
    flat: np.ndarray | None


@checked(product=Function("a vector"), b=Numbers(1), tol=SIZE, maxiter=Optional(Count(0)))
def conjugate_gradient(product: Callable[[np.ndarray], ArrayLike], b: np.ndarray, *, tol: float = 1e-10,
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
    r, unit = scaled(floats(b))
    x, d = np.zeros_like(r), r.copy()
    squared = float(r @ r)
    residuals = [squared**0.5]
    for _ in range(len(r) if maxiter is None else maxiter):
        if residuals[-1] <= tol * residuals[0]:
            break
        a_d = returned(product(d.copy()), "product", d.shape, d)
        curvature = float(d @ a_d)
        if not curvature > ROUNDING * length(d) * length(a_d):  # 0, but for rounding
            return Solution(x * unit, [unit * residual for residual in residuals], d * unit)
        x = x + squared / curvature * d
        r = r - squared / curvature * a_d
        before, squared = squared, float(r @ r)
        d = r + squared / before * d
        residuals.append(squared**0.5)
    return Solution(x * unit, [unit * residual for residual in residuals], None)


@checked(grad=Function("x"))
def hessp_from(grad: Gradient) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """The product H v from two gradients, (∇f(x + εv) - ∇f(x - εv)) / 2ε: no Hessian is ever formed.

    `grad(x)` is the gradient at `x` (n,). The result is a function of `x` and `v` (n,). Its error is about
    ε_machine^⅔ ≈ 4e-11 times the size of the gradient and of its second derivative along v, so that about ten digits are right
    where these are no larger than H v. Source: Nocedal & Wright 2006, chapter 8.

    >>> product = hessp_from(lambda x: x**3)
    >>> print(product(np.array([1.0, 2.0]), np.array([1.0, -1.0])).round(6))
    [  3. -12.]
    """
    def slopes(x: np.ndarray) -> np.ndarray:
        return returned(grad(x), "grad", x.shape, x)

    @checked(x=Numbers(1, finite=False), v=Numbers(1, finite=False))
    def product(x: np.ndarray, v: np.ndarray) -> np.ndarray:
        x, v = floats(x), floats(v)
        if x.shape != v.shape:
            raise ValueError(f"v must have the shape {x.shape} of x, got {v.shape}")
        if not (far := length(v)):
            return v
        eps = ROUNDING ** (1 / 3) * (1 + length(x)) / far
        h_v: np.ndarray = (slopes(x + eps * v) - slopes(x - eps * v)) / (2 * eps)
        return h_v

    return product


@checked(fun=Function("x"), grad=GRADIENT, hess=Function("x"), method=OneOf("shifted", "trust region", "line search", "pure"), **OPTIONS)
def newton(fun: Loss | LossAndGradient, x0: ArrayLike, grad: Gradient | Literal[True], hess: Callable[[np.ndarray], ArrayLike], *,
           method: Literal["shifted", "trust region", "line search", "pure"] = "shifted", gtol: float = 1e-6, maxiter: int = 1000, callback: Callable[[np.ndarray], object] | None = None) -> Result:
    """Minimise `fun` from `x0` with the Hessian; converged where every slope is at most `gtol` *and* it looks like a minimum.

    `fun(x)`, `grad(x)` (n,) and `hess(x)` (n, n) are the loss at `x` (n,) and its derivatives; `grad=True` says that `fun`
    returns loss and gradient. `method` is

    - `"shifted"`: H + μI with a μ that makes it positive definite, then backtracking. Every step leads down.
    - `"trust region"`: the lowest point of the parabola within a radius, which grows and shrinks with how well the last steps
      were foretold.
    - `"line search"`: the Newton direction with backtracking. Gives up where that direction does not lead down.
    - `"pure"`: the whole step, no questions asked, as the textbooks' first page has it.

    It looks like a minimum where no curvature is negative, the loss does not fall beside it along directions with less curvature than 1.5e-8
    of the largest, nor 32 times the next step ahead. A curvature is told to within 64n roundings of the largest, in the precision of the matrix
    that `hess` returns, or to within what that lacks of being symmetric. The message names the lowest, and says where it cannot be told from zero: there
    success is no proof. What lies below rounding of the loss is not seen either; and where `gtol` is so large that the next step is still long, a
    lower valley that far ahead makes it say that the loss still falls.

    `callback(x)` is called with a copy of each new point, and may raise StopIteration to end there. The result counts the Hessians as `nhev`;
    where it does not end at a minimum `success` is False and `message` says why. Raises TypeError or ValueError when an argument, or what a
    function returns, is of a wrong kind or shape, is complex, sparse or masked, or where the Hessian is not symmetric.
    Source: Nocedal & Wright 2006, algorithm 3.2 and section 3.4.

    >>> from reference_impl import rosenbrock
    >>> valley = rosenbrock()
    >>> result = newton(valley, [-1.2, 1.0], valley.grad, valley.hess)
    >>> print(result.x.round(6), result.success)
    [1. 1.] True
    >>> from reference_impl import saddle
    >>> newton(saddle(), [1.0, 1.0], saddle().grad, saddle().hess, method="pure").message
    'the gradient vanishes at a point that is no minimum: the lowest curvature is -1 ± 3e-14'
    """
    objective, start = Objective(fun, grad), floats(x0)
    nhev, radius, doubt = 0, 0.0, 0.0

    def hessian(x: np.ndarray) -> np.ndarray:
        nonlocal nhev, doubt
        nhev += 1
        given = hess(x.copy())
        h = returned(given, "hess", 2 * x.shape, x)
        if not np.isfinite(h).all():
            raise Stop("the Hessian is not finite")
        precision = SINGLE if getattr(given, "dtype", None) in (np.float32, np.float16) else ROUNDING
        doubt = max(64 * len(h) * precision * float(np.abs(h).max()), float(np.abs(h - h.T).max()))
        return _symmetric(h, "hess must return")

    def step(h: np.ndarray, g: np.ndarray, shifted: bool) -> np.ndarray:
        try:
            p = _solved(g, h + _shift(h) * beside(np.eye(len(h)), h) if shifted else h)
        except np.linalg.LinAlgError:
            raise Stop("the Hessian is singular: there is no Newton step") from None
        check_step(p)
        return p

    def pure(x: np.ndarray, loss: float, g: np.ndarray) -> Point:
        x = x + step(hessian(x), g, False)
        return x, objective.fun(x), objective.grad(x)

    def line_search(x: np.ndarray, loss: float, g: np.ndarray) -> Point:
        return searched(objective, x, step(hessian(x), g, method == "shifted"), loss, g)

    def trust_region(x: np.ndarray, loss: float, g: np.ndarray) -> Point:
        nonlocal radius
        h = hessian(x)
        radius = radius or min(length(step(h, g, True)), REACH * (1 + length(x)))
        most = 0.0
        for _ in range(60):
            p, mu = trust_region_step(g, h, max(radius, TINY))
            if not (x + p != x).any():
                break
            promise = max(0.0, -float(g @ p + p @ (h @ p) / 2))
            after = objective.fun(x + p)
            gain, most = (loss - after) / promise if promise > 0 else 0.0, max(most, promise)
            if not gain >= SHRINK:
                radius = SHRINK * length(p)
            elif gain > GROW and mu:
                radius *= 2
            if gain > LEAST:
                return x + p, after, objective.grad(x + p)
            if (near := by_slope(objective, x, p, loss, g, promise)) is not None:
                return near
        raise Stop(f"no step within the trust region lowers the loss enough{cause(objective, x, -g, g, loss, most)}")

    def verdict(x: np.ndarray, loss: float, g: np.ndarray) -> Verdict:
        h = hessian(x)
        values, vectors = np.linalg.eigh(h)
        lowest = float(values[0])
        seen = "is positive" if lowest > doubt else "cannot be told from zero: along it only the loss nearby was looked at"
        flat = vectors.T[values <= ROUNDING**0.5 * float(np.abs(values).max())]
        if (x == start).any():  # a weight that never moved: its slope may be forgotten
            flat = np.concatenate([flat, anywhere(x)[None]])
        return judged(objective, x, loss, g, Doubts(lowest, doubt, flat, step(h, g, True), f"the lowest curvature, {lowest:.3g} ± {doubt:.1g}, {seen}"))

    advance = {"pure": pure, "trust region": trust_region}.get(method, line_search)
    return descend(objective, x0, advance, verdict, nhev=lambda: nhev, gtol=gtol, maxiter=maxiter, callback=callback)


@checked(fun=Function("x"), grad=GRADIENT, hessp=Function("x and v"), **OPTIONS)
def newton_cg(fun: Loss | LossAndGradient, x0: ArrayLike, grad: Gradient | Literal[True],
              hessp: Callable[[np.ndarray, np.ndarray], ArrayLike], *, gtol: float = 1e-6, maxiter: int = 1000,
              callback: Callable[[np.ndarray], object] | None = None) -> Result:
    """Minimise `fun` from `x0` with Hessian-vector products alone: memory for a few vectors, not for a matrix.

    `hessp(x, v)` is H v at `x`, both (n,); [`hessp_from`][reference_impl.optimization.newton.hessp_from] makes one from
    `grad`. Each step solves H p = -g by conjugate gradients, only as well as it is worth, and leaves at negative curvature
    with what it has. At the end conjugate gradients from a fixed vector look for negative curvature once more, told to within 1.5e-10 of the largest
    met, and 32 times the next step ahead the loss must not be lower: signs of a minimum, no proof of one, and the message says so. The result
    counts the products as `nhev`. Errors and `callback` are as [`newton`][reference_impl.optimization.newton.newton] has them.
    Source: Nocedal & Wright 2006, algorithm 7.1, with η = min(½, √‖g‖).

    >>> from reference_impl import rosenbrock
    >>> valley = rosenbrock(50)
    >>> result = newton_cg(valley, np.zeros(50), valley.grad, hessp_from(valley.grad))
    >>> float(abs(result.x - 1).max()) < 1e-5, result.success
    (True, True)
    """
    objective, start, products = Objective(fun, grad), floats(x0), 0

    def product_at(x: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        def product(v: np.ndarray) -> np.ndarray:
            nonlocal products
            products += 1
            h_v = returned(hessp(x.copy(), v.copy()), "hessp", x.shape, x)
            if not np.isfinite(h_v).all():
                raise Stop("a Hessian-vector product is not finite")
            return h_v

        return product

    def ahead_of(x: np.ndarray, g: np.ndarray) -> np.ndarray:
        product = product_at(x)
        p, residuals, flat = conjugate_gradient(product, -g, tol=min(0.5, length(g) ** 0.5))
        if flat is not None and len(residuals) == 1:  # at the first look: as far down the slope as the curvature's size says
            unit = scaled(g)[0]
            return -g * (float(unit @ unit) / (abs(float(unit @ product(unit))) or float(unit @ unit)))
        return p

    def verdict(x: np.ndarray, loss: float, g: np.ndarray) -> Verdict:
        product, ahead = product_at(x), ahead_of(x, g)
        d = anywhere(x)
        flat = conjugate_gradient(product, d).flat
        size = length(product(d))
        found = Doubts(size, 4 * ROUNDING ** (2 / 3) * size, np.empty((0, len(x)), like=x), ahead,
                       "conjugate gradients met no negative curvature: directions that they did not try were not looked at")
        if flat is not None:
            d = flat / length(flat)
            found = found._replace(lowest=float(d @ product(d)), flat=d[None])
        elif (x == start).any():  # a weight that never moved: its slope may be forgotten
            found = found._replace(flat=d[None])
        return judged(objective, x, loss, g, found)

    def advance(x: np.ndarray, loss: float, g: np.ndarray) -> Point:
        return searched(objective, x, ahead_of(x, g), loss, g)

    return descend(objective, x0, advance, verdict, nhev=lambda: products, gtol=gtol, maxiter=maxiter, callback=callback)


def _symmetric(h: np.ndarray, must: str) -> np.ndarray:
    """The mean of a matrix and its transpose, which are to differ by less than a millionth of the largest element."""
    h = floats(h)
    if h.shape[0] != h.shape[1]:
        raise ValueError(f"{must} a symmetric matrix, got one of shape {h.shape}")
    if (gap := np.abs(h - h.T).max()) > 1e-6 * np.abs(h).max():
        raise ValueError(f"{must} a symmetric matrix, got one that differs by {gap:.3g} from its transpose")
    mean: np.ndarray = h / 2 + h.T / 2
    return mean
