"""The model: whole passes against finite differences and PyTorch, frozen layers, keys, saving and loading."""

import os

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


def mlp(dtype="f8"):
    rng = np.random.default_rng(1)
    return Sequential(Affine(6, 5, rng=rng, dtype=dtype), Tanh(), Affine(5, 4, rng=rng, dtype=dtype), Sigmoid(),
                      Affine(4, 3, rng=rng, dtype=dtype))


def convolutional():
    rng = np.random.default_rng(1)
    return Sequential(Conv2D(2, 4, 3, pad=1, rng=rng), ReLU(), MaxPool2D(3, stride=2), Conv2D(4, 3, 2, stride=2, rng=rng), Tanh(),
                      Flatten(), Affine(3, 3, rng=rng))


MODELS = {"mlp": (mlp, (5, 6)), "convolutional": (convolutional, (5, 6, 6, 2))}
LOSSES = {"cross-entropy": softmax_cross_entropy, "squared error": mean_squared_error}


def problem(name, loss):
    make, shape = MODELS[name]
    rng = np.random.default_rng(3)
    return make(), rng.normal(size=shape), rng.integers(0, 3, 5) if loss == "cross-entropy" else rng.normal(size=(5, 3))


def backward(model, x, y, loss):
    value, dout = LOSSES[loss](model.forward(x), y)
    return value, model.backward(dout)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_of_a_whole_model_is_the_derivative(name, loss):
    model, x, y = problem(name, loss)
    _, dx = backward(model, x, y, loss)
    for array, gradient in [(x, dx), *((model.params[key], grad.copy()) for key, grad in model.grads.items())]:
        found, h = np.zeros_like(array), 1e-4
        for i in np.ndindex(array.shape):
            here, values = array[i], []
            for steps in (-2, -1, 1, 2):
                array[i] = here + steps * h
                values.append(LOSSES[loss](model.forward(x), y)[0])
            array[i] = here
            found[i] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        assert np.abs(found - gradient).max() <= 1e-7 * np.abs(gradient).max()


@pytest.mark.peers
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", MODELS)
def test_the_gradient_of_a_whole_model_is_torchs(name, loss):
    torch = pytest.importorskip("torch")
    model, x, y = problem(name, loss)
    value, dx = backward(model, x, y, loss)
    grads, theirs = {}, torch.tensor(np.moveaxis(x, -1, 1).copy() if x.ndim == 4 else x, requires_grad=True)
    first, functional = theirs, torch.nn.functional
    passes = {
        Affine: lambda layer, x, W, b: functional.linear(x, W, b),
        Conv2D: lambda layer, x, W, b: functional.conv2d(x, W, b, stride=layer.stride, padding=layer.pad),
        MaxPool2D: lambda layer, x: functional.max_pool2d(x, layer.size, stride=layer.stride),
        Flatten: lambda layer, x: x.permute(0, 2, 3, 1).flatten(1),
        ReLU: lambda layer, x: torch.relu(x),
        Tanh: lambda layer, x: torch.tanh(x),
        Sigmoid: lambda layer, x: torch.sigmoid(x),
    }
    for i, layer in enumerate(model.layers):
        own = {key: torch.tensor((a.T if a.ndim == 2 else a.transpose(3, 2, 0, 1) if a.ndim == 4 else a).copy(), requires_grad=True)
               for key, a in layer.params.items()}
        grads |= {f"{i}.{key}": tensor for key, tensor in own.items()}
        theirs = passes[type(layer)](layer, theirs, **own)
    found = (functional.cross_entropy if loss == "cross-entropy" else functional.mse_loss)(theirs, torch.tensor(y))
    found.backward()
    assert value == pytest.approx(found.item(), rel=1e-12)
    expected = {key: tensor.grad.numpy() for key, tensor in grads.items()}
    expected = {key: g.T if g.ndim == 2 else g.transpose(2, 3, 1, 0) if g.ndim == 4 else g for key, g in expected.items()}
    slope = first.grad.numpy()
    for got, wanted in [(dx, np.moveaxis(slope, 1, -1) if x.ndim == 4 else slope), *((model.grads[k], g) for k, g in expected.items())]:
        assert np.abs(got - wanted).max() <= 1e-10 * np.abs(wanted).max()


@pytest.mark.parametrize("name", MODELS)
def test_arrays_stay_the_same_objects(name):
    model, x, y = problem(name, "cross-entropy")
    before = model.params, model.grads
    for _ in range(2):
        backward(model, x, y, "cross-entropy")
        model.load_state_dict(model.state_dict())
    for then, now in zip(before, (model.params, model.grads)):
        assert then.keys() == now.keys() and all(then[key] is now[key] for key in then)


