"""Training: a run that is interrupted anywhere and resumed is the run that was not, bit for bit; what goes wrong, and says so."""

import json
import os
import pickle
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from reference_impl import (
    SGD,
    Adam,
    Affine,
    Callback,
    Diverged,
    EarlyStopping,
    History,
    Layer,
    Momentum,
    ReLU,
    Sequential,
    Tanh,
    accuracy,
    digits,
    evaluate,
    fit,
    mean_squared_error,
    softmax_cross_entropy,
)
from reference_impl import engines as readings


class Masked(Layer):
    """Draws from the run's generator in training, and keeps a running mean: dropout and batch norm in one."""

    def __init__(self, width):
        super().__init__()
        self.buffers = {"mean": np.zeros(width)}

    def forward(self, x, *, train=False, rng=None):
        self._cache = np.ones_like(x)
        if train:
            self._cache = rng.integers(0, 2, x.shape).astype(x.dtype)
            self.buffers["mean"] *= 0.9
            self.buffers["mean"] += 0.1 * x.mean(axis=0)
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


X = np.random.default_rng(1).normal(size=(10, 3))
Y = np.random.default_rng(2).integers(0, 3, 10)
STEPS, EPOCHS = 3, 3  # batches of 4, 4 and 2


def counted_loss(scores, labels):
    tick("loss")
    return softmax_cross_entropy(scores, labels)


def noise(inputs, rng):
    tick("augment")
    return inputs + 0.3 * rng.standard_normal(inputs.shape)


def shrink(params, grads):
    tick("penalty")
    for key, w in params.items():
        grads[key] += 0.01 * w
    return 0.005 * float(sum((w**2).sum() for w in params.values()))


def step_in(file):
    with np.load(file) as content:
        return json.loads(str(content["about"]))["step"]


class Life:
    """Everything that a run changes, made anew: a process that starts."""

    def __init__(self, kind="PCG64", patience=5):
        rng = np.random.default_rng(3)
        self.model = Sequential(Affine(3, 4, rng=rng), Masked(4), Tanh(), Affine(4, 3, rng=rng))
        self.optimizer = Adam(lr=lambda step: 0.1 / (1 + step))
        self.rng = np.random.Generator(getattr(np.random, kind)(5))
        self.callbacks = [EarlyStopping("validation_loss", patience=patience), Pull()]

    def fit(self, checkpoint=None, *, epochs=EPOCHS, **options):
        history = fit(self.model, X, Y, self.optimizer, epochs=epochs, rng=self.rng, batch_size=4, loss=counted_loss, augment=noise,
                      penalty=shrink, evaluate_on={"validation": (X[:5], Y[5:])}, callbacks=self.callbacks, checkpoint=checkpoint, **options)
        return history, self.state()

    def state(self):
        """All arrays and numbers, as bytes and text."""
        arrays = self.model.state_dict() | {f"optimizer/{key}": value for key, value in self.optimizer.state_dict().items()}
        for i, callback in enumerate(self.callbacks):
            arrays |= {f"{i}/{key}": value for key, value in callback.state_dict().items()}
        return {key: (np.asarray(value).tobytes(), np.asarray(value).dtype) for key, value in arrays.items()}, repr(self.rng.bit_generator.state)


bomb = {"events": [], "at": None}


def tick(what):
    """Something a run does; the one that was chosen is interrupted."""
    bomb["events"].append(what)
    if len(bomb["events"]) - 1 == bomb["at"]:
        raise KeyboardInterrupt(what)


@pytest.fixture(autouse=True)
def fuse():
    bomb.update(events=[], at=None)


def light(at=None):
    bomb.update(events=[], at=at)


@pytest.fixture
def everywhere(monkeypatch):
    """Interrupts may also come in the middle of an update, and of writing a file."""
    step, savez, replace = readings.step, np.savez, os.replace

    def half_a_step(rule, arrays, values):
        if arrays[0].ndim == 1:  # a bias: its layer's weights have already changed
            tick("update")
        step(rule, arrays, values)

    def half_a_file(stream, **content):
        stream.write(b"PK half a file")
        tick("savez")
        stream.seek(0)
        stream.truncate()
        savez(stream, **content)

    def replaced(source, target):
        tick("replace")
        replace(source, target)
        tick("replaced")

    monkeypatch.setattr(readings, "step", half_a_step)
    monkeypatch.setattr(np, "savez", half_a_file)
    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "fsync", lambda descriptor: tick("fsync"))


@pytest.mark.parametrize(("kind", "every", "patience", "epochs"), [
    ("PCG64", 1, 5, 2), ("MT19937", None, 5, 2), ("Philox", 3, 5, 2), ("SFC64", 2, 1, 5),
])
def test_a_run_interrupted_anywhere_and_resumed_is_the_uninterrupted_one(kind, every, patience, epochs, everywhere, tmp_path):
    file = tmp_path / "run.npz"
    whole = Life(kind, patience).fit(file, epochs=epochs, checkpoint_every=every)
    events = bomb["events"].copy()
    assert {"augment", "loss", "penalty", "update", "after_step", "after_epoch", "savez", "fsync", "replace", "after_fit"} <= set(events)
    assert len(whole[0].losses) == STEPS * 2 and bool(whole[0].stopped) == (patience == 1)
    for at, what in enumerate(events):
        file.unlink(missing_ok=True)
        light(at)
        with pytest.raises(KeyboardInterrupt, match=what):
            Life(kind, patience).fit(file, epochs=epochs, checkpoint_every=every)
        assert set(os.listdir(tmp_path)) <= {"run.npz"}, f"litter after {what}"
        light()
        assert Life(kind, patience).fit(file, epochs=epochs, checkpoint_every=every, resume=True) == whole, f"event {at}: {what}"


