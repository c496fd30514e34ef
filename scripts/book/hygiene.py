"""What a page's text may not hold, whatever it says: characters nobody sees, tags left open, two places of one name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from markdown import Markdown

FRONT = re.compile(r"\A---\n.*?^---$", re.M | re.S)
FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})[^\n]*\n(?:.*?^\1\2[ \t]*$|.*\Z)", re.M | re.S)
COMMENT = re.compile(r"<!--.*?-->", re.S)
CODE = re.compile(r"(?<![`\\])(`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)\1(?!`)", re.S)
MATH = re.compile(r"(?<![\\$])(?:\$\$[^$]+\$\$|\$(?! )[^$]+?(?<![\\ ])\$(?!\d))", re.S)

HEADING = re.compile(r"^#+[ \t].*$", re.M)
NAMED = re.compile(r"""<[^<>]*\sid=["']?([^"'\s>]+)|\{:?[^{}\n]*#([\w-]+)[^{}\n]*\}""")
GIVEN = re.compile(r"(?:run-)?(?:question|correction)-\d+|figure-\d+")  # by the book itself

TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)(?=[\s/>]|$)((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)(>?)", re.M)
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
UNSEEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}  # Unicode's categories
BLANK = set(map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10))))


def faults(text: str, path: Path) -> list[str]:
    """What is wrong with the text of a page, each fault with file and line."""
    bare = text
    for pattern in (FRONT, FENCE):
        bare = pattern.sub(_blank, bare)
    found = [*_characters(text), *_comments(CODE.sub(_blank, bare))]
    bare = COMMENT.sub(_blank, bare)
    prose = MATH.sub(_blank, CODE.sub(_blank, bare))
    found += [*_places(bare, prose), *_tags(prose)]
    return [f"{path}:{text.count(chr(10), 0, at) + 1}: {why}" for at, why in sorted(found)]


def _characters(text: str) -> Iterator[tuple[int, str]]:
    for at, mark in enumerate(text):
        if mark != "\n" and (mark in BLANK or unicodedata.category(mark) in UNSEEN):
            name = unicodedata.name(mark, "a control character" if unicodedata.category(mark) == "Cc" else "no name")
            yield at, f"an invisible character, U+{ord(mark):04X} ({name.lower()}): remove it"


def _comments(prose: str) -> Iterator[tuple[int, str]]:
    for start in re.finditer("<!--", COMMENT.sub(_blank, prose)):
        yield start.start(), "this comment is never closed: put `-->` behind it"


def _places(text: str, prose: str) -> Iterator[tuple[int, str]]:
    """Ids that two places have, among them the ids that headings get of themselves."""
    taken: dict[str, int] = {}
    named = {found.start(): found[1] or found[2] for found in NAMED.finditer(prose)}
    for at, name in named.items():
        if name in taken:
            yield at, f"the id {name!r} is that of line {text.count(chr(10), 0, taken[name]) + 1} already"
        taken.setdefault(name, at)
        if GIVEN.fullmatch(name):
            yield at, f"the id {name!r} is one that the book gives by itself: take another"
    for heading in HEADING.finditer(prose):
        if any(heading.start() <= at < heading.end() for at in named):
            continue
        name = _slug(text[heading.start():heading.end()])
        if name in taken:
            yield heading.start(), f"this heading's own id {name!r} is that of line {text.count(chr(10), 0, taken[name]) + 1}: give one of them another"
        if GIVEN.fullmatch(name):
            yield heading.start(), f"this heading's own id {name!r} is one that the book gives by itself: give it another, `{{: #name }}`"


def _slug(heading: str) -> str:
    """The id that Markdown gives a heading of which nothing else has the id."""
    markdown = Markdown(extensions=["toc"])
    markdown.convert(heading.replace("$", ""))
    return str(markdown.toc_tokens[0]["id"]) if markdown.toc_tokens else ""


def _tags(prose: str) -> Iterator[tuple[int, str]]:
    """HTML that is not closed, or not in the order in which it was opened."""
    opened: list[tuple[str, int]] = []
    late: list[str] = []  # closed by what they stand in, their own closing tags still to come
    for tag in TAG.finditer(prose):
        closing, name, inside, end = tag[1], tag[2].lower(), tag[3], tag[4]
        if not end:
            yield tag.start(), f"<{closing}{name} is never ended: put `>` behind it"
        elif closing:
            if name in late:
                late.remove(name)
            elif name not in [kind for kind, _ in opened]:
                yield tag.start(), f"</{name}> closes nothing"
            else:
                while (last := opened.pop())[0] != name:
                    yield last[1], f"<{last[0]}> is not closed before </{name}> closes what it stands in"
                    late.append(last[0])
        elif name not in VOID and not inside.endswith("/"):
            opened.append((name, tag.start()))
    yield from ((at, f"<{name}> is never closed") for name, at in opened)


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])
