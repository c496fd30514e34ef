"""Trials: each has its own chance and none can change another; interrupted, they go on from their log, each once."""

import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from searches import SETTINGS, indices, noisy, same

import reference_impl.practice.trials as trials_module
from reference_impl.practice.search import search
from reference_impl.practice.trials import Trial


def test_the_trials_are_all_there_in_order_with_what_came_of_them(alone):
    assert [trial.index for trial in alone] == list(range(30)) and [trial.setting for trial in alone] == SETTINGS
    errors = {trial.error for trial in alone}
    assert errors == {"", "ValueError: it\n diverged", "SystemExit: told to"}
    assert all(math.isnan(trial.value) for trial in alone if trial.error)
    assert any(math.isnan(trial.value) for trial in alone if not trial.error)
    assert math.inf in {trial.value for trial in alone}


def test_a_trials_chance_comes_from_seed_and_place_alone():
    def first(setting, rng):
        return rng.random()

    streams = np.random.SeedSequence(5).spawn(4)
    values = [trial.value for trial in search(first, [{"a": 1}] * 4, seed=5)]
    assert values == [np.random.default_rng(stream).random() for stream in streams]
    # Not the stream that settings are drawn from with the same seed.
    assert np.random.default_rng(5).random() not in values
    assert values[:2] == [trial.value for trial in search(first, [{"a": 2}] * 2, seed=np.int64(5))]


def test_an_objective_cannot_change_what_is_tried():
    def meddling(setting, rng):
        setting["lr"] = 0.0
        return 0.0

    assert [trial.setting for trial in search(meddling, SETTINGS)] == SETTINGS


def test_never_more_than_so_many_are_given_out(monkeypatch, alone):
    monkeypatch.setattr(trials_module, "_IN_FLIGHT", 7)

    class Counting(ThreadPoolExecutor):
        out = most = 0

        def submit(self, *args):
            future = super().submit(*args)
            self.out += 1
            self.most = max(self.most, self.out)
            future.add_done_callback(self.back)
            return future

        def back(self, future):
            self.out -= 1

    with Counting(1) as executor:
        assert same(search(noisy, SETTINGS, seed=3, executor=executor), alone)
    assert 1 < executor.most <= 7


# Interrupted, killed

@pytest.mark.parametrize("stop", [KeyboardInterrupt, GeneratorExit])
def test_an_interrupted_search_goes_on_and_repeats_only_what_was_running(tmp_path, alone, stop):
    log, ran = tmp_path / "log", []

    def noisy(setting, rng):
        ran.append(setting["lr"])
        if len(ran) == 12:
            raise stop
        return globals()["noisy"](setting, rng)

    noisy.__qualname__ = "noisy"
    with pytest.raises(stop):
        search(noisy, SETTINGS, seed=3, log=log)
    assert indices(log) == list(range(11))
    assert same(search(noisy, SETTINGS, seed=3, log=log), alone)
    assert ran == [setting["lr"] for setting in [*SETTINGS[:12], *SETTINGS[11:]]]
    kept = log.read_bytes()
    assert same(search(noisy, SETTINGS, seed=3, log=log), alone) and len(ran) == 31 and log.read_bytes() == kept


