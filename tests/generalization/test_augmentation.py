"""Augmentation: what each step does to every pixel, where its chance lies, and what the chapter proves about averages."""

from functools import partial

import augmentation_grids as script
import numpy as np
import pytest

from reference_impl import SGD, Affine, Augment, Flatten, Sequential, fit, measured
from reference_impl.generalization.augmentation import (
    ColorPCA,
    average_views,
    compose,
    flip,
    random_brightness,
    random_contrast,
    random_crop,
    random_flip,
    random_scale_crop,
    ten_crop,
)

RNG = np.random.default_rng(7)
IMAGES = RNG.random((6, 9, 12, 3))
COLOURS = ColorPCA.fit(IMAGES)
GEOMETRIC = {
    "flip": lambda x, rng: flip(x),
    "random_flip": random_flip,
    "random_crop": partial(random_crop, size=(5, 7), pad=2),
    "ten_crop": lambda x, rng: ten_crop(x, 4),
}
FLOATING = {
    "random_scale_crop": partial(random_scale_crop, size=(6, 5), low=0.8, high=2.0, pad=0.5),
    "random_brightness": partial(random_brightness, strength=0.3),
    "random_contrast": partial(random_contrast, strength=0.3),
    "jitter": COLOURS.jitter,
    "compose": compose(random_flip, partial(random_crop, size=9, pad=1), partial(random_contrast, strength=0.5)),
}
ALL = GEOMETRIC | FLOATING
every = pytest.mark.parametrize("step", ALL.values(), ids=ALL)


def rng(seed=0):
    return np.random.default_rng(seed)


def numbered(height, width):
    return np.arange(height * width).reshape(1, height, width, 1)


def even(counts):
    """Whether the counts are those of equally likely places, within five standard deviations of chi squared."""
    expected = counts.sum() / counts.size
    freedom = counts.size - 1
    return ((counts - expected) ** 2 / expected).sum() <= freedom + 5 * np.sqrt(2 * freedom)


@every
def test_a_seed_gives_the_same_batch_and_another_seed_another(step):
    assert step(IMAGES, rng(3)).tobytes() == step(IMAGES, rng(3)).tobytes()
    if step not in (GEOMETRIC["flip"], GEOMETRIC["ten_crop"]):
        assert any(step(IMAGES, rng(3)).tobytes() != step(IMAGES, rng(seed)).tobytes() for seed in (4, 5))


@every
def test_the_input_stays_as_it_is_and_the_result_is_new(step):
    before = IMAGES.copy()
    before.flags.writeable = False
    result = step(before, rng())
    np.testing.assert_array_equal(before, IMAGES)
    assert not np.shares_memory(result, before)
    result[...] = 0  # writeable, and no view of itself
    assert not result.any()


@every
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_dtype_is_kept(step, dtype):
    assert step(IMAGES.astype(dtype), rng()).dtype == dtype


@pytest.mark.parametrize("step", GEOMETRIC.values(), ids=GEOMETRIC)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_moving_pixels_keeps_any_dtype(step, dtype):
    images = (IMAGES * 255).astype(dtype)
    result = step(images, rng())
    assert result.dtype == dtype
    assert set(np.unique(result)) <= {0, *np.unique(images)}


@every
def test_an_empty_batch_stays_one(step):
    result = step(IMAGES[:0], rng())
    assert 0 in result.shape[:2] and result.shape[-1] == 3


@every
def test_a_view_is_as_good_as_a_copy(step):
    view = np.repeat(IMAGES, 2, axis=2)[:, :, ::2]
    assert step(view, rng()).tobytes() == step(IMAGES, rng()).tobytes()


def test_nan_stays_where_it_belongs():
    images = IMAGES.copy()
    images[2, 4, 4, 1] = np.nan
    for step in FLOATING.values():
        assert not np.isnan(step(images, rng())[[0, 1, 3, 4, 5]]).any()
    assert np.isnan(random_brightness(images, rng(), 0.1)).sum() == 1


# Flips


