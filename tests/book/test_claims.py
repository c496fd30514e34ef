"""Claims behind numbers and words."""

import numpy as np
import pytest
from book import claims
from book.page import Page

SPACE = {"n": 77, "rate": 0.98, "losses": np.array([3.0, 2.0, 1.0]), "fast": 40, "slow": 100, "share": 0.51, "word": "x"}


def faults(text: str, constants: str = "", edition: int = 2) -> list[str]:
    front = f"---\ntitle: Small\n{'edition: 2' if edition == 2 else ''}\njupyter:\n  kernelspec: {{name: python3, language: python}}\n"
    return claims.faults(Page.parse(f"{front}{constants}---\n{text}\n"), SPACE)


@pytest.mark.parametrize("text", [
    "needs 77<!--= n --> steps at $\\rho = 0.98$<!--= rate -->",
    "needs seventy-seven<!--= n --> steps",
    "half<!--= share --> of them, two to a hundred<!--= slow -->, *forty*<!--= fast -->",
    "needs fewer<!--= fewer: fast < slow --> steps",
    "needs *fewer\nsteps*<!--= fewer steps: fast < slow -->",
    "it never rises<!--= never rises: (np.diff(losses) <= 0).all() -->".replace("np.diff(losses)", "losses[1:] - losses[:-1]"),
    "and 2<!--= len(losses) - 1 --> and 2<!--= losses.size - 1 --> more",
    "no more<!--= no more: fast <= slow -->",
    "one and two, first and once, half-life",
    "the proof $x^3 = 3x$<!--= holds --> is not a number's business",
    "## References\n\n1964\n\n### More\n\n1965\n",
])  # fmt: skip
def test_sound(text):
    assert faults(text) == []


@pytest.mark.parametrize(("text", "said"), [
    ("needs 78<!--= n --> steps", "the prose says 78"),
    ("needs seventy-eight<!--= n --> steps", "the prose says seventy-eight"),
    ("needs forty steps", "the number forty is loose"),
    ("a third<!--= share --> of them", "the prose says a third"),
    ("needs more<!--= fewer: fast < slow --> steps", "does not stand behind these words"),
    ("needs more<!--= more: fast < slow --> steps", "different directions"),
    ("needs fewer<!--= fewer: slow < fast --> steps", "is False"),
    ("it never rises<!--= never rises: n -->", "is 77"),
    ("it is so<!--= it is so: 1 < 2 -->", "is a literal"),
    ("needs 77<!--= n*0+77 --> steps", "whatever the run gives"),
    ("needs 77<!--= 77 --> steps", "is a literal"),
    ("needs 77 steps", "is loose"),
    ("holds<!--= holds -->", "does not stand behind a formula"),
    ("## References\n\n1964\n\n## More\n\n1965\n", "1965"),
    ("```python\nprint(f\"{77} steps\")\n```", "77"),
    ("```python\nprint(77)\n```", "77"),
    ("```python\nax.text(0.5, 0.5, \"77 steps\")\n```", "77"),
    ("```python\nax.set_title(\"77 steps\")\n```", "77"),
    ("```python\nax.annotate(f\"in {n} of 77\", (0, 0))\n```", "77"),
])  # fmt: skip
def test_a_fault(text, said):
    found = faults(text)
    assert len(found) == 1 and said in found[0], found


def test_the_first_edition_counts_in_words_freely():
    assert faults("needs forty steps", edition=1) == []


def test_each_use_of_a_constant_has_its_reason():
    constants = "constants:\n  1964: year of the paper\n"
    assert faults("in 1964", constants) == []
    assert "occurs 2 times" in faults("in 1964 and 1964", constants)[0]
    assert faults("in 1964 and 1964", "constants:\n  1964: [year, year again]\n") == []
    assert "used nowhere" in faults("in no year", constants)[0]
    assert faults("three ways", "constants:\n  three: the ways listed\n") == []