# Frozen layers


def test_a_frozen_layer_is_left_out_of_params_and_grads_but_saved():
    model = mlp()
    assert [*model.params] == [*model.grads] == ["0.W", "0.b", "2.W", "2.b", "4.W", "4.b"]
    model.layers[2].frozen = True
    assert [*model.params] == [*model.grads] == ["0.W", "0.b", "4.W", "4.b"]
    assert [*model.state_dict()] == ["0.W", "0.b", "2.W", "2.b", "4.W", "4.b"]
    assert not Layer.frozen and not model.layers[0].frozen


class Spy(Layer):
    """Notes how it is run."""

    def __init__(self):
        super().__init__()
        self.seen = []
        self.buffers = {"count": np.zeros(1)}

    def forward(self, x, *, train=False, rng=None):
        self.seen.append((train, rng))
        return x

    def backward(self, dout):
        self.seen.append("backward")
        return dout


def test_a_frozen_layer_runs_as_at_test_time():
    first, second, rng = Spy(), Spy(), np.random.default_rng(0)
    model = Sequential(first, second)
    first.frozen = True
    model.forward(np.zeros(1), train=True, rng=rng)
    model.forward(np.zeros(1))
    assert first.seen == [(False, rng), (False, None)] and second.seen == [(True, rng), (False, None)]
    assert [*model.buffers] == ["0.count", "1.count"] == [*model.state_dict()]


@pytest.mark.parametrize("frozen", [(), (0,), (2,), (4,), (0, 2), (0, 4), (0, 2, 4)])
def test_backward_params_fills_the_same_gradients(frozen):
    model, x, y = problem("mlp", "cross-entropy")
    for i in frozen:
        model.layers[i].frozen = True
    backward(model, x, y, "cross-entropy")
    grads = {key: array.copy() for key, array in model.grads.items()}
    for array in model.grads.values():
        array[...] = np.nan
    assert model.backward_params(softmax_cross_entropy(model.forward(x), y)[1]) is None
    for key, array in model.grads.items():
        np.testing.assert_array_equal(array, grads[key])


def test_backward_params_goes_no_further_down_than_the_first_layer_that_learns():
    rng, below, above = np.random.default_rng(0), Spy(), Spy()
    model = Sequential(Affine(2, 2, rng=rng), below, Affine(2, 2, rng=rng), above)
    model.layers[0].frozen = True
    model.forward(np.ones((1, 2)))
    model.backward_params(np.ones((1, 2)))
    assert "backward" in above.seen and "backward" not in below.seen
    assert not model.layers[0].grads["W"].any()


# Saving and loading


def test_what_is_saved_is_a_copy_and_comes_back_in_place():
    model, other = mlp(), mlp()
    saved = model.state_dict()
    for array in (*model.params.values(), *other.params.values()):
        array += 1
    own = other.params
    other.load_state_dict(saved)
    for key, array in mlp().params.items():
        np.testing.assert_array_equal(saved[key], array)
        np.testing.assert_array_equal(other.params[key], array)
        assert other.params[key] is own[key] and not np.shares_memory(own[key], saved[key])


@pytest.mark.parametrize(("change", "message"), [
    (lambda saved: saved.pop("4.b"), r"saved must have the keys \['0.W', .*'4.b'\], got \['0.W', .*'4.W'\]"),
    (lambda saved: saved.update(extra=np.zeros(1)), "saved must have the keys .*, got .*'extra'"),
    (lambda saved: saved.update({"4.b": np.zeros(4)}), r"saved\['4.b'\] must be \(3,\) of float64, got \(4,\) of float64"),
    (lambda saved: saved.update({"4.b": np.zeros((1, 3))}), r"saved\['4.b'\] must be \(3,\) of float64, got \(1, 3\) of float64"),
    (lambda saved: saved.update({"4.b": np.zeros(3, "f4")}), r"saved\['4.b'\] must be \(3,\) of float64, got \(3,\) of float32"),
])
def test_what_does_not_fit_is_refused_and_nothing_is_changed(change, message):
    model = mlp()
    saved = {key: array + 1 for key, array in model.state_dict().items()}
    change(saved)
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(saved)
    for key, array in mlp().params.items():
        np.testing.assert_array_equal(model.params[key], array)


# Refusals and edges


def test_what_is_no_layer_or_comes_twice_is_refused():
    with pytest.raises(TypeError, match="layers must be layers, got <class"):
        Sequential(ReLU)
    with pytest.raises(TypeError, match="layers must be layers, got Sequential"):
        Sequential(mlp())
    layer = ReLU()
    with pytest.raises(ValueError, match="layers must be different objects, got one of them twice"):
        Sequential(layer, layer)


