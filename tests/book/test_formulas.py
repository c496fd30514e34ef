"""Formulas and derivations of a page: what is loose, false or unread is found, with its line."""

import re

import pytest
import sympy as sp
from book import formulas
from book.page import Page

FRONT = """---
title: Small
edition: 2
formulas:
  positive: \\alpha \\rho
  random: g_i
---
"""
SPACE = {"total": 1 + sp.Symbol("x"), "best": 0.5, "three": sum(sp.symbols("g_1:4"))}


def faults(text: str, edition: int = 2, **names) -> list[str]:
    front = FRONT if edition == 2 else FRONT.replace("edition: 2\n", "")
    return formulas.faults(Page.parse(front + text), SPACE | names)


SOUND = """
$$ (x + 1)^2 = x^2 + 2x + 1 $$<!--= holds -->

$$ E_t = w_t^2 $$
<!--: definition -->

Behind words $x + 1$<!--= is total --> and $\\rho = \\frac{1}{4} + \\frac{1}{4}$<!--= holds with \\rho = best -->, for $t = 0$ and $\\rho < 1$, and $\\alpha x > 1$.

$$ \\rho^2 < \\rho, \\qquad 0 < \\rho $$<!--= holds if \\rho < 1 -->

$$ \\alpha \\to \\beta $$<!--: Polyak 1964, eq. 9 -->

```derivation
E_{t+1} - E_t = w_{t+1}^2 - w_t^2      % by its definition
    = (w_{t+1} - w_t)(w_{t+1} + w_t)   % a difference of squares
```

```derivation
with m_3 = three; w_{t+1} = $w_t - \\alpha g_t$
m_3 = g_1 + g_2 + g_3                  % three steps
    \\le |g_1| + |g_2| + |g_3|         % no number exceeds its size
```

```derivation
define S = x + 1    % call the sum S
    = 1 + x         % the terms in another order
```

$$ S^2 = (1 + x)^2 $$<!--= holds -->

```derivation
w_{t+1} = w_t - \\alpha g_t              % the rule
\\iff g_t = \\frac{w_t - w_{t+1}}{\\alpha} % solve for the slope
```

```derivation
near x = 0
\\sin x \\approx x              % the first term of the series
    = \\frac{2x}{2}            % as a fraction
```
"""


def test_a_sound_page():
    assert faults(SOUND) == []


def test_the_first_edition_may_have_loose_formulas_but_no_false_claim():
    assert faults("$$ a = b^2 $$", edition=1) == []
    assert len(faults("$$ a = b^2 $$<!--= holds -->", edition=1)) == 1


@pytest.mark.parametrize(("text", "said"), [
    ("$$ a = b^2 $$", "loose"),
    ("that $a = b^2$ is", "loose"),
    ("that $|1 - \\alpha| > \\sqrt\\rho$ is", "loose"),
    ("$$ (x + 1)^2 = x^2 + 3x + 1 $$<!--= holds -->", "not equal"),
    ("$$ (x + 1)^3 = x^2 + 2x + 1 $$<!--= holds -->", "not equal"),
    ("$$ x + 2 $$<!--= is total -->", "not equal"),
    ("$$ \\rho = 0.6 $$<!--= holds with \\rho = best -->", "not equal"),
    ("$$ \\rho = 0.6 $$<!--= holds with \\rho = nothing -->", "NameError"),
    ("$$ \\rho^2 < \\rho $$<!--= holds -->", "fails at"),
    ("$$ E_t = w_t^2 $$<!--: definition -->", "no later formula uses"),
    ("$$ x + 1 $$<!--: definition -->", "needs a name"),
    ("$$ a = b $$<!--: because -->", "no source with its year"),
    ("$$ a = b $$<!--= 1 < 2 -->", "says nothing of a formula"),
    ("$$ x $$<!--= holds -->", "states nothing"),
    ("$$ a/bc = 1 $$<!--= holds -->", "not clear"),
    ("```derivation\nm_3 = g_1 + g_2 % why\n= g_2 + g_1 % why\n```", "not equal"),
    ("```derivation\nwith m_3 = three\nm_3 = g_1 + g_2 + g_3 % why\n= g_1 + g_2 - g_3 % why\n```", "not equal"),
    ("```derivation\n(x+1)^2 = x^2 + 2x + 1 % why\n= x^2 + 2 x + 1 % why\n```", "the same line"),
    ("```derivation\n(x+1)^2 = x^2 + 2x + 1 % why\n= 1 + 2x + x^2\n```", "no reason"),
    ("```derivation\n(x+1)^2 = x^2 + 2x + 1 % why\n```", "two lines"),
    ("```derivation\nx = y % why\n\\iff x^2 = y % why\n```", "does not follow"),
    ("```derivation\n= y % why\n= y + 0 % why\n```", "first line"),
])  # fmt: skip
def test_a_fault(text, said):
    found = faults("\n" + text)
    assert len(found) == 1 and said in found[0], found
    line = 9 + (2 if "y^2 %" in text else 0)
    assert re.match(r"page\.md:(\d+): ", found[0]) and int(found[0].split(":")[1]) in range(line, line + 4)


def test_a_step_is_shown_as_it_is_written():
    block = next(b for b in Page.parse(FRONT + SOUND).blocks if b.kind == "derivation")
    assert formulas.rows(block) == [("E_{t+1} - E_t", "=", "w_{t+1}^2 - w_t^2", "by its definition"),
                                    ("", "=", "(w_{t+1} - w_t)(w_{t+1} + w_t)", "a difference of squares")]


def test_code_and_prices_are_no_formulas():
    assert faults("It costs $5 or $6, and `$a = b^2$` is code.") == []
