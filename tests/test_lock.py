"""The lock fits the project, what would spoil it is named, and the workflows run fixed code with few rights."""

import json
import re
import subprocess
from pathlib import Path

import lock
import pytest
import yaml

ROOT = Path(__file__).parents[1]
HASH = "    --hash=sha256:" + "0" * 64 + "\n"
TABLE = {
    "name": "small",
    "version": "1.0",
    "dependencies": ["numpy>=2.0"],
    "optional-dependencies": {"plots": ["Pillow_Like==3.1"], "docs": ["small[plots]", "numpy==2.4"], "test": ["small[docs]", "only-there==1; sys_platform == 'win32'"],
                              "peers": ["torch==2.13"]},
}  # fmt: skip


def entry(name, version, marker="", via="small (pyproject.toml)"):
    return f"{name}=={version}{' ; ' + marker if marker else ''} \\\n{HASH}    # via {via}\n"


GOOD = {
    lock.MAIN: "# Written\n" + entry("numpy", "2.4") + entry("only-there", "1", "sys_platform == 'win32'") + entry("pillow-like", "3.1") + entry("zipp", "4", via="numpy"),
    lock.PEERS: entry("torch", "2.13"),
}


def workflows():
    files = sorted((ROOT / ".github/workflows").glob("*.yml"))
    assert [file.stem for file in files] == ["newest", "pages", "release"]
    return {file.name: file.read_text(encoding="utf-8") for file in files}


# ---- The lock ----


def test_it_fits_the_project():
    locks = {file: (ROOT / file).read_text(encoding="utf-8") for file in lock.EXTRAS}
    assert lock.faults(lock.project(), locks) == [] and lock.main(["--check"]) == 0
    assert not re.search(r"https?:|^-|file:|/tmp|/home", "".join(locks.values()), re.M)
    assert lock.faults(TABLE, GOOD) == []


@pytest.mark.parametrize(("file", "old", "new", "says"), [
    (lock.MAIN, "numpy==2.4", "numpy==2.5", ["requirements.lock: numpy is locked at 2.5, expected numpy==2.4 as in pyproject.toml: run python scripts/lock.py"]),
    (lock.PEERS, "torch==2.13", "torch==2.14", ["requirements-peers.lock: torch is locked at 2.14, expected torch==2.13 as in pyproject.toml: run python scripts/lock.py"]),
    (lock.MAIN, entry("zipp", "4", via="numpy"), "zipp==4\n    # via numpy\n",
     ["requirements.lock: zipp==4 has no hash, expected one for each of its files: run python scripts/lock.py"]),
    (lock.MAIN, HASH + "    # via numpy", "    --hash=md5:00\n    # via numpy", ["requirements.lock: zipp==4 has the hash 'md5:00', expected sha256: and 64 hexadecimal digits"]),
    (lock.MAIN, entry("zipp", "4", via="numpy"), entry("zipp", "4", via="numpy") + entry("zipp", "3", "python_full_version < '3.12'", via="numpy"),
     ["zipp is locked 2 times for Python 3.11 on Linux, x86_64 (4, 3), expected once: run python scripts/lock.py"]),
    (lock.PEERS, "torch", "zipp==5 \\\n" + HASH + "torch",
     ["zipp is locked 2 times for Python 3.11 on Linux, x86_64 (4, 5), expected once: run python scripts/lock.py"]),
    (lock.MAIN, entry("pillow-like", "3.1"), "",
     ["requirements.lock: no Pillow_Like for Python 3.11 on Linux, x86_64, expected Pillow_Like==3.1 as in pyproject.toml: run python scripts/lock.py"]),
    (lock.MAIN, "numpy==2.4", "numpy==2.4 ; sys_platform != 'darwin'",
     ["requirements.lock: no numpy for Python 3.11 on macOS, x86_64, expected numpy>=2.0 as in pyproject.toml: run python scripts/lock.py",
      "requirements.lock: no numpy for Python 3.11 on macOS, x86_64, expected numpy==2.4 as in pyproject.toml: run python scripts/lock.py",
      "requirements-peers.lock: no numpy for Python 3.11 on macOS, x86_64, expected numpy>=2.0 as in pyproject.toml: run python scripts/lock.py"]),
    (lock.MAIN, "via numpy", "via small (pyproject.toml)", ["requirements.lock: zipp==4 is there for pyproject.toml, which no longer names it: run python scripts/lock.py"]),
    (lock.MAIN, "numpy==2.4", "--index-url somewhere\nnumpy==2.4", ["requirements.lock: got the line '--index-url somewhere', expected name==version, with its marker and hashes"]),
    (lock.MAIN, "zipp==4", "zipp>=4", ["requirements.lock: got the line 'zipp>=4 \\\\', expected name==version, with its marker and hashes"]),
])  # fmt: skip
def test_a_fault_is_named(file, old, new, says):
    assert GOOD[file].count(old) == 1
    assert lock.faults(TABLE, GOOD | {file: GOOD[file].replace(old, new)}) == says


