"""How one case is computed: SLIC and soften(), with masks, raters, slices and units."""

from __future__ import annotations

from dataclasses import replace

import factories
import numpy as np
import pytest
from scipy import ndimage

import softlabel
from softlabel.errors import CaseError
from softlabel.generation.compute import compute
from softlabel.generation.settings import Settings, idle_settings
from softlabel.types import Case, ClassTable

QUICK = factories.QUICK


def header_of(case, ignore=None, channels=()):
    return softlabel.cache.Header("{}", "f", case.classes, ignore, channels)


def test_computing_is_slic_and_soften():
    case = factories.small_case()
    result = compute(case, header_of(case), QUICK)
    scaled = (case.image - case.image.min()) / np.float32(np.ptp(case.image.astype(float)))
    ids = softlabel.slic(scaled.astype(np.float32), 24, channel_axis=0)
    np.testing.assert_array_equal(result.superpixels, ids)
    dense = softlabel.soften(case.labels, ids).dense()
    np.testing.assert_array_equal(result.soft.dense(), dense)
    numbers = result.statistics
    assert numbers.n_superpixels == ids.max() + 1 and numbers.n_superpixels_asked == 24
    assert numbers.softened_pixels == np.any((dense != 0) & (dense != 1), axis=0).sum() > 0
    assert numbers.soft_sum == pytest.approx(dense.sum(dtype=float))
    assert numbers.pixels == case.labels.size


def test_masked_pixels_have_no_superpixel_and_stay_hard():
    mask = np.ones((40, 44), bool)
    mask[:12] = mask[:, :5] = False
    case = factories.small_case(mask=mask)
    for mode in ("after", "slic"):
        result = compute(case, header_of(case), replace(QUICK, mask_mode=mode))
        np.testing.assert_array_equal(result.superpixels < 0, ~mask)
        assert set(np.unique(result.superpixels)) == {-1, *range(result.statistics.n_superpixels)}
        hard = result.soft.dense()[:, ~mask]
        assert set(np.unique(hard)) <= {0, 1}
        assert result.statistics.pixels == mask.sum()
        assert result.statistics.intensity_max[0] == case.image[0][mask].max()


def test_superpixels_of_masked_slic_hang_together():
    mask = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 44)), 1) > 0
    case = factories.small_case(mask=mask)
    settings = replace(QUICK, mask_mode="slic", compactness=1.0)
    found = compute(case, header_of(case), settings)
    assert all(ndimage.label(found.superpixels == n)[1] == 1
               for n in range(found.statistics.n_superpixels))  # fmt: skip
    old = compute(case, replace(header_of(case), format_version=1), settings)
    assert any(ndimage.label(old.superpixels == n)[1] > 1
               for n in range(old.statistics.n_superpixels))  # fmt: skip


def test_an_image_that_is_masked_whole_is_hard():
    case = factories.small_case(mask=np.zeros((40, 44), bool))
    result = compute(case, header_of(case), QUICK)
    assert (result.superpixels == -1).all() and result.statistics.n_superpixels == 0
    assert not result.soft.band.any()


def test_raters_are_averaged_and_their_maps_kept():
    labels = factories.scene()[1]
    other = np.roll(labels, 2, axis=0)
    case = factories.small_case(
        labels=np.stack([labels, other]), rater_axis=0, raters=("first", "second")
    )
    result = compute(case, header_of(case), QUICK)
    dense = [
        softlabel.soften(m, result.superpixels, classes=case.classes).dense()
        for m in (labels, other)
    ]
    np.testing.assert_allclose(result.soft.dense(), np.mean(dense, axis=0), atol=1e-6)
    np.testing.assert_array_equal(result.labels, labels)  # the earliest of equals
    assert set(result.label_maps) == {"first", "second"}
    np.testing.assert_array_equal(result.label_maps["second"], other)


