"""Dropout: a random mask in training, its expectation at test time.

Derived in the chapter on [dropout][dropout].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..networks.layers import Layer
from ..networks.losses import softmax
from ..networks.model import Sequential


class Dropout(Layer):
    """Each element is kept with probability `keep`, else set to 0; nothing is dropped at test time.

    Inverted dropout, as in PyTorch and Keras, divides what is kept by `keep` in training and is the identity at test time.
    `inverted=False` is the original: no division in training, a multiplication by `keep` at test time.
    Either way the expectation of the output in training is the output at test time.

    `x` has any shape and a floating dtype, which is kept. A NaN comes out as NaN even where it is dropped, so
    that it is seen. The backward pass uses the mask of the last forward pass.

    Raises ValueError for `keep` outside (0, 1], and in training without an `rng`.
    Source: Srivastava et al. 2014, section 4; the division in section 10.

    >>> layer, x = Dropout(keep=0.5), np.ones((1, 6))
    >>> layer.forward(x, train=True, rng=np.random.default_rng(0)).tolist()
    [[0.0, 2.0, 2.0, 2.0, 0.0, 0.0]]
    >>> layer.backward(x).tolist()
    [[0.0, 2.0, 2.0, 2.0, 0.0, 0.0]]
    >>> layer.forward(x).tolist()
    [[1.0, 1.0, 1.0, 1.0, 1.0, 1.0]]
    """

    def __init__(self, keep: float = 0.5, *, inverted: bool = True) -> None:
        super().__init__()
        _check_keep(keep)
        self.keep, self.inverted = keep, inverted

    def forward(self, x: Any, *, train: bool = False, rng: np.random.Generator | None = None) -> Any:
        if not train:
            self._cache = 1.0 if self.inverted else self.keep
        elif rng is None:
            raise ValueError("rng must be a numpy.random.Generator when train=True, as masks are drawn from it, got None")
        else:
            self._cache = np.asarray(rng.random(x.shape) < self.keep, like=x).astype(x.dtype)
            if self.inverted:
                self._cache /= self.keep
        return x * self._cache

    def backward(self, dout: Any) -> Any:
        return dout * self._saved()

    def __repr__(self) -> str:
        return f"Dropout(keep={self.keep}{'' if self.inverted else ', inverted=False'})"


def all_masks(n: int) -> np.ndarray:
    """Every mask of `n` units, one a row: (2**n, n) zeros and ones, the empty mask first and the full one last.

    Raises ValueError for `n` outside [0, 20].

    >>> all_masks(2).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    if not 0 <= n <= 20:
        raise ValueError(f"n must lie in [0, 20], as there are 2**n masks, got {n!r}")
    masks: np.ndarray = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(float)
    return masks


def mask_probabilities(masks: np.ndarray, keep: float) -> np.ndarray:
    """How likely each mask is when every unit is kept with probability `keep`, independently of the others.

    `masks` (k, n) of zeros and ones; the result is (k,), and over all masks it adds up to 1.
    Raises ValueError for `keep` outside (0, 1].

    >>> mask_probabilities(all_masks(2), keep=0.75).tolist()
    [0.0625, 0.1875, 0.1875, 0.5625]
    """
    _check_keep(keep)
    probabilities: np.ndarray = np.where(masks > 0, keep, 1 - keep).prod(axis=1)
    return probabilities


def dropout_ridge(inputs: np.ndarray, targets: np.ndarray, keep: float) -> np.ndarray:
    """The weights at which linear regression with inverted dropout on its inputs has the least expected loss.

    They are those of a ridge regression: they minimise ‖y - Xw‖² + (1-p)/p · Σⱼ wⱼ² Σᵢ xᵢⱼ², with p for `keep`.
    `inputs` X is (n, features), `targets` y (n,) or (n, outputs); the result is (features,) or (features, outputs).
    Where several weights do equally well it is the shortest. Raises ValueError for other shapes and `keep` outside (0, 1].
    Source: Srivastava et al. 2014, section 9.1, whose w is p times this one.

    >>> dropout_ridge(np.array([[1.0, 1.0]]), np.array([3.0]), keep=0.5).round(6).tolist()
    [1.0, 1.0]
    """
    _check_keep(keep)
    if inputs.ndim != 2 or targets.shape[:1] != inputs.shape[:1]:
        raise ValueError(f"targets must be as many as the rows of inputs (n, features), got {targets.shape} for {inputs.shape}")
    # The penalty as one more row of data for each weight: better conditioned than the normal equations.
    penalty = np.diag(np.sqrt((1 - keep) / keep * (inputs**2).sum(axis=0)))
    rows = np.concatenate([targets, np.zeros((len(penalty), *targets.shape[1:]), like=targets)])
    weights: np.ndarray = np.linalg.lstsq(np.concatenate([inputs, penalty]), rows, rcond=None)[0]
    return weights


