"""Every page of the book runs, its outputs are what it says, and nothing that it says is loose."""

from pathlib import Path

import pytest
from book import run

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md"))


@pytest.mark.parametrize("path", PAGES, ids=Path.as_posix)
def test_page(path: Path) -> None:
    if faults := run.run(path, ROOT).faults:
        pytest.fail("\n".join(faults), pytrace=False)
