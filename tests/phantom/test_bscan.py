"""How an OCT instrument shows a retina: brightness, speckle, depth, wedges."""

import numpy as np
import pytest

from softlabel.phantom import make_oct_subject
from softlabel.phantom.graders import curve_contrast


@pytest.mark.slow
def test_the_fovea_is_a_pit_and_the_layers_have_their_order_of_brightness():
    # Without swelling: far from the fovea, many subjects.
    vitreous, nfl, onl, ise = [], [], [], []
    for number in range(1, 4):
        subject = make_oct_subject(8, number, (496, 768, 3))
        clean, labels = subject.clean[..., 0], subject.labels[..., 0]
        for values, label in ((vitreous, 0), (nfl, 1), (onl, 5), (ise, 6)):
            values.append(np.median(clean[(labels == label) & (clean < 255)]))
    assert np.mean(vitreous) + 25 < np.mean(onl) < np.mean(ise)
    assert np.mean(onl) + 20 < np.mean(nfl)


def test_choroid_fades_with_depth(subject):
    below = [
        np.mean(
            [
                subject.clean[int(subject.boundaries[7, c, 0]) + depth, c, 0]
                for c in range(100, 600, 7)
            ]
        )
        for depth in (10, 60, 120)
    ]
    assert below[0] > below[1] > below[2]


@pytest.mark.slow
def test_some_bscans_have_no_fluid_and_some_have_wedges():
    subjects = [make_oct_subject(4, n, (256, 384, 61), 11) for n in range(1, 4)]
    wet = np.concatenate([(s.fluid[..., s.bscans] > 0).any(axis=(0, 1)) for s in subjects])
    assert 0.4 < wet.mean() < 0.95
    white = np.concatenate([(s.images == 255).mean(axis=(0, 1)) for s in subjects])
    assert 0.005 < white.mean() < 0.08
    assert (white == 0).any()
    for s in subjects:
        touching = (s.images[0] == 255) | (s.images[-1] == 255)
        assert ((s.images == 255).any(axis=0) <= touching).all()


def test_speckle_is_multiplicative_and_correlated(subject):
    image, clean = subject.images[..., 0].astype(float), subject.clean[..., 0].astype(float)
    noise = image - clean
    tissue = (subject.labels[..., 0] == 2) & (clean < 250)
    # After the logarithm a factor is a difference: as strong in bright as in dim tissue.
    bright = noise[tissue & (clean > np.median(clean[tissue]))].std()
    dim = noise[tissue & (clean <= np.median(clean[tissue]))].std()
    assert 5 < dim < 30
    assert bright == pytest.approx(dim, rel=0.25)
    near = tissue[:, 1:] & tissue[:, :-1]
    far = tissue[:, 6:] & tissue[:, :-6]
    assert np.corrcoef(noise[:, 1:][near], noise[:, :-1][near])[0, 1] > 0.2
    assert abs(np.corrcoef(noise[:, 6:][far], noise[:, :-6][far])[0, 1]) < 0.1


def test_contrast_across_boundaries_varies(subject):
    contrast = curve_contrast(subject.clean, subject.boundaries, 20)[:, 100:650]
    low, high = np.quantile(contrast, (0.1, 0.9))
    assert high > 4 * low
