"""The Markdown extension that typesets TeX at build."""

import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import markdown
import pytest
from book import render, typeset
from book.typeset import convert, plain, source

ROOT = Path(__file__).parents[2]
TEX = r"""
\begin{aligned} a &= b + c \\ &= d \end{aligned}
\left( \frac{1}{2} \right]    \left. \frac{a}{b} \right|_{x=0}    \bigl( x \bigr)^2 \Bigl\{ y \Bigr\} \bigl\lVert z \bigr\rVert
\hat{x} \bar{x} \tilde{x} \dot{x} \ddot{x} \vec{x} \overline{x + y} \widehat{xy} \underline{x}
\underbrace{a + b}_{\text{bias}} \overbrace{a + b}^{n}
\operatorname{diag}(x) \operatorname*{argmin}_x f \operatorname*{arg\,min}_x f \text{if } x \text{50\% of it}
\mathbb{E} \mathcal{L} \mathbf{Ab} \boldsymbol{\theta} \boldsymbol{\Sigma} \mathrm{d} \mathrm{KL} \mathbb R \mathbf 1 \mathtt{lr}
\begin{cases} x & \text{if } x > 0 \\ 0 & \text{otherwise} \end{cases}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} \begin{bmatrix} \ddots \end{bmatrix} \begin{vmatrix} a \end{vmatrix}
\sqrt{x} \sqrt[3]{\frac{x}{y}} \sum_{i=1}^{n} \prod_i \int_0^1 \max_i \log_2 \lim_{h \to 0} \bigcup_k \lambda_{\max} \sigma^{\min}_{\max}
f' f'' w_t' f'^2 \lVert x \rVert \lvert x \rvert \| x \| x^\top \nabla f \odot \leftarrow \, \; \: \! \quad \qquad
\le \ge \leq \neq \approx \propto \sim \ldots \cdots \vdots \infty \partial \ll \in \mid \to \mapsto \implies \cdot \times
\kappa \lambda \rho \eta \alpha \beta \sigma \varepsilon \theta \Delta \ell \pm a / b \{1, 2\} \lfloor x \rfloor \langle x \rangle
\tfrac12 \dfrac{1}{2} \binom{n}{k} \overset{!}{=} \boxed{x} \sum_{\substack{i = 1 \\ i \ne j}} \pmod n a \bmod b
"""
ARGUMENTS = {"mfrac": 2, "mroot": 2, "msub": 2, "msup": 2, "munder": 2, "mover": 2, "msubsup": 3, "munderover": 3}
LONG = r"a_1 + b_1 + c_1 + d_1 + e_1 + f_1 = g_1"


def html(text: str, *extensions: str) -> str:
    return markdown.markdown(text, extensions=[typeset.makeExtension(), *extensions])


@pytest.mark.parametrize("display", [False, True])
@pytest.mark.parametrize("tex", TEX.strip().splitlines())
def test_constructs_become_wellformed_html_and_mathml(tex, display):
    root = ElementTree.fromstring(convert(tex, display=display))
    formula = root[0] if display else root
    assert (formula.tag, [part.get("class") for part in formula]) == ("var", ["katex-mathml", "katex-html"])
    assert formula[1].get("aria-hidden") == "true"
    math = formula[0][0]
    assert math.tag == "math" and math.findtext(".//annotation") == tex.strip()
    for node in math.iter():
        assert len(node) == ARGUMENTS.get(node.tag, len(node)), node.tag
    assert "\\" not in "".join(formula[1].itertext())


