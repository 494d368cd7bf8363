"""soften(): what it accepts, what it assumes, and its sentences for what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

import softlabel
from softlabel.errors import SourceError
from softlabel.softening import METHODS
from softlabel.superpixels.front import scale_channels
from softlabel.types import ClassTable

SOFTENING = [name for name, method in METHODS.items() if not method.takes_soft_labels]

ROW = np.array([1, 1, 1, 0, 0])
ONE = np.zeros(5, int)


# --- classes --------------------------------------------------------------------------------------


def test_classes_are_the_values_found_in_ascending_order():
    maps = softlabel.soften(np.array([200, 200, 7, 7, 0]), np.zeros(5, int))
    assert maps.classes == (0, 7, 200)
    assert maps.shape == (3, 5)
    np.testing.assert_array_equal(maps.dense().argmax(axis=0), [2, 2, 1, 1, 0])


def test_an_ignored_value_is_no_class():
    maps = softlabel.soften(np.array([1, 9, 0]), np.zeros(3, int), ignore=9)
    assert maps.classes == (0, 1)
    maps = softlabel.soften(np.array([1, 9, 0]), np.zeros(3, int), ignore=9, classes=(0, 1, 9))
    assert (maps.dense()[:, 1] == 0).all()


@pytest.mark.parametrize(
    "classes",
    [
        {7: "tumour", 0: "background", 1: "liver"},
        (0, 1, 7),
        [7, 1, 0],
        np.array([7, 0, 1]),
        ClassTable((0, 1, 7), ("background", "liver", "tumour")),
    ],
)
def test_classes_may_be_given(classes):
    maps = softlabel.soften(ROW, ONE, classes=classes)
    assert maps.classes == (0, 1, 7)
    assert (maps.dense()[2] == 0).all()
    if isinstance(classes, dict | ClassTable):
        assert maps.table.names == ("background", "liver", "tumour")


def test_classes_of_several_raters_are_those_of_any():
    maps = softlabel.soften(np.array([[0, 1], [0, 5]]), np.zeros(2, int), rater_axis=0)
    assert maps.classes == (0, 1, 5)


# --- labels and superpixels of every type ---------------------------------------------------------


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.uint16, np.int32, np.uint64, ">i4"])
def test_any_integer_type(dtype):
    maps = softlabel.soften(ROW.astype(dtype), ONE)
    np.testing.assert_array_equal(maps.dense(), softlabel.soften(ROW, ONE).dense())


def test_lists_are_arrays():
    maps = softlabel.soften(ROW.tolist(), ONE.tolist())
    np.testing.assert_array_equal(maps.dense(), softlabel.soften(ROW, ONE).dense())


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int64, np.uint64])
def test_superpixels_of_any_integer_type(dtype):
    superpixels = np.array([0, 0, 1, 1, 1])
    wanted = softlabel.soften(ROW, superpixels).dense()
    np.testing.assert_array_equal(softlabel.soften(ROW, superpixels.astype(dtype)).dense(), wanted)


@pytest.mark.parametrize("big", [10, 1000, 2**31, 2**32, 2**40])
def test_superpixel_ids_may_be_anything(big):
    """Ids of somebody else's file: neither consecutive nor small, any negative one is none."""
    superpixels = np.array([big, big, 3, 3, 3])
    wanted = softlabel.soften(ROW, np.array([0, 0, 1, 1, 1])).dense()
    np.testing.assert_array_equal(softlabel.soften(ROW, superpixels).dense(), wanted)
    assert not softlabel.soften(ROW, np.full(5, -big)).band.any()


def test_arguments_are_left_alone():
    rng = np.random.default_rng(0)
    labels, superpixels = rng.integers(0, 3, (8, 9)), rng.integers(-1, 4, (8, 9))
    image = rng.normal(size=(8, 9))
    copies = labels.copy(), superpixels.copy(), image.copy()
    for array in (labels, superpixels, image):
        array.setflags(write=False)
    softlabel.soften(labels, superpixels, normalize="sum", ignore=2, classes=(0, 1))
    softlabel.soften(labels, image=image)
    softlabel.soften(labels, method="gaussian")
    for array, copy in zip((labels, superpixels, image), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 1, 1)])
