"""Dropout: a random mask in training, its expectation at test time.

Derived in the chapter on [dropout][dropout].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .. import arrays
from ..arrays.checks import GENERATOR, ArrayOf, Count, Flag, Function, Instance, Numbers, Optional, Real, check, checked, shown
from ..arrays.protocol import Array
from ..networks.layers import Layer
from ..networks.losses import softmax
from ..networks.model import Sequential

KEEP = Real(0, 1, open_low=True)
FLOATS = ArrayOf()


class Dropout(Layer):
    """Each element is kept with probability `keep`, else set to 0; nothing is dropped at test time.

    Inverted dropout, as in PyTorch and Keras, divides what is kept by `keep` in training and is the identity at test time.
    `inverted=False` is the original: no division in training, a multiplication by `keep` at test time.
    Either way the expectation of the output in training is the output at test time.

    `shared` names axes along which one coin is tossed for all elements: `(1, 2)` drops whole channels of images
    (batch, height, width, channels), and all axes but the first drop whole examples, as stochastic depth does with a branch.

    `x` has any shape and a floating dtype, which is kept. A NaN comes out as NaN even where it is dropped, so
    that it is seen. The backward pass uses the mask of the last forward pass.

    Raises TypeError for arguments of another kind, ValueError for `keep` outside (0, 1], for `shared` that are no axes of `x`,
    and in training without an `rng`.
    Source: Srivastava et al. 2014, section 4; the division in section 10. Tompson et al. 2015, section 3.2: whole channels;
    Huang et al. 2016, section 3: whole branches.

    >>> layer, x = Dropout(keep=0.5), np.ones((1, 6))
    >>> layer.forward(x, train=True, rng=np.random.default_rng(0)).tolist()
    [[0.0, 2.0, 2.0, 2.0, 0.0, 0.0]]
    >>> layer.backward(x).tolist()
    [[0.0, 2.0, 2.0, 2.0, 0.0, 0.0]]
    >>> layer.forward(x).tolist()
    [[1.0, 1.0, 1.0, 1.0, 1.0, 1.0]]
    >>> Dropout(keep=0.5, shared=(1,)).forward(np.ones((3, 4)), train=True, rng=np.random.default_rng(0)).tolist()
    [[0.0, 0.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0]]
    """

    @checked(keep=KEEP, inverted=Flag())
    def __init__(self, keep: float = 0.5, *, inverted: bool = True, shared: tuple[int, ...] = ()) -> None:
        super().__init__()
        if not isinstance(shared, tuple) or any(Count(0).fault(axis) for axis in shared):
            raise TypeError(f"shared must be a tuple of axes, counted from 0, got {shown(shared)}")
        self.keep, self.inverted, self.shared = float(keep), inverted, shared

    def forward(self, x: Array, *, train: bool = False, rng: np.random.Generator | None = None) -> Array:
        if not arrays.is_plain(x) or not arrays.is_floating(x):
            raise TypeError(f"x must be an array of floating-point numbers, got {shown(x)}")
        check("rng", rng, Optional(GENERATOR))
        check("train", train, Flag())
        if not train:
            factor: Array | float = 1.0 if self.inverted else self.keep
        elif rng is None:
            raise ValueError("rng must be a numpy.random.Generator when train=True, as masks are drawn from it, got None")
        else:
            if not set(self.shared) <= set(range(x.ndim)):
                raise ValueError(f"shared must be among the axes 0 to {x.ndim - 1} of x, got {self.shared!r} for the shape {x.shape}")
            coins = tuple(1 if axis in self.shared else length for axis, length in enumerate(x.shape))
            factor = np.asarray(rng.random(coins) < self.keep, like=x).astype(arrays.wide(x[:0]).dtype)
            if self.inverted:
                factor /= self.keep
        self._cache = factor, x.shape
        return _scaled(x, factor)

    def backward(self, dout: Array) -> Array:
        factor, shape = self._saved()
        if not arrays.is_plain(dout) or not arrays.is_floating(dout):
            raise TypeError(f"dout must be an array of floating-point numbers, got {shown(dout)}")
        if dout.shape != shape:
            raise ValueError(f"dout must have the shape {shape} of x, got {dout.shape}")
        return _scaled(dout, factor)

    def __repr__(self) -> str:
        return f"Dropout(keep={self.keep}{'' if self.inverted else ', inverted=False'}{f', shared={self.shared}' if self.shared else ''})"


def _scaled(x: Array, factor: Array | float) -> Array:
    """Their product; in float16 a factor such as 1/0.9 would be rounded before it is."""
    product: Array = arrays.wide(x) * factor
    return product.astype(x.dtype, copy=False)


@checked(n=Count(0, 20))
def all_masks(n: int) -> np.ndarray:
    """Every mask of `n` units, one a row: (2**n, n) zeros and ones, the empty mask first and the full one last.

    `n` is at most 20, as there are 2**n masks: else ValueError.

    >>> all_masks(2).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    """
    masks: np.ndarray = (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(float)
    return masks


@checked(masks=ArrayOf("k, n", "biuf"), keep=KEEP)
def mask_probabilities(masks: np.ndarray, keep: float) -> np.ndarray:
    """How likely each mask is when every unit is kept with probability `keep`, independently of the others.

    `masks` (k, n) of zeros and ones; the result is (k,), and over all masks it adds up to 1.
    Raises ValueError for `keep` outside (0, 1], and for masks of other numbers.

    >>> mask_probabilities(all_masks(2), keep=0.75).tolist()
    [0.0625, 0.1875, 0.1875, 0.5625]
    """
    if not ((masks == 0) | (masks == 1)).all():
        raise ValueError(f"masks must hold zeros and ones, got {shown(masks)}")
    probabilities: np.ndarray = np.where(masks > 0, keep, 1 - keep).prod(axis=1)
    return probabilities


class Thinned(NamedTuple):
    """The `predictions` of every thinned network, (2**n, batch, outputs), and how likely each is to be drawn, (2**n,)."""

    predictions: np.ndarray
    chances: np.ndarray


@checked(model=Instance(Sequential), x=FLOATS, predict=Function("the outputs"))
def thinned_predictions(model: Sequential, x: Array, *, predict: Callable[[Array], Array] = softmax) -> Thinned:
    """What a model with one layer of dropout, of `n` units, predicts under each of its 2**n masks, in the order of `all_masks`.

    `predict` makes predictions of the model's outputs, by default probabilities of scores. Other layers run as they do at test time.
    Raises ValueError for another number of [`Dropout`][reference_impl.generalization.dropout.Dropout] layers, for one whose input
    is not (batch, n), each unit with a coin of its own, and for `n` > 20.

    >>> from reference_impl import Affine
    >>> model = Sequential(Dropout(0.75), Affine(2, 3, rng=np.random.default_rng(0)))
    >>> predictions, chances = thinned_predictions(model, np.ones((5, 2)))
    >>> predictions.shape, chances.tolist()
    ((4, 5, 3), [0.0625, 0.1875, 0.1875, 0.5625])
    """
    found = [(i, layer) for i, layer in enumerate(model.layers) if isinstance(layer, Dropout)]
    if len(found) != 1:
        raise ValueError(f"model must have one Dropout layer, got {len(found)}")
    at, dropout = found[0]
    below, above = model.layers[:at], model.layers[at + 1:]
    for layer in below:
        x = layer.forward(x)
    if x.ndim != 2 or dropout.shared:
        raise ValueError(f"model must give its Dropout layer (batch, n), with a coin for each unit, got {x.shape} for {dropout!r}")
    masks = all_masks(x.shape[1])
    factors = np.asarray(masks / dropout.keep if dropout.inverted else masks, like=x).astype(arrays.wide(x[:0]).dtype)
    drawn = []
    for factor in factors:
        out = _scaled(x, factor)
        for layer in above:
            out = layer.forward(out)
        drawn.append(predict(out))
    return Thinned(np.stack(drawn), mask_probabilities(masks, dropout.keep))


@checked(inputs=Numbers(2), targets=Numbers(), keep=KEEP)
def dropout_ridge(inputs: np.ndarray, targets: np.ndarray, keep: float) -> np.ndarray:
    """The weights at which linear regression with inverted dropout on its inputs has the least expected loss.

    They are those of a ridge regression: they minimise ‖y - Xw‖² + (1-p)/p · Σⱼ wⱼ² Σᵢ xᵢⱼ², with p for `keep`.
    `inputs` X is (n, features), `targets` y (n,) or (n, outputs); the result is (features,) or (features, outputs).
    Where several weights do equally well it is the shortest. Raises ValueError for other shapes and `keep` outside (0, 1].
    Source: Srivastava et al. 2014, section 9.1, whose w is p times this one.

    >>> dropout_ridge(np.array([[1.0, 1.0]]), np.array([3.0]), keep=0.5).round(6).tolist()
    [1.0, 1.0]
    """
    inputs, targets = arrays.floats(inputs), arrays.floats(targets)
    if targets.ndim not in (1, 2) or len(targets) != len(inputs):
        raise ValueError(f"targets must be as many as the rows of inputs (n, features), got {targets.shape} for {inputs.shape}")
    # The penalty as one more row of data for each weight: better conditioned than the normal equations.
    penalty = np.diag(np.sqrt((1 - keep) / keep * (inputs**2).sum(axis=0)))
    rows = np.concatenate([targets, np.zeros((len(penalty), *targets.shape[1:]), like=targets)])
    weights: np.ndarray = np.linalg.lstsq(np.concatenate([inputs, penalty]), rows, rcond=None)[0]
    return weights


@checked(weights=Numbers(1), inputs=Numbers(2), keep=KEEP)
def dropout_logistic_penalty(weights: np.ndarray, inputs: np.ndarray, keep: float) -> tuple[float, np.ndarray]:
    """What inverted dropout on the inputs adds to the loss of a logistic regression, to second order; and its gradient by the weights.

    With the scores η = Xw it is ½ (1-p)/p · Σᵢ σ(ηᵢ)(1-σ(ηᵢ)) Σⱼ xᵢⱼ² wⱼ², with p for `keep` and σ for the logistic function. The
    labels have no part in it. `weights` w is (features,), `inputs` X (n, features); the loss is a sum over the n examples.
    Raises ValueError for other shapes and `keep` outside (0, 1]. Source: Wager, Wang & Liang 2013, section 2.1 and table 1.

    At the score 0 it is (1-p)/p · Σⱼ xⱼ² wⱼ² / 8:

    >>> value, slopes = dropout_logistic_penalty(np.array([2.0, -2.0]), np.array([[1.0, 1.0]]), keep=0.5)
    >>> value, slopes.tolist()
    (1.0, [0.5, -0.5])
    """
    weights, inputs = arrays.floats(weights), arrays.floats(inputs)
    if weights.shape != inputs.shape[1:]:
        raise ValueError(f"weights must be one for each column of inputs (n, features), got {weights.shape} for {inputs.shape}")
    noise, odd = (1 - keep) / keep, np.tanh(inputs @ weights / 2)  # without overflow: σ = (1 + odd) / 2
    doubt, squares = (1 - odd**2) / 4, inputs**2  # doubt is σ(1 - σ), whose derivative by the score is -doubt · odd
    spread = squares @ weights**2
    gradient: np.ndarray = noise * ((doubt @ squares) * weights - (doubt * odd * spread) @ inputs / 2)
    return float(noise * (doubt @ spread) / 2), gradient


class Sampled(NamedTuple):
    """The `mean` of the predictions over the sampled masks, and their `spread`, the standard deviation, each (batch, outputs)."""

    mean: np.ndarray
    spread: np.ndarray


@checked(model=Instance(Sequential), x=FLOATS, samples=Count(), rng=GENERATOR, predict=Function("the outputs"))
def sample_predictions(model: Sequential, x: Array, samples: int, rng: np.random.Generator, *,
                       predict: Callable[[Array], Array] = softmax) -> np.ndarray:
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
    drawn = []
    for _ in range(samples):
        out = x
        for layer in model.layers:
            out = layer.forward(out, train=isinstance(layer, Dropout), rng=rng)
        drawn.append(predict(out))
    return np.stack(drawn)


@checked(model=Instance(Sequential), x=FLOATS, samples=Count(), rng=GENERATOR, predict=Function("the outputs"))
def monte_carlo(model: Sequential, x: Array, samples: int, rng: np.random.Generator, *,
                predict: Callable[[Array], Array] = softmax) -> Sampled:
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

    least_confidence: Array
    variation_ratio: Array
    entropy: Array
    mutual_information: Array


@checked(probabilities=ArrayOf("samples, batch, classes"))
def uncertainty(probabilities: Array) -> Uncertainty:
    """The usual scores of sampled class probabilities (samples, batch, classes).

    Raises ValueError for another number of axes, and when there is no sample or class. Source: Gal, Islam & Ghahramani 2017.

    Two samples that are unsure but agree, and two that are sure but do not:

    >>> agree, differ = [[0.5, 0.5], [0.5, 0.5]], [[1.0, 0.0], [0.0, 1.0]]
    >>> scores = uncertainty(np.stack([agree, differ], axis=1))
    >>> scores.entropy.round(3).tolist(), scores.mutual_information.round(3).tolist()
    ([0.693, 0.693], [0.0, 0.693])
    >>> scores.variation_ratio.tolist()
    [0.0, 0.5]
    """
    if not probabilities.shape[0] or not probabilities.shape[2]:
        raise ValueError(f"probabilities must hold a sample and a class, got the shape {probabilities.shape}")
    probabilities = arrays.wide(probabilities)
    mean = probabilities.mean(axis=0)
    choices = probabilities.argmax(axis=2)
    votes = np.stack([(choices == k).mean(axis=0) for k in range(mean.shape[1])])
    entropy = _entropy(mean)
    return Uncertainty(1 - mean.max(axis=1), 1 - votes.max(axis=0), entropy, entropy - _entropy(probabilities).mean(axis=0))


def _entropy(probabilities: Array) -> Array:
    logarithms: Array = np.log(np.where(probabilities > 0, probabilities, 1))
    information: Array = -probabilities * logarithms
    return information.sum(axis=-1)
