"""Macular OCT volumes: their shapes, annotations, and that they follow from a seed."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import spearmanr

from softlabel.errors import UsageError
from softlabel.phantom import Grader, annotate_oct, make_oct_subject
from softlabel.phantom.graders import curve_contrast
from softlabel.phantom.oct import annotated_bscans

SMALL = (256, 256, 5)


def test_shapes_and_types(subject):
    assert subject.images.shape == subject.clean.shape == subject.fluid.shape == (496, 768, 7)
    assert subject.images.dtype == subject.clean.dtype == subject.labels.dtype == np.uint8
    assert subject.boundaries.shape == (8, 768, 7)
    assert np.array_equal(subject.bscans, np.arange(7))
    assert set(np.unique(subject.labels)) == set(range(10))


def test_labels_follow_the_boundaries(subject):
    column, bscan = 300, 3
    labels = subject.labels[:, column, bscan]
    for boundary, value in enumerate(subject.boundaries[:, column, bscan]):
        dry = labels[labels != 9]
        rows = np.arange(496)[labels != 9]
        assert np.array_equal(dry > boundary, rows >= value)


def test_the_real_lists_of_annotated_bscans():
    base = [10, 15, 20, 25, 28, 30, 32, 35, 40, 45, 50]
    for number, shift in {1: 0, 4: -4, 5: -2, 7: 1, 8: -2, 10: 0, 11: 0}.items():
        assert annotated_bscans(number, 61, 11).tolist() == [i + shift for i in base]
    assert annotated_bscans(1, 4, 4).tolist() == [0, 1, 2, 3]
    for n, k in ((5, 2), (61, 3), (9, 8)):
        chosen = annotated_bscans(4, n, k)
        assert len(set(chosen.tolist())) == k
        assert 0 <= chosen.min() <= chosen.max() < n


def test_a_subject_follows_from_seed_and_number():
    one, again = make_oct_subject(1, 2, SMALL), make_oct_subject(1, 2, SMALL)
    assert np.array_equal(one.images, again.images)
    assert np.array_equal(one.boundaries, again.boundaries)
    for other in (make_oct_subject(1, 3, SMALL), make_oct_subject(2, 2, SMALL)):
        assert not np.array_equal(one.boundaries, other.boundaries)


@pytest.mark.parametrize(
    ("shape", "annotated"),
    [
        ((200, 768, 3), 1),
        ((496, 100, 3), 1),
        ((496, 768, 0), 0),
        ((496, 768, 3), 4),
        ((9999, 768, 1), 1),
    ],
)
def test_impossible_sizes_are_refused(shape, annotated):
    with pytest.raises(UsageError, match="give"):
        make_oct_subject(0, 1, shape, annotated)


# --- annotation


@pytest.mark.parametrize("kind", ["contrast", "uniform", "bias"])
def test_annotations_meet_the_rms_where_it_is_measured(subject, kind):
    drawn = annotate_oct(subject, Grader(kind, 1.5))
    d = drawn.boundaries - subject.boundaries
    known = np.isfinite(d)
    assert np.sqrt(np.mean(d[known] ** 2)) == pytest.approx(1.5, rel=0.03)
    contrast = curve_contrast(subject.clean, subject.boundaries, 20)
    rho = spearmanr(np.abs(d[known]), contrast[known]).statistic
    if kind == "contrast":
        assert rho < -0.2
    else:
        assert abs(rho) < 0.12


def test_annotated_columns_and_gaps(subject):
    drawn = annotate_oct(subject, Grader()).boundaries
    known = np.isfinite(drawn)
    for b, (first, end) in enumerate(subject.annotated_columns):
        assert 75 <= first <= 95
        assert 655 <= end <= 680
        assert not known[:, :first, b].any()
        assert not known[:, end:, b].any()
        assert known[:, first:end, b].mean() > 0.99
    assert not known[:, 100:650].all()
    assert np.nanmin(np.diff(drawn, axis=0)) >= 0


def test_two_graders_are_independent_draws_and_biases_are_habits(subject):
    one, two = (annotate_oct(subject, Grader("uniform"), who) for who in (1, 2))
    d1, d2 = one.boundaries - subject.boundaries, two.boundaries - subject.boundaries
    known = np.isfinite(d1) & np.isfinite(d2)
    assert abs(np.corrcoef(d1[known], d2[known])[0, 1]) < 0.15
    assert not np.array_equal(one.fluid, two.fluid)
    other = make_oct_subject(3, 2, SMALL)
    here = annotate_oct(subject, Grader("bias")).boundaries - subject.boundaries
    there = annotate_oct(other, Grader("bias")).boundaries - other.boundaries
    signs = [np.sign(np.nanmedian(d, axis=(1, 2))) for d in (here, there)]
    assert np.array_equal(*signs)


def test_graders_do_not_touch_the_fluid_far_from_its_border(subject):
    drawn = annotate_oct(subject, Grader("uniform", 1.0)).fluid > 0
    true = subject.fluid > 0
    first, end = 95, 655
    core = ndimage.binary_erosion(true, np.ones((11, 11, 1)))[:, first:end]
    assert drawn[:, first:end][core].all()
    far = ~ndimage.binary_dilation(true, np.ones((13, 13, 1)))
    assert not drawn[far].any()
    assert (drawn != true)[:, first:end].any()
