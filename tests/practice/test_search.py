"""Search: the same trials on every executor, each once, whatever dies; spaces and their draws; rounds from coarse to fine."""

import json
import math
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest
from searches import SETTINGS, SPACE, indices, noisy, same

from reference_impl import Affine
from reference_impl.practice.search import (
    Choice,
    LogUniform,
    Stepped,
    Trial,
    Uniform,
    Whole,
    best,
    chance_of_top,
    coarse_to_fine,
    draw,
    grid,
    halving,
    search,
)


def dies(folder, setting, rng):
    """`noisy`, leaving a mark of every run; at one setting it kills its own process, the first time."""
    marker = Path(folder) / "died"
    if setting == SETTINGS[11] and not marker.exists():
        marker.touch()
        os._exit(1)
    (Path(folder) / f"{setting['lr']!r} {time.monotonic_ns()} {os.getpid()}").touch()
    return noisy(setting, rng)


def forked():
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork"))


class Shuffled(Executor):
    """Finishes what it got in an order of its own, from a thread of its own, when the queue is `full`."""

    def __init__(self, full, seed):
        self.full, self.rng, self.work = full, np.random.default_rng(seed), []

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        self.work.append((future, partial(fn, *args, **kwargs)))
        if len(self.work) == self.full:
            threading.Thread(target=self.finish).start()
        return future

    def finish(self):
        for i in self.rng.permutation(len(self.work)):
            future, call = self.work[i]
            future.set_result(call())


class Scripted(Executor):
    """Runs at once, but in place of some results there is what a script says: index -> list of exceptions to come first."""

    def __init__(self, script):
        self.script, self.submitted = script, []

    def submit(self, fn, /, objective, setting, seed, index):
        future, planned = Future(), self.script.get(index, [])
        self.submitted.append(index)
        if planned:
            future.set_exception(planned.pop(0))
        else:
            future.set_result(fn(objective, setting, seed, index))
        return future


# On any executor

@pytest.mark.parametrize("start", [
    lambda: ThreadPoolExecutor(4), forked, lambda: Shuffled(30, 0), lambda: Shuffled(30, 1),
], ids=["threads", "processes", "shuffled", "shuffled otherwise"])
def test_any_executor_gives_the_same_trials_bit_for_bit(start, alone, tmp_path):
    log = tmp_path / "log"
    with start() as executor:
        assert same(search(noisy, SETTINGS, seed=3, executor=executor, log=log), alone)
    assert sorted(indices(log)) == list(range(30))
    if isinstance(executor, Shuffled):
        assert indices(log) != sorted(indices(log))


# A cluster

@pytest.fixture
def client():
    distributed = pytest.importorskip("distributed")
    import dask

    quiet = {"distributed.logging.distributed": "error", "distributed.admin.system-monitor.interval": "10s"}
    with dask.config.set(quiet), distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", silence_logs=50) as cluster:
        with distributed.Client(cluster) as client:
            yield client


def test_a_cluster_that_loses_a_worker_in_mid_search_loses_no_trial_and_counts_none_twice(client, tmp_path):
    settings = SETTINGS
    log, marks = tmp_path / "log", tmp_path / "marks"
    marks.mkdir()
    folder = str(marks)

    def objective(setting, rng):  # pickled by value: the workers do not know this file
        import os
        import time
        from pathlib import Path

        Path(folder, f"{setting['lr']!r} {os.getpid()} {time.monotonic_ns()}").touch()
        time.sleep(0.06)
        if setting["units"] == 8:
            raise ValueError("diverged")
        return setting["lr"] + rng.standard_normal()

    def marked():
        return [mark.name.split() for mark in marks.iterdir()]

    killed = []

    def kill():
        while not log.exists() or len(indices(log)) < 6:
            time.sleep(0.01)
        _, pid, _ = max(marked(), key=lambda mark: int(mark[2]))  # the one that has just begun a trial
        os.kill(int(pid), signal.SIGKILL)
        killed.append((int(pid), len(indices(log))))

    pids = set(client.run(os.getpid).values())
    killer = threading.Thread(target=kill)
    killer.start()
    found = search(objective, settings, seed=3, executor=client.get_executor(), log=log)
    killer.join()
    ((pid, when),) = killed
    assert pid in pids and when < 25
    ran = marked()
    assert sorted(indices(log)) == list(range(30)) and [trial.index for trial in found] == list(range(30))
    assert {name for name, *_ in ran} == {repr(setting["lr"]) for setting in settings}
    # What was under way at the dead worker ran again; what had come back did not.
    assert 30 <= len(ran) <= 30 + 10

    def quick(setting, rng):
        if setting["units"] == 8:
            raise ValueError("diverged")
        return setting["lr"] + rng.standard_normal()

    assert same(found, search(quick, settings, seed=3))
    lock = threading.Lock()
    with pytest.raises(RuntimeError, match=r"could not be pickled for it; 0 of 2 trials are done"):
        search(lambda setting, rng: float(lock.locked()), settings[:2], executor=client.get_executor())


def test_a_trial_that_a_cluster_gave_up_is_run_once_more_and_then_has_failed(alone):
    class KilledWorker(Exception):
        pass

    executor = Scripted({4: [KilledWorker("1")], 6: [KilledWorker("1"), KilledWorker("2")]})
    found = search(noisy, SETTINGS, seed=3, executor=executor)
    assert executor.submitted == [*range(30), 4, 6]
    assert found[6].error == "KilledWorker: 2" and math.isnan(found[6].value)
    assert same([*found[:6], *found[7:]], [*alone[:6], *alone[7:]])


# What breaks off a search

