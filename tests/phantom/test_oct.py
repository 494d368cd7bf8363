import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import spearmanr

from softlabel.errors import UsageError
from softlabel.phantom import Grader, annotate_oct, make_oct_subject
from softlabel.phantom.graders import curve_contrast
from softlabel.phantom.oct import annotated_bscans

SMALL = (256, 256, 5)


@pytest.fixture(scope="module")
def subject():
    return make_oct_subject(3, 1, (496, 768, 7))


def test_shapes_and_types(subject):
    assert subject.images.shape == subject.clean.shape == subject.fluid.shape == (496, 768, 7)
    assert subject.images.dtype == subject.clean.dtype == subject.labels.dtype == np.uint8
    assert subject.boundaries.shape == (8, 768, 7)
    assert np.array_equal(subject.bscans, np.arange(7))
    assert set(np.unique(subject.labels)) == set(range(10))


def test_boundaries_are_ordered_within_the_frame(subject):
    assert np.diff(subject.boundaries, axis=0).min() > 0
    assert subject.boundaries.min() > 0
    assert subject.boundaries.max() < 495


def test_labels_follow_the_boundaries(subject):
    column, bscan = 300, 3
    labels = subject.labels[:, column, bscan]
    for boundary, value in enumerate(subject.boundaries[:, column, bscan]):
        dry = labels[labels != 9]
        rows = np.arange(496)[labels != 9]
        assert np.array_equal(dry > boundary, rows >= value)


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


def test_fluid_is_dark_and_lies_in_the_inner_and_outer_nuclear_layers(subject):
    wet = subject.fluid > 0
    assert wet.any()
    assert not wet.all(axis=(0, 1)).any()
    dry_labels = make_dry(subject)
    assert set(np.unique(dry_labels[wet])) <= {3, 5}
    core = ndimage.binary_erosion(wet, np.ones((5, 5, 1)))
    tissue = (dry_labels == 5) & ~ndimage.binary_dilation(wet, np.ones((7, 7, 1)))
    assert np.median(subject.clean[core]) + 15 < np.median(subject.clean[tissue])


def make_dry(subject):
    row = np.arange(len(subject.images))[:, None, None, None]
    return (row >= subject.boundaries.transpose(1, 2, 0)).sum(axis=-1)


def test_fluid_regions_are_numbered_and_connected(subject):
    for b in range(7):
        fluid = subject.fluid[..., b]
        numbers = np.unique(fluid)
        assert np.array_equal(numbers, np.arange(len(numbers)))
        assert len(numbers) <= 16
        for number in numbers[1:]:
            assert ndimage.label(fluid == number)[1] == 1


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


@pytest.mark.parametrize("shape", [(224, 128, 1), (224, 768, 2), (600, 200, 1)])
def test_the_smallest_sizes_hold_a_retina(shape):
    for number in range(1, 6):
        subject = make_oct_subject(6, number, shape)
        inside = (subject.boundaries > 0) & (subject.boundaries < shape[0] - 1)
        assert inside.mean() > 0.98


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
