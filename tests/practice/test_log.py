"""The log: what breaks off a search costs the running trial only, what damages a line is named, and several searches share one file."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from searches import SETTINGS, indices, noisy, same

import reference_impl.practice.log as log_module
from reference_impl.practice.search import search
from reference_impl.practice.trials import Trial

ROOT = Path(log_module.__file__).parents[2]


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
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == -9
    assert indices(log) == [0, 1, 2, 3, 4]

    def objective(setting, rng):
        return setting["a"]

    objective.__qualname__ = "objective"
    with pytest.raises(ValueError, match=r"log must be of this objective, got .*: edited=True goes on with its values"):
        search(objective, [{"a": a} for a in range(9)], log=log)
    assert [trial.value for trial in search(objective, [{"a": a} for a in range(9)], log=log, edited=True)] == list(range(9))


# The log

@pytest.fixture
def whole(tmp_path, alone):
    """The log of a whole search."""
    log = tmp_path / "log"
    search(noisy, SETTINGS, seed=3, log=log)
    return log


@pytest.mark.parametrize(("cut", "fault"), [
    (1, "its first line was cut short"), (10, "its first line"), (130, "its first line"), (300, "its last line was cut short"),
    (1000, "its last line"), (-2, "its last line"), (-20, "its last line"),
])
def test_a_log_cut_anywhere_is_gone_on_from(whole, alone, cut, fault):
    text = whole.read_bytes()
    whole.write_bytes(text[:cut])
    with pytest.warns(RuntimeWarning, match=f"log .*log: {fault}"):
        assert same(search(noisy, SETTINGS, seed=3, log=whole), alone)
    assert whole.read_bytes() == text
    assert same(search(noisy, SETTINGS, seed=3, log=whole), alone)  # nothing left to name


def test_a_last_line_that_lacks_only_its_end_is_a_finished_trial(whole, alone):
    text = whole.read_bytes()
    whole.write_bytes(text[:-1])

    def never(setting, rng):
        pytest.fail("ran")

    never.__qualname__ = "noisy"
    assert same(search(never, SETTINGS, seed=3, log=whole, edited=True), alone) and whole.read_bytes() == text


def test_a_changed_digit_anywhere_is_seen_and_named(whole, alone):
    """Every digit, letter and sign of every line, one at a time."""
    lines = whole.read_bytes().splitlines(keepends=True)
    rng = np.random.default_rng(0)
    for i in (1, 2, 7, 30):
        for place in rng.choice(len(lines[i]) - 1, 12, replace=False):
            old = lines[i][place]
            new = 48 + (old - 47) % 10 if 48 <= old <= 57 else old ^ 1
            changed = [*lines[:i], lines[i][:place] + bytes([new]) + lines[i][place + 1:], *lines[i + 1:]]
            whole.write_bytes(b"".join(changed))
            with pytest.warns(RuntimeWarning, match=rf"log .*log: line {i + 1} is damaged: it counts as not there"):
                assert same(search(noisy, SETTINGS, seed=3, log=whole), alone)
            assert len(indices_of_good(whole)) == 30 and whole.read_bytes().startswith(b"".join(changed))


def test_a_changed_first_line_is_refused(whole):
    text = whole.read_bytes()
    for place in range(text.index(b"\n")):
        changed = text[:place] + bytes([text[place] ^ 1]) + text[place + 1:]
        whole.write_bytes(changed)
        for edited in (False, True):
            with pytest.raises(ValueError, match="log must be a file of this search"):
                search(noisy, SETTINGS, seed=3, log=whole, edited=edited)
        assert whole.read_bytes() == changed


def test_damaged_lines_are_run_again_and_few_of_many_are_named(whole, alone):
    lines = whole.read_bytes().split(b"\n")
    lines[3:11] = [b"\0\0\0\xff", b'{"index": 99, "value": 1, "error": ""}', b"7\r8", b'{"index": 5}', b"", b"{}", b"[]", b"\xe9"]
    whole.write_bytes(b"\n".join(lines))
    with pytest.warns(RuntimeWarning, match="line 4 is damaged, .*line 8 is damaged, and 3 more: it counts as not there"):
        assert same(search(noisy, SETTINGS, seed=3, log=whole), alone)
    assert sorted(indices_of_good(whole)) == list(range(30))


def test_five_damaged_lines_are_all_named(whole):
    lines = whole.read_bytes().split(b"\n")
    lines[3:8] = [b"7"] * 5
    whole.write_bytes(b"\n".join(lines))
    with pytest.warns(RuntimeWarning, match="line 4 is damaged, .*line 8 is damaged: it counts as not there"):
        search(noisy, SETTINGS, seed=3, log=whole)


def indices_of_good(log):
    good = []
    for line in log.read_bytes().splitlines()[1:]:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and {"index", "setting", "check"} <= row.keys():
            good.append(row["index"])
    return sorted(set(good))


def test_a_line_of_another_log_is_none_of_this_one(whole, alone, tmp_path):
    other = tmp_path / "other"
    search(noisy, SETTINGS, seed=4, log=other)
    lines = whole.read_text().splitlines(keepends=True)
    lines[5] = other.read_text().splitlines(keepends=True)[5]
    whole.write_text("".join(lines))
    with pytest.warns(RuntimeWarning, match="line 6 is damaged"):
        assert same(search(noisy, SETTINGS, seed=3, log=whole), alone)


def test_a_log_reads_as_json_and_tells_what_was_tried(tmp_path, alone):
    log = tmp_path / "log"
    search(noisy, SETTINGS, seed=3, log=log)
    head, *rows = (json.loads(line) for line in log.read_text().splitlines())
    assert (head["objective"], head["seed"], head["trials"]) == ("noisy", 3, 30)
    for row, trial in zip(rows, alone):
        value = math.nan if row["value"] is None else row["value"]
        assert same(Trial(row["index"], row["setting"], value, row["error"]), trial)


@pytest.mark.parametrize("content", [b"", b"mine\n", b"[]\n", b'{"trials": 1, "code": "0"}\n', b'{"trials": "1", "code": 0}\n', b"mine", b"{}\n", b"\xff\xfe\n\n", b"{\"objective\": \"other\", "])
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


def test_an_edited_objective_is_named_and_goes_on_when_told_to(tmp_path):
    def first(setting, rng):
        return 1.0

    def edited(setting, rng):
        return 2.0

    edited.__qualname__ = first.__qualname__
    log = tmp_path / "log"
    search(first, SETTINGS[:20], log=log)
    text = log.read_bytes()
    with pytest.raises(ValueError, match="other code, defaults or closed-over values wrote"):
        search(edited, SETTINGS, log=log)
    assert log.read_bytes() == text
    assert [trial.value for trial in search(edited, SETTINGS, log=log, edited=True)] == [1.0] * 20 + [2.0] * 10
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


def test_more_settings_than_the_log_began_with_but_other_ones_are_named(tmp_path):
    log = tmp_path / "log"
    search(noisy, SETTINGS[:5], seed=3, log=log)
    search(noisy, SETTINGS, seed=3, log=log)
    other = [*SETTINGS[:6], *SETTINGS[7:], SETTINGS[6]]
    with pytest.warns(RuntimeWarning, match="trial 6 has another .*, trial 10 has another setting there, and 19 more: it counts as not"):
        assert same(search(noisy, other, seed=3, log=log), search(noisy, other, seed=3))
    assert sorted(indices(log)) == sorted([*range(30), *range(6, 30)])


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
    ran = []

    def counted(setting, rng):
        ran.append(1)
        return 1.0

    search(counted, plain, log=log)
    found = search(counted, of_numpy, log=log)
    assert len(ran) == 1 and found[0].value == 1.0 and found[0].setting is not plain[0] and type(found[0].setting["b"]) is np.int32


def test_a_log_does_not_depend_on_the_process(tmp_path):
    code = """
