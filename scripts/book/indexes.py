"""The book's indexes, made from marks in its chapters: readers' questions, and corrections.

A question is a quotation with the class `question` (`{: .question }` below it); the paragraph after it is the short answer.
A correction is an admonition of the type `failure`; its first paragraph says what is wrong. The run that shows it is the
code inside the admonition or else the last before it; for a question, the first code after the answer.

A student's question cites the notes that it stands in. One that does not is the book's own, and stands behind those, apart.
"""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from markdown.extensions.toc import slugify

from .page import Page, PageError
from .render import COMMENT

Kind = Literal["question", "correction"]

_HEADING = re.compile(r"^(#+)\s+(.*?)\s*$")
_QUESTION = re.compile(r"^\{:\s*\.question\s*\}\s*$")
_CORRECTION = re.compile(r'^!!! failure "(.*)"\s*$')
_NOTES = re.compile(r"\((?:lecture notes )?00\d")
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})(python|pycon)\b")


@dataclass(frozen=True)
class Mark:
    """A question or a correction: what it says, its short answer, and the lines of its place and of its run."""

    kind: Kind
    chapter: Path
    number: int
    said: str
    answer: str
    section: str
    line: int
    run: int

    @property
    def anchor(self) -> str:
        """The id of its place on the page."""
        return f"{self.kind}-{self.number}"


def marks(page: Page, text: str) -> list[Mark]:
    """The marks of a chapter, in order; raises PageError for one without an answer or a run."""
    lines = text.splitlines()
    code = [False] * len(lines)  # lines inside fences
    for block in page.blocks:
        if block.kind != "prose":
            code[block.line - 1 : block.line + block.text.count("\n")] = [True] * (block.text.count("\n") + 1)
    runs = [at for at, line in enumerate(lines) if _FENCE.match(line) and not code[at]]
    found: list[Mark] = []
    title = ""
    for at, line in enumerate(lines):
        if code[at]:
            continue
        if heading := _HEADING.match(line):
            title = heading[2]
        question, correction = _QUESTION.match(line), _CORRECTION.match(line)
        if not question and not correction:
            continue
        where = f"{page.path}:{at + 1}"
        if question:
            kind: Kind = "question"
            first = at
            while lines[first - 1].startswith(">"):
                first -= 1
            said = "\n".join(lines[first:at])
            answer = _paragraph(lines, at + 1, "")
            run = next((run for run in runs if run > at), None)
            place = first
        else:
            assert correction is not None
            kind, said, place = "correction", correction[1], at
            answer = _paragraph(lines, at + 1, "    ")
            end = next((n for n in range(at + 1, len(lines)) if lines[n].strip() and not lines[n].startswith("    ")), len(lines))
            inside = [run for run in runs if at < run < end]
            run = inside[0] if inside else max((run for run in runs if run < at), default=None)
        if not answer or not said.strip():
            raise PageError(f"{where}: this {kind} has no short answer: a paragraph must follow it")
        if run is None:
            raise PageError(f"{where}: no run shows what is said of this {kind}")
        number = 1 + sum(mark.kind == kind for mark in found)
        found.append(Mark(kind, page.path, number, said, answer, title, place, run))
    return found


def anchored(text: str, found: list[Mark]) -> str:
    """A chapter's text with an id before each mark and before its run."""
    lines = text.splitlines()
    ids: dict[int, list[str]] = {}
    for mark in found:
        ids.setdefault(mark.line, []).append(mark.anchor)
        ids.setdefault(mark.run, []).append(f"run-{mark.anchor}")
    for at in sorted(ids, reverse=True):
        indent = re.match(r"[ \t]*", lines[at])[0]  # type: ignore[index]
        # One element for each id, each between blank lines: raw HTML, which Markdown leaves alone.
        lines[at:at] = [line for name in ids[at] for line in (f'{indent}<div class="place" id="{name}"></div>', "")]
    return "\n".join(lines) + "\n"


def index(kind: Kind, chapters: list[tuple[Page, str]], home: str) -> str:
    """The Markdown of an index: the marks of one kind under their chapters; `home` is the index's own path in docs."""
    text, own = [], []
    for page, source in chapters:
        found = [mark for mark in marks(page, source) if mark.kind == kind]
        ours = [mark for mark in found if kind == "question" and not _NOTES.search(mark.said)]
        own += [_entry(mark, home) for mark in ours]
        if entries := [_entry(mark, home) for mark in found if mark not in ours]:
            text += [f"## {page.meta['title']} {{: #{kind}s-{page.path.stem} }}\n", *entries]
    return "\n".join([*text, *(["## Our own questions\n\nThese stand in none of the notes.\n", *own] if own else [])])


def _entry(mark: Mark, home: str) -> str:
    link = posixpath.relpath(mark.chapter.as_posix(), posixpath.dirname(home) or ".")
    said = _moved(mark.said, mark.chapter.as_posix(), home)
    return "\n".join([
        f"{said}\n{{: .question }}" if mark.kind == "question" else f"### {said}", "",
        re.sub(r":$", ".", _moved(mark.answer, mark.chapter.as_posix(), home)), "",  # the run that follows is not here
        f"[{mark.section}]({link}#{_slug(mark.section)}) · [the run that shows it]({link}#run-{mark.anchor})\n{{: .where }}", ""])


def _paragraph(lines: list[str], at: int, indent: str) -> str:
    """The first paragraph from a line on, at an indent; empty if something else comes first."""
    while at < len(lines) and not lines[at].strip():
        at += 1
    end = at
    while end < len(lines) and lines[end].strip() and lines[end].startswith(indent):
        end += 1
    text = "\n".join(line[len(indent) :] for line in lines[at:end])
    return "" if re.match(r"#|[`~]{3}|!!!|\?\?\?|\$\$|\||>", text) else text


def _moved(text: str, old: str, new: str) -> str:
    """Markdown for another place: no claims, no footnotes, relative links from there."""
    text = re.sub(r"\[\^[^\]]+\]", "", COMMENT.sub(r"\1", text))

    def link(match: re.Match[str]) -> str:
        path, anchor = match[1], match[2] or ""
        if "://" in path:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(old), path)) if path else old
        return f"]({posixpath.relpath(target, posixpath.dirname(new) or '.')}{anchor})"

    return re.sub(r"\]\(([^)#\s]*)(#[^)\s]*)?\)", link, text)


def _slug(heading: str) -> str:
    """The id that Markdown's table of contents gives a heading."""
    plain = re.sub(r"\{:?\s*#([\w-]+).*\}\s*$", "", heading)
    if (own := re.search(r"\{:?\s*#([\w-]+)", heading)) is not None:
        return own[1]
    plain = re.sub(r"[*_`]|\$([^$]*)\$", lambda m: m[1] or "" if m[0].startswith("$") else "", plain)
    return slugify(plain, "-")