def test_a_flip_is_its_own_inverse_and_mirrors_columns():
    assert flip(flip(IMAGES)).tobytes() == IMAGES.tobytes()
    np.testing.assert_array_equal(flip(IMAGES)[:, :, 0], IMAGES[:, :, -1])
    np.testing.assert_array_equal(flip(IMAGES)[:, 0].sum(axis=1), IMAGES[:, 0, ::-1].sum(axis=1))


def test_a_random_flip_is_the_image_or_its_mirror_image():
    many = np.tile(IMAGES, (500, 1, 1, 1))
    result, mirrored = random_flip(many, rng()), flip(many)
    is_flipped = (result == mirrored).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(result[~is_flipped], many[~is_flipped])
    assert abs(is_flipped.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(many))


@pytest.mark.parametrize(("probability", "expected"), [(0, IMAGES), (1, flip(IMAGES))])
def test_probability_at_its_ends_leaves_no_chance(probability, expected):
    np.testing.assert_array_equal(random_flip(IMAGES, rng(), probability), expected)


def test_probability_is_that_of_a_flip():
    many = np.tile(numbered(1, 2), (4000, 1, 1, 1))
    share = (random_flip(many, rng(), 0.2)[:, 0, 0, 0] == 1).mean()
    assert abs(share - 0.2) < 5 * np.sqrt(0.2 * 0.8 / 4000)


# Crops


@pytest.mark.parametrize(("size", "pad"), [((2, 3), 0), (3, 0), (4, 1), ((1, 5), 2), ((4, 5), 0)])
def test_crops_are_pieces_and_all_places_equally_likely(size, pad):
    image = 1 + numbered(4, 5)
    padded = np.pad(image[0, :, :, 0], pad)
    height, width = size if isinstance(size, tuple) else (size, size)
    places = {}
    for top in range(padded.shape[0] - height + 1):
        for left in range(padded.shape[1] - width + 1):
            places.setdefault(padded[top:top + height, left:left + width].tobytes(), []).append((top, left))
    draws = 400 * sum(map(len, places.values()))
    found = random_crop(np.tile(image, (draws, 1, 1, 1)), rng(), size, pad)
    assert found.shape == (draws, height, width, 1)
    counts = dict.fromkeys(places, 0)
    for crop in found:
        counts[crop.tobytes()] += 1
    # A piece of nothing but padding lies in several places.
    assert even(np.concatenate([np.full(len(places[key]), count / len(places[key])) for key, count in counts.items()]))


def test_channels_of_a_crop_stay_together():
    images = np.concatenate([numbered(6, 6), 100 + numbered(6, 6)], axis=3)
    result = random_crop(np.tile(images, (20, 1, 1, 1)), rng(), 3)
    np.testing.assert_array_equal(result[..., 1] - result[..., 0], 100)


def test_ten_crops_are_four_corners_the_centre_and_their_mirror_images():
    views = ten_crop(IMAGES, (5, 4))
    assert views.shape == (10, 6, 5, 4, 3)
    for view, (top, left) in zip(views[:5], [(0, 0), (0, 8), (4, 0), (4, 8), (2, 4)]):
        np.testing.assert_array_equal(view, IMAGES[:, top:top + 5, left:left + 4])
    for view, mirrored in zip(views[:5], views[5:]):
        np.testing.assert_array_equal(flip(view), mirrored)


def test_ten_crops_of_the_mirror_image_are_the_same_ten_in_another_order():
    np.testing.assert_array_equal(ten_crop(flip(IMAGES), (4, 6)), ten_crop(IMAGES, (4, 6))[[6, 5, 8, 7, 9, 1, 0, 3, 2, 4]])


def test_ten_crops_of_full_size_are_the_image_and_its_mirror_image():
    views = ten_crop(IMAGES, (9, 12))
    assert (views[:5] == IMAGES).all() and (views[5:] == flip(IMAGES)).all()


# Scales


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale_one_at_the_only_place_changes_nothing(dtype):
    images = IMAGES.astype(dtype)
    assert random_scale_crop(images, rng(), (9, 12), 1, 1).tobytes() == images.tobytes()


def test_a_constant_image_stays_constant():
    assert (random_scale_crop(np.full((50, 7, 9, 2), 0.3), rng(), 5, 0.8, 3) == 0.3).all()


