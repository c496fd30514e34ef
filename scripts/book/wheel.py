"""The package as a wheel, which the site hands out: equal sources give equal bytes, and others another version.

For pip leaves a package as it is whose version it has, even if the wheel at the same address is a new one.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "reference_impl"
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


def wheel(root: Path = ROOT) -> tuple[str, bytes]:
    """The file name and the bytes of the wheel of the project in `root`; raises RuntimeError if it cannot be built."""
    return _built(root, _sources(root))


def _sources(root: Path) -> tuple[tuple[str, bytes], ...]:
    """Every file that the wheel is made of: its path in the project, and what is in it."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = ["pyproject.toml", project["readme"], *(path.relative_to(root).as_posix() for glob in project["license-files"] for path in root.glob(glob))]
    package = (path.relative_to(root) for path in (root / PACKAGE).rglob("*") if path.is_file())
    code = [path.as_posix() for path in package if not any(part.startswith((".", "__pycache__")) for part in path.parts)]
    return tuple((name, (root / name).read_bytes()) for name in sorted({*named, *code}))


@cache
def _built(root: Path, sources: tuple[tuple[str, bytes], ...]) -> tuple[str, bytes]:
    state = hashlib.sha256(b"\0".join(part for name, content in sources for part in (name.encode(), content))).hexdigest()[:8]
    # Apart from the project: setuptools leaves a folder `build` behind, and what lies in it goes into later wheels.
    with tempfile.TemporaryDirectory() as folder:
        copy, made = Path(folder, "source"), Path(folder, "made")
        made.mkdir()
        for name, content in sources:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes(content)
            (copy / name).chmod(0o644)
        settings = (copy / "pyproject.toml").read_text(encoding="utf-8")
        (copy / "pyproject.toml").write_text(re.sub(r'^(version = "[^"+]+)"', rf'\1+{state}"', settings, count=1, flags=re.M), encoding="utf-8")
        done = subprocess.run([sys.executable, "-c", BUILD, str(made)], cwd=copy, env=os.environ | {"SOURCE_DATE_EPOCH": "315532800"}, umask=0o022,
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{root}: setuptools could not build the wheel (its version is pinned in the extra `docs`):\n{done.stderr}")
        (file,) = made.iterdir()
        return file.name, file.read_bytes()