def test_a_pool_whose_worker_dies_says_so_and_a_new_one_goes_on(tmp_path, alone):
    log, marks = tmp_path / "log", tmp_path / "marks"
    marks.mkdir()
    objective = partial(dies, str(marks))
    with forked() as pool:
        with pytest.raises(RuntimeError, match=r"BrokenProcessPool.* of 30 trials are done: call again .* goes on from .*log"):
            search(objective, SETTINGS, seed=3, executor=pool, log=log)
        before = set(indices(log))
        assert before and len(before) == len(indices(log)) < 30
        with pytest.raises(RuntimeError, match=f"{len(before)} of 30 trials are done"):  # a broken pool stays broken
            search(objective, SETTINGS, seed=3, executor=pool, log=log)
    first = {float(mark.name.split()[0]) for mark in marks.iterdir() if mark.name != "died"}
    for mark in marks.iterdir():
        if mark.name != "died":
            mark.unlink()
    with forked() as pool:
        assert same(search(objective, SETTINGS, seed=3, executor=pool, log=log), alone)
    again = sorted(float(mark.name.split()[0]) for mark in marks.iterdir() if mark.name != "died")
    assert again == sorted(SETTINGS[i]["lr"] for i in set(range(30)) - before)
    assert sorted(indices(log)) == list(range(30)) and {SETTINGS[i]["lr"] for i in before} <= first


def test_without_a_log_the_message_says_what_one_is_for(tmp_path):
    with forked() as pool, pytest.raises(RuntimeError, match="a log would have kept them"):
        search(partial(dies, str(tmp_path)), SETTINGS, seed=3, executor=pool)


def test_an_objective_that_cannot_be_pickled_is_no_failed_trial(tmp_path):
    log = tmp_path / "log"
    with forked() as pool, pytest.raises(RuntimeError, match=r"could not be pickled for it; 0 of 30 trials are done"):
        search(lambda setting, rng: 0.0, SETTINGS, executor=pool, log=log)
    assert indices(log) == []


def test_what_still_comes_back_is_kept_when_one_trial_is_lost(tmp_path):
    log = tmp_path / "log"
    executor = Scripted({4: [CancelledError("gone")]})
    with pytest.raises(RuntimeError, match=r"CancelledError: gone.*29 of 30"):
        search(noisy, SETTINGS, seed=3, executor=executor, log=log)
    assert sorted(indices(log)) == [i for i in range(30) if i != 4]
    with pytest.raises(KeyboardInterrupt):
        search(noisy, SETTINGS, seed=3, executor=Scripted({4: [KeyboardInterrupt()]}), log=log)


def test_an_executor_that_was_shut_down_is_named():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match=r"cannot schedule new futures after shutdown.*0 of 1 trials"):
        search(noisy, SETTINGS[:1], executor=pool)


# Spaces

@pytest.mark.parametrize("axis", [Uniform(-3, 5), Uniform(-1e308, 1e308), LogUniform(1e-300, 1e300), LogUniform(0.1234567890123456, 0.2)])
def test_draws_and_grids_stay_within_and_reach_the_ends(axis):
    shares = np.random.default_rng(0).random(1000)
    assert all(axis.low <= axis.at(share) <= axis.high for share in shares)
    for points in (2, 3, 7, 100):
        values = [setting["a"] for setting in grid({"a": axis}, points)]
        assert values[0] == axis.low and values[-1] == axis.high and (np.diff(np.array(values) / 2) > 0).all()


def test_a_log_uniform_draw_gives_every_decade_the_same():
    values = np.array([setting["a"] for setting in draw({"a": LogUniform(1e-4, 1)}, 20_000, np.random.default_rng(1))])
    parts, _ = np.histogram(np.log10(values), [-4, -3, -2, -1, 0])
    assert abs(parts / 20_000 - 0.25).max() < 4 * (0.25 * 0.75 / 20_000) ** 0.5
    assert np.isclose([LogUniform(2, 32).at(share) for share in (0, 0.25, 0.5, 0.75, 1)], [2, 4, 8, 16, 32], rtol=1e-14).all()


@pytest.mark.parametrize(("axis", "share_of"), [
    (Uniform(-2, 4), lambda k: 1 / 7),
    (LogUniform(4, 64), lambda k: math.log((k + 0.5) / (k - 0.5)) / math.log(64.5 / 3.5)),
    (LogUniform(1, 9), lambda k: math.log((k + 0.5) / (k - 0.5)) / math.log(9.5 / 0.5)),
], ids=["-2 to 4", "4 to 64", "1 to 9"])
def test_whole_numbers_are_drawn_ends_included_in_their_shares(axis, share_of):
    count = 40_000
    drawn = [setting["a"] for setting in draw({"a": Whole(axis)}, count, np.random.default_rng(0))]
    numbers = range(int(axis.low), int(axis.high) + 1)
    assert {type(k) for k in drawn} == {int} and set(drawn) == set(numbers)
    assert sum(share_of(k) for k in numbers) == pytest.approx(1)
    for k in numbers:
        assert abs(drawn.count(k) / count - share_of(k)) < 4.5 * (share_of(k) / count) ** 0.5
    assert (Whole(axis).at(0.0), Whole(axis).at(1.0)) == (axis.low, axis.high)
    assert drawn[:50] == [setting["a"] for setting in draw({"a": Whole(axis)}, 50, np.random.default_rng(0))]


