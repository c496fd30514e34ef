"""A page as the notebook and the script that readers take away: all of it runs and reads well away from the site.

The page is cut into parts. Code is code: cells as they are, examples without their prompts, their results as outputs. Text is plain
Markdown, as every notebook shows it: an admonition is a quotation with a heading, a link leads to the site, a claim is gone.
"""

from __future__ import annotations

import ast
import doctest
import json
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from textwrap import dedent, indent, wrap
from typing import Any, Literal

import jupytext  # type: ignore[import-untyped]
import nbformat

from book import formulas, kernel
from book.page import Block, Page
from book.render import COMMENT
from reference_impl.engines.outputs import PRIVATE

WIDTH = 100  # columns of a script's text
LARGEST = 1_000_000  # bytes of a notebook with outputs; a larger one goes without
KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3"}
CALLED = {"failure": "Correction", "success": ""}  # what a box of this type is, in words, before its title

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})([^`]*)$")
_BOX = re.compile(r'([ ]*)(?:!!!|\?\?\?\+?) (\w+)(?: "(.*)")?\s*$')
_SILENT = re.compile(r"^([ ]*)(`{3,}|~{3,}).*?^\1\2[ ]*$|(?<!`)(`+)(?!`).+?(?<!`)\3(?!`)|\$\$.+?\$\$|\$[^$\n]+\$", re.M | re.S)

Find = Callable[[str], str | None]


@dataclass
class Part:
    """A piece of a page: text (Markdown), code with its outputs, or a derivation."""

    kind: Literal["text", "code", "derivation"]
    text: str
    outputs: kernel.Outputs = field(default_factory=list)


def links(page: str, address: str, url_of: Find, reference_of: Find) -> tuple[Find, Find]:
    """Where a link on the page `page` (a path in docs) leads, and a reference, as addresses that work anywhere; None for nowhere.

    `url_of` gives the address within the site of a path in docs, `reference_of` that of a name in the package.
    """

    def link(target: str) -> str | None:
        if re.match(r"[a-z]+:", target):
            return target
        path, _, anchor = target.partition("#")
        found = url_of(posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page)
        return None if found is None else address + found.removeprefix("./") + (f"#{anchor}" if anchor else "")

    def reference(name: str) -> str | None:
        found = reference_of(name)
        return found if found is None or re.match(r"[a-z]+:", found) else address + found

    return link, reference


def parts(page: Page, text: str, outputs: list[kernel.Outputs], link: Find, reference: Find) -> list[Part]:
    """The parts of a page in order; `text` is the page's, `outputs` are those of its cells."""
    body = text.splitlines()[len(page.front.splitlines()) + 2 if page.front else 0:]
    found: list[Part] = []
    for part in _cut(body, iter(outputs)):
        if part.kind == "text":
            part.text = _plain(part.text, link, reference)
            if not part.text.strip():
                continue
            if found and found[-1].kind == "text":
                found[-1].text += f"\n\n{part.text}"
                continue
        found.append(part)
    return found


def note(address: str, site: str, line: str, needs: str) -> str:
    """What stands above all: where the page is from, and the line that installs what it needs."""
    return f"*From [{site}]({address}).* To run this, install the package once. It needs {needs}.\n\n```bash\n{line}\n```"


def notebook(found: list[Part], title: str, note: str) -> str:
    """The parts as a notebook, below a note."""
    cells = [_text(note)]
    for part in found:
        if part.kind == "code":
            count = 1 + sum(cell["cell_type"] == "code" for cell in cells)
            cells.append({"cell_type": "code", "metadata": {}, "source": part.text, "execution_count": count,
                          "outputs": [_output(output, count) for output in part.outputs]})
        else:
            cells.append(_text(part.text if part.kind == "text" else _aligned(part.text)))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    book: dict[str, Any] = {"cells": cells, "metadata": {"kernelspec": KERNEL, "language_info": {"name": "python"}, "title": title},
                            "nbformat": 4, "nbformat_minor": 5}
    made = _written(book)
    if len(made.encode()) > LARGEST:
        for cell in cells:
            if "outputs" in cell:
                cell["outputs"] = []
        book["metadata"]["outputs"] = "left out for their size"
        made = _written(book)
    return made


def script(found: list[Part], note: str) -> str:
    """The parts as a program: what a cell shows it prints, or saves if it is a figure."""
    cells = [_text(note)]
    for part in found:
        if part.kind == "code":
            cells.append({"cell_type": "code", "metadata": {}, "source": _displayed(part), "execution_count": None, "outputs": []})
        else:
            cells.append(_text(_wrapped(part.text) if part.kind == "text" else _lines(part.text)))
    if any(cell["source"] != part.text for cell, part in zip(cells[1:], found) if part.kind == "code"):
        cells.insert(1, {"cell_type": "code", "metadata": {}, "source": "from reference_impl.plots import display", "execution_count": None, "outputs": []})
    book = nbformat.from_dict({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4})  # type: ignore[no-untyped-call]
    return str(jupytext.writes(book, fmt={"extension": ".py", "format_name": "percent", "notebook_metadata_filter": "-all"}))


def _text(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _written(book: dict[str, Any]) -> str:
    nbformat.validate(book)
    return json.dumps(book, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


# ---- Cutting ----


def _cut(lines: list[str], outputs: Iterator[kernel.Outputs], box: bool = False) -> Iterator[Part]:
    """Parts of a page's lines; within a box, text is a quotation."""
    text: list[str] = []

    def taken() -> list[Part]:
        """The text gathered so far, moved to the left as far as its first line goes: what it belonged to may be in an earlier cell."""
        while text and not text[0].strip():
            del text[0]
        depth = len(text[0]) - len(text[0].lstrip()) if text else 0
        for at, line in enumerate(text):
            if line.strip() and len(line) - len(line.lstrip()) < depth:
                break
            text[at] = line[depth:]
        while text and not text[-1].strip():
            del text[-1]
        made = "\n".join(f"> {line}".rstrip() for line in text) if box else "\n".join(text)
        text.clear()
        return [Part("text", made)] if made else []

    at = 0
    while at < len(lines):
        if opening := _FENCE.match(lines[at]):
            end = next(n for n in range(at + 1, len(lines)) if lines[n].rstrip() == opening[1] + opening[2])
            kind, inside = opening[3].strip(), dedent("\n".join(lines[at + 1:end]))
            if kind.split()[:1] in (["python"], ["pycon"], ["derivation"]):
                yield from taken()
                if kind == "pycon":
                    yield from _examples(inside)
                else:
                    yield Part("code", inside, next(outputs, [])) if kind != "derivation" else Part("derivation", inside)
            else:
                text += lines[at:end + 1]
            at = end + 1
        elif heading := _BOX.match(lines[at]):
            yield from taken()
            depth = len(heading[1]) + 4
            end = next((n for n in range(at + 1, len(lines)) if lines[n].strip() and lines[n][:depth].strip()), len(lines))
            title = ". ".join(filter(None, [CALLED.get(heading[2]), heading[3] or heading[2].capitalize()]))
            within = list(_cut([line[depth:] for line in lines[at + 1:end]], outputs, box=True))
            first = within.pop(0).text if within and within[0].kind == "text" else None
            for part in [Part("text", f"> **{title}**" + (f"\n>\n{first}" if first else "")), *within]:
                if part.kind == "text" and box:
                    part.text = "\n".join(f"> {line}".rstrip() for line in part.text.split("\n"))
                yield part
            at = end
        else:
            text.append(lines[at])
            at += 1
    yield from taken()


def _examples(text: str) -> Iterator[Part]:
    """Examples as code: a part goes as far as one that shows something, as a cell shows only its last value."""
    code: list[str] = []
    for example in doctest.DocTestParser().get_examples(text + "\n"):
        source, want = example.source.rstrip("\n"), example.want.replace("<BLANKLINE>", "")
        if example.exc_msg is not None:
            source = f'try:\n{indent(source, "    ")}\nexcept Exception as error:\n    print(f"{{type(error).__name__}}: {{error}}")'
            name, colon, said = example.exc_msg.partition(":")
            want = name.rpartition(".")[2] + colon + said
        if code and code[-1].startswith(("def ", "class ", "@", "async ")):
            source = f"\n\n{source}"
        code.append(source)
        if want:
            yield Part("code", "\n".join(code), [_result(source, want)])
            code = []
    if code:
        yield Part("code", "\n".join(code))


def _result(source: str, want: str) -> dict[str, Any]:
    """What an example shows, as an output of a cell."""
    last = ast.parse(source).body[-1]
    prints = isinstance(last, ast.Expr) and isinstance(last.value, ast.Call) and getattr(last.value.func, "id", "") == "print"
    if isinstance(last, ast.Expr) and not prints:
        return {"output_type": "execute_result", "metadata": {}, "data": {"text/plain": want.rstrip("\n")}}
    return {"output_type": "stream", "name": "stdout", "text": want}


# ---- Text ----


def _plain(text: str, link: Find, reference: Find) -> str:
    """A site's Markdown as any notebook shows it: no comments, no attributes; links to the site, or their text where they lead nowhere."""
    silent: list[str] = []

    def hide(match: re.Match[str]) -> str:
        silent.append(match[0])
        return f"\0{len(silent) - 1}\0"

    def linked(match: re.Match[str]) -> str:
        found = link(match[2])
        return match[1] if found is None else f"[{match[1]}]({found})"

    def referred(match: re.Match[str]) -> str:
        found = reference(match[2] or re.sub(r"\0(\d+)\0", lambda m: silent[int(m[1])].strip("`"), match[1]))
        return match[1] if found is None else f"[{match[1]}]({found})"

    text = _SILENT.sub(hide, COMMENT.sub(r"\1", text))
    text = re.sub(r"((?:^[> ]*>.*\n)+)^[> ]*\{:\s*\.question\s*\}[ ]*$", lambda m: _asked(m[1]), text, flags=re.M)
    text = re.sub(r"^[> ]*\{:?\s*[.#][^{}\n]*\}[ ]*\n|[ ]*\{:?\s*[.#][^{}\n]*\}", "", text, flags=re.M)
    text = re.sub(r"^</?div\b[^>\n]*>\n", "", text, flags=re.M)
    text = re.sub(r"(?<!!)\[([^\[\]]+)\]\(([^)\s]+)\)", linked, text)
    text = re.sub(r"(?<!!)\[([^\[\]]+)\]\[([\w.]*)\]", referred, text)
    return re.sub(r"\0(\d+)\0", lambda match: silent[int(match[1])], text).strip("\n")


def _asked(quotation: str) -> str:
    first = re.match(r"[> ]*>", quotation)
    assert first is not None
    return f"{first[0]} **Question**\n{first[0]}\n{quotation}".rstrip("\n")


# ---- Derivations and figures ----


def _aligned(text: str) -> str:
    r"""A derivation as display LaTeX, its reasons beside it."""
    lines = [f"{left} &{sign} {right} && \\text{{{_said(why)}}}".replace("  ", " ") for left, sign, right, why in formulas.rows(Block("derivation", text, 1))]
    return "$$\n\\begin{aligned}\n" + " \\\\\n".join(lines) + "\n\\end{aligned}\n$$"


def _said(why: str) -> str:
    """A reason, which is Markdown, for LaTeX's `text`."""
    pieces = re.split(r"(\$[^$]+\$)", _plain(why, lambda target: None, lambda name: None))
    return "".join(piece if at % 2 else re.sub(r"(?<!\\)[&#%_]", r"\\\g<0>", re.sub("[*`]+", "", piece)) for at, piece in enumerate(pieces))


def _wrapped(text: str) -> str:
    """Text in lines that fit an editor; fences, tables and displayed formulas stay as they are."""
    lines: list[str] = []
    still = False  # inside of one of them
    begun = ("", "")  # a paragraph that the next line may continue: what stands before its lines, and what it says so far

    def end() -> None:
        nonlocal begun
        if begun[1]:
            item = re.match(r"(?:[-*+]|\d+\.) +|", begun[1])
            assert item is not None
            further = begun[0] + " " * len(item[0])
            lines.extend(wrap(begun[1], WIDTH, initial_indent=begun[0], subsequent_indent=further, break_long_words=False, break_on_hyphens=False))
        begun = ("", "")

    for line in text.split("\n"):
        lead = line[:len(line) - len(line.lstrip("> "))]
        bare = line[len(lead):]
        edge = bare.startswith(("```", "~~~")) or bare.count("$$") % 2 == 1
        if still or edge or not bare or bare.startswith(("|", "#", "$$")):
            end()
            lines.append(line)
        elif begun[1] and lead.count(">") == begun[0].count(">") and not re.match(r"(?:[-*+]|\d+\.) ", bare):
            begun = (begun[0], f"{begun[1]} {bare}")
        else:
            end()
            begun = (lead, bare)
        still ^= edge
    end()
    return "\n".join(lines)


def _lines(text: str) -> str:
    """A derivation as it is written, for a comment."""
    return "\n".join(line for line in text.splitlines() if line.strip() and line.split()[0] not in ("with", "if", "near"))


def _output(output: dict[str, Any], count: int) -> dict[str, Any]:
    """An output as other readers than the site know it."""
    kept = {key: value for key, value in output.items() if key != "execution_count"}
    if "data" in kept:
        kept["data"] = {kind: value for kind, value in kept["data"].items() if not kind.startswith(PRIVATE)}
    return kept | ({"execution_count": count} if output["output_type"] == "execute_result" else {})


def _displayed(part: Part) -> str:
    """A part's code, which shows by itself what a notebook shows of its last value."""
    if not any(output["output_type"] == "execute_result" for output in part.outputs):
        return part.text
    last = ast.parse(part.text).body[-1]
    assert isinstance(last, ast.Expr) and last.end_lineno is not None and last.end_col_offset is not None
    lines = part.text.split("\n")

    def put(line: int, column: int, mark: str) -> None:
        before = lines[line - 1].encode()
        lines[line - 1] = (before[:column] + mark.encode() + before[column:]).decode()

    several = isinstance(last.value, ast.Tuple)  # they may stand without brackets
    put(last.end_lineno, last.end_col_offset, "))" if several else ")")
    put(last.lineno, last.col_offset, "display((" if several else "display(")
    return "\n".join(lines)
