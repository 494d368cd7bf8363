"""CT scans: grids, partial volume, noise, graders."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from softlabel.errors import UsageError
from softlabel.phantom import CT_CLASSES, CT_HU, Grader, annotate_ct, make_ct
from softlabel.phantom import ct as ct_module
from softlabel.phantom.body import Layer
from softlabel.phantom.ct import _paint
from softlabel.phantom.solids import Block, Ellipsoid

TINY = (48, 40, 36)


@pytest.fixture(scope="module")
def tiny():
    return make_ct(1, 2, TINY)


def test_the_field_of_view_stays_and_its_middle_is_the_origin(tiny):
    assert tiny.image.dtype == tiny.clean.dtype == np.int16
    assert tiny.labels.dtype == np.uint8
    assert tiny.image.shape == tiny.clean.shape == tiny.labels.shape == TINY
    assert np.array(TINY) * tiny.spacing_mm == pytest.approx([500, 500, 900])
    assert np.diag(tiny.affine)[:3] == pytest.approx(tiny.spacing_mm)
    middle = tiny.affine @ [*((np.array(TINY) - 1) / 2), 1]
    assert middle[:3] == pytest.approx([0, 0, 0], abs=1e-9)


def test_a_scan_follows_from_seed_and_number(tiny):
    again = make_ct(1, 2, TINY)
    assert np.array_equal(tiny.image, again.image)
    assert np.array_equal(tiny.labels, again.labels)
    for other in (make_ct(1, 3, TINY), make_ct(2, 2, TINY)):
        assert (tiny.labels != other.labels).mean() > 0.01


@pytest.mark.slow
def test_other_grids_sample_the_same_body(tiny):
    """Every third voxel of three times as many has its centre where one of the coarse has."""
    fine = make_ct(1, 2, tuple(3 * n for n in TINY))
    assert (fine.labels[1::3, 1::3, 1::3] == tiny.labels).mean() > 0.9999
    cropped = make_ct(1, 2, (24, 20, 18), tiny.spacing_mm)
    assert (cropped.labels == tiny.labels[12:36, 10:30, 9:27]).mean() > 0.9999
    assert cropped.labels.any()


def test_slabs_do_not_show(tiny, monkeypatch):
    monkeypatch.setattr(ct_module, "SLAB_VOXELS", 5 * TINY[0] * TINY[1])
    slabs = make_ct(1, 2, TINY)
    assert (slabs.labels == tiny.labels).mean() > 0.9999


def test_boxes_cut_nothing_off(tiny, monkeypatch):
    """The same with solids evaluated 60 mm further around their boxes."""
    made = ct_module._Body._block

    def wider(*arguments, **options):
        block = made(*arguments, **options)
        return replace(block, margin_mm=tuple(60 + margin for margin in block.margin_mm))

    monkeypatch.setattr(ct_module._Body, "_block", wider)
    wide = make_ct(1, 2, TINY)
    assert np.array_equal(wide.labels, tiny.labels)
    assert (np.abs(wide.clean - tiny.clean.astype(int)) > 2).mean() < 1e-3


def test_a_spacing_shows_a_part_of_the_body():
    scan = make_ct(0, 1, (40, 36, 20), (4.0, 4.5, 3.0))
    assert scan.spacing_mm == (4.0, 4.5, 3.0)
    there = {name for name, value in CT_CLASSES.items() if (scan.labels == value).any()}
    assert {"aorta", "vertebra_L1", "liver"} <= there
    assert not {"urinary_bladder", "trachea", "humerus_left"} & there


def test_thin_structures_are_absent_from_coarse_scans():
    coarse = make_ct(0, 1, (16, 16, 16))
    assert 10 < len(np.unique(coarse.labels)) < 90
    assert (make_ct(0, 1, (200, 16, 16)).labels > 0).any()


@pytest.mark.parametrize(
    ("shape", "spacing", "words"),
    [
        ((15, 64, 64), None, "three numbers from 16 to 1024"),
        ((64, 64, 2000), None, "three numbers from 16 to 1024"),
        ((64, 64), None, "A CT phantom of 64 × 64 voxels"),
        ((64, 64, 48), (1, 1, 0), "spacing 1 × 1 × 0 mm; give three numbers from 0.1 to 60"),
        ((64, 64, 48), (1, np.nan, 1), "cannot have the spacing"),
        ((64, 64, 48), (1, 1), "cannot have the spacing 1 × 1 mm"),
    ],
)
def test_impossible_grids_are_refused(shape, spacing, words):
    with pytest.raises(UsageError, match=words) as caught:
        make_ct(0, 1, shape, spacing)
    assert "\n" not in str(caught.value)


# --- partial volume -----------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "spacing", [(1.5, 1.5, 1.5), (1.0, 1.0, 4.0), (1.0, 2.0, 3.0), (3.0, 2.0, 1.0)]
)
def test_a_ball_fills_voxels_as_finer_voxels_do(spacing):
    radius, fine = 14.0, 8
    axes = [np.arange(-18, 18.1, s) + 0.0371 for s in spacing]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    grids = (x.astype(np.float32), y.astype(np.float32), z.astype(np.float32))
    block = Block(tuple(axes), *grids, np.zeros_like(grids[0]), (5, 5, 5))
    hu, labels = np.zeros(x.shape, np.float32), np.zeros(x.shape, np.uint8)
    _paint(Layer(Ellipsoid((0, 0, 0), (radius,) * 3), 100.0, 7), block, hu, labels, spacing)
    share = np.zeros(x.shape)
    offsets = (np.arange(fine) + 0.5) / fine - 0.5
    for i in offsets:
        for j in offsets:
            for k in offsets:
                moved = (x + i * spacing[0], y + j * spacing[1], z + k * spacing[2])
                share += sum(m**2 for m in moved) < radius**2
    share /= fine**3
    assert np.array_equal(labels == 7, x**2 + y**2 + z**2 < radius**2)
    boundary = (share > 0) & (share < 1)
    assert np.abs(hu / 100 - share)[boundary].mean() < 0.05
    assert np.abs(hu / 100 - share).max() < 0.3
    assert hu.sum() / 100 == pytest.approx(share.sum(), rel=0.01)


@pytest.mark.slow
def test_voxels_of_boundaries_are_between_what_they_divide(scan):
    kidney = np.isin(scan.labels, [CT_CLASSES["kidney_left"], CT_CLASSES["kidney_right"]])
    fat = (scan.labels == 0) & (scan.clean < -80) & (scan.clean > -110)
    inner = kidney & ndimage.binary_dilation(fat)
    outer = (scan.labels == 0) & ndimage.binary_dilation(kidney)
    deep = ndimage.binary_erosion(kidney, iterations=2)
    assert np.median(scan.clean[deep]) == pytest.approx(130, abs=2)
    rim = scan.clean[inner | outer]
    assert ((rim > -85) & (rim < 120)).mean() > 0.6
    assert np.median(scan.clean[outer]) < np.median(scan.clean[inner]) < 125


@pytest.mark.slow
def test_the_inside_of_each_class_has_its_hounsfield_units(scan):
    for value, (name, hu) in enumerate(CT_HU.items(), start=1):
        box = ndimage.find_objects(scan.labels, value)[value - 1]
        inside, clean = np.pad(scan.labels[box] == value, 1), np.pad(scan.clean[box], 1)
        depth = ndimage.distance_transform_edt(inside, sampling=scan.spacing_mm)
        # The deepest voxels: below the cortex of bones and the walls of hollow organs.
        deepest = clean[depth >= 0.8 * depth.max()]
        assert np.median(deepest) == pytest.approx(hu, abs=10), name


@pytest.mark.slow
def test_air_table_and_fat_are_around(scan):
    corner = scan.clean[:10, -10:]
    assert (corner == -1000).all()
    middle = scan.labels.shape[0] // 2
    column = scan.clean[middle, : scan.labels.shape[1] // 2, 100]
    back = np.flatnonzero(column > -150)[-1]
    assert back > 10
    table = np.flatnonzero((column[:-1] > -960) & (column[:-1] < -200))
    assert table.size and table[0] < 60


def test_noise_is_correlated_and_has_no_offset():
    scan = make_ct(0, 1, (96, 96, 48))
    noise = scan.image.astype(float) - scan.clean
    assert noise.mean() == pytest.approx(0, abs=0.1)
    assert 5 < noise.std() < 30
    unit = noise / noise.std()
    assert (unit[1:] * unit[:-1]).mean() > 0.2
    assert (unit[..., 1:] * unit[..., :-1]).mean() == pytest.approx(2 / 3, abs=0.05)
    assert (unit[..., 3:] * unit[..., :-3]).mean() == pytest.approx(0, abs=0.02)


# --- graders ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["contrast", "uniform", "bias"])
def test_graders_change_borders_only(tiny, kind):
    drawn = annotate_ct(tiny, Grader(kind, 0.75))
    assert drawn.dtype == np.uint8
    changed = drawn != tiny.labels
    assert 0.001 < changed.mean() < 0.1
    interior = ndimage.minimum_filter(tiny.labels, (11, 11, 1)) == ndimage.maximum_filter(
        tiny.labels, (11, 11, 1)
    )
    assert not changed[interior].any()
    assert not np.array_equal(drawn, annotate_ct(tiny, Grader(kind, 0.75), who=2))
    assert np.array_equal(annotate_ct(tiny, Grader(kind, 0.0)), tiny.labels)
