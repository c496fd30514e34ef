"""Muon: against a plain implementation, against the singular value decomposition, and as a rule that shares what all share."""

import math

import numpy as np
import pytest

from reference_impl import Groups, Muon, flatten
from reference_impl.engines.tape import is_elementwise, trace
from reference_impl.optimization.clipping import clip_norm, clip_value
from reference_impl.optimization.muon import muon, orthogonalize

SHAPES = [(3, 3), (2, 5), (5, 2), (1, 4), (4, 1), (1, 1), (20, 30)]


def newton_schulz(g):
    """As published, in float64: Jordan et al. 2024, section "Definition"."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g / np.linalg.norm(g)
    if g.shape[0] > g.shape[1]:
        x = x.T
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if g.shape[0] > g.shape[1] else x


def polynomial(sigma):
    for _ in range(5):
        sigma = 3.4445 * sigma - 4.7750 * sigma**3 + 2.0315 * sigma**5
    return sigma


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES)
def test_orthogonalizing_maps_each_singular_value_by_the_polynomial(shape, seed):
    g = np.random.default_rng(seed).normal(size=shape)
    u, s, vt = np.linalg.svd(g, full_matrices=False)
    np.testing.assert_allclose(orthogonalize(g), (u * polynomial(s / np.linalg.norm(s))) @ vt, atol=1e-10)
    np.testing.assert_allclose(orthogonalize(g), newton_schulz(g), atol=1e-12)


def test_the_singular_values_lie_where_the_docstring_says():
    sigma = np.geomspace(0.002, 1, 200_001)
    low, high = polynomial(sigma).min(), polynomial(sigma).max()
    assert (round(low, 2), math.ceil(100 * high) / 100) == (0.68, 1.21)
    for seed in range(20):
        s = np.linalg.svd(orthogonalize(np.random.default_rng(seed).normal(size=(8, 12))), compute_uv=False)
        assert s.min() >= low and s.max() <= high


@pytest.mark.parametrize(("dtype", "scale"), [("f4", 1e-40), ("f4", 1e30), ("f4", 1.0), ("f8", 1e-300), ("f8", 1e200)])
def test_the_size_of_a_matrix_does_not_matter(dtype, scale):
    g = np.random.default_rng(0).normal(size=(3, 4))
    np.testing.assert_allclose(orthogonalize((scale * g).astype(dtype)), orthogonalize(g), atol=1e-3 if scale == 1e-40 else 1e-5)


@pytest.mark.parametrize("g", [np.zeros((2, 3)), np.zeros((0, 3)), np.zeros((3, 0))], ids=lambda g: str(g.shape))
def test_a_matrix_without_a_direction_stays_as_it_is(g):
    assert orthogonalize(g).shape == g.shape and not orthogonalize(g).any()
    w = {"w": np.ones_like(g)}
    Muon().update(w, {"w": g})
    assert (w["w"] == 1).all()


@pytest.mark.parametrize("outputs_first", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_steps_are_the_papers(shape, nesterov, outputs_first):
    rng = np.random.default_rng(0)
    optimizer = Muon(lr=lambda step: 0.1 / (1 + step), rho=0.9, weight_decay=0.25, nesterov=nesterov, outputs_first=outputs_first)
    w, v = rng.normal(size=shape), np.zeros(shape)
    params = {"w": w.copy(), "other": np.ones((2, 2))}
    outputs, inputs = shape if outputs_first else shape[::-1]
    for step in range(4):
        g, lr = rng.normal(size=shape), 0.1 / (1 + step)
        optimizer.update(params, {"w": g, "other": np.ones((2, 2))})
        v = 0.9 * v + g
        w = w - lr * 0.25 * w - lr * max(1, outputs / inputs) ** 0.5 * newton_schulz(0.9 * v + g if nesterov else v)
        np.testing.assert_allclose(params["w"], w, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(optimizer.state["v"]["w"], v)


def test_pytorch_takes_the_same_steps():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    for shape in ((6, 4), (4, 6)):
        w = {"w": rng.normal(size=shape).astype("f4")}
        theirs = torch.nn.Parameter(torch.tensor(w["w"]))
        peer = torch.optim.Muon([theirs], lr=0.1, weight_decay=0.1, momentum=0.95)
        ours = Muon(lr=0.1, weight_decay=0.1, outputs_first=True)
        for _ in range(5):
            g = rng.normal(size=shape).astype("f4")
            theirs.grad = torch.tensor(g)
            peer.step()
            ours.update(w, {"w": g})
        np.testing.assert_allclose(w["w"], theirs.detach().numpy(), atol=0.03)  # they orthogonalize in bfloat16


@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (3, 3, 2, 4)])
def test_what_is_no_matrix_is_refused(shape):
    optimizer, w = Muon(), np.ones(shape)
    with pytest.raises(ValueError, match=r"params\['w'\] must be a matrix for Muon, got the shape .*: give it to another rule, by Groups"):
        optimizer.update({"w": w}, {"w": np.ones(shape)})
    assert optimizer.steps == 0 and not optimizer.state and (w == 1).all()


def test_a_kernel_can_be_given_as_a_matrix():
    kernel = np.zeros((3, 3, 2, 8))
    Muon().update({"w": kernel.reshape(-1, 8)}, {"w": np.random.default_rng(0).normal(size=(18, 8))})
    assert kernel.any()


@pytest.mark.parametrize("form", [dict, flatten], ids=["dict", "flat"])
def test_each_matrix_is_made_orthogonal_by_itself(form):
    rng = np.random.default_rng(0)
    grads = {"a": rng.normal(size=(2, 3)), "b": rng.normal(size=(3, 2)), "c": np.asfortranarray(rng.normal(size=(3, 3)))}
    params = form({key: np.zeros_like(g) for key, g in grads.items()})
    Muon(lr=1.0).update(params, grads)
    for key, g in grads.items():
        widening = math.sqrt(max(1, g.shape[1] / g.shape[0]))
        np.testing.assert_allclose(params[key], -widening * newton_schulz(g), atol=1e-12)


def test_float16_is_computed_in_float32():
    g = np.random.default_rng(0).normal(size=(3, 4)).astype("f2")
    half, single = {"w": np.zeros((3, 4), "f2")}, {"w": np.zeros((3, 4), "f4")}
    optimizer = Muon()
    optimizer.update(half, {"w": g})
    Muon().update(single, {"w": g.astype("f4")})
    np.testing.assert_array_equal(half["w"], single["w"].astype("f2"))
    assert optimizer.state["v"]["w"].dtype == np.float32


def test_other_libraries_compute_it_too():
    xp = pytest.importorskip("array_api_strict")
    g = np.random.default_rng(0).normal(size=(3, 2))
    ours, theirs = {"w": np.ones((3, 2))}, {"w": xp.ones((3, 2))}
    for _ in range(2):
        Muon(clip_norm=1.0, clip_value=0.5).update(ours, {"w": g})
    other = Muon(clip_norm=1.0, clip_value=0.5)
    for _ in range(2):
        other.update(theirs, {"w": xp.asarray(g)})
    np.testing.assert_allclose([[float(theirs["w"][i, j]) for j in range(2)] for i in range(3)], ours["w"], rtol=1e-12)


def test_it_is_clipped_as_every_rule():
    grads = {"w": np.random.default_rng(0).normal(size=(3, 4))}
    one, other = {"w": np.zeros((3, 4))}, {"w": np.zeros((3, 4))}
    Muon(clip_norm=2.0, clip_value=0.5).update(one, grads)
    Muon().update(other, clip_value(clip_norm(grads, 2.0), 0.5))
    np.testing.assert_allclose(one["w"], other["w"], rtol=1e-12)


def test_no_reading_pretends_to_fit():
    assert not is_elementwise(muon)
    with pytest.raises(TypeError, match="muon"):
        trace(muon)


def test_it_stands_beside_another_rule():
    optimizer = Groups({"W": Muon(), "*": Muon()})
    optimizer.update({"W": np.eye(2), "V": np.eye(3)}, {"W": np.eye(2), "V": np.eye(3)})
    assert sorted(optimizer.state["v"]) == ["V", "W"]
