"""What travels with the package of the long experiments."""

import re
from pathlib import Path

import pytest

from reference_impl import measured

ROOT = Path(__file__).parents[1]
FILES = sorted(path.stem for path in (ROOT / "reference_impl/measurements").glob("*.json"))


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_read_anew_and_by_some_page(name):
    first = measured(name)
    assert first and first == measured(name)
    first.clear()
    assert measured(name)
    assert any(f'measured("{name}")' in path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))


def test_a_name_that_there_is_not():
    with pytest.raises(ValueError, match=re.escape(f"name must be {', '.join(map(repr, FILES[:-1]))} or {FILES[-1]!r}, got 'nothing'")):
        measured("nothing")