def test_a_grid_of_whole_numbers_reaches_the_ends_and_has_none_twice():
    assert [setting["a"] for setting in grid({"a": Whole(LogUniform(4, 64))}, 5)] == [4, 8, 16, 32, 64]
    assert [setting["a"] for setting in grid({"a": Whole(Uniform(1, 4))}, 4)] == [1, 2, 3, 4]
    assert [setting["a"] for setting in grid({"a": Whole(Uniform(1, 4)), "b": Choice([0])}, 50)] == [1, 2, 3, 4]
    assert [setting["a"] for setting in grid({"a": Whole(LogUniform(1, 100))}, 1)] == [10]
    assert {type(setting["a"]) for setting in grid({"a": Whole(Uniform(1.0, 4.0))}, 3)} == {int}


def test_whole_numbers_narrow_to_whole_numbers_down_to_one():
    assert Whole(LogUniform(4, 64)).narrowed([8, 16], 0.0) == Whole(LogUniform(8, 16))
    assert Whole(Uniform(0, 100)).narrowed([40, 50], 0.1) == Whole(Uniform(30, 60))
    assert Whole(Uniform(0, 100)).narrowed([0, 99], 0.1) == Whole(Uniform(0, 100))
    assert Whole(Uniform(0, 100)).narrowed([7, 7], 0.0) == Choice([7])
    rounds = coarse_to_fine(lambda setting, rng: (setting["a"] - 37) ** 2, {"a": Whole(LogUniform(1, 1000))}, rounds=6, count=12,
                            rng=np.random.default_rng(0))
    values = [[trial.setting["a"] for trial in part] for part in rounds]
    assert {type(a) for part in values for a in part} == {int} and min(map(min, values)) >= 1 and max(map(max, values)) <= 1000
    assert max(values[-1]) - min(values[-1]) < 20 and best(rounds[-1]).setting["a"] in (36, 37, 38)


@pytest.mark.parametrize(("axis", "numbers"), [
    (Stepped(16, 64, 16), [16, 32, 48, 64]),
    (Stepped(-0.2, 0.4, 0.1), [-0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4]),
    (Stepped(0, 1, 0.5), [0.0, 0.5, 1.0]),
    (Stepped(np.int64(1), np.int32(7), 3), [1, 4, 7]),
    (Stepped(0.1234567890123456, 1.1234567890123456, 1), [0.1234567890123456, 1.1234567890123456]),
], ids=str)
def test_an_axis_of_steps_has_each_of_its_numbers_alike_ends_included(axis, numbers):
    count = 9000
    drawn = [setting["a"] for setting in draw({"a": axis}, count, np.random.default_rng(0))]
    assert sorted(set(drawn)) == pytest.approx(numbers, abs=1e-16) and {type(a) for a in drawn} == {type(numbers[0])}
    assert axis.count == len(numbers) and axis.at(0.0) == numbers[0] and axis.at(1.0) == numbers[-1]
    for number in set(drawn):
        share = 1 / len(numbers)
        assert abs(drawn.count(number) / count - share) < 4 * (share * (1 - share) / count) ** 0.5
    for points in (len(numbers), 50):
        assert [setting["a"] for setting in grid({"a": axis}, points)] == pytest.approx(numbers, abs=1e-16)


def test_steps_narrow_to_steps_down_to_one():
    axis = Stepped(0, 100, 5)
    assert [setting["a"] for setting in grid({"a": axis}, 3)] == [0, 50, 100]
    assert axis.narrowed([20, 35, 25], 0.0) == Stepped(20, 35, 5)
    assert axis.narrowed([20, 35], 0.05) == Stepped(15, 40, 5) and axis.narrowed([20, 35], 0.049) == Stepped(20, 35, 5)
    assert axis.narrowed([5, 100], 0.1) == Stepped(0, 100, 5)
    assert axis.narrowed([55, 55], 0.0) == Choice([55])
    tenths = Stepped(0.0, 1.0, 0.1)
    assert tenths.narrowed([0.3, 0.7], 0.0) == Stepped(0.3, 0.7, 0.1) and tenths.narrowed([0.3], 0.1) == Stepped(0.2, 0.4, 0.1)
    rounds = coarse_to_fine(lambda setting, rng: (setting["a"] - 35) ** 2, {"a": axis}, rounds=4, count=20, rng=np.random.default_rng(0))
    assert best([*chain(*rounds)]).setting == {"a": 35} and max(trial.setting["a"] for trial in rounds[-1]) < 60


def width(setting, rng):
    """A trial that builds a layer: its width must be whole."""
    return Affine(2, setting["units"], rng=rng).params["W"].std() + setting["units"]


def test_a_width_needs_whole_numbers_and_a_search_of_failures_says_so(tmp_path):
    broken = draw({"units": LogUniform(4, 64)}, 8, np.random.default_rng(0))
    with pytest.warns(RuntimeWarning, match="no trial has a number: 8 without; the first error: ValueError: outputs must be a whole"):
        failed = search(width, broken)
    assert all(math.isnan(trial.value) for trial in failed)
    whole, log = draw({"units": Whole(LogUniform(4, 64))}, 8, np.random.default_rng(0)), tmp_path / "log"
    found = search(width, whole, log=log)
    assert not any(trial.error for trial in found)
    text = log.read_text().splitlines(keepends=True)
    log.write_text("".join(text[:4]))
    assert search(width, whole, log=log) == found and log.read_text() == "".join(text)  # goes on from three of eight


def test_a_warning_of_a_search_points_at_its_call():
    with pytest.warns(RuntimeWarning) as caught:
        search(lambda setting, rng: math.nan, [{}])
        halving(lambda setting, rng: math.nan, [{}], over="n", budgets=[1])
    assert [warning.filename for warning in caught] == [__file__] * 2


