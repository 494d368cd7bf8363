"""Brains in three MR sequences: grids, contrasts, graders."""

import numpy as np
import pytest
from scipy import ndimage

from softlabel.errors import UsageError
from softlabel.phantom import Grader, annotate_brain, make_brain
from softlabel.phantom.head import Grid
from softlabel.phantom.mri import SEQUENCES, brain_id, majority

SMALL = (96, 96, 24)


@pytest.mark.slow
def test_grid_is_that_of_the_real_scans(brain):
    assert brain.images.shape == brain.clean.shape == (3, 240, 240, 48)
    assert brain.labels.shape == (240, 240, 48)
    assert brain.spacing_mm == pytest.approx((0.958, 0.958, 3.0), abs=1e-9)
    assert np.diag(brain.affine)[:3] == pytest.approx(brain.spacing_mm)
    centre = brain.affine @ [119.5, 119.5, 23.5, 1]
    assert centre[:3] == pytest.approx([0, 0, 0], abs=1e-9)


@pytest.mark.slow
def test_tissue_contrasts_are_those_of_the_sequences(brain):
    def level(sequence, label):
        inside = ndimage.binary_erosion(brain.labels == label, np.ones((3, 3, 1)))
        return np.median(brain.images[SEQUENCES.index(sequence)][inside])

    csf, grey, white, lesion, ventricle = 5, 1, 3, 4, 6
    assert level("reg_T1", csf) < level("reg_T1", grey) < level("reg_T1", white)
    assert level("FLAIR", ventricle) < level("FLAIR", white) < level("FLAIR", grey)
    assert level("FLAIR", lesion) > 1.3 * level("FLAIR", white)
    assert level("reg_IR", white) < level("reg_IR", grey) < level("reg_IR", ventricle)


@pytest.mark.slow
def test_background_noise_is_rayleigh_distributed(brain):
    corner = brain.images[0, :20, :20].astype(float).ravel()
    # Rayleigh: mean σ √(π/2), standard deviation σ √(2 − π/2).
    assert corner.std() / corner.mean() == pytest.approx(np.sqrt(4 / np.pi - 1), abs=0.03)


@pytest.mark.slow
def test_thick_slices_hold_partial_volumes(brain):
    t1 = brain.clean[SEQUENCES.index("reg_T1")].astype(float)
    labels = brain.labels
    beside = (labels == 6) & (np.roll(labels, 1, axis=2) == 3)
    deep = ndimage.binary_erosion(labels == 6, iterations=2)
    assert np.median(t1[beside]) > np.median(t1[deep]) + 20


def test_a_voxel_takes_the_label_of_most_of_its_thin_slices():
    grid = Grid.of((64, 64, 16))
    assert grid.thin == 9
    for column, expected in (
        ([3, 3, 3, 3, 3, 1, 1, 1, 1], 3),
        ([1, 1, 1, 2, 3, 3, 3, 3, 2], 3),
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], 5),
    ):
        thin = np.zeros((*grid.box_shape,), dtype=np.uint8)
        thin[2, 3, :9] = column
        labels = majority(thin, grid)
        assert labels.shape == grid.shape
        assert labels[grid.box][2, 3, 0] == expected
        assert np.count_nonzero(labels) == 1


def test_ids_are_those_of_the_real_set():
    assert [brain_id(n) for n in range(1, 8)] == ["1", "4", "5", "7", "14", "070", "148"]
    assert len({brain_id(n) for n in range(1, 200)}) == 199


def test_a_brain_follows_from_seed_and_number():
    tiny = (64, 64, 16)
    one, again = make_brain(1, 2, tiny), make_brain(1, 2, tiny)
    assert np.array_equal(one.images, again.images)
    assert np.array_equal(one.labels, again.labels)
    for other in (make_brain(1, 3, tiny), make_brain(2, 2, tiny)):
        assert not np.array_equal(one.labels, other.labels)


@pytest.mark.parametrize("shape", [(64, 64, 16), (80, 128, 20), (100, 90, 144)])
def test_other_sizes_cover_the_same_head(shape):
    brain = make_brain(2, 1, shape)
    extent = np.array(shape) * brain.spacing_mm
    assert extent == pytest.approx([229.92, 229.92, 144])
    volume = (brain.labels > 0).sum() * np.prod(brain.spacing_mm) / 1e6
    assert 1.0 < volume < 2.2


@pytest.mark.parametrize("shape", [(63, 64, 16), (64, 64, 15), (600, 240, 48)])
def test_impossible_sizes_are_refused(shape):
    with pytest.raises(UsageError, match="give at"):
        make_brain(0, 1, shape)


@pytest.mark.parametrize("kind", ["contrast", "uniform", "bias"])
def test_graders_change_borders_only(kind):
    brain = make_brain(3, 1, SMALL)
    drawn = annotate_brain(brain, Grader(kind, 0.75))
    assert drawn.dtype == np.uint8
    changed = drawn != brain.labels
    assert 0.003 < changed.mean() < 0.15
    interior = ndimage.minimum_filter(brain.labels, (11, 11, 1)) == ndimage.maximum_filter(
        brain.labels, (11, 11, 1)
    )
    assert not changed[interior].any()
    assert not np.array_equal(drawn, annotate_brain(brain, Grader(kind, 0.75), who=2))
    assert np.array_equal(annotate_brain(brain, Grader(kind, 0.0)), brain.labels)