def test_a_run_that_dies_again_and_again_still_ends_as_the_uninterrupted_one(everywhere, tmp_path):
    whole = Life().fit()
    for life in range(20):
        light(29 + life % 3)
        try:
            assert Life().fit(tmp_path / "run", checkpoint_every=1, resume=True) == whole
            break
        except KeyboardInterrupt:
            continue
    assert 3 < life < 19


def test_the_same_objects_may_go_on_too(everywhere, tmp_path):
    whole, life = Life().fit(), Life()
    light(40)
    with pytest.raises(KeyboardInterrupt):
        life.fit(tmp_path / "run", checkpoint_every=1)
    light()
    assert life.fit(tmp_path / "run", resume=True) == whole


def test_neither_checkpoints_nor_their_number_change_a_run(tmp_path):
    whole = Life().fit()
    for every in (None, 1, 2, 100):
        assert Life().fit(tmp_path / "run", checkpoint_every=every) == whole
        assert step_in(tmp_path / "run") == STEPS * EPOCHS  # the end is always written


def test_more_epochs_may_follow(tmp_path):
    whole = Life().fit(epochs=5)
    Life().fit(tmp_path / "run", epochs=2)
    assert Life().fit(tmp_path / "run", epochs=5, resume=True) == whole


def test_an_ended_run_resumed_is_as_it_ended(tmp_path):
    for patience in (1, 5):
        whole = Life(patience=patience).fit(tmp_path / "run")
        written = (tmp_path / "run").read_bytes()
        assert Life(patience=patience).fit(tmp_path / "run", resume=True) == whole
        assert (tmp_path / "run").read_bytes() == written


def test_history_and_bytes_are_the_same_in_every_run():
    assert Life().fit() == Life().fit()
    assert Life().fit() != Life("MT19937").fit()


def die_while_writing(path):
    """What the killed process runs: it ends in the middle of its fifth checkpoint."""
    writes = []

    def fsync(descriptor):
        writes.append(descriptor)
        if len(writes) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = fsync
    Life().fit(path, checkpoint_every=1)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_process_is_resumed_by_another(tmp_path):
    root = Path(__file__).parents[2]
    code = f"import sys; sys.path[:0] = {[str(root), str(Path(__file__).parent)]}; import test_training; test_training.die_while_writing(sys.argv[1])"
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert step_in(tmp_path / "run") == 3
    assert Life().fit(tmp_path / "run", checkpoint_every=1, resume=True) == Life().fit()


# Not a number


def network(dtype="f8", scale=1.0):
    rng = np.random.default_rng(3)
    return Sequential(Affine(3, 4, rng=rng, dtype=dtype, std=scale), ReLU(), Affine(4, 3, rng=rng, dtype=dtype, std=scale))


class Root(Layer):
    """Adds its parameter's square root, whose slope at 0 is infinite."""

    def __init__(self):
        super().__init__()
        self.params, self.grads = {"c": np.zeros(3)}, {"c": np.zeros(3)}

    def forward(self, x, *, train=False, rng=None):
        return x + np.sqrt(self.params["c"])

    def backward(self, dout):
        np.divide(dout.sum(axis=0), 2 * np.sqrt(self.params["c"]), out=self.grads["c"])
        return dout


class Burst(Layer):
    """Goes over in training only, once it has run three times, and its running mean with it."""

    def __init__(self):
        super().__init__()
        self.buffers = {"count": np.zeros(1)}

    def forward(self, x, *, train=False, rng=None):
        self.buffers["count"] += train
        if self.buffers["count"] > 3:
            self.buffers["count"][...] = np.inf
            return x * 1e308 * 10
        return x

    def backward(self, dout):
        return dout


def late(bad):
    """A loss that is `bad` from its fourth batch on; the rehearsal is no batch."""
    seen = []

    def loss(outputs, targets):
        value, dout = softmax_cross_entropy(outputs, targets)
        seen.append(value)
        return (bad if len(seen) > 4 else value), dout

    return loss


def steep(outputs, targets):
    value, dout = softmax_cross_entropy(outputs, targets)
    return value, dout * np.inf


def spoilt():
    inputs = X.copy()
    inputs[np.random.default_rng(5).permutation(10)[9], 1] = np.nan  # in the last batch of the first epoch
    return inputs


