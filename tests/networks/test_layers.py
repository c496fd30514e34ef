"""Layers: every backward pass against finite differences, PyTorch and CS231n; what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

from reference_impl import (
    Affine,
    Conv2D,
    Flatten,
    Layer,
    MaxPool2D,
    ReLU,
    Sequential,
    Sigmoid,
    Tanh,
    mean_squared_error,
    softmax_cross_entropy,
)

CONFORMANCE = json.loads((Path(__file__).parents[1] / "conformance" / "cs231n_layers.json").read_text())


def rng():
    return np.random.default_rng(7)


def apart(*shape):
    """Numbers that keep their distance from one another and from 0: a small step crosses no kink."""
    count = int(np.prod(shape))
    return rng().permutation(np.linspace(-2, 2, count + count % 2))[:count].reshape(shape)


def slope(fun, array):
    """The gradient of `fun()` by `array`, which it reads, from five-point differences: exact to about 1e-11."""
    found, h = np.zeros_like(array), 1e-3
    for i in np.ndindex(array.shape):
        here, values = array[i], []
        for steps in (-2, -1, 1, 2):
            array[i] = here + steps * h
            values.append(fun())
        array[i] = here
        found[i] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
    return found


def near(got, expected, tolerance):
    """Whether they differ by no more than `tolerance` times the largest of them."""
    return got.shape == expected.shape and np.abs(got - expected).max() <= tolerance * np.abs(expected).max()


CASES = {
    "affine": (lambda dtype="f8": Affine(5, 3, rng=rng(), dtype=dtype), (4, 5)),
    "affine, no bias": (lambda dtype="f8": Affine(5, 3, rng=rng(), bias=False, dtype=dtype), (4, 5)),
    "affine, one of all": (lambda dtype="f8": Affine(1, 1, rng=rng(), dtype=dtype), (1, 1)),
    "conv": (lambda dtype="f8": Conv2D(2, 3, 3, rng=rng(), dtype=dtype), (2, 5, 4, 2)),
    "conv, no bias": (lambda dtype="f8": Conv2D(1, 2, 2, rng=rng(), bias=False, dtype=dtype), (2, 4, 4, 1)),
    "conv, pad": (lambda dtype="f8": Conv2D(2, 3, 3, pad=1, rng=rng(), dtype=dtype), (2, 4, 3, 2)),
    "conv, stride": (lambda dtype="f8": Conv2D(2, 2, 2, stride=2, rng=rng(), dtype=dtype), (2, 4, 6, 2)),
    "conv, stride and pad, a rest left over": (lambda dtype="f8": Conv2D(2, 2, 3, stride=2, pad=1, rng=rng(), dtype=dtype), (2, 6, 4, 2)),
    "conv, stride beyond its size": (lambda dtype="f8": Conv2D(1, 2, 1, stride=3, pad=2, rng=rng(), dtype=dtype), (2, 4, 5, 1)),
    "pool": (lambda dtype="f8": MaxPool2D(2), (2, 4, 6, 3)),
    "pool, a rest left over": (lambda dtype="f8": MaxPool2D(2), (2, 5, 3, 2)),
    "pool, overlapping": (lambda dtype="f8": MaxPool2D(3, stride=2), (2, 7, 5, 2)),
    "pool, overlapping by all but one": (lambda dtype="f8": MaxPool2D(3, stride=1), (2, 5, 4, 2)),
    "pool, gaps": (lambda dtype="f8": MaxPool2D(1, stride=2), (2, 3, 4, 2)),
    "flatten": (lambda dtype="f8": Flatten(), (3, 2, 4, 2)),
    "relu": (lambda dtype="f8": ReLU(), (4, 6)),
    "tanh": (lambda dtype="f8": Tanh(), (4, 6)),
    "sigmoid": (lambda dtype="f8": Sigmoid(), (4, 6)),
}


@pytest.mark.parametrize("name", CASES)
def test_the_backward_pass_is_the_derivative(name):
    make, shape = CASES[name]
    layer, x = make(), apart(*shape)
    for array in layer.params.values():
        array += rng().normal(size=array.shape)  # a bias that is not 0
    dout = rng().normal(size=layer.forward(x).shape)

    def weighted():
        return float((layer.forward(x) * dout).sum())

    layer.forward(x)
    dx = layer.backward(dout)
    assert near(dx, slope(weighted, x), 1e-9)
    assert layer.grads.keys() == layer.params.keys()
    for key, array in layer.params.items():
        assert near(layer.grads[key], slope(weighted, array), 1e-9)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_a_dtype_stays_as_it_is_and_nothing_given_changes(name, dtype):
    make, shape = CASES[name]
    layer, x = make(dtype), apart(*shape).astype(dtype)
    out = layer.forward(x)
    dout = np.ones_like(out)
    out_before = out.copy()
    dx = layer.backward(dout)
    assert out.dtype == dx.dtype == dtype and {a.dtype for a in (*layer.params.values(), *layer.grads.values())} <= {np.dtype(dtype)}
    np.testing.assert_array_equal(x, apart(*shape).astype(dtype))
    np.testing.assert_array_equal(dout, 1)
    np.testing.assert_array_equal(out, out_before)


@pytest.mark.parametrize("name", CASES)
def test_arrays_stay_the_same_objects_and_a_second_pass_overwrites_the_first(name):
    make, shape = CASES[name]
    layer, x = make(), apart(*shape)
    own = [*layer.params.values(), *layer.grads.values()]
    first = layer.forward(x)
    dx = layer.backward(np.ones_like(first))
    grads = {key: array.copy() for key, array in layer.grads.items()}
    layer.forward(-3 * x)
    layer.backward(np.full_like(first, 5.0))
    np.testing.assert_array_equal(layer.forward(x), first)
    np.testing.assert_array_equal(layer.backward(np.ones_like(first)), dx)
    for key, array in layer.grads.items():
        np.testing.assert_array_equal(array, grads[key])
    assert all(a is b for a, b in zip(own, [*layer.params.values(), *layer.grads.values()]))


@pytest.mark.parametrize("name", CASES)
def test_backward_params_fills_the_same_gradients(name):
    make, shape = CASES[name]
    layer, x = make(), apart(*shape)
    dout = rng().normal(size=layer.forward(x).shape)
    layer.backward(dout)
    grads = {key: array.copy() for key, array in layer.grads.items()}
    for array in layer.grads.values():
        array[...] = np.nan
    assert layer.backward_params(dout) is None
    for key, array in layer.grads.items():
        np.testing.assert_array_equal(array, grads[key])


class Loud:
    def backward(self, dout):
        return super().backward(10 * dout)


class LoudAffine(Affine):
    def backward(self, dout):
        return super().backward(10 * dout)


class Mixed(Loud, Affine):
    """Its backward pass comes from beside the layers."""


class Quiet(LoudAffine):
    """Nothing of its own."""


@pytest.mark.parametrize("kind", [LoudAffine, Mixed, Quiet])
def test_a_model_trains_with_a_backward_pass_that_is_written_anew(kind):
    plain, layer, x, dout = Affine(5, 3, rng=rng()), kind(5, 3, rng=rng()), apart(4, 5), np.ones((4, 3))
    for one in (plain, layer):
        model = Sequential(one)
        model.forward(x)
        model.backward_params(dout)
    np.testing.assert_allclose(layer.grads["W"], 10 * plain.grads["W"])
    np.testing.assert_allclose(layer.backward(dout), 10 * plain.backward(dout))
    np.testing.assert_allclose(layer.grads["W"], 10 * plain.grads["W"])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("change", [np.asfortranarray, lambda x: x[::-1], lambda x: np.repeat(x, 2, axis=-1)[..., ::2]])
def test_any_layout_will_do(name, change):
    make, shape = CASES[name]
    layer, x = make(), apart(*shape)
    out = layer.forward(change(x)).copy()
    dout = rng().normal(size=out.shape)
    dx = layer.backward(change(dout))
    again = change(x).copy(order="C")
    np.testing.assert_allclose(layer.forward(again), out, rtol=0, atol=1e-13)
    np.testing.assert_allclose(layer.backward(change(dout).copy(order="C")), dx, rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_an_empty_batch_goes_through(name):
    make, shape = CASES[name]
    layer = make()
    out = layer.forward(np.zeros((0, *shape[1:])))
    assert len(out) == 0 and layer.backward(np.zeros_like(out)).shape == (0, *shape[1:])
    assert all((array == 0).all() for array in layer.grads.values())


# PyTorch


def to_torch(torch, x):
    return torch.tensor(np.moveaxis(x, -1, 1).copy() if x.ndim == 4 else x, requires_grad=True)


def from_torch(tensor):
    array = tensor.detach().numpy()
    return np.moveaxis(array, 1, -1) if array.ndim == 4 else array


def weights_to_torch(torch, W):
    """Ours is (inputs, outputs), or (size, size, channels, filters); theirs (outputs, inputs), or (filters, channels, size, size)."""
    return torch.tensor((W.T if W.ndim == 2 else W.transpose(3, 2, 0, 1)).copy(), requires_grad=True)


def weights_from_torch(tensor):
    array = tensor.numpy()
    return array.T if array.ndim == 2 else array.transpose(2, 3, 1, 0)


@pytest.mark.peers
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_both_passes_are_torchs(name, ties):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    make, shape = CASES[name]
    layer, x = make(), apart(*shape)
    if ties:  # the largest of a window, and 0, several times over
        x = rng().integers(-1, 2, shape).astype(float)
    theirs, weights = to_torch(torch, x), {}
    if layer.params:
        weights = {key: weights_to_torch(torch, array) if key == "W" else torch.tensor(array, requires_grad=True)
                   for key, array in layer.params.items()}
    if isinstance(layer, Affine):
        out = functional.linear(theirs, weights["W"], weights.get("b"))
    elif isinstance(layer, Conv2D):
        out = functional.conv2d(theirs, weights["W"], weights.get("b"), stride=layer.stride, padding=layer.pad)
    elif isinstance(layer, MaxPool2D):
        out = functional.max_pool2d(theirs, layer.size, stride=layer.stride)
    elif isinstance(layer, Flatten):
        out = theirs.permute(0, 2, 3, 1).flatten(1)
    else:
        out = {ReLU: torch.relu, Tanh: torch.tanh, Sigmoid: torch.sigmoid}[type(layer)](theirs)
    ours = layer.forward(x)
    np.testing.assert_allclose(ours, from_torch(out), rtol=0, atol=1e-12)
    dout = rng().normal(size=ours.shape)
    out.backward(torch.tensor(np.moveaxis(dout, -1, 1).copy() if dout.ndim == 4 else dout))
    assert near(layer.backward(dout), from_torch(theirs.grad), 1e-10)
    for key, array in layer.grads.items():
        assert near(array, weights_from_torch(weights[key].grad) if key == "W" else weights[key].grad.numpy(), 1e-10)


# CS231n


def filled(case):
    return np.linspace(*case["linspace"], case["num"]).reshape(case["shape"])


def apart_by(got, expected):
    """CS231n's relative error."""
    expected = np.array(expected)
    assert got.shape == expected.shape
    return (np.abs(got - expected) / np.maximum(1e-8, np.abs(got) + np.abs(expected))).max()


