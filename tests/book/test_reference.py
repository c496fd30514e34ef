"""The reference in pages: each module that a part lists has one, and the part says what each is."""

from pathlib import Path

from book import reference
from book.page import Page

ROOT = Path(__file__).parents[2]
PARTS = sorted((ROOT / "docs/api").glob("*.md"))


def test_each_listed_module_has_a_page_of_its_own():
    listed = 0
    for path in PARTS:
        text = path.read_text(encoding="utf-8")
        part, *pages = reference.pages(f"api/{path.name}", text, ROOT).items()
        assert len(pages) == text.count("\n::: ") and "::: " not in part[1]
        listed += len(pages)
        for (name, page), module in zip(pages, reference.modules(text), strict=True):
            assert page.count("::: ") == 1 and f"::: {module}\n" in page and f"{{: #{module} }}" in page
            assert f"]({name.removeprefix('api/')})" in part[1]
            meta = Page.parse(page).meta
            assert meta["title"] == f"Reference: {module.removeprefix('reference_impl.')}" and meta["description"].endswith((".", "…", ")"))
    assert listed > 50


def test_options_stay_with_their_module():
    assert reference.modules("# X\n\n::: a.b\n    options:\n      members: [c]\n\n::: a.d") == {"a.b": "      members: [c]\n", "a.d": ""}


def test_a_part_of_the_navigation_holds_its_modules():
    entries = [{"Home": "index.md"}, {"Reference": ["api/x.md", "api/y.md"]}, "z.md"]
    made = {"api/x.md": ["api/x/x_a.md", "api/x/other_b.md"], "api/y.md": []}
    assert reference.nav(entries, made) == [
        {"Home": "index.md"}, {"Reference": [{"X": ["api/x.md", {"a": "api/x/x_a.md"}, {"other_b": "api/x/other_b.md"}]}, {"Y": ["api/y.md"]}]}, "z.md"]
    assert reference.nav(None, made) is None


def test_a_first_line_is_one_line_of_a_table():
    assert reference.first_line("reference_impl.optimization.momentum", ROOT)
    for path in PARTS:
        for module in reference.modules(path.read_text(encoding="utf-8")):
            said = reference.first_line(module, ROOT)
            assert said and "\n" not in said and "|" not in said.replace("\\|", "")
