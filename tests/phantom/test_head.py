"""The anatomy of a head: every tissue in a plausible amount and form."""

import numpy as np
import pytest
from scipy import ndimage

from softlabel.phantom.head import TISSUES


@pytest.mark.slow
def test_every_label_is_there_in_a_plausible_amount(brain):
    ml = np.bincount(brain.labels.ravel(), minlength=11) * np.prod(brain.spacing_mm) / 1000
    expected = {
        1: (300, 700),
        2: (15, 70),
        3: (250, 700),
        4: (0.2, 40),
        5: (150, 600),
        6: (8, 80),
        7: (80, 190),
        8: (15, 50),
        9: (0.05, 20),
        10: (0.05, 10),
    }
    for label, (low, high) in expected.items():
        assert low < ml[label] < high, (label, ml[label])


@pytest.mark.slow
def test_cortex_is_a_folded_ribbon(brain):
    cortex = brain.labels == 1
    plane = cortex[:, :, 34]
    inside = ndimage.distance_transform_edt(plane, sampling=brain.spacing_mm[:2])
    assert inside.max() < 9
    assert np.median(inside[plane]) < 2.5
    # Folded: much longer than the outline of the brain that it covers.
    outline = ndimage.binary_fill_holes(brain.labels[:, :, 34] > 0)
    length = (outline & ~ndimage.binary_erosion(outline)).sum()
    pial = cortex[:, :, 34] & ndimage.binary_dilation(brain.labels[:, :, 34] == 5)
    assert pial.sum() > 1.5 * length


def test_tissues_cover_all_labels():
    assert set(TISSUES.label.tolist()) == set(range(11))
