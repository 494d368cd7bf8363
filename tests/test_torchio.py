"""Cases as Subjects of TorchIO, compared with the cache itself and with maps padded by hand."""

from __future__ import annotations

from pathlib import Path

import factories
import numpy as np
import pytest

from softlabel.cache import open_cache
from softlabel.errors import CacheError

torch = pytest.importorskip("torch", reason="needs torch: pip install '.[torchio]'")
tio = pytest.importorskip("torchio", reason="needs TorchIO: pip install '.[torchio]'")

from softlabel.torchio import pad_with_background, to_subject  # noqa: E402

TURN = {"scales": (1.1, 1.1, 1), "degrees": (0, 0, 25), "translation": (2, -3, 0)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    cases = [factories.full_case(name, seed) for seed, name in enumerate("ab")]
    return factories.full_cache(tmp_path_factory.mktemp("cache"), cases)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """2D, and every pixel known: the sums of soft maps are 1 with the method gaussian."""
    return factories.make_cache(
        tmp_path_factory.mktemp("photos"), settings=factories.Settings(method="gaussian")
    )


def test_images_are_the_arrays_of_the_case(cache):
    case = open_cache(cache)["b"]
    subject = to_subject(case, superpixels=True)
    np.testing.assert_array_equal(subject["image"].data, case.image[...])
    np.testing.assert_array_equal(subject["soft"].data, case.soft[...])
    np.testing.assert_array_equal(subject["superpixels"].data[0], case.superpixels[...])
    values = np.select([case.labels[...] == v for v in (0, 7, 300)], [0, 1, 2], 255)
    np.testing.assert_array_equal(subject["label"].data[0], values)
    assert (subject["case"], subject["patient"]) == ("b", "Patient ß")
    assert subject.spacing == (0.5, 0.5, 2.0)
    assert isinstance(subject["label"], tio.LabelMap)
    assert isinstance(subject["soft"], tio.ScalarImage)  # else it would be the nearest pixel's


def test_images_of_two_axes_get_a_third(photos):
    case = next(iter(open_cache(photos).values()))
    subject = to_subject(case)
    assert subject["soft"].shape == (*case.soft.shape, 1) and subject.is_2d()


def test_resampling_is_linear_and_keeps_the_sums(photos):
    subject = to_subject(next(iter(open_cache(photos).values())))
    fine = tio.Resample((0.5, 0.5, 1))(subject)
    np.testing.assert_allclose(fine["soft"].data.sum(0), 1, atol=1e-5)
    values = set(subject["soft"].data.unique().tolist())
    assert not set(fine["soft"].data.unique().tolist()) <= values
    assert set(fine["label"].data.unique().tolist()) == {0, 1, 2}


@pytest.mark.parametrize("pad", [0, "minimum"])
@pytest.mark.parametrize("background", [0, 2])
def test_padding_keeps_the_sums(photos, pad, background):
    subject = to_subject(next(iter(open_cache(photos).values())))
    turn = tio.Affine(**TURN, default_pad_value=pad)
    assert turn(subject)["soft"].data.sum(0).min() < 0.01
    soft = pad_with_background(turn, background=background)(subject)["soft"].data
    np.testing.assert_allclose(soft.sum(0), 1, atol=1e-5)
    corners = soft[background, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.max() == pytest.approx(1)


def test_each_channel_is_padded_as_if_it_were_alone(cache):
    """The reference: a Subject of one channel, for which TorchIO has a value to pad with."""
    subject = to_subject(open_cache(cache)["a"], superpixels=True)
    found = pad_with_background(tio.Affine(**TURN, default_pad_value=0))(subject)
    for channel, outside in enumerate((1, 0, 0)):
        image = tio.ScalarImage(
            tensor=subject["soft"].data[channel : channel + 1], affine=subject["soft"].affine
        )
        expected = tio.Affine(**TURN, default_pad_value=outside)(image)
        np.testing.assert_allclose(found["soft"].data[channel], expected.data[0], atol=1e-6)
    ids = tio.Affine(**TURN, default_pad_label=-1)(subject)["superpixels"].data
    np.testing.assert_array_equal(found["superpixels"].data, ids)


def test_subjects_load_in_batches(cache):
    subjects = [to_subject(case) for case in open_cache(cache).values()]
    flip = pad_with_background(tio.RandomFlip(0, flip_probability=1))
    loader = tio.SubjectsLoader(tio.SubjectsDataset(subjects, flip), batch_size=2)
    (batch,) = loader
    for n, case in enumerate(open_cache(cache).values()):
        np.testing.assert_allclose(batch["soft"]["data"][n], case.soft[...][:, ::-1], atol=1e-6)


def test_a_case_without_superpixels_is_refused_in_a_sentence(photos):
    with pytest.raises(CacheError, match="holds no superpixels, as its method needs none"):
        to_subject(next(iter(open_cache(photos).values())), superpixels=True)
