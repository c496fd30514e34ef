"""Augmentation: images flipped, cropped, scaled and recoloured by chance, so that a label does not hang on what does not matter.

Derived in the chapter on [data augmentation][data-augmentation].

A batch is (batch, height, width, channels), of which nothing is changed in place: what comes back is new and has its dtype.
Each image gets its own draw. All that takes `(images, rng)` and, by keyword, what it needs, goes into `fit(callbacks=[Augment(…)])`:
`functools.partial` sets the keywords, `compose` puts several in a row. Values are *not* clipped to [0, 1]: inputs may
be standardised, and a clipped jitter no longer has mean 0. `lambda x, rng: x.clip(0, 1)` is a step that clips.
In float16 colours are computed in float32, and rounded once.

All raise TypeError for arguments of another kind, lists and generators that are none among them, and ValueError for those out of range,
before anything is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..arrays import on_host, wide
from ..arrays.checks import GENERATOR, POSITIVE, SIZE, ArrayOf, Count, Flag, Function, Numbers, Real, check, checked, shown
from ..arrays.protocol import Array

Augmentation = Callable[[Array, np.random.Generator], Array]

IMAGES, FLOATS = (ArrayOf("batch, height, width, channels", dtypes) for dtypes in ("biuf", "f"))


@checked(steps=Function("(images, rng)"))
def compose(*steps: Augmentation) -> Augmentation:
    """One augmentation out of several, applied in order with the same `rng`; raises TypeError for a step that is not callable.

    >>> from functools import partial
    >>> augment = compose(random_flip, partial(random_crop, size=8, pad=1), partial(random_brightness, strength=0.2))
    >>> augment(np.zeros((5, 8, 8, 1)), np.random.default_rng(0)).shape
    (5, 8, 8, 1)
    """
    def augment(images: Array, rng: np.random.Generator) -> Array:
        for step in steps:
            images = step(images, rng)
        return images

    return augment


@checked(images=IMAGES)
def flip(images: Array) -> Array:
    """Every image mirrored left to right; twice gives the images back. Any dtype.

    >>> flip(np.array([1, 2, 3]).reshape(1, 1, 3, 1)).ravel().tolist()
    [3, 2, 1]
    """
    mirrored: Array = images[:, :, ::-1].copy()
    return mirrored


@checked(images=IMAGES, rng=GENERATOR, probability=Real(0, 1))
def random_flip(images: Array, rng: np.random.Generator, probability: float = 0.5) -> Array:
    """Each image mirrored left to right with `probability`. Any dtype.

    Raises ValueError unless 0 ≤ `probability` ≤ 1. Source: Krizhevsky, Sutskever & Hinton 2012.

    >>> random_flip(np.arange(3).reshape(1, 1, 3, 1), np.random.default_rng(0), probability=1.0).ravel().tolist()
    [2, 1, 0]
    """
    chosen = rng.random(len(images)) < probability
    flipped: Array = np.where(np.asarray(chosen[:, None, None, None], like=images), images[:, :, ::-1], images)
    return flipped


@checked(images=IMAGES, rng=GENERATOR, pad=Count(0))
def random_crop(images: Array, rng: np.random.Generator, size: int | tuple[int, int], pad: int = 0) -> Array:
    """From each image a piece of `size` pixels, every place equally likely: (batch, height, width, channels). Any dtype.

    `size` is a side or (height, width). `pad` rows and columns of zeros come on every side first: with the images' own
    size it shifts them by up to `pad` pixels. Raises ValueError for a piece that does not fit.
    Source: Krizhevsky, Sutskever & Hinton 2012; with padding: He et al. 2016.

    >>> random_crop(np.zeros((5, 32, 48, 3)), np.random.default_rng(0), size=28).shape
    (5, 28, 28, 3)
    """
    images = _padded(images, int(pad))
    height, width = _size(size, images)
    tops = rng.integers(0, images.shape[1] - height + 1, len(images))
    lefts = rng.integers(0, images.shape[2] - width + 1, len(images))
    rows, columns = tops[:, None] + np.arange(height), lefts[:, None] + np.arange(width)
    pieces: Array = images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None]]
    return pieces


@checked(images=FLOATS, rng=GENERATOR, low=POSITIVE, high=POSITIVE, pad=SIZE)
def random_scale_crop(images: Array, rng: np.random.Generator, size: int | tuple[int, int], low: float, high: float,
                      pad: float = 0.0) -> Array:
    """Each image scaled by a factor drawn from [`low`, `high`], then a piece of `size` pixels at a random place.

    Factors are uniform, and so is the place, which may lie between pixels: values are interpolated (bilinear, pixels
    stand for their centres, no smoothing before an image is made smaller). `pad` pixels of zeros, a fraction too, come on
    every side first: `low = high = 1` with the images' own size then shifts them by up to `pad`. Floating dtypes.

    Raises ValueError unless 0 < `low` ≤ `high` < ∞, for a negative `pad`, and when a piece at factor `low` does not fit;
    TypeError for integers. Source: Simonyan & Zisserman 2015 (scale jittering).

    >>> random_scale_crop(np.zeros((5, 32, 48, 3)), np.random.default_rng(0), size=28, low=0.9, high=1.5).shape
    (5, 28, 28, 3)
    """
    if low > high:
        raise ValueError(f"low must be at most high, got {low!r} and {high!r}")
    sides = _size(size)
    room = np.array(images.shape[1:3]) + 2 * pad
    if any(side > low * space * (1 + 1e-12) for side, space in zip(sides, room.tolist())):
        raise ValueError(f"size must be at most low times the padded image, {tuple((room * low).tolist())}, got {sides}")
    factor = rng.uniform(low, high, len(images))
    border = math.ceil(pad)
    at = []
    for side, space in zip(sides, room):
        start = rng.random(len(images)) * np.maximum(space - side / factor, 0) + border - pad
        at.append(start[:, None] + (np.arange(side) + 0.5) / factor[:, None] - 0.5)
    scaled = _interpolated(wide(_padded(images, border)), at[0])
    return _interpolated(scaled.swapaxes(1, 2), at[1]).swapaxes(1, 2).astype(images.dtype)


@checked(images=IMAGES)
def ten_crop(images: Array, size: int | tuple[int, int]) -> Array:
    """The four corners and the centre of every image, then the same five mirrored: (10, batch, height, width, channels).

    In the order top left, top right, bottom left, bottom right, centre. Any dtype. Raises ValueError for a piece that
    does not fit. Source: Krizhevsky, Sutskever & Hinton 2012.

    >>> views = ten_crop(np.arange(9).reshape(1, 3, 3, 1), size=1)
    >>> views.ravel().tolist()
    [0, 2, 6, 8, 4, 0, 2, 6, 8, 4]
    """
    height, width = _size(size, images)
    down, right = images.shape[1] - height, images.shape[2] - width
    places = (0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)
    five = np.stack([images[:, top:top + height, left:left + width] for top, left in places])
    views: Array = np.concatenate([five, five[:, :, :, ::-1]])
    return views


@checked(predict=Function("a batch"), views=ArrayOf(dtypes="biuf"))
def average_views(predict: Callable[[Array], Array], views: Array) -> Array:
    """The mean of `predict` over the first axis of `views` (views, batch, …): (batch, outputs).

    `predict` maps a batch to (batch, outputs), probabilities as a rule. Raises ValueError when there is no view, or `predict`
    gives no row for each image.

    >>> views = np.array([[[1.0]], [[3.0]]])
    >>> average_views(lambda x: x * x, views).tolist()
    [[5.0]]
    """
    if views.ndim < 2 or not len(views):
        raise ValueError(f"views must be (views, batch, …) with at least one view, got the shape {views.shape}")
    outputs = predict(views.reshape(-1, *views.shape[2:]))
    if outputs.shape[:1] != (views.shape[0] * views.shape[1],):
        raise ValueError(f"predict must return {views.shape[0] * views.shape[1]} rows, got the shape {outputs.shape}")
    by_view: Array = outputs.reshape(*views.shape[:2], -1)
    return by_view.mean(axis=0)


@checked(images=FLOATS, rng=GENERATOR, strength=SIZE)
def random_brightness(images: Array, rng: np.random.Generator, strength: float) -> Array:
    """To each image one number added, drawn evenly from [-`strength`, `strength`). Floating dtypes.

    As in TensorFlow; torchvision multiplies instead. Raises ValueError for a negative or infinite strength, TypeError for integers.
    Source: Howard 2013.

    >>> random_brightness(np.zeros((2, 1, 1, 3)), np.random.default_rng(0), strength=0.5).round(2).tolist()
    [[[[0.14, 0.14, 0.14]]], [[[-0.23, -0.23, -0.23]]]]
    """
    x = wide(images)
    return _rounded(x + _even(x, rng, strength), images)


@checked(images=FLOATS, rng=GENERATOR, strength=SIZE)
def random_contrast(images: Array, rng: np.random.Generator, strength: float) -> Array:
    """Each image's distance from its own mean colour scaled by a factor from [1 - `strength`, 1 + `strength`). Floating dtypes.

    The mean of every channel stays. As in TensorFlow; torchvision takes the mean of the grey image. What is raised, and the
    source, as for [`random_brightness`][reference_impl.generalization.augmentation.random_brightness].

    >>> image = np.array([0.0, 1.0]).reshape(1, 2, 1, 1)
    >>> random_contrast(image, np.random.default_rng(0), strength=0.5).round(2).ravel().tolist()
    [-0.07, 1.07]
    """
    # A factor of 1 plus what is drawn: at strength 0 the images come out as they were, to the last bit.
    x = wide(images)
    return _rounded(x + _even(x, rng, strength) * (x - x.mean(axis=(1, 2), keepdims=True)), images)


@dataclass(frozen=True)
class ColorPCA:
    """The colours of a set of images: the `values` (channels,), falling, and `vectors` (channels, channels), columns, of their covariance.

    >>> pixels = np.random.default_rng(0).standard_normal((4, 32, 32, 3)) * [3.0, 1.0, 2.0]
    >>> ColorPCA.fit(pixels).values.round().tolist()
    [9.0, 4.0, 1.0]
    """

    values: np.ndarray
    vectors: np.ndarray

    def __post_init__(self) -> None:
        check("values", self.values, Numbers(1, low=0))
        check("vectors", self.vectors, Numbers(2))
        if np.shape(self.vectors) != 2 * np.shape(self.values):
            raise ValueError(f"vectors must have the shape {2 * np.shape(self.values)}, got {np.shape(self.vectors)}")

    @classmethod
    @checked(images=FLOATS)
    def fit(cls, images: Array) -> ColorPCA:
        """From all pixels of all `images`; raises ValueError when they are not finite, or none."""
        pixels = images.reshape(-1, images.shape[3]).astype(float)
        if not pixels.size or not np.isfinite(pixels).all():
            raise ValueError(f"images must have pixels, and finite ones, got {shown(images)}")
        centred = pixels - pixels.mean(axis=0)
        values, vectors = np.linalg.eigh(centred.T @ centred / len(pixels))
        return cls(on_host(values[::-1].clip(min=0)), on_host(vectors[:, ::-1]))

    @checked(images=FLOATS, rng=GENERATOR, sigma=SIZE, by_root=Flag())
    def jitter(self, images: Array, rng: np.random.Generator, sigma: float = 0.1, by_root: bool = True) -> Array:
        """To every image one colour added: Σᵢ aᵢ √λᵢ pᵢ, with each aᵢ normal with standard deviation `sigma`.

        The added colours have covariance σ² times that of the images' colours. `by_root=False` is the paper's formula,
        with λᵢ instead of its root: σ² times the *square* of that covariance, which depends on the unit of the pixels.

        Raises ValueError for a negative or infinite `sigma` and other channels, TypeError for integers.
        Source: Krizhevsky, Sutskever & Hinton 2012.

        >>> colours = ColorPCA(np.array([4.0, 1.0]), np.eye(2))
        >>> colours.jitter(np.zeros((1, 1, 1, 2)), np.random.default_rng(0)).round(3).ravel().tolist()
        [0.025, -0.013]
        """
        if images.shape[3] != len(self.values):
            raise ValueError(f"images must have {len(self.values)} channels, got shape {images.shape}")
        lengths = np.sqrt(self.values) if by_root else self.values
        drawn = sigma * rng.standard_normal((len(images), len(lengths)))
        x = wide(images)
        return _rounded(x + np.asarray(((drawn * lengths) @ self.vectors.T)[:, None, None].astype(x.dtype), like=x), images)


def _size(size: int | tuple[int, int], images: Array | None = None) -> tuple[int, int]:
    sides = size if isinstance(size, tuple) else (size, size)
    if len(sides) != 2 or any(Count().fault(n) for n in sides):
        raise ValueError(f"size must be a whole number from 1 up, or a tuple of two, got {shown(size)}")
    if images is not None and (sides[0] > images.shape[1] or sides[1] > images.shape[2]):
        raise ValueError(f"size must be at most {images.shape[1]} by {images.shape[2]}, got {sides}")
    return int(sides[0]), int(sides[1])


def _padded(images: Array, pad: int) -> Array:
    return np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0))) if pad else images


def _rounded(x: Array, images: Array) -> Array:
    return x.astype(images.dtype, copy=False)


def _even(images: Array, rng: np.random.Generator, strength: float) -> Array:
    """One number an image, drawn evenly from [-strength, strength)."""
    drawn = strength * (2 * rng.random((len(images), 1, 1, 1)) - 1)
    even: Array = np.asarray(drawn.astype(images.dtype), like=images)
    return even


def _interpolated(images: Array, at: np.ndarray) -> Array:
    """Each image's rows at the fractional places `at` (batch, rows), linear between its pixels, the outermost beyond them."""
    at = at.clip(0, images.shape[1] - 1)
    before = np.floor(at).astype(np.intp)
    after = np.minimum(before + 1, images.shape[1] - 1)
    n, part = np.arange(len(images))[:, None], np.asarray((at - before)[:, :, None, None].astype(images.dtype), like=images)
    first = images[n, before]
    between: Array = first + part * (images[n, after] - first)
    return between