@pytest.mark.parametrize("pad", [0.0, 0.5, 2.0])
def test_values_are_those_that_scipy_interpolates(pad):
    ndimage = pytest.importorskip("scipy.ndimage")
    result = random_scale_crop(IMAGES, rng(5), (6, 5), 0.8, 2.0, pad)
    same, border = rng(5), int(np.ceil(pad))
    factor, down, right = same.uniform(0.8, 2.0, 6), same.random(6), same.random(6)
    for k, image in enumerate(np.pad(IMAGES, ((0, 0), (border, border), (border, border), (0, 0)))):
        top = down[k] * (9 + 2 * pad - 6 / factor[k]) + border - pad
        left = right[k] * (12 + 2 * pad - 5 / factor[k]) + border - pad
        at = np.meshgrid(top + (np.arange(6) + 0.5) / factor[k] - 0.5, left + (np.arange(5) + 0.5) / factor[k] - 0.5, indexing="ij")
        expected = np.stack([ndimage.map_coordinates(image[:, :, c], at, order=1, mode="nearest") for c in range(3)], axis=-1)
        np.testing.assert_allclose(result[k], expected, rtol=0, atol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize("factor", [2, 3, 4 / 3])
def test_a_whole_image_is_scaled_as_torch_does(factor):
    torch = pytest.importorskip("torch")
    size = round(9 * factor), round(12 * factor)
    theirs = torch.nn.functional.interpolate(torch.tensor(IMAGES.transpose(0, 3, 1, 2)), size=size, mode="bilinear", align_corners=False)
    np.testing.assert_allclose(random_scale_crop(IMAGES, rng(), size, factor, factor), theirs.numpy().transpose(0, 2, 3, 1), rtol=0, atol=1e-12)


def test_factors_and_places_fill_their_ranges_evenly():
    rows, columns = np.indices((10, 14)) + 0.5
    count, size = 4000, 4
    found = random_scale_crop(np.tile(np.stack([rows, columns], axis=-1), (count, 1, 1, 1)), rng(), size, 0.5, 0.9)
    step = found[:, 1, 0, 0] - found[:, 0, 0, 0]  # a ramp shows what lies where
    np.testing.assert_allclose(np.diff(found[..., 0], axis=1), np.broadcast_to(step[:, None, None], (count, 3, 4)), atol=1e-12)
    np.testing.assert_allclose(np.diff(found[..., 1], axis=2), np.broadcast_to(step[:, None, None], (count, 4, 3)), atol=1e-12)
    tops, lefts = found[:, 0, 0, 0] - step / 2, found[:, 0, 0, 1] - step / 2
    shares = [(1 / step - 0.5) / 0.4, tops / (10 - size * step), lefts / (14 - size * step)]
    for share in shares:
        assert share.min() > -1e-12 and share.max() < 1 + 1e-12
        assert even(np.histogram(share, bins=20, range=(0, 1))[0])
    assert abs(np.corrcoef(shares) - np.eye(3)).max() < 5 / np.sqrt(count)


def test_a_padded_image_of_its_own_size_moves_by_up_to_the_pad():
    middle = np.zeros((2000, 9, 9, 1))
    middle[:, 4, 4] = 1
    found = random_scale_crop(middle, rng(), 9, 1, 1, pad=0.5)[..., 0]
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1, atol=1e-12)
    where = (found.sum(axis=2) * np.arange(9)).sum(axis=1) - 4
    assert abs(where).max() <= 0.5 + 1e-12 and even(np.histogram(where, bins=20, range=(-0.5, 0.5))[0])


# Colours


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(
    "step",
    [partial(random_brightness, strength=0), partial(random_contrast, strength=0), partial(COLOURS.jitter, sigma=0)],
    ids=["brightness", "contrast", "jitter"],
)
def test_no_strength_changes_no_bit(step, dtype):
    images = (IMAGES * 3 - 1).astype(dtype)
    assert step(images, rng()).tobytes() == images.tobytes()


