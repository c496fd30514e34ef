"""The README: its snippet runs, and `.ci/run` takes its test command from it."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_its_python_runs():
    snippets = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
    assert snippets
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), {})


def test_ci_runs_its_test_command():
    command = re.search(r'eval "\$\((.*)\)"', (ROOT / ".ci" / "run").read_text(encoding="utf-8"))[1]
    found = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found == 'pip install -e ".[test]" && pytest\n'
    assert f"```bash\n{found}```" in README


def test_it_names_every_extra():
    extras = re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("[project.optional-dependencies]")[1].split("[tool")[0], re.M)
    assert extras and all(f"`{name}`" in README for name in extras)
