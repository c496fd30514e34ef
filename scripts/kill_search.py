"""Kill searches at random, alone and two on one log, and count what is lost, run or written twice, or left over: it should be nothing.

    python scripts/kill_search.py              100 kills of a search, 50 rounds of two on one log
    python scripts/kill_search.py -n 20 --seed 1

Lost is a trial that was in the log and is not there after a kill, or whose value is not that of an undisturbed search. Twice is a trial that
the log has twice, or that ran again although the log had it. Left over are files beside the log. Exits with 1 unless all three are 0.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from reference_impl.practice.log import Log
from reference_impl.practice.search import search

TRIALS = 40
SETTINGS = [{"a": a} for a in range(TRIALS)]
PROGRAM = "import kill_search; kill_search.run()"


def objective(setting, rng):
    """A number after two milliseconds, and a mark that it ran."""
    with open("marks", "ab", buffering=0) as marks:
        marks.write(b"%d\n" % setting["a"])
    time.sleep(0.002)
    return setting["a"] + rng.random()


def run() -> None:
    """The search, in the folder where it is started."""
    search(objective, SETTINGS, seed=1, log="log")


def start(folder: Path) -> subprocess.Popen[bytes]:
    """A process that runs it."""
    return subprocess.Popen([sys.executable, "-W", "error", "-c", PROGRAM], cwd=folder, env=os.environ | {"PYTHONPATH": str(Path(__file__).parent)})


def finished(folder: Path) -> list[int]:
    """The trials that the log has, in the order of its lines."""
    if not (folder / "log").exists():
        return []
    return [int(line.split(b",")[0].split(b":")[1]) for line in (folder / "log").read_bytes().splitlines()[1:] if line.endswith(b"}")]


def ran(folder: Path) -> Counter[int]:
    """How often each trial was begun."""
    return Counter(map(int, (folder / "marks").read_text().split())) if (folder / "marks").exists() else Counter()


def judge(folder: Path, expected: list[float]) -> Counter[str]:
    """What a log that is complete lacks or has too much of."""
    log = Log(folder / "log", objective, SETTINGS, 1)
    values = [trial.value if (trial := log.find(i, SETTINGS[i])) else None for i in range(TRIALS)]
    log.close()
    lines = Counter(finished(folder))
    return Counter(lost=sum(value != true for value, true in zip(values, expected)), twice=sum(count - 1 for count in lines.values()),
                   left=len({path.name for path in folder.iterdir()} - {"log", "marks"}))


def kills(count: int, together: int, expected: list[float], chance: random.Random) -> Counter[str]:
    """Searches in new folders, each killed again and again until it is through; of `together` at once one is killed at a time."""
    faults: Counter[str] = Counter()
    with tqdm(total=count, desc=f"{together} on a log", unit="kill", disable=None) as shown:
        while faults["kills"] < count:
            with tempfile.TemporaryDirectory() as name:
                folder, killed = Path(name), 0
                programs = [start(folder) for _ in range(together)]
                while any(program.poll() is None for program in programs):
                    before, begun, early = set(finished(folder)), ran(folder), chance.random() < 0.3  # before it has begun a trial
                    since = time.monotonic() + chance.uniform(0, 0.3 if early else 0.08)
                    while time.monotonic() < since or (not early and ran(folder) == begun and any(p.poll() is None for p in programs)):
                        time.sleep(0.002)
                    victim = chance.randrange(together)
                    if faults["kills"] < count and programs[victim].poll() is None:
                        programs[victim].kill()
                        programs[victim].wait()
                        killed += 1
                        faults["kills"] += 1
                        shown.update()
                        faults["lost"] += len(before - set(finished(folder)))
                        programs[victim] = start(folder)
                faults["failed"] += sum(program.returncode != 0 for program in programs)
                faults["twice"] += max(0, ran(folder).total() - TRIALS - killed)  # a kill costs the one that was running
                faults += judge(folder, expected)
    return faults


def undisturbed(rounds: int, expected: list[float]) -> Counter[str]:
    """Two at once that nobody kills: every trial runs once."""
    faults: Counter[str] = Counter()
    for _ in tqdm(range(rounds), desc="2 undisturbed", disable=None):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            programs = [start(folder) for _ in range(2)]
            faults["failed"] += sum(program.wait() != 0 for program in programs)
            faults["twice"] += ran(folder).total() - TRIALS
            faults += judge(folder, expected)
    return faults


def main() -> int:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-n", type=int, default=100, help="how many kills (default: 100)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as name:
        here = os.getcwd()
        os.chdir(name)
        expected = [trial.value for trial in search(objective, SETTINGS, seed=1)]
        os.chdir(here)
    bad = 0
    for what, faults in [(f"{options.n} kills of a search", kills(options.n, 1, expected, chance)),
                         (f"{options.n} kills of one of two on a log", kills(options.n, 2, expected, chance)),
                         (f"{options.n // 2} times two on a log", undisturbed(options.n // 2, expected))]:
        bad += sum(faults[fault] for fault in ("lost", "twice", "left", "failed"))
        print(f"{what:38} lost {faults['lost']}, twice {faults['twice']}, left over {faults['left']}, failed {faults['failed']}")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