def images(array):
    """CS231n keeps the channels second."""
    return np.moveaxis(np.asarray(array), 1, -1)


def test_the_affine_layer_is_cs231ns():
    case = CONFORMANCE["affine_forward"]
    w, b = filled(case["w"]), filled(case["b"])
    layer = Affine(*w.shape, rng=rng())
    layer.params["W"][...], layer.params["b"][...] = w, b
    assert apart_by(Sequential(Flatten(), layer).forward(filled(case["x"])), case["out"]) < case["tol"]


def test_relu_is_cs231ns():
    case = CONFORMANCE["relu_forward"]
    assert apart_by(ReLU().forward(filled(case["x"])), case["out"]) < case["tol"]


def test_the_convolution_is_cs231ns():
    case = CONFORMANCE["conv_forward"]
    w = filled(case["w"])
    layer = Conv2D(w.shape[1], w.shape[0], w.shape[2], stride=case["stride"], pad=case["pad"], rng=rng())
    layer.params["W"][...], layer.params["b"][...] = w.transpose(2, 3, 1, 0), filled(case["b"])
    assert apart_by(layer.forward(images(filled(case["x"]))), images(case["out"])) < case["tol"]


def test_pooling_is_cs231ns():
    case = CONFORMANCE["max_pool_forward"]
    layer = MaxPool2D(case["pool"], stride=case["stride"])
    assert apart_by(layer.forward(images(filled(case["x"]))), images(case["out"])) < case["tol"]