def test_a_search_with_one_number_among_failures_does_not_warn(recwarn):
    search(lambda setting, rng: 1 / setting["a"], [{"a": 0}, {"a": 1}])
    search(lambda setting, rng: math.inf, [{"a": 0}])
    search(lambda setting, rng: 1.0, [])
    assert not len(recwarn)


@pytest.mark.parametrize("trials", [16, 25, 64])
def test_in_the_plane_a_grid_is_nearer_to_a_place_and_random_trials_to_a_value_on_one_axis(trials):
    rng, side, searches = np.random.default_rng(0), round(trials**0.5), 2000
    cells = np.array([[i, j] for i in range(side) for j in range(side)])
    target = rng.random((searches, 1, 2))
    gaps = {"grid": (cells + rng.random((searches, 1, 2))) / side - target, "random": rng.random((searches, trials, 2)) - target}
    place = {name: np.linalg.norm(gap, axis=2).min(axis=1) for name, gap in gaps.items()}
    value = {name: abs(gap[..., 0]).min(axis=1) for name, gap in gaps.items()}
    for nearer, further in ((place["grid"], place["random"]), (value["random"], value["grid"])):
        assert (further - nearer).mean() > 5 * (further - nearer).std() / searches**0.5


def test_keeping_more_of_a_round_finds_a_narrow_valley_oftener():
    def two_valleys(setting, rng):
        broad = 0.7 * math.exp(-((setting["x"] - 1) ** 2) / 2)
        return 1 - broad - 0.98 * math.exp(-(((setting["x"] + 2) / 0.1) ** 2) / 2)

    def hits(keep, rounds=3):
        found = [coarse_to_fine(two_valleys, {"x": Uniform(-3, 3)}, rounds=rounds, count=60 // rounds, keep=keep,
                                rng=np.random.default_rng(seed)) for seed in range(150)]
        return sum(min(abs(best(part).setting["x"] + 2) for part in rounds) < 0.15 for rounds in found)

    assert hits(0.1) < hits(0.5) < hits(0.5, rounds=1)


def test_rounds_lose_a_narrow_valley_that_they_saw_but_did_not_keep():
    def two_valleys(setting, rng):
        broad = 0.7 * math.exp(-((setting["x"] - 1) ** 2) / 2)
        return 1 - broad - 0.98 * math.exp(-(((setting["x"] + 2) / 0.1) ** 2) / 2)

    def near(trial):
        return abs(trial.setting["x"] + 2) < 0.15

    seen, found = np.array([
        (any(map(near, rounds[0])), near(best([*chain(*rounds)])))
        for rounds in (coarse_to_fine(two_valleys, {"x": Uniform(-3, 3)}, rounds=3, count=20, rng=np.random.default_rng(seed))
                       for seed in range(200))
    ]).T
    assert (seen & ~found).sum() > 15 and (~seen & ~found).sum() > 50 and (found & ~seen).sum() < 5


def band(setting, rng):
    """As on the page's map: nothing on the left, a rise, a level, a fall; the other axis minor."""
    return -(setting["u"] < 0.75) / (1 + math.exp(20 * (0.45 - setting["u"]))) - 0.05 * setting["v"]


def valley(setting, rng):
    return -math.exp(-(((setting["u"] - 0.6) / 0.125) ** 2 + ((setting["v"] - 0.4) / 0.125) ** 2) / 2)


