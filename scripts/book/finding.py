"""What readers call what sections are about (`finding.yml`), joined to the entries of the search's index.

The index that the theme makes knows a page's own words. To each entry that `finding.yml` names this adds `also`, a list of other
names, which `docs/javascripts/search.js` looks for first; and to each of the reference a boost of less than 1, so that the chapters,
which explain, come before what they explain.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from book import reference

NAMES = Path(__file__).with_name("finding.yml")
BOOST = 0.1  # what counts a word in the reference

Names = Mapping[str, Mapping[str, list[Any]]]


def names() -> Names:
    """By page and anchor, as the file has them; an empty anchor is the page itself."""
    found: Names = yaml.safe_load(NAMES.read_text(encoding="utf-8"))
    return found


def joined(index: str, wanted: Names, urls: Mapping[str, str]) -> str:
    """The index with the names of what it has, given each page's address; a test sees that `finding.yml` names nothing else."""
    data = json.loads(index)
    entries = {entry["location"]: entry for entry in data["docs"]}
    for page in wanted.keys() & urls.keys():
        for anchor, given in wanted[page].items():
            place = urls[page] + (f"#{anchor}" if anchor else "")
            if place in entries:
                entries[place]["also"] = [str(name) for name in given]
    for place, entry in entries.items():
        if place.startswith(reference.FOLDER):
            entry["boost"] = BOOST
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