WAYS = {
    "NaN in the inputs": (lambda: {"inputs": spoilt()}, 2, "the inputs"),
    "infinity in the inputs": (lambda: {"inputs": np.where(np.isnan(spoilt()), np.inf, X)}, 2, "the inputs"),
    "NaN from augment": (lambda: {"augment": lambda x, rng: x * np.nan}, 0, "the inputs"),
    "a weight beyond all numbers": (lambda: {"optimizer": SGD(lr=1.7e308), "inputs": 30 * X}, 1, "layer 0 (Affine), W"),
    "an output beyond all numbers": (lambda: {"optimizer": SGD(lr=1e200)}, 1, "the output of layer 2 (Affine)"),
    "an output beyond float32": (lambda: {"model": network("f4", 1e25), "inputs": X.astype("f4")}, 0, "the output of layer 2 (Affine)"),
    "a layer's output in training": (lambda: {"model": Sequential(Affine(3, 3, rng=np.random.default_rng(0)), Tanh(), Burst())}, 3,
                                     "the output of layer 2 (Burst)"),
    "a gradient": (lambda: {"model": Sequential(Affine(3, 3, rng=np.random.default_rng(0)), Root())}, 0,
                   "the gradient of layer 1 (Root), c"),
    "a gradient that nobody looks at": (lambda: {"model": Sequential(Affine(3, 3, rng=np.random.default_rng(0)), Root()),
                                                 "optimizer": SGD(lr=0.1, check_finite=False)}, 1, "layer 1 (Root), c"),
    "the loss is NaN": (lambda: {"loss": late(np.nan)}, 3, "the loss itself"),
    "the loss is infinite": (lambda: {"loss": late(-np.inf)}, 3, "the loss itself"),
    "the loss is infinitely steep": (lambda: {"loss": steep}, 0, "the gradient of layer 2 (Affine), b"),
    "the penalty": (lambda: {"penalty": lambda params, grads: np.nan}, 0, "the loss itself"),
}


def wrong_run(way, **options):
    given = {"model": network(), "inputs": X, "targets": Y, "optimizer": SGD(lr=0.1), "epochs": 3, "batch_size": 4,
             "rng": np.random.default_rng(5), "callbacks": [EarlyStopping("loss", patience=3)]} | WAYS[way][0]() | options
    fit(**given)


def numbers_in(file):
    with np.load(file) as content:
        return [content[key] for key in content.files if content[key].dtype.kind == "f"]


@pytest.mark.parametrize("every", [None, 1, 2])
@pytest.mark.parametrize("way", WAYS)
def test_the_first_number_that_is_none_stops_the_run_and_is_named(way, every, tmp_path):
    file, (_, step, where) = tmp_path / "run", WAYS[way]
    with pytest.raises(Diverged) as raised:
        wrong_run(way, checkpoint=file, checkpoint_every=every)
    good = max([0, *(s for s in range(step + 1) if (s % every if every else s % STEPS) == 0)])
    if where.startswith("layer") and good == step:  # written no more
        good = 0
    error = raised.value
    assert (error.step, error.layer, error.checkpoint) == (step, where, (file, good))
    assert str(error) == f"step {step}: NaN or infinity, first in {where}; the last good checkpoint is {file}, of step {good}"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert numbers_in(file) and all(np.isfinite(array).all() for array in numbers_in(file))
    assert step_in(file) == good
    assert os.listdir(tmp_path) == ["run"]


def test_after_resuming_the_last_good_checkpoint_is_the_one_resumed_from(tmp_path):
    given = {"inputs": X, "targets": Y, "batch_size": 4, "checkpoint": tmp_path / "run"}
    fit(network(), optimizer=SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), **given)
    with pytest.raises(Diverged, match=rf"step 3: .* the last good checkpoint is {tmp_path / 'run'}, of step 3"):
        fit(network(), optimizer=SGD(lr=0.1), epochs=2, rng=np.random.default_rng(0), loss=steep, resume=True, **given)


@pytest.mark.parametrize("way", WAYS)
def test_without_a_checkpoint_the_message_says_so(way):
    with pytest.raises(Diverged, match=re.escape(f"first in {WAYS[way][2]}; there is no checkpoint to go back to")):
        wrong_run(way)


@pytest.mark.parametrize("checkpoint", [None, "run"])
def test_a_weight_that_goes_over_in_the_last_step_is_found_too(checkpoint, tmp_path):
    with pytest.raises(Diverged, match=r"step 1: .* layer 0 \(Affine\), W"):
        wrong_run("a weight beyond all numbers", epochs=1, batch_size=10, checkpoint=checkpoint and tmp_path / checkpoint)


def test_an_optimizer_whose_state_went_over_writes_no_checkpoint(tmp_path):
    rng = np.random.default_rng(0)
    model = Sequential(Affine(3, 3, rng=rng, dtype="f4", std=0.01))
    with pytest.raises(Diverged, match=rf"step 1: .* layer 0 \(Affine\), W, the optimizer's v; .* is {tmp_path / 'run'}, of step 0"):
        fit(model, (1e25 * X).astype("f4"), Y, Adam(lr=1e-3), epochs=1, rng=rng, checkpoint=tmp_path / "run",
            loss=lambda outputs, targets: (0.0, np.ones_like(outputs)))


def test_weights_that_are_no_numbers_from_the_start_are_not_trained(tmp_path):
    model = network()
    model.params["2.b"][1] = np.nan
    for file in (None, tmp_path / "run"):
        with pytest.raises(Diverged, match=r"step 0: NaN or infinity, first in layer 2 \(Affine\), b; there is no checkpoint"):
            fit(model, X, Y, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), checkpoint=file)
    assert not os.listdir(tmp_path)