def test_the_two_layer_net_is_cs231ns():
    case = CONFORMANCE["two_layer_net"]
    D, H, C, N = (case[name] for name in "DHCN")
    model = Sequential(Affine(D, H, rng=rng()), ReLU(), Affine(H, C, rng=rng()))
    for key, name in (("0.W", "W1"), ("0.b", "b1"), ("2.W", "W2"), ("2.b", "b2")):
        model.params[key][...] = filled(case[name])
    given = case["X"]
    scores = model.forward(np.linspace(*given["linspace"], given["num"]).reshape(given["shape"]).T)
    assert scores.shape == (N, C)
    assert np.abs(scores - case["scores"]).sum() < case["tol"]
    loss, _ = softmax_cross_entropy(scores, np.array(case["y"]))
    penalty = sum((model.params[key] ** 2).sum() for key in ("0.W", "2.W")) / 2
    assert abs(loss - case["softmax_loss_reg0"]) < case["tol"]
    assert abs(loss + penalty - case["loss_reg1"]) < case["tol"]


def test_softmax_loss_is_cs231ns():
    draw = np.random.RandomState(231)
    x, y = 0.001 * draw.randn(50, 10), draw.randint(10, size=50)
    assert "loss ~ 2.3 (=ln 10), dx error ~1e-8" in CONFORMANCE["softmax_loss"]
    loss, dx = softmax_cross_entropy(x, y)
    assert loss == pytest.approx(np.log(10), abs=1e-3)
    assert apart_by(slope(lambda: softmax_cross_entropy(x, y)[0], x), dx) < 1e-8


