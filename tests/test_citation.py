"""CITATION.cff says of the book what pyproject.toml and the changelog say."""

import datetime
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert cited["version"] == project["version"] and cited["license"] == project["license"]
    assert changes.split("\n## ")[1].startswith(cited["version"])
    assert isinstance(cited["date-released"], datetime.date)
    assert cited["authors"][0]["name"] in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert {"cff-version", "message", "title", "type", "abstract"} <= cited.keys()
