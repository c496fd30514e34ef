"""How the names of hyperparameters are written in a formula, and in plain text."""

from __future__ import annotations

from typing import NamedTuple


class Letter(NamedTuple):
    """A letter in LaTeX and in Unicode."""

    latex: str
    text: str


LETTERS = {
    "lr": Letter(r"\alpha", "α"),
    "rho": Letter(r"\rho", "ρ"),
    "beta1": Letter(r"\beta_1", "β₁"),
    "beta2": Letter(r"\beta_2", "β₂"),
    "decay": Letter(r"\beta", "β"),
    "eps": Letter(r"\varepsilon", "ε"),
    "weight_decay": Letter(r"\lambda", "λ"),
}