# Facts


def test_a_convolution_is_a_sum_over_windows():
    layer, x = Conv2D(2, 3, 3, stride=2, pad=1, rng=rng()), apart(2, 5, 6, 2)
    padded = np.zeros((2, 7, 8, 2))
    padded[:, 1:6, 1:7] = x
    out = layer.forward(x)
    assert out.shape == (2, 3, 3, 3)
    for n, i, j, f in np.ndindex(out.shape):
        window = padded[n, 2 * i:2 * i + 3, 2 * j:2 * j + 3]
        assert out[n, i, j, f] == pytest.approx((window * layer.params["W"][..., f]).sum(), rel=1e-12, abs=1e-14)


def test_pooling_lets_not_a_number_through():
    x = apart(1, 4, 4, 1)
    x[0, 1, 2, 0] = np.nan
    out = MaxPool2D(2).forward(x)[0, :, :, 0]
    assert np.isnan(out).tolist() == [[False, True], [False, False]]


@pytest.mark.parametrize(("layer", "ends"), [(Sigmoid, (0, 1)), (Tanh, (-1, 1)), (ReLU, (0, np.inf))])
def test_activations_at_their_ends(layer, ends):
    layer = layer()
    assert layer.forward(np.array([[-1e308, 1e308, -np.inf, np.inf]]))[0, [0, 2, 3]].tolist() == [ends[0], *ends]
    assert (layer.backward(np.ones((1, 4))) == [[0, isinstance(layer, ReLU)] * 2]).all()


def test_relu_has_slope_0_at_0():
    layer = ReLU()
    layer.forward(np.array([[-0.0, 0.0]]))
    assert layer.backward(np.ones((1, 2))).tolist() == [[0, 0]]


@pytest.mark.parametrize(("make", "inputs"), [(lambda **options: Affine(200, 300, rng=rng(), **options), 200),
                                              (lambda **options: Conv2D(20, 300, 3, rng=rng(), **options), 180)])
def test_the_weights_are_drawn_with_hes_deviation_or_the_one_given(make, inputs):
    for options, std in (({}, (2 / inputs) ** 0.5), ({"std": 0.3}, 0.3), ({"std": 0}, 0)):
        layer = make(**options)
        assert layer.params["W"].std() == pytest.approx(std, rel=0.02)
        assert abs(layer.params["W"].mean()) <= 4 * std / layer.params["W"].size ** 0.5
        assert not layer.params["b"].any()


def test_a_float32_layer_starts_as_the_float64_layer_rounded():
    np.testing.assert_array_equal(Affine(3, 2, rng=rng(), dtype="f4").params["W"], Affine(3, 2, rng=rng()).params["W"].astype("f4"))


def test_a_layer_says_what_it_is():
    layer = Affine(3, 2, rng=rng())
    assert repr(layer) == "Affine(W (3, 2), b (2,))" and repr(ReLU()) == "ReLU()"
    layer.frozen = True
    assert repr(layer) == "Affine(W (3, 2), b (2,), frozen)"


def test_float32_goes_through_a_whole_network_and_its_losses():
    model = Sequential(Conv2D(1, 2, 3, pad=1, rng=rng(), dtype="f4"), Tanh(), MaxPool2D(2), Flatten(), ReLU(),
                       Affine(8, 3, rng=rng(), dtype="f4"), Sigmoid())
    for loss, targets in ((softmax_cross_entropy, np.array([0, 2])), (mean_squared_error, np.zeros((2, 3), "f4"))):
        _, dout = loss(model.forward(apart(2, 4, 4, 1).astype("f4")), targets)
        assert dout.dtype == model.backward(dout).dtype == np.float32
        assert {array.dtype for array in model.grads.values()} == {np.dtype("f4")}


