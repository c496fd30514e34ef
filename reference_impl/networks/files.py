"""Files of arrays that are written whole or not at all, by one process at a time, and leave nothing beside them when it is killed."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

try:
    import fcntl
except ImportError:  # Windows: a file is not locked there, and two runs that share one are not told apart
    fcntl = None  # type: ignore[assignment]


class HeldFile:
    """A file that one process writes again and again, and no other in the meantime.

    What is written has no name until it is whole: it vanishes with the process. Where a file system knows no nameless files it is
    called `NAME.part`, and the next process writes over it. The lock is on the file itself, so it vanishes with the process too,
    and each file that takes its place is locked before it does.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._part = path, path.with_name(f"{path.name}.part")
        self._lock: int | None = None
        self._ours = False

    def hold(self) -> bool:
        """Lock the file, and say whether there is one.

        Raises FileNotFoundError when its folder is missing, BlockingIOError when another process holds it, and OSError when it cannot
        be written.
        """
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"path must lie in a folder that exists, got {self.path}")
        if self.path.is_dir():
            raise IsADirectoryError(f"path must be a file, got the folder {self.path}")
        if not os.access(self.path.parent, os.W_OK):
            raise PermissionError(f"path must lie in a folder that can be written to, got {self.path}")
        try:
            self._lock, self._ours = self._open(self.path, os.O_RDWR), True
        except FileNotFoundError:
            return False
        self._part.unlink(missing_ok=True)  # whoever was killed between naming and replacing
        return True

    def write(self, content: Mapping[str, np.ndarray]) -> None:
        """Put arrays in the place of what the file holds; where that fails, it stays as it is."""
        descriptor, nameless = self._begun()
        try:
            with open(os.dup(descriptor), "wb") as stream:
                np.savez(stream, **content)  # type: ignore[arg-type]
                stream.flush()
                os.fsync(stream.fileno())
            if not self._ours and self.path.exists():
                raise self._busy()
            if nameless and self._ours:
                self._part.unlink(missing_ok=True)
            if nameless:
                _name(descriptor, self._part if self._ours else self.path)
            if fcntl is None:
                os.close(descriptor)
            if self._ours or not nameless:
                os.replace(self._part, self.path)
        except BaseException:
            if fcntl is not None:
                os.close(descriptor)
            self._part.unlink(missing_ok=True)
            raise
        self.release()
        self._lock, self._ours = descriptor if fcntl else None, True

    def release(self) -> None:
        """Let others write the file."""
        if self._lock is not None:
            os.close(self._lock)
        self._lock, self._ours = None, False

    def _begun(self) -> tuple[int, bool]:
        """An empty file, locked, and whether it has no name."""
        if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
            try:
                descriptor = os.open(self.path.parent, os.O_TMPFILE | os.O_RDWR, 0o666)
            except OSError:  # this file system has none
                pass
            else:
                _lock(descriptor)
                return descriptor, True
        descriptor = self._open(self._part, os.O_RDWR | os.O_CREAT)
        os.ftruncate(descriptor, 0)
        return descriptor, False

    def _open(self, path: Path, flags: int) -> int:
        """Open a file and lock it."""
        while True:
            descriptor = os.open(path, flags, 0o666)
            try:
                _lock(descriptor)
                if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                raise self._busy() from None
            except FileNotFoundError:
                pass
            os.close(descriptor)  # another file took its place between opening and locking

    def _busy(self) -> BlockingIOError:
        return BlockingIOError(f"path must be written by one process at a time, got {self.path}, which another one holds")


def read(path: Path, writer: str) -> dict[str, np.ndarray]:
    """The arrays of a file that `writer` has written: ValueError for any other, OSError when it cannot be read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"path must be a file that {writer} has written, got {path}, which is none") from None
    except IsADirectoryError:
        raise IsADirectoryError(f"path must be a file, got the folder {path}") from None
    try:
        if not data.startswith(b"PK"):  # NumPy would take it for a pickle, and say how to load that
            raise ValueError("it is no .npz file")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return dict(file)
    except (ImportError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes zipfile and NumPy raise almost anything
        raise ValueError(f"path must be a file that {writer} has written, got {path}: {error}") from error


def _lock(descriptor: int) -> None:
    """BlockingIOError when another process holds the file."""
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        pass


def _name(descriptor: int, path: Path) -> None:
    """Give a nameless file its name; FileExistsError where there is one of that name."""
    folder = os.open("/proc/self/fd", os.O_RDONLY)
    try:
        os.link(str(descriptor), path, src_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)
