"""The lines that a change touches."""

import subprocess
from pathlib import Path

import mutate_pages
import pytest
from touched import touched


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in {"docs/a.md": "1\n2\n3\n", "docs/é b.md": "1\n", "docs/gone.md": "1\n", "other.md": "1\n"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all")
    return tmp_path


def git(tree: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=tree, check=True)


def test_lines_that_differ_by_file(tree):
    assert touched("HEAD", tree) == {}
    (tree / "docs/a.md").write_text("1\n2.5\n2.6\n3\n4\n")
    (tree / "docs/é b.md").write_text("")
    (tree / "docs/new.md").write_text("1\n2\n")
    (tree / "docs/gone.md").unlink()
    (tree / "other.md").write_text("2\n")
    git(tree, "add", "--intent-to-add", ".")
    assert touched("HEAD", tree, "docs") == {"docs/a.md": {2, 3, 5}, "docs/é b.md": set(), "docs/new.md": {1, 2}}
    assert touched("HEAD", tree)["other.md"] == {1}


def test_no_such_commit(tree):
    with pytest.raises(subprocess.CalledProcessError):
        touched("nowhere", tree)


def test_a_page_is_changed_in_those_lines_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("---\nedition: 2\n---\n# Page\n\n```pycon\n>>> n = 3\n```\n\nThere are 3<!--= n --> of them.\n\nAnd 3<!--= n --> here.\n")
    assert {what.split(":")[1] for _, _, what in mutate_pages.tried(page, 8, 0, None)} == {"10", "12"}
    assert {what.split(":")[1] for _, _, what in mutate_pages.tried(page, 8, 0, {12})} == {"12"}