def test_brightness_adds_one_number_to_an_image_drawn_evenly():
    many = np.tile(IMAGES[:1], (4000, 1, 1, 1))
    added = random_brightness(many, rng(), 0.4) - many
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1, :1, :1], added.shape), atol=1e-15)
    assert even(np.histogram(added[:, 0, 0, 0], bins=20, range=(-0.4, 0.4))[0]) and abs(added).max() <= 0.4


def test_contrast_scales_the_distance_from_the_mean_colour_which_stays():
    many = np.tile(IMAGES[:1], (4000, 1, 1, 1))
    result, mean = random_contrast(many, rng(), 0.4), many.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(result.mean(axis=(1, 2), keepdims=True), mean, rtol=1e-12)
    factor = (result - mean) / (many - mean)
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :1, :1, :1], factor.shape), rtol=1e-9)
    assert even(np.histogram(factor[:, 0, 0, 0], bins=20, range=(0.6, 1.4))[0])


def test_values_are_not_clipped():
    assert random_brightness(np.ones((100, 1, 1, 1)), rng(), 0.5).max() > 1.4
    assert random_contrast(IMAGES, rng(), 5).min() < 0


def test_colours_are_the_eigenvectors_of_the_covariance():
    covariance = np.cov(IMAGES.reshape(-1, 3).T, ddof=0)
    np.testing.assert_allclose(COLOURS.vectors @ np.diag(COLOURS.values) @ COLOURS.vectors.T, covariance, atol=1e-14)
    np.testing.assert_allclose(COLOURS.vectors.T @ COLOURS.vectors, np.eye(3), atol=1e-14)
    assert (np.diff(COLOURS.values) <= 0).all()


def test_one_colour_has_no_variance():
    only = ColorPCA.fit(np.full((2, 4, 4, 3), 0.7, dtype=np.float32))
    assert (only.values >= 0).all() and only.values.max() < 1e-12


class EachOnce(np.random.Generator):
    """In the place of a generator: image k gets one unit of draw k, so that the colours added are the columns of the mixing."""

    def standard_normal(self, shape):
        return np.eye(*shape)


@pytest.mark.parametrize("by_root", [True, False])
@pytest.mark.parametrize("unit", [1, 255])
def test_the_jitters_covariance_is_the_colours_or_with_the_papers_formula_its_square(by_root, unit):
    images = IMAGES * [1.0, 0.5, 0.2] * unit
    covariance = np.cov(images.reshape(-1, 3).T, ddof=0)
    added = ColorPCA.fit(images).jitter(np.zeros((3, 2, 2, 3)), EachOnce(np.random.PCG64(0)), 0.1, by_root)
    np.testing.assert_array_equal(added, np.broadcast_to(added[:, :1, :1], added.shape))
    mixing = added[:, 0, 0].T
    np.testing.assert_allclose(mixing @ mixing.T, 0.1**2 * (covariance if by_root else covariance @ covariance), rtol=1e-10)


def test_the_jitters_draws_are_normal_and_apart():
    added = COLOURS.jitter(np.zeros((20_000, 1, 1, 3)), rng(), sigma=0.5)[:, 0, 0]
    white = added @ COLOURS.vectors / np.sqrt(COLOURS.values) / 0.5
    assert abs(np.cov(white.T) - np.eye(3)).max() < 5 * np.sqrt(2 / 20_000)
    assert abs((white**4).mean(axis=0) - 3).max() < 5 * np.sqrt(96 / 20_000)


# Averages


def network(x):
    weights = rng(1).standard_normal((np.prod(x.shape[1:]), 4))
    return np.tanh(x.reshape(len(x), -1) @ weights)


def test_the_average_over_a_group_does_not_see_the_group():
    def average(x):
        return average_views(network, np.stack([x, flip(x)]))

    np.testing.assert_array_equal(average(flip(IMAGES)), average(IMAGES))
    assert abs(network(flip(IMAGES)) - network(IMAGES)).max() > 0.1


def test_the_average_over_ten_crops_does_not_see_a_flip():
    averages = [average_views(network, ten_crop(x, (5, 6))) for x in (IMAGES, flip(IMAGES))]
    assert averages[0].shape == (6, 4)
    np.testing.assert_allclose(*averages, rtol=0, atol=1e-14)