from functools import partial
from reference_impl.practice.search import search
from reference_impl.networks.layers import ReLU, Tanh
def objective(setting, rng):
    return 0.0
search(objective, [{"layer": ReLU, "of": max, "names": {"a", "b", "c"}, "x": 1 + 2j}], log="LOG")
"""
    texts = []
    for seed in "12":
        log = tmp_path / seed
        subprocess.run([sys.executable, "-c", code.replace("LOG", str(log))], cwd=ROOT, check=True,
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
    with pytest.raises(FileNotFoundError, match=r"log must lie in a folder that exists, got .*log"):
        search(lambda setting, rng: pytest.fail("ran"), SETTINGS, log=tmp_path / "none" / "log")
    with pytest.raises(IsADirectoryError, match="log must be a file, got the folder"):
        search(lambda setting, rng: pytest.fail("ran"), SETTINGS, log=tmp_path)
    assert not list(tmp_path.iterdir())


# Several searches on one log

PROGRAM = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from reference_impl.practice.search import search

def objective(setting, rng):
    with open("marks", "ab", buffering=0) as marks:
        marks.write(f"{setting['a']} {os.getpid()} ".encode() + b"\\n")
    time.sleep(setting["nap"])
    if setting["a"] == 3:
        raise ValueError("diverged")
    return setting["a"] + rng.random()

def settings(count, nap=0.0):
    return [{"a": a, "nap": nap} for a in range(count)]

if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    BODY
    print(repr(trials))
"""


