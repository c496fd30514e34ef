"""Transfer: keep what was learnt on one task, put a new head on it, and train that, or all of it gently.

Derived in the chapter on [transfer][transfer-learning].
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

from ..networks.layers import Layer
from ..networks.model import Sequential


def freeze(model: Sequential, layers: Iterable[int]) -> None:
    """Freeze the layers at these places of `model`, and thaw all others.

    Frozen layers keep their parameters and their running statistics; an optimizer does not see them. Places may be
    counted from the end. Raises IndexError for a place that is not there, before anything is changed.

    >>> import numpy as np
    >>> from reference_impl import Affine, ReLU
    >>> rng = np.random.default_rng(0)
    >>> model = Sequential(Affine(8, 4, rng=rng), ReLU(), Affine(4, 2, rng=rng))
    >>> freeze(model, [0, 1])
    >>> sorted(model.params)
    ['2.W', '2.b']
    """
    count = len(model.layers)
    places = list(layers)
    if bad := [place for place in places if not -count <= place < count]:
        raise IndexError(f"layers must be places of a model with {count} layers, got {bad[0]}")
    chosen = {place % count for place in places}
    for i, layer in enumerate(model.layers):
        layer.frozen = i in chosen


def with_new_head(model: Sequential, *head: Layer, body: int = -1) -> Sequential:
    """A copy of `model`'s first `body` layers (by default, all but the last) with the layers `head` behind them.

    Nothing is frozen in it; `model` stays as it is. Raises ValueError when `body` is no place in the model or `head` is empty.
    Source: Yosinski et al. 2014, section 2.

    >>> import numpy as np
    >>> from reference_impl import Affine, ReLU
    >>> rng = np.random.default_rng(0)
    >>> model = Sequential(Affine(8, 4, rng=rng), ReLU(), Affine(4, 2, rng=rng))
    >>> with_new_head(model, Affine(4, 5, rng=rng))
    Sequential(Affine(W (8, 4), b (4,)), ReLU(), Affine(W (4, 5), b (5,)))
    """
    if not head:
        raise ValueError("head must hold at least one layer, got none")
    if not -len(model.layers) <= body <= len(model.layers):
        raise ValueError(f"body must be a place in a model with {len(model.layers)} layers, got {body}")
    kept = copy.deepcopy(model.layers[:body])
    for layer in kept:
        layer.frozen = False
    return Sequential(*kept, *head)


def features(model: Sequential, x: Any, layers: int) -> Any:
    """What the first `layers` layers of a model make of a batch, at test time: the features that a frozen body gives.

    >>> import numpy as np
    >>> from reference_impl import ReLU
    >>> features(Sequential(ReLU(), ReLU()), np.array([[-1.0, 2.0]]), 1).tolist()
    [[0.0, 2.0]]
    """
    return Sequential(*model.layers[:layers]).forward(x)
