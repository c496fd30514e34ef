"""The program for a machine with a GPU, on a stand-in for one: what it leaves, and that no part takes another with it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import benchmark_gpu
import pytest
import run_gpu

ROOT = Path(__file__).parents[1]
STAND_IN = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
import device
sys.modules |= {{"cupy": device.cupy, "cupyx": device.cupyx}}
"""


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """Where `import cupy` finds the stand-in; few tests and a short benchmark are run there."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "cupy.py").write_text(STAND_IN)
    short = modules / "short.py"
    short.write_text(f"import sys, pathlib; sys.path.insert(0, {str(ROOT / 'scripts')!r})\n"
                     "import benchmark_gpu\nbenchmark_gpu.main(2, pathlib.Path(sys.argv[2]), [1, 2])\n")
    monkeypatch.setenv("PYTHONPATH", str(modules))
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k 'test_finite and f4'")
    monkeypatch.setattr(benchmark_gpu, "__file__", str(short))
    return modules


def summary(folder):
    return json.loads((folder / "summary.json").read_text())


def test_every_part_leaves_its_results(gpu, tmp_path, capsys):
    kept = tmp_path / "kept.json"
    assert run_gpu.main(tmp_path / "out", kept) == 0, summary(tmp_path / "out")
    told, out = summary(tmp_path / "out"), tmp_path / "out"
    assert told["machine"] | {"device": "a stand-in", "cupy": "14.2.0", "CUDA of the driver": 13000} == told["machine"]
    assert {name: part["ended"] for name, part in told["parts"].items()} == {"tests": "passed", "benchmark": "passed", "page": "passed"}
    suite = ElementTree.parse(out / "tests.xml").find("testsuite")
    assert int(suite.get("tests")) > 0 == int(suite.get("failures")) == int(suite.get("skipped"))
    measured = json.loads((out / "gpu.json").read_text())
    assert set(measured["seconds"]) == {"Adam 1e1", "Adam 1e2", "kernel 1e2", "20 arrays of 550"} and measured["machine"]["device"] == "a stand-in"
    assert kept.read_bytes() == (out / "gpu.json").read_bytes()
    printed = capsys.readouterr().out
    assert all(word in printed for word in ("a stand-in", "tests      passed", "benchmark  passed", "page       passed"))
    assert sorted(path.name for path in out.iterdir()) == ["benchmark.log", "gpu.json", "summary.json", "tests.log", "tests.xml"]


def test_a_part_that_fails_takes_no_other_with_it(gpu, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k 'nothing of this name'")
    kept = tmp_path / "kept.json"
    assert run_gpu.main(tmp_path / "out", kept) == 1
    ends = {name: part["ended"] for name, part in summary(tmp_path / "out")["parts"].items()}
    assert ends == {"tests": "failed", "benchmark": "passed", "page": "not written: a part before it did not pass"}
    assert (tmp_path / "out" / "gpu.json").exists() and not kept.exists(), "numbers of a package that fails its tests are not shown"


def test_times_that_the_page_needs_are_not_left_out(gpu, tmp_path):
    kept = tmp_path / "kept.json"
    kept.write_text(before := json.dumps({"seconds": {"Adam 1e1": {"ours": [1.0], "torch, fused": [1.0]}}}))
    assert run_gpu.main(tmp_path / "out", kept) == 1
    assert summary(tmp_path / "out")["parts"]["page"]["ended"] == "not written: no times of Adam 1e1: torch, fused"
    assert kept.read_text() == before


def test_a_program_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    child = tmp_path / "child"
    program = (f"import subprocess, signal, time, pathlib; print('begun'); signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
               f"child = subprocess.Popen(['sleep', '60']); pathlib.Path({str(child)!r}).write_text(str(child.pid)); time.sleep(60)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_gpu, "GRACE", 0.1)
        assert run_gpu.run([sys.executable, "-c", program], tmp_path / "log", 2) == "out of time"
    assert (tmp_path / "log").read_text() == "begun\n"
    status, until = Path(f"/proc/{child.read_text()}/stat"), time.monotonic() + 20
    while (alive := status.exists() and status.read_text().split()[2] != "Z") and time.monotonic() < until:  # a killed process still has to end
        time.sleep(0.05)
    assert not alive


def test_who_is_asked_to_stop_may_write_what_he_has(tmp_path):
    program = "trap 'echo what there is; exit' INT; sleep 60 & wait"  # a shell is there to be asked sooner than a Python
    for seconds in (2, 10, 40):  # where a machine stands still for a while, even a shell starts late
        assert run_gpu.run(["sh", "-c", program], tmp_path / "log", seconds) == "out of time"
        if told := (tmp_path / "log").read_text():
            break
    assert told == "what there is\n"


def test_all_parts_together_take_at_most_eight_minutes():
    assert sum(run_gpu.SECONDS.values()) + len(run_gpu.SECONDS) * run_gpu.GRACE <= 8 * 60


@pytest.mark.parametrize(("cupy", "says"), [
    ("raise ImportError(name='cupy')", "nothing run: cupy lacks (python -m pip install pytest 'cupy-cuda13x[ctk]')"),
    (STAND_IN + "device.cupy.cuda.is_available = lambda: False", "nothing run: CuPy finds no GPU here"),
    ("raise RuntimeError('driver too old')", "RuntimeError: driver too old"),
], ids=["no CuPy", "no GPU", "no driver"])  # fmt: skip
def test_without_a_gpu_it_says_so_in_one_line(cupy, says, tmp_path):
    (tmp_path / "cupy.py").write_text(cupy)
    done = subprocess.run([sys.executable, ROOT / "scripts/run_gpu.py", tmp_path / "out"], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (run_gpu.LACKS, says + "\n", "")
