"""Checkpoints: a run that is interrupted anywhere and resumed is the run that was not, bit for bit; what goes wrong, and says so."""

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
from runs import EPOCHS, STEPS, Life, Masked, Pull, X, Y, bomb, light, network, tick

from reference_impl import (
    SGD,
    Adam,
    Affine,
    Augment,
    Callback,
    Checkpoint,
    Diverged,
    EarlyStopping,
    Evaluate,
    Groups,
    Layer,
    Momentum,
    ReLU,
    Sequential,
    Tanh,
    constant,
    engines as readings,
    fit,
    softmax_cross_entropy,
)


@pytest.fixture(autouse=True)
def fuse():
    light()
    yield
    light()


@pytest.fixture
def everywhere(monkeypatch):
    """Interrupts may also come in the middle of an update, and of writing a file."""
    step, savez, replace, link = readings.step, np.savez, os.replace, os.link

    def half_a_step(rule, arrays, values, engine):
        tick("update")
        step(rule, arrays, values, engine)
        tick("updated")  # the state; the parameters come after it

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

    def linked(source, target, **options):
        tick("link")
        link(source, target, **options)
        tick("linked")

    monkeypatch.setattr(readings, "step", half_a_step)
    monkeypatch.setattr(os, "link", linked)
    monkeypatch.setattr(np, "savez", half_a_file)
    monkeypatch.setattr(os, "replace", replaced)
    monkeypatch.setattr(os, "fsync", lambda descriptor: tick("fsync"))


def step_in(file):
    with np.load(file) as content:
        return json.loads(str(content["about"]))["step"]


@pytest.mark.parametrize(("kind", "every", "patience", "epochs"), [
    ("PCG64", 1, 5, 2), ("MT19937", None, 5, 2), ("Philox", 3, 5, 2), ("SFC64", 2, 1, 5),
])
def test_a_run_interrupted_anywhere_and_resumed_is_the_uninterrupted_one(kind, every, patience, epochs, everywhere, tmp_path):
    file = tmp_path / "run.npz"
    whole = Life(kind, patience).fit(file, epochs=epochs, every=every)
    events = bomb["events"].copy()
    assert {"augment", "loss", "penalty", "update", "after_step", "after_epoch", "savez", "fsync", "replace", "after_fit"} <= set(events)
    assert len(whole[0].losses) == STEPS * 2 and bool(whole[0].stopped) == (patience == 1)
    for at, what in enumerate(events):
        file.unlink(missing_ok=True)
        light(at)
        with pytest.raises(KeyboardInterrupt, match=what):
            Life(kind, patience).fit(file, epochs=epochs, every=every)
        assert set(os.listdir(tmp_path)) <= {"run.npz"}, f"litter after {what}"
        light()
        assert Life(kind, patience).fit(file, epochs=epochs, every=every, resume=True) == whole, f"event {at}: {what}"


def test_a_run_that_dies_again_and_again_still_ends_as_the_uninterrupted_one(everywhere, tmp_path):
    whole = Life().fit()
    for life in range(20):
        light(29 + life % 3)
        try:
            assert Life().fit(tmp_path / "run", every=1, resume=True) == whole
            break
        except KeyboardInterrupt:
            continue
    assert 3 < life < 19


def test_the_same_objects_may_go_on_too(everywhere, tmp_path):
    whole, life = Life().fit(anneal=False), Life()
    light(40)
    with pytest.raises(KeyboardInterrupt):
        life.fit(tmp_path / "run", every=1, anneal=False)
    light()
    assert life.fit(tmp_path / "run", resume=True, anneal=False) == whole


def test_neither_checkpoints_nor_their_number_change_a_run(tmp_path):
    whole = Life().fit()
    for every in (None, 1, 2, 100):
        assert Life().fit(tmp_path / "run", every=every) == whole
        assert step_in(tmp_path / "run") == STEPS * EPOCHS  # the end is always written


def test_more_epochs_may_follow(tmp_path):
    whole = Life().fit(epochs=5)
    Life().fit(tmp_path / "run", epochs=2)
    assert Life().fit(tmp_path / "run", epochs=5, resume=True) == whole


