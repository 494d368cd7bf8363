"""Superpixels: SLIC as scikit-image computes it, the grid, scaling of channels, slices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import smooth_field
from scipy import ndimage
from skimage import segmentation

import softlabel
from softlabel.superpixels.front import by_slice, grid, scale_channels


def scikit_image(image, n_segments=2000, compactness=0.1, sigma=1.0, **kwargs):
    """What softlabel.slic promises to return."""
    kwargs.setdefault("channel_axis", None)
    return segmentation.slic(
        image, n_segments=n_segments, compactness=compactness, sigma=sigma, convert2lab=False,
        start_label=0, **kwargs,
    )  # fmt: skip


def textured(rng, shape):
    """Smooth regions with an edge and some noise, float32."""
    image = smooth_field(rng, shape, 3) > 0.6
    return (image + 0.3 * ndimage.gaussian_filter(rng.normal(size=shape), 1)).astype(np.float32)


# --- SLIC -----------------------------------------------------------------------------------------


@st.composite
def slic_arguments(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(
        st.sampled_from([(24, 31), (1, 40), (3, 3), (60, 47), (7, 12, 13), (1, 9, 20), (16, 5, 4)])
    )
    kwargs = {
        "n_segments": draw(st.sampled_from([20, 1, 2, 7, 100, 2000])),
        "compactness": draw(st.sampled_from([0.1, 0.01, 0.5, 10.0])),
        "sigma": draw(st.sampled_from([1.0, 0.0, 0.5, 2.0])),
        "max_num_iter": draw(st.sampled_from([10, 1, 3])),
    }
    channels = draw(st.sampled_from([None, 0, -1, 1]))
    if channels is None:
        image = textured(rng, shape)
    else:
        number = draw(st.sampled_from([2, 1, 3, 5]))
        image = np.stack([textured(rng, shape) for _ in range(number)], axis=channels)
        kwargs["channel_axis"] = channels
    if draw(st.booleans()):
        kwargs["spacing"] = tuple(rng.choice([1.0, 1.5, 3.0], len(shape)).tolist())
    return image, kwargs


@settings(suppress_health_check=list(HealthCheck))
@given(arguments=slic_arguments())
def test_slic_equals_scikit_image(arguments):
    image, kwargs = arguments
    found = softlabel.slic(image, **kwargs)
    np.testing.assert_array_equal(found, scikit_image(image, **kwargs))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(np.unique(found), np.arange(found.max() + 1))


@pytest.mark.parametrize("shape", [(150, 220), (20, 48, 50)])
def test_slic_equals_scikit_image_with_its_defaults(shape):
    image = textured(np.random.default_rng(5), shape)
    np.testing.assert_array_equal(softlabel.slic(image), scikit_image(image))


@pytest.mark.parametrize("shape", [(30, 41), (9, 14, 15)])
@pytest.mark.parametrize("spacing", [None, (1.0, 1.0, 3.0)])
def test_masked_slic_equals_scikit_image(shape, spacing):
    rng = np.random.default_rng(6)
    image, mask = textured(rng, shape), smooth_field(rng, shape, 3) > 0.4
    kwargs = {"n_segments": 25, "mask": mask, "spacing": spacing and spacing[-len(shape) :]}
    found = softlabel.slic(image, **kwargs)
    np.testing.assert_array_equal(found, scikit_image(image, **kwargs))
    np.testing.assert_array_equal(found < 0, ~mask)
    assert set(np.unique(found)) == set(range(-1, found.max() + 1))


def test_a_mask_without_pixels_has_no_superpixels():
    found = softlabel.slic(np.ones((5, 6), np.float32), mask=np.zeros((5, 6), bool))
    assert found.dtype == np.int32 and (found == -1).all()


@pytest.mark.parametrize(("n_pixels", "n_segments"), [(1, 1), (1, 50), (12, 1)])
def test_a_mask_with_one_seed_has_no_superpixels(n_pixels, n_segments):
    """As documented, and as scikit-image has it; two seeds cover the mask."""
    image = textured(np.random.default_rng(7), (6, 7))
    mask = np.arange(42).reshape(6, 7) < n_pixels
    found = softlabel.slic(image, n_segments, mask=mask)
    np.testing.assert_array_equal(found, scikit_image(image, n_segments=n_segments, mask=mask))
    assert (found == -1).all()
    mask[3, 3] = True
    assert (softlabel.slic(image, max(2, n_segments), mask=mask)[mask] >= 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 1), (1, 2), (2, 1)])
def test_tiny_images(shape):
    found = softlabel.slic(np.full(shape, 3, np.float32))
    assert found.shape == shape and found.min() == 0


@pytest.mark.parametrize("value", [0.0, 7.5, -3.0])
def test_a_constant_image_gives_a_grid(value):
    image = np.full((40, 40), value, np.float32)
    found = softlabel.slic(image, n_segments=16)
    np.testing.assert_array_equal(found, scikit_image(image, n_segments=16))
    assert found.max() + 1 == 16


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float64, bool])
def test_other_types_are_computed_in_float32(dtype):
    image = (textured(np.random.default_rng(1), (30, 30)) * 50 + 60).astype(dtype)
    found = softlabel.slic(image, n_segments=30)
    np.testing.assert_array_equal(found, softlabel.slic(image.astype(np.float32), n_segments=30))


def test_superpixels_follow_an_edge_of_the_image():
    image = np.zeros((40, 40), np.float32)
    image[:, 17:] = 1
    found = softlabel.slic(image, n_segments=16, compactness=0.05, sigma=0)
    assert not set(found[:, :17].ravel()) & set(found[:, 17:].ravel())


def test_the_image_is_left_alone():
    image = textured(np.random.default_rng(1), (20, 20))
    copy = image.copy()
    image.setflags(write=False)
    softlabel.slic(image, n_segments=9)
    np.testing.assert_array_equal(image, copy)


IMAGE = np.zeros((4, 5), np.float32)
REFUSED = {
    "1D": ({"image": np.zeros(5)}, r"image must be 2D or 3D.*got shape \(5,\) and channel_axis=No"),
    "4D": ({"image": np.zeros((2, 2, 2, 2))}, r"image must be 2D or 3D.*got shape \(2, 2, 2, 2\)"),
    "empty": ({"image": np.zeros((0, 5))}, r"image holds no pixel; got shape \(0, 5\)"),
    "nan": ({"image": np.full((4, 5), np.nan)}, "image must be finite; it holds NaN or infinite"),
    "inf": ({"image": np.full((4, 5), np.inf)}, "image must be finite; it holds NaN or infinite"),
    "n_segments": ({"n_segments": 0}, "n_segments must be at least 1; got 0"),
    "compactness": ({"compactness": 0.0}, "compactness must be a positive number; got 0.0"),
    "compactness nan": ({"compactness": np.nan}, "compactness must be a positive number; got nan"),
    "sigma": ({"sigma": -1.0}, "sigma must not be negative; got -1.0"),
    "max_num_iter": ({"max_num_iter": 0}, "max_num_iter must be at least 1; got 0"),
    "spacing": ({"spacing": (1.0,)}, "spacing must be 2 finite positive numbers"),
    "spacing tiny": ({"spacing": (1e-200, 1e-200)}, "spacing must lie in 1e-06 to"),
    "spacing huge": ({"spacing": (1e200, 1e200)}, "spacing must lie in 1e-06 to"),
    "spacing apart": ({"spacing": (1.0, 1e5)}, "the coarsest axis at most 10000 times the finest"),
    "spacing 0": ({"spacing": (1.0, 0.0)}, "spacing must be 2 finite positive numbers"),
    "mask": (
        {"mask": np.ones((5, 4), bool)},
        r"mask must have the image's shape \(4, 5\); got \(5",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    changed, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence):
        softlabel.slic(**({"image": IMAGE} | changed))


# --- the grid -------------------------------------------------------------------------------------


@given(
    shape=st.lists(st.integers(1, 30), min_size=1, max_size=3).map(tuple),
    n_segments=st.integers(1, 300),
    data=st.data(),
)
def test_a_grid_is_equal_boxes_numbered_in_order(shape, n_segments, data):
    spacing = None
    if data.draw(st.booleans()):
        spacing = tuple(data.draw(st.sampled_from([0.5, 1.0, 3.0])) for _ in shape)
    ids = grid(shape, n_segments, spacing)
    assert ids.shape == shape and ids.dtype == np.int32
    found = ndimage.find_objects(ids + 1)
    assert len(found) == ids.max() + 1
    sizes = []
    for number, box in enumerate(found):
        assert (ids[box] == number).all()  # the box is full: superpixels are boxes
        sizes.append(ids[box].shape)
    spread = np.max(sizes, axis=0) - np.min(sizes, axis=0)
    assert (spread <= 1).all()


@pytest.mark.parametrize(
    ("shape", "n_segments", "spacing", "boxes"),
    [
        ((100, 200), 50, None, (5, 10)),
        ((100, 100), 100, (1.0, 4.0), (5, 20)),
        ((60, 60, 20), 72, None, (6, 6, 2)),
        ((60, 60, 20), 216, (1.0, 1.0, 3.0), (6, 6, 6)),
        ((5,), 100, None, (5,)),
        ((1, 50), 10, None, (1, 10)),  # flat images and thin volumes too get what was asked for
        ((3, 512, 512), 2025, None, (1, 45, 45)),
        ((4, 100), 1000, (10.0, 1.0), (4, 100)),  # no box is smaller than a pixel
    ],
)
def test_boxes_of_the_grid_are_nearly_cubes_in_space(shape, n_segments, spacing, boxes):
    ids = grid(shape, n_segments, spacing)
    for axis, count in enumerate(boxes):
        line = ids[tuple(slice(None) if a == axis else 0 for a in range(len(shape)))]
        assert len(np.unique(line)) == count


@given(shape=st.lists(st.integers(1, 40), min_size=1, max_size=3).map(tuple), share=st.floats(0, 1))
def test_a_grid_has_about_as_many_boxes_as_asked_for(shape, share):
    n_segments = max(1, round(share * int(np.prod(shape))))
    assert n_segments / 2 <= grid(shape, n_segments).max() + 1 <= 2 * n_segments


def test_a_grid_has_at_least_one_box():
    with pytest.raises(ValueError, match="n_segments must be at least 1; got 0"):
        grid((4, 4), 0)
    assert (grid((4, 4), 1) == 0).all()


# --- channels -------------------------------------------------------------------------------------


def test_channels_are_mapped_by_their_own_minimum_and_maximum():
    image = np.array([[[0, 5, 10]], [[-1000, 0, 3000]]])
    scaled = scale_channels(image)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[[0, 0.5, 1]], [[0, 0.25, 1]]])


def test_the_mask_chooses_the_range_and_the_rest_is_clipped():
    image = np.array([[[0, 1, 2, 3, 255]]], np.uint8)
    mask = np.array([[False, True, True, True, False]])
    np.testing.assert_allclose(scale_channels(image, mask)[0, 0], [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(scale_channels(image, np.zeros((1, 5), bool)), scale_channels(image))


def test_percentiles():
    image = np.arange(101.0)[None, None]
    np.testing.assert_allclose(
        scale_channels(image, percentiles=(10, 60))[0, 0],
        np.clip((np.arange(101) - 10) / 50, 0, 1),
        atol=1e-6,
    )


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int64, np.float32])
def test_a_constant_channel_becomes_zero_and_wide_ranges_do_not_overflow(dtype):
    assert (scale_channels(np.full((1, 3, 3), 7, dtype)) == 0).all()
    limits = np.iinfo(dtype) if np.issubdtype(dtype, np.integer) else np.finfo(dtype)
    ends = np.array([[[limits.min, 0, limits.max]]], dtype)
    np.testing.assert_allclose(scale_channels(ends)[0, 0], [0, 0.5, 1], atol=0.51)
    assert scale_channels(ends)[0, 0, 2] == 1 and scale_channels(ends)[0, 0, 0] == 0


# --- slices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_made_one_by_one_and_numbered_through(axis):
    rng = np.random.default_rng(4)
    image = rng.normal(size=(2, 4, 5, 6)).astype(np.float32)
    mask = rng.random((4, 5, 6)) > 0.5
    spacing = (0.5, 1.0, 3.0)
    seen = []

    def make(part, steps, inside):
        seen.append(part.shape)
        np.testing.assert_array_equal(inside, np.take(mask, len(seen) - 1, axis=axis))
        assert steps == tuple(s for a, s in enumerate(spacing) if a != axis)
        np.testing.assert_array_equal(part, np.take(image, len(seen) - 1, axis=axis + 1))
        ids = np.arange(part[0].size).reshape(part[0].shape) // 3
        return np.where(ids == 1, -1, ids)  # a hole, and a number that is not used

    ids = by_slice(make, image, spacing, axis, mask)
    assert len(seen) == image.shape[axis + 1] and ids.dtype == np.int32
    slices = [np.take(ids, n, axis=axis) for n in range(len(seen))]
    numbers = [set(np.unique(s)) - {-1} for s in slices]
    for one, part in enumerate(slices):
        np.testing.assert_array_equal(part < 0, make_ids(part.shape) == 1)
        assert len(numbers[one]) == -(-part.size // 3) - 1
    assert sum(len(n) for n in numbers) == len(set().union(*numbers))  # no number twice
    assert min(numbers[0]) == 0


def make_ids(shape):
    return np.arange(int(np.prod(shape))).reshape(shape) // 3


def test_a_slice_without_superpixels_takes_no_numbers():
    image = np.zeros((1, 3, 2, 2), np.float32)
    image[0, 1] = 1

    def make(part, steps, inside):
        assert inside is None
        return np.full((2, 2), -1) if part.max() > 0 else np.array([[0, 1], [2, 3]])

    ids = by_slice(make, image, (1.0, 1.0, 1.0), 0)
    assert ids.tolist() == [[[0, 1], [2, 3]], [[-1, -1], [-1, -1]], [[4, 5], [6, 7]]]
