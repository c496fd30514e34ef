"""LaTeX as an author writes it, read as SymPy."""

import pytest
import sympy as sp
from book.latex import Names, Reader, Unreadable

NAMES = Names(positive=frozenset({r"\alpha", r"\lambda", r"\rho"}), functions=frozenset({"f"}), random=frozenset({"g", "m"}))
alpha, lam, rho = (sp.Symbol(rf"\{name}", positive=True) for name in ("alpha", "lambda", "rho"))
x, y = sp.symbols("x y", real=True)
i, t = sp.symbols("i t", integer=True)
w, g, beta = (sp.IndexedBase(name, real=True) for name in ("w", "g", r"\beta"))


def read(tex: str, names: Names = NAMES):
    return Reader(tex, names).whole()


@pytest.mark.parametrize(("tex", "expected"), [
    (r"\frac{1}{2}\lambda w_t^2", lam * w[t] ** 2 / 2),
    (r"\tfrac12 x", x / 2),
    (r"x^23", 3 * x**2),
    (r"w_{t+1} - w_t", w[t + 1] - w[t]),
    (r"\sqrt{\alpha\lambda}", sp.sqrt(alpha * lam)),
    (r"\sqrt[3]{x}", x ** sp.Rational(1, 3)),
    (r"\bigl(1-\sqrt\rho\bigr)^2", (1 - sp.sqrt(rho)) ** 2),
    (r"\left|1 - \alpha\,\lambda\right|", sp.Abs(1 - alpha * lam)),
    (r"-\ln 2/{-\ln\rho}", sp.log(2) / sp.log(rho)),
    (r"10{,}000 \times 0.5", sp.Integer(5000)),
    (r"e^{-x} + \exp(-x)", 2 * sp.exp(-x)),
    (r"(1-\beta_1)\sum_{i=1}^{t}\beta_1^{t-i} g_i", (1 - beta[1]) * sp.Sum(beta[1] ** (t - i) * g[i], (i, 1, t))),
    (r"\frac{d}{dx} x^3", 3 * x**2),
    (r"\lim_{x \to 0} \frac{\sin x}{x}", sp.Integer(1)),
    (r"\begin{pmatrix} 1 & x \\ 0 & 2 \end{pmatrix}^{-1}", sp.Matrix([[1, -x / 2], [0, sp.Rational(1, 2)]])),
    (r"\det \begin{pmatrix} x & 1 \\ 1 & y \end{pmatrix}", x * y - 1),
    (r"\max(x, y)", sp.Max(x, y)),
    (r"3!", sp.Integer(6)),
])  # fmt: skip
def test_reads(tex, expected):
    assert sp.simplify(read(tex) - expected) == sp.simplify(expected - expected)


@pytest.mark.parametrize(("one", "other"), [
    (r"w_t", r"w_{t+1}"), (r"\hat m_t", r"m_t"), (r"w^*", r"w"), (r"v_{\text{inside}}", r"v_{\text{outside}}"), (r"w_{ij}", r"w_{ji}"),
    (r"f'", "f''"), (r"\dot w", r"\ddot w"), (r"\mathbf{x}", "x"), (r"w^{(k)}", "w^{(j)}"),
])  # fmt: skip
def test_names_differ_by_accent_index_and_mark(one, other):
    assert read(one) != read(other)


@pytest.mark.parametrize("tex", [
    "a/bc", "x +", r"\frac{1}", r"\foo x", "(x", "x)", r"\sum_i x", "1 + \\begin{pmatrix} 1 \\end{pmatrix}", "", r"x \approx y", "|x", r"\sqrt", "x_",
])  # fmt: skip
def test_what_has_no_certain_meaning_is_refused(tex):
    with pytest.raises(Unreadable):
        read(tex)


def test_a_function_without_its_argument_is_refused():
    names = NAMES.child()
    names.say("q", lambda x: x**2)
    with pytest.raises(Unreadable, match="cannot be computed"):
        read("q + 1", names)


def test_brackets_are_a_product_unless_the_name_is_a_function():
    assert read("f(x)") == sp.Function("f", real=True)(x)
    assert read("x(y + 1)") == x * (y + 1)


def test_a_name_takes_its_value_and_a_series_its_index():
    names = Names()
    names.say(r"\rho", 0.75)
    names.say("E_t", Reader("w_t^2 + t", names).whole(), python=False)
    assert read(r"\rho", names) == sp.Rational(3, 4)
    assert read("E_{t+1}", names) == w[t + 1] ** 2 + t + 1
    assert names.used == {r"\rho", "E"}


def test_symbols_of_the_page_are_the_same_symbols():
    page = sp.symbols("alpha w_{t+1} beta1 g_1", positive=True)
    names = NAMES.child()
    names.say("y", sum(page))
    assert read("y", names) == read(r"\alpha + w_{t+1} + \beta_1 + g_1")


def test_an_expectation_is_taken_term_by_term():
    names = NAMES.child()
    names.say(r"\mathrm{E}[m]", sp.Rational(1, 4))
    names.say(r"\mathrm{E}[m^2]", sp.Rational(1, 4))
    assert read(r"\mathrm{E}[m x + y]", names) == x / 4 + y
    assert sp.simplify(read(r"\operatorname{Var}[m x]", names) - sp.Rational(3, 16) * x**2) == 0
    assert read(r"\mathrm{E}[\sum_{i=1}^{t} x^i g_i]", names) == sp.Sum(x**i * sp.Function("E")(g[i]), (i, 1, t))


def test_products_of_matrices_and_vectors():
    names = NAMES.child()
    names.say("H", sp.Matrix([[2, 1], [1, 3]]))
    names.say("d", sp.Matrix([1, 2]))
    assert read(r"d \cdot H d", names) == 18
    assert read(r"d^\top H d", names) == 18
    assert read(r"\lVert d \rVert^2", names) == 5
    with pytest.raises(Unreadable, match="shapes"):
        read("d H", names)
