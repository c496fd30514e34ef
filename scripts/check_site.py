"""Check a built site, with the standard library alone: `python scripts/check_site.py SITE_DIR`.

No page asks another host for anything; every link, anchor and id is sound; every page with cells was run; every figure
has words for those who do not see it; Korean is said to be Korean; no page is too heavy. Each fault is named with its file and line.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

CHAPTER = 120_000  # bytes of a page's HTML, gzipped, without its figures and the theme's style sheet; the generated reference is exempt
PAGE = 250_000  # with them

# What a browser fetches by itself, or sends to.
FETCHED = {"script": ["src"], "img": ["src", "srcset"], "source": ["src", "srcset"], "iframe": ["src"], "embed": ["src"],
           "video": ["src", "poster"], "audio": ["src"], "object": ["data"], "form": ["action"], "image": ["href", "xlink:href"],
           "use": ["href", "xlink:href"], "input": ["src"], "track": ["src"]}  # fmt: skip
RELS = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}
SILENT = {"script", "style", "template", "code", "pre", "math", "svg", "title"}  # text in these is not prose
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
CSS_URL = re.compile(r"(?:url\(\s*|@import\s+)[\"']?((?:https?:)?//[^\"')\s]+)", re.I)
TEX = re.compile(r"\$\$|\\[()\[\]]|(?<![\w$])\$[^$\s](?:[^$\n]*[^$\s])?\$(?![\w$])|\\begin\{")
HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\uac00-\ud7a3]")
APART = re.compile(r'<style>.*?</style>|<div class="plot.*?</div>|<script>(?:(?!</script>).)*?explorables.*?</script>', re.S)


@dataclass
class Scan(HTMLParser):
    """What one page holds; `faults` are those that the page shows by itself."""

    ids: set[str] = field(default_factory=set)
    links: list[tuple[int, str]] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)
    canonical: str = ""
    h1: int = 0
    svg: tuple[int, dict[str, str]] | None = None
    stack: list[str] = field(default_factory=list)
    langs: list[str] = field(default_factory=list)  # of each in the stack, its own or its parent's

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def fault(self, text: str) -> None:
        self.faults.append((self.getpos()[0], text))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in VOID:
            self.stack.append(tag)
            self.langs.append(given.get("lang") or (self.langs[-1] if self.langs else ""))
        if (name := given.get("id")) is not None:
            if not name or name in self.ids:
                self.fault(f"the id {name!r} is empty or not unique")
            self.ids.add(name)
        if tag == "a" and given.get("name"):
            self.ids.add(given["name"])
        if tag == "html" and not given.get("lang"):
            self.fault("<html> has no lang")
        if tag == "h1":
            self.h1 += 1
        if tag == "img" and not given.get("alt", "").strip():
            self.fault(f"<img src={given.get('src', '')!r}> has no alt text")
        if tag == "svg" and ("wide" in given.get("class", "").split() or given.get("role") == "img"):
            if given.get("role") != "img":
                self.fault('a figure\'s <svg> has no role="img"')
            if not given.get("aria-label", "").strip():
                self.svg = (self.getpos()[0], given)  # a <title> with text may still come
        for attribute in FETCHED.get(tag, []):
            for part in given.get(attribute, "").split(","):
                self.fetched(tag, part.split()[0] if part.split() else "")
        if tag == "link" and RELS & set(given.get("rel", "").split()):
            self.fetched(tag, given.get("href", ""))
        elif tag == "link" and given.get("rel") == "canonical":
            self.canonical = given.get("href", "")
        for url in CSS_URL.findall(given.get("style", "")):
            self.fetched(tag, url)
        if tag == "a" and "href" in given:
            self.links.append((self.getpos()[0], given["href"]))
            if "download" in given:
                self.downloads.append(given["href"])
        loaded = tag in {"script", "img", "source"} or (tag == "link" and RELS & set(given.get("rel", "").split()))
        if loaded and (url := given.get("src") or given.get("href")):
            self.links.append((self.getpos()[0], url))

    def handle_endtag(self, tag: str) -> None:
        if tag in self.stack:
            while self.langs.pop() is not None and self.stack.pop() != tag:
                pass
        if tag == "svg" and self.svg:
            self.faults.append((self.svg[0], "a figure's <svg> has no name: neither aria-label nor <title>"))
            self.svg = None

    def handle_data(self, data: str) -> None:
        if self.stack and self.stack[-1] == "title" and "svg" in self.stack and data.strip():
            self.svg = None
        if "style" in self.stack:
            for url in CSS_URL.findall(data):
                self.fetched("style", url)
        if not SILENT & set(self.stack) and (found := TEX.search(data)):
            self.fault(f"TeX was left over: {found[0]!r}")
        if HANGUL.search(data) and not {"script", "style", "template"} & set(self.stack) and self.langs[-1:] != ["ko"]:
            self.fault(f"Korean that is not said to be: {data.strip()[:40]!r}")
        if not SILENT & set(self.stack) and (found := re.search(r"\[\^[^\]\s]+\]", data)):
            self.fault(f"a footnote that is nowhere defined: {found[0]!r}")

    def handle_comment(self, data: str) -> None:
        if data.startswith("="):
            self.fault(f"a claim was left over: <!--{data}-->")

    def fetched(self, tag: str, url: str) -> None:
        if urlsplit(url).netloc or urlsplit(url).scheme not in {"", "data"}:
            self.fault(f"<{tag}> asks another host: {url}")


def check(site: Path, docs: Path | None = None) -> tuple[list[str], list[str], int]:
    """The faults of a site, a line for each page with its sizes, and how many checks were made.

    With `docs`, the folder of the sources, every page that has cells there must have been run.
    """
    if not (site / "index.html").is_file():
        return [f"{site}: there is no index.html; is this a built site?"], [], 1
    faults: list[str] = []
    table: list[str] = []
    checks = 0
    pages = {path: Scan() for path in sorted(site.rglob("*.html"))}
    for path, scan in pages.items():
        scan.feed(path.read_text(encoding="utf-8"))
    base = urlsplit(pages[site / "index.html"].canonical).path or "/"
    for path, scan in pages.items():
        name = path.relative_to(site).as_posix()
        found = [*scan.faults, *_links(path, scan, site, base, pages)]
        if scan.h1 != 1:
            found.append((1, f"the page has {scan.h1} first-level headings, not one"))
        text = path.read_text(encoding="utf-8")
        whole, bare = (len(gzip.compress(part.encode(), mtime=0)) for part in (text, APART.sub("", text)))
        if bare > CHAPTER and not name.startswith("api/"):
            found.append((1, f"{bare:,} bytes gzipped without its figures; at most {CHAPTER:,}"))
        if whole > PAGE:
            found.append((1, f"{whole:,} bytes gzipped; at most {PAGE:,}"))
        found += [(1, fault) for fault in _run(path, scan)]
        faults += [f"{name}:{line}: {fault}" for line, fault in found]
        figures = text.count('<div class="plot')
        table.append(f"{name:<44} {len(text) / 1000:8.1f} kB {whole / 1000:7.1f} kB gzipped {figures:3} figures")
        checks += 5 + len(scan.links) + len(scan.ids)
    for css in sorted(site.rglob("*.css")):
        checks += 1
        for number, line in enumerate(css.read_text(encoding="utf-8").splitlines(), 1):
            for url in CSS_URL.findall(line):
                faults.append(f"{css.relative_to(site).as_posix()}:{number}: the stylesheet asks another host: {url}")
    for source in sorted(docs.rglob("*.md")) if docs else []:
        if re.search(r"^```python\b", source.read_text(encoding="utf-8"), re.M):
            checks += 1
            stem = source.relative_to(docs or site).with_suffix("")
            page = site / (stem.parent if stem.name == "index" else stem) / "index.html"
            if page not in pages or not pages[page].downloads:
                faults.append(f"{source}:1: the page has cells, and the site shows no sign that they were run")
    return faults, table, checks


def _links(path: Path, scan: Scan, site: Path, base: str, pages: dict[Path, Scan]) -> list[tuple[int, str]]:
    """Links within the site that lead nowhere."""
    found = []
    for line, url in scan.links:
        parts = urlsplit(url)
        if parts.scheme or parts.netloc:
            continue
        where = unquote(parts.path)
        # Only the page for missing pages has links from the root.
        start = site / where.removeprefix(base).lstrip("/") if where.startswith("/") else path.parent / where
        target = (start if where else path).resolve()
        if target.is_dir():
            target = target / "index.html"
        if not target.is_file():
            found.append((line, f"the link {url!r} leads nowhere"))
        elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
            found.append((line, f"the link {url!r} leads to no anchor of that page"))
    return found


def _run(path: Path, scan: Scan) -> list[str]:
    """What is wrong with the page's downloads: there must be a notebook, all of whose cells were run, and a script."""
    if not scan.downloads:
        return []  # no notebook
    files = {Path(name).suffix: path.parent / name for name in scan.downloads}
    missing = [suffix for suffix in (".ipynb", ".py") if suffix not in files or not files[suffix].is_file()]
    if missing:
        return [f"the page's download {suffix} is missing" for suffix in missing]
    notebook = json.loads(files[".ipynb"].read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    faults = [f"{cell['id']} of the notebook was not run" for cell in code if not cell["execution_count"]]
    if code and not any(cell["outputs"] for cell in code) and "outputs" not in notebook["metadata"]:
        faults.append("no cell of the page has an output")
    return faults


def main(arguments: list[str] | None = None) -> int:
    """Print the pages with their sizes, the faults, and a last line that counts; 1 if there are faults."""
    here = Path(__file__).resolve().parents[1] / "docs"
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("site", type=Path, metavar="SITE_DIR")
    parser.add_argument("--docs", type=Path, default=here, help="the sources, for which pages should have been run")
    options = parser.parse_args(arguments)
    faults, table, checks = check(options.site.resolve(), options.docs if options.docs.is_dir() else None)
    print(*table, *faults, sep="\n")
    print(f"{max(checks - len(faults), 0)} passed, {len(faults)} failed")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
