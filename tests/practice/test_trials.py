"""Trials: each has its own chance and none can change another; what goes wrong in one is told."""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from searches import SETTINGS, noisy, same

import reference_impl.practice.trials as trials_module
from reference_impl.practice.search import search
from reference_impl.practice.trials import Trial, outcomes


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


# What an objective may do wrong

class Mute(Exception):
    """One that cannot say what it is."""

    def __str__(self):
        raise RuntimeError("no words")


def deep(setting, rng):
    if setting["depth"]:
        return deep(setting | {"depth": setting["depth"] - 1}, rng)
    raise ValueError("x" * 10**6)


@pytest.mark.parametrize("start", [None, ThreadPoolExecutor], ids=["here", "threads"])
def test_a_failed_trial_says_where_in_few_words(start, tmp_path):
    def run():
        if start is None:
            return search(deep, [{"depth": 0}, {"depth": 500}], log=tmp_path / "log")
        with start() as executor:
            return search(deep, [{"depth": 0}, {"depth": 500}], executor=executor, log=tmp_path / "log")

    with pytest.warns(RuntimeWarning, match="no trial has a number"):
        first, second = run()
    for trial in (first, second):
        assert trial.error == "ValueError: " + "x" * 985 + "..." and len(trial.error) == 1000
        assert len(trial.traceback) == 4000
    quiet = Trial(0, {}, math.nan, "ValueError", traceback="Traceback", maximize=True)
    assert repr(quiet) == "Trial(index=0, setting={}, value=nan, error='ValueError')" and Trial(0, {}, 1.0, maximize=True) == Trial(0, {}, 1.0)


@pytest.mark.parametrize("length", [0, 987, 988, 989, 2000])
def test_an_error_is_cut_behind_a_thousand_letters(length):
    def says(setting, rng):
        raise ValueError("x" * length)

    with pytest.warns(RuntimeWarning, match="no trial has a number"):
        (trial,) = search(says, [{}])
    whole = "ValueError: " + "x" * length
    assert trial.error == (whole if len(whole) <= 1000 else whole[:997] + "...")


def test_a_traceback_ends_where_the_error_was_raised_and_is_kept_in_the_log(tmp_path):
    with pytest.warns(RuntimeWarning):
        (trial,) = search(fails, [{"depth": 30}], log=tmp_path / "log")
    lines = trial.traceback.splitlines()
    assert lines[0] == "Traceback (most recent call last):" and lines[-1] == "ZeroDivisionError: division by zero"
    assert "return 1 / setting" in trial.traceback and trial.traceback.count('File "') == 10
    with pytest.warns(RuntimeWarning):
        assert search(fails, [{"depth": 30}], log=tmp_path / "log")[0].traceback == trial.traceback


def fails(setting, rng):
    if setting["depth"] % 2:  # two lines that take turns: a traceback folds one that repeats
        return fails({"depth": setting["depth"] - 1}, rng)
    if setting["depth"]:
        return fails({"depth": setting["depth"] - 1}, rng)
    return 1 / setting["depth"]


@pytest.mark.parametrize(("objective", "error"), [
    (lambda setting, rng: None, "TypeError: objective must return a number, got None"),
    (lambda setting, rng: np.ones(2), "TypeError: objective must return a number, got array([1., 1.])"),
    (lambda setting, rng: "3.5", "TypeError: objective must return a number, got '3.5'"),
    (lambda setting, rng: b"3.5", "TypeError: objective must return a number, got b'3.5'"),
    (lambda setting, rng: 1j, "TypeError: objective must return a number, got 1j"),
    (lambda setting, rng: 10**400, "OverflowError: "),
    (lambda setting, rng: (_ for _ in ()).throw(Mute), "Mute"),
], ids=["None", "an array", "a string", "bytes", "complex", "too large", "mute"])
def test_what_is_no_number_is_a_failed_trial(objective, error):
    with pytest.warns(RuntimeWarning, match="no trial has a number"):
        (trial,) = search(objective, [{}])
    assert math.isnan(trial.value) and trial.error.startswith(error)


def test_trials_are_taken_when_they_can_begin():
    taken = []

    def left():
        for i in range(3):
            taken.append(i)
            yield i

    trials = outcomes(None, noisy, SETTINGS, 3, left())
    assert not taken and next(trials).index == 0 and taken == [0] and next(trials).index == 1 and taken == [0, 1]


@pytest.mark.parametrize(("argument", "value"), [
    ("executor", 4), ("objective", "noisy"), ("settings", 3), ("seed", -1), ("seed", 1.5), ("left", 3),
])
def test_what_outcomes_refuse(argument, value):
    with pytest.raises((TypeError, ValueError), match=f"^{argument} must be"):
        outcomes(**{"executor": None, "objective": noisy, "settings": SETTINGS, "seed": 3, "left": [0]} | {argument: value})
