"""Every page of the book runs, its outputs are what it says, and none of its numbers is loose."""

from pathlib import Path

import pytest
from book import run
from book.page import Page

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_page(path: Path) -> None:
    run.check(Page.read(path))