def test_the_averaged_squared_error_is_that_of_the_average_plus_the_spread():
    y, views = rng(2).standard_normal((6, 4)), ten_crop(IMAGES, (5, 6))
    each, mean = np.stack([network(view) for view in views]), average_views(network, views)
    parts = ((mean - y) ** 2).mean() + ((each - mean) ** 2).mean()
    np.testing.assert_allclose(((each - y) ** 2).mean(), parts, rtol=1e-12)


def test_steps_run_in_order_from_one_generator():
    one, two = random_flip, partial(random_brightness, strength=0.3)
    generator = rng(4)
    expected = two(one(IMAGES, generator), generator)
    assert compose(one, two)(IMAGES, rng(4)).tobytes() == expected.tobytes()
    assert compose()(IMAGES, rng()) is IMAGES


def test_training_takes_it_and_is_reproducible():
    def trained(augment):
        generator = rng(6)
        model = Sequential(Flatten(), Affine(9 * 12 * 3, 2, rng=generator))
        fit(model, IMAGES, np.array([0, 1] * 3), SGD(lr=0.1), epochs=3, rng=generator, batch_size=4,
            callbacks=[Augment(augment)] if augment else [])
        return model.params["1.W"].tobytes()

    augment = compose(random_flip, partial(random_crop, size=(9, 12), pad=1), COLOURS.jitter)
    assert trained(augment) == trained(augment) != trained(None)


# What the chapter says of its runs


STORED = measured("augmentation_grids")


@pytest.fixture(scope="module")
def chapter():
    return script.chapter()


def points(setting, name):
    """What an augmentation gains over none, in points, for each seed."""
    right = STORED["right"][setting]
    return 100 * (np.array(right[name]) - right["none"]) / STORED["digits"][setting]


def photo(way, name, views=0, table="photographs"):
    """The accuracy of networks trained with an augmentation, by the centre crop (0) or ten crops (1)."""
    return 100 * np.array(STORED[table][way][name])[:, views]


def standard_error(paired):
    return paired.std(ddof=1) / np.sqrt(len(paired))


def test_the_file_holds_what_the_script_makes(chapter):
    assert list(STORED["right"]) == list(script.SETTINGS) and script.SEEDS >= 10
    assert all(list(STORED[table]) == script.SPLITS for table in script.EPOCHS)
    assert all(len(runs) == script.SEEDS for table in ("right", *script.EPOCHS) for rows in STORED[table].values() for runs in rows.values())
    setting = "50 digits, rate 0.03, 100 steps"
    for name in ("none", "gentle"):
        count, right = script.measure(chapter, setting, name, 4)
        assert count == STORED["digits"][setting] and abs(right - STORED["right"][setting][name][4]) <= 4
    found = chapter["photo_scores"]("right to left", 2, chapter["photo_augmentations"]()["flips"])
    np.testing.assert_allclose(found, STORED["photographs"]["right to left"]["flips"][2], atol=0.04)


@pytest.mark.parametrize("way", script.SPLITS)
def test_halves_have_no_square_in_common_and_no_square_is_trained_on_and_tested(chapter, way):
    for seed in range(3):
        train, labels, test, truth = chapter["photo_split"](way, seed)
        assert len(train) == len(labels) == 60 and len(test) == len(truth) > 90 and set(labels) == set(truth) == {0, 1}
        assert not {square.tobytes() for square in train} & {square.tobytes() for square in test}
    if way != "at random":  # all seeds are tested on one half, none trains on any of it
        assert test.tobytes() == chapter["photo_split"](way, 0)[2].tobytes()


def test_flips_and_half_turns_cost_digits_something_in_every_setting_and_half_turns_more():
    for setting in STORED["right"]:
        for name in ("flips", "half turns"):
            assert points(setting, name).mean() < -2 * standard_error(points(setting, name))
    assert sum(points(s, "half turns").mean() < points(s, "flips").mean() for s in STORED["right"]) >= 6


