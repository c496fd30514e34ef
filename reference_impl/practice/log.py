"""The log of a search: lines that vouch for themselves, in a file that several processes may share.

Every line ends with a checksum. Whoever reads or writes holds a lock on the file for that moment, and whoever runs a trial one on the
trial. They are locks on single bytes beyond the end, given by the system, which takes them back when their process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .code import fingerprint
from .trials import Objective, Trial

_FILE, _TRIALS = 2**30, 2**30 + 1  # the bytes to lock: beyond any log's end, within what Windows counts to
_CHECK = ', "check": "'


class Log:
    """A line of JSON that says which search this is, then one for each finished trial; of two for one trial the later counts.

    The first line may be that of a search of the first few of `settings`. `of` is what else a search is known by. A line that is
    damaged, or has another setting, counts as not there, and a warning names it; one that was cut short by the end of its process is
    taken away when the next process comes. A crash of the program costs no line, one of the machine those of the last second.

    Without a path it keeps nothing, and every claim is granted.
    """

    def __init__(self, path: str | os.PathLike[str] | None, objective: Objective, settings: Sequence[Mapping[str, Any]], seed: int, *,
                 edited: bool = False, of: Mapping[str, object] | None = None) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.promotions: dict[int, list[int]] = {}
        self.path = None if path is None else os.fspath(path)
        if self.path is None:
            return
        code = fingerprint(objective)

        def head(count: int, code: str) -> str:
            name = getattr(objective, "__qualname__", type(objective).__qualname__)
            digest = _digest(json.dumps(settings[:count], default=_plain, sort_keys=True))
            return _signed({"objective": name, "code": code, "trials": count, "settings": digest, "seed": int(seed), **(of or {})}, "")

        mine = head(len(settings), code)
        try:
            self.stream = open(self.path, "a+b", buffering=0)  # noqa: SIM115 (closed with the log)
        except FileNotFoundError:
            raise FileNotFoundError(f"log must lie in a folder that exists, got {self.path!r}") from None
        except IsADirectoryError:
            raise IsADirectoryError(f"log must be a file, got the folder {self.path!r}") from None
        _OPEN.add(self)
        self.synced = -math.inf
        try:
            with self._lock():
                self._begin(mine, head, code, edited)
                self._catch_up()
        except BaseException:
            self.stream.close()
            raise

    def _begin(self, mine: str, head: Callable[[int, str], str], code: str, edited: bool) -> None:
        """Read the first line, or write it."""
        self.stream.seek(0)
        first, end, _ = self.stream.read().partition(b"\n")
        text = first.decode(errors="replace")
        if end:
            try:
                said = json.loads(text)
                ours, then = text == head(said["trials"], said["code"]), said["code"]
            except (ValueError, TypeError, KeyError):
                ours, then = False, ""
        else:
            ours, then = mine.startswith(text), code
        if not ours:
            raise ValueError(f"log must be a file of this search, {mine}, got {self.path}, which begins {text[:120]!r}")
        if then != code and not edited:
            raise ValueError(f"log must be of this objective, got {self.path}, which an objective of the same name but with other code, "
                             f"defaults or closed-over values wrote ({then}, now {code}): edited=True goes on with its values")
        if not end:
            if text:
                self._name(["its first line was cut short"])
            self.stream.truncate(0)
            self._write(mine)
            text = mine
        self.key = text
        self.read_to, self.lines = len(text.encode()) + 1, 1

    def known(self, settings: Sequence[Mapping[str, Any]], start: int) -> dict[int, Trial]:
        """The trials of `settings` from `start` on that the log has. Other settings in their places are named."""
        found = {i: trial for i in range(start, len(settings)) if (trial := self.find(i, settings[i])) is not None}
        if others := [i for i in range(start, len(settings)) if i in self.rows and i not in found]:
            self._name([f"trial {i} has another setting there" for i in others])
        return found

    def find(self, index: int, setting: Mapping[str, Any]) -> Trial | None:
        """The trial of that place as the log has it; None where it has none with that setting."""
        row = self.rows.get(index)
        if row is None or _said(row["setting"]) != _said(setting):
            return None
        return Trial(index, dict(setting), math.nan if row["value"] is None else float(row["value"]), row["error"], row.get("traceback", ""))

    def claim(self, index: int, *, wait: bool = False) -> bool:
        """Make a trial this search's own, and read what others have added; False where another search has it, unless it waits."""
        if self.path is None:
            return True
        if not _lock(self.stream.fileno(), _TRIALS + index, wait):
            return False
        with self._lock():
            self._catch_up()
        return True

    def release(self, index: int) -> None:
        """Give a trial back."""
        if self.path is not None:
            _unlock(self.stream.fileno(), _TRIALS + index)

    def add(self, trial: Trial) -> None:
        """Write a finished trial, and give it back."""
        if self.path is None:
            return
        value = None if math.isnan(trial.value) else trial.value
        row: dict[str, Any] = {"index": trial.index, "setting": trial.setting, "value": value, "error": trial.error}
        self._append(row | ({"traceback": trial.traceback} if trial.traceback else {}))
        self.release(trial.index)

    def promoted(self, rung: int, chosen: list[int]) -> list[int]:
        """The places of the trials that go on to a rung: those that the log has, or else `chosen`, which it then has."""
        if self.path is not None:
            with self._lock():
                self._catch_up()
                if rung not in self.promotions:
                    self._write(_signed({"rung": rung, "promoted": chosen}, self.key))
        return self.promotions.get(rung, chosen)

    def close(self) -> None:
        """Give everything back."""
        if self.path is not None:
            os.fsync(self.stream.fileno())
            self.stream.close()

    def _append(self, row: Mapping[str, Any]) -> None:
        line = _signed(row, self.key)
        with self._lock():
            self._catch_up()
            self._write(line)

    def _write(self, line: str) -> None:
        left = memoryview(line.encode() + b"\n")
        while left:
            left = left[self.stream.write(left):]
        if time.monotonic() > self.synced + 1:  # takes milliseconds: as long as many a trial
            os.fsync(self.stream.fileno())
            self.synced = time.monotonic()

    def _catch_up(self) -> None:
        """Read the lines since the last time. Under the lock nobody is in the middle of a line: one without an end was left by the dead."""
        self.stream.seek(self.read_to)
        new = self.stream.read()
        whole = new[:new.rfind(b"\n") + 1]
        faults = []
        if torn := new[len(whole):]:
            if _read(torn, self.key):  # a whole line, but for its end
                self.stream.write(b"\n")
                whole = new + b"\n"
            else:
                self.stream.truncate(self.read_to + len(whole))
                faults.append("its last line was cut short")
        for line in whole.split(b"\n")[:-1]:
            self.lines += 1
            if (row := _read(line, self.key)) is None:
                faults.append(f"line {self.lines} is damaged")
            elif "rung" in row:
                self.promotions[row["rung"]] = row["promoted"]
            else:
                self.rows[row["index"]] = row
        self.read_to += len(whole)
        if faults:
            self._name(faults)

    def _name(self, faults: list[str]) -> None:
        more = f", and {len(faults) - 5} more" if len(faults) > 5 else ""
        warnings.warn(f"log {self.path}: {', '.join(faults[:5])}{more}: it counts as not there", RuntimeWarning, stacklevel=2)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """No other search reads or writes the file meanwhile."""
        _lock(self.stream.fileno(), _FILE, wait=True)
        try:
            yield
        finally:
            _unlock(self.stream.fileno(), _FILE)


