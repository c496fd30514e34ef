"""MkDocs hooks: each page is run, and what its run gives becomes Markdown of the page, before MkDocs renders it.

mkdocs-jupyter says which pages are notebooks: those whose front matter names a Python kernel. It would also run them, one after the
other, and turn each into HTML by a template of its own. Instead `run` runs them, all at once, as the tests do, and one Markdown document is
made of the executed page and left to MkDocs: links, footnotes, references and math work across cells as on any other page.

A page with faults fails a strict build. Else it says at its top what is wrong.
"""

from __future__ import annotations

import os
import posixpath
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urljoin
from urllib.request import Request, urlopen

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import CombinedEvent, event_priority, get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from mkdocs.utils import get_relative_url

from . import (
    chapters,
    copies,
    downloads,
    finding,
    indexes,
    install,
    kept,
    mentions,
    policy,
    prerequisites,
    readers,
    reference,
    render,
    run,
    runtime,
    typeset,
    wheel,
    words,
)
from .page import Page as Source, PageError

ROOT = Path(__file__).resolve().parents[2]
CARD = "card.png"  # beside the page
log = get_plugin_logger("book")
runs: dict[str, run.Run] = {}  # of each page, by its path in docs
built: dict[str, render.Built] = {}
contents: dict[str, str] = {}
urls: dict[str, str] = {}  # of each page in the navigation
book: list[tuple[Source, str]] = []
serving = False


@event_priority(100)  # before mkdocstrings takes the list of extensions for docstrings
def on_config(config: MkDocsConfig) -> None:
    """Add the site's math; fix the date of the build so that two builds of one source are the same bytes."""
    os.environ.setdefault("SOURCE_DATE_EPOCH", "315532800")  # 1980, as in a zip file without dates
    config.markdown_extensions.append("book.typeset")
    if "mkdocs-jupyter" in config.plugins:  # it keeps its word on which pages are notebooks; their making is ours
        config.plugins.events["pre_page"].remove(config.plugins["mkdocs-jupyter"].on_pre_page)
    if "mkdocstrings" in config.plugins:
        with ThreadPoolExecutor() as pool:
            wanted = config.extra.get("inventories", [])
            found = [url for url, there in zip(wanted, pool.map(_reachable, wanted), strict=True) if there]
        config.plugins["mkdocstrings"].config.handlers.setdefault("python", {})["inventories"] = found
    install.prepare(config)
    config.extra["citation"] = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    for found in (runs, built, urls, book):
        found.clear()


@cache
def _reachable(url: str) -> bool:
    """Whether another project's inventory answers at once: a build without a network does without."""
    try:
        with urlopen(Request(url, method="HEAD"), timeout=2):
            return True
    except OSError:
        log.info(f"{url} cannot be reached: fewer links lead there")
        return False


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the wheel and Python for the browser, and run the pages, as many at a time as there are processors; raises for all faults at once if the build is strict."""
    install.add(files, config)
    for name, content in _browser(config).items():
        files.append(File.generated(config, name, content=content))
    root = _root(config)
    _split(files, config, root)
    pages = [file for file in files.documentation_pages() if file.abs_src_path]

    def of(file: File) -> run.Run:
        name = _name(file, root)
        return run.run(name, root, lambda seconds: log.info(f"{name} ran in {seconds:.1f} s"))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs.update(zip((file.src_uri for file in pages), pool.map(of, pages)))
    faults = [fault for made in runs.values() for fault in made.faults]
    if faults and config.strict:
        raise PluginError("\n".join(faults))
    for fault in faults:
        log.warning(fault)


def _split(files: Files, config: MkDocsConfig, root: Path) -> None:
    """Give each module of the reference a page of its own, in the navigation too."""
    made: dict[str, list[str]] = {}
    for file in [file for file in files.documentation_pages() if file.src_uri.startswith(reference.FOLDER)]:
        pages = reference.pages(file.src_uri, file.content_string, root)
        made[file.src_uri] = list(pages)[1:]
        files.remove(file)
        for name, text in pages.items():
            files.append(File.generated(config, name, content=text))
    config.nav = reference.nav(config.nav, made)


def _browser(config: MkDocsConfig) -> runtime.Bytes:
    """What the site needs so that readers can run its code; nothing, where that is not asked for or not to be had."""
    return (runtime.site(wheel.wheel()[1], log.info) or {}) if config.extra.get("run") else {}


@event_priority(50)  # before autorefs resolves references
def on_env(env: Any, config: MkDocsConfig, files: Files) -> None:
    """Tell autorefs of the names of other projects that a build without their inventories links to all the same."""
    if "autorefs" in config.plugins:
        for name, url in config.extra.get("elsewhere", {}).items():
            config.plugins["autorefs"].register_url(name, url)  # type: ignore[attr-defined]


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page as its run made it, below what is wrong with it."""
    urls[page.file.src_uri] = page.url
    if page.file.src_uri not in runs:
        return markdown
    faults = runs[page.file.src_uri].faults
    try:
        text = _document(markdown, page, config, files)
    except (PageError, ValueError) as error:
        if not any(made.faults for made in runs.values()):
            raise
        faults = faults or [str(error)]
        text = render.COMMENT.sub(r"\1", markdown)  # as far as it can be shown
    return install.put("\n\n".join([*([render.notice(faults)] if faults else []), text]), config)


