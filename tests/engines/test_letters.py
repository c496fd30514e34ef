"""The letters of the hyperparameters are the same in LaTeX and in plain text."""

import unicodedata

import pytest

from reference_impl.engines.operations import LETTERS


@pytest.mark.parametrize(("name", "letter"), LETTERS.items(), ids=list(LETTERS))
def test_a_letter_is_the_same_in_latex_and_in_plain_text(name, letter):
    command, _, index = letter.latex.removeprefix("\\").removeprefix("var").partition("_")
    assert letter.latex.startswith("\\")
    assert unicodedata.name(letter.text[0]) == f"GREEK SMALL LETTER {'LAMDA' if command == 'lambda' else command.upper()}"
    assert letter.text[1:] == (unicodedata.lookup(f"SUBSCRIPT {['ONE', 'TWO'][int(index) - 1]}") if index else "")


def test_each_hyperparameter_has_a_letter_of_its_own():
    assert len({letter.text for letter in LETTERS.values()}) == len({letter.latex for letter in LETTERS.values()}) == len(LETTERS)
