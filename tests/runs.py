"""The run that the tests of training and of checkpoints share: it depends on all that a run can, and may be interrupted anywhere."""

import numpy as np

from reference_impl import (
    Adam,
    Affine,
    Augment,
    Callback,
    Checkpoint,
    EarlyStopping,
    Evaluate,
    Layer,
    ReLU,
    Sequential,
    Tanh,
    fit,
    softmax_cross_entropy,
)

X = np.random.default_rng(1).normal(size=(10, 3))
Y = np.random.default_rng(2).integers(0, 3, 10)
STEPS, EPOCHS = 3, 3  # batches of 4, 4 and 2

bomb = {"events": [], "at": None}


def light(at=None):
    """Count what happens from here on, and interrupt the run at the event `at`."""
    bomb.update(events=[], at=at)


def tick(what):
    """Something a run does; the one that was chosen is interrupted."""
    bomb["events"].append(what)
    if len(bomb["events"]) - 1 == bomb["at"]:
        raise KeyboardInterrupt(what)


class Masked(Layer):
    """Draws from the run's generator in training, and keeps a running mean: dropout and batch norm in one."""

    def __init__(self, width, keep=0.9):
        super().__init__()
        self.keep = keep
        self.buffers = {"mean": np.zeros(width)}

    def forward(self, x, *, train=False, rng=None):
        self._cache = np.ones_like(x)
        if train:
            self._cache = rng.integers(0, 2, x.shape).astype(x.dtype)
            self.buffers["mean"] *= self.keep
            self.buffers["mean"] += (1 - self.keep) * x.mean(axis=0)
        return x * self._cache - self.buffers["mean"]

    def backward(self, dout):
        return dout * self._saved()


class Pull(Callback):
    """Pulls the weights to their average so far after every epoch: a run depends on what it remembers."""

    def __init__(self):
        self.count, self.average = 0, {}

    def after_step(self, run):
        tick("after_step")
        self.count += 1
        for key, w in run.model.params.items():
            self.average[key] = self.average.get(key, 0) + (w - self.average.get(key, 0)) / self.count

    def after_epoch(self, run):
        tick("after_epoch")
        for key, w in run.model.params.items():
            w += 0.1 * (self.average[key] - w)

    def after_fit(self, run):
        tick("after_fit")

    def state_dict(self):
        return {"count": self.count} | {f"average/{key}": w.copy() for key, w in self.average.items()}

    def load_state_dict(self, saved):
        self.count = int(saved["count"])
        self.average = {key.removeprefix("average/"): w for key, w in saved.items() if key.startswith("average/")}


def counted_loss(scores, labels):
    tick("loss")
    return softmax_cross_entropy(scores, labels)


def noise(inputs, rng):
    tick("augment")
    return inputs + 0.3 * rng.standard_normal(inputs.shape)


class Shrink(Callback):
    """A penalty on all parameters."""

    def before_update(self, run):
        tick("penalty")
        for key, w in run.model.params.items():
            run.model.grads[key] += 0.01 * w
            run.value += 0.005 * float((w**2).sum())


class Anneal(Callback):
    """Changes what no `state_dict` of its own holds: the optimizer's rate, and how much a layer keeps."""

    def after_step(self, run):
        run.optimizer.beta1 *= 0.99
        run.model.layers[1].keep *= 0.97


class Life:
    """Everything that a run changes, made anew: a process that starts."""

    def __init__(self, kind="PCG64", patience=5):
        rng = np.random.default_rng(3)
        self.model = Sequential(Affine(3, 4, rng=rng), Masked(4), Tanh(), Affine(4, 3, rng=rng))
        self.optimizer = Adam(lr=lambda step: 0.1 / (1 + step))
        self.rng = np.random.Generator(getattr(np.random, kind)(5))
        self.callbacks = [EarlyStopping("validation_loss", patience=patience), Pull()]

    def fit(self, checkpoint=None, *, epochs=EPOCHS, every=None, resume=False, callbacks=(), anneal=True):
        told = [Augment(noise), Shrink(), Evaluate({"validation": (X[:5], Y[5:])}), *self.callbacks, *([Anneal()] if anneal else []), *callbacks]
        if checkpoint is not None:
            told.append(Checkpoint(checkpoint, every=every, resume=resume))
        history = fit(self.model, X, Y, self.optimizer, epochs=epochs, rng=self.rng, batch_size=4, loss=counted_loss, callbacks=told)
        return history, self.state()

    def state(self):
        """All arrays and numbers, as bytes and text."""
        arrays = self.model.state_dict() | {f"optimizer/{key}": value for key, value in self.optimizer.state_dict().items()}
        for i, callback in enumerate(self.callbacks):
            arrays |= {f"{i}/{key}": value for key, value in callback.state_dict().items()}
        arrays["keep"] = self.model.layers[1].keep if isinstance(self.model.layers[1], Masked) else None
        return {key: (np.asarray(value).tobytes(), np.asarray(value).dtype) for key, value in arrays.items()}, repr(self.rng.bit_generator.state)


def network(dtype="f8", scale=1.0):
    """A model that draws nothing and remembers nothing."""
    rng = np.random.default_rng(3)
    return Sequential(Affine(3, 4, rng=rng, dtype=dtype, std=scale), ReLU(), Affine(4, 3, rng=rng, dtype=dtype, std=scale))
