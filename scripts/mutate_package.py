"""Change the package at random, one place at a time, and print what its tests do not catch.

    python scripts/mutate_package.py                                300 changes over the whole package
    python scripts/mutate_package.py -n 40 --only practice/search --only optimization/adam --seed 1
    python scripts/mutate_package.py -n 60 --since main             in the lines that differ from those of `main`

`mutants.py` says what a change is. It is tried in a copy of the tree: against tests that run the changed lines, the module's own first, then
all of its own, then the page of the same name. What runs into the time limit is caught. Exits with 1 if fewer than 95 of 100 are.
Which tests run which lines is written down first, in some ten minutes, and again after each change of the package (`tested_lines.py`).
"""

from __future__ import annotations

import argparse
import ast
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

import pytest
from mutants import Change, changes, shown
from tested_lines import TestedLines, file_of
from touched import touched
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
LEAST = 0.95
ENOUGH = 40  # seconds of tests for a change, on a free machine
SLOW = "time ran out"
LONGER = 3  # times as long as it should take is a hang
PRELOADED = ["numpy", "pytest", "matplotlib.pyplot", "sympy", "scipy.optimize", "numba", "tqdm"]

FORKS = multiprocessing.get_context("forkserver")


class Only:
    """A plugin of pytest: some tests alone, in their order; and which of them failed."""

    def __init__(self, wanted: list[str]) -> None:
        self.places, self.failed = {test: place for place, test in enumerate(wanted)}, ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self.places:
            items[:] = sorted((item for item in items if item.nodeid in self.places), key=lambda item: self.places[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = report.nodeid


def run(root: str, arguments: list[str], wanted: list[str], answer: Connection) -> None:
    """Run tests of the tree at `root`, in a process of its own, and send the name of the first that fails: "" if none does."""
    os.setsid()
    os.chdir(root)
    sys.path.insert(0, root)
    os.environ["PYTHONPATH"] = root
    with open(os.devnull, "r+b") as nothing:
        for stream in (0, 1, 2):
            os.dup2(nothing.fileno(), stream)
    only = Only(wanted)
    code = pytest.main(["-n0", "-x", "-q", "-p", "no:cacheprovider", *arguments], plugins=[only])
    answer.send(only.failed or ("" if code in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED) else "the tests cannot be read"))


class Tree:
    """A copy of the tree to change."""

    def __init__(self, folder: str, tested: TestedLines, slow: float) -> None:
        self.root, self.tested, self.slow, self.sound = Path(folder) / "tree", tested, slow, dict[str, bool]()
        self.readers: dict[str, list[str]] = defaultdict(list)  # test files, by the modules that they import from
        for test in sorted({file_of(test) for test in tested.seconds if test.startswith("tests/")}):
            for name in set(re.findall(r"^from reference_impl\.([\w.]+) import", (ROOT / test).read_text(encoding="utf-8"), re.M)):
                self.readers[name].append(test)
        listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).is_file():
                (self.root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, self.root / name)

    def caught(self, change: Change) -> str:
        """The stage whose tests fail with the change; "" if none does."""
        file = self.root / change.path
        source, stat = file.read_bytes(), file.stat()
        for stage, files, wanted, seconds in self.stages(change, source):
            while True:
                file.write_bytes(change.applied(source))
                os.utime(file, (stat.st_atime, time.time() + random.randrange(10**6)))  # another time than the compiled file's
                try:
                    failed = self.fails(files, wanted, seconds)
                finally:
                    file.write_bytes(source)
                    os.utime(file, (stat.st_atime, stat.st_mtime))
                if not failed:
                    break
                if self.holds(failed, files, wanted, seconds):
                    return stage
                wanted = [test for test in wanted if test != failed]
                if not wanted or "::" not in failed:
                    break
        return ""

    def holds(self, failed: str, files: list[str], wanted: list[str], seconds: float) -> bool:
        """Whether what failed passes before anything is changed; a test that does not is left out from then on."""
        if "::" not in failed:  # nothing could be read, or nothing ended
            return not self.fails(files if failed == SLOW else [*files, "--collect-only"], wanted, seconds)
        if failed not in self.sound:
            self.sound[failed] = not self.fails([file_of(failed)], [failed], seconds)
            if not self.sound[failed]:
                tqdm.write(f"fails before anything is changed, and is left out: {failed}")
        return self.sound[failed]

    def stages(self, change: Change, source: bytes) -> Iterator[tuple[str, list[str], list[str], float]]:
        """The tests that concern a change, in the order in which they are tried: their files, their names if not all are wanted, and how long they may take."""
        module = Path(change.path).relative_to("reference_impl").with_suffix("")
        name = module.name if module.name != "__init__" else module.parent.name
        own = [file for file in (change.path, f"tests/{module.parent.as_posix()}/test_{name}.py") if (ROOT / file).exists()]
        tests = next(filter(None, (self.tested.of(change.path, *span) for span in spans_of(change, source))), set[str]())
        if next(spans_of(change, source)) == (1, source.count(b"\n") + 1):  # a constant is read where no line of its module runs
            own += [file for file in self.readers[".".join(module.parts)] if file not in own]
            tests |= {test for test in self.tested.seconds if f"[{'.'.join(module.parts)}." in test}
        chosen = self.chosen(change.path, tests, own)
        if chosen:
            yield "lines", sorted({file_of(test) for test in chosen}), chosen, self.longest(chosen)
        yield "own", own, [], self.longest([test for test in self.tested.seconds if file_of(test) in own])
        if (ROOT / "docs" / f"{module}.md").exists():
            yield "page", ["tests/test_pages.py", "-k", f"{module}.md"], [], 400 * self.slow

    def chosen(self, path: str, tests: set[str], own: list[str]) -> list[str]:
        """Some of the tests, the own ones and quick ones first: one of each function, then another of each, as long as there is time.

        A case that names the module, as those of the table of refusals do, is an own one and a function by itself.
        """
        module, turns = path.removeprefix("reference_impl/").removesuffix(".py").replace("/", "."), defaultdict[str, list[str]](list)
        for test in sorted(tests, key=lambda test: (self.tested.seconds[test], test)):
            turns[test if f"[{module}." in test else test.partition("[")[0]].append(test)
        ranked = sorted((turn, file_of(test) not in own and f"[{module}." not in test, self.tested.seconds[test], test)
                        for same in turns.values() for turn, test in enumerate(same))
        chosen, left = [], float(ENOUGH)
        for _, _, seconds, test in ranked:
            if seconds <= left:
                chosen.append(test)
                left -= seconds
        return chosen

    def longest(self, tests: list[str]) -> float:
        """How many seconds tests may take."""
        return self.slow * (20 + LONGER * sum(self.tested.seconds[test] for test in tests))

    def fails(self, arguments: list[str], wanted: list[str], seconds: float) -> str:
        """The first test that fails, or that time ran out; "" if none does."""
        ours, theirs = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=run, args=(str(self.root), arguments, wanted, theirs))
        process.start()
        theirs.close()
        try:
            if not ours.poll(seconds):
                return SLOW
            answer: str = ours.recv()
            return answer
        except EOFError:
            return "the process ended"
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid or 0, signal.SIGKILL)
            process.kill()
            process.join()