def test_an_update_refused_for_another_reason_is_not_called_divergence():
    with pytest.raises(ValueError, match=r"lr\(1\) must lie in"):
        wrong_run("the loss is NaN", optimizer=SGD(lr=lambda step: 0.1 - step))


def test_no_warning_leaks_and_numpy_warns_again_afterwards():
    before = np.geterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for way in WAYS:
            with pytest.raises(Diverged):
                wrong_run(way, metric=accuracy, evaluate_on={"test": (X.astype("f4") if "float32" in way else X, Y)})
    assert np.geterr() == before


# The file


@pytest.mark.parametrize("broken", ["savez", "fsync", "replace"])
def test_a_failure_in_the_middle_of_writing_leaves_the_old_file_whole(broken, monkeypatch, tmp_path):
    def fail(*args, **options):
        if broken == "savez":
            args[0].write(b"half")
        raise OSError("no space left on device")

    Life().fit(tmp_path / "run", epochs=1)
    before = (tmp_path / "run").read_bytes()
    monkeypatch.setattr(np if broken == "savez" else os, broken, fail)
    with pytest.raises(OSError, match="no space left on device"):
        Life().fit(tmp_path / "run", resume=True)
    assert os.listdir(tmp_path) == ["run"] and (tmp_path / "run").read_bytes() == before


def test_a_file_that_cannot_be_written_is_found_out_before_the_first_step(tmp_path):
    life = Life()
    before = life.state()
    with pytest.raises(FileNotFoundError):
        life.fit(tmp_path / "nowhere" / "run")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        life.fit(tmp_path / "folder")
    assert life.state() == before and os.listdir(tmp_path) == ["folder"]


def refused(file, message, life=None, error=ValueError, **options):
    """Resuming raises, and neither the run nor the file has changed."""
    life = life or Life()
    before, written = life.state(), file.read_bytes()
    with pytest.raises(error, match=message):
        life.fit(file, resume=True, **options)
    assert life.state() == before and file.read_bytes() == written


def test_a_damaged_file_is_refused_or_its_damage_means_nothing(tmp_path):
    file = tmp_path / "run"
    whole = Life().fit(file, epochs=1)
    good, harmless = file.read_bytes(), 0
    rng = np.random.default_rng(0)
    directory = good.index(b"PK\x01\x02")  # where the zip's table of contents begins
    places = [*rng.integers(0, directory, 80), *rng.integers(directory, len(good), 80)]
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.integers(8)
        file.write_bytes(bad)
        life = Life()
        before = life.state()
        try:
            ended = life.fit(file, epochs=1, resume=True)
        except ValueError as error:
            assert str(error).startswith(f"checkpoint must be a file that fit has written, got {file}: ")
            assert life.state() == before
        else:
            harmless += 1
            assert ended == whole, f"a changed byte {place} went unnoticed"
    assert harmless < 60  # dates and attributes


@pytest.mark.parametrize("part", [0, 1, 100, 0.3, 0.9, -1])
def test_a_cut_file_is_refused(part, tmp_path):
    file = tmp_path / "run"
    Life().fit(file, epochs=1)
    good = file.read_bytes()
    file.write_bytes(good[:int(part * len(good)) if isinstance(part, float) else part])
    refused(file, "checkpoint must be a file that fit has written, got")


def foreign(about):
    return lambda file: np.savez(file, about=np.array(about), order=np.arange(10))


@pytest.mark.parametrize("write", [
    lambda stream: stream.write(b"not a checkpoint"),
    lambda stream: np.save(stream, np.zeros(3)),
    lambda stream: np.savez(stream, a=np.zeros(3)),
    lambda stream: np.savez(stream, about=np.array([None])),
    lambda stream: pickle.dump({"about": 1}, stream),
    foreign("{"), foreign("[]"), foreign("7"), foreign("{}"),
])
def test_a_foreign_file_is_refused(write, tmp_path):
    with open(tmp_path / "run", "wb") as stream:
        write(stream)
    refused(tmp_path / "run", "checkpoint must be a file that fit has written, got")


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


def test_a_file_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("run.npz", about=np.array([Trap()]))
    refused(tmp_path / "run.npz", "checkpoint must be a file that fit has written, got .* allow_pickle=False")
    assert os.listdir() == ["run.npz"]


def changed(**parts):
    life = Life()
    for name, part in parts.items():
        setattr(life, name, part)
    return life


def frozen():
    life = Life()
    life.model.layers[0].frozen = True
    return life