@pytest.mark.parametrize("method", SOFTENING)
def test_one_pixel(shape, method):
    zeros = np.zeros(shape, int)
    maps = softlabel.soften(np.full(shape, 3), zeros, image=zeros, method=method)
    assert maps.dense().tolist() == np.ones((1, *shape)).tolist()


@pytest.mark.parametrize("method", SOFTENING)
def test_only_ignored_pixels(method):
    labels = np.full((3, 4), 255)
    zeros = np.zeros((3, 4), int)
    maps = softlabel.soften(labels, zeros, image=zeros, method=method, ignore=255, classes=(0, 1))
    assert not maps.dense().any() and not maps.band.any() and maps.total() == 0


# --- superpixels from the image -------------------------------------------------------------------


def ramp_and_noise(shape):
    """A label map with more ones to the right, and an image of smooth noise."""
    rng = np.random.default_rng(1)
    labels = (rng.random(shape) < np.linspace(0, 1, shape[1])).astype(int)
    return labels, ndimage.gaussian_filter(rng.normal(size=shape), 2)


def test_superpixels_are_made_from_the_image():
    labels, noise = ramp_and_noise((100, 120))
    image = np.stack([noise, 1000 * noise[::-1]])
    superpixels = softlabel.slic(scale_channels(image), channel_axis=0)
    wanted = softlabel.soften(labels, superpixels).dense()
    np.testing.assert_array_equal(softlabel.soften(labels, image=image).dense(), wanted)
    wanted = softlabel.soften(labels, softlabel.slic(scale_channels(image[:1]), channel_axis=0))
    np.testing.assert_array_equal(softlabel.soften(labels, image=image[0]).dense(), wanted.dense())


def test_superpixels_from_the_image_do_not_depend_on_the_unit_of_the_spacing():
    labels, image = ramp_and_noise((100, 120))
    q = [
        softlabel.soften(labels, image=image, spacing=spacing).dense()
        for spacing in ((0.004, 0.012), (4.0, 12.0))  # mm, µm
    ]
    np.testing.assert_allclose(q[0], q[1], atol=1e-6)
    superpixels = softlabel.slic(scale_channels(image[None])[0], spacing=(1.0, 3.0))
    wanted = softlabel.soften(labels, superpixels, spacing=(1.0, 3.0)).dense()
    np.testing.assert_allclose(q[0], wanted, atol=1e-6)


def test_intensities_of_a_wide_integer_range():
    """max − min of these does not fit the type of the image."""
    labels, noise = ramp_and_noise((100, 120))
    image = np.interp(noise, [noise.min(), noise.max()], [-32000, 32000]).astype(np.int16)
    wanted = softlabel.soften(labels, image=image.astype(np.float64)).dense()
    np.testing.assert_array_equal(softlabel.soften(labels, image=image).dense(), wanted)


def test_given_superpixels_win_over_the_image():
    maps = softlabel.soften(ROW, ONE, image=np.zeros(5))
    np.testing.assert_array_equal(maps.dense(), softlabel.soften(ROW, ONE).dense())


# --- refusals -------------------------------------------------------------------------------------

