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
    ({"sliders": {"lr": (0.01, 0.2, 0.3), "rho": (0, 0.9, 0.5)}}, r"sliders\['lr'\] must start in \[0.01, 0.2\], got 0.3"),
    ({"best": {"lr": 0.21, "rho": 0.3}}, r"best\['lr'\] must be a number in \[0.01, 0.2\], got 0.21"),
    ({"best": {"lr": 0.15, "rho": 0.99}}, r"best\['rho'\] must be a number in \[0, 0.9\], got 0.99"),
    ({"best": {"lr": 0.15}}, r"best must be the rule's hyperparameters \['lr', 'rho'\], got \['lr'\]"),
    ({"sliders": {"lr": (0.01, 0.2), "rho": (0, 0.9, 0.5)}}, r"sliders\['lr'\] must be 3 finite numbers, got \(0.01, 0.2\)"),
    ({"curvatures": [1, 2, 3]}, r"curvatures must be 2 finite numbers, got \[1, 2, 3\]"),
    ({"start": [1]}, r"start must be 2 finite numbers, got \[1\]"),
    ({"ylim": (2, 2)}, r"ylim must be 2 finite numbers that rise, got \(2, 2\)"),
])
def test_what_cannot_be_reached_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        play(**changes)