RNG = np.random.default_rng(0)
OTHERS = {
    "width": (lambda: changed(model=Sequential(Affine(3, 5, rng=RNG), Masked(5), Tanh(), Affine(5, 3, rng=RNG))),
              r"checkpoint must come from a run with model = 'Sequential\(Affine\(W \(3, 5\).* got .*run with 'Sequential\(Affine\(W \(3, 4\)"),
    "activation": (lambda: changed(model=Sequential(Affine(3, 4, rng=RNG), Masked(4), ReLU(), Affine(4, 3, rng=RNG))),
                   r"with model = .*ReLU.* with .*Tanh"),
    "frozen": (frozen, r"with model = .*frozen\)"),
    "buffers": (lambda: changed(model=Sequential(Affine(3, 4, rng=RNG), Masked(1), Tanh(), Affine(4, 3, rng=RNG))),
                r"saved\['1.mean'\] must be \(1,\) of float64, got \(4,\) of float64"),
    "optimizer": (lambda: changed(optimizer=Momentum(lr=0.1)), "saved must come from the rule 'momentum', got 'adam'"),
    "generator": (lambda: changed(rng=np.random.Generator(np.random.MT19937(0))), "rng must be a PCG64 generator as in .*, got MT19937"),
    "no callbacks": (lambda: changed(callbacks=[]), r"with callbacks = \[\], got .* with \['EarlyStopping', 'Pull'\]"),
    "callbacks in another order": (lambda: changed(callbacks=Life().callbacks[::-1]), r"with callbacks = \['Pull', 'EarlyStopping'\]"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_another_run_is_refused(name, tmp_path):
    Life().fit(tmp_path / "run", epochs=1)
    make, message = OTHERS[name]
    refused(tmp_path / "run", message, make())


@pytest.mark.parametrize(("change", "message"), [
    ({"batch_size": 5}, "with batch_size = 5, got .* with 4"),
    ({"inputs": X[:9], "targets": Y[:9]}, "with examples = 9, got .* with 10"),
    ({"evaluate_on": {"test": (X, Y)}}, r"with evaluate_on = \['test'\], got .* with \['validation'\]"),
    ({"evaluate_on": None}, r"with evaluate_on = \[\], got .* with \['validation'\]"),
])
def test_a_checkpoint_of_other_settings_is_refused(change, message, tmp_path):
    life, file = Life(), tmp_path / "run"
    given = {"model": life.model, "inputs": X, "targets": Y, "optimizer": life.optimizer, "epochs": 2, "rng": life.rng, "batch_size": 4,
             "evaluate_on": {"validation": (X, Y)}, "checkpoint": file}
    fit(**given)
    before, written = life.state(), file.read_bytes()
    with pytest.raises(ValueError, match=f"checkpoint must come from a run {message}"):
        fit(**given | change, resume=True)
    assert life.state() == before and file.read_bytes() == written


def test_what_a_callback_refuses_changes_nothing(tmp_path):
    class Proud(Pull):
        def load_state_dict(self, saved):
            if int(saved["count"]):
                raise ValueError("not mine")
            super().load_state_dict(saved)

    proud = [EarlyStopping("validation_loss", patience=5), Proud()]
    changed(callbacks=proud).fit(tmp_path / "run", epochs=1)
    refused(tmp_path / "run", "not mine", changed(callbacks=[EarlyStopping("validation_loss", patience=5), Proud()]))


def test_a_callback_whose_state_cannot_be_written_is_refused_at_the_start(tmp_path):
    class Vague(Callback):
        def state_dict(self):
            return {"seen": None}

    model, optimizer, rng = network(), Adam(), np.random.default_rng(0)
    with pytest.raises(TypeError, match=r"state_dict must hold arrays, numbers and strings, got .*None.* for 'callback 0/seen'"):
        fit(model, X, Y, optimizer, epochs=1, rng=rng, callbacks=[Vague()], checkpoint=tmp_path / "run")
    assert optimizer.steps == 0 and rng.bit_generator.state == np.random.default_rng(0).bit_generator.state
    assert not os.listdir(tmp_path)


# Refusals


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"inputs": X.tolist()}, TypeError, r"inputs must be an array whose first axis counts examples, got \[\["),
    ({"targets": Y.tolist()}, TypeError, r"targets must be an array whose first axis counts examples, got \["),
    ({"inputs": np.float64(1)}, TypeError, "inputs must be an array whose first axis counts examples, got"),
    ({"inputs": np.array(1.0)}, TypeError, "inputs must be an array whose first axis counts examples, got"),
    ({"inputs": np.ma.array(X)}, TypeError, "inputs must be an array whose first axis counts examples, got"),
    ({"targets": Y[:9]}, ValueError, "targets must be as many as the inputs, and some, got 9 for 10"),
    ({"inputs": X[:0], "targets": Y[:0]}, ValueError, "targets must be as many as the inputs, and some, got 0 for 0"),
    ({"batch_size": 0}, ValueError, "batch_size must be a whole number from 1 up, got 0"),
    ({"batch_size": 2.5}, ValueError, r"batch_size must be a whole number from 1 up, got 2\.5"),
    ({"batch_size": float("nan")}, ValueError, "batch_size must be a whole number from 1 up, got nan"),
    ({"epochs": -1}, ValueError, "epochs must be a whole number from 0 up, got -1"),
    ({"epochs": 1.5}, ValueError, r"epochs must be a whole number from 0 up, got 1\.5"),
    ({"rng": 0}, TypeError, r"rng must be a numpy\.random\.Generator, got 0"),
    ({"rng": np.random.RandomState(0)}, TypeError, r"rng must be a numpy\.random\.Generator, got RandomState"),
    ({"callbacks": [EarlyStopping]}, TypeError, "callbacks must be Callback objects, got <class"),
    ({"resume": True, "checkpoint": None}, ValueError, "checkpoint must name a file when resume or checkpoint_every is given, got None"),
    ({"checkpoint_every": 5, "checkpoint": None}, ValueError, "checkpoint must name a file when resume or checkpoint_every is given"),
    ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be a whole number from 1 up, got 0"),
    ({"inputs": X[:, :2]}, ValueError, r"x must be \(batch, 3\) of float64, got \(1, 2\) of float64"),
    ({"inputs": X.astype("f4")}, ValueError, r"x must be \(batch, 3\) of float64, got \(1, 3\) of float32"),
    ({"targets": np.zeros(10)}, TypeError, "labels must be integers, got float64"),
    ({"targets": np.full(10, 3)}, ValueError, r"labels must lie in \[0, 3\), got 3 to 3"),
    ({"evaluate_on": {"test": (X[:, :2], Y)}}, ValueError, r"x must be \(batch, 3\) of float64, got \(1, 2\) of float64"),
    ({"evaluate_on": {"test": (X, Y[:3])}}, ValueError, "targets must be as many as the inputs, and some, got 3 for 10"),
    ({"evaluate_on": {"test": (X[:0], Y[:0])}}, ValueError, "targets must be as many as the inputs, and some, got 0 for 0"),
    ({"augment": lambda x, rng: x[:, :rng.integers(2)]}, ValueError, r"x must be \(batch, 3\)"),
])
def test_bad_arguments_are_refused_and_nothing_is_changed(change, error, message, tmp_path):
    life = Life()
    life.fit(tmp_path / "run", epochs=1)
    before, written = life.state(), (tmp_path / "run").read_bytes()
    given = {"model": life.model, "inputs": X, "targets": Y, "optimizer": life.optimizer, "epochs": 1, "rng": life.rng, "batch_size": 4,
             "callbacks": life.callbacks, "checkpoint": tmp_path / "run"}
    with pytest.raises(error, match=message):
        fit(**given | change)
    assert life.state() == before and (tmp_path / "run").read_bytes() == written


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"inputs": X[:0], "targets": Y[:0]}, ValueError, "targets must be as many as the inputs, and some, got 0 for 0"),
    ({"targets": Y[:9]}, ValueError, "targets must be as many as the inputs, and some, got 9 for 10"),
    ({"inputs": X.tolist()}, TypeError, "inputs must be an array"),
    ({"batch_size": 0}, ValueError, "batch_size must be a whole number from 1 up, got 0"),
])
def test_evaluate_refuses(change, error, message):
    with pytest.raises(error, match=message):
        evaluate(**{"model": network(), "inputs": X, "targets": Y} | change)