@pytest.mark.parametrize(("loss", "count", "gains"), [(band, 5, False), (valley, 20, True)])
def test_without_any_noise_rounds_can_lose_to_all_at_once_as_they_can_gain(loss, count, gains):
    def reached(rounds, seed):
        space = {"u": Uniform(0, 1), "v": Uniform(0, 1)}
        found = coarse_to_fine(loss, space, rounds=rounds, count=3 * count // rounds, rng=np.random.default_rng(seed))
        return best([*chain(*found)]).value

    more = np.array([reached(3, seed) - reached(1, seed + 1000) for seed in range(200)])
    assert more.mean() * (-1 if gains else 1) > 4 * more.std(ddof=1) / len(more) ** 0.5


def test_a_grid_has_each_pair_once_and_a_draw_each_value_once():
    space = {"a": Uniform(0, 1), "b": Uniform(0, 1), "c": Choice(["x", "y"])}
    settings = grid(space, 4)
    assert len({tuple(setting.values()) for setting in settings}) == len(settings) == 4 * 4 * 2
    assert len({setting["a"] for setting in settings}) == 4
    assert len({setting["a"] for setting in draw(space, 32, np.random.default_rng(0))}) == 32
    assert grid({"a": Uniform(0, 1)}, 1) == [{"a": 0.5}]


def test_a_choice_draws_each_of_its_values_alike():
    for values in ([1, 2, 3], np.arange(1, 4), range(1, 4)):
        found = [setting["a"] for setting in draw({"a": Choice(values)}, 3000, np.random.default_rng(2))]
        assert abs(np.bincount(found)[1:] / 3000 - 1 / 3).max() < 4 * (2 / 9 / 3000) ** 0.5
    assert Choice([1, 2]).at(1.0) == 2


def test_the_first_draws_of_a_longer_search_are_those_of_a_shorter_one():
    long = draw(SPACE, 50, np.random.default_rng(3))
    assert draw(SPACE, 20, np.random.default_rng(3)) == long[:20]


# Results

def test_the_best_is_the_smallest_number():
    values = [math.nan, 2.0, -math.inf, 1.0, -math.inf]
    assert best([Trial(i, {}, value) for i, value in enumerate(values)]).index == 2
    with pytest.raises(ValueError, match="got 2 without; the first error: OSError: disk"):
        best([Trial(0, {}, math.nan), Trial(1, {}, math.nan, "OSError: disk")])
    with pytest.raises(ValueError, match="got 0 without"):
        best([])


def test_the_chance_of_the_top_is_the_share_of_searches_that_hit_it():
    assert chance_of_top(0.05, 60) == pytest.approx(0.9539, abs=5e-5)
    assert chance_of_top(0.05, 59) > 0.95 > chance_of_top(0.05, 58)
    assert [chance_of_top(share, trials) for share, trials in ((0, 9), (1, 1), (0.3, 0), (0.3, 1))] == pytest.approx([0, 1, 0, 0.3])
    hits = (np.random.default_rng(4).random((20_000, 60)) < 0.05).any(axis=1).mean()
    assert hits == pytest.approx(chance_of_top(0.05, 60), abs=4 * (0.954 * 0.046 / 20_000) ** 0.5)


def test_of_a_search_that_maximizes_the_best_is_the_largest_number():
    values = [math.nan, 2.0, math.inf, 1.0, math.inf]
    trials = search(lambda setting, rng: values[setting["a"]], [{"a": a} for a in range(5)], maximize=True)
    assert [trial.value for trial in trials[1:]] == values[1:] and best(trials).index == 2
    assert best(trials, maximize=False).index == 3
    plain = [Trial(i, {}, value) for i, value in enumerate(values)]
    assert best(plain).index == best(plain, maximize=False).index == 3 and best(plain, maximize=True).index == 2


def test_a_log_is_the_same_whichever_way_is_better(tmp_path):
    log = tmp_path / "log"
    for maximize in (False, True):
        search(noisy, SETTINGS, seed=3, log=log, maximize=maximize)
    assert indices(log) == list(range(30))


# Coarse to fine

def bowl(setting, rng):
    return (setting["x"] - 0.2) ** 2 + (math.log10(setting["lr"]) + 2) ** 2 + (setting["kind"] != "b")


BOWL = {"x": Uniform(-5, 5), "lr": LogUniform(1e-6, 1), "kind": Choice(["a", "b", "c"])}


def spans(trials):
    return {name: (min(of), max(of)) for name in ("x", "lr") if (of := [trial.setting[name] for trial in trials])}


def test_each_round_draws_within_what_the_best_of_the_last_spanned():
    rounds = coarse_to_fine(bowl, BOWL, rounds=5, count=30, rng=np.random.default_rng(0), keep=0.2, margin=0.0)
    assert [len(part) for part in rounds] == [30] * 5
    for before, after in pairwise(rounds):
        good = sorted(before, key=lambda trial: trial.value)[:6]
        for name, (low, high) in spans(after).items():
            assert spans(good)[name][0] <= low < high <= spans(good)[name][1]
        assert {trial.setting["kind"] for trial in after} <= {trial.setting["kind"] for trial in good}
    assert best(rounds[-1]).value < best(rounds[0]).value / 10


def test_it_never_leaves_the_first_range():
    rounds = coarse_to_fine(lambda setting, rng: -setting["x"], {"x": Uniform(0, 1)}, rounds=8, count=10, rng=np.random.default_rng(1),
                            margin=0.2)
    values = [trial.setting["x"] for part in rounds for trial in part]
    assert min(values) >= 0 and 0.99 < max(values) <= 1


@pytest.mark.parametrize("objective", [
    lambda setting, rng: math.nan, lambda setting, rng: 1 / 0, lambda setting, rng: 0.0,
    lambda setting, rng: setting["x"] if setting["x"] < -4.5 else math.inf,
], ids=["NaN", "errors", "all equal", "few"])
@pytest.mark.filterwarnings("ignore:no trial has a number:RuntimeWarning")
def test_rounds_with_little_to_go_by_go_on(objective):
    rounds = coarse_to_fine(objective, BOWL, rounds=4, count=5, rng=np.random.default_rng(2))
    assert [len(part) for part in rounds] == [5] * 4


@pytest.mark.parametrize("margin", [0.0, 0.05])
def test_narrowing_for_ever_ends_at_neighbouring_numbers(margin):
    space = {"x": Uniform(-5, 5), "lr": LogUniform(1e-6, 1), "one": Choice([1])}
    rounds = coarse_to_fine(lambda setting, rng: (setting["x"] - 1) ** 2 + setting["lr"], space, rounds=120, count=4,
                            rng=np.random.default_rng(3), margin=margin)
    assert len(rounds) == 120


def test_rounds_are_the_same_on_any_executor_and_go_on_from_their_logs(tmp_path):
    def run(**options):
        return coarse_to_fine(bowl, BOWL, rounds=3, count=10, rng=np.random.default_rng(4), **options)

    alone, log = run(), tmp_path / "log"
    with ThreadPoolExecutor(3) as pool:
        assert run(executor=pool) == alone
    assert run(log=log) == alone
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.0", "log.1", "log.2"]
    (tmp_path / "log.2").unlink()
    lines = (tmp_path / "log.1").read_text().splitlines(keepends=True)
    (tmp_path / "log.1").write_text("".join(lines[:4]))
    assert run(log=log) == alone


def test_rounds_that_maximize_are_those_that_minimize_the_opposite():
    def hill(setting, rng):
        return -bowl(setting, rng)

    low, high = (coarse_to_fine(loss, BOWL, rounds=4, count=12, rng=np.random.default_rng(5), maximize=loss is hill) for loss in (bowl, hill))
    assert [[trial.setting for trial in part] for part in low] == [[trial.setting for trial in part] for part in high]
    assert best(high[-1]).value == -best(low[-1]).value


# Successive halving

def learns(setting, rng):
    """A loss that falls with the epochs to a level of its own; at one setting it never has a number."""
    if setting["a"] == 7:
        raise ValueError("diverged")
    return abs(setting["a"] - 5) + 10 / setting["epochs"] + 0.1 * rng.random()


LADDER = [{"a": a} for a in range(16)]


def halve(objective=learns, **options):
    return halving(objective, LADDER, **{"over": "epochs", "budgets": [1, 2, 4, 8]} | options)


def test_each_rung_is_the_best_half_of_the_last_with_a_larger_budget():
    rungs = halve()
    assert [len(rung) for rung in rungs] == [16, 8, 4, 2]
    assert [trial.setting for trial in rungs[0]] == [{"a": a, "epochs": 1} for a in range(16)]
    assert [trial.index for rung in rungs for trial in rung] == list(range(30))
    for budget, (before, after) in zip([2, 4, 8], pairwise(rungs)):
        good = sorted((trial for trial in before if not trial.error), key=lambda trial: trial.value)[:len(after)]
        assert [trial.setting for trial in after] == [trial.setting | {"epochs": budget} for trial in good]
    assert best(rungs[-1]).setting == {"a": 5, "epochs": 8}
    assert all(trial.value == learns(trial.setting, np.random.default_rng(np.random.SeedSequence(0, spawn_key=(trial.index,))))
               for rung in rungs for trial in rung if not trial.error)


@pytest.mark.parametrize(("keep", "sizes"), [(1 / 4, [16, 4, 1, 1]), (1 / 3, [16, 5, 1, 1]), (1, [16, 15, 15, 15]), (1e-9, [16, 1, 1, 1])])
def test_the_part_that_goes_on_is_rounded_down_but_never_to_none(keep, sizes):
    assert [len(rung) for rung in halve(keep=keep)] == sizes


def test_a_third_of_twenty_seven_is_nine():
    rungs = halving(lambda setting, rng: setting["a"], [{"a": a} for a in range(27)], over="n", budgets=[1, 3, 9, 27], keep=1 / 3)
    assert [len(rung) for rung in rungs] == [27, 9, 3, 1]
    rungs = halving(lambda setting, rng: setting["a"], [{"a": a} for a in range(100)], over="n", budgets=[1, 3], keep=0.29)
    assert [len(rung) for rung in rungs] == [100, 29] and 0.29 * 100 < 29


def test_halving_that_maximizes_is_halving_of_the_opposite(tmp_path):
    rungs = halve(lambda setting, rng: -learns(setting, rng), maximize=True)
    assert [[trial.setting for trial in rung] for rung in rungs] == [[trial.setting for trial in rung] for rung in halve()]
    assert best(rungs[-1]).value == -best(halve()[-1]).value


def test_a_rung_without_a_number_is_the_last():
    def fails(setting, rng):
        raise ValueError("diverged")

    with pytest.warns(RuntimeWarning, match="no trial has a number: 16 without; the first error: ValueError: diverged"):
        assert [len(rung) for rung in halve(fails)] == [16]
    with pytest.warns(RuntimeWarning, match="no trial has a number: 8 without"):
        assert [len(rung) for rung in halve(lambda setting, rng: 1 / (setting["epochs"] == 1))] == [16, 8]


def rows(log):
    return [json.loads(line) for line in log.read_text().splitlines()[1:]]


@pytest.mark.parametrize("start", [lambda: ThreadPoolExecutor(3), forked], ids=["threads", "processes"])
def test_halving_is_the_same_on_any_executor(start, tmp_path):
    with start() as executor:
        assert same(halve(executor=executor, log=tmp_path / "log"), halve())
    assert [row["promoted"] for row in rows(tmp_path / "log") if "rung" in row] == [
        [trial.index for trial in sorted(rung, key=lambda trial: trial.value if not trial.error else math.inf)][:len(rung) // 2]
        for rung in halve()[:-1]]


@pytest.mark.parametrize("lines", [1, 5, 17, 18, 20, 26, 33, 34])
def test_halving_goes_on_from_wherever_its_log_ends(lines, tmp_path):
    log, ran = tmp_path / "log", []

    def counted(setting, rng):
        ran.append(setting)
        return learns(setting, rng)

    whole = halve(counted, log=log)
    text = log.read_bytes().splitlines(keepends=True)
    assert len(text) == 1 + 30 + 3 and len(ran) == 30
    log.write_bytes(b"".join(text[:lines]))
    assert same(halve(counted, log=log), whole) and log.read_bytes() == b"".join(text)
    assert len(ran) == 30 + sum(b'"index"' in line for line in text[lines:])


def test_who_was_promoted_stays_promoted_when_a_failed_trial_gets_a_number(tmp_path):
    full, log = [True], tmp_path / "log"

    def saving(setting, rng):
        if full[0] and setting == {"a": 5, "epochs": 1}:
            raise OSError("no space left on device")
        return learns(setting, rng)

    first = halve(saving, log=log)
    full[0] = False
    again = halve(saving, log=log, retry=True)
    assert first[0][5].error and not again[0][5].error and same(first[1:], again[1:])
    assert all(trial.setting["a"] != 5 for trial in again[1])


@pytest.mark.parametrize("other", [{"keep": 0.25}, {"budgets": [1, 2, 4, 9]}, {"maximize": True}, {"over": "steps"}, {"seed": 1}], ids=str)
def test_the_log_of_another_halving_is_refused(other, tmp_path):
    log = tmp_path / "log"
    halve(lambda setting, rng: 1.0, log=log)
    whole = log.read_bytes()
    with pytest.raises(ValueError, match="log must be a file of this search"):
        halve(lambda setting, rng: 1.0, log=log, **other)
    with pytest.raises(ValueError, match="log must be a file of this search"):
        halving(lambda setting, rng: 1.0, [*LADDER, {"a": 99}], over="epochs", budgets=[1, 2, 4, 8], log=log)
    assert log.read_bytes() == whole


# Progress

def test_the_bar_counts_what_is_done_and_what_the_log_had(tmp_path, capsys):
    pytest.importorskip("tqdm")
    log = tmp_path / "log"
    search(noisy, SETTINGS, seed=3, log=log, progress=True)
    assert "30/30" in capsys.readouterr().err
    search(noisy, SETTINGS, seed=3, log=log, progress=True)
    assert "30/30" in capsys.readouterr().err
    search(noisy, SETTINGS, seed=3)
    assert capsys.readouterr().err == ""


def test_without_tqdm_the_bar_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.raises(ModuleNotFoundError, match="tqdm must be installed to show progress"):
        search(lambda setting, rng: pytest.fail("ran"), SETTINGS, progress=True)


# Refusals

@pytest.mark.parametrize(("call", "error", "message"), [
    (lambda: Uniform(1, 1), ValueError, "low must be less than high, got 1 and 1"),
    (lambda: Uniform(0, math.inf), ValueError, "high must be a number .* got inf"),
    (lambda: Uniform(math.nan, 1), ValueError, "low must be a number .* got nan"),
    (lambda: Uniform(0, "1"), TypeError, "high must be a number .* got '1'"),
    (lambda: Uniform(True, 2), TypeError, "low must be a number .* got True"),
    (lambda: LogUniform(0, 1), ValueError, r"low must be a number in \(0, inf\), got 0"),
    (lambda: LogUniform(2, 1), ValueError, "low must be less than high, got 2 and 1"),
    (lambda: Uniform(0, 1).at(1.5), ValueError, r"share must be a number in \[0, 1\], got 1.5"),
    (lambda: Choice([1]).at("x"), TypeError, "share must be"),
    (lambda: Uniform(0, 1).narrowed([], 0.1), ValueError, "values must be a non-empty vector"),
    (lambda: Uniform(0, 1).narrowed([0.5], -0.1), ValueError, "margin must be a number"),
    (lambda: Stepped(1, 1, 1), ValueError, "low must be less than high"),
    (lambda: Stepped(0, 10, 3), ValueError, "high must lie a whole number of steps of 3 above low, 0, got 10"),
    (lambda: Stepped(0, 10, 0), ValueError, r"step must be a number in \(0, inf\), got 0"),
    (lambda: Stepped(0, 10, 11), ValueError, "high must lie a whole number of steps"),
    (lambda: Stepped(0, 10, 20), ValueError, "high must lie a whole number of steps"),
    (lambda: Stepped(0, math.nan, 1), ValueError, "high must be a number"),
    (lambda: Whole(Choice([1, 2])), TypeError, "axis must be Uniform or LogUniform, got Choice"),
    (lambda: Whole((1, 2)), TypeError, r"axis must be Uniform or LogUniform, got \(1, 2\)"),
    (lambda: Whole(Uniform(0.5, 3)), ValueError, r"axis must have whole numbers as bounds, got Uniform\(low=0.5, high=3\)"),
    (lambda: Choice([]), ValueError, "values must hold at least one value"),
    (lambda: Choice("relu"), TypeError, "values must be a list or another sequence, got 'relu'"),
    (lambda: Choice({1, 2}), TypeError, "values must be a list or another sequence"),
    (lambda: Choice(np.array(3)), TypeError, "values must be a list or another sequence"),
    (lambda: grid(SPACE, 0), ValueError, "points must be a whole number from 1 up, got 0"),
    (lambda: grid(SPACE, 2.5), ValueError, "points must be a whole number from 1 up, got 2.5"),
    (lambda: grid({}, 2), ValueError, "space must map at least one name to its values"),
    (lambda: grid({"lr": (0, 1)}, 2), TypeError, r"got \(0, 1\) for 'lr'"),
    (lambda: draw([Uniform(0, 1)], 1, np.random.default_rng(0)), TypeError, "space must be a mapping of names to axes, got"),
    (lambda: draw(SPACE, -1, np.random.default_rng(0)), ValueError, "count must be a whole number from 1 up, got -1"),
    (lambda: draw(SPACE, 1, 0), TypeError, "rng must be a numpy.random.Generator, got 0"),
    (lambda: search("train", SETTINGS), TypeError, "objective must be a function .*got 'train'"),
    (lambda: search(Affine, SETTINGS), TypeError, "objective must be a function of a setting and a generator, got <class"),
    (lambda: search(noisy, [1, 2]), TypeError, "settings must be mappings of names to values, in a list, got 1"),
    (lambda: search(noisy, iter([1])), TypeError, "settings must be mappings of names to values, in a list, got <list_iterator"),
    (lambda: search(noisy, np.zeros(0)), TypeError, "settings must be mappings of names to values, in a list, got array"),
    (lambda: search(noisy, 10), TypeError, "settings must be mappings of names to values, in a list, got 10"),
    (lambda: search(noisy, {"lr": 1}), TypeError, "settings must be mappings of names to values, in a list, got {"),
    (lambda: search(noisy, "lr"), TypeError, "settings must be mappings of names to values, in a list, got 'lr'"),
    (lambda: search(noisy, SETTINGS, log=3), TypeError, "log must be a path or None, got 3"),
    (lambda: search(noisy, SETTINGS, retry="yes"), TypeError, "retry must be True or False, got 'yes'"),
    (lambda: search(noisy, SETTINGS, edited=1), TypeError, "edited must be True or False, got 1"),
    (lambda: search(noisy, SETTINGS, maximize=None), TypeError, "maximize must be True or False, got None"),
    (lambda: search(noisy, SETTINGS, progress="no"), TypeError, "progress must be True or False or None, got 'no'"),
    (lambda: search(noisy, SETTINGS, seed=-1), ValueError, "seed must be a whole number from 0 up, got -1"),
    (lambda: search(noisy, SETTINGS, seed=None), TypeError, "seed must be a whole number from 0 up, got None"),
    (lambda: search(noisy, SETTINGS, executor=4), TypeError, r"executor must be a .*Executor \(Dask: client.get_executor\(\)\) or None, got 4"),
    (lambda: coarse_to_fine(bowl, BOWL, rounds=0, count=1, rng=np.random.default_rng(0)), ValueError, "rounds must be .* got 0"),
    (lambda: coarse_to_fine(bowl, BOWL, rounds=1, count=0, rng=np.random.default_rng(0)), ValueError, "count must be .* got 0"),
    (lambda: coarse_to_fine(bowl, BOWL, rounds=1, count=1, rng=np.random.default_rng(0), keep=0.0),
     ValueError, r"keep must be a number in \(0, 1\], got 0.0"),
    (lambda: coarse_to_fine(bowl, BOWL, rounds=1, count=1, rng=np.random.default_rng(0), margin=-1),
     ValueError, r"margin must be a number in \[0, inf\), got -1"),
    (lambda: coarse_to_fine(bowl, [], rounds=1, count=1, rng=np.random.default_rng(0)), TypeError, "space must be a mapping"),
    (lambda: coarse_to_fine(bowl, BOWL, rounds=1, count=1, rng=0), TypeError, "rng must be a numpy.random.Generator, got 0"),
    (lambda: best(3), TypeError, "trials must be a list of trials, got 3"),
    (lambda: best([3]), TypeError, "trials must be a list of trials, got 3"),
    (lambda: best([Trial(0, {}, 1.0)], maximize="no"), TypeError, "maximize must be True or False or None, got 'no'"),
    (lambda: Trial(-1, {}, 1.0), ValueError, "index must be a whole number from 0 up, got -1"),
    (lambda: Trial(0, [], 1.0), TypeError, "setting must be a mapping"),
    (lambda: Trial(0, {}, "1"), TypeError, "value must be a number"),
    (lambda: Trial(0, {}, 1.0, None), TypeError, "error must be a string, got None"),
    (lambda: Trial(0, {}, 1.0, "", 1), TypeError, "traceback must be a string, got 1"),
    (lambda: Trial(0, {}, 1.0, maximize=1), TypeError, "maximize must be True or False, got 1"),
    (lambda: halve(budgets=[]), ValueError, "budgets must be a non-empty vector"),
    (lambda: halve(budgets=[1, 1]), ValueError, r"budgets must rise, got \[1, 1\]"),
    (lambda: halve(budgets=[0, 1]), ValueError, "budgets must be"),
    (lambda: halve(budgets=8), ValueError, "budgets must be"),
    (lambda: halve(over="a"), ValueError, "over must be a name that no setting has, got 'a'"),
    (lambda: halve(over=""), ValueError, "over must be a name that no setting has, got ''"),
    (lambda: halve(over=3), TypeError, "over must be a name that no setting has, got 3"),
    (lambda: halve(keep=0), ValueError, r"keep must be a number in \(0, 1\], got 0"),
    (lambda: halve(keep=1.5), ValueError, r"keep must be a number in \(0, 1\], got 1.5"),
    (lambda: halving(learns, 3, over="epochs", budgets=[1]), TypeError, "settings must be mappings"),
    (lambda: chance_of_top(1.5, 3), ValueError, r"share must be a number in \[0, 1\], got 1.5"),
    (lambda: chance_of_top(0.5, -3), ValueError, "trials must be a whole number from 0 up, got -3"),
])
def test_what_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_settings_may_come_from_a_generator_and_no_settings_make_no_trials():
    assert len(search(noisy, iter(SETTINGS), seed=3)) == 30
    assert search(noisy, []) == []


def test_an_objective_may_change_its_setting_and_no_other_trial_sees_it():
    def shrinks(setting, rng):
        setting["units"].pop()
        return float(len(setting["units"]))

    space = {"units": Choice([[64, 32, 16]]), "a": Choice([1, 2])}
    settings = grid(space, 2)
    trials = search(shrinks, settings)
    assert [trial.value for trial in trials] == [2, 2] and settings == grid(space, 2)
    assert [trial.setting for trial in trials] == settings == [{"units": [64, 32, 16], "a": 1}, {"units": [64, 32, 16], "a": 2}]
    assert search(lambda setting, rng: setting["xp"].pi, [{"xp": math}])[0].value == math.pi  # which cannot be copied


@pytest.mark.parametrize("values", [[np.zeros(2), np.ones(2)], [None, "x"], [[1], [2, [3]]], [math.nan, 1.0], np.array([1.0, 2.0])])
def test_a_choice_narrows_to_what_occurs_whatever_it_is(values):
    narrowed = Choice(values).narrowed([values[1]], 0.1)
    assert len(narrowed.values) == 1 and np.array_equal(np.asarray(narrowed.values[0], object), np.asarray(values[1], object))


@pytest.mark.parametrize("call", [lambda: search(noisy, [{"a": 1, 2: 3}]), lambda: grid({2: Choice([1])}, 1)])
def test_names_are_strings(call):
    with pytest.raises(TypeError, match="whose names are strings, got 2"):
        call()
