"""The lock: every package that the README's commands bring, with its version and the hashes of its files.

    python scripts/lock.py                  renew it, and say what moved (`--keep`: only what pyproject.toml asks for)
    python scripts/lock.py --check          does it still fit pyproject.toml? Asks nobody.
    python scripts/lock.py --against FILE   what moved from the lock to FILE, of `pip freeze` or another lock
    python scripts/lock.py --unpinned       the extras without their exact versions, for a try with the newest
    python scripts/lock.py --sbom FILE      a bill of materials: CycloneDX 1.6, as JSON

`requirements.lock` holds the extras `test` and `docs`. `requirements-peers.lock` holds what `peers` brings beyond them: PyTorch is gigabytes
on Linux, and most tests are to run without it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import uuid
import venv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
MAIN, PEERS = "requirements.lock", "requirements-peers.lock"
EXTRAS = {MAIN: ("test", "docs"), PEERS: ("peers",)}
UV = "uv==0.13.9"  # another release may choose, order or mark otherwise
PYTHON = "3.11.5"  # the oldest that pymdown-extensions takes; the package itself runs on every 3.11
RENEW = "run python scripts/lock.py"
ENTRY = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)==(?P<version>[^\s;\\]+)(?: ; (?P<marker>[^\\\n]+?))?(?: \\)?\n")
HASH = re.compile(r"sha256:[0-9a-f]{64}")
# The runs that are kept from earlier builds know direct dependencies alone: away with them.
PAGES = f"""To see what moved on the pages, build them with either lock and compare:
    mkdir -p .cache && git show HEAD:{MAIN} > .cache/before.lock
    pip install --require-hashes -r .cache/before.lock && rm -rf .cache/pages && mkdocs build --clean -d .cache/before
    pip install --require-hashes -r {MAIN} && rm -rf .cache/pages && mkdocs build --clean -d .cache/after
    diff -r .cache/before .cache/after"""

Project = Mapping[str, Any]

# Every kind of machine for which the lock must say exactly one version of a package.
SYSTEMS = {
    "Linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"},
    "macOS": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix"},
    "Windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
}
MACHINES = ("x86_64", "aarch64", "arm64", "AMD64")
PYTHONS = ("3.11.5", "3.12.0", "3.13.0", "3.14.0", "3.15.0")
ENVIRONMENTS = {
    f"Python {python[:4]} on {system}, {machine}": {
        "python_version": python[:4], "python_full_version": python, "platform_machine": machine, **names, "implementation_name": "cpython",
        "implementation_version": python, "platform_python_implementation": "CPython", "platform_release": "", "platform_version": "", "extra": ""}
    for python, (system, names), machine in product(PYTHONS, SYSTEMS.items(), MACHINES)
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A package of the lock: `via` names who asks for it, `text` is its lines as they stand there."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    via: tuple[str, ...]
    text: str

    def applies(self, environment: Mapping[str, str]) -> bool:
        return not self.marker or Marker(self.marker).evaluate(dict(environment))

    @property
    def purl(self) -> str:
        return f"pkg:pypi/{self.name}@{quote(self.version, safe='.')}"


# ---- What the files say ----


def project(root: Path = ROOT) -> Project:
    """The table `project` of pyproject.toml."""
    table: Project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def read(text: str) -> tuple[list[Entry], list[str]]:
    """The entries of a lock, and the lines that neither are nor belong to one."""
    entries: list[Entry] = []
    strays: list[str] = []
    for block in re.split(r"^(?=\S)", text, flags=re.M):
        if found := ENTRY.match(block):
            hashes = re.findall(r"--hash=(\S+)", block)
            via = re.findall(r"^ +# (?: +|via )([\w.-]+)", block, re.M)
            entries.append(Entry(found["name"], found["version"], found["marker"] or "", tuple(hashes), tuple(via), block))
        elif block.strip() and not block.startswith("#"):
            strays.append(block.splitlines()[0])
    return entries, strays


def asked(table: Project, extras: Iterable[str]) -> list[Requirement]:
    """What the package and its extras ask for, extras of extras too; each line once."""
    found: dict[str, Requirement] = {}

    def take(lines: Iterable[str]) -> None:
        for line in lines:
            requirement = Requirement(line)
            if canonicalize_name(requirement.name) == canonicalize_name(table["name"]):
                for extra in sorted(requirement.extras):
                    take(table["optional-dependencies"][extra])
            else:
                found.setdefault(line, requirement)

    take(table["dependencies"])
    for extra in extras:
        take(table["optional-dependencies"][extra])
    return list(found.values())


def unpinned(table: Project, extras: Iterable[str] = EXTRAS[MAIN]) -> list[str]:
    """What is asked for, by names and ranges alone."""
    return sorted({re.sub(r"==[^,;\s]+", "", str(requirement)) for requirement in asked(table, extras)}, key=str.lower)


# ---- What is wrong with them ----


def faults(table: Project, locks: Mapping[str, str]) -> list[str]:
    """What in the locks, by file name, does not fit the project or is no lock; each with what was expected."""
    said: list[str] = []
    everything: dict[str, list[Entry]] = {}
    for file, text in locks.items():
        entries, strays = read(text)
        said += [f"{file}: got the line {line!r}, expected name==version, with its marker and hashes" for line in strays]
        direct = {canonicalize_name(requirement.name) for requirement in asked(table, EXTRAS[file])}
        for entry in entries:
            everything.setdefault(entry.name, []).append(entry)
            if not entry.hashes:
                said.append(f"{file}: {entry.name}=={entry.version} has no hash, expected one for each of its files: {RENEW}")
            said += [f"{file}: {entry.name}=={entry.version} has the hash {value!r}, expected sha256: and 64 hexadecimal digits"
                     for value in entry.hashes if not HASH.fullmatch(value)]
            if table["name"] in entry.via and entry.name not in direct:
                said.append(f"{file}: {entry.name}=={entry.version} is there for pyproject.toml, which no longer names it: {RENEW}")
        said += _misfits(table, file, everything)
    for name, entries in everything.items():
        if len(entries) > 1:
            for environment, values in ENVIRONMENTS.items():
                if len(twice := [entry.version for entry in entries if entry.applies(values)]) > 1:
                    said.append(f"{name} is locked {len(twice)} times for {environment} ({', '.join(twice)}), expected once: {RENEW}")
                    break
    return said


def _misfits(table: Project, file: str, locked: Mapping[str, Sequence[Entry]]) -> list[str]:
    """What pyproject.toml asks for and the lock lacks, or has in another version."""
    said = []
    for requirement in asked(table, EXTRAS[file]):
        entries = locked.get(canonicalize_name(requirement.name), ())
        said += [f"{file}: {entry.name} is locked at {entry.version}, expected {requirement} as in pyproject.toml: {RENEW}"
                 for entry in entries if not requirement.specifier.contains(entry.version, prereleases=True)]
        for environment, values in ENVIRONMENTS.items():
            if (requirement.marker is None or requirement.marker.evaluate(dict(values))) and not any(entry.applies(values) for entry in entries):
                said.append(f"{file}: no {requirement.name} for {environment}, expected {requirement} as in pyproject.toml: {RENEW}")
                break
    return said


# ---- What moved ----


def versions(text: str) -> dict[str, str]:
    """Package by package the versions that a lock, or `pip freeze`, has."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", text, re.M):
        found.setdefault(canonicalize_name(name), []).append(version)
    return {name: " and ".join(sorted(set(several))) for name, several in found.items()}


