"""The indexes of questions and corrections, made from marks in the chapters."""

from pathlib import Path

import pytest
from book.indexes import anchored, index, marks
from book.page import Page, PageError

TEXT = """---
title: A chapter
---
# A chapter

## Why *so*?

> "왜?" (lecture notes 000): *why?*
{: .question }

Because [it is](../part/other.md#why), and 3<!--= three --> times [here](#a-run).[^1]

More.

```pycon
>>> 1
1

```

!!! failure "The notes say: no"

    They do, and are wrong:

    Not this.

    ```pycon
    >>> 2
    2

    ```

!!! failure "It is often said: never"

    See above.
"""


def page(text: str) -> Page:
    return Page.parse(text, Path("part/chapter.md"))


def test_marks_hold_what_is_said_the_answer_its_section_and_its_run():
    question, inside, before = marks(page(TEXT), TEXT)
    assert (question.kind, question.said, question.section) == ("question", '> "왜?" (lecture notes 000): *why?*', "Why *so*?")
    assert question.answer.startswith("Because") and "More" not in question.answer
    assert (inside.said, inside.answer) == ("The notes say: no", "They do, and are wrong:")
    lines = TEXT.splitlines()
    assert [lines[mark.run + 1].strip() for mark in (question, inside, before)] == [">>> 1", ">>> 2", ">>> 2"]
    assert [mark.number for mark in (question, inside, before)] == [1, 1, 2]


def test_an_index_rebases_links_and_leaves_claims_and_footnotes_out():
    made = index("question", [(page(TEXT), TEXT)], "questions.md")
    assert "Because [it is](part/other.md#why), and 3 times [here](part/chapter.md#a-run).\n" in made
    assert "[Why *so*?](part/chapter.md#why-so) · [the run that shows it](part/chapter.md#run-question-1)" in made
    assert "notes say" not in made
    assert "\nThey do, and are wrong.\n" in index("correction", [(page(TEXT), TEXT)], "corrections.md")
    assert index("correction", [(page(TEXT), TEXT)], "deep/corrections.md").count("../part/chapter.md#run-correction") == 2


def test_questions_that_cite_no_notes_stand_apart_behind_the_students():
    own = "# T\n\n## Here\n\n> Which?\n{: .question }\n\nThis one.\n\n```pycon\n>>> 1\n1\n\n```\n"
    made = index("question", [(page(own), own), (page(TEXT), TEXT)], "questions.md")
    students, ours = made.split("## Our own questions")
    assert "왜?" in students and "Which?" not in students
    assert "> Which?\n{: .question }\n\nThis one." in ours and "#here) ·" in ours
    assert "Our own" not in index("question", [(page(TEXT), TEXT)], "questions.md")


def test_the_anchors_stand_before_marks_and_runs_and_change_no_block():
    text = anchored(TEXT, marks(page(TEXT), TEXT))
    for name in ("question-1", "run-question-1", "correction-1", "run-correction-1", "correction-2", "run-correction-2"):
        assert text.count(f'id="{name}"') == 1
    assert '    <div class="place" id="run-correction-1"></div>\n' in text
    plain, marked = ([block.text for block in page(t).blocks if block.kind != "prose"] for t in (TEXT, text))
    assert plain == marked
    assert anchored(TEXT, []) == TEXT


@pytest.mark.parametrize(("body", "message"), [
    ("# T\n\n> q\n{: .question }\n\n```pycon\n>>> 1\n1\n\n```\n", r"part/chapter.md:\d+: this question has no short answer"),
    ('# T\n\n!!! failure "No"\n\n    Why not.\n', r"part/chapter.md:\d+: no run shows what is said of this correction"),
    ("# T\n\n> q\n{: .question }\n\nSo.\n", r"part/chapter.md:\d+: no run shows"),
])
def test_a_mark_without_answer_or_run_is_refused(body, message):
    with pytest.raises(PageError, match=message):
        marks(page(body), body)


def test_code_holds_no_marks():
    text = "# T\n\n```text\n> q\n{: .question }\n\n!!! failure \"x\"\n```\n"
    assert marks(page(text), text) == []