def test_whole_pixel_shifts_have_either_sign_and_want_steps():
    slow, fast = points("50 digits, rate 0.03, 100 steps", "whole pixel"), points("200 digits, rate 0.1, 400 steps", "whole pixel")
    assert slow.mean() < -2 * standard_error(slow) and fast.mean() > 0
    assert (fast - points("200 digits, rate 0.1, 100 steps", "whole pixel")).mean() > 3


def test_gentle_changes_gain_with_few_digits_and_with_many_only_in_more_steps():
    few, many = points("50 digits, rate 0.1, 400 steps", "gentle"), points("800 digits, rate 0.1, 400 steps", "gentle")
    assert few.mean() > 2 * standard_error(few) and abs(many.mean()) < 1
    for name in ("gentle", "whole pixel", "flips"):
        more = points("800 digits, rate 0.1, 1600 steps", name)
        assert (more - points("800 digits, rate 0.1, 400 steps", name)).mean() > 1
        if name == "gentle":
            assert more.mean() > 2 * standard_error(more)


def test_on_photographs_one_way_to_split_gains_much_and_the_others_little():
    for way in script.SPLITS:
        both, flips = (photo(way, name) - photo(way, "none") for name in ("crops, flips", "flips"))
        assert both.mean() > 0
        if way == "left to right":
            assert both.mean() > 12 and flips.mean() > 5 * standard_error(flips)
        else:
            assert both.mean() < 8 and flips.mean() < 2 * standard_error(flips)


def test_on_photographs_crops_and_flips_gain_more_in_more_epochs_and_flips_alone_still_one_way_only():
    for way in script.SPLITS[1:]:
        both, flips = (photo(way, name, table="photographs, longer") - photo(way, "none", table="photographs, longer") for name in ("crops, flips", "flips"))
        assert both.mean() > 2 * standard_error(both)
        assert (flips.mean() > 2 * standard_error(flips)) == (way == "left to right")


def test_new_content_is_harder_than_squares_whose_neighbours_were_trained_on():
    for way in script.SPLITS[1:]:
        assert photo(way, "none").mean() < photo("at random", "none").mean() - 5


def test_ten_crops_have_either_sign_without_augmentation():
    gains = {way: photo(way, "none", 1) - photo(way, "none") for way in script.SPLITS}
    assert gains["left to right"].mean() > 5 and gains["top to bottom"].mean() < -2


def test_lighting_jitter_gains_where_light_varies_and_nothing_where_it_does_not(chapter):
    for n, factor, costs in ((50, 2, True), (200, 1, False)):
        usual, other = np.transpose([np.diff(chapter["lamp_right"](seed, n, factor), axis=0)[0] for seed in range(10)])
        assert other.mean() > 10 and usual.mean() < 1
        assert (usual.mean() < -2) == costs


def test_a_larger_ridge_takes_most_of_what_lighting_jitter_gains_and_costs_nothing_in_the_usual_light(chapter):
    small, large = (np.array([chapter["lamp_right"](seed, 200, 1, ridge) for seed in range(10)]) for ridge in (1e-3, 0.1))
    gain = (large[:, 1] - large[:, 0])[:, 1]
    assert 2 * standard_error(gain) < gain.mean() < (small[:, 1] - small[:, 0])[:, 1].mean() / 2
    assert (large[..., 0].mean(axis=0) > small[..., 0].mean(axis=0)).all()


def test_ten_crops_around_no_exact_middle_see_a_flip():
    averages = [average_views(network, ten_crop(x, (5, 5))) for x in (IMAGES, flip(IMAGES))]
    assert abs(averages[0] - averages[1]).max() > 1e-3