@pytest.mark.parametrize("patience", [0, -1, 1.5, float("nan"), True])
def test_a_bad_patience_is_refused(patience):
    with pytest.raises(ValueError, match="patience must be a whole number from 1 up, got"):
        EarlyStopping("validation_loss", patience=patience)


# What a run is


def plain(model, optimizer, *, epochs, rng, batch_size, loss=softmax_cross_entropy, inputs=X, targets=Y):
    """The loop in its shortest form."""
    losses = []
    for _ in range(epochs):
        order = rng.permutation(len(inputs))
        for first in range(0, len(inputs), batch_size):
            batch = order[first:first + batch_size]
            value, dout = loss(model.forward(inputs[batch], train=True, rng=rng), targets[batch])
            model.backward(dout)
            optimizer.update(model.params, model.grads)
            losses.append(value)
    return losses


@pytest.mark.parametrize("batch_size", [1, 3, 4, 5, 10, 11])
def test_it_is_the_plain_loop(batch_size):
    ours, theirs = network(), network()
    history = fit(ours, X, Y, Adam(lr=0.1), epochs=3, rng=np.random.default_rng(0), batch_size=batch_size)
    losses = plain(theirs, Adam(lr=0.1), epochs=3, rng=np.random.default_rng(0), batch_size=batch_size)
    steps = -(-10 // batch_size)
    assert history.losses == losses and len(losses) == 3 * steps
    np.testing.assert_allclose(history["loss"], np.reshape(losses, (3, steps)).mean(axis=1), rtol=1e-15)
    for key, w in ours.params.items():
        np.testing.assert_array_equal(w, theirs.params[key])


def test_the_columns_of_the_history():
    def names(**options):
        return [*fit(network(), X, Y, SGD(lr=0.1), epochs=2, rng=np.random.default_rng(0), **options).epochs[-1]]

    def error_rate(scores, labels):
        return 1 - accuracy(scores, labels)

    sets = {"validation": (X[:4], Y[:4]), "test": (X[4:], Y[4:])}
    assert names() == ["loss"]
    assert names(evaluate_on=sets) == ["loss", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy"]
    assert names(evaluate_on=sets, metric=None) == ["loss", "validation_loss", "test_loss"]
    assert names(evaluate_on={"test": (X, Y)}, metric=error_rate) == ["loss", "test_loss", "test_error_rate"]


def test_the_columns_are_what_evaluate_finds_after_the_epoch():
    model, found = network(), []

    class Look(Callback):
        def after_epoch(self, run):
            found.append(evaluate(run.model, X[:7], Y[:7]))

    history = fit(model, X, Y, SGD(lr=0.1), epochs=3, rng=np.random.default_rng(0), evaluate_on={"test": (X[:7], Y[:7])}, callbacks=[Look()])
    assert history["test_loss"].tolist() == [row["loss"] for row in found]
    assert history["test_accuracy"].tolist() == [row["accuracy"] for row in found]
    assert all(type(value) is float for row in history.epochs for value in row.values())


def test_a_column_that_is_not_there_is_refused():
    with pytest.raises(KeyError, match=r"column must be one of \['loss', 'test_loss'\], got 'accuracy'"):
        History(epochs=[{"loss": 1.0, "test_loss": 2.0}])["accuracy"]
    with pytest.raises(KeyError, match=r"column must be one of \[\], got 'loss'"):
        History()["loss"]


def test_no_epochs_change_nothing(tmp_path):
    life = Life()
    before = life.state()
    history, after = life.fit(tmp_path / "run", epochs=0)
    assert after == before and history == History()


@pytest.mark.parametrize("batch_size", [1, 3, 7, 10, 1000])
@pytest.mark.parametrize("loss", [softmax_cross_entropy, mean_squared_error])
def test_evaluating_in_batches_is_evaluating_at_once(batch_size, loss):
    model = network()
    targets = Y if loss is softmax_cross_entropy else X
    found = evaluate(model, X, targets, loss=loss, metric=None if loss is mean_squared_error else accuracy, batch_size=batch_size)
    outputs = model.forward(X)
    expected = {"loss": loss(outputs, targets)[0]} | ({"accuracy": accuracy(outputs, Y)} if loss is softmax_cross_entropy else {})
    assert found == pytest.approx(expected, rel=1e-14)


def test_evaluating_leaves_the_model_as_it_is():
    life = Life()
    before = life.state()
    evaluate(life.model, X, Y)
    assert life.state() == before


def test_the_penalty_is_in_the_loss_and_in_the_gradient():
    ours, theirs = network(), network()

    def ridge(params, grads):
        for key, w in params.items():
            grads[key] += 0.3 * w
        return 0.15 * sum((w**2).sum() for w in params.values())

    history = fit(ours, X, Y, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), batch_size=10, penalty=ridge)
    before = {key: w.copy() for key, w in theirs.params.items()}
    value = plain(theirs, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), batch_size=10)
    assert history.losses == pytest.approx([value[0] + 0.15 * sum((w**2).sum() for w in before.values())], rel=1e-13)
    for key, w in ours.params.items():
        np.testing.assert_allclose(w, theirs.params[key] - 0.03 * before[key], rtol=1e-12, atol=1e-15)