def test_two_versions_may_stand_there_for_different_machines():
    split = entry("zipp", "4", "python_full_version >= '3.12'", "numpy") + entry("zipp", "3", "python_full_version < '3.12'", "numpy")
    assert lock.faults(TABLE, GOOD | {lock.MAIN: GOOD[lock.MAIN].replace(entry("zipp", "4", via="numpy"), split)}) == []


def test_the_check_fails_with_what_it_says(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    monkeypatch.setattr(lock, "project", lambda: TABLE)
    for file, text in GOOD.items():
        (tmp_path / file).write_text(text.replace("2.13", "2.14"))
    assert lock.main(["--check"]) == 1
    assert "torch is locked at 2.14" in capsys.readouterr().out


def test_what_moved_is_said(tmp_path, capsys):
    assert lock.moved(lock.versions(GOOD[lock.MAIN]), lock.versions("NumPy==2.5\nPillow.Like==3.1\nnew==1\nonly-there==1\n")) == [
        "new: absent → 1", "numpy: 2.4 → 2.5", "zipp: 4 → absent"]  # fmt: skip
    (tmp_path / "freeze.txt").write_text("numpy==99\n-e somewhere\n")
    assert lock.main(["--against", str(tmp_path / "freeze.txt")]) == 0
    assert re.fullmatch(r"numpy: [\d.]+ → 99\n", capsys.readouterr().out)


def test_without_exact_versions_ranges_stay():
    assert lock.unpinned(TABLE) == ["numpy", "numpy>=2.0", 'only-there; sys_platform == "win32"', "Pillow_Like"]
    assert not any("==" in line.split(";")[0] for line in lock.unpinned(lock.project()))


def test_it_is_renewed(tmp_path, monkeypatch, capsys):
    """uv stands aside: what it is asked, and what is made of what it answers."""
    asked = []

    def run(command, **options):
        if "compile" in command:
            out = Path(next(part for part in command if str(part).startswith("--output-file=")).partition("=")[2])
            asked.append((sorted(part for part in command if str(part).startswith("--extra")), out.read_text()))
            out.write_text(GOOD[lock.MAIN].replace("zipp==4", "zipp==5").replace("# Written\n", "") + (GOOD[lock.PEERS] if len(asked) % 2 == 0 else ""))

    monkeypatch.setattr(lock, "ROOT", tmp_path)
    monkeypatch.setattr(lock, "project", lambda: TABLE)
    monkeypatch.setattr(lock.venv, "create", lambda *given, **options: None)
    monkeypatch.setattr(subprocess, "run", run)
    for file, text in GOOD.items():
        (tmp_path / file).write_text(text)
    monkeypatch.setattr(lock, "renew", lambda keep, renew=lock.renew: renew(tmp_path, keep))
    assert lock.main([]) == 0
    said = capsys.readouterr().out
    assert "requirements.lock:\n    zipp: 4 → 5\nrequirements-peers.lock:\n    nothing moved\n" in said and "mkdocs build" in said
    assert (tmp_path / lock.MAIN).read_text().endswith(entry("zipp", "5", via="numpy"))
    assert [*lock.versions((tmp_path / lock.PEERS).read_text())] == ["torch"]
    assert lock.main(["--keep"]) == 0
    main, both = ["--extra=docs", "--extra=test"], ["--extra=docs", "--extra=peers", "--extra=test"]
    assert [extras for extras, _ in asked] == [main, both] * 2
    assert asked[0][1] == "" and "torch" not in asked[1][1] and "zipp==5" in asked[2][1] and "torch" in asked[3][1]


def test_the_bill_names_every_package_once(tmp_path):
    file = tmp_path / "bill.json"
    assert lock.main(["--sbom", str(file)]) == 0
    bill = json.loads(file.read_text(encoding="utf-8"))
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6") and re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bill["serialNumber"])
    entries = lock.read((ROOT / lock.MAIN).read_text(encoding="utf-8"))[0]
    assert sorted((part["name"], part["version"]) for part in bill["components"]) == sorted({(entry.name, entry.version) for entry in entries})
    for part in bill["components"]:
        assert part["purl"] == part["bom-ref"] == f"pkg:pypi/{part['name']}@{part['version']}"
        assert part["hashes"] and all(value["alg"] == "SHA-256" and re.fullmatch("[0-9a-f]{64}", value["content"]) for value in part["hashes"])
    refs = [part["ref"] for part in bill["dependencies"]]
    assert sorted(refs) == sorted([bill["metadata"]["component"]["bom-ref"], *(part["bom-ref"] for part in bill["components"])])
    needed = {ref for part in bill["dependencies"] for ref in part["dependsOn"]}
    assert needed == {part["bom-ref"] for part in bill["components"]}, "each is there because another asks for it"
    assert lock.sbom(TABLE, GOOD[lock.MAIN])["dependencies"][1] == {"ref": "pkg:pypi/numpy@2.4", "dependsOn": ["pkg:pypi/zipp@4"]}


# ---- The machines ----


def test_the_server_installs_the_lock_before_all_else():
    lines = [line for line in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines() if re.search(r"^(locked|eval)|\bpip install", line)]
    assert [re.sub(r"\s+#.*|;.*", "", line) for line in lines] == [
        'locked() { pip install --quiet --require-hashes --only-binary :all: -r "$1"',
        "locked requirements.lock",
        'pip install --quiet --no-index -e ".[test]"',
        """eval "$(grep -m1 '^pip install .* && pytest$' README.md)\"""",
        "locked requirements-peers.lock",
        'pip install --quiet --no-index -e ".[peers]"',
    ]


def test_every_action_is_one_commit():
    for name, text in workflows().items():
        used = re.findall(r"\buses: *(.*)", text)
        assert used, name
        for action in used:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), f"{name}: got uses: {action}, expected owner/name@40 digits # vN.N.N"
    commits = {tuple(line.split("@")) for text in workflows().values() for line in re.findall(r"\buses: *(.*)", text)}
    assert len(commits) == len({action for action, _ in commits}), "an action has one version in all workflows"


def test_runners_are_fixed_and_rights_are_few():
    rights = {}
    for name, text in workflows().items():
        flow = yaml.safe_load(text)
        assert flow["permissions"] == {"contents": "read"}, name
        for job, settings in flow["jobs"].items():
            assert settings["runs-on"] == "ubuntu-24.04", f"{name}: {job}"
            if "permissions" in settings:
                rights[name, job] = settings["permissions"]
            for step in settings["steps"]:
                if step.get("uses", "").startswith("actions/checkout@"):
                    assert step["with"]["persist-credentials"] is False, f"{name}: {job}"
    assert rights == {("pages.yml", "deploy"): {"pages": "write", "id-token": "write"}, ("release.yml", "release"): {"contents": "write"}}


def test_the_newest_versions_fail_nothing():
    (job,) = yaml.safe_load(workflows()["newest.yml"])["jobs"].values()
    assert job["continue-on-error"] is True and job["strategy"]["fail-fast"] is False
    assert all(step.get("continue-on-error") for step in job["steps"] if step.get("id"))
