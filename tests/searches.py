"""The search that the tests of searching and of its trials share: thirty settings, with all that may come of a trial."""

import json
import math
import sys

import numpy as np

from reference_impl.practice.search import Choice, LogUniform, Uniform, draw

SPACE = {"lr": LogUniform(1e-4, 1), "keep": Uniform(0.5, 1), "units": Choice([8, 16, 32])}
SETTINGS = draw(SPACE, 30, np.random.default_rng(2))


def noisy(setting, rng):
    """An objective with everything that may come: numbers, NaN, infinity, errors, exits."""
    if setting["units"] == 8:
        match int(setting["keep"] * 100) % 5:
            case 0:
                raise ValueError("it\n diverged")
            case 1:
                return math.nan
            case 2:
                return math.inf
            case 3:
                sys.exit("told to")
    return setting["lr"] + rng.standard_normal()


def indices(log):
    """The trials that a log holds, in the order of its lines."""
    return [json.loads(line)["index"] for line in log.read_text().splitlines()[1:]]


def same(found, expected):
    """Equal bit for bit, NaN included."""
    return repr(found) == repr(expected)