class Sampled(NamedTuple):
    """The `mean` of the predictions over the sampled masks, and their `spread`, the standard deviation, each (batch, outputs)."""

    mean: Any
    spread: Any


def sample_predictions(model: Sequential, x: Any, samples: int, rng: np.random.Generator, *, predict: Callable[[Any], Any] = softmax) -> Any:
    """Predictions with the dropout left on, for `samples` draws of all masks: (samples, batch, outputs).

    `predict` makes predictions of the model's outputs, by default probabilities of scores. Other layers than
    [`Dropout`][reference_impl.generalization.dropout.Dropout] run as they do at test time.
    Raises ValueError when `samples` < 1. Source: Gal & Ghahramani 2016, section 4.

    >>> from reference_impl import Affine
    >>> rng = np.random.default_rng(0)
    >>> model = Sequential(Dropout(0.5), Affine(64, 10, rng=rng))
    >>> sample_predictions(model, np.ones((3, 64)), 20, rng).shape
    (20, 3, 10)
    """
    if samples < 1:
        raise ValueError(f"samples must be 1 or more, got {samples!r}")
    drawn = []
    for _ in range(samples):
        out = x
        for layer in model.layers:
            out = layer.forward(out, train=isinstance(layer, Dropout), rng=rng)
        drawn.append(predict(out))
    return np.stack(drawn)


def monte_carlo(model: Sequential, x: Any, samples: int, rng: np.random.Generator, *, predict: Callable[[Any], Any] = softmax) -> Sampled:
    """The mean and the spread of [`sample_predictions`][reference_impl.generalization.dropout.sample_predictions].

    The spread divides by `samples`, so one sample has none.

    >>> from reference_impl import Affine
    >>> rng = np.random.default_rng(0)
    >>> model = Sequential(Dropout(0.5), Affine(64, 10, rng=rng))
    >>> mean, spread = monte_carlo(model, np.ones((3, 64)), 20, rng)
    >>> mean.shape, spread.shape, bool((spread > 0).all())
    ((3, 10), (3, 10), True)
    """
    drawn = sample_predictions(model, x, samples, rng, predict=predict)
    return Sampled(drawn.mean(axis=0), drawn.std(axis=0))


class Uncertainty(NamedTuple):
    """How unsure sampled predictions are, each (batch,), in nats where it is an entropy; larger is less sure.

    `least_confidence` is one less the largest mean probability, `variation_ratio` the share of samples that do not choose
    the class most often chosen, `entropy` that of the mean, and `mutual_information` the entropy of the mean less the mean entropy.
    """

    least_confidence: Any
    variation_ratio: Any
    entropy: Any
    mutual_information: Any


def uncertainty(probabilities: Any) -> Uncertainty:
    """The usual scores of sampled class probabilities (samples, batch, classes).

    Raises ValueError for another number of axes. Source: Gal, Islam & Ghahramani 2017.

    Two samples that are unsure but agree, and two that are sure but do not:

    >>> agree, differ = [[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]]
    >>> scores = uncertainty(np.stack([agree, differ], axis=1))
    >>> scores.entropy.round(3).tolist(), scores.mutual_information.round(3).tolist()
    ([0.693, 0.693], [0.0, 0.693])
    >>> scores.variation_ratio.tolist()
    [0.0, 0.5]
    """
    if probabilities.ndim != 3:
        raise ValueError(f"probabilities must be (samples, batch, classes), got the shape {probabilities.shape}")
    mean = probabilities.mean(axis=0)
    choices = probabilities.argmax(axis=2)
    votes = np.stack([(choices == k).mean(axis=0) for k in range(mean.shape[1])])
    entropy = _entropy(mean)
    return Uncertainty(1 - mean.max(axis=1), 1 - votes.max(axis=0), entropy, entropy - _entropy(probabilities).mean(axis=0))


def _entropy(probabilities: Any) -> Any:
    return -(probabilities * np.log(np.where(probabilities > 0, probabilities, 1))).sum(axis=-1)


def _check_keep(keep: float) -> None:
    if not 0 < keep <= 1:
        raise ValueError(f"keep must lie in (0, 1], got {keep!r}")