# Refusals


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Affine(0, 3, rng=rng()), "inputs must be a whole number from 1 up, got 0"),
    (lambda: Affine(3, 2.0, rng=rng()), r"outputs must be a whole number from 1 up, got 2\.0"),
    (lambda: Affine(True, 2, rng=rng()), "inputs must be a whole number from 1 up, got True"),
    (lambda: Affine(3, 2, rng=rng(), std=-1.0), r"std must be a number in \[0, inf\) or None, got -1\.0"),
    (lambda: Affine(3, 2, rng=rng(), std=float("nan")), r"std must be a number in \[0, inf\) or None, got nan"),
    (lambda: Affine(3, 2, rng=rng(), std=float("inf")), r"std must be a number in \[0, inf\) or None, got inf"),
    (lambda: Affine(3, 2, rng=rng(), dtype=int), "dtype must be float16, float32 or float64, got <class 'int'>"),
    (lambda: Affine(3, 2, rng=rng(), dtype=complex), "dtype must be float16, float32 or float64, got <class 'complex'>"),
    (lambda: Conv2D(0, 3, 3, rng=rng()), "channels must be a whole number from 1 up, got 0"),
    (lambda: Conv2D(3, 0, 3, rng=rng()), "filters must be a whole number from 1 up, got 0"),
    (lambda: Conv2D(3, 3, -1, rng=rng()), "size must be a whole number from 1 up, got -1"),
    (lambda: Conv2D(3, 3, 3, stride=0, rng=rng()), "stride must be a whole number from 1 up, got 0"),
    (lambda: Conv2D(3, 3, 3, pad=-1, rng=rng()), "pad must be a whole number from 0 up, got -1"),
    (lambda: Conv2D(3, 3, 3, pad=0.5, rng=rng()), r"pad must be a whole number from 0 up, got 0\.5"),
    (lambda: Conv2D(3, 3, 3, std=-1, rng=rng()), r"std must be a number in \[0, inf\) or None, got -1"),
    (lambda: MaxPool2D(0), "size must be a whole number from 1 up, got 0"),
    (lambda: MaxPool2D(2, stride=0), "stride must be a whole number from 1 up or None, got 0"),
    (lambda: Affine(3, 2, rng=rng()).forward(np.zeros((4, 2))), r"x must be \(batch, 3\) of float64, got \(4, 2\) of float64"),
    (lambda: Affine(3, 2, rng=rng()).forward(np.zeros(3)), r"x must be \(batch, 3\) of float64, got \(3,\) of float64"),
    (lambda: Affine(3, 2, rng=rng()).forward(np.zeros((4, 3), "f4")), r"of float64, got \(4, 3\) of float32"),
    (lambda: Affine(3, 2, rng=rng(), dtype="f4").forward(np.zeros((4, 3))), r"of float32, got \(4, 3\) of float64"),
    (lambda: Conv2D(3, 2, 2, rng=rng()).forward(np.zeros((4, 5, 5, 1))), r"x must be \(batch, height, width, 3\) of float64, got \(4, 5, 5, 1\)"),
    (lambda: Conv2D(3, 2, 2, rng=rng()).forward(np.zeros((4, 5, 5))), r"x must be \(batch, height, width, 3\) of float64, got \(4, 5, 5\)"),
    (lambda: Conv2D(3, 2, 2, rng=rng()).forward(np.zeros((4, 5, 5, 3), int)), "of float64, got .* of int64"),
    (lambda: Conv2D(3, 2, 5, pad=1, rng=rng()).forward(np.zeros((4, 2, 9, 3))), "x must be at least 5 by 5 pixels, got 4 by 11"),
    (lambda: MaxPool2D(2).forward(np.zeros((4, 5, 5))), r"x must be \(batch, height, width, channels\), got \(4, 5, 5\)"),
    (lambda: MaxPool2D(6).forward(np.zeros((4, 5, 7, 1))), "x must be at least 6 by 6 pixels, got 5 by 7"),
])
def test_bad_arguments_are_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize("name", CASES)
def test_a_backward_pass_without_a_forward_pass_is_refused(name):
    layer = CASES[name][0]()
    with pytest.raises(RuntimeError, match=rf"{type(layer).__name__}\.backward needs a forward pass before it, got none"):
        layer.backward(np.zeros((1, 1, 1, 1)))


