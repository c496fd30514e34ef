"""A page under a content security policy: no style in an attribute, no script in the page but those whose hashes the policy names.

Formulas and figures come with thousands of `style` attributes, which a policy cannot tell from an intruder's. Each becomes a class, and
the page's classes one style sheet beside it (`page.css`); what figures compute becomes one script beside it (`figures.js`). What the theme
writes into every page stays, named by its hash.

The style sheets of the site come in the page: nothing is shown before they are there, and on a slow line each would wait for the page to ask
for it. They are the same in all pages, so that the policy of the first holds where pages change without being loaded. Faces of type stay
beside the page, because a sheet in the page cannot say where their files lie without saying where the page lies.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from html import unescape

HOLDS = {
    "default-src": "'self'",
    "object-src": "'none'",
    "frame-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",  # WebAssembly is how Python runs
    "style-src": "'self'",
    "img-src": "'self' data:",  # the theme's icons
    "connect-src": "'self' blob:",  # a blob is how site.js names the pages to the theme
    "base-uri": "'self'",
    "form-action": "'self'",
}

_OPAQUE = r"<(?P<kind>script|template|textarea)\b.*?</(?P=kind)>"
_TAG = r'<[a-zA-Z][\w:-]*(?:[^<>"]|"[^"]*")*>'
_PARTS = re.compile(rf"(?P<opaque>{_OPAQUE})|(?P<tag>{_TAG})", re.S)
_STYLE = re.compile(r'\sstyle="([^"]*)"')
_CLASS = re.compile(r'\sclass="')
_AROUND = re.compile(r"\A.*?(?=<article)|(?<=</article>).*\Z", re.S)  # the theme's, which is a quarter blanks; within an article they may be text
_FIGURES = re.compile(r"<script>(\(window\.explorables .*?)</script>\s*", re.S)
_INLINE = re.compile(r"<(script|style)>(.*?)</\1>", re.S)
_SHEET = re.compile(r'<link rel="stylesheet" href="([^"]*?)((?:assets|stylesheets)/[^"]*\.css)">')
_FACE = re.compile(r"@font-face\s*\{[^}]*\}")


def kept(html: str, read: Callable[[str], str]) -> tuple[str, dict[str, str]]:
    """A page that keeps the policy, and by their names the files that must lie beside it; `read` gives a style sheet of the site.

    >>> page, files = kept('<head></head><b class="x" style="top:0">b</b>', {}.__getitem__)
    >>> print(files["page.css"])
    ._0._0._0._0{top:0}
    """
    files: dict[str, str] = {}
    sheet: dict[str, str] = {}
    html = _AROUND.sub(lambda part: re.sub(r"\s*\n\s*", "\n", part[0]), html)
    html = _PARTS.sub(lambda part: part[0] if part["opaque"] else _classed(part[0], sheet), html)
    faces: list[str] = []
    html = _SHEET.sub(lambda link: _inlined(link, html, read, faces), html)
    if sheet or faces:
        # Four times the class weighs more than any other rule, as the attribute did, and less than what a script sets at the element. (An id in
        # `:is()` would weigh more, but then browsers try each of these rules on each element.)
        files["page.css"] = "\n".join([*faces, *(f"{f'.{name}' * 4}{{{rules}}}" for rules, name in sheet.items())])
        html = html.replace("</head>", f'<link rel="stylesheet" href="{_versioned("page.css", files)}"></head>', 1)
    if figures := _FIGURES.findall(html):
        # Where pages change without being loaded, what the last one computed must not be taken for this one's.
        files["figures.js"] = ";\n".join(["window.explorables = { from: document.currentScript.src }", *figures, 'dispatchEvent(new Event("figures"))'])
        first = f'<template id="figures" data-src="{_versioned("figures.js", files)}"></template>\n'  # explore.js asks for it as one comes near
        html = _FIGURES.sub(lambda _: first, html, count=1)
        html = _FIGURES.sub("", html)
    hashes = {"script-src": "", "style-src": ""}
    for kind, content in dict.fromkeys(_INLINE.findall(html)):
        hashes[f"{kind}-src"] += f" 'sha256-{_hash(content)}'"
    policy = "; ".join(f"{name} {sources}{hashes.get(name, '')}" for name, sources in HOLDS.items())
    charset = '<meta charset="utf-8">'
    first = f'{charset}\n<meta http-equiv="Content-Security-Policy" content="{policy}">'
    if "page.css" in files:
        first += f'\n<link rel="preload" as="style" href="{_versioned("page.css", files)}">' # before the sheets have come
    return html.replace(charset, first, 1), files


def _inlined(link: re.Match[str], html: str, read: Callable[[str], str], faces: list[str]) -> str:
    """What stands in a page for the link to a style sheet; its faces come into `faces`, where the page has formulas."""
    root, name = link.groups()
    if name.endswith("_mkdocstrings.css"):
        return link[0] if 'class="doc ' in html else ""
    sheet = re.sub(r"/\*.*?\*/", "", read(name), flags=re.S).strip()
    if 'class="katex' in html:
        folder = root + name.rpartition("/")[0]
        faces += [re.sub(r"url\((?!data:)", f"url({folder}/", face) for face in _FACE.findall(sheet)]
    return f"<style>{_FACE.sub('', sheet)}</style>"


def _classed(tag: str, sheet: dict[str, str]) -> str:
    """A tag with a class in the place of its style."""
    style = _STYLE.search(tag)
    if style is None:
        return tag
    tag, rules = _STYLE.sub("", tag, count=1), unescape(style[1]).strip().rstrip(";")
    if not rules:
        return tag
    name = sheet.setdefault(rules, f"_{len(sheet):x}")
    if _CLASS.search(tag):
        return _CLASS.sub(f' class="{name} ', tag, count=1)
    return re.sub(r"(\s*/?>)$", rf' class="{name}"\1', tag, count=1)


def _versioned(name: str, files: dict[str, str]) -> str:
    """The address of a file beside the page, another for another content: what a browser has kept may be older."""
    return f"{name}?{hashlib.sha256(files[name].encode()).hexdigest()[:8]}"


def _hash(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
