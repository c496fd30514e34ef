"""Which tests run which lines of the package, written down while they run (needs coverage: the extra `dev`).

As a plugin of pytest (`-p tested_lines`) it writes what each process saw into the folder that `TESTED_LINES` names; `TestedLines` reads it,
and runs the tests whose file, or whose package, is another than when they were run last.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

FOLDER, PASSED = "TESTED_LINES", "passed"
ELSEWHERE = ("tests/book/", "tests/typing/", "tests/test_pages.py", "tests/test_contributing.py", "tests/test_readme.py", "tests/test_run_gpu.py")
"""Tests that run the package in processes of their own, or other code."""


class Recorder:
    """What one process of pytest runs."""

    def __init__(self, folder: str) -> None:
        self.stem = Path(folder) / str(os.getpid())
        self.coverage = coverage.Coverage(data_file=f"{self.stem}.lines", include=["*/reference_impl/*"], messages=False)
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        self.coverage.start()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        start = time.perf_counter()
        self.coverage.switch_context(item.nodeid)
        try:
            return (yield)
        finally:
            self.coverage.switch_context("")
            self.seconds[item.nodeid] = time.perf_counter() - start

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed or (report.when == "call" and report.skipped):
            self.failed.add(report.nodeid)

    def pytest_unconfigure(self) -> None:
        self.coverage.stop()
        self.coverage.save()
        passed = {name: round(seconds, 4) for name, seconds in self.seconds.items() if name not in self.failed}
        Path(f"{self.stem}.{PASSED}").write_text(json.dumps(passed), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Record here, unless other processes run the tests."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        config.pluginmanager.register(Recorder(os.environ[FOLDER]))


class TestedLines:
    """The tests of the tree at `root`, by the lines of the package that they run; kept in a folder of it for the next time."""

    def __init__(self, root: Path) -> None:
        self.root, self.kept = root, root / ".cache" / "tested_lines"
        files = [file for place in ("tests", "reference_impl") for file in sorted((root / place).rglob("*.py"))]
        digests = {file.relative_to(root).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        package = hashlib.sha256("".join(d for name, d in digests.items() if name.startswith("reference_impl/")).encode()).hexdigest()
        tests = {name: package + digest for name, digest in digests.items()
                 if not name.startswith(ELSEWHERE) and (name.startswith("reference_impl/") or Path(name).name.startswith("test_"))}
        index = self.kept / "index.json"
        runs: dict[str, list[str]] = json.loads(index.read_text(encoding="utf-8")) if index.exists() else {}
        if stale := [name for name, digest in tests.items() if runs.get(name, [""])[0] != digest]:
            run = str(time.time_ns())
            (self.kept / run).mkdir(parents=True)
            environment = os.environ | {FOLDER: str(self.kept / run), "PYTHONPATH": os.pathsep.join([str(root), str(root / "scripts")])}
            print(f"writing down which lines the tests of {len(stale)} files run", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "tested_lines", "-p", "no:cacheprovider", *stale], cwd=root,
                           env=environment, check=False, stdout=sys.stderr)
            runs |= {name: [tests[name], run] for name in stale}
            index.write_text(json.dumps(runs, indent=1), encoding="utf-8")
        self.seconds: dict[str, float] = {}
        self.lines: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for run in sorted({run for name, (_, run) in runs.items() if name in tests}):
            current = {name for name in tests if runs[name][1] == run}
            for part in (self.kept / run).glob(f"*.{PASSED}"):
                self.seconds |= {test: s for test, s in json.loads(part.read_text(encoding="utf-8")).items() if file_of(test) in current}
            for part in (self.kept / run).glob("*.lines"):
                data = coverage.CoverageData(str(part))
                data.read()
                for file in data.measured_files():
                    lines = self.lines["reference_impl/" + Path(file).as_posix().rpartition("/reference_impl/")[2]]
                    for line, contexts in data.contexts_by_lineno(file).items():
                        lines[line] |= {test for test in contexts if test in self.seconds}

    def of(self, path: str, first: int, last: int) -> set[str]:
        """The tests that run one of some lines of a file."""
        return set[str]().union(*(tests for line, tests in self.lines[path].items() if first <= line <= last))


def file_of(test: str) -> str:
    """The file in which a test stands."""
    return test.partition("::")[0]