@pytest.mark.parametrize("every", [None, 100])
def test_an_ended_run_resumed_is_as_it_ended(every, tmp_path):
    for patience in (1, 5):
        whole = Life(patience=patience).fit(tmp_path / "run", epochs=5, every=every)
        assert step_in(tmp_path / "run") == len(whole[0].losses) == (6 if patience == 1 else 15)
        written = (tmp_path / "run").read_bytes()
        assert Life(patience=patience).fit(tmp_path / "run", epochs=5, every=every, resume=True) == whole
        assert (tmp_path / "run").read_bytes() == written


def die_while_writing(path):
    """What the killed process runs: it ends in the middle of its fifth checkpoint."""
    writes = []

    def fsync(descriptor):
        writes.append(descriptor)
        if len(writes) == 5:
            os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = fsync
    Life().fit(path, every=1)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_process_is_resumed_by_another(tmp_path):
    folders = [str(folder) for folder in Path(__file__).parents[:3]]
    code = f"import sys; sys.path[:0] = {folders}; import test_checkpoint; test_checkpoint.die_while_writing(sys.argv[1])"
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], capture_output=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert step_in(tmp_path / "run") == 3
    assert Life().fit(tmp_path / "run", every=1, resume=True) == Life().fit()


# Not a number


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
        if train and self.buffers["count"] > 3:
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
    return value, dout * (np.inf if steep.bad else 1)


steep.bad = True


class Worthless(Callback):
    def before_update(self, run):
        run.value += np.nan


WAYS = {
    "NaN from augment": (lambda: {"callbacks": [Augment(lambda x, rng: x * np.nan)]}, 0, "the inputs"),
    "a weight beyond all numbers": (lambda: {"optimizer": SGD(lr=1.7e308), "inputs": 30 * X}, 1, "layer 0 (Affine), W"),
    "a weight too large to square": (lambda: {"optimizer": SGD(lr=1e160)}, 1, "layer 0 (Affine), W"),
    "an output too large to square": (lambda: {"model": network(scale=1e90)}, 0, "the output of layer 2 (Affine)"),
    "an output beyond float32": (lambda: {"model": network("f4", 3e10), "inputs": X.astype("f4")}, 0, "the output of layer 2 (Affine)"),
    "a layer's output in training": (lambda: {"model": Sequential(Affine(3, 3, rng=np.random.default_rng(0)), Tanh(), Burst())}, 3,
                                     "the output of layer 2 (Burst)"),
    "a gradient": (lambda: {"model": Sequential(Affine(3, 3, rng=np.random.default_rng(0)), Root())}, 0,
                   "the gradient of layer 1 (Root), c"),
    "a gradient that nobody looks at": (lambda: {"model": Sequential(Affine(3, 3, rng=np.random.default_rng(0)), Root()),
                                                 "optimizer": SGD(lr=0.1, check_finite=False)}, 1, "layer 1 (Root), c"),
    "the loss is NaN": (lambda: {"loss": late(np.nan)}, 3, "the loss itself"),
    "the loss is infinite": (lambda: {"loss": late(-np.inf)}, 3, "the loss itself"),
    "the loss is infinitely steep": (lambda: {"loss": steep}, 0, "the gradient of layer 2 (Affine), b"),
    "the loss is too large to square": (lambda: {"loss": late(8e201)}, 3, "the loss itself"),
    "the penalty": (lambda: {"callbacks": [Worthless()]}, 0, "the loss itself"),
}


def wrong_run(way, *more, **options):
    given = {"model": network(), "inputs": X, "targets": Y, "optimizer": SGD(lr=0.1), "epochs": 3, "batch_size": 4,
             "rng": np.random.default_rng(5), "callbacks": [EarlyStopping("loss", patience=3)]} | WAYS[way][0]() | options
    given["callbacks"] += more
    fit(**given)


def numbers_in(file):
    with np.load(file) as content:
        return [content[key] for key in content.files if content[key].dtype.kind == "f"]


