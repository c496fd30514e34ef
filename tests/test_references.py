"""Each reference leads to its work: the form of its address, and one address for one work."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
CHAPTERS = [path for path in sorted(DOCS.rglob("*.md")) if "\n## References\n" in path.read_text(encoding="utf-8")]
LINK = re.compile(r"\[([^\]]+)\]\(([^)\s]+)\)")
FORMS = {
    "doi.org": r"https://doi\.org/10\.\d{4,9}/[^\s()]+",
    "arxiv.org": r"https://arxiv\.org/abs/(\d{4}\.\d{4,5}|[a-z-]+/\d{7})",
    "openreview.net": r"https://openreview\.net/forum\?id=[\w-]+",
    "proceedings.mlr.press": r"https://proceedings\.mlr\.press/v\d+/[\w-]+\.html",
}
# Works of which no source that could be asked names an identifier.
WITHOUT = ("Heavy-ball method in nonconvex", "Introduction to Optimization", "Random Matrices", "The dropout learning algorithm",
           "torch.optim.RMSprop", "references/classification/train.py")


def entries(path):
    text = path.read_text(encoding="utf-8").split("\n## References\n")[1]
    return re.split(r"^(?:-|\d+\.) ", text, flags=re.M)[1:]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_reference_is_linked_in_the_form_of_its_kind(path):
    for entry in entries(path):
        links = LINK.findall(entry)
        assert links or any(name in entry for name in WITHOUT), entry[:100]
        for _, address in links:
            host = re.match(r"https?://([^/]+)/", address + "/")
            if host:
                assert re.fullmatch(FORMS.get(host[1], r"https?://[^\s()]+"), address), address
            for number in re.findall(r"arXiv:(\d{4}\.\d{4,5})", entry):
                assert len(links) > 1 or "arxiv.org" not in address or number in address, entry[:100]


def test_one_work_has_one_address_in_all_chapters():
    found = {}
    for path in CHAPTERS:
        for entry in entries(path):
            for title, address in LINK.findall(entry):
                name = re.sub(r"\W+", " ", title.lower()).strip()
                if len(name) > 25 and not name.startswith("cs231n"):  # shorter ones, and courses, are names of parts
                    found.setdefault(name, set()).add(address)
    assert {name: addresses for name, addresses in found.items() if len(addresses) > 1} == {}
    assert sum(map(len, found.values())) > 150
