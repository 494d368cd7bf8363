"""Factors of noise and contrast change the image as they say, and never the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from softlabel.errors import UsageError
from softlabel.phantom import Visibility, make_brain, make_oct_subject

OCT, MRI = (224, 128, 1), (64, 64, 16)


def oct_subject(**factors):
    return make_oct_subject(0, 1, OCT, visibility=Visibility(**factors))


def brain(**factors):
    return make_brain(0, 1, MRI, visibility=Visibility(**factors))


def noise_of(subject):
    rough = subject.images.astype(float) - subject.clean
    return float(rough[subject.clean > 60].std())


def contrast_of_layers(subject):
    """Standard deviation of the mean grey level of layers 1 to 7."""
    grey = subject.clean[..., subject.bscans].astype(float)
    return np.std([grey[subject.labels == k].mean() for k in range(1, 8)])


@pytest.mark.parametrize("make", [oct_subject, brain])
def test_one_is_what_it_was(make):
    plain = make_oct_subject(0, 1, OCT) if make is oct_subject else make_brain(0, 1, MRI)
    np.testing.assert_array_equal(make(noise=1, contrast=1).images, plain.images)


@pytest.mark.parametrize("make", [oct_subject, brain])
@pytest.mark.parametrize("factors", [{"noise": 0.5}, {"contrast": 0.3}])
def test_the_truth_stays(make, factors):
    np.testing.assert_array_equal(make(**factors).labels, make().labels)


@pytest.mark.parametrize("make", [oct_subject, brain])
def test_noise_follows_its_factor(make):
    usual = noise_of(make())
    assert noise_of(make(noise=0.5)) == pytest.approx(0.5 * usual, rel=0.15)
    assert noise_of(make(noise=1.7)) == pytest.approx(1.7 * usual, rel=0.15)


def test_contrast_of_layers_follows_its_factor():
    usual, half = (contrast_of_layers(oct_subject(contrast=c)) for c in (1, 0.5))
    assert half == pytest.approx(0.5 * usual, rel=0.2)


def test_contrast_of_tissues_follows_its_factor():
    def spread(subject):
        t1 = ndimage.median_filter(subject.clean[1].astype(float), 3)
        return abs(np.median(t1[subject.labels == 3]) - np.median(t1[subject.labels == 1]))

    assert spread(brain(contrast=0.5)) == pytest.approx(0.5 * spread(brain()), rel=0.25)


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"noise": 0}, "noise factor is 0; expected 0.25 to 4"),
        ({"contrast": -1}, "contrast factor is -1; expected 0 to 2"),
    ],
)
def test_factors_out_of_range_are_refused(factors, words):
    with pytest.raises(UsageError, match=words):
        Visibility(**factors)