def test_a_program_that_is_killed_loses_the_running_trial_only(tmp_path):
    log = tmp_path / "log"
    code = f"""
import os
from reference_impl.practice.search import search
def objective(setting, rng):
    if setting["a"] == 5:
        os.kill(os.getpid(), 9)
    return setting["a"]
search(objective, [{{"a": a}} for a in range(9)], log={str(log)!r})
"""
    root = Path(trials_module.__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == -9
    assert indices(log) == [0, 1, 2, 3, 4]

    def objective(setting, rng):
        return setting["a"]

    objective.__qualname__ = "objective"
    assert [trial.value for trial in search(objective, [{"a": a} for a in range(9)], log=log)] == list(range(9))


# The log

@pytest.mark.parametrize("cut", [1, 10, 60, 130, 200, 1000, -1, -20])
def test_a_log_cut_anywhere_is_gone_on_from(tmp_path, alone, cut):
    log = tmp_path / "log"
    search(noisy, SETTINGS, seed=3, log=log)
    whole = log.read_bytes()
    log.write_bytes(whole[:cut])
    assert same(search(noisy, SETTINGS, seed=3, log=log), alone)
    assert log.read_bytes() == whole


def test_a_damaged_line_is_run_again(tmp_path, alone):
    log = tmp_path / "log"
    search(noisy, SETTINGS, seed=3, log=log)
    lines = log.read_bytes().split(b"\n")
    lines[3:7] = [b"\0\0\0\xff", b'{"index": 99, "value": 1, "error": ""}', b"7", b'{"index": 5}']
    log.write_bytes(b"\n".join(lines))
    assert same(search(noisy, SETTINGS, seed=3, log=log), alone)
    assert sorted(indices_of_good(log)) == list(range(30))


def indices_of_good(log):
    for line in log.read_bytes().splitlines()[1:]:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "setting" in row:
            yield row["index"]


def test_a_log_reads_as_json_and_tells_what_was_tried(tmp_path, alone):
    log = tmp_path / "log"
    search(noisy, SETTINGS, seed=3, log=log)
    head, *rows = (json.loads(line) for line in log.read_text().splitlines())
    assert (head["objective"], head["seed"], head["trials"]) == ("noisy", 3, 30)
    for row, trial in zip(rows, alone):
        value = math.nan if row["value"] is None else row["value"]
        assert same(Trial(row["index"], row["setting"], value, row["error"]), trial)


@pytest.mark.parametrize("content", [b"", b"mine\n", b"mine", b"{}\n", b"\xff\xfe\n\n", b"{\"objective\": \"other\", "])
def test_a_file_of_something_else_is_refused_and_left_alone(tmp_path, content):
    log = tmp_path / "log"
    log.write_bytes(content)
    if not content:
        assert len(search(noisy, SETTINGS, log=log)) == 30
        return
    with pytest.raises(ValueError, match="log must be a file of this search"):
        search(noisy, SETTINGS, log=log)
    assert log.read_bytes() == content


@pytest.mark.parametrize("other", [
    lambda log: search(noisy, SETTINGS, seed=4, log=log),
    lambda log: search(noisy, SETTINGS[:-1], seed=3, log=log),
    lambda log: search(noisy, SETTINGS[::-1], seed=3, log=log),
    lambda log: search(lambda setting, rng: 0.0, SETTINGS, seed=3, log=log),
    lambda log: search(noisy, [SETTINGS[0] | {"lr": np.nextafter(SETTINGS[0]["lr"], 1)}, *SETTINGS[1:]], seed=3, log=log),
], ids=["seed", "fewer", "order", "objective", "last digit"])
def test_the_log_of_another_search_is_refused(tmp_path, other):
    log = tmp_path / "log"
    search(noisy, SETTINGS, seed=3, log=log)
    whole = log.read_bytes()
    with pytest.raises(ValueError, match="log must be a file of this search"):
        other(log)
    assert log.read_bytes() == whole


def test_a_log_knows_the_objective_by_its_name_and_gives_an_edited_one_the_old_values(tmp_path):
    def first(setting, rng):
        return 1.0

    def edited(setting, rng):
        return 2.0

    edited.__qualname__ = first.__qualname__
    log = tmp_path / "log"
    for objective in (first, edited):
        assert {trial.value for trial in search(objective, SETTINGS, log=log)} == {1.0}
    assert {trial.value for trial in search(edited, SETTINGS, log=tmp_path / "new")} == {2.0}


@pytest.mark.parametrize("few", [0, 1, 5])
def test_a_search_with_more_settings_goes_on_from_the_log_of_the_first_of_them(tmp_path, alone, few):
    log, ran = tmp_path / "log", []

    def noisy(setting, rng):
        ran.append(setting)
        return globals()["noisy"](setting, rng)

    noisy.__qualname__ = "noisy"
    search(noisy, SETTINGS[:few], seed=3, log=log)
    assert same(search(noisy, SETTINGS, seed=3, log=log), alone) and ran == SETTINGS
    whole = log.read_bytes()
    for end in (30, few):  # and neither runs again
        assert same(search(noisy, SETTINGS[:end], seed=3, log=log), alone[:end]) and len(ran) == 30
    assert log.read_bytes() == whole
    other = [*SETTINGS[:few], *SETTINGS[few:][::-1]]  # begins alike, and goes on with other settings: theirs are not in the log
    assert same(search(noisy, other, seed=3, log=log), search(noisy, other, seed=3))


def test_a_line_with_another_setting_or_of_no_trial_counts_as_not_there(tmp_path, alone):
    log = tmp_path / "log"
    search(noisy, SETTINGS, seed=3, log=log)
    head, *lines = log.read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    rows[4]["setting"]["lr"] *= 2
    rows[7]["index"], rows[8]["index"] = -1, 30
    log.write_text("\n".join([head, *map(json.dumps, rows)]) + "\n")
    ran = []

    def again(setting, rng):
        ran.append(setting)
        return noisy(setting, rng)

    again.__qualname__ = "noisy"
    assert same(search(again, SETTINGS, seed=3, log=log), alone)
    assert ran == [SETTINGS[i] for i in (4, 7, 8)]


@pytest.mark.parametrize("executor", [None, 2])
def test_failed_trials_stay_failed_unless_they_are_retried(tmp_path, executor):
    log, full, ran = tmp_path / "log", [True], []

    def saving(setting, rng):
        ran.append(setting["a"])
        if full[0] and setting["a"] in (1, 3):
            raise OSError("no space left on device")
        return setting["a"] + rng.random()

    settings = [{"a": a} for a in range(5)]

    def run(**options):
        if executor is None:
            return search(saving, settings, log=log, **options)
        with ThreadPoolExecutor(executor) as pool:
            return search(saving, settings, log=log, executor=pool, **options)

    failed = run()
    full[0] = False
    ran.clear()
    assert same(run(), failed) and [trial.index for trial in failed if trial.error] == [1, 3] and not ran
    mended = run(retry=True)
    assert sorted(ran) == [1, 3] and mended == search(saving, settings)
    assert run() == run(retry=True) == mended and len(ran) == 2 + 5  # the later line counts


def test_numpys_numbers_are_the_same_setting_as_pythons(tmp_path):
    log = tmp_path / "log"
    plain = [{"a": 0.1, "b": 3, "c": [1, 2], "d": True}]
    of_numpy = [{"a": np.float64(0.1), "b": np.int32(3), "c": np.array([1, 2]), "d": np.bool_(True)}]
    search(lambda setting, rng: 1.0, plain, log=log)
    ran = []
    found = search(lambda setting, rng: ran.append(1), of_numpy, log=log)
    assert not ran and found[0].value == 1.0 and found[0].setting is not plain[0] and type(found[0].setting["b"]) is np.int32


def test_a_log_does_not_depend_on_the_process(tmp_path):
    code = """
from functools import partial
from reference_impl.practice.search import search
from reference_impl.networks.layers import ReLU, Tanh
def objective(setting, rng):
    return 0.0
search(objective, [{"layer": ReLU, "of": max, "names": {"a", "b", "c"}, "x": 1 + 2j}], log="LOG")
"""
    root = Path(trials_module.__file__).parents[2]
    texts = []
    for seed in "12":
        log = tmp_path / seed
        subprocess.run([sys.executable, "-c", code.replace("LOG", str(log))], cwd=root, check=True,
                       env=os.environ | {"PYTHONHASHSEED": seed})
        texts.append(log.read_text())
    assert texts[0] == texts[1] and "reference_impl.networks.layers.ReLU" in texts[0] and " at 0x" not in texts[0]


@pytest.mark.parametrize("value", [lambda x: x, object(), partial(noisy, 1), [lambda x: x]], ids=["lambda", "object", "partial", "nested"])
def test_values_that_a_log_cannot_tell_apart_are_refused_by_it_only(tmp_path, value):
    assert len(search(lambda setting, rng: 0.0, [{"a": value}])) == 1
    with pytest.raises(TypeError, match="settings must hold numbers, strings or what has a name"):
        search(noisy, [{"a": value}], log=tmp_path / "log")
    assert not (tmp_path / "log").exists()


def test_a_log_in_a_folder_that_is_not_there_fails_before_the_first_trial(tmp_path):
    with pytest.raises(FileNotFoundError):
        search(lambda setting, rng: pytest.fail("ran"), SETTINGS, log=tmp_path / "none" / "log")