def test_augment_sees_batches_and_may_change_their_shape():
    seen = []

    def crop(inputs, rng):
        seen.append(inputs.shape)
        return inputs[:, rng.integers(2):][:, :3]

    wide = np.concatenate([X, X[:, :1]], axis=1)
    fit(network(), wide, Y, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), batch_size=4, augment=crop)
    assert seen == [(1, 4), (4, 4), (4, 4), (2, 4)]  # the rehearsal first


def test_the_rehearsal_takes_no_chance_from_the_run():
    one, other = Life(), Life()
    one.fit(epochs=0)
    assert one.state() == other.state()


def test_arrays_stay_the_same_objects_and_frozen_layers_as_they_are(tmp_path):
    life = Life()
    life.model.layers[3].frozen = True
    params, grads, buffers = life.model.params, life.model.grads, life.model.buffers
    kept = {key: w.copy() for key, w in life.model.layers[3].params.items()}
    life.fit(tmp_path / "run")
    life.fit(tmp_path / "run", epochs=5, resume=True)
    assert [*params] == ["0.W", "0.b"] and "m/3.W" not in life.optimizer.state_dict()
    for before, after in ((params, life.model.params), (grads, life.model.grads), (buffers, life.model.buffers)):
        assert before.keys() == after.keys() and all(before[key] is after[key] for key in before)
    for key, w in kept.items():
        np.testing.assert_array_equal(life.model.layers[3].params[key], w)


def test_a_model_that_learns_nothing_trains_without_a_word():
    model = network()
    for layer in model.layers:
        layer.frozen = True
    before = model.state_dict()
    assert len(fit(model, X, Y, SGD(lr=0.1), epochs=2, rng=np.random.default_rng(0)).losses) == 2
    for key, w in model.state_dict().items():
        np.testing.assert_array_equal(w, before[key])


# Callbacks


class Stop(Callback):
    def __init__(self, step):
        self.step = step

    def after_step(self, run):
        if run.step == self.step:
            run.stop = f"enough at {run.step}"


@pytest.mark.parametrize("step", range(1, 8))
def test_a_callback_may_stop_at_any_step(step, tmp_path):
    def run(**options):
        model = network()
        history = fit(model, X, Y, SGD(lr=0.1), epochs=3, rng=np.random.default_rng(0), batch_size=4, callbacks=[Stop(step)],
                      checkpoint=tmp_path / "run", **options)
        return history, {key: w.tolist() for key, w in model.params.items()}

    history, params = run()
    assert history.stopped == f"enough at {step}" and len(history.losses) == step
    assert len(history.epochs) == step // STEPS  # only whole epochs have a row
    assert run(resume=True) == (history, params)