@pytest.mark.parametrize("every", [None, 1, 2])
@pytest.mark.parametrize("way", WAYS)
def test_the_first_number_that_is_none_stops_the_run_and_is_named(way, every, tmp_path):
    file, (_, step, where) = tmp_path / "run", WAYS[way]
    with pytest.raises(Diverged) as raised:
        wrong_run(way, Checkpoint(file, every=every))
    good = max([0, *(s for s in range(step + 1) if (s % every if every else s % STEPS) == 0)])
    if where.startswith("layer") and good == step:  # written no more
        good = 0
    error = raised.value
    assert (error.step, error.layer, error.checkpoint) == (step, where, (file, good))
    assert str(error) == f"step {step}: NaN, infinity or a number too large to square, first in {where}; the last good checkpoint is {file}, of step {good}"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert numbers_in(file) and all(np.isfinite(array).all() for array in numbers_in(file))
    assert step_in(file) == good
    assert os.listdir(tmp_path) == ["run"]


def test_after_resuming_the_last_good_checkpoint_is_the_one_resumed_from(tmp_path):
    given = {"inputs": X, "targets": Y, "batch_size": 4}
    steep.bad = False
    fit(network(), optimizer=SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), loss=steep, callbacks=[Checkpoint(tmp_path / "run")], **given)
    steep.bad = True
    with pytest.raises(Diverged, match=rf"step 3: .* the last good checkpoint is {tmp_path / 'run'}, of step 3"):
        fit(network(), optimizer=SGD(lr=0.1), epochs=2, rng=np.random.default_rng(0), loss=steep,
            callbacks=[Checkpoint(tmp_path / "run", resume=True)], **given)


@pytest.mark.parametrize("way", WAYS)
def test_without_a_checkpoint_the_message_says_so(way):
    with pytest.raises(Diverged, match=re.escape(f"first in {WAYS[way][2]}; there is no checkpoint to go back to")):
        wrong_run(way)


@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_weight_that_goes_over_in_the_last_step_is_found_too(checkpoint, tmp_path):
    with pytest.raises(Diverged, match=r"step 1: .* layer 0 \(Affine\), W"):
        wrong_run("a weight beyond all numbers", *([Checkpoint(tmp_path / "run")] if checkpoint else []), epochs=1, batch_size=10)


def test_an_optimizer_whose_state_went_over_writes_no_checkpoint(tmp_path):
    rng = np.random.default_rng(0)
    model = Sequential(Affine(3, 3, rng=rng, dtype="f4", std=0.01))
    with pytest.raises(Diverged, match=rf"step 1: .* layer 0 \(Affine\), W, the optimizer's v; .* is {tmp_path / 'run'}, of step 0"):
        fit(model, (1e25 * X).astype("f4"), Y, Adam(lr=1e-3, check_finite=False), epochs=1, rng=rng, callbacks=[Checkpoint(tmp_path / "run")],
            loss=lambda outputs, targets: (0.0, np.ones_like(outputs)))


def test_weights_that_are_no_numbers_from_the_start_are_not_trained(tmp_path):
    model = network()
    model.params["2.b"][1] = np.nan
    for callbacks in ([], [Checkpoint(tmp_path / "run")]):
        with pytest.raises(Diverged, match=r"step 0: NaN, infinity .* first in layer 2 \(Affine\), b; there is no checkpoint"):
            fit(model, X, Y, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), callbacks=callbacks)
    assert not os.listdir(tmp_path)


class Reverse(Callback):
    def after_step(self, run):
        if run.step == 2:
            run.optimizer.lr = -0.1


def test_an_update_refused_for_another_reason_is_not_called_divergence():
    with pytest.raises(ValueError, match=r"lr must lie in .*, got -0.1") as raised:
        wrong_run("the loss is NaN", Reverse())
    assert len(raised.value.history.losses) == 2


def test_no_warning_leaks_and_numpy_warns_again_afterwards():
    before = np.geterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for way in WAYS:
            with pytest.raises(Diverged):
                wrong_run(way, Evaluate({"test": (X.astype("f4") if "float32" in way else X, Y)}))
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


def refused(file, message, life=None):
    """Resuming raises, and neither the run nor the file has changed."""
    life = life or Life()
    before, written = life.state(), file.read_bytes()
    with pytest.raises(ValueError, match=message):
        life.fit(file, resume=True)
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
            assert str(error).startswith(f"path must be a file that fit has written, got {file}: ")
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
    refused(file, "path must be a file that fit has written, got")


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
    refused(tmp_path / "run", "path must be a file that fit has written, got")


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


