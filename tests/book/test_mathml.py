"""The Markdown extension that turns TeX into MathML at build."""

import re
from xml.etree import ElementTree

import markdown
import pytest
from book import mathml
from book.tex import convert

TEX = r"""
\begin{aligned} a &= b + c \\ &= d \end{aligned}
\left( \frac{1}{2} \right]    \left. \frac{a}{b} \right|_{x=0}    \bigl( x \bigr)^2 \Bigl\{ y \Bigr\} \bigl\lVert z \bigr\rVert
\hat{x} \bar{x} \tilde{x} \dot{x} \ddot{x} \vec{x} \overline{x + y} \widehat{xy} \underline{x}
\underbrace{a + b}_{\text{bias}} \overbrace{a + b}^{n}
\operatorname{diag}(x) \operatorname*{argmin}_x f \operatorname*{arg\,min}_x f \text{if } x \text{50\% of it}
\mathbb{E} \mathcal{L} \mathbf{Ab} \boldsymbol{\theta} \boldsymbol{\Sigma} \mathrm{d} \mathrm{KL} \mathbb R \mathbf 1
\begin{cases} x & \text{if } x > 0 \\ 0 & \text{otherwise} \end{cases}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} \begin{bmatrix} \ddots \end{bmatrix} \begin{vmatrix} a \end{vmatrix}
\sqrt{x} \sqrt[3]{\frac{x}{y}} \sum_{i=1}^{n} \prod_i \int_0^1 \max_i \log_2 \lim_{h \to 0} \bigcup_k
f' f'' w_t' f'^2 \lVert x \rVert \lvert x \rvert \| x \| x^\top \nabla f \odot \leftarrow \, \; \: \! \quad \qquad
\le \ge \leq \neq \approx \propto \sim \ldots \cdots \vdots \infty \partial \ll \in \mid \to \mapsto \implies \cdot \times
\kappa \lambda \rho \eta \alpha \beta \sigma \varepsilon \theta \Delta \ell \pm a / b \{1, 2\} \lfloor x \rfloor \langle x \rangle
\tfrac12 \dfrac{1}{2} \binom{n}{k} \overset{!}{=} \boxed{x} \sum_{\substack{i = 1 \\ i \ne j}} \pmod n a \bmod b
"""


def html(text: str, *extensions: str) -> str:
    return markdown.markdown(text, extensions=[mathml.makeExtension(), *extensions])


def formula(tex: str, *, display: bool = False) -> ElementTree.Element:
    return ElementTree.fromstring(convert(tex, display=display))


@pytest.mark.parametrize("display", [False, True])
@pytest.mark.parametrize("tex", TEX.strip().splitlines())
def test_constructs_become_wellformed_mathml(tex, display):
    root = formula(tex, display=display)
    math = root.find("math") if display else root
    assert math.get("alttext") == " ".join(tex.split())
    assert math.get("display") == ("block" if display else "inline")
    text = "".join(math.itertext())
    assert text and not set(text) & set("\\&\ue000"), text
    variants = {node.get("mathvariant", "normal") for node in math.iter()}
    assert variants == {"normal"}  # browsers know no other


@pytest.mark.parametrize(
    ("tex", "reason"),
    [
        (r"\foo x", r"unknown command \\foo"),
        (r"\mathfoo{x}", r"unknown command \\mathfoo"),
        (r"\frac{1}{2", "unbalanced braces"),
        (r"a}", "unbalanced braces"),
        (r"}a{", "unbalanced braces"),
        (r"\left( a", "ExtraLeft"),
        (r"a \right)", "ExtraLeft"),
        (r"\begin{cases} a", "no .end"),
        (r"\begin{cases} a \end{pmatrix}", "does not match"),
        (r"\begin{tikzcd} a \end{tikzcd}", "unknown environment 'tikzcd'"),
        (r"\begin{align} a \end{align}", "unknown environment 'align'"),
        (r"a & b", "misplaced &"),
        (r"\frac{1}", "argument"),
        (r"\sqrt", "bad TeX"),
        (r"a_", "bad TeX"),
        (r"x_a_b", "DoubleSubscripts"),
        (r"\operatorname{log1p} x", "letters"),
        (r"\cancel{x}", "boxed"),
        (r"\mathfrak{g}", "fraktur"),
        (r"\begin{array}{c|c} a & b \end{array}", "lines"),
        (r"x \tag{1}", "display"),
        ("", "empty"),
    ],
)
def test_bad_tex_fails_and_is_named(tex, reason):
    with pytest.raises(ValueError, match=reason) as caught:
        convert(tex)
    assert repr(tex) in str(caught.value)


def test_bad_tex_fails_the_page():
    with pytest.raises(ValueError, match="unknown command"):
        html(r"Here $\foo$ is.")


def test_display_math_scrolls_in_a_box_of_its_own():
    for source in ("$$\nx^2\n$$", "\\[x^2\\]", "$$x^2$$"):
        box = ElementTree.fromstring(html(source))
        assert (box.tag, box.get("class"), box.get("tabindex"), box.get("role")) == ("div", "math", "0", "group")
        assert box.get("aria-label")
        assert box.find("math").get("display") == "block"


def test_align_has_right_and_left_columns():
    root = ElementTree.fromstring(html("\\begin{align*}\na &= b \\\\\n &= c\n\\end{align*}"))
    rows = root.findall(".//mtr")
    assert [[cell.get("class") for cell in row] for row in rows] == [["r", "l"], ["r", "l"]]
    assert convert(r"\begin{aligned} a &= b \end{aligned}").replace("aligned}", "align*}") == convert(
        r"\begin{align*} a &= b \end{align*}"
    )


