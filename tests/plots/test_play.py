"""A figure that the reader steers can be steered to what is said of it."""

import pytest

from reference_impl.optimization.momentum import momentum
from reference_impl.plots.play import Play


def play(**changes):
    given = {"rule": momentum, "curvatures": [1, 10], "start": [9, 1], "steps": 30, "sliders": {"lr": (0.01, 0.2, 0.1), "rho": (0, 0.9, 0.5)},
             "best": {"lr": 0.15, "rho": 0.3}, "xlim": (-1, 10), "ylim": (-2, 2)}
    return Play(**given | changes)


def test_the_sliders_come_in_the_order_of_the_rules_hyperparameters():
    assert [slider["name"] for slider in play(sliders={"rho": (0, 0.9, 0.5), "lr": (0.01, 0.2, 0.1)}).data["sliders"]] == ["lr", "rho"]


@pytest.mark.parametrize(("changes", "message"), [
    ({"sliders": {"lr": (0.01, 0.2, 0.1)}}, r"sliders must be the rule's hyperparameters \['lr', 'rho'\], got \['lr'\]"),
    ({"sliders": {"lr": (0.01, 0.2, 0.3), "rho": (0, 0.9, 0.5)}}, r"the slider lr must start in \[0.01, 0.2\], got 0.3"),
    ({"best": {"lr": 0.21, "rho": 0.3}}, r"the best lr must be in its slider's range \[0.01, 0.2\], got 0.21"),
    ({"best": {"lr": 0.15, "rho": 0.99}}, r"the best rho must be in its slider's range \[0, 0.9\], got 0.99"),
])
def test_what_cannot_be_reached_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        play(**changes)
