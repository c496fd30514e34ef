"""Real data that travels with scikit-learn (extra `data`): nothing is downloaded."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..arrays.checks import Count, Real, checked


class Split(NamedTuple):
    """Training and test inputs (n, features) in [0, 1] and their labels (n,)."""

    inputs: np.ndarray
    labels: np.ndarray
    test_inputs: np.ndarray
    test_labels: np.ndarray


@checked(seed=Count(0), test_fraction=Real(0, 1, open_low=True, open_high=True))
def digits(seed: int = 0, test_fraction: float = 0.25) -> Split:
    """The 1797 handwritten digits of 8 × 8 pixels, shuffled by `seed` and split.

    Raises ValueError when `test_fraction` is not in (0, 1) or leaves one side without an example, TypeError for what is no number. Source: Alpaydin & Kaynak 1998,
    "Optical Recognition of Handwritten Digits", UCI repository; scikit-learn's `load_digits`.

    >>> data = digits()
    >>> data.inputs.shape, data.test_inputs.shape
    ((1348, 64), (449, 64))
    """
    from sklearn.datasets import load_digits

    inputs, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    cut = round(len(labels) * (1 - test_fraction))
    if not 0 < cut < len(labels):
        raise ValueError(f"test_fraction must leave examples to train and to test on, got {test_fraction!r}")
    inputs, labels = inputs[order] / 16, labels[order]
    return Split(inputs[:cut], labels[:cut], inputs[cut:], labels[cut:])


def photographs() -> np.ndarray:
    """Two colour photographs, a Chinese temple and a flower: (2, 427, 640, 3) in [0, 1].

    Source: scikit-learn's `load_sample_images`: china.jpg by danielbuechele and flower.jpg by vultilion,
    both from Flickr under CC BY 2.0. Needs Pillow.

    >>> photographs().shape
    (2, 427, 640, 3)
    """
    from sklearn.datasets import load_sample_images

    images: np.ndarray = np.stack(load_sample_images().images) / 255
    return images
