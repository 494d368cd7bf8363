"""The anatomy of the trunk: what is there, in one piece, and where."""

import numpy as np
import pytest
from scipy import ndimage

from softlabel.phantom import CT_CLASSES
from softlabel.phantom.body import draw_body
from softlabel.phantom.ctclasses import VERTEBRAE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def centres(scan):
    """Centre of each class in mm: right, anterior, superior."""
    values = list(CT_CLASSES.values())[1:]
    found = ndimage.center_of_mass(np.ones_like(scan.labels), scan.labels, values)
    voxels = np.array(found) @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    return dict(zip(list(CT_CLASSES)[1:], voxels, strict=True))


def test_all_classes_are_there(scan):
    assert scan.labels.shape == (160, 160, 200)
    assert np.array_equal(np.unique(scan.labels), np.arange(105))


def test_each_structure_is_one_piece(scan):
    for name, value in CT_CLASSES.items():
        if value == 0:
            continue
        where = ndimage.find_objects(scan.labels, value)[value - 1]
        pieces, count = ndimage.label(scan.labels[where] == value, np.ones((3, 3, 3)))
        sizes = np.bincount(pieces.ravel())[1:]
        # Where structures cut each other a voxel or two may be cut off.
        assert sizes.max() >= 0.99 * sizes.sum(), (name, count, sizes)


def test_left_is_left_and_right_is_right(centres):
    for name, (x, _, _) in centres.items():
        if "left" in name and not name.startswith("heart"):
            assert x < 0, name
            other = centres.get(name.replace("left", "right"))
            if other is not None and not name.startswith("lung"):
                assert np.abs(other - centres[name] * (-1, 1, 1)).max() < 30, name
        elif "right" in name and not name.startswith("heart"):
            assert x > 0, name
    assert centres["liver"][0] > 20 and centres["gallbladder"][0] > 20
    assert centres["spleen"][0] < -50 and centres["stomach"][0] < -20
    assert centres["heart_ventricle_left"][0] < centres["heart_atrium_right"][0]
    assert centres["inferior_vena_cava"][0] > centres["aorta"][0]


def test_vertebrae_and_ribs_are_in_order(centres):
    heights = [centres[f"vertebra_{name}"][2] for name in VERTEBRAE]
    assert (np.diff(heights) < -8).all()
    for side in ("left", "right"):
        ribs = [centres[f"rib_{side}_{n}"][2] for n in range(1, 13)]
        assert (np.diff(ribs) < -4).all()
    assert centres["sacrum"][2] < centres["vertebra_L5"][2]
    assert centres["liver"][2] < centres["lung_lower_lobe_right"][2]
    assert centres["urinary_bladder"][2] < centres["small_bowel"][2] < centres["pancreas"][2]
    assert centres["oesophagus"][1] < centres["trachea"][1] < centres["sternum"][1]
    assert centres["deep_back_muscle_left"][1] < centres["vertebra_L1"][1] < centres["colon"][1]


def test_volumes_are_those_of_an_adult(scan):
    millilitres = np.bincount(scan.labels.ravel(), minlength=105) * np.prod(scan.spacing_mm) / 1e3
    usual = {"liver": (1000, 2200), "spleen": (80, 350), "kidney_left": (80, 250),
             "pancreas": (35, 120), "heart_ventricle_left": (80, 220), "urinary_bladder": (80, 400),
             "lung_upper_lobe_left": (500, 1500), "adrenal_gland_left": (2, 10),
             "vertebra_L3": (35, 90), "vertebra_T6": (15, 45), "femur_left": (120, 320),
             "aorta": (100, 350), "spinal_cord": (20, 60), "gallbladder": (10, 60)}  # fmt: skip
    for name, (low, high) in usual.items():
        assert low < millilitres[CT_CLASSES[name]] < high, name


def test_every_class_has_a_layer():
    layers = draw_body(np.random.default_rng(0), 15.0)
    assert {layer.value for layer in layers} >= set(range(105))
