"""The home page: what it shows of the book's checks is what they do, and what it takes from chapters stands there."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from book import claims
from book.indexes import marks
from book.page import Page

from reference_impl import Adam, taco_shell

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "index.md").read_text(encoding="utf-8")
HOME = Page.parse(TEXT, Path("docs/index.md"))


def section(title):
    """The blocks under a heading of the page."""
    found, inside = [], False
    for block in HOME.blocks:
        parts = re.split(r"^## (.*)$", block.text, flags=re.M) if block.kind == "prose" else [block.text]
        if inside:
            found.append(parts[0] if block.kind == "prose" else block)
        for name, text in zip(parts[1::2], parts[2::2]):
            if inside := name == title:
                found.append(text)
    return found


def test_the_sentence_that_is_shown_is_tested_as_is_shown():
    sentence, message = (block.text for block in section("How a sentence is tested") if getattr(block, "kind", "") == "display")
    assert TEXT.count(sentence) == 2, "the sentence stands below the race and in the section that shows it"
    examples = next(block for block in section("How a sentence is tested") if getattr(block, "kind", "") == "examples")
    namespace = {"needs": ast.literal_eval(re.search(r"^\{.*\}$", examples.text, re.M)[0])}
    first, line = sentence.index("<!--") - 2, 1 + TEXT[:TEXT.index(sentence)].count("\n")

    def found(text):
        return [fault for fault in claims.faults(Page.parse(text, HOME.path), namespace) if fault.startswith(f"docs/index.md:{line}: ")]

    assert found(TEXT) == []
    assert found(TEXT.replace(sentence, f"{sentence[:first]}49{sentence[first + 2:]}", 1)) == [message]


def test_adam_races_at_the_rate_that_the_comparison_chooses():
    here = {}
    cell = HOME.cells[0].text
    exec(cell[:cell.index("rules =")], here)

    comparison = Page.read(DOCS / "optimization/comparison.md")
    given = {"np": np, "Adam": Adam, "double_well": lambda tilt: taco_shell(2)}  # only the shell's task is run
    given |= {name: Adam for name in ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSProp")}
    given |= dict.fromkeys(("turned", "pass_", "banana")) | {"turn": np.eye(2)}
    exec("from reference_impl.engines.symbolic import expressions", given)
    for block in comparison.cells:
        if "narrow = " in block.text:
            exec("\n".join(line for line in block.text.splitlines() if re.match("kappa_true =|narrow =", line)), given | {"taco_shell": taco_shell}, given)
        if "def race(" in block.text:
            exec(block.text[:block.text.index("results, chosen")], given)
    landscape, starts, _ = given["tasks"]["taco shell"]
    with np.errstate(all="ignore"):
        scored = given["score"]("taco shell", given["race"](landscape, starts[:given["starts"]], Adam()))
    assert here["adam_rate"] == pytest.approx(given["lrs"][scored.mean(axis=1).argmin()])
    assert here["valley"].name == landscape.name and given["kappa_true"] == here["curvatures"][1]


def test_a_mistake_leads_to_its_correction():
    links = dict(re.findall(r"\[The run\]\(([\w/]+\.md)#correction-(\d+)\)", TEXT))
    said = {"optimization/adam.md": "The paper says: no step is longer than the first after a long silence",
            "optimization/momentum.md": "A famous article prints: the modulus is two root rho"}
    assert set(links) == set(said)
    for file, number in links.items():
        path = DOCS / file
        numbers = {mark.said: mark.number for mark in marks(Page.read(path), path.read_text(encoding="utf-8")) if mark.kind == "correction"}
        assert numbers[said[file]] == int(number), f"docs/index.md links {file}#correction-{number}; it is #correction-{numbers[said[file]]}"


def test_the_chapters_of_the_second_edition_are_named():
    text = next(text for text in section("What is checked, and how") if isinstance(text, str))
    algebra = text[text.index("**The algebra.**"):text.index("**The numbers.**")]
    second = {path.relative_to(DOCS).as_posix() for path in DOCS.glob("*/*.md") if Page.read(path).meta.get("edition") == "2"}
    assert set(re.findall(r"\]\(([\w/]+\.md)", algebra)) == second


def test_every_start_in_the_picture_is_at_the_goal_before_the_race_ends():
    here = {}
    exec(HOME.cells[0].text[:HOME.cells[0].text.index("show(\n")], here)
    race = here["race"]
    shown = next(block.text for block in HOME.blocks if "def steps_needed" in block.text)
    at_first = ast.literal_eval(re.search(r"^\{.*\}$", shown, re.M)[0])
    assert {name: race.values()[f"{name}_late"].max() for name in here["rules"]} == at_first
    (left, right), (low, high) = race.panels[0].xlim, race.panels[0].ylim
    for x in (left, 0.0, right):
        for y in (low, 0.0, high):
            found = race.values(start_x=x, start_y=y)
            needs = {name: found[f"{name}_late"].max() for name in here["rules"]}
            assert max(needs.values()) <= race.steps and (needs["momentum"] < needs["adam"] < needs["descent"] or (x, y) == (0, 0))