# Refusals


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: flip(IMAGES[0]), ValueError, r"images must be an array \(batch, height, width, channels\) of numbers, got an array of float64 of"),
        (lambda: flip([[1.0]]), TypeError, r"images must be an array \(batch, .* got \[\[1\.0\]\]"),
        (lambda: random_flip(IMAGES, None), TypeError, "rng must be a numpy.random.Generator, got None"),
        (lambda: random_flip(IMAGES, rng(), 1.1), ValueError, r"probability must be a number in \[0, 1\], got 1\.1"),
        (lambda: random_crop(IMAGES, rng(), 10), ValueError, r"size must be at most 9 by 12, got \(10, 10\)"),
        (lambda: random_crop(IMAGES, rng(), (9, 13)), ValueError, r"size must be at most 9 by 12, got \(9, 13\)"),
        (lambda: random_crop(IMAGES, rng(), (12, 17), pad=2), ValueError, "size must be at most 13 by 16"),
        (lambda: random_crop(IMAGES, rng(), 0), ValueError, "size must be a whole number from 1 up, or a tuple of two, got 0"),
        (lambda: random_crop(IMAGES, rng(), (3, 3, 3)), ValueError, "size must be a whole number from 1 up, or a tuple of two"),
        (lambda: random_crop(IMAGES, rng(), 2.0), ValueError, "size must be a whole number"),
        (lambda: random_crop(IMAGES, rng(), True), ValueError, "size must be a whole number"),
        (lambda: random_crop(IMAGES, rng(), 3, pad=-1), ValueError, "pad must be a whole number from 0 up, got -1"),
        (lambda: ten_crop(IMAGES, (10, 3)), ValueError, "size must be at most 9 by 12"),
        (lambda: random_scale_crop(IMAGES, rng(), 3, 0, 1), ValueError, r"low must be a number in \(0, inf\), got 0"),
        (lambda: random_scale_crop(IMAGES, rng(), 3, 2, 1), ValueError, "low must be at most high, got 2 and 1"),
        (lambda: random_scale_crop(IMAGES, rng(), 9, 0.9, 2), ValueError, r"size must be at most low times .*\(8.1, 10.8\), got \(9, 9\)"),
        (lambda: random_scale_crop((IMAGES * 255).astype(np.uint8), rng(), 3, 1, 2), TypeError, "images must be .* of floating-point numbers, got"),
        (lambda: random_brightness(IMAGES, rng(), -0.1), ValueError, r"strength must be a number in \[0, inf\), got -0\.1"),
        (lambda: random_brightness(IMAGES.astype(int), rng(), 0.1), TypeError, "images must be .* got an array of int64"),
        (lambda: random_contrast(IMAGES.astype(complex), rng(), 0.1), TypeError, "images must be .* got an array of complex128"),
        (lambda: ColorPCA(np.ones(2), np.eye(3)), ValueError, r"vectors must have the shape \(2, 2\), got \(3, 3\)"),
        (lambda: ColorPCA.fit(IMAGES * np.nan), ValueError, "images must have pixels, and finite ones, got .* with nan at index"),
        (lambda: ColorPCA.fit(IMAGES[:0]), ValueError, "images must have pixels, and finite ones, got array"),
        (lambda: COLOURS.jitter(IMAGES[..., :1], rng()), ValueError, "images must have 3 channels"),
        (lambda: COLOURS.jitter(IMAGES, rng(), by_root="no"), TypeError, "by_root must be True or False, got 'no'"),
        (lambda: average_views(network, IMAGES[:0]), ValueError, "views must be .* with at least one view, got the shape"),
        (lambda: average_views(lambda x: x.sum(), IMAGES[None]), ValueError, r"predict must return \d+ rows, got the shape \(\)"),
        (lambda: compose(random_flip, 3), TypeError, r"steps must be a function of \(images, rng\), got 3"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, match):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize("step", [
    partial(random_brightness, strength=0.3), partial(random_contrast, strength=0.5), COLOURS.jitter,
    partial(random_scale_crop, size=(9, 12), low=0.9, high=1.2, pad=2.5)])
@pytest.mark.parametrize("scale", [1.0, 3000.0])
def test_in_half_precision_it_is_what_double_precision_gives_rounded_once(step, scale):
    x = (scale * (IMAGES + 0.3)).astype("f2")
    found, expected = step(x, rng()), step(x.astype(float), rng())
    assert found.dtype == np.float16
    step_sizes = np.spacing(np.abs(expected).astype("f2")).astype(float)
    assert (np.abs(found - expected) <= np.maximum(0.51 * step_sizes, 1e-6 * scale)).all()
