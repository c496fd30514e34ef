"""All that wants a GPU, in at most eight minutes: python scripts/run_gpu.py FOLDER

Runs the tests marked `gpu` and the benchmark of the page *On a GPU*, each under a time limit of its own, with the Python that runs this and
the NumPy, CuPy and pytest that it has (with a PyTorch for CUDA its steps are timed too). If the tests passed, the times become the page's.
FOLDER holds, even of a part that failed or was killed: summary.json (machine, versions, how each part ended), tests.xml (JUnit), tests.log,
benchmark.log, gpu.json (every round of the benchmark).

Ends with 0 if all went well, 1 if a part failed or ran out of time, 3 where a GPU, CuPy or pytest lacks.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

import benchmark_gpu

ROOT = Path(__file__).parents[1]
LACKS = 3
SECONDS = {"look": 30, "tests": 260, "benchmark": 160}  # with GRACE for each, below eight minutes
GRACE = 10  # for pytest to write what it has

LOOK = """
import json, platform, sys
try:
    import cupy, numpy, pytest
except ImportError as error:
    sys.exit(f"nothing run: {error.name} lacks (python -m pip install pytest 'cupy-cuda13x[ctk]')")
if not cupy.cuda.is_available():
    sys.exit("nothing run: CuPy finds no GPU here")
device, runtime = cupy.cuda.runtime.getDeviceProperties(0), cupy.cuda.runtime
found = {"device": device["name"].decode(), "memory": device["totalGlobalMem"], "CUDA of the driver": runtime.driverGetVersion(),
         "CUDA of CuPy": runtime.runtimeGetVersion(), "python": platform.python_version(), "system": platform.platform()}
print(json.dumps(found | {module.__name__: module.__version__ for module in (cupy, numpy, pytest)}))
"""


def run(command: list[str], log: Path, seconds: float) -> str:
    """How a command ended: "passed", "failed", "out of time". What it says goes to `log`; nothing that it started stays behind."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    with log.open("w", encoding="utf-8") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"},
                                   stdout=said, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            return "passed" if process.wait(seconds) == 0 else "failed"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGINT)  # pytest then writes what it has
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
            return "out of time"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def tests(folder: Path, ini: Path) -> list[str]:
    """The command that runs the tests marked `gpu`: of the files that know of CuPy, as others import what need not be here."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    lines = {"pythonpath": [ROOT / name for name in options["pythonpath"]], "markers": options["markers"], "filterwarnings": options["filterwarnings"]}
    ini.write_text("[pytest]\n" + "".join(f"{name} =\n" + "".join(f"    {line}\n" for line in many) for name, many in lines.items()), encoding="utf-8")
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if re.search(r"\bcupy\)", path.read_text(encoding="utf-8"))]
    return [sys.executable, "-m", "pytest", "-c", str(ini), "--rootdir", str(ROOT), "-p", "no:cacheprovider", "-m", "gpu", "-v", "--durations", "10",
            "--junitxml", str(folder / "tests.xml"), *map(str, files)]


def keep(measured: Path, kept: Path) -> str:
    """Make the times the page's, if all are there that it reads."""
    new, old = (json.loads(path.read_text(encoding="utf-8"))["seconds"] if path.exists() else {} for path in (measured, kept))
    lacking = [f"{case}: {name}" for case, rows in old.items() for name in rows if name not in new.get(case, {})]
    if lacking:
        return "not written: no times of " + ", ".join(lacking)
    shutil.copyfile(measured, kept)
    return "passed"


def main(folder: Path, kept: Path = benchmark_gpu.KEPT) -> int:
    """Run every part, write the summary after each, and say how it went."""
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tests.xml", "gpu.json", "summary.json"):
        (folder / name).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as own:
        looked = Path(own) / "look"
        if (how := run([sys.executable, "-c", LOOK], looked, SECONDS["look"])) != "passed":
            said = looked.read_text(encoding="utf-8").splitlines()
            print(said[-1] if how == "failed" and said else f"nothing run: looking for a GPU took more than {SECONDS['look']} s")
            return LACKS
        summary = {"machine": json.loads(looked.read_text(encoding="utf-8").splitlines()[-1]), "parts": {}}
        print(summary["machine"], flush=True)

        parts = {
            "tests": lambda: run(tests(folder, Path(own) / "pytest.ini"), folder / "tests.log", SECONDS["tests"]),
            "benchmark": lambda: run([sys.executable, benchmark_gpu.__file__, "--write", str(folder / "gpu.json")], folder / "benchmark.log",
                                     SECONDS["benchmark"]),
            "page": lambda: keep(folder / "gpu.json", kept) if all_passed() else "not written: a part before it did not pass",
        }

        def all_passed() -> bool:
            return all(part["ended"] == "passed" for part in summary["parts"].values())

        for name, part in parts.items():
            start = time.monotonic()
            ended = part()
            log = folder / f"{name}.log"
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] if log.exists() else []
            summary["parts"][name] = {"ended": ended, "seconds": round(time.monotonic() - start, 1), "said": " ".join(last)}
            (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
            print(f"{name:10} {ended} in {summary['parts'][name]['seconds']} s  {' '.join(last)}", flush=True)
    return 0 if all_passed() else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what it started ends too
    sys.exit(main(**vars(parser.parse_args())))