def test_the_majority_of_raters_with_ignored_pixels():
    labels = np.array([[[0, 7, 9, 9]], [[0, 0, 7, 9]], [[7, 0, 7, 9]]])
    case = Case(
        "x", np.zeros((1, 1, 4), np.float32), labels, ClassTable.from_values([0, 7]), ignore=9,
        rater_axis=0,
    )  # fmt: skip
    result = compute(case, header_of(case, ignore=9), Settings(n_segments=1))
    assert result.labels.tolist() == [[0, 0, 7, 9]]
    assert set(result.label_maps) == {"rater1", "rater2", "rater3"}
    assert result.statistics.class_pixels.tolist() == [2, 1]


OTHER = {
    "superpixels": "grid", "n_segments": 30, "superpixel_size": 25.0, "compactness": 2.0,
    "sigma": 3.0, "max_num_iter": 1, "slic_dims": "slice", "slice_axis": 0,
    "channel_percentiles": (30.0, 60.0), "mask_mode": "slic", "slic_code": "device",
    "boundary": "edge", "scale": 2.0, "distance_unit": "mm",
    "preset": "auto",
}  # fmt: skip


@pytest.mark.parametrize(
    "base",
    [
        {},
        {"superpixel_size": 60},
        {"superpixels": "grid"},
        {"superpixels": "file"},
        {"preset": "auto"},
        {"superpixels": "file", "method_options": {"in_plane": True}},
        {"method": "gaussian"},
        {"method": "distance"},
        {"method": "svls"},
    ],
    ids=str,
)
def test_idle_settings_change_nothing(base):
    case = factories.full_case()
    given = np.arange(case.labels.size).reshape(case.labels.shape) // 40
    header, settings = header_of(case, ignore=999), Settings(n_segments=12)

    def values(**changes):
        result = compute(case, header, replace(settings, **changes), superpixels=given)
        return [] if result.superpixels is None else result.superpixels, result.soft.dense()

    before = values(**base)
    for name in idle_settings(replace(settings, **base)):
        for old, new in zip(before, values(**base, **{name: OTHER[name]}), strict=True):
            np.testing.assert_array_equal(new, old, err_msg=name)


@pytest.mark.parametrize(
    ("changes", "settings", "words"),
    [
        ({}, Settings(distance_unit="mm"), r"no pixel spacing.*--distance-unit pixel"),
        ({}, Settings(superpixels="file"), r"shape None, the image has \(40, 44\)"),
        ({}, Settings(slic_dims="slice", slice_axis=2), r"slice_axis must lie in 0\.\.1; got 2"),
        (
            {"image": np.zeros((1, 4, 5, 6)), "labels": np.zeros((4, 5, 6), int)},
            Settings(slic_dims="slice"),
            r"nothing tells which axis is across the slices.*give --slice-axis 0 to 2",
        ),
        ({"labels": np.full((40, 44), 3)}, QUICK, r"holds \[3\], which are not among"),
        ({"labels": np.zeros((40, 43), int)}, QUICK, "shape"),
        ({"labels": np.zeros((40, 44))}, QUICK, "integers"),
    ],
)
def test_what_cannot_be_computed_is_a_sentence_about_the_case(changes, settings, words):
    case = factories.small_case(**changes)
    with pytest.raises(CaseError, match=rf"^x \(x\.png\): .*{words}"):
        compute(case, header_of(factories.small_case()), settings)


def test_channels_must_be_those_of_the_data_set():
    case = factories.small_case()
    header = header_of(case, channels=("red", "green", "blue"))
    with pytest.raises(
        CaseError, match=r"1 channel, most images of the data set have 3 \(red, green, blue\)"
    ):
        compute(case, header, QUICK)


def test_distances_in_mm_use_the_spacing():
    case = factories.full_case()
    settings = Settings(n_segments=20, distance_unit="mm")
    result = compute(case, header_of(case, 999), settings)
    expected = softlabel.soften(
        case.labels, result.superpixels, classes=case.classes, ignore=999, spacing=case.spacing_mm
    )
    np.testing.assert_array_equal(result.soft.dense(), expected.dense())
    in_plane = replace(settings, method_options={"in_plane": True}, slice_axis=0)
    result = compute(case, header_of(case, 999), in_plane)
    expected = softlabel.soften(
        case.labels, result.superpixels, classes=case.classes, ignore=999,
        spacing=case.spacing_mm, in_plane=True, slice_axis=0,
    )  # fmt: skip
    np.testing.assert_array_equal(result.soft.dense(), expected.dense())