def start(folder, body):
    """A program of its own that waits for a word and then searches."""
    program = subprocess.Popen([sys.executable, "-W", "error", "-c", PROGRAM.replace("BODY", body)], cwd=folder, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert program.stdout.readline() == "ready\n"
    return program


def begin(*programs):
    for program in programs:
        program.stdin.write("\n")
        program.stdin.flush()


def marks(folder):
    return [int(line.split()[0]) for line in (folder / "marks").read_text().splitlines()]


def values(count):
    return [math.nan if a == 3 else a + np.random.default_rng(np.random.SeedSequence(0, spawn_key=(a,))).random() for a in range(count)]


def printed(program):
    text, _ = program.communicate(timeout=60)
    assert program.returncode == 0
    return [trial.value for trial in eval(text, {"Trial": Trial, "nan": math.nan})]


BODIES = {
    "alone": "trials = search(objective, settings(40, 0.002), log='log')",
    "threads": "trials = search(objective, settings(40, 0.002), log='log', executor=ThreadPoolExecutor(2))",
}


@pytest.mark.parametrize(("one", "other"), [("alone", "alone"), ("alone", "threads"), ("threads", "threads")])
def test_two_programs_with_one_log_share_the_work(tmp_path, one, other):
    programs = [start(tmp_path, BODIES[one]), start(tmp_path, BODIES[other])]
    begin(*programs)
    for program in programs:
        assert printed(program) == pytest.approx(values(40), nan_ok=True, abs=0)
    assert sorted(marks(tmp_path)) == sorted(indices(tmp_path / "log")) == list(range(40))
    assert {path.name for path in tmp_path.iterdir()} == {"log", "marks"}
    if one == other == "alone":
        assert len({line.split()[1] for line in (tmp_path / "marks").read_text().splitlines()}) == 2


def test_when_one_of_two_is_killed_the_other_takes_over_what_it_had(tmp_path):
    first = start(tmp_path, "trials = search(objective, settings(8, 30.0), log='log')")
    second = start(tmp_path, "import time; time.sleep = lambda nap: None; trials = search(objective, settings(8, 30.0), log='log')")
    begin(first)
    while not (tmp_path / "marks").exists() or not marks(tmp_path):
        time.sleep(0.01)
    begin(second)
    while len(indices(tmp_path / "log")) < 7:
        time.sleep(0.01)
    time.sleep(0.1)
    assert second.poll() is None  # it waits for the last
    first.kill()
    assert printed(second) == pytest.approx(values(8), nan_ok=True, abs=0)
    assert sorted(indices(tmp_path / "log")) == list(range(8)) and sorted(marks(tmp_path)) == [0, *range(8)]
    first.communicate()


def test_workers_that_outlive_their_killed_program_keep_no_trial(tmp_path):
    """Forked processes inherit the open file: the locks would live as long as they."""
    body = "import multiprocessing; trials = search(objective, settings(4, 60.0), log='log', executor=ProcessPoolExecutor(2, FORK))"
    program = start(tmp_path, body.replace("FORK", "multiprocessing.get_context('fork')"))
    begin(program)
    while not (tmp_path / "marks").exists() or len(marks(tmp_path)) < 2:
        time.sleep(0.01)
    workers = {int(line.split()[1]) for line in (tmp_path / "marks").read_text().splitlines()}
    program.kill()
    program.wait()
    try:
        for worker in workers:
            os.kill(worker, 0)  # alive
        second = start(tmp_path, "import time; time.sleep = lambda nap: None; trials = search(objective, settings(4, 60.0), log='log')")
        begin(second)
        assert printed(second) == pytest.approx(values(4), nan_ok=True, abs=0)
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
    program.communicate()


def test_two_threads_are_two_searches_and_reading_the_log_meanwhile_harms_nothing(tmp_path):
    log, ran, found = tmp_path / "log", [], []

    def objective(setting, rng):
        ran.append(setting["a"])
        indices(log)  # opens the file and closes it
        return setting["a"] + rng.random()

    settings = [{"a": a} for a in range(60)]
    threads = [threading.Thread(target=lambda: found.append(search(objective, settings, log=log))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [search(objective, settings)] * 3
    assert sorted(ran[:-60]) == sorted(indices(log)) == list(range(60))


def test_failed_trials_that_two_retry_at_once_run_again_once(tmp_path):
    log, ran, both = tmp_path / "log", [], threading.Barrier(2)

    def fails(setting, rng):
        ran.append(setting["a"])
        if 20 < len(ran) <= 22:
            both.wait()
        raise OSError("no space left on device")

    def run(**options):
        with pytest.warns(RuntimeWarning, match="no trial has a number"):
            search(fails, [{"a": a} for a in range(20)], log=log, **options)

    run()
    with ThreadPoolExecutor(2) as pool:
        with pytest.warns(RuntimeWarning, match="no trial has a number"):
            for future in [pool.submit(search, fails, [{"a": a} for a in range(20)], log=log, retry=True) for _ in range(2)]:
                assert len(future.result()) == 20
    assert sorted(ran) == sorted([*range(20), *range(20)]) == sorted(indices(log))


def test_who_holds_the_file_is_waited_for_and_keeps_the_line_that_it_is_writing(tmp_path):
    log, settings = tmp_path / "log", [{"a": a} for a in range(6)]

    def objective(setting, rng):
        return setting["a"]

    search(objective, settings, log=log)
    *lines, last = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines))
    writer = log_module.Log(log, objective, settings, 0)
    with writer._lock(), ThreadPoolExecutor(1) as pool:
        with log.open("ab", buffering=0) as file:
            file.write(last[:40])
            found = pool.submit(search, objective, settings, log=log)
            with pytest.raises(TimeoutError):
                found.result(0.3)
            assert log.read_bytes() == b"".join([*lines, last[:40]])
            file.write(last[40:])
        log_module._unlock(writer.stream.fileno(), log_module._FILE)
        assert [trial.value for trial in found.result(60)] == list(range(6))
    writer.close()
    assert log.read_bytes() == b"".join([*lines, last])


def test_what_is_finished_is_on_the_disk_after_a_second_or_at_the_end(tmp_path, monkeypatch):
    now, synced = [100.0], []

    def objective(setting, rng):
        now[0] += setting["nap"]
        return 0.0

    monkeypatch.setattr(log_module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(log_module.os, "fsync", lambda file: synced.append(now[0]))
    search(objective, [{"nap": nap} for nap in (0.5, 0.5, 0.25, 1.0, 1.5, 0.5)], log=tmp_path / "log")
    assert synced == [100.0, 101.25, 103.75, 104.25]


def test_opening_a_log_takes_nothing_from_another_search(tmp_path):
    """While one search writes, others open the file again and again."""
    log, stop = tmp_path / "log", threading.Event()

    def objective(setting, rng):
        return setting["a"]

    settings = [{"a": a} for a in range(400)]

    def look():
        while not stop.is_set():
            log_module.Log(log, objective, settings, 0).close()

    looker = threading.Thread(target=look)
    looker.start()
    search(objective, settings, log=log)
    stop.set()
    looker.join()
    assert indices(log) == list(range(400))


def test_who_goes_on_to_a_rung_is_decided_once(tmp_path):
    def objective(x):
        return x

    settings = [{"x": float(i)} for i in range(3)]
    one, two = (log_module.Log(tmp_path / "log", objective, settings, 0) for _ in range(2))
    assert one.promoted(1, [0]) == [0]
    assert two.promoted(1, [2]) == [0], "the other search has decided before"
    one.close()
    two.close()
    assert (tmp_path / "log").read_text().count('"promoted"') == 1
