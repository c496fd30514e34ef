"""Build the site twice, each time from nothing but the tree and the files of Pyodide, and say which files differ.

    python scripts/build_twice.py       every page is run twice: half an hour on two cores

The two builds have other folders, time zones, locales and hash seeds. Exits with 1 if a file is not the same bytes in both.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).parents[1]
BUILDS = (
    ("a", {"TZ": "Asia/Seoul", "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "1", "LANG": "ko_KR.UTF-8"}),
    ("another folder with a longer name", {"TZ": "America/St_Johns", "LC_ALL": "C", "PYTHONHASHSEED": "2026", "LANG": "tr_TR.UTF-8"}),
)


def built(root: Path, environment: dict[str, str]) -> dict[str, str]:
    """Build the site in a copy of the tree at `root`; the sha256 of each file by its path."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True).stdout
    fetched = [path.relative_to(ROOT) for path in (ROOT / ".cache/runtime").glob("*") if re.fullmatch(r"[0-9a-f]{64}", path.name)]
    for name in [*map(Path, filter(None, listed.decode().split("\0"))), *fetched]:
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, root / name)
    paths = os.pathsep.join(map(str, (root, root / "scripts")))
    subprocess.run([sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"], cwd=root, env=os.environ | environment | {"PYTHONPATH": paths}, check=True)
    site = root / "site"
    return {path.relative_to(site).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(site.rglob("*")) if path.is_file()}


def main() -> int:
    """Build, compare, print."""
    with tempfile.TemporaryDirectory() as folder:
        one, other = (built(Path(folder, name), environment) for name, environment in tqdm(BUILDS, unit="build", disable=None))
    differ = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    for name in differ:
        print(f"{name}: {'not the same' if name in one and name in other else 'in one build only'}")
    print(f"{len(one)} files, {len(differ)} differ")
    return int(bool(differ))


if __name__ == "__main__":
    sys.exit(main())