def test_the_gaussian_method_makes_no_superpixels():
    case = factories.small_case()
    result = compute(case, header_of(case), Settings(method="gaussian", method_options={"blur": 2}))
    assert result.superpixels is None and result.statistics.n_superpixels == 0
    np.testing.assert_array_equal(
        result.soft.dense(), softlabel.soften(case.labels, method="gaussian", blur=2).dense()
    )


@pytest.mark.parametrize(
    ("shape", "labels"),
    [((1, 1), 0), ((1, 1, 1), 255), ((1, 30), 128), ((40, 44), 0)],
)
def test_degenerate_images_are_valid(shape, labels):
    case = factories.small_case(
        image=np.zeros((1, *shape), np.uint8), labels=np.full(shape, labels)
    )
    result = compute(case, header_of(case), QUICK)
    dense = result.soft.dense()
    assert (dense[factories.VALUES.index(labels)] == 1).all()
    assert dense.sum() == np.prod(shape)


def test_a_class_of_one_pixel_is_kept():
    labels = np.zeros((40, 44), np.uint8)
    labels[20, 20] = 255
    case = factories.small_case(labels=labels)
    result = compute(case, header_of(case), QUICK)
    assert result.statistics.class_pixels.tolist() == [40 * 44 - 1, 0, 1]
    assert result.soft.dense()[2, 20, 20] == 0.5


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("block", [7, 1 << 20])
def test_sums_of_intensities_are_those_of_float64(dtype, block, monkeypatch):
    """By blocks where that is exact: wide integers and floating-point numbers are summed whole."""
    monkeypatch.setattr("softlabel.generation.compute.BLOCK", block)
    rng = np.random.default_rng(0)
    low = -(2**31) if dtype == "int32" else -1000 if dtype == "int16" else 0
    high = min(-low, 2**31 - 1) if low else 250
    image = rng.integers(low, high, (2, 40, 30)).astype(dtype)
    image = image * 1.1 if dtype.startswith("float") else image
    case = replace(factories.small_case(), image=image, labels=np.zeros((40, 30), np.uint8),
                   mask=None, truth=None, label_maps={}, channels=())  # fmt: skip
    result = compute(case, header_of(case), Settings(superpixels="grid"))
    for c, channel in enumerate(image.astype(np.float64).reshape(2, -1)):
        found = result.statistics
        assert found.intensity_sum[c] == channel.sum()
        assert found.intensity_sum_squares[c] == np.dot(channel, channel)
        assert (found.intensity_min[c], found.intensity_max[c]) == (channel.min(), channel.max())
    assert found.class_pixels.tolist()[:2] == [1200, 0]


@pytest.mark.parametrize("fuse", ["mean", "soft-staple"])
def test_raters_are_fused_as_the_settings_say(fuse):
    image, labels = factories.scene()
    maps = np.stack([labels, np.roll(labels, 2, axis=0), np.roll(labels, -1, axis=1)])
    case = factories.small_case(image=image[None], labels=maps, rater_axis=0)
    header = header_of(case, ignore=None)
    found = compute(case, header, Settings(method="gaussian", fuse=fuse)).soft.dense()
    wanted = softlabel.soften(
        maps, method="gaussian", rater_axis=0, fuse=fuse, classes=header.classes
    ).dense()
    np.testing.assert_array_equal(found, wanted)


def test_a_case_of_one_rater_is_not_fused():
    image, labels = factories.scene()
    case = factories.small_case(image=image[None], labels=labels)
    with pytest.raises(CaseError, match="takes label maps of several raters, and there is one"):
        compute(case, header_of(case, ignore=None), Settings(fuse="soft-staple", n_segments=9))