def _document(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The Markdown of a page: for a notebook, with its cells and what they gave."""
    name = _name(page.file, _root(config))
    text = page.file.content_string
    source = Source.parse(text, name)
    if shown := source.meta.get("shows"):
        return (_root(config) / shown).read_text(encoding="utf-8")
    if kind := source.meta.get("index"):
        return markdown + "\n\n" + indexes.index(kind, _chapters(config), page.file.src_uri)
    if not _is_notebook(page.file, config):
        if source.cells:
            raise PluginError(f"{name}:1: mkdocs-jupyter takes this page for no notebook; see `plugins` in mkdocs.yml")
        return render.COMMENT.sub(r"\1", markdown)
    built[page.file.src_uri] = result = render.Built(files)
    page.meta["downloads"] = [f"{name.stem}.ipynb", f"{name.stem}.py"]
    marked = indexes.anchored(text, indexes.marks(source, text))
    first, *others = render.pieces(marked, Source.parse(marked).cells)
    made = render.prose(first)
    for cell, outputs, after in zip(source.cells, runs[page.file.src_uri].outputs, others, strict=True):
        made += render.cell(cell, outputs, result) + "\n\n" + render.prose(after)
    if result.card and config.site_url:  # a card is asked for by its whole address
        page.meta["card"] = {"name": CARD, "alt": result.alt}
    return made


def _is_notebook(file: File, config: MkDocsConfig) -> bool:
    return "mkdocs-jupyter" in config.plugins and config.plugins["mkdocs-jupyter"].should_include(file)  # type: ignore[attr-defined]


def _root(config: MkDocsConfig) -> Path:
    return Path(config.config_file_path).resolve().parent


def _name(file: File, root: Path) -> Path:
    return Path(os.path.relpath(Path(file.abs_src_path or "").resolve(), root))


def _chapters(config: MkDocsConfig) -> list[tuple[Source, str]]:
    """The pages of the book in the order of its navigation, each with its text; read once a build."""
    if book:
        return book

    def paths(nav: Any) -> list[str]:
        if isinstance(nav, str):
            return [nav]
        return [path for entry in (nav.values() if isinstance(nav, dict) else nav or []) for path in paths(entry)]

    docs = Path(config.docs_dir)  # MkDocs itself complains of what is missing there
    texts = {path: (docs / path).read_text(encoding="utf-8") for path in paths(config.nav) if (docs / path).exists()}
    book.extend((Source.parse(text, Path(path)), text) for path, text in texts.items())
    return book


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """A page of the book is in parts, and says under its title which chapter it is; works and words are linked."""

    def link(uri: str) -> str:
        file = files.get_file_from_path(uri)
        return file.url_relative_to(page.file) if file else ""

    uri = page.file.src_uri
    if uri == words.PAGE:
        return words.anchored(html)
    if uri not in built:
        return html
    html = chapters.parts(html)
    try:
        pages = {source.path.as_posix(): source for source, _ in _chapters(config)}
        if page.is_homepage:
            return prerequisites.PLACE.sub(lambda _: prerequisites.drawn(pages, prerequisites.names(page.file.content_string), link), html)
        glossary = files.get_file_from_path(words.PAGE)
        html = words.linked(mentions.linked(html), words.words(glossary.content_string) if glossary else [], link)
        line = chapters.line(uri, pages, link) if uri in pages else ""
    except PageError as error:
        if not any(made.faults for made in runs.values()):
            raise PluginError(str(error)) from None
        return html  # the page says at its top what is wrong
    return html.replace("</h1>", f"</h1>\n{line}", 1) if line else html


@event_priority(100)
def _show_tex(context: Any, *, page: Page, config: MkDocsConfig, nav: Any) -> None:
    """While the page is being indexed, formulas are their TeX: readers search for "theta"."""
    contents[page.file.src_uri] = page.content or ""
    page.content = typeset.source(page.content or "")


@event_priority(-100)
def _show_math(context: Any, *, page: Page, config: MkDocsConfig, nav: Any) -> None:
    page.content = contents.pop(page.file.src_uri)


on_page_context = CombinedEvent(_show_tex, _show_math)


def on_startup(*, command: str, dirty: bool) -> None:
    """Remember whether the site is only looked at: MkDocs' own script, which loads a changed page again, keeps no policy."""
    global serving
    serving = command == "serve"


def on_post_page(output: str, *, page: Page, config: MkDocsConfig) -> str:
    """The finished page, under its policy."""
    return _kept(readers.skips(readers.korean(_finished(output, page, config))), Path(page.file.abs_dest_path).parent, config)


def on_post_template(output: str, *, template_name: str, config: MkDocsConfig) -> str:
    """Pages of the theme's own, as 404.html, keep the policy too."""
    return _kept(output, Path(config.site_dir), config) if template_name.endswith(".html") else output


def _kept(output: str, folder: Path, config: MkDocsConfig) -> str:
    if serving:
        return output

    output, files = policy.kept(output, lambda name: (Path(config.site_dir) / name).read_text("utf-8"))
    for name, content in files.items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return output


def _finished(output: str, page: Page, config: MkDocsConfig) -> str:
    """The page with its figures and copies, put in so late that no plugin takes them for its text; its downloads are written."""
    output = typeset.shared(re.sub(r'<span id="__span-[\d-]+">', "<span>", output))  # lines' ids; mkdocstrings gives some of them twice
    if (made := runs.get(page.file.src_uri)) and made.notes:
        try:
            source = Source.parse(page.file.content_string, _name(page.file, _root(config)))
            output = copies.attached(output, source, made.notes)
            if browser := _browser(config):
                output = runtime.attached(output, source, made.notes, browser, f"{get_relative_url('.', page.url)}/")
        except (PageError, ValueError) as error:
            if not made.faults:  # else it is no wonder
                raise PluginError(str(error)) from None
    if (result := built.get(page.file.src_uri)) is None:
        return output
    output = readers.notes(output, urljoin(install.address(config), page.url))
    folder = Path(page.file.abs_dest_path).parent
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(page.meta["downloads"], _downloads(page, config, result.files), strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    if "card" in page.meta:
        (folder / CARD).write_bytes(result.card)
    return re.sub(r'<div data-figure="(\d+)"></div>', lambda match: result.figures[int(match[1]) - 1], output)


def _downloads(page: Page, config: MkDocsConfig, files: Files) -> tuple[str, str]:
    """The page as a notebook and as a script."""

    def reference(name: str) -> str | None:
        with suppress(KeyError):
            return str(config.plugins["autorefs"].get_item_url(name)[0])  # type: ignore[attr-defined]
        return None

    text, uri = page.file.content_string, page.file.src_uri
    link, refer = downloads.links(uri, install.address(config), lambda path: file.url if (file := files.get_file_from_path(path)) else None, reference)
    text = install.put(text, config)
    parts = downloads.parts(Source.parse(text, _name(page.file, _root(config))), text, runs[uri].outputs, link, refer)
    note = downloads.note(link(posixpath.basename(uri)) or "", config.site_name, install.line(config), config.extra["install"]["needs"])
    return downloads.notebook(parts, str(page.title), note), downloads.script(parts, note)


@event_priority(-100)  # after the search has written its index
def on_post_build(config: MkDocsConfig) -> None:
    """Give the search the names that readers use, and throw away cached runs that nothing uses any more."""
    index = Path(config.site_dir, "search", "search_index.json")
    if index.exists():
        index.write_text(finding.joined(index.read_text(encoding="utf-8"), finding.names(), urls), encoding="utf-8")
    kept.forget_unused(_root(config))
