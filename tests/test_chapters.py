"""The book is whole: what CONTRIBUTING asks of a chapter and of a rule is there, or a message says what is missing and where."""

import inspect
import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
import rules
import yaml
from book.indexes import marks
from book.page import Page

import reference_impl
from reference_impl import Optimizer, optimization
from reference_impl.engines.tape import is_elementwise

ROOT = Path(__file__).parents[1]
PARTS = ("optimization", "generalization", "practice")

# The chapters that obey the rules of the first edition only: numbers are claimed, formulas and comparisons may be loose.
FIRST_EDITION = [
    "optimization/sgd", "optimization/nesterov", "optimization/adagrad", "optimization/rmsprop",
    "optimization/schedules", "optimization/quasi_newton", "optimization/comparison",
    "generalization/weight_decay", "generalization/batch_norm", "generalization/augmentation", "generalization/ensembles",
    "practice/preprocessing", "practice/initialization", "practice/diagnostics", "practice/search", "practice/transfer",
]  # fmt: skip


def navigation(root=ROOT):
    """The paths of the navigation, in order."""

    def paths(nav):
        if isinstance(nav, str):
            return [nav]
        return [path for entry in (nav.values() if isinstance(nav, dict) else nav) for path in paths(entry)]

    text = (root / "mkdocs.yml").read_text(encoding="utf-8")
    return paths(yaml.load(text[text.index("\nnav:"):text.index("\ntheme:")], Loader=yaml.BaseLoader)["nav"])


def chapters(root=ROOT):
    """Every chapter that the navigation names, in its order, and then those that only have a page."""
    named = [path for path in navigation(root) if path.startswith(PARTS)]
    pages = sorted(path.relative_to(root / "docs").as_posix() for part in PARTS for path in (root / "docs" / part).glob("*.md"))
    return [path.removesuffix(".md") for path in dict.fromkeys(named + pages)]


def lacking(chapter, root=ROOT):
    """What of a chapter is not there: each time the file, and what it should hold."""
    part, name = chapter.split("/")
    wanted = {  # what a file must hold, and how a message shows it
        f"docs/{chapter}.md": ("", "the page"),
        f"reference_impl/{chapter}.py": ("", "the module"),
        f"tests/{part}/test_{name}.py": (rf"\b{part}\.{name} import |\b{part} import .*\b{name}\b", f"tests that import from reference_impl.{part}.{name}"),
        "mkdocs.yml": (rf"^ +- {chapter}\.md$", f"the line '- {chapter}.md' under nav"),
        "docs/index.md": (rf"^\| \[[^]]+\]\({chapter}\.md\) \| \S", f"the row '| [Title]({chapter}.md) | what it answers |'"),
        f"docs/api/{part}.md": (rf"^::: reference_impl\.{part}\.{name}$", f"the line '::: reference_impl.{part}.{name}'"),
    }
    found = {file: (root / file).read_text(encoding="utf-8") if (root / file).exists() else None for file in wanted}
    return [f"{file} lacks {what}" for file, (pattern, what) in wanted.items() if found[file] is None or not re.search(pattern, found[file], re.M)]


@pytest.mark.parametrize("chapter", chapters())
def test_a_chapter_is_whole(chapter):
    assert not lacking(chapter)


def test_the_indexes_are_in_the_navigation():
    assert {"questions.md", "corrections.md"} <= set(navigation())


def test_which_chapters_are_still_of_the_first_edition():
    assert [chapter for chapter in chapters() if "edition" not in Page.read(ROOT / "docs" / f"{chapter}.md").meta] == FIRST_EDITION


def written():
    """What the package defines: the update rules, and the optimizers with the modules that they are in."""
    found, classes = [], {}
    for module in iter_modules(optimization.__path__, "reference_impl.optimization."):
        here = import_module(module.name)
        for name, thing in vars(here).items():
            if getattr(thing, "__module__", "") != here.__name__ or name.startswith("_"):
                continue
            if inspect.isclass(thing) and issubclass(thing, Optimizer) and "rule" in vars(thing):
                classes[name] = here.__name__
            if inspect.isfunction(thing) and list(inspect.signature(thing).parameters)[:2] == ["w", "g"] and is_elementwise(thing):
                found.append(thing)
    return found, classes


def test_a_rule_and_its_optimizer_are_tested_and_public():
    found, classes = written()
    missing = [f"tests/rules.py lacks {rule.__module__}.{rule.__name__} in RULES" for rule in found if rule not in rules.RULES]
    made = {type(make()) for make in rules.OPTIMIZERS.values()}
    for name, module in classes.items():
        if name not in reference_impl.__all__:
            missing.append(f"reference_impl/__init__.py lacks 'from .{module.removeprefix('reference_impl.')} import {name} as {name}'")
        optimizer = getattr(import_module(module), name)
        if is_elementwise(optimizer.rule) and optimizer not in made:
            missing.append(f"tests/rules.py lacks {name} in OPTIMIZERS")
    assert not missing


def test_rules_written_by_hand_are_found():
    found, classes = written()
    assert {"sgd", "adam_eps_hat", "yogi"} <= {rule.__name__ for rule in found} and {"SGD", "AMSGrad"} <= set(classes)


# Words for a place on the page; "never above the average" is none.
PLACE = re.compile(r"\b(derived|derivation|shown|seen|run|runs|proof|was|it|them|figure|table) (above|below)\b|(^|[.,:;(] )(above|below)\b"
                   r"|\b(above|below)[,.;:]|\bthis (page|section|chapter)\b", re.IGNORECASE)


def test_an_entry_of_an_index_stands_alone_and_once():
    said = {}
    for chapter in chapters():
        path = ROOT / "docs" / f"{chapter}.md"
        for mark in marks(Page.read(path), path.read_text(encoding="utf-8")):
            place = f"{path}:{mark.line + 1}"
            found = PLACE.search(f"{mark.said}\n{mark.answer}")
            assert not found, f"{place}: {found[0]!r} points to a place that the index does not show"
            assert mark.said not in said, f"{place} says what {said[mark.said]} says"
            said[mark.said] = place
    assert said


@pytest.mark.parametrize("words", ["as was shown above", "(below, a run)", "See this page."])
def test_a_word_for_a_place_is_seen(words):
    assert PLACE.search(words)
