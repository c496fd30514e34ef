"""The policy of a page: what it forbids is not there, and what is there looks and runs as before."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import py_mini_racer
import pytest
from book import policy

HEAD = '<head><meta charset="utf-8"></head>'
SHEETS = {"assets/stylesheets/main.0a1b.min.css": "/* licence */b{top:0}", "assets/_mkdocstrings.css": "p{top:1px}",
          "assets/katex/katex.css": '@font-face{font-family:A;src:url(A.woff2) format("woff2")}i{top:2px}/*# sourceMappingURL=katex.map */\n'}


class Seen(HTMLParser):
    """The tags of a page with their attributes, and its scripts."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.scripts, self.inside = [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag == "script"

    def handle_data(self, data):
        if self.inside:
            self.scripts.append(data)

    def handle_endtag(self, tag):
        self.inside = False


def kept(body):
    html, files = policy.kept(HEAD + body, SHEETS.__getitem__)
    return Seen(html), files, html


@pytest.mark.parametrize(("tag", "classes", "others"), [
    ('<b style="top:0">', 1, {}),
    ('<b class="x y" style="top:0">', 3, {}),
    ('<b style="top:0" class="x y" id="i">', 3, {"id": "i"}),
    ('<path d="M 0 0" style="fill: none; stroke: #0072b2"/>', 1, {"d": "M 0 0"}),
    ('<br style="top:0" />', 1, {}),
    ('<b title="a > b" style="top:0" data-x="<i>">', 1, {"title": "a > b", "data-x": "<i>"}),
    ('<b data-style="top:0">', 0, {"data-style": "top:0"}),
    ('<b title=" style=">', 0, {"title": " style="}),
    ('<b style="">', 0, {}),
])
def test_a_style_becomes_a_class_and_the_rest_stays(tag, classes, others):
    seen, files, _ = kept(tag)
    name, attrs = seen.tags[-1]
    assert tag.startswith(f"<{name}") and "style" not in attrs
    assert len((attrs.pop("class", "") or "").split()) == classes and attrs == others
    assert ("page.css" in files) is bool(re.search(r'\sstyle="[^"]', tag) and classes)


def test_like_styles_share_a_class_and_others_do_not():
    seen, files, _ = kept('<b style="top:0"></b><i style="top:0;"></i><u style="top:1px"></u><s style="content:&quot;a&quot;"></s>')
    one, two, three, four = (dict(attrs)["class"] for _, attrs in seen.tags[-4:])
    assert one == two != three
    assert files["page.css"].splitlines() == [f"{f'.{name}' * 4}{{{rules}}}" for name, rules in ((one, "top:0"), (three, "top:1px"), (four, 'content:"a"'))]


def test_the_blanks_of_the_theme_go_and_those_of_the_text_stay():
    text = "<article><pre>a\n  b\n\n</pre></article>"
    assert kept(f"\n\n  <nav>\n    <b>c</b> d\n</nav> {text}\n\n  <script>\n  x = 1\n  // y\n  </script>\n")[2].endswith(
        f"<nav>\n<b>c</b> d\n</nav> {text}\n<script>\nx = 1\n// y\n</script>\n")


def test_code_that_is_no_markup_is_left():
    body = '<script>x = \'<b style="top:0">\'</script><template><b style="top:0"></b></template><textarea><b style="top:0"></textarea>'
    _, files, html = kept(body)
    assert body in html and not files


def test_scripts_are_named_by_their_hashes_and_those_of_figures_lie_beside_the_page():
    figures = [f'<script>(window.explorables ??= {{}})["play-{n}"] = {{"a": 1}}</script>' for n in "ab"]
    theme = "var target = 1\n"
    data = '<script type="application/json">{"b": 2}</script>'
    seen, files, html = kept(f"{figures[0]}\n<div></div><script>{theme}</script>{data}{figures[1]}")
    assert seen.scripts == [theme, '{"b": 2}']
    assert [line.split(" = ")[0] for line in files["figures.js"].split(";\n")[1:-1]] == [f'(window.explorables ??= {{}})["play-{n}"]' for n in "ab"]
    with py_mini_racer.MiniRacer() as context:
        context.eval('var window = { explorables: { "play-old": 1 } }, document = { currentScript: { src: "here" } }, told = []; class Event { constructor(type) { told.push(type) } }')
        context.eval(f"var dispatchEvent = () => {{}}; {files['figures.js']}")
        assert context.eval("[...Object.keys(window.explorables), window.explorables.from, ...told].join()") == "from,play-a,play-b,here,figures"
    sources = next(attrs["content"] for tag, attrs in seen.tags if "http-equiv" in attrs)
    assert re.findall(r"'sha256-([^']*)'", sources) == [base64.b64encode(hashlib.sha256(theme.encode()).digest()).decode()]
    assert "unsafe-inline" not in sources and html.count('data-src="figures.js?') == 1
    other = policy.kept(HEAD + figures[0], SHEETS.__getitem__)[0]
    assert re.search(r'figures\.js\?(\w+)', html)[1] != re.search(r'figures\.js\?(\w+)', other)[1]


def test_the_policy_stands_right_behind_the_charset():
    assert kept("")[2].startswith('<head><meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" content="default-src \'self\'; ')


@pytest.mark.parametrize("reference", [False, True])
@pytest.mark.parametrize("formulas", [False, True])
def test_sheets_come_in_the_page_but_for_their_faces(formulas, reference):
    links = "".join(f'<link rel="stylesheet" href="../{name}">\n' for name in SHEETS)
    body = '<b style="top:0">' + '<var class="katex">' * formulas + '<div class="doc doc-object">' * reference
    html, files = policy.kept(f'<head><meta charset="utf-8"><title>t</title>{links}</head>{body}', SHEETS.__getitem__)
    styles = ["b{top:0}", "i{top:2px}"] # the same in every page
    page = re.search(r'href="(page\.css\?\w+)"', html)[1]
    assert re.findall(r"<style>.*?</style>|<link[^>]*>", html) == [
        f'<link rel="preload" as="style" href="{page}">', f"<style>{styles[0]}</style>", *['<link rel="stylesheet" href="../assets/_mkdocstrings.css">'] * reference,
        f"<style>{styles[1]}</style>", f'<link rel="stylesheet" href="{page}">']
    hashes = "".join(f" 'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'" for style in styles)
    assert f"style-src 'self'{hashes};" in html
    face = '@font-face{font-family:A;src:url(../assets/katex/A.woff2) format("woff2")}\n'
    assert list(files) == ["page.css"] and files["page.css"].startswith(face) is formulas and files["page.css"].endswith("{top:0}")