def test_tags_stand_in_a_last_column():
    one = formula(r"x = y \tag{3}", display=True)
    assert [cell.get("class") for cell in one.find(".//mtr")] == ["pad", None, "tag"]
    assert "".join(one.find(".//mtd[@class='tag']").itertext()) == "(3)"
    two = formula(r"\begin{align*} a &= b \tag{1} \\ c &= d \\ e \tag{2a} \end{align*}", display=True)
    cells = [row.findall("mtd") for row in two.findall(".//mtr")]
    assert {len(row) for row in cells} == {4}
    assert ["".join(row[-1].itertext()) for row in cells] == ["(1)", "", "(2a)"]
    with pytest.raises(ValueError, match="end of an equation"):
        convert(r"\frac{x \tag{1}}{2}", display=True)


def test_spacing_follows_tex():
    def spaces(tex, operator):
        node = next(node for node in formula(tex).iter("mo") if node.text == operator)
        return node.get("lspace"), node.get("rspace")

    assert spaces("a - b", "−") == (None, None)  # a browser's own spaces
    for sign in ("-b", "(-b)", "a = -b", "a, -b", r"\log -b", r"x^{a - b}"):
        assert spaces(sign, "−") == ("0em", "0em"), sign
    assert spaces(r"2 \log x", "log") == ("0.167em", "0.167em")
    assert spaces(r"\log(x)", "log") == ("0em", "0em")
    assert spaces(r"\sum_{i=1} x", "=") == ("0em", "0em")
    assert spaces("|x|", "|") == ("0em", "0em")


def test_letters_and_limits():
    assert "".join(formula(r"\mathbf{w}\mathcal{L}\mathbb{R}\boldsymbol{\theta}\boldsymbol{\Sigma}").itertext()) == "𝐰ℒℝ𝜽𝚺"
    assert [(node.text, node.get("mathvariant")) for node in formula(r"\Delta x \mathrm{d} \nabla").iter("mi")] == [
        ("Δ", "normal"),
        ("x", None),
        ("d", "normal"),
        ("∇", "normal"),
    ]
    assert formula(r"\sum_i^n x").find(".//munderover") is not None
    assert formula(r"\max_i x").find(".//munder") is not None
    assert formula(r"\int_0^1 x").find(".//msubsup") is not None
    assert formula(r"\mathrm{Var} x").find(".//mi").text == "Var"


def test_matrices_and_brackets_stretch_by_themselves():
    rows = [row for row in formula(r"\begin{pmatrix} a \\ b \end{pmatrix} (x) |y|").iter("mrow") if row.find("mtable") is not None]
    assert [child.tag for child in rows[0]] == ["mo", "mtable", "mo"]
    stretchy = {node.text: node.get("stretchy") for node in formula("(x) |y|").iter("mo")}
    assert stretchy == {"(": "false", ")": "false", "|": "false"}


def test_no_space_slips_in_behind_a_formula():
    assert "</math></strong>," in html("So **$x$**, then.")


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
    "source",
    [
        "!!! note\n    Inline $x$.\n\n    $$\n    y\n    $$\n",
        "??? note\n    Inline \\(x\\).\n\n    \\[y\\]\n",
        '=== "Tab"\n\n    Inline $x$.\n\n    $$y$$\n',
        "- Inline $x$\n\n    $$\n    y\n    $$\n",
        "Note[^1] $x$.\n\n[^1]:\n    Text.\n\n    $$y$$\n",
        "> Inline $x$\n>\n> $$y$$\n",
        "| a | b |\n|---|---|\n| $x$ | $\\lVert y \\rVert$ |\n",
    ],
)
def test_math_inside_other_blocks(source):
    page = html(source, "admonition", "pymdownx.details", "pymdownx.tabbed", "footnotes", "tables", "pymdownx.superfences")
    assert re.findall(r'<math alttext="([^"]*)"', page) in (["x", "y"], ["x", r"\lVert y \rVert"])
    assert "$" not in page


def test_headings_read_well_in_the_table_of_contents():
    md = markdown.Markdown(extensions=[mathml.makeExtension(), "toc"])
    page = md.convert("## Why $\\beta_1^t$ & *not* $\\frac{1}{1 - \\rho}$\n\n## $\\sqrt{\\hat{v}_t} \\le 2$\n")
    assert [token["name"] for token in md.toc_tokens] == ["Why β_1^t &amp; not 1/(1 − ρ)", "√(v\u0302_t) ≤ 2"]
    assert page.count("<math") == 3


def test_output_is_deterministic_and_keeps_the_source():
    source = "$a < b$ and\n\n\\begin{align*}\na &= b \\tag{1}\n\\end{align*}\n"
    assert html(source) == html(source)
    assert 'alttext="a &lt; b"' in html(source)


def test_the_box_has_the_name_it_is_given():
    page = markdown.markdown("$$x$$", extensions=[mathml.makeExtension(label="Gleichung")])
    assert 'aria-label="Gleichung"' in page


def test_a_formula_keeps_its_comma():
    html = markdown.markdown("Let $x$, then *$y$*. And $z$ is.", extensions=["book.mathml"])
    assert html.count('class="nobr"') == 1 and "</math>,</span> then" in html and "</math></em>." in html