REFUSED = {
    "method": ({"method": "blur"}, "method must be one of superpixel, gaussian.*; got 'blur'"),
    "normalize": ({"normalize": "max"}, "normalize must be one of none, sum; got 'max'"),
    "boundary": ({"boundary": "mid"}, "boundary must be one of inner, .*; got 'mid'"),
    "option": ({"blur": 1.0}, "The method superpixel has no option 'blur'; it has: boundary, "),
    "other option": (
        {"method": "gaussian", "in_plane": True},
        "The method gaussian has no option 'in_plane'; it has: blur",
    ),
    "text for a bool": ({"in_plane": "no"}, "in_plane must be True or False; got 'no'"),
    "bool for a number": (
        {"method": "gaussian", "blur": True}, "blur must be a number; got True",
    ),
    "scale 0": ({"scale": 0.0}, "scale must be a positive number; got 0.0"),
    "scale < 0": ({"scale": -1.0}, "scale must be a positive number; got -1.0"),
    "scale inf": ({"scale": float("inf")}, "scale must be a positive number; got inf"),
    "scale nan": ({"scale": float("nan")}, "scale must be a positive number; got nan"),
    "spacing count": ({"spacing": (1.0, 2.0)}, "spacing must be 1 finite positive numbers"),
    "spacing scalar": ({"spacing": 0.0}, "spacing must be 1 finite positive numbers.*got 0.0"),
    "spacing 0": ({"spacing": (0.0,)}, "spacing must be 1 finite positive numbers"),
    "spacing tiny": ({"spacing": (1e-200,)}, r"spacing must lie in 1e-06 to 1e\+06"),
    "spacing huge": ({"spacing": (1e200,)}, r"spacing must lie in 1e-06 to 1e\+06"),
    "spacing nan": ({"spacing": (float("nan"),)}, "spacing must be 1 finite positive numbers"),
    "no superpixels": ({"superpixels": None}, "needs superpixels; give superpixels= or image="),
    "shape": (
        {"superpixels": np.zeros(4, int)},
        r"superpixels and labels must have one shape; got \(4,\) and \(5,\)",
    ),
    "float superpixels": ({"superpixels": np.zeros(5)}, "superpixels must be integers; got float"),
    "bool superpixels": ({"superpixels": ONE == 0}, "superpixels must be integers; got bool"),
    "float labels": ({"labels": ROW * 1.0}, "labels must be integers; got float64"),
    "text labels": ({"labels": np.array(["a"])}, "labels must be integers; got <U1"),
    "4D": ({"labels": np.zeros((1, 1, 1, 1), int)}, r"1 to 3 spatial axes; got shape \(1, 1, 1,"),
    "0D": ({"labels": np.array(3)}, r"labels must have 1 to 3 spatial axes; got shape \(\)"),
    "empty": ({"labels": np.zeros((0, 5), int)}, r"labels hold no pixel; got shape \(0, 5\)"),
    "no rater": (
        {"labels": np.zeros((0, 5), int), "rater_axis": 0},
        r"1 to 3 spatial axes; got shape \(0, 5\)",
    ),
    "rater axis": ({"rater_axis": 3}, "axis 3 is out of bounds for array of dimension 1"),
    "outside": ({"classes": (0, 2)}, r"holds \[1\], which are not among the classes \[0, 2\];"),
    "ignored": ({"labels": ROW * 0 + 9, "ignore": 9}, "only ignored pixels; give classes="),
    "image shape": (
        {"superpixels": None, "labels": np.eye(3, dtype=int), "image": np.zeros((3, 4))},
        r"image must have shape \(3, 3\) or \(C, 3, 3\) like the labels; got \(3, 4\)",
    ),
    "channels last": (
        {"superpixels": None, "labels": np.zeros((4, 5), int), "image": np.zeros((4, 5, 3))},
        r"got \(4, 5, 3\); np.moveaxis\(image, -1, 0\) puts its channels first",
    ),
    "image nan": (
        {"superpixels": None, "labels": np.eye(2, dtype=int), "image": np.full((2, 2), np.nan)},
        "image must be finite; it holds NaN or infinite values",
    ),
    "image 1D": ({"superpixels": None, "image": np.zeros(5)}, "image must be 2D or 3D"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(case):
    changed, sentence = REFUSED[case]
    arguments = {"labels": ROW, "superpixels": ONE} | changed
    with pytest.raises(ValueError, match=sentence):
        softlabel.soften(**arguments)


def test_negative_labels_are_refused_unless_ignored():
    labels = np.array([0, 1, -1])
    with pytest.raises(SourceError, match="not negative; found \\[-1, 0, 1\\]"):
        softlabel.soften(labels, np.zeros(3, int))
    assert softlabel.soften(labels, np.zeros(3, int), ignore=-1).classes == (0, 1)


def test_an_image_taken_for_labels_is_refused():
    with pytest.raises(SourceError, match="5000 classes; expected 1 to 4096"):
        softlabel.soften(np.arange(5000), np.zeros(5000, int))