def spans_of(change: Change, source: bytes) -> Iterator[tuple[int, int]]:
    """First and last lines whose tests concern a change: its own, unless it is a default; then those of the functions around it, and all of the file's."""
    first, last = (source[:offset].count(b"\n") + 1 for offset in (change.start, change.end))
    around = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef) and node.lineno <= first and last <= (node.end_lineno or 0)]
    if around and around[-1].body[0].lineno <= first:
        yield first, last
    yield from ((function.body[0].lineno, function.end_lineno or last) for function in reversed(around))
    yield 1, source.count(b"\n") + 1


def main() -> int:
    """Print what was caught, by stage, and every change that was not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-n", type=int, default=300, help="how many changes (default: 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], help="part of the path of a module; may be given again")
    parser.add_argument("--since", help="a commit: changes only in lines that differ from its")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once (default: one a processor)")
    parser.add_argument("--slow", type=float, default=1.0, help="how much longer than usual tests may take here (default: 1)")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    FORKS.set_forkserver_preload(PRELOADED)
    sources = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in sorted((ROOT / "reference_impl").rglob("*.py"))}
    possible = [change for path, source in sources.items() if not options.only or any(word in path for word in options.only)
                for change in changes(path, source)]
    if options.since:
        lines = touched(options.since, ROOT, "reference_impl")
        possible = [change for change in possible if sources[change.path].count(b"\n", 0, change.start) + 1 in lines.get(change.path, ())]
        if not possible:
            print(f"nothing in the package that could be changed differs from {options.since}")
            return 0
    tested = TestedLines(ROOT)
    chosen = random.Random(options.seed).sample(possible, min(options.n, len(possible)))
    caught: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        os.environ["NUMBA_CACHE_DIR"] = f"{folder}/numba"
        trees = SimpleQueue[Tree]()
        for job in range(options.jobs):
            trees.put(Tree(f"{folder}/{job}", tested, options.slow))

        def tried(change: Change) -> str:
            tree = trees.get()
            try:
                return tree.caught(change)
            finally:
                trees.put(tree)

        for change, stage in tqdm(zip(chosen, pool.map(tried, chosen)), total=len(chosen), unit="change", disable=None):
            caught[stage] += 1
            if not stage:
                tqdm.write(shown(change, sources[change.path]))
    share = 1 - caught[""] / len(chosen)
    print(f"{len(chosen)} of {len(possible)} changes, {caught['']} not caught: {share:.1%} caught "
          f"({caught['lines']} by tests that run the changed lines, {caught['own']} by the module's other tests, {caught['page']} by its page)")
    return int(share < LEAST)


if __name__ == "__main__":
    sys.exit(main())