def moved(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Lines `name: before → after`, of those packages alone whose versions differ."""
    return [f"{name}: {before.get(name, 'absent')} → {after.get(name, 'absent')}"
            for name in sorted({*before, *after}) if before.get(name) != after.get(name)]


# ---- Writing it ----


def renew(root: Path = ROOT, keep: bool = False) -> dict[str, str]:
    """The locks, by file name, as the registry's packages make them today; with `keep` as near to the present ones as pyproject.toml lets them be."""
    old = {file: (root / file).read_text(encoding="utf-8") if (root / file).exists() else "" for file in EXTRAS}
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        place = Path(folder, "Scripts" if os.name == "nt" else "bin")
        subprocess.run([place / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", UV],
                       check=True, stdin=subprocess.DEVNULL)

        def compiled(extras: Iterable[str], near: str) -> list[Entry]:
            out = Path(folder, "lock.txt")
            out.write_text(near, encoding="utf-8")  # uv stays with the versions that it finds there
            # One version for all Pythons where there is one: the pages print what they print on each.
            subprocess.run([place / "uv", "pip", "compile", "pyproject.toml", *(f"--extra={extra}" for extra in extras), "--no-config", "--universal",
                            f"--python-version={PYTHON}", "--fork-strategy=fewest", "--generate-hashes", "--no-header", "--no-emit-index-url",
                            "--quiet", f"--output-file={out}"], cwd=root, check=True, stdin=subprocess.DEVNULL)  # fmt: skip
            return read(out.read_text(encoding="utf-8"))[0]

        main = compiled(EXTRAS[MAIN], old[MAIN] if keep else "")
        text = "".join(entry.text for entry in main)
        both = compiled([*EXTRAS[MAIN], *EXTRAS[PEERS]], text + (old[PEERS] if keep else ""))
    there = {(entry.name, entry.version, entry.marker) for entry in main}
    beyond = "".join(entry.text for entry in both if (entry.name, entry.version, entry.marker) not in there)
    head = "# Written by scripts/lock.py, not by hand. What pip may install here{}: each file by its hash,\n" \
           f"# for Python {PYTHON} and newer on Linux, macOS and Windows.\n"
    return {MAIN: head.format("") + text, PEERS: head.format(f" for the extra peers, beyond {MAIN}") + beyond}


def sbom(table: Project, text: str) -> dict[str, Any]:
    """The bill of materials of a lock. Equal locks give equal bills: no clock and no chance is in it."""
    entries = {entry.purl: entry for entry in read(text)[0]}
    itself = f"pkg:pypi/{table['name']}@{table['version']}"
    digest = hashlib.sha256(f"{itself}\n{text}".encode()).hexdigest()

    def needs(name: str) -> list[str]:
        return [purl for purl, entry in entries.items() if name in entry.via]

    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, digest)}",
        "version": 1,
        "metadata": {"component": {"type": "application", "bom-ref": itself, "name": table["name"], "version": table["version"], "purl": itself}},
        "components": [
            {"type": "library", "bom-ref": purl, "name": entry.name, "version": entry.version, "purl": purl,
             "hashes": [{"alg": "SHA-256", "content": value.removeprefix("sha256:")} for value in entry.hashes]}
            for purl, entry in entries.items()
        ],
        "dependencies": [{"ref": itself, "dependsOn": needs(table["name"])},
                         *({"ref": purl, "dependsOn": needs(entry.name)} for purl, entry in entries.items())],
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    does = parser.add_mutually_exclusive_group()
    does.add_argument("--keep", action="store_true", help="renew, but move no package that pyproject.toml lets stay")
    does.add_argument("--check", action="store_true", help="say what does not fit pyproject.toml; the exit status is 1 if anything does not")
    does.add_argument("--against", type=Path, metavar="FILE", help="say what moved from the lock to FILE")
    does.add_argument("--unpinned", action="store_true", help="print the extras test and docs without exact versions")
    does.add_argument("--sbom", type=Path, metavar="FILE", help="write the bill of materials")
    chosen = parser.parse_args(arguments)
    if chosen.unpinned:
        print("\n".join(unpinned(project())))
        return 0
    if not (chosen.check or chosen.against or chosen.sbom):
        before = {file: versions((ROOT / file).read_text(encoding="utf-8")) if (ROOT / file).exists() else {} for file in EXTRAS}
        for file, text in renew(keep=chosen.keep).items():
            (ROOT / file).write_text(text, encoding="utf-8", newline="\n")
            print(f"{file}:", *(moved(before[file], versions(text)) or ["nothing moved"]), sep="\n    ")
        print(PAGES)
    locks = {file: (ROOT / file).read_text(encoding="utf-8") for file in EXTRAS}
    if chosen.against:
        there = versions(chosen.against.read_text(encoding="utf-8"))
        locked = versions("".join(locks.values()))
        print(*moved({name: version for name, version in locked.items() if name in there}, there) or ["nothing moved"], sep="\n")
        return 0
    if chosen.sbom:
        chosen.sbom.write_text(json.dumps(sbom(project(), locks[MAIN]), indent=2) + "\n", encoding="utf-8")
        return 0
    print(*(wrong := faults(project(), locks)) or ["the locks fit pyproject.toml"], sep="\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
