"""MkDocs hooks: a page's cells are run, and what they give becomes Markdown of the page, before MkDocs renders it.

mkdocs-jupyter says which pages are notebooks. Instead of its rendering, one Markdown document is made of the executed
page and left to MkDocs' own: links, footnotes, references and math work across cells as on any other page.
"""

from __future__ import annotations

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import CombinedEvent, event_priority, get_plugin_logger
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

SCRIPTS = str(Path(__file__).resolve().parents[1])
if SCRIPTS not in sys.path:
    sys.path.insert(0, SCRIPTS)

from book import indexes, kernel, render  # noqa: E402
from book.page import Page as Source  # noqa: E402
from book.page import PageError  # noqa: E402

log = get_plugin_logger("book")
built: dict[str, render.Built] = {}
contents: dict[str, str] = {}


@event_priority(100)  # before mkdocstrings takes the list of extensions for docstrings
def on_config(config: MkDocsConfig) -> None:
    """Add the site's math; fix the date of the build so that two builds of one source are the same bytes."""
    if SCRIPTS not in sys.path:  # MkDocs puts sys.path back after it has loaded a hook
        sys.path.insert(0, SCRIPTS)
    os.environ.setdefault("SOURCE_DATE_EPOCH", "315532800")  # 1980, as in a zip file without dates
    config.markdown_extensions.append("book.mathml")
    if "mkdocstrings" in config.plugins:
        with ThreadPoolExecutor() as pool:
            wanted = config.extra.get("inventories", [])
            found = [url for url, there in zip(wanted, pool.map(_reachable, wanted), strict=True) if there]
        config.plugins["mkdocstrings"].config.handlers.setdefault("python", {})["inventories"] = found
    built.clear()


@cache
def _reachable(url: str) -> bool:
    """Whether another project's inventory answers at once: a build without a network does without."""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=2):
            return True
    except OSError:
        log.info(f"{url} cannot be reached: fewer links lead there")
        return False


@event_priority(-100)  # when mkdocs-jupyter has said which pages are notebooks
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Run the pages whose outputs are not known any more, as many at a time as there are processors."""
    root = Path(config.config_file_path).resolve().parent

    def run(path: str) -> None:
        with suppress(PageError, kernel.CellError):  # the page says so in its turn
            cells = Source.read(path).cells
            if cells:
                name = os.path.relpath(path, root)
                kernel.run([cell.text for cell in cells], root, lambda s: log.info(f"{name}: {len(cells)} cells in {s:.1f} s"))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(run, [file.abs_src_path for file in files.documentation_pages() if file.abs_src_path]))
    return files


@event_priority(50)  # before autorefs resolves references
def on_env(env: Any, config: MkDocsConfig, files: Files) -> None:
    """Tell autorefs of the names of other projects that a build without their inventories links to all the same."""
    if "autorefs" in config.plugins:
        for name, url in config.extra.get("elsewhere", {}).items():
            config.plugins["autorefs"].register_url(name, url)  # type: ignore[attr-defined]


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Run the page if it is a notebook, and give its cells and outputs back as Markdown."""
    if not page.file.abs_src_path:
        return markdown
    root = Path(config.config_file_path).resolve().parent
    path = Path(page.file.abs_src_path)
    name = os.path.relpath(path.resolve(), root)
    try:
        source = Source.parse(path.read_text(encoding="utf-8"), Path(name))
    except PageError as error:
        raise PluginError(str(error)) from None
    cells = source.cells
    text = path.read_text(encoding="utf-8")
    try:
        marked = indexes.anchored(text, indexes.marks(source, text))
        if kind := source.meta.get("index"):
            return markdown + "\n\n" + indexes.index(kind, _chapters(config), page.file.src_uri)
    except PageError as error:
        raise PluginError(str(error)) from None
    if "render" not in vars(page):  # mkdocs-jupyter sets it on the pages that it takes for notebooks
        if cells:
            raise PluginError(
                f"{name}:{cells[0].line}: this cell would not run, as mkdocs-jupyter takes the page for no notebook: the "
                "front matter needs a line 'jupyter:' and under it, indented, "
                "'kernelspec: {name: python3, language: python, display_name: Python 3}'"
            )
        return render.COMMENT.sub(r"\1", markdown)
    del page.render
    try:
        outputs = kernel.run(
            [cell.text for cell in cells], root, lambda s: log.info(f"{name}: {len(cells)} cells in {s:.1f} s")
        )
    except kernel.CellError as error:
        line = cells[error.cell].line + error.line - 1
        raise PluginError(f"{name}:{line}: a cell failed\n{error.traceback}") from None
    built[page.file.src_uri] = result = render.Built(render.v4.new_notebook())
    first, *others = render.pieces(marked, Source.parse(marked).cells)
    text = render.prose(first, result)
    for cell, given, after in zip(cells, outputs, others, strict=True):
        render.append(result.notebook, cell.text, given)
        text += render.cell(cell, given, result, f"{name}:{cell.line}") + "\n\n" + render.prose(after, result)
    if found := re.search(rf"{re.escape(str(root))}|{render.ADDRESS}", text):
        log.warning(f"{name}: the page shows {found[0].strip()!r}, which is another in every build")
    page.meta["downloads"] = [f"{path.stem}.ipynb", f"{path.stem}.py"]
    return text


def _chapters(config: MkDocsConfig) -> list[tuple[Source, str]]:
    """The pages of the book in the order of its navigation, each with its text."""

    def paths(nav: Any) -> list[str]:
        if isinstance(nav, str):
            return [nav]
        return [path for entry in (nav.values() if isinstance(nav, dict) else nav or []) for path in paths(entry)]

    docs = Path(config.docs_dir)  # MkDocs itself complains of what is missing there
    texts = {path: (docs / path).read_text(encoding="utf-8") for path in paths(config.nav) if (docs / path).exists()}
    return [(Source.parse(text, Path(path)), text) for path, text in texts.items()]


@event_priority(100)
def _show_tex(context: Any, *, page: Page, config: MkDocsConfig, nav: Any) -> None:
    """While the page is being indexed, formulas are their TeX: readers search for "theta"."""
    contents[page.file.src_uri] = page.content or ""
    page.content = re.sub(r'<math [^>]*?alttext="([^"]*)".*?</math>', r"\1", page.content or "", flags=re.S)


@event_priority(-100)
def _show_math(context: Any, *, page: Page, config: MkDocsConfig, nav: Any) -> None:
    page.content = contents.pop(page.file.src_uri)


on_page_context = CombinedEvent(_show_tex, _show_math)


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """Put the figures in, so late that no plugin takes their labels for the page's text, and write the downloads."""
    output = re.sub(r'<span id="__span-[\d-]+">', "<span>", output)  # lines' ids; mkdocstrings gives some of them twice
    if (result := built.get(page.file.src_uri)) is None:
        return output
    folder = Path(page.file.abs_dest_path).parent
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(page.meta["downloads"], render.downloads(result.notebook, page, config), strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    return re.sub(r'<div data-figure="(\d+)"></div>', lambda match: result.figures[int(match[1]) - 1], output)


def on_post_build(config: MkDocsConfig) -> None:
    """Throw away cached runs that nothing uses any more."""
    kernel.forget_unused(Path(config.config_file_path).resolve().parent)