@pytest.mark.parametrize("missing", ["forward", "backward"])
def test_a_layer_without_both_passes_cannot_be_made(missing):
    passes = {"forward": lambda self, x, *, train=False, rng=None: x, "backward": lambda self, dout: dout}
    assert type("Whole", (Layer,), passes)().forward(1.0) == 1.0
    del passes[missing]
    with pytest.raises(TypeError, match=missing):
        type("Half", (Layer,), passes)()


# What is of another kind

@pytest.mark.parametrize(("make", "message"), [
    (lambda: Affine(2, 2, rng=0), r"rng must be a numpy.random.Generator, got 0"),
    (lambda: Affine(2, 2, rng=None), "rng must be a numpy.random.Generator, got None"),
    (lambda: Affine(2, 2, rng=np.random), "rng must be a numpy.random.Generator, got <module"),
    (lambda: Affine("2", 2, rng=rng()), "inputs must be a whole number from 1 up, got '2'"),
    (lambda: Affine(2, None, rng=rng()), "outputs must be a whole number from 1 up, got None"),
    (lambda: Affine(2, 2, rng=rng(), bias="no"), "bias must be True or False, got 'no'"),
    (lambda: Affine(2, 2, rng=rng(), bias=0), "bias must be True or False, got 0"),
    (lambda: Affine(2, 2, rng=rng(), std="he"), r"std must be a number in \[0, inf\) or None, got 'he'"),
    (lambda: Affine(2, 2, rng=rng(), dtype="text"), "dtype must be float16, float32 or float64, got 'text'"),
    (lambda: Affine(2, 2, rng=rng(), dtype=None), "dtype must be float16, float32 or float64, got None"),
    (lambda: Conv2D(1, 2, 3, rng=0), "rng must be a numpy.random.Generator, got 0"),
    (lambda: Conv2D(1, 2, (3, 3), rng=rng()), r"size must be a whole number from 1 up, got \(3, 3\)"),
    (lambda: Conv2D(1, 2, 3, rng=rng(), pad="same"), "pad must be a whole number from 0 up, got 'same'"),
    (lambda: Conv2D(1, 2, 3, rng=rng(), bias="no"), "bias must be True or False, got 'no'"),
    (lambda: MaxPool2D("2"), "size must be a whole number from 1 up, got '2'"),
    (lambda: MaxPool2D(2, stride=True), "stride must be a whole number from 1 up or None, got True"),
])
def test_settings_of_another_kind_are_refused_by_name(make, message):
    with pytest.raises(TypeError, match=message):
        make()


@pytest.mark.parametrize("x", [None, 1.0, [[1.0]], "x", np.ma.ones((2, 3)), np.ones((2, 3), object), np.ones((2, 3), complex), np.ones((2, 3), bool)])
@pytest.mark.parametrize("name", CASES)
def test_what_is_no_array_of_numbers_is_refused_by_name(name, x):
    make, shape = CASES[name]
    layer = make()
    with pytest.raises(TypeError, match="x must be an array of numbers, got"):
        layer.forward(x)
    out = layer.forward(apart(*shape))
    for dout in (x, np.ones((*out.shape, 1)), np.ones((len(out) + 1, *out.shape[1:]))):
        with pytest.raises((TypeError, ValueError), match=r"dout must (be an array of numbers|have the shape)"):
            layer.backward(dout)
        if name.startswith(("affine", "conv")):
            with pytest.raises((TypeError, ValueError), match=r"dout must (be an array of numbers|have the shape)"):
                layer.backward_params(dout)


def test_rows_without_an_axis_are_refused():
    with pytest.raises(ValueError, match=r"x must be \(batch, ...\), got \(\)"):
        Flatten().forward(np.array(1.0))


def test_the_gradient_of_a_bias_in_float16_is_not_stuck():
    layer = Affine(1, 1, rng=rng(), dtype="f2")
    layer.forward(np.zeros((4096, 1), "f2"))
    layer.backward(np.full((4096, 1), 2.0**-12, "f2"))
    assert layer.grads["b"].item() == 1.0


def test_a_layer_says_what_it_is_made_of():
    assert MaxPool2D(2).described() == "MaxPool2D(size=2, stride=2)"
    assert Affine(2, 3, rng=rng()).described() == "Affine(W (2, 3), b (3,))"
