"""The book is whole: every chapter has its page, its module and its tests; every question and correction stands in it once."""

import re
from pathlib import Path

import pytest
import yaml
from book.indexes import marks
from book.page import Page

ROOT = Path(__file__).parents[1]

# What each chapter must answer and correct: a piece of the question's quotation, or of the correction's title.
QUESTIONS = {
    "optimization/sgd": ["타코셸 모양", "이 그림은 뭘까", "이것만 업데이트"],
    "optimization/momentum": ["효과가 좋음", "속도의 의미"],
    "optimization/nesterov": ["다시 원점으로 돌아가서", "일종의 correction", "overshooting이 덜하다"],
    "optimization/adagrad": [],
    "optimization/rmsprop": [],
    "optimization/adam": ["거의? Adam"],
    "optimization/schedules": [],
    "optimization/newton": [],
    "optimization/quasi_newton": [],
    "optimization/comparison": ["Loss fun의 개형"],
    "generalization/weight_decay": [],
    "generalization/dropout": [],
    "generalization/batch_norm": [],
    "generalization/augmentation": [],
    "generalization/ensembles": ["하이퍼 파라미터를 동일하게"],
    "practice/preprocessing": [],
    "practice/initialization": [],
    "practice/diagnostics": [],
    "practice/search": [],
    "practice/transfer": [],
}
CORRECTIONS = {
    "optimization/sgd": ["ratio of smallest to largest", "stuck at a saddle", "gradient would have to vanish in all directions", "saddles are no big problem",
                         "a noisy gradient takes a long time"],
    "optimization/momentum": ["a force that does not stop", "rho is the friction", "weighted average of gradient and velocity", "the ball gets out",
                              "noise is averaged out", "modulus is two root rho", "two ways to write momentum are the same", "zigzags cancel out"],
    "optimization/nesterov": ["always a better convergence rate", "rarely used", "updated too early"],
    "optimization/adagrad": ["decaying gradient", "divide by the squared gradient", "X gets smaller", "improvement becomes zero", "without epsilon"],
    "optimization/rmsprop": ["half-life is one over beta", "place does not matter"],
    "optimization/adam": ["AdaGrad + Momentum", "keeps the moments from getting too small", "almost any architecture", "no step is longer"],
    "optimization/schedules": ["exponential decay is used most", "must not use it up"],
    "optimization/newton": ["in one shot", "always goes to the minimum", "no hyperparameter like a learning rate", "converges linearly", "a few hundred parameters"],
    "optimization/quasi_newton": ["full batch and stochastic"],
    "optimization/comparison": [],
    "generalization/weight_decay": ["overfitting comes mainly from", "rarely used in networks"],
    "generalization/dropout": ["half of training's", "by the dropout probability", "by the delete ratio", "snippet that does not run"],
    "generalization/batch_norm": ["the scale is σ", "internal covariate shift"],
    "generalization/augmentation": ["horizontal flips", "jitter regularises"],
    "generalization/ensembles": ["about 2 %", "simplest and fastest way to reduce the gap"],
    "practice/preprocessing": ["eigenvalues"],
    "practice/initialization": ["two over the root of n", "variance of the neurons", "all zero, or all equal"],
    "practice/diagnostics": [],
    "practice/search": ["covers the whole space better"],
    "practice/transfer": ["re-initialised layer", "lower the learning rate somewhat", "prejudice that much data"],
}


# The chapters that obey the rules of the first edition only: numbers are claimed, formulas and comparisons may be loose.
FIRST_EDITION = [
    "optimization/sgd", "optimization/nesterov", "optimization/adagrad", "optimization/rmsprop",
    "optimization/schedules", "optimization/quasi_newton", "optimization/comparison",
    "generalization/weight_decay", "generalization/batch_norm", "generalization/augmentation", "generalization/ensembles",
    "practice/preprocessing", "practice/initialization", "practice/diagnostics", "practice/search", "practice/transfer",
]  # fmt: skip


def navigation() -> list[str]:
    """The paths of the navigation, in order."""

    def paths(nav):
        if isinstance(nav, str):
            return [nav]
        return [path for entry in (nav.values() if isinstance(nav, dict) else nav) for path in paths(entry)]

    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    return paths(yaml.load(text[text.index("\nnav:"):text.index("\ntheme:")], Loader=yaml.BaseLoader)["nav"])


# The pages on the engines are about the package, not from the notes.
CHAPTERS = [path.removesuffix(".md") for path in navigation() if "/" in path and not path.startswith(("api/", "engines/"))]


def test_the_navigation_holds_the_whole_curriculum():
    assert sorted(CHAPTERS) == sorted(QUESTIONS) == sorted(CORRECTIONS)
    assert {"questions.md", "corrections.md"} <= set(navigation())


def test_which_chapters_are_still_of_the_first_edition():
    assert [chapter for chapter in CHAPTERS if "edition" not in Page.read(ROOT / "docs" / f"{chapter}.md").meta] == FIRST_EDITION


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_is_a_page_a_module_and_tests_of_one_name(chapter):
    part, name = chapter.split("/")
    assert (ROOT / "docs" / part / f"{name}.md").exists()
    assert (ROOT / "reference_impl" / part / f"{name}.py").exists()
    tests = (ROOT / "tests" / part / f"test_{name}.py").read_text(encoding="utf-8")
    assert f"{part}.{name} import" in tests or f"{part} import {name}" in tests, "the tests import the chapter's module"
    assert f"reference_impl.{part}.{name}\n" in (ROOT / "docs" / "api" / f"{part}.md").read_text(encoding="utf-8")
    assert f"({part}/{name}.md)" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_every_question_and_correction_stands_in_its_chapter_once(chapter):
    path = ROOT / "docs" / f"{chapter}.md"
    found = marks(Page.read(path), path.read_text(encoding="utf-8"))
    for kind, wanted in (("question", QUESTIONS[chapter]), ("correction", CORRECTIONS[chapter])):
        said = [mark.said.replace("\n> ", " ") for mark in found if mark.kind == kind]
        assert len(set(said)) == len(said)
        for words in wanted:
            assert sum(words in text for text in said) == 1, f"{words!r} in {said}"


# Words for a place on the page; "never above the average" is none.
PLACE = re.compile(r"\b(derived|derivation|shown|seen|run|runs|proof|was|it|them|figure|table) (above|below)\b|(^|[.,:;(] )(above|below)\b"
                   r"|\b(above|below)[,.;:]|\bthis (page|section|chapter)\b", re.IGNORECASE)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_an_entry_of_an_index_stands_alone(chapter):
    path = ROOT / "docs" / f"{chapter}.md"
    for mark in marks(Page.read(path), path.read_text(encoding="utf-8")):
        found = PLACE.search(f"{mark.said}\n{mark.answer}")
        assert not found, f"{path}:{mark.line + 1}: {found[0]!r} points to a place that the index does not show"


def test_no_question_and_no_correction_stands_in_two_chapters():
    said = [mark.said for chapter in CHAPTERS for path in [ROOT / "docs" / f"{chapter}.md"]
            for mark in marks(Page.read(path), path.read_text(encoding="utf-8"))]
    assert len(set(said)) == len(said)
