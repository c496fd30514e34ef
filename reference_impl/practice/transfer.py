"""Transfer: keep the body that was learnt on one task, put a new head on it, and train the head, or all of it.

Derived in the chapter on [transfer learning][transfer-learning].
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

from ..arrays.checks import ArrayOf, Count, Instance, checked, shown
from ..arrays.protocol import Array
from ..networks.layers import Layer
from ..networks.model import Sequential

PLACE = Count(None)


@checked(model=Instance(Sequential))
def freeze(model: Sequential, layers: Iterable[int]) -> None:
    """Freeze the layers at these places of `model`, and thaw all others.

    A frozen layer keeps its parameters and its running statistics: an optimizer does not see it, and it runs as at test time.
    The gradient still goes through it, to the layers before it. Places may be counted from the end; `range(2)` freezes the
    first two, `[]` thaws all. Raises IndexError for a place that is not there and TypeError for what is no whole number,
    before anything is changed.

    >>> import numpy as np
    >>> from reference_impl import Affine, ReLU
    >>> rng = np.random.default_rng(0)
    >>> model = Sequential(Affine(8, 4, rng=rng), ReLU(), Affine(4, 2, rng=rng))
    >>> freeze(model, range(2))
    >>> sorted(model.params)
    ['2.W', '2.b']
    """
    count = len(model.layers)
    if not isinstance(layers, Iterable) or isinstance(layers, str | bytes | Mapping) or getattr(layers, "ndim", 1) != 1:
        raise TypeError(f"layers must be a list of places, got {shown(layers)}")
    places = list(layers)
    if wrong := [place for place in places if PLACE.fault(place)]:
        raise TypeError(f"layers must be whole numbers, got {shown(wrong[0])}")
    if bad := [place for place in places if not -count <= place < count]:
        raise IndexError(f"layers must be places of a model with {count} layers, got {bad[0]}")
    chosen = {place % count for place in places}
    for i, layer in enumerate(model.layers):
        layer.frozen = i in chosen


@checked(model=Instance(Sequential), head=Instance(Layer), body=PLACE)
def with_new_head(model: Sequential, *head: Layer, body: int = -1) -> Sequential:
    """A copy of `model`'s first `body` layers (by default, all but the last) with the layers `head` behind them.

    Nothing in the copy is frozen; `model` stays as it is. The layers of `head` themselves go in, no copies.
    Raises ValueError when `body` is no place in the model or `head` is empty.
    Source: Yosinski et al. 2014.

    >>> import numpy as np
    >>> from reference_impl import Affine, ReLU
    >>> rng = np.random.default_rng(0)
    >>> model = Sequential(Affine(8, 4, rng=rng), ReLU(), Affine(4, 2, rng=rng))
    >>> with_new_head(model, Affine(4, 5, rng=rng))
    Sequential(Affine(W (8, 4), b (4,)), ReLU(), Affine(W (4, 5), b (5,)))
    """
    if not head:
        raise ValueError("head must hold at least one layer, got none")
    kept = copy.deepcopy(_body(model, body))
    for layer in kept:
        layer.frozen = False
    return Sequential(*kept, *head)


@checked(model=Instance(Sequential), x=ArrayOf(dtypes="biuf"), body=PLACE)
def features(model: Sequential, x: Array, body: int = -1) -> Array:
    """What the first `body` layers of `model` (by default, all but the last) make of a batch `x`, at test time.

    A head that is trained on these goes the way that it goes behind the frozen body, which then runs only once.
    Raises ValueError when `body` is no place in the model.

    >>> import numpy as np
    >>> from reference_impl import ReLU
    >>> features(Sequential(ReLU(), ReLU()), np.array([[-1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """
    return Sequential(*_body(model, body)).forward(x)


def _body(model: Sequential, body: int) -> list[Layer]:
    count = len(model.layers)
    if not -count <= body <= count:
        raise ValueError(f"body must be a place in a model with {count} layers, got {body}")
    return model.layers[:body]