def _signed(row: Mapping[str, Any], key: str) -> str:
    """A row as a line that ends with its checksum. The key, the log's first line, goes in: a line of another log is none of this one."""
    text = json.dumps(row, default=_plain)
    return f'{text[:-1]}{_CHECK}{_digest(key + text)}"}}'


def _read(line: bytes, key: str) -> dict[str, Any] | None:
    """A line's row; None for a damaged one."""
    text = line.decode(errors="replace").rpartition(_CHECK)[0] + "}"
    if f'{text[:-1]}{_CHECK}{_digest(key + text)}"}}'.encode() != line:
        return None
    row: dict[str, Any] = json.loads(text)
    return row


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _said(setting: Mapping[str, Any]) -> str:
    """A setting as a log says it."""
    return json.dumps(json.loads(json.dumps(setting, default=_plain)), sort_keys=True)


def _plain(value: object) -> object:
    """A setting's value for a log: the same in every process, or TypeError."""
    if isinstance(value, np.generic | np.ndarray) and type(value) is not np.longdouble:
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    named = getattr(value, "__qualname__", None)
    said = f"{value.__module__}.{named}" if named is not None else repr(value)
    if "<lambda>" in said or re.search(r" at 0x[0-9a-fA-F]+", said):
        raise TypeError(f"settings must hold numbers, strings or what has a name or a repr of its own, for a log, got {value!r}")
    return said


# Locks of an open file, not of a process: another thread is as much another search, and nobody's reading the file gives them up.

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, byte: int, wait: bool) -> bool:
        while True:
            os.lseek(file, byte, os.SEEK_SET)
            try:
                msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
                return True
            except OSError:
                if not wait:
                    return False
                time.sleep(0.005)

    def _unlock(file: int, byte: int) -> None:
        os.lseek(file, byte, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

elif sys.platform == "emscripten":  # the browser has one process, and no locks

    def _lock(file: int, byte: int, wait: bool) -> bool:
        return True

    def _unlock(file: int, byte: int) -> None:
        pass

else:
    import fcntl

    def _set(file: int, byte: int, kind: int, wait: bool) -> None:
        if sys.platform == "linux":
            how = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
            fcntl.fcntl(file, how, struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0))
        else:  # a process's locks: the best there is
            fcntl.lockf(file, (fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB), 1, byte)

    def _lock(file: int, byte: int, wait: bool) -> bool:
        try:
            _set(file, byte, fcntl.F_WRLCK, wait)
        except (BlockingIOError, PermissionError):
            return False
        return True

    def _unlock(file: int, byte: int) -> None:
        _set(file, byte, fcntl.F_UNLCK, wait=False)


_OPEN = weakref.WeakSet[Log]()


def _forget() -> None:
    """In a forked process: it would hold the locks after the death of the one that took them."""
    for log in _OPEN:
        log.stream.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
