"""CITATION.cff says of the book what pyproject.toml and the changelog say."""

import datetime
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CITED = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_citation_is_of_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert CITED["version"] == project["version"] and CITED["license"] == project["license"]
    assert changes.split("\n## ")[1].startswith(CITED["version"])
    assert isinstance(CITED["date-released"], datetime.date)
    assert CITED["authors"][0]["name"] in (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert {"cff-version", "message", "title", "type", "abstract"} <= CITED.keys()