def test_what_callbacks_are_told_and_when():
    told = []

    class Note(Callback):
        def after_step(self, run):
            told.append(("step", run.step, run.epoch, len(run.history.losses)))

        def after_epoch(self, run):
            told.append(("epoch", run.step, run.epoch, len(run.history.epochs)))

        def after_fit(self, run):
            told.append(("fit", run.step, run.epoch, run.stop))

    fit(network(), X, Y, SGD(lr=0.1), epochs=2, rng=np.random.default_rng(0), batch_size=5, callbacks=[Note()])
    assert told == [("step", 1, 0, 1), ("step", 2, 0, 2), ("epoch", 2, 1, 1), ("step", 3, 1, 3), ("step", 4, 1, 4), ("epoch", 4, 2, 2),
                    ("fit", 4, 2, "")]


class Keep(Callback):
    """The model after every epoch."""

    def __init__(self):
        self.models = []

    def after_epoch(self, run):
        self.models.append(run.model.state_dict())


@pytest.mark.parametrize("patience", [1, 2, 5])
@pytest.mark.parametrize(("column", "larger"), [("test_loss", False), ("test_accuracy", True)])
def test_early_stopping_goes_back_to_the_best_epoch(column, larger, patience):
    keep, early, model = Keep(), EarlyStopping(column, patience=patience, larger_is_better=larger), network()
    history = fit(model, X[:5], Y[:5], Momentum(lr=0.5, rho=0.9), epochs=40, rng=np.random.default_rng(1), batch_size=2,
                  evaluate_on={"test": (X[5:], Y[5:])}, callbacks=[keep, early])
    values = history[column]
    best = int(values.argmax() if larger else values.argmin())
    assert early.best_epoch == best + 1 and early.best_value == values[best] and len(values) == best + 1 + patience < 40
    assert history.stopped == f"{column} has not improved on {values[best]:.4g} since epoch {best + 1}"
    for key, w in model.state_dict().items():
        np.testing.assert_array_equal(w, keep.models[best][key])


def follow(early, values, worse=0):
    """What it does to a model that says in which epoch it is, for these values of its column made worse."""
    model = Sequential(Affine(1, 1, rng=np.random.default_rng(0), std=0.0))

    class Say(Callback):
        def after_epoch(self, run):
            run.history.epochs[-1]["value"] = values[run.epoch - 1] + (-worse if early.larger_is_better else worse)
            model.params["0.W"][...] = run.epoch + 100 * worse

    history = fit(model, np.zeros((1, 1)), np.zeros((1, 1)), SGD(lr=0.1), epochs=len(values), rng=np.random.default_rng(0), metric=None,
                  loss=mean_squared_error, callbacks=[Say(), early])
    return model.params["0.W"].item(), len(history.epochs)


NAN = float("nan")


@pytest.mark.parametrize(("values", "larger", "best", "epochs"), [
    ([3, 2, 1], False, 3, 3),
    ([1, 1, 1, 1], False, 1, 3),
    ([3, 4, 2, 3, 3, 1], False, 3, 5),
    ([NAN, 2, 1, NAN, 3], False, 3, 5),
    ([NAN, NAN, 5], False, 2, 2),
    ([NAN, 1, 2], True, 3, 3),
    ([0, -1, -2], True, 1, 3),
])
def test_early_stopping_on_given_values(values, larger, best, epochs):
    early = EarlyStopping("value", patience=2, larger_is_better=larger)
    assert follow(early, values) == (best, epochs)
    assert follow(early, values, worse=1) == (best + 100, epochs)  # a second run starts afresh


def test_early_stopping_on_a_column_that_is_not_there():
    with pytest.raises(KeyError, match="column must be one of"):
        follow(EarlyStopping("validation_loss", patience=2), [1, 2])


# The bar


def test_a_bar_is_shown_on_demand(capsys, tmp_path):
    pytest.importorskip("tqdm")
    Life().fit(progress=True)
    assert "9/9" in capsys.readouterr().err
    Life().fit(tmp_path / "run", epochs=1)
    Life().fit(tmp_path / "run", resume=True, progress=True)
    assert "9/9" in capsys.readouterr().err
    Life().fit(progress=False)
    Life().fit()
    assert capsys.readouterr().err == ""


def test_a_bar_that_cannot_be_shown_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    life = Life()
    before = life.state()
    with pytest.raises(ModuleNotFoundError, match="needs tqdm"):
        life.fit(progress=True)
    assert life.state() == before


# A peer


def test_an_mlp_on_the_digits_is_no_worse_than_scikit_learns():
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits

    ours, theirs, epochs = [], [], 20
    for seed in range(5):
        data, rng = digits(seed), np.random.default_rng(seed)
        model = Sequential(Affine(64, 100, rng=rng), ReLU(), Affine(100, 10, rng=rng))
        fit(model, data.inputs, data.labels, Adam(lr=1e-3), epochs=epochs, batch_size=200, rng=rng)
        ours.append(evaluate(model, data.test_inputs, data.test_labels)["accuracy"])
        peer = MLPClassifier((100,), alpha=0, max_iter=epochs, random_state=seed)
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            peer.fit(data.inputs, data.labels)
        theirs.append(peer.score(data.test_inputs, data.test_labels))
    difference = np.subtract(ours, theirs)
    assert difference.mean() >= -difference.std(ddof=1) / 5**0.5, (ours, theirs)
    assert min(ours) > 0.9
