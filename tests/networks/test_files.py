"""Files that are written whole or not at all, by one process at a time, and leave nothing beside them."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reference_impl import Affine, Sequential
from reference_impl.networks.files import HeldFile, read

ONE, TWO = {"a": np.arange(3)}, {"a": np.arange(5.0)}
KILLABLE = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")


@pytest.fixture(params=["nameless", "named"])
def kind(request, monkeypatch):
    """Both ways to write: with a file that has no name, where there are such, and with one beside."""
    if request.param == "named":
        monkeypatch.setattr(os, "O_TMPFILE", 0, raising=False)  # opens the folder, which cannot be written to
    elif not hasattr(os, "O_TMPFILE"):
        pytest.skip("no nameless files here")
    return request.param


def test_what_is_written_is_there_and_nothing_else(kind, tmp_path):
    file = HeldFile(tmp_path / "run.npz")
    assert file.hold() is False and os.listdir(tmp_path) == []
    for content in (ONE, TWO, ONE):
        file.write(content)
        assert os.listdir(tmp_path) == ["run.npz"]
        np.testing.assert_array_equal(read(tmp_path / "run.npz", "write")["a"], content["a"])
    file.release()
    assert HeldFile(tmp_path / "run.npz").hold() is True


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there the system lists what is open")
def test_however_often_it_is_written_one_descriptor_is_open(kind, tmp_path):
    def opened():
        return len(os.listdir("/proc/self/fd"))

    file, before = HeldFile(tmp_path / "run"), opened()
    for step in range(5):
        file.write({"step": np.array(step)})
        assert opened() == before + 1
    file.release()
    assert opened() == before


def test_the_mode_of_the_file_is_that_of_any_other(kind, tmp_path):
    file = HeldFile(tmp_path / "run")
    file.hold()
    file.write(ONE)
    (tmp_path / "other").touch()
    assert (tmp_path / "run").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_only_one_holds_it(kind, tmp_path):
    first, second = HeldFile(tmp_path / "run"), HeldFile(tmp_path / "run")
    first.hold()
    first.write(ONE)
    for _ in range(3):
        with pytest.raises(BlockingIOError, match=rf"path must be written by one process at a time, got {tmp_path / 'run'}, which another one holds"):
            second.hold()
        first.write(TWO)  # what takes the file's place is held too
    assert os.listdir(tmp_path) == ["run"]
    first.release()
    assert second.hold() is True
    with pytest.raises(BlockingIOError):
        first.hold()


def test_two_that_begin_at_the_same_time_do_not_both_begin(kind, tmp_path):
    first, second = HeldFile(tmp_path / "run"), HeldFile(tmp_path / "run")
    assert not first.hold() and not second.hold()
    first.write(ONE)
    with pytest.raises((BlockingIOError, FileExistsError)):
        second.write(TWO)
    assert os.listdir(tmp_path) == ["run"]
    np.testing.assert_array_equal(read(tmp_path / "run", "write")["a"], ONE["a"])
    first.write(TWO)


def test_another_process_is_refused_too(kind, tmp_path):
    file = HeldFile(tmp_path / "run")
    file.hold()
    file.write(ONE)
    code = f"from pathlib import Path; from reference_impl.networks.files import HeldFile; HeldFile(Path({str(tmp_path / 'run')!r})).hold()"
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert tried.returncode == 1 and "BlockingIOError: path must be written by one process at a time" in tried.stderr


def test_what_was_left_by_a_kill_is_removed(kind, tmp_path):
    file = HeldFile(tmp_path / "run")
    file.hold()
    file.write(ONE)
    file.release()
    (tmp_path / "run.part").write_bytes(b"half")
    assert HeldFile(tmp_path / "run").hold() and os.listdir(tmp_path) == ["run"]
    (tmp_path / "new.part").write_bytes(b"half of the very first" * 1000)
    first = HeldFile(tmp_path / "new")
    assert not first.hold()
    first.write(ONE)
    assert (tmp_path / "new").read_bytes() == (tmp_path / "run").read_bytes()
    first.write(TWO)
    assert sorted(os.listdir(tmp_path)) == ["new", "run"]


@KILLABLE
@pytest.mark.parametrize("at", ["savez", "fsync", "link", "replace"])
def test_a_process_that_is_killed_while_writing_leaves_nothing_that_stays(kind, at, tmp_path):
    if kind == "named" and at == "link":
        return
    code = "\n".join([
        "import os, signal, sys; import numpy as np; from pathlib import Path; from reference_impl.networks.files import HeldFile",
        "if sys.argv[2] == 'named': os.O_TMPFILE = 0",
        "file = HeldFile(Path(sys.argv[1])); file.hold(); file.write({'a': np.arange(3)})",
        f"setattr({'np' if at == 'savez' else 'os'}, {at!r}, lambda *args, **options: os.kill(os.getpid(), signal.SIGKILL))",
        "file.write({'a': np.arange(5.0)})",
    ])
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "run"), kind], capture_output=True, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    left = sorted(os.listdir(tmp_path))
    assert left == (["run", "run.part"] if kind == "named" or at == "replace" else ["run"])
    np.testing.assert_array_equal(read(tmp_path / "run", "write")["a"], ONE["a"])
    file = HeldFile(tmp_path / "run")
    assert file.hold()
    file.write(TWO)
    assert os.listdir(tmp_path) == ["run"]


def test_what_cannot_be_written_is_named_by_its_own_path(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"path must lie in a folder that exists, got {tmp_path / 'nowhere' / 'run'}$"):
        HeldFile(tmp_path / "nowhere" / "run").hold()
    (tmp_path / "run").touch()
    with pytest.raises(FileNotFoundError, match="path must lie in a folder that exists"):
        HeldFile(tmp_path / "run" / "run").hold()
    with pytest.raises(IsADirectoryError):
        HeldFile(tmp_path).hold()


def test_a_folder_that_may_not_be_written_to_is_found_out_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    with pytest.raises(PermissionError, match=f"path must lie in a folder that can be written to, got {tmp_path / 'run'}"):
        HeldFile(tmp_path / "run").hold()


@pytest.mark.parametrize("cause", [ImportError("no module named zlib"), MemoryError("too much")])
def test_a_cause_that_is_not_in_the_file_is_told_as_it_is(cause, monkeypatch, tmp_path):
    np.savez(tmp_path / "run.npz", **ONE)

    def fail(*args, **options):
        raise cause

    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(type(cause), match=str(cause)):
        read(tmp_path / "run.npz", "fit")


def test_what_cannot_be_read_is_no_damaged_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "run.npz", "fit")
    with pytest.raises(IsADirectoryError):
        read(Path(tmp_path), "fit")
    (tmp_path / "run.npz").write_bytes(b"no file of NumPy's")
    with pytest.raises(ValueError, match=rf"path must be a file that Sequential.save has written, got {tmp_path / 'run.npz'}: it is no .npz file"):
        read(tmp_path / "run.npz", "Sequential.save")


def test_a_folder_is_no_file(tmp_path):
    model = Sequential(Affine(1, 1, rng=np.random.default_rng(0)))
    for call in (model.save, model.load):
        with pytest.raises(IsADirectoryError, match="path must be a file, got the folder"):
            call(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"path must be a file that Sequential.save has written, got .*none.npz"):
        model.load(tmp_path / "none.npz")