def test_no_layers_at_all():
    model, x = Sequential(), np.ones((2, 3))
    assert model.forward(x) is x and model.backward(x) is x and model.params == model.grads == model.state_dict() == {}
    model.backward_params(x)


def test_a_model_says_what_it_is():
    assert repr(Sequential(Affine(2, 1, rng=np.random.default_rng(0)), ReLU())) == "Sequential(Affine(W (2, 1), b (1,)), ReLU())"


# In a file


def convolutional(seed=0, **options):
    from reference_impl import BatchNorm, Conv2D, Dropout, Flatten

    made = np.random.default_rng(seed)
    return Sequential(Conv2D(1, 2, 3, rng=made, **options), BatchNorm(2), ReLU(), Dropout(0.5), Flatten(), Affine(72, 3, rng=made))


def test_a_model_is_saved_and_loaded_with_its_running_statistics(tmp_path):
    x = np.random.default_rng(1).normal(size=(4, 8, 8, 1))
    model, other = convolutional(), convolutional(seed=1)
    model.forward(x, train=True, rng=np.random.default_rng(2))
    model.save(tmp_path / "model.npz")
    other.layers[0].frozen = True  # what is held fixed is no part of a model
    own = other.params
    assert other.load(str(tmp_path / "model.npz")) is other
    np.testing.assert_array_equal(other.forward(x), model.forward(x))
    assert all(other.params[key] is array for key, array in own.items())
    assert os.listdir(tmp_path) == ["model.npz"]
    with np.load(tmp_path / "model.npz") as file:
        np.testing.assert_array_equal(file["0.W"], model.params["0.W"])
    model.params["0.W"][...] = 0
    model.save(tmp_path / "model.npz")
    assert not other.load(tmp_path / "model.npz").layers[0].params["W"].any()


@pytest.mark.parametrize("make", [
    lambda: convolutional(stride=2), lambda: convolutional(pad=1), lambda: convolutional(bias=False), mlp,
    lambda: Sequential(*convolutional().layers[:-1]), lambda: Sequential(*convolutional().layers[:3], ReLU(), *convolutional().layers[4:]),
])
def test_a_model_of_other_layers_is_refused_and_nothing_is_changed(make, tmp_path):
    convolutional().save(tmp_path / "model.npz")
    other = make()
    before = other.state_dict()
    with pytest.raises(ValueError, match=r"path must hold a model of the layers \[.*\], got .*model.npz with \['Conv2D\(size=3, stride=1, pad=0, W"):
        other.load(tmp_path / "model.npz")
    for key, array in other.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


def test_of_another_dtype_too(tmp_path):
    convolutional(dtype="f4").save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match=r"saved\['0.W'\] must be .* of float64, got .* of float32"):
        convolutional().load(tmp_path / "model.npz")


def test_what_is_no_file_of_a_model_is_refused(tmp_path):
    (tmp_path / "text").write_text("layers")
    np.savez(tmp_path / "arrays.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"path must be a file that Sequential.save has written, got"):
        mlp().load(tmp_path / "text")
    with pytest.raises(ValueError, match=r"path must hold a model of the layers .* with \[\]"):
        mlp().load(tmp_path / "arrays.npz")
    with pytest.raises(FileNotFoundError, match="path must lie in a folder that exists"):
        mlp().save(tmp_path / "nowhere" / "model.npz")
    for path in (None, 3, ""):
        for call in (mlp().save, mlp().load):
            with pytest.raises(TypeError, match="path must name a file, got"):
                call(path)


def test_layers_say_what_they_are_made_of():
    assert convolutional(pad=1).architecture()[:5] == [
        "Conv2D(size=3, stride=1, pad=1, W (3, 3, 1, 2), b (2,))", "BatchNorm(keep=0.9, ddof=0, eps=1e-05, gamma (2,), beta (2,), mean (2,), var (2,))",
        "ReLU()", "Dropout(keep=0.5, inverted=True, shared=[])", "Flatten()"]


@pytest.mark.parametrize(("call", "message"), [
    (lambda model: model.forward(np.ones((1, 2)), train="no"), "train must be True or False, got 'no'"),
    (lambda model: model.forward(np.ones((1, 2)), train=True, rng=0), r"rng must be a numpy.random.Generator or None, got 0"),
    (lambda model: model.load_state_dict([]), r"saved must be a dict of arrays, got \[\]"),
    (lambda model: model.load_state_dict(dict.fromkeys(model.state_dict(), 1.0)), r"saved\['0.W'\] must be an array, got 1.0"),
])
def test_what_is_of_another_kind_is_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call(mlp())