@pytest.mark.parametrize(
    ("tex", "reason"),
    [
        (r"\foo x", r"Undefined control sequence: \\foo at position 1"),
        (r"\mathfoo{x}", "Undefined control sequence"),
        (r"\frac{1}{2", "expected '}'"),
        (r"a}", "got '}'"),
        (r"\left( a", r"Expected '\\right'"),
        (r"a \right)", r"got '\\right'"),
        (r"\begin{cases} a", r"Expected '\\end'|Expected & or"),
        (r"\begin{cases} a \end{pmatrix}", "Mismatch"),
        (r"\begin{tikzcd} a \end{tikzcd}", "No such environment: tikzcd"),
        (r"a & b", "got '&'"),
        (r"\frac{1}", "end of input"),
        (r"\sqrt", "end of input"),
        (r"a_", "after '_'"),
        (r"x_a_b", "Double subscript"),
        (r"\mathfrak{g}", r"no font for \\mathfrak"),
        (r"\text{\textit{g}}", r"no font for \\textit"),
        (r"x \tag{1}", "display"),
        (r"\href{https://example.org}{x}", r"\\href is not allowed"),
        (r"x ½", "Unrecognized Unicode character"),
        (r"50 % of it", "comment"),
        ("", "empty"),
    ],
)
def test_bad_tex_fails_and_is_named(tex, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        convert(tex)
    assert repr(tex) in str(caught.value) and len(str(caught.value)) < 250


def test_bad_tex_fails_the_page():
    for text in (r"Here $\foo$ is.", "$$\n\\foo\n$$"):
        with pytest.raises(ValueError, match="Undefined control sequence"):
            html(text)


def test_display_math_scrolls_in_a_box_of_its_own():
    for text in ("$$\nx^2\n$$", "\\[x^2\\]", "$$x^2$$", "\\begin{align*}\na &= b \\tag{1}\n\\end{align*}"):
        box = ElementTree.fromstring(html(text))
        assert (box.tag, box.get("class"), box.get("tabindex"), box.get("role")) == ("div", "math", "0", "group")
        assert box.get("aria-label") == "equation"
        assert box.find(".//math").get("display") == "block"


def test_the_box_has_the_name_it_is_given():
    page = markdown.markdown("$$x$$", extensions=[typeset.makeExtension(label="Gleichung")])
    assert 'aria-label="Gleichung"' in page


def test_every_font_that_a_formula_may_ask_for_is_there():
    folder = ROOT / "docs/assets/katex"
    style = (folder / "katex.css").read_text()
    faces = re.findall("@font-face{([^}]*)}", style)
    assert {url for face in faces for url in re.findall(r"url\(([^)]*)\)", face)} == {path.name for path in folder.glob("*.woff2")}

    def font(rule):
        family = re.search("font-family:(KaTeX_[^;]*)", rule) or re.search("(KaTeX_Main)", "KaTeX_Main")
        return family[1], "font-weight:700" in rule, "font-style:italic" in rule

    there = {font(face) for face in faces}
    for names, rule in re.findall(r"((?:\.katex \.(?:math|text|bold)\w+,?)+)\{([^}]*)\}", style):
        for name in re.findall(r"\.katex \.(\w+)", names):
            assert (name in typeset.LEFT_OUT) == (font(rule) not in there), name


def test_a_formula_touches_its_comma_and_its_bracket():
    for text in ("Let ($x$, then", "Let ($x$), then", "Let “$x$”: then", "Let $k$-th then"):
        glued = ElementTree.fromstring(html(text)).findall("span")
        assert [span.get("class") for span in glued] == ["nobr"]
        assert source(ElementTree.tostring(glued[0], encoding="unicode").partition("</span> then")[0]).count("x") == text.count("x")
    assert "nobr" not in html("Let $x$ and *$y$*, then.")
    assert re.sub("<[^>]*>", "", source(html("Let ($x$, then $y$) be."))) == "Let (x, then y) be."


def test_a_long_formula_breaks_in_its_middle_only():
    page = html(f"So (${LONG}$), then.")
    parts = [re.sub("<[^>]*>|\u200b", "", part) for part in re.findall('<span class="katex-html".*?</var>', page)]
    assert parts == ["a1+", "b1+c1+d1+e1+f1=", "g1"]
    assert page.count("<math") == 1 and page.count('class="nobr"') == 2
    assert re.sub("<[^>]*>", "", source(page)) == f"So ({LONG}), then."


def test_short_formulas_and_brackets_stay_whole():
    def pieces(tex):
        return [re.sub("<[^>]*>|\u200b", "", piece) for piece in typeset._set(tex, False)[1]]

    assert pieces(r"\beta_2 = 0.999") == ["β2=0.999"]
    assert pieces("x_0 = (1 + a) / (1 - a) + (1 + b)") == ["x0=", "(1+a)/(1−a)+", "(1+b)"]
    assert pieces(r"a = b, \qquad c = d") == ["a=b,", "", "c=d"]


def test_no_space_slips_in_behind_a_formula():
    assert "</var></strong>," in html("So **$x$**, then.")


def test_code_is_left_alone():
    assert "<math" not in html("Write `$x$` and `\\(x\\)`.\n\n    $y$\n")
    assert "<math" not in html("```\n$$\nx\n$$\n```", "pymdownx.superfences")


def test_dollars_that_are_not_math():
    assert html(r"It is 5\$ or \$6.") == "<p>It is 5$ or $6.</p>"
    assert html("It costs $5 and $6.") == "<p>It costs $5 and $6.</p>"
    assert html("It costs $5-$6.") == "<p>It costs $5-$6.</p>"


def test_display_math_inside_a_paragraph_fails():
    with pytest.raises(ValueError, match="paragraph of its own"):
        html("Text $$x$$ text.")


@pytest.mark.parametrize(
    "text",
    [
        "!!! note\n    Inline $x$.\n\n    $$\n    y\n    $$\n",
        "??? note\n    Inline \\(x\\).\n\n    \\[y\\]\n",
        '=== "Tab"\n\n    Inline $x$.\n\n    $$y$$\n',
        "- Inline $x$\n\n    $$\n    y\n    $$\n",
        "Note[^1] $x$.\n\n[^1]:\n    Text.\n\n    $$y$$\n",
        "> Inline $x$\n>\n> $$y$$\n",
        "| a | b |\n|---|---|\n| $x$ | $\\lVert y \\rVert$ |\n",
        '<div markdown="block">\n<div markdown="span">$x$</div>\n<div markdown="span">why $y$</div>\n</div>\n',
    ],
)
def test_math_inside_other_blocks(text):
    extensions = ["admonition", "pymdownx.details", "pymdownx.tabbed", "footnotes", "tables", "md_in_html", "pymdownx.superfences"]
    page = html(text, *extensions)
    assert re.findall("<annotation[^>]*>([^<]*)<", page) in (["x", "y"], ["x", r"\lVert y \rVert"])
    assert "$" not in page and "\x02" not in page


def test_a_derivation_is_a_grid_of_three_columns():
    rows = [["f(w)", r"\le", "2w + 1", "the slope $f$"], ["", "=", "y", "named"]]
    grid = ElementTree.fromstring(html(render._derivation(rows), "md_in_html"))
    assert (grid.get("class"), grid.get("tabindex"), grid.get("role")) == ("derivation", "0", "group")
    assert [len(cell.findall(".//math")) for cell in grid] == [1, 1, 1, 0, 1, 0]
    assert [cell.get("class") for cell in grid] == [None] * 6
    assert (grid[3].text, len(grid[3])) == (None, 0)  # the style sheet asks for `:empty`


def test_equations_in_a_derivation_take_its_whole_width():
    rows = [["f(w)", "=", "0", "given"], ["", r"\iff", "w = x + x", "solved"], ["", "=", "2x", "added"]]
    grid = ElementTree.fromstring(html(render._derivation(rows), "md_in_html"))
    assert [cell.get("class") for cell in grid] == [None, "equation", None] * 2 + [None] * 3
    assert [source(ElementTree.tostring(cell[0], encoding="unicode")) for cell in grid if len(cell)] == [
        r"\displaystyle f(w) = 0", r"\displaystyle \iff w = x + x", r"\displaystyle {}= 2x",
    ]  # fmt: skip


def test_headings_read_well_in_the_table_of_contents():
    md = markdown.Markdown(extensions=[typeset.makeExtension(), "toc"])
    page = md.convert("## Why $\\beta_1^t$ & *not* $\\frac{1}{1 - \\rho}$\n\n## $\\sqrt{\\hat{v}_t} \\le 2$\n\n## So $w'$\n\n## So $w'$\n")
    assert [token["name"] for token in md.toc_tokens] == ["Why β_1^t &amp; not 1/(1 − ρ)", "√(v\u0302_t) ≤ 2", "So w′", "So w′"]
    assert [token["id"] for token in md.toc_tokens][2:] == ["so-w", "so-w_1"]
    assert page.count("<math") == 5
    assert plain(r"x \in \mathbb{R}^n") == "x ∈ R^n"


def test_output_is_deterministic_and_keeps_the_source():
    text = "$a < b$ and\n\n\\begin{align*}\na &= b \\tag{1}\n\\end{align*}\n"
    assert html(text) == html(text)
    assert re.findall("<annotation[^>]*>(.*?)</annotation>", html(text), re.S)[0] == "a &lt; b"
    shown = unescape(re.sub("<[^>]*>", "", source(html(text))))
    assert shown == "a < b and\n\\begin{align*} a &= b \\tag{1} \\end{align*}"


def test_a_process_that_typeset_something_ends():
    code = "from book import typeset; print(len(typeset.convert('x')) > 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr, done.returncode) == ("True\n", "", 0)


def test_a_long_signs_outline_is_written_once():
    formulas = [typeset.convert(tex) for tex in (r"\sqrt{x}", r"\sqrt{y} + \sqrt{\frac{a}{b}}", r"\sqrt{z}")]
    page = typeset.shared("<p>".join(formulas))
    outlines = re.findall(r'<path id="(sign-\d)" d="[^"]+"/>', page)
    assert outlines == ["sign-0", "sign-1"] and page.count("<path") == 2
    assert re.findall(r'<use xlink:href="#(sign-\d)"/>', page) == ["sign-0", "sign-0"]
    for name in outlines:  # as a browser would, and it is the page again
        path = re.search(f'<path id="{name}"( d="[^"]+"/>)', page)[1]
        page = page.replace(f'<use xlink:href="#{name}"/>', f"<path{path}").replace(f' id="{name}"', "")
    assert page == "<p>".join(formulas)
