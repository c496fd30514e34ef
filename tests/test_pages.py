"""Every page of the book runs, its outputs are what it says, and none of its numbers is loose."""

from pathlib import Path

import pytest
from book import run
from book.page import Page

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=Path.as_posix)
def test_page(path: Path) -> None:
    run.check(Page.parse((ROOT / path).read_text(encoding="utf-8"), path))
