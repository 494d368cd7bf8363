"""Thumbnails of predictions."""

import factories
import numpy as np
import pytest
from pages import decoded

from softlabel.cache import open_cache
from softlabel.errors import UsageError
from softlabel.reports.predictions import ERRORS, PREDICTION, prediction_thumbnails, worst_slices

MANY = 10_000_000


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    with open_cache(factories.full_cache(tmp_path_factory.mktemp("volume"))) as cache:
        yield cache


def true_classes(volume):
    """Id and class indices of the only case, 0 where nothing is annotated."""
    (case_id,) = volume
    labels = volume[case_id].labels[...]
    return case_id, np.where(labels == 7, 1, np.where(labels == 300, 2, 0))


def test_only_wrong_pixels_that_are_annotated_are_marked(volume):
    case_id, prediction = true_classes(volume)
    prediction[0, 0, 3] = 2  # nothing is annotated there
    prediction[10, 12, 3] = 2
    assert volume[case_id].labels[10, 12, 3] == 7
    found = prediction_thumbnails(volume, case_id, prediction, MANY)
    wrong = {p.name: decoded(p.overlays[ERRORS])[..., 3] > 0 for p in found.pictures}
    assert [name for name, where in wrong.items() if where.any()] == ["slice 3 of axis 2"]
    expected = np.zeros((18, 20), bool)
    expected[10, 12] = True
    np.testing.assert_array_equal(wrong["slice 3 of axis 2"], expected.T[::-1, ::-1])


def test_the_prediction_lies_on_the_image_as_the_labels_do(volume):
    case_id, prediction = true_classes(volume)
    found = prediction_thumbnails(volume, case_id, prediction, MANY)
    for picture in found.pictures:
        known = decoded(picture.overlays["labels"])[..., 3] == 90
        seen = decoded(picture.overlays[PREDICTION])
        inside = known & (seen[..., 3] == 90)
        assert inside.sum() > 100
        np.testing.assert_array_equal(seen[inside], decoded(picture.overlays["labels"])[inside])


def test_slices_with_the_most_errors_are_chosen(volume):
    case_id, prediction = true_classes(volume)
    for number, errors in ((1, 4), (4, 9), (2, 1)):
        prediction[8, 4 : 4 + errors, number] = 0
    assert worst_slices(volume, volume[case_id], prediction, 2, 2) == [1, 4]


def test_a_prediction_of_another_grid_is_refused(volume):
    case_id, prediction = true_classes(volume)
    with pytest.raises(UsageError, match="grid of the cache"):
        prediction_thumbnails(volume, case_id, prediction[1:], MANY)
