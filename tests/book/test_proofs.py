"""What is false is found; what is true passes."""

import pytest
from book import proofs
from book.latex import Names, Reader
from book.proofs import RELATIONS, Unproved

NAMES = Names(positive=frozenset({r"\alpha", r"\lambda", r"\rho", "L"}), functions=frozenset({"f"}))


def said(text: str):
    left, relation, right = text.split(" ? ")[0], text.split(" ? ")[1], text.split(" ? ")[2]
    return Reader(left, NAMES).whole(), RELATIONS[relation], Reader(right, NAMES).whole()


@pytest.mark.parametrize("text", [
    r"(x + y)^2 ? = ? x^2 + 2xy + y^2",
    r"\sqrt{\alpha^2} ? = ? \alpha",
    r"(1-\beta)\sum_{i=1}^{t} \beta^{t-i} ? = ? 1 - \beta^t",
    r"\sum_{i=1}^{t+1}\beta^{t+1-i} g_i ? = ? \beta\sum_{i=1}^{t}\beta^{t-i} g_i + g_{t+1}",
    r"\sin^2 x + \cos^2 x ? = ? 1",
    r"f(w_t) - f(w_t) ? = ? 0",
    r"f(w_t) + w_t^2 - f(w_t) ? = ? w_t^2",
    r"2xy ? \le ? x^2 + y^2",
    r"\rho ? > ? 0",
    r"0.667 ? \approx ? \frac{2}{3}",
])  # fmt: skip
def test_true(text):
    proofs.check(said(text))


@pytest.mark.parametrize("text", [
    r"(x + y)^2 ? = ? x^2 + xy + y^2",
    r"\sqrt{x^2} ? = ? x",
    r"(1-\beta)\sum_{i=1}^{t} \beta^{t-i} ? = ? 1 - \beta^{t+1}",
    r"f(w_t) ? = ? f(w_{t+1})",
    r"f(w_t) + w_t^2 ? = ? f(w_t) + w_t",
    r"2xy ? \le ? x^2 - y^2",
    r"\rho ? < ? 1",
    r"0.7 ? \approx ? \frac{2}{3}",
    r"x ? = ? x + 10^{-9}",
    r"1/0 ? = ? 1/0",
])  # fmt: skip
def test_false(text):
    with pytest.raises(Unproved):
        proofs.check(said(text))


def test_an_inequality_may_need_its_assumptions():
    statement = said(r"\rho^2 ? < ? \rho")
    proofs.check(statement, [said(r"\rho ? < ? 1")])
    with pytest.raises(Unproved, match="fails at"):
        proofs.check(statement)
    with pytest.raises(Unproved, match="at none of the points"):
        proofs.check(statement, [said(r"\rho ? < ? 0")])


def test_an_approximation_needs_its_place():
    near = (Reader("x", NAMES).whole(), Reader("0", NAMES).whole())
    proofs.check(said(r"\sin x ? \approx ? x"), near=near)
    with pytest.raises(Unproved, match="tend to one"):
        proofs.check(said(r"\sin x ? \approx ? 2x"), near=near)
    with pytest.raises(Unproved, match="near x = 0"):
        proofs.check(said(r"\sin x ? \approx ? x"))


def test_one_equation_follows_from_another():
    premise = said(r"m\,\frac{w_{t+1} - 2w_t + w_{t-1}}{h^2} ? = ? -g_t")
    proofs.follows(said(r"w_{t+1} ? = ? 2 w_t - w_{t-1} - \frac{h^2}{m} g_t"), premise, both_ways=True)
    with pytest.raises(Unproved, match="does not follow"):
        proofs.follows(said(r"w_{t+1} ? = ? 2 w_t - w_{t-1} + \frac{h^2}{m} g_t"), premise)
    proofs.follows(said(r"\rho L ? < ? 1"), said(r"L ? < ? \frac{1}{\rho}"), both_ways=True)
    with pytest.raises(Unproved, match="does not follow"):
        proofs.follows(said(r"\rho L ? < ? 2"), said(r"L ? < ? \frac{1}{\rho}"), both_ways=True)


def test_where_one_unknown_cannot_be_solved_for_another_may():
    between = [said(r"0 ? < ? L"), said(r"L ? < ? 1")]
    premise = said(r"\frac{d}{dx}(x L^x) ? = ? 0")  # SymPy breaks off when it is asked for L
    proofs.follows(said(r"L^x(1 + x\ln L) ? = ? 0"), premise, between, both_ways=True)
    with pytest.raises(Unproved, match="does not follow"):
        proofs.follows(said(r"L^x(1 - x\ln L) ? = ? 0"), premise, between, both_ways=True)