def test_a_file_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("run.npz", about=np.array([Trap()]))
    refused(tmp_path / "run.npz", "path must be a file that fit has written, got .* allow_pickle=False")
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
              r"path must hold a run with model = \['Affine\(W \(3, 5\).* got .*run with \['Affine\(W \(3, 4\)"),
    "activation": (lambda: changed(model=Sequential(Affine(3, 4, rng=RNG), Masked(4), ReLU(), Affine(4, 3, rng=RNG))),
                   r"with model = .*ReLU.* with .*Tanh"),
    "frozen": (frozen, r"with frozen = \[True, False, False, False\], got .*run with \[False, False, False, False\]"),
    "buffers": (lambda: changed(model=Sequential(Affine(3, 4, rng=RNG), Masked(1), Tanh(), Affine(4, 3, rng=RNG))),
                r"with model = .*Masked\(keep=0.9, mean \(1,\)\).* got .*Masked\(keep=0.9, mean \(4,\)\)"),
    "optimizer": (lambda: changed(optimizer=Momentum(lr=0.1)), "with optimizer = 'Momentum', got .*run with 'Adam'"),
    "generator": (lambda: changed(rng=np.random.Generator(np.random.MT19937(0))), "rng must be a PCG64 generator as in .*, got MT19937"),
    "no callbacks": (lambda: changed(callbacks=[]), r"with callbacks = \['Augment', 'Shrink', 'Evaluate', 'Anneal'\], got .* with \['Augment', 'Shrink', 'Evaluate', 'EarlyStopping', 'Pull', 'Anneal'\]"),
    "callbacks in another order": (lambda: changed(callbacks=Life().callbacks[::-1]), r"with callbacks = .*'Pull', 'EarlyStopping'"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_checkpoint_of_another_run_is_refused(name, tmp_path):
    Life().fit(tmp_path / "run", epochs=1)
    make, message = OTHERS[name]
    refused(tmp_path / "run", message, make())


@pytest.mark.parametrize(("change", "message"), [
    ({"batch_size": 5}, "with batch_size = 5, got .* with 4"),
    ({"drop_last": True}, "with drop_last = True, got .* with False"),
    ({"loss": lambda outputs, targets: softmax_cross_entropy(outputs, targets)}, "with loss = '<lambda>', got .* with 'softmax_cross_entropy'"),
    ({"weights": np.ones(10)}, r"with weights = 'float64 \(10,\) [0-9a-f]{8}', got .* with None"),
    ({"inputs": X[:9], "targets": Y[:9]}, r"with inputs = 'float64 \(9, 3\) .* with 'float64 \(10, 3\)"),
    ({"inputs": X + 1e-15 * (np.arange(30) == 7).reshape(10, 3)}, r"with inputs = 'float64 \(10, 3\) .* with 'float64 \(10, 3\)"),
    ({"targets": (Y + (np.arange(10) == 3)) % 3}, r"with targets = 'int64 \(10,\) .* with 'int64 \(10,\)"),
    ({"optimizer": Momentum(lr=0.5, rho=0.9)}, r"made with lr = 0\.5 .* lr = 0\.1"),
    ({"optimizer": Momentum(lr=lambda step: 0.1)}, r"with schedules.lr\(0\) = 0\.1|made with lr = 'schedule'"),
    ({"optimizer": SGD(lr=0.1)}, "with optimizer = 'SGD', got .* with 'Momentum'"),
    ({"callbacks": [Evaluate({"test": (X, Y)}), EarlyStopping("test_loss", patience=2)]}, r"with callbacks\[0\].sets = {'test': .* with {'validation': "),
    ({"callbacks": [Evaluate({"validation": (X, Y)}, metric=None), EarlyStopping("validation_loss", patience=2)]},
     r"with callbacks\[0\].metric = None, got .* with 'accuracy'"),
    ({"callbacks": [Evaluate({"validation": (X, Y)}), EarlyStopping("validation_loss", patience=3)]}, r"with callbacks\[1\].patience = 3, got .* with 2"),
    ({"callbacks": [EarlyStopping("loss", patience=2)]}, r"with callbacks = \['EarlyStopping'\], got .* with \['Evaluate', 'EarlyStopping'\]"),
])
def test_a_checkpoint_of_other_settings_is_refused(change, message, tmp_path):
    life, file = Life(), tmp_path / "run"
    callbacks = [Evaluate({"validation": (X, Y)}), EarlyStopping("validation_loss", patience=2)]
    given = {"model": life.model, "inputs": X, "targets": Y, "optimizer": Momentum(lr=0.1, rho=0.9), "epochs": 2, "rng": life.rng, "batch_size": 4}
    fit(**given, callbacks=[*callbacks, Checkpoint(file)])
    before, written = life.state(), file.read_bytes()
    given |= {"callbacks": callbacks} | change
    with pytest.raises(ValueError, match=message):
        fit(**given | {"callbacks": [*given["callbacks"], Checkpoint(file, resume=True)]})
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
        fit(model, X, Y, optimizer, epochs=1, rng=rng, callbacks=[Vague(), Checkpoint(tmp_path / "run")])
    assert optimizer.steps == 0 and rng.bit_generator.state == np.random.default_rng(0).bit_generator.state
    assert not os.listdir(tmp_path)


def test_objects_that_have_run_may_run_on_and_new_ones_behind_them(tmp_path):
    whole, life = Life().fit(epochs=6), Life()
    life.fit(tmp_path / "run", epochs=2)
    life.fit(tmp_path / "run", epochs=4, resume=True)  # their layers are no longer as they began
    assert Life().fit(tmp_path / "run", epochs=6, resume=True) == whole


# Two runs, and none

def test_two_runs_cannot_have_one_file(tmp_path):
    class Second(Callback):
        """Another run, that begins while the first one runs."""

        def after_step(self, run):
            life = Life()
            before, written = life.state(), (tmp_path / "run").read_bytes()
            for resume in (False, True):
                with pytest.raises(BlockingIOError, match="path must be written by one process at a time"):
                    life.fit(tmp_path / "run", resume=resume)
            assert life.state() == before and (tmp_path / "run").read_bytes() == written

    whole = Life().fit()[0]
    assert Life().fit(tmp_path / "run", callbacks=[Second()])[0] == whole
    assert os.listdir(tmp_path) == ["run"]
    Life().fit(tmp_path / "run")  # it is free again


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_run_that_ended_badly_has_let_go_of_its_file(error, tmp_path):
    class Ends(Callback):
        def after_step(self, run):
            raise error("ended")

    with pytest.raises(error, match="ended"):
        Life().fit(tmp_path / "run", callbacks=[Ends()])
    assert Life().fit(tmp_path / "run") == Life().fit()


def test_a_missing_folder_is_named_and_not_a_part_of_the_work(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"path must lie in a folder that exists, got {tmp_path / 'nowhere' / 'run'}$"):
        Life().fit(tmp_path / "nowhere" / "run")


@pytest.mark.parametrize(("make", "message"), [
    (lambda: Checkpoint(None), "path must name a file, got None"),
    (lambda: Checkpoint(""), "path must name a file, got ''"),
    (lambda: Checkpoint(3), "path must name a file, got 3"),
    (lambda: Checkpoint("run", every=0), "every must be a whole number from 1 up or None, got 0"),
    (lambda: Checkpoint("run", every="epoch"), "every must be a whole number from 1 up or None, got 'epoch'"),
    (lambda: Checkpoint("run", resume="yes"), "resume must be True or False, got 'yes'"),
])
def test_what_is_no_path_or_no_count_is_refused(make, message):
    with pytest.raises((TypeError, ValueError), match=message):
        make()


# What a callback changed on the way

class Halve(Callback):
    """A rate that falls when a column says so: no schedule knows it beforehand."""

    def after_epoch(self, run):
        if run.epoch % 2 == 0:
            run.optimizer.lr = run.optimizer.lr / 3


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
@pytest.mark.parametrize("every", [None, 1, 2])
def test_a_rate_that_a_callback_changed_is_resumed(stop, every, tmp_path):
    def run(epochs, checkpoint=None, optimizer=None):
        model, optimizer = network(), optimizer or Momentum(lr=0.3)
        history = fit(model, X, Y, optimizer, epochs=epochs, batch_size=4, rng=np.random.default_rng(0),
                      callbacks=[Halve(), *([checkpoint] if checkpoint else [])])
        return history, optimizer.lr, {key: w.tolist() for key, w in model.params.items()}

    whole = run(5)
    first = Momentum(lr=0.3)
    run(stop, Checkpoint(tmp_path / "run", every=every), first)
    assert run(5, Checkpoint(tmp_path / "run", every=every, resume=True)) == whole
    with pytest.raises(ValueError, match=r"made with lr = 0\.5"):
        run(5, Checkpoint(tmp_path / "run", resume=True), Momentum(lr=0.5))


@pytest.mark.parametrize(("ours", "theirs", "name"), [
    (lambda step: 0.1, lambda step: 0.1 if step < 4 else 0.05, r"schedules.lr\(4\) = 0.1, got .*run with 0.05"),
    (lambda step: 0.2, lambda step: 0.1, r"schedules.lr\(0\) = 0.2, got .*run with 0.1"),
    (lambda step: 0.1, lambda step: 0.1 if step != 6 else 0.05, r"schedules.lr\(5 to 7\) = "),
    (lambda step: 0.1, lambda step: 0.1 if step != 3 else 0.05, r"schedules.lr\(3 to 3\) = "),
])
def test_another_schedule_is_another_run(ours, theirs, name, tmp_path):
    def run(schedule, **options):
        fit(network(), X, Y, SGD(lr=schedule), epochs=3, batch_size=4, rng=np.random.default_rng(0), callbacks=[Checkpoint(tmp_path / "run", **options)])

    run(theirs)
    run(theirs, resume=True)
    with pytest.raises(ValueError, match=f"path must hold a run with {name}"):
        run(ours, resume=True)


def test_groups_are_resumed_too(tmp_path):
    def run(epochs, **options):
        model = network()
        optimizer = Groups({"*.b": SGD(lr=0.1), "0.*": Adam(lr=lambda step: 0.1 / (1 + step)), "*": Momentum(lr=0.1)}, clip_norm=0.1)
        callbacks = [Checkpoint(tmp_path / "run", **options)] if options else []
        history = fit(model, X, Y, optimizer, epochs=epochs, batch_size=4, rng=np.random.default_rng(0), callbacks=callbacks)
        return history, {key: w.tolist() for key, w in model.params.items()}

    whole = run(4)
    run(2, every=1)
    assert run(4, every=1, resume=True) == whole


@pytest.mark.parametrize("made", [lambda bound: SGD(lr=0.1, clip_norm=bound), lambda bound: SGD(lr=0.1, clip_value=bound),
                                  lambda bound: Groups({"*": SGD(lr=0.1)}, clip_norm=bound), lambda bound: Groups({"*": SGD(lr=0.1, clip_norm=bound)})])
def test_another_schedule_of_a_bound_is_another_run(made, tmp_path):
    def run(bound):
        fit(network(), X, Y, made(bound), epochs=2, rng=np.random.default_rng(0), callbacks=[Checkpoint(tmp_path / "run.npz", resume=True)])

    run(constant(1.0))
    run(constant(1.0))
    with pytest.raises(ValueError, match=r"path must hold a run with schedules\.\S*clip_\w+\(0\) = 0.5, got .* with 1.0"):
        run(constant(0.5))


def test_a_run_that_went_further_than_it_is_to_go_is_refused(tmp_path):
    def run(epochs):
        fit(network(), X, Y, SGD(lr=0.1), epochs=epochs, rng=np.random.default_rng(0), callbacks=[Checkpoint(tmp_path / "run.npz", resume=True)])

    run(2)
    with pytest.raises(ValueError, match=r"epochs must be at least the 2 that .*run.npz has, got 1"):
        run(1)
    run(3)


@pytest.mark.parametrize(("state", "row", "message"), [
    (3, {}, r"callback 0: state_dict\(\) must be a dict of arrays, numbers and strings, got 3"),
    ({}, {"set": {1}}, "history must be rows of numbers, got .1."),
])
def test_what_cannot_be_written_down_is_named(state, row, message, tmp_path):
    class Odd(Callback):
        columns = ()

        def state_dict(self):
            return state

        def after_epoch(self, run):
            run.history.epochs[-1].update(row)

    with pytest.raises(TypeError, match=message):
        fit(network(), X, Y, SGD(lr=0.1), epochs=1, rng=np.random.default_rng(0), callbacks=[Odd(), Checkpoint(tmp_path / "run.npz")])
