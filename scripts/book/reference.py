"""The reference, a page for each module: a phone opens no page of a whole package.

`docs/api/PART.md` lists the modules of a part, each as `::: module`. From the list come a page for each module and, in the place of the
list, what each is, by the first line of its docstring.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = "api/"

_DIRECTIVE = re.compile(r"^::: ([\w.]+)\n((?: {4}.*\n)*)", re.M)
_PAGE = """---
title: "Reference: {name}"
description: {description}
---

# Reference: {heading} {{: #{module} }}

::: {module}
    options:
      show_root_heading: false
      show_root_toc_entry: false
{options}"""


def modules(text: str) -> dict[str, str]:
    """The modules that a part lists, each with its options' lines."""
    found = {}
    for module, options in _DIRECTIVE.findall(text if text.endswith("\n") else text + "\n"):
        found[module] = options.replace("    options:\n", "", 1)
    return found


def pages(part: str, text: str, root: Path) -> dict[str, str]:
    """The Markdown of the pages of a part, by their names in docs: first the part's own."""
    found = {part: ""}
    rows = []
    for module, options in modules(text).items():
        name = module.removeprefix("reference_impl.")
        page = f"{part.removesuffix('.md')}/{name.replace('.', '_')}.md"
        said = first_line(module, root)
        found[page] = _PAGE.format(name=name, heading=name.replace(".", ".<wbr>"), description=_quoted(said), module=module, options=options)
        rows.append(f"| [`{name}`]({page.removeprefix(FOLDER)}) | {said} |")
    found[part] = _DIRECTIVE.sub("", text).rstrip() + "\n\n| module | what is in it |\n| --- | --- |\n" + "\n".join(rows) + "\n"
    return found


def nav(entries: Any, made: Mapping[str, list[str]]) -> Any:
    """A navigation in which each part is followed by its modules, by their short names."""
    if isinstance(entries, list):
        return [nav(entry, made) for entry in entries]
    if isinstance(entries, dict):
        return {title: nav(entry, made) for title, entry in entries.items()}
    if entries not in made:
        return entries
    part = Path(entries).stem
    return {part.title(): [entries, *({Path(page).stem.removeprefix(f"{part}_"): page} for page in made[entries])]}


def first_line(module: str, root: Path) -> str:
    """What a module says of itself, in one line."""
    path = root.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return said.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
